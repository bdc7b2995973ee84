r"""Random dynamical systems, one fresh system for each sequence, and what is seen of their states.

    "linear"     s_{t+1} = W s_t + noise, s_1 ~ N(0, I_n), W Haar on the orthogonal group: fully observed
    "partial"    h_{t+1} = W h_t + noise, h_1 ~ N(0, I_m), W Haar on O(m), seen through s_t = C h_t with m > n
    "nonlinear"  s_{t+1} = g A tanh(B s_t) + noise, s_1 ~ N(0, I_n), a random network for each sequence

The noise is N(0, noise_variance I), in the state. With initial "sphere" the first state is uniform on the sphere of
squared radius n (m of a hidden one) in place of N(0, I): a model of L linear attention layers is a polynomial of degree
3^L in a noiseless sequence, and under the Gaussian law rare long first states rule its mean loss from L = 2 on.

These are the three tasks of [vonoswald2023uncovering], with N(0, I) first states, n = 10 and T = 50. Two laws are
choices of this module, where that paper leaves room:

    C    independent N(0, 1/m) entries, so that E|s_t|^2 = n; "fresh" with each sequence (the default) or "fixed", drawn
         once for the task. With "coordinates", C = (I 0): the law of every C with orthonormal rows, because those of W
         and h_1 do not change under a rotation of the hidden space
    A,B  independent N(0, 1/hidden_size) and N(0, 1/n) entries; g = (E tanh(z)^2)^(-1/2), z ~ N(0, 1), so that a state
         of unit variance is followed by one, and the state 0 repels (g > 1): sequences neither die out nor explode

Main statements
    haar_orthogonal    exact Haar law from n normals, n - 1 normals, ..., by reflections
    sample_sequences   the same numbers for the same generator, whatever BLAS: no matrix product is used
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ..training.random_streams import standard_normals, stream

Move = Callable[[torch.Tensor], torch.Tensor]
KINDS = ("linear", "partial", "nonlinear")
INITIALS = ("gaussian", "sphere")
OBSERVATIONS = ("fresh", "fixed", "coordinates")
_NODES = 160  # of Gauss and Hermite: E tanh(z)^2 to 1e-12; tested against 240


@dataclass(frozen=True)
class SequenceTask:
    """The law of a sequence s_1 .. s_T.

    kind: see the module. size: n, of what is seen. length: T. noise_variance: of each entry of the noise in the state.
    hidden_size: m > n of "partial", the width of the network of "nonlinear", 0 for "linear".
    observation: the law of C ("fresh", "fixed", "coordinates") of "partial"; replica: names the fixed C.
    initial: the law of the first state, "gaussian" or "sphere".

    Raises ValueError where these name no law.

    >>> SequenceTask(size=3, length=10).state_size
    3
    """

    kind: str = "linear"
    size: int = 10
    length: int = 50
    noise_variance: float = 0.0
    hidden_size: int = 0
    observation: str = "fresh"
    replica: int = 0
    initial: str = "gaussian"

    def __post_init__(self) -> None:
        _check_choice("kind", self.kind, KINDS)
        _check_choice("initial", self.initial, INITIALS)
        _check_choice("observation", self.observation, OBSERVATIONS)
        if self.size < 1 or self.length < 2:
            raise ValueError(f"need size >= 1 and length >= 2, got {self.size} and {self.length}")
        if not 0 <= self.noise_variance < float("inf"):
            raise ValueError(f"need a noise_variance >= 0, got {self.noise_variance}")
        self._check_hidden_size()

    def _check_hidden_size(self) -> None:
        least = {"linear": 0, "partial": self.size + 1, "nonlinear": 1}[self.kind]
        if self.hidden_size < least or (self.kind == "linear" and self.hidden_size):
            wanted = "0: the state is seen" if self.kind == "linear" else f"at least {least}"
            raise ValueError(f"need a hidden_size of {wanted} for a {self.kind} task, got {self.hidden_size}")

    @property
    def state_size(self) -> int:
        """Of the state that moves: m if partially observed, else n."""
        return self.hidden_size if self.kind == "partial" else self.size

    @property
    def key(self) -> str:
        """SHA-256 of the plain parameters."""
        text = json.dumps(self.to_plain(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_plain(self) -> dict[str, Any]:
        """Numbers and strings that `from_plain` turns back into this task."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> SequenceTask:
        """The task with these parameters; unknown names are refused by name (TypeError)."""
        return cls(**plain)


@dataclass(frozen=True)
class Sequences:
    """A batch of B sequences.

    observed: s (B, T, n). states: (B, T, m), the same array unless partially observed.
    transition: W (B, m, m) of the linear dynamics, None for a network. observation: C (B, n, m), None if all is seen.
    """

    observed: torch.Tensor
    states: torch.Tensor
    transition: torch.Tensor | None
    observation: torch.Tensor | None


