r"""Class selection from the prompt: the posterior of the classes, read off predictions by regression.

The function of a prompt is of the dense class with probability pi, else of the sparse one. X and Y are the densities
of the labels seen so far under either class (averaged over the models of the class), f_d and f_s the posterior means of
the answer given the class, D = f_d - f_s, B = log X/Y the log Bayes factor, and f* the posterior mean of the answer.
Main statements
    posterior     p = pi X/(pi X + (1 - pi) Y) = 1/(1 + exp(-(B + log pi/(1 - pi))))
    prediction    f* = p f_d + (1 - p) f_s, so f* - f_s = p D for every prompt
    reading       least squares of f* - f_s on D, with any weights v >= 0 that the prompt decides (so inside any set of
                  prompts that the prompt decides, bins of B for one), has the slope E[v p D^2]/E[v D^2]: the posterior,
                  averaged with the weights v D^2
    bins          p grows with B, from bin to bin; across a bin of width b it changes by at most b/4
    departure     of any other predictor f the slope is off by E[v D (f - f*)]/E[v D^2], by Cauchy and Schwarz at most
                  sqrt(E[v (f - f*)^2]/E[v D^2])
    clipping      the slope is a weighted mean of the readings (f - f_s)/D of single prompts; for f* they are p itself,
                  so cutting readings off outside [l, h] with l <= 0, 1 <= h leaves the slope of f* as it is
Assumptions
    Two classes; each is a mixture of models under which the labels have a density. Nothing on inputs or noise.
References
    [yadlowsky2023pretraining, Figs. 1-3] on model selection; the rest is Bayes' rule and ordinary least squares.
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
from ..algebra.evaluation import evaluate
from ..algebra.formulas import Formula, Values
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, number, scalar, substitute
from ..one_layer.assumptions import AssumptionError, FloatArray, real_array

X, Y, Z, PI = (scalar(name) for name in ("X", "Y", "Z", "pi"))
DENSE, SPARSE, D = scalar("f_d"), scalar("f_s"), scalar("D")
OTHER = "(1-pi)"  # a symbol of its own, so that the other class's probability can stand in the place of pi


# The derivation's polynomials: numerators over `total`


@cache
def joint() -> tuple[TracePolynomial, TracePolynomial]:
    """The joint density of the labels with either class."""
    return PI * X, (number(1) - PI) * Y


@cache
def total() -> TracePolynomial:
    """The density of the labels.

    >>> total()
    X pi + Y - Y pi
    """
    first, second = joint()
    return first + second


@cache
def prediction() -> TracePolynomial:
    """The numerator of f*."""
    first, second = joint()
    return first * DENSE + second * SPARSE


@cache
def moment() -> TracePolynomial:
    """The numerator of D (f* - f_s), with f_d = f_s + D."""
    pulled = substitute(prediction(), scalars={"f_d": SPARSE + D}) - total() * SPARSE
    return D * pulled


@cache
def rise() -> TracePolynomial:
    """The numerator of p(Z) - p(X), another density Z under the dense class, over both totals."""
    dense, below = joint()[0], total()
    there = {"X": Z}
    return substitute(dense, scalars=there) * below - dense * substitute(below, scalars=there)


@cache
def square_of_pair() -> TracePolynomial:
    """(D_1 e_2 - D_2 e_1)^2."""
    d_1, d_2, e_1, e_2 = (scalar(name) for name in ("D_1", "D_2", "e_1", "e_2"))
    return (d_1 * e_2 - d_2 * e_1) ** 2


# Instances: a few prompts, with one dense and three sparse models each


class Instance:
    """Four rational prompts of some probabilities; likelihoods and answers of every model, and weights v."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(f"class-selection/{seed}")
        self.pi = Fraction(draw.randint(1, 96), 97)
        self.prompts = [self.prompt(draw) for _ in range(4)]

    @staticmethod
    def prompt(draw: random.Random) -> dict[str, Any]:
        fraction = [Fraction(draw.randint(1, 200), 37) for _ in range(6)]
        answers = [Fraction(draw.randint(-200, 200), 41) for _ in range(5)]
        return {"likelihoods": fraction[:4], "weight": fraction[4] * fraction[5], "answers": answers[:4],
                "guess": answers[4]}  # fmt: skip

    def models(self, prompt: Mapping[str, Any]) -> list[Any]:
        """The joint densities of labels and models: one dense model, three sparse ones of equal probability."""
        dense, *sparse = prompt["likelihoods"]
        return [self.pi * dense, *((1 - self.pi) * one / len(sparse) for one in sparse)]

    def letters(self, prompt: Mapping[str, Any]) -> dict[str, Any]:
        """X, Y, f_d, f_s, D and pi of a prompt."""
        dense, *sparse = prompt["likelihoods"]
        by_model = sum(y * r for y, r in zip(sparse, prompt["answers"][1:], strict=True)) / sum(sparse)
        found = {"X": dense, "Y": sum(sparse) / len(sparse), "f_d": prompt["answers"][0], "f_s": by_model}
        return {**found, "D": found["f_d"] - by_model, "pi": self.pi}

    def value(self, polynomial: TracePolynomial, prompt: Mapping[str, Any], **further: Any) -> Any:
        return exact(polynomial, {**self.letters(prompt), **further})

    def posterior(self, prompt: Mapping[str, Any]) -> Any:
        """p, as derived."""
        return self.value(joint()[0], prompt) / self.value(total(), prompt)

    def mean_answer(self, prompt: Mapping[str, Any]) -> Any:
        """f*, from every model."""
        joints = self.models(prompt)
        return sum(j * r for j, r in zip(joints, prompt["answers"], strict=True)) / sum(joints)

    def slope(self, answers: list[Any]) -> Any:
        """Least squares of answers - f_s on D: where the parabola through three values is least."""
        at_0, at_1, at_2 = (self.squares(answers, Fraction(k)) for k in (0, 1, 2))
        return (3 * at_0 - 4 * at_1 + at_2) / (2 * (at_0 - 2 * at_1 + at_2))

    def squares(self, answers: list[Any], slope: Any) -> Any:
        found = Fraction(0)
        for prompt, answer in zip(self.prompts, answers, strict=True):
            at = self.letters(prompt)
            found += prompt["weight"] * (answer - at["f_s"] - slope * at["D"]) ** 2
        return found

    def weighted(self, of_prompt: list[Any]) -> Any:
        """The sum of v times something."""
        return sum(prompt["weight"] * one for prompt, one in zip(self.prompts, of_prompt, strict=True))

    def gaps(self) -> list[Any]:
        """D of every prompt."""
        return [self.letters(prompt)["D"] for prompt in self.prompts]


