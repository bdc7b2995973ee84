"""Where plain training ends, from three kinds of start: the figure of docs/training.md.

    python benchmarks/starting_points.py [replicas]

Each replica has a law of its own (the domain of fixed-point's convergence check) and 393,000 fresh prompts (768 steps
of 512). A run counts as stuck if it ends with |A - A*|_F > 0.1 |A*|_F, or for d > 1 with a leak |u12| |u21| of
that size.
"""

from __future__ import annotations

import sys

import numpy as np

from iclcheck.numerics.one_layer.observables import effective_preconditioner, leak
from iclcheck.numerics.training.batched_training import train
from iclcheck.numerics.training.configurations import TrainingConfiguration
from iclcheck.proofs_check.claims.one_layer import TRAINING, predicted_fixed_point, replica_setting
from iclcheck.proofs_check.verdicts.replicas import count_replicas


def stuck(start: str, replicas: int) -> int:
    """How many of the replicas end away from the fixed point."""
    settings = [replica_setting(0, replica) for replica in range(replicas)]
    runs = [
        TrainingConfiguration.from_plain(
            {**TRAINING, "start": start, "distribution": setting, "replica": replica, "steps": 768}
        )
        for replica, setting in enumerate(settings)
    ]
    count = 0
    for setting, end in zip(settings, train(runs), strict=True):
        predicted = predicted_fixed_point(setting)
        off = np.linalg.norm(effective_preconditioner(end.W_PV, end.W_KQ) - predicted)
        leaking = leak(end.W_PV, end.W_KQ) if len(predicted) > 1 else 0.0
        count += bool(max(off, leaking) > 0.1 * np.linalg.norm(predicted))
    return count


def main() -> None:
    replicas = int(sys.argv[1]) if len(sys.argv) > 1 else 384
    print(f"{'start':<16} {'stuck':>9}  95 % interval")
    for start in ("theorem", "no-leak", "all-parameters"):
        missed = stuck(start, replicas)
        interval = count_replicas(missed, replicas, false_alarm=0.025)
        print(f"{start:<16} {missed:>4}/{replicas}  {interval.lower:.1%} to {interval.upper:.1%}")


if __name__ == "__main__":
    main()
