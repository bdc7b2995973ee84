r"""The Bayes predictor under a shift of the inputs: it is one function for every law of x, and a scale is a noise.

y_i = w . x_i + e_i with e_i ~ N(0, s2) and w from a mixture of Gaussian classes; inputs independent of w and e.
Main statements
    one function    given X, y and x_q the law of the inputs is a factor that every class and coefficient shares:
                    posterior and prediction do not know it. So a predictor that is Bayes for N(0, I) is Bayes under
                    every covariance, also one that is new in each prompt
    scale           of inputs x = r g and labels y = r z, c = r^2, everything that the posterior is made of (the joint
                    density, its square, its volume) is that of the inputs g and labels z = w . g + e/r: of noise s2/c
    risk            the error on w . x is r times that on w . g, so R(c; s2) = c R(1; s2/c), for every mixture of linear
                    classes, at every prefix. Without noise the risk is just c times as large
A trained layer of linear attention is no such function: its risk under a shift is that of test-risk.
For the dense class, w ~ N(0, v I), completing the square in |y - X w|^2 + (s2/v) |w|^2 gives all numbers.
References
    Trained Transformers under these shifts: [zhang2024trained, Section 4.3 and Figure 1]. The statements are ours.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import Array, evaluate
from ..algebra.formulas import Formula, Values, left_divided
from ..algebra.matrix_derivatives import gradient
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import (
    Monomial,
    TracePolynomial,
    matrix,
    scalar,
    select,
    substitute,
    vector,
)
from ..one_layer.assumptions import AssumptionError, check_dimension, check_positive, is_whole
from ..one_layer.baselines import bayes_risk
from ..one_layer.risk import trained_risk

if TYPE_CHECKING:
    import sympy as sp

X, Y = matrix("X", rows="N"), vector("y", space="N")
G, Z = matrix("G", rows="N"), vector("z", space="N")
W, MEAN, QUERY = vector("w"), vector("m"), vector("g")
NOISE, PRIOR, R = scalar("s2"), scalar("v"), scalar("r")
LARGEST, MOST_EXAMPLES = 40, 200  # of `predict`


# The derivation


@cache
def joint() -> TracePolynomial:
    """s2 times -2 log p(y | X, w) p(w), up to a constant."""
    error = Y - X * W
    return error.T * error + NOISE * PRIOR**-1 * W.T * W


@cache
def scaled_joint() -> TracePolynomial:
    """The same over c at X = r G, y = r z."""
    return R**-2 * substitute(joint(), {"X": R * G, "y": R * Z})


@cache
def noisier_joint() -> TracePolynomial:
    """The joint density of G, z with the noise s2/c in the place of s2."""
    return substitute(joint(), {"X": G, "y": Z}, scalars={"s2": NOISE * R**-2})


@cache
def normal_equations() -> tuple[TracePolynomial, TracePolynomial]:
    """left m = right, over c: where the joint density is largest, half its slope is left w - right."""
    slope = gradient(scaled_joint(), W) / 2
    constant = select(slope, lambda monomial: all(letter.name != "w" for letter in monomial.letters()))
    terms = {Monomial(m.scalars, m.traces, m.word[:-1]): value for m, value in (slope - constant).terms.items()}
    return TracePolynomial("d", "d", terms), -constant


@cache
def square() -> TracePolynomial:
    """Q/s2: twice the exponent of the evidence, the joint density where it is largest."""
    return R**2 * NOISE**-1 * substitute(scaled_joint(), {"w": MEAN})


@cache
def volume() -> TracePolynomial:
    """What stands below the root in the evidence: det((v/s2) left)."""
    return PRIOR * R**2 * NOISE**-1 * normal_equations()[0]


PREDICTION = R * QUERY.T * MEAN  # E[w . x_q | X, y] at x_q = r g
SPREAD = NOISE  # s2 (r g)^T (r^2 left)^-1 (r g), the variance of w . x_q: SPREAD g^T left^-1 g


@cache
def squared_error() -> TracePolynomial:
    """(w . x_q - m . x_q)^2."""
    error = R * QUERY.T * (W - MEAN)
    return error * error


# Instances of the steps


class Instance:
    """Two examples in two dimensions, rational: inputs r g, labels r z."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(f"covariate-shift/{seed}")

        def drawn(rows: int, cols: int) -> Array:
            return exact([[Fraction(draw.randint(-9, 9), 7) for _ in range(cols)] for _ in range(rows)])

        self.G, self.z, self.g, self.w = drawn(2, 2), drawn(2, 1), drawn(2, 1), drawn(2, 1)
        self.s2, self.v, self.r, self.p = (Fraction(draw.randint(1, 9), 5) for _ in range(4))
        self.posterior = [Fraction(draw.randint(1, 9), 4) for _ in range(6)]

    def letters(self) -> dict[str, Any]:
        """With the posterior mean."""
        numbers = {
            name: np.array(value, dtype=object) for name, value in (("s2", self.s2), ("v", self.v), ("r", self.r))
        }
        found = {"G": self.G, "z": self.z, "g": self.g, "w": self.w, **numbers}
        return {**found, "m": left_divided(*(evaluate(part, found) for part in normal_equations()))}

    def density(self, inputs: Array, labels: Array, noise: Fraction, w: Array) -> Fraction:
        """-2 log p(y | X, w) p(w), up to a constant, number by number."""
        errors = (labels - inputs @ w)[:, 0]
        return Fraction(sum(e * e for e in errors) / noise + sum(b * b for b in w[:, 0]) / self.v)

    def at_scale(self, w: Array) -> Fraction:
        """The density at x = r g, y = r z and noise s2."""
        return self.density(self.r * self.G, self.r * self.z, self.s2, w)

    def covariance(self) -> Array:
        """E y y^T at scale c."""
        inputs = self.r * self.G
        found: Array = exact(np.eye(2, dtype=int)) * self.s2 + self.v * inputs @ inputs.T
        return found


