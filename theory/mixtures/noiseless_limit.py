r"""The Bayes predictor of the mixture as the noise goes to 0: which supports remain, and after how many examples.

Of a support with the design R (N rows, rank r) let R = B C with B of r independent columns of R.
Main statements
    evidence      y = B t + e with B^T e = 0: p(y) is (2 pi)^(-N/2) s2^(-(N-r)/2) exp(-|e|^2/(2 s2)) times
                  (det B^T B det kappa)^(-1/2) exp(-t.a/2) (1 + O(s2)), kappa = v C C^T, kappa a = t
    limit         the supports that fit (e = 0) with the least rank share the posterior, each with its prior times that
                  last factor; a support that does not fit is out exponentially, one of larger rank r' as s2^((r'-r)/2)
    rate          with M = B^T B the logarithm of the factor is off by at most s2/2 (tr (M^-1 kappa^-1) + a^T M^-1 a)
    prediction    v x_q^T C^T a: least squares where r = k, of least norm where r < k
    identified    examples without noise, inputs with a density, k < d: for N <= k every support fits, and the class
                  stays open. For N >= k + 1, with probability 1, no k-support fits a function with more than k nonzero
                  coefficients, and only those that contain its own support one with k or fewer: N = k + 1 examples
                  identify the class
    risks         E (f - w.x_q)^2 for x ~ N(0, I), from N = k + 1 examples on: 0 for a sparse function, v_d (d - N) for
                  a dense one and N <= d (least squares of least norm), |w|^2 (1 - N/d) for any other
So for every number of nonzeros above k the predictor is that of the dense class: nothing lies in between.
References
    The mixture is that of [yadlowsky2023pretraining], whose figure on the number of nonzeros is without noise; ours.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import Array, evaluate
from ..algebra.formulas import Formula, SingularSystemError, Values
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, number, scalar, substitute, vector
from ..one_layer.assumptions import AssumptionError
from .exact_elimination import column, determinant, independent_columns, rational, solution
from .gaussian_evidence import PRIOR, QUERY, X, Y, covariance, normal_equations
from .mixture_posterior import Mixture, Prompt, plain, values_at

if TYPE_CHECKING:
    import sympy as sp

DUAL, SHIFT = vector("a", space="N"), vector("b", space="N")


class Limit(NamedTuple):
    """What a support's evidence is at small noise: fits or not, its prior weight, rank, and the factor of order 1.

    volume        det(B^T B) det(kappa)
    square        t.a
    prediction    v x_q^T C^T a
    left_over     |e|^2: 0 where the support fits
    slope         tr (M^-1 kappa^-1) + a^T M^-1 a: twice what s2 may change in the logarithm, to first order and at most
    """

    weight: Fraction
    rank: int
    volume: Fraction
    square: Fraction
    prediction: Fraction
    left_over: Fraction
    slope: Fraction


# The formula, each polynomial that of any noise at s2 = 0


def without_noise(polynomial: TracePolynomial) -> TracePolynomial:
    """The polynomial at s2 = 0."""
    return substitute(polynomial, scalars={"s2": number(0)})


@cache
def formula() -> Formula:
    """What is known of every support, dense first: rank's power, volume, square, prediction; exact."""
    left, right = (without_noise(part) for part in normal_equations())
    parts = {
        "left": left, "right": right, "kernel": without_noise(covariance()), "square": Y.T * DUAL,
        "prediction": PRIOR * QUERY.T * X.T * DUAL, "power": scalar("N") - scalar("r"),
        "dense weight": scalar("pi"), "sparse weight": scalar("rho") * scalar("C") ** -1,
    }  # fmt: skip
    return Formula(parts, all_limits, Vocabulary({"N": ("k",), "r": ("k",), "pi": ("rho",), "rho": ("pi",)}))


class Factors(NamedTuple):
    """B (N, r) and C (r, k) with R = B C, both of rank r; t with B t + e = y, B^T e = 0; and |e|^2."""

    B: Array
    C: Array
    t: Array
    left_over: Fraction


