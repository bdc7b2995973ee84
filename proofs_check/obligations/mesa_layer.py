r"""Obligations of mesa-layer: one step of the normal equations forwards and back, its adjoint, and both limits.

R' and R'^-1 (here the letter P) are independent letters wherever a product cancels them by name: what holds for
independent letters holds for a matrix and its inverse. Keys and values have one dimension here, m = d: with m < d or d
< m rows of zeros are added to the values, or to the keys, which adds rows of zeros to Phi, or a block lambda I to R.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flint

from ..engines.expressions import Expression, evaluate, read_expression, times
from ..engines.identities import Identity
from ..engines.key_value_sequences import Sequence as KeyValues
from ..engines.key_value_sequences import derivative, discount, random_sequence, slope, sums, weights
from ..engines.key_value_sequences import identity as scaled_identity
from ..engines.layer import dot
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from ..engines.refusals import RefutedError
from .fixed_point import half, value
from .obligation import ClaimObligations, Forms, Obligation, Polynomial
from .population_loss import TRUSTED

GRADIENT, NORMAL, UPDATE, DELTA = "gradient of one step", "normal equations", "update of R", "delta rule"
EVERY, BACK, DIGITS = "least squares at every t", "one step back", "digits lost on the way back"
WORST, PULL, PASSED = "the worst error is met", "pull of one output", "what one step passes on"
WHOLE, SMALL, LARGE = "gradients of the whole sequence", "lambda to 0", "lambda to infinity"
VECTORS = frozenset({"k", "v", "q", "g"})
STEP: dict[str, Kind] = {
    "Phi": "matrix", "Phi'": "matrix", "Z": "matrix", "R'": "symmetric", "R": "symmetric", "P": "symmetric",
    "k": "vector", "v": "vector", "gamma": "scalar",
}  # fmt: skip


def with_inverses(point: Point) -> Point:
    """P stands for both inverses, gamma^-1 under its own name."""
    found = {"R'^-1": point["P"], "R^-1": point["P"]} if "P" in point.values else {}
    return point.with_values(found)


def identity(
    difference: Callable[[Point], Any], letters: Mapping[str, Kind], *forms: Expression, more: int = 6
) -> Identity:
    """An identity in letters of one step; products take at most `more` further factors, of two legs each."""
    pairs = max([4, *(form.pairs_of_legs(VECTORS) + more for form in forms)])
    degree = max([8, *(form.degree() + 2 * more for form in forms)])
    return Identity(lambda point: difference(with_inverses(point)), letters, {}, pairs, degree, 0, (1, 2, 3))


def sandwich(point: Point) -> Any:
    """s = k^T R' k."""
    return dot(point["k"], point["R'"] @ point["k"])


def outer(left: Matrix, right: Matrix) -> Matrix:
    """left right^T."""
    return left @ right.T


def matrix_form(word: str) -> Expression:
    """One letter as an expression."""
    return read_expression({"rows": "d", "cols": "d", "terms": [["1", {}, [], [word]]]})


# Forward


def objective(point: Point, Phi: Matrix) -> Any:
    """gamma L_{t-1} + 1/2 |v - Phi k|^2, L_{t-1} quadratic with its minimum at Phi' and second derivative P."""
    moved, error = Phi - point["Phi'"], point["v"] - Phi @ point["k"]
    return half((moved @ point["P"] @ moved.T).trace() * point["gamma"] + dot(error, error))


def gradient_obligation(forms: Forms) -> Identity:
    form = forms.expression(GRADIENT, "right")

    def difference(point: Point) -> Any:
        Phi, Z = point["Phi"], point["Z"]
        along = half(objective(point, Phi + Z) - objective(point, Phi - Z))
        return along - (Z.T @ value(form, point)).trace()

    return identity(difference, STEP, form)


def normal_obligation(forms: Forms) -> Identity:
    gradient = forms.expression(GRADIENT, "right")
    left, right = (forms.expression(NORMAL, name) for name in ("left", "right"))

    def difference(point: Point) -> Any:
        return point["Phi"] @ value(left, point) - value(right, point) - value(gradient, point)

    return identity(difference, STEP, gradient, left, right)


