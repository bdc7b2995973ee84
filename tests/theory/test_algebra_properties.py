"""Properties of the trace algebra on random words: derivatives, means over random vectors, Wishart moments.

Each is compared with a computation of this file that knows nothing of words or normal forms: dual numbers, sums over
all pairings of components, and loops counted in pairs of matchings. Everything is exact, so there are no tolerances.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iclcheck.theory.algebra.evaluation import evaluate, evaluate_over_samples
from iclcheck.theory.algebra.gaussian_moments import RandomVector, expectation
from iclcheck.theory.algebra.matrix_derivatives import gradient
from iclcheck.theory.algebra.trace_polynomials import (
    TracePolynomial,
    identity,
    matrix,
    number,
    scalar,
    sum_over_samples,
    trace,
    vector,
)

A, B, Q = matrix("A"), matrix("B"), matrix("Q", rows="m", cols="m")
R = matrix("R", rows="m", cols="d")
C, P, S = (matrix(name, symmetric=True) for name in "CPS")
v, z, w, t, x = (vector(name) for name in "vzwtx")
N = scalar("N")

LETTERS = {"A": A, "v": v, "R": R}  # those that derivatives are taken by: square, vector, rectangular
SIZES = {"d": 2, "m": 3, "1": 1}


def drawn(draw: random.Random, rows: int, cols: int) -> Any:
    """A matrix of small rational numbers."""
    entries = [[Fraction(draw.randint(-3, 3), draw.choice((1, 2))) for _ in range(cols)] for _ in range(rows)]
    return np.array(entries, dtype=object)


# Random scalar polynomials, written once and read twice: with letters, and with arrays

CHAIN = ("A", "A", "A^T", "B", "B^-1", "S", "R^T R", "R^T Q R", "v z^T", "X X^T")
ENDS = ("trace", "v z", "z v", "v v")
Factor = tuple[str, list[str]]  # how a product of these d x d matrices becomes a number
Term = tuple[Fraction, list[Factor]]

coefficients = st.sampled_from([Fraction(1), Fraction(-2), Fraction(3, 5)])


def sums_of_products(chain: tuple[str, ...]) -> st.SearchStrategy[list[Term]]:
    """Up to three terms of up to two numbers each."""
    factors = st.tuples(st.sampled_from(ENDS), st.lists(st.sampled_from(chain), min_size=1, max_size=4))
    return st.lists(st.tuples(coefficients, st.lists(factors, min_size=1, max_size=2)), min_size=1, max_size=3)


def in_letters() -> dict[str, Any]:
    """The matrices of a chain as trace polynomials."""
    samples = sum_over_samples(x * x.T, ("x",))
    return {
        "A": A, "A^T": A.T, "B": B, "B^-1": B**-1, "S": S, "R^T R": R.T * R, "R^T Q R": R.T * Q * R,
        "v z^T": v * z.T, "X X^T": samples, "v": v, "z": z,
    }  # fmt: skip


def in_arrays(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same as arrays. The columns of X are the samples."""
    a, r, X = values["A"], values["R"], values["X"]
    return {
        "A": a, "A^T": a.T, "B": values["B"], "B^-1": values["B^-1"], "S": values["S"], "R^T R": r.T @ r,
        "R^T Q R": r.T @ values["Q"] @ r, "v z^T": values["v"] @ values["z"].T, "X X^T": X @ X.T,
        "v": values["v"], "z": values["z"],
    }  # fmt: skip


def as_polynomial(terms: Sequence[Term]) -> TracePolynomial:
    found = in_letters()

    def one(factor: Factor) -> TracePolynomial:
        end, names = factor
        chain = reduce(lambda left, right: left * right, (found[name] for name in names))
        if end == "trace":
            return trace(chain)
        left, right = end.split()
        return found[left].T * chain * found[right]  # type: ignore[no-any-return]

    summands = (reduce(lambda p, q: p * q, map(one, factors), number(value)) for value, factors in terms)
    return reduce(lambda p, q: p + q, summands)


def as_number(terms: Sequence[Term], values: Mapping[str, Any]) -> Any:
    """The value: a Fraction, or a dual number where an array holds these."""
    found = in_arrays(values)

    def one(factor: Factor) -> Any:
        end, names = factor
        chain = reduce(lambda left, right: left @ right, (found[name] for name in names))
        if end == "trace":
            return np.trace(chain)
        left, right = end.split()
        return (found[left].T @ chain @ found[right])[0, 0]

    return sum(reduce(lambda p, q: p * q, map(one, factors), value) for value, factors in terms)


