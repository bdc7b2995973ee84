r"""How attention leaves its uniform start: the flow of the loss itself, and the reparametrised one, as t -> 0.

One softmax layer with a decoder on K sequence classes over M tokens, T -> infinity, Y(0) = 0: class vectors f_n of unit
length, next token n with probability P_n. (The flow of a class's attention logits under a gradient g_n, z' = eta_Z P_n
D(f_n) (I - f_n f_n^T) g_n with D(f) the diagonal matrix of f, is derived here again from the normalised softmax.)
Main statements
    decoder          Y' = eta_Y sum_n P_n f_n (e_n - o/M)^T at t = 0, o the vector of ones
    gradient         g_n = Y (e_n - alpha_n) = eta_Y t (P_n f_n - (1/M) sum_j P_j f_j) + O(t^2)
    acceleration     z_m'' = eta_Y eta_Z/M sum_n sum_{j != n} P_n P_j D(f_n) (f_n f_n^T f_j - f_j) at t = 0, n over the
                     classes with query m: z = z'' t^2/2 + O(t^3), for z(0) = 0 and for any other z(0)
    distinct         token l of class n only: z_l'' = eta_Y eta_Z/M P_n f_nl^2 sum_{j != n} P_j f_n.f_j, never negative
    one common       a pair of classes with one token C in common accelerates it by -f_nC f_jC (1 - f_nC^2) < 0
    reparametrised   the flow of [tian2023scan, Lemma 3] has g_n = eta_Y t F G^-1 (P o (e_n - o/M)) there, G = F^T F
    ratio            for f_n.f_j = rho, P_n = 1/K and x = rho/(1 - rho), the reparametrised flow moves the distinct
                     tokens (1 + M x)(1 + x)/(1 + K x) times as fast
So the paper's flow is not a small change of the loss's own: they differ by a factor of the order of M rho.
Assumptions
    Overlaps below 1 where G is inverted. Nothing else: any classes, queries and probabilities.
References
    [tian2023scan, Lemma 1, Lemma 2] for the layer, [tian2023scan, Lemma 3, Thm. 5] for the reparametrised flow.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.formulas import Formula, Values
from ..algebra.trace_polynomials import TracePolynomial, inverse_of_monomial, matrix, number, scalar, vector
from ..algebra.words import Letter
from ..one_layer.assumptions import AssumptionError, check_positive, real_array

if TYPE_CHECKING:
    import sympy as sp

M, P, Q = scalar("M"), scalar("P"), scalar("Q")  # vocabulary, probability of the class, and of another class
ETA_Y, ETA_Z = scalar("eta_Y"), scalar("eta_Z")
F, H, G = vector("f"), vector("h"), vector("g")  # the class's vector, another class's, a gradient
E, ONES, A = vector("e"), vector("o"), vector("a")  # unit vector of the next token, ones, unit vector of a token
D = matrix("D", symmetric=True)  # the diagonal matrix of f
PER_TOKEN = inverse_of_monomial(M)


# The derivation


@cache
def decoder_velocity() -> TracePolynomial:
    """What a class adds to Y' at Y = 0, where every next token has the probability 1/M."""
    return ETA_Y * P * F * (E - PER_TOKEN * ONES).T


@cache
def own_gradient() -> TracePolynomial:
    """g_n/t of the class's own part of Y: (e_n - o/M)^T (e_n - o/M) = 1 - 1/M."""
    return ETA_Y * P * (number(1) - PER_TOKEN) * F


@cache
def other_gradient() -> TracePolynomial:
    """g_n/t of another class's part of Y: (e_j - o/M)^T (e_n - o/M) = -1/M."""
    return -ETA_Y * Q * PER_TOKEN * H


@cache
def force() -> TracePolynomial:
    """z' of the class's logits under a gradient g: the derivative of g.f along c -> c o e^z, f = c/|c|."""
    return ETA_Z * P * (D * G - D * F * F.T * G)


@cache
def acceleration() -> TracePolynomial:
    """The part of z'' of a class n and another one j: the force under the gradient of the other's part of Y."""
    return ETA_Y * ETA_Z * P * Q * PER_TOKEN * (D * F * F.T * H - D * H)


@cache
def distinct_acceleration() -> TracePolynomial:
    """a^T z'' for a token a that the other class has not: a^T D h = 0."""
    return ETA_Y * ETA_Z * P * Q * PER_TOKEN * (A.T * D * F) * (F.T * H)


