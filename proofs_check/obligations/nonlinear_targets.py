"""Obligations of nonlinear-targets: reflection of each prompt, the risk from two moments, its minimum, and links."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flint

from ..engines.expressions import Expression, Quotient
from ..engines.gaussian_means import gaussian_mean
from ..engines.identities import Identity
from ..engines.layer import DEGREE, WEIGHTS, dot, literal_layer
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from .fixed_point import cleared, value
from .obligation import ClaimObligations, Forms, Obligation, Polynomial, Rational
from .population_loss import TRUSTED, embedding, full_weights, summed_over_samples
from .uniform_covariates import parts_of

REFLECTION, MIXED = "reflection of the covariates", "the mixed term has mean zero"
RISK, FIXED_POINT, SQUARE = "risk over A", "fixed point", "completing the square"
ROTATIONS, LINEAR = "rotation-invariant laws", "linear labels"
RELU, CUBIC = "moments of the relu link, w ~ N(0, I)", "moments of the cubic link, w ~ N(0, I)"
ANY_TASKS = "cubic labels for any Psi, Lambda = I"
LENGTHS = (1, 2, 3, 4)
VECTORS = frozenset({"x", "x_q", "u12", "u21", "m", "zeta"})


# Every prompt and its mirror image


def prompt_letters() -> dict[str, Kind]:
    """Covariates, labels of any values, and the query."""
    samples: dict[str, Kind] = {f"x[{i}]": "vector" for i in range(1, LENGTHS[-1] + 1)}
    labels: dict[str, Kind] = {f"y[{i}]": "scalar" for i in range(1, LENGTHS[-1] + 1)}
    return {**samples, **labels, "x_q": "vector", **WEIGHTS}


def mirrored(point: Point) -> Point:
    """Every covariate with its sign turned; the labels stay."""
    names = [name for name in point.values if name == "x_q" or name.startswith("x[")]
    return point.with_values({name: point.matrix(name).scaled(point.one * -1) for name in names})


def predicted(point: Point, n: int) -> Any:
    """f(E)[d, N] of the first n samples."""
    ys = [point[f"y[{i}]"] for i in range(1, n + 1)]
    return literal_layer(embedding(point, ys), *full_weights(point), flint.fmpq(1, n))


def per_prompt(difference: Callable[[Point, int], list[Any]], *forms: Expression) -> Identity:
    """An identity for every prompt, tested at N = 1, 2, 3, 4 (`population_loss.per_prompt`)."""
    legs = max(form.pairs_of_legs(VECTORS) for form in forms)
    degree = max(DEGREE, *(form.degree() + 1 for form in forms))

    def differences(point: Point) -> list[Any]:
        return [one for n in LENGTHS for one in difference(point, n)]

    return Identity(differences, prompt_letters(), {}, max(4, legs), degree, 0, (1, 2))


def parts(forms: Forms) -> tuple[Expression, Expression]:
    return forms.expression(REFLECTION, "kept"), forms.expression(REFLECTION, "turned")


def reflection_obligation(forms: Forms) -> Identity:
    kept, turned = parts(forms)

    def difference(point: Point, n: int) -> list[Any]:
        here, there = predicted(point, n), predicted(mirrored(point), n)
        half = flint.fmpq(1, 2)
        return [
            (here + there) * half - summed_over_samples(kept, point, n),
            (here - there) * half - summed_over_samples(turned, point, n),
        ]

    return per_prompt(difference, kept, turned)


def reading_obligation(forms: Forms) -> Identity:
    """kept = s^T A x_q with A = u U + u12 u21^T."""
    kept, turned = parts(forms)

    def difference(point: Point, n: int) -> list[Any]:
        A = point.matrix("U").scaled(point["u"]) + point["u12"] @ point["u21"].T
        total = point.one * 0
        for i in range(1, n + 1):
            total = total + dot(point[f"x[{i}]"], A @ point["x_q"]) * point[f"y[{i}]"]
        return [total * flint.fmpq(1, n) - summed_over_samples(kept, point, n)]

    return per_prompt(difference, kept, turned)


def mixed_obligation(forms: Forms) -> Identity:
    """(kept - g) turned at a prompt and at its mirror image, g the letter alone."""
    kept, turned = parts(forms)

    def difference(point: Point, n: int) -> list[Any]:
        total = point.one * 0
        for at in (point, mirrored(point)):
            reading = summed_over_samples(kept, at, n) - point["g"]
            total = total + reading * summed_over_samples(turned, at, n)
        return [total]

    made = per_prompt(difference, kept, turned)
    return Identity(made.difference, {**made.letters, "g": "scalar"}, {}, 2 * made.pairs, 2 * made.degree, 0, (1, 2))


# The risk from P and Q

MOMENTS: dict[str, Kind] = {
    "P": "symmetric", "Q": "symmetric", "Lambda": "symmetric", "tau": "scalar", "1/N": "scalar",
}  # fmt: skip
DRAWN: dict[str, Kind] = {"m": "vector", "zeta": "vector"}


def risk_of(point: Point, A: Matrix) -> Any:
    """E (s^T A x_q - g(x_q))^2 with s = m + zeta: over x_q first, E x_q x_q^T = Lambda and E x_q g(x_q) = m.

    Quadratic in zeta, of covariance (Q - P)/N, and in m, of second moment P: Gaussian ones have the same means.
    """
    m, zeta = point["m"], point["zeta"]
    pull = A.T @ (m + zeta)
    square = dot(pull, point["Lambda"] @ pull) - dot(pull, m) * 2
    spread = (point.matrix("Q") - point.matrix("P")).scaled(point["1/N"])
    over_samples = gaussian_mean(square, point.numbers["zeta"], spread)
    return gaussian_mean(over_samples, point.numbers["m"], point.matrix("P")) + point["tau"]


def of_risk(difference: Callable[[Point], Any], forms: tuple[Expression, ...], matrices: dict[str, Kind]) -> Identity:
    legs = max([6, *(form.pairs_of_legs(VECTORS) + 3 for form in forms)])
    degree = max([DEGREE, *(form.degree() + 4 for form in forms)])
    return Identity(difference, {**MOMENTS, **matrices}, DRAWN, legs, degree, 0, (1, 2, 3))


def risk_obligation(forms: Forms) -> Identity:
    form = forms.expression(RISK, "right")
    return of_risk(lambda point: risk_of(point, point["A"]) - value(form, point), (form,), {"A": "matrix"})


def slope_obligation(forms: Forms) -> Identity:
    left, right = forms.expression(FIXED_POINT, "left"), forms.expression(FIXED_POINT, "right")

    def difference(point: Point) -> Any:
        A, V = point["A"], point["V"]
        slope = (risk_of(point, A + V) - risk_of(point, A - V)) * flint.fmpq(1, 4)
        return slope - (V.T @ (value(left, point) @ A @ point["Lambda"] - value(right, point))).trace()

    return of_risk(difference, (left, right), {"A": "matrix", "V": "matrix"})


def square_obligation(forms: Forms) -> Identity:
    left, right = forms.expression(FIXED_POINT, "left"), forms.expression(FIXED_POINT, "right")
    minimum = forms.expression(SQUARE, "minimum")

    def difference(point: Point) -> Any:
        A, B, Lambda = point["A"], point["B"], point["Lambda"]
        at, gap = value(left, point), A - B
        residual = at @ B @ Lambda - value(right, point)
        square = (gap.T @ at @ gap @ Lambda).trace()
        remains = (gap.T @ residual).trace() * 2 + (B.T @ residual).trace()
        return risk_of(point, A) - value(minimum, point, **{"A_*": B}) - square - remains

    return of_risk(difference, (left, right, minimum), {"A": "matrix", "B": "matrix"})


# Rotation-invariant laws


def invariant(point: Point) -> Point:
    """Lambda = I, P = (alpha/d) I, Q = (beta/d) I."""
    share = flint.fmpq(1, point.dimension)
    eye = point.matrix("I")
    moments = {letter: eye.scaled(point[name] * share) for letter, name in (("P", "alpha"), ("Q", "beta"))}
    return point.with_values({"Lambda": eye, **moments})


def in_scalars(difference: Callable[[Point], Any], quotients: tuple[Quotient, ...]) -> Identity:
    """An identity between rational functions, multiplied out; alpha and beta are letters, and d occurs as 1/d d."""
    degree = 8 + 2 * sum(max(part.degree() for part in quotient) for quotient in quotients)
    letters: dict[str, Kind] = {name: "scalar" for name in ("alpha", "beta", "tau", "N")}
    return Identity(difference, letters, DRAWN, 1, max(DEGREE, degree), 3, (1, 2, 3, 4))


def rate_obligation(forms: Forms) -> Identity:
    """N left rate = N right."""
    left, right = (cleared(forms.expression(FIXED_POINT, name), 1) for name in ("left", "right"))
    rate = forms.quotient(ROTATIONS, "rate")

    def difference(point: Point) -> Any:
        at = invariant(point)
        top, bottom = parts_of(rate, point)
        return value(left, at) * top - value(right, at) * bottom

    return in_scalars(difference, (rate,))


def least_risk_obligation(forms: Forms) -> Identity:
    """R(rate I) = risk; R(a I) = c0 + c1 a + c2 a^2 with c2 affine in 1/N."""
    rate, risk = forms.quotient(ROTATIONS, "rate"), forms.quotient(ROTATIONS, "risk")

    def coefficients(point: Point, inverse_length: int) -> tuple[Any, Any, Any]:
        at = invariant(point).with_values({"1/N": point.one * inverse_length})
        eye = point.matrix("I")
        none, plus, minus = (risk_of(at, eye.scaled(point.one * a)) for a in (0, 1, -1))
        half = flint.fmpq(1, 2)
        return none, (plus - minus) * half, (plus + minus) * half - none

    def difference(point: Point) -> Any:
        (top, bottom), (above, below) = parts_of(rate, point), parts_of(risk, point)
        N = point["N"]
        (none, linear, at_0), (_, _, at_1) = (coefficients(point, k) for k in (0, 1))
        square = at_1 + (N - point.one) * at_0  # N c2
        mean = (none * bottom**2 + linear * top * bottom) * N + square * top**2
        return mean * below - above * bottom**2 * N

    return in_scalars(difference, (rate, rate, risk))


# Links: alpha, beta and E g^2 from Gaussian means

ONE_SAMPLE: dict[str, Kind] = {"x": "vector", "w": "vector", "eps": "scalar"}


def link_means(point: Point, power: int) -> tuple[Any, Any, Any, Any]:
    """(alpha, E g^2 |x|^2, E g^2, E eps^2 |x|^2) for g = (w.x)^power, Lambda = Psi = I."""
    x, w, eye = point["x"], point["w"], point.matrix("I")
    g = dot(w, x) ** power

    def over(name: str, polynomial: Any) -> Any:
        return gaussian_mean(polynomial, point.numbers[name], eye)

    alpha = point.one * 0
    for i in range(point.dimension):
        m = over("x", g * x[i, 0])
        alpha = alpha + over("w", m * m)
    square = dot(x, x)
    noise = over("x", square) * point["sigma2"]
    return alpha, over("w", over("x", g * g * square)), over("w", over("x", g * g)), noise


def of_link(difference: Callable[[Point], Any], quotients: tuple[Quotient, ...], letters: tuple[str, ...]) -> Identity:
    """A polynomial in d: the means have powers up to 4 of it."""
    power = 4 + sum(max(part.largest_power("d") for part in quotient) for quotient in quotients)
    degree = 16 + sum(max(part.degree() for part in quotient) for quotient in quotients)
    return Identity(
        difference, {name: "scalar" for name in letters}, ONE_SAMPLE, 1, max(DEGREE, degree), power, (1, 2, 3)
    )


def linear_obligation(forms: Forms) -> Identity:
    """gain ((N - 1) alpha + beta) = N alpha, gain inverse = 1."""
    gain, inverse = forms.quotient(LINEAR, "gain"), forms.quotient(LINEAR, "inverse")

    def difference(point: Point) -> list[Any]:
        (top, bottom), (above, below) = parts_of(gain, point), parts_of(inverse, point)
        alpha, square, _, noise = link_means(point, 1)
        N = point["N"]
        rate = top * ((N - point.one) * alpha + square + noise) - bottom * N * alpha
        return [rate, top * above - bottom * below]

    return of_link(difference, (gain, inverse), ("N", "sigma2"))


def link_obligation(step: str, power: int, shares: tuple[flint.fmpq, flint.fmpq]) -> Callable[[Forms], Identity]:
    """alpha, beta and tau; shares: what a ReLU leaves of the means of m and of squares."""

    def prepare(forms: Forms) -> Identity:
        given = tuple(forms.quotient(step, name) for name in ("alpha", "beta", "tau"))

        def difference(point: Point) -> list[Any]:
            alpha, square, tau, noise = link_means(point, power)
            means = (alpha * shares[0] ** 2, square * shares[1] + noise, tau * shares[1])
            pairs = [parts_of(quotient, point) for quotient in given]
            return [mean * bottom - top for mean, (top, bottom) in zip(means, pairs, strict=True)]

        # each difference has one quotient
        largest = max(given, key=lambda one: max(part.largest_power("d") for part in one))
        return of_link(difference, (largest,), ("sigma2",))

    return prepare


def any_tasks_obligation(forms: Forms) -> Identity:
    """P = E m m^T and Q = E y^2 x x^T, entry by entry, for y = (w.x)^3 + eps and x ~ N(0, I), w ~ N(0, Psi)."""
    P, Q = forms.expression(ANY_TASKS, "P"), forms.expression(ANY_TASKS, "Q")

    def difference(point: Point) -> list[Any]:
        d, x, w, eye = point.dimension, point["x"], point["w"], point.matrix("I")
        g = dot(w, x) ** 3
        m = [gaussian_mean(g * x[i, 0], point.numbers["x"], eye) for i in range(d)]
        at_P, at_Q = value(P, point), value(Q, point)
        found = []
        for i in range(d):
            for j in range(i + 1):
                squares = gaussian_mean(g * g * x[i, 0] * x[j, 0], point.numbers["x"], eye)
                first, second = (gaussian_mean(p, point.numbers["w"], point["Psi"]) for p in (m[i] * m[j], squares))
                noise = point["sigma2"] * int(i == j)
                found += [first - at_P[i, j], second + noise - at_Q[i, j]]
                found += [at_P[i, j] - at_P[j, i], at_Q[i, j] - at_Q[j, i]]
        return found

    letters: dict[str, Kind] = {"Psi": "symmetric", "sigma2": "scalar"}
    variables: dict[str, Kind] = {"x": "vector", "w": "vector"}
    legs = max(4, *(form.pairs_of_legs(VECTORS) for form in (P, Q)))  # three Psi, and the two sides of the matrix
    return Identity(difference, letters, variables, legs, max(DEGREE, P.degree(), Q.degree()), 0, (1, 2))


IN_PROMPT = Polynomial(
    "1", "1", frozenset({"x", "y", "x_q", "u12", "U", "u21"}), {"N": (-1,), "u": (1,)}, frozenset({"x", "y"})
)
IN_MOMENTS: dict[str, tuple[int, ...]] = {"N": (-1,), "tau": (1,)}
IN_PSI = Polynomial("d", "d", frozenset({"Psi"}), {"sigma2": (1,)})
LAW = (
    "The law of g enters through P and Q alone: given g the samples are independent of each other and of the query, so "
    "s has mean m and covariance (E[y^2 x x^T | g] - m m^T)/N, and E[x_q g(x_q) | g] = m."
)
SYMMETRY = (
    "Reflection: where -x has the law of x and g(-.) that of g, a prompt and its mirror image (same labels, same "
    "target) are equally likely. Rotations: a symmetric matrix that every rotation keeps is a multiple of I."
)
FOLDING = "ReLU: the mean over both signs of x of x ReLU(w.x) is half of x (w.x), and of ReLU(w.x)^2 half of (w.x)^2."
MINIMUM = (
    "Where W B Lambda = P, the remainder terms vanish: that is the step from B to A*. W = E s s^T is positive "
    "semi-definite, and E e^2 is not negative."
)


def obligations() -> ClaimObligations:
    """The ten steps."""
    half, whole = flint.fmpq(1, 2), flint.fmpq(1)
    return ClaimObligations(
        "nonlinear-targets",
        (
            "x_i, x_q ~ N(0, Lambda); y_i = g(x_i) + eps_i with g independent of them, Var eps = sigma2; target g(x_q)",
            "P = E m m^T with m = E[x y | g], Q = E y^2 x x^T, tau = E g^2; N a positive whole number, d any",
        ),
        {
            REFLECTION: {"kept": IN_PROMPT, "turned": IN_PROMPT},
            MIXED: {},
            RISK: {"right": Polynomial("1", "1", frozenset({"P", "Q", "Lambda", "A"}), IN_MOMENTS)},
            FIXED_POINT: {
                "left": Polynomial("d", "d", frozenset({"P", "Q"}), {"N": (-1,)}),
                "right": Polynomial("d", "d", frozenset({"P", "Q"}), {}),
            },
            SQUARE: {"minimum": Polynomial("1", "1", frozenset({"P", "A_*"}), {"tau": (1,)})},
            ROTATIONS: {
                "rate": Rational(frozenset({"alpha", "beta", "N"})),
                "risk": Rational(frozenset({"alpha", "beta", "N", "tau"})),
            },
            LINEAR: {name: Rational(frozenset({"d", "N", "sigma2"})) for name in ("gain", "inverse")},
            RELU: {name: Rational(frozenset({"d", "sigma2"})) for name in ("alpha", "beta", "tau")},
            CUBIC: {name: Rational(frozenset({"d", "sigma2"})) for name in ("alpha", "beta", "tau")},
            ANY_TASKS: {"P": IN_PSI, "Q": IN_PSI},
        },
        (
            Obligation(
                REFLECTION, "half sum and half difference of f(E)[d, N] and its mirror image", reflection_obligation
            ),
            Obligation(REFLECTION, "kept = s^T A x_q with A = u U + u12 u21^T", reading_obligation),
            Obligation(MIXED, "(kept - g) turned, at a prompt and its mirror image, adds up to 0", mixed_obligation),
            Obligation(RISK, "E (s^T A x_q - g(x_q))^2 = right", risk_obligation),
            Obligation(FIXED_POINT, "half its slope = tr(V^T (left A Lambda - right))", slope_obligation),
            Obligation(
                SQUARE, "R(A) = minimum + tr((A - B)^T left (A - B) Lambda) + terms with left B Lambda - right",
                square_obligation,
            ),
            Obligation(ROTATIONS, "left rate = right at Lambda = I, P = (alpha/d) I, Q = (beta/d) I", rate_obligation),
            Obligation(ROTATIONS, "R(rate I) = risk there", least_risk_obligation),
            Obligation(
                LINEAR, "gain ((N - 1) alpha + beta) = N alpha of linear labels, gain inverse = 1", linear_obligation
            ),
            Obligation(RELU, "alpha, beta, tau, folded", link_obligation(RELU, 1, (half, half))),
            Obligation(CUBIC, "alpha, beta, tau", link_obligation(CUBIC, 3, (whole, whole))),
            Obligation(ANY_TASKS, "E m m^T = P, E y^2 x x^T = Q, entry by entry", any_tasks_obligation),
        ),
        (TRUSTED[0], LAW, *TRUSTED[2:], SYMMETRY, FOLDING, MINIMUM),
    )  # fmt: skip
