r"""What finite sequences do to the layer at its start: the force on attention that no sequence of infinite length has.

A sequence of class n has S = T - 1 keys; its class vector at attention logits z is f = (w o N)/|w o N|, N the counts of
tokens, multinomial(S, p) with p = P(. | n), and w = e^z. With s2 = |p|^2, s3 = sum p^3, r = sqrt(s2), all at z = 0:
Main statements
    class vector   E f = p/r + c/S + O(1/S^2),   r c_l = -p_l^2/s2 - p_l/(2 s2) + 3 p_l s3/(2 s2^2)
    force          from Y = 0, z = 0 the mean of z under descent starts as z'' = eta_Y eta_Z grad Phi_S with
                   Phi_S = 1/2 sum_{n,j} P(n) P(j) (1(n = j) - 1/M) E f_n . E f_j
    its 1/S        from grad (c_n . f_j), for any two classes of any queries; for one class alone it is, times S,
                   2 p_l^3/s2^2 + p_l^2 (1/s2^2 - 2 s3/s2^3) - p_l/s2
    momentum       k steps move Y by k/h - (1 - h)(1 - x)/h^2 rates under a constant gradient, x = mu^k, h = 1 - mu
One class alone feels no force at T = infinity (f is its own direction); at finite T attention moves to where |E f|^2 is
larger, that is, where the class vector of a sample varies less: to frequent tokens, away from rare ones, distinct or
not. This is not divided by M, as the force between classes is. So T has to be large beside M, not only beside the
number of tokens in use, for the limit T = infinity to describe training.
Proof of the first two
    Delta method: f has degree 0 in N, so that the part -p p^T/S of the covariance of N/S drops out by Euler's identity
    and c_l = 1/2 sum_i p_i d^2 f_l/dp_i^2; f is smooth away from N = 0, whose probability is 0. At small t,
    Y = eta_Y t sum_j P(j) E f_j (e_j - 1/M)^T + O(t^2) is independent of the next batch, and the gradient by z is
    linear in Y: averaged, it is that of Phi_S.
References
    [tian2023scan, Lemma 2 and 18]: the limit T -> infinity, without the term in 1/T.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import Array, evaluate
from ..algebra.formulas import Formula
from ..algebra.trace_polynomials import TracePolynomial, number, scalar
from ..one_layer.assumptions import AssumptionError, check_positive
from ..one_layer.fixed_point import latex_of
from ..orthogonal_dynamics.learning_rate import check_whole
from ..scan_and_snap.early_attention import checked_tables
from .means_over_counts import means_of_classes

if TYPE_CHECKING:
    import sympy as sp

LONGEST, MOST_STEPS, MOST_TOKENS = 4096, 1_000_000, 200
MOST_WORK = 1e6  # of `predict`: up to half a minute
DIGITS = 120
PARTS = ("velocity", "overlap", "through")


def letters() -> dict[str, sp.Symbol]:
    """q = w p of a token, its w, o of another class, and sums over tokens: s2 of q^2, u of q w, v of q^3 w, x1, x2."""
    import sympy as sp

    return {name: sp.Symbol(name, positive=True) for name in ("q", "w", "o", "s2", "u", "v", "x1", "x2")}


def second_derivatives() -> tuple[sp.Expr, sp.Expr]:
    """r d^2/dq_i^2 of q_k/r for i != k and for i = k, in q (of k), q_i and s2."""
    import sympy as sp

    one = letters()
    q, s2 = one["q"], one["s2"]
    q_i, rest = sp.symbols("q_i rest", positive=True)
    found = []
    for component, by in ((q, q_i), (q, q)):
        square = by**2 + rest
        second = sp.diff(component / sp.sqrt(square), by, 2) * sp.sqrt(square)
        found.append(sp.expand(sp.simplify(second.subs(rest, s2 - by**2))))
    return found[0], found[1]


@cache
def class_vector_term() -> sp.Expr:
    """r c_k for any weights w: 1/2 sum_i q_i w_i times the second derivatives, the sum over i in power sums."""
    import sympy as sp

    one, q_i = letters(), sp.Symbol("q_i", positive=True)
    others, own = second_derivatives()
    sums = {0: one["u"], 2: one["v"]}
    polynomial = sp.Poly(others, q_i)
    total = sum(coefficient * sums[power] for (power,), coefficient in polynomial.terms())
    return sp.expand((total + (own - others.subs(q_i, one["q"])) * one["q"] * one["w"]) / 2)


@cache
def overlap_term() -> sp.Expr:
    """r_n r_j c_n . f_j: each power of q_k, times o_k, summed over tokens."""
    import sympy as sp

    one = letters()
    sums = {(1, 0): one["x1"], (2, 1): one["x2"]}
    polynomial = sp.Poly(class_vector_term(), one["q"], one["w"])
    return sp.expand(sum(coefficient * sums[powers] for powers, coefficient in polynomial.terms()))


@cache
def through_term() -> sp.Expr:
    """r_n r_j d/dz_l of c_n . f_j with f_j kept: d/dz_l multiplies q_l and w_l by 1, and r_n by q_l^2/s2."""
    import sympy as sp

    one, overlap = letters(), overlap_term()
    q, w, o, s2 = one["q"], one["w"], one["o"], one["s2"]
    moves = {"s2": 2 * q**2, "u": 2 * q * w, "v": 4 * q**3 * w, "x1": q * o, "x2": 3 * q**2 * w * o}
    return sp.expand(sum(sp.diff(overlap, one[name]) * move for name, move in moves.items()) - q**2 / s2 * overlap)


@cache
def own_term() -> sp.Expr:
    """d/dz_l of c_n . f_n, both moving."""
    import sympy as sp

    one = letters()
    q, w, s2 = one["q"], one["w"], one["s2"]
    potential = sp.expand(overlap_term().subs({one["x1"]: s2, one["x2"]: one["v"]}) / s2)
    moves = {"s2": 2 * q**2, "u": 2 * q * w, "v": 4 * q**3 * w}
    return at_start(sp.expand(sum(sp.diff(potential, one[name]) * move for name, move in moves.items())))


def at_start(expression: sp.Expr) -> sp.Expr:
    """At z = 0: q = p, w = 1, and so u = 1 and v = s3."""
    import sympy as sp

    one = letters()
    return sp.expand(expression.subs({one["q"]: sp.Symbol("p"), one["w"]: 1, one["u"]: 1, one["v"]: sp.Symbol("s3")}))


@cache
def forms_at_start() -> dict[str, sp.Expr]:
    """velocity (r c_l), overlap and through (r_n r_j times), own: in p, o, s2, s3, x1, x2 without assumptions."""
    import sympy as sp

    found = {
        "velocity": at_start(class_vector_term()),
        "overlap": at_start(overlap_term()),
        "through": at_start(through_term()),
        "own": own_term(),
    }
    plain = {symbol: sp.Symbol(name) for name, symbol in letters().items()}
    return {name: expression.subs(plain) for name, expression in found.items()}


def as_polynomial(expression: sp.Expr) -> TracePolynomial:
    """A sum of products of powers of symbols, whole ones of either sign."""
    total = number(0)
    for term in expression.as_ordered_terms():
        coefficient, rest = term.as_coeff_Mul()
        product = number(Fraction(int(coefficient.p), int(coefficient.q)))
        for symbol, power in rest.as_powers_dict().items():
            if symbol != 1:
                product = product * power_of(str(symbol), int(power))
        total = total + product
    return total


def power_of(name: str, power: int) -> TracePolynomial:
    one = scalar(name)
    return TracePolynomial("1", "1", {m._replace(scalars=((name, power),)): v for m, v in one.terms.items()})


# Momentum


@cache
def moved_by_momentum() -> tuple[sp.Expr, sp.Expr]:
    """What k steps with momentum mu = 1 - h do from rest, x = mu^k.

    decoder     d_k: the move under a gradient of -1 at rate 1: d_{k+1} - d_k = (1 - x mu)/h, d_0 = 0
    attention   a_k: the same under the pull d_k: a_{k+1} = (1 + mu) a_k - mu a_{k-1} + d_k, a_0 = a_1 = 0
    Ansatz: polynomials in k of degree 2, times 1 or x; the constants are solved for.
    """
    import sympy as sp

    k, x, h = sp.symbols("k x h")
    mu = 1 - h

    def shifted(expression: sp.Expr, by: int) -> sp.Expr:
        return expression.subs({k: k + by, x: x * mu**by}, simultaneous=True)

    def solved(rest: Callable[[sp.Expr], sp.Expr], starts: Sequence[tuple[int, int]]) -> sp.Expr:
        unknown = sp.symbols("c0:6")
        ansatz = sum(
            c * k**i * x**j for c, (i, j) in zip(unknown, ((i, j) for i in range(3) for j in (0, 1)), strict=True)
        )
        equations = sp.Poly(sp.expand(sp.together(rest(ansatz)).as_numer_denom()[0]), k, x).coeffs()
        equations += [ansatz.subs({k: at, x: mu**at}) - value for at, value in starts]
        (solution,) = sp.solve(equations, unknown, dict=True)
        found = ansatz.subs(solution)
        assert not found.free_symbols - {k, x, h}  # the ansatz is complete: every constant is determined
        return sp.factor(found)

    decoder = solved(lambda d: shifted(d, 1) - d - (1 - x * mu) / h, ((0, 0),))
    attention = solved(lambda a: shifted(a, 1) - (1 + mu) * a + mu * shifted(a, -1) - decoder, ((0, 0), (1, 0)))
    return decoder, attention


# Numbers


def sums_of(p: Array, o: Array) -> dict[str, Any]:
    """s2, s3, x1, x2 and, token by token, p and o."""
    return {"p": p, "o": o, "s2": (p**2).sum(), "s3": (p**3).sum(), "x1": (p * o).sum(), "x2": (p**2 * o).sum()}


def values_of_parts(parts: Mapping[str, TracePolynomial], p: Array, o: Array) -> dict[str, Array]:
    """The three parts token by token, (M,)."""
    given = {name: np.asarray(value) + 0 * p for name, value in sums_of(p, o).items()}
    return {name: np.asarray(evaluate(parts[name], given)) + 0 * p for name in PARTS}


def coefficients(
    parts: Mapping[str, TracePolynomial], contexts: Array, rows: Sequence[int], probabilities: Array
) -> tuple[Array, Array]:
    """c (K, M), and the coefficient of 1/S in grad Phi_S, (Q, M)."""
    K, M = contexts.shape
    r = np.sqrt((contexts**2).sum(1))
    velocity = np.zeros((K, M))
    force = np.zeros((max(rows) + 1, M))
    for n in range(K):
        for j in range(K):
            of_pair = values_of_parts(parts, contexts[n], contexts[j])
            velocity[n] = of_pair["velocity"] / r[n]
            weight = probabilities[n] * probabilities[j] * ((n == j) - 1 / M) / (r[n] * r[j])
            o, square = contexts[j], (contexts[j] ** 2).sum()
            force[rows[n]] += weight * of_pair["through"]
            force[rows[j]] += weight * (of_pair["velocity"] * o - o**2 / square * of_pair["overlap"])
    return velocity, force


def force_of_means(means: Array, slopes: Array, rows: Sequence[int], probabilities: Array) -> Array:
    """grad Phi, (Q, M), from E f_n (K, M) and E d f_nk/dz_l (K, M, M)."""
    K, M = means.shape
    weights = np.outer(probabilities, probabilities) * (np.eye(K) - 1 / M)
    force = np.zeros((max(rows) + 1, M))
    for n, pull in enumerate(weights @ means):
        force[rows[n]] += pull @ slopes[n]
    return force


def limit_of_means(contexts: Array) -> tuple[Array, Array]:
    """f_n and its slopes diag(f) - f (f o f)^T at T = infinity."""
    f = contexts / np.sqrt((contexts**2).sum(1, keepdims=True))
    return f, np.array([np.diag(one) - np.outer(one, one**2) for one in f])


@cache
def formula() -> Formula:
    """r c_l, and r_n r_j times the parts of the force, for two classes."""
    parts = {name: as_polynomial(forms_at_start()[name]) for name in PARTS}
    symbols = {"p": ("o",), "o": ("p",), "s2": ("s3",), "s3": ("s2",), "x1": ("x2",), "x2": ("x1",)}
    return Formula(parts, quantity, Vocabulary(symbols))


def quantity(parts: Mapping[str, TracePolynomial], values: Mapping[str, Any]) -> Array:
    """All parts at p and o, one after another: exact for fractions."""
    p, o = values["p"], values["o"]
    found = values_of_parts(parts, p, o)
    return np.concatenate([found[name] for name in PARTS])


def points(name: str) -> list[dict[str, Any]]:
    """Rational tables of two classes."""
    found = []
    for k, size in enumerate((3, 4, 5)):
        draw = random.Random(f"{name}/{k}")
        found.append({letter: law(draw, size) for letter in ("p", "o")})
    return found


def law(draw: random.Random, size: int) -> Array:
    """Positive rational probabilities with sum 1."""
    whole = [draw.randint(1, 60) for _ in range(size)]
    return np.array([Fraction(x, sum(whole)) for x in whole], dtype=object)


# Instances and both sides of the steps


@dataclass(frozen=True)
class Instance:
    """Rational laws p and o, a token l, and a momentum."""

    p: Array
    o: Array
    token: int
    momentum: Fraction


def instance(seed: int) -> Instance:
    draw = random.Random(f"finite sequences/{seed}")
    size = draw.randint(2, 5)
    return Instance(law(draw, size), law(draw, size), draw.randrange(size), Fraction(draw.randint(1, 9), 10))


def second_order(q: Array, y: Array) -> Array:
    """r times the part of degree 2 in y of (q + y)/|q + y|, by the binomial series of 1/sqrt."""
    s2 = (q**2).sum()
    first, second = 2 * (q * y).sum() / s2, (y**2).sum() / s2
    found: Array = q * (3 * first**2 / 8 - second / 2) - y * first / 2
    return found


def mean_second_order(p: Array, w: Array) -> Array:
    """The mean of it over one key: y = w o (e_i - p). S keys divide it by S: their deviations are independent."""
    total = 0 * p
    for i, probability in enumerate(p):
        y = -w * p
        y[i] = y[i] + w[i]
        total = total + probability * second_order(w * p, y)
    return total


def exact_parts(given: Instance) -> dict[str, Array]:
    return values_of_parts(formula().parts, given.p, given.o)


def both_of_class_vector(given: Instance) -> tuple[Any, Any]:
    """r c by the mean over one key, and the form."""
    return mean_second_order(given.p, 0 * given.p + 1), exact_parts(given)["velocity"]


def both_of_overlap(given: Instance) -> tuple[Any, Any]:
    left = (given.o * mean_second_order(given.p, 0 * given.p + 1)).sum()
    return left, exact_parts(given)["overlap"][0]


def both_of_through(given: Instance) -> tuple[Any, Any]:
    """r r' d/dz_l: at w_l = 1 + e, to first order in e; r^2 = |w o p|^2 is a square, whose root is differentiated."""
    import sympy as sp

    e = sp.Symbol("e")
    p, o = (
        np.array([sp.Rational(x.numerator, x.denominator) for x in one], dtype=object) for one in (given.p, given.o)
    )
    w = np.array([1 + e if i == given.token else sp.Integer(1) for i in range(len(p))], dtype=object)
    value = (o * mean_second_order(p, w)).sum()
    square = ((w * p) ** 2).sum()
    slope = (sp.diff(value, e) - value * sp.diff(square, e) / (2 * square)).subs(e, 0)
    exact = sp.nsimplify(slope)
    return Fraction(int(exact.p), int(exact.q)), exact_parts(given)["through"][given.token]


