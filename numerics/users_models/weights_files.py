r"""Weights that users bring, read without trusting the file.

Main statements
    nothing in a file is ever executed, and nothing is unpacked or allocated on its word alone
    torch is not imported: a torch archive is judged harmless, then its pickle is read as data (`torch_state_dicts`)
    what comes back is finite, real and in float64
Formats
    safetensors; NumPy's npz, without pickle; torch.save of a state_dict
"""

import math
import stat
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import npz_files, safetensors_files, torch_archives, torch_state_dicts
from .file_formats import format_of
from .weights_errors import WeightsFileError

__all__ = ["WeightsFileError", "read_weights"]

Array = NDArray[np.float64]
Floats = TypeVar("Floats", NDArray[np.float64], NDArray[np.float32])
_OWN_NAMES = MappingProxyType({"W_PV": "W_PV", "W_KQ": "W_KQ"})
_MOST_NAMES_SHOWN = 20
LARGEST_MATRIX = 2**25  # numbers: 5,800 x 5,800


def read_weights(path: str | Path, names: Mapping[str, str] = _OWN_NAMES) -> dict[str, Array]:
    """The arrays of `path` that `names` asks for, in float64: {"W_PV": ..., "W_KQ": ...} by default.

    `names` maps each name of ours to the name in the file; those of nested dictionaries are joined by
    dots, as in {"W_PV": "model.layer.W_PV"}. Shapes are not judged here (see `blocks`).

    Raises WeightsFileError if the file is missing, damaged, of another format, or more than weights; if a
    name is not in it; and if an array is not floating point or not finite.
    """
    path = Path(path)
    with opened(path) as file:
        read = _READERS[format_of(file, path)]
        arrays = read(file, path, names)
    return {own: finite(array, names[own], path) for own, array in arrays.items()}


def opened(path: Path) -> BinaryIO:
    """The file, open for reading. Raises WeightsFileError where it is missing, or no regular file."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
            raise WeightsFileError(f"need a file of weights, {path} is {kind}; name the file itself")
        return path.open("rb")
    except OSError as error:
        raise WeightsFileError(
            f"need a readable file of weights, {path} cannot be opened ({error.strerror}); "
            "check its name and permissions"
        ) from error


def _from_safetensors(file: BinaryIO, path: Path, names: Mapping[str, str]) -> dict[str, Array]:
    entries = safetensors_files.read_header(file, path)
    _refuse_missing(names, entries, path)
    for name in names.values():
        _refuse_large(math.prod(entries[name].shape), name, path)
    return {own: safetensors_files.read_tensor(file, name, entries[name], path) for own, name in names.items()}


def _from_npz(file: BinaryIO, path: Path, names: Mapping[str, str]) -> dict[str, Array]:
    with zipfile.ZipFile(file) as archive:
        members = npz_files.array_names(archive)
        _refuse_missing(names, members, path)
        return {own: npz_files.read_array(archive, members[name], path) for own, name in names.items()}


def _from_torch(file: BinaryIO, path: Path, names: Mapping[str, str]) -> dict[str, Array]:
    torch_archives.judge_archive(file, path)
    with zipfile.ZipFile(file) as archive:
        tensors = torch_state_dicts.stored_tensors(archive, path)
        _refuse_missing(names, tensors, path)
        for name in names.values():
            _refuse_large(max(tensors[name].storage.size, math.prod(tensors[name].shape)), name, path)
        return {own: torch_state_dicts.read_stored(archive, tensors[name], name, path) for own, name in names.items()}


_READERS: Mapping[str, Callable[[BinaryIO, Path, Mapping[str, str]], dict[str, Array]]] = {
    "safetensors": _from_safetensors,
    "npz": _from_npz,
    "torch": _from_torch,
}


def _refuse_large(numbers: int, name: str, path: Path) -> None:
    if numbers > LARGEST_MATRIX:
        raise WeightsFileError(
            f"{name} in {path} has {numbers} entries where at most {LARGEST_MATRIX} are expected of a matrix; map "
            "another name to it"
        )


def _refuse_missing(names: Mapping[str, str], available: Iterable[str], path: Path) -> None:
    present = sorted(available)
    for own, name in names.items():
        if name not in present:
            raise WeightsFileError(
                f"need the weights {name} in {path}, which holds {_listed(present)}; "
                f"say which one is meant: --name {own}={_likeliest(own, present)}"
            )


def _listed(present: list[str]) -> str:
    if not present:
        return "no tensors"
    left_out = len(present) - _MOST_NAMES_SHOWN
    return ", ".join(present[:_MOST_NAMES_SHOWN]) + (f" and {left_out} more" if left_out > 0 else "")


def _likeliest(own: str, present: list[str]) -> str:
    return next((name for name in present if name.endswith(own)), "NAME")


def finite(array: Floats, name: str, path: Path) -> Floats:
    """The array itself. Raises WeightsFileError where an entry is NaN or infinite."""
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        raise WeightsFileError(
            f"{name} in {path} must be finite, got NaN or infinity in {bad} of {array.size} entries; "
            "take a checkpoint from before the training diverged"
        )
    return array
