r"""The Bayes predictor of a mixture of linear functions and sinusoids of one variable.

    f(x) = w x with probability pi, w ~ N(0, b); else f(x) = a sin(omega x + phi), a ~ N(0, v), omega ~ U(l, h),
    phi ~ U(0, 2 pi); y_i = f(x_i) + e_i, e_i ~ N(0, sigma2), i = 1 .. N.
Main statements
    one coefficient  where f(x_i) = u r_i with u ~ N(0, v), and R = sum r^2, C = sum r y, Y = sum y^2, D = sigma2 + v R:
                     E[u | y] = v C/D and
                     -2 ln p(y) = N ln 2 pi + (N - 1) ln sigma2 + ln D + (Y D - v C^2)/(sigma2 D)
    phase            with (p, q) = (cos phi, sin phi), S = sin omega x and K = cos omega x the row is S p + K q: five
                     sums over the prompt for each omega are enough; phi + pi in the place of phi changes nothing
    mixture          the prediction is the mean of the models' predictions with weights prior times p(y)
Assumptions
    As above; the models' integral over omega and phi is a quadrature, whose error is estimated by doubling.
Reference
    The mixture is in the manner of [yadlowsky2023pretraining, Figure 4]; its constants are parameters here.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import evaluate
from ..algebra.formulas import Formula, Values
from ..algebra.matrix_derivatives import derivative
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, number, scalar, substitute
from ..one_layer.assumptions import AssumptionError, check_number, check_positive, real_array

u, v, SIGMA2 = scalar("u"), scalar("v"), scalar("sigma2")
R, C, Y = scalar("R"), scalar("C"), scalar("Y")
p, q = scalar("p"), scalar("q")
A, B, G, C_1, C_2 = (scalar(name) for name in ("A", "B", "G", "c_1", "c_2"))
first, second, m, n, f = (scalar(name) for name in ("a", "b", "m", "n", "f"))


# The derivation


def at_zero(polynomial: TracePolynomial, name: str) -> TracePolynomial:
    """A polynomial where one of its letters is 0."""
    return substitute(polynomial, scalars={name: number(0)})


@cache
def joint() -> TracePolynomial:
    """sigma2 v times (sum (y - u r)^2/sigma2 + u^2/v): -2 ln p(y, u) without its constants."""
    return v * (Y - 2 * u * C + u**2 * R) + SIGMA2 * u**2


@cache
def precision() -> TracePolynomial:
    """D, the coefficient of u^2 in the joint exponent.

    >>> precision()
    R v + sigma2
    """
    return derivative(derivative(joint(), "u"), "u") / 2


@cache
def mean() -> TracePolynomial:
    """D E[u | y]: where the slope of the joint exponent vanishes."""
    return -at_zero(derivative(joint(), "u"), "u") / 2


@cache
def left() -> TracePolynomial:
    """sigma2 D times what the square leaves of the exponent: (D joint(0) - mean^2)/v."""
    return (precision() * at_zero(joint(), "u") - mean() ** 2) * v**-1


@cache
def squares() -> TracePolynomial:
    """R by phase: sum (S p + K q)^2 with A = sum S^2, B = sum S K, G = sum K^2."""
    S, K = scalar("S"), scalar("K")
    expanded = (S * p + K * q) ** 2
    return sum_of_products(expanded, {("S", "S"): A, ("K", "S"): B, ("K", "K"): G})


@cache
def products() -> TracePolynomial:
    """C by phase: sum (S p + K q) y with c_1 = sum S y, c_2 = sum K y."""
    S, K, y = scalar("S"), scalar("K"), scalar("y")
    return sum_of_products((S * p + K * q) * y, {("S", "y"): C_1, ("K", "y"): C_2})


def sum_of_products(polynomial: TracePolynomial, sums: Mapping[tuple[str, str], TracePolynomial]) -> TracePolynomial:
    """The letters of one example, two in each term, replaced by their sums over the prompt."""
    found = number(0)
    for (one, other), total in sums.items():
        part = derivative(derivative(polynomial, one), other)
        found = found + part * total / (2 if one == other else 1)
    return found


@cache
def risk() -> TracePolynomial:
    """What a prediction f costs where two models have the weights a and b and the means m and n."""
    return first * (m - f) ** 2 + second * (n - f) ** 2


@cache
def weight() -> TracePolynomial:
    """The coefficient of f^2 in that cost."""
    return derivative(derivative(risk(), "f"), "f") / 2


@cache
def weighted() -> TracePolynomial:
    """`weight` times the best f."""
    return -at_zero(derivative(risk(), "f"), "f") / 2


# Instances: literal prompts


def instance(seed: int) -> dict[str, Any]:
    """A rational prompt: rows r, labels y, S and K, a phase on the circle, and letters."""
    draw = random.Random(f"sinusoid posterior/{seed}")

    def one(low: int = -60) -> Fraction:
        return Fraction(draw.randint(low, 60), 17)

    length, t = 2 + seed % 3, one()
    letters = {name: one(1) for name in ("v", "sigma2", "a", "b")} | {name: one() for name in ("u", "m", "n", "f")}
    lists = {name: [one() for _ in range(length)] for name in ("r", "y", "S", "K")}
    return {**letters, **lists, "p": (1 - t * t) / (1 + t * t), "q": 2 * t / (1 + t * t)}


def total(left_side: list[Fraction], right_side: list[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(left_side, right_side, strict=True)), Fraction(0))


def letters_of(at: Mapping[str, Any]) -> dict[str, Any]:
    """The sums of a prompt, beside its letters."""
    r, y, S, K = (at[name] for name in ("r", "y", "S", "K"))
    sums = {
        "R": total(r, r), "C": total(r, y), "Y": total(y, y), "A": total(S, S), "B": total(S, K), "G": total(K, K),
        "c_1": total(S, y), "c_2": total(K, y),
    }  # fmt: skip
    return {**{name: value for name, value in at.items() if not isinstance(value, list)}, **sums}


def value(polynomial: TracePolynomial, at: Mapping[str, Any]) -> Any:
    """The exact value of a polynomial at a prompt."""
    letters = {name: np.array(one, dtype=object) for name, one in letters_of(at).items()}
    return np.asarray(evaluate(polynomial, letters), dtype=object)[()]


def completed(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """D times the joint exponent, example by example, and the square with what it leaves."""
    v_, s, u_ = at["v"], at["sigma2"], at["u"]
    literal = v_ * sum((y - u_ * r) ** 2 for r, y in zip(at["r"], at["y"], strict=True)) + s * u_**2
    D = value(precision(), at)
    return D * literal, (D * u_ - value(mean(), at)) ** 2 + v_ * value(left(), at)


def solved(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """(sigma2 I + v r r^T) (D y - v C r) and sigma2 D y; y times the vector, and what the square leaves."""
    r, y, v_, s = at["r"], at["y"], at["v"], at["sigma2"]
    D, M = value(precision(), at), value(mean(), at)
    vector = [D * y_i - M * r_i for r_i, y_i in zip(r, y, strict=True)]
    image = [s * x + v_ * r_i * total(r, vector) for r_i, x in zip(r, vector, strict=True)]
    return [*image, total(y, vector)], [*(s * D * y_i for y_i in y), value(left(), at)]


def by_phase(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """R and C of the rows S p + K q, example by example, and by the sums."""
    r = [S * at["p"] + K * at["q"] for S, K in zip(at["S"], at["K"], strict=True)]
    return [total(r, r), total(r, at["y"])], [value(squares(), at), value(products(), at)]


def turned(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """R and C after half a turn, and R and -C."""
    other = {**at, "p": -at["p"], "q": -at["q"]}
    return [value(squares(), other), value(products(), other)], [value(squares(), at), -value(products(), at)]


def best(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """weight times the cost of f, and the square with a b (m - n)^2."""
    a, b, f_, m_, n_ = (at[name] for name in ("a", "b", "f", "m", "n"))
    literal = a * (m_ - f_) ** 2 + b * (n_ - f_) ** 2
    W = value(weight(), at)
    return W * literal, (W * f_ - value(weighted(), at)) ** 2 + a * b * (m_ - n_) ** 2


SQUARE, EVIDENCE, PHASE = "completing the square", "evidence of one coefficient", "sums by phase"
TURN, MIXTURE = "half a turn of the phase", "posterior mean of a mixture"


@cache
def derivation() -> Derivation:
    """One coefficient, the phase, and the mixture."""
    D, M, L = precision(), mean(), left()
    steps = (
        Step(
            SQUARE,
            "D (v sum (y - u r)^2 + sigma2 u^2)",
            f"(D u - {to_text(M)})^2 + v ({to_text(L)}), D = {to_text(D)}",
            rf"D\Bigl(v\sum_i (y_i - u r_i)^2 + \sigma^2 u^2\Bigr) = \bigl(D u - {to_latex(M)}\bigr)^2 + "
            rf"v\,\bigl({to_latex(L)}\bigr),\quad D = {to_latex(D)}",
            "D is the coefficient of u^2, the square vanishes where the slope does: u given y is normal with the mean "
            "v C/D and the variance v sigma2/D",
            completed,
            forms={"precision": D, "mean": M, "left": L},
        ),
        Step(
            EVIDENCE,
            "-2 ln p(y)",
            f"N ln 2 pi + (N - 1) ln sigma2 + ln D + ({to_text(L)})/(sigma2 D)",
            rf"-2\ln p(y) = N\ln 2\pi + (N-1)\ln\sigma^2 + \ln D + \frac{{{to_latex(L)}}}{{\sigma^2 D}}",
            "y is normal with the covariance sigma2 I + v r r^T, whose determinant is sigma2^(N-1) D and whose inverse "
            "takes y to (D y - v C r)/(sigma2 D)",
            solved,
            forms={"determinant": D, "vector": M, "exponent": L},
        ),
        Step(
            PHASE,
            "R and C of the rows sin(omega x + phi) = S p + K q",
            f"{to_text(squares())} and {to_text(products())}",
            rf"R = {to_latex(squares())},\quad C = {to_latex(products())}",
            "S = sin omega x, K = cos omega x, p = cos phi, q = sin phi; A = sum S^2, B = sum S K, G = sum K^2, c_1 = "
            "sum S y, c_2 = sum K y",
            by_phase,
            forms={"squares": squares(), "products": products()},
        ),
        Step(
            TURN,
            "R and C at phi + pi",
            "R and -C",
            r"(R, C)(\phi + \pi) = (R, -C)(\phi)",
            "so evidence and prediction, which is v C/D times the query's row, have the period pi in phi: a and phi "
            "are known only up to (-a, phi + pi)",
            turned,
        ),
        Step(
            MIXTURE,
            "(a + b)(a (m - f)^2 + b (n - f)^2)",
            f"(({to_text(weight())}) f - ({to_text(weighted())}))^2 + a b (m - n)^2",
            rf"\bigl(({to_latex(weight())}) f - ({to_latex(weighted())})\bigr)^2 + ab\,(m-n)^2",
            "the best prediction of two models with weights a, b (prior times evidence) and means m, n is (a m + b "
            "n)/(a + b), and the first has the posterior a/(a + b); so for any number of them, and for the integral "
            "over omega and phi",
            best,
            forms={"weight": weight(), "weighted": weighted()},
        ),
    )
    results = {"precision": D, "mean": M, "left": L, "squares": squares(), "products": products()}
    return Derivation(STATEMENT, steps, results, instance)


STATEMENT = Statement(
    identifier="linear-sinusoid-posterior",
    title="The Bayes predictor of a mixture of linear functions and sinusoids",
    latex=r"\hat f(x_q) = \frac{\pi\,e_0\,\frac{b\,C_0}{D_0}\,x_q + (1-\pi)\,\mathbb E_{\omega,\phi}\, e\,"
    r"\frac{v\,C}{D}\,\sin(\omega x_q + \phi)}{\pi\,e_0 + (1-\pi)\,\mathbb E_{\omega,\phi}\, e},\quad "
    r"e = D^{-1/2}\exp\Bigl(-\frac{Y D - v C^2}{2\sigma^2 D}\Bigr)",
    text=(
        "Given examples of a function that is w x with probability pi and else a sin(omega x + phi), the mean of "
        "f(x_q) is that of the two classes weighed by their evidence; w and a are integrated out in closed form, omega "
        "and phi by a quadrature."
    ),
    assumptions=(
        "w ~ N(0, b), a ~ N(0, v), omega ~ U(l, h), phi ~ U(0, 2 pi), noise N(0, sigma2) with sigma2 > 0, independent",
        "x_1 .. x_N and x_q in any law that does not depend on the function",
    ),
    conventions="the prediction is of f(x_q), without noise; index 0 is the linear class: r = x, variance b",
    sources=(Source("ours", ""), Source("yadlowsky2023pretraining", "Figure 4 (the mixture)")),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """E[u | y], the exponent and the determinant of one model, by phase."""
    parts = {
        "precision": precision(), "mean": mean(), "left": left(), "squares": squares(), "products": products(),
    }  # fmt: skip
    vocabulary = Vocabulary(
        {"v": ("sigma2",), "sigma2": ("v",), "C": ("Y",), "Y": ("R",), "A": ("G",), "c_1": ("c_2",), "p": ("q",)}
    )
    return Formula(parts, quantities, vocabulary)


def quantities(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """(E[u | y], (Y D - v C^2)/(sigma2 D), D/sigma2) at letters of one model."""
    at = {**values, "R": evaluate(parts["squares"], values), "C": evaluate(parts["products"], values)}
    D, M, L = (evaluate(parts[name], at) for name in ("precision", "mean", "left"))
    if np.any(D == 0):
        raise ValueError("need a precision different from 0")
    return np.stack(np.broadcast_arrays(M / D, L / (values["sigma2"] * D), D / values["sigma2"]))


def points(name: str) -> list[dict[str, Any]]:
    """Rational letters."""
    names = ("v", "sigma2", "Y", "A", "B", "G", "c_1", "c_2", "p", "q")
    found = []
    for k in range(4):
        draw = random.Random(f"{name}/sinusoids/{k}")
        found.append({one: np.array(Fraction(draw.randint(1, 900), 211), dtype=object) for one in names})
    return found


# The predictor


Prompt = Mapping[str, Any]  # x (N,), y (N,), x_query, and the law's numbers
MOST = (1024, 2048)  # nodes of frequency and of phase


@cache
def gauss_legendre(count: int) -> tuple[Any, Any]:
    """Nodes in [-1, 1], and weights that add up to 2."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return nodes, weights


