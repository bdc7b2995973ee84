r"""The price of not knowing the class as a function of the mixture's weight.

What is seen, z, has the density a in class 1 and b in class 2; m and n are the classes' own answers there. A mixture
gives class 1 the odds o = pi/(1 - pi). Then, as a, b, m and n do not depend on the weight:
Main statements
    prices      P_1 = sum over z of a b^2 (m - n)^2/(o a + b)^2,  P_2 = sum of o^2 a^2 b (m - n)^2/(o a + b)^2
    slopes      dP_1/do = -2 sum of a^2 b^2 (m - n)^2/(o a + b)^3 <= 0,   dP_2/do = -o dP_1/do >= 0
    ends        P_1 = sum of a (m - n)^2 at o = 0 and 0 at o = oo; P_2 = 0 at o = 0 and sum of b (m - n)^2 at o = oo
    tangents    T(pi) = pi P_1 + (1 - pi) P_2 is concave, 0 at both ends, and T' = P_1 - P_2: its tangent at pi meets
                pi = 1 at the height P_1, and pi = 0 at the height P_2
So more weight on a class makes it cheaper and the other dearer, at every prefix: there is no weight that is best for
both, and what one gains in the weighted sum the other loses (to first order).
Assumptions
    Two classes with densities with respect to one measure, finite second moments; 0 < pi < 1.
References
    [yadlowsky2023pretraining, Figure 2] trains with several weights.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.formulas import Formula, Values
from ..algebra.matrix_derivatives import derivative
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, number, scalar, substitute
from . import class_price
from .class_price import literal_prices
from .finite_laws import Atom, at, random_law, random_letters, sums_of

o, a, b, m, n = (scalar(name) for name in "oabmn")
MASS = o * a + b
GAP = (m - n) * (m - n)


def at_odds(polynomial: TracePolynomial) -> TracePolynomial:
    """A = o a and B = b: the masses in units of 1 - pi."""
    return substitute(polynomial, scalars={"A": o * a, "B": b})


@cache
def first_price() -> TracePolynomial:
    """(o a + b)^2 P_1 at z: its mass there is o a, of which the class has the o-th part."""
    return o**-1 * at_odds(class_price.first_price())


@cache
def second_price() -> TracePolynomial:
    """(o a + b)^2 P_2 at z."""
    return at_odds(class_price.second_price())


def slope(top: TracePolynomial) -> TracePolynomial:
    """(o a + b)^3 d/do of top/(o a + b)^2."""
    return derivative(top, "o") * MASS - 2 * top * derivative(MASS, "o")


@cache
def first_slope() -> TracePolynomial:
    """(o a + b)^3 dP_1/do at z."""
    return slope(first_price())


@cache
def second_slope() -> TracePolynomial:
    """(o a + b)^3 dP_2/do at z."""
    found = slope(second_price())
    assert found == -1 * o * first_slope()
    return found


@cache
def weighted() -> TracePolynomial:
    """(o a + b) (o P_1 + P_2) at z: T/(1 - pi)."""
    found = o * a * b * GAP
    assert o * first_price() + second_price() == MASS * found
    return found


# Instances


class Instance:
    """Masses of two classes, each of sum 1, values, and odds."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(f"mixture weights/{seed}")
        self.odds = Fraction(draw.randint(1, 60), draw.randint(1, 60))
        atoms = random_law(f"mixture weights/{seed}")
        shares = [sum(sums_of(atom[c])["Q"] for atom in atoms) for c in (0, 1)]
        self.atoms: tuple[Atom, ...] = tuple(
            tuple(tuple((q / shares[c], x) for q, x in atom[c]) for c in (0, 1)) for atom in atoms
        )

    def letters(self, odds: Fraction | None = None) -> list[dict[str, Fraction]]:
        """a, b, m and n at each z, and the odds."""
        found = [class_price.letters_of(atom) for atom in self.atoms]
        return [{"a": x["A"], "b": x["B"], "m": x["m"], "n": x["n"], "o": odds or self.odds} for x in found]

    def literal(self, odds: Fraction | None = None) -> tuple[Fraction, Fraction]:
        """Both prices on their own class, from literal losses of the mixture with the weight o/(1 + o)."""
        odds = odds or self.odds
        found = [literal_prices(weighted_atom(atom, odds)) for atom in self.atoms]
        return sum(p for p, _ in found) / odds * (1 + odds), sum(p for _, p in found) * (1 + odds)

    def derived(self, top: TracePolynomial, power: int, odds: Fraction | None = None) -> Fraction:
        """The sum over z of top/(o a + b)^power."""
        return Fraction(sum(at(top, x) / (x["o"] * x["a"] + x["b"]) ** power for x in self.letters(odds)))