def exact(polynomial: TracePolynomial, letters: Mapping[str, Any]) -> Any:
    values = {name: np.array(value, dtype=object) for name, value in letters.items()}
    return np.asarray(evaluate(polynomial, values), dtype=object)[()]


def counted_models(at: Instance) -> tuple[Any, Any]:
    """P(dense | labels) and the density of the labels from all four models, and as derived."""
    literal, derived = [], []
    for prompt in at.prompts:
        joints = at.models(prompt)
        literal += [joints[0] / sum(joints), sum(joints)]
        derived += [at.posterior(prompt), at.value(total(), prompt)]
    return literal, derived


def odds_of_models(at: Instance) -> tuple[Any, Any]:
    """The odds of the dense class, and X/Y times pi/(1 - pi)."""
    literal, derived = [], []
    for prompt in at.prompts:
        dense, *sparse = at.models(prompt)
        literal.append(dense / sum(sparse))
        derived.append(at.value(joint()[0], prompt) / at.value(joint()[1], prompt))
    return literal, derived


def answers_of_models(at: Instance) -> tuple[Any, Any]:
    """f* from every model, and p f_d + (1 - p) f_s."""
    derived = [at.value(prediction(), prompt) / at.value(total(), prompt) for prompt in at.prompts]
    return [at.mean_answer(prompt) for prompt in at.prompts], derived