@cache
def common_acceleration() -> TracePolynomial:
    """a^T z'' for the only token a of both: f.h = (a.f)(a.h)."""
    return ETA_Y * ETA_Z * P * Q * PER_TOKEN * ((A.T * F) ** 3 * (A.T * H) - (A.T * F) * (A.T * H))


def overlap_symbols() -> tuple[sp.Symbol, ...]:
    """K, M and x = rho/(1 - rho)."""
    import sympy as sp

    return tuple(sp.Symbol(name, positive=True) for name in ("K", "M", "x"))


@cache
def other_coefficient() -> sp.Expr:
    """b, where G^-1 (e_n - o/M) is a at n and b elsewhere, for overlaps rho = x/(1 + x): two linear equations."""
    import sympy as sp

    K, M, x = overlap_symbols()
    a, b = sp.symbols("a b")
    rho = x / (1 + x)
    rows = [a + (K - 1) * rho * b - (1 - 1 / M), rho * a + (1 + (K - 2) * rho) * b + 1 / M]
    ((_, found),) = sp.linsolve(rows, [a, b])
    return sp.factor(found)


@cache
def reparametrised_pull() -> sp.Expr:
    """M xi/(eta_Y P t) of the reparametrised flow: -M (K - 1) rho b."""
    import sympy as sp

    K, M, x = overlap_symbols()
    return sp.factor(-M * (K - 1) * x / (1 + x) * other_coefficient())


@cache
def pull_of_the_loss() -> sp.Expr:
    """M xi/(eta_Y P t) of the loss's own flow: sum over the others of f_n.f_j = (K - 1) rho."""
    K, _, x = overlap_symbols()
    return (K - 1) * x / (1 + x)


@cache
def speed_up() -> sp.Expr:
    """How much faster the reparametrised flow moves the distinct tokens as t -> 0."""
    import sympy as sp

    return sp.factor(sp.cancel(reparametrised_pull() / pull_of_the_loss()))


# Instances


def unit_vector(draw: random.Random, size: int) -> Array:
    """A rational vector of length one with entries that are not negative, by stereographic projection."""
    v = [Fraction(draw.randint(1, 9), 20) for _ in range(size - 1)]
    square = sum(x * x for x in v)
    entries = [2 * x / (1 + square) for x in v]
    last = (1 - square) / (1 + square)
    return np.array([*entries, abs(last)], dtype=object).reshape(-1, 1)


class Instance:
    """Three rational class vectors over seven tokens; tokens 3 and 4 are distinct to class 0, 0 is common to all."""

    SUPPORTS = ((0, 3, 4), (0, 1, 5), (0, 1, 6))

    def __init__(self, seed: int) -> None:
        draw = random.Random(f"scan-joint-flow/{seed}")
        self.vocabulary = 7
        self.vectors = [self.spread(unit_vector(draw, 3), support) for support in self.SUPPORTS]
        weights = [draw.randint(1, 9) for _ in self.SUPPORTS]
        self.probabilities = [Fraction(w, sum(weights)) for w in weights]
        self.rates = {"eta_Y": Fraction(draw.randint(1, 9), 5), "eta_Z": Fraction(draw.randint(1, 9), 7)}
        self.gradient = np.array([[Fraction(draw.randint(-9, 9), 4)] for _ in range(7)], dtype=object)

    def spread(self, values: Array, support: tuple[int, ...]) -> Array:
        found = np.array([[Fraction(0)]] * self.vocabulary, dtype=object)
        for place, value in zip(support, values[:, 0], strict=True):
            found[place, 0] = value
        return found

    def unit(self, place: int) -> Array:
        return np.array([[Fraction(int(i == place))] for i in range(self.vocabulary)], dtype=object)

    def letters(self, n: int, j: int | None = None) -> dict[str, Any]:
        """Of class n beside class j."""
        f = self.vectors[n]
        own = {"f": f, "D": np.diag(f[:, 0]), "P": self.probabilities[n], "e": self.unit(n), "g": self.gradient}
        other = {} if j is None else {"h": self.vectors[j], "Q": self.probabilities[j]}
        ones = np.array([[Fraction(1)]] * self.vocabulary, dtype=object)
        return {**own, **other, **self.rates, "o": ones, "M": Fraction(self.vocabulary)}

    def decoder(self) -> Array:
        """Y' at t = 0, class by class: the probability of each next token is exp(0)/M."""
        total: Any = 0
        for n, f in enumerate(self.vectors):
            likely = np.array([[Fraction(1, self.vocabulary)]] * self.vocabulary, dtype=object)
            total = total + self.rates["eta_Y"] * self.probabilities[n] * f @ (self.unit(n) - likely).T
        found: Array = total
        return found

    def gradient_of(self, n: int) -> Array:
        """Y' (e_n - o/M)."""
        missing = self.unit(n) - np.array([[Fraction(1, self.vocabulary)]] * self.vocabulary, dtype=object)
        found: Array = self.decoder() @ missing
        return found

    def force_of(self, n: int, g: Array) -> Array:
        """eta_Z P_n times the derivative of g.c/|c| along each entry of log c, c = f, |f| = 1."""
        f = self.vectors[n]
        slope = [f[k, 0] * g[k, 0] - f[k, 0] ** 2 * (f.T @ g)[0, 0] for k in range(self.vocabulary)]
        scale = self.rates["eta_Z"] * self.probabilities[n]
        return np.array([[scale * entry] for entry in slope], dtype=object)

    def summed(self, n: int, polynomial: TracePolynomial, **more: Any) -> Any:
        """A pair's polynomial summed over the other classes."""
        others = [j for j in range(len(self.vectors)) if j != n]
        return sum(evaluate(polynomial, {**self.letters(n, j), **more}) for j in others)


