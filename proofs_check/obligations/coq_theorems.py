"""Theorems on the fixed point for Coq, made from the forms of its derivation and the loss of the engines.

Main statements
    one_dimension    d = 1, Lambda = Psi = 1, sigma2 = 0: L >= min L for all weights and every N >= 1
    two_dimensions   a rational law with d = 2: reduced(A) >= min L, with equality at A* only
A theorem is stated with the loss multiplied out; the squares that prove it are found by elimination, and Coq multiplies
them out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..engines.coq import Theorem, polynomial
from ..engines.expressions import evaluate
from ..engines.layer import PROMPT, WEIGHTS, even_part, half_mean_square, population_loss, reduced_loss
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point, make_point
from ..engines.refusals import RefutedError
from .fixed_point import obligations
from .obligation import Forms
from .small_instances import EQUATION, LAWS, MINIMUM, Law, closed_form, hessian


def fixed_point_theorems(forms: Mapping[str, Any]) -> list[Theorem]:
    """The theorems on these forms."""
    read = Forms(forms, obligations().steps)
    return [one_dimension(read), two_dimensions(read, LAWS[0])]


def names_of(point: Point, variables: Mapping[str, str]) -> list[str]:
    """Names that Coq reads for the ring's generators; those that do not occur are called unused."""
    names = ["unused"] * len(point.one.context().names())
    for letter, name in variables.items():
        for place, k in enumerate(point.numbers[letter]):
            names[k] = name if len(point.numbers[letter]) == 1 else f"{name}{place}"
    return names


def one_dimension(forms: Forms) -> Theorem:
    """With t = 1/N, left B = right, A = u U + p q, P = p U and Q = u q:
    L - min L = 1/2 left (A - B)^2 + (a P^2 + b P Q + c Q^2) + (left B - right)(A - B/2),
    and 4 a (a P^2 + b P Q + c Q^2) = (2 a P + b Q)^2 + (4 a c - b^2) Q^2, with a > 0 and 4 a c - b^2 >= 0 for t > 0."""
    letters: dict[str, Kind] = {**WEIGHTS, "B": "scalar", "1/N": "scalar"}
    point = make_point(letters, 1, None, PROMPT)
    point = point.with_values({"Lambda": point["I"], "Psi": point["I"], "sigma2": point.one * 0})
    names = names_of(point, {"u12": "p", "u": "u", "U": "U", "u21": "q", "B": "B", "1/N": "t"})
    left, right = (
        evaluate(forms.expression(EQUATION, name), point.values, point.one)[0, 0] for name in ("left", "right")
    )
    B = Matrix(((point["B"],),))
    minimum = evaluate(forms.expression(MINIMUM, "right"), {**point.values, "A_*": B}, point.one)
    a, b, c = even_coefficients(point)
    gap = f"({polynomial(population_loss(point), names)}) - ({polynomial(minimum, names)})"
    text = {name: polynomial(value, names) for name, value in (("left", left), ("right", right), ("a", a), ("b", b))}
    text |= {"c": polynomial(c, names), "discriminant": polynomial(a * c * 4 - b * b, names)}
    return Theorem(
        "d = 1, Lambda = Psi = 1, sigma2 = 0: L >= min L for all weights and every N >= 1, t = 1/N",
        f"""Theorem one_dimension : forall p u U q B t : R, 0 < t -> ({text["left"]}) * B = {text["right"]} ->
  {gap} >= 0.
Proof.
  intros p u U q B t Ht HB.
  assert (T2 : 0 <= t^2) by (apply pow_le; lra).
  assert (T3 : 0 <= t^3) by (apply pow_le; lra).
  assert (T4 : 0 <= t^4) by (apply pow_le; lra).
  set (a := {text["a"]}); set (b := {text["b"]}); set (c := {text["c"]}); set (D := {text["discriminant"]}).
  set (l := {text["left"]}) in HB.
  assert (Ha : 0 < a) by (unfold a; lra).
  assert (HD : 0 <= D) by (unfold D; lra).
  assert (Hl : 0 < l) by (unfold l; lra).
  set (P := p * U); set (Q := u * q); set (A := u * U + p * q).
  assert (S : 0 <= l * (A - B)^2) by (apply square_not_negative; exact Hl).
  assert (E : 0 <= (4 * a) * (a * P^2 + b * P * Q + c * Q^2)).
  {{ replace ((4 * a) * (a * P^2 + b * P * Q + c * Q^2)) with ((2 * a * P + b * Q)^2 + D * Q^2)
      by (unfold a, b, c, D; field).
    apply Rplus_le_le_0_compat; [apply pow2_ge_0 | apply Rmult_le_pos; [exact HD | apply pow2_ge_0]]. }}
  assert (F : 0 <= a * P^2 + b * P * Q + c * Q^2).
  {{ apply (Rmult_le_reg_l (4 * a)); [lra | rewrite Rmult_0_r; exact E]. }}
  assert (H : {gap}
    = (1 / 2) * (l * (A - B)^2) + (a * P^2 + b * P * Q + c * Q^2) + (l * B - {text["right"]}) * (A - B / 2))
    by (unfold a, b, c, l, A, P, Q; field).
  rewrite H, HB; lra.
Qed.
""",
    )