def slope_of_oracle(at: Instance) -> tuple[Any, Any]:
    """The slope of f* by least squares, and the weighted mean of p by the moments."""
    literal = at.slope([at.mean_answer(prompt) for prompt in at.prompts])
    moments = [at.value(moment(), prompt) / at.value(total(), prompt) for prompt in at.prompts]
    mean = at.weighted([at.posterior(one) * D**2 for one, D in zip(at.prompts, at.gaps(), strict=True)])
    squares = at.weighted([D**2 for D in at.gaps()])
    return [literal, literal], [at.weighted(moments) / squares, mean / squares]


def rise_of_posterior(at: Instance) -> tuple[Any, Any]:
    """p at two densities under the dense class, and the difference as derived."""
    literal, derived = [], []
    for prompt in at.prompts:
        here, there = at.letters(prompt), {**at.letters(prompt), "X": at.letters(prompt)["X"] + 3}
        p, q = (exact(joint()[0], one) / exact(total(), one) for one in (here, there))
        literal.append(q - p)
        derived.append(exact(rise(), {**here, "Z": there["X"]}) / exact(total(), here) / exact(total(), there))
    return literal, derived


def slope_of_guess(at: Instance) -> tuple[Any, Any]:
    """What the slope of any answers has over that of f*, and E v D e/E v D^2; Lagrange's identity for the bound."""
    best = [at.mean_answer(prompt) for prompt in at.prompts]
    guesses = [prompt["guess"] for prompt in at.prompts]
    e = [a - b for a, b in zip(guesses, best, strict=True)]
    D = at.gaps()
    crossed, squares, errors = (
        at.weighted([a * b for a, b in zip(*pair, strict=True)]) for pair in ((D, e), (D, D), (e, e))
    )
    pairs = Fraction(0)
    for i, first in enumerate(at.prompts):
        for j, second in enumerate(at.prompts):
            letters = {"D_1": D[i], "D_2": D[j], "e_1": e[i], "e_2": e[j]}
            pairs += first["weight"] * second["weight"] * exact(square_of_pair(), letters) / 2
    return [at.slope(guesses) - at.slope(best), squares * errors - crossed**2], [crossed / squares, pairs]


POSTERIOR, ODDS, MEAN = "posterior of the class", "log odds", "the mixture's prediction"
READING, BINS, DEPARTURE = "slope inside a set", "bins of the Bayes factor", "another predictor"


@cache
def derivation() -> Derivation:
    """From the models of two classes to the slope of a regression."""
    results = {"dense": joint()[0], "total": total(), "prediction": prediction(), "moment": moment()}
    return Derivation(STATEMENT, (*posterior_steps(), *reading_steps()), results, Instance)


def posterior_steps() -> tuple[Step, ...]:
    """Bayes' rule, and the posterior mean."""
    dense, sparse = joint()
    return (
        Step(
            POSTERIOR,
            "p = P(dense | labels)",
            f"({to_text(dense)})/({to_text(total())})",
            rf"p = \frac{{{to_latex(dense)}}}{{{to_latex(total())}}}",
            "X, Y: the densities of the labels given the class, averages over its models; all models are counted",
            counted_models,
            forms={"dense": dense, "total": total()},
        ),
        Step(
            ODDS,
            "p/(1 - p)",
            f"({to_text(dense)})/({to_text(sparse)})",
            rf"\frac{{p}}{{1-p}} = \frac{{{to_latex(dense)}}}{{{to_latex(sparse)}}},\quad "
            r"\log\frac{p}{1-p} = B + \log\frac{\pi}{1-\pi}",
            "so p = 1/(1 + exp(-(B + log pi/(1 - pi)))) with B = log X/Y: a sigmoid of slope 1 in B, moved by "
            "the prior",
            odds_of_models,
            forms={"sparse": sparse},
        ),
        Step(
            MEAN,
            "f* = E[answer | labels]",
            f"({to_text(prediction())})/({to_text(total())}) = p f_d + (1 - p) f_s",
            rf"f^* = \frac{{{to_latex(prediction())}}}{{{to_latex(total())}}}",
            "the mean over the models of a class is that class's posterior mean; then the mean over the classes",
            answers_of_models,
            forms={"prediction": prediction()},
        ),
    )


