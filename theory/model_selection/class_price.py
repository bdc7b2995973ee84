r"""The price of not knowing the class: how much the Bayes predictor of a mixture loses to those of its classes.

What is seen, z, has the mass A = P(class 1, z) and B = P(class 2, z); given z the value t has the mean m in class 1 and
n in class 2: these are the answers of the two classes' own Bayes predictors. p = A/(A + B) is the posterior of class 1.
Main statements
    mixture     f* = (A m + B n)/(A + B) = p m + (1 - p) n
    class 1     E[(f* - t)^2 - (m - t)^2; class 1, z] = A B^2 (m - n)^2/(A + B)^2 = A (1 - p)^2 (m - n)^2
    class 2     E[(f* - t)^2 - (n - t)^2; class 2, z] = A^2 B (m - n)^2/(A + B)^2 = B p^2 (m - n)^2
    together    both add up to A B (m - n)^2/(A + B) = P(z) p (1 - p) (m - n)^2: the variance of the class's answer
    bounds      0 <= together <= A (m - n)^2 and <= B (m - n)^2, and no other answer pays less on both together
So with pi = P(class 1), at each prefix, R_c the risk on prompts of class c:
    R_1(f*) - R_1(m) = E_1 (1 - p)^2 (m - n)^2,   R_2(f*) - R_2(n) = E_2 p^2 (m - n)^2,
    pi [R_1(f*) - R_1(m)] + (1 - pi) [R_2(f*) - R_2(n)] = E p (1 - p) (m - n)^2.
Assumptions
    Two classes; finite second moments. For laws that are not finite the sums over z are expectations, and the first
    three statements are Pythagoras within a class (oracle-never-beaten).
References
    [yadlowsky2023pretraining, Figures 1 and 2] compare a mixture's model with the models of its classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.formulas import Formula, Values
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, scalar, substitute
from .finite_laws import Atom, all_outcomes, at, best_answer, random_law, random_letters, squared_loss, summed, sums_of

A, B, m, n, G, t = (scalar(name) for name in "ABmnGt")
W = scalar("W")  # A + B, as long as it stands in a denominator
MASS = A + B


@cache
def mixture_answer() -> TracePolynomial:
    """W f*: the first moment of t at z, of both classes."""
    return A * m + B * n


def loss_beyond(answer: TracePolynomial, mass: TracePolynomial, mean: TracePolynomial) -> TracePolynomial:
    """E[(answer - t)^2 - (mean - t)^2; class, z]: the second moment of t cancels, so that mass and mean are enough."""
    difference = (answer - t) * (answer - t) - (mean - t) * (mean - t)
    return summed(difference, (mass, mass * mean))


def price(mass: TracePolynomial, mean: TracePolynomial) -> TracePolynomial:
    """W^2 times what the mixture's answer loses in that class."""
    beyond = W**2 * loss_beyond(G * W**-1, mass, mean)
    return substitute(beyond, scalars={"G": mixture_answer(), "W": MASS})


@cache
def first_price() -> TracePolynomial:
    """In class 1."""
    return price(A, m)


@cache
def second_price() -> TracePolynomial:
    """In class 2."""
    return price(B, n)


@cache
def together() -> TracePolynomial:
    """W times both prices: A B (m - n)^2, of which W^2 times both is the multiple W."""
    found = A * B * (m - n) * (m - n)
    assert first_price() + second_price() == MASS * found
    return found


@cache
def rooms() -> tuple[TracePolynomial, TracePolynomial]:
    """W times what is left below A (m - n)^2 and below B (m - n)^2: squares."""
    gap = (m - n) * (m - n)
    return MASS * A * gap - together(), MASS * B * gap - together()


# Instances


