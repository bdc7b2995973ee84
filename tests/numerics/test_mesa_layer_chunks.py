"""The chunkwise mesa layer: equal to the direct solve, values and gradients, where keys are easy and where not.

Errors are relative to the largest output (or gradient) of the sequence. What rounding may do: the direct solve and the
chunks both err by about eps times the condition number of H_t, at worst 2e-16 * 1e6 = 2e-10 at one of a million
and in practice a tenth of it, because rounding errors have no common direction. So the bar there is 1e-10.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from iclcheck.numerics.mesa_layer import chunkwise_layer, sequence_blocks
from iclcheck.numerics.mesa_layer.chunkwise_layer import condition_bounds
from iclcheck.numerics.mesa_layer.least_squares_layer import outputs_by_direct_solve, outputs_by_recursion

by_chunks: Callable[..., torch.Tensor] = chunkwise_layer.outputs_by_chunks
directly: Callable[..., torch.Tensor] = outputs_by_direct_solve
by_recursion: Callable[..., torch.Tensor] = outputs_by_recursion
Inputs = tuple[Any, ...]  # tensors, and a number or None among them


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawn(*leading: int, T: int, d: int, m: int, seed: int = 0) -> Inputs:
    """Gaussian keys and queries of length about 1, values, and forget factors between 0.8 and 1."""
    draw = torch.Generator().manual_seed(seed)
    keys, queries = (torch.randn(*leading, T, d, generator=draw, dtype=torch.float64) / d**0.5 for _ in range(2))
    values = torch.randn(*leading, T, m, generator=draw, dtype=torch.float64)
    return keys, values, queries, 0.8 + 0.2 * torch.rand(*leading, T, generator=draw, dtype=torch.float64)


def error(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, relative to the largest entry of the other."""
    return float((one.double() - other.double()).abs().max() / other.double().abs().max())


def condition_numbers(keys: torch.Tensor, regulariser: float, forget: torch.Tensor | None) -> torch.Tensor:
    """The condition number of H_t for t = 1 .. T of one sequence."""
    H, found = torch.eye(keys.shape[1], dtype=keys.dtype) / regulariser, []
    for t, k in enumerate(keys):
        H = (1 if forget is None else forget[t]) * H + torch.outer(k, k)
        found.append(torch.linalg.cond(H))
    return torch.stack(found)


def gradients(form: Callable[..., torch.Tensor], inputs: Inputs, **settings: Any) -> Inputs:
    """Gradients of a fixed combination of the outputs, for keys, values, queries, lambda and forget factors."""
    leaves = [one.clone().requires_grad_() for one in inputs]
    outputs = form(*leaves, **settings)
    weights = torch.sin(torch.arange(outputs.numel(), dtype=outputs.dtype)).view_as(outputs)
    return torch.autograd.grad((outputs * weights).sum(), leaves)


# name, d, forget factors, and keys that lead to a condition number near 1e6
def ill_conditioned(name: str, d: int, T: int) -> tuple[torch.Tensor, float, torch.Tensor | None]:
    keys, _, _, _ = drawn(T=T, d=d, m=1, seed=d)
    if name == "nearly no regulariser":
        return keys, 3e5, None
    if name == "unequal variances":
        return 30 * keys * torch.logspace(0, -3, d, dtype=torch.float64), 1e3, None
    if name == "one direction":
        return keys[:, :1] * torch.ones(d, dtype=torch.float64), 1e6 / T, None
    return keys, 1.0, torch.full((T,), 1e-4 ** (1 / d), dtype=torch.float64)


SIZES = [(1, 1, 1), (1, 3, 2), (5, 1, 3), (37, 4, 2), (64, 8, 8), (130, 20, 5), (100, 64, 32)]


@pytest.mark.parametrize("forgets", [False, True])
@pytest.mark.parametrize("T, d, m", SIZES)
def test_outputs_and_gradients_are_those_of_the_direct_solve(T: int, d: int, m: int, forgets: bool) -> None:
    *inputs, forget = drawn(2, T=T, d=d, m=m)
    inputs = [*inputs, torch.tensor([0.5, 3.0], dtype=torch.float64), *([forget] if forgets else [])]
    # condition numbers below 1e4 (with forgetting, and d = 64) leave eleven digits
    assert error(by_chunks(*inputs), directly(*inputs)) < 1e-11
    pairs = zip(gradients(by_chunks, tuple(inputs)), gradients(directly, tuple(inputs)), strict=True)
    for one, other in pairs:
        assert float((one - other).abs().max()) < 1e-10 * float(other.abs().max())


