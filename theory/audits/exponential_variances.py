r"""One layer under random diagonal covariances with exponential entries: gain, prediction, risk, and their limits.

Each prompt has its own Lambda = c diag(lambda_1 .. lambda_d) with lambda_k ~ Exp(1) independent;
x_i, x_q ~ N(0, Lambda), w ~ N(0, I), no noise. With xi = sqrt(2/c) |x|:
Main statements
    averaging       E prod_j tr(Lambda^k_j) = c^(sum k) times the sum, over partitions of the traces into b blocks, of
                    d (d - 1) .. (d - b + 1) prod_blocks (sum of their k)!
    risk            at A = a I and length M, divided by d: c - 4 a c^2 + a^2 c^3 (6 + (2 d + 10)/M)
    gain            trained at scale c_0 and length N the least risk has a = N/(c_0 (3 N + d + 5))
    covariate       a coordinate has the density exp(-xi)/(sqrt(2 c)), a Laplace law, and E xi^m = m!
    variance        E[c lambda | x] = c (1 + xi)/2: a large query betrays a large variance
    prediction      at c = 1, for every length M: E[yhat | x_q, w] = sum_i w_i x_qi a (1 + xi_i)/2, not a w.x_q
    limits          N, M -> oo: the factor of w_i x_qi is (1 + xi_i)/6; the risk divided by d is
                    c - (4/3) c^2/c_0 + (2/3) c^3/c_0^2, that is c/3 for a layer trained at the scale of the test
Why a multiple of I: the risk is convex in A, and the law is invariant under permutations and reflections of the
    coordinates; averaging A over these gives a multiple of I with no larger risk. u12 = u21 = 0 as in fixed-point, for
    the law is symmetric under w -> -w.
Audited
    [zhang2024trained, Section 4.3, after Eq. 4.13] has E[Lambda] in the place of E[Lambda | x_q], which gives 1/3;
    [zhang2024trained, Figure 1] shows limits at c = 4 and 9.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import evaluate
from ..algebra.formulas import Formula, Values, left_divided
from ..algebra.trace_polynomials import TracePolynomial, number, scalar, substitute, sum_over_samples
from ..one_layer import risk as one_layer_risk
from ..one_layer.assumptions import AssumptionError, check_context_length, check_dimension, check_positive, check_shape
from ..one_layer.fixed_point import exact_value, latex_of
from ..one_layer.prompt_law import PromptLaw
from ..symbols import LAMBDA, X_Q, ZERO, I, N, W, X

if TYPE_CHECKING:
    import sympy as sp

Blocks = list[list[int]]


def symbol(name: str) -> sp.Symbol:
    import sympy as sp

    return sp.Symbol(name)


# Averages over the variances


def partitions(items: list[int]) -> Iterator[Blocks]:
    """All partitions of a list into blocks."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for smaller in partitions(rest):
        for place in range(len(smaller)):
            yield [*smaller[:place], [first, *smaller[place]], *smaller[place + 1 :]]
        yield [[first], *smaller]


def mean_of_traces(lengths: list[int]) -> sp.Expr:
    """E prod_j tr(Lambda^k_j): traces in one block share an index, different blocks have different ones."""
    import sympy as sp

    d, total = symbol("d"), sp.Integer(0)
    for blocks in partitions(lengths):
        indices = sp.prod([d - k for k in range(len(blocks))])
        total += indices * sp.prod([sp.factorial(sum(block)) for block in blocks])
    return sp.expand(total) * symbol("c") ** sum(lengths)


def averaged(polynomial: TracePolynomial) -> sp.Expr:
    """E over Lambda of a number made of traces of powers of Lambda."""
    import sympy as sp

    total = sp.Integer(0)
    for (scalars, traces, _), value in polynomial.terms.items():
        symbols = sp.prod([symbol(name) ** exponent for name, exponent in scalars])
        total += sp.Rational(value.numerator, value.denominator) * symbols * mean_of_traces([len(t) for t in traces])
    return sp.expand(total)


# The layer with A = a I


