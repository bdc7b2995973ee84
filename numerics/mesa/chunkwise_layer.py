r"""The mesa layer at full speed: the chunks of `whitened_chunks` in blocks, with gradients, at a stated precision.

Main statements
    outputs_by_chunks    Phi_t q_t, equal to `outputs_by_direct_solve` up to rounding, in parallel over the steps
    condition_bounds     an upper bound on the condition number of H_t for each sequence, at every C steps

Precision. The work is in float32 for float32, float16 and bfloat16, and in float64 for float64. Rounding costs about
eps times the condition number of H_t, and in half precision a Gram matrix is not even positive definite. So the
condition number at the chunks' starts is bounded from above as the work goes on: where eps times the bound exceeds
`tolerance`, the sequences concerned are computed again in float64, which takes longer and means the same; and what
float64 does not hold either is refused. Where the factorisation inside a chunk loses more than four digits, chunks are
halved.

Memory. Forward keeps its inputs, and H and G once per block; backward repeats the forward work of one block at a time.
A block has about NUMBERS_AT_ONCE numbers an array, whatever T is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from .decayed_sums import Decays, in_chunks, states_at_starts
from .least_squares_gradients import StateGradients, state_gradients
from .least_squares_layer import check_shapes, forget_factors, per_sequence
from .whitened_chunks import Whitened, inverse_factors, whitened

LOST_IN_CHUNKS = 1e4  # digits that the factor inside a chunk may lose, as a ratio
NUMBERS_AT_ONCE = {"cpu": 2**18, "cuda": 2**26}  # so that a block stays in a core's cache, or fills a GPU


def outputs_by_chunks(
    keys: torch.Tensor,
    values: torch.Tensor,
    queries: torch.Tensor,
    regulariser: float | torch.Tensor,
    forget: torch.Tensor | None = None,
    *,
    chunk: int = 0,
    tolerance: float = 1e-3,
) -> torch.Tensor:
    """Phi_t q_t (..., T, m) for keys and queries (..., T, d), values (..., T, m), forget factors (..., T) in (0, 1].

    regulariser: lambda > 0, a number or one for each leading index. chunk: C, chosen from d where 0. tolerance: the
    relative error that rounding may cause, eps times the condition number at most; decides on float64 and on refusal.
    Differentiable once in all tensors. Raises ValueError for shapes and signs, ArithmeticError beyond float64.

    >>> ones = torch.ones(3, 1)
    >>> outputs_by_chunks(ones, ones, ones, 1.0).flatten()
    tensor([0.5000, 0.6667, 0.7500])
    """
    check_shapes(keys, values, queries, forget)
    check_numbers(regulariser, forget)
    T, d, m = *keys.shape[-2:], values.shape[-1]
    if d == 0 or m == 0 or keys.numel() == 0:
        return keys.new_zeros(*keys.shape[:-1], m)
    start = initial_states(keys, m, regulariser)
    factors = None if forget is None else forget_factors(keys, forget).reshape(-1, T)
    flat = keys.reshape(-1, T, d), values.to(keys.dtype).reshape(-1, T, m), queries.to(keys.dtype).reshape(-1, T, d)
    C = chunk or default_chunk(d, T)
    found: torch.Tensor = _Chunkwise.apply(*flat, factors, start, C, tolerance)  # type: ignore[no-untyped-call]
    return found.reshape(*keys.shape[:-1], m)


def condition_bounds(
    keys: torch.Tensor, regulariser: float | torch.Tensor, forget: torch.Tensor | None = None, *, chunk: int = 0
) -> torch.Tensor:
    """An upper bound (...) on the condition number of H_t, t = 0, C, 2 C, ... and T, for keys (..., T, d); in float64.

    At most d^{3/2} times too large; infinite where H_t is not positive definite even in float64.
    """
    check_shapes(keys, keys, None, forget)
    check_numbers(regulariser, forget)
    T, d = keys.shape[-2:]
    plan = _Plan(torch.float64, chunk or default_chunk(d, T))
    factors = None if forget is None else forget_factors(keys, forget).reshape(-1, T)
    flat = keys.reshape(-1, T, d)
    whole = _Sequences(flat, flat[..., :0], flat, factors, initial_states(keys.double(), 0, regulariser))
    state, bounds, steps = whole.start, keys.new_ones(len(flat), dtype=torch.float64), whole.steps_at_once(plan)
    for first in range(0, T, steps):
        states = whole.block(first, steps, plan).states(state)
        state = states[:, -1]
        bounds = torch.maximum(bounds, inverse_factors(states)[1].amax(1))
    return bounds.reshape(keys.shape[:-2])


def check_numbers(regulariser: float | torch.Tensor, forget: torch.Tensor | None) -> None:
    """Raise ValueError unless lambda > 0 and the forget factors are in (0, 1]."""
    if not bool((torch.as_tensor(regulariser) > 0).all()):
        raise ValueError(
            f"need a regulariser lambda > 0, got {regulariser}; H_0 = I / lambda has to be positive definite"
        )
    if forget is not None and not bool(((forget > 0) & (forget <= 1)).all()):
        raise ValueError(
            f"need forget factors in (0, 1], got some between {forget.min():g} and {forget.max():g}; "
            "with a factor 0 nothing is left of H_t but one key"
        )


def initial_states(keys: torch.Tensor, m: int, regulariser: float | torch.Tensor) -> torch.Tensor:
    """(H_0; G_0) = (I / lambda; 0) for each sequence, (N, d + m, d), in float32 at least."""
    d = keys.shape[-1]
    ridge = 1 / per_sequence(regulariser, keys.to(working_dtype(keys.dtype)))
    eye = torch.eye(d + m, d, dtype=ridge.dtype, device=keys.device)
    return (ridge * eye).expand(*keys.shape[:-2], d + m, d).reshape(-1, d + m, d)


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 for half precisions, else the dtype itself."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def default_chunk(d: int, T: int) -> int:
    """The power of two next above d between 16 and 64, and no longer than T needs."""
    wanted = min(max(d, 16), 64, T)
    return 1 << (wanted - 1).bit_length()


class _Plan(NamedTuple):
    """How sequences are computed: the dtype, and C."""

    dtype: torch.dtype
    C: int


class _Block(NamedTuple):
    """Some steps of some sequences in chunks: keys (N, n, C, d), values, queries, forget (N, n, C); how many."""

    keys: torch.Tensor
    values: torch.Tensor
    queries: torch.Tensor
    decays: Decays
    forget: torch.Tensor | None
    steps: int

    def states(self, start: torch.Tensor) -> torch.Tensor:
        """(H; G) at the chunks' starts and after the last, (N, n + 1, d + m, d), from the first."""
        added = torch.cat([self.keys, self.values], -1)
        weighted = added if self.forget is None else added * self.decays.to_end
        return states_at_starts(weighted.mT @ self.keys, self.decays, start)

    def solved(self, start: torch.Tensor) -> tuple[torch.Tensor, Whitened]:
        """The states, and z and w."""
        d, states = self.keys.shape[-1], self.states(start)
        return states, whitened(self.keys, self.values, states[:, :-1, :d], states[:, :-1, d:], self.decays)


