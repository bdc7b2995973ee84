r"""Draws that several configurations share: one array of Gaussian numbers, read by each through its own law.

The layer depends on a prompt only through its Gram matrix and its query (`one_layer.gram_matrices`), and in standard
coordinates that matrix is the same for every law with the same context length; for a smaller d it is the leading
block, for a smaller N a partial sum. So 64 laws cost little more than one.

Main statements
    SharedDraws      the name of the draws and the largest d and N that they serve; part of a configuration's content,
                     so that it trains alike alone and beside others
    draws_key        two configurations see the same draws if and only if it is equal: name, size, batch sizes,
                     seed and replica agree. Replicas therefore never share
    SharedFeed       loss and gradient of each configuration on fresh draws at each call
Each configuration's prompts are independent of each other and have exactly its law. What configurations that share
draws end with is dependent, and must not be counted as independent: give such replicas different `replica` numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch

from ..one_layer.gram_matrices import GramPrompts, LawMaps, StandardDraws, check_linear_image, gram_gradient
from ..one_layer.prompts import PromptDistribution
from .random_streams import standard_normals, stream

if TYPE_CHECKING:
    from .configurations import TrainingConfiguration


@dataclass(frozen=True)
class SharedDraws:
    """The name of a shared stream, and the largest d and N that it serves.

    The size is part of the stream, so that it does not depend on who else reads it. Raises ValueError for a size
    below 1.

    >>> SharedDraws("example", dimension=3, context_length=20).to_plain()
    {'name': 'example', 'dimension': 3, 'context_length': 20}
    """

    name: str
    dimension: int = 10
    context_length: int = 100

    def __post_init__(self) -> None:
        for field, size in (("dimension", self.dimension), ("context_length", self.context_length)):
            if int(size) != size or size < 1:
                raise ValueError(f"need the {field} of shared draws as a whole number from 1, got {size!r}")
            object.__setattr__(self, field, int(size))

    def to_plain(self) -> dict[str, Any]:
        """Numbers and strings that `from_plain` turns back into this."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> SharedDraws:
        """The draws with these parameters; unknown names are refused by name (TypeError)."""
        return cls(**plain)

    def check_serves(self, law: PromptDistribution) -> None:
        """Refuse a law that cannot read these draws (ValueError)."""
        check_linear_image(law)
        if law.dimension > self.dimension or law.longest_context > self.context_length:
            raise ValueError(
                f"need d <= {self.dimension} and N <= {self.context_length} to read the shared draws "
                f"{self.name!r}, got d = {law.dimension} and N = {law.longest_context}; make the draws larger"
            )


def draws_key(one: TrainingConfiguration) -> str | None:
    """The name of the stream that the configuration shares; None for prompts of its own."""
    if one.shared_draws is None:
        return None
    content = {
        **one.shared_draws.to_plain(),
        "batch_sizes": _runs_of_equal([one.batch_size_at(step) for step in range(one.steps)]),
        "seed": one.seed,
        "replica": one.replica,
    }
    return "shared draws " + json.dumps(content, sort_keys=True, separators=(",", ":"))


