r"""Predictors on fresh prompts beside Bayes predictors, at every prefix.

A predictor gives its answers at all N prefixes at once: predict(xs (B, N, d), ys (B, N)) -> (B, N), the i-th from the
examples before i and x_i. Let t = f(x_i) be the value without noise, and o and V an oracle's mean and variance of t
given what the predictor sees too. Added up at every prefix, for a predictor or an oracle with the answer a, are
    loss            (a - t)^2; the risk on y is its mean plus the noise variance
    distance        (a - o)^2
    cross           (a - o)(t - o), whose mean is 0 if o is the Bayes predictor of the law
    cross_variance  (a - o)^2 V, which is then the variance of the cross term given the examples
    variance        V, whose mean is then the risk of o
Sums come with those of squares, and with both for values cut at `cap`, which are bounded: nothing else is known about
the tails of a trained model's errors. The prompts do not depend on what is evaluated on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..mixtures.posterior import posterior
from ..mixtures.predictive_variances import predictive_law
from ..mixtures.prompt_laws import PromptLaw, Prompts
from ..training.random_streams import stream
from ..training.threads import one_thread
from .shipped import shipped_digest, shipped_model

Plain = Mapping[str, Any]
Predict = Callable[[Tensor, Tensor], Tensor]
CHUNK = 512  # prompts at once: what a small decoder holds of them stays in the cache of a core


def zero(xs: Tensor, ys: Tensor) -> Tensor:
    """The answer 0."""
    return torch.zeros_like(ys)


def averaging(xs: Tensor, ys: Tensor) -> Tensor:
    """x_i . (1/n) sum of y x over the n examples before, 0 without one [garg2022can]."""
    moments = (ys[..., None] * xs).cumsum(1) - ys[..., None] * xs
    seen = torch.arange(ys.shape[1], dtype=xs.dtype, device=xs.device).clamp(min=1)
    return (moments * xs).sum(-1) / seen


UNTRAINED: dict[str, Predict] = {"zero": zero, "averaging": averaging}


@one_thread()
@torch.no_grad()
def evaluated(
    law: PromptLaw,
    predictors: Mapping[str, Predict],
    oracles: Mapping[str, PromptLaw],
    prompts: int,
    stream_key: str,
    cap: float | Sequence[float],
    device: str | torch.device = "cpu",
    *,
    among: bool = True,
) -> dict[str, Any]:
    """Sums over `prompts` fresh prompts of the law, plain data.

    cap      where values are cut, one for all prefixes or one for each
    among    an oracle is a predictor too, by its name; if not among, oracles are not put beside each other
    -> count, cap, and by name `loss` and `variance` (of oracles), by name and name of an oracle `distance`, `cross` and
    `cross_variance`; each is {"sum", "squares", "capped", "capped_squares"} of lists over the prefixes 0 .. N - 1, and
    the same of its mean over the prefixes, {"averaged": {"sum", ..}}.
    """
    caps = torch.tensor([cap] * law.length if isinstance(cap, int | float) else cap, dtype=torch.float64, device=device)
    if prompts < 1 or len(caps) != law.length or not bool((caps > 0).all()):
        raise ValueError(
            f"need at least 1 prompt and a positive cap, or one for each of {law.length} prefixes, got {prompts} and "
            f"{cap}"
        )
    if shared := set(predictors) & set(oracles):
        raise ValueError(f"need names of predictors that no oracle has, got {', '.join(sorted(shared))} twice")
    totals: dict[tuple[str, ...], Tensor] = {}
    for batch in _batches(law, prompts, stream_key, device):
        for key, values in _statistics(batch, predictors, oracles, among):
            sums = _sums(values, caps)
            totals[key] = totals[key] + sums if key in totals else sums
    return {"count": prompts, "cap": cap, **_nested({key: _plain(sums) for key, sums in totals.items()})}


def _batches(law: PromptLaw, prompts: int, stream_key: str, device: str | torch.device) -> Iterator[Prompts]:
    generator = stream(stream_key, device)
    for start in range(0, prompts, CHUNK):
        yield law.sample(min(CHUNK, prompts - start), generator)


def _statistics(
    batch: Prompts, predictors: Mapping[str, Predict], oracles: Mapping[str, PromptLaw], among: bool
) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """Every statistic (B, N) under its name."""
    t = batch.targets.double()
    means = {name: posterior(oracle, batch.xs, batch.ys).prediction for name, oracle in oracles.items()}
    variances = {name: predictive_law(oracle, batch.xs, batch.ys).variance for name, oracle in oracles.items()}
    answers = {name: _answers(name, predict, batch) for name, predict in predictors.items()}
    for name, variance in variances.items():
        yield ("variance", name), variance
    for name, a in {**answers, **means}.items():
        yield ("loss", name), (a - t).square()
        for oracle, o in means.items():
            if name in answers or (among and name != oracle):
                yield ("distance", name, oracle), (a - o).square()
                yield ("cross", name, oracle), (a - o) * (t - o)
                yield ("cross_variance", name, oracle), (a - o).square() * variances[oracle]


def _answers(name: str, predict: Predict, batch: Prompts) -> Tensor:
    """A predictor's answers in float64. Raises ValueError where they are not one number for every prefix."""
    found = predict(batch.xs, batch.ys)
    if found.shape != batch.ys.shape:
        raise ValueError(
            f"need a prediction at each prefix of each prompt from {name}, {tuple(batch.ys.shape)}, got "
            f"{tuple(found.shape)}"
        )
    if not bool(found.isfinite().all()):
        raise ValueError(f"need finite predictions from {name}, got {float(found[~found.isfinite()][0])}")
    return found.double()