def update_obligation(forms: Forms) -> Identity:
    """left numerator = denominator I, with R'^-1 R' cancelled."""
    left, numerator = forms.expression(NORMAL, "left"), forms.expression(UPDATE, "numerator")
    denominator, product = forms.expression(UPDATE, "denominator"), times(left, numerator)

    def difference(point: Point) -> Any:
        return value(product, point) - point["I"] * value(denominator, point)

    return identity(difference, STEP, product, denominator)


def positive_denominator(forms: Forms) -> Identity:
    """Both denominators are gamma + s, up to a power of gamma: positive for positive definite R'."""
    of_update, of_delta = forms.expression(UPDATE, "denominator"), forms.expression(DELTA, "denominator")

    def difference(point: Point) -> list[Any]:
        whole = point["gamma"] + sandwich(point)
        return [value(of_update, point) - whole * point["gamma"], value(of_delta, point) - whole]

    return identity(difference, STEP, of_update, of_delta)


def delta_obligation(forms: Forms) -> Identity:
    """(denominator Phi' + change) left = denominator right, with R' R'^-1 cancelled."""
    left, right = (forms.expression(NORMAL, name) for name in ("left", "right"))
    change, denominator = (forms.expression(DELTA, name) for name in ("change", "denominator"))
    product = times(change, left)

    def difference(point: Point) -> Any:
        rest = point["Phi'"] @ value(left, point) - value(right, point)
        return value(product, point) + rest * value(denominator, point)

    return identity(difference, STEP, product, left, right, denominator)


def gain_obligation(forms: Forms) -> Identity:
    """change = (v - Phi' k) (R' k)^T, and R_t k (gamma + s) = R' k: the gain is R_t k."""
    change, numerator = forms.expression(DELTA, "change"), forms.expression(UPDATE, "numerator")

    def difference(point: Point) -> list[Matrix]:
        k, after = point["k"], point["R'"] @ point["k"]
        error = point["v"] - point["Phi'"] @ k
        return [value(change, point) - outer(error, after), value(numerator, point) @ k - after * point["gamma"]]

    return identity(difference, STEP, change, numerator)


# Back


def back_obligation(forms: Forms) -> Identity:
    """(R^-1 - k k^T) numerator = gamma denominator I: the inverse of (R^-1 - k k^T)/gamma."""
    numerator, denominator = (forms.expression(BACK, name) for name in ("numerator", "denominator"))
    product = times(matrix_form("R^-1"), numerator)

    def difference(point: Point) -> Any:
        rest = outer(point["k"], point["k"]) @ value(numerator, point)
        return value(product, point) - rest - point["I"] * (value(denominator, point) * point["gamma"])

    return identity(difference, STEP, product, numerator, denominator)


def change_back_obligation(forms: Forms) -> Identity:
    """(Phi + change/denominator)(R^-1 - k k^T) = Phi R^-1 - v k^T, with R R^-1 cancelled."""
    change, denominator = (forms.expression(BACK, name) for name in ("change", "denominator"))
    product = times(change, matrix_form("R^-1"))

    def difference(point: Point) -> Any:
        k = point["k"]
        rest = outer(point["v"] - point["Phi"] @ k, k) * value(denominator, point)
        return value(product, point) - value(change, point) @ outer(k, k) + rest

    return identity(difference, STEP, product, change, denominator)


def open_obligation(forms: Forms) -> Identity:
    """The way back is open: denominator at R_t, times (gamma + s), is gamma."""
    numerator, below = (forms.expression(UPDATE, name) for name in ("numerator", "denominator"))
    denominator = forms.expression(BACK, "denominator")

    def difference(point: Point) -> list[Any]:
        k, D = point["k"], value(below, point)
        remains = D - dot(k, value(numerator, point) @ k)  # (1 - k^T R_t k) D
        pinned = value(denominator, point) - point.one + dot(k, point["R"] @ k)
        return [remains * (point["gamma"] + sandwich(point)) - D * point["gamma"], pinned]

    return identity(difference, STEP, numerator, below, denominator, more=8)


def factor_obligation(forms: Forms) -> Identity:
    """gamma factor = gamma + s."""
    form = forms.expression(DIGITS, "factor")
    letters: dict[str, Kind] = {"R'": "symmetric", "k": "vector", "1/gamma": "scalar"}

    def difference(point: Point) -> Any:
        return value(form, point) - point.one - sandwich(point) * point["1/gamma"]

    return identity(difference, letters, form)


