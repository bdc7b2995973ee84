r"""A decoder in the manner of GPT-2 for prompts of real numbers [garg2022can].

A prompt x_1, y_1, ..., x_N, y_N is a sequence of 2 N tokens in R^d; the token of y_i has y_i in its first coordinate.
`_read_in` maps tokens to width w; `_backbone` adds learned positions and passes through L blocks of causal softmax
attention and an MLP of width 4 w with the tanh form of GELU, normalised before each (GPT-2); `_read_out` reads the
prediction of y_i off the output at x_i.
Parameters carry the names and the layout of the published checkpoints: kernels in `h.*` are (inputs, outputs).
Main statement
    the prediction at position i does not depend on y_i, nor on anything later: one pass predicts at every prefix
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..training.random_streams import standard_normals, stream

Plain = Mapping[str, Any]
START_SCALE = 0.02  # GPT-2's standard deviation of kernels at the start; narrow models start better with 1/sqrt(width)


@dataclass(frozen=True)
class DecoderShape:
    """dimension d of inputs, positions: the largest number N of examples, width w, L layers, heads."""

    dimension: int
    positions: int
    width: int
    layers: int
    heads: int

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"need heads that divide the width, got {self.heads} heads and width {self.width}")

    @classmethod
    def from_plain(cls, plain: Plain) -> DecoderShape:
        """The shape that `plain` describes."""
        return cls(**plain)

    def plain(self) -> dict[str, int]:
        """Itself as plain data."""
        return asdict(self)


class Kernel(nn.Module):
    """x -> x W + b with W (inputs, outputs), as GPT-2 stores it."""

    def __init__(self, inputs: int, outputs: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(scale * standard_normals((inputs, outputs), generator, torch.float32))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight.mT, self.bias)


class Attention(nn.Module):
    """Causal softmax attention of all heads."""

    def __init__(self, shape: DecoderShape, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.heads, w = shape.heads, shape.width
        self.c_attn = Kernel(w, 3 * w, scale, generator)
        self.c_proj = Kernel(w, w, scale / math.sqrt(2 * shape.layers), generator)

    def forward(self, h: Tensor) -> Tensor:
        B, T, w = h.shape
        query, key, value = self.c_attn(h).view(B, T, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        out: Tensor = self.c_proj(mixed.transpose(1, 2).reshape(B, T, w))
        return out


class Perceptron(nn.Module):
    """Two kernels with the tanh form of GELU between them."""

    def __init__(self, shape: DecoderShape, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        w = shape.width
        self.c_fc = Kernel(w, 4 * w, scale, generator)
        self.c_proj = Kernel(4 * w, w, scale / math.sqrt(2 * shape.layers), generator)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.c_proj(functional.gelu(self.c_fc(h), approximate="tanh"))
        return out


class Block(nn.Module):
    """h + attention of the normalised h, then the same with the MLP."""

    def __init__(self, shape: DecoderShape, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(shape.width), Attention(shape, scale, generator)
        self.ln_2, self.mlp = nn.LayerNorm(shape.width), Perceptron(shape, scale, generator)

    def forward(self, h: Tensor) -> Tensor:
        h = h + self.attn(self.ln_1(h))
        out: Tensor = h + self.mlp(self.ln_2(h))
        return out


class Backbone(nn.Module):
    """Learned positions, the blocks, and a last normalisation."""

    def __init__(self, shape: DecoderShape, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.wpe = nn.Embedding(2 * shape.positions, shape.width)
        with torch.no_grad():
            positions = standard_normals((2 * shape.positions, shape.width), generator, torch.float32)
            self.wpe.weight.copy_(scale * positions)
        self.h = nn.ModuleList(Block(shape, scale, generator) for _ in range(shape.layers))
        self.ln_f = nn.LayerNorm(shape.width)

    def forward(self, h: Tensor) -> Tensor:
        h = h + self.wpe.weight[: h.shape[1]]
        for block in self.h:
            h = block(h)
        out: Tensor = self.ln_f(h)
        return out


class Decoder(nn.Module):
    """The whole model; a start is named by `key`, and is the same on every device."""

    def __init__(self, shape: DecoderShape, key: str = "decoder", scale: float = START_SCALE) -> None:
        super().__init__()
        self.shape = shape
        generator = stream(key + "/start")
        self._read_in = _linear(shape.dimension, shape.width, generator)
        self._backbone = Backbone(shape, scale, generator)
        self._read_out = _linear(shape.width, 1, generator)

    def forward(self, xs: Tensor, ys: Tensor) -> Tensor:
        """Predictions (B, N) of y_1 .. y_N, each from what stands before it; xs (B, N, d), ys (B, N)."""
        if xs.shape[1] > self.shape.positions:
            raise ValueError(f"need at most {self.shape.positions} examples, got {xs.shape[1]}")
        h = self._backbone(self._read_in(interleaved(xs, ys)))
        predictions: Tensor = self._read_out(h[:, ::2])[..., 0]
        return predictions


def interleaved(xs: Tensor, ys: Tensor) -> Tensor:
    """Tokens x_1, y_1, ..., x_N, y_N, (B, 2 N, d); y_i in the first coordinate."""
    B, N, d = xs.shape
    wide = functional.pad(ys[..., None], (0, d - 1))
    return torch.stack([xs, wide], 2).view(B, 2 * N, d)


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """torch's linear layer with its own law of the start, U(-1, 1)/sqrt(inputs), from our stream."""
    layer, bound = nn.Linear(inputs, outputs), 1 / math.sqrt(inputs)
    with torch.no_grad():
        for weights in (layer.weight, layer.bias):
            weights.copy_(bound * (2 * torch.rand(weights.shape, generator=generator) - 1))
    return layer


def parameter_count(model: nn.Module) -> int:
    """The number of trained numbers."""
    return sum(weights.numel() for weights in model.parameters())
