r"""Verifying a records.json: hashes, certificates, verdicts from the recorded values, and measurements made again.

Main statements
    altered    the file contradicts itself: a hash, a key, a certificate, or a verdict that the present rules, being the
               recorded ones, do not give on the recorded values
    refuted    a verdict is a contradiction, or a measurement made again gives something else
    drifted    the code has changed since, and says something else now; or a measurement gives it only roughly
    stale      a record was measured by code that has changed, and was not measured again here
    undecided  an engine is missing, or a claim is not known here
    rounding   numbers differ by less than rounding explains; this decides nothing
Nothing in the file is run: a measurement that is made again is one that the present claims ask for, by its key.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..certificates.certificate import AlteredError, NotACertificateError
from ..certificates.examining import StepRefusedError, forms_in, recheck_content, seed_of
from ..certificates.proving import proved_on
from ..checking import EXIT_STATUS, NotMeasuredError, StoredRun, judge_with
from ..claims.audit import outcome_of_run
from ..claims.claim import Budget, Claim, Values
from ..claims.registry import all_claims, built_in_claims
from ..engines.refusals import RefutedError, UndecidedError
from ..levels import level_by
from ..records.measurement import Failure, perform
from ..records.measuring_path import MeasurementNotFoundError
from ..records.plain_data import content_hash
from ..records.store import ReadRecords, Record, RecordStoreError, record_from_plain
from ..records.tasks import Task
from .comparing import differences, largest_difference
from .document import Document
from .entry import ClaimEntry
from .judging import code_and_libraries, derived_entry, with_verdict
from .recorded import Recorded, certificate_as_plain, claim_as_plain

Kind = Literal["altered", "refuted", "drifted", "stale", "undecided", "rounding"]
Rerun = Literal["all", "sample", "none"]
STATUS: Mapping[Kind, int] = {"altered": 1, "refuted": 1, "drifted": 3, "stale": 3, "undecided": 3, "rounding": 0}
ROUNDING = 1e-6  # of the largest number beside it: what other processors make of sums in float64
ROUGHLY = 1e-2  # of the same: what they make of long trainings
LARGEST = {"replicas": 100_000, "training_steps": 10_000_000, "prompts": 10**13, "gap": 1, "gap_of_variants": 1}
SHOWN = 3  # differences of one claim that are told one by one


@dataclass(frozen=True)
class Finding:
    """What is wrong with one part of the file, in one sentence."""

    kind: Kind
    part: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.part}: {self.sentence}"


@dataclass
class Verification:
    """What was verified, and what was found."""

    recorded: Recorded
    findings: list[Finding] = field(default_factory=list)
    entries: list[ClaimEntry] = field(default_factory=list)
    certificates: int = 0
    measured: list[str] = field(default_factory=list)

    def find(self, kind: Kind, part: str, sentence: str) -> None:
        self.findings.append(Finding(kind, part, sentence))

    @property
    def exit_status(self) -> int:
        """1 before 3 before 0: what was found, and what the verdicts say."""
        found = {STATUS[one.kind] for one in self.findings} | {EXIT_STATUS[outcome_of_run(self.entries)]}
        return 1 if 1 in found else max(found)

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        return {
            "sha256": self.recorded.sha256,
            "claims": len(self.recorded.claims),
            "certificates": self.certificates,
            "records": len(self.recorded.records),
            "measured_again": self.measured,
            "outcomes": {entry.identifier: entry.outcome for entry in self.entries},
            "findings": [{"kind": one.kind, "part": one.part, "sentence": one.sentence} for one in self.findings],
            "exit_status": self.exit_status,
        }


Say = Callable[[str], None]


def verify(
    recorded: Recorded,
    *,
    rerun: Rerun = "sample",
    sample: int = 3,
    draw: random.Random | None = None,
    say: Say = lambda text: None,
) -> Verification:
    """Verify a records.json; `draw` chooses the sample, afresh each time if none is given."""
    found = Verification(recorded)
    for sentence in recorded.altered:
        found.find("altered", "the file", sentence)
    records = readable_records(found)
    say(f"examining {len(recorded.certificates)} certificates")
    certificates = examined_certificates(found)
    budget = budget_of(found)
    if budget is None:
        return found
    run = VerifyingRun(found, records, again=rerun != "none", say=say)
    judge_claims(found, budget, run, certificates, say)
    refuse_unused(found, records, run)
    chosen = chosen_tasks(run, rerun, sample, draw or random.SystemRandom())
    for task in chosen:
        run.measure_again(task)
    return found


def readable_records(found: Verification) -> dict[str, Record]:
    """The records by key; a key has to be that of measurement, parameters and device."""
    records = {}
    for plain in found.recorded.records:
        key = str(plain["key"])
        try:
            record = record_from_plain(plain)
        except RecordStoreError as error:
            found.find("altered", f"record {key[:12]}", str(error))
            continue
        if key != key_of(record):
            found.find("altered", f"record {key[:12]}", "its key is not that of its measurement, parameters and device")
        records[key] = record
    return records


def key_of(record: Record) -> str:
    kind = "cpu" if record.environment.get("device") == "cpu" else "cuda"
    return content_hash([record.measurement, record.parameters, kind])


def budget_of(found: Verification) -> Budget | None:
    """The budget of the heading; None, and a finding, if there is none."""
    plain = found.recorded.heading.get("budget")
    known = Budget()
    kinds = {name: type(value) for name, value in vars(known).items()}
    if not isinstance(plain, dict) or {name: type(value) for name, value in plain.items()} != kinds:
        found.find("altered", "the heading", "it names no budget, so nothing can be judged")
        return None
    if any(not 0 < plain[name] <= most for name, most in LARGEST.items()):
        found.find("altered", "the heading", f"its budget is none that a check can have: {plain}"[:300])
        return None
    return Budget(**plain)


def examined_certificates(found: Verification) -> dict[str, dict[str, Any]]:
    """The contents of the certificates that the engines confirmed, by claim."""
    confirmed = {}
    for plain in found.recorded.certificates:
        part = f"certificate of {str(plain['claim'])[:60]}"
        try:
            content = recheck_content(str(plain.get("text")).encode(), part)
        except ImportError as error:  # python-flint
            found.find("undecided", part, f"an engine is missing ({error}); install python-flint and z3-solver")
        except StepRefusedError as error:
            found.find("undecided" if error.undecided else "refuted", part, str(error))
        except UndecidedError as error:
            found.find("undecided", part, str(error))
        except (AlteredError, NotACertificateError, RefutedError) as error:
            found.find("altered", part, str(error))
        else:
            if certificate_as_plain(content) != plain:
                found.find("altered", part, "it is the certificate of another claim")
                continue
            found.certificates += 1
            confirmed[str(content["claim"]).removeprefix("own/")] = content
    return confirmed


class VerifyingRun(StoredRun):
    """A `Run` that reads the file's records, and measures the stale ones again if it may.

    tasks      every task that was asked for, by key: these are the present claims' own
    """

    def __init__(self, found: Verification, records: Mapping[str, Record], *, again: bool, say: Say) -> None:
        super().__init__(ReadRecords(records.values()))
        self.found, self.again, self.say = found, again, say
        self.tasks: dict[str, Task] = {}
        self.asked: set[str] = set()
        self.told: set[str] = set()

    def __call__(self, tasks: Sequence[Task]) -> list[Values]:
        self.asked.update(task.key for task in tasks)
        return super().__call__(tasks)

    def record_of(self, task: Task) -> Record:
        self.tasks[task.key] = task
        try:
            return super().record_of(task)
        except NotMeasuredError as error:
            if error.stale is None:
                raise
            renewed = self.measure_again(task) if self.again else None
            if renewed is None:
                self.tell_stale(error.stale)
                raise
            self.used[task.key] = renewed
            return renewed

    def tell_stale(self, record: Record) -> None:
        if record.key not in self.told:
            self.told.add(record.key)
            commit = str(record.environment.get("commit"))[:12]
            sentence = f"the code of {record.measurement} has changed since commit {commit}"
            self.found.find("stale", f"record {record.key[:12]}", sentence)

    def measure_again(self, task: Task) -> Record | None:
        """The record with the values of a new measurement, after comparing; None where it cannot be made here."""
        record = self.store.newest(task.key)
        assert record is not None  # only recorded tasks come here
        part = f"record {task.key[:12]}"
        if task.kind_of_device != "cpu" and not gpu_is_here():
            # A finding, not a remark: else the word GPU beside a record would spare its author every measurement.
            sentence = f"it was measured on a GPU ({record.environment.get('device')}), and there is none here"
            self.found.find("undecided", part, sentence)
            return None
        self.say(f"measuring {task.measurement} again (recorded: {record.seconds:.1f} s)")
        outcome = perform(task.measurement, task.parameters, task.device)
        if isinstance(outcome, Failure):
            self.found.find("undecided", part, f"it cannot be measured here: {outcome.cause}")
            return None
        self.found.measured.append(task.key)
        compare_values(self.found, record, outcome.values)
        return replace(record, values=outcome.values)


def gpu_is_here() -> bool:
    import torch

    return torch.cuda.is_available()


def compare_values(found: Verification, record: Record, values: Mapping[str, Any]) -> None:
    """Says whether a new measurement gives the recorded values."""
    part = f"record {record.key[:12]}"
    worst = largest_difference(dict(record.values), dict(values))
    if worst is None:
        return
    told = f"{record.measurement} measured again: {worst}"
    if worst.relative <= ROUNDING:
        found.find("rounding", part, told)
    elif worst.relative <= ROUGHLY:
        found.find("drifted", part, told)
    else:
        found.find("refuted", part, told)


def judge_claims(
    found: Verification, budget: Budget, run: VerifyingRun, certificates: Mapping[str, dict[str, Any]], say: Say
) -> None:
    """Derive and judge every claim of the file, and compare with what it says."""
    for plain in found.recorded.claims:
        name = str(plain["claim"])
        claim = {**built_in_claims(), **all_claims()}.get(name)
        if claim is None:
            found.find("undecided", name[:60], "no claim of that name is known here; --claims FILE brings others")
            continue
        say(f"judging {name}")
        entry = judged_by(claim, budget, run)
        content = certificates.get(name)
        if content is not None and seed_of(forms_in(content)) != entry.forms:
            found.find("stale", name, "the certificate is about another derivation than the present one")
            content = None
        coq = content is not None and "Coq" in str(plain.get("derivation"))
        if coq and not proved_on(name, entry.forms):
            found.find("undecided", name, "Coq is said to have accepted theorems; run iclcheck certify --coq here")
        level = level_by(entry.failed_steps, content, coq)
        found.entries.append(replace(entry, level=level, certificate=content))
    document = Document(str(found.recorded.heading.get("iclcheck")), budget, tuple(found.entries))
    by_name = {str(plain["claim"]): plain for plain in found.recorded.claims}
    for entry in found.entries:
        compare_claim(found, by_name[entry.identifier], claim_as_plain(document, entry), run.told)


def judged_by(claim: Claim, budget: Budget, run: VerifyingRun) -> ClaimEntry:
    """The entry of a claim by the file's records; without verdicts where one is missing."""
    run.asked = set()
    entry = derived_entry(claim)
    try:
        verdict = judge_with(claim, budget, run)
    except (NotMeasuredError, MeasurementNotFoundError):
        return entry
    except Exception as error:  # values that no measurement gives: any check may stumble over them in its own way
        what = " ".join(f"{type(error).__name__}: {error}".split())
        run.found.find("altered", claim.identifier, f"its checks cannot read the recorded values ({what[:200]})")
        return entry
    return with_verdict(entry, verdict, [run.used[key] for key in sorted(run.asked) if key in run.used])