def factors(parts: Mapping[str, TracePolynomial], R: Array, y: Array) -> Factors:
    """A design in independent columns, and y along them."""
    B = R[:, independent_columns(R)]
    if not B.shape[1]:
        empty = np.zeros((0, 1), dtype=object)
        return Factors(B, np.zeros((0, R.shape[1]), dtype=object), empty, plain(y.T @ y) if len(y) else Fraction(0))
    left, t = evaluate(parts["left"], {"X": B}), solved(parts, B, y)
    C = np.hstack([solution(left, B.T @ R[:, [j]]) for j in range(R.shape[1])])
    e = y - B @ t
    return Factors(B, C, t, plain(e.T @ e))


def solved(parts: Mapping[str, TracePolynomial], B: Array, y: Array) -> Array:
    """t of the normal equations. Raises SingularSystemError."""
    left, right = (evaluate(parts[name], {"X": B, "y": y}) for name in ("left", "right"))
    return left_solution(left, right)


def left_solution(left: Array, right: Array) -> Array:
    try:
        return solution(left, right)
    except ValueError as error:
        raise SingularSystemError(str(error)) from None


def limit_of(
    parts: Mapping[str, TracePolynomial], values: Values, support: tuple[int, ...], variance: Fraction, weight: Fraction
) -> Limit:
    """The limit of one support. Raises SingularSystemError where a formula gives none."""
    used = list(support)
    B, C, t, left_over = factors(parts, values["X"][:, used], values["y"])
    rank = B.shape[1]
    if not rank:
        return Limit(weight, 0, Fraction(1), Fraction(0), Fraction(0), left_over, Fraction(0))
    letters = {"X": C, "v": np.array(variance, dtype=object), "x_q": values["x_q"][used], "y": t}
    left, kernel = evaluate(parts["left"], {"X": B}), evaluate(parts["kernel"], letters)
    letters["a"] = a = left_solution(kernel, t)
    volume = determinant(left) * determinant(kernel)
    if volume <= 0:
        raise SingularSystemError(f"need a positive volume, got {volume}")
    square, prediction = (plain(evaluate(parts[name], letters)) for name in ("square", "prediction"))
    inverse = np.hstack([solution(left, solution(kernel, unit)) for unit in units(rank)])
    slope = sum((inverse[i, i] for i in range(rank)), plain(a.T @ solution(left, a)))
    return Limit(weight, rank, volume, square, prediction, left_over, slope)


def units(size: int) -> list[Array]:
    """The columns of the identity."""
    return [column([Fraction(int(i == j)) for i in range(size)]) for j in range(size)]


def limits(parts: Mapping[str, TracePolynomial], values: Values) -> list[Limit]:
    """The limits of every support, dense first."""
    d, k = values["X"].shape[1], values["sparsity"]
    chosen = list(combinations(range(d), k))
    numbers = {name: np.array(values[name], dtype=object) for name in ("pi", "rho")}
    numbers["C"] = np.array(Fraction(len(chosen)), dtype=object)
    dense, sparse = (plain(evaluate(parts[f"{kind} weight"], numbers)) for kind in ("dense", "sparse"))
    found = [limit_of(parts, values, tuple(range(d)), values["v_d"], dense)]
    return found + [limit_of(parts, values, support, values["v_s"], sparse) for support in chosen]


def all_limits(parts: Mapping[str, TracePolynomial], values: Values) -> Array:
    """The rows of `limits`, with the power of 1/sqrt(s2) in the place of the rank: (supports, 6)."""
    rows = []
    for one in limits(parts, values):
        sizes = {"N": len(values["X"]), "r": one.rank, "k": values["sparsity"]}
        at = {name: np.array(Fraction(size), dtype=object) for name, size in sizes.items()}
        power = plain(evaluate(parts["power"], at))
        rows.append((one.weight, power, one.volume, one.square, one.prediction, one.left_over))
    return np.array(rows, dtype=object)


# From the supports to the answer


class Answer(NamedTuple):
    """P(dense), the prediction, how many k-supports are left, and whether the dense class is."""

    dense_posterior: float
    prediction: float
    supports_left: int
    dense_left: bool