def row_of_class(x: Any, y: Any, query: float, variance: float, noise: float) -> tuple[dict[str, Any], Any]:
    """The letters of the linear class: the row x itself, S = x and K = 0 at phase 0."""
    sums = {"A": x @ x, "B": 0.0, "G": 0.0, "c_1": x @ y, "c_2": 0.0, "Y": y @ y}
    letters = {**sums, "p": 1.0, "q": 0.0, "v": variance, "sigma2": noise}
    return letters, query


def rows_of_sinusoids(prompt: Prompt, nodes: tuple[int, int]) -> tuple[dict[str, Any], Any, Any]:
    """Letters (frequencies, phases) of the sinusoids, the query's rows, and the logarithms of the weights."""
    points_, weights = gauss_legendre(nodes[0])
    omega = (prompt["lowest"] + prompt["highest"]) / 2 + (prompt["highest"] - prompt["lowest"]) / 2 * points_
    phi = 2 * math.pi * np.arange(nodes[1]) / nodes[1]
    x, y = prompt["x"], prompt["y"]
    S, K = np.sin(omega[:, None] * x), np.cos(omega[:, None] * x)
    sums = {"A": (S * S).sum(1), "B": (S * K).sum(1), "G": (K * K).sum(1), "c_1": S @ y, "c_2": K @ y}
    letters = {name: one[:, None] for name, one in sums.items()} | {"p": np.cos(phi), "q": np.sin(phi)}
    letters |= {"Y": np.array(y @ y), "v": prompt["amplitude_variance"], "sigma2": prompt["noise_variance"]}
    query = np.sin(omega[:, None] * prompt["x_query"] + phi)
    return letters, query, np.log(weights / 2)[:, None] - math.log(nodes[1])


