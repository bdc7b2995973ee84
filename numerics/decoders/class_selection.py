r"""Which class a predictor follows on prompts of a mixture of two classes: its predictions on the line between oracles.

With f_1, f_2 the posterior means given either class of the law, D = f_1 - f_2 and p = P(first class | examples), every
prediction f has a reading q = (f - f_2)/D: 1 where it follows the first class, 0 where it follows the second. Readings
are cut to `limits` and averaged with the weight v = min(D^2, reach^2)/reach^2; both leave the mixture's Bayes predictor
as it is, whose readings are p. Prompts are those whose B, the log density of the labels seen under the first class less
that under the second, lies in an interval after a number of examples. Each gives the draws
    v,    v p,    v (1(the function is of the first class) - p),    v (q - p) of each predictor
of which the third has the mean 0, whatever the law. With the limits l <= 0 and h >= 1 all lie in [l - 1, h].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..mixtures.posterior import Posterior, posterior
from ..mixtures.prompt_laws import PromptLaw, Prompts
from ..training.random_streams import stream
from ..training.threads import one_thread
from .decoder import Decoder
from .shipped import shipped_digest, shipped_model

Plain = Mapping[str, Any]
CHUNK = 512  # prompts at once: what a small decoder holds of them stays in the cache of a core
DRAWN = 4096  # prompts drawn at once, of which some are kept
Interval = Sequence[float | None]


class Line(NamedTuple):
    """At each prefix of each prompt (B, N): the predictions given either class and of the mixture, p, and B."""

    first: Tensor
    second: Tensor
    mixture: Tensor
    probability: Tensor
    log_bayes_factor: Tensor

    @property
    def gap(self) -> Tensor:
        """D, (B, N)."""
        return self.first - self.second

    def weights(self, reach: float) -> Tensor:
        """v, (B, N), from 0 to 1."""
        return (self.gap / reach).square().clamp(max=1.0)

    def readings(self, predictions: Tensor, limits: Sequence[float]) -> Tensor:
        """q, (B, N); 0 where both oracles agree."""
        apart = self.gap != 0
        ratio = (predictions - self.second) / torch.where(apart, self.gap, 1.0)
        return torch.where(apart, ratio, 0.0).clamp(limits[0], limits[1])


def line_between(found: Posterior) -> Line:
    """The line of a mixture of two classes. Raises ValueError for another number of classes."""
    if found.classes.shape[-1] != 2:
        raise ValueError(f"need a mixture of two classes, got {found.classes.shape[-1]}")
    first, second = found.by_class.unbind(-1)
    log_bayes_factor = found.log_evidence[..., 0] - found.log_evidence[..., 1]
    return Line(first, second, found.prediction, found.classes[..., 0], log_bayes_factor)


def prompts_in(
    law: PromptLaw, examples: int, interval: Interval, count: int, key: str, device: str
) -> Iterator[tuple[Prompts, Line]]:
    """`count` prompts of `examples` examples and a query, B in the interval; and their lines at the query.

    Only what stands before the query decides which prompts are kept, so that the first class is still of probability p
    given the prompt. Raises ValueError where not one in ten thousand lies in the interval.
    """
    short = replace(law, length=examples + 1)
    generator, kept, drawn = stream(key, device), 0, 0
    while kept < count:
        prompts = short.sample(DRAWN, generator)
        line = line_between(posterior(short, prompts.xs, prompts.ys))
        places = within(line.log_bayes_factor[:, -1], interval).nonzero()[: count - kept, 0]
        kept, drawn = kept + len(places), drawn + DRAWN
        if kept < drawn / 10_000:
            raise ValueError(f"need prompts with a log Bayes factor in {list(interval)}, got {kept} of {drawn}")
        yield Prompts(*(part[places] for part in prompts)), Line(*(part[places, -1] for part in line))


def last_answers(model: Decoder, prompts: Prompts) -> Tensor:
    """The model's predictions at the queries (B,), in float64."""
    found = [
        model(prompts.xs[start : start + CHUNK].float(), prompts.ys[start : start + CHUNK].float())[:, -1]
        for start in range(0, len(prompts.ys), CHUNK)
    ]
    return torch.cat(found).double() if found else prompts.ys[:, -1].double()


def within(values: Tensor, interval: Interval) -> Tensor:
    """low <= value < high; None for no end."""
    low, high = interval
    return (values >= (-torch.inf if low is None else low)) & (values < (torch.inf if high is None else high))


