r"""Two printed statements of the snap theorem, beside the exact law.

Letters
    h = eta_Z int gamma dt in the paper's convention (eta_Z sums over classes); C0 = gamma/xi at the start;
    gamma = (M - 1)^2 h/(M - 1 + e^{Mh}), that is ((M - 1)/M)^2 c with the pull c of `snap`
Main statements
    the integral     z' = -C0^-1 eta_Z gamma e^{4z}, B' = C0^-1 eta_Z gamma e^{4z} and z(0) = B(0) = 0 give
                     e^{4B} = 1 + 4 h/C0. Printed: C0 + 4 h, which is C0 times that: B too large by (1/4) ln C0 always
    the common token z_C' = -K (1 - rho) eta_Z xi with one common token, not -eta_Z xi: printed is the fall by one class
    right            e^{4KB} = 1 + 4 K h/C0 for small overlap (`snap`)
Audited
    [tian2023scan, Thm 4, Eqs. 13, 14, 124].
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

from ..algebra.derivations import Derivation, Source, Statement, Step
from ..one_layer.assumptions import check_positive
from ..one_layer.fixed_point import exact_value, latex_of
from .snap import Instance, force_forms, instance, layer_velocities, letters, prediction, vector
from .symmetric_task import check_time, decoder_logit, symmetric_task

if TYPE_CHECKING:
    import sympy as sp

# K and M of the counterexamples, P_C = 1/10 and one distinct token a class: overlap 1/82, M rho = 12
BOUND_CLASSES, TOKEN_CLASSES, VOCABULARY = 2, 4, 1001
COMMON, DISTINCT = Fraction(1, 10), Fraction(9, 10)


@cache
def integral_forms() -> dict[str, sp.Expr]:
    """e^{4B}: as printed, and solved for with B(0) = 0."""
    import sympy as sp

    C0, h, y = letters("C0 h y")
    constant = sp.Symbol("constant")
    speed = 4 * y * (1 / C0) / y  # of y = e^{4B} in h: 4 y B', where B' = e^{4z}/C0 = 1/(C0 y)
    general = constant + sp.integrate(speed, h)
    (start,) = sp.solve(general.subs(h, 0) - 1, constant)
    return {"printed": C0 + 4 * h, "right": sp.expand(general.subs(constant, start))}


def starting_constant(K: int, M: int, common: Fraction, distinct: Fraction) -> Fraction:
    """C0 = gamma/xi at the start, exactly, with one distinct token a class."""
    at = {"C": common**2, "S": distinct**2, "K": K, "m": M - 1}
    return Fraction(M - 1, M) ** 2 / exact_value(force_forms()["force"], at)


def bound_at_start() -> Fraction:
    """C0 of the counterexample: e^{4 B(0)} as printed."""
    return starting_constant(BOUND_CLASSES, VOCABULARY, COMMON, DISTINCT)


def early_bound(C0: float, share: float, classes: int, eta_Y: float, eta_Z: float, time: float) -> float:
    """[(rho0^4 + 2 eta_Y eta_Z t^2)/K]^{f^2/2} with rho0^4 = K C0: the printed lower bound on chi.

    share    f^2 of the token at the start;  eta_Z in the paper's convention
    """
    return float((C0 + 2 * eta_Y * eta_Z * time**2 / classes) ** (share / 2))


def share_at_start() -> Fraction:
    """f^2 of the distinct token of the counterexample."""
    return DISTINCT**2 / (COMMON**2 + DISTINCT**2)


def bound_counterexample() -> dict[str, Any]:
    """Plain numbers at t = 0, where chi = 1 by its definition."""
    C0 = bound_at_start()
    return {
        "K": BOUND_CLASSES, "M": VOCABULARY, "P_C": str(COMMON), "P_1": str(DISTINCT), "t": "0", "C0": str(C0),
        "e^(4 B) as printed": str(C0), "e^(4 B)": "1",
        "bound on chi as printed": f"{early_bound(float(C0), float(share_at_start()), BOUND_CLASSES, 1, 1, 0):.6g}",
        "chi": "1",
    }  # fmt: skip


def solution_check(given: Instance) -> tuple[Any, Any]:
    """Both at h = 0 and their slopes in h; the printed one is C0 times the other."""
    import sympy as sp

    forms, C0, u = integral_forms(), given.scores[0], given.u
    h = letters("h")
    at = {"C0": C0, "h": u}
    left = [
        exact_value(forms["right"], {**at, "h": 0}), exact_value(sp.diff(forms["right"], h), at),
        exact_value(forms["printed"], at),
    ]  # fmt: skip
    return vector(left), vector([1, 4 / C0, C0 * exact_value(forms["right"], at)])


@cache
def bound_refutation() -> Derivation:
    """The printed integral, and where it fails."""
    forms, C0 = integral_forms(), bound_at_start()
    import sympy as sp

    constant = sp.Rational(C0.numerator, C0.denominator)
    steps = (
        Step(
            "as printed", "e^{4B}, as printed", str(forms["printed"]),
            rf"e^{{4B}} \overset{{?}}{{=}} {latex_of(forms['printed'])},\quad h = \eta_Z\textstyle\int\gamma",
            f"under the printed hypotheses e^(4B) has the slope 4/C0 in h and starts at 1: it is {forms['right']}",
            solution_check, forms=dict(forms),
        ),
        Step(
            "counterexample", "C0 = gamma/xi at the start", f"{C0}; e^(4 B(0)) is 1, printed C0",
            rf"C_0 = {latex_of(constant)} \neq 1 = e^{{4B(0)}}",
            f"K = {BOUND_CLASSES}, M = {VOCABULARY}, P_C = {COMMON}, one distinct token",
            lambda given: (constant_of(given), literal_constant(given)), forms={"C0": constant},
        ),
    )  # fmt: skip
    return Derivation(BOUND_PRINTED, steps, {}, instance)


def constant_of(given: Instance) -> Fraction:
    """C0 of an instance's scores, by the derived force."""
    return Fraction(given.M - 1, given.M) ** 2 / exact_value(force_forms()["force"], given.values())


