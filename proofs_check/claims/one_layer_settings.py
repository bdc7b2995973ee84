"""The laws at which the claims on one layer are checked, and the laws that their trained replicas draw.

Settings of the sampled checks are small in d and N, where formulas that differ in 1/N, in the trace or in N + 1 differ
most; those of the enumerated checks are small enough for a Gauss rule. Both are the same in all profiles.
"""

from __future__ import annotations

import numpy as np

from .loss_checks import Case, loss_cases
from .settings import Setting, gaussian_setting, generator, uniform_setting


def sampled_settings(seed: int) -> list[Setting]:
    sizes = ((2, 2, True), (2, 4, False), (2, 8, True))
    return [gaussian_setting(f"sampled/{d}/{n}", seed, d, [n], noise=noise) for d, n, noise in sizes]


def enumerated_settings(seed: int) -> list[Setting]:
    sizes = ((1, 1, True), (1, 3, True), (2, 1, True), (2, 2, True), (2, 3, False))
    return [gaussian_setting(f"enumerated/{d}/{n}", seed, d, [n], noise=noise) for d, n, noise in sizes]


def random_length_sampled(seed: int) -> list[Setting]:
    return [
        gaussian_setting("lengths/1", seed, 2, [1, 2, 6], noise=True),
        gaussian_setting("lengths/2", seed, 2, [3, 12], noise=False),
    ]


def random_length_enumerated(seed: int) -> list[Setting]:
    return [
        gaussian_setting("lengths/3", seed, 1, [1, 2, 4], noise=True),
        gaussian_setting("lengths/4", seed, 2, [1, 3], noise=False),
    ]


def uniform_sampled(seed: int) -> list[Setting]:
    return [uniform_setting(2, 2, 1.0), uniform_setting(1, 6, 1.0), uniform_setting(4, 8, 0.5)]


def uniform_enumerated(seed: int) -> list[Setting]:
    return [
        uniform_setting(1, 1, 1.0),
        uniform_setting(1, 3, 0.5),
        uniform_setting(2, 2, 1.0),
        uniform_setting(3, 1, 1.0),
    ]


def replica_setting(seed: int, replica: int) -> Setting:
    """The domain of convergence: d in 1..3, N in d..8, condition numbers up to 3, with and without noise."""
    draw = generator(f"replica/{replica}", seed)
    d = int(draw.integers(1, 4))
    length = int(draw.integers(d, 9))
    return gaussian_setting(f"replica/{replica}/law", seed, d, [length], noise=bool(draw.integers(2)))


def random_length_replica(seed: int, replica: int) -> Setting:
    draw = generator(f"lengths/replica/{replica}", seed)
    d = int(draw.integers(1, 3))
    lengths = sorted(int(n) for n in draw.choice(np.arange(d, 11), size=3, replace=False))
    return gaussian_setting(f"lengths/replica/{replica}/law", seed, d, lengths, noise=bool(draw.integers(2)))


def uniform_replica(seed: int, replica: int) -> Setting:
    draw = generator(f"uniform/replica/{replica}", seed)
    d = int(draw.integers(1, 4))
    # The half-width keeps Lambda = (a^2/3) I of order 1, the scale that the optimiser is set for.
    return uniform_setting(d, int(draw.integers(d, 9)), float(draw.uniform(1.4, 2.0)))


def descent_replica(seed: int, replica: int) -> Setting:
    draw = generator(f"descent/replica/{replica}", seed)
    d = int(draw.integers(1, 3))
    length = int(draw.integers(1, 7))
    return gaussian_setting(f"descent/replica/{replica}/law", seed, d, [length], noise=False, plain_task=True)


def sampled_loss_cases(seed: int) -> list[Case]:
    return loss_cases(((1, 3), (2, 1), (2, 2)), 0.4, "loss/sampled", seed)


def enumerated_loss_cases(seed: int) -> list[Case]:
    return loss_cases(((1, 1), (1, 4), (2, 1), (2, 2), (2, 3), (3, 1)), 1.0, "loss/enumerated", seed)
