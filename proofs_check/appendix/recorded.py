r"""records.json: everything that is needed to judge the appendix again, as strict JSON.

Main statements
    the same records, certificates and code give the same bytes: nothing in the file says when it was written
    every claim, certificate and record stands on a line of its own with the sha256 of its canonical JSON; the sha256 of
    the whole is that of these hashes in their order, together with the heading
    `read` refuses what is no such file, and names every part that does not fit its hash
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..certificates.certificate import sealed, to_bytes
from ..claims.parameters import UsageError
from ..records.plain_data import canonical_json, content_hash, plain_json, text_hash
from ..records.store import APPENDIX_FORMAT as FORMAT
from .document import Document
from .entry import ClaimEntry, entry_as_plain
from .judging import code_and_libraries

LARGEST = 2_000_000_000  # bytes
PARTS = {"claims": "claim", "certificates": "claim", "records": "key"}  # each with the name of its entries


class NoRecordsJsonError(UsageError):
    """The file cannot be read, or is something else; one sentence with the mend."""


@dataclass(frozen=True)
class Recorded:
    """A records.json as it was read.

    altered     what does not fit its hash or its place, one sentence each
    """

    heading: Mapping[str, Any]
    claims: tuple[Mapping[str, Any], ...]
    certificates: tuple[Mapping[str, Any], ...]
    records: tuple[Mapping[str, Any], ...]
    sha256: str
    altered: tuple[str, ...]


def heading(document: Document) -> dict[str, Any]:
    """What all claims have in common."""
    return {"iclcheck": document.version, "budget": asdict(document.budget), "code": code_and_libraries()}


def claim_as_plain(document: Document, entry: ClaimEntry) -> dict[str, Any]:
    """One claim: its text, its status as computed, its verdicts, and the keys of its records."""
    return {
        "claim": entry.identifier,
        **entry_as_plain(entry),
        "derivation": entry.derivation_status,
        "evidence": entry.evidence_status,
        "outcome": entry.outcome,
        "state": document.audit_in_words(entry) if entry.audit is not None else None,
        "certificate": entry.certificate_hash or None,
        "records": {record.key: record.sha256() for record in entry.records},
    }


def parts_of(document: Document) -> dict[str, list[dict[str, Any]]]:
    """Claims, certificates and records, in the order of the file."""
    return {
        "claims": [claim_as_plain(document, entry) for entry in document.entries],
        "certificates": [certificate_as_plain(entry.certificate) for entry in document.entries if entry.certificate],
        "records": [record.as_plain() for record in document.records],
    }


def certificate_as_plain(content: Mapping[str, Any]) -> dict[str, Any]:
    """A certificate: its claim, and the text of its file, whose every byte counts."""
    whole = sealed({name: value for name, value in content.items() if name != "sha256"})
    return {"claim": content["claim"], "text": to_bytes(whole).decode()}


def to_records_json(document: Document) -> str:
    """The file."""
    return written(heading(document), parts_of(document))


def written(heading: Mapping[str, Any], parts: Mapping[str, list[dict[str, Any]]]) -> str:
    """The text of a file with these parts, hashed: one line for each claim, certificate and record."""
    texts = {name: [plain_json(one) for one in parts[name]] for name in PARTS}
    listed = {name: [(text, text_hash(text)) for text in texts[name]] for name in PARTS}
    hashes = {name: [found for _, found in listed[name]] for name in PARTS}
    lines = [f'{{"format": {json.dumps(FORMAT)},', f'"heading": {canonical_json(heading)},']
    for name in PARTS:
        rows = ",\n".join(f'{{"sha256":"{found}","{name[:-1]}":{text}}}' for text, found in listed[name])
        lines += [f'"{name}": [', *([rows] if rows else []), "],"]
    return "\n".join([*lines, f'"sha256": "{whole_hash(heading, hashes)}"}}', ""])


def digest(text: str) -> str:
    """The sha256 of the whole, which ends the text of a file that `written` made."""
    return text[-67:-3]


def whole_hash(heading: Mapping[str, Any], hashes: Mapping[str, list[str]]) -> str:
    """The sha256 of heading and hashes: the digest of the appendix."""
    return content_hash([FORMAT, heading, *(hashes[name] for name in PARTS)])


def read(path: Path) -> Recorded:
    """A records.json with what does not fit its hashes. Raises NoRecordsJsonError."""
    return parsed(text_of(path), path)


def text_of(path: Path) -> str:
    try:
        if not path.is_file():  # a pipe would be waited for
            raise NoRecordsJsonError(f"{path} is no file; name the records.json of an appendix")
        if path.stat().st_size > LARGEST:
            raise NoRecordsJsonError(f"{path} is larger than {LARGEST} bytes, which no appendix is")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise NoRecordsJsonError(f"{path} cannot be read ({error.strerror}); name a records.json") from None
    except UnicodeDecodeError:
        raise NoRecordsJsonError(f"{path} is no text; name the records.json of an appendix") from None


def parsed(text: str, path: Path) -> Recorded:
    """The content of the text of a records.json. Raises NoRecordsJsonError."""
    try:
        found = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise NoRecordsJsonError(f"{path} is damaged or cut off: it is not strict JSON ({error})") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise NoRecordsJsonError(
            f"need the records.json that iclcheck appendix writes, {path} has no format {FORMAT!r}; of the "
            "records of check --record an appendix can be written"
        )
    altered = list(differences(found, text))
    well_formed = {name: [one for one in members(found, name) if is_member(one, name)] for name in PARTS}
    contents = {name: tuple(one[name[:-1]] for one in well_formed[name]) for name in PARTS}
    head = found.get("heading")
    return Recorded(
        head if isinstance(head, dict) else {},
        contents["claims"],
        contents["certificates"],
        contents["records"],
        str(found.get("sha256")),
        tuple(altered),
    )


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def members(found: Mapping[str, Any], name: str) -> list[Any]:
    listed = found.get(name)
    return listed if isinstance(listed, list) else []


def is_member(one: Any, name: str) -> bool:
    """Whether data is a claim, certificate or record with its hash, and has a name."""
    singular = name[:-1]
    return (
        isinstance(one, dict)
        and set(one) == {"sha256", singular}
        and isinstance(one[singular], dict)
        and isinstance(one[singular].get(PARTS[name]), str)
    )


def differences(found: Mapping[str, Any], text: str) -> Iterator[str]:
    """What of a file does not fit its hashes, one sentence each."""
    names = ["format", "heading", *PARTS, "sha256"]
    if list(found) != names:
        yield f"the file must hold {', '.join(names)} in this order, it holds {', '.join(map(str, found)) or 'nothing'}"
    for name in PARTS:
        yield from differences_of(found, name)
    head = found.get("heading")
    if not isinstance(head, dict):
        yield "the heading is missing"
        return
    good = {name: [one for one in members(found, name) if is_member(one, name)] for name in PARTS}
    hashes = {name: [str(one["sha256"]) for one in good[name]] for name in PARTS}
    if whole_hash(head, hashes) != found.get("sha256"):
        yield "the sha256 of the whole does not fit its parts"
    if written(head, {name: [one[name[:-1]] for one in good[name]] for name in PARTS}) != text:
        yield "the bytes are not those that iclcheck writes for this content"


def differences_of(found: Mapping[str, Any], name: str) -> Iterator[str]:
    """What is wrong with the claims, certificates or records."""
    singular, seen = name[:-1], set()
    if not isinstance(found.get(name), list):
        yield f"the {name} are missing"
    for place, one in enumerate(members(found, name), start=1):
        if not is_member(one, name):
            yield f"the {singular} at place {place} is not laid out as one"
            continue
        called = one[singular][PARTS[name]]
        if text_hash(plain_json(one[singular])) != one["sha256"]:
            yield f"the {singular} {called[:60]} does not fit its sha256"
        if called in seen:
            yield f"the {singular} {called[:60]} stands there twice"
        seen.add(called)
