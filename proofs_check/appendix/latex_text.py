"""Text as LaTeX: what is not a letter is made literal, so that nothing in a text can be a command."""

from __future__ import annotations

import re
import unicodedata

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


ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u0327": "c", "\u030c": "v"}
LETTERS = {"\u00f8": r"{\o}", "\u00d8": r"{\O}", "\u0142": r"{\l}", "\u00df": r"{\ss}"}  # these do not decompose
SIGNS = {  # what texts hold beyond letters
    "\u2013": "--", "\u2014": "---", "\u2018": "`", "\u2019": "'", "\u201c": "``", "\u201d": "''",
    "\u2026": r"\ldots{}",
    "\u2264": r"$\leq$", "\u2265": r"$\geq$", "\u2260": r"$\neq$", "\u00d7": r"$\times$", "\u2212": r"$-$",
    "\u00b1": r"$\pm$", "\u2192": r"$\to$", "\u00a0": "~",
}  # fmt: skip
LONG_WORD = re.compile(r"\S{30}(?=\S{10})")


def escape(text: str) -> str:
    r"""Text with every character that LaTeX reads as a command made literal, accents as commands.

    Other letters, for which pdfLaTeX has no sign (emoji, most scripts), are written as their number in Unicode.

    >>> print(escape("50 % \\input \N{GRINNING FACE}"))
    50 \% \textbackslash{}input \texttt{U+1F600}
    """
    return "".join(map(literal, text))


def literal(character: str) -> str:
    """One character as LaTeX."""
    if character.isascii():
        return SPECIAL.get(character, character) if character.isprintable() else " "
    decomposed = unicodedata.normalize("NFD", character)
    if len(decomposed) == 2 and decomposed[1] in ACCENTS and decomposed[0].isascii():
        return rf"{{\{ACCENTS[decomposed[1]]}{{{decomposed[0]}}}}}"
    known = LETTERS.get(character) or SIGNS.get(character)
    return known or rf"\texttt{{U+{ord(character):04X}}}"


def breakable(text: str) -> str:
    """Escaped text in which long words may be broken."""
    pieces = LONG_WORD.sub(lambda found: f"{found[0]}\0", text).split("\0")
    return r"\hspace{0pt}".join(map(escape, pieces))
