"""Obligations of fixed-point-any-start: the slice u = 0, U = 0 for every law, the leaking point of isotropic ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import flint

from ..engines.balls import OnlyZero
from ..engines.expressions import Quotient, evaluate
from ..engines.identities import Identity
from ..engines.inertia import Inertia, inertia
from ..engines.layer import DEGREE, LAW, PAIRS_OF_LEGS, PROMPT, WEIGHTS, population_loss, reduced_loss
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point, make_point
from ..engines.rational_signs import positive_from
from ..engines.refusals import RefutedError
from .fixed_point import completed, of_forms, value
from .obligation import ClaimObligations, Forms, Obligation, Rational, RationalMatrix, of_law
from .population_loss import ASSUMPTIONS, TRUSTED, mean_identity
from .small_instances import determinant, hessian, number

EVEN, SLICE, LEAST = "the loss is even in (u, U) together", "the loss on the slice", "its least value"
LOSSES, STRICT = "losses of the isotropic law", "strict on the slice, up to scale and rotation"
HESSIAN, KIND = "second derivatives by u and U", "local minimum or saddle"
SMALLEST, LENGTH_ONE = "smallest counterexample", "context length one, any dimension"


def on_the_slice(point: Point) -> Point:
    """u = 0, U = 0."""
    return point.with_values({"u": point.one * 0, "U": point["I"] * 0})


# Any law


def even_obligation(forms: Forms) -> Identity:
    del forms

    def difference(point: Point) -> Any:
        turned = point.with_values({"u": -point["u"], "U": -point["U"]})
        return population_loss(point) - population_loss(turned)

    return Identity(difference, {**LAW, **WEIGHTS}, PROMPT, PAIRS_OF_LEGS, DEGREE)


def slice_obligation(forms: Forms) -> Identity:
    form = forms.expression(SLICE, "right")
    return mean_identity(form, lambda point: population_loss(on_the_slice(point)) - value(form, point))


def least_obligation(forms: Forms) -> Identity:
    M, C, minimum = forms.expression(LEAST, "M"), forms.expression(LEAST, "C"), forms.expression(LEAST, "minimum")

    def difference(point: Point) -> Any:
        leak = point["u12"] @ point["u21"].T
        return population_loss(on_the_slice(point)) - completed(point, M, C, minimum, leak, point["B"])

    letters: dict[str, Kind] = {**LAW, **WEIGHTS, "B": "matrix"}
    return of_forms(difference, (M, C, minimum), letters, 3, factors=5)


# The isotropic law without noise, at v = (1, 0, .., 0): its loss does not change under rotations of the covariates


def at(quotient: Quotient, point: Point) -> Any:
    """The value of a rational function at numbers."""
    top, bottom = (number(evaluate(part, point.values, point.one)) for part in quotient)
    if bottom == 0:
        raise RefutedError("a denominator vanishes")
    return top / bottom


def isotropic(point: Point) -> Point:
    """Lambda = Psi = I, sigma2 = 0, for the number N of the point."""
    zero, eye = point.one * 0, point["I"]
    return point.with_values(
        {"Lambda": eye, "Psi": eye, "sigma2": zero, "1/N": point.one / number(point["N"]), "u": zero, "U": eye * 0}
    )


def first_axis(point: Point) -> Matrix:
    """v."""
    return Matrix.build(point.dimension, 1, lambda i, _: point.one * int(i == 0))


def in_numbers(
    difference: Any, quotients: list[Quotient], variables: Mapping[str, Kind], loops: int = PAIRS_OF_LEGS
) -> Identity:
    """An identity between rational functions of d and N, tested at enough d and at a random N each.

    Multiplied out, its sides have powers of d up to `loops` (each takes a pair of legs) and three times those of the
    quotients: the loss is of degree two in g, and is compared with one quotient more. In N they have three times the
    quotients' degrees and 2 of the loss.
    """
    parts = [part for quotient in quotients for part in quotient]
    power = loops + 3 * max(part.largest_power("d") for part in parts)
    degree = max(DEGREE, 2 + 3 * max(part.degree() for part in parts))
    return Identity(difference, {"N": "scalar"}, variables, 1, degree, power, ())


def gain_obligation(forms: Forms) -> Identity:
    """L(v, 0, 0, g v) is stationary at g = gain: the central difference of a quadratic is exact."""
    gain = forms.quotient(LOSSES, "gain")

    def difference(point: Point) -> Any:
        here = isotropic(point)
        g, v = at(gain, point), first_axis(point)
        up, down = (
            population_loss(here.with_values({"u12": v, "u21": v * (point.one * (g + step))})) for step in (1, -1)
        )
        return up - down

    return in_numbers(difference, [gain], PROMPT)


def losses_obligation(forms: Forms) -> Identity:
    gain, loss, minimum = (forms.quotient(LOSSES, name) for name in ("gain", "loss", "minimal loss"))

    def difference(point: Point) -> list[Any]:
        here, g, v = isotropic(point), at(gain, point), first_axis(point)
        leaking = population_loss(here.with_values({"u12": v, "u21": v * (point.one * g)}))
        best = reduced_loss(here, point["I"] * (point.one * g))
        return [leaking - point.one * at(loss, point), best - point.one * at(minimum, point)]

    return in_numbers(difference, [gain, loss, minimum], PROMPT)


def strict_obligation(forms: Forms) -> Identity:
    """Both sides of the step in the certified form of the loss on the slice."""
    form, gain = forms.expression(SLICE, "right"), forms.quotient(LOSSES, "gain")
    loops = max(len(term.closed) for term in form.terms)

    def difference(point: Point) -> Any:
        here, g, v = isotropic(point), at(gain, point), first_axis(point)
        a, b = point["u12"], point["u21"]
        aa, ab, bb = ((p.T @ q)[0, 0] for p, q in ((a, a), (a, b), (b, b)))
        at_point = value(form, here, u12=v, u21=v * (point.one * g))
        rise = (value(form, here) - at_point) * 2
        return rise * g - ((ab - point.one * g) ** 2 + aa * bb - ab**2)

    letters: dict[str, Kind] = {"N": "scalar", "u12": "vector", "u21": "vector"}
    power = loops + 3 * max(part.largest_power("d") for part in gain)  # g^2 in the rise, times g
    degree = max(DEGREE, form.degree() + 3 * max(part.degree() for part in gain))
    return Identity(difference, letters, {}, 4, degree, power, ())


MOVED = ("u", "along", "across")


def hessian_obligation(forms: Forms) -> Identity:
    gain, entries = forms.quotient(LOSSES, "gain"), forms.quotients(HESSIAN, "hessian")

    def difference(point: Point) -> Matrix:
        derived = second_derivatives(point, at(gain, point))
        return Matrix.build(3, 3, lambda i, j: point.one * (derived[i][j] - at(entries[i][j], point)))

    variables: dict[str, Kind] = {**PROMPT, **dict.fromkeys(MOVED, "scalar")}
    return in_numbers(difference, [gain, *(entry for row in entries for entry in row)], variables)


def second_derivatives(point: Point, g: Any) -> list[list[Any]]:
    """Those of L by (u, along, across) at U = along v v^T + across (I - v v^T), u12 = v, u21 = g v."""
    v = first_axis(point)
    projection = v @ v.T
    U = projection * point["along"] + (point["I"] - projection) * point["across"]
    weights = {"u12": v, "u21": v * (point.one * g), "u": point["u"], "U": U}
    loss = population_loss(isotropic(point).with_values(weights))
    unknowns = [point.numbers[name][0] for name in MOVED]
    return hessian(loss, unknowns, [flint.fmpq(0)] * 3)


# Rational functions of d and N alone


def scalar_identity(difference: Any, quotients: list[Quotient]) -> Identity:
    """d and N are letters like others: tested at a random point, since symbols could be made to take minutes."""
    degree = 12 * max(part.degree() for quotient in quotients for part in quotient)
    return Identity(difference, {"d": "scalar", "N": "scalar"}, {}, 1, degree, 0, ())


def kind_obligation(forms: Forms) -> Identity:
    entries, D = forms.quotients(HESSIAN, "hessian"), forms.quotient(KIND, "discriminant")

    def difference(point: Point) -> Any:
        def parts(quotient: Quotient) -> tuple[Any, Any]:
            top, bottom = (evaluate(part, point.values, point.one) for part in quotient)
            return top, bottom

        H = [[parts(entry) for entry in row] for row in entries]
        common = point.one
        for row in H:
            for _, bottom in row:
                common = common * bottom
        # each entry times the product of all denominators, so the determinant is multiplied by its cube
        scaled = [[top * exact_quotient(common, bottom) for top, bottom in row] for row in H]
        top, bottom = parts(D)
        return (
            determinant(Matrix(tuple(tuple(row) for row in scaled))) * bottom
            - top * (point["d"] - point.one) * common**3
        )

    return scalar_identity(difference, [D, *(entry for row in entries for entry in row)])


def exact_quotient(product: Any, factor: Any) -> Any:
    """product / factor for a factor of it."""
    if factor == 0:
        raise RefutedError("a denominator vanishes")
    return product / factor


def at_length_one_obligation(forms: Forms) -> Identity:
    D, at_one = forms.quotient(KIND, "discriminant"), forms.quotient(LENGTH_ONE, "discriminant")

    def difference(point: Point) -> Any:
        here = point.with_values({"N": point.one})
        (top, bottom), (one_top, one_bottom) = (
            tuple(evaluate(part, here.values, point.one) for part in quotient) for quotient in (D, at_one)
        )
        return top * one_bottom - one_top * bottom

    return scalar_identity(difference, [D, at_one])


@dataclass(frozen=True)
class PositiveFrom:
    """A rational function of d is positive for every d from `start` on."""

    form: Quotient
    start: int
    letters: Mapping[str, str] = field(default_factory=lambda: {"d": "scalar"})
    engine: str = field(default="python-flint (exact rational arithmetic)", init=False)

    def evidence(self) -> dict[str, Any]:
        point = make_point({"d": "scalar"}, 1, None, {})
        (k,) = point.numbers["d"]
        parts = [evaluate(part, point.values, point.one) for part in self.form]
        found = [
            positive_from(part, k, self.start, name)
            for name, part in zip(("the numerator", "the denominator"), parts, strict=True)
        ]
        return {"coefficients_of_numerator_at_2_plus_e": found[0], "coefficients_of_denominator_at_2_plus_e": found[1]}

    def check(self, seed: str) -> None:
        del seed
        self.evidence()


def positive_obligation(forms: Forms) -> PositiveFrom:
    return PositiveFrom(forms.quotient(LENGTH_ONE, "discriminant"), 2)


# The smallest counterexample: d = 2, N = 1


def smallest_point(letters: Mapping[str, Kind]) -> Point:
    """Lambda = Psi = I in d = 2, N = 1, without noise; symbols for the given letters."""
    point = make_point(letters, 2, None, PROMPT)
    kept = {name: point[name] for name in letters}
    return isotropic(point.with_values({"N": point.one})).with_values(kept)


@dataclass(frozen=True)
class SmallestCounterexample:
    """L = loss > minimal loss at u12 = v, u21 = g v, u = 0, U = 0, and the Hessian there is positive but for the
    scale and the rotation."""

    gain: Quotient
    loss: Quotient
    minimum: Quotient
    discriminant: Quotient
    letters: Mapping[str, Kind] = field(default_factory=lambda: dict(WEIGHTS))
    engine: str = field(default="python-flint (exact rational arithmetic)", init=False)

    def numbers(self) -> dict[str, Any]:
        point = smallest_point({})
        parts = ("gain", self.gain), ("loss", self.loss), ("minimal loss", self.minimum), ("D", self.discriminant)
        return {name: at(quotient, point) for name, quotient in parts}

    def evidence(self) -> dict[str, Any]:
        values = {name: str(number) for name, number in self.numbers().items()}
        return {**values, "eigenvalues": dict(Inertia(7, 2, 0)._asdict()), "the_zero_ones": "scale and rotation"}

    def check(self, seed: str) -> None:
        del seed
        values, point = self.numbers(), smallest_point(WEIGHTS)
        loss = population_loss(point)
        unknowns = [k for name in WEIGHTS for k in point.numbers[name]]
        zero, one = flint.fmpq(0), flint.fmpq(1)
        leaking = [one, zero, zero, zero, zero, zero, zero, values["gain"], zero]
        found = number(loss.subs(dict(zip(unknowns, leaking, strict=True))))
        if found != values["loss"] or not found > values["minimal loss"] or not values["D"] > 0:
            raise RefutedError(f"the loss there is {found}, claimed are { ({k: str(v) for k, v in values.items()}) }")
        signs = inertia(hessian(loss, unknowns, leaking))
        if signs != Inertia(7, 2, 0):
            raise RefutedError(f"the Hessian there has eigenvalues {dict(signs._asdict())}")


def smallest_obligation(forms: Forms) -> SmallestCounterexample:
    gain, loss, minimum = (forms.quotient(LOSSES, name) for name in ("gain", "loss", "minimal loss"))
    return SmallestCounterexample(gain, loss, minimum, forms.quotient(KIND, "discriminant"))


def isolated_obligation(forms: Forms) -> OnlyZero:
    """u12 = (1, 0) fixes scale and rotation; the derivatives by u12 then vanish with the others."""
    letters: dict[str, Kind] = {"u": "scalar", "U": "matrix", "u21": "vector"}
    point = smallest_point(letters)
    loss = population_loss(point.with_values({"u12": first_axis(point)}))
    unknowns = [k for name in letters for k in point.numbers[name]]
    zero = flint.fmpq(0)
    closed = [*[zero] * 5, at(forms.quotient(LOSSES, "gain"), point), zero]
    return OnlyZero([loss.derivative(k) for k in unknowns], unknowns, closed, letters)


IN_SIZES = Rational(frozenset({"d", "N"}))
ECKART_YOUNG = (
    f"The step {LEAST!r}: that the least value lies at the rank-one truncation, by the theorem of Eckart and Young."
)
ROTATIONS = (
    "The isotropic law does not change under rotations of the covariates, so v is taken along the first axis, and the "
    f"directions of U outside span(v v^T, I - v v^T) do not mix with the others (step {KIND!r}, in words)."
)
DYNAMICS = "That training started near a strict local minimum stays: measured, not certified."


def obligations() -> ClaimObligations:
    """The nine steps."""
    return ClaimObligations(
        "fixed-point-any-start",
        (*ASSUMPTIONS, "from the fourth step on: Lambda = Psi = I, sigma2 = 0, |v| = 1"),
        {
            EVEN: {},
            SLICE: {"right": of_law("u12", "u21", square=False)},
            LEAST: {"M": of_law(), "C": of_law(), "minimum": of_law("A_*", square=False)},
            LOSSES: {"gain": IN_SIZES, "loss": IN_SIZES, "minimal loss": IN_SIZES},
            STRICT: {},
            HESSIAN: {"hessian": RationalMatrix(3, IN_SIZES.symbols)},
            KIND: {"discriminant": IN_SIZES},
            SMALLEST: {},
            LENGTH_ONE: {"discriminant": Rational(frozenset({"d"}))},
        },
        (
            Obligation(EVEN, "L(u12, -u, -U, u21) = L(u12, u, U, u21)", even_obligation),
            Obligation(SLICE, "L(u12, 0, 0, u21) = right", slice_obligation),
            Obligation(
                LEAST,
                "L(u12, 0, 0, u21) = min L + 1/2 tr((A - B)^T M (A - B) Lambda) + terms with the factor M B - C, "
                "at A = u12 u21^T",
                least_obligation,
            ),
            Obligation(LOSSES, "L(v, 0, 0, g v) is stationary in g at g = gain", gain_obligation),
            Obligation(LOSSES, "L(v, 0, 0, gain v) = loss, reduced(gain I) = minimal loss", losses_obligation),
            Obligation(
                STRICT, "2 L(a, 0, 0, b) - 2 L(v, 0, 0, g v) = ((a.b - g)^2 + |a|^2 |b|^2 - (a.b)^2)/g",
                strict_obligation,
            ),
            Obligation(HESSIAN, "d^2 L/d(u, along, across)^2 = hessian", hessian_obligation),
            Obligation(KIND, "det(hessian) = (d - 1) discriminant", kind_obligation),
            Obligation(SMALLEST, "L > min L at a local minimum, strict up to symmetry", smallest_obligation),
            Obligation(SMALLEST, "it is the only critical point in the box, with u12 = (1, 0)", isolated_obligation),
            Obligation(LENGTH_ONE, "discriminant of the step before at N = 1 = discriminant", at_length_one_obligation),
            Obligation(LENGTH_ONE, "discriminant > 0 for every d >= 2", positive_obligation),
        ),
        (*TRUSTED, ECKART_YOUNG, ROTATIONS, DYNAMICS),
    )  # fmt: skip