@cache
def risk_given_variances() -> TracePolynomial:
    """E[(yhat - w.x_q)^2 | Lambda] at A = a I and length M: the risk of test-risk at this law."""
    letters = {"A": scalar("a") * I, "Psi'": I, "Lambda'": LAMBDA}
    return substitute(one_layer_risk.risk(), letters, {"sigma2'": ZERO})


@cache
def risk() -> sp.Expr:
    """The risk divided by d.

    >>> risk()
    6*a**2*c**3 - 4*a*c**2 + c + 2*a**2*c**3*d/M + 10*a**2*c**3/M
    """
    import sympy as sp

    return sp.expand(averaged(risk_given_variances()) / symbol("d"))


@cache
def gain() -> sp.Expr:
    """The a of least risk at scale c_0 and length N.

    >>> gain()
    N/(c_0*(3*N + d + 5))
    """
    import sympy as sp

    at_training = risk().subs({symbol("c"): symbol("c_0"), symbol("M"): symbol("N")})
    (stationary,) = sp.solve(sp.diff(at_training, symbol("a")), symbol("a"))
    return sp.factor(stationary)


@cache
def conditional_variance() -> sp.Expr:
    """E[lambda | x] at c = 1, as a function of xi = sqrt(2) |x|.

    lambda times the density of N(0, lambda) at x is the integral of t times it from x to infinity, so that
    E[lambda | x] f(x) = int_x^oo t f(t) dt with the Laplace density f of x.

    >>> conditional_variance()
    xi/2 + 1/2
    """
    import sympy as sp

    x, t = sp.symbols("x t", positive=True)

    def density(at: Any) -> Any:
        return sp.exp(-sp.sqrt(2) * at) / sp.sqrt(2)

    mean = sp.integrate(t * density(t), (t, x, sp.oo)) / density(x)
    return sp.expand(sp.simplify(mean).subs(x, symbol("xi") / sp.sqrt(2)))


def factor() -> sp.Expr:
    """What stands before w_i x_qi in E[yhat | x_q, w] at c = c_0 = 1."""
    import sympy as sp

    return sp.factor(gain().subs(symbol("c_0"), 1) * conditional_variance())


def limit_factor() -> sp.Expr:
    """The factor at N = oo; the length M of the prompt does not enter."""
    import sympy as sp

    return sp.factor(sp.limit(factor(), symbol("N"), sp.oo))


def limit_risk() -> sp.Expr:
    """The risk divided by d at N = M = oo.

    >>> limit_risk()
    c*(2*c**2 - 4*c*c_0 + 3*c_0**2)/(3*c_0**2)
    """
    import sympy as sp

    long = sp.limit(risk(), symbol("M"), sp.oo)
    return sp.factor(long.subs(symbol("a"), sp.limit(gain(), symbol("N"), sp.oo)))


# Second moments, for the error rates of sampled checks


@cache
def second_moments() -> tuple[sp.Expr, sp.Expr]:
    """E (yhat w.x_q)^2 and E (yhat - w.x_q)^4 at A = a I, by Isserlis' theorem and averaging."""
    law = PromptLaw(task_covariance=I, noise_variance=ZERO)
    yhat = scalar("a") * N**-1 * sum_over_samples((W.T * X) * (X.T * X_Q), ("x",))
    target = W.T * X_Q
    error = yhat - target
    product, square = yhat * target, error * error
    found = (law.mean(product * product), law.mean(square * square))
    at_length = [averaged(one).subs(symbol("N"), symbol("M")) for one in found]
    return at_length[0], at_length[1]


# Checks at instances


def averaged_directly(polynomial: TracePolynomial, d: int, values: Mapping[str, Fraction]) -> Fraction:
    """The same mean with traces as sums over components, for one dimension."""
    import sympy as sp

    entries = sp.symbols(f"l0:{d}")
    total = sp.Integer(0)
    for (scalars, traces, _), coefficient in polynomial.terms.items():
        product = sp.Rational(coefficient.numerator, coefficient.denominator)
        for name, exponent in scalars:
            product *= rational(values[name] if name != "d" else Fraction(d)) ** exponent
        for one in traces:
            product *= sum(rational(values["c"]) ** len(one) * entry ** len(one) for entry in entries)
        total += product
    terms = sp.Poly(total, *entries).as_dict()
    mean = sum(value * sp.prod([sp.factorial(k) for k in powers]) for powers, value in terms.items())
    return Fraction(int(mean.p), int(mean.q))


