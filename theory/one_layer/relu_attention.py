r"""ReLU attention: the risk on every law, and its minimum, by folding the signs of the samples.

The layer predicts yhat = (u/N) sum_i y_i ReLU(x_i^T U x_q): softmax-free attention with a ReLU on the scores, without
leak (u12 = u21 = 0); the query's own label is 0. With A = u U:
Main statements
    folding        given w and x_q, (x_i, eps_i) -> -(x_i, eps_i) flips y_i and the score z_i = x_i^T A x_q, and keeps
                   the law. Since ReLU(z) - ReLU(-z) = z and ReLU(z)^2 + ReLU(-z)^2 = z^2,
                   E y ReLU(z) = 1/2 E y z  and  E y^2 ReLU(z)^2 = 1/2 E y^2 z^2,  whatever the sign of u
    risk           E (yhat - w.x_q)^2 = tr(A^T M A Lambda) - 2 tr(A^T C Lambda) + tr(Lambda Psi), quadratic in A with
                   M = (1/(2N)) E y^2 x x^T + (1/4)(1 - 1/N) E_w m m^T, m = E[y x | w], C = Lambda Psi/2
    fixed point    A*^-1 = (1/2 + 3/(2N)) Lambda + ((tr(Lambda Psi) + sigma^2)/N) Psi^-1: the least risk over all u
                   and U, for any Lambda, Psi, sigma^2 and N
    isotropic      Lambda = Psi = I, sigma = 0: A* = 2N/(N + 2d + 3) I
Assumptions
    Those of `PromptLaw`; u12 = u21 = 0.
References
    [ahn2023transformers, Theorem 5]: the isotropic case within multiples of the identity (query masked). The rest is
    ours.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.printing import to_latex, to_sympy, to_text
from ..algebra.trace_polynomials import (
    TracePolynomial,
    identity,
    inverse_of_monomial,
    scalar,
    substitute,
    sum_over_samples,
    trace,
)
from ..symbols import LAMBDA, PSI, A, I, N, W, X
from .assumptions import check_context_length, check_dimension
from .enumeration import Instance, InstanceKey
from .fixed_point import coefficient_of_identity, exact_value, instance_of, latex_of
from .layer import label
from .prompt_law import PromptLaw

if TYPE_CHECKING:
    import sympy as sp


def of_one_sample(law: PromptLaw) -> tuple[TracePolynomial, TracePolynomial, TracePolynomial]:
    """E y^2 x x^T, E_w m m^T and E m w^T with m = E[y x | w], by Isserlis' theorem for one sample."""
    one = sum_over_samples(label(law) * X, ("x", "eps"))  # N samples, of which N = 1 is taken
    at_one = {"N": scalar("N") ** 0}
    second = substitute(law.mean(one * one.T), scalars=at_one)
    two = substitute(law.mean(one * one.T), scalars={"N": 2 * scalar("N") ** 0})
    pairs = (two - 2 * second) / 2  # the two ordered pairs of different samples
    return second, pairs, substitute(law.mean(one * W.T), scalars=at_one)


@cache
def moments(law: PromptLaw) -> tuple[TracePolynomial, TracePolynomial]:
    """(M, C) of the risk."""
    second, pairs, cross = of_one_sample(law)
    return second / 2 * N**-1 + (1 - N**-1) * pairs / 4, cross / 2


@cache
def risk() -> TracePolynomial:
    """E (yhat - w.x_q)^2 in the letter A."""
    law = PromptLaw()
    M, C = moments(law)
    return trace(A.T * M * A * LAMBDA) - 2 * trace(A.T * C * LAMBDA) + trace(LAMBDA * PSI)


@cache
def system() -> tuple[TracePolynomial, TracePolynomial]:
    """(left, right) with left A* = right: M A = C divided by Lambda from the left."""
    M, C = moments(PromptLaw())
    inverse = inverse_of_monomial(LAMBDA)
    return inverse * M, inverse * C


def fixed_point_inverse() -> TracePolynomial:
    """A*^-1 = right^-1 left, for invertible Psi."""
    left, right = system()
    return inverse_of_monomial(right) * left


