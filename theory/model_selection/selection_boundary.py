r"""How many nonzero coefficients make the Bayes predictor of a dense/sparse mixture change sides, and how sharply.

Dense w ~ N(0, v_d I_d) with probability pi, else a support drawn uniformly from the k-subsets and w_S ~ N(0, v_s I_k).
Inputs are orthogonal, X^T X = n I with n examples; g = n v/s2 is the signal-to-noise ratio of a coefficient, g_d or
g_s by its class, and z_j = x_j . y/sqrt(n s2), x_j column j of X.
Main statements
    one coefficient   the evidence of a support S is that of no coefficient times the product over S of
                      t_j = (1 + g)^(-1/2) exp(g z_j^2/(2 (1 + g)))
    two classes       odds of dense against sparse: pi C(d, k) prod_j t_j/((1 - pi) e_k(t)), e_k elementary symmetric,
                      t_j with g_d above and with g_s below
    m nonzeros        of equal size, the other z_j = 0, with u = exp(g z^2/(2 (1 + g))), u_d or u_s:
                      odds = pi C(d, k) q u_d^m/((1 - pi) sum_i C(m, i) C(d - m, k - i) u_s^i),
                      q = (1 + g_d)^(-d/2) (1 + g_s)^(k/2)
    without noise     s2 -> 0: the odds go to 0 for m <= k, as s2^((d-k)/2), and to infinity for every m > k: the
                      boundary lies between k and k + 1, and there is nothing in between
    with noise        labels X w with w_j^2 = r v have z^2 = g r. The odds are even at an m >= k with
                      -log q + log((1-pi)/pi) - log C(d,k)  <=  m log u_d - k log u_s  <=  the same without C(d,k),
                      log u = g^2 r/(2 (1 + g)): m is above k + 1 unless g r is large beside (d - k) log(1 + g)
Assumptions
    Orthogonal inputs, so n >= d; labels with Gaussian noise of variance s2. For Gaussian inputs, and for n < d, the
    oracle itself is evaluated (benchmarks/selection_boundary.py).
References
    [yadlowsky2023pretraining, Fig. 3], where the in-between is told of 3 to 7 nonzeros for k = 2; the rest is ours.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import evaluate, exact_inverse
from ..algebra.formulas import Formula, Values
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, map_scalars, number, scalar, substitute
from ..one_layer.assumptions import AssumptionError, check_positive, is_whole
from .class_selection import check_probability, exact

G, P, Z2, U, DIM, M, R = (scalar(name) for name in ("g", "P", "z2", "u", "D", "m", "r"))
Q, POWER = scalar("q"), scalar("U")  # q = (1 + g_d)^(-d/2) (1 + g_s)^(k/2), U = u_d^m
NEXT = "(m+1)"  # a symbol of its own, so that m + 1 can stand in the place of m


# The derivation's polynomials; D stands for d, which is the size of matrices elsewhere


@cache
def inverse_part() -> TracePolynomial:
    """(1 + g)(1 + g P)^(-1) for a projection P.

    >>> inverse_part()
    1 - P g + g
    """
    found = 1 + G - G * P
    product = (1 + G * P) * found
    assert map_scalars(product, projected) == 1 + G
    return found


def projected(scalars: tuple[tuple[str, int], ...]) -> TracePolynomial:
    """P^2 = P."""
    found = number(1)
    for symbol, power in scalars:
        found = found * scalar(symbol) ** (min(power, 1) if symbol == "P" else power)
    return found


@cache
def raised() -> TracePolynomial:
    """(1 + g) times what a coefficient adds to twice the exponent: z^2 less what is left of it where P = 1.

    >>> raised()
    g z2
    """
    return (1 + G) * Z2 - substitute(inverse_part(), scalars={"P": number(1)}) * Z2


@cache
def strength() -> tuple[TracePolynomial, TracePolynomial]:
    """Numerator and denominator of log u at labels X w with w^2 = r v, where z^2 = n w^2/s2 = g r."""
    return substitute(raised(), scalars={"z2": G * R}), 2 * (1 + G)


def choose(x: TracePolynomial, k: int) -> TracePolynomial:
    """C(x, k) for k = 0, 1, 2."""
    return (number(1), x, x * (x - 1) / 2)[k]


@cache
def supports(k: int) -> TracePolynomial:
    """sum_i C(m, i) C(d - m, k - i) u^i for k = 1, 2.

    >>> supports(1)
    D - m + m u
    """
    found = choose(DIM - M, k)
    for i in range(1, k + 1):
        found = found + choose(M, i) * choose(DIM - M, k - i) * U**i
    return found


@cache
def everything(k: int) -> TracePolynomial:
    """C(d, k) q U: the dense class over (1 + g_s)^(-k/2), times the number of supports."""
    return choose(DIM, k) * Q * POWER


# Instances: literal orthogonal inputs, the columns of a Hadamard matrix


HADAMARD = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=object)


class Instance:
    """Four examples of three orthogonal inputs, rational labels; and letters t for five coefficients, two-valued."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(f"selection-boundary/{seed}")
        fractions = [Fraction(draw.randint(1, 99), 31) for _ in range(12)]
        self.X = HADAMARD[:, 1:] * Fraction(1)
        self.v, self.s2, self.w, *self.labels = fractions[:7]
        self.tau, self.u, self.tau_d, self.u_d = fractions[7], 1 + fractions[8], fractions[9], 1 + fractions[10]
        self.m = seed % 6
        self.g = 4 * self.v / self.s2

    def covariance(self, support: tuple[int, ...]) -> Any:
        """s2 I + v X_S X_S^T of the labels, entry by entry."""
        columns = self.X[:, list(support)]
        return columns @ columns.T * self.v + np.eye(4, dtype=int) * self.s2

    def value(self, polynomial: TracePolynomial, **letters: Any) -> Any:
        return exact(polynomial, {"g": self.g, **letters})

    def product_of(self, support: tuple[int, ...]) -> Any:
        """prod of t_j over a support of five coefficients, the first m of which have t = tau u, in the sparse class."""
        found = Fraction(1)
        for j in support:
            found *= self.tau * (self.u if j < self.m else 1)
        return found

    def product_of_all(self) -> Any:
        """The same over all five in the dense class, which has its own t."""
        found = Fraction(1)
        for j in range(5):
            found *= self.tau_d * (self.u_d if j < self.m else 1)
        return found


