r"""Layers of causal linear attention that precondition, and one that steps: regularised least squares at every t.

With the pairs seen at t, X_t = sum_{t'<t} s_t' s_t'^T, C_t = sum_{t'<t} s_{t'+1} s_t'^T and A_t = X_t + I/lambda:
Main statements
    least squares   Phi_t = C_t A_t^-1 minimises L_t(Phi) + |Phi|^2/(2 lambda); its prediction Phi_t s_t is one gradient
                    step from 0 with rate 1 whose query s_t is replaced by A_t^-1 s_t
    layer           two heads turn p_t into p_t + omega (s_t - A_t p_t): one has keys and values s_{t'-1} and gives
                    X_t p_t for the query p_t; the other attends to its own position, and adds linear terms
    model           p_t = omega_0 s_t in the tokens, k such layers, then the gradient layer C_t p_t: its error is
                    Phi_t R(A_t) s_t with R(a) = prod_j (1 - omega_j a)
    bound           |error at t| <= |Phi_t| |s_t| max |R| on an interval that holds the eigenvalues of A_t
                    (`iterations`: Neumann, Richardson, Chebyshev)
Index
    Keys s_{t'-1} with t' <= t are s_1 .. s_{t-1}, the inputs of L_t. Keys s_{t'} would add s_t s_t^T, the pair whose
    target is not seen yet.
Assumptions
    lambda > 0; none on the sequence for the identities. The bound asks for 0 < mu <= eigenvalues of A_t <= M.
Reference
    [vonoswald2023uncovering, Proposition 2]; the recursion printed there is another one (`printed_iteration`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate, evaluate_over_samples, exact_inverse
from ..algebra.formulas import Formula, Values
from ..algebra.matrix_derivatives import gradient
from ..algebra.printing import to_sympy, to_text
from ..algebra.trace_polynomials import (
    TracePolynomial,
    identity,
    matrix,
    number,
    scalar,
    sum_over_samples,
    trace,
    vector,
)
from ..one_layer.assumptions import AssumptionError, check_shape, is_whole
from . import iterations
from .causal_layer import NOW, SAMPLES, X, before, columns, draw_fractions, letters_at, rational_sequence
from .gradient_step import PHI, by_word, loss_of_pairs, sequence_of

P = vector("p")
A = matrix("A", symmetric=True)
OMEGA, LAMBDA = scalar("omega"), scalar("lambda")
EYE = identity("d")
LONGEST = 1000  # layers that `predict` goes through

Blocks = Mapping[str, TracePolynomial]


@cache
def regularised_slope() -> TracePolynomial:
    """The gradient of L_t(Phi) + |Phi|^2/(2 lambda)."""
    return gradient(loss_of_pairs(), PHI) + gradient(trace(PHI.T * PHI) * LAMBDA**-1 / 2, PHI)


def layer_with(blocks: Blocks) -> TracePolynomial:
    """p + (head on the pairs: values x, keys x, query p) + (head on its own position: values p and s_t)."""
    pairs = sum_over_samples(blocks["V_pair"] * X * (X.T * P), SAMPLES)
    return P + pairs + blocks["V_own"] * P + blocks["V_state"] * NOW


@cache
def wanted_step() -> TracePolynomial:
    """p + omega (s_t - A_t p), A_t = sum x x^T + I/lambda."""
    return P + OMEGA * (NOW - sum_over_samples(X * (X.T * P), SAMPLES) - LAMBDA**-1 * P)


@cache
def blocks() -> dict[str, TracePolynomial]:
    """The three value blocks: layer = step is linear in them, word by word; the unpacking asserts that none is free."""
    import sympy as sp

    names = ("V_pair", "V_own", "V_state")
    difference = layer_with({name: scalar(name) * EYE for name in names}) - wanted_step()
    unknown = [sp.Symbol(name, positive=True) for name in names]
    equations = [to_sympy(factor) for factor in by_word(difference).values()]
    solution, free = sp.Matrix.gauss_jordan_solve(*sp.linear_eq_to_matrix(equations, unknown))
    () = tuple(free)
    return {name: as_multiple(value) * EYE for name, value in zip(names, solution, strict=True)}


def as_multiple(value: Any) -> TracePolynomial:
    """A SymPy monomial in omega and lambda as a polynomial."""
    coefficient, factors = value.as_coeff_Mul()
    found = number(Fraction(str(coefficient)))
    for symbol, power in factors.as_powers_dict().items():
        found = found * scalar(str(symbol)) ** int(power)
    return found


@cache
def iterate_of_three() -> TracePolynomial:
    """p_2 from p_0 = omega_0 s by two steps with omega_1 and omega_2, in the letter A."""
    found = scalar("omega_0") * NOW
    for name in ("omega_1", "omega_2"):
        found = found + scalar(name) * (NOW - A * found)
    return found


# Instances


class Instance:
    """A rational sequence (T = 4, n = 2) with lambda, step sizes, and any p_t at each position."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(f"mesa-preconditioning/{seed}")
        self.sequence = rational_sequence(f"preconditioning/{seed}", 2, 4)
        self.iterates = draw_fractions(draw, 4, 2)
        self.letters: dict[str, Any] = {"lambda": Fraction(draw.randint(1, 9), 4), "Phi": draw_fractions(draw, 2, 2)}
        self.steps = [Fraction(draw.randint(1, 9), 10) for _ in range(3)]

    def moments(self, t: int) -> tuple[Array, Array]:
        """(A_t, C_t) from the pairs."""
        inputs, targets = self.sequence[: t - 1], self.sequence[1:t]
        eye = np.eye(2, dtype=int).astype(object)
        return inputs.T @ inputs + eye / self.letters["lambda"], targets.T @ inputs

    def positions(self) -> range:
        return range(1, len(self.sequence) + 1)

    def slope_by_differences(self, t: int) -> Array:
        """The gradient at Phi, by central differences of the regularised loss."""
        Phi, found = self.letters["Phi"], []
        for place in range(4):
            unit = np.zeros(4, dtype=int).astype(object)
            unit[place] = Fraction(1)
            found.append((self.loss(t, Phi + unit.reshape(2, 2)) - self.loss(t, Phi - unit.reshape(2, 2))) / 2)
        return np.array(found, dtype=object).reshape(2, 2)

    def loss(self, t: int, Phi: Array) -> Any:
        errors = self.sequence[1:t] - self.sequence[: t - 1] @ Phi.T
        return (np.sum(errors * errors) + np.sum(Phi * Phi) / self.letters["lambda"]) / Fraction(2)

    def step(self, t: int, p: Array, omega: Fraction) -> Array:
        """p + omega (s_t - A_t p) from the moments."""
        moved: Array = p + omega * (self.sequence[t - 1] - self.moments(t)[0] @ p)
        return moved

    def at(self, polynomial: TracePolynomial, t: int, letters: Mapping[str, Any]) -> Array:
        own, samples = letters_at(self.sequence, t)
        values = {**self.letters, **own, "p": columns(self.iterates)[t - 1], **letters}
        return np.asarray(evaluate_over_samples(polynomial, values, samples))


