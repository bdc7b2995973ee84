r"""The layer whose query is masked from keys and values: what changes in its loss.

Main statements
    prediction    yhat_masked = (1/N) sum over the N context columns of (value) x (attention), without the query's own
                  column, which for the full layer adds (u12.x_q)(x_q^T U x_q)/N
    odd part      the same, s^T A x_q, as the query's column has label 0: so A*, its proof of minimality and the excess
                  risk of A stay as they are
    even part     1/2 E (even part of yhat_masked)^2, without the query's column; zero at u12 = u21 = 0
Assumptions
    Those of `PromptLaw`.
References
    Ours; [ahn2023transformers] masks the query, [vonoswald2023transformers] leaves it out.
"""

from __future__ import annotations

from functools import cache

from ..algebra.trace_polynomials import TracePolynomial, sum_over_samples
from ..symbols import X_Q, ZERO, N, X
from .layer import Token, attention, label, odd_and_even, prediction, value
from .prompt_law import PromptLaw


def masked_prediction(law: PromptLaw, context: Token | None = None) -> TracePolynomial:
    """yhat without the query's own column."""
    context, query = context or (X, label(law)), (X_Q, ZERO)
    return N**-1 * sum_over_samples(value(context) * attention(context, query), ("x", "eps", "y"))


def query_column(law: PromptLaw) -> TracePolynomial:
    """What the query's own column adds, yhat - yhat_masked.

    >>> from iclcheck.theory.algebra.printing import to_text
    >>> to_text(query_column(PromptLaw()))
    'N^-1 u12^T x_q x_q^T U x_q'
    """
    return prediction(law) - masked_prediction(law)


@cache
def masked_even_loss() -> TracePolynomial:
    """1/2 E (even part of yhat_masked)^2 on all parameters for any Lambda, Psi and sigma^2."""
    law = PromptLaw()
    _, even = odd_and_even(masked_prediction(law))
    return law.mean(even * even) / 2