def exact(values: Any) -> Array:
    """An array of fractions."""
    array = np.asarray(values, dtype=object)
    return np.array([Fraction(one) for one in array.reshape(-1)], dtype=object).reshape(array.shape)


def plain(value: Any) -> Fraction:
    """A number out of an array of one."""
    return Fraction(np.asarray(value, dtype=object).item())


def determinant(matrix: Any) -> Any:
    """By the first row; of at most four rows here."""
    if len(matrix) == 1:
        return matrix[0][0]
    minors = (np.delete(np.delete(matrix, 0, 0), j, 1) for j in range(len(matrix)))
    return sum((-1) ** j * matrix[0][j] * determinant(minor) for j, minor in enumerate(minors))


def law_cancels(one: Instance) -> tuple[Any, Any]:
    """Posterior and prediction of two classes from joint densities with that of the inputs, p; and from the forms."""
    import sympy as sp

    names = ("pi", "rho", "D", "E", "f_d", "f_s")
    pi, rho, D, E, f_d, f_s = one.posterior
    joints = (one.p * pi * D, one.p * rho * E)
    values = {sp.Symbol(name, positive=True): sp.Rational(str(x)) for name, x in zip(names, one.posterior, strict=True)}
    formed = [Fraction(str(form.subs(values))) for form in forms_of_rule().values()]
    return [joints[0] / sum(joints), (joints[0] * f_d + joints[1] * f_s) / sum(joints)], formed


def scale_is_noise(one: Instance) -> tuple[Any, Any]:
    """The density at scale c, that of g, z with the noise s2/c, and the form."""
    found = plain(evaluate(scaled_joint(), one.letters())) * one.r**2 / one.s2
    return [one.at_scale(one.w), one.density(one.G, one.z, one.s2 / one.r**2, one.w)], [found, found]


def completed(one: Instance) -> tuple[Any, Any]:
    letters = one.letters()
    left, gap = evaluate(normal_equations()[0], letters), one.w - letters["m"]
    squared = plain(gap.T @ left @ gap) * one.r**2 / one.s2
    return one.at_scale(one.w), squared + one.at_scale(letters["m"])


def evidences(one: Instance) -> tuple[Any, Any]:
    """y^T K^-1 y and det K/s2^N from the covariance K of y at scale c, and the forms."""
    K, y, letters = one.covariance(), one.r * one.z, one.letters()
    formed = [plain(evaluate(square(), letters)), determinant(evaluate(volume(), letters))]
    return [plain(y.T @ left_divided(K, y)), determinant(K) / one.s2**2], formed


def errors(one: Instance) -> tuple[Any, Any]:
    letters = one.letters()
    target, guess = (one.r * plain(one.g.T @ vector_) for vector_ in (one.w, letters["m"]))
    return (target - guess) ** 2, plain(evaluate(squared_error(), letters))


