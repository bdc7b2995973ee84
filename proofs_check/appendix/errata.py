"""The page of errata: every audited statement with its verdict, its counterexample and what is right in its place.

Everything on it is computed from the claims and the stored records; the page of the project is written by
`make errata`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..bibliography import BY_KEY
from ..claims.audit import Audit, written_out
from ..verdicts.verdict import Verdict
from .document import Document
from .entry import ClaimEntry
from .markdown import caught, cell, code, literal, slug


def to_errata(document: Document) -> str:
    """The page as Markdown."""
    return "\n".join(lines(document)) + "\n"


def audited(document: Document) -> list[tuple[ClaimEntry, Audit]]:
    """The entries of the appendix that are audits."""
    return [(entry, entry.audit) for entry in document.entries if entry.audit is not None]


def lines(document: Document) -> Iterator[str]:
    yield "# Printed statements that were audited"
    yield ""
    yield (
        "We build on these papers, and list here single statements in them that do not hold as printed, so that a "
        "reader who meets them knows what to use instead. Where one is a numbered theorem, it is its constants; what "
        "holds all the same is said with each. A verdict is about the reading that stands beside it, and we may have "
        "misread one: then please tell us. Each statement is a claim of the toolkit, and so is its correction; the "
        "verdicts are computed from measurements, never written by hand."
    )
    yield ""
    yield (
        f"Written by iclcheck {document.version} (`make errata`) from the records of the {document.budget.profile} "
        f"profile, seed {document.budget.seed}, device {document.budget.device}."
    )
    yield ""
    yield "| audit | where | state |"
    yield "|---|---|---|"
    for entry, _ in audited(document):
        name = entry.identifier
        yield f"| [{literal(name)}](#{slug(name)}) | {cell(source_of(entry))} | {cell(state_of(document, entry))} |"
    for entry, audit in audited(document):
        yield from entry_lines(document, entry, audit)


def source_of(entry: ClaimEntry) -> str:
    """Where it is printed."""
    (source,) = (one for one in entry.statement.sources if one.key != "ours")
    return str(source)


def place_of(entry: ClaimEntry) -> str:
    """The place in the paper."""
    (source,) = (one for one in entry.statement.sources if one.key != "ours")
    return source.place


def state_of(document: Document, entry: ClaimEntry) -> str:
    """The state in words; what was not measured is said to be so."""
    return document.audit_in_words(entry) if entry.verdicts is not None else "not measured"


def entry_lines(document: Document, entry: ClaimEntry, audit: Audit) -> Iterator[str]:
    """One audited statement."""
    name, corrected = entry.identifier, document.entry(audit.corrected)
    key = next(one.key for one in entry.statement.sources if one.key != "ours")
    yield ""
    yield f'## {literal(name)} <a id="{slug(name)}"></a>'
    yield ""
    yield f"- **Paper.** {BY_KEY[key].to_text()}."
    yield f"- **Place.** {place_of(entry)}."
    yield f"- **Printed.** {literal(audit.printed)}"
    yield f"- **Reading.** {literal(audit.reading)}"
    yield f"- **Counterexample.** {literal(written_out(audit.counterexample()))}."
    state = sentence(state_of(document, entry).removeprefix("audit: "))
    yield f"- **Verdict, on this reading.** {state}. {numbers(entry)}"
    yield f"- **Level of the counterexample.** {sentence(str(entry.level))}."
    yield f"- **Corrected statement** ({literal(audit.corrected)}). {literal(audit.correction)}"
    yield f"- **Its verdict.** {verdict_of(corrected)}"
    yield f"- **What holds all the same.** {literal(audit.survives)}"
    yield f"- **Command.** `iclcheck check {code(name)} {code(audit.corrected)}`"


def numbers(entry: ClaimEntry) -> str:
    """What each check measured beside what is printed."""
    return " ".join(one_check(verdict) for verdict in entry.verdicts) if entry.verdicts is not None else ""


def one_check(verdict: Verdict) -> str:
    return (
        f"*{literal(verdict.check)}*: measured {verdict.measured:.4g}, printed {verdict.predicted:.4g} "
        f"({literal(verdict.unit)}), allowed {verdict.allowed:.2g}; {literal(verdict.ran)}."
    )


def verdict_of(corrected: ClaimEntry | None) -> str:
    """The verdict on the correction, with what its checks would have caught."""
    if corrected is None or corrected.verdicts is None:
        return "Not measured."
    gaps = "; ".join(
        f"{literal(one.check)}: {one.outcome}, would have caught {caught(one)}" for one in corrected.verdicts
    )
    score = corrected.altered
    altered = f" {score}." if score is not None else ""
    return f"{sentence(corrected.evidence_status)}, {corrected.derivation_status} ({gaps}).{altered}"


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
