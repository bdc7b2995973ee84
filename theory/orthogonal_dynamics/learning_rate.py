r"""The derivation of mesa-learning-rate: from the law of the sequences to the best step, and to the best layer.

Steps
    1 autocorrelations given W   moments of quadratic forms of a normal vector (`autocorrelations`)
    2 power traces               the same in p_k = tr W^k
    3 Haar moments               joint moments of the p_k, exactly (`haar_traces`)
    4 gradient step              eta* and its loss (`one_step_rate`), rational for every n and T
    5 twins and parity           what the task does not see of a layer (`one_layer_optimum`)
    6 best layer                 the least loss of one layer of linear attention
    7 large n                    the limits at T = tau n
Tables of the steps 2 (after averaging over W), 3, 4 and 6 are certified, for n = 1 .. 6, T = 3 .. 8 and powers up to 6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.component_moments import gaussian_moment, mean, variable
from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.formulas import Formula
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial
from ..one_layer.assumptions import AssumptionError
from ..one_layer.fixed_point import latex_of
from .autocorrelations import INITIALS, Autocorrelations, autocorrelations, given_transition, in_power_traces
from .haar_traces import haar_traces, rim_hook_moment
from .one_layer_optimum import (
    GRADIENT_STEP,
    TWINS,
    all_features,
    derived_optimum,
    features_of_optimum,
    inner_product,
    least_loss,
    positions,
    pull,
    vector_features,
)
from .one_step_rate import StepLoss, derived_step_loss, limits, limits_at, step_loss

if TYPE_CHECKING:
    import sympy as sp

SIZES, LENGTHS, POWERS = range(1, 7), range(3, 9), range(1, 7)
LARGEST_SIZE, LONGEST = 100, 100  # of `predict`: some seconds


@dataclass(frozen=True)
class Instance:
    """Rational values for every step.

    n, length       of the sequences
    W               a rational orthogonal matrix, (3, 3)
    forms           symmetric matrices A, B, C, (2, 2)
    powers          i, j, k
    ratio           tau
    """

    n: int
    length: int
    W: Array
    forms: Mapping[str, Array]
    powers: tuple[int, int, int]
    ratio: Fraction


def instance(seed: int) -> Instance:
    """The seed-th instance: W by Cayley's transform of a skew matrix, with a reflection for odd seeds."""
    draw = np.random.default_rng([seed, 20])
    skew = fraction_matrix(draw, 3)
    skew = skew - skew.T
    eye = np.array([[Fraction(int(i == j)) for j in range(3)] for i in range(3)], dtype=object)
    W = (eye - skew) @ exact_inverse(eye + skew)
    forms = {name: root + root.T for name in ("A", "B", "C") for root in [fraction_matrix(draw, 2)]}
    powers = tuple(int(k) for k in draw.integers(1, 5, size=3))
    n, length = int(draw.integers(1, 5)), int(draw.integers(3, 8))
    ratio = Fraction(int(draw.integers(1, 60)), 20)
    return Instance(n, length, -W if seed % 2 else W, forms, (powers[0], powers[1], powers[2]), ratio)


def fraction_matrix(draw: np.random.Generator, size: int) -> Array:
    numbers = draw.integers(-4, 5, size=(size, size))
    return np.array([[Fraction(int(x), 3) for x in row] for row in numbers], dtype=object)


# Both sides of the steps


def moments_of_forms(given: Instance) -> tuple[list[Fraction], list[Fraction]]:
    """E s^T A s s^T B s (s^T C s): by the components of s ~ N(0, I_2), and the polynomials."""
    s = [variable(0), variable(1)]
    product: Any = 1
    left = []
    for count, name in enumerate(("A", "B", "C"), start=1):
        M = given.forms[name]
        product = product * sum(s[i] * s[j] * M[i, j] for i in range(2) for j in range(2))
        if count > 1:
            left.append(mean(product, lambda _, order: gaussian_moment(order)))
    return left, [evaluate(given_transition(count), given.forms) for count in (2, 3)]


def transition_power(W: Array, k: int) -> Array:
    """W^k; W^-1 is the transpose."""
    power = np.array([[Fraction(int(i == j)) for j in range(len(W))] for i in range(len(W))], dtype=object)
    for _ in range(abs(k)):
        power = power @ (W if k > 0 else W.T)
    return power


def moments_of_powers(given: Instance) -> tuple[list[Fraction], list[Fraction]]:
    """Both moments given W: with the matrices A_k = (W^k + W^-k)/2, and with the traces of powers."""
    symmetric = [transition_power(given.W, k) + transition_power(given.W, -k) for k in given.powers]
    matrices = {name: A / Fraction(2) for name, A in zip(("A", "B", "C"), symmetric, strict=True)}
    moments = Autocorrelations(len(given.W), in_power_traces(2), in_power_traces(3), product_of_traces_of(given.W))
    right = [moments.value(in_power_traces(count), given.powers[:count]) for count in (2, 3)]
    return [evaluate(given_transition(count), matrices) for count in (2, 3)], right


