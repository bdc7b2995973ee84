r"""Frequency bias: the tokens distinct to one class move by one number, in the order of their probabilities.

Let l, l', .. be the tokens of class n that no other class has, u_l = P(l|n)^2 e^{2 z_l}, and let their force be
z_l' = eta_Z P(n) xi f_l^2 with one xi for all of them (`attention_force` says when: in the reparametrised flow always,
in the flow of the loss itself not).
Main statements
    conserved    1/u_l - 1/u_l'; so with one clock sigma, u_l = u_l(0)/(1 - sigma u_l(0)) for all of them, and the
                 logits of all follow from that of one
    gain         f_l^2/f_l'^2 - 1 = chi_l (its value at 0), chi_l = e^{2 (z_l(t) - z_l(0))}
    order        that of u_l(0) is kept; equals stay equal. As sigma -> 1/max u_l(0) the largest, or the equals among
                 them, take the whole attention of the distinct tokens; as sigma -> -oo it becomes the same for all
    saturation   sigma < 1/max u(0): with v the largest u(0), another token never gains more than
                 chi_l < 1/(1 - u_l(0)/v), however long the scan
    bounds       B = eta_Z P(n) int xi. If xi >= 0 on the way, chi_l <= e^{2B}. If moreover l leads the distinct tokens
                 and the other tokens do not gain in the mean, sum_C f_k^2 z_k' <= 0, then chi_l >= e^{2 f_l(0)^2 B}
Assumptions
    Those of `attention_force`. No other: any classes, queries, initial logits, probabilities P(n).
References
    [tian2023scan, Thm 3, Eqs. 11 and 12, Eq. 98], for a decoder in the reparametrised flow; the clock is ours.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate
from ..algebra.formulas import Formula, SingularSystemError, Values
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, number, scalar, zero
from ..one_layer.assumptions import AssumptionError, FloatArray, check_number, real_array
from .attention_force import ETA, SHARE, XI, ForceInstance, force_steps
from .exact_layer import DISTINCT

u, SQUARES = scalar("u"), scalar("S")  # u_l, and |c_n|^2 = the sum of all P(l|n)^2 e^{2 z_l}
START, OTHER_START, OTHER = scalar("v"), scalar("w"), scalar("s")  # u_l(0), u_l'(0), u_l'(t)
CLOCK, CHI = scalar("sigma"), scalar("chi")
SCALE, OWN, FOURTH, REST = scalar("k"), scalar("h"), scalar("q"), scalar("rest")


@cache
def inverse_rate() -> TracePolynomial:
    """(1/u)' from u' = 2 u z' and z' = eta P(n) xi u/S."""
    moved = 2 * u * (ETA * SHARE * XI * u * SQUARES**-1)
    return -moved * u**-2


@cache
def solved_square() -> tuple[TracePolynomial, TracePolynomial]:
    """u_l as (numerator, denominator): 1/u_l - 1/v = 1/s - 1/w, solved for u_l."""
    import sympy as sp

    unknown, v, w, s = sp.symbols("u v w s", positive=True)
    (found,) = sp.solve(sp.Eq(1 / unknown - 1 / v, 1 / s - 1 / w), unknown)
    top, bottom = sp.fraction(sp.together(found))
    sign = -1 if bottom.subs({v: 1, w: 1, s: 1}) < 0 else 1
    return from_sympy(sign * top), from_sympy(sign * bottom)


def from_sympy(expression: Any) -> TracePolynomial:
    """A polynomial in commuting symbols."""
    import sympy as sp

    symbols = sorted(expression.free_symbols, key=str)
    result = zero()
    for powers, coefficient in sp.Poly(expression, *symbols).terms():
        term = number(Fraction(str(coefficient)))
        for symbol, power in zip(symbols, powers, strict=True):
            term = term * (scalar(str(symbol)) ** power if power else number(1))
        result = result + term
    return result


@cache
def left_of_the_clock() -> TracePolynomial:
    """u_l(0)/u_l = 1 - sigma u_l(0), sigma = 1/w - 1/s of any other distinct token."""
    return number(1) - CLOCK * START


@cache
def relative_gain() -> TracePolynomial:
    """u_l/u_l' - 1 at u_l = chi v and 1/u_l' = 1/w - 1/v + 1/(chi v)."""
    ahead = CHI * START
    return ahead * (OTHER_START**-1 - START**-1 + ahead**-1) - 1


@cache
def growth_of_the_share() -> TracePolynomial:
    """(ln f_l)' = z_l' - sum_k f_k^2 z_k' with z_k' = k f_k^2 on the distinct tokens.

    h = f_l^2, q the sum of f_k^4 over the distinct tokens, rest that of f_k^2 z_k' over the others.
    """
    return SCALE * OWN - (SCALE * FOURTH + REST)


# Checks


class Instance(ForceInstance):
    """A task with a decoder in the span of its class vectors, and rational values for two tokens at two times."""

    def __init__(self, seed: int | str) -> None:
        super().__init__(seed)
        draw = random.Random(f"scan-frequency/{seed}")
        self.v, self.w = (Fraction(draw.randint(1, 30), 30) for _ in range(2))
        self.clock = Fraction(draw.randint(1, 9), 10) / max(self.v, self.w)

    def moved(self, start: Fraction) -> Fraction:
        """u at the clock."""
        return start / (1 - self.clock * start)

    @property
    def literal(self) -> Array:
        """Z' of the literal layer."""
        return self.task.velocity(self.decoder_in_span, self.exponentials)

    def xi(self, n: int) -> Fraction:
        """kappa - f.g."""
        letters = self.letters(n, self.decoder_in_span)
        kappa = self.coefficients[n] @ (letters["e"] - letters["alpha"])[:, 0]
        return Fraction(kappa - (letters["f"].T @ letters["g"])[0, 0])

    def squares(self, n: int) -> Array:
        """c_nl^2 for all tokens, of rows that are not normalised."""
        row = self.task.weights[n] * 3
        found: Array = row * row
        return found