class Instance:
    """A finite law of two classes."""

    def __init__(self, seed: int) -> None:
        self.atoms = random_law(f"class price/{seed}")

    def letters(self) -> list[dict[str, Fraction]]:
        """A, B, m and n at each z."""
        return [letters_of(atom) for atom in self.atoms]

    def prices(self) -> list[tuple[Fraction, Fraction]]:
        """Literal losses of the best answer to both classes over those of the best answer to each, at each z."""
        return [literal_prices(atom) for atom in self.atoms]

    def derived(self, polynomial: TracePolynomial, power: int) -> list[Fraction]:
        """polynomial/(A + B)^power at each z."""
        return [at(polynomial, one) / (one["A"] + one["B"]) ** power for one in self.letters()]


def letters_of(atom: Atom) -> dict[str, Fraction]:
    first, second = (sums_of(outcomes) for outcomes in atom)
    return {"A": first["Q"], "B": second["Q"], "m": first["T"] / first["Q"], "n": second["T"] / second["Q"]}


def literal_prices(atom: Atom) -> tuple[Fraction, Fraction]:
    both = best_answer(all_outcomes(atom))
    first, second = (squared_loss(one, both) - squared_loss(one, best_answer(one)) for one in atom)
    return first, second


def between_classes(atom: Atom) -> Fraction:
    """What the loss of the best answer to both classes is above the classes' own, as the variance of the answer."""
    at_z = letters_of(atom)
    mean = best_answer(all_outcomes(atom))
    return at_z["A"] * (at_z["m"] - mean) ** 2 + at_z["B"] * (at_z["n"] - mean) ** 2


MIXTURE, FIRST, SECOND = "the mixture's answer", "price in class 1", "price in class 2"
TOGETHER, BOUNDS, RISKS = "together", "bounds", "risks"
ON_AVERAGE = (
    "Sum over z. The sum of the masses A is pi, that of B 1 - pi, so that the sum of A (1 - p)^2 (m - n)^2 is pi E_1 "
    "(1 - p)^2 (m - n)^2, and so on. For laws with densities replace masses by densities: at almost every z the "
    "identities are the same. That no other predictor pays less in the weighted sum is oracle-never-beaten."
)


@cache
def derivation() -> Derivation:
    """From the answers at one z to the risks on the classes."""
    first_room, second_room = rooms()
    return Derivation(
        STATEMENT,
        (
            Step(
                MIXTURE,
                "f*, the best answer to both classes at z",
                f"({to_text(mixture_answer())})/(A + B)",
                rf"f^* = \frac{{{to_latex(mixture_answer())}}}{{A + B}}",
                "T/Q of oracle-never-beaten, with the sums of both classes",
                lambda one: (
                    [best_answer(all_outcomes(atom)) for atom in one.atoms],
                    one.derived(mixture_answer(), 1),
                ),
                forms={"top": mixture_answer()},
            ),
            price_step(FIRST, 0, first_price(), "m"),
            price_step(SECOND, 1, second_price(), "n"),
            Step(
                TOGETHER,
                "both prices at z",
                f"({to_text(together())})/(A + B)",
                rf"\frac{{{to_latex(together())}}}{{A+B}} = P(z)\,p(1-p)(m-n)^2",
                "(A + B) cancels; P(z) times the variance of an answer that is m with probability p and n otherwise",
                lambda one: (
                    [[sum(pair) for pair in one.prices()], [between_classes(atom) for atom in one.atoms]],
                    [one.derived(together(), 1)] * 2,
                ),
                forms={"top": together()},
            ),
            Step(
                BOUNDS,
                "A (m - n)^2 and B (m - n)^2, less both prices",
                f"({to_text(first_room)})/(A + B); ({to_text(second_room)})/(A + B)",
                r"\frac{A^2(m-n)^2}{A+B},\quad \frac{B^2(m-n)^2}{A+B}\ \ge 0",
                "a mass less than the other one bounds A B/(A + B)",
                lambda one: (
                    [[gap_at(x)[k] - sum(p) for x, p in zip(one.letters(), one.prices(), strict=True)] for k in (0, 1)],
                    [one.derived(first_room, 1), one.derived(second_room, 1)],
                ),
                forms={"first": first_room, "second": second_room},
            ),
            Step(
                RISKS,
                "R_1(f*) - R_1(m), R_2(f*) - R_2(n), and pi and 1 - pi times them",
                "E_1 (1 - p)^2 (m - n)^2, E_2 p^2 (m - n)^2, and E p (1 - p) (m - n)^2",
                r"\pi\,[R_1(f^*)-R_1(m)] + (1-\pi)\,[R_2(f^*)-R_2(n)] = \mathbb{E}\,p(1-p)(m-n)^2",
                "the sum over z",
                lambda one: (
                    sum(sum(pair) for pair in one.prices()),
                    sum(x["A"] * x["B"] / (x["A"] + x["B"]) * (x["m"] - x["n"]) ** 2 for x in one.letters()),
                ),
                proof=ON_AVERAGE,
            ),
        ),
        {"first": first_price(), "second": second_price(), "together": together()},
        Instance,
    )