def both_of_own(given: Instance) -> tuple[Any, Any]:
    """Through n and through j at j = n, and the form."""
    p = given.p
    parts, s2 = values_of_parts(formula().parts, p, p), (p**2).sum()
    both = (parts["through"] + parts["velocity"] * p - p**2 / s2 * parts["overlap"]) / s2
    own = evaluate(as_polynomial(forms_at_start()["own"]), {k: np.asarray(x) + 0 * p for k, x in sums_of(p, p).items()})
    return [*both, sum(both)], [*own, Fraction(0)]


def both_of_force(given: Instance) -> tuple[Any, Any]:
    """sum_n P(n) E f o (g_n - (f.g_n) f), g_n = sum_j P(j) E f_j (1(n = j) - 1/M), and grad Phi.

    f_n is one of two rational unit vectors, which stand for two samples.
    """
    three, five = Fraction(1, 5), Fraction(1, 13)
    samples = [
        np.array([[3 * three, 4 * three, 0 * three], [4 * three, 0 * three, 3 * three]], dtype=object),
        np.array([[0 * five, 5 * five, 12 * five], [12 * five, 5 * five, 0 * five]], dtype=object),
    ]
    chance, share = given.p[:2] / given.p[:2].sum(), given.o[:2] / given.o[:2].sum()
    means = np.array([share @ one for one in samples], dtype=object)
    force: Any = 0
    for n, one in enumerate(samples):
        g = sum(chance[j] * means[j] * ((n == j) - Fraction(1, 3)) for j in (0, 1))
        force = force + chance[n] * sum(s * (f * g - (f @ g) * f**2) for s, f in zip(share, one, strict=True))
    slopes = [sum(s * (np.diag(f) - np.outer(f, f**2)) for s, f in zip(share, one, strict=True)) for one in samples]
    right: Any = 0
    for n in (0, 1):
        for j in (0, 1):
            weight = chance[n] * chance[j] * ((n == j) - Fraction(1, 3)) / 2
            right = right + weight * (slopes[n].T @ means[j] + slopes[j].T @ means[n])
    return force, right


