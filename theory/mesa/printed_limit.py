r"""The printed limit of the mesa layer: "lambda -> 0 turns the mesa layer into linear attention".

Main statements
    at one pair      T = d = m = 1, k = v = q = 1: o = lambda/(1 + lambda), which goes to 0; linear attention is 1
    in general       |o_t| <= (lambda/zeta_t0) |B_t| |q_t|, and it is (zeta_t0/lambda) o_t that goes to linear attention
Audited
    [vonoswald2023uncovering]; right in its place: `regulariser_limits`.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import Array, evaluate
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial
from .backward_pass import CROSS, QUERY
from .key_value_sequences import KeyValueSequence, discount, least_squares, random_sequence, statistics

SMALL = Fraction(1, 2**20)


def linear_attention() -> TracePolynomial:
    """B q with B = sum_i zeta_ti v_i k_i^T: what is printed as the limit."""
    return CROSS * QUERY


def one_pair(regulariser: Fraction) -> KeyValueSequence:
    """k = v = q = 1 without forgetting."""
    one = (np.array([[Fraction(1)]], dtype=object),)
    return KeyValueSequence(one, one, one, (Fraction(1),), regulariser)


def output_of_pair(regulariser: Fraction) -> Fraction:
    """o = lambda/(1 + lambda)."""
    return Fraction(least_squares(one_pair(regulariser), 1)[0, 0])


def printed_at(sequence: KeyValueSequence) -> Array:
    """Linear attention at the last t of a sequence, (m, 1)."""
    cross, _ = statistics(sequence, len(sequence))
    found: Array = evaluate(linear_attention(), {"B": cross, "q": sequence.queries[-1]})
    return found


def counterexample() -> dict[str, Any]:
    """Plain numbers: the output at three lambda, and the printed limit."""
    outputs = {f"output at lambda = {one}": str(output_of_pair(one)) for one in (Fraction(1), Fraction(1, 1000), SMALL)}
    printed = printed_at(one_pair(SMALL))[0, 0]
    return {"T": 1, "d": 1, "k_1": "1", "v_1": "1", "q_1": "1", **outputs, "printed limit": str(printed), "limit": "0"}


def sums_directly(sequence: KeyValueSequence) -> Array:
    """sum_i zeta_Ti v_i (k_i.q), score by score."""
    query, total = sequence.queries[-1], 0 * sequence.values[0]
    for i, (key, value) in enumerate(zip(sequence.keys, sequence.values, strict=True), start=1):
        total = total + discount(sequence, len(sequence), i) * (key.T @ query)[0, 0] * value
    return total


@cache
def refutation() -> Derivation:
    """One pair, at which the output goes to 0 and linear attention is 1."""
    form = linear_attention()
    steps = (
        Step(
            "as printed",
            "lim o_t as lambda -> 0, as printed",
            f"{to_text(form)}, B = sum_i zeta_ti v_i k_i^T",
            rf"\lim_{{\lambda\to 0}} o_t \overset{{?}}{{=}} {to_latex(form)}",
            "linear attention with the forget gates as decays",
            lambda seed: (sums_directly(random_sequence(seed)), printed_at(random_sequence(seed))),
            forms={"printed": form},
        ),
        Step(
            "counterexample",
            "o_1 at T = d = 1, k = v = q = 1",
            "lambda/(1 + lambda), which goes to 0; printed 1",
            r"o_1 = \frac{\lambda}{1 + \lambda} \to 0 \neq 1",
            "1/2 (1 - Phi)^2 + Phi^2/(2 lambda) is least at lambda/(1 + lambda)",
            lambda seed: (
                [output_of_pair(Fraction(1, seed + 2)), printed_at(one_pair(SMALL))[0, 0]], [Fraction(1, seed + 3), 1]
            ),
        ),
    )  # fmt: skip
    return Derivation(PRINTED, steps, {}, lambda seed: seed)


PRINTED = Statement(
    identifier="audit-mesa-limit",
    title="As printed: lambda -> 0 turns the mesa layer into linear attention",
    latex=r"\lim_{\lambda\to 0} \Phi_t q_t \overset{?}{=} \sum_{i\le t} \zeta_{ti} v_i (k_i^\top q_t)",
    text="As lambda -> 0 the mesa layer becomes linear attention: its output goes to sum_i zeta_ti v_i (k_i.q_t).",
    assumptions=("any keys, values and queries; gates gamma_t in (0, 1]",),
    conventions="as printed; lambda is that of the regulariser |Phi|^2/(2 lambda), R_0 = lambda I",
    sources=(Source("vonoswald2023uncovering", "Section on the mesa layer"),),
    uses=("mesa-layer",),
)
