"""Training on sampled sequences: counts beside the sequences that they are counts of, and runs side by side."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from iclcheck.numerics.scan_and_snap.flows import joint_flow
from iclcheck.numerics.scan_and_snap.sequence_classes import SequenceClasses, random_classes, syn_small
from iclcheck.numerics.scan_training.sampled_training import (
    Batched,
    SampledTraining,
    sampled_counts,
    sequence_losses,
    train,
    trained_attention,
)
from iclcheck.numerics.training.random_streams import stream

TASK = random_classes(3, 9, 2, 2, 2, "sampled training")
RUN = SampledTraining(TASK, 0.3, 0.2, (0, 2, 5), momentum=0.9, batch_size=6, length=11)


def position_by_position(
    task: SequenceClasses, sequences: torch.Tensor, targets: torch.Tensor, Y: torch.Tensor, Z: torch.Tensor
) -> torch.Tensor:
    """The loss as the paper writes it: softmax over positions, all M columns of Y and all M rows of Z."""
    total = torch.zeros((), dtype=torch.float64)
    one_hot = torch.eye(task.vocabulary, dtype=torch.float64)
    for tokens, n in zip(sequences, targets, strict=True):
        query = int(task.queries[n])
        weights = torch.softmax(torch.stack([Z[query, token] for token in tokens]), 0)
        output = sum((w * one_hot[token] for w, token in zip(weights, tokens, strict=True)), 0 * one_hot[0])
        logits = Y.T @ (output / output.square().sum().sqrt())
        total = total - torch.log_softmax(logits, 0)[n]
    return total / len(targets)


def test_losses_and_gradients_of_counts_are_those_of_the_positions() -> None:
    generator = torch.Generator().manual_seed(2)
    K, M = TASK.classes, TASK.vocabulary
    targets = torch.tensor([0, 1, 2, 2, 0])
    sequences = torch.multinomial(torch.tensor(TASK.contexts)[targets], 7, True, generator=generator)
    counts = torch.zeros(5, M, dtype=torch.float64).scatter_add_(1, sequences, torch.ones(5, 7, dtype=torch.float64))
    decoder = torch.randn(M, K + 1, generator=generator, dtype=torch.float64)
    attention = torch.randn(2, M, generator=generator, dtype=torch.float64)
    Y = torch.cat([decoder[:, :K], *[decoder[:, K:]] * (M - K)], 1).requires_grad_()
    Z = torch.zeros(M, M, dtype=torch.float64)
    for query, row in zip(TASK.queries, TASK.rows, strict=True):
        Z[query] = attention[row]
    Z.requires_grad_()
    literal = position_by_position(TASK, sequences, targets, Y, Z)
    kept = [part[None].requires_grad_() for part in (decoder, attention)]
    rows = torch.tensor(TASK.rows)[targets]
    ours = sequence_losses(counts[None], rows[None], targets[None], *kept).mean()
    slopes, of_counts = torch.autograd.grad(literal, (Y, Z)), torch.autograd.grad(ours, kept)
    # float64 sums of some ten terms of size one
    assert torch.allclose(literal, ours, rtol=0, atol=1e-13)
    assert torch.allclose(of_counts[0][0, :, :K], slopes[0][:, :K], rtol=0, atol=1e-14)
    assert torch.allclose(of_counts[0][0, :, K], slopes[0][:, K:].sum(1), rtol=0, atol=1e-14)
    for query, row in zip(TASK.queries, TASK.rows, strict=True):
        assert torch.allclose(of_counts[1][0, row], slopes[1][query], rtol=0, atol=1e-14)


def test_steps_with_momentum_are_those_of_torch_on_all_columns() -> None:
    batched = Batched([RUN], "cpu")
    K, M = TASK.classes, TASK.vocabulary
    Y = torch.zeros(1, M, M, dtype=torch.float64, requires_grad=True)
    Z = torch.zeros(1, 2, M, dtype=torch.float64, requires_grad=True)
    groups = [{"params": [Y], "lr": RUN.decoder_rate}, {"params": [Z], "lr": RUN.attention_rate}]
    optimiser = torch.optim.SGD(groups, lr=1.0, momentum=RUN.momentum)
    for _ in range(5):
        counts, targets, weights = batched.next_batch()
        optimiser.zero_grad()
        losses = sequence_losses(counts, batched.rows.gather(1, targets), targets, Y, Z)
        (weights * losses).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    kept_Z, kept_Y = (part[-1] for part in train([RUN]))
    # five steps of sums of some ten terms of size one
    assert torch.allclose(kept_Z, Z, rtol=0, atol=1e-13)
    assert torch.allclose(kept_Y[..., : K + 1], Y[..., : K + 1], rtol=0, atol=1e-13)
    assert kept_Z.abs().max() > 1e-3


def test_a_run_is_the_same_alone_and_beside_others() -> None:
    together = train([RUN, replace(RUN, replica=1), replace(RUN, length=30, decoder_rate=0.1)])
    for place, run in enumerate([RUN, replace(RUN, replica=1), replace(RUN, length=30, decoder_rate=0.1)]):
        alone = train([run])
        for many, one in zip(together, alone, strict=True):
            assert torch.equal(many[:, place], one[:, 0])


def test_runs_that_differ_in_their_length_alone_see_the_same_classes() -> None:
    short, long, never = (Batched([replace(RUN, length=T)], "cpu") for T in (11, 50, None))
    first = short.next_batch()[1]
    assert torch.equal(first, long.next_batch()[1])
    shares = torch.bincount(first[0], minlength=3).double() / first.shape[1]
    assert torch.equal(never.next_batch()[2][0], shares)


def test_counts_have_the_law_of_the_class() -> None:
    laws = torch.tensor(TASK.contexts)[torch.tensor([0, 2])].repeat_interleave(2000, 0)
    counts = sampled_counts(laws, 20, stream("counts"))
    assert (counts.sum(1) == 20).all()
    assert (counts[laws == 0] == 0).all()
    # 2,000 x 20 draws: every frequency within 1 of 100 by Hoeffding but for 2 exp(-2 * 40,000 * 1e-4) = 7e-4, and the
    # stream is fixed
    frequencies = counts.view(2, 2000, -1).sum(1) / 40_000
    assert (frequencies - laws[::2000]).abs().max() < 0.01


def test_small_steps_on_the_population_loss_follow_the_joint_flow() -> None:
    task = syn_small()
    found = []
    for steps in (100, 200):
        run = SampledTraining(task, 16 / steps, 16 / steps, (steps,), momentum=0.0, batch_size=None, length=None)
        found.append(train([run])[0][0, 0].numpy())
    flow = joint_flow([task], 1.0, 1.0, [16.0])["Z"][0, 0]
    # Euler's method has an error of first order in the step: extrapolated, one of second order
    first = np.abs(found[1] - flow).max()
    assert np.abs(2 * found[1] - found[0] - flow).max() < 0.1 * first < 0.01 * np.abs(flow).max()


def test_the_plain_measurement_names_entropies_of_the_attention() -> None:
    plain = {
        "classes": TASK.plain(),
        "decoder_rate": 0.3,
        "attention_rate": 0.2,
        "recorded": [0, 2],
        "length": 11,
        "batch_size": 6,
    }
    found = trained_attention([plain], "cpu")
    start = -np.sum(TASK.contexts * np.log(np.where(TASK.contexts > 0, TASK.contexts, 1)), axis=1)
    assert found["entropy"][0][0] == pytest.approx(start, rel=1e-12)
    assert "Y" not in found


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"length": 1}, "at least one key"),
        ({"batch_size": None}, "leave out the length"),
        ({"recorded": (3, 2)}, "increase"),
        ({"momentum": 1.0}, "momentum in"),
    ],
)
def test_what_names_no_training_is_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(RUN, **changed)  # type: ignore[arg-type]


def test_runs_of_different_kinds_are_refused_together() -> None:
    with pytest.raises(ValueError, match="one after another"):
        train([RUN, replace(RUN, length=None)])
