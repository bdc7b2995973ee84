r"""No predictor beats the Bayes predictor, and by how much each one loses: Pythagoras' theorem in the squared loss.

A predictor f answers from what it sees, z: the examples and the query. t is the value at the query without its noise,
y = t + e, and f* = E[t | z] is the Bayes predictor of the whole law, classes and all. With Q = P(z), T = E[t; z] and
S = E[t^2; z] at one z:
Main statements
    mean          the squared loss Q f^2 - 2 T f + S is least at f* = T/Q
    cross term    E (f - f*)(t - f*) = 0, at each z and so on average
    Pythagoras    E (f - t)^2 = E (f - f*)^2 + E (f* - t)^2
    noise         E (f - y)^2 = E (f - t)^2 + sigma^2: the cross term is also 0 with y in the place of t
    variance      given z the cross term has the variance (f - f*)^2 V with V = Var(t | z) = (Q S - T^2)/Q^2
Assumptions
    The prompt is drawn from the law whose Bayes predictor f* is; E t^2 and E f^2 are finite; e has mean 0 and variance
    sigma^2 and is independent of z and t. Nothing is assumed of f but that it is a function of z (and of anything that
    is independent of t given z, its weights for example).
Proof for any law
    The steps are sums over finitely many z and t. For other laws the tower property E[g(z) t] = E[g(z) E[t | z]], for
    square-integrable g, is what stands in the place of these sums; it is taken from probability theory, not proved
    here.
References
    [yadlowsky2023pretraining] for the models that are put beside f*.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.formulas import Formula, Values
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, scalar, substitute
from ..one_layer.assumptions import AssumptionError
from .finite_laws import (
    Outcomes,
    Q,
    T,
    all_outcomes,
    at,
    best_answer,
    random_law,
    random_letters,
    summed,
    sums_of,
    total,
)

F, t, SIGMA2 = scalar("f"), scalar("t"), scalar("sigma2")
MEAN_OF_Z = T * Q**-1


@cache
def loss() -> TracePolynomial:
    """E[(f - t)^2; z]."""
    return summed((F - t) * (F - t))


@cache
def least() -> TracePolynomial:
    """Q times the loss of f*."""
    return Q * substitute(loss(), scalars={"f": MEAN_OF_Z})


@cache
def distance() -> TracePolynomial:
    """Q times E[(f - f*)^2; z]."""
    gap = F - MEAN_OF_Z
    return Q * (Q * gap * gap)


@cache
def cross() -> TracePolynomial:
    """E[(f - f*)(t - f*); z], which vanishes."""
    return summed((F - MEAN_OF_Z) * (t - MEAN_OF_Z))


@cache
def cross_variance() -> TracePolynomial:
    """Q^3 times E[(f - f*)^2 (t - f*)^2; z]."""
    gap = F - MEAN_OF_Z
    return Q**3 * gap * gap * summed((t - MEAN_OF_Z) * (t - MEAN_OF_Z))


@cache
def noisy_loss() -> TracePolynomial:
    """E[(f - y)^2; z]: a noise of +-sigma with equal probabilities speaks for every noise of that variance."""
    return loss() + SIGMA2 * Q


# Instances


class Instance:
    """A finite law of two classes, an answer at each z, a noise."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(f"orthogonality/{seed}")
        self.atoms = [all_outcomes(atom) for atom in random_law(f"orthogonality/{seed}")]
        self.answers = [Fraction(draw.randint(-30, 30), 11) for _ in self.atoms]
        self.sigma = Fraction(draw.randint(1, 20), 9)

    def pairs(self) -> list[tuple[Outcomes, Fraction]]:
        return list(zip(self.atoms, self.answers, strict=True))

    def letters(self) -> list[dict[str, Fraction]]:
        """Q, T, S, f and sigma2 at each z."""
        return [{**sums_of(atom), "f": f, "sigma2": self.sigma**2} for atom, f in self.pairs()]

    def literal(self, value: Callable[..., Fraction]) -> list[Fraction]:
        """sum of mass value(f, f*, t) at each z, f* from literal losses."""
        return [sum_at(atom, f, best_answer(atom), value) for atom, f in self.pairs()]

    def derived(self, polynomial: TracePolynomial, power: int = 0) -> list[Fraction]:
        """polynomial/Q^power at each z."""
        return [at(polynomial, one) / one["Q"] ** power for one in self.letters()]

    def noisy(self) -> list[Fraction]:
        """The loss on y = t + sigma and t - sigma."""
        both = [self.literal(lambda f, best, x, e=e: (f - x - e) ** 2) for e in (self.sigma, -self.sigma)]
        return [(plus + minus) / 2 for plus, minus in zip(*both, strict=True)]


