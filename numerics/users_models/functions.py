r"""Predictors that users bring as code: functions of a prompt, and torch modules.

Main statements
    of_function   a function (xs (n, d), ys (n,), x_query (d,)) -> number, asked at every prefix of every prompt, n = 0
                  included; with `function.batched = True` it is asked for B prompts of one length at once,
                  (xs (B, n, d), ys (B, n), x_query (B, d)) -> (B,)
    of_module     a torch module (xs (B, N, d), ys (B, N)) -> (B, N), in its own precision, as the published code's
                  models are; that it looks at nothing after x_i is on its word
Both give `Predict`: all prefixes of a batch of prompts at once, as `decoders.evaluations` wants it.
A function gets copies in float64, so what it does to its arguments changes nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Array = NDArray[np.float64]
LARGEST = 1e60  # of a prediction in size: fourth powers of errors are added up, and have to be finite


class UsersCodeError(ValueError):
    """Code of the user's own that cannot be used: not found, raising an error, or giving no finite number."""


def loaded(reference: str) -> Any:
    """What `package.module:name` or `file.py:name` names; its module is imported, and so runs.

    A module is looked for in the working directory first, as Python does for a script. Raises UsersCodeError.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name.isidentifier():
        raise UsersCodeError(f"need package.module:function or file.py:function, got {reference!r}")
    module = _module(place, reference)
    if not hasattr(module, name):
        there = ", ".join(sorted(one for one in vars(module) if not one.startswith("_"))[:12])
        raise UsersCodeError(f"{place} has no {name}; it has {there or 'no public names'}")
    found = getattr(module, name)
    if not callable(found):
        raise UsersCodeError(f"need a function, {reference} is of the type {type(found).__name__}")
    return found


def _module(place: str, reference: str) -> ModuleType:
    folder, path = Path(), Path(place)
    if place.endswith(".py"):
        if not path.is_file():
            raise UsersCodeError(f"need a file of Python for {reference}, there is no file {place}")
        folder = path.parent
    if (entry := str(folder.resolve())) not in sys.path:
        sys.path.insert(0, entry)
    try:
        return _run(path) if place.endswith(".py") else importlib.import_module(place)
    except (Exception, SystemExit) as error:
        raise UsersCodeError(f"{place} cannot be imported: {in_one_line(error)}") from error


def _run(path: Path) -> ModuleType:
    """The module of a file, under a name that hides no other."""
    name = f"_iclcheck_users_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no loader for {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up
    spec.loader.exec_module(module)
    return module


def predictor(found: Callable[..., Any], name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """`of_module` for a torch module, `of_function` for any other callable; name: what messages call it."""
    import torch

    return of_module(found, name) if isinstance(found, torch.nn.Module) else of_function(found, name)


def of_function(function: Callable[..., Any], name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Predictions (B, N) of a function at every prefix. They raise UsersCodeError."""
    import torch

    answer = _answers_of_batch if getattr(function, "batched", False) is True else _answers_one_by_one

    def predict(xs: Tensor, ys: Tensor) -> Tensor:
        x, y = xs.double().cpu().numpy(), ys.double().cpu().numpy()
        answers = [answer(function, name, x[:, :n], y[:, :n], x[:, n]) for n in range(x.shape[1])]
        return torch.from_numpy(np.stack(answers, axis=1))

    return predict


def _answers_of_batch(function: Callable[..., Any], name: str, xs: Array, ys: Array, x_query: Array) -> Array:
    where = f"{xs.shape[1]} examples in {xs.shape[0]} prompts"
    found = _called(function, name, where, xs, ys, x_query)
    if found.shape != (len(xs),):
        raise UsersCodeError(f"need one number for each of {len(xs)} prompts from {name}, got the shape {found.shape}")
    return _finite(found, name, where)


def _answers_one_by_one(function: Callable[..., Any], name: str, xs: Array, ys: Array, x_query: Array) -> Array:
    where = f"{xs.shape[1]} examples"
    answers = np.empty(len(xs))
    for i in range(len(xs)):
        found = _called(function, name, where, xs[i], ys[i], x_query[i])
        if found.size != 1:
            raise UsersCodeError(f"need one number from {name}, got the shape {found.shape} after {where}")
        answers[i] = found.reshape(())
    return _finite(answers, name, where)


def _called(function: Callable[..., Any], name: str, where: str, *arrays: Array) -> Array:
    """The function's answer as numbers in float64."""
    try:
        found = function(*(array.copy() for array in arrays))
        if hasattr(found, "detach"):  # a tensor, perhaps with a gradient
            found = found.detach().cpu()
        found = np.asarray(found)
        if np.iscomplexobj(found):
            raise TypeError(f"need real numbers, got {found.dtype}")
        return found.astype(np.float64)
    except (Exception, SystemExit) as error:
        raise UsersCodeError(f"{name} fails after {where}: {in_one_line(error)}") from error


def _finite(answers: Array, name: str, where: str) -> Array:
    bad = answers[~(np.isfinite(answers) & (abs(answers) <= LARGEST))]
    if len(bad):
        raise UsersCodeError(
            f"need {_bounded(bad[0])} from {name}, got {bad[0]} in {len(bad)} of {len(answers)} prompts after {where}"
        )
    return answers


def _bounded(answer: float) -> str:
    """What an answer that is not finite, or too large, should be."""
    return f"predictions of at most {LARGEST:.0e} in size" if np.isfinite(answer) else "finite predictions"


def in_one_line(error: BaseException) -> str:
    """An error in one line, with the place in the user's code where it came from."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    users = [frame for frame in frames if "importlib" not in frame.filename]
    return f"{text} ({Path(users[-1].filename).name}, line {users[-1].lineno})" if users else text


def of_module(module: torch.nn.Module, name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Predictions (B, N) of a torch module at every prefix, in evaluation mode. They raise UsersCodeError."""
    import torch

    module.eval()
    like = next((one for one in module.parameters() if one.is_floating_point()), torch.zeros(()))

    def predict(xs: Tensor, ys: Tensor) -> Tensor:
        try:
            found = module(xs.to(like), ys.to(like))
        except (Exception, SystemExit) as error:
            raise UsersCodeError(f"{name} fails on xs {tuple(xs.shape)}: {in_one_line(error)}") from error
        if not isinstance(found, torch.Tensor) or found.shape != ys.shape:
            came = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise UsersCodeError(f"need predictions of the shape {tuple(ys.shape)} from {name}, got {came}")
        if found.is_complex():
            raise UsersCodeError(f"need real predictions from {name}, got {str(found.dtype).removeprefix('torch.')}")
        found = found.to(xs)
        bad = found[~(found.abs() <= LARGEST)]  # NaN is not either
        if len(bad):
            raise UsersCodeError(f"need {_bounded(float(bad[0]))} from {name}, got {bad[0]:g}")
        return found

    return predict
