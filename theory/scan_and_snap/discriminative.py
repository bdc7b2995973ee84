r"""Discriminative bias: which tokens gain attention, and which lose it, in the reparametrised flow.

The decoder is held in the span of the class vectors, Y = F G^-1 W, with G = F^T F and logits W of the classes, w_n =
h (M e_n - 1) (all classes alike, P(n) = 1/K).
Main statements
    handed back    g_n = speed F A e_n, G A = I - 1 1^T/M, speed = M^2 h/(e^{Mh} + M - 1)
    force          on a token with the column phi = (f_1l .. f_Kl): z_l' = eta_Z P speed (phi^T A S phi - (1 - 1/M)
                   phi^T S phi), S the classes with the query of that row: one quadratic form for all tokens
    distinct       xi_n = speed ((M - 1) (1 - s) + beta)/(M s), with s = 1 - b^T G'^-1 b the squared distance of f_n
                   from the span of the others, beta = b^T G'^-1 1, G' their overlaps and b those with n. So the tokens
                   of class n alone gain if and only if (M - 1) (1 - s) > -beta
    sufficient     beta >= 0; in particular if the overlaps of each other class with the others but n sum to at most 1:
                   always for K <= 3; and beta > 0 for equal overlaps
    not always     for K = 4 a table of whole numbers in which a token of one class alone loses
    common         the tokens that are common lose together what the distinct ones gain (one query): a single common
                   token loses if all xi >= 0 and one is positive. One of several may gain: a table with K = 2
    alike          equal overlaps and a common token as frequent in all classes: it loses
Assumptions
    G invertible. Of h nothing but h > 0: signs do not depend on the time.
References
    [tian2023scan, Thm 1, Thm 2, Corollary 2], there for weak overlaps (Assumption 2); the exact conditions are ours.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.formulas import Formula, Values, left_divided
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, identity, matrix, scalar, vector
from ..one_layer.assumptions import FloatArray
from .early_attention import class_vectors
from .exact_layer import DISTINCT, TOKENS, ExactTask, random_task, rational_root
from .frequency import from_sympy

if TYPE_CHECKING:
    import sympy as sp

M, H, POWER, ETA, SHARE = (scalar(name) for name in ("M", "h", "E", "eta", "p"))  # E = e^{Mh}, p = P(n)
G, SELECTED = matrix("G", symmetric=True), matrix("Q", symmetric=True)  # overlaps; the classes with the row's query
A, PHI, ONES = matrix("A"), vector("phi"), vector("o")


# The decoder


@cache
def softmax_entries() -> tuple[sp.Expr, sp.Expr]:
    """alpha_n at the own token and at another one, of w = h (R, -1, .., -1), R = M - 1: e^{hR}/e^{-h} = E."""
    R, E = symbols("R E")
    return E / (E + R), 1 / (E + R)


def symbols(names: str) -> Any:
    import sympy as sp

    return sp.symbols(names, positive=True)


@cache
def pulled_logits() -> tuple[sp.Expr, sp.Expr]:
    """W (e_n - alpha_n): its entry n, and any other of the K: products of logits with the error, entry by entry."""
    import sympy as sp

    R, h = symbols("R h")
    own, other = softmax_entries()
    # the own token, the token j, and the R - 1 rest
    of_own = (h * R, -h, -h)
    of_other = (-h, h * R, -h)
    error = (1 - own, -other, -(R - 1) * other)
    return tuple(sp.factor(sum(w * e for w, e in zip(row, error, strict=True))) for row in (of_own, of_other))


@cache
def speed() -> sp.Expr:
    """c with W (e_n - alpha_n) = c (e_n - 1/M): from its own entry, and the other one agrees.

    >>> speed()
    h*(R + 1)**2/(E + R)
    """
    import sympy as sp

    (R,) = symbols("R,")
    own, other = pulled_logits()
    found = sp.factor(own / (1 - 1 / (R + 1)))
    assert sp.simplify(other + found / (R + 1)) == 0
    return found


# The force


@cache
def right_of_the_system() -> TracePolynomial:
    """G A = I - 1 1^T/M: the columns e_n - 1/M of all classes."""
    return identity() - M**-1 * (ONES * ONES.T)


@cache
def force_of_column() -> TracePolynomial:
    """z_l'/(eta P speed): sum over the classes of f_nl g_nl - (f_n.g_n) f_nl^2 with g_nl = phi^T A e_n.

    f_n.g_n = (G A)_nn = 1 - 1/M, the diagonal of the right side.
    """
    diagonal = 1 - M**-1
    return PHI.T * A * SELECTED * PHI - diagonal * (PHI.T * SELECTED * PHI)


@cache
def speed_parts() -> dict[str, TracePolynomial]:
    """eta P speed as numerator and denominator."""
    import sympy as sp

    R, vocabulary = symbols("R M")
    top, bottom = sp.fraction(sp.factor(speed().subs(R, vocabulary - 1)))
    return {"numerator": ETA * SHARE * from_sympy(top), "denominator": from_sympy(sp.expand(bottom))}


@cache
def strength() -> sp.Expr:
    """xi/speed by s and beta: with x = G^-1 e_n = (1, -a)/s, a = G'^-1 b, x_n = 1/s and 1.x = (1 - beta)/s.

    >>> strength()
    (R*(1 - s) + beta)/(s*(R + 1))
    """
    import sympy as sp

    R, s, beta = symbols("R s beta")
    inverse, row_sum, vocabulary = 1 / s, (1 - beta) / s, R + 1
    top, bottom = sp.fraction(sp.factor(inverse - row_sum / vocabulary - (1 - 1 / vocabulary)))
    return (R * (1 - s) + beta) / bottom if sp.expand(top - R * (1 - s) - beta) == 0 else top / bottom


@cache
def alike() -> dict[str, sp.Expr]:
    """z_l'/(eta P speed f_l^2) of a distinct and of a common token, G = (1 - rho) I + rho 1 1^T, k = rho/(1 - rho).

    G^-1 = (1 + k) (I - k 1 1^T/(1 + K k)); phi = f_l e_n, and phi = f_l 1.
    """
    import sympy as sp

    K, k, R = symbols("K k R")
    own = (1 + k) * (1 - k / (1 + K * k))
    row = (1 + k) * (1 - K * k / (1 + K * k))
    rest = 1 - 1 / (R + 1)
    distinct = own - row / (R + 1) - rest
    common = K * row - K * row * K / (R + 1) - K * rest
    return {"distinct": sp.factor(distinct), "common": sp.factor(common)}


# Tables of whole numbers, each row in proportion to P(l | n), with a length that is a whole number

LOSING_DISTINCT: tuple[tuple[int, ...], ...] = (
    (0, 0, 0, 0, 0, 0, 0, 25, 312, 0, 0),
    (0, 0, 0, 0, 0, 2, 2, 1, 0, 0, 0),
    (0, 0, 0, 0, 0, 99, 0, 0, 0, 20, 0),
    (0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 20),
)
LOSER = 8  # the token of the first class alone
GAINING_COMMON: tuple[tuple[int, ...], ...] = ((0, 0, 0, 2, 2, 1, 0), (0, 0, 0, 6, 2, 0, 3))
GAINER = 4


def exact_columns(table: Sequence[Sequence[int]]) -> Array:
    """f_n as rows, (K, M)."""
    rows = []
    for row in table:
        length = rational_root(Fraction(sum(x * x for x in row)))
        rows.append([x / length for x in row])
    return np.array(rows, dtype=object)


def forces_at(f: Array, selected: Sequence[int] | None = None) -> Array:
    """z_l'/(eta P speed) of all tokens, (M,), for class vectors (K, M) and the classes of one query."""
    K, vocabulary = f.shape
    letters = letters_of_columns(f, range(K) if selected is None else selected)
    matrix_A = solved(letters)
    return np.array(
        [evaluate(force_of_column(), {**letters, "A": matrix_A, "phi": f[:, [k]]}) for k in range(vocabulary)]
    )