@cache
def forms_of_rule() -> dict[str, sp.Expr]:
    """Bayes' rule for two classes with the evidences D and E of y given X, and predictions f_d and f_s."""
    import sympy as sp

    p, pi, rho, D, E, f_d, f_s = sp.symbols("p pi rho D E f_d f_s", positive=True)
    first, second = p * pi * D, p * rho * E
    total = first + second
    return {"posterior": sp.cancel(first / total), "prediction": sp.cancel((first * f_d + second * f_s) / total)}


RULE, SCALE, COMPLETED = "one function for every law of the inputs", "a scale is a noise", "completing the square"
EVIDENCE, ERROR = "evidence", "risk"


@cache
def derivation() -> Derivation:
    """From Bayes' rule to the scaling of the risk."""
    left, right = normal_equations()
    posterior, prediction = (str(form) for form in forms_of_rule().values())
    return Derivation(
        STATEMENT,
        (
            Step(
                RULE,
                "P(dense | X, y, x_q), E[w.x_q | X, y, x_q]",
                f"{posterior}; {prediction}",
                r"\frac{p\,\pi D}{p\,\pi D + p\,\rho E} = \frac{\pi D}{\pi D + \rho E},\quad "
                r"\hat f = \frac{\pi D f_d + \rho E f_s}{\pi D + \rho E}",
                "inputs are drawn apart from coefficients and noise: their density p(X, x_q), also a mean over random "
                "covariances, is a factor of every joint density and cancels; D and E are the densities of y given X",
                law_cancels,
                forms=forms_of_rule(),
            ),
            Step(
                SCALE,
                "(s2/c) times -2 log p(y | X, w) p(w) at X = r G, y = r z, c = r^2",
                to_text(scaled_joint()),
                rf"\tfrac{{\sigma^2}}{{c}}\,(-2)\log p(rz \mid rG, w)\,p(w) = {to_latex(scaled_joint())}",
                "substitution; it is the density of G, z with the noise s2/c in the place of s2",
                scale_is_noise,
                forms={"right": scaled_joint()},
            ),
            Step(
                COMPLETED,
                "the same, for left m = right",
                f"(w - m)^T ({to_text(left)}) (w - m) + what m leaves; right = {to_text(right)}",
                rf"(w - m)^\top\bigl({to_latex(left)}\bigr)(w - m) + \dots,\quad"
                rf"\bigl({to_latex(left)}\bigr)m = {to_latex(right)}",
                "half the slope in w is left w - right; m = E[w | X, y] does not know r but for s2/r^2",
                completed,
                forms={"left": left, "right": right},
            ),
            Step(
                EVIDENCE,
                "y^T K^-1 y and det(K)/s2^N for K = E y y^T at scale c",
                f"{to_text(square())}; det of {to_text(volume())}",
                rf"y^\top K^{{-1}}y = {to_latex(square())},\quad "
                rf"\det K/\sigma^{{2N}} = \det\bigl({to_latex(volume())}\bigr)",
                "what a Gaussian class gives to the posterior of the classes: that of noise s2/c, but for c^(-N/2), "
                "which all classes share",
                evidences,
                forms={"square": square(), "volume": volume()},
            ),
            Step(
                ERROR,
                "(w.x_q - E[w.x_q | X, y])^2 at x_q = r g",
                to_text(squared_error()),
                rf"(w^\top x_q - m^\top x_q)^2 = {to_latex(squared_error())}",
                "r^2 times the error at the inputs g and noise s2/c; the mean over prompts is R(c; s2) = c R(1; s2/c)",
                errors,
                forms={"error": squared_error()},
            ),
        ),
        {"left": left, "right": right, "square": square(), "volume": volume()},
        Instance,
    )


