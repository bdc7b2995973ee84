"""Obligations of mesa-partial-observation: covariances as sums over unit directions, and the exceptions in numbers.

O, G, M and D are square letters here. That is no loss: a matrix with fewer rows or columns is one with zeros in the
rest, and the identities hold for these, too; the noise sigma^2 I of rows that are not there adds to rows that are not
there.
"""

from __future__ import annotations

from typing import Any

import flint

from ..engines.expressions import Expression
from ..engines.identities import Identity
from ..engines.matrices import Matrix, stack
from ..engines.points import Kind, Point
from ..engines.relations import Relation, Relations
from .fixed_point import value
from .mesa_gradient_step import VECTORS, WITHOUT_LAW
from .obligation import ClaimObligations, FormKind, Forms, Obligation, Polynomial

SEEN, COVARIANCE, BEST, LEAST = "what the delays see", "residual covariance of a map", "the best map", "what it leaves"
RANKS, GENERIC, EXCEPTIONS = "when the map is exact", "the generic case", "neither sufficient nor necessary"
POWERS = (0, 1, 2, 3)
LETTERS: dict[str, Kind] = {"O": "matrix", "G": "matrix", "M": "matrix", "D": "matrix", "sigma2": "scalar"}
# A term M O O^T M^T has 10 legs with its ends.
PAIRS, DEGREE = 5, 8


def identity(difference: Any, letters: dict[str, Kind], *forms: Expression) -> Identity:
    """A term has at most the legs and factors of a covariance and those of the forms in it."""
    legs = PAIRS + sum(form.pairs_of_legs(VECTORS) for form in forms)
    degree = DEGREE + sum(form.degree() for form in forms)
    return Identity(difference, letters, {}, legs, degree, 0, (1, 2))


def seen_obligation(forms: Forms) -> Identity:
    """s_{t-k+1+j} from h, the system being run j steps: the form named W^j times h."""
    products = {j: forms.expression(SEEN, f"W^{j}") for j in POWERS}

    def difference(point: Point) -> list[Matrix]:
        state, found = point["h"], []
        for j in POWERS:
            found.append(point["C"] @ state - value(products[j], point) @ point["h"])
            state = point["W"] @ state
        return found

    return identity(difference, {"W": "matrix", "C": "matrix", "h": "vector"}, *products.values())


def covariance(point: Point, M: Matrix) -> Matrix:
    """Cov(s_{t+1} - M z_t): the sum over unit directions of h, of the noise in z_t, and of the noise in s_{t+1}."""
    n, one, sigma2 = point.dimension, point.one, point["sigma2"]
    found: Matrix = point["I"] * (one * 0)
    for i in range(n):
        unit = Matrix.build(n, 1, lambda row, _, i=i: one * int(row == i))  # type: ignore[misc]
        of_state = point["G"] @ unit - M @ (point["O"] @ unit)
        of_noise = M @ unit
        found = found + of_state @ of_state.T + (of_noise @ of_noise.T + unit @ unit.T).scaled(sigma2)
    return found


def covariance_obligation(forms: Forms) -> Identity:
    form = forms.expression(COVARIANCE, "right")
    return identity(lambda point: covariance(point, point["M"]) - value(form, point), LETTERS, form)


def best_obligation(forms: Forms) -> Identity:
    gram, cross = forms.expression(BEST, "gram"), forms.expression(BEST, "cross")

    def difference(point: Point) -> Matrix:
        M, D = point["M"], point["D"]
        slope = value(cross, point) - M @ value(gram, point)
        found: Matrix = covariance(point, M + D) - covariance(point, M)
        expected: Matrix = D @ value(gram, point) @ D.T - D @ slope.T - slope @ D.T
        return found - expected

    return identity(difference, LETTERS, gram, cross)


def gram_obligation(forms: Forms) -> Identity:
    """gram is symmetric, and v^T gram v = |O^T v|^2 + sigma^2 |v|^2: positive semi-definite."""
    gram = forms.expression(BEST, "gram")

    def difference(point: Point) -> list[Any]:
        v, at = point["h"], value(gram, point)
        moved = point["O"].T @ v
        square = (moved.T @ moved)[0, 0] + (v.T @ v)[0, 0] * point["sigma2"]
        return [at - at.T, (v.T @ at @ v)[0, 0] - square]

    return identity(difference, {**LETTERS, "h": "vector"}, gram)


