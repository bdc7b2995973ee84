r"""The appendix as LaTeX for \input: standard packages only (amsmath, amssymb, and any document class)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .document import Document
from .entry import ClaimEntry
from .markdown import audit_items, cells, controls_text, evidence_text, sentence

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def escape(text: str) -> str:
    """Text with every character that LaTeX reads as a command made literal."""
    return "".join(SPECIAL.get(character, character) for character in text)


def to_latex(document: Document) -> str:
    """The whole document, to be \\input after \\usepackage{amsmath,amssymb}."""
    return "\n".join(lines(document)) + "\n"


def lines(document: Document) -> Iterator[str]:
    yield "% Needs \\usepackage{amsmath,amssymb}; include with \\input{appendix}."
    yield r"\section*{Verification appendix}"
    yield escape(
        f"Written by iclcheck {document.version} from the records of the {document.budget.profile} profile, seed "
        f"{document.budget.seed}, device {document.budget.device}."
    )
    yield ""
    yield r"\begin{center}\begin{tabular}{lll}"
    yield r"claim & derivation & evidence \\ \hline"
    for entry in document.entries:
        evidence = entry.evidence_status + (" (audit)" if entry.audit else "")
        yield rf"{escape(entry.identifier)} & {entry.derivation_status} & {evidence} \\"
    yield r"\end{tabular}\end{center}"
    for entry in document.entries:
        if entry.audit and entry.verdicts is not None:  # too long for a cell
            yield rf"{escape(entry.identifier)}: {escape(evidence_text(document, entry))}.\\"
    for entry in document.entries:
        yield from claim_lines(entry)
    yield r"\subsection*{Environment}"
    yield r"\begin{itemize}"
    for text in document.environments or ["no records"]:
        yield rf"  \item {escape(text)}"
    yield r"\end{itemize}"


def claim_lines(entry: ClaimEntry) -> Iterator[str]:
    statement = entry.statement
    yield ""
    yield rf"\subsection*{{{escape(statement.title)}}}\label{{iclcheck:{entry.identifier}}}"
    yield escape(statement.text)
    yield display(statement.latex)
    yield rf"\textit{{Assumptions.}} {escape('; '.join(statement.assumptions))}."
    yield rf"\textit{{Conventions.}} {escape(statement.conventions)}."
    yield rf"\textit{{Sources.}} {escape('; '.join(str(s) for s in statement.sources))}."
    for heading, text in audit_items(entry.audit) if entry.audit else []:
        yield rf"\textit{{{escape(heading)}.}} {escape(text)}"
        yield ""
    yield rf"\textit{{Domain of the checks.}} {escape(entry.domain)}."
    yield r"\begin{enumerate}"
    for step in entry.steps:
        failed = " (FAILED)" if step.name in entry.failed_steps else ""
        yield rf"  \item \textbf{{{escape(step.name)}{failed}.}} {escape(sentence(step.rule))}"
        yield "  " + display(step.latex)
        if step.proof:
            yield "  " + escape(step.proof)
    yield r"\end{enumerate}"
    if entry.trusted:
        engines = ", ".join(entry.level.engines)
        yield rf"\textit{{Certified by {escape(engines)}. Left to trust.}} {escape(' '.join(entry.trusted))}"
        yield ""
    yield from evidence_lines(entry)


def evidence_lines(entry: ClaimEntry) -> Iterator[str]:
    if entry.verdicts is None:
        yield "Not measured."
        return
    yield r"\begin{itemize}"
    for verdict in entry.verdicts:
        check, outcome, measured, predicted, allowed, caught, unit, ran, alarms, misses = map(escape, cells(verdict))
        yield (
            rf"  \item \textbf{{{check}: {outcome}.}} Measured {measured}, predicted {predicted} {unit}; "
            rf"allowed {allowed}, would have caught {caught}. Run: {ran}. False alarms: {alarms}; misses: {misses}."
        )
    yield r"\end{itemize}"
    yield escape(controls_text(entry))


LINE_WIDTH = 55  # visible characters that fit a text line of an article


def display(formula: str) -> str:
    r"""A displayed formula: on one line if it fits, else broken at the signs of its outermost sum.

    >>> display("a + b")
    '\\[ a + b \\]'
    """
    lines = [""]
    for term in outer_terms(formula):
        if visible_length(lines[-1] + term) > LINE_WIDTH and lines[-1]:
            lines.append("")
        lines[-1] += term
    if len(lines) == 1:
        return rf"\[ {formula} \]"
    return r"\begin{multline*} " + r" \\ ".join(lines) + r" \end{multline*}"


def outer_terms(formula: str) -> list[str]:
    """The formula cut before each sign outside braces and brackets, so that no group is torn."""
    depth, terms, start = 0, [], 0
    for place, character in enumerate(formula):
        depth += (character in "{([") - (character in "})]")
        if depth == 0 and formula[place : place + 3] in (" + ", " - ") and place > start:
            terms.append(formula[start:place])
            start = place
    return [*terms, formula[start:]]


def visible_length(formula: str) -> int:
    """About how many characters wide a formula is set."""
    bare = re.sub(r"\\t?frac\{([^{}]*)\}\{([^{}]*)\}", lambda m: max(m[1], m[2], key=len), formula)
    bare = bare.replace(r"\sum", "sum")
    bare = re.sub(r"\\(operatorname|mathbb|rm|Bigl|Bigr|bigl|bigr)", "", bare)
    return len(re.sub(r"\\[a-zA-Z]+|\\.", "x", re.sub(r"[{}^_ ]", "", bare)))