class _Sequences(NamedTuple):
    """N whole sequences: keys (N, T, d), values (N, T, m), queries (N, T, d), forget (N, T) or None, start."""

    keys: torch.Tensor
    values: torch.Tensor
    queries: torch.Tensor
    forget: torch.Tensor | None
    start: torch.Tensor

    def some(self, rows: slice) -> _Sequences:
        forget = None if self.forget is None else self.forget[rows]
        return _Sequences(self.keys[rows], self.values[rows], self.queries[rows], forget, self.start[rows])

    def block(self, first: int, steps: int, plan: _Plan) -> _Block:
        """The steps from the first, fewer at the end."""
        part = slice(first, first + steps)
        keys, values, queries = (in_chunks(one[:, part].to(plan.dtype), plan.C) for one in self[:3])
        forget = None if self.forget is None else in_chunks(self.forget[:, part].to(plan.dtype), plan.C, fill=1.0)
        return _Block(keys, values, queries, Decays.of(forget, keys), forget, self.keys[:, part].shape[1])

    def steps_at_once(self, plan: _Plan) -> int:
        """How many steps of one sequence make a block, a multiple of C."""
        d, m = self.keys.shape[-1], self.values.shape[-1]
        return plan.C * max(1, _numbers_at_once(self.keys.device) // ((d + m) * max(d, plan.C)))


class _Chunkwise(torch.autograd.Function):
    """Blocks of steps of blocks of sequences, forward and backward."""

    @staticmethod
    def forward(
        ctx: Any,
        keys: torch.Tensor,
        values: torch.Tensor,
        queries: torch.Tensor,
        forget: torch.Tensor | None,
        start: torch.Tensor,
        chunk: int,
        tolerance: float,
    ) -> torch.Tensor:
        whole = _Sequences(keys, values, queries, forget, start)
        ctx.save_for_backward(*whole)
        ctx.parts = []
        outputs = torch.empty_like(values)
        for rows in _row_blocks(whole, chunk):
            plan, starts = _solve(whole.some(rows), _Plan(working_dtype(keys.dtype), chunk), tolerance, outputs[rows])
            ctx.parts.append((rows, plan, starts))
        return outputs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        whole = _Sequences(*ctx.saved_tensors)
        found = [None if one is None else torch.empty_like(one) for one in whole]
        for rows, plan, starts in ctx.parts:
            parts = [None if one is None else one[rows] for one in found]
            _differentiate(whole.some(rows), plan, starts, gradients[rows], parts)
        return (*found, None, None)


def _solve(part: _Sequences, plan: _Plan, tolerance: float, outputs: torch.Tensor) -> tuple[_Plan, list[torch.Tensor]]:
    """Write the outputs (N, T, m); returns the plan that lost little enough, and the state where each block starts."""
    while True:
        starts, factors, state = [], [], part.start.to(plan.dtype)
        steps = part.steps_at_once(plan)
        for first in range(0, part.keys.shape[1], steps):
            block = part.block(first, steps, plan)
            starts.append(state)
            states, found = block.solved(state)
            state = states[:, -1]
            factors.append(found)
            outputs[:, first : first + steps] = _rows(found.outputs(block.queries), block.steps)
        revised = _revised(plan, factors, tolerance, part.keys)
        if revised is None:
            return plan, starts
        plan = revised


def _revised(plan: _Plan, found: list[Whitened], tolerance: float, keys: torch.Tensor) -> _Plan | None:
    """The next finer plan if this one lost too much, None if it did not; ArithmeticError where there is none."""
    extremes = [torch.stack([one.lost.max(), one.condition.max()]) for one in found]
    lost, condition = torch.stack(extremes).amax(0).tolist()
    eps = torch.finfo(plan.dtype).eps
    if eps * condition <= tolerance:
        if lost <= min(LOST_IN_CHUNKS, tolerance / eps):
            return None
        if plan.C > 1:
            return _Plan(plan.dtype, plan.C // 2)
    if not bool(torch.isfinite(keys).all()):
        raise ValueError("need finite keys, got some that are infinite or not a number; look for their origin")
    if plan.dtype != torch.float64:
        return _Plan(torch.float64, plan.C)
    raise ArithmeticError(
        f"need keys whose H_t has a condition number below {tolerance / eps:.1e} (tolerance {tolerance:g} in float64), "
        f"got up to {condition:.1e}; lower the regulariser lambda, forget less, or normalise the keys"
    )


def _differentiate(
    part: _Sequences,
    plan: _Plan,
    starts: list[torch.Tensor],
    gradients: torch.Tensor,
    results: list[torch.Tensor | None],
) -> None:
    """Write the gradients for the five of `_Sequences`, from those for the outputs (N, T, m), last block first."""
    steps, end = part.steps_at_once(plan), torch.zeros_like(starts[0])
    of_keys, of_values, of_queries, of_forget, of_start = results
    for place, start in reversed(list(enumerate(starts))):
        now = slice(place * steps, (place + 1) * steps)
        block = part.block(place * steps, steps, plan)
        u, found = _block_gradients(block, start, in_chunks(gradients[:, now].to(plan.dtype), plan.C), end)
        end = found.start
        for to, one in ((of_keys, found.keys), (of_values, found.values), (of_queries, u)):
            assert to is not None
            to[:, now] = _rows(one, block.steps)
        if of_forget is not None and found.log_forget is not None and block.forget is not None:
            of_forget[:, now] = _rows(found.log_forget / block.forget, block.steps)
    assert of_start is not None
    of_start.copy_(end)


def _block_gradients(
    block: _Block, start: torch.Tensor, gradients: torch.Tensor, end: torch.Tensor
) -> tuple[torch.Tensor, StateGradients]:
    """The gradient u for the queries (N, n, C, d), and all others."""
    states, found = block.solved(start)
    x, u = found.solved(block.queries, gradients)
    before = None if block.forget is None else states[:, :-1]
    pulls = torch.cat([-u, gradients], -1)
    return u, state_gradients(block.keys, block.values, x, pulls, block.decays, before, end)


def _rows(chunks: torch.Tensor, steps: int) -> torch.Tensor:
    """(N, n, C, ...) as (N, steps, ...), without what filled the last chunk."""
    return chunks.flatten(1, 2)[:, :steps]


def _row_blocks(whole: _Sequences, chunk: int) -> list[slice]:
    """Slices of sequences that together make one block."""
    N, T, d = whole.keys.shape
    count = max(1, _numbers_at_once(whole.keys.device) // (min(T, 4096) * (d + whole.values.shape[-1])))
    return [slice(first, first + count) for first in range(0, N, count)]


def _numbers_at_once(device: torch.device) -> int:
    return NUMBERS_AT_ONCE["cpu" if device.type == "cpu" else "cuda"]