def weighted_atom(atom: Atom, odds: Fraction) -> Atom:
    """The masses of both classes in the mixture."""
    shares = (odds / (1 + odds), 1 / (1 + odds))
    return tuple(tuple((share * q, x) for q, x in outcomes) for share, outcomes in zip(shares, atom, strict=True))


def quotient_of_differences(one: Instance) -> tuple[Any, Any]:
    """[P(o + h) - P(o)]/h at z, and the same for a/(o a + b): its limit h -> 0 is what the slopes say.

    With u = b/(o a + b): P_1 = a u^2 gap, u(o + h) - u(o) = -h a b/((o a + b) ((o + h) a + b)), so that the quotient of
    differences is -a gap (u(o) + u(o + h)) a b/(...), which at h = 0 is the slope; here it is tried at h = o.
    """
    found = []
    for x in one.letters():
        now, later = x["o"] * x["a"] + x["b"], 2 * x["o"] * x["a"] + x["b"]
        moved = -x["a"] * (x["m"] - x["n"]) ** 2 * (x["b"] / now + x["b"] / later) * x["a"] * x["b"] / (now * later)
        found.append(moved)
    first = (one.literal(2 * one.odds)[0] - one.literal()[0]) / one.odds
    return [first, one.derived(first_slope(), 3)], [sum(found), slope_at_no_step(one)]


def slope_at_no_step(one: Instance) -> Any:
    """The quotient of differences at h = 0."""
    return sum(
        -2 * x["a"] * (x["m"] - x["n"]) ** 2 * x["b"] / mass * x["a"] * x["b"] / mass**2
        for x in one.letters()
        for mass in [x["o"] * x["a"] + x["b"]]
    )


def below_tangents(one: Instance) -> tuple[Any, Any]:
    """T(pi) + (1 - pi) T' = P_1 and T(pi) - pi T' = P_2 with T' = P_1 - P_2; T(pi') <= the tangent, tried at 2 o."""
    pi, (P1, P2) = one.odds / (1 + one.odds), one.literal()
    T = one.derived(weighted(), 1) * (1 - pi)
    other, (Q1, Q2) = 2 * one.odds / (1 + 2 * one.odds), one.literal(2 * one.odds)
    under = T + (P1 - P2) * (other - pi) - (other * Q1 + (1 - other) * Q2)
    return [T + (1 - pi) * (P1 - P2), T - pi * (P1 - P2), under >= 0], [P1, P2, True]


def at_ends(one: Instance) -> tuple[Any, Any]:
    """Forms at o = 0, and their leading coefficients in o."""
    none = {"o": number(0)}
    first, second = substitute(first_price(), scalars=none), substitute(second_price(), scalars=none)
    top = sum(x["b"] * (x["m"] - x["n"]) ** 2 for x in one.letters())
    leading = derivative(derivative(second_price(), "o"), "o")  # 2 a^2 b gap, over 2 a^2
    found = [sum(at(first, x) / x["b"] ** 2 for x in one.letters()), sum(at(second, x) for x in one.letters())]
    found.append(sum(at(leading, x) / (2 * x["a"] ** 2) for x in one.letters()))
    return found, [sum(x["a"] * (x["m"] - x["n"]) ** 2 for x in one.letters()), 0, top]


PRICES, SLOPES, ENDS, TANGENTS = "prices at odds o", "slopes", "both ends", "tangents"
CONCAVE = (
    "With T = pi P_1 + (1 - pi) P_2 and o = pi/(1 - pi), dT/dpi = P_1 - P_2 + [pi dP_1/do + (1 - pi) dP_2/do] do/dpi, "
    "and the bracket is (1 - pi)(o dP_1/do + dP_2/do) = 0. So T'' = (dP_1/do - dP_2/do) do/dpi = (1 + o) dP_1/do "
    "do/dpi <= 0. The sums over z may be integrals: a b (m - n)^2/(o a + b) <= min(a, b/o) (m - n)^2 is integrable, "
    "and so are the slopes, uniformly on every closed interval of odds within (0, oo)."
)