def worst_obligation(forms: Forms) -> Identity:
    """k^T R_t k (gamma + s) = s: before, the size s/gamma is 1 + s/gamma times k^T R_t k."""
    numerator, below = (forms.expression(UPDATE, name) for name in ("numerator", "denominator"))

    def difference(point: Point) -> Any:
        k, s = point["k"], sandwich(point)
        return dot(k, value(numerator, point) @ k) * (point["gamma"] + s) - value(below, point) * s

    return identity(difference, STEP, numerator, below, more=8)


# Gradients


OUTPUT: dict[str, Kind] = {
    "Phi": "matrix", "R": "symmetric", "q": "vector", "g": "vector", "dB": "matrix", "dP": "symmetric", "z": "vector"
}  # fmt: skip


def pull_obligation(forms: Forms) -> Identity:
    """g.(dB - Phi dP) R q = <cross, dB> + <precision, dP>, precision symmetric; g.Phi z = query.z."""
    cross, precision, query = (forms.expression(PULL, name) for name in ("cross", "precision", "query"))

    def difference(point: Point) -> list[Any]:
        after, at = point["R"] @ point["q"], value(precision, point)
        moved = (point["dB"] - point["Phi"] @ point["dP"]) @ after
        paired = (value(cross, point).T @ point["dB"]).trace() + (at @ point["dP"]).trace()
        along = dot(point["g"], point["Phi"] @ point["z"]) - dot(value(query, point), point["z"])
        return [dot(point["g"], moved) - paired, at - at.T, along]

    return identity(difference, OUTPUT, cross, precision, query)


def derivative_of_inverse_obligation(forms: Forms) -> Identity:
    """(P + dP)(R - R dP R) - I = P R - I - (P R - I) dP R - dP R dP R: the last term alone where P R = I."""
    del forms
    letters: dict[str, Kind] = {"P": "symmetric", "R": "symmetric", "dP": "symmetric"}

    def difference(point: Point) -> Any:
        P, R, dP, one = (point[name] for name in ("P", "R", "dP", "I"))
        off = P @ R - one
        second = (dP @ R) @ (dP @ R)
        return (P + dP) @ (R - R @ dP @ R) - one - off + off @ dP @ R + second

    return identity(difference, letters)


PASSING: dict[str, Kind] = {
    "Bbar": "matrix", "Pbar": "symmetric", "B'": "matrix", "P'": "symmetric", "k": "vector", "v": "vector",
    "z": "vector", "gamma": "scalar", "h": "scalar", "dB": "matrix", "dP": "symmetric",
}  # fmt: skip


def pairing(point: Point) -> Any:
    """<Bbar, gamma B' + v k^T> + <Pbar, gamma P' + k k^T>."""
    gamma, k = point["gamma"], point["k"]
    cross, precision = point["B'"] * gamma + outer(point["v"], k), point["P'"] * gamma + outer(k, k)
    return (point["Bbar"].T @ cross).trace() + (point["Pbar"] @ precision).trace()


def passed_obligation(forms: Forms) -> Identity:
    """Central differences of the pairing, exact for polynomials of degree two in each letter."""
    key, passed, gate, cross, precision = (
        forms.expression(PASSED, name) for name in ("key", "value", "gate", "carried B", "carried P")
    )

    def along(point: Point, name: str, step: Any) -> Any:
        up, down = (point.with_values({name: point[name] + step * sign}) for sign in (1, -1))
        return half(pairing(up) - pairing(down))

    def difference(point: Point) -> list[Any]:
        z, h, dB, dP = (point[name] for name in ("z", "h", "dB", "dP"))
        at = value(precision, point)
        return [
            along(point, "k", z) - dot(value(key, point), z),
            along(point, "v", z) - dot(value(passed, point), z),
            along(point, "gamma", h) - value(gate, point) * h,
            along(point, "B'", dB) - (value(cross, point).T @ dB).trace(),
            along(point, "P'", dP) - (at @ dP).trace(),
            at - at.T,
        ]

    return identity(difference, PASSING, key, passed, gate, cross, precision)


