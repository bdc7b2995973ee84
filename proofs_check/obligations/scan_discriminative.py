r"""Obligations of scan-discriminative: decoder in the span, force as a quadratic form, its sign, counterexamples.

Class vectors are the columns of F, here square: classes or tokens that are missing are columns or rows of zeros. R
stands for M - 1, E for e^{Mh}, k for rho/(1 - rho).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import flint

from ..engines.decisions import Condition, Decision, Question
from ..engines.expressions import Quotient, evaluate, rational
from ..engines.identities import Identity
from ..engines.layer import dot
from ..engines.matrices import Matrix, total
from ..engines.points import Kind, Point
from ..engines.refusals import UnreadableError
from ..engines.relations import Relation, Relations
from .exponential_variances import number_at
from .fixed_point import value
from .mesa_learning_rate import numbers
from .mesanet_layer import RandomSystems
from .obligation import ClaimObligations, Forms, Obligation, Polynomial, Rational
from .population_loss import TRUSTED
from .scan_frequency import literal_force
from .uniform_covariates import parts_of

SPAN, HANDED, FORCE = "decoder in the span", "gradient handed back", "force on any token"
DISTINCT, WEAK, ALIKE = "force on distinct tokens", "weak overlaps", "classes alike"
TOGETHER, LOSES, GAINS = "common tokens together", "a distinct token that loses", "a common token that gains"
NUMBERS: dict[str, Kind] = {name: "scalar" for name in ("R", "E", "h", "K", "k", "s", "beta")}


def identity(difference: Callable[[Point], Any], letters: dict[str, Kind], *forms: Quotient) -> Identity:
    """Symbols in up to three dimensions, random numbers in six; no form has a power of d."""
    degree = 24 + sum(2 * max(part.degree() for part in form) for form in forms)
    return Identity(difference, letters, {}, 6, degree, 0, (1, 2, 3))


def ones(point: Point) -> Matrix:
    """The vector of ones."""
    return Matrix.build(point.dimension, 1, lambda i, j: point.one)


def span_obligation(forms: Forms) -> Identity:
    """With W = G V, Y = F V: Y^T F = W^T."""
    del forms

    def difference(point: Point) -> Any:
        F, V = point["F"], point["V"]
        logits = F.T @ F @ V
        return (F @ V).T @ F - logits.T

    return identity(difference, {"F": "matrix", "V": "matrix"})


def softmax_obligation(forms: Forms) -> Identity:
    """alpha at the own token is E/(E + R): e^{hR} over e^{hR} + R e^{-h}, times e^h."""
    form = forms.quotient(HANDED, "own")

    def difference(point: Point) -> Any:
        top, bottom = parts_of(form, point)
        return top * (point["E"] + point["R"]) - bottom * point["E"]

    return identity(difference, NUMBERS, form)


def speed_obligation(forms: Forms) -> Identity:
    """W (e_n - alpha_n), times E + R: entry n and any other, product by product, are speed (1 - 1/M) and -speed/M."""
    form = forms.quotient(HANDED, "speed")

    def difference(point: Point) -> list[Any]:
        R, E, h = (point[name] for name in ("R", "E", "h"))
        top, bottom = parts_of(form, point)
        own = (h * R) * R + (-h) * (-point.one) * R
        other = (-h) * R + (h * R) * (-point.one) + (-h) * (-point.one) * (R - point.one)
        below = bottom * (R + point.one)
        return [own * below - top * R * (E + R), other * below + top * (E + R)]

    return identity(difference, NUMBERS, form)


def right_obligation(forms: Forms) -> Identity:
    """right = I - t 1 1^T, in the letter t for 1/M."""
    form = forms.expression(FORCE, "right")

    def difference(point: Point) -> Any:
        one = ones(point)
        return value(form, point, o=one, **{"1/M": point["t"]}) - (point["I"] - (one @ one.T) * point["t"])

    return identity(difference, {"t": "scalar"})


def force_obligation(forms: Forms) -> Identity:
    """sum over the query's classes of phi_n (phi^T A e_n) - (1 - t) phi_n^2."""
    form = forms.expression(FORCE, "force")

    def difference(point: Point) -> Any:
        phi, A, Q, t = point["phi"], point["A"], point["Q"], point["t"]
        moved = A.T @ phi
        literal = total(
            Q[n, n] * (phi[n, 0] * moved[n, 0] - phi[n, 0] * phi[n, 0] * (point.one - t))
            for n in range(point.dimension)
        )
        return literal - value(form, point, **{"1/M": t})

    return identity(difference, {"phi": "vector", "A": "matrix", "Q": "diagonal", "t": "scalar"})