def accelerations_at(one: Instance) -> tuple[Any, Any]:
    """The force under the whole gradient, and the sum over pairs, for every class."""
    literal = [one.force_of(n, one.gradient_of(n)) for n in range(3)]
    return literal, [one.summed(n, acceleration()) for n in range(3)]


def gradients_at(one: Instance) -> tuple[Any, Any]:
    literal = [one.gradient_of(n) for n in range(3)]
    return literal, [evaluate(own_gradient(), one.letters(n)) + one.summed(n, other_gradient()) for n in range(3)]


def distinct_at(one: Instance) -> tuple[Any, Any]:
    """Tokens 3 and 4 of class 0."""
    whole = one.force_of(0, one.gradient_of(0))
    return [whole[k, 0] for k in (3, 4)], [one.summed(0, distinct_acceleration(), a=one.unit(k)) for k in (3, 4)]


def common_at(one: Instance) -> tuple[Any, Any]:
    """Classes 0 and 1 share token 0 only."""
    pair = {**one.letters(0, 1), "a": one.unit(0)}
    return evaluate(acceleration(), pair)[0, 0], evaluate(common_acceleration(), pair)


def pulls_at(seed: int) -> tuple[Any, Any]:
    """M xi by an exact inverse of G, and from the closed forms, for two K, M and rho."""
    literal, closed = [], []
    draw = random.Random(f"equal overlaps/{seed}")
    for K in (2, 5):
        M, x = draw.randint(K + 1, 60), Fraction(draw.randint(1, 9), draw.randint(1, 9))
        rho = x / (1 + x)
        gram = np.array([[Fraction(1) if i == j else rho for j in range(K)] for i in range(K)], dtype=object)
        missing = np.array([[Fraction(int(i == 0)) - Fraction(1, M)] for i in range(K)], dtype=object)
        v = exact_inverse(gram) @ missing
        literal += [-M * rho * sum(v[1:, 0]), -M * rho * sum(missing[1:, 0])]
        closed += [at_overlap(form, K, M, x) for form in (reparametrised_pull(), pull_of_the_loss())]
    return literal, closed


def at_overlap(form: sp.Expr, K: int, M: int, x: Fraction) -> Fraction:
    """A closed form at numbers, exactly."""
    import sympy as sp

    values = dict(zip(overlap_symbols(), (K, M, sp.Rational(x.numerator, x.denominator)), strict=True))
    found = sp.Rational(form.subs(values))
    return Fraction(int(found.p), int(found.q))


