"""The 14 features of one layer: against plain loops, exact identities, the layer itself, and exact ranks."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.mesa.attention import AutoregressiveModel, CausalAttention, ModelShape
from iclcheck.numerics.mesa.sequences import SequenceTask, sample_sequences
from iclcheck.numerics.orthogonal_dynamics.bilinear_features import (
    GRADIENT_STEP,
    NAMES,
    ODD,
    TWO_BLOCKS,
    FeatureMoments,
    best_coefficients,
    feature_moments,
    feature_tensor,
    features,
    growth,
    invariant_part,
    layer_tensor,
    one_head_minima,
    unit_sequences,
)
from iclcheck.numerics.training.random_streams import stream

TASK = SequenceTask(size=3, length=10, initial="sphere")
NULL = [{"V_100": 1, "V_111": -1}, {"V_000": 1, "V_110": -1, "T_000": -1, "T_110": 1}]


def plain_features(s: Any) -> Any:
    """The docstring's sums for one sequence s (T, n) of floats or fractions, (T, n, 14)."""
    zero = [entry * 0 for entry in s[0]]

    def at(t: int) -> Any:
        return s[t] if t >= 0 else zero

    def dot(x: Any, y: Any) -> Any:
        return sum(p * q for p, q in zip(x, y, strict=True))

    rows = []
    for t in range(len(s)):
        columns = []
        for name in NAMES:
            a, b, c = map(int, name[2:])
            past = range(t + 1)
            if name[0] == "V":
                weights = [dot(at(u - b), at(t - c)) for u in past]
                columns.append([sum(weights[u] * at(u - a)[i] for u in past) for i in range(len(zero))])
            else:
                weight = sum(dot(at(u - a), at(u - b)) for u in past)
                columns.append([weight * entry for entry in at(t - c)])
        rows.append([list(entry) for entry in zip(*columns, strict=True)])
    return rows


def test_the_features_are_the_plain_sums() -> None:
    states = sample_sequences(SequenceTask(size=2, length=5, noise_variance=0.3), 3, stream("plain")).observed
    found = features(states)
    for B in range(3):  # sums of 5 x 2 products of three normals: 1e-12 is far above their rounding
        np.testing.assert_allclose(found[B], plain_features(states[B].tolist()), rtol=0, atol=1e-12)


def rational_sequences(n: int, T: int, count: int) -> list[Any]:
    """Noiseless sequences in exact rational numbers: W a product of three or four reflections, in turn: both cosets."""
    draw = np.random.default_rng(n)
    found = []
    for k in range(count):
        normals = [[int(x) for x in draw.integers(-4, 5, size=n)] for _ in range(3 + k % 2)]
        s = [[Fraction(int(x)) for x in draw.integers(-4, 5, size=n)]]
        for _ in range(T - 1):
            x = s[-1]
            for v in normals:
                length = sum(p * p for p in v) or 1
                share = Fraction(2 * sum(p * q for p, q in zip(v, x, strict=True)), 1) / length
                x = [q - share * p for p, q in zip(v, x, strict=True)]
            s.append(x)
        found.append(s)
    return found