def regulariser_obligation(forms: Forms) -> Identity:
    """form = -t^2 tr(Pbar) with t = 1/lambda: the derivative of t tr(Pbar) in lambda."""
    form = forms.expression(WHOLE, "regulariser")
    letters: dict[str, Kind] = {"Pbar": "symmetric", "1/lam": "scalar"}

    def difference(point: Point) -> Any:
        t = point["1/lam"]
        return value(form, point) + t * t * point["Pbar"].trace()

    return identity(difference, letters, form)


# Limits


LIMIT: dict[str, Kind] = {"B": "matrix", "S": "symmetric", "R": "symmetric", "S^-1": "symmetric", "1/c": "scalar"}


def off_inverse(point: Point) -> Matrix:
    """(I/c + S) R - I: zero where R is the inverse."""
    eye = point.matrix("I")
    inverse: Matrix = eye * point["1/c"] + point.matrix("S")
    return inverse @ point.matrix("R") - eye


def small_obligation(forms: Forms) -> Identity:
    """B R/c - B - remainder = B ((I/c + S) R - I)."""
    form = forms.expression(SMALL, "remainder")

    def difference(point: Point) -> Any:
        B = point["B"]
        return B @ point["R"] * point["1/c"] - B - value(form, point) - B @ off_inverse(point)

    return identity(difference, LIMIT, form)


def large_obligation(forms: Forms) -> Identity:
    """B R - B S^-1 - remainder = B S^-1 ((I/c + S) R - I) + B (I - S^-1 S) R."""
    form = forms.expression(LARGE, "remainder")

    def difference(point: Point) -> Any:
        B, R, X = point["B"], point["R"], point["S^-1"]
        rest = B @ X @ off_inverse(point) + B @ (point["I"] - X @ point["S"]) @ R
        return B @ R - B @ X - value(form, point) - rest

    return identity(difference, LIMIT, form)


# Whole sequences, in rational numbers drawn from the seed


SIZES = ((1, 1, 1), (2, 1, 2), (4, 2, 2), (3, 3, 1), (5, 2, 3), (6, 4, 2))  # (T, d, m)


@dataclass(frozen=True)
class RandomSequences:
    """A statement on whole sequences, asked at random rational ones of the sizes (T, d, m).

    ask    sequence, and another one as direction -> pairs that have to be equal
    """

    ask: Callable[[KeyValues, KeyValues], Sequence[tuple[Any, Any]]]
    sizes: tuple[tuple[int, int, int], ...] = SIZES
    engine = "python-flint (exact rational arithmetic)"

    @property
    def letters(self) -> Mapping[str, str]:
        return {}

    def evidence(self) -> dict[str, Any]:
        return {"random_rational_sequences_of_T_d_m": [list(size) for size in self.sizes]}

    def check(self, seed: str) -> None:
        """Raises RefutedError at the first sequence where two numbers differ."""
        for size in self.sizes:
            draw = random.Random(f"{seed}/{size}")
            sequence, direction = random_sequence(draw, *size), random_sequence(draw, *size)
            if any(left != right for left, right in self.ask(sequence, direction)):
                raise RefutedError(f"the two sides differ at a random sequence with T, d, m = {size}")


def as_matrix(numbers: Any) -> Matrix:
    """fmpq_mat as a Matrix."""
    return Matrix(tuple(tuple(numbers[i, j] for j in range(numbers.ncols())) for i in range(numbers.nrows())))


def as_numbers(matrix: Matrix) -> Any:
    """A Matrix of rationals as fmpq_mat."""
    rows, cols = matrix.shape
    return flint.fmpq_mat(rows, cols, [flint.fmpq(entry) for entry in matrix.entries()])


def at(form: Expression, letters: Mapping[str, Any]) -> Any:
    """A form at rational letters: fmpq_mat or fmpq. The forms know one dimension: Phi is read row by row."""
    size = letters["k"].nrows() if "k" in letters else next(iter(letters.values())).nrows()
    named = {name: as_matrix(one) if hasattr(one, "nrows") else one for name, one in letters.items()}
    one = flint.fmpq(1)
    eye = Matrix.build(size, size, lambda i, j: one if i == j else one * 0)
    return evaluate(form, {**named, "I": eye}, one)


def padded(numbers: Any, rows: int, cols: int) -> Any:
    """Zeros below and to the right."""
    found = flint.fmpq_mat(rows, cols)
    for i in range(numbers.nrows()):
        for j in range(numbers.ncols()):
            found[i, j] = numbers[i, j]
    return found