def literal_constant(given: Instance) -> Fraction:
    """gamma/xi, from the literal velocity of a distinct token."""
    _, distinct = layer_velocities(given)
    squares = [score**2 for score in given.scores]
    return Fraction(given.M - 1, given.M) ** 2 / (distinct * sum(squares) / squares[1])


BOUND_PRINTED = Statement(
    identifier="audit-snap-bound",
    title="As printed: B_n(t) = (1/4) ln(C0 + 4 eta_Z int gamma)",
    latex=r"B_n(t) \overset{?}{=} \tfrac14\ln\bigl(C_0 + 4\eta_Z\textstyle\int_0^t\gamma\bigr)",
    text=(
        "If z' = -C0^-1 eta_Z gamma e^{4z} for the common token and xi_n = C0^-1 gamma e^{4z}, then B_n(t) = "
        "(1/4) ln(C0 + 4 eta_Z int_0^t gamma), and chi >= [K^-1 (rho0^4 + 2 eta_Y eta_Z t^2)]^{f^2/2} early."
    ),
    assumptions=("z(0) = 0; B_n(t) = eta_Z int_0^t xi_n; chi(t) = e^{2 (z(t) - z(0))}",),
    conventions="as printed: eta_Z sums over classes without P(n)",
    sources=(Source("tian2023scan", "Theorem 4, Eqs. 14 and 124"),),
    uses=("snap",),
)


# The common token


@cache
def token_forms() -> dict[str, sp.Expr]:
    """z_C'/(eta_Z xi): as printed, and from the layer."""
    import sympy as sp

    forms = force_forms()
    return {"printed": sp.Integer(-1), "ratio": sp.factor(sp.cancel(forms["common"] / forms["force"]))}


def token_ratio() -> Fraction:
    """At the counterexample."""
    return exact_value(token_forms()["ratio"], {"C": COMMON**2, "S": DISTINCT**2, "K": TOKEN_CLASSES})


def token_counterexample() -> dict[str, Any]:
    """Plain numbers."""
    return {
        "K": TOKEN_CLASSES, "M": VOCABULARY, "P_C": str(COMMON), "P_1": str(DISTINCT),
        "z_C'/(eta_Z xi) as printed": "-1", "z_C'/(eta_Z xi)": str(token_ratio()),
    }  # fmt: skip


def literal_ratio(given: Instance) -> tuple[Fraction, Fraction]:
    """z_C' over z_1'/f_1^2, from the literal layer, and derived."""
    common, distinct = layer_velocities(given)
    squares = [score**2 for score in given.scores]
    return common / (distinct * sum(squares) / squares[1]), exact_value(token_forms()["ratio"], given.values())


