r"""LaTeX formulas of the project as a tree, for MathML and typst.

Main statement
    `read` knows every command that it lets through: what it does not know raises UnreadableFormulaError, and nothing is
    passed on unconverted. A test reads every formula of every claim.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["identifier", "number", "operator", "text", "space"]
TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|[0-9]+(?:\.[0-9]+)?|\s+|.", re.DOTALL)

LETTERS = """
alpha:α beta:β gamma:γ delta:δ epsilon:ϵ varepsilon:ε zeta:ζ eta:η theta:θ iota:ι kappa:κ lambda:λ mu:μ nu:ν xi:ξ pi:π
rho:ρ sigma:σ tau:τ phi:ϕ varphi:φ chi:χ psi:ψ omega:ω Gamma:Γ Delta:Δ Theta:Θ Lambda:Λ Xi:Ξ Pi:Π Sigma:Σ Phi:Φ Psi:Ψ
Omega:Ω ell:ℓ infty:∞ partial:∂ nabla:∇ emptyset:∅
"""
GREEK = {name: letter for name, letter in (pair.split(":") for pair in LETTERS.split())}
OPERATORS = {
    "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "equiv": "≡", "approx": "≈", "sim": "∼",
    "propto": "∝", "in": "∈", "notin": "∉", "cup": "∪", "cap": "∩", "supseteq": "⊇", "subseteq": "⊆", "succ": "≻",
    "succeq": "⪰", "to": "→", "longrightarrow": "⟶", "Rightarrow": "⇒", "Longrightarrow": "⟹", "iff": "⟺",
    "cdot": "⋅", "times": "×", "pm": "±", "otimes": "⊗", "circ": "∘", "forall": "∀", "exists": "∃", "top": "⊤",
    "mid": "∣", "dots": "…", "ldots": "…", "cdots": "⋯", "int": "∫", "iint": "∬", "sum": "∑", "prod": "∏",
}  # fmt: skip
FENCES = {"lVert": "‖", "rVert": "‖", "lvert": "|", "rvert": "|", "langle": "⟨", "rangle": "⟩", "{": "{", "}": "}"}
FUNCTIONS = ("det", "exp", "ln", "log", "cos", "sin", "deg", "dim", "ker", "arg")
LIMITS = ("min", "max", "lim", "sup", "inf")  # their index stands below
LARGE = ("sum", "prod")
SPACES = {",": 0.17, ":": 0.22, ";": 0.28, " ": 0.33, "quad": 1.0, "qquad": 2.0, "!": 0.0}  # in em
ACCENTS = {"hat": "^", "bar": "¯", "dot": "˙", "ddot": "¨", "tilde": "~", "overline": "¯"}
SIZES = ("left", "right", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr")
STYLES = ("textstyle", "displaystyle")
ALPHABETS = ("mathbb", "mathcal", "mathbf", "mathrm", "rm", "operatorname", "text")
PLAIN_OPERATORS = "+-=<>/,;:!|()[]?.*&"
TABLES = {"pmatrix": ("(", ")"), "matrix": ("", "")}
SPECIAL = {"#": "#", "%": "%", "&": "&", "$": "$", "_": "_"}


class UnreadableFormulaError(ValueError):
    """A formula holds a command that is not known; it names it."""


@dataclass(frozen=True)
class Leaf:
    """A letter, number, operator, word or space; `style` is upright, double, script, bold, or nothing for the usual."""

    kind: Kind
    text: str
    style: str = ""


@dataclass(frozen=True)
class Row:
    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Fraction:
    """`bar` is False for a binomial coefficient."""

    above: Node
    below: Node
    bar: bool = True


@dataclass(frozen=True)
class Root:
    of: Node


@dataclass(frozen=True)
class Scripts:
    """A base with index and exponent; `under` puts them below and above."""

    base: Node
    index: Node | None
    exponent: Node | None
    under: bool = False


@dataclass(frozen=True)
class Accent:
    base: Node
    sign: str


@dataclass(frozen=True)
class Over:
    """A sign above another."""

    base: Node
    above: Node


@dataclass(frozen=True)
class Fenced:
    """Brackets as large as what they hold; an empty one is none."""

    left: str
    inner: Node
    right: str


@dataclass(frozen=True)
class Table:
    rows: tuple[tuple[Node, ...], ...]
    left: str
    right: str


Node = Leaf | Row | Fraction | Root | Scripts | Accent | Over | Fenced | Table


def read(formula: str) -> Node:
    """The tree of a formula. Raises UnreadableFormulaError."""
    reader = Reader(formula)
    found = reader.row(lambda token: token is None)
    return found


def is_readable(formula: str) -> bool:
    """Whether every command of a formula is known: then LaTeX may have it as it stands."""
    try:
        read(formula)
    except (UnreadableFormulaError, RecursionError):
        return False
    return True


class Reader:
    """Reads tokens from left to right."""

    def __init__(self, formula: str) -> None:
        self.formula = formula
        self.tokens = TOKEN.findall(formula)
        self.place = 0

    def peek(self) -> str | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def next(self) -> str:
        token = self.peek()
        if token is None:
            raise self.error("it ends too early")
        self.place += 1
        return token

    def skip_spaces(self) -> None:
        while (token := self.peek()) is not None and token.isspace():
            self.place += 1

    def error(self, what: str) -> UnreadableFormulaError:
        return UnreadableFormulaError(f"{what}: {self.formula[:200]!r}")

    def row(self, ends: Callable[[str | None], bool]) -> Row:
        """Everything up to a token at which it ends; that token is left."""
        parts: list[Node] = []
        self.skip_spaces()
        while not ends(self.peek()):
            if self.peek() is None:
                raise self.error("a bracket or an environment is not closed")
            if self.peek() in ("^", "_") or self.peek() == "'":
                base = parts.pop() if parts else Row(())
                parts.append(self.scripts(base))
            else:
                parts.extend(self.item())
            self.skip_spaces()
        return Row(tuple(parts))

    def scripts(self, base: Node) -> Node:
        """A base with all that hangs on it."""
        index: Node | None = None
        exponents: list[Node] = []
        while (token := self.peek()) in ("^", "_", "'"):
            self.next()
            if token == "'":
                exponents.append(Leaf("operator", "′"))
            elif token == "^":
                exponents.append(self.argument())
            elif index is not None:
                raise self.error("two indices on one letter")
            else:
                index = self.argument()
            self.skip_spaces()
        exponent = None if not exponents else exponents[0] if len(exponents) == 1 else Row(tuple(exponents))
        return Scripts(base, index, exponent, is_large(base))

    def argument(self) -> Node:
        """A group in braces, or the next single thing."""
        self.skip_spaces()
        if self.peek() == "{":
            return self.group()
        if (token := self.peek()) is not None and token.isdigit() and len(token) > 1:  # x^23 is x^2 3
            self.tokens[self.place : self.place + 1] = list(token)
        (found,) = list(self.item()) or [Row(())]
        return found

    def group(self) -> Node:
        self.skip_spaces()
        if self.next() != "{":
            raise self.error("a group in braces is missing")
        found = self.row(lambda token: token == "}")
        self.next()
        return found.parts[0] if len(found.parts) == 1 else found

    def words(self) -> str:
        """The text of a group, as it stands."""
        self.skip_spaces()
        if self.next() != "{":
            raise self.error("a group in braces is missing")
        depth, parts = 1, []
        while depth:
            token = self.next()
            depth += (token == "{") - (token == "}")
            parts.append(token)
        text = "".join(parts[:-1])
        if re.search(r"\\[^#%&$_ ,{}]", text):
            raise self.error("a command inside of words")
        return re.sub(r"\\([#%&$_{}])", r"\1", re.sub(r"\\[ ,]", " ", text))

    def item(self) -> Iterator[Node]:
        """The next thing; styles and sizes give nothing themselves."""
        token = self.next()
        if token == "{":
            self.place -= 1
            yield self.group()
        elif token == "}":
            raise self.error("a brace too much")
        elif token.startswith("\\"):
            yield from self.command(token[1:])
        elif token[0].isdigit():
            yield Leaf("number", token)
        elif token.isalpha():
            yield Leaf("identifier", token)
        elif token in PLAIN_OPERATORS:
            yield Leaf("operator", {"-": "−", "*": "∗"}.get(token, token))
        elif token == "~":
            yield Leaf("space", "0.33")
        else:
            raise self.error(f"the character {token!r} is not known")

    def command(self, name: str) -> Iterator[Node]:
        if name in GREEK:
            yield Leaf("identifier", GREEK[name])
        elif name in OPERATORS:
            yield Leaf("operator", OPERATORS[name])
        elif name in FENCES:
            yield Leaf("operator", FENCES[name])
        elif name in SPECIAL:
            yield Leaf("operator", SPECIAL[name])
        elif name in FUNCTIONS or name in LIMITS:
            yield Leaf("identifier", name, "upright")
        elif name in SPACES:
            yield Leaf("space", str(SPACES[name]))
        elif name in STYLES:
            return
        elif name in ("frac", "tfrac", "dfrac", "binom"):
            above = self.argument()
            yield self.fraction(name, above)
        elif name == "sqrt":
            yield Root(self.argument())
        elif name in ACCENTS:
            yield Accent(self.argument(), ACCENTS[name])
        elif name == "overset":
            above = self.argument()
            yield Over(self.argument(), above)
        elif name == "left":
            yield self.fenced()
        elif name in SIZES:
            yield Leaf("operator", self.delimiter())
        elif name in ALPHABETS:
            yield self.alphabet(name)
        elif name == "begin":
            yield self.table()
        else:
            raise self.error(f"the command \\{name} is not known")

    def fraction(self, name: str, above: Node) -> Node:
        below = self.argument()
        if name == "binom":
            return Fenced("(", Fraction(above, below, bar=False), ")")
        return Fraction(above, below)

    def delimiter(self) -> str:
        self.skip_spaces()
        token = self.next()
        sign = FENCES.get(token[1:]) if token.startswith("\\") else token
        if sign == ".":
            return ""
        if sign is None or (len(sign) > 1 or sign not in "()[]|/{}‖⟨⟩"):
            raise self.error(f"{token} is no bracket")
        return sign

    def fenced(self) -> Node:
        left = self.delimiter()
        inner = self.row(lambda token: token in (r"\right", None))
        if self.peek() is None:
            raise self.error(r"\left without \right")
        self.next()
        return Fenced(left, inner, self.delimiter())

    def alphabet(self, name: str) -> Node:
        if name == "text":
            return Leaf("text", self.words())
        if name == "rm":  # holds to the end of its group
            rest = self.row(lambda token: token in ("}", None))
            return Leaf("identifier", plain_text(rest), "upright")
        if name in ("operatorname", "mathrm"):
            self.skip_spaces()
            text = self.words() if self.peek() == "{" else self.next()
            return Leaf("identifier", text.strip(), "upright")
        style = {"mathbb": "double", "mathcal": "script", "mathbf": "bold"}[name]
        return styled(self.argument(), style)

    def table(self) -> Node:
        name = self.words()
        if name not in TABLES:
            raise self.error(f"the environment {name} is not known")
        rows: list[tuple[Node, ...]] = []
        cells: list[Node] = []
        while True:
            cells.append(self.row(lambda token: token in ("&", r"\\", r"\end", None)))
            end = self.next()
            if end != "&":
                rows.append(tuple(cells))
                cells = []
            if end == r"\end":
                break
        if self.words() != name:
            raise self.error(f"the environment {name} is not closed")
        return Table(tuple(rows), *TABLES[name])


SIGNS = "+−=<>≤≥→⇒⟹⟺"  # a line may end before these


def width(node: Node | None) -> int:
    """About how many letters wide a part is set."""
    match node:
        case None:
            return 0
        case Leaf(kind, text, _):
            return 1 if kind == "space" else len(text)
        case Row(parts):
            return sum(map(width, parts))
        case Fraction(above, below):
            return max(width(above), width(below))
        case Root(of):
            return 1 + width(of)
        case Scripts(base, index, exponent):
            return width(base) + max(width(index), width(exponent)) * 2 // 3
        case Accent(base, _) | Over(base, _):
            return width(base)
        case Fenced(left, inner, right):
            return len(left) + width(inner) + len(right)
        case Table(rows, _, _):
            return max(sum(width(cell) + 2 for cell in cells) for cells in rows)


def in_lines(tree: Node, most: int) -> list[Row]:
    """A formula cut before signs of its outermost sum, so that lines of about that many letters come out."""
    parts = tree.parts if isinstance(tree, Row) else (tree,)
    lines: list[list[Node]] = [[]]
    for term in outer_terms(parts):
        if lines[-1] and sum(map(width, lines[-1])) + sum(map(width, term)) > most:
            lines.append([])
        lines[-1].extend(term)
    return [Row(tuple(line)) for line in lines]


def outer_terms(parts: tuple[Node, ...]) -> list[list[Node]]:
    """The parts cut before each sign outside of brackets."""
    depth, terms = 0, [[parts[0]]] if parts else [[]]
    depth = bracket_step(parts[0]) if parts else 0
    for part in parts[1:]:
        is_sign = isinstance(part, Leaf) and part.kind == "operator" and part.text in SIGNS
        if is_sign and depth == 0:
            terms.append([])
        terms[-1].append(part)
        depth += bracket_step(part)
    return terms


def bracket_step(node: Node) -> int:
    """1 for an opening bracket, -1 for a closing one, also with an exponent, else 0."""
    base = node.base if isinstance(node, Scripts) else node
    if not isinstance(base, Leaf) or base.kind != "operator" or not base.text:
        return 0
    return (base.text in "([{⟨") - (base.text in ")]}⟩")


def is_large(base: Node) -> bool:
    """Whether index and exponent of a sign stand below and above it."""
    if not isinstance(base, Leaf):
        return False
    if base.kind == "operator":
        return base.text in [OPERATORS[name] for name in LARGE]
    return base.style == "upright" and base.text in LIMITS


def styled(node: Node, style: str) -> Node:
    """Letters in another alphabet."""
    if isinstance(node, Leaf):
        return replace(node, style=style, kind="identifier" if node.kind == "number" else node.kind)
    if isinstance(node, Row):
        return Row(tuple(styled(part, style) for part in node.parts))
    raise UnreadableFormulaError(f"letters of another alphabet, and no more, may stand in {style} type, got {node}")


def plain_text(node: Node) -> str:
    """The letters of a row."""
    if isinstance(node, Leaf):
        return node.text if node.kind != "space" else " "
    if isinstance(node, Row):
        return "".join(map(plain_text, node.parts))
    raise UnreadableFormulaError(f"letters, and no more, may stand in upright type, got {node}")
