"""How fast the command starts, and what it loads to do so."""

import os
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

import iclcheck

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(iclcheck.__file__).parents[1])}
VERBS = ("list", "show", "derive", "predict", "certify", "plan", "check", "controls", "appendix", "status", "cite",
         "new-claim")  # fmt: skip
HEAVY = {"torch", "sympy", "rich", "numpy", "scipy", "hypothesis", "safetensors", "matplotlib"}

# Seconds for `python -c pass` on the machine that the limits were set on. Start-up is reading and running
# modules on one core, for the help about 10 times what the bare interpreter does (0.15 s against 0.012 s):
# a machine, or a moment, on which the one takes k times as long has the other take k times as long.
BARE_START = 0.02


def seconds(*arguments: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=ENVIRONMENT)
    return time.perf_counter() - started


@pytest.mark.parametrize("arguments, limit", [((), 0.3), *(((verb,), 0.5) for verb in VERBS)], ids=["(none)", *VERBS])
def test_help_comes_at_once(arguments: tuple[str, ...], limit: float) -> None:
    """Medians of 5 fresh processes, taken in turn with the bare interpreter: load hits both alike.

    On a machine with a bare start of at most BARE_START the limit is the promised one; on a slower one it
    grows in proportion. The help now takes 0.15 s at a bare start of 0.012 s, so the test notices when it
    becomes twice (iclcheck --help) or three times (a verb) as slow.
    """
    pairs = [(seconds("-c", "pass"), seconds("-m", "iclcheck", *arguments, "--help")) for _ in range(5)]
    bare, help_ = (statistics.median(times) for times in zip(*pairs, strict=True))
    slowness = max(1.0, bare / BARE_START)
    assert help_ < limit * slowness, (
        f"{help_:.3f} s, allowed {limit * slowness:.3f} s: python -c pass takes {bare:.3f} s here, "
        f"{slowness:.1f} times the {BARE_START} s of the machine that the limit was set on"
    )


def answer(program: str, *arguments: str, cwd: Path | None = None) -> list[str]:
    """The words that a program prints last, in a fresh interpreter."""
    process = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=ENVIRONMENT, cwd=cwd
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()[-1].split()


def test_help_loads_nothing_heavy() -> None:
    program = f"""
import sys
from iclcheck.proofs_check.command_line import main
for verb in {VERBS!r}:
    assert main([verb, "--help"]) == 0
assert main(["--help"]) == main(["--version"]) == main([]) == 0
assert main(["--foo"]) == main(["lst"]) == main(["check", "--seed", "abc"]) == 2
print()
print("end:", *sorted({{name.partition(".")[0] for name in sys.modules}} & {HEAVY!r}))
"""
    assert answer(program) == ["end:"]


