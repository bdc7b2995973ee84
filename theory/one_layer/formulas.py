r"""The formulas of the claims on one layer, as objects that can be altered and put to the same checks.

Formulas (each read off its derivation, none typed in)
    fixed_point        A* = left^-1 right of `stationary_system`, in Lambda, Psi, sigma^2, N
    random_length      the same with m1 = E[1/N]
    uniform            the same for independent components of kurtosis kappa, Psi = I, no noise
    gradient_step      the prediction x_q^T (0 - (u U)^T grad R(0)) as a polynomial in the prompt
    population_loss    L on all parameters for Psi = I without noise;  general_loss: for any Psi, sigma^2
    trained_risk       the risk of the trained layer on another law;  query_risk: with queries of a law of their own
    relu_fixed_point, relu_risk      A* and the risk at any A of ReLU attention
    gradient_flow      (u', U') without leak;  squared_gradient: |dL/dU|_F^2 and L without leak
    conserved, drift   what gradient flow conserves, and what a step does to it
    flow_limit         A* and c = u^2 - |U|_F^2, which fix the limit of the flow up to its sign
Points
    Random rational values of the letters, to tell formulas apart exactly. Entries (and the N of a law) have hundreds of
    values; two different rational functions whose difference has a numerator of degree k agree at one such point with
    probability at most k/500 [schwartz1980fast], so at all five with less than 1e-5 for k <= 50.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.evaluation import Array, evaluate, evaluate_over_samples
from ..algebra.formulas import Formula, Values, solution_of_system
from ..algebra.trace_polynomials import TracePolynomial
from ..algebra.words import LINE, Letter
from ..symbols import NEXT_LENGTH, ZERO
from . import conservation_law, relu_attention, risk
from . import flow_limit as limits
from . import gradient_flow as flow
from .fixed_point import StationarySystem, stationary_system
from .gradient_step import step_prediction
from .population_loss import general_loss as noisy_loss
from .population_loss import noiseless_loss
from .prompt_law import PromptLaw
from .random_context_length import random_length_law
from .uniform_covariates import any_kurtosis

COVARIANCES = {
    "Lambda": (Letter("Psi", symmetric=True),),
    "Psi": (Letter("Lambda", symmetric=True),),
}
DIMENSIONS = (1, 2, 2, 3, 3)


def of_system(system: StationarySystem, vocabulary: Vocabulary) -> Formula:
    """A = left^-1 right."""
    return Formula({"left": system.left, "right": system.right}, solution_of_system, vocabulary)


@cache
def fixed_point() -> Formula:
    """A* for any Lambda, Psi, sigma^2 and N."""
    return of_system(stationary_system(PromptLaw()), Vocabulary({"N": (NEXT_LENGTH, "d")}, COVARIANCES))


@cache
def random_length() -> Formula:
    """A* for random N, in m1 = E[1/N]; mistaken for 1/E[N], E[1/(N+1)] and m2 = E[1/N^2]."""
    vocabulary = Vocabulary({"m1": ("1/E[N]", "E[1/(N+1)]", "m2")}, COVARIANCES)
    return of_system(stationary_system(random_length_law()), vocabulary)


@cache
def uniform() -> Formula:
    """A* for independent components; the excess kurtosis mistaken for the fourth moment."""
    law = replace(any_kurtosis(), noise_variance=ZERO)
    return of_system(stationary_system(law), Vocabulary({"N": (NEXT_LENGTH, "d"), "kappa": ("E[z^4]",)}, COVARIANCES))


@cache
def gradient_step() -> Formula:
    """x_q^T w_1 in the letters of one prompt, of the step with preconditioner (u U)^T."""
    vocabulary = Vocabulary(
        {"N": (NEXT_LENGTH, "d")},
        {
            "x": (Letter("x_q", cols=LINE),),
            "x_q": (Letter("x", index=1, cols=LINE),),
            "U": (Letter("I"),),
        },
    )
    return Formula({"step": step_prediction()}, prediction_on_prompt, vocabulary)


def prediction_on_prompt(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """The step's prediction at a prompt: values of its letters, x and y as lists under `samples`."""
    letters = {name: value for name, value in values.items() if name != "samples"}
    return evaluate_over_samples(parts["step"], letters, values["samples"])


