r"""One layer of attention with a ReLU on its scores, f(E) = E + W_PV E ReLU(E^T W_KQ E) / N: prediction and risk.

Main statements
    relu_prediction          yhat = f(E)[d, N]: the query's column reads (W_PV E) with weights ReLU(E^T W_KQ e_q)/N
    enumerated_relu_risk     E (yhat - w.x_q)^2 at u12 = u21 = 0 over the nodes of a product Gauss rule: exact, because
                             the nodes are symmetric under (x_i, eps_i) -> -(x_i, eps_i), and the sum of the k-th power
                             of y ReLU(z) over the two signs is (y z)^k for k >= 1, a polynomial
    sampled_relu_risk        sums of (yhat - w.x_q)^2 and its square over fresh prompts, with the exact second moment
A leak would add terms that the signs do not fold, so it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from .cubature import TIGHT, Expectation, expectation
from .power_sums import power_sums
from .prompts import PromptDistribution, Prompts

Plain = Mapping[str, Any]
Nested = Sequence[Any]


def relu_prediction(prompts: Prompts, W_PV: torch.Tensor, W_KQ: torch.Tensor) -> torch.Tensor:
    """yhat (B,) of a batch; W_PV, W_KQ (d + 1, d + 1)."""
    E = prompts.embedding  # (B, d + 1, N + 1)
    attention = torch.relu(E.mT @ (W_KQ @ E[..., -1, None])).squeeze(-1) / prompts.context_length[:, None]
    values = (W_PV[-1] @ E).squeeze(-2)  # (B, N + 1)
    return E[..., -1, -1] + (values * attention).sum(-1)


def squared_errors(prompts: Prompts, W_PV: torch.Tensor, W_KQ: torch.Tensor) -> torch.Tensor:
    """(yhat - w.x_q)^2 of each prompt, (1, B)."""
    return (relu_prediction(prompts, W_PV, W_KQ) - prompts.target).square().unsqueeze(0)


def with_fourth_powers(prompts: Prompts, W_PV: torch.Tensor, W_KQ: torch.Tensor) -> torch.Tensor:
    """(yhat - w.x_q)^2 and (yhat - w.x_q)^4, (2, B)."""
    squares = squared_errors(prompts, W_PV, W_KQ)
    return torch.cat([squares, squares.square()])


def check_no_leak(W_PV: ArrayLike, W_KQ: ArrayLike) -> None:
    """Raises ValueError at weights whose signs do not fold."""
    if np.any(np.asarray(W_PV)[-1, :-1]) or np.any(np.asarray(W_KQ)[-1]):
        raise ValueError("need u12 = u21 = 0 for a ReLU layer's exact risk, got weights that leak; set both to 0")


def check_linear_labels(law: PromptDistribution) -> None:
    """Raises ValueError for labels other than w.x, whose signs need not fold together with those of the scores."""
    if not law.labels.is_linear():
        raise ValueError(f"need labels w.x for a ReLU layer's exact risk, got {law.labels.link} labels; set none")


def relu_risk(law: PromptDistribution, W_PV: ArrayLike, W_KQ: ArrayLike) -> Expectation:
    """E (yhat - w.x_q)^2, value (1,)."""
    check_no_leak(W_PV, W_KQ)
    check_linear_labels(law)
    return expectation(squared_errors, law, (W_PV, W_KQ), TIGHT + TIGHT)


def enumerated_relu_risk(cases: Sequence[Plain], device: str) -> dict[str, Any]:
    """Per case (distribution, W_PV, W_KQ): the exact risk, a bound on its rounding error, and the nodes."""
    found = [relu_risk(PromptDistribution.from_plain(one["distribution"]), one["W_PV"], one["W_KQ"]) for one in cases]
    return {
        "risk": [float(one.value[0]) for one in found],
        "rounding": [float(one.rounding[0]) for one in found],
        "nodes": [one.nodes for one in found],
    }


def sampled_relu_risk(
    distribution: Plain, W_PV: Nested, W_KQ: Nested, prompts: int, stream_key: str, device: str
) -> dict[str, Any]:
    """Power sums of (yhat - w.x_q)^2 over fresh prompts, and the exact mean of its square (from above)."""
    law = PromptDistribution.from_plain(distribution)
    check_no_leak(W_PV, W_KQ)
    check_linear_labels(law)
    squares = TIGHT + TIGHT
    moments = expectation(with_fourth_powers, law, (W_PV, W_KQ), squares + squares)
    value, key_query = (torch.tensor(W, dtype=torch.float64, device=torch.device(device)) for W in (W_PV, W_KQ))
    sums = power_sums(lambda drawn: squared_errors(drawn, value, key_query), law, prompts, stream_key, device=device)
    return {**sums, "second_moment": float(moments.value[1] + moments.rounding[1])}
