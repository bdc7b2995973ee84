r"""The layer's loss on prompts with labels that no Gauss rule integrates: bounded links such as sin t or sign.

Main statement
    For |g| <= 1, u12 = u21 = 0 and A = u U the loss l = (yhat - g)^2/2 has
        E l^2 = E (yhat - g)^4/4 <= ((1 + 3^(1/4) sigma) F^(1/4) + 1)^4/4,
        F = E (x^T A x_q)^4 = 3 (tr(B)^2 + 2 tr(B^2)),   B = Q^(1/2) A^T Lambda A Q^(1/2), x_q ~ N(0, Q).
Proof. With |z|_4 = (E z^4)^(1/4), Minkowski's inequality gives |yhat - g|_4 <= |yhat|_4 + 1. yhat is the mean of
    y_i x_i^T A x_q over i, so E yhat^4 <= E y^4 (x^T A x_q)^4 by convexity; eps is independent of the score
    x^T A x_q and E eps^4 = 3 sigma^4, so |(g + eps) score|_4 <= |score|_4 + |eps|_4 |score|_4 = (1 + 3^(1/4) sigma)
    F^(1/4). Given x_q the score is normal with variance v = x_q^T A^T Lambda A x_q, so its fourth moment is 3 v^2, and
    E v^2 = tr(B)^2 + 2 tr(B^2) by Isserlis' theorem. []
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .gradients import loss_sums
from .prompts import PromptDistribution, symmetric_root

BOUNDED = ("sine", "sign")


def second_moment_bound(law: PromptDistribution, W_PV: ArrayLike, W_KQ: ArrayLike) -> float:
    """An upper bound on E l^2. Raises ValueError for other labels, and at weights that leak."""
    value, key_query = np.asarray(W_PV), np.asarray(W_KQ)
    if law.labels.link not in BOUNDED or law.labels.linear is not None or law.labels.quadratic is not None:
        raise ValueError(f"need labels out of {BOUNDED} alone for this bound, got {law.labels.to_plain()}")
    if np.any(value[-1, :-1]) or np.any(key_query[-1]):
        raise ValueError("need u12 = u21 = 0 for this bound, got weights that leak; set both to 0")
    A = value[-1, -1] * key_query[:-1, :-1]
    root = symmetric_root(law.covariance_of_query)
    B = root @ A.T @ law.covariance @ A @ root
    scores = 3 * (np.trace(B) ** 2 + 2 * np.trace(B @ B))
    of_labels = 1 + (3 * law.noise_variance**2) ** 0.25
    return float((of_labels * scores**0.25 + 1) ** 4 / 4)


def sampled_link_loss(
    distribution: Mapping[str, Any],
    W_PV: Sequence[Any],
    W_KQ: Sequence[Any],
    prompts: int,
    stream_key: str,
    device: str,
) -> dict[str, Any]:
    """Power sums of the loss over fresh prompts, and a bound on its second moment."""
    law = PromptDistribution.from_plain(distribution)
    bound = second_moment_bound(law, W_PV, W_KQ)
    return {**loss_sums(law, W_PV, W_KQ, prompts, stream_key, device=device), "second_moment": bound}
