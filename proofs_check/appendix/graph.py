"""The graph of claims as SVG: an arrow from a claim to one that uses it, or that it corrects, to the right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

from .document import Document
from .entry import ClaimEntry
from .wording import MARKS, mark_of

WIDTH, HEIGHT, ACROSS, DOWN, MARGIN = 212, 30, 44, 12, 10
LONGEST = 28  # letters of a name that fit
MOST_STANDING_ALONE = 4  # in a row


def graph_svg(document: Document, anchor: Callable[[str], str]) -> str:
    """The graph with links to the claims; each box has the sign and the word of its state, not its colour alone."""
    places = positions(document)
    width = max((x for x, _ in places.values()), default=0) + WIDTH + MARGIN
    height = max((y for _, y in places.values()), default=0) + HEIGHT + MARGIN
    parts = [
        f'<svg class="graph" xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="group" aria-label="Graph of {len(places)} claims; the table above has '
        'the same states in words">',
        *(arrow(places[one], places[other]) for one, other in drawn_arrows(document)),
        *(box(document, entry, places[entry.identifier], anchor) for entry in document.entries),
        "</svg>",
    ]
    return "\n".join(parts)


def arrows(document: Document) -> Iterator[tuple[str, str]]:
    """Pairs of claims: the used or correcting one first. Claims outside of the document are left out."""
    known = set(document.identifiers)
    for entry in document.entries:
        before = dict.fromkeys([*entry.statement.uses, *([entry.audit.corrected] if entry.audit else [])])
        yield from ((one, entry.identifier) for one in before if one in known and one != entry.identifier)


def drawn_arrows(document: Document) -> list[tuple[str, str]]:
    """The arrows without those that others make needless: from a to c where there is one from a to b to c."""
    every = list(arrows(document))
    after: dict[str, set[str]] = {}
    for one, other in every:
        after.setdefault(one, set()).add(other)
    layer = layers(document)
    reached: dict[str, set[str]] = {}
    for name in sorted(layer, key=layer.__getitem__, reverse=True):
        further = [reached.get(one, set()) | {one} for one in after.get(name, set())]
        reached[name] = set().union(*further)
    return [(one, other) for one, other in every if not any(other in reached[b] for b in after[one] - {other})]


def layers(document: Document) -> dict[str, int]:
    """Every claim stands right of all that it uses; circles, which no sound set of claims has, are cut."""
    before: dict[str, list[str]] = {name: [] for name in document.identifiers}
    for one, other in arrows(document):
        before[other].append(one)
    found: dict[str, int] = {}

    def layer(name: str, above: frozenset[str]) -> int:
        if name not in found:
            reached = [layer(one, above | {name}) + 1 for one in before[name] if one not in above]
            found[name] = max(reached, default=0)
        return found[name]

    for name in before:
        layer(name, frozenset({name}))
    return found


def positions(document: Document) -> dict[str, tuple[int, int]]:
    """The upper left corner of every box: families below each other, in each the layers from left to right."""
    layer, places, top = layers(document), {}, MARGIN
    families = families_of(document)
    for family in (one for one in families if len(one) > 1):
        rows: dict[int, int] = {}
        for name in family:
            column = layer[name]
            row = rows.get(column, 0)
            rows[column] = row + 1
            places[name] = (MARGIN + column * (WIDTH + ACROSS), top + row * (HEIGHT + DOWN))
        top += max(rows.values()) * (HEIGHT + DOWN) + 2 * DOWN
    alone = [one[0] for one in families if len(one) == 1]
    for number, name in enumerate(alone):
        down, across = divmod(number, MOST_STANDING_ALONE)
        places[name] = (MARGIN + across * (WIDTH + DOWN), top + down * (HEIGHT + DOWN))
    return places


def families_of(document: Document) -> list[list[str]]:
    """Claims that are connected by arrows, in the order of the document."""
    family: dict[str, int] = {name: place for place, name in enumerate(document.identifiers)}
    for one, other in arrows(document):
        joined, gone = sorted((family[one], family[other]))
        family = {name: joined if number == gone else number for name, number in family.items()}
    found: dict[int, list[str]] = {}
    for name, number in family.items():
        found.setdefault(number, []).append(name)
    return [found[number] for number in sorted(found)]


def arrow(one: tuple[int, int], other: tuple[int, int]) -> str:
    """A curve from the right side of a box to the left side of another, with a tip."""
    x0, y0 = one[0] + WIDTH, one[1] + HEIGHT // 2
    x1, y1 = other[0] - 6, other[1] + HEIGHT // 2
    bend = (x0 + x1) // 2 if x1 > x0 else x0 + ACROSS // 2
    tip = f'<path class="arrow" d="M{x1 + 6},{y1} l-7,-4 v8 z"/>'
    return f'<path d="M{x0},{y0} C{bend},{y0} {x1 - ACROSS // 2},{y1} {x1},{y1}"/>{tip}'


def box(document: Document, entry: ClaimEntry, place: tuple[int, int], anchor: Callable[[str], str]) -> str:
    kind, (x, y) = mark_of(document, entry), place
    sign, word = MARKS[kind]
    name = entry.identifier
    short = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
    return (
        f'<a href="#{anchor(name)}"><g class="{kind}"><title>{escape(name)}: {word}</title>'
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="4"/>'
        f'<text class="sign" x="{x + 8}" y="{y + 20}">{sign}</text>'
        f'<text x="{x + 26}" y="{y + 19}">{escape(short)}</text></g></a>'
    )
