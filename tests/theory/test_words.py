"""Letters on their own: which have an inverse. What words do is tested through the polynomials."""

from __future__ import annotations

import pytest

from iclcheck.theory.algebra.words import LINE, Letter

A = Letter("A")
TALL = Letter("T", rows="d", cols="m")
SCALAR = Letter("eps", rows=LINE, cols=LINE)


@pytest.mark.parametrize("letter", [TALL, TALL.T, SCALAR, Letter("v", cols=LINE)])
def test_only_square_matrix_letters_have_an_inverse(letter: Letter) -> None:
    with pytest.raises(ValueError, match=f"need a square matrix letter to invert, got {letter.name} "):
        _ = letter.inv
    assert A.inv.inverse
    assert A.inv.inv == A
