"""The file format of a certificate, and its hash.

A certificate is JSON: the claim, for each step of the derivation its forms and the statements made about them with the
evidence of an engine, and what is left to trust. Its bytes are a function of its content (`to_bytes`), which ends with
the sha256 of everything before; so every byte is covered, layout included.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..engines.refusals import RefutedError

FORMAT = "iclcheck certificate"
VERSION = 1
LARGEST = 4_000_000  # bytes; those of today have some tens of thousands


class NotACertificateError(ValueError):
    """The file cannot be read, or is something else; one sentence with the mend."""


class AlteredError(RefutedError):
    """The file is not what `certify` wrote; one sentence."""


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with its hash."""
    return {**content, "sha256": hashlib.sha256(plain_bytes(content)).hexdigest()}


def to_bytes(certificate: Mapping[str, Any]) -> bytes:
    """The bytes of a certificate's file."""
    return plain_bytes(certificate) + b"\n"


def plain_bytes(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False).encode()


def read(path: Path) -> dict[str, Any]:
    """A certificate whose bytes and hash fit. Raises NotACertificateError, AlteredError."""
    try:
        if not path.is_file():  # a pipe would be waited for
            raise NotACertificateError(f"{path} is no file; name a certificate")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise NotACertificateError(f"{path} cannot be read ({error.strerror}); name a certificate") from None
    if not data.startswith(f'{{\n "format": "{FORMAT}"'.encode()):
        raise NotACertificateError(f"{path} is no certificate; iclcheck certify writes them")
    return parsed(data, path)


def parsed(data: bytes, path: Path) -> dict[str, Any]:
    """The content of the bytes of a certificate. Raises AlteredError."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise AlteredError(f"{path} is damaged or cut off: it is not JSON to its end") from None
    content = {name: value for name, value in found.items() if name != "sha256"} if isinstance(found, dict) else {}
    try:
        whole = len(data) <= LARGEST and to_bytes(sealed(content)) == data
    except (ValueError, RecursionError):  # NaN, or nesting without end
        whole = False
    if not whole:
        raise AlteredError(f"{path} was altered: its bytes do not fit its sha256")
    return content
