r"""Prompts of in-context linear regression.

A prompt is the matrix E = [[x_1 .. x_N, x_q], [y_1 .. y_N, 0]] of shape (d + 1, N + 1) with
    x_i, x_q  of mean 0 and covariance Lambda: N(0, Lambda), or Lambda^(1/2) z, z uniform on
              (-sqrt 3, sqrt 3)^d,
    w ~ N(0, Psi),   y_i = g(x_i) + eps_i,   eps_i ~ N(0, sigma^2),
and the target is g(x_q), without noise. g(x) = w.x unless the law has `labels` of its own (`label_laws`). The
context length N may be random: `context_lengths` are equally likely. With a `query_covariance` Q the query has the
covariance Q in the place of Lambda, positive semidefinite; it stays independent of all else.

Many prompts stand in one array, padded with zeros: the labels are always in the last row, the query always
in the last column, and a column of zeros adds nothing to E E^T. The arrays have the shape (prompts, d + 1,
N_max + 1), but lie in memory with the prompts innermost, so that each operation runs over long contiguous
rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..training.random_streams import centred_uniforms, standard_normals
from .label_laws import LINEAR, LabelLaw

COVARIATE_LAWS = ("gaussian", "uniform")


@dataclass(frozen=True, eq=False)
class PromptDistribution:
    """The law of a prompt.

    covariance, task_covariance: (d, d), Lambda and Psi; anything `numpy.asarray` reads.
    context_lengths: equally likely values of N; each prompt is normalised by its own.
    noise_variance: sigma^2. covariates: "gaussian" or "uniform".
    labels: a `LabelLaw`, or its plain parameters; g(x) = w.x if not given.
    query_covariance: (d, d), Q; that of the other covariates if None.

    Raises ValueError where these name no law: Lambda not positive definite, Psi or Q not positive semidefinite, a
    length below 1, a negative noise variance.

    >>> PromptDistribution([[1.0]], (4,), [[1.0]]).dimension
    1
    """

    covariance: NDArray[np.float64]
    context_lengths: tuple[int, ...]
    task_covariance: NDArray[np.float64]
    noise_variance: float = 0.0
    covariates: str = "gaussian"
    labels: LabelLaw = LINEAR
    query_covariance: NDArray[np.float64] | None = None

    if TYPE_CHECKING:  # the fields hold arrays, the constructor takes what numpy.asarray reads

        def __init__(
            self,
            covariance: ArrayLike,
            context_lengths: Sequence[int],
            task_covariance: ArrayLike,
            noise_variance: float = 0.0,
            covariates: str = "gaussian",
            labels: LabelLaw | Mapping[str, Any] = LINEAR,
            query_covariance: ArrayLike | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # the class is frozen
        set_field(self, "covariance", _covariance("covariance", self.covariance))
        set_field(self, "context_lengths", _context_lengths(self.context_lengths))
        set_field(self, "task_covariance", _covariance("task_covariance", self.task_covariance))
        set_field(self, "noise_variance", _noise_variance(self.noise_variance))
        _check_positive("covariance", self.covariance, strictly=True)
        self._check_beside("task_covariance", self.task_covariance)
        if self.query_covariance is not None:
            set_field(self, "query_covariance", _covariance("query_covariance", self.query_covariance))
            self._check_beside("query_covariance", self.query_covariance)
        set_field(self, "labels", self.labels if isinstance(self.labels, LabelLaw) else LabelLaw(**self.labels))
        self.labels.check_dimension(self.dimension)
        if self.covariates not in COVARIATE_LAWS:
            raise ValueError(f"need covariates out of {COVARIATE_LAWS}, got {self.covariates!r}")

    def _check_beside(self, name: str, matrix: NDArray[np.float64]) -> None:
        """Refuse a matrix that is no covariance of the covariates' dimension."""
        _check_positive(name, matrix, strictly=False)
        if matrix.shape != self.covariance.shape:
            raise ValueError(
                f"need a {name} of the covariance's shape {self.covariance.shape}, got "
                f"{matrix.shape}; give both for the same dimension"
            )

    @property
    def covariance_of_query(self) -> NDArray[np.float64]:
        """The covariance of x_q, (d, d): Q, or Lambda where no other is given."""
        return self.covariance if self.query_covariance is None else self.query_covariance

    @property
    def dimension(self) -> int:
        """d, the number of covariates."""
        return len(self.covariance)

    @property
    def longest_context(self) -> int:
        """The largest of the context lengths."""
        return max(self.context_lengths)

    def to_plain(self) -> dict[str, Any]:
        """Lists, floats and strings that `from_plain` turns back into this distribution.

        Linear labels and a query like the covariates are left out: random streams are named by this text, and keep the
        names that they had.
        """
        labels = {} if self.labels == LINEAR else {"labels": self.labels.to_plain()}
        query = {} if self.query_covariance is None else {"query_covariance": self.query_covariance.tolist()}
        return {
            "covariance": self.covariance.tolist(),
            "context_lengths": list(self.context_lengths),
            "task_covariance": self.task_covariance.tolist(),
            "noise_variance": self.noise_variance,
            "covariates": self.covariates,
            **labels,
            **query,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> PromptDistribution:
        """The distribution with these parameters; unknown names are refused by name (TypeError)."""
        return cls(**plain)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PromptDistribution) and self.to_plain() == other.to_plain()

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_plain(), sort_keys=True))


