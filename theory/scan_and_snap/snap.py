r"""The snap law: attention of K classes alike with one common token, under the reparametrised flow, exactly.

Letters
    u, x = e^u         how far the next token's logit lies above the others, and its exponential; m = M - 1
    C, S, N            u_C = (P_C e^{z_C})^2, sum over the distinct tokens of u_l = (P_l e^{z_l})^2, and C + S;
                       rho = C/N is the overlap f_n.f_n' of two classes
    c, phi             the decoder's pull M u/(x + m), and the force on a distinct token in units of it: xi = c phi
    B                  eta_Z (1/K) int xi dt;   sigma the clock, dsigma = (2/N) dB
Main statements
    decoder        w_n = (u/M)(M e_n - 1), e^u - 1 + (M - 1) u = M eta_Y t/K;   the pull's integral is K u^2/(2 eta_Y)
    force          phi = (K - 1) C (M C + S)/(M S (S + K C));   z_l' = f_l^2 B',   z_C' = -K (1 - rho) B'
    clock          e^{-2 z_l} = 1 - sigma P_l^2,   e^{2 z_C} = prod_l (1 - sigma P_l^2)^K
    law            int_0^sigma N/phi dsigma = (eta_Z/eta_Y) u^2: attention depends on rates and time through this alone
    small overlap  e^{4 K B} = 1 + 2 K (K - 1) rho_0^2 (eta_Z/eta_Y) u^2 for rho << 1 << M rho and N constant
    slowing        after t* with e^u (u - 1) = M - 1 the growth of B slows down for good, whatever eta_Z;
                   t* eta_Y/(K ln M) -> 1 as M grows: half of the paper's 2 K ln M/eta_Y
    no freezing    as t -> infinity the k most probable distinct tokens share all attention; with e = e^{-2 z} of theirs
                   e = (constant) (ln t)^{-2/(k K + 1)}: attention stands still on every time that can be reached,
                   and goes to the winners in the end. B ~ (k/(k K + 1)) ln ln t
Assumptions
    One query, T -> infinity, P(n) = 1/K, one common token, distinct tokens alike up to their names, Y = Z = 0 at the
    start; the decoder is reparametrised, Y = F (F^T F)^-1 W^T with each w_n trained on its own cross-entropy.
References
    [tian2023scan, Lemma 3, Thm 1, Eq. 13, Thm 4]; exact law, constants and limits are ours. eta_Z of the paper sums
    over classes without P(n): it is K times less, eta_Z/K in our letters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.formulas import Formula
from ..algebra.trace_polynomials import TracePolynomial, scalar
from ..one_layer.assumptions import check_positive
from ..one_layer.fixed_point import exact_value, latex_of
from .symmetric_task import (
    SymmetricTask,
    attention_at,
    check_reach,
    check_time,
    decoder_logit,
    drive,
    entropy,
    symmetric_task,
)

if TYPE_CHECKING:
    import sympy as sp


# The derived expressions, in scalars


def letters(names: str) -> Any:
    import sympy as sp

    return sp.symbols(names, positive=True)


@cache
def decoder_forms() -> dict[str, sp.Expr]:
    """Softmax at logits that are equal but for one: rate with e_n - alpha_n = rate (M e_n - 1), and tau(u) from it.

    The own probability is x/(x + m), each other one 1/(x + m); u' = M rate in units of tau = eta_Y t/K.
    """
    import sympy as sp

    x, m, u, t = letters("x m u t")
    (rate,) = sp.solve(1 - x / (x + m) - m * sp.Symbol("r"), sp.Symbol("r"))
    speed = (m + 1) * rate
    time = sp.integrate(sp.expand(1 / speed.subs(x, sp.exp(t))), (t, 0, u)).subs(sp.exp(u), x)
    return {"rate": sp.factor(rate), "time": sp.factor(time)}


@cache
def force_forms() -> dict[str, sp.Expr]:
    """phi, and the velocities of the two kinds of logits in units of c eta_Z/K, by the two values of G^-1 (e_n - 1/M).

    G = F^T F has 1 on its diagonal and rho = C/(C + S) elsewhere; own and other solve G v = e_n - 1/M.
    """
    import sympy as sp

    C, S, K, m, q = letters("C S K m q")
    own, other, M = sp.Symbol("own"), sp.Symbol("other"), m + 1
    rho = C / (C + S)
    rows = [own + (K - 1) * rho * other - 1 + 1 / M, rho * own + (1 + (K - 2) * rho) * other + 1 / M]
    (found,) = sp.solve(rows, [own, other], dict=True)
    along = 1 - 1 / M  # f_n.g_n/c
    force = sp.factor(found[own] - along)
    common = sp.factor(K * rho * (found[own] + (K - 1) * found[other] - along))
    return {"force": force, "common": common, "distinct": sp.factor(q / (C + S) * force)}


@cache
def clock_forms() -> dict[str, sp.Expr]:
    """In the clock sigma: d(1/u_l)/dsigma, d ln u_C/dsigma and dB/dsigma; and 1/u_l itself."""
    import sympy as sp

    C, S, q, sigma = letters("C S q sigma")
    velocities = force_forms()
    speed = 2 * velocities["force"] / (C + S)  # of sigma, in units of c eta_Z/K
    reciprocal_rate = sp.simplify(-2 * velocities["distinct"] / q / speed)
    return {
        "rate": reciprocal_rate,
        "fall": sp.factor(2 * velocities["common"] / speed),
        "strength": sp.factor(velocities["force"] / speed),
        "reciprocal": sp.factor(1 / q + sp.integrate(reciprocal_rate, (sigma, 0, sigma))),
    }


@cache
def drive_form() -> sp.Expr:
    """2 (eta_Z/K) int c dt: c dt = (M u rate) (K/eta_Y) du/(M rate)."""
    import sympy as sp

    u, K, eta_Y, eta_Z, v = letters("u K eta_Y eta_Z v")
    pull = K / eta_Y * v  # c dt/du: the decoder's rate cancels
    return sp.factor(2 * eta_Z / K * sp.integrate(pull, (v, 0, u)))


@cache
def overlap_forms() -> dict[str, sp.Expr]:
    """phi in rho with r = 1 - rho, its leading part for rho << 1 << M rho, and the y = e^{-4 z_C} that follows."""
    import sympy as sp

    C, S, K, m, rho, r = letters("C S K m rho r")
    force = force_forms()["force"].subs({C: rho, S: r})  # of degree 0 in (C, S)
    leading = sp.limit(sp.limit(force.subs(r, 1 - rho), m, sp.oo) / rho**2, rho, 0) * rho**2
    drive_letter, start, y = letters("s rho0 y")
    # z_C' = -K B', B = (1/2) int phi ds and rho = rho0 e^{2 z_C}: y = e^{-4 z_C} has the constant velocity
    speed = sp.simplify(-4 * y * -K * leading.subs(rho, start / sp.sqrt(y)) / 2)
    return {"force": sp.factor(force), "leading": leading, "solution": sp.expand(1 + speed * drive_letter)}


@cache
def slowing_forms() -> dict[str, sp.Expr]:
    """The sign of the slope of the pull u/(x + m), and that of phi in C/S: numerators."""
    import sympy as sp

    u, x, m, C, S, K, y = letters("u x m C S K y")
    slope = sp.diff(u / (sp.exp(u) + m), u).subs(sp.exp(u), x)
    in_y = sp.cancel(force_forms()["force"].subs({C: y, S: 1}) / (K - 1))
    rise = sp.diff(in_y, y)
    return {"slope": sp.fraction(sp.factor(slope))[0], "rise": sp.expand(sp.fraction(sp.factor(rise))[0])}


@cache
def late_forms() -> dict[str, sp.Expr]:
    """k winners with u_l = q/e as e -> 0: the rate of the drive is coefficient e^{-power}, and e ~ (ln t)^{-exponent}.

    C = p e^{k K}, S = k q/e, sigma = (1 - e)/q; found from the leading behaviour of (N/phi) dsigma/de.
    """
    import sympy as sp

    e, p, q, k, K, C, S = letters("e p q k K C S")
    rate = (C + S) / force_forms()["force"] / q
    leading = sp.limit(sp.cancel(rate * C), C, 0) / C
    there = leading.subs({C: p * e ** (k * K), S: k * q / e})
    power = sp.simplify(-e * sp.diff(sp.log(there), e))
    others = {K: 1 + letters("o")}  # o = K - 1 stands below the fraction line
    coefficient = sp.factor(sp.powsimp(sp.simplify(there * e**power)).subs(others))
    # the drive is coefficient e^{1 - power}/(power - 1) and u^2 at once, and u/ln t -> 1
    return {"power": sp.expand(power), "coefficient": coefficient, "exponent": sp.factor(2 / (power - 1))}


# Rational instances of every step


@dataclass(frozen=True)
class Instance:
    """K classes of two distinct tokens among M.

    scores      P_C e^{z_C}, P_1 e^{z_1}, P_2 e^{z_2}
    u, x        two numbers, as if independent
    sigma       a clock below all 1/P_l^2;  probabilities P_1, P_2
    moves       velocities of the three logits, as if free
    """

    K: int
    M: int
    scores: tuple[Fraction, Fraction, Fraction]
    u: Fraction
    x: Fraction
    sigma: Fraction
    probabilities: tuple[Fraction, Fraction]
    moves: tuple[Fraction, Fraction, Fraction]

    def values(self) -> dict[str, Any]:
        """By the names of the letters."""
        C, first, second = (score**2 for score in self.scores)
        return {
            "K": self.K, "m": self.M - 1, "C": C, "S": first + second, "q": first, "u": self.u, "x": self.x,
            "sigma": self.sigma,
        }  # fmt: skip


def instance(seed: int) -> Instance:
    """The seed-th instance."""
    draw = np.random.default_rng([seed, 31])

    def fractions(count: int) -> list[Fraction]:
        return [Fraction(int(a), int(b)) for a, b in draw.integers(1, 12, size=(count, 2))]

    K = int(draw.integers(2, 6))
    a, b, c, u, x, s, first, second, *moves = fractions(11)
    return Instance(K, 2 * K + 1 + int(draw.integers(0, 4)), (a, b, c), u, 1 + x, s / 1000,
                    (first / 13, second / 13), (moves[0], -moves[1], moves[2]))  # fmt: skip


def vector(values: Sequence[Any]) -> Array:
    return np.array(values, dtype=object)


def softmax_residual(x: Fraction, M: int, own: int) -> Array:
    """e_n - softmax of logits that are equal but for that of n, whose exponential is x times the others'."""
    exponentials = [x if j == own else Fraction(1) for j in range(M)]
    return vector([Fraction(int(j == own)) - one / sum(exponentials) for j, one in enumerate(exponentials)])


