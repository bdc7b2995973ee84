"""Output: strict JSON, matrices and tables of verdicts as text."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from ..claims.claim import ClaimVerdict


def print_json(value: Any) -> None:
    """Strict JSON on stdout: NaN and infinities are refused, not written."""
    print(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))


def paragraph(text: str, indent: str = "  ") -> str:
    """Text wrapped to the terminal."""
    return textwrap.fill(
        text, width=line_width(), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def line_width() -> int:
    return min(shutil.get_terminal_size((100, 24)).columns, 110)


def quantity_text(value: Any) -> str:
    """A number, a matrix, a list of either, or a list of tables by name; twelve digits, columns aligned.

    >>> print(quantity_text([[[1.0]], [[0.5]]]))
    <BLANKLINE>
      1
    <BLANKLINE>
      0.5
    """
    if isinstance(value, dict):
        return "\n".join(f"  {name}:{quantity_text(part)}" for name, part in value.items())
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "".join(f"\n{quantity_text(one)}\n" for one in value)
    if isinstance(value, list) and value and isinstance(value[0], list) and isinstance(value[0][0], list):
        return "\n".join(quantity_text(one) for one in value)
    if isinstance(value, list):
        rows = value if value and isinstance(value[0], list) else [value]
        texts = [[entry_text(entry) for entry in row] for row in rows]
        width = max(len(text) for row in texts for text in row)
        return "\n" + "\n".join("  " + "  ".join(f"{text:>{width}}" for text in row) for row in texts)
    return f" {entry_text(value)}"


def entry_text(entry: float | bool | str | None) -> str:
    """A number to twelve digits, a word as it is; null, as in JSON, for a quantity without a number."""
    if entry is None:
        return "null"
    return f"{entry:.12g}" if isinstance(entry, float) else str(entry)


def print_verdicts(verdicts: Sequence[ClaimVerdict]) -> None:
    """The table of verdicts: a heading for each claim, one row for each of its checks."""
    table = empty_table()
    for heading in ("claim and check", "verdict"):
        table.add_column(heading, no_wrap=True)
    for heading in ("measured", "predicted", "allowed", "would catch"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("what was run")
    from ..claims.audit import in_words, outcomes_of

    outcomes = outcomes_of(verdicts)
    for claim in verdicts:
        score = "" if claim.controls is None else str(claim.controls)
        table.add_row(claim.identifier, claim.outcome, "", "", "", "", in_words(claim, outcomes) or score, style="bold")
        for row in rows_of(claim):
            table.add_row(*row)
    print_drawn(table)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table of text; only its last column is wrapped."""
    table = empty_table()
    for heading in headings[:-1]:
        table.add_column(heading, no_wrap=True)
    table.add_column(headings[-1])
    for row in rows:
        table.add_row(*row)
    print_drawn(table)


def empty_table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)


def print_drawn(table: Table) -> None:
    from rich.console import Console

    # Text is printed as it is: names of a user's claims may hold brackets and colons.
    console = Console(width=None if sys.stdout.isatty() else NARROWEST, highlight=False, markup=False, emoji=False)
    if console.width < NARROWEST:
        console.width = NARROWEST  # a wrapped line can be read, a cut one cannot
    with console.capture() as drawn:  # printed by Python: rich exits with 1 where the reader went away
        console.print(table)
    print(drawn.get(), end="")


NARROWEST = 152  # columns; the output of a pipe or a narrow terminal


def rows_of(claim: ClaimVerdict) -> Iterable[list[str]]:
    """The cells of a claim's checks."""
    for verdict in claim.verdicts:
        yield [
            f"  {verdict.check}",
            verdict.outcome,
            f"{verdict.measured:.4g}",
            f"{verdict.predicted:.3g}",
            f"{verdict.allowed:.2g}",
            f"{verdict.detectable:.2g}",
            verdict.ran,
        ]
