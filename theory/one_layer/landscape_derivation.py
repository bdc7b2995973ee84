r"""The derivation of the critical points: each step with its check on the layer multiplied out.

Steps
    one minimiser for each leak, the points with value 0, the loss on an edge, the quartic, long contexts, the threshold
    for large d, and the criterion for a dominant eigenvalue (`reduced_landscape`, `isotropic_landscape`,
    `leak_stability`). That the zeros inside a face are all found is `simplex_zeros`, at the numbers of one law.
Checks
    Where F is compared, its left side is the minimum over K of the enumerated loss (the layer in components), which is
    quadratic in K and known from its values at few K.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import Array, evaluate, exact_inverse
from .any_start import enumerated_loss
from .critical_points import Landscape
from .enumeration import Instance
from .fixed_point import exact_value, latex_of
from .isotropic_landscape import edge_system, isotropic_quotient, leading_part, long_contexts, quartic
from .leak_stability import criterion, slope_at_the_leak
from .population_loss import noiseless_loss
from .reduced_landscape import Eigenspaces

Point = tuple[Array, Array]  # p (d+1,) and K (d+1, d), rationals
SIZES = ((2, 1), (2, 2), (2, 3))


def sizes(seed: int) -> tuple[int, int]:
    """d and N of an instance."""
    return SIZES[seed % 3]


def numbers_of(seed: int, count: int) -> list[Fraction]:
    """Random rationals between 1/3 and 3."""
    draw = random.Random(f"landscape {seed}")
    return [Fraction(draw.randint(4, 36), 12) for _ in range(count)]


def instance_at(point: Point, root: Array, context_length: int) -> Instance:
    """The layer at p and K on the law with Lambda = root root^T, Psi = I, no noise."""
    p, K = point
    d = len(root)
    eye = np.eye(d, dtype=int).astype(object)
    return Instance(d, context_length, root, eye, 0, p[:d].reshape(d, 1), p[d], K[:d], K[d].reshape(d, 1))


def identity_root(dimension: int) -> Array:
    found: Array = np.eye(dimension, dtype=int).astype(object)
    return found


# Minima over K of a loss that is quadratic in it

Losses = Callable[[Array], Fraction]


def quadratic_form(loss: Losses, directions: list[Array]) -> tuple[Array, Array, Fraction]:
    """(H, b, c) with loss(sum x_i D_i) = c - b.x + x.H x/2, from values at few x."""
    zero = loss(0 * directions[0])
    up, down = [loss(D) for D in directions], [loss(-D) for D in directions]
    n = len(directions)
    H = np.array([[Fraction(0)] * n for _ in range(n)], dtype=object)
    for i in range(n):
        H[i, i] = up[i] + down[i] - 2 * zero
        for j in range(i):
            H[i, j] = H[j, i] = loss(directions[i] + directions[j]) - up[i] - up[j] + zero
    return H, np.array([(b - a) / 2 for a, b in zip(up, down, strict=True)], dtype=object), zero


def minimum(loss: Losses, directions: list[Array]) -> tuple[Fraction, Array]:
    """The least value and where it is taken."""
    H, b, c = quadratic_form(loss, directions)
    x = exact_inverse(H) @ b
    least = c - (b @ x) / 2
    return least, sum(value * D for value, D in zip(x, directions, strict=True))


def all_directions(d: int) -> list[Array]:
    """A basis of K (d+1, d)."""
    found = []
    for k in range((d + 1) * d):
        D = np.array([[Fraction(0)] * d for _ in range(d + 1)], dtype=object)
        D[k // d, k % d] = Fraction(1)
        found.append(D)
    return found


def kept_directions(d: int) -> list[Array]:
    """Those of the minimiser for a leak along the first axis: U = diag(a, c, .., c), u21 along the axis."""
    along, across, leak = (np.array([[Fraction(0)] * d for _ in range(d + 1)], dtype=object) for _ in range(3))
    along[0, 0], leak[d, 0] = Fraction(1), Fraction(1)
    for j in range(1, d):
        across[j, j] = Fraction(1)
    return [along, across, leak]


def leak_along_first_axis(d: int, length: Fraction) -> Array:
    """p = (length, 0, .., 0, 1)."""
    return np.array([length, *[Fraction(0)] * (d - 1), Fraction(1)], dtype=object)


# Checks


def positive_pivots(seed: int) -> tuple[Any, Any]:
    """How many pivots of the second derivatives by K are positive at a random p, and how many there are.

    A random law with Lambda = L L^T; the loss is the trace polynomial of `population_loss`.
    """
    d, N = sizes(seed)
    values = numbers_of(seed, 3 + d + 1)
    root = np.array([[values[0], Fraction(0)], [values[1] - 2, values[2]]], dtype=object)
    p = np.array(values[3:], dtype=object) * (-1) ** seed
    H, _, _ = quadratic_form(lambda K: exact_loss((p, K), root, N), all_directions(d))
    return pivots(H), len(H)


def exact_loss(point: Point, root: Array, context_length: int) -> Fraction:
    """The trace polynomial at exact numbers."""
    values = {**instance_at(point, root, context_length).values(), "(N+1)": Fraction(context_length + 1)}
    found: Fraction = evaluate(noiseless_loss().loss, values)
    return found


def pivots(matrix: Array) -> int:
    """How many pivots of Gaussian elimination are positive; all are exactly for a positive definite matrix."""
    rows, positive = matrix.copy(), 0
    for k in range(len(rows)):
        if rows[k, k] <= 0:
            return positive
        positive += 1
        for i in range(k + 1, len(rows)):
            rows[i] = rows[i] - rows[k] * (rows[i, k] / rows[k, k])
    return positive


def slopes_without_values(seed: int) -> tuple[Any, Any]:
    """dL/d(u12, u) at p = 0: exact central differences of the enumerated loss, and -(Lambda^2 u21, tr(Lambda^2 U))."""
    d, N = sizes(seed)
    values = numbers_of(seed, (d + 1) * d)
    K, root = np.array(values, dtype=object).reshape(d + 1, d), np.diag([1, 2]).astype(object)
    units = np.array([[Fraction(int(i == j)) for j in range(d + 1)] for i in range(d + 1)], dtype=object)
    found = [
        (enumerated_loss(instance_at((e, K), root, N)) - enumerated_loss(instance_at((-e, K), root, N))) / 2
        for e in units
    ]
    squared = root @ root.T @ root @ root.T
    return found, [*(-(squared @ K[d])), -np.trace(squared @ K[:d])]


@cache
def edge_minimum(seed: int) -> tuple[int, int, Fraction, Fraction, Array]:
    """(d, N, v, F, K) of the isotropic law at p = (v, 0, .., 1), by enumeration."""
    d, N = sizes(seed)
    (v,) = numbers_of(seed, 1)
    p = leak_along_first_axis(d, v)
    least, K = minimum(lambda K: enumerated_loss(instance_at((p, K), identity_root(d), N)), kept_directions(d))
    return d, N, v, least, K


def reduced_loss_check(seed: int) -> tuple[Any, Any]:
    """F by enumeration over K with the symmetry of the leak, and d/2 - P/Q; and over all K by the trace polynomial."""
    d, N, v, least, _ = edge_minimum(seed)
    p = leak_along_first_axis(d, v)
    over_all, _ = minimum(lambda K: exact_loss((p, K), identity_root(d), N), all_directions(d))
    P, Q = (exact_value(part, {"d": d, "N": N, "t": v**2}) for part in isotropic_quotient())
    return [least, over_all], [Fraction(d, 2) - P / Q] * 2


def slope_check(seed: int) -> tuple[Any, Any]:
    """dF/dt, by the enumerated loss at the minimiser and by the quartic: F' = (d-1)^2 quartic/(2 N^9 Q^2).

    With K kept, L is quadratic in v, and dL/dv = 2 v dF/dt at the minimiser.
    """
    d, N, v, _, K = edge_minimum(seed)
    up, down = (
        enumerated_loss(instance_at((leak_along_first_axis(d, v + step), K), identity_root(d), N)) for step in (1, -1)
    )
    values = {"d": d, "N": N, "t": v**2}
    _, Q = (exact_value(part, values) for part in isotropic_quotient())
    at_t = sum(exact_value(c, values) * v ** (2 * k) for k, c in enumerate(quartic()))
    return (up - down) / 2 / (2 * v), (d - 1) ** 2 * at_t / (2 * N**9 * Q**2)


def long_contexts_check(seed: int) -> tuple[Any, Any]:
    """lim sqrt(N) F for one d and one k, by SymPy's limit, and the formula."""
    import sympy as sp

    (k,) = numbers_of(seed, 1)
    d, n = 2 + seed % 3, sp.Symbol("n", positive=True)
    P, Q = (part.subs({"d": d, "t": sp.Rational(k.numerator, k.denominator) * n, "N": n**2}) for part in
            isotropic_quotient())  # fmt: skip
    found = sp.limit(sp.cancel(n * (sp.Rational(d, 2) - P / Q)), n, sp.oo)
    return Fraction(int(found.p), int(found.q)), exact_value(long_contexts(), {"d": d, "k": k})


