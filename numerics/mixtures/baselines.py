r"""Predictors that are no network, on the same prompts: from the prediction 0 to the lasso.

A predictor maps n >= 0 examples xs (B, n, d), ys (B, n) and a query (B, d) to predictions (B,). As plain data
    {"kind": "zero"}                              0
    {"kind": "averaging"}                         w.x with w = (1/n) sum y_i x_i
    {"kind": "one-step", "rate": eta}             w = (eta/n) sum y_i x_i: a gradient step from 0 on the mean square/2
    {"kind": "least-squares"}                     the w of least norm that minimises sum (w.x_i - y_i)^2
    {"kind": "ridge", "penalty": lambda}          w = (X^T X + lambda I)^-1 X^T y
    {"kind": "lasso", "penalty": lambda}          the w that minimises (1/2n) |X w - y|^2 + lambda |w|_1 (scikit-learn)
    {"kind": "nearest-neighbours", "count": k}    the mean label of the k examples nearest to the query (all if fewer)
Without examples all of them predict 0. The first six are linear in the query: estimators of w; the first five of them
are linear in the labels too. These are the baselines of Garg et al. [garg2022can], with ridge besides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

Plain = Mapping[str, Any]
Estimator = Callable[[Tensor, Tensor], Tensor]  # examples xs (B, n, d), ys (B, n), n >= 1 -> w (B, d)
Predictor = Callable[[Tensor, Tensor, Tensor], Tensor]  # the same and a query (B, d) -> (B,)


def baseline(kind: Plain) -> Predictor:
    """The predictor that `kind` describes. Raises ValueError for any other."""
    if kind.get("kind") == "nearest-neighbours":
        return nearest_neighbours(kind["count"])
    return linear_predictor(estimator(kind))


def estimator(kind: Plain) -> Estimator:
    """The estimator of w that `kind` describes; 0 without examples. Raises ValueError for any other."""
    made = _ESTIMATORS.get(kind.get("kind", ""))
    if made is None:
        raise ValueError(
            f"need a baseline among {', '.join([*_ESTIMATORS, 'nearest-neighbours'])}, got {kind.get('kind')!r}"
        )
    found = made(kind)
    return lambda xs, ys: found(xs, ys) if xs.shape[1] else _zero(xs, ys)


def linear_predictor(weights: Estimator) -> Predictor:
    """w.x_q."""
    return lambda xs, ys, query: (weights(xs, ys) * query).sum(-1)


def at_every_prefix(predictor: Predictor, xs: Tensor, ys: Tensor) -> Tensor:
    """Predictions (B, N) of f(x_i) from the examples before x_i, on prompts xs (B, N, d), ys (B, N)."""
    return torch.stack([predictor(xs[:, :i], ys[:, :i], xs[:, i]) for i in range(xs.shape[1])], 1)


def nearest_neighbours(count: int) -> Predictor:
    """The mean label of the `count` examples with the smallest |x_i - x_q|."""
    if count < 1:
        raise ValueError(f"need at least 1 neighbour, got {count}")

    def predict(xs: Tensor, ys: Tensor, query: Tensor) -> Tensor:
        if not xs.shape[1]:
            return torch.zeros_like(query[:, 0])
        squares = (xs - query[:, None]).square().sum(-1)
        nearest = squares.topk(min(count, xs.shape[1]), dim=1, largest=False).indices
        return ys.gather(1, nearest).mean(1)

    return predict


def _zero(xs: Tensor, ys: Tensor) -> Tensor:
    del ys
    return torch.zeros_like(xs[:, :0].sum(1))


def _one_step(rate: float) -> Estimator:
    return lambda xs, ys: rate / xs.shape[1] * (ys[:, :, None] * xs).sum(1)


def _least_squares(xs: Tensor, ys: Tensor) -> Tensor:
    # By singular values (gelsd on the CPU): the solution of least norm, for examples of any rank.
    if xs.device.type == "cpu":
        found: Tensor = torch.linalg.lstsq(xs, ys[:, :, None], driver="gelsd").solution
    else:
        found = torch.linalg.pinv(xs) @ ys[:, :, None]
    return found[..., 0]


def _ridge(penalty: float) -> Estimator:
    if not penalty > 0:
        raise ValueError(f"need a positive penalty for ridge regression, got {penalty}; without one use least-squares")

    def weights(xs: Tensor, ys: Tensor) -> Tensor:
        # Least squares on the examples and d more, sqrt(lambda) e_j with label 0: no product X^T X, which would
        # square the condition number.
        B, _, d = xs.shape
        further = math.sqrt(penalty) * torch.eye(d, dtype=xs.dtype, device=xs.device)
        rows = torch.cat([xs, further.expand(B, d, d)], 1)
        labels = torch.cat([ys, torch.zeros_like(xs[:, 0])], 1)
        found: Tensor = torch.linalg.lstsq(rows, labels[:, :, None], driver="gels").solution
        return found[..., 0]

    return weights


def _lasso(penalty: float) -> Estimator:
    try:
        # by name: an optional package is no part of the path that a measurement's records hash
        LassoLars = import_module("sklearn.linear_model").LassoLars
    except ImportError:
        raise ValueError(
            'need scikit-learn for the lasso, which is not installed; run `pip install "iclcheck[baselines]"`'
        ) from None
    # By the path of solutions, which ends; coordinate descent does not in 5000 sweeps where n is near d.
    model = LassoLars(alpha=penalty, fit_intercept=False)

    def weights(xs: Tensor, ys: Tensor) -> Tensor:
        found = [model.fit(X, y).coef_.copy() for X, y in zip(xs.cpu().numpy(), ys.cpu().numpy(), strict=True)]
        return torch.stack([torch.from_numpy(w) for w in found]).to(xs)

    return weights


_ESTIMATORS: dict[str, Callable[[Plain], Estimator]] = {
    "zero": lambda kind: _zero,
    "averaging": lambda kind: _one_step(1.0),
    "one-step": lambda kind: _one_step(kind["rate"]),
    "least-squares": lambda kind: _least_squares,
    "ridge": lambda kind: _ridge(kind["penalty"]),
    "lasso": lambda kind: _lasso(kind["penalty"]),
}