def even_coefficients(point: Point) -> tuple[Any, Any, Any]:
    """1/2 E yhat_even^2 = a (u12 U)^2 + b (u12 U)(u u21) + c (u u21)^2 at d = 1: its values where it is read off."""
    one, zero = point.one, point.one * 0

    def value(P: Any, Q: Any) -> Any:
        weights = {"u12": Matrix(((P,),)), "U": Matrix(((one,),)), "u": Q, "u21": Matrix(((one,),))}
        return half_mean_square(point.with_values(weights), even_part(point.with_values(weights)), 0)

    a, c = value(one, zero), value(zero, one)
    return a, value(one, one) - a - c, c


def two_dimensions(forms: Forms, law: Law) -> Theorem:
    """The gap as a sum of squares, by elimination on its Hessian."""
    letters: dict[str, Kind] = {"A": "matrix"}
    point, (star, minimum) = law.at(letters), closed_form(forms, law)
    gap = reduced_loss(point, point["A"]) - point.one * minimum
    unknowns = list(point.numbers["A"])
    at = list(star.entries())
    names = names_of(point, {"A": "a"})
    variables = [names[k] for k in unknowns]
    squares = completed(hessian(gap, unknowns, at), variables, at)
    bound, text = " ".join(variables), polynomial(gap, names)
    whole = " + ".join(f"{weight} * ({root})^2" for weight, root in squares)
    equal = " /\\ ".join(f"{name} = {value.p} / {value.q}" for name, value in zip(variables, at, strict=True))
    signs = [
        f"  assert (S{k} : 0 <= {weight} * ({root})^2) by (apply square_not_negative; lra)."
        for k, (weight, root) in enumerate(squares)
    ]
    zeros = [
        f"    assert (Z{k} : {root} = 0) by (apply (square_zero {weight}); lra)."
        for k, (weight, root) in enumerate(squares)
    ]
    return Theorem(
        f"reduced(A) >= min L with equality at A* only, at {law}",
        "\n".join(
            [
                f"Lemma two_dimensions_squares : forall {bound} : R,\n  {text}\n  = {whole}.",
                "Proof. intros; field. Qed.\n",
                f"Theorem two_dimensions : forall {bound} : R,\n  {text} >= 0\n  /\\ ({text} = 0 -> {equal}).",
                f"Proof.\n  intros {bound}; rewrite two_dimensions_squares.",
                *signs,
                "  split; [lra | intro H].",
                *zeros,
                "    repeat split; lra.\nQed.\n",
            ]
        ),
    )


def completed(H: list[list[Any]], variables: list[str], at: list[Any]) -> list[tuple[str, str]]:
    """(c_i, root_i) as text with 1/2 (x - at)^T H (x - at) = sum_i c_i root_i^2."""
    rows, terms = [list(row) for row in H], []
    moved = [f"({name} - ({value.p} / {value.q}))" for name, value in zip(variables, at, strict=True)]
    for k in range(len(rows)):
        pivot = rows[k][k]
        if not pivot > 0:
            raise RefutedError("the loss is no sum of squares about the closed form")
        ratios = [(j, rows[k][j] / pivot) for j in range(k, len(rows)) if rows[k][j] != 0]
        half = pivot / 2
        terms.append((f"({half.p} / {half.q})", " + ".join(f"({r.p} / {r.q}) * {moved[j]}" for j, r in ratios)))
        for i in range(k + 1, len(rows)):
            factor = rows[i][k] / pivot
            for j in range(k, len(rows)):
                rows[i][j] = rows[i][j] - factor * rows[k][j]
    return terms
