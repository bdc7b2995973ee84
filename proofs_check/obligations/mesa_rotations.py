"""Obligations of mesa-compressed-depth and mesa-probing: means over rotations, from the layer and the group themselves.

Main statements
    signed permutations   the mean of O^T M O over the 2^d d! of them, entry by entry, for d = 1, 2, 3 with symbols
    in every dimension    a multiple of I has the trace of M: with the commutant that fixes it
    rotations             in the plane O = [[p, -q], [q, p]]/r with independent normal p, q: a polynomial of degree four
                          in O has the mean of the same in p, q over E r^4 = 8. In space O is quadratic in a quaternion
                          of four normals over r^2, and E r^8 = 1920
    contractions          joined with each of the three pairings, a mean and what it is the mean of are the same number
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import permutations, product
from typing import Any

import flint

from ..engines.expressions import Expression, evaluate
from ..engines.gaussian_means import gaussian_mean
from ..engines.identities import Identity
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point, make_point
from ..engines.relations import Relation, Relations
from .obligation import ClaimObligations, FormKind, Forms, Obligation, Polynomial

SEQUENCES, COVARIANCE, BLOCK, LAYER, CONTRACTIONS, RISK = (
    "rotated sequences",
    "covariance of the layer",
    "mean of a block",
    "mean of a layer",
    "contractions",
    "risk of the mean layer",
)
TARGETS, MOMENTS, PROBE, ERROR = "targets that turn with the sequence", "second moments", "probe", "error of the probe"
PAIRED: dict[str, Kind] = {"P": "matrix", "K": "matrix"}
TOKENS: dict[str, Kind] = {"x": "vector", "y": "vector", "z": "vector"}
NAMES = ("a1", "a2", "a3")
LARGEST_GROUP = 3  # signed permutations are listed up to this dimension


def value(form: Expression, point: Point) -> Any:
    """A form at a point."""
    return evaluate(form, point.values, point.one)


def dot(left: Matrix, right: Matrix) -> Any:
    """left . right of two columns."""
    return (left.T @ right)[0, 0]


def head(P: Matrix, K: Matrix, x: Matrix, y: Matrix, z: Matrix) -> Matrix:
    """P x (y^T K z)."""
    return (P @ x).scaled(dot(y, K @ z))


def signed_permutations(size: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Orders and signs of all 2^d d! of them."""
    return product(permutations(range(size)), product((1, -1), repeat=size))


def turned(M: Matrix, order: tuple[int, ...], signs: tuple[int, ...]) -> Matrix:
    """O^T M O for the signed permutation."""
    size = len(order)
    return Matrix.build(size, size, lambda i, j: M[order[i], order[j]] * (signs[i] * signs[j]))


def group_mean(M: Matrix, one: Any) -> Matrix:
    """The mean of O^T M O over all signed permutations."""
    group, total = list(signed_permutations(M.shape[0])), M * 0
    for order, signs in group:
        total = total + turned(M, order, signs)
    return total.scaled(one * flint.fmpq(1, len(group)))


def terms(difference: Any) -> int:
    """How many terms a ring element or all entries of a matrix have together: 0 for zero."""
    entries = difference.entries() if isinstance(difference, Matrix) else [difference]
    return sum(len(entry.to_dict()) for entry in entries)


def vanish(named: Callable[[], Iterator[tuple[str, Any]]]) -> Relations:
    """Differences, by name, that have no terms."""
    return Relations(lambda: [Relation(f"terms of {name}", terms(one), "=", 0) for name, one in named()])


# The law and the layer


def sequence_obligation(forms: Forms) -> Identity:
    """O^T (O W O^T O s + O e) - (W s + e) holds O^T O as a factor: with Q for O^T, a left inverse, in all letters."""
    del forms
    letters: dict[str, Kind] = {"O": "matrix", "W": "matrix", "s": "vector", "e": "vector"}

    def difference(point: Point) -> Any:
        R, W, s, e = (point[name] for name in letters)
        gram = R.T @ R
        return R.T @ (R @ W @ R.T @ R @ s + R @ e) - gram @ (W @ gram @ s + e)

    return Identity(difference, letters, {}, 6, 9)


