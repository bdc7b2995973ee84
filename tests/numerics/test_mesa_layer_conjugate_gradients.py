"""The mesa layer with a regulariser that stays: conjugate gradients, their bound, and gradients of the solution."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from iclcheck.numerics.mesa_layer import sequence_blocks
from iclcheck.numerics.mesa_layer.conjugate_gradients import conjugate_gradients, outputs_by_conjugate_gradients

by_iteration: Callable[..., torch.Tensor] = outputs_by_conjugate_gradients
Inputs = tuple[Any, ...]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawn(*leading: int, T: int, d: int, m: int) -> Inputs:
    """Keys, values, queries, ridge, forget factors and gates, in float64."""
    draw = torch.Generator().manual_seed(d)
    keys, queries = (torch.randn(*leading, T, d, generator=draw, dtype=torch.float64) / d**0.5 for _ in range(2))
    values = torch.randn(*leading, T, m, generator=draw, dtype=torch.float64)
    ridge = 0.5 + torch.rand(*leading, d, generator=draw, dtype=torch.float64)
    forget, gate = (torch.rand(*leading, T, generator=draw, dtype=torch.float64) for _ in range(2))
    return keys, values, queries, ridge, 0.8 + 0.2 * forget, gate


def directly(*inputs: torch.Tensor, linear: bool = False) -> torch.Tensor:
    """G_t (H_t + Lambda)^{-1} q_t step by step; with `linear`, G_t Lambda^{-1} q_t."""
    keys, values, queries, ridge, *factors = inputs
    ones = torch.ones_like(keys[..., 0])
    forget, gate = factors if factors else (ones, ones)
    H, G, outputs = torch.zeros(()), torch.zeros(()), []
    for t in range(keys.shape[-2]):
        f, b, k = forget[..., t, None, None], gate[..., t, None, None], keys[..., t, None, :]
        H, G = f * H + b * k.mT * k, f * G + b * values[..., t, :, None] * k
        A = torch.diag_embed(ridge) + (0 * H if linear else H)
        outputs.append((G @ torch.linalg.solve(A, queries[..., t, :, None])).squeeze(-1))
    return torch.stack(outputs, -2)


def gradients(form: Callable[..., torch.Tensor], inputs: Inputs, **settings: Any) -> Inputs:
    leaves = [one.clone().requires_grad_() for one in inputs]
    outputs = form(*leaves, **settings)
    weights = torch.sin(1 + torch.arange(outputs.numel(), dtype=outputs.dtype)).view_as(outputs)
    return torch.autograd.grad((outputs * weights).sum(), leaves)


@pytest.mark.parametrize("given", [4, 6])
@pytest.mark.parametrize("T, d, m", [(1, 2, 1), (40, 1, 2), (37, 5, 3), (70, 24, 4)])
def test_enough_steps_solve_and_give_the_gradients_of_the_solution(T: int, d: int, m: int, given: int) -> None:
    inputs = drawn(2, T=T, d=d, m=m)[:given]
    found, expected = by_iteration(*inputs, steps=3 * d + 10), directly(*inputs)
    # condition numbers below 100; steps beyond d make up for rounding, and 1e-16 * 100 * 20 is what stays
    assert float((found - expected).abs().max()) < 1e-12 * float(expected.abs().max())
    pairs = zip(gradients(by_iteration, inputs, steps=3 * d + 10), gradients(directly, inputs), strict=True)
    for one, other in pairs:
        assert float((one - other).abs().max()) <= 1e-11 * float(other.abs().max())


def test_finite_differences_agree() -> None:
    leaves = [one.requires_grad_() for one in drawn(T=6, d=2, m=2)]
    assert torch.autograd.gradcheck(lambda *given: by_iteration(*given, steps=8, chunk=4), leaves, atol=1e-7)


def test_no_step_is_gated_linear_attention_of_rescaled_queries() -> None:
    inputs = drawn(2, T=40, d=3, m=2)
    found, expected = by_iteration(*inputs, steps=0), directly(*inputs, linear=True)
    assert float((found - expected).abs().max()) < 1e-14 * float(expected.abs().max()) * 40  # sums of 40 terms


@pytest.mark.parametrize("condition", [2.0, 30.0, 1e3])
def test_the_error_falls_as_fast_as_the_bound_says(condition: float) -> None:
    d, draw = 40, torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(6, d, d, generator=draw, dtype=torch.float64)).Q
    A = basis * torch.logspace(0, float(torch.log10(torch.tensor(condition))), d, dtype=torch.float64) @ basis.mT
    right, start = torch.randn(2, 6, d, generator=draw, dtype=torch.float64)
    exact = torch.linalg.solve(A, right)

    def energy(x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bi,bij,bj->b", x - exact, A, x - exact).sqrt()

    rate, first = (condition**0.5 - 1) / (condition**0.5 + 1), energy(start)
    for steps in range(30):
        x = conjugate_gradients(lambda p: torch.einsum("bij,bj->bi", A, p), right, start, steps, 0.0)
        # rounding: the residual recursion drifts by about eps |A| |x| a step
        assert bool((energy(x) <= 2 * rate**steps * first + 1e-11).all())
    if condition < 100:
        assert bool((energy(x) < 1e-3 * first).all())


def test_the_rule_by_residual_stops_each_system_where_it_holds() -> None:
    draw, calls = torch.Generator().manual_seed(2), []
    diagonals = torch.stack([torch.ones(8), torch.linspace(1, 4, 8), torch.logspace(0, 4, 8)]).double()
    right = torch.randn(3, 8, generator=draw, dtype=torch.float64)

    def product(p: torch.Tensor) -> torch.Tensor:
        calls.append(p)
        return diagonals * p

    x = conjugate_gradients(product, right, torch.zeros_like(right), 100, 1e-3)
    left = (right - diagonals * x).norm(dim=-1) / right.norm(dim=-1)
    assert bool((left <= 1.001e-3).all())  # the recursion for the residual drifts by rounding alone
    assert 3 < len(calls) < 30
    assert float(left[1]) > 1e-9  # stopped early: the third system took more steps
    alone = conjugate_gradients(lambda p: diagonals[1] * p, right[1], torch.zeros(8, dtype=torch.float64), 100, 1e-3)
    torch.testing.assert_close(x[1], alone, rtol=1e-12, atol=1e-12)  # the same steps, summed in another order


def test_a_system_already_solved_stays_finite() -> None:
    keys, values, queries, ridge, _, _ = drawn(T=3, d=2, m=1)
    found = by_iteration(0 * keys, values, 0 * queries, ridge, steps=5)
    assert torch.equal(found, torch.zeros(3, 1, dtype=torch.float64))


def test_strong_forgetting_is_no_obstacle() -> None:
    keys, values, queries, ridge, _, gate = drawn(T=80, d=8, m=2)
    inputs = keys, values, queries, ridge, torch.full((80,), 1e-3, dtype=torch.float64), gate
    expected = directly(*inputs)
    assert float((by_iteration(*inputs, steps=30) - expected).abs().max()) < 1e-12 * float(expected.abs().max())


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = drawn(5, T=90, d=3, m=2)
    whole = by_iteration(*inputs, steps=12, chunk=8), *gradients(by_iteration, inputs, steps=12, chunk=8)
    monkeypatch.setitem(sequence_blocks.NUMBERS_AT_ONCE, "cpu", 90)
    parts = by_iteration(*inputs, steps=12, chunk=8), *gradients(by_iteration, inputs, steps=12, chunk=8)
    for one, other in zip(parts, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)  # the order of a few sums


@pytest.mark.parametrize("dtype, digits", [(torch.float16, 2**-11), (torch.bfloat16, 2**-8), (torch.float32, 1e-6)])
def test_the_dtype_is_kept_and_half_precision_is_computed_in_single(dtype: torch.dtype, digits: float) -> None:
    inputs = [one.to(dtype) for one in drawn(T=50, d=6, m=3)]
    found, expected = by_iteration(*inputs, steps=20), directly(*(one.double() for one in inputs))
    assert found.dtype == dtype
    # one rounding of the output; float32 has condition numbers below 30 and rounds 50 sums
    assert float((found.double() - expected).abs().max()) < 1.5 * digits * float(expected.abs().max())


def test_autocast_does_not_reach_the_products_inside() -> None:
    inputs = tuple(one.float() for one in drawn(T=40, d=8, m=4))
    expected = by_iteration(*inputs), *gradients(by_iteration, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = by_iteration(*inputs), *gradients(by_iteration, inputs)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"ridge": 0.0}, "need a ridge with positive entries, got 0.0"),
        ({"forget": torch.tensor([1.0, 2.0, 1.0])}, r"need forget factors in \(0, 1\]"),
        ({"gate": torch.tensor([1.0, -2.0, 1.0])}, "need gates of at least 0, got -2"),
        ({"gate": torch.ones(2)}, "need keys and queries"),
        ({"steps": -1}, "need a number of steps"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(change: dict[str, Any], message: str) -> None:
    keys, values, queries, *_ = drawn(T=3, d=2, m=1)
    with pytest.raises(ValueError, match=message):
        by_iteration(**({"keys": keys, "values": values, "queries": queries, "ridge": 1.0} | change))
