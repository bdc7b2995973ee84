"""The law of the prompt, as assumptions that a derivation takes: change one and the result follows.

Statements
    A prompt holds N samples (x_i, y_i), y_i = w.x_i + eps_i, and a query x_q; x_i, x_q have covariance
    Lambda, w ~ (0, Psi), eps ~ (0, sigma^2), all independent, centred and symmetric.
Assumptions that can be exchanged
    Psi = I; no noise; independent components with given cumulants in place of Gaussian covariates;
    a random context length, each prompt normalised by its own N; a query with a covariance of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ..algebra.gaussian_moments import RandomVector, expectation
from ..algebra.trace_polynomials import Scalars, TracePolynomial, map_scalars, scalar
from ..symbols import LAMBDA, PSI, SIGMA2, ZERO


@dataclass(frozen=True)
class PromptLaw:
    """The assumptions on a prompt. Covariances are one term each (a letter or a multiple of I).

    covariate_cumulants     pairs (order, cumulant of the standardised components); None: Gaussian covariates
    random_length           the context length is random: N^-k becomes the symbol m_k = E[N^-k]
    query_covariance        that of x_q; None: as the other covariates
    """

    covariance: TracePolynomial = LAMBDA
    task_covariance: TracePolynomial = PSI
    noise_variance: TracePolynomial = SIGMA2
    covariate_cumulants: tuple[tuple[int, Fraction | TracePolynomial], ...] | None = None
    random_length: bool = False
    query_covariance: TracePolynomial | None = None

    @property
    def has_noise(self) -> bool:
        return self.noise_variance != ZERO

    def vectors(self) -> list[RandomVector]:
        """The independent random vectors of a prompt."""
        cumulants = None if self.covariate_cumulants is None else dict(self.covariate_cumulants)
        query = self.covariance if self.query_covariance is None else self.query_covariance
        noise = [RandomVector("eps", self.noise_variance, space="1")] if self.has_noise else []
        return [
            RandomVector("x", self.covariance, cumulants=cumulants),
            RandomVector("x_q", query, cumulants=cumulants),
            RandomVector("w", self.task_covariance),
            *noise,
        ]

    def mean(self, polynomial: TracePolynomial) -> TracePolynomial:
        """E over prompts, and over their length where it is random."""
        averaged = expectation(polynomial, self.vectors())
        return map_scalars(averaged, average_over_length) if self.random_length else averaged


def average_over_length(scalars: Scalars) -> TracePolynomial:
    """N^-k -> m_k = E[N^-k]; other symbols stay."""
    result = scalar("N") ** 0
    for symbol, exponent in scalars:
        if symbol != "N":
            result = result * scalar(symbol) ** exponent
        elif exponent < 0:
            result = result * scalar(f"m{-exponent}")
        else:
            raise ValueError(f"need non-positive powers of N to average over its law, got N^{exponent}")
    return result
