r"""Where one head of linear attention ends on random orthogonal dynamics: a gradient step with a second block.

Setting
    As in `one_layer_optimum`, with one head whose blocks are multiples of the identity: it writes
        yhat_t = sum_{a,b,c} p_a k_bc G(a, b, c),      p = (p_0, p_1),  k = (k_00, k_01, k_10, k_11).
    p_0 stands in W_PV for the value s_t' (p_1: s_(t'-1)), k_bc in W_KQ for key block b and query block c.
Main statements
    no start        of all gradient steps, from any Phi_0 and with any rate, the best starts at Phi_0 = 0: for a given
                    rate the loss is convex in Phi_0 and invariant under O(n), so that Phi_0 = phi I suffices, and by
                    parity phi enters through phi^2 alone
    second block    p = (1, 0), k_10 = x and k_01 = y, with (x, y) the least squares over G(0, 1, 0) and G(0, 0, 1), is
                    a point without slope in any entry of the head: in the four other numbers by parity, and beside the
                    multiples of the identity because the law is invariant under O(n)
    minimum         within the six numbers it is a strict minimum up to the scale p -> c p, k -> k/c for n = 3 .. 6 and
                    T = 4 .. 8 (the same code decides any n and T). At n = 2 and T = 6, 7, 8 it is a saddle: one
                    direction descends
    order           its loss lies strictly between the best gradient step's and the best layer's
    So a trained head does more than a gradient step: it also compares the state before with the values' own states.
What is not derived: that training reaches this point, and that no direction beside the multiples of the identity
descends. Both are measured (claim mesa-trained-layer), for n >= 3.
References
    [vonoswald2023uncovering, section 3] trains such layers. The statements are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import Array
from ..algebra.formulas import Formula
from ..algebra.trace_polynomials import TracePolynomial
from ..one_layer.assumptions import AssumptionError
from . import learning_rate
from .autocorrelations import INITIALS, Autocorrelations, autocorrelations, in_power_traces
from .exact_layer import head_prediction, rational_sequence, vector_value
from .haar_traces import haar_traces
from .learning_rate import LARGEST_SIZE, LONGEST, check_whole, generating
from .one_layer_optimum import (
    GRADIENT_STEP,
    Feature,
    Optimum,
    derived_optimum,
    inner_product,
    least_loss,
    positions,
    pull,
)
from .one_step_rate import derived_step_loss

SECOND = Feature("G", 0, 0, 1)
SIZES, LENGTHS = range(2, 7), range(4, 9)
BLOCKS = tuple(product((0, 1), repeat=3))  # (a, b, c) in the order of the coefficients


@cache
def one_head(n: int, length: int, initial: str = "gaussian") -> Optimum:
    """The least loss over the gradient step and its second block.

    >>> list(one_head(3, 8).coefficients.values())
    [Fraction(406375, 6503999), Fraction(-67560, 6503999)]
    """
    return least_loss([GRADIENT_STEP, SECOND], n, length, autocorrelations(n, initial))


@dataclass(frozen=True)
class HeadLoss:
    """(T - 1) times the loss of one head up to its constant: x.G x/2 - b.x with x_abc = p_a k_bc.

    gram (8, 8), right (8,): exact
    """

    gram: Array
    right: Array

    def coefficients(self, numbers: Array) -> Array:
        """x of (p_0, p_1, k_00, k_01, k_10, k_11)."""
        return np.array([numbers[a] * numbers[2 + 2 * b + c] for a, b, c in BLOCKS], dtype=object)

    def jacobian(self, numbers: Array) -> Array:
        """dx/d numbers, (8, 6)."""
        rows = np.array([[Fraction(0)] * 6 for _ in BLOCKS], dtype=object)
        for row, (a, b, c) in enumerate(BLOCKS):
            rows[row, a] = numbers[2 + 2 * b + c]
            rows[row, 2 + 2 * b + c] = numbers[a]
        return rows

    def slope(self, numbers: Array) -> Array:
        """The gradient in the six numbers."""
        slope: Array = self.jacobian(numbers).T @ (self.gram @ self.coefficients(numbers) - self.right)
        return slope

    def hessian(self, numbers: Array) -> Array:
        """Second derivatives in the six numbers, (6, 6): x is bilinear, so its own are constant."""
        first = self.jacobian(numbers)
        total: Array = first.T @ self.gram @ first
        rest = self.gram @ self.coefficients(numbers) - self.right
        for row, (a, b, c) in enumerate(BLOCKS):
            total[a, 2 + 2 * b + c] += rest[row]
            total[2 + 2 * b + c, a] += rest[row]
        return total


@cache
def head_loss(n: int, length: int) -> HeadLoss:
    """The loss of one head from the derived moments, N(0, I) first states."""
    moments = autocorrelations(n)
    features = [Feature("G", *block) for block in BLOCKS]
    gram = [[inner_product(f, g, length, moments) for g in features] for f in features]
    return HeadLoss(np.array(gram, dtype=object), np.array([pull(f, length, moments) for f in features], dtype=object))


def numbers_of_head(n: int, length: int) -> Array:
    """(p_0, p_1, k_00, k_01, k_10, k_11) of the point."""
    found = one_head(n, length).coefficients
    zero = Fraction(0)
    return np.array([Fraction(1), zero, zero, found[SECOND], found[GRADIENT_STEP], zero], dtype=object)


def negative_and_zero_pivots(matrix: Array) -> tuple[int, int]:
    """How many eigenvalues of a symmetric matrix are negative, and zero, by exact elimination on the diagonal.

    Raises ArithmeticError where a pivot vanishes and its row does not: then other pivots would be needed.
    """
    rows, left = matrix.copy(), list(range(len(matrix)))
    negative = zero = 0
    while left:
        place = next((k for k in left if rows[k, k] != 0), None)
        if place is None:
            if any(rows[i, j] != 0 for i in left for j in left):
                raise ArithmeticError("need a pivot on the diagonal")
            return negative, zero + len(left)
        left.remove(place)
        negative += rows[place, place] < 0
        for i in left:
            rows[i] = rows[i] - rows[i, place] / rows[place, place] * rows[place]
    return negative, zero


# Both sides of the steps


class Instance(NamedTuple):
    n: int
    length: int


def instance(seed: int) -> Instance:
    return Instance(3 + seed % 4, 4 + (seed // 2) % 4)


def head_and_features(given: Instance) -> tuple[list[Any], list[Any]]:
    """The prediction of a head at every t, by the layer's own sum and by the features."""
    at = learning_rate.instance(given.n)
    states = rational_sequence(at.W, (at.ratio, Fraction(1), Fraction(-2, 3)), 5)
    p, k = at.forms["A"][0], at.forms["B"]
    layer, features = [], []
    for t in range(1, len(states) + 1):
        parts = [p[a] * k[b, c] * vector_value(Feature("G", a, b, c), states, t) for a, b, c in BLOCKS]
        layer.append(head_prediction(states, t, p, k))
        features.append(sum(parts, 0 * states[0]))
    return layer, features