def sum_at(atom: Outcomes, f: Fraction, best: Fraction, value: Callable[..., Fraction]) -> Fraction:
    """sum of mass value(f, best, t)."""
    return Fraction(total(atom, lambda x: value(f, best, x)))


def squared_cross(f: Fraction, best: Fraction, x: Fraction) -> Fraction:
    return (f - best) ** 2 * (x - best) ** 2


MEAN, CROSS, PYTHAGORAS = "Bayes predictor", "cross term", "Pythagoras"
NOISE, VARIANCE, ANY = "noise", "variance of the cross term", "any law"
TOWER = (
    "Sum the steps over z. Where z or t has a density, let f* = E[t | z]: for every square-integrable g(z) the tower "
    "property gives E g t = E g f*, hence E (f - f*)(t - f*) = 0 with g = f - f*, and the square of f - t = (f - f*) + "
    "(f* - t) has no cross term. The risk of f is the sum of two squares, so that it is at least that of f*, with "
    "equality only for f = f* almost surely. Given the weights of a trained f, fresh prompts are independent of them."
)


@cache
def derivation() -> Derivation:
    """From the losses at one z to all laws."""
    steps = (
        Step(
            MEAN,
            "argmin over f of E[(f - t)^2; z]",
            f"T/Q; the loss is {to_text(loss())}",
            rf"f^* = T/Q,\quad \mathbb{{E}}[(f-t)^2;z] = {to_latex(loss())}",
            "a parabola in f, with Q = P(z) > 0",
            lambda one: (
                [one.literal(lambda f, best, x: (f - x) ** 2), [best_answer(atom) for atom in one.atoms]],
                [one.derived(loss()), one.derived(T, 1)],
            ),
            forms={"loss": loss(), "top": T},
        ),
        Step(
            CROSS,
            "E[(f - f*)(t - f*); z]",
            to_text(cross()),
            r"\mathbb{E}[(f-f^*)(t-f^*);z] = 0",
            "f and f* are constants at z, and E[t - f*; z] = T - Q T/Q",
            lambda one: (one.literal(lambda f, best, x: (f - best) * (x - best)), one.derived(cross())),
        ),
        Step(
            PYTHAGORAS,
            "E[(f - f*)^2; z] and E[(f* - t)^2; z], which add up to E[(f - t)^2; z]",
            f"({to_text(distance())})/Q; ({to_text(least())})/Q",
            rf"\mathbb{{E}}[(f-f^*)^2;z] = \bigl({to_latex(distance())}\bigr)/Q,\quad "
            rf"\mathbb{{E}}[(f^*-t)^2;z] = \bigl({to_latex(least())}\bigr)/Q",
            "expand both squares around T/Q",
            lambda one: (
                [
                    one.literal(lambda f, best, x: (f - best) ** 2),
                    one.literal(lambda f, best, x: (best - x) ** 2),
                    one.literal(lambda f, best, x: (f - x) ** 2),
                ],
                [one.derived(distance(), 1), one.derived(least(), 1), one.derived(distance() + least(), 1)],
            ),
            forms={"distance": distance(), "least": least()},
        ),
        Step(
            NOISE,
            "E[(f - y)^2; z], y = t + e",
            to_text(noisy_loss()),
            rf"\mathbb{{E}}[(f-y)^2;z] = {to_latex(noisy_loss())}",
            "e has mean 0 and is independent of z and t",
            lambda one: (one.noisy(), one.derived(noisy_loss())),
            forms={"loss": noisy_loss()},
        ),
        Step(
            VARIANCE,
            "E[(f - f*)^2 (t - f*)^2; z]",
            f"({to_text(cross_variance())})/Q^3",
            rf"\mathbb{{E}}[(f-f^*)^2(t-f^*)^2;z] = \bigl({to_latex(cross_variance())}\bigr)/Q^3",
            "f - f* is a constant at z",
            lambda one: (one.literal(squared_cross), one.derived(cross_variance(), 3)),
            forms={"square": cross_variance()},
        ),
        Step(
            ANY,
            "E (f - t)^2",
            "E (f - f*)^2 + E (f* - t)^2",
            r"\mathbb{E}(f-t)^2 = \mathbb{E}(f-f^*)^2 + \mathbb{E}(f^*-t)^2",
            "the sum over z, or the tower property",
            lambda one: (
                sum(one.literal(lambda f, best, x: (f - x) ** 2)),
                sum(one.derived(distance(), 1)) + sum(one.derived(least(), 1)),
            ),
            proof=TOWER,
        ),
    )
    results = {"distance": distance(), "least": least()}
    return Derivation(STATEMENT, steps, results, Instance)


