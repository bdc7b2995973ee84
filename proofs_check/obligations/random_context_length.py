"""Obligations of random-context-length: the reduced loss is affine in 1/N, so its mean has E[1/N] in that place."""

from __future__ import annotations

from typing import Any

from ..engines.identities import Identity
from ..engines.layer import DEGREE, LAW, PAIRS_OF_LEGS, PROMPT, reduced_loss
from ..engines.points import Kind, Point
from .fixed_point import inverse_identity, isotropic_identity, of_forms, slope, value
from .obligation import ClaimObligations, Forms, Obligation, Rational, of_law
from .population_loss import ASSUMPTIONS, TRUSTED

AVERAGED, FIXED_POINT, ISOTROPIC = "the loss averaged over context lengths", "fixed point", "isotropic case"
RANDOM_LAW: dict[str, Kind] = {**{name: kind for name, kind in LAW.items() if name != "1/N"}, "m1": "scalar"}


def with_mean(point: Point) -> Point:
    """The law with m1 in the place of 1/N."""
    return point.with_values({"1/N": point["m1"]})


def affine_obligation(forms: Forms) -> Identity:
    """A polynomial f(t) is affine where f(t) = f(0) + t (f(1) - f(0)) for every t."""
    del forms

    def difference(point: Point) -> Any:
        A, t, one = point["A"], point["1/N"], point.one
        at_0, at_1 = (reduced_loss(point.with_values({"1/N": one * k}), A) for k in (0, 1))
        return reduced_loss(point, A) - at_0 - t * (at_1 - at_0)

    return Identity(difference, {**LAW, "A": "matrix"}, PROMPT, PAIRS_OF_LEGS, DEGREE)


def averaged_obligation(forms: Forms) -> Identity:
    form = forms.expression(AVERAGED, "averaged")
    return of_forms(
        lambda point: reduced_loss(with_mean(point), point["A"]) - value(form, point),
        (form,), {**RANDOM_LAW, "A": "matrix"}, 0,
    )  # fmt: skip


def stationary_obligation(forms: Forms) -> Identity:
    left, right = forms.expression(FIXED_POINT, "left"), forms.expression(FIXED_POINT, "right")

    def difference(point: Point) -> Any:
        A, V, Lambda = point["A"], point["V"], point["Lambda"]
        derived = (V.T @ Lambda @ (value(left, point) @ A - value(right, point)) @ Lambda).trace()
        return slope(with_mean(point), A, V) - derived

    return of_forms(difference, (left, right), {**RANDOM_LAW, "A": "matrix", "V": "matrix"}, 4)


def inverse_obligation(forms: Forms) -> Identity:
    left, right, inverse = (forms.expression(FIXED_POINT, name) for name in ("left", "right", "inverse"))
    return inverse_identity(left, right, inverse, RANDOM_LAW)


def isotropic_obligation(forms: Forms) -> Identity:
    left, right = forms.expression(FIXED_POINT, "left"), forms.expression(FIXED_POINT, "right")
    return isotropic_identity(left, right, forms.quotient(ISOTROPIC, "gain"), in_length=False)


MEAN_LENGTH = {"m1": (1,), "sigma2": (1,)}
LINEARITY = "The mean over N is linear: an affine function of 1/N has its value at E[1/N] as mean."
MINIMALITY = "That the stationary point is the global minimum: by the completed square of fixed-point at each N."


def obligations() -> ClaimObligations:
    """The three steps."""
    return ClaimObligations(
        "random-context-length",
        (*ASSUMPTIONS, "N random, independent of the rest of the prompt; each prompt is normalised by its own N"),
        {
            AVERAGED: {"averaged": of_law("A", square=False, powers=MEAN_LENGTH)},
            FIXED_POINT: {
                "left": of_law(powers=MEAN_LENGTH),
                "right": of_law(powers=MEAN_LENGTH),
                "inverse": of_law("Psi^-1", powers=MEAN_LENGTH),
            },
            ISOTROPIC: {"gain": Rational(frozenset({"lam", "psi", "sigma2", "d", "m1"}))},
        },
        (
            Obligation(AVERAGED, "reduced(A) is affine in 1/N", affine_obligation),
            Obligation(AVERAGED, "reduced(A) with m1 in the place of 1/N = averaged", averaged_obligation),
            Obligation(
                FIXED_POINT, "d E_N reduced(A) along V = tr(V^T Lambda (left A - right) Lambda)", stationary_obligation
            ),
            Obligation(FIXED_POINT, "right inverse = left, inverse = inverse^T", inverse_obligation),
            Obligation(ISOTROPIC, "left gain = right at Lambda = lam I, Psi = psi I", isotropic_obligation),
        ),
        (*TRUSTED, LINEARITY, MINIMALITY),
    )