def _runs_of_equal(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """(size, how many in a row)."""
    return [(size, len(list(row))) for size, row in groupby(sizes)]


class SharedFeed:
    """Fresh draws at each call, and every configuration's batch loss and gradient on them.

    configurations: of one `draws_key`. Weights stand padded, covariates first and the label last.
    """

    def __init__(
        self, configurations: Sequence[TrainingConfiguration], device: torch.device, dtype: torch.dtype
    ) -> None:
        (key,) = {draws_key(one) for one in configurations}
        size = configurations[0].shared_draws
        assert key is not None
        assert size is not None
        self.size, self.dtype, self.first, self.step = size, dtype, configurations[0], 0
        self.generator = stream(key, device)
        laws = [one.distribution for one in configurations]
        self.longest = max(law.longest_context for law in laws)
        self.rows = max(law.dimension for law in laws) + 1
        self.groups = [_SameDimension(laws, places, self.rows, device, dtype) for places in _places_by_dimension(laws)]
        self.readers: dict[int, list[tuple[_SameDimension, int]]] = {}
        for group in self.groups:
            for slot, N in enumerate(group.context_lengths):
                self.readers.setdefault(N, []).append((group, slot))

    def gradient(self, value: torch.Tensor, key_query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean loss (C) and gradient in the last row of W_PV (C, S) and in W_KQ (C, S, S), padded with zeros."""
        loss = value.new_empty(len(value))
        slopes = torch.zeros_like(value), torch.zeros_like(key_query)
        self.draw()
        for group in self.groups:
            group.write_gradient(value, key_query, loss, *slopes)
        return loss, slopes[0].squeeze(-2), slopes[1]

    def draw(self) -> StandardDraws:
        """Take fresh draws, give each law its Gram matrices, and return the draws."""
        draws = self.standard_draws()
        for group in self.groups:
            group.take_queries(draws)
        for N, total in partial_grams(draws.columns[: self.longest, : self.rows]):
            for group, slot in self.readers.get(N, ()):
                group.take(slot, total)
        return draws

    def standard_draws(self) -> StandardDraws:
        """Fresh N(0, 1) numbers for one batch, of the full size of the shared draws."""
        d, N, B = self.size.dimension, self.size.context_length, self.first.batch_size_at(self.step)
        self.step += 1
        numbers = standard_normals((N * (d + 1) + 2 * d, B), self.generator, self.dtype)
        columns, task, query = numbers.tensor_split((N * (d + 1), N * (d + 1) + d))
        return StandardDraws(columns.view(N, d + 1, B), task, query)


def partial_grams(columns: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    """n and sum_{i <= n} c_i c_i^T (D, D, B) for n = 1 .. N, from columns (N, D, B); one buffer, overwritten."""
    total = columns.new_zeros(columns.shape[1], *columns.shape[1:])
    for n, column in enumerate(columns, 1):
        total.addcmul_(column[:, None], column[None])
        yield n, total


class _SameDimension:
    """The laws of one d among the configurations: their maps, Gram matrices, and places in the padded weights."""

    def __init__(
        self,
        laws: Sequence[PromptDistribution],
        places: list[int],
        rows: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        ours = [laws[place] for place in places]
        self.places = torch.tensor(places, device=device)
        self.maps = LawMaps(ours, device, dtype)
        self.d = d = ours[0].dimension
        self.gram = torch.empty(len(ours), d + 1, d + 1, 0, dtype=dtype, device=device)
        self.context_lengths = [law.longest_context for law in ours]
        kept = torch.tensor([*range(d), rows - 1], device=device)
        self.value_at = rows * self.places[:, None] + kept
        self.key_query_at = rows * self.value_at[:, :, None] + kept[:d]

    def take_queries(self, draws: StandardDraws) -> None:
        """Keep the tasks and queries of these draws, and make room for their Gram matrices."""
        B = draws.query.shape[-1]
        if self.gram.shape[-1] != B:
            self.gram = self.gram.new_empty(*self.gram.shape[:-1], B)
        self.prompts = GramPrompts(self.gram, draws.task[: self.d], draws.query[: self.d])

    def take(self, slot: int, total: torch.Tensor) -> None:
        """Keep the Gram matrices of one law, from the sums over its N columns."""
        torch.mul(total[: self.d + 1, : self.d + 1], 1 / self.context_lengths[slot], out=self.gram[slot])

    def write_gradient(
        self,
        value: torch.Tensor,
        key_query: torch.Tensor,
        loss: torch.Tensor,
        value_slope: torch.Tensor,
        key_query_slope: torch.Tensor,
    ) -> None:
        """Loss and gradient of these laws, into their places."""
        found = gram_gradient(self.prompts, self.maps, value.take(self.value_at), key_query.take(self.key_query_at))
        loss[self.places] = found[0]
        value_slope.put_(self.value_at, found[1])
        key_query_slope.put_(self.key_query_at, found[2])


def _places_by_dimension(laws: Sequence[PromptDistribution]) -> list[list[int]]:
    dimensions = [law.dimension for law in laws]
    return [[place for place, d in enumerate(dimensions) if d == wanted] for wanted in sorted(set(dimensions))]
