"""The appendix as typst source: text stands in strings only, so that nothing in it can be a command.

Letters for which typst's own fonts have no sign (emoji, most scripts beyond Latin, Greek, Cyrillic and Hebrew) are
written as their number in Unicode, because fonts of the machine would make the bytes depend on it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from ..bibliography import BY_KEY
from .document import Document
from .entry import ClaimEntry
from .markdown import HEADINGS, audit_items, cells, controls_text, evidence_text, sentence
from .strips import LEGEND, ON_PAPER, in_words, strip_svg
from .typst_math import string, to_typst
from .wording import LEVELS, MARKS, mark_of, origin_line, verify_line

SHOWN_BEYOND_LATIN = "✓✗–—…·“”‘’≤≥≠→∈⟨⟩∞√×−≈±∑∏∫∂∇°§"
MAY_BREAK = "\u200b"  # takes no place, and lets a line end
LONG_WORD = re.compile(r"\S{30}(?=\S{10})")
COLOURS = {
    "agrees": "#11632f",
    "contradicts": "#a51d1d",
    "inconclusive": "#7a4b00",
    "none": "#55555c",
    "audited": "#5a2d91",
}

HEAD = r"""
#set page(paper: "a4", margin: (x: 2.2cm, y: 2.4cm), numbering: "1 / 1")
#set text(font: "Libertinus Serif", size: 10.5pt, lang: "en")
#set par(leading: 0.6em, justify: false)
#set heading(numbering: none)
#show heading: set block(above: 1.4em, below: 0.7em)
#show heading.where(level: 1): set text(size: 15pt)
#show heading.where(level: 2): set text(size: 12.5pt)
#show heading.where(level: 3): set text(size: 10.5pt)
#show link: set text(fill: rgb("#0b4fa8"))
#set table(stroke: 0.4pt + rgb("#c9c9c4"), inset: 4pt)
#show table: set text(size: 8pt)
#show table: set par(justify: false)
#show math.equation.where(block: true): set block(above: 0.7em, below: 0.7em)
// A formula that is wider than the page is shrunk to it.
#let fit(body) = layout(size => {
  let wide = measure(body).width
  if wide > size.width { scale(size.width / wide * 100%, reflow: true, body) } else { body }
})
#let mark(sign, colour) = text(fill: rgb(colour), weight: "bold", font: "DejaVu Sans Mono", sign)
#let named(heading, body) = block(above: 0.7em, below: 0.7em)[*#heading.* #body]
"""


def to_typst_source(document: Document, digest: str) -> str:
    """The whole document; `digest` is that of records.json."""
    return "\n".join(lines(document, digest)) + "\n"


def lines(document: Document, digest: str) -> Iterator[str]:
    title = f"Verification appendix, iclcheck {document.version}"
    yield f"#set document(title: {string(title)}, author: (), date: none)"
    yield HEAD
    yield '#text(size: 20pt, weight: "bold")[Verification appendix]'
    yield paragraph(origin_line(document))
    yield paragraph(f"{verify_line()} iclcheck verify records.json")
    yield paragraph("Digest of the records:") + f" #raw({string(digest)})"
    yield from overview_lines(document)
    for entry in document.entries:
        yield from claim_lines(document, entry)
    yield from errata_lines(document)
    yield from end_lines(document)


def text(words: str) -> str:
    """Words as text, in code of typst."""
    return string(printable(words))


def printable(words: str) -> str:
    """Words with the number of each letter that has no sign in typst's own fonts.

    >>> printable("ridge, Gauß, \N{GRINNING FACE}")
    'ridge, Gauß, U+1F600 '
    """
    signs = "".join(letter if has_sign(letter) else f"U+{ord(letter):04X} " for letter in words)
    return LONG_WORD.sub(lambda found: f"{found[0]}{MAY_BREAK}", signs)


def has_sign(letter: str) -> bool:
    if letter.isascii():
        return letter.isprintable() or letter == "\n"
    name = unicodedata.name(letter, "")
    alphabets = ("LATIN SMALL LETTER", "LATIN CAPITAL LETTER", "GREEK SMALL LETTER", "GREEK CAPITAL LETTER")
    return letter in SHOWN_BEYOND_LATIN or name.startswith((*alphabets, "CYRILLIC", "HEBREW LETTER"))


def paragraph(words: str) -> str:
    return f"\n#par[#{text(words)}]"


def named(heading: str, words: str) -> str:
    return f"#named({text(heading)}, {text(words)})"


def place(identifier: str) -> str:
    """The label of a claim; names of claims may hold any letters."""
    return f"label({string('claim-' + identifier)})"


def link(identifier: str) -> str:
    return f"link({place(identifier)}, {text(identifier)})"


def state(document: Document, entry: ClaimEntry) -> str:
    """Sign and words of a claim's state, as content."""
    kind = mark_of(document, entry)
    return f"[#mark({string(MARKS[kind][0])}, {string(COLOURS[kind])}) #{text(evidence_text(document, entry))}]"


