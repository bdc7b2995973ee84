r"""Overlap as a smaller learning rate, as it is printed, and when it is one.

Printed [tian2023scan, Lemma 5, Remark 1], for the flow of the loss in the decoder at equal overlaps f_n.f_j = rho, with
zeta_n = M/(M - 1) (e_n - 1/M):
    w_n(N) = (M - 1) h*(N/K) (zeta_n + rho sum_{j != n} zeta_j) = (1 - rho)(M - 1) h*(N/K) zeta_n,
the second equality by sum_n zeta_n = M/(M - 1) (sum_n e_n - 1) = 0.
Main statements
    sum         sum_{n <= K} zeta_n is (M - K)/(M - 1) at the token of a class and -K/(M - 1) at the rest: 0 iff K = M
    start       dw_n/dtau is rho - (1 + (K - 1) rho)/M at another class's token: above 0 for rho > 1/(M - K + 1), where
                -(1 - rho)/M is printed; the first printed form is right at this moment
    later       the first form does not stay right either: e^B -> (1 + rho (M - 1))/(1 - rho) (scan-equal-overlaps)
    K = M       the flow is that of scan-decoder at the rate (1 - rho) eta_Y
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any

from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.printing import to_text
from ..algebra.trace_polynomials import TracePolynomial, number, substitute
from ..one_layer.assumptions import check_positive
from .decoder import K, check_time, lead_at, value
from .equal_overlaps import (
    RHO,
    Setting,
    ceiling,
    check_setting,
    instance,
    literal_rates,
    logit_rates,
    numbers_at,
)
from .two_valued_logits import M

AT = {"K": Fraction(2), "M": Fraction(5), "rho": Fraction(1, 2)}
SUM, START, COUNTEREXAMPLE = "sum of the zeta_n", "at the start", "counterexample"


@cache
def sums() -> tuple[TracePolynomial, TracePolynomial]:
    """(M - 1) sum_n zeta_n at the token of a class and at one of the rest: M e_n - 1 over the K classes."""
    return M - K, -K


@cache
def start_rates() -> tuple[TracePolynomial, ...]:
    """M dw_n/dtau at the own token, at another class's and at one of the rest, for equal logits."""
    equal = {"X": number(1), "Z": number(1)}
    return tuple(substitute(part, scalars=equal) for part in logit_rates())


@cache
def printed_rates() -> tuple[TracePolynomial, ...]:
    """M times the slope of (1 - rho) (M - 1) h* zeta_n at the same places; h* grows at the rate 1/M at the start."""
    return (1 - RHO) * (M - 1), -(1 - RHO), -(1 - RHO)


