"""Audits: statements as a paper prints them, put to the same checks as every other claim.

Main statements
    An audit is a claim whose statement is the printed one, word for word in our notation, with a counterexample in
    plain numbers and the name of the claim that is right in its place. Its verdict comes from its checks alone.
    named alone    it counts as what its checks say: a printed statement that fails is contradicted
    among others   it counts as agreeing where it contradicts and its corrected claim agrees: then both are as they
                   should be. Contradicted without a verdict on the corrected claim, or not contradicted at all
                   although there is a counterexample, it decides nothing.
No formula of an audit is altered: what is altered are the formulas of the corrected claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..verdicts.verdict import Outcome, combine

if TYPE_CHECKING:
    from ..levels import Level


@dataclass(frozen=True)
class Audit:
    """What a printed statement is, where it fails, and what is right.

    printed           the statement as printed, in the notation of docs/conventions.md
    reading           how its words are taken, and where its text comes from
    counterexample    names and plain numbers (fractions as text) at which it fails; computed, not typed
    corrected         the claim that holds in its place
    correction        what that claim says, in one sentence
    survives          what of the paper's conclusion holds all the same
    """

    printed: str
    reading: str
    counterexample: Callable[[], Mapping[str, Any]]
    corrected: str
    correction: str
    survives: str

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        return {
            "printed": self.printed,
            "reading": self.reading,
            "counterexample": dict(self.counterexample()),
            "corrected": self.corrected,
            "correction": self.correction,
            "survives": self.survives,
        }


class Judged(Protocol):
    """Anything that has an outcome, of a claim that may be an audit."""

    @property
    def identifier(self) -> str: ...
    @property
    def outcome(self) -> Outcome: ...
    @property
    def audit(self) -> Audit | None: ...


OutcomeOf = Mapping[str, Outcome]
VERBS: Mapping[Outcome, str] = {"agrees": "agrees", "contradicts": "is contradicted", "inconclusive": "is undecided"}


def counted(one: Judged, outcomes: OutcomeOf) -> Outcome:
    """What a verdict counts for among others; `outcomes` are those of the same run, by claim.

    >>> from types import SimpleNamespace
    >>> audit = SimpleNamespace(corrected="right")
    >>> counted(SimpleNamespace(audit=audit, outcome="contradicts"), {"right": "agrees"})
    'agrees'
    >>> counted(SimpleNamespace(audit=audit, outcome="contradicts"), {})
    'inconclusive'
    """
    if one.audit is None:
        return one.outcome
    return outcomes.get(one.audit.corrected, "inconclusive") if one.outcome == "contradicts" else "inconclusive"


def outcomes_of(found: Iterable[Judged]) -> dict[str, Outcome]:
    """Outcomes by claim."""
    return {one.identifier: one.outcome for one in found}


def outcome_of_run(found: Iterable[Judged]) -> Outcome:
    """The outcome of a run: that of its one claim, or all of them counted together."""
    listed = list(found)
    if len(listed) == 1:
        return listed[0].outcome
    outcomes = outcomes_of(listed)
    return combine(counted(one, outcomes) for one in listed)


def in_words(one: Judged, outcomes: OutcomeOf) -> str:
    """The state of an audit in one line; nothing for any other claim."""
    if one.audit is None:
        return ""
    corrected = one.audit.corrected
    if one.outcome != "contradicts":
        return f"audit: {'not contradicted' if one.outcome == 'agrees' else 'undecided'}, see {corrected}"
    verb = f"which {VERBS[outcomes[corrected]]}" if corrected in outcomes else "not judged here"
    return f"audit: contradicted as printed; corrected by {corrected}, {verb}"


def level_in_words(level: Level, audit: Audit | None) -> str:
    """The level of a derivation; that of an audit derives the counterexample, not the statement."""
    return f"refutation {level}" if audit else str(level)


def written_out(counterexample: Mapping[str, Any]) -> str:
    """A counterexample on one line."""
    return "; ".join(f"{name} = {value}" for name, value in counterexample.items())