@pytest.mark.parametrize("few", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["two claims", "all claims"])
def test_the_symbolic_verbs_never_load_torch(few: bool, tmp_path: Path) -> None:
    """Every verb but check and appendix, on every claim (status and cite without records); what they load is seen.

    list, status and cite go through all claims, so they are left out where few are asked.
    """
    program = (
        f"few = {few}\n"
        + """
import json, sys
import iclcheck
from iclcheck.proofs_check.command_line import main
law = {"covariance": [[2.0]], "context_length": 3}
weights = {"value_weights": [[0, 0], [0, 1]], "key_query_weights": [[1, 0], [0, 0]]}
parameters = {
    "population-loss": {**law, **weights},
    "fixed-point": law,
    "fixed-point-any-start": law,
    "critical-points": law,
    "preconditioned-gradient-step": {**law, "X": [[1.0]], "y": [1.0], "x_query": [1.0]},
    "uniform-covariates": {"dimension": 1, "context_length": 3},
    "random-context-length": {"covariance": [[2.0]], "context_lengths": [3]},
    "test-risk": {**law, "test_length": 5},
    "relu-attention": {"dimension": 2, "context_length": 3},
    "mesa-compressed-depth": {
        "value_projection": [[1.0, 0.0], [0.0, 1.0]], "key_query": [[1.0, 0.0], [0.0, 1.0]],
    },
    "mesa-probing": {"features": [[1.0]], "target": [0.5], "target_square": 1.0, "dimension": 2},
    **dict.fromkeys(("least-squares-hessian", "audit-acds-hessian"), {"X": [[1.0]]}),
    **dict.fromkeys(
        ("attention-hessian-inertia", "audit-zfb-hessian"), {"X": [[1.0]], "y": [1.0], "x_query": [1.0]}
    ),
    **dict.fromkeys(
        ("exponential-variances", "audit-zfb-failure", "audit-zfb-figure"),
        {"dimension": 1, "context_length": 3, "test_length": 3},
    ),
    **dict.fromkeys(
        ("merged-heads-fixed-points", "audit-zsls-fixed-points"),
        {**law, "value_gains": [0.0], "key_queries": [[[1.0]]]},
    ),
    "gradient-flow": {**law, "value_gain_0": 0.5, "key_query_0": [[0.1]], "time": 1.0},
    "gradient-flow-limit": {**law, "value_gain_0": 0.5, "key_query_0": [[0.1]]},
    "conservation-law": {**law, **weights},
    "pl-inequality": {**law, "scale": 0.3, "theta": [[1.0]]},
    "random-covariance": {"dimension": 2, "context_length": 3, "law": "exponential"},
    "nonlinear-targets": {"dimension": 2, "context_length": 3, "link": "relu"},
    **dict.fromkeys(
        ("mesa-layer", "audit-mesa-limit"), {"keys": [[1.0]], "values": [[1.0]], "regulariser": 1.0}
    ),
    **dict.fromkeys(
        ("mesanet-layer", "audit-mn-objective"), {"keys": [[1.0]], "values": [[1.0]], "penalty": [1.0]}
    ),
    **dict.fromkeys(("baseline-risks", "ridge-risk"), {"dimension": 2, "lengths": [3], "noise_variance": 0.1}),
    **dict.fromkeys(("decoder-parameters", "audit-parameters"), {}),
    "mesa-learning-rate": {"dimension": 2, "length": 4},
    **dict.fromkeys(("mesa-trained-layer", "audit-mesa-one-step"), {"dimension": 2, "length": 4}),
    **dict.fromkeys(
        ("snap", "audit-snap-bound", "scan-learning-rates"),
        {
            "classes": 2, "vocabulary": 9, "common_probability": 0.4, "distinct_profile": [1, 2], "eta_Y": 1.0,
            "eta_Z": 1.0, "time": 2.0,
        },
    ),
    "audit-snap-common-token": {
        "classes": 2, "vocabulary": 9, "common_probability": 0.4, "distinct_profile": [1, 2],
    },
    "class-selection": {"log_bayes_factors": [0.5], "dense_predictions": [1.0], "sparse_predictions": [0.0]},
    "selection-boundary": {"dimension": 3, "sparsity": 1, "examples": 3, "noise_variance": 1.0},
    "scan-text": {"windows": [[0, 1, 0, 1]], "vocabulary_size": 2, "time": 0.1},
    "scan-joint-flow": {"contexts": [[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]]},
    "scan-trained": {"contexts": [[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]], "length": 5},
    "mesa-gradient-step": {"sequence": [[1.0], [0.5]], "learning_rate": 0.1},
    "mesa-preconditioning": {"sequence": [[1.0], [0.5]], "regulariser": 1.0, "steps": 2},
    "mesa-partial-observation": {"transition": [[1.0]], "observation": [[1.0]], "delays": 1},
    "scan-frequency": {"probabilities": [0.5, 0.2], "clock": 1.0},
    "scan-discriminative": {"contexts": [[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]], "h": 0.1},
    "audit-mesa-richardson": {"moment": [[1.0]], "regulariser": 2.0, "state": [1.0]},
    **dict.fromkeys(
        ("scan-equal-overlaps", "audit-scan-remark"),
        {"classes": 5, "frequency": 2, "overlap": 0.5, "learning_rate": 1.0, "time": 3.0},
    ),
    "mixture-noiseless-limit": {"X": [[1.0]], "y": [1.0], "x_query": [1.0], "sparsity": 1},
    "mixture-posterior": {"X": [[1.0]], "y": [1.0], "x_query": [1.0], "sparsity": 1, "noise_variance": 0.1},
    "oracle-never-beaten": {"risk": 1.5, "oracle_risk": 1.0},
    **dict.fromkeys(
        ("model-selection", "mixture-weight"),
        {"dimension": 2, "sparsity": 1, "length": 3, "noise_variance": 0.1, "prompts": 100},
    ),
    "scan-decoder": {"classes": 5, "frequency": 2, "learning_rate": 1.0, "time": 3.0},
    "covariate-shift": {"dimension": 2, "examples": 3, "input_scale": 4.0},
    "out-of-distribution": {
        "inputs": [[0.3, -1.0]], "dense_variance": 1.0, "noise_variance": 0.1, "nonzeros": 1, "sparse_variance": 1.0,
    },
    "linear-sinusoid-posterior": {
        "x": [0.5], "y": [1.0], "x_query": 0.8, "slope_variance": 1.0, "amplitude_variance": 2.0, "lowest": 1.0,
        "highest": 4.0, "linear_probability": 0.5, "noise_variance": 0.5,
    },
}
assert set(parameters) == set(iclcheck.claims())
if few:
    parameters = {claim: parameters[claim] for claim in ("fixed-point", "test-risk")}
for options in [], ["--json"]:
    if not few:
        assert main(["list", *options]) == 0
        assert main(["status", *options]) == 3
        assert main(["cite", *options]) == 0
    assert main(["certify", "fixed-point", "uniform-covariates", *options, "--output", "certificates"]) == 0
    for claim, given in parameters.items():
        settings = [part for name, value in given.items() for part in ("--set", f"{name}={json.dumps(value)}")]
        assert main(["show", claim, *options]) == main(["derive", claim, *options]) == 0
        assert main(["predict", claim, *settings, *options]) == 0
        assert main(["derive", claim, "--latex"]) == 0
        iclcheck.predict(claim, **given)
loaded = set(sys.modules)
print()
print("end:", "torch" in loaded, any(name.startswith("iclcheck.numerics") for name in loaded), "sympy" in loaded)
"""
    )
    assert answer(program, cwd=tmp_path) == ["end:", "False", "False", "True"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["certificates"]  # and nothing else is written


def test_weights_that_are_no_torch_archive_are_judged_without_torch(tmp_path: Path) -> None:
    program = """
import sys
import numpy, safetensors.numpy
from iclcheck.proofs_check.command_line import main
weights = {"W_PV": numpy.diag([0.0, 0.6]), "W_KQ": numpy.diag([1.0, 0.0])}
numpy.savez("weights.npz", **weights)
safetensors.numpy.save_file(weights, "weights.safetensors")
for file in "weights.npz", "weights.safetensors":
    assert main(["check", "fixed-point", "--model", file, "--set", "covariance=[[1]]",
                 "--set", "context_length=3"]) == 0
print("end:", "torch" in sys.modules)
"""
    assert answer(program, cwd=tmp_path) == ["end:", "False"]


def distributions_of(*roots: str) -> set[str]:
    """These distributions and all that they depend on, without extras; names in lower case."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        found.add(name)
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # for another system or Python
            continue
        waiting += [plain_name(one) for one in requirements if "extra ==" not in one]
    return found


def plain_name(requirement: str) -> str:
    """The name at the start of a requirement such as "numpy>=1.26; python_version > '3'"."""
    end = next((place for place, sign in enumerate(requirement) if sign not in NAME_SIGNS), None)
    return requirement[:end]


NAME_SIGNS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
ON_A_GPU_IMAGE = ("torch", "numpy", "scipy", "sympy", "hypothesis", "typer", "rich", "safetensors")

ON_THE_PATH_OF_CHECK = """
import sys
from importlib.abc import MetaPathFinder

class Only(MetaPathFinder):
    "Finds nothing, and refuses what is not allowed."

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"not on a GPU image: {name}", name=name)
        return None