def letters_of_columns(f: Array, selected: Sequence[int]) -> dict[str, Any]:
    """G, o, Q and M."""
    K = len(f)
    unit = f[0, 0] * 0 + 1
    chosen = [[unit * int(i == j and i in selected) for j in range(K)] for i in range(K)]
    return {
        "G": f @ f.T, "o": np.array([[unit]] * K), "Q": np.array(chosen), "M": unit * f.shape[1],
    }  # fmt: skip


def solved(letters: Mapping[str, Any]) -> Array:
    """A."""
    found: Array = left_divided(letters["G"], evaluate(right_of_the_system(), dict(letters)))
    return found


def distance_and_sum(f: Array, n: int) -> tuple[Any, Any]:
    """s and beta of class n, from the overlaps."""
    overlaps, others = f @ f.T, [j for j in range(len(f)) if j != n]
    b = overlaps[others, n]
    a = left_divided(overlaps[np.ix_(others, others)], b)
    return 1 - b @ a, a.sum()


def exact_strength(f: Array, n: int) -> Fraction:
    """xi/speed of class n in rational numbers."""
    s, beta = distance_and_sum(f, n)
    return at(strength(), {"R": rational(f.shape[1] - 1), "s": rational(s), "beta": rational(beta)})


# Checks


class Instance:
    """A random task with equal probabilities and a decoder of logits h (M e_n - 1) in the span of its class vectors."""

    def __init__(self, seed: int | str) -> None:
        draw = random.Random(f"scan-discriminative/{seed}")
        task = random_task(f"discriminative/{seed}")
        self.K = len(task.weights)
        self.task: ExactTask = replace(task, probabilities=(Fraction(1, self.K),) * self.K)
        self.h, self.power = Fraction(draw.randint(1, 9), 10), Fraction(draw.randint(11, 40), 10)
        self.f = self.task.vectors
        self.logits = np.array(
            [[self.h * (TOKENS * int(n == k) - 1) for k in range(TOKENS)] for n in range(self.K)], dtype=object
        )
        self.decoder = self.f.T @ exact_inverse(self.f @ self.f.T) @ self.logits
        ones = [[self.power if n == k else Fraction(1) for k in range(TOKENS)] for n in range(self.K)]
        self.exponentials = np.array(ones, dtype=object)

    def numbers(self) -> dict[str, Any]:
        """h, E, R and the others as sympy's rationals."""
        import sympy as sp

        values = {"h": self.h, "E": self.power, "R": Fraction(TOKENS - 1)}
        return {name: sp.Rational(x.numerator, x.denominator) for name, x in values.items()}

    @property
    def speed(self) -> Fraction:
        return at(speed(), self.numbers())

    @property
    def literal(self) -> Array:
        """Z' of the literal layer."""
        return self.task.velocity(self.decoder, self.exponentials)

    @property
    def scale(self) -> Fraction:
        return self.task.eta / self.K * self.speed

    def classes_of(self, row: int) -> list[int]:
        return [n for n, own in enumerate(self.task.rows) if own == row]