def ray(M: int, own: int) -> Array:
    """M e_n - 1."""
    return vector([Fraction(M * int(j == own) - 1) for j in range(M)])


def decoder_check(given: Instance) -> tuple[Array, Array]:
    """e_n - alpha_n, and dtau/du by the chain rule with x' = x."""
    import sympy as sp

    forms, values = decoder_forms(), given.values()
    u, x = letters("u x")
    along = sp.diff(forms["time"], u) + x * sp.diff(forms["time"], x)
    rate = exact_value(forms["rate"], values)
    left = [*softmax_residual(given.x, given.M, 0), exact_value(along, values) * given.M * rate]
    return vector(left), vector([*(rate * ray(given.M, 0)), Fraction(1)])


def scores_of_classes(given: Instance) -> Array:
    """P_l e^{z_l} of all classes, (K, 1 + 2 K)."""
    scores = np.zeros((given.K, 1 + 2 * given.K), dtype=object)
    scores[:, 0] = given.scores[0]
    for n in range(given.K):
        scores[n, 1 + 2 * n : 3 + 2 * n] = given.scores[1:]
    return scores


def normalisation_check(given: Instance) -> tuple[Array, Array]:
    """(f_l^2)' by the quotient rule, and 2 f_l^2 (z_l' - sum f_k^2 z_k')."""
    squares, moves = vector([score**2 for score in given.scores]), vector(given.moves)
    N, dN = squares.sum(), 2 * (squares * moves).sum()
    left = (2 * squares * moves * N - squares * dN) / N**2
    return left, 2 * squares / N * (moves - (squares / N * moves).sum())


