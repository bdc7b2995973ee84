r"""The decoder of one softmax layer when the class vectors do not overlap: one scalar law for every class and time.

With orthonormal class vectors f_n, or with any in the reparametrised flow of [tian2023scan, Lemma 3], the logits w_n =
Y^T f_n of class n obey w_n' = eta_Y P(n) (e_n - softmax(w_n)); w_n(0) = 0, P(n) = 1/K, tau = eta_Y t/K.
Main statements
    one number      w_n = h (M e_n - 1); with u = M h, the lead of the right token's logit, and X = e^u,
                    u' = M (eta_Y/K)/(X + M - 1)
    the law         X - 1 + (M - 1) u = M tau;  u = s/(M - 1) - W(e^{s/(M-1)}/(M - 1)), s = 1 + M tau (Lambert's W)
    error           1 - alpha_nn = (M - 1)/(X + M - 1)
    gamma           (M - 1)^2 h/(X + M - 1), the force on the class vector, has the integral K (M - 1)^2 h^2/(2 eta_Y)
    early, late     gamma = q^2 u/(1 + tau - q u), q = (M - 1)/M: at most q^2 tau, and q^2 tau (1 + o(1)) for t -> 0;
                    q^2 ln(M tau)/tau (1 + o(1)) for t -> infinity at fixed M
    crossing        gamma is largest where X (u - 1) = M - 1, u = 1 + W((M - 1)/e), and is (M - 1)(u - 1)/M there
    sharp           at tau = c ln M, M -> infinity: gamma/ln M -> c for c < 1; gamma -> 1/(c - 1) for c > 1
    finite steps    N steps of size eta of gradient descent are ahead of the flow by at most eta/M in h
Assumptions
    M >= 2 tokens; classes with probability 1/K; start at 0; gradient flow.
References
    [tian2023scan, Lemmas 3, 6, 7 and 9, Theorem 1]; the law, its inverse, the crossing and the sharp limit are ours.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import evaluate
from ..algebra.formulas import Formula, Values
from ..algebra.matrix_derivatives import derivative
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, map_scalars, number, scalar, substitute
from ..one_layer.assumptions import AssumptionError, check_non_negative, check_positive, is_whole
from .two_valued_logits import M, X, by_logit, literal_slopes, random_exponentials, slopes

u, h, tau, s, W = (scalar(name) for name in ("u", "h", "tau", "s", "W"))
K, ETA = scalar("K"), scalar("eta")
NEXT = "(M+1)"  # a symbol of its own, so that M + 1 can stand in the place of M


# The derivation's polynomials


def at_equal_rest(part: TracePolynomial) -> TracePolynomial:
    """A numerator in units of y: only differences of logits matter, and X becomes e^u."""
    return substitute(part, scalars={"y": number(1)})


@cache
def denominator() -> TracePolynomial:
    """X + M - 1."""
    return at_equal_rest(slopes().partition)


@cache
def lead_rate() -> TracePolynomial:
    """The numerator of du/dtau over `denominator`: own slope minus that of another token."""
    return at_equal_rest(slopes().own - slopes().other)


def by_lead(polynomial: TracePolynomial) -> TracePolynomial:
    """d/du of a polynomial in u and X = e^u."""
    return derivative(polynomial, "u") + by_logit(polynomial, "X")


def integral_by_lead(polynomial: TracePolynomial) -> TracePolynomial:
    """The integral from u = 0 of a polynomial in X = e^u: X^k/k for X^k, u for 1."""

    def of_powers(scalars: tuple[tuple[str, int], ...]) -> TracePolynomial:
        powers = dict(scalars)
        k = powers.pop("X", 0)
        grown = X**k / k if k else u
        for symbol, power in powers.items():
            grown = grown * scalar(symbol) ** power
        return grown

    found = map_scalars(polynomial, of_powers)
    return found - substitute(found, scalars={"X": number(1), "u": number(0)})


@cache
def law() -> TracePolynomial:
    """M tau as a function of u: the integral of M/(du/dtau).

    >>> law()
    -1 + M u + X - u
    """
    assert lead_rate() == M
    return integral_by_lead(denominator())


@cache
def wrong() -> TracePolynomial:
    """The numerator of the error 1 - alpha_nn: the slope at the right token."""
    return at_equal_rest(slopes().own)


@cache
def force() -> TracePolynomial:
    """The numerator of w_n.(e_n - alpha_n) at w_n = h (M e_n - 1): what pulls the class vector along itself."""
    own, other = at_equal_rest(slopes().own), at_equal_rest(slopes().other)
    return h * (M - 1) * own - (M - 1) * h * other


@cache
def gamma() -> TracePolynomial:
    """The numerator of TWCD's gamma, (M - 1)/M times the force."""
    return (M - 1) * M**-1 * force()


