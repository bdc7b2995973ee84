r"""The risk of a trained layer on another law: exact for any test covariance, task covariance, noise and length M.

Main statements
    risk             E (yhat - w.x_q)^2 of a layer with u12 = u21 = 0 and u U = A, on prompts of M samples with
                     covariates N(0, Lambda'), tasks N(0, Psi'), noise sigma'^2: a trace polynomial in A and 1/M
    bias, variance   risk = tr((A^T Lambda' - I) Psi' (Lambda' A - I) Lambda') + (1/M) tr(A^T Sigma A Lambda'), where
                     Sigma = Cov(x y) = Lambda' Psi' Lambda' + (tr(Lambda' Psi') + sigma'^2) Lambda'
    query shift      the query has second moments Q = E x_q x_q^T of its own, and is independent of all else:
                     Q stands in the place of the last Lambda' of either term, whatever the law of x_q, a fixed x_q
                     included; no term is new. On the law of training at M = N the same A* is best for every Q
    length           affine in 1/M with a slope that is not negative: a longer test prompt is never worse
    regret           trained at N and tested at M on the same law: the risk exceeds that of training at M by
                     tr((A_N - A_M)^T M_M (A_N - A_M) Lambda), zero for M = N; the completed square of fixed-point at M
    isotropic tasks  for Psi = psi I, M_M = psi Lambda ((tr Lambda + sigma^2/psi)/M I + (1 + 1/M) Lambda): the ridge of
                     [wu2024pretraining]
    fixed labels     any law with x ~ N(0, Lambda), a = Lambda^-1 E[x y], Sig = Cov(x y), A^-1 = Gamma = Lambda + K/N,
                     K = Lambda + tr(Lambda) I: risk = min_w risk + (1/M) tr(Sig Gamma^-2 Lambda)
                     + (1/N^2) a^T K Gamma^-2 Lambda K a
Assumptions
    Those of `PromptLaw` at test time; the layer has no leak (u12 = u21 = 0), as training leaves it.
References
    Fixed labels: [zhang2024trained, Theorem 4.2]; the rest is ours.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.component_moments import constant
from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.gaussian_moments import RandomVector, expectation
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import (
    TracePolynomial,
    degree,
    inverse_of_monomial,
    matrix,
    scalar,
    select,
    substitute,
    sum_over_samples,
    trace,
    vector,
)
from ..symbols import A_STAR, EPS, LAMBDA, PSI_SCALE, A, I, N, X
from .assumptions import (
    check_context_length,
    check_covariance,
    check_non_negative,
    check_semidefinite,
    check_shape,
    check_task_covariance,
)
from .enumeration import Instance, InstanceKey, context_mean, layer_prediction, prompt
from .fixed_point import enumerated_loss, exact_fixed_point, fixed_point, instance_of, stationary_system
from .layer import label
from .population_loss import enumerated, reduced_loss
from .prompt_law import PromptLaw

TEST_LAMBDA, TEST_PSI = matrix("Lambda'", symmetric=True), matrix("Psi'", symmetric=True)
TEST_SIGMA2, M = scalar("sigma2'"), scalar("M")
TEST_LAW = PromptLaw(TEST_LAMBDA, TEST_PSI, TEST_SIGMA2)
QUERY = matrix("Q", symmetric=True)  # E x_q x_q^T

# For labels of any law: a = Lambda^-1 E[x y], Sig = Cov(x y), Gamma and K of the layer.
COEFFICIENTS, SIG = vector("a"), matrix("Sig", symmetric=True)
GAMMA, K = matrix("Gamma", symmetric=True), matrix("K", symmetric=True)
QUADRATIC = matrix("B", symmetric=True)  # labels y = a.x + x^T B x + eps


def at_test_length(polynomial: TracePolynomial) -> TracePolynomial:
    """M in the place of N: the context length of the prompts that are averaged over."""
    return substitute(polynomial, scalars={"N": M})


@cache
def risk() -> TracePolynomial:
    """E (s^T A x_q - w.x_q)^2 on the test law, in the letter A."""
    return at_test_length(2 * reduced_loss(TEST_LAW))


@cache
def risk_of_query() -> TracePolynomial:
    """The same for a query with second moments Q: it enters twice, so no other moment of its law does."""
    return at_test_length(2 * reduced_loss(replace(TEST_LAW, query_covariance=QUERY)))


def bias() -> TracePolynomial:
    """The risk at M = oo: its terms without 1/M."""
    return select(risk(), lambda monomial: degree(monomial, "M") == 0)


def covariance_of_products() -> TracePolynomial:
    """Sigma, the mean over w of Cov(x y | w), by Isserlis' theorem."""
    one = label(TEST_LAW) * X  # y x of one sample; its sum over one sample is itself
    second = TEST_LAW.mean(sum_over_samples(one, ("x", "eps")) * sum_over_samples(one, ("x", "eps")).T)
    at_one = substitute(second, scalars={"N": scalar("N") ** 0})
    return at_one - TEST_LAMBDA * TEST_PSI * TEST_LAMBDA


