r"""Product Gauss rules over prompts: nodes and weights that integrate polynomials of a prompt exactly.

n Gauss nodes per coordinate are exact up to degree 2n - 1: Gauss-Hermite nodes for Gaussian variables,
Gauss-Legendre nodes for uniform covariates. The prompt's examples are exchangeable, so only unordered
contexts are enumerated, with their multiplicities: C(m + N - 1, N) instead of m^N contexts for m nodes of
one example. Each chunk of nodes comes with a twin made of absolute values, from which rounding is bounded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from .label_laws import LabelLaw
from .prompts import PromptDistribution, Prompts, symmetric_root, write_labels

Array = NDArray[np.float64]
LARGEST_RULE = 50_000_000
CHUNK = 8192


@dataclass(frozen=True)
class Degrees:
    """Degree of a polynomial in one example's covariates, the query, the task, one example's noise."""

    context: int
    query: int
    task: int
    noise: int

    def __add__(self, other: Degrees) -> Degrees:
        """The degrees of a product."""
        return Degrees(
            self.context + other.context,
            self.query + other.query,
            self.task + other.task,
            self.noise + other.noise,
        )

    def nodes(self) -> Degrees:
        """Gauss nodes per coordinate for these degrees: the least n with 2n - 1 >= degree."""
        return Degrees(self.context // 2 + 1, self.query // 2 + 1, self.task // 2 + 1, self.noise // 2 + 1)

    @property
    def total(self) -> int:
        """The sum of the four."""
        return self.context + self.query + self.task + self.noise


class GaussRule:
    """A product Gauss rule over the prompts of one context length; contexts as multisets of example nodes."""

    def __init__(self, distribution: PromptDistribution, length: int, degrees: Degrees) -> None:
        self.distribution, self.length = distribution, length
        nodes, d = degrees.nodes(), distribution.dimension
        self.example_nodes = nodes.context**d * (nodes.noise if distribution.noise_variance else 1)
        self.contexts = math.comb(self.example_nodes + length - 1, length)
        self.size = self.contexts * nodes.query**d * nodes.task**d
        if self.size > LARGEST_RULE:
            raise ValueError(
                f"need a rule of at most {LARGEST_RULE:.0e} nodes, got {self.size:.2e} for d = {d}, "
                f"N = {length}, noise_variance = {distribution.noise_variance:g}; "
                "lower d or N, drop the noise, or sample"
            )
        self._nodes = nodes

    def chunks(self) -> Iterator[tuple[torch.Tensor, Prompts, Prompts]]:
        """Weights (B,), prompts at the nodes, and their twins of absolute values, the target negated."""
        tables, magnitudes = self._tables(absolute=False), self._tables(absolute=True)
        context, multiplicity = _multisets(self.example_nodes, self.length)
        sizes = (self.contexts, len(tables.query_weight), len(tables.task_weight))
        for start in range(0, self.size, CHUNK):
            flat = np.arange(start, min(start + CHUNK, self.size))
            index, query, task = np.unravel_index(flat, sizes)
            chosen = context[:, index]  # (N, B)
            weights = multiplicity[index] * tables.query_weight[query] * tables.task_weight[task]
            weights = weights * tables.example_weight[chosen].prod(0)
            yield (
                torch.from_numpy(weights),
                tables.prompts(chosen, query, task),
                magnitudes.prompts(chosen, query, task),
            )

    def _tables(self, *, absolute: bool) -> _Tables:
        law, nodes, d = self.distribution, self._nodes, self.distribution.dimension
        covariate = _hermite if law.covariates == "gaussian" else _legendre
        sides = [covariate(nodes.context)] * d + ([_hermite(nodes.noise)] if law.noise_variance else [])
        example, example_weight = _product_rule(sides)
        query, query_weight = _product_rule([covariate(nodes.query)] * d)
        task, task_weight = _product_rule([_hermite(nodes.task)] * d)
        matrices = (law.covariance, law.covariance_of_query, law.task_covariance)
        root, query_root, task_root = map(symmetric_root, matrices)
        if absolute:
            example, query, task = map(np.abs, (example, query, task))
            root, query_root, task_root = map(np.abs, (root, query_root, task_root))
        return _Tables(
            covariates=root @ example[:d],
            noise=example[d] * law.noise_variance**0.5 if law.noise_variance else None,
            queries=query_root @ query,
            tasks=task_root @ task,
            example_weight=example_weight,
            query_weight=query_weight,
            task_weight=task_weight,
            labels=law.labels,
            absolute=absolute,
        )


@dataclass(frozen=True)
class _Tables:
    """Nodes of one example, of the query and of the task, each (d, nodes), and their weights."""

    covariates: Array
    noise: Array | None
    queries: Array
    tasks: Array
    example_weight: Array
    query_weight: Array
    task_weight: Array
    labels: LabelLaw
    absolute: bool

    def prompts(self, chosen: NDArray[np.intp], query: NDArray[np.intp], task: NDArray[np.intp]) -> Prompts:
        """Prompts from node numbers: chosen (N, B), query (B,), task (B,)."""
        d, (length, count) = len(self.queries), chosen.shape
        rows = torch.empty(d + 1, length + 1, count, dtype=torch.float64)
        rows[:-1, :-1] = torch.from_numpy(self.covariates[:, chosen])
        rows[:-1, -1] = torch.from_numpy(self.queries[:, query])
        context_length = torch.full((count,), float(length), dtype=torch.float64)
        noise = None if self.noise is None else torch.from_numpy(self.noise[chosen])
        tasks = torch.from_numpy(self.tasks[:, task])
        target = write_labels(rows, tasks, noise, self.labels, absolute=self.absolute)
        embedding = rows.permute(2, 0, 1)
        # with the target's sign turned, yhat - target is a sum of absolute values
        return Prompts(embedding, -target if self.absolute else target, context_length)


def _hermite(nodes: int) -> tuple[Array, Array]:
    """Gauss nodes and weights of N(0, 1)."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return points, weights / math.sqrt(2 * math.pi)


def _legendre(nodes: int) -> tuple[Array, Array]:
    """Gauss nodes and weights of the uniform law on (-sqrt 3, sqrt 3)."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return points * math.sqrt(3), weights / 2


def _product_rule(sides: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Nodes (len(sides), n) and weights (n,) of the product of one-dimensional rules."""
    nodes = np.array(list(itertools.product(*(points for points, _ in sides)))).T
    weights = np.array([math.prod(row) for row in itertools.product(*(weight for _, weight in sides))])
    return np.ascontiguousarray(nodes), weights


def _multisets(kinds: int, size: int) -> tuple[NDArray[np.intp], Array]:
    """All multisets of `size` out of `kinds`, (size, count), and the number of orders of each, (count,)."""
    flat = itertools.chain.from_iterable(itertools.combinations_with_replacement(range(kinds), size))
    chosen = np.fromiter(flat, dtype=np.intp).reshape(-1, size).T
    run = np.ones(chosen.shape[1])  # the place of each element in its run of equals; their product is prod mult!
    orders = np.full(chosen.shape[1], float(math.factorial(size)))
    for previous, current in itertools.pairwise(chosen):
        run = np.where(previous == current, run + 1, 1.0)
        orders /= run
    return np.ascontiguousarray(chosen), orders