def exact_rank(rows: list[list[Fraction]]) -> int:
    rank, rows = 0, [row[:] for row in rows]
    for column in range(len(rows[0])):
        pivot = next((row for row in rows[rank:] if row[column]), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        rows.insert(rank, pivot)
        rank += 1
        for row in rows[rank:]:
            if row[column]:
                share = row[column] / pivot[column]
                row[:] = [x - share * y for x, y in zip(row, pivot, strict=True)]
    return rank


@pytest.mark.parametrize("n", [2, 3])
def test_a_noiseless_sequence_leaves_exactly_two_combinations_unseen(n: int) -> None:
    """Both are 0 in exact arithmetic (the identities), and no third one is: the rank is 12. Rotations or reflections
    of the plane alone would give less."""
    rows = [row for s in rational_sequences(n, 5, 12) for t in plain_features(s)[:-1] for row in t]
    for null in NULL:
        assert all(sum(weight * row[NAMES.index(name)] for name, weight in null.items()) == 0 for row in rows)
    assert exact_rank(rows) == 12


def test_noise_leaves_one_combination_unseen() -> None:
    for task, unseen in ((SequenceTask(size=3, length=8, noise_variance=0.1), 1), (TASK, 2)):
        values = torch.linalg.svdvals(features(sample_sequences(task, 200, stream("rank")).observed).flatten(0, 2))
        assert values[-unseen] < 1e-13 * values[0]  # rounding: some 14 eps
        assert values[-unseen - 1] > 1e-6 * values[0]


def test_the_features_hold_every_equivariant_layer() -> None:
    """A head whose blocks are multiples of the identity predicts the sum of p_a k_bc V_abc."""
    n, p, k = 3, [0.3, -0.2], [[0.5, -0.1], [0.7, 0.4]]
    model = AutoregressiveModel(ModelShape(size=n, key_size=2 * n, value_size=n), stream("head"), torch.float64)
    layer = model.layers[0]
    assert isinstance(layer, CausalAttention)
    eye = np.eye(n)
    with torch.no_grad():
        layer.W_K.copy_(torch.from_numpy(np.kron([[0, 1, 0], [0, 0, 1]], eye)))
        layer.W_Q.copy_(torch.from_numpy(np.kron(np.pad(k, ((0, 0), (1, 0))), eye)))
        layer.W_V.copy_(torch.from_numpy(np.kron([[0, *p]], eye)))
        layer.P.copy_(torch.from_numpy(np.kron([[1], [0], [0]], eye)))
    states = sample_sequences(TASK, 20, stream("states")).observed
    coefficients = np.outer(p, np.ravel(k)).ravel()
    expected = features(states)[..., :8] @ torch.from_numpy(coefficients)
    np.testing.assert_allclose(model(states).detach(), expected, rtol=0, atol=1e-12)
    W_KQ, W_PV = (weight.detach().numpy() for weight in layer.merged_weights())
    part = invariant_part(W_PV, W_KQ, n)
    np.testing.assert_allclose(part.coefficients, [*coefficients, *[0] * 6], rtol=0, atol=1e-14)
    assert part.share == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(part.identity_shares, coefficients**2 / (coefficients**2).sum(), rtol=0, atol=1e-14)


def test_the_projection_is_the_mean_over_rotations() -> None:
    """The mean over O(2) of a layer's prediction, U^T f(U s), is that of its 14 coefficients."""
    n = 2
    model = AutoregressiveModel(ModelShape(size=n, heads=2, scale=1.0), stream("any"), torch.float64)
    layer = model.layers[0]
    assert isinstance(layer, CausalAttention)
    W_KQ, W_PV = (weight.detach().numpy() for weight in layer.merged_weights())
    part = invariant_part(W_PV, W_KQ, n)
    s = sample_sequences(SequenceTask(size=n, length=4), 1, stream("one")).observed
    angles = torch.arange(360, dtype=torch.float64) * (2 * np.pi / 360)  # exact for polynomials of degree below 360
    turns = torch.stack([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], -1).view(-1, 2, 2)
    turns = torch.cat([turns, turns @ torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))])
    mean = (model(s @ turns.mT) @ turns).mean(0)
    expected = (features(s) @ torch.from_numpy(part.coefficients))[0]
    np.testing.assert_allclose(mean.detach(), expected, rtol=0, atol=1e-12)


def test_predictions_grow_no_faster_than_the_bound() -> None:
    """The bound of two random heads holds at every t of 50 sequences. That of a feature alone is t, and that of
    V_001 - V_111 = s_t (s_t . s_{t-1}) is 1."""
    model = AutoregressiveModel(ModelShape(size=3, heads=2, scale=1.0), stream("bounded"), torch.float64)
    layer = model.layers[0]
    assert isinstance(layer, CausalAttention)
    W_KQ, W_PV = (weight.detach().numpy() for weight in layer.merged_weights())
    k = growth(layer_tensor(W_PV, W_KQ, 3), 10)
    lengths = model(unit_sequences(TASK, 50, stream("unit"))).norm(dim=-1)
    assert bool((lengths <= torch.from_numpy(k)).all())
    for place in range(14):
        x = np.eye(14)[place]
        np.testing.assert_allclose(growth(feature_tensor(x, 3), 10), np.arange(1, 11), rtol=1e-12)
    telescoped = np.eye(14)[NAMES.index("V_001")] - np.eye(14)[NAMES.index("V_111")]
    np.testing.assert_allclose(growth(feature_tensor(telescoped, 3), 10), 1, rtol=1e-12)


def test_the_radius_is_averaged_over_exactly() -> None:
    """r^3 F of unit sequences is F of sequences of radius r, and unit sequences are refused where there is no r."""
    states = unit_sequences(TASK, 5, stream("radius"))
    np.testing.assert_allclose(features(2.0 * states), 8 * features(states), rtol=1e-13, atol=1e-15)
    with pytest.raises(ValueError, match="need a fully observed noiseless linear task"):
        unit_sequences(SequenceTask(size=3, noise_variance=0.1), 5, stream("radius"))


