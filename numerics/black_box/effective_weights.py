r"""The weights of a layer of linear attention, read off its answers to prompts with one token that is not zero.

With any number of heads and any convention, a layer of linear attention answers
    N yhat = sum over tokens z = (x, y) of z^T G(q) z + c q^T G_xx(q) q,     G(q) = sum_k q_k G_k,
with symmetric G_k (d+1, d+1), and c = 1 where the query is among keys and values, 0 where it is masked.
Main statements
    probing       one context token z, query e_k, all other tokens 0; h = N yhat, h_0 the answer with no token at all:
                  A_ik = (h(e_i, +1) - h(e_i, -1))/2           what is odd in the labels: twice the entry (i, y) of G_k
                  G_k[i, i] = h(e_i, 0) - h_0,  G_k[y, y] = h(0, 1) - h_0
                  G_k[i, j] = (h(e_i + e_j, 0) - h(e_i, 0) - h(e_j, 0) + h_0)/2
    one step      where all of G_xx and G_yy is 0, the layer is one step of preconditioned gradient descent:
                  yhat = s^T A x_q, s = (1/N) sum y_i x_i
    form          whether the model is such a layer at all: fresh random prompts of several sizes against the formula
    lengths       how A changes with N says whether the model divides by N, by N + 1 or not at all
Tolerance
    An answer computed with unit roundoff u in m additions and multiplications is off by at most
    g = m u/(1 - m u) times the sum T of the sizes of its terms [higham2002accuracy, Lemma 3.1]. Here m = 8 (N + D) + 64
    with D = d + 1: the layer in any order of its products through heads of width up to 4 D. T is bounded by G in sizes,
    T(z, q) = |z|^T |G|(|q|) |z|; to it belongs what reading G adds, the same bound at each probe. A layer whose terms
    cancel inside (two heads that are nearly opposite) has larger terms than G shows, and may be refused for it; no
    model is accepted that is off by more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..users_models.functions import UsersCodeError
from .asked import Array, AskedModel

Key = NDArray[np.int64]
FRESH_PROMPTS = 96
SIZES = (0.3, 1.0, 3.0)  # of the covariates in the fresh prompts
COARSEST = 0.01  # a tolerance above this share of the answers' size decides nothing


class NotLinearAttentionError(ValueError):
    """A model whose answers are not those of any layer of linear attention; the message says how far off they are."""


@dataclass(frozen=True)
class EffectiveWeights:
    """What probing reads.

    preconditioner  A (d, d);  tensor: G (d, d+1, d+1), by query coordinate, with labels last
    query           "inside" or "masked"; "not identifiable" where G_xx is 0, so that the two are one function
    residual        the largest |answer - formula| on fresh prompts, and the largest share of its tolerance
    relative        root mean square of that difference in units of the answers'
    tolerance       the largest tolerance in units of the answers' root mean square
    even            root mean square of the even part of the formula on the fresh prompts, in the same units
    odd_only        whether every even entry of G is 0 up to its own tolerance
    probes          how many prompts with at most two tokens were asked;  prompts: how many fresh ones
    """

    context_length: int
    preconditioner: Array
    tensor: Array
    query: str
    residual: float
    used: float
    relative: float
    tolerance: float
    even: float
    odd_only: bool
    probes: int
    prompts: int

    @property
    def decides(self) -> bool:
        """Whether the arithmetic is fine enough to tell."""
        return self.tolerance <= COARSEST

    @property
    def is_linear_attention(self) -> bool:
        return self.decides and self.used <= 1


def read_effective_weights(model: AskedModel, dimension: int, context_length: int) -> EffectiveWeights:
    """The weights of a model that is linear attention. Raises NotLinearAttentionError where it is not one."""
    found = probe(model, dimension, context_length)
    if not found.decides:
        raise NotLinearAttentionError(
            f"the arithmetic of {model.name} is too coarse to tell: rounding alone allows {found.tolerance:.2g} of its "
            "answers' size; ask it in float32 or float64"
        )
    if not found.is_linear_attention:
        raise NotLinearAttentionError(
            f"{model.name} is no layer of linear attention: on {found.prompts} fresh prompts it is "
            f"{found.relative:.3g} of its answers' size away from the layer that its answers to single tokens make, "
            f"{found.used:.3g} times what rounding allows; it has no effective weights"
        )
    return found


def probe(
    model: AskedModel, dimension: int, context_length: int, further: tuple[Array, Array, Array] | None = None
) -> EffectiveWeights:
    """Read A and G, and compare the layer that they make with the model on fresh prompts, and on `further` ones.

    further: xs (P, N, d), ys (P, N), x_query (P, d).
    """
    d, N = dimension, context_length
    answers = _Probes(model, d, N)
    A, diagonal, label, nothing = answers.odd(), answers.diagonal(), answers.label(), answers.nothing
    G = _tensor(A, diagonal, label, answers.off_diagonal())
    errors = _reading_errors(G, nothing)
    xs, ys, q = fresh_prompts(d, N)
    if further is not None:
        xs, ys, q = (np.concatenate(both) for both in zip((xs, ys, q), further, strict=True))
    found = model(xs, ys, q)
    rounding = _rounding(N, d, max(answers.unit, found.unit))
    query = _query(G, nothing, rounding * errors)
    inside = query == "inside"
    difference = np.abs(found.last - layer(G, xs, ys, q, inside))
    size = float(np.sqrt(np.mean(found.last**2)))
    allowed = rounding * layer(np.abs(G) + errors, np.abs(xs), np.abs(ys), np.abs(q), True) + np.finfo(float).tiny
    even = G.copy()
    even[:, :d, d] = even[:, d, :d] = 0
    scale = size if size > 0 else 1.0
    return EffectiveWeights(
        context_length=N,
        preconditioner=A,
        tensor=G,
        query=query,
        residual=float(difference.max()),
        used=float((difference / allowed).max()),
        relative=float(np.sqrt(np.mean(difference**2))) / scale,
        tolerance=float(allowed.max()) / scale if size > 0 else 0.0,
        even=float(np.sqrt(np.mean(layer(even, xs, ys, q, inside) ** 2))) / scale,
        odd_only=bool((np.abs(even) <= rounding * errors).all()),
        probes=answers.asked,
        prompts=len(xs),
    )


def layer(G: Array, xs: Array, ys: Array, q: Array, inside: bool) -> Array:
    """yhat (B,) of the layer with the tensor G on prompts xs (B, N, d), ys (B, N), q (B, d)."""
    z = np.concatenate([xs, ys[..., None]], 2)
    moments = np.einsum("bna,bnc->bac", z, z)
    total: Array = np.einsum("bac,kac,bk->b", moments, G, q, optimize=True)
    if inside:
        total = total + np.einsum("ba,bc,kac,bk->b", q, q, G[:, :-1, :-1], q, optimize=True)
    return np.asarray(total / xs.shape[1])


def fresh_prompts(d: int, N: int) -> tuple[Array, Array, Array]:
    """Standard normal prompts with covariates of three sizes, the same for every model."""
    draw = np.random.default_rng([d, N, 20261123])
    xs, ys = draw.normal(size=(FRESH_PROMPTS, N, d)), draw.normal(size=(FRESH_PROMPTS, N))
    sizes = np.resize(SIZES, FRESH_PROMPTS)
    return sizes[:, None, None] * xs, ys, draw.normal(size=(FRESH_PROMPTS, d))


class _Probes:
    """h = N yhat at one context token and each query e_k, and how many prompts were asked."""

    def __init__(self, model: AskedModel, d: int, N: int) -> None:
        self.model, self.d, self.N = model, d, N
        self.asked, self.unit = 0, 0.0
        self.nothing = self.at(np.zeros((1, d + 1)))[0]
        self.plain = self.at(np.eye(d + 1)[:d])

    def at(self, tokens: Array) -> Array:
        """h (tokens, d): entry [t, k] is at the token (x, y) = tokens[t] and the query e_k."""
        count, d = len(tokens), self.d
        xs, ys = np.zeros((count * d, self.N, d)), np.zeros((count * d, self.N))
        xs[:, 0], ys[:, 0] = np.repeat(tokens[:, :d], d, 0), np.repeat(tokens[:, d], d)
        try:
            answers = self.model(xs, ys, np.tile(np.eye(d), (count, 1)))
        except UsersCodeError as error:
            raise UsersCodeError(
                f"{error} (effective weights are read from prompts with at most one token that is not 0, at "
                f"{self.N} tokens; a model that is not defined there has none)"
            ) from error
        self.asked, self.unit = self.asked + count * d, max(self.unit, answers.unit)
        return self.N * answers.last.reshape(count, d)

    def odd(self) -> Array:
        """A (d, d)."""
        labelled = np.eye(self.d, self.d + 1)
        labelled[:, -1] = 1
        up = self.at(labelled)
        labelled[:, -1] = -1
        return np.asarray((up - self.at(labelled)) / 2)

    def diagonal(self) -> Array:
        """[i, k]: G_k[i, i]."""
        return np.asarray(self.plain - self.nothing)

    def label(self) -> Array:
        """[k]: G_k[y, y]."""
        token = np.zeros((1, self.d + 1))
        token[0, -1] = 1
        found: Array = self.at(token)[0] - self.nothing
        return found

    def off_diagonal(self) -> Array:
        """[i, j, k] for i < j: G_k[i, j]."""
        d, eye = self.d, np.eye(self.d, self.d + 1)
        pairs = [(i, j) for i in range(d) for j in range(i + 1, d)]
        found = np.zeros((d, d, d))
        if pairs:
            first, second = np.array(pairs).T
            both = self.at(eye[first] + eye[second])
            found[first, second] = (both - self.plain[first] - self.plain[second] + self.nothing) / 2
        return found


def _tensor(A: Array, diagonal: Array, label: Array, off_diagonal: Array) -> Array:
    """G (d, d + 1, d + 1), symmetric in its last two axes."""
    d = len(A)
    G = np.zeros((d, d + 1, d + 1))
    G[:, :d, :d] = np.moveaxis(off_diagonal + off_diagonal.swapaxes(0, 1), 2, 0)
    G[:, range(d), range(d)] = diagonal.T
    G[:, :d, d] = G[:, d, :d] = A.T / 2
    G[:, d, d] = label
    return G


def _reading_errors(G: Array, nothing: Array) -> Array:
    """Bounds on the errors of G in units of the rounding factor: the sizes of the answers that it is made of."""
    d = G.shape[0]
    sizes, empty = np.abs(G), np.abs(nothing)[:, None, None]
    diagonal = np.einsum("kaa->ka", sizes)
    pair = diagonal[:, :, None] + diagonal[:, None, :] + 2 * sizes  # |h(e_a + e_b)| at most
    errors = pair + 2 * empty
    errors[:, range(d + 1), range(d + 1)] = diagonal + 2 * empty[:, :, 0]
    return np.asarray(errors)


def _rounding(N: int, d: int, unit: float) -> float:
    """m u/(1 - m u) of the module's docstring; infinite where the arithmetic is too coarse for it."""
    product = (8 * (N + d + 1) + 64) * unit
    return product / (1 - product) if product < 1 else np.inf


