r"""Risks of baselines measured: over Gauss nodes, by enumeration, by quadrature, and over fresh prompts.

Examples x_i ~ N(0, I_d), labels y_i = w.x_i + e_i; the risk of an estimate w_hat is E |w_hat - w|^2, the mean square of
its error at a query x_q ~ N(0, I).
Main statements
    polynomial risks      averaging and gradient steps are polynomials of a prompt: product Gauss rules are exact
    designs               an estimator that is linear in the labels has a risk that depends on the second moments of
                          the task and of the noise alone; so the tasks sqrt(W) e_j and the noises +-sigma sqrt(n) e_i
                          stand for all with E w w^T = (W/d) I and E e e^T = sigma^2 I (`design`)
    left and right turns  E over tasks and noises of such designs sees X through its singular values, if the estimator
                          turns with its examples; so X may be replaced by any matrix with the same Gram matrix X X^T
                          or X^T X of the smaller side, of size m, N being the larger
    least squares         the m x m Gram matrix G of N samples has the density prop. to det(G)^((N - m - 1)/2)
                          e^(-tr G/2) [muirhead1982aspects]: its mean of f is that of det(G) f under N - 2 >= m
                          samples, divided by that of det(G). The error of least squares times det(G) is a polynomial
                          of degree at most 2 in each entry of these N - 2 samples, so that any law of independent
                          entries with mean 0 and variance 1 has the same mean: here a with probability 1/(1 + a^2) and
                          -1/a else, with an a of its own for each entry, so that no Gram matrix is singular. N >= m + 2
    ridge                 G = T T^T with T lower triangular, independent entries, T_ij ~ N(0, 1), T_jj^2 ~ chi^2_(N-j+1)
                          (Gram and Schmidt on Gaussian columns): an integral over m (m + 1)/2 numbers
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..one_layer import cubature
from ..one_layer.gauss_rules import Degrees
from ..one_layer.gradient_step import examples, query
from ..one_layer.prompts import PromptDistribution, Prompts
from ..training.random_streams import standard_normals, stream
from ..training.threads import one_thread
from .baselines import Estimator, baseline, estimator

Plain = Mapping[str, Any]
CHUNK = 8192
LARGEST_ENUMERATION = 16
GOLDEN = (math.sqrt(5) - 1) / 2
EPS = float(np.finfo(np.float64).eps)
STEP = Degrees(context=2, query=1, task=1, noise=1)  # of a gradient step from 0: y_i x_i . x_q


def polynomial_risks(cases: Sequence[Plain], device: str = "cpu") -> dict[str, Any]:
    """E (prediction - w.x_q)^2 of gradient steps, exactly: each case holds a `distribution` and a `baseline`."""
    del device  # Gauss nodes are summed on the CPU
    found: dict[str, list[Any]] = {"risk": [], "rounding": [], "nodes": []}
    for case in cases:
        result = polynomial_risk(PromptDistribution.from_plain(case["distribution"]), case["baseline"])
        found["risk"].append(float(result.value[0]))
        found["rounding"].append(float(result.rounding[0]))
        found["nodes"].append(result.nodes)
    return found


def polynomial_risk(law: PromptDistribution, kind: Plain) -> cubature.Expectation:
    """The same for one law; value (1,)."""
    predictor = baseline(kind)

    def squared_error(prompts: Prompts) -> Tensor:
        xs, ys = examples(prompts)
        error = predictor(xs.mT, ys, query(prompts)) - prompts.target
        return error.square()[None]

    return cubature.expectation(squared_error, law, (), STEP + STEP)


class Design(NamedTuple):
    """Tasks (K, d) and noises (K, n) with mean 0 beside each task, E w w^T = (W/d) I, E e e^T = sigma^2 I."""

    tasks: Tensor
    noises: Tensor


def design(dimension: int, length: int, squared_norm: float, noise_variance: float) -> Design:
    """Pairs (e_(k mod d), +-e_(k mod n)) for k below the least common multiple: every axis equally often."""
    count = math.lcm(dimension, length)
    k = torch.arange(count)
    tasks = math.sqrt(squared_norm) * torch.eye(dimension, dtype=torch.float64)[k % dimension]
    noises = math.sqrt(noise_variance * length) * torch.eye(length, dtype=torch.float64)[k % length]
    return Design(torch.cat([tasks, tasks]), torch.cat([noises, -noises]))


def errors_over(weights: Estimator, X: Tensor, over: Design) -> Tensor:
    """The mean of |w_hat - w|^2 over a design for each of the examples X (B, n, d), (B,)."""
    total = torch.zeros(len(X), dtype=X.dtype)
    for task, noise in zip(over.tasks, over.noises, strict=True):
        total += (weights(X, X @ task + noise) - task).square().sum(-1)
    return total / len(over.tasks)


@one_thread()
def enumerated_least_squares(cases: Sequence[Plain], device: str = "cpu") -> dict[str, Any]:
    """The risk of least squares of least norm, exactly, where n and d differ by two or more.

    Each case: dimension, length, squared_norm, noise_variance. rounding: what rounding may have changed, from the
    condition numbers of the examples and their weights.
    """
    del device
    found: dict[str, list[Any]] = {"risk": [], "rounding": [], "matrices": []}
    weights = estimator({"kind": "least-squares"})
    for case in cases:
        d, n = case["dimension"], case["length"]
        over = design(d, n, case["squared_norm"], case["noise_variance"])
        total = shares = rounding = 0.0
        matrices = 0
        for entries, probability in two_valued_matrices(min(n, d), max(n, d) - 2):
            gram = entries @ entries.mT
            share, X = probability * torch.linalg.det(gram), padded(entries, n, d)
            errors = errors_over(weights, X, over)
            total += float(share @ errors)
            shares += float(share.sum())
            rounding += float(share @ (errors * torch.linalg.cond(gram)))
            matrices += len(entries)
        found["risk"].append(total / shares)
        # w_hat is found to eps times the condition number of X, squared where labels are not fitted, times a factor of
        # the sizes, for which 100 is ample here [higham2002accuracy, Theorem 20.1]; squares double it, and det G has
        # one too.
        found["rounding"].append(100 * EPS * rounding / shares)
        found["matrices"].append(matrices)
    return found


def two_valued_matrices(rows: int, columns: int) -> Iterator[tuple[Tensor, Tensor]]:
    """All matrices (B, rows, columns) with entries a or -1/a, and their probabilities (B,), some at a time."""
    size = rows * columns
    if not 0 < rows <= columns or size > LARGEST_ENUMERATION:
        raise ValueError(
            f"need lengths and dimensions that differ by two or more, with at most 2^{LARGEST_ENUMERATION} matrices, "
            f"got {rows} x {columns}"
        )
    a = 1 + (GOLDEN * torch.arange(1, size + 1, dtype=torch.float64)) % 1  # in (1, 2), without a pattern
    for start in range(0, 2**size, CHUNK):
        number = torch.arange(start, min(start + CHUNK, 2**size))
        up = (number[:, None] >> torch.arange(size)) % 2 == 1
        probability = torch.where(up, 1 / (1 + a**2), a**2 / (1 + a**2)).prod(1)
        yield torch.where(up, a, -1 / a).view(-1, rows, columns), probability


def padded(lower: Tensor, length: int, dimension: int) -> Tensor:
    """Examples (B, n, d) whose smaller Gram matrix is that of the rows of `lower` (B, m, k)."""
    X = torch.zeros(len(lower), length, dimension, dtype=lower.dtype)
    if length <= dimension:
        X[:, :, : lower.shape[2]] = lower
    else:
        X[:, : lower.shape[2], :] = lower.mT
    return X


@one_thread()
def integrated_ridge(cases: Sequence[Plain], device: str = "cpu") -> dict[str, Any]:
    """The risk of ridge regression for min(n, d) <= 2, by Gauss and Legendre at two numbers of nodes.

    Each case: dimension, length, squared_norm, noise_variance, penalty, nodes. coarse: with four fifths of the nodes.
    """
    del device
    found: dict[str, list[Any]] = {"risk": [], "coarse": [], "nodes": []}
    for case in cases:
        for name, nodes in (("risk", case["nodes"]), ("coarse", 4 * case["nodes"] // 5)):
            value, count = ridge_integral(case, nodes)
            found[name].append(value)
        found["nodes"].append(count)
    return found


def ridge_integral(case: Plain, nodes: int) -> tuple[float, int]:
    """The integral with so many nodes for each number, and their total."""
    d, n = case["dimension"], case["length"]
    m, N = min(n, d), max(n, d)
    if m > 2:
        raise ValueError(f"need a dimension or a length of at most 2, got {d} and {n}")
    sides = [chi_rule(N - j, nodes) for j in range(m)] + [normal_rule(nodes)] * (m - 1)
    points = torch.cartesian_prod(*(points for points, _ in sides)).view(-1, len(sides))
    share = torch.cartesian_prod(*(share for _, share in sides)).view(-1, len(sides)).prod(1)
    T = torch.zeros(len(points), m, m, dtype=torch.float64)
    for j in range(m):
        T[:, j, j] = points[:, j]
    if m == 2:
        T[:, 1, 0] = points[:, 2]
    over = design(d, n, case["squared_norm"], case["noise_variance"])
    weights = estimator({"kind": "ridge", "penalty": case["penalty"]})
    total = float(share @ errors_over(weights, padded(T, n, d), over))
    return total, len(points)


def chi_rule(freedom: int, nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes and shares of chi with that many degrees of freedom: density prop. to s^(freedom - 1) e^(-s^2/2).

    Beyond sqrt(freedom) + 7 there is less than e^(-49/2) = 2e-11 of it (chi is 1-Lipschitz, so its tail is normal).
    """
    s, weights = np.polynomial.legendre.leggauss(nodes)
    end = math.sqrt(freedom) + 7
    s, weights = end * (s + 1) / 2, end * weights / 2
    constant = 2 ** (1 - freedom / 2) / math.gamma(freedom / 2)
    return torch.from_numpy(s), torch.from_numpy(weights * constant * s ** (freedom - 1) * np.exp(-s * s / 2))


