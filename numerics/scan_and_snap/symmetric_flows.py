"""Flows of the layer on K classes alike with one common token: logits, attention and decoder at given times.

Both flows of `flows` on the full layer, with all K D distinct tokens; nothing here knows that the classes stay alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .flows import Array, Tasks, joint_flow, reparametrised_flow
from .layer import attention_weights, class_losses, class_vectors, multiplicities
from .sequence_classes import SequenceClasses, one_common_token

STEP = 2.0**-10  # of the decoder, where slopes are taken to first order in it
FLOWS: dict[str, Callable[..., dict[str, Any]]] = {"joint": joint_flow, "reparametrised": reparametrised_flow}


def symmetric_paths(runs: Sequence[Mapping[str, Any]], device: str = "cpu") -> dict[str, Any]:
    """Each run: {"task": classes, vocabulary, common, profile; "flow", "rates": [[eta_Y, eta_Z], ..], "times"}.

    Returned by run: see `path`. The layer is small, so the flows run on the CPU whatever the device.
    """
    del device
    return {"runs": [path(**run) for run in runs]}


def path(
    task: Mapping[str, Any], flow: str, rates: Sequence[Sequence[float]], times: Sequence[float]
) -> dict[str, Any]:
    """One flow at several pairs of rates, as lists over (times, pairs).

    common (.,.)          logit of the common token
    distinct (.,., K, D)  those of the distinct tokens of every class
    weights (.,., 1 + D)  attention of class 0: the common token, and its own ones
    decoder (.,., K)      own logit minus that of a token that follows nothing, of every class
    error                 of the integration, as estimated by `flows`, in units of the largest entry
    """
    classes = one_common_token(**task)
    eta_Y, eta_Z = (list(column) for column in zip(*rates, strict=True))
    found = FLOWS[flow]([classes] * len(rates), eta_Y, eta_Z, times)
    attention = found["Z"][:, :, 0]
    K, D = int(task["classes"]), len(task["profile"])
    distinct = attention[..., K + 1 : K + 1 + K * D]
    weights = weights_of(classes, attention)[..., 0, :]
    return {
        "common": attention[..., K].tolist(),
        "distinct": distinct.reshape(*distinct.shape[:-1], K, D).tolist(),
        "weights": weights[..., K : K + 1 + D].tolist(),
        "decoder": decoder_logits(classes, found, attention).tolist(),
        "error": found["error"],
        "evaluations": found["evaluations"],
    }


def on_every_class(attention: Array, K: int) -> torch.Tensor:
    """The one query's logits for all classes, (..., K, M)."""
    return torch.tensor(attention)[..., None, :].expand(*attention.shape[:-1], K, attention.shape[-1])


def weights_of(classes: SequenceClasses, attention: Array) -> Array:
    """c_n, (..., K, M)."""
    found: Array = attention_weights(torch.tensor(classes.contexts), on_every_class(attention, classes.classes)).numpy()
    return found


def decoder_logits(classes: SequenceClasses, found: Mapping[str, Any], attention: Array) -> Array:
    """w_nn minus the logit of a token that is never next, (..., K)."""
    K = classes.classes
    if "W" in found:
        logits = np.asarray(found["W"])
    else:
        f = class_vectors(torch.tensor(classes.contexts), on_every_class(attention, K)).numpy()
        logits = f @ found["Y"]
    return np.asarray(np.diagonal(logits[..., :K], axis1=-2, axis2=-1) - logits[..., -1])


def first_slopes(task: Mapping[str, Any], device: str = "cpu") -> dict[str, Any]:
    """-dL/dZ at Z = 0 after the decoder's first step from 0, in both parametrisations; and f^2 of class 0.

    by flow: "common" slope, "distinct" slopes of the tokens of class 0 (D). "squares": f^2 of those tokens, (D,).
    The step has length 1; to first order the slopes are linear in it.
    """
    del device
    classes = one_common_token(**task)
    K, D = int(task["classes"]), len(task["profile"])
    tasks = Tasks.of([classes])
    start = torch.zeros(1, 1, classes.vocabulary, dtype=torch.float64)
    counts = multiplicities(K, classes.vocabulary)
    decoder = torch.zeros(1, classes.vocabulary, len(counts), dtype=torch.float64)
    steps = {"joint": -tasks.slopes(decoder, start)[0] / counts * STEP}
    logits = torch.zeros(1, K, len(counts), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad((tasks.probabilities * class_losses(logits, classes.vocabulary)).sum(), logits)
    steps["reparametrised"] = tasks.decoder_of(-slope / counts * STEP, start)
    found: dict[str, Any] = {}
    for name, Y in steps.items():
        slopes = -tasks.slopes(Y, start)[1][0, 0] / STEP
        found[name] = {"common": float(slopes[K]), "distinct": slopes[K + 1 : K + 1 + D].tolist()}
    f = class_vectors(torch.tensor(classes.contexts), torch.zeros_like(torch.tensor(classes.contexts)))
    return {**found, "squares": (f[0, K + 1 : K + 1 + D] ** 2).tolist()}