def slopes(one: Instance) -> tuple[Any, Any]:
    differences = [one.slope_by_differences(t) for t in one.positions()]
    return differences, [one.at(regularised_slope(), t, {}) for t in one.positions()]


def wanted_steps(one: Instance) -> tuple[Any, Any]:
    omega = one.steps[0]
    found = [one.at(wanted_step(), t, {"omega": omega}).reshape(-1) for t in one.positions()]
    return [one.step(t, one.iterates[t - 1], omega) for t in one.positions()], found


def literal_layers(one: Instance) -> tuple[Any, Any]:
    """The p block after the literal layer with two heads on literal tokens, and the step at every position."""
    omega = one.steps[0]
    parts = {**blocks(), "start": OMEGA * EYE, "readout": EYE}
    layer = wiring(parts, one.letters["lambda"], [omega, omega], 2)["layers"][0]
    tokens = literal_tokens(one.sequence, one.iterates)
    after = after_literal_layer(tokens, layer, 2)[:, 6:8]
    return after, [one.step(t, one.iterates[t - 1], omega) for t in one.positions()]


def literal_tokens(sequence: Array, iterates: Array) -> Array:
    """(0, s_t, s_{t-1}, p_t, one-hot position), (T, 4n + T)."""
    place = np.eye(len(sequence), dtype=int).astype(object)
    return np.concatenate([0 * sequence, sequence, before(sequence), iterates, place], axis=1)


