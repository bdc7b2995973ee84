"""One layer of linear attention, and its prediction as a polynomial in the prompt.

Statement
    prediction    yhat = f(E)[d, N] for f(E) = E + W_PV E (E^T W_KQ E)/N, a sum over the N + 1 columns
                  of (value of the column) x (attention of the query to it) / N
Conventions
    E = [[x_1 .. x_N, x_q], [y_1 .. y_N, 0]]; the query column is among keys and values, the factor is
    1/N over the context. W_PV has last row (u12^T, u), W_KQ first d columns (U; u21^T); the other
    entries do not enter yhat.
Reference
    [zhang2024trained, Eq. 3.3].
"""

from __future__ import annotations

from typing import NamedTuple

from ..algebra.trace_polynomials import TracePolynomial, degree, select, sum_over_samples
from ..symbols import EPS, U12, U21, X_Q, ZERO, N, U, W, X, u
from .prompt_law import PromptLaw

Token = tuple[TracePolynomial, TracePolynomial]  # a column (x, y) of E


class Weights(NamedTuple):
    """The letters of a layer's parameters."""

    u12: TracePolynomial = U12
    u: TracePolynomial = u
    U: TracePolynomial = U
    u21: TracePolynomial = U21


LETTERS = Weights()


def value(token: Token, weights: Weights = LETTERS) -> TracePolynomial:
    """Last row of W_PV times a column of E: u12.x + u y."""
    x, y = token
    return weights.u12.T * x + weights.u * y


def attention(token: Token, query: Token, weights: Weights = LETTERS) -> TracePolynomial:
    """(column)^T W_KQ (query column); the query's label is 0, so the last column of W_KQ drops out."""
    x, y = token
    x_q, _ = query
    return x.T * weights.U * x_q + y * (weights.u21.T * x_q)


def label(law: PromptLaw) -> TracePolynomial:
    """y = w.x + eps."""
    clean = W.T * X
    return clean + EPS if law.has_noise else clean


def prediction(law: PromptLaw, context: Token | None = None, weights: Weights = LETTERS) -> TracePolynomial:
    """yhat, with the context samples under one summed index.

    `context` replaces the column (x, w.x + eps), to keep a label as a letter y of its own.
    """
    context, query = context or (X, label(law)), (X_Q, ZERO)
    attended = value(context, weights) * attention(context, query, weights)
    over_context = sum_over_samples(attended, ("x", "eps", "y"))
    return N**-1 * (over_context + value(query, weights) * attention(query, query, weights))


def target() -> TracePolynomial:
    """The noiseless label of the query, w.x_q."""
    return W.T * X_Q


def odd_and_even(polynomial: TracePolynomial) -> tuple[TracePolynomial, TracePolynomial]:
    """The parts that are odd and even under (w, eps) -> (-w, -eps)."""
    odd = select(polynomial, lambda monomial: degree(monomial, "w", "eps") % 2 == 1)
    return odd, polynomial - odd
