"""The files of the appendix, each written whole or not at all."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ..bibliography import BY_KEY, toolkit_bibtex
from ..records.whole_files import write_whole
from .document import Document
from .errata import to_errata
from .html import to_html
from .latex import to_latex, to_macros
from .markdown import to_markdown
from .pdf import NoTypstError, to_pdf
from .recorded import digest, to_records_json
from .ro_crate import to_ro_crate, works
from .typst_source import to_typst_source

MANIFEST, PDF = "ro-crate-metadata.json", "appendix.pdf"


def write(document: Document, folder: Path) -> list[Path]:
    """Write every format into the folder; returns their paths, without the PDF where typst is not installed.

    A PDF of an earlier appendix is removed then: it would not be this one.
    """
    files = contents(document)
    if PDF not in files:
        (folder / PDF).unlink(missing_ok=True)
    for name, data in files.items():
        write_whole(folder / name, data)
    return [folder / name for name in files]


def contents(document: Document) -> dict[str, bytes]:
    """The files by name, the manifest last."""
    records = to_records_json(document)
    sha256 = digest(records)
    texts = {
        "appendix.html": to_html(document, sha256),
        "appendix.md": to_markdown(document),
        "appendix.tex": to_latex(document, sha256),
        "appendix-macros.tex": to_macros(document, sha256),
        "claims.bib": to_bibtex(document),
        "errata.md": to_errata(document),
        "records.json": records,
    }
    # A lone half of a pair of code units, which no text should hold, is no reason to write nothing.
    files = {name: text.encode(errors="replace") for name, text in texts.items()}
    with contextlib.suppress(NoTypstError):
        files[PDF] = to_pdf(to_typst_source(document, sha256))
    files[MANIFEST] = to_ro_crate(document, sha256, files).encode(errors="replace")
    return files


def to_bibtex(document: Document) -> str:
    """The works that the claims come from, and the software, as a .bib file."""
    entries = [BY_KEY[key].to_bibtex() for key in works(document)]
    return "\n\n".join([toolkit_bibtex(document.version, None), *entries]) + "\n"
