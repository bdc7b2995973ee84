"""Models that are only asked: what probing reads is exact, and what is no layer of linear attention is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from iclcheck.numerics.black_box import alignment, references
from iclcheck.numerics.black_box.asked import AskedModel, asked, unit_of
from iclcheck.numerics.black_box.effective_weights import (
    NotLinearAttentionError,
    fresh_prompts,
    layer,
    normalisation,
    probe,
    read_effective_weights,
)
from iclcheck.numerics.one_layer.prompts import PromptDistribution
from iclcheck.numerics.users_models.conventions import Convention
from iclcheck.numerics.users_models.functions import UsersCodeError

Array = NDArray[np.float64]
SIZES = pytest.mark.parametrize("d, N", [(1, 1), (1, 5), (3, 4), (5, 2)])


def heads(count: int, d: int, seed: int = 0) -> Array:
    """(count, 2, d + 1, d + 1): W_PV and W_KQ of each."""
    return np.random.default_rng([seed, count, d]).normal(size=(count, 2, d + 1, d + 1))


def attention(
    weights: Array, masked: bool = False, norm: Callable[[int], float] = lambda N: 1 / N, dtype: Any = np.float64
) -> AskedModel:
    """A layer with any number of heads, on one prompt, as its formula reads."""

    def answer(xs: Array, ys: Array, x_query: Array) -> Any:
        E = np.column_stack([np.vstack([xs.T, ys]), np.append(x_query, 0)]).astype(dtype)
        tokens = E[:, :-1] if masked else E
        total = sum((V.astype(dtype) @ tokens @ (tokens.T @ K.astype(dtype) @ E))[-1, -1] for V, K in weights)
        return np.asarray(total * dtype(norm(len(xs))), dtype=dtype)

    return asked(answer, "a layer")


def preconditioner(weights: Array) -> Array:
    """The sum over heads of u U + u12 u21^T."""
    return np.asarray(sum(V[-1, -1] * K[:-1, :-1] + np.outer(V[-1, :-1], K[-1, :-1]) for V, K in weights))


@SIZES
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_weights_of_a_layer_are_read_off_its_answers(d: int, N: int, count: int, masked: bool, dtype: Any) -> None:
    weights = heads(count, d)
    found = read_effective_weights(attention(weights, masked, dtype=dtype), d, N)
    # each entry comes of two answers of at most 4 (d + 2) terms of size below 4^2 a head, at unit roundoff u
    rounding = 64 * 16 * (d + 2) * count * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(found.preconditioner, preconditioner(weights), rtol=0, atol=rounding)
    assert found.query == ("masked" if masked else "inside")
    assert found.used <= 1
    assert not found.odd_only
    assert found.even > 0


@SIZES
def test_one_step_is_seen_to_be_odd_and_its_mask_is_not_identifiable(d: int, N: int) -> None:
    A = np.random.default_rng(d).normal(size=(d, d))
    found = read_effective_weights(asked(lambda xs, ys, q: ys @ xs @ A @ q / len(xs), "step"), d, N)
    assert (found.odd_only, found.query) == (True, "not identifiable")
    np.testing.assert_allclose(found.preconditioner, A, rtol=1e-14)
    leaking = read_effective_weights(
        asked(lambda xs, ys, q: (ys @ xs @ A @ q + ys @ ys * q[0]) / len(xs), "leak"), d, N
    )
    assert (leaking.odd_only, leaking.query) == (False, "not identifiable")
    np.testing.assert_allclose(leaking.tensor[0, d, d], 1, rtol=1e-13)


def softmax(xs: Array, ys: Array, q: Array) -> Any:
    scores = np.exp(xs @ q)
    return scores @ ys / scores.sum()


NOT_LAYERS: dict[str, Callable[..., Any]] = {
    "softmax": softmax,
    "least squares": lambda xs, ys, q: np.linalg.lstsq(xs, ys, rcond=None)[0] @ q,
    "relu": lambda xs, ys, q: np.maximum(xs @ q, 0) @ ys,
    "a bias": lambda xs, ys, q: ys @ xs @ q + 1e-3,
    "positions": lambda xs, ys, q: (ys * np.arange(1, len(xs) + 1)) @ xs @ q,
    "two steps": lambda xs, ys, q: (2 * ys - xs @ (xs.T @ ys)) @ xs @ q,
    "a step that saturates": lambda xs, ys, q: np.tanh(1e-3 * ys @ xs @ q),
    "a quadratic query": lambda xs, ys, q: ys @ xs @ (q + 1e-4 * q**2),
    "single precision off by 1e-4": lambda xs, ys, q: np.float32(ys @ xs @ q * (1 + 1e-3 * np.sin(xs.sum()))),
}


@pytest.mark.parametrize("name", NOT_LAYERS)
def test_what_is_no_layer_of_linear_attention_is_refused_with_its_distance(name: str) -> None:
    model = asked(NOT_LAYERS[name], name)
    with pytest.raises(NotLinearAttentionError, match=f"^{name} is no layer of linear attention: on 96 fresh") as said:
        read_effective_weights(model, 3, 4)
    assert "\n" not in str(said.value)
    assert probe(model, 3, 4).used > 10


def test_a_model_that_is_not_defined_on_single_tokens_is_told_so() -> None:
    normalised = asked(lambda xs, ys, q: ys @ xs @ q / np.sqrt(max(0.0, float(ys @ ys) - 1e-9)), "normalised")
    with np.errstate(all="ignore"), pytest.raises(UsersCodeError, match=r"a model that is not defined there has none"):
        probe(normalised, 2, 3)


def test_arithmetic_that_is_too_coarse_decides_nothing() -> None:
    def coarse(xs: Array, ys: Array, q: Array) -> Any:
        return torch.tensor(ys @ xs @ q).bfloat16()

    with pytest.raises(NotLinearAttentionError, match=r"too coarse to tell.*ask it in float32"):
        read_effective_weights(asked(coarse, "coarse"), 3, 4)


def test_a_difference_of_ten_times_the_rounding_is_seen() -> None:
    """The tolerance of a step in float64 at d = 3, N = 4 is 128 * 2^-53 times sizes of some ten."""
    A = np.eye(3)
    size = 128 * 2.0**-53
    for off, seen in ((0.01 * size, False), (1000 * size, True)):
        model = asked(lambda xs, ys, q, off=off: ys @ xs @ A @ q / 4 * (1 + off * np.sign(xs[1, 0])), "step")
        assert probe(model, 3, 4).is_linear_attention is not seen


@SIZES
@pytest.mark.parametrize(
    "name, norm",
    [
        ("1/N", lambda N: 1 / N),
        ("1/(N+1)", lambda N: 1 / (N + 1)),
        ("none", lambda N: 1.0),
        ("another", lambda N: N**-0.5),
        ("another", lambda N: 1 / (N + 2)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_a_model_divides_by_is_read_from_two_lengths(d: int, N: int, name: str, norm: Any, dtype: Any) -> None:
    model = attention(heads(1, d), True, norm, dtype)
    assert normalisation(model, probe(model, d, N), 2 * N) == name


def test_the_formula_is_the_layer_s_own() -> None:
    weights = heads(2, 3)
    G = np.zeros((3, 4, 4))
    for V, K in weights:
        half = np.einsum("a,ck->kac", V[-1], K[:, :3])
        G += (half + half.swapaxes(1, 2)) / 2
    xs, ys, q = fresh_prompts(3, 4)
    for masked in (True, False):
        expected = attention(weights, masked)(xs, ys, q).last
        np.testing.assert_allclose(layer(G, xs, ys, q, not masked), expected, rtol=0, atol=1e-11)


# How models are asked

XS, YS, Q = fresh_prompts(2, 3)


class Three(nn.Module):
    def forward(self, xs: Tensor, ys: Tensor, x_query: Tensor) -> Tensor:
        return torch.einsum("bn,bnd,bd->b", ys, xs, x_query)


class Two(nn.Module):
    def forward(self, xs: Tensor, ys: Tensor) -> Tensor:
        assert not ys[:, -1].any()
        return torch.einsum("bn,bnd,bmd->bm", ys, xs, xs)


class One(nn.Module):
    """Tokens as columns, hidden states or predictions."""

    def __init__(self, reads: str, rows: bool = False) -> None:
        super().__init__()
        self.reads, self.rows = reads, rows

    def forward(self, E: Tensor) -> Any:
        E = E.mT if self.rows else E
        added = torch.zeros_like(E)
        added[:, -1] = (E[:, -1:] @ E[:, :-1].mT @ E[:, :-1])[:, 0]
        hidden = E + added
        hidden = hidden.mT if self.rows else hidden
        entry = hidden[:, -1, -1]
        return {"hidden": hidden, "entry": entry, "column": entry[:, None], "layers": (0 * hidden, hidden)}[self.reads]


def one_by_one(xs: Array, ys: Array, q: Array) -> Any:
    return ys @ xs @ q


def batched(xs: Array, ys: Array, q: Array) -> Any:
    return np.einsum("bn,bnd,bd->b", ys, xs, q)


batched.batched = True  # type: ignore[attr-defined]
WAYS: list[Any] = [one_by_one, batched, Three(), Two(), One("hidden"), One("entry"), One("column"), One("layers")]


@pytest.mark.parametrize("model", WAYS, ids=lambda one: getattr(one, "__name__", type(one).__name__))
def test_every_way_of_asking_gives_the_same_answers(model: Any) -> None:
    """In float32 where there are no parameters to tell: sums of 6 products below 100."""
    expected = batched(XS, YS, Q)
    found = asked(model, "model")(XS, YS, Q)
    np.testing.assert_allclose(found.last, expected, rtol=0, atol=12 * 100 * found.unit)
    assert found.unit == (2.0**-24 if isinstance(model, nn.Module) else 2.0**-53)


def test_rows_a_sign_and_layers_are_read_as_the_convention_says() -> None:
    expected = batched(XS, YS, Q)
    rows = asked(One("hidden", rows=True), "rows", Convention(tokens="rows"))(XS, YS, Q)
    minus = asked(One("layers"), "minus", Convention(sign=-1))(XS, YS, Q)
    np.testing.assert_allclose(rows.last, expected, atol=1e-4)
    np.testing.assert_allclose(minus.values, np.stack([0 * expected, -expected], 1), atol=1e-4)
    several = asked(lambda xs, ys, q: [0.0, ys @ xs @ q], "several")(XS, YS, Q)
    np.testing.assert_array_equal(several.values[:, 0], 0)


@pytest.mark.parametrize(
    "model, reason",
    [
        (lambda xs, ys, q: np.ones((2, 2)), "need one number, or one for each layer, from model, got the shapes"),
        (lambda xs, ys, q: [1.0] if xs[0, 0] > 0 else [1.0, 2.0], "got the shapes"),
        (lambda xs, ys, q: float("nan"), "need finite predictions from model, .* got NaN or infinity in 96 of 96"),
        (lambda xs, ys, q: 1e70 * q[0], r"of at most 1e\+60 in size, got .*e\+70 in 96 of 96"),
        (lambda xs, ys, q: 1j * q[0], "need real numbers, got complex128"),
        (
            lambda xs, ys, q: 1 / 0,
            r"model fails on arguments of the shapes \(3, 2\), \(3,\), \(2,\): ZeroDivisionError",
        ),
        (lambda xs, ys: 1.0, "TypeError"),
        (Three, "model is a class; make one and name that"),
        (nn.Linear(7, 1), "fails on tensors of the shapes"),
        (nn.Bilinear(2, 3, 1), "fails on tensors"),
        (nn.Identity(), None),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(model: Any, reason: str | None) -> None:
    if reason is None:  # its hidden states are E itself, whose entry at the query is 0
        assert not asked(model, "model")(XS, YS, Q).values.any()
        return
    with pytest.raises(UsersCodeError, match=reason) as said:
        asked(model, "model")(XS, YS, Q)
    assert "\n" not in str(said.value)


def test_a_function_that_spoils_its_arguments_changes_nothing() -> None:
    def spoils(xs: Array, ys: Array, q: Array) -> float:
        xs[:], ys[:], q[:] = 7, 7, 7
        return 0.0

    before = XS.copy(), YS.copy(), Q.copy()
    asked(spoils, "spoils")(XS, YS, Q)
    for array, kept in zip((XS, YS, Q), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_units_are_those_of_the_numbers_that_come_back() -> None:
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        assert unit_of(torch.ones(1, dtype=dtype)) == torch.finfo(dtype).eps / 2
    assert unit_of(np.ones(1)) == unit_of(1) == 2.0**-53


# Known predictors, and the metrics


def test_bayes_is_the_posterior_mean_and_ridge_is_its_own_equations() -> None:
    draw = np.random.default_rng(5)
    Psi = np.array([[2.0, 0.5], [0.5, 1.0]])
    sigma2, penalty = 0.3, 0.7
    expected, ridged = [], []
    for X, y, q in zip(XS, YS, Q, strict=True):
        kernel = X @ Psi @ X.T + sigma2 * np.eye(3)
        expected.append(q @ Psi @ X.T @ np.linalg.solve(kernel, y))
        ridged.append(q @ np.linalg.solve(X.T @ X + penalty * np.eye(2), X.T @ y))
    # condition numbers below 1e4: 1e-16 * 1e4, with room
    np.testing.assert_allclose(references.bayes(Psi, sigma2)(XS, YS, Q), expected, rtol=1e-10)
    np.testing.assert_allclose(references.ridge(penalty)(XS, YS, Q), ridged, rtol=1e-10)
    w = draw.normal(size=2)
    np.testing.assert_allclose(references.bayes(Psi, 0.0)(XS, XS @ w, Q), Q @ w, rtol=1e-9)  # 3 examples determine w


def test_known_predictors_leave_ridge_out_where_it_is_another() -> None:
    assert "ridge" not in references.known_predictors(np.eye(2), 0.1, 2)
    assert "ridge" not in references.known_predictors(np.diag([1.0, 2.0]), 0.0, 2)
    assert "ridge" in references.known_predictors(np.diag([1.0, 2.0]), 0.1, 2)


def test_the_metrics_are_those_of_two_steps_by_hand() -> None:
    law = PromptDistribution(np.eye(2), (3,), np.eye(2))
    drawn = alignment.drawn_prompts(law, 50, "metrics")
    step, double = references.step(np.eye(2)), references.step(2 * np.eye(2))
    one, two = (alignment.sides_of_reference(side, drawn) for side in (step, double))
    s = np.einsum("bn,bnd->bd", drawn.ys, drawn.xs) / 3
    # central differences of a linear function with c = 7e-6: rounding 2^-53/c of sizes below 100
    np.testing.assert_allclose(one.slopes, s, rtol=0, atol=1e-8)
    found = alignment.alignment(two.values, two.slopes, one.values, one.slopes)
    assert found.cosine == pytest.approx(1, abs=1e-8)
    assert found.prediction_difference == pytest.approx(np.abs((s * drawn.queries).sum(1)).mean(), rel=1e-9)
    assert found.model_difference == pytest.approx(np.linalg.norm(s, axis=1).mean(), rel=1e-6)
    nothing = alignment.sides_of_reference(references.zero, drawn)
    assert alignment.alignment(nothing.values, nothing.slopes, one.values, one.slopes).cosine is None


def test_drawn_prompts_are_those_of_the_law() -> None:
    law = PromptDistribution(np.diag([1.0, 4.0]), (3,), np.eye(2), 0.0)
    drawn = alignment.drawn_prompts(law, 40, "law")
    again = alignment.drawn_prompts(law, 40, "law")
    np.testing.assert_array_equal(drawn.xs, again.xs)
    w = np.linalg.lstsq(drawn.xs[0], drawn.ys[0], rcond=None)[0]
    assert drawn.queries[0] @ w == pytest.approx(drawn.targets[0], rel=1e-9)
    assert np.ptp(drawn.xs[..., 1]) > np.ptp(drawn.xs[..., 0])


def test_caps_only_lower_a_mean() -> None:
    sums = alignment.capped_sums(np.array([0.1, 0.2, 10.0]), 1.0, 0.5)
    assert sums["capped"] == pytest.approx((0.01 + 0.04 + 0.5) / 3)
    assert sums["mean"] == pytest.approx((0.01 + 0.04 + 100) / 3)
    assert sums["variance"] == pytest.approx(np.var([0.01, 0.04, 0.5]))
