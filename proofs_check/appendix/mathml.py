r"""Formulas as MathML Core, which browsers set without a script.

Every formula carries its LaTeX as alternative text. One that cannot be read is shown as LaTeX, marked as such.
"""

from __future__ import annotations

from html import escape

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

NAMESPACE = "http://www.w3.org/1998/Math/MathML"
LINE_WIDTH = 64  # letters
NO_BAR = ' linethickness="0"'
# First letters of the alphabets in Unicode: capitals, small letters, digits. Some letters stand elsewhere.
FIRST = {"double": (0x1D538, 0x1D552, 0x1D7D8), "script": (0x1D49C, 0x1D4B6, 0), "bold": (0x1D400, 0x1D41A, 0x1D7CE)}
ELSEWHERE = {
    "double": dict(zip("CHNPQRZ", "ℂℍℕℙℚℝℤ", strict=True)),
    "script": dict(zip("BEFHILMRego", "ℬℰℱℋℐℒℳℛℯℊℴ", strict=True)),
}


def to_mathml(formula: str, *, display: bool = True) -> str:
    """The formula as a <math> element, or as LaTeX in <code> where it cannot be read."""
    try:
        tree = read(formula)
    except (UnreadableFormulaError, RecursionError):
        return f'<code class="latex">{escape(formula)}</code>'
    kind = ' display="block"' if display else ""
    return f'<math xmlns="{NAMESPACE}"{kind} alttext="{escape(formula)}">{in_rows(tree)}</math>'


def in_rows(tree: Node) -> str:
    """The formula, on several lines if it is long."""
    lines = in_lines(tree, LINE_WIDTH)
    if len(lines) == 1:
        return element(tree)
    rows = "".join(f"<mtr><mtd>{element(line)}</mtd></mtr>" for line in lines)
    return f'<mtable class="lines">{rows}</mtable>'


def element(node: Node) -> str:
    """The MathML of a part."""
    match node:
        case Leaf():
            return leaf(node)
        case Row(parts):
            return row(parts)
        case Fraction(above, below, bar):
            return f"<mfrac{'' if bar else NO_BAR}>{element(above)}{element(below)}</mfrac>"
        case Root(of):
            return f"<msqrt>{element(of)}</msqrt>"
        case Scripts():
            return scripts(node)
        case Accent(base, sign):
            return f'<mover accent="true">{element(base)}<mo stretchy="{is_wide(base)}">{sign}</mo></mover>'
        case Over(base, above):
            return f"<mover>{element(base)}{element(above)}</mover>"
        case Fenced(left, inner, right):
            return f"<mrow>{fence(left, 'prefix')}{element(inner)}{fence(right, 'postfix')}</mrow>"
        case Table():
            return table(node)


def row(parts: tuple[Node, ...]) -> str:
    """Parts side by side; a word like det stands apart from what follows without a bracket."""
    pieces = []
    for part, following in zip(parts, (*parts[1:], None), strict=True):
        pieces.append(element(part))
        if is_word(part) and following is not None and not begins_with_operator(following):
            pieces.append('<mspace width="0.17em"></mspace>')
    return pieces[0] if len(pieces) == 1 else f"<mrow>{''.join(pieces)}</mrow>"


def is_word(node: Node) -> bool:
    base = node.base if isinstance(node, Scripts) else node
    return isinstance(base, Leaf) and base.style == "upright" and len(base.text) > 1


def begins_with_operator(node: Node) -> bool:
    return isinstance(node, Fenced) or (isinstance(node, Leaf) and node.kind in ("operator", "space"))


def leaf(node: Leaf) -> str:
    text = escape(in_alphabet(node.text, node.style))
    match node.kind:
        case "number":
            return f"<mn>{text}</mn>"
        case "operator":
            stretchy = ' stretchy="false"' if node.text in "()[]{}|‖⟨⟩/" else ""
            return f"<mo{stretchy}>{text}</mo>"
        case "text":
            return f"<mtext>{text}</mtext>"
        case "space":
            return f'<mspace width="{node.text}em"></mspace>'
        case "identifier":
            upright = ' mathvariant="normal"' if node.style == "upright" and len(node.text) == 1 else ""
            return f"<mi{upright}>{text}</mi>"


def in_alphabet(text: str, style: str) -> str:
    """Letters and digits of an alphabet of their own in Unicode.

    >>> in_alphabet("E", "double")
    '𝔼'
    """
    if style not in FIRST:
        return text
    capitals, small, digits = FIRST[style]
    found = []
    for letter in text:
        if letter in ELSEWHERE.get(style, {}):
            found.append(ELSEWHERE[style][letter])
        elif "A" <= letter <= "Z":
            found.append(chr(capitals + ord(letter) - ord("A")))
        elif "a" <= letter <= "z":
            found.append(chr(small + ord(letter) - ord("a")))
        elif letter.isdigit() and digits:
            found.append(chr(digits + int(letter)))
        else:
            found.append(letter)
    return "".join(found)


def scripts(node: Scripts) -> str:
    base, index, exponent = element(node.base), node.index, node.exponent
    names = ("munder", "mover", "munderover") if node.under else ("msub", "msup", "msubsup")
    if index is not None and exponent is not None:
        return f"<{names[2]}>{base}{element(index)}{element(exponent)}</{names[2]}>"
    name, hung = (names[0], index) if index is not None else (names[1], exponent)
    return base if hung is None else f"<{name}>{base}{element(hung)}</{name}>"


def is_wide(base: Node) -> str:
    return "false" if isinstance(base, Leaf) else "true"


def fence(sign: str, form: str) -> str:
    return f'<mo fence="true" form="{form}" stretchy="true">{escape(sign)}</mo>' if sign else ""


def table(node: Table) -> str:
    rows = "".join(f"<mtr>{''.join(f'<mtd>{element(cell)}</mtd>' for cell in cells)}</mtr>" for cells in node.rows)
    return f"<mrow>{fence(node.left, 'prefix')}<mtable>{rows}</mtable>{fence(node.right, 'postfix')}</mrow>"
