r"""Exact risks of what needs no training, at every prefix: zero, averaging, one gradient step, least squares.

After N examples x_i ~ N(0, I_d), y_i = w.x_i + e_i, e_i of variance sigma^2, an estimate w_hat has the risk
E |w_hat - w|^2 = E (w_hat.x_q - w.x_q)^2 on the noiseless target.
Main statements
    turned examples    all estimates here turn with the examples, whose law does not change when turned: the risk is a
                       function of W = E |w|^2 alone, whatever the law of w: dense, sparse, or one fixed w
    zero               W; that of all of them at N = 0
    one step           w_hat = (eta/N) sum y_i x_i, the gradient step of rate eta from 0 on the mean square error/2:
                       (1 - eta)^2 W + eta^2 ((d + 1) W + sigma^2 d)/N;  averaging is eta = 1
    best rate          eta = N W/((N + d + 1) W + sigma^2 d), with risk (1 - eta) W
    least squares      of least norm: W (1 - N/d) + sigma^2 N/(d - N - 1) for N <= d - 2, sigma^2 d/(N - d - 1) for
                       N >= d + 2; without noise max(0, 1 - N/d) W for every N; with noise infinite for N = d - 1,
                       d, d + 1 (N >= 1)
Derivation
    The step is the layer of `one_layer.risk` with A = eta I. Least squares: given X its error is -(I - P) w + X^+ e
    with P the projection on the span of the examples, so that W tr(I - P)/d + sigma^2 tr G^-1, with G the Gram matrix
    of the smaller side, k x k from m samples. E tr G^-1 = k/(m - k - 1): k times the mean of 1/chi^2 with m - k + 1
    degrees of freedom (`one_layer.baselines`), which is infinite for 1 and 2 degrees.
Assumptions
    x_i and x_q ~ N(0, I), independent of w and of e; e of mean 0 and independent entries, of any law.
References
    The curves: [garg2022can], [yadlowsky2023pretraining]. E of an inverse Wishart matrix: [muirhead1982aspects]. The
    rest is ours.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import permutations, product
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.formulas import Formula, SingularSystemError, Values
from ..algebra.printing import to_latex, to_sympy
from ..algebra.trace_polynomials import TracePolynomial, scalar, substitute
from ..one_layer.assumptions import (
    AssumptionError,
    check_dimension,
    check_non_negative,
    check_number,
    check_positive,
    is_whole,
)
from ..one_layer.baselines import mean_inverse_chi_square
from ..one_layer.enumeration import layer_prediction, prompt
from ..one_layer.fixed_point import exact_value, instance_of, latex_of
from ..one_layer.risk import risk
from ..symbols import NEXT_LENGTH, PSI, SIGMA2, I, N, d

if TYPE_CHECKING:
    import sympy as sp

ETA, NORM, GAP = scalar("eta"), scalar("W"), scalar("gap")
LARGEST_DIMENSION, LONGEST = 10**6, 10**6
MOST_PREFIXES = 10_000


# The step


@cache
def step_risk_in_trace() -> TracePolynomial:
    """The risk of one step for tasks of second moments Psi: a polynomial in tr Psi alone."""
    at = {"A": ETA * I, "Lambda'": I, "Psi'": PSI}
    return substitute(risk(), at, {"sigma2'": SIGMA2, "M": N})


@cache
def step_risk() -> TracePolynomial:
    """The same with W = tr Psi = E |w|^2."""
    return substitute(step_risk_in_trace(), {"Psi": NORM * d**-1 * I})


@cache
def best_rate() -> tuple[sp.Expr, sp.Expr]:
    """(eta, risk at eta): where the parabola in eta is least.

    >>> best_rate()[0]
    N*W/(N*W + W*d + W + d*sigma2)
    """
    import sympy as sp

    eta, parabola = sp.Symbol("eta", positive=True), to_sympy(step_risk())
    (found,) = sp.solve(sp.diff(parabola, eta), eta)
    rate = sp.cancel(found)
    return rate, sp.cancel(parabola.subs(eta, rate))


# Least squares


@cache
def kernel_share() -> sp.Expr:
    """E (I - P) = share I for N < d: a multiple of the identity, as P turns with the examples, with trace d - N."""
    import sympy as sp

    dimension, length = (sp.Symbol(name, positive=True) for name in ("d", "N"))
    share = sp.Symbol("share")
    (found,) = sp.solve(share * dimension - (dimension - length), share)  # tr(I - P) = d - N: the rank of X is N
    return sp.cancel(found)


@cache
def inverse_trace() -> sp.Expr:
    """E tr G^-1 for k x k from m samples, with gap = m - k - 1 > 0."""
    import sympy as sp

    k, gap, q = (sp.Symbol(name, positive=True) for name in ("k", "gap", "q"))
    return sp.cancel(k * mean_inverse_chi_square().subs(q, gap + 2))  # q = m - k + 1


def least_squares_parts() -> dict[str, TracePolynomial]:
    """The risk below and above the dimension in N, d, W, sigma^2 and the gap; and the gap on either side."""
    W, sigma2 = NORM, SIGMA2
    numerator, denominator = polynomial_of(kernel_share())
    top, bottom = polynomial_of(inverse_trace())
    noise = {name: substitute(top, scalars={"k": k}) for name, k in (("below", N), ("above", d))}
    return {
        "below": W * numerator * denominator**-1 + sigma2 * noise["below"] * bottom**-1,
        "above": sigma2 * noise["above"] * bottom**-1,
        "gap below": d - N - 1,
        "gap above": N - d - 1,
    }


def polynomial_of(expression: sp.Expr) -> tuple[TracePolynomial, TracePolynomial]:
    """Numerator and denominator of a rational function of symbols, as polynomials in scalars."""
    import sympy as sp

    def scalars(part: sp.Expr) -> TracePolynomial:
        symbols = sorted(part.free_symbols, key=str)
        total = 0 * scalar("N") ** 0
        for powers, value in sp.Poly(part, *symbols).terms() if symbols else [((), part)]:
            term = Fraction(str(value)) * scalar("N") ** 0
            for symbol, power in zip(symbols, powers, strict=True):
                term = term * scalar(str(symbol)) ** power
            total = total + term
        return total

    top, bottom = sp.fraction(expression)
    return scalars(top), scalars(bottom)


# Instances


@dataclass(frozen=True)
class Instance:
    """Rational examples X (n, d) below and above the dimension, a task and a noise level; sigma2 = noise^2.

    >>> [one.shape for one in instance(0).examples]
    [(2, 3), (3, 2)]
    """

    seed: int
    examples: tuple[Array, ...]
    task: Array
    squared_norm: Fraction
    noise_variance: Fraction


def instance(seed: int) -> Instance:
    """The seed-th instance."""
    draw = random.Random(f"baselines/{seed}")
    shapes = ((2, 3), (3, 2)) if seed % 2 == 0 else ((1, 3), (4, 2))
    examples = tuple(regular(lambda shape=shape: fractions(draw, *shape)) for shape in shapes)
    return Instance(
        seed, examples, fractions(draw, 3, 1), Fraction(draw.randint(1, 9), 4), Fraction(draw.randint(1, 9), 5)
    )


def fractions(draw: random.Random, rows: int, columns: int) -> Array:
    return np.array([[Fraction(draw.randint(-6, 6), 3) for _ in range(columns)] for _ in range(rows)], dtype=object)


def regular(make: Any) -> Array:
    """The first matrix of full rank."""
    while True:
        X: Array = make()
        try:
            exact_inverse(gram(X))
        except ValueError:
            continue
        return X


def gram(X: Array) -> Array:
    """The Gram matrix of the smaller side."""
    found: Array = X @ X.T if X.shape[0] <= X.shape[1] else X.T @ X
    return found


def pseudo_inverse(X: Array) -> Array:
    """X^+ of a matrix of full rank, exactly."""
    found: Array = X.T @ exact_inverse(gram(X)) if X.shape[0] <= X.shape[1] else exact_inverse(gram(X)) @ X.T
    return found


def eye(size: int) -> Array:
    return np.array([[Fraction(int(i == j)) for j in range(size)] for i in range(size)], dtype=object)


def enumerated_step(seed: int) -> tuple[Any, Any]:
    """E (prediction - w.x_q)^2 of the layer with A = eta I on N(0, I) in components, and the polynomial."""
    given, rate = instance_of((seed, False)), Fraction(seed + 2, 3)
    one, nothing = eye(given.dimension), 0 * given.u12
    at = replace(given, covariance_root=one, u=1, U=rate * one, u12=nothing, u21=nothing)
    drawn = prompt(at)
    error = layer_prediction(at, drawn.embedding) - drawn.target
    values = {**at.values(), "eta": rate}
    return at.mean(error * error), evaluate(step_risk_in_trace(), values)


def best_rate_check(seed: int) -> tuple[list[Any], list[Any]]:
    """The parabola at the best rate, and how it rises on both sides of it."""
    draw = random.Random(f"best rate/{seed}")
    values = {name: Fraction(draw.randint(1, 20), draw.randint(1, 7)) for name in ("W", "sigma2", "N", "d")}
    rate, least = (exact_value(one, values) for one in best_rate())
    sides = [evaluate_scalars(step_risk(), {**values, "eta": rate + h}) for h in (0, Fraction(1, 3), Fraction(-1, 3))]
    return [least, sides[1] - sides[2]], [sides[0], 0]


def evaluate_scalars(polynomial: TracePolynomial, values: Mapping[str, Any]) -> Any:
    """A polynomial in scalars, exactly: no matrix is there to tell exact values from floats."""
    total = Fraction(0)
    for monomial, coefficient in polynomial.terms.items():
        term = coefficient
        for name, power in monomial.scalars:
            term = term * values[name] ** power
        total = total + term
    return total


def mean_error(X: Array, squared_norm: Fraction, noise_variance: Fraction) -> Fraction:
    """E |X^+ (X w + e) - w|^2 over w = +-sqrt(W) e_j and e = +-sqrt(n) sigma e_i, in exact numbers.

    Signs of w and e are independent, so the mixed term is zero and each square is a mean over the axes.
    """
    dimension = X.shape[1]
    back = pseudo_inverse(X)
    bias, noise = back @ X - eye(dimension), back
    of_bias = squared_norm * sum(entry**2 for entry in bias.ravel()) / dimension
    return Fraction(of_bias + noise_variance * sum(entry**2 for entry in noise.ravel()))


def error_check(given: Instance) -> tuple[list[Fraction], list[Fraction]]:
    """Means over tasks and noises at fixed examples, and W tr(I - P)/d + sigma^2 tr G^-1."""
    left, right = [], []
    for X in given.examples:
        n, dimension = X.shape
        left.append(mean_error(X, given.squared_norm, given.noise_variance))
        kernel = Fraction(max(0, dimension - n), dimension)
        inverse = np.trace(exact_inverse(gram(X)))
        right.append(given.squared_norm * kernel + given.noise_variance * inverse)
    return left, right


def share_check(given: Instance) -> tuple[Fraction, Fraction]:
    """The mean of |(I - P) O w|^2 over signed permutations O, with P of the examples below the dimension."""
    X, w = given.examples[0], given.task
    n, size = X.shape
    kernel = eye(size) - pseudo_inverse(X) @ X
    total, count = Fraction(0), 0
    for order, signs in product(permutations(range(size)), product((1, -1), repeat=size)):
        turned = np.array([[sign * w[place, 0]] for place, sign in zip(order, signs, strict=True)], dtype=object)
        total, count = total + (turned.T @ kernel @ turned)[0, 0], count + 1
    share = exact_value(kernel_share(), {"N": Fraction(n), "d": Fraction(size)})
    return total / count, share * (w.T @ w)[0, 0]


def divergence(X: Array) -> Any:
    """sum_ij d/dX_ij (X G^-1)_ij for X (m, k), G = X^T X; derivatives by the product rule."""
    G_inverse = exact_inverse(X.T @ X)
    total = Fraction(0)
    for i, j in product(range(X.shape[0]), range(X.shape[1])):
        step = 0 * X
        step[i, j] = Fraction(1)
        moved = step @ G_inverse - X @ G_inverse @ (step.T @ X + X.T @ step) @ G_inverse
        total += moved[i, j]
    return total


def inverse_check(given: Instance) -> tuple[list[Any], list[Any]]:
    """div(X G^-1) = gap tr G^-1 at every X; its mean is E tr(X^T X G^-1) = k by parts in the normal density."""
    left, right = [], []
    for X in given.examples:
        tall = X if X.shape[0] > X.shape[1] else X.T
        m, k = tall.shape
        left.append(divergence(tall))
        gap = Fraction(m - k - 1)
        right.append(gap * np.trace(exact_inverse(tall.T @ tall)))
    return left, right


def least_squares_check(given: Instance) -> tuple[list[Any], list[Any]]:
    """Both sides of the risk from the means of the last two steps, and from the parts of the formula."""
    left, right, parts = [], [], least_squares_parts()
    for small, gap in ((2, 3), (1, 1), (4, 2)):
        large = small + gap + 1
        values = {"W": given.squared_norm, "sigma2": given.noise_variance}
        inverse = exact_value(inverse_trace(), {"k": Fraction(small), "gap": Fraction(gap)})
        for side, (n, size) in (("below", (small, large)), ("above", (large, small))):
            at = {**values, "N": Fraction(n), "d": Fraction(size)}
            share = exact_value(kernel_share(), at) if n < size else Fraction(0)
            left.append(values["W"] * share + values["sigma2"] * inverse)
            found = evaluate_scalars(parts[f"gap {side}"], at)
            right.append(evaluate_scalars(parts[side], {**at, "gap": found}))
    return left, right


NEAR = (
    "For N = d - 1, d, d + 1 the chi^2 has 2, 1 or 2 degrees of freedom, and E 1/chi^2 = oo, for the density t^(q/2 - "
    "1) e^(-t/2) over t is not integrable at 0: with noise the risk is infinite there. Without noise the second term "
    "is 0."
)


@cache
def derivation() -> Derivation:
    """From the risk of the layer to a step, and from the error given the examples to least squares."""
    rate, least = best_rate()
    parts = least_squares_parts()
    steps = (
        equality(
            "one gradient step",
            ("E |eta/N sum y_i x_i - w|^2", r"\mathbb{E}\,\lvert\tfrac{\eta}{N}\textstyle\sum y_i x_i - w\rvert^2"),
            step_risk_in_trace(),
            "the risk of the layer (test-risk) at A = eta I and Lambda' = I; only tr Psi = E |w|^2 = W is left of w",
            lambda given: enumerated_step(given.seed),
        ),
        Step(
            "best rate",
            "(eta, risk) where the parabola in eta is least",
            f"{rate}, {least}",
            rf"\eta^* = {latex_of(rate)},\quad \text{{risk}} = {latex_of(least)}",
            "the one zero of its slope; W = tr Psi",
            lambda given: best_rate_check(given.seed),
            forms={"risk": step_risk(), "rate": rate, "least": least},
        ),
        Step(
            "error of least squares given the examples",
            "E [|w_hat - w|^2 | X]",
            "W tr(I - P)/d + sigma^2 tr G^-1",
            r"\mathbb{E}[\lvert\hat w - w\rvert^2 \mid X] = \tfrac{W}{d}\operatorname{tr}(I - P) "
            r"+ \sigma^2\operatorname{tr} G^{-1}",
            "w_hat - w = -(I - P) w + X^+ e with tr X^+ X^+T = tr G^-1; over turns of w, E w w^T is (W/d) I",
            error_check,
        ),
        Step(
            "projection",
            "E |(I - P) w|^2/|w|^2, N < d",
            str(kernel_share()),
            rf"\mathbb{{E}}\,(I - P) = {latex_of(kernel_share())}\, I",
            "its mean over turns of the examples commutes with all turns: a multiple of I with trace d - N",
            share_check,
            forms={"share": kernel_share()},
        ),
        Step(
            "inverse Wishart matrix",
            "E tr G^-1, k x k from m samples, gap = m - k - 1 > 0",
            str(inverse_trace()),
            rf"\mathbb{{E}}\operatorname{{tr}} G^{{-1}} = {latex_of(inverse_trace())},\quad \text{{gap}} = m - k - 1",
            "(G^-1)_11 is 1/chi^2 with m - k + 1 degrees of freedom; and by parts, div(X G^-1) = gap tr G^-1 has the "
            "mean E tr(X^T X G^-1) = k",
            inverse_check,
            proof=NEAR,
            forms={"trace": inverse_trace()},
        ),
        Step(
            "least squares",
            "E |w_hat - w|^2 below and above the dimension",
            "; ".join(f"{parts[side]!r} with gap = {parts[f'gap {side}']!r}" for side in ("below", "above")),
            rf"{to_latex(parts['below'])}\ \ (N \le d - 2),\qquad {to_latex(parts['above'])}\ \ (N \ge d + 2)",
            "the means of the last two steps",
            least_squares_check,
            forms=parts,
        ),
    )
    results = {"one step": step_risk(), "best rate": rate, **parts}
    return Derivation(replace(STATEMENT, latex=steps[5].latex), steps, results, instance)


GAUSSIAN_INPUTS = "x_i, x_q ~ N(0, I_d), independent of w and of the noise; E |w|^2 = W, any law of w"
ANY_NOISE = "noise of mean 0 and variance sigma^2, independent from example to example, of any law"
STATEMENT = Statement(
    identifier="baseline-risks",
    title="Exact risks of zero, averaging, one gradient step and least squares at every prefix",
    latex="",  # the derived formula, filled in by `derivation`
    text=(
        "On examples x ~ N(0, I_d) the risk of the noiseless target is known at every number N of examples, for every "
        "law of w with E |w|^2 = W, dense or sparse: W for the prediction 0; a parabola in the rate for one gradient "
        "step (rate 1: averaging); W (1 - N/d) + sigma^2 N/(d - N - 1) below and sigma^2 d/(N - d - 1) above the "
        "dimension for least squares of least norm, which with noise is infinite at N = d - 1, d, d + 1."
    ),
    assumptions=(GAUSSIAN_INPUTS, ANY_NOISE),
    conventions="risk = E (w_hat.x_q - w.x_q)^2 = E |w_hat - w|^2, no factor 1/2; N examples seen; 1/N in the step",
    sources=(
        Source("garg2022can", "Section 3 and Figure 2 (averaging and least squares, plotted)"),
        Source("yadlowsky2023pretraining", "the setting"),
        Source("ours", "closed forms for every prefix"),
    ),
    uses=("test-risk",),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """The risks of one step and of least squares."""
    others = {
        "N": (NEXT_LENGTH, "d"), "d": ("N",), "W": ("sigma2",), "sigma2": ("W",), "eta": ("W",), "gap": ("N", "d"),
    }  # fmt: skip
    return Formula({"step": step_risk(), **least_squares_parts()}, step_and_least_squares, Vocabulary(others))


def step_and_least_squares(parts: Mapping[str, TracePolynomial], values: Values) -> Array:
    """(risk of one step, risk of least squares) at N, d, W, sigma2, eta. Raises SingularSystemError at a gap of 0."""
    return np.array([risk_of_step(parts, values), risk_of_least_squares(parts, values)], dtype=object)


def risk_of_step(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """The risk of one step alone."""
    return evaluate_scalars(parts["step"], {**values, NEXT_LENGTH: values["N"] + 1})


def risk_of_least_squares(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """That of least squares, where N and d differ by two or more."""
    at = {**values, NEXT_LENGTH: values["N"] + 1}
    side = "below" if at["N"] < at["d"] else "above"
    gap = evaluate_scalars(parts[f"gap {side}"], at)
    if gap == 0:
        raise SingularSystemError("need a gap that is not 0")
    return evaluate_scalars(parts[side], {**at, "gap": gap})


def points(name: str) -> list[dict[str, Any]]:
    """Rational points on both sides of the dimension."""
    found = []
    for k, (length, size) in enumerate(((2, 7), (3, 11), (9, 4), (13, 5), (1, 4))):
        draw = random.Random(f"{name}/baselines/{k}")
        numbers = {name: Fraction(draw.randint(1, 60), draw.randint(1, 9)) for name in ("W", "sigma2", "eta")}
        found.append({"N": Fraction(length), "d": Fraction(size), **numbers})
    return found


# Public numbers


def letters(dimension: Any, length: Any, squared_norm: Any, noise_variance: Any, rate: Any) -> dict[str, Any]:
    """The values of one setting as exact numbers."""
    named = {"N": length, "d": dimension, "W": squared_norm, "sigma2": noise_variance, "eta": rate}
    return {name: Fraction(value) for name, value in named.items()}


def step_risk_at(dimension: int, length: int, squared_norm: float, noise_variance: float, rate: float) -> float:
    """The risk of one step of that rate; W at N = 0.

    >>> step_risk_at(3, 4, 2.0, 0.0, 1.0)
    2.0
    """
    if not length:
        return float(squared_norm)
    at = letters(dimension, length, squared_norm, noise_variance, rate)
    return float(evaluate_scalars(step_risk(), at))


def best_rate_at(dimension: int, length: int, squared_norm: float, noise_variance: float) -> float:
    """The rate of the least risk; 0 at N = 0, and where W = 0.

    >>> best_rate_at(3, 4, 2.0, 0.0)
    0.5
    """
    if not length or not squared_norm:
        return 0.0
    return float(exact_value(best_rate()[0], letters(dimension, length, squared_norm, noise_variance, 0)))


def least_squares_risk(dimension: int, length: int, squared_norm: float, noise_variance: float) -> float:
    """The risk of least squares of least norm; W at N = 0, infinite with noise where N and d differ by at most one.

    >>> least_squares_risk(20, 10, 20.0, 0.0), least_squares_risk(20, 19, 20.0, 0.0), least_squares_risk(4, 4, 1.0, 0.1)
    (10.0, 1.0, inf)
    """
    if not length:
        return float(squared_norm)
    if abs(length - dimension) < 2:
        if noise_variance:
            return math.inf
        share = exact_value(kernel_share(), letters(dimension, min(length, dimension), 0, 0, 0))
        return float(Fraction(squared_norm) * share)
    at = letters(dimension, length, squared_norm, noise_variance, 0)
    return float(risk_of_least_squares(formula().parts, at))


INFINITE = (
    "with noise the risk of least squares is infinite where the number of examples is d - 1, d or d + 1: E 1/chi^2 "
    "diverges for 1 and 2 degrees of freedom"
)


def squared_norm_of(dimension: int, squared_norm: Any, nonzeros: Any, variance: Any) -> float:
    """W: given, or the number of nonzero coefficients times their variance. Raises AssumptionError."""
    if squared_norm is not None:
        if nonzeros is not None or variance is not None:
            raise AssumptionError("need squared_norm, or nonzeros and variance, got both; leave one of them out")
        return check_non_negative(squared_norm, "squared_norm")
    count = dimension if nonzeros is None else check_nonzeros(nonzeros, dimension)
    return count * (1.0 if variance is None else check_positive(variance, "variance"))


def check_nonzeros(value: Any, dimension: int) -> int:
    """A whole number from 1 to d."""
    if not is_whole(value) or not 1 <= value <= dimension:
        raise AssumptionError(f"need nonzeros as a whole number from 1 to {dimension}, got {value!r}")
    return int(value)


def check_lengths(value: Any, dimension: int) -> list[int]:
    """Numbers of examples: a list, or the largest of 0, 1, ..; None for 0 to 2 d. Raises AssumptionError."""
    listed = list(value) if isinstance(value, list | tuple) else None
    if listed is None:
        largest = 2 * dimension if value is None else value
        if not is_whole(largest) or not largest >= 0:
            raise AssumptionError(
                f"need lengths as a list of numbers of examples or as the largest one, got {value!r}; write [0, 5, 10]"
            )
        if largest >= MOST_PREFIXES:
            raise AssumptionError(f"need at most {MOST_PREFIXES} numbers of examples, got {largest}; give a list")
        listed = list(range(int(largest) + 1))
    if not listed or len(listed) > MOST_PREFIXES:
        raise AssumptionError(f"need 1 to {MOST_PREFIXES} numbers of examples, got {len(listed)}")
    for one in listed:
        if not is_whole(one) or not 0 <= one <= LONGEST:
            raise AssumptionError(f"each of lengths needs a whole number from 0 to {LONGEST}, got {one!r}")
    return [int(one) for one in listed]


def check_size(value: Any) -> int:
    """d, up to LARGEST_DIMENSION."""
    dimension = check_dimension(value)
    if dimension > LARGEST_DIMENSION:
        raise AssumptionError(f"need a dimension of at most {LARGEST_DIMENSION}, got {dimension}")
    return dimension


def prediction(
    dimension: Any,
    lengths: Any = None,
    squared_norm: Any = None,
    nonzeros: Any = None,
    variance: Any = None,
    noise_variance: Any = 0.0,
    rate: Any = None,
) -> dict[str, Any]:
    """The curves over `lengths`; rate None stands for the best one at each. Raises AssumptionError.

    >>> found = prediction(4, [0, 2, 8], squared_norm=1.0, noise_variance=0.5)
    >>> found["averaging"], found["least_squares"]
    ([1.0, 3.5, 0.875], [1.0, 1.5, 0.6666666666666666])
    """
    size = check_size(dimension)
    prefixes = check_lengths(lengths, size)
    W, noise = (
        squared_norm_of(size, squared_norm, nonzeros, variance),
        check_non_negative(noise_variance, "noise_variance"),
    )
    given = None if rate is None else check_number(rate, "rate")
    rates = [best_rate_at(size, n, W, noise) if given is None else given for n in prefixes]
    least_squares = [least_squares_risk(size, n, W, noise) for n in prefixes]
    return {
        "lengths": prefixes,
        "zero": [W] * len(prefixes),
        "averaging": [step_risk_at(size, n, W, noise, 1.0) for n in prefixes],
        "one_step": [step_risk_at(size, n, W, noise, eta) for n, eta in zip(prefixes, rates, strict=True)],
        "rates": rates,
        "least_squares": [value if math.isfinite(value) else None for value in least_squares],
        "least_squares_infinite": None if all(map(math.isfinite, least_squares)) else INFINITE,
    }
