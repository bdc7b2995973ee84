r"""Which format a file of weights has, decided by its first bytes and not by its name.

Main statements
    a file is read as what it is: the name only has to agree
    what is neither safetensors, NumPy's npz nor a torch archive is refused by name, unread
"""

import zipfile
from pathlib import Path
from typing import BinaryIO, Literal

from .damage import damage_reported
from .weights_errors import WeightsFileError

Format = Literal["safetensors", "npz", "torch"]

_EXTENSIONS: dict[str, Format] = {
    ".safetensors": "safetensors",
    ".npz": "npz",
    ".pt": "torch",
    ".pth": "torch",
    ".bin": "torch",
    ".ckpt": "torch",
}
_USUAL_EXTENSION: dict[Format, str] = {"safetensors": ".safetensors", "npz": ".npz", "torch": ".pt"}
_SAVE_AGAIN = "save the weights as .safetensors, or with numpy.savez or torch.save(model.state_dict(), ...)"
_REFUSED = {
    b"\x93NUMPY": "a single .npy array",
    b"\x89HDF": "an HDF5 file",
    b"GGUF": "a GGUF file",
    b"PK\x05\x06": "an empty zip archive",
    b"\x1f\x8b": "a gzip file",
    b"version https://git-lfs": "a Git LFS pointer in place of the file itself",
}


def format_of(file: BinaryIO, path: Path) -> Format:
    """The format of an open file, whose position is left at the start.

    Raises WeightsFileError for every other format, and if the extension of `path` belongs to another.
    """
    found = _format_by_content(file, path)
    expected = _EXTENSIONS.get(path.suffix.lower())
    if expected is not None and expected != found:
        raise WeightsFileError(
            f"{path} should hold {expected} weights by its extension, but its content is {found}; "
            f"rename it to {path.with_suffix(_USUAL_EXTENSION[found]).name} if that is what you meant"
        )
    return found


def _format_by_content(file: BinaryIO, path: Path) -> Format:
    start = file.read(32)
    file.seek(0)
    if not start:
        raise WeightsFileError(f"{path} is empty; {_SAVE_AGAIN}")
    for magic, name in _REFUSED.items():
        if start.startswith(magic):
            raise WeightsFileError(f"need safetensors, npz or torch weights, {path} is {name}; {_SAVE_AGAIN}")
    if start.startswith(b"PK\x03\x04"):
        return _format_of_archive(file, path)
    # Bytes 0 to 7 are the header's length, byte 8 its first: the JSON object.
    if start[8:9] == b"{" and start[7] == 0:
        return "safetensors"
    if start[0] == 0x80:
        return "torch"  # a bare pickle: judged, and refused with its reason, where torch archives are
    raise WeightsFileError(
        f"need safetensors, npz or torch weights, {path} begins with {start[:8]!r}, which is none of them; "
        f"{_SAVE_AGAIN}"
    )


def _format_of_archive(file: BinaryIO, path: Path) -> Format:
    with damage_reported(str(path)), zipfile.ZipFile(file) as archive:
        members = archive.namelist()
    file.seek(0)
    if any(name.endswith("/data.pkl") for name in members):
        return "torch"
    if members and all(name.endswith(".npy") for name in members):
        return "npz"
    raise WeightsFileError(
        f"need the zip archive of numpy.savez or torch.save, {path} holds {members[:5]}; {_SAVE_AGAIN}"
    )