@cache
def derivation() -> Derivation:
    """From the decoder's first move to the acceleration of attention, and the ratio of the two flows."""
    import sympy as sp

    ratio = speed_up()
    steps = (
        equality(
            "decoder at the start",
            ("what class n adds to Y' at Y = 0", r"\dot Y_n"),
            decoder_velocity(),
            "minus the gradient of -P log softmax(Y^T f)_n is P f (e_n - softmax)^T, and softmax(0) = 1/M",
            lambda one: (
                one.decoder(), sum(evaluate(decoder_velocity(), one.letters(n)) for n in range(3))
            ),
        ),
        Step(
            "gradient that reaches attention",
            "g_n/t, g_n = Y (e_n - softmax(Y^T f_n)), to first order in t",
            "eta_Y (P_n f_n - sum_j P_j f_j/M): the own part and that of another class",
            r"g_n = \eta_Y t\,\bigl(P_n f_n - \tfrac1M\textstyle\sum_j P_j f_j\bigr) + O(t^2)",
            "Y = t Y'(0) + O(t^2), softmax = 1/M + O(t), and (e_j - o/M)^T (e_n - o/M) = 1(j = n) - 1/M",
            gradients_at,
            forms={"own": own_gradient(), "other": other_gradient()},
        ),
        equality(
            "force on the logits",
            ("z' of a class's query under a gradient g", r"\dot z_n"),
            force(),
            "f = c/|c| with c_l = P(l | n) e^{z_l}: d(g.f)/dz = D(f) (I - f f^T) g",
            lambda one: (
                [one.force_of(n, one.gradient) for n in range(3)],
                [evaluate(force(), one.letters(n)) for n in range(3)],
            ),
        ),
        equality(
            "acceleration",
            ("z'' at t = 0, the part of class n beside class j", r"\ddot z_{nj}"),
            acceleration(),
            "the force under the other's part of g; the own part exerts none, (I - f f^T) f = 0",
            accelerations_at,
        ),
        equality(
            "distinct tokens gain",
            ("z_l'' for a token l of class n only, the part of class j", r"\ddot z_{nj,l}"),
            distinct_acceleration(),
            "a^T D h = f_l h_l = 0, and f.h >= 0 for vectors without negative entries",
            distinct_at,
        ),
        equality(
            "the only common token loses",
            ("z_C'' for the one token C of both classes, the part of class j", r"\ddot z_{nj,C}"),
            common_acceleration(),
            "f.h = f_C h_C; f_C^2 < 1 if class n has another token",
            common_at,
        ),
        Step(
            "both flows at equal overlaps",
            "M xi_n/(eta_Y t/K), z_l' = (eta_Z/K) f_nl^2 xi_n, for f_n.f_j = x/(1 + x)",
            f"reparametrised {reparametrised_pull()}, the loss's own {pull_of_the_loss()}, ratio {ratio}",
            rf"\frac{{\xi^{{\mathrm{{rep}}}}_n}}{{\xi_n}} = {sp.latex(ratio)},\quad x = \frac{{\rho}}{{1-\rho}}",
            "g_n = eta_Y t/K F v with v = e_n - o/M for the loss's flow, G v = e_n - o/M for the reparametrised one; "
            "xi_n = -sum_{j != n} v_j f_n.f_j",
            lambda one: pulls_at(one.vocabulary + one.vectors[0][3, 0].numerator),
            forms={"reparametrised": reparametrised_pull(), "loss": pull_of_the_loss(), "ratio": ratio},
        ),
    )  # fmt: skip
    results = {"acceleration": acceleration(), "ratio": ratio}
    return Derivation(STATEMENT, steps, results, Instance)


STATEMENT = Statement(
    identifier="scan-joint-flow",
    title="Attention leaves its uniform start as t^2, and slower than in the reparametrised flow",
    latex=r"\ddot z_m(0) = \frac{\eta_Y\eta_Z}{M}\sum_{n:\,\psi(n)=m}\ \sum_{j\ne n} P_n P_j\,"
    r"\mathrm{diag}(f_n)\,(f_n f_n^\top - I)\,f_j,\qquad "
    r"\frac{\xi^{\mathrm{rep}}}{\xi}\Big|_{t\to0} = \frac{(1 + Mx)(1 + x)}{1 + Kx},\ x = \frac{\rho}{1-\rho}",
    text=(
        "Under the gradient flow of the loss in (Y, Z) from Y = 0 the attention logits move as t^2 at first, with the "
        "acceleration eta_Y eta_Z/M sum_n sum_{j != n} P_n P_j diag(f_n) (f_n f_n^T f_j - f_j): distinct tokens gain, "
        "a single common token loses. The reparametrised flow of the paper moves the distinct tokens (1 + M x)(1 + x) "
        "/ (1 + K x) times as fast there, for K equally likely classes with equal overlaps rho, x = rho/(1 - rho)."
    ),
    assumptions=(
        "T -> infinity, no positional encoding, the query not among its keys, attention output of unit length",
        "Y(0) = 0; Z(0) any; class vectors linearly independent where the reparametrised flow enters",
    ),
    conventions="class n with probability P_n in both velocities; t in steps of batch size 1; the cross-entropy's "
    "gradient flow with rates eta_Y and eta_Z",
    sources=(Source("tian2023scan", "Lemmas 1 to 3, Theorem 5"),),
)


