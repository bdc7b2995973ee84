r"""The verdict on a decoder, or any other predictor, of a user: its risk at every prefix beside Bayes predictors.

Prompts x_1, y_1, ..., x_N, y_N are drawn fresh from a mixture of a dense and a sparse linear class, and from each class
alone. The predictor answers f for t = w . x_i from the i - 1 examples before. On a law let o and V be mean and variance
of t given what f sees (the law's own oracle), and m the mean under the mixture (what the best predictor answers that
does not know the class). Then, whatever f is,
    E (f - t)^2 = E V + E (f - o)^2,    E (f - o)(t - o) = 0.
Main statements (rates: 1e-6 for each line of the report, for any f)
    not beaten   the mean of Z = (f - o)(t - o) is 0 at each prefix. Given the prompts before the answers, the Z are
                 independent with mean 0 and the variances (f - o)^2 V, which are known: `conditional_means`.
                 A predictor that sees the answer, or later examples, makes it positive.
    within F     the risk, averaged over the prefixes, is at most F times that of m on the same law. A prompt's mean
                 of (f - o)^2, (m - o)^2 or V counts up to CAP E t^2, so that `empirical_bernstein` applies to each. No
                 finite sample bounds a risk without such a cap: a rare prompt may carry it all. So agreement also needs
                 that the measured ratio, without caps, is at most F, and that what was measured beyond the cap is
                 at most MOST_BEYOND of the risk that F allows. That is a fact about the prompts drawn, no bound.
Noiseless laws
    have no evidence that is a density. They are evaluated with noise of variance NOISELESS times the smaller E t^2 in
    the prompts and in the oracle alike, so that the two statements hold exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...theory.one_layer.assumptions import check_context_length, check_non_negative, check_positive
from ..claims.claim import Parameter
from ..claims.parameters import UsageError, complete
from ..verdicts.conditional_means import compare_with_zero
from ..verdicts.empirical_bernstein import deviation
from ..verdicts.heavy_tails import MeanComparison
from ..verdicts.verdict import Outcome, combine, decide

if TYPE_CHECKING:
    from torch import Tensor

    from ...numerics.mixtures.prompt_laws import PromptLaw

    Predict = Callable[[Tensor, Tensor], Tensor]

CLAIM = "model-selection"
PROMPTS = 2000  # of each law
WITHIN = 0.5
CAP = 2.0
MOST_BEYOND = 0.05  # of the risk that is allowed may lie beyond the cap, where the interval sees nothing
NOISELESS = 1e-8
MOST_SUPPORTS = 5000
RATE, MISS = 1e-6, 1e-3
SMALLEST, LARGEST = 1e-60, 1e60  # of a variance: fourth powers of errors are added up, and have to be numbers
RESOLUTION = 0.5  # an advantage over the oracle of this share of its risk has to be excluded
LAW = (
    Parameter("dimension", "d, the number of covariates; of a checkpoint, its own", False, None),
    Parameter("length", "N, the number of points of a prompt: 2 d + 1, or what a checkpoint has room for", False, None),
    Parameter("sparsity", "k, nonzero coefficients of the sparse class", False, 2),
    Parameter("dense_variance", "v_d, of each coefficient in the dense class", False, 1.0),
    Parameter("sparse_variance", "v_s, of each nonzero coefficient in the sparse class", False, 1.0),
    Parameter("dense_probability", "of the dense class in the mixture", False, 0.5),
    Parameter("noise_variance", "of the labels", False, 0.0),
)


@dataclass(frozen=True)
class Curve:
    """Risks at the prefixes 0 .. N - 1 on one law: of the predictor, the mixture's oracle and the law's own."""

    law: str
    model: tuple[float, ...]
    mixture_oracle: tuple[float, ...]
    oracle: tuple[float, ...]


@dataclass(frozen=True)
class LawVerdict:
    """The two statements on one law.

    ratio, lowest, highest    measured risk over that of the mixture's oracle, and the interval that holds the
                              ratio with capped squares at the stated rate
    correlation               the largest |mean Z| at any prefix, in units of what is allowed there
    worst                     that prefix
    missed                    an advantage over the oracle that would have passed, as a share of its risk, where Z
                              keeps the variance (f - o)^2 V: of a model that sees the answer on all prompts alike
    cut                       the share of E (f - o)^2 that lies beyond the cap, and is in the ratio only
    beyond                    what lies there, as a share of the risk that the factor allows
    """

    curve: Curve
    factor: float
    ratio: float
    lowest: float
    highest: float
    correlation: float
    worst: int
    missed: float
    cut: float
    beyond: float

    @property
    def beaten(self) -> Outcome:
        return decide(self.correlation <= 1, self.missed, RESOLUTION)

    @property
    def within(self) -> Outcome:
        if self.lowest > self.factor:
            return "contradicts"
        return "agrees" if self.bounded and self.uncapped else "inconclusive"

    @property
    def bounded(self) -> bool:
        """The interval of the capped ratio lies below the factor."""
        return self.highest <= self.factor

    @property
    def uncapped(self) -> bool:
        """What was measured without the caps does not belie that."""
        return self.ratio <= self.factor and self.beyond <= MOST_BEYOND

    @property
    def farthest(self) -> tuple[int, float]:
        """The prefix at which the measured risk is the largest multiple of the mixture oracle's, and that multiple."""
        quotients = [f / m for f, m in zip(self.curve.model, self.curve.mixture_oracle, strict=True)]
        worst = max(range(len(quotients)), key=quotients.__getitem__)
        return worst, quotients[worst]

    @property
    def interval(self) -> str:
        """Of the ratio, in words; few prompts leave no upper end."""
        if math.isinf(self.highest):
            return f"at least {self.lowest:.3g}"
        return f"between {self.lowest:.3g} and {self.highest:.3g}"

    @property
    def advice(self) -> str:
        """What an inconclusive second line asks for: where the interval is narrow enough, more prompts do not help."""
        if self.bounded:
            return "; no interval holds there: look at the prompts with the largest errors"
        return "; give more with --prompts"

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        numbers = {
            name: getattr(self, name)
            for name in ("ratio", "lowest", "highest", "correlation", "missed", "cut", "beyond")
        }
        return {
            "law": self.curve.law,
            "oracle_not_beaten": self.beaten,
            "within_factor": self.within,
            "factor": self.factor,
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
            "worst_prefix": self.worst,
            "largest_ratio": self.farthest[1],
            "largest_ratio_prefix": self.farthest[0],
            "risks": {
                "model": list(self.curve.model),
                "mixture_oracle": list(self.curve.mixture_oracle),
                "oracle": list(self.curve.oracle),
            },
        }

    def sentences(self) -> list[str]:
        """Both verdicts in words."""
        name, prefixes, (farthest, times) = self.curve.law, len(self.curve.model), self.farthest
        if self.beaten == "contradicts":
            first = (
                f"contradicts: at prefix {self.worst} the errors go with the answer, {self.correlation:.3g} times what "
                "chance allows; the model sees the answer or what comes after it"
            )
        elif self.beaten == "inconclusive":
            first = "inconclusive: too few prompts to notice; give more with --prompts"
        else:
            unseen = percent(self.missed)
            where = f"all {prefixes} prefixes" if prefixes > 1 else "the only prefix"
            first = f"agrees at {where}; an advantage of {unseen} of its risk would have shown"
        second = (
            f"{self.within}: {self.ratio:.4g} times the risk of the mixture's oracle on average, {self.interval} "
            "with caps"
            + (f"; at prefix {farthest} {times:.3g} times" if times > self.factor else "")
            + (f"; {percent(self.cut)} of the squared distance lies beyond the cap" if self.cut > 0.01 else "")
            + (self.advice if self.within == "inconclusive" else "")
        )
        return [f"{name}, oracle not beaten: {first}", f"{name}, within {self.factor:g}: {second}"]


