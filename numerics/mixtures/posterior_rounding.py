r"""What rounding may change of the Bayes predictor of a prompt: bounds from the backward error of rotations.

A model's least-squares problem has the rows (sigma I, 0) and (r_i, y_i): a design A of n + k rows, the labels b, the
solution u, what is left rho. Rotations are backward stable: what they give is exact for a design and labels that differ
by at most gamma |A| and gamma |b| [higham2002accuracy, section 19.6]. Here gamma = (6 (n + k) + 2) eps: an entry goes
through at most n + k rotations, each of which is off by less than 6 sqrt(2) unit roundings (eps is two of them), and
two more roundings are left for the row's scale and the substitution.
Main statements, to first order in gamma, s the least singular value of A, q the row of the query
    prediction    |q| ((gamma |b| + gamma |A| |u|)/s + gamma |A| |rho|/s^2) + k eps |q| |u|
    log evidence  |rho| (gamma |b| + gamma |A| |u|)/sigma^2 + k gamma |A|/s, and the roundings of its own terms
    mixture       with posterior p: sum over models of p times the first, and of p |f - mean| times the second and its
                  mean; for the class, p (1 - p) times the sum of the two classes' log-evidence bounds
sigma is in s: at noise 1e-8, s may be 1e-4, and 12 digits are left; Woodbury's identity goes by s^2, and leaves 8.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .posterior import ClassModels

EPS = torch.finfo(torch.float64).eps


class ModelBounds(NamedTuple):
    """For every model of a class (S,): posterior within the class, prediction, and bounds on both roundings."""

    posterior: Tensor
    prediction: Tensor
    of_prediction: Tensor
    of_log_evidence: Tensor


class Rounding(NamedTuple):
    """Bounds for one prompt: of the classes' posteriors, the prediction, and the log evidences by class."""

    posterior: float
    prediction: float
    log_evidence: list[float]


def bounds_of_models(models: ClassModels, X: Tensor, y: Tensor, query: Tensor, noise_variance: float) -> ModelBounds:
    """Bounds for a prompt X (n, d), y (n,), query (d,), by singular values of every model's design."""
    sigma, n = math.sqrt(noise_variance), len(y)
    q = models.rows(query[None])[0]
    S, k = q.shape
    rows = models.rows(X).transpose(0, 1) if n else torch.zeros(S, 0, k, dtype=q.dtype)
    A = torch.cat([rows, sigma * torch.eye(k, dtype=q.dtype).expand(S, k, k)], 1)
    b = torch.cat([y, torch.zeros(k, dtype=q.dtype)]).expand(S, n + k)
    U, singular, Vt = torch.linalg.svd(A, full_matrices=False)
    coefficients = (U.mT @ b[..., None])[..., 0]
    u = (Vt.mT @ (coefficients / singular)[..., None])[..., 0]
    rho = (b - (A @ u[..., None])[..., 0]).norm(dim=-1)
    gamma = (6 * (n + k) + 2) * EPS
    of_A, size, least = gamma * A.norm(dim=(-2, -1)), u.norm(dim=-1), singular[..., -1]
    shifted = gamma * b.norm(dim=-1) + of_A * size
    prediction = (q * u).sum(-1)
    of_prediction = q.norm(dim=-1) * (shifted / least + of_A * rho / least**2 + k * EPS * size)
    exponent, volume = (rho / sigma) ** 2 / 2, (singular / sigma).log().sum(-1)
    constant = abs(n * math.log(2 * math.pi * noise_variance)) + k * abs(math.log(sigma))
    of_terms = EPS * ((n + 2) * exponent + (k + 3) * (volume + constant + 1))
    of_log_evidence = rho * shifted / noise_variance + k * of_A / least + of_terms
    posterior = (models.log_weights - exponent - volume).softmax(-1)
    return ModelBounds(posterior, prediction, of_prediction, of_log_evidence)


def rounding_of_mixture(of_classes: list[ModelBounds], classes: Tensor) -> Rounding:
    """The bounds for two classes with the posterior `classes` (2,)."""
    of_evidence = torch.stack([(one.posterior * one.of_log_evidence).sum() for one in of_classes]) + 4 * EPS
    shares = torch.cat([p * one.posterior for p, one in zip(classes, of_classes, strict=True)])
    predictions, of_predictions, of_logs = (
        torch.cat(part) for part in zip(*(one[1:] for one in of_classes), strict=True)
    )
    mean = (shares * predictions).sum()
    moved = (shares * (predictions - mean).abs() * (of_logs + (shares * of_logs).sum())).sum()
    prediction = (shares * of_predictions).sum() + moved + 8 * EPS * (shares * predictions.abs()).sum()
    posterior = classes.prod() * of_evidence.sum() + 4 * EPS
    return Rounding(float(posterior), float(prediction), of_evidence.tolist())
