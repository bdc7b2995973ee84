r"""The backward pass of the mesa layer: gradients of a loss of its outputs, by two sums that run backwards.

Let g_t = d loss/d o_t for the outputs o_t = Phi_t q_t, B_t = sum_i zeta_ti v_i k_i^T and P_t = R_t^-1.
Main statements
    pulls           output t alone:  on B_t: g_t (R_t q_t)^T,  on P_t: -1/2 (Phi_t^T g_t (R_t q_t)^T + its transpose)
    adjoint sums    Bbar_t = pull + gamma_{t+1} Bbar_{t+1}, Pbar_t = pull + gamma_{t+1} Pbar_{t+1}
    gradients       d/dk_t = Bbar_t^T v_t + 2 Pbar_t k_t,   d/dv_t = Bbar_t k_t,   d/dq_t = Phi_t^T g_t,
                    d/dgamma_t = tr(Bbar_t^T B_{t-1}) + tr(Pbar_t P_{t-1}),   d/dlambda = -tr(gamma_1 Pbar_1)/lambda^2
The sums need R_t and Phi_t in reverse order: kept, or won back by `mesa_layer.update_backwards`, at its price in
digits. Each is read off a pairing by matrix derivatives; the check differentiates the literal sums exactly (`tangent`).
References
    [vonoswald2023uncovering] asks for gradients by a backward recursion of R; the form with Bbar and Pbar is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Step
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.formulas import Formula, Values
from ..algebra.matrix_derivatives import derivative, gradient
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, inverse_of_monomial, matrix, substitute, trace, vector
from .key_value_sequences import (
    KeyValueSequence,
    least_squares,
    random_column,
    random_sequence,
    statistics,
    tangent,
)
from .mesa_layer import B_BEFORE, FORGET, GATES, KEY, P_BEFORE, PHI, REGULARISER, VALUE, R

CROSS, INVERSE = matrix("B", rows="m"), matrix("X")  # X: R as a letter whose entries are free
QUERY, PULL = vector("q"), vector("g", space="m")
CROSS_ADJOINT, PRECISION_ADJOINT = matrix("Bbar", rows="m"), matrix("Pbar", symmetric=True)
FREE_PRECISION = matrix("Y")


@cache
def pull_on_cross() -> TracePolynomial:
    """d(g.o)/dB for o = B R q."""
    return substitute(gradient(PULL.T * CROSS * INVERSE * QUERY, CROSS), {"X": R})


@cache
def pull_on_precision() -> TracePolynomial:
    """d(g.o)/dP for R = P^-1: -R (d(g.o)/dR) R, since dR = -R dP R; symmetric, as P is, and with B = Phi R^-1."""
    slope = gradient(PULL.T * CROSS * INVERSE * QUERY, INVERSE)
    turned = -substitute(R * slope * R, {"B": PHI * inverse_of_monomial(R)})
    return (turned + turned.T) / 2


@cache
def pull_on_query() -> TracePolynomial:
    """d(g.o)/dq for o = Phi q."""
    return gradient(PULL.T * PHI * QUERY, QUERY)


def pairing() -> TracePolynomial:
    """<Bbar, gamma B' + v k^T> + <Pbar, gamma P' + k k^T>: the adjoint sums beside one step of B and P."""
    cross = CROSS_ADJOINT.T * (FORGET * B_BEFORE + VALUE * KEY.T)
    return trace(cross) + trace(PRECISION_ADJOINT * (FORGET * P_BEFORE + KEY * KEY.T))


@cache
def step_gradients() -> dict[str, TracePolynomial]:
    """What one step of the sums passes on: to k, v, gamma, B' and P'."""
    whole = pairing()
    free = substitute(whole, {"P'": (FREE_PRECISION + FREE_PRECISION.T) / 2})
    return {
        "key": gradient(whole, KEY),
        "value": gradient(whole, VALUE),
        "gate": derivative(whole, "gamma"),
        "carried B": gradient(whole, B_BEFORE),
        "carried P": gradient(free, FREE_PRECISION),
    }


@cache
def regulariser_gradient() -> TracePolynomial:
    """d/dlambda of <Pbar, P_0> with P_0 = I/lambda; Pbar is that of t = 0."""
    return derivative(trace(inverse_of_monomial(REGULARISER) * PRECISION_ADJOINT), "lam")


def gradient_parts() -> dict[str, TracePolynomial]:
    """Every polynomial of the backward pass, by name."""
    pulls = {"pull on B": pull_on_cross(), "pull on P": pull_on_precision(), "query": pull_on_query()}
    return {**pulls, **step_gradients(), "regulariser": regulariser_gradient()}


# The whole sequence


def gradients_of_sequence(
    parts: Mapping[str, TracePolynomial], sequence: KeyValueSequence, pulls: Sequence[Array]
) -> dict[str, list[Any]]:
    """d sum_t g_t.o_t: keys, values, queries and forget as lists from t = 1, and [regulariser]."""
    found: dict[str, list[Any]] = {name: [] for name in ("keys", "values", "queries", "forget")}
    d, m = sequence.dimension, len(sequence.values[0])
    cross_adjoint = np.zeros((m, d), dtype=int).astype(object)
    precision_adjoint = np.zeros((d, d), dtype=int).astype(object)
    for t in range(len(sequence), 0, -1):
        letters = letters_at(sequence, pulls, t)
        cross_adjoint = cross_adjoint + evaluate(parts["pull on B"], letters)
        precision_adjoint = precision_adjoint + evaluate(parts["pull on P"], letters)
        letters |= {"Bbar": cross_adjoint, "Pbar": precision_adjoint}
        of_step = {"keys": "key", "values": "value", "queries": "query", "forget": "gate"}
        for name, part in of_step.items():
            found[name].insert(0, evaluate(parts[part], letters))
        cross_adjoint = evaluate(parts["carried B"], letters)
        precision_adjoint = evaluate(parts["carried P"], letters)
    last = {"Pbar": precision_adjoint, "lam": sequence.regulariser}
    return {**found, "regulariser": [evaluate(parts["regulariser"], last)]}


def letters_at(sequence: KeyValueSequence, pulls: Sequence[Array], t: int) -> dict[str, Any]:
    """Values at step t, from the literal sums."""
    (cross_before, before), (cross, precision) = statistics(sequence, t - 1), statistics(sequence, t)
    inverse = exact_inverse(precision)
    return {
        "P'": before, "R": inverse, "B'": cross_before, "Phi": cross @ inverse, "k": sequence.keys[t - 1],
        "v": sequence.values[t - 1], "q": sequence.queries[t - 1], "g": pulls[t - 1],
        "gamma": sequence.forget[t - 1], "lam": sequence.regulariser,
    }  # fmt: skip


def stacked(found: Mapping[str, list[Any]]) -> Array:
    """All gradients in one row: keys, values, queries, forget, lambda."""
    return np.concatenate([np.ravel(np.asarray(one, dtype=object)) for listed in found.values() for one in listed])


# Exact checks


def random_pulls(seed: int | str, sequence: KeyValueSequence) -> list[Array]:
    """g_t (m, 1) with rational entries."""
    import random

    draw = random.Random(f"pulls/{seed}")
    return [random_column(draw, len(sequence.values[0])) for _ in range(len(sequence))]


def along_a_direction(seed: int) -> tuple[Any, Any]:
    """d sum_t g_t.o_t along a random direction: by the literal sums, and by the backward pass."""
    sequence = random_sequence(seed)
    shape = (len(sequence), sequence.dimension, len(sequence.values[0]))
    direction, pulls = random_sequence(f"direction/{seed}", shape), random_pulls(seed, sequence)
    literal = 0
    for t in range(1, len(sequence) + 1):
        moved = tangent(sequence, direction, t) @ sequence.queries[t - 1]
        moved = moved + least_squares(sequence, t) @ direction.queries[t - 1]
        literal = literal + (pulls[t - 1].T @ moved)[0, 0]
    slopes = stacked(gradients_of_sequence(gradient_parts(), sequence, pulls))
    parts = (direction.keys, direction.values, direction.queries, direction.forget, [direction.regulariser])
    return literal, slopes @ stacked({str(place): list(part) for place, part in enumerate(parts)})


def pull_at(seed: int) -> tuple[Any, Any]:
    """d(g.o)/dP along a symmetric direction, from the inverse of a block matrix, and by the pull."""
    from .key_value_sequences import lifted, random_matrix, slope_of

    sequence = random_sequence(seed)
    letters = letters_at(sequence, random_pulls(seed, sequence), len(sequence))
    free = random_matrix(f"direction of P/{seed}", sequence.dimension, sequence.dimension)
    precision, step = exact_inverse(letters["R"]), free + free.T
    cross = letters["Phi"] @ precision
    moved = slope_of(lifted(cross, 0 * cross) @ exact_inverse(lifted(precision, step)))
    return (letters["g"].T @ moved @ letters["q"])[0, 0], np.sum(evaluate(pull_on_precision(), letters) * step)


def passed_on_at(seed: int) -> tuple[Array, Array]:
    """The pairing's change along unit steps of k and v, exact for polynomials of degree two, and the gradients."""
    sequence = random_sequence(seed)
    letters = letters_at(sequence, random_pulls(seed, sequence), len(sequence))
    d, m = sequence.dimension, len(sequence.values[0])
    from .key_value_sequences import random_matrix

    free = random_matrix(f"adjoint of P/{seed}", d, d)
    letters |= {"Bbar": random_matrix(f"adjoint of B/{seed}", m, d), "Pbar": free + free.T}

    def change(name: str, unit: Array) -> Any:
        up, down = ({**letters, name: letters[name] + sign * unit} for sign in (1, -1))
        return (evaluate(pairing(), up) - evaluate(pairing(), down)) / 2

    units = {"k": np.eye(d, dtype=int).astype(object), "v": np.eye(m, dtype=int).astype(object)}
    by_steps = [change(name, unit[:, None]) for name, eye in units.items() for unit in eye]
    parts = step_gradients()
    return np.array(by_steps), np.vstack([evaluate(parts[name], letters) for name in ("key", "value")])[:, 0]


