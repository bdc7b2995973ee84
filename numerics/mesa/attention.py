r"""Causal self-attention on a residual stream, and autoregressive models of a few such layers.

Convention. The stream is e (B, T, D), a token is a row. A layer with H heads, W_Q, W_K (H, key_size, D),
W_V (H, value_size, D) and P (H, D, value_size) adds

    "linear"    e_t <- e_t + c_t sum_h P_h sum_{t' <= t} (W_V e_t') (W_K e_t' . W_Q e_t)
    "softmax"   e_t <- e_t + sum_h P_h sum_{t' <= t} (W_V e_t') softmax_t'(W_K e_t' . W_Q e_t / sqrt(key_size))

    "mesa"      e_t <- e_t + sum_h P_h Phi_t (W_Q e_t), Phi_t = argmin of sum_{t' <= t} |W_V e_t' - Phi W_K e_t'|^2
                + |Phi|^2/lambda_h, with a learned lambda_h > 0 for each head (`chunkwise_layer`)

with t' = t among the keys. c_t = 1 ("none", as in [vonoswald2023uncovering]), 1/t ("position") or 1/T ("length").
No bias, no layer norm, no MLP. The linear layer reads its weights only through W_K^T W_Q and P W_V (`merged_weights`).

A model is: tokens, 1 to 6 layers, and as prediction of s_{t+1} the first n channels of the stream at t. With
constructed tokens these start at 0 (or Phi_0 s_t). Learned tokens are (E s_t, p_t) with a learned E (channels, n) and
fixed sines and cosines p_t, followed by a softmax layer of its own that can copy from t' = t - 1 to t, because a shift
by one turns every pair (sin, cos) by a fixed angle. A learned readout (n, D) takes the place of the first n channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ..mesa_layer.chunkwise_layer import outputs_by_chunks
from ..training.random_streams import standard_normals
from .tokens import delay_tokens

KINDS = ("linear", "softmax", "mesa")
NORMALISATIONS = ("none", "position", "length")
TOKENS = ("constructed", "learned")
READOUTS = ("first", "learned")
LONGEST_PERIOD = 1000.0  # of a positional encoding, in tokens


@dataclass(frozen=True)
class ModelShape:
    """What an autoregressive model is, apart from the values of its weights.

    size: n. layers: 1 to 6. kind, heads, normalisation: of each layer. key_size, value_size: 0 stands for D.
    tokens: "constructed" with the last `observations` observations (D = n + 2 observations n), or "learned" with
    `channels` for E s_t, `positions` (even) for p_t (D is their sum) and `copy_heads` in the softmax layer that
    builds them. readout: "first" or "learned". scale: standard deviation of a weight times the root of its fan-in.

    Raises ValueError where these name no model.
    """

    size: int
    layers: int = 1
    kind: str = "linear"
    heads: int = 1
    key_size: int = 0
    value_size: int = 0
    normalisation: str = "none"
    tokens: str = "constructed"
    observations: int = 1
    channels: int = 0
    positions: int = 0
    copy_heads: int = 0
    readout: str = "first"
    scale: float = 0.2

    def __post_init__(self) -> None:
        choices = {"kind": KINDS, "normalisation": NORMALISATIONS, "tokens": TOKENS, "readout": READOUTS}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"need {name} out of {allowed}, got {getattr(self, name)!r}")
        if self.size < 1 or not 1 <= self.layers <= 6 or self.heads < 1 or self.observations < 1 or self.scale <= 0:
            raise ValueError(
                "need size, heads, observations >= 1, 1 to 6 layers and scale > 0, got "
                f"{self.size}, {self.heads}, {self.observations}, {self.layers}, {self.scale}"
            )
        self._check_tokens()

    def _check_tokens(self) -> None:
        learned = (self.channels, self.positions, self.copy_heads)
        if self.tokens == "constructed" and any(learned):
            raise ValueError(f"need no channels, positions and copy_heads for constructed tokens, got {learned}")
        if self.tokens == "learned" and (self.channels < self.size or self.positions % 2 or min(learned) < 1):
            raise ValueError(
                f"need channels >= size = {self.size}, an even number of positions and copy_heads >= 1 for learned "
                f"tokens, got {learned}"
            )

    @property
    def width(self) -> int:
        """D, the channels of the residual stream."""
        if self.tokens == "learned":
            return self.channels + self.positions
        return self.size * (1 + 2 * self.observations)

    def to_plain(self) -> dict[str, Any]:
        """Numbers and strings that `from_plain` turns back into this shape."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ModelShape:
        """The shape with these parameters; unknown names are refused by name (TypeError)."""
        return cls(**plain)


