r"""All arrays of a file of weights: their names and shapes at once, their numbers only when asked for.

Main statements
    nothing in the file is executed, torch is not imported, and an array that is not asked for is not unpacked
Formats
    as in `weights_files`: safetensors; NumPy's npz, without pickle; torch.save of a state_dict
"""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import npz_files, safetensors_files
from .file_formats import format_of
from .torch_archives import judge_archive
from .torch_state_dicts import read_stored, stored_tensors
from .weights_files import opened


class StoredArray(NamedTuple):
    """An array that lies in a file: its shape, and what reads it, in float64, while the file is open."""

    shape: tuple[int, ...]
    read: Callable[[], NDArray[np.float64]]


@contextmanager
def stored_arrays(path: Path) -> Iterator[dict[str, StoredArray]]:
    """The arrays of `path` by name; those of nested dictionaries under "outer.inner".

    Raises WeightsFileError if the file is missing, damaged, of another format, or more than weights.
    """
    with opened(path) as file:
        kind = format_of(file, path)
        if kind == "safetensors":
            yield _of_safetensors(file, path)
        elif kind == "npz":
            with zipfile.ZipFile(file) as archive:
                yield _of_npz(archive, path)
        else:
            yield from _of_torch(file, path)


def _of_safetensors(file: BinaryIO, path: Path) -> dict[str, StoredArray]:
    entries = safetensors_files.read_header(file, path)
    return {
        name: StoredArray(entry.shape, partial(safetensors_files.read_tensor, file, name, entry, path))
        for name, entry in entries.items()
    }


def _of_npz(archive: zipfile.ZipFile, path: Path) -> dict[str, StoredArray]:
    return {
        name: StoredArray(
            npz_files.array_shape(archive, member, path), partial(npz_files.read_array, archive, member, path)
        )
        for name, member in npz_files.array_names(archive).items()
    }


def _of_torch(file: BinaryIO, path: Path) -> Iterator[dict[str, StoredArray]]:
    judge_archive(file, path)
    with zipfile.ZipFile(file) as archive:
        yield {
            name: StoredArray(tensor.shape, partial(read_stored, archive, tensor, name, path))
            for name, tensor in stored_tensors(archive, path).items()
        }
