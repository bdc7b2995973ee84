r"""The decoder's flow of the loss when all class vectors overlap equally: a planar system, solved.

K class vectors of length one with f_n.f_j = rho, attention frozen, M tokens, P(n) = 1/K, Y(0) = 0, tau = eta_Y t/K: the
logits w_n = Y^T f_n obey dw_n/dtau = sum_j (f_n.f_j)(e_j - softmax(w_j)). Three values of w_n are different: at its own
token, at those of the K - 1 other classes, and at the M - K rest. A and B are what the first two have over the rest, X
and Z their exponentials, S = X + (K - 1) Z + M - K.
Main statements
    planar      S dA/dtau = (K - 1)(1 - rho) Z + m  and  S dB/dtau = s - (1 - rho) Z, with s = 1 + rho (M - 1) and
                m = M - K + 1 + rho (K - 1)
    phase       phi with dphi/dtau = (1 - rho) Z/S makes it linear: (1 - rho) Z = s - rho M e^-phi, and
                s A = m B + c phi with c = M (1 + (K - 1) rho). So e^B tends to s/(1 - rho), and A to infinity
    time        (1 - rho) tau = (K - 1) phi + ((1 - rho)/s) ((M - K) L + E [e^{(m/s + i) L} - 1]/(m/s + i)), L = B +
                phi, a sum over i ~ Binomial(K - 1, (1 - rho)/s)
    force       z_l' = eta_Z P(n) f_nl^2 xi for a token l distinct to n; xi S = (K - 1) rho (Z (a - b) - (M - K) b) with
                A = a + rho (K - 1) b and B = rho a + (1 + rho (K - 2)) b. The reparametrised flow has the force of
                A = u, B = 0, its own lead
    two ends    the reparametrised force is s/((1 - rho)(1 + (K - 1) rho)) times that of the loss for t -> 0; for t ->
                infinity that of the loss is 1/(1 - rho) + (M - K) rho/(s (1 + (K - 1) rho)) times the reparametrised
    two limits  rho = 0 is scan-decoder with phi = h; K = M is scan-decoder at the rate (1 - rho) eta_Y
Assumptions
    2 <= K <= M, 0 <= rho < 1; gradient flow of the loss in Y, attention frozen.
References
    [tian2023scan, Lemma 1 (Eq. 7), Lemma 5] for the flow; the rest is ours.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import evaluate
from ..algebra.formulas import Formula, Values
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, number, scalar, substitute
from ..one_layer.assumptions import AssumptionError, check_number, check_positive
from .decoder import K, check_count, check_time, check_vocabulary, denominator, lead_at, value
from .two_valued_logits import M, X, by_logit, literal_slopes

Z, RHO, A, B, PHI = (scalar(name) for name in ("Z", "rho", "A", "B", "phi"))
PULL, RELUCTANT = 1 - RHO, 1 + RHO * (K - 1)  # what the classes keep apart, and what they share


class Slopes(NamedTuple):
    """Numerators over S of -dl/dw: at the own token, at another class's, at one of the rest; and S."""

    own: TracePolynomial
    other: TracePolynomial
    rest: TracePolynomial
    partition: TracePolynomial


@cache
def slopes() -> Slopes:
    """The gradient of the cross-entropy on logits of three values, one token of each kind singled out."""
    z, y = scalar("z"), scalar("y")
    S = X + z + (K - 2) * Z + y + (M - K - 1)
    found = (S - by_logit(S, "X"), -by_logit(S, "z"), -by_logit(S, "y"), S)
    return Slopes(*(substitute(part, scalars={"z": Z, "y": number(1)}) for part in found))


@cache
def logit_rates() -> tuple[TracePolynomial, TracePolynomial, TracePolynomial]:
    """Numerators of dw_n/dtau at the three kinds of tokens: sum_j (f_n.f_j)(e_j - alpha_j)."""
    own, other, rest, _ = slopes()
    mixed = own + RHO * (K - 1) * other  # at n: its own slope, and rho times what each other class does there
    across = other + RHO * (own + (K - 2) * other)
    return mixed, across, rest + RHO * (K - 1) * rest


@cache
def rates() -> tuple[TracePolynomial, TracePolynomial]:
    """S dA/dtau and S dB/dtau."""
    own, other, rest = logit_rates()
    return own - rest, other - rest


