r"""The straight line between a trained model and its compressed algorithm, in the space of weight products.

What is interpolated. W_KQ and W_PV of each head at balanced scale (`compressed_algorithm.balanced`), heads paired as
the projection pairs them, the common sign of the two products chosen by their overlap. Predictions are not linear along
the line: the term of a head has degree two in the share already in the first layer. A straight line in the factors W_Q,
W_K, W_V, P would depend on the choice of factors, of which the predictions know nothing.
Main statements
    between            the products at a share of the way
    losses_on_line     the loss at each share, sequence by sequence: (shares, B)
    barrier            the largest mean on the line above the straight line between its two ends, relative to the first
                       end: 0 where the line nowhere leaves that chord
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .compressed_algorithm import Products, losses_of, model_of_products


def between(start: Products, end: Products, share: float) -> Products:
    """(1 - share) start + share end, both products of every head."""
    W_KQ, W_PV = (torch.lerp(a, b, share) for a, b in ((start.W_KQ, end.W_KQ), (start.W_PV, end.W_PV)))
    return Products(start.shape, W_KQ, W_PV)


def losses_on_line(start: Products, end: Products, shares: Sequence[float], states: torch.Tensor) -> torch.Tensor:
    """The mean loss over t of each sequence at each share, (shares, B), of states (B, T, n)."""
    models = [model_of_products(between(start, end, share)) for share in shares]
    return torch.stack([losses_of(model, states).mean(-1) for model in models])


def barrier(losses: Sequence[float], shares: Sequence[float]) -> float:
    """max over the line of (loss - chord)/loss at the start, at least 0.

    >>> barrier([1.0, 3.0, 2.0], [0.0, 0.5, 1.0])
    1.5
    """
    first, last = losses[0], losses[-1]
    above = [loss - (1 - share) * first - share * last for loss, share in zip(losses, shares, strict=True)]
    return max(above) / first