def variance(query: TracePolynomial = TEST_LAMBDA) -> TracePolynomial:
    """(1/M) tr(A^T Sigma A query), the second moments of x_q being `query`."""
    return M**-1 * trace(A.T * covariance_of_products() * A * query)


def squared_bias(query: TracePolynomial = TEST_LAMBDA) -> TracePolynomial:
    """tr((A^T Lambda' - I) Psi' (Lambda' A - I) query)."""
    pull = A.T * TEST_LAMBDA - I
    return trace(pull * TEST_PSI * pull.T * query)


def regret_of_length(query: TracePolynomial = LAMBDA) -> TracePolynomial:
    """tr((A - A_M)^T M_M (A - A_M) query) for A_M in the letter A_*, with M_M = E[s s^T] at length M."""
    gap = A - A_STAR
    return trace(gap.T * at_test_length(stationary_system(PromptLaw()).second_moment) * gap * query)


def isotropic_curvature() -> TracePolynomial:
    """M_M = E[s s^T] at length M for Psi = psi I."""
    curvature = at_test_length(stationary_system(PromptLaw()).second_moment)
    return substitute(curvature, {"Psi": PSI_SCALE * I})


def excess_of_labels(preconditioner: TracePolynomial) -> TracePolynomial:
    """E (A^T s - a)^T Lambda (A^T s - a) for s = Lambda a + zeta, zeta ~ (0, Sig/M): needs no more of the law."""
    return mean_excess(preconditioner, LAMBDA * COEFFICIENTS)


def mean_excess(preconditioner: TracePolynomial, mean: TracePolynomial) -> TracePolynomial:
    """The excess with `mean` for the mean of s."""
    zeta = vector("zeta")
    error = preconditioner.T * (mean + zeta) - COEFFICIENTS
    return expectation(error.T * LAMBDA * error, [RandomVector("zeta", M**-1 * SIG)])


def excess_of_trained_layer() -> TracePolynomial:
    """The same at A = Gamma^-1, with Lambda a = (Gamma - K/N) a for the mean of s, so that Gamma^-1 Gamma cancels."""
    return mean_excess(inverse_of_monomial(GAMMA), (GAMMA - N**-1 * K) * COEFFICIENTS)


@cache
def quadratic_labels() -> tuple[TracePolynomial, TracePolynomial]:
    """(Sig, least) for y = a.x + x^T B x + eps, x ~ N(0, Lambda): Cov(x y), and E (x^T B x)^2 of the best w = a.

    The query's own noise is left out: its target is a.x_q + x_q^T B x_q. E x (x^T B x) = 0, so that a is
    Lambda^-1 E[x y].
    """
    covariates, noise = RandomVector("x", LAMBDA), RandomVector("eps", TEST_SIGMA2, space="1")
    curved = X.T * QUADRATIC * X
    y = COEFFICIENTS.T * X + curved + EPS
    second = expectation(y * y * X * X.T, [covariates, noise])
    mean = LAMBDA * COEFFICIENTS
    return second - mean * mean.T, expectation(curved * curved, [covariates])


# Instances


def values_at_test(key: InstanceKey) -> dict[str, Any]:
    """The numbers of an instance for the letters of the test law; its N is the test length M."""
    values = instance_of(key).values()
    names = {"Lambda": "Lambda'", "Psi": "Psi'", "sigma2": "sigma2'", "N": "M"}
    return {**values, **{test: values[name] for name, test in names.items()}}


