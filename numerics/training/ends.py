r"""Where runs end, and how noisy the gradient is there: plain data in, plain data out.

    trained_ends    what `measurements.trained_weights` gives, and the mean of |g|^2 over fresh prompts at the end

The weights at the end are balanced first (the same layer, |(u12, u)| = |(U; u21)|_F), because the size of a gradient
depends on the scale between W_PV and W_KQ that training happens to end with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..one_layer.gradient_noise import squared_gradient_sums
from ..one_layer.observables import balanced
from .configurations import TrainingConfiguration
from .measurements import trained_weights
from .threads import one_thread

Plain = Mapping[str, Any]


@one_thread()
def trained_ends(configurations: Sequence[Plain], noise_prompts: int, device: str) -> dict[str, Any]:
    """Balanced weights at the end of training, the prompts that they average over, and E |g|^2 there.

    Per configuration: `W_PV` and `W_KQ` balanced; `averaged_prompts`, those of the averaged steps; `squared_gradient`,
    the mean of |g|^2 over `noise_prompts` fresh prompts of the same law.
    """
    found = trained_weights(configurations, device)
    wanted = [TrainingConfiguration.from_plain(plain) for plain in configurations]
    ends = [balanced(np.array(PV), np.array(KQ)) for PV, KQ in zip(found["W_PV"], found["W_KQ"], strict=True)]
    noise = [
        squared_gradient_sums(one.distribution, *end, noise_prompts, f"{one.key}/noise at the end", device=device)
        for one, end in zip(wanted, ends, strict=True)
    ]
    return {
        "W_PV": [end[0].tolist() for end in ends],
        "W_KQ": [end[1].tolist() for end in ends],
        "averaged_prompts": [averaged_prompts(one) for one in wanted],
        "squared_gradient": [sums["sum"][0] / sums["count"] for sums in noise],
        "prompts": found["prompts"],
    }


def averaged_prompts(one: TrainingConfiguration) -> int:
    """The prompts of the steps that the returned weights average over (one step where nothing is averaged)."""
    return max(1, round(one.averaging * one.steps)) * one.batch_size