def least_obligation(forms: Forms) -> Identity:
    """residual(M) = least + (M gram - cross) M^T."""
    gram, cross = forms.expression(BEST, "gram"), forms.expression(BEST, "cross")
    least = forms.expression(LEAST, "right")

    def difference(point: Point) -> Matrix:
        M = point["M"]
        remains = M @ value(gram, point) - value(cross, point)
        found: Matrix = covariance(point, M) - value(least, point) - remains @ M.T
        return found

    return identity(difference, LETTERS, gram, cross, least)


def projector_obligation(forms: Forms) -> Identity:
    """At M = G B without noise: least = G (I - B O) G^T, and M gram - cross = G (B O - I) O^T, for every B, O^+ too."""
    gram, cross = forms.expression(BEST, "gram"), forms.expression(BEST, "cross")
    least = forms.expression(LEAST, "right")

    def difference(point: Point) -> list[Matrix]:
        here = point.with_values({"sigma2": point.one * 0, "M": point["G"] @ point["B"]})
        rest = point["I"] - point["B"] @ point["O"]
        remains = here["M"] @ value(gram, here) - value(cross, here)
        return [
            value(least, here) - point["G"] @ rest @ point["G"].T,
            remains + point["G"] @ rest @ point["O"].T,
        ]

    return identity(difference, {**LETTERS, "B": "matrix"}, gram, cross, least)


# Numbers


def rows(*lines: str) -> Matrix:
    """A rational matrix from text."""
    return Matrix(
        tuple(tuple(flint.fmpq(*map(int, (x + "/1").split("/")[:2])) for x in line.split()) for line in lines)
    )


def rank(matrix: Matrix) -> int:
    height, width = matrix.shape
    return int(flint.fmpq_mat(height, width, list(matrix.entries())).rank())


def observability(W: Matrix, C: Matrix, delays: int) -> Matrix:
    """(C; C W; ..; C W^{k-1}), in this order: the rank does not see it."""
    blocks, last = [[C]], C
    for _ in range(delays - 1):
        last = last @ W
        blocks.append([last])
    return stack(blocks)


FOUR_CYCLE = ("0 1 0 0", "0 0 1 0", "0 0 0 1", "1 0 0 0")
TURN = ("3/5 -4/5 0", "4/5 3/5 0", "0 0 1")


def exceptions_obligation(forms: Forms) -> Relations:
    """Ranks of O_k and O_{k+1}, and the map of the second: s_{t+1} - 6/5 s_t + s_{t-1} = 0."""
    del forms

    def ask() -> list[Relation]:
        cycle, pair = rows(*FOUR_CYCLE), rows("1 0 0 0", "0 1 0 0")
        turn, single = rows(*TURN), rows("1 0 0")
        recursion = single @ turn @ turn - (single @ turn).scaled(flint.fmpq(6, 5)) + single
        eye = turn @ turn.T - rows("1 0 0", "0 1 0", "0 0 1")
        return [
            Relation("4-cycle, C = (e_1; e_2): k n_s at k = 2", 2 * 2, "=", 4),
            Relation("rank O_2 and rank O_3", rank(observability(cycle, pair, 2)), "<",
                     rank(observability(cycle, pair, 3))),
            Relation("rotation + 1, C = e_1: k n_s at k = 2", 2, "<", 3),
            Relation("rank O_2 and rank O_3", rank(observability(turn, single, 2)), "=",
                     rank(observability(turn, single, 3))),
            Relation("|C W^2 - 6/5 C W + C|^2", (recursion @ recursion.T)[0, 0], "=", flint.fmpq(0)),
            Relation("|W W^T - I|^2", (eye.T @ eye).trace(), "=", flint.fmpq(0)),
        ]  # fmt: skip

    return Relations(ask)