def leading_part_check(seed: int) -> tuple[Any, Any]:
    """lim quartic(theta d)/(c^8 d^21) at N = c d^2 as d grows, for one theta and one c, and the formula."""
    import sympy as sp

    theta, c = numbers_of(seed, 2)
    d = sp.Symbol("d")
    at = {"N": sp.Rational(c.numerator, c.denominator) * d**2}
    whole = sum(part.subs(at) * (sp.Rational(theta.numerator, theta.denominator) * d) ** k for k, part in
                enumerate(quartic()))  # fmt: skip
    found = sp.limit(sp.expand(whole) / (sp.Rational(c.numerator, c.denominator) ** 8 * d**21), d, sp.oo)
    return Fraction(int(found.p), int(found.q)), exact_value(leading_part(), {"theta": theta, "c": c})


def dominant_check(seed: int) -> tuple[Any, Any]:
    """dF/d(u^2) at the leak along the eigenvector of r (d = 2), with K of all entries, and the derived quotient.

    With H = H_0 + u H_1 + u^2 H_2 and b = b_0 + u b_1 the term of u^2 in -b.H^-1 b/2 is
    -(b_1 - H_1 k).H_0^-1 (b_1 - H_1 k)/2 + k.H_2 k/2 with k = H_0^-1 b_0.
    """
    N, r = 1 + seed % 3, 1 + numbers_of(seed, 1)[0] ** 2
    parts = []
    for u in (-1, 0, 1):
        p = np.array([Fraction(0), Fraction(1), Fraction(u)], dtype=object)
        parts.append(quadratic_form(lambda K, p=p: loss_of_diagonal(p, K, r, N), all_directions(2))[:2])  # type: ignore[misc]
    (H_m, b_m), (H_0, b_0), (H_p, b_p) = parts
    H_1, H_2, b_1 = (H_p - H_m) / 2, (H_p + H_m) / 2 - H_0, (b_p - b_m) / 2
    solved = exact_inverse(H_0)
    k = solved @ b_0
    rest = b_1 - H_1 @ k
    return -(rest @ solved @ rest) / 2 + (k @ H_2 @ k) / 2, exact_value(slope_at_the_leak(), {"r": r, "N": N, "m": 1})


