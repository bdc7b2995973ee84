"""First velocities over all counts, beside what sampled steps do on average."""

import numpy as np
import torch

from iclcheck.numerics.scan_and_snap.flows import Tasks
from iclcheck.numerics.scan_and_snap.sequence_classes import SequenceClasses
from iclcheck.numerics.scan_training.finite_starts import compositions, enumerated_counts, first_velocities, mean_loss

TASK = SequenceClasses.from_plain({
    "contexts": [[0.2, 0.3, 0.5, 0, 0], [0.1, 0, 0, 0.5, 0.4]], "queries": [0, 1], "probabilities": [0.4, 0.6]
})  # fmt: skip


def test_all_counts_are_listed_once_with_their_probabilities() -> None:
    assert sorted(compositions(2, 2)) == [[0, 2], [1, 1], [2, 0]]
    counts, chances = enumerated_counts(torch.tensor(TASK.contexts[1]), 7)
    assert len({tuple(row.tolist()) for row in counts}) == len(counts) == 36
    assert (counts.sum(1) == 7).all()
    assert abs(float(chances.sum()) - 1) < 1e-13
    assert torch.allclose(chances @ counts / 7, torch.tensor(TASK.contexts[1]), rtol=0, atol=1e-13)


def test_the_first_move_is_that_of_two_steps_on_the_mean_loss() -> None:
    velocity, force = first_velocities(TASK, 4)
    time, decoder = 1e-4, torch.zeros(5, 3, dtype=torch.float64)
    attention = torch.zeros(2, 5, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(mean_loss(TASK, 4, decoder + time * velocity, attention), attention)
    # second order in the time: 1e-4 of it
    assert torch.allclose(-slope / time, force, rtol=0, atol=1e-3 * float(force.abs().max()))


def test_long_sequences_start_as_the_joint_flow_does() -> None:
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    zero = torch.zeros(1, 5, 3, dtype=torch.float64), torch.zeros(1, 2, 5, dtype=torch.float64)
    limit = Tasks.of([TASK]).joint_velocity(one, one)(*zero)[0][0]
    gaps = [np.abs((first_velocities(TASK, keys)[0] - limit).numpy()).max() for keys in (40, 80)]
    # a law in 1/S, up to its next order
    assert 0.4 < gaps[1] / gaps[0] < 0.6