def literal_obligation(forms: Forms) -> RandomSystems:
    """At random rational unit class vectors: the layer's force with g_n = F A e_n, G A = right, token by token."""
    right, force = (forms.expression(FORCE, name) for name in ("right", "force"))

    def ask(draw: random.Random) -> list[tuple[Any, Any]]:
        K = draw.randrange(2, 5)
        tokens, chosen = K + 2, [draw.randrange(2) for _ in range(K)]
        vectors = [on_the_sphere(draw, tokens) for _ in range(K)]
        eye = Matrix.build(K, K, lambda i, j: flint.fmpq(int(i == j)))
        letters: dict[str, Any] = {
            "I": eye, "o": Matrix.build(K, 1, lambda i, j: flint.fmpq(1)), "1/M": flint.fmpq(1, tokens),
            "Q": Matrix.build(K, K, lambda i, j: flint.fmpq(chosen[i] * int(i == j))),
        }  # fmt: skip
        A = solved(vectors, evaluate(right, letters, flint.fmpq(1)))
        literal = forces_at(vectors, A, chosen)
        pairs = []
        for token in range(tokens):
            phi = Matrix(tuple((vector[token],) for vector in vectors))
            pairs.append((literal[token], evaluate(force, {**letters, "A": A, "phi": phi}, flint.fmpq(1))))
        return pairs

    return RandomSystems(ask, "2 to 4 class vectors over K + 2 tokens")


def on_the_sphere(draw: random.Random, size: int) -> list[Any]:
    """A rational unit vector: (2 s, 1 - |s|^2)/(1 + |s|^2)."""
    s = [flint.fmpq(draw.randrange(1, 2**20), 2**20) for _ in range(size - 1)]
    square = sum((x * x for x in s), flint.fmpq(0))
    return [2 * x / (1 + square) for x in s] + [(1 - square) / (1 + square)]


def solved(vectors: list[list[Any]], right: Matrix) -> Matrix:
    """G^-1 right."""
    K = len(vectors)
    G = flint.fmpq_mat(K, K, [product(a, b) for a in vectors for b in vectors])
    found = G.inv() * flint.fmpq_mat(K, K, list(right.entries()))
    return Matrix.build(K, K, lambda i, j: found[i, j])


def product(left: list[Any], right: list[Any]) -> Any:
    return sum((a * b for a, b in zip(left, right, strict=True)), flint.fmpq(0))


def forces_at(vectors: list[list[Any]], A: Matrix, chosen: list[int]) -> list[Any]:
    """sum over the chosen classes of f_l (g_l - (f.g) f_l), g_n = sum_j A_jn f_j."""
    found = [flint.fmpq(0)] * len(vectors[0])
    for n, f in enumerate(vectors):
        g = [sum((A[j, n] * vectors[j][token] for j in range(len(vectors))), flint.fmpq(0)) for token in range(len(f))]
        along = product(f, g)
        found = [so_far + chosen[n] * x * (y - along * x) for so_far, x, y in zip(found, f, g, strict=True)]
    return found


# Signs


def blocks_obligation(forms: Forms) -> Identity:
    """(1, -a)/s with b = G' a, s = 1 - b.a solves [[1, b^T], [b, G']] x = e_n; strength = x_n - 1.x/M - (1 - 1/M)."""
    form = forms.quotient(DISTINCT, "strength")
    letters: dict[str, Kind] = {"a": "vector", "Gp": "symmetric", "R": "scalar", "beta": "scalar", "s": "scalar"}

    def difference(point: Point) -> list[Any]:
        a, b, R = point["a"], point["Gp"] @ point["a"], point["R"]
        s, beta = point.one - dot(a, b), dot(a, ones(point))
        solution = [point.one - dot(b, a) - s, b - point["Gp"] @ a]
        top, bottom = parts_of(form, point.with_values({"s": s, "beta": beta}))
        times = (R + point.one) - (point.one - beta) - R * s
        return [*solution, times * bottom - top * s * (R + point.one)]

    return identity(difference, letters, form)


