r"""The exact risk of ridge regression at every prefix, for every penalty: bias, noise, and the Bayes choice.

After N examples x_i ~ N(0, I_d), y_i = w.x_i + e_i: w_hat = (X^T X + lambda)^-1 X^T y, E |w|^2 = W, noise sigma^2.
Main statements
    given the spectrum    each eigenvalue t of X^T X adds (lambda^2 W/d + sigma^2 t)/(t + lambda)^2 to E |w_hat - w|^2
    risk                  (W/d) lambda^2 T_2 + sigma^2 (T_1 - lambda T_2) with T_r = E tr (X^T X + lambda)^-r, for every
                          law of w with E |w|^2 = W, dense or sparse
    Bayes                 of all penalties lambda* = sigma^2 d/W is best, for every spectrum, and there the risk is
                          sigma^2 T_1: no predictor has less for w ~ N(0, (W/d) I)
    T_1, T_2              by de Bruijn's formula, from exact recursions or integrals (`wishart_resolvent`), at all N, d
    two examples          or two dimensions: T_1 in exponential integrals, in closed form
Assumptions
    x_i and x_q ~ N(0, I), independent of w and e; e of mean 0, variance sigma^2, independent entries; lambda > 0.
References
    Density: [muirhead1982aspects]; Pfaffian: [debruijn1955some]; the setting: [garg2022can],
    [yadlowsky2023pretraining]. The finite-size risk is ours.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import Array, exact_inverse
from ..algebra.formulas import Formula, Values
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, scalar
from ..one_layer.assumptions import AssumptionError, check_non_negative, check_positive
from ..one_layer.fixed_point import exact_value, latex_of
from .baseline_risks import (
    ANY_NOISE,
    GAUSSIAN_INPUTS,
    check_lengths,
    check_size,
    evaluate_scalars,
    eye,
    fractions,
    polynomial_of,
    squared_norm_of,
)
from .wishart_resolvent import LARGEST, Starts, Tables, exact_resolvent_powers, whole_pairs

if TYPE_CHECKING:
    import sympy as sp

PENALTY, NORM, T_1, T_2 = scalar("lam"), scalar("W"), scalar("T1"), scalar("T2")
MOST_LENGTHS = 400


# The risk given the spectrum


@cache
def symbols() -> dict[str, sp.Symbol]:
    import sympy as sp

    return {name: sp.Symbol(name, positive=True) for name in ("t", "lam", "W", "d", "sigma2", "T1", "T2", "D")}


@cache
def at_eigenvalue() -> sp.Expr:
    """What one eigenvalue t adds: lambda/(t + lambda) of w is lost, and sqrt(t)/(t + lambda) of the noise passes."""
    s = symbols()
    lost, passed = s["lam"] / (s["t"] + s["lam"]), s["t"] / (s["t"] + s["lam"]) ** 2
    return lost**2 * s["W"] / s["d"] + passed * s["sigma2"]


@cache
def risk() -> TracePolynomial:
    """In T_1 and T_2: the sum over eigenvalues, by t/(t + lambda)^2 = 1/(t + lambda) - lambda/(t + lambda)^2."""
    import sympy as sp

    s = symbols()
    pole = sp.Symbol("pole", positive=True)  # 1/(t + lambda)
    found = sp.expand(sp.expand(at_eigenvalue().subs(s["t"], 1 / pole - s["lam"])))
    polynomial = sp.Poly(sp.cancel(found), pole)
    if polynomial.degree() > 2 or polynomial.coeff_monomial(1) != 0:
        raise ValueError(f"need a combination of the first two powers of the resolvent, got {found}")
    total = sum(polynomial.coeff_monomial(pole**r) * s[f"T{r}"] for r in (1, 2))
    top, bottom = polynomial_of(sp.cancel(total))
    return top * bottom**-1


@cache
def best_penalty() -> tuple[sp.Expr, sp.Expr]:
    """(lambda*, slope): what an eigenvalue adds has the slope `slope` in lambda, of the sign of lambda - lambda*.

    >>> best_penalty()[0]
    d*sigma2/W
    """
    import sympy as sp

    s = symbols()
    slope = sp.factor(sp.diff(at_eigenvalue(), s["lam"]))
    (found,) = sp.solve(slope, s["lam"])
    return sp.cancel(found), slope


# E tr (X^T X + lambda)^-1 of two positive eigenvalues in closed form


class SymbolicStarts:
    """Starts of the recursions for whole alpha as letters, K = e^lambda E_1(lambda), L = e^(lambda/2) E_1(lambda/2)."""

    def __call__(self, difference: int, penalty: Any) -> Starts:
        import sympy as sp

        from .wishart_resolvent import whole_starts_from

        K, L = sp.Symbol("K", positive=True), sp.Symbol("L", positive=True)
        return whole_starts_from(difference, penalty, (K, 1 / penalty - K), (L, 1 / penalty - L / 2))


@cache
def closed_form(count: int, difference: int) -> sp.Expr:
    """E sum_i 1/(t_i + lambda) over `count` positive eigenvalues, |n - d| = difference odd, in lambda, K and L.

    >>> closed_form(1, 1)
    L/2
    """
    import sympy as sp

    tables = Tables(difference, count, symbols()["lam"], SymbolicStarts())
    A, slope = sp.Matrix(tables.skew()), sp.Matrix(tables.slope(1))
    return sp.cancel(sp.together((A.inv() * slope).trace() / 2))


CLOSED = ((1, 1), (1, 3), (2, 1), (2, 3), (3, 1))  # (positive eigenvalues, |n - d|)


# Instances


@dataclass(frozen=True)
class Instance:
    """Rational numbers for every step: eigenvalues by an orthogonal matrix, and a weight on a few points."""

    seed: int
    X: Array
    numbers: Mapping[str, Fraction]
    points: tuple[Fraction, ...]
    weights: tuple[Fraction, ...]
    values: tuple[Fraction, ...]


def instance(seed: int) -> Instance:
    """The seed-th instance."""
    draw = random.Random(f"ridge/{seed}")
    shape = ((2, 3), (3, 2), (1, 2))[seed % 3]
    names = ("lam", "W", "sigma2")
    points, total = [], Fraction(0)
    for _ in range(5):
        total += Fraction(draw.randint(1, 9), 3)
        points.append(total)

    def drawn() -> tuple[Fraction, ...]:
        return tuple(Fraction(draw.randint(1, 9), draw.randint(1, 4)) for _ in points)

    numbers = {name: Fraction(draw.randint(1, 12), 5) for name in names}
    return Instance(seed, fractions(draw, *shape), numbers, tuple(points), drawn(), drawn())


def spectrum_check(given: Instance) -> tuple[list[Any], list[Any]]:
    """E |w_hat - w|^2 at fixed examples over tasks and noises with these second moments, and the two traces."""
    X, numbers = given.X, given.numbers
    size = X.shape[1]
    lam, W, sigma2 = (numbers[name] for name in ("lam", "W", "sigma2"))
    resolvent = exact_inverse(X.T @ X + lam * eye(size))
    back = resolvent @ X.T
    lost = back @ X - eye(size)
    mean = W / size * sum(x**2 for x in lost.ravel()) + sigma2 * sum(x**2 for x in back.ravel())
    at = {"T1": np.trace(resolvent), "T2": np.trace(resolvent @ resolvent), "d": Fraction(size), **numbers}
    return [mean], [evaluate_scalars(risk(), at)]


def best_check(given: Instance) -> tuple[list[Any], list[Any]]:
    """At lambda* the risk is sigma^2 T_1 at the examples, and each eigenvalue adds less there than on either side."""
    size = given.X.shape[1]
    at = {**given.numbers, "d": Fraction(size)}
    star, slope = best_penalty()
    lam = exact_value(star, at)
    resolvent = exact_inverse(given.X.T @ given.X + lam * eye(size))
    T1, T2 = np.trace(resolvent), np.trace(resolvent @ resolvent)
    found = evaluate_scalars(risk(), {**at, "lam": lam, "T1": T1, "T2": T2})
    t = given.points[0]
    below, above = (
        exact_value(slope, {**at, "t": t, "lam": lam * factor}) for factor in (Fraction(9, 10), Fraction(11, 10))
    )
    return [found, int(below < 0), int(above > 0)], [at["sigma2"] * T1, 1, 1]


def de_bruijn_check(given: Instance) -> tuple[list[Any], list[Any]]:
    """E sum g over 1, 2, 3 points drawn with weights prod |x_i - x_j| prod w_i: term by term, and 1/2 tr A^-1 A'."""
    left, right = [], []
    for count in (1, 2, 3):
        left.append(mean_over_tuples(given, count))
        right.append(half_trace_of_points(given, count))
    return left, right