@dataclass(frozen=True)
class Prompts:
    """A batch of prompts, with any leading axes (..., B).

    embedding: (..., B, d + 1, N_max + 1); target: (..., B), the noiseless w.x_q;
    context_length: (..., B), the N by which each prompt is normalised, in the embedding's dtype.
    """

    embedding: torch.Tensor
    target: torch.Tensor
    context_length: torch.Tensor


class PromptSampler:
    """Draws prompts of one distribution; keeps the square roots of its covariances.

    >>> from iclcheck.numerics.training.random_streams import stream
    >>> draw = PromptSampler(PromptDistribution([[1.0]], (4,), [[1.0]]))
    >>> draw(3, stream("example")).embedding.shape
    torch.Size([3, 2, 5])
    """

    def __init__(
        self,
        distribution: PromptDistribution,
        dtype: torch.dtype = torch.float64,
        device: str | torch.device = "cpu",
    ) -> None:
        self.distribution = distribution
        self.dtype = dtype
        self.root = torch.from_numpy(symmetric_root(distribution.covariance)).to(device, dtype)
        self.query_root = torch.from_numpy(symmetric_root(distribution.covariance_of_query)).to(device, dtype)
        self.task_root = torch.from_numpy(symmetric_root(distribution.task_covariance)).to(device, dtype)
        self.lengths = torch.tensor(distribution.context_lengths, dtype=dtype, device=device)

    def __call__(self, count: int, generator: torch.Generator) -> Prompts:
        """`count` independent prompts from the generator, which is on the sampler's device."""
        rows, _, target, context_length = self._draw(count, generator)
        return Prompts(rows.permute(2, 0, 1), target, context_length)

    def over_queries(self, count: int, generator: torch.Generator) -> Iterator[Prompts]:
        """`count` independent contexts and tasks, each with the d queries sqrt(d) Q^(1/2) e_j in turn.

        Over these queries the mean of x_q x_q^T is Q (Lambda where no other is given), as it is over the law of the
        query: so is the mean of every quadratic form in the query. The d batches share memory: use each before the
        next.
        Raises ValueError for labels that are not linear: their target is no linear form in the query.
        """
        if not self.distribution.labels.is_linear():
            raise ValueError("need labels w.x to average over the query by its second moments; sample the query")
        rows, task, _, context_length = self._draw(count, generator)
        for node in math.sqrt(self.distribution.dimension) * self.query_root:  # the root is symmetric
            rows[:-1, -1] = node[:, None]
            yield Prompts(rows.permute(2, 0, 1), node @ task, context_length)

    def _draw(
        self, count: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Embeddings (d + 1, N_max + 1, count), tasks (d, count), targets and context lengths (count,)."""
        d, tokens = self.distribution.dimension, self.distribution.longest_context + 1
        context_length = self._context_lengths(count, generator)
        noise = self._noise(count, generator)
        task = self.task_root @ standard_normals((d, count), generator, self.dtype)
        covariates = self._covariates((d, tokens * count), generator)
        rows = torch.empty(d + 1, tokens, count, dtype=self.dtype, device=generator.device)
        torch.mm(self.root, covariates, out=rows[:-1].view(d, -1))
        if self.distribution.query_covariance is not None:
            rows[:-1, -1] = self.query_root @ covariates[:, -count:]  # the query is the last token
        if len(self.lengths) > 1:
            present = _present(context_length, tokens - 1)
            rows[:-1, :-1] *= present
            noise = None if noise is None else noise * present
        return rows, task, write_labels(rows, task, noise, self.distribution.labels), context_length

    def _covariates(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        draw = standard_normals if self.distribution.covariates == "gaussian" else centred_uniforms
        return draw(shape, generator, self.dtype)

    def _noise(self, count: int, generator: torch.Generator) -> torch.Tensor | None:
        law = self.distribution
        if law.noise_variance == 0:
            return None
        return standard_normals((law.longest_context, count), generator, self.dtype).mul_(law.noise_variance**0.5)

    def _context_lengths(self, count: int, generator: torch.Generator) -> torch.Tensor:
        if len(self.lengths) == 1:
            return self.lengths.expand(count)
        choice = torch.randint(len(self.lengths), (count,), generator=generator, device=generator.device)
        return self.lengths[choice]


def sample_prompts(
    distribution: PromptDistribution,
    count: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> Prompts:
    """`count` independent prompts of the distribution, (count, d + 1, N_max + 1)."""
    return PromptSampler(distribution, dtype, device)(count, generator)


def sample_padded_prompts(
    distributions: Sequence[PromptDistribution],
    count: int,
    generators: Sequence[torch.Generator],
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> Prompts:
    """`count` prompts of each of C distributions in one array, (C, count, d_max + 1, N_max + 1).

    Distribution c draws from generators[c] what `sample_prompts` would draw from it alone.
    """
    pairs = zip(distributions, generators, strict=True)
    return pad_prompts([sample_prompts(law, count, generator, dtype, device) for law, generator in pairs])


def pad_prompts(batches: Sequence[Prompts]) -> Prompts:
    """C batches of B prompts each, of different d and N_max, as one of shape (C, B, d_max + 1, N_max + 1)."""
    shapes = [batch.embedding.shape for batch in batches]
    rows, tokens = max(shape[1] for shape in shapes), max(shape[2] for shape in shapes)
    padded = batches[0].embedding.new_zeros(len(batches), rows, tokens, shapes[0][0])
    for place, batch in zip(padded, batches, strict=True):
        write_padded(place, batch.embedding.permute(1, 2, 0))
    target = torch.stack([batch.target for batch in batches])
    context_length = torch.stack([batch.context_length for batch in batches])
    return Prompts(padded.permute(0, 3, 1, 2), target, context_length)


def write_padded(place: torch.Tensor, rows: torch.Tensor) -> None:
    """Write prompts (d + 1, N + 1, B) into `place` (d_max + 1, N_max + 1, B), labels last, query last."""
    dimension, length = rows.shape[0] - 1, rows.shape[1] - 1
    place[:dimension, :length] = rows[:-1, :-1]
    place[:dimension, -1] = rows[:-1, -1]
    place[-1, :length] = rows[-1, :-1]


def write_labels(
    rows: torch.Tensor,
    task: torch.Tensor,
    noise: torch.Tensor | None,
    labels_of: LabelLaw = LINEAR,
    *,
    absolute: bool = False,
) -> torch.Tensor:
    """Fill the last row of `rows` (d + 1, N + 1, B), whose covariates stand, with y = g(x) + eps.

    task: (d, B); noise: (N, B) or None; absolute: with the sizes of g's coefficients. Returns the targets g(x_q), (B,).
    """
    labels = rows[-1]
    torch.mul(task[0], rows[0], out=labels)
    for weight, covariate in zip(task[1:], rows[1:-1], strict=True):
        labels.addcmul_(weight, covariate)
    labels_of.apply(labels, tuple(rows[:-1]), absolute=absolute)
    target = labels[-1].clone()
    if noise is not None:
        labels[:-1] += noise
    labels[-1] = 0
    return target


def symmetric_root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric square root of a positive semidefinite matrix (d, d)."""
    values, vectors = np.linalg.eigh(matrix)
    root: NDArray[np.float64] = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return root


def _present(context_length: torch.Tensor, longest: int) -> torch.Tensor:
    """(longest, B): 1 where the prompt has that example, else 0."""
    index = torch.arange(longest, device=context_length.device, dtype=context_length.dtype)
    return (index.unsqueeze(-1) < context_length).to(context_length.dtype)


def _covariance(name: str, given: ArrayLike) -> NDArray[np.float64]:
    """A read-only symmetric copy."""
    try:
        matrix = np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"need {name} as a d x d array of numbers, got {given!r}") from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ValueError(f"need {name} of shape (d, d), got {matrix.shape}; for d = 1 write [[value]]")
    if not np.isfinite(matrix).all():
        raise ValueError(f"need finite numbers in {name}, got {matrix.tolist()}")
    # products such as Q diag Q^T are symmetric up to rounding only
    if not np.allclose(matrix, matrix.T, rtol=0, atol=1e-12 * np.abs(matrix).max()):
        raise ValueError(f"need a symmetric {name}, got {matrix.tolist()}; pass (M + M.T) / 2 if that is meant")
    matrix = (matrix + matrix.T) / 2
    matrix.flags.writeable = False
    return matrix


