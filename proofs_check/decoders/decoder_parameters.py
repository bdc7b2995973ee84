r"""The claims decoder-parameters and audit-parameters: arrays of real decoders, counted.

One check each
    the numbers of models of several shapes, the papers' among them, against the formula: whole numbers, none may differ
    the papers' model beside the 1.5 billion of press reports
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ...theory.audits import decoder_parameters as theory
from ..claims.alterable import Alterable
from ..claims.audit import Audit
from ..claims.claim import Budget, Claim, Parameter, Quantity, Values
from ..claims.exact_checks import ExactCount, PrintedNumber
from ..records.tasks import Task

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENT = "iclcheck.numerics.decoders.parameter_counts:counted_parameters"
# dimension, positions, width, layers, heads
SHAPES = ((1, 1, 1, 1, 1), (5, 11, 48, 3, 4), (1, 16, 48, 3, 4), (3, 7, 10, 2, 5), (20, 41, 64, 4, 2), (7, 2, 6, 5, 3))
PAPERS = (20, 101, 256, 12, 8)
NAMES = ("dimension", "positions", "width", "layers", "heads")
PARAMETERS = (
    Parameter("width", "w, a whole number of at least 1", False, theory.PAPER["w"]),
    Parameter("layers", "L", False, theory.PAPER["L"]),
    Parameter("positions", "P, the largest number of examples; each has two tokens", False, theory.PAPER["P"]),
    Parameter("dimension", "d of the inputs", False, theory.PAPER["d"]),
)
QUANTITIES = (
    Quantity("parameters", "trained numbers of the decoder"),
    Quantity("of_a_layer", "those of one layer: 12 w^2 + 13 w"),
    Quantity(
        "unused_tokens", "numbers of the table of 50257 tokens that published files hold besides, not counted above"
    ),
)
OF_REPORT = (
    Quantity("reported", "parameters as press reports have it, about"),
    Quantity("parameters", "those of the papers' model"),
    Quantity("with_unused_tokens", "the same with the table of tokens that its published file holds"),
    Quantity("largest_gpt_2", "those of the largest GPT-2, to which the reported number belongs"),
)

Made = Callable[[], "Formula"]


def plain(shape: tuple[int, ...]) -> dict[str, int]:
    return dict(zip(NAMES, shape, strict=True))


def letters_of(shape: tuple[int, ...]) -> dict[str, Any]:
    named = plain(shape)
    values = {"w": named["width"], "L": named["layers"], "P": named["positions"], "d": named["dimension"]}
    return {name: Fraction(value) for name, value in values.items()}


def shapes_task(budget: Budget) -> Task:
    del budget  # counts need no budget
    return Task(MEASUREMENT, {"shapes": [plain(shape) for shape in (*SHAPES, PAPERS)]}, cost=0.2)


def differences_by(formula: Made) -> Callable[[Budget, Values], list[int]]:
    """|counted - predicted| for every shape; the table of tokens by the table of positions, which has its rows' length.

    A prediction that is no whole number differs by at least one.
    """

    def differences(budget: Budget, found: Values) -> list[int]:
        del budget
        result = []
        for shape, parameters, positions in zip(
            (*SHAPES, PAPERS), found["parameters"], found["positions"], strict=True
        ):
            at = letters_of(shape)
            decoder, table = formula().value(at)
            vector = Fraction(positions, 2 * plain(shape)["positions"])  # numbers of one vector of the width
            result += [distance(decoder, parameters), distance(table, theory.TOKENS * vector)]
        return result

    return differences


def distance(predicted: Any, counted: Any) -> int:
    """The difference, rounded up."""
    return math.ceil(abs(float(Fraction(predicted) - counted)))


def in_words(found: Values) -> str:
    return f"{len(found['parameters'])} models, {sum(found['parameters']):,} numbers"


def parameters_claim(formula: Made = theory.formula) -> Claim:
    """`formula` can be altered, to see the same check refuse it."""
    return Claim(
        "decoder-parameters",
        theory.derivation,
        PARAMETERS,
        lambda parameters: theory.prediction(**parameters),
        (ExactCount("parameters of real models", shapes_task, differences_by(formula), in_words, "numbers"),),
        "seven shapes, from one number in each place to 12 layers of width 256; every number is counted",
        (
            Alterable(
                theory.formula,
                theory.points,
                lambda seed: [letters_of(shape) for shape in (*SHAPES, PAPERS)],
                lambda altered: parameters_claim(lambda: altered),
            ),
        ),
        quantities=QUANTITIES,
    )


# The reported number


def papers_task(budget: Budget) -> Task:
    del budget
    return Task(MEASUREMENT, {"shapes": [plain(PAPERS)]}, cost=0.1)


ROUNDED = 0.05  # "about 1.5 billion" holds for 1.45 to 1.55 billion


def compare_with_report(found: Values) -> tuple[float, float, float, bool]:
    """The counted number in billions beside 1.5, to the digits that are given."""
    measured, reported = found["parameters"][0] / 1e9, theory.PRESS / 1e9
    return measured, reported, ROUNDED, abs(measured - reported) <= ROUNDED


AUDIT = Audit(
    printed="A GPT-2-scale model there means about 1.5 billion parameters.",
    reading=(
        "Press reports on the paper, which say so; the paper itself names 12 layers, 8 heads and width 256, the model "
        "of its predecessor. No report is quoted by name."
    ),
    counterexample=theory.counterexample,
    corrected="decoder-parameters",
    correction="The model has 9.5 million parameters; 1.56 billion is the largest model of the GPT-2 family.",
    survives="The findings of the paper, which are about models of 9.5 million parameters.",
)


def audit_claim() -> Claim:
    """The reported number at the papers' shape."""
    return Claim(
        "audit-parameters",
        theory.refutation,
        (),
        lambda parameters: theory.reported(),
        (
            PrintedNumber(
                "parameters of the papers' model", papers_task, compare_with_report,
                lambda found: "1 model made, its numbers counted", "in billions",
            ),
        ),
        "one model; no formula of its own is altered: that of decoder-parameters is",
        audit=AUDIT,
        quantities=OF_REPORT,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claim, and the report that it corrects."""
    return parameters_claim(), audit_claim()
