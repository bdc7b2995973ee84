"""The mesa layer as a module: one function in all its forms, token by token as in one go."""

from typing import Any

import pytest
import torch

from iclcheck.numerics.mesa_layer.mesa_layer import FORMS, MesaLayer


def drawn_layer(**settings: Any) -> MesaLayer:
    """A layer in float64 with weights, gates and lambda away from their start."""
    draw = torch.Generator().manual_seed(0)
    layer = MesaLayer(
        6, **({"heads": 2, "key_size": 4, "value_size": 3} | settings), generator=draw, dtype=torch.float64
    )
    with torch.no_grad():
        for weight in layer.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=draw, dtype=torch.float64))
    return layer


def stream(T: int = 20) -> torch.Tensor:
    return torch.randn(3, T, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def largest(difference: torch.Tensor) -> float:
    return float(difference.detach().abs().max())


@pytest.mark.parametrize("settings", [{}, {"forget_gates": True}, {"normalised": True, "forget_gates": True}])
def test_the_forms_of_one_layer_are_one_function(settings: dict[str, Any]) -> None:
    layer, expected = drawn_layer(**settings), None
    for form in FORMS if "forget_gates" not in settings else FORMS[:3]:
        layer.form = form
        found = layer(stream())
        # condition numbers below 1e4 leave twelve digits of numbers of order 1
        assert expected is None or largest(found - expected) < 1e-11
        expected = found


@pytest.mark.parametrize("form", FORMS)
def test_token_by_token_is_all_at_once(form: str) -> None:
    layer = drawn_layer(form=form, forget_gates=True, normalised=True, input_gates=form == "conjugate-gradients")
    whole, state, tokens = layer(stream()), layer.initial_state(3), stream()
    for t in range(20):
        output, state = layer.step(tokens[:, t], state)
        assert largest(output - whole[:, t]) < 1e-11
    for one, other in zip(layer.state_after(tokens), state, strict=True):
        assert largest(one - other) < 1e-12 * float(other.abs().max())


def test_a_stream_may_be_continued_from_a_state() -> None:
    layer, tokens = drawn_layer(forget_gates=True), stream(30)
    halves = layer.state_after(tokens[:, 13:], layer.state_after(tokens[:, :13]))
    for one, other in zip(halves, layer.state_after(tokens), strict=True):
        assert largest(one - other) < 1e-13 * float(other.abs().max()) * 30


def test_one_head_is_the_weighted_least_squares_that_the_docstring_writes() -> None:
    layer, tokens = drawn_layer(heads=1, forget_gates=True), stream()
    assert layer.forget_gate is not None
    e, t = tokens[0, :9], 8
    keys, values, query = e @ layer.W_K[0].mT, e @ layer.W_V[0].mT, layer.W_Q[0] @ e[t]
    forget = torch.sigmoid(layer.forget_gate(e))[:, 0]
    past = torch.stack([forget[s + 1 :].prod() for s in range(9)])[:, None]
    regulariser = forget.prod() / layer.log_regulariser.exp() * torch.eye(4, dtype=torch.float64)
    Phi = torch.linalg.solve((past * keys).mT @ keys + regulariser, (past * keys).mT @ values).mT
    assert largest(layer(tokens)[0, t] - e[t] - layer.P[0] @ Phi @ query) < 1e-12


@pytest.mark.parametrize("form", FORMS)
def test_every_parameter_learns(form: str) -> None:
    layer = drawn_layer(form=form, forget_gates=True, input_gates=form == "conjugate-gradients")
    torch.autograd.backward(layer(stream()).square().sum())
    for name, weight in layer.named_parameters():
        assert weight.grad is not None, name
        assert float(weight.grad.abs().min()) > 0, name


def test_the_gradient_of_the_layer_is_that_of_its_plain_form() -> None:
    layer, found = drawn_layer(forget_gates=True), []
    for form in ("chunkwise", "direct"):
        layer.form = form
        found.append(torch.autograd.grad(layer(stream()).square().sum(), list(layer.parameters())))
    for one, other in zip(*found, strict=True):
        assert largest(one - other) < 1e-9 * float(
            other.abs().max()
        )  # five digits lost by the condition number, two spare


def test_normalised_heads_do_not_see_the_lengths_of_keys_and_queries() -> None:
    layer = drawn_layer(normalised=True)
    before = layer(stream())
    with torch.no_grad():
        layer.W_K.mul_(3)
        layer.W_Q.mul_(0.1)
    assert largest(layer(stream()) - before) < 1e-12


def test_bounds_on_condition_numbers_cover_every_head() -> None:
    layer = drawn_layer()
    with torch.no_grad():
        layer.W_K[1, 0] *= 1e3
    bounds = layer.condition_bounds(stream())
    assert bounds.shape == (3, 2)
    assert bool((bounds[:, 1] > 1e3 * bounds[:, 0]).all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_dtype_of_the_layer_is_kept(dtype: torch.dtype) -> None:
    layer = MesaLayer(6, heads=2, forget_gates=True, dtype=dtype)
    assert layer(stream().to(dtype)).dtype == dtype
    assert layer.step(stream()[:, 0].to(dtype), layer.initial_state(3))[0].dtype == dtype


def test_a_layer_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"need form out of .*, got 'newton'"):
        MesaLayer(4, form="newton")
    with pytest.raises(ValueError, match='need form "conjugate-gradients" for input gates'):
        MesaLayer(4, input_gates=True)


@pytest.mark.parametrize("form", ["chunkwise", "conjugate-gradients"])
def test_a_second_derivative_is_refused_and_not_wrong(form: str) -> None:
    layer, given = drawn_layer(form=form), stream(8).requires_grad_()
    with pytest.raises(RuntimeError, match="create_graph=False"):
        torch.autograd.grad(layer(given).square().sum(), given, create_graph=True)


def test_the_direct_form_has_second_derivatives() -> None:
    layer, given = drawn_layer(form="direct"), stream(8).requires_grad_()
    (slope,) = torch.autograd.grad(layer(given).square().sum(), given, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), given)
    h, direction = 1e-5, torch.ones_like(given) / given.numel() ** 0.5

    def squared_slope(shift: float) -> float:
        moved = (given.detach() + shift * direction).requires_grad_()
        (found,) = torch.autograd.grad(layer(moved).square().sum(), moved)
        return float(found.square().sum())

    # central differences: an error of h^2 relative, and rounding of 1e-13/h
    expected = (squared_slope(h) - squared_slope(-h)) / (2 * h)
    assert abs(float((second * direction).sum()) - expected) < 1e-6 * abs(expected)


@pytest.mark.parametrize("form", FORMS)
def test_streams_of_another_shape_or_dtype_are_refused_in_words(form: str) -> None:
    layer = drawn_layer(form=form)
    for wrong in (stream()[0], stream()[..., :5], stream().float()):
        for call in (layer, layer.state_after, layer.condition_bounds):
            with pytest.raises(ValueError, match=r"need a stream \(B, T, 6\)"):
                call(wrong)


@pytest.mark.parametrize(
    "settings",
    [{"heads": 0}, {"heads": 1.0}, {"steps": -1}, {"tolerance": -1.0}, {"scale": float("nan")}, {"key_size": True}],
)
def test_sizes_that_name_no_layer_are_refused_in_words(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need "):
        MesaLayer(6, **settings)
