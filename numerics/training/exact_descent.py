r"""Descent of many starts at once on a population loss that is given by its moments: no sampling.

The loss of H heads is L = constant - <l, m> + 1/2 <m, T m> with m = sum_h p_h (x) K_h, p_h (d+1) the last row of the
h-th W_PV and K_h (d+1, d) the first columns of its W_KQ. T and l come as numbers; nothing here knows how they were
found.
Methods, each with its own step per run or with constant steps
    flow       gradient flow, by the Rosenbrock pair of orders 2 and 3 of MATLAB's ode23s, with error control per run
    gd         p <- p - rate (dL/dp + decay p), the same for K
    adam       Adam with the weights (0.9, 0.99), and the decay added to the gradient
References
    [shampine1997matlab], [kingma2015adam].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

Tensor = torch.Tensor
# The local error of a step relative to the weights' size. Runs that pass a saddle nearer than that may end on its other
# side: a share of the order of the tolerance times the number of steps.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class MomentLoss:
    """constant; linear (n,); quadratic (n, n) with n = (d+1)^2 d, the index (a, b, c) of p_a K_bc. float64."""

    constant: float
    linear: Tensor
    quadratic: Tensor

    def value(self, p: Tensor, K: Tensor) -> Tensor:
        """L of p (R, H, d+1), K (R, H, d+1, d), shape (R,)."""
        m = product(p, K)
        return self.constant + (m * (0.5 * m @ self.quadratic - self.linear)).sum(-1)

    def gradient(self, p: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
        """dL/dp and dL/dK in the shapes of p and K."""
        residual = (product(p, K) @ self.quadratic - self.linear).view(len(p), 1, p.shape[-1], -1)
        flat = K.flatten(2)
        return (residual * flat.unsqueeze(-2)).sum(-1), (residual * p.unsqueeze(-1)).sum(-2).view_as(K)

    def joined_gradient(self, theta: Tensor, shape: int) -> Tensor:
        """The gradient by all parameters of a run, (R, parameters)."""
        return joined(*self.gradient(*apart(theta, shape)))

    def second_derivatives(self, theta: Tensor, shape: int) -> Tensor:
        """(R, parameters, parameters): with m = sum_h p_h (x) K_h, dm.T dm and the residual between p_h and K_h."""
        p, K = apart(theta, shape)
        runs, heads, flat = len(p), p.shape[1], K.flatten(2)
        k, first = flat.shape[-1], heads * shape
        T = self.quadratic.view(shape, k, shape, k)
        along_p = torch.einsum("akbl,rhl->rakhb", T, flat)  # T dm for dm by an entry of p_h
        along_K = torch.einsum("akbl,rhb->rakhl", T, p)  # and by one of K_h
        H = theta.new_zeros(runs, theta.shape[-1], theta.shape[-1])
        H[:, :first, :first] = torch.einsum("rgk,rakhb->rgahb", flat, along_p).reshape(runs, first, first)
        mixed = torch.einsum("rgk,rakhl->rgahl", flat, along_K).reshape(runs, first, heads * k)
        H[:, first:, first:] = torch.einsum("rga,rakhl->rgkhl", p, along_K).reshape(runs, heads * k, heads * k)
        residual = (product(p, K) @ self.quadratic - self.linear).view(runs, shape, k)
        for h in range(heads):
            mixed[:, h * shape : (h + 1) * shape, h * k : (h + 1) * k] += residual
        H[:, :first, first:], H[:, first:, :first] = mixed, mixed.mT
        return H


def product(p: Tensor, K: Tensor) -> Tensor:
    """sum_h p_h (x) K_h, shape (R, n)."""
    return torch.einsum("rha,rhk->rak", p, K.flatten(2)).flatten(1)


@dataclass(frozen=True)
class Ends:
    """Where runs ended: p (R, H, d+1), K (R, H, d+1, d), loss (R,), slope (R,): |grad L| there, finite (R,).

    curves    pairs (time or step, loss (R,)) at places along the runs
    """

    p: Tensor
    K: Tensor
    loss: Tensor
    slope: Tensor
    finite: Tensor
    curves: list[tuple[float, Tensor]]


def random_starts(runs: int, heads: int, dimension: int, scale: float, seed: int) -> tuple[Tensor, Tensor]:
    """All entries of p and K independent N(0, scale^2)."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.randn(runs, heads, dimension + 1, generator=generator, dtype=torch.float64)
    K = torch.randn(runs, heads, dimension + 1, dimension, generator=generator, dtype=torch.float64)
    return scale * p, scale * K