def layer_velocities(given: Instance) -> tuple[Fraction, Fraction]:
    """Velocities of z_C and of z_1 of class 1 in units of c eta_Z/K, literally: F, G, W, softmax, backpropagation."""
    scores, K, M = scores_of_classes(given), given.K, given.M
    N = sum(score**2 for score in given.scores)
    inverse = exact_inverse(scores @ scores.T / N)
    decoders = [given.u / M * ray(M, j) for j in range(K)]
    pull = M * given.u / (given.x + M - 1)
    total = np.zeros(1 + 2 * K, dtype=object)
    for n in range(K):
        residual = softmax_residual(given.x, M, n)
        onto = inverse @ vector([w @ residual for w in decoders])  # g_n = F onto
        g = onto @ scores  # times 1/|c|, as f = scores/|c| is: both stand in a product of two
        total = total + scores[n] * (g - (scores[n] @ g) * scores[n] / N) / N / pull
    return total[0], total[1]


def force_check(given: Instance) -> tuple[Array, Array]:
    forms, values = force_forms(), given.values()
    return vector(layer_velocities(given)), vector(
        [exact_value(forms[name], values) for name in ("common", "distinct")]
    )


def clock_check(given: Instance) -> tuple[Array, Array]:
    """From the velocities to the clock; and the closed forms' logarithmic derivatives, by the rule for products."""
    forms, velocities, values = clock_forms(), force_forms(), given.values()
    force, common, distinct = (exact_value(velocities[name], values) for name in ("force", "common", "distinct"))
    speed = 2 * force / (values["C"] + values["S"])
    squares = [p**2 for p in given.probabilities]
    grown = [q / (1 - given.sigma * q) for q in squares]
    fall = sum(-given.K * q / (1 - given.sigma * q) for q in squares)  # of ln prod (1 - sigma q)^K
    left = [-2 * distinct / values["q"] / speed, 2 * common / speed, force / speed, 1 / grown[0], fall]
    right = [exact_value(forms[name], values) for name in ("rate", "fall", "strength")]
    reciprocal = exact_value(forms["reciprocal"], {"q": squares[0], "sigma": given.sigma})
    closed = exact_value(forms["fall"], {"K": given.K, "S": sum(grown)})
    return vector(left), vector([*right, reciprocal, closed])


