"""One head of causal linear attention on constructed tokens, in exact arithmetic: what features are checked against.

Tokens are e_t = (0, s_t, s_(t-1)) with s_0 = 0; the head writes sum_{t' <= t} W_PV e_t' (e_t'^T W_KQ e_t), of which the
first block is the prediction. Its blocks are multiples of the identity: p for W_PV, k for W_KQ.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ..algebra.evaluation import Array
from .one_layer_optimum import Feature


def rational_sequence(W: Array, first: Sequence[Fraction], length: int) -> list[Array]:
    """s_1 .. s_T under s_(t+1) = W s_t."""
    states = [np.array(first, dtype=object)]
    for _ in range(length - 1):
        states.append(W @ states[-1])
    return states


def token(states: Sequence[Array], t: int) -> Array:
    """e_t, t from 1."""
    nothing = states[0] * 0
    return np.concatenate([nothing, states[t - 1], states[t - 2] if t > 1 else nothing])


def head_prediction(states: Sequence[Array], t: int, p: Array, k: Array) -> Array:
    """The prediction at t by the layer's own sum; p (2,), k (2, 2)."""
    n = len(states[0])
    eye = np.array([[Fraction(int(i == j)) for j in range(n)] for i in range(n)], dtype=object)
    W_PV = np.concatenate([0 * eye, p[0] * eye, p[1] * eye], 1)
    W_KQ = np.kron(np.array([[0, 0, 0], [0, *k[0]], [0, *k[1]]], dtype=object), eye)
    query, total = W_KQ @ token(states, t), states[0] * 0
    for other in range(1, t + 1):
        key = token(states, other)
        total = total + W_PV @ key * (key @ query)
    return total


def vector_value(feature: Feature, states: Sequence[Array], t: int) -> Array:
    """G(a, b, c) at t, from its definition."""

    def at(place: int) -> Array:
        found: Array = states[place - 1] if place >= 1 else states[0] * 0
        return found

    total = states[0] * 0
    for other in range(1, t + 1):
        total = total + at(other - feature.a) * (at(other - feature.b) @ at(t - feature.c))
    return total