@pytest.mark.parametrize("name", ["nearly no regulariser", "unequal variances", "one direction", "forgetting"])
@pytest.mark.parametrize("d", [3, 8, 32])
def test_ten_digits_are_left_at_condition_numbers_of_a_million(name: str, d: int) -> None:
    keys, regulariser, forget = ill_conditioned(name, d, T=512)
    _, values, queries, _ = drawn(T=512, d=d, m=3)
    condition = float(condition_numbers(keys, regulariser, forget).max())
    assert 1e5 < condition < 5e6
    given = keys, values, queries, regulariser, forget
    assert error(by_chunks(*given), directly(*given)) < 1e-10 * max(1.0, condition / 1e6)


def test_exact_arithmetic_agrees_at_a_condition_number_of_a_million() -> None:
    keys = [[Fraction(1000 * (i % 3 - 1) + 7 * i, 16), Fraction(i * i % 5, 16)] for i in range(9)]
    values, queries = [Fraction(i % 4) for i in range(9)], [[Fraction(1), Fraction(i % 3)] for i in range(9)]
    a, b, c, g, h, expected = Fraction(1, 8), Fraction(0), Fraction(1, 8), Fraction(0), Fraction(0), []
    for (x, y), v, (p, q) in zip(keys, values, queries, strict=True):
        a, b, c, g, h = a + x * x, b + x * y, c + y * y, g + v * x, h + v * y
        expected.append(((c * g - b * h) * p + (a * h - b * g) * q) / (a * c - b * b))
    as_rows = [torch.tensor([[float(z) for z in one] for one in rows], dtype=torch.float64) for rows in (keys, queries)]
    targets = torch.tensor([[float(z)] for z in values], dtype=torch.float64)
    found = by_chunks(as_rows[0], targets, as_rows[1], 8.0).flatten()
    assert float(condition_numbers(as_rows[0], 8.0, None).max()) > 5e4
    assert error(found, torch.tensor([float(one) for one in expected])) < 1e-7  # the expected values are float32
    assert error(found, torch.tensor([float(one) for one in expected], dtype=torch.float64)) < 1e-11


@pytest.mark.parametrize("name", ["nearly no regulariser", "unequal variances", "one direction", "forgetting"])
def test_gradients_have_six_digits_at_condition_numbers_of_a_million(name: str) -> None:
    keys, regulariser, forget = ill_conditioned(name, 8, T=60)
    _, values, queries, _ = drawn(T=60, d=8, m=3)
    given = (
        keys,
        values,
        queries,
        torch.tensor(regulariser, dtype=torch.float64),
        *(() if forget is None else (forget,)),
    )
    found, expected = gradients(by_chunks, given), gradients(directly, given)
    for place, (one, other) in enumerate(zip(found, expected, strict=True)):
        # lambda in its own units, since it may hardly matter: then its gradient is all cancellation, in either form
        scale = float(expected[0].abs().max()) / regulariser if place == 3 else float(other.abs().max())
        assert float((one - other).abs().max()) < 1e-6 * scale


@pytest.mark.parametrize("forgets", [False, True])
def test_gradients_are_those_of_finite_differences(forgets: bool) -> None:
    *inputs, forget = drawn(T=6, d=2, m=3)
    leaves = [one.requires_grad_() for one in (*inputs, torch.tensor(2.0, dtype=torch.float64), forget)]
    assert torch.autograd.gradcheck(
        lambda *given: by_chunks(*given, chunk=4), leaves if forgets else leaves[:-1], eps=1e-6, atol=1e-7
    )


def test_blocks_of_steps_and_of_sequences_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    *inputs, forget = drawn(5, T=90, d=3, m=2)
    given = (*inputs, torch.tensor(1.5, dtype=torch.float64), forget)
    whole = by_chunks(*given, chunk=8), *gradients(by_chunks, given, chunk=8)
    monkeypatch.setitem(
        sequence_blocks.NUMBERS_AT_ONCE, "cpu", 900
    )  # blocks of 176 steps become 22 chunks; 2 sequences
    halves = by_chunks(*given, chunk=8), *gradients(by_chunks, given, chunk=8)
    monkeypatch.setitem(sequence_blocks.NUMBERS_AT_ONCE, "cpu", 90)  # one sequence, 16 steps
    parts = by_chunks(*given, chunk=8), *gradients(by_chunks, given, chunk=8)
    single = by_chunks(*given, chunk=1), *gradients(by_chunks, given, chunk=1)  # factors made again in backward
    for one, *others in zip(whole, halves, parts, single, strict=True):
        assert max(error(other, one) for other in others) < 1e-12  # the same sums up to the order of a few


