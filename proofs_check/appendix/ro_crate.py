"""The manifest of the appendix as an RO-Crate 1.1: its files with their sha256, what made them, what they are about.

The specification asks for a file ro-crate-metadata.json with the descriptor of that name, a root data set with name,
description, datePublished and license, and an entity for each file. The date is that of the newest record, because
the bytes are a function of the records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ..bibliography import AUTHOR, BY_KEY, TITLE
from .document import Document

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
CONFORMS = "https://w3id.org/ro/crate/1.1"
LICENSE = "https://spdx.org/licenses/Apache-2.0"
WITHOUT_RECORDS = "1970-01-01"  # the specification asks for a date
FORMATS = {
    "html": ("text/html", "The appendix as one page, to read."),
    "pdf": ("application/pdf", "The appendix to print."),
    "md": ("text/markdown", "As Markdown."),
    "tex": ("application/x-tex", "For papers in LaTeX."),
    "bib": ("application/x-bibtex", "Sources of the claims, and the software."),
    "json": ("application/json", "Everything that is needed to judge again, for iclcheck verify."),
}


def to_ro_crate(document: Document, digest: str, files: Mapping[str, bytes]) -> str:
    """ro-crate-metadata.json for these files, by name."""
    graph = [descriptor(), root(document, digest, sorted(files)), license_entity(), software(document), author()]
    graph += [file_entity(name, files[name]) for name in sorted(files)]
    graph += [claim_entity(document, name) for name in document.identifiers]
    graph += [work_entity(key) for key in works(document)]
    return json.dumps({"@context": CONTEXT, "@graph": graph}, indent=1, ensure_ascii=False) + "\n"


def reference(identifier: str) -> dict[str, str]:
    return {"@id": identifier}


def descriptor() -> dict[str, Any]:
    return {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "conformsTo": reference(CONFORMS),
        "about": reference("./"),
    }


def root(document: Document, digest: str, names: list[str]) -> dict[str, Any]:
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": "Verification appendix",
        "description": (
            f"{len(document.entries)} claims on in-context learning, checked with iclcheck {document.version}: "
            f"derivations, certificates, {len(document.records)} records of measurements, and verdicts."
        ),
        "identifier": f"sha256:{digest}",
        "datePublished": max((record.created[:10] for record in document.records), default=WITHOUT_RECORDS),
        "license": reference(LICENSE),
        "creator": reference("#author"),
        "hasPart": [reference(name) for name in names],
        "about": [reference(claim_id(name)) for name in document.identifiers],
        "citation": [reference(work_id(key)) for key in works(document)],
        "isBasedOn": reference("#iclcheck"),
    }


def license_entity() -> dict[str, Any]:
    return {
        "@id": LICENSE,
        "@type": "CreativeWork",
        "name": "Apache License 2.0",
        "description": "The licence of the software and of what it writes about its own claims.",
    }


def software(document: Document) -> dict[str, Any]:
    return {
        "@id": "#iclcheck",
        "@type": "SoftwareApplication",
        "name": "iclcheck",
        "description": TITLE,
        "version": document.version,
        "license": reference(LICENSE),
        "author": reference("#author"),
    }


def author() -> dict[str, Any]:
    return {"@id": "#author", "@type": "Organization", "name": AUTHOR}


def file_entity(name: str, data: bytes) -> dict[str, Any]:
    kind, words = FORMATS[name.rpartition(".")[2]]
    return {
        "@id": name,
        "@type": "File",
        "name": name,
        "description": words,
        "encodingFormat": kind,
        "contentSize": str(len(data)),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def claim_id(name: str) -> str:
    return "#claim-" + name.encode().hex() if not is_plain(name) else f"#claim-{name}"


def is_plain(name: str) -> bool:
    return name.isascii() and all(c.isalnum() or c in "-_." for c in name)


def claim_entity(document: Document, name: str) -> dict[str, Any]:
    entry = document.entry(name)
    assert entry is not None  # one of the document's own
    state = document.audit_in_words(entry) if entry.audit and entry.verdicts is not None else entry.evidence_status
    return {
        "@id": claim_id(name),
        "@type": "Claim",
        "name": entry.statement.title,
        "text": entry.statement.text,
        "identifier": name,
        "creativeWorkStatus": f"{entry.derivation_status}; {state}",
    }


def works(document: Document) -> list[str]:
    """The keys of the works that the claims come from, in the order of the bibliography."""
    keys = {source.key for entry in document.entries for source in entry.statement.sources}
    return [key for key in BY_KEY if key in keys]


def work_id(key: str) -> str:
    arxiv = BY_KEY[key].arxiv
    return f"https://arxiv.org/abs/{arxiv}" if arxiv else f"#work-{key}"


def work_entity(key: str) -> dict[str, Any]:
    work = BY_KEY[key]
    return {
        "@id": work_id(key),
        "@type": "ScholarlyArticle" if work.kind != "book" else "Book",
        "name": work.title,
        "author": ", ".join(work.authors),
        "datePublished": str(work.year),
    }