@cache
def gain() -> sp.Expr:
    """a with A* = a I at Lambda = Psi = I, sigma = 0.

    >>> gain()
    2*N/(N + 2*d + 3)
    """
    import sympy as sp

    plain = {"Lambda": I, "Psi": I}
    left, right = (
        to_sympy(coefficient_of_identity(substitute(part, plain, {"sigma2": 0 * identity("1")}))) for part in system()
    )
    return sp.factor(sp.cancel(right / left))


# The layer itself at rational instances, for a law of few points with the moments of a Gaussian

# z = 0, +-1, +-2 with these weights has E z^2 = 1, E z^4 = 3 and no odd moments: all that a risk of degree four in each
# sample can see. Of w, x_q and eps it has degree two, for which z = +-1 is enough.
FOUR_MOMENTS = {0: Fraction(1, 2), 1: Fraction(1, 6), -1: Fraction(1, 6), 2: Fraction(1, 12), -2: Fraction(1, 12)}
TWO_MOMENTS = {1: Fraction(1, 2), -1: Fraction(1, 2)}
SIZES = ((1, 2), (2, 1), (1, 3))


def points_of(table: dict[int, Fraction], count: int) -> list[tuple[Array, Fraction]]:
    """Every point of `count` independent variables (a column), with its probability."""
    found = []
    for values in product(table, repeat=count):
        weight = Fraction(1)
        for value in values:
            weight *= table[value]
        found.append((np.array(values, dtype=object).reshape(-1, 1), weight))
    return found


@cache
def small_instance(key: InstanceKey) -> Instance:
    """An instance of d, N in SIZES; its u is positive or negative with the seed."""
    given = instance_of((key[0] + 2, False)) if SIZES[key[0] % 3][0] == 1 else instance_of((key[0] - key[0] % 3, False))
    d, n = SIZES[key[0] % 3]
    part = slice(0, d)
    return Instance(
        d, n, given.covariance_root[part, part], given.task_root[part, part], given.noise_root,
        0 * given.u12[part], (-1) ** key[0] * abs(given.u), given.U[part, part], 0 * given.u21[part],
    )  # fmt: skip


@cache
def enumerated_risk(key: InstanceKey) -> Fraction:
    """E (yhat - w.x_q)^2 of the ReLU layer with the instance's u and U, every point of the small law."""
    instance = small_instance(key)
    d, n = instance.dimension, instance.context_length
    L, K = instance.covariance_root, instance.task_root
    samples = [(L @ z[:d], instance.noise_root * z[d, 0], weight) for z, weight in sample_points(d)]
    total = Fraction(0)
    for (zw, pw), (zq, pq) in product(points_of(TWO_MOMENTS, d), repeat=2):
        w, x_q = K @ zw, L @ zq
        scored = [(value_and_score(x, e, w, instance.U @ x_q), weight) for x, e, weight in samples]
        for chosen in product(scored, repeat=n):
            weight, prediction = pw * pq, Fraction(0)
            for value, probability in chosen:
                weight, prediction = weight * probability, prediction + value
            error = instance.u * prediction / n - (w.T @ x_q)[0, 0]
            total += weight * error**2
    return total


def sample_points(d: int) -> list[tuple[Array, Fraction]]:
    """Points of one sample: d covariates with four moments, and a noise with two."""
    return [
        (np.concatenate([x, e]), p * q)
        for (x, p), (e, q) in product(points_of(FOUR_MOMENTS, d), points_of(TWO_MOMENTS, 1))
    ]


def value_and_score(x: Array, noise: Any, w: Array, attended: Array) -> Any:
    """y ReLU(x^T U x_q) of one sample."""
    return ((w.T @ x)[0, 0] + noise) * max((x.T @ attended)[0, 0], 0)


def values_at(key: InstanceKey) -> dict[str, Any]:
    """The letters at the instance, A = u U."""
    return small_instance(key).values()


def exact_minimiser(key: InstanceKey) -> Array:
    """A* at the instance."""
    left, right = system()
    star: Array = exact_inverse(evaluate(left, values_at(key))) @ evaluate(right, values_at(key))
    return star


def completed_square(key: InstanceKey) -> Any:
    """risk(A*) + tr((A - A*)^T M (A - A*) Lambda)."""
    values, star = values_at(key), exact_minimiser(key)
    M, _ = moments(PromptLaw())
    gap = values["A"] - star
    least = evaluate(risk(), {**values, "A": star})
    return least + np.trace(gap.T @ evaluate(M, values) @ gap @ values["Lambda"])