def square_sequence(sequence: KeyValues) -> KeyValues:
    """Keys and values padded with zeros to one dimension."""
    size = max(sequence.keys[0].nrows(), sequence.values[0].nrows())
    keys, values, queries = (
        [padded(one, size, 1) for one in listed] for listed in (sequence.keys, sequence.values, sequence.queries)
    )
    return KeyValues(keys, values, queries, sequence.gates, sequence.regulariser)


@dataclass(frozen=True)
class Recursion:
    """The forms of update and delta rule, run in rational numbers."""

    inverse: Expression
    below: Expression
    change: Expression
    under: Expression

    @classmethod
    def of(cls, forms: Forms) -> Recursion:
        update = (forms.expression(UPDATE, name) for name in ("numerator", "denominator"))
        return cls(*update, *(forms.expression(DELTA, name) for name in ("change", "denominator")))

    def states(self, sequence: KeyValues) -> list[tuple[Any, Any]]:
        """(R_t, Phi_t) for t = 0 .. T, from R_0 = lambda I and Phi_0 = 0."""
        size = sequence.keys[0].nrows()
        found = [(scaled_identity(size, sequence.regulariser), flint.fmpq_mat(size, size))]
        for k, v, gate in zip(sequence.keys, sequence.values, sequence.gates, strict=True):
            R, Phi = found[-1]
            letters = {"R'": R, "Phi'": Phi, "k": k, "v": v, "gamma": gate}
            Phi = Phi + as_numbers(at(self.change, letters)) / at(self.under, letters)
            found.append((as_numbers(at(self.inverse, letters)) / at(self.below, letters), Phi))
        return found


def recursion_obligation(forms: Forms) -> RandomSequences:
    """Phi_t by update and delta rule: dL_t/dPhi = 0 at every t."""
    recursion = Recursion.of(forms)

    def ask(given: KeyValues, direction: KeyValues) -> list[tuple[Any, Any]]:
        del direction
        sequence = square_sequence(given)
        states = recursion.states(sequence)
        return [(entry, 0) for t in range(1, len(states)) for entry in slope(sequence, t, states[t][1])]

    return RandomSequences(ask)


def all_the_way_back_obligation(forms: Forms) -> RandomSequences:
    """From (R_T, Phi_T) by the forms of the step back: every (R_t, Phi_t) down to lambda I and 0."""
    recursion = Recursion.of(forms)
    numerator, below, change = (forms.expression(BACK, name) for name in ("numerator", "denominator", "change"))

    def ask(given: KeyValues, direction: KeyValues) -> list[tuple[Any, Any]]:
        del direction
        sequence = square_sequence(given)
        states = recursion.states(sequence)
        (R, Phi), pairs = states[-1], []
        for t in range(len(sequence), 0, -1):
            letters = {
                "R": R, "Phi": Phi, "k": sequence.keys[t - 1], "v": sequence.values[t - 1],
                "gamma": sequence.gates[t - 1],
            }  # fmt: skip
            divisor = at(below, letters)
            R = as_numbers(at(numerator, letters)) / divisor
            Phi = Phi + as_numbers(at(change, letters)) / divisor
            pairs += [(R, states[t - 1][0]), (Phi, states[t - 1][1])]
        return pairs

    return RandomSequences(ask)


def way_back_obligation(forms: Forms) -> RandomSequences:
    """An error carried back over all steps, R' P E P R'/gamma at each, is (lambda^2/zeta_T0) P_T E P_T."""
    del forms

    def ask(sequence: KeyValues, direction: KeyValues) -> list[tuple[Any, Any]]:
        T = len(sequence)
        error = carried = sums(direction, T)[1]  # any symmetric matrix
        for t in range(T, 0, -1):
            before = sums(sequence, t - 1)[1].inv() * sums(sequence, t)[1]
            carried = before * carried * before.transpose() / sequence.gates[t - 1]
        P, scale = sums(sequence, T)[1], sequence.regulariser**2 / discount(sequence, T, 0)
        return [(carried, P * error * P * scale)]

    return RandomSequences(ask)