def at(expression: sp.Expr, values: Mapping[str, Any]) -> Fraction:
    """A rational function at sympy's rationals."""
    import sympy as sp

    found = sp.Rational(expression.subs({symbol: values[symbol.name] for symbol in expression.free_symbols}))
    return Fraction(int(found.p), int(found.q))


def in_floats(expression: sp.Expr, values: Mapping[str, Any]) -> float:
    """A rational function at floats."""
    return float(expression.subs({symbol: float(values[symbol.name]) for symbol in expression.free_symbols}))


def logits_of_span(given: Instance) -> tuple[Array, Array]:
    """Y^T f_n of the literal decoder, and W."""
    return given.f @ given.decoder, given.logits


def handed_back_at(given: Instance) -> tuple[list[Any], list[Any]]:
    """Y (e_n - alpha_n) from the literal softmax, and speed F A e_n; the errors 1 - alpha_nn too."""
    left, right = [], []
    A_of = solved(letters_of_columns(given.f, range(given.K)))
    for n in range(given.K):
        alpha = given.exponentials[n] / sum(given.exponentials[n])
        own = np.array([Fraction(int(k == n)) for k in range(TOKENS)], dtype=object)
        left += [*(given.decoder @ (own - alpha)), alpha[n]]
        right += [*(given.speed * (given.f.T @ A_of[:, n])), at(softmax_entries()[0], given.numbers())]
    return left, right


