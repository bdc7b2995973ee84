"""Obligations of snap: the literal layer with two distinct tokens a class, its flow, and what follows from it.

x stands for e^u and m for M - 1; derivatives along u go by the rule x' = x. Everything is exact in symbols: the random
points that an identity takes as well add nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..engines.identities import Identity
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from ..engines.ratios import Ratio, difference, ratio_of
from ..engines.relations import Relation, Relations
from .obligation import ClaimObligations, Forms, Obligation, Rational
from .small_instances import determinant

DECODER, NORMALISATION, FORCE, CLOCK = "decoder", "normalisation", "force", "clock"
LAW, OVERLAP, SLOWING, LATE = "law", "small overlap", "slowing", "late times"
CLASSES = (2, 3, 4, 5)
DEGREE = 200  # factors in a term of the longest identity: K = 4 classes, all fractions multiplied out


def scalars(*names: str) -> dict[str, Kind]:
    return dict.fromkeys(names, "scalar")


def exact(difference_at: Callable[[Point], Any], *names: str) -> Identity:
    """All letters are symbols."""
    return Identity(difference_at, {}, scalars(*names), 1, DEGREE, components=(1,))


def over_one(point: Point, value: Any) -> Ratio:
    return Ratio(point.one * value, point.one)


def form_at(forms: Forms, step: str, name: str, point: Point, **replaced: Any) -> Ratio:
    """A form at a point, some letters replaced by ring elements or by ratios of degree one in the form's letters."""
    return ratio_of(forms.quotient(step, name), {**point.values, **replaced}, point.one)


def along_u(point: Point) -> tuple[tuple[int, Any], tuple[int, Any]]:
    """d/du where x = e^u."""
    (u,), (x,) = point.numbers["u"], point.numbers["x"]
    return (u, point.one), (x, point["x"])


# Decoder


def residual(point: Point) -> tuple[Ratio, Ratio]:
    """(e_n - alpha_n) at n and elsewhere: softmax where one exponential is x times the m others."""
    total = point["x"] + point["m"]
    return over_one(point, 1) - Ratio(point["x"], total), -Ratio(point.one, total)


def softmax_obligation(forms: Forms) -> Identity:
    def at(point: Point) -> list[Any]:
        own, rest = residual(point)
        rate = form_at(forms, DECODER, "rate", point)
        return [difference(own, rate * point["m"]), difference(rest, -rate)]  # M e_n - 1 is m at n, -1 elsewhere

    return exact(at, "x", "m")


def time_obligation(forms: Forms) -> Identity:
    """dtau/du M rate = 1, and tau = 0 at u = 0."""

    def at(point: Point) -> list[Any]:
        time, rate = (form_at(forms, DECODER, name, point) for name in ("time", "rate"))
        speed = rate * (point["m"] + 1)
        start = form_at(forms, DECODER, "time", point, u=point.one * 0, x=point.one)
        return [difference(time.derivative(*along_u(point)) * speed, over_one(point, 1)), start.top]

    return exact(at, "u", "x", "m")


def normalisation_obligation(forms: Forms) -> Identity:
    """d/de at e = 0 of u_l (1 + 2 e v_l)/sum_k u_k (1 + 2 e v_k), three tokens."""
    del forms

    def at(point: Point) -> list[Any]:
        e = point["e"]
        (place,) = point.numbers["e"]
        squares, moves = ([point[f"{name}{k}"] for k in (1, 2, 3)] for name in ("u", "v"))
        moved = [s * (point.one + e * v * 2) for s, v in zip(squares, moves, strict=True)]
        N, now = sum(moved[1:], moved[0]), sum(squares[1:], squares[0])
        mean = Ratio(sum((s * v for s, v in zip(squares, moves, strict=True)), point.one * 0), now)
        found = []
        for s, v, s_moved in zip(squares, moves, moved, strict=True):
            rate = Ratio(s_moved, N).derivative((place, point.one))
            start = Ratio(*(part.subs({"e": 0}) for part in (rate.top, rate.bottom)))
            found.append(difference(start, Ratio(s * 2, now) * (over_one(point, v) - mean)))
        return found

    return exact(at, "e", *(f"{name}{k}" for name in ("u", "v") for k in (1, 2, 3)))


# The layer, literally


