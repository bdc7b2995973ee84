"""Obligations of model-selection and mixture-weight: prices from literal outcomes of two classes, symbols for numbers.

Each class has three outcomes (mass, t) at a z. Sums enter the forms through A, B and the means m, n alone; with M = A m
and N = B n as sums of mass times t, everything is a polynomial once it is multiplied by masses.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from ..engines.expressions import Expression, rational
from ..engines.identities import Identity
from ..engines.points import Point
from .fixed_point import value
from .mixture_oracle import polynomial
from .obligation import ClaimObligations, Forms, Obligation
from .population_loss import TRUSTED
from .scan_decoder import in_scalars, total

MIXTURE, FIRST, SECOND = "the mixture's answer", "price in class 1", "price in class 2"
TOGETHER, BOUNDS, RISKS = "together", "bounds", "risks"
PRICES, SLOPES, ENDS, TANGENTS = "prices at odds o", "slopes", "both ends", "tangents"
PLACES = range(3)
NAMES = " ".join(f"{mass}{k} {t}{k}" for mass, t in ("ax", "by") for k in PLACES)
CLASSES = {1: ("a", "x"), 2: ("b", "y")}


def summed(point: Point, label: int, term: Callable[[Any], Any]) -> Any:
    """sum of mass term(t) over the outcomes of a class."""
    mass, t = CLASSES[label]
    return total([point[f"{mass}{k}"] * term(point[f"{t}{k}"]) for k in PLACES])


def sums(point: Point) -> tuple[Any, Any, Any, Any]:
    """A, B and the first moments M = A m, N = B n."""
    (A, M), (B, N) = ((summed(point, c, lambda t: t**0), summed(point, c, lambda t: t)) for c in (1, 2))
    return A, B, M, N


def homogeneous(form: Expression, point: Point, degree: int = 2, odds: Any = None) -> Any:
    """(A B)^degree times a form of degree at most `degree` in m = M/A and in n = N/B, at literal sums."""
    A, B, M, N = sums(point)
    result = point.one * 0
    for term in form.terms:
        powers = dict(term.powers)
        left, right = powers.get("m", 0), powers.get("n", 0)
        product = point.one * rational(term.coefficient)
        for names, x in ((("A", "a"), A), (("B", "b"), B), (("o",), odds)):
            for name in names:
                product = product if name not in powers else product * x ** powers[name]
        result = result + product * M**left * A ** (degree - left) * N**right * B ** (degree - right)
    return result


def lost(point: Point, label: int) -> Any:
    """W^2 D times what (M + N)/W loses in the class to its own best answer, D its mass: literal, without second
    moments.

    The mean of the class is K/D; W^2 D^2 [((M + N)/W - t)^2 - (K/D - t)^2] is summed, and D divides it once.
    """
    A, B, M, N = sums(point)
    W, (D, K) = A + B, ((A, M), (B, N))[label - 1]
    return summed(point, label, lambda t: ((M + N) * D - W * D * t) ** 2 - (W * K - W * D * t) ** 2)


def mixture_obligation(forms: Forms) -> Identity:
    """The slope of the literal loss of both classes at f = top/W vanishes."""
    top = forms.expression(MIXTURE, "top")

    def difference(point: Point) -> Any:
        A, B, _, _ = sums(point)
        answer = homogeneous(top, point)  # (A B)^2 W f
        scale = (A * B) ** 2 * (A + B)
        return total([summed(point, label, lambda t: answer - scale * t) for label in (1, 2)])

    return in_scalars(difference, NAMES)


def price_obligation(step: str, label: int) -> Callable[[Forms], Identity]:
    """W^2 D^2 times the price, literally and from the form."""

    def prepare(forms: Forms) -> Identity:
        form = forms.expression(step, "top")

        def difference(point: Point) -> Any:
            A, B, _, _ = sums(point)
            D = (A, B)[label - 1]
            return lost(point, label) * (A * B) ** 2 - D**2 * homogeneous(form, point)

        return in_scalars(difference, NAMES)

    return prepare


def together_obligation(forms: Forms) -> Identity:
    """W^2 A^2 B^2 times both prices; and W times the variance of the class's answer."""
    form = forms.expression(TOGETHER, "top")

    def difference(point: Point) -> list[Any]:
        A, B, M, N = sums(point)
        W = A + B
        both = lost(point, 1) * B**2 + lost(point, 2) * A**2
        between = A * (W * M - A * (M + N)) ** 2 * B**2 + B * (W * N - B * (M + N)) ** 2 * A**2
        return [both - W * homogeneous(form, point), between - W * homogeneous(form, point)]

    return in_scalars(difference, NAMES)


