"""The chunkwise mesa layer beside what one would write: speed, gradients, memory and digits.

    python benchmarks/mesa_layer.py                       # tables, and evidence/mesa_layer.json
    python benchmarks/mesa_layer.py --device cuda --out DIR

Sizes: T = 1024 steps, keys and values of size d = 64, one sequence and 32 (batch times heads), Gaussian keys of length
1, lambda = 1, no forgetting. Beside the chunkwise form stand
  - the recursion of the paper in plain torch, step by step, with autograd for its gradients,
  - causal linear attention of the same shapes, (Q K^T masked) V, which solves nothing.
Each is timed forward without gradients, and forward and backward together; "ratio" is the recursion's time over the
chunkwise form's. The times are medians over rounds in which all take turns (the recursion in three of them), in CPU
time on one thread, or on a GPU wall time around a synchronisation. A first step that has to ask the system for memory
takes longer; the recursion's by a factor of 4 with 32 sequences and gradients.
Peak memory is what a fresh process holds at most beyond what it held before the call: VmHWM of /proc/self/status after
writing 5 to /proc/self/clear_refs, or torch.cuda.max_memory_allocated.
Digits: the largest error relative to the largest output of the direct solve in float64, at several condition numbers.

Exits 1 if the chunkwise form, forward and backward, is not at least 20 times as fast as the recursion with one
sequence, and 10 times with 32.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from iclcheck.numerics.mesa_layer.chunkwise_layer import outputs_by_chunks
from iclcheck.numerics.mesa_layer.conjugate_gradients import outputs_by_conjugate_gradients
from iclcheck.numerics.mesa_layer.least_squares_layer import outputs_by_direct_solve, outputs_by_recursion

T, D = 1024, 64
LINES = {1: 20.0, 32: 10.0}  # forward and backward, by the number of sequences
Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Form = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def linear_attention(keys: torch.Tensor, values: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """sum_{s <= t} v_s (k_s . q_t), as one would write it."""
    return (queries @ keys.mT).tril() @ values


FORMS: dict[str, Form] = {
    "recursion": lambda k, v, q: outputs_by_recursion(k, v, q, 1.0),
    "chunkwise": lambda k, v, q: outputs_by_chunks(k, v, q, 1.0),
    "conjugate gradients, 10 steps": lambda k, v, q: outputs_by_conjugate_gradients(k, v, q, 1.0, steps=10),
    "linear attention": linear_attention,
}


def drawn(sequences: int, dtype: torch.dtype, device: str, length: int = T) -> Inputs:
    """Keys, values and queries (N, T, d) with entries N(0, 1/d), rounded to float32 first."""
    draw = torch.Generator().manual_seed(sequences)
    k, v, q = (torch.randn(sequences, length, D, generator=draw).div(D**0.5).to(device, dtype) for _ in range(3))
    return k, v, q


def forward(form: Form, inputs: Inputs) -> torch.Tensor:
    """The outputs alone."""
    with torch.no_grad():
        return form(*inputs)


def forward_and_backward(form: Form, inputs: Inputs) -> torch.Tensor:
    """The gradient for the keys of the sum of the outputs, and all others on the way."""
    leaves = [one.detach().requires_grad_() for one in inputs]
    torch.autograd.backward(form(leaves[0], leaves[1], leaves[2]).sum())
    assert leaves[0].grad is not None
    return leaves[0].grad


PASSES = {"forward": forward, "forward and backward": forward_and_backward}


def seconds(run: Callable[[], Any], device: str) -> float:
    """CPU seconds on a CPU; wall seconds with synchronisation on a GPU."""
    if device == "cpu":
        start = time.process_time()
        run()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def timed(name: str, sequences: int, dtype: torch.dtype, device: str, rounds: int) -> dict[str, float]:
    """The median over the rounds for every form; the recursion takes part in the first three."""
    inputs = drawn(sequences, dtype, device)
    found: dict[str, list[float]] = {form: [] for form in FORMS}
    for turn in range(rounds + 1):  # the first warms up
        for form, call in FORMS.items():
            if form != "recursion" or 0 < turn <= 3:
                took = seconds(lambda call=call: PASSES[name](call, inputs), device)  # type: ignore[misc]
                found[form] += [took] if turn else []
    return {form: median(all_of_it) for form, all_of_it in found.items()}


def speed(device: str, rounds: int) -> list[dict[str, Any]]:
    """A row for every dtype, number of sequences and pass; prints them."""
    print(f"{'':38} {'recursion':>10} {'chunkwise':>10} {'ratio':>6} {'CG, 10':>9} {'linear':>9}   (milliseconds)")
    rows = []
    for dtype in (torch.float32, torch.float64):
        for sequences in (1, 32):
            for name in PASSES:
                found = timed(name, sequences, dtype, device, rounds if sequences == 1 else max(3, rounds // 3))
                ratio = found["recursion"] / found["chunkwise"]
                row = {"dtype": str(dtype)[6:], "sequences": sequences, "pass": name, "ratio": round(ratio, 1)}
                rows.append(row | {"milliseconds": {form: round(1e3 * one, 3) for form, one in found.items()}})
                shown = [1e3 * one for one in found.values()]
                label = f"{row['dtype']:8} {sequences:>2} sequences, {name:20}"
                print(
                    f"{label} {shown[0]:>9.1f} {shown[1]:>9.2f} {ratio:>6.0f} {shown[2]:>9.2f} {shown[3]:>9.2f}",
                    flush=True,
                )
    return rows


def peak_bytes(run: Callable[[], Any], device: str) -> int:
    """How much more than before the call is held at its peak."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    run()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