def after_literal_layer(tokens: Array, layer: Sequence[Any], n: int) -> Array:
    """The tokens plus what every head adds: sum_{t' <= t} V e_t' (e_t'^T G e_t)."""
    width, out = tokens.shape[1], tokens.copy()
    for head in layer:
        V, G = full_matrix(head["value"], width, n), full_matrix(head["key_query"], width, n)
        for t in range(len(tokens)):
            seen = tokens[: t + 1]
            out[t] = out[t] + V @ (seen.T @ (seen @ (G @ tokens[t])))
    return out


PLACES = {"prediction": 0, "state": 1, "previous": 2, "iterate": 3}


def full_matrix(entries: Sequence[Any], width: int, n: int) -> Array:
    """Blocks [rows, columns, matrix] put into a (width, width) matrix; `position` is what lies behind the four."""
    full = np.zeros((width, width), dtype=int).astype(object)
    spans = {name: slice(k * n, (k + 1) * n) for name, k in PLACES.items()} | {"position": slice(4 * n, width)}
    for rows, cols, block in entries:
        full[spans[rows], spans[cols]] = np.eye(width - 4 * n, dtype=int) if block == "I" else np.array(block)
    return full


def three_steps(one: Instance) -> tuple[Any, Any]:
    """s - A p_2 from the recursion, and prod (I - omega_j A) s."""
    left, right = [], []
    for t in one.positions():
        A_t, s = one.moments(t)[0], one.sequence[t - 1]
        p, product = one.steps[0] * s, s
        for omega in one.steps[1:]:
            p = one.step(t, p, omega)
        for omega in one.steps:
            product = product - omega * (A_t @ product)
        letters = {"A": A_t, **{f"omega_{j}": omega for j, omega in enumerate(one.steps)}}
        left += [s - A_t @ p, p]
        right += [product, one.at(iterate_of_three(), t, letters).reshape(-1)]
    return left, right


def errors(one: Instance) -> tuple[Any, Any]:
    """Phi_t s_t - C_t p for any p, and Phi_t (s_t - A_t p)."""
    left, right = [], []
    for t, p, s in zip(one.positions(), one.iterates, one.sequence, strict=True):
        A_t, C_t = one.moments(t)
        Phi = C_t @ exact_inverse(A_t)
        left.append(Phi @ s - C_t @ p)
        right.append(Phi @ (s - A_t @ p))
    return left, right


def extremal_points(m: int) -> list[Fraction]:
    """(1 - cos(pi j/m))/2, j = 0 .. m: where they are rational."""
    return {
        1: [Fraction(0), Fraction(1)],
        2: [Fraction(0), Fraction(1, 2), Fraction(1)],
        3: [Fraction(0), Fraction(1, 4), Fraction(3, 4), Fraction(1)],
    }[m]


def equioscillation(one: Instance) -> tuple[Any, Any]:
    """R_m at its extremal points of [mu, mu + gap], m = 1, 2, 3, and alternating rates."""
    a, mu, gap = iterations.symbols()
    at = {mu: one.steps[0].limit_denominator(), gap: one.steps[1]}
    left, right = [], []
    for m in (1, 2, 3):
        polynomial, size = iterations.residual_polynomial(m), iterations.rate(m)
        for j, share in enumerate(extremal_points(m)):
            point = {**at, a: at[mu] + share * at[gap]}
            left.append(polynomial.subs(point))
            right.append((-1) ** j * size.subs(point))
    return left, right


