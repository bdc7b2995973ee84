r"""A model that is asked for whole prompts: a function, or a torch module in one of three shapes.

A prompt is N examples (x_i, y_i) and a query x_q. What is asked, by what the model is:
    function      f(xs (N, d), ys (N,), x_query (d,)) -> number, or one number for each layer; with `f.batched = True`
                  for B prompts at once, (B, N, d), (B, N), (B, d) -> (B,) or (B, layers)
    module, 3     the same for B prompts, as tensors
    module, 2     the published decoders' way: (xs (B, N+1, d), ys (B, N+1)) with the query last and its label 0
                  -> (B, N+1), of which the last counts
    module, 1     the prompt matrix: E (B, d+1, N+1), or (B, N+1, d+1) for tokens as rows; -> (B,), or hidden states of
                  the shape of E, whose entry at the query's label counts, with the sign of the convention; or a list of
                  either, one for each layer
Main statements
    answers are (B, layers) in float64, the model's answer proper last; wrong shapes and NaN are refused in a sentence
    the unit roundoff of the arithmetic is read off the type of the numbers that come back
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..users_models.conventions import OURS, Convention
from ..users_models.functions import LARGEST, UsersCodeError, in_one_line

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float64]
CHUNK = 4096  # prompts asked at once


@dataclass(frozen=True)
class Answers:
    """values (B, layers), and the unit roundoff of the numbers as they came: 2^-53 for float64, 2^-24 for float32."""

    values: Array
    unit: float

    @property
    def last(self) -> Array:
        """(B,), the model's answer."""
        return self.values[:, -1]


Raw = Callable[[Array, Array, Array], tuple[Array, float]]


@dataclass(frozen=True)
class AskedModel:
    """A model by its name in messages, and the way it is asked."""

    name: str
    ask: Raw

    def __call__(self, xs: Array, ys: Array, x_query: Array) -> Answers:
        """Answers on prompts xs (B, N, d), ys (B, N), x_query (B, d). Raises UsersCodeError."""
        parts = [
            self.ask(xs[i : i + CHUNK].copy(), ys[i : i + CHUNK].copy(), x_query[i : i + CHUNK].copy())
            for i in range(0, len(xs), CHUNK)
        ]
        return Answers(np.concatenate([values for values, _ in parts]), max(unit for _, unit in parts))


def asked(model: Callable[..., Any], name: str, convention: Convention = OURS) -> AskedModel:
    """The model as it can be asked. Raises UsersCodeError."""
    if isinstance(model, type):
        raise UsersCodeError(
            f"need a function or a module, {name} is a class; make one and name that: model = {name}()"
        )
    if hasattr(model, "state_dict") and hasattr(model, "forward"):
        return _of_module(model, name, convention)
    if getattr(model, "batched", False) is True:
        return AskedModel(name, lambda xs, ys, query: _checked(_numbers(model, name, xs, ys, query), len(xs), name))
    return AskedModel(name, lambda xs, ys, query: _one_by_one(model, name, xs, ys, query))


def _one_by_one(function: Callable[..., Any], name: str, xs: Array, ys: Array, queries: Array) -> tuple[Array, float]:
    found = [_numbers(function, name, *prompt) for prompt in zip(xs, ys, queries, strict=True)]
    sizes = {values.size for values, _ in found}
    if len(sizes) != 1 or (found[0][0].ndim > 1 and found[0][0].size > 1):
        shapes = sorted({values.shape for values, _ in found})
        raise UsersCodeError(f"need one number, or one for each layer, from {name}, got the shapes {shapes[:3]}")
    values = np.stack([values.reshape(-1) for values, _ in found])
    return _checked((values, max(unit for _, unit in found)), len(xs), name)


def _numbers(function: Callable[..., Any], name: str, *arrays: Any) -> tuple[Array, float]:
    """A function's answer in float64, with the unit roundoff of what it gave."""
    try:
        found = function(*arrays)
        unit = unit_of(found)
        if hasattr(found, "detach") and not found.is_complex():
            found = found.detach().cpu().double()  # NumPy has no bfloat16
        found = np.asarray(found)
        if np.iscomplexobj(found):
            raise TypeError(f"need real numbers, got {found.dtype}")
        return found.astype(np.float64), unit
    except (Exception, SystemExit) as error:
        shapes = ", ".join(str(tuple(array.shape)) for array in arrays)
        raise UsersCodeError(f"{name} fails on arguments of the shapes {shapes}: {in_one_line(error)}") from error


def unit_of(found: Any) -> float:
    """The unit roundoff of a number, array or tensor; that of float64 for Python's own.

    >>> unit_of(np.float32(1)) == 2.0**-24, unit_of(1.0) == 2.0**-53
    (True, True)
    """
    kind = str(getattr(found, "dtype", "float64")).rpartition(".")[2]
    return {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}.get(kind, 2.0**-53)


