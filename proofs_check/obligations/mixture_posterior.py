"""Obligations of mixture-posterior: squares completed in letters, moments of y by Gaussian means, and Bayes' rule.

Two routes lead to the evidence: the exponent's square, and the covariance of y, from the model's own moments. That they
agree is an identity in letters in every dimension; for two examples in two dimensions every letter is written out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

from ..engines.expressions import Expression
from ..engines.gaussian_means import gaussian_mean
from ..engines.identities import Identity
from ..engines.matrices import Matrix, stack
from ..engines.points import Kind, Point
from .fixed_point import half, value
from .obligation import ClaimObligations, FormKind, Forms, Obligation, Polynomial, Rational
from .population_loss import TRUSTED

JOINT, SQUARE, FORMS = "joint density of examples and coefficients", "completing the square", "two forms of the rest"
COVARIANCE, VOLUME, EVIDENCE = "the same by covariances", "volume", "evidence of a support"
RULE = "Bayes' rule over the supports"
VECTORS = frozenset({"y", "w", "m", "a", "b", "e"})
PAIRS, DEGREE = 4, 10  # of the literal products; a form comes with at most four legs and six factors besides its own
EXAMPLES: dict[str, Kind] = {"X": "matrix", "y": "vector", "s2": "scalar", "v": "scalar"}


def in_letters(
    difference: Callable[[Point], Any],
    forms: tuple[Expression, ...],
    letters: Mapping[str, Kind],
    drawn: tuple[str, ...] = (),
) -> Identity:
    """An identity for all X, y, s2, v and further letters; vectors `drawn` stay symbols."""
    pairs = PAIRS + 2 * max(form.pairs_of_legs(VECTORS) for form in forms)
    degree = DEGREE + 2 * max(form.degree() for form in forms)
    kept = {name: kind for name, kind in EXAMPLES.items() if name not in drawn}
    return Identity(difference, {**kept, **letters}, dict.fromkeys(drawn, "vector"), pairs, degree, 0, (1, 2))


def times_power(form: Expression, symbol: str) -> Expression:
    """The form times a symbol."""
    terms = []
    for term in form.terms:
        powers = dict(term.powers)
        powers[symbol] = powers.get(symbol, 0) + 1
        terms.append(term._replace(powers=tuple(sorted((s, p) for s, p in powers.items() if p))))
    return Expression(form.rows, form.cols, tuple(terms))


def dot(a: Matrix, b: Matrix) -> Any:
    """a . b of two columns."""
    return (a.T @ b)[0, 0]


def literal_joint(point: Point, w: Matrix) -> Any:
    """v s2 (sum_i (y_i - x_i . w)^2/s2 + sum_j w_j^2/v), entry by entry."""
    found = point.one * 0
    for i, row in enumerate(point["X"].rows):
        error = point["y"][i, 0]
        for j, x in enumerate(row):
            error = error - x * w[j, 0]
        found = found + point["v"] * error * error
    for entry in w.entries():
        found = found + point["s2"] * entry * entry
    return found


def joint_obligation(forms: Forms) -> Identity:
    form = times_power(forms.expression(JOINT, "right"), "v")
    return in_letters(lambda point: literal_joint(point, point["w"]) - value(form, point), (form,), {"w": "vector"})


def equations(forms: Forms) -> tuple[Expression, Expression]:
    """v A and v X^T y."""
    left, right = (times_power(forms.expression(SQUARE, name), "v") for name in ("left", "right"))
    return left, right


def square_obligation(forms: Forms) -> Identity:
    """The joint density at w and at any m, with what is left where m does not solve the equations."""
    left, right = equations(forms)

    def difference(point: Point) -> Any:
        w, m, A = point["w"], point["m"], value(left, point)
        gap = w - m
        square = dot(gap, A @ gap) + 2 * dot(gap, A @ m - value(right, point))
        return literal_joint(point, w) - literal_joint(point, m) - square

    return in_letters(difference, (left, right), {"w": "vector", "m": "vector"})


def forms_obligation(forms: Forms) -> Identity:
    residual, other = (times_power(forms.expression(FORMS, name), "v") for name in ("residual", "difference"))
    left, right = equations(forms)

    def difference(point: Point) -> list[Any]:
        m, found = point["m"], value(residual, point)
        rest = dot(m, value(left, point) @ m - value(right, point))
        return [literal_joint(point, m) - found, value(other, point) + rest - found]

    return in_letters(difference, (left, right, residual, other), {"m": "vector"})


def mean_over_draws(point: Point, polynomial: Any) -> Any:
    """E over w ~ N(0, v I), e ~ N(0, s2 I)."""
    w, e = point.numbers["w"], point.numbers["e"]
    zero, size = point.one * 0, len(w) + len(e)

    def entry(i: int, j: int) -> Any:
        return zero if i != j else point["v"] if i < len(w) else point["s2"]

    return gaussian_mean(polynomial, [*w, *e], Matrix.build(size, size, entry))


def moments_obligation(forms: Forms) -> Identity:
    """E (a.y)(b.y) = a^T K b and E (a.w)(b.y) = v a^T X^T b for y = X w + e."""
    covariance = forms.expression(COVARIANCE, "covariance")

    def difference(point: Point) -> list[Any]:
        a, b = point["a"], point["b"]
        y = point["X"] @ point["w"] + point["e"]
        return [
            mean_over_draws(point, dot(a, y) * dot(b, y)) - dot(a, value(covariance, point) @ b),
            mean_over_draws(point, dot(a, point["w"]) * dot(b, y)) - point["v"] * dot(a, point["X"].T @ b),
        ]

    return in_letters(difference, (covariance,), {"a": "vector", "b": "vector"}, ("w", "e"))


def routes_obligation(forms: Forms) -> Identity:
    """At y = K a the solution is m = v X^T a, and Q = s2 y.a: E[w | y] and the exponent of N(0, K)."""
    covariance, rest = forms.expression(COVARIANCE, "covariance"), forms.expression(FORMS, "difference")
    left, right = equations(forms)

    def difference(point: Point) -> list[Any]:
        a, X = point["a"], point["X"]
        y, m = value(covariance, point) @ a, X.T @ a * point["v"]
        here = point.with_values({"y": y, "m": m})
        return [value(left, here) @ m - value(right, here), value(rest, here) - point["s2"] * dot(y, a)]

    return in_letters(difference, (covariance, rest, left, right), {"a": "vector"})


def volume_obligation(forms: Forms) -> Identity:
    """M = [[s2 I, X], [-v X^T, I]] is [[I, X], [0, I]] [[K, 0], [-v X^T, I]], and M [[I, -X], [0, s2 I]] is block
    triangular with s2 I and s2 times volume."""
    covariance, volume = (
        forms.expression(COVARIANCE, "covariance"),
        times_power(forms.expression(VOLUME, "volume"), "s2"),
    )

    def difference(point: Point) -> list[Any]:
        X, eye, s2 = point["X"], point["I"], point["s2"]
        zero, below = eye * (point.one * 0), X.T * -point["v"]
        M = stack([[eye * s2, X], [below, eye]])
        factored = stack([[eye, X], [zero, eye]]) @ stack([[value(covariance, point), zero], [below, eye]])
        triangular = stack([[eye * s2, zero], [below, value(volume, point)]])
        return [M - factored, M @ stack([[eye, -X], [zero, eye * s2]]) - triangular]

    return in_letters(difference, (covariance, volume), {})


SMALL = ((1, 1), (2, 1), (1, 2), (2, 2), (3, 2))


def determinant(matrix: Matrix) -> Any:
    """By the first row."""
    if matrix.shape == (1, 1):
        return matrix[0, 0]
    found = matrix[0, 0] * 0
    for j, entry in enumerate(matrix.rows[0]):
        minor = Matrix(tuple((*row[:j], *row[j + 1 :]) for row in matrix.rows[1:]))
        found = found + entry * determinant(minor) * (-1) ** j
    return found


def sizes_obligation(forms: Forms) -> Identity:
    """s2^d det K = s2^N det(s2 volume) for N examples in d dimensions, every entry of X a letter."""
    covariance, volume = (
        forms.expression(COVARIANCE, "covariance"),
        times_power(forms.expression(VOLUME, "volume"), "s2"),
    )

    def difference(point: Point) -> list[Any]:
        found = []
        for N, d in SMALL:
            X = Matrix.build(N, d, lambda i, j: point[f"x{i + 1}{j + 1}"])
            K, V = (
                value(form, point.with_values({"X": X, "I": Matrix.build(n, n, lambda i, j: point.one * int(i == j))}))
                for form, n in ((covariance, N), (volume, d))
            )
            found.append(determinant(K) * point["s2"] ** d - determinant(V) * point["s2"] ** N)
        return found

    return in_numbers(difference, [f"x{i}{j}" for i, j in product((1, 2, 3), (1, 2))] + ["s2", "v"])


def in_numbers(difference: Callable[[Point], Any], names: list[str], drawn: tuple[str, ...] = ()) -> Identity:
    """An identity in numbers."""
    letters: dict[str, Kind] = dict.fromkeys(names, "scalar")
    return Identity(difference, letters, dict.fromkeys(drawn, "scalar"), 1, 40, 0, (1,))


def evidence_obligation(forms: Forms) -> Identity:
    """det K and y^T adj(K) y from the moments of y_1 and y_2: of the dense model, and of the support {1}."""
    names = ("dense determinant", "dense square", "sparse determinant", "sparse square")
    quotients = [forms.quotient(EVIDENCE, name) for name in names]

    def difference(point: Point) -> list[Any]:
        found = []
        for k, variance in ((2, "v_d"), (1, "v_s")):
            K = moments_of_two(point, k, point[variance])
            y_1, y_2 = point["y1"], point["y2"]
            adjugate = y_1 * y_1 * K[1, 1] - y_1 * y_2 * K[0, 1] * 2 + y_2 * y_2 * K[0, 0]
            found += [determinant(K), adjugate]
        pairs = [(value(top, point), value(bottom, point)) for top, bottom in quotients]
        return [top - bottom * own for (top, bottom), own in zip(pairs, found, strict=True)]

    entries = [f"x{i}{j}" for i, j in product((1, 2), (1, 2))]
    return in_numbers(difference, [*entries, "y1", "y2", "s2", "v_d", "v_s"], ("w1", "w2", "e1", "e2"))


def moments_of_two(point: Point, used: int, variance: Any) -> Matrix:
    """E y_i y_j of y_i = sum_j x_ij w_j + e_i over the first `used` coefficients."""
    drawn = [point.numbers[name][0] for name in ("w1", "w2", "e1", "e2")]
    zero = point.one * 0
    variances = (variance, variance, point["s2"], point["s2"])
    law = Matrix.build(4, 4, lambda i, j: variances[i] if i == j else zero)

    def label(i: int) -> Any:
        return sum((point[f"x{i}{j}"] * point[f"w{j}"] for j in range(1, used + 1)), point[f"e{i}"])

    return Matrix.build(2, 2, lambda i, j: gaussian_mean(label(i + 1) * label(j + 1), drawn, law))


def rule_obligation(forms: Forms) -> Identity:
    """Crosswise: joint density of hypothesis and examples over the sum of all three."""
    posterior, prediction = (forms.quotient(RULE, name) for name in ("posterior", "prediction"))

    def difference(point: Point) -> list[Any]:
        shared = half(point["rho"])
        joints = [point["pi"] * point["D"], shared * point["E1"], shared * point["E2"]]
        means = [point[name] for name in ("f_d", "f_1", "f_2")]
        total = joints[0] + joints[1] + joints[2]
        weighted = joints[0] * means[0] + joints[1] * means[1] + joints[2] * means[2]
        found = []
        for quotient, top in ((posterior, joints[0]), (prediction, weighted)):
            above, below = (value(part, point) for part in quotient)
            found.append(above * total - below * top)
        return found

    return in_numbers(difference, ["pi", "rho", "D", "E1", "E2", "f_d", "f_1", "f_2"])


def of_examples(rows: str, cols: str, letters: str, **powers: tuple[int, ...]) -> Polynomial:
    """The kind of a polynomial in these letters and powers."""
    return Polynomial(rows, cols, frozenset(letters.split()), powers)


PRIOR = {"s2": (1,), "v": (-1,)}
KINDS: dict[str, dict[str, FormKind]] = {
    JOINT: {"right": of_examples("1", "1", "X y w", **PRIOR)},
    SQUARE: {"left": of_examples("d", "d", "X", **PRIOR), "right": of_examples("d", "1", "X y")},
    FORMS: {
        "residual": of_examples("1", "1", "X y m", **PRIOR), "difference": of_examples("1", "1", "X y m", **PRIOR),
    },
    COVARIANCE: {"covariance": of_examples("d", "d", "X", s2=(1,), v=(1,))},
    VOLUME: {"volume": of_examples("d", "d", "X", s2=(-1,), v=(1,))},
    EVIDENCE: {
        f"{name} {what}": Rational(frozenset({"x11", "x12", "x21", "x22", "y1", "y2", "s2", v}))
        for name, v in (("dense", "v_d"), ("sparse", "v_s")) for what in ("determinant", "square")
    },
    RULE: {
        "posterior": Rational(frozenset({"pi", "rho", "D", "E1", "E2"})),
        "prediction": Rational(frozenset({"pi", "rho", "D", "E1", "E2", "f_d", "f_1", "f_2"})),
    },
}  # fmt: skip
RECTANGULAR = (
    "The identities in letters are tested with as many examples as dimensions. They are sums of pairings of legs, and "
    "independent as such as soon as both numbers are large enough: so they hold for any N and d."
)
INTEGRAL = "The Gaussian integral, and that a Gaussian vector is known by its moments of the first and second order."


def obligations() -> ClaimObligations:
    """The seven steps."""
    return ClaimObligations(
        "mixture-posterior",
        ("y = X w + e, w ~ N(0, v I), e ~ N(0, s2 I) given a support; s2, v > 0",),
        KINDS,
        (
            Obligation(JOINT, "v s2 (sum (y_i - x_i.w)^2/s2 + |w|^2/v) = v right, entry by entry", joint_obligation),
            Obligation(
                SQUARE,
                "joint(w) - joint(m) = (w - m)^T left (w - m) + 2 (w - m)^T (left m - right)",
                square_obligation,
            ),
            Obligation(FORMS, "residual = joint(m) = difference + m^T (left m - right)", forms_obligation),
            Obligation(COVARIANCE, "E (a.y)(b.y) = a^T covariance b, E (a.w)(b.y) = v a^T X^T b", moments_obligation),
            Obligation(
                COVARIANCE,
                "left m = right and difference = s2 y.a at y = covariance a, m = v X^T a",
                routes_obligation,
            ),
            Obligation(VOLUME, "a block matrix of covariance, and of s2 volume, factored", volume_obligation),
            Obligation(VOLUME, "s2^d det covariance = s2^N det(s2 volume) for N, d up to 3, 2", sizes_obligation),
            Obligation(EVIDENCE, "det K and y^T adj(K) y from E y_i y_j, N = d = 2 and k = 1", evidence_obligation),
            Obligation(RULE, "form (sum of joints) = joint, for the dense class and two supports", rule_obligation),
        ),
        (TRUSTED[0], TRUSTED[3], RECTANGULAR, INTEGRAL),
    )
