r"""The appendix as LaTeX for \input: standard packages only (amsmath, amssymb, and any document class)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from .document import Document
from .entry import ClaimEntry
from .formulas import is_readable
from .latex_text import breakable, escape
from .markdown import HEADINGS, audit_items, cells, controls_text, evidence_text, sentence
from .wording import LEVELS, origin_line, verify_line


def to_latex(document: Document, digest: str = "") -> str:
    """The whole document, for \\input after \\usepackage{amsmath,amssymb}; `digest` is that of records.json."""
    return "\n".join(lines(document, digest)) + "\n"


CLAIM = r"\claim"
# Links where hyperref is loaded, pages where it is not.
CLAIM_COMMAND = r"""\makeatletter
\providecommand{\claim}[1]{\@ifundefined{hyperref}%
  {\texttt{#1} (page~\pageref{iclcheck:#1})}{\hyperref[iclcheck:#1]{\texttt{#1}}}}
\providecommand{\iclcheckplace}[1]{\@ifundefined{phantomsection}{}{\phantomsection}\label{iclcheck:#1}}
\makeatother"""


def lines(document: Document, digest: str) -> Iterator[str]:
    yield "% Needs \\usepackage{amsmath,amssymb}; include with \\input{appendix}. With hyperref \\claim makes links."
    yield CLAIM_COMMAND
    yield r"\section*{Verification appendix}"
    yield escape(origin_line(document))
    yield ""
    yield rf"{escape(verify_line())} \texttt{{iclcheck verify records.json}}, digest"
    yield rf"\texttt{{\small {breakable(digest)}}}."
    yield ""
    yield from overview_lines(document)
    for entry in document.entries:
        yield from claim_lines(entry, document.identifiers)
    yield r"\subsection*{Environment}"
    yield from itemized(document.environments or ["no records"])


def overview_lines(document: Document) -> Iterator[str]:
    """A list, since a table that goes over pages needs a package more."""
    yield r"\subsection*{Overview}"
    yield r"\begin{itemize}"
    for entry in document.entries:
        name, status = rf"\claim{{{label(entry.identifier)}}}", escape(entry.derivation_status)
        yield rf"  \item {name}: {status}; {breakable(evidence_text(document, entry))}."
    yield r"\end{itemize}"
    yield r"\begin{description}"
    for word, meaning in LEVELS:
        yield rf"  \item[{escape(word)}] {escape(meaning)}"
    yield r"\end{description}"


def label(identifier: str) -> str:
    """The name of a claim inside of \\claim; letters that LaTeX would not read there are written as numbers."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-.") else f"+{ord(c):x}+" for c in identifier)


def itemized(texts: Iterable[str]) -> Iterator[str]:
    yield r"\begin{itemize}"
    yield from (rf"  \item {breakable(text)}" for text in texts)
    yield r"\end{itemize}"


def titled(heading: str, text: str) -> Iterator[str]:
    yield rf"\textit{{{escape(heading)}.}} {breakable(text)}"
    yield ""


def link(name: str, known: Sequence[str]) -> str:
    """A claim's name, linked where the claim is in the document."""
    return f"{CLAIM}{{{label(name)}}}" if name in known else rf"\texttt{{{breakable(name)}}}"


def claim_lines(entry: ClaimEntry, known: Sequence[str]) -> Iterator[str]:
    statement = entry.statement
    yield ""
    yield rf"\subsection*{{{breakable(statement.title)}}}\iclcheckplace{{{label(entry.identifier)}}}"
    yield rf"\texttt{{{breakable(entry.identifier)}}}, {escape(entry.derivation_status)}, {entry.evidence_status}."
    yield ""
    yield breakable(statement.text)
    yield display(statement.latex)
    yield from titled("Assumptions", f"{'; '.join(statement.assumptions)}.")
    yield from titled("Conventions", f"{statement.conventions}.")
    yield from titled("Sources", f"{'; '.join(map(str, statement.sources))}.")
    if statement.uses:
        links = ", ".join(link(one, known) for one in statement.uses)
        yield rf"\textit{{Uses.}} {links}."
        yield ""
    for heading, text in audit_items(entry.audit) if entry.audit else []:
        yield from titled(heading, text)
    yield from titled("Domain of the checks", f"{entry.domain}.")
    yield r"\begin{enumerate}"
    for step in entry.steps:
        failed = " (FAILED)" if step.name in entry.failed_steps else ""
        yield rf"  \item \textbf{{{breakable(step.name)}{failed}.}} {breakable(sentence(step.rule))}"
        yield "  " + display(step.latex)
        if step.proof:
            yield "  " + breakable(step.proof)
    yield r"\end{enumerate}"
    if entry.trusted:
        yield from titled(f"Certified by {', '.join(entry.level.engines)}", f"Left to trust: {' '.join(entry.trusted)}")
    yield from evidence_lines(entry)


def evidence_lines(entry: ClaimEntry) -> Iterator[str]:
    if entry.verdicts is None:
        yield "Not measured."
        return
    yield r"\begin{itemize}"
    for verdict in entry.verdicts:
        check, outcome, measured, predicted, allowed, caught, unit, ran, alarms, misses = map(breakable, cells(verdict))
        yield (
            rf"  \item \textbf{{{check}: {outcome}.}} Measured {measured}, predicted {predicted} {unit}; "
            rf"allowed {allowed}, would have caught {caught}. Run: {ran}. False alarms: {alarms}; misses: {misses}."
        )
    yield r"\end{itemize}"
    yield breakable(controls_text(entry))


def to_macros(document: Document, digest: str) -> str:
    """A file for the preamble of a paper, so that its numbers come from the records."""
    return "\n".join(macro_lines(document, digest)) + "\n"


VALUE_COMMAND = r"""% \claimvalue{NAME}{WHAT} is a number or word of the records; \input this in the preamble.
% A name that is not in this file stops LaTeX, so that no number is left behind when the records change.
\makeatletter
\newcommand{\claimvalue}[2]{\@ifundefined{iclcheck@#1@#2}%
  {\errmessage{iclcheck: there is no value #2 of the claim #1}}{\csname iclcheck@#1@#2\endcsname}}
\newcommand{\iclcheckvalue}[3]{\expandafter\gdef\csname iclcheck@#1@#2\endcsname{#3}}
\makeatother"""


def macro_lines(document: Document, digest: str) -> Iterator[str]:
    yield VALUE_COMMAND
    yield CLAIM_COMMAND
    yield rf"\newcommand{{\iclcheckversion}}{{{escape(document.version)}}}"
    yield rf"\newcommand{{\iclcheckdigest}}{{{digest}}}"
    for entry in document.entries:
        for name, value in values_of(entry):
            yield rf"\iclcheckvalue{{{label(entry.identifier)}}}{{{name}}}{{{escape(value)}}}"


def values_of(entry: ClaimEntry) -> Iterator[tuple[str, str]]:
    """Names and values of one claim; those of its checks begin with the check's number."""
    yield "derivation", entry.derivation_status
    yield "evidence", entry.evidence_status
    yield "records", str(len(entry.records))
    if entry.altered is not None:
        yield "altered", str(entry.altered.counted)
        yield "refused", str(entry.altered.refused)
    for number, verdict in enumerate(entry.verdicts or (), start=1):
        found = dict(zip(HEADINGS, cells(verdict), strict=True))
        yield from ((f"{number} {name}", found[heading]) for name, heading in VALUES.items())


VALUES = {  # of a check
    "check": "check",
    "outcome": "verdict",
    "measured": "measured",
    "predicted": "predicted",
    "allowed": "allowed",
    "gap": "would have caught",
    "unit": "unit",
    "run": "what was run",
    "alarm": "false alarms",
    "miss": "misses",
}


LINE_WIDTH = 55  # visible characters that fit a text line of an article


def display(formula: str) -> str:
    r"""A displayed formula: on one line if it fits, else broken at the signs of its outermost sum.

    >>> display("a + b")
    '\\[ a + b \\]'
    """
    if not is_readable(formula):  # it could be any command
        return rf"\begin{{quote}}\texttt{{{breakable(formula)}}}\end{{quote}}"
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
