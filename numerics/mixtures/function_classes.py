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
    used = dimension if used is None else used
    check_class(kind, used)
    return _SAMPLERS[kind["kind"]](kind, count, dimension, generator, dtype, used)


def check_class(kind: Plain, dimension: int) -> None:
    """Refuse, in one sentence, plain data that is no class of functions of `dimension` coordinates."""
    if kind.get("kind") not in _NUMBERS:
        raise ValueError(f"need a class among {', '.join(sorted(_NUMBERS))}, got {kind.get('kind')!r}")
    needed = {"kind", *_NUMBERS[kind["kind"]]}
    if set(kind) != needed:
        raise ValueError(f"need a {kind['kind']} class with {', '.join(sorted(needed))}, got {', '.join(sorted(kind))}")
    for name, value in kind.items():
        if name in ("first", "second"):
            check_class(value, dimension)
        elif name != "kind":
            _check_number(kind, name, value, dimension)


def _check_number(kind: Plain, name: str, value: Any, dimension: int) -> None:
    lowest, highest = _RANGES.get(name, (0, math.inf))
    highest = dimension if name == "nonzeros" else highest
    lowest = kind["lowest"] if name == "highest" else lowest
    whole = name in ("nonzeros", "hidden")
    is_number = isinstance(value, int) or (isinstance(value, float) and not whole)
    if not (is_number and math.isfinite(value) and lowest <= value <= highest):
        sort = "a whole number" if whole else "a number"
        raise ValueError(f"need {sort} from {lowest} to {highest} for {name} of a {kind['kind']} class, got {value!r}")


def _dense(
    kind: Plain, count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype, used: int
) -> Functions:
    w = math.sqrt(kind["variance"]) * standard_normals((count, dimension), generator, dtype)
    return _linear(w)


def _sparse(
    kind: Plain, count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype, used: int
) -> Functions:
    k = kind["nonzeros"]
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
_NUMBERS: dict[str, tuple[str, ...]] = {
    "dense": ("variance",),
    "sparse": ("nonzeros", "variance"),
    "relu": ("hidden", "variance"),
    "sinusoid": ("lowest", "highest", "variance"),
    "combination": ("share", "first", "second"),
}
_RANGES: dict[str, tuple[float, float]] = {"nonzeros": (1, math.inf), "hidden": (1, math.inf), "share": (0, 1)}
