import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from iclcheck.theory.algebra.evaluation import Array
from iclcheck.theory.one_layer.assumptions import AssumptionError
from iclcheck.theory.scan_training import finite_sequences as theory
from iclcheck.theory.scan_training.means_over_counts import means_of_class, means_of_classes

TABLES = [[0.2, 0.3, 0.5, 0.0, 0.0], [0.1, 0.0, 0.0, 0.5, 0.4]]


def enumerated(law: Array, keys: int) -> tuple[Array, Array]:
    """E f and E df_k/dz_l over every table of counts."""
    mean, slope = 0 * law, np.zeros((len(law), len(law)))
    for counts in product(range(keys + 1), repeat=len(law)):
        if sum(counts) == keys:
            chance = math.factorial(keys) * math.prod(
                p**k / math.factorial(k) for p, k in zip(law, counts, strict=True)
            )
            f = np.array(counts) / np.linalg.norm(counts)
            mean, slope = mean + chance * f, slope + chance * (np.diag(f) - np.outer(f, f**2))
    return mean, slope


def test_every_step_holds_at_rational_instances() -> None:
    assert theory.derivation().failures(range(6)) == []


@pytest.mark.parametrize(
    ("law", "keys"),
    [
        ([1.0], 4),
        ([0.98, 0.01, 0.01], 1),
        ([0.5, 0.3, 0.2], 6),
        ([0.25] * 4, 12),
        ([0.001, 0.999], 60),
        ([0.7, 0.3], 150),
    ],
)
def test_means_over_counts_are_those_of_all_counts(law: list[float], keys: int) -> None:
    for found, expected in zip(means_of_class(np.array(law), keys), enumerated(np.array(law), keys), strict=True):
        assert np.abs(found - expected).max() < 1e-10


def sampled(law: Array, keys: int) -> tuple[Array, Array]:
    draws = np.random.default_rng(0).multinomial(keys, law, size=50_000)
    f = draws / np.linalg.norm(draws, axis=1, keepdims=True)
    return f.mean(0), np.diag(f.mean(0)) - np.einsum("bk,bl->kl", f, f**2) / len(f)


@pytest.mark.parametrize(
    ("weights", "keys"),
    [
        ([4, 1, 1, 2, 6, 2, 4, 3, 1, 3], 127),  # a factor that is 0 at a root of unity
        ([5, 6, 6, 7, 6, 9, 8, 1, 1, 2], 511),
        ([9000, *[100] * 10], 2047),  # counts of 0 are out of the range of floats
    ],
)
def test_means_over_counts_are_numbers_where_factors_vanish(weights: list[int], keys: int) -> None:
    law = np.array(weights) / sum(weights)
    with np.errstate(all="raise", under="ignore"):
        mean, slope = means_of_class(law, keys)
    assert abs(slope.sum(1)).max() < 1e-10  # |f| = 1
    for exact, estimate in zip((mean, slope), sampled(law, keys), strict=True):
        assert np.allclose(exact, estimate, rtol=0, atol=0.005)  # entries below 1: six deviations of their means


def test_the_term_in_one_over_the_length_is_what_is_left_of_long_sequences() -> None:
    P, rows, chances = np.array(TABLES), [0, 0], np.array([0.4, 0.6])
    of_class, of_force = theory.coefficients(theory.formula().parts, P, rows, chances)
    left = []
    for keys in (500, 1000):
        means, slopes = means_of_classes(P, keys)
        limit = theory.limit_of_means(P)
        force = theory.force_of_means(means, slopes, rows, chances) - theory.force_of_means(*limit, rows, chances)
        left.append((keys * (means - limit[0]) - of_class, keys * force - of_force))
    for (first, second), size in zip(zip(*left, strict=True), (of_class, of_force), strict=True):
        # what is left is O(1/S): it halves, up to O(1/S^2), here some S-th of it
        assert np.abs(second).max() < 0.02 * np.abs(size).max()
        assert np.abs(2 * second - first).max() < 0.05 * np.abs(first).max()


def test_one_class_alone_moves_to_its_frequent_tokens() -> None:
    found = theory.for_user([[0.0, 0.1, 0.2, 0.3, 0.4]], 50)
    assert np.abs(found["limit_force"]).max() < 1e-16
    force = found["force"][0]
    assert force[1] < 0 < force[4]
    assert force[2] < force[3] < force[4]
    assert abs(sum(force)) < 1e-10  # the accuracy of the means over counts


def test_the_moves_of_momentum_are_those_of_the_steps() -> None:
    decoder = attention = pace_Y = pace_Z = 0.0
    for steps in range(1, 41):
        pace_Z = 0.9 * pace_Z + decoder
        pace_Y = 0.9 * pace_Y + 1
        decoder, attention = decoder + pace_Y, attention + pace_Z
        # h^-4 = 1e4 times the rounding of terms of size 1e3
        assert theory.moved(steps, 0.9) == pytest.approx((decoder, attention), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("momentum", [0.999, 0.999999, 1 - 1e-12, 1 - 2.0**-53])
def test_the_moves_of_momentum_near_one_keep_their_digits(momentum: float) -> None:
    mu = Fraction(momentum)
    decoder = attention = pace_Y = pace_Z = Fraction(0)
    for steps in range(1, 13):
        pace_Z = mu * pace_Z + decoder
        pace_Y = mu * pace_Y + 1
        decoder, attention = decoder + pace_Y, attention + pace_Z
        assert theory.moved(steps, momentum) == pytest.approx((float(decoder), float(attention)), rel=1e-14)


def test_early_attention_is_the_rates_times_the_moves_times_the_force() -> None:
    found = theory.for_user(TABLES, 8, None, None, 0.5, 0.2, 0.0, 3)
    # without momentum Y moves 1, 2, .. and z 0 + 1 + 2
    assert np.allclose(found["early_attention"], 0.1 * 3 * np.array(found["force"]), rtol=1e-12)
    assert found["time"] == 3


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_early_attention_ends_where_logits_are_no_longer_small(momentum: float) -> None:
    with pytest.raises(AssumptionError, match=r"logits up to 1, .* after 5000 steps; take at most ") as refused:
        theory.for_user(TABLES, 8, None, None, 1.0, 1.0, momentum, 5000)
    most = int(str(refused.value).split("at most ")[1].split(",")[0])
    assert np.abs(theory.for_user(TABLES, 8, None, None, 1.0, 1.0, momentum, most)["early_attention"]).max() <= 1
    with pytest.raises(AssumptionError, match="take at most"):
        theory.for_user(TABLES, 8, None, None, 1.0, 1.0, momentum, most + 1)


def test_one_step_is_never_too_long() -> None:
    assert not np.any(theory.for_user(TABLES, 8, None, None, 1e9, 1e9)["early_attention"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((TABLES, 1), "length as a whole number from 2"),
        ((TABLES, 8, None, None, 1.0, 1.0, 1.0), "momentum as a number in"),
        ((TABLES, 8, None, None, 1.0, 0.0), "attention_rate"),
        ((TABLES, 8, None, None, 1.0, 1.0, 0.0, 0), "steps"),
        (([[0.5, 0.4]], 8), "sum 1"),
        ((np.full((1, 200), 0.005).tolist(), 4096), "below 1e\\+06"),
    ],
)
def test_what_is_no_training_is_refused(arguments: tuple[object, ...], sentence: str) -> None:
    with pytest.raises(AssumptionError, match=sentence):
        theory.for_user(*arguments)
