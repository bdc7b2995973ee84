r"""Random covariance: every prompt has a covariance Lambda_tau of its own, w ~ N(0, I).

Main statements
    normal equations   L is the mean over tau of the loss at Lambda_tau. Its reduced part is least where
                       E[M_tau A Lambda_tau] = E[Lambda_tau^2], M_tau = E[s s^T | tau] = Gamma_tau Lambda_tau,
                       Gamma = (1 + 1/N) Lambda + ((tr Lambda + sigma^2)/N) I: d^2 linear equations, one solution
    leak               given tau the parity of population-loss holds, so that u12 = u21 = 0 with A = A* is a global
                       minimum over all parameters
    diagonal laws      if Lambda_tau is diagonal: A* = (E Gamma Lambda^2)^-1 E Lambda^2, whatever depends on what
    rotated laws       if R Lambda_tau R^T has the law of Lambda_tau for every rotation R:
                       A* = (E tr Lambda^2/E tr(Gamma Lambda^2)) I
    exponential law    Lambda_tau diagonal with independent Exp(1) entries: A* = a I in closed form, and the risk at
                       test length M; for N, M -> oo a tends to 1/3 and the risk to d/3 (of d = E (w.x_q)^2): the layer
                       does not learn in context what any least squares would
Assumptions
    Given tau those of `PromptLaw` with Psi = I; E tr(Lambda_tau)^3 finite; some Lambda_tau definite.
References
    [zhang2024trained, Theorem 4.5 and the discussion after it]: diagonal laws. The rest is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import permutations, product
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, inverse_of_monomial, scalar, substitute, trace
from ..symbols import LAMBDA, I
from .assumptions import (
    AssumptionError,
    FloatArray,
    check_context_length,
    check_covariance,
    check_dimension,
    check_non_negative,
    real_array,
)
from .enumeration import Instance, InstanceKey, context_mean, layer_prediction, prompt
from .fixed_point import exact_value, instance_of, latex_of, stationary_system
from .function_laws import exact_eye
from .population_loss import even_loss, reduced_loss, split_by_parity
from .prompt_law import PromptLaw
from .risk import risk as risk_on_test_law

if TYPE_CHECKING:
    import sympy as sp

LAW = PromptLaw(task_covariance=I)
GAIN = scalar("a")


# Given tau


@cache
def moments() -> tuple[TracePolynomial, TracePolynomial]:
    """(M, C) of one covariance: the gradient of its reduced loss is (M A - C) Lambda."""
    found = stationary_system(LAW)
    return found.second_moment, found.cross_moment


def gamma() -> TracePolynomial:
    """Gamma with M = Gamma Lambda."""
    M, _ = moments()
    return M * inverse_of_monomial(LAMBDA)


@cache
def scalar_equation() -> tuple[TracePolynomial, TracePolynomial]:
    """(tr(C Lambda), tr(M Lambda)): what the equations say of A = a I, summed over the diagonal."""
    M, C = moments()
    return trace(C * LAMBDA), trace(M * LAMBDA)


@cache
def risk_of_gain() -> TracePolynomial:
    """The risk at A = a I on prompts of length M with one covariance Lambda' and Psi' = I."""
    return substitute(risk_on_test_law(), {"A": GAIN * I, "Psi'": I})


# Diagonal matrices with independent entries of one law


def mean_over_diagonal(polynomial: TracePolynomial, letter: str, moment: Callable[[int], int]) -> sp.Expr:
    """E of a scalar polynomial in one letter, a diagonal matrix with independent entries of the given moments.

    tr(D^k) = sum_i D_ii^k; a product of traces is a sum over the ways to make some of their indices equal: a set of
    b blocks gives d (d - 1) .. (d - b + 1) terms with the product of the moments of the blocks' total orders.
    """
    import sympy as sp

    d, total = sp.Symbol("d", positive=True), sp.Integer(0)
    for monomial, value in polynomial.terms.items():
        if monomial.word or any(x.name != letter for word in monomial.traces for x in word):
            raise ValueError(f"need a scalar polynomial in {letter}, got {polynomial!r}")
        scalars = sp.Mul(*(sp.Symbol(name, positive=True) ** power for name, power in monomial.scalars))
        orders = [len(word) for word in monomial.traces]
        total += sp.Rational(value.numerator, value.denominator) * scalars * sum_over_indices(orders, d, moment)
    return sp.expand(total)


def sum_over_indices(orders: Sequence[int], d: sp.Symbol, moment: Callable[[int], int]) -> sp.Expr:
    """E prod_j tr(D^k_j)."""
    import sympy as sp

    total = sp.Integer(0)
    for blocks in set_partitions(list(orders)):
        falling = sp.Mul(*(d - k for k in range(len(blocks))))
        total += falling * sp.Mul(*(moment(sum(block)) for block in blocks))
    return total


def set_partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """All ways to part a list into blocks."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for blocks in set_partitions(rest):
        yield [[first], *blocks]
        for k, block in enumerate(blocks):
            yield [*blocks[:k], [first, *block], *blocks[k + 1 :]]


