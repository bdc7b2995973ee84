r"""The Bayes predictor of a mixture of dense and sparse linear functions, given examples with noise.

y_i = w . x_i + e_i, e_i ~ N(0, s2). With probability pi the function is dense, w ~ N(0, v_d I); else a support S is
drawn uniformly from the k-subsets of the d coordinates, w_S ~ N(0, v_s I), and w is 0 elsewhere.
Main statements
    evidence      of a support (the dense class is the one support of all coordinates) by completing the square
                  (`gaussian_evidence`)
    posterior     of every support by Bayes' rule: prior times evidence, over the sum of all
    prediction    E[w . x_q | X, y] = sum over supports of posterior times x_q,S . m_S
    rational      for rational X, y, s2, v_d, v_s the exponents and determinants are rational: the posterior is known to
                  any number of digits, and loses none at small noise
The law of the inputs does not enter, for it is the same under every support: the predictor is that of any law of x.
Assumptions
    Gaussian coefficients and noise, s2 > 0; N >= 0 examples.
References
    The mixture is that of [yadlowsky2023pretraining], on the classes of [garg2022can]; the predictor is ours.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate
from ..algebra.formulas import Formula, SingularSystemError, Values
from ..algebra.printing import to_latex, to_sympy, to_text
from ..algebra.trace_polynomials import TracePolynomial, scalar, substitute
from ..algebra.trace_polynomials import number as number_of
from ..one_layer.assumptions import AssumptionError, check_number, check_positive, is_whole, real_array
from .exact_elimination import column, determinant, rational, solution
from .gaussian_evidence import (
    MEAN,
    QUERY,
    covariance,
    difference,
    in_gram_letters,
    joint,
    normal_equations,
    residual,
    volume,
)

if TYPE_CHECKING:
    import sympy as sp

DIGITS = 50
MOST_SUPPORTS, MOST_EXAMPLES, LARGEST_DIMENSION = 5_000, 200, 40  # of `predict`: some seconds


@dataclass(frozen=True)
class Mixture:
    """k, v_d, v_s, pi and s2, exact."""

    sparsity: int
    dense_variance: Fraction
    sparse_variance: Fraction
    dense_probability: Fraction
    noise_variance: Fraction

    def letters(self) -> dict[str, Fraction]:
        """Values of the symbols of the formula."""
        return {
            "v_d": self.dense_variance, "v_s": self.sparse_variance, "pi": self.dense_probability,
            "rho": 1 - self.dense_probability, "s2": self.noise_variance,
        }  # fmt: skip


class Support(NamedTuple):
    """What a formula says of one support: its probability before and after the examples but for a common factor.

    weight, volume    prior probability, and det(I + (v/s2) X_S^T X_S)
    square            Q/s2, so that evidence ~ volume^(-1/2) exp(-square/2)
    prediction        x_q,S . m_S
    """

    weight: Any
    volume: Any
    square: Any
    prediction: Any


class Answer(NamedTuple):
    """P(dense | X, y), E[w . x_q | X, y], and the logarithm of the evidence of each class."""

    dense_posterior: Any
    prediction: Any
    dense_evidence: Any
    sparse_evidence: Any


# The formula


@cache
def formula() -> Formula:
    """What is known of every support, dense first: (supports, 4), exact at exact values."""
    left, right = normal_equations()
    parts = {
        "left": left, "right": right, "residual": residual(), "volume": volume(), "prediction": QUERY.T * MEAN,
        "dense weight": scalar("pi"), "sparse weight": scalar("rho") * scalar("C") ** -1,
    }  # fmt: skip
    return Formula(parts, all_supports, Vocabulary({"s2": ("v",), "v": ("s2",), "pi": ("rho",), "rho": ("pi",)}))


def all_supports(parts: Mapping[str, TracePolynomial], values: Values) -> Array:
    """The numbers of every support at values X (N, d), y (N, 1), x_q (d, 1), `sparsity` and those of `Mixture`."""
    X, y, k = values["X"], values["y"], values["sparsity"]
    d = X.shape[1]
    chosen = list(combinations(range(d), k))
    counted = numbers_of({**values, "C": Fraction(len(chosen))})
    dense, sparse = (plain(evaluate(parts[f"{kind} weight"], counted)) for kind in ("dense", "sparse"))
    shared = {**values, "G": X.T @ X, "c": X.T @ y, "yy": plain(y.T @ y)}
    by_gram = {name: in_gram_letters(parts[name]) for name in ("left", "right", "residual", "volume", "prediction")}
    rows = [(dense, *of_support(by_gram, shared, tuple(range(d)), values["v_d"]))]
    rows += [(sparse, *of_support(by_gram, shared, support, values["v_s"])) for support in chosen]
    return np.array(rows, dtype=object)


def numbers_of(values: Values) -> dict[str, Any]:
    """The symbols among values; an array of one number makes the evaluation exact."""
    names = ("s2", "pi", "rho", "C", "v", "yy")
    return {name: np.array(values[name], dtype=object) for name in names if name in values}


def of_support(
    parts: Mapping[str, TracePolynomial], values: Values, support: tuple[int, ...], variance: Any
) -> tuple[Any, Any, Any]:
    """Volume, square and prediction of one support. Raises SingularSystemError where there are none."""
    used = list(support)
    letters = {
        "x_q": values["x_q"][used], "G": values["G"][np.ix_(used, used)], "c": values["c"][used],
        **numbers_of({"s2": values["s2"], "v": variance, "yy": values["yy"]}),
    }  # fmt: skip
    left, right = (evaluate(parts[name], letters) for name in ("left", "right"))
    try:
        letters["m"] = solution(left, right)
    except ValueError as error:
        raise SingularSystemError(str(error)) from None
    V = determinant(evaluate(parts["volume"], letters))
    if V <= 0:
        raise SingularSystemError(f"need a positive volume, got {V}")
    square, prediction = (evaluate(parts[name], letters) for name in ("residual", "prediction"))
    return V, plain(square) / values["s2"], plain(prediction)


def plain(value: Any) -> Fraction:
    """A number out of an array of one."""
    return Fraction(np.asarray(value, dtype=object).item())


# From the supports to the answer


def answer(supports: Array, examples: int, noise_variance: Fraction) -> Answer:
    """Bayes' rule to 50 digits. Exponents are subtracted exactly before a digit is lost, so any noise will do."""
    import mpmath

    rows = [Support(*row) for row in supports]
    least = min(row.square for row in rows)
    with mpmath.workdps(DIGITS):
        joint_densities = [density(row, least) for row in rows]
        total = mpmath.fsum(joint_densities)
        mean = mpmath.fsum(p * number(row.prediction) for p, row in zip(joint_densities, rows, strict=True)) / total
        common = -number(least) / 2 - examples * mpmath.log(2 * mpmath.pi * number(noise_variance)) / 2
        dense, sparse = joint_densities[0], mpmath.fsum(joint_densities[1:])
        weights = number(rows[0].weight), mpmath.fsum(number(row.weight) for row in rows[1:])
        evidence = [
            common + mpmath.log(part / weight) if part > 0 and weight > 0 else mpmath.ninf
            for part, weight in zip((dense, sparse), weights, strict=True)
        ]
        return Answer(dense / total, mean, *evidence)