def reading_steps() -> tuple[Step, ...]:
    """The regression, its bins, and what another predictor makes of it."""
    return (
        Step(
            READING,
            "E[v D (f* - f_s)]/E[v D^2]",
            "E[v p D^2]/E[v D^2]",
            r"\frac{\mathbb E[v D (f^* - f_s)]}{\mathbb E[v D^2]} = "
            r"\frac{\mathbb E[v\,p\,D^2]}{\mathbb E[v D^2]}",
            f"D (f* - f_s) = ({to_text(moment())})/({to_text(total())}) = p D^2 for each prompt; v may be any function "
            "of the examples and the query that is not negative, the indicator of a bin among them",
            slope_of_oracle,
            proof=(
                "The labels read the same: given examples and query the mean of the answer y is f*, so D (y - f_s) has "
                "the mean p D^2; and the class itself: the indicator of the dense class has the mean p."
            ),
            forms={"moment": moment()},
        ),
        Step(
            BINS,
            "p at the density Z of the labels under the dense class, less p at X",
            f"({to_text(rise())})/(total(X) total(Z)) = pi (1 - pi) Y (Z - X)/(total(X) total(Z))",
            rf"p(Z) - p(X) = \frac{{{to_latex(rise())}}}{{(\pi X + (1-\pi) Y)(\pi Z + (1-\pi) Y)}}",
            "positive for Z > X: p grows with B; as dp/dB = p (1 - p) <= 1/4, p changes by at most a quarter of the "
            "width of a bin, and a reading in it lies between the posteriors at its two ends",
            rise_of_posterior,
            forms={"rise": rise()},
        ),
        Step(
            DEPARTURE,
            "slope of f less slope of f*; E[v D^2] E[v e^2] - E[v D e]^2, e = f - f*",
            f"E[v D e]/E[v D^2]; E of v_1 v_2 ({to_text(square_of_pair())})/2 over two independent prompts",
            r"\frac{\mathbb E[v D (f - f_s)]}{\mathbb E[v D^2]} - \frac{\mathbb E[v p D^2]}{\mathbb E[v D^2]} = "
            r"\frac{\mathbb E[v D e]}{\mathbb E[v D^2]},\quad "
            r"\mathbb E[vD^2]\,\mathbb E[ve^2] - \mathbb E[vDe]^2 = "
            rf"\tfrac12 \mathbb E[v_1 v_2 ({to_latex(square_of_pair())})]",
            "f - f_s = p D + e; the second difference is not negative (Lagrange's identity), so the slope is off by at "
            "most sqrt(E[v e^2]/E[v D^2]): an excess risk small beside D^2 leaves the posterior readable",
            slope_of_guess,
            forms={"square": square_of_pair()},
        ),
    )  # fmt: skip


