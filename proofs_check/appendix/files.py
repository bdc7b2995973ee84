"""The files of the appendix: appendix.md, appendix.tex and errata.md, each written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from ..records.whole_files import write_whole
from .document import Document
from .errata import to_errata
from .latex import to_latex
from .markdown import to_markdown


def write(document: Document, folder: Path) -> list[Path]:
    """Write both formats and the page of errata into the folder; returns their paths."""
    texts = {
        folder / "appendix.md": to_markdown(document),
        folder / "appendix.tex": to_latex(document),
        folder / "errata.md": to_errata(document),
    }
    for path, text in texts.items():
        write_whole(path, text)
    return list(texts)