# The exponential law: E z^k = k!


@cache
def exponential_gain() -> sp.Expr:
    """a in d, N and sigma2.

    >>> exponential_gain()
    N/(3*N + d + sigma2 + 5)
    """
    import sympy as sp

    top, bottom = (mean_over_diagonal(part, "Lambda", factorial) for part in scalar_equation())
    return sp.factor(sp.cancel(top / bottom))


@cache
def exponential_risk() -> sp.Expr:
    """The risk at any gain a and test length M, in a, d, M and sigma2'."""
    import sympy as sp

    return sp.expand(mean_over_diagonal(risk_of_gain(), "Lambda'", factorial))


@cache
def trained_risk() -> sp.Expr:
    """The risk at the trained gain, same noise in training and test, in d, N, M and sigma2."""
    import sympy as sp

    names = {s.name: s for s in exponential_risk().free_symbols}
    noise = {names["sigma2'"]: sp.Symbol("sigma2", positive=True)}
    return sp.factor(sp.cancel(exponential_risk().subs(noise).subs(names["a"], exponential_gain())))


@cache
def limits() -> tuple[sp.Expr, sp.Expr]:
    """(a, risk) for N, M -> oo.

    >>> limits()
    (1/3, d/3)
    """
    import sympy as sp

    def limit(expression: sp.Expr) -> sp.Expr:
        for name in ("N", "M"):
            expression = sp.limit(expression, sp.Symbol(name, positive=True), sp.oo)
        return expression

    return limit(exponential_gain()), limit(trained_risk())


# Instances: a law of two covariances, and its images under signed permutations


def with_covariance(given: Instance, root: Array) -> Instance:
    """The instance with another root of Lambda, and Psi = I."""
    return replace(given, covariance_root=root, task_root=exact_eye(given.dimension))


@cache
def law_of(key: InstanceKey) -> tuple[tuple[Fraction, Instance], ...]:
    """Two covariances with probabilities 1/3 and 2/3."""
    given, other = instance_of(key), instance_of(key)
    second = other.task_root + exact_eye(other.dimension) * 4
    return (Fraction(1, 3), with_covariance(given, given.covariance_root)), (
        Fraction(2, 3), with_covariance(other, second),
    )  # fmt: skip


def diagonal_law_of(key: InstanceKey) -> tuple[tuple[Fraction, Instance], ...]:
    """The same with diagonal covariances: only the diagonals of the roots are kept."""
    return tuple(
        (p, with_covariance(one, np.diag([*np.diag(one.covariance_root + exact_eye(one.dimension) * 5)])))
        for p, one in law_of(key)
    )


def rotated_law_of(key: InstanceKey) -> tuple[tuple[Fraction, Instance], ...]:
    """The law's images under all signed permutations: what commutes with these is a multiple of I."""
    found = []
    for p, one in law_of(key):
        group = signed_permutations(one.dimension)
        found += [(p / len(group), with_covariance(one, g @ one.covariance_root)) for g in group]
    return tuple(found)


def signed_permutations(d: int) -> list[Array]:
    group = []
    for places, signs in product(permutations(range(d)), product((1, -1), repeat=d)):
        element = np.zeros((d, d), dtype=object)
        for i, (place, sign) in enumerate(zip(places, signs, strict=True)):
            element[i, place] = sign
        group.append(element)
    return group


def at(polynomial: TracePolynomial, one: Instance) -> Any:
    return evaluate(polynomial, one.values())


