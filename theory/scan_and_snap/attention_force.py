r"""The force on the attention logits: from the loss through softmax and normalisation.

Main statements
    handed back    the loss of class n falls with f_n at the rate g_n = Y (e_n - alpha_n), alpha_n = softmax(Y^T f_n)
    force          z' = eta_Z P(n) (D g - (f.g) D f) of one class, D = diag(f_n): the softmax's own normalisation is
                   lost in that of the length
    distinct       if g = kappa f on the tokens distinct to n, their force is eta_Z P(n) xi f_l^2, xi = kappa - f.g: one
                   number for all of them
    when           g = sum_j c_j f_j (any c_j) has that property: no other f_j has such a token. So has the decoder Y =
                   sum_j f_j v_j^T of the reparametrised flow, whatever the v_j. A decoder that grew along earlier
                   class vectors, as in the flow of the loss itself, has not
Assumptions
    Sequences of infinite length; the query is not among its keys.
References
    [tian2023scan, Lemmas 2 and 4, Eqs. 10 and 98]; their eta_Z is eta_Z/K here (their sum over n has no P(n)).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Step, equality
from ..algebra.evaluation import Array, evaluate
from ..algebra.formulas import Formula, Values
from ..algebra.matrix_derivatives import gradient
from ..algebra.trace_polynomials import (
    Monomial,
    TracePolynomial,
    matrix,
    number,
    scalar,
    substitute,
    vector,
    zero,
)
from ..algebra.words import Letter
from ..one_layer.assumptions import FloatArray
from .early_attention import class_vectors
from .exact_layer import (
    DISTINCT,
    TOKENS,
    Dual,
    ExactTask,
    random_exponentials,
    random_fractions,
    random_task,
    softmax_of,
    summed,
)

ETA, SHARE, XI, KAPPA = scalar("eta"), scalar("p"), scalar("xi"), scalar("kappa")
DECODER, OWN, ALPHA = matrix("Y"), vector("e"), vector("alpha")
f, g, c, REST = vector("f"), vector("g"), vector("c"), vector("rest")
D = matrix("D", symmetric=True)
LENGTH = scalar("r")


@cache
def handed_back() -> TracePolynomial:
    """g with -dL = g.df: the logits w = Y^T f enter as e.w - log sum exp(w), whose differential is (e - alpha).dw."""
    return gradient((OWN - ALPHA).T * (DECODER.T * f), f)


@cache
def force() -> TracePolynomial:
    """z' of one class: eta P(n) diag(c) d(g.f)/dc with f = c/r, r^2 = c.c, and dc = diag(c) dz."""
    product, square = c.T * g, c.T * c
    slope_of_length = gradient(square, c) / 2 * LENGTH**-1
    slope = gradient(product, c) * LENGTH**-1 - product * LENGTH**-2 * slope_of_length
    return ETA * SHARE * LENGTH * (D * substitute(slope, {"c": LENGTH * f}))


@cache
def force_on_distinct_tokens() -> TracePolynomial:
    """The force where g = kappa f + rest and D rest = 0: f.f = 1 and f.rest = -xi."""
    put = substitute(force(), {"g": KAPPA * f + REST})
    values = {("f", "f"): number(1), ("f", "rest"): -XI, ("rest", "f"): -XI}
    found = zero("d", "1")
    for (scalars, traces, word), coefficient in put.terms.items():
        if word[-1].name == "rest":
            continue
        term = TracePolynomial("d", "1", {Monomial(scalars, (), word): coefficient})
        for closed in traces:
            term = values[tuple(letter.name for letter in closed)] * term  # type: ignore[index]
        found = found + term
    return found


# Checks


class ForceInstance:
    """A random task with its decoder: any Y, and one in the span of the class vectors."""

    def __init__(self, seed: int | str) -> None:
        draw = random.Random(f"attention force/{seed}")
        self.task = random_task(seed)
        self.classes = len(self.task.weights)
        self.any_decoder = random_fractions(draw, TOKENS, TOKENS)
        self.coefficients = random_fractions(draw, self.classes, TOKENS)
        self.exponentials = random_exponentials(draw, self.classes)

    @property
    def decoder_in_span(self) -> Array:
        """sum_j f_j v_j^T."""
        found: Array = self.task.vectors.T @ self.coefficients
        return found

    @property
    def alphas(self) -> Array:
        return softmax_of(self.exponentials)

    def letters(self, n: int, decoder: Array) -> dict[str, Any]:
        """The letters of class n."""
        own = np.array([[one(k == n)] for k in range(TOKENS)], dtype=object)
        vectors = {"f": self.task.vectors[n].reshape(-1, 1), "e": own, "alpha": self.alphas[n].reshape(-1, 1)}
        scalars = {"eta": self.task.eta, "p": self.task.probabilities[n]}
        letters = {**vectors, **scalars, "Y": decoder, "D": diagonal(self.task.vectors[n])}
        return {**letters, "g": evaluate(handed_back(), letters)}


def one(truth: bool) -> Any:
    """1 or 0, exactly."""
    return Fraction(int(truth))


def diagonal(entries: Array) -> Array:
    """diag(entries)."""
    found = np.array([[entries[i] * int(i == j) for j in range(len(entries))] for i in range(len(entries))])
    return found.astype(entries.dtype)


