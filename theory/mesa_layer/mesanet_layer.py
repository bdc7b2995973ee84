r"""MesaNet's layer: least squares with an input gate and a constant regulariser, solved by conjugate gradients.

    H_t = gamma_t H_{t-1} + beta_t k_t k_t^T,  G_t = gamma_t G_{t-1} + beta_t v_t k_t^T,
    o_t = G_t (H_t + Lambda)^-1 q_t
Main statements
    objective        Phi_t = G_t (H_t + Lambda)^-1 is the minimiser of
                     1/2 sum_{i<=t} zeta_ti beta_i |v_i - Phi k_i|^2 + 1/2 tr(Phi Lambda Phi^T):
                     the input gate weighs its own term; without it the recursion solves another problem
    no rank-one step (H_t + Lambda) - gamma (H_{t-1} + Lambda) - beta k k^T = (1 - gamma) Lambda: a constant regulariser
                     makes the update one of full rank wherever something is forgotten
    start            zero steps of conjugate gradients on (H + Lambda) x = q give G x_0: gated linear attention from x_0
                     = q (and multiples of it from multiples), nothing from x_0 = 0, whose first step is the multiple
                     q.q/(q.(H + Lambda) q) of it
    steps            n steps are exact where H + Lambda has n different eigenvalues, and otherwise leave at most
                     2/(w^n + w^-n) <= 2 ((sqrt(kappa) - 1)/(sqrt(kappa) + 1))^n of the error in the norm of H + Lambda,
                     w = (sqrt(kappa) + 1)/(sqrt(kappa) - 1), with equality at n = 1 for some q
Assumptions
    Lambda symmetric and positive definite (diagonal in the paper), 0 <= gamma_t <= 1, beta_t >= 0.
Audited
    [vonoswald2025mesanet, Equations 4-8]: the objective without the input gate.
References
    [vonoswald2025mesanet]; conjugate gradients [hestenes1952methods].
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.formulas import Formula, SingularSystemError, Values
from ..algebra.matrix_derivatives import gradient
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import (
    TracePolynomial,
    degree,
    matrix,
    number,
    scalar,
    select,
    substitute,
    trace,
    vector,
)
from .key_value_sequences import KeyValueSequence, discount, random_matrix, random_sequence
from .mesa_layer import FORGET, KEY, PHI, VALUE, without_phi

if TYPE_CHECKING:
    import sympy as sp

PENALTY = matrix("Lambda", symmetric=True)
H_BEFORE, G_BEFORE = matrix("H'", symmetric=True), matrix("G'", rows="m")
INPUT = scalar("beta")
SYSTEM = matrix("A", symmetric=True)
QUERY, ITERATE, RESIDUAL, DIRECTION = vector("q"), vector("x"), vector("r"), vector("p")


# The objective


def step_objective() -> TracePolynomial:
    """gamma D_{t-1} + beta/2 |v - Phi k|^2 + 1/2 tr(Phi Lambda Phi^T), without the constant of the past terms D_{t-1}.

    D_{t-1} = 1/2 tr(Phi H' Phi^T) - tr(Phi^T G').
    """
    error = VALUE - PHI * KEY
    kept = trace(PHI * H_BEFORE * PHI.T) / 2 - trace(PHI.T * G_BEFORE)
    return FORGET * kept + INPUT * (error.T * error) / 2 + trace(PHI * PENALTY * PHI.T) / 2


@cache
def step_gradient() -> TracePolynomial:
    """dL_t/dPhi."""
    return gradient(step_objective(), PHI)


@cache
def normal_equations() -> tuple[TracePolynomial, TracePolynomial]:
    """(left, right) with Phi_t left = right."""
    return without_phi(step_gradient())


@cache
def states() -> dict[str, TracePolynomial]:
    """What is carried on (H, G), and the system H + Lambda in the letter A for H."""
    left, right = normal_equations()
    H = select(left, lambda monomial: degree(monomial, "Lambda") == 0)
    return {"state H": H, "state G": right, "system": left - H + SYSTEM}


@cache
def rest_of_update() -> TracePolynomial:
    """(H_t + Lambda) - gamma (H' + Lambda) - beta k k^T."""
    left, _ = normal_equations()
    return left - FORGET * (H_BEFORE + PENALTY) - INPUT * (KEY * KEY.T)


# Conjugate gradients


def conjugate_gradient_parts() -> dict[str, TracePolynomial]:
    """One step: a = r.r/(p.A p), x + a p, r - a A p, b = r_new.r_new/(r.r), p = r_new + b p, in scalars a and b."""
    return {
        "squared residual": RESIDUAL.T * RESIDUAL,
        "curvature": DIRECTION.T * SYSTEM * DIRECTION,
        "iterate": ITERATE + scalar("a") * DIRECTION,
        "residual": RESIDUAL - scalar("a") * (SYSTEM * DIRECTION),
        "direction": RESIDUAL + scalar("b") * DIRECTION,
    }


def conjugate_gradients(
    parts: Mapping[str, TracePolynomial], system: Array, query: Array, start: Array, steps: int
) -> Array:
    """x after so many steps on A x = q from x_0; fewer where the residual is zero before."""
    x, r = start, query - system @ start
    p = r
    for _ in range(steps):
        letters = {"A": system, "x": x, "r": r, "p": p}
        size = evaluate(parts["squared residual"], letters)
        if not np.any(r):
            return x
        letters["a"] = size / evaluate(parts["curvature"], letters)
        x, r = evaluate(parts["iterate"], letters), evaluate(parts["residual"], letters)
        letters |= {"r": r}
        p = evaluate(parts["direction"], {**letters, "b": evaluate(parts["squared residual"], letters) / size})
    return x


@cache
def first_step() -> tuple[TracePolynomial, TracePolynomial]:
    """x_1 from x_0 = 0, (numerator, denominator): r = p = q."""
    parts = conjugate_gradient_parts()
    at_query = {"r": QUERY, "p": QUERY, "x": 0 * QUERY}
    moved = substitute(parts["iterate"], at_query, {"a": number(1)})
    return substitute(parts["squared residual"], at_query) * moved, substitute(parts["curvature"], at_query)


@cache
def growth() -> sp.Expr:
    """w with (kappa + 1)/(kappa - 1) = (w + 1/w)/2, the root above 1, in e = sqrt(kappa) - 1 > 0.

    >>> growth()
    (e + 2)/e
    """
    import sympy as sp

    e, w = sp.Symbol("e", positive=True), sp.Symbol("w", positive=True)
    kappa = (1 + e) ** 2
    roots = sp.solve(sp.Eq((kappa + 1) / (kappa - 1), (w + 1 / w) / 2), w)
    (above,) = [root for root in roots if root.subs(e, 1) > 1]
    return sp.factor(above)


def share_left(kappa_root: Any, steps: int) -> Any:
    """2/(w^n + w^-n) for sqrt(kappa) > 1."""
    w = (kappa_root + 1) / (kappa_root - 1)
    return 2 / (w**steps + w**-steps)


# Exact instances


@dataclass(frozen=True)
class GatedSequence:
    """A sequence (its own regulariser unused), input gates beta_1 .. beta_T, and Lambda (d, d)."""

    sequence: KeyValueSequence
    inputs: tuple[Any, ...]
    penalty: Array

    def __len__(self) -> int:
        return len(self.inputs)


def gated_sequence(seed: int | str, shape: tuple[int, int, int] | None = None) -> GatedSequence:
    """Rational gates and a diagonal Lambda."""
    sequence = random_sequence(f"gated/{seed}", shape)
    draw = random.Random(f"gates/{seed}")
    inputs = tuple(Fraction(draw.randint(1, 8), 4) for _ in range(len(sequence)))
    diagonal = [Fraction(draw.randint(1, 9), draw.randint(1, 3)) for _ in range(sequence.dimension)]
    penalty = np.array([[diagonal[i] * int(i == j) for j in range(len(diagonal))] for i in range(len(diagonal))])
    return GatedSequence(sequence, inputs, penalty.astype(object))


def objective(gated: GatedSequence, t: int, Phi: Array) -> Any:
    """1/2 sum_i zeta_ti beta_i |v_i - Phi k_i|^2 + 1/2 tr(Phi Lambda Phi^T), sum by sum."""
    sequence = gated.sequence
    total = np.trace(Phi @ gated.penalty @ Phi.T) / Fraction(2)
    for i in range(1, t + 1):
        error = sequence.values[i - 1] - Phi @ sequence.keys[i - 1]
        total = total + discount(sequence, t, i) * gated.inputs[i - 1] / 2 * np.sum(error * error)
    return total


def sums(gated: GatedSequence, t: int) -> tuple[Array, Array]:
    """(G_t, H_t), term by term."""
    sequence = gated.sequence
    d, m = sequence.dimension, len(sequence.values[0])
    G, H = (np.zeros((rows, d), dtype=int).astype(object) for rows in (m, d))
    for i in range(1, t + 1):
        key, weight = sequence.keys[i - 1], discount(sequence, t, i) * gated.inputs[i - 1]
        G, H = G + weight * sequence.values[i - 1] @ key.T, H + weight * key @ key.T
    return G, H


def weights(gated: GatedSequence, t: int) -> Array:
    """G_t (H_t + Lambda)^-1."""
    G, H = sums(gated, t)
    solved: Array = G @ exact_inverse(H + gated.penalty)
    return solved


def values_at(seed: int) -> dict[str, Any]:
    """Letters at the last step of a rational sequence."""
    gated = gated_sequence(seed)
    t, sequence = len(gated), gated.sequence
    G, H = sums(gated, t - 1)
    return {
        "H'": H, "G'": G, "Lambda": gated.penalty,
        "Phi": random_matrix(seed, len(sequence.values[0]), sequence.dimension),
        "k": sequence.keys[-1], "v": sequence.values[-1], "q": sequence.queries[-1], "gamma": sequence.forget[-1],
        "beta": gated.inputs[-1],
    }  # fmt: skip


def slope_of_objective(gated: GatedSequence, Phi: Array) -> Array:
    """dL_T/dPhi by central differences, exact for a quadratic."""

    def slope(row: int, col: int) -> Any:
        unit = 0 * Phi
        unit[row, col] = Fraction(1)
        up, down = (objective(gated, len(gated), Phi + sign * unit) for sign in (1, -1))
        return (up - down) / 2

    return np.array([[slope(i, j) for j in range(Phi.shape[1])] for i in range(Phi.shape[0])], dtype=object)


def normal_equations_at(seed: int) -> tuple[Array, Array]:
    """Phi_T left, Phi_T being where the literal objective has slope 0, and right."""
    gated, values = gated_sequence(seed), values_at(seed)
    Phi = weights(gated, len(gated))
    left, right = normal_equations()
    zero = slope_of_objective(gated, Phi)
    return np.vstack([Phi @ evaluate(left, values), zero]), np.vstack([evaluate(right, values), 0 * zero])


def every_weight_at(seed: int) -> tuple[Array, Array]:
    """All o_t by the recursion and one linear system each, and from the literal sums."""
    gated = gated_sequence(seed)
    literal = [weights(gated, t) @ gated.sequence.queries[t - 1] for t in range(1, len(gated) + 1)]
    return np.asarray(formula().value({"gated": gated})), np.array(literal)[:, :, 0]


def few_eigenvalues(seed: int) -> tuple[Array, Array]:
    """A x_n beside q after n = 1, 2, 3 steps for A with n different eigenvalues, d = 4, from a start other than 0."""
    draw = random.Random(f"eigenvalues/{seed}")
    eye = np.eye(4, dtype=int).astype(object) * Fraction(draw.randint(1, 9), 2)
    u, v = (np.array([[Fraction(one)] for one in column], dtype=object) for column in ([1, 2, 0, 2], [2, -1, 3, 0]))
    query, start = (random_matrix(f"{name}/{seed}", 4, 1) for name in ("query", "start"))
    systems = (eye, eye + u @ u.T, eye + u @ u.T + 2 * v @ v.T)  # u.v = 0: eigenvalues a, a + 9, a + 28
    parts = conjugate_gradient_parts()
    found = [A @ conjugate_gradients(parts, A, query, start, n) for n, A in enumerate(systems, start=1)]
    return np.array(found), np.array([query] * 3)


def squared_error(system: Array, x: Array, query: Array) -> Any:
    """|x - A^-1 q|_A^2."""
    off = x - exact_inverse(system) @ query
    return (off.T @ system @ off)[0, 0]


def share_after_steps(seed: int) -> tuple[list[Any], list[Any]]:
    """Chebyshev polynomials at (kappa + 1)/(kappa - 1), the bound on n steps, and its equality at n = 1."""
    draw = random.Random(f"share/{seed}")
    root = Fraction(draw.randint(3, 12), 2)
    kappa, w = root**2, evaluate_growth(root)
    chebyshev = [Fraction(1), (kappa + 1) / (kappa - 1)]
    for _ in range(5):
        chebyshev.append(2 * chebyshev[1] * chebyshev[-1] - chebyshev[-2])
    eigenvalues = sorted([Fraction(1), kappa, *(1 + (kappa - 1) * Fraction(draw.randint(1, 9), 10) for _ in range(4))])
    A = np.array([[eigenvalues[i] * int(i == j) for j in range(6)] for i in range(6)], dtype=object)
    query, nothing = random_matrix(f"share/{seed}", 6, 1) + Fraction(1, 7), np.zeros((6, 1), dtype=int).astype(object)
    within, parts = [], conjugate_gradient_parts()
    for n in range(1, 6):
        left = squared_error(A, conjugate_gradients(parts, A, query, nothing, n), query)
        within.append(left <= share_left(root, n) ** 2 * squared_error(A, nothing, query))
    pair = np.array([[Fraction(1), Fraction(0)], [Fraction(0), kappa]], dtype=object)
    worst = np.array([[Fraction(1)], [Fraction(1)]], dtype=object)
    step = conjugate_gradients(parts, pair, worst, 0 * worst, 1)
    met = squared_error(pair, step, worst) / squared_error(pair, 0 * worst, worst)
    powers = [(w**n + w**-n) / 2 for n in range(7)]
    return [*chebyshev, *within, met], [*powers, *[True] * 5, share_left(root, 1) ** 2]


def evaluate_growth(root: Fraction) -> Fraction:
    """w at sqrt(kappa)."""
    import sympy as sp

    found = sp.Rational(growth().subs(sp.Symbol("e", positive=True), sp.Rational(root.numerator, root.denominator) - 1))
    return Fraction(int(found.p), int(found.q))


def starts_at(seed: int) -> tuple[Array, Array]:
    """G x_0 from x_0 = q beside the literal sums of gated linear attention; one step from 0 beside its closed form."""
    gated = gated_sequence(seed)
    sequence, T = gated.sequence, len(gated)
    (G, H), query = sums(gated, T), sequence.queries[-1]
    system, parts = H + gated.penalty, conjugate_gradient_parts()
    attention = 0 * sequence.values[0]
    for i in range(1, T + 1):
        score = discount(sequence, T, i) * gated.inputs[i - 1] * (sequence.keys[i - 1].T @ query)[0, 0]
        attention = attention + score * sequence.values[i - 1]
    above, below = (evaluate(part, {"q": query, "A": system}) for part in first_step())
    once = conjugate_gradients(parts, system, query, 0 * query, 1)
    return np.vstack([G @ conjugate_gradients(parts, system, query, query, 0), once]), np.vstack(
        [attention, above / below]
    )


@cache
def derivation() -> Derivation:
    """The objective, its solution, and conjugate gradients."""
    left, right = normal_equations()
    above, below = first_step()
    steps = (
        equality(
            "gradient of one step",
            ("dL_t/dPhi", r"\nabla L_t"),
            step_gradient(),
            "the sum of past terms is gamma times that of t - 1, 1/2 tr(Phi H' Phi^T) - tr(Phi^T G') up to a constant; "
            "the regulariser is not forgotten",
            lambda seed: (
                slope_of_objective(gated_sequence(seed), values_at(seed)["Phi"]),
                evaluate(step_gradient(), values_at(seed)),
            ),
        ),
        Step(
            "normal equations",
            f"Phi_t [{to_text(left)}]",
            to_text(right),
            rf"\Phi_t \bigl({to_latex(left)}\bigr) = {to_latex(right)}",
            "the gradient is zero at the minimum: H_t + Lambda on the left, G_t on the right, both with the input gate",
            normal_equations_at,
            forms={"left": left, "right": right},
        ),
        Step(
            "least squares at every t",
            "G_t (H_t + Lambda)^-1 q_t with H_t and G_t by the recursion",
            "Phi_t q_t for the minimiser of 1/2 sum_i zeta_ti beta_i |v_i - Phi k_i|^2 + 1/2 tr(Phi Lambda Phi^T)",
            r"G_t (H_t + \Lambda)^{-1} = \arg\min_\Phi \tfrac12 \sum_{i \le t} \zeta_{ti} \beta_i |v_i - \Phi k_i|^2 + "
            r"\tfrac12 \operatorname{tr}(\Phi \Lambda \Phi^\top)",
            "induction over t from H_0 = 0, G_0 = 0; H_t + Lambda is positive definite",
            every_weight_at,
        ),
        Step(
            "no update of rank one",
            "(H_t + Lambda) - gamma (H' + Lambda) - beta k k^T",
            to_text(rest_of_update()),
            rf"(H_t + \Lambda) - \gamma (H' + \Lambda) - \beta k k^\top = {to_latex(rest_of_update())}",
            "of full rank for gamma < 1: the inverse of H + Lambda has no recursion of rank one, as that of "
            "mesa-layer has",
            lambda seed: (
                rest_directly(values_at(seed)), evaluate(rest_of_update(), values_at(seed))
            ),
            forms={"rest": rest_of_update()},
        ),
        Step(
            "where conjugate gradients start",
            "G x_0 for x_0 = q; x_1 for x_0 = 0",
            f"sum_i zeta_ti beta_i v_i (k_i.q), gated linear attention; [{to_text(above)}]/[{to_text(below)}]",
            rf"x_1 = \frac{{{to_latex(above)}}}{{{to_latex(below)}}}\ \text{{from}}\ x_0 = 0",
            "from 0 the first residual is q itself, and so is the first direction; from x_0 = Lambda^-1 q, or from q "
            "over the diagonal of H + Lambda, it is linear attention of the query that is rescaled so",
            starts_at,
            forms={"numerator": above, "denominator": below},
        ),
        Step(
            "as many steps as eigenvalues",
            "(H + Lambda) x_n after n steps, where H + Lambda has n different eigenvalues",
            "q",
            r"(H + \Lambda)\, x_n = q",
            "x_n has the least error in the norm of H + Lambda among x_0 + span{r, A r, .., A^(n-1) r}; the error is "
            "p(A) times the first one for a p with p(0) = 1, and one of degree n vanishes on n eigenvalues "
            "[hestenes1952methods]",
            few_eigenvalues,
        ),
        Step(
            "the error after n steps",
            "|x_n - x|/|x_0 - x| in the norm of H + Lambda, at most",
            f"1/T_n((kappa + 1)/(kappa - 1)) = 2/(w^n + w^-n), w = {growth()}, e = sqrt(kappa) - 1",
            r"\frac{|x_n - x|}{|x_0 - x|} \le \frac{2}{w^n + w^{-n}},\quad w = "
            r"\frac{\sqrt{\kappa} + 1}{\sqrt{\kappa} - 1}",
            "p(z) = T_n((b + a - 2 z)/(b - a))/T_n((b + a)/(b - a)) has p(0) = 1 and is at most 1/T_n((b + a)/(b - a)) "
            "in size on [a, b]; (kappa + 1)/(kappa - 1) = (w + 1/w)/2 and T_n((w + 1/w)/2) = (w^n + w^-n)/2; equality "
            "at n = 1, d = 2, q = (1, 1) in the eigenbasis",
            share_after_steps,
            forms={"growth": growth()},
        ),
    )  # fmt: skip
    results = {"left": left, "right": right}
    return Derivation(replace(STATEMENT, latex=steps[2].latex), steps, results, lambda seed: seed)


def rest_directly(values: dict[str, Any]) -> Array:
    """The rest, from H_t by its own sum."""
    key = values["k"]
    H = values["gamma"] * values["H'"] + values["beta"] * key @ key.T
    rest: Array = (
        H + values["Lambda"] - values["gamma"] * (values["H'"] + values["Lambda"]) - values["beta"] * key @ key.T
    )
    return rest


STATEMENT = Statement(
    identifier="mesanet-layer",
    title="MesaNet's layer is least squares with the input gate as weight",
    latex="",  # the objective, filled in by `derivation`
    text=(
        "The recursion with an input gate beta_t and a constant regulariser Lambda gives at every t the minimiser of "
        "1/2 sum_i zeta_ti beta_i |v_i - Phi k_i|^2 + 1/2 tr(Phi Lambda Phi^T): the gate is the weight of its term. "
        "Conjugate gradients from x_0 = q begin with gated linear attention; n steps are exact for n different "
        "eigenvalues and leave at most 2/(w^n + w^-n) of the error otherwise."
    ),
    assumptions=(
        "any keys, values and queries; Lambda symmetric and positive definite; 0 <= gamma_t <= 1, beta_t >= 0",
        "conjugate gradients in exact arithmetic; kappa is the condition number of H_t + Lambda",
    ),
    conventions="Phi_t is m x d; H_0 = 0, G_0 = 0; zeta_ti = gamma_{i+1} .. gamma_t does not multiply the regulariser",
    sources=(
        Source("vonoswald2025mesanet", "Equations 4-8 (the objective without the input gate)"),
        Source("hestenes1952methods", "conjugate gradients"),
    ),
    uses=("mesa-layer",),
)


# The formulas that are altered


SYMBOLS = {"gamma": ("beta",), "beta": ("gamma",)}


@cache
def formula() -> Formula:
    """o_t for every t, by the recursion and one linear system each."""
    return Formula(states(), outputs, Vocabulary(SYMBOLS))


def outputs(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """(T, m) of a gated sequence. Raises SingularSystemError."""
    gated: GatedSequence = values["gated"]
    sequence = gated.sequence
    d, m = sequence.dimension, len(sequence.values[0])
    H, G = (np.zeros((rows, d), dtype=int).astype(object) for rows in (d, m))
    found = []
    steps = zip(sequence.keys, sequence.values, sequence.queries, sequence.forget, gated.inputs, strict=True)
    for key, value, query, gate, given in steps:
        letters = {
            "Lambda": gated.penalty, "H'": H, "G'": G, "k": key, "v": value, "gamma": gate, "beta": given,
        }  # fmt: skip
        H, G = evaluate(parts["state H"], letters), evaluate(parts["state G"], letters)
        system = evaluate(parts["system"], {**letters, "A": H})
        try:
            found.append((G @ exact_inverse(system) @ query)[:, 0])
        except ValueError:
            raise SingularSystemError("need an invertible system, got a singular one") from None
    return np.array(found)


@cache
def iterates() -> Formula:
    """x after two steps of conjugate gradients from x_0 = Lambda^-1 q, on H_t + Lambda for every t."""
    return Formula(conjugate_gradient_parts(), second_iterates, Vocabulary({"a": ("b",), "b": ("a",)}))


STEPS = 2


def second_iterates(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """G_t x_n for every t of a gated sequence, (T, m). Raises SingularSystemError."""
    gated: GatedSequence = values["gated"]
    found = []
    for t, query in enumerate(gated.sequence.queries, start=1):
        G, H = sums(gated, t)
        try:
            start = exact_inverse(gated.penalty) @ query
            found.append((G @ conjugate_gradients(parts, H + gated.penalty, query, start, STEPS))[:, 0])
        except ZeroDivisionError:
            raise SingularSystemError("need a curvature other than 0, got none") from None
    return np.array(found)


SHAPES = ((3, 2, 2), (4, 1, 2), (3, 3, 1), (4, 2, 3))


def points(name: str) -> list[dict[str, Any]]:
    """Rational sequences with gates."""
    return [{"gated": gated_sequence(f"{name}/{k}", shape)} for k, shape in enumerate(SHAPES)]


# The printed objective


ONE = np.array([[Fraction(1)]], dtype=object)
PAIR = KeyValueSequence((ONE,), (ONE,), (ONE,), (Fraction(1),), Fraction(1))
ONE_PAIR, UNGATED = GatedSequence(PAIR, (Fraction(1, 2),), ONE), GatedSequence(PAIR, (Fraction(1),), ONE)


def printed_equations() -> tuple[TracePolynomial, TracePolynomial]:
    """(left, right) of the objective without the input gate: beta is 1 in the derived ones."""
    left, right = (substitute(part, {}, {"beta": number(1)}) for part in normal_equations())
    return left, right


def at_counterexample() -> tuple[Fraction, Fraction]:
    """(minimiser of the printed objective, what the recursion gives) at one pair: k = v = Lambda = 1, beta = 1/2."""
    printed = weights(UNGATED, 1)[0, 0]
    found = np.asarray(formula().value({"gated": ONE_PAIR}))[0, 0]
    return Fraction(printed), Fraction(found)


def counterexample() -> dict[str, Any]:
    """Plain numbers: beta = 1/2 makes 1/3 of what is 1/2 without it."""
    printed, found = at_counterexample()
    return {
        "T": 1, "d": 1, "k_1": "1", "v_1": "1", "q_1": "1", "Lambda": "1", "gamma_1": "1", "beta_1": "1/2",
        "Phi_1 of the printed objective": str(printed), "Phi_1 of the recursion": str(found),
        "objective without the gate there": str(objective(UNGATED, 1, as_matrix(found))),
        "its minimum": str(objective(UNGATED, 1, as_matrix(printed))),
    }  # fmt: skip


def as_matrix(value: Fraction) -> Array:
    """1 x 1."""
    return np.array([[value]], dtype=object)


def ungated_at(seed: int) -> tuple[Array, Array]:
    """The printed equations at the minimiser of the literal objective without gates."""
    gated = gated_sequence(seed)
    ungated = replace(gated, inputs=(Fraction(1),) * len(gated))
    Phi, (G, H) = weights(ungated, len(gated)), sums(ungated, len(gated) - 1)
    values = {**values_at(seed), "H'": H, "G'": G}
    left, right = printed_equations()
    zero = slope_of_objective(ungated, Phi)
    return np.vstack([Phi @ evaluate(left, values), zero]), np.vstack([evaluate(right, values), 0 * zero])


@cache
def refutation() -> Derivation:
    """The minimiser of the printed objective beside the recursion."""
    left, right = printed_equations()
    printed, found = at_counterexample()
    steps = (
        Step(
            "as printed",
            f"Phi_t [{to_text(left)}]",
            to_text(right),
            rf"\Phi_t \bigl({to_latex(left)}\bigr) \overset{{?}}{{=}} {to_latex(right)}",
            "the normal equations of the objective without the input gate",
            ungated_at,
            forms={"left": left, "right": right},
        ),
        Step(
            "counterexample",
            "Phi_1 at T = d = 1, k = v = Lambda = 1, beta = 1/2",
            f"{found} by the recursion, {printed} at the minimum of the printed objective",
            rf"\Phi_1 = \tfrac{{{found.numerator}}}{{{found.denominator}}} \neq "
            rf"\tfrac{{{printed.numerator}}}{{{printed.denominator}}}",
            "1/2 (1 - Phi)^2 + 1/2 Phi^2 is least at 1/2; the recursion gives beta/(beta + 1)",
            lambda seed: ([Fraction(1, 3), Fraction(1, 2), 1], [found, printed, int(found != printed)]),
        ),
    )
    return Derivation(PRINTED, steps, {}, lambda seed: seed)


PRINTED = Statement(
    identifier="audit-mn-objective",
    title="As printed: an objective without the input gate, a recursion with it",
    latex=r"\arg\min_\Phi \tfrac12 \sum_{i\le t} \zeta_{ti} |v_i - \Phi k_i|^2 + "
    r"\tfrac12 \operatorname{tr}(\Phi \Lambda \Phi^\top) "
    r"\overset{?}{=} G_t (H_t + \Lambda)^{-1},\quad H_t = \gamma_t H_{t-1} + \beta_t k_t k_t^\top",
    text=(
        "The layer G_t (H_t + Lambda)^-1 with H_t = gamma_t H_{t-1} + beta_t k_t k_t^T and G_t = gamma_t G_{t-1} + "
        "beta_t v_t k_t^T minimises 1/2 sum_i zeta_ti |v_i - Phi k_i|^2 + 1/2 tr(Phi Lambda Phi^T)."
    ),
    assumptions=("any keys and values, gates gamma_t and beta_t, Lambda positive definite",),
    conventions="as printed; zeta_ti = gamma_{i+1} .. gamma_t",
    sources=(Source("vonoswald2025mesanet", "Equations 4-8"),),
    uses=("mesanet-layer",),
)