def residual_obligation(forms: Forms) -> Relations:
    """The 4-cycle: P projects on e_1, e_2, e_3, and least = G (I - P) G^T has the entry 1 for the second number."""
    least = forms.expression(LEAST, "right")

    def ask() -> list[Relation]:
        from ..engines.expressions import evaluate

        cycle, pair = rows(*FOUR_CYCLE), rows("1 0 0 0", "0 1 0 0", "0 0 0 0", "0 0 0 0")
        seen, G = stack([[(pair @ cycle)], [pair]]), pair @ cycle @ cycle
        seen = Matrix((seen.rows[0], seen.rows[1], seen.rows[4], seen.rows[5]))
        M = rows("0 1 0 0", "0 0 0 0", "0 0 0 0", "0 0 0 0")
        zero = flint.fmpq(0)
        letters = {"O": seen, "G": G, "M": M, "sigma2": zero, "I": rows("1 0 0 0", "0 1 0 0", "0 0 1 0", "0 0 0 1")}
        found, remains = evaluate(least, letters, flint.fmpq(1)), M @ seen @ seen.T - G @ seen.T
        return [
            Relation(
                "|M gram - cross|^2 for s_{t+1} = (second number of s_t, 0)", (remains.T @ remains).trace(), "=", zero
            ),
            Relation("what is left of the first number", found[0, 0], "=", zero),
            Relation("what is left of the second number", found[1, 1], "=", flint.fmpq(1)),
        ]

    return Relations(ask)


def generic_obligation(forms: Forms) -> Relations:
    """Cyclic shifts with either determinant and C = (e_1; e_{1+k}; ..): rank O_k = min(k n_s, n_h), n_h <= 5."""
    del forms

    def ask() -> list[Relation]:
        found = []
        for n in range(2, 6):
            for sign in (1, -1):
                W = Matrix.build(n, n, lambda i, j, n=n, sign=sign: flint.fmpq(  # type: ignore[misc]
                    (sign if i == n - 1 else 1) * int(j == (i + 1) % n)))  # fmt: skip
                for n_s in range(1, n):
                    for k in range(1, n + 1):
                        C = Matrix.build(n_s, n, lambda i, j, n=n, k=k: flint.fmpq(  # type: ignore[misc]
                            int(j == (i * k) % n)))  # fmt: skip
                        name = f"rank at n_h = {n}, n_s = {n_s}, k = {k}, sign {sign}"
                        found.append(Relation(name, rank(observability(W, C, k)), "=", min(k * n_s, n)))
        return found

    return Relations(ask)


MATRICES = frozenset({"O", "G", "M"})
KINDS: dict[str, dict[str, FormKind]] = {
    SEEN: {f"W^{j}": Polynomial("d", "d", frozenset({"C", "W"}), {}) for j in POWERS},
    COVARIANCE: {"right": Polynomial("d", "d", MATRICES, {"sigma2": (1,)})},
    BEST: {
        "gram": Polynomial("d", "d", frozenset({"O"}), {"sigma2": (1,)}),
        "cross": Polynomial("d", "d", frozenset({"O", "G"}), {}),
    },
    LEAST: {"right": Polynomial("d", "d", MATRICES, {"sigma2": (1,)})},
    RANKS: {}, GENERIC: {}, EXCEPTIONS: {},
}  # fmt: skip
IN_WORDS = (
    "O^+ O is the orthogonal projector on the row space of O, and G (I - O^+ O) G^T is 0 iff G (I - O^+ O) is: in "
    "words.",
    "The generic case beyond the sizes that were computed, and that an analytic function that is not 0 vanishes on a "
    "null set only: in words. That no function of z_t does better, for Gaussian laws: E[s_{t+1} | z_t] is linear.",
)


def obligations() -> ClaimObligations:
    """The seven steps."""
    return ClaimObligations(
        "mesa-partial-observation",
        ("every W, C, k and sigma^2 >= 0; h of covariance I, noise of covariance sigma^2 I, all uncorrelated",),
        KINDS,
        (
            Obligation(SEEN, "C W^j h is what the system shows after j steps, j <= 3", seen_obligation),
            Obligation(COVARIANCE, "the sum over unit directions = right", covariance_obligation),
            Obligation(BEST, "residual(M + D) - residual(M) by gram and cross, for every D", best_obligation),
            Obligation(BEST, "v^T gram v = |O^T v|^2 + sigma^2 |v|^2", gram_obligation),
            Obligation(LEAST, "residual(M) = right + (M gram - cross) M^T", least_obligation),
            Obligation(RANKS, "at M = G B without noise: least = G (I - B O) G^T, M gram - cross = -G (I - B O) O^T",
                       projector_obligation),
            Obligation(GENERIC, "rank O_k = min(k n_s, n_h) for cyclic shifts, n_h <= 5", generic_obligation),
            Obligation(EXCEPTIONS, "the ranks and the recursion of both exceptions", exceptions_obligation),
            Obligation(EXCEPTIONS, "the 4-cycle leaves diag(0, 1)", residual_obligation),
        ),
        (*WITHOUT_LAW, *IN_WORDS),
    )  # fmt: skip
