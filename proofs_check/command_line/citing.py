"""The verb cite: BibTeX, and for each claim a sentence for a paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .checking import RunOptions
from .exit_status import reader_may_leave
from .printing import print_json
from .reviewing import chosen, readable_records, reading_budget


def show_citation(names: Sequence[str], records: Path | None, options: RunOptions, as_json: bool) -> int:
    from ..citation import citation

    claims = chosen(names)
    with readable_records(records) as (opened, _):
        found = citation(claims, reading_budget(claims, options, opened), opened)
    with reader_may_leave():
        if as_json:
            print_json(found.as_plain())
            return 0
        print(found.toolkit)
        for work in found.works:
            print(f"\n{work.to_bibtex()}")
        # In a .bib file text outside of entries is a comment, so the whole output can be one.
        for claim in found.claims:
            print(f"\n{claim.latex}")
    return 0
