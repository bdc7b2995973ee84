r"""How the learning rates of decoder and attention set what attention has become at a given time.

Letters of `snap`: u and x = e^u of the decoder, m = M - 1, tau = eta_Y t/K, s = (eta_Z/eta_Y) u^2 the drive.
Main statements
    same drive    attention depends on (eta_Y, eta_Z, t) through s alone, and s decides how sparse it is: with s the
                  attention among distinct tokens grows more unequal (in the order of majorisation, so any entropy of it
                  falls), and the overlap with the common token falls
    elasticities  d ln s/d ln eta_Z = 1,   d ln s/d ln eta_Y = e = 2 (x - 1 + m u)/(u (x + m)) - 1 at a fixed time:
                  every logit changes by eta_Y and by eta_Z in the ratio e
    both rates    scaled alike: d ln s = 1 + e > 0: sparser at every time
    crossing      e > 0 before and e < 0 after the one u_x > 0 with (u - 2) e^u = (M - 1) u - 2: a larger eta_Y gives
                  sparser attention at times before, denser attention at times after;
                  t_x = (K/eta_Y) tau(u_x), and t_x eta_Y/(K ln M) -> 1 as M grows
    earlier snap  growth slows after t* = (K/eta_Y) tau(u*) (`snap`): in proportion to 1/eta_Y, whatever eta_Z
Assumptions
    Those of `snap`; the reparametrised flow.
References
    [tian2023scan, sec. 6, insights (a) to (c), Fig. 6]; crossing, elasticities and the order are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import Array, evaluate
from ..algebra.formulas import Formula
from ..algebra.trace_polynomials import TracePolynomial, scalar
from ..one_layer.assumptions import check_positive
from ..one_layer.fixed_point import exact_value, latex_of
from .snap import (
    Instance,
    clock_forms,
    decoder_forms,
    drive_form,
    instance,
    letters,
    prediction,
    root_of_decoder,
    time_of_logit,
    vector,
)
from .symmetric_task import decoder_logit, symmetric_task

if TYPE_CHECKING:
    import sympy as sp


@cache
def elasticity_forms() -> dict[str, sp.Expr]:
    """d ln s by ln eta_Z, by ln eta_Y, and by both together, at a fixed time."""
    import sympy as sp

    u, m, eta_Y, eta_Z = letters("u m eta_Y eta_Z")
    decoder, s = decoder_forms(), drive_form()
    speed = (m + 1) * decoder["rate"]  # du/dtau; tau is in proportion to eta_Y
    by_Z = sp.cancel(eta_Z * sp.diff(s, eta_Z) / s)
    by_Y = sp.cancel((eta_Y * sp.diff(s, eta_Y) + sp.diff(s, u) * speed * decoder["time"]) / s)
    return {"eta Z": by_Z, "eta Y": sp.factor(by_Y), "both": sp.factor(by_Y + by_Z)}


@cache
def crossing_forms() -> dict[str, sp.Expr]:
    """The numerator of the elasticity by eta_Y, and its first two derivatives in u."""
    import sympy as sp

    u, x = letters("u x")
    (top, _) = sp.fraction(elasticity_forms()["eta Y"])
    sign = sp.expand(top)

    def slope(expression: sp.Expr) -> sp.Expr:
        return sp.expand(sp.diff(expression, u) + x * sp.diff(expression, x))

    return {"sign": sign, "slope": slope(sign), "bend": slope(slope(sign))}


@cache
def order_forms() -> dict[str, sp.Expr]:
    """Slopes in the clock: of ln u_1/u_2 for two distinct tokens with squares u_1, u_2, and of ln u_C/S."""
    import sympy as sp

    S, u1, u2, q = letters("S u1 u2 Q")  # Q = sum u_l^2
    rate, fall = clock_forms()["rate"], clock_forms()["fall"]
    unequal = -rate * u1 - -rate * u2  # d ln u_l = -u_l d(1/u_l)
    return {"unequal": sp.expand(unequal), "overlap": sp.expand(fall - -rate * q / S)}


def elasticity_check(given: Instance) -> tuple[Array, Array]:
    """At free u and x: 1, and 2 tau u'/u - 1 with tau and u' from the decoder."""
    forms, values = elasticity_forms(), given.values()
    tau = exact_value(decoder_forms()["time"], values)
    speed = given.M * exact_value(decoder_forms()["rate"], values)
    left = [Fraction(1), 2 * tau * speed / given.u - 1, 2 * tau * speed / given.u]
    return vector(left), vector([exact_value(forms[name], values) for name in ("eta Z", "eta Y", "both")])


def crossing_check(given: Instance) -> tuple[Array, Array]:
    """The sign's multiple of the elasticity; value and slope at u = 0; the bend."""
    forms, values = crossing_forms(), given.values()
    origin = {**values, "u": 0, "x": 1}
    bottom = given.u * (given.x + given.M - 1)
    left = [
        exact_value(elasticity_forms()["eta Y"], values) * bottom, exact_value(forms["sign"], origin),
        exact_value(forms["slope"], origin), exact_value(forms["bend"], values),
    ]  # fmt: skip
    return vector(left), vector([exact_value(forms["sign"], values), 0, given.M, -given.u * given.x])