def product_of_traces_of(W: Array) -> Any:
    """indices -> the product of tr W^k for one matrix."""

    def product(*indices: int) -> Fraction:
        total = Fraction(1)
        for k in indices:
            total *= np.trace(transition_power(W, k))
        return total

    return product


def moments_of_traces(given: Instance) -> tuple[list[int], list[int]]:
    """E p_i p_j and E p_i p_j p_k by the determinantal process and by rim hooks."""
    powers = given.powers
    products = [powers[:2], powers, (powers[0], powers[1], powers[0] + powers[1])]
    by_process = [haar_traces(given.n).moment(*product) for product in products]
    return by_process, [rim_hook_moment(given.n, product) for product in products]


def parabola(given: Instance) -> tuple[list[Fraction], list[Fraction]]:
    """B and D, and a loss that is symmetric about eta*: from the feature G(0, 1, 0)."""
    step, moments = derived_step_loss(given.n, given.length), in_general(given.n)
    slope = pull(GRADIENT_STEP, given.length, moments)
    square = inner_product(GRADIENT_STEP, GRADIENT_STEP, given.length, moments)
    of_feature = StepLoss(given.n, given.length, slope, square)
    beside = [of_feature.at(step.rate + h) for h in (Fraction(1, 7), Fraction(-1, 7))]
    return [step.pull, step.square, Fraction(0)], [slope, square, beside[0] - beside[1]]


def in_general(n: int) -> Autocorrelations:
    """The derived moments, made anew."""
    return Autocorrelations(n, in_power_traces(2), in_power_traces(3), haar_traces(n).moment)


def unseen(given: Instance) -> tuple[list[Any], list[Any]]:
    """The twins term by term, and every product of a feature of the wrong parity with a target or a right feature."""
    moments = in_general(given.n)
    wrong = [f for f in all_features() if not f.is_correlated]
    right = [f for f in all_features() if f.is_correlated]
    products = [inner_product(f, g, given.length, moments) for f in wrong for g in right]
    pulls = [pull(f, given.length, moments) for f in wrong]
    left = [dict(terms) for terms in positions(TWINS[0], given.length)]
    return [*left, *products, *pulls], [
        *(dict(terms) for terms in positions(TWINS[1], given.length)), *(0 for _ in products), *(0 for _ in pulls)
    ]  # fmt: skip


def optimum_of_all(given: Instance) -> tuple[Fraction, Fraction]:
    """The least loss over the six features, and over all fourteen."""
    return derived_optimum(given.n, given.length).loss, least_loss(all_features(), given.n, given.length).loss


def limit_of_loss(given: Instance) -> tuple[list[Fraction], list[Fraction]]:
    """The limits at tau, and from the integrals piece by piece: Simpson's rule is exact for these cubics."""
    tau = given.ratio

    def inner(x: Fraction) -> Fraction:
        return simpson(lambda y: 1 + ramp(y) + ramp(x - y), x, (Fraction(1), x - 1))

    first = simpson(lambda x: (tau - x) * (1 + ramp(x)), tau, (Fraction(1),))
    second = simpson(lambda x: (tau - x) * inner(x), tau, (Fraction(1), Fraction(2)))
    whole = first + 4 * second
    return list(limits_at(tau)), [first / whole, first**2 / (tau * whole)]


def ramp(x: Fraction) -> Fraction:
    return min(x, Fraction(1))


def simpson(f: Callable[[Fraction], Fraction], end: Fraction, knots: tuple[Fraction, ...]) -> Fraction:
    """int_0^end f for f that is a polynomial of degree at most 3 between 0, the knots and the end."""
    inside = sorted({Fraction(0), end, *(knot for knot in knots if 0 < knot < end)})
    return sum(((b - a) / 6 * (f(a) + 4 * f((a + b) / 2) + f(b)) for a, b in pairwise(inside)), Fraction(0))


# Tables, as forms of the steps: generating polynomials, so that a table is one expression


def generating(entries: Mapping[tuple[int, int], Any]) -> sp.Expr:
    """sum of entry x^i y^j."""
    import sympy as sp

    x, y = sp.symbols("x y")
    rational = {key: Fraction(entry) for key, entry in entries.items()}
    return sp.Add(*[sp.Rational(q.numerator, q.denominator) * x**i * y**j for (i, j), q in rational.items()])


def table(entry: Callable[[int, int], Any]) -> sp.Expr:
    """Numbers for n = 1 .. 6 (powers of x) and T = 3 .. 8 (powers of y)."""
    return generating({(n, length): entry(n, length) for n in SIZES for length in LENGTHS})