def exact(polynomial: TracePolynomial, key: InstanceKey) -> Any:
    """The exact value of a polynomial in the letters of the test law."""
    return evaluate(polynomial, values_at_test(key))


def enumerated_risk(key: InstanceKey) -> Any:
    """E (s^T A x_q - w.x_q)^2 with the prompt in components."""
    return 2 * enumerated(key)["odd loss"]


def query_root(instance: Instance) -> Array:
    """A root of Q: columns of U, one less than U has for d = 2, so that Q is singular there."""
    return instance.U[:, : max(1, instance.dimension - 1)]


def risk_at_query(instance: Instance, preconditioner: Array) -> Any:
    """E (f(E)[d, M] - w.x_q)^2 of the layer with this A, x_q being each column of sqrt(k) R equally often.

    R (d, k) is a root of Q, so that E x_q x_q^T = R R^T = Q; k times the mean over columns of R is a sum over them.
    """
    nothing, d = 0 * instance.u12, instance.dimension
    layer = replace(instance, u=1, U=preconditioner, u12=nothing, u21=nothing)
    drawn, total = prompt(layer), Fraction(0)
    for fixed in query_root(instance).T:
        E = drawn.embedding.copy()
        E[:d, -1] = [constant(x) for x in fixed]
        error = layer_prediction(layer, E) - drawn.task @ fixed
        total += layer.mean(error * error)
    return total


def values_at_query(key: InstanceKey) -> dict[str, Any]:
    """The numbers of `values_at_test`, and Q."""
    root = query_root(instance_of(key))
    return {**values_at_test(key), "Q": root @ root.T}


def query_check(key: InstanceKey) -> tuple[Any, Any]:
    """The risk at queries of a law that is not Gaussian, enumerated, and its two terms."""
    values = values_at_query(key)
    return risk_at_query(instance_of(key), values["A"]), evaluate(squared_bias(QUERY) + variance(QUERY), values)


def best_for_every_query_check(key: InstanceKey) -> tuple[Any, Any]:
    """Risk of any A at M minus that of A_M, at queries of another law, by enumeration, and the square."""
    instance, values = instance_of(key), values_at_query(key)
    best = exact_fixed_point(stationary_system(PromptLaw()), instance)
    found = risk_at_query(instance, values["A"]) - risk_at_query(instance, best)
    return found, evaluate(regret_of_length(QUERY), {**values, "A_*": best})


def regret_check(key: InstanceKey) -> tuple[Any, Any]:
    """Risk of A_N at length M minus that of A_M, by enumeration, and the square; training had N = M + 3."""
    instance = instance_of(key)
    system, values = stationary_system(PromptLaw()), instance.values()
    best = exact_fixed_point(system, instance)
    longer = {**values, "N": values["N"] + 3}
    trained = exact_inverse(evaluate(system.left, longer)) @ evaluate(system.right, longer)
    square = evaluate(regret_of_length(), {**values, "M": values["N"], "A": trained, "A_*": best})
    return 2 * (enumerated_loss(key, trained) - enumerated_loss(key, best)), square


def isotropic_curvature_check(key: InstanceKey) -> tuple[Any, Any]:
    """tr(U^T M_M A Lambda) at Psi = 4 I: half the mixed difference of the enumerated risk, and the polynomial."""
    given = instance_of(key)
    instance = replace(given, task_root=2 * np.eye(given.dimension, dtype=int).astype(object))
    values = {**instance.values(), "psi": Fraction(4), "M": Fraction(instance.context_length)}
    drawn = prompt(instance)
    s, x_q = context_mean(instance, drawn.embedding), drawn.embedding[: instance.dimension, -1]
    readings = [s @ matrix_at @ x_q for matrix_at in (instance.U, values["A"])]
    curvature = evaluate(isotropic_curvature(), values)
    derived = np.trace(instance.U.T @ curvature @ values["A"] @ values["Lambda"])
    return instance.mean(readings[0] * readings[1]), derived