@dataclass(frozen=True)
class DecoderReport:
    """Verdicts on every law, and what was evaluated."""

    parameters: Mapping[str, Any]
    prompts: int
    verdicts: tuple[LawVerdict, ...]

    @property
    def outcome(self) -> Outcome:
        return combine(outcome for one in self.verdicts for outcome in (one.beaten, one.within))

    @property
    def exit_status(self) -> int:
        return {"agrees": 0, "contradicts": 1, "inconclusive": 3}[self.outcome]

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        return {
            "claim": CLAIM,
            "outcome": self.outcome,
            "parameters": dict(self.parameters),
            "prompts": self.prompts,
            "false_alarm": RATE,
            "laws": [one.as_plain() for one in self.verdicts],
            "exit_status": self.exit_status,
        }

    def __str__(self) -> str:
        lines = [in_words(self.parameters)]
        lines += [
            f"{CLAIM}: {self.outcome} ({counted(self.prompts, 'fresh prompt')} of each law, rate {RATE:.0e} a line)"
        ]
        for one in self.verdicts:
            lines += ["  " + sentence for sentence in one.sentences()]
        return "\n".join([*lines, "", *self.table()])

    def _repr_html_(self) -> str:
        from ..notebooks import verdict_html

        return verdict_html(f"{CLAIM}: your model", self.outcome, str(self))

    def _repr_markdown_(self) -> str:
        from ..notebooks import verdict_markdown

        return verdict_markdown(f"{CLAIM}: your model", self.outcome, str(self))

    def table(self) -> list[str]:
        """Risks by prefix, as text: columns of the model, the mixture's oracle and the class's own, for each law."""
        rows = [["prefix"], [""]]
        for one in self.verdicts:
            own = [] if one.curve.law == "mixture" else ["oracle"]
            rows[0] += [one.curve.law] + [""] * (1 + len(own))
            rows[1] += ["model", "mix oracle", *own]
        for n in shown_prefixes(len(self.verdicts[0].curve.model)):
            rows.append([str(n), *(f"{risk:.3g}" for one in self.verdicts for risk in columns(one.curve, n))])
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return [line.rstrip() for line in lines]