def rational(value: Fraction) -> Any:
    import sympy as sp

    return sp.Rational(value.numerator, value.denominator)


def numbers_at(seed: int) -> dict[str, Fraction]:
    """Rational values of the symbols."""
    return {
        "a": Fraction(seed + 2, 7), "c": Fraction(seed + 3, 2), "c_0": Fraction(seed + 5, 3), "M": Fraction(seed + 4),
        "N": Fraction(2 * seed + 3), "d": Fraction(seed % 3 + 1), "xi": Fraction(seed + 1, 5),
    }  # fmt: skip


def value(expression: sp.Expr, numbers: Mapping[str, Any]) -> Fraction:
    return exact_value(expression, numbers)


def risk_at(gain_value: Fraction, seed: int) -> Fraction:
    """The risk of the training law at a gain, averaged directly."""
    numbers = numbers_at(seed)
    law = {**numbers, "a": gain_value, "c": numbers["c_0"], "M": numbers["N"]}
    return averaged_directly(risk_given_variances(), int(numbers["d"]), law)


def vertex(seed: int) -> Fraction:
    """The gain of least risk, from the risk at -1, 0 and 1: it is quadratic in a."""
    low, middle, high = (risk_at(Fraction(a), seed) for a in (-1, 0, 1))
    return (low - high) / (2 * (low - 2 * middle + high))


def moment_of_variance(k: int) -> Fraction:
    """E lambda xi^(2k) = 2^k (2k - 1)!! E lambda^(k + 1) at c = 1."""
    return Fraction(math.factorial(2 * k) * math.factorial(k + 1), math.factorial(k))


def moment_of_mean(mean: sp.Expr, k: int) -> Fraction:
    """E mean(xi) xi^(2k) with E xi^m = m!."""
    import sympy as sp

    terms = sp.Poly(mean, symbol("xi")).as_dict()
    total = sum(value * sp.factorial(power + 2 * k) for (power,), value in terms.items())
    return Fraction(int(total.p), int(total.q))


MOMENTS = range(8)


@cache
def derivation() -> Derivation:
    """Risk, gain, the variance given the query, the prediction, and the limits."""
    mean = conditional_variance()
    steps = (*risk_steps(), *prediction_steps(mean))
    return Derivation(
        replace(STATEMENT, latex=steps[3].latex),
        steps,
        {"risk": risk(), "gain": gain(), "factor": factor(), "limit risk": limit_risk()},
        lambda seed: seed,
    )


def risk_steps() -> tuple[Step, ...]:
    return (
        Step(
            "risk at a scale",
            "E (yhat - w.x_q)^2 / d at A = a I, length M",
            str(risk()),
            rf"\tfrac1d\,\mathbb{{E}}\,(\hat y - w^\top x_q)^2 = {latex_of(risk())}",
            "the risk of test-risk given Lambda; E lambda^k = k!, traces with a common index counted",
            lambda seed: (
                averaged_directly(risk_given_variances(), int(numbers_at(seed)["d"]), numbers_at(seed)),
                value(risk() * symbol("d"), numbers_at(seed)),
            ),
            forms={"risk": risk()},
        ),
        Step(
            "gain",
            "argmin over a of the risk at scale c_0, length N",
            str(gain()),
            rf"a = {latex_of(gain())}",
            "zero slope; by convexity and symmetry under signed permutations no other A does better",
            lambda seed: (vertex(seed), value(gain(), numbers_at(seed))),
            forms={"gain": gain()},
        ),
    )


