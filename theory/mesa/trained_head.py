r"""The derivation of mesa-trained-layer: what one head of linear attention can reach on random orthogonal dynamics.

Steps
    1 one head              blocks that are multiples of the identity make it a sum of features p_a k_bc G(a, b, c)
    2 two blocks            with the value s_t' alone, the features of the target's parity are the gradient step
                            G(0, 1, 0) and G(0, 0, 1): key s_t', query s_(t-1). Least squares over both, in rational
                            numbers
    3 below the step        how much lower that loss is than the best gradient step's, from the part of G(0, 0, 1) that
                            the step does not have
The numbers of the steps 2 and 3 are shown, and certified, for n = 2 .. 6 and T = 4 .. 8.
Not proved: that no other head is better. A head with a value in s_(t'-1) too has further minima
(`docs/mesa_training.md`), and blocks that are no multiples of the identity are not excluded. What training finds is
measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import Array
from ..algebra.formulas import Formula
from ..algebra.trace_polynomials import TracePolynomial
from .autocorrelations import Autocorrelations, in_power_traces
from .haar_traces import haar_traces
from .learning_rate import LARGEST_SIZE, LONGEST, Instance, check_whole, generating, in_general, instance
from .one_layer_optimum import (
    GRADIENT_STEP,
    Feature,
    Optimum,
    derived_optimum,
    inner_product,
    least_loss,
    pull,
)
from .one_step_rate import derived_step_loss, step_loss

SECOND = Feature("G", 0, 0, 1)
TWO_BLOCKS = (GRADIENT_STEP, SECOND)
SIZES, LENGTHS = range(2, 7), range(4, 9)


@cache
def derived_two_blocks(n: int, length: int) -> Optimum:
    """The least loss over the two blocks.

    >>> derived_two_blocks(2, 6).loss
    Fraction(11, 17)
    """
    return least_loss(TWO_BLOCKS, n, length)


def gain(n: int, length: int) -> Fraction:
    """How much the second block lowers the loss of the best gradient step."""
    return derived_step_loss(n, length).least - derived_two_blocks(n, length).loss


# Both sides of the steps


def head_and_features(given: Instance) -> tuple[list[Any], list[Any]]:
    """The prediction of a head in exact arithmetic at every t, by the layer's formula and by the features."""
    states = rational_sequence(given)
    p, k = given.forms["A"][0], given.forms["B"]
    layer = [head_prediction(states, t, p, k) for t in range(1, len(states) + 1)]
    features = [
        sum(
            p[a] * k[b, c] * vector_value(Feature("G", a, b, c), states, t)
            for a in (0, 1) for b in (0, 1) for c in (0, 1)
        )
        for t in range(1, len(states) + 1)
    ]  # fmt: skip
    return layer, features


def rational_sequence(given: Instance) -> list[Array]:
    """s_1 .. s_5 with the instance's W."""
    states = [np.array([given.ratio, Fraction(1), Fraction(-2, 3)], dtype=object)]
    for _ in range(4):
        states.append(given.W @ states[-1])
    return states


def token(states: list[Array], t: int) -> Array:
    """(0, s_t, s_(t-1)), t from 1, s_0 = 0."""
    zero = states[0] * 0
    return np.concatenate([zero, states[t - 1], states[t - 2] if t > 1 else zero])


def head_prediction(states: list[Array], t: int, p: Array, k: Array) -> Array:
    """First block of sum_{t' <= t} W_PV e_t' (e_t'^T W_KQ e_t)."""
    n = len(states[0])
    eye = np.array([[Fraction(int(i == j)) for j in range(n)] for i in range(n)], dtype=object)
    W_PV = np.concatenate([0 * eye, p[0] * eye, p[1] * eye], 1)
    W_KQ = np.kron(np.array([[0, 0, 0], [0, *k[0]], [0, *k[1]]], dtype=object), eye)
    query = W_KQ @ token(states, t)
    return sum((W_PV @ token(states, u) * (token(states, u) @ query) for u in range(1, t + 1)), states[0] * 0)


