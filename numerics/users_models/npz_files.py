r"""Reading single arrays of an npz file (a zip archive of npy members), never unpickling.

Main statements
    an array's header is judged against the size of its member before the array is read
    no member is unpacked that announces more than the largest size of a matrix
    no header is unpacked that announces more than NumPy would read
"""

import io
import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .damage import damage_reported
from .weights_errors import WeightsFileError

LARGEST_MEMBER = 2**28  # bytes, unpacked: a 5,800 x 5,800 matrix in float64

LONGEST_HEADER = 10_000  # bytes


def array_names(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by the names under which numpy.savez saved them."""
    return {member.filename.removesuffix(".npy"): member for member in archive.infolist()}


def read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> NDArray[np.float64]:
    """One array in float64; WeightsFileError if it is not floating point, too large, or damaged."""
    if member.file_size > LARGEST_MEMBER:
        raise WeightsFileError(
            f"{member.filename} in {path} unpacks to {member.file_size} bytes where at most {LARGEST_MEMBER} "
            "are expected of a matrix; save only the two weight matrices"
        )
    with damage_reported(f"{member.filename} in {path}"):
        with archive.open(member) as stream:
            _judge_header(stream, member, path)
        array = npy.read_array(io.BytesIO(archive.read(member)), allow_pickle=False)
    return np.asarray(array, dtype=np.float64)


def array_shape(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> tuple[int, ...]:
    """The shape that a member's header announces; nothing but the header is unpacked."""
    with damage_reported(f"{member.filename} in {path}"), archive.open(member) as stream:
        shape, _ = _shape_and_dtype(stream)
    return shape


def _judge_header(stream: IO[bytes], member: zipfile.ZipInfo, path: Path) -> None:
    """Nothing but the header is unpacked for this."""
    shape, dtype = _shape_and_dtype(stream)
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise WeightsFileError(
            f"{member.filename} in {path} must be float64, float32 or float16, got {dtype}; "
            "convert it with .astype(float) before saving"
        )
    announced, present = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
    if announced != present:
        raise ValueError(f"shape {shape} and {dtype} need {announced} bytes, there are {present}")
    if 8 * math.prod(shape) > LARGEST_MEMBER:
        raise ValueError(f"{math.prod(shape)} numbers need {8 * math.prod(shape)} bytes in float64")


def _shape_and_dtype(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    announced = stream.read(2 if version == (1, 0) else 4)
    length = int.from_bytes(announced, "little")
    if length > LONGEST_HEADER:  # NumPy has this limit too, but unpacks the header first
        raise ValueError(f"a header of {length} bytes, where at most {LONGEST_HEADER} are expected")
    shape, _, dtype = read(io.BytesIO(announced + stream.read(length)))
    return shape, dtype