def gap_at(letters: Mapping[str, Fraction]) -> tuple[Fraction, Fraction]:
    """A (m - n)^2 and B (m - n)^2."""
    square = (letters["m"] - letters["n"]) ** 2
    return letters["A"] * square, letters["B"] * square


def price_step(name: str, place: int, form: TracePolynomial, own: str) -> Step:
    return Step(
        name,
        f"E[(f* - t)^2 - ({own} - t)^2; class {place + 1}, z]",
        f"({to_text(form)})/(A + B)^2",
        rf"\mathbb{{E}}[(f^*-t)^2-({own}-t)^2;\,{place + 1},z] = \bigl({to_latex(form)}\bigr)/(A+B)^2",
        f"the squared loss beyond that of {own}; what is left is a mass times (f* - {own})^2",
        lambda one: ([pair[place] for pair in one.prices()], one.derived(form, 2)),
        forms={"top": form},
    )


STATEMENT = Statement(
    identifier="model-selection",
    title="A mixture's model is as good on each class as the class's own, but for the price of not knowing the class",
    latex=r"\pi\,[R_1(f^*)-R_1(f_1)] + (1-\pi)\,[R_2(f^*)-R_2(f_2)] = \mathbb{E}\,p(1-p)(f_1-f_2)^2",
    text=(
        "At every prefix the Bayes predictor of a mixture of two classes loses E_1 (1 - p)^2 (f_1 - f_2)^2 to that of "
        "class 1 on prompts of class 1, and E_2 p^2 (f_1 - f_2)^2 to that of class 2 on prompts of class 2, p being "
        "its posterior of class 1. A trained model that is as good as this price allows selects its model."
    ),
    assumptions=(
        "two classes with probabilities pi and 1 - pi; f_1, f_2 are their Bayes predictors",
        "finite second moments; squared loss",
    ),
    conventions="prefix i: i examples before the query; risks on labels or without noise, the prices are the same",
    sources=(Source("yadlowsky2023pretraining", "Figures 1 and 2"), Source("ours", "the price")),
    uses=("oracle-never-beaten",),
)  # fmt: skip


# The formula that is altered


@cache
def formula() -> Formula:
    """The mixture's answers at each z, and both prices and their sum over a finite law."""
    vocabulary = Vocabulary({"A": ("B",), "B": ("A",), "m": ("n",), "n": ("m",)})
    parts = {"answer": mixture_answer(), "first": first_price(), "second": second_price(), "together": together()}
    return Formula(parts, answers_and_prices, vocabulary)


POWERS = {"first": 2, "second": 2, "together": 1}


def answers_and_prices(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """Of letters at each z, `atoms`: f* at each, and the sums of the prices."""
    atoms = values["atoms"]

    def over(name: str, power: int) -> list[Any]:
        return [at(parts[name], one) / (one["A"] + one["B"]) ** power for one in atoms]

    return np.array([*over("answer", 1), *(sum(over(name, power)) for name, power in POWERS.items())])


def points(name: str) -> list[dict[str, Any]]:
    """Rational letters at three z each."""
    return random_letters(name, "ABmn")