def density(row: Support, least: Fraction) -> Any:
    """weight volume^(-1/2) exp(-(square - least)/2)."""
    import mpmath

    return number(row.weight) * mpmath.exp(-number(row.square - least) / 2) / mpmath.sqrt(number(row.volume))


def number(value: Any) -> Any:
    """An exact number to the present digits."""
    import mpmath

    exact = Fraction(value)
    return mpmath.mpf(exact.numerator) / exact.denominator


def values_at(X: Array, y: Array, x_query: Array, mixture: Mixture) -> dict[str, Any]:
    """The values of the formula's letters: X (N, d), y (N, 1), x_query (d, 1), exact."""
    return {"X": X, "y": y, "x_q": x_query, "sparsity": mixture.sparsity, **mixture.letters()}


def exact_answer(X: Array, y: Array, x_query: Array, mixture: Mixture, of: Formula | None = None) -> Answer:
    """The Bayes predictor on exact numbers, to 50 digits; `of` another formula than the derived one."""
    supports = (of or formula()).value(values_at(X, y, x_query, mixture))
    return answer(supports, len(X), mixture.noise_variance)


# Instances of the steps


class Instance:
    """A rational prompt of two examples in two dimensions, with sparsity 1, and coefficients anywhere."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(f"mixture-posterior/{seed}")

        def matrix(rows: int, cols: int) -> Array:
            return rational([[Fraction(draw.randint(-9, 9), 7) for _ in range(cols)] for _ in range(rows)])

        self.X, self.y, self.x_query, self.w = matrix(2, 2), matrix(2, 1), matrix(2, 1), matrix(2, 1)
        v_d, v_s, s2 = (Fraction(draw.randint(1, 9), 5) for _ in range(3))
        self.mixture = Mixture(1, v_d, v_s, Fraction(draw.randint(1, 9), 10), s2)

    def letters(self) -> dict[str, Any]:
        """The dense model's letters, with its posterior mean."""
        found = {
            "X": self.X, "y": self.y, "w": self.w,
            **numbers_of({"s2": self.mixture.noise_variance, "v": self.mixture.dense_variance}),
        }  # fmt: skip
        left, right = (evaluate(part, found) for part in normal_equations())
        return {**found, "m": solution(left, right)}

    def literal(self, w: Array) -> Fraction:
        """s2 times the sum of squares of (y_i - x_i . w)/sqrt(s2) and w_j/sqrt(v), number by number."""
        errors = [
            y - sum(a * b for a, b in zip(x, w[:, 0], strict=True)) for x, y in zip(self.X, self.y[:, 0], strict=True)
        ]
        s2, v = self.mixture.noise_variance, self.mixture.dense_variance
        return Fraction(s2 * (sum(e * e for e in errors) / s2 + sum(b * b for b in w[:, 0]) / v))

    def supports(self) -> list[tuple[int, ...]]:
        return [(0, 1), (0,), (1,)]

    def by_covariance(self, support: tuple[int, ...], v: Fraction) -> tuple[Fraction, Fraction, Fraction]:
        """det K/s2^N, y^T K^-1 y and E[w.x_q | y] from K = E y y^T, E w y^T: no completed square."""
        X, s2 = self.X[:, list(support)], self.mixture.noise_variance
        K = rational(np.eye(2, dtype=int)) * s2 + v * X @ X.T
        solved = solution(K, self.y)
        mean = v * X.T @ solved
        return determinant(K) / s2**2, plain(self.y.T @ solved), plain(self.x_query[list(support)].T @ mean)