SUPPORTS = ((), (0,), (1, 2), (0, 1, 2))


def determinant(matrix: Any) -> Any:
    """By elimination over the rationals."""
    rows = [list(row) for row in matrix]
    found = Fraction(1)
    for i in range(len(rows)):
        pivot = next((k for k in range(i, len(rows)) if rows[k][i] != 0), None)
        if pivot is None:
            return Fraction(0)
        if pivot != i:
            rows[i], rows[pivot], found = rows[pivot], rows[i], -found
        found *= rows[i][i]
        for k in range(i + 1, len(rows)):
            factor = rows[k][i] / rows[i][i]
            rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
    return found


def literal_covariances(at: Instance) -> tuple[Any, Any]:
    """Determinants and inverses of literal covariances, and s2^n (1+g)^|S| and inverse_part/(s2 (1+g))."""
    literal, derived = [], []
    for support in SUPPORTS:
        K = at.covariance(support)
        P = at.X[:, list(support)] @ at.X[:, list(support)].T / Fraction(4)
        at_0, at_1 = (at.value(inverse_part(), P=Fraction(k)) for k in (0, 1))
        inverse = (np.eye(4, dtype=int) * at_0 + P * (at_1 - at_0)) / (at.s2 * (1 + at.g))
        literal += [determinant(K), *exact_inverse(K).reshape(-1)]
        derived += [at.s2**4 * (1 + at.g) ** len(support), *inverse.reshape(-1)]
    return literal, derived


def literal_exponents(at: Instance) -> tuple[Any, Any]:
    """y.y/s2 - y.K^-1 y, and the sum of raised/(1 + g) over the support."""
    y = np.array(at.labels, dtype=object)
    literal, derived = [], []
    for support in SUPPORTS:
        literal.append(y @ y / at.s2 - y @ exact_inverse(at.covariance(support)) @ y)
        squares = [(at.X[:, j] @ y) ** 2 / (4 * at.s2) for j in support]
        derived.append(sum((at.value(raised(), z2=z2) / (1 + at.g) for z2 in squares), Fraction(0)))
    return literal, derived