def vector_value(feature: Feature, states: list[Array], t: int) -> Array:
    """G(a, b, c) at t, from its definition."""
    zero = states[0] * 0

    def at(place: int) -> Array:
        return states[place - 1] if place >= 1 else zero

    total = zero
    for other in range(1, t + 1):
        total = total + at(other - feature.a) * (at(other - feature.b) @ at(t - feature.c))
    return total


def two_blocks_by_cramer(given: Instance) -> tuple[list[Fraction], list[Fraction]]:
    """Coefficients and loss: by elimination, and by Cramer's rule from moments made anew."""
    n, length = size_of(given)
    found = derived_two_blocks(n, length)
    (a, b, d), (r, s) = normal_equations(n, length)
    det = a * d - b * b
    x, y = (d * r - b * s) / det, (a * s - b * r) / det
    loss = Fraction(n, 2) - (x * r + y * s) / (2 * (length - 1))
    return [found.coefficients[GRADIENT_STEP], found.coefficients[SECOND], found.loss], [x, y, loss]


def size_of(given: Instance) -> tuple[int, int]:
    """n >= 2 and T >= 4, where the two features differ."""
    return max(given.n, 2), max(given.length, 4)


def normal_equations(n: int, length: int) -> tuple[tuple[Fraction, Fraction, Fraction], tuple[Fraction, Fraction]]:
    """Inner products (11, 12, 22) and pulls of the two features, summed over t."""
    moments = in_general(n)
    pairs = ((GRADIENT_STEP, GRADIENT_STEP), (GRADIENT_STEP, SECOND), (SECOND, SECOND))
    first, mixed, second = (inner_product(f, g, length, moments) for f, g in pairs)
    return (first, mixed, second), (pull(GRADIENT_STEP, length, moments), pull(SECOND, length, moments))


def gain_by_residual(given: Instance) -> tuple[Fraction, Fraction]:
    """L_step - L_two, and (s - b r/a)^2/(2 (T - 1) (d - b^2/a)): positive unless the residual has no pull."""
    n, length = size_of(given)
    (a, b, d), (r, s) = normal_equations(n, length)
    return gain(n, length), (s - b * r / a) ** 2 / (2 * (length - 1) * (d - b * b / a))


# Tables, as forms of the steps


def two_blocks_forms() -> dict[str, Any]:
    """For n = 2 .. 6: coefficients (x^T, y^1 and y^2); and all losses (x^n, y^T)."""
    found = {"loss": generating({(n, T): derived_two_blocks(n, T).loss for n in SIZES for T in LENGTHS})}
    for n in SIZES:
        found[f"coefficients, n = {n}"] = generating(
            {
                (T, place): derived_two_blocks(n, T).coefficients[feature]
                for T in LENGTHS
                for place, feature in enumerate(TWO_BLOCKS, start=1)
            }
        )
    return found


# The formula that is altered


@cache
def formula() -> Formula:
    """The losses of the best gradient step and of the two blocks, from the moments of autocorrelations."""
    return Formula({"pair": in_power_traces(2), "triple": in_power_traces(3)}, both_losses, Vocabulary())


def both_losses(parts: Mapping[str, TracePolynomial], values: Mapping[str, Any]) -> Array:
    """(L of the step, L of the two blocks) at n and T. Raises ValueError where the parts give none."""
    n, length = int(values["n"]), int(values["T"])
    moments = Autocorrelations(n, parts["pair"], parts["triple"], haar_traces(n).moment)
    two = least_loss(TWO_BLOCKS, n, length, moments).loss
    return np.array([step_loss(moments, length).least, two], dtype=object)


# Public numbers


class Prediction(NamedTuple):
    """Losses are 1/2 E |s_(t+1) - yhat_t|^2, the mean over t = 1 .. T - 1.

    step_coefficient         of sum s_t' (s_t'-1 . s_t) in the two blocks
    second_coefficient       of sum s_t' (s_t' . s_t-1)
    loss                     of the two blocks
    gradient_step_rate       eta*, of the gradient step alone
    gradient_step_loss       its loss
    best_layer_loss          the least of one layer with any number of heads
    zero_loss                n/2
    """

    step_coefficient: float
    second_coefficient: float
    loss: float
    gradient_step_rate: float
    gradient_step_loss: float
    best_layer_loss: float
    zero_loss: float