def normal_rule(nodes: int) -> tuple[Tensor, Tensor]:
    """|z| for z ~ N(0, 1), which is chi with one degree: the error is even in the entry below the diagonal."""
    return chi_rule(1, nodes)


@one_thread()
def sampled_errors(
    baseline: Plain,
    length: int,
    task: Sequence[float],
    noise_variance: float,
    noise: str,
    prompts: int,
    stream_key: str,
    device: str = "cpu",
) -> dict[str, Any]:
    """Sums of |w_hat - w|^2 and of its square over fresh examples and noise, for one task w.

    noise: "gaussian", or "signs" (+-sigma, equally likely: bounded, with the same second moments).
    """
    w = torch.tensor(task, dtype=torch.float64, device=device)
    weights, generator = estimator(baseline), stream(stream_key, device)
    total = squares = torch.zeros((), dtype=torch.float64, device=device)
    for count in chunks(prompts):
        X = standard_normals((count, length, len(w)), generator, torch.float64)
        e = standard_normals((count, length), generator, torch.float64)
        e = e.sign() if noise == "signs" else e
        error = (weights(X, X @ w + math.sqrt(noise_variance) * e) - w).square().sum(-1)
        total, squares = total + error.sum(), squares + error.square().sum()
    return {"count": prompts, "sum": float(total), "sum_of_squares": float(squares)}


def chunks(prompts: int) -> Iterator[int]:
    """Sizes that add up to `prompts`."""
    for start in range(0, prompts, CHUNK):
        yield min(CHUNK, prompts - start)