def sample_sequences(
    task: SequenceTask, count: int, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> Sequences:
    """`count` independent sequences, on the generator's device."""
    if task.kind == "nonlinear":
        states = _network_trajectories(task, count, generator, dtype)
        return Sequences(states, states, None, None)
    transition = haar_orthogonal(count, task.state_size, generator, dtype)
    states = _trajectories(task, count, generator, dtype, lambda state: apply(transition, state))
    if task.kind == "linear":
        return Sequences(states, states, transition, None)
    C = observation_matrices(task, count, generator, dtype)
    return Sequences(apply(C.unsqueeze(1), states), states, transition, C)


def haar_orthogonal(count: int, n: int, generator: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
    """Independent matrices (count, n, n) with the Haar law on O(n).

    If Q' is Haar on O(k - 1), u uniform on the sphere of R^k, and R a reflection with R u = -sign(u_1) e_1, then
    R diag(-sign(u_1), Q') is Haar on O(k): its first column is u, and R takes the other columns, a Haar frame of
    e_1^perp, to one of u^perp. The vector of R, u + sign(u_1) e_1, has the squared length 2 + 2 |u_1|: no cancellation.
    """
    Q = torch.ones(count, n, n, dtype=dtype, device=generator.device).tril().triu()
    for k in range(1, n + 1):
        u = standard_normals((count, k), generator, dtype)
        sign = torch.where(u[:, 0] < 0, -1.0, 1.0).to(dtype)
        Q[:, n - k, n - k] = -sign
        norm = u.square().sum(-1, keepdim=True).sqrt()
        u = u / norm.where(norm > 0, 1)  # in float32 a normal is 0 once in 2^24: for k = 1 that is no direction
        u[:, 0] += sign
        _reflect(Q[:, n - k :, n - k :], u)
    return Q


def _reflect(block: torch.Tensor, v: torch.Tensor) -> None:
    """block <- (I - 2 v v^T / |v|^2) block, in place."""
    row = (v.unsqueeze(-1) * block).sum(-2, keepdim=True)
    block.sub_(v.unsqueeze(-1) * row * (2 / v.square().sum(-1))[:, None, None])


def on_sphere(vectors: torch.Tensor) -> torch.Tensor:
    """The vectors (.., m) at the length sqrt(m): uniform on that sphere if they are normal."""
    return vectors * (math.sqrt(vectors.shape[-1]) / vectors.square().sum(-1, keepdim=True).sqrt())


def apply(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """matrix (..., a, b) times vector (..., b), entry by entry: the same sum on every machine."""
    product: torch.Tensor = matrix * vector.unsqueeze(-2)
    return product.sum(-1)


def _trajectories(
    task: SequenceTask, count: int, generator: torch.Generator, dtype: torch.dtype, move: Move
) -> torch.Tensor:
    """States (count, T, m): s_1 and the noise drawn at once, then one move after the other."""
    draws = standard_normals((task.length, count, task.state_size), generator, dtype)
    draws[1:] *= math.sqrt(task.noise_variance)
    states = [draws[0] if task.initial == "gaussian" else on_sphere(draws[0])]
    for t in range(1, task.length):
        states.append(move(states[-1]) + draws[t])
    return torch.stack(states, 1)


def _network_trajectories(
    task: SequenceTask, count: int, generator: torch.Generator, dtype: torch.dtype
) -> torch.Tensor:
    n, width = task.size, task.hidden_size
    inner = standard_normals((count, width, n), generator, dtype) / math.sqrt(n)
    outer = standard_normals((count, n, width), generator, dtype) * (variance_keeping_gain() / math.sqrt(width))
    return _trajectories(task, count, generator, dtype, lambda state: apply(outer, torch.tanh(apply(inner, state))))


def variance_keeping_gain(nodes: int = _NODES) -> float:
    """g = (E tanh(z)^2)^(-1/2) for z ~ N(0, 1), by Gauss and Hermite.

    >>> round(variance_keeping_gain(), 4)
    1.5925
    """
    z, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return math.sqrt(weights.sum() / (weights @ np.tanh(z) ** 2))


def observation_matrices(
    task: SequenceTask, count: int, generator: torch.Generator, dtype: torch.dtype
) -> torch.Tensor:
    """C (count, n, m) of a partially observed task; a fixed C is repeated and takes nothing from the generator."""
    n, m = task.size, task.hidden_size
    if task.observation == "fresh":
        return standard_normals((count, n, m), generator, dtype) / math.sqrt(m)
    fixed = torch.eye(n, m, dtype=torch.float64)
    if task.observation == "fixed":
        name = f"observation matrix {n} {m} {task.replica}"  # not the key: C does not change with T or the noise
        fixed = standard_normals((n, m), stream(name), torch.float64) / math.sqrt(m)
    return fixed.to(generator.device, dtype).expand(count, n, m)


def _check_choice(name: str, given: str, choices: tuple[str, ...]) -> None:
    if given not in choices:
        raise ValueError(f"need {name} out of {choices}, got {given!r}")