@cache
def derivation() -> Derivation:
    """From the prices at one z to the picture of the tangents."""
    first, second = first_price(), second_price()
    return Derivation(
        STATEMENT,
        (
            Step(
                PRICES,
                "P_1, P_2 and o P_1 + P_2",
                f"sum of ({to_text(first)})/(o a + b)^2; ({to_text(second)})/(o a + b)^2; ({to_text(weighted())})/(o a "
                f"+ b)",
                rf"P_1 = \sum_z \frac{{{to_latex(first)}}}{{(oa+b)^2}},\quad P_2 = \sum_z "
                rf"\frac{{{to_latex(second)}}}{{(oa+b)^2}}",
                "model-selection with the masses o a and b, in units of 1 - pi",
                lambda one: (
                    [*one.literal(), one.odds * one.literal()[0] + one.literal()[1]],
                    [one.derived(first, 2), one.derived(second, 2), one.derived(weighted(), 1)],
                ),
                forms={"first": first, "second": second, "weighted": weighted()},
            ),
            Step(
                SLOPES,
                "dP_1/do and dP_2/do",
                f"sum of ({to_text(first_slope())})/(o a + b)^3; ({to_text(second_slope())})/(o a + b)^3",
                rf"\frac{{dP_1}}{{do}} = \sum_z\frac{{{to_latex(first_slope())}}}{{(oa+b)^3}},\quad dP_2 = -o\,dP_1",
                "the quotient rule; P_1 is a (1 - p)^2 (m - n)^2 with 1 - p = b/(o a + b), which falls with o",
                quotient_of_differences,
                forms={"first": first_slope(), "second": second_slope()},
            ),
            Step(
                ENDS,
                "P_1 and P_2 at o = 0, P_2 at o = oo",
                "sum of a (m - n)^2; 0; sum of b (m - n)^2",
                r"P_1(0) = \sum_z a(m-n)^2,\quad P_2(0) = 0,\quad P_2(\infty) = \sum_z b(m-n)^2",
                "the forms at o = 0, and their leading coefficients",
                at_ends,
            ),
            Step(
                TANGENTS,
                "T + (1 - pi) T' and T - pi T' with T = pi P_1 + (1 - pi) P_2",
                "P_1 and P_2; T lies below each of its tangents",
                r"T + (1-\pi)T' = P_1,\quad T - \pi T' = P_2,\quad T'' \le 0",
                "o dP_1 + dP_2 = 0: the Bayes predictor is best for its own weight",
                below_tangents,
                proof=CONCAVE,
            ),
        ),
        {"first": first, "second": second, "weighted": weighted()},
        Instance,
    )  # fmt: skip


STATEMENT = Statement(
    identifier="mixture-weight",
    title="More weight on a class makes it cheaper and the other one dearer; the prices are ends of a tangent",
    latex=r"T(\pi) = \pi P_1 + (1-\pi)P_2,\quad T' = P_1 - P_2,\quad T'' \le 0",
    text=(
        "As a function of the weight pi of class 1 the Bayes predictor's price P_1 on class 1 falls from that of class "
        "2's own predictor to 0, P_2 on class 2 rises from 0 to that of class 1's own predictor; the weighted price is "
        "concave, and its tangent at pi ends at the heights P_2 and P_1."
    ),
    assumptions=("two classes with densities, finite second moments, 0 < pi < 1",),
    conventions="a price is the risk beyond that of the class's own Bayes predictor, on prompts of the class",
    sources=(Source("yadlowsky2023pretraining", "Figure 2 (several weights)"), Source("ours", "slopes and tangents")),
    uses=("model-selection",),
)  # fmt: skip


# The formula that is altered


@cache
def formula() -> Formula:
    """Both prices and the weighted one over a finite law."""
    vocabulary = Vocabulary({"a": ("b", "o"), "b": ("a",), "m": ("n",), "n": ("m",), "o": ("a",)})
    parts = {"first": first_price(), "second": second_price(), "weighted": weighted()}
    return Formula(parts, prices, vocabulary)


POWERS = {"first": 2, "second": 2, "weighted": 1}


def prices(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """Of letters at each z, `atoms`: the three sums."""
    return np.array(
        [
            sum(at(parts[name], one) / (one["o"] * one["a"] + one["b"]) ** power for one in values["atoms"])
            for name, power in POWERS.items()
        ]
    )


def points(name: str) -> list[dict[str, Any]]:
    """Rational letters at three z each."""
    return random_letters(name, "oabmn")