def steps_of_gradients() -> tuple[Step, ...]:
    """The backward pass."""
    parts = step_gradients()
    key, value, gate = (to_text(parts[name]) for name in ("key", "value", "gate"))
    return (
        Step(
            "pull of one output",
            "d(g.o)/dB, d(g.o)/dP and d(g.o)/dq for o = B P^-1 q",
            f"{to_text(pull_on_cross())}, {to_text(pull_on_precision())}, {to_text(pull_on_query())}",
            rf"\partial_B = {to_latex(pull_on_cross())},\ \partial_P = {to_latex(pull_on_precision())},\ "
            rf"\partial_q = {to_latex(pull_on_query())}",
            "d(P^-1) = -R dP R, and Phi = B R; P is symmetric, so its gradient is taken symmetric",
            pull_at,
            forms={"cross": pull_on_cross(), "precision": pull_on_precision(), "query": pull_on_query()},
        ),
        Step(
            "what one step passes on",
            "gradients of <Bbar, gamma B' + v k^T> + <Pbar, gamma P' + k k^T> in k, v and gamma; in B' and P'",
            f"{key}, {value}, {gate}; {to_text(parts['carried B'])}, {to_text(parts['carried P'])}",
            rf"\partial_k = {to_latex(parts['key'])},\ \partial_v = {to_latex(parts['value'])},\ "
            rf"\partial_\gamma = {to_latex(parts['gate'])}",
            "the sums B and P are linear in what they carry and bilinear in k and v",
            passed_on_at,
            forms={
                "key": parts["key"], "value": parts["value"], "gate": parts["gate"], "carried B": parts["carried B"],
                "carried P": parts["carried P"],
            },
        ),
        Step(
            "gradients of the whole sequence",
            "d sum_t g_t.o_t along any direction in keys, values, queries, gates and lambda",
            f"the sum over t of the gradients, and d/dlambda = {to_text(regulariser_gradient())} at t = 0",
            r"\partial_\lambda = " + to_latex(regulariser_gradient()) + r"\ \text{at } t = 0",
            "the chain rule from T down to 0",
            along_a_direction,
            forms={"regulariser": regulariser_gradient()},
        ),
    )  # fmt: skip


# The formula that is altered


@cache
def formula() -> Formula:
    """All gradients of sum_t g_t.o_t of a sequence, in one row."""
    letters = {
        "Bbar": tuple(letter for m in B_BEFORE.terms for letter in m.word),
        "Pbar": tuple(letter for m in R.terms for letter in m.word),
    }
    return Formula(gradient_parts(), row_of_gradients, Vocabulary(GATES, letters))


def row_of_gradients(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """Values: sequence, and pulls as a list of (m, 1)."""
    return stacked(gradients_of_sequence(parts, values["sequence"], values["pulls"]))


def points(name: str) -> list[dict[str, Any]]:
    """Rational sequences with pulls."""
    from .mesa_layer import SHAPES

    sequences = [random_sequence(f"{name}/{k}", shape) for k, shape in enumerate(SHAPES)]
    return [{"sequence": one, "pulls": random_pulls(f"{name}/{k}", one)} for k, one in enumerate(sequences)]