def _sums(values: Tensor, caps: Tensor) -> Tensor:
    """Sums over prompts of the values, their squares, and of both after the cut at +- caps (N,): (4, N + 1).

    The last column is that of the mean over the prefixes, of cut values in the last two rows.
    """
    cut = values.clamp(-caps, caps)
    both = [torch.cat([some, some.mean(1, keepdim=True)], 1) for some in (values, cut)]
    return torch.stack([part for some in both for part in (some.sum(0), some.square().sum(0))])


KINDS = ("sum", "squares", "capped", "capped_squares")


def _plain(sums: Tensor) -> dict[str, Any]:
    rows = dict(zip(KINDS, sums.tolist(), strict=True))
    return {**{kind: row[:-1] for kind, row in rows.items()}, "averaged": {kind: row[-1] for kind, row in rows.items()}}


def _nested(totals: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """{("loss", "zero"): x} -> {"loss": {"zero": x}}."""
    found: dict[str, Any] = {}
    for (*path, last), value in totals.items():
        place = found
        for name in path:
            place = place.setdefault(name, {})
        place[last] = value
    return found


def shipped_predictor(name: str, sha256: str, device: str | torch.device = "cpu") -> Predict:
    """The shipped model of that name, if it is the file with that SHA-256; ValueError if not."""
    if (found := shipped_digest(name)) != sha256:
        raise ValueError(f"need the shipped model {name} with SHA-256 {sha256}, got a file with {found}")
    model = shipped_model(name).model.to(device)
    return lambda xs, ys: model(xs.float(), ys.float())


def evaluated_models(
    law: Plain,
    models: Mapping[str, str],
    untrained: Sequence[str],
    oracles: Mapping[str, Plain],
    prompts: int,
    stream_key: str,
    cap: float | Sequence[float],
    device: str,
    among: bool = True,
) -> dict[str, Any]:
    """`evaluated` as a unit of work: models {name of a shipped model: SHA-256 of its file}, laws as plain data."""
    predictors = {name: shipped_predictor(name, sha256, device) for name, sha256 in models.items()}
    return evaluated(
        PromptLaw.from_plain(law),
        {**predictors, **{name: UNTRAINED[name] for name in untrained}},
        {name: PromptLaw.from_plain(one) for name, one in oracles.items()},
        prompts,
        stream_key,
        cap,
        device,
        among=among,
    )