def posterior_by(formula: Formula, prompt: Prompt, nodes: tuple[int, int]) -> tuple[float, float]:
    """(P(linear | examples), E[f(x_q) | examples]) by a formula; nan where it is not defined."""
    return posterior_of(*weights_by(formula, prompt, nodes))


def weights_by(formula: Formula, prompt: Prompt, nodes: tuple[int, int]) -> tuple[Any, Any, Any, Any]:
    """Log weights of the linear class and of the nodes' sinusoids, and the means of f(x_q) given each."""
    x, y, noise = prompt["x"], prompt["y"], prompt["noise_variance"]
    letters, query = row_of_class(x, y, prompt["x_query"], prompt["slope_variance"], noise)
    waves, queries, log_weights = rows_of_sinusoids(prompt, nodes)
    probability = prompt["linear_probability"]
    with np.errstate(divide="ignore", invalid="ignore"):  # ln 0 is -inf; an altered D may be negative
        u_0, exponent, determinant = formula.value(letters)
        u_s, exponents, determinants = formula.value(waves)
        linear = np.log(probability) - (exponent + np.log(determinant)) / 2
        sinusoids = np.log1p(-probability) + log_weights - (exponents + np.log(determinants)) / 2
        return linear, sinusoids, u_0 * query, u_s * queries


