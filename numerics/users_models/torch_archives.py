r"""Judging a torch.save archive: a zip with one pickle and the tensors' bytes.

Main statement
    judge_archive   passes only archives that are intact, as large as they seem, and import tensors alone; what is read
                    from them afterwards (`torch_state_dicts`) needs no torch
"""

import zipfile
from pathlib import Path
from typing import BinaryIO

from .damage import damage_reported
from .pickle_opcodes import refuse_foreign_globals
from .weights_errors import WeightsFileError

LARGEST_ARCHIVE = 2**32  # bytes
LARGEST_PICKLE = 2**20  # bytes: some 8,000 tensors; its opcodes are gone through twice, a million of them a second


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
