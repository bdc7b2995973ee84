"""Obligations of oracle-never-beaten: every statement at one z, from four literal outcomes with symbols for numbers.

An outcome is (mass, t). The sums over outcomes enter the forms through Q, T and S alone, and everything is of degree
one in the masses or made of products of these sums, so that four outcomes speak for any finite number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engines.identities import Identity
from ..engines.points import Point
from .fixed_point import value
from .obligation import ClaimObligations, Forms, Obligation, Polynomial
from .population_loss import TRUSTED
from .scan_decoder import in_scalars, total

MEAN, CROSS, PYTHAGORAS = "Bayes predictor", "cross term", "Pythagoras"
NOISE, VARIANCE, ANY = "noise", "variance of the cross term", "any law"
OUTCOMES = range(4)
NAMES = " ".join(f"q{k} t{k}" for k in OUTCOMES)


def summed(point: Point, term: Callable[[Any], Any]) -> Any:
    """sum of mass term(t)."""
    return total([point[f"q{k}"] * term(point[f"t{k}"]) for k in OUTCOMES])


def with_sums(point: Point) -> Point:
    """The point with Q, T and S."""
    powers = (lambda t: t**0, lambda t: t, lambda t: t**2)
    return point.with_values({name: summed(point, power) for name, power in zip("QTS", powers, strict=True)})


def loss_at(point: Point, f: Any) -> Any:
    """sum of mass (f - t)^2."""
    return summed(point, lambda t: (f - t) ** 2)


def about(point: Point) -> tuple[Any, Any, Any]:
    """Q, T, and Q f - T = Q (f - f*)."""
    at = with_sums(point)
    return at["Q"], at["T"], at["Q"] * point["f"] - at["T"]


def mean_obligation(forms: Forms) -> Identity:
    """The loss, and its slope at f = top/Q: it is Q f^2 + .., so that slope = [loss(f + 1) - loss(f - 1)]/2."""
    loss, top = forms.expression(MEAN, "loss"), forms.expression(MEAN, "top")

    def difference(point: Point) -> list[Any]:
        at = with_sums(point)
        literal = summed(point, lambda t: (point["f"] - t) ** 2)
        # Q times the slope of the literal loss at f = top/Q, that is 2 sum q (top - Q t)
        slope = summed(point, lambda t: value(top, at) - at["Q"] * t)
        return [literal - value(loss, at), slope]

    return in_scalars(difference, f"f {NAMES}")


def cross_obligation(forms: Forms) -> Identity:
    """Q^2 sum q (f - f*)(t - f*) = 0."""
    del forms

    def difference(point: Point) -> Any:
        Q, T, gap = about(point)
        return summed(point, lambda t: gap * (Q * t - T))

    return in_scalars(difference, f"f {NAMES}")


def pythagoras_obligation(forms: Forms) -> Identity:
    """Q^2 times the distance and the least loss, literally; and their sum is Q^2 times the loss."""
    distance, least = forms.expression(PYTHAGORAS, "distance"), forms.expression(PYTHAGORAS, "least")

    def difference(point: Point) -> list[Any]:
        at = with_sums(point)
        Q, T, gap = about(point)
        literal = summed(point, lambda t: gap**2), summed(point, lambda t: (Q * t - T) ** 2)
        loss = summed(point, lambda t: (point["f"] - t) ** 2)
        a, b = value(distance, at), value(least, at)
        return [literal[0] - Q * a, literal[1] - Q * b, Q * loss - a - b]

    return in_scalars(difference, f"f {NAMES}")


def noise_obligation(forms: Forms) -> Identity:
    """The loss on t + e, for e of three values with sum of weights 1 and mean 0: weights u, v and 1 - u - v."""
    loss = forms.expression(NOISE, "loss")

    def difference(point: Point) -> Any:
        u, v = point["u"], point["v"]
        rest = point.one - u - v
        # values scaled so that the mean vanishes: e = (a rest, b rest, -(u a + v b)), weights (u, v, rest)
        a, b = point["a"] * rest, point["b"] * rest
        values = [(u, a), (v, b), (rest, -(u * point["a"] + v * point["b"]))]
        variance = total([weight * e**2 for weight, e in values])
        literal = total([weight * loss_at(point, point["f"] - e) for weight, e in values])
        return literal - value(loss, with_sums(point).with_values({"sigma2": variance}))

    return in_scalars(difference, f"f u v a b {NAMES}")


def variance_obligation(forms: Forms) -> Identity:
    """Q^4 sum q (f - f*)^2 (t - f*)^2 = Q square."""
    square = forms.expression(VARIANCE, "square")

    def difference(point: Point) -> Any:
        Q, T, gap = about(point)
        return summed(point, lambda t: gap**2 * (Q * t - T) ** 2) - Q * value(square, with_sums(point))

    return in_scalars(difference, f"f {NAMES}")


def any_obligation(forms: Forms) -> Identity:
    """Two z with different answers: the losses add up to the distances and least losses, times both masses squared."""
    distance, least = forms.expression(PYTHAGORAS, "distance"), forms.expression(PYTHAGORAS, "least")

    def at_z(point: Point, outcomes: tuple[int, int], f: str) -> tuple[Any, Any, Any]:
        values = {name: total([point[f"q{k}"] * point[f"t{k}"] ** power for k in outcomes])
                  for power, name in enumerate("QTS")}  # fmt: skip
        there = point.with_values({**values, "f": point[f]})
        loss = total([point[f"q{k}"] * (point[f] - point[f"t{k}"]) ** 2 for k in outcomes])
        return loss, value(distance, there) + value(least, there), values["Q"]

    def difference(point: Point) -> Any:
        (first, one, P), (second, two, Q) = at_z(point, (0, 1), "f"), at_z(point, (2, 3), "g")
        return P * Q * (first + second) - Q * one - P * two

    return in_scalars(difference, f"f g {NAMES}")


def polynomial(**powers: tuple[int, ...]) -> Polynomial:
    return Polynomial("1", "1", frozenset(), powers)


def obligations() -> ClaimObligations:
    """The six steps."""
    one, two = (1,), (1, 2)
    loss = polynomial(Q=one, T=one, S=one, f=two)
    return ClaimObligations(
        "oracle-never-beaten",
        (
            "finitely many outcomes (mass, t) at a z, masses positive; f depends on z only; noise of mean 0, "
            "independent",
        ),
        {
            MEAN: {"loss": loss, "top": polynomial(T=one)},
            CROSS: {},
            PYTHAGORAS: {
                "distance": polynomial(Q=two, T=two, f=two),
                "least": polynomial(Q=one, T=two, S=one),
            },
            NOISE: {"loss": polynomial(Q=one, T=one, S=one, f=two, sigma2=one)},
            VARIANCE: {"square": polynomial(Q=(1, 2, 3), T=(1, 2, 3, 4), S=one, f=two)},
            ANY: {},
        },
        (
            Obligation(MEAN, "sum q (f - t)^2 = loss, with slope 0 at top/Q", mean_obligation),
            Obligation(CROSS, "sum q (f - T/Q)(t - T/Q) = 0", cross_obligation),
            Obligation(PYTHAGORAS, "distance/Q, least/Q and their sum are the literal losses", pythagoras_obligation),
            Obligation(NOISE, "the loss on t + e, e of three values with mean 0", noise_obligation),
            Obligation(VARIANCE, "sum q (f - T/Q)^2 (t - T/Q)^2 = square/Q^3", variance_obligation),
            Obligation(ANY, "sums over two z", any_obligation),
        ),
        (TRUSTED[0], "The tower property of conditional expectations, where the law is not finite."),
    )
