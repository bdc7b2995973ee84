r"""Laws of prompts (x_1, y_1), ..., (x_N, y_N), whose function is drawn from a mixture of classes.

    x_i = sqrt(c) D^(1/2) g_i, g_i ~ N(0, I_d);  y_i = f(x_i) + e_i, e_i ~ N(0, noise variance);
    f is of class j with probability weight_j;  D = I, or diagonal with independent Exp(1) entries, new in each prompt.
At position i a predictor sees the examples before it and x_i, and answers for y_i: the prefixes 0, ..., N - 1.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..training.random_streams import standard_normals
from .function_classes import check_class, sampled_functions

Plain = Mapping[str, Any]


class Prompts(NamedTuple):
    """xs (B, N, d), ys (B, N) with noise, targets (B, N) without, and the class of each prompt (B,)."""

    xs: Tensor
    ys: Tensor
    targets: Tensor
    classes: Tensor


@dataclass(frozen=True)
class PromptLaw:
    """A mixture of function classes with Gaussian inputs.

    classes      plain descriptions (`function_classes`); weights: their probabilities
    input_scale  c, the variance of an input's coordinate
    covariance   "identity" or "exponential" (random, see above)
    """

    dimension: int
    length: int
    classes: tuple[Plain, ...]
    weights: tuple[float, ...]
    noise_variance: float = 0.0
    input_scale: float = 1.0
    covariance: str = "identity"

    def __post_init__(self) -> None:
        if self.covariance not in ("identity", "exponential"):
            raise ValueError(f"need the covariance identity or exponential, got {self.covariance!r}")
        weighted = len(self.classes) == len(self.weights) and all(weight >= 0 for weight in self.weights)
        if not (weighted and abs(sum(self.weights) - 1) <= 1e-12):
            raise ValueError(f"need a probability for each of {len(self.classes)} classes, got {self.weights}")
        if min(self.dimension, self.length) < 1:
            raise ValueError(f"need a dimension and a length from 1 on, got {self.dimension} and {self.length}")
        if not (0 <= self.noise_variance < math.inf and 0 < self.input_scale < math.inf):
            raise ValueError(
                f"need a noise variance from 0 on and an input scale above 0, got {self.noise_variance} and "
                f"{self.input_scale}"
            )
        for kind in self.classes:
            check_class(kind, self.dimension)

    @classmethod
    def from_plain(cls, plain: Plain) -> PromptLaw:
        """The law that `plain` describes."""
        return cls(**{**plain, "classes": tuple(plain["classes"]), "weights": tuple(plain["weights"])})

    def plain(self) -> dict[str, Any]:
        """Itself as plain data."""
        return {**asdict(self), "classes": [dict(kind) for kind in self.classes], "weights": list(self.weights)}

    @property
    def key(self) -> str:
        """SHA-256 of the parameters."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()

    def sample(
        self, count: int, generator: torch.Generator, dtype: torch.dtype = torch.float64, used: int | None = None
    ) -> Prompts:
        """`count` prompts on the generator's device; coordinates of x from `used` on are put to 0 (a curriculum)."""
        device, d, N = generator.device, self.dimension, self.length
        if used is not None and not 1 <= used <= d:
            raise ValueError(f"need a curriculum with 1 to {d} coordinates, got {used}")
        xs = math.sqrt(self.input_scale) * standard_normals((count, N, d), generator, dtype)
        if self.covariance == "exponential":
            variances = -torch.rand(count, 1, d, generator=generator, dtype=torch.float64, device=device).neg().log1p()
            xs = xs * variances.sqrt().to(dtype)
        if used is not None and used < d:
            xs[..., used:] = 0
        weights = torch.tensor(self.weights, dtype=torch.float64, device=device)
        classes = torch.multinomial(weights, count, True, generator=generator)
        targets = torch.zeros(count, N, dtype=dtype, device=device)
        for label, kind in enumerate(self.classes):
            functions = sampled_functions(kind, count, d, generator, dtype, used)
            targets = torch.where(classes[:, None] == label, functions(xs), targets)
        noise = math.sqrt(self.noise_variance) * standard_normals((count, N), generator, dtype)
        return Prompts(xs, targets + noise, targets, classes)