def solved(law: Sequence[tuple[Fraction, Instance]]) -> Array:
    """A* from the d^2 equations, exactly."""
    d = law[0][1].dimension
    M, C = moments()
    left = sum(
        (p * np.kron(at(M, one), one.values()["Lambda"]) for p, one in law), np.zeros((d * d,) * 2, dtype=object)
    )
    right = sum((p * at(C, one) @ one.values()["Lambda"] for p, one in law), np.zeros((d, d), dtype=object))
    solution: Array = (exact_inverse(left) @ right.reshape(-1)).reshape(d, d)
    return solution


def enumerated_reduced(law: Sequence[tuple[Fraction, Instance]], preconditioner: Array) -> Fraction:
    """E_tau 1/2 E (s^T A x_q - w.x_q)^2 from components."""
    total = Fraction(0)
    for p, one in law:
        drawn = prompt(one)
        s = context_mean(one, drawn.embedding)
        error = s @ preconditioner @ drawn.embedding[: one.dimension, -1] - drawn.target
        total += p * one.mean(error * error) / 2
    return total


def slope_check(key: InstanceKey) -> tuple[Any, Any]:
    """The slope of the enumerated loss along U, and tr(U^T E[(M A - C) Lambda])."""
    law, given = law_of(key), instance_of(key)
    A_at, V = given.values()["A"], given.U
    slope = (enumerated_reduced(law, A_at + V) - enumerated_reduced(law, A_at - V)) / 2
    M, C = moments()
    equations = [p * (at(M, one) @ A_at - at(C, one)) @ one.values()["Lambda"] for p, one in law]
    return slope, np.trace(V.T @ sum(equations, 0 * V))


def leak_check(key: InstanceKey) -> tuple[Any, Any]:
    """The whole enumerated loss, and E_tau (reduced(A) + even part)."""
    whole, parts = Fraction(0), Fraction(0)
    for p, one in law_of(key):
        drawn = prompt(one)
        yhat = layer_prediction(one, drawn.embedding)
        odd, _ = split_by_parity(yhat, one)
        whole += p * one.mean((yhat - drawn.target) * (yhat - drawn.target)) / 2
        assert odd == odd_reading(one, drawn)
        parts += p * (at(reduced_loss(LAW), one) + at(even_loss(LAW), one))
    return whole, parts


def odd_reading(one: Instance, drawn: Any) -> Any:
    """s^T A x_q in components."""
    s = context_mean(one, drawn.embedding)
    return s @ one.values()["A"] @ drawn.embedding[: one.dimension, -1]


def square_check(key: InstanceKey) -> tuple[Any, Any]:
    """The enumerated loss at A, and that at A* with 1/2 E tr((A - A*)^T M (A - A*) Lambda)."""
    law, A_at = law_of(key), instance_of(key).values()["A"]
    star, (M, _) = solved(law), moments()
    gap = A_at - star
    curved = [p * np.trace(gap.T @ at(M, one) @ gap @ one.values()["Lambda"]) / 2 for p, one in law]
    return enumerated_reduced(law, A_at), enumerated_reduced(law, star) + sum(curved, Fraction(0))


def diagonal_check(key: InstanceKey) -> tuple[Any, Any]:
    """The solution of all equations, and (E Gamma Lambda^2)^-1 E Lambda^2."""
    law = diagonal_law_of(key)
    zero = 0 * law[0][1].U
    squares = [(p, one, one.values()["Lambda"] @ one.values()["Lambda"]) for p, one in law]
    below = sum((p * at(gamma(), one) @ square for p, one, square in squares), zero)
    return solved(law), exact_inverse(below) @ sum((p * square for p, _, square in squares), zero)


def rotated_check(key: InstanceKey) -> tuple[Any, Any]:
    """The solution of all equations, and the quotient of traces times I."""
    law, (top, bottom) = rotated_law_of(key), scalar_equation()
    above, below = (sum((p * at(part, one) for p, one in law), Fraction(0)) for part in (top, bottom))
    return solved(law), exact_eye(law[0][1].dimension) * (above / below)


def numbers_of(key: InstanceKey) -> dict[str, Fraction]:
    given = instance_of(key)
    noise = Fraction(given.noise_root) ** 2
    return {
        "d": Fraction(given.dimension), "N": Fraction(given.context_length), "M": Fraction(given.context_length + 2),
        "sigma2": noise, "sigma2'": noise, "a": Fraction(2, 7),
    }  # fmt: skip


