r"""Nonlinear targets: which gradient step the layer becomes when the labels are y = g(x) + eps with a random g.

Only two second moments of the law of g enter: P = E m m^T with m = E[x y | g], and Q = E y^2 x x^T.
Main statements
    reflection     yhat = s^T A x_q + e with s = (1/N) sum y_i x_i and A = u U + u12 u21^T; if every covariate turns its
                   sign, s^T A x_q stays and e turns. So if g(-x) has the law of g(x), and -x that of x, the mixed mean
                   E (s^T A x_q - g(x_q)) e vanishes, and L = 1/2 R(A) + 1/2 E e^2: the minimum over all parameters is
                   that over A. That -g has the law of g is not needed: ReLU(w.x) with w ~ -w is covered
    risk           R(A) = E (s^T A x_q - g(x_q))^2 = tr(A^T W A Lambda) - 2 tr(A^T P) + E g^2, W = Q/N + (1 - 1/N) P
    fixed point    W A* Lambda = P: any law of g with E y^2 |x|^2 finite and W invertible
    rotations      if g(R x) has the law of g(x) for every rotation R with Lambda = I, P = (alpha/d) I and
                   Q = (beta/d) I, so A* = eta I with
                   eta = N alpha/((N - 1) alpha + beta),   alpha = E |m|^2,   beta = E y^2 |x|^2,
                   and the risk is E g^2 - eta alpha; for covariates N(0, Lambda) with a law of g invariant under
                   rotations of Lambda^(-1/2) x: A* = eta Lambda^-1
    cubic labels   y = (w.x)^3 + eps: P and Q as trace polynomials for any Lambda and Psi, isotropic or not; A* is a
                   multiple of Lambda^-1 where Psi is, and nowhere else
    links          alpha, beta and E g^2 for y = phi(w.x) + eps by integration: linear, ReLU, cubic, sine, sign
Assumptions
    Covariates N(0, Lambda) (the first four statements need only E x x^T = Lambda and the law of -x that of x); g
    independent of them; eps independent with mean 0, variance sigma^2. Query without a label; target g(x_q), no noise.
    Without the law of g(-x) being that of g(x), the mixed mean need not vanish: for a fixed g, say, a leak lowers L.
References
    [mahankali2024one, Theorem 3]: rotation-invariant laws. The rest is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.gaussian_moments import RandomVector, expectation
from ..algebra.matrix_derivatives import gradient
from ..algebra.printing import to_latex, to_sympy, to_text
from ..algebra.trace_polynomials import (
    TracePolynomial,
    degree,
    inverse_of_monomial,
    matrix,
    scalar,
    select,
    substitute,
    sum_over_samples,
    vector,
)
from ..symbols import LAMBDA, A, I, N, X
from .assumptions import AssumptionError, check_context_length, check_dimension, check_non_negative
from .enumeration import InstanceKey
from .fixed_point import coefficient_of_identity, exact_value, factor_before_A, instance_of, isotropic_gain, latex_of
from .function_laws import (
    enumerated_means,
    exact_eye,
    function_law,
    law_values,
    predicted,
    risk_enumerated_at,
    small_length,
)
from .layer import prediction
from .link_moments import (
    LINKS,
    NETWORK,
    TASK_LAWS,
    LinkMoments,
    component_moments,
    cubic_moments,
    cubic_traces,
    link_moments,
)
from .prompt_law import PromptLaw

if TYPE_CHECKING:
    import sympy as sp

P, Q = matrix("P", symmetric=True), matrix("Q", symmetric=True)
ALPHA, BETA, TAU = scalar("alpha"), scalar("beta"), scalar("tau")
MEAN_PRODUCT = vector("m")  # m = E[x y | g]
FLUCTUATION = vector("zeta")  # x_i y_i - m
Y = vector("y", space="1")


# The layer, and what a reflection of the covariates does to it


def in_labels() -> TracePolynomial:
    """yhat with the labels as letters of their own."""
    return prediction(PromptLaw(), (X, Y))


def kept() -> TracePolynomial:
    """The part of yhat that stays when every covariate turns its sign: s^T A x_q."""
    return select(in_labels(), lambda monomial: degree(monomial, "x", "x_q") % 2 == 0)


def turned() -> TracePolynomial:
    """The part e that turns with them: what leaks."""
    return in_labels() - kept()


# The risk over A


@cache
def risk() -> TracePolynomial:
    """E (s^T A x_q - g(x_q))^2 with s = m + (1/N) sum_i zeta_i; E[x_q g(x_q) | g] = m, tau = E g^2.

    zeta_i given g has the covariance E[y^2 x x^T | g] - m m^T, of which the mean Q - P is all that counts here.
    """
    spread = matrix("Q-P", symmetric=True)
    s = MEAN_PRODUCT + N**-1 * sum_over_samples(FLUCTUATION, ("zeta",))
    square = s.T * A * LAMBDA * A.T * s - 2 * s.T * A * MEAN_PRODUCT
    laws = [RandomVector("m", P), RandomVector("zeta", spread)]
    return substitute(expectation(square, laws), {"Q-P": Q - P}) + TAU


@cache
def system() -> tuple[TracePolynomial, TracePolynomial]:
    """(W, P): the gradient of the risk is 2 (W A Lambda - P)."""
    slope = gradient(risk(), A) / 2
    linear = select(slope, lambda monomial: degree(monomial, "A") == 1) * inverse_of_monomial(LAMBDA)
    return factor_before_A(linear), linear * LAMBDA - slope


def minimum() -> TracePolynomial:
    """R at the fixed point A_*, as the constant and half of the linear part."""
    constant_part = select(risk(), lambda monomial: degree(monomial, "A") == 0)
    linear = select(risk(), lambda monomial: degree(monomial, "A") == 1)
    return constant_part + substitute(linear, {"A": matrix("A_*")}) / 2


# Rotation-invariant laws


def rotation_invariant() -> tuple[TracePolynomial, TracePolynomial]:
    """d (W, P) at P = (alpha/d) I, Q = (beta/d) I: the factor 1/d is common to both."""
    invariant = {"P": ALPHA * I, "Q": BETA * I}
    left, right = system()
    return substitute(left, invariant), substitute(right, invariant)


def rate_parts() -> tuple[TracePolynomial, TracePolynomial]:
    """(numerator, denominator) of eta, both times N, as polynomials in alpha, beta and N."""
    left, right = (coefficient_of_identity(N * part) for part in rotation_invariant())
    return right, left


@cache
def rate() -> sp.Expr:
    """eta in alpha, beta and N.

    >>> rate()
    N*alpha/(N*alpha - alpha + beta)
    """
    import sympy as sp

    top, bottom = rate_parts()
    return sp.factor(sp.cancel(to_sympy(top) / to_sympy(bottom)))


@cache
def least_risk() -> sp.Expr:
    """E g^2 - eta alpha: R at A = eta I, Lambda = I, where tr P = alpha.

    >>> least_risk()
    -N*alpha**2/(N*alpha - alpha + beta) + tau
    """
    import sympy as sp

    names = {str(s): s for s in rate().free_symbols}
    return sp.Symbol("tau", positive=True) - rate() * names["alpha"]


@cache
def gain_for_link(link: str) -> sp.Expr:
    """eta for w ~ N(0, I) in d, N and sigma2.

    >>> gain_for_link("linear")
    N/(N + d + sigma2 + 1)
    """
    import sympy as sp

    found = link_moments(link)
    names = {str(symbol): symbol for symbol in rate().free_symbols}
    return sp.factor(sp.cancel(rate().subs({names["alpha"]: found.alpha, names["beta"]: found.beta})))


# Checks at small laws


def at_letters(polynomial: TracePolynomial, key: InstanceKey) -> Any:
    return evaluate(polynomial, law_values(key))


def parts_of_prediction(key: InstanceKey) -> tuple[Any, Any]:
    """One prompt and its mirror image: half their sum and difference, against the two polynomials."""
    from ..algebra.evaluation import evaluate_over_samples

    given, law = instance_of(key), function_law(key)
    n = given.context_length
    columns = [law.points[k % len(law.points)] for k in range(n)]
    labels, x_q = [law.functions[0][k % len(law.points)] for k in range(n)], law.points[-1]
    yhat = predicted(given, columns, labels, x_q)
    mirrored = predicted(given, [-x for x in columns], labels, -x_q)
    values = {**given.values(), "x_q": x_q[:, None]}
    samples = {"x": [x[:, None] for x in columns], "y": [np.array([[y]], dtype=object) for y in labels]}
    read = [evaluate_over_samples(part, values, samples) for part in (kept(), turned())]
    return [(yhat + mirrored) / 2, (yhat - mirrored) / 2], [np.asarray(part).item() for part in read]


def exact_star(key: InstanceKey) -> Array:
    """A* = W^-1 P Lambda^-1 at the small law."""
    left, right = system()
    values = law_values(key)
    star: Array = exact_inverse(evaluate(left, values)) @ evaluate(right, values) @ exact_inverse(values["Lambda"])
    return star


def slope_check(key: InstanceKey) -> tuple[Any, Any]:
    """The derivative of the enumerated risk at A along U, as a difference, and 2 tr(U^T (W A Lambda - P))."""
    values, (left, right) = law_values(key), system()
    V = instance_of(key).U
    enumerated = (risk_enumerated_at(key, values["A"] + V) - risk_enumerated_at(key, values["A"] - V)) / 2
    slope = evaluate(left, values) @ values["A"] @ values["Lambda"] - evaluate(right, values)
    return enumerated, 2 * np.trace(V.T @ slope)


def square_check(key: InstanceKey) -> tuple[Any, Any]:
    """The enumerated risk, and R(A*) + tr((A - A*)^T W (A - A*) Lambda)."""
    values, star = law_values(key), exact_star(key)
    gap = values["A"] - star
    curved = np.trace(gap.T @ evaluate(system()[0], values) @ gap @ values["Lambda"])
    return enumerated_means(key)["kept"], evaluate(minimum(), {**values, "A_*": star}) + curved


def rotation_check(key: InstanceKey) -> tuple[Any, Any]:
    """A* at P = (alpha/d) I, Q = (beta/d) I, Lambda = I, and its risk, against the two rational functions."""
    given = instance_of(key)
    d, eye = given.dimension, exact_eye(given.dimension)
    numbers = {"alpha": Fraction(3), "beta": Fraction(7 + key[0]), "tau": Fraction(5), "N": Fraction(small_length(key))}
    values = {
        "P": eye * numbers["alpha"] * Fraction(1, d), "Q": eye * numbers["beta"] * Fraction(1, d), "Lambda": eye,
        "N": numbers["N"], "tau": numbers["tau"],
    }  # fmt: skip
    star = exact_inverse(evaluate(system()[0], values)) @ evaluate(system()[1], values)
    found = [*star.ravel(), evaluate(risk(), {**values, "A": star})]
    return found, [*(eye * exact_value(rate(), numbers)).ravel(), exact_value(least_risk(), numbers)]


def link_check(link: str, key: InstanceKey) -> tuple[Any, Any]:
    """alpha, beta, tau of a link from components; of ReLU by folding the signs of x: half of the linear ones."""
    given = instance_of(key)
    d, tau0 = given.dimension, given.noise_root
    alpha, beta, tau = component_moments(3 if link == "cubic" else 1, d, tau0)
    if link == "relu":
        noise = d * Fraction(tau0) ** 2
        alpha, beta, tau = alpha / 4, (beta - noise) / 2 + noise, tau / 2
    numbers = {"d": Fraction(d), "sigma2": Fraction(tau0) ** 2}
    found = link_moments(link)
    return [alpha, beta, tau], [exact_value(part, numbers) for part in (found.alpha, found.beta, found.tau)]


def whitened_cubic_moments() -> tuple[TracePolynomial, TracePolynomial]:
    """(P, Q) of the cubic link at Lambda = I."""
    P_cubic, Q_cubic = (substitute(part, {"Lambda": I}) for part in cubic_moments())
    return P_cubic, Q_cubic


def cubic_check(key: InstanceKey) -> tuple[Any, Any]:
    """The traces at Lambda = I from components, and of the two polynomials."""
    given = instance_of(key)
    white = replace(given, covariance_root=exact_eye(given.dimension))
    return cubic_traces(white), [np.trace(evaluate(part, white.values())) for part in whitened_cubic_moments()]


@cache
def derivation() -> Derivation:
    """Reflection, the risk over A, its minimum, rotations, and links."""
    steps = (*reflection_steps(), *minimum_steps(), *rotation_steps(), *link_steps())
    results = {"risk": risk(), "left": system()[0], "right": system()[1], "rate": rate()}
    return Derivation(replace(STATEMENT, latex=steps[5].latex), steps, results, lambda seed: (seed, False))


def reflection_steps() -> tuple[Step, ...]:
    """What turns its sign with the covariates, and why it is of no use."""
    return (
        Step(
            "reflection of the covariates",
            "yhat",
            f"({to_text(kept())}) + ({to_text(turned())})",
            rf"\hat y = \bigl[{to_latex(kept())}\bigr] + \bigl[{to_latex(turned())}\bigr]",
            "sorting terms by their parity under (x_i, x_q) -> (-x_i, -x_q); the first bracket, s^T A x_q, stays, and "
            "the second, e, turns",
            parts_of_prediction,
            forms={"kept": kept(), "turned": turned()},
        ),
        Step(
            "the mixed term has mean zero",
            "E (s^T A x_q - g(x_q)) e",
            "0",
            r"\mathbb{E}\,(s^\top A x_q - g(x_q))\,e = 0",
            "replace x by -x and g by g(-.), which keeps every label, the target and the law: e turns, the rest stays",
            lambda key: (
                [enumerated_means(key)["mixed"], enumerated_means(key)["whole"]],
                [0, enumerated_means(key)["kept"] + enumerated_means(key)["turned"]],
            ),
        ),
    )


def minimum_steps() -> tuple[Step, ...]:
    """The risk over A, and where it is least."""
    left, right = system()
    return (
        equality(
            "risk over A",
            ("R(A) = E (s^T A x_q - g(x_q))^2", r"R(A) = \mathbb{E}\,(s^\top A x_q - g(x_q))^2"),
            risk(),
            "given g, s has mean m and covariance (E[y^2 x x^T | g] - m m^T)/N, and E x_q g(x_q) = m; tau = E g^2",
            lambda key: (enumerated_means(key)["kept"], at_letters(risk(), key)),
        ),
        Step(
            "fixed point",
            "W A* Lambda = P, W",
            to_text(left),
            rf"W A^* \Lambda = P,\quad W = {to_latex(left)}",
            "the gradient of R is 2 (W A Lambda - P)",
            slope_check,
            forms={"left": left, "right": right},
        ),
        Step(
            "completing the square",
            "R(A)",
            "min R + tr((A - A*)^T W (A - A*) Lambda), min R = " + to_text(minimum()),
            r"R(A) = \min R + \operatorname{tr}\bigl((A-A^*)^\top W (A-A^*)\Lambda\bigr),\;"
            rf"\min R = {to_latex(minimum())}",
            "W is E s s^T; with E e^2 >= 0 the point A = A*, u12 = u21 = 0 is a minimum over all parameters",
            square_check,
            forms={"minimum": minimum()},
        ),
    )


def rotation_steps() -> tuple[Step, ...]:
    """Laws that no rotation changes."""
    return (
        Step(
            "rotation-invariant laws",
            "A* for Lambda = I",
            f"({rate()}) I, with least risk {least_risk()}",
            rf"A^* = {latex_of(rate())}\, I,\quad \min R = {latex_of(least_risk())}",
            "R P R^T = P for every rotation R makes P = (alpha/d) I, alpha = E |m|^2, and Q = (beta/d) I, "
            "beta = E y^2 |x|^2; tau = E g^2; with covariates N(0, Lambda) and whitened g it is eta Lambda^-1",
            rotation_check,
            forms={"rate": rate(), "risk": least_risk()},
        ),
        Step(
            "linear labels",
            "eta for y = w.x + eps, w ~ N(0, I)",
            str(gain_for_link("linear")),
            rf"\eta = {latex_of(gain_for_link('linear'))}",
            "alpha = d, beta = d (d + 2 + sigma2): the isotropic case of fixed-point",
            linear_check,
            forms={"gain": gain_for_link("linear"), "inverse": isotropic_inverse()},
        ),
    )


def isotropic_inverse() -> sp.Expr:
    """1/eta of fixed-point at Lambda = Psi = I, in d, N and sigma2."""
    import sympy as sp

    gain = isotropic_gain(PromptLaw())
    plain = gain.subs({s: 1 for s in gain.free_symbols if s.name in ("lam", "psi")})
    return sp.factor(sp.cancel(1 / plain))


def linear_check(key: InstanceKey) -> tuple[Any, Any]:
    """eta from components, and that of fixed-point, against the gain."""
    given = instance_of(key)
    n, noise = Fraction(given.context_length), Fraction(given.noise_root) ** 2
    alpha, beta, _ = component_moments(1, given.dimension, given.noise_root)
    numbers = {"d": Fraction(given.dimension), "N": n, "sigma2": noise}
    gain = exact_value(gain_for_link("linear"), numbers)
    return [n * alpha / ((n - 1) * alpha + beta), 1 / exact_value(isotropic_inverse(), numbers)], [gain, gain]


def link_steps() -> tuple[Step, ...]:
    """Moments of links."""
    return (
        step_for_link("relu", "half of the normal law: E ReLU(rz) z = r/2, E ReLU(rz)^2 z^(2k) = r^2 E z^(2k + 2)/2"),
        step_for_link("cubic", "E z^4 = 3, E z^6 = 15, E z^8 = 105, and E |w|^6"),
        step_for_any_tasks(),
    )


def step_for_link(link: str, reason: str) -> Step:
    """alpha, beta and E g^2 of a link."""
    found = link_moments(link)
    return Step(
        f"moments of the {link} link, w ~ N(0, I)",
        "alpha, beta, E g^2",
        f"{found.alpha}, {found.beta}, {found.tau}",
        rf"\alpha = {latex_of(found.alpha)},\; \beta = {latex_of(found.beta)},\; \tau = {latex_of(found.tau)}",
        reason,
        lambda key: link_check(link, key),
        forms={"alpha": found.alpha, "beta": found.beta, "tau": found.tau},
    )


def step_for_any_tasks() -> Step:
    """P and Q of cubic labels at Lambda = I."""
    P_cubic, Q_cubic = whitened_cubic_moments()
    return Step(
        "cubic labels for any Psi, Lambda = I",
        "P, Q",
        f"{to_text(P_cubic)};  {to_text(Q_cubic)}",
        rf"P = {to_latex(P_cubic)},\quad Q = {to_latex(Q_cubic)}",
        "Isserlis' theorem; with B = Lambda^(1/2) Psi Lambda^(1/2) for Psi they are Lambda^(-1/2) P Lambda^(-1/2) and "
        "Lambda^(-1/2) Q Lambda^(-1/2) of any Lambda. Q is 10 P and a positive multiple of I, so that A* is a multiple "
        "of Lambda^-1 only where B is one of I",
        cubic_check,
        forms={"P": P_cubic, "Q": Q_cubic},
    )


STATEMENT = Statement(
    identifier="nonlinear-targets",
    title="Nonlinear targets: the layer is still one gradient step, and two moments give its rate",
    latex="",  # the derived formula, filled in by `derivation`
    text=(
        "With labels y = g(x) + eps and g random, the minimum over all parameters is W A* Lambda = P, u12 = u21 = 0, "
        "whenever g(-x) has the law of g(x); for a law of g that no rotation changes it is one gradient step "
        "with the rate N alpha/((N - 1) alpha + beta), alpha = E |E[x y | g]|^2, beta = E y^2 |x|^2. Neither odd "
        "functions nor the law of -g being that of g is needed."
    ),
    assumptions=(
        "x_i, x_q ~ N(0, Lambda); g independent of them, E y^2 |x|^2 finite, E s s^T invertible",
        "g(-x) has the law of g(x) as a random function (for the minimum over all parameters; it follows where no "
        "orthogonal map changes the law of g)",
        "y_i = g(x_i) + eps_i, eps_i independent with mean 0 and variance sigma^2; noiseless target g(x_q)",
        "context length N >= 1, the same for every prompt",
    ),
    conventions="as fixed-point; prediction x_q^T (eta/N) sum y_i x_i; risk = E(yhat - g(x_q))^2 without the half of L",
    sources=(
        Source("mahankali2024one", "Theorem 3 (rotation-invariant laws; no 1/N)"),
        Source("ours", "the rate from two moments, any law of g, reflection in the place of negation"),
    ),
    uses=("population-loss", "fixed-point"),
)


def check_choice(value: Any, known: tuple[str, ...], name: str) -> str:
    """One of the known names."""
    if not isinstance(value, str) or value not in known:
        raise AssumptionError(f"{name} needs one of {', '.join(known)}, got {value!r}; give one of these")
    return value


def rate_and_risk(
    dimension: Any, context_length: Any, link: Any, noise_variance: Any = 0.0, task_law: Any = "gaussian"
) -> tuple[float, float]:
    """(eta, E (prediction - g(x_q))^2) for y = link(w.x) + eps, x ~ N(0, I). Raises AssumptionError.

    >>> rate_and_risk(3, 4, "linear")  # N/(N + d + 1), and d (d + 1)/(N + d + 1)
    (0.5, 1.5)
    """
    d, n = check_dimension(dimension), check_context_length(context_length)
    found = link_moments(check_choice(link, (*LINKS, NETWORK), "link"), check_choice(task_law, TASK_LAWS, "task_law"))
    noise = check_non_negative(noise_variance, "noise_variance")
    return step_for_moments(found, {"d": d, "sigma2": noise}, n)


def step_for_moments(found: LinkMoments, numbers: Mapping[str, Any], context_length: int) -> tuple[float, float]:
    """(eta, risk) with 30 digits in between: the risk E g^2 - eta alpha cancels for many samples."""
    import sympy as sp

    rational = {name: sp.Rational(Fraction(value)) for name, value in numbers.items()}

    def at(expression: sp.Expr) -> sp.Expr:
        return expression.subs({s: rational[s.name] for s in expression.free_symbols})

    named = {"alpha": at(found.alpha), "beta": at(found.beta), "tau": at(found.tau), "N": sp.Integer(context_length)}
    both = (rate(), least_risk())
    eta, risk_there = (sp.N(part.subs({s: named[s.name] for s in part.free_symbols}), 30) for part in both)
    return float(eta), float(risk_there)
