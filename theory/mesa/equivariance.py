r"""Rotations of sequences: what they do to a layer of causal linear attention, and what their average leaves of it.

A token e = (e^1, .., e^c) has c blocks of d channels, and a sequence turned by O in O(d) turns every block. Of one
quadruple of blocks a head of linear attention makes
    P x (y^T K z),      P a block of P W_V, K one of W_K^T W_Q; x = e^b_t', y = e^b'_t', z = e^b''_t,
and the layer adds this up over heads, blocks and t' <= t.
Main statements
    covariance     O^T (P O x) ((O y)^T K O z) = (O^T P O) x (y^T (O^T K O) z): turning the sequences turns the weights.
                   A law of sequences that is the law of the turned ones gives turned weights the same risk
    block          the mean of O^T M O is (tr M/d) I, over all O and already over the signed permutations: the multiple
                   of the identity nearest to M
    layer          the mean of O^T P O x (y^T O^T K O z) over O(d) is a1 x (y.z) + a2 y (x.z) + a3 z (x.y), with
                   a1 = [(d+1) tr P tr K - tr P^T K - tr P K]/D, and so on, D = d (d-1)(d+2)
    convexity      for a law that rotations leave alone, a sum of layers' terms has the risk of its mean plus
                   E |(terms - mean)(e)|^2: among all such sums (any number of heads) one of the averaged form is best
What follows, and what does not
    Multiples of the identity P = p I, K = k I have a1 = p k, a2 = a3 = 0: the compressed layer is one of the averaged
    ones. y (x.z) is the same with the blocks of key and value exchanged. z (x.y) takes d^2 heads (as a matrix with the
    places of P for rows and those of K for columns it has rank d^2): with a few heads it is out of reach. One head of
    antisymmetric blocks, P = -J and K = J, has a1 = 0 and the mean |J|^2/(d (d-1)) [z (x.y) - y (x.z)]: it makes the
    third contraction on the average, at the price of a J that no rotation leaves alone, and a projection to multiples
    of I takes it away whole. The mean of a layer is not the layer of the means; for few heads, or for more than one
    layer, nothing here says that training ends at multiples of the identity, and what trained weights do is measured
    (mesa-compressed-depth).
References
    [vonoswald2023uncovering]: compressed algorithms. [brauer1937algebras]: the invariants of O(d).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import permutations, product
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.formulas import Formula, Values
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, identity, matrix, number, trace, zero
from ..algebra.words import Letter
from ..one_layer.assumptions import AssumptionError, real_array
from ..symbols import d

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sympy as sp

P, K, M = matrix("P"), matrix("K"), matrix("M")

# The four places of P_ij K_kl, joined in pairs: x (y.z), y (x.z), z (x.y)
PAIRINGS = (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
Pairing = tuple[tuple[int, int], tuple[int, int]]


def block_mean() -> TracePolynomial:
    """The mean of O^T M O over rotations, times d: the trace times the identity.

    >>> to_text(block_mean())
    'tr(M) I'
    """
    return trace(M) * identity()


def contractions() -> tuple[TracePolynomial, ...]:
    """P_ij K_kl with its places joined by each pairing."""
    return trace(P) * trace(K), trace(P.T * K), trace(P * K)


def loops(left: Pairing, right: Pairing) -> int:
    """How many circles two pairings of four places close to: d^loops is their contraction."""
    return 2 if left == right else 1


@cache
def layer_mean() -> tuple[TracePolynomial, ...]:
    """(D a1, D a2, D a3, D): the coefficients of the mean of a layer, by their one common denominator.

    Solved from sum_q d^loops(p, q) a_q = the contraction with p, for all three p: the mean is a combination of the
    three pairings [brauer1937algebras], and averaging leaves contractions with them alone.
    """
    import sympy as sp

    n = sp.Symbol("d")
    gram = sp.Matrix(3, 3, lambda i, j: n ** loops(PAIRINGS[i], PAIRINGS[j]))
    inverse = gram.inv().applyfunc(sp.factor)
    common = sp.lcm([sp.denom(entry) for entry in inverse])
    scaled = (inverse * common).applyfunc(sp.cancel)
    numerators = [
        sum((in_d(scaled[i, j]) * one for j, one in enumerate(contractions())), zero()) for i in range(3)
    ]  # fmt: skip
    return (*numerators, in_d(sp.expand(common)))


def in_d(expression: sp.Expr) -> TracePolynomial:
    """A polynomial in d of SymPy as one of the library."""
    import sympy as sp

    total = zero()
    for (power,), value in sp.Poly(expression, sp.Symbol("d")).terms():
        total = total + number(Fraction(int(value.p), int(value.q))) * d**power
    return total


# The groups and layers of the exact checks


def signed_permutations(size: int) -> Iterator[Array]:
    """All 2^d d! of them."""
    for order in permutations(range(size)):
        for signs in product((1, -1), repeat=size):
            found = np.zeros((size, size), dtype=object)
            for row, (place, sign) in enumerate(zip(order, signs, strict=True)):
                found[row, place] = sign
            yield found


def rational_rotation(draw: random.Random, size: int) -> Array:
    """(I - S)(I + S)^-1 with a random skew S [Cayley], times signs."""
    S = np.zeros((size, size), dtype=object)
    for i in range(size):
        for j in range(i):
            S[i, j] = Fraction(draw.randint(-9, 9), 5)
            S[j, i] = -S[i, j]
    eye = np.eye(size, dtype=int).astype(object)
    signs = np.diag([draw.choice((1, -1)) for _ in range(size)]).astype(object)
    found: Array = signs @ (eye - S) @ exact_inverse(eye + S)
    return found


# z = 0, +-1, +-2 with these weights has the moments 1, 3 of a normal and no odd ones up to order 5.
FOUR_MOMENTS = {0: Fraction(1, 2), 1: Fraction(1, 6), -1: Fraction(1, 6), 2: Fraction(1, 12), -2: Fraction(1, 12)}
FOURTH_MOMENT_OF_RADIUS = 8  # E |z|^4 of two normals


def plane_rotations() -> Iterator[tuple[Array, Fraction]]:
    """Matrices r O with weights, O uniform on O(2) and r independent with E r^4 = 1, exact for degree four."""
    for (a, p), (b, q), sign in product(FOUR_MOMENTS.items(), FOUR_MOMENTS.items(), (1, -1)):
        turned = np.array([[a, -sign * b], [b, sign * a]], dtype=object)
        yield turned, p * q / 2 / FOURTH_MOMENT_OF_RADIUS


@dataclass(frozen=True)
class Instance:
    """Random rational blocks, tokens and a rotation of dimension d."""

    dimension: int
    P: Array
    K: Array
    x: Array
    y: Array
    z: Array
    rotation: Array

    def letters(self) -> dict[str, Array]:
        return {"P": self.P, "K": self.K, "M": self.P}


@cache
def instance_of(seed: int) -> Instance:
    """d = 2, 3 in turn."""
    draw, size = random.Random(f"equivariance/{seed}"), 2 + seed % 2
    P_at, K_at = (rational(draw, size, size) for _ in range(2))
    x, y, z = (rational(draw, size, 1) for _ in range(3))
    return Instance(size, P_at, K_at, x, y, z, rational_rotation(draw, size))


def rational(draw: random.Random, rows: int, cols: int) -> Array:
    """Independent fractions."""
    entries = [[Fraction(draw.randint(-97, 97), draw.randint(1, 9)) for _ in range(cols)] for _ in range(rows)]
    return np.array(entries, dtype=object)


def head(P: Array, K: Array, x: Array, y: Array, z: Array) -> Array:
    """P x (y^T K z), (d, 1)."""
    found: Array = P @ x * (y.T @ K @ z)[0, 0]
    return found


def covariance_sides(seed: int) -> tuple[Array, Array]:
    """The head on turned tokens, turned back; and turned weights on the tokens themselves."""
    one = instance_of(seed)
    R = one.rotation
    turned = R.T @ head(one.P, one.K, R @ one.x, R @ one.y, R @ one.z)
    return turned, head(R.T @ one.P @ R, R.T @ one.K @ R, one.x, one.y, one.z)


def turned_trajectory(seed: int) -> tuple[Array, Array]:
    """s_1, .., s_4 of O W O^T from O s_1 with the noise turned; and O times those of W."""
    one = instance_of(seed)
    R, W, noise = one.rotation, one.P, (one.y, one.z, one.x)
    plain, turned = [one.x], [R @ one.x]
    for eps in noise:
        plain.append(W @ plain[-1] + eps)
        turned.append(R @ W @ R.T @ turned[-1] + R @ eps)
    return np.array(turned), np.array([R @ s for s in plain])


def block_sides(seed: int) -> tuple[Any, Any]:
    """The mean over signed permutations, times d; and the polynomial."""
    one = instance_of(seed)
    group = list(signed_permutations(one.dimension))
    total = sum(R.T @ one.P @ R for R in group)
    return Fraction(one.dimension, len(group)) * total, evaluate(block_mean(), one.letters())


def mean_output(one: Instance) -> Array:
    """a1 x (y.z) + a2 y (x.z) + a3 z (x.y)."""
    *numerators, denominator = (evaluate(part, one.letters()) for part in layer_mean())
    x, y, z = one.x, one.y, one.z
    outputs = (x * (y.T @ z)[0, 0], y * (x.T @ z)[0, 0], z * (x.T @ y)[0, 0])
    total: Array = sum(a / denominator * output for a, output in zip(numerators, outputs, strict=True))
    return total


def layer_sides(seed: int) -> tuple[Array, Array]:
    """The mean of turned heads in the plane, every rotation; and the three pairings."""
    one = instance_of(2 * seed)  # d = 2
    total = sum(
        weight * R.T @ head(one.P, one.K, R @ one.x, R @ one.y, R @ one.z) for R, weight in plane_rotations()
    )  # fmt: skip
    return total, mean_output(one)


def contraction_sides(seed: int) -> tuple[Array, Array]:
    """Contractions of P_ij K_kl and of the mean with all three pairings, in three dimensions."""
    one = instance_of(2 * seed + 1)
    *numerators, denominator = (evaluate(part, one.letters()) for part in layer_mean())
    mean = sum(
        a / denominator * pairing_tensor(p, one.dimension) for a, p in zip(numerators, PAIRINGS, strict=True)
    )  # fmt: skip
    tensor = np.multiply.outer(one.P, one.K)
    sides = [[np.sum(T * pairing_tensor(p, one.dimension)) for p in PAIRINGS] for T in (tensor, mean)]
    return np.array(sides[0]), np.array(sides[1])


def pairing_tensor(pairing: Pairing, size: int) -> Array:
    """delta delta (d, d, d, d), the deltas on the places of a pairing."""
    found = np.zeros((size,) * 4, dtype=object)
    for places in product(range(size), repeat=4):
        found[places] = int(all(places[a] == places[b] for a, b in pairing))
    return found


def risk_sides(seed: int) -> tuple[Fraction, Fraction]:
    """Two heads on all turned copies of two prompts in the plane: their risk; that of the mean layer plus the distance.

    The group is that of the signed permutations, whose mean layer is the mean over its 2^d d! turned weights.
    """
    one, other = instance_of(2 * seed), instance_of(2 * seed + 2)
    group = list(signed_permutations(one.dimension))
    prompts = [(p.x, p.y, p.z, p.P[:, :1]) for p in (one, other)]

    def terms(R: Array, x: Array, y: Array, z: Array) -> Any:
        heads = ((one.P, one.K), (other.P, other.K))
        return np.sum([head(R.T @ p @ R, R.T @ k @ R, x, y, z) for p, k in heads], axis=0)

    eye, risk, split, count = group[0] @ group[0].T, Fraction(0), Fraction(0), 2 * len(group)
    for prompt in prompts:
        for R in group:
            *tokens, target = (R @ column for column in prompt)
            mean = sum(terms(G, *tokens) for G in group) / Fraction(len(group))
            risk += np.sum((terms(eye, *tokens) - target) ** 2) / count
            split += (np.sum((mean - target) ** 2) + np.sum((terms(eye, *tokens) - mean) ** 2)) / count
    return risk, split


@cache
def derivation() -> Derivation:
    """The law, the layer, the mean of a block, that of a layer, and what averaging does to the risk."""
    n1, n2, n3, denominator = layer_mean()
    steps = (
        Step(
            "rotated sequences",
            "s_t of (O W O^T, O s_1, O eps)",
            "O s_t of (W, s_1, eps)",
            r"s_t(OWO^\top, Os_1, O\varepsilon) = O\, s_t(W, s_1, \varepsilon)",
            "s_{t+1} = W s_t + eps_t, step by step",
            turned_trajectory,
            proof=(
                "W Haar on O(d) (or O W O^T ~ W), s_1 ~ N(0, I) or uniform on a sphere, and eps ~ N(0, sigma^2 I) have "
                "the law of their turned copies: so has the sequence, and with it every token made of its states."
            ),
        ),
        Step(
            "covariance of the layer",
            "O^T P O x ((O y)^T K O z)",
            "(O^T P O) x (y^T (O^T K O) z)",
            r"O^\top P O x\,\bigl((Oy)^\top K O z\bigr) = (O^\top P O)\,x\,\bigl(y^\top (O^\top K O)\,z\bigr)",
            "every block turns with the sequence; so turned weights have the same risk, at any depth",
            covariance_sides,
        ),
        Step(
            "mean of a block",
            "d times the mean of O^T M O",
            to_text(block_mean()),
            rf"d\;\mathbb{{E}}_O\, O^\top M O = {to_latex(block_mean())}",
            "the mean commutes with every signed permutation: with the signs it is diagonal, with the permutations a "
            "multiple of I; its trace is that of M",
            block_sides,
            forms={"mean": block_mean()},
        ),
        Step(
            "mean of a layer",
            "E_O O^T P O x (y^T O^T K O z)",
            f"[a1 x (y.z) + a2 y (x.z) + a3 z (x.y)]/D, a1 = {to_text(n1)}; a2 = {to_text(n2)}; a3 = {to_text(n3)}; "
            f"D = {to_text(denominator)}",
            r"\mathbb{E}_O\, O^\top P O x\,(y^\top O^\top K O z) = \tfrac1D\bigl[a_1\, x\,(y\cdot z) + a_2\, y\,"
            rf"(x\cdot z) + a_3\, z\,(x\cdot y)\bigr],\quad a_1 = {to_latex(n1)},\ D = {to_latex(denominator)}",
            "the invariants of O(d) of degree four are the three pairings; their coefficients from the contractions",
            layer_sides,
            forms={"a1": n1, "a2": n2, "a3": n3, "D": denominator},
        ),
        Step(
            "contractions",
            "contractions of P_ij K_kl with the three pairings",
            "those of the mean",
            r"\operatorname{tr}P\operatorname{tr}K = d^2 a_1 + d a_2 + d a_3,\ \ldots",
            "a contraction with a pairing does not change under rotations",
            contraction_sides,
        ),
        Step(
            "risk of the mean layer",
            "E |terms(e) - target|^2",
            "E |mean(e) - target|^2 + E |terms(e) - mean(e)|^2",
            r"\mathbb{E}\lvert f(e) - y\rvert^2 = \mathbb{E}\lvert \bar f(e) - y\rvert^2 + \mathbb{E}\lvert f(e) - "
            r"\bar f(e)\rvert^2",
            "the law is that of the turned prompts, so the cross term is an average of f - fbar over turned weights",
            risk_sides,
        ),
    )
    results = {"block": block_mean(), "a1": n1, "a2": n2, "a3": n3, "D": denominator}
    return Derivation(replace(STATEMENT, latex=steps[3].latex), steps, results, lambda seed: seed)


STATEMENT = Statement(
    identifier="mesa-compressed-depth",
    title="Trained linear attention and its compressed algorithm: multiples of the identity in every block",
    latex="",  # that of the step `mean of a layer`, filled in by `derivation`
    text=(
        "Derived: the law of the sequences does not change under rotations, turned weights have the same risk, and "
        "averaging over rotations leaves (tr M/d) I of a block and three contractions of a layer. Measured: "
        "at least half of autoregressive trainings of deep linear attention end where the compressed algorithm of the "
        "same depth, fitted from the projected weights, loses at most 5 % of the loss, and the one a layer shallower "
        "more."
    ),
    assumptions=(
        "s_{t+1} = W s_t + eps_t, W Haar on O(d), s_1 ~ N(0, I) or uniform on a sphere, eps_t ~ N(0, sigma^2 I), all "
        "independent",
        "tokens made of blocks of states; layers of causal linear attention with residual connections",
        "mean of a layer: d >= 2",
    ),
    conventions="P is a block of P W_V, K one of W_K^T W_Q; d is the size of a state; no 1/t",
    sources=(
        Source("vonoswald2023uncovering", "CompressedAlg-d (RevAlg-d in v1), measured"),
        Source("ours", "the means over rotations, and the risk of the mean layer"),
    ),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """(tr P/d, tr K/d, a1/D, a2/D, a3/D) of the letters P and K."""
    n1, n2, n3, denominator = layer_mean()
    parts = {"a1": n1, "a2": n2, "a3": n3, "D": denominator}
    return Formula(parts, coefficients, Vocabulary({}, {"P": (Letter("K"),), "K": (Letter("P"),)}))


def coefficients(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """(a1, a2, a3)/D; ValueError where D is 0."""
    *numerators, denominator = (evaluate(parts[name], values) for name in ("a1", "a2", "a3", "D"))
    if not denominator:
        raise ValueError("need d >= 2 for the mean of a layer")
    return np.array([one / denominator for one in numerators])


def points(name: str) -> list[dict[str, Any]]:
    """Random rational blocks of dimension 2, 3 and 4."""
    draws = [(random.Random(f"{name}/{k}"), size) for k, size in enumerate((2, 3, 3, 4))]
    return [{"P": rational(draw, size, size), "K": rational(draw, size, size)} for draw, size in draws]


def block_pair(value_projection: Any, key_query: Any) -> dict[str, Any]:
    """Multiples of the identity, the mean of the layer, and the share outside of a pair of blocks (d x d).

    Raises AssumptionError.

    >>> block_pair([[1, 0], [0, 3]], [[2, 0], [0, 2]])["value_multiple"]
    2.0
    """
    blocks = [
        real_array(value, name) for value, name in ((value_projection, "value_projection"), (key_query, "key_query"))
    ]
    size = len(blocks[0]) if blocks[0].ndim == 2 else 0
    if size < 2 or any(block.shape != (size, size) for block in blocks):
        shapes = " and ".join(str(block.shape) for block in blocks)
        raise AssumptionError(f"value_projection and key_query need one square shape with d >= 2, got {shapes}")
    multiples = [float(np.trace(block)) / size for block in blocks]
    return {
        "value_multiple": multiples[0],
        "key_query_multiple": multiples[1],
        "outside_value": outside(blocks[0], multiples[0]),
        "outside_key_query": outside(blocks[1], multiples[1]),
        "layer_coefficients": [float(one) for one in formula().value({"P": blocks[0], "K": blocks[1]})],
    }


def outside(block: Any, multiple: float) -> float:
    """|M - m I|^2/|M|^2, 0 for M = 0."""
    total = float(np.sum(block**2))
    return float(np.sum((block - multiple * np.eye(len(block))) ** 2)) / total if total else 0.0