def _check_positive(name: str, matrix: NDArray[np.float64], *, strictly: bool) -> None:
    values = np.linalg.eigvalsh(matrix)
    rounding = len(values) * np.finfo(np.float64).eps * np.abs(values).max()
    if strictly and values[0] <= rounding:
        raise ValueError(f"need a positive definite {name}, got the eigenvalue {values[0]:.3g}")
    if values[0] < -rounding:
        raise ValueError(f"need a positive semidefinite {name}, got the eigenvalue {values[0]:.3g}")


def _context_lengths(given: Sequence[int]) -> tuple[int, ...]:
    try:
        lengths = tuple(given)
        whole = all(int(length) == length and length >= 1 for length in lengths)
    except (TypeError, ValueError) as error:
        raise ValueError(f"need context_lengths as a list of whole numbers, got {given!r}") from error
    if not lengths or not whole:
        raise ValueError(f"need context_lengths of at least 1 each, at least one of them, got {list(lengths)}")
    return tuple(int(length) for length in lengths)


def _noise_variance(given: float) -> float:
    try:
        variance = float(given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"need noise_variance as a number, got {given!r}") from error
    if not (np.isfinite(variance) and variance >= 0):
        raise ValueError(f"need a finite noise_variance of at least 0, got {variance}")
    return variance
