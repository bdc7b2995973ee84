"""Obligations of mesa-preconditioning: literal layers with two heads, residuals, and polynomials on an interval.

The layer is written out on literal tokens (0, s_t, s_{t-1}, p_t, code of the position) for t = 1 .. 3. It is a sum over
tokens t' <= t of one polynomial in s_t'-1, s_t' (only their products with the query enter), plus terms of the own
token: with three tokens every kind of term occurs with letters that are independent of each other.
"""

from __future__ import annotations

from typing import Any

import flint

from ..engines.expressions import Expression, Quotient
from ..engines.identities import Identity
from ..engines.matrices import Matrix, stack
from ..engines.points import Kind, Point
from ..engines.relations import Relation, Relations
from .fixed_point import value
from .mesa_gradient_step import VECTORS, WITHOUT_LAW, at_position, loss, state
from .obligation import ClaimObligations, FormKind, Forms, Obligation, Polynomial, Rational

SQUARES, ITERATION, WEIGHTS = "regularised least squares", "one step of the iteration", "the weights of a layer"
RESIDUAL, ERROR = "the residual", "the gradient layer and the error"
CONSTANT, CHEBYSHEV, BEST = "the best constant step", "Chebyshev's steps", "no polynomial does better"
LENGTH = 3
BLOCKS = ("V_pair", "V_own", "V_state")
SEQUENCE: dict[str, Kind] = {f"s[{t}]": "vector" for t in (1, 2, 3, 4)}
LETTERS: dict[str, Kind] = {**SEQUENCE, "p": "vector", "omega": "scalar", "lambda": "scalar", "1/lambda": "scalar"}
# A step has terms omega x x^T p, of 4 legs with the open end; A p with A a sum of x x^T has no more. Degrees below 9.
PAIRS, DEGREE = 4, 9


def moment(point: Point, t: int) -> Matrix:
    """A_t = sum_{t'<t} s_t' s_t'^T + I/lambda."""
    found: Matrix = point["I"] * point["1/lambda"]
    for seen in range(1, t):
        found = found + state(point, seen) @ state(point, seen).T
    return found


def step(point: Point, t: int) -> Matrix:
    """p + omega (s_t - A_t p)."""
    p: Matrix = point["p"]
    return p + (state(point, t) - moment(point, t) @ p).scaled(point["omega"])


def identity(difference: Any, letters: dict[str, Kind], *forms: Expression, more: int = 0) -> Identity:
    """A term has at most the legs and factors of a literal step, of `more` further matrices, and of the forms in it."""
    pairs = PAIRS + more + sum(form.pairs_of_legs(VECTORS) for form in forms)
    degree = DEGREE + more + sum(form.degree() for form in forms)
    return Identity(difference, letters, {}, pairs, degree, 0, (1, 2))


def slope_obligation(forms: Forms) -> Identity:
    """Central differences of L_t + |Phi|^2/(2 lambda) along V."""
    form = forms.expression(SQUARES, "right")

    def whole(point: Point, Phi: Matrix, t: int) -> Any:
        return loss(point, Phi, t) + (Phi.T @ Phi).trace() * point["1/lambda"] * flint.fmpq(1, 2)

    def difference(point: Point) -> list[Any]:
        Phi, V = point["Phi"], point["V"]
        return [
            (whole(point, Phi + V, t) - whole(point, Phi - V, t)) * flint.fmpq(1, 2)
            - (V.T @ at_position(form, point, t)).trace()
            for t in (1, 2, 3, 4)
        ]

    return identity(difference, {**LETTERS, "Phi": "matrix", "V": "matrix"}, form, more=2)


def iteration_obligation(forms: Forms) -> Identity:
    form = forms.expression(ITERATION, "right")
    return identity(lambda point: [step(point, t) - at_position(form, point, t) for t in (1, 2, 3, 4)], LETTERS, form)


def token(point: Point, t: int) -> Matrix:
    """(0, s_t, s_{t-1}, p_t, one-hot position); p_t is `p` at the token that asks and `p'` before it."""
    one = point.one
    place = Matrix.build(LENGTH, 1, lambda i, _: one * int(i == t - 1))
    iterate = point["p"] if t == LENGTH else point["p'"]
    return stack([[state(point, t) * (one * 0)], [state(point, t)], [state(point, t - 1)], [iterate], [place]])


