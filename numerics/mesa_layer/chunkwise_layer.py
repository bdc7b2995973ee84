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

Memory. A block has about NUMBERS_AT_ONCE numbers an array, whatever T is. For the gradient are kept the inputs, z, w
and two factors, T (d + m) (1 + d / C) numbers more than the inputs. Where d > 2C, for instance because chunks had to be
halved, only the inputs are kept, and backward makes z, w and factors again, one block at a time.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, NamedTuple

import torch

from .decayed_sums import in_chunks
from .least_squares_gradients import Pulls, StateGradients, check_first_order, state_gradients
from .least_squares_layer import check_shapes, forget_factors, per_sequence
from .sequence_blocks import Block, Sequences, as_given, default_chunk, joined, working_dtype
from .whitened_chunks import Loss, Whitened, inverse_factors, whitened

LOST_IN_CHUNKS = 1e4  # digits that the factor inside a chunk may lose, as a ratio


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
    with as_given(keys.device):
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
    whole = Sequences(flat, flat[..., :0], flat, factors, None, initial_states(keys.double(), 0, regulariser))
    state, bounds, steps = whole.start, keys.new_ones(len(flat), dtype=torch.float64), whole.steps_at_once(plan.C)
    for first in range(0, T, steps):
        states = whole.block(first, steps, *plan).states(state)
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


class _Plan(NamedTuple):
    """How sequences are computed: the dtype, and C."""

    dtype: torch.dtype
    C: int


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
        whole = Sequences(keys, values, queries, forget, None, start)
        outputs, kept = torch.empty_like(values), list[torch.Tensor]()
        ctx.parts = []
        for rows in whole.row_blocks():
            plan, made = _solve(whole.some(rows), _Plan(working_dtype(keys.dtype), chunk), tolerance, outputs[rows])
            # with few steps a chunk the factors weigh more than the inputs, and backward makes them again
            worth_it = any(ctx.needs_input_grad) and keys.shape[-1] <= 2 * plan.C
            ctx.parts.append((rows, plan, len(made), worth_it))
            kept += [one for state, factors in made for one in (state, *(factors if worth_it else ()))]
        ctx.save_for_backward(*whole, *kept)
        return outputs

    @staticmethod
    def backward(ctx: Any, gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        check_first_order()
        saved = iter(ctx.saved_tensors)
        whole = Sequences(*islice(saved, 6))
        found = whole.empty_like()
        with as_given(gradients.device):
            for rows, plan, blocks, worth_it in ctx.parts:
                made = [(next(saved), Whitened(*islice(saved, 4)) if worth_it else None) for _ in range(blocks)]
                _differentiate(whole.some(rows), plan, made, gradients[rows], found.some(rows))
        return found.keys, found.values, found.queries, found.forget, found.start, None, None


def _solve(
    part: Sequences, plan: _Plan, tolerance: float, outputs: torch.Tensor
) -> tuple[_Plan, list[tuple[torch.Tensor, Whitened]]]:
    """Write the outputs (N, T, m); returns the plan that lost little enough, and each block's state and factors."""
    while True:
        made, losses, state = [], [], part.start.to(plan.dtype)
        steps = part.steps_at_once(plan.C)
        for first in range(0, part.keys.shape[1], steps):
            block = part.block(first, steps, *plan)
            states = block.states(state)
            found, loss = _whitened(block, states)
            made.append((state, found))
            losses.append(loss)
            state = states[:, -1]
            outputs[:, first : first + steps] = joined(found.outputs(block.queries), block.steps)
        revised = _revised(plan, losses, tolerance, part.keys)
        if revised is None:
            return plan, made
        plan = revised


def _revised(plan: _Plan, losses: list[Loss], tolerance: float, keys: torch.Tensor) -> _Plan | None:
    """The next finer plan if this one lost too much, None if it did not; ArithmeticError where there is none."""
    extremes = [torch.stack([one.in_chunks.max(), one.condition.max()]) for one in losses]
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


def _whitened(block: Block, states: torch.Tensor) -> tuple[Whitened, Loss]:
    """z, w and their factors from the states at the chunks' starts (and after the last)."""
    d = block.keys.shape[-1]
    return whitened(block.keys, block.values, states[:, :-1, :d], states[:, :-1, d:], block.decays)


def _differentiate(
    part: Sequences,
    plan: _Plan,
    made: list[tuple[torch.Tensor, Whitened | None]],
    gradients: torch.Tensor,
    results: Sequences,
) -> None:
    """Write the gradients for all of `Sequences` from those for the outputs (N, T, m), last block first."""
    steps, end = part.steps_at_once(plan.C), torch.zeros_like(part.start, dtype=plan.dtype)
    for place, (state, factors) in reversed(list(enumerate(made))):
        now = slice(place * steps, (place + 1) * steps)
        block = part.block(place * steps, steps, *plan)
        given = in_chunks(gradients[:, now].to(plan.dtype), plan.C)
        u, found = _block_gradients(block, state, factors, given, end)
        end = found.start
        results.write(now, found.keys, found.values, u, found.forget, None)
    results.start.copy_(end)


def _block_gradients(
    block: Block, state: torch.Tensor, factors: Whitened | None, gradients: torch.Tensor, end: torch.Tensor
) -> tuple[torch.Tensor, StateGradients]:
    """The gradient u for the queries (N, n, C, d), and all others."""
    states = None if factors is not None and block.forget is None else block.states(state)
    if factors is None:
        assert states is not None
        factors = _whitened(block, states)[0]
    x, u = factors.solved(block.queries, gradients)
    if block.forget is not None:
        x = x / block.decays.from_start
    return u, state_gradients(block, states, x, Pulls(-u, gradients), end)
