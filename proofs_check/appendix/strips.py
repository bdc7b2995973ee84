"""A picture of one check: what was measured beside what was predicted, what is allowed, and which gap would be caught.

The axis is asinh((value - predicted) / allowed): even about the prediction, logarithmic far from it, so that what is
allowed and a gap a thousand times as large are both seen. An infinite gap is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..verdicts.verdict import Verdict, catch

WIDTH, HEIGHT, MIDDLE = 200, 34, 17
IN_PAGE = {"line": "var(--none)", "band": "var(--line)", "gap": "var(--none)", **{
    kind: f"var(--{kind})" for kind in ("agrees", "contradicts", "inconclusive")
}}  # fmt: skip
ON_PAPER = {
    "line": "#55555c", "band": "#d5d5d0", "gap": "#55555c",
    "agrees": "#11632f", "contradicts": "#a51d1d", "inconclusive": "#7a4b00",
}  # fmt: skip


def strip_svg(verdict: Verdict, colours: Mapping[str, str] = IN_PAGE) -> str | None:
    """The picture as SVG; None where something needed is not finite, or nothing is allowed."""
    offset = verdict.measured - verdict.predicted
    if not math.isfinite(offset) or not math.isfinite(verdict.allowed) or verdict.allowed <= 0:
        return None
    gap = verdict.detectable if math.isfinite(verdict.detectable) else 0.0
    most = 1.15 * max(math.asinh(abs(x) / verdict.allowed) for x in (offset, gap, verdict.allowed))

    def across(x: float) -> float:
        return round(WIDTH / 2 + (WIDTH / 2 - 8) * math.asinh(x / verdict.allowed) / most, 1)

    left, right = across(-verdict.allowed), across(verdict.allowed)
    dashed = 'stroke-dasharray="3 3"'
    parts = [
        f'<rect x="{left}" y="5" width="{round(right - left, 1)}" height="24" fill="{colours["band"]}"/>',
        *(line(across(x), 3, 31, colours["gap"], dashed) for x in ((-gap, gap) if gap else ())),
        f'<line x1="0" x2="{WIDTH}" y1="{MIDDLE}" y2="{MIDDLE}" stroke="{colours["line"]}"/>',
        line(across(0), 3, 31, colours["line"], ""),
        f'<circle cx="{across(offset)}" cy="{MIDDLE}" r="5" fill="{colours[verdict.outcome]}"/>',
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-label="{in_words(verdict)}">{"".join(parts)}</svg>'
    )


def line(x: float, top: int, bottom: int, colour: str, dashes: str) -> str:
    return f'<line x1="{x}" x2="{x}" y1="{top}" y2="{bottom}" stroke="{colour}" {dashes}/>'


def in_words(verdict: Verdict) -> str:
    """What the picture shows: numbers only, so that nothing needs escaping."""
    return (
        f"measured {verdict.measured:.4g}, predicted {verdict.predicted:.4g}, allowed {verdict.allowed:.2g} "
        f"either way; would have caught {catch(verdict.detectable)}"
    )


LEGEND = (
    "Each picture: the dot is what was measured, the upright line what was predicted, the band what is allowed, the "
    "dashed lines the gap that would have been caught; the scale is logarithmic far from the prediction."
)
