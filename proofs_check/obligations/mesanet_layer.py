r"""Obligations of mesanet-layer: one step of the gated normal equations, conjugate gradients, and two refutations.

As in `mesa_layer`, keys and values have one dimension, to which either is padded with zeros.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flint

from ..engines.expressions import Expression, evaluate
from ..engines.identities import Identity
from ..engines.key_value_sequences import Sequence, discount, random_sequence, square
from ..engines.layer import dot
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from ..engines.refusals import RefutedError
from ..engines.relations import Relation, Relations
from .fixed_point import half, value
from .mesa_layer import as_numbers, at, identity, outer, polynomial, square_sequence
from .obligation import ClaimObligations, Forms, Obligation, Rational
from .population_loss import TRUSTED

GRADIENT, NORMAL, EVERY = "gradient of one step", "normal equations", "least squares at every t"
NO_UPDATE, START = "no update of rank one", "where conjugate gradients start"
FINITE, ERROR = "as many steps as eigenvalues", "the error after n steps"
PRINTED, COUNTEREXAMPLE = "as printed", "counterexample"
STEP: dict[str, Kind] = {
    "Phi": "matrix", "Z": "matrix", "H'": "symmetric", "G'": "matrix", "Lambda": "symmetric", "k": "vector",
    "v": "vector", "gamma": "scalar", "beta": "scalar",
}  # fmt: skip


def objective(point: Point, Phi: Matrix, gate: Any) -> Any:
    """gamma (1/2 tr(Phi H' Phi^T) - tr(Phi^T G')) + gate/2 |v - Phi k|^2 + 1/2 tr(Phi Lambda Phi^T)."""
    error = point["v"] - Phi @ point["k"]
    kept = half((Phi @ point["H'"] @ Phi.T).trace()) - (Phi.T @ point["G'"]).trace()
    return kept * point["gamma"] + half(dot(error, error) * gate + (Phi @ point["Lambda"] @ Phi.T).trace())


def slope_along(point: Point, gate: Any) -> Any:
    """<dL/dPhi, Z>: the central difference of a quadratic is exact."""
    Phi, Z = point["Phi"], point["Z"]
    return half(objective(point, Phi + Z, gate) - objective(point, Phi - Z, gate))


def gradient_obligation(forms: Forms) -> Identity:
    form = forms.expression(GRADIENT, "right")

    def difference(point: Point) -> Any:
        return slope_along(point, point["beta"]) - (point["Z"].T @ value(form, point)).trace()

    return identity(difference, STEP, form)


def equations(step: str, gate: Callable[[Point], Any]) -> Callable[[Forms], Identity]:
    """<Phi left - right, Z> = the slope of the objective with that gate."""

    def prepare(forms: Forms) -> Identity:
        left, right = (forms.expression(step, name) for name in ("left", "right"))

        def difference(point: Point) -> Any:
            found = point["Phi"] @ value(left, point) - value(right, point)
            return slope_along(point, gate(point)) - (point["Z"].T @ found).trace()

        return identity(difference, STEP, left, right)

    return prepare


def rest_obligation(forms: Forms) -> Identity:
    """left - gamma (H' + Lambda) - beta k k^T = rest."""
    left, rest = forms.expression(NORMAL, "left"), forms.expression(NO_UPDATE, "rest")

    def difference(point: Point) -> Any:
        carried = (point["H'"] + point["Lambda"]) * point["gamma"]
        return value(left, point) - carried - outer(point["k"], point["k"]) * point["beta"] - value(rest, point)

    return identity(difference, STEP, left, rest)


def first_step_obligation(forms: Forms) -> Identity:
    """x = numerator/denominator makes q.(q - A x) = 0, along q: numerator = (q.q) q, denominator = q.A q."""
    above, below = (forms.expression(START, name) for name in ("numerator", "denominator"))
    letters: dict[str, Kind] = {"A": "symmetric", "q": "vector"}

    def difference(point: Point) -> list[Any]:
        q, A = point["q"], point["A"]
        numerator, denominator = value(above, point), value(below, point)
        residual = dot(q, q) * denominator - dot(q, A @ numerator)
        return [residual, numerator - q * dot(q, q), denominator - dot(q, A @ q)]

    return identity(difference, letters, above, below)


@dataclass(frozen=True)
class RandomSystems:
    """A statement on sequences or linear systems, asked at random rational ones.

    ask    random numbers -> pairs that have to be equal
    """

    ask: Callable[[random.Random], list[tuple[Any, Any]]]
    what: str
    rounds: int = 4
    engine = "python-flint (exact rational arithmetic)"

    @property
    def letters(self) -> Mapping[str, str]:
        return {}

    def evidence(self) -> dict[str, Any]:
        return {"at_random": self.what, "rounds": self.rounds}

    def check(self, seed: str) -> None:
        """Raises RefutedError."""
        for k in range(self.rounds):
            if any(left != right for left, right in self.ask(random.Random(f"{seed}/{self.what}/{k}"))):
                raise RefutedError(f"the two sides differ at a random instance of {self.what}")


def literal_slope(sequence: Sequence, inputs: list[Any], penalty: Any, Phi: Any) -> list[Any]:
    """dL_T/dPhi of the objective with input gates, term by term, entry by entry."""

    def total(at_Phi: Any) -> Any:
        ridge = sum(((at_Phi * penalty * at_Phi.transpose())[i, i] for i in range(at_Phi.nrows())), flint.fmpq(0))
        result = ridge / 2
        for i, given in enumerate(inputs, start=1):
            error = sequence.values[i - 1] - at_Phi * sequence.keys[i - 1]
            result += discount(sequence, len(inputs), i) * given / 2 * square(error)
        return result

    found = []
    for i in range(Phi.nrows()):
        for j in range(Phi.ncols()):
            unit = flint.fmpq_mat(Phi.nrows(), Phi.ncols())
            unit[i, j] = flint.fmpq(1)
            found.append((total(Phi + unit) - total(Phi - unit)) / 2)
    return found


def diagonal(draw: random.Random, size: int) -> Any:
    """A diagonal matrix of positive rationals."""
    entries = [flint.fmpq(draw.randrange(1, 2**10), 2**5) for _ in range(size)]
    return flint.fmpq_mat(size, size, [entries[i] if i == j else 0 for i in range(size) for j in range(size)])


def every_obligation(forms: Forms) -> RandomSystems:
    """With H_t + Lambda and G_t by the forms, the literal objective has slope 0 at every Phi_t."""
    left, right = (forms.expression(NORMAL, name) for name in ("left", "right"))

    def ask(draw: random.Random) -> list[tuple[Any, Any]]:
        sequence = square_sequence(random_sequence(draw, 4, draw.randrange(1, 4), draw.randrange(1, 4)))
        size, pairs = sequence.keys[0].nrows(), []
        inputs = [flint.fmpq(draw.randrange(0, 2**10), 2**8) for _ in sequence.keys]
        penalty = diagonal(draw, size)
        H, G = flint.fmpq_mat(size, size), flint.fmpq_mat(size, size)
        for t, (k, v, gate) in enumerate(zip(sequence.keys, sequence.values, sequence.gates, strict=True), start=1):
            letters = {"k": k, "v": v, "gamma": gate, "beta": inputs[t - 1], "Lambda": penalty, "H'": H, "G'": G}
            system, G = as_numbers(at(left, letters)), as_numbers(at(right, letters))
            H = system - penalty
            so_far = Sequence(
                sequence.keys[:t], sequence.values[:t], sequence.queries[:t], sequence.gates[:t], sequence.regulariser
            )
            slopes = literal_slope(so_far, inputs[:t], penalty, G * system.inv())
            pairs += [(entry, 0) for entry in slopes]
        return pairs

    return RandomSystems(ask, "4 gated pairs with d, m <= 3")


def conjugate_gradients(A: Any, q: Any, x: Any, steps: int) -> Any:
    """x after so many steps, in rational numbers."""
    r = q - A * x
    p, size = r, square(r)
    for _ in range(steps):
        if size == 0:
            break
        Ap = A * p
        a = size / (p.transpose() * Ap)[0, 0]
        x, r = x + p * a, r - Ap * a
        size, before = square(r), size
        p = r + p * (size / before)
    return x


def finite_obligation(forms: Forms) -> RandomSystems:
    """A = a I + u u^T + .. with orthogonal u, v has 1, 2, 3 eigenvalues; any A of size d has at most d."""
    del forms

    def column(draw: random.Random, size: int) -> Any:
        return flint.fmpq_mat(size, 1, [flint.fmpq(draw.randrange(1, 2**10), 2**5) for _ in range(size)])

    def ask(draw: random.Random) -> list[tuple[Any, Any]]:
        q, x, w = column(draw, 4), column(draw, 4), column(draw, 4)
        eye = flint.fmpq_mat(4, 4, [int(i == j) for i in range(4) for j in range(4)])
        u = flint.fmpq_mat(4, 1, [w[1, 0], -w[0, 0], w[3, 0], -w[2, 0]])  # orthogonal to w
        systems = [eye * w[0, 0], eye + w * w.transpose(), eye + w * w.transpose() + 2 * u * u.transpose()]
        rows = flint.fmpq_mat(4, 4, [column(draw, 1)[0, 0] for _ in range(16)])
        systems.append(eye + rows * rows.transpose())
        return [(A * conjugate_gradients(A, q, x, n), q) for n, A in enumerate(systems, start=1)]

    return RandomSystems(ask, "systems of size 4 with 1, 2, 3 and 4 eigenvalues")


def growth_obligation(forms: Forms) -> Identity:
    """With kappa = (1 + e)^2 and w = growth: 2 w (kappa + 1) = (w^2 + 1)(kappa - 1)."""
    above, below = forms.quotient(ERROR, "growth")
    letters: dict[str, Kind] = {"e": "scalar"}

    def difference(point: Point) -> Any:
        a, b = (evaluate(part, point.values, point.one) for part in (above, below))
        kappa = (point["e"] + point.one) * (point["e"] + point.one)
        return a * b * (kappa + point.one) * 2 - (a * a + b * b) * (kappa - point.one)

    return Identity(difference, letters, {}, 1, above.degree() * 2 + 4, 0, (1,))


def chebyshev_obligation(forms: Forms) -> Identity:
    """2 x c_n = c_(n+1) + c_(n-1) for c_n = (w^n + w^-n)/2 and x = c_1, n <= 8; times 2 w^(n+1)."""
    del forms
    letters: dict[str, Kind] = {"w": "scalar"}

    def difference(point: Point) -> list[Any]:
        w, one = point["w"], point.one
        return [
            (w * w + one) * (w ** (2 * n) + one) - (w ** (2 * n + 2) + one) - (w ** (2 * n) + w * w)
            for n in range(1, 9)
        ]

    return Identity(difference, letters, {}, 1, 24, 0, (1,))


def met_obligation(forms: Forms) -> Identity:
    """A = diag(1, kappa), q = (1, 1), x_0 = 0: one step leaves ((kappa - 1)/(kappa + 1))^2 of the squared error."""
    del forms
    letters: dict[str, Kind] = {"kappa": "scalar"}

    def difference(point: Point) -> Any:
        kappa, one = point["kappa"], point.one
        # |e_1|^2/|e_0|^2 = 1 - (q.q)^2/((q.A q)(q.A^-1 q)), and q.A^-1 q = (kappa + 1)/kappa
        return (one + kappa) * (one + kappa) - kappa * 4 - (kappa - one) * (kappa - one)

    return Identity(difference, letters, {}, 1, 4, 0, (1,))


GATED = {"gamma": (1,), "beta": (1,)}
LEAST = (
    "The least error of conjugate gradients among the polynomials in A with value 1 at 0 [hestenes1952methods], and "
    "the size of Chebyshev polynomials on [-1, 1]: in words. T_n((w + 1/w)/2) = (w^n + w^-n)/2 for all n by its "
    "recursion."
)
INDUCTION = (
    "The induction over t from H_0 = 0, G_0 = 0; sequences of gated pairs are confirmed at random rational ones."
)


def obligations() -> ClaimObligations:
    """The seven steps."""
    return ClaimObligations(
        "mesanet-layer",
        (
            "any keys and values, gates gamma_t and beta_t; Lambda symmetric and positive definite",
            "L_t = 1/2 sum_i zeta_ti beta_i |v_i - Phi k_i|^2 + 1/2 tr(Phi Lambda Phi^T), zeta_ti = gamma_{i+1} .. "
            "gamma_t",
        ),
        {
            GRADIENT: {"right": polynomial("Phi H' G' Lambda k v", GATED)},
            NORMAL: {"left": polynomial("H' Lambda k", GATED), "right": polynomial("G' k v", GATED)},
            EVERY: {},
            NO_UPDATE: {"rest": polynomial("Lambda", {"gamma": (1,)})},
            START: {"numerator": polynomial("q", {}, "d", "1"), "denominator": polynomial("q A", {}, "1", "1")},
            FINITE: {},
            ERROR: {"growth": Rational(frozenset({"e"}))},
        },
        (
            Obligation(GRADIENT, "half the central difference of the objective = right", gradient_obligation),
            Obligation(NORMAL, "Phi left - right = the gradient", equations(NORMAL, lambda point: point["beta"])),
            Obligation(EVERY, "the literal objective has slope 0 at every G_t (H_t + Lambda)^-1", every_obligation),
            Obligation(NO_UPDATE, "left - gamma (H' + Lambda) - beta k k^T = rest", rest_obligation),
            Obligation(START, "q.(q - A x_1) = 0 for x_1 = numerator/denominator along q", first_step_obligation),
            Obligation(FINITE, "n steps are exact for n different eigenvalues", finite_obligation),
            Obligation(
                ERROR, "(kappa + 1)/(kappa - 1) = (growth + 1/growth)/2 with kappa = (1 + e)^2", growth_obligation
            ),
            Obligation(
                ERROR, "the recursion of Chebyshev polynomials for (w^n + w^-n)/2, n <= 8", chebyshev_obligation
            ),
            Obligation(ERROR, "one step on diag(1, kappa) from q = (1, 1) meets the bound", met_obligation),
        ),
        (TRUSTED[0], *TRUSTED[2:], INDUCTION, LEAST),
    )  # fmt: skip


# The printed statements


def one_by_one(left: Expression, right: Expression, gate: Any) -> Any:
    """right/left at T = d = 1 with every other letter 1 and nothing before."""
    one = flint.fmpq_mat(1, 1, [1])
    letters = {"k": one, "v": one, "Lambda": one, "H'": one * 0, "G'": one * 0, "gamma": flint.fmpq(1), "beta": gate}
    return at(right, letters)[0, 0] / at(left, letters)[0, 0]


def objective_relations(forms: Forms) -> Relations:
    """k = v = Lambda = 1, beta = 1/2: the recursion gives beta/(beta + 1)."""
    left, right = (forms.expression(PRINTED, name) for name in ("left", "right"))

    def ask() -> list[Relation]:
        beta, printed = flint.fmpq(1, 2), one_by_one(left, right, flint.fmpq(1))
        found = beta / (beta + 1)
        here, least = (((1 - Phi) ** 2 + Phi**2) / 2 for Phi in (found, printed))
        return [
            Relation("the minimum of the printed objective, and the recursion", printed, "!=", found),
            Relation("the printed objective at its minimum, and at the recursion's", least, "<", here),
        ]

    return Relations(ask)


def objective_refutation() -> ClaimObligations:
    """The objective without the input gate, and one number."""
    return ClaimObligations(
        "audit-mn-objective",
        ("any keys, values and gates", "one pair refutes it: T = d = 1, k = v = Lambda = 1, beta = 1/2"),
        {
            PRINTED: {
                "left": polynomial("H' Lambda k", {"gamma": (1,)}), "right": polynomial("G' k v", {"gamma": (1,)}),
            },
            COUNTEREXAMPLE: {},
        },
        (
            Obligation(
                PRINTED, "Phi left - right = the gradient of the objective without the gate",
                equations(PRINTED, lambda point: point.one),
            ),
            Obligation(COUNTEREXAMPLE, "the recursion with the gate is not its minimum", objective_relations),
        ),
        (TRUSTED[0], *TRUSTED[2:], "That the statement is printed as quoted."),
    )  # fmt: skip


def printed_attention(forms: Forms) -> Identity:
    """The form is B q."""
    form = forms.expression(PRINTED, "printed")
    letters: dict[str, Kind] = {"B": "matrix", "q": "vector"}
    return identity(lambda point: value(form, point) - point["B"] @ point["q"], letters, form)


def limit_relations(forms: Forms) -> Relations:
    """k = v = q = 1 at lambda = 1/n: the output is 1/(n + 1), linear attention 1."""
    form = forms.expression(PRINTED, "printed")

    def ask() -> list[Relation]:
        one = flint.fmpq_mat(1, 1, [1])
        printed = at(form, {"B": one, "q": one})[0, 0]
        relations = []
        for n in (1, 1000, 2**20):
            lam = flint.fmpq(1, n)
            output = 1 / (1 / lam + 1)  # B P^-1 q with B = 1, P = 1/lambda + 1
            relations.append(Relation(f"the output at lambda = {lam}, and lambda", output, "<", lam))
        return [*relations, Relation("linear attention", printed, "=", flint.fmpq(1))]

    return Relations(ask)


def limit_refutation() -> ClaimObligations:
    """Linear attention, and one pair."""
    return ClaimObligations(
        "audit-mesa-limit",
        ("any keys, values and queries", "one pair refutes it: T = d = 1, k = v = q = 1"),
        {PRINTED: {"printed": polynomial("B q", {}, "d", "1")}, COUNTEREXAMPLE: {}},
        (
            Obligation(PRINTED, "printed = B q", printed_attention),
            Obligation(COUNTEREXAMPLE, "the output is below lambda, and linear attention is 1", limit_relations),
        ),
        (
            TRUSTED[0], *TRUSTED[2:], "That an output below lambda goes to 0 with lambda, which 1 does not.",
            "That the statement is printed as quoted.",
        ),
    )  # fmt: skip
