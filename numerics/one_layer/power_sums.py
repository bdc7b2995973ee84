"""Sums of a per-prompt statistic and of its square over a stream of fresh prompts.

The sums are plain data, add up over runs, and are all that a mean with its variance needs. Prompts are
drawn in chunks that stay in a core's cache (at 8192 prompts, drawing and measuring is twice as fast as
at 65536); torch adds pairwise inside a chunk and `math.fsum` adds the chunks exactly, so that rounding
stays near one unit in the last place of sum |Z|.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypedDict

import torch

from ..training.random_streams import stream
from ..training.threads import one_thread
from .prompts import PromptDistribution, Prompts, PromptSampler

CHUNK = 8192
CHUNKS_BETWEEN_READS = 64  # reading a total waits for a GPU


class PowerSums(TypedDict):
    """count prompts; for each statistic Z_k the sums of Z_k and of Z_k^2 over them."""

    count: int
    sum: list[float]
    sum_of_squares: list[float]


@one_thread()
def power_sums(
    statistic: Callable[[Prompts], torch.Tensor],
    distribution: PromptDistribution,
    count: int,
    seed_key: str,
    *,
    over_queries: bool = False,
    device: str | torch.device = "cpu",
) -> PowerSums:
    """Sums of statistic(prompts), (K, B), over `count` prompts from the stream `seed_key`, in float64.

    over_queries: Z_k is the mean of the statistic over the query, context and task given; exact for statistics that
    are quadratic forms in the query (`PromptSampler.over_queries`).
    """
    if count < 1:
        raise ValueError(f"need at least 1 prompt, got count = {count}")
    draw, generator = PromptSampler(distribution, torch.float64, device), stream(seed_key, device)
    sums, squares = ChunkTotals(), ChunkTotals()
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        if over_queries:
            values = torch.stack([statistic(prompts) for prompts in draw.over_queries(size, generator)]).mean(0)
        else:
            values = statistic(draw(size, generator))
        sums.add(values.sum(-1))
        squares.add((values * values).sum(-1))
    return PowerSums(count=count, sum=sums.exact(), sum_of_squares=squares.exact())


class ChunkTotals:
    """The totals (K,) of many chunks, added exactly.

    They are kept as Python's floats: a hundred thousand small tensors that stay, between the large ones of each chunk
    that go, leave the allocator with pieces that it cannot use again (20 GB after 5e8 prompts).
    """

    def __init__(self) -> None:
        self.waiting: list[torch.Tensor] = []
        self.rows: list[list[float]] = []

    def add(self, total: torch.Tensor) -> None:
        self.waiting.append(total)
        if len(self.waiting) == CHUNKS_BETWEEN_READS:
            self._read()

    def _read(self) -> None:
        if self.waiting:
            self.rows += torch.stack(self.waiting).tolist()
            self.waiting = []

    def exact(self) -> list[float]:
        """The sum over all chunks, (K,), rounded once."""
        self._read()
        return [math.fsum(column) for column in zip(*self.rows, strict=True)]