def law_check(given: Instance) -> tuple[Fraction, Fraction]:
    """The drive's slope in u, and 2 (eta_Z/K) c dt/du with dt = (K/eta_Y) du/(M rate)."""
    import sympy as sp

    eta_Y, eta_Z = given.scores[0], given.scores[1]
    values = {**given.values(), "eta_Y": eta_Y, "eta_Z": eta_Z}
    rate = exact_value(decoder_forms()["rate"], values)
    pull, slowness = given.M * given.u * rate, given.K / (eta_Y * given.M * rate)
    (u,) = (symbol for symbol in drive_form().free_symbols if symbol.name == "u")
    return exact_value(sp.diff(drive_form(), u), values), 2 * eta_Z / given.K * pull * slowness


def overlap_check(given: Instance) -> tuple[Array, Array]:
    """phi at rho and 1 - rho; phi with its exact correction factors; and the flow of y = e^{-4 z_C} at y."""
    forms, values = overlap_forms(), given.values()
    rho = values["C"] / (values["C"] + values["S"])
    at = {"rho": rho, "r": 1 - rho, "K": given.K, "m": given.M - 1, "rho0": given.scores[0], "s": given.u}
    force, leading, solution = (exact_value(forms[name], at) for name in ("force", "leading", "solution"))
    corrected = leading * (1 + (1 - rho) / (given.M * rho)) / ((1 - rho) * (1 + (given.K - 1) * rho))
    slope = (solution - exact_value(forms["solution"], {**at, "s": 0})) / given.u
    there = exact_value(forms["leading"], {**at, "rho": given.scores[0]})
    return vector([exact_value(force_forms()["force"], values), corrected, slope]), vector(
        [force, force, 4 * given.K * there / 2]
    )