def forces_of_all(given: Instance) -> tuple[Array, Array]:
    """Literal Z', and the quadratic form of every token and query."""
    rows = sorted(set(given.task.rows))
    return given.literal, np.array([given.scale * forces_at(given.f, given.classes_of(row)) for row in rows])


def forces_of_distinct(given: Instance) -> tuple[list[Any], list[Any]]:
    """Literal Z' of distinct tokens, and eta P xi f^2 with xi from s and beta."""
    left, right = [], []
    for n, tokens in enumerate(DISTINCT):
        xi = exact_strength(given.f, n)
        left += [given.literal[given.task.rows[n], token] for token in tokens]
        right += [given.scale * xi * given.f[n, token] ** 2 for token in tokens]
    return left, right


def random_overlaps(draw: random.Random, size: int) -> Array:
    """Overlaps with unit diagonal whose others sum to at most 1 in every row."""
    found = np.array([[Fraction(int(i == j)) for j in range(size)] for i in range(size)], dtype=object)
    for i in range(size):
        for j in range(i):
            found[i, j] = found[j, i] = Fraction(draw.randint(0, 9), 9 * (size - 1))
    return found


def weak_overlaps(given: Instance) -> tuple[list[bool], list[bool]]:
    """G'^-1 1 >= 0 for row sums up to 1, at sizes 2 to 5; and beta of three classes, which is never negative."""
    draw = random.Random(f"weak overlaps/{given.h}/{given.power}")
    found = []
    for size in (2, 3, 4, 5):
        weights = exact_inverse(random_overlaps(draw, size)) @ np.array([Fraction(1)] * size, dtype=object)
        found.append(all(weight >= 0 for weight in weights))
    found += [distance_and_sum(given.f, n)[1] >= 0 for n in range(given.K)]
    return found, [True] * len(found)


def alike_columns(K: int) -> Array:
    """K classes with two common tokens 1/3 and 2/3 and an own one of 2/3: rho = 5/9, in 2 K + 3 tokens."""
    rows = [[0] * (K + 1) + [1, 2] + [2 * int(n == k) for k in range(K)] for n in range(K)]
    return exact_columns(rows)


def forces_alike(given: Instance) -> tuple[list[Any], list[Any]]:
    """Quadratic forms of both common tokens and an own one, and the closed forms."""
    left, right = [], []
    for K in (2, 3, 4):
        f = alike_columns(K)
        found = forces_at(f)
        values = {"K": K, "k": Fraction(5, 4), "R": f.shape[1] - 1}
        forms = {name: at(form, {key: rational(x) for key, x in values.items()}) for name, form in alike().items()}
        left += [found[K + 1], found[K + 2], found[K + 3]]
        right += [
            forms["common"] * Fraction(1, 9),
            forms["common"] * Fraction(4, 9),
            forms["distinct"] * Fraction(4, 9),
        ]
    del given
    return left, right


def rational(value: Any) -> Any:
    import sympy as sp

    return sp.Rational(str(value))


