"""The verb appendix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..claims.audit import outcome_of_run
from ..claims.parameters import UsageError
from ..claims.registry import all_claims, claims_option, find, with_corrected
from .checking import DEFAULT_STORE, RunOptions
from .exit_status import reader_may_leave, say
from .printing import print_json
from .reviewing import readable_records


def write_appendix(
    records: Path | None, output: Path, profile: str, device: str, seed: int, as_json: bool, only: Sequence[str] = ()
) -> int:
    """All claims, or those of `only`; an audit brings its corrected claim."""
    from ..appendix.document import gather
    from ..appendix.files import PDF, write
    from ..appendix.pdf import WITHOUT_PDF
    from ..checking import EXIT_STATUS

    budget = RunOptions(profile, device, seed, None, False, None).budget()
    chosen = with_corrected([find(name) for name in only]) if only else list(all_claims().values())
    path = store_file(records)
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output needs a folder, {output} is a file; name another")
    with readable_records(path) as (store, _):
        document = gather(chosen, budget, store)
    try:
        written = write(document, output)
    except OSError as error:
        reason = error.strerror
        raise UsageError(f"--output {output} cannot be written ({reason}); name another folder") from None
    if output / PDF not in written:
        say(WITHOUT_PDF)
    outcomes = [entry.outcome for entry in document.entries]
    with reader_may_leave():
        if as_json:
            plain_outcomes = dict(zip(document.identifiers, outcomes, strict=True))
            print_json({"files": [str(file) for file in written], "outcomes": plain_outcomes})
        else:
            for entry in document.entries:
                name = entry.identifier
                not_measured = f"not measured; run iclcheck check {name}{claims_option()}"
                evidence = entry.outcome if entry.verdicts is not None else not_measured
                print(f"{name}: {entry.derivation_status}, {evidence}")
            print("wrote " + ", ".join(str(file) for file in written))
    return EXIT_STATUS[outcome_of_run(document.entries)]


def store_file(records: Path | None) -> Path:
    """The store to read. Raises UsageError where there is none."""
    path = records or DEFAULT_STORE
    if path.is_dir():
        path = path / "records.sqlite"
    if not path.exists():
        raise UsageError(f"there are no records in {path}; run iclcheck check first, or name the store")
    return path