def slowing_check(given: Instance) -> tuple[Array, Array]:
    """Slopes of u/(x + m) and of phi(C/S) by their difference quotients' limits: the quotient rule on values."""
    forms, values = slowing_forms(), given.values()
    m, u, x, K, y = given.M - 1, given.u, given.x, given.K, given.scores[0]
    top, bottom = (m + 1) * y**2 + y, 1 + K * y  # phi is (K - 1)/M times top/bottom
    rise = (2 * (m + 1) * y + 1) * bottom - top * K
    left = [(x + m) - u * x, rise]
    return vector(left), vector([exact_value(forms["slope"], values), exact_value(forms["rise"], {**values, "y": y})])


def late_check(given: Instance) -> tuple[Array, Array]:
    """The rate of the drive times e^power near its limit at a tiny e; and the exponent."""
    forms, k = late_forms(), 1 + given.K % 2
    p, q = given.scores[0], given.scores[1]
    values = {"K": given.K, "o": given.K - 1, "k": k, "m": given.M - 1, "p": p, "q": q}
    power, limit = exact_value(forms["power"], values), exact_value(forms["coefficient"], values)

    def rate(e: Fraction) -> Fraction:
        C, S = p * e ** (k * given.K), k * q / e
        force = exact_value(force_forms()["force"], {**values, "C": C, "S": S})
        return Fraction((C + S) / force / q * e ** int(power))

    tiny = Fraction(1, 10**12)
    near = abs(rate(tiny) / limit - 1) < Fraction(1, 10**6)
    return vector([near, exact_value(forms["exponent"], values)]), vector([True, 2 / (power - 1)])


@cache
def derivation() -> Derivation:
    """The seven steps."""
    decoder, force, clock = decoder_forms(), force_forms(), clock_forms()
    overlap, slowing, late = overlap_forms(), slowing_forms(), late_forms()
    steps = (
        Step(
            "decoder", "tau = eta_Y t/K", f"{decoder['time']}, x = e^u",
            rf"\tfrac{{\eta_Y t}}{{K}} = {latex_of(decoder['time'])},\quad x = e^u",
            "logits (u/M)(M e_n - 1) keep their shape: e_n - alpha_n = rate (M e_n - 1); then du/dtau = M rate",
            decoder_check, forms=dict(decoder),
        ),
        Step(
            "normalisation", "(f_l^2)'", "2 f_l^2 (z_l' - sum_k f_k^2 z_k')",
            r"(f_l^2)' = 2 f_l^2 (z_l' - \textstyle\sum_k f_k^2 z_k')",
            "f = c/|c|, c_l = P_l e^{z_l}: so the slope by z_l is f_l (g_l - (f.g) f_l) where g is that by f",
            normalisation_check,
        ),
        Step(
            "force", "xi/c", str(force["force"]), rf"\xi/c = {latex_of(force['force'])}",
            "G = (1 - rho) I + rho 1 1^T: g_n = c F G^-1 (e_n - 1/M) has two kinds of entries; the common token gets "
            "-K (1 - rho) of it",
            force_check, forms=dict(force),
        ),
        Step(
            "clock", "1/u_l", str(clock["reciprocal"]), rf"1/u_l = {latex_of(clock['reciprocal'])}",
            "u_l' = 2 u_l z_l' = u_l^2 sigma' with sigma' = 2 B'/N; d ln u_C/dsigma = -K S, as that of prod 1/u_l^K",
            clock_check, forms=dict(clock),
        ),
        Step(
            "law", "int_0^sigma N/phi dsigma", str(drive_form()),
            rf"\int_0^\sigma N/\varphi\,d\sigma = {latex_of(drive_form())}",
            "sigma' = 2 (eta_Z/K) c phi/N and c dt = (K/eta_Y) u du: the decoder's rate cancels",
            law_check, forms={"drive": drive_form()},
        ),
        Step(
            "small overlap", "e^{-4 z_C} = e^{4 K B}", str(overlap["solution"]),
            rf"e^{{4KB}} = {latex_of(overlap['solution'])},\quad s = \tfrac{{\eta_Z}}{{\eta_Y}} u^2",
            "phi = (K - 1) rho^2 (1 + (1 - rho)/(M rho))/((1 - rho)(1 + (K - 1) rho)); rho = rho_0 e^{2 z_C} for "
            "constant N, and z_C = -K B for rho << 1",
            overlap_check, forms=dict(overlap),
        ),
        Step(
            "slowing", "the slope of the pull u/(x + m) has the sign of", str(slowing["slope"]),
            rf"\partial_u \tfrac{{u}}{{e^u + m}} \propto {latex_of(slowing['slope'])}",
            "B' = (eta_Z/K) c phi: c falls once e^u (u - 1) > m, and phi falls with C/S always, since its slope "
            f"{slowing['rise']} (y = C/S) has no negative term",
            slowing_check, forms=dict(slowing),
        ),
        Step(
            "late times", "e^{-2 z} of the winners", f"(constant) (ln t)^(-{late['exponent']})",
            rf"e^{{-2z}} \sim \text{{const}}\cdot(\ln t)^{{-{latex_of(late['exponent'])}}}",
            f"at u_l = q/e the drive grows as coefficient e^(-({late['power']})) in -e; it is (eta_Z/eta_Y) u^2, and "
            "u/ln t -> 1",
            late_check, forms=dict(late),
        ),
    )  # fmt: skip
    results = {"drive": drive_form(), "force": force["force"], "exponent": late["exponent"]}
    return Derivation(replace(STATEMENT, latex=steps[4].latex), steps, results, instance)


