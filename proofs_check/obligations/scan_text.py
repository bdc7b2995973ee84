r"""Obligations of scan-text: the layer's slopes in components, its flow from the loss in power series, and bounds.

Main statement
    A component of a sum of products of diagonal matrices F and vectors is a sum over one word for each closed product
    and the component's own; such a sum over at most q words that vanishes for q words vanishes for any number of them:
    the terms with a given set of words are what is left when all other words are set to 0, less those of its subsets.
    So identities are tested with as many words as their forms have letters, and one more.
The flow of the step "attention logits" is made here from the loss alone: its slopes by dual numbers over power series
in t with rational coefficients, on windows with a rational |c|.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import flint

from ..engines.expressions import Expression, Quotient, evaluate, rational
from ..engines.identities import Identity
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from ..engines.relations import Relation, Relations
from .obligation import ClaimObligations, Forms, Obligation, Polynomial, Rational

SHARES, FORCE, SCORE, LOGITS = "shares", "force", "score", "attention logits"
REMAINDER, ENTROPY, SIGN, PRESENCE = "remainder", "entropy", "gain and loss", "presence"


def diagonal(entries: Matrix) -> Matrix:
    """diag of a column."""
    size = entries.shape[0]
    return Matrix.build(size, size, lambda i, j: entries[i, 0] if i == j else entries[i, 0] * 0)


def at(form: Expression, point: Point, values: Mapping[str, Any]) -> Matrix:
    """A column form at given letters, F being diag(f)."""
    f: Matrix = values["f"]
    found: Matrix = evaluate(form, {"I": point["I"], "F": diagonal(f), **values}, point.one)
    return found


def identity(difference: Any, letters: dict[str, Kind], *forms: Expression, further: int = 2) -> Identity:
    """An identity in components, with a word more than its forms have letters."""
    degree = max(form.degree() for form in forms)
    return Identity(difference, letters, {}, degree + 1, 3 * degree + further)


def shares_obligation(forms: Forms) -> Identity:
    """d(lambda v) along dv = v o zeta, with d lambda = -lambda^3 v.dv from lambda = 1/|v|, is the form."""
    form = forms.expression(SHARES, "right")

    def difference(point: Point) -> Any:
        v, zeta, scale = point.matrix("v"), point.matrix("zeta"), point["lambda"]
        moved = diagonal(v) @ zeta
        slope = (v.T @ moved)[0, 0] * scale**3
        return moved.scaled(scale) - v.scaled(slope) - at(form, point, {"f": v.scaled(scale), "zeta": zeta})

    return identity(difference, {"v": "vector", "zeta": "vector", "lambda": "scalar"}, form, further=7)


def force_obligation(forms: Forms) -> Identity:
    """a . df = zeta . force for all zeta."""
    shares, force = forms.expression(SHARES, "right"), forms.expression(FORCE, "right")

    def difference(point: Point) -> Any:
        f, a, zeta = (point.matrix(name) for name in ("f", "a", "zeta"))
        return (a.T @ at(shares, point, {"f": f, "zeta": zeta}) - zeta.T @ at(force, point, {"f": f, "a": a}))[0, 0]

    return identity(difference, {"f": "vector", "a": "vector", "zeta": "vector"}, shares, force)


# Windows, literally


class Window(NamedTuple):
    """counts of the words among the keys (M whole numbers), their |c|, the query and the next word."""

    counts: tuple[int, ...]
    length: int
    query: int
    following: int

    def shares(self) -> list[Any]:
        return [flint.fmpq(c, self.length) for c in self.counts]


COUNTS = (((2, 2, 1), 3), ((3, 4), 5), ((4, 4, 2), 6), ((6, 3, 2), 7), ((2,), 2))


def random_windows(name: str, count: int, M: int) -> list[Window]:
    """Windows over M words with two queries."""
    draw, found = random.Random(f"scan-text/{name}"), []
    fitting = [one for one in COUNTS if len(one[0]) <= M]
    for _ in range(count):
        pattern, length = draw.choice(fitting)
        counts = list(pattern) + [0] * (M - len(pattern))
        draw.shuffle(counts)
        found.append(Window(tuple(counts), length, draw.randrange(2), draw.randrange(M)))
    return found


def score_at(form: Expression, windows: Sequence[Window], following: int) -> list[Any]:
    """The form with P, b and e counted over the windows, for a next word that occurs among them."""
    M, one = len(windows[0].counts), flint.fmpq(1)
    these = [window for window in windows if window.following == following]
    values = {
        "I": unit(M), "P": one * len(these) / len(windows), "M": one * M, "1/M": one / M,
        "b": mean_shares(these), "e": mean_shares(windows),
    }  # fmt: skip
    found: Matrix = evaluate(form, values, one)
    return list(found.entries())


def mean_shares(windows: Sequence[Window]) -> Matrix:
    return Matrix.build(
        len(windows[0].counts), 1, lambda i, _: sum((w.shares()[i] for w in windows), flint.fmpq(0)) / len(windows)
    )


def column(entries: Sequence[Any]) -> Matrix:
    return Matrix.build(len(entries), 1, lambda i, _: entries[i])


def unit(size: int) -> Matrix:
    return Matrix.build(size, size, lambda i, j: flint.fmpq(int(i == j)))


def score_obligation(forms: Forms) -> Relations:
    """The mean over windows of literal (e_n - 1/M).(e_n' - 1/M) times f'."""
    form = forms.expression(SCORE, "right")

    def distance(M: int) -> Any:
        windows, total = random_windows(f"score/{M}", 6, M), flint.fmpq(0)
        centred = [[flint.fmpq(int(i == n)) - flint.fmpq(1, M) for i in range(M)] for n in range(M)]
        for n in {window.following for window in windows}:
            literal = [flint.fmpq(0)] * M
            for window in windows:
                weight = sum((x * y for x, y in zip(centred[n], centred[window.following], strict=True)), flint.fmpq(0))
                literal = [x + weight * f / len(windows) for x, f in zip(literal, window.shares(), strict=True)]
            total += sum(
                ((x - y) ** 2 for x, y in zip(literal, score_at(form, windows, n), strict=True)), flint.fmpq(0)
            )
        return total

    return Relations(lambda: [Relation(f"distance, M = {M}", distance(M), "=", flint.fmpq(0)) for M in range(2, 8)])


# The flow from the loss


@dataclass(frozen=True)
class Dual:
    """value + change eps, eps^2 = 0, both power series in t."""

    value: Any
    change: Any

    def __add__(self, other: Dual) -> Dual:
        return Dual(self.value + other.value, self.change + other.change)

    def __mul__(self, other: Dual) -> Dual:
        return Dual(self.value * other.value, self.value * other.change + self.change * other.value)

    def exp(self) -> Dual:
        grown = self.value.exp()
        return Dual(grown, grown * self.change)

    def inverse(self) -> Dual:
        one = self.value.inv()
        return Dual(one, -self.change * one * one)

    def inverse_root(self, at_zero: int) -> Dual:
        """(value)^(-1/2) where value at t = 0 is at_zero^2."""
        root = (self.value / at_zero**2).rsqrt() / at_zero
        return Dual(root, -self.change * root * self.value.inv() / 2)


Table = list[list[Any]]


def slope_of_loss(windows: Sequence[Window], Y: Table, z: Table, moved: tuple[str, int, int]) -> Any:
    """dL/d(entry) of Y or z, L the mean of -log softmax(Y^T f)_n: -change/value of the softmax."""
    nought = flint.fmpq_series([0])
    total = nought

    def dual(name: str, table: Table, i: int, j: int) -> Dual:
        return Dual(table[i][j], nought + int((name, i, j) == moved))

    for window in windows:
        M = len(window.counts)
        seen = [w for w in range(M) if window.counts[w]]
        grown = {w: Dual(nought + window.counts[w], nought) * dual("z", z, window.query, w).exp() for w in seen}
        root = added([one * one for one in grown.values()]).inverse_root(window.length)
        outputs = {w: one * root for w, one in grown.items()}
        logits = [added([f * dual("Y", Y, w, j) for w, f in outputs.items()]) for j in range(M)]
        weights = [one.exp() for one in logits]
        chance = weights[window.following] * added(weights).inverse()
        total = total - chance.change * chance.value.inv() / len(windows)
    return total


def added(terms: Sequence[Dual]) -> Dual:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def flow(windows: Sequence[Window], eta_Y: Any, eta_Z: Any) -> Table:
    """z of the gradient flow from zero up to t^2: integrated from its slopes, one order more each time."""
    M = len(windows[0].counts)
    nought = flint.fmpq_series([0])
    Y, z = ([[nought] * M for _ in range(M)] for _ in range(2))
    for _ in range(2):
        moved = {
            (name, i, j): (-slope_of_loss(windows, Y, z, (name, i, j)) * rate).integral()
            for name, rate in (("Y", eta_Y), ("z", eta_Z)) for i in range(M) for j in range(M)
        }  # fmt: skip
        Y, z = ([[moved[name, i, j] for j in range(M)] for i in range(M)] for name in ("Y", "z"))
    return z


def logits_obligation(forms: Forms) -> Relations:
    """z of the flow is t^2 eta_Y eta_Z times the mean of the form over the windows of each query."""
    score, part = forms.expression(SCORE, "right"), forms.expression(LOGITS, "right")

    def distances(name: str, M: int) -> list[Relation]:
        windows, eta_Y, eta_Z = random_windows(f"flow/{name}", 5, M), flint.fmpq(3, 2), flint.fmpq(5, 7)
        predicted = [[flint.fmpq(0)] * M for _ in range(M)]
        for window in windows:
            f, a = column(window.shares()), column(score_at(score, windows, window.following))
            pushed = evaluate(part, {"I": unit(M), "F": diagonal(f), "f": f, "a": a}, flint.fmpq(1))
            row = predicted[window.query]
            predicted[window.query] = [x + y / len(windows) for x, y in zip(row, pushed.entries(), strict=True)]
        found = flow(windows, eta_Y, eta_Z)
        early, second, size = flint.fmpq(0), flint.fmpq(0), flint.fmpq(0)
        for measured, row in zip(found, predicted, strict=True):
            for series, kappa in zip(measured, row, strict=True):
                early += series[0] ** 2 + series[1] ** 2
                second += (series[2] - eta_Y * eta_Z * kappa) ** 2
                size += kappa**2
        nought = flint.fmpq(0)
        return [
            Relation(f"z up to t, {name}", early, "=", nought),
            Relation(f"z at t^2 less eta_Y eta_Z kappa, {name}", second, "=", nought),
            Relation(f"kappa is not 0, {name}", nought, "<", size),
        ]

    return Relations(lambda: [*distances("first", 3), *distances("second", 4), *distances("third", 3)])


# Bounds


def remainder_obligation(forms: Forms) -> Relations:
    """The bound is the chain of bounds, integrated, with 3/4 in the place of 1/sqrt 2 < 3/4."""
    top, bottom = forms.quotient(REMAINDER, "bound")

    def asked() -> list[Relation]:
        context = flint.fmpq_mpoly_ctx.get(["Y", "Z", "p", "t"], flint.Ordering.degrevlex)
        Y, Z, p, t = context.gens()

        def integral(polynomial: Any) -> Any:
            terms = {(*k[:3], k[3] + 1): c / (k[3] + 1) for k, c in polynomial.to_dict().items()}
            return context.from_dict(terms)

        logits = integral(2 * Y * Z * p * t)
        errors = flint.fmpq(3, 4) * Y * t
        decoder = integral(Y * (2 * logits + Y * t))
        whole = integral(Z * (decoder + Y * t * errors + 3 * logits * Y * t))
        one = context.constant(1)
        values = {"Y": Y, "Z": Z, "p": p, "t": t, "I": Matrix(((one,),))}
        rest = evaluate(top, values, one) - whole * evaluate(bottom, values, one)
        size = sum((c * c for c in rest.coeffs()), flint.fmpq(0))
        return [
            Relation("bound less the integrated chain", size, "=", flint.fmpq(0)),
            Relation("1/2 < (3/4)^2", flint.fmpq(1, 2), "<", flint.fmpq(9, 16)),
        ]

    return Relations(asked)


def entropy_obligation(forms: Forms) -> Identity:
    """mean of (1 + x) log(1 + x) = mean of x + x^2/2 up to eps^2, x = n b - 1 with n b = e^{eps z}/mean e^{eps z}."""
    form = forms.expression(ENTROPY, "right")

    def difference(point: Point) -> Any:
        z, share = list(point.matrix("z").entries()), flint.fmpq(1, point.dimension)
        m1, m2 = sum(z) * share, sum(one * one for one in z) * share
        first = [one - m1 for one in z]
        second = [one * one / 2 - one * m1 + m1 * m1 - m2 / 2 for one in z]
        drop = (sum(second) + sum(one * one for one in first) / 2) * share
        values = {"I": Matrix(((point.one,),)), "mu1": m1 * point.one, "mu2": m2 * point.one}
        return [sum(first), drop - evaluate(form, values, point.one)]

    return Identity(difference, {"z": "vector"}, {}, 3, 2 * max(form.degree(), 2), 3)


def sign_obligation(forms: Forms) -> Identity:
    """Each component of the certified force is the form; loss = -force at a = -b; and the sum of the forces."""
    whole = forms.expression(FORCE, "right")
    push, loss = forms.quotient(SIGN, "force"), forms.quotient(SIGN, "loss")

    def difference(point: Point) -> Any:
        f, a, b = (point.matrix(name) for name in ("f", "a", "b"))
        pushed, mean = at(whole, point, {"f": f, "a": a}), (f.T @ a)[0, 0]
        against = (f.T @ b)[0, 0]
        found = []
        for l in range(point.dimension):  # noqa: E741
            top, bottom = parts(push, point, {"f": f[l, 0], "a": a[l, 0], "s": mean})
            found.append(top - pushed[l, 0] * bottom)
            mirrored, under = parts(push, point, {"f": f[l, 0], "a": -b[l, 0], "s": against})
            lost, below = parts(loss, point, {"f": f[l, 0], "b": b[l, 0], "s": against})
            found.append(mirrored * below + lost * under)
        square = (f.T @ f)[0, 0]
        total = sum(pushed.entries(), point.one * 0)
        return [*found, total - mean * (point.one - square)]

    letters: dict[str, Kind] = {"f": "vector", "a": "vector", "b": "vector"}
    return identity(difference, letters, whole, further=40)


def parts(form: Quotient, point: Point, values: Mapping[str, Any]) -> tuple[Any, Any]:
    """Numerator and denominator at ring elements."""
    given = {**values, "I": Matrix(((point.one,),))}
    return evaluate(form.numerator, given, point.one), evaluate(form.denominator, given, point.one)


def loss_obligation(forms: Forms) -> Relations:
    """No term of the loss is negative."""
    loss = forms.quotient(SIGN, "loss")

    def asked() -> list[Relation]:
        terms = [term.coefficient for part in loss for term in part.terms]
        return [Relation(f"term {k}", flint.fmpq(0), "<", rational(c)) for k, c in enumerate(terms)]

    return Relations(asked)


GRID = 16  # more points each way than any power that is read, and those of the score, have together


def presence_obligation(forms: Forms) -> Relations:
    """At q = threshold both words have the same a/f, at a grid of points of (P, k)."""
    score, threshold = forms.expression(SCORE, "right"), forms.quotient(PRESENCE, "threshold")

    def at_word(P: Any, M: Any, before: Any, overall: Any) -> Any:
        one = flint.fmpq(1)
        values = {"P": P, "M": M, "1/M": one / M, "b": Matrix(((before,),)), "e": Matrix(((overall,),)),
                  "I": Matrix(((one,),))}  # fmt: skip
        return evaluate(score, values, one)[0, 0]

    def asked() -> list[Relation]:
        total, one = flint.fmpq(0), flint.fmpq(1)
        for i in range(1, GRID + 1):
            for k in range(1, GRID + 1):
                P, M = flint.fmpq(i, GRID), flint.fmpq(k + 1)
                given = {"P": P, "k": M - 1, "I": Matrix(((one,),))}
                top, bottom = (evaluate(part, given, one) for part in threshold)
                q = top / bottom
                total += (at_word(P, M, q, P * q) - at_word(P, M, one, one)) ** 2
        return [Relation("a/f of both words, squares of differences", total, "=", flint.fmpq(0))]

    return Relations(asked)


TRUSTED = (
    "python-flint's rational arithmetic and power series.",
    "The step 'remainder': the inequalities between lengths that the chain consists of, proved in words in the "
    "derivation; certified is what they add up to.",
    "The step 'attention logits' is the rule of the three steps before at every set of windows; the flow itself is "
    "computed from the loss for three of them.",
    "Nothing is certified of entropy over long training: that part of the claim is only measured.",
)


def obligations() -> ClaimObligations:
    """The eight steps."""
    window = Polynomial("d", "1", frozenset({"F", "f", "a"}), {})
    return ClaimObligations(
        "scan-text",
        ("one softmax layer with a decoder on finitely many windows; gradient flow of the cross-entropy from zero",),
        {
            SHARES: {"right": Polynomial("d", "1", frozenset({"F", "f", "zeta"}), {})},
            FORCE: {"right": window},
            SCORE: {"right": Polynomial("d", "1", frozenset({"b", "e"}), {"P": (1,), "M": (-1,)})},
            LOGITS: {"right": window},
            REMAINDER: {"bound": Rational(frozenset({"Y", "Z", "p", "t"}))},
            ENTROPY: {"right": Polynomial("1", "1", frozenset(), {"mu1": (1, 2), "mu2": (1,)})},
            SIGN: {"force": Rational(frozenset({"f", "a", "s"})), "loss": Rational(frozenset({"f", "b", "s"}))},
            PRESENCE: {"threshold": Rational(frozenset({"P", "k"}))},
        },
        (
            Obligation(SHARES, "the derivative of v/|v| along dv = v o zeta = right", shares_obligation),
            Obligation(FORCE, "a . df = zeta . right for every zeta", force_obligation),
            Obligation(SCORE, "mean of (e_n - 1/M).(e_n' - 1/M) f' = right", score_obligation),
            Obligation(LOGITS, "z of the flow from the loss = t^2 eta_Y eta_Z times means of right", logits_obligation),
            Obligation(REMAINDER, "bound = the chain of bounds, integrated", remainder_obligation),
            Obligation(ENTROPY, "the eps^2 of ln(T - 1) - H at logits eps z = right", entropy_obligation),
            Obligation(SIGN, "components of the force, loss = -force at a = -b, and their sum", sign_obligation),
            Obligation(SIGN, "no term of loss is negative", loss_obligation),
            Obligation(PRESENCE, "equal a/f at q = threshold", presence_obligation),
        ),
        TRUSTED,
    )  # fmt: skip