def random_values(seed: int) -> dict[str, Any]:
    """Rational values; B is of determinant 1, so that its inverse can be written down: d = 2."""
    draw = random.Random(f"algebra {seed}")
    d, m = SIZES["d"], SIZES["m"]
    a, b = Fraction(draw.randint(-3, 3)), Fraction(draw.randint(-3, 3), 2)
    root = drawn(draw, d, d)
    return {
        "A": drawn(draw, d, d), "v": drawn(draw, d, 1), "z": drawn(draw, d, 1), "S": root + root.T,
        "R": drawn(draw, m, d), "Q": drawn(draw, m, m), "X": drawn(draw, d, draw.randint(1, 2)),
        "B": np.array([[1 + a * b, a], [b, Fraction(1)]], dtype=object),
        "B^-1": np.array([[Fraction(1), -a], [-b, 1 + a * b]], dtype=object),
    }  # fmt: skip


def value_of(polynomial: TracePolynomial, values: Mapping[str, Any]) -> Any:
    """The value of a derivative at these values. One without terms has letters of no size: zeros of its shape."""
    if not polynomial.terms:
        return np.full((SIZES[polynomial.rows], SIZES[polynomial.cols]), Fraction(0), dtype=object)
    X = values["X"]
    letters = {name: value for name, value in values.items() if name not in ("X", "B^-1")}
    return evaluate_over_samples(polynomial, letters, {"x": [X[:, i : i + 1] for i in range(X.shape[1])]})


# Derivatives


@dataclass(frozen=True)
class Dual:
    """value + slope e with e^2 = 0: what a polynomial does to value + e is its value and its exact derivative."""

    value: Fraction
    slope: Fraction = Fraction(0)

    def __add__(self, other: Dual | Fraction | int) -> Dual:
        right = as_dual(other)
        return Dual(self.value + right.value, self.slope + right.slope)

    def __mul__(self, other: Dual | Fraction | int) -> Dual:
        right = as_dual(other)
        return Dual(self.value * right.value, self.value * right.slope + self.slope * right.value)

    __radd__, __rmul__ = __add__, __mul__


def as_dual(number: Dual | Fraction | int) -> Dual:
    return number if isinstance(number, Dual) else Dual(Fraction(number))


def partial_derivatives(f: Callable[[Any], Any], at: Any) -> Any:
    """df/da_ij for every entry: one evaluation at dual numbers each."""
    slopes = np.empty(at.shape, dtype=object)
    for place in np.ndindex(*at.shape):
        moved = np.array([[Dual(entry) for entry in row] for row in at], dtype=object)
        moved[place] = Dual(at[place], Fraction(1))
        slopes[place] = as_dual(f(moved)).slope
    return slopes


def test_dual_numbers_differentiate_powers() -> None:
    """The oracle on its own: (a + e)^k = a^k + k a^(k-1) e."""
    a = Fraction(3, 2)
    for k in range(1, 6):
        assert reduce(lambda p, q: p * q, [Dual(a, Fraction(1))] * k) == Dual(a**k, k * a ** (k - 1))


@pytest.mark.parametrize("name", LETTERS)
@settings(max_examples=200, deadline=None, derandomize=True)
@given(terms=sums_of_products(CHAIN), seed=st.integers(0, 20))
def test_every_entry_of_a_gradient_is_the_partial_derivative(name: str, terms: list[Term], seed: int) -> None:
    """By a square, a vector and a rectangular letter, with transposes, an inverse and a sum over samples beside it."""
    values = random_values(seed)
    slopes = partial_derivatives(lambda moved: as_number(terms, {**values, name: moved}), values[name])
    assert np.array_equal(value_of(gradient(as_polynomial(terms), LETTERS[name]), values), slopes)


def at_most_two(terms: list[Term], name: str) -> list[Term]:
    """The polynomial with no more than two factors A (or v) in a term: B (or a trace) replaces further ones."""
    capped = []
    for value, factors in terms:
        left, kept = 2, []
        for end, names in factors:
            powers = [f"{end} ".count("v ") if name == "v" else 0, *(int(one[0] == name) for one in names)]
            uses = [min(power, max(0, left - sum(powers[:k]))) for k, power in enumerate(powers)]
            left -= sum(uses)
            other = end if uses[0] == powers[0] else "trace"
            kept.append((other, [one if uses[k] == powers[k] else "B" for k, one in enumerate(names, start=1)]))
        capped.append((value, kept))
    return capped