def exponential_mean(key: InstanceKey, polynomial: TracePolynomial, letter: str) -> Fraction:
    """E of a polynomial in one letter, a diagonal matrix, of degree at most three in each entry.

    The points 0, 1, 3, 6 with weights that have the moments 1, 1, 2, 6 of Exp(1), solved exactly.
    """
    points = [Fraction(k) for k in (0, 1, 3, 6)]
    table = np.array([[x**k for x in points] for k in range(4)], dtype=object)
    weights = exact_inverse(table) @ np.array([Fraction(factorial(k)) for k in range(4)], dtype=object)
    numbers = numbers_of(key)
    total = Fraction(0)
    for chosen in product(range(4), repeat=int(numbers["d"])):
        weight = Fraction(1)
        for k in chosen:
            weight *= weights[k]
        entries = np.array(np.diag([points[k] for k in chosen]), dtype=object)
        total += weight * evaluate(polynomial, {**numbers, letter: entries})
    return total


def gain_check(key: InstanceKey) -> tuple[Any, Any]:
    top, bottom = (exponential_mean(key, part, "Lambda") for part in scalar_equation())
    return top / bottom, exact_value(exponential_gain(), numbers_of(key))


def risk_check(key: InstanceKey) -> tuple[Any, Any]:
    """At any gain, and at the trained one."""
    numbers = numbers_of(key)
    trained = {**numbers, "a": exact_value(exponential_gain(), numbers)}
    at_gain = exponential_mean(key, risk_of_gain(), "Lambda'")
    return (
        [at_gain, exact_value(exponential_risk(), trained)],
        [exact_value(exponential_risk(), numbers), exact_value(trained_risk(), numbers)],
    )


def one_covariance_check(key: InstanceKey) -> tuple[Any, Any]:
    """The enumerated risk at A = (2/7) I, and the polynomial."""
    given = with_covariance(instance_of(key), instance_of(key).covariance_root)
    values = given.values()
    numbers = {"Lambda'": values["Lambda"], "sigma2'": values["sigma2"], "M": values["N"], "a": Fraction(2, 7)}
    enumerated = 2 * enumerated_reduced([(Fraction(1), given)], exact_eye(given.dimension) * Fraction(2, 7))
    return enumerated, evaluate(risk_of_gain(), numbers)


def limit_check(key: InstanceKey) -> tuple[Any, Any]:
    """N^k times the distance from the limits stays rational: at 1/N = 1/M = t, both are quotients of polynomials."""
    import sympy as sp

    t, numbers = sp.Symbol("t", positive=True), numbers_of(key)
    ends = []
    for expression in (exponential_gain(), trained_risk()):
        symbols = {s.name: s for s in expression.free_symbols}
        in_t = sp.cancel(expression.subs({symbols[name]: 1 / t for name in ("N", "M") if name in symbols}))
        ends.append(exact_value(in_t.subs(t, 0), numbers))
    return ends, [exact_value(part, numbers) for part in limits()]


@cache
def derivation() -> Derivation:
    """Normal equations, families of laws, and the exponential law to its limit."""
    steps = (*equation_steps(), *family_steps(), *exponential_steps())
    results = {"gain": exponential_gain(), "risk": trained_risk()}
    return Derivation(replace(STATEMENT, latex=steps[5].latex), steps, results, lambda seed: (seed, False))


