"""The PDF of the appendix, set by typst without network, without fonts of the machine, and without a date."""

from __future__ import annotations

from datetime import UTC, datetime

WITHOUT_PDF = "no appendix.pdf was written, because typst is not installed; pip install typst adds it"


class NoTypstError(LookupError):
    """The optional typst package is not installed."""


def to_pdf(source: str) -> bytes:
    """The PDF of a typst source; equal sources give equal bytes. Raises NoTypstError."""
    try:
        import typst
    except ImportError:
        raise NoTypstError(WITHOUT_PDF) from None
    made = typst.compile(source.encode(), ignore_system_fonts=True, timestamp=datetime(2000, 1, 1, tzinfo=UTC))
    assert isinstance(made, bytes)  # without a name of a file
    return made
