r"""Where gradient flow on an exact loss ends, from many random starts of all parameters: plain data in, plain data out.

flow_ends    the ends of gradient flow on the loss with the given moments (`exact_descent`)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .exact_descent import MomentLoss, gradient_flow, random_starts
from .threads import one_thread


@one_thread()
def flow_ends(
    moments: Mapping[str, Any], dimension: int, runs: int, scale: float, seed: int, flat: float, steps: int, device: str
) -> dict[str, Any]:
    """p (runs, d+1), K (runs, d+1, d) and loss (runs,) where each run has |grad L||theta| <= flat L(0); `ended` says
    which have. Always on the CPU in float64: the steps are too small for another device."""
    loss = MomentLoss(
        float(moments["constant"]),
        torch.tensor(moments["linear"], dtype=torch.float64),
        torch.tensor(moments["quadratic"], dtype=torch.float64),
    )
    p, K = random_starts(runs, 1, dimension, scale, seed)
    ends = gradient_flow(loss, p, K, flat, steps)
    size = (ends.p.flatten(1).square().sum(-1) + ends.K.flatten(1).square().sum(-1)).sqrt()
    return {
        "p": ends.p[:, 0].tolist(),
        "K": ends.K[:, 0].tolist(),
        "loss": ends.loss.tolist(),
        "ended": (ends.slope * size <= flat * loss.constant).tolist(),
    }