STATEMENT = Statement(
    identifier="oracle-never-beaten",
    title="No predictor beats the Bayes predictor of the law of its prompts",
    latex=r"\mathbb{E}(f-y)^2 = \mathbb{E}(f-f^*)^2 + \mathbb{E}(f^*-y)^2,\quad \mathbb{E}(f-f^*)(y-f^*) = 0",
    text=(
        "At every prefix the squared risk of any predictor is that of the Bayes predictor of the mixture, plus its "
        "mean squared distance to it; the deviation from the Bayes predictor is orthogonal to the Bayes predictor's "
        "error."
    ),
    assumptions=(
        "the prompt comes from the law whose Bayes predictor f* is",
        "f depends on the examples and the query only; finite second moments",
        "the tower property of conditional expectations, where the law is not finite",
        "noise of mean 0 and variance sigma^2, independent of the rest",
    ),
    conventions="t is the value without noise, y the label; prefix i: i examples before the query",
    sources=(Source("ours", "the check"), Source("yadlowsky2023pretraining", "the trained models' setting")),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """Loss, distance, least loss and the variance of the cross term, summed over the z of a finite law."""
    vocabulary = Vocabulary({"Q": ("T",), "T": ("S", "Q"), "S": ("T",)})
    parts = {"loss": loss(), "distance": distance(), "least": least(), "cross": cross_variance()}
    return Formula(parts, sums_over_z, vocabulary)


POWERS = {"loss": 0, "distance": 1, "least": 1, "cross": 3}


def sums_over_z(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """Of letters at each z, `atoms`: the four sums."""
    return np.array(
        [sum(at(parts[name], one) / one["Q"] ** power for one in values["atoms"]) for name, power in POWERS.items()]
    )


def points(name: str) -> list[dict[str, Any]]:
    """Rational letters at three z each."""
    return random_letters(name, "QTSf")


# Numbers for users


def predict(risk: Any, oracle_risk: Any, distance: Any = None) -> dict[str, Any]:
    """What three risks at one prefix say: the excess, and with a measured distance the cross term.

    risk and oracle_risk are E (f - y)^2 and E (f* - y)^2, on labels with noise or both without. Raises AssumptionError
    for numbers that are not finite or negative.

    >>> predict(1.5, 1.0, 0.5)
    {'excess': 0.5, 'distance': 0.5, 'cross_term': 0.0}
    """
    numbers = {"risk": risk, "oracle_risk": oracle_risk, **({} if distance is None else {"distance": distance})}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise AssumptionError(f"{name} needs a finite number of at least 0, got {value!r}")
    excess = float(risk) - float(oracle_risk)
    found = {"excess": excess, "distance": excess if distance is None else float(distance)}
    # E (f - y)^2 = E (f* - y)^2 + distance - 2 cross, whatever f* is
    return {**found, "cross_term": (found["distance"] - excess) / 2}