def literal_joint(one: Instance) -> tuple[Any, Any]:
    return one.literal(one.w), plain(evaluate(joint(), one.letters()))


def completed(one: Instance) -> tuple[Any, Any]:
    """The joint density anywhere, and the square around m with what is left."""
    letters = one.letters()
    left = evaluate(normal_equations().left, letters)
    gap = one.w - letters["m"]
    return one.literal(one.w), plain(gap.T @ left @ gap) + one.literal(letters["m"])


def two_forms(one: Instance) -> tuple[Any, Any]:
    letters = one.letters()
    return [one.literal(letters["m"])] * 2, [plain(evaluate(part, letters)) for part in (residual(), difference())]


def volumes(one: Instance) -> tuple[Any, Any]:
    """det K over s2^N, from the covariance of y and from the volume."""
    v = one.mixture.dense_variance
    return one.by_covariance((0, 1), v)[0], determinant(evaluate(volume(), one.letters()))


def evidences(one: Instance) -> tuple[Any, Any]:
    """All three numbers of every support: by covariances, and by the formula."""
    variances = (one.mixture.dense_variance, one.mixture.sparse_variance, one.mixture.sparse_variance)
    by_covariance = [one.by_covariance(s, v) for s, v in zip(one.supports(), variances, strict=True)]
    rows = formula().value(values_at(one.X, one.y, one.x_query, one.mixture))
    return by_covariance, [tuple(row[1:]) for row in rows]


def rule_of_bayes(one: Instance) -> tuple[Any, Any]:
    """The posterior from rational evidences D, E_1, E_2: with the form, and as joint over marginal."""
    import sympy as sp

    evidence = [one.mixture.noise_variance + k for k in range(3)]
    prior = [one.mixture.dense_probability, *[(1 - one.mixture.dense_probability) / 2] * 2]
    joint_densities = [p * e for p, e in zip(prior, evidence, strict=True)]
    means = [Fraction(k + 1, 3) for k in range(3)]
    posterior = joint_densities[0] / sum(joint_densities)
    prediction = sum(p * m for p, m in zip(joint_densities, means, strict=True)) / sum(joint_densities)
    numbers = dict(zip(("pi", "D", "E1", "E2", "f_d", "f_1", "f_2"), (prior[0], *evidence, *means), strict=True))
    at = {name: sp.Rational(q.numerator, q.denominator) for name, q in {**numbers, "rho": 1 - prior[0]}.items()}
    formed = [Fraction(str(form.subs({x: at[x.name] for x in form.free_symbols}))) for form in forms_of_rule().values()]
    return [posterior, prediction], formed


