"""Obligations of class-selection: the posterior from all models, the posterior mean, the regression on one prompt.

Literal prompts have one dense model and three sparse ones of equal probability; X and Y are then the likelihood of the
one and the mean of the three. The forms are numerators over `total`, polynomials in pi, X, Y and the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flint

from ..engines.identities import Identity
from ..engines.points import Point
from .fixed_point import value
from .obligation import ClaimObligations, FormKind, Forms, Obligation
from .population_loss import TRUSTED
from .scan_decoder import in_scalars, scalars

POSTERIOR, ODDS, MEAN = "posterior of the class", "log odds", "the mixture's prediction"
READING, BINS, DEPARTURE = "slope inside a set", "bins of the Bayes factor", "another predictor"
THIRD = flint.fmpq(1, 3)


def joint_densities(point: Point) -> list[Any]:
    """Labels and model together: pi x for the dense model, (1 - pi) y_k/3 for the sparse ones."""
    rest = (point.one - point["pi"]) * THIRD
    return [point["pi"] * point["x"], *(rest * point[f"y{k}"] for k in range(3))]


def at_literal(point: Point) -> Point:
    """X and Y of the literal models."""
    return point.with_values({"X": point["x"], "Y": (point["y0"] + point["y1"] + point["y2"]) * THIRD})


def posterior_obligation(forms: Forms) -> Identity:
    """dense is the joint density with the dense model, total that of all models."""
    dense, total = (forms.expression(POSTERIOR, name) for name in ("dense", "total"))

    def difference(point: Point) -> list[Any]:
        first, *others = joint_densities(point)
        there = at_literal(point)
        return [value(dense, there) - first, value(total, there) - first - others[0] - others[1] - others[2]]

    return in_scalars(difference, "pi x y0 y1 y2")


def odds_obligation(forms: Forms) -> Identity:
    """dense and sparse are total, and dense (1 - pi) Y = sparse pi X: odds of X/Y times pi/(1 - pi)."""
    dense, total = (forms.expression(POSTERIOR, name) for name in ("dense", "total"))
    sparse = forms.expression(ODDS, "sparse")

    def difference(point: Point) -> list[Any]:
        other = (point.one - point["pi"]) * point["Y"]
        return [
            value(dense, point) + value(sparse, point) - value(total, point),
            value(dense, point) * other - value(sparse, point) * point["pi"] * point["X"],
        ]

    return in_scalars(difference, "pi X Y")


def mean_obligation(forms: Forms) -> Identity:
    """total f* = the sum over models of joint density times answer; and so by the forms.

    The sparse answers are f_s + c y_2, f_s and f_s - c y_0, so that their mean with weights y_k is f_s.
    """
    form = forms.expression(MEAN, "prediction")

    def difference(point: Point) -> Any:
        dense, *sparse = joint_densities(point)
        answers = [point["f_s"] + point["c"] * point["y2"], point["f_s"], point["f_s"] - point["c"] * point["y0"]]
        literal = dense * point["f_d"]
        for density, answer in zip(sparse, answers, strict=True):
            literal = literal + density * answer
        return value(form, at_literal(point)) - literal

    return in_scalars(difference, "pi x y0 y1 y2 f_d f_s c")


def reading_obligation(forms: Forms) -> Identity:
    """D (prediction - f_s total) = moment = dense D^2 at f_d = f_s + D."""
    dense, total = (forms.expression(POSTERIOR, name) for name in ("dense", "total"))
    prediction, form = forms.expression(MEAN, "prediction"), forms.expression(READING, "moment")

    def difference(point: Point) -> list[Any]:
        D = point["D"]
        there = point.with_values({"f_d": point["f_s"] + D})
        pulled = value(prediction, there) - point["f_s"] * value(total, there)
        return [D * pulled - value(form, point), value(dense, point) * D * D - value(form, point)]

    return in_scalars(difference, "pi X Y f_s D")


def bins_obligation(forms: Forms) -> Identity:
    """dense(Z) total(X) - dense(X) total(Z) = rise = pi (1 - pi) Y (Z - X)."""
    dense, total = (forms.expression(POSTERIOR, name) for name in ("dense", "total"))
    form = forms.expression(BINS, "rise")

    def difference(point: Point) -> list[Any]:
        there = point.with_values({"X": point["Z"]})
        crossed = value(dense, there) * value(total, point) - value(dense, point) * value(total, there)
        stated = point["pi"] * (point.one - point["pi"]) * point["Y"] * (point["Z"] - point["X"])
        return [crossed - value(form, point), stated - value(form, point)]

    return in_scalars(difference, "pi X Y Z")


def departure_obligation(forms: Forms) -> Identity:
    """For two prompts E v D^2 E v e^2 - (E v D e)^2 = v_1 v_2 square, and square is that of D_1 e_2 - D_2 e_1."""
    form = forms.expression(DEPARTURE, "square")

    def difference(point: Point) -> list[Any]:
        D, e, v = ([point[f"{name}_{k}"] for k in (1, 2)] for name in ("D", "e", "v"))

        def mean(a: list[Any], b: list[Any]) -> Any:
            return v[0] * a[0] * b[0] + v[1] * a[1] * b[1]

        literal = mean(D, D) * mean(e, e) - mean(D, e) * mean(D, e)
        root = D[0] * e[1] - D[1] * e[0]
        return [literal - v[0] * v[1] * value(form, point), root * root - value(form, point)]

    return in_scalars(difference, "D_1 D_2 e_1 e_2 v_1 v_2")


IN_WORDS = (
    "In words: exp and log (the sigmoid from the odds, dp/dB = p (1 - p) <= 1/4); sums over prompts, which are sums of "
    "the identities of one prompt, and of two prompts in Lagrange's identity; Cauchy and Schwarz from it."
)
LITERAL = "That three sparse models speak for any number: X, Y, f_d and f_s enter as means over the models of a class."


def obligations() -> ClaimObligations:
    """The six steps."""
    one, upto = (1,), (1, 2)
    kinds: Mapping[str, Mapping[str, FormKind]] = {
        POSTERIOR: {"dense": scalars(X=one, pi=one), "total": scalars(X=one, Y=one, pi=one)},
        ODDS: {"sparse": scalars(Y=one, pi=one)},
        MEAN: {"prediction": scalars(X=one, Y=one, pi=one, f_d=one, f_s=one)},
        READING: {"moment": scalars(X=one, pi=one, D=(2,))},
        BINS: {"rise": scalars(X=one, Y=one, Z=one, pi=upto)},
        DEPARTURE: {"square": scalars(D_1=upto, D_2=upto, e_1=upto, e_2=upto)},
    }
    return ClaimObligations(
        "class-selection",
        ("densities X, Y of the labels under either class, prior pi of the dense class", "f_d, f_s: posterior means"),
        kinds,
        (
            Obligation(POSTERIOR, "dense = P(dense, labels), total = P(labels), model by model", posterior_obligation),
            Obligation(ODDS, "dense + sparse = total; dense/sparse = (X/Y) pi/(1 - pi)", odds_obligation),
            Obligation(MEAN, "prediction = sum over models of density times answer", mean_obligation),
            Obligation(READING, "D (prediction - f_s total) = moment = dense D^2", reading_obligation),
            Obligation(BINS, "dense(Z) total(X) - dense(X) total(Z) = rise = pi (1 - pi) Y (Z - X)", bins_obligation),
            Obligation(
                DEPARTURE, "E v D^2 E v e^2 - (E v D e)^2 = v_1 v_2 square, square = (D_1 e_2 - D_2 e_1)^2",
                departure_obligation,
            ),
        ),
        (TRUSTED[0], TRUSTED[3], IN_WORDS, LITERAL),
    )  # fmt: skip