def _query(G: Array, nothing: Array, errors: Array) -> str:
    """Whether the answer without any context is q^T G_xx(q) q at q = e_k, or 0."""
    d = G.shape[0]
    own = G[range(d), range(d), range(d)]
    allowed = errors[range(d), range(d), range(d)]
    if (np.abs(G[:, :d, :d]) <= errors[:, :d, :d]).all() and (np.abs(nothing) <= allowed).all():
        return "not identifiable"
    return "inside" if np.abs(nothing - own).sum() < np.abs(nothing).sum() else "masked"


def normalisation(model: AskedModel, found: EffectiveWeights, longer: int) -> str:
    """How A depends on the length: "1/N", "1/(N+1)", "none", or "another"; the model is asked at `longer` tokens too.

    Raises what the model raises at that length.
    """
    d, N = len(found.preconditioner), found.context_length
    other = _Probes(model, d, longer)
    i, k = np.unravel_index(np.argmax(np.abs(found.preconditioner)), (d, d))
    token = np.zeros((2, d + 1))
    token[:, i], token[:, -1] = 1, (1, -1)
    up, down = other.at(token)[:, k]
    # Each factor is a number of its own kind: A(longer)/A(N) is 1, (M/(M+1))/(N/(N+1)) or M/N for M = longer.
    ratio = (up - down) / 2 / found.preconditioner[i, k]
    sizes = _reading_errors(found.tensor, np.zeros(d))[k, i, -1] / abs(found.preconditioner[i, k])
    allowed = 4 * _rounding(longer, d, other.unit) * longer / N * sizes
    kinds = {"1/N": 1.0, "1/(N+1)": longer / (longer + 1) * (N + 1) / N, "none": longer / N}
    return next((name for name, factor in kinds.items() if abs(ratio - factor) <= allowed), "another")