def tables_of_moments(moment_at: Callable[[int], Callable[..., Any]]) -> dict[str, sp.Expr]:
    """For each n the moments at (i, j) and at (i, j, i + j), i, j = 1 .. 6: of tr W^k, or of c_k."""
    found, places = {}, [(i, j) for i in POWERS for j in POWERS]
    for n in SIZES:
        moment = moment_at(n)
        found[f"pairs, n = {n}"] = generating({(i, j): moment(i, j) for i, j in places})
        found[f"triples, n = {n}"] = generating({(i, j): moment(i, j, i + j) for i, j in places})
    return found


def optimum_forms() -> dict[str, sp.Expr]:
    """The least losses, and for each n the coefficients: powers of x for T, powers of y for the features in order."""
    found = {"loss": table(lambda n, length: derived_optimum(n, length).loss)}
    for n in SIZES:
        found[f"coefficients, n = {n}"] = generating(
            {
                (length, place): derived_optimum(n, length).coefficients.get(feature, Fraction(0))
                for length in LENGTHS
                for place, feature in enumerate(features_of_optimum(), start=1)
            }
        )
    return found


# The formula that is altered


@cache
def formula() -> Formula:
    """eta* and its loss, from the polynomials for E[c_i c_j | W] and E[c_i c_j c_k | W]."""
    return Formula({"pair": in_power_traces(2), "triple": in_power_traces(3)}, rate_and_loss, Vocabulary())


def rate_and_loss(parts: Mapping[str, TracePolynomial], values: Mapping[str, Any]) -> Array:
    """(eta*, loss at eta*) at n and T. Raises ValueError where the parts give none."""
    n, length = int(values["n"]), int(values["T"])
    moments = Autocorrelations(n, parts["pair"], parts["triple"], haar_traces(n).moment)
    step = step_loss(moments, length)
    return np.array([step.rate, step.least], dtype=object)


def points(name: str) -> list[dict[str, Any]]:
    """Sizes and lengths where altered formulas are compared exactly."""
    del name  # nothing is random: the values are whole numbers
    return [{"n": n, "T": length} for n, length in ((1, 4), (2, 5), (3, 6), (5, 4), (4, 7))]


# Public numbers


class Prediction(NamedTuple):
    """Losses are 1/2 E |s_(t+1) - yhat_t|^2, the mean over t = 1 .. T - 1.

    learning_rate            eta*
    loss                     of the gradient step at eta*
    optimum_loss             the least of one layer of linear attention with any number of heads
    two_heads_loss           the least over the features that two heads form
    zero_loss                n/2, of the prediction 0
    """

    learning_rate: float
    loss: float
    optimum_loss: float
    two_heads_loss: float
    zero_loss: float


def prediction(dimension: Any, length: Any, initial: Any = "gaussian") -> Prediction:
    """The numbers for states in R^n, n = dimension, and sequences of T = length states. Raises AssumptionError.

    initial    the law of s_1: gaussian, N(0, I_n), or sphere, uniform with |s_1|^2 = n

    >>> round(prediction(10, 50).learning_rate, 6)
    0.009075
    """
    n, T = check_whole(dimension, "dimension", 1, LARGEST_SIZE), check_whole(length, "length", 3, LONGEST)
    if initial not in INITIALS:
        raise AssumptionError(f"need initial as one of {', '.join(INITIALS)}, got {initial!r}")
    step = derived_step_loss(n, T, initial)
    two = least_loss(vector_features(), n, T, autocorrelations(n, initial)).loss
    best = derived_optimum(n, T, initial).loss
    return Prediction(float(step.rate), float(step.least), float(best), float(two), n / 2)