def gradients(given: ForceInstance) -> tuple[list[Any], list[Any]]:
    """(log softmax(w)_n)' along f, entry by entry from the exponentials, and from the form."""
    left, right = [], []
    for n in range(given.classes):
        for row in given.any_decoder:
            powers = [Dual(e, e * w) for e, w in zip(given.exponentials[n], row, strict=True)]
            own = powers[n] / summed(powers)
            left.append(own.slope / own.value)
        right += list(given.letters(n, given.any_decoder)["g"].reshape(-1))
    return left, right


def velocities(given: ForceInstance) -> tuple[Array, Array]:
    """Z' of the literal layer, and the sum of the classes' forces."""
    literal = given.task.velocity(given.any_decoder, given.exponentials)
    return literal, added(given.task, [forces_of(given, n, given.any_decoder) for n in range(given.classes)])


def forces_of(given: ForceInstance, n: int, decoder: Array) -> Array:
    found: Array = evaluate(force(), given.letters(n, decoder)).reshape(-1)
    return found


def added(task: ExactTask, forces: list[Array]) -> Array:
    """The classes' forces, each in the row of its query."""
    total = np.array([[one(False)] * TOKENS for _ in set(task.rows)], dtype=object)
    for row, moved in zip(task.rows, forces, strict=True):
        total[row] = total[row] + moved
    return total


def forces_on_distinct(given: ForceInstance) -> tuple[list[Any], list[Any]]:
    """Literal Z' of the tokens distinct to each class, and eta P(n) xi f^2 with xi from c_n = v_n.(e_n - alpha_n)."""
    literal = given.task.velocity(given.decoder_in_span, given.exponentials)
    left, right = [], []
    for n, tokens in enumerate(DISTINCT):
        letters = given.letters(n, given.decoder_in_span)
        kappa = given.coefficients[n] @ (letters["e"] - letters["alpha"])[:, 0]
        xi = kappa - (letters["f"].T @ letters["g"])[0, 0]
        derived = evaluate(force_on_distinct_tokens(), {**letters, "xi": xi})[:, 0]
        left += [literal[given.task.rows[n], token] for token in tokens]
        right += [derived[token] for token in tokens]
    return left, right


def force_steps() -> tuple[Step, ...]:
    """From the loss to the force; the instances are `ForceInstance`s."""
    return (
        equality(
            "gradient handed back",
            ("g_n, -dL = P(n) g_n.df_n", r"g_n"),
            handed_back(),
            "logits w = Y^T f, loss -log softmax(w)_n: d(e.w - log sum exp w) = (e - alpha).dw",
            gradients,
        ),
        equality(
            "force of one class",
            ("z' of one class", r"\dot z"),
            force(),
            "f = c/|c| with c = P(l|n) e^z: d(g.f)/dc = g/r - (c.g) c/r^3, and dc = diag(c) dz; the factor of the "
            "softmax is lost in the length",
            velocities,
        ),
        equality(
            "force on distinct tokens",
            ("z' on the tokens of class n alone, g = kappa f there", r"\dot z_l"),
            force_on_distinct_tokens(),
            "g = sum_j c_j f_j has g_l = c_n f_l where no other class has the token; xi = kappa - f.g",
            forces_on_distinct,
        ),
    )


# The formula that is altered


@cache
def formula() -> Formula:
    """Z' of all queries and tokens, from class vectors, decoder and softmax."""
    others = {"f": (letter_of("g"),), "g": (letter_of("f"), letter_of("e"))}
    vocabulary = Vocabulary({"p": ("eta",), "eta": ("p",)}, {**others, "e": (letter_of("alpha"),)})
    return Formula({"gradient": handed_back(), "force": force()}, velocity_by_parts, vocabulary)


def letter_of(name: str) -> Letter:
    """A vector letter."""
    return Letter(name, rows="d", cols="1")


def velocity_by_parts(parts: Mapping[str, TracePolynomial], values: Values) -> Array:
    """Z', (queries, M), at `classes`: a list of letters of each class, and `rows`."""
    rows = values["rows"]
    total: Any = [0] * (max(rows) + 1)
    for row, letters in zip(rows, values["classes"], strict=True):
        handed = evaluate(parts["gradient"], letters)
        total[row] = total[row] + evaluate(parts["force"], {**letters, "g": handed})[:, 0]
    return np.array(total)


def float_values(
    contexts: FloatArray,
    logits: FloatArray,
    rows: Sequence[int],
    probabilities: FloatArray,
    decoder: FloatArray,
    eta: float,
) -> dict[str, Any]:
    """Values of the letters at P(l|n) (K, M), Z (Q, M), the classes' rows of Z, P(n), Y (M, M) and eta_Z."""
    classes = []
    for n, row in enumerate(rows):
        vector_n = class_vectors(contexts[n], logits[row])
        w = decoder.T @ vector_n
        alpha = np.exp(w - w.max())
        own = np.eye(len(vector_n))[n]
        columns = {"f": vector_n, "e": own, "alpha": alpha / alpha.sum()}
        scalars = {"eta": eta, "p": float(probabilities[n])}
        classes.append({name: x[:, None] for name, x in columns.items()} | scalars | {
            "Y": decoder, "D": np.diag(vector_n),
        })  # fmt: skip
    return {"rows": list(rows), "classes": classes}


def points(name: str) -> list[dict[str, Any]]:
    """Rational tasks with any decoder."""
    found = []
    for k in range(3):
        given = ForceInstance(f"{name}/{k}")
        letters = [given.letters(n, given.any_decoder) for n in range(given.classes)]
        found.append({"rows": given.task.rows, "classes": letters})
    return found