def odd_in_the_start(given: Instance) -> tuple[list[Any], list[Any]]:
    """What is odd in phi: E s_t.s_(t+1), E s_t.G(0,1,0), E G(1,1,0).s_(t+1) and E G(1,1,0).G(0,1,0), all summed over t.

    yhat = phi s_t + eta (G(0,1,0) - phi G'(1,1,0)), where G' has the values s_(t'-1) of the pairs.
    """
    n, T = given
    moments, of_values = autocorrelations(n), Feature("G", 1, 1, 0)
    of_state = sum(
        (count * moments.moment(j, k) for terms in positions(GRADIENT_STEP, T) for (j, k), count in terms.items()),
        Fraction(0),
    )
    odd = [
        (T - 1) * haar_traces(n).moment(1),
        of_state,
        pull(of_values, T, moments),
        inner_product(of_values, GRADIENT_STEP, T, moments),
    ]
    return odd, [0] * len(odd)


def slope_of_head(given: Instance) -> tuple[list[Any], list[Any]]:
    """The six slopes at the point."""
    slope = head_loss(*given).slope(numbers_of_head(*given))
    return list(slope), [0] * len(slope)


def signs_of_second_derivatives(given: Instance) -> tuple[tuple[int, int], tuple[int, int]]:
    """No negative eigenvalue, and one that is zero: the scale."""
    return negative_and_zero_pivots(head_loss(*given).hessian(numbers_of_head(*given))), (0, 1)


def signs_in_the_plane(given: Instance) -> tuple[tuple[int, int], tuple[int, int]]:
    """The same at n = 2 and T = 6, 7, 8: one negative eigenvalue."""
    length = 6 + given.length % 3
    return negative_and_zero_pivots(head_loss(2, length).hessian(numbers_of_head(2, length))), (1, 1)