def pull_obligation(forms: Forms) -> Identity:
    """w_j.(e_n - alpha_n) = c (1 - 1/M) for j = n and -c/M else, w_j = (u/M)(M e_j - 1), c = M u/(x + m)."""
    del forms

    def at(point: Point) -> list[Any]:
        own, rest = residual(point)
        m, M = point["m"], point["m"] + 1
        high, low = Ratio(point["u"] * m, M), -Ratio(point["u"], M)
        pull = Ratio(M * point["u"], point["x"] + m)
        return [
            difference(high * own + low * rest * m, pull * Ratio(m, M)),
            difference(high * rest + low * own + low * rest * (m - 1), -pull / M),
        ]

    return exact(at, "u", "x", "m")


def solved(rows: Sequence[Sequence[Any]], right: Sequence[Any]) -> tuple[list[Any], Any]:
    """Numerators and the common denominator of the solution of a linear system, by Cramer's rule."""
    size = len(rows)

    def with_column(j: int) -> Matrix:
        return Matrix(tuple(tuple(right[i] if c == j else rows[i][c] for c in range(size)) for i in range(size)))

    return [determinant(with_column(j)) for j in range(size)], determinant(Matrix(tuple(map(tuple, rows))))


def literal_velocities(point: Point, K: int) -> tuple[Ratio, Ratio]:
    """Velocities of z_C and z_1 in units of c eta_Z/K: scores a, b_1, b_2 of every class, G = (scores scores^T)/N.

    g_n = F v with N v = top/(M det), and f_l (g_l - (f.g) f_l) = c_l (N g_l - (c.g) c_l)/N^2 for g in units of scores.
    """
    a, b1, b2 = (point[name] for name in ("a", "b1", "b2"))
    C, S, M, one = a * a, b1 * b1 + b2 * b2, point["m"] + 1, point.one
    N = C + S
    gram = [[N if i == j else C for j in range(K)] for i in range(K)]
    common, distinct = one * 0, one * 0
    for n in range(K):
        tops, whole = solved(gram, [point["m"] if j == n else -one for j in range(K)])
        every = sum(tops[1:], tops[0])
        along = every * C + tops[n] * S
        common = common + C * (every * N - along)
        if n == 0:
            distinct = b1 * b1 * (tops[n] * N - along)
    return Ratio(common, whole * M * N), Ratio(distinct, whole * M * N)


def literal_obligation(K: int) -> Callable[[Forms], Identity]:
    def prepare(forms: Forms) -> Identity:
        def at(point: Point) -> list[Any]:
            C, first, second = (point[name] * point[name] for name in ("a", "b1", "b2"))
            there = {"C": C, "S": first + second, "q": first, "K": point.one * K}
            derived = [form_at(forms, FORCE, name, point, **there) for name in ("common", "distinct")]
            literal = literal_velocities(point, K)
            return [difference(x, y) for x, y in zip(literal, derived, strict=True)]

        return exact(at, "a", "b1", "b2", "m")

    return prepare


def every_class_obligation(forms: Forms) -> Identity:
    """For every K: G v = e_n - 1/M has the entries own = force + 1 - 1/M at n, and other, from common, elsewhere."""

    def at(point: Point) -> list[Any]:
        K, C, N, m = point["K"], point["C"], point["C"] + point["S"], point["m"]
        force, common, distinct = (form_at(forms, FORCE, name, point) for name in ("force", "common", "distinct"))
        own = force + Ratio(m, m + 1)
        other = (common * Ratio(N, K * C) - force) / (K - 1)
        rho = Ratio(C, N)
        return [
            difference(own + other * rho * (K - 1), Ratio(m, m + 1)),
            difference(own * rho + other * (rho * (K - 2) + 1), -Ratio(point.one, m + 1)),
            difference(distinct, force * Ratio(point["q"], N)),
            difference(common, -force * K * Ratio(point["S"], N)),
        ]

    return exact(at, "C", "S", "K", "m", "q")


# Clock and law


def clock_obligation(forms: Forms) -> Identity:
    def at(point: Point) -> list[Any]:
        force, common, distinct = (form_at(forms, FORCE, name, point) for name in ("force", "common", "distinct"))
        rate, fall, strength = (form_at(forms, CLOCK, name, point) for name in ("rate", "fall", "strength"))
        speed = force * 2 / (point["C"] + point["S"])
        # u_l = q: (1/u)' = -2 z'/u
        return [
            difference(rate * speed * point["q"], -distinct * 2),
            difference(fall * speed, common * 2),
            difference(strength * speed, force),
        ]

    return exact(at, "C", "S", "K", "m", "q")