def two_point_values(key: InstanceKey) -> dict[str, Any]:
    """Lambda, a, K, Gamma and Sig = (M/d) sum_k c_k c_k^T of an instance."""
    instance, other = instance_of(key), instance_of((key[0] + 1, False))
    d, values = instance.dimension, instance.values()
    columns, total = np.resize(other.U, (d, d)), values["Lambda"] + np.trace(values["Lambda"]) * exact_identity(d)
    n = values["N"]
    return {
        "Lambda": values["Lambda"], "a": instance.u21, "N": n, "M": n + 1, "K": total, "columns": columns,
        "Sig": columns @ columns.T * Fraction(n + 1, d), "Gamma": values["Lambda"] + total / n, "A": instance.U,
    }  # fmt: skip


def exact_identity(dimension: int) -> Array:
    """I in rationals."""
    eye: Array = np.array([[Fraction(int(i == j)) for j in range(dimension)] for i in range(dimension)], dtype=object)
    return eye


def two_point_excess(key: InstanceKey, *, trained: bool) -> Any:
    """E (A^T s - a)^T Lambda (A^T s - a) where s is Lambda a + c_k or Lambda a - c_k, all equally likely."""
    values = two_point_values(key)
    A_at = exact_inverse(values["Gamma"]) if trained else values["A"]
    Lambda, a, columns = values["Lambda"], values["a"], values["columns"]
    d, total = len(a), Fraction(0)
    for k in range(d):
        for sign in (1, -1):
            error = A_at.T @ (Lambda @ a + sign * columns[:, k : k + 1]) - a
            total += (error.T @ Lambda @ error)[0, 0] / (2 * d)
    return total


@cache
def derivation() -> Derivation:
    """From the reduced loss under the test law to bias and variance, the length, and labels of any law."""
    steps = (*risk_steps(), *query_steps(), *length_steps(), *label_steps())
    results = {
        "risk": risk(),
        "risk of a query": risk_of_query(),
        "variance": variance(),
        "excess": excess_of_trained_layer(),
    }
    return Derivation(replace(STATEMENT, latex=steps[0].latex), steps, results, lambda seed: (seed, False))


def risk_steps() -> tuple[Step, ...]:
    """The risk, and its parts."""
    sigma = covariance_of_products()
    return (
        equality(
            "risk on the test law",
            ("E (yhat - w.x_q)^2", r"\mathbb{E}\,(\hat y - w^\top x_q)^2"),
            risk(),
            "twice the reduced loss of population-loss with the letters of the test law, for any A",
            lambda key: (enumerated_risk(key), exact(risk(), key)),
        ),
        Step(
            "bias and variance",
            "E (yhat - w.x_q)^2",
            "tr((A^T Lambda' - I) Psi' (Lambda' A - I) Lambda') + (1/M) tr(A^T Sigma A Lambda')"
            f" with Sigma = {sigma!r}",
            r"\mathbb{E}\,(\hat y - w^\top x_q)^2 = \operatorname{tr}\bigl((A^\top\Lambda' - I)\Psi'(\Lambda' A - I)"
            r"\Lambda'\bigr) + \tfrac1M\operatorname{tr}(A^\top\Sigma A\Lambda'),"
            rf"\;\Sigma = {to_latex(sigma)}",
            "given w the mean of s is Lambda' w, and its covariance that of one product x y, divided by M",
            lambda key: (enumerated_risk(key), exact(squared_bias() + variance(), key)),
            forms={"bias": squared_bias(), "Sigma": sigma},
        ),
    )