STATEMENT = Statement(
    identifier="snap",
    title="Scan, snap and what comes after: attention with one common token, exactly",
    latex="",  # the derived formula, filled in by `derivation`
    text=(
        "With K classes alike and one common token, the attention of the reparametrised flow is one curve: all logits "
        "are given by a clock sigma, and the clock by (eta_Z/eta_Y) u^2 alone, where u is how far the next token's "
        "logit lies above the others. Its growth slows after t* ~ K ln M/eta_Y. It is never frozen in the strict "
        "sense: as t -> infinity the most probable distinct tokens take all attention, as a power of ln t."
    ),
    assumptions=(
        "one query; K >= 2 classes with probability 1/K; one common token; distinct tokens alike up to their names",
        "sequences of infinite length; f_n of length 1; Y = Z = 0 at the start; gradient flow",
        "reparametrised decoder: Y = F (F^T F)^-1 W^T, each w_n following its own cross-entropy",
        "small overlap: rho << 1 << M rho, and N constant; for that step alone",
    ),
    conventions=(
        "one unit of time is one step of batch size 1; P(n) = 1/K is in the velocity, so eta_Z of the paper is eta_Z/K"
    ),
    sources=(
        Source("tian2023scan", "Lemma 3, Theorem 1, Eq. 13, Theorem 4 (small overlap; constants differ)"),
        Source("ours", "the exact law, and the limits"),
    ),
    uses=(),
)


# Public numbers


def slowing_logit(vocabulary: int) -> float:
    """u* > 1 with e^u (u - 1) = M - 1: u* = 1 + W((M - 1)/e).

    >>> round(slowing_logit(60), 6)
    3.261506
    """
    from scipy.special import lambertw

    return 1 + float(lambertw((vocabulary - 1) / math.e).real)


def time_of_logit(u: float, task: SymmetricTask, eta_Y: float) -> float:
    """t at which the decoder has reached u."""
    M = task.vocabulary
    return task.classes / eta_Y * (math.expm1(u) + (M - 1) * u) / M


def strength_at_small_overlap(task: SymmetricTask, driven: float) -> float:
    """B of the law for rho << 1 << M rho."""
    K = task.classes
    return math.log1p(2 * K * (K - 1) * task.overlap**2 * driven) / (4 * K)