def bounds_obligation(forms: Forms) -> Identity:
    """W A (m - n)^2 and W B (m - n)^2 less both prices are A^2 and B^2 times a square."""
    together, first, second = (
        forms.expression(TOGETHER, "top"), forms.expression(BOUNDS, "first"), forms.expression(BOUNDS, "second"),
    )  # fmt: skip

    def difference(point: Point) -> list[Any]:
        A, B, M, N = sums(point)
        square = (M * B - N * A) ** 2  # (A B)^2 (m - n)^2
        both = homogeneous(together, point)
        return [
            *((A + B) * D * square - both - homogeneous(form, point) for D, form in ((A, first), (B, second))),
            *(homogeneous(form, point) - D**2 * square for D, form in ((A, first), (B, second))),
        ]

    return in_scalars(difference, NAMES)


def risks_obligation(forms: Forms) -> Identity:
    """Literal risks of the mixture's answer to both classes, less the classes' own, add up to the step before."""
    form = forms.expression(TOGETHER, "top")

    def difference(point: Point) -> Any:
        A, B, M, N = sums(point)
        W = A + B
        mixture = total([summed(point, label, lambda t: (M + N - W * t) ** 2) for label in (1, 2)])  # W^2
        own = summed(point, 1, lambda t: (M - A * t) ** 2) * B**2 + summed(point, 2, lambda t: (N - B * t) ** 2) * A**2
        return mixture * (A * B) ** 2 - own * W**2 - W * homogeneous(form, point)

    return in_scalars(difference, NAMES)


TRUST = (TRUSTED[0], "That sums over z may be integrals: the identities hold at almost every z.")


def obligations() -> ClaimObligations:
    """model-selection: the six steps."""
    one, two, means = (1,), (1, 2), (1, 2)
    return ClaimObligations(
        "model-selection",
        ("two classes with finitely many outcomes (mass, t) at each z, masses positive; squared loss",),
        {
            MIXTURE: {"top": polynomial(A=one, B=one, m=one, n=one)},
            FIRST: {"top": polynomial(A=one, B=(2,), m=means, n=means)},
            SECOND: {"top": polynomial(A=(2,), B=one, m=means, n=means)},
            TOGETHER: {"top": polynomial(A=one, B=one, m=means, n=means)},
            BOUNDS: {
                "first": polynomial(A=two, m=means, n=means),
                "second": polynomial(B=two, m=means, n=means),
            },
            RISKS: {},
        },
        (
            Obligation(MIXTURE, "the loss of both classes has slope 0 at top/(A + B)", mixture_obligation),
            Obligation(FIRST, "top/(A + B)^2 is what class 1 loses", price_obligation(FIRST, 1)),
            Obligation(SECOND, "top/(A + B)^2 is what class 2 loses", price_obligation(SECOND, 2)),
            Obligation(TOGETHER, "top/(A + B) is both, and the variance of the class's answer", together_obligation),
            Obligation(BOUNDS, "what is left below either bound is a square", bounds_obligation),
            Obligation(RISKS, "literal risks of the mixture's answer less the classes' own", risks_obligation),
        ),
        TRUST,
    )


# The weight


def at_odds(point: Point, odds: Any) -> Point:
    """The masses of class 1 times the odds."""
    return point.with_values({f"a{k}": point[f"a{k}"] * odds for k in PLACES})


def prices_obligation(forms: Forms) -> Identity:
    """Literal prices at masses o a and b, per unit of the class's mass: o P_1 and P_2."""
    first, second, weighted = (forms.expression(PRICES, name) for name in ("first", "second", "weighted"))

    def difference(point: Point) -> list[Any]:
        A, B, _, _ = sums(point)
        o = point["o"]
        there = at_odds(point, o)
        W = o * A + B
        P1, P2, both = (homogeneous(form, point, odds=o) for form in (first, second, weighted))
        # lost(1) is W^2 (o A)^2 o P_1 and lost(2) is W^2 B^2 P_2; the forms times (A B)^2 are W^2 (A B)^2 P
        return [
            lost(there, 1) * B**2 - o**3 * P1,
            lost(there, 2) * A**2 - P2,
            o * P1 + P2 - W * both,
        ]

    return in_scalars(difference, f"o {NAMES}")


