r"""The straight line between a trained model and its compressed algorithm, in the space of weight products.

What is interpolated. W_KQ and W_PV of each head at balanced scale (`compressed_algorithm.balanced`), heads paired as the
projection pairs them, the common sign of the two products chosen by their overlap. Predictions are linear in neither
product: a head's term has degree two in the share, and a model of L layers a degree of (3^(L+1) - 3)/2 or less. A straight
line in the factors W_Q, W_K, W_V, P would depend on the choice of factors, of which the predictions know nothing.
Main statements
    between            the products at a share of the way
    errors_on_line     |error|^2 at each share, sequence by sequence: (shares, B)
    barrier            the largest mean on the line above the straight line between its two ends, relative to the first
                       end: 0 where the line nowhere leaves that chord
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .compressed_algorithm import Products, model_of_products, position_errors


def between(start: Products, end: Products, share: float) -> Products:
    """(1 - share) start + share end, both products of every head."""
    W_KQ, W_PV = (torch.lerp(a, b, share) for a, b in ((start.W_KQ, end.W_KQ), (start.W_PV, end.W_PV)))
    return Products(start.shape, W_KQ, W_PV)


def errors_on_line(start: Products, end: Products, shares: Sequence[float], states: torch.Tensor) -> torch.Tensor:
    """The mean over t of |error|^2 of each sequence at each share, (shares, B), of states (B, T, n)."""
    models = [model_of_products(between(start, end, share)) for share in shares]
    return torch.stack([position_errors(model, states).mean(-1) for model in models])


def barrier(losses: Sequence[float], shares: Sequence[float]) -> float:
    """max over the line of (loss - chord)/loss at the start, at least 0.

    >>> barrier([1.0, 3.0, 2.0], [0.0, 0.5, 1.0])
    1.5
    """
    first, last = losses[0], losses[-1]
    above = [loss - (1 - share) * first - share * last for loss, share in zip(losses, shares, strict=True)]
    return max(above) / first