@cache
def derivation() -> Derivation:
    """Folding, the risk, its minimum, and the isotropic case."""
    M, C = moments(PromptLaw())
    inverse = fixed_point_inverse()
    steps = (
        equality(
            "risk of ReLU attention",
            ("E (yhat - w.x_q)^2", r"\mathbb{E}\,(\hat y - w^\top x_q)^2"),
            risk(),
            "folding: E y ReLU(z) = 1/2 E y z and E y^2 ReLU(z)^2 = 1/2 E y^2 z^2; different samples are independent "
            "given w and x_q",
            lambda key: (enumerated_risk(key), evaluate(risk(), values_at(key))),
        ),
        Step(
            "fixed point",
            "A*^-1",
            to_text(inverse),
            rf"(A^*)^{{-1}} = {to_latex(inverse)}",
            "M A* = C, divided by Lambda from the left and multiplied by right^-1 (Psi invertible)",
            lambda key: (exact_inverse(exact_minimiser(key)), evaluate(inverse, values_at(key))),
            forms={"left": system()[0], "right": system()[1], "inverse": inverse},
        ),
        Step(
            "completing the square",
            "E (yhat - w.x_q)^2",
            "min + tr((A - A*)^T M (A - A*) Lambda)",
            r"\mathbb{E}(\hat y - w^\top x_q)^2 = \min + \operatorname{tr}\bigl((A-A^*)^\top M (A-A^*)\Lambda\bigr)",
            f"M = {M!r} is positive definite and C = {C!r}: the point is the one minimum over all u, U without leak",
            lambda key: (enumerated_risk(key), completed_square(key)),
            forms={"M": M, "C": C},
        ),
        Step(
            "isotropic case",
            "A* for Lambda = Psi = I, sigma = 0",
            f"({gain()}) I",
            rf"A^* = {latex_of(gain())}\, I",
            "substitution; linear attention has N/(N + d + 1)",
            lambda key: isotropic_check(values_at(key)),
            forms={"gain": gain()},
        ),
    )
    results = {"risk": risk(), "inverse": inverse, "gain": gain()}
    statement = replace(STATEMENT, latex=steps[1].latex)
    return Derivation(statement, steps, results, lambda seed: (seed, False))


def isotropic_check(values: dict[str, Any]) -> tuple[Any, Any]:
    """left^-1 right at Lambda = Psi = I without noise, and the gain."""
    eye = evaluate(identity(), values)
    plain = {**values, "Lambda": eye, "Psi": eye, "sigma2": Fraction(0)}
    left, right = system()
    numbers = {"N": values["N"], "d": Fraction(len(eye))}
    return exact_inverse(evaluate(left, plain)) @ evaluate(right, plain), exact_value(gain(), numbers) * eye


STATEMENT = Statement(
    identifier="relu-attention",
    title="ReLU attention: exact risk and its one minimum, for any law",
    latex="",  # the derived formula, filled in by `derivation`
    text=(
        "A layer with ReLU on its attention scores and without leak has a risk that is quadratic in A = u U, for any "
        "Lambda, Psi, sigma^2 and N, and one minimum, in closed form; for the isotropic law without noise it is "
        "2N/(N + 2d + 3) I, over all matrices and not only multiples of the identity."
    ),
    assumptions=(
        "x_i, x_q ~ N(0, Lambda), Lambda positive definite; w ~ N(0, Psi), eps_i ~ N(0, sigma^2), all independent",
        "yhat = (u/N) sum_i y_i ReLU(x_i^T U x_q), u12 = u21 = 0; noiseless target w.x_q",
        "context length N >= 1, the same for every prompt",
    ),
    conventions="query label 0, so that the query column adds nothing; 1/N over the context; risk = E(yhat - w.x_q)^2",
    sources=(
        Source("ahn2023transformers", "Theorem 5 (isotropic, multiples of the identity)"),
        Source("ours", "any law, all matrices"),
    ),
    uses=("population-loss",),
)


def isotropic_gain(dimension: Any, context_length: Any) -> float:
    """The gain a of A* = a I for Lambda = Psi = I without noise. Raises AssumptionError.

    >>> isotropic_gain(2, 5)
    0.8333333333333334
    """
    numbers = {"d": Fraction(check_dimension(dimension)), "N": Fraction(check_context_length(context_length))}
    return float(exact_value(gain(), numbers))