def closed_obligation(forms: Forms) -> Identity:
    """The reciprocal's slope is rate and its start 1/q; fall is the slope of K sum_l ln reciprocal_l, three tokens."""

    def at(point: Point) -> list[Any]:
        (sigma,) = point.numbers["sigma"]
        rate = form_at(forms, CLOCK, "rate", point)
        start = form_at(forms, CLOCK, "reciprocal", point, sigma=point.one * 0)
        total, logarithm = over_one(point, 0), over_one(point, 0)
        for k in (1, 2, 3):
            one = form_at(forms, CLOCK, "reciprocal", point, q=point[f"q{k}"])
            total = total + over_one(point, 1) / one
            logarithm = logarithm + one.derivative((sigma, point.one)) / one * point["K"]
        fall = form_at(forms, CLOCK, "fall", point, S=point["S"])
        slope = form_at(forms, CLOCK, "reciprocal", point).derivative((sigma, point.one))
        return [
            difference(slope, rate),
            difference(start, Ratio(point.one, point["q"])),
            difference(logarithm * point["S"], fall * total),  # fall is linear in S: at S = total it is logarithm
            fall.top.subs({"S": 0}),
        ]

    return exact(at, "sigma", "q", "q1", "q2", "q3", "K", "S")


def law_obligation(forms: Forms) -> Identity:
    """d drive/du = 2 (eta_Z/K) c dt/du with c = M u/(x + m), dt = (K/eta_Y) du/(M rate); and drive = 0 at u = 0."""

    def at(point: Point) -> list[Any]:
        (u,) = point.numbers["u"]
        drive, rate = form_at(forms, LAW, "drive", point), form_at(forms, DECODER, "rate", point)
        M = point["m"] + 1
        pull = Ratio(M * point["u"], point["x"] + point["m"])
        slowness = Ratio(point["K"], point["eta_Y"] * M) / rate
        return [
            difference(drive.derivative((u, point.one)), pull * slowness * Ratio(point["eta_Z"] * 2, point["K"])),
            form_at(forms, LAW, "drive", point, u=point.one * 0).top,
        ]

    return exact(at, "u", "x", "m", "K", "eta_Y", "eta_Z")


# What follows


def overlap_obligation(forms: Forms) -> Identity:
    """force = leading (1 + r/(M rho))/(r (1 + (K - 1) rho)) with r = 1 - rho."""

    def at(point: Point) -> list[Any]:
        rho, K, M = point["rho"], point["K"], point["m"] + 1
        r = point.one - rho
        derived = form_at(forms, FORCE, "force", point, C=rho, S=r)
        force = form_at(forms, OVERLAP, "force", point, r=r)
        leading = form_at(forms, OVERLAP, "leading", point)
        return [
            difference(derived, force),
            difference(derived, leading * Ratio(M * rho + r, M * rho) / (r * (point.one + (K - 1) * rho))),
        ]

    return exact(at, "rho", "K", "m")


def solution_obligation(forms: Forms) -> Identity:
    """y = e^{-4 z_C}, rho^2 = rho0^2/y, z_C' = -K leading/2: y' = 4 y K leading/2 is constant; y = 1 at s = 0."""

    def at(point: Point) -> list[Any]:
        (s,) = point.numbers["s"]
        solution = form_at(forms, OVERLAP, "solution", point)
        start = form_at(forms, OVERLAP, "leading", point, rho=point["rho0"])
        scaled = form_at(forms, OVERLAP, "leading", point, rho=point["rho0"] * point["f"])  # y = f^-2
        return [
            difference(solution.derivative((s, point.one)), start * point["K"] * 2),
            difference(scaled, start * point["f"] * point["f"]),
            difference(form_at(forms, OVERLAP, "solution", point, s=point.one * 0), over_one(point, 1)),
        ]

    return exact(at, "s", "rho0", "K", "f")


def slope_obligation(forms: Forms) -> Identity:
    """d/du u/(x + m) = slope/(x + m)^2."""

    def at(point: Point) -> Any:
        total = point["x"] + point["m"]
        found = Ratio(point["u"], total).derivative(*along_u(point))
        return difference(found * total * total, form_at(forms, SLOWING, "slope", point))

    return exact(at, "u", "x", "m")


