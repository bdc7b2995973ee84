r"""Second derivatives by automatic differentiation: of a prompt's squared loss, and of the layer in its parameters.

Main statements
    risk_derivatives     grad R(beta) and (hess R) v of R(beta) = (1/2N) sum (beta.x_i - y_i)^2, prompt by prompt
    layer_hessians       yhat and its matrix of second derivatives in V = [[U, u12], [u21^T, u]], columns of V stacked,
                         from the layer f(E) = E + W_PV E (E^T W_KQ E)/N as it is used everywhere here
Rounding
    Each number is a sum, over N + 1 columns, of products of at most four entries: (N + d + 12) eps times the same sum
    of absolute values bounds its error, and that of another evaluation of the same polynomial as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..one_layer.gradient_step import risk
from ..one_layer.layer import attend
from ..one_layer.prompts import PromptDistribution, Prompts, sample_prompts
from ..training.random_streams import stream
from ..training.threads import one_thread

Plain = Mapping[str, Any]


def prompts_of(case: Plain, count: int, key: str, device: str) -> Prompts:
    """The case's own prompts E, if it has any, or fresh ones of its distribution."""
    if "embedding" in case:
        E = torch.tensor(case["embedding"], dtype=torch.float64, device=device)
        lengths = torch.full((len(E),), float(E.shape[-1] - 1), dtype=torch.float64, device=device)
        return Prompts(E, E.new_zeros(len(E)), lengths)
    law = PromptDistribution.from_plain(case["distribution"])
    return sample_prompts(law, count, stream(key, device), torch.float64, device)


@one_thread()
def risk_derivatives(cases: Sequence[Plain], prompts: int, stream_key: str, device: str) -> dict[str, Any]:
    """Per case (distribution or embedding; beta, v): prompts, gradients, Hessian products, rounding bounds."""
    found = [of_risk(case, prompts_of(case, prompts, f"{stream_key}/{k}", device)) for k, case in enumerate(cases)]
    return {key: [one[key] for one in found] for key in ("embedding", "gradient", "product", "rounding")}


def of_risk(case: Plain, batch: Prompts) -> dict[str, Any]:
    """One case of `risk_derivatives`: (prompts, d) each."""
    count = len(batch.embedding)
    beta, v = (batch.embedding.new_tensor(case[name]).expand(count, -1) for name in ("beta", "v"))
    gradient, product = gradient_and_product(batch, beta.clone(), v)
    sizes = Prompts(batch.embedding.abs(), batch.target, batch.context_length)
    with_plus = sizes.embedding.clone()
    with_plus[:, -1] = -with_plus[:, -1]  # -y |x| adds up with beta.x |x|
    magnitudes = gradient_and_product(
        Prompts(with_plus, batch.target, batch.context_length), beta.abs().clone(), v.abs()
    )
    rows, columns = batch.embedding.shape[-2:]
    unit = (columns + rows + 12) * torch.finfo(torch.float64).eps
    return {
        "embedding": batch.embedding.tolist(),
        "gradient": gradient.tolist(),
        "product": product.tolist(),
        "rounding": (2 * unit * torch.cat(magnitudes, -1)).tolist(),
    }


def gradient_and_product(batch: Prompts, beta: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """grad R(beta) and (hess R) v, (B, d) each, by differentiating twice."""
    beta.requires_grad_()
    (slope,) = torch.autograd.grad(risk(batch, beta).sum(), beta, create_graph=True)
    (product,) = torch.autograd.grad((slope * v).sum(), beta)
    return slope.detach(), product


@one_thread()
def layer_hessians(cases: Sequence[Plain], prompts: int, stream_key: str, device: str) -> dict[str, Any]:
    """Per case (distribution or embedding; V): prompts, predictions at V, Hessians, rounding bounds of both."""
    found = [of_layer(case, prompts_of(case, prompts, f"{stream_key}/{k}", device)) for k, case in enumerate(cases)]
    keys = ("embedding", "prediction", "prediction_rounding", "hessian", "rounding")
    return {key: [one[key] for one in found] for key in keys}


def of_layer(case: Plain, batch: Prompts) -> dict[str, Any]:
    """One case of `layer_hessians`."""
    V = batch.embedding.new_tensor(case["V"])
    rows, columns = batch.embedding.shape[-2:]
    unit = 2 * (columns + rows + 12) * torch.finfo(torch.float64).eps
    sizes = batch.embedding.abs()
    lengths = batch.context_length
    return {
        "embedding": batch.embedding.tolist(),
        "prediction": [float(predicted(V, E, n)) for E, n in zip(batch.embedding, lengths, strict=True)],
        "prediction_rounding": [unit * float(predicted(V.abs(), E, n)) for E, n in zip(sizes, lengths, strict=True)],
        "hessian": [hessian(E, n).tolist() for E, n in zip(batch.embedding, lengths, strict=True)],
        "rounding": [(unit * hessian(E, n)).tolist() for E, n in zip(sizes, lengths, strict=True)],
    }


def predicted(V: torch.Tensor, E: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """f(E)[d, N] of the layer whose last row of W_PV is V's last column, and W_KQ's first columns V's others."""
    size = len(V)
    W_PV = torch.cat([V.new_zeros(size - 1, size), V[:, -1:].T])
    W_KQ = torch.cat([V[:, :-1], V.new_zeros(size, 1)], -1)
    output: torch.Tensor = attend(E[None], length[None], W_PV, W_KQ)
    return output[0, -1, -1]


def hessian(E: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """The second derivatives of the prediction in the columns of V, stacked, ((d+1)^2, (d+1)^2)."""
    size = len(E)

    def of_columns(flat: torch.Tensor) -> torch.Tensor:
        return predicted(flat.reshape(size, size).T, E, length)

    start = E.new_zeros(size * size)
    found: torch.Tensor = torch.autograd.functional.hessian(of_columns, start)  # type: ignore[no-untyped-call]
    return found
