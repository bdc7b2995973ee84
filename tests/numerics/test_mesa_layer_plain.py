"""The plain forms of the mesa layer: the minimiser of the objective that defines it, and the recursion for it."""

from fractions import Fraction

import pytest
import torch

from iclcheck.numerics.mesa_layer.least_squares_layer import (
    outputs_by_direct_solve,
    outputs_by_recursion,
    weights_by_direct_solve,
)

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def drawn(*leading: int, T: int, d: int, m: int, seed: int = 0) -> Inputs:
    """Gaussian keys, values and queries, and forget factors between 0.8 and 1, in float64."""
    draw = torch.Generator().manual_seed(seed)
    keys, queries = (torch.randn(*leading, T, d, generator=draw, dtype=torch.float64) for _ in range(2))
    values = torch.randn(*leading, T, m, generator=draw, dtype=torch.float64)
    return keys, values, queries, 0.8 + 0.2 * torch.rand(*leading, T, generator=draw, dtype=torch.float64)


def objective(
    Phi: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, regulariser: float, forget: torch.Tensor
) -> torch.Tensor:
    """What Phi_T minimises, as the module's docstring writes it, for one sequence."""
    weights = [torch.prod(forget[s + 1 :]) for s in range(len(keys))]
    fit = sum(w * (v - Phi @ k).square().sum() for w, k, v in zip(weights, keys, values, strict=True))
    total: torch.Tensor = fit / 2 + torch.prod(forget) * Phi.square().sum() / (2 * regulariser)
    return total


def test_the_weights_make_the_gradient_of_the_objective_vanish_at_every_step() -> None:
    keys, values, _, forget = drawn(T=7, d=3, m=2)
    found = weights_by_direct_solve(keys, values, 0.7, forget)
    for t in range(7):
        Phi = found[t].clone().requires_grad_()
        loss = objective(Phi, keys[: t + 1], values[: t + 1], 0.7, forget[: t + 1])
        (gradient,) = torch.autograd.grad(loss, Phi)
        # sums of at most 7 terms below 50, solved at a condition number below 1e3: 1e-16 * 50 * 1e3
        assert gradient.abs().max() < 5e-12


def test_two_steps_with_one_key_are_those_of_exact_arithmetic() -> None:
    f1, f2, k1, v1, k2, v2, regulariser = Fraction(3, 4), Fraction(1, 2), *map(Fraction, (2, 3, 1, 5, 2))
    H1 = f1 / regulariser + k1 * k1
    H2 = f2 * H1 + k2 * k2
    expected = [v1 * k1 / H1, (f2 * v1 * k1 + v2 * k2) / H2]
    found = weights_by_direct_solve(
        torch.tensor([[2.0], [1.0]], dtype=torch.float64),
        torch.tensor([[3.0], [5.0]], dtype=torch.float64),
        2.0,
        torch.tensor([0.75, 0.5], dtype=torch.float64),
    )
    # one division of numbers with exact sums
    assert found.flatten().tolist() == pytest.approx([float(one) for one in expected], rel=4e-16)


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
@pytest.mark.parametrize("forgets", [False, True])
def test_recursion_and_direct_solve_agree(leading: tuple[int, ...], forgets: bool) -> None:
    keys, values, queries, forget = drawn(*leading, T=20, d=4, m=3)
    one = outputs_by_recursion(keys, values, queries, 2.0, forget if forgets else None)
    other = outputs_by_direct_solve(keys, values, queries, 2.0, forget if forgets else None)
    # condition numbers below 1e3 lose three digits of sixteen, in 20 steps and 4 columns at most 1.5 more
    assert (one - other).abs().max() < 1e-11 * other.abs().max()


def test_each_sequence_may_have_its_own_regulariser() -> None:
    keys, values, queries, forget = drawn(2, T=5, d=3, m=2)
    together = outputs_by_direct_solve(keys, values, queries, torch.tensor([0.5, 3.0]), forget)
    for place, regulariser in enumerate((0.5, 3.0)):
        alone = outputs_by_direct_solve(keys[place], values[place], queries[place], regulariser, forget[place])
        torch.testing.assert_close(together[place], alone, rtol=1e-13, atol=1e-13)  # the same sums, batched otherwise


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("form", [outputs_by_direct_solve, outputs_by_recursion])
def test_the_dtype_is_kept(form: type, dtype: torch.dtype) -> None:
    keys, values, queries, _ = (one.to(dtype) for one in drawn(T=3, d=2, m=2))
    assert form(keys, values, queries, 1.0).dtype == dtype


def test_wrong_shapes_are_refused_with_the_shapes_that_came() -> None:
    keys, values, queries, forget = drawn(T=3, d=2, m=2)
    with pytest.raises(ValueError, match=r"got keys \(3, 2\), values \(2, 2\)"):
        weights_by_direct_solve(keys, values[:2], 1.0)
    with pytest.raises(ValueError, match=r"forget \(2,\)"):
        outputs_by_direct_solve(keys, values, queries, 1.0, forget[:2])
