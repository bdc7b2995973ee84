r"""Sequences cut into blocks of steps and of sequences, so that arrays stay small whatever T and N are.

A block is worked on in chunks of C steps, and hands (H; G) to the next; backwards, the gradient for (H; G).

Main statements
    Sequences           N sequences of T steps, with the state that they start from
    Sequences.block     some of their steps, in chunks
    Block.states        (H; G) at the start of each chunk
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from .decayed_sums import Decays, in_chunks, states_at_starts

NUMBERS_AT_ONCE = {"cpu": 2**18, "cuda": 2**26}  # an array of a block: in a core's cache, or enough to fill a GPU


class Block(NamedTuple):
    """keys, queries (N, n, C, d), values (N, n, C, m), forget (N, n, C), gate (N, n, C, 1), and how many steps."""

    keys: torch.Tensor
    values: torch.Tensor
    queries: torch.Tensor
    forget: torch.Tensor | None
    gate: torch.Tensor | None
    decays: Decays
    steps: int

    @property
    def gated_keys(self) -> torch.Tensor:
        """b k (N, n, C, d)."""
        return self.keys if self.gate is None else self.gate * self.keys

    def states(self, start: torch.Tensor) -> torch.Tensor:
        """(H; G) at the chunks' starts and after the last, (N, n + 1, d + m, d), from the first."""
        added = torch.cat([self.keys, self.values], -1)
        sums = self.decays.faded(added, self.decays.to_end).mT @ self.gated_keys
        return states_at_starts(sums, self.decays, start)


class Sequences(NamedTuple):
    """keys, queries (N, T, d), values (N, T, m), forget, gate (N, T) or None, start (N, d + m, d)."""

    keys: torch.Tensor
    values: torch.Tensor
    queries: torch.Tensor
    forget: torch.Tensor | None
    gate: torch.Tensor | None
    start: torch.Tensor

    def some(self, rows: slice) -> Sequences:
        """These sequences alone."""
        forget, gate = (None if one is None else one[rows] for one in (self.forget, self.gate))
        return Sequences(self.keys[rows], self.values[rows], self.queries[rows], forget, gate, self.start[rows])

    def empty_like(self) -> Sequences:
        """Room for the gradient of each."""
        forget, gate = (None if one is None else torch.empty_like(one) for one in (self.forget, self.gate))
        keys, values, queries, start = map(torch.empty_like, (self.keys, self.values, self.queries, self.start))
        return Sequences(keys, values, queries, forget, gate, start)

    def write(self, steps: slice, *chunks: torch.Tensor | None) -> None:
        """Put keys, values, queries, forget and gate, each in chunks, into these steps."""
        for to, one in zip(self[:5], chunks, strict=True):
            if to is not None and one is not None:
                part = to[:, steps]
                part.copy_(one.reshape(len(one), -1, *part.shape[2:])[:, : part.shape[1]])

    def block(self, first: int, steps: int, dtype: torch.dtype, C: int) -> Block:
        """The steps from the first, fewer at the end."""
        part = slice(first, first + steps)
        keys, values, queries = (in_chunks(one[:, part].to(dtype), C) for one in self[:3])
        forget = None if self.forget is None else in_chunks(self.forget[:, part].to(dtype), C, fill=1.0)
        gate = None if self.gate is None else in_chunks(self.gate[:, part].to(dtype), C).unsqueeze(-1)
        return Block(keys, values, queries, forget, gate, Decays.of(forget, keys), self.keys[:, part].shape[1])

    def steps_at_once(self, C: int) -> int:
        """How many steps of one sequence make a block, a multiple of C."""
        d, m = self.keys.shape[-1], self.values.shape[-1]
        return C * max(1, numbers_at_once(self.keys.device) // ((d + m) * max(d, C)))

    def row_blocks(self) -> Iterator[slice]:
        """Slices of sequences, each of which has as many numbers as a block."""
        N, T, d = self.keys.shape
        count = max(1, numbers_at_once(self.keys.device) // (min(T, 4096) * (d + self.values.shape[-1])))
        return (slice(first, first + count) for first in range(0, N, count))


def numbers_at_once(device: torch.device) -> int:
    """The entries that an array of a block may have."""
    return NUMBERS_AT_ONCE["cpu" if device.type == "cpu" else "cuda"]


def as_given(device: torch.device) -> torch.autocast:
    """A context without autocast, which would turn the products inside to half precision."""
    return torch.autocast(device.type, enabled=False)


def joined(chunks: torch.Tensor, steps: int) -> torch.Tensor:
    """(N, n, C, ...) as (N, steps, ...), without what filled the last chunk."""
    return chunks.flatten(1, 2)[:, :steps]


def default_chunk(d: int, T: int) -> int:
    """The power of two next above d between 16 and 64, and no longer than T needs."""
    wanted = min(max(d, 16), 64, T)
    return 1 << (wanted - 1).bit_length()


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 for half precisions, else the dtype itself."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