def rise_obligation(forms: Forms) -> Identity:
    """The slope of the force at C = y, S = 1 times M (1 + K y)^2 is (K - 1) rise."""

    def at(point: Point) -> Any:
        (y,) = point.numbers["y"]
        found = form_at(forms, FORCE, "force", point, C=point["y"], S=point.one).derivative((y, point.one))
        bottom = point.one + point["K"] * point["y"]
        rise = form_at(forms, SLOWING, "rise", point)
        return difference(found * (point["m"] + 1) * bottom * bottom, rise * (point["K"] - 1))

    return exact(at, "y", "K", "m")


def homogeneous_obligation(forms: Forms) -> Identity:
    """The force depends on C/S alone."""

    def at(point: Point) -> Any:
        scaled = form_at(forms, FORCE, "force", point, C=point["C"] * point["f"], S=point["S"] * point["f"])
        return difference(scaled, form_at(forms, FORCE, "force", point))

    return exact(at, "C", "S", "K", "m", "f")


def positive_obligation(forms: Forms) -> Relations:
    """rise has no negative coefficient, and one that is positive."""

    def ask() -> list[Relation]:
        top, bottom = forms.quotient(SLOWING, "rise")
        signs = [term.coefficient > 0 for part in (top, bottom) for term in part.terms]
        return [Relation("negative coefficients of rise", signs.count(False), "=", 0)]

    return Relations(ask)


def late_obligation(forms: Forms) -> Relations:
    """Orders in e and leading coefficients of (C + S)/(force q) at C = p e^{k K}, S = k q/e, for small K and k."""

    def ask() -> list[Relation]:
        found = []
        for K, k in ((2, 1), (3, 1), (2, 2), (3, 2)):
            for p, q, m in ((2, 3, 4), (5, 7, 9)):
                found += late_relations(forms, K, k, p, q, m)
        return found

    return Relations(ask)


def late_relations(forms: Forms, K: int, k: int, p: int, q: int, m: int) -> list[Relation]:
    from ..engines.points import make_point

    point = make_point({}, 1, None, scalars("e"))
    e, one = point["e"], point.one
    # times e: C e = p e^{k K + 1}, S e = k q, and the force depends on C/S alone
    C, S = p * e ** (k * K + 1), one * (k * q)
    at = {"C": C, "S": S, "K": one * K, "m": one * m}
    rate = Ratio(C + S, e * q) / ratio_of(forms.quotient(FORCE, "force"), at, one)
    order, leading = order_of(rate.top), coefficient_of(rate.top) / coefficient_of(rate.bottom)
    numbers = {"K": one * K, "o": one * (K - 1), "k": one * k, "p": one * p, "q": one * q, "m": one * m}
    power, coefficient, exponent = (
        number_of(forms, name, numbers, one) for name in ("power", "coefficient", "exponent")
    )
    where = f"K = {K}, k = {k}, p = {p}, q = {q}, M = {m + 1}"
    return [
        Relation(f"order in 1/e at {where}", order_of(rate.bottom) - order, "=", power),
        Relation(f"leading coefficient at {where}", leading, "=", coefficient),
        Relation(f"exponent (power - 1) at {where}", exponent * (power - 1), "=", 2),
    ]


def every_late_obligation(forms: Forms) -> Identity:
    """For every K and k, with the letter w for e^{k K}: the rate's order in w is -1, in e it is -2 beside.

    Times e the scores are C = p e w and S = k q. Where the bottom vanishes at w = 0 the rate times w is there top over
    the bottom's slope in w.
    """

    def at(point: Point) -> list[Any]:
        e, one, K, k, q = (point[name] if name != "1" else point.one for name in ("e", "1", "K", "k", "q"))
        (place,) = point.numbers["w"]
        C, S = point["p"] * e * point["w"], k * q
        rate = Ratio(C + S, e * q) / form_at(forms, FORCE, "force", point, C=C, S=S)
        at_zero = rate.bottom.subs({"w": 0})
        leading = Ratio(rate.top.subs({"w": 0}) * e * e, rate.bottom.derivative(place).subs({"w": 0}))
        power, exponent = (form_at(forms, LATE, name, point) for name in ("power", "exponent"))
        coefficient = form_at(forms, LATE, "coefficient", point, o=K - one)
        return [
            at_zero,
            difference(leading, coefficient),
            difference(power, over_one(point, k * K + 2)),
            difference(exponent * (power - 1), over_one(point, 2)),
        ]

    return exact(at, "e", "w", "p", "q", "k", "K", "m")