def answer(rows: Array) -> Answer:
    """The limit of the posterior over the supports. Raises AssumptionError where none fits."""
    import mpmath

    fitting = [place for place, row in enumerate(rows) if row[5] == 0 and row[0] > 0]
    if not fitting:
        raise AssumptionError(
            "need examples that some function of the mixture fits, got y that no support explains: without noise such "
            "a prompt has probability 0; give a tolerance for rounded numbers, or ask mixture-posterior with noise"
        )
    most = max(rows[place][1] for place in fitting)
    left = [place for place in fitting if rows[place][1] == most]
    least = min(rows[place][3] for place in left)
    with mpmath.workdps(50):
        densities = {}
        for place in left:
            weight, _, volume, square, *_ = rows[place]
            exponent = mpmath.mpf((square - least).numerator) / (square - least).denominator
            scale = mpmath.sqrt(mpmath.mpf(volume.numerator) / volume.denominator)
            densities[place] = mpmath.mpf(weight.numerator) / weight.denominator * mpmath.exp(-exponent / 2) / scale
        total = mpmath.fsum(densities.values())
        means = [p * mpmath.mpf(rows[at][4].numerator) / rows[at][4].denominator for at, p in densities.items()]
        return Answer(
            float(densities.get(0, mpmath.mpf(0)) / total), float(mpmath.fsum(means) / total),
            sum(place > 0 for place in left), 0 in left,
        )  # fmt: skip


def exact_answer(prompt: Prompt, mixture: Mixture) -> Answer:
    """The limit for exact numbers; the mixture's noise is not looked at."""
    values = values_at(prompt.X, prompt.y, prompt.x_query, mixture)
    return answer(formula().value(values))


# The derivation


