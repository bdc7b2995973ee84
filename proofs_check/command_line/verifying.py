"""The verb verify: a records.json judged again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..claims.parameters import UsageError, quoted
from .checking import counted
from .exit_status import reader_may_leave, say
from .printing import paragraph, print_json

if TYPE_CHECKING:
    from ..appendix.verification import Verification

RERUNS = ("sample", "all", "none")


def verify_records(file: Path, rerun: str, sample: int, sha256: str | None, as_json: bool) -> int:
    """Verify, print what was found, and return the exit status."""
    from ..appendix.recorded import read
    from ..appendix.verification import verify

    if rerun not in RERUNS:
        raise UsageError(f"--rerun needs sample, all or none, got {quoted(rerun)}")
    if sample < 0:
        raise UsageError(f"--sample needs a number of measurements, got {sample}; 0 makes none of them again")
    recorded = read(file / "records.json" if file.is_dir() else file)
    if sha256 is not None and recorded.sha256 != sha256.strip().lower():
        raise UsageError(f"{file} has the sha256 {recorded.sha256[:64]}, not the one given: it is another appendix")
    found = verify(recorded, rerun=rerun, sample=sample, say=say)  # type: ignore[arg-type]
    with reader_may_leave():
        if as_json:
            print_json(found.as_plain())
        else:
            print_verification(found)
    return found.exit_status


def print_verification(found: Verification) -> None:
    recorded = found.recorded
    for one in found.findings:
        print(paragraph(str(one), ""))
    again = counted(len(found.measured), "measurement") + " made again"
    certified = f"{found.certificates} of {counted(len(recorded.certificates), 'certificate')} confirmed by the engines"
    outcomes = [entry.outcome for entry in found.entries]
    judged = ", ".join(f"{outcomes.count(one)} {word}" for one, word in WORDS.items() if one in outcomes)
    print(f"{counted(len(recorded.claims), 'claim')} judged again: {judged or 'none'}")
    print(f"{certified}; {counted(len(recorded.records), 'record')}, {again}")
    print(f"sha256 {recorded.sha256}")
    bad = [one for one in found.findings if one.kind != "rounding"]
    print("nothing drifted" if not bad else counted(len(bad), "finding"))


WORDS = {"agrees": "agree", "contradicts": "contradicted", "inconclusive": "undecided or not measured"}