def order_of(polynomial: Any) -> int:
    """The lowest power of e."""
    return min(int(powers[0]) for powers in polynomial.to_dict())


def coefficient_of(polynomial: Any) -> Any:
    """That of the lowest power."""
    return {int(powers[0]): value for powers, value in polynomial.to_dict().items()}[order_of(polynomial)]


def number_of(forms: Forms, name: str, numbers: dict[str, Any], one: Any) -> Any:
    found = ratio_of(forms.quotient(LATE, name), numbers, one)
    return found.top.leading_coefficient() / found.bottom.leading_coefficient()


def kinds(**symbols: str) -> dict[str, Rational]:
    """Forms by name, with the letters of each."""
    return {name.replace("_", " "): Rational(frozenset(letters.split())) for name, letters in symbols.items()}


TRUSTED = (
    "The layer, its loss and the reparametrised decoder as proofs_check/obligations/scan_snap.py states them.",
    "That symmetric starts stay symmetric, and uniqueness of the flow.",
    f"In words: that signs of slopes give falling functions ({SLOWING!r}), and the asymptotics from leading orders "
    f"({LATE!r}; u/ln t -> 1). The law for small overlap is an approximation: its exact "
    "correction factors are certified.",
    "e^u enters as a letter x with x' = x.",
)


def obligations() -> ClaimObligations:
    """The eight steps."""
    return ClaimObligations(
        "snap",
        ("K classes alike with one common token, one query, T -> infinity; reparametrised flow from Y = Z = 0",),
        {
            DECODER: kinds(rate="x m", time="x m u"),
            NORMALISATION: {},
            FORCE: kinds(force="C S K m", common="C S K m", distinct="C S K m q"),
            CLOCK: kinds(rate="", fall="K S", strength="C S", reciprocal="q sigma"),
            LAW: kinds(drive="u eta_Y eta_Z"),
            OVERLAP: kinds(force="rho r K m", leading="rho K", solution="rho0 s K"),
            SLOWING: kinds(slope="u x m", rise="y K m"),
            LATE: kinds(power="k K", coefficient="o k m p q", exponent="k K"),
        },
        (
            Obligation(
                DECODER, "softmax at logits (u/M)(M e_n - 1): e_n - alpha_n = rate (M e_n - 1)", softmax_obligation
            ),
            Obligation(DECODER, "dtime/du M rate = 1, time = 0 at u = 0", time_obligation),
            Obligation(
                NORMALISATION, "(f_l^2)' = 2 f_l^2 (z_l' - sum f_k^2 z_k'), three tokens", normalisation_obligation
            ),
            Obligation(FORCE, "w_j.(e_n - alpha_n) = c (delta_jn - 1/M)", pull_obligation),
            *(
                Obligation(
                    FORCE, f"common and distinct are the literal layer's velocities, K = {K}", literal_obligation(K)
                )
                for K in CLASSES
            ),
            Obligation(FORCE, "force, common and distinct solve G v = e_n - 1/M, every K", every_class_obligation),
            Obligation(CLOCK, "rate, fall and strength follow from the velocities", clock_obligation),
            Obligation(CLOCK, "reciprocal has the slope rate, and fall that of K sum ln reciprocal", closed_obligation),
            Obligation(LAW, "ddrive = 2 (eta_Z/K) c dt", law_obligation),
            Obligation(OVERLAP, "force = leading (1 + r/(M rho))/(r (1 + (K - 1) rho))", overlap_obligation),
            Obligation(OVERLAP, "solution' = 4 solution K leading/2 at rho = rho0/sqrt(solution)", solution_obligation),
            Obligation(SLOWING, "d/du u/(x + m) = slope/(x + m)^2", slope_obligation),
            Obligation(SLOWING, "force depends on C/S alone", homogeneous_obligation),
            Obligation(SLOWING, "its slope is (K - 1) rise/(M (1 + K C/S)^2)", rise_obligation),
            Obligation(SLOWING, "rise has no negative coefficient", positive_obligation),
            Obligation(LATE, "leading order of N/(force q) at u_l = q/e, for small K and k", late_obligation),
            Obligation(LATE, "the same for every K and k, e^{k K} as a letter of its own", every_late_obligation),
        ),
        TRUSTED,
    )