def posterior_of(linear: Any, sinusoids: Any, mean_: Any, means: Any) -> tuple[float, float]:
    """The linear class's share of the weights, and the weighted mean."""
    with np.errstate(divide="ignore", invalid="ignore"):
        top = max(linear, sinusoids.max())
        evidence, evidences = np.exp(linear - top), np.exp(sinusoids - top)
        weight_ = evidence + evidences.sum()
        return float(evidence / weight_), float((evidence * mean_ + (evidences * means).sum()) / weight_)


def log_sum(logs: Any) -> float:
    """The logarithm of a sum, by logarithms; -inf where all are."""
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).sum())) if math.isfinite(top) else top


SEEN = 1e-3  # in the log evidence of the sinusoids; with one node in a peak it changes by log 2 or more
ROUNDED = 1e-6  # in the log evidences; a posterior is off by at most a quarter of it


def check_rounding(prompt: Prompt) -> None:
    """Refuse where Y/sigma2, less what a model explains of it, is rounding: sums of N terms and a dozen operations."""
    if prompt["linear_probability"] == 1:
        return
    y, noise = prompt["y"], prompt["noise_variance"]
    least = (len(y) + 12) * float(np.finfo(float).eps) * float(y @ y) / ROUNDED
    if noise < least:
        raise AssumptionError(
            f"noise_variance needs at least {least:.3g} with these labels, got {noise:g}: below it rounding decides "
            "between the classes; give that much"
        )