@pytest.mark.parametrize("name", ["A", "v"])
@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    terms=sums_of_products(("A", "A^T", "A", "B", "S", "B^-1", "v z^T", "X X^T")),
    seed=st.integers(0, 20),
    step=st.sampled_from([Fraction(1), Fraction(7), Fraction(1, 5)]),
)
def test_the_central_difference_of_a_quadratic_is_its_slope_at_every_step(
    name: str, terms: list[Term], seed: int, step: Fraction
) -> None:
    """f(A + h V) - f(A - h V) = 2 h tr(V^T grad f(A)) holds for a polynomial of degree two, however large h is."""
    values, terms = random_values(seed), at_most_two(terms, name)
    direction = random_values(seed + 100)[name]
    above, below = (
        as_number(terms, {**values, name: values[name] + sign * step * direction}) for sign in (Fraction(1), -1)
    )
    slope = value_of(gradient(as_polynomial(terms), LETTERS[name]), values)
    assert above - below == 2 * step * np.sum(slope * direction)


@pytest.mark.parametrize("first,second", [("A", "A"), ("A", "v"), ("R", "R"), ("R", "A"), ("v", "v")])
@settings(max_examples=50, deadline=None, derandomize=True)
@given(terms=sums_of_products(tuple(name for name in CHAIN if name != "X X^T")))
def test_second_derivatives_do_not_depend_on_their_order(first: str, second: str, terms: list[Term]) -> None:
    """Along two directions, as polynomials: equality of words in every dimension, not of values at some matrices."""

    def along(polynomial: TracePolynomial, name: str, direction: str) -> TracePolynomial:
        letter = LETTERS[name]
        return trace(matrix(direction, rows=letter.rows, cols=letter.cols).T * gradient(polynomial, letter))

    polynomial = as_polynomial(terms)
    assert along(along(polynomial, first, "V1"), second, "V2") == along(along(polynomial, second, "V2"), first, "V1")


# Means over random vectors: all pairings of the legs, and a sum over every component

VECTORS = {"w": w, "t": t, "x": x, "v": v}
MIDDLES = {"I": identity(), "A": A, "A^T": A.T, "S": S}
PSI = Fraction(3, 2)
LAWS = [RandomVector("w", P), RandomVector("x", C), RandomVector("t", 2 * scalar("psi") * C * P * C / 3)]
Form = tuple[str, str, str]  # (vector, matrix, vector)
Leg = tuple[str, int]  # (vector, sample); the sample of a single vector is -1


@st.composite
def groups_of_forms(draw: st.DrawFn) -> list[list[Form]]:
    """Bilinear forms with at most eight legs, in groups: a group in which x occurs is summed over the samples.

    Legs are drawn in pairs and shuffled, since odd moments vanish; now and then one is exchanged, so that some are odd.
    """
    pairs = draw(st.lists(st.sampled_from("wtxxv"), min_size=2, max_size=4))
    legs = list(draw(st.permutations([*pairs, *pairs])))
    if draw(st.integers(0, 7)) == 0:
        legs[0] = draw(st.sampled_from("wtx"))
    groups: list[list[Form]] = [[]]
    for left, right in zip(legs[::2], legs[1::2], strict=True):
        begins: bool = draw(st.booleans())
        if begins and groups[-1]:
            groups.append([])
        groups[-1].append((left, draw(st.sampled_from(list(MIDDLES))), right))
    return groups


def is_summed(group: Sequence[Form]) -> bool:
    return any("x" in (left, right) for left, _, right in group)


def chain_of(group: Sequence[Form]) -> TracePolynomial:
    """tr(M_1 b_1 a_2^T M_2 b_2 .. b_k a_1^T) = prod_k a_k^T M_k b_k, as one word that passes the line k times."""
    following = [*group[1:], group[0]]
    links = (
        MIDDLES[name] * (VECTORS[b] * VECTORS[a].T)
        for (_, name, b), (a, _, _) in zip(group, following, strict=True)
    )  # fmt: skip
    return trace(reduce(lambda left, right: left * right, links))


def open_word(form: Form) -> TracePolynomial:
    """b a^T, d x d."""
    return VECTORS[form[2]] * VECTORS[form[0]].T


def summed(polynomial: TracePolynomial, group: Sequence[Form]) -> TracePolynomial:
    return sum_over_samples(polynomial, ("x",)) if is_summed(group) else polynomial