def literal_supports(at: Instance) -> tuple[Any, Any]:
    """Sums over supports of five coefficients by enumeration, and by the forms; the dense class alike."""
    literal, derived = [], []
    letters = {"D": Fraction(5), "m": Fraction(at.m), "u": at.u}
    for k in (1, 2):
        literal.append(sum(at.product_of(one) for one in combinations(range(5), k)))
        derived.append(at.tau**k * exact(supports(k), letters))
        literal.append(at.product_of_all() * math.comb(5, k))
        top = exact(everything(k), {**letters, "q": at.tau_d**5 / at.tau**k, "U": at.u_d**at.m})
        derived.append(at.tau**k * top)
    return literal, derived


def literal_strength(at: Instance) -> tuple[Any, Any]:
    """raised/(2 (1 + g)) at the z^2 of literal labels X w, and strength; w^2 = r v."""
    y = at.X @ np.array([at.w, 0, -at.w], dtype=object)
    squares = [(at.X[:, j] @ y) ** 2 / (4 * at.s2) for j in range(3)]
    top, below = (at.value(part, r=at.w**2 / at.v) for part in strength())
    return [at.value(raised(), z2=z2) / (2 * (1 + at.g)) for z2 in squares], [top / below, 0, top / below]


def vandermonde(at: Instance) -> tuple[Any, Any]:
    """The supports at u = 1, and how many there are; at u, with and without those on the m alone."""
    letters = {"D": Fraction(5), "m": Fraction(at.m)}
    found = [exact(supports(k), {**letters, "u": Fraction(1)}) for k in (1, 2)]
    slack = [math.comb(5, k) * at.u**k - exact(supports(k), {**letters, "u": at.u}) for k in (1, 2)]
    rest = [exact(supports(k), {**letters, "u": at.u}) - math.comb(at.m, k) * at.u**k for k in (1, 2)]
    return [*found, all(one >= 0 for one in (*slack, *rest))], [5, 10, True]


INVERSE, COEFFICIENT, COUNTED = "covariance of the labels", "one coefficient", "sums over supports"
STRENGTH, BOUNDARY = "strength of a nonzero", "where the odds are even"


@cache
def derivation() -> Derivation:
    """From the covariance of the labels to the boundary."""
    results = {"supports of one": supports(1), "supports of two": supports(2), "strength": strength()[0]}
    return Derivation(STATEMENT, (*evidence_steps(), *boundary_steps()), results, Instance)


def evidence_steps() -> tuple[Step, ...]:
    """Evidence of one support, and sums over them."""
    return (
        Step(
            INVERSE,
            "K_S^-1 and det K_S, K_S = s2 I + v X_S X_S^T",
            f"({to_text(inverse_part())})/(s2 (1 + g)), P = X_S X_S^T/n; s2^n (1 + g)^|S|",
            rf"K_S^{{-1}} = \frac{{{to_latex(inverse_part())}}}{{\sigma^2 (1+g)}},\quad "
            r"\det K_S = \sigma^{2n}(1+g)^{|S|}",
            "X_S^T X_S = n I makes P a projection of rank |S|, and K_S = s2 (I + g P)",
            literal_covariances,
            forms={"inverse": inverse_part()},
        ),
        Step(
            COEFFICIENT,
            "2 log of evidence over evidence of no coefficient",
            f"sum over S of ({to_text(raised())})/(1 + g) - log(1 + g)",
            rf"2\log\frac{{e_S}}{{e_\emptyset}} = \sum_{{j\in S}}\Bigl(\frac{{{to_latex(raised())}}}{{1+g}} - "
            r"\log(1+g)\Bigr)",
            "y.P y/s2 = sum of z_j^2, z2 = z_j^2: each coefficient of S brings its own factor t_j",
            literal_exponents,
            forms={"raised": raised()},
        ),
        Step(
            COUNTED,
            "e_k(t)/tau^k and C(d, k) prod t_j/tau^k for k = 1; 2, with t = tau u for m of d coefficients, else tau; "
            "tau_d and u_d in the dense class",
            f"{to_text(supports(1))}; {to_text(supports(2))} and {to_text(everything(1))}; {to_text(everything(2))}, "
            "q = tau_d^d/tau^k, U = u_d^m, D = d",
            rf"{to_latex(supports(1))},\quad {to_latex(supports(2))}",
            "i of the k coefficients are among the m: C(m, i) C(d - m, k - i) supports; each is drawn with probability "
            "1/C(d, k), so the odds are pi C(d, k) q U/((1 - pi) sum_i C(m, i) C(d - m, k - i) u^i)",
            literal_supports,
            forms={
                "supports of one": supports(1), "supports of two": supports(2), "dense beside one": everything(1),
                "dense beside two": everything(2),
            },
        ),
    )  # fmt: skip