def in_words(law: Mapping[str, Any]) -> str:
    """The law in one line."""
    noise = law["noise_variance"]
    said = (
        f"noise variance {noise:g}"
        if noise
        else f"no noise (evaluated at variance {law['evaluated_noise_variance']:g})"
    )
    return (
        f"law: {counted(law['length'], 'point')} in dimension {law['dimension']}, "
        f"w ~ N(0, {law['dense_variance']:g} I) with probability {law['dense_probability']:g}, else "
        f"{law['sparsity']} nonzero of variance "
        f"{law['sparse_variance']:g}; {said}"
    )


def counted(count: int, what: str) -> str:
    """A number of things."""
    return f"{count} {what}" + ("" if count == 1 else "s")


def percent(part: float) -> str:
    """A share in percent; what is below a tenth of one is not told apart."""
    return f"{100 * part:.{2 if part < 0.995 else 3}g} %" if part >= 1e-3 else "0.1 %"


def columns(curve: Curve, n: int) -> tuple[float, ...]:
    """The risks at prefix n that the table shows."""
    risks = (curve.model[n], curve.mixture_oracle[n], curve.oracle[n])
    return risks[:2] if curve.law == "mixture" else risks


def shown_prefixes(count: int) -> list[int]:
    """All of up to 14 prefixes, else about 14 that are denser where few examples are seen."""
    if count <= 14:
        return list(range(count))
    steps = [round((count - 1) * (j / 13) ** 1.5) for j in range(14)]
    return sorted(set(steps))


def completed_law(given: Mapping[str, Any], dimension: int | None = None, room: int | None = None) -> dict[str, Any]:
    """The parameters of the law, completed and judged; dimension and room: those of a checkpoint.

    Raises UsageError or AssumptionError, each a sentence.
    """
    found = complete(CLAIM, LAW, given)
    if dimension is not None and found["dimension"] not in (None, dimension):
        raise UsageError(f"the checkpoint has dimension {dimension}, got --set dimension={found['dimension']}")
    d = check_context_length(first_given(found["dimension"], dimension, 20), "dimension")
    length = check_context_length(first_given(found["length"], min(2 * d + 1, room or 2 * d + 1)), "length")
    if room is not None and length > room:
        raise UsageError(f"the checkpoint has room for {room} points, got length={length}; give length={room} or less")
    k = check_context_length(found["sparsity"], "sparsity")
    if k > d or (supports := math.comb(d, k)) > MOST_SUPPORTS:
        has = f", which has {supports}" if k <= d else ""
        raise UsageError(
            f"sparsity needs 1 to {d} with at most {MOST_SUPPORTS} supports to enumerate, got {k} of {d}{has}"
        )
    share = check_non_negative(found["dense_probability"], "dense_probability")
    if share > 1:
        raise UsageError(f"dense_probability needs a number from 0 to 1, got {share:g}")
    variances = {name: check_positive(found[name], name) for name in ("dense_variance", "sparse_variance")}
    for name, value in variances.items():
        if not SMALLEST <= value <= LARGEST:
            raise UsageError(f"{name} needs a number from {SMALLEST:.0e} to {LARGEST:.0e}, got {value:g}")
    noise = check_non_negative(found["noise_variance"], "noise_variance")
    if noise > LARGEST:
        raise UsageError(f"noise_variance needs a number of at most {LARGEST:.0e}, got {noise:g}")
    sizes = (variances["dense_variance"] * d, variances["sparse_variance"] * k)
    smallest = NOISELESS * min(sizes)
    if 0 < noise < smallest:
        raise UsageError(f"noise_variance needs 0, or at least {smallest:g} at these variances, got {noise:g}")
    return {
        "dimension": d, "length": length, "sparsity": k, **variances, "dense_probability": share,
        "noise_variance": noise, "evaluated_noise_variance": noise or smallest,
    }  # fmt: skip


