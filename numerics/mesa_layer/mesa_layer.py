r"""The mesa layer as a module: heads that each solve least squares over all tokens so far [vonoswald2023uncovering].

Head h reads keys k_t = W_K e_t, values v_t = W_V e_t and queries q_t = W_Q e_t from the stream, and adds P_h Phi_t q_t:

    "chunkwise", "direct", "recursion"    Phi_t of `least_squares_layer`: the regulariser fades with the past
    "conjugate-gradients"                 G_t (H_t + I / lambda_h)^{-1}, where it stays [vonoswald2025mesanet]

The first three are one function of the weights; without forget gates all four are. Take "chunkwise" to train, and
"conjugate-gradients" for memories so short that H_t alone would be singular; the other two are there to compare with.

Main statements
    MesaLayer               the module; whole sequences at once
    MesaLayer.step          one token at a time, with a state of fixed size
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from ..mesa.attention import CausalAttention
from .chunkwise_layer import condition_bounds, initial_states, outputs_by_chunks
from .conjugate_gradients import outputs_by_conjugate_gradients
from .least_squares_layer import outputs_by_direct_solve, outputs_by_recursion
from .sequence_blocks import Sequences, default_chunk

FORMS = ("chunkwise", "recursion", "direct", "conjugate-gradients")
FIRST_FORGET = 4.0  # the gates' bias at the start: factors of 0.982, a memory of 55 tokens


class MesaState(NamedTuple):
    """What a layer remembers of the tokens so far: H (B, heads, d, d) and G (B, heads, m, d), in float64."""

    H: torch.Tensor
    G: torch.Tensor


class HeadInputs(NamedTuple):
    """keys, queries (B, heads, T, d), values (B, heads, T, m), forget, gate (B, heads, T) or None."""

    keys: torch.Tensor
    values: torch.Tensor
    queries: torch.Tensor
    forget: torch.Tensor | None
    gate: torch.Tensor | None


class MesaLayer(CausalAttention):
    """Least squares in context, causal, with residual connection: (B, T, width) to (B, T, width).

    width: D. heads, key_size d, value_size m: of each head; sizes of 0 stand for D. forget_gates: learned factors
    f_t = sigmoid(W_f e_t + b_f), else 1. input_gates: b_t = sigmoid(W_b e_t + b_b), for "conjugate-gradients" alone.
    normalised: keys and queries of length 1. form: one of FORMS; an attribute that may be changed later. steps: of
    conjugate gradients. tolerance: relative rounding error of "chunkwise", see `outputs_by_chunks`. generator: for the
    weights' start, torch's default if None; scale: their standard deviation times the root of their fan-in.
    lambda_h > 0 is learned as its logarithm, from 1. The part that the layer adds is `layer(stream) - stream`.

    Raises ValueError where these name no layer, and as the forms do.

    >>> layer = MesaLayer(8, heads=2, key_size=4, value_size=4, forget_gates=True)
    >>> layer(torch.ones(3, 10, 8)).shape
    torch.Size([3, 10, 8])
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int = 1,
        key_size: int = 0,
        value_size: int = 0,
        form: str = "chunkwise",
        forget_gates: bool = False,
        input_gates: bool = False,
        normalised: bool = False,
        steps: int = 30,
        tolerance: float = 1e-3,
        scale: float = 0.2,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        _check_sizes({"width": width, "heads": heads}, 1)
        _check_sizes({"key_size": key_size, "value_size": value_size, "steps": steps}, 0)
        if form not in FORMS:
            raise ValueError(f"need form out of {FORMS}, got {form!r}")
        if not (tolerance > 0 and scale > 0) or not dtype.is_floating_point:
            raise ValueError(f"need tolerance and scale > 0 and a real dtype, got {tolerance}, {scale} and {dtype}")
        if input_gates and form != "conjugate-gradients":
            raise ValueError(f'need form "conjugate-gradients" for input gates, got {form!r}')
        super().__init__(
            width,
            kind="mesa",
            heads=heads,
            key_size=key_size,
            value_size=value_size,
            scale=scale,
            generator=generator or torch.default_generator,
            dtype=dtype,
        )
        self.form, self.normalised, self.steps, self.tolerance = form, normalised, steps, tolerance
        self.forget_gate = _gates(width, heads, FIRST_FORGET, dtype) if forget_gates else None
        self.input_gate = _gates(width, heads, 0.0, dtype) if input_gates else None

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        """The stream after the layer, (B, T, D). Raises ValueError for another shape or dtype."""
        self._check_stream(stream)
        return super().forward(stream)

    def least_squares(self, read: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Phi_t q_t (B, heads, T, m) from the stream (B, 1, T, D) and the values."""
        keys, values, queries, forget, gate = self._inputs(read, values)
        regulariser = self.log_regulariser.exp().expand(keys.shape[:2])
        if self.form == "conjugate-gradients":
            ridge = (1 / regulariser)[..., None].expand(*keys.shape[:2], keys.shape[-1])
            return outputs_by_conjugate_gradients(keys, values, queries, ridge, forget, gate, steps=self.steps)
        if self.form == "chunkwise":
            return outputs_by_chunks(keys, values, queries, regulariser, forget, tolerance=self.tolerance)
        plain = outputs_by_direct_solve if self.form == "direct" else outputs_by_recursion
        return plain(keys, values, queries, regulariser, forget)

    def condition_bounds(self, stream: torch.Tensor) -> torch.Tensor:
        """An upper bound (B, heads) on the condition number of H_t while the stream (B, T, D) is read."""
        self._check_stream(stream)
        inputs = self._inputs(stream.unsqueeze(1), stream.unsqueeze(1) @ self.W_V.mT)
        regulariser = self.log_regulariser.exp().expand(inputs.keys.shape[:2])
        return condition_bounds(inputs.keys.detach(), regulariser.detach(), inputs.forget)

    @torch.no_grad()
    def initial_state(self, batch: int) -> MesaState:
        """The state before the first token of B sequences."""
        d, m = self.W_K.shape[1], self.W_V.shape[1]
        empty = self.W_K.new_empty(batch, len(self.W_K), 1, d, dtype=torch.float64)
        fading = initial_states(empty, m, self.log_regulariser.double().exp()).view(batch, -1, d + m, d)
        start = torch.zeros_like(fading) if self.form == "conjugate-gradients" else fading
        return MesaState(start[..., :d, :], start[..., d:, :])

    @torch.no_grad()
    def state_after(self, stream: torch.Tensor, state: MesaState | None = None) -> MesaState:
        """The state after the tokens of a stream (B, T, D), from a state before them; sums in float64."""
        self._check_stream(stream)
        B, T, _ = stream.shape
        read = stream.unsqueeze(1)
        keys, values, _, forget, gate = self._inputs(read, read @ self.W_V.mT)
        heads, d = keys.shape[1], keys.shape[-1]
        start = torch.cat(state or self.initial_state(B), -2).flatten(0, 1)
        factors, gates = (None if one is None else one.flatten(0, 1) for one in (forget, gate))
        keys, values = keys.flatten(0, 1), values.flatten(0, 1)
        whole, C = Sequences(keys, values, keys, factors, gates, start), default_chunk(d, T)
        steps = whole.steps_at_once(C)
        for first in range(0, T, steps):
            start = whole.block(first, steps, torch.float64, C).states(start)[:, -1]
        start = start.view(B, heads, -1, d)
        return MesaState(start[..., :d, :], start[..., d:, :])

    @torch.no_grad()
    def step(self, token: torch.Tensor, state: MesaState) -> tuple[torch.Tensor, MesaState]:
        """The stream after the layer at one token (B, D), and the state after it: d^3/3 operations, solved in float64.

        >>> layer, stream = MesaLayer(4), torch.randn(2, 5, 4)
        >>> state = layer.state_after(stream[:, :4])
        >>> torch.allclose(layer.step(stream[:, 4], state)[0], layer(stream)[:, 4], atol=1e-5)
        True
        """
        state = self.state_after(token.unsqueeze(1), state)
        read = token[:, None, None]
        queries = self._inputs(read, read @ self.W_V.mT).queries.double()
        A = state.H
        if self.form == "conjugate-gradients":
            A = A + torch.diag_embed((-self.log_regulariser.double()).exp()[:, None].expand(A.shape[1:-1]))
        solved = torch.linalg.solve(A, queries.mT)  # (B, heads, d, 1)
        written = (self.P @ (state.G @ solved).to(token.dtype)).sum(1).squeeze(-1)
        return token + written, state

    def _check_stream(self, stream: torch.Tensor) -> None:
        """Raises ValueError unless it is (B, T, width) in the dtype of the weights."""
        width, dtype = self.W_K.shape[-1], self.W_K.dtype
        if stream.ndim != 3 or stream.shape[-1] != width or stream.dtype != dtype:
            raise ValueError(
                f"need a stream (B, T, {width}) in {dtype}, got {tuple(stream.shape)} in {stream.dtype}; "
                "add or move axes, or convert it or the layer with .to"
            )

    def _inputs(self, read: torch.Tensor, values: torch.Tensor) -> HeadInputs:
        keys, queries = read @ self.W_K.mT, read @ self.W_Q.mT
        if self.normalised:
            keys, queries = functional.normalize(keys, dim=-1), functional.normalize(queries, dim=-1)
        forget, gate = (
            None if gates is None else torch.sigmoid(gates(read.squeeze(1))).mT
            for gates in (self.forget_gate, self.input_gate)
        )
        return HeadInputs(keys, values, queries, forget, gate)


def _check_sizes(sizes: dict[str, int], least: int) -> None:
    """Raises ValueError unless all are whole numbers from `least` on."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < least:
            raise ValueError(f"need {name} as a whole number of at least {least}, got {size!r}")


def _gates(width: int, heads: int, bias: float, dtype: torch.dtype) -> nn.Linear:
    """A gate for each head, the same for every token at the start."""
    gates = nn.Linear(width, heads, dtype=dtype)
    nn.init.zeros_(gates.weight)
    nn.init.constant_(gates.bias, bias)
    return gates