def gradient_flow(loss: MomentLoss, p: Tensor, K: Tensor, flat: float, steps: int) -> Ends:
    """Each run goes on until |grad L| |theta| <= flat L(0), or for that many steps; runs that ended are dropped."""
    shape = p.shape[-1]
    ends = joined(p, K)
    theta, active = ends.clone(), torch.arange(len(p))
    h = torch.full((len(p),), 1e-2, dtype=torch.float64)
    for _ in range(steps):
        slope = loss.joined_gradient(theta, shape)
        going = slope.norm(dim=-1) * theta.norm(dim=-1) > flat * loss.constant
        if not going.all():
            ends[active[~going]] = theta[~going]
            theta, slope, h, active = theta[going], slope[going], h[going], active[going]
        if not len(active):
            break
        moved, error = rosenbrock(loss, theta, slope, h, shape)
        allowed = TOLERANCE * theta.norm(dim=-1)
        good = error <= allowed
        theta = torch.where(good[:, None], moved, theta)
        h = h * (0.8 * (allowed / error.clamp_min(1e-300)) ** (1 / 3)).clamp(0.2, 4.0)
    ends[active] = theta
    return ended(loss, *apart(ends, shape), [])


def rosenbrock(loss: MomentLoss, theta: Tensor, slope: Tensor, h: Tensor, shape: int) -> tuple[Tensor, Tensor]:
    """One step of theta' = -slope of size h (R,): theta after it, and the estimated local error (R,).

    (I + h c H) k = .. with the second derivatives H and c = 1/(2 + sqrt 2): stable for any h > 0 where H is positive,
    so that slow directions are followed by large steps.
    """
    eye = torch.eye(theta.shape[-1], dtype=theta.dtype)
    W = torch.linalg.lu_factor(eye + h[:, None, None] / (2 + math.sqrt(2)) * loss.second_derivatives(theta, shape))

    def solved(right: Tensor) -> Tensor:
        found: Tensor = torch.linalg.lu_solve(*W, right.unsqueeze(-1)).squeeze(-1)
        return found

    step = h[:, None]
    first = solved(-slope)
    middle = -loss.joined_gradient(theta + step / 2 * first, shape)
    second = solved(middle - first) + first
    moved = theta + step * second
    last = -loss.joined_gradient(moved, shape)
    third = solved(last - (6 + math.sqrt(2)) * (second - middle) - 2 * (first + slope))
    return moved, h / 6 * (first - 2 * second + third).norm(dim=-1)


def joined(p: Tensor, K: Tensor) -> Tensor:
    """(R, H (d+1) + H (d+1) d)."""
    return torch.cat([p.flatten(1), K.flatten(1)], -1)


def apart(theta: Tensor, shape: int) -> tuple[Tensor, Tensor]:
    """p and K again, for d+1 = shape."""
    heads = theta.shape[-1] // (shape * shape)
    first = heads * shape
    return theta[:, :first].view(-1, heads, shape), theta[:, first:].view(-1, heads, shape, shape - 1)


def gradient_descent(
    loss: MomentLoss, p: Tensor, K: Tensor, rate: float, steps: int, decay: float = 0.0, curve_points: int = 0
) -> Ends:
    """Constant steps."""

    def update(g_p: Tensor, g_K: Tensor) -> tuple[Tensor, Tensor]:
        return rate * g_p, rate * g_K

    return iterate(loss, p, K, update, steps, decay, curve_points)


def adam(loss: MomentLoss, p: Tensor, K: Tensor, rate: float, steps: int, decay: float = 0.0) -> Ends:
    """Adam, its rate falling linearly to 0 over the run: at a constant rate it ends on a cycle of that size."""
    first = [torch.zeros_like(p), torch.zeros_like(K)]
    second = [torch.zeros_like(p), torch.zeros_like(K)]
    taken = [0]

    def update(g_p: Tensor, g_K: Tensor) -> tuple[Tensor, Tensor]:
        taken[0] += 1
        found = []
        for gradient, mean, square in zip((g_p, g_K), first, second, strict=True):
            mean.lerp_(gradient, 0.1)
            square.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
            size = (square / (1 - 0.99 ** taken[0])).sqrt_().add_(1e-8)
            found.append(rate * (1 - taken[0] / steps) * mean / (1 - 0.9 ** taken[0]) / size)
        return found[0], found[1]

    return iterate(loss, p, K, update, steps, decay, 0)


def iterate(
    loss: MomentLoss,
    p: Tensor,
    K: Tensor,
    update: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    steps: int,
    decay: float,
    curve_points: int,
) -> Ends:
    p, K, curves = p.clone(), K.clone(), []
    every = max(1, steps // curve_points) if curve_points else 0
    for step in range(steps):
        if every and step % every == 0:
            curves.append((float(step), loss.value(p, K)))
        g_p, g_K = loss.gradient(p, K)
        move_p, move_K = update(g_p + decay * p, g_K + decay * K)
        p -= move_p
        K -= move_K
    return ended(loss, p, K, curves)


def ended(loss: MomentLoss, p: Tensor, K: Tensor, curves: list[tuple[float, Tensor]]) -> Ends:
    slope = size(*loss.gradient(p, K))
    finite = torch.isfinite(slope) & torch.isfinite(size(p, K))
    return Ends(p, K, loss.value(p, K), slope, finite, curves)


def size(p: Tensor, K: Tensor) -> Tensor:
    """The norm over all entries, (R,)."""
    return (p.flatten(1).square().sum(-1) + K.flatten(1).square().sum(-1)).sqrt()
