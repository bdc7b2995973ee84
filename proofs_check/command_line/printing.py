"""Output: strict JSON, matrices and tables of verdicts as text."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..claims.claim import ClaimVerdict

FILE_WIDTH = 150  # where the output is no terminal


def print_json(value: Any) -> None:
    """Strict JSON on stdout: NaN and infinities are refused, not written."""
    print(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))


def paragraph(text: str, indent: str = "  ") -> str:
    """Text wrapped to the terminal."""
    return textwrap.fill(text, width=line_width(), initial_indent=indent, subsequent_indent=indent)


def line_width() -> int:
    return min(shutil.get_terminal_size((100, 24)).columns, 110)


def quantity_text(value: Any) -> str:
    """A number or a matrix, twelve digits."""
    if isinstance(value, list):
        rows = value if value and isinstance(value[0], list) else [value]
        return "\n" + "\n".join("  " + "  ".join(f"{entry: .12g}" for entry in row) for row in rows)
    return f" {value:.12g}" if isinstance(value, float) else f" {value}"


def print_verdicts(verdicts: Sequence[ClaimVerdict]) -> None:
    """The table of verdicts: one row a check, then one line a claim."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for heading in ("claim", "check", "verdict"):
        table.add_column(heading, no_wrap=heading == "verdict")
    for heading in ("measured", "predicted", "allowed", "would have caught"):
        table.add_column(heading, justify="right")
    table.add_column("what was run")
    for claim in verdicts:
        for row in rows_of(claim):
            table.add_row(*row, style=None)
        table.add_section()
    console.print(table)
    for claim in verdicts:
        console.print(f"{claim.identifier}: {claim.outcome}", markup=False)


def rows_of(claim: ClaimVerdict) -> Iterable[list[str]]:
    """The cells of a claim's checks; the identifier stands in the first row only."""
    for number, verdict in enumerate(claim.verdicts):
        yield [
            claim.identifier if number == 0 else "",
            verdict.check,
            verdict.outcome,
            f"{verdict.measured:.3g}",
            f"{verdict.predicted:.3g}",
            f"{verdict.allowed:.2g}",
            f"{verdict.detectable:.2g}",
            f"{verdict.ran}, {rate_text(verdict.false_alarm)}",
        ]


def rate_text(false_alarm: float) -> str:
    """The false-alarm rate in words; 0 means that nothing was sampled."""
    return f"false alarms {false_alarm:.0e}" if false_alarm else "no sampling"