def loss_of_diagonal(p: Array, K: Array, r: Fraction, N: int) -> Fraction:
    """The trace polynomial for Lambda = diag(1, r)."""
    values = instance_at((p, K), identity_root(2), N).values()
    covariance = np.array([[Fraction(1), Fraction(0)], [Fraction(0), r]], dtype=object)
    found: Fraction = evaluate(noiseless_loss().loss, {**values, "Lambda": covariance, "(N+1)": Fraction(N + 1)})
    return found


@cache
def derivation() -> Derivation:
    """From the loss on all parameters to its critical points."""
    steps = (*reduction_steps(), *isotropic_steps(), dominant_step(), example_step())
    results = {"quartic": quartic(), "long contexts": long_contexts(), "criterion": criterion()}
    latex = r"\nabla L(u_{12}, u, U, u_{21}) = 0"
    return Derivation(replace(STATEMENT, latex=latex), steps, results, lambda seed: seed)


def reduction_steps() -> tuple[Step, ...]:
    """From all parameters to the leak."""
    return (
        Step(
            "one minimiser for each (u12, u)",
            "number of positive pivots of the second derivatives of L by K = (U; u21^T)",
            "(d + 1) d, all, for (u12, u) != 0",
            r"\nabla_K^2 L \succ 0 \quad\text{for } (u_{12}, u) \ne 0",
            "E yhat^2 = 0 makes yhat the zero polynomial: its terms without w give u12^T (S + x_q x_q^T/N) U x_q = 0, "
            "so U = 0 or u12 = 0; those linear in w give u U + u12 u21^T = 0, those quadratic in w u u21 = 0: K = 0. "
            "So F(u12, u) = min_K L has the same critical points, with the same kinds, and is constant along rays",
            positive_pivots,
        ),
        Step(
            "points with u12 = 0, u = 0",
            "dL/d(u12, u) at u12 = 0, u = 0",
            "-(Lambda^2 u21, tr(Lambda^2 U))",
            r"\nabla_{(u_{12}, u)} L = -(\Lambda^2 u_{21}, \operatorname{tr}(\Lambda^2 U))",
            "the terms of L that are linear in (u12, u); the slope by K vanishes. Critical where u21 = 0 and "
            "tr(Lambda^2 U) = 0, with L = tr(Lambda)/2; moving u and U together lowers L to second order: saddles",
            slopes_without_values,
        ),
    )


