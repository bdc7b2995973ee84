r"""SOAP: Adam in a basis that the gradients themselves supply.

For a weight with gradient G (m, n), the running means of G G^T and G^T G have eigenvectors Q_L and Q_R; the second
moments of Adam are those of Q_L^T G Q_R, and the update is turned back. Where the curvature is far from diagonal in
the weights' own coordinates, Adam moves slowly along its flat directions, and this does not.

Main statements
    Soap    theta <- theta - rate Q_L [Q_L^T m Q_R / (sqrt v + 1e-8)] Q_R^T, m the bias-corrected running mean of G
            (weight 0.9) [vyas2024soap]
Three choices differ from the paper. The means of G G^T, G^T G and of the squares take the newest with weight
min(1, 2 t^-0.8) at step t (t^-0.8 in [shazeer2018adafactor]), so that large early gradients fade and late ones are
averaged over many steps. The squares are carried into each new basis, since eigenvectors change places. Bases are
renewed at steps 10, 20, ... and after step 200 each time a twentieth of the steps has passed, since means that forget
slowly turn slowly.

Nothing but gradients of the batch loss enters: no data covariance, no Hessian, no solve.
"""

from __future__ import annotations

import torch

STEPS_PER_BASIS = 10


class Soap:
    """SOAP for parameters (C, m, n), each of the C slices on its own; a slice with m = 1 is plain Adam.

    Rows and columns whose gradient is exactly 0 at every step (padding) stay where they are.
    """

    def __init__(self, parameters: list[torch.Tensor], first: float = 0.9) -> None:
        self.states = [_Rotated(parameter, first) for parameter in parameters]
        self.steps = 0

    def step(self, gradients: list[torch.Tensor], rates: torch.Tensor) -> None:
        """One update with learning rates (C,)."""
        self.steps += 1
        for state, gradient in zip(self.states, gradients, strict=True):
            state.step(gradient, rates, self.steps)


class _Rotated:
    """One parameter with its running means and bases."""

    def __init__(self, parameter: torch.Tensor, first: float) -> None:
        self.parameter, self.first = parameter, first
        self.mean, self.square = torch.zeros_like(parameter), torch.zeros_like(parameter)
        # a vector (m = 1) keeps its own coordinates: one gradient has rank one and names no basis
        self.sides = _Basis(parameter.mT), _Basis(parameter)
        self.turns, self.renewal = parameter.shape[-2] > 1, STEPS_PER_BASIS

    def step(self, gradient: torch.Tensor, rates: torch.Tensor, step: int) -> None:
        weight = min(1.0, 2 * step**-0.8)
        self.mean.lerp_(gradient, 1 - self.first)
        turned, mean = gradient, self.mean
        if self.turns:
            left, right = self.sides
            left.product.lerp_(gradient @ gradient.mT, weight)
            right.product.lerp_(gradient.mT @ gradient, weight)
            if step == self.renewal:
                self.renewal += max(STEPS_PER_BASIS, step // 20)
                self.square = left.renew().mT @ self.square @ right.renew()
            turned, mean = (left.vectors.mT @ one @ right.vectors for one in (gradient, mean))
        self.square.lerp_(turned.square(), weight)
        update = mean / self.square.sqrt().add_(1e-8)
        if self.turns:
            update = left.live.mT * (left.vectors @ update @ right.vectors.mT) * right.live
        self.parameter.sub_((rates / (1 - self.first**step)).view(-1, 1, 1) * update)


class _Basis:
    """The eigenvectors (C, n, n) of a running mean of G^T G, and which coordinates ever had a gradient (C, 1, n)."""

    def __init__(self, parameter: torch.Tensor) -> None:
        n = parameter.shape[-1]
        self.product = parameter.new_zeros(len(parameter), n, n)
        self.vectors = torch.eye(n, dtype=parameter.dtype, device=parameter.device).expand_as(self.product)
        self.live = parameter.new_ones(len(parameter), 1, n)

    def renew(self) -> torch.Tensor:
        """Take the present eigenvectors; returns how second moments along the old ones spread over them, (C, n, n).

        Components along the old vectors count as uncorrelated, so a new vector's share of each is its squared cosine.
        """
        diagonal = self.product.diagonal(dim1=-2, dim2=-1)
        idle = (diagonal == 0).to(diagonal.dtype)
        self.live = (1 - idle).unsqueeze(-2)
        # at -1 the idle coordinates are eigenvectors of their own, apart from small eigenvalues of the others
        old, self.vectors = self.vectors, torch.linalg.eigh(self.product - torch.diag_embed(idle)).eigenvectors
        return (old.mT @ self.vectors).square()