@one_thread()
@torch.no_grad()
def readings_of(
    law: PromptLaw,
    model: Decoder | None,
    examples: int,
    interval: Interval,
    prompts: int,
    key: str,
    reach: float,
    limits: Sequence[float],
    device: str,
) -> dict[str, Any]:
    """Sums and sums of squares of the draws of `prompts` prompts, plain data.

    -> {"count", "sums", "squares"}, both by the names weight, posterior, class, mixture (the Bayes predictor) and,
    with a model, model.
    """
    totals: dict[str, Tensor] = {}
    for batch, line in prompts_in(law, examples, interval, prompts, key, device):
        p, weight = line.probability, line.weights(reach)
        readings = {"class": (batch.classes == 0).double(), "mixture": line.readings(line.mixture, limits)}
        if model:
            readings["model"] = line.readings(last_answers(model, batch), limits)
        draws = {"weight": weight, "posterior": weight * p}
        draws |= {name: weight * (reading - p) for name, reading in readings.items()}
        for name, values in draws.items():
            totals[name] = totals.get(name, 0.0) + torch.stack([values.sum(), values.square().sum()])
    sums, squares = ({name: float(pair[place]) for name, pair in totals.items()} for place in (0, 1))
    return {"count": prompts, "sums": sums, "squares": squares}


def read_model(
    law: Plain,
    model: str | None,
    sha256: str | None,
    examples: int,
    interval: Interval,
    prompts: int,
    stream_key: str,
    reach: float,
    limits: Sequence[float],
    device: str,
) -> dict[str, Any]:
    """`readings_of` as a unit of work, for a shipped model, or without one.

    Raises ValueError where the shipped model is not the file with that SHA-256.
    """
    loaded = None
    if model is not None:
        if (found := shipped_digest(model)) != sha256:
            raise ValueError(f"need the shipped model {model} with SHA-256 {sha256}, got a file with {found}")
        loaded = shipped_model(model).model.to(device)
    return readings_of(
        PromptLaw.from_plain(law), loaded, examples, interval, prompts, stream_key, reach, limits, device
    )


@one_thread()
@torch.no_grad()
def oracle_slopes(
    laws: Sequence[Plain], prompts: int, stream_key: str, intervals: Sequence[Interval], device: str
) -> dict[str, Any]:
    """Least squares of the mixture's Bayes predictor less f_2 on D, inside intervals of B, over given prompts.

    -> for each law and interval {"slope", "log_bayes_factors", "squares" (D^2 of each prompt and prefix, over their
    sum), "rounding" (what rounding may move the slope)}; prefixes without examples are left out.
    """
    found = []
    for law in map(PromptLaw.from_plain, laws):
        drawn = law.sample(prompts, stream(f"{stream_key}/{law.key}", device))
        result = posterior(law, drawn.xs, drawn.ys)
        line = line_between(result)
        pulled, size = line.mixture - line.second, line.first.abs() + line.second.abs()
        logs = result.log_evidence.abs().sum(-1)
        parts = [x[:, 1:].reshape(-1) for x in (line.log_bayes_factor, line.gap, pulled, size, logs)]
        found.append([slope_in(parts, interval) for interval in intervals])
    return {"laws": found}


def slope_in(parts: Sequence[Tensor], interval: Interval) -> dict[str, Any]:
    """One interval. Raises ValueError where no prompt lies in it.

    With sizes s = |f_1| + |f_2| and l = |log evidences|, an evidence's logarithm is rounded by eps l in the sum with
    the prior, which moves p by at most a quarter of it; f*, f* - f_2 and D are each rounded by at most 4 eps s; and
    sums of n numbers by n eps of their sizes.
    """
    inside = within(parts[0], interval)
    B, D, pulled, size, logs = (x[inside] for x in parts)
    if not len(B):
        raise ValueError(f"need prompts with {interval[0]} <= B < {interval[1]}, got none; draw more")
    squares = D.square().sum()
    eps = torch.finfo(torch.float64).eps
    rounding = eps * ((8 * D.abs() * size).sum() / squares + logs.max() / 2 + 4 * len(B))
    return {
        "slope": float((D * pulled).sum() / squares), "log_bayes_factors": B.tolist(),
        "squares": (D.square() / squares).tolist(), "rounding": float(rounding),
    }  # fmt: skip
