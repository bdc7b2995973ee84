r"""The population loss of the layer on all of its parameters, exact in symbolic d and N.

Main statements
    population_loss     L(u12, u, U, u21) = 1/2 E (yhat - w.x_q)^2
    parity              L = reduced(A) + 1/2 E (even part of yhat)^2 with A = u U + u12 u21^T: the part
                        of yhat that is odd in (w, eps) is s^T A x_q, and the mixed term has mean 0
    reduced_loss        reduced(A) = 1/2 E (x_q^T A^T s - w.x_q)^2, quadratic in A
Assumptions
    Those of `PromptLaw`. The sixth moments of the query enter the even part only.
References
    Ours; restricted to u12 = u21 = 0 it is [zhang2024trained, Lemma 5.1].
"""

from __future__ import annotations

from copy import copy
from functools import cache
from typing import Any

import numpy as np

from ..algebra.component_moments import ComponentPolynomial
from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import evaluate, evaluate_over_samples
from ..algebra.matrix_derivatives import derivative, gradient
from ..algebra.trace_polynomials import TracePolynomial, substitute, sum_over_samples
from ..symbols import NEXT_LENGTH, U12, U21, X_Q, ZERO, A, I, N, U, W, X, u
from .assumptions import FloatArray, check_context_length, check_covariance, check_shape
from .enumeration import Instance, InstanceKey, context_mean, layer_prediction, prompt, random_instance
from .layer import label, odd_and_even, prediction, target
from .prompt_law import PromptLaw

WEIGHTS = {"u12": U12, "u": u, "U": U, "u21": U21}


def population_loss(law: PromptLaw) -> TracePolynomial:
    """L on all parameters."""
    error = prediction(law) - target()
    return law.mean(error * error) / 2


def even_loss(law: PromptLaw) -> TracePolynomial:
    """1/2 E (even part of yhat)^2, which is never negative."""
    _, even = odd_and_even(prediction(law))
    return law.mean(even * even) / 2


def reduced_loss(law: PromptLaw) -> TracePolynomial:
    """reduced(A) = 1/2 E (s^T A x_q - w.x_q)^2 in the letter A."""
    s = N**-1 * sum_over_samples(label(law) * X, ("x", "eps"))
    error = s.T * A * X_Q - W.T * X_Q
    return law.mean(error * error) / 2


def weight_gradients(loss: TracePolynomial) -> dict[str, TracePolynomial]:
    """dL/du12, dL/du, dL/dU, dL/du21."""
    return {name: derivative(loss, name) if name == "u" else gradient(loss, letter) for name, letter in WEIGHTS.items()}


def effective_preconditioner() -> TracePolynomial:
    """A = u U + u12 u21^T."""
    return u * U + U12 * U21.T


