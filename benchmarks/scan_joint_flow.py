"""How far the reparametrised flow of scan and snap is from the flow of the loss: over overlap and eta_Z/eta_Y.

    PYTHONPATH=src python benchmarks/scan_joint_flow.py [--output evidence/scan_joint_flow.json]

Tasks: K classes alike over M tokens, one common token of probability P_C, distinct tokens 1 : 2 : 3 in each class. For
each overlap rho and each eta_Z/eta_Y it prints, at times in units of K ln M/eta_Y, the logit of the common token in the
flow of the loss over the same in the reparametrised flow, the attention entropy of both, and the largest difference of
an attention probability c_nl. Times go to 0 as the derived ratio (claim scan-joint-flow).
"""

from __future__ import annotations

import argparse
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from iclcheck.numerics.scan_and_snap.flows import joint_flow, reparametrised_flow
from iclcheck.numerics.scan_and_snap.layer import attention_weights, entropies
from iclcheck.numerics.scan_and_snap.sequence_classes import SequenceClasses, one_common_token
from iclcheck.theory.scan_and_snap.early_attention import at_overlap, speed_up

SIZES = ((4, 60), (10, 1000))  # K, M
COMMON = (0.1, 0.3, 0.6)  # P_C
PROFILE = (1, 2, 3)
RATES = (0.01, 0.1, 1.0)  # eta_Z, eta_Y = 1
TIMES = (0.02, 0.5, 1.0, 2.0, 10.0)  # in units of K ln M/eta_Y


def overlap(task: SequenceClasses) -> float:
    """rho = f_n.f_j at the start."""
    f = task.contexts / np.linalg.norm(task.contexts, axis=1, keepdims=True)
    return float(f[0] @ f[1])


def first_ratio(K: int, M: int, rho: float) -> float:
    """The loss's flow over the reparametrised one as t -> 0, derived."""
    return 1 / float(at_overlap(speed_up(), K, M, Fraction(rho / (1 - rho)).limit_denominator(10**12)))


def attention(task: SequenceClasses, Z: Any) -> torch.Tensor:
    """c_n at attention logits, (K, M)."""
    return attention_weights(torch.tensor(task.contexts), torch.tensor(Z)[task.rows])


def compared(task: SequenceClasses, eta_Z: float, unit: float) -> list[dict[str, float]]:
    """Both flows at the times."""
    times = [unit * share for share in TIMES]
    loss, other = (flow([task], 1.0, eta_Z, times) for flow in (joint_flow, reparametrised_flow))
    rows = []
    for place, share in enumerate(TIMES):
        own, reparametrised = loss["Z"][place, 0], other["Z"][place, 0]
        c, c_other = attention(task, own), attention(task, reparametrised)
        common = task.classes
        rows.append({
            "time": share, "ratio": float(own[0, common] / reparametrised[0, common]),
            "logit": float(own[0, common]), "reparametrised_logit": float(reparametrised[0, common]),
            "entropy": float(entropies(c)[0]), "reparametrised_entropy": float(entropies(c_other)[0]),
            "attention_gap": float((c - c_other).abs().max()),
        })  # fmt: skip
    return rows


def table() -> list[dict[str, Any]]:
    """Every size, overlap and rate."""
    found = []
    for K, M in SIZES:
        for common in COMMON:
            task = one_common_token(K, M, common, PROFILE)
            rho = overlap(task)
            for eta_Z in RATES:
                rows = compared(task, eta_Z, K * math.log(M))
                head = {"K": K, "M": M, "P_C": common, "rho": rho, "rates": eta_Z, "at_0": first_ratio(K, M, rho)}
                found.append({**head, "rows": rows})
                print_row(found[-1])
    return found


def print_row(found: dict[str, Any]) -> None:
    ratios = "  ".join(f"{row['ratio']:.3f}" for row in found["rows"])
    last = found["rows"][-1]
    print(
        f"{found['K']:3d} {found['M']:5d}  {found['rho']:.3f}  {found['rates']:5g}   {found['at_0']:.4f}  {ratios}   "
        f"{last['entropy']:.3f} {last['reparametrised_entropy']:.3f}   {last['attention_gap']:.3f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, help="write the numbers to this JSON file")
    options = parser.parse_args()
    print(f"  K     M  rho    eta_Z/eta_Y  t->0    {'  '.join(f'{t:5g}' for t in TIMES)}   entropies at the end   gap")
    found = table()
    if options.output:
        command = f"python benchmarks/scan_joint_flow.py --output {options.output}"
        options.output.write_text(json.dumps({"command": command, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
