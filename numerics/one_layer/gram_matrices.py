r"""The layer and its gradient, evaluated through the Gram matrix of each prompt.

The layer reads a prompt only through E E^T / N and the query column. Write the prompt's columns in standard
coordinates, x_i = R z_i and y_i = b.z_i + sigma eps_i, with R the symmetric root of Lambda, w = Q omega (Q the root
of Psi) and b = R w. Then E E^T / N = T G T^T + (1/N) e_q e_q^T with

    G = (1/N) sum_i c_i c_i^T,   c_i = (eps_i, z_i),     T the linear map from c_i to (x_i, y_i),

so that one matrix G of size d + 1 serves every law with that N: a prompt costs O(d^2) operations instead of O(d N).

Main statements
    gram_gradient     mean loss and gradient on the last row of W_PV and on W_KQ, for many laws at once; equal to
                      `gradients.batch_gradient` on the prompts that `literal_prompts` writes out, up to rounding
    literal_prompts   those prompts
Shapes: C laws of one dimension d, B prompts each, prompts innermost. Nothing is approximated, and the gradient is the
one in the layer's own weights; the standard coordinates only save arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .prompts import PromptDistribution, Prompts, symmetric_root, write_labels


@dataclass(frozen=True)
class StandardDraws:
    """Independent N(0, 1) numbers behind B prompts, before any law is applied.

    columns: (N, d + 1, B), eps_i first and then z_i; task: (d, B), omega; query: (d, B), z_q.
    """

    columns: torch.Tensor
    task: torch.Tensor
    query: torch.Tensor


@dataclass(frozen=True)
class GramPrompts:
    """What the layer needs of B prompts for each of C laws of dimension d.

    gram: (C, d + 1, d + 1, B), the matrices G; task, query: (d, B), shared by the laws.
    """

    gram: torch.Tensor
    task: torch.Tensor
    query: torch.Tensor


class LawMaps:
    """The linear maps of C laws of one dimension: R and R Q (C, d, d), sigma and 1/N (C, 1, 1).

    Raises ValueError for laws that are no linear image of Gaussian draws with one context length.
    """

    def __init__(self, laws: Sequence[PromptDistribution], device: torch.device, dtype: torch.dtype) -> None:
        for law in laws:
            check_linear_image(law)
        roots = np.stack([symmetric_root(law.covariance) for law in laws])
        tasks = np.stack([symmetric_root(law.task_covariance) for law in laws])
        self.root = torch.from_numpy(roots).to(device, dtype)
        self.task_root = torch.from_numpy(roots @ tasks).to(device, dtype)
        self.noise = torch.tensor([[[law.noise_variance**0.5]] for law in laws], dtype=dtype, device=device)
        self.share = torch.tensor([[[1 / law.longest_context]] for law in laws], dtype=dtype, device=device)


def check_linear_image(law: PromptDistribution) -> None:
    """Refuse a law whose prompts are not a linear image of one array of Gaussian draws."""
    if law.query_covariance is not None:
        raise ValueError(
            "need a query with the covariance of the other covariates for draws that several laws share, got a "
            "query_covariance; leave it out, or train on prompts of the law's own"
        )
    if law.covariates != "gaussian" or len(law.context_lengths) != 1 or not law.labels.is_linear():
        raise ValueError(
            "need Gaussian covariates, a single context length and labels w.x for draws that several laws share, got "
            f"{law.covariates} covariates, context lengths {law.context_lengths} and {law.labels.link} labels; train "
            "it on prompts of its own"
        )


def gram_gradient(
    prompts: GramPrompts, maps: LawMaps, value: torch.Tensor, key_query: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The mean loss (C), its gradient in the last row of W_PV (C, d + 1) and in W_KQ[:, :d] (C, d + 1, d).

    value: (C, d + 1), the row w = (u12, u); key_query: (C, d + 1, d), the columns (U; u21). With v = T^T w and
    p = T^T W_KQ e_q, yhat = v.G p + (1/N)(u12.x_q)(x_q.U x_q), linear in either weight.
    """
    d, root, query, share, gain = len(prompts.query), maps.root, prompts.query, maps.share, value[:, -1, None, None]
    b = maps.task_root @ prompts.task
    row = root @ value[:, :d, None]
    leak = row.mT @ query * share  # u12.x_q / N, (C, 1, B)
    attended = torch.cat([root @ key_query[:, :d] @ root, key_query[:, d:] @ root], 1) @ query
    even = (query * attended[:, :d]).sum(1, keepdim=True)  # x_q.U x_q, (C, 1, B)
    pair = prompts.gram.new_empty(len(b), d + 1, 2, b.shape[-1])  # v and p
    pair[:, 0, 0] = (maps.noise * gain).squeeze(-1)
    torch.addcmul(row, b, gain, out=pair[:, 1:, 0])
    torch.mul(maps.noise.squeeze(-1), attended[:, -1], out=pair[:, 0, 1])
    torch.addcmul(attended[:, :d], attended[:, d:], b, out=pair[:, 1:, 1])
    products = _products(prompts.gram, pair)
    labels = (b.unsqueeze(2) * products[:, 1:]).sum(1).addcmul_(maps.noise, products[:, 0])  # last row of T G (v, p)
    yhat = (pair[:, :, 0] * products[:, :, 1]).sum(1, keepdim=True).addcmul_(leak, even)
    residual = yhat - (b * query).sum(1, keepdim=True)
    weight = residual / residual.shape[-1]
    products[:, 1:, 0].addcmul_(leak, query)
    products[:, 1:, 1].addcmul_(even * share, query)
    products *= weight.unsqueeze(2)
    labels *= weight
    return (
        residual.square().mean((-2, -1)) / 2,
        _value_slope(products[:, 1:, 1].sum(-1, keepdim=True), labels[:, 1:].sum(-1, keepdim=True), root),
        _key_query_slope(torch.cat([products[:, 1:, 0], labels[:, :1]], 1) @ query.mT, root),
    )


