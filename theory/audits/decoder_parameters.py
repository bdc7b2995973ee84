r"""How many trained numbers a decoder in the manner of GPT-2 has, from the list of its arrays.

Width w, L layers, positions for P examples (2 P tokens), inputs in R^d; heads share the width and add nothing.
Main statements
    layer     normalisation 2 w twice; query, key and value w x 3 w with 3 w biases; projection w x w with w; an MLP
              w x 4 w with 4 w and 4 w x w with w: 12 w^2 + 13 w
    decoder   L (12 w^2 + 13 w), positions 2 P w, last normalisation 2 w, read-in d w + w, read-out w + 1
    files     published state dicts hold besides a table of 50257 token vectors, 50257 w numbers that no prompt of real
              numbers uses
    sizes     12 layers, 256 wide, P = 101, d = 20 [garg2022can; yadlowsky2023pretraining]: 9,534,977. The largest GPT-2
              (48 layers, 1600 wide, 1024 positions, its table of tokens instead of read-in and read-out): 1,557,611,200
References
    Shapes: [garg2022can, sec. 2 and code]; the counts are ours.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import Array
from ..algebra.formulas import Formula, Values
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, number, scalar
from ..one_layer.assumptions import AssumptionError, is_whole
from ..prompt_risks.baseline_risks import evaluate_scalars

WIDTH, LAYERS, POSITIONS, DIMENSION = (scalar(name) for name in ("w", "L", "P", "d"))
ONE = number(1)
TOKENS = 50257  # of GPT-2's vocabulary
PAPER = {"w": 256, "L": 12, "P": 101, "d": 20}
PRESS = 1_500_000_000
Shape = tuple[TracePolynomial, TracePolynomial]  # rows and columns; a vector has one row

LAYER_ARRAYS: dict[str, Shape] = {
    "ln_1.weight": (ONE, WIDTH),
    "ln_1.bias": (ONE, WIDTH),
    "attn.c_attn.weight": (WIDTH, 3 * WIDTH),
    "attn.c_attn.bias": (ONE, 3 * WIDTH),
    "attn.c_proj.weight": (WIDTH, WIDTH),
    "attn.c_proj.bias": (ONE, WIDTH),
    "ln_2.weight": (ONE, WIDTH),
    "ln_2.bias": (ONE, WIDTH),
    "mlp.c_fc.weight": (WIDTH, 4 * WIDTH),
    "mlp.c_fc.bias": (ONE, 4 * WIDTH),
    "mlp.c_proj.weight": (4 * WIDTH, WIDTH),
    "mlp.c_proj.bias": (ONE, WIDTH),
}
OTHER_ARRAYS: dict[str, Shape] = {
    "_read_in.weight": (WIDTH, DIMENSION),
    "_read_in.bias": (ONE, WIDTH),
    "_backbone.wpe.weight": (2 * POSITIONS, WIDTH),
    "_backbone.ln_f.weight": (ONE, WIDTH),
    "_backbone.ln_f.bias": (ONE, WIDTH),
    "_read_out.weight": (ONE, WIDTH),
    "_read_out.bias": (ONE, ONE),
}


def size_of(arrays: Mapping[str, Shape]) -> TracePolynomial:
    """The numbers that arrays hold together."""
    return sum((rows * columns for rows, columns in arrays.values()), 0 * ONE)


@cache
def of_layer() -> TracePolynomial:
    """Numbers of one layer.

    >>> of_layer()
    13 w + 12 w^2
    """
    return size_of(LAYER_ARRAYS)


@cache
def of_decoder() -> TracePolynomial:
    """Numbers of the whole decoder."""
    return LAYERS * of_layer() + size_of(OTHER_ARRAYS)


@cache
def of_table() -> TracePolynomial:
    """Numbers of the table of tokens that published files hold."""
    return TOKENS * WIDTH


@cache
def of_language_model() -> TracePolynomial:
    """GPT-2 itself with P positions, a table of tokens that is read in and out, and no other arrays."""
    return LAYERS * of_layer() + (POSITIONS + TOKENS + 2) * WIDTH


def count(polynomial: TracePolynomial, values: Mapping[str, int]) -> int:
    """A polynomial at whole numbers."""
    found = evaluate_scalars(polynomial, {name: Fraction(value) for name, value in values.items()})
    return int(found)


def instance(seed: int) -> dict[str, int]:
    """Whole numbers for the four letters."""
    draw = random.Random(f"decoder/{seed}")
    return {"w": draw.randint(1, 9), "L": draw.randint(1, 5), "P": draw.randint(1, 9), "d": draw.randint(1, 9)}


def layer_of_arrays(values: Mapping[str, int]) -> int:
    """Array by array, with entries counted."""
    return sum(np.zeros((count(rows, values), count(columns, values))).size for rows, columns in LAYER_ARRAYS.values())


def decoder_of_arrays(values: Mapping[str, int]) -> int:
    others = OTHER_ARRAYS.values()
    rest = sum(np.zeros((count(rows, values), count(columns, values))).size for rows, columns in others)
    return values["L"] * layer_of_arrays(values) + rest


def listed(arrays: Mapping[str, Shape]) -> str:
    """Names and shapes."""
    return "; ".join(f"{name}: {to_text(rows)} x {to_text(columns)}" for name, (rows, columns) in arrays.items())


@cache
def derivation() -> Derivation:
    """From the arrays to the counts."""
    steps = (
        Step(
            "one layer", "numbers in the arrays of a layer", to_text(of_layer()), to_latex(of_layer()),
            listed(LAYER_ARRAYS),
            lambda values: ([layer_of_arrays(values)], [count(of_layer(), values)]), forms={"layer": of_layer()},
        ),
        Step(
            "decoder", "numbers in all arrays", to_text(of_decoder()), to_latex(of_decoder()),
            f"L layers; {listed(OTHER_ARRAYS)}",
            lambda values: ([decoder_of_arrays(values)], [count(of_decoder(), values)]),
            forms={"decoder": of_decoder()},
        ),
        Step(
            "table of tokens", "numbers that published files hold besides", to_text(of_table()), to_latex(of_table()),
            f"wte: {TOKENS} x w, which prompts of real numbers do not use",
            lambda values: ([TOKENS * values["w"]], [count(of_table(), values)]), forms={"table": of_table()},
        ),
    )  # fmt: skip
    results = {"layer": of_layer(), "decoder": of_decoder(), "table": of_table()}
    return Derivation(replace(STATEMENT, latex=steps[1].latex), steps, results, instance)


STATEMENT = Statement(
    identifier="decoder-parameters",
    title="How many parameters a GPT-2 style decoder for prompts of real numbers has",
    latex="",  # the derived formula, filled in by `derivation`
    text=(
        "A decoder of L layers and width w with positions for P examples in R^d has L (12 w^2 + 13 w) + (2 P + d + 4) "
        "w + 1 trained numbers, whatever the number of heads: 9,534,977 for 12 layers, width 256, 101 examples and d = "
        "20, the model of the papers on pretraining mixtures."
    ),
    assumptions=(
        "blocks of GPT-2: two normalisations, attention and an MLP of width 4 w, both with biases; learned positions",
        "one token for each x and each y; a linear read-in of d coordinates and a linear read-out of one",
    ),
    conventions="trained numbers; causal masks and a table of unused tokens are not counted",
    sources=(Source("garg2022can", "Section 2 (12 layers, 8 heads, 256 wide)"), Source("ours", "the count")),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """The count of the decoder and that of the table."""
    vocabulary = Vocabulary({"w": ("d", "P"), "L": ("P",), "P": ("L", "d"), "d": ("w", "P")})
    return Formula({"decoder": of_decoder(), "table": of_table()}, counts, vocabulary)


def counts(parts: Mapping[str, TracePolynomial], values: Values) -> Array:
    """(decoder, table) at whole numbers w, L, P, d; rational for altered formulas."""
    return np.array([evaluate_scalars(parts[name], values) for name in ("decoder", "table")], dtype=object)


def points(name: str) -> list[dict[str, Any]]:
    """Rational letters."""
    found = []
    for k in range(4):
        draw = random.Random(f"{name}/decoder/{k}")
        found.append({letter: Fraction(draw.randint(1, 90), draw.randint(1, 7)) for letter in PAPER})
    return found


# Public numbers

LARGEST_SIZE = 10**7


def check_count(value: Any, name: str) -> int:
    """A whole number of at least 1. Raises AssumptionError."""
    if not is_whole(value) or not 1 <= value <= LARGEST_SIZE:
        raise AssumptionError(f"{name} needs a whole number from 1 to {LARGEST_SIZE}, got {value!r}")
    return int(value)


def prediction(
    width: Any = PAPER["w"],
    layers: Any = PAPER["L"],
    positions: Any = PAPER["P"],
    dimension: Any = PAPER["d"],
) -> dict[str, Any]:
    """The counts of one shape; the defaults are the model of the papers. Raises AssumptionError.

    >>> prediction()
    {'parameters': 9534977, 'of_a_layer': 789760, 'unused_tokens': 12865792}
    """
    named = {
        "w": (width, "width"),
        "L": (layers, "layers"),
        "P": (positions, "positions"),
        "d": (dimension, "dimension"),
    }
    values = {letter: check_count(value, name) for letter, (value, name) in named.items()}
    return {
        "parameters": count(of_decoder(), values),
        "of_a_layer": count(of_layer(), values),
        "unused_tokens": count(of_table(), values),
    }


# The number that press reports give


LARGEST_GPT_2 = {"w": 1600, "L": 48, "P": 1024, "d": 1}


def counterexample() -> dict[str, Any]:
    """Plain numbers at the papers' shape."""
    found = count(of_decoder(), PAPER)
    return {
        "layers": 12, "heads": 8, "width": 256, "examples": 101, "d": 20, "parameters as reported": "about 1500000000",
        "parameters": found, "reported over counted": round(PRESS / found, 1),
        "parameters of the largest GPT-2 (48 layers, width 1600)": count(of_language_model(), LARGEST_GPT_2),
    }  # fmt: skip


