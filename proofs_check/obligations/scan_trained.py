r"""Obligations of scan-trained: the series of a normalised vector, averaged over one key, against the derived terms.

The route starts again from f = (q + y)/|q + y|, y = w o (e_i - p): with t = (2 q.y + y.y)/q.q the series
(1 + t)^(-1/2) = 1 - t/2 + 3 t^2/8 - .. gives the part of degree 2 in y without any derivative, times |q|. Its mean over
the law of one key is c |q|. Everything is multiplied by powers of q.q, so that it is polynomial in p, o and w.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flint

from ..engines.expressions import Quotient, evaluate
from ..engines.identities import Identity
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from ..engines.ratios import Ratio, difference
from .fixed_point import half
from .obligation import ClaimObligations, Forms, Obligation, Rational

VECTOR, OVERLAP, FORCE = "class vector of a sample", "overlap with another class", "force of a potential"
THROUGH, OWN, MOMENTUM = "through one class", "one class alone", "steps with momentum"
# Numerator and denominator of a form of at most 12 factors, whose sums over tokens have degree 3, beside the series
# times (q.q)^3: far below.
DEGREE = 60
Entries = Sequence[Any]


def entries(vector: Matrix) -> list[Any]:
    return list(vector.entries())


def dot(a: Entries, b: Entries) -> Any:
    return sum((x * y for x, y in zip(a[1:], b[1:], strict=True)), a[0] * b[0])


def second_order(q: Entries, y: Entries) -> list[Any]:
    """|q| (q.q)^2 times the part of degree 2 in y of (q + y)/|q + y|.

    With t = a + b, a = 2 q.y/q.q and b = y.y/q.q: q (3 a^2/8 - b/2) - y a/2.
    """
    square, cross, own = dot(q, q), dot(q, y), dot(y, y)
    along = cross * cross * 3 - own * square
    return [half(x * along) - z * cross * square for x, z in zip(q, y, strict=True)]


def mean_over_one_key(p: Entries, w: Entries, one: Any) -> list[Any]:
    """(q.q)^2 |q| c for q = w o p: the mean of it over y = w o (e_i - p), i with probability p_i/sum p.

    For p that do not add up to 1 the key's law is p/s and y = w o (s e_i - p), s = sum p: then c is that of p/s, and so
    is the sum below once it is divided by s. Here it is not: what the forms say needs sum p = 1, see `normalised`.
    """
    q = [a * b for a, b in zip(w, p, strict=True)]
    total = [one * 0 for _ in p]
    for i, chance in enumerate(p):
        y = [-x for x in q]
        y[i] = y[i] + w[i]
        total = [x + chance * z for x, z in zip(total, second_order(q, y), strict=True)]
    return total


def normalised(vector: Matrix, one: Any) -> list[Any]:
    """Entries that add up to 1: the first one makes up for the others."""
    listed = entries(vector)
    rest = sum(listed[1:], one * 0)
    return [one - rest, *listed[1:]]


def sums(p: Entries, o: Entries) -> dict[str, Any]:
    squares = [x * x for x in p]
    return {"s2": dot(p, p), "s3": dot(squares, p), "x1": dot(p, o), "x2": dot(squares, o)}


def parts(form: Quotient, point: Point, values: dict[str, Any]) -> tuple[Any, Any]:
    """Numerator and denominator at given letters."""
    known = {**point.values, **values}
    return evaluate(form.numerator, known, point.one), evaluate(form.denominator, known, point.one)


def over_laws(difference: Any) -> Identity:
    """For all laws p and o on up to four tokens by symbols, and on six at a random point."""
    return Identity(difference, {"p": "vector", "o": "vector"}, {}, 6, DEGREE, 0, (1, 2, 3))


def vector_obligation(forms: Forms) -> Identity:
    form = forms.quotient(VECTOR, "velocity")

    def differences(point: Point) -> list[Any]:
        one = point.one
        p, o = (normalised(point[name], one) for name in ("p", "o"))
        mean, found = mean_over_one_key(p, [one] * len(p), one), []
        for token, value in zip(p, mean, strict=True):
            top, bottom = parts(form, point, {**sums(p, o), "p": token})
            found.append(value * bottom - top * dot(p, p) ** 2)
        return found

    return over_laws(differences)


def overlap_at(p: Entries, o: Entries, w: Entries, one: Any) -> Any:
    """(q.q)^2 |q| c.o."""
    return dot(o, mean_over_one_key(p, w, one))


def overlap_obligation(forms: Forms) -> Identity:
    form = forms.quotient(OVERLAP, "overlap")

    def difference(point: Point) -> Any:
        one = point.one
        p, o = normalised(point["p"], one), normalised(point["o"], one)
        top, bottom = parts(form, point, sums(p, o))
        return overlap_at(p, o, [one] * len(p), one) * bottom - top * dot(p, p) ** 2

    return over_laws(difference)


def first_order(made: Any) -> Any:
    """The coefficient of e in a polynomial of e of degree at most 9, from its values at ten whole numbers."""
    places = list(range(10))
    total: Any = None
    for at in places:
        others = [other for other in places if other != at]
        # Lagrange's polynomial of `at`: its coefficient of e, from the product of (e - other)/(at - other)
        linear = flint.fmpq_poly([1])
        for other in others:
            linear *= flint.fmpq_poly([flint.fmpq(-other, at - other), flint.fmpq(1, at - other)])
        value = made(at) * linear[1]
        total = value if total is None else total + value
    return total


def through_obligation(forms: Forms) -> Identity:
    """w_l = 1 + e: V = (q.q)^2 |q| c.o and B = q.q are polynomials in e; |q| d(V B^-5/2) = (V' B - 5 V B'/2)/B^3."""
    form = forms.quotient(THROUGH, "through")

    def difference(point: Point) -> Any:
        one = point.one
        p, o = normalised(point["p"], one), normalised(point["o"], one)

        def weights(e: int) -> list[Any]:
            return [one * (1 + e), *[one] * (len(p) - 1)]

        slope = first_order(lambda e: overlap_at(p, o, weights(e), one))
        square, moved = dot(p, p), p[0] * p[0] * 2
        value = overlap_at(p, o, [one] * len(p), one)
        derived = slope * square - half(value * moved * 5)
        top, bottom = parts(form, point, {**sums(p, o), "p": p[0], "o": o[0]})
        return derived * bottom - top * square**3

    return over_laws(difference)


def own_obligation(forms: Forms) -> Identity:
    """K = c.f at weights w: (q.q)^3 K is overlap_at with o = q; its slope at w_l = 1 + e, and the sum over tokens."""
    form = forms.quotient(OWN, "own")

    def differences(point: Point) -> list[Any]:
        one = point.one
        p, found, total, common = normalised(point["p"], one), [], one * 0, None
        square = dot(p, p)
        for place, token in enumerate(p):
            top, bottom = parts(form, point, {**sums(p, p), "p": token})
            total, common = total + top, bottom
            if place == 0:
                slope = first_order(lambda e: own_overlap(p, e, one))
                value = overlap_at(p, p, [one] * len(p), one)
                derived = slope * square - value * token * token * 6  # 3 K B'/B with B' = 2 p^2
                found.append(derived * bottom - top * square**4)
        assert common is not None
        return [*found, total]

    return over_laws(differences)


def own_overlap(p: Entries, e: int, one: Any) -> Any:
    """(q.q)^3 c.f at w = (1 + e, 1, ..)."""
    w = [one * (1 + e), *[one] * (len(p) - 1)]
    q = [a * b for a, b in zip(w, p, strict=True)]
    return overlap_at(p, q, w, one)


def force_obligation(forms: Forms) -> Identity:
    """Two samples each of two classes: the pull f o (g - (f.g) f) along v against the slope of the product of means.

    For f = a/|a| and da = v o a. The pull of class 1 through the mean F of another is F.df, linear in F: what has to
    hold is F.d(a/|a|) |a|^3 = (F.da)(a.a) - (F.a)(a.da).
    """
    del forms

    def difference(point: Point) -> Any:
        a, F, v = (entries(point[name]) for name in ("a", "F", "v"))
        da = [x * y for x, y in zip(v, a, strict=True)]
        squared = dot([x + y for x, y in zip(a, da, strict=True)], [x + y for x, y in zip(a, da, strict=True)])
        back = dot([x - y for x, y in zip(a, da, strict=True)], [x - y for x, y in zip(a, da, strict=True)])
        slope = dot(F, da) * dot(a, a) - dot(F, a) * (squared - back) * flint.fmpq(1, 4)
        # v.(f o (F - (f.F) f)) |a|^3
        pull = [x * (y * dot(a, a) - dot(a, F) * x) for x, y in zip(a, F, strict=True)]
        return slope - dot(v, pull)

    return Identity(difference, {"a": "vector", "F": "vector", "v": "vector"}, {}, 6, 8, 0, (1, 2, 3))


def momentum_obligation(forms: Forms) -> Identity:
    """The recursions, with x for mu^k and mu = 1 - h, and their starts."""
    decoder, attention = (forms.quotient(MOMENTUM, name) for name in ("decoder", "attention"))

    def differences(point: Point) -> list[Any]:
        one, k, h, x = point.one, point["k"], point["h"], point["x"]
        mu = one - h

        def at(form: Quotient, steps: Any, power: Any) -> tuple[Any, Any]:
            return parts(form, point, {"k": steps, "x": power})

        # every value over its own denominator: that of a form may have k and x in it
        d, d_next = Ratio(*at(decoder, k, x)), Ratio(*at(decoder, k + 1, x * mu))
        a, a_next = Ratio(*at(attention, k, x)), Ratio(*at(attention, k + 1, x * mu))
        a_last = Ratio(*at(attention, k + 2, x * mu * mu))
        zero = at(decoder, one * 0, one)[0]
        starts = [at(attention, one * 0, one)[0], at(attention, one, mu)[0]]
        return [
            difference(d_next - d, Ratio(one - x * mu, h)),
            difference(a_last - a_next * (one + mu) + a * mu, d_next),
            zero, *starts,
        ]  # fmt: skip

    scalars: dict[str, Kind] = dict.fromkeys(("k", "h", "x"), "scalar")
    return Identity(differences, scalars, {}, 1, DEGREE, 0, (1,))


TRUSTED = (
    "This list of obligations says what the derivation says; it was written by hand.",
    "python-flint's exact rational arithmetic, and this package's engines as written.",
    "The delta method: that the mean over S independent keys of the part of degree 2 is its mean over one, divided by "
    "S, and that the rest is O(1/S^2). That Y at first order comes from batches before the next one.",
    "Forms are tested with up to three tokens by symbols and with six at a random point; both sides are sums over at "
    "most five tokens of products, so that more tokens bring nothing new.",
)


def obligations() -> ClaimObligations:
    """The six steps."""
    of_sums = frozenset({"s2", "s3", "x1", "x2"})
    return ClaimObligations(
        "scan-trained",
        (
            "keys independent with law p, counts weighted with w = e^z; f = (w o N)/|w o N|; sum p = sum o = 1",
            "Y = Z = 0 at the start; independent batches",
        ),
        {
            VECTOR: {"velocity": Rational(frozenset({"p", "s2", "s3"}))},
            OVERLAP: {"overlap": Rational(of_sums)},
            FORCE: {},
            THROUGH: {"through": Rational(of_sums | {"p", "o"})},
            OWN: {"own": Rational(frozenset({"p", "s2", "s3"}))},
            MOMENTUM: {
                "decoder": Rational(frozenset({"k", "x", "h"})), "attention": Rational(frozenset({"k", "x", "h"})),
            },
        },
        (
            Obligation(VECTOR, "|p| times the mean over one key of the part of degree 2 = velocity", vector_obligation),
            Obligation(OVERLAP, "the same along the other class's law = overlap", overlap_obligation),
            Obligation(FORCE, "F.df = v.(f o (F - (f.F) f)) for da = v o a", force_obligation),
            Obligation(THROUGH, "its derivative by one logit, the other class kept = through", through_obligation),
            Obligation(OWN, "the derivative of c.f = own, and own adds up to 0 over the tokens", own_obligation),
            Obligation(MOMENTUM, "decoder and attention solve the recursions of momentum", momentum_obligation),
        ),
        TRUSTED,
    )  # fmt: skip
