r"""Where attention goes first on a text: the joint flow of decoder and attention from zero, from counts alone.

One layer as in [tian2023scan, section 3], on finitely many windows of a text instead of infinitely long ones: attention
b_t ~ e^{z_{m x_t}} over the keys of the query m = x_T, output f = sum_t b_t e_(x_t) made of unit length, logits Y^T f,
cross-entropy, mean over the windows. Gradient flow Y' = -eta_Y dL/dY, z' = -eta_Z dL/dz from Y = z = 0.

Main statements
    score      a_n = P(n) b_n - e/M, b_n = E[f | n follows], e = E f: how much more than the M-th part of a word's share
               stands before n
    force      z_m(t) = t^2 eta_Y eta_Z kappa_m + r,  kappa_m = 1/2 E 1(query m) f o (a - (f.a) f)   (o entrywise)
    remainder  |r|_2 <= p_m eta_Y^2 eta_Z t^3 (5/12 + 11/12 eta_Z p t), p_m the chance of the query, p the largest
    entropy    starts at its largest value ln(T - 1), and falls by half the variance of z over the keys, ~ t^4
    sign       in a window the words with a_l/f_l above the mean of a_l/f_l (weights f_l^2) gain and the others lose;
               if f.a > 0, every word with a_l <= 0 loses
    presence   a word that is in a share q of the windows before n, in no others, and there always with one f, is
               pushed harder, for its share, than one that is in all windows with one f iff
               q (M - 1) P(n) > M P(n) - 1
For infinitely long windows q = 1, and distinct words win. In a text q is small: words that are everywhere come first.
What is not derived: that entropy falls on for long, that it freezes, and that a larger learning rate makes it lower.
Those are the paper's observations, and only measured here.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate
from ..algebra.formulas import Formula
from ..algebra.trace_polynomials import TracePolynomial, matrix, number, scalar, vector
from ..algebra.words import Letter
from ..one_layer.assumptions import (
    AssumptionError,
    check_context_length,
    check_non_negative,
    check_positive,
    real_array,
)
from .power_series import Series, constant, total
from .text_windows import Windows, counted_windows, windows_of

if TYPE_CHECKING:
    import sympy as sp

Values = Mapping[str, Any]

# F = diag(f); the local space of the words of one window
F, SHARE, SCORE = matrix("F", symmetric=True), vector("f"), vector("a")
BEFORE, OVERALL, ALONG = vector("b"), vector("e"), vector("zeta")
CHANCE, SIZE, SAME = scalar("P"), scalar("M"), scalar("same")
FIRST, SECOND = scalar("mu1"), scalar("mu2")


def tilted(direction: TracePolynomial) -> TracePolynomial:
    """df along dz = direction: v = c o e^z has dv = v o dz, and f = v/|v|, so df = F dz - f (f . F dz)."""
    return F * direction - SHARE * (SHARE.T * F * direction)


def force() -> TracePolynomial:
    """The gradient of f . a by z, from df . a = dz . force."""
    return F * SCORE - F * SHARE * (SHARE.T * SCORE)


def pair_weight() -> TracePolynomial:
    """(e_n - 1/M) . (e_n' - 1/M), from e_n . e_n' = same, e_n . 1 = 1 and 1 . 1 = M."""
    return SAME - 2 * SIZE**-1 + SIZE * SIZE**-2


def score() -> TracePolynomial:
    """E over windows of the pair weight times f': the next word n among them with the chance P."""
    weight = pair_weight()
    same, other = (substituted(weight, value) for value in (1, 0))
    return CHANCE * (same - other) * BEFORE + other * OVERALL


def substituted(weight: TracePolynomial, same: int) -> TracePolynomial:
    """The pair weight for equal or different next words."""
    from ..algebra.trace_polynomials import substitute

    return substitute(weight, scalars={"same": number(same)})


def kappa() -> TracePolynomial:
    """The window's part of z/(t^2 eta_Y eta_Z): int_0^t s ds = t^2/2 times the force."""
    return force() / 2


def entropy_drop() -> TracePolynomial:
    """ln(T - 1) - H for logits eps z, the coefficient of eps^2, from psi(eps) = log mean e^{eps z}.

    ln(T - 1) - H = eps psi'(eps) - psi(eps), and psi = eps mu1 + eps^2 (mu2 - mu1^2)/2 + ..: of the second order
    2 psi_2 - psi_2.
    """
    psi = {1: FIRST, 2: SECOND / 2 - FIRST**2 / 2}
    return sum(((k - 1) * term for k, term in psi.items()), number(0))


# The remainder: bounds that are polynomials in t, with p = max p_m, each from the one before

Polynomial = dict[tuple[int, int, int, int], Fraction]  # powers of (eta_Y, eta_Z, p, t) -> coefficient
HALF_ROOT = Fraction(3, 4)  # an upper bound on 1/sqrt 2


def integrated(bound: Polynomial) -> Polynomial:
    """int_0^t of a bound."""
    return {(y, z, p, t + 1): c / (t + 1) for (y, z, p, t), c in bound.items()}


def times(bound: Polynomial, factor: Fraction, *powers: int) -> Polynomial:
    """A bound times factor eta_Y^i eta_Z^j p^k t^l."""
    moved = {tuple(a + b for a, b in zip(at, powers, strict=True)): c * factor for at, c in bound.items()}
    return moved  # type: ignore[return-value]


def plus(*bounds: Polynomial) -> Polynomial:
    """A sum of bounds."""
    found: Polynomial = {}
    for bound in bounds:
        for at, c in bound.items():
            found[at] = found.get(at, Fraction(0)) + c
    return found


ONE: Polynomial = {(0, 0, 0, 0): Fraction(1)}


@cache
def remainder() -> Polynomial:
    """A bound on |z_m(t) - t^2 eta_Y eta_Z kappa_m|/p_m, as REMAINDER says in words."""
    logits = integrated(times(ONE, Fraction(2), 1, 1, 1, 1))
    moved = times(ONE, HALF_ROOT, 1, 0, 0, 1)  # |alpha - 1/M|
    # sqrt 2 * 1/sqrt 2 = 1 and sqrt 2 * sqrt 2 = 2 are exact
    in_Y = integrated(plus(times(logits, Fraction(2), 1, 0, 0, 0), times(ONE, Fraction(1), 2, 0, 0, 1)))
    in_g = plus(in_Y, times(moved, Fraction(1), 1, 0, 0, 1))
    in_velocity = plus(in_g, times(logits, Fraction(3), 1, 0, 0, 1))
    return integrated(times(in_velocity, Fraction(1), 0, 1, 0, 0))


REMAINDER = (
    "|f| = 1 and |e_n - alpha| <= sqrt 2, so |Y| <= sqrt 2 eta_Y t and |z_m'| <= p_m eta_Z |Y (e_n - alpha)| <= 2 p_m "
    "eta_Y eta_Z t; so no logit is beyond eta_Y eta_Z p t^2, and |f - f(0)| neither, as |df| <= max |dz|. A softmax "
    "moves by at most half of its logits: |alpha - 1/M| <= |Y|/2 <= eta_Y t/sqrt 2. With Y_1 = t eta_Y E f(0) (e_n - "
    "1/M)^T, of |Y_1| <= eta_Y t: |Y - Y_1| <= eta_Y int (sqrt 2 |f - f(0)| + |alpha - 1/M|) ds. Then |g - g_1| <= "
    "sqrt 2 |Y - Y_1| + |Y_1| |alpha - 1/M|, and D(f) (I - f f^T) moves by at most 3 |f - f(0)| while |g_1| <= eta_Y t."
    " The sum of both, times eta_Z p_m, integrated over time, is the bound. sqrt 2 |Y - Y_1| is bounded with sqrt 2 * "
    "sqrt 2 = 2 and sqrt 2 * 1/sqrt 2 = 1."
)


def remainder_form() -> sp.Expr:
    """The bound as an expression in Y, Z (the two rates), p and t."""
    import sympy as sp

    letters = sp.symbols("Y Z p t")
    terms = []
    for powers, c in remainder().items():
        product = sp.Rational(c.numerator, c.denominator)
        for letter, power in zip(letters, powers, strict=True):
            product *= letter**power
        terms.append(product)
    return sp.Add(*terms)


def threshold() -> sp.Expr:
    """The share q of windows above which a distinct word beats one that is everywhere; k stands for M - 1.

    A word of share f0 in q of the windows before n has a = P q f0 (1 - 1/M) and a/f0 = P q (1 - 1/M); one of the same
    share everywhere has a/f0 = P - 1/M. Equality is solved for q.
    """
    import sympy as sp

    P, k, q = sp.symbols("P k q", positive=True)
    M = k + 1
    distinct, everywhere = (
        sum((sp.Rational(str(c)) * monomial for c, monomial in scores_at(P, M, b, e)), sp.Integer(0))
        for b, e in ((q, P * q), (sp.Integer(1), sp.Integer(1)))
    )
    (found,) = sp.solve(distinct - everywhere, q)
    return sp.cancel(sp.together(found)).subs({P: sp.Symbol("P"), k: sp.Symbol("k")})


def scores_at(P: Any, M: Any, before: Any, overall: Any) -> list[tuple[Fraction, Any]]:
    """The terms of the score for a word with these entries of b and e."""
    named = {"P": P, "M": M, "b": before, "e": overall}
    found = []
    for monomial, c in score().terms.items():
        product = named[monomial.word[0].name]
        for symbol, power in monomial.scalars:
            product = product * named[symbol] ** power
        found.append((c, product))
    return found


# The formula, evaluated on windows


@cache
def formula() -> Formula:
    """kappa (M, M) and the drop of entropy for it, from the score, the force and the variance."""
    vocabulary = Vocabulary(
        {"P": ("M",), "M": ("P",), "mu1": ("mu2",), "mu2": ("mu1",)},
        {"b": (Letter("e", cols="1"),), "e": (Letter("b", cols="1"),), "a": (Letter("f", cols="1"),)},
    )
    parts = {"score": score(), "kappa": kappa(), "entropy drop": entropy_drop()}
    return Formula(parts, lambda parts, values: quantities(parts, values["windows"]), vocabulary)


def quantities(parts: Mapping[str, TracePolynomial], windows: Windows) -> Array:
    """All entries of kappa (M x M, row by row), and the mean drop of entropy at z = kappa."""
    table = logits_of(parts, windows)
    drop = mean_drop(parts["entropy drop"], windows, table)
    return np.concatenate([table.ravel(), np.array([drop], dtype=table.dtype)])


def scores_of(part: TracePolynomial, windows: Windows) -> Array:
    """a_n at the words of each window, (S, d)."""
    before, chances = windows.shares_before(), windows.chances()
    of_next = chances[windows.following]
    values = {
        "b": (before[windows.following[:, None], windows.words] / of_next[:, None])[..., None],
        "e": before.sum(0)[windows.words][..., None], "P": of_next, "M": windows.vocabulary * windows.one(),
    }  # fmt: skip
    found: Array = evaluate(part, values)[..., 0]
    return found


def logits_of(parts: Mapping[str, TracePolynomial], windows: Windows) -> Array:
    """kappa_m(l), (M, M)."""
    shares = windows.shares
    eye = np.eye(shares.shape[1], dtype=int).astype(shares.dtype)
    a = scores_of(parts["score"], windows)
    values = {"F": shares[..., None] * eye, "f": shares[..., None], "a": a[..., None]}
    pushed = evaluate(parts["kappa"], values)[..., 0]
    found: Array = windows.zeros(windows.vocabulary, windows.vocabulary)
    np.add.at(found, (windows.queries[:, None], windows.words), np.where(windows.counts > 0, pushed, windows.one() * 0))
    return windows.over_windows(found)


def mean_drop(part: TracePolynomial, windows: Windows, logits: Array) -> Any:
    """The mean over the windows of the drop at given logits z, (M, M): mu1 and mu2 are means of z, z^2."""
    z = logits[windows.queries[:, None], windows.words]
    weights = windows.counts / (windows.keys[:, None] * windows.one())
    drops = evaluate(part, {"mu1": (weights * z).sum(1), "mu2": (weights * z * z).sum(1)})
    return np.sum(drops) / (windows.one() * len(windows))


# Instances: windows with rational shares

PATTERNS = ((2, 2, 1), (3, 4), (4, 4, 2), (5, 3, 1, 1), (3,), (6, 3, 2))  # sums of squares 9, 25, 36, 36, 9, 49


def rational_windows(name: str, count: int, vocabulary: int = 4) -> Windows:
    """Random windows whose counts have a whole |c|."""
    draw = random.Random(f"scan-text/{name}")
    counted, ends = [], []
    for _ in range(count):
        pattern = draw.choice(PATTERNS)
        counted.append(dict(zip(draw.sample(range(vocabulary), len(pattern)), pattern, strict=True)))
        ends.append((draw.randrange(2), draw.randrange(vocabulary)))
    return counted_windows(counted, ends, vocabulary, exact=True)


@dataclass(frozen=True)
class Instance:
    """Windows, rates, and rational vectors in R^3: v = c o e^z with |v| = norm, a direction, and scores."""

    windows: Windows
    rates: tuple[Fraction, Fraction]
    v: Array
    norm: Fraction
    along: Array
    scores: Array


def instance(seed: int) -> Instance:
    draw = random.Random(f"scan-text/instance/{seed}")

    def numbers() -> Array:
        return np.array([Fraction(draw.randint(-9, 9), 7) for _ in range(3)])

    scale = Fraction(draw.randint(1, 9), 5)
    v = np.array([scale * c for c in draw.sample((2, 3, 6), 3)])
    rates = Fraction(draw.randint(1, 9), 4), Fraction(draw.randint(1, 9), 4)
    return Instance(rational_windows(f"{seed}", 5), rates, v, 7 * scale, numbers(), numbers())


def diagonal(entries: Array) -> Array:
    return np.diag(entries)


def local(one: Instance) -> dict[str, Array]:
    """The letters of one window."""
    f = one.v / one.norm
    return {"F": diagonal(f), "f": f[:, None], "a": one.scores[:, None], "zeta": one.along[:, None]}


def tilt_of_shares(one: Instance) -> tuple[Any, Any]:
    """df by series: v e^{eps zeta}, divided by its length, to first order; and the form."""
    moved = [Series((v, v * z)) for v, z in zip(one.v, one.along, strict=True)]
    shrink = total([x * x for x in moved]).inverse_root(1 / one.norm)
    return [(x * shrink).coefficients[1] for x in moved], evaluate(tilted(ALONG), local(one))[:, 0]


def force_and_tilt(one: Instance) -> tuple[Any, Any]:
    """a . df along zeta, and zeta . force."""
    letters = local(one)
    return (letters["a"].T @ evaluate(tilted(ALONG), letters))[0, 0], (one.along @ evaluate(force(), letters))[0]


def scores_by_pairs(one: Instance) -> tuple[Any, Any]:
    """sum over windows of (e_n - 1/M) . (e_n' - 1/M) f'/S with literal unit vectors, and the score."""
    windows, M = one.windows, one.windows.vocabulary
    unit = np.array([[Fraction(int(i == j)) - Fraction(1, M) for j in range(M)] for i in range(M)])
    dense = dense_shares(windows)
    weights = unit[windows.following] @ unit[windows.following].T
    return (
        np.take_along_axis(weights @ dense / Fraction(len(windows)), windows.words, 1),
        scores_of(score(), windows),
    )


def dense_shares(windows: Windows) -> Array:
    """f of every window over the whole vocabulary, (S, M)."""
    dense = windows.zeros(len(windows), windows.vocabulary)
    np.add.at(dense, (np.arange(len(windows))[:, None], windows.words), windows.shares)
    return dense


def flow_by_series(one: Instance) -> tuple[Any, Any]:
    """z(t) of the flow up to t^2, from its own velocities order by order, and the statement."""
    windows, (eta_Y, eta_Z) = one.windows, one.rates
    M = windows.vocabulary
    Y = [[constant(Fraction(0), 0)] * M for _ in range(M)]
    z = [[constant(Fraction(0), 0)] * M for _ in range(M)]
    for _ in range(2):
        in_Y, in_z = velocities(windows, Y, z)
        Y = [[s.scaled(eta_Y).integral() for s in row] for row in in_Y]
        z = [[s.scaled(eta_Z).integral() for s in row] for row in in_z]
    found = np.array([[s.coefficients for s in row] for row in z])
    predicted = found * 0
    predicted[..., 2] = eta_Y * eta_Z * logits_of(formula().parts, windows)
    return found, predicted


Table = list[list[Series]]


def velocities(windows: Windows, Y: Table, z: Table) -> tuple[Table, Table]:
    """-dL/dY and -dL/dz of the layer, as series."""
    M, order = windows.vocabulary, len(Y[0][0].coefficients) - 1
    nought, share = constant(Fraction(0), order), Fraction(1, len(windows))
    in_Y, in_z = ([[nought] * M for _ in range(M)] for _ in range(2))
    for row in range(len(windows)):
        m, n = int(windows.queries[row]), int(windows.following[row])
        f = shares_along(windows, row, z[m])
        logits = {j: total([f[w] * Y[w][j] for w in f]) for j in range(M)}
        weights = {j: one.exp() for j, one in logits.items()}
        whole = total(list(weights.values())).inverse()
        errors = {j: constant(Fraction(int(j == n)), order) - w * whole for j, w in weights.items()}
        g = {w: total([Y[w][j] * errors[j] for j in range(M)]) for w in f}
        mean = total([f[w] * g[w] for w in f])
        for w, one in f.items():
            in_z[m][w] = in_z[m][w] + (one * (g[w] - mean * one)).scaled(share)
            for j in range(M):
                in_Y[w][j] = in_Y[w][j] + (one * errors[j]).scaled(share)
    return in_Y, in_z


def shares_along(windows: Windows, row: int, z: list[Series]) -> dict[int, Series]:
    """Word -> f of a window as the logits move."""
    counts = {int(w): int(c) for w, c in zip(windows.words[row], windows.counts[row], strict=True) if c}
    v = {w: z[w].exp().scaled(Fraction(c)) for w, c in counts.items()}
    squares = total([one * one for one in v.values()])
    start = windows.shares[row][0] / int(windows.counts[row][0])
    return {w: one * squares.inverse_root(start) for w, one in v.items()}


def signs(one: Instance) -> tuple[Any, Any]:
    """The sum of the forces of a window, and each force as f_l^2 (a_l/f_l - mean of a/f with weights f^2)."""
    letters = local(one)
    f, a = letters["f"][:, 0], one.scores
    pushed = evaluate(force(), letters)[:, 0]
    ratios = a / f
    return [pushed.sum(), *pushed], [Fraction(0), *(f**2 * (ratios - (f**2 * ratios).sum()))]


def bound_by_integration(one: Instance) -> tuple[Any, Any]:
    """The bound at rational numbers, and its integral by Simpson's rule, exact for these cubics."""
    (Y, Z), p, t = one.rates, Fraction(1, 3), Fraction(2, 5)

    def velocity(s: Fraction) -> Fraction:
        logits = Y * Z * p * s**2
        in_Y = Y * (2 * Y * Z * p * s**3 / 3 + Y * s**2 / 2)
        return Z * (in_Y + Y * s * HALF_ROOT * Y * s + 3 * logits * Y * s)

    by_simpson = t / 6 * (velocity(Fraction(0)) + 4 * velocity(t / 2) + velocity(t))
    return sum(c * Y**i * Z**j * p**k * t**m for (i, j, k, m), c in remainder().items()), by_simpson


def drop_by_series(one: Instance) -> tuple[Any, Any]:
    """ln(T - 1) - H at logits eps z, up to eps^2, with T - 1 = 3 keys; and the form."""
    n = Fraction(len(one.along))
    weights = [Series((Fraction(0), z, Fraction(0))).exp() for z in one.along]
    mean = total(weights).scaled(1 / n)
    attention = [w * mean.inverse() for w in weights]  # times n
    # ln(n b) = eps z - ln mean e^{eps z}, and ln(1 + x) = x - x^2/2 up to this order
    x = mean - constant(Fraction(1), 2)
    log_mean = x - (x * x).scaled(Fraction(1, 2))
    logs = [Series((Fraction(0), z, Fraction(0))) - log_mean for z in one.along]
    drop = total([b * log for b, log in zip(attention, logs, strict=True)]).scaled(1 / n)
    means = {"mu1": np.array([one.along.sum() / n]), "mu2": np.array([(one.along**2).sum() / n])}
    return drop.coefficients, [Fraction(0), Fraction(0), evaluate(entropy_drop(), means)[0]]


def presence(one: Instance) -> tuple[Any, Any]:
    """a/f of both words at the threshold: K next words alike, by literal means over windows."""
    import sympy as sp

    del one
    left, right = [], []
    for P, M in ((Fraction(1, 3), 5), (Fraction(2, 3), 7)):
        at = threshold().subs({"P": sp.Rational(str(P)), "k": M - 1})
        q = Fraction(int(at.p), int(at.q))
        (distinct, everywhere) = (
            sum(c * monomial for c, monomial in scores_at(P, Fraction(M), b, e)) for b, e in ((q, P * q), (1, 1))
        )
        left.append(distinct)
        right.append(everywhere)
    return left, right


@cache
def derivation() -> Derivation:
    """The eight steps."""
    import sympy as sp

    f, b, s, a = sp.symbols("f b s a")
    q = threshold()
    steps = (
        equality(
            "shares",
            ("df along dz = zeta", r"\mathrm{d}f"),
            tilted(ALONG),
            "f = v/|v|, v = c o e^z, dv = v o dz; F = diag(f); the counts c_l alone enter, there is no position",
            tilt_of_shares,
        ),
        equality(
            "force",
            ("d(f . a)/dz", r"\nabla_z (f \cdot a)"),
            force(),
            "a . df = zeta . (F a - F f f^T a) for every zeta; with a = Y (e_n - alpha) it is the velocity of z_m, "
            "over eta_Z and the windows with query m",
            force_and_tilt,
        ),
        equality(
            "score",
            ("E' (e_n - 1/M).(e_n' - 1/M) f'", "a_n"),
            score(),
            "alpha = 1/M at Y = 0: Y = t eta_Y E f (e_n - 1/M)^T to first order, and (e_n - 1/M).(e_n' - 1/M) = "
            "1(n = n') - 1/M",
            scores_by_pairs,
        ),
        equality(
            "attention logits",
            ("one window's part of z_m/(t^2 eta_Y eta_Z)", r"\kappa"),
            kappa(),
            "the force of t eta_Y a_n, integrated over time; z_m is the mean over all windows of those with query m",
            flow_by_series,
        ),
        Step(
            "remainder",
            "|z_m(t) - t^2 eta_Y eta_Z kappa_m|/p_m",
            f"at most {remainder_form()} (Y, Z for the rates)",
            r"\lvert r_m\rvert \le p_m\,\eta_Y^2\eta_Z t^3\left(\tfrac{5}{12} + \tfrac{11}{12}\,\eta_Z p t\right)",
            "every vector is bounded by its length, from the decoder to the attention",
            bound_by_integration,
            proof=REMAINDER,
            forms={"bound": remainder_form()},
        ),
        equality(
            "entropy",
            ("ln(T - 1) - H at logits eps z, over eps^2", r"\ln(T-1) - H"),
            entropy_drop(),
            "eps psi' - psi with psi = log mean e^{eps z}; mu1, mu2 are the means of z and z^2 over the keys. With z ~ "
            "t^2 the drop is of order t^4",
            drop_by_series,
        ),
        Step(
            "gain and loss",
            "force on a word of share f with score a, where f.a = s",
            "f a - f^2 s; for a = -b it is -(f b + f^2 s): a loss if b >= 0 < s",
            r"f_l^2\left(a_l/f_l - \textstyle\sum_j f_j^2\, a_j/f_j\right)",
            "f_l^2 adds up to 1, so the forces of a window add up to 0: what one word gains the others lose",
            signs,
            forms={"force": f * a - f**2 * s, "loss": f * b + f**2 * s},
        ),
        Step(
            "presence",
            "share q of the windows before n above which a distinct word is pushed harder than one in all windows",
            f"{q}, k = M - 1",
            rf"q = {sp.latex(q)}",
            "a/f = P q (1 - 1/M) for a word with one f in a share q of the windows before n and in no others, and "
            "P - 1/M for a word with one f in all windows",
            presence,
            forms={"threshold": q},
        ),
    )
    return Derivation(STATEMENT, steps, {**formula().parts}, instance)


STATEMENT = Statement(
    identifier="scan-text",
    title="Scan and snap on text: where attention goes first, from counts, and what it does later, measured",
    latex=r"z_m(t) = t^2\eta_Y\eta_Z\,\tfrac12\mathbb{E}\,1_m\, f\circ(a_n - (f\cdot a_n) f) + O(t^3),\quad "
    r"a_n = P(n)\,\mathbb{E}[f\mid n] - \tfrac1M\mathbb{E} f",
    text=(
        "Derived, on any finite set of windows of a text: from Y = Z = 0 attention starts uniform, with the largest "
        "entropy ln(T - 1); its logits grow as t^2 with a coefficient that is a sum over counts, with a proved bound "
        "on the rest, and entropy falls by half their variance, as t^4. In a window those words gain that stand before "
        "the next word more than others for their share. Before a frequent next word a word that is in all windows "
        "loses against a distinct one only if that one is in almost every window before it. Only measured, on made-up "
        "texts: under plain SGD entropy falls, slows down, and ends lower at a larger learning rate."
    ),
    assumptions=(
        "one layer: no positional encoding, the query masked from its keys, attention output of unit length",
        "full-batch gradient flow of the mean cross-entropy from Y = Z = 0, for the derived part",
        "finitely many windows of finite length, T >= 3; no assumption on the text",
    ),
    conventions="z_m(l) is the logit of the key l for the query m; natural logarithms",
    sources=(
        Source("tian2023scan", "section 8, Figs. 7 and 10 (observed: entropy on WikiText)"),
        Source("ours", "the flow at small times from counts, its remainder, and presence"),
    ),
)


def points(name: str) -> list[dict[str, Any]]:
    """Rational windows."""
    return [{"windows": rational_windows(f"{name}/{k}", 6)} for k in range(3)]


# For a user

MOST_WORDS, MOST_WINDOWS = 200, 10_000


def checked_windows(windows: Any, vocabulary: int) -> list[list[int]]:
    """Rows of T + 1 words each, T >= 3, words 0 .. M - 1. Raises AssumptionError."""
    table = real_array(windows, "windows")
    if table.ndim != 2 or table.shape[1] < 4 or not 0 < len(table) <= MOST_WINDOWS:
        raise AssumptionError(
            f"windows needs 1 to {MOST_WINDOWS} rows of T + 1 words each with T >= 3, got shape {table.shape}; "
            "write [[0, 1, 0, 2]] for keys 0, 1, query 0 and next word 2"
        )
    if (table != np.floor(table)).any() or (table < 0).any() or (table >= vocabulary).any():
        raise AssumptionError(f"windows needs words as whole numbers from 0 to {vocabulary - 1}; number the vocabulary")
    return [[int(word) for word in row] for row in table]


ROUNDING = 1e-13  # of a leading logit, in units of its query's probability


def leading(parts: Mapping[str, TracePolynomial], windows: Windows) -> Array:
    """kappa (M, M), with 0 for what is rounding."""
    table = logits_of(parts, windows)
    rounding = ROUNDING * windows.query_chances()[:, None]
    return np.asarray(np.where(np.abs(table) > rounding, table, 0.0), dtype=float)


def least_share(table: Array, chances: Array) -> float:
    """The least over queries of the largest |kappa_m|/p_m; queries with kappa_m = 0 are left out."""
    largest = np.abs(table).max(1)
    return float(min((largest[largest > 0] / chances[largest > 0]).tolist(), default=math.inf))


def relative_remainder(eta_Y: float, eta_Z: float, p: float, t: float) -> float:
    """The bound on |z_m(t) - t^2 eta_Y eta_Z kappa_m|/p_m, over t^2 eta_Y eta_Z."""
    Y, Z, at = np.float64(eta_Y), np.float64(eta_Z), np.float64(t)
    with np.errstate(over="ignore", under="ignore"):
        terms = (
            float(c) * Y ** (i - 1) * Z ** (j - 1) * p**k * at ** (m - 2) for (i, j, k, m), c in remainder().items()
        )
        return float(sum(terms))


def working_time(eta_Y: float, eta_Z: float, p: float, t: float, least: float) -> float:
    """A smaller time, of two digits, at which the remainder is small enough."""
    while relative_remainder(eta_Y, eta_Z, p, t) > least:
        t = float(f"{t / 2:.1e}")
    return t


def for_user(
    windows: Any, vocabulary_size: Any, time: Any, decoder_rate: Any = 1.0, attention_rate: Any = 1.0
) -> dict[str, Any]:
    """Leading logits (M, M), their bound, and entropies (nats) at a time. Raises AssumptionError.

    Only while the bound is at most the largest leading logit of its query; queries without leading logits do not count.

    attention_logits     t^2 eta_Y eta_Z kappa; logits_within (M,): |z_m(t) - attention_logits[m]| in length
    start_entropy        ln(T - 1); entropy_drop: mean half variance of attention_logits over the keys

    >>> found = for_user([[0, 1, 0, 2, 1], [0, 1, 1, 2, 0], [0, 2, 2, 2, 0]], 3, 0.01)
    >>> [round(1e6 * z, 3) for z in found["attention_logits"][2]], round(found["start_entropy"], 4)
    ([0.444, -0.444, 0.0], 1.0986)
    """
    M = check_context_length(vocabulary_size, "vocabulary_size")
    if not 2 <= M <= MOST_WORDS:
        raise AssumptionError(
            f"vocabulary_size needs a whole number from 2 to {MOST_WORDS}, got {M}; keep the frequent words"
        )
    found = windows_of(checked_windows(windows, M), M)
    rates = check_positive(decoder_rate, "decoder_rate"), check_positive(attention_rate, "attention_rate")
    t = check_non_negative(time, "time")
    parts, chances = formula().parts, found.query_chances()
    table = leading(parts, found)
    p, least = float(chances.max()), least_share(table, chances)
    if relative_remainder(*rates, p, t) > least:
        raise AssumptionError(
            "need a time at which the proved remainder is at most the largest leading logit of its query, got "
            f"{t:g}; take {working_time(*rates, p, t, least):g}, for one"
        )
    scale = t**2 * rates[0] * rates[1]
    logits, within = scale * table, scale * relative_remainder(*rates, p, t)
    return {
        "attention_logits": (logits + 0.0).tolist(), "logits_within": (within * chances).tolist(),
        "start_entropy": math.log(float(found.keys[0])),
        "entropy_drop": float(mean_drop(parts["entropy drop"], found, logits)),
    }  # fmt: skip
