"""The files of the appendix, each written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from ..records.whole_files import write_whole
from .document import Document
from .errata import to_errata
from .html import to_html
from .latex import to_latex
from .markdown import to_markdown
from .recorded import digest, to_records_json


def write(document: Document, folder: Path) -> list[Path]:
    """Write every format into the folder; returns their paths."""
    records = to_records_json(document)
    sha256 = digest(records)
    texts = {
        folder / "appendix.md": to_markdown(document),
        folder / "appendix.tex": to_latex(document),
        folder / "appendix.html": to_html(document, sha256),
        folder / "errata.md": to_errata(document),
        folder / "records.json": records,
    }
    for path, text in texts.items():
        write_whole(path, text)
    return list(texts)