# Forms of two examples in two dimensions, k = 1, in all letters


@cache
def forms_of_rule() -> dict[str, sp.Expr]:
    """Bayes' rule for the dense class and two supports, from their evidences D, E1, E2 and predictions."""
    import sympy as sp

    D, E1, E2, f_d, f_1, f_2 = sp.symbols("D E1 E2 f_d f_1 f_2", positive=True)
    dense, sparse = (
        to_sympy(substitute(formula().parts[f"{kind} weight"], scalars={"C": number_of(2)}))
        for kind in ("dense", "sparse")
    )
    joints = (dense * D, sparse * E1, sparse * E2)
    total = sum(joints)
    mean = sum(p * f for p, f in zip(joints, (f_d, f_1, f_2), strict=True))
    return {"posterior": sp.cancel(joints[0] / total), "prediction": sp.cancel(mean / total)}


@cache
def forms_of_two() -> dict[str, sp.Expr]:
    """det K and s2 y^T adj(K) y, K = s2 I + v X X^T, of the dense model and of the support {1}, from volume and Q."""
    import sympy as sp

    x = sp.Matrix(2, 2, sp.symbols("x11 x12 x21 x22"))
    y, s2 = sp.Matrix(sp.symbols("y1 y2")), sp.Symbol("s2")
    found = {}
    for name, X, v in (("dense", x, sp.Symbol("v_d")), ("sparse", x[:, :1], sp.Symbol("v_s"))):
        letters = {"X": X, "y": y}
        at = {"s2": s2, "v": v}
        left, right, V = (matrix_of(part, letters, at) for part in (*normal_equations(), volume()))
        m = left.adjugate() * right / left.det()
        Q = matrix_of(residual(), {**letters, "m": m}, at)[0, 0]
        det = sp.expand(sp.cancel(s2**2 * V.det()))
        found[f"{name} determinant"] = det
        found[f"{name} square"] = sp.expand(sp.cancel(Q * det / s2))
    return found


def matrix_of(polynomial: TracePolynomial, letters: Mapping[str, Any], symbols: Mapping[str, Any]) -> Any:
    """A polynomial at SymPy matrices."""
    import sympy as sp

    objects = {name: np.array(value.tolist(), dtype=object) for name, value in letters.items()}
    numbers = {name: np.array(value, dtype=object) for name, value in symbols.items()}
    return sp.Matrix(np.atleast_2d(np.asarray(evaluate(polynomial, {**objects, **numbers}), dtype=object)))


def points(name: str) -> list[dict[str, Any]]:
    """Random rational prompts where altered formulas are compared exactly, N below, at and above d."""
    draw = random.Random(f"mixture-posterior/points/{name}")
    found = []
    for examples, d, k in ((2, 2, 1), (1, 3, 2), (4, 3, 1)):
        X, y, x_q = (
            rational([[Fraction(draw.randint(-9, 9), 7) for _ in range(cols)] for _ in range(rows)])
            for rows, cols in ((examples, d), (examples, 1), (d, 1))
        )
        v_d, v_s, s2 = (Fraction(draw.randint(1, 9), 5) for _ in range(3))
        found.append(values_at(X, y, x_q, Mixture(k, v_d, v_s, Fraction(draw.randint(1, 9), 10), s2)))
    return found


# Public numbers


class Prediction(NamedTuple):
    """P(dense | X, y), and E[w . x_q | X, y], of the target without noise."""

    dense_posterior: float
    prediction: float


def for_user(X: Any, y: Any, x_query: Any, sparsity: Any, **law: Any) -> Prediction:
    """The Bayes predictor, every digit of it at any noise: floats are read as the rationals that they are.

    X (N, d), y (N,), x_query (d,); `law`: dense_variance, sparse_variance, dense_probability, noise_variance. X and y
    may be empty. Raises AssumptionError.

    >>> for_user([[1.0, 0.0]], [1.0], [1.0, 0.0], 1, dense_variance=1, sparse_variance=1, dense_probability=0.5,
    ...          noise_variance=1e-8).prediction
    0.9999999900000001
    """
    prompt = check_prompt(X, y, x_query)
    mixture = check_mixture(prompt.dimension, sparsity, **law)
    found = exact_answer(prompt.X, prompt.y, prompt.x_query, mixture)
    return Prediction(float(found.dense_posterior), float(found.prediction))


