"""Obligations of decoder-parameters and audit-parameters: the arrays listed once more, and counted."""

from __future__ import annotations

from typing import Any

import flint

from ..engines.expressions import Expression, evaluate
from ..engines.identities import Identity
from ..engines.points import Kind, Point
from ..engines.relations import Relation, Relations
from .obligation import ClaimObligations, Forms, Obligation, Polynomial

LAYER, DECODER, TABLE = "one layer", "decoder", "table of tokens"
PAPERS, LARGEST = "the papers' model", "the largest GPT-2"
LETTERS: dict[str, Kind] = {"w": "scalar", "L": "scalar", "P": "scalar"}
TOKENS = 50257


def layer(w: Any) -> Any:
    """Attention: maps to queries, keys, values and back, each with a bias; MLP: out to 4 w and back; two norms."""
    attention = 4 * (w * w + w)
    perceptron = (4 * w * w + 4 * w) + (4 * w * w + w)
    return attention + perceptron + 2 * (2 * w)


def decoder(w: Any, L: Any, P: Any, d: Any) -> Any:
    """Layers, a vector for each of 2 P tokens, a last norm, read-in and read-out."""
    return L * layer(w) + 2 * P * w + 2 * w + (d + 1) * w + (w + 1)


def identity(form: Expression, expected: Any) -> Identity:
    """form = expected(point) in w, L, P and d."""

    def gap(point: Point) -> Any:
        return evaluate(form, point.values, point.one) - expected(point)

    powers = max(form.largest_power("d"), 1)
    return Identity(gap, LETTERS, {}, 1, max(form.degree(), 6), powers, components=(1, 2))


def layer_obligation(forms: Forms) -> Identity:
    return identity(forms.expression(LAYER, "layer"), lambda point: layer(point["w"]))


def decoder_of(step: str) -> Any:
    """The decoder's form of a step."""

    def prepare(forms: Forms) -> Identity:
        def expected(point: Point) -> Any:
            return decoder(point["w"], point["L"], point["P"], point["d"]) * point.one

        return identity(forms.expression(step, "decoder"), expected)

    return prepare


def table_obligation(forms: Forms) -> Identity:
    return identity(forms.expression(TABLE, "table"), lambda point: point["w"] * TOKENS)


def model_obligation(forms: Forms) -> Identity:
    """GPT-2: layers, tokens, positions and a last norm."""

    def expected(point: Point) -> Any:
        w = point["w"]
        return point["L"] * layer(w) + w * TOKENS + point["P"] * w + 2 * w

    return identity(forms.expression(LARGEST, "model"), expected)


def reported_obligation(forms: Forms) -> Relations:
    """At 12 layers and width 256 the count is below 10 million, and not near 1.5 billion."""
    del forms

    def asked() -> list[Relation]:
        found = flint.fmpq(decoder(256, 12, 101, 20))
        return [
            Relation("parameters", found, "=", flint.fmpq(9_534_977)),
            Relation("a hundred times the parameters", found * 100, "<", flint.fmpq(1_500_000_000)),
        ]

    return Relations(asked)


def largest_obligation(forms: Forms) -> Relations:
    """At 48 layers and width 1600 GPT-2 has 1.56 billion."""
    del forms

    def asked() -> list[Relation]:
        found = flint.fmpq(48 * layer(1600) + (TOKENS + 1024 + 2) * 1600)
        return [Relation("parameters of the largest GPT-2", found, "=", flint.fmpq(1_557_611_200))]

    return Relations(asked)


OF_LAYER = Polynomial("1", "1", frozenset(), {"w": (1, 2)})
OF_DECODER = Polynomial("1", "1", frozenset(), {"w": (1, 2), "L": (1,), "P": (1,), "d": (1,)})
OF_MODEL = Polynomial("1", "1", frozenset(), {"w": (1, 2), "L": (1,), "P": (1,)})
TRUSTED = (
    "python-flint's rational and polynomial arithmetic.",
    "That the blocks are those of GPT-2: two normalisations, attention with four maps and an MLP of width 4 w, all "
    "with biases; the check counts the arrays of real models.",
)


def obligations() -> ClaimObligations:
    """decoder-parameters."""
    return ClaimObligations(
        "decoder-parameters",
        ("L layers of width w, positions for 2 P tokens, inputs in R^d, one output",),
        {LAYER: {"layer": OF_LAYER}, DECODER: {"decoder": OF_DECODER}, TABLE: {"table": OF_LAYER}},
        (
            Obligation(LAYER, "attention, MLP and two norms have `layer` numbers", layer_obligation),
            Obligation(DECODER, "layers, positions, norm, read-in and read-out have `decoder`", decoder_of(DECODER)),
            Obligation(TABLE, "50257 vectors of width w", table_obligation),
        ),
        TRUSTED,
    )


def refutation() -> ClaimObligations:
    """audit-parameters."""
    return ClaimObligations(
        "audit-parameters",
        ("the papers' model: 12 layers, 256 wide, 101 examples in R^20",),
        {PAPERS: {"decoder": OF_DECODER}, LARGEST: {"model": OF_MODEL}},
        (
            Obligation(PAPERS, "`decoder` is the count of the arrays", decoder_of(PAPERS)),
            Obligation(
                PAPERS, "9,534,977 at the papers' shape: a hundred times it is below 1.5 billion", reported_obligation
            ),
            Obligation(LARGEST, "`model` is the count of GPT-2", model_obligation),
            Obligation(LARGEST, "1,557,611,200 at 48 layers and width 1600", largest_obligation),
        ),
        (*TRUSTED, "That the reports are as quoted."),
    )
