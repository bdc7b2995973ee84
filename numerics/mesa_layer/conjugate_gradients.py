r"""The mesa layer with a regulariser that does not fade: o_t = G_t (H_t + Lambda)^{-1} q_t by conjugate gradients.

H_t = f_t H_{t-1} + b_t k_t k_t^T and G_t = f_t G_{t-1} + b_t v_t k_t^T from H_0 = G_0 = 0, with an input gate b_t and a
constant positive diagonal Lambda [vonoswald2025mesanet]. H_t + Lambda needs no factors: its product with a vector is a
decayed causal sum, so all steps of a block iterate at once and no H_t is made but those at the chunks' starts.

Main statements
    outputs_by_conjugate_gradients    o_t after n steps from x_0 = Lambda^{-1} q, with gradients
    conjugate_gradients               the iteration, for any symmetric positive definite product [hestenes1952methods]
With no step o_t = G_t Lambda^{-1} q_t, gated linear attention of rescaled queries. In exact arithmetic, with kappa the
condition number of A = H_t + Lambda and |e|_A^2 = e^T A e,

    |x_n - x|_A <= 2 ((sqrt kappa - 1) / (sqrt kappa + 1))^n |x_0 - x|_A,

and d steps solve it. Since Lambda bounds kappa by 1 + |H_t| / min Lambda, forgetting cannot make it explode.

Gradients are those of the solution, not of the iteration: u_t = A^{-1} G_t^T g_t is solved by as many steps, and the
rest is `least_squares_gradients`, with dL/dLambda = - sum_t u_t * x_t. With few steps they are not the gradients of the
truncated iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .least_squares_gradients import Pulls, StateGradients, check_first_order, state_gradients
from .least_squares_layer import check_shapes, forget_factors
from .sequence_blocks import Block, Sequences, as_given, default_chunk, working_dtype

Product = Callable[[torch.Tensor], torch.Tensor]


def outputs_by_conjugate_gradients(
    keys: torch.Tensor,
    values: torch.Tensor,
    queries: torch.Tensor,
    ridge: float | torch.Tensor,
    forget: torch.Tensor | None = None,
    gate: torch.Tensor | None = None,
    *,
    steps: int = 30,
    residual: float = 0.0,
    chunk: int = 0,
) -> torch.Tensor:
    """G_t (H_t + Lambda)^{-1} q_t (..., T, m) for keys, queries (..., T, d), values (..., T, m), forget, gate (..., T).

    ridge: the diagonal of Lambda, a positive number or (..., d). forget in (0, 1], gate >= 0, ones where None. At most
    `steps` steps for each t, fewer where |q - A x| <= residual |q| before. Half precisions are computed in float32.
    Differentiable once in all tensors. Raises ValueError for shapes and signs.

    >>> ones = torch.ones(2, 1)
    >>> outputs_by_conjugate_gradients(ones, ones, ones, 1.0, steps=1).flatten()
    tensor([0.5000, 0.6667])
    """
    check_shapes(keys, values, queries, forget)
    check_shapes(keys, values, queries, gate)
    _check_signs(ridge, forget, gate, steps)
    T, d, m = *keys.shape[-2:], values.shape[-1]
    if not keys.numel() or not m:
        return keys.new_zeros(*keys.shape[:-1], m)
    kept = torch.as_tensor(ridge, dtype=working_dtype(keys.dtype), device=keys.device)
    diagonals = (kept[..., None] if kept.dim() == 0 else kept).expand(*keys.shape[:-2], d).reshape(-1, d)
    factors, gates = (None if one is None else forget_factors(keys, one).reshape(-1, T) for one in (forget, gate))
    flat = (one.to(keys.dtype).reshape(-1, T, one.shape[-1]) for one in (keys, values, queries))
    C = chunk or default_chunk(d, T)
    with as_given(keys.device):
        found: torch.Tensor = _Implicit.apply(  # type: ignore[no-untyped-call]
            *flat, factors, gates, diagonals, C, steps, residual
        )
    return found.reshape(*keys.shape[:-1], m)


def conjugate_gradients(
    product: Product, right: torch.Tensor, start: torch.Tensor, steps: int, residual: float
) -> torch.Tensor:
    """x with A x = right (..., d), from x = start, for many systems at once; `product` maps p (..., d) to A p.

    Each stops where |right - A x| <= residual |right|, or after `steps` steps, and then stays as it is.
    """
    if steps == 0:
        return start
    x, r = start, right - product(start)
    p, size, enough = r, _squares(r), residual**2 * _squares(right)
    for _ in range(steps):
        going = size > enough
        if residual and not bool(going.any()):
            break
        Ap = product(p)
        curvature = (p * Ap).sum(-1, keepdim=True)
        length = torch.where(going & (curvature > 0), size / curvature, 0)
        x, r = x + length * p, r - length * Ap
        before, size = size, _squares(r)
        p = r + torch.where(going, size / before, 0) * p
    return x


def _squares(vectors: torch.Tensor) -> torch.Tensor:
    return vectors.square().sum(-1, keepdim=True)


def _check_signs(
    ridge: float | torch.Tensor, forget: torch.Tensor | None, gate: torch.Tensor | None, steps: int
) -> None:
    """Raise ValueError unless Lambda > 0, the forget factors are in (0, 1], the gates >= 0 and finite, steps >= 0."""
    if not bool((torch.as_tensor(ridge) > 0).all()):
        raise ValueError(f"need a ridge with positive entries, got {ridge}; H_t alone may be singular")
    if forget is not None and not bool(((forget > 0) & (forget <= 1)).all()):
        raise ValueError(f"need forget factors in (0, 1], got some between {forget.min():g} and {forget.max():g}")
    if gate is not None and not bool((gate >= 0).all()):
        raise ValueError(f"need gates of at least 0, got {gate.min():g}; a negative one makes H_t indefinite")
    if steps < 0:
        raise ValueError(f"need a number of steps of at least 0, got {steps}")


class _Systems:
    """The systems of one block: H_t + Lambda for n chunks of N sequences, from the state at the start."""

    def __init__(self, block: Block, start: torch.Tensor, ridge: torch.Tensor) -> None:
        self.block, self.ridge, self.gated = block, ridge[:, None, None], block.gated_keys
        self.states = block.states(start)
        d = block.keys.shape[-1]
        self.H, self.G = self.states[:, :-1, :d], self.states[:, :-1, d:]

    def moments_times(self, vectors: torch.Tensor) -> torch.Tensor:
        """H_t p_t."""
        scores = self.block.decays.causal(vectors @ self.block.keys.mT)
        return scores @ self.gated + self._faded(vectors @ self.H)

    def product(self, vectors: torch.Tensor) -> torch.Tensor:
        """(H_t + Lambda) p_t."""
        return self.moments_times(vectors) + self.ridge * vectors

    def outputs(self, solved: torch.Tensor) -> torch.Tensor:
        """G_t x_t."""
        scores = self.block.decays.causal(solved @ self.gated.mT)
        return scores @ self.block.values + self._faded(solved @ self.G.mT)

    def transposed(self, gradients: torch.Tensor) -> torch.Tensor:
        """G_t^T g_t."""
        scores = self.block.decays.causal(gradients @ self.block.values.mT)
        return scores @ self.gated + self._faded(gradients @ self.G)

    def _faded(self, rows: torch.Tensor) -> torch.Tensor:
        return self.block.decays.faded(rows, self.block.decays.from_start)

    def solved(self, right: torch.Tensor, steps: int, residual: float) -> torch.Tensor:
        """x_t with (H_t + Lambda) x_t = right_t, nearly."""
        return conjugate_gradients(self.product, right, right / self.ridge, steps, residual)


class _Implicit(torch.autograd.Function):
    """Forward by conjugate gradients, backward by the implicit function."""

    @staticmethod
    def forward(
        ctx: Any,
        keys: torch.Tensor,
        values: torch.Tensor,
        queries: torch.Tensor,
        forget: torch.Tensor | None,
        gate: torch.Tensor | None,
        ridge: torch.Tensor,
        chunk: int,
        steps: int,
        residual: float,
    ) -> torch.Tensor:
        dtype = working_dtype(keys.dtype)
        whole = Sequences(
            keys, values, queries, forget, gate, keys.new_zeros(len(keys), *_state(keys, values), dtype=dtype)
        )
        solutions, outputs = torch.empty_like(queries, dtype=dtype), torch.empty_like(values)
        ctx.settings, ctx.starts = (dtype, chunk, steps, residual), []
        for rows in whole.row_blocks():
            part, state = whole.some(rows), whole.start[rows]
            room = part._replace(values=outputs[rows], queries=solutions[rows])
            at_once = part.steps_at_once(chunk)
            for first in range(0, keys.shape[1], at_once):
                ctx.starts.append(state)
                block = part.block(first, at_once, dtype, chunk)
                systems = _Systems(block, state, ridge[rows].to(dtype))
                x, state = systems.solved(block.queries, steps, residual), systems.states[:, -1]
                room.write(slice(first, first + at_once), None, systems.outputs(x), x, None, None)
        ctx.save_for_backward(*whole, ridge, solutions)
        return outputs

    @staticmethod
    def backward(ctx: Any, gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        check_first_order()
        *inputs, ridge, solutions = ctx.saved_tensors
        whole, starts = Sequences(*inputs), list(ctx.starts)
        found, of_ridge = whole.empty_like(), torch.zeros_like(ridge)
        for rows in reversed(list(whole.row_blocks())):
            # queries and values of `given` hold x and the gradient for o, which need the same chunks
            part, given = whole.some(rows), whole._replace(values=gradients, queries=solutions).some(rows)
            with as_given(gradients.device):
                of_ridge[rows] = _differentiate(part, given, ridge[rows], starts, found.some(rows), ctx.settings)
        return found.keys, found.values, found.queries, found.forget, found.gate, of_ridge, None, None, None


def _differentiate(
    part: Sequences,
    given: Sequences,
    ridge: torch.Tensor,
    starts: list[torch.Tensor],
    results: Sequences,
    settings: tuple[torch.dtype, int, int, float],
) -> torch.Tensor:
    """Write the gradients for some sequences and return that for Lambda; takes their blocks' states off `starts`."""
    dtype, C, steps, residual = settings
    end, of_ridge, at_once = torch.zeros_like(part.start), torch.zeros_like(ridge), part.steps_at_once(C)
    for first in reversed(range(0, part.keys.shape[1], at_once)):
        block, pulled = (one.block(first, at_once, dtype, C) for one in (part, given))
        systems = _Systems(block, starts.pop(), ridge.to(dtype))
        u, found = _block_gradients(systems, pulled.queries, pulled.values, end, steps, residual)
        end = found.start
        of_ridge -= (u * pulled.queries).sum((1, 2))
        results.write(slice(first, first + at_once), found.keys, found.values, u, found.forget, found.gate)
    return of_ridge


def _block_gradients(
    systems: _Systems, x: torch.Tensor, g: torch.Tensor, end: torch.Tensor, steps: int, residual: float
) -> tuple[torch.Tensor, StateGradients]:
    """u_t (N, n, C, d), which is the gradient for the queries, and the others."""
    u = systems.solved(systems.transposed(g), steps, residual)
    taken = (g * systems.outputs(x)).sum(-1) - (u * systems.moments_times(x)).sum(-1)
    return u, state_gradients(systems.block, systems.states, x, Pulls(-u, g), end, taken)


def _state(keys: torch.Tensor, values: torch.Tensor) -> tuple[int, int]:
    """(d + m, d)."""
    return keys.shape[-1] + values.shape[-1], keys.shape[-1]
