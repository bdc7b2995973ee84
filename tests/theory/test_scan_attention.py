"""The force on attention logits, the clock of distinct tokens, the sign of the force: derivations and predictions."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iclcheck.theory.one_layer.assumptions import AssumptionError
from iclcheck.theory.scan_and_snap import attention_force, discriminative, frequency, snap
from iclcheck.theory.scan_and_snap.discriminative_predictions import for_user, strengths
from iclcheck.theory.scan_and_snap.exact_layer import Dual, random_task

DERIVATIONS = (frequency.derivation, discriminative.derivation)


@pytest.mark.parametrize("derivation", DERIVATIONS)
def test_every_step_holds_at_its_instances(derivation: Any) -> None:
    assert derivation().failures(range(2)) == []


@pytest.mark.parametrize("module", [frequency, discriminative, snap])
def test_the_rate_of_the_paper_is_ours_over_the_number_of_classes(module: Any) -> None:
    # [tian2023scan, Eq. 10] sums over the classes without P(n) = 1/K, so that its eta_Z has the factor 1/K in it
    said = module.derivation().statement.conventions
    assert "eta_Z of the paper is eta_Z/K" in said
    assert "times ours" not in said + str(attention_force.__doc__)


FORMS = {
    (attention_force, "handed_back"): "gradient handed back",
    (attention_force, "force"): "force of one class",
    (attention_force, "force_on_distinct_tokens"): "force on distinct tokens",
    (frequency, "inverse_rate"): "inverse squares",
    (frequency, "left_of_the_clock"): "all tokens from one",
    (frequency, "relative_gain"): "relative gain",
    (frequency, "growth_of_the_share"): "the leading token",
    (discriminative, "force_of_column"): "force on any token",
    (discriminative, "strength"): "force on distinct tokens",
    (discriminative, "speed"): "gradient handed back",
}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form[1])
def test_a_step_sees_that_its_form_is_one_percent_larger(form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name = form
    derived = discriminative if module is discriminative else frequency
    (step,) = (one for one in derived.derivation().steps if one.name == FORMS[form])
    instance = derived.Instance(0)
    assert step.holds_at(instance)
    larger = getattr(module, name)() * Fraction(101, 100)
    monkeypatch.setattr(module, name, lambda: larger)
    assert not step.holds_at(instance)


def test_a_dual_number_differentiates_quotients_and_roots() -> None:
    x = Dual(Fraction(3), Fraction(1))
    assert x / (x + Dual(Fraction(1))) == Dual(Fraction(3, 4), Fraction(1, 16))
    assert (x * x * Dual(Fraction(4))).root() == Dual(Fraction(6), Fraction(2))


def test_the_force_needs_a_gradient_that_is_alike_on_distinct_tokens() -> None:
    """With any decoder the differences of 1/u_l move."""
    given = attention_force.ForceInstance("any decoder")
    moved = given.task.velocity(given.any_decoder, given.exponentials)[0]
    first, second = (-2 * moved[token] / given.task.weights[0, token] ** 2 for token in (2, 3))
    assert first != second
    in_span = given.task.velocity(given.decoder_in_span, given.exponentials)[0]
    first, second = (-2 * in_span[token] / given.task.weights[0, token] ** 2 for token in (2, 3))
    assert first == second


def test_softmax_of_the_layer_does_not_see_the_scale_of_a_class() -> None:
    task = random_task("scale")
    other = replace(task, weights=task.weights * np.array([[3], [5], [7]], dtype=object))
    given = attention_force.ForceInstance("scale")
    left, right = (one.velocity(given.any_decoder, given.exponentials) for one in (task, other))
    assert (left == right).all()


# The clock


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6),
    st.floats(-3.0, 0.999),
    st.lists(st.floats(-1, 1), min_size=6),
)
def test_the_clock_conserves_keeps_the_order_and_saturates(
    weights: list[float], part: float, logits: list[float]
) -> None:
    P, start = np.array(weights) / sum(weights), logits[: len(weights)]
    squares = P**2 * np.exp(2 * np.array(start))
    found = frequency.for_user(P.tolist(), start, clock=part / squares.max())
    moved = P**2 * np.exp(2 * np.array(found.logits))
    # one number for all of them; ten roundings of the largest inverse
    assert np.allclose(1 / squares - 1 / moved, found.clock, rtol=0, atol=2e-15 / min(squares.min(), moved.min()))
    assert (np.diff(moved[np.argsort(squares)]) >= -1e-15).all()
    gains = np.array(found.gains)
    relative = squares[:, None] / squares[None, :] - 1
    assert np.allclose(found.relative_gains, relative * gains[:, None], rtol=1e-9, atol=1e-12)
    behind = squares < squares.max() * 0.99
    assert (gains[behind] < 1 / (1 - squares[behind] / squares.max())).all()


def test_the_clock_and_the_logit_of_one_token_say_the_same() -> None:
    by_clock = frequency.for_user([0.3, 0.2, 0.1], clock=8.0)
    by_token = frequency.for_user([0.3, 0.2, 0.1], token=1, logit=by_clock.logits[1])
    assert by_token.clock == pytest.approx(8.0, rel=1e-14)
    assert by_token.logits == pytest.approx(by_clock.logits, rel=1e-14)


def test_equal_tokens_stay_equal() -> None:
    found = frequency.for_user([0.3, 0.3, 0.1], clock=10.0)
    assert found.logits[0] == found.logits[1]
    assert found.relative_gains[0][1] == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"probabilities": [0.5, 0.2]}, "either clock, or token and logit"),
        ({"probabilities": [0.5, 0.2], "clock": 1.0, "token": 0, "logit": 1.0}, "either clock, or token and logit"),
        ({"probabilities": [0.5, 0.2], "clock": 4.0}, "below 1/max"),
        ({"probabilities": [0.1, 0.2], "token": 0, "logit": 1e3}, "logit below 0.143841, which token 0 never reaches"),
        (
            {"probabilities": [0.1, 0.2], "token": 1, "logit": 1e3},
            r"can reach any logit, .*got 1000, give",
        ),
        ({"probabilities": [0.5, 0.2], "token": 2, "logit": 0.1}, "from 0 to 1"),
        ({"probabilities": [0.5, 0.6], "clock": 1.0}, "sum at most 1"),
        ({"probabilities": [0.5, 0.0], "clock": 1.0}, "positive"),
        ({"probabilities": [], "clock": 1.0}, "positive"),
        ({"probabilities": [0.5], "logits": [0, 0], "clock": 1.0}, "one number for each"),
        ({"probabilities": [0.5, 0.2], "logits": [400, 0], "clock": 1.0}, "range of double precision"),
        ({"probabilities": [0.5, 1e-200], "clock": 1.0}, "range of double precision"),
    ],
)
def test_the_clock_refuses_in_one_sentence(given: dict[str, Any], words: str) -> None:
    with pytest.raises(AssumptionError, match=words):
        frequency.for_user(**given)


# Signs


def test_the_losing_token_gains_in_a_larger_vocabulary() -> None:
    """M - 1 against -beta/(1 - s): 10 < 11.5, so three tokens that never occur turn the sign."""
    wider = [(*row, 0, 0, 0) for row in discriminative.LOSING_DISTINCT]
    forces = [
        discriminative.forces_at(discriminative.exact_columns(t)) for t in (discriminative.LOSING_DISTINCT, wider)
    ]
    assert forces[0][discriminative.LOSER] < 0 < forces[1][discriminative.LOSER]


def test_the_counterexample_breaks_the_sufficient_condition_and_no_other_class_loses() -> None:
    f = discriminative.exact_columns(discriminative.LOSING_DISTINCT)
    assert not discriminative.weak((f @ f.T).astype(float), 0)
    assert [discriminative.exact_strength(f, n) > 0 for n in range(4)] == [False, True, True, True]


def test_the_gaining_common_token_gains_in_any_vocabulary() -> None:
    for more in (0, 10, 1000):
        wider = [row + (0,) * more for row in discriminative.GAINING_COMMON]
        assert discriminative.forces_at(discriminative.exact_columns(wider))[discriminative.GAINER] > 0


def table(draw: np.random.Generator, K: int, common: int) -> list[list[float]]:
    weights = np.zeros((K, common + K))
    weights[:, :common] = draw.uniform(0, 1, size=(K, common)) * (draw.uniform(size=(K, common)) < 0.7)
    weights[:, common:] = np.diag(draw.uniform(0.05, 1, size=K))
    rows: list[list[float]] = (weights / weights.sum(1, keepdims=True)).tolist()
    return rows


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 10**6))
def test_distinct_tokens_gain_wherever_the_sufficient_condition_holds(K: int, common: int, seed: int) -> None:
    contexts = table(np.random.default_rng(seed), K, common)
    found = for_user(contexts, 0.1)
    assert K > 3 or all(found.sufficient)
    signs = np.diag(np.array(found.signs)[0][common:].reshape(1, K).repeat(K, 0))
    for n in range(K):
        assert not found.sufficient[n] or signs[n] >= 0
        # one formula for the token's force, another for xi
        assert signs[n] == 0 or signs[n] == np.sign(found.xi[n])
    # M K terms of size one, times a condition number that stays below a thousand or so
    assert abs(np.sum(found.forces)) < 1e-11


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(2, 6), st.integers(0, 10**6))
def test_a_single_common_token_loses_as_much_as_the_distinct_ones_gain(K: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    weights = np.zeros((K, K + 1))
    weights[:, 0], weights[:, 1:] = draw.uniform(0.1, 1, size=K), np.diag(draw.uniform(0.1, 1, size=K))
    contexts = weights / weights.sum(1, keepdims=True)
    found = for_user(contexts.tolist(), 0.2)
    values = discriminative.float_values(contexts, np.zeros((1, K + 1)), [0] * K, 0.2, 1.0)
    xi, squares = strengths(values), values["f"][:, 0] ** 2
    assert found.forces[0][0] == pytest.approx(-float(np.sum((1 - squares) * xi)) / K, rel=1e-9)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"contexts": [[1.0, 0.0], [1.0, 0.0]], "h": 0.1}, "dependent"),
        ({"contexts": [[0.5, 0.5], [1.0, 0.1]], "h": 0.1}, "sum 1"),
        ({"contexts": [[1.5, -0.5], [0.5, 0.5]], "h": 0.1}, "needs probabilities, got -0.5"),
        ({"contexts": [[0.5, 0.5], [1.0, 0.0]], "h": 0.0}, "above 0"),
        ({"contexts": [[0.5, 0.5], [1.0, 0.0]], "h": 0.1, "logits": [0.0, 0.0]}, "a row for each query"),
        ({"contexts": [[0.5, 0.5], [1.0, 0.0]], "h": 400.0}, "up to 700, got 800"),
        ({"contexts": [[0.5, 0.5], [1.0, 0.0]], "h": 0.1, "queries": [0]}, "each of the 2 classes"),
    ],
)
def test_forces_refuse_in_one_sentence(given: dict[str, Any], words: str) -> None:
    with pytest.raises(AssumptionError, match=words):
        for_user(**given)
