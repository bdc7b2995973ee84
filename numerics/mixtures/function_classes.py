r"""Classes of functions from R^d to R, and random functions of each.

A class draws B functions at once; a function is then asked for its values at N points. As plain data
    {"kind": "dense", "variance": v}                    f(x) = w . x, w ~ N(0, v I)
    {"kind": "sparse", "nonzeros": k, "variance": v}    the same on k of the d coordinates, drawn uniformly
    {"kind": "relu", "hidden": r, "variance": v}        f(x) = sqrt(2 v/r) sum_j a_j max(0, u_j . x), all N(0, 1)
    {"kind": "sinusoid", "lowest": l, "highest": h, "variance": v}
                                                        f(x) = a sin(omega x_1 + phi), a ~ N(0, v),
                                                        omega ~ U(l, h), phi ~ U(0, 2 pi)
    {"kind": "combination", "share": c, "first": ..., "second": ...}
                                                        f = c f_1 + (1 - c) f_2, drawn independently
The first three are those of Garg et al. [garg2022can], with the scale sqrt(2/r) of their networks; the last two are
in the manner of Yadlowsky et al. [yadlowsky2023pretraining], whose constants are not printed in full.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..training.random_streams import standard_normals

Plain = Mapping[str, Any]
Functions = Callable[[Tensor], Tensor]  # xs (B, N, d) -> values (B, N)


def sampled_functions(
    kind: Plain, count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype, used: int | None = None
) -> Functions:
    """`count` functions of one class; of a sparse one, supports lie in the first `used` coordinates."""
    if kind["kind"] not in _SAMPLERS:
        raise ValueError(f"need a class among {', '.join(sorted(_SAMPLERS))}, got {kind['kind']!r}")
    return _SAMPLERS[kind["kind"]](kind, count, dimension, generator, dtype, used or dimension)


def _dense(
    kind: Plain, count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype, used: int
) -> Functions:
    w = math.sqrt(kind["variance"]) * standard_normals((count, dimension), generator, dtype)
    return _linear(w)


def _sparse(
    kind: Plain, count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype, used: int
) -> Functions:
    k = kind["nonzeros"]
    if not 0 < k <= used:
        raise ValueError(f"need 1 to {used} nonzero coefficients in {used} coordinates, got {k}")
    w = math.sqrt(kind["variance"]) * standard_normals((count, dimension), generator, dtype)
    rank = torch.rand(count, used, generator=generator, device=generator.device).argsort(-1).argsort(-1)
    kept = torch.zeros(count, dimension, dtype=torch.bool, device=generator.device)
    kept[:, :used] = rank < k
    return _linear(w * kept)


def _linear(w: Tensor) -> Functions:
    return lambda xs: (xs @ w[:, :, None])[..., 0]


def _relu(
    kind: Plain, count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype, used: int
) -> Functions:
    r = kind["hidden"]
    inner = standard_normals((count, dimension, r), generator, dtype)
    outer = math.sqrt(2 * kind["variance"] / r) * standard_normals((count, r, 1), generator, dtype)
    return lambda xs: ((xs @ inner).relu() @ outer)[..., 0]


def _sinusoid(
    kind: Plain, count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype, used: int
) -> Functions:
    amplitude = math.sqrt(kind["variance"]) * standard_normals((count, 1), generator, dtype)
    uniform = torch.rand(2, count, 1, generator=generator, dtype=dtype, device=generator.device)
    frequency = kind["lowest"] + (kind["highest"] - kind["lowest"]) * uniform[0]
    phase = 2 * math.pi * uniform[1]
    return lambda xs: amplitude * torch.sin(frequency * xs[..., 0] + phase)


def _combination(
    kind: Plain, count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype, used: int
) -> Functions:
    first, second = (
        sampled_functions(kind[name], count, dimension, generator, dtype, used) for name in ("first", "second")
    )
    share = kind["share"]
    return lambda xs: share * first(xs) + (1 - share) * second(xs)


_SAMPLERS: dict[str, Callable[[Plain, int, int, torch.Generator, torch.dtype, int], Functions]] = {
    "dense": _dense,
    "sparse": _sparse,
    "relu": _relu,
    "sinusoid": _sinusoid,
    "combination": _combination,
}
