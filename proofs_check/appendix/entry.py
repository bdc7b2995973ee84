"""One claim as the appendix shows it: plain data, so that it can be kept, compared and printed without a derivation.

Main statement
    `entry_from_plain(name, entry_as_plain(entry)) == entry`, but for what only the records and the certificate say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from ..certificates.certificate import sealed
from ..claims.audit import Audit, level_in_words
from ..controls import REASONS
from ..levels import DERIVED, Level
from ..records.plain_data import plain_copy
from ..records.store import Record
from ..verdicts.verdict import Outcome, Verdict, combine

if TYPE_CHECKING:
    from ...theory.algebra.derivations import Derivation
    from ..claims.claim import Claim, ClaimVerdict
    from ..controls import ControlScore


@dataclass(frozen=True)
class PrintedSource:
    """Where the literature states it."""

    key: str
    place: str

    def __str__(self) -> str:
        return f"{self.key}, {self.place}" if self.place else self.key


@dataclass(frozen=True)
class PrintedStatement:
    """What is claimed, and under which assumptions."""

    title: str
    latex: str
    text: str
    assumptions: tuple[str, ...]
    conventions: str
    sources: tuple[PrintedSource, ...]
    uses: tuple[str, ...]


@dataclass(frozen=True)
class PrintedStep:
    """One step of a derivation; `checked` says whether it has a check at rational instances."""

    name: str
    latex: str
    rule: str
    proof: str
    checked: bool


@dataclass(frozen=True)
class Survivor:
    """An altered statement that no check refused, with its distance from the original."""

    statement: str
    difference: float


@dataclass(frozen=True)
class AlteredStatements:
    """How many altered statements count, how many were refused, which survived, and why others do not count."""

    counted: int
    refused: int
    survivors: tuple[Survivor, ...]
    not_counted: Mapping[str, int]

    def __str__(self) -> str:
        return f"{self.refused} of {self.counted} altered statements refused"

    def in_words(self) -> list[tuple[str, int]]:
        """Why altered statements do not count, and how many."""
        return [(REASONS[kind], self.not_counted[kind]) for kind in REASONS]


@dataclass(frozen=True)
class ClaimEntry:
    """One claim with its derivation and, where it was measured, its verdicts and records.

    forms         sha256 of the forms of the derivation, by which a certificate is known to be about it
    verdicts      None where it was not measured
    altered       None where altered statements were not put to the checks; an audit has none of its own
    certificate   the content of the certificate of exactly this derivation, if there is one
    """

    identifier: str
    statement: PrintedStatement
    steps: tuple[PrintedStep, ...]
    failed_steps: tuple[str, ...]
    forms: str
    domain: str
    audit: Audit | None = None
    verdicts: tuple[Verdict, ...] | None = None
    altered: AlteredStatements | None = None
    records: tuple[Record, ...] = ()
    level: Level = DERIVED
    certificate: Mapping[str, Any] | None = None

    @property
    def derivation_status(self) -> str:
        return level_in_words(Level("stated") if self.failed_steps else self.level, self.audit)

    @property
    def trusted(self) -> tuple[str, ...]:
        """What the certificate leaves to trust."""
        return tuple(self.certificate["trusted"]) if self.certificate else ()

    @property
    def certificate_hash(self) -> str:
        """The sha256 that ends the file of the certificate; nothing without one."""
        if self.certificate is None:
            return ""
        return str(sealed({name: value for name, value in self.certificate.items() if name != "sha256"})["sha256"])

    @property
    def outcome(self) -> Outcome:
        """A step that fails contradicts the claim; what is not measured decides nothing."""
        if self.failed_steps:
            return "contradicts"
        return combine(one.outcome for one in self.verdicts or ())

    @property
    def evidence_status(self) -> str:
        return "none" if self.verdicts is None else combine(one.outcome for one in self.verdicts)


def entry_of_derivation(claim: Claim, derivation: Derivation, failed: tuple[str, ...], forms: str) -> ClaimEntry:
    """The entry of a claim that was not measured."""
    statement = derivation.statement
    sources = tuple(PrintedSource(one.key, one.place) for one in statement.sources)
    printed = PrintedStatement(
        statement.title,
        statement.latex,
        statement.text,
        tuple(statement.assumptions),
        statement.conventions,
        sources,
        tuple(statement.uses),
    )
    steps = (PrintedStep(one.name, one.latex, one.rule, one.proof, one.check is not None) for one in derivation.steps)
    return ClaimEntry(claim.identifier, printed, tuple(steps), failed, forms, claim.domain, claim.audit)


def altered_statements(score: ControlScore | None) -> AlteredStatements | None:
    """The score of a claim's controls as the appendix shows it."""
    if score is None:
        return None
    survivors = (Survivor(one.mutant.description, one.mutant.difference or 0.0) for one in score.survivors)
    kinds = {str(kind): number for kind, number in score.not_counted().items()}
    return AlteredStatements(len(score.results), score.refused, tuple(survivors), kinds)


