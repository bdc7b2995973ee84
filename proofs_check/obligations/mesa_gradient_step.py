"""Obligations of mesa-gradient-step: the literal layer on literal tokens against slopes of the loss, at every position.

Why t = 1 .. 4 speaks for every t: layer and step at t are sums over the tokens t' <= t of one polynomial, quadratic in
(s_t', s_t'-1) and linear in (s_t, s_{t-1}). Products of s_t' with s_t'-1, squares of s_t' (which come from two tokens),
and the same with t' = t - 1 and t' = t are all there at t = 4, with letters that are independent of each other; a
longer sequence only repeats them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flint

from ..engines.expressions import Expression
from ..engines.identities import Identity
from ..engines.matrices import Matrix, stack
from ..engines.points import Kind, Point
from .fixed_point import value
from .obligation import ClaimObligations, FormKind, Forms, Obligation, Polynomial
from .population_loss import TRUSTED, summed_over_samples

SLOPE, LAYER, WEIGHTS = "gradient of the loss of the pairs seen", "the layer with any weights", "the weights"
STEP, FIRST = "layer = one gradient step", "the first position"
OPEN, IDLE = "what the weights leave open", "tokens (0, s_t, s_{t-1})"
POSITIONS = (1, 2, 3, 4)
FIRST_ROW = ("V_1", "V_2", "V_3")
SOLVED = ("V_2", "V_3", "G_32")
VECTORS = frozenset({"x", "y", "s_t", "s_t-1", "p", "h"})
GRID = tuple(f"G_{i}{j}" for i in (1, 2, 3) for j in (1, 2, 3))
SEQUENCE: dict[str, Kind] = {f"s[{t}]": "vector" for t in POSITIONS}
START: dict[str, Kind] = {"Phi_0": "matrix", "eta": "scalar"}
# A term of the literal layer: value V_1 Phi_0 s, score s^T Phi_0^T G Phi_0 s, and the open end: 14 legs, 9 factors.
PAIRS, DEGREE = 7, 9

Blocks = Mapping[str, Matrix]


def state(point: Point, t: int) -> Matrix:
    """s_t as a column; s_0 = 0."""
    found: Matrix = point[f"s[{t}]"] if t else point["s[1]"] * (point.one * 0)
    return found


def token(point: Point, t: int) -> Matrix:
    """e_t = (Phi_0 s_t, s_t, s_{t-1}), (3n, 1)."""
    return stack([[point["Phi_0"] @ state(point, t)], [state(point, t)], [state(point, t - 1)]])


def layer(point: Point, blocks: Blocks, t: int) -> Matrix:
    """Phi_0 s_t + sum_{t' <= t} V e_t' (e_t'^T G e_t), blocks that are not named being 0."""
    zero = point["Phi_0"] * (point.one * 0)
    whole = {name: blocks.get(name, zero) for name in (*FIRST_ROW, *GRID)}
    V = stack([[whole[name] for name in FIRST_ROW]])
    G = stack([[whole[f"G_{i}{j}"] for j in (1, 2, 3)] for i in (1, 2, 3)])
    asked = G @ token(point, t)
    found: Matrix = point["Phi_0"] @ state(point, t)
    for seen in range(1, t + 1):
        e = token(point, seen)
        found = found + (V @ e).scaled((e.T @ asked)[0, 0])
    return found


def loss(point: Point, Phi: Matrix, t: int) -> Any:
    """L_t = 1/2 sum_{t'<t} |s_{t'+1} - Phi s_t'|^2, from the pairs."""
    found = point.one * 0
    for seen in range(1, t):
        error = state(point, seen + 1) - Phi @ state(point, seen)
        found = found + (error.T @ error)[0, 0] * flint.fmpq(1, 2)
    return found


def slope_along(point: Point, Phi: Matrix, V: Matrix, t: int) -> Any:
    """The derivative of L_t at Phi along V: the central difference of a quadratic is exact."""
    return (loss(point, Phi + V, t) - loss(point, Phi - V, t)) * flint.fmpq(1, 2)


def step_along(point: Point, t: int) -> Any:
    """a.(Phi_0 - eta grad L_t(Phi_0)) s_t for the vector a: the slope is that along a s_t^T."""
    a, s = point["a"], state(point, t)
    return (a.T @ point["Phi_0"] @ s)[0, 0] - slope_along(point, point["Phi_0"], a @ s.T, t) * point["eta"]


def at_position(form: Expression, point: Point, t: int) -> Any:
    """A form at t: its summed samples are the tokens t' <= t."""
    pairs = {f"y[{i}]": state(point, i) for i in range(1, t + 1)} | {
        f"x[{i}]": state(point, i - 1) for i in range(1, t + 1)
    }
    own = {"s_t": state(point, t), "s_t-1": state(point, t - 1)}
    return summed_over_samples(form, point.with_values({**pairs, **own}), t)


def for_every_sequence(
    difference: Callable[[Point, int], Any],
    letters: Mapping[str, Kind],
    forms: Sequence[Expression] = (),
    components: tuple[int, ...] = (1, 2),
) -> Identity:
    """At t = 1 .. 4; a term has at most the legs and factors of the literal layer and those of the forms in it."""
    return Identity(
        lambda point: [difference(point, t) for t in POSITIONS],
        {**SEQUENCE, **START, **letters}, {},
        PAIRS + sum(form.pairs_of_legs(VECTORS) for form in forms), DEGREE + sum(form.degree() for form in forms), 0,
        components,
    )  # fmt: skip


def blocks_of(forms: Forms) -> list[Expression]:
    return [forms.expression(WEIGHTS, name) for name in SOLVED]


def derived(forms: Forms, point: Point) -> dict[str, Matrix]:
    """The blocks that the derivation solved for."""
    return {name: value(forms.expression(WEIGHTS, name), point) for name in SOLVED}


def slope_obligation(forms: Forms) -> Identity:
    form = forms.expression(SLOPE, "right")

    def difference(point: Point, t: int) -> Any:
        V = point["V"]
        return slope_along(point, point["Phi"], V, t) - (V.T @ at_position(form, point, t)).trace()

    return for_every_sequence(difference, {"Phi": "matrix", "V": "matrix"}, (form,))


def layer_obligation(forms: Forms) -> Identity:
    """The merged letters are V' J and J^T G' J of the full ones, written out."""
    form = forms.expression(LAYER, "right")
    letters: dict[str, Kind] = dict.fromkeys((*FIRST_ROW, *GRID), "matrix")

    def difference(point: Point, t: int) -> Matrix:
        Phi_0, full = point["Phi_0"], {name: point[name] for name in (*FIRST_ROW, *GRID)}
        merged = {
            "V_s": full["V_1"] @ Phi_0 + full["V_2"], "V_p": full["V_3"],
            "G_ss": Phi_0.T @ (full["G_11"] @ Phi_0 + full["G_12"]) + full["G_21"] @ Phi_0 + full["G_22"],
            "G_sp": Phi_0.T @ full["G_13"] + full["G_23"],
            "G_ps": full["G_31"] @ Phi_0 + full["G_32"], "G_pp": full["G_33"],
        }  # fmt: skip
        found: Matrix = layer(point, full, t) - at_position(form, point.with_values(merged), t)
        return found

    return for_every_sequence(difference, letters, (form,), (1,))


def weights_obligation(forms: Forms) -> Identity:
    def difference(point: Point, t: int) -> Any:
        return (point["a"].T @ layer(point, derived(forms, point), t))[0, 0] - step_along(point, t)

    return for_every_sequence(difference, {"a": "vector"}, blocks_of(forms))


def step_obligation(forms: Forms) -> Identity:
    form = forms.expression(STEP, "right")

    def difference(point: Point, t: int) -> Any:
        return (point["a"].T @ at_position(form, point, t))[0, 0] - step_along(point, t)

    return for_every_sequence(difference, {"a": "vector"}, (form,))


def first_obligation(forms: Forms) -> Identity:
    def difference(point: Point, t: int) -> Matrix:
        del t
        start: Matrix = point["Phi_0"] @ state(point, 1)
        return layer(point, derived(forms, point), 1) - start

    return for_every_sequence(difference, {}, blocks_of(forms))


def scale_obligation(forms: Forms) -> Identity:
    """(c V, G) and (V, c G) are one map, for any weights."""
    del forms
    letters: dict[str, Kind] = {**dict.fromkeys((*FIRST_ROW, *GRID), "matrix"), "c": "scalar"}

    def difference(point: Point, t: int) -> Matrix:
        c = point["c"]
        louder = {name: point[name] * (c if name in FIRST_ROW else point.one) for name in (*FIRST_ROW, *GRID)}
        sharper = {name: point[name] * (c if name in GRID else point.one) for name in (*FIRST_ROW, *GRID)}
        return layer(point, louder, t) - layer(point, sharper, t)

    return for_every_sequence(difference, letters, components=(1,))


def traded_obligation(forms: Forms) -> Identity:
    """V_1 = A and G_31 = B with V_2 - A Phi_0 and G_32 - B Phi_0: the same map."""

    def difference(point: Point, t: int) -> Matrix:
        ours, A, B, Phi_0 = derived(forms, point), point["A"], point["B"], point["Phi_0"]
        traded = {"V_1": A, "V_2": ours["V_2"] - A @ Phi_0, "G_31": B, "G_32": ours["G_32"] - B @ Phi_0}
        return layer(point, ours, t) - layer(point, {**ours, **traded}, t)

    return for_every_sequence(difference, {"A": "matrix", "B": "matrix"}, blocks_of(forms), (1,))


def idle_obligation(forms: Forms) -> Identity:
    """At Phi_0 = 0 the blocks that meet the first block of a token do nothing."""
    idle = ("V_1", "G_11", "G_12", "G_13", "G_21", "G_31")

    def difference(point: Point, t: int) -> Any:
        here = point.with_values({"Phi_0": point["Phi_0"] * (point.one * 0)})
        blocks = {**{name: here[name] for name in idle}, **derived(forms, here)}
        return (here["a"].T @ layer(here, blocks, t))[0, 0] - step_along(here, t)

    return for_every_sequence(difference, {**dict.fromkeys(idle, "matrix"), "a": "vector"}, blocks_of(forms))


OF_PAIRS = frozenset({"y", "x"})
MERGED = frozenset({"V_s", "V_p", "G_ss", "G_sp", "G_ps", "G_pp"})
KINDS: dict[str, dict[str, FormKind]] = {
    SLOPE: {"right": Polynomial("d", "d", frozenset({"y", "x", "Phi"}), {}, OF_PAIRS)},
    LAYER: {"right": Polynomial("d", "1", frozenset({"y", "x", "s_t", "s_t-1", "Phi_0"}) | MERGED, {}, OF_PAIRS)},
    WEIGHTS: {
        "V_2": Polynomial("d", "d", frozenset({"Phi_0"}), {"eta": (1,)}),
        "V_3": Polynomial("d", "d", frozenset({"Phi_0"}), {"eta": (1,)}),
        "G_32": Polynomial("d", "d", frozenset({"Phi_0"}), {"eta": (1,)}),
    },
    STEP: {"right": Polynomial("d", "1", frozenset({"y", "x", "s_t", "Phi_0"}), {"eta": (1,)}, OF_PAIRS)},
    FIRST: {}, OPEN: {}, IDLE: {},
}  # fmt: skip
WITHOUT_LAW = (TRUSTED[0], *TRUSTED[2:])  # no law of prompts enters
LONGER = "Positions beyond t = 4: they repeat the products of s_t', s_t'-1, s_t and s_{t-1} that t <= 4 has, in words."
UNIQUE = f"That nothing else is free, in the step {OPEN!r}: proved in words by ranks, for n > 1, T >= 4 and eta not 0."


def obligations() -> ClaimObligations:
    """The seven steps."""
    return ClaimObligations(
        "mesa-gradient-step",
        ("every s_1 .. s_T, Phi_0 and eta; s_0 = 0; one head of causal linear attention on (Phi_0 s_t, s_t, s_{t-1})",),
        KINDS,
        (
            Obligation(SLOPE, "(L_t(Phi + V) - L_t(Phi - V))/2 = tr(V^T right), t <= 4", slope_obligation),
            Obligation(LAYER, "the literal layer with 3 x 3 blocks = right, t <= 4", layer_obligation),
            Obligation(WEIGHTS, "layer with V_2, V_3, G_32 = (Phi_0 - eta grad L_t) s_t, t <= 4", weights_obligation),
            Obligation(STEP, "right = (Phi_0 - eta grad L_t(Phi_0)) s_t, t <= 4", step_obligation),
            Obligation(FIRST, "the layer at t = 1 is Phi_0 s_1", first_obligation),
            Obligation(OPEN, "(c V, G) and (V, c G) are one map", scale_obligation),
            Obligation(OPEN, "blocks of Phi_0 s traded against those of s leave the map", traded_obligation),
            Obligation(IDLE, "at Phi_0 = 0 any V_1, G_11, G_12, G_13, G_21, G_31 leave the step", idle_obligation),
        ),
        (*WITHOUT_LAW, LONGER, UNIQUE),
    )