class Instance:
    """A prompt of three examples of a function with one nonzero coefficient of three, and v, s2."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(f"mixture-noiseless-limit/{seed}")

        def matrix(rows: int, cols: int) -> Array:
            return rational([[Fraction(draw.randint(1, 60) * draw.choice((-1, 1)), 7) for _ in range(cols)]
                             for _ in range(rows)])  # fmt: skip

        self.B, self.C, self.b, self.e = matrix(3, 2), matrix(2, 2), matrix(2, 1), matrix(3, 1)
        self.X, self.w, self.x_query = matrix(4, 4), matrix(4, 1), matrix(4, 1)
        self.v, self.s2 = Fraction(draw.randint(1, 9), 5), Fraction(draw.randint(1, 9), 7)

    def kernel(self) -> Array:
        found: Array = evaluate(formula().parts["kernel"], {"X": self.C, "v": np.array(self.v, dtype=object)})
        return found

    def gram(self) -> Array:
        found: Array = evaluate(formula().parts["left"], {"X": self.B})
        return found

    def covariance(self) -> Array:
        R = self.B @ self.C
        found: Array = rational(np.eye(3, dtype=int)) * self.s2 + self.v * R @ R.T
        return found


def exponents(one: Instance) -> tuple[Any, Any]:
    """y^T K^-1 y for y = B t + e, t = kappa a + s2 b, a = M b: t.a + |e|^2/s2; E[w | y] = v C^T a."""
    gram = one.gram()
    e = one.e - one.B @ solution(gram, one.B.T @ one.e)
    a = gram @ one.b
    t = one.kernel() @ a + one.s2 * one.b
    y = one.B @ t + e
    solved_y = solution(one.covariance(), y)
    means = one.v * (one.B @ one.C).T @ solved_y
    found = plain(t.T @ a) + plain(e.T @ e) / one.s2
    return [plain(y.T @ solved_y), *means[:, 0]], [found, *(one.v * one.C.T @ a)[:, 0]]


def determinants(one: Instance) -> tuple[Any, Any]:
    """det K and s2^(N - r) det(s2 I + M kappa)."""
    inner = rational(np.eye(2, dtype=int)) * one.s2 + one.gram() @ one.kernel()
    return determinant(one.covariance()), one.s2 ** (3 - 2) * determinant(inner)


def rates(one: Instance) -> tuple[Any, Any]:
    """t.(a_0 - a) = s2 a_0.b for kappa a_0 = t."""
    a = one.gram() @ one.b
    t = one.kernel() @ a + one.s2 * one.b
    start = solution(one.kernel(), t)
    return plain(t.T @ (start - a)), one.s2 * plain(start.T @ one.b)


def counted_fits(one: Instance) -> tuple[Any, Any]:
    """Of 6 supports of 2 among 4 coordinates: how many fit N = 2 and 3 examples of 1, 2, 3 and 4 nonzeros."""
    found = []
    for nonzeros in (1, 2, 3, 4):
        w = one.w.copy()
        w[nonzeros:] = Fraction(0)
        for N in (2, 3):
            rows = one.X[:N]
            found.append(sum(fits(rows[:, list(support)], rows @ w) for support in combinations(range(4), 2)))
    return found, [6, 3, 6, 1, 6, 0, 6, 0]


def fits(R: Array, y: Array) -> bool:
    """Whether y is in the range of R: by ranks."""
    return len(independent_columns(R)) == len(independent_columns(np.hstack([R, y])))


def projected_risk(one: Instance) -> tuple[Any, Any]:
    """tr (I - P) over the rows of X, for N = 1, 2, 3 of d = 4."""
    found = []
    for N in (1, 2, 3):
        rows = one.X[:N]
        P = rows.T @ np.hstack([solution(rows @ rows.T, rows[:, [j]]) for j in range(4)])
        found.append(4 - sum(P[i, i] for i in range(4)))
    return found, [4 - N for N in (1, 2, 3)]


@cache
def risk_form() -> sp.Expr:
    """v_d (d - N): the mean of |w|^2 over a random subspace of d - N dimensions."""
    import sympy as sp

    v_d, d, N = sp.symbols("v_d d N", positive=True)
    return sp.expand(v_d * (d - N))


EXPONENT, DETERMINANT, RATE = "exponent", "determinant", "rate"
OPEN, RISK = "supports that fit", "risk on dense functions"
GENERIC = (
    "Let U be the support of w and S a k-subset with U not inside S, N >= k + 1. Given X_S the vector y = X_S w_S + "
    "X_(U-S) w_(U-S) lies in the range of X_S only if u = X_(U-S) w_(U-S) does; u has independent entries with a "
    "density, independent of X_S (for independent coordinates; for any density of the inputs: the determinant of k + 1 "
    "rows of (X_S, u) is a polynomial that is not 0, so its zeros have measure 0), and the range has dimension k < N: "
    "probability 0. If U is inside S, y = X_S w_S fits, the rank is k, and w_S is the only solution. For N <= k the "
    "rank of X_S is N with probability 1, and every y fits. The dense class fits for N <= d, with rank N > k from "
    "N = k + 1 on: it loses to a support that fits."
)


@cache
def derivation() -> Derivation:
    """From the evidence at any noise to its limit, and to what is identified."""
    parts = formula().parts
    steps = (
        Step(
            EXPONENT,
            "y^T K^-1 y and E[w | y], K = s2 I + v R R^T, R = B C, y = B t + e",
            f"{to_text(parts['square'])} + |e|^2/s2 and v C^T a, where kappa a + s2 M^-1 a = t, kappa = "
            f"{to_text(parts['kernel'])} of C, M = {to_text(parts['left'])} of B",
            rf"y^\top K^{{-1}}y = t^\top a + \lVert e\rVert^2/\sigma^2,\quad \kappa = {to_latex(parts['kernel'])}",
            "a = M b: K B b = B t and K e = s2 e, as B^T e = 0. At s2 = 0, kappa a = t",
            exponents,
            forms={"kernel": parts["kernel"], "left": parts["left"]},
        ),
        Step(
            DETERMINANT,
            "det K",
            f"s2^({to_text(parts['power'])}) det(s2 I + M kappa): order {to_text(parts['power'])} in s2, with the "
            "coefficient det M det kappa",
            r"\det K = (\sigma^2)^{N-r}\det(\sigma^2 I + M\kappa)",
            "Sylvester, as at any noise",
            determinants,
            forms={"power": parts["power"]},
        ),
        Step(
            RATE,
            "t.a at s2 = 0, minus t.a",
            "s2 a_0.b, b = M^-1 a: at most s2 a_0^T M^-1 a_0; and 0 <= log det(I + s2 (M kappa)^-1) <= s2 tr (M "
            "kappa)^-1",
            r"t^\top a_0 - t^\top a = \sigma^2 a_0^\top M^{-1}a",
            "kappa (a_0 - a) = s2 b; a_0^T M^-1 a falls as s2 grows; log(1 + x) <= x",
            rates,
            forms={"remainder": scalar("s2") * DUAL.T * SHIFT},
        ),
        Step(
            OPEN,
            "k-supports that fit N examples",
            "all for N <= k; those that contain the support of w for N >= k + 1: none if it has more than k elements",
            r"\{S : y \in \operatorname{range} X_S\} = \{S \supseteq U\}\quad (N \ge k + 1)",
            "a vector with a density lies in a smaller subspace with probability 0",
            counted_fits,
            proof=GENERIC,
        ),
        Step(
            RISK,
            "E (f - w.x_q)^2 over x ~ N(0, I), w ~ N(0, v_d I), k < N <= d",
            "v_d (d - N)",
            r"\mathbb{E}(\hat f - w^\top x_q)^2 = v_d\,(d - N)",
            "f = w.P x_q with the projection P on the examples: v_d tr (I - P). For |w| given, w turns freely: |w|^2 "
            "(1 - N/d)",
            projected_risk,
            forms={"risk": risk_form()},
        ),
    )
    return Derivation(STATEMENT, steps, dict(parts), Instance)


STATEMENT = Statement(
    identifier="mixture-noiseless-limit",
    title="The Bayes predictor of the mixture without noise: k + 1 examples identify the class",
    latex=r"P(S \mid X, y) \propto \pi_S\,(\sigma^2)^{-(N - r_S)/2}\,\bigl(\det M_S\det\kappa_S\bigr)^{-1/2}"
    r"e^{-t_S^\top\kappa_S^{-1}t_S/2}\,[y \in \operatorname{range} X_S]\quad (\sigma^2 \to 0)",
    text=(
        "As the noise goes to 0, the supports that fit the examples with the least rank share the posterior. Up to k "
        "examples all fit and the class stays open; from k + 1 examples on, with probability 1, a function with k "
        "nonzero coefficients is known exactly, and any other is predicted by least squares of least norm, as by the "
        "dense class alone: also one with k + 1, k + 2, ... nonzero coefficients."
    ),
    assumptions=(
        "w ~ N(0, v_d I) with probability pi; else a uniform k-subset S, w_S ~ N(0, v_s I), zero elsewhere; k < d",
        "labels without noise, as the limit of N(0, s2); inputs with a density (risks: N(0, I))",
    ),
    conventions="s2 is the noise variance that goes to 0; the prediction is of w.x_q",
    sources=(Source("yadlowsky2023pretraining", "the sweep of nonzero coefficients, without noise"),),
    uses=("mixture-posterior",),
)


def points(name: str) -> list[dict[str, Any]]:
    """Random rational prompts of sparse and dense functions, with examples below, at and above k + 1."""
    draw = random.Random(f"mixture-noiseless-limit/points/{name}")
    found = []
    for N, d, k, nonzeros in ((1, 3, 2, 3), (2, 3, 1, 1), (3, 4, 2, 4)):
        X, x_q, w = (
            rational([[Fraction(draw.randint(1, 40) * draw.choice((-1, 1)), 7) for _ in range(cols)] for _ in range(n)])
            for n, cols in ((N, d), (d, 1), (d, 1))
        )
        w[nonzeros:] = Fraction(0)
        v_d, v_s = (Fraction(draw.randint(1, 9), 5) for _ in range(2))
        mixture = Mixture(k, v_d, v_s, Fraction(draw.randint(1, 9), 10), Fraction(1))
        found.append(values_at(X, X @ w, x_q, mixture))
    return found