# The formulas that are altered


@cache
def formula() -> Formula:
    """z'' of every query; letters of a task: `vectors` (K, M, 1), `probabilities`, `rows`, and the rates."""
    letters = {"f": (Letter("h", cols="1"),), "h": (Letter("f", cols="1"),)}
    vocabulary = Vocabulary({"M": ("K",), "P": ("Q",), "Q": ("P",), "eta_Y": ("eta_Z",), "eta_Z": ("eta_Y",)}, letters)
    return Formula({"pair": acceleration()}, accelerations, vocabulary)


def accelerations(parts: Mapping[str, TracePolynomial], values: Values) -> Array:
    """(Q, M): the pairs of each class with every other, added up by query."""
    vectors, probabilities, rows = values["vectors"], values["probabilities"], values["rows"]
    K, M = len(vectors), len(vectors[0])
    common = {name: values[name] for name in ("eta_Y", "eta_Z")} | {"M": values["one"] * M, "K": values["one"] * K}
    total = np.array([[0 * values["one"]] * M for _ in range(max(rows) + 1)])
    for n, f in enumerate(vectors):
        own = {**common, "f": f, "D": np.diag(f[:, 0]), "P": probabilities[n]}
        for j, h in enumerate(vectors):
            if j != n:
                part = evaluate(parts["pair"], {**own, "h": h, "Q": probabilities[j]})
                total[rows[n]] = total[rows[n]] + part[:, 0]
    return total


def points(name: str) -> list[dict[str, Any]]:
    """Rational tasks."""
    found = []
    for k in range(3):
        one = Instance(1000 * len(name) + k)
        found.append({
            "vectors": one.vectors, "probabilities": one.probabilities, "rows": (0, 0, k % 2), "one": Fraction(1),
            **one.rates,
        })  # fmt: skip
    return found


@cache
def ratio_formula() -> Formula:
    """(1 + M x)(1 + x)/(1 + K x), numerator and denominator as polynomials."""
    K, x = scalar("K"), scalar("x")
    made = {"numerator": (number(1) + M * x) * (number(1) + x), "denominator": number(1) + K * x}
    assert is_speed_up(made)
    return Formula(made, quotient, Vocabulary({"M": ("K",), "K": ("M",)}))


def is_speed_up(parts: Mapping[str, TracePolynomial]) -> bool:
    """Whether the two polynomials are what was derived: they are written here as parts, not found here."""
    import sympy as sp

    from ..algebra.printing import to_sympy

    return bool(sp.cancel(to_sympy(parts["numerator"]) / to_sympy(parts["denominator"]) - speed_up()) == 0)


def quotient(parts: Mapping[str, TracePolynomial], values: Values) -> Array:
    """The ratio at each of the sizes (K, M, x)."""
    found = []
    for K, M, x in values["sizes"]:
        letters = {"K": K, "M": M, "x": x}
        above, below = (evaluate(parts[name], letters) for name in ("numerator", "denominator"))
        if below == 0:
            raise ValueError("the denominator vanishes")
        found.append(above / below)
    return np.array(found)


def ratio_points(name: str) -> list[dict[str, Any]]:
    """Rational sizes."""
    draw = random.Random(f"{name}/ratio")
    made = [(draw.randint(2, 9), draw.randint(10, 99), Fraction(draw.randint(1, 30), 31)) for _ in range(4)]
    return [{"sizes": [(Fraction(K), Fraction(tokens), x) for K, tokens, x in made]}]


# For a user


def class_vectors(contexts: Array, logits: Array) -> Array:
    """f_n, (K, M), of tables P(l | n) and logits of the classes' queries."""
    scores = contexts * np.exp(logits - logits.max(-1, keepdims=True))
    found: Array = scores / np.linalg.norm(scores, axis=-1, keepdims=True)
    return found


def letters_of(vectors: Array, probabilities: Array, rows: Array, eta_Y: float, eta_Z: float) -> dict[str, Any]:
    """A task in floats as the formula's letters."""
    columns = [vector[:, None] for vector in vectors]
    return {
        "vectors": columns, "probabilities": probabilities.tolist(), "rows": rows.tolist(), "one": 1.0,
        "eta_Y": eta_Y, "eta_Z": eta_Z,
    }  # fmt: skip