def prediction(
    classes: Any,
    vocabulary: Any,
    common_probability: Any,
    distinct_profile: Any,
    eta_Y: Any,
    eta_Z: Any,
    time: Any,
) -> dict[str, Any]:
    """The attention of a class at a time >= 0, and where its growth slows. Raises AssumptionError.

    >>> found = prediction(4, 60, 0.35, [1, 2, 3], 1.0, 1.0, 0.0)
    >>> found["common_logit"], found["strength"], round(found["common_attention"], 12)
    (0.0, 0.0, 0.35)
    """
    task = symmetric_task(classes, vocabulary, common_probability, distinct_profile)
    rates = check_positive(eta_Y, "eta_Y"), check_positive(eta_Z, "eta_Z")
    moment = check_time(time)
    driven = check_reach(task, *rates, moment)
    found = attention_at(task, driven)
    weights = found.attention.weights
    return {
        "common_attention": float(weights[0]), "distinct_attention": weights[1:].tolist(),
        "common_logit": float(found.logits[0]), "distinct_logits": found.logits[1:].tolist(),
        "decoder_logit": decoder_logit(rates[0] * moment / task.classes, task.vocabulary), "drive": driven,
        "strength": found.strength, "strength_at_small_overlap": strength_at_small_overlap(task, driven),
        "gain": math.exp(found.y), "overlap": float(found.attention.overlap), "entropy": entropy(weights),
        "entropy_of_distinct": entropy(weights[1:] / weights[1:].sum()),
        "slowing_time": time_of_logit(slowing_logit(task.vocabulary), task, rates[0]),
        "late_exponent": 2 / (task.winners * task.classes + 1),
    }  # fmt: skip


# The formula that is altered


@cache
def formula() -> Formula:
    """The closed forms as polynomials.

    decoder     vanishes at the decoder's u
    drive       what the clock is set by
    shrunk      d_l with u_l = P_l^2/d_l
    fall        d ln u_C/dsigma
    size        N
    pull, rest  phi = pull/rest
    """
    x, u, M, tau, K, C, S = (scalar(name) for name in ("x", "u", "M", "tau", "K", "C", "S"))
    parts = {
        "decoder": x - 1 + M * u - u - M * tau,
        "drive": scalar("eta_Z") * scalar("eta_Y") ** -1 * u * u,
        "shrunk": 1 - scalar("sigma") * scalar("q"),
        "fall": -1 * K * S,
        "size": C + S,
        "pull": K * M * C * C - M * C * C + K * C * S - C * S,
        "rest": M * S * S + K * M * C * S,
    }
    vocabulary = Vocabulary({"C": ("S",), "S": ("C",), "K": ("M",), "M": ("K",), "u": ("tau",), "tau": ("u",)})
    return Formula(parts, pointwise, vocabulary)


def pointwise(parts: Mapping[str, TracePolynomial], values: Mapping[str, Any]) -> Array:
    """Every part that is seen, at given letters: decoder, drive, u_l, fall, and dsigma/d drive."""
    at = {name: evaluate(part, values) for name, part in parts.items()}
    if any(at[name] == 0 for name in ("shrunk", "rest", "size")):
        raise ValueError("need denominators that do not vanish")
    return np.array(
        [at["decoder"], at["drive"], values["q"] / at["shrunk"], at["fall"], at["pull"] / at["rest"] / at["size"]],
        dtype=object,
    )


LETTERS = ("x", "u", "M", "tau", "K", "C", "S", "eta_Y", "eta_Z", "sigma", "q")


def points(name: str) -> list[dict[str, Any]]:
    """Rational values of the letters."""
    draw = np.random.default_rng([len(name), 32])
    exact = np.array([Fraction(1)], dtype=object)  # makes the evaluation exact
    return [
        {"exact": exact, **{one: Fraction(int(a), int(b)) for one, (a, b) in zip(LETTERS, row, strict=True)}}
        for row in draw.integers(1, 40, size=(4, len(LETTERS), 2))
    ]