def equation_steps() -> tuple[Step, ...]:
    """For any law of the covariance."""
    M, C = moments()
    return (
        Step(
            "normal equations",
            "E[M_tau A Lambda_tau] = E[C_tau Lambda_tau], M and C",
            f"{to_text(M)}, {to_text(C)}",
            rf"\mathbb{{E}}[M_\tau A\Lambda_\tau] = \mathbb{{E}}[C_\tau\Lambda_\tau],\; M = {to_latex(M)},\;"
            rf"C = {to_latex(C)}",
            "the gradient of the reduced loss of fixed-point for each tau, averaged over tau",
            slope_check,
            forms={"M": M, "C": C},
        ),
        Step(
            "no leak",
            "L(u12, u, U, u21)",
            "E_tau reduced_tau(u U + u12 u21^T) + 1/2 E yhat_even^2",
            r"L = \mathbb{E}_\tau\,\ell_\tau(u U + u_{12} u_{21}^\top) + \tfrac12 \mathbb{E}\,\hat y_{\rm even}^2",
            "the decomposition of population-loss for each tau: (w, eps) -> (-w, -eps) keeps the law given tau",
            leak_check,
        ),
        Step(
            "completing the square",
            "E_tau reduced_tau(A)",
            "min L + 1/2 E tr((A - A*)^T M_tau (A - A*) Lambda_tau)",
            r"\mathbb{E}_\tau\ell_\tau(A) = \min L + \tfrac12\mathbb{E}\operatorname{tr}\bigl((A-A^*)^\top M_\tau "
            r"(A-A^*)\Lambda_\tau\bigr)",
            "a sum of the squares of fixed-point; definite where some Lambda_tau is, so there is one solution A*",
            square_check,
        ),
    )


def family_steps() -> tuple[Step, ...]:
    """Diagonal laws and rotated laws."""
    top, bottom = scalar_equation()
    return (
        Step(
            "diagonal laws",
            "A* = (E Gamma Lambda^2)^-1 E Lambda^2, Gamma",
            to_text(gamma()),
            rf"A^* = (\mathbb{{E}}\,\Gamma\Lambda^2)^{{-1}}\mathbb{{E}}\Lambda^2,\quad \Gamma = {to_latex(gamma())}",
            "M = Gamma Lambda; with diagonal matrices the equation of entry i, j is E[M_ii Lambda_jj] A_ij = 0 off the "
            "diagonal, and E[Gamma_ii Lambda_ii^2] A_ii = E Lambda_ii^2 on it",
            diagonal_check,
            forms={"gamma": gamma()},
        ),
        Step(
            "rotated laws",
            "A* = (E[top]/E[bottom]) I, top and bottom",
            f"{to_text(top)}, {to_text(bottom)}",
            rf"A^* = \frac{{\mathbb{{E}}[{to_latex(top)}]}}{{\mathbb{{E}}[{to_latex(bottom)}]}}\, I",
            "the one solution commutes with every rotation, so it is a multiple of I, and the trace of the equations "
            "gives it; bottom is tr(Gamma Lambda^2)",
            rotated_check,
            forms={"top": top, "bottom": bottom},
        ),
    )


def exponential_steps() -> tuple[Step, ...]:
    """Independent Exp(1) entries on the diagonal."""
    gain, risk, end = exponential_gain(), trained_risk(), limits()
    return (
        Step(
            "gain for exponential entries",
            "a with A* = a I",
            str(gain),
            rf"A^* = {latex_of(gain)}\, I",
            "all entries have one law, so that A* is a multiple of I; E z^k = k!, entries are independent",
            gain_check,
            forms={"gain": gain},
        ),
        equality(
            "risk on one covariance",
            ("E (yhat - w.x_q)^2 at A = a I, length M", r"\mathbb{E}\,(\hat y - w^\top x_q)^2\big|_{A = a I}"),
            risk_of_gain(),
            "test-risk at Psi' = I, for any fixed Lambda'",
            one_covariance_check,
        ),
        Step(
            "risk for exponential entries",
            "the same averaged over Lambda', at a and at the trained gain",
            f"{exponential_risk()}; {risk}",
            rf"\mathbb{{E}}\,(\hat y - w^\top x_q)^2 = {latex_of(exponential_risk())} = {latex_of(risk)}",
            "E of products of traces: indices equal or not, moments k!; then a is put in, with one noise variance",
            risk_check,
            forms={"at_gain": exponential_risk(), "trained": risk},
        ),
        Step(
            "limit of long prompts",
            "gain and risk for N, M -> oo",
            f"{end[0]}, {end[1]}",
            rf"a \to {latex_of(end[0])},\quad \text{{risk}} \to {latex_of(end[1])}",
            "a third of E (w.x_q)^2 = d stays, whatever the noise: one gain for all covariances is not least squares",
            limit_check,
            forms={"gain": end[0], "risk": end[1]},
        ),
    )


