r"""Linear maps of the last k observations to the next one, fitted by least squares to generated sequences.

Main statements
    enumerated_maps    the map and what it leaves, for the law h_1 ~ N(0, I) and noise N(0, sigma^2 I) without sampling:
                       both need second moments only, and the sequences that start at sqrt(D) times each unit vector of
                       (h_1, noise), D in all, have exactly those of that law
    held_out_errors    a map fitted to sequences with random h_1, and its errors on fresh ones
Each sequence is run step by step: no power of the transition matrix is formed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..training.random_streams import standard_normals, stream
from .sequences import SequenceTask, apply, sample_sequences
from .tokens import last_observations

Plain = Mapping[str, Any]
EPS = torch.finfo(torch.float64).eps


def system_of(case: Plain, stream_key: str) -> tuple[torch.Tensor, torch.Tensor]:
    """W (m, m) and C (n, m): as given, or those of one sequence of a partially observed task."""
    if "transition" in case:
        W, C = (torch.tensor(case[name], dtype=torch.float64) for name in ("transition", "observation"))
        return W, C
    drawn = sample_sequences(SequenceTask.from_plain(case["task"]), 1, stream(stream_key))
    assert drawn.transition is not None  # of every partially observed task, as C
    assert drawn.observation is not None
    return drawn.transition[0], drawn.observation[0]


def observations(W: torch.Tensor, C: torch.Tensor, start: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """s_1 .. s_T (B, T, n) from h_1 (B, m) and the noise of each observation (B, T, n), step by step."""
    state, seen = start, []
    for t in range(noise.shape[1]):
        seen.append(apply(C, state) + noise[:, t])
        state = apply(W, state)
    return torch.stack(seen, 1)


def pairs_at(observed: torch.Tensor, delays: int) -> tuple[torch.Tensor, torch.Tensor]:
    """z_t and s_{t+1} at t = k, (B, k n) and (B, n)."""
    return last_observations(observed, delays)[:, delays - 1], observed[:, delays]


def enumerated_maps(cases: Sequence[Plain], stream_key: str, device: str) -> dict[str, Any]:
    """Per case (`transition` and `observation`, or `task`; delays; noise_variance): W, C, map, residual, rounding.

    `rounding` bounds the error of map and residual in the largest entry where the pairs fit exactly: least squares by
    singular values solves a problem whose D rows are off by some 10 D eps of their size, which moves the map by that
    times cond(z) (|M| + |s|/|z|) [higham2002accuracy, section 20.1], the condition number being that on the range that
    is kept; 100 D eps leaves room. Where something is left over, the first-order bound has cond(z) once more.
    """
    del device  # matrices of a few rows
    found: dict[str, list[Any]] = {name: [] for name in ("transition", "observation", "map", "residual", "rounding")}
    for place, case in enumerate(cases):
        W, C = system_of(case, f"{stream_key}/{place}")
        inputs, targets = enumerated_pairs(W, C, case["delays"], case["noise_variance"])
        fitted = torch.linalg.lstsq(inputs, targets, rcond=1e-12, driver="gelsd").solution.mT
        missed = targets - inputs @ fitted.mT
        values = (W, C, fitted, missed.mT @ missed / len(inputs))
        for name, value in zip(("transition", "observation", "map", "residual"), values, strict=True):
            found[name].append(value.tolist())
        found["rounding"].append(rounding_of_fit(inputs, targets, fitted))
    return found


def enumerated_pairs(
    W: torch.Tensor, C: torch.Tensor, delays: int, variance: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(z_k, s_{k+1}) of the D sequences that start at sqrt(D) e_i of (h_1, eps_1 .. eps_{k+1})."""
    n, m = C.shape
    noisy = n * (delays + 1) if variance else 0
    whole = torch.eye(m + noisy, dtype=torch.float64) * (m + noisy) ** 0.5
    noise = torch.zeros(m + noisy, delays + 1, n, dtype=torch.float64)
    if variance:
        noise = whole[:, m:].reshape(m + noisy, delays + 1, n) * variance**0.5
    return pairs_at(observations(W, C, whole[:, :m], noise), delays)


def rounding_of_fit(inputs: torch.Tensor, targets: torch.Tensor, fitted: torch.Tensor) -> float:
    sizes = torch.linalg.svdvals(inputs)
    kept = sizes[sizes > 1e-12 * sizes.max()]
    condition = float(kept.max() / kept.min())
    size = float(fitted.norm() + targets.norm() / kept.max() + targets.square().mean())
    return 100 * len(inputs) * EPS * condition * size


def held_out_errors(cases: Sequence[Plain], stream_key: str, device: str) -> dict[str, Any]:
    """Per case (`task`, delays): the root mean square error of a fitted map on fresh sequences, that of 0, rounding.

    Fitted to 4 (k n + m) sequences, tried on as many. The bound is `rounding_of_fit` times the size of what it is
    applied to.
    """
    del device
    found: dict[str, list[float]] = {"error": [], "size": [], "rounding": []}
    for place, case in enumerate(cases):
        W, C = system_of(case, f"{stream_key}/{place}")
        count = 4 * (case["delays"] * len(C) + len(W))
        draws = standard_normals((2, count, len(W)), stream(f"{stream_key}/{place}/starts"), torch.float64)
        quiet = torch.zeros(count, case["delays"] + 1, len(C), dtype=torch.float64)
        (inputs, targets), (fresh, wanted) = (pairs_at(observations(W, C, one, quiet), case["delays"]) for one in draws)
        fitted = torch.linalg.lstsq(inputs, targets, rcond=1e-12, driver="gelsd").solution.mT
        found["error"].append(float((wanted - fresh @ fitted.mT).square().mean().sqrt()))
        found["size"].append(float(wanted.square().mean().sqrt()))
        found["rounding"].append(rounding_of_fit(inputs, targets, fitted) * float(fresh.norm(dim=-1).max()))
    return found
