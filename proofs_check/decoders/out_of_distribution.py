r"""The claim out-of-distribution: prompts from outside of the pretraining mixture.

Checks
    the dense Bayes predictor on every turned copy of prompts, against the derived risk: exact up to rounding
    a decoder trained on dense functions, on sparse prompts: it keeps to its own Bayes predictor, ridge regression
    one trained on sparse functions, on dense prompts: it leaves its own Bayes predictor, and errs less than that one
    inputs three times as large: the risk is a multiple of that of the Bayes predictor, which does not mind
    convex combinations of a linear function and a sinusoid: the risk is above that of the Bayes predictor that expects
    them, by about as much as that of the decoder's own Bayes predictor, which had no such function in its prior either
    frequencies beyond the range: the risk is a multiple of that of the Bayes predictor that expects them
Error rates of what is trained
    Prompts are drawn in independent groups. A group hits or not, and the share of hits is bounded by Clopper and
    Pearson (`verdicts.replicas`) at FALSE_ALARM for each check, whatever the tails; no mean is estimated. The margins
    were set after a first look at the shipped files (docs/out_of_distribution.md), with other prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.prompt_risks import cross_class as theory
from ..claims.alterable import Alterable
from ..claims.claim import AlterationCost, Budget, Claim, Parameter, Quantity, Run, Values
from ..claims.exact_checks import ExactCheck, Row
from ..claims.replica_verdict import replica_verdict
from ..claims.settings import FloatArray, generator
from ..records.tasks import Task
from ..verdicts.verdict import Verdict
from .shipped_models import recorded_digest, shipped_record, trained_law

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

COPIES = "iclcheck.numerics.mixtures.ridge_copies:risks_over_copies"
GROUPS_OF = "iclcheck.numerics.decoders.out_of_distribution:groups_of_settings"
SIZES = ((1, 2), (2, 3), (2, 1), (3, 2), (3, 4), (4, 3))  # d, N: fewer examples than coordinates, and more
# Condition numbers below 1e3 in systems of d <= 4, and sums of at most 3,072 positive terms.
ROUNDING = 1e-11
GROUPS, REQUIRED, FALSE_ALARM = 60, 0.75, 1e-4  # three misses are forgiven
LATE, WAVES_LATE = 5, 4  # means over positions after at least so many examples, d = 5 and sinusoids
SETTING = (
    Parameter("inputs", "Z, the inputs before scaling, one example per row (N x d); risks are means over their turns"),
    Parameter("dense_variance", "v of the w ~ N(0, v I) that the predictor expects, above 0"),
    Parameter("noise_variance", "sigma^2 of the labels, above 0, in the prompts and as the predictor expects it"),
    Parameter("nonzeros", "k, how many coefficients of the prompt's function are not 0: a whole number from 1 to d"),
    Parameter("sparse_variance", "s of each of these, at least 0"),
    Parameter("input_scale", "c, the factor on the covariance of inputs and query", required=False, default=1.0),
)
QUANTITIES = (
    Quantity("risk_on_dense", "E (w_hat.x_q - w.x_q)^2 for w ~ N(0, v I), a number"),
    Quantity("risk_on_sparse", "the same for k coefficients of variance s, a number"),
    Quantity("bias_ratio", "k s/(d v), the bias on sparse prompts over that on dense ones, a number"),
)

Made = Callable[[], "Formula"]


# The derived risk


def cases(seed: int) -> list[dict[str, Any]]:
    """Random inputs, functions, variances and scales."""
    found = []
    for d, length in SIZES:
        draw = generator(f"out-of-distribution/{d}/{length}", seed)
        weights = np.where(np.arange(d) < max(1, d - 1), draw.uniform(-1.5, 1.5, size=d), 0.0)
        found.append({
            "inputs": draw.uniform(-1.5, 1.5, size=(length, d)).tolist(), "weights": weights.tolist(),
            **{name: float(draw.uniform(0.3, 1.5)) for name in ("dense_variance", "noise_variance")},
            "input_scale": float(draw.uniform(0.5, 4.0)),
        })  # fmt: skip
    return found


def letters_of(case: Mapping[str, Any]) -> dict[str, Any]:
    """The formula's letters of a case."""
    square = float(np.sum(np.square(case["weights"])))
    numbers = (case["dense_variance"], case["noise_variance"])
    return theory.letters_at(case["inputs"], *numbers, square, case["input_scale"])