@cache
def ceiling() -> TracePolynomial:
    """s, with e^B -> s/(1 - rho): what stays of S dB/dtau at Z = 0."""
    return substitute(rates()[1], scalars={"Z": number(0)})


@cache
def along_class() -> TracePolynomial:
    """m: what stays of S dA/dtau at Z = 0."""
    return substitute(rates()[0], scalars={"Z": number(0)})


@cache
def along_phase() -> TracePolynomial:
    """c: s S dA/dtau - m S dB/dtau = c (1 - rho) Z, without a term free of Z; c (1 - rho) is taken at Z = 1."""
    left = ceiling() * rates()[0] - along_class() * rates()[1]
    found = M * RELUCTANT
    assert left == found * PULL * Z
    return found


@cache
def determinant() -> TracePolynomial:
    """That of (a, b) -> (A, B)."""
    found = (1 + RHO * (K - 2)) - RHO * RHO * (K - 1)
    assert found == PULL * RELUCTANT
    return found


@cache
def force() -> TracePolynomial:
    """The numerator of xi over S and the determinant: (K - 1) rho (Z (a - b) - (M - K) b), a and b solved for.

    The token's part of the gradient is f_nl c_n with c_j = v_j.(e_n - alpha_n) and Y = sum_j f_j v_j^T; what the
    normalisation takes away is f_nl sum_j (f_n.f_j) c_j: xi = -rho (K - 1) c_j.
    """
    a = (1 + RHO * (K - 2)) * A - RHO * (K - 1) * B
    b = B - RHO * A
    return (K - 1) * RHO * (Z * (a - b) - (M - K) * b)


@cache
def reparametrised_force() -> TracePolynomial:
    """The same for Y = F (F^T F)^-1 W with w_n = h (M e_n - 1): A = u, B = 0."""
    return substitute(force(), scalars={"A": scalar("u"), "B": number(0), "Z": number(1)})


@cache
def early_ratio() -> tuple[TracePolynomial, TracePolynomial]:
    """Loss over reparametrised for t -> 0, numerator and denominator: there A = u = tau and B = rho tau."""
    at_start = substitute(force(), scalars={"A": number(1), "B": RHO, "Z": number(1)})
    other = substitute(reparametrised_force(), scalars={"u": number(1)})
    assert at_start == (K - 1) * RHO * determinant()
    assert other == (K - 1) * RHO * ceiling()
    return determinant(), ceiling()


@cache
def late_ratio() -> tuple[TracePolynomial, TracePolynomial]:
    """Loss over reparametrised for t -> infinity, numerator and denominator.

    There (1 - rho) Z = s, B is bounded and A/u -> 1; S/tau -> c and, reparametrised, S/tau -> M. The force of the loss
    is linear in Z; (1 - rho) times it is taken at the ceiling.
    """
    in_A = substitute(force(), scalars={"A": number(1), "B": number(0)})
    fixed = substitute(in_A, scalars={"Z": number(0)})
    slope = substitute(in_A, scalars={"Z": number(1)}) - fixed
    above, other = slope * ceiling() + fixed * PULL, substitute(reparametrised_force(), scalars={"u": number(1)})
    reduced = RELUCTANT * ceiling() + (M - K) * RHO * PULL
    assert above == (K - 1) * RHO * reduced
    assert other == (K - 1) * RHO * ceiling()
    assert along_phase() == M * RELUCTANT
    return reduced, PULL * RELUCTANT * ceiling()


# Instances: literal tables of logits


def instance(seed: int) -> dict[str, Any]:
    """K classes and M tokens, rational letters."""
    draw = random.Random(f"scan-equal-overlaps/{seed}")
    classes = 2 + seed % 3
    letters = {name: Fraction(draw.randint(1, 300), 101) for name in ("X", "Z", "A", "B", "phi", "u")}
    sizes = {"K": Fraction(classes), "M": Fraction(classes + 1 + seed % 4)}
    return {**letters, **sizes, "rho": Fraction(draw.randint(1, 99), 100)}


def table(at: Mapping[str, Any], own: Any, other: Any, rest: Any) -> list[list[Any]]:
    """A (K, M) table of three values."""
    classes, tokens = int(at["K"]), int(at["M"])
    return [[own if k == n else other if k < classes else rest for k in range(tokens)] for n in range(classes)]


def overlap(at: Mapping[str, Any], n: int, j: int) -> Any:
    """f_n.f_j."""
    return Fraction(1) if n == j else at["rho"]


