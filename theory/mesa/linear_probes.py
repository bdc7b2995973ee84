r"""Linear probes of features that turn with the sequence: one number for each block, in closed form.

A probe predicts a target y from blocks h^1, h^2 of d channels by W_1 h^1 + W_2 h^2 with the least
    E |y - W_1 h^1 - W_2 h^2|^2 + kappa (|W_1|^2 + |W_2|^2).
Main statements
    targets     s_{t+1}, and (S S^T + I/lambda)^-1 s_t with the states s_1 .. s_t for the columns of S, turn with the
                sequence: O s for s
    means       for a law that signed permutations leave alone every second moment E a b^T is (tr/d) I
    probe       the probe is W_a = w_a I: with Q_ab = E h^a h^b^T and Y_a = E y h^a^T
                    (tr Q_11 + kappa d) w_1 + tr Q_12 w_2 = tr Y_1,    tr Q_12 w_1 + (tr Q_22 + kappa d) w_2 = tr Y_2
    error       E |y|^2 - w_1 tr Y_1 - w_2 tr Y_2, the penalty included
What follows, and what does not
    A probe of c blocks has c numbers to learn and not c d^2. That its error falls with depth and with t is not derived:
    the residual stream of a later layer is no function that contains the earlier one. It is measured (mesa-probing).
References
    [vonoswald2023uncovering]: probing of trained models.
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
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.formulas import Formula, SingularSystemError, Values
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, matrix, scalar, trace
from ..algebra.words import Letter
from ..one_layer.assumptions import AssumptionError, check_covariance, check_dimension, real_array
from ..symbols import d
from .equivariance import block_mean, block_sides, instance_of, rational, signed_permutations

Q11, Q22 = matrix("Q11", symmetric=True), matrix("Q22", symmetric=True)
Q12, Y1, Y2 = matrix("Q12"), matrix("Y1"), matrix("Y2")
Y = matrix("Y", symmetric=True)
kappa = scalar("kappa")
MOMENTS = ("Q11", "Q12", "Q22", "Y1", "Y2", "Y")


@cache
def probe() -> dict[str, TracePolynomial]:
    """w_1 = first/common, w_2 = second/common by Cramer's rule; error/common is what is left.

    >>> to_text(probe()["second"])
    'd kappa tr(Y2) + tr(Q11) tr(Y2) - tr(Q12) tr(Y1)'
    """
    import sympy as sp

    names = {"a": trace(Q11) + kappa * d, "b": trace(Q12), "c": trace(Q22) + kappa * d, "m": trace(Y1), "n": trace(Y2)}
    a, b, c, m, n = sp.symbols("a b c m n")
    system = sp.Matrix([[a, b], [b, c]])
    adjugate = system.adjugate() * sp.Matrix([m, n])
    first, second, common = (in_traces(one, names) for one in (*adjugate, system.det()))
    error = trace(Y) * common - trace(Y1) * first - trace(Y2) * second
    return {"first": first, "second": second, "common": common, "error": error}


def in_traces(expression: Any, names: Mapping[str, TracePolynomial]) -> TracePolynomial:
    """A SymPy polynomial with trace polynomials in the place of its symbols."""
    import sympy as sp

    polynomial = sp.Poly(expression, *(sp.Symbol(name) for name in names))
    total = TracePolynomial("1", "1", {})
    for powers, value in polynomial.terms():
        term: Any = Fraction(int(value))
        for power, factor in zip(powers, names.values(), strict=True):
            term = term * factor**power
        total = total + term
    return total


# Instances: two prompts with two blocks and a target each, and all their turned copies


@cache
def prompts_of(seed: int) -> tuple[tuple[Array, Array, Array], ...]:
    """(h^1, h^2, y) of three prompts, (d, 1) each, d = 2, 3 in turn."""
    draw, size = random.Random(f"probes/{seed}"), 2 + seed % 2
    return tuple((rational(draw, size, 1), rational(draw, size, 1), rational(draw, size, 1)) for _ in range(3))


def moments_of(prompts: Any) -> dict[str, Any]:
    """The second moments of equally likely prompts, and a ridge."""
    count = Fraction(len(prompts))

    def mean(pick: Any) -> Any:
        return sum(pick(*prompt) for prompt in prompts) / count

    return {
        "Q11": mean(lambda a, b, y: a @ a.T), "Q12": mean(lambda a, b, y: a @ b.T),
        "Q22": mean(lambda a, b, y: b @ b.T), "Y1": mean(lambda a, b, y: y @ a.T),
        "Y2": mean(lambda a, b, y: y @ b.T), "Y": mean(lambda a, b, y: y @ y.T), "kappa": Fraction(1, 3),
    }  # fmt: skip


def turned(prompts: Any) -> list[Any]:
    """All copies under signed permutations."""
    size = len(prompts[0][0])
    return [tuple(R @ part for part in prompt) for prompt in prompts for R in signed_permutations(size)]


def moment_sides(seed: int) -> tuple[Array, Array]:
    """d times the second moments of all copies; and the trace of those of the prompts, times I."""
    prompts = prompts_of(seed)
    copies, plain = moments_of(turned(prompts)), moments_of(prompts)
    size = len(prompts[0][0])
    left = [size * copies[name] for name in MOMENTS]
    return np.array(left), np.array([evaluate(block_mean(), {"M": plain[name]}) for name in MOMENTS])


def fitted_probe(moments: Mapping[str, Any]) -> Array:
    """(W_1 W_2) of the normal equations, (d, 2d)."""
    size = len(moments["Q11"])
    Q = np.block([[moments["Q11"], moments["Q12"]], [moments["Q12"].T, moments["Q22"]]])
    ridge = moments["kappa"] * np.eye(2 * size, dtype=int).astype(object)
    found: Array = np.block([[moments["Y1"], moments["Y2"]]]) @ exact_inverse(Q + ridge)
    return found


def probe_sides(seed: int) -> tuple[Array, Array]:
    """The probe fitted to all copies with all its d x 2d numbers; and w_1 I, w_2 I."""
    prompts = prompts_of(seed)
    first, second, _ = predicted_probe(probe(), moments_of(prompts))
    eye = np.eye(len(prompts[0][0]), dtype=int).astype(object)
    return fitted_probe(moments_of(turned(prompts))), np.block([[first * eye, second * eye]])


def error_sides(seed: int) -> tuple[Any, Any]:
    """Error and penalty of the fitted probe, copy by copy; and the form."""
    prompts = prompts_of(seed)
    copies, plain = turned(prompts), moments_of(prompts)
    W = fitted_probe(moments_of(copies))
    errors = [np.sum((y - W @ np.concatenate([a, b])) ** 2) for a, b, y in copies]
    return sum(errors) / Fraction(len(copies)) + plain["kappa"] * np.sum(W**2), predicted_probe(probe(), plain)[2]


def preconditioned_sides(seed: int) -> tuple[Array, Array]:
    """(S S^T + I/lambda)^-1 s_t of turned states, lambda = 2; and the turned one."""
    one = instance_of(seed)
    R, states = one.rotation, np.concatenate([one.x, one.y, one.z], axis=1)

    def preconditioned(S: Array) -> Array:
        eye = np.eye(len(S), dtype=int).astype(object)
        found: Array = exact_inverse(S @ S.T + Fraction(1, 2) * eye) @ S[:, -1:]
        return found

    return preconditioned(R @ states), R @ preconditioned(states)


@cache
def derivation() -> Derivation:
    """Targets that turn, second moments, the probe and its error."""
    forms = probe()
    steps = (
        Step(
            "targets that turn with the sequence",
            "(O S (O S)^T + I/lambda)^-1 O s_t",
            "O (S S^T + I/lambda)^-1 s_t",
            r"\bigl(OS(OS)^\top + \lambda^{-1} I\bigr)^{-1} O s_t = O\,(SS^\top + \lambda^{-1} I)^{-1} s_t",
            "O^T O = I; s_{t+1} turns by the law of the sequence",
            preconditioned_sides,
        ),
        Step(
            "mean of a block",
            "d times the mean of O^T M O",
            to_text(block_mean()),
            rf"d\;\mathbb{{E}}_O\, O^\top M O = {to_latex(block_mean())}",
            "signed permutations are enough, as in mesa-compressed-depth",
            block_sides,
            forms={"mean": block_mean()},
        ),
        Step(
            "second moments",
            "d E a b^T over all turned copies, for a, b out of h^1, h^2, y",
            "tr(E a b^T) I",
            r"d\;\mathbb{E}\, a b^\top = \operatorname{tr}(\mathbb{E}\, a b^\top)\, I",
            "the mean of a block, with M = a b^T",
            moment_sides,
        ),
        Step(
            "probe",
            "(W_1, W_2)",
            f"(first I, second I)/common, first = {to_text(forms['first'])}; second = {to_text(forms['second'])}; "
            f"common = {to_text(forms['common'])}",
            rf"W_1 = \frac{{{to_latex(forms['first'])}}}{{{to_latex(forms['common'])}}}\, I",
            "the normal equations in multiples of the identity, by Cramer's rule; for kappa > 0 they have one solution",
            probe_sides,
            forms={name: forms[name] for name in ("first", "second", "common")},
        ),
        Step(
            "error of the probe",
            "E |y - W_1 h^1 - W_2 h^2|^2 + kappa (|W_1|^2 + |W_2|^2)",
            f"({to_text(forms['error'])})/common",
            r"\mathbb{E}\lvert y\rvert^2 - w_1 \operatorname{tr} Y_1 - w_2 \operatorname{tr} Y_2",
            "the normal equations put into the square",
            error_sides,
            forms={"error": forms["error"]},
        ),
    )
    return Derivation(replace(STATEMENT, latex=steps[3].latex), steps, dict(forms), lambda seed: seed)


STATEMENT = Statement(
    identifier="mesa-probing",
    title="Linear probes of trained autoregressive attention: the next state and preconditioned inputs",
    latex="",  # that of the step `probe`, filled in by `derivation`
    text=(
        "Derived: on a law that rotations leave alone the best linear probe of features that turn with the sequence "
        "is one multiple of the identity for each block, in closed form. Measured, in at least half of the trainings "
        "of deep linear attention: the error of probes for s_{t+1} falls with every layer and, after the last one, "
        "with t up to 2.5 d; that for (S S^T + I/lambda)^-1 s_t is smaller before the last layer than before the "
        "first, for t up to 1.5 d."
    ),
    assumptions=(
        "the law of (h^1, h^2, y) is that of (O h^1, O h^2, O y) for every signed permutation O",
        "kappa > 0, or second moments of full rank",
    ),
    conventions="kappa is the ridge on the mean square; traces of second moments, not their means over d",
    sources=(
        Source("vonoswald2023uncovering", "probing by depth and context length, measured"),
        Source("ours", "the probe of features that turn with the sequence"),
    ),
    uses=("mesa-compressed-depth",),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """(w_1, w_2, error) of the letters Q11, Q12, Q22, Y1, Y2, Y and kappa."""
    letters = {"Q11": symmetric("Q22"), "Q22": symmetric("Q11"), "Y1": (Letter("Y2"),), "Y2": (Letter("Y1"),)}
    return Formula(probe(), predicted_probe, Vocabulary({}, letters))


def symmetric(name: str) -> tuple[Letter, ...]:
    return (Letter(name, symmetric=True),)


def predicted_probe(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """(first, second, error)/common. Raises SingularSystemError where common is 0."""
    common = evaluate(parts["common"], values)
    if not common:
        raise SingularSystemError("need features of full rank or a ridge above 0 for a probe, got neither")
    return np.array([evaluate(parts[name], values) / common for name in ("first", "second", "error")])


def points(name: str) -> list[dict[str, Any]]:
    """Second moments of random rational prompts, d = 2, 3, 2, 3."""
    found = []
    for k in range(4):
        draw, size = random.Random(f"{name}/{k}"), 2 + k % 2
        prompts = [tuple(rational(draw, size, 1) for _ in range(3)) for _ in range(4)]
        found.append({**moments_of(prompts), "kappa": Fraction(draw.randint(1, 97), 97)})
    return found


def block_probe(features: Any, target: Any, target_square: Any, dimension: Any, ridge: Any = 0.0) -> dict[str, Any]:
    """The probe of c blocks from the traces of their second moments. Raises AssumptionError.

    features (c, c): E h^a . h^b; target (c,): E y . h^a; target_square: E |y|^2; dimension: d; ridge: kappa.

    >>> block_probe([[2.0]], [1.0], 1.0, 2)
    {'weights': [0.5], 'error': 0.5, 'numbers': 1, 'numbers_without_rotations': 4}
    """
    size, penalty = check_dimension(dimension), float(real_array(ridge, "ridge"))
    Q = check_covariance(features, "features", definite=penalty == 0)
    cross, square = real_array(target, "target"), float(real_array(target_square, "target_square"))
    if cross.shape != (len(Q),):
        raise AssumptionError(f"target needs one number for each of {len(Q)} blocks, got shape {cross.shape}")
    if penalty < 0 or square < 0:
        raise AssumptionError(f"ridge and target_square need to be at least 0, got {penalty:g} and {square:g}")
    weights = np.linalg.solve(Q + penalty * size * np.eye(len(Q)), cross)
    left = square - float(weights @ cross)
    if left < -1e-9 * square:
        raise AssumptionError("target_square is below what the features explain; give second moments of one law")
    return {
        "weights": weights.tolist(), "error": max(left, 0.0), "numbers": len(Q),
        "numbers_without_rotations": len(Q) * size**2,
    }  # fmt: skip