allowed = {*sys.stdlib_module_names, *sys.argv[1:], "iclcheck"}
sys.meta_path.insert(0, Only())
try:
    import pytest
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("pytest, which is installed here, was to be refused")

from iclcheck.proofs_check.claims.claim import Budget
from iclcheck.proofs_check.command_line import checking, main

checking.budget_for = lambda *options: Budget(gap=3.0, gap_of_variants=3.0, prompts=500, replicas=1, training_steps=1)
# Of so few prompts no sampled check can agree, and none may contradict: 3, inconclusive.
assert main(["check", "--device", "cpu", "--workers", "1"]) == 3
print()
print("end:", *({"torch", "numpy", "scipy", "sympy", "rich", "typer"} - set(sys.modules)))
"""


@pytest.mark.slow
def test_check_needs_only_what_a_gpu_image_has(tmp_path: Path) -> None:
    """All claims with a tiny budget, in an interpreter that can import nothing else, and misses nothing."""
    wanted = distributions_of(*ON_A_GPU_IMAGE)
    modules = [
        module
        for module, owners in metadata.packages_distributions().items()
        if wanted & {owner.lower().replace("_", "-") for owner in owners}
    ]
    assert set(ON_A_GPU_IMAGE) <= set(modules)
    assert "matplotlib" not in modules
    assert answer(ON_THE_PATH_OF_CHECK, *modules, cwd=tmp_path) == ["end:"]
