"""The verb plan: prompts, replicas and time of a check, before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence

from ..claims.registry import claims_option, find
from ..planning import Plan, plan
from .checking import RunOptions
from .exit_status import reader_may_leave
from .printing import print_json


def show_plan(name: str, options: RunOptions, as_json: bool) -> int:
    """Plan and print."""
    claim, budget = find(name), options.budget()
    found = plan(claim, budget, options.workers)
    with reader_may_leave():
        if as_json:
            print_json(found.as_plain())
        else:
            print("\n".join(lines(found, options)))
    return 0


def lines(found: Plan, options: RunOptions) -> list[str]:
    """The plan as text."""
    rows = [("check", "prompts", "replicas", "would catch", "core seconds")]
    for one in found.checks:
        gap = "known after the run" if one.gap is None else f"{one.gap:.2g}"
        replicas = str(one.replicas) if one.replicas else "-"
        prompts = f"{one.prompts:.1e}" if one.prompts else "-"
        rows.append((one.check, prompts, replicas, gap, f"{one.seconds:.3g}"))
    processes = "1 process" if found.workers == 1 else f"{found.workers} processes"
    seed = f" --seed {found.budget.seed}" if found.budget.seed else ""
    named, budget = f"{found.claim}{claims_option()}", found.budget
    return [
        f"{found.claim}, to catch a gap of {found.budget.gap:g}",
        "",
        *aligned(rows),
        "",
        f"about {duration(found.seconds)} with {processes} on idle cores, if nothing is recorded yet; run it with",
        f"  iclcheck check {named} --detect {budget.gap:g} --device {budget.device}{seed}",
    ]


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns of equal width, the first to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    ]


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, two digits."""
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.2g} seconds"
