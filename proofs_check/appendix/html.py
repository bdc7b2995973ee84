"""The appendix as one HTML file: no script, no font or picture from elsewhere, light and dark, phone to desktop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from ..bibliography import BY_KEY
from .document import Document
from .entry import ClaimEntry
from .graph import graph_svg
from .markdown import HEADINGS, audit_items, cells, controls_text, evidence_text, sentence, slug
from .mathml import to_mathml
from .strips import LEGEND, strip_svg
from .style import STYLE
from .wording import LEVELS, MARKS, mark_of, origin_line, verify_line


def to_html(document: Document, digest: str) -> str:
    """The whole file; `digest` is that of records.json."""
    return "\n".join(lines(document, digest)) + "\n"


def lines(document: Document, digest: str) -> Iterator[str]:
    yield "<!DOCTYPE html>"
    yield '<html lang="en">'
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    # Nothing is loaded from anywhere, whatever a claim's text says.
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield f"<title>Verification appendix, iclcheck {escape(document.version)}</title>"
    yield f"<style>{STYLE}</style>"
    yield "</head>"
    yield "<body>"
    yield '<a class="skip" href="#main">Skip to the claims</a>'
    yield from header_lines(document, digest)
    yield from contents_lines(document)
    yield '<main id="main">'
    yield from overview_lines(document)
    for entry in document.entries:
        yield from claim_lines(document, entry)
    yield from errata_lines(document)
    yield from source_lines(document)
    yield from environment_lines(document)
    yield "</main>"
    yield "</body>"
    yield "</html>"


def header_lines(document: Document, digest: str) -> Iterator[str]:
    yield "<header>"
    yield "<h1>Verification appendix</h1>"
    yield f"<p>{escape(origin_line(document))}</p>"
    yield f"<p>{escape(verify_line())} <code>iclcheck verify records.json</code></p>"
    yield f'<p>Digest of the records: <code class="hash">{digest}</code></p>'
    yield "</header>"


def contents_lines(document: Document) -> Iterator[str]:
    yield '<nav aria-label="Contents"><details><summary>Contents</summary><ul>'
    places = [("overview", "Overview"), ("graph", "Graph of claims")]
    yield from (f'<li><a href="#{place}">{name}</a></li>' for place, name in places)
    yield "<li>Claims<ul>"
    for entry in document.entries:
        yield f'<li><a href="#{anchor(entry.identifier)}">{escape(entry.identifier)}</a></li>'
    yield "</ul></li>"
    places = [
        ("errata", "Printed statements that were audited"),
        ("sources", "Sources"),
        ("environment", "Environment"),
    ]
    yield from (f'<li><a href="#{place}">{name}</a></li>' for place, name in places)
    yield "</ul></details></nav>"


def anchor(identifier: str) -> str:
    """The place of a claim in the file."""
    return f"claim-{slug(identifier)}"


def overview_lines(document: Document) -> Iterator[str]:
    yield '<section aria-labelledby="overview"><h2 id="overview">Overview</h2>'
    rows = [
        [
            f'<a href="#{anchor(entry.identifier)}">{escape(entry.identifier)}</a>',
            escape(entry.derivation_status),
            f"{mark(document, entry)} {escape(evidence_text(document, entry))}",
        ]
        for entry in document.entries
    ]
    yield from table(("claim", "derivation", "evidence"), rows, "Claims with their derivation and evidence", raw=True)
    yield "<dl>"
    yield from (f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in LEVELS)
    yield "</dl>"
    yield f"<p>{escape(LEGEND)}</p>"
    yield '<h3 id="graph">Graph of claims</h3>'
    yield "<p>An arrow leads from a claim to one that uses it, or to the printed statement that it corrects.</p>"
    signs = (f'<span class="mark {kind}">{sign}</span>{word}' for kind, (sign, word) in MARKS.items())
    yield f"<p>{' · '.join(signs)}.</p>"
    # A row that scrolls has to be reached by the keyboard.
    yield '<div class="wide" tabindex="0" role="region" aria-label="Graph of claims">'
    yield f"{graph_svg(document, anchor)}</div>"
    yield "</section>"


def mark(document: Document, entry: ClaimEntry) -> str:
    """The sign of an outcome, with its colour; the word stands beside it."""
    kind = mark_of(document, entry)
    return f'<span class="mark {kind}" aria-hidden="true">{MARKS[kind][0]}</span>'


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], caption: str, *, raw: bool = False) -> Iterator[str]:
    """A table that scrolls in itself where it is too wide; the first cell of a row is its heading."""
    yield f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
    yield f"<caption>{escape(caption)}</caption>"
    yield "<thead><tr>" + "".join(f'<th scope="col">{escape(one)}</th>' for one in headings) + "</tr></thead><tbody>"
    for row in rows:
        first, *others = row if raw else map(escape, row)
        yield f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{one}</td>" for one in others) + "</tr>"
    yield "</tbody></table></div>"


def claim_lines(document: Document, entry: ClaimEntry) -> Iterator[str]:
    statement, place = entry.statement, anchor(entry.identifier)
    yield f'<section class="claim" aria-labelledby="{place}">'
    yield f'<h2 id="{place}"><bdi>{escape(statement.title)}</bdi></h2>'
    yield (
        f'<p class="status"><code>{escape(entry.identifier)}</code> · {escape(entry.derivation_status)} · '
        f"{mark(document, entry)} {escape(evidence_text(document, entry))}</p>"
    )
    yield f'<p dir="auto">{escape(statement.text)}</p>'
    yield formula(statement.latex)
    yield "<dl>"
    for heading, text in facts(document, entry):
        yield f'<dt>{escape(heading)}</dt><dd dir="auto">{text}</dd>'
    yield "</dl>"
    yield from derivation_lines(entry)
    yield from evidence_lines(entry)
    yield "</section>"


def facts(document: Document, entry: ClaimEntry) -> Iterator[tuple[str, str]]:
    """What is assumed, where it is from and where it was checked: headings, and texts as HTML."""
    statement = entry.statement
    yield "Assumptions", items(statement.assumptions)
    yield "Sources", items(map(str, statement.sources))
    if statement.uses:
        yield "Uses", ", ".join(link(document, one) for one in statement.uses)
    yield "Conventions", escape(statement.conventions) + "."
    if entry.audit:
        yield from ((heading, escape(text)) for heading, text in audit_items(entry.audit))
    yield "Domain of the checks", escape(entry.domain) + "."


def link(document: Document, name: str) -> str:
    """A claim's name, linked where the claim is in the document."""
    return f'<a href="#{anchor(name)}">{escape(name)}</a>' if name in document.identifiers else escape(name)