def weak_decision(forms: Forms) -> Decision:
    """Three other classes with overlaps x, y, z >= 0, pairwise sums at most 1, det G' > 0, G' v = 1: v_1 >= 0."""
    del forms

    def ask() -> Question:
        names = ["x", "y", "z", "v1", "v2", "v3"]
        context = flint.fmpq_mpoly_ctx.get(names, flint.Ordering.degrevlex)
        x, y, z, v1, v2, v3 = context.gens()
        system = [v1 + x * v2 + y * v3 - 1, x * v1 + v2 + z * v3 - 1, y * v1 + z * v2 + v3 - 1]
        determinant = 1 + 2 * x * y * z - x * x - y * y - z * z
        signs = [[Condition(-one, "<= 0")] for one in (x, y, z)]
        sums = [[Condition(one - 1, "<= 0")] for one in (x + z, y + z)]
        solved_by = [[Condition(one, "= 0")] for one in system]
        kept = [*signs, *sums, [Condition(-determinant, "< 0")], *solved_by]
        own = [Condition(x + y - 1, "<= 0")]
        beyond = [Condition(2 * x + 2 * y - 3, "<= 0")]
        return Question(kept, [own, [Condition(v1, "< 0")]], [beyond, [Condition(v1, "< 0")]])

    letters = {name: "overlap of two of three classes" for name in "xyz"} | {
        f"v{i}": f"entry {i} of G'^-1 1" for i in (1, 2, 3)
    }
    return Decision(ask, letters, "a row of overlaps may sum to 3/2")


def alike_obligation(forms: Forms) -> Identity:
    """x = (own, off, .., off) solves G x = e_n, rho = k/(1 + k); both forms by own, off, R, times (1 + K k)(R + 1)."""
    distinct, common = (forms.quotient(ALIKE, name) for name in ("distinct", "common"))

    def difference(point: Point) -> list[Any]:
        K, k, R, one = point["K"], point["k"], point["R"], point.one
        D, M = one + K * k, R + one
        own, off = (one + k) * (D - k), -(one + k) * k  # times D
        row = own + (K - one) * off
        equations = [
            (one + k) * own + (K - one) * k * off - (one + k) * D,
            k * own + (one + k) * off + (K - one * 2) * k * off,
        ]
        of_distinct = own * M - row - R * D  # times D M
        of_common = K * row * M - K * K * row - K * R * D
        checks = []
        for form, found in ((distinct, of_distinct), (common, of_common)):
            top, bottom = parts_of(form, point)
            checks.append(found * bottom - top * D * M)
        return [*equations, *checks]

    return identity(difference, NUMBERS, distinct, common)


def together_obligation(forms: Forms) -> Identity:
    """The forces of a class sum to g.c (1 - |c|^2): to 0 on the sphere."""
    del forms

    def difference(point: Point) -> Any:
        c, g = point["c"], point["g"]
        return total(iter(literal_force(point, c, g))) - dot(g, c) * (point.one - dot(c, c))

    return identity(difference, {"c": "vector", "g": "vector"})


# Tables


def table_obligation(step: str, token: int, classes: list[int], sign: int) -> Callable[[Forms], Relations]:
    """The force at a token of a table, read from its form; the token occurs in exactly these classes."""

    def prepare(forms: Forms) -> Relations:
        weights, stated = numbers(forms, step, "table"), number_at(forms.quotient(step, "force"))

        def ask() -> list[Relation]:
            vectors = vectors_of(weights)
            K, tokens = len(vectors), len(vectors[0])
            right = Matrix.build(K, K, lambda i, j: flint.fmpq(int(i == j)) - flint.fmpq(1, tokens))
            found = forces_at(vectors, solved(vectors, right), [1] * K)[token]
            occurs = sum(2**n for n in range(K) if vectors[n][token] != 0)
            ends = (found, flint.fmpq(0)) if sign < 0 else (flint.fmpq(0), found)
            return [
                Relation(f"the force on token {token}, M = {tokens}", found, "=", stated),
                Relation("its sign", ends[0], "<", ends[1]),
                Relation("classes with it, as bits", flint.fmpq(occurs), "=", flint.fmpq(sum(2**n for n in classes))),
            ]

        return Relations(ask)

    return prepare


