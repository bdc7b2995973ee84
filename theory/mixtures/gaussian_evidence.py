r"""A linear model with Gaussian coefficients and noise: its evidence and posterior mean, by completing the square.

y = X w + e with N rows x_i (of the coordinates that the model uses), w ~ N(0, v I_d), e ~ N(0, s2 I_N).
Main statements
    joint       s2 times -2 log p(y | w) p(w), up to a constant, is |y - X w|^2 + (s2/v) |w|^2
    square      it is (w - m)^T A (w - m) + Q with A = X^T X + (s2/v) I, A m = X^T y: m = E[w | y]
    residual    Q = |y - X m|^2 + (s2/v) |m|^2: a sum of squares, where y^T y - y^T X m is a difference of large ones
    evidence    p(y) = (2 pi s2)^(-N/2) det(I + (v/s2) X^T X)^(-1/2) exp(-Q/(2 s2)), by the Gaussian integral over w
    covariance  this is the density of N(0, s2 I + v X X^T) (Sylvester for the determinant)
Every polynomial here follows from `joint`, and that from the model.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from ..algebra.matrix_derivatives import gradient
from ..algebra.trace_polynomials import (
    Monomial,
    TracePolynomial,
    identity,
    letter,
    matrix,
    scalar,
    select,
    substitute,
    vector,
    zero,
)
from ..algebra.words import Letter, Word

X, Y = matrix("X", rows="N", cols="d"), vector("y", space="N")
W, MEAN, QUERY = vector("w"), vector("m"), vector("x_q")
NOISE, PRIOR = scalar("s2"), scalar("v")


@cache
def joint() -> TracePolynomial:
    """s2 times -2 log p(y | w) p(w), up to a constant: the squares of (y - X w)/sqrt(s2) and of w/sqrt(v)."""
    error = Y - X * W
    return NOISE * (error.T * error * NOISE**-1 + W.T * W * PRIOR**-1)


class NormalEquations(NamedTuple):
    """left m = right."""

    left: TracePolynomial
    right: TracePolynomial


@cache
def normal_equations() -> NormalEquations:
    """Where the joint density is largest: half its gradient is left w - right.

    >>> normal_equations().left
    s2 v^-1 I + X^T X
    """
    slope = gradient(joint(), W) / 2
    constant = select(slope, lambda monomial: all(letter.name != "w" for letter in monomial.letters()))
    return NormalEquations(without_last_letter(slope - constant), -constant)


def without_last_letter(polynomial: TracePolynomial) -> TracePolynomial:
    """M of a polynomial M w."""
    terms = {Monomial(m.scalars, m.traces, m.word[:-1]): value for m, value in polynomial.terms.items()}
    assert all(monomial.word[-1].name == "w" for monomial in polynomial.terms)
    return TracePolynomial(polynomial.rows, "d", terms)


@cache
def residual() -> TracePolynomial:
    """Q: the joint density's exponent where it is largest."""
    return substitute(joint(), {"w": MEAN})


@cache
def difference() -> TracePolynomial:
    """Q again, as residual - m^T (left m - right): y^T y - y^T X m, which loses digits."""
    left, right = normal_equations()
    return residual() - MEAN.T * (left * MEAN - right)


@cache
def volume() -> TracePolynomial:
    """The integral over w leaves det(left)^(-1/2) s2^(d/2) of v^(-d/2): the determinant of (v/s2) left."""
    return PRIOR * NOISE**-1 * normal_equations().left


@cache
def covariance() -> TracePolynomial:
    """E y y^T = s2 I + v X X^T."""
    return NOISE * identity("N") + PRIOR * X * X.T


GRAM, PULL, SQUARES = matrix("G", symmetric=True), vector("c"), scalar("yy")
PAIRS = {("X", "X"): GRAM, ("X", "y"): PULL, ("y", "X"): PULL.T, ("y", "y"): SQUARES}


def in_gram_letters(polynomial: TracePolynomial) -> TracePolynomial:
    """The polynomial in G = X^T X, c = X^T y and yy = y^T y: the examples enter in no other way."""
    found = zero(polynomial.rows, polynomial.cols)
    for (scalars, traces, word), value in polynomial.terms.items():
        term = TracePolynomial("1", "1", {Monomial(scalars): value})
        for closed in traces:
            term = term * paired(closed)
        found = found + term * (paired(word) if word else identity(polynomial.rows))
    return found


def paired(word: Word) -> TracePolynomial:
    """A word with its letters of the examples taken two by two."""
    found: TracePolynomial | None = None
    waiting: Letter | None = None
    for one in word:
        if waiting is not None:
            factor, waiting = PAIRS[waiting.name, one.name], None
        elif one.name in ("X", "y"):
            waiting = one
            continue
        else:
            factor = letter(one)
        found = factor if found is None else found * factor
    assert waiting is None
    assert found is not None
    return found
