r"""The predictions that one layer of linear attention can make from constructed tokens, as 14 features.

One layer without normalisation reads tokens (0, s_t, s_{t-1}) and predicts sum_h of
(value of t') (key of t' . query of t) over t' <= t. Over any number of heads and all weights these predictions are the
linear space of all tensors in (value, key, query). The squared loss is convex on it and its law does not change under
s_t -> U s_t, W -> U W U^T with U orthogonal, so that the average of an optimum over U is an optimum too. The tensors
that U leaves as they are pair up the four legs (output, value, key, query) [brauer1937algebras]:

    V_abc(t)   sum_{t' <= t} s_{t'-a} (s_{t'-b} . s_{t-c})      output with value, key with query; or, a and b swapped,
                                                                output with key: 8 features
    T_abc(t)   (sum_{t' <= t} s_{t'-a} . s_{t'-b}) s_{t-c}      output with query: 6 features, as T_abc = T_bac

with a, b, c in {0, 1} and s_0 = 0. (For n <= 2 there are more invariant tensors under rotations, none under O(n).)
Least squares on the 14 gives the exact optimum over one layer with as many heads as it takes. V_010 is the gradient
step from Phi = 0 on 1/2 sum |s_t' - Phi s_{t'-1}|^2: its best learning rate is a ratio of two moments.

Main statements
    features             the 14, (B, T, n, 14)
    feature_moments      G = E F^T F, c = E F^T s_{t+1}, y = E |s_{t+1}|^2, averaged over t = 1 .. T - 1: the loss of
                         any coefficients x is (y - 2 c.x + x^T G x)/2
    best_coefficients    least squares on some of the features
    one_head_minima      of the loss over x_abc = p_a k_bc: one head whose blocks are multiples of the identity
    invariant_part       the coefficients of a trained layer, and how much of it they leave out
    growth               a bound on any layer's predictions, from its weights

What symmetry says of the optimum. Under W -> -W a feature turns sign with (-1)^(a + b + c + t), the target s_{t+1} with
(-1)^(t + 1): the coefficients with an even a + b + c are 0, and so is a multiple of the identity as the start Phi_0 of
the gradient step, which would come with V_110 and with s_t itself.

What the task does not identify. For all sequences V_000 - V_110 = T_000 - T_110 = |s_t|^2 s_t, because the sums differ
in their last term alone. In noiseless ones s_{t'} . s_t = s_{t'-1} . s_{t-1} for t', t >= 2, so that V_100 = V_111 (the
term t' = 1 has the value s_0 = 0). These two are all: the 14 have rank 12 for n >= 3 and T >= 5 (tested in exact
rational numbers at n = 3, T = 5; W = diag(W_3, I) and longer sequences contain that case). With noise the rank is 13.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..mesa.sequences import SequenceTask, apply, sample_sequences
from ..mesa.tokens import shifted
from ..training.random_streams import stream
from ..training.threads import one_thread

Array = NDArray[np.float64]
NAMES = (
    *("V_000", "V_001", "V_010", "V_011", "V_100", "V_101", "V_110", "V_111"),
    *("T_000", "T_001", "T_010", "T_011", "T_110", "T_111"),
)
GRADIENT_STEP = ("V_010",)
TWO_BLOCKS = ("V_010", "V_001")  # the odd ones that one head has with the value s_t' alone
ODD = tuple(name for name in NAMES if name.count("1") % 2)
BATCH = 2048
ROUNDING = 1e-12  # of singular values beside the largest: those of exact zeros are some 14 eps
SWEEPS, STARTS, SETTLED = 2000, 8, 1e-9


def features(states: torch.Tensor, names: Sequence[str] = NAMES) -> torch.Tensor:
    """The named features at every t, (B, T, n, len(names)), from states (B, T, n)."""
    tokens = [states, shifted(states, 1)]
    pairs = {_legs(name)[1][:2] for name in names}
    moments = {(a, b): _running_moment(tokens[a], tokens[b]) for a, b in pairs}
    found = []
    for kind, (a, b, c) in map(_legs, names):
        if kind == "V":
            found.append(apply(moments[a, b], tokens[c]))
        else:
            found.append(moments[a, b].diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True) * tokens[c])
    return torch.stack(found, -1) if found else states.new_zeros(*states.shape, 0)


def _legs(name: str) -> tuple[str, tuple[int, int, int]]:
    return name[0], (int(name[2]), int(name[3]), int(name[4]))


def _running_moment(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """sum_{t' <= t} left_t' right_t'^T, (B, T, n, n)."""
    return (left.unsqueeze(-1) * right.unsqueeze(-2)).cumsum(1)


@dataclass(frozen=True)
class FeatureMoments:
    """Sample means over `count` sequences: G (14, 14), c (14,), y; and the mean squares of each draw of G and c."""

    count: int
    G: Array
    c: Array
    y: float
    G_squares: Array
    c_squares: Array

    def loss(self, x: Array, names: Sequence[str] = NAMES) -> float:
        """1/2 E |s_{t+1} - F x|^2 of the coefficients x of the named features."""
        G, c = self.restricted(names)
        return float(self.y - 2 * c @ x + x @ G @ x) / 2

    def restricted(self, names: Sequence[str]) -> tuple[Array, Array]:
        """G and c of the named features."""
        places = [NAMES.index(name) for name in names]
        return self.G[np.ix_(places, places)], self.c[places]


def radial_moments(task: SequenceTask) -> tuple[float, float, float]:
    """E r^2, E r^4 and E r^6 of r = |s_1|.

    >>> radial_moments(SequenceTask(size=3)), radial_moments(SequenceTask(size=3, initial="sphere"))
    ((3.0, 15.0, 105.0), (3.0, 9.0, 27.0))
    """
    n = float(task.size)
    if task.initial == "sphere":
        return n, n**2, n**3
    return n, n * (n + 2), n * (n + 2) * (n + 4)


def unit_sequences(task: SequenceTask, count: int, generator: torch.Generator) -> torch.Tensor:
    """Noiseless sequences with |s_1| = 1, (count, T, n) in float64: the radius r can be averaged over exactly.

    Raises ValueError for a task whose sequences are not r times such ones.
    """
    if task.kind != "linear" or task.noise_variance:
        raise ValueError(
            f"need a fully observed noiseless linear task, got {task.kind} with noise {task.noise_variance:g}; the "
            "radius is not a factor of other sequences"
        )
    drawn = sample_sequences(replace(task, initial="sphere"), count, generator).observed
    return drawn / math.sqrt(task.size)


@one_thread()
def feature_moments(
    task: SequenceTask, count: int, stream_key: str, device: str | torch.device = "cpu"
) -> FeatureMoments:
    """The moments over `count` fresh sequences, the radius and the sign of W averaged over exactly.

    G_squares and c_squares are of draws that are averaged over the radius alone.
    """
    r2, r4, r6 = radial_moments(task)
    totals = [torch.zeros(14, 14, dtype=torch.float64), torch.zeros(14, dtype=torch.float64)] * 2
    for place, start in enumerate(range(0, count, BATCH)):
        states = unit_sequences(task, min(BATCH, count - start), stream(f"{stream_key}/{place}", device))
        F = features(states)[:, :-1].flatten(1, 2)  # (B, (T - 1) n, 14)
        G = r6 * (F.mT @ F) / (task.length - 1)
        c = r4 * (F.mT @ states[:, 1:].flatten(1).unsqueeze(-1)).squeeze(-1) / (task.length - 1)
        batch = [G.sum(0), c.sum(0), G.square().sum(0), c.square().sum(0)]
        totals = [total + one.cpu() for total, one in zip(totals, batch, strict=True)]
    means = [(total / count).numpy() for total in totals]
    odd = np.array([name in ODD for name in NAMES])
    return FeatureMoments(
        count, means[0] * (odd == odd[:, None]), means[1] * odd, r2, G_squares=means[2], c_squares=means[3]
    )


def best_coefficients(moments: FeatureMoments, names: Sequence[str] = NAMES) -> Array:
    """The coefficients of the named features with the least loss; of least norm where they are not unique."""
    G, c = moments.restricted(names)
    return _solved(G, c)


def _solved(G: Array, c: Array) -> Array:
    """The x of least norm with G x = c in the sense of least squares."""
    return np.asarray(np.linalg.lstsq(G, c, rcond=ROUNDING)[0], dtype=np.float64)


def one_head_minima(moments: FeatureMoments, seed: int = 0) -> list[Array]:
    """Local minima x_abc = p_a k_bc (8 coefficients of V_abc) found by alternating least squares, the best first.

    The loss is quadratic in p and in k, but not in both. There are several minima, of nearly the same loss: one on
    V_010 and V_001 alone, and pairs on all eight that W -> -W takes to each other. The list has the ends of p = (1, 0)
    and of STARTS random starts, each once; nothing says that it is complete.
    """
    G, c = moments.restricted(NAMES[:8])
    starts = [np.array([1.0, 0.0]), *np.random.default_rng(seed).normal(size=(STARTS, 2))]
    found: list[Array] = []
    for end in (_alternated(G.reshape(2, 4, 2, 4), c.reshape(2, 4), start) for start in starts):
        if all(np.abs(end - other).max() > 1e-4 * np.abs(end).max() for other in found):
            found.append(end)
    return sorted(found, key=lambda x: float(x @ G @ x - 2 * c @ x))


def _alternated(G: Array, c: Array, start: Array) -> Array:
    p, x = start, np.zeros(c.size)
    for _ in range(SWEEPS):
        k = _solved(np.einsum("a,aibj,b->ij", p, G, p), p @ c)
        p = _solved(np.einsum("i,aibj,j->ab", k, G, k), c @ k)
        last, x = x, np.outer(p, k).ravel()
        if np.abs(x - last).max() < SETTLED * np.abs(x).max():
            break
    return x


@dataclass(frozen=True)
class InvariantPart:
    """What the features say of a layer's tensor sum_h (output, value, key, query), whatever the heads' own scales.

    coefficients: (14,), of its orthogonal projection on the features. share: of its squared norm, that of this part.
    identity_shares: (8,), of its squared norm, that along each V_abc alone, "scalar blocks for value and for key and
    query"; these eight directions are orthogonal.
    """

    coefficients: Array
    share: float
    identity_shares: Array


def layer_tensor(W_PV: Array, W_KQ: Array, n: int) -> Array:
    """X (2, 2, 2, n, n, n, n) of a one-layer model with merged weights (H, 3n, 3n): it predicts
    sum_abc sum_jkl X_abc[i, j, k, l] sum_{t' <= t} (s_{t'-a})_j (s_{t'-b})_k (s_{t-c})_l."""
    values = W_PV.reshape(-1, 3, n, 3, n)[:, 0, :, 1:]  # head, i, a, j
    scores = W_KQ.reshape(-1, 3, n, 3, n)[:, 1:, :, 1:]  # head, b, k, c, l
    tensor: Array = np.einsum("hiaj,hbkcl->abcijkl", values, scores)
    return tensor


def feature_tensor(x: Array, n: int) -> Array:
    """The same tensor for 14 coefficients."""
    tensor = np.zeros((2, 2, 2, n, n, n, n))
    eye = np.eye(n)
    for name, coefficient in zip(NAMES, x, strict=True):
        kind, legs = _legs(name)
        tensor[legs] += coefficient * np.einsum("ij,kl->ijkl" if kind == "V" else "il,jk->ijkl", eye, eye)
    return tensor


def growth(tensor: Array, length: int) -> Array:
    """k (length,) with |prediction at t| <= k_t for unit sequences, from operator norms of the blocks.

    A block abc adds at most t times its norm. Blocks 00c and 11c sum the same terms but for the last, so that 00c may
    also be moved to 11c for one term of its own norm; the lesser of the two bounds counts at each t.
    """
    t = np.arange(1, length + 1)
    norms = block_norms(tensor)
    mixed = norms[0, 1].sum() + norms[1, 0].sum()
    moved = block_norms(tensor[1:, 1:] + tensor[:1, :1])[0, 0]
    apart = [np.minimum(t * (norms[0, 0, c] + norms[1, 1, c]), t * moved[c] + norms[0, 0, c]) for c in (0, 1)]
    return np.asarray(t * mixed + sum(apart), dtype=np.float64)


def block_norms(tensor: Array) -> Array:
    """Of each block (.., n, n, n, n) the least operator norm of its three unfoldings.

    |sum X_ijkl w_i x_j y_k z_l| for unit vectors is at most the norm of X as a matrix from any two legs to the others.
    """
    n, blocks = tensor.shape[-1], tensor.shape[:3]
    norms = [
        np.linalg.norm(tensor.transpose(0, 1, 2, *order).reshape(*blocks, n * n, n * n), 2, axis=(-2, -1))
        for order in ((3, 4, 5, 6), (3, 5, 4, 6), (3, 6, 4, 5))
    ]
    return np.asarray(np.min(norms, axis=0), dtype=np.float64)


def invariant_part(W_PV: Array, W_KQ: Array, n: int) -> InvariantPart:
    """Projects a one-layer model, given by its merged weights (H, 3n, 3n), on the features.

    What never reaches a prediction is left out: rows of W_PV below the first block, and all that reads the first block
    of a token (`layer_tensor`).
    """
    tensor = layer_tensor(W_PV, W_KQ, n)
    pairings = [np.einsum(f"abc{legs}->abc", tensor) for legs in ("iikk", "ijij", "ijji")]
    gram = n * np.ones((3, 3)) + n * (n - 1) * np.eye(3)  # two pairings share n^2 entries if equal, else n
    found = _solved(gram, np.reshape(pairings, (3, 8)))
    norm = float((tensor**2).sum())
    share = float((found * np.reshape(pairings, (3, 8))).sum()) / norm
    return InvariantPart(_joined(found.reshape(3, 2, 2, 2)), share, pairings[0].ravel() ** 2 / n**2 / norm)


def _joined(found: Array) -> Array:
    """The 14 coefficients: output with key is V with a and b swapped, and T does not tell a from b."""
    value = found[0] + found[1].swapaxes(0, 1)
    trace = [found[2, 0, 0], found[2, 0, 1] + found[2, 1, 0], found[2, 1, 1]]
    return np.concatenate([value.ravel(), *trace])