def test_a_chunk_longer_than_the_keys_dimension_is_halved_where_it_loses_digits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys, values, queries, _ = drawn(T=64, d=2, m=1)
    given = keys, values, queries, 1e9
    exact = directly(*given, None)[8:]  # from there on H_t is well conditioned
    assert error(by_chunks(*given, chunk=64)[8:], exact) < 1e-11
    monkeypatch.setattr(chunkwise_layer, "LOST_IN_CHUNKS", float("inf"))
    assert error(by_chunks(*given, chunk=64)[8:], exact) > 1e-10


@pytest.mark.parametrize("factor", [1e-30, 1e-3, 0.3])
def test_a_short_memory_neither_over_nor_underflows(factor: float) -> None:
    keys, values, queries, _ = drawn(T=512, d=1, m=2)
    keys = keys.sign() * (0.5 + keys.abs())
    forget = torch.full((512,), factor, dtype=torch.float64)
    given = keys, values, queries, 1.0, forget
    assert error(by_chunks(*given), directly(*given)) < 1e-10
    for one in gradients(by_chunks, (*given[:3], torch.tensor(1.0, dtype=torch.float64), forget)):
        assert bool(one.isfinite().all())


def test_outputs_do_not_depend_on_later_steps() -> None:
    keys, values, queries, forget = drawn(T=50, d=3, m=2)
    before = by_chunks(keys, values, queries, 1.0, forget)
    for one in (keys, values, queries):
        one[30:] = torch.randn_like(one[30:])
    assert error(by_chunks(keys, values, queries, 1.0, forget)[:30], before[:30]) < 1e-14


def test_float32_that_is_not_enough_is_done_in_float64() -> None:
    keys, regulariser, _ = ill_conditioned("one direction", 8, T=200)
    _, values, queries, _ = drawn(T=200, d=8, m=3)
    rounded = [one.float() for one in (keys, values, queries)]
    exact = directly(*(one.double() for one in rounded), regulariser)
    assert error(by_recursion(*rounded, regulariser), exact) > 1e-3
    found = by_chunks(*rounded, regulariser)
    assert found.dtype == torch.float32
    assert error(found, exact) < 1.2e-7  # one rounding to float32
    assert error(by_chunks(*rounded, regulariser, tolerance=1e9), exact) > 1e-5  # float32 all the way


def test_easy_keys_stay_in_float32() -> None:
    inputs = [one.float() for one in drawn(3, T=100, d=16, m=4)[:3]]
    exact = directly(*(one.double() for one in inputs), 1.0)
    # condition numbers below 50: 6e-8 * 50, and more than the one rounding of an output, 6e-8
    assert 1e-7 < error(by_chunks(*inputs, 1.0), exact) < 3e-6


@pytest.mark.parametrize("dtype, digits", [(torch.float16, 2**-11), (torch.bfloat16, 2**-8)])
def test_half_precision_keys_that_break_the_recursion_are_computed_in_single(dtype: torch.dtype, digits: float) -> None:
    keys, values, queries, _ = drawn(T=100, d=8, m=3)
    keys = (10 * (1 + 0.1 * keys)).to(dtype)  # nearly one direction
    values, queries = values.to(dtype), queries.to(dtype)
    exact = directly(keys.double(), values.double(), queries.double(), 100.0)
    naive = by_recursion(keys, values, queries, 100.0)
    assert not bool(naive.isfinite().all()) or error(naive, exact) > 0.2
    found = by_chunks(keys, values, queries, 100.0)
    assert found.dtype == dtype
    assert error(found, exact) < 1.1 * digits  # the rounding of the output, and a little
    naive_gram = 0.01 * torch.eye(8, dtype=dtype) + keys.mT @ keys
    assert float(torch.linalg.eigvalsh(naive_gram.double()).min()) < 0  # not positive definite as it stands