def rates_of_inverses(given: Instance) -> tuple[list[Any], list[Any]]:
    """(1/u)' of every distinct token from the literal z', and the one number of its class."""
    left, right = [], []
    for n, tokens in enumerate(DISTINCT):
        squares, moved = given.squares(n), given.literal[given.task.rows[n]]
        letters = {"eta": given.task.eta, "p": given.task.probabilities[n], "xi": given.xi(n), "S": sum(squares)}
        for token in tokens:
            left.append(-2 * moved[token] / squares[token])
            right.append(exact(inverse_rate(), {**letters, "u": squares[token]}))
    return left, right


def exact(polynomial: TracePolynomial, letters: Mapping[str, Any]) -> Any:
    """A scalar polynomial at rational numbers."""
    marked = {**letters, "_exact": np.array([[Fraction(1)]], dtype=object)}
    return evaluate(polynomial, marked)


def squares_by_one(given: Instance) -> tuple[list[Any], list[Any]]:
    """u_l at the clock beside the solved form and 1 - sigma v; and 1/u_l - 1/u_l' at both times."""
    v, w = given.v, given.w
    at, other = given.moved(v), given.moved(w)
    top, bottom = (exact(part, {"v": v, "w": w, "s": other}) for part in solved_square())
    left = exact(left_of_the_clock(), {"v": v, "sigma": 1 / w - 1 / other})
    return [at, v / at, 1 / at - 1 / other], [top / bottom, left, 1 / v - 1 / w]


def gains(given: Instance) -> tuple[Any, Any]:
    """u_l/u_l' - 1 at the clock, and the form at chi = u_l/v."""
    at, other = given.moved(given.v), given.moved(given.w)
    return at / other - 1, exact(relative_gain(), {"v": given.v, "w": given.w, "chi": at / given.v})


def growths(given: Instance) -> tuple[list[Any], list[Any]]:
    """f_l'/f_l along the literal Z', by the derivative of the literal class vector, and the form."""
    left, right = [], []
    for n, tokens in enumerate(DISTINCT):
        row, f = given.task.rows[n], given.task.vectors[n]
        moved = given.literal[row]
        scale = given.task.eta * given.task.probabilities[n] * given.xi(n)
        fourth = sum(f[token] ** 4 for token in tokens)
        rest = sum(f[k] ** 2 * moved[k] for k in range(len(f)) if k not in tokens)
        slopes = [given.task.class_vector(n, row, k) for k in range(len(f))]
        for token in tokens:
            left.append(sum(moved[k] * slopes[k][token].slope for k in range(len(f))) / f[token])
            right.append(exact(growth_of_the_share(), {"k": scale, "h": f[token] ** 2, "q": fourth, "rest": rest}))
    return left, right


BOUNDS = (
    "With k = eta P(n) xi: z_l' = k f_l^2 and 0 <= f_l^2 <= 1, so xi >= 0 gives z_l(t) - z_l(0) <= B. If l leads, q <= "
    "h (1 - m), m the share of the other tokens, so the growth is at least k h m - rest: f_l does not fall where rest "
    "<= k h m, in particular where the other tokens do not gain in the mean. Then z_l(t) - z_l(0) >= f_l(0)^2 B. One "
    "common token that all classes of the query share loses where all xi >= 0. Without xi >= 0 neither bound follows: "
    "B counts what the clock takes back at another length |c_n|."
)


