"""One thread per process.

The tensors of a one-layer check are small (a few hundred kilobytes, so that they stay in the cache of one
core): a second torch thread costs more in waiting than it computes. Work is spread over processes instead,
one task each.
"""

from __future__ import annotations

import torch


def use_one_thread() -> None:
    """Let torch compute on one thread in this process; a second call changes nothing."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
