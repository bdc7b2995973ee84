r"""The mesa layer at small and at large lambda: which limits there are, and how far the layer is from them.

Let c = lambda/zeta_t0, B_t = sum_i zeta_ti v_i k_i^T and S_t = sum_i zeta_ti k_i k_i^T: Phi_t = B R, R = (I/c + S)^-1.
Main statements
    vanishing      |Phi_t| <= c |B_t|: the layer's output goes to 0 with lambda
    rescaled       Phi_t/c - B_t = -B S R, so |Phi_t/c - B_t| <= c |B_t S_t|: divided by c, not by lambda, the layer
                   goes to linear attention with the gates zeta_ti; divided by lambda it goes to B_t/zeta_t0
    large lambda   where the keys span (S invertible), Phi_t - B S^-1 = -B S^-1 R/c, so |Phi_t - B S^-1| <=
                   |B S^-1|/(c mu + 1) with mu the least eigenvalue of S: weighted least squares without a regulariser
    no span        elsewhere Phi_t goes to B S^+, of all minimisers the one of least norm: the rows of B lie in the span
                   of the keys, on which the same bound holds with mu the least eigenvalue other than 0
Proof of the bounds: R and S have the same eigenvectors, and R the eigenvalues c/(1 + c mu_i) <= c.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Step
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.formulas import Formula, Values
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, identity, inverse_of_monomial, matrix, scalar
from .backward_pass import CROSS
from .key_value_sequences import KeyValueSequence, discount, random_sequence, statistics
from .mesa_layer import SHAPES, R

GRAM = matrix("S", symmetric=True)
SCALE = scalar("c")


def precision() -> TracePolynomial:
    """R^-1 = I/c + S."""
    return inverse_of_monomial(SCALE) * identity() + GRAM


@cache
def small_remainder() -> TracePolynomial:
    """Phi/c - B = (B/c - B R^-1) R."""
    return (inverse_of_monomial(SCALE) * CROSS - CROSS * precision()) * R


@cache
def large_remainder() -> TracePolynomial:
    """Phi - B S^-1 = B S^-1 (S - R^-1) R."""
    solved = CROSS * inverse_of_monomial(GRAM)
    return solved * (GRAM - precision()) * R


def letters_at(sequence: KeyValueSequence, t: int) -> dict[str, Any]:
    """B, S, R and c at step t, from the literal sums."""
    cross, whole = statistics(sequence, t)
    scale = sequence.regulariser / discount(sequence, t, 0)
    eye = np.eye(sequence.dimension, dtype=int).astype(object)
    return {"B": cross, "S": whole - eye / scale, "R": exact_inverse(whole), "c": scale}


def small_at(seed: int) -> tuple[Array, Array]:
    """Phi_T/c - B_T, and the remainder."""
    letters = letters_at(random_sequence(seed), len(random_sequence(seed)))
    return letters["B"] @ letters["R"] / letters["c"] - letters["B"], evaluate(small_remainder(), letters)


def large_at(seed: int) -> tuple[Array, Array]:
    """Phi_T - B S^-1 for keys that span, and the remainder."""
    sequence = random_sequence(f"spanning/{seed}", (4, 2, 2))
    letters = letters_at(sequence, len(sequence))
    least_squares = letters["B"] @ exact_inverse(letters["S"])
    return letters["B"] @ letters["R"] - least_squares, evaluate(large_remainder(), letters)


def steps_of_limits() -> tuple[Step, ...]:
    """Both limits."""
    return (
        Step(
            "lambda to 0",
            "(zeta_t0/lambda) Phi_t - B_t",
            f"{to_text(small_remainder())}, at most (lambda/zeta_t0) |B_t S_t|",
            rf"\tfrac{{\zeta_{{t0}}}}{{\lambda}} \Phi_t - B_t = {to_latex(small_remainder())}",
            "(B/c - B R^-1) R with R^-1 = I/c + S; |R| <= c since S is positive semi-definite, and so |Phi_t| <= c "
            "|B_t|",
            small_at,
            forms={"remainder": small_remainder()},
        ),
        Step(
            "lambda to infinity",
            "Phi_t - B_t S_t^-1, for keys that span",
            f"{to_text(large_remainder())}, at most |B S^-1|/(1 + c mu), mu the least eigenvalue of S",
            rf"\Phi_t - B_t S_t^{{-1}} = {to_latex(large_remainder())}",
            "B S^-1 (S - R^-1) R; R/c has the eigenvalues 1/(1 + c mu_i)",
            large_at,
            forms={"remainder": large_remainder()},
        ),
    )


# The formula that is altered


@cache
def formula() -> Formula:
    """(zeta_t0/lambda) o_t - B_t q_t for every t of a sequence."""
    return Formula({"remainder": small_remainder()}, remainders, Vocabulary({"c": ("lam",)}))


def remainders(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """(T, m) of a sequence."""
    sequence: KeyValueSequence = values["sequence"]
    found = []
    for t, query in enumerate(sequence.queries, start=1):
        letters = {**letters_at(sequence, t), "lam": sequence.regulariser}
        found.append((evaluate(parts["remainder"], letters) @ query)[:, 0])
    return np.array(found)


def points(name: str) -> list[dict[str, Any]]:
    """Rational sequences."""
    return [{"sequence": random_sequence(f"{name}/limit/{k}", shape)} for k, shape in enumerate(SHAPES)]