def covariance_obligation(forms: Forms) -> Identity:
    """Turned tokens are turned weights, for any matrix in the place of O."""
    del forms
    letters: dict[str, Kind] = {**PAIRED, **TOKENS, "O": "matrix"}

    def difference(point: Point) -> Any:
        P, K, x, y, z, R = (point[name] for name in ("P", "K", "x", "y", "z", "O"))
        return R.T @ head(P, K, R @ x, R @ y, R @ z) - head(R.T @ P @ R, R.T @ K @ R, x, y, z)

    return Identity(difference, letters, {}, 8, 9, components=(1, 2))


# The mean of a block


def block_obligation(forms: Forms) -> Relations:
    form = forms.expression(BLOCK, "mean")

    def differences() -> Iterator[tuple[str, Any]]:
        for d in range(1, LARGEST_GROUP + 1):
            point = make_point({"M": "matrix"}, d, None, {})
            yield f"d mean(O^T M O) - mean at d = {d}", group_mean(point["M"], point.one) * d - value(form, point)

    return vanish(differences)


def trace_obligation(forms: Forms) -> Identity:
    """The form is tr(M) I: contracted with any V it is tr(M) tr(V), in every dimension."""
    form = forms.expression(BLOCK, "mean")

    def difference(point: Point) -> Any:
        return (point["V"].T @ value(form, point)).trace() - point["M"].trace() * point["V"].trace()

    return Identity(difference, {"M": "matrix", "V": "matrix"}, {}, 2, max(form.degree(), 2) + 1)


# The mean of a layer


def layer_forms(forms: Forms) -> tuple[list[Expression], Expression]:
    return [forms.expression(LAYER, name) for name in NAMES], forms.expression(LAYER, "D")


def contraction_obligation(forms: Forms) -> Identity:
    """d^2 a_1 + d a_2 + d a_3 = D tr P tr K, and the other two, in every dimension."""
    numerators, common = layer_forms(forms)

    def difference(point: Point) -> list[Any]:
        P, K, d = point["P"], point["K"], point["d"]
        a, D = [value(one, point) for one in numerators], value(common, point)
        whole = (P.trace() * K.trace(), (P.T @ K).trace(), (P @ K).trace())
        total = a[0] + a[1] + a[2]
        return [one * d * d + (total - one) * d - D * contracted for one, contracted in zip(a, whole, strict=True)]

    powers = max(one.largest_power("d") for one in (*numerators, common)) + 2
    return Identity(difference, PAIRED, {}, 2, max(one.degree() for one in (*numerators, common)) + 4, powers)


def denominator_obligation(forms: Forms) -> Identity:
    """D = d (d - 1)(d + 2): without it forms that are all zero would pass."""
    common = forms.expression(LAYER, "D")

    def difference(point: Point) -> Any:
        d, one = point["d"], point.one
        return value(common, point) - d * (d - one) * (d + one * 2)

    return Identity(difference, {}, {}, 1, 4, 3)


def mean_output(point: Point, numerators: list[Expression]) -> Matrix:
    """a_1 x (y.z) + a_2 y (x.z) + a_3 z (x.y)."""
    x, y, z = (point[name] for name in TOKENS)
    a1, a2, a3 = (value(one, point) for one in numerators)
    total: Matrix = x.scaled(a1 * dot(y, z)) + y.scaled(a2 * dot(x, z)) + z.scaled(a3 * dot(x, y))
    return total


def plane_turns(point: Point) -> list[Matrix]:
    """r O for rotations and for reflections, in the numbers p, q."""
    (p,), (q,) = (tuple(point[name].entries()) for name in ("p", "q"))
    return [Matrix(((p, -q), (q, p))), Matrix(((p, q), (q, -p)))]


def quaternion_turn(point: Point) -> Matrix:
    """r^2 O for the rotation of a quaternion of length r."""
    a, b, c, e = (next(iter(point[name].entries())) for name in "pqrs")
    two = 2
    return Matrix(
        (
            (a * a + b * b - c * c - e * e, (b * c - a * e) * two, (b * e + a * c) * two),
            ((b * c + a * e) * two, a * a - b * b + c * c - e * e, (c * e - a * b) * two),
            ((b * e - a * c) * two, (c * e + a * b) * two, a * a - b * b - c * c + e * e),
        )
    )