class CausalAttention(nn.Module):
    """One layer of causal linear, softmax or mesa attention with its residual connection."""

    def __init__(
        self,
        width: int,
        *,
        kind: str = "linear",
        heads: int = 1,
        key_size: int = 0,
        value_size: int = 0,
        normalisation: str = "none",
        scale: float = 0.2,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.kind, self.normalisation = kind, normalisation
        key_size, value_size = key_size or width, value_size or width

        def drawn(*shape: int) -> nn.Parameter:
            draw = standard_normals(shape, generator, torch.float64) * (scale / math.sqrt(shape[-1]))
            return nn.Parameter(draw.to(dtype))

        self.W_Q, self.W_K = drawn(heads, key_size, width), drawn(heads, key_size, width)
        self.W_V, self.P = drawn(heads, value_size, width), drawn(heads, width, value_size)
        if kind == "mesa":
            self.log_regulariser = nn.Parameter(torch.zeros(heads, dtype=dtype))

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        """The stream after the layer, (B, T, D)."""
        read = stream.unsqueeze(1)  # (B, 1, T, D)
        values = read @ self.W_V.mT  # (B, H, T, value_size)
        outputs = self.least_squares(read, values) if self.kind == "mesa" else self.attention(stream) @ values
        written: torch.Tensor = (outputs @ self.P.mT).sum(1)
        return stream + written

    def least_squares(self, read: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Phi_t W_Q e_t of the mesa layer, (B, H, T, value_size)."""
        keys, queries = read @ self.W_K.mT, read @ self.W_Q.mT
        return outputs_by_chunks(keys, values, queries, self.log_regulariser.exp().expand(keys.shape[:2]))

    def attention(self, stream: torch.Tensor) -> torch.Tensor:
        """The weights (B, H, T, T) of t' (last axis) at t; 0 for t' > t. A mesa layer has none: see `least_squares`."""
        read = stream.unsqueeze(1)
        scores = (read @ self.W_Q.mT) @ (read @ self.W_K.mT).mT
        if self.kind == "linear":
            return scores.tril() * self.normaliser(stream)
        length = stream.shape[1]
        later = torch.ones(length, length, dtype=torch.bool, device=stream.device).triu(1)
        return torch.softmax((scores / math.sqrt(self.W_Q.shape[1])).masked_fill(later, -math.inf), -1)

    def normaliser(self, stream: torch.Tensor) -> torch.Tensor:
        """c_t as a column (T, 1), or (1, 1)."""
        length = stream.shape[1]
        if self.normalisation == "position":
            return 1 / torch.arange(1, length + 1, dtype=stream.dtype, device=stream.device).unsqueeze(-1)
        value = 1 / length if self.normalisation == "length" else 1.0
        return torch.full((1, 1), value, dtype=stream.dtype, device=stream.device)

    def merged_weights(self) -> tuple[torch.Tensor, torch.Tensor]:
        """W_KQ = W_K^T W_Q and W_PV = P W_V of each head, (H, D, D) both: W_K e' . W_Q e = e'^T W_KQ e."""
        return self.W_K.mT @ self.W_Q, self.P @ self.W_V


class AutoregressiveModel(nn.Module):
    """Predicts s_{t+1} from s_1 .. s_t at every t.

    >>> shape = ModelShape(size=2, layers=3)
    >>> model = AutoregressiveModel(shape, torch.Generator().manual_seed(0))
    >>> model(torch.ones(5, 4, 2)).shape, len(model.streams(torch.ones(5, 4, 2)))
    (torch.Size([5, 4, 2]), 4)
    """

    def __init__(self, shape: ModelShape, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = self.readout = self.copying = None
        if shape.tokens == "learned":
            self.embedding = _drawn((shape.channels, shape.size), generator, dtype)
            self.copying = CausalAttention(
                shape.width, kind="softmax", heads=shape.copy_heads, scale=1.0, generator=generator, dtype=dtype
            )
        self.layers = nn.ModuleList(self._layer(generator, dtype) for _ in range(shape.layers))
        if shape.readout == "learned":
            self.readout = _drawn((shape.size, shape.width), generator, dtype)

    def _layer(self, generator: torch.Generator, dtype: torch.dtype) -> CausalAttention:
        shape = self.shape
        return CausalAttention(
            shape.width,
            kind=shape.kind,
            heads=shape.heads,
            key_size=shape.key_size,
            value_size=shape.value_size,
            normalisation=shape.normalisation,
            scale=shape.scale,
            generator=generator,
            dtype=dtype,
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Predictions (B, T, n) of s_{t+1} at t, from states (B, T, n)."""
        return self.prediction(self.streams(states)[-1])

    def streams(self, states: torch.Tensor) -> list[torch.Tensor]:
        """The residual stream (B, T, D) before the first layer and after every layer: layers + 1 arrays."""
        return self.streams_from_tokens(self.tokens(states))

    def tokens(self, states: torch.Tensor) -> torch.Tensor:
        """The stream before the first layer; learned tokens are those after the copying layer."""
        if self.embedding is None or self.copying is None:
            return delay_tokens(states, self.shape.observations)
        batch, length, _ = states.shape
        places = positional_encodings(length, self.shape.positions).to(states).expand(batch, -1, -1)
        built: torch.Tensor = self.copying(torch.cat([states @ self.embedding.mT, places], -1))
        return built

    def streams_from_tokens(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """As `streams`, from tokens (B, T, D) of any origin."""
        found = [tokens]
        for layer in self.layers:
            found.append(layer(found[-1]))
        return found

    def prediction(self, stream: torch.Tensor) -> torch.Tensor:
        """What is read from the last stream: its first n channels, or the learned readout."""
        return stream[..., : self.shape.size] if self.readout is None else stream @ self.readout.mT

    @property
    def parameter_count(self) -> int:
        """The number of trained numbers."""
        return sum(weight.numel() for weight in self.parameters())


def _drawn(shape: tuple[int, int], generator: torch.Generator, dtype: torch.dtype) -> nn.Parameter:
    draw = standard_normals(shape, generator, torch.float64) / math.sqrt(shape[-1])
    return nn.Parameter(draw.to(dtype))


def positional_encodings(length: int, channels: int) -> torch.Tensor:
    """p (length, channels): sin and cos of 2 pi t / period, periods from 4 tokens to LONGEST_PERIOD, geometric."""
    pairs = channels // 2
    shares = torch.arange(pairs, dtype=torch.float64) / max(pairs - 1, 1)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * (2 * math.pi / 4) * (4 / LONGEST_PERIOD) ** shares
    return torch.cat([angles.sin(), angles.cos()], -1)
