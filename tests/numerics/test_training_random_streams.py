"""Streams are named by their keys, all 256 bits of them."""

import hashlib
from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.training.random_streams import centred_uniforms, standard_normals, stream


def test_a_key_names_one_stream() -> None:
    first, again, other = (torch.rand(4, generator=stream(key)) for key in ("a", "a", "a/b"))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_stream_is_numpys_twister_at_the_digests_words() -> None:
    entropy = int.from_bytes(hashlib.sha256(b"twister").digest(), "big")
    words = np.random.MT19937(np.random.SeedSequence(entropy)).state["state"]["key"]
    twister = np.random.MT19937()
    twister.state = {"bit_generator": "MT19937", "state": {"key": words, "pos": 624}}
    expected = (twister.random_raw(1000) & (2**24 - 1)) / 2**24  # how torch makes a float32 from 32 bits
    got = torch.rand(1000, generator=stream("twister")).numpy()
    np.testing.assert_array_equal(got, expected.astype(np.float32))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_have_their_laws_moments(dtype: Any) -> None:
    n = 200_000
    z = standard_normals((n,), stream("normals"), dtype)
    uniform = centred_uniforms((n,), stream("uniforms"), dtype)
    assert z.dtype == dtype
    # Chebyshev at rate 1e-3, with the exact variances of z, z^2, z^4: 1, 2, 96 and 1, 4/5, 144/25
    for values, expected, variances in ((z, (0, 1, 3), (1, 2, 96)), (uniform, (0, 1, 1.8), (1, 0.8, 5.76))):
        for power, moment, variance in zip((1, 2, 4), expected, variances, strict=True):
            assert abs(float((values.double() ** power).mean()) - moment) < np.sqrt(variance / (1e-3 * n))
    assert uniform.abs().max() <= 3**0.5 * (1 + 1e-6)


def test_normals_of_both_halves_are_uncorrelated_and_odd_counts_fill() -> None:
    z = standard_normals((100_000,), stream("halves"), torch.float64)
    cosine, sine = z[:50_000], z[50_000:]
    assert abs(float((cosine * sine).mean())) < np.sqrt(1 / (1e-3 * 50_000))
    # z^2 of the two share a radius but are independent: the covariance of the squares is 0, of variance 8
    assert abs(float(((cosine**2 - 1) * (sine**2 - 1)).mean())) < np.sqrt(8 / (1e-3 * 50_000))
    assert standard_normals((3, 5), stream("odd"), torch.float64).shape == (3, 5)
