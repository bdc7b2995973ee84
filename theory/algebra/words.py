"""Words in non-commuting matrix letters, and their normal form.

A letter is a matrix between two named spaces: `rows` and `cols` are the names of their
dimensions, and the space "1" is the line, so a column vector is a letter with cols "1" and a
scalar random variable a letter with both. A word is a product of letters.

Main statements (each has a proof of one line)
    tr(V W) = tr(W V)            a closed word may be rotated
    tr(W) = tr(W^T)              and transposed
    tr(V a b^T W) = b^T W V a    and cut wherever it passes through the line
So a bilinear form b^T W a is a closed word that begins and ends on the line, and every product of
closed words has one normal form: cut at each passage through the line, then take the smallest
among the rotations and transposes of each piece.

A letter with a positive `index` belongs to one of the N samples of a prompt; every such index is
summed over 1..N (a dummy index of its monomial).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

LINE = "1"


class Letter(NamedTuple):
    """One matrix symbol, possibly transposed or inverted.

    `index` 0 marks a letter of its own, k >= 1 the k-th summed sample index of its monomial.
    """

    name: str
    index: int = 0  # type: ignore[assignment]  # the field hides tuple.index, which no word needs
    rows: str = "d"
    cols: str = "d"
    symmetric: bool = False
    transposed: bool = False
    inverse: bool = False

    @property
    def T(self) -> Letter:
        """The transpose; the letter itself where it is symmetric or a scalar."""
        if self.symmetric or (self.rows == LINE and self.cols == LINE):
            return self
        return self._replace(rows=self.cols, cols=self.rows, transposed=not self.transposed)

    @property
    def inv(self) -> Letter:
        """The inverse of a square matrix letter."""
        if self.rows != self.cols or self.rows == LINE:
            raise ValueError(f"need a square matrix letter to invert, got {self.name} ({self.rows} x {self.cols})")
        return self._replace(inverse=not self.inverse)


Word = tuple[Letter, ...]


def transpose(word: Word) -> Word:
    """(A B ... Z)^T = Z^T ... B^T A^T."""
    return tuple(letter.T for letter in reversed(word))


def are_inverse(left: Letter, right: Letter) -> bool:
    """Whether left * right is the identity by name: A A^-1 or A^-1 A."""
    return left.inverse != right.inverse and left._replace(inverse=right.inverse) == right


def join(left: Word, right: Word) -> Word:
    """The product of two words, with letters that meet their inverse removed."""
    while left and right and are_inverse(left[-1], right[0]):
        left, right = left[:-1], right[1:]
    return left + right


def cut_at_the_line(word: Word) -> list[Word]:
    """The pieces of a word between its inner passages through the line."""
    pieces, start = [], 0
    for position in range(1, len(word)):
        if word[position].rows == LINE:
            pieces.append(word[start:position])
            start = position
    pieces.append(word[start:])
    return pieces


@lru_cache(maxsize=1 << 16)
def closed_normal_form(word: Word) -> Word:
    """The smallest representative of a closed piece under rotation and transposition.

    A piece on the line (a bilinear form) can only be transposed; a cycle inside a space can be
    rotated as well, after letters that meet their inverse around the corner are removed.
    """
    if word[0].rows == LINE:
        return min(word, transpose(word))
    while len(word) > 1 and are_inverse(word[-1], word[0]):
        word = word[1:-1]
    mirrored = transpose(word)
    return min(w[k:] + w[:k] for w in (word, mirrored) for k in range(len(word)))