def interpolation(one: Instance) -> tuple[Any, Any]:
    """sum_j |l_j(0)| at the extremal points, and the inverse rates."""
    _, mu, gap = iterations.symbols()
    low, width, left, right = one.steps[0], one.steps[1], [], []
    for m in (1, 2, 3):
        points_of = [low + share * width for share in extremal_points(m)]
        weights = []
        for j, a_j in enumerate(points_of):
            others = [a_i for i, a_i in enumerate(points_of) if i != j]
            weights.append((-1) ** j * math.prod(a_i / (a_i - a_j) for a_i in others))
        left.append(sum(weights))
        value = 1 / iterations.rate(m).subs({mu: low, gap: width})
        right.append(Fraction(int(value.p), int(value.q)))
    return left, right


MINIMAX = (
    "For Q of degree m with Q(0) = 1, interpolation at the m + 1 points a_j gives 1 = sum_j l_j(0) Q(a_j); all a_j lie "
    "right of 0, so the signs of l_j(0) = prod a_i/(a_i - a_j) alternate as those of R(a_j) = (-1)^j r do, and 1 = r "
    "sum |l_j(0)| for R. Hence 1 <= max |Q| sum |l_j(0)| = max |Q|/r. With x = cos(theta), T_m(x) = cos(m theta) has "
    "these extrema and no larger values on [-1, 1], for every m."
)
LAYERS = (
    "A head of linear attention forms sums over t' <= t of cubic terms: X_t p is one, p and s_t are not. They come "
    "from a head that sees its own position only, by orthonormal codes of the positions; a linear map beside the "
    "attention would do as well."
)