def order_check(given: Instance) -> tuple[Array, Array]:
    """Slopes by the closed forms: of ln (1 - sigma q) and of S, term by term."""
    squares = [p**2 for p in given.probabilities]
    grown = [q / (1 - given.sigma * q) for q in squares]
    S, Q = sum(grown), sum(one**2 for one in grown)
    ratio = squares[0] / (1 - given.sigma * squares[0]) - squares[1] / (1 - given.sigma * squares[1])
    rise = sum(q**2 / (1 - given.sigma * q) ** 2 for q in squares)  # S' = sum q^2/(1 - sigma q)^2
    overlap = sum(-given.K * q / (1 - given.sigma * q) for q in squares) - rise / S
    forms = order_forms()
    return vector([ratio, overlap]), vector(
        [
            exact_value(forms["unequal"], {"u1": grown[0], "u2": grown[1]}),
            exact_value(forms["overlap"], {"K": given.K, "S": S, "Q": Q}),
        ]
    )


@cache
def derivation() -> Derivation:
    """Three steps."""
    elastic, crossing, order = elasticity_forms(), crossing_forms(), order_forms()
    steps = (
        Step(
            "elasticities", "d ln s/d ln eta_Y at a fixed time", str(elastic["eta Y"]),
            rf"\frac{{\partial \ln s}}{{\partial \ln\eta_Y}} = {latex_of(elastic['eta Y'])},\quad x = e^u",
            "s = (eta_Z/eta_Y) u(tau)^2, tau = eta_Y t/K: 2 tau u'/u - 1; by ln eta_Z it is 1, by both the sum, "
            f"{elastic['both']} > 0",
            elasticity_check, forms={"eta Z": elastic["eta Z"], "eta Y": elastic["eta Y"], "both": elastic["both"]},
        ),
        Step(
            "one crossing", "its sign", f"that of {crossing['sign']}",
            rf"\operatorname{{sign}}\bigl({latex_of(crossing['sign'])}\bigr)",
            f"it is 0 at u = 0 with slope M, and its second derivative {crossing['bend']} is negative: one zero",
            crossing_check, forms=dict(crossing),
        ),
        Step(
            "what the drive does", "slopes of ln u_1/u_2 and of ln u_C/S in the clock",
            f"{order['unequal']} and {order['overlap']}",
            rf"\partial_\sigma \ln\tfrac{{u_1}}{{u_2}} = {latex_of(order['unequal'])}",
            "1/u_l falls at rate 1 for all: the larger of two squares gains on the smaller, so shares grow more "
            "unequal in the order of majorisation; the common token falls and the distinct ones rise",
            order_check, forms=dict(order),
        ),
    )  # fmt: skip
    results = {"elasticity": elastic["eta Y"], "crossing": crossing["sign"]}
    return Derivation(replace(STATEMENT, latex=steps[0].latex), steps, results, instance)


STATEMENT = Statement(
    identifier="scan-learning-rates",
    title="Learning rates: when a larger decoder rate gives denser attention, and when sparser",
    latex="",  # the derived formula, filled in by `derivation`
    text=(
        "Attention depends on rates and time through s = (eta_Z/eta_Y) u^2 alone. At a fixed time a larger eta_Z, and "
        "both rates scaled up alike, give sparser attention among the distinct tokens; a larger eta_Y gives sparser "
        "attention among them before t_x ~ K ln M/eta_Y and denser attention after it. Growth slows at a time in "
        "proportion to 1/eta_Y."
    ),
    assumptions=(
        "one query; K >= 2 classes with probability 1/K; one common token; distinct tokens alike up to their names",
        "sequences of infinite length; Y = Z = 0 at the start; reparametrised decoder; gradient flow",
    ),
    conventions="sparser: more unequal among the distinct tokens (majorisation), and less overlap; the entropy of "
    "all attention may rise while the common token leads; time as in snap",
    sources=(Source("tian2023scan", "Section 6, insights (a), (b), (c)"), Source("ours", "crossing and elasticities")),
    uses=("snap",),
)


# Public numbers


def crossing_logit(vocabulary: int) -> float:
    """The u > 0 with (u - 2) e^u = (M - 1) u - 2. It lies above 2 for M > 2, since the right side is positive there.

    >>> round(crossing_logit(60), 6)
    4.634957
    """
    from scipy.optimize import brentq

    def sign(u: float) -> float:
        return (vocabulary - 1) * u - 2 - (u - 2) * math.exp(u)

    return float(brentq(sign, 0.5, 10 + 2 * math.log(vocabulary), xtol=1e-14, rtol=1e-14))