STATEMENT = Statement(
    identifier="random-covariance",
    title="A covariance of its own for every prompt: where training leads, and the risk that stays",
    latex="",  # the derived formula, filled in by `derivation`
    text=(
        "If every prompt has a covariance of its own, the global minimum over all parameters solves d^2 linear "
        "equations; it is explicit for diagonal laws (any dependence) and for rotated laws. With independent Exp(1) "
        "entries on the diagonal it is a multiple of the identity, and a third of E (w.x_q)^2 stays as the risk for "
        "however long prompts in training and test."
    ),
    assumptions=(
        "given tau: x_i, x_q ~ N(0, Lambda_tau), w ~ N(0, I), eps_i ~ N(0, sigma^2), all independent",
        "Lambda_tau positive semi-definite, E tr(Lambda_tau)^3 finite, definite with positive probability",
        "context length N >= 1 in training, M >= 1 in test, each normalised by its own; noiseless target w.x_q",
    ),
    conventions="as fixed-point; risk = E(yhat - w.x_q)^2 without the half of L",
    sources=(
        Source("zhang2024trained", "Theorem 4.5 (diagonal laws, no noise)"),
        Source("ours", "any law, all parameters, noise, the exponential law at finite N and M"),
    ),
    uses=("population-loss", "fixed-point", "test-risk"),
)


def preconditioner_of(covariances: Any, weights: Any, context_length: Any, noise_variance: Any = 0.0) -> FloatArray:
    """A* for a law of finitely many covariances (d, d) with these probabilities (normalised), w ~ N(0, I).

    Raises AssumptionError.

    >>> preconditioner_of([[[1.0]], [[3.0]]], [1, 1], 2)  # E lam^2/E gamma lam^2 = 5/(2 * 14)
    array([[0.17857143]])
    """
    matrices = [check_covariance(one, "each of covariances") for one in covariances]
    shares = real_array(weights, "weights")
    if not matrices or shares.shape != (len(matrices),) or (shares < 0).any() or not shares.any():
        raise AssumptionError(
            f"weights needs one number of at least 0 for each of {len(matrices)} covariances and some above 0, got "
            f"{np.shape(shares)}; give both lists of one length"
        )
    d = len(matrices[0])
    if any(one.shape != (d, d) for one in matrices):
        raise AssumptionError(f"covariances needs matrices of one shape, got {[one.shape for one in matrices]}")
    law = {"N": check_context_length(context_length), "sigma2": check_non_negative(noise_variance, "noise_variance")}
    return np.asarray(solution_for(matrices, shares / shares.sum(), law, moments()), dtype=np.float64)


def solution_for(
    matrices: Sequence[Any], shares: Any, law: dict[str, Any], parts: tuple[TracePolynomial, TracePolynomial]
) -> Any:
    """The solution of E[M A Lambda] = E[C Lambda] for parts (M, C), (d, d)."""
    d = len(matrices[0])
    M, C = parts
    left: Any = 0
    right: Any = 0
    for share, Lambda in zip(shares, matrices, strict=True):
        values = {**law, "Lambda": np.asarray(Lambda)}
        left = left + share * np.kron(evaluate(M, values), values["Lambda"])
        right = right + share * evaluate(C, values) @ values["Lambda"]
    if left.dtype.kind == "O":
        return (exact_inverse(left) @ right.reshape(-1)).reshape(d, d)
    return np.linalg.solve(left, right.reshape(-1)).reshape(d, d)


LAWS = ("exponential",)


def gain_and_risk(
    dimension: Any, context_length: Any, test_length: Any = None, law: Any = "exponential"
) -> tuple[float, float]:
    """(a, E (yhat - w.x_q)^2) for diagonal covariances with independent Exp(1) entries, no noise.

    test_length: M, that of training if None. Raises AssumptionError.

    >>> gain_and_risk(1, 3)  # N/(3N + d + 5)
    (0.2, 0.6)
    """
    if law not in LAWS:
        raise AssumptionError(f"law needs one of {', '.join(LAWS)}, got {law!r}; other laws: preconditioner_of")
    numbers = {
        "d": Fraction(check_dimension(dimension)),
        "N": Fraction(check_context_length(context_length)),
        "M": Fraction(check_context_length(context_length if test_length is None else test_length, "test_length")),
        "sigma2": Fraction(0),
    }
    return float(exact_value(exponential_gain(), numbers)), float(exact_value(trained_risk(), numbers))
