"""Obligations of gradient-flow: parity in the leak, the loss without leak, and both parts of its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..engines.expressions import Quotient
from ..engines.identities import Identity
from ..engines.layer import DEGREE, LAW, PAIRS_OF_LEGS, PROMPT, WEIGHTS, nothing, population_loss
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from .any_start import at
from .fixed_point import half, of_forms, value
from .obligation import ClaimObligations, Forms, Obligation, Polynomial, Rational, of_law
from .population_loss import ASSUMPTIONS, TRUSTED
from .small_instances import number

EVEN, LOSS = "the loss is even in (u12, u21) together", "the loss without leak"
KEY_QUERY, VALUE = "flow of the key-query block", "flow of the value gain"
PLAIN, ISOTROPIC = "Psi = I without noise", "isotropic gain"
WITHOUT_LEAK: dict[str, Kind] = {**LAW, "u": "scalar", "U": "matrix"}
ALONG: dict[str, Kind] = {**WITHOUT_LEAK, "V": "matrix"}


def loss_at(point: Point, u: Any, U: Matrix) -> Any:
    """L(0, u, U, 0) from the layer."""
    zero = nothing(point)
    return population_loss(point.with_values({"u12": zero, "u21": zero, "u": u, "U": U}))


def key_query_slope(point: Point, V: Matrix) -> Any:
    """dL/dU along V without leak: the central difference of a quadratic is exact."""
    u, U = point["u"], point["U"]
    return half(loss_at(point, u, U + V) - loss_at(point, u, U - V))


def value_slope(point: Point) -> Any:
    """dL/du without leak: L is quadratic in u too."""
    u, U = point["u"], point["U"]
    return half(loss_at(point, u + point.one, U) - loss_at(point, u - point.one, U))


def along(V: Matrix, form: Matrix) -> Any:
    """tr(V^T form)."""
    return (V.T @ form).trace()


def even_obligation(forms: Forms) -> Identity:
    del forms

    def difference(point: Point) -> Any:
        turned = point.with_values({"u12": -point["u12"], "u21": -point["u21"]})
        return population_loss(point) - population_loss(turned)

    return Identity(difference, {**LAW, **WEIGHTS}, PROMPT, PAIRS_OF_LEGS, DEGREE)


def loss_obligation(forms: Forms) -> Identity:
    form = forms.expression(LOSS, "right")
    return of_forms(lambda point: loss_at(point, point["u"], point["U"]) - value(form, point), (form,), WITHOUT_LEAK, 0)


def key_query_obligation(forms: Forms) -> Identity:
    form = forms.expression(KEY_QUERY, "right")

    def difference(point: Point) -> Any:
        return key_query_slope(point, point["V"]) + along(point["V"], value(form, point))

    return of_forms(difference, (form,), ALONG, 1)


def value_obligation(forms: Forms) -> Identity:
    form = forms.expression(VALUE, "right")
    return of_forms(lambda point: value_slope(point) + value(form, point), (form,), WITHOUT_LEAK, 0)


def plain(point: Point) -> Point:
    """Psi = I, sigma2 = 0."""
    return point.with_values({"Psi": point["I"], "sigma2": point.one * 0})


def plain_obligation(forms: Forms) -> Identity:
    key_query, gain = forms.expression(PLAIN, "key_query"), forms.expression(PLAIN, "value")

    def difference(point: Point) -> list[Any]:
        here, V = plain(point), point["V"]
        return [
            key_query_slope(here, V) + along(V, value(key_query, here)),
            value_slope(here) + value(gain, here),
        ]

    letters = {name: kind for name, kind in ALONG.items() if name not in ("Psi", "sigma2")}
    identity = of_forms(difference, (key_query, gain), letters, 1)
    return replace(identity, powers_of_d=identity.powers_of_d + 1)  # a word made of Psi alone would give d


def isotropic_obligation(forms: Forms) -> Identity:
    """dL/dU = -u s I and dL/du = -d a s with s = pull - curvature u a, at Lambda = lam I, Psi = psi I, U = a I."""
    quotients = [forms.quotient(ISOTROPIC, name) for name in ("pull", "curvature")]

    def difference(point: Point) -> list[Any]:
        one, a, u = point.one, point["a"], point["u"]
        here = point.with_values(
            {
                "Lambda": point["I"] * point["lam"], "Psi": point["I"] * point["psi"], "U": point["I"] * a,
                "1/N": one / number(point["N"]),
            }
        )  # fmt: skip
        pull, curvature = (one * at(quotient, point) for quotient in quotients)
        slope = pull - curvature * u * a
        along_V = key_query_slope(here, point["V"]) + point["V"].trace() * u * slope
        return [along_V, value_slope(here) + point["d"] * a * slope]

    names = ("lam", "psi", "sigma2", "N", "u", "a")
    return rational_identity(difference, quotients, {**dict.fromkeys(names, "scalar"), "V": "matrix"})


def rational_identity(difference: Any, quotients: list[Quotient], letters: Mapping[str, Kind]) -> Identity:
    """As any_start's identities in numbers: a power of d for every pair of legs, and those of the quotients."""
    parts = [part for quotient in quotients for part in quotient]
    power = 3 + 2 * max(part.largest_power("d") for part in parts)  # tr(Lambda Psi), tr(Lambda U Lambda U^T), and d a s
    degree = 2 * DEGREE + 3 * max(part.degree() for part in parts)
    return Identity(difference, letters, PROMPT, 1, degree, power, ())


LOGISTIC = f"The solution of the logistic equation, and that g' = u' a + u a' (step {ISOTROPIC!r}): in words."
FLOW = (
    "That the flow exists, is unique, and stays where the gradient across vanishes: the theory of ordinary "
    "differential equations."
)
SIZES = frozenset({"lam", "psi", "sigma2", "d", "N"})


def obligations() -> ClaimObligations:
    """The six steps."""
    in_weights = {"N": (-1,), "sigma2": (1,), "u": (1, 2)}
    plain_weights = {"N": (-1,), "u": (1, 2)}
    letters = frozenset({"Lambda", "U"})
    return ClaimObligations(
        "gradient-flow",
        (*ASSUMPTIONS, "u12 = u21 = 0 from the second step on"),
        {
            EVEN: {},
            LOSS: {"right": of_law("U", square=False, powers=in_weights)},
            KEY_QUERY: {"right": of_law("U", powers=in_weights)},
            VALUE: {"right": of_law("U", square=False, powers=in_weights)},
            PLAIN: {
                "key_query": Polynomial("d", "d", letters, plain_weights),
                "value": Polynomial("1", "1", letters, plain_weights),
            },
            ISOTROPIC: {"pull": Rational(SIZES), "curvature": Rational(SIZES)},
        },
        (
            Obligation(EVEN, "L(-u12, u, U, -u21) = L(u12, u, U, u21)", even_obligation),
            Obligation(LOSS, "L(0, u, U, 0) = right", loss_obligation),
            Obligation(KEY_QUERY, "dL/dU along V = -tr(V^T right)", key_query_obligation),
            Obligation(VALUE, "dL/du = -right", value_obligation),
            Obligation(
                PLAIN, "dL/dU along V = -tr(V^T key_query), dL/du = -value at Psi = I, sigma2 = 0", plain_obligation
            ),
            Obligation(
                ISOTROPIC,
                "dL/dU = -u s I and dL/du = -d a s with s = pull - curvature u a, at Lambda = lam I, Psi = psi I, U = "
                "a I",
                isotropic_obligation,
            ),
        ),
        (*TRUSTED, FLOW, LOGISTIC),
    )
