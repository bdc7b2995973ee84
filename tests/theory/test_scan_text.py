"""Where attention goes first on a text: the derivation, and what it says of counts, by routes of their own."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iclcheck.theory.one_layer.assumptions import AssumptionError
from iclcheck.theory.scan_on_text import text_attention
from iclcheck.theory.scan_on_text.power_series import Series, constant
from iclcheck.theory.scan_on_text.text_windows import Windows, counted_windows, windows_of

fractions = st.fractions(min_value=-2, max_value=2, max_denominator=9)


def test_every_step_holds_at_random_rational_windows() -> None:
    assert text_attention.derivation().failures((0, 1, 2)) == []


@pytest.mark.parametrize("part", ["score", "kappa"])
def test_the_flow_by_series_sees_every_altered_score_and_force(part: str) -> None:
    one = text_attention.instance(3)
    found, _ = text_attention.flow_by_series(one)
    right = found[..., 2] / (one.rates[0] * one.rates[1])
    formula = text_attention.formula()
    assert np.array_equal(right, text_attention.logits_of(formula.parts, one.windows))
    for alteration, other in formula.altered():
        if not alteration.description.endswith(f", {part}"):
            continue
        same = np.array_equal(right, text_attention.logits_of(other.parts, one.windows))
        # F f f^T a and F f a^T f are one, and 1/2 F^T a is 1/2 F a: the transposed forms say the same
        assert not same or alteration.kind == "transpose", alteration.description


@given(st.lists(fractions, min_size=3, max_size=3), st.fractions(min_value=1, max_value=3, max_denominator=5))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_series_are_exponentials_inverses_and_roots(tail: list[Fraction], root: Fraction) -> None:
    one, growing = constant(Fraction(1), 3), Series((Fraction(0), *tail))
    assert growing.exp() * growing.scaled(Fraction(-1)).exp() == one
    shifted = Series((root**2, *tail))
    assert shifted * shifted.inverse() == one
    shrunk = shifted.inverse_root(1 / root)
    assert shrunk * shrunk * shifted == one


def test_forces_of_a_window_add_up_to_zero() -> None:
    for k in range(4):
        table = text_attention.logits_of(
            text_attention.formula().parts, text_attention.rational_windows(f"rows/{k}", 7)
        )
        assert [sum(row) for row in table] == [0] * 4
        assert any(entry != 0 for entry in table.ravel())


def text_with(share: int, of: int, K: int) -> Windows:
    """K next words, each after `of` windows: word 0 with f = 3/5 in all, word n with 4/5 in `share` of its own."""
    counted, ends = [], []
    for n in range(1, K + 1):
        for k in range(of):
            other = n if k < share else K + 1  # a filler word
            counted.append({0: 3, other: 4})
            ends.append((0, n))
    return counted_windows(counted, ends, K + 2, exact=True)


@pytest.mark.parametrize("share, wins", [(8, True), (6, True), (5, False), (1, False)])
def test_a_word_that_is_everywhere_loses_only_to_one_that_is_nearly_always_there(share: int, wins: bool) -> None:
    # K = 2 and M = 4: the threshold is (4/2 - 1)/(3/2) = 2/3 of the windows
    windows = text_with(share, 8, 2)
    ratios = text_attention.scores_of(text_attention.score(), windows) / windows.shares
    everywhere, distinct = ratios[0]
    assert (distinct > everywhere) == wins
    assert Fraction(str(text_attention.threshold().subs({"P": Fraction(1, 2), "k": 3}))) == Fraction(2, 3)


def test_in_infinitely_long_windows_distinct_words_gain_and_common_ones_lose() -> None:
    # one window for each class: then every word of a class is in all its windows
    windows = counted_windows([{0: 2, 1: 1, 2: 2}, {0: 2, 3: 2, 4: 1}], [(0, 3), (0, 4)], 5, exact=True)
    table = text_attention.logits_of(text_attention.formula().parts, windows)
    assert table[0][0] < 0 < min(table[0][1:])


def test_float_windows_give_the_exact_numbers() -> None:
    rows = [[0, 0, 1, 1, 2, 0, 3], [0, 0, 0, 1, 1, 2, 2], [3, 3, 2, 2, 1, 1, 0]]
    exact = windows_of([rows[0], rows[2]], 4, exact=True)
    floats = windows_of([rows[0], rows[2]], 4)
    found = text_attention.formula().value({"windows": floats})
    # some tens of operations on numbers below 1
    assert np.abs(found - text_attention.formula().value({"windows": exact}).astype(float)).max() < 1e-14
    with pytest.raises(ValueError, match="square number"):
        windows_of(rows[1:2], 4, exact=True)


def test_predict_gives_leading_logits_bound_and_entropies() -> None:
    windows = [[0, 1, 0, 2, 1], [0, 1, 1, 2, 0], [0, 2, 2, 2, 0]]
    slow, fast = (text_attention.for_user(windows, 3, t, 2.0, 3.0) for t in (0.001, 0.002))
    assert np.allclose(np.array(fast["attention_logits"]), 4 * np.array(slow["attention_logits"]), rtol=1e-12)
    assert fast["entropy_drop"] == pytest.approx(16 * slow["entropy_drop"], rel=1e-9)
    assert slow["start_entropy"] == math.log(3)
    # p = 1 for the only query: 5/12 eta_Y^2 eta_Z t^3 + 11/12 eta_Y^2 eta_Z^2 t^4
    assert slow["logits_within"] == pytest.approx([0, 0, 5 / 12 * 12e-9 + 11 / 12 * 36e-12])


@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.1, 1e4), (1e200, 1e-3)])
def test_predict_ends_where_the_remainder_is_no_longer_small(rates: tuple[float, float]) -> None:
    windows = [[0, 1, 0, 2, 1], [0, 1, 1, 2, 0], [0, 2, 2, 2, 0]]
    with pytest.raises(AssumptionError, match=r"proved remainder is at most .*, got 100; take ") as refused:
        text_attention.for_user(windows, 3, 100.0, *rates)
    named = float(str(refused.value).split("take ")[1].split(",")[0])
    found = text_attention.for_user(windows, 3, named, *rates)
    assert found["logits_within"][2] <= max(np.abs(found["attention_logits"][2]))
    assert 0 <= found["entropy_drop"] < found["start_entropy"]
    with pytest.raises(AssumptionError, match="proved remainder"):
        text_attention.for_user(windows, 3, 4 * named, *rates)


def test_a_query_without_leading_logits_does_not_end_the_prediction() -> None:
    found = text_attention.for_user([[0, 1, 0, 1]], 2, 100.0)
    assert not np.any(found["attention_logits"])


@pytest.mark.parametrize(
    "given_, said",
    [
        ({"windows": [[0, 1, 2]]}, "T >= 3"),
        ({"windows": [0, 1, 2, 3]}, "rows of T . 1"),
        ({"windows": [[0, 1, 2, 3]]}, "from 0 to 2"),
        ({"windows": [[0, 0.5, 1, 1]]}, "whole numbers"),
        ({"vocabulary_size": 1}, "from 2 to 200"),
        ({"vocabulary_size": 2.5}, "whole number"),
        ({"time": -1}, "at least 0"),
        ({"attention_rate": 0}, "above 0"),
    ],
)
def test_what_cannot_be_predicted_is_refused_in_one_sentence(given_: dict[str, object], said: str) -> None:
    whole = {"windows": [[0, 1, 0, 2, 1]], "vocabulary_size": 3, "time": 0.1, **given_}
    with pytest.raises(AssumptionError, match=said) as refused:
        text_attention.for_user(**whole)
    assert "\n" not in str(refused.value)
