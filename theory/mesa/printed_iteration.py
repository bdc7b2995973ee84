r"""A recursion as it is printed for preconditioning, and what it tends to.

Printed: s^{K+1} = s^K + ((1 - 1/lambda) I - S S^T) s^K from s^0 = s_t tends to A^-1 s_t, A = S S^T + I/lambda.
Main statements
    map       s^K = (2I - A)^K s_t: each step multiplies, and s_t does not enter again
    limits    along an eigenvector of A with eigenvalue a the factor is (2 - a)^K: it tends to 0 for 1 < a < 3, turns
              its sign for ever at a = 3, grows for a < 1 and a > 3, and stays at a = 1, where a^-1 = 1 is right
    ours      s^{K+1} = s_t + ((1 - 1/lambda) I - S S^T) s^K has A^-1 s_t as its only fixed point, and its error is
              multiplied by I - A at each step: it converges for every s_t iff 0 < a < 2 for all a
Audited
    [vonoswald2023uncovering, v2, proof of Proposition 2], as quoted in our list of statements.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import Array, exact_inverse
from ..algebra.printing import to_text
from ..algebra.trace_polynomials import TracePolynomial, identity, matrix, scalar, vector
from ..one_layer.assumptions import AssumptionError, check_covariance, check_shape, is_whole
from .causal_layer import draw_fractions

MOMENT = matrix("X", symmetric=True)
LAMBDA, EYE = scalar("lambda"), identity("d")
ITERATE, STATE = vector("p"), vector("s_t")
LAYERS = 60  # 2^-60 is below the rounding of the printed limit
MOST = 100_000


def contraction() -> TracePolynomial:
    """(1 - 1/lambda) I - X."""
    return EYE - LAMBDA**-1 * EYE - MOMENT


@cache
def printed_step() -> TracePolynomial:
    """s^K + ((1 - 1/lambda) I - X) s^K."""
    return ITERATE + contraction() * ITERATE


@cache
def corrected_step() -> TracePolynomial:
    """s_t + ((1 - 1/lambda) I - X) s^K."""
    return STATE + contraction() * ITERATE


def values_at(seed: int) -> dict[str, Any]:
    """Rational X = B B^T, lambda, s_t and an iterate."""
    import random

    draw = random.Random(f"printed/{seed}")
    B = draw_fractions(draw, 2, 2)
    return {
        "X": B @ B.T, "lambda": Fraction(draw.randint(1, 9), 4), "s_t": draw_fractions(draw, 2, 1),
        "p": draw_fractions(draw, 2, 1),
    }  # fmt: skip


def whole(values: dict[str, Any]) -> Array:
    """A = X + I/lambda."""
    found: Array = values["X"] + np.eye(2, dtype=int).astype(object) / values["lambda"]
    return found


def multiplied(seed: int) -> tuple[Any, Any]:
    """Three printed steps from s_t, and (2I - A)^3 s_t."""
    from ..algebra.evaluation import evaluate

    values, eye = values_at(seed), np.eye(2, dtype=int).astype(object)
    factor, p = 2 * eye - whole(values), values["s_t"]
    for _ in range(3):
        p = evaluate(printed_step(), {**values, "p": p})
    return p, factor @ factor @ factor @ values["s_t"]


def corrected_error(seed: int) -> tuple[Any, Any]:
    """A^-1 s_t - (the corrected step of p), and (I - A)(A^-1 s_t - p)."""
    from ..algebra.evaluation import evaluate

    values, eye = values_at(seed), np.eye(2, dtype=int).astype(object)
    limit = exact_inverse(whole(values)) @ values["s_t"]
    return limit - evaluate(corrected_step(), values), (eye - whole(values)) @ (limit - values["p"])


def printed_limit() -> Fraction:
    """(S S^T + 1/lambda)^-1 s_t at S S^T = 1, lambda = 2, s_t = 1."""
    return 1 / (Fraction(1) + Fraction(1, 2))


def factor_at_counterexample() -> Fraction:
    """2 - 1/lambda - S S^T there."""
    return 2 - Fraction(1, 2) - Fraction(1)


def counterexample() -> dict[str, Any]:
    """Plain numbers, in one dimension."""
    iterates = [str(factor_at_counterexample() ** K) for K in (0, 1, 2, 3)]
    return {
        "n": 1, "S S^T": "1", "lambda": "2", "s_t": "1", "s^0, s^1, s^2, s^3": iterates, "limit": "0",
        "printed limit": str(printed_limit()),
        "at S S^T = 1/4, lambda = 2 (a = 3/4)": f"s^K = (5/4)^K grows; printed limit {1 / Fraction(3, 4)}",
    }  # fmt: skip


@cache
def derivation() -> Derivation:
    """What the printed recursion does, where, and the one that converges."""
    steps = (
        Step(
            "the printed step",
            "s^{K+1}",
            to_text(printed_step()),
            r"s^{K+1} = (2I - A)\,s^K,\quad A = SS^\top + I/\lambda",
            "I + (1 - 1/lambda) I - X = 2I - A: s^K = (2I - A)^K s_t",
            multiplied,
            forms={"right": printed_step()},
        ),
        Step(
            "counterexample",
            "(factor of a step, printed limit) at n = 1, S S^T = 1, lambda = 2, s_t = 1",
            f"({factor_at_counterexample()}, {printed_limit()}): s^K = 2^-K tends to 0",
            r"s^K = 2^{-K} \to 0 \ne \tfrac23",
            "2 - a = 1/2 at a = 3/2; the printed limit is 1/a = 2/3, and no fixed point of the step",
            lambda seed: (
                [factor_at_counterexample(), factor_at_counterexample() * printed_limit() == printed_limit()],
                [Fraction(1, 2), False],
            ),
        ),
        Step(
            "the recursion that converges",
            "A^-1 s_t - s^{K+1} of " + to_text(corrected_step()),
            "(I - A)(A^-1 s_t - s^K)",
            r"s^{K+1} = s_t + (I - A)\,s^K:\quad A^{-1}s_t - s^{K+1} = (I - A)(A^{-1}s_t - s^K)",
            "s_t in the place of the first s^K: the Neumann series of A^-1, where all eigenvalues of A are below 2",
            corrected_error,
            forms={"right": corrected_step()},
        ),
    )
    return Derivation(PRINTED, steps, {}, lambda seed: seed)


PRINTED = Statement(
    identifier="audit-mesa-richardson",
    title="As printed: s^K + ((1 - 1/lambda) I - S S^T) s^K tends to the preconditioned state",
    latex=r"s^{K+1} = s^K + \bigl((1 - \tfrac1\lambda) I - SS^\top\bigr)s^K \overset{?}{\longrightarrow} "
    r"(SS^\top + I/\lambda)^{-1}s_t",
    text=(
        "The recursion s^{K+1} = s^K + ((1 - 1/lambda) I - S S^T) s^K from s^0 = s_t tends to (S S^T + I/lambda)^-1 "
        "s_t."
    ),
    assumptions=("lambda > 0; S holds the inputs of the pairs seen",),
    conventions="as printed; A = S S^T + I/lambda",
    sources=(Source("vonoswald2023uncovering", "v2, proof of Proposition 2 (as quoted in our list of statements)"),),
    uses=("mesa-preconditioning",),
)


def wiring(layers: int) -> dict[str, Any]:
    """The printed recursion on numbers at lambda = 2 as heads: -X p, and (1 - 1/lambda) p of the own position."""
    own = float(1 - Fraction(1, 2))
    layer = [
        {"value": [["iterate", "previous", [[-1.0]]]], "key_query": [["previous", "iterate", [[1.0]]]]},
        {"value": [["iterate", "iterate", [[own]]]], "key_query": [["position", "position", "I"]]},
    ]
    readout = {"value": [["prediction", "state", [[1.0]]]], "key_query": [["previous", "iterate", [[1.0]]]]}
    return {"start": [[1.0]], "layers": [layer] * layers, "readout": [readout]}


def for_user(moment: Any, regulariser: Any, state: Any, steps: Any = 100) -> dict[str, Any]:
    """Both recursions after `steps` steps, the printed limit, and the eigenvalues a of A. Raises AssumptionError."""
    X = check_covariance(moment, "moment", definite=False)
    lam = float(check_shape(regulariser, (), "regulariser"))
    if lam <= 0:
        raise AssumptionError(f"regulariser needs lambda > 0, got {lam:g}; give one such as 2")
    if not is_whole(steps) or not 0 <= steps <= MOST:
        raise AssumptionError(f"steps needs a whole number from 0 to {MOST}, got {steps!r}; give one such as 100")
    s, A = check_shape(state, (len(X),), "state"), X + np.eye(len(X)) / lam
    eigenvalues, basis = np.linalg.eigh(A)
    limit, inside = np.linalg.solve(A, s), basis.T @ s
    printed = basis @ ((2 - eigenvalues) ** int(steps) * inside)
    corrected = limit - basis @ ((1 - eigenvalues) ** int(steps) * (inside / eigenvalues - inside))
    return {
        "printed": printed.tolist(),
        "corrected": corrected.tolist(),
        "printed_limit": limit.tolist(),
        "eigenvalues": eigenvalues.tolist(),
    }