def both_of_momentum(given: Instance) -> tuple[Any, Any]:
    """Seven steps one by one, and the forms."""
    mu, left, right = given.momentum, [], []
    decoder = attention = Fraction(0)
    pace_Y = pace_Z = Fraction(0)
    for k in range(1, 8):
        pace_Z = mu * pace_Z + decoder
        pace_Y = mu * pace_Y + 1
        decoder, attention = decoder + pace_Y, attention + pace_Z
        left += [decoder, attention]
        right += list(exactly_moved(k, mu))
    return left, right


def exactly_moved(k: int, mu: Fraction) -> tuple[Fraction, Fraction]:
    """The forms at whole k and a rational momentum."""
    import sympy as sp

    power, h = mu**k, 1 - mu
    letters_of_run = {
        "x": sp.Rational(power.numerator, power.denominator),
        "h": sp.Rational(h.numerator, h.denominator),
    }
    decoder, attention = (expression.subs({"k": k, **letters_of_run}) for expression in moved_by_momentum())
    return Fraction(int(decoder.p), int(decoder.q)), Fraction(int(attention.p), int(attention.q))


@cache
def derivation() -> Derivation:
    """From the counts of one key to the force on attention, and to what steps make of it."""
    forms = forms_at_start()
    decoder, attention = moved_by_momentum()
    steps = (
        Step(
            "class vector of a sample",
            "r c_l, where E f = p/r + c/S + O(1/S^2)",
            str(forms["velocity"]),
            rf"r c_l = {latex_of(forms['velocity'])}",
            "delta method: the counts of S keys have covariance S (diag(p) - p p^T), f has degree 0 in them",
            both_of_class_vector,
            forms={"velocity": forms["velocity"]},
        ),
        Step(
            "overlap with another class",
            "r_n r_j c_n . f_j",
            str(forms["overlap"]),
            rf"r_n r_j\, c_n \cdot f_j = {latex_of(forms['overlap'])}",
            "summed over tokens: x1 = sum p o, x2 = sum p^2 o for the other class's law o",
            both_of_overlap,
            forms={"overlap": forms["overlap"]},
        ),
        Step(
            "force of a potential",
            "mean of the first pull on z over independent batches",
            "eta_Y eta_Z t grad Phi_S",
            r"\ddot z = \eta_Y\eta_Z\nabla\Phi_S,\ \Phi_S = \tfrac12\sum_{n,j} P_n P_j (1_{n=j} - \tfrac1M)"
            r"\,\mathbb{E} f_n\cdot\mathbb{E} f_j",
            "the gradient by z is linear in Y, and Y comes from earlier batches",
            both_of_force,
        ),
        Step(
            "through one class",
            "r_n r_j d/dz_l (c_n . f_j), f_j kept",
            str(forms["through"]),
            rf"r_n r_j\,\partial_{{z_l}} c_n \cdot f_j = {latex_of(forms['through'])}",
            "the same with weights w = e^z beside the counts, differentiated at z = 0; through f_j, with c_n kept, it "
            "is r_n c_nl o_l - o_l^2 (overlap)/|o|^2",
            both_of_through,
            forms={"through": forms["through"]},
        ),
        Step(
            "one class alone",
            "d/dz_l (c_n . f_n)",
            str(forms["own"]),
            rf"\partial_{{z_l}} c_n \cdot f_n = {latex_of(forms['own'])}",
            "both parts at j = n; it adds up to 0 over the tokens, and nothing divides it by M",
            both_of_own,
            forms={"own": forms["own"]},
        ),
        Step(
            "steps with momentum",
            "moves of Y and z after k steps from rest, for a pull that grows as Y does",
            f"{decoder} and {attention}",
            rf"d_k = {latex_of(decoder)},\quad a_k = {latex_of(attention)}",
            "linear recursions, x = mu^k, h = 1 - mu: E z = eta_Y eta_Z a_k grad Phi_S to first order in the pull",
            both_of_momentum,
            forms={"decoder": decoder, "attention": attention},
        ),
    )
    return Derivation(STATEMENT, steps, {**forms, "decoder": decoder, "attention": attention}, instance)