def _checked(found: tuple[Array, float], count: int, name: str) -> tuple[Array, float]:
    values, unit = found
    if values.shape == (count,):
        values = values[:, None]
    if values.ndim != 2 or len(values) != count or not values.shape[1]:
        raise UsersCodeError(
            f"need ({count},) predictions from {name}, or ({count}, layers), got the shape {found[0].shape}"
        )
    usable = (np.isfinite(values) & (np.abs(values) <= LARGEST)).all(1)
    if not usable.all():
        came = "NaN or infinity" if not np.isfinite(values).all() else f"{np.abs(values).max():.3g}"
        bad = int(np.count_nonzero(~usable))
        raise UsersCodeError(
            f"need finite predictions from {name}, of at most {LARGEST:.0e} in size, got {came} in {bad} of {count} "
            "prompts"
        )
    return values, unit


def _of_module(module: Any, name: str, convention: Convention) -> AskedModel:
    """A torch module in evaluation mode, asked in its own precision and without gradients."""
    import torch

    module.eval()
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    count = _arguments(module.forward, name)

    def ask(xs: Array, ys: Array, queries: Array) -> tuple[Array, float]:
        tensors = [torch.from_numpy(array).to(like) for array in (xs, ys, queries)]
        inputs = _INPUTS[count](*tensors, convention)
        try:
            with torch.no_grad():
                found = module(*inputs)
        except (Exception, SystemExit) as error:
            shapes = ", ".join(str(tuple(one.shape)) for one in inputs)
            raise UsersCodeError(f"{name} fails on tensors of the shapes {shapes}: {in_one_line(error)}") from error
        layers = list(found) if isinstance(found, list | tuple) else [found]
        read = [_predictions(layer, inputs, count, convention, name) for layer in layers]
        if not read:
            raise UsersCodeError(f"need a tensor of predictions from {name}, got an empty list")
        values = torch.cat(read, 1).double().cpu().numpy()
        return _checked((values, max(unit_of(layer) for layer in layers)), len(xs), name)

    return AskedModel(name, ask)


def _arguments(forward: Callable[..., Any], name: str) -> int:
    """How many arguments a module needs: those without a default."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(forward).parameters.values()
    count = sum(one.kind in kinds and one.default is one.empty for one in parameters)
    if count not in _INPUTS:
        raise UsersCodeError(
            f"need a module that takes E, (xs, ys) or (xs, ys, x_query), {name} takes {count} arguments; "
            "wrap it in a function (xs, ys, x_query) -> prediction"
        )
    return count


def _prompt_matrix(
    xs: torch.Tensor, ys: torch.Tensor, query: torch.Tensor, convention: Convention
) -> tuple[torch.Tensor, ...]:
    points, labels = _with_query(xs, ys, query, convention)
    rows = _torch().cat([points, labels[..., None]], 2)  # (B, N + 1, d + 1)
    return (rows if convention.tokens == "rows" else rows.mT.contiguous(),)


def _with_query(
    xs: torch.Tensor, ys: torch.Tensor, query: torch.Tensor, convention: Convention
) -> tuple[torch.Tensor, ...]:
    del convention
    torch = _torch()
    return torch.cat([xs, query[:, None]], 1), torch.cat([ys, torch.zeros_like(ys[:, :1])], 1)


def _three(xs: torch.Tensor, ys: torch.Tensor, query: torch.Tensor, convention: Convention) -> tuple[torch.Tensor, ...]:
    del convention
    return xs, ys, query


def _torch() -> Any:
    import torch

    return torch


_INPUTS: dict[int, Callable[..., tuple[torch.Tensor, ...]]] = {1: _prompt_matrix, 2: _with_query, 3: _three}


def _predictions(
    found: Any, inputs: Sequence[torch.Tensor], count: int, convention: Convention, name: str
) -> torch.Tensor:
    """(B, layers) from what one layer of a module gives."""
    if not hasattr(found, "detach") or found.is_complex():
        kind = f"a {found.dtype} one" if hasattr(found, "dtype") else f"the type {type(found).__name__}"
        raise UsersCodeError(f"need a tensor of real predictions from {name}, got {kind}")
    B = len(inputs[0])
    if count == 1 and found.shape == inputs[0].shape:
        entry: torch.Tensor = convention.sign * found[:, -1, -1]
        return entry[:, None]
    if count == 2 and found.shape == inputs[1].shape:
        last: torch.Tensor = found[:, -1:]
        return last
    if count != 2 and found.numel() == B:
        alone: torch.Tensor = found.reshape(B, 1)
        return alone
    if count == 3 and found.ndim == 2 and len(found) == B:
        several: torch.Tensor = found
        return several
    needed = {1: "(B,) or the shape of E", 2: "(B, N + 1)", 3: "(B,) or (B, layers)"}[count]
    raise UsersCodeError(f"need predictions of the shape {needed} from {name} for B = {B}, got {tuple(found.shape)}")