def copies_task(budget: Budget) -> Task:
    return Task(COPIES, {"cases": cases(budget.seed)}, budget.device, cost=0.3)


def rows_by(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """Measured risks relative to a formula's."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        derived = [float(formula().value(letters_of(case))) for case in cases(budget.seed)]
        return [(abs(one / risk - 1), ROUNDING) for one, risk in zip(derived, found["risk"], strict=True)]

    return rows


def in_words(found: Values) -> str:
    return f"{sum(found['prompts'])} prompts, all turned copies of {len(found['prompts'])} with all points of the noise"


# Trained decoders


def model_of(name: str, budget: Budget) -> dict[str, Any]:
    """The shipped file; in the full profile a training of its kind, with random numbers of its own."""
    if budget.profile == "full":
        return {"training": {**shipped_record(name)["training"], "replica": 1 + budget.seed}}
    return {"shipped": name, "sha256": recorded_digest(name)}


def settings_of(name: str) -> dict[str, dict[str, Any]]:
    """The prompts that a decoder is put to, each with Bayes predictors: own (of its training) and right (of these)."""
    own = trained_law(name)
    if name != "linear-sinusoid":
        (kind,) = trained_law("sparse" if name == "dense" else "dense")["classes"]
        other = one_class(own, kind)
        return {
            "cross": {"prompts": other, "oracles": {"own": own, "right": other}, "first": 1, "size": 256},
            "scale": {"prompts": {**own, "input_scale": 9.0}, "oracles": {"own": own}, "first": LATE, "size": 24},
        }
    line, wave = own["classes"]
    half = one_class(own, {"kind": "combination", "share": 0.5, "first": line, "second": wave})
    fast = one_class(own, {**wave, "lowest": 5.0, "highest": 8.0})
    return {
        "combination": {"prompts": half, "oracles": {"own": own, "right": half}, "first": WAVES_LATE, "size": 16},
        "frequency": {"prompts": fast, "oracles": {"own": own, "right": fast}, "first": WAVES_LATE, "size": 6},
    }


def one_class(law: Mapping[str, Any], kind: Mapping[str, Any]) -> dict[str, Any]:
    """The law with that class alone."""
    return {**law, "classes": [dict(kind)], "weights": [1.0]}


def task_of(name: str, budget: Budget) -> Task:
    """All settings of a decoder: one task, so that it is trained once in the full profile."""
    parameters = {
        "model": model_of(name, budget), "settings": list(settings_of(name).values()),
        "groups": min(GROUPS, budget.replicas),
        "stream_key": f"out-of-distribution/{name}/{budget.seed}",
    }  # fmt: skip
    return Task(GROUPS_OF, parameters, budget.device, cost=2.0 if budget.profile == "quick" else 600.0)


ErrorOf = Callable[[Mapping[str, FloatArray]], FloatArray]  # distances (groups,) by "a b" -> errors (groups,)


def nearer(distances: Mapping[str, FloatArray]) -> FloatArray:
    """D(decoder, own) over D(decoder, right)."""
    return distances["decoder own"] / distances["decoder right"]


def excess_beside_own(distances: Mapping[str, FloatArray]) -> FloatArray:
    """By which factor the decoder's excess over the right Bayes predictor differs from that of its own one."""
    ratio = distances["decoder right"] / distances["own right"]
    return np.maximum(ratio, 1 / ratio)


def own_over_decoder(distances: Mapping[str, FloatArray]) -> FloatArray:
    """The risk of the decoder's own Bayes predictor over that of the decoder."""
    return distances["own target"] / distances["decoder target"]


def decoder_over_own(distances: Mapping[str, FloatArray]) -> FloatArray:
    """The risk of the decoder over that of its own Bayes predictor."""
    return distances["decoder target"] / distances["own target"]


def right_over_decoder(distances: Mapping[str, FloatArray]) -> FloatArray:
    """The risk of the Bayes predictor that expects these prompts over that of the decoder."""
    return distances["right target"] / distances["decoder target"]


@dataclass(frozen=True)
class CountedGroups:
    """Groups of prompts that hit: error(distances) <= margin."""

    name: str
    model: str
    setting: str
    error: ErrorOf
    margin: float
    unit: str
    cost_of_alteration: AlterationCost = "judged again"

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [task_of(self.model, budget)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (found,) = run(self.tasks(budget))
        settings = settings_of(self.model)
        distances = named_distances(found["settings"][list(settings).index(self.setting)])
        ran = f"groups of {settings[self.setting]['size']} prompts"
        verdict = replica_verdict(self.name, self.error(distances), self.margin, REQUIRED, FALSE_ALARM, self.unit, ran)
        verdict.details["distances"] = {name: float(one.mean()) for name, one in distances.items()}
        return verdict


def named_distances(setting: Mapping[str, Any]) -> dict[str, FloatArray]:
    """The distances of groups by pairs of names."""
    names, groups = setting["names"], np.asarray(setting["groups"], dtype=np.float64)
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    return {f"{names[i]} {names[j]}": groups[:, i, j] for i, j in pairs}


def trained_checks() -> tuple[CountedGroups, ...]:
    """What is counted, with its margins."""
    distance = "as D(decoder, its own Bayes predictor)/D(decoder, that of the other class)"
    right = "as the right Bayes predictor's risk over the decoder's"
    own = "as its own Bayes predictor's risk over the decoder's"
    return (
        CountedGroups("dense decoder, sparse prompts: own oracle", "dense", "cross", nearer, 0.5, distance),
        CountedGroups("sparse decoder, dense prompts: above right oracle", "sparse", "cross", right_over_decoder,
                      0.7, right),
        CountedGroups("sparse decoder, dense prompts: below its own oracle", "sparse", "cross", decoder_over_own, 1.0,
                      "as the decoder's risk over that of its own Bayes predictor"),
        CountedGroups("dense decoder, inputs three times as large", "dense", "scale", own_over_decoder, 0.5,
                      own),
        CountedGroups("sparse decoder, inputs three times as large", "sparse", "scale", own_over_decoder, 0.5,
                      own),
        CountedGroups("half line, half sinusoid: above the right oracle", "linear-sinusoid", "combination",
                      right_over_decoder, 1.0, right),
        CountedGroups("half line, half sinusoid: as its own oracle", "linear-sinusoid", "combination",
                      excess_beside_own, 3.0, "as a factor between the excesses of the decoder and of its own oracle"),
        CountedGroups("frequencies beyond the range: above the right oracle", "linear-sinusoid", "frequency",
                      right_over_decoder, 0.5, right),
    )  # fmt: skip


def cross_class_claim(formula: Made = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "out-of-distribution",
        theory.derivation,
        SETTING,
        lambda parameters: theory.for_user(**parameters),
        (
            ExactCheck("dense oracle on turned copies of prompts", copies_task, rows_by(formula), in_words,
                       "as a relative difference"),
            *trained_checks(),
        ),
        "the derived risk at six random settings with d <= 4, N <= 4, one coefficient being 0 from d = 2 on. Quick: "
        "the shipped decoders dense, sparse and linear-sinusoid (d = 5, 11 points; d = 1, 16 points; noise variance "
        "0.1), a statement about those files; full: one training of each kind with other random numbers. Positions "
        "after at least 1 example (other class), 5 (inputs three times as large), 4 (combinations, frequencies 5 to 8 "
        "after a training on 1 to 4); at least three quarters of groups of 256, 24, 16 and 6 prompts in that "
        "order. The margins were set after a first look at the shipped files",
        (
            Alterable(
                theory.formula,
                theory.points,
                lambda seed: [letters_of(case) for case in cases(seed)],
                lambda altered: cross_class_claim(lambda: altered),
            ),
        ),
        quantities=QUANTITIES,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claim."""
    return (cross_class_claim(),)
