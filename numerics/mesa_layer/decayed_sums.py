r"""Decayed sums of outer products, S_t = f_t S_{t-1} + a_t k_t^T, in chunks of C steps.

With zeta_ts = f_{s+1} ... f_t and t counted from the start of a chunk whose state is S (at t = 0),

    S_t x_t = zeta_t0 S x_t + sum_{s <= t} zeta_ts a_s (k_s . x_t),

so that a causal sum over T steps takes T/C states, summed one after the other, and products of C x C scores with C
rows, all chunks at once: T (C + d) numbers instead of T d^2. The products zeta_ts are multiplied out for each pair
of a chunk and never divided: with factors in [0, 1] none overflows, and 0 is as good as any other factor.

Main statements
    in_chunks            (N, T, ...) as (N, T/C, C, ...), the last chunk filled up with zeros
    Decays               zeta_ts within chunks, and from their start and to their end
    states_at_starts     S at the start of each chunk, and at the end, from each chunk's own sum
    gradients_at_ends    the same backwards in time, for the gradient with respect to S
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class Decays(NamedTuple):
    """Products of forget factors; `within` is None without forgetting, where the other three are 1.

    within: zeta_ts (N, n, C, C), t before s, and 0 for s > t. from_start: zeta_t0 (N, n, C, 1). to_end: zeta_Cs
    (N, n, C, 1). total: zeta_C0 (N, n, 1, 1).
    """

    within: torch.Tensor | None
    from_start: torch.Tensor
    to_end: torch.Tensor
    total: torch.Tensor

    @classmethod
    def of(cls, forget: torch.Tensor | None, like: torch.Tensor) -> Decays:
        """From the factors (N, n, C), or None; `like` gives dtype and device."""
        if forget is None:
            one = like.new_ones(1, 1, 1, 1)
            return cls(None, one, one, one)
        C = forget.shape[-1]
        later = torch.ones(C, C, dtype=torch.bool, device=forget.device).tril(-1)
        within = torch.where(later, forget[..., None], 1).cumprod(-2).tril()
        from_start = forget.cumprod(-1)[..., None]
        return cls(within, from_start, within[..., -1, :, None], from_start[..., -1:, :])

    def faded(self, rows: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        """The rows (N, n, C, ...) times `from_start` or `to_end`; the very rows where nothing fades."""
        return rows if self.within is None else rows * factors

    def causal(self, scores: torch.Tensor) -> torch.Tensor:
        """zeta_ts times scores (N, n, C, C) of s at t, 0 for s > t; overwrites the scores."""
        return scores.tril_() if self.within is None else scores.mul_(self.within)

    def anticausal(self, scores: torch.Tensor) -> torch.Tensor:
        """zeta_ts times scores (N, n, C, C) of t at s, 0 for t < s; overwrites the scores."""
        return scores.triu_() if self.within is None else scores.mul_(self.within.mT)


def plus_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """total + left right, for matrices (N, n, ., .); overwrites the total, which saves a pass over it."""
    total.flatten(0, 1).baddbmm_(left.flatten(0, 1), right.flatten(0, 1))
    return total


def in_chunks(rows: torch.Tensor, C: int, fill: float = 0.0) -> torch.Tensor:
    """Rows (N, T, ...) as (N, ceil(T / C), C, ...), with `fill` after the last."""
    N, T = rows.shape[:2]
    missing = -T % C
    if missing:
        rows = torch.cat([rows, rows.new_full((N, missing, *rows.shape[2:]), fill)], 1)
    return rows.reshape(N, (T + missing) // C, C, *rows.shape[2:])


def states_at_starts(sums: torch.Tensor, decays: Decays, start: torch.Tensor) -> torch.Tensor:
    """S at the start of each chunk and after the last, (N, n + 1, r, d), from the chunks' sums (N, n, r, d).

    A chunk's sum is sum_s zeta_Cs a_s k_s^T; start (N, r, d) is S before the first.
    """
    states = torch.cat([start.unsqueeze(1), sums], 1)
    for c in range(sums.shape[1]):  # torch.cumsum over such an axis takes several times as long
        states[:, c + 1].addcmul_(states[:, c], decays.total[:, c % decays.total.shape[1]])
    return states


def gradients_at_ends(sums: torch.Tensor, decays: Decays, end: torch.Tensor) -> torch.Tensor:
    """The gradient with respect to S at the start of each chunk and after the last, (N, n + 1, r, d).

    sums (N, n, r, d) holds what a chunk's own outputs give to the S at its start; end (N, r, d) comes from later.
    """
    gradients = torch.cat([sums, end.unsqueeze(1)], 1)
    for c in reversed(range(sums.shape[1])):
        gradients[:, c].addcmul_(gradients[:, c + 1], decays.total[:, c % decays.total.shape[1]])
    return gradients