def block_matrix(point: Point, places: dict[tuple[int, int], Matrix], own: bool) -> Matrix:
    """(4n + T, 4n + T) with n x n blocks at (row, column) of the first four parts; `own`: I on the positions."""
    n, one = point.dimension, point.one
    width = 4 * n + LENGTH

    def entry(i: int, j: int) -> Any:
        if i >= 4 * n or j >= 4 * n:
            return one * int(own and i == j)
        block = places.get((i // n, j // n))
        return one * 0 if block is None else block[i % n, j % n]

    return Matrix.build(width, width, entry)


def head(point: Point, value_blocks: Matrix, key_query: Matrix) -> Matrix:
    """sum_{t' <= T} V e_t' (e_t'^T G e_T) at the last token."""
    asked = key_query @ token(point, LENGTH)
    parts = []
    for t in range(1, LENGTH + 1):
        e = token(point, t)
        parts.append((value_blocks @ e).scaled((e.T @ asked)[0, 0]))
    found: Matrix = parts[0] + parts[1] + parts[2]
    return found


def layer_obligation(forms: Forms) -> Identity:
    """Heads: (values s_{t'-1}, keys s_{t'-1}, query p) and (values p and s of the own position)."""

    def difference(point: Point) -> Matrix:
        V = {name: value(forms.expression(WEIGHTS, name), point) for name in BLOCKS}
        n, eye = point.dimension, point["I"]
        pairs = head(
            point, block_matrix(point, {(3, 2): V["V_pair"]}, False), block_matrix(point, {(2, 3): eye}, False)
        )
        own = head(
            point, block_matrix(point, {(3, 3): V["V_own"], (3, 1): V["V_state"]}, False), block_matrix(point, {}, True)
        )
        after = token(point, LENGTH) + pairs + own
        iterate = Matrix(after.rows[3 * n : 4 * n])
        return iterate - step(point, LENGTH)

    return identity(difference, {**LETTERS, "p'": "vector"}, *(forms.expression(WEIGHTS, name) for name in BLOCKS))


def residual_obligation(forms: Forms) -> Identity:
    form = forms.expression(RESIDUAL, "iterate")

    def difference(point: Point) -> Matrix:
        A, s = point["A"], point["s_t"]
        product = s
        for name in ("omega_0", "omega_1", "omega_2"):
            product = product - (A @ product).scaled(point[name])
        found: Matrix = s - A @ value(form, point) - product
        return found

    letters: dict[str, Kind] = {
        "A": "symmetric", "s_t": "vector", "omega_0": "scalar", "omega_1": "scalar", "omega_2": "scalar",
    }  # fmt: skip
    return identity(difference, letters, form, more=2)


def induction_obligation(forms: Forms) -> Identity:
    """s - A (p + omega (s - A p)) = (I - omega A)(s - A p): one step more, for any p."""
    del forms

    def difference(point: Point) -> Matrix:
        A, s, p, omega = point["A"], point["s_t"], point["p"], point["omega"]
        r = s - A @ p
        found: Matrix = s - A @ (p + r.scaled(omega)) - (r - (A @ r).scaled(omega))
        return found

    letters: dict[str, Kind] = {"A": "symmetric", "s_t": "vector", "p": "vector", "omega": "scalar"}
    return identity(difference, letters)


def error_obligation(forms: Forms) -> Identity:
    """With C = Phi A: Phi s - C p = Phi (s - A p); and the readout head gives C_t p."""
    del forms

    def difference(point: Point) -> list[Any]:
        A, Phi, s, p = point["A"], point["Phi"], point["s_t"], point["p"]
        readout = head(point, block_matrix(point, {(0, 1): point["I"]}, False),
                       block_matrix(point, {(2, 3): point["I"]}, False))  # fmt: skip
        cross = state(point, 2) @ state(point, 1).T + state(point, 3) @ state(point, 2).T
        return [
            Phi @ s - (Phi @ A) @ p - Phi @ (s - A @ p),
            Matrix(readout.rows[: point.dimension]) - cross @ p,
        ]

    letters: dict[str, Kind] = {**LETTERS, "A": "symmetric", "Phi": "matrix", "s_t": "vector", "p'": "vector"}
    return identity(difference, letters, more=1)


# Polynomials on [mu, mu + gap]

SCALARS: dict[str, Kind] = {"a": "scalar", "mu": "scalar", "gap": "scalar"}


def numbers(form: Quotient, point: Point, **letters: Any) -> tuple[Any, Any]:
    """Numerator and denominator at a point."""
    return value(form.numerator, point, **letters), value(form.denominator, point, **letters)


def in_scalars(difference: Any, letters: dict[str, Kind]) -> Identity:
    """Exact in dimension 1, where all letters are symbols; numerators and denominators have degrees of at most 48."""
    return Identity(difference, letters, {}, 1, 1000, 0, (1,))


def constant_obligation(forms: Forms) -> Identity:
    """1 - omega mu = rate = -(1 - omega M), and M (1 - w mu) - mu (1 - w M) = M - mu for every w."""
    omega, rate = forms.quotient(CONSTANT, "omega"), forms.quotient(CONSTANT, "rate")

    def difference(point: Point) -> list[Any]:
        mu, gap, w, one = point["mu"], point["gap"], point["a"], point.one
        high = mu + gap
        (o, o_below), (r, r_below) = numbers(omega, point), numbers(rate, point)
        return [
            (o_below - o * mu) * r_below - r * o_below,
            (o_below - o * high) * r_below + r * o_below,
            high * (one - w * mu) - mu * (one - w * high) - gap,
            r * (high + mu) - r_below * gap,
        ]

    return in_scalars(difference, SCALARS)


def extremal_points(point: Point, m: int) -> list[Any]:
    """mu + gap (1 - cos(pi j/m))/2, j = 0 .. m, where the cosines are rational."""
    shares = {1: ("0", "1"), 2: ("0", "1/2", "1"), 3: ("0", "1/4", "3/4", "1")}[m]
    return [point["mu"] + point["gap"] * flint.fmpq(*map(int, (share + "/1").split("/")[:2])) for share in shares]


def alternation_obligation(forms: Forms) -> Identity:
    """R_m(0) = 1 and R_m(a_j) = (-1)^j rate_m at the m + 1 extremal points."""

    def difference(point: Point) -> list[Any]:
        found = []
        for m in (1, 2, 3):
            R, rate = forms.quotient(CHEBYSHEV, f"R_{m}"), forms.quotient(CHEBYSHEV, f"rate_{m}")
            above, below = numbers(R, point, a=point.one * 0)
            found.append(above - below)
            for j, a in enumerate(extremal_points(point, m)):
                above, below = numbers(R, point, a=a)
                r, r_below = numbers(rate, point)
                found.append(above * r_below - r * below * (-1) ** j)
        return found

    return in_scalars(difference, SCALARS)


def bounded_obligation(forms: Forms) -> Identity:
    """rate_m^2 - R_m(a)^2 = 4 (a - mu)(mu + gap - a) (rate_m U_{m-1}(x)/gap)^2 with x = (2 mu + gap - 2a)/gap."""

    def difference(point: Point) -> list[Any]:
        a, mu, gap, one = point["a"], point["mu"], point["gap"], point.one
        x = gap + mu * 2 - a * 2  # gap times x
        second = {1: one, 2: x * 2, 3: x * x * 4 - gap * gap}  # gap^(m-1) U_{m-1}(x)
        found = []
        for m in (1, 2, 3):
            above, below = numbers(forms.quotient(CHEBYSHEV, f"R_{m}"), point)
            r, r_below = numbers(forms.quotient(CHEBYSHEV, f"rate_{m}"), point)
            inside = (a - mu) * (mu + gap - a) * 4 * second[m] ** 2
            left = (r * r * below * below - above * above * r_below * r_below) * gap ** (2 * m)
            found.append(left - inside * r * r * below * below)
        return found

    return in_scalars(difference, SCALARS)


def degree_obligation(forms: Forms) -> Identity:
    """The (m + 1)-th difference of R_m in a vanishes: its degree is at most m."""

    def difference(point: Point) -> list[Any]:
        found = []
        for m in (1, 2, 3):
            R = forms.quotient(CHEBYSHEV, f"R_{m}")
            total, below = point.one * 0, None
            for j in range(m + 2):
                above, below = numbers(R, point, a=point["a"] + point.one * j)
                total = total + above * int(flint.fmpz.bin_uiui(m + 1, j)) * (-1) ** j
            shifted = numbers(R, point, a=point["a"] + point.one)[1]
            found += [total, below - shifted]  # the denominator is free of a
        return found

    return in_scalars(difference, SCALARS)


def interpolation_obligation(forms: Forms) -> Identity:
    """sum_j l_j(0) Q(a_j) = Q(0) for Q of degree m, and sum_j (-1)^j l_j(0) = 1/rate_m; all multiplied out."""

    def difference(point: Point) -> list[Any]:
        found = []
        for m in (1, 2, 3):
            points = extremal_points(point, m)
            spread, weights = point.one, []
            for j, a_j in enumerate(points):
                for a_i in points[:j]:
                    spread = spread * (a_j - a_i)
            for j in range(m + 1):
                weights.append(weight(point, points, j))
            Q = [point[f"c_{power}"] for power in range(m + 1)]
            values = [sum((c * a**power for power, c in enumerate(Q)), point.one * 0) for a in points]
            found.append(sum((w * q for w, q in zip(weights, values, strict=True)), point.one * 0) - Q[0] * spread)
            r, r_below = numbers(forms.quotient(CHEBYSHEV, f"rate_{m}"), point)
            alternating = sum((w * (-1) ** j for j, w in enumerate(weights)), point.one * 0)
            found.append(alternating * r - r_below * spread)
        return found

    letters: dict[str, Kind] = {**SCALARS, **{f"c_{power}": "scalar" for power in range(4)}}
    return in_scalars(difference, letters)


def weight(point: Point, points: list[Any], j: int) -> Any:
    """l_j(0) prod_{i<k} (a_k - a_i) = prod_{i != j} a_i/(a_i - a_j) times that: a product without denominators."""
    found = point.one
    for i, a_i in enumerate(points):
        if i != j:
            found = found * a_i
    for k, a_k in enumerate(points):
        for i, a_i in enumerate(points[:k]):
            if j not in (i, k):
                found = found * (a_k - a_i)
    # the factors a_i - a_j with i < j are those of the product with their sign turned
    return found * (-1) ** j


def hyperbolic_obligation(forms: Forms) -> Identity:
    """T_m((kappa + 1)/(kappa - 1)) = (z^m + z^-m)/2 at z = (q + 1)/(q - 1), q^2 = kappa, mu = 1: it is 1/rate_m."""

    def difference(point: Point) -> list[Any]:
        q, one, found = point["q"], point.one, []
        here = point.with_values({"mu": one, "gap": q * q - one})
        for m in (1, 2, 3):
            r, r_below = numbers(forms.quotient(CHEBYSHEV, f"rate_{m}"), here)
            up, down = (q + one) ** m, (q - one) ** m
            found.append(r * (up * up + down * down) - r_below * up * down * 2)
        return found

    return in_scalars(difference, {"q": "scalar"})


OF_PAIRS = frozenset({"y", "x"})
OF_STEP = {"omega": (1,), "lambda": (-1,)}
BLOCK = Polynomial("d", "d", frozenset(), OF_STEP)
OMEGAS = {f"omega_{j}": (1,) for j in range(3)}
IN_BOUNDS = frozenset({"mu", "gap"})
KINDS: dict[str, dict[str, FormKind]] = {
    SQUARES: {"right": Polynomial("d", "d", frozenset({"y", "x", "Phi"}), {"lambda": (-1,)}, OF_PAIRS)},
    ITERATION: {"right": Polynomial("d", "1", frozenset({"x", "p", "s_t"}), OF_STEP, frozenset({"x"}))},
    WEIGHTS: {name: BLOCK for name in BLOCKS},
    RESIDUAL: {"iterate": Polynomial("d", "1", frozenset({"A", "s_t"}), OMEGAS)},
    ERROR: {},
    CONSTANT: {"omega": Rational(IN_BOUNDS), "rate": Rational(IN_BOUNDS)},
    CHEBYSHEV: {
        **{f"R_{m}": Rational(IN_BOUNDS | {"a"}) for m in (1, 2, 3)},
        **{f"rate_{m}": Rational(IN_BOUNDS) for m in (1, 2, 3)},
    },
    BEST: {},
}
IN_WORDS = (
    "The norm of R(A) is the largest |R| over the eigenvalues of A; the signs of l_j(0) alternate because 0 lies left "
    "of all extremal points; and degrees above m = 3 follow from T_m(cos theta) = cos(m theta): in words.",
    "Sequences longer than the tokens written out only repeat their terms: in words.",
)


def obligations() -> ClaimObligations:
    """The eight steps."""
    return ClaimObligations(
        "mesa-preconditioning",
        ("every s_1 .. s_T, lambda > 0 and all omega_j; s_0 = 0; bounds for eigenvalues in [mu, mu + gap], mu > 0",),
        KINDS,
        (
            Obligation(SQUARES, "the slope of L_t + |Phi|^2/(2 lambda) along V = tr(V^T right)", slope_obligation),
            Obligation(ITERATION, "p + omega (s_t - A_t p) = right, t <= 4", iteration_obligation),
            Obligation(WEIGHTS, "two literal heads on literal tokens make that step", layer_obligation),
            Obligation(RESIDUAL, "s - A iterate = prod (I - omega_j A) s", residual_obligation),
            Obligation(RESIDUAL, "s - A (p + omega (s - A p)) = (I - omega A)(s - A p)", induction_obligation),
            Obligation(ERROR, "Phi s - (Phi A) p = Phi (s - A p); the readout head gives C_t p", error_obligation),
            Obligation(
                CONSTANT, "1 - omega mu = rate = -(1 - omega M); no constant step has a smaller maximum",
                constant_obligation,
            ),
            Obligation(CHEBYSHEV, "R_m(0) = 1 and R_m(a_j) = (-1)^j rate_m, m <= 3", alternation_obligation),
            Obligation(
                CHEBYSHEV, "rate_m^2 - R_m^2 is (a - mu)(M - a) times a square, m <= 3", bounded_obligation
            ),
            Obligation(CHEBYSHEV, "R_m has degree m in a, m <= 3", degree_obligation),
            Obligation(
                BEST, "sum_j l_j(0) Q(a_j) = Q(0) and sum_j (-1)^j l_j(0) = 1/rate_m, m <= 3", interpolation_obligation
            ),
            Obligation(BEST, "1/rate_m = (z^m + z^-m)/2, z = (sqrt kappa + 1)/(sqrt kappa - 1), m <= 3",
                       hyperbolic_obligation),
        ),
        (*WITHOUT_LAW, *IN_WORDS),
    )  # fmt: skip


# The printed recursion

PRINTED, COUNTEREXAMPLE, OURS = "the printed step", "counterexample", "the recursion that converges"
OF_RECURSION: dict[str, Kind] = {
    "X": "symmetric", "p": "vector", "s_t": "vector", "lambda": "scalar", "1/lambda": "scalar",
}  # fmt: skip


def printed_obligation(forms: Forms) -> Identity:
    """s^K + ((1 - 1/lambda) I - X) s^K, read off the printed formula."""
    form = forms.expression(PRINTED, "right")

    def difference(point: Point) -> Matrix:
        p = point["p"]
        found: Matrix = p + p.scaled(point.one - point["1/lambda"]) - point["X"] @ p - value(form, point)
        return found

    return identity(difference, OF_RECURSION, form)


def corrected_obligation(forms: Forms) -> Identity:
    """With s_t = A z: z - right = (I - A)(z - s^K), so that z = A^-1 s_t is its fixed point."""
    form = forms.expression(OURS, "right")

    def difference(point: Point) -> Matrix:
        p, z = point["p"], point["z"]
        A = point["X"] + point["I"] * point["1/lambda"]
        gap = z - p
        found: Matrix = z - value(form, point, s_t=A @ z) - (gap - A @ gap)
        return found

    return identity(difference, {**OF_RECURSION, "z": "vector"}, form, more=2)


def counterexample_obligation(forms: Forms) -> Relations:
    """n = 1, X = 1, lambda = 2, s_t = 1: the form's factor, its powers, and the printed limit."""
    form = forms.expression(PRINTED, "right")

    def ask() -> list[Relation]:
        one = flint.fmpq(1)

        def at(p: Any) -> Any:
            letters = {"X": Matrix(((one,),)), "I": Matrix(((one,),)), "p": Matrix(((p,),)), "lambda": one * 2,
                       "1/lambda": one / 2}  # fmt: skip
            from ..engines.expressions import evaluate

            return evaluate(form, letters, one)[0, 0]

        limit = one * 2 / 3
        return [
            Relation("A times the printed limit", (one + one / 2) * limit, "=", one),
            Relation("s^1 from s^0 = 1", at(one), "=", one / 2),
            Relation("s^2", at(one / 2), "=", one / 4),
            Relation("the printed step at the printed limit", at(limit), "!=", limit),
        ]

    return Relations(ask)


STEP_KIND = Polynomial("d", "1", frozenset({"X", "p"}), {"lambda": (-1,)})


def refutation() -> ClaimObligations:
    """The printed recursion, one point, and the recursion that converges."""
    return ClaimObligations(
        "audit-mesa-richardson",
        ("one point refutes the limit: n = 1, S S^T = 1, lambda = 2, s_t = 1",),
        {
            PRINTED: {"right": STEP_KIND},
            COUNTEREXAMPLE: {},
            OURS: {"right": Polynomial("d", "1", frozenset({"X", "p", "s_t"}), {"lambda": (-1,)})},
        },
        (
            Obligation(PRINTED, "s^K + ((1 - 1/lambda) I - X) s^K = right", printed_obligation),
            Obligation(COUNTEREXAMPLE, "s^K = 2^-K, and the printed limit 2/3 is not kept", counterexample_obligation),
            Obligation(OURS, "A^-1 s_t - right = (I - A)(A^-1 s_t - s^K)", corrected_obligation),
        ),
        (*WITHOUT_LAW, "That the statement is printed as quoted; that linear steps s^{K+1} = s^K/2 go on halving."),
    )