def prediction_steps(mean: sp.Expr) -> tuple[Step, ...]:
    return (
        Step(
            "variance given the query",
            "E[lambda | x], xi = sqrt(2) |x|",
            str(mean),
            rf"\mathbb{{E}}[\lambda \mid x] = {latex_of(mean)},\quad \xi = \sqrt2\,|x|",
            "x has a Laplace law, as 1/(1 + t^2/2) is the characteristic function of both; then integrate t f(t)",
            lambda seed: (
                [moment_of_variance(k + seed) for k in MOMENTS],
                [moment_of_mean(mean, k + seed) for k in MOMENTS],
            ),
            proof=(
                "Both sides have the same mean with every power of xi^2; the law of xi has exponential moments, so "
                "polynomials are dense and the two functions of xi are equal almost surely."
            ),
            forms={"mean": mean},
        ),
        Step(
            "prediction given the query",
            "E[yhat | x_q, w] = sum_i factor_i w_i x_qi, factor",
            str(factor()),
            rf"\mathbb{{E}}[\hat y \mid x_q, w] = \sum_i w_i x_{{q,i}}\; {latex_of(factor())}",
            "E[yhat | x_q, w, Lambda] = a x_q^T Lambda w for every length M",
            lambda seed: (
                value(gain().subs(symbol("c_0"), 1), numbers_at(seed)) * value(mean, numbers_at(seed)),
                value(factor(), numbers_at(seed)),
            ),
            forms={"factor": factor()},
        ),
        Step(
            "limits",
            "N, M -> oo: the factor, and the risk divided by d",
            f"{limit_factor()}; {limit_risk()}",
            rf"N, M \to \infty:\quad {latex_of(limit_factor())},\quad {latex_of(limit_risk())}",
            "the leading coefficients in N and M",
            lambda seed: (
                [far(factor(), seed), far(risk().subs(symbol("a"), gain()), seed)],
                [value(limit_factor(), numbers_at(seed)), value(limit_risk(), numbers_at(seed))],
            ),
            forms={"factor": limit_factor(), "risk": limit_risk()},
        ),
    )


def far(expression: sp.Expr, seed: int) -> Fraction:
    """The value at N = M = 1/t, t -> 0: rational functions of t without a pole there, put in after cancelling."""
    import sympy as sp

    t = symbol("t")
    given = {symbol(name): rational(number) for name, number in numbers_at(seed).items() if name not in ("N", "M")}
    at_zero = sp.cancel(expression.subs({symbol("N"): 1 / t, symbol("M"): 1 / t}).subs(given)).subs(t, 0)
    return Fraction(int(at_zero.p), int(at_zero.q))


STATEMENT = Statement(
    identifier="exponential-variances",
    title="Random exponential variances: gain, prediction given the query, risk, and their limits",
    latex="",  # that of the step on the prediction, filled in by `derivation`
    text=(
        "A layer trained on prompts with random diagonal covariances c_0 diag(lambda), lambda_k ~ Exp(1), predicts, "
        "given the query and the task, sum_i w_i x_qi a (1 + sqrt(2) |x_qi|)/2 with a = N/(3N + d + 5): a query is "
        "informative about its own covariance. Its risk at another scale c is a cubic in c."
    ),
    assumptions=(
        "Lambda = c diag(lambda) per prompt, lambda_k ~ Exp(1) independent",
        "x_i, x_q ~ N(0, Lambda) given Lambda; w ~ N(0, I), no noise",
        "trained at scale c_0 and length N: A = u U = a I, u12 = u21 = 0 (the least risk over all A)",
        "the statement on the prediction at c = c_0 = 1; xi = sqrt(2) |x|",
    ),
    conventions="query column included, 1/M over the test context; risk without 1/2, divided by d",
    sources=(
        Source("zhang2024trained", "Theorem 4.5 and Section 4.3 (the law; the limit is printed as w.x_q/3)"),
        Source("ours", "prediction given the query, risk at another scale"),
    ),
    uses=("test-risk",),
)  # fmt: skip


# The formulas that are altered


def as_scalars(expression: sp.Expr, names: tuple[str, ...]) -> TracePolynomial:
    """A Laurent polynomial in symbols as a trace polynomial without letters."""
    import sympy as sp

    total = number(0)
    for term in sp.Add.make_args(sp.expand(expression)):
        coefficient, powers = term.as_coeff_mul()
        part = number(Fraction(int(coefficient.p), int(coefficient.q)))
        for base, exponent in (power.as_base_exp() for power in powers):
            assert base.name in names
            part = part * scalar(base.name) ** int(exponent)
        total = total + part
    return total