def query_steps() -> tuple[Step, ...]:
    """A query of another law than the covariates of its context, as in ZFB 4.2."""
    system = stationary_system(PromptLaw())
    second, cross = at_test_length(system.second_moment), at_test_length(system.cross_moment)
    return (
        Step(
            "query shift",
            "E (yhat - w.x_q)^2 for E x_q x_q^T = Q",
            "tr((A^T Lambda' - I) Psi' (Lambda' A - I) Q) + (1/M) tr(A^T Sigma A Q)",
            r"\mathbb{E}\,(\hat y - w^\top x_q)^2 = \operatorname{tr}\bigl((A^\top\Lambda' - I)\Psi'(\Lambda' A - I)"
            r"Q\bigr) + \tfrac1M\operatorname{tr}(A^\top\Sigma A Q)",
            "the error (A^T s - w).x_q is linear in x_q, which is independent of s and w: its mean square is the trace "
            "of E (A^T s - w)(A^T s - w)^T with Q, for a fixed x_q too; for Lambda' = Lambda and invertible Psi both "
            "factors of Q vanish as N, M -> oo (A -> Lambda^-1), so the risk tends to 0 whatever Q and Psi'",
            query_check,
            forms={"risk": risk_of_query(), "bias": squared_bias(QUERY), "Sigma": covariance_of_products()},
        ),
        Step(
            "the best layer does not depend on the query",
            "risk_Q(A) - risk_Q(A_M), same law but for x_q, any A",
            "tr((A - A_M)^T M_M (A - A_M) Q) >= 0",
            r"\text{risk}_Q(A) - \text{risk}_Q(A_M) = \operatorname{tr}\bigl((A - A_M)^\top M_M (A - A_M) Q\bigr)"
            r" \ge 0",
            "the gradient of the risk is 2 (M_M A - C) Q, and M_M A_M = C, where no Q stands: the layer trained at "
            "length M with queries N(0, Lambda) is the best one without leak for queries of any other law",
            best_for_every_query_check,
            forms={"M": second, "C": cross, "regret": regret_of_length(QUERY)},
        ),
    )


def length_steps() -> tuple[Step, ...]:
    """What the test length does."""
    regret = regret_of_length()
    return (
        Step(
            "test length",
            "d risk/d(1/M)",
            "tr(A^T Sigma A Lambda') >= 0",
            r"\partial\,\text{risk}/\partial(1/M) = \operatorname{tr}(A^\top\Sigma A\Lambda') \ge 0",
            "the bias does not know M; Sigma is a sum of squares: a longer test prompt is never worse, whatever N was",
            lambda key: (exact(risk() - bias(), key), exact(variance(), key)),
        ),
        Step(
            "regret of training at N and testing at M",
            "risk_M(A_N) - risk_M(A_M), same law",
            "tr((A_N - A_M)^T M_M (A_N - A_M) Lambda)",
            r"\text{risk}_M(A_N) - \text{risk}_M(A_M) = \operatorname{tr}\bigl((A_N - A_M)^\top M_M (A_N - A_M)\Lambda"
            r"\bigr),\; M_M = \mathbb{E}\,s s^\top",
            "the completed square of fixed-point at length M; M_M is definite, so it is zero where A_N = A_M, at M = N",
            regret_check,
            forms={"regret": regret},
        ),
        Step(
            "regret for Psi = psi I",
            "M_M",
            to_text(isotropic_curvature()),
            rf"M_M = {to_latex(isotropic_curvature())}",
            "substitution: psi H ((tr H + sigma^2/psi)/M I + (M + 1)/M H) in the letters of WZC, H = Lambda, psi for "
            "their psi^2; their effective ridge is its part (tr H + sigma^2/psi)/M",
            isotropic_curvature_check,
            forms={"curvature": isotropic_curvature()},
        ),
    )


def label_steps() -> tuple[Step, ...]:
    """Labels of any law, as in ZFB Theorem 4.2."""
    general, trained = excess_of_labels(A), excess_of_trained_layer()
    return (
        equality(
            "labels of any law",
            (
                "E (yhat - y_q)^2 - min_w E (w.x_q - y_q)^2",
                r"\mathbb{E}(\hat y - y_q)^2 - \min_w\mathbb{E}(w^\top x_q - y_q)^2",
            ),
            general,
            "a = Lambda^-1 E[x y] is the best w; s has mean Lambda a and covariance Sig/M with Sig = Cov(x y)",
            lambda key: (two_point_excess(key, trained=False), evaluate(general, two_point_values(key))),
        ),
        equality(
            "labels of any law, at the trained layer (Psi = I, sigma = 0)",
            (
                "the same at A = Gamma^-1, Gamma = Lambda + K/N, K = Lambda + tr(Lambda) I",
                r"\bigl[\mathbb{E}(\hat y - y_q)^2 - \min_w\mathbb{E}(w^\top x_q - y_q)^2\bigr]_{A = \Gamma^{-1}}",
            ),
            trained,
            "(Gamma^-1 Lambda - I) a = -(1/N) Gamma^-1 K a; K, Gamma and Lambda commute, so the first term is "
            "(1/N^2) (|a|^2 in Gamma^-2 Lambda^3 + 2 tr(Lambda) |a|^2 in Gamma^-2 Lambda^2 + tr(Lambda)^2 |a|^2 in "
            "Gamma^-2 Lambda) of ZFB",
            lambda key: (
                two_point_excess(key, trained=True),
                evaluate(trained, two_point_values(key)),
            ),
        ),
    )


