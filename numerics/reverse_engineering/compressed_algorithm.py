r"""The compressed algorithm of a trained linear transformer: every block of its weight products a multiple of I.

With constructed tokens of c blocks of n channels a head of linear attention is two products, W_KQ = W_K^T W_Q and
W_PV = P W_V, each c x c blocks of size n x n. The compressed head has one number in the place of each block.
Counting. 2 c^2 numbers a head in the place of 2 (c n)^2 entries, less one for the scale between the two products. With
    c = 4 blocks and n = 10 [vonoswald2023uncovering] that is 16 for the 1600 entries of one product and 32 for the
    3200 of both; "16 instead of 3200" is the count of one product over the entries of two, or that of heads of key
    size n, where W_Q, W_K, W_V and P have four blocks each. Our tokens (0, s_t, s_{t-1}) have c = 3: 18 for 1800.
Main statements
    products            W_KQ, W_PV of every layer and head, at balanced scale: |W_KQ|_F = |W_PV|_F in each head, blocks
                        that nothing reads set to 0 (the first layer reads no block 0 where tokens begin with zeros, and
                        of the last layer only block 0 is read). The predictions do not change
    block_multiples     tr/n of each block, the multiple of I nearest to it;  with_multiples: their blocks back again
    outside_shares      the share of |W|_F^2 that is outside, block by block; antisymmetric_shares: what of W is
                        antisymmetric, block by block
    model_of_products   a model of the same layer (`attention`) with these products: W_K = W_V = I
    fitted_multiples    the multiples with the least loss on given sequences, by L-BFGS from the projected ones
Kept apart: the projection says how near the weights are to the structure, the fit how good the structure is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch.func import functional_call

from ..mesa.attention import AutoregressiveModel, ModelShape
from ..mesa.autoregressive_training import position_losses
from ..training.random_streams import stream
from ..training.threads import one_thread


@dataclass(frozen=True)
class Products:
    """The weight products of a model of linear attention.

    W_KQ, W_PV (layers, heads, D, D), float64; shape: of the model that they come from.
    """

    shape: ModelShape
    W_KQ: torch.Tensor
    W_PV: torch.Tensor

    @property
    def blocks(self) -> int:
        """c, with D = c n."""
        return self.shape.width // self.shape.size


def check_blocks(shape: ModelShape) -> None:
    """Raises ValueError for a model whose weights have no blocks of n channels, or none of linear attention."""
    if shape.kind != "linear" or shape.tokens != "constructed" or shape.readout != "first":
        raise ValueError(
            "need linear attention on constructed tokens, read from the first block, for a compressed algorithm, got "
            f"{shape.kind} attention, {shape.tokens} tokens and {shape.readout} readout"
        )


def products(model: AutoregressiveModel) -> Products:
    """The products of a model at balanced scale, without the blocks that nothing reads."""
    check_blocks(model.shape)
    with torch.no_grad():
        merged = [layer.merged_weights() for layer in model.layers]  # type: ignore[operator]
    W_KQ, W_PV = (torch.stack([pair[k] for pair in merged]).double() for k in (0, 1))
    return balanced(without_unread_blocks(Products(model.shape, W_KQ, W_PV)))


def without_unread_blocks(given: Products) -> Products:
    """Zeros where the first layer would read block 0, which is 0, and where the last one writes to other blocks."""
    n, W_KQ, W_PV = given.shape.size, given.W_KQ.clone(), given.W_PV.clone()
    W_KQ[0, :, :n], W_KQ[0, :, :, :n], W_PV[0, :, :, :n], W_PV[-1, :, n:] = 0, 0, 0, 0
    return Products(given.shape, W_KQ, W_PV)


def balanced(given: Products, like: Products | None = None) -> Products:
    """(a W_KQ, W_PV/a) with equal norms in each head; the sign of a is such that <., like> >= 0 over both."""
    norms = [W.square().sum((-2, -1), keepdim=True).sqrt() for W in (given.W_KQ, given.W_PV)]
    a = torch.where(norms[0] * norms[1] > 0, (norms[1] / norms[0].clamp_min(1e-300)).sqrt(), torch.ones_like(norms[0]))
    W_KQ, W_PV = given.W_KQ * a, given.W_PV / a
    if like is not None:
        overlap = ((W_KQ * like.W_KQ) + (W_PV * like.W_PV)).sum((-2, -1), keepdim=True)
        sign = torch.where(overlap < 0, -1.0, 1.0).double()
        W_KQ, W_PV = W_KQ * sign, W_PV * sign
    return Products(given.shape, W_KQ, W_PV)


def block_multiples(W: torch.Tensor, size: int) -> torch.Tensor:
    """tr/n of each block: (.., c, c) of W (.., c n, c n).

    >>> block_multiples(torch.tensor([[1.0, 5.0], [5.0, 3.0]]), 2)
    tensor([[2.]])
    """
    return split(W, size).diagonal(dim1=-2, dim2=-1).mean(-1)


def split(W: torch.Tensor, size: int) -> torch.Tensor:
    """The blocks (.., c, c, n, n) of W (.., c n, c n)."""
    c = W.shape[-1] // size
    return W.reshape(*W.shape[:-2], c, size, c, size).transpose(-3, -2)


def with_multiples(multiples: torch.Tensor, size: int) -> torch.Tensor:
    """(.., c n, c n) whose blocks are these multiples of I."""
    c = multiples.shape[-1]
    eye = torch.eye(size, dtype=multiples.dtype, device=multiples.device)
    whole = torch.einsum("...ab,ij->...aibj", multiples, eye)
    return whole.reshape(*multiples.shape[:-2], c * size, c * size)


def projected(given: Products) -> Products:
    """The products with the nearest multiple of I in each block."""
    n = given.shape.size
    W_KQ, W_PV = (with_multiples(block_multiples(W, n), n) for W in (given.W_KQ, given.W_PV))
    return Products(given.shape, W_KQ, W_PV)


def outside_shares(W: torch.Tensor, size: int) -> torch.Tensor:
    """(.., c, c): the squared distance of each block from its multiple of I, over |W|_F^2; 0 where W is 0.

    They add up to the share of the weight that is outside the structure.
    """
    rest = split(W - with_multiples(block_multiples(W, size), size), size).square().sum((-2, -1))
    total = W.square().sum((-2, -1))[..., None, None]
    return torch.where(total > 0, rest / total.clamp_min(1e-300), torch.zeros_like(rest))


def antisymmetric_shares(W: torch.Tensor, size: int) -> torch.Tensor:
    """(.., c, c): the squared norm of the antisymmetric part of each block, over |W|_F^2; 0 where W is 0."""
    parts = split(W, size)
    odd = ((parts - parts.mT) / 2).square().sum((-2, -1))
    total = W.square().sum((-2, -1))[..., None, None]
    return torch.where(total > 0, odd / total.clamp_min(1e-300), torch.zeros_like(odd))


def shape_of_products(shape: ModelShape) -> ModelShape:
    """The shape of `model_of_products`: key and value size D."""
    return replace(shape, key_size=0, value_size=0)


def weights_of_products(W_KQ: torch.Tensor, W_PV: torch.Tensor) -> dict[str, torch.Tensor]:
    """Names and values of a model's weights: W_K = W_V = I, W_Q = W_KQ, P = W_PV."""
    eye = torch.eye(W_KQ.shape[-1], dtype=W_KQ.dtype).expand_as(W_KQ[0])
    found: dict[str, torch.Tensor] = {}
    for k in range(len(W_KQ)):
        values = {"W_Q": W_KQ[k], "W_K": eye, "W_V": eye, "P": W_PV[k]}
        found |= {f"layers.{k}.{name}": value for name, value in values.items()}
    return found


