"""The measurements that train layers: plain data in, plain data out.

    trained_weights    weights at the start and the end of training, for many configurations

Apart from the other measurements of one layer, so that a change of the training code makes no other record stale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..one_layer.observables import effective_preconditioner
from .batched_training import train
from .configurations import TrainingConfiguration, initial_weights

Plain = Mapping[str, Any]


def trained_weights(configurations: Sequence[Plain], device: str) -> dict[str, Any]:
    """Weights at the start and the end of training, effective preconditioner and prompts used, per configuration."""
    wanted = [TrainingConfiguration.from_plain(plain) for plain in configurations]
    starts = [initial_weights(one) for one in wanted]
    ends = train(wanted, device)
    return {
        "start_W_PV": [start[0].tolist() for start in starts],
        "start_W_KQ": [start[1].tolist() for start in starts],
        "W_PV": [end.W_PV.tolist() for end in ends],
        "W_KQ": [end.W_KQ.tolist() for end in ends],
        "preconditioner": [np.asarray(effective_preconditioner(end.W_PV, end.W_KQ)).tolist() for end in ends],
        "prompts": [end.prompts for end in ends],
    }