def resolved(prompt: Prompt, tolerance: float = 1e-10) -> tuple[float, float, float]:
    """Posterior, prediction, and by how much doubled nodes still change them (relative to the largest |y|, or 1).

    The sinusoids' own evidence has to be SEEN alike by both: nodes that all miss a narrow peak agree on a posterior of
    1. Raises AssumptionError where MOST nodes leave more than `tolerance`, or rounding more than ROUNDED.
    """
    check_rounding(prompt)
    nodes = (32, 64)
    weights = weights_by(formula(), prompt, nodes)
    found, evidence = posterior_of(*weights), log_sum(weights[1])
    scale = max(1.0, float(np.abs(prompt["y"]).max(initial=0.0)))
    while True:
        nodes = (2 * nodes[0], 2 * nodes[1])
        weights = weights_by(formula(), prompt, nodes)
        before, found = found, posterior_of(*weights)
        evidence_before, evidence = evidence, log_sum(weights[1])
        error = max(abs(found[0] - before[0]), abs(found[1] - before[1]) / scale)
        seen = prompt["linear_probability"] == 1 or abs(evidence - evidence_before) <= SEEN
        if error <= tolerance and seen:
            return (*found, error)
        if nodes[0] >= MOST[0] or nodes[1] >= MOST[1]:
            raise AssumptionError(
                f"noise_variance needs to be larger: with {prompt['noise_variance']:g} the posterior over frequency "
                f"and phase is too narrow for a quadrature of {nodes[0]} x {nodes[1]} nodes; take ten times as much"
            )


# For a user


def for_user(
    x: Any, y: Any, x_query: Any, slope_variance: Any, amplitude_variance: Any, lowest: Any, highest: Any,
    linear_probability: Any, noise_variance: Any,
) -> dict[str, float]:  # fmt: skip
    """The posterior of the linear class, the prediction of f(x_query), and the quadrature's error.

    Raises AssumptionError.

    >>> for_user([0.0], [1.0], 1.0, 1.0, 2.0, 1.0, 4.0, 1.0, 0.1)["prediction"]
    0.0
    """
    prompt = {
        **examples(x, y),
        "x_query": check_number(x_query, "x_query"),
        "slope_variance": check_positive(slope_variance, "slope_variance"),
        "amplitude_variance": check_positive(amplitude_variance, "amplitude_variance"),
        **frequencies(lowest, highest),
        "linear_probability": probability_of(linear_probability),
        "noise_variance": check_positive(noise_variance, "noise_variance"),
    }
    posterior, prediction, error = resolved(prompt)
    return {"linear_posterior": posterior, "prediction": prediction, "quadrature_error": error}


def examples(x: Any, y: Any) -> dict[str, Any]:
    """x and y as lists of n numbers each. Raises AssumptionError."""
    xs, ys = real_array(x, "x"), real_array(y, "y")
    if xs.ndim != 1 or xs.shape != ys.shape:
        raise AssumptionError(f"x and y need one number for each example, got shapes {xs.shape} and {ys.shape}")
    return {"x": xs, "y": ys}


def frequencies(lowest: Any, highest: Any) -> dict[str, float]:
    """0 <= lowest <= highest. Raises AssumptionError."""
    low, high = check_number(lowest, "lowest"), check_number(highest, "highest")
    if not 0 <= low <= high:
        raise AssumptionError(f"the frequencies need 0 <= lowest <= highest, got {low:g} and {high:g}; exchange them")
    return {"lowest": low, "highest": high}


def probability_of(value: Any) -> float:
    """A number from 0 to 1. Raises AssumptionError."""
    found = check_number(value, "linear_probability")
    if not 0 <= found <= 1:
        raise AssumptionError(f"linear_probability needs a number from 0 to 1, got {found:g}; give one such as 0.5")
    return found
