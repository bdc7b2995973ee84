"""Means of trace polynomials against brute force over the components of every vector and sample."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iclcheck.theory.algebra.evaluation import evaluate
from iclcheck.theory.algebra.gaussian_moments import RandomVector, cumulants, expectation
from iclcheck.theory.algebra.trace_polynomials import (
    TracePolynomial,
    identity,
    matrix,
    scalar,
    sum_over_samples,
    trace,
    vector,
    zero,
)

C = matrix("C", symmetric=True)
P = matrix("P", symmetric=True)
A, B = matrix("A"), matrix("B")
x, w = vector("x"), vector("w")
eps = vector("eps", space="1")
N, d, kappa = scalar("N"), scalar("d"), scalar("kappa")
S = N**-1 * sum_over_samples(x * x.T, ("x",))
GAUSSIAN = [RandomVector("x", C), RandomVector("w", P)]

Column = Callable[[str, int, int], Any]
Isserlis = Callable[..., Any]
Moment = Callable[[Any, int], Fraction]


def integer_matrix(draw: random.Random, size: int) -> Any:
    entries = [[Fraction(draw.randint(-2, 2)) for _ in range(size)] for _ in range(size)]
    return np.array(entries, dtype=object)


def symmetric_values(size: int, samples: int, seed: int) -> dict[str, Any]:
    """Generic A, B and covariances C, P (moments are polynomials in them, so their signs do not matter)."""
    draw = random.Random(f"moments {size} {samples} {seed}")
    C, P, A, B = (integer_matrix(draw, size) for _ in range(4))
    return {"C": C @ C.T, "P": P + P.T, "A": A, "B": B, "N": Fraction(samples)}


FACTORS = ("S", "S", "A", "B", "A^T", "w w^T")


def as_polynomials() -> dict[str, TracePolynomial]:
    return {"S": S, "A": A, "B": B, "A^T": A.T, "w w^T": w * w.T}


def as_components(values: dict[str, Any], size: int, samples: int, column: Column) -> dict[str, Any]:
    xs = [column("x", i, size) for i in range(samples)]
    task = column("w", 0, size)
    total = reduce(lambda left, right: left + right, (x @ x.T for x in xs))
    arrays = {"S": total * Fraction(1, samples), "w w^T": task @ task.T}
    return {**arrays, "A": values["A"], "B": values["B"], "A^T": values["A"].T}


def product_of(names: Sequence[str], factors: dict[str, Any], matmul: Callable[[Any, Any], Any]) -> Any:
    return reduce(matmul, (factors[name] for name in names))


def cap(names: list[str], letter: str, most: int) -> list[str]:
    """At most so many factors of one kind, to keep the brute force small."""
    positions = [k for k, name in enumerate(names) if name == letter][most:]
    return [name for k, name in enumerate(names) if k not in positions]


words = st.lists(st.sampled_from(FACTORS), min_size=1, max_size=5).map(
    lambda names: cap(cap(names, "S", 2), "w w^T", 1) or ["A"]
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(first=words, second=words, size=st.integers(1, 2), samples=st.integers(1, 4), seed=st.integers(0, 9))
def test_gaussian_means_equal_the_sum_over_pairings_of_components(
    first: list[str],
    second: list[str],
    size: int,
    samples: int,
    seed: int,
    random_column: Column,
    isserlis: Isserlis,
) -> None:
    """E[tr(first) second^T + second] with the trace algebra and component by component."""
    first = cap(first, "S", max(0, 3 - second.count("S"))) or ["B"]  # moments of x up to order 6
    values = symmetric_values(size, samples, seed)
    covariances = {"x": values["C"], "w": values["P"]}
    letters, arrays = as_polynomials(), as_components(values, size, samples, random_column)
    left, right = (product_of(names, letters, lambda a, b: a * b) for names in (first, second))
    left_array, right_array = (product_of(names, arrays, lambda a, b: a @ b) for names in (first, second))
    ours = expectation(trace(left) * right.T + right, GAUSSIAN)
    brute = isserlis(np.trace(left_array) * right_array.T + right_array, covariances)
    assert np.array_equal(evaluate(ours, values), brute)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 2])
def test_wishart_moments_up_to_order_three(size: int, samples: int, random_column: Column, isserlis: Isserlis) -> None:
    values = symmetric_values(size, samples, 7)
    s = as_components(values, size, samples, random_column)["S"]
    p = values["P"]
    statistics: list[tuple[TracePolynomial, Any]] = [
        (S, s),
        (S * S, s @ s),
        (S * P * S, s @ p @ s),
        (trace(S) * S, np.trace(s) * s),
        (trace(S) ** 2, np.trace(s) * np.trace(s)),
        (trace(S * P) * trace(S), np.trace(s @ p) * np.trace(s)),
        (S * S * S, s @ s @ s),
        (trace(S) ** 3, np.trace(s) * np.trace(s) * np.trace(s)),
        (trace(S * S) * S, np.trace(s @ s) * s),
    ]
    for polynomial, array in statistics:
        ours = evaluate(expectation(polynomial, GAUSSIAN), values)
        assert np.array_equal(ours, isserlis(array, {"x": values["C"]})), repr(polynomial)


def test_the_published_wishart_moments_come_out_in_symbols() -> None:
    """The textbook moments of W = N S ~ Wishart(C, N), which every table of them gives."""
    assert expectation(S, GAUSSIAN) == C
    assert expectation(S * P * S, GAUSSIAN) == C * P * C + N**-1 * (C * P * C + trace(C * P) * C)
    assert expectation(trace(S) ** 2, GAUSSIAN) == trace(C) ** 2 + 2 * N**-1 * trace(C * C)


def test_means_of_one_vector() -> None:
    assert expectation(w.T * A * w, GAUSSIAN) == trace(A * P)
    assert expectation(w * w.T, GAUSSIAN) == P
    assert expectation(w, GAUSSIAN) == zero("d", "1")
    assert expectation((w.T * w) * w, GAUSSIAN) == zero("d", "1")
    assert expectation(A, GAUSSIAN) == A
    assert expectation((w.T * A * w) * x.T, GAUSSIAN[1:]) == trace(A * P) * x.T
    assert expectation(sum_over_samples(x, ("x",)).T * sum_over_samples(x, ("x",)), GAUSSIAN) == N * trace(C)


def test_a_covariance_may_be_a_word_or_a_multiple_of_the_identity() -> None:
    root = matrix("L")
    assert expectation(w.T * A * w, [RandomVector("w", root * root.T)]) == trace(root.T * A * root)
    scaled = RandomVector("w", scalar("psi") * identity() / 2)
    assert expectation(w.T * w, [scaled]) == scalar("psi") * d / 2
    assert expectation(w * w.T * A, [scaled]) == scalar("psi") * A / 2
    inverse = RandomVector("w", C**-1)
    assert expectation(w.T * C * w, [inverse]) == d


def test_noise_letters_are_scalars_of_their_samples(random_column: Column, isserlis: Isserlis) -> None:
    """E of powers of s = (1/N) sum (w.x_i + eps_i) x_i, brute force with eps a 1-vector."""
    noise = RandomVector("eps", scalar("sigma2"), space="1")
    s = N**-1 * sum_over_samples((w.T * x + eps) * x, ("x", "eps"))
    for size, samples in ((1, 1), (1, 3), (2, 2)):
        values = {**symmetric_values(size, samples, 3), "sigma2": Fraction(3, 2)}
        xs = [random_column("x", i, size) for i in range(samples)]
        noises = [random_column("eps", i, 1) for i in range(samples)]
        task = random_column("w", 0, size)
        s_array = sum(((task.T @ p + e) * p for p, e in zip(xs, noises, strict=True)), 0 * xs[0])
        s_array = s_array * Fraction(1, samples)
        covariances = {"x": values["C"], "w": values["P"], "eps": [[values["sigma2"]]]}
        for polynomial, array in (
            (s * s.T, s_array @ s_array.T),
            (s * w.T, s_array @ task.T),
            (
                sum_over_samples(eps * eps * eps * eps, ("eps",)),
                sum(e[0, 0] * e[0, 0] * e[0, 0] * e[0, 0] for e in noises),
            ),
            (s.T * A * s, s_array.T @ values["A"] @ s_array),
        ):
            ours = evaluate(expectation(polynomial, [*GAUSSIAN, noise]), values)
            assert np.array_equal(np.squeeze(ours), np.squeeze(isserlis(array, covariances))), repr(polynomial)


# Independent components that are not Gaussian: uniform, and the two-point law (moments all 1).
LAWS: dict[str, Callable[[int], Fraction]] = {
    "uniform": lambda order: Fraction(3 ** (order // 2), order + 1) if order % 2 == 0 else Fraction(0),
    "two points": lambda order: Fraction(1 - order % 2),
}


def scaled_moment(law: str, scales: Any) -> Moment:
    """The moments of the components x_a = sqrt(D_a) z_a (even orders only, so no roots are needed)."""
    return lambda name, order: (
        Fraction(scales[name[2]]) ** (order // 2) * LAWS[law](order) if order % 2 == 0 else Fraction(0)
    )


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("size,samples", [(1, 1), (1, 3), (2, 1), (2, 2), (3, 1), (3, 2)])
def test_independent_components_have_their_higher_cumulants(
    law: str, size: int, samples: int, random_column: Column, independent_mean: Callable[..., Any]
) -> None:
    """Statistics of fourth, sixth and eighth order with diagonal C, against moments of components."""
    scales = [Fraction(2), Fraction(1, 3), Fraction(5)][:size]
    diagonal = np.array(
        [[scales[a] if a == b else Fraction(0) for b in range(size)] for a in range(size)], dtype=object
    )
    values = {**symmetric_values(size, samples, 5), "C": diagonal}
    s = as_components(values, size, samples, random_column)["S"]
    first = random_column("x", 0, size)
    vectors = [RandomVector("x", C, cumulants=dict(cumulants(LAWS[law], 8)))]
    norm = (first.T @ first)[0, 0]
    statistics: list[tuple[TracePolynomial, Any]] = [
        (S * S, s @ s),
        (S * C * S, s @ diagonal @ s),
        (S * C**2 * S, s @ diagonal @ diagonal @ s),
        (trace(S) * S, np.trace(s) * s),
        (trace(S * C) * trace(S), np.trace(s @ diagonal) * np.trace(s)),
        (trace(S * A * S), np.trace(s @ values["A"] @ s)),
        (trace(S * A) * trace(S), np.trace(s @ values["A"]) * np.trace(s)),
        (S * S * S, s @ s @ s),
        (trace(S) ** 3, np.trace(s) * np.trace(s) * np.trace(s)),
        (trace(S * S) * trace(S * A), np.trace(s @ s) * np.trace(s @ values["A"])),
        (sum_over_samples((x.T * x) * x * x.T, ("x",)), samples * norm * (first @ first.T)),
    ]
    if (size, samples) in ((1, 1), (1, 3), (2, 1), (3, 1)):  # order 8
        statistics += [
            (S * S * S * S, s @ s @ s @ s),
            (trace(S * S) ** 2, np.trace(s @ s) * np.trace(s @ s)),
            (trace(S) ** 2 * trace(S * C) * S, np.trace(s) * np.trace(s) * np.trace(s @ diagonal) * s),
        ]
    moment = scaled_moment(law, scales)
    for polynomial, array in statistics:
        ours = evaluate(expectation(polynomial, vectors), values)
        assert np.array_equal(ours, independent_mean(array, moment)), repr(polynomial)


def test_two_vectors_with_independent_components_share_their_basis(
    random_column: Column, independent_mean: Callable[..., Any]
) -> None:
    """(x.x_q)^4 mixes blocks of both vectors: their unit vectors meet."""
    size = 2
    scales = [Fraction(2), Fraction(1, 3)]
    diagonal = np.array([[scales[0], 0], [0, scales[1]]], dtype=object)
    x_q = vector("x_q")
    known = dict(cumulants(LAWS["uniform"], 8))
    vectors = [RandomVector("w", C, cumulants=known), RandomVector("x_q", C, cumulants=known)]
    p, q = random_column("w", 0, size), random_column("x_q", 0, size)
    overlap = (p.T @ q)[0, 0]
    moment = scaled_moment("uniform", scales)
    for polynomial, array in (
        ((w.T * x_q) ** 4, overlap * overlap * overlap * overlap),
        (
            (w.T * C * x_q) ** 2 * (w.T * w),
            (p.T @ diagonal @ q)[0, 0] * (p.T @ diagonal @ q)[0, 0] * (p.T @ p)[0, 0],
        ),
        ((w.T * x_q) ** 2 * (x_q.T * x_q), overlap * overlap * (q.T @ q)[0, 0]),
    ):
        assert evaluate(expectation(polynomial, vectors), {"C": diagonal}) == independent_mean(array, moment)


def test_the_fourth_cumulant_enters_as_a_symbol() -> None:
    law = [RandomVector("w", C, cumulants={4: kappa})]
    assert expectation((w.T * w) * w * w.T, law) == trace(C) * C + (2 + kappa) * C**2
    scaled = [RandomVector("w", 3 * C / 2, cumulants={4: kappa})]
    assert expectation((w.T * w) ** 2, scaled) == Fraction(9, 4) * (trace(C) ** 2 + (2 + kappa) * trace(C**2))
    assert expectation((w.T * C**-1 * w) ** 2, law) == d**2 + 2 * d + kappa * d  # standardised
    uneven = expectation((w.T * A * C**-1 * w) * (w.T * w), law)
    assert uneven == trace(A) * trace(C) + (2 + kappa) * trace(A * C)
    assert expectation((w.T * C**-1 * w) * w * w.T * C**-2, law) == (d + 2 + kappa) * C**-1
    isotropic = [RandomVector("w", identity(), cumulants={4: kappa / 2})]
    assert expectation((w.T * w) ** 2, isotropic) == d**2 + 2 * d + d * kappa / 2
    assert expectation((w.T * w) ** 2, [RandomVector("w", identity(), cumulants={4: Fraction(0)})]) == d**2 + 2 * d


@pytest.mark.parametrize("middle", [A * C * B, A * B * C, C * A * B, A * C * B * C, C**-1 * A * C * B * C**2])
def test_the_fourth_cumulant_takes_the_diagonal_of_what_stands_between_its_unit_vectors(
    middle: TracePolynomial,
) -> None:
    """E (w.M w)(w.w) = tr(M C) tr(C) + (2 + kappa) tr(M C^2) for every M, wherever M holds the diagonal C."""
    law = [RandomVector("w", C, cumulants={4: kappa})]
    expected = trace(middle * C) * trace(C) + (2 + kappa) * trace(middle * C**2)
    assert expectation((w.T * middle * w) * (w.T * w), law) == expected


def test_unit_vectors_meet_fixed_vectors_and_those_of_another_law() -> None:
    law = [RandomVector("w", C, cumulants={4: kappa})]
    for v in (vector("b"), vector("v")):  # before the unit vector in the order of letters, and after it
        fixed = expectation((v.T * w) * (w.T * A * v) * (w.T * w), law)
        assert fixed == trace(C) * v.T * C * A * v + (2 + kappa) * v.T * C**2 * A * v
    # The mean over x of (x.M w)^2 (x.x) is known for fixed w: it has w at both ends of e_a.
    both = [*law, RandomVector("x", C, cumulants={4: kappa})]
    given_w = expectation((x.T * A * w) * (x.T * B * w) * (x.T * x), both[1:])
    assert expectation((x.T * A * w) * (x.T * B * w) * (x.T * x) * (w.T * w), both) == expectation(
        given_w * (w.T * w), law
    )


def test_the_mean_of_factors_in_independent_vectors_is_the_product_of_their_means() -> None:
    t = vector("t")
    laws = [RandomVector(name, C, cumulants={4: kappa}) for name in ("x", "w", "t")]
    meeting = (w.T * x) ** 2 * (w.T * w) * (x.T * x)  # the unit vectors of w and x meet, those of t stay apart
    apart = (t.T * A * t) * (t.T * t)
    assert expectation(meeting * apart, laws) == expectation(meeting, laws) * expectation(apart, laws)


@pytest.mark.parametrize("name", ["eps", "zeta"])  # contracted before w and after it
def test_a_scalar_and_a_vector_that_are_not_gaussian_keep_their_own_cumulants(name: str) -> None:
    noise = vector(name, space="1")
    laws = [
        RandomVector(name, scalar("sigma2"), space="1", cumulants={4: Fraction(-2)}),
        RandomVector("w", C, cumulants={4: kappa}),
    ]
    form = (w.T * A * w) * (w.T * w)
    assert expectation(noise**4 * form, laws) == scalar("sigma2") ** 2 * expectation(form, laws)


@pytest.mark.parametrize("name", ["e", "a", "eps", "unit"])
def test_a_mean_does_not_depend_on_what_its_letters_are_called(name: str) -> None:
    form = (x.T * A * x) * (x.T * x)
    mean_of_form = trace(A * C) * trace(C) + (2 + kappa) * trace(A * C**2)
    laws = [RandomVector("x", C, cumulants={4: kappa})]
    noise, fixed = vector(name, space="1"), vector(name)
    noisy = [*laws, RandomVector(name, scalar("sigma2"), space="1")]
    total = sum_over_samples(form * noise * noise, ("x", name))
    assert expectation(total, noisy) == N * scalar("sigma2") * mean_of_form
    assert expectation(form, noisy) == mean_of_form
    assert expectation((fixed.T * fixed) * form, laws) == (fixed.T * fixed) * mean_of_form


@pytest.mark.parametrize("law", LAWS)
def test_noise_that_is_not_gaussian_has_its_own_moments(law: str) -> None:
    noise = [RandomVector("eps", scalar("sigma2"), space="1", cumulants=dict(cumulants(LAWS[law], 8)))]
    total = sum_over_samples(eps, ("eps",))
    for order in (2, 4, 6, 8):
        assert expectation(eps**order, noise) == scalar("sigma2") ** (order // 2) * LAWS[law](order)
    # (sum eps)^4: N fourth moments and 3 N (N - 1) pairs of pairs
    assert expectation(total**4, noise) == scalar("sigma2") ** 2 * (N * LAWS[law](4) + 3 * N * (N - 1))


def test_cumulants_of_known_laws() -> None:
    """Uniform on (-sqrt 3, sqrt 3): kappa_2n = 12^n B_2n / 2n with Bernoulli B_4 = -1/30, B_6 = 1/42."""
    assert cumulants(LAWS["uniform"], 6) == ((4, Fraction(-6, 5)), (6, Fraction(12**3, 6 * 42)))
    assert cumulants(LAWS["two points"], 8) == ((4, Fraction(-2)), (6, Fraction(16)), (8, Fraction(-272)))


def test_cumulants_ask_for_even_moments_only() -> None:
    even = {order: Fraction(1) for order in range(0, 9, 2)}
    assert cumulants(even.__getitem__, 8) == cumulants(LAWS["two points"], 8)


def test_a_missing_cumulant_is_asked_for() -> None:
    law = [RandomVector("w", C, cumulants={4: kappa})]
    with pytest.raises(ValueError, match="need the cumulant of order 6 of w for this expectation"):
        expectation((w.T * w) ** 3, law)


def test_means_that_are_no_trace_polynomials_are_refused() -> None:
    law = [RandomVector("w", C, cumulants={4: kappa})]
    with pytest.raises(ValueError, match="not a trace polynomial; take A or B as a multiple of the identity"):
        expectation((w.T * A * w) * (w.T * B * w), law)
    with pytest.raises(ValueError, match="not a trace polynomial"):
        expectation((w.T * A * w) * w * w.T, law)
    assert expectation((w.T * A * w) * w * w.T, [RandomVector("w", C)]) == C * A * C + C * A.T * C + trace(A * C) * C


@pytest.mark.parametrize(
    "covariance,space,known,message",
    [
        (C + P, "d", None, "covariance of one term for w, got C \\+ P; name the sum by a letter"),
        (zero("d", "d"), "d", None, "covariance of one term"),
        (trace(C) * C, "d", None, "covariance of one term"),
        (A, "d", None, "symmetric d x d covariance of w, got A; make its letter symmetric"),
        (scalar("sigma2"), "d", None, "symmetric d x d covariance of w"),
        (C * P * C, "d", {4: kappa}, "one diagonal letter or a multiple of the identity"),
        (C**-1, "d", {4: kappa}, "one diagonal letter or a multiple of the identity"),
        (C**2, "d", {4: kappa}, "one diagonal letter or a multiple of the identity"),
    ],
)
def test_covariances_that_the_rules_do_not_cover_are_refused(
    covariance: TracePolynomial, space: str, known: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RandomVector("w", covariance, space=space, cumulants=known)


def test_letters_that_do_not_fit_their_law_are_refused() -> None:
    with pytest.raises(ValueError, match="need a law for the sample letters \\['x'\\]"):
        expectation(trace(S), [RandomVector("w", P)])
    with pytest.raises(ValueError, match=r"\['x'\] occur with a sample index and without"):
        expectation(x.T * S * x, GAUSSIAN)
    with pytest.raises(ValueError, match="need a vector of space d for the law of w"):
        expectation(trace(matrix("w") * A), GAUSSIAN)
    with pytest.raises(ValueError, match="one diagonal covariance for all laws"):
        expectation(
            (w.T * w) ** 2 * x.T * x,
            [RandomVector("w", C, cumulants={4: kappa}), RandomVector("x", P, cumulants={4: kappa})],
        )
    with pytest.raises(ValueError, match="number or one commuting symbol as cumulant"):
        expectation((w.T * w) ** 2, [RandomVector("w", C, cumulants={4: kappa + 1})])
    with pytest.raises(ValueError, match="number or one commuting symbol as cumulant"):
        expectation((w.T * w) ** 2, [RandomVector("w", C, cumulants={4: trace(A)})])