# For a user


def for_user(
    contexts: Any,
    length: Any,
    queries: Any = None,
    probabilities: Any = None,
    decoder_rate: Any = 1.0,
    attention_rate: Any = 1.0,
    momentum: Any = 0.0,
    steps: Any = 1,
) -> dict[str, Any]:
    """The mean class vectors and the force on attention at the start, at length T, at T = infinity, and the 1/(T - 1).

    early_attention: the mean of z, one row for each query in use, after the steps, to first order in the pull; while no
    entry exceeds 1. Raises AssumptionError.
    """  # fmt: skip
    plain = checked_tables(contexts, queries, probabilities)
    P, chances = np.array(plain["contexts"]), np.array(plain["probabilities"])
    if max((law > 0).sum() for law in P) > MOST_TOKENS:
        raise AssumptionError(f"contexts needs at most {MOST_TOKENS} tokens of positive probability in a class")
    keys, count = check_whole(length, "length", 2, LONGEST) - 1, check_whole(steps, "steps", 1, MOST_STEPS)
    work = sum(float((law > 0).sum()) ** 2 for law in P) * keys**0.5
    if work > MOST_WORK:
        raise AssumptionError(
            f"need the sum over classes of tokens^2, times the root of length - 1, below {MOST_WORK:g} for exact means "
            f"over counts, got {work:.3g}; leave rare tokens out, or take a shorter length"
        )
    rates = check_positive(decoder_rate, "decoder_rate") * check_positive(attention_rate, "attention_rate")
    mu = check_momentum(momentum)
    rows = np.unique(np.array(plain["queries"]), return_inverse=True)[1].tolist()
    of_class, of_force = coefficients(formula().parts, P, rows, chances)
    means, slopes = means_of_classes(P, keys)
    force = force_of_means(means, slopes, rows, chances)
    early = early_attention(force, rates, count, mu)
    return {
        "class_vectors": means.tolist(),
        "class_vector_coefficients": of_class.tolist(),
        "force": force.tolist(),
        "limit_force": force_of_means(*limit_of_means(P), rows, chances).tolist(),
        "force_coefficients": of_force.tolist(),
        "queries": sorted(set(plain["queries"])),
        "time": count / (1 - mu),
        "early_attention": early.tolist(),
    }