def vectors_of(weights: dict[tuple[int, int], Any]) -> list[list[Any]]:
    """f_n from whole numbers. Raises UnreadableError for other weights, and for rows whose length is not one."""
    K, tokens = max(n for n, _ in weights), max(token for _, token in weights) + 1
    vectors = []
    for n in range(1, K + 1):
        row = [rational(weights[n, token]) if (n, token) in weights else flint.fmpq(0) for token in range(tokens)]
        square = product(row, row)
        length = flint.fmpq(flint.fmpz(square.p).isqrt())
        if length * length != square or length == 0 or any(x < 0 or x.q != 1 for x in row):
            raise UnreadableError(f"class {n} of the table needs whole weights whose length is a whole number, too")
        vectors.append([x / length for x in row])
    return vectors


def of(*names: str) -> Rational:
    return Rational(frozenset(names))


INVERSE_VOCABULARY = {"M": (-1,)}
WORDS = (
    "The step 'weak overlaps' for more than three other classes: its proof in words.",
    "The step 'decoder in the span': that the velocity of Z is taken at this decoder, as the reparametrised flow says.",
    "That e^{hR}/e^{-h} = E for E = e^{Mh}.",
)


def obligations() -> ClaimObligations:
    """The nine steps."""
    return ClaimObligations(
        "scan-discriminative",
        (
            "Y = F G^-1 W, G = F^T F invertible, w_n = h (M e_n - 1), |f_n| = 1, P(n) = 1/K",
            "R = M - 1, E = e^{Mh}, k = rho/(1 - rho)",
        ),
        {
            SPAN: {},
            HANDED: {"own": of("E", "R"), "speed": of("E", "R", "h")},
            FORCE: {
                "right": Polynomial("d", "d", frozenset({"o"}), INVERSE_VOCABULARY),
                "force": Polynomial("1", "1", frozenset({"phi", "A", "Q"}), INVERSE_VOCABULARY),
            },
            DISTINCT: {"strength": of("R", "s", "beta")},
            WEAK: {},
            ALIKE: {"distinct": of("K", "R", "k"), "common": of("K", "R", "k")},
            TOGETHER: {},
            LOSES: {"table": of("x", "y"), "force": of()},
            GAINS: {"table": of("x", "y"), "force": of()},
        },
        (
            Obligation(SPAN, "Y^T F = W^T at W = G V, Y = F V", span_obligation),
            Obligation(HANDED, "own = E/(E + R)", softmax_obligation),
            Obligation(HANDED, "W (e_n - alpha_n) = speed (e_n - 1/M), in both entries", speed_obligation),
            Obligation(FORCE, "right = I - 1 1^T/M", right_obligation),
            Obligation(FORCE, "sum_n Q_n (phi_n g_n - (1 - 1/M) phi_n^2) = force, g = A^T phi", force_obligation),
            Obligation(FORCE, "the layer's force with G A = right is the form, token by token", literal_obligation),
            Obligation(DISTINCT, "strength = x_n - 1.x/M - (1 - 1/M) for x = G^-1 e_n", blocks_obligation),
            Obligation(WEAK, "G'^-1 1 >= 0 for three classes with row sums at most 1", weak_decision),
            Obligation(ALIKE, "both forms from G^-1 at equal overlaps", alike_obligation),
            Obligation(TOGETHER, "the forces of one class sum to 0 where |c| = 1", together_obligation),
            Obligation(LOSES, "token 8 of class 1 alone: its force, below 0", table_obligation(LOSES, 8, [0], -1)),
            Obligation(GAINS, "token 4 of both classes: its force, above 0", table_obligation(GAINS, 4, [0, 1], 1)),
        ),
        (TRUSTED[0], TRUSTED[3], *WORDS),
    )