def first_given(*values: Any) -> Any:
    """The first that is not None."""
    return next(value for value in values if value is not None)


def laws_of(law: Mapping[str, Any]) -> dict[str, PromptLaw]:
    """The mixture and its classes by name; the class alone where the mixture has only one."""
    from ...numerics.mixtures.prompt_laws import PromptLaw

    dense = {"kind": "dense", "variance": law["dense_variance"]}
    sparse = {"kind": "sparse", "nonzeros": law["sparsity"], "variance": law["sparse_variance"]}
    share = law["dense_probability"]
    one = PromptLaw(law["dimension"], law["length"], (dense,), (1.0,), law["evaluated_noise_variance"])
    classes = {"dense": one, "sparse": replace(one, classes=(sparse,))}
    if share in (0.0, 1.0):
        return {"dense": classes["dense"]} if share else {"sparse": classes["sparse"]}
    return {"mixture": replace(one, classes=(dense, sparse), weights=(share, 1 - share)), **classes}


def size_of(law: Mapping[str, Any], name: str) -> float:
    """E t^2 on a law; of the mixture, that of its larger class."""
    dense, sparse = law["dense_variance"] * law["dimension"], law["sparse_variance"] * law["sparsity"]
    return float({"dense": dense, "sparse": sparse}.get(name, max(dense, sparse)))


def check_decoder(
    model: Any,
    *,
    within: float = WITHIN,
    prompts: int = PROMPTS,
    seed: int = 0,
    heads: int | None = None,
    **parameters: Any,
) -> DecoderReport:
    """Judge a checkpoint's file, a function (xs, ys, x_query) -> number, or a torch module (xs, ys) -> (B, N).

    heads: of a checkpoint. `parameters` are those of LAW. Raises ValueErrors of one sentence.
    """
    from ...numerics.users_models.decoder_checkpoints import read_decoder
    from ...numerics.users_models.functions import predictor

    judge_size(within, prompts)
    if isinstance(model, str | Path):
        checkpoint = read_decoder(model, heads)
        law = completed_law(parameters, checkpoint.dimension, checkpoint.positions)
        model = checkpoint.decoder()
    else:
        law = completed_law(parameters)
    name = getattr(model, "__name__", type(model).__name__)
    return judge_predictor(predictor(model, name), law, within=within, prompts=prompts, seed=seed)


def judge_size(within: float, prompts: int) -> None:
    """Refuse a margin or a number of prompts that says nothing. Raises UsageError."""
    if not (math.isfinite(within) and within > 0):
        raise UsageError(f"--within needs a finite number above 0, got {within:g}; 0.5 allows 1.5 times the risk")
    if prompts < 1:
        raise UsageError(f"--prompts needs a whole number of at least 1, got {prompts}; {PROMPTS} if not given")


