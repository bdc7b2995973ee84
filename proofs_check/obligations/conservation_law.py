"""Obligations of conservation-law: the scale symmetry of layer and loss, and what it makes of Q."""

from __future__ import annotations

from typing import Any

from ..engines.expressions import Expression
from ..engines.identities import Identity
from ..engines.layer import DEGREE, LAW, PAIRS_OF_LEGS, PROMPT, WEIGHTS, dot, population_loss
from ..engines.points import Kind, Point
from .fixed_point import half, value
from .obligation import ClaimObligations, Forms, Obligation, Polynomial
from .population_loss import ASSUMPTIONS, TRUSTED, predicted, prompt_letters

BILINEAR, SYMMETRY, PULLS = "the prediction is bilinear", "scale symmetry of the loss", "the pulls agree"
CONSERVED, STEP, DECAY = "conserved under the flow", "a step of gradient descent", "weight decay"
GRADIENTS: dict[str, Kind] = {"g_u12": "vector", "g_u": "scalar", "g_U": "matrix", "g_u21": "vector"}
VECTORS = frozenset({"u12", "u21", "g_u12", "g_u21"})
LENGTHS = (1, 2, 3)


def scaled_value(point: Point, s: Any) -> Point:
    """The weights (s p, K)."""
    return point.with_values({"u12": point["u12"] * s, "u": point["u"] * s})


def scaled_key_query(point: Point, s: Any) -> Point:
    """The weights (p, s K)."""
    return point.with_values({"U": point["U"] * s, "u21": point["u21"] * s})


def bilinear_obligation(forms: Forms) -> Identity:
    del forms

    def differences(point: Point) -> list[Any]:
        s = point["s"]
        return [predicted(scaled_value(point, s), n) - predicted(scaled_key_query(point, s), n) for n in LENGTHS]

    letters: dict[str, Kind] = {**prompt_letters(LENGTHS[-1]), **WEIGHTS, "s": "scalar"}
    return Identity(differences, letters, {}, 3, DEGREE, 0, (1, 2))


def symmetry_obligation(forms: Forms) -> Identity:
    del forms

    def difference(point: Point) -> Any:
        s = point["s"]
        return population_loss(scaled_value(point, s)) - population_loss(scaled_key_query(point, s))

    return Identity(difference, {**LAW, **WEIGHTS, "s": "scalar"}, PROMPT, PAIRS_OF_LEGS, DEGREE + 2)


def pulls_obligation(forms: Forms) -> Identity:
    """d/ds at s = 1 of quadratics in s: half of the central differences over 0 and 2."""
    del forms

    def difference(point: Point) -> Any:
        two, zero = point.one * 2, point.one * 0
        of_value = population_loss(scaled_value(point, two)) - population_loss(scaled_value(point, zero))
        of_key_query = population_loss(scaled_key_query(point, two)) - population_loss(scaled_key_query(point, zero))
        return half(of_value - of_key_query)

    return Identity(difference, {**LAW, **WEIGHTS}, PROMPT, PAIRS_OF_LEGS, DEGREE)


def moved(point: Point, h: Any) -> Point:
    """theta - h g."""
    return point.with_values({name: point[name] - point[f"g_{name}"] * h for name in WEIGHTS})


def pulls_along(point: Point) -> Any:
    """<p, g_p> - <K, g_K>."""
    of_value = dot(point["u12"], point["g_u12"]) + point["u"] * point["g_u"]
    return of_value - (point["U"].T @ point["g_U"]).trace() - dot(point["u21"], point["g_u21"])


def of_weights(difference: Any, *forms: Expression, more: int, letters: dict[str, Kind] | None = None) -> Identity:
    """An identity in the weights and the letters of a gradient."""
    legs = max(2, *(form.pairs_of_legs(VECTORS) for form in forms))
    degree = max(form.degree() for form in forms) + more
    return Identity(
        difference, {**WEIGHTS, **GRADIENTS} if letters is None else letters, {}, legs, degree,
        max(form.largest_power("d") for form in forms),
    )  # fmt: skip


def conserved_obligation(forms: Forms) -> Identity:
    """The central difference of Q along g is twice its derivative, which is 2 (<p, g_p> - <K, g_K>)."""
    Q = forms.expression(CONSERVED, "conserved")

    def difference(point: Point) -> Any:
        one = point.one
        return value(Q, moved(point, -one)) - value(Q, moved(point, one)) - pulls_along(point) * 4

    return of_weights(difference, Q, more=0)


def step_obligation(forms: Forms) -> Identity:
    Q, drift = forms.expression(CONSERVED, "conserved"), forms.expression(STEP, "drift")

    def difference(point: Point) -> Any:
        change = value(Q, moved(point, point["h"])) - value(Q, point)
        return change + pulls_along(point) * point["h"] * 2 - value(drift, point)

    return of_weights(difference, Q, drift, more=2, letters={**WEIGHTS, **GRADIENTS, "h": "scalar"})


def decay_obligation(forms: Forms) -> Identity:
    Q = forms.expression(CONSERVED, "conserved")

    def difference(point: Point) -> Any:
        s = point["s"]
        scaled = scaled_key_query(scaled_value(point, s), s)
        return value(Q, scaled) - value(Q, point) * s * s

    return of_weights(difference, Q, more=2, letters={**WEIGHTS, "s": "scalar"})


ANY_LAW = (
    f"That the loss of any prompt, batch or law has the symmetry of the step {BILINEAR!r}, for it depends on p and K "
    f"through the prediction alone; the step {SYMMETRY!r} confirms it for the Gaussian law."
)
FLOW = (
    f"dQ/dt = -(dQ along g) for theta' = -g, which the steps {PULLS!r} and {CONSERVED!r} make zero, and Q' = -2 wd Q "
    f"has the "
    "solution e^(-2 wd t) Q(0): in words."
)


def obligations() -> ClaimObligations:
    """The six steps."""
    return ClaimObligations(
        "conservation-law",
        (*ASSUMPTIONS, "p = (u12, u), K = (U; u21^T)"),
        {
            BILINEAR: {}, SYMMETRY: {}, PULLS: {},
            CONSERVED: {"conserved": Polynomial("1", "1", frozenset({"u12", "U", "u21"}), {"u": (2,)})},
            STEP: {"drift": Polynomial("1", "1", frozenset({"g_u12", "g_U", "g_u21"}), {"g_u": (2,), "h": (2,)})},
            DECAY: {},
        },
        (
            Obligation(BILINEAR, "f at (s p, K) = f at (p, s K), for every prompt", bilinear_obligation),
            Obligation(SYMMETRY, "L(s p, K) = L(p, s K)", symmetry_obligation),
            Obligation(PULLS, "<p, dL/dp> = <K, dL/dK>", pulls_obligation),
            Obligation(
                CONSERVED, "the derivative of conserved along g is 2 (<p, g_p> - <K, g_K>), for every g",
                conserved_obligation,
            ),
            Obligation(
                STEP, "conserved(theta - h g) - conserved(theta) + 2 h (<p, g_p> - <K, g_K>) = drift, for every g",
                step_obligation,
            ),
            Obligation(DECAY, "conserved(s theta) = s^2 conserved(theta)", decay_obligation),
        ),
        (*TRUSTED, ANY_LAW, FLOW),
    )  # fmt: skip