class Prompt(NamedTuple):
    """X (N, d), y (N, 1) and x_query (d, 1), exact."""

    X: Array
    y: Array
    x_query: Array

    @property
    def dimension(self) -> int:
        return len(self.x_query)


def check_prompt(X: Any, y: Any, x_query: Any) -> Prompt:
    """The examples and the query as exact numbers. Raises AssumptionError."""
    query, labels = real_array(x_query, "x_query"), real_array(y, "y")
    if query.ndim != 1 or not 1 <= len(query) <= LARGEST_DIMENSION:
        raise AssumptionError(
            f"need x_query as a list of 1 to {LARGEST_DIMENSION} numbers, got shape {query.shape}; give the query alone"
        )
    if labels.ndim != 1 or len(labels) > MOST_EXAMPLES:
        raise AssumptionError(f"need y as a list of at most {MOST_EXAMPLES} numbers, got shape {labels.shape}")
    rows = real_array(X, "X") if len(labels) or np.size(X) else np.zeros((0, len(query)))
    if rows.shape != (len(labels), len(query)):
        raise AssumptionError(
            f"need X of shape ({len(labels)}, {len(query)}), a row for each y and a column for each entry of x_query, "
            f"got {rows.shape}"
        )
    return Prompt(rational(rows), column([Fraction(value) for value in labels]), column([Fraction(x) for x in query]))


def check_sparsity(dimension: int, sparsity: Any) -> int:
    """k between 1 and d, with few enough supports. Raises AssumptionError."""
    if not is_whole(sparsity) or not 1 <= sparsity <= dimension:
        raise AssumptionError(f"need sparsity as a whole number from 1 to d = {dimension}, got {sparsity!r}")
    if math.comb(dimension, int(sparsity)) > MOST_SUPPORTS:
        raise AssumptionError(
            f"need at most {MOST_SUPPORTS} supports, got {math.comb(dimension, int(sparsity))} of {sparsity} among "
            f"{dimension} coordinates; give a smaller sparsity or dimension"
        )
    return int(sparsity)


def check_probability(value: Any) -> Fraction:
    """A probability, both ends included. Raises AssumptionError."""
    share = check_number(value, "dense_probability")
    if not 0 <= share <= 1:
        raise AssumptionError(f"need dense_probability between 0 and 1, got {share:g}")
    return Fraction(share)


def check_mixture(
    dimension: int,
    sparsity: Any,
    dense_variance: Any,
    sparse_variance: Any,
    dense_probability: Any,
    noise_variance: Any,
) -> Mixture:
    """The law's parameters, exact. Raises AssumptionError."""
    k = check_sparsity(dimension, sparsity)
    v_d, v_s, s2 = (
        Fraction(check_positive(value, name))
        for value, name in (
            (dense_variance, "dense_variance"),
            (sparse_variance, "sparse_variance"),
            (noise_variance, "noise_variance"),
        )
    )
    return Mixture(k, v_d, v_s, check_probability(dense_probability), s2)


# The derivation


JOINT, SQUARE, FORMS = "joint density of examples and coefficients", "completing the square", "two forms of the rest"
COVARIANCE, VOLUME, EVIDENCE = "the same by covariances", "volume", "evidence of a support"
RULE = "Bayes' rule over the supports"