STATEMENT = Statement(
    identifier="test-risk",
    title="Risk of a trained layer on another law: covariance, noise and length may differ",
    latex="",  # the derived formula, filled in by `derivation`
    text=(
        "A layer without leak, trained on one law, has on prompts of another law and length M a risk that is a trace "
        "polynomial in its A and 1/M: bias plus variance/M. A longer test prompt is never worse; on the law of "
        "training, M = N is the one length at which no other layer is better. Queries of another law than the "
        "context's bring no new term: the risk is linear in their second moments, and the same layer is best for all."
    ),
    assumptions=(
        "the layer is the fixed point of its training law, u12 = u21 = 0",
        "test prompts: x_i, x_q ~ N(0, Lambda'), w ~ N(0, Psi'), eps_i ~ N(0, sigma'^2), all independent; noiseless "
        "target w.x_q; M >= 1 samples, normalised by 1/M",
        "query shift: x_q of any law with finite E x_q x_q^T = Q, or fixed, independent of context, task and noise",
        "labels of any law: x_i, x_q ~ N(0, Lambda), (x_i, y_i), (x_q, y_q) independent and alike, E y^2 |x|^2 finite",
    ),
    conventions="as fixed-point; risk = E(yhat - w.x_q)^2 without the half of L; at test time 1/M over the context",
    sources=(
        Source("zhang2024trained", "Theorem 4.2 (test covariance that of training, labels of any law)"),
        Source("wu2024pretraining", "regret at Psi = psi^2 I (G for A, H for Lambda)"),
        Source("zhang2024trained", "Section 4.2: shifts of task, covariates and query, for long contexts"),
        Source("ours", "any test law, query and length"),
    ),
    uses=("population-loss", "fixed-point"),
)


def trained_risk(
    covariance: Any,
    context_length: Any,
    task_covariance: Any = None,
    noise_variance: Any = 0.0,
    test_length: Any = None,
    test_covariance: Any = None,
    test_noise_variance: Any = None,
    test_task_covariance: Any = None,
    test_query_covariance: Any = None,
) -> float:
    """E (yhat - w.x_q)^2 of the layer trained on the first four, tested on the others (None: as in training).

    All covariances (d, d). test_query_covariance: E x_q x_q^T, test_covariance if None; x_q x_q^T for one fixed query.
    Raises AssumptionError.

    >>> round(trained_risk([[1.0]], 1), 12)  # twice the minimal loss 1/3
    0.666666666667
    """
    best = fixed_point(covariance, context_length, task_covariance, noise_variance)
    Lambda = check_covariance(covariance)
    d = len(Lambda)
    noise = check_non_negative(noise_variance, "noise_variance")
    tested = Lambda if test_covariance is None else check_covariance(test_covariance, "test_covariance")
    query = tested if test_query_covariance is None else test_query_covariance
    values = {
        "A": best.preconditioner,
        "Lambda'": check_shape(tested, (d, d), "test_covariance"),
        "Psi'": check_task_covariance(task_covariance, d)
        if test_task_covariance is None
        else check_semidefinite(test_task_covariance, d, "test_task_covariance"),
        "sigma2'": noise
        if test_noise_variance is None
        else check_non_negative(test_noise_variance, "test_noise_variance"),
        "M": check_context_length(context_length if test_length is None else test_length, "test_length"),
        "Q": check_semidefinite(query, d, "test_query_covariance"),
    }
    return float(evaluate(squared_bias(QUERY) + variance(QUERY), values))  # as a sum of two terms that are not negative