@cache
def risk_formula() -> Formula:
    """The risk divided by d, in a, c, M, d."""
    vocabulary = Vocabulary({"M": ("d",), "c": ("a",), "a": ("c",), "d": ("M",)})
    return Formula({"risk": as_scalars(risk(), ("a", "c", "M", "d"))}, value_of("risk"), vocabulary)


def value_of(name: str) -> Any:
    """The quantity of a formula that is one number."""
    return lambda parts, values: evaluate(parts[name], values)


@cache
def gain_formula() -> Formula:
    """a = left^-1 right at scale c_0 and length N, both sides of the stationary equation."""
    at_training = risk().subs({symbol("c"): symbol("c_0"), symbol("M"): symbol("N")})
    names = ("c_0", "N", "d")
    left = as_scalars(at_training.coeff(symbol("a"), 2), names)
    right = as_scalars(-at_training.coeff(symbol("a"), 1) / 2, names)
    vocabulary = Vocabulary({"N": ("d",), "d": ("N",)})
    return Formula({"left": left, "right": right}, quotient_of_parts, vocabulary)


def quotient_of_parts(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """right/left. Raises ValueError where left is 0."""
    left, right = (np.array([[evaluate(parts[name], values)]]) for name in ("left", "right"))
    return left_divided(left, right)[0, 0]


@cache
def mean_formula() -> Formula:
    """E[lambda | x] in xi."""
    return Formula({"mean": as_scalars(conditional_variance(), ("xi",))}, value_of("mean"), Vocabulary())


def moment_by(formula: Formula, k: int) -> float:
    """E mean(xi) x^(2k) at c = 1, with E xi^m = m! and x^2 = xi^2/2."""
    total = 0.0
    for (scalars, _, _), coefficient in formula.parts["mean"].terms.items():
        power = dict(scalars).get("xi", 0)
        total += float(coefficient) * math.factorial(power + 2 * k) / 2**k
    return total


def points(name: str) -> list[dict[str, Any]]:
    """Rational values of all symbols."""
    import random

    draw = random.Random(name)
    found = []
    for _ in range(5):
        values: dict[str, Any] = {key: Fraction(draw.randint(2, 997), 97) for key in ("a", "c", "c_0", "xi")}
        found.append({**values, **{key: Fraction(draw.randint(2, 997)) for key in ("M", "N", "d")}})
    return found


# Numbers for users


def check_scales(scale: Any, training_scale: Any) -> dict[str, float]:
    return {"c": check_positive(scale, "scale"), "c_0": check_positive(training_scale, "training_scale")}


def predict(
    dimension: Any,
    context_length: Any,
    test_length: Any,
    scale: Any = 1.0,
    training_scale: Any = 1.0,
    x_query: Any = None,
    task: Any = None,
) -> dict[str, Any]:
    """Gain, risk divided by d and its limit; with a query and a task also the mean prediction. Raises AssumptionError.

    >>> round(predict(20, 100, 100, scale=4)["limit_risk"], 12)
    25.333333333333
    """  # fmt: skip
    d, n, m = (
        check_dimension(dimension),
        check_context_length(context_length),
        check_context_length(test_length, "test_length"),
    )
    numbers = {**check_scales(scale, training_scale), "d": d, "N": n, "M": m}
    a = at_numbers(gain(), numbers)
    found = {
        "gain": a,
        "risk": at_numbers(risk(), {**numbers, "a": a}),
        "limit_risk": at_numbers(limit_risk(), numbers),
    }
    if (x_query is None) != (task is None):
        raise AssumptionError("the mean prediction needs both x_query and task; give both or neither")
    return found if x_query is None else {**found, **mean_predictions(numbers, a, x_query, task)}


def mean_predictions(numbers: Mapping[str, float], a: float, x_query: Any, task: Any) -> dict[str, float]:
    """E[yhat | x_q, w] at the test scale, and its limit for N -> oo."""
    d, c = int(numbers["d"]), numbers["c"]
    query, w = check_shape(x_query, (d,), "x_query"), check_shape(task, (d,), "task")
    xi = np.sqrt(2 / c) * np.abs(query)
    variances = c * np.array([at_numbers(conditional_variance(), {"xi": float(one)}) for one in xi])
    at_limit = float(gain_limit(numbers))
    return {
        "mean_prediction": float(a * np.sum(w * query * variances)),
        "limit_prediction": float(at_limit * np.sum(w * query * variances)),
    }


def predict_beside_printed(**parameters: Any) -> dict[str, Any]:
    """As `predict`, and with a query and a task at scale 1 the printed limit. Raises AssumptionError.

    >>> found = predict_beside_printed(dimension=1, context_length=9, test_length=9, x_query=[2**0.5], task=[3.0])
    >>> round(found["printed_limit"] / found["limit_prediction"], 12)
    0.666666666667
    """
    found = predict(**parameters)
    if parameters.get("x_query") is None:
        return found
    d = check_dimension(parameters["dimension"])
    query, w = (check_shape(parameters[name], (d,), name) for name in ("x_query", "task"))
    return {**found, "printed_limit": float(printed_factor()) * float(query @ w)}


def gain_limit(numbers: Mapping[str, float]) -> float:
    import sympy as sp

    return at_numbers(sp.limit(gain(), symbol("N"), sp.oo), numbers)


def at_numbers(expression: sp.Expr, numbers: Mapping[str, float]) -> float:
    return float(expression.subs({one: numbers[one.name] for one in expression.free_symbols}))


# The printed limit of the prediction


def printed_factor() -> Fraction:
    """E[Lambda^2] E[Lambda^3]^-1 E[Lambda], one entry: 2!/3! 1!."""
    return Fraction(math.factorial(2), math.factorial(3)) * math.factorial(1)


def moment(power: int) -> Fraction:
    """E lambda^power, from the mean of the trace in one dimension."""
    return value(mean_of_traces([power]), {"c": Fraction(1), "d": Fraction(1)})


XI = Fraction(2)  # x_q = sqrt 2


def failure_counterexample() -> dict[str, Any]:
    """Plain numbers: one dimension, w = 1, x_q = sqrt 2."""
    return {
        "d": 1, "w": "1", "x_q": "sqrt(2)", "M, N": "-> infinity",
        "E[yhat | x_q, w]/(w x_q) as printed": str(printed_factor()),
        "E[yhat | x_q, w]/(w x_q)": str(value(limit_factor(), {"xi": XI})),
    }  # fmt: skip


@cache
def failure_refutation() -> Derivation:
    """The printed factor beside the derived one."""
    printed, found = printed_factor(), value(limit_factor(), {"xi": XI})
    shown, right = latex_of(rational(printed)), latex_of(rational(found))
    steps = (
        Step(
            "as printed",
            "the factor of w.x_q in the limit",
            f"E[lambda^2]/E[lambda^3] E[lambda] = {printed}",
            (
                rf"x_q^\top\,\mathbb{{E}}[\Lambda^2]\,\mathbb{{E}}[\Lambda^3]^{{-1}}\,\mathbb{{E}}[\Lambda]\,w = "
                rf"\tfrac{{{printed.numerator}}}{{{printed.denominator}}}\,w^\top x_q"
            ),
            "E lambda^k = k!",
            lambda seed: (moment(2) * moment(1) / moment(3), printed),
            forms={"printed": rational(printed)},
        ),
        Step(
            "counterexample",
            "E[yhat | x_q, w]/(w x_q) at d = 1, x_q = sqrt 2, in the limit",
            f"{found}, printed {printed}",
            rf"\lim \mathbb{{E}}[\hat y \mid x_q, w] = {right}\,w x_q \neq {shown}\,w x_q",
            "E[Lambda | x_q] in the place of E[Lambda]: given a large query the variance is larger",
            lambda seed: (
                [moment_of_variance(1 + seed) / 3, int(found != printed)],
                [moment_of_mean(limit_factor(), 1 + seed), 1],
            ),
            forms={"factor": limit_factor()},
        ),
    )
    return Derivation(FAILURE, steps, {}, lambda seed: seed)


FAILURE = Statement(
    identifier="audit-zfb-failure",
    title="As printed: under random covariances the mean prediction is w.x_q/3",
    latex=r"\mathbb{E}[\hat y \mid x_q, w] \overset{?}{\longrightarrow} x_q^\top\,\mathbb{E}[\Lambda^2]\,"
    r"\mathbb{E}[\Lambda^3]^{-1}\,\mathbb{E}[\Lambda]\,w = \tfrac13\,w^\top x_q",
    text=(
        "For Lambda diagonal with iid Exp(1) entries and M, N -> infinity, E[yhat | x_q, w] -> "
        "x_q^T E[Lambda^2] E[Lambda^3]^-1 E[Lambda] w = (1/3) w.x_q."
    ),
    assumptions=("conditionally on Lambda_new: x_i, x_q ~ N(0, Lambda_new)", "Lambda_new diagonal, iid Exp(1) entries"),
    conventions="as printed; the expectation is over Lambda_new",
    sources=(Source("zhang2024trained", "Section 4.3, after Eq. 4.13"),),
    uses=("exponential-variances",),
)


# The printed limit of the risk in a figure

SHOWN = {4: 5, 9: 10}  # scale -> the tick that would come next: the labels are 0, 1, 2, 3, 4 and 0, 2, 4, 6, 8


def limit_at(scale: int, training_scale: int = 1) -> Fraction:
    """The limit of the risk divided by d."""
    return value(limit_risk(), {"c": Fraction(scale), "c_0": Fraction(training_scale)})


def figure_counterexample() -> dict[str, Any]:
    """Plain numbers: the limits of the two readings beside the axes."""
    return {
        **{f"limit at c = {c}, trained at 1": str(limit_at(c)) for c in SHOWN},
        **{f"limit at c = {c}, trained at {c}": str(limit_at(c, c)) for c in SHOWN},
        **{f"the panel of c = {c} shows less than": top for c, top in SHOWN.items()},
    }


@cache
def figure_refutation() -> Derivation:
    """The limits beside the axes of the panels."""
    steps = (
        Step(
            "the limit of a layer trained at c = 1",
            "lim risk/d at scale c, trained at 1",
            str(limit_risk().subs(symbol("c_0"), 1)),
            rf"\lim \tfrac1d\,\text{{risk}} = {latex_of(limit_risk().subs(symbol('c_0'), 1))}",
            "exponential-variances with c_0 = 1",
            lambda seed: (
                far(risk_trained_at_one(), seed),
                value(limit_risk().subs(symbol("c_0"), 1), numbers_at(seed)),
            ),
            forms={"limit": limit_risk().subs(symbol("c_0"), 1)},
        ),
        Step(
            "counterexample",
            "the limits at c = 4 and 9",
            ", ".join(f"{limit_at(c)} (the panel shows less than {top})" for c, top in SHOWN.items()),
            r",\quad ".join(rf"{latex_of(rational(limit_at(c)))} > {top}" for c, top in SHOWN.items()),
            "put in; the tops of the axes from their tick labels",
            lambda seed: (
                [int(limit_at(c) > top) for c, top in SHOWN.items()],
                [1 for _ in SHOWN],
            ),
        ),
    )
    return Derivation(FIGURE, steps, {}, lambda seed: seed)


def risk_trained_at_one() -> sp.Expr:
    return risk().subs(symbol("a"), gain()).subs(symbol("c_0"), 1)


FIGURE = Statement(
    identifier="audit-zfb-figure",
    title="As printed: the plotted limit at scales 4 and 9 is that of a layer trained at scale 1",
    latex=r"\text{black dashed lines at } c = 4, 9 \overset{?}{=} \lim_{M, N \to \infty}\tfrac1d\,"
    r"\text{risk of the layer trained at } c = 1",
    text=(
        "Figure 1: models are trained at c = 1 and tested at c = 1, 4, 9; the black dashed line is the prediction "
        "error of the linear self-attention model when M, N -> infinity."
    ),
    assumptions=("x ~ N(0, c Lambda), Lambda diagonal with iid Exp(1) entries, d = 20; error divided by d",),
    conventions="as printed; 'LSA limit' in the legend",
    sources=(Source("zhang2024trained", "Figure 1"),),
    uses=("exponential-variances",),
)