def _products(gram: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """G times each of K vectors, (C, D, K, B), prompt by prompt; vectors likewise."""
    total = gram[:, :, 0, None] * vectors[:, None, 0]
    for place in range(1, gram.shape[2]):
        total.addcmul_(gram[:, :, place, None], vectors[:, None, place])
    return total


def _value_slope(covariates: torch.Tensor, label: torch.Tensor, root: torch.Tensor) -> torch.Tensor:
    """(C, d + 1), from sums over prompts (C, d, 1), still to be mapped by R, and (C, 1, 1)."""
    return torch.cat([root @ covariates, label], 1).squeeze(-1)


def _key_query_slope(standard: torch.Tensor, root: torch.Tensor) -> torch.Tensor:
    """(C, d + 1, d): the columns mapped by R, and so the first d rows."""
    slope = standard @ root
    return torch.cat([root @ slope[:, :-1], slope[:, -1:]], 1)


def literal_prompts(draws: StandardDraws, law: PromptDistribution) -> Prompts:
    """The prompts that the law makes of these draws, written out, (B, d + 1, N + 1)."""
    check_linear_image(law)
    d, N = law.dimension, law.longest_context
    root, task_root = (
        torch.from_numpy(symmetric_root(matrix)).to(draws.query) for matrix in (law.covariance, law.task_covariance)
    )
    rows = draws.query.new_zeros(d + 1, N + 1, draws.query.shape[-1])
    rows[:-1, :-1] = torch.einsum("ij,njb->inb", root, draws.columns[:N, 1 : d + 1])
    rows[:-1, -1] = root @ draws.query[:d]
    noise = draws.columns[:N, 0] * law.noise_variance**0.5
    target = write_labels(rows, task_root @ draws.task[:d], noise)
    return Prompts(rows.permute(2, 0, 1), target, torch.full_like(target, N))