def boundary_steps() -> tuple[Step, ...]:
    """The size of u, and where the classes have even odds."""
    top, below = strength()
    return (
        Step(
            STRENGTH,
            "log u at labels X w with w_j^2 = r v",
            f"({to_text(top)})/({to_text(below)})",
            rf"\log u = \frac{{{to_latex(top)}}}{{{to_latex(below)}}}",
            "x_j.y = n w_j, so z_j^2 = n w_j^2/s2 = g r: strong where g is large, whatever n is",
            literal_strength,
            forms={"strength": top, "twice": below},
        ),
        Step(
            BOUNDARY,
            "the sum over supports at u = 1 for k = 1, 2; C(m, k) u^k <= it <= C(d, k) u^k for u >= 1",
            "C(d, k); both hold",
            r"\binom mk u^k \le \sum_i \binom mi\binom{d-m}{k-i} u^i \le \binom dk u^k",
            "Vandermonde's identity, and u^i <= u^k; so the odds lie between pi q u_d^m/((1 - pi) u_s^k) and "
            "C(d, k)/C(m, k) times that, q = (1 + g_d)^(-d/2) (1 + g_s)^(k/2)",
            vandermonde,
            proof=(
                "Even odds at m >= k need m log u_d - k log u_s between -log q + log((1 - pi)/pi) - log C(d, k) and "
                "the same without C(d, k). As s2 -> 0 both log u are z^2/2 but for bounded terms, z^2 = n w^2/s2, and "
                "q falls as s2^((d-k)/2): for m > k the lower bound on the odds grows as exp((m - k) z^2/2) times a "
                "power of s2, to infinity; for m <= k the sum is at least C(d - m, k - m) u_s^m, and the odds are at "
                "most a constant times q -> 0. So without noise the boundary is between k and k + 1. For equal "
                "variances it is at m - k of about (d - k)(1 + g) log(1 + g)/(g^2 r)."
            ),
        ),
    )  # fmt: skip