def judge_predictor(
    predict: Predict,
    law: Mapping[str, Any],
    *,
    within: float = WITHIN,
    prompts: int = PROMPTS,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DecoderReport:
    """Evaluate xs (B, N, d), ys (B, N) -> (B, N) on the laws of `completed_law`, and judge it.

    within      the excess over the risk of the mixture's oracle that is allowed, as a share of it
    progress    is told how many prompts of how many are done
    Raises UsageError, and whatever the predictor raises.
    """
    judge_size(within, prompts)
    laws, verdicts = laws_of(law), []
    for before, name in enumerate(laws):

        def tell(done: int, before: int = before) -> None:
            progress(before * prompts + done, len(laws) * prompts)

        sums = evaluated_on(name, laws, predict, CAP * size_of(law, name), prompts, seed, tell)
        verdicts.append(verdict_of(name, sums, 1 + within))
    return DecoderReport(law, prompts, tuple(verdicts))


def evaluated_on(
    name: str,
    laws: Mapping[str, PromptLaw],
    predict: Predict,
    cap: float,
    prompts: int,
    seed: int,
    progress: Callable[[int], None],
) -> dict[str, Any]:
    """The sums on one of the laws, beside its own oracle and the mixture's."""
    from ...numerics.decoders.prompt_averages import averaged

    key = f"a user's predictor/{laws[name].key}/{seed}"
    return averaged(laws[name], predict, laws.get("mixture", laws[name]), prompts, key, cap, progress)


def verdict_of(name: str, sums: Mapping[str, Any], factor: float) -> LawVerdict:
    """Both statements from the sums of `averaged`."""
    n, cap, names = sums["count"], sums["cap"], ("variance", "distance", "price")
    (V, V_error), (D, D_error), (M, M_error) = (capped_mean(sums[one], n, cap) for one in names)
    own, model, mixture = (means(sums[one], n) for one in names)
    comparisons = compared_with_zero(sums["cross"], sums["cross_variance"], n)
    used = [share(abs(one.measured), one.allowed) for one in comparisons]
    Vs = (max(0.0, V - V_error), V + V_error)
    worst = max(range(len(used)), key=used.__getitem__)
    return LawVerdict(
        curve=Curve(
            name,
            tuple(v + d for v, d in zip(own[:-1], model[:-1], strict=True)),
            tuple(v + m for v, m in zip(own[:-1], mixture[:-1], strict=True)),
            tuple(own[:-1]),
        ),
        factor=factor,
        ratio=ratio(model[-1], own[-1], mixture[-1]),
        # the ends that the intervals of D, V and M leave to F, which falls with V where D > M and grows where D < M
        lowest=min(ratio(max(0.0, D - D_error), v, M + M_error) for v in Vs),
        highest=max(ratio(D + D_error, v, max(0.0, M - M_error)) for v in Vs),
        correlation=used[worst],
        worst=worst,
        missed=unnoticed(comparisons, model[:-1]) / sum(own[:-1]),
        cut=1 - D / model[-1] if model[-1] > 0 else 0.0,
        beyond=(model[-1] - D) / (factor * (own[-1] + mixture[-1])),
    )


def compared_with_zero(
    cross: Mapping[str, list[float]], variances: Mapping[str, list[float]], count: int
) -> list[MeanComparison]:
    """The mean of Z at each prefix beside 0; of a Z that is 0 throughout, an interval of nearly no width."""
    prefixes = range(len(cross["sum"]) - 1)
    rate = RATE / len(prefixes)
    return [
        compare_with_zero(
            count, cross["sum"][j], cross["squares"][j], max(variances["sum"][j], 1e-300), false_alarm=rate, miss=MISS
        )
        for j in prefixes
    ]


def unnoticed(comparisons: Sequence[MeanComparison], distances: Sequence[float]) -> float:
    """What the model may gain on the oracle and pass, over all prefixes: E (o - t)^2 - E (f - t)^2 = 2 E Z - E D."""
    return sum(max(0.0, 2 * one.detectable - D) for one, D in zip(comparisons, distances, strict=True))


def ratio(distance: float, variance: float, price: float) -> float:
    """The F with distance = (F - 1) variance + F price; infinite where nothing is left below, or above."""
    if not math.isfinite(distance) or variance + price <= 0:
        return math.inf
    return (distance + variance) / (variance + price) if math.isfinite(variance + price) else 0.0


def share(part: float, whole: float) -> float:
    """part/whole; 0 where both are 0, or where nothing is excluded."""
    return part / whole if 0 < whole < math.inf else 0.0


def capped_mean(sums: Mapping[str, list[float]], count: int, cap: float) -> tuple[float, float]:
    """The mean over prompts of their means over prefixes, cut at cap, and its error; a third of the rate each."""
    mean = sums["capped"][-1] / count
    spread = max(0.0, sums["capped_squares"][-1] / count - mean**2)
    return mean, deviation(count, spread, cap, RATE / 3)


def means(sums: Mapping[str, list[float]], count: int) -> list[float]:
    """The mean at each prefix, and over all of them."""
    return [value / count for value in sums["sum"]]
