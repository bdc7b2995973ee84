from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.scan_and_snap.flows import Tasks, decoder_flow, joint_flow, reparametrised_flow
from iclcheck.numerics.scan_and_snap.layer import attention_weights, entropies
from iclcheck.numerics.scan_and_snap.sequence_classes import (
    SequenceClasses,
    one_common_token,
    random_classes,
    syn_small,
)

TIMES = [3.0, 10.0, 40.0]
TASK = random_classes(3, 9, 2, 2, 2, "flows")


def loss_written_out(task: SequenceClasses, Y: torch.Tensor, Z: torch.Tensor) -> torch.Tensor:
    """The loss over all M columns of Y and all M rows of Z, as the paper writes it."""
    total = torch.zeros((), dtype=torch.float64)
    for n in range(task.classes):
        scores = torch.tensor(task.contexts[n]) * Z[task.queries[n]].exp()
        c = scores / scores.sum()
        logits = Y.T @ (c / c.square().sum().sqrt())
        total = total - task.probabilities[n] * torch.log_softmax(logits, 0)[n]
    return total


def written_out(task: SequenceClasses, decoder: torch.Tensor, attention: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Y with M columns and Z with M rows."""
    K, M = task.classes, task.vocabulary
    Y = torch.cat([decoder[:, :K], *[decoder[:, K:]] * (M - K)], 1)
    Z = torch.zeros(M, M, dtype=torch.float64)
    for n in range(K):
        Z[task.queries[n]] = attention[task.rows[n]]
    return Y.requires_grad_(), Z.requires_grad_()


def test_the_velocity_is_that_of_the_loss_written_out_over_all_tokens() -> None:
    generator = torch.Generator().manual_seed(1)
    K, M = TASK.classes, TASK.vocabulary
    decoder = torch.randn(M, K + 1, generator=generator, dtype=torch.float64)
    attention = torch.randn(2, M, generator=generator, dtype=torch.float64)
    Y, Z = written_out(TASK, decoder, attention)
    slope_Y, slope_Z = torch.autograd.grad(loss_written_out(TASK, Y, Z), (Y, Z))
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    velocity_Y, velocity_Z = Tasks.of([TASK]).joint_velocity(3 * one, 2 * one)(decoder[None], attention[None])
    # float64 sums of at most nine terms of size one
    assert torch.allclose(velocity_Y[0], -3 * slope_Y[:, : K + 1], rtol=0, atol=1e-14)
    assert torch.equal(slope_Y[:, K:].amax(1), slope_Y[:, K:].amin(1))
    for n in range(K):
        assert torch.allclose(velocity_Z[0, TASK.rows[n]], -2 * slope_Z[TASK.queries[n]], rtol=0, atol=1e-14)


def test_row_sums_of_attention_and_decoder_stay_zero() -> None:
    found = joint_flow([TASK], 1.0, 0.5, TIMES)
    counts = np.array([1, 1, 1, TASK.vocabulary - TASK.classes])
    # linear invariants, which Runge-Kutta methods keep up to rounding: some thousand operations on numbers of size ten
    assert np.abs(found["Z"].sum(-1)).max() < 1e-11
    assert np.abs((found["Y"] * counts).sum(-1)).max() < 1e-11
    assert np.abs(found["Z"]).max() > 0.1


def test_the_loss_falls_along_the_flow() -> None:
    found = joint_flow([TASK], 1.0, 0.5, TIMES)
    losses = []
    for Y, Z in zip(found["Y"][:, 0], found["Z"][:, 0], strict=True):
        losses.append(loss_written_out(TASK, *written_out(TASK, torch.tensor(Y), torch.tensor(Z))).item())
    assert np.log(TASK.vocabulary) > losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize("flow", [joint_flow, reparametrised_flow])
def test_a_task_moves_alike_alone_and_beside_another(flow: Callable[..., dict[str, Any]]) -> None:
    other = random_classes(3, 9, 2, 2, 2, "another")
    together = flow([TASK, other], [1.0, 2.0], [0.5, 0.1], TIMES)
    alone = flow([other], 2.0, 0.1, TIMES)
    # the two take different steps, so they agree to the errors that they state
    allowed = 10 * (together["error"] + alone["error"]) * np.abs(alone["Z"]).max()
    assert np.abs(together["Z"][:, 1] - alone["Z"][:, 0]).max() < allowed
    assert together["error"] < 1e-7


def test_the_stated_error_is_that_against_a_much_finer_run() -> None:
    rough = joint_flow([TASK], 1.0, 0.5, TIMES, tolerance=1e-6)
    finest = joint_flow([TASK], 1.0, 0.5, TIMES, tolerance=1e-12)
    true = max(np.abs(rough[name] - finest[name]).max() / np.abs(finest[name]).max() for name in ("Y", "Z"))
    assert 0 < true <= rough["error"] < 1e-3


def test_without_overlap_the_reparametrised_flow_is_the_flow_of_the_loss() -> None:
    contexts = np.zeros((2, 7))
    contexts[0, 2:4], contexts[1, 4:7] = 1 / 2, 1 / 3
    apart = SequenceClasses.from_plain({"contexts": contexts})
    joint, other = (flow([apart], 1.0, 0.5, TIMES) for flow in (joint_flow, reparametrised_flow))
    f = contexts / np.linalg.norm(contexts, axis=1, keepdims=True)
    # no overlap: attention does not move, and the logits of the classes are w_n
    assert np.abs(joint["Z"]).max() < 1e-13
    assert np.abs(other["Z"]).max() < 1e-13
    gap = np.abs(f @ joint["Y"][:, 0] - other["W"][:, 0]).max()
    assert gap < 10 * (joint["error"] + other["error"]) * np.abs(other["W"]).max()


def test_with_overlap_the_reparametrised_flow_is_another_one() -> None:
    task = one_common_token(4, 60, 0.35, [1, 2, 3])
    joint, other = (flow([task], 1.0, 0.1, [5.0])["Z"][0, 0, 0, 4] for flow in (joint_flow, reparametrised_flow))
    assert other < 10 * joint < 0


def test_the_decoder_flow_leaves_attention_where_it_starts() -> None:
    start = np.random.default_rng(0).normal(size=(1, 2, 9))
    found = decoder_flow([TASK], 1.0, TIMES, attention=start)
    assert (found["Z"] == start).all()


def test_tasks_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="integrate them one by one"):
        joint_flow([TASK, syn_small()], 1.0, 1.0, TIMES)


def test_entropies_are_those_of_the_law_and_bear_zeros() -> None:
    uniform = attention_weights(torch.ones(1, 8, dtype=torch.float64), torch.zeros(1, 8, dtype=torch.float64))
    assert float(entropies(uniform)) == pytest.approx(np.log(8), rel=1e-15)
    assert float(entropies(torch.tensor([0.0, 1.0]))) == 0
