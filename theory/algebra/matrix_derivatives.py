"""Exact derivatives of trace polynomials with respect to a matrix, a vector or a commuting symbol.

Main statement
    If F is a scalar, the gradient G = dF/dA is the matrix with dF = tr(G^T dA), so G_ij = dF/dA_ij.
    Each occurrence of A in a closed word contributes one term, since the word can be rotated to
    begin there:
        d tr(A W) = tr(dA W)        contributes  W^T
        d tr(A^T W) = tr(dA^T W)    contributes  W
Assumption
    A is a generic matrix. The gradient with respect to a symmetric letter is not unique (its
    entries are not free) and is refused; so is that of an inverse.

SymPy 1.14 gives 0 for `(Trace(S*A*S*A.T)/2 - Trace(S*A)).diff(A)`; a test keeps both answers.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

from .trace_polynomials import Monomial, TracePolynomial, degree, letter, multiply_scalars, normal_form
from .words import Letter, Word, join, transpose


def gradient(polynomial: TracePolynomial, variable: TracePolynomial) -> TracePolynomial:
    """dF/dA for a scalar F, with the shape of A.

    Raises ValueError where F is not a scalar, A is not one plain letter, or A is symmetric.
    """
    if not polynomial.is_scalar:
        raise ValueError(f"need a scalar to differentiate, got {polynomial.rows} x {polynomial.cols}")
    symbol = plain_letter(variable)
    terms: defaultdict[Monomial, Fraction] = defaultdict(Fraction)
    for monomial, value in polynomial.terms.items():
        for which, closed in enumerate(monomial.traces):
            others = monomial.traces[:which] + monomial.traces[which + 1 :]
            for rest in words_left_by(closed, symbol):
                merged = normal_form(monomial.scalars, [], rest)
                terms[Monomial(merged.scalars, tuple(sorted(others + merged.traces)), merged.word)] += value
    return TracePolynomial(symbol.rows, symbol.cols, terms)


def plain_letter(variable: TracePolynomial) -> Letter:
    """The generic letter that a derivative is taken with respect to."""
    letters = [x for monomial in variable.terms for x in monomial.letters()]
    if len(letters) != 1 or letters[0].transposed or letters[0].inverse or variable != letter(letters[0]):
        raise ValueError(f"need one plain letter to differentiate by, got {variable!r}; give A itself")
    (symbol,) = letters
    if symbol.symmetric:
        raise ValueError(
            f"the entries of the symmetric letter {symbol.name} are not free, so its gradient is not "
            "unique; differentiate by a generic letter and symmetrise"
        )
    return symbol


def words_left_by(closed: Word, symbol: Letter) -> list[Word]:
    """The words W (or W^T) that remain when each occurrence of `symbol` in a closed word is removed."""
    found = []
    for position, occurrence in enumerate(closed):
        if occurrence.name != symbol.name or occurrence.index != symbol.index:
            continue
        if occurrence.inverse:
            raise ValueError(f"need a polynomial in {symbol.name} to differentiate, got its inverse")
        rest = join(closed[position + 1 :], closed[:position])
        found.append(rest if occurrence.transposed else transpose(rest))
    return found


def derivative(polynomial: TracePolynomial, symbol: str) -> TracePolynomial:
    """The partial derivative by a commuting symbol."""
    terms: defaultdict[Monomial, Fraction] = defaultdict(Fraction)
    for (scalars, traces, word), value in polynomial.terms.items():
        exponent = dict(scalars).get(symbol, 0)
        if exponent:
            terms[Monomial(multiply_scalars(scalars, ((symbol, -1),)), traces, word)] += value * exponent
    return TracePolynomial(polynomial.rows, polynomial.cols, terms)


def linear_part_to_matrix(polynomial: TracePolynomial, dummy: TracePolynomial) -> TracePolynomial:
    """The matrix P with F = tr(P T^T) for a scalar F that is linear in the generic letter T."""
    symbol = plain_letter(dummy)
    if any(degree(monomial, symbol.name) != 1 for monomial in polynomial.terms):
        raise ValueError(f"need a scalar linear in {symbol.name}, got {polynomial!r}")
    return gradient(polynomial, dummy)