def predicted_accelerations(plain: Mapping[str, Any], eta_Y: float, eta_Z: float) -> Array:
    """z''(0) of a task in plain data, (Q, M), at Z(0) = 0."""
    contexts = np.array(plain["contexts"], dtype=float)
    rows = np.unique(np.array(plain["queries"]), return_inverse=True)[1]
    vectors = class_vectors(contexts, 0 * contexts)
    letters = letters_of(vectors, np.array(plain["probabilities"], dtype=float), rows, eta_Y, eta_Z)
    return formula().value(letters)


def checked_tables(contexts: Any, queries: Any, probabilities: Any) -> dict[str, Any]:
    """The tables of a task. Raises AssumptionError."""
    P = real_array(contexts, "contexts")
    if P.ndim != 2 or 0 in P.shape or len(P) > P.shape[1]:
        raise AssumptionError(f"contexts needs shape (K, M) with 1 <= K <= M, one row a class, got {P.shape}")
    if (P < 0).any():
        raise AssumptionError(
            f"contexts needs probabilities, got {P[P < 0][0]:g}; give rows of numbers of at least 0 with sum 1"
        )
    if np.abs(P.sum(-1) - 1).max() > 1e-9:
        raise AssumptionError(f"contexts needs rows of probabilities with sum 1, got sums {P.sum(-1).tolist()}")
    K, M = P.shape
    asked = [0] * K if queries is None else queries
    whole = isinstance(asked, list) and len(asked) == K and all(isinstance(q, int) and 0 <= q < M for q in asked)
    if not whole or any(isinstance(q, bool) for q in asked):
        raise AssumptionError(f"queries needs one token 0..{M - 1} for each of the {K} classes, got {asked}")
    shares = np.full(K, 1 / K) if probabilities is None else real_array(probabilities, "probabilities")
    if (shares < 0).any():
        raise AssumptionError(
            f"probabilities needs {K} probabilities, got {shares[shares < 0][0]:g}; none is negative; the sum is 1"
        )
    if shares.shape != (K,) or abs(shares.sum() - 1) > 1e-9:
        raise AssumptionError(f"probabilities needs {K} probabilities with sum 1, got {shares.tolist()}")
    return {"contexts": P.tolist(), "queries": list(asked), "probabilities": shares.tolist()}


def for_user(
    contexts: Any, queries: Any = None, probabilities: Any = None, decoder_rate: Any = 1.0, attention_rate: Any = 1.0
) -> dict[str, Any]:
    """z''(0), one row for each query in use, f_n.f_j, and by how much the reparametrised flow is faster.

    Raises AssumptionError.
    """
    plain = checked_tables(contexts, queries, probabilities)
    eta_Y, eta_Z = check_positive(decoder_rate, "decoder_rate"), check_positive(attention_rate, "attention_rate")
    P = np.array(plain["contexts"])
    vectors = class_vectors(P, 0 * P)
    gram = vectors @ vectors.T
    return {
        "acceleration": predicted_accelerations(plain, eta_Y, eta_Z).tolist(),
        "queries": sorted(set(plain["queries"])),
        "overlaps": gram.tolist(),
        "pull": pulls(gram, P.shape[1], np.array(plain["probabilities"])).tolist(),
        "reparametrised_pull": reparametrised_pulls(gram, P.shape[1], np.array(plain["probabilities"])),
    }


def pulls(gram: Array, vocabulary: int, probabilities: Array) -> Array:
    """xi_n/(eta_Y t) as t -> 0, z_l' = eta_Z P_n f_nl^2 xi_n for distinct tokens: sum_{j != n} P_j f_n.f_j/M."""
    others = gram - np.diag(np.diag(gram))
    found: Array = others @ probabilities / vocabulary
    return found


def reparametrised_pulls(gram: Array, vocabulary: int, probabilities: Array) -> list[float] | None:
    """The same for the reparametrised flow; None where class vectors are linearly dependent."""
    if np.linalg.matrix_rank(gram, tol=1e-12) < len(gram):
        return None
    missing = probabilities[:, None] * (np.eye(len(gram)) - 1 / vocabulary)  # column n: P_j (1(j = n) - 1/M)
    v = np.linalg.solve(gram, missing)
    found = [-float(gram[n] @ v[:, n] - v[n, n]) for n in range(len(gram))]
    return found