def compare_claim(found: Verification, recorded: Mapping[str, Any], present: Mapping[str, Any], told: set[str]) -> None:
    """Says where a claim of the file is not what comes out here."""
    name = str(present["claim"])
    stale = told & set(recorded["records"]) if isinstance(recorded.get("records"), dict) else set()
    if stale and present["evidence"] == "none":  # told with the records already; there is no verdict to compare
        return
    # The hash of the code does not cover files of claims of one's own.
    same_code = found.recorded.heading.get("code") == code_and_libraries() and name in built_in_claims()
    kind: Kind = "altered" if same_code else "drifted"
    # What was measured again has other hashes; its values were compared.
    recorded, present = ({**one, "records": sorted(one["records"])} for one in (recorded, present))
    wrong = [one for one in differences(recorded, present) if one.relative > ROUNDING]
    for one in wrong[:SHOWN]:
        found.find(kind, name, str(one))
    if len(wrong) > SHOWN:
        found.find(kind, name, f"and {len(wrong) - SHOWN} further differences")


def refuse_unused(found: Verification, records: Mapping[str, Record], run: VerifyingRun) -> None:
    """Every record of the file has to be one that a claim of it rests on."""
    listed = {key for plain in found.recorded.claims for key in keys_of(plain)}
    for key in sorted(set(records) - listed):
        found.find("altered", f"record {key[:12]}", "no claim of the file rests on it")
    for plain in found.recorded.claims:
        for key, sha256 in keys_of(plain).items():
            if key not in records:
                found.find("altered", str(plain["claim"])[:60], f"it rests on the record {key[:12]}, which is missing")
            elif records[key].sha256() != sha256:
                found.find("altered", f"record {key[:12]}", f"it is not the one that {plain['claim'][:60]} rests on")


def keys_of(plain: Mapping[str, Any]) -> dict[str, Any]:
    listed = plain.get("records")
    return listed if isinstance(listed, dict) else {}


def chosen_tasks(run: VerifyingRun, rerun: Rerun, sample: int, draw: random.Random) -> Iterator[Task]:
    """The tasks to measure again, of those that the verdicts rest on and that were not measured again already."""
    left = [run.tasks[key] for key in sorted(run.used) if key not in run.found.measured]
    if rerun == "all":
        yield from left
    elif rerun == "sample":
        yield from draw.sample(left, min(sample, len(left)))
