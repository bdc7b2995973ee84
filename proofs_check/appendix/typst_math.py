"""Formulas as typst mathematics, every sign escaped, so that nothing in them can be a command."""

from __future__ import annotations

from .formulas import (
    Accent,
    Fenced,
    Fraction,
    Leaf,
    Node,
    Over,
    Root,
    Row,
    Scripts,
    Table,
    UnreadableFormulaError,
    in_lines,
    read,
)
from .mathml import in_alphabet

LINE_WIDTH = 60  # letters
ACCENTS = {"^": "hat", "¯": "macron", "˙": "dot", "¨": "dot.double", "~": "tilde"}


def string(text: str) -> str:
    r"""A string of typst, in code and in mathematics.

    >>> print(string('a "b" \\ #c'))
    "a \"b\" \\ #c"
    """
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in quoted) + '"'


def to_typst(formula: str) -> str:
    """A displayed formula, or its LaTeX as raw text where it cannot be read."""
    try:
        tree = read(formula)
    except (UnreadableFormulaError, RecursionError):
        return f"#raw({string(formula)})"
    lines = " \\ ".join(part(line) for line in in_lines(tree, LINE_WIDTH))
    return f"#fit[$ {lines} $]"


def part(node: Node) -> str:
    """The typst of a part."""
    match node:
        case Leaf():
            return leaf(node)
        case Row(parts):
            return row(parts)
        case Fraction(above, below):
            return f"frac({part(above)}, {part(below)})"
        case Root(of):
            return f"sqrt({part(of)})"
        case Scripts():
            return scripts(node)
        case Accent(base, mark):
            name = ACCENTS[mark] if isinstance(base, Leaf) or mark != "¯" else "overline"
            return f"{name}({part(base)})"
        case Over(base, above):
            return f"attach(limits({part(base)}), t: {part(above)})"
        case Fenced("(", Fraction(above, below, False), ")"):
            return f"binom({part(above)}, {part(below)})"
        case Fenced(left, inner, right):
            return f"lr({sign(left)} {part(inner)} {sign(right)})"
        case Table(rows, left, _):
            delimiter = string(left) if left else "#none"
            return f"mat(delim: {delimiter}, {'; '.join(', '.join(map(part, cells)) for cells in rows)})"


def row(parts: tuple[Node, ...]) -> str:
    if not parts:
        return '""'
    return " ".join(map(part, parts))


def leaf(node: Leaf) -> str:
    match node.kind:
        case "number":
            return node.text
        case "operator":
            return sign(node.text)
        case "text":
            return string(node.text)
        case "space":
            return f"#h({node.text}em)"
        case "identifier" if node.style == "upright":
            return f"{'op' if len(node.text) > 1 else 'upright'}({string(node.text)})"
        case "identifier":
            text = in_alphabet(node.text, node.style)
            return text if len(text) == 1 else string(text)


def sign(text: str) -> str:
    """A sign, escaped where typst would read it as syntax."""
    escaped = "\\" + text if text and ord(text) < 128 else text
    return f'class("normal", {escaped})' if text in ("|", "‖") else escaped


def scripts(node: Scripts) -> str:
    base = f"limits({part(node.base)})" if node.under else part(node.base)
    index = f", b: {part(node.index)}" if node.index is not None else ""
    exponent = f", t: {part(node.exponent)}" if node.exponent is not None else ""
    return f"attach({base}{index}{exponent})"