def assert_stationary_head(moments: FeatureMoments, x: Any) -> None:
    """x = p k^T of rank one, with gradients that vanish along both factors: alternating least squares has converged to
    1e-6 of the gradient's terms, as its steps shrink by a constant factor over SWEEPS sweeps."""
    left, values, right = np.linalg.svd(x.reshape(2, 4))
    assert values[1] < 1e-14 * values[0]
    G, c = moments.restricted(NAMES[:8])
    slope = (G @ x - c).reshape(2, 4)
    np.testing.assert_allclose(slope @ right[0], 0, atol=1e-6 * np.abs(c).max())
    np.testing.assert_allclose(left[:, 0] @ slope, 0, atol=1e-6 * np.abs(c).max())


def test_the_best_layer_is_between_nothing_and_everything() -> None:
    moments = feature_moments(TASK, 10_000, "odd")
    all_ = moments.loss(best_coefficients(moments))
    assert moments.loss(best_coefficients(moments, ODD), ODD) == pytest.approx(all_, rel=1e-12)
    step = moments.loss(best_coefficients(moments, GRADIENT_STEP), GRADIENT_STEP)
    two = moments.loss(best_coefficients(moments, TWO_BLOCKS), TWO_BLOCKS)
    heads = one_head_minima(moments)
    losses = [moments.loss(x, NAMES[:8]) for x in heads]
    assert all_ < losses[0] <= two + 1e-12 < step  # sums of numbers of order 1000: rounding below 1e-12
    assert min(abs(loss - two) for loss in losses) < 1e-12  # the two blocks are one of the minima
    mirrored = np.array([-1.0 if name not in ODD else 1.0 for name in NAMES[:8]])
    for x in heads:  # the law does not tell W from -W
        assert min(np.abs(mirrored * x - other).max() for other in heads) < 1e-3 * np.abs(x).max()
    for x in heads:
        assert_stationary_head(moments, x)
    G, c = moments.restricted(GRADIENT_STEP)
    assert best_coefficients(moments, GRADIENT_STEP)[0] == pytest.approx(c[0] / G[0, 0], rel=1e-12)


def test_moments_are_means_over_the_very_sequences() -> None:
    moments = feature_moments(TASK, 30, "very")
    states = sample_sequences(TASK, 30, stream("very/0")).observed
    mirrored = states * torch.tensor([1.0, -1.0]).repeat(5)[:, None]  # those of -W
    states = torch.cat([states, mirrored])
    F, y = features(states)[:, :-1].numpy(), states[:, 1:].numpy()
    np.testing.assert_allclose(moments.c, np.einsum("btni,btn->i", F, y) / 60 / 9, rtol=0, atol=1e-11)
    np.testing.assert_allclose(moments.G, np.einsum("btni,btnj->ij", F, F) / 60 / 9, rtol=0, atol=1e-9)
    assert moments.y == 3.0
    x = np.arange(14) / 100
    direct = np.square(y - F @ x).sum(-1).mean() / 2
    assert moments.loss(x) == pytest.approx(direct, rel=1e-10)


def test_gaussian_first_states_differ_by_moments_of_their_radius() -> None:
    """E r^4 = 15 and E r^6 = 105 at n = 3, from the density of the radius by Gauss and Laguerre."""
    gaussian = SequenceTask(size=3, length=10)
    sphere, other = feature_moments(TASK, 30, "same"), feature_moments(gaussian, 30, "same")
    half, weights = np.polynomial.laguerre.laggauss(40)
    density = weights * np.sqrt(half)  # of r^2/2 with law Gamma(3/2), up to a factor
    fourth, sixth = (float(density @ (2 * half) ** k / density.sum()) for k in (2, 3))
    # The root makes the rule inexact: 40 nodes give 15 and 105 to 0.2 %.
    odd = np.flatnonzero(sphere.c)
    assert [NAMES[place] for place in odd] == list(ODD)
    np.testing.assert_allclose(other.c[odd] / sphere.c[odd], fourth / 9, rtol=2e-3)
    np.testing.assert_allclose(other.loss(np.ones(14)) - 1.5 + other.c.sum(), other.G.sum() / 2, rtol=1e-12)
    keep = sphere.G > 1e-9
    np.testing.assert_allclose(other.G[keep] / sphere.G[keep], sixth / 27, rtol=2e-3)
