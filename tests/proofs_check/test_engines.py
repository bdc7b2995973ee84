"""The engines on their own: what they prove, what they refuse, and the controls that give them teeth."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iclcheck.proofs_check.certificates.forms import forms_of, plain_form
from iclcheck.proofs_check.certificates.proving import prove, proved
from iclcheck.proofs_check.claims.registry import all_claims
from iclcheck.proofs_check.command_line import main
from iclcheck.proofs_check.engines import coq, layer
from iclcheck.proofs_check.engines.balls import OnlyZero
from iclcheck.proofs_check.engines.decisions import Condition, Decision, Question
from iclcheck.proofs_check.engines.exponential_means import exponential_mean
from iclcheck.proofs_check.engines.expressions import evaluate, read_expression, read_factor, write_factor
from iclcheck.proofs_check.engines.gaussian_means import gaussian_mean, mean_by_moments
from iclcheck.proofs_check.engines.identities import Identity
from iclcheck.proofs_check.engines.inertia import Inertia, inertia
from iclcheck.proofs_check.engines.matrices import Matrix, stack
from iclcheck.proofs_check.engines.points import Kind, Point, make_point
from iclcheck.proofs_check.engines.positivity import SumOfSquares
from iclcheck.proofs_check.engines.rational_signs import positive_from
from iclcheck.proofs_check.engines.refusals import RefutedError, UndecidedError, UnreadableError
from iclcheck.proofs_check.engines.relations import Relation, Relations
from iclcheck.proofs_check.obligations.coq_theorems import fixed_point_theorems
from iclcheck.theory.algebra.trace_polynomials import trace
from iclcheck.theory.symbols import LAMBDA, PSI, A, N, U


def ring(*names: str) -> tuple[Any, ...]:
    """The generators of a polynomial ring."""
    context = flint.fmpq_mpoly_ctx.get(list(names), flint.Ordering.degrevlex)
    return tuple(context.gens())


# Means


@pytest.mark.parametrize(("order", "moment"), [(0, 1), (1, 0), (2, 1), (4, 3), (6, 15), (8, 105)])
def test_moments_of_one_gaussian_variable(order: int, moment: int) -> None:
    z, s = ring("z", "s")
    assert gaussian_mean(z**order, [0], {(0, 0): s}) == moment * s ** (order // 2)


def test_the_fourth_moment_of_a_gaussian_vector_is_the_sum_over_pairings() -> None:
    names = [f"z{i}" for i in range(4)] + [f"s{i}{j}" for i in range(4) for j in range(i + 1)]
    generators = dict(zip(names, ring(*names), strict=True))
    s = {(i, j): generators[f"s{max(i, j)}{min(i, j)}"] for i in range(4) for j in range(4)}
    product = generators["z0"] * generators["z1"] * generators["z2"] * generators["z3"]
    pairings = s[0, 1] * s[2, 3] + s[0, 2] * s[1, 3] + s[0, 3] * s[1, 2]
    assert gaussian_mean(product, range(4), s) == pairings


def test_independent_variables_take_their_own_moments() -> None:
    x, y, m2, m4 = ring("x", "y", "m2", "m4")
    mean = mean_by_moments(x**4 * y**2 + x**3 + 5, {0: {2: m2, 4: m4}, 1: {2: m2}})
    assert mean == m4 * m2 + 5


def prompt_by_prompt(d: int, n: int) -> tuple[Point, Any]:
    """1/2 E (f(E)[d, N] - w.x_q)^2 with the layer multiplied out and every column of the prompt integrated."""
    samples: dict[str, Kind] = {f"x{i}": "vector" for i in range(n)}
    samples.update({f"eps{i}": "scalar" for i in range(n)})
    letters: dict[str, Kind] = {**layer.WEIGHTS, "Lambda": "symmetric", "Psi": "symmetric", "sigma2": "scalar"}
    point = make_point(letters, d, None, {**layer.PROMPT, **samples})
    one, w, x_q = point.one, point["w"], point["x_q"]
    ys = [layer.dot(w, point[f"x{i}"]) + point[f"eps{i}"] for i in range(n)]
    E = stack([[*(point[f"x{i}"] for i in range(n)), x_q], [Matrix(((y,),)) for y in [*ys, one * 0]]])
    square = Matrix.build(d, d, lambda i, j: one * 5)
    column = Matrix.build(d, 1, lambda i, j: one * 7)
    value = stack([[square, column], [point["u12"].T, Matrix(((point["u"],),))]])
    key_query = stack([[point["U"], column], [point["u21"].T, Matrix(((one * 3,),))]])
    error = layer.literal_layer(E, value, key_query, flint.fmpq(1, n)) - layer.dot(w, x_q)
    mean = error * error * flint.fmpq(1, 2)
    for i in range(n):
        mean = gaussian_mean(mean, point.numbers[f"eps{i}"], {(0, 0): point["sigma2"]})
        mean = gaussian_mean(mean, point.numbers[f"x{i}"], point["Lambda"])
    return point, layer.over_task_and_query(point, mean)


@pytest.mark.parametrize(("d", "n"), [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)])
def test_the_engines_loss_is_that_of_the_layer_multiplied_out(d: int, n: int) -> None:
    """The rule for independent columns, 1/N included, against the mean over every column by itself."""
    point, literal = prompt_by_prompt(d, n)
    at_length = point.with_values({"1/N": point.one * flint.fmpq(1, n)})
    assert layer.population_loss(at_length) == literal


def test_the_loss_has_no_more_factors_than_the_bound_says() -> None:
    for d in (1, 2, 3):
        point = make_point({**layer.LAW, **layer.WEIGHTS}, d, None, layer.PROMPT)
        assert layer.population_loss(point).total_degree() <= layer.DEGREE


# Identities in every dimension


def cayley_hamilton(point: Point) -> Matrix:
    """A^2 - tr(A) A + (tr(A)^2 - tr(A^2))/2 I, which is zero for d = 2 and for no larger d."""
    at = point.matrix("A")
    half = (at.trace() ** 2 - (at @ at).trace()) * flint.fmpq(1, 2)
    return at @ at - at.scaled(at.trace()) + point.matrix("I").scaled(half)


def test_an_identity_of_one_dimension_alone_is_refused() -> None:
    """With an open word of two legs and three letters the identity has 3 pairs of legs, so d = 3 shows it."""
    Identity(cayley_hamilton, {"A": "matrix"}, {}, 2, 2, 0, (2,)).check("s")
    with pytest.raises(RefutedError, match="dimension 3"):
        Identity(cayley_hamilton, {"A": "matrix"}, {}, 3, 2, 0, (2,)).check("s")


def test_a_power_of_d_needs_more_dimensions() -> None:
    """d^2 - 7 d + 12 vanishes at d = 3 and 4: two dimensions would pass it, the three that it needs do not."""

    def difference(point: Point) -> Any:
        d = point["d"]
        return (d * d - d * 7 + 12) * point["A"].trace()

    Identity(difference, {"A": "matrix"}, {}, 3, 3, 1, ()).check("s")
    with pytest.raises(RefutedError, match="dimension 5"):
        Identity(difference, {"A": "matrix"}, {}, 3, 3, 2, ()).check("s")


def test_a_part_per_billion_is_seen() -> None:
    def difference(point: Point) -> Any:
        at = point.matrix("A")
        return (at @ at.T).trace() - (at.T @ at).trace() * flint.fmpq(10**9 + 1, 10**9)

    with pytest.raises(RefutedError, match="d = 1"):
        Identity(difference, {"A": "matrix"}, {}, 2, 2).check("s")


# Expressions


def test_an_expression_means_what_the_polynomial_means() -> None:
    """A trace polynomial turned into data and evaluated here, against its value by hand."""
    data = plain_form(N**-1 * trace(LAMBDA * PSI * U.T) * A + 3 * PSI)
    values = make_point({"Lambda": "symmetric", "Psi": "symmetric", "U": "matrix", "A": "matrix"}, 2, "s", {})
    found = evaluate(read_expression(data), {**values.values, "1/N": values.one * flint.fmpq(1, 3)}, values.one)
    loop = (values["Lambda"] @ values["Psi"] @ values["U"].T).trace()
    assert found == values["A"].scaled(loop * flint.fmpq(1, 3)) + values["Psi"].scaled(3)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {"rows": "d", "cols": "d"},
        {"rows": "d", "cols": "x", "terms": []},
        {"rows": "1", "cols": "1", "terms": [["1", {}, [[]], []]]},
        {"rows": "1", "cols": "1", "terms": [["2/4", {}, [], []]]},
        {"rows": "1", "cols": "1", "terms": [["1e3", {}, [], []]]},
        {"rows": "1", "cols": "1", "terms": [[1, {}, [], []]]},
        {"rows": "1", "cols": "1", "terms": [["1", {"N": 0}, [], []]]},
        {"rows": "1", "cols": "1", "terms": [["1", {"N": True}, [], []]]},
        {"rows": "1", "cols": "1", "terms": [["1", {"N": 10**9}, [], []]]},
        {"rows": "1", "cols": "1", "terms": [["1", {}, [["x[01]"]], []]]},
        {"rows": "1", "cols": "1", "terms": [["1", {}, [["A"]], []]] * 30_000},
    ],
)
def test_other_data_are_no_expression(data: Any) -> None:
    with pytest.raises(UnreadableError):
        read_expression(data)


@pytest.mark.parametrize("text", ["A", "A^T", "Psi^-1", "x[1]", "x[12]^T", "A_*"])
def test_letters_are_written_as_they_are_read(text: str) -> None:
    assert write_factor(read_factor(text)) == text


def test_legs_are_counted_with_those_of_rows_and_columns() -> None:
    """A^2 has four legs of its letters and two of its own, tr(A^2) four, u^T A v four."""
    square = [["1", {}, [], ["A", "A"]]]
    assert read_expression({"rows": "d", "cols": "d", "terms": square}).pairs_of_legs(frozenset()) == 3
    closed = [["1", {}, [["A", "A"]], []]]
    assert read_expression({"rows": "1", "cols": "1", "terms": closed}).pairs_of_legs(frozenset()) == 2
    form = [["1", {}, [["u^T", "A", "v"]], []]]
    assert read_expression({"rows": "1", "cols": "1", "terms": form}).pairs_of_legs(frozenset({"u", "v"})) == 2


def test_letters_without_value_and_shapes_that_do_not_fit_are_refused() -> None:
    point = make_point({"A": "matrix", "v": "vector"}, 2, "s", {})
    for word in (["B"], ["v", "A"], ["A", "v"]):
        data = {"rows": "d", "cols": "d", "terms": [["1", {}, [], word]]}
        with pytest.raises(UnreadableError):
            evaluate(read_expression(data), point.values, point.one)


# Positivity


def psd(*terms: list[Any]) -> SumOfSquares:
    return SumOfSquares(read_expression({"rows": "d", "cols": "d", "terms": list(terms)}), definite=True)


def test_a_sum_of_squares_names_its_squares() -> None:
    form = psd(["1", {}, [], ["Lambda", "Psi", "Lambda"]], ["2", {"N": -1}, [["Lambda", "Psi"]], ["Lambda"]])
    form.check("s")
    assert form.evidence()["squares"] == ["1 Q Q^T with Q = Lambda J", "2 1/N |K^T J|^2 Q Q^T with Q = K"]
    assert form.evidence()["definite_by"] == ["2 1/N |K^T J|^2 Q Q^T with Q = K"]


@pytest.mark.parametrize(
    "term",
    [
        ["-1", {}, [], ["Lambda"]],
        ["1", {}, [], ["Lambda", "Psi"]],
        ["1", {}, [], ["U"]],
        ["1", {"u": 1}, [], ["Lambda"]],
        ["1", {}, [["Lambda", "Psi", "Lambda"]], ["Lambda"]],
        ["1", {}, [], ["Lambda", "Psi", "Lambda"]],  # positive, but zero for a singular Psi: not definite
        ["1", {"sigma2": 1}, [], ["Lambda"]],  # zero without noise
    ],
)
def test_what_is_not_visibly_positive_is_refused(term: list[Any]) -> None:
    with pytest.raises(RefutedError):
        psd(term).check("s")


# Eigenvalues, zeros, decisions


def exact(matrix: np.ndarray[Any, Any]) -> list[list[Any]]:
    return [[flint.fmpq(int(entry)) for entry in row] for row in matrix]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(0, 5), st.data())
def test_inertia_is_that_of_the_signs_it_is_made_of(n: int, zeros: int, data: st.DataObject) -> None:
    """S D S^T with a unit triangular S has the signs of D; zero diagonals are met, and need another pivot."""
    signs = [data.draw(st.sampled_from((-2, -1, 0, 1, 3))) for _ in range(n)]
    below = [[data.draw(st.integers(-2, 2)) for _ in range(n)] for _ in range(n)]
    S = np.tril(np.array(below), -1) + np.eye(n, dtype=int)
    order = np.roll(np.arange(n), zeros)
    H = (S @ np.diag(signs) @ S.T)[np.ix_(order, order)]
    found = Inertia(sum(s > 0 for s in signs), sum(s == 0 for s in signs), sum(s < 0 for s in signs))
    assert inertia(exact(H)) == found


def test_inertia_of_a_hyperbola() -> None:
    assert inertia(exact(np.array([[0, 1], [1, 0]]))) == Inertia(1, 0, 1)
    with pytest.raises(ValueError, match="symmetric"):
        inertia(exact(np.array([[0, 1], [2, 0]])))


def circle_and_line() -> tuple[Any, ...]:
    """x^2 + y^2 = 2 and x = y meet at (1, 1) and (-1, -1)."""
    x, y = ring("x", "y")
    return (x * x + y * y - 2, x - y)


def zero_near(at: tuple[Fraction, Fraction], radius: str, distance: str = "1e-40") -> OnlyZero:
    point = [flint.fmpq(value.numerator, value.denominator) for value in at]
    return OnlyZero(circle_and_line(), [0, 1], point, {"x": "scalar", "y": "scalar"}, radius, distance)


def test_one_zero_in_a_box() -> None:
    zero_near((Fraction(1), Fraction(1)), "0.4").check("")


def test_a_box_with_two_zeros_or_a_double_zero_is_not_decided() -> None:
    with pytest.raises(UndecidedError):
        zero_near((Fraction(1), Fraction(1)), "3").check("")
    (x,) = ring("x")
    with pytest.raises((UndecidedError, ZeroDivisionError)):
        OnlyZero([x * x], [0], [flint.fmpq(0)], {"x": "scalar"}).check("")


def test_a_point_beside_the_zero_is_refused() -> None:
    with pytest.raises(RefutedError):
        zero_near((Fraction(10**6 + 1, 10**6), Fraction(1)), "0.1").check("")


def asked(hypotheses: list[Any], negation: list[Any], altered: list[Any]) -> Decision:
    return Decision(lambda: Question(hypotheses, negation, altered), {"x": "scalar"}, "altered")


def conditions() -> dict[str, list[Condition]]:
    (x,) = ring("x")
    return {
        "x^2 < 0": [Condition(x * x, "< 0")],
        "x^2 <= 0": [Condition(x * x, "<= 0")],
        "x > 0": [Condition(-x, "< 0")],
        "x < 0": [Condition(x, "< 0")],
        "x != 0": [Condition(x, "!= 0")],
    }


def test_z3_decides_and_its_controls_have_teeth() -> None:
    c = conditions()
    asked([], [c["x^2 < 0"]], [c["x^2 <= 0"]]).check("")
    with pytest.raises(RefutedError, match="the statement fails"):
        asked([], [c["x > 0"]], [c["x^2 <= 0"]]).check("")
    with pytest.raises(RefutedError, match="contradict"):
        asked([c["x > 0"], c["x < 0"]], [c["x^2 < 0"]], [c["x != 0"]]).check("")
    with pytest.raises(RefutedError, match="control"):
        asked([c["x > 0"]], [c["x^2 < 0"]], [c["x < 0"]]).check("")


def test_signs_of_a_polynomial_from_a_number_on() -> None:
    (n,) = ring("n")
    assert positive_from(n * n - 3, 0, 2, "p") == ["1", "4", "1"]
    with pytest.raises(RefutedError):
        positive_from(n * n - 4, 0, 2, "p")
    with pytest.raises(RefutedError):
        positive_from(n * n * n - 10 * n * n + 100, 0, 2, "p")


# Coq

needs_coq = pytest.mark.skipif(shutil.which("coqc") is None, reason=f"coqc is not installed ({coq.INSTALL})")


def fixed_point_text() -> str:
    return coq.file_text("test", fixed_point_theorems(forms_of(all_claims()["fixed-point"].derivation())))


@needs_coq
def test_coq_accepts_the_theorems_and_the_level_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    derivation = all_claims()["fixed-point"].derivation()
    assert proved(derivation) == []
    assert main(["certify", "fixed-point", "--coq"]) == 0
    assert "proved by Coq" in capsys.readouterr().out
    assert len(proved(derivation)) == 2
    file = tmp_path / ".iclcheck" / "proofs" / "fixed-point.v"
    file.write_text(file.read_text().replace(">= 0", ">= -1", 1))
    assert proved(derivation) == []  # not the file that was accepted


def false_theorems() -> Iterator[tuple[str, str]]:
    text = fixed_point_text()
    yield "a larger minimum", text.replace("(12539 / 11522)", "(12538 / 11522)")
    yield "another coefficient of the loss", text.replace("(7 / 1) * p * u", "(8 / 1) * p * u")
    yield "another closed form", text.replace("a0 = 1338 / 5761", "a0 = 1339 / 5761")


@needs_coq
@pytest.mark.parametrize(("change", "text"), list(false_theorems()), ids=[name for name, _ in false_theorems()])
def test_coq_refuses_false_theorems(change: str, text: str) -> None:
    assert text != fixed_point_text(), change
    with pytest.raises(RefutedError, match="coqc does not accept"):
        coq.check(text)


def test_without_coq_there_is_a_line_that_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UndecidedError, match="apt-get install coq"):
        prove(all_claims()["fixed-point"].derivation(), tmp_path)
    assert list(tmp_path.iterdir()) == []


# Relations between numbers, and exponential means


def test_a_relation_that_does_not_hold_is_refused_and_shown() -> None:
    good = [Relation("two and three", flint.fmpq(2), "<", flint.fmpq(3)), Relation("halves", flint.fmpq(1, 2), "!=", 1)]
    Relations(lambda: good).check("seed")
    assert Relations(lambda: good).evidence() == {"relations": ["two and three: 2 < 3", "halves: 1/2 != 1"]}
    for wrong in (Relation("a", 3, "<", 3), Relation("b", 3, "!=", 3), Relation("c", 3, "=", 4)):
        with pytest.raises(RefutedError, match=re.escape(str(wrong))):
            Relations(lambda wrong=wrong: [*good, wrong]).check("seed")  # type: ignore[misc]


def test_an_exponential_variable_has_factorials_for_moments() -> None:
    x, y, a = flint.fmpq_mpoly_ctx.get(["x", "y", "a"], flint.Ordering.degrevlex).gens()
    found = exponential_mean((x + y) ** 2 * a + x**3, (0, 1))  # E (x + y)^2 = 2 + 2 + 2, E x^3 = 6
    assert found == a * 6 + 6