STATEMENT = Statement(
    identifier="class-selection",
    title="Class selection from the prompt: the posterior of the classes, read off predictions",
    latex=r"\frac{\mathbb E[v D (f^* - f_s)]}{\mathbb E[v D^2]} = \frac{\mathbb E[v\,p\,D^2]}{\mathbb E[v D^2]},\quad "
    r"p = \frac{1}{1 + e^{-(B + \log\frac{\pi}{1-\pi})}},\quad D = f_d - f_s",
    text=(
        "The Bayes predictor of a mixture of two classes is f* = p f_d + (1 - p) f_s, with p the sigmoid of the log "
        "Bayes factor B plus the prior's log odds. So regression of predictions less f_s on D = f_d - f_s, inside any "
        "set of prompts that the prompt decides, reads the posterior off them, exactly for f*. A model trained on the "
        "mixture is read the same way, and its readings are put beside the posterior."
    ),
    assumptions=(
        "two classes, each a mixture of models under which the labels have a density; prior pi of the dense class",
        "the weights of the regression are functions of the examples and the query",
    ),
    conventions="natural logarithms; B > 0 speaks for the dense class; the answer is the noiseless target or the label",
    sources=(
        Source("yadlowsky2023pretraining", "section 3, Figs. 1-3, where it is told without the posterior"),
        Source("ours", "reading the posterior off predictions; bins, departure"),
    ),
    uses=("mixture-posterior",),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """p as a function of X, Y and pi; numbers or arrays of one shape."""
    parts = {"dense": joint()[0], "total": total()}
    return Formula(parts, quotient, Vocabulary({"X": ("Y",), "Y": ("X",), "pi": (OTHER,)}))


def quotient(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    at = {**values, OTHER: 1 - values["pi"]}
    dense, below = (evaluate(parts[name], at) for name in ("dense", "total"))
    if np.any(np.asarray(below) == 0):
        raise ValueError("need a density of the labels different from 0")
    return np.asarray(dense / below)


def points(name: str) -> list[dict[str, Any]]:
    """Rational densities and priors."""
    found = []
    for k in range(4):
        draw = random.Random(f"{name}/class-selection/{k}")
        letters = {one: np.array(Fraction(draw.randint(1, 900), 211), dtype=object) for one in ("X", "Y")}
        found.append({**letters, "pi": np.array(Fraction(draw.randint(1, 99), 101), dtype=object)})
    return found


def letters_at(log_bayes_factor: Any, dense_probability: float) -> dict[str, FloatArray]:
    """X, Y and pi at values of B: the larger density is put to 1, so that no exponential overflows."""
    B = np.asarray(log_bayes_factor, dtype=np.float64)
    return {
        "X": np.exp(np.minimum(B, 0.0)), "Y": np.exp(-np.maximum(B, 0.0)), "pi": np.full_like(B, dense_probability)
    }  # fmt: skip


# For a user


def for_user(
    log_bayes_factors: Any, dense_predictions: Any, sparse_predictions: Any, dense_probability: Any = 0.5,
    predictions: Any = None,
) -> dict[str, Any]:  # fmt: skip
    """Posterior, Bayes prediction, and the slope read off predictions over the given prompts. Raises AssumptionError.

    >>> for_user([0.0, 0.0], [1.0, 2.0], [0.0, 0.0], predictions=[0.4, 0.8])["slope"]
    0.4
    """
    B = vector(log_bayes_factors, "log_bayes_factors", None)
    dense = vector(dense_predictions, "dense_predictions", len(B))
    sparse = vector(sparse_predictions, "sparse_predictions", len(B))
    pi = check_probability(dense_probability)
    p = formula().value(letters_at(B, pi))
    best = p * dense + (1 - p) * sparse
    given = best if predictions is None else vector(predictions, "predictions", len(B))
    gap = dense - sparse
    size = float(gap @ gap)
    if size == 0:
        raise AssumptionError("the predictions of both classes are equal everywhere; give prompts at which they differ")
    return {
        "dense_posterior": p.tolist(),
        "mixture_prediction": best.tolist(),
        "expected_slope": float(gap @ (p * gap)) / size,
        "slope": float(gap @ (given - sparse)) / size,
        "largest_departure": float(np.sqrt(np.sum((given - best) ** 2) / size)),
    }


def vector(value: Any, name: str, length: int | None) -> FloatArray:
    """Numbers in a row. Raises AssumptionError."""
    found = real_array(value, name)
    if found.ndim != 1 or len(found) == 0 or (length is not None and len(found) != length):
        wanted = "at least one number" if length is None else f"{length} numbers, one for each log Bayes factor"
        raise AssumptionError(f"{name} needs a list of {wanted}, got shape {found.shape}; write [0.5, 1.0]")
    return found


def check_probability(value: Any) -> float:
    """A number strictly between 0 and 1. Raises AssumptionError."""
    found = real_array(value, "dense_probability")
    if found.shape != () or not 0 < float(found) < 1:
        raise AssumptionError(
            f"dense_probability needs a number between 0 and 1, both excluded, got {value!r}; with 0 or 1 there is one "
            "class and nothing to select"
        )
    return float(found)