def letters_of_prompt(E: Array, W_PV: Array, W_KQ: Array) -> dict[str, Any]:
    """Values for the letters of `gradient_step`: one prompt E (d+1, N+1) and weights (d+1, d+1), in float64."""
    d, n = E.shape[0] - 1, E.shape[1] - 1
    return {
        "samples": {"x": [E[:d, i : i + 1] for i in range(n)], "y": [E[d:, i : i + 1] for i in range(n)]},
        "x_q": E[:d, n:],
        "U": W_KQ[:d, :d],
        "I": np.eye(d),
        "u": W_PV[d, d],
        "N": n,
        NEXT_LENGTH: n + 1,
    }


@cache
def population_loss() -> Formula:
    """L(u12, u, U, u21) for Psi = I, no noise."""
    vectors = {"u12": (Letter("u21", cols=LINE),), "u21": (Letter("u12", cols=LINE),)}
    matrices = {"Lambda": (Letter("U"),), "U": (Letter("Lambda", symmetric=True),)}
    vocabulary = Vocabulary({"N": (NEXT_LENGTH,)}, {**vectors, **matrices})
    return Formula({"loss": noiseless_loss().loss}, loss_at_weights, vocabulary)


@cache
def general_loss() -> Formula:
    """The same for any Psi and sigma^2."""
    vocabulary = population_loss().vocabulary
    letters = {**vocabulary.letters, "Psi": (Letter("Lambda", symmetric=True),)}
    return Formula({"loss": noisy_loss().loss}, loss_at_weights, Vocabulary(vocabulary.symbols, letters))


