"""The decoder looks back only, and is the plain softmax attention that its docstring says."""

import math

import pytest
import torch
from torch import Tensor

from iclcheck.numerics.decoders.decoder import Decoder, DecoderShape, interleaved, parameter_count
from iclcheck.numerics.training.random_streams import standard_normals, stream

SHAPE = DecoderShape(dimension=3, positions=7, width=24, layers=2, heads=4)
PROMPTS = 5


def loud_model() -> Decoder:
    """Kernels of scale 1/sqrt(width): attention is far from uniform; biases and norms are moved from 0 and 1."""
    model, generator = Decoder(SHAPE, "test", 1 / math.sqrt(SHAPE.width)).double(), stream("test/moved")
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.3 * standard_normals(tuple(weights.shape), generator, torch.float64))
    return model


def prompts(name: str, count: int = SHAPE.positions) -> tuple[Tensor, Tensor]:
    generator = stream(f"test/{name}")
    xs = standard_normals((PROMPTS, count, SHAPE.dimension), generator, torch.float64)
    return xs, standard_normals((PROMPTS, count), generator, torch.float64)


def normalised(h: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    """Layer norm with torch's own 1e-5."""
    centred = h - h.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def plain_attention(h: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    """Head by head and position by position, with softmax over the positions up to one's own."""
    size = SHAPE.width // SHAPE.heads
    joined = h @ weights[f"{name}.c_attn.weight"] + weights[f"{name}.c_attn.bias"]
    query, key, value = joined.chunk(3, -1)
    out = torch.zeros_like(h)
    for head in range(SHAPE.heads):
        part = slice(size * head, size * (head + 1))
        for t in range(h.shape[1]):
            scores = (key[:, : t + 1, part] * query[:, t : t + 1, part]).sum(-1) / math.sqrt(size)
            out[:, t, part] = (scores.softmax(-1)[..., None] * value[:, : t + 1, part]).sum(1)
    return out @ weights[f"{name}.c_proj.weight"] + weights[f"{name}.c_proj.bias"]


def gelu(z: Tensor) -> Tensor:
    return z / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def plain_predictions(weights: dict[str, Tensor], xs: Tensor, ys: Tensor) -> Tensor:
    tokens = torch.zeros(PROMPTS, 2 * xs.shape[1], SHAPE.dimension, dtype=torch.float64)
    tokens[:, 0::2], tokens[:, 1::2, 0] = xs, ys
    h = tokens @ weights["_read_in.weight"].T + weights["_read_in.bias"]
    h = h + weights["_backbone.wpe.weight"][: h.shape[1]]
    for layer in range(SHAPE.layers):
        name = f"_backbone.h.{layer}"
        h = h + plain_attention(normalised(h, weights, f"{name}.ln_1"), weights, f"{name}.attn")
        inner = normalised(h, weights, f"{name}.ln_2") @ weights[f"{name}.mlp.c_fc.weight"]
        inner = gelu(inner + weights[f"{name}.mlp.c_fc.bias"])
        h = h + inner @ weights[f"{name}.mlp.c_proj.weight"] + weights[f"{name}.mlp.c_proj.bias"]
    out = normalised(h, weights, "_backbone.ln_f") @ weights["_read_out.weight"].T + weights["_read_out.bias"]
    return out[:, ::2, 0]


def test_the_decoder_is_plain_softmax_attention() -> None:
    model = loud_model()
    weights = dict(model.state_dict())
    for count in (SHAPE.positions, 4):
        xs, ys = prompts("plain", count)
        # Both sum at most 4 w = 96 products at a time through 2 layers; numbers here are below 1e2, and a layer norm
        # magnifies by less than 10: 96 * 1e2 * 10 * 2.2e-16 = 2e-11.
        torch.testing.assert_close(model(xs, ys), plain_predictions(weights, xs, ys), rtol=0, atol=2e-11)


def test_a_prediction_depends_on_what_stands_before_it_and_on_nothing_else() -> None:
    model = loud_model()
    xs, ys = (part.requires_grad_() for part in prompts("causal"))
    predictions = model(xs, ys)
    for i in range(SHAPE.positions):
        by_x, by_y = torch.autograd.grad(predictions[:, i].sum(), (xs, ys), retain_graph=True)
        assert not by_x[:, i + 1 :].any()
        assert not by_y[:, i:].any()
        assert by_x[:, : i + 1].ne(0).any(-1).all()
        assert by_y[:, :i].ne(0).all()


def test_a_shorter_prompt_gets_the_first_predictions_of_the_longer_one() -> None:
    model, (xs, ys) = loud_model(), prompts("shorter")
    whole = model(xs, ys)
    for count in range(1, SHAPE.positions):
        torch.testing.assert_close(model(xs[:, :count], ys[:, :count]), whole[:, :count], rtol=0, atol=2e-11)


def test_tokens_are_interleaved_and_labels_stand_in_the_first_coordinate() -> None:
    xs, ys = torch.arange(12.0).view(1, 2, 6), torch.tensor([[-1.0, -2.0]])
    tokens = interleaved(xs, ys)
    assert tokens.shape == (1, 4, 6)
    assert tokens[0, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert tokens[0, 1].tolist() == [-1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert tokens[0, 2].tolist() == [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]
    assert tokens[0, 3].tolist() == [-2.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_a_start_is_named_by_its_key() -> None:
    first, again, other = (Decoder(SHAPE, key).state_dict() for key in ("one", "one", "two"))
    assert all(torch.equal(first[name], again[name]) for name in first)
    fixed = {0.0, 1.0}  # biases and norms start there, whatever the key
    drawn = [name for name in first if not set(first[name].flatten().tolist()) <= fixed]
    assert len(drawn) == 5 + 4 * SHAPE.layers
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_the_number_of_weights_is_the_published_one_without_the_unused_token_table() -> None:
    w, L = SHAPE.width, SHAPE.layers
    counted = L * (12 * w**2 + 13 * w) + 2 * SHAPE.positions * w + (SHAPE.dimension + 1) * w + (w + 1) + 2 * w
    assert parameter_count(Decoder(SHAPE)) == counted


def test_names_and_shapes_are_those_of_the_published_checkpoints() -> None:
    w, found = SHAPE.width, {name: tuple(value.shape) for name, value in Decoder(SHAPE).state_dict().items()}
    assert found["_read_in.weight"] == (w, SHAPE.dimension)
    assert found["_backbone.wpe.weight"] == (2 * SHAPE.positions, w)
    assert found["_backbone.h.1.attn.c_attn.weight"] == (w, 3 * w)
    assert found["_backbone.h.1.attn.c_proj.weight"] == (w, w)
    assert found["_backbone.h.1.mlp.c_fc.weight"] == (w, 4 * w)
    assert found["_backbone.h.1.mlp.c_proj.weight"] == (4 * w, w)
    assert found["_read_out.weight"] == (1, w)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="need heads that divide the width, got 5 heads and width 24"):
        DecoderShape(3, 7, 24, 2, 5)


def test_a_prompt_beyond_the_positions_is_refused() -> None:
    xs, ys = prompts("long", SHAPE.positions + 1)
    with pytest.raises(ValueError, match="need at most 7 examples, got 8"):
        loud_model()(xs, ys)