def model_of_products(given: Products) -> AutoregressiveModel:
    """A model with these products: the same predictions as any other factors of them."""
    model = AutoregressiveModel(shape_of_products(given.shape), stream("replaced below"), torch.float64)
    model.load_state_dict(weights_of_products(given.W_KQ, given.W_PV))
    return model


def losses_of(model: AutoregressiveModel, states: torch.Tensor) -> torch.Tensor:
    """1/2 |s_{t+1} - prediction_t|^2, (B, T - 1), of states (B, T, n)."""
    with torch.no_grad():
        return position_losses(model(states), states)


@dataclass(frozen=True)
class Fit:
    """Compressed products with the least loss found, and how the search ended.

    loss: the mean on the given sequences; gradient: the norm of its slope in the multiples that was left.
    """

    products: Products
    loss: float
    gradient: float
    evaluations: int


@one_thread()
def fitted_multiples(start: Products, states: torch.Tensor, *, steps: int = 200) -> Fit:
    """Minimise the mean loss on `states` (B, T, n) over the multiples, from those of `start`."""
    n, shape = start.shape.size, start.shape
    first = torch.stack([block_multiples(W, n) for W in (start.W_KQ, start.W_PV)])
    model = AutoregressiveModel(shape_of_products(shape), stream("replaced below"), torch.float64)

    def loss(flat: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        multiples = torch.from_numpy(flat.copy()).reshape(first.shape).requires_grad_(True)
        value = loss_of_multiples(model, multiples, n, states)
        (slope,) = torch.autograd.grad(value, multiples)
        return float(value.detach()), slope.reshape(-1).numpy()

    found = minimize(loss, first.reshape(-1).numpy(), jac=True, method="L-BFGS-B", options={"maxiter": steps})
    W_KQ, W_PV = with_multiples(torch.from_numpy(found.x).reshape(first.shape), n)
    best = balanced(Products(shape, W_KQ, W_PV), like=start)
    return Fit(best, float(found.fun), float(np.linalg.norm(found.jac)), int(found.nfev))


def loss_of_multiples(
    model: AutoregressiveModel, multiples: torch.Tensor, size: int, states: torch.Tensor
) -> torch.Tensor:
    """The mean loss of the compressed model, with its graph; multiples (2, layers, heads, c, c)."""
    W_KQ, W_PV = with_multiples(multiples, size)
    weights: Mapping[str, torch.Tensor] = weights_of_products(W_KQ, W_PV)
    return position_losses(functional_call(model, dict(weights), (states,)), states).mean()


def parameter_counts(shape: ModelShape) -> dict[str, int]:
    """Numbers in one head: entries of its two products, multiples of both, and of one.

    >>> parameter_counts(ModelShape(size=10, layers=6, heads=4))
    {'entries': 1800, 'multiples': 18, 'multiples of one product': 9}
    """
    c = shape.width // shape.size
    return {"entries": 2 * shape.width**2, "multiples": 2 * c**2, "multiples of one product": c**2}