@dataclass(frozen=True)
class Numbers:
    """Whole numbers for the letters; the rational factor of the covariance of t is in `covariances`."""

    d: int
    samples: int
    seed: int

    def letters(self) -> dict[str, Any]:
        draw = random.Random(f"pairings {self.d} {self.samples} {self.seed}")

        def entries(cols: int) -> Any:
            return np.array([[draw.randint(-2, 2) for _ in range(cols)] for _ in range(self.d)], dtype=object)

        C, P, S = (root + root.T for root in (entries(self.d) for _ in range(3)))
        return {"C": C, "P": P, "S": S, "A": entries(self.d), "v": entries(1), "N": Fraction(self.samples), "psi": PSI}

    def covariances(self) -> dict[str, Any]:
        at = self.letters()
        C, P = at["C"], at["P"]
        return {"w": P, "x": C, "t": C @ P @ C * (Fraction(2, 3) * PSI)}

    def middles(self) -> dict[str, Any]:
        at = self.letters()
        return {"I": np.eye(self.d, dtype=int).astype(object), "A": at["A"], "A^T": at["A"].T, "S": at["S"]}


def mean_tensor(legs: Sequence[Leg], fixed: Any, covariances: Mapping[str, Any]) -> Any:
    """E prod_k (leg k)_{a_k} for all components a_1, a_2, ..: the sum over the pairings of equal vectors."""
    if not legs:
        return np.array(1, dtype=object)
    first, others = legs[0], legs[1:]
    if first[0] == "v":
        return np.multiply.outer(fixed, mean_tensor(others, fixed, covariances))
    total = np.full((len(fixed),) * len(legs), 0, dtype=object)
    for k, other in enumerate(others):
        if other == first:
            rest = mean_tensor([*others[:k], *others[k + 1 :]], fixed, covariances)
            total = total + np.moveaxis(np.multiply.outer(covariances[first[0]], rest), 1, k + 1)
    return total


def mean_by_pairings(groups: Sequence[Sequence[Form]], last: Form | None, numbers: Numbers) -> Any:
    """E of the product of the groups, each summed over its own sample index, times b a^T of `last`."""
    every = [*groups, *([[last]] if last else [])]
    choices = [range(numbers.samples) if is_summed(group) else (-1,) for group in every]
    fixed, covariances, middles = numbers.letters()["v"][:, 0], numbers.covariances(), numbers.middles()
    total: Any = 0
    for chosen in product(*choices):
        tensor = mean_tensor(list(legs_of(every, chosen)), fixed, covariances)
        for _, name, _ in (form for group in groups for form in group):
            tensor = np.tensordot(middles[name], tensor, axes=((0, 1), (0, 1)))
        total = total + tensor
    return total.T if last else total


def legs_of(groups: Sequence[Sequence[Form]], samples: Sequence[int]) -> Iterator[Leg]:
    for group, sample in zip(groups, samples, strict=True):
        for left, _, right in group:
            yield from ((name, sample if name == "x" else -1) for name in (left, right))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    groups=groups_of_forms(), is_open=st.booleans(), d=st.sampled_from([2, 3, 1]), samples=st.integers(1, 3),
    seed=st.integers(0, 20),
)  # fmt: skip
def test_gaussian_means_are_the_sum_over_all_pairings_and_components(
    groups: list[list[Form]], is_open: bool, d: int, samples: int, seed: int
) -> None:
    """Single vectors, samples and fixed vectors with up to eight legs, three covariances, up to four sample sums.

    The covariance of t is a word with a rational factor and a symbol. With `is_open` the last form stays open, and the
    mean is a matrix.
    """
    numbers = Numbers(d, samples, seed)
    last = groups[-1].pop() if is_open else None
    groups = [group for group in groups if group]
    polynomial = prod((summed(chain_of(group), group) for group in groups), start=number(1))
    if last:
        polynomial = polynomial * summed(open_word(last), [last])
    ours = evaluate(expectation(polynomial, LAWS), numbers.letters())
    assert np.array_equal(ours, mean_by_pairings(groups, last, numbers))


# Wishart moments W = sum_{i=1}^n x_i x_i^T, x_i ~ N(0, C), for symbolic n and d
#
# A moment is a table {(power of n, traces, power of the open C): coefficient}, where traces (1, 2) stand for
# tr(C) tr(C^2). A statistic tr(W^a) tr(W^b) .. W^o is given by ((a, b, ..), o).

Statistic = tuple[tuple[int, ...], int]
Moment = dict[tuple[int, tuple[int, ...], int], int]

