"""Obligations of gradient-flow-limit: the loss at u = 0, what is conserved, the stationary points, and the saddle."""

from __future__ import annotations

from typing import Any

from ..engines.identities import Identity
from ..engines.layer import DEGREE, PAIRS_OF_LEGS, PROMPT
from ..engines.points import Point
from .fixed_point import half, of_forms, value
from .gradient_flow import ALONG, WITHOUT_LEAK, along, key_query_slope, loss_at, value_slope
from .obligation import ClaimObligations, Forms, Obligation, Polynomial, of_law
from .pl_inequality import GAIN_KIND, START_KIND, gain, product, scalars, theorem_start_identity, value_obligation
from .population_loss import ASSUMPTIONS, TRUSTED

NO_VALUE, GAIN = "the loss at u = 0", "gain over zero weights"
CONSERVED, VALUE = "the conserved quantity without leak", "u from A and c"
CONVERGENCE, LIMIT, SADDLE, START = "convergence", "the limit", "second derivatives at u = 0", "the theorem's start"


def no_value_obligation(forms: Forms) -> Identity:
    del forms

    def difference(point: Point) -> Any:
        zero = point.one * 0
        return loss_at(point, zero, point["U"]) - loss_at(point, zero, point["U"] * zero)

    return Identity(difference, WITHOUT_LEAK, PROMPT, PAIRS_OF_LEGS, DEGREE)


def gain_obligation(forms: Forms) -> Identity:
    form = forms.expression(GAIN, "gain")
    return of_forms(lambda point: gain(point) - value(form, point), (form,), WITHOUT_LEAK, 0)


def change_obligation(forms: Forms) -> Identity:
    """u dL/du = tr(U^T dL/dU); and the central difference of c along (v, V) is 4 (u v - tr(U^T V))."""
    c = forms.expression(CONSERVED, "conserved")

    def difference(point: Point) -> list[Any]:
        u, U, v, V = (point[name] for name in ("u", "U", "v", "V"))
        ahead, behind = (
            value(c, point.with_values({"u": u + v * sign, "U": U + V * sign})) for sign in (point.one, -point.one)
        )
        return [u * value_slope(point) - key_query_slope(point, U), ahead - behind - (u * v - along(U, V)) * 4]

    return of_forms(difference, (c,), {**ALONG, "v": "scalar"}, 0)


def convergence_obligation(forms: Forms) -> Identity:
    """w = sqrt(L - min L), p = |grad L|, s = sqrt(mu): p^2/(2 w) - s p/2 = p (p - s w)/(2 w), multiplied out."""
    del forms

    def difference(point: Point) -> Any:
        p, s, w = (point[name] for name in ("p", "s", "w"))
        return p * p - s * w * p - p * (p - s * w)

    return Identity(difference, scalars("p", "s", "w"), {}, 1, 4)


def limit_obligation(forms: Forms) -> Identity:
    left, right = forms.expression(LIMIT, "left"), forms.expression(LIMIT, "right")

    def difference(point: Point) -> list[Any]:
        u, U, V, Lambda = (point[name] for name in ("u", "U", "V", "Lambda"))
        residual = Lambda @ (value(left, point) @ product(point) - value(right, point)) @ Lambda
        return [
            key_query_slope(point, V) - u * along(V, residual),
            value_slope(point) - along(U, residual),
        ]

    return of_forms(difference, (left, right), ALONG, 5)


def scale_obligation(forms: Forms) -> Identity:
    """u^2 = (c + w)/2 with w^2 = c^2 + 4 |A|^2 solves u^4 = c u^2 + |A|^2."""
    del forms

    def difference(point: Point) -> Any:
        c, w = point["c"], point["w"]
        square = half(c + w)
        return square * square - c * square - half(half(w * w - c * c))

    return Identity(difference, scalars("c", "w"), {}, 1, 4)


def saddle_obligation(forms: Forms) -> Identity:
    """The mixed difference over u = +-1 and U +- V, at u = 0: the part of L odd in u is bilinear."""
    C = forms.expression(SADDLE, "C")

    def difference(point: Point) -> Any:
        one, U, V = point.one, point["U"], point["V"]
        corners = one * 0
        for s in (one, -one):
            for t in (one, -one):
                corners = corners + loss_at(point, s, U + V * t) * s * t
        return half(half(corners)) + along(V, value(C, point) @ point["Lambda"])

    letters = {name: kind for name, kind in ALONG.items() if name != "u"}
    return of_forms(difference, (C,), letters, 2)


def start_obligation(forms: Forms) -> Identity:
    return theorem_start_identity(forms, START)


IN_WORDS = (
    f"Convergence is no identity: that the flow lowers L and keeps c, the inequality of pl-inequality, that a path of "
    f"finite length has an end, and that A* is the only A without leak at min L (step {CONVERGENCE!r}); the "
    f"eigenvalues at the saddle (step {SADDLE!r}); the operator norms of {START!r}."
)
NOT_PROVED = "That almost every start leaves the saddles at u = 0: neither proved nor certified."


def obligations() -> ClaimObligations:
    """The eight steps."""
    return ClaimObligations(
        "gradient-flow-limit",
        (*ASSUMPTIONS, "u12 = u21 = 0, A = u U; the last step: Psi = I, sigma2 = 0"),
        {
            NO_VALUE: {},
            GAIN: {"gain": GAIN_KIND},
            CONSERVED: {"conserved": Polynomial("1", "1", frozenset({"U"}), {"u": (2,)})},
            VALUE: {}, CONVERGENCE: {},
            LIMIT: {"left": of_law(), "right": of_law()},
            SADDLE: {"C": of_law()},
            START: {"gain": START_KIND},
        },
        (
            Obligation(NO_VALUE, "L(0, 0, U, 0) = L(0)", no_value_obligation),
            Obligation(GAIN, "L(0) - L = gain", gain_obligation),
            Obligation(
                CONSERVED, "u dL/du = tr(U^T dL/dU); the derivative of conserved along (v, V) is 2 (u v - tr(U^T V))",
                change_obligation,
            ),
            Obligation(VALUE, "u^4 = (u^2 - |U|^2) u^2 + |u U|^2", value_obligation),
            Obligation(CONVERGENCE, "p^2 - s w p = p (p - s w)", convergence_obligation),
            Obligation(
                LIMIT, "dL/dU along V = u tr(V^T X), dL/du = tr(U^T X) with X = Lambda (left A - right) Lambda",
                limit_obligation,
            ),
            Obligation(LIMIT, "u^2 = (c + w)/2 with w^2 = c^2 + 4 |A|^2 solves u^4 = c u^2 + |A|^2", scale_obligation),
            Obligation(SADDLE, "d^2 L/du dU along V = -tr(V^T C Lambda) at u = 0", saddle_obligation),
            Obligation(START, "L(0) - L = gain at Psi = I, sigma2 = 0, A = s P", start_obligation),
        ),
        (*TRUSTED, IN_WORDS, NOT_PROVED),
    )  # fmt: skip