@cache
def derivation() -> Derivation:
    """From the regularised loss to the model of k + 1 layers and its error."""
    found, (omega, constant_rate) = blocks(), iterations.best_constant()
    cheb = {f"R_{m}": iterations.residual_polynomial(m) for m in (1, 2, 3)}
    rates = {f"rate_{m}": iterations.rate(m) for m in (1, 2, 3)}
    steps = (
        equality(
            "regularised least squares",
            ("grad (L_t + |Phi|^2/(2 lambda))", r"\nabla\bigl(L_t + \tfrac{1}{2\lambda}\lVert\Phi\rVert^2\bigr)"),
            regularised_slope(),
            "x = s_{t'-1}, y = s_{t'} over t' <= t; it vanishes where Phi A_t = C_t, and A_t is invertible",
            slopes,
        ),
        equality(
            "one step of the iteration",
            ("p + omega (s_t - A_t p)", r"p + \omega(s_t - A_t p)"),
            wanted_step(),
            "A_t = sum x x^T + I/lambda with the keys x = s_{t'-1}: s_1 .. s_{t-1}, the inputs of L_t",
            wanted_steps,
        ),
        Step(
            "the weights of a layer",
            "V_pair, V_own, V_state",
            ", ".join(to_text(block) for block in found.values()),
            r"V_{\text{pair}} = -\omega I,\quad V_{\text{own}} = -\tfrac{\omega}{\lambda} I,\quad "
            r"V_{\text{state}} = \omega I",
            "one head with keys and values s_{t'-1} and query p, one head on its own position: solved word by word",
            literal_layers,
            proof=LAYERS,
            forms=found,
        ),
        Step(
            "the residual",
            "s - A p_2, from p_0 = omega_0 s",
            "(I - omega_0 A)(I - omega_1 A)(I - omega_2 A) s",
            r"s - Ap_k = \prod_{j=0}^{k}(I - \omega_j A)\,s",
            "s - A (p + omega (s - A p)) = (I - omega A)(s - A p); p_0 = omega_0 s is a step from p = 0",
            three_steps,
            forms={"iterate": iterate_of_three()},
        ),
        Step(
            "the gradient layer and the error",
            "Phi_t s_t - C_t p",
            "Phi_t (s_t - A_t p)",
            r"\Phi_t s_t - C_t p = \Phi_t R(A_t)\,s_t,\quad "
            r"\lVert\cdot\rVert \le \lVert\Phi_t\rVert\,\lVert s_t\rVert\max_{[\mu, M]}|R|",
            "C_t = Phi_t A_t; values s_t', keys s_{t'-1}, query p: the layer of mesa-gradient-step at Phi_0 = 0, eta = "
            "1",
            errors,
            proof="R(A_t) is diagonal in the eigenbasis of A_t, so its norm is at most max |R| over the eigenvalues.",
        ),
        Step(
            "the best constant step",
            "omega, and |1 - omega a| at both ends",
            f"{omega}, {constant_rate} with M = mu + gap",
            r"\omega = \frac{2}{\mu + M},\quad |1 - \omega a| \le \frac{\kappa - 1}{\kappa + 1}",
            "1 - omega a is monotone in a; M (1 - omega mu) - mu (1 - omega M) = M - mu for every omega, so that the "
            "larger of the two is at least (M - mu)/(M + mu)",
            proof=(
                "omega = 1 gives the Neumann series of (I - (I - A))^-1: it converges for every s iff all eigenvalues "
                "of A are below 2."
            ),
            forms={"omega": omega, "rate": constant_rate},
        ),
        Step(
            "Chebyshev's steps",
            "R_m at its m + 1 extremal points of [mu, M], m = 1, 2, 3",
            "+rate_m, -rate_m, +rate_m, ...",
            r"R_m(a) = \frac{T_m\bigl(\frac{M + \mu - 2a}{M - \mu}\bigr)}{T_m\bigl(\frac{M + \mu}{M - "
            r"\mu}\bigr)},\quad \max|R_m| = \frac{1}{T_m\bigl(\frac{\kappa + 1}{\kappa - 1}\bigr)}",
            "1/omega_j are the zeros of R_m, all in (mu, M); rate_m^2 - R_m^2 is (a - mu)(M - a) times a square",
            equioscillation,
            forms={**cheb, **rates},
        ),
        Step(
            "no polynomial does better",
            "sum_j |l_j(0)| at the extremal points",
            "1/rate_m",
            r"\min_{\deg Q = m,\ Q(0) = 1}\ \max_{[\mu, M]}|Q| = \frac{1}{T_m\bigl(\frac{\kappa + 1}{\kappa - "
            r"1}\bigr)} \le 2\Bigl(\frac{\sqrt\kappa - 1}{\sqrt\kappa + 1}\Bigr)^m",
            "interpolation at the extremal points; T_m((z + 1/z)/2) = (z^m + z^-m)/2 at z = (sqrt kappa + 1)/(sqrt "
            "kappa - 1)",
            interpolation,
            proof=MINIMAX,
        ),
    )  # fmt: skip
    return Derivation(STATEMENT, steps, {**found}, Instance)