def order_of_losses(given: Instance) -> tuple[bool, bool]:
    best, step = derived_optimum(*given).loss, derived_step_loss(*given).least
    return best < one_head(*given).loss < step, True


def tables() -> dict[str, Any]:
    """The two coefficients and the loss for n = 2 .. 6 (powers of x) and T = 4 .. 8 (powers of y)."""

    def table(entry: Callable[[Optimum], Fraction]) -> Any:
        return generating({(n, T): entry(one_head(n, T)) for n in SIZES for T in LENGTHS})

    return {
        "first block": table(lambda found: found.coefficients[GRADIENT_STEP]),
        "second block": table(lambda found: found.coefficients[SECOND]),
        "loss": table(lambda found: found.loss),
    }


# The formula that is altered


@cache
def formula() -> Formula:
    """The two blocks and the loss, from the polynomials for E[c_i c_j | W] and E[c_i c_j c_k | W]."""
    return Formula({"pair": in_power_traces(2), "triple": in_power_traces(3)}, blocks_and_loss, Vocabulary())


def blocks_and_loss(parts: Mapping[str, TracePolynomial], values: Mapping[str, Any]) -> Array:
    """(x, y, loss) at n and T. Raises ValueError where the parts give none."""
    n, length = int(values["n"]), int(values["T"])
    moments = Autocorrelations(n, parts["pair"], parts["triple"], haar_traces(n).moment)
    found = least_loss([GRADIENT_STEP, SECOND], n, length, moments)
    if len(found.coefficients) < 2:
        raise ValueError("need two blocks that are not zero")
    return np.array([found.coefficients[GRADIENT_STEP], found.coefficients[SECOND], found.loss], dtype=object)


# Public numbers


class HeadPrediction(NamedTuple):
    """Losses as in `learning_rate.Prediction`.

    first_block      of the keys s_(t'-1) and the query s_t: the gradient step's
    second_block     of the keys s_t' and the query s_(t-1)
    """

    first_block: float
    second_block: float
    loss: float
    gradient_step_loss: float
    optimum_loss: float


def prediction(dimension: Any, length: Any, initial: Any = "gaussian") -> HeadPrediction:
    """The head for states in R^n, n = dimension, and sequences of T = length states. Raises AssumptionError.

    >>> round(prediction(10, 50).second_block, 6)
    -0.000875
    """
    n, T = check_whole(dimension, "dimension", 2, LARGEST_SIZE), check_whole(length, "length", 4, LONGEST)
    if initial not in INITIALS:
        raise AssumptionError(f"need initial as one of {', '.join(INITIALS)}, got {initial!r}")
    found = one_head(n, T, initial)
    step, best = derived_step_loss(n, T, initial).least, derived_optimum(n, T, initial).loss
    first, second = (float(found.coefficients.get(feature, Fraction(0))) for feature in (GRADIENT_STEP, SECOND))
    return HeadPrediction(first, second, float(found.loss), float(step), float(best))


@cache
def derivation() -> Derivation:
    """The six steps."""
    steps = (
        Step(
            "one head",
            "the first block of sum_{t' <= t} W_PV e_t' (e_t'^T W_KQ e_t)",
            "sum_{a,b,c} p_a k_bc G(a, b, c)",
            r"\sum_{t' \le t} W_{PV} e_{t'}\, e_{t'}^\top W_{KQ} e_t = \sum_{a,b,c} p_a k_{bc}\, G_{abc}",
            "blocks of W_PV and W_KQ that are multiples of the identity; tokens (0, s_t, s_(t-1))",
            head_and_features,
        ),
        Step(
            "no start",
            "what the loss of a step from Phi_0 = phi I has of odd powers of phi",
            "0",
            r"L(\eta, \varphi I) = L(\eta, 0) + \varphi^2 (\dots), \qquad \Phi_0^* = 0",
            "W -> -W keeps the law; the loss is convex in Phi_0 for a given rate and invariant under O(n)",
            odd_in_the_start,
        ),
        Step(
            "second block",
            "the slope of the loss in all six numbers at p = (1, 0), k_10 = x, k_01 = y",
            "0",
            r"\partial L/\partial p = 0, \quad \partial L/\partial k = 0",
            "least squares for k_10 and k_01; the four others have the wrong parity; p_0 by the scale",
            slope_of_head,
            forms=tables(),
        ),
        Step(
            "minimum",
            "negative and zero eigenvalues of the second derivatives in the six numbers",
            "none, and one (the scale)",
            r"\nabla^2 L \succeq 0, \quad \dim\ker \nabla^2 L = 1",
            "exact elimination at the n and T of the tables, n >= 3",
            signs_of_second_derivatives,
        ),
        Step(
            "saddle in the plane",
            "negative and zero eigenvalues of the second derivatives at n = 2, T = 6, 7, 8",
            "one, and one (the scale)",
            r"n = 2,\ T \ge 6:\quad \text{one direction of descent}",
            "exact elimination at T = 6, 7, 8",
            signs_in_the_plane,
        ),
        Step(
            "order",
            "best layer < one head < best gradient step",
            "true",
            r"L_{\mathrm{layer}} < L_{\mathrm{head}} < L_{\mathrm{step}}",
            "losses of nested least squares; strict at the n and T of the tables",
            order_of_losses,
        ),
    )
    return Derivation(STATEMENT, steps, {}, instance)