LARGEST_LOGIT = 1.0  # of the mean attention: logits of this size change the force itself


def early_attention(force: Array, rates: float, count: int, momentum: float) -> Array:
    """The mean of z after the steps, to first order in the pull. Raises AssumptionError."""
    pace = rates * float(np.abs(force).max())
    if pace * moved(count, momentum)[1] > LARGEST_LOGIT:
        # one step leaves attention where it is
        fewer = bisect_right(range(1, count), LARGEST_LOGIT, key=lambda k: pace * moved(k, momentum)[1])
        raise AssumptionError(
            f"need early attention logits up to {LARGEST_LOGIT:g}, larger ones change the force, got "
            f"{pace * moved(count, momentum)[1]:.4g} after {count} steps; take at most {fewer}, or smaller rates"
        )
    return np.asarray(rates * moved(count, momentum)[1] * force + 0.0)


def check_momentum(value: Any) -> float:
    """A number in [0, 1). Raises AssumptionError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise AssumptionError(f"need momentum as a number in [0, 1), got {value!r}")
    return float(value)


def moved(steps: int, momentum: float) -> tuple[float, float]:
    """The moves of Y and z after some steps, at rates 1.

    The terms of the forms are 1/h^4 times as large as their sum near momentum 1, h >= 1e-16: digits for that.
    """
    import sympy as sp

    mu = sp.Rational(momentum)  # exactly the float
    values = {"k": steps, "x": sp.Float(mu, DIGITS) ** steps, "h": sp.Float(1 - mu, DIGITS)}
    decoder, attention = (float(expression.subs(values)) for expression in moved_by_momentum())
    return decoder, attention


STATEMENT = Statement(
    identifier="scan-trained",
    title="Training on finite sequences: the joint flow, and a force on attention of order 1/T",
    latex=r"\ddot z = \eta_Y\eta_Z\bigl(\nabla\Phi_\infty + \tfrac{1}{T-1} a + O(T^{-2})\bigr)",
    text=(
        "Stochastic gradient descent on sequences of length T follows, as T grows, the joint flow at the time steps x "
        "rate/(1 - momentum). At finite T the force on attention at the start has a further term a/(T - 1), known "
        "exactly from the tables P(l | n): frequent tokens of a class gain, rare ones lose, distinct or not. It is not "
        "divided by M as the force of the limit is, and is the larger one unless T is large beside M."
    ),
    assumptions=(
        "sequences of T - 1 keys, independent with law P(l | n), and a query that is not among them; no positions",
        "softmax attention, output of unit length, cross-entropy of the next token; Y = Z = 0 at the start",
        "independent batches; to first order in the pull: early, and for small steps",
    ),
    conventions="S = T - 1 keys; time in steps of batch means at rates eta_Y, eta_Z, momentum as v <- mu v + gradient",
    sources=(
        Source("tian2023scan", "Lemma 2, Lemma 18 (the limit T -> infinity)"),
        Source("ours", "the term in 1/T"),
    ),
    uses=("scan-joint-flow",),
)