def judged_entry(entry: ClaimEntry, verdict: ClaimVerdict) -> dict[str, Any]:
    """What a verdict adds to an entry: its fields."""
    return {"verdicts": verdict.verdicts, "altered": altered_statements(verdict.controls)}


def entry_as_plain(entry: ClaimEntry) -> dict[str, Any]:
    """Strict JSON data: all but records and certificate, which stand beside it."""
    plain: dict[str, Any] = plain_copy(
        {
            "statement": asdict(entry.statement),
            "steps": [asdict(step) for step in entry.steps],
            "failed_steps": entry.failed_steps,
            "forms": entry.forms,
            "domain": entry.domain,
            "audit": None if entry.audit is None else audit_as_plain(entry.audit),
            "checks": None if entry.verdicts is None else [one.as_plain() for one in entry.verdicts],
            "altered": None if entry.altered is None else asdict(entry.altered),
        },
        entry.identifier,
    )
    return plain


def audit_as_plain(audit: Audit) -> dict[str, Any]:
    """An audit as plain data; the counterexample as text, as it is printed."""
    plain = audit.as_plain()
    return plain | {"counterexample": {name: str(value) for name, value in plain["counterexample"].items()}}


def entry_from_plain(identifier: str, plain: Mapping[str, Any]) -> ClaimEntry:
    """The entry that `entry_as_plain` wrote. KeyError or TypeError for anything else."""
    checks, altered, audit = plain["checks"], plain["altered"], plain["audit"]
    return ClaimEntry(
        identifier,
        statement_from_plain(plain["statement"]),
        tuple(PrintedStep(**step) for step in plain["steps"]),
        tuple(plain["failed_steps"]),
        plain["forms"],
        plain["domain"],
        None if audit is None else audit_from_plain(audit),
        None if checks is None else tuple(map(verdict_from_plain, checks)),
        None if altered is None else altered_from_plain(altered),
    )


def statement_from_plain(plain: Mapping[str, Any]) -> PrintedStatement:
    lists = {name: tuple(plain[name]) for name in ("assumptions", "uses")}
    sources = tuple(PrintedSource(**one) for one in plain["sources"])
    return PrintedStatement(**{**plain, **lists, "sources": sources})


def audit_from_plain(plain: Mapping[str, Any]) -> Audit:
    counterexample = dict(plain["counterexample"])
    return Audit(**{**plain, "counterexample": lambda: counterexample})


def altered_from_plain(plain: Mapping[str, Any]) -> AlteredStatements:
    return AlteredStatements(**{**plain, "survivors": tuple(Survivor(**one) for one in plain["survivors"])})


def verdict_from_plain(plain: Mapping[str, Any]) -> Verdict:
    """A verdict as it was: a number that JSON has no word for was written as null, and was infinite."""
    missing = {field.name for field in fields(Verdict) if plain[field.name] is None}
    return Verdict(**{**plain, **dict.fromkeys(missing, float("inf"))})