def by_odds(form: Expression) -> Expression:
    """d/do, term by term."""
    terms = []
    for term in form.terms:
        powers = dict(term.powers)
        k = powers.pop("o", 0)
        if k:
            rest = tuple(sorted({**powers, **({"o": k - 1} if k > 1 else {})}.items()))
            terms.append(term._replace(coefficient=term.coefficient * Fraction(k), powers=rest))
    return Expression(form.rows, form.cols, tuple(terms))


def slopes_obligation(forms: Forms) -> Identity:
    """(top/W^2)' W^3 = top' W - 2 top a, and the two slopes are in the ratio -o."""
    tops = [forms.expression(PRICES, name) for name in ("first", "second")]
    slopes = [forms.expression(SLOPES, name) for name in ("first", "second")]

    def difference(point: Point) -> list[Any]:
        o, a, b = (point[name] for name in "oab")
        found = [
            value(by_odds(top), point) * (o * a + b) - value(top, point) * a * 2 - value(slope, point)
            for top, slope in zip(tops, slopes, strict=True)
        ]
        gap = (point["m"] - point["n"]) ** 2
        first, second = (value(slope, point) for slope in slopes)
        return [*found, first + a**2 * b**2 * gap * 2, second + o * first]

    return in_scalars(difference, "o a b m n")


def ends_obligation(forms: Forms) -> Identity:
    """At o = 0 the first is b^2 a gap and the second 0; the second is o^2 a^2 b gap."""
    first, second = (forms.expression(PRICES, name) for name in ("first", "second"))

    def difference(point: Point) -> list[Any]:
        none = point.with_values({"o": point.one * 0})
        o, a, b = (point[name] for name in "oab")
        gap = (point["m"] - point["n"]) ** 2
        return [
            value(first, none) - b**2 * a * gap,
            value(second, none),
            value(second, point) - o**2 * a**2 * b * gap,
        ]

    return in_scalars(difference, "o a b m n")


def tangents_obligation(forms: Forms) -> Identity:
    """With T/(1 - pi) = weighted/W and 1 + o = 1/(1 - pi): T + (1 - pi)(P_1 - P_2) = P_1, and T - pi (P_1 - P_2) = P_2.

    Both say (1 + o) T = o P_1 + P_2 times W^2; the chord below the tangent: with P at o and P' at o', z by z,
    o' (P_1 - P_1') + (P_2 - P_2') = a^2 b^2 gap (o' - o)^2 / (W^2 W'), which is not negative.
    """
    first, second, weighted = (forms.expression(PRICES, name) for name in ("first", "second", "weighted"))

    def difference(point: Point) -> list[Any]:
        o, u, a, b = (point[name] for name in "ouab")
        later = point.with_values({"o": u})
        W, V = o * a + b, u * a + b
        P1, P2, Q1, Q2 = (value(form, at) for at in (point, later) for form in (first, second))
        gap = (point["m"] - point["n"]) ** 2
        room = u * (P1 * V**2 - Q1 * W**2) + P2 * V**2 - Q2 * W**2
        return [o * P1 + P2 - W * value(weighted, point), room - a**2 * b**2 * gap * (u - o) ** 2 * V]

    return in_scalars(difference, "o u a b m n")


def weight_obligations() -> ClaimObligations:
    """mixture-weight: the four steps."""
    one, means = (1,), (1, 2)
    return ClaimObligations(
        "mixture-weight",
        ("two classes with densities a and b at each z, which do not depend on the odds o = pi/(1 - pi) > 0",),
        {
            PRICES: {
                "first": polynomial(a=one, b=(2,), m=means, n=means),
                "second": polynomial(o=(2,), a=(2,), b=one, m=means, n=means),
                "weighted": polynomial(o=one, a=one, b=one, m=means, n=means),
            },
            SLOPES: {
                "first": polynomial(a=(2,), b=(2,), m=means, n=means),
                "second": polynomial(o=one, a=(2,), b=(2,), m=means, n=means),
            },
            ENDS: {},
            TANGENTS: {},
        },
        (
            Obligation(PRICES, "both prices from literal outcomes at masses o a and b; their sum", prices_obligation),
            Obligation(SLOPES, "derivatives of the prices, and second = -o first", slopes_obligation),
            Obligation(ENDS, "the prices at o = 0, and the second for o to infinity", ends_obligation),
            Obligation(TANGENTS, "the weighted price lies below its tangents, by a square", tangents_obligation),
        ),
        TRUST,
    )
