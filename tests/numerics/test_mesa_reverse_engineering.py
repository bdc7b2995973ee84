"""Compressed algorithms, lines, probes, polynomial steps, copying: cases with a known answer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.polynomial import Polynomial

from iclcheck.numerics.mesa.attention import AutoregressiveModel, ModelShape
from iclcheck.numerics.mesa.sequences import SequenceTask, sample_sequences
from iclcheck.numerics.reverse_engineering import rotation_means
from iclcheck.numerics.reverse_engineering.compressed_algorithm import (
    Products,
    antisymmetric_shares,
    balanced,
    block_multiples,
    fitted_multiples,
    losses_of,
    model_of_products,
    outside_shares,
    parameter_counts,
    products,
    projected,
    with_multiples,
)
from iclcheck.numerics.reverse_engineering.copying import copying_mass, sensitivities
from iclcheck.numerics.reverse_engineering.interpolation import barrier, between, losses_on_line
from iclcheck.numerics.reverse_engineering.polynomial_steps import (
    chebyshev,
    fitted_coefficients,
    gram_matrices,
    krylov_vectors,
    left_on,
    optimal_coefficients,
    predicted_vectors,
    richardson,
    spectrum,
    transition_sums,
)
from iclcheck.numerics.reverse_engineering.probes import (
    contrasts,
    next_states,
    preconditioned_inputs,
    probe_errors,
    relative_errors,
)
from iclcheck.numerics.reverse_engineering.reverse_engineering import reverse_engineered, taken_apart
from iclcheck.numerics.training.random_streams import stream
from iclcheck.numerics.training.threads import one_thread

TASK = SequenceTask(size=3, length=8, initial="sphere")
# A prediction of these models is a sum of fewer than 1e4 products of numbers of size 1 (scale 0.2, T = 8, width 9), and
# other factors of the same products only change the order of rounding: 1e4 eps = 2e-12.
ROUNDING = 2e-12


@pytest.fixture(autouse=True)
def thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def states() -> torch.Tensor:
    return sample_sequences(TASK, 256, stream("reverse engineering tests")).observed


def model(layers: int = 2, heads: int = 2, **shape: Any) -> AutoregressiveModel:
    plain = {"size": 3, "layers": layers, "heads": heads, **shape}
    return AutoregressiveModel(ModelShape.from_plain(plain), stream("start"), torch.float64)


@pytest.mark.parametrize("shape", [{}, {"key_size": 2, "value_size": 4}, {"normalisation": "position"}])
def test_a_model_of_the_products_predicts_as_the_model(states: torch.Tensor, shape: dict[str, Any]) -> None:
    one = model(**shape)
    with torch.no_grad():
        difference = one(states) - model_of_products(products(one))(states)
    assert float(difference.abs().max()) < ROUNDING


def test_products_are_balanced_and_hold_no_unread_block() -> None:
    found = products(model())
    norms = [W.square().sum((-2, -1)).sqrt() for W in (found.W_KQ, found.W_PV)]
    assert torch.allclose(norms[0], norms[1], rtol=1e-12)
    assert not found.W_KQ[0, :, :3].any()
    assert not found.W_PV[-1, :, 3:].any()
    assert found.W_KQ[1, :, :3].any()
    assert found.W_PV[0, :, 3:, 3:].any()


def test_the_sign_of_a_head_is_that_of_its_partner() -> None:
    whole = products(model())
    turned = Products(whole.shape, -3.0 * whole.W_KQ, -whole.W_PV / 3.0)
    found = balanced(turned, like=whole)
    assert torch.allclose(found.W_KQ, whole.W_KQ)
    assert torch.allclose(found.W_PV, whole.W_PV)


def test_multiples_and_back_are_the_same_and_have_nothing_outside() -> None:
    multiples = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)
    W = with_multiples(multiples, 3)
    assert torch.equal(block_multiples(W, 3), multiples)
    assert not outside_shares(W, 3).any()


def test_shares_outside_add_up_to_what_projection_takes_away() -> None:
    W = products(model()).W_PV
    rest = (W - with_multiples(block_multiples(W, 3), 3)).square().sum((-2, -1)) / W.square().sum((-2, -1))
    assert torch.allclose(outside_shares(W, 3).sum((-2, -1)), rest)


def test_antisymmetric_parts_are_outside_and_all_of_an_antisymmetric_block() -> None:
    W = torch.zeros(6, 6, dtype=torch.float64)
    W[0, 4], W[1, 3] = 2.0, -2.0
    assert antisymmetric_shares(W, 3).tolist() == [[0.0, 1.0], [0.0, 0.0]]
    found = products(model()).W_PV
    assert bool((antisymmetric_shares(found, 3) <= outside_shares(found, 3) + 1e-15).all())


def test_the_multiple_is_the_nearest_one() -> None:
    W = products(model()).W_KQ[1, 0, :3, :3]
    multiple, eye = float(block_multiples(W, 3)), torch.eye(3, dtype=torch.float64)
    least = float((W - multiple * eye).square().sum())
    assert all(float((W - (multiple + step) * eye).square().sum()) > least for step in (-0.01, 0.01))


def test_softmax_and_learned_tokens_have_no_compressed_algorithm() -> None:
    with pytest.raises(ValueError, match="softmax attention"):
        products(model(kind="softmax"))


def test_a_fit_finds_the_multiples_that_made_the_sequences(states: torch.Tensor) -> None:
    """Of one layer and one head: the best multiples have no slope, and less loss than those nearby."""
    start = projected(products(model(1, 1)))
    fit = fitted_multiples(start, states, steps=100)
    assert fit.gradient < 1e-3 < fit.loss < 0.9 * float(losses_of(model_of_products(start), states).mean())
    assert math.isclose(float(losses_of(model_of_products(fit.products), states).mean()), fit.loss, rel_tol=1e-9)
    for factor in (0.9, 1.1):
        other = Products(fit.products.shape, factor * fit.products.W_KQ, fit.products.W_PV)
        assert float(losses_of(model_of_products(other), states).mean()) > fit.loss


def test_numbers_of_a_head_are_counted() -> None:
    assert parameter_counts(ModelShape(size=10, heads=4)) == {
        "entries": 1800, "multiples": 18, "multiples of one product": 9,
    }  # fmt: skip


def test_a_line_begins_and_ends_at_its_models(states: torch.Tensor) -> None:
    start = products(model())
    end = projected(start)
    losses = losses_on_line(start, end, [0.0, 0.5, 1.0], states)
    for row, one in ((0, start), (2, end)):
        assert torch.allclose(losses[row], losses_of(model_of_products(one), states).mean(1), rtol=1e-10)
    middle = between(start, end, 0.5)
    assert torch.allclose(2 * middle.W_KQ, start.W_KQ + end.W_KQ)


def test_a_line_below_its_chord_has_no_barrier() -> None:
    assert barrier([1.0, 0.5, 1.0], [0.0, 0.5, 1.0]) == 0.0
    assert barrier([1.0, 2.0, 3.0], [0.0, 0.5, 1.0]) == 0.0
    assert barrier([2.0, 4.0, 3.0], [0.0, 0.5, 1.0]) == 0.75


def test_a_probe_reads_what_is_there_and_nothing_else(states: torch.Tensor) -> None:
    noise = torch.randn(states.shape, generator=stream("noise"), dtype=torch.float64)
    targets = next_states(states)
    held = [torch.cat([states[:, 1:], noise[:, 1:]], -1), noise[:, :-1]]
    errors = relative_errors(probe_errors(held, targets, [1, 5], ridge=1e-9), targets, [1, 5])
    assert float(errors[0].max()) < 1e-9
    assert float(errors[1].min()) > 0.9  # three useless features of 128 sequences explain a few per cent by chance


def test_preconditioned_inputs_solve_their_equation(states: torch.Tensor) -> None:
    t, regulariser = 5, 2.0
    found = preconditioned_inputs(states, regulariser)[:, t - 1]
    S = states[:, : t - 1].mT
    left = S @ S.mT + torch.eye(3, dtype=torch.float64) / regulariser
    assert torch.allclose((left @ found.unsqueeze(-1)).squeeze(-1), states[:, t - 1])


def test_contrasts_are_between_minus_one_and_one() -> None:
    found = contrasts(torch.tensor([3.0, 0.0, 0.0]), torch.tensor([1.0, 2.0, 0.0]))
    assert found.tolist() == [0.5, -1.0, 0.0]


def test_gram_matrices_hold_the_states_before(states: torch.Tensor) -> None:
    t = 4
    before, after = states[:, : t - 1].mT, states[:, 1:t].mT
    assert torch.allclose(gram_matrices(states)[:, t - 1], before @ before.mT)
    assert torch.allclose(transition_sums(states)[:, t - 1], after @ before.mT)


def test_the_inverse_of_the_gram_matrix_predicts_a_noiseless_sequence(states: torch.Tensor) -> None:
    t = TASK.length - 1
    G, M = gram_matrices(states)[:, t - 1], transition_sums(states)[:, t - 1]
    predicted = M @ torch.linalg.solve(G, states[:, t - 1].unsqueeze(-1))
    # Seven states nearly fill three dimensions; where they do not, solving loses as many digits as G lacks.
    error = (predicted.squeeze(-1) - states[:, t]).abs().amax(-1)
    assert float((error * spectrum(states, t)[:, 0]).max()) < 1e-9


def test_coefficients_of_a_known_polynomial_come_back(states: torch.Tensor) -> None:
    features = krylov_vectors(states, 2)
    coefficients, share = fitted_coefficients(2.0 * features[0] - 0.3 * features[1] + 0.01 * features[2], features)
    assert torch.allclose(coefficients, torch.tensor([2.0, -0.3, 0.01], dtype=torch.float64))
    assert share == pytest.approx(1.0)


def test_more_powers_explain_no_less(states: torch.Tensor) -> None:
    shares = [optimal_coefficients(states, degree)[1] for degree in range(4)]
    assert shares == sorted(shares)
    assert predicted_vectors(states, 1).shape == (2, 256, 8, 3)


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_residuals_of_richardson_and_chebyshev_are_what_they_are_named_for(layers: int) -> None:
    low, high = 0.5, 4.0
    grid = np.linspace(low, high, 201)
    eta = 2 / (low + high)
    assert np.allclose(left_on(richardson(low, high, layers), grid), (1 - eta * grid) ** layers)
    size = np.abs(left_on(chebyshev(low, high, layers), grid)).max()
    rho = (math.sqrt(high) - math.sqrt(low)) / (math.sqrt(high) + math.sqrt(low))
    assert size == pytest.approx(2 * rho**layers / (1 + rho ** (2 * layers)), rel=1e-6)  # 1/T_L(z(0))
    assert size <= np.abs(left_on(richardson(low, high, layers), grid)).max() + 1e-12


def test_chebyshev_has_the_least_maximum_among_its_neighbours() -> None:
    low, high = 1.0, 5.0
    grid, best = np.linspace(low, high, 401), chebyshev(low, high, 3)
    least = np.abs(left_on(best, grid)).max()
    for place in range(3):
        for step in (-1e-3, 1e-3):
            moved = best + step * np.eye(3)[place]
            assert np.abs(1 - grid * Polynomial(moved)(grid)).max() > least


def test_a_head_that_copies_has_all_its_mass_on_the_token_before(states: torch.Tensor) -> None:
    one = model(1, 1, tokens="learned", channels=3, positions=16, copy_heads=1, readout="learned")
    assert one.copying is not None
    # p_t . R p_t' with R the turn by one step is largest at t' = t - 1: pairs (sin, cos) of each frequency.
    pairs = torch.arange(8, dtype=torch.float64)
    angles = (2 * math.pi / 4) * (4 / 1000.0) ** (pairs / 7)
    turn = torch.zeros(19, 19, dtype=torch.float64)
    cos, sin, k = angles.cos(), angles.sin(), torch.arange(8)
    turn[3 + k, 3 + k], turn[11 + k, 11 + k] = cos, cos
    turn[3 + k, 11 + k], turn[11 + k, 3 + k] = -sin, sin
    with torch.no_grad():
        one.copying.W_Q[0] = 2000.0 * turn
        one.copying.W_K[0] = torch.eye(19, dtype=torch.float64)
        one.copying.W_K[0, :3] = 0
    mass = copying_mass(one, states)
    assert float(mass.min()) > 0.99


def test_copying_needs_learned_tokens(states: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="learned tokens"):
        copying_mass(model(), states)


def test_predictions_listen_to_no_later_token(states: torch.Tensor) -> None:
    one = model()
    found = sensitivities(one, one.tokens(states[:8]), 5)
    assert found[:5].min() > 0
    assert not found[5:].any()


def test_sensitivities_are_central_differences(states: torch.Tensor) -> None:
    one, step = model(1, 1), 1e-4
    tokens = one.tokens(states[:1])
    squares = 0.0
    for channel in range(9):
        move = torch.zeros_like(tokens)
        move[0, 1, channel] = step
        with torch.no_grad():
            ends = [one.prediction(one.streams_from_tokens(tokens + s * move)[-1])[0, 3] for s in (1, -1)]
        squares += float(((ends[0] - ends[1]) / (2 * step)).square().sum())
    # A cubic in the token: the differences are off by step^2 times a third derivative of size below 10.
    assert float(sensitivities(one, tokens, 4)[1]) == pytest.approx(squares, rel=1e-5, abs=1e-9)


def test_all_icosahedral_rotations_are_found_once() -> None:
    turns = rotation_means.icosahedron()
    assert turns.shape == (60, 3, 3)
    assert torch.allclose(turns @ turns.mT, torch.eye(3, dtype=torch.float64).expand_as(turns), atol=1e-13)
    apart = (turns[:, None] - turns[None]).abs().amax((-2, -1)) + torch.eye(60, dtype=torch.float64)
    assert float(apart.min()) > 0.1


@pytest.mark.parametrize("size", [2, 3])
def test_the_groups_leave_what_all_rotations_leave_of_four_places(size: int) -> None:
    """The mean of g (x) g (x) g (x) g is a projection of rank 3, that of the pairings (for d = 2 they span 3 too)."""
    g = rotation_means.group(size)
    mean = torch.einsum("gai,gbj,gck,gdl->abcdijkl", g, g, g, g).reshape(size**4, size**4) / len(g)
    assert torch.allclose(mean @ mean, mean, atol=1e-12)
    assert float(mean.trace()) == pytest.approx(3.0, abs=1e-12)


def test_other_dimensions_have_no_such_group_here() -> None:
    with pytest.raises(ValueError, match="dimension 2 or 3"):
        rotation_means.group(4)


RUN = {
    "task": {"size": 3, "length": 8, "initial": "sphere"},
    "shape": {"size": 3, "layers": 2},
    "steps": 60,
    "batch_size": 32,
    "learning_rate": 0.01,
}


def test_one_measurement_holds_everything_and_is_the_same_twice() -> None:
    given = (RUN, 64, 32, 5, [3, 6], 1.0, [0.0, 0.5, 1.0], "cpu")
    found, again = reverse_engineered(*given), reverse_engineered(*given)
    assert found == again
    assert set(found["losses"]) == {"trained", "projected", "fitted", "shallower", "polynomial", "nothing"}
    assert found["losses"]["nothing"]["sum"] / 64 == pytest.approx(1.5)  # |s|^2/2 on the sphere of |s|^2 = 3
    assert np.shape(found["probes"]["next"]["relative"]) == (3, 2)
    assert found["line"]["losses"][0] == pytest.approx(found["losses"]["trained"]["sum"] / 64, rel=1e-6)
    assert found["line"]["contrasts"]["main"]["count"] == 48


def test_fits_do_not_see_the_test_sequences(states: torch.Tensor) -> None:
    one, other = model(1, 1), states[:32]
    fits = [taken_apart(one, test, other, 3, [3], 1.0, [0.0])["fit"] for test in (states[32:64], states[64:96])]
    assert fits[0] == fits[1]


def test_a_training_that_diverges_says_so() -> None:
    task = {"size": 3, "length": 8, "noise_variance": 1e60}
    found = reverse_engineered({**RUN, "task": task}, 64, 32, 5, [3, 6], 1.0, [0.0, 1.0], "cpu")
    assert "need finite losses" in found["diverged"]


def test_a_compressed_model_is_its_own_compressed_algorithm(states: torch.Tensor) -> None:
    one = model_of_products(projected(products(model())))
    found = taken_apart(one, states[:32], states[:32], 1, [3], 1.0, [0.0, 1.0])
    assert np.abs(found["outside"]["KQ"]).max() < 1e-20
    losses = [found["losses"][name]["sum"] for name in ("trained", "projected")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-10)