@cache
def derivation() -> Derivation:
    """From prior and likelihood to the posterior and its mean."""
    left, right = normal_equations()
    steps = (
        equality(
            JOINT,
            ("-2 s2 log p(y | w) p(w), up to a constant", r"-2\sigma^2\log p(y \mid w)\,p(w) + c"),
            joint(),
            "y_i - w.x_i ~ N(0, s2) and w ~ N(0, v I), independent: squares in the exponent add up",
            literal_joint,
        ),
        Step(
            SQUARE,
            "-2 s2 log p(y | w) p(w), up to a constant",
            f"(w - m)^T A (w - m) + Q, A = {to_text(left)}, A m = {to_text(right)}",
            rf"(w - m)^\top A (w - m) + Q,\quad A = {to_latex(left)},\quad A m = {to_latex(right)}",
            "A and X^T y are read off the gradient; so w | y ~ N(m, s2 A^-1)",
            completed,
            forms={"left": left, "right": right},
        ),
        Step(
            FORMS,
            "Q",
            f"{to_text(residual())} = {to_text(difference())}",
            rf"Q = \lVert y - Xm\rVert^2 + \tfrac{{\sigma^2}}{{v}}\lVert m\rVert^2 = {to_latex(difference())}",
            "the exponent at w = m; minus m^T (A m - X^T y) = 0 it is the second form. The first is a sum of squares: "
            "it keeps its digits where s2 is small and the examples fit",
            two_forms,
            forms={"residual": residual(), "difference": difference()},
        ),
        Step(
            COVARIANCE,
            "E y y^T; m and Q with K a = y",
            f"K = {to_text(covariance())}; m = v X^T a, Q = s2 y^T a",
            rf"K = {to_latex(covariance())},\quad m = vX^\top K^{{-1}}y,\quad Q = \sigma^2\,y^\top K^{{-1}}y",
            "y = X w + e is Gaussian with covariance K, E w y^T = v X^T; A v X^T = X^T K",
            evidences,
            forms={"covariance": covariance()},
        ),
        Step(
            VOLUME,
            "det K / s2^N",
            f"det({to_text(volume())})",
            rf"\det K = (\sigma^2)^N \det({to_latex(volume())})",
            "Sylvester: a block matrix of K and I factored in two ways; det(A)^(-1/2) of the Gaussian integral over w, "
            "times (s2/v)^(d/2)",
            volumes,
            forms={"volume": volume()},
        ),
        Step(
            EVIDENCE,
            "p(y)",
            "(2 pi s2)^(-N/2) det(volume)^(-1/2) exp(-Q/(2 s2)); of two examples in two dimensions, in all letters: "
            "determinants and Q times them",
            r"p(y) = (2\pi\sigma^2)^{-N/2}\,\det(I + \tfrac{v}{\sigma^2}X^\top X)^{-1/2}\,e^{-Q/(2\sigma^2)}",
            "int exp(-(w - m)^T A (w - m)/(2 s2)) dw = (2 pi s2)^(d/2) det(A)^(-1/2)",
            evidences,
            forms=forms_of_two(),
        ),
        Step(
            RULE,
            "P(dense | X, y), E[w.x_q | X, y]",
            "prior times evidence over the sum; the same weights on x_q,S . m_S (here: two supports)",
            r"P(\text{dense} \mid X, y) = \frac{\pi D}{\pi D + (1 - \pi)\,\overline{E}},\quad "
            r"\hat f = \sum_S P(S \mid X, y)\, x_{q,S}\cdot m_S",
            "a support is drawn with probability pi, or (1 - pi) over the number of k-subsets; given it, w.x_q has the "
            "mean x_q,S . m_S",
            rule_of_bayes,
            forms=forms_of_rule(),
        ),
    )
    return Derivation(STATEMENT, steps, {"left": left, "right": right, "volume": volume()}, Instance)


STATEMENT = Statement(
    identifier="mixture-posterior",
    title="The Bayes predictor of a mixture of dense and sparse linear functions",
    latex=r"\hat f(x_q) = \sum_S P(S \mid X, y)\, x_{q,S}^\top m_S,\quad "
    r"P(S \mid X, y) \propto \pi_S \det(I + \tfrac{v_S}{\sigma^2}X_S^\top X_S)^{-1/2}\,"
    r"e^{-(\lVert y - X_S m_S\rVert^2 + \frac{\sigma^2}{v_S}\lVert m_S\rVert^2)/(2\sigma^2)}",
    text=(
        "Examples y_i = w.x_i + noise, w dense with probability pi and else on one of the k-subsets of coordinates:"
        " the best prediction of w.x_q is the mean of ridge predictions x_q,S . m_S over all supports (the dense class "
        "is the support of all coordinates), (X_S^T X_S + (s2/v_S) I) m_S = X_S^T y, each weighted by its prior "
        "probability times det(I + (v_S/s2) X_S^T X_S)^(-1/2) exp(-(|y - X_S m_S|^2 + (s2/v_S) |m_S|^2)/(2 s2))."
    ),
    assumptions=(
        "w ~ N(0, v_d I) with probability pi; else a uniform k-subset S, w_S ~ N(0, v_s I), zero elsewhere",
        "noise N(0, s2), s2 > 0, independent; any law of the inputs; N >= 0 examples",
    ),
    conventions="s2 is the noise variance; the prediction is of w.x_q, without the query's noise",
    sources=(Source("yadlowsky2023pretraining", "the mixture"), Source("garg2022can", "the classes")),
)