def reported() -> dict[str, Any]:
    """The reported number beside the counted ones.

    >>> reported()["parameters"]
    9534977
    """
    return {
        "reported": PRESS,
        "parameters": count(of_decoder(), PAPER),
        "with_unused_tokens": count(of_decoder() + of_table(), PAPER),
        "largest_gpt_2": count(of_language_model(), LARGEST_GPT_2),
    }


@cache
def refutation() -> Derivation:
    """The count at the papers' shape, and where the reported number belongs."""
    found, largest = count(of_decoder(), PAPER), count(of_language_model(), LARGEST_GPT_2)
    steps = (
        Step(
            "the papers' model", "parameters at w = 256, L = 12, P = 101, d = 20",
            f"{found:,}, reported about 1.5 billion",
            rf"{found} \neq 1.5\cdot 10^9", "decoder-parameters", forms={"decoder": of_decoder()},
            check=lambda values: (
                [decoder_of_arrays(values), decoder_of_arrays(PAPER)], [count(of_decoder(), values), found]
            ),
        ),
        Step(
            "the largest GPT-2", "parameters at w = 1600, L = 48, 1024 positions, 50257 tokens", f"{largest:,}",
            rf"48\,(12 w^2 + 13 w) + (1024 + 50257 + 2)\, w = {largest}",
            "the number that is reported is that of the largest model of the GPT-2 family, whose blocks these are",
            forms={"model": of_language_model()},
            check=lambda values: (
                [values["L"] * layer_of_arrays(values) + (values["P"] + TOKENS) * values["w"] + 2 * values["w"]],
                [count(of_language_model(), values)],
            ),
        ),
    )  # fmt: skip
    return Derivation(REPORTED, steps, {}, instance)


REPORTED = Statement(
    identifier="audit-parameters",
    title="As reported: a GPT-2-scale model of 1.5 billion parameters",
    latex=r"\#\text{parameters} \overset{?}{\approx} 1.5\cdot 10^9",
    text="In the experiments on pretraining mixtures a GPT-2-scale model means about 1.5 billion parameters.",
    assumptions=("the model of the papers: 12 layers, 8 heads, 256 wide",),
    conventions="trained numbers of one decoder",
    sources=(
        Source("yadlowsky2023pretraining", "as press reports tell it; the paper's model has 12 layers, width 256"),
    ),
    uses=("decoder-parameters",),
)
