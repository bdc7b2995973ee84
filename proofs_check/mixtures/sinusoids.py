r"""The claim linear-sinusoid-posterior: the Bayes predictor of linear functions and sinusoids of one variable.

Three checks
    predictions of the numerical oracle at random prompts, against the derived ones: by another quadrature (numerics
    takes the sinusoid's amplitude and phase as a normal scale mixture and sums over its scale, theory over the phase)
    posteriors of the linear class, the same
    sampled: E (y - prediction) tanh(g) = 0 on prompts of the law itself, g three functions of what the predictor sees
Variance of the sampled check
    Z is a mean over prefixes of (y_i - f_i) t_i with |t_i| <= 1. If f_i = E[y_i | seen], then E (y_i - f_i)^2 is at
    most E y_i^2, and E Z^2 <= E y^2 = pi b + (1 - pi) v/2 + sigma^2 for x ~ N(0, 1): what `verdicts.heavy_tails` needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.mixtures import sinusoid_posterior as theory
from ..claims.alterable import Alterable
from ..claims.claim import AlterationCost, Budget, Claim, Parameter, Quantity, Run, Values
from ..claims.exact_checks import ExactCheck, Row
from ..claims.settings import generator
from ..records.tasks import Task
from ..verdicts.heavy_tails import compare_mean
from ..verdicts.verdict import Verdict, decide

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENTS = "iclcheck.numerics.mixtures.sinusoid_measurements"
# N, slope and amplitude variance, lowest and highest frequency, probability, noise variance
SIZES = (
    (1, 1.0, 2.0, 1.0, 4.0, 0.5, 0.1),
    (2, 0.5, 1.0, 0.0, 3.0, 0.3, 0.2),
    (4, 1.0, 2.0, 1.0, 4.0, 0.5, 0.3),
    (6, 2.0, 0.5, 2.0, 3.0, 0.8, 0.5),
    (9, 1.0, 2.0, 1.0, 4.0, 0.5, 0.2),
    (16, 1.0, 2.0, 1.0, 4.0, 0.5, 0.1),
)
NODES = (128, 256)  # of theory's quadrature, at half of which its own error is taken
# Sums over at most N + 2^15 terms that are added in pairs, exponents of at most some hundred: below 1e4 eps.
ROUNDING = 1e-11
PER_REPLICA, LENGTH = 25, 8
SETTING = {
    "x": "inputs of the examples (n numbers)", "y": "labels of the examples (n numbers)",
    "x_query": "the input to predict at", "slope_variance": "b of the slope w ~ N(0, b), above 0",
    "amplitude_variance": "v of the amplitude a ~ N(0, v), above 0",
    "lowest": "l of omega ~ U(l, h), at least 0", "highest": "h, at least l",
    "linear_probability": "pi, that of a linear function, 0 to 1", "noise_variance": "sigma^2 of the labels, above 0",
}  # fmt: skip
QUANTITIES = (
    Quantity("linear_posterior", "P(the function is linear | examples), a number"),
    Quantity("prediction", "E[f(x_query) | examples], of the function without noise, a number"),
    Quantity(
        "quadrature_error",
        "what doubling the nodes last changed in either, in units of the largest |y| or 1; rounding adds "
        "1e-6 at most to the posterior",
    ),
)

Made = Callable[[], "Formula"]


def prompts(seed: int) -> list[dict[str, Any]]:
    """One prompt of each size: a sinusoid with a slope beside it, so that either class may be the likelier one."""
    found = []
    for size in SIZES:
        N, b, v, low, high, probability, noise = size
        draw = generator(f"linear-sinusoid-posterior/{size}", seed)
        x = draw.uniform(-1.5, 1.5, size=N)
        wave = draw.uniform(-1, 1) * np.sin(draw.uniform(low, high) * x + draw.uniform(0, 6))
        y = wave + draw.uniform(-1, 1) * x + draw.uniform(-0.5, 0.5, size=N)
        found.append({
            "x": x, "y": y, "x_query": float(draw.uniform(0.5, 1.5)), "slope_variance": b, "amplitude_variance": v,
            "lowest": low, "highest": high, "linear_probability": probability, "noise_variance": noise,
        })  # fmt: skip
    return found


def law_of(prompt: Mapping[str, Any], length: int) -> dict[str, Any]:
    """The law that numerics knows by these numbers."""
    wave = {"kind": "sinusoid", "variance": prompt["amplitude_variance"]}
    classes = [
        {"kind": "dense", "variance": prompt["slope_variance"]},
        {**wave, "lowest": prompt["lowest"], "highest": prompt["highest"]},
    ]
    pi = prompt["linear_probability"]
    return {
        "dimension": 1, "length": length, "classes": classes, "weights": [pi, 1 - pi],
        "noise_variance": prompt["noise_variance"],
    }  # fmt: skip


def prompts_task(budget: Budget) -> Task:
    cases = [
        {"law": law_of(one, len(one["x"]) + 1), "x": one["x"].tolist(), "y": one["y"].tolist(),
         "x_query": one["x_query"]}
        for one in prompts(budget.seed)
    ]  # fmt: skip
    return Task(f"{MEASUREMENTS}:predictors_at_prompts", {"cases": cases}, budget.device, cost=1.5)


def rows_by(formula: Made, place: int, name: str) -> Callable[[Budget, Values], list[Row]]:
    """Posterior (place 0) or prediction (1) by a formula against the measured one, beside both quadratures' errors."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for k, prompt in enumerate(prompts(budget.seed)):
            derived = theory.posterior_by(formula(), prompt, NODES)[place]
            half = theory.posterior_by(theory.formula(), prompt, (NODES[0] // 2, NODES[1] // 2))[place]
            own = abs(theory.posterior_by(theory.formula(), prompt, NODES)[place] - half)
            difference = abs(derived - found[name][k])
            allowed = found[f"{name}_error"][k] + own + ROUNDING
            result.append((difference if np.isfinite(difference) else 1e9, allowed))
        return result

    return rows


def in_words(found: Values) -> str:
    return f"{len(found['posterior'])} prompts of 1 to 16 examples, noise variances 0.1 to 0.5"


@dataclass(frozen=True)
class Orthogonality:
    """Means of (y - prediction) tanh(g) on prompts of the law itself: 0 for the Bayes predictor."""

    resolution: float = 0.25
    false_alarm: float = 1e-6
    miss: float = 1e-3
    name: str = "errors orthogonal to what is seen, sampled"
    cost_of_alteration: AlterationCost = "judged again"

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        prompt, count = prompts(budget.seed)[0], PER_REPLICA * budget.replicas
        parameters = {
            "law": law_of(prompt, LENGTH), "prompts": count, "stream_key": f"linear-sinusoid-posterior/{budget.seed}",
        }  # fmt: skip
        return [Task(f"{MEASUREMENTS}:orthogonality", parameters, budget.device, cost=6e-4 * count)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (found,) = run(self.tasks(budget))
        prompt = prompts(budget.seed)[0]
        pi = prompt["linear_probability"]
        variance = pi * prompt["slope_variance"] + (1 - pi) * prompt["amplitude_variance"] / 2
        variance += prompt["noise_variance"]
        compared = [
            compare_mean(found["count"], total, squares, variance, false_alarm=self.false_alarm / 3, miss=self.miss)
            for total, squares in zip(found["sum"], found["sum_of_squares"], strict=True)
        ]
        bias = found["quadrature"]
        worst = max(compared, key=lambda one: abs(one.measured) / one.allowed)
        detectable = max(one.detectable for one in compared) + bias
        holds = all(abs(one.measured) <= one.allowed + bias for one in compared)
        return Verdict(
            self.name, decide(holds, detectable, self.resolution), worst.measured, 0.0, worst.allowed + bias,
            detectable, "as a mean of (y - prediction) tanh(g)", self.false_alarm, self.miss,
            f"{found['count']} prompts of {LENGTH} points",
            {"quadrature": bias, "means": [one.measured for one in compared]},
        )  # fmt: skip


def letters_of_checks(seed: int) -> list[Mapping[str, Any]]:
    """Letters of the formula at six nodes of every prompt, to say how far an altered formula is from the original."""
    found: list[Mapping[str, Any]] = []
    for prompt in prompts(seed):
        letters, _, _ = theory.rows_of_sinusoids(prompt, (2, 3))
        found.append({name: np.broadcast_to(one, (2, 3)) for name, one in letters.items()})
    return found


def sinusoid_claim(formula: Made = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    unit = "as an absolute difference"
    return Claim(
        "linear-sinusoid-posterior",
        theory.derivation,
        tuple(Parameter(name, words) for name, words in SETTING.items()),
        lambda parameters: theory.for_user(**parameters),
        (
            ExactCheck("predictions at random prompts", prompts_task, rows_by(formula, 1, "prediction"), in_words, unit,
                       resolution=1e-3),
            ExactCheck("posteriors at random prompts", prompts_task, rows_by(formula, 0, "posterior"), in_words, unit,
                       resolution=1e-3),
            Orthogonality(),
        ),
        "six random prompts of 1 to 16 examples, inputs in (-1.5, 1.5), noise variances 0.1 to 0.5, five sets of "
        "variances, frequencies and probabilities; the sampled check at slope variance 1, amplitude variance 2, "
        "frequencies U(1, 4), noise variance 0.1, pi = 1/2, prompts of 8 points",
        (Alterable(theory.formula, theory.points, letters_of_checks, lambda altered: sinusoid_claim(lambda: altered)),),
        quantities=QUANTITIES,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claim."""
    return (sinusoid_claim(),)