def normal_mean(point: Point, matrix: Matrix, names: str) -> Matrix:
    """The mean over independent standard normals, entry by entry."""
    numbers = [point.numbers[name][0] for name in names]
    eye = {(i, j): int(i == j) for i in range(len(names)) for j in range(len(names))}
    return matrix.map(lambda entry: gaussian_mean(entry, numbers, eye))


def plane_obligation(forms: Forms) -> Relations:
    """Every entry of P, K, x, y, z a symbol: the mean over O(2)."""
    numerators, common = layer_forms(forms)

    def differences() -> Iterator[tuple[str, Any]]:
        point = in_normals({**PAIRED, **TOKENS}, 2, "pq")
        P, K, x, y, z = (point[name] for name in ("P", "K", "x", "y", "z"))
        total = x * 0
        for R in plane_turns(point):
            total = total + normal_mean(point, R.T @ head(P, K, R @ x, R @ y, R @ z), "pq")
        mean = total * flint.fmpq(1, 2 * 8)
        yield "D mean over O(2) - (a1, a2, a3)", mean * value(common, point) - mean_output(point, numerators)

    return vanish(differences)


def space_obligation(forms: Forms) -> Relations:
    """The mean over SO(3) at blocks of whole numbers, x, y, z unit vectors; -1 does nothing to a degree of four."""
    numerators, common = layer_forms(forms)

    def differences() -> Iterator[tuple[str, Any]]:
        for places in ((0, 1, 1), (0, 0, 1), (0, 1, 0), (0, 1, 2)):
            point = with_whole_numbers(in_normals({}, 3, "pqrs"), places)
            P, K, x, y, z = (point[name] for name in ("P", "K", "x", "y", "z"))
            R = quaternion_turn(point)
            mean = normal_mean(point, R.T @ head(P, K, R @ x, R @ y, R @ z), "pqrs") * flint.fmpq(1, 1920)
            off = mean * value(common, point) - mean_output(point, numerators)
            yield f"D mean over SO(3) - (a1, a2, a3) at e_{places}", off

    return vanish(differences)


def in_normals(letters: dict[str, Kind], dimension: int, names: str) -> Point:
    """A point with symbols for letters, and scalar generators for normals, as 1 x 1 matrices."""
    point = make_point(letters, dimension, None, dict.fromkeys(names, "scalar"))
    return point.with_values({name: Matrix(((point[name],),)) for name in names})


def with_whole_numbers(point: Point, places: tuple[int, int, int]) -> Point:
    """P and K of whole numbers between -9 and 9, and x, y, z the unit vectors of these places."""
    d, draw = point.dimension, random.Random(f"mean over SO(3)/{places}")
    squares = {name: Matrix.build(d, d, lambda i, j: point.one * draw.randint(-9, 9)) for name in PAIRED}
    return point.with_values({**squares, **{name: unit(point, at) for name, at in zip(TOKENS, places, strict=True)}})


def unit(point: Point, at: int) -> Matrix:
    """The unit vector of a place."""
    return Matrix.build(point.dimension, 1, lambda i, _: point.one * int(i == at))


# The risk of the mean


def risk_obligation(forms: Forms) -> Relations:
    """For d = 2 and a target t, over the eight signed permutations g, with f_g = g^T head(g e):

    mean |f_g - t|^2 = |mean f - t|^2 + mean |f_g - mean f|^2. The prompt g e has the error |f_g - t|, and the mean of
    all turned weights makes of it g mean f.
    """
    del forms

    def differences() -> Iterator[tuple[str, Any]]:
        point = make_point({**PAIRED, **TOKENS, "t": "vector"}, 2, "risk of the mean layer", {})
        P, K, x, y, z, t = (point[name] for name in ("P", "K", "x", "y", "z", "t"))
        group = list(signed_permutations(2))
        made = [head(turned(P, *g), turned(K, *g), x, y, z) for g in group]
        share = flint.fmpq(1, len(group))
        mean = sum(made[1:], made[0]) * share
        risk = sum((dot(one - t, one - t) for one in made), point.one * 0) * share
        spread = sum((dot(one - mean, one - mean) for one in made), point.one * 0) * share
        yield "risk - risk of the mean - spread", risk - dot(mean - t, mean - t) - spread

    return vanish(differences)


