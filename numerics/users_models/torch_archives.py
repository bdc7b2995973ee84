r"""Reading the tensors of a torch.save archive: a zip with one pickle and the tensors' bytes.

Main statements
    the archive and its pickle are judged before torch is imported, let alone asked to load them
    what torch then loads, it loads with weights_only=True, from the same open file
"""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .damage import damage_reported
from .pickle_opcodes import refuse_foreign_globals
from .weights_errors import WeightsFileError

if TYPE_CHECKING:
    import torch

LARGEST_ARCHIVE = 2**32  # bytes; torch loads all tensors of it, not only the two that are asked for
LARGEST_PICKLE = 2**24  # bytes; a state_dict of 100,000 tensors needs less
LARGEST_TENSOR = 2**25  # entries: a 5,800 x 5,800 matrix
_MOST_NESTED = 8


def read_tensors(file: BinaryIO, path: Path) -> dict[str, "torch.Tensor"]:
    """All tensors of an archive, those of nested dictionaries under "outer.inner".

    Raises WeightsFileError for an archive that is damaged, oversized, or more than tensors.
    """
    judge_archive(file, path)
    import warnings

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice to its own callers
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch has no common class for what a damaged archive raises
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsFileError(
            f"torch refuses to load {path} as weights ({first_line}); save model.state_dict() again"
        ) from error
    return dict(_named_tensors(content, "", _MOST_NESTED))


def as_float64(tensor: "torch.Tensor", name: str, path: Path) -> NDArray[np.float64]:
    """A dense real tensor in float64; WeightsFileError for any other, and for one that is too large."""
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized or not tensor.is_floating_point():
        raise WeightsFileError(
            f"{name} in {path} must be a dense floating-point tensor, got {tensor.dtype}, {tensor.layout}; "
            "convert it with .to_dense().double() before saving"
        )
    # A tensor may repeat few stored numbers without end (stride 0), so the size of the file bounds nothing.
    if tensor.numel() > LARGEST_TENSOR:
        raise WeightsFileError(
            f"{name} in {path} has {tensor.numel()} entries where at most {LARGEST_TENSOR} are expected of a "
            "matrix; map another name to it"
        )
    return tensor.detach().to(torch.float64).contiguous().numpy()


def judge_archive(file: BinaryIO, path: Path) -> None:
    """Raise WeightsFileError unless the archive is intact, as large as it seems, and imports only tensors."""
    start = file.read(2)
    file.seek(0)
    if start != b"PK":
        _refuse_bare_pickle(file, path)
    with damage_reported(str(path)), zipfile.ZipFile(file) as archive:
        _judge_members(archive.infolist(), file, path)
        (program,) = (member for member in archive.infolist() if member.filename.endswith("/data.pkl"))
        _refuse_large_pickle(program, path)
        refuse_foreign_globals(archive.read(program), f"{path}: {program.filename}")
    file.seek(0)


def _refuse_bare_pickle(file: BinaryIO, path: Path) -> None:
    refuse_foreign_globals(file.read(LARGEST_PICKLE), str(path))
    raise WeightsFileError(
        f"need the zip archive that torch.save writes since torch 1.6, {path} is a bare pickle; "
        "load it where you trust it, and save its state_dict again"
    )


def _judge_members(members: list[zipfile.ZipInfo], file: BinaryIO, path: Path) -> None:
    names = [member.filename for member in members]
    size = file.seek(0, 2)
    if sum(name.endswith("/data.pkl") for name in names) != 1 or len(set(names)) < len(names):
        raise _not_as_torch_writes(path, "members of one name, or not exactly one data.pkl")
    if any(name.endswith("/constants.pkl") for name in names):
        raise _not_as_torch_writes(path, "a TorchScript program")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise _not_as_torch_writes(path, "compressed members, whose size in memory the file does not bound")
    # zipfile also reads archives with something in front, in which torch might see other members.
    if min(member.header_offset for member in members) != 0:
        raise _not_as_torch_writes(path, "bytes in front of the archive")
    if sum(member.file_size for member in members) > size or size > LARGEST_ARCHIVE:
        raise _not_as_torch_writes(path, f"overlapping members, or more than {LARGEST_ARCHIVE} bytes")


def _refuse_large_pickle(program: zipfile.ZipInfo, path: Path) -> None:
    if program.file_size > LARGEST_PICKLE:
        raise _not_as_torch_writes(path, f"a data.pkl of {program.file_size} bytes")


def _not_as_torch_writes(path: Path, what: str) -> WeightsFileError:
    return WeightsFileError(
        f"need an archive as torch.save writes it for a state_dict, {path} has {what}; save model.state_dict() again"
    )


def _named_tensors(content: Any, prefix: str, levels: int) -> Iterator[tuple[str, "torch.Tensor"]]:
    import torch

    if isinstance(content, torch.Tensor):
        yield prefix or "tensor", content
    elif isinstance(content, Mapping) and levels > 0:
        for name, value in content.items():
            yield from _named_tensors(value, f"{prefix}.{name}" if prefix else str(name), levels - 1)