def test_what_float64_does_not_hold_is_refused_in_one_sentence() -> None:
    keys, values, queries, _ = drawn(T=200, d=8, m=1)
    forget = torch.full((200,), 0.01, dtype=torch.float64)
    with pytest.raises(ArithmeticError, match=r"need keys whose H_t has a condition number below 4.5e\+12"):
        by_chunks(keys, values, queries, 1.0, forget)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"regulariser": 0.0}, "need a regulariser lambda > 0, got 0.0"),
        ({"regulariser": torch.tensor([1.0, -1.0])}, "need a regulariser lambda > 0"),
        ({"forget": torch.tensor([1.0, 0.0, 1.0])}, r"need forget factors in \(0, 1\], got some between 0 and 1"),
        ({"forget": torch.ones(2)}, "need keys and queries"),
        ({"keys": torch.full((2, 3, 2), float("nan"))}, "need finite keys"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(change: dict[str, Any], message: str) -> None:
    keys, values, queries, _ = (one.float() for one in drawn(2, T=3, d=2, m=1))
    given = {"keys": keys, "values": values, "queries": queries, "regulariser": 1.0, "forget": None} | change
    with pytest.raises(ValueError, match=message):
        by_chunks(**given)


@pytest.mark.parametrize("forgets", [False, True])
def test_the_bound_on_the_condition_number_is_one_and_not_far_off(forgets: bool) -> None:
    d = 6
    keys, _, _, forget = drawn(3, T=64, d=d, m=1)
    keys = keys * torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)[:, None, None]
    factors = forget if forgets else None
    bounds = condition_bounds(keys, 2.0, factors, chunk=4)
    for place in range(3):
        exact = condition_numbers(keys[place], 2.0, None if factors is None else factors[place])[3::4].max()
        assert exact * (1 - 1e-9) <= bounds[place] <= d**1.5 * exact


def test_a_last_chunk_that_is_filled_up_needs_no_second_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    *inputs, forget = drawn(T=37, d=4, m=2)
    plans, revised = [], chunkwise_layer._revised

    def noted(*given: Any) -> Any:
        plans.append(revised(*given))
        return plans[-1]

    monkeypatch.setattr(chunkwise_layer, "_revised", noted)
    by_chunks(*inputs, 1.0, forget)
    assert plans == [None]


def test_autocast_does_not_reach_the_products_inside() -> None:
    inputs = (*(one.float() for one in drawn(T=40, d=8, m=4)[:3]), torch.tensor(1.0))
    expected = by_chunks(*inputs), *gradients(by_chunks, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = by_chunks(*inputs), *gradients(by_chunks, inputs)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


class LargestArray(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the number of entries of the largest tensor that is made."""

    entries = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple) else (made,):
            if isinstance(one, torch.Tensor):
                self.entries = max(self.entries, one.numel())
        return made


def saved_and_largest(inputs: Inputs) -> tuple[int, int]:
    """How many numbers are kept for the gradient, and how many the largest array of either pass has."""
    saved: list[int] = []

    def keep(one: torch.Tensor) -> torch.Tensor:
        saved.append(one.numel())
        return one

    seen: Any = LargestArray()  # type: ignore[no-untyped-call]
    with seen, torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        torch.autograd.backward(by_chunks(*(one.requires_grad_() for one in inputs)).sum())
    return sum(saved), seen.entries


def test_no_array_grows_with_the_steps_beyond_the_inputs() -> None:
    T, d = 8192, 32
    saved, largest = saved_and_largest((*(one.float() for one in drawn(T=T, d=d, m=d)[:3]), torch.tensor(1.0)))
    assert largest <= 2 * sequence_blocks.NUMBERS_AT_ONCE["cpu"] < T * d * d / 8
    # three inputs, and z, w and two factors a chunk of 32 steps, as large as one input each; states a few times
    assert saved <= 7 * T * d + 20 * 2 * d * d


def test_short_chunks_keep_the_inputs_alone() -> None:
    T, d = 2048, 16
    keys, values, queries, _ = (one.float() for one in drawn(T=T, d=d, m=d))
    forget = torch.full((T,), 0.25)  # more than 4 digits in 7 steps, so that C falls to 4
    saved, largest = saved_and_largest((keys, values, queries, torch.tensor(1.0), forget))
    assert largest <= 2 * sequence_blocks.NUMBERS_AT_ONCE["cpu"]
    assert saved <= 3 * T * d + 2 * T + 20 * 2 * d * d


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_outputs_are_those_of_the_cpu() -> None:
    inputs = drawn(3, T=100, d=8, m=4)
    on_gpu = by_chunks(*(one.cuda() for one in inputs[:3]), 1.0, inputs[3].cuda())
    assert on_gpu.device.type == "cuda"
    assert error(on_gpu.cpu(), directly(*inputs[:3], 1.0, inputs[3])) < 1e-10
