r"""One layer of causal linear attention takes one gradient step on the pairs that it has seen.

At time t the pairs (s_{t'}, s_{t'+1}) with t' < t are known, and L_t(Phi) = 1/2 sum_{t'<t} |s_{t'+1} - Phi s_{t'}|^2.
Main statements
    slope      grad L_t(Phi_0) = -sum_{t'<t} (s_{t'+1} - Phi_0 s_{t'}) s_{t'}^T
    weights    on tokens (Phi_0 s_t, s_t, s_{t-1}), s_0 = 0, one head with the first block row (0, eta I, -eta Phi_0) of
               P W_V and W_K^T W_Q = I from the query's s_t to the keys' s_{t'-1}, zero elsewhere, predicts
               (Phi_0 - eta grad L_t(Phi_0)) s_t at every t: at t = 1, where no pair is seen, Phi_0 s_1
    freedom    these weights are fixed up to (c P W_V, W_K^T W_Q / c) and up to blocks that the tokens cannot tell
               apart, for n > 1 and T >= 4; for n = 1 key and value may be exchanged
Assumptions
    None on the sequence: an identity for every s_1 .. s_T, every Phi_0 and every eta.
Reference
    [vonoswald2023uncovering, Proposition 1]; its first block is 0 where Phi_0 = 0.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate, evaluate_over_samples
from ..algebra.formulas import Formula, Values
from ..algebra.matrix_derivatives import gradient
from ..algebra.printing import to_sympy
from ..algebra.trace_polynomials import (
    Monomial,
    TracePolynomial,
    identity,
    matrix,
    number,
    scalar,
    sum_over_samples,
    zero,
)
from ..algebra.words import LINE, Letter
from ..one_layer.assumptions import AssumptionError, check_shape, real_array
from .causal_layer import (
    ETA,
    FIRST_ROW,
    GRID,
    NOW,
    PHI_0,
    SAMPLES,
    Blocks,
    Grid,
    X,
    Y,
    any_weights,
    draw_fractions,
    full_weights,
    increment,
    letters_at,
    literal_increment,
    merged,
    rational_sequence,
)

PHI = matrix("Phi")
EYE, NIL = identity("d"), zero("d", "d")


# The derivation


@cache
def loss_of_pairs() -> TracePolynomial:
    """L_t(Phi); the summed pair is (x, y) = (s_{t'-1}, s_{t'}), and the pair with s_0 = 0 adds a constant only."""
    error = Y - PHI * X
    return sum_over_samples(error.T * error, SAMPLES) / 2


@cache
def slope() -> TracePolynomial:
    """grad L_t at Phi."""
    return gradient(loss_of_pairs(), PHI)


@cache
def step_prediction() -> TracePolynomial:
    """(Phi_0 - eta grad L_t(Phi_0)) s_t."""
    at_start = renamed(slope(), "Phi", PHI_0)
    return (PHI_0 - ETA * at_start) * NOW


def renamed(polynomial: TracePolynomial, name: str, letter: TracePolynomial) -> TracePolynomial:
    """A letter by another of the same shape, where sums over samples stay as they are."""
    ((monomial, _),) = letter.terms.items()
    (new,) = monomial.letters()

    def word(old: tuple[Letter, ...]) -> tuple[Letter, ...]:
        return tuple((new.T if x.transposed else new) if x.name == name else x for x in old)

    terms: defaultdict[Monomial, Fraction] = defaultdict(Fraction)
    for (scalars, traces, opened), value in polynomial.terms.items():
        terms[Monomial(scalars, tuple(sorted(word(one) for one in traces)), word(opened))] += value
    return TracePolynomial(polynomial.rows, polynomial.cols, terms)


def shape_of_weights() -> tuple[Blocks, Grid]:
    """The ansatz: values v s_{t'} + w Phi_0 s_{t'-1}, keys s_{t'-1}, queries g s_t."""
    v, w, g = scalar("v"), scalar("w"), scalar("g")
    return [v * EYE, w * PHI_0], [[NIL, NIL], [g * EYE, NIL]]


def by_word(polynomial: TracePolynomial) -> dict[tuple[Any, Any], TracePolynomial]:
    """The commuting factor of each product of words."""
    found: defaultdict[tuple[Any, Any], TracePolynomial] = defaultdict(zero)
    for (scalars, traces, word), value in polynomial.terms.items():
        found[traces, word] += TracePolynomial(LINE, LINE, {Monomial(scalars, (), ()): value})
    return dict(found)


@cache
def solved_weights() -> dict[str, TracePolynomial]:
    """v and w for g = 1: layer = step, word by word, is linear in them; the unpacking asserts that nothing is free."""
    import sympy as sp

    difference = PHI_0 * NOW + increment(*shape_of_weights()) - step_prediction()
    v, w, g, eta = (sp.Symbol(name, positive=True) for name in ("v", "w", "g", "eta"))
    equations = [to_sympy(factor).subs(g, 1) for factor in by_word(difference).values()]
    solution, free = sp.Matrix.gauss_jordan_solve(*sp.linear_eq_to_matrix(equations, [v, w]))
    () = tuple(free)
    return {name: number(Fraction(str(value / eta))) * ETA for name, value in zip("vw", solution, strict=True)}


@cache
def weights() -> dict[str, TracePolynomial]:
    """The blocks that are not 0: values of s_{t'} and s_{t'-1}, and the key-query block from s_t to s_{t'-1}."""
    found = solved_weights()
    return {"V_2": found["v"] * EYE, "V_3": found["w"] * PHI_0, "G_32": EYE}


@cache
def layer_prediction() -> TracePolynomial:
    """Phi_0 s_t + what the layer with these weights adds."""
    blocks = weights()
    return PHI_0 * NOW + increment([blocks["V_2"], blocks["V_3"]], [[NIL, NIL], [blocks["G_32"], NIL]])


# Instances


class Instance:
    """A rational sequence (T = 4, n = 2) with Phi_0, eta and blocks of weights."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(f"mesa-gradient-step/{seed}")
        self.sequence = rational_sequence(f"{seed}", 2, 4)
        self.letters: dict[str, Any] = {"Phi_0": draw_fractions(draw, 2, 2), "eta": Fraction(draw.randint(1, 9), 7)}
        self.free = {name: draw_fractions(draw, 2, 2) for name in (*FIRST_ROW, *GRID)}

    def at_every_position(self, polynomial: TracePolynomial) -> Array:
        """A vector polynomial at t = 1 .. T, (T, n)."""
        rows = []
        for t in range(1, len(self.sequence) + 1):
            own, samples = letters_at(self.sequence, t)
            rows.append(
                evaluate_over_samples(polynomial, {**self.letters, **self.merged(), **own}, samples).reshape(-1)
            )
        return np.array(rows)

    def merged(self) -> dict[str, Array]:
        """The free blocks as they act on (s_t, s_{t-1})."""
        return merged(self.free, self.letters["Phi_0"])

    def loss(self, t: int, Phi: Array) -> Any:
        """L_t from the pairs themselves."""
        errors = self.sequence[1:t] - self.sequence[: t - 1] @ Phi.T
        return np.sum(errors * errors) / Fraction(2)

    def slope_by_differences(self, t: int) -> Array:
        """grad L_t(Phi_0): central differences of a quadratic are exact."""
        start = self.letters["Phi_0"]
        units = [np.array([[Fraction(int((i, j) == (a, b))) for b in (0, 1)] for a in (0, 1)], dtype=object)
                 for i in (0, 1) for j in (0, 1)]  # fmt: skip
        found = [(self.loss(t, start + unit) - self.loss(t, start - unit)) / 2 for unit in units]
        return np.array(found, dtype=object).reshape(2, 2)

    def steps(self) -> Array:
        """(Phi_0 - eta grad L_t(Phi_0)) s_t at every t, by differences."""
        start, eta = self.letters["Phi_0"], self.letters["eta"]
        rows = [(start - eta * self.slope_by_differences(t)) @ s for t, s in enumerate(self.sequence, start=1)]
        return np.array(rows)

    def predictions(self, blocks: Mapping[str, Array]) -> Array:
        """The literal layer on literal tokens."""
        Phi_0 = self.letters["Phi_0"]
        made: Array = self.sequence @ Phi_0.T + literal_increment(self.sequence, Phi_0, *full_weights(blocks, 2))
        return made

    def derived_blocks(self) -> dict[str, Array]:
        """The derived blocks as numbers."""
        return {name: evaluate(block, self.letters) for name, block in weights().items()}

    def other_blocks(self) -> dict[str, Array]:
        """The same map by other weights: scale 3, and blocks of the copy Phi_0 s traded against those of s."""
        A, B, Phi_0 = self.free["V_1"], self.free["G_31"], self.letters["Phi_0"]
        ours = self.derived_blocks()
        return {
            "V_1": 3 * A, "V_2": 3 * (ours["V_2"] - A @ Phi_0), "V_3": 3 * ours["V_3"],
            "G_31": B / 3, "G_32": (ours["G_32"] - B @ Phi_0) / 3,
        }  # fmt: skip


def slopes_at(instance: Instance) -> tuple[Any, Any]:
    """grad L_t(Phi_0) at every t, by differences and from the form."""
    form = renamed(slope(), "Phi", PHI_0)
    positions = range(1, len(instance.sequence) + 1)
    formed = [evaluate_over_samples(form, instance.letters, letters_at(instance.sequence, t)[1]) for t in positions]
    return [instance.slope_by_differences(t) for t in positions], formed


def first_position(instance: Instance) -> tuple[Any, Any]:
    """The layer at t = 1, and Phi_0 s_1."""
    return instance.predictions(instance.derived_blocks())[0], instance.letters["Phi_0"] @ instance.sequence[0]


def without_start(instance: Instance) -> tuple[Any, Any]:
    """At Phi_0 = 0 every block that meets the first block of a token is idle: with and without them."""
    instance.letters = {**instance.letters, "Phi_0": 0 * instance.letters["Phi_0"]}
    idle = {name: instance.free[name] for name in ("V_1", "G_11", "G_12", "G_13", "G_21", "G_31")}
    return instance.predictions({**idle, **instance.derived_blocks()}), instance.steps()


UNIQUE = (
    "Let V and G be the blocks that act on (s_t, s_{t-1}), and eta not 0. At t = 1, V_s s s^T G_ss s = 0 for all s: "
    "V_s = 0 or G_ss is antisymmetric. For 1 < t' < t - 1 the products of s_t', s_t'-1 and s_t give V_s (x) G_ps + "
    "(V_p (x) G_ss, inner legs exchanged) = eta I (x) I. For n > 1, V_s = 0 is out: read with the legs exchanged the "
    "two sides have ranks 1 and n^2. If V_p (x) G_ss were not 0, V_s (x) G_ps would differ from eta I (x) I by rank "
    "1; then it has rank n^2 - 1 or more, both factors are invertible, all products of their eigenvalues are eta, and"
    " the logarithm of the unipotent product, a sum of nilpotents on either side, has rank 0 or at least 2. So V_s = "
    "c I, G_ps = (eta/c) I; the products of s_t', s_t' and s_t give V_p = -c Phi_0 and G_ss = 0, those of s_t, s_t, "
    "s_{t-1} give G_sp = 0, those of s_t', s_t'-1, s_{t-1} G_pp = 0. For n = 1 numbers commute, and V_s = 0, V_p = c,"
    " G_ss = eta/c, G_ps = -eta Phi_0/c is a second solution."
)


@cache
def derivation() -> Derivation:
    """From the layer with any weights to the step, and what its weights leave open."""
    blocks, general = weights(), PHI_0 * NOW + increment(*any_weights())
    steps = (
        equality(
            "gradient of the loss of the pairs seen",
            ("grad L_t(Phi), L_t = 1/2 sum_{t'<t} |s_t'+1 - Phi s_t'|^2", r"\nabla L_t(\Phi)"),
            slope(),
            "x = s_{t'-1}, y = s_{t'} over t' <= t: the pair with s_0 = 0 adds a constant to the loss, nothing to the "
            "gradient",
            slopes_at,
        ),
        equality(
            "the layer with any weights",
            ("first block of the layer at t", r"f(e)_t"),
            general,
            "tokens e = (Phi_0 s, s, s before) = J (s, s before); V = V' J and G = J^T G' J: V_s = V_1 Phi_0 + V_2 and "
            "G_ps = G_31 Phi_0 + G_32, for example",
            lambda one: (one.predictions(one.free), one.at_every_position(general)),
        ),
        Step(
            "the weights",
            "V_2, V_3, G_32",
            "eta I, -eta Phi_0, I",
            r"V = (0,\ \eta I,\ -\eta\Phi_0),\quad G_{32} = I",
            "values v s_t' + w Phi_0 s_{t'-1} and keys s_{t'-1}: layer = step, word by word, is solved by v and w; the "
            "scale of G_32 is free and set to 1",
            lambda one: (one.predictions(one.derived_blocks()), one.steps()),
            forms=blocks,
        ),
        equality(
            "layer = one gradient step",
            ("(Phi_0 - eta grad L_t(Phi_0)) s_t", r"(\Phi_0 - \eta\nabla L_t(\Phi_0))\,s_t"),
            layer_prediction(),
            "the layer with these weights, at every t",
            lambda one: (one.steps(), one.at_every_position(layer_prediction())),
        ),
        Step(
            "the first position",
            "prediction at t = 1",
            "Phi_0 s_1",
            r"f(e)_1 = \Phi_0 s_1",
            "the only key is s_0 = 0: no pair is seen",
            first_position,
        ),
        Step(
            "what the weights leave open",
            "{V, G of this map}",
            "(c V, G/c), and blocks of Phi_0 s traded against those of s",
            r"V_1\Phi_0 + V_2 = c\,\eta I,\quad V_3 = -c\,\eta\Phi_0,\quad G_{31}\Phi_0 + G_{32} = I/c",
            "the first block of a token is Phi_0 times the second; for n > 1 and T >= 4 nothing else is free",
            lambda one: (one.predictions(one.other_blocks()), one.steps()),
            proof=UNIQUE,
        ),
        Step(
            "tokens (0, s_t, s_{t-1})",
            "prediction at Phi_0 = 0",
            "eta sum_{t'<t} s_{t'+1} s_t'^T s_t",
            r"\eta\textstyle\sum_{t'<t} s_{t'+1}s_{t'}^\top s_t",
            "Phi_0 = 0 leaves V = (anything, eta I, 0); every block that meets the first block of a token is idle",
            without_start,
        ),
    )
    results = {"prediction": layer_prediction(), **blocks}
    return Derivation(STATEMENT, steps, results, Instance)


STATEMENT = Statement(
    identifier="mesa-gradient-step",
    title="One layer of causal linear attention takes one gradient step on the pairs seen so far",
    latex=r"f(e)_t = (\Phi_0 - \eta\nabla L_t(\Phi_0))\,s_t,\quad "
    r"L_t(\Phi) = \tfrac12\sum_{t'<t}\lVert s_{t'+1} - \Phi s_{t'}\rVert^2",
    text=(
        "On tokens (Phi_0 s_t, s_t, s_{t-1}) with s_0 = 0 one layer of causal linear attention predicts s_{t+1}, at "
        "every t, as one step of gradient descent with rate eta from Phi_0 on the squared loss of the pairs seen does: "
        "the first block row of P W_V is (0, eta I, -eta Phi_0), and W_K^T W_Q reads s_{t'-1} of a key with s_t of the "
        "query."
    ),
    assumptions=("none on the sequence: for all s_1 .. s_T, Phi_0 and eta; T >= 1",),
    conventions="one head, no softmax, no 1/t, t' = t among the keys; s_0 = 0; the first block is the prediction",
    sources=(Source("vonoswald2023uncovering", "Proposition 1"),),
)


# The formula that is altered


OTHER = "Phi'"


@cache
def formula() -> Formula:
    """The predictions at every t, of the start and of the three blocks of weights."""
    vocabulary = Vocabulary({"eta": ("lambda",)}, {"Phi_0": (Letter(OTHER),)})
    return Formula({"start": PHI_0, **weights()}, predictions_by_blocks, vocabulary)


def predictions_by_blocks(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """start s_t + sum_{t' <= t} (V_2 s_t' + V_3 s_{t'-1}) s_{t'-1}^T G_32 s_t, (T, n); `sequence` (T, n) a value."""
    sequence = np.asarray(values["sequence"])
    letters = {name: value for name, value in values.items() if name != "sequence"}
    start, V_2, V_3, G = (evaluate(parts[name], letters) for name in ("start", "V_2", "V_3", "G_32"))
    earlier = np.concatenate([0 * sequence[:1], sequence[:-1]])
    written, moment, rows = sequence @ V_2.T + earlier @ V_3.T, 0 * start, []
    for s, key, value in zip(sequence, earlier, written, strict=True):
        moment = moment + np.outer(value, key)
        rows.append(start @ s + moment @ (G @ s))
    return np.array(rows)


def weights_of_parts(parts: Mapping[str, TracePolynomial], letters: Values) -> tuple[Array, Array]:
    """The full weights (3n, 3n) of the blocks V_2, V_3 and G_32 at given letters."""
    blocks = {name: evaluate(parts[name], letters) for name in ("V_2", "V_3", "G_32")}
    return full_weights(blocks, len(letters["Phi_0"]))


def points(name: str) -> list[dict[str, Any]]:
    """Rational sequences with Phi_0 and eta."""
    found = []
    for k, n in enumerate((1, 2, 2, 3)):
        draw = random.Random(f"{name}/steps/{k}")
        found.append({
            "sequence": rational_sequence(f"{name}/{k}", n, 4), "Phi_0": draw_fractions(draw, n, n),
            OTHER: draw_fractions(draw, n, n), "eta": Fraction(draw.randint(1, 400), 401),
            "lambda": Fraction(draw.randint(1, 400), 401),
        })  # fmt: skip
    return found


# For a user


def sequence_of(value: Any) -> Array:
    """A sequence (T, n) with T, n >= 1. Raises AssumptionError."""
    found = real_array(value, "sequence")
    if found.ndim != 2 or 0 in found.shape:
        raise AssumptionError(f"sequence needs shape (T, n), one row for each s_t, got {found.shape}; write [[1, 0]]")
    return found


def for_user(sequence: Any, learning_rate: Any, initial_weights: Any = None) -> dict[str, Any]:
    """Predictions of s_2 .. s_{T+1} (T, n) and the full weights of one head (3n, 3n). Raises AssumptionError."""
    s = sequence_of(sequence)
    n = s.shape[1]
    eta = float(check_shape(learning_rate, (), "learning_rate"))
    Phi_0 = np.zeros((n, n)) if initial_weights is None else check_shape(initial_weights, (n, n), "initial_weights")
    letters = {"Phi_0": Phi_0, "eta": eta}
    value, key_query = weights_of_parts(weights(), letters)
    predictions = formula().value({**letters, "sequence": s})
    return {
        "predictions": predictions.tolist(),
        "value_weights": plain(value),
        "key_query_weights": plain(key_query),
    }


def plain(matrix_of_blocks: Array) -> list[list[float]]:
    """Rows of floats; -0.0 becomes 0.0."""
    return [[float(entry) + 0.0 for entry in row] for row in matrix_of_blocks]
