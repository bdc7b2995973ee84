r"""Laws of labels beyond w.x: a link function of w.x, and a fixed polynomial of x.

Main statements
    y = g(x) + eps,   g(x) = link(w.x) + b.x + x^T B x
    links     linear t, relu max(t, 0), cubic t^3, sine sin t, sign
    degree    the degree of g in x for the purposes of a Gauss rule. The rules are symmetric under x -> -x of each
              example and of the query, and for ReLU the sum over both signs of g(x)^k times a monomial of degree j in x
              is a polynomial wherever k + j is even: (t^k + 0) x^j. That is so for every mean of the layer that
              is taken here (each factor y of an example comes with one factor x, or in pairs).
    bound     E g(x)^4 <= bound E |x|^(4 p), for the links of w ~ N(0, I)
A law without a degree (sine, sign) can be sampled only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

LINKS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "linear": lambda t: t,
    "relu": torch.relu,
    "cubic": lambda t: t * t * t,
    "sine": torch.sin,
    "sign": torch.sign,
}
DEGREES = {"linear": 1, "relu": 1, "cubic": 3}
Nested = Sequence[Sequence[float]]


@dataclass(frozen=True)
class LabelLaw:
    """g(x) = link(w.x) + linear.x + x^T quadratic x; linear (d,) and quadratic (d, d) as lists, None for 0.

    >>> LabelLaw("cubic").degree()
    3
    """

    link: str = "linear"
    linear: Sequence[float] | None = None
    quadratic: Nested | None = None

    def __post_init__(self) -> None:
        if self.link not in LINKS:
            raise ValueError(f"need a link out of {tuple(LINKS)}, got {self.link!r}")
        numbers = [*(self.linear or ()), *(entry for row in self.quadratic or () for entry in row)]
        if not all(isinstance(x, int | float) and math.isfinite(x) for x in numbers):
            raise ValueError(f"need finite numbers in the labels' polynomial, got {numbers}")

    def check_dimension(self, dimension: int) -> None:
        """Raises ValueError for a polynomial of another dimension."""
        sizes = {len(part) for part in (self.linear, self.quadratic, *(self.quadratic or ())) if part is not None}
        if sizes - {dimension}:
            raise ValueError(f"need labels' coefficients of dimension {dimension}, got sizes {sorted(sizes)}")

    def to_plain(self) -> dict[str, Any]:
        """What is not 0, as plain data."""
        found: dict[str, Any] = {"link": self.link}
        if self.linear is not None:
            found["linear"] = [float(x) for x in self.linear]
        if self.quadratic is not None:
            found["quadratic"] = [[float(x) for x in row] for row in self.quadratic]
        return found

    def degree(self) -> int:
        """The degree p of g in x, and in w. Raises ValueError for a link that no Gauss rule integrates."""
        if self.link not in DEGREES:
            raise ValueError(f"need polynomial or ReLU labels for a Gauss rule, got the link {self.link!r}; sample it")
        if self.link == "relu" and (self.linear is not None or self.quadratic is not None):
            raise ValueError("need ReLU labels alone for a Gauss rule, got a polynomial besides; sample them")
        return max(DEGREES[self.link], 2 if self.quadratic is not None else 1)

    def is_linear(self) -> bool:
        """Whether g(x) = w.x."""
        return self == LINEAR

    def apply(self, labels: torch.Tensor, covariates: Sequence[torch.Tensor], *, absolute: bool = False) -> None:
        """Turn labels w.x into g(x), in place; covariates: the d rows of x. absolute: with |b| and |B|."""
        if self.link != "linear":
            labels.copy_(LINKS[self.link](labels))
        size: Callable[[float], float] = abs if absolute else float
        for x, b in zip(covariates, self.linear or (), strict=False):
            labels.add_(x, alpha=size(b))
        for x, row in zip(covariates, self.quadratic or (), strict=False):
            for other, entry in zip(covariates, row, strict=True):
                labels.addcmul_(x, other, value=size(entry))


LINEAR = LabelLaw()
