"""What is reported on a model that was only asked: verdict, weights that were read, distances and metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..verdicts.verdict import Outcome

if TYPE_CHECKING:
    from ...numerics.black_box.effective_weights import EffectiveWeights
    from ..claims.users_weights import WeightsReport

METRICS = {
    "prediction_difference": "prediction difference",
    "cosine": "cosine of sensitivities",
    "model_difference": "model difference",
}
DIVIDES = {
    "1/N": "it divides by its own N",
    "1/(N+1)": "it divides by N + 1",
    "none": "it does not divide by N",
    "another": "what it divides by is neither N nor N + 1 nor nothing",
}


@dataclass(frozen=True)
class Sampled:
    """E (f - g)^2 / E g^2: measured without caps, the interval with caps; beyond: what the caps cut, over `allowed`."""

    mean: float
    lowest: float
    highest: float
    beyond: float
    allowed: float
    most_beyond: float

    @property
    def outcome(self) -> Outcome:
        if self.lowest > self.allowed:
            return "contradicts"
        inside = self.highest <= self.allowed and self.mean <= self.allowed and self.beyond <= self.most_beyond
        return "agrees" if inside else "inconclusive"


@dataclass(frozen=True)
class LayerDistances:
    """Of the answers after one layer: E (f - g)^2 with standard error by name of g, and the metrics."""

    layer: str
    squares: Mapping[str, tuple[float, float]]
    alignment: Mapping[str, float | None]


@dataclass(frozen=True)
class ModelReport:
    """The verdict on a model and what was measured of it.

    form      the weights that probing reads, and whether the model is the layer that they make
    lengths   what it divides by, from prompts of another length; None where it cannot be asked or has no form
    read      the verdict on those weights, where the model is linear attention; it decides where the model is
              one step exactly
    sampled   the statement on fresh prompts, which decides where it is not
    exact_risks  E (g - t)^2 of known predictors g by theory, where there is a formula; it may be infinite
    errors    the same E (g - t)^2 on the prompts drawn, with standard error
    target    root mean square of w.x_q, the unit of the table
    """

    claim: str
    model: str
    outcome: Outcome
    within: float
    parameters: Mapping[str, Any]
    prompts: int
    form: EffectiveWeights
    lengths: str | None
    read: WeightsReport | None
    sampled: Sampled
    layers: tuple[LayerDistances, ...]
    exact_risks: Mapping[str, float]
    errors: Mapping[str, tuple[float, float]]
    wrong: Mapping[str, Mapping[str, float | None]]
    target: float

    @property
    def exact(self) -> WeightsReport | None:
        """The verdict on the weights of a model that is one step up to rounding."""
        return self.read if self.form.odd_only else None

    @property
    def exit_status(self) -> int:
        return {"agrees": 0, "contradicts": 1, "inconclusive": 3}[self.outcome]

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        form = {name: value for name, value in vars(self.form).items() if name not in ("preconditioner", "tensor")}
        finite = {name: finite_or_none(value) for name, value in form.items()}
        return {
            "claim": self.claim,
            "model": self.model,
            "outcome": self.outcome,
            "within": self.within,
            "parameters": dict(self.parameters),
            "prompts": self.prompts,
            "false_alarm": 1e-6,
            "form": {**finite, "is_linear_attention": self.form.is_linear_attention},
            "preconditioner": self.form.preconditioner.tolist() if self.form.is_linear_attention else None,
            "divides": self.lengths,
            "weights": None if self.read is None else self.read.as_plain(),
            "sampled": {**vars(self.sampled), "outcome": self.sampled.outcome},
            "layers": [
                {
                    "layer": one.layer,
                    "squares": {name: {"mean": mean, "error": error} for name, (mean, error) in one.squares.items()},
                    "alignment": dict(one.alignment),
                }
                for one in self.layers
            ],
            "risks_of_known": {name: {"mean": mean, "error": error} for name, (mean, error) in self.errors.items()},
            "exact_risks": {name: finite_or_none(risk) for name, risk in self.exact_risks.items()},
            "wrong_on_purpose": {name: dict(metrics) for name, metrics in self.wrong.items()},
            "exit_status": self.exit_status,
        }

    def __str__(self) -> str:
        lines = [f"{self.claim}: {self.outcome}: {self.reason()}", self.form_in_words()]
        if self.exact is not None and self.claim == "fixed-point":
            lines += [*self.exact.verdict_lines(), *self.mismatch_lines(self.exact)]
        elif self.read is not None:
            lines += self.preconditioner_lines(self.read)
        return "\n".join([*lines, "", *self.distance_table(), "", *self.metric_table()])

    def reason(self) -> str:
        """Why, in one sentence."""
        if self.exact is not None:
            step = f"{self.model} is one step of preconditioned gradient descent up to rounding"
            return step + (", with the preconditioner below" if self.claim != "fixed-point" else "")
        which = "the predicted step" if self.claim == "fixed-point" else "the step that its single tokens give"
        one = self.sampled
        bounds = f"between {one.lowest**0.5:.3g} and {one.highest**0.5:.3g}"
        bounds = f"at least {one.lowest**0.5:.3g}" if one.outcome == "contradicts" else bounds
        text = (
            f"on {self.prompts} fresh prompts {self.model} is {one.mean**0.5:.3g} of its size away from {which} (root "
            f"mean square), {bounds} with caps; allowed {self.within:g}"
        )
        return text + ("; give more with --prompts" if self.outcome == "inconclusive" else "")

    def form_in_words(self) -> str:
        """What probing says of the model."""
        form = self.form
        if not form.decides:
            return (
                f"form: its arithmetic is too coarse to tell (rounding allows {form.tolerance:.2g} of the answers); "
                "ask it in float32 or float64 for its weights"
            )
        if not form.is_linear_attention:
            return (
                f"form: no layer of linear attention ({form.relative:.3g} of its answers away from the layer that its "
                f"answers to single tokens make, {form.used:.3g} times what rounding allows): no effective weights"
            )
        divides = f"; {DIVIDES[self.lengths]}" if self.lengths else ""
        even = (
            "" if form.odd_only else f"; a part of {form.even:.3g} of its answers is even in the labels: no step has it"
        )
        return (
            f"form: a layer of linear attention, read from {form.probes} prompts of single tokens (at most "
            f"{form.used:.2g} of what rounding allows on {form.prompts} others){divides}; "
            f"query {in_words(form.query)}{even}"
        )

    def preconditioner_lines(self, read: WeightsReport) -> list[str]:
        """A, where it is small, and how far it is from A*."""
        A = read.preconditioner
        rows = ["  ".join(f"{entry:.6g}" for entry in row) for row in A] if len(A) <= 8 else ["(--json has it)"]
        far = f"it is {read.distance:.3g} |A*|_F away from the fixed point's"
        what = "preconditioner A, for yhat = s^T A x_q" + (":" if self.form.odd_only else ", and the even part:")
        return [what, *("  " + row for row in rows), far, *self.mismatch_lines(read)]

    def mismatch_lines(self, read: WeightsReport) -> list[str]:
        """Conventions that would explain weights that contradict, and a wrong factor."""
        lines = [line for line in read.convention_lines() if line.startswith(("your weights", "a wrong overall"))]
        N, factor = float(self.form.context_length), read.wrong_factor
        if factor is not None and abs(factor - N) <= self.within * N:
            lines.append(f"that is N = {N:g}: the sum over tokens is not divided by N")
        return lines

    def distance_table(self) -> list[str]:
        """Root mean square distances by layer."""
        header = [
            f"distance (rms / {self.target:.4g}, the target's) to",
            *self.columns(),
            "whose own error is",
            "exactly",
        ]
        rows = [
            [
                name,
                *(self.shown(one.squares[name][0]) for one in self.layers),
                self.shown(self.errors[name][0]) if name in self.errors else "",
                self.shown(self.exact_risks[name]) if name in self.exact_risks else "",
            ]
            for name in self.layers[0].squares
        ]
        return [line.rstrip() for line in table([header, *rows])]

    def shown(self, square: float) -> str:
        """A root mean square in units of the target's."""
        return "infinite" if square == math.inf else f"{square**0.5 / self.target:.3g}"

    def metric_table(self) -> list[str]:
        """The three metrics of the model, by layer, and of predictors that are wrong on purpose."""
        models = zip(self.columns(), self.layers, strict=True)
        rows = [[name, *metric_cells(one.alignment)] for name, one in models]
        rows += [[f"wrong on purpose: {name}", *metric_cells(metrics)] for name, metrics in self.wrong.items()]
        return table([["against the predicted step", *METRICS.values()], *rows])

    def columns(self) -> list[str]:
        return ["the model"] if len(self.layers) == 1 else [one.layer for one in self.layers]

    def _repr_html_(self) -> str:
        from ..notebooks import verdict_html

        return verdict_html(f"{self.claim}: {self.model}", self.outcome, str(self))

    def _repr_markdown_(self) -> str:
        from ..notebooks import verdict_markdown

        return verdict_markdown(f"{self.claim}: {self.model}", self.outcome, str(self))


def finite_or_none(value: Any) -> Any:
    """The value; None for an infinite number, which strict JSON has no word for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def in_words(query: str) -> str:
    """What probing says of the query's own column."""
    return {"inside": "among keys and values", "masked": "masked"}.get(query, "masked or not: not identifiable")


def metric_cells(metrics: Mapping[str, float | None]) -> list[str]:
    return ["none" if metrics[name] is None else f"{metrics[name]:.4g}" for name in METRICS]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells in columns, names to the left and numbers to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
