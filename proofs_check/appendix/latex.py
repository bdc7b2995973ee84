r"""The appendix as LaTeX for \input: standard packages only (amsmath, amssymb, and any document class)."""

from __future__ import annotations

from collections.abc import Iterator

from .document import ClaimEntry, Document
from .markdown import cells, sentence

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
        yield rf"{escape(entry.claim.identifier)} & {entry.derivation_status} & {entry.evidence_status} \\"
    yield r"\end{tabular}\end{center}"
    for entry in document.entries:
        yield from claim_lines(entry)
    yield r"\subsection*{Environment}"
    yield r"\begin{itemize}"
    for text in document.environments or ["no records"]:
        yield rf"  \item {escape(text)}"
    yield r"\end{itemize}"


def claim_lines(entry: ClaimEntry) -> Iterator[str]:
    statement = entry.derivation.statement
    yield ""
    yield rf"\subsection*{{{escape(statement.title)}}}\label{{iclcheck:{entry.claim.identifier}}}"
    yield escape(statement.text)
    yield rf"\begin{{multline*}} {break_sums(statement.latex)} \end{{multline*}}"
    yield rf"\textit{{Assumptions.}} {escape('; '.join(statement.assumptions))}."
    yield rf"\textit{{Conventions.}} {escape(statement.conventions)}."
    yield rf"\textit{{Sources.}} {escape('; '.join(str(s) for s in statement.sources))}."
    yield rf"\textit{{Domain of the checks.}} {escape(entry.claim.domain)}."
    yield r"\begin{enumerate}"
    for step in entry.derivation.steps:
        failed = " (FAILED)" if step.name in entry.failed_steps else ""
        yield rf"  \item \textbf{{{escape(step.name)}{failed}.}} {escape(sentence(step.rule))}"
        yield rf"  \begin{{multline*}} {break_sums(step.latex)} \end{{multline*}}"
        if step.proof:
            yield "  " + escape(step.proof)
    yield r"\end{enumerate}"
    yield from evidence_lines(entry)


def evidence_lines(entry: ClaimEntry) -> Iterator[str]:
    if entry.verdict is None:
        yield "Not measured."
        return
    yield r"\begin{itemize}"
    for verdict in entry.verdict.verdicts:
        check, outcome, measured, predicted, allowed, caught, unit, ran, alarms, misses = map(
            escape, cells(verdict)
        )
        yield (
            rf"  \item \textbf{{{check}: {outcome}.}} Measured {measured}, predicted {predicted} {unit}; "
            rf"allowed {allowed}, would have caught {caught}. Run: {ran}. False alarms: {alarms}; misses: {misses}."
        )
    yield r"\end{itemize}"


TERMS_PER_LINE = 3


def break_sums(formula: str) -> str:
    r"""Break a long sum into lines of a few terms each, for multline.

    Only signs outside braces and brackets are places to break, so that no group is torn.
    """
    depth, terms, start = 0, [], 0
    for place, character in enumerate(formula):
        depth += (character in "{([") - (character in "})]")
        if depth == 0 and formula[place : place + 3] in (" + ", " - ") and place > start:
            terms.append(formula[start:place])
            start = place
    terms.append(formula[start:])
    lines = ["".join(terms[k : k + TERMS_PER_LINE]) for k in range(0, len(terms), TERMS_PER_LINE)]
    return " \\\\ ".join(lines)