def sums_of_forces(given: Instance) -> tuple[list[Any], list[Any]]:
    """The common tokens' forces of one query together, and minus what the distinct tokens get."""
    found = forces_at(given.f)
    lost = []
    for n, tokens in enumerate(DISTINCT):
        xi = exact_strength(given.f, n)
        lost += [xi * given.f[n, token] ** 2 for token in tokens]
    common = [token for token in range(TOKENS) if token not in {k for tokens in DISTINCT for k in tokens}]
    return [sum(found[token] for token in common)], [-sum(lost)]


def losing_token() -> Fraction:
    """z'/(eta P speed) of the token of the first class alone."""
    return Fraction(forces_at(exact_columns(LOSING_DISTINCT))[LOSER])


def gaining_token() -> Fraction:
    """z'/(eta P speed) of a token that both classes have."""
    return Fraction(forces_at(exact_columns(GAINING_COMMON))[GAINER])


def literal_at(table: Sequence[Sequence[int]], token: int) -> Fraction:
    """z'/(eta P speed) at a table by the literal layer: h = 1, E = 2."""
    f = exact_columns(table)
    K, vocabulary = f.shape
    logits = np.array([[vocabulary * int(n == k) - 1 for k in range(vocabulary)] for n in range(K)], dtype=object)
    task = ExactTask(f, (0,) * K, (Fraction(1, K),) * K)
    powers = [[Fraction(1 + int(n == k)) for k in range(vocabulary)] for n in range(K)]
    decoder = f.T @ exact_inverse(f @ f.T) @ logits
    found = task.slope((0, token), decoder, np.array(powers, dtype=object))
    pace = at(speed(), {"h": rational(1), "E": rational(2), "R": rational(vocabulary - 1)})
    return Fraction(found * K / pace)


# Forms of tables


def table_form(table: Sequence[Sequence[int]]) -> sp.Expr:
    """sum of weight x^n y^l, classes from 1, tokens from 0."""
    import sympy as sp

    x, y = sp.symbols("x y")
    return sp.Add(*[w * x**n * y**token for n, row in enumerate(table, start=1) for token, w in enumerate(row) if w])


WEAK = (
    "Let G' = I + E, E >= 0 with row sums at most e < 1, x = G'^-1 1, so x = 1 - E x. If m = min x <= 0, then max x <= "
    "1 - e m, hence m >= 1 - e max x >= 1 - e + e^2 m, so that m (1 - e^2) >= 1 - e > 0: a contradiction. So x > 0, "
    "and x >= 0 for e = 1 by continuity where G' is invertible. Then beta = b.x >= 0, and xi > 0 unless b = 0, where "
    "nothing moves. For K <= 3 the condition is empty: an overlap of two different unit vectors is below 1. Beyond it, "
    "M - 1 > -beta/(1 - s) does: any table with b not 0 gains in a vocabulary that is large enough (tokens that never "
    "occur count)."
)
TOGETHER = (
    "The forces of one query sum to 0 over its tokens, |f_n| = 1. So all common tokens together lose what the distinct "
    "ones gain. In the classes of one query a single common token has z' = -eta sum_n P(n) (1 - f_n^2) xi_n."
)