def isotropic_steps() -> tuple[Step, ...]:
    """Lambda = I."""
    P, Q = isotropic_quotient()
    H, b = edge_system()
    return (
        Step(
            "the loss of a leak, isotropic law",
            "min over U, u21 of L at |u12|^2 = t u^2",
            "d/2 - P(t)/Q(t), cubic in t both",
            rf"F(t) = \tfrac d2 - \frac{{P}}{{Q}},\quad P = {latex_of(P)},\quad Q = {latex_of(Q)}",
            "the one minimiser keeps the rotations that keep u12: U = a v v^T + c (I - v v^T), u21 = z v; three "
            "equations, solved. Q is their determinant, so that Q > 0",
            reduced_loss_check,
            forms={"H": H, **{f"b_{k}": b[k] for k in range(3)}, "P": P, "Q": Q},
        ),
        Step(
            "points that leak in part",
            "dF/dt",
            "(d - 1)^2 (c_0 + c_1 t + .. + c_4 t^4)/(2 N^9 Q^2)",
            r"F'(t) = \frac{(d-1)^2}{2 N^9 Q^2}\sum_{k=0}^4 c_k t^k,\quad c_4 = " + latex_of(quartic()[4]),
            "the positive roots are the critical points with u12, u, U and u21 all different from zero, up to scale "
            "and rotation: there are no others off the ends t = 0 (the fixed point) and t = oo (the leak alone). F' "
            "is positive at 0",
            slope_check,
            forms={f"c_{k}": c for k, c in enumerate(quartic())},
        ),
        Step(
            "long contexts",
            "lim sqrt(N) F(k sqrt(N)) as N grows",
            str(long_contexts()),
            rf"\sqrt N\,F(k\sqrt N) \to {latex_of(long_contexts())}",
            "the leading coefficients of numerator and denominator. The limit is convex in k > 0 with its least value "
            "sqrt(2 d (d - 1)) at k = sqrt(2 d/(d - 1)), and grows without bound at both ends: for N large F has a "
            "local minimum near t = k sqrt(N), far above min L ~ d (d + 1)/(2 N)",
            long_contexts_check,
            forms={"limit": long_contexts()},
        ),
        Step(
            "threshold for large d",
            "lim (c_0 + .. + c_4 t^4)/(c^8 d^21) at N = c d^2, t = theta d, as d grows",
            str(leading_part()),
            rf"\lim_{{d\to\infty}} \frac{{1}}{{c^8 d^{{21}}}}\sum_k c_k (\theta d)^k = {latex_of(leading_part())}",
            "the terms of the highest degree in d. As a quadratic in theta^2 it has positive roots where "
            "c (c - 4) >= 0 and c > 1: two minima for N > (4 + o(1)) d^2, one below",
            leading_part_check,
            forms={"leading part": leading_part()},
        ),
    )