def literal_rates(at: Mapping[str, Any]) -> list[list[Any]]:
    """dw_n/dtau for every class and token, at exponentials X, Z and 1."""
    pulled = [literal_slopes(row, n) for n, row in enumerate(table(at, at["X"], at["Z"], Fraction(1)))]
    classes = range(len(pulled))
    return [
        [sum(overlap(at, n, j) * pulled[j][k] for j in classes) for k in range(int(at["M"]))] for n in classes
    ]  # fmt: skip


def three_values(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """The literal table of rates, and that of the derived three; they add up to 0 in each row."""
    S = value(slopes().partition, at)
    derived = table(at, *(value(part, at) / S for part in logit_rates()))
    return [literal_rates(at), [[sum(row)] * int(at["M"]) for row in derived]], [derived, table(at, 0, 0, 0)]


def planar(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """dA/dtau and dB/dtau from the literal table, and derived."""
    first, S = literal_rates(at)[0], value(slopes().partition, at)
    return [first[0] - first[-1], first[1] - first[-1]], [value(part, at) / S for part in rates()]


def linear_phase(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """d/dphi of s A - m B, and e^-phi times that of (1 - rho) Z e^phi, by dphi/dtau = (1 - rho) Z/S; as claimed."""
    s, m, c = (value(part, at) for part in (ceiling(), along_class(), along_phase()))
    own, other = (value(part, at) for part in rates())
    speed = (1 - at["rho"]) * at["Z"]  # S dphi/dtau
    grown = (1 - at["rho"]) * at["Z"] * (other / speed + 1)  # d/dphi (Z e^phi) e^-phi, dZ = Z dB
    start = [(1 - at["rho"]) - s + at["rho"] * at["M"]]  # Z = 1 at phi = 0
    return [(s * own - m * other) / speed, grown, *start], [c, s, 0]


def time_along(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """d/dphi of (1 - rho) tau, term by term, and S/Z; with X/Z = (v/(1 - rho))^(m/s - 1) y^K divided by its power.

    v = (1 - rho) Z y = s y - rho M, y = e^phi. Of the sum over i the binomial theorem leaves y^(K - 1).
    """
    classes, d = int(at["K"]), 1 - at["rho"]
    s, y = value(ceiling(), at), at["u"] + 1
    v, shared = s * y - at["rho"] * at["M"], at["rho"] * at["M"]
    weights = [
        math.comb(classes - 1, i) * (d / s) ** i * (shared / s) ** (classes - 1 - i) for i in range(classes)
    ]  # fmt: skip
    # d/dv of (d/s) (v/d)^(p + i)/(p + i) is (1/s) (v/d)^(p - 1) (v/d)^i, and dv/dphi = s y
    terms = sum(weight * (v / d) ** i * y for i, weight in enumerate(weights))
    # the logarithm: d/dphi of (d/s) ln(v/d) is d y/v = 1/Z
    return [terms, d * y / v, sum(weights)], [y**classes, 1 / (v / (d * y)), 1]


def literal_force(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """xi = c_n - sum_j (f_n.f_j) c_j, c_j = v_j.(e_n - alpha_n), from literal tables v with leads A, B; and derived."""
    rho, det = at["rho"], value(determinant(), at)
    a = ((1 + rho * (at["K"] - 2)) * at["A"] - rho * (at["K"] - 1) * at["B"]) / det
    b = (at["B"] - rho * at["A"]) / det
    written = table(at, a, b, Fraction(0))
    pulled = literal_slopes(table(at, at["X"], at["Z"], Fraction(1))[0], 0)
    c = [sum(x * y for x, y in zip(row, pulled, strict=True)) for row in written]
    mixed = [sum(overlap(at, 0, j) * written[j][k] for j in range(len(written))) for k in (0, 1)]
    xi = c[0] - sum(overlap(at, 0, j) * c[j] for j in range(len(c)))
    derived = value(force(), at) / (det * value(slopes().partition, at))
    return [xi, *mixed], [derived, at["A"], at["B"]]


def other_force(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """The literal force at A = u, B = 0, Z = 1, and the derived one."""
    there = {**at, "A": at["u"], "B": Fraction(0), "Z": Fraction(1)}
    literal, _ = literal_force(there)
    below = value(determinant(), at) * value(denominator(), at)
    return literal[0], value(reparametrised_force(), at) / below


def both_ends(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """The ratios from the forces at A = u = 1, B = rho, X = Z = 1, and at the ceiling with S/tau = c and M."""
    one, s = Fraction(1), value(ceiling(), at)
    start = {**at, "A": one, "B": at["rho"], "X": one, "Z": one, "u": one}
    early = value(force(), start) / value(reparametrised_force(), start)
    late = {**at, "A": one, "B": Fraction(0), "Z": s / (1 - at["rho"]), "u": one}
    ratio = value(force(), late) / value(along_phase(), at) / (value(reparametrised_force(), late) / at["M"])
    sides = [value(top, at) / value(bottom, at) for top, bottom in (early_ratio(), late_ratio())]
    parts = 1 / (1 - at["rho"]) + (at["M"] - at["K"]) * at["rho"] / (s * (1 + (at["K"] - 1) * at["rho"]))
    return [early, ratio, ratio], [*sides, parts]


def both_limits(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """At rho = 0 s = 1 and c = M; at K = M m = s and c/s = M."""
    none, all_ = {**at, "rho": Fraction(0)}, {**at, "M": at["K"]}
    parts = (ceiling(), along_phase())
    found = [*(value(part, none) for part in parts), value(along_class(), all_) - value(ceiling(), all_)]
    found.append(value(along_phase(), all_) / value(ceiling(), all_))
    return found, [1, at["M"], 0, at["K"]]


THREE, PLANAR, PHASE, TIME = "three values", "planar flow", "a phase makes it linear", "time"
FORCE, OTHER_FORCE, ENDS, LIMITS = "force on distinct tokens", "reparametrised force", "both ends", "no overlap; K = M"


@cache
def derivation() -> Derivation:
    """From the flow of the loss to the orbit, its time and the force."""
    results = {"own": rates()[0], "class": rates()[1], "force": force()}
    return Derivation(STATEMENT, (*orbit_steps(), *force_steps()), results, instance)


def orbit_steps() -> tuple[Step, ...]:
    """The planar flow and its solution."""
    own, other = rates()
    s, m, c = ceiling(), along_class(), along_phase()
    mixed, across, rest = logit_rates()
    return (
        Step(
            THREE,
            "S dw_n/dtau at the own token, at another class's and at one of the rest",
            f"{to_text(mixed)}; {to_text(across)}; {to_text(rest)}; S = {to_text(slopes().partition)}",
            rf"S\dot w_n = \bigl({to_latex(mixed)},\; {to_latex(across)},\; {to_latex(rest)}\bigr)",
            "w_n' = sum_j (f_n.f_j)(e_j - softmax(w_j)); a table of three values moves as a table of the same three, "
            "and the flow from 0 is unique: nothing is left out",
            three_values,
            forms={"own": mixed, "other": across, "rest": rest, "partition": slopes().partition},
        ),
        Step(
            PLANAR,
            "S dA/dtau and S dB/dtau",
            f"{to_text(own)}; {to_text(other)}",
            rf"S\dot A = {to_latex(own)},\quad S\dot B = {to_latex(other)}",
            "A and B are what the own and another class's token have over the rest",
            planar,
            forms={"A": own, "B": other},
        ),
        Step(
            PHASE,
            "d/dphi of (s A - m B) and of (1 - rho) Z e^phi, for dphi/dtau = (1 - rho) Z/S",
            f"c and s e^phi; s = {to_text(s)}, m = {to_text(m)}, c = {to_text(c)}",
            r"sA = mB + c\,\varphi,\quad (1-\rho)\,e^B = s - \rho M e^{-\varphi}",
            "s S dA/dtau - m S dB/dtau = c (1 - rho) Z, and (1 - rho) Z (S dB/dtau + (1 - rho) Z) = s (1 - rho) Z; at "
            "phi = 0 A = B = 0. So e^B grows to s/(1 - rho), and A without bound",
            linear_phase,
            forms={"s": s, "m": m, "c": c},
        ),
        Step(
            TIME,
            "(1 - rho) tau",
            "(K - 1) phi + ((1 - rho)/s) ((M - K) L + E [e^{(m/s + i) L} - 1]/(m/s + i)), L = B + phi, i ~ Binomial(K "
            "- 1, (1 - rho)/s)",
            r"(1-\rho)\tau = (K-1)\varphi + \tfrac{1-\rho}{s}\Bigl((M-K)L + "
            r"\mathbb E\,\frac{e^{(m/s+i)L} - 1}{m/s+i}\Bigr),\ L = B + \varphi",
            "(1 - rho) dtau = (S/Z) dphi, S/Z = K - 1 + (M - K)/Z + X/Z with X = Z^(m/s) e^(c phi/s); v = s e^phi - "
            "rho M makes X/Z a polynomial times a power",
            time_along,
        ),
    )


def force_steps() -> tuple[Step, ...]:
    """What attention feels."""
    top, bottom = early_ratio()
    late_top, late_bottom = late_ratio()
    return (
        Step(
            FORCE,
            "xi S det, det = (1 - rho)(1 + (K - 1) rho)",
            to_text(force()),
            r"\xi S = (K-1)\rho\,\bigl(Z(a-b) - (M-K)\,b\bigr),\quad A = a + \rho(K-1)b,\ B = \rho a + "
            r"(1+\rho(K-2))b",
            "Y = sum_j f_j v_j^T; a distinct token gets f_nl (g_nl - (f_n.g_n) f_nl) with g_nl = f_nl c_n, f_n.g_n = "
            "sum_j (f_n.f_j) c_j and c_j = v_j.(e_n - alpha_n)",
            literal_force,
            forms={"force": force(), "determinant": determinant()},
        ),
        Step(
            OTHER_FORCE,
            "xi (X + M - 1) det in the reparametrised flow",
            to_text(reparametrised_force()),
            r"\xi\,(e^u + M - 1) = \frac{(K-1)\rho\,s\,u}{(1-\rho)(1+(K-1)\rho)}",
            "there Y = F (F^T F)^-1 W with w_n = h (M e_n - 1): A = u, B = 0, Z = 1",
            other_force,
            forms={"force": reparametrised_force()},
        ),
        Step(
            ENDS,
            "xi/xi reparametrised for t -> 0, and for t -> infinity",
            f"({to_text(top)})/({to_text(bottom)}); 1/(1 - rho) + (M - K) rho/(s (1 + (K - 1) rho))",
            r"\frac{(1-\rho)(1+(K-1)\rho)}{s};\qquad \frac1{1-\rho} + \frac{(M-K)\rho}{s\,(1+(K-1)\rho)}",
            "t -> 0: A = u = tau, B = rho tau and S = M. t -> infinity: (1 - rho) Z -> s, B is bounded, A and u are ln "
            "tau + O(1), S/tau -> c and, reparametrised, M",
            both_ends,
            proof="The late ratio is reached as 1/ln tau; for small rho with M rho large it is 2.",
            forms={"early": top, "early_under": bottom, "late": late_top, "late_under": late_bottom},
        ),
        Step(
            LIMITS,
            "(s, c) at rho = 0; (m - s, c/s) at K = M",
            "(1, M); (0, M)",
            r"\rho = 0:\ A = M\varphi,\ B = 0;\qquad K = M:\ A - B = M\varphi",
            "so phi is h of scan-decoder in both: at rho = 0 at the time tau, and at K = M, where no rest is, at the "
            "time (1 - rho) tau. There, and there only, overlap is a smaller learning rate",
            both_limits,
        ),
    )


STATEMENT = Statement(
    identifier="scan-equal-overlaps",
    title="The decoder's flow of the loss at equal overlaps: a planar system, solved",
    latex=r"sA = mB + c\,\varphi,\quad (1-\rho)\,e^B = s - \rho M e^{-\varphi},\quad s = 1+\rho(M-1),\ "
    r"m = M-K+1+\rho(K-1),\ c = M(1+(K-1)\rho)",
    text=(
        "If all K class vectors overlap by rho, the flow of the loss in the decoder gives the logits of a class three "
        "values: what its own token has over the tokens of no class grows without bound, what the tokens of the other "
        "classes have over them tends to ln((1 + rho (M - 1))/(1 - rho)). Orbit and time are closed forms. The "
        "force on attention is at first smaller than the reparametrised flow's by the factor (1 - rho)(1 + (K - 1) "
        "rho)/(1 + rho (M - 1)), and larger in the end."
    ),
    assumptions=(
        "f_n.f_j = rho for all n, j different, 0 <= rho < 1, |f_n| = 1; 2 <= K <= M; every class has probability 1/K",
        "Y(0) = 0; gradient flow of the loss in Y alone, attention frozen",
    ),
    conventions="natural logarithms; the rest are the M - K tokens that no class predicts; tau = eta_Y t/K",
    sources=(Source("tian2023scan", "Lemma 1 (Eq. 7) and Lemma 5"), Source("ours", "the solution and the force")),
    uses=("scan-decoder",),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """Both rates, the force and the orbit, at independent letters X, Z, A, B, phi, rho, K, M."""
    parts = {
        "A": rates()[0], "B": rates()[1], "partition": slopes().partition, "force": force(),
        "determinant": determinant(), "s": ceiling(), "m": along_class(), "c": along_phase(),
    }  # fmt: skip
    mistaken = {"M": ("K",), "K": ("M",), "X": ("Z",), "Z": ("X",), "A": ("B",), "B": ("A",)}
    return Formula(parts, quantities, Vocabulary(mistaken))


def quantities(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """(dA/dtau, dB/dtau, xi, A of the orbit)."""
    found = {name: evaluate(part, values) for name, part in parts.items()}
    S, det, s = found["partition"], found["determinant"], found["s"]
    if 0 in (S, det, s):
        raise ValueError("need denominators different from 0")
    orbit = (found["m"] * values["B"] + found["c"] * values["phi"]) / s
    return np.array([found["A"] / S, found["B"] / S, found["force"] / (det * S), orbit]).reshape(4)


def points(name: str) -> list[dict[str, Any]]:
    """Rational letters, M and K whole."""
    found = []
    for k in range(4):
        draw = random.Random(f"{name}/overlaps/{k}")
        letters = {one: Fraction(draw.randint(1, 900), 211) for one in ("X", "Z", "A", "B", "phi")}
        letters |= {one: Fraction(draw.randint(2, 60)) for one in ("M", "K")}
        letters["rho"] = Fraction(draw.randint(1, 99), 100)
        found.append({one: np.array(x, dtype=object) for one, x in letters.items()})
    return found


# For a user, in float64

MOST_CLASSES = 1_000_000


class Setting(NamedTuple):
    """M, K and rho, with the constants of the orbit."""

    M: float
    K: float
    rho: float

    def exactly(self, part: TracePolynomial, **letters: float | Fraction) -> Fraction:
        """A polynomial in M, K, rho and further letters at these very floats: near rho = 1 its terms cancel."""
        given = {"M": self.M, "K": self.K, "rho": self.rho, **letters}
        exact = {name: np.array(Fraction(number), dtype=object) for name, number in given.items()}
        found: Any = np.asarray(evaluate(part, exact), dtype=object)
        return Fraction(found[()])

    def constant(self, part: TracePolynomial) -> float:
        return float(self.exactly(part))


def class_lead(at: Setting, phi: float) -> float:
    """B at a phase."""
    return math.log1p(-at.rho * at.M * math.expm1(-phi) / (1 - at.rho))


def own_lead(at: Setting, phi: float) -> float:
    """A at a phase."""
    s, m, c = (at.constant(part) for part in (ceiling(), along_class(), along_phase()))
    return (m * class_lead(at, phi) + c * phi) / s


def phase_of(at: Setting, B: float) -> float:
    """The phase at which another class's token has the lead B; needs rho > 0."""
    return -math.log1p(-(1 - at.rho) * math.expm1(B) / (at.rho * at.M))


def log_time(at: Setting, phi: float) -> float:
    """ln tau at a phase above 0: tau is a sum of positive terms, its relative error some 1e-13 for K up to 1000."""
    from scipy.special import gammaln, logsumexp, xlogy  # costs a tenth of a second, and most verbs never need it

    s, d = at.constant(ceiling()), 1 - at.rho
    i = np.arange(int(at.K))
    chosen = gammaln(at.K) - gammaln(i + 1) - gammaln(at.K - i)
    weights = chosen + xlogy(i, d / s) + xlogy(at.K - 1 - i, at.rho * at.M / s)
    L, powers = class_lead(at, phi) + phi, at.constant(along_class()) / s + i
    grown = powers * L + np.log(-np.expm1(-powers * L)) - np.log(powers)
    plain = (at.K - 1) * phi + d / s * (at.M - at.K) * L
    return float(np.logaddexp(math.log(plain), math.log(d / s) + logsumexp(weights + grown)) - math.log(d))


@lru_cache(maxsize=1024)
def phase_at(at: Setting, reached: float) -> float:
    """The phase at a time tau, relative error some 1e-13."""
    from scipy.optimize import brentq

    if reached == 0:
        return 0.0
    # The slope S/Z of (1 - rho) tau by phi is at least K; it is M at the start and grows at most as e^(M phi).
    high = math.log((1 - at.rho) * reached / at.K)
    low, target = min(high, 0.0) - 1, math.log(reached)
    while log_time(at, math.exp(low)) > target:
        low -= 2
    # in logarithms, so that small phases keep their digits
    found = brentq(
        lambda x: log_time(at, math.exp(x)) - target, low, max(high, low) + 1e-9, xtol=1e-15, rtol=1e-15
    )  # fmt: skip
    return math.exp(found)


def check_overlap(value_given: Any) -> float:
    """0 <= rho < 1. Raises AssumptionError."""
    rho = check_number(value_given, "overlap")
    if not 0 <= rho < 1:
        raise AssumptionError(
            f"overlap is rho = f_n.f_j of different class vectors and needs 0 <= rho < 1, got {rho:g}; at rho = 1 the "
            "classes cannot be told apart"
        )
    return rho


def check_setting(classes: Any, frequency: Any, overlap_given: Any) -> Setting:
    """2 <= K <= M and rho. Raises AssumptionError."""
    M_given, K_given = check_vocabulary(classes), check_count(frequency)
    if not 2 <= K_given <= M_given:
        raise AssumptionError(
            f"need 2 <= K <= M for classes that overlap and predict different tokens, got K = {K_given} and M = "
            f"{M_given}; one class alone is scan-decoder"
        )
    if K_given > MOST_CLASSES:
        raise AssumptionError(
            f"frequency needs at most {MOST_CLASSES} classes, over which the time is a sum, got {K_given}"
        )
    return Setting(float(M_given), float(K_given), check_overlap(overlap_given))


def for_user(classes: Any, frequency: Any, overlap: Any, learning_rate: Any, time: Any) -> dict[str, Any]:
    """Leads, error and both forces at a time, and the ratios of the forces at both ends. Raises AssumptionError.

    >>> for_user(4, 2, 0.5, 1.0, 0.0)["early_ratio"]
    0.3
    """
    at = check_setting(classes, frequency, overlap)
    eta, t = check_positive(learning_rate, "learning_rate"), check_time(time)
    reached = eta * (t / at.K)
    if reached > 1e300:
        raise AssumptionError(f"learning_rate times time over K needs to be below 1e300, got {reached:g}; shorten it")
    return {**numbers_at(at, reached), **ratios(at)}


def numbers_at(at: Setting, reached: float) -> dict[str, float]:
    """Leads over the rest, error, and the forces of both flows at tau."""
    phi = phase_at(at, reached)
    own, other, lead = own_lead(at, phi), class_lead(at, phi), lead_at(at.M, reached)
    # A - B from the phase: of the two leads as floats near rho = 1 nothing would be left
    c, m, s = (at.exactly(part) for part in (along_phase(), along_class(), ceiling()))
    exact_own = (m * Fraction(other) + c * Fraction(phi)) / s
    S, det = (X_plus(at, own, other), at.exactly(determinant()))
    below = float(evaluate(denominator(), {"X": math.exp(lead), "M": at.M}))
    pulled = at.exactly(force(), A=exact_own, B=other, Z=math.exp(other)) / det
    return {
        "own_lead": own,
        "class_lead": other,
        "error": ((at.K - 1) * math.exp(other) + at.M - at.K) / S,
        "force": float(pulled) / S,
        "reparametrised_force": float(at.exactly(reparametrised_force(), u=lead) / det) / below,
    }


def X_plus(at: Setting, own: float, other: float) -> float:
    """S."""
    letters = {"X": math.exp(own), "Z": math.exp(other), "M": at.M, "K": at.K}
    return float(evaluate(slopes().partition, letters))


def ratios(at: Setting) -> dict[str, float]:
    """The limit of e^B; the force in the flow of the loss over the reparametrised one, for t -> 0 and -> infinity."""
    early, late = ([at.exactly(part) for part in pair] for pair in (early_ratio(), late_ratio()))
    return {
        "class_limit": at.constant(ceiling()) / (1 - at.rho),
        "early_ratio": float(early[0] / early[1]),
        "late_ratio": float(late[0] / late[1]),
    }


def leads_at(at: Setting, times: Sequence[float]) -> list[tuple[float, float]]:
    """(A, B) at times tau."""
    phases = [phase_at(at, one) for one in times]
    return [(own_lead(at, phi), class_lead(at, phi)) for phi in phases]