@cache
def derivation() -> Derivation:
    """From the decoder in the span to the signs."""
    import sympy as sp

    strongest, forms = strength(), alike()
    steps = (
        Step(
            "decoder in the span",
            "Y^T f_n, Y = F G^-1 W",
            "w_n",
            r"Y^\top f_n = w_n",
            "W^T G^-1 F^T F e_n = W^T e_n",
            logits_of_span,
        ),
        Step(
            "gradient handed back",
            "g_n",
            "speed F A e_n, G A = I - 1 1^T/M",
            rf"g_n = {sp.latex(speed())}\, F A e_n",
            "alpha_nn = E/(E + R), the others 1/(E + R), R = M - 1, E = e^(Mh): W (e_n - alpha_n) = speed (e_n - 1/M)",
            handed_back_at,
            forms={"own": softmax_entries()[0], "speed": speed()},
        ),
        Step(
            "force on any token",
            "z_l'/(eta P speed)",
            to_text(force_of_column()),
            to_latex(force_of_column()),
            "phi = (f_1l .. f_Kl), Q the classes of the query: f_n.g_n = speed (G A)_nn = speed (1 - 1/M)",
            forces_of_all,
            forms={"right": right_of_the_system(), "force": force_of_column()},
        ),
        Step(
            "force on distinct tokens",
            "xi_n/speed, z_l' = eta P xi_n f_nl^2",
            str(strongest),
            rf"\xi_n = \text{{speed}}\cdot {sp.latex(strongest)}",
            "s = 1 - b^T G'^-1 b, beta = b^T G'^-1 1, by blocks of G: positive if and only if (M - 1) (1 - s) > -beta",
            forces_of_distinct,
            forms={"strength": strongest},
        ),
        Step(
            "weak overlaps",
            "G'^-1 1",
            ">= 0 if no row of overlaps sums to more than 1",
            r"\textstyle\sum_{j \ne i} G'_{ij} \le 1 \;\Rightarrow\; G'^{-1}\mathbf 1 \ge 0",
            "then beta >= 0, and distinct tokens gain",
            weak_overlaps,
            proof=WEAK,
        ),
        Step(
            "classes alike",
            "z_l'/(eta P speed f_l^2), distinct and common",
            f"{forms['distinct']} and {forms['common']}",
            rf"{sp.latex(forms['distinct'])},\quad {sp.latex(forms['common'])}",
            "equal overlaps rho, k = rho/(1 - rho); a common token as frequent in all classes loses",
            forces_alike,
            forms=forms,
        ),
        Step(
            "common tokens together",
            "the sum of z_l' over the common tokens",
            "minus that over the distinct ones",
            r"\sum_{l \in C} \dot z_l = -\sum_{l \notin C} \dot z_l",
            "the forces of a class sum to f.g - f.g |f|^2 = 0",
            sums_of_forces,
            proof=TOGETHER,
        ),
        Step(
            "a distinct token that loses",
            "z'/(eta P speed) of token 8 of the first class alone",
            str(losing_token()),
            rf"{sp.latex(rational(losing_token()))} < 0",
            "four classes in proportion to whole numbers, M = 11: the first overlaps with the second, and that one "
            "strongly with two more, so that (M - 1) (1 - s) < -beta",
            lambda given: (literal_at(LOSING_DISTINCT, LOSER), losing_token()),
            forms={"table": table_form(LOSING_DISTINCT), "force": rational(losing_token())},
        ),
        Step(
            "a common token that gains",
            "z'/(eta P speed) of token 4 of both classes",
            str(gaining_token()),
            rf"{sp.latex(rational(gaining_token()))} > 0",
            "two classes, M = 7: the token is 2/3 of the one class vector and 2/7 of the other, which is nearly "
            "distinct beside a token that both have in plenty",
            lambda given: (literal_at(GAINING_COMMON, GAINER), gaining_token()),
            forms={"table": table_form(GAINING_COMMON), "force": rational(gaining_token())},
        ),
    )
    results = {"force": force_of_column(), "strength": strongest, **forms}
    return Derivation(STATEMENT, steps, results, Instance)