PUBLISHED: dict[Statistic, dict[Statistic, tuple[int, ...]]] = {
    # what is averaged: the factors of n^0, n^1, .. of every product of powers of C
    ((), 1): {((), 1): (0, 1)},
    ((), 2): {((), 2): (0, 1, 1), ((1,), 1): (0, 1)},
    ((1,), 1): {((1,), 1): (0, 0, 1), ((), 2): (0, 2)},
    ((1, 1), 0): {((1, 1), 0): (0, 0, 1), ((2,), 0): (0, 2)},
    ((2,), 0): {((2,), 0): (0, 1, 1), ((1, 1), 0): (0, 1)},
    ((), 3): {((), 3): (0, 4, 3, 1), ((1,), 2): (0, 2, 2), ((2,), 1): (0, 1, 1), ((1, 1), 1): (0, 1)},
    ((3,), 0): {((3,), 0): (0, 4, 3, 1), ((1, 2), 0): (0, 3, 3), ((1, 1, 1), 0): (0, 1)},
    ((1, 2), 0): {((1, 2), 0): (0, 4, 1, 1), ((3,), 0): (0, 4, 4), ((1, 1, 1), 0): (0, 0, 1)},
    ((1, 1, 1), 0): {((1, 1, 1), 0): (0, 0, 0, 1), ((1, 2), 0): (0, 0, 6), ((3,), 0): (0, 8)},
    ((1, 1, 1, 1), 0): {
        ((1, 1, 1, 1), 0): (0, 0, 0, 0, 1), ((1, 1, 2), 0): (0, 0, 0, 12), ((2, 2), 0): (0, 0, 12),
        ((1, 3), 0): (0, 0, 32), ((4,), 0): (0, 48),
    },
}  # fmt: skip

ISOTROPIC: dict[int, dict[tuple[int, int], int]] = {
    # order k: the factors of n^i d^j in E tr(W^k)/d at C = I
    1: {(1, 0): 1},
    2: {(2, 0): 1, (1, 1): 1, (1, 0): 1},
    3: {(3, 0): 1, (2, 1): 3, (2, 0): 3, (1, 2): 1, (1, 1): 3, (1, 0): 4},
    4: {
        (4, 0): 1, (1, 3): 1, (3, 1): 6, (2, 2): 6, (3, 0): 6, (1, 2): 6, (2, 1): 17, (2, 0): 21, (1, 1): 21,
        (1, 0): 20,
    },
}  # fmt: skip


def pairings(points: tuple[int, ...]) -> Iterator[dict[int, int]]:
    """Every way to part the points into pairs, as point -> partner."""
    if not points:
        yield {}
        return
    first, *rest = points
    for partner in rest:
        for others in pairings(tuple(p for p in rest if p != partner)):
            yield {first: partner, partner: first, **others}


def loop_lengths(pairing: Mapping[int, int], other: Mapping[int, int], free: tuple[int, ...]) -> tuple[list[int], int]:
    """How many pairs of the first pairing are on each closed loop of both, and on the path between the free points."""
    left, loops, path = set(pairing), [], 0
    for start in (*free[:1], *pairing):
        if start not in left:
            continue
        length, point = 0, start
        while point in left:
            left -= {point, pairing[point]}
            length += 1
            point = other.get(pairing[point], -1)
        if start in free:
            path = length
        else:
            loops.append(length)
    return loops, path


def moment_by_loops(statistic: Statistic) -> Moment:
    """The sum over the pairings of the 2k vectors x in k factors W: loops instead of matrices.

    Factor j has the legs 2j and 2j + 1. They share a sample, so a loop through pairs and factors is a free sum over
    samples: n. The products of matrices join 2j + 1 to the next factor's 2j; a loop of r pairs through these joints is
    tr(C^r), the path from one free end of the open word to the other C^r.
    """
    closed, opened = statistic
    count = 2 * (sum(closed) + opened)
    samples = {leg: leg ^ 1 for leg in range(count)}
    joints = {leg: leg + 1 if leg % 2 else leg - 1 for leg in range(1, 2 * opened - 1)}
    begin = 2 * opened
    for length in closed:
        end = begin + 2 * length - 1
        joints |= {leg: leg + 1 if leg % 2 else leg - 1 for leg in range(begin + 1, end)} | {begin: end, end: begin}
        begin = end + 1
    free = (0, 2 * opened - 1) if opened else ()
    total: Counter[tuple[int, tuple[int, ...], int]] = Counter()
    for pairing in pairings(tuple(range(count))):
        loops, path = loop_lengths(pairing, joints, free)
        total[len(loop_lengths(pairing, samples, ())[0]), tuple(sorted(loops)), path] += 1
    return dict(total)