def literal_sums(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """sum_n (M e_n - 1) token by token, and as derived."""
    classes, tokens = int(at["K"]), int(at["M"])
    found = [sum(at["M"] * int(k == n) - 1 for n in range(classes)) for k in range(tokens)]
    return found, [value(sums()[int(k >= classes)], at) for k in range(tokens)]


def literal_start(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """M dw_1/dtau from the literal table at equal logits, and as derived."""
    there = {**at, "X": Fraction(1), "Z": Fraction(1)}
    row = literal_rates(there)[0]
    return [at["M"] * row[k] for k in (0, 1, -1)], [value(part, at) for part in start_rates()]


def at_counterexample() -> tuple[list[Fraction], list[Fraction]]:
    """dw_1/dtau and the printed slope at the own token, at another class's and at the rest."""
    return [value(part, AT) / AT["M"] for part in start_rates()], [
        value(part, AT) / AT["M"] for part in printed_rates()
    ]


def counterexample() -> dict[str, Any]:
    """Plain numbers."""
    found, printed = at_counterexample()
    limit = value(ceiling(), AT) / (1 - AT["rho"])
    return {
        "K": 2, "M": 5, "rho": "1/2", "places": "own token, the other class's token, another token",
        "dw/dtau at t = 0": [str(one) for one in found], "printed": [str(one) for one in printed],
        "sum_n zeta_n": [str(value(part, AT) / (AT["M"] - 1)) for part in sums()],
        "e^(w_other class - w_rest), t -> infinity": str(limit), "printed there": "1",
    }  # fmt: skip


@cache
def derivation() -> Derivation:
    """The sum that is not 0, and what it changes."""
    found, printed = at_counterexample()
    at_class, at_rest = sums()
    _, other, _ = start_rates()
    steps = (
        Step(
            SUM,
            "(M - 1) sum_n zeta_n at the token of a class and at one of the rest",
            f"{to_text(at_class)} and {to_text(at_rest)}",
            r"\sum_{n\le K}\zeta_n = \frac{M-K}{M-1}\ \text{or}\ \frac{-K}{M-1}",
            "sum_n e_n is 1 at the tokens of the K classes only; it is the vector 1, as printed, iff K = M",
            literal_sums,
            forms={"at_class": at_class, "at_rest": at_rest},
        ),
        Step(
            START,
            "M dw_n/dtau at the own token, at another class's and at the rest, t = 0",
            "; ".join(to_text(part) for part in start_rates()),
            r"M\dot w_n = \bigl(M - 1 - \rho(K-1),\ \rho M - 1 - \rho(K-1),\ -1 - \rho(K-1)\bigr)",
            f"softmax is uniform; printed for another class's token: {to_text(printed_rates()[1])}, where it is "
            f"{to_text(other)}",
            literal_start,
            forms=dict(zip(("own", "other", "rest"), start_rates(), strict=True)),
        ),
        Step(
            COUNTEREXAMPLE,
            "dw_1/dtau at t = 0 for K = 2, M = 5, rho = 1/2",
            f"({', '.join(str(one) for one in found)}); printed ({', '.join(str(one) for one in printed)})",
            r"\dot w_1 = (\tfrac7{10}, \tfrac15, -\tfrac3{10}) \ne (\tfrac25, -\tfrac1{10}, -\tfrac1{10})",
            "two sequences of one common and one distinct token each, half and half",
            lambda at: ([*found, *printed], [
                Fraction(7, 10), Fraction(1, 5), Fraction(-3, 10), Fraction(2, 5), Fraction(-1, 10), Fraction(-1, 10),
            ]),
        ),
    )  # fmt: skip
    return Derivation(PRINTED, steps, {}, instance)


PRINTED = Statement(
    identifier="audit-scan-remark",
    title="As printed: equal overlaps are a smaller learning rate of the decoder",
    latex=r"w_n(N) = (M-1)\,h^*(N/K)\Bigl(\zeta_n + \rho\sum_{n'\ne n}\zeta_{n'}\Bigr) \overset{?}{=} "
    r"(1-\rho)(M-1)\,h^*(N/K)\,\zeta_n",
    text=(
        "If all off-diagonal elements of E are the same, rho, the original dynamics of the decoder has w_n(N) = (1 - "
        "rho)(M - 1) h*(N/K) zeta_n: that of the reparametrised dynamics at a smaller effective learning rate."
    ),
    assumptions=("f_n.f_j = rho for all n, j different; every class has probability 1/K; 2 <= K <= M",),
    conventions="zeta_n = M/(M - 1) (e_n - 1/M); tau = eta_Y t/K; as printed, in our letters",
    sources=(Source("tian2023scan", "Lemma 5, Remark 1, and the sentence after Theorem 1 (arXiv v4)"),),
    uses=("scan-equal-overlaps",),
)


def for_user(classes: Any, frequency: Any, overlap: Any, learning_rate: Any, time: Any) -> dict[str, float]:
    """The printed leads over the rest and the real ones. Raises AssumptionError."""
    at: Setting = check_setting(classes, frequency, overlap)
    reached = check_positive(learning_rate, "learning_rate") * (check_time(time) / at.K)
    found = numbers_at(at, reached)
    return {
        "printed_own_lead": (1 - at.rho) * lead_at(at.M, reached),
        "printed_class_lead": 0.0,
        "own_lead": found["own_lead"],
        "class_lead": found["class_lead"],
    }