def elasticity(tau: float, vocabulary: int) -> float:
    """d ln s/d ln eta_Y; 1 at tau = 0."""
    u = decoder_logit(tau, vocabulary)
    return 2 * vocabulary * tau / (u * (math.exp(u) + vocabulary - 1)) - 1 if u > 0 else 1.0


def rates_prediction(
    classes: Any, vocabulary: Any, common_probability: Any, distinct_profile: Any, eta_Y: Any, eta_Z: Any, time: Any
) -> dict[str, Any]:
    """How attention at a time answers to the rates. Raises AssumptionError.

    >>> found = rates_prediction(4, 60, 0.35, [1, 2, 3], 1.0, 1.0, 100.0)
    >>> found["crossing_time"] < 100, round(found["elasticity_eta_Y"], 3)
    (True, -0.626)
    """
    found = prediction(classes, vocabulary, common_probability, distinct_profile, eta_Y, eta_Z, time)
    task, rate = (
        symmetric_task(classes, vocabulary, common_probability, distinct_profile),
        check_positive(eta_Y, "eta_Y"),
    )
    value = elasticity(rate * float(time) / task.classes, task.vocabulary)
    return {
        "drive": found["drive"], "elasticity_eta_Y": value, "elasticity_eta_Z": 1.0, "elasticity_both": 1 + value,
        "crossing_time": time_of_logit(crossing_logit(task.vocabulary), task, rate),
        "slowing_time": found["slowing_time"],
        "entropy": found["entropy"], "entropy_of_distinct": found["entropy_of_distinct"],
    }  # fmt: skip


# The formula that is altered


@cache
def formula() -> Formula:
    """decoder vanishes at u; the drive; top/bottom - 1 the elasticity by eta_Y."""
    x, u, M, tau = (scalar(name) for name in ("x", "u", "M", "tau"))
    parts = {
        "decoder": x - 1 + M * u - u - M * tau,
        "drive": scalar("eta_Z") * scalar("eta_Y") ** -1 * u * u,
        "top": 2 * M * tau,
        "bottom": u * x + M * u - u,
    }
    return Formula(parts, pointwise, Vocabulary({"u": ("tau",), "tau": ("u",), "x": ("M",), "M": ("x",)}))


def pointwise(parts: Mapping[str, TracePolynomial], values: Mapping[str, Any]) -> Array:
    """Decoder, drive in units of that at other letters (its scale is no part of the statement), and elasticity."""
    at = {name: evaluate(part, values) for name, part in parts.items()}
    other = {**values, "u": values["tau"], "eta_Y": values["x"], "eta_Z": values["M"]}
    unit = evaluate(parts["drive"], {**other, "tau": values["u"]})
    if at["bottom"] == 0 or unit == 0:
        raise ValueError("need denominators that do not vanish")
    return np.array([at["decoder"], at["drive"] / unit, at["top"] / at["bottom"] - 1], dtype=object)


LETTERS = ("x", "u", "M", "tau", "eta_Y", "eta_Z")


def points(name: str) -> list[dict[str, Any]]:
    """Rational values of the letters."""
    draw = np.random.default_rng([len(name), 33])
    exact = np.array([Fraction(1)], dtype=object)  # makes the evaluation exact
    return [
        {"exact": exact, **{one: Fraction(int(a), int(b)) for one, (a, b) in zip(LETTERS, row, strict=True)}}
        for row in draw.integers(1, 40, size=(4, len(LETTERS), 2))
    ]


def letters_at(classes: int, vocabulary: int, eta_Y: float, eta_Z: float, time: float) -> dict[str, float]:
    """Their values at a time."""
    tau = eta_Y * time / classes
    u = decoder_logit(tau, vocabulary)
    return {"x": math.exp(u), "u": u, "M": float(vocabulary), "tau": tau, "eta_Y": eta_Y, "eta_Z": eta_Z}


def drive_and_elasticity_by(
    parts: Mapping[str, TracePolynomial], classes: int, vocabulary: int, eta_Y: float, eta_Z: float, time: float
) -> tuple[float, float]:
    """(s, e) at a time by the polynomials; infinite where they give none."""
    values = {"M": float(vocabulary), "tau": eta_Y * time / classes, "eta_Y": eta_Y, "eta_Z": eta_Z}
    u = root_of_decoder(parts["decoder"], values)
    if not math.isfinite(u):
        return math.inf, math.inf
    there = {**values, "u": u, "x": math.exp(u)}
    top, bottom = (float(evaluate(parts[name], there)) for name in ("top", "bottom"))
    ratio = top / bottom - 1 if bottom else math.inf
    return float(evaluate(parts["drive"], there)), ratio if math.isfinite(ratio) else math.inf