def gradients_obligation(forms: Forms) -> RandomSequences:
    """d sum_t g_t.o_t along a random direction, by blocks, and by the backward pass of the forms."""

    def ask(given: KeyValues, along: KeyValues) -> list[tuple[Any, Any]]:
        sequence, direction = square_sequence(given), square_sequence(along)
        pulls = direction.values[::-1]
        literal = flint.fmpq(0)
        for t in range(1, len(sequence) + 1):
            moved = derivative(sequence, direction, t) * sequence.queries[t - 1]
            moved = moved + weights(sequence, t) * direction.queries[t - 1]
            literal += (pulls[t - 1].transpose() * moved)[0, 0]
        return [(literal, backward(forms, sequence, direction, pulls))]

    return RandomSequences(ask)


def backward(forms: Forms, sequence: KeyValues, direction: KeyValues, pulls: list[Any]) -> Any:
    """The pairing of the gradients with the direction."""
    pull = {name: forms.expression(PULL, name) for name in ("cross", "precision", "query")}
    passed = {name: forms.expression(PASSED, name) for name in ("key", "value", "gate", "carried B", "carried P")}
    size = sequence.keys[0].nrows()
    cross, precision, total = flint.fmpq_mat(size, size), flint.fmpq_mat(size, size), flint.fmpq(0)
    for t in range(len(sequence), 0, -1):
        (cross_before, before), (sum_cross, now) = sums(sequence, t - 1), sums(sequence, t)
        letters = {
            "k": sequence.keys[t - 1], "v": sequence.values[t - 1], "q": sequence.queries[t - 1], "g": pulls[t - 1],
            "gamma": sequence.gates[t - 1], "R": now.inv(), "Phi": sum_cross * now.inv(), "B'": cross_before,
            "P'": before,
        }  # fmt: skip
        cross = cross + as_numbers(at(pull["cross"], letters))
        precision = precision + as_numbers(at(pull["precision"], letters))
        letters |= {"Bbar": cross, "Pbar": precision}
        steps = (direction.keys, direction.values, direction.queries)
        slopes = (at(passed["key"], letters), at(passed["value"], letters), at(pull["query"], letters))
        for step, gradient in zip(steps, slopes, strict=True):
            total += (step[t - 1].transpose() * as_numbers(gradient))[0, 0]
        total += at(passed["gate"], letters) * direction.gates[t - 1]
        cross, precision = (as_numbers(at(passed[name], letters)) for name in ("carried B", "carried P"))
    last = {"Pbar": precision, "1/lam": 1 / sequence.regulariser}
    return total + at(forms.expression(WHOLE, "regulariser"), last) * direction.regulariser


# The list


def polynomial(letters: str, powers: Mapping[str, tuple[int, ...]], rows: str = "d", cols: str = "d") -> Polynomial:
    return Polynomial(rows, cols, frozenset(letters.split()), powers)


ONE = {"gamma": (1,)}
TWO = {"gamma": (1, 2)}
INDUCTION = (
    "The induction over t: L_0 = |Phi|^2/(2 lambda), L_t = gamma_t L_{t-1} + 1/2 |v_t - Phi k_t|^2, and a quadratic is "
    "given by its minimum, its second derivative and a constant. Whole sequences are confirmed at random rational ones."
)
SIGNS = (
    "Positive definite R' stays so: gamma R'^-1 + k k^T is positive definite for gamma > 0, so gamma + s > 0 and "
    "1 - k^T R k = gamma/(gamma + s) > 0."
)
NORMS = (
    "That R' moves by R' P E P R'/gamma to first order where R moves by E, as d(P^-1) = -R dP R says twice. The norms: "
    "|R^(1/2) P R^(1/2)| of gamma I + (a matrix of rank one) is gamma plus its trace; R has the eigenvalues "
    "c/(1 + c mu_i) where S has mu_i >= 0, which gives both bounds."
)