def table(columns: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table of content cells; its heading is repeated on every page."""
    yield f'#table(columns: {columns}, align: left, fill: (_, y) => if y == 0 {{ rgb("#f1f1ee") }},'
    yield "  table.header(" + ", ".join(f"strong({text(one)})" for one in headings) + "),"
    for row in rows:
        yield "  " + ", ".join(row) + ","
    yield ")"


def overview_lines(document: Document) -> Iterator[str]:
    yield "= Overview"
    known = document.identifiers
    rows = [
        [link(entry.identifier), text(entry.derivation_status), state(document, entry)] for entry in document.entries
    ]
    yield from table("(auto, auto, 1fr)", ("claim", "derivation", "evidence"), rows)
    for word, meaning in LEVELS:
        yield named(word, meaning)
    yield paragraph(LEGEND)
    yield "== Graph of claims"
    yield paragraph("Each claim with those that it uses, or that correct it where it is printed otherwise.")
    rows = []
    for entry in document.entries:
        before = dict.fromkeys([*entry.statement.uses, *([entry.audit.corrected] if entry.audit else [])])
        if before:
            linked = "[" + ", ".join(f"#{link(one) if one in known else text(one)}" for one in before) + "]"
            rows.append([link(entry.identifier), linked, state(document, entry)])
    yield from table("(auto, 1fr, 1fr)", ("claim", "rests on", "state"), rows)


def claim_lines(document: Document, entry: ClaimEntry) -> Iterator[str]:
    statement = entry.statement
    yield "#pagebreak(weak: true)"
    yield f"#[#heading(level: 1, {text(statement.title)}) #{place(entry.identifier)}]"
    yield f"#par[#raw({text(entry.identifier)}) · #{text(entry.derivation_status)} · #{state(document, entry)}]"
    yield paragraph(statement.text)
    yield to_typst(statement.latex)
    yield named("Assumptions", "; ".join(statement.assumptions) + ".")
    yield named("Sources", "; ".join(map(str, statement.sources)) + ".")
    yield named("Conventions", f"{statement.conventions}.")
    if entry.audit:
        yield from (named(heading, words) for heading, words in audit_items(entry.audit))
    yield named("Domain of the checks", f"{entry.domain}.")
    yield from derivation_lines(entry)
    yield from evidence_lines(entry)


def derivation_lines(entry: ClaimEntry) -> Iterator[str]:
    yield "=== Derivation"
    for number, step in enumerate(entry.steps, start=1):
        failed = step.name in entry.failed_steps
        checked = " (fails)" if failed else " (checked exactly)" if step.checked else ""
        yield f"#par[#strong({text(f'{number}. {step.name}.')}) #{text(sentence(step.rule) + checked)}]"
        yield to_typst(step.latex)
        if step.proof:
            yield paragraph(step.proof)
    if entry.certificate:
        statements = sum(len(step["checks"]) for step in entry.certificate["steps"])
        engines = ", ".join(entry.level.engines)
        yield named(f"Certified by {engines}", f"{statements} statements on these steps.")
        yield f"#par[Certificate #raw({string(entry.certificate_hash)})]"
        yield named("Left to trust", " ".join(entry.trusted))


def evidence_lines(entry: ClaimEntry) -> Iterator[str]:
    yield "=== Evidence"
    if entry.verdicts is None:
        yield paragraph("Not measured.")
        return
    # On paper the words take a line of their own below the numbers.
    numbers, words = HEADINGS[1:6], HEADINGS[6:]
    for verdict in entry.verdicts:
        found = dict(zip(HEADINGS, cells(verdict), strict=True))
        yield f"#block(breakable: false)[#strong({text(found['check'])})"
        yield from table(f"{len(numbers)}", numbers, [[text(found[one]) for one in numbers]])
        picture = strip_svg(verdict, ON_PAPER)
        if picture:
            yield f'#image(bytes({string(picture)}), format: "svg", width: 6cm, alt: {string(in_words(verdict))})'
        yield f"#{text('; '.join(f'{one}: {found[one]}' for one in words) + '.')}]"
    yield paragraph(controls_text(entry))
    yield paragraph(f"{len(entry.records)} records; their keys and hashes stand in records.json.")


def errata_lines(document: Document) -> Iterator[str]:
    yield "#pagebreak(weak: true)"
    yield "= Printed statements that were audited"
    rows = [
        [
            link(entry.identifier),
            text("; ".join(map(str, entry.statement.sources))),
            state(document, entry),
            text(entry.audit.correction),
        ]
        for entry in document.entries
        if entry.audit
    ]
    if rows:
        yield from table("(auto, 1fr, 1.4fr, 2fr)", ("audit", "where", "state", "what is right"), rows)
    else:
        yield paragraph("None is in this appendix.")


def end_lines(document: Document) -> Iterator[str]:
    yield "= Sources"
    keys = {source.key for entry in document.entries for source in entry.statement.sources}
    for key, work in BY_KEY.items():
        if key in keys:
            yield named(key, f"{work.to_text()}.")
    yield "= Environment"
    for words in document.environments or ["no records"]:
        yield paragraph(words)
