r"""Reading single tensors of a safetensors file, which is a JSON header and raw bytes.

Layout: 8 bytes, the length n of the header (little endian); n bytes of JSON, {name: {"dtype",
"shape", "data_offsets"}}; the tensors' bytes, back to back and in row-major order.

Main statements
    the header is judged in full before any tensor is read: spans lie inside the file, have the size
    that shape and dtype give, and neither overlap nor leave holes
References
    the format's description in the repository huggingface/safetensors
"""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .weights_errors import WeightsFileError

LARGEST_HEADER = 10_000_000  # bytes: 100,000 tensors; the format itself allows ten times that, which takes seconds
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_BYTES = {
    **{"F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4},
    **{"F16": 2, "BF16": 2, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1},
}


@dataclass(frozen=True)
class TensorEntry:
    """One entry of the header: dtype, shape, and the span [begin, end) of its bytes in the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(file: BinaryIO, path: Path) -> dict[str, TensorEntry]:
    """The entries of the header by name, all of them judged; WeightsFileError says what is wrong."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if length > min(LARGEST_HEADER, size - 8):
        raise _unusable(path, f"a header of {length} bytes is announced in a file of {size}")
    header = _json_object(file.read(length), path)
    header.pop("__metadata__", None)
    entries = {name: _entry(name, value, 8 + length, path) for name, value in header.items()}
    _judge_spans(entries, 8 + length, size, path)
    return entries


def read_tensor(file: BinaryIO, name: str, entry: TensorEntry, path: Path) -> NDArray[np.float64]:
    """One tensor in float64; WeightsFileError unless its dtype is F64, F32, F16 or BF16."""
    if entry.dtype not in _FLOATS:
        raise WeightsFileError(
            f"{name} in {path} must be F64, F32, F16 or BF16, got {entry.dtype}; convert it before saving"
        )
    file.seek(entry.begin)
    raw = np.frombuffer(file.read(entry.end - entry.begin), _FLOATS[entry.dtype])
    if entry.dtype == "BF16":  # the upper half of a float32
        raw = (raw.astype("<u4") << 16).view("<f4")
    try:
        return raw.astype(np.float64).reshape(entry.shape)
    except (ValueError, OverflowError) as error:  # more axes, or longer empty ones, than NumPy has
        raise _unusable(path, f"{name!r} has the shape {entry.shape}") from error


def _json_object(text: bytes, path: Path) -> dict[str, Any]:
    try:
        header = json.loads(text, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise _unusable(path, f"its header is no valid JSON ({error})") from error
    if not isinstance(header, dict):
        raise _unusable(path, "its header is no JSON object")
    return header


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a name occurs twice")
    return dict(pairs)


def _entry(name: str, value: Any, data_begin: int, path: Path) -> TensorEntry:
    try:
        dtype, shape, (begin, end) = value["dtype"], tuple(value["shape"]), value["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise _unusable(path, f"the entry of {name!r} lacks dtype, shape or data_offsets") from error
    if not isinstance(dtype, str) or dtype not in _BYTES:
        raise _unusable(path, f"{name!r} has the unknown dtype {dtype!r}")
    if any(type(number) is not int or number < 0 for number in (*shape, begin, end)):
        raise _unusable(path, f"{name!r} has a shape or offsets that are no natural numbers")
    if end - begin != math.prod(shape) * _BYTES[dtype]:
        raise _unusable(path, f"{name!r} of {dtype} and shape {list(shape)} spans {end - begin} bytes")
    return TensorEntry(dtype, shape, data_begin + begin, data_begin + end)


def _judge_spans(entries: dict[str, TensorEntry], data_begin: int, size: int, path: Path) -> None:
    position = data_begin
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            raise _unusable(path, f"{name!r} begins at byte {entry.begin} where {position} was due")
        position = entry.end
    if position != size:
        raise _unusable(path, f"its tensors end at byte {position} of {size}")


def _unusable(path: Path, reason: str) -> WeightsFileError:
    return WeightsFileError(f"need an intact safetensors file, in {path} {reason}; copy or save it again")