def obligations() -> ClaimObligations:
    """The thirteen steps."""
    return ClaimObligations(
        "mesa-layer",
        (
            "any keys, values and queries; lambda > 0, 0 < gamma_t <= 1",
            "L_t = 1/2 sum_i zeta_ti |v_i - Phi k_i|^2 + zeta_t0/(2 lambda) |Phi|_F^2, zeta_ti = gamma_{i+1} .. "
            "gamma_t",
        ),
        {
            GRADIENT: {"right": polynomial("Phi Phi' R'^-1 k v", ONE)},
            NORMAL: {"left": polynomial("R'^-1 k", ONE), "right": polynomial("Phi' R'^-1 k v", ONE)},
            UPDATE: {"numerator": polynomial("R' k", ONE), "denominator": polynomial("R' k", TWO, "1", "1")},
            DELTA: {"change": polynomial("Phi' R' k v", {}), "denominator": polynomial("R' k", ONE, "1", "1")},
            EVERY: {},
            BACK: {
                "numerator": polynomial("R k", ONE), "denominator": polynomial("R k", {}, "1", "1"),
                "change": polynomial("Phi R k v", {}),
            },
            DIGITS: {"factor": polynomial("R' k", {"gamma": (-1,)}, "1", "1")},
            WORST: {},
            PULL: {
                "cross": polynomial("g q R", {}), "precision": polynomial("Phi g q R", {}),
                "query": polynomial("Phi g", {}, "d", "1"),
            },
            PASSED: {
                "key": polynomial("Bbar Pbar k v", {}, "d", "1"), "value": polynomial("Bbar k", {}, "d", "1"),
                "gate": polynomial("Bbar Pbar B' P'", {}, "1", "1"), "carried B": polynomial("Bbar", ONE),
                "carried P": polynomial("Pbar", ONE),
            },
            WHOLE: {"regulariser": polynomial("Pbar", {"lam": (-2,)}, "1", "1")},
            SMALL: {"remainder": polynomial("B S R", {})},
            LARGE: {"remainder": polynomial("B S^-1 R", {"c": (-1,)})},
        },
        (
            Obligation(
                GRADIENT, "half the central difference of gamma L' + 1/2 |v - Phi k|^2 = right", gradient_obligation
            ),
            Obligation(NORMAL, "Phi left - right = the gradient", normal_obligation),
            Obligation(UPDATE, "left numerator = denominator I", update_obligation),
            Obligation(DELTA, "(Phi' + change/denominator) left = right", delta_obligation),
            Obligation(DELTA, "the denominators are gamma + k^T R' k, times gamma in the update", positive_denominator),
            Obligation(DELTA, "change = (v - Phi' k)(R' k)^T and (gamma + k^T R' k) R_t k = R' k", gain_obligation),
            Obligation(EVERY, "the literal objective has slope 0 at every Phi_t", recursion_obligation),
            Obligation(BACK, "(R^-1 - k k^T)/gamma numerator = denominator I", back_obligation),
            Obligation(BACK, "(Phi + change/denominator)(R^-1 - k k^T) = Phi R^-1 - v k^T", change_back_obligation),
            Obligation(BACK, "denominator = 1 - k^T R k = gamma/(gamma + k^T R' k)", open_obligation),
            Obligation(BACK, "from R_T, Phi_T back to lambda I and 0, by every step", all_the_way_back_obligation),
            Obligation(DIGITS, "factor = 1 + k^T R' k/gamma", factor_obligation),
            Obligation(
                DIGITS, "R' P E P R'/gamma over all steps = (lambda^2/zeta_T0) P_T E P_T", way_back_obligation
            ),
            Obligation(WORST, "(gamma + k^T R' k) k^T R k = k^T R' k", worst_obligation),
            Obligation(PULL, "g.(dB - Phi dP) R q = <cross, dB> + <precision, dP>; g.Phi z = query.z", pull_obligation),
            Obligation(
                PULL, "(P + dP)(R - R dP R) = I up to dP R dP R, where P R = I", derivative_of_inverse_obligation
            ),
            Obligation(PASSED, "central differences of <Bbar, B> + <Pbar, P> over one step", passed_obligation),
            Obligation(WHOLE, "regulariser = -tr(Pbar)/lambda^2", regulariser_obligation),
            Obligation(
                WHOLE, "the gradients along a direction = the derivative of the literal sums", gradients_obligation
            ),
            Obligation(SMALL, "B R/c - B = remainder, where (I/c + S) R = I", small_obligation),
            Obligation(LARGE, "B R - B S^-1 = remainder, where (I/c + S) R = I", large_obligation),
        ),
        (TRUSTED[0], *TRUSTED[2:], INDUCTION, SIGNS, NORMS),
    )  # fmt: skip