def moment_by_the_algebra(statistic: Statistic) -> Moment:
    """The terms of `expectation`, read off."""
    W, closed = sum_over_samples(x * x.T, ("x",)), number(1)
    for power in statistic[0]:
        closed = closed * trace(W**power)
    mean = expectation(closed * W ** statistic[1] if statistic[1] else closed, [RandomVector("x", C)])
    found: Moment = {}
    for (scalars, traces, word), value in mean.terms.items():
        assert {symbol for symbol, _ in scalars} == {"N"}
        assert {letter.name for part in (*traces, word) for letter in part} == {"C"}
        found[dict(scalars)["N"], tuple(sorted(len(part) for part in traces)), len(word)] = int(value)
        assert value.denominator == 1
    return found


def statistics(order: int) -> list[Statistic]:
    """Every invariant statistic of this order: partitions of what the open word leaves."""

    def partitions(total: int, largest: int) -> Iterator[tuple[int, ...]]:
        if not total:
            yield ()
        for part in range(min(total, largest), 0, -1):
            yield from ((*rest, part) for rest in partitions(total - part, part))

    return [(closed, opened) for opened in range(order + 1) for closed in partitions(order - opened, order)]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_invariant_wishart_moment_up_to_order_four_is_a_count_of_loops(order: int) -> None:
    """All products of traces of powers of W and of one open power, in symbolic n, d and C.

    The count is that of [Hanlon, Stanley and Stembridge 1992, Some combinatorial aspects of the spectra of normally
    distributed random matrices]; the docstring of `moment_by_loops` says why it is the moment.
    """
    for statistic in statistics(order):
        assert moment_by_the_algebra(statistic) == moment_by_loops(statistic), statistic


def test_the_list_of_statistics_is_complete() -> None:
    """Order k has p(0) + .. + p(k) of them, p counting partitions: 2, 4, 7, 12."""
    assert [len(set(statistics(order))) for order in (1, 2, 3, 4)] == [2, 4, 7, 12]


@pytest.mark.parametrize("statistic", PUBLISHED)
def test_wishart_moments_are_the_published_ones(statistic: Statistic) -> None:
    """E W, E W^2, E W^3 and products of traces, in symbolic n, d and C.

    They are in [Letac and Massam 2004, All invariant moments of the Wishart distribution]. Those of tr W follow from
    its cumulants 2^(r-1) (r-1)! n tr(C^r), since log E exp(s tr W) = -(n/2) log det(I - 2 s C)
    [Muirhead 1982, Aspects of multivariate statistical theory, Theorem 3.2.3]. The count of loops confirms each.
    """
    published = {
        (power, traces, opened): factor
        for (traces, opened), factors in PUBLISHED[statistic].items()
        for power, factor in enumerate(factors)
        if factor
    }
    assert moment_by_the_algebra(statistic) == published
    assert moment_by_loops(statistic) == published


@pytest.mark.parametrize("order", ISOTROPIC)
def test_wishart_moments_at_the_identity_are_the_published_polynomials(order: int) -> None:
    """E W^k = p_k(n, d) I at C = I, p_3 = n (n^2 + 3 n d + 3 n + d^2 + 3 d + 4) [Letac and Massam 2004, as above].

    Confirmed by the count of loops, where every trace becomes d; by X X^T and X^T X having the same traces, so that
    d p_k(n, d) does not change when n and d are exchanged; and by chi-squared at d = 1, n (n + 2) .. (n + 2k - 2).
    """
    published = ISOTROPIC[order]
    W = sum_over_samples(x * x.T, ("x",))
    mean = expectation(W**order, [RandomVector("x", identity())])
    read = {(dict(m.scalars)["N"], dict(m.scalars).get("d", 0)): value for m, value in mean.terms.items()}
    assert all(not m.traces and not m.word for m in mean.terms)
    assert read == published
    counted: Counter[tuple[int, int]] = Counter()
    for (power, traces, _), factor in moment_by_loops(((), order)).items():
        counted[power, len(traces)] += factor
    assert dict(counted) == published
    assert {(i, j + 1): factor for (i, j), factor in published.items()} == {
        (j + 1, i): factor for (i, j), factor in published.items()
    }
    for n in range(1, 6):
        assert sum(factor * n**i for (i, _), factor in published.items()) == prod(n + 2 * k for k in range(order))