STATEMENT = Statement(
    identifier="covariate-shift",
    title="The Bayes predictor is one function under every law of the inputs; a scale of the inputs is a noise",
    latex=r"R(c;\sigma^2) = c\,R(1;\sigma^2/c)",
    text=(
        "Given the examples and the query, the Bayes predictor of any mixture of linear classes does not depend on the "
        "law of the inputs. At inputs sqrt(c) g its risk is c times that at inputs g with the noise s2/c. What a "
        "trained decoder loses to it under covariate shift is the decoder's own failure."
    ),
    assumptions=(
        "inputs of any law, independent of the function and of the noise; a random covariance of each prompt included",
        "scale: classes of linear functions with Gaussian coefficients (dense, or on supports), noise N(0, s2), s2 > 0",
    ),
    conventions="c is the variance of an input's coordinate, r = sqrt c; risk = E (prediction - w.x_q)^2",
    sources=(
        Source("zhang2024trained", "Section 4.3 and Figure 1: trained Transformers under these shifts"),
        Source("ours", "the statements"),
    ),
    uses=("test-risk", "random-covariance", "mixture-posterior"),
)  # fmt: skip


# The formula that is altered


@cache
def formula() -> Formula:
    """Mean and variance of w.x_q for the dense class at scale c, and both parts of its evidence."""
    left, right = normal_equations()
    parts = {
        "left": left, "right": right, "prediction": PREDICTION, "spread": SPREAD, "square": square(),
        "volume": volume(),
    }  # fmt: skip
    return Formula(parts, of_dense_class, Vocabulary({"s2": ("v",), "v": ("s2",)}))


def of_dense_class(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """prediction, variance, y^T K^-1 y, det K/s2^N at values G (N, d), z (N, 1), g (d, 1), s2, v, r."""
    left = evaluate(parts["left"], values)
    letters = {**values, "m": left_divided(left, evaluate(parts["right"], values))}
    numbers = [plain(evaluate(parts[name], letters)) for name in ("prediction", "spread", "square")]
    quadratic = plain(values["g"].T @ left_divided(left, values["g"]))
    return np.array([numbers[0], numbers[1] * quadratic, numbers[2], determinant(evaluate(parts["volume"], letters))])


def points(name: str) -> list[dict[str, Any]]:
    """Random rational prompts, N below, at and above d."""
    draw = random.Random(f"covariate-shift/points/{name}")
    found = []
    for N, d in ((1, 2), (2, 2), (3, 2), (2, 3)):
        letters = {
            key: exact([[Fraction(draw.randint(-99, 99), 97) for _ in range(cols)] for _ in range(rows)])
            for key, rows, cols in (("G", N, d), ("z", N, 1), ("g", d, 1))
        }
        numbers = {key: np.array(Fraction(draw.randint(1, 400), 97), dtype=object) for key in ("s2", "v", "r")}
        found.append({**letters, **numbers})
    return found


# For a user


def for_user(
    dimension: Any, examples: Any, input_scale: Any = 1.0, noise_variance: Any = 0.1, variance: Any = 1.0
) -> dict[str, float]:
    """The dense class's least risk at scale c, the noise that the scale is, the layer's risk. Raises AssumptionError.

    >>> {name: round(value, 4) for name, value in for_user(5, 10, 4.0).items()}
    {'effective_noise': 0.025, 'bayes_risk': 0.1224, 'layer_risk': 118.453}
    """
    d = check_dimension(dimension)
    if d > LARGEST:
        raise AssumptionError(f"need dimension at most {LARGEST}, where the risk can be computed, got {d}; lower it")
    if not is_whole(examples) or not 0 <= examples <= MOST_EXAMPLES:
        raise AssumptionError(f"need examples as a whole number from 0 to {MOST_EXAMPLES}, got {examples!r}")
    n = int(examples)
    c, s2 = check_positive(input_scale, "input_scale"), check_positive(noise_variance, "noise_variance")
    v = check_positive(variance, "variance")
    return {
        "effective_noise": s2 / c,
        "bayes_risk": oracle_risk(d, n, c, s2, v),
        "layer_risk": c * v * d if n == 0 else layer_risk(d, n, c, s2, v),
    }


def oracle_risk(d: int, n: int, c: float, s2: float, v: float = 1.0) -> float:
    """c R(1; s2/c) after n examples: in units of c v the coefficients are N(0, I) and the noise s2/(c v)."""
    return c * v * (float(d) if n == 0 else bayes_risk(d, n, s2 / (c * v)))


def layer_risk(d: int, n: int, c: float, s2: float, v: float = 1.0) -> float:
    """One layer of linear attention, trained on n >= 1 examples at scale 1 and tested on n at scale c (test-risk)."""
    eye = np.eye(d)
    return trained_risk(eye, n, v * eye, s2, test_covariance=c * eye)