def dominant_step() -> Step:
    """Lambda = diag(r, 1, .., 1)."""
    return Step(
        "a dominant eigenvalue",
        "dF/d(u^2) at the leak along the eigenvector of r, Lambda = diag(r, 1, .., 1), d = m + 1",
        f"({criterion()}) times a positive factor",
        r"\operatorname{sign}\partial F/\partial(u^2) = \operatorname{sign}(" + latex_of(criterion()) + ")",
        "the minimum over K to second order in u. Positive: a strict local minimum (turning u12 away from the "
        "eigenvector of r raises the loss by a Rayleigh quotient); negative: a saddle. Its sign is that of "
        "2 r^4 N^4 - m r^2 N^5 for N and r large: stable up to N ~ 2 r^2/m",
        dominant_check,
        forms={"slope": slope_at_the_leak(), "criterion": criterion()},
    )


EXAMPLE = (Eigenspaces((Fraction(1), Fraction(2)), (1, 1)), 20)


def wrong_minimum_of_the_example() -> dict[str, Fraction]:
    """u12, U and u21 (u = 1) of the local minimum that leaks in part along the eigenvector of 2, to float64.

    U is diagonal; u12 and u21 are along that eigenvector.
    """
    landscape = Landscape(*EXAMPLE, np.eye(2))
    found = [landscape.inner_point((1,), zero.vertices) for zero in landscape.zeros((1,))]
    (point,) = (one for one in found if one.kind == "local-minimum")
    u = float(point.value_weights[-1, -1])
    p, K = point.value_weights[-1] / u, u * point.key_query_weights[:, :-1]
    entries = {"u12": p[1], "U_along": K[1, 1], "U_across": K[0, 0], "u21": K[2, 1]}
    return {name: Fraction(float(x)) for name, x in entries.items()}


def example_step() -> Step:
    """A wrong minimum with all blocks different from zero, at one law."""
    import sympy as sp

    found = wrong_minimum_of_the_example()
    shown = ", ".join(f"{name} = {float(x):.6g}" for name, x in found.items())
    return Step(
        "a wrong minimum, Lambda = diag(1, 2), N = 20",
        "grad L at u = 1 and these u12, U, u21, to 15 digits",
        f"0, at a local minimum strict up to scale: {shown}",
        r"\nabla L = 0,\ \nabla^2 L \succ 0 \text{ across the scale, at } \Lambda = \operatorname{diag}(1, 2),\ N = 20",
        "the zero of dF/dt on the edge of the eigenvector of 2 with t largest, and the minimiser K there",
        proof="found by `simplex_zeros`; that a zero lies there, alone, and is a minimum, is for the certificate",
        forms={name: sp.Rational(x.numerator, x.denominator) for name, x in found.items()},
    )


STATEMENT = Statement(
    identifier="critical-points",
    title="Every critical point of the loss on all parameters, and the wrong minima among them",
    latex="",
    text=(
        "The critical points of L on (u12, u, U, u21) are the zeros of polynomials on a simplex of leaks. Beside the "
        "fixed point there are leaks along one eigenvector, points with all four blocks different from zero, and "
        "saddles of value tr(Lambda)/2. For Lambda = I and d = 2 some strict local minimum is not global at every N; "
        "for every d >= 2 there is one for all N from a threshold on (18 for d = 3, about 4 d^2 for large d), of loss "
        "about sqrt(2 d (d - 1)/N), while min L falls like 1/N."
    ),
    assumptions=(
        "x_i, x_q ~ N(0, Lambda), w ~ N(0, I), no noise, all independent; target w.x_q",
        "context length N >= 1, the same for every prompt",
        "the list is proved to be complete where Lambda has one or two different eigenvalues, of any multiplicities",
    ),
    conventions=(
        "query column included in E E^T, 1/N over the context, L = 1/2 E(yhat - w.x_q)^2; kinds up to the scale "
        "(c W_PV, W_KQ/c) and rotations that keep Lambda"
    ),
    sources=(Source("ours", "all of it"), Source("zhang2024trained", "Theorem 4.1 (the global minimum)")),
    uses=("population-loss", "fixed-point", "fixed-point-any-start"),
)