@cache
def token_refutation() -> Derivation:
    """One common token of K classes."""
    forms = token_forms()
    steps = (
        Step(
            "as printed", "z_C'/(eta_Z xi), as printed", str(forms["printed"]),
            r"\dot z_C \overset{?}{=} -\eta_Z\,\xi_n", "Eq. 13 and Theorem 4 have one C0 for both",
            lambda _: (-1, exact_value(forms["printed"], {})), forms={"printed": forms["printed"]},
        ),
        Step(
            "the layer", "z_C'/(eta_Z xi)", str(forms["ratio"]), rf"\dot z_C/(\eta_Z\xi) = {latex_of(forms['ratio'])}",
            "all K classes pull the common token down, each by (1 - f_C^2) xi; C and S the squares of `snap`",
            literal_ratio, forms={"ratio": forms["ratio"]},
        ),
        Step(
            "counterexample", f"z_C'/(eta_Z xi) at K = {TOKEN_CLASSES}, P_C = {COMMON}", f"{token_ratio()}, printed -1",
            rf"\dot z_C/(\eta_Z\xi) = {latex_of(forms['ratio'])} \neq -1", "one distinct token a class: overlap 1/82",
            lambda _: (token_ratio(), Fraction(-TOKEN_CLASSES * 81, 82)),
        ),
    )  # fmt: skip
    return Derivation(TOKEN_PRINTED, steps, {}, instance)


TOKEN_PRINTED = Statement(
    identifier="audit-snap-common-token",
    title="As printed: the common token falls as fast as B_n grows",
    latex=r"\dot z_C \overset{?}{=} -C_0^{-1}\eta_Z\gamma e^{4z_C},\quad \xi_n \overset{?}{=} C_0^{-1}\gamma e^{4z_C}",
    text=(
        "With a single common token z_C' = -C0^-1 eta_Z gamma e^{4 z_C} and xi_n = C0^-1 gamma e^{4 z_C}: the same C0, "
        "whatever the number K of classes."
    ),
    assumptions=("one common token of K classes, small overlap",),
    conventions="as printed: eta_Z sums over classes without P(n)",
    sources=(Source("tian2023scan", "Eq. 13 and the hypotheses of Theorem 4; its Eq. 100 has the sum over classes"),),
    uses=("snap",),
)


# Public numbers


def printed_prediction(
    classes: Any, vocabulary: Any, common_probability: Any, distinct_profile: Any, eta_Y: Any, eta_Z: Any, time: Any
) -> dict[str, Any]:
    """B and the early bound as printed, beside what `snap` gives; eta_Z as in `snap`. Raises AssumptionError.

    C0 is gamma/xi at the start.

    >>> found = printed_prediction(2, 1001, 0.1, [1], 1, 1, 0)
    >>> found["strength"], round(found["printed_strength"], 6)
    (0.0, 2.18337)
    """
    task = symmetric_task(classes, vocabulary, common_probability, distinct_profile)
    rates, moment = (check_positive(eta_Y, "eta_Y"), check_positive(eta_Z, "eta_Z")), check_time(time)
    K, M = task.classes, task.vocabulary
    right = prediction(classes, vocabulary, common_probability, distinct_profile, *rates, moment)
    C, S = task.common**2, float(task.squares.sum())
    C0 = (1 - 1 / M) ** 2 * M * S * (S + K * C) / ((K - 1) * C * (M * C + S))
    u = decoder_logit(rates[0] * moment / K, M)
    h = rates[1] * (1 - 1 / M) ** 2 * u**2 / (2 * rates[0])  # eta_Z/K of the paper times K ((M - 1)/M)^2 u^2/(2 eta_Y)
    share = float(task.squares.max()) / (C + S)
    return {
        "printed_strength": math.log(C0 + 4 * h) / 4, "strength": right["strength"],
        "printed_bound_on_gain": early_bound(C0, share, K, rates[0], rates[1] / K, moment), "gain": right["gain"],
        "C0": C0,
    }  # fmt: skip


def printed_token(classes: Any, vocabulary: Any, common_probability: Any, distinct_profile: Any) -> dict[str, Any]:
    """z_C'/(eta_Z xi) at the start, as printed and from the layer. Raises AssumptionError.

    >>> printed_token(4, 1001, 0.1, [1])["printed"]
    -1.0
    """
    task = symmetric_task(classes, vocabulary, common_probability, distinct_profile)
    return {"printed": -1.0, "ratio": -task.classes * (1 - task.overlap)}
