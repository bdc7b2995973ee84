r"""The layer and its prompt, in the engine's own words: predictions as bilinear forms in columns, and their means.

Main statements
    layer        f(E)[d, N] = a^T G b with a = (u12; u), b = (U; u21^T) x_q and G = (1/N)(sum_i z_i z_i^T + q q^T),
                 z_i = (x_i; y_i), q = (x_q; 0): the last row of W_PV E times (E^T W_KQ E)/N, column by column
    columns      given w the columns z_i are independent N(0, C), C = [[Lambda, Lambda w], [., w^T Lambda w + sigma^2]]
    means        given w and x_q, with t = 1/N:
                 E a^T G b                  = a^T C b + t (a^T q)(q^T b)
                 E (a^T G b)(a'^T G b')     = product of the means + t ((a^T C a')(b^T C b') + (a^T C b')(b^T C a')),
                 for the N columns are independent, so only the covariance of one column's form remains, and for four
                 linear forms of a Gaussian vector E f1 f2 f3 f4 = s12 s34 + s13 s24 + s14 s23
    The rest of the mean, over w ~ N(0, Psi) and x_q ~ N(0, Lambda), is that of `gaussian_means`.
    Every term of a mean of two predictions has at most 12 legs and at most 12 factors: a prediction has 6 legs, a mean
    takes pairs of random legs and puts covariances, of two legs each, in their places; its factors are the four
    weights, t^2 and at most 5 covariances (6 where sigma^2 stands for none).
Convention: query column included in E E^T, factor 1/N [zhang2024trained, Eq. 3.3].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .gaussian_means import gaussian_mean
from .matrices import Matrix, stack
from .points import Kind, Point

LAW: dict[str, Kind] = {"Lambda": "symmetric", "Psi": "symmetric", "sigma2": "scalar", "1/N": "scalar"}
WEIGHTS: dict[str, Kind] = {"u12": "vector", "u": "scalar", "U": "matrix", "u21": "vector"}
PROMPT: dict[str, Kind] = {"w": "vector", "x_q": "vector"}
PAIRS_OF_LEGS, DEGREE = 6, 12


@dataclass(frozen=True)
class Form:
    """a^T G b; a and b are (d+1, 1), polynomials in x_q."""

    a: Matrix
    b: Matrix


def literal_layer(E: Matrix, W_PV: Matrix, W_KQ: Matrix, inverse_length: Any) -> Any:
    """f(E)[d, N] by matrix products, f(E) = E + W_PV E (E^T W_KQ E)/N."""
    update = (W_PV @ E) @ (E.T @ (W_KQ @ E))
    d, n = E.shape[0] - 1, E.shape[1] - 1
    return E[d, n] + update[d, n] * inverse_length


def over(upper: Matrix, lower: Any) -> Matrix:
    """A vector (d, 1) over a ring element."""
    return stack([[upper], [Matrix(((lower,),))]])


def nothing(point: Point) -> Matrix:
    """The zero vector (d, 1)."""
    return Matrix.build(point.dimension, 1, lambda i, j: point.one * 0)


def dot(a: Matrix, b: Matrix) -> Any:
    """a^T b."""
    return (a.T @ b)[0, 0]


def layer(point: Point) -> list[Form]:
    """The prediction on all parameters."""
    x_q = point["x_q"]
    return [Form(over(point["u12"], point["u"]), over(point["U"] @ x_q, dot(point["u21"], x_q)))]


def odd_part(point: Point) -> list[Form]:
    """What changes sign under (w, eps) -> (-w, -eps): one factor y in each form."""
    x_q, zero = point["x_q"], point.one * 0
    return [
        Form(over(point["u12"], zero), over(nothing(point), dot(point["u21"], x_q))),
        Form(over(nothing(point), point["u"]), over(point["U"] @ x_q, zero)),
    ]


def even_part(point: Point) -> list[Form]:
    """What does not: none or two factors y."""
    x_q, zero = point["x_q"], point.one * 0
    return [
        Form(over(point["u12"], zero), over(point["U"] @ x_q, zero)),
        Form(over(nothing(point), point["u"]), over(nothing(point), dot(point["u21"], x_q))),
    ]


def reading(point: Point, preconditioner: Any) -> list[Form]:
    """s^T A x_q with s = (1/N) sum y_i x_i."""
    return [Form(over(nothing(point), point.one), over(preconditioner @ point["x_q"], point.one * 0))]


def column_covariance(point: Point) -> Matrix:
    """C, (d+1, d+1), given w."""
    Lambda, w = point["Lambda"], point["w"]
    pull = Lambda @ w
    return stack([[Lambda, pull], [pull.T, Matrix(((dot(w, pull) + point["sigma2"],),))]])


def mean_of_forms(point: Point, forms: Sequence[Form]) -> Any:
    """E of a sum of forms, given w and x_q."""
    C, q = column_covariance(point), over(point["x_q"], point.one * 0)
    total = point.one * 0
    for form in forms:
        total = total + dot(form.a, C @ form.b) + point["1/N"] * dot(form.a, q) * dot(form.b, q)
    return total


def covariance_of_forms(point: Point, left: Sequence[Form], right: Sequence[Form]) -> Any:
    """Cov of two sums of forms, given w and x_q."""
    C = column_covariance(point)
    total = point.one * 0
    for f in left:
        Ca, Cb = C @ f.a, C @ f.b
        for g in right:
            total = total + dot(Ca, g.a) * dot(Cb, g.b) + dot(Ca, g.b) * dot(Cb, g.a)
    return total * point["1/N"]


def over_task_and_query(point: Point, polynomial: Any) -> Any:
    """E over w ~ N(0, Psi) and x_q ~ N(0, Lambda)."""
    over_task = gaussian_mean(polynomial, point.numbers["w"], point["Psi"])
    return gaussian_mean(over_task, point.numbers["x_q"], point["Lambda"])


def mean_product(point: Point, left: Sequence[Form], right: Sequence[Form], target: int = 0, other: int = 0) -> Any:
    """E (left - target w.x_q)(right - other w.x_q)."""
    aim = dot(point["w"], point["x_q"])
    means = (mean_of_forms(point, left) - aim * target) * (mean_of_forms(point, right) - aim * other)
    return over_task_and_query(point, means + covariance_of_forms(point, left, right))


def half_mean_square(point: Point, forms: Sequence[Form], target: int) -> Any:
    """1/2 E (forms - target w.x_q)^2."""
    import flint

    return mean_product(point, forms, forms, target, target) * flint.fmpq(1, 2)


def population_loss(point: Point) -> Any:
    """1/2 E (f(E)[d, N] - w.x_q)^2."""
    return half_mean_square(point, layer(point), 1)


def reduced_loss(point: Point, preconditioner: Any) -> Any:
    """1/2 E (s^T A x_q - w.x_q)^2."""
    return half_mean_square(point, reading(point, preconditioner), 1)


def effective_preconditioner(point: Point) -> Matrix:
    """A = u U + u12 u21^T."""
    U, u12, u21 = (point.matrix(name) for name in ("U", "u12", "u21"))
    return U.scaled(point["u"]) + u12 @ u21.T