def check_whole(value: Any, name: str, least: int, most: int) -> int:
    """A whole number between bounds. Raises AssumptionError."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not least <= value <= most or value != int(value):
        raise AssumptionError(f"need {name} as a whole number from {least} to {most}, got {value!r}")
    return int(value)


def from_one(rate: sp.Expr, share: sp.Expr) -> dict[str, sp.Expr]:
    """The limits for tau = 1 + e, e >= 0, where their denominators have no negative coefficient."""
    import sympy as sp

    shift = {sp.Symbol("tau"): 1 + sp.Symbol("e")}
    return {"later rate": sp.cancel(rate.subs(shift)), "later share": sp.cancel(share.subs(shift))}


@cache
def derivation() -> Derivation:
    """The seven steps."""
    rate, share = limits(0)
    later_rate, later_share = limits(1)
    steps = (
        equality(
            "autocorrelations given W",
            ("E (s^T A s)(s^T B s)(s^T C s)", r"\mathbb{E}\, s^\top A s\; s^\top B s\; s^\top C s"),
            given_transition(3),
            "Isserlis' theorem for s ~ N(0, I); c_k = s^T A_k s with A_k = (W^k + W^-k)/2",
            moments_of_forms,
        ),
        Step(
            "power traces",
            "E[c_i c_j c_k | W]",
            to_text(in_power_traces(3)),
            rf"\mathbb{{E}}[c_i c_j c_k \mid W] = {to_latex(in_power_traces(3))}",
            "the A_k have eigenvalues cos(k theta); a product of cosines is a mean over signs; p_k = tr W^k",
            moments_of_powers,
            forms=tables_of_moments(lambda n: autocorrelations(n).moment),
        ),
        Step(
            "Haar moments",
            "E p_i p_j p_k",
            "a whole number, from the cumulants of two determinantal processes",
            r"\mathbb{E}\,p_i p_j p_k = \tfrac12 \sum_{\det W = \pm 1} (\text{cumulants of } P\,2\cos k\theta\,P)",
            "Weyl's integration formula; cumulants of linear statistics of a determinantal process",
            moments_of_traces,
            forms=tables_of_moments(lambda n: haar_traces(n).moment),
        ),
        Step(
            "gradient step",
            "eta*, and the loss there",
            "B/D and n/2 - B^2/(2 D (T - 1)), B = sum (T-1-k) E c_k^2, D = sum (T-1-max(k,l)) E c_k c_l c_(k-l)",
            r"\eta^* = B/D,\quad \tfrac n2 - \tfrac{B^2}{2 D (T-1)}",
            "s_(t+1) . s_(t'+1) = s_t . s_t', as W is orthogonal: the loss is a parabola in eta",
            parabola,
            forms={
                "rate": table(lambda n, length: derived_step_loss(n, length).rate),
                "loss": table(lambda n, length: derived_step_loss(n, length).least),
            },
        ),
        Step(
            "twins and parity",
            "G(1,0,0) - G(1,1,1), and products of features with a + b + c even with the others",
            "0",
            r"G_{100} = G_{111},\qquad \mathbb{E}\langle G_{abc}, s_{t+1}\rangle = 0 \text{ for } a+b+c \text{ even}",
            "s_t' . s_t = s_(t'-1) . s_(t-1); the law does not change under W -> -W",
            unseen,
        ),
        Step(
            "best layer",
            "least loss of one layer of linear attention",
            "least squares over six features, in rational numbers",
            r"\min_x \tfrac12 \mathbb{E}\bigl|s_{t+1} - \textstyle\sum_f x_f f_t\bigr|^2",
            "convex in the sum over heads of P W_V (x) W_KQ, and invariant under O(n): maps that commute with O(n) "
            "suffice, and those of degree (1, 1, 1) are contractions",
            optimum_of_all,
            forms=optimum_forms(),
        ),
        Step(
            "large n",
            "n eta* for T = tau n, n -> infinity",
            f"{rate} for tau <= 1, {later_rate} for tau >= 1",
            rf"n \eta^* \to {latex_of(rate)} \;(\tau \le 1)",
            "E c_k^2 = n + min(k, n) + O(1) and, for k > l, E c_k c_l c_(k-l) = 2n + 2 min(l, n) + 2 min(k-l, n) + "
            "O(1) but for k = 2 l: B/n^3 and D/n^4 are Riemann sums",
            limit_of_loss,
            forms={"rate": rate, "share": share, **from_one(later_rate, later_share)},
        ),
    )
    results = {"rate": rate, "share": share, "later rate": later_rate, "later share": later_share}
    return Derivation(STATEMENT, steps, results, instance)


STATEMENT = Statement(
    identifier="mesa-learning-rate",
    title="Orthogonal dynamics: the best rate of one gradient step, and the best single layer, exactly",
    latex=r"\eta^* = \frac{\sum_k (T-1-k)\,\mathbb{E} c_k^2}{\sum_{k,l} (T-1-\max(k,l))\,\mathbb{E} c_k c_l c_{k-l}}",
    text=(
        "On sequences s_(t+1) = W s_t with a fresh Haar-random orthogonal W, the learning rate of one gradient step "
        "that has the least loss is a rational number for every dimension and length, and so are its loss and the "
        "least loss of one layer of causal linear attention with any number of heads, which is lower: five further "
        "features are worth something. Limits for T = tau n."
    ),
    assumptions=(
        "s_1 ~ N(0, I_n), W ~ Haar(O(n)), independent; no noise",
        "tokens (0, s_t, s_(t-1)) with s_0 = 0; linear attention without normalisation, t' = t among the keys",
        "Phi_0 = 0; loss 1/2 E |s_(t+1) - yhat_t|^2, the mean over t = 1 .. T - 1 of a sequence of T states",
    ),
    conventions="a sequence has T states, of which the last T - 1 are predicted",
    sources=(
        Source("vonoswald2023uncovering", "section 3 (the task; the rate is tuned there)"),
        Source("ours", "exact rate, loss, and optimum"),
    ),
    uses=("mesa-gradient-step",),
)
