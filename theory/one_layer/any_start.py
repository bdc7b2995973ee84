r"""Where a start of all parameters can end: points that leak and are local, not global, minima.

Main statements
    slice            u = 0, U = 0 is invariant under gradient flow (L is even in (u, U) together); on it
                     L = min L + 1/2 |M^(1/2) (u12 u21^T - A*) Lambda^(1/2)|_F^2, for any law
    leaking point    the least loss on the slice is at the rank-one truncation of M^(1/2) A* Lambda^(1/2); it lies
                     above min L by half of the sum of the other singular values' squares
    kind             Lambda = I, Psi = I, no noise: the point u12 u21^T = g v v^T, |v| = 1, g = N/(N + d + 1), is a
                     local minimum, strict up to scale and rotation, where D(d, N) > 0 and a saddle where
                     D(d, N) < 0; D is derived in closed form. For d = 2 it is a local minimum for N <= 4
So "any start reaches the fixed point" is false from d = 2, N = 1 on: runs that start near the leaking point stay.
Where it is a saddle there may be further local minima with all of u12, u, U, u21 different from zero: derived in
`critical_points`.
Assumptions
    Those of `PromptLaw`; the kind of the point is derived for the isotropic law without noise.
References
    Ours. On the start that avoids these points: [zhang2024trained, Theorem 4.1].
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate
from ..algebra.printing import to_sympy
from ..algebra.trace_polynomials import TracePolynomial, degree, scalar, select, substitute, vector
from ..symbols import ZERO, I, N, d, u
from .assumptions import FloatArray, check_context_length, check_covariance, check_non_negative, check_task_covariance
from .enumeration import Instance, layer_prediction, prompt, random_instance
from .fixed_point import (
    FixedPoint,
    exact_fixed_point,
    exact_value,
    fixed_point,
    latex_of,
    minimal_loss,
    stationary_system,
)
from .population_loss import enumerated, population_loss, reduced_loss, value_at
from .prompt_law import PromptLaw

if TYPE_CHECKING:
    import sympy as sp

# U = along v v^T + across (I - v v^T): the part of U that the pull -u tr(U A*...) of the loss sees.
DIRECTION, GAIN, ALONG, ACROSS = vector("v"), scalar("g"), scalar("along"), scalar("across")
ISOTROPIC = PromptLaw(I, I, ZERO)


def loss_on_the_slice(law: PromptLaw) -> TracePolynomial:
    """L at u = 0, U = 0."""
    return select(population_loss(law), lambda monomial: degree(monomial, "u", "U") == 0)


def odd_in_u_and_U(law: PromptLaw) -> TracePolynomial:
    """The terms of L that change sign under (u, U) -> (-u, -U)."""
    return select(population_loss(law), lambda monomial: degree(monomial, "u", "U") % 2 == 1)


def of_unit_length(polynomial: TracePolynomial) -> TracePolynomial:
    """The polynomial with v^T v = 1."""
    ((length, _),) = (DIRECTION.T * DIRECTION).terms.items()
    (closed,) = length.traces
    result = ZERO
    for monomial, value in polynomial.terms.items():
        kept = monomial._replace(traces=tuple(word for word in monomial.traces if word != closed))
        result = result + TracePolynomial(polynomial.rows, polynomial.cols, {kept: value})
    return result


@cache
def loss_near_the_leaking_point() -> TracePolynomial:
    """L of the isotropic law at u12 = v, u21 = g v, U = along v v^T + across (I - v v^T) and any u, |v| = 1."""
    projection = DIRECTION * DIRECTION.T
    weights = {"u12": DIRECTION, "u21": GAIN * DIRECTION, "U": ALONG * projection + ACROSS * (I - projection)}
    return of_unit_length(substitute(population_loss(ISOTROPIC), weights))


def loss_along_the_slice() -> TracePolynomial:
    """L of the isotropic law at u12 u21^T = g v v^T, u = 0, U = 0."""
    return select(loss_near_the_leaking_point(), lambda monomial: degree(monomial, "u", "along", "across") == 0)


def leaking_gain() -> sp.Expr:
    """g of the leaking point, where the loss along the slice is stationary.

    >>> leaking_gain()
    N/(N + d + 1)
    """
    import sympy as sp

    g = to_sympy(GAIN)
    (stationary,) = sp.solve(sp.diff(to_sympy(loss_along_the_slice()), g), g)
    return sp.factor(stationary)


def leaking_loss() -> sp.Expr:
    """L at the leaking point of the isotropic law.

    >>> exact_value(leaking_loss(), {"d": 2, "N": 1})
    Fraction(7, 8)
    """
    import sympy as sp

    return sp.factor(to_sympy(loss_along_the_slice()).subs(to_sympy(GAIN), leaking_gain()))


@cache
def second_derivatives() -> sp.Matrix:
    """The second derivatives of L by (u, along, across) at the leaking point, 3 x 3, in d and N."""
    import sympy as sp

    moved = tuple(to_sympy(letter) for letter in (u, ALONG, ACROSS))
    at_the_point = {**dict.fromkeys(moved, 0), to_sympy(GAIN): leaking_gain()}
    return sp.hessian(to_sympy(loss_near_the_leaking_point()), moved).subs(at_the_point).applyfunc(sp.factor)


@cache
def discriminant() -> sp.Expr:
    """D(d, N), the determinant of `second_derivatives` divided by d - 1: its sign tells local minima from saddles.

    >>> [n for n in range(1, 20) if exact_value(discriminant(), {"d": 2, "N": n}) > 0]
    [1, 2, 3, 4]
    """
    import sympy as sp

    return sp.factor(second_derivatives().det() / (to_sympy(d) - 1))


def leaking_point_is_a_local_minimum(dimension: int, context_length: int) -> bool:
    """Whether the leaking point of the isotropic law without noise is a strict local minimum (d >= 2)."""
    return exact_value(discriminant(), {"d": dimension, "N": context_length}) > 0


@dataclass(frozen=True)
class LeakingPoint:
    """The least loss at u = 0, U = 0.

    preconditioner (d, d): u12 u21^T;  loss;  value_weights, key_query_weights (d+1, d+1), |u12| = |u21|.
    """

    preconditioner: FloatArray
    loss: float
    value_weights: FloatArray
    key_query_weights: FloatArray


def leaking_point(
    covariance: Any, context_length: Any, task_covariance: Any = None, noise_variance: Any = 0.0
) -> LeakingPoint:
    """The leaking point of least loss, for any law; parameters as for `fixed_point`.

    >>> leaking_point([[1.0, 0.0], [0.0, 1.0]], 1).loss, fixed_point([[1.0, 0.0], [0.0, 1.0]], 1).loss
    (0.875, 0.75)
    """
    Lambda = check_covariance(covariance)
    values = {
        "Lambda": Lambda,
        "Psi": check_task_covariance(task_covariance, len(Lambda)),
        "N": check_context_length(context_length),
        "sigma2": check_non_negative(noise_variance, "noise_variance"),
    }
    best = fixed_point(covariance, context_length, task_covariance, noise_variance)
    M = np.asarray(evaluate(stationary_system(PromptLaw()).second_moment, values))
    return truncated_to_rank_one(best, root(M), root(Lambda))


def root(matrix: FloatArray) -> FloatArray:
    """The lower triangular K with K K^T = matrix."""
    return np.asarray(np.linalg.cholesky(matrix), dtype=np.float64)


def truncated_to_rank_one(best: FixedPoint, left_root: FloatArray, right_root: FloatArray) -> LeakingPoint:
    """With M = K K^T and Lambda = L L^T: the first singular pair of K^T A* L, and what the others cost."""
    left, sizes, right = np.linalg.svd(left_root.T @ best.preconditioner @ right_root)
    u12 = np.linalg.solve(left_root.T, left[:, 0])
    u21 = np.linalg.solve(right_root.T, right[0]) * sizes[0]
    scale = float(np.linalg.norm(u21) / np.linalg.norm(u12)) ** 0.5
    value_weights, key_query_weights = np.zeros_like(best.value_weights), np.zeros_like(best.value_weights)
    value_weights[-1, :-1], key_query_weights[-1, :-1] = scale * u12, u21 / scale
    loss = best.loss + float(np.sum(sizes[1:] ** 2)) / 2
    return LeakingPoint(np.outer(u12, u21), loss, value_weights, key_query_weights)


STATEMENT = Statement(
    identifier="fixed-point-any-start",
    title="From any start of all parameters: which points training can end at",
    latex="",  # the derived condition, filled in by `derivation`
    text=(
        "Claimed: trained from any start of u12, u, U and u21 the layer ends at the fixed point. Derived here: for "
        "d >= 2 the population loss has other local minima, so the claim can only hold for d = 1, where A = u U + "
        "u12 u21^T is all that is compared. The smallest counterexample has d = 2, N = 1, Lambda = Psi = I, no noise: "
        "u = 0, U = 0, u12 u21^T = (1/4) v v^T with |v| = 1 is a local minimum of value 7/8, and min L = 3/4."
    ),
    assumptions=(
        "x_i, x_q ~ N(0, Lambda), w ~ N(0, Psi), eps_i ~ N(0, sigma^2), all independent; noiseless target w.x_q",
        "context length N >= 1, the same for every prompt",
        "kind of the leaking point: Lambda = I, Psi = I, sigma = 0",
        "training starts at independent Gaussian entries of u12, u, U and u21",
    ),
    conventions=(
        "query column included in E E^T, 1/N over the context, L = 1/2 E(yhat - w.x_q)^2; strict means up to the "
        "scale (c W_PV, W_KQ/c) and, for isotropic laws, rotations of the covariates"
    ),
    sources=(
        Source("ours", "leaking local minima"),
        Source("zhang2024trained", "Theorem 4.1 (the start that avoids them)"),
    ),
    uses=("population-loss", "fixed-point"),
)


# The instances: an isotropic law with a rational unit vector, and the same sizes with a diagonal law.


@dataclass(frozen=True)
class LeakingInstance:
    """Sizes, a rational unit vector v (d, 1), a direction of all weights, and the seed it comes from."""

    seed: int
    dimension: int
    context_length: int
    v: Array

    def values(self) -> dict[str, Any]:
        """For expressions in d and N."""
        return {"d": Fraction(self.dimension), "N": Fraction(self.context_length)}

    def gain(self) -> Fraction:
        return exact_value(leaking_gain(), self.values())

    def weights(self, u: Any = 0, along: Any = 0, across: Any = 0) -> Instance:
        """The isotropic instance at u12 = v, u21 = g v and the given rest."""
        eye = exact_identity(self.dimension)
        projection = self.v @ self.v.T
        U = along * projection + across * (eye - projection)
        return isotropic_instance(self.context_length, self.v, u, U, self.gain() * self.v)


def exact_identity(dimension: int) -> Array:
    eye: Array = np.eye(dimension, dtype=int).astype(object)
    return eye


def isotropic_instance(context_length: int, u12: Array, u: Any, U: Array, u21: Array) -> Instance:
    """Lambda = Psi = I, no noise."""
    eye = exact_identity(len(u12))
    return Instance(len(u12), context_length, eye, eye, 0, u12, u, U, u21)


UNIT_VECTORS = (((3, 5), (4, 5)), ((-5, 13), (12, 13)), ((8, 17), (-15, 17)))


@cache
def leaking_instance(seed: int) -> LeakingInstance:
    """d = 2, N = 1, 2 and 3 in turn, with a vector of rational length one."""
    v = np.array([[Fraction(*entry)] for entry in UNIT_VECTORS[seed % 3]], dtype=object)
    return LeakingInstance(seed, 2, 1 + seed % 3, v)


def enumerated_loss(instance: Instance) -> Fraction:
    """1/2 E (f(E)[d, N] - w.x_q)^2 with the layer multiplied out in components."""
    drawn = prompt(instance)
    error = layer_prediction(instance, drawn.embedding) - drawn.target
    return instance.mean(error * error) / 2


@cache
def second_difference(seed: int, direction: tuple[int, int, int]) -> Fraction:
    """h^T H h of the enumerated loss along (u, along, across): exact, since it is even and quartic there.

    f(e) = f0 + f2 e^2 + f4 e^4 gives 2 f2 = (16 f(1) - f(2) - 15 f(0))/6.
    """
    instance = leaking_instance(seed)
    at = [enumerated_loss(instance.weights(*(e * part for part in direction))) for e in (0, 1, 2)]
    return (16 * at[1] - at[2] - 15 * at[0]) / 6


PROBES = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1))  # they determine a quadratic form


def probed_second_differences(seed: int) -> tuple[Any, Any]:
    """h^T H h along PROBES: enumerated, and from `second_derivatives`."""
    instance = leaking_instance(seed)
    H = [[exact_value(entry, instance.values()) for entry in second_derivatives().row(k)] for k in range(3)]
    derived = [sum(H[i][j] * h[i] * h[j] for i in range(3) for j in range(3)) for h in PROBES]
    return [second_difference(seed, h) for h in PROBES], derived


def sliced_instance(seed: int) -> Instance:
    """A random law with random u12 and u21, at u = 0, U = 0."""
    given = random_instance((seed, False))
    return Instance(
        given.dimension, given.context_length, given.covariance_root, given.task_root, given.noise_root,
        given.u12, 0, 0 * given.U, given.u21,
    )  # fmt: skip


@cache
def enumerated_on_the_slice(seed: int) -> Fraction:
    """The enumerated loss at `sliced_instance`."""
    return enumerated_loss(sliced_instance(seed))


def completed_on_the_slice(seed: int) -> tuple[Any, Any]:
    """The enumerated loss at u = 0, U = 0, and min L + 1/2 tr(G^T M G Lambda) with G = u12 u21^T - A*."""
    instance, law = sliced_instance(seed), PromptLaw()
    system = stationary_system(law)
    star = exact_fixed_point(system, instance)
    gap = instance.u12 @ instance.u21.T - star
    minimum = evaluate(minimal_loss(law), {**instance.values(), "A_*": star})
    M = value_at(system.second_moment, instance)
    return enumerated_on_the_slice(seed), minimum + np.trace(gap.T @ M @ gap @ instance.values()["Lambda"]) / 2


def square_forms() -> dict[str, TracePolynomial]:
    """M, C and min L of the completed square."""
    system = stationary_system(PromptLaw())
    return {"M": system.second_moment, "C": system.cross_moment, "minimum": minimal_loss(PromptLaw())}


def parity_on_weights(seed: int) -> tuple[Any, Any]:
    """The enumerated loss at (u, U) and at (-u, -U), for a random law."""
    given = random_instance((seed, False))
    turned = Instance(
        given.dimension, given.context_length, given.covariance_root, given.task_root, given.noise_root,
        given.u12, -given.u, -given.U, given.u21,
    )  # fmt: skip
    return enumerated((seed, False))["loss"], enumerated_loss(turned)


def loss_at_the_leaking_point(seed: int) -> tuple[Any, Any]:
    """The enumerated loss at the leaking point and at the fixed point, and both derived."""
    instance = leaking_instance(seed)
    eye, zero = exact_identity(instance.dimension), 0 * instance.v
    best = isotropic_instance(instance.context_length, zero, 1, instance.gain() * eye, zero)
    derived = [exact_value(expression, instance.values()) for expression in (leaking_loss(), isotropic_minimum())]
    return [enumerated_loss(instance.weights()), enumerated_loss(best)], derived


def isotropic_minimum() -> sp.Expr:
    """min L of the isotropic law without noise: reduced(A) at A = g I."""
    import sympy as sp

    reduced = substitute(reduced_loss(ISOTROPIC), {"A": GAIN * I})
    return sp.factor(to_sympy(reduced).subs(to_sympy(GAIN), leaking_gain()))


def variation_on_the_slice(seed: int) -> tuple[Any, Any]:
    """2 (L(a, b) - L(v, g v)) at a = v + p, b = g v + q: enumerated, and as the sum of squares of the step."""
    instance = leaking_instance(seed)
    g, v = instance.gain(), instance.v
    p, q = (np.array([[Fraction(a, 7)], [Fraction(b, 5)]], dtype=object) for a, b in ((1, -2), (3, 1)))
    a, b = v + p, g * v + q
    moved = isotropic_instance(instance.context_length, a, 0, 0 * v @ v.T, b)
    aa, ab, bb = (a.T @ a)[0, 0], (a.T @ b)[0, 0], (b.T @ b)[0, 0]
    squares = (ab - g) ** 2 / g + (aa * bb - ab**2) / g
    return 2 * (enumerated_loss(moved) - enumerated_loss(instance.weights())), squares


def smallest_counterexample() -> tuple[Any, Any]:
    """d = 2, N = 1: the two losses by enumeration, and the values that the statement names."""
    instance = leaking_instance(0)
    eye, zero = exact_identity(2), 0 * instance.v
    best = isotropic_instance(1, zero, 1, instance.gain() * eye, zero)
    derived = (leaking_loss(), isotropic_minimum())
    values = [exact_value(expression, instance.values()) for expression in derived]
    return [enumerated_loss(instance.weights()), enumerated_loss(best)], values


@cache
def derivation() -> Derivation:
    """From the loss on all parameters to the leaking local minima."""
    results = {
        "loss on the slice": loss_on_the_slice(PromptLaw()),
        "gain": leaking_gain(),
        "loss": leaking_loss(),
        "minimal loss": isotropic_minimum(),
        "discriminant": discriminant(),
    }
    latex = rf"D(d, N) = {latex_of(discriminant())} > 0"
    return Derivation(replace(STATEMENT, latex=latex), (*slice_steps(), *kind_steps()), results, lambda seed: seed)


def slice_steps() -> tuple[Step, ...]:
    """The slice u = 0, U = 0 for any law."""
    return (
        Step(
            "the loss is even in (u, U) together",
            "L(u12, -u, -U, u21)",
            "L(u12, u, U, u21)",
            r"L(u_{12}, -u, -U, u_{21}) = L(u_{12}, u, U, u_{21})",
            "A does not change and yhat_even changes its sign; so the gradient along u and U vanishes at u = 0, U = 0, "
            "gradient flow stays there, and the second derivatives there fall into a block of (u, U) and one of "
            "(u12, u21)",
            parity_on_weights,
        ),
        equality(
            "the loss on the slice",
            ("L(u12, 0, 0, u21)", r"L(u_{12}, 0, 0, u_{21})"),
            loss_on_the_slice(PromptLaw()),
            "the terms of L without u and U",
            lambda seed: (
                enumerated_on_the_slice(seed),
                value_at(loss_on_the_slice(PromptLaw()), sliced_instance(seed)),
            ),
        ),
        Step(
            "its least value",
            "L(u12, 0, 0, u21)",
            "min L + 1/2 |M^(1/2) (u12 u21^T - A*) Lambda^(1/2)|_F^2",
            r"L(u_{12}, 0, 0, u_{21}) = \min L + \tfrac12\bigl|M^{1/2}(u_{12}u_{21}^\top - A^*)\Lambda^{1/2}\bigr|_F^2",
            "the completed square of fixed-point at A = u12 u21^T, where yhat_even = 0. By the theorem of Eckart and "
            "Young the least value is at the rank-one truncation of M^(1/2) A* Lambda^(1/2), and exceeds min L by half "
            "of the sum of the squares of the other singular values, which is positive for rank A* >= 2",
            completed_on_the_slice,
            forms=square_forms(),
        ),
    )


def kind_steps() -> tuple[Step, ...]:
    """The leaking point of the isotropic law without noise: closed form, and local minimum or saddle."""
    gain, loss, D = leaking_gain(), leaking_loss(), discriminant()
    return (
        Step(
            "losses of the isotropic law",
            "(L at u12 = v, u21 = g v, u = 0, U = 0; min L)",
            f"({loss}; {isotropic_minimum()}) with g = {gain}",
            rf"L = {latex_of(loss)},\quad \min L = {latex_of(isotropic_minimum())},\quad g = {latex_of(gain)}",
            "the loss on the slice is quadratic in g along u12 u21^T = g v v^T, |v| = 1; solved for its zero slope",
            loss_at_the_leaking_point,
            forms={"gain": gain, "loss": loss, "minimal loss": isotropic_minimum()},
        ),
        Step(
            "strict on the slice, up to scale and rotation",
            "2 L(a, 0, 0, b) - 2 L(v, 0, 0, g v)",
            "((a.b - g)^2 + |a|^2 |b|^2 - (a.b)^2)/g",
            r"2L(a,0,0,b) - 2L(v,0,0,gv) = \bigl((a^\top b - g)^2 + |a|^2|b|^2 - (a^\top b)^2\bigr)/g",
            "M, Lambda and A* are multiples of I; zero only for a b^T = g v' v'^T with |v'| = 1, which scale and "
            "rotation join to the point. To second order at a = v + p, b = g v + q it is ((g p + q).v)^2/g plus "
            "|(g p - q)|^2/g across v: positive but for q.v = -g p.v (scale) and q = g p across v (rotation)",
            variation_on_the_slice,
        ),
        Step(
            "second derivatives by u and U",
            "d^2 L/d(u, along, across)^2 at U = along v v^T + across (I - v v^T)",
            str(second_derivatives().tolist()),
            rf"\nabla^2 L = {latex_of(second_derivatives())}",
            "the terms of L of degree two in (u, U); the block of (along, across) is positive definite, since it is "
            "that of 1/2 E yhat_even^2 with yhat_even = u12^T (S + x_q x_q^T/N) U x_q, zero for U = 0 only",
            probed_second_differences,
            forms={"hessian": second_derivatives()},
        ),
        Step(
            "local minimum or saddle",
            "det / (d - 1)",
            f"D(d, N) = {D}",
            rf"D(d, N) = {latex_of(D)}",
            "the Hessian does not change under rotations that keep v, so the directions of U orthogonal to v v^T and "
            "I - v v^T do not mix with (u, along, across); on them u = 0 and the form is positive as before. The 3 x 3 "
            "block is positive definite exactly where its determinant is positive (Sylvester); where that is negative, "
            "one direction goes down and the point is a saddle",
            lambda seed: (determinant_by_enumeration(seed), exact_value(D, leaking_instance(seed).values())),
            forms={"discriminant": D},
        ),
        Step(
            "smallest counterexample",
            "(L at the leaking point, min L) at d = 2, N = 1, Lambda = Psi = I, no noise",
            "(7/8, 3/4), with D(2, 1) > 0",
            r"L = \tfrac78 > \min L = \tfrac34,\quad D(2, 1) > 0",
            "no smaller d has a leaking point above min L: at d = 1 it is a global minimum, with A = A*",
            lambda _: smallest_counterexample(),
        ),
        Step(
            "context length one, any dimension",
            "D(d, 1)",
            str(at_length_one()),
            rf"D(d, 1) = {latex_of(at_length_one())}",
            "positive for every d >= 2: all coefficients of its numerator are",
            lambda seed: (
                exact_value(D, {"d": Fraction(seed + 2), "N": Fraction(1)}),
                exact_value(at_length_one(), {"d": Fraction(seed + 2)}),
            ),
            forms={"discriminant": at_length_one()},
        ),
    )


def at_length_one() -> sp.Expr:
    """D(d, 1)."""
    import sympy as sp

    return sp.factor(discriminant().subs(to_sympy(N), 1))


def determinant_by_enumeration(seed: int) -> Fraction:
    """det/(d - 1) of the 3 x 3 block from exact differences of the enumerated loss."""
    uu, tt, ss, ut, us, ts = (second_difference(seed, h) for h in PROBES)
    ut, us, ts = (ut - uu - tt) / 2, (us - uu - ss) / 2, (ts - tt - ss) / 2
    determinant = uu * (tt * ss - ts**2) - ut * (ut * ss - ts * us) + us * (ut * ts - tt * us)
    return determinant / (leaking_instance(seed).dimension - 1)
