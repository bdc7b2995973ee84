"""The appendix as Markdown with LaTeX formulas between dollar signs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..claims.audit import Audit, written_out
from ..verdicts.verdict import Verdict
from .document import Document
from .entry import ClaimEntry
from .formulas import is_readable

HEADINGS = (
    "check",
    "verdict",
    "measured",
    "predicted",
    "allowed",
    "would have caught",
    "unit",
    "what was run",
    "false alarms",
    "misses",
)


def to_markdown(document: Document) -> str:
    """The whole document."""
    return "\n".join(lines(document)) + "\n"


LITERAL = {"&": "&amp;", "<": "&lt;", "](": "]\\(", "`": "\\`", "$": "\\$"}


def literal(text: str) -> str:
    """Text in which nothing is HTML, a link, a formula or a line of its own; stars, underscores and code stay.

    >>> literal("a < b, <b>, [x](http://y), `code`")
    'a < b, &lt;b>, [x]\\\\(http://y), `code`'
    """
    signs = r"&|<(?=[A-Za-z/!?])|\]\(|\$"
    if text.count("`") % 2:
        signs += "|`"
    return re.sub(signs, lambda found: LITERAL[found[0]], " ".join(text.split()))


def cell(text: str) -> str:
    """Text in a cell of a table."""
    return literal(text).replace("|", "\\|")


def code(text: str) -> str:
    """Text between backticks."""
    return " ".join(text.replace("`", "'").split())


def slug(identifier: str) -> str:
    """The place of a claim in a file; letters that an address may not hold are written as numbers."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else f"_{ord(c):x}_" for c in identifier)


def lines(document: Document) -> Iterator[str]:
    yield "# Verification appendix"
    yield ""
    yield (
        f"Written by iclcheck {document.version} from the records of the {document.budget.profile} profile, seed "
        f"{document.budget.seed}, device {document.budget.device}. To check it: `iclcheck check --profile "
        f"{document.budget.profile} --seed {document.budget.seed}`."
    )
    yield ""
    yield "| claim | derivation | evidence |"
    yield "|---|---|---|"
    for entry in document.entries:
        name = entry.identifier
        state = cell(evidence_text(document, entry))
        yield f"| [{cell(name)}](#{slug(name)}) | {entry.derivation_status} | {state} |"
    yield ""
    yield (
        "*derived*: every step that has a check holds exactly at random rational instances, expectations against "
        "the layer multiplied out in components and algebra in exact matrices. *certified (engines)*: besides, these "
        "engines, which share no code with the derivation, confirmed every listed statement on every step; what that "
        "leaves to trust is named with the claim. *agrees*: each check holds at its "
        "stated rate of false alarms and would have caught a gap of the stated size; smaller gaps it may have missed, "
        "and so may a check that counts replicas miss a gap in a smaller share of its domain than the stated one. "
        "*audit*: the claim is a statement as a paper prints it; its derivation is that of a counterexample."
    )
    for entry in document.entries:
        yield from claim_lines(entry)
    yield ""
    yield "## Environment"
    yield ""
    for text in document.environments or ["no records"]:
        yield f"- {text}"


def displayed(formula: str) -> str:
    """A formula between dollar signs, or as code where it could be anything."""
    if not is_readable(formula):
        return f"<code>{literal(formula)}</code>"
    signs = formula.replace("<", r"\lt ").replace(">", r"\gt ")  # or it could be HTML
    return f"$$ {' '.join(signs.split())} $$"


def evidence_text(document: Document, entry: ClaimEntry) -> str:
    """The evidence, of an audit in words."""
    return (document.audit_in_words(entry) if entry.verdicts is not None else "") or entry.evidence_status


def audit_items(audit: Audit) -> list[tuple[str, str]]:
    """What is said about a printed statement: headings and texts."""
    return [
        ("Printed", audit.printed),
        ("Reading", audit.reading),
        ("Counterexample", f"{written_out(audit.counterexample())}."),
        (f"Corrected by {audit.corrected}", audit.correction),
        ("What holds all the same", audit.survives),
    ]


def claim_lines(entry: ClaimEntry) -> Iterator[str]:
    statement = entry.statement
    yield ""
    yield f'## {literal(statement.title)} <a id="{slug(entry.identifier)}"></a>'
    yield ""
    yield literal(statement.text)
    yield ""
    yield displayed(statement.latex)
    yield ""
    for heading, items in (
        ("Assumptions", statement.assumptions),
        ("Sources", [str(s) for s in statement.sources]),
    ):
        yield f"{heading}: " + literal("; ".join(items)) + "."
        yield ""
    yield f"Conventions: {literal(statement.conventions)}."
    yield ""
    for heading, text in audit_items(entry.audit) if entry.audit else []:
        yield f"{literal(heading)}: {literal(text)}"
        yield ""
    yield f"Domain of the checks: {literal(entry.domain)}."
    yield ""
    yield "### Derivation"
    yield ""
    for number, step in enumerate(entry.steps, start=1):
        checked = how_checked(entry, step.name, step.checked)
        yield f"{number}. **{literal(step.name)}.** {literal(sentence(step.rule))}{checked}"
        yield ""
        yield f"   {displayed(step.latex)}"
        yield ""
        if step.proof:
            yield f"   {literal(step.proof)}"
            yield ""
    if entry.trusted:
        yield f"Certified by {', '.join(entry.level.engines)}. Left to trust: {literal(' '.join(entry.trusted))}"
        yield ""
    yield "### Evidence"
    yield ""
    if entry.verdicts is None:
        yield "Not measured."
        return
    yield "| " + " | ".join(HEADINGS) + " |"
    yield "|" + "---|" * len(HEADINGS)
    for verdict in entry.verdicts:
        yield "| " + " | ".join(cell(one) for one in cells(verdict)) + " |"
    yield ""
    yield literal(controls_text(entry))
    yield ""
    yield (
        f"Records: {len(entry.records)}, "
        + ", ".join(record.key[:12] for record in entry.records[:4])
        + (", ..." if len(entry.records) > 4 else "")
    )


def controls_text(entry: ClaimEntry) -> str:
    """What the checks said to altered statements, in words."""
    if entry.audit is not None:
        return f"Altered statements: those of {entry.audit.corrected}."
    score = entry.altered
    if score is None:
        return f"Altered statements: not measured; run iclcheck check {entry.identifier}."
    survived = "".join(
        f" Survived: {survivor.statement} (differs by {survivor.difference:.2g})." for survivor in score.survivors
    )
    left_out = ", ".join(f"{number} {words}" for words, number in score.in_words() if number)
    return f"Altered statements: {score}." + (f" Not counted: {left_out}." if left_out else "") + survived


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def how_checked(entry: ClaimEntry, step: str, has_check: bool) -> str:
    if not has_check:
        return ""
    return " (FAILED)" if step in entry.failed_steps else " (checked exactly)"


def caught(verdict: Verdict) -> str:
    """The detectable gap; for a check that counts replicas, with the share of the domain where it has to be."""
    share = verdict.details.get("share of the domain")
    return f"{verdict.detectable:.2g}" + (f" in {share:.1%} of the domain" if share is not None else "")


def cells(verdict: Verdict) -> list[str]:
    return [
        verdict.check,
        verdict.outcome,
        f"{verdict.measured:.4g}",
        f"{verdict.predicted:.3g}",
        f"{verdict.allowed:.2g}",
        caught(verdict),
        verdict.unit,
        verdict.ran,
        f"{verdict.false_alarm:.0e}" if verdict.false_alarm else "none (no sampling)",
        f"{verdict.miss:.0e}" if verdict.miss else "none",
    ]