STATEMENT = Statement(
    identifier="selection-boundary",
    title="The selection boundary: how many nonzeros make the oracle change sides, and what noise does to it",
    latex=r"\frac{p}{1-p} = \frac{\pi}{1-\pi}\,\frac{\binom dk\,q\,u_d^m}"
    r"{\sum_i \binom mi\binom{d-m}{k-i}u_s^i},\quad q = (1+g_d)^{-d/2}(1+g_s)^{k/2},\quad u = e^{g^2 r/(2(1+g))}",
    text=(
        "For orthogonal inputs the odds of dense against k-sparse are a closed form in the number m of nonzeros. "
        "Without noise the Bayes predictor is that of the sparse class up to m = k and that of the dense class from "
        "m = k + 1 on, with nothing in between; with noise it is in between at m - k of about (d - k)(1 + g) log(1 + "
        "g)/(g^2 r) for equal variances, g = n v/s2: a few where noise is large or the nonzeros are small. For a "
        "trained model the effective noise is fitted on its own law, and what it explains of the sweep is measured."
    ),
    assumptions=(
        "orthogonal inputs X^T X = n I (so n >= d); dense w ~ N(0, v_d I) with probability pi, else uniform support of "
        "size k and N(0, v_s); noise N(0, s2)",
        "m coefficients of equal estimates, the others estimated as 0",
    ),
    conventions="natural logarithms; m counts the nonzeros of the prompt, k those of the sparse class",
    sources=(
        Source("yadlowsky2023pretraining", "Fig. 3"),
        Source("ours", "the odds, the boundary and its noise"),
    ),
    uses=("class-selection", "mixture-noiseless-limit"),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """log u, and the odds at pi = 1/2 for k = 1 and k = 2 at independent letters D, m, u, U, q."""
    parts = {
        "strength": strength()[0], "twice": strength()[1], "supports of one": supports(1),
        "dense beside one": everything(1), "supports of two": supports(2), "dense beside two": everything(2),
    }  # fmt: skip
    vocabulary = Vocabulary(
        {"D": ("m",), "m": ("D", NEXT), "u": ("U",), "U": ("u",), "g": ("r",), "r": ("g",), "q": ("U",)}
    )
    return Formula(parts, quantities, vocabulary)


def quantities(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """(log u, odds for k = 1, odds for k = 2)."""
    at = {**values, NEXT: values["m"] + 1}
    found = {name: evaluate(part, at) for name, part in parts.items()}
    for name in ("twice", "supports of one", "supports of two"):
        if found[name] == 0:
            raise ValueError(f"need a number different from 0 for {name}")
    return np.array([
        found["strength"] / found["twice"], found["dense beside one"] / found["supports of one"],
        found["dense beside two"] / found["supports of two"],
    ]).reshape(3)  # fmt: skip


def points(name: str) -> list[dict[str, Any]]:
    """Rational letters, D and m whole."""
    found = []
    for k in range(4):
        draw = random.Random(f"{name}/selection-boundary/{k}")
        letters = {one: np.array(Fraction(draw.randint(1, 900), 211), dtype=object) for one in "gruUq"}
        whole = {
            "D": np.array(Fraction(draw.randint(8, 20)), dtype=object),
            "m": np.array(Fraction(k + 3), dtype=object),
        }
        found.append({**letters, **whole})
    return found


Signal = tuple[float, float]  # g and r of a class


def letters_of(
    made: Formula, dimension: int, nonzeros: int, sparsity: int, dense: Signal, sparse: Signal
) -> dict[str, Any]:
    """The letters where the classes have these g and r; u comes from the formula's own strength; g, r: sparse."""
    at = {"D": float(dimension), "m": float(nonzeros), "u": 1.0, "U": 1.0, "q": 1.0}
    log_u_d, log_u_s = (float(made.value({**at, "g": g, "r": r})[0]) for g, r in (dense, sparse))
    q = (1 + dense[0]) ** (-dimension / 2) * (1 + sparse[0]) ** (sparsity / 2)
    both = {"u": math.exp(log_u_s), "U": math.exp(nonzeros * log_u_d), "q": q}
    return {**at, **both, "g": sparse[0], "r": sparse[1]}


def log_odds_by(made: Formula, dimension: int, nonzeros: int, sparsity: int, dense: Signal, sparse: Signal) -> float:
    """The log Bayes factor for k = 1 or 2 by a formula. Raises ValueError where its odds are not positive."""
    odds = float(made.value(letters_of(made, dimension, nonzeros, sparsity, dense, sparse))[sparsity])
    if not odds > 0:
        raise ValueError(f"need positive odds, got {odds}")
    return math.log(odds)


# For a user


def for_user(
    dimension: Any,
    sparsity: Any,
    examples: Any,
    noise_variance: Any,
    dense_variance: Any = 1.0,
    sparse_variance: Any = None,
    strength: Any = None,
    dense_probability: Any = 0.5,
) -> dict[str, Any]:
    """The posterior against the number of nonzeros, and where it is one half. Raises AssumptionError.

    >>> [round(p, 3) for p in for_user(5, 1, 10, 0.1)["dense_posterior"]]
    [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    """
    d, k, n = (
        whole(value, name) for value, name in ((dimension, "dimension"), (sparsity, "sparsity"), (examples, "examples"))
    )
    if not k < d:
        raise AssumptionError(f"sparsity needs a number below the dimension {d}, got {k}; else both classes are dense")
    if n < d:
        raise AssumptionError(f"examples needs at least the dimension {d} for orthogonal inputs, got {n}")
    s2, v_d = check_positive(noise_variance, "noise_variance"), check_positive(dense_variance, "dense_variance")
    v_s = v_d if sparse_variance is None else check_positive(sparse_variance, "sparse_variance")
    square = v_d if strength is None else check_positive(strength, "strength")
    pi = check_probability(dense_probability)
    prior = math.log(pi / (1 - pi))
    try:
        found, bounds = odds_and_bounds(d, k, prior, *signals(n, s2, square, v_d, v_s))
    except OverflowError:
        raise AssumptionError(
            f"noise_variance needs a size at which log odds stay below 1e308, got {s2:g} beside variances {v_d:g}, "
            f"{v_s:g} and strength {square:g}; give numbers nearer to each other"
        ) from None
    return {
        "dense_posterior": [sigmoid(one) for one in found],
        "log_odds": found,
        "boundary_lower": bounds[0],
        "boundary_upper": bounds[1],
    }


ExactSignal = tuple[Fraction, Fraction]  # g and r of a class, without rounding: g r has to be the same in both


def signals(n: int, s2: float, square: float, v_d: float, v_s: float) -> tuple[ExactSignal, ExactSignal]:
    """g = n v/s2 and r = strength/v of the dense and of the sparse class."""
    dense, sparse = ((n * Fraction(v) / Fraction(s2), Fraction(square) / Fraction(v)) for v in (v_d, v_s))
    return dense, sparse


def odds_and_bounds(
    d: int, k: int, prior: float, dense: ExactSignal, sparse: ExactSignal
) -> tuple[list[float], tuple[float | None, float | None]]:
    """Log odds for m = 0 .. d, and bounds on an m from k to d with even odds; None where there is none.

    Raises OverflowError where a number is too large for a float.
    """
    odds = [prior + log_bayes_factor(d, m, k, dense, sparse) for m in range(d + 1)]
    rest = -log_q(d, k, float(dense[0]), float(sparse[0])) - prior
    log_u_d, from_sparse = log_u(dense), k * log_u(sparse)
    lower, upper = (float((Fraction(one) + from_sparse) / log_u_d) for one in (rest - math.log(math.comb(d, k)), rest))
    return odds, ((max(float(k), lower), upper) if upper >= k and lower <= d else (None, None))


def log_u(signal: ExactSignal) -> Fraction:
    """log u of a class, from the derived strength."""
    g, r = signal
    top, below = (exact(part, {"g": g, "r": r}) for part in strength())
    return Fraction(top / below)


def log_q(d: int, k: int, g_d: float, g_s: float) -> float:
    """log of (1 + g_d)^(-d/2) (1 + g_s)^(k/2)."""
    return (k * math.log1p(g_s) - d * math.log1p(g_d)) / 2


def log_bayes_factor(d: int, m: int, k: int, dense: ExactSignal, sparse: ExactSignal) -> float:
    """log C(d, k) q u_d^m/sum_i C(m, i) C(d - m, k - i) u_s^i for any k, by the logarithm of a sum.

    m log u_d - i log u_s is taken without rounding: each is of size 1/s2, and their difference need not be.
    """
    inside = range(max(0, k - d + m), min(k, m) + 1)
    log_u_d, log_u_s = log_u(dense), log_u(sparse)
    logs = [math.log(math.comb(m, i) * math.comb(d - m, k - i)) + float(i * log_u_s - m * log_u_d) for i in inside]
    largest = max(logs)
    total = largest + math.log(sum(math.exp(one - largest) for one in logs))
    return math.log(math.comb(d, k)) + log_q(d, k, float(dense[0]), float(sparse[0])) - total


def sigmoid(z: float) -> float:
    """1/(1 + e^-z) without overflow."""
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def whole(value: Any, name: str) -> int:
    """A whole number of at least 1 and at most 1000. Raises AssumptionError."""
    if not is_whole(value) or not 1 <= value <= 1000:
        raise AssumptionError(f"{name} needs a whole number from 1 to 1000, got {value!r}; give one such as 5")
    return int(value)