def one_peak(form: str, sequences: int, length: int, device: str) -> int:
    """Forward and backward in float32, after a small call that loads what the libraries need."""
    forward_and_backward(FORMS[form], drawn(1, torch.float32, device, 64))
    inputs = drawn(sequences, torch.float32, device, length)
    return peak_bytes(lambda: forward_and_backward(FORMS[form], inputs), device)


def memory(device: str) -> list[dict[str, Any]]:
    """Peaks in fresh processes, beside the size of the three inputs."""
    print("\npeak memory, forward and backward, float32 (MB beyond the inputs)")
    rows = []
    for sequences, length in ((1, 1024), (1, 4096), (1, 16384), (8, 1024)):
        row: dict[str, Any] = {"sequences": sequences, "T": length, "inputs": 3 * 4 * sequences * length * D / 1e6}
        for form in FORMS:
            if form in ("recursion", "linear attention") and length > 4096:
                continue
            command = [sys.executable, __file__, "--device", device, "--peak", form, str(sequences), str(length)]
            row[form] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1e6
        rows.append(row)
        print(
            ", ".join(
                f"{key} {value:.1f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
            )
        )
    return rows


def ill_conditioned(spread: float, dtype: torch.dtype, device: str) -> Inputs:
    """Keys with standard deviations from 1 down to 1/spread: H_T has a condition number near spread^2."""
    keys, values, queries = (one[0] for one in drawn(1, torch.float32, "cpu", 512))
    keys = keys * torch.logspace(0, -float(torch.log10(torch.tensor(spread))), D)
    return keys.to(device, dtype), values.to(device, dtype), queries.to(device, dtype)


def digits(device: str) -> list[dict[str, Any]]:
    """Errors of the recursion and of the chunkwise form in either dtype, T = 512, at growing condition numbers."""
    print("\nlargest error over largest output, T = 512, d = 64, lambda = 1e6")
    print(f"{'condition':>10} {'recursion 64':>13} {'chunkwise 64':>13} {'recursion 32':>13} {'chunkwise 32':>13}")
    rows = []
    for spread in (1.0, 10.0, 100.0, 1000.0):
        exact_inputs = ill_conditioned(spread, torch.float64, device)
        exact = outputs_by_direct_solve(*exact_inputs, 1e6)
        gram = exact_inputs[0].mT @ exact_inputs[0] + 1e-6 * torch.eye(D, dtype=torch.float64, device=device)
        row: dict[str, Any] = {"condition": float(torch.linalg.cond(gram))}
        for dtype in (torch.float64, torch.float32):
            for name, form in (("recursion", outputs_by_recursion), ("chunkwise", outputs_by_chunks)):
                found = form(*ill_conditioned(spread, dtype, device), 1e6)
                row[f"{name} {str(dtype)[6:]}"] = float((found.double() - exact).abs().max() / exact.abs().max())
        rows.append(row)
        print(f"{row['condition']:>10.1e} " + " ".join(f"{one:>13.0e}" for one in list(row.values())[1:]))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description="the chunkwise mesa layer against the recursion")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", default="evidence", help="directory of mesa_layer.json")
    parser.add_argument("--peak", nargs=3, metavar=("FORM", "N", "T"), help="print the peak of one form in bytes")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.peak:
        print(one_peak(asked.peak[0], int(asked.peak[1]), int(asked.peak[2]), asked.device))
        return 0
    found: dict[str, Any] = {
        "command": f"python benchmarks/mesa_layer.py --device {asked.device}",
        "device": torch.cuda.get_device_name() if asked.device == "cuda" else f"CPU, one thread, {platform.machine()}",
        "torch": torch.__version__,
        "T": T,
        "d": D,
        "speed": speed(asked.device, asked.rounds),
        "memory": memory(asked.device),
        "digits": digits(asked.device),
    }
    Path(asked.out, "mesa_layer.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    both = {
        n: min(row["ratio"] for row in found["speed"] if row["sequences"] == n and row["pass"] != "forward")
        for n in LINES
    }
    print("\nforward and backward: " + ", ".join(f"{both[n]:.0f} times with {n} (line: {LINES[n]:.0f})" for n in LINES))
    return 0 if all(both[n] >= LINES[n] for n in LINES) else 1


if __name__ == "__main__":
    sys.exit(main())