def mean_over_tuples(given: Instance, count: int) -> Fraction:
    """By the sum over all tuples of points."""
    total = norm = Fraction(0)
    for chosen in product(range(len(given.points)), repeat=count):
        weight = Fraction(1)
        for place, i in enumerate(chosen):
            weight *= given.weights[i]
            for j in chosen[:place]:
                weight *= abs(given.points[i] - given.points[j])
        norm += weight
        total += weight * sum(given.values[i] for i in chosen)
    return total / norm


def half_trace_of_points(given: Instance, count: int) -> Fraction:
    """1/2 tr(A^-1 A') with sums over points for integrals."""
    powers = [[x**k * w for x, w in zip(given.points, given.weights, strict=True)] for k in range(count)]
    with_value = [[p * g for p, g in zip(row, given.values, strict=True)] for row in powers]

    def signed(a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
        return sum((x * y * ((j > i) - (j < i)) for i, x in enumerate(a) for j, y in enumerate(b)), Fraction(0))

    def bordered(square: list[list[Fraction]], edge: list[Fraction]) -> Array:
        if count % 2 == 0:
            return np.array(square, dtype=object)
        rows = [[*row, e] for row, e in zip(square, edge, strict=True)]
        return np.array([*rows, [*(-e for e in edge), Fraction(0)]], dtype=object)

    A = bordered([[signed(a, b) for b in powers] for a in powers], [sum(row, Fraction(0)) for row in powers])
    slopes = [
        [signed(with_value[i], powers[j]) + signed(powers[i], with_value[j]) for j in range(count)]
        for i in range(count)
    ]
    A_slope = bordered(slopes, [sum(row, Fraction(0)) for row in with_value])
    return Fraction(np.trace(exact_inverse(A) @ A_slope) / 2)


def pair_by_sums(a: int, b: int) -> int:
    """S(a, b) for whole a and b: the tail of Gamma as a finite sum.

    int_x^oo y^b e^(-y/2) dy = 2^(b+1) b! e^(-x/2) sum_(k<=b) (x/2)^k/k!, twice of it minus the whole integral.
    """
    total = Fraction(0)
    for k in range(b + 1):
        total += Fraction(factorial(a + k) * 2 ** (b + 2) * factorial(b), 2**k * factorial(k))
    return int(total - 2 ** (a + b + 2) * factorial(a) * factorial(b))


def factorial(n: int) -> int:
    found = 1
    for k in range(2, n + 1):
        found *= k
    return found


@cache
def pair_forms() -> dict[str, sp.Expr]:
    """S(alpha + i, alpha + j)/Gamma(2 alpha + 2) for i < j <= 3, polynomials in the difference D = 2 alpha + 1."""
    import sympy as sp

    D = symbols()["D"]
    alpha, found, rows = (D - 1) / 2, dict[str, sp.Expr](), list[list[sp.Expr]]()
    for i in range(3):
        row = [-rows[0][i] if i else sp.Integer(0)]
        for j in range(1, 4):
            # Gamma(2 alpha + i + j + 1)/Gamma(2 alpha + 2) = (D + 1)(D + 2) .. (D + i + j - 1)
            gamma = sp.prod([D + k for k in range(1, i + j)])
            row.append(sp.expand(2 * (alpha + j) * row[-1] + 4 * gamma))
        rows.append(row)
    for i in range(3):
        for j in range(i + 1, 4):
            found[f"S{i}{j}"] = rows[i][j]
    return found


def pairs_check(given: Instance) -> tuple[list[Any], list[Any]]:
    """At a whole alpha: the recursion's table against finite sums, and the polynomials in D against the table."""
    alpha = given.seed % 4 + 1
    difference = 2 * alpha + 1
    table, left, right = whole_pairs(difference, 4), list[Any](), list[Any]()
    for i, j in product(range(4), repeat=2):
        left.append(pair_by_sums(alpha + i, alpha + j))
        right.append(table[i][j])
    for name, form in pair_forms().items():
        i, j = int(name[1]), int(name[2])
        left.append(exact_value(form, {"D": Fraction(difference)}) * factorial(difference))
        right.append(table[i][j])
    return left, right


def inverse_moments_check(given: Instance) -> tuple[list[Any], list[Any]]:
    """The closed forms in powers of z = 1/lambda against the moments E tr W^k, k <= 6, of whole numbers.

    K = sum (-1)^k k! z^(k+1) and L = sum (-1)^k k! 2^(k+1) z^(k+1) to every order; T_1 = sum (-1)^k E tr W^k z^(k+1).
    """
    count, difference = CLOSED[given.seed % len(CLOSED)]
    orders = 6
    return series_at_infinity(closed_form(count, difference), orders), [
        (-1) ** k * moment_of_trace(count, count + difference, k) for k in range(orders)
    ]


def series_at_infinity(form: sp.Expr, orders: int) -> list[Fraction]:
    """The coefficients of z, z^2, .. of a form in lambda = 1/z, K and L."""
    import sympy as sp

    s, z = symbols(), sp.Symbol("z")
    depth = orders + 14  # the forms hold powers of lambda
    K = sum((-1) ** k * factorial(k) * z ** (k + 1) for k in range(depth))
    L = sum((-1) ** k * factorial(k) * 2 ** (k + 1) * z ** (k + 1) for k in range(depth))
    top, bottom = sp.fraction(sp.cancel(form))
    assert not bottom.free_symbols
    series = {sp.Symbol("K", positive=True): K, sp.Symbol("L", positive=True): L, s["lam"]: 1 / z}
    expanded = sp.expand(top.subs(series) / bottom)
    return [Fraction(str(expanded.coeff(z, k + 1))) for k in range(orders)]


def moment_of_trace(columns: int, rows: int, power: int) -> int:
    """E tr (X^T X)^k for X (rows, columns): a sum over permutations s of 2 k factors, by genus of the pairing.

    tr (X^T X)^k is a closed walk over 2 k legs; Isserlis pairs the k factors X_(r_i, c_i) X_(r_i, c_(i+1)), and each
    pairing counts rows^(classes of r) columns^(classes of c).
    """
    if power == 0:
        return columns
    total = 0
    for pairing in pairings(tuple(range(2 * power))):
        total += rows ** classes(pairing, power, "rows") * columns ** classes(pairing, power, "columns")
    return total


def pairings(items: tuple[int, ...]) -> Sequence[tuple[tuple[int, int], ...]]:
    """All ways to part the items into pairs."""
    if not items:
        return [()]
    first, rest = items[0], items[1:]
    found = []
    for place, other in enumerate(rest):
        for further in pairings((*rest[:place], *rest[place + 1 :])):
            found.append(((first, other), *further))
    return found


def classes(pairing: Sequence[tuple[int, int]], power: int, kind: str) -> int:
    """How many free indices a pairing leaves. Factor 2 i is X_(r_i, c_i), factor 2 i + 1 is X_(r_i, c_(i+1))."""

    def index(factor: int) -> int:
        i = factor // 2
        return i if kind == "rows" else (i + factor % 2) % power

    parent = list(range(power))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for a, b in pairing:
        parent[root(index(a))] = root(index(b))
    return sum(1 for i in range(power) if root(i) == i)


DE_BRUIJN = (
    "prod_{i<j} (x_j - x_i) prod g_i over x_1 < .. < x_m is the determinant of psi_i(x_j) with monic psi_i; its "
    "integral over the ordered region is a Pfaffian by integrating pairs of variables [debruijn1955some], with a "
    "border for odd m. At 1 + c g in the place of 1 the logarithmic derivative of a Pfaffian at c = 0 is 1/2 tr A^-1 "
    "A'. The measure may be any, sums over points included: there it is checked term by term."
)


@cache
def derivation() -> Derivation:
    """The risk given the spectrum, the best penalty, and the means over the spectrum."""
    star, slope = best_penalty()
    closed = {f"{count} of {count + difference}": closed_form(count, difference) for count, difference in CLOSED}
    steps = (
        Step(
            "risk given the spectrum", "E |w_hat - w|^2", to_text(risk()),
            rf"\mathbb{{E}}\,\lvert\hat w - w\rvert^2 = {to_latex(risk())}",
            f"an eigenvalue t of X^T X adds {at_eigenvalue()}: w_hat - w = -lambda R w + R X^T e with R = (X^T X + "
            "lambda)^-1, and turns of X make E w w^T = (W/d) I; R X^T X R = R - lambda R^2, Tr = E tr R^r",
            spectrum_check, forms={"eigenvalue": at_eigenvalue(), "risk": risk()},
        ),
        Step(
            "Bayes penalty", "lambda* and the slope of what t adds", f"{star}, {slope}",
            rf"\lambda^* = {latex_of(star)},\quad \partial_\lambda = {latex_of(slope)}",
            "the slope has the sign of lambda - lambda* at every t > 0, so lambda* is best for every spectrum; there "
            "the risk is sigma^2 T1, and ridge is the posterior mean for w ~ N(0, (W/d) I)",
            best_check, forms={"penalty": star, "slope": slope},
        ),
        Step(
            "de Bruijn's formula", "E sum_i g(t_i), m eigenvalues of density prod |t_i - t_j| prod w(t_i)",
            "1/2 tr(A^-1 A')",
            r"\mathbb{E}\textstyle\sum_i g(t_i) = \tfrac12\operatorname{tr}(A^{-1}A'),\quad A_{ij} = \iint "
            r"\operatorname{sgn}(y - x)\, x^i y^j w(x) w(y)",
            "A'_ij has g(x) + g(y) besides; bordered by single integrals for odd m",
            de_bruijn_check, proof=DE_BRUIJN,
        ),
        Step(
            "table without penalty", "S(alpha + i, alpha + j)/Gamma(2 alpha + 2), D = 2 alpha + 1 = |n - d|",
            "; ".join(f"{name}: {form}" for name, form in pair_forms().items()),
            rf"S(\alpha, \alpha + 2)/\Gamma(2\alpha + 2) = {latex_of(pair_forms()['S02'])}",
            "S(a, b) = 2 b S(a, b - 1) + 4 Gamma(a + b + 1) by parts in y, from S(alpha, alpha) = 0; antisymmetric",
            pairs_check, forms=dict(pair_forms()),
        ),
        Step(
            "few eigenvalues", "T1 over the positive eigenvalues, m of max(n, d), |n - d| odd",
            "; ".join(f"{name}: {form}" for name, form in closed.items()),
            rf"\mathbb{{E}}\textstyle\sum_{{i \le 2}} \frac{{1}}{{t_i + \lambda}} = {latex_of(closed['2 of 3'])}",
            "G_r(a + 1, b) = G_(r-1)(a, b) - lambda G_r(a, b) and G_r(a, b) = 2 b G_r(a, b - 1) + 4 K_r(a + b); K = "
            "e^lambda E_1(lambda), L = e^(lambda/2) E_1(lambda/2), lam = lambda. In powers of 1/lambda its "
            "coefficients are the moments E tr W^k",
            inverse_moments_check, forms=closed,
        ),
    )  # fmt: skip
    results = {"risk": risk(), "penalty": star, **closed}
    return Derivation(replace(STATEMENT, latex=steps[0].latex), steps, results, instance)


STATEMENT = Statement(
    identifier="ridge-risk",
    title="Ridge regression: the exact risk at every prefix, for every penalty and noise",
    latex="",  # the derived formula, filled in by `derivation`
    text=(
        "The risk of ridge regression on N examples x ~ N(0, I_d) is (W/d) lambda^2 T_2 + sigma^2 (T_1 - lambda T_2) "
        "with T_r = E tr (X^T X + lambda)^-r over the real Wishart law, at every finite N and d and for every law of w "
        "with E |w|^2 = W. T_1 and T_2 follow from de Bruijn's Pfaffian by recursions without error. The best penalty "
        "is sigma^2 d/W, where the risk is sigma^2 T_1: the Bayes risk of dense tasks."
    ),
    assumptions=(f"{GAUSSIAN_INPUTS}; lambda > 0", ANY_NOISE),
    conventions="penalty lambda |w|^2 beside sum (w.x_i - y_i)^2, no 1/N; risk = E |w_hat - w|^2, no factor 1/2",
    sources=(
        Source("debruijn1955some", "the Pfaffian"),
        Source("garg2022can", "the setting"),
        Source("ours", "finite-size risk and recursions"),
    ),
    uses=("baseline-risks",),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """The risk in T1, T2 and the penalty, and the best penalty."""
    top, bottom = polynomial_of(best_penalty()[0])
    others = {
        "lam": ("sigma2",), "sigma2": ("lam", "W"), "W": ("sigma2",), "d": ("lam",), "T1": ("T2",), "T2": ("T1",),
    }  # fmt: skip
    return Formula({"risk": risk(), "penalty": top * bottom**-1}, risk_and_penalty, Vocabulary(others))


def risk_and_penalty(parts: Mapping[str, TracePolynomial], values: Values) -> Array:
    """(risk, best penalty) at values of lam, W, d, sigma2, T1 and T2."""
    return np.array([evaluate_scalars(parts[name], values) for name in ("risk", "penalty")], dtype=object)


def points(name: str) -> list[dict[str, Any]]:
    """Rational letters; T1 and T2 are as free as the rest."""
    found = []
    for k in range(4):
        draw = random.Random(f"{name}/ridge/{k}")
        found.append({
            letter: Fraction(draw.randint(1, 60), draw.randint(1, 9))
            for letter in ("lam", "W", "d", "sigma2", "T1", "T2")
        })  # fmt: skip
    return found


def letters(dimension: int, length: int, squared_norm: float, noise_variance: float, penalty: float) -> dict[str, Any]:
    """The values of one setting: T1 and T2 unrounded: T1 - lam T2 is right to 1e-12."""
    means = exact_resolvent_powers(length, dimension, penalty)
    named: dict[str, Any] = {
        "d": dimension, "W": squared_norm, "sigma2": noise_variance, "lam": penalty, "T1": means.first,
        "T2": means.second,
    }  # fmt: skip
    return {name: Fraction(value) for name, value in named.items()}


# Public numbers


def ridge_risk(dimension: int, length: int, squared_norm: float, noise_variance: float, penalty: float) -> float:
    """The risk; W at N = 0.

    >>> round(ridge_risk(20, 20, 20.0, 1.0, 1.0), 9)  # the Bayes risk: sigma^2 T_1
    4.17921367
    """
    if not length:
        return float(squared_norm)
    return float(evaluate_scalars(risk(), letters(dimension, length, squared_norm, noise_variance, penalty)))


def best_penalty_at(dimension: int, squared_norm: float, noise_variance: float) -> float:
    """sigma^2 d/W."""
    named = {"d": dimension, "W": squared_norm, "sigma2": noise_variance}
    return float(exact_value(best_penalty()[0], {name: Fraction(value) for name, value in named.items()}))


def prediction(
    dimension: Any,
    lengths: Any = None,
    squared_norm: Any = None,
    nonzeros: Any = None,
    variance: Any = None,
    noise_variance: Any = 0.0,
    penalty: Any = None,
) -> dict[str, Any]:
    """The curve over `lengths`, and its two parts; penalty None stands for the best one. Raises AssumptionError.

    >>> found = prediction(1, [0, 2], noise_variance=1.0)
    >>> [round(value, 9) for value in found["ridge"]]
    [1.0, 0.461455316]
    """
    size = check_size(dimension)
    prefixes = check_lengths(lengths, size)
    check_cost(prefixes, size)
    W, noise = (
        squared_norm_of(size, squared_norm, nonzeros, variance),
        check_non_negative(noise_variance, "noise_variance"),
    )
    best = best_penalty_at(size, W, noise) if W and noise else None
    lam = chosen_penalty(best, penalty)
    parts = [noise_and_all(size, n, W, noise, lam) for n in prefixes]
    return {
        "lengths": prefixes,
        "ridge": [whole for _, whole in parts],
        "of_noise": [of_noise for of_noise, _ in parts],
        "penalty": lam,
        "best_penalty": best,
    }


def noise_and_all(size: int, length: int, W: float, noise: float, lam: float) -> tuple[float, float]:
    """(the noise's part of the risk, the risk)."""
    return ridge_risk(size, length, 0.0, noise, lam), ridge_risk(size, length, W, noise, lam)


def chosen_penalty(best: float | None, given: Any) -> float:
    if given is not None:
        return check_positive(given, "penalty")
    if best is None:
        raise AssumptionError(
            "the best penalty sigma^2 d/E|w|^2 needs noise and tasks that are not 0; give penalty, or see "
            "baseline-risks for least squares"
        )
    return best


def check_cost(prefixes: Sequence[int], dimension: int) -> None:
    """Refuse what would take minutes."""
    if len(prefixes) > MOST_LENGTHS:
        raise AssumptionError(f"need at most {MOST_LENGTHS} numbers of examples, got {len(prefixes)}; give a list")
    most = max(min(n, dimension) for n in prefixes)
    if most > LARGEST:
        raise AssumptionError(
            f"the risk of ridge regression is evaluated where the dimension or the number of examples is at most "
            f"{LARGEST}, got {most}; give fewer examples or a smaller dimension"
        )
