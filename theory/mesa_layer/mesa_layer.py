r"""The mesa layer: regularised least squares at every t, one rank-one step at a time, forwards and back.

At each t the layer fits Phi_t (m x d) to all pairs seen so far, with gates gamma_t in (0, 1] that forget them and the
regulariser alike, zeta_ti = gamma_{i+1} .. gamma_t, and outputs Phi_t q_t:
    Phi_t = argmin L_t,  L_t(Phi) = 1/2 sum_{i<=t} zeta_ti |v_i - Phi k_i|^2 + zeta_t0/(2 lambda) |Phi|_F^2
Main statements (a prime is the step before, R = P^-1, s = k^T R' k)
    normal equations   L_t = gamma L_{t-1} + 1/2 |v - Phi k|^2, so Phi_t (gamma R'^-1 + k k^T) = gamma Phi' R'^-1 + v
                       k^T
    update of R        R_t = R'/gamma - R' k k^T R'/(gamma (gamma + s)), R_0 = lambda I [sherman1950adjustment]
    delta rule         Phi_t = Phi' + (v - Phi' k) (R' k)^T/(gamma + s), Phi_0 = 0: the gain is R_t k
    one step back      R' = gamma (R + R k k^T R/(1 - k^T R k)): always possible, 1 - k^T R k = gamma/(gamma + s) > 0
    its price          a relative error of R (in the norm |P^(1/2) E P^(1/2)|) grows by at most 1 + s/gamma in a step
                       back, and there is one that does; over the whole way back by at most |lambda P_T/zeta_T0|.
                       Forwards it never grows
    backward pass      `backward_pass`;  lambda -> 0, infinity: `regulariser_limits`
Assumptions
    lambda > 0 and gamma_t > 0: then every P_t is positive definite and the minimiser is unique. At gamma_t = 0 nothing
    is left of the regulariser, and the minimiser is not unique before d keys in general position follow.
References
    [vonoswald2023uncovering, Equations 5-8]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.formulas import Formula, SingularSystemError, Values, left_divided
from ..algebra.matrix_derivatives import gradient
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import (
    TracePolynomial,
    degree,
    inverse_of_monomial,
    matrix,
    number,
    scalar,
    select,
    trace,
    vector,
)
from ..algebra.words import Word
from .key_value_sequences import (
    KeyValueSequence,
    discount,
    least_squares,
    objective,
    random_matrix,
    random_sequence,
    statistics,
)

if TYPE_CHECKING:
    import sympy as sp

PHI, PHI_BEFORE = matrix("Phi", rows="m"), matrix("Phi'", rows="m")
R, R_BEFORE = matrix("R", symmetric=True), matrix("R'", symmetric=True)
P_BEFORE, B_BEFORE = matrix("P'", symmetric=True), matrix("B'", rows="m")
KEY, VALUE = vector("k"), vector("v", space="m")
FORGET, REGULARISER = scalar("gamma"), scalar("lam")


# One step forward


def step_objective() -> TracePolynomial:
    """gamma/2 tr((Phi - Phi') R'^-1 (Phi - Phi')^T) + 1/2 |v - Phi k|^2: L_t without its constant."""
    moved, error = PHI - PHI_BEFORE, VALUE - PHI * KEY
    return FORGET * trace(moved * inverse_of_monomial(R_BEFORE) * moved.T) / 2 + error.T * error / 2


@cache
def step_gradient() -> TracePolynomial:
    """dL_t/dPhi."""
    return gradient(step_objective(), PHI)


@cache
def normal_equations() -> tuple[TracePolynomial, TracePolynomial]:
    """(left, right) with Phi_t left = right: dL_t/dPhi = Phi left - right."""
    return without_phi(step_gradient())


def without_phi(slope: TracePolynomial) -> tuple[TracePolynomial, TracePolynomial]:
    """(left, right) of a slope Phi left - right that is linear in Phi."""
    linear = select(slope, lambda monomial: degree(monomial, "Phi") == 1)
    left = TracePolynomial("d", "d", {m._replace(word=m.word[1:]): value for m, value in linear.terms.items()})
    return left, linear - slope


Fraction2 = tuple[TracePolynomial, TracePolynomial]  # (numerator, denominator)


def inverse_of_update(left: TracePolynomial, inverse: TracePolynomial, key: TracePolynomial = KEY) -> Fraction2:
    """left^-1 as (numerator, denominator) for left = c1 inverse^-1 + c2 k k^T, c1 and c2 in commuting symbols.

    The ansatz alpha inverse + beta inverse k k^T inverse is closed under multiplication with left; alpha and beta are
    solved for.
    """
    import sympy as sp

    ansatz = scalar("alpha") * inverse + scalar("beta") * inverse * key * key.T * inverse
    scores = key.T * inverse * key
    equations = coefficients(left * ansatz, scores)
    wanted = [value - (1 if not word else 0) for word, value in equations.items()]
    alpha, beta = sp.symbols("alpha beta")
    (found,) = sp.solve(wanted, [alpha, beta], dict=True)  # the unpacking asserts that there is one solution
    parts = [sp.fraction(sp.together(found[one])) for one in (alpha, beta)]
    below = sp.factor(sp.lcm(*(part[1] for part in parts)))
    below = below if below.subs({"gamma": 1, "s": 0}) > 0 else -below
    above = [from_scalars(sp.cancel(found[one] * below), scores) for one in (alpha, beta)]
    numerator = above[0] * inverse + above[1] * inverse * key * key.T * inverse
    return numerator, from_scalars(below, scores)


def coefficients(polynomial: TracePolynomial, scores: TracePolynomial) -> dict[Word, sp.Expr]:
    """Open word -> its coefficient in the symbols and in s, which stands for the closed word k^T R k."""
    import sympy as sp

    ((monomial, _),) = scores.terms.items()
    found: dict[Word, sp.Expr] = {}
    for (symbols, traces, word), value in polynomial.terms.items():
        assert all(closed == monomial.traces[0] for closed in traces)
        term = sp.Rational(value.numerator, value.denominator) * sp.Symbol("s") ** len(traces)
        for name, exponent in symbols:
            term *= sp.Symbol(name) ** exponent
        found[word] = found.get(word, sp.Integer(0)) + term
    return found


def from_scalars(expression: sp.Expr, scores: TracePolynomial) -> TracePolynomial:
    """A polynomial in gamma and s as a trace polynomial."""
    import sympy as sp

    symbols = sp.symbols("gamma s")
    total = number(0)
    for (powers, s_power), value in sp.Poly(expression, *symbols).as_dict().items():
        total = total + Fraction(int(value.p), int(value.q)) * FORGET**powers * scores**s_power
    return total


@cache
def update() -> Fraction2:
    """R_t as (numerator, denominator)."""
    left, _ = normal_equations()
    return inverse_of_update(left, R_BEFORE)


@cache
def delta_rule() -> Fraction2:
    """Phi_t - Phi' as (numerator, denominator): right R_t - Phi', with one gamma cancelled."""
    _, right = normal_equations()
    numerator, denominator = update()
    change = right * numerator - denominator * PHI_BEFORE
    return inverse_of_monomial(FORGET) * change, inverse_of_monomial(FORGET) * denominator


# One step back


@cache
def update_backwards() -> Fraction2:
    """R' from R as (numerator, denominator): the inverse of (R^-1 - k k^T)/gamma."""
    left = inverse_of_monomial(FORGET) * (inverse_of_monomial(R) - KEY * KEY.T)
    return inverse_of_update(left, R)


@cache
def change_backwards() -> Fraction2:
    """Phi' - Phi as (numerator, denominator), from Phi, R, k and v: (Phi R^-1 - v k^T) R'/gamma - Phi."""
    numerator, denominator = update_backwards()
    carried = inverse_of_monomial(FORGET) * (PHI * inverse_of_monomial(R) - VALUE * KEY.T)
    return carried * numerator - denominator * PHI, denominator


@cache
def growth_of_errors() -> TracePolynomial:
    """1 + k^T R' k/gamma: what a step back multiplies the worst relative error of R by."""
    return number(1) + inverse_of_monomial(FORGET) * (KEY.T * R_BEFORE * KEY)


# Exact checks at rational sequences


def values_at(seed: int, t: int | None = None) -> dict[str, Any]:
    """Letters at step t (the last unless given) of a rational sequence; R, R', Phi_t and Phi' from the literal sums."""
    sequence = random_sequence(seed)
    t = t or len(sequence)
    (_, before), (_, now) = statistics(sequence, t - 1), statistics(sequence, t)
    return {
        "R'": exact_inverse(before), "R": exact_inverse(now), "Phi'": least_squares(sequence, t - 1),
        "Phi_t": least_squares(sequence, t), "Phi": random_matrix(seed, len(sequence.values[0]), sequence.dimension),
        "k": sequence.keys[t - 1], "v": sequence.values[t - 1], "gamma": sequence.forget[t - 1],
    }  # fmt: skip


def gradient_by_differences(seed: int) -> Array:
    """dL_T/dPhi by central differences of the literal objective, exact for a quadratic."""
    sequence, Phi = random_sequence(seed), values_at(seed)["Phi"]

    def slope(row: int, col: int) -> Any:
        unit = 0 * Phi
        unit[row, col] = Fraction(1)
        return (objective(sequence, len(sequence), Phi + unit) - objective(sequence, len(sequence), Phi - unit)) / 2

    return np.array([[slope(i, j) for j in range(Phi.shape[1])] for i in range(Phi.shape[0])], dtype=object)


def ratio_at(pair: Fraction2, values: dict[str, Any]) -> Array:
    """A fraction's value."""
    quotient: Array = evaluate(pair[0], values) / evaluate(pair[1], values)
    return quotient


def normal_equations_at(seed: int) -> tuple[Array, Array]:
    """Phi_t left and right, Phi_t from the literal sums."""
    values = values_at(seed)
    left, right = normal_equations()
    return values["Phi_t"] @ evaluate(left, values), evaluate(right, values)


def backwards_at(seed: int) -> tuple[Array, Array]:
    """(R', Phi' - Phi_t) from the literal sums, and from the step back."""
    values = values_at(seed)
    now = {**values, "Phi": values["Phi_t"]}
    found = np.vstack([ratio_at(update_backwards(), now), ratio_at(change_backwards(), now)])
    return np.vstack([values["R'"], values["Phi'"] - values["Phi_t"]]), found


def way_back(seed: int) -> tuple[Array, Array]:
    """An error of R_T carried back to R_0 beside (lambda^2/zeta_T0) P_T E P_T; a factor beside 1/(1 - k^T R k)."""
    sequence = random_sequence(seed)
    T, free = len(sequence), random_matrix(f"error/{seed}", sequence.dimension, sequence.dimension)
    error = carried = free + free.T
    precisions = [statistics(sequence, t)[1] for t in range(T + 1)]
    for t in range(T, 0, -1):
        before = exact_inverse(precisions[t - 1]) @ precisions[t]
        carried = before @ carried @ before.T / sequence.forget[t - 1]
    whole = sequence.regulariser**2 / discount(sequence, T, 0) * (precisions[T] @ error @ precisions[T])
    values = values_at(seed)
    factor, remaining = evaluate(growth_of_errors(), values), evaluate(update_backwards()[1], values)
    return np.append(carried, factor), np.append(whole, 1 / remaining)


def worst_error(seed: int) -> tuple[list[Any], list[Any]]:
    """The relative size of R' P E P R'/gamma for E = R k k^T R, beside 1 + s/gamma times that of E.

    Both errors have rank one, so that their relative sizes |P^(1/2) E P^(1/2)| are the traces of E P.
    """
    values = values_at(seed)
    key, inverse, before, gamma = values["k"], values["R"], values["R'"], values["gamma"]
    precision = exact_inverse(inverse)
    error = inverse @ key @ key.T @ inverse
    carried = before @ precision @ error @ precision @ before / gamma
    size_now, size_before = np.trace(error @ precision), np.trace(carried @ exact_inverse(before))
    return [size_before], [size_now * evaluate(growth_of_errors(), values)]


def weights_by_recursion(parts: Mapping[str, TracePolynomial], sequence: KeyValueSequence) -> Array:
    """Phi_t for all t, (T, m, d), by the update and the delta rule."""
    inverse = np.eye(sequence.dimension, dtype=int).astype(object) * sequence.regulariser
    Phi = np.zeros((len(sequence.values[0]), sequence.dimension), dtype=int).astype(object)
    found = []
    for key, value, gate in zip(sequence.keys, sequence.values, sequence.forget, strict=True):
        letters = {
            "R'": inverse, "Phi'": Phi, "k": key, "v": value, "gamma": gate, "lam": sequence.regulariser,
        }  # fmt: skip
        Phi = Phi + evaluate(parts["change"], letters) / evaluate(parts["change denominator"], letters)
        inverse = evaluate(parts["inverse"], letters) / evaluate(parts["inverse denominator"], letters)
        found.append(Phi)
    return np.array(found)


def recursion_at(seed: int) -> tuple[Array, Array]:
    """All Phi_t by the recursion, and from the literal sums."""
    sequence = random_sequence(seed)
    direct = [least_squares(sequence, t) for t in range(1, len(sequence) + 1)]
    return weights_by_recursion(recursion().parts, sequence), np.array(direct)


# The derivation


def fraction_text(pair: Fraction2) -> str:
    return f"[{to_text(pair[0])}]/[{to_text(pair[1])}]"


def fraction_latex(pair: Fraction2) -> str:
    return rf"\frac{{{to_latex(pair[0])}}}{{{to_latex(pair[1])}}}"


def steps_forward() -> tuple[Step, ...]:
    """From the objective to the recursion."""
    left, right = normal_equations()
    return (
        equality(
            "gradient of one step",
            ("dL_t/dPhi", r"\nabla L_t"),
            step_gradient(),
            "L_t = gamma L_{t-1} + 1/2 |v - Phi k|^2, since zeta_ti = gamma zeta_{t-1,i} for i < t; L_{t-1} is "
            "quadratic with its minimum at Phi' and the second derivative R'^-1",
            lambda seed: (gradient_by_differences(seed), evaluate(step_gradient(), values_at(seed))),
        ),
        Step(
            "normal equations",
            f"Phi_t [{to_text(left)}]",
            to_text(right),
            rf"\Phi_t \bigl({to_latex(left)}\bigr) = {to_latex(right)}",
            "the gradient is zero at the minimum; the left side is P_t, positive definite for lambda > 0 and gamma > 0",
            normal_equations_at,
            forms={"left": left, "right": right},
        ),
        Step(
            "update of R",
            "R_t = P_t^-1",
            fraction_text(update()),
            rf"R_t = {fraction_latex(update())}",
            "ansatz alpha R' + beta R' k k^T R', which P_t maps to multiples of I and k k^T R': both are solved for; "
            "R_0 = lambda I",
            lambda seed: (values_at(seed)["R"], ratio_at(update(), values_at(seed))),
            forms={"numerator": update()[0], "denominator": update()[1]},
        ),
        Step(
            "delta rule",
            "Phi_t - Phi'",
            fraction_text(delta_rule()),
            rf"\Phi_t - \Phi' = {fraction_latex(delta_rule())}",
            "right R_t - Phi': a step along the error v - Phi' k with the gain R_t k = R' k/(gamma + k^T R' k)",
            lambda seed: (
                values_at(seed)["Phi_t"] - values_at(seed)["Phi'"], ratio_at(delta_rule(), values_at(seed))
            ),
            forms={"change": delta_rule()[0], "denominator": delta_rule()[1]},
        ),
        Step(
            "least squares at every t",
            "Phi_t by update and delta rule from R_0 = lambda I, Phi_0 = 0",
            "argmin L_t, for every t",
            r"\Phi_t = \arg\min L_t\ \text{for every } t",
            "induction over t: L_0 = |Phi|^2/(2 lambda) has its minimum at Phi_0 = 0 and the second derivative R_0^-1",
            recursion_at,
        ),
    )  # fmt: skip


def steps_back() -> tuple[Step, ...]:
    """The step back, and what it costs."""
    return (
        Step(
            "one step back",
            "R_{t-1}, and Phi_{t-1} - Phi_t",
            f"{fraction_text(update_backwards())}, and {fraction_text(change_backwards())}",
            rf"R' = {fraction_latex(update_backwards())},\quad \Phi' - \Phi_t = {fraction_latex(change_backwards())}",
            "the same ansatz for (R^-1 - k k^T)/gamma; 1 - k^T R k = gamma/(gamma + k^T R' k) is positive, so in exact "
            "arithmetic the way back is always open",
            backwards_at,
            forms={
                "numerator": update_backwards()[0], "denominator": update_backwards()[1],
                "change": change_backwards()[0],
            },
        ),
        Step(
            "digits lost on the way back",
            "what a step back, and the whole way back from R_T to R_0, make of a relative error, at most",
            f"{to_text(growth_of_errors())} = 1/(1 - k^T R k) times it, and |lambda P_T/zeta_T0| times it",
            rf"{to_latex(growth_of_errors())} = \frac{{1}}{{1 - k^\top R k}},\qquad "
            r"\zeta_{T0}^{-1} |\lambda P_T|",
            "to first order an error E of R goes to R' P E P R'/gamma, and over all steps to "
            "(lambda^2/zeta_T0) P_T E P_T, for the factors P' R' in between cancel",
            way_back,
            proof=(
                "Relative to R' the size |P'^(1/2) . P'^(1/2)| of R' P E P R'/gamma is at most "
                "|R'^(1/2) P R'^(1/2)|/gamma = 1 + k^T R' k/gamma times that of E relative to R. Forwards the factor "
                "is gamma |P'^(1/2) R P'^(1/2)| <= 1, since gamma P' <= P."
            ),
            forms={"factor": growth_of_errors()},
        ),
        Step(
            "the worst error is met",
            "relative size of R' P E P R'/gamma for E = R k k^T R",
            "1 + k^T R' k/gamma times that of E",
            r"\bigl|R' P E P R'/\gamma\bigr|_{R'} = \bigl(1 + \tfrac{k^\top R' k}{\gamma}\bigr) |E|_R,\quad "
            r"E = R k k^\top R",
            "E has rank one: its relative size is the trace of E P",
            worst_error,
        ),
    )  # fmt: skip


@cache
def derivation() -> Derivation:
    """Forwards, back, the gradients, and the two limits."""
    from .backward_pass import steps_of_gradients
    from .regulariser_limits import steps_of_limits

    steps = (*steps_forward(), *steps_back(), *steps_of_gradients(), *steps_of_limits())
    latex = (
        rf"R_t = {fraction_latex(update())},\quad \Phi_t = \Phi' + {fraction_latex(delta_rule())}"
        r"\ \Longrightarrow\ \Phi_t = \arg\min_\Phi \tfrac12 \sum_{i\le t} \zeta_{ti} |v_i - \Phi k_i|^2 + "
        r"\tfrac{\zeta_{t0}}{2\lambda} |\Phi|_F^2"
    )
    results = {"inverse": update(), "change": delta_rule()}
    return Derivation(replace(STATEMENT, latex=latex), steps, results, lambda seed: seed)


STATEMENT = Statement(
    identifier="mesa-layer",
    title="The mesa layer is regularised least squares at every t",
    latex="",  # the derived recursion, filled in by `derivation`
    text=(
        "R_t by a rank-one update and Phi_t by a delta rule give at every t the minimiser of the discounted squared "
        "error with the regulariser zeta_t0/(2 lambda) |Phi|^2. The gradients follow from two sums that run backwards, "
        "and R_{t-1} from R_t where 1 - k^T R_t k keeps its digits. As lambda -> 0 the layer goes to 0; it is "
        "(zeta_t0/lambda) Phi_t that goes to gated linear attention, to within (lambda/zeta_t0) |B_t S_t|. As lambda "
        "-> infinity Phi_t goes to least squares wherever the keys span."
    ),
    assumptions=(
        "any keys k_t in R^d, values v_t in R^m and queries; lambda > 0, gates 0 < gamma_t <= 1",
        "zeta_ti = gamma_{i+1} .. gamma_t: every gate multiplies all past terms and the regulariser",
    ),
    conventions=(
        "Phi_t is m x d and the output Phi_t q_t; R_0 = lambda I; the pair of time t belongs to L_t, and its gate "
        "gamma_t does not discount it; a factor 1/2 in L_t, which does not move the minimum"
    ),
    sources=(
        Source("vonoswald2023uncovering", "Equations 5-8"),
        Source("ours", "the price of the way back, both limits with their remainders"),
    ),
)


# The formulas that are altered


GATES = {"gamma": ("lam",)}


@cache
def recursion() -> Formula:
    """Phi_t for all t by update and delta rule."""
    (inverse, below), (change, under) = update(), delta_rule()
    parts = {"inverse": inverse, "inverse denominator": below, "change": change, "change denominator": under}
    return Formula(parts, recursive_weights, Vocabulary(GATES))


def recursive_weights(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """(T, m, d) of a sequence. Raises SingularSystemError."""
    try:
        return weights_by_recursion(parts, values["sequence"])
    except ZeroDivisionError:
        raise SingularSystemError("need denominators other than 0, got one that vanishes") from None


@cache
def direct_sums() -> Formula:
    """Phi_t = B_t P_t^-1 from the running sums of the normal equations."""
    left, right = normal_equations()
    precision = substitute_precision(left)
    cross = select(right, lambda monomial: degree(monomial, "Phi'") == 0) + FORGET * B_BEFORE
    parts = {"precision": precision, "cross": cross}
    return Formula(parts, weights_from_sums, Vocabulary(GATES))


def substitute_precision(left: TracePolynomial) -> TracePolynomial:
    """R'^-1 written as the letter P'."""
    ((before, _),) = P_BEFORE.terms.items()
    terms = {
        m._replace(word=tuple(before.word[0] if one.name == "R'" else one for one in m.word)): value
        for m, value in left.terms.items()
    }
    return TracePolynomial(left.rows, left.cols, terms)


def weights_from_sums(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """(T, m, d) of a sequence. Raises SingularSystemError."""
    sequence: KeyValueSequence = values["sequence"]
    precision = np.eye(sequence.dimension, dtype=int).astype(object) * (1 / Fraction(sequence.regulariser))
    cross = np.zeros((len(sequence.values[0]), sequence.dimension), dtype=int).astype(object)
    found = []
    for key, value, gate in zip(sequence.keys, sequence.values, sequence.forget, strict=True):
        letters = {"P'": precision, "B'": cross, "k": key, "v": value, "gamma": gate, "lam": sequence.regulariser}
        precision, cross = evaluate(parts["precision"], letters), evaluate(parts["cross"], letters)
        try:
            found.append(left_divided(precision.T, cross.T).T)
        except ValueError:
            raise SingularSystemError("need an invertible precision, got a singular one") from None
    return np.array(found)


SHAPES = ((3, 2, 2), (4, 1, 2), (3, 3, 1), (4, 2, 3))


def points(name: str) -> list[dict[str, Any]]:
    """Rational sequences."""
    return [{"sequence": random_sequence(f"{name}/{k}", shape)} for k, shape in enumerate(SHAPES)]