STATEMENT = Statement(
    identifier="mesa-trained-layer",
    title="One trained head on orthogonal dynamics: a gradient step with a second block",
    latex=r"\hat y_t = \sum_{t' \le t} s_{t'}\bigl(x\, s_{t'-1}^\top s_t + y\, s_{t'}^\top s_{t-1}\bigr)",
    text=(
        "One head of causal linear attention, trained on sequences of random orthogonal dynamics, ends at "
        "yhat_t = sum_t' s_t' (x s_(t'-1) . s_t + y s_t' . s_(t-1)) with x and y rational numbers for every n and T: "
        "a stationary point in all weights, whose loss is below that of every gradient step, whatever its rate and "
        "Phi_0, and above that of the best layer."
    ),
    assumptions=(
        "s_1 ~ N(0, I_n) or uniform with |s_1|^2 = n, W ~ Haar(O(n)), independent; no noise; n >= 3 for the training",
        "tokens (0, s_t, s_(t-1)) with s_0 = 0; one head of linear attention without normalisation",
        "loss 1/2 E |s_(t+1) - yhat_t|^2, the mean over t = 1 .. T - 1 of a sequence of T states",
    ),
    conventions="a sequence has T states, of which the last T - 1 are predicted",
    sources=(
        Source("vonoswald2023uncovering", "section 3 (trained layers)"),
        Source("ours", "the second block, and its two numbers"),
    ),
    uses=("mesa-learning-rate", "mesa-gradient-step"),
)


# The statement as it is told


AT = Instance(3, 4)


def losses_at_counterexample() -> tuple[Fraction, Fraction]:
    """The least loss of a gradient step, and that of the head, at n = 3, T = 4."""
    return derived_step_loss(*AT).least, one_head(*AT).loss


@cache
def refutation() -> Derivation:
    """No step from any Phi_0 is better than the best one from 0, and a head is."""
    import sympy as sp

    step, head = losses_at_counterexample()
    steps = (
        *derivation().steps[:2],
        Step(
            "counterexample",
            "the least loss of a gradient step and the loss of the head at n = 3, T = 4",
            f"{step} > {head}",
            rf"{step} > {head}",
            "exact moments; the second block is not 0",
            lambda given: ([step > head, one_head(*AT).coefficients[SECOND] != 0], [True, True]),
            forms={"step": sp.Rational(*step.as_integer_ratio()), "head": sp.Rational(*head.as_integer_ratio())},
        ),
    )
    return Derivation(PRINTED, steps, {}, instance)


PRINTED = Statement(
    identifier="audit-mesa-one-step",
    title="As it is told: a trained one-layer linear model is one gradient step",
    latex=r"\hat y_t \overset{?}{=} \Phi_0 s_t + \eta \sum_{t' < t} (s_{t'+1} - \Phi_0 s_{t'})\, s_{t'}^\top s_t",
    text=(
        "A trained one-layer linear model is one gradient step with the learned rate and the learned Phi_0, in its "
        "weights, its predictions and its loss."
    ),
    assumptions=("one head of causal linear attention with tokens (0, s_t, s_(t-1)); random orthogonal dynamics",),
    conventions="as in mesa-trained-layer",
    sources=(Source("vonoswald2023uncovering", "section 3 (how the result is told; wording not compared)"),),
    uses=("mesa-trained-layer",),
)