STATEMENT = Statement(
    identifier="mesa-preconditioning",
    title="Layers that precondition and one gradient layer give regularised least squares at every t",
    latex=r"p_j = p_{j-1} + \omega_j(s_t - A_t p_{j-1}),\quad A_t = \sum_{t'<t} s_{t'}s_{t'}^\top + I/\lambda:\quad "
    r"\lVert C_t p_k - \Phi_t s_t\rVert \le \lVert\Phi_t\rVert\,\lVert s_t\rVert\max_{[\mu, M]}\prod_{j\le k}|1 - "
    r"\omega_j a|",
    text=(
        "k layers of causal linear attention turn omega_0 s_t into p with residual s_t - A_t p = prod (I - omega_j "
        "A_t) s_t, and one gradient layer predicts C_t p. Its distance from regularised least squares is at most "
        "|Phi_t| |s_t| times max(|1 - mu|, |1 - M|)^(k+1) for the Neumann series (omega = 1), ((kappa - 1)/(kappa + "
        "1))^(k+1) for Richardson's iteration (omega = 2/(mu + M)), and 1/T_(k+1)((kappa + 1)/(kappa - 1)) for "
        "Chebyshev's steps, than which no k layers of this kind do better on all spectra in [mu, M]."
    ),
    assumptions=(
        "lambda > 0; identities for every s_1 .. s_T and all omega_j",
        "bounds: eigenvalues of every A_t in [mu, M], mu > 0; mu = 1/lambda always serves, and is attained at t = 1",
    ),
    conventions=(
        "tokens (0, s_t, s_{t-1}, omega_0 s_t, one-hot position), two heads a layer, no softmax; L_t has the factor "
        "1/2 and the regulariser |Phi|^2/(2 lambda); kappa = M/mu"
    ),
    sources=(Source("vonoswald2023uncovering", "Proposition 2"),),
    uses=("mesa-gradient-step",),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """The model's predictions, of the start, the three blocks of each layer and the readout."""
    vocabulary = Vocabulary({"omega": ("lambda", "omega'"), "lambda": ("omega", "lambda'")})
    parts = {"start": OMEGA * EYE, **blocks(), "readout": EYE}
    return Formula(parts, predictions_by_parts, vocabulary)


def predictions_by_parts(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """C_t p_k at every t (T, n); values: `sequence` (T, n), `omegas` (k + 1), lambda and its look-alikes."""
    s = np.asarray(values["sequence"])
    made = numbers_of_layers(parts, values, s.shape[1])
    earlier, rows = before(s), []
    for t in range(len(s)):
        seen, targets = earlier[: t + 1], s[: t + 1]
        p = made["start"] @ s[t]
        for V_pair, V_own, V_state in made["layers"]:
            p = p + V_pair @ (seen.T @ (seen @ p)) + V_own @ p + V_state @ s[t]
        rows.append(made["readout"] @ (targets.T @ (seen @ p)))
    return np.array(rows)


def numbers_of_layers(parts: Blocks, values: Values, n: int) -> dict[str, Any]:
    """The blocks as matrices (n, n): start, the three of each layer, readout."""
    omegas, exact = list(values["omegas"]), np.asarray(values["omegas"]).dtype.kind == "O"
    eye = np.eye(n, dtype=int).astype(object) if exact else np.eye(n)

    others = {name: value for name, value in values.items() if name not in ("sequence", "omegas")}

    def at(name: str, omega: Any) -> Array:
        return np.asarray(evaluate(parts[name], {**others, "omega": omega, "I": eye}))

    by_omega = {omega: tuple(at(name, omega) for name in ("V_pair", "V_own", "V_state")) for omega in set(omegas[1:])}
    layers = [by_omega[omega] for omega in omegas[1:]]
    return {"start": at("start", omegas[0]), "layers": layers, "readout": at("readout", omegas[-1])}


def points(name: str) -> list[dict[str, Any]]:
    """Rational sequences with lambda and three step sizes."""
    found = []
    for k, n in enumerate((1, 2, 2, 3)):
        draw = random.Random(f"{name}/preconditioning/{k}")
        omegas = np.array([Fraction(draw.randint(1, 400), 401) for _ in range(3)], dtype=object)
        numbers = {one: Fraction(draw.randint(1, 400), 401) for one in ("lambda", "lambda'", "omega'")}
        found.append({"sequence": rational_sequence(f"{name}/{k}", n, 4), "omegas": omegas, **numbers})
    return found


def wiring(parts: Blocks, regulariser: Any, omegas: Sequence[Any], n: int, **letters: Any) -> dict[str, Any]:
    """The model as plain data: start (n, n), layers of heads, each with blocks [rows, columns, matrix].

    Blocks of P W_V and W_K^T W_Q are named by the parts of a token: prediction, state, previous, iterate, and position,
    whose block "I" is all of it.
    """
    exact = isinstance(regulariser, Fraction)
    steps = np.array(omegas, dtype=object if exact else float)
    made = numbers_of_layers(parts, {"lambda": regulariser, "omegas": steps, **letters}, n)
    eye = (np.eye(n, dtype=int) if exact else np.eye(n)).tolist()
    layers = []
    for V_pair, V_own, V_state in made["layers"]:
        own = [["iterate", "iterate", V_own.tolist()], ["iterate", "state", V_state.tolist()]]
        layers.append([
            {"value": [["iterate", "previous", V_pair.tolist()]], "key_query": [["previous", "iterate", eye]]},
            {"value": own, "key_query": [["position", "position", "I"]]},
        ])  # fmt: skip
    readout = {
        "value": [["prediction", "state", made["readout"].tolist()]],
        "key_query": [["previous", "iterate", eye]],
    }
    return {"start": made["start"].tolist(), "layers": layers, "readout": [readout]}


# For a user


def for_user(
    sequence: Any, regulariser: Any, steps: Any, iteration: Any = "chebyshev", spectrum_bounds: Any = None
) -> dict[str, Any]:
    """Predictions of the model with `steps` layers before the gradient layer, and their distance from least squares.

    Raises AssumptionError.
    """
    s = sequence_of(sequence)
    lam = float(check_shape(regulariser, (), "regulariser"))
    if lam <= 0:
        raise AssumptionError(f"regulariser needs lambda > 0, got {lam:g}; the penalty is |Phi|^2/(2 lambda)")
    if not is_whole(steps) or not 0 <= steps <= LONGEST:
        raise AssumptionError(f"steps needs a whole number from 0 to {LONGEST}, got {steps!r}; it counts layers")
    if iteration not in iterations.ITERATIONS:
        raise AssumptionError(f"iteration needs one of {', '.join(iterations.ITERATIONS)}, got {iteration!r}")
    low, high = bounds_of_spectrum(s, lam, spectrum_bounds)
    omegas = iterations.step_sizes(iteration, int(steps), low, high)
    largest = iterations.residual_bound(iteration, int(steps), low, high)
    predictions = formula().value({"sequence": s, "omegas": omegas, "lambda": lam})
    maps = least_squares_maps(s, lam)
    exact = np.array([Phi @ one for Phi, one in zip(maps, s, strict=True)])
    norms = [float(np.linalg.norm(Phi, 2) * np.linalg.norm(one)) for Phi, one in zip(maps, s, strict=True)]
    return {
        "predictions": predictions.tolist(),
        "error_bound": [size * largest for size in norms],
        "least_squares": exact.tolist(),
        "residual_bound": largest,
        "step_sizes": omegas.tolist(),
        "spectrum_bounds": [low, high],
    }


def least_squares_maps(s: Array, lam: float) -> list[Array]:
    """Phi_t = C_t A_t^-1 at every t."""
    found, earlier = [], before(s)
    for t in range(1, len(s) + 1):
        A_t = earlier[:t].T @ earlier[:t] + np.eye(s.shape[1]) / lam
        found.append(np.linalg.solve(A_t, earlier[:t].T @ s[:t]).T)
    return found


def bounds_of_spectrum(s: Array, lam: float, given: Any) -> tuple[float, float]:
    """(mu, M) that hold the eigenvalues of A_1 .. A_T: as given, or 1/lambda and the largest of A_T."""
    largest = 1 / lam + float(np.linalg.norm(s[:-1], 2) ** 2 if len(s) > 1 else 0.0)
    if given is None:
        return 1 / lam, largest
    low, high = (float(x) for x in check_shape(given, (2,), "spectrum_bounds"))
    rounding = 10 * float(np.finfo(float).eps) * largest
    if not 0 < low <= 1 / lam + rounding or high < largest - rounding:
        raise AssumptionError(
            f"spectrum_bounds [{low:g}, {high:g}] do not hold the eigenvalues of A_1 .. A_T, which go from {1 / lam:g} "
            f"(at t = 1) to {largest:g}; widen them, or leave them out"
        )
    return low, high
