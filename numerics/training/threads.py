"""One thread per process.

The tensors of a one-layer check are small (a few hundred kilobytes, so that they stay in the cache of one
core): a second torch thread waits longer than it computes (on two shared cores, sums over prompts took 60
times longer with two threads than with one, training 50 times). Work is spread over processes instead, one
task each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def use_one_thread() -> None:
    """Let torch compute on one thread in this process; a second call changes nothing."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread inside; the process's own number of threads comes back afterwards."""
    before = torch.get_num_threads()
    use_one_thread()
    try:
        yield
    finally:
        if before != 1:
            torch.set_num_threads(before)