STATEMENT = Statement(
    identifier="scan-discriminative",
    title="Discriminative bias: which tokens gain attention in the reparametrised flow, and when distinct ones lose it",
    latex=r"\xi_n = \frac{M^2 h}{e^{Mh} + M - 1}\cdot\frac{(M-1)(1-s) + \beta}{M s},\quad s = 1 - b^\top G'^{-1} b,\ "
    r"\beta = b^\top G'^{-1}\mathbf 1",
    text=(
        "With the decoder in the span of the class vectors, Y = F G^-1 W, the force on every attention logit is a "
        "quadratic form in the token's column of class vectors. Tokens of class n alone gain if and only if (M - 1) (1 "
        "- s) > -beta: always for up to three classes, for equal overlaps, where no row of overlaps between the others "
        "sums to more than 1, and in a vocabulary that is large enough; not always: a table with four classes has one "
        "that loses. A single common token loses where the distinct ones gain; one of several common tokens may gain."
    ),
    assumptions=(
        "sequences of infinite length; softmax attention without positions, its output normalised to length one",
        "Y = F G^-1 W with the class vectors of the time in question, G invertible",
        "w_n = h (M e_n - 1), h > 0; P(n) = 1/K",
    ),
    conventions="P(n) in the velocity: for P(n) = 1/K eta_Z of the paper is eta_Z/K; M counts all tokens of the "
    "vocabulary",
    sources=(
        Source("tian2023scan", "Theorem 1 (Eq. 9), Theorem 2, Corollary 2"),
        Source("ours", "the exact condition, both counterexamples"),
    ),
    uses=("scan-frequency",),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """Z' of all queries and tokens."""
    parts = {"left": G, "right": right_of_the_system(), "force": force_of_column(), **speed_parts()}
    others = {"M": ("K", "h"), "h": ("M", "E"), "E": ("M", "h"), "eta": ("p",), "p": ("eta",)}
    return Formula(parts, forces_by_parts, Vocabulary(others))


def forces_by_parts(parts: Mapping[str, TracePolynomial], values: Values) -> Array:
    """(Q, M) at class vectors `f` (K, M), the classes' `rows`, and numbers M, K, h, E, eta, p.

    Raises SingularSystemError (exact matrices: ValueError).
    """
    f, rows = values["f"], values["rows"]
    names = ("M", "K", "h", "E", "eta", "p")
    numbers = {name: values[name] for name in names}
    scale = evaluate_scalar(parts["numerator"], numbers) / evaluate_scalar(parts["denominator"], numbers)
    found = []
    for row in sorted(set(rows)):
        selected = [n for n, own in enumerate(rows) if own == row]
        letters = {**letters_of_columns(f, selected), **numbers}
        moved = left_divided(evaluate(parts["left"], letters), evaluate(parts["right"], letters))
        columns = ({**letters, "A": moved, "phi": f[:, [k]]} for k in range(f.shape[1]))
        found.append([scale * evaluate(parts["force"], column) for column in columns])
    return np.array(found)


def evaluate_scalar(polynomial: TracePolynomial, numbers: Mapping[str, Any]) -> Any:
    """A polynomial in commuting symbols, exact at rational numbers."""
    exact = all(isinstance(value, Fraction) for value in numbers.values())
    marked = {"": np.array([[Fraction(1)]], dtype=object)} if exact else {}
    return evaluate(polynomial, {**numbers, **marked})


def points(name: str) -> list[dict[str, Any]]:
    """Rational tasks."""
    found = []
    for k in range(3):
        given = Instance(f"{name}/{k}")
        numbers = {"M": Fraction(TOKENS), "K": Fraction(given.K), "h": given.h, "E": given.power}
        found.append({**numbers, "eta": given.task.eta, "p": Fraction(1, 7), "f": given.f, "rows": given.task.rows})
    return found


# At floats


def float_values(contexts: FloatArray, logits: FloatArray, rows: Sequence[int], h: float, eta: float) -> dict[str, Any]:
    """Values of the letters at P(l|n) (K, M), Z (Q, M) and the classes' rows of Z."""
    f = class_vectors(contexts, logits[list(rows)])
    K, vocabulary = f.shape
    numbers = {"M": float(vocabulary), "K": float(K), "h": h, "E": float(np.exp(min(vocabulary * h, 700.0)))}
    return {**numbers, "eta": eta, "p": 1.0 / K, "f": f, "rows": list(rows)}


def weak(overlaps: FloatArray, n: int) -> bool:
    """Whether no row of the overlaps between the classes other than n sums to more than 1, its diagonal left out."""
    others = np.delete(np.delete(overlaps, n, 0), n, 1)
    return bool((others.sum(1) - 1 <= 1).all())