def letters_at(task: SymmetricTask, eta_Y: float, eta_Z: float, time: float) -> dict[str, float]:
    """The letters' values on the path, with the first distinct token for q."""
    tau = eta_Y * time / task.classes
    u = decoder_logit(tau, task.vocabulary)
    found = attention_at(task, drive(task, eta_Y, eta_Z, time))
    first = float(task.squares[0])
    return {
        "x": math.exp(u), "u": u, "M": float(task.vocabulary), "tau": tau, "K": float(task.classes),
        "C": float(found.attention.common_square), "S": float(found.attention.distinct_square),
        "eta_Y": eta_Y, "eta_Z": eta_Z, "q": first, "sigma": -math.expm1(-found.y) / float(task.squares.max()),
    }  # fmt: skip


def path_by(
    parts: Mapping[str, TracePolynomial], task: SymmetricTask, eta_Y: float, eta_Z: float, times: Sequence[float]
) -> list[Array]:
    """(u, z_C, z_1 .. z_D) at the times by the polynomials, which may be altered; infinite where they give none."""
    nowhere = [np.full(2 + len(task.distinct), np.inf)] * len(times)
    of_task = {"K": float(task.classes), "M": float(task.vocabulary)}
    scaled = [eta_Y * time / task.classes for time in times]
    decoders = [root_of_decoder(parts["decoder"], {**of_task, "tau": tau}) for tau in scaled]
    driven = [
        float(evaluate(parts["drive"], {"eta_Y": eta_Y, "eta_Z": eta_Z, "u": u, "tau": tau}))
        for u, tau in zip(decoders, scaled, strict=True)
    ]
    if not all(0 < one < MOST_DRIVE for one in driven):
        return nowhere
    try:
        with np.errstate(all="ignore"):
            logits = logits_by(parts, task, of_task, driven)
    except (OverflowError, ZeroDivisionError):
        return nowhere
    found = [np.array([u, *row]) for u, row in zip(decoders, logits, strict=True)]
    return found if np.isfinite(found).all() else nowhere


def logits_by(
    parts: Mapping[str, TracePolynomial], task: SymmetricTask, of_task: Mapping[str, float], driven: Sequence[float]
) -> list[Array]:
    """(z_C, z_1 .. z_D) at the drives, by integration of sigma and ln u_C. Raises ZeroDivisionError beside a path."""
    from scipy.integrate import solve_ivp

    def grown(sigma: float) -> Array:
        return np.asarray(task.squares / evaluate(parts["shrunk"], {"sigma": sigma, "q": task.squares}))

    def velocity(_: float, state: Array) -> list[float]:
        at = {**of_task, "C": math.exp(state[1]), "S": float(grown(float(state[0])).sum())}
        rate = evaluate(parts["pull"], at) / (evaluate(parts["rest"], at) * evaluate(parts["size"], at))
        return [rate, evaluate(parts["fall"], at) * rate]

    start, order = [0.0, 2 * math.log(task.common)], np.argsort(driven)
    at_times = np.array(driven)[order]
    found = solve_ivp(velocity, (0.0, at_times[-1]), start, "DOP853", at_times, rtol=1e-11, atol=1e-13)
    if not found.success:
        raise ZeroDivisionError(found.message)
    rows: list[Any] = [None] * len(driven)
    for place, (sigma, common) in zip(order, found.y.T, strict=True):
        rows[place] = np.append((common - start[1]) / 2, np.log(grown(float(sigma)) / task.squares) / 2)
    return rows


MOST_DRIVE = 1e6  # of an altered formula: beyond it attention is far from any that is compared


def root_of_decoder(polynomial: TracePolynomial, values: Mapping[str, Any]) -> float:
    """The smallest u > 0 where the polynomial changes its sign; infinite if there is none below 60."""
    from scipy.optimize import brentq

    def at(u: Any) -> Any:
        return evaluate(polynomial, {**values, "u": u, "x": np.exp(u)})

    grid = np.linspace(1e-9, 60, 2001)
    signs = np.sign(at(grid) * np.ones_like(grid))
    (changes,) = np.nonzero(signs[1:] * signs[:-1] <= 0)
    if not len(changes):
        return math.inf
    return float(brentq(at, grid[changes[0]], grid[changes[0] + 1], xtol=1e-15, rtol=1e-14))
