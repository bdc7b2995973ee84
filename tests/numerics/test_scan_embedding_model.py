"""The layer with embeddings beside the layer in its decoder and attention logits."""

import math

import numpy as np
import pytest
import torch

from iclcheck.numerics.scan_and_snap.sequence_classes import random_classes
from iclcheck.numerics.scan_training.embedding_model import (
    EmbeddingModel,
    EmbeddingTraining,
    attention_to_tokens,
    decoder_and_attention,
    orthonormal_rows,
    sampled_sequences,
    train_embeddings,
    trained_embeddings,
)
from iclcheck.numerics.scan_training.sampled_training import sequence_losses
from iclcheck.numerics.training.random_streams import stream

TASK = random_classes(3, 9, 2, 2, 2, "embedding model")
PLAIN = TASK.plain()


def test_one_layer_on_orthonormal_embeddings_is_the_layer_of_decoder_and_attention_logits() -> None:
    generator = stream("one layer")
    model = EmbeddingModel(orthonormal_rows(9, 12, generator), 1, generator, scale=2.0)
    tokens, targets = sampled_sequences(TASK, 20, 8, generator)
    losses = torch.nn.functional.cross_entropy(model(tokens)[:, -1], targets, reduction="none")
    Y, Z = decoder_and_attention(model)
    counts = torch.zeros(20, 9, dtype=torch.float64)
    counts.scatter_add_(1, tokens[:, :-1], torch.ones(20, 7, dtype=torch.float64))
    ours = sequence_losses(counts[None], tokens[None, :, -1], targets[None], Y[None], Z[None])[0]
    # float64, products of four matrices of size 12 with entries of size one
    assert torch.allclose(losses, ours, rtol=0, atol=1e-12)
    assert float(Z.abs().max()) > 0.1


def test_attention_looks_back_only_and_not_at_itself() -> None:
    generator = stream("causal")
    model = EmbeddingModel(orthonormal_rows(9, 12, generator), 3, generator, scale=1.0)
    tokens = sampled_sequences(TASK, 4, 6, generator)[0]
    for weights in model.attentions(tokens):
        assert (weights.triu() == 0).all()
        assert torch.allclose(weights.sum(-1)[:, 1:], torch.ones(4, 5, dtype=torch.float64), rtol=0, atol=1e-14)
    changed = tokens.clone()
    changed[:, -1] = (tokens[:, -1] + 1) % 9
    assert torch.equal(model(tokens)[:, :-1], model(changed)[:, :-1])
    assert (model(tokens)[:, 0] == 0).all()
    assert not torch.equal(model(tokens)[:, -1], model(changed)[:, -1])


@pytest.mark.parametrize(("layers", "optimiser", "rate"), [(1, "sgd", 0.5), (3, "adam", 0.01)])
def test_training_lowers_the_loss_below_that_of_guessing_the_class(layers: int, optimiser: str, rate: float) -> None:
    run = {"classes": PLAIN, "size": 12, "layers": layers, "optimiser": optimiser, "learning_rate": rate}
    found = trained_embeddings([{**run, "steps": 60, "length": 16}], "cpu")
    losses = np.array(found["losses"][0])
    assert abs(losses[0] - math.log(9)) < 0.2
    assert losses[-10:].mean() < math.log(3)
    attention = np.array(found["attention"][0])
    assert attention.shape == (layers, 3, 9)
    assert np.allclose(attention.sum(-1), 1)


def test_an_embedding_table_is_trained_only_where_asked() -> None:
    for trained_table in (False, True):
        run = EmbeddingTraining(PLAIN, 12, steps=3, trained_table=trained_table)
        model, _ = train_embeddings(run)
        assert torch.equal(model.U, run.start("cpu").U) != trained_table


def test_the_mean_attention_counts_every_occurrence_of_a_token() -> None:
    generator = stream("occurrences")
    model = EmbeddingModel(orthonormal_rows(9, 9, generator), 1, generator, scale=0.0)
    tokens = torch.tensor([[3, 3, 5, 7, 0]])
    found = attention_to_tokens(model, tokens, torch.tensor([0]), 1)[0, 0]
    assert torch.allclose(found[[3, 5, 7, 0]], torch.tensor([0.5, 0.25, 0.25, 0.0], dtype=torch.float64), atol=1e-15)


def test_more_tokens_than_dimensions_have_no_orthonormal_embeddings() -> None:
    with pytest.raises(ValueError, match="d >= M"):
        orthonormal_rows(9, 8, stream("too many"))