def split_by_parity(polynomial: ComponentPolynomial, instance: Instance) -> tuple[Any, Any]:
    """The odd and even parts in (w, eps) of a polynomial in components."""
    first = instance.dimension * (instance.context_length + 1)

    def is_odd(monomial: int) -> bool:
        exponents = monomial >> (8 * first)
        return sum((exponents >> (8 * k)) & 255 for k in range(exponents.bit_length() // 8 + 1)) % 2 == 1

    odd = {m: v for m, v in polynomial.terms.items() if is_odd(m)}
    even = {m: v for m, v in polynomial.terms.items() if not is_odd(m)}
    return ComponentPolynomial(odd), ComponentPolynomial(even)


@cache
def enumerated(key: InstanceKey) -> dict[str, Any]:
    """The layer multiplied out at one instance, with the means that the steps are checked against."""
    instance = random_instance(key)
    drawn = prompt(instance)
    yhat = layer_prediction(instance, drawn.embedding)
    odd, even = split_by_parity(yhat, instance)
    return {
        "instance": instance,
        "prompt": drawn,
        "yhat": yhat,
        "odd": odd,
        "even": even,
        "loss": instance.mean((yhat - drawn.target) * (yhat - drawn.target)) / 2,
        "odd loss": instance.mean((odd - drawn.target) * (odd - drawn.target)) / 2,
        "even loss": instance.mean(even * even) / 2,
        "mixed": instance.mean((odd - drawn.target) * even),
    }


def value_at(polynomial: TracePolynomial, instance: Instance) -> Any:
    """The exact value of a polynomial at an instance."""
    return evaluate(polynomial, instance.values())


def in_components(polynomial: TracePolynomial, key: InstanceKey) -> Any:
    """The value of a polynomial in the prompt's letters, as a polynomial in the prompt's components."""
    found = enumerated(key)
    instance, E = found["instance"], found["prompt"].embedding
    d, n = instance.dimension, instance.context_length
    w = found["prompt"].task
    samples = {
        "x": [E[:d, i : i + 1] for i in range(n)],
        "eps": [np.array([[E[d, i] - w @ E[:d, i]]], dtype=object) for i in range(n)],
    }
    values = {**instance.values(), "x_q": E[:d, n:], "w": w[:, None]}
    return evaluate_over_samples(polynomial, values, samples)


def odd_part_check(odd: TracePolynomial, key: InstanceKey) -> tuple[Any, Any]:
    """The odd part of the literal layer, and s^T A x_q in components, both against the polynomial."""
    found = enumerated(key)
    instance, E = found["instance"], found["prompt"].embedding
    s = context_mean(instance, E)
    reading = s @ instance.values()["A"] @ E[: instance.dimension, -1]
    return [found["odd"], reading], [in_components(odd, key)] * 2


@cache
def derivation(law: PromptLaw | None = None) -> Derivation:
    """From the layer's definition to L on all parameters, in seven steps."""
    law = law or PromptLaw()
    loss, even, reduced = population_loss(law), even_loss(law), reduced_loss(law)
    odd, _ = odd_and_even(prediction(law))
    reduced_in_weights = substitute(reduced, {"A": effective_preconditioner()})

    steps = (
        equality(
            "the layer's prediction",
            ("yhat = f(E)[d, N]", r"\hat y"),
            prediction(law),
            "multiplying out f(E) = E + W_PV E (E^T W_KQ E)/N column by column",
            lambda key: (enumerated(key)["yhat"], in_components(prediction(law), key)),
        ),
        equality(
            "the part of yhat odd in (w, eps)",
            ("yhat_odd = s^T A x_q, s = (1/N) sum_i y_i x_i", r"\hat y_{\rm odd}"),
            odd,
            "sorting terms by their parity under (w, eps) -> (-w, -eps)",
            lambda key: odd_part_check(odd, key),
        ),
        Step(
            "the mixed term has mean zero",
            "E (yhat_odd - w.x_q) yhat_even",
            "0",
            r"\mathbb{E}\,(\hat y_{\rm odd} - w^\top x_q)\,\hat y_{\rm even} = 0",
            "the law of the prompt does not change under (w, eps) -> (-w, -eps), which flips the sign",
            lambda key: (enumerated(key)["mixed"], 0),
        ),
        equality(
            "the odd part of the loss",
            ("1/2 E (yhat_odd - w.x_q)^2 = reduced(A)", r"\ell(A)"),
            reduced,
            "Isserlis' theorem, with A = u U + u12 u21^T",
            lambda key: (
                enumerated(key)["odd loss"],
                value_at(reduced_in_weights, enumerated(key)["instance"]),
            ),
        ),
        equality(
            "the even part of the loss",
            ("1/2 E yhat_even^2", r"\tfrac12\mathbb{E}\,\hat y_{\rm even}^2"),
            even,
            "Isserlis' theorem; sums over samples give powers of N",
            lambda key: (enumerated(key)["even loss"], value_at(even, enumerated(key)["instance"])),
        ),
        equality(
            "the loss on all parameters",
            ("L(u12, u, U, u21)", r"L(u_{12}, u, U, u_{21})"),
            loss,
            "the sum of the two parts",
            lambda key: (enumerated(key)["loss"], value_at(loss, enumerated(key)["instance"])),
        ),
        Step(
            "decomposition",
            "L(u12, u, U, u21)",
            "reduced(u U + u12 u21^T) + 1/2 E yhat_even^2",
            r"L = \ell(u U + u_{12} u_{21}^\top) + \tfrac12 \mathbb{E}\,\hat y_{\rm even}^2",
            "equality of normal forms, and of values at the instance",
            lambda key: (
                value_at(loss, enumerated(key)["instance"]),
                value_at(reduced_in_weights + even, enumerated(key)["instance"]),
            ),
        ),
    )
    results = {"loss": loss, "even": even, "reduced": reduced}
    return Derivation(STATEMENT, steps, results, lambda seed: (seed, False))


STATEMENT = Statement(
    identifier="population-loss",
    title="Population loss of one layer of linear attention on all parameters",
    latex=r"L(u_{12}, u, U, u_{21}) = \tfrac12\,\mathbb{E}\,(\hat y - w^\top x_q)^2",
    text=(
        "The population loss of the layer is a trace polynomial in all of its parameters, exact for every "
        "dimension d and context length N; it is reduced(u U + u12 u21^T) plus a term that is never negative."
    ),
    assumptions=(
        "x_i, x_q ~ N(0, Lambda), w ~ N(0, Psi), eps_i ~ N(0, sigma^2), all independent",
        "y_i = w.x_i + eps_i; the target is the noiseless w.x_q",
        "context length N >= 1, the same for every prompt",
    ),
    conventions=(
        "E = [[x_1..x_N, x_q],[y_1..y_N, 0]], f(E) = E + W_PV E (E^T W_KQ E)/N, query column included in E "
        "E^T, 1/N over the context, L = 1/2 E(yhat - w.x_q)^2"
    ),
    sources=(Source("ours", "all parameters"), Source("zhang2024trained", "Lemma 5.1 for u12 = u21 = 0")),
)


NOISELESS = PromptLaw(task_covariance=I, noise_variance=ZERO)  # the law of `noiseless_loss`


class LossOnWeights:
    """A loss polynomial in u12, u, U, u21 (with Lambda and N) and its gradients, evaluated at numbers.

    Weights are W_PV and W_KQ, shapes (..., d+1, d+1); entries that do not enter have gradient 0. The
    polynomial is an argument, so that an altered loss can be put to the same tests. Where it holds Psi and
    sigma2, `for_task` gives them their values.
    """

    def __init__(self, loss: TracePolynomial) -> None:
        self.loss = loss
        self.slopes = weight_gradients(loss)
        self.task: dict[str, Any] = {}

    def for_task(self, task_covariance: FloatArray, noise_variance: float) -> LossOnWeights:
        """The same loss with Psi (d, d) and sigma^2 at these values."""
        named = copy(self)
        named.task = {"Psi": task_covariance, "sigma2": noise_variance}
        return named

    def value(self, covariance: FloatArray, context_length: Any, weights: Weights) -> Any:
        """L, shape (...)."""
        return evaluate(self.loss, {**numbers(covariance, context_length, weights), **self.task})

    def gradients(self, covariance: FloatArray, context_length: Any, weights: Weights) -> Weights:
        """dL/dW_PV and dL/dW_KQ."""
        values = {**numbers(covariance, context_length, weights), **self.task}
        return weights_from_blocks({name: evaluate(slope, values) for name, slope in self.slopes.items()}, weights)

    def descend(
        self, covariance: FloatArray, context_length: Any, start: Weights, learning_rate: Any, steps: int
    ) -> Weights:
        """The weights after gradient descent W <- W - learning_rate dL/dW, batched over leading axes."""
        rate = np.asarray(learning_rate)[..., None, None]
        weights = start
        for _ in range(steps):
            slopes = self.gradients(covariance, context_length, weights)
            weights = (weights[0] - rate * slopes[0], weights[1] - rate * slopes[1])
        return weights

    def with_rounding(
        self, covariance: FloatArray, context_length: int, weights: Weights
    ) -> tuple[tuple[float, float], Weights, Weights]:
        """((L, bound), gradients, bounds): values at one set of weights with bounds on their rounding errors.

        A term of k letters is at most k - 1 matrix products of length d, and the terms are added up: the
        error is at most (k d + number of terms + 4) eps times the sum of the terms' absolute values.
        """
        values = {**numbers(covariance, context_length, weights), **self.task}
        sizes = {name: np.abs(value) for name, value in values.items()}
        d = covariance.shape[-1]

        def bound(polynomial: TracePolynomial) -> Any:
            return rounding_factor(polynomial, d) * evaluate(absolute(polynomial), sizes)

        slopes = {name: evaluate(slope, values) for name, slope in self.slopes.items()}
        bounds = {name: bound(slope) for name, slope in self.slopes.items()}
        loss = (float(evaluate(self.loss, values)), float(bound(self.loss)))
        return loss, weights_from_blocks(slopes, weights), weights_from_blocks(bounds, weights)


Weights = tuple[FloatArray, FloatArray]


def numbers(covariance: FloatArray, context_length: Any, weights: Weights) -> dict[str, Any]:
    """Values for the letters of a loss on weights."""
    value_weights, key_query_weights = weights
    return {
        "Lambda": covariance,
        "N": np.asarray(context_length, dtype=float),
        NEXT_LENGTH: np.asarray(context_length, dtype=float) + 1,
        "u12": value_weights[..., -1, :-1, None],
        "u": value_weights[..., -1, -1],
        "U": key_query_weights[..., :-1, :-1],
        "u21": key_query_weights[..., -1, :-1, None],
    }


def weights_from_blocks(blocks: dict[str, Any], like: Weights) -> Weights:
    """(W_PV, W_KQ) with the given blocks and zeros elsewhere."""
    value_weights, key_query_weights = np.zeros_like(like[0]), np.zeros_like(like[1])
    value_weights[..., -1, :-1], value_weights[..., -1, -1] = blocks["u12"][..., 0], blocks["u"]
    key_query_weights[..., :-1, :-1], key_query_weights[..., -1, :-1] = blocks["U"], blocks["u21"][..., 0]
    return value_weights, key_query_weights


def absolute(polynomial: TracePolynomial) -> TracePolynomial:
    """The same terms with the absolute values of their coefficients."""
    return TracePolynomial(polynomial.rows, polynomial.cols, {m: abs(v) for m, v in polynomial.terms.items()})


def rounding_factor(polynomial: TracePolynomial, dimension: int) -> float:
    """(k d + number of terms + 4) eps for the longest term of k letters."""
    letters = max(sum(1 for _ in monomial.letters()) for monomial in polynomial.terms)
    return float((letters * dimension + len(polynomial.terms) + 4) * np.finfo(float).eps)


@cache
def noiseless_loss() -> LossOnWeights:
    """L for w ~ N(0, I) without label noise."""
    return LossOnWeights(population_loss(NOISELESS))


@cache
def general_loss() -> LossOnWeights:
    """L for any Psi and sigma^2; `for_task` gives them."""
    return LossOnWeights(population_loss(PromptLaw()))


@cache
def general_even_loss() -> TracePolynomial:
    """1/2 E (even part of yhat)^2 on all parameters for any Lambda, Psi and sigma^2."""
    return even_loss(PromptLaw())


def loss_at(covariance: Any, context_length: Any, value_weights: Any, key_query_weights: Any) -> float:
    """L at given weights, w ~ N(0, I), no noise.

    covariance (d, d), weights (d+1, d+1) each. Raises AssumptionError.

    >>> loss_at([[1.0]], 1, [[0, 0], [0, 1]], [[1, 0], [0, 0]])  # 1/2 E (w x^2 x_q - w x_q)^2
    1.0
    """
    Lambda = check_covariance(covariance)
    size = (Lambda.shape[0] + 1,) * 2
    weights = (
        check_shape(value_weights, size, "value_weights"),
        check_shape(key_query_weights, size, "key_query_weights"),
    )
    return float(noiseless_loss().value(Lambda, check_context_length(context_length), weights))