@cache
def derivation() -> Derivation:
    """From the layer to the clock."""
    top, bottom = solved_square()
    steps = (
        *force_steps(),
        equality(
            "inverse squares",
            ("(1/u_l)', u_l = P(l|n)^2 e^(2 z_l)", r"\frac{d}{dt}\frac1{u_l}"),
            inverse_rate(),
            "u' = 2 u z' and f_l^2 = u_l/S, S = |c_n|^2: the same for all distinct tokens of class n, so that the "
            "differences of 1/u_l are constant",
            rates_of_inverses,
        ),
        Step(
            "all tokens from one",
            f"u_l ({to_text(bottom)})",
            to_text(top),
            rf"u_l = \frac{{{to_latex(top)}}}{{{to_latex(bottom)}}},\quad \frac{{v}}{{u_l}} = "
            rf"{to_latex(left_of_the_clock())}",
            "v = u_l(0), w = u_l'(0), s = u_l'(t): 1/u_l - 1/v = 1/s - 1/w = -sigma, the clock of the class; u(v) is "
            "increasing in v, so the order stays",
            squares_by_one,
            forms={"numerator": top, "denominator": bottom, "left of the clock": left_of_the_clock()},
        ),
        equality(
            "relative gain",
            ("f_l^2/f_l'^2 - 1", r"f_l^2/f_{l'}^2 - 1"),
            relative_gain(),
            "u_l = chi v; its value at t = 0 is (v - w)/w",
            gains,
        ),
        Step(
            "the leading token",
            "(ln f_l)'",
            to_text(growth_of_the_share()),
            rf"\frac{{d}}{{dt}}\ln f_l = {to_latex(growth_of_the_share())}",
            "f = c/|c|: the logit's own gain less the mean gain in weights f_k^2",
            growths,
            proof=BOUNDS,
            forms={"growth": growth_of_the_share()},
        ),
    )
    results = {"numerator": top, "denominator": bottom, "relative gain": relative_gain()}
    return Derivation(STATEMENT, steps, results, Instance)


