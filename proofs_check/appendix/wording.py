"""Sentences and signs that all formats of the appendix share."""

from __future__ import annotations

from ..claims.audit import counted, outcomes_of
from .document import Document
from .entry import ClaimEntry

MARKS = {
    "agrees": ("✓", "agrees"),
    "contradicts": ("✗", "contradicted"),
    "inconclusive": ("?", "undecided"),
    "none": ("–", "not measured"),
    "audited": ("!", "contradicted as printed, corrected"),
}
"""Kind -> sign, word. Signs tell the kinds apart without their colours."""

LEVELS = (
    ("stated", "a step of the derivation fails at a random rational instance."),
    (
        "derived",
        "every step that has a check holds exactly at random rational instances: expectations against the layer "
        "multiplied out in components, algebra in exact matrices.",
    ),
    (
        "certified (engines)",
        "besides, these engines, which share no code with the derivation, confirmed every listed statement on every "
        "step; what that leaves to trust is named with the claim.",
    ),
    (
        "agrees",
        "each check holds at its stated rate of false alarms and would have caught a gap of the stated size; smaller "
        "gaps it may have missed, and so may a check that counts replicas miss a gap in a smaller share of its domain "
        "than the stated one.",
    ),
    ("contradicts", "a check refuses the statement at its stated rate of false alarms."),
    ("inconclusive", "the statement is allowed, but a check could have missed a gap of interest."),
    ("none", "not measured, or by code that has changed since."),
    ("audit", "the claim is a statement as a paper prints it; its derivation is that of a counterexample."),
)


def mark_of(document: Document, entry: ClaimEntry) -> str:
    """The kind of a claim's state, by which it is marked."""
    if entry.verdicts is None and not entry.failed_steps:
        return "none"
    if entry.audit is not None and counted(entry, outcomes_of(document.entries)) == "agrees":
        return "audited"
    return entry.outcome


def origin_line(document: Document) -> str:
    """Where the appendix comes from."""
    budget = document.budget
    return (
        f"Written by iclcheck {document.version} from the records of the {budget.profile} profile, seed {budget.seed}, "
        f"device {budget.device}. Every status and number is computed from these records."
    )


def verify_line() -> str:
    return "To judge everything again, from hashes to measurements:"