OF_PAIR = Polynomial("1", "1", frozenset({"P", "K"}), {"d": (1,)})
BLOCK_KIND: dict[str, FormKind] = {"mean": Polynomial("d", "d", frozenset({"M"}), {})}
LAYER_KINDS: dict[str, FormKind] = {
    **dict.fromkeys(NAMES, OF_PAIR), "D": Polynomial("1", "1", frozenset(), {"d": (1, 2, 3)}),
}  # fmt: skip
LAW = (
    "The law of W is that of O W O^T (Haar), that of s_1 and of the noise that of O s_1 and O eps: then turned "
    "sequences have the law of the sequences."
)
COMMUTANT = (
    "A matrix that commutes with every signed permutation is a multiple of the identity, in every dimension (listed up "
    "to d = 3): the signs leave the diagonal, the permutations make it constant."
)
INVARIANTS = (
    "Tensors with four places that no rotation changes are combinations of the three pairings, for d > 3 "
    "[brauer1937algebras]; for d = 2 and 3 the mean is taken over the rotations themselves."
)


def obligations() -> ClaimObligations:
    """mesa-compressed-depth."""
    return ClaimObligations(
        "mesa-compressed-depth",
        ("x, y, z any blocks of tokens, P and K any blocks of weights; O in O(d)",),
        {SEQUENCES: {}, COVARIANCE: {}, BLOCK: BLOCK_KIND, LAYER: LAYER_KINDS, CONTRACTIONS: {}, RISK: {}},
        (
            Obligation(SEQUENCES, "O^T s_{t+1}' = O^T O (W O^T O s_t + e) for s_t' = O s_t", sequence_obligation),
            Obligation(COVARIANCE, "O^T head(O e; P, K) = head(e; O^T P O, O^T K O)", covariance_obligation),
            Obligation(BLOCK, "d times the mean over signed permutations = mean, d <= 3", block_obligation),
            Obligation(BLOCK, "tr(V^T mean) = tr M tr V", trace_obligation),
            Obligation(LAYER, "D times the mean over O(2) = a1 x (y.z) + a2 y (x.z) + a3 z (x.y)", plane_obligation),
            Obligation(LAYER, "the same over SO(3), at whole numbers", space_obligation),
            Obligation(LAYER, "D = d (d - 1)(d + 2)", denominator_obligation),
            Obligation(CONTRACTIONS, "D times the contractions of P K = those of (a1, a2, a3)", contraction_obligation),
            Obligation(RISK, "risk = risk of the mean + spread, at whole numbers of d = 2", risk_obligation),
        ),
        (LAW, COMMUTANT, INVARIANTS),
    )  # fmt: skip


# The probe

SECOND: dict[str, Kind] = {
    "Q11": "symmetric", "Q22": "symmetric", "Q12": "matrix", "Y1": "matrix", "Y2": "matrix", "Y": "symmetric",
    "kappa": "scalar",
}  # fmt: skip


def target_obligation(forms: Forms) -> Identity:
    """(O S S^T O^T + k O O^T) O v = O (S S^T + k) v wherever O^T O = I: the difference holds it as a factor."""
    del forms
    letters: dict[str, Kind] = {"O": "matrix", "S": "matrix", "v": "vector", "k": "scalar"}

    def difference(point: Point) -> Any:
        R, S, v, k = (point[name] for name in letters)
        left = (R @ S @ (R @ S).T + R @ R.T * k) @ R @ v
        return left - R @ (S @ S.T + point["I"] * k) @ (R.T @ R) @ v

    return Identity(difference, letters, {}, 6, 9)


def moment_obligation(forms: Forms) -> Relations:
    """The mean of (O a)(O b)^T over signed permutations is (a.b/d) I, d <= 3, every entry a symbol."""
    del forms

    def differences() -> Iterator[tuple[str, Any]]:
        for d in range(1, LARGEST_GROUP + 1):
            point = make_point({"a": "vector", "b": "vector"}, d, None, {})
            mean = group_mean(point["a"] @ point["b"].T, point.one)
            yield f"d mean(O a b^T O^T) - a.b I at d = {d}", mean * d - point["I"] * dot(point["a"], point["b"])

    return vanish(differences)


