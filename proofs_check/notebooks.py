"""How verdicts look in a notebook: HTML and Markdown made from their own words, which are escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence

from ..theory.algebra.derivations import plain_markdown

_COLOURS = {"agrees": "#1a7f37", "contradicts": "#cf222e", "inconclusive": "#9a6700"}


def verdict_html(title: str, outcome: str, text: str) -> str:
    """A heading with the outcome as a word on its colour, and the report as it is printed.

    >>> verdict_html("<b>", "agrees", "1 < 2").count("&lt;")
    2
    """
    badge = (
        f'<span style="background:{_COLOURS.get(outcome, "#57606a")};color:#fff;padding:0 .5em;border-radius:.3em">'
        f"{html.escape(outcome)}</span>"
    )
    return (
        f"<div><strong>{html.escape(title)}</strong> {badge}"
        f'<pre style="white-space:pre-wrap;margin:.3em 0 0">{html.escape(text)}</pre></div>'
    )


def verdict_markdown(title: str, outcome: str, text: str) -> str:
    """The same as Markdown: a heading line and a code block that the text cannot end."""
    fence = "`" * max(3, 1 + longest_run(text, "`"))
    return f"**{plain_markdown(title)}**: {plain_markdown(outcome)}\n\n{fence}text\n{text}\n{fence}\n"


def table_html(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of text."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def longest_run(text: str, letter: str) -> int:
    """How often the letter stands in a row, at most."""
    longest = run = 0
    for one in text:
        run = run + 1 if one == letter else 0
        longest = max(longest, run)
    return longest