@cache
def accumulated() -> TracePolynomial:
    """The integral of gamma over t: gamma dt = gamma/h' dh, and both have the same denominator."""
    return integral_by_size(gamma() * K * ETA**-1 * M * lead_rate() ** -1)  # h' = u'/M


def integral_by_size(polynomial: TracePolynomial) -> TracePolynomial:
    """The integral from h = 0 of a polynomial in h."""

    def of_powers(scalars: tuple[tuple[str, int], ...]) -> TracePolynomial:
        powers = dict(scalars)
        k = powers.pop("h", 0) + 1
        grown = h**k / k
        for symbol, power in powers.items():
            grown = grown * scalar(symbol) ** power
        return grown

    return map_scalars(polynomial, of_powers)


@cache
def turning() -> TracePolynomial:
    """The numerator of d/du of u/(X + M - 1): it vanishes where gamma is largest."""
    return derivative(u, "u") * denominator() - u * by_lead(denominator())


@cache
def by_lambert() -> TracePolynomial:
    """(M - 1) u in s = 1 + M tau and W, where X = (M - 1) W: the law solved for u."""
    found = s - (M - 1) * W
    assert substitute(law(), scalars={"X": (M - 1) * W, "u": number(0)}) + found == s - 1
    return found


@cache
def denominator_by_time() -> TracePolynomial:
    """X + M - 1 in u and tau, X taken out by the law."""
    return denominator() + M * tau - law()


@cache
def excess() -> TracePolynomial:
    """M (tau - u) by the law."""
    return law() - M * u


# Instances: literal tokens, and letters of the law


def instance(seed: int) -> dict[str, Any]:
    """M tokens with rational exponentials, one of them right; and rational letters."""
    draw = random.Random(f"scan-decoder/{seed}")
    count = 3 + seed % 4
    letters = {name: Fraction(draw.randint(1, 300), 101) for name in ("X", "u", "eta", "tau", "W")}
    letters |= {"M": Fraction(count), "K": Fraction(draw.randint(1, 9)), "h": letters["u"] / count}
    return {**letters, "s": 1 + count * letters["tau"], "tokens": random_exponentials(draw, count)}


def value(polynomial: TracePolynomial, at: Mapping[str, Any]) -> Any:
    """The exact value of a polynomial."""
    letters = {name: np.array(v, dtype=object) for name, v in at.items() if name != "tokens"}
    return np.asarray(evaluate(polynomial, letters), dtype=object)[()]


