r"""Means of class vectors over the counts of a sequence of any length, without sampling.

With counts N multinomial(S, p) and f = N/|N| at attention logits 0:
    E f_l                = int s^(-1/2) E[N_l e^(-s |N|^2)] ds/Gamma(1/2)
    E f_k f_l^2          = int s^(1/2) E[N_k N_l^2 e^(-s |N|^2)] ds/Gamma(3/2)
and with N Poisson(S p), given that their sum is S, the mean under the integral is a product over tokens, of which the
coefficient of x^S is read off at roots of unity. So E f, and E df_k/dz_l = E (f_k 1(k = l) - f_k f_l^2), to the
accuracy of three cuts, together below 1e-10 of entries of size one:
    s = e^y by the trapezoidal rule, whose error falls exponentially with the number of nodes: the integrand is analytic
    a token's count up to 9 standard deviations and 25 above its mean
    as many roots of unity as keep the sum S apart from S +- L, L beyond 12 standard deviations and 40
The tests enumerate all counts beside it.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from ..algebra.evaluation import Array

TINY = 1e-60  # beside factors of size one; five of them do not underflow
STEP, LOWEST, HIGHEST = 0.35, -62.0, 4.5  # of y = ln(s |N|^2) about: e^(-31) and e^(-e^4.5) are left out


def factorials(count: int) -> Array:
    return np.array([math.lgamma(k + 1) for k in range(count)])


def means_of_class(law: Array, keys: int) -> tuple[Array, Array]:
    """E f (M,) and E df_k/dz_l (M, M) for one class."""
    active = np.flatnonzero(law)
    of_active = means_of_active(tuple(float(x) for x in law[active]), keys)
    mean, slope = np.zeros(len(law)), np.zeros((len(law), len(law)))
    mean[active], slope[np.ix_(active, active)] = of_active
    return mean, slope


@cache
def means_of_active(p: tuple[float, ...], keys: int) -> tuple[Array, Array]:
    """The same for positive probabilities."""
    mu = keys * np.array(p)
    largest = min(keys, math.ceil(float((mu + 9 * np.sqrt(mu)).max()) + 25))
    k = np.arange(largest + 1)
    poisson = k * np.log(mu)[:, None] - factorials(largest + 1) - mu[:, None]  # logarithms, (tokens, counts)
    size = math.ceil(12 * math.sqrt(keys)) + 40
    sum_is_keys = math.exp(keys * math.log(keys) - math.lgamma(keys + 1) - keys)
    reading = np.exp(-2j * np.pi * (keys * np.arange(size) % size) / size) / (size * sum_is_keys)
    mean, cubes = np.zeros(len(p)), np.zeros((len(p), len(p)))
    smallest, square = max(keys**2 / len(p), 1.0), float(keys) ** 2
    for y in np.arange(LOWEST - math.log(square), HIGHEST - math.log(smallest), STEP):
        first, third = terms_at(math.exp(y), poisson, k, reading)
        mean += STEP * math.exp(y / 2) / math.gamma(0.5) * first
        cubes += STEP * math.exp(1.5 * y) / math.gamma(1.5) * third
    return mean, np.diag(mean) - cubes


def at_roots(coefficients: Array, size: int) -> Array:
    """sum_k a_k x^k at the roots of unity of that order, (tokens, size)."""
    tokens, count = coefficients.shape
    padded = np.zeros((tokens, -(-count // size) * size))
    padded[:, :count] = coefficients
    found: Array = np.fft.ifft(padded.reshape(tokens, -1, size).sum(1), axis=1) * size
    return found


def terms_at(s: float, poisson: Array, k: Array, reading: Array) -> tuple[Array, Array]:
    """E N_l e^(-s |N|^2) and E N_k N_l^2 e^(-s |N|^2), from the logarithms of the Poisson laws."""
    logarithms = poisson - s * k**2
    largest = logarithms.max(1, keepdims=True)  # taken out, as no other count may be left beside it
    damped = np.exp(logarithms - largest)
    scale = damped.sum(1)
    damped = damped / scale[:, None]
    none, one, two, three = (at_roots(damped * k**j, len(reading)) for j in range(4))
    # leaving one or two tokens out by division: a factor that is 0 at a root gives way to a tiny one, which drops out
    none = np.where(none == 0, TINY, none)
    whole = np.prod(none, axis=0) * reading * math.exp(float((np.log(scale) + largest[:, 0]).sum()))
    ones, twos, threes = (moment / none for moment in (one, two, three))
    # einsum instead of @: no threads of a linear algebra library for matrices of this size
    third: Array = np.einsum("kw,lw->kl", ones * whole, twos).real
    np.fill_diagonal(third, (threes * whole).sum(1).real)
    first: Array = (ones * whole).sum(1).real
    return first, third


def means_of_classes(contexts: Array, keys: int) -> tuple[Array, Array]:
    """E f_n (K, M) and its slopes (K, M, M), for all classes."""
    found: list[Any] = [means_of_class(law, keys) for law in contexts]
    return np.array([mean for mean, _ in found]), np.array([slope for _, slope in found])