def prediction(dimension: Any, length: Any) -> Prediction:
    """The numbers for n = dimension and T = length. Raises AssumptionError.

    >>> round(prediction(3, 10).loss, 6), round(prediction(3, 10).gradient_step_loss, 6)
    (0.933591, 0.953318)
    """
    n, T = check_whole(dimension, "dimension", 2, LARGEST_SIZE), check_whole(length, "length", 4, LONGEST)
    two, step = derived_two_blocks(n, T), derived_step_loss(n, T)
    x, y = (float(two.coefficients[feature]) for feature in TWO_BLOCKS)
    best = float(derived_optimum(n, T).loss)
    return Prediction(x, y, float(two.loss), float(step.rate), float(step.least), best, n / 2)


@cache
def derivation() -> Derivation:
    """The three steps."""
    steps = (
        Step(
            "one head",
            "yhat_t of a head with W_PV = (0, p_0 I, p_1 I) in its first block row and blocks k_bc I of W_KQ",
            "sum over a, b, c of p_a k_bc G(a, b, c), G(a, b, c) = sum_{t' <= t} s_(t'-a) (s_(t'-b) . s_(t-c))",
            r"\hat y_t = \sum_{abc} p_a k_{bc}\, G_{abc}(t)",
            "the layer read on tokens (0, s_t, s_(t-1))",
            head_and_features,
        ),
        Step(
            "two blocks",
            "least loss over x G(0, 1, 0) + y G(0, 0, 1): p = (1, 0), and the k of the target's parity",
            "normal equations in the moments of autocorrelations, in rational numbers",
            r"\min_{x, y} \tfrac12 \mathbb{E}\bigl|s_{t+1} - x\,G_{010} - y\,G_{001}\bigr|^2",
            "convex; solved by elimination",
            two_blocks_by_cramer,
            forms=two_blocks_forms(),
        ),
        Step(
            "below the step",
            "loss of the best gradient step - loss of the two blocks",
            "(s - b r/a)^2/(2 (T - 1) (d - b^2/a)), with a, b, d the inner products and r, s the pulls of the two",
            r"L_{\mathrm{step}} - L_{\mathrm{two}} = \frac{(s - b r/a)^2}{2 (T-1)(d - b^2/a)}",
            "the part of G(0, 0, 1) orthogonal to G(0, 1, 0)",
            gain_by_residual,
            forms={"gain": generating({(n, T): gain(n, T) for n in SIZES for T in LENGTHS})},
        ),
    )
    results = {"loss": derived_two_blocks(3, 10).loss, "gain": gain(3, 10)}
    return Derivation(STATEMENT, steps, results, instance)


STATEMENT = Statement(
    identifier="mesa-trained-layer",
    title="Orthogonal dynamics: one trained head of linear attention is below the best gradient step, at two blocks",
    latex=r"\hat y_t = x \sum_{t'} s_{t'} (s_{t'-1} \cdot s_t) + y \sum_{t'} s_{t'} (s_{t'} \cdot s_{t-1}), \quad "
    r"L_{\mathrm{two}} < L_{\mathrm{step}}",
    text=(
        "A layer of causal linear attention with one head, trained on next states of s_(t+1) = W s_t, is not the "
        "gradient step with the best learning rate: it adds the block with key s_t' and query s_(t-1), with the "
        "opposite sign, and ends at the loss of the best such pair, which is a rational number for every dimension "
        "and length and lower than that of every gradient step."
    ),
    assumptions=(
        "s_1 ~ N(0, I_n), W ~ Haar(O(n)), independent; no noise; n >= 2, T >= 4",
        "tokens (0, s_t, s_(t-1)) with s_0 = 0; one head of linear attention, not normalised, t' = t among the keys",
        "loss 1/2 E |s_(t+1) - yhat_t|^2, the mean over t = 1 .. T - 1 of a sequence of T states",
    ),
    conventions="a sequence has T states, of which the last T - 1 are predicted",
    sources=(
        Source("vonoswald2023uncovering", "section 3 (trained layers are compared with a gradient step there)"),
        Source("ours", "the second block, both losses, and the comparison"),
    ),
    uses=("mesa-learning-rate",),
)