def items(texts: Iterable[str]) -> str:
    return "<ul>" + "".join(f'<li dir="auto">{escape(text)}</li>' for text in texts) + "</ul>"


def formula(latex: str) -> str:
    """A displayed formula; a wide one scrolls in itself, also by the keyboard."""
    return f'<div class="wide formula" tabindex="0" role="group" aria-label="formula">{to_mathml(latex)}</div>'


def derivation_lines(entry: ClaimEntry) -> Iterator[str]:
    yield "<h3>Derivation</h3>"
    yield "<ol>"
    for step in entry.steps:
        failed = step.name in entry.failed_steps
        checked = " ✗ fails at a random rational instance" if failed else " ✓ checked exactly" if step.checked else ""
        yield f'<li><strong dir="auto">{escape(step.name)}.</strong> {escape(sentence(step.rule))}'
        if checked:
            yield f'<span class="checked {"contradicts" if failed else "agrees"}">{checked}</span>'
        yield formula(step.latex)
        if step.proof:
            yield f'<p dir="auto">{escape(step.proof)}</p>'
        yield "</li>"
    yield "</ol>"
    if entry.certificate:
        statements = sum(len(step["checks"]) for step in entry.certificate["steps"])
        yield (
            f"<p>Certified by {escape(', '.join(entry.level.engines))}: {statements} statements on these steps, "
            f'certificate <code class="hash">{entry.certificate_hash}</code>. Left to trust:</p>'
        )
        yield items(entry.trusted)


def evidence_lines(entry: ClaimEntry) -> Iterator[str]:
    yield "<h3>Evidence</h3>"
    if entry.verdicts is None:
        yield "<p>Not measured.</p>"
        return
    headings = (*HEADINGS[:6], "picture", *HEADINGS[6:])
    rows = []
    for verdict in entry.verdicts:
        shown = [escape(cell) for cell in cells(verdict)]
        rows.append([*shown[:6], strip_svg(verdict) or "", *shown[6:]])
    yield from table(headings, rows, f"Checks of {entry.identifier}", raw=True)
    yield f"<p>{escape(controls_text(entry))}</p>"
    keys = "".join(
        f'<li><code class="hash">{record.key}</code> {escape(record.measurement)}</li>' for record in entry.records
    )
    yield f"<details><summary>{len(entry.records)} records</summary><ul>{keys}</ul></details>"


def errata_lines(document: Document) -> Iterator[str]:
    yield '<section aria-labelledby="errata"><h2 id="errata">Printed statements that were audited</h2>'
    found = [entry for entry in document.entries if entry.audit]
    if not found:
        yield "<p>None is in this appendix.</p>"
    else:
        rows = [
            [
                f'<a href="#{anchor(entry.identifier)}">{escape(entry.identifier)}</a>',
                escape("; ".join(map(str, entry.statement.sources))),
                f"{mark(document, entry)} {escape(evidence_text(document, entry))}",
                escape(entry.audit.correction if entry.audit else ""),
            ]
            for entry in found
        ]
        yield from table(("audit", "where", "state", "what is right"), rows, "Audited statements", raw=True)
    yield "</section>"


def source_lines(document: Document) -> Iterator[str]:
    keys = {source.key for entry in document.entries for source in entry.statement.sources}
    yield '<section aria-labelledby="sources"><h2 id="sources">Sources</h2><dl>'
    for key, work in BY_KEY.items():
        if key in keys:
            yield f"<dt>{escape(key)}</dt><dd>{escape(work.to_text())}.</dd>"
    yield "</dl></section>"


def environment_lines(document: Document) -> Iterator[str]:
    yield '<section aria-labelledby="environment"><h2 id="environment">Environment</h2>'
    yield items(document.environments or ["no records"])
    yield f"<p>{len(document.records)} records; profile {escape(document.budget.profile)}, device "
    yield f"{escape(document.budget.device)}, seed {document.budget.seed}.</p></section>"
