r"""The logits of a class under its own cross-entropy, the decoder of classes without overlap, and its single steps.

    logit_flows        the full vector w of M logits, w' = -(eta/K) dl/dw by autograd of torch's cross-entropy, from 0
    decoder_leads      the flow of the whole decoder Y of classes with distinct tokens only: logits w_n = Y^T f_n
    descent_leads      stochastic gradient descent on Y, one class drawn a step, every column of Y of its own
The force of a class is minus the derivative of its loss by the length of its class vector, w.(e_n - softmax(w)).

Error
    scipy's DOP853 in float64; each number comes with the whole difference from a run at 10 times the tolerance (about
    nine times the error of the finer run) and one rounding for each evaluation of the velocity, relative to itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch.nn.functional import cross_entropy

from ..scan_and_snap.flows import decoder_flow
from ..scan_and_snap.layer import class_vectors
from ..scan_and_snap.sequence_classes import SequenceClasses, drawn_shares
from ..training.random_streams import stream
from ..training.threads import one_thread

Array = NDArray[np.float64]
Plain = Mapping[str, Any]
TOLERANCE = 1e-13
SMALLEST = 1e-20  # below this an entry's error is judged absolutely; logits start as t/M
EPS = float(np.finfo(np.float64).eps)
RIGHT = 0  # the token to be predicted


def loss_slopes(w: torch.Tensor) -> tuple[torch.Tensor, float]:
    """dl/dw of the cross-entropy of logits w, (M,), and the force: minus dl/ds of logits s w at s = 1."""
    leaf, length = w.detach().requires_grad_(), torch.ones((), dtype=torch.float64, requires_grad=True)
    loss = cross_entropy((length * leaf)[None], torch.tensor([RIGHT]))
    slope, along = torch.autograd.grad(loss, (leaf, length))
    return slope, -float(along)


def run_of_logits(case: Plain, tolerance: float) -> tuple[Array, int]:
    """(w, int force dt) at the times, (times, M + 1), and how often the velocity was asked for."""
    size, rate = case["vocabulary"], case["learning_rate"] / case["classes"]

    def velocity(_: float, state: Array) -> Array:
        slope, force = loss_slopes(torch.from_numpy(state[:size].copy()))
        return np.append(-rate * slope.numpy(), force)

    times = case["times"]
    found = solve_ivp(
        velocity, (0.0, times[-1]), np.zeros(size + 1), "DOP853", np.asarray(times), rtol=tolerance, atol=SMALLEST
    )
    if not found.success:
        raise RuntimeError(f"the flow could not be followed to t = {times[-1]:g}: {found.message}")
    return found.y.T, int(found.nfev)


def numbers_of(state: Array) -> list[float]:
    """lead w_right - w_other, error, force, integral of the force; then how unequal the others and how far the sum."""
    w = torch.from_numpy(state[:-1].copy())
    _, force = loss_slopes(w)
    others = torch.cat([w[:RIGHT], w[RIGHT + 1 :]])
    lead = w[RIGHT] - others.mean()
    wrong = torch.softmax(w, 0)[torch.arange(len(w)) != RIGHT].sum()
    uneven = (others - others.mean()).abs().max() / lead
    return [float(x) for x in (lead, wrong, force, state[-1], uneven, w.sum().abs() / lead)]


@one_thread()
def logit_flows(cases: Sequence[Plain], device: str) -> dict[str, Any]:
    """Per case {vocabulary, classes, learning_rate, times} and time: six `numbers`, see `numbers_of`, and `error`.

    error       of the first four, relative to each
    rounding    per case, what one rounding for each evaluation of the velocity makes, which `error` holds already
    """
    del device
    numbers, errors, rounding = [], [], []
    for case in cases:
        (fine, evaluations), (coarse, _) = (run_of_logits(case, x * TOLERANCE) for x in (1, 10))
        rounding.append(evaluations * EPS)
        both = [[numbers_of(state) for state in run] for run in (fine, coarse)]
        numbers.append(both[0])
        first_four = (np.array(one)[:, :4] for one in both)
        errors.append([relative_change(a, b) + rounding[-1] for a, b in zip(*first_four, strict=True)])
    return {"numbers": numbers, "error": errors, "rounding": rounding}


def relative_change(fine: Array, coarse: Array) -> float:
    """The largest relative difference of any number."""
    return float(np.max(np.abs(fine - coarse) / np.abs(fine)))


def distinct_classes(classes: int, vocabulary: int, tokens: int, key: str) -> SequenceClasses:
    """Classes with `tokens` distinct tokens each, of drawn probabilities, and nothing in common: orthonormal f_n."""
    contexts = np.zeros((classes, vocabulary))
    shares = drawn_shares((classes, tokens), key)
    for n in range(classes):
        contexts[n, n * tokens :][:tokens] = shares[n]
    return SequenceClasses.from_plain({"contexts": contexts})


def vectors_of(task: SequenceClasses) -> torch.Tensor:
    """f_n at Z = 0, (K, M)."""
    contexts = torch.tensor(task.contexts)
    return class_vectors(contexts, torch.zeros_like(contexts))


@one_thread()
def decoder_leads(cases: Sequence[Plain], stream_key: str, device: str) -> dict[str, Any]:
    """Per case {classes, vocabulary, tokens, learning_rate, times}: lead w_nn - w_nk, (times, K, rest), and `error`."""
    del device
    leads, errors = [], []
    for case in cases:
        task = distinct_classes(case["classes"], case["vocabulary"], case["tokens"], f"{stream_key}/{case}")
        found = decoder_flow([task], case["learning_rate"], case["times"], tolerance=10 * TOLERANCE)
        w = np.einsum("km,tmc->tkc", vectors_of(task).numpy(), found["Y"][:, 0])
        leads.append(leads_of(w).tolist())
        errors.append(float(found["error"]))
    return {"lead": leads, "error": errors}


def leads_of(logits: Array) -> Array:
    """w_nn - w_nk for the other columns k, (..., K, columns - 1)."""
    K, width = logits.shape[-2:]
    rows = [[logits[..., n, n] - logits[..., n, k] for k in range(width) if k != n] for n in range(K)]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


@one_thread()
def descent_leads(cases: Sequence[Plain], stream_key: str, device: str) -> dict[str, Any]:
    """Per case {classes, vocabulary, tokens, learning_rate, steps}: visits (K,) of each class and leads (K, M - 1).

    Each step draws a class n and moves Y, (M, M), by -eta d/dY of the cross-entropy of Y^T f_n.
    """
    del device
    visits, leads = [], []
    for case in cases:
        key = f"{stream_key}/{case}"
        K, M = case["classes"], case["vocabulary"]
        f = vectors_of(distinct_classes(K, M, case["tokens"], key))
        drawn = torch.randint(K, (case["steps"],), generator=stream(f"{key}/classes"))
        Y = torch.zeros(M, M, dtype=torch.float64)
        for n in drawn:
            leaf = Y.requires_grad_()
            (slope,) = torch.autograd.grad(cross_entropy((f[n] @ leaf)[None], n[None]), leaf)
            Y = leaf.detach() - case["learning_rate"] * slope
        visits.append(torch.bincount(drawn, minlength=K).tolist())
        leads.append(leads_of((f @ Y).numpy()).tolist())
    return {"visits": visits, "lead": leads}