def loss_at_weights(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """The value of the polynomial `loss`."""
    return evaluate(parts["loss"], values)


@cache
def trained_risk() -> Formula:
    """The risk on a test law of the layer trained on another: A = left^-1 right, put into a polynomial in A."""
    system = stationary_system(PromptLaw())
    vocabulary = Vocabulary(
        {"N": (NEXT_LENGTH, "M"), "M": ("N", "d"), "sigma2'": ("sigma2",)},
        {
            "Lambda'": (Letter("Lambda", symmetric=True), Letter("Psi'", symmetric=True)),
            "Psi'": (Letter("Psi", symmetric=True),),
            "Lambda": (Letter("Lambda'", symmetric=True),),
        },
    )
    parts = {"left": system.left, "right": system.right, "risk": risk.risk()}
    return Formula(parts, risk_of_trained_layer, vocabulary)


@cache
def query_risk() -> Formula:
    """The same for queries with the second moments Q, mistaken for the covariance of the context."""
    system, known = stationary_system(PromptLaw()), trained_risk().vocabulary
    context, query = Letter("Lambda'", symmetric=True), Letter("Q", symmetric=True)
    letters = {**known.letters, "Lambda'": (query, *known.letters["Lambda'"]), "Q": (context,)}
    parts = {"left": system.left, "right": system.right, "risk": risk.risk_of_query()}
    return Formula(parts, risk_of_trained_layer, Vocabulary(known.symbols, letters))


@cache
def relu_fixed_point() -> Formula:
    """A* of ReLU attention."""
    left, right = relu_attention.system()
    vocabulary = Vocabulary({"N": (NEXT_LENGTH, "d")}, COVARIANCES)
    return Formula({"left": left, "right": right}, solution_of_system, vocabulary)


@cache
def relu_risk() -> Formula:
    """The risk of ReLU attention at any A."""
    vocabulary = Vocabulary({"N": (NEXT_LENGTH, "d")}, {**COVARIANCES, "A": (Letter("Lambda", symmetric=True),)})
    return Formula({"risk": relu_attention.risk()}, risk_at_weights, vocabulary)


def risk_at_weights(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """The value of the polynomial `risk`."""
    return evaluate(parts["risk"], values)


WEIGHTS_WITHOUT_LEAK = {"U": (Letter("Lambda", symmetric=True),)}


@cache
def gradient_flow() -> Formula:
    """(u', U') without leak, in one row."""
    law = PromptLaw()
    vocabulary = Vocabulary({"N": (NEXT_LENGTH, "d")}, {**COVARIANCES, **WEIGHTS_WITHOUT_LEAK})
    parts = {"value": flow.value_flow(law), "key_query": flow.key_query_flow(law)}
    return Formula(parts, velocity_at_weights, vocabulary)


def velocity_at_weights(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """The values of `value` and `key_query` in one row."""
    return np.array([evaluate(parts["value"], values), *np.ravel(evaluate(parts["key_query"], values))])


@cache
def squared_gradient() -> Formula:
    """(|dL/dU|_F^2, L) without leak, the first from the flow U'."""
    law = PromptLaw()
    vocabulary = Vocabulary({"N": (NEXT_LENGTH, "d")}, {**COVARIANCES, **WEIGHTS_WITHOUT_LEAK})
    parts = {"key_query": flow.key_query_flow(law), "loss": flow.loss_without_leak(law)}
    return Formula(parts, squares_at_weights, vocabulary)


def squares_at_weights(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """The sum of the squares of `key_query`, and the value of `loss`."""
    return np.array([np.sum(evaluate(parts["key_query"], values) ** 2), evaluate(parts["loss"], values)])


@cache
def conserved() -> Formula:
    """Q on all parameters."""
    vectors = {"u12": (Letter("u21", cols=LINE),), "u21": (Letter("u12", cols=LINE),)}
    return Formula({"conserved": conservation_law.conserved()}, conserved_at_weights, Vocabulary({}, vectors))


def conserved_at_weights(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """The value of the polynomial `conserved`."""
    return evaluate(parts["conserved"], values)


@cache
def drift() -> Formula:
    """What a step does to Q, in the gradient's letters."""
    vectors = {"g_u12": (Letter("g_u21", cols=LINE),), "g_u21": (Letter("g_u12", cols=LINE),)}
    return Formula({"drift": conservation_law.drift()}, drift_of_step, Vocabulary({}, vectors))


def drift_of_step(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """The value of the polynomial `drift`."""
    return evaluate(parts["drift"], values)


@cache
def flow_limit() -> Formula:
    """c and A*: with the sign they give the limit of the flow."""
    system = stationary_system(PromptLaw())
    vocabulary = Vocabulary({"N": (NEXT_LENGTH, "d")}, COVARIANCES)
    parts = {"left": system.left, "right": system.right, "conserved": limits.conserved_without_leak()}
    return Formula(parts, conserved_and_preconditioner, vocabulary)


def conserved_and_preconditioner(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """The value of `conserved`, then A = left^-1 right, in one row."""
    return np.array([evaluate(parts["conserved"], values), *np.ravel(solution_of_system(parts, values))])


def gradient_points(name: str) -> list[dict[str, Any]]:
    """Weights, and a gradient of any batch with the rate h."""
    points = []
    for k, weights in enumerate(weight_points(name)):
        other = weight_points(f"{name}/gradient/{k}")[k]
        gradients = {f"g_{letter}": other[letter] for letter in ("u12", "u", "U", "u21")}
        points.append({**weights, **gradients, "h": positive_fraction(random.Random(f"{name}/h/{k}"))})
    return points


def preconditioner_points(name: str) -> list[dict[str, Any]]:
    """Laws with a random A, not symmetric."""
    laws = rational_points(name)
    return [
        {**law, "A": fractions(random.Random(f"{name}/A/{k}"), len(law["Lambda"]), len(law["Lambda"]))}
        for k, law in enumerate(laws)
    ]


def risk_of_trained_layer(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """The polynomial `risk` at the solution of the system."""
    return evaluate(parts["risk"], {**values, "A": solution_of_system(parts, values)})


# Rational points


def rational_points(name: str) -> list[dict[str, Any]]:
    """Points for A*: non-commuting Lambda and Psi, N and sigma^2; d = 1, 2, 2, 3."""
    return [point(random.Random(f"{name}/{k}"), d) for k, d in enumerate(DIMENSIONS)]


def point(draw: random.Random, d: int) -> dict[str, Any]:
    """One point, every value a fraction."""
    n = draw.randint(2, 999)
    return {
        "Lambda": positive_definite(draw, d),
        "Psi": positive_definite(draw, d),
        "N": Fraction(n),
        NEXT_LENGTH: Fraction(n + 1),
        "sigma2": positive_fraction(draw),
    }


def fraction(draw: random.Random) -> Fraction:
    """A random fraction between -1 and 1, not 0."""
    return positive_fraction(draw) * draw.choice((-1, 1))


def positive_fraction(draw: random.Random) -> Fraction:
    """A random fraction in (0, 1]."""
    return Fraction(draw.randint(1, 997), 997)


def fractions(draw: random.Random, rows: int, cols: int) -> Array:
    """A matrix of random fractions."""
    return np.array([[fraction(draw) for _ in range(cols)] for _ in range(rows)], dtype=object)


def positive_definite(draw: random.Random, d: int) -> Array:
    """R R^T for a random R, plus the identity."""
    root = fractions(draw, d, d)
    matrix: Array = root @ root.T + exact_identity(d)
    return matrix


def exact_identity(d: int) -> Array:
    """I with fractions as entries."""
    return np.array([[Fraction(int(i == j)) for j in range(d)] for i in range(d)], dtype=object)


def two_law_points(name: str) -> list[dict[str, Any]]:
    """A training law and a test law: the letters of the second have a prime, its length is M."""
    points = []
    for k, d in enumerate(DIMENSIONS):
        training, tested = point(random.Random(f"{name}/{k}"), d), point(random.Random(f"{name}/test/{k}"), d)
        points.append({**training, **with_primes(tested)})
    return points


def query_points(name: str) -> list[dict[str, Any]]:
    """The same with second moments Q of the query."""
    points = two_law_points(name)
    return [
        {**one, "Q": positive_definite(random.Random(f"{name}/query/{k}"), len(one["Lambda"]))}
        for k, one in enumerate(points)
    ]


def with_primes(values: Mapping[str, Any]) -> dict[str, Any]:
    """The letters of a law as those of a test law."""
    return {"Lambda'": values["Lambda"], "Psi'": values["Psi"], "sigma2'": values["sigma2"], "M": values["N"]}


def random_length_points(name: str) -> list[dict[str, Any]]:
    """The same with two or three lengths in the place of N."""
    points = []
    for k, one in enumerate(rational_points(name)):
        lengths = random.Random(f"{name}/lengths/{k}").sample(range(1, 1000), 2 + k % 2)
        points.append({**{key: v for key, v in one.items() if key not in ("N", NEXT_LENGTH)}, **moments(lengths)})
    return points


def moments(lengths: Sequence[int]) -> dict[str, Fraction]:
    """E[1/N], E[1/N^2], E[1/(N+1)] and 1/E[N] for equally likely lengths."""
    share = Fraction(1, len(lengths))
    return {
        "m1": sum((share / n for n in lengths), Fraction(0)),
        "m2": sum((share / n**2 for n in lengths), Fraction(0)),
        "E[1/(N+1)]": sum((share / (n + 1) for n in lengths), Fraction(0)),
        "1/E[N]": 1 / sum((share * n for n in lengths), Fraction(0)),
    }


def uniform_points(name: str) -> list[dict[str, Any]]:
    """Lambda = lam I, as for x ~ U(-a, a)^d with lam = a^2/3; kappa = -6/5."""
    points = []
    for k, d in enumerate(DIMENSIONS):
        draw = random.Random(f"{name}/{k}")
        eye = exact_identity(d)
        values = {key: v for key, v in point(draw, d).items() if key in ("N", NEXT_LENGTH)}
        points.append({**values, **kurtosis(), "Lambda": eye * positive_fraction(draw), "Psi": eye})
    return points


def kurtosis() -> dict[str, Fraction]:
    """kappa and E z^4 of the standardised uniform law."""
    from .uniform_covariates import excess_kurtosis

    return {"kappa": excess_kurtosis(), "E[z^4]": excess_kurtosis() + 3}


def prompt_points(name: str) -> list[dict[str, Any]]:
    """Prompts with rational entries, and weights u, U."""
    return [prompt_point(random.Random(f"{name}/{k}"), d) for k, d in enumerate(DIMENSIONS)]


def prompt_point(draw: random.Random, d: int) -> dict[str, Any]:
    """One prompt of d + 1 to d + 3 examples: never d, which N could be mistaken for."""
    n = d + draw.randint(1, 3)
    return {
        "samples": {"x": [fractions(draw, d, 1) for _ in range(n)], "y": [fractions(draw, 1, 1) for _ in range(n)]},
        "x_q": fractions(draw, d, 1),
        "U": fractions(draw, d, d),
        "I": exact_identity(d),
        "u": fraction(draw),
        "N": Fraction(n),
        NEXT_LENGTH: Fraction(n + 1),
    }


def weight_points(name: str) -> list[dict[str, Any]]:
    """Covariances and weights with rational entries, for the loss."""
    points = []
    for k, d in enumerate(DIMENSIONS):
        draw = random.Random(f"{name}/{k}")
        prompt = prompt_point(draw, d)
        weights = {"u12": prompt["samples"]["x"][0], "u21": prompt["x_q"], "u": prompt["u"], "U": prompt["U"]}
        points.append({**point(draw, d), **weights})
    return points