def probe_forms(forms: Forms) -> tuple[Expression, Expression, Expression]:
    first, second, common = (forms.expression(PROBE, name) for name in ("first", "second", "common"))
    return first, second, common


def normal_obligation(forms: Forms) -> Identity:
    """(tr Q11 + kappa d) first + tr Q12 second = common tr Y1, and the other row, in every dimension."""
    made = probe_forms(forms)

    def difference(point: Point) -> list[Any]:
        first, second, common = (value(one, point) for one in made)
        ridge = point["kappa"] * point["d"]
        Q11, Q12, Q22, Y1, Y2 = (point[name].trace() for name in ("Q11", "Q12", "Q22", "Y1", "Y2"))
        return [
            (Q11 + ridge) * first + Q12 * second - common * Y1,
            Q12 * first + (Q22 + ridge) * second - common * Y2,
        ]

    return in_traces(difference, made, 2)


def cofactor_obligation(forms: Forms) -> Identity:
    """common is the determinant: no common factor hides in the three forms."""
    common = probe_forms(forms)[2]

    def difference(point: Point) -> Any:
        ridge = point["kappa"] * point["d"]
        Q11, Q12, Q22 = (point[name].trace() for name in ("Q11", "Q12", "Q22"))
        return value(common, point) - (Q11 + ridge) * (Q22 + ridge) + Q12 * Q12

    return in_traces(difference, (common,), 0)


def error_obligation(forms: Forms) -> Identity:
    """common^2 (E |y - W h|^2 + kappa |W|^2) = common error, at W = (first I, second I)/common, term by term."""
    made, error = probe_forms(forms), forms.expression(ERROR, "error")

    def difference(point: Point) -> Any:
        first, second, common = (value(one, point) for one in made)
        Q11, Q12, Q22, Y1, Y2, Y = (point[name].trace() for name in ("Q11", "Q12", "Q22", "Y1", "Y2", "Y"))
        ridge = point["kappa"] * point["d"]
        square = Y * common * common - (Y1 * first + Y2 * second) * common * 2
        square += (Q11 + ridge) * first * first + Q12 * first * second * 2 + (Q22 + ridge) * second * second
        return square - common * value(error, point)

    return in_traces(difference, (*made, error), 4)


def in_traces(difference: Callable[[Point], Any], forms: tuple[Expression, ...], more: int) -> Identity:
    """An identity between traces of six letters: products of two forms, and `more` further factors."""
    degree = 2 * max(form.degree() for form in forms) + more + 4
    powers = 2 * max(form.largest_power("d") for form in forms) + more + 2
    pairs = max(2 * form.pairs_of_legs(frozenset()) for form in forms) + 1
    return Identity(difference, SECOND, {}, pairs, degree, powers, components=(1, 2))


OF_MOMENTS = Polynomial("1", "1", frozenset(SECOND) - {"kappa"}, {"d": (1, 2), "kappa": (1, 2)})
UNIQUE = (
    "For kappa > 0 the normal equations of the probe have one solution: multiples of the identity that solve them are "
    "the probe."
)


def probing() -> ClaimObligations:
    """mesa-probing."""
    return ClaimObligations(
        "mesa-probing",
        ("the law of (h^1, h^2, y) is that of (O h^1, O h^2, O y) for signed permutations O; kappa > 0",),
        {
            TARGETS: {}, BLOCK: BLOCK_KIND, MOMENTS: {},
            PROBE: dict.fromkeys(("first", "second", "common"), OF_MOMENTS), ERROR: {"error": OF_MOMENTS},
        },
        (
            Obligation(TARGETS, "(O S S^T O^T + k O O^T) O v = O (S S^T + k) O^T O v", target_obligation),
            Obligation(BLOCK, "d times the mean over signed permutations = mean, d <= 3", block_obligation),
            Obligation(BLOCK, "tr(V^T mean) = tr M tr V", trace_obligation),
            Obligation(MOMENTS, "d times the mean of O a (O b)^T = (a.b) I, d <= 3", moment_obligation),
            Obligation(PROBE, "first and second solve the normal equations in traces", normal_obligation),
            Obligation(PROBE, "common is their determinant", cofactor_obligation),
            Obligation(ERROR, "the square at the probe is error/common", error_obligation),
        ),
        (COMMUTANT, UNIQUE),
    )  # fmt: skip