STATEMENT = Statement(
    identifier="scan-frequency",
    title="Frequency bias: the distinct tokens of a class move by one clock, in the order of their probabilities",
    latex=r"\frac{e^{-2 z_l}}{P_l^2} - \frac{e^{-2 z_{l'}}}{P_{l'}^2} = \text{const},\quad "
    r"\frac{f_l^2}{f_{l'}^2} - 1 = r(0)\, e^{2(z_l(t) - z_l(0))}",
    text=(
        "Tokens that occur in the sequences of one class only get the force eta_Z P(n) xi f_l^2, with one xi for all, "
        "whenever the gradient handed back to the attention output is in the span of the class vectors. Then 1/u_l - "
        "1/u_l' is conserved, u_l = P(l|n)^2 e^(2 z_l): one clock gives all logits, the order of attention stays that "
        "of P(l|n) e^(z_l(0)), and the relative gain is r(0) e^(2 (z_l(t) - z_l(0)))."
    ),
    assumptions=(
        "sequences of infinite length; softmax attention without positions, its output normalised to length one",
        "g_l = kappa f_l on the tokens distinct to the class: so in the reparametrised flow, Y = F G^-1 W",
        "the bounds: xi >= 0 on the way; the lower one: l leads the distinct tokens, sum_C f_k^2 z_k' <= 0",
    ),
    conventions="P(n) in the velocity: for P(n) = 1/K eta_Z of the paper is eta_Z/K; time in steps of batch size 1",
    sources=(
        Source("tian2023scan", "Theorem 3, Eqs. 11, 12, 98"),
        Source("ours", "any gradient in the span, the clock, the conditions of the bounds"),
    ),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """u_l of a token from that of another one."""
    top, bottom = solved_square()
    vocabulary = Vocabulary({"v": ("w", "s"), "w": ("v", "s"), "s": ("v", "w")})
    return Formula({"numerator": top, "denominator": bottom}, quotient, vocabulary)


def quotient(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """numerator/denominator at numbers or arrays. Raises SingularSystemError."""
    top, bottom = (evaluate(parts[name], values) for name in ("numerator", "denominator"))
    if not np.all(bottom):
        raise SingularSystemError("need a denominator other than 0, got 0")
    return top / bottom


def points(name: str) -> list[dict[str, Any]]:
    """Rational starts and positions."""
    found = []
    for k in range(4):
        given = Instance(f"{name}/{k}")
        values = {"v": given.v, "w": given.w, "s": given.moved(given.w)}
        found.append({letter: np.array([value], dtype=object) for letter, value in values.items()})
    return found


# For a user


class Frequencies(NamedTuple):
    """The distinct tokens of one class at a clock.

    clock              sigma, with 1/u_l(t) = 1/u_l(0) - sigma
    largest_clock      1/max u_l(0): never reached
    logits             z_l
    gains              chi_l = e^(2 (z_l - z_l(0)))
    shares             of the attention that the distinct tokens have together
    relative_gains     f_l^2/f_l'^2 - 1, a row for l, a column for l'
    """

    clock: float
    largest_clock: float
    logits: list[float]
    gains: list[float]
    shares: list[float]
    relative_gains: list[list[float]]


def for_user(
    probabilities: Any, logits: Any = None, clock: Any = None, token: Any = None, logit: Any = None
) -> Frequencies:
    """All distinct tokens from the clock, or from the logit of one of them (0 is the first). Raises AssumptionError.

    >>> round(for_user([0.2, 0.1], clock=10.0).relative_gains[0][1], 6)
    5.0
    """
    P = real_array(probabilities, "probabilities")
    if P.ndim != 1 or not len(P) or not (P > 0).all() or P.sum() > 1 + 1e-9:
        raise AssumptionError(
            "probabilities needs a list of positive P(l|n) of the distinct tokens of one class with sum at most 1, "
            f"got {shortened(P)}"
        )
    start = np.zeros(len(P)) if logits is None else real_array(logits, "logits")
    if start.shape != P.shape:
        raise AssumptionError(f"logits needs one number for each of the {len(P)} tokens, got shape {start.shape}")
    with np.errstate(over="ignore", under="ignore"):
        squares = P**2 * np.exp(2 * start)
    if not (np.isfinite(squares) & (squares > 0)).all():
        raise AssumptionError(
            "P(l|n)^2 e^(2 z_l(0)) leaves the range of double precision; shift all logits alike, or leave tokens out"
        )
    sigma = given_clock(squares, start, clock, token, logit)
    left = 1 - sigma * squares
    if not (left > 0).all() and clock is None:
        raise AssumptionError(beyond_reach(squares, start, int(token), logit))
    if not (left > 0).all():
        raise AssumptionError(
            f"the clock stays below 1/max u_l(0) = {1 / squares.max():.6g}, where the largest token has all attention; "
            f"got {sigma:.6g}"
        )
    return at_clock(squares, start, sigma, left)


def at_clock(squares: FloatArray, start: FloatArray, sigma: float, left: FloatArray) -> Frequencies:
    """From u_l(0), z_l(0), sigma and 1 - sigma u_l(0)."""
    moved = squares / left
    weights = np.sqrt(moved)
    return Frequencies(
        sigma,
        float(1 / squares.max()),
        (start - np.log(left) / 2).tolist(),
        (1 / left).tolist(),
        (weights / weights.sum()).tolist(),
        (moved[:, None] / moved[None, :] - 1).tolist(),
    )


def beyond_reach(squares: FloatArray, start: FloatArray, token: int, logit: float) -> str:
    """What is said where a logit lies beyond the clock."""
    ahead = squares.max()
    if squares[token] == ahead:
        return (
            f"token {token} leads and can reach any logit, but 1 - e^(-2 gain) rounds to 1 beyond a gain of 18; "
            f"got {logit:g}, give a smaller one"
        )
    largest = start[token] - math.log1p(-squares[token] / ahead) / 2
    return (
        f"need logit below {largest:.6g}, which token {token} never reaches, as the leading one takes all attention, "
        f"got {logit:g}; give a smaller one, or the logit of token {int(squares.argmax())}, which may be large"
    )


def given_clock(squares: FloatArray, start: FloatArray, clock: Any, token: Any, logit: Any) -> float:
    """sigma as given, or 1/u(0) - 1/u of the token whose logit is given."""
    if clock is not None and token is None and logit is None:
        return check_number(clock, "clock")
    if clock is None and token is not None and logit is not None:
        which = check_number(token, "token")
        if which != int(which) or not 0 <= which < len(start):
            raise AssumptionError(f"token needs a whole number from 0 to {len(start) - 1}, got {token!r}")
        place = int(which)
        gain = check_number(logit, "logit") - start[place]
        return float(-np.expm1(-2 * gain) / squares[place])
    raise AssumptionError("need either clock, or token and logit together; give one of the two")


def shortened(values: FloatArray) -> str:
    text = str(values.tolist())
    return text if len(text) <= 60 else f"{text[:57]}..."