def literal_pair(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """Slopes of logits of two values, token by token, and the derived ones."""
    first, second = at["tokens"][:2]
    tokens = [first] + [second] * (len(at["tokens"]) - 1)
    letters = {"M": at["M"], "X": first, "y": second}
    own, other, total = (value(part, letters) for part in slopes())
    return literal_slopes(tokens, 0), [own / total] + [other / total] * (len(tokens) - 1)


def exchanged(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """Slopes with two of the other tokens exchanged, and the exchanged slopes; their sum, and 0."""
    tokens = at["tokens"]
    swapped = [tokens[0], tokens[2], tokens[1], *tokens[3:]]
    before, after = literal_slopes(tokens, 0), literal_slopes(swapped, 0)
    return [*after, sum(before)], [before[0], before[2], before[1], *before[3:], Fraction(0)]


def reduced(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """du/dtau from the literal slopes at exponentials (X, 1, .., 1), and as derived; so for both logits."""
    found = literal_slopes([at["X"]] + [Fraction(1)] * (len(at["tokens"]) - 1), 0)
    rate = value(lead_rate(), at) / value(denominator(), at)
    return [found[0] - found[1], found[0], found[1]], [rate, (at["M"] - 1) * rate / at["M"], -rate / at["M"]]


def along_the_flow(polynomial: TracePolynomial, at: Mapping[str, Any]) -> Any:
    """d/dtau of a polynomial in u, X and h."""
    rate = value(lead_rate(), at) / value(denominator(), at)
    return rate * (value(by_lead(polynomial), at) + value(derivative(polynomial, "h"), at) / at["M"])


def law_along(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """d/dtau of the law and its value at the start, and M and 0."""
    return [along_the_flow(law(), at), value(law(), {**at, "X": 1, "u": 0})], [at["M"], 0]


def solved(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """The law at X = (M - 1) W and the solved u, and M tau."""
    lead = value(by_lambert(), at) / (at["M"] - 1)
    return value(law(), {**at, "X": (at["M"] - 1) * at["W"], "u": lead}), at["M"] * at["tau"]


def literal_error(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """1 - alpha_nn from literal tokens, and the derived one."""
    tokens = [at["X"]] + [Fraction(1)] * (len(at["tokens"]) - 1)
    return 1 - tokens[0] / sum(tokens), value(wrong(), at) / value(denominator(), at)


def literal_force(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """(M - 1)/M times w.(e - alpha), token by token, and the derived gamma."""
    tokens = [at["X"]] + [Fraction(1)] * (len(at["tokens"]) - 1)
    logits = [at["h"] * (at["M"] * int(k == 0) - 1) for k in range(len(tokens))]
    pulled = sum(w * slope for w, slope in zip(logits, literal_slopes(tokens, 0), strict=True))
    return (at["M"] - 1) / at["M"] * pulled, value(gamma(), at) / value(denominator(), at)


def accumulated_along(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """d/dt of the integral, and gamma; dt = K/eta dtau."""
    found = along_the_flow(accumulated(), at) * at["eta"] / at["K"]
    return found, value(gamma(), at) / value(denominator(), at)


def without_exponentials(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """gamma by u and t alone, with t by the law, and the derived one; X + M - 1 by its form, and as it is."""
    reached = value(law(), at) / at["M"]
    q = (at["M"] - 1) / at["M"]
    below = value(denominator_by_time(), {**at, "tau": reached})
    found = [q**2 * at["u"] / (1 + reached - q * at["u"]), below]
    return found, [value(gamma(), at) / value(denominator(), at), value(denominator(), at)]


def behind_time(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """M (tau - u), with t by the law, and its form."""
    return value(law(), at) - at["M"] * at["u"], value(excess(), at)


def at_the_turn(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """Where X (u - 1) = M - 1: the turning form, and gamma against (M - 1)(u - 1)/M."""
    lead = 1 + at["W"]
    there = {**at, "u": lead, "h": lead / at["M"], "X": (at["M"] - 1) / at["W"]}
    found = [value(turning(), there), value(gamma(), there) / value(denominator(), there)]
    return found, [0, (at["M"] - 1) * at["W"] / at["M"]]


def completed_square(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """(X + M - 1)^2 - 4 (M - 1) X, and the square."""
    left = value(denominator(), at) ** 2 - 4 * (at["M"] - 1) * at["X"]
    return left, value(step_square(), at) ** 2


@cache
def step_square() -> TracePolynomial:
    """X - M + 1: (X + M - 1)^2 = 4 (M - 1) X + its square."""
    return X - M + 1


SLOPES, ALIKE, LEAD = "slopes of the cross-entropy", "the other tokens stay alike", "flow of the lead"
LAW, INVERSE, ERROR, GAMMA = "the law", "solved by Lambert's W", "error", "gamma"
ACCUMULATED, BY_TIME, TURN = "integral of gamma", "gamma by u and t", "where gamma is largest"
SHARP, STEPS = "sharp for many tokens", "finite steps"


@cache
def derivation() -> Derivation:
    """From the cross-entropy to the law, gamma, and its two ends."""
    steps = (*flow_steps(), *law_steps(), *gamma_steps(), *limit_steps())
    results = {"law": law(), "gamma": gamma(), "accumulated": accumulated(), "denominator": denominator()}
    return Derivation(STATEMENT, steps, results, instance)


def flow_steps() -> tuple[Step, ...]:
    """From the loss to one number."""
    own, other, total = slopes()
    return (
        Step(
            SLOPES,
            "-dl/dw at the right token and at another one, l = ln sum_k e^{w_k} - w_n",
            f"({to_text(own)})/S and ({to_text(other)})/S, S = {to_text(total)}",
            rf"-\frac{{\partial\ell}}{{\partial w_n}} = \frac{{{to_latex(own)}}}{{S}},\quad "
            rf"-\frac{{\partial\ell}}{{\partial w_k}} = \frac{{{to_latex(other)}}}{{S}},\quad S = {to_latex(total)}",
            "X = e^{w_n}, y = e^{w_k} for all other k; d/dw = e^w d/d(e^w), one of the others being moved alone",
            literal_pair,
            forms={"own": own, "other": other, "partition": total},
        ),
        Step(
            ALIKE,
            "slopes with two other tokens exchanged; the sum of all slopes",
            "the slopes exchanged; 0",
            r"\ell(\pi w) = \ell(w)\ \forall \pi: \pi(n) = n;\quad \textstyle\sum_k \partial\ell/\partial w_k = 0",
            "so from w = 0 all other logits are equal for ever (the flow is unique), and the sum of all stays 0: w_n = "
            "h (M e_n - 1), and nothing is left out",
            exchanged,
        ),
        Step(
            LEAD,
            "du/dtau, u = w_nn - w_nk = M h",
            f"({to_text(lead_rate())})/({to_text(denominator())})",
            rf"\frac{{du}}{{d\tau}} = \frac{{{to_latex(lead_rate())}}}{{{to_latex(denominator())}}}",
            "w_n' = -(eta_Y/K) dl/dw_n and tau = eta_Y t/K; X = e^u once y is divided out",
            reduced,
            forms={"rate": lead_rate(), "denominator": denominator()},
        ),
    )


def law_steps() -> tuple[Step, ...]:
    """The law, its inverse and the error."""
    return (
        Step(
            LAW,
            "M tau",
            to_text(law()),
            rf"M\tau = {to_latex(law())}",
            "the integral of (X + M - 1) du; it is 0 at u = 0 and grows with u: one u for every time",
            law_along,
            forms={"law": law()},
        ),
        Step(
            INVERSE,
            "(M - 1) u",
            f"{to_text(by_lambert())}, W = W(e^(s/(M-1))/(M-1)), s = 1 + M tau",
            r"u = \frac{s}{M-1} - W\Bigl(\frac{e^{s/(M-1)}}{M-1}\Bigr),\quad s = 1 + M\tau",
            "W e^W (M - 1) = e^{s/(M-1)} and X = e^u give X = (M - 1) W; put into the law",
            solved,
            forms={"solution": by_lambert()},
        ),
        Step(
            ERROR,
            "1 - alpha_nn",
            f"({to_text(wrong())})/({to_text(denominator())})",
            rf"1 - \alpha_{{nn}} = \frac{{{to_latex(wrong())}}}{{{to_latex(denominator())}}}",
            "the slope at the right token",
            literal_error,
            forms={"wrong": wrong()},
        ),
    )


def gamma_steps() -> tuple[Step, ...]:
    """The force on the class vector."""
    return (
        Step(
            GAMMA,
            "((M - 1)/M) w_n.(e_n - alpha_n)",
            f"({to_text(gamma())})/({to_text(denominator())})",
            rf"\gamma = \frac{{{to_latex(gamma())}}}{{{to_latex(denominator())}}}",
            "it is TWCD's gamma; the gradient that f_n gets is Y (e_n - alpha_n), and w_n.(e_n - alpha_n) its part "
            "along f_n where the class vectors are orthonormal",
            literal_force,
            forms={"gamma": gamma()},
        ),
        Step(
            ACCUMULATED,
            "int_0^t gamma dt",
            to_text(accumulated()),
            rf"\int_0^t \gamma\,dt = {to_latex(accumulated())}",
            "gamma and h' have the same denominator: gamma dt = (K/eta_Y)(M - 1)^2 h dh",
            accumulated_along,
            forms={"accumulated": accumulated()},
        ),
        Step(
            BY_TIME,
            "gamma",
            "q^2 u/(1 + tau - q u), q = (M - 1)/M",
            r"\gamma = \frac{q^2 u}{1 + \tau - q u},\quad q = \tfrac{M-1}{M}",
            "X + M - 1 = M (1 + tau) - (M - 1) u by the law",
            without_exponentials,
            proof=(
                "X >= 1 + u, so u <= tau by the law, and gamma <= q^2 u by its denominator X + M - 1 >= M: gamma <= "
                "q^2 tau always, and gamma/tau -> q^2 as tau -> 0. As tau -> infinity at fixed M, X/(M tau) -> 1, so u "
                "- ln(M tau) -> 0 and gamma tau/ln(M tau) -> q^2."
            ),
            forms={"below": denominator_by_time()},
        ),
    )


def limit_steps() -> tuple[Step, ...]:
    """The crossing, the sharp limit and finite steps."""
    return (
        Step(
            TURN,
            "the numerator of d/du u/(X + M - 1)",
            to_text(turning()),
            rf"\frac{{d}}{{du}}\frac{{u}}{{X + M - 1}} \propto {to_latex(turning())}",
            "0 where X (u - 1) = M - 1, once, as the left side grows for u > 1: u = 1 + W((M - 1)/e), and gamma = "
            "(M - 1)(u - 1)/M there",
            at_the_turn,
            forms={"turning": turning()},
        ),
        Step(
            SHARP,
            "M (tau - u)",
            to_text(excess()),
            rf"M(\tau - u) = {to_latex(excess())}",
            "the law again; at tau = c ln M and M -> infinity",
            behind_time,
            proof=(
                "c < 1: 0 <= tau - u <= X/M <= M^(c-1) -> 0, so gamma/ln M -> c. c > 1: e^u <= 1 + M tau gives u <= ln "
                "M + ln(1 + tau), and e^u >= M (tau - u) gives u >= ln M + ln(tau - u): u/ln M -> 1, so gamma -> 1/(c "
                "- 1). At tau = 2 (1 + delta) ln M with delta -> 0 gamma -> 1, while ln(tau)/tau -> 0: a late "
                "estimate O(ln(tau)/tau) holds at fixed M and not uniformly in M. Uniformly gamma <= 3 ln(1 + M "
                "tau)/tau for tau >= 2 ln M: there u <= tau/2 + ln(tau + 1/2), so 1 + tau - u >= 0.35 tau."
            ),
            forms={"excess": excess()},
        ),
        Step(
            STEPS,
            "(X + M - 1)^2",
            f"4 (M - 1) X + ({to_text(step_square())})^2",
            rf"(X + M - 1)^2 = 4(M-1)X + ({to_latex(step_square())})^2",
            "so -dv/dh <= M/(4 (M - 1)) for v = 1/(X + M - 1) by h: steps h + eta v(h) keep the order for eta <= 4 (M "
            "- 1)/M",
            completed_square,
            proof=(
                "Let h* take N steps of size eta and h follow h' = eta v(h) for a time N. The step is increasing in h "
                "and never expands distances, and v decreases: a step from h(k) is ahead of h(k + 1) by 0 to eta "
                "(v(h(k)) - v(h(k+1))). These add up: 0 <= h* - h <= eta (1/M - v(h(N))) <= eta/M, half of what TWCD "
                "Lemma 7 states."
            ),
            forms={"square": step_square()},
        ),
    )


STATEMENT = Statement(
    identifier="scan-decoder",
    title="The decoder's logits without overlap: one law for every vocabulary and time",
    latex=r"e^u - 1 + (M-1)\,u = M\,\frac{\eta_Y t}{K},\quad w_n = \frac uM\,(M e_n - \mathbf 1),\quad "
    r"1 - \alpha_{nn} = \frac{M-1}{e^u + M - 1}",
    text=(
        "Gradient flow of the cross-entropy in the logits of a class, w_n' = (eta_Y/K)(e_n - softmax(w_n)) from 0, "
        "keeps w_n = h (M e_n - 1), and u = M h solves e^u - 1 + (M - 1) u = M eta_Y t/K; so gamma rises as eta_Y "
        "t/K, is largest where e^u (u - 1) = M - 1, and falls as K ln(M eta_Y t/K)/(eta_Y t)."
    ),
    assumptions=(
        "orthonormal class vectors, or the reparametrised flow of TWCD Lemma 3; M >= 2; classes of probability 1/K",
        "w_n(0) = 0; gradient flow, one unit of time being one step of batch size 1 at the rate eta_Y",
    ),
    conventions=(
        "natural logarithms; gamma as in TWCD: (M-1)^2 h/(M-1+e^{Mh}); a class's flow depends on K by its probability "
        "only, so K > M is read as classes that share next tokens"
    ),
    sources=(
        Source("tian2023scan", "Lemmas 3, 6, 7, 9 and Theorem 1"),
        Source("ours", "the law, its inverse, the crossing, the limit of many tokens"),
    ),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """The law, the error, gamma and its integral, at independent letters X, u, h, M, K, eta."""
    parts = {
        "law": law(), "denominator": denominator(), "wrong": wrong(), "gamma": gamma(), "accumulated": accumulated(),
    }  # fmt: skip
    return Formula(
        parts, quantities, Vocabulary({"M": ("K", NEXT), "X": ("M",), "K": ("M",), "u": ("h",), "h": ("u",)})
    )


def quantities(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """(law/M, error, gamma, int gamma)."""
    at = {**values, NEXT: values["M"] + 1}
    found = {name: evaluate(part, at) for name, part in parts.items()}
    below = found["denominator"]
    if below == 0:
        raise ValueError("need a denominator different from 0")
    return np.array(
        [found["law"] / values["M"], found["wrong"] / below, found["gamma"] / below, found["accumulated"]]
    ).reshape(4)


def points(name: str) -> list[dict[str, Any]]:
    """Rational letters, M and K whole."""
    found = []
    for k in range(4):
        draw = random.Random(f"{name}/decoder/{k}")
        letters = {one: np.array(Fraction(draw.randint(1, 900), 211), dtype=object) for one in ("X", "u", "eta", "h")}
        whole = {one: np.array(Fraction(draw.randint(2, 60)), dtype=object) for one in ("M", "K")}
        found.append({**letters, **whole})
    return found


# For a user


def lead_at(vocabulary: float, reached: float) -> float:
    """u with law(u) = M tau, in float64: relative error some 1e-15.

    Newton on the convex (e^u - 1) a/M + b u/M = tau, its coefficients read off `law`, from above: u <= tau and u <=
    ln(1 + M tau), so that the iterates fall to the root.
    """
    a = float(evaluate(law(), {"X": 2.0, "u": 0.0, "M": vocabulary})) / vocabulary
    b = float(evaluate(law(), {"X": 1.0, "u": 1.0, "M": vocabulary})) / vocabulary
    lead = min(reached, math.log1p(vocabulary * reached))
    for _ in range(60):
        step = (a * math.expm1(lead) + b * lead - reached) / (a * math.exp(lead) + b)
        lead -= step
        if abs(step) <= 2e-16 * lead:
            break
    return lead


def ahead(lead: float, vocabulary: float, eta: float) -> float:
    """How far steps of size eta are ahead of the flow's lead u at most, for eta <= 4 (M - 1)/M (`finite steps`)."""
    below = float(evaluate(denominator(), {"X": math.exp(lead), "M": vocabulary}))
    return eta * (1 - vocabulary / below)


def crossing(vocabulary: float) -> tuple[float, float]:
    """(u, tau) where gamma is largest: u = 1 + W((M - 1)/e)."""
    from scipy.special import lambertw  # costs a third of a second, and most verbs never need it

    lead = 1 + float(lambertw((vocabulary - 1) / math.e).real)
    return lead, float(evaluate(law(), {"X": math.exp(lead), "u": lead, "M": vocabulary})) / vocabulary


def check_vocabulary(value: Any) -> int:
    """A whole number M >= 2. Raises AssumptionError."""
    if not is_whole(value) or value < 2:
        raise AssumptionError(
            f"classes is the vocabulary size M and needs a whole number of at least 2, got {value!r}; "
            + ("give one such as 1000" if not is_whole(value) else "with one token there is nothing to predict")
        )
    return int(value)


def check_count(value: Any) -> int:
    """A whole number K >= 1. Raises AssumptionError."""
    if not is_whole(value) or value < 1:
        raise AssumptionError(
            f"frequency is the number K of classes, each with probability 1/K, and needs a whole number of at least 1, "
            f"got {value!r}; give one such as 10"
        )
    return int(value)


def for_user(classes: Any, frequency: Any, learning_rate: Any, time: Any) -> dict[str, float]:
    """The decoder at a time: h, the error, gamma, its integral, and where gamma is largest. Raises AssumptionError.

    >>> for_user(2, 1, 1.0, 0.0)["error"]
    0.5
    """
    size, count = float(check_vocabulary(classes)), float(check_count(frequency))
    eta, t = check_positive(learning_rate, "learning_rate"), check_time(time)
    lead = lead_at(size, eta * (t / count))
    at = {"X": math.exp(lead), "u": lead, "h": lead / size, "M": size, "K": count, "eta": eta}
    _, error, gamma_at, integral = (float(one) for one in formula().value(at))
    lead_there, tau_there = crossing(size)
    return {
        "h": lead / size,
        "error": error,
        "lead": lead,
        "gamma": gamma_at,
        "gamma_integral": integral,
        "largest_gamma": (size - 1) * (lead_there - 1) / size,
        "time_of_largest_gamma": tau_there * (count / eta),
        "transition_time": math.log(size) * (count / eta),
    }


def check_time(value: Any) -> float:
    """A number >= 0. Raises AssumptionError."""
    try:
        return check_non_negative(value, "time")
    except AssumptionError as error:
        raise AssumptionError(
            str(error).replace("; a variance is not negative", "; the flow starts at time 0")
        ) from None
