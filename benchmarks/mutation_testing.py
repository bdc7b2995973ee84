"""A copy of the repository in which mutmut 3 mutates the decision rules or the algebra: see docs/mutation_testing.md.

    python benchmarks/mutation_testing.py decision-rules|algebra|derivations|formulas COPY
    cd COPY && mutmut run --max-children 1 && mutmut results

mutmut follows no links and skips every function with a decorator, a property such as `outcome` too. So the copy has
the packages in the place of their links, and each decorator written as an assignment after its function.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGES = ("theory", "numerics", "proofs_check")
ALGEBRA = (
    "words",
    "trace_polynomials",
    "matrix_derivatives",
    "gaussian_moments",
    "evaluation",
    "component_moments",
)
ALGEBRA_TESTS = [f"tests/theory/test_{name}.py" for name in ALGEBRA]
VERDICTS = ("heavy_tails", "sample_size", "replicas", "verdict")
FORMULAS = ("alterations", "formulas", "evaluation")
GROUPS: dict[str, tuple[list[str], list[str]]] = {  # modules to mutate, tests to run
    "decision-rules": (
        [f"proofs_check/verdicts/{name}.py" for name in VERDICTS] + ["proofs_check/claims/replica_verdict.py"],
        [f"tests/proofs_check/test_verdicts_{name}.py" for name in VERDICTS]
        + ["tests/proofs_check/test_replica_verdict.py"],
    ),
    "algebra": ([f"theory/algebra/{name}.py" for name in ALGEBRA], ALGEBRA_TESTS),
    "derivations": (["theory/algebra/derivations.py"], ["tests/theory/test_derivations.py"]),
    "formulas": (
        [f"theory/algebra/{name}.py" for name in FORMULAS],
        [f"tests/theory/test_{name}.py" for name in FORMULAS],
    ),
}

# The test left out starts an interpreter that takes the time, and that would not find the copy.
CONFIGURATION = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = {modules}
pytest_add_cli_args = [
    "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning", "-k", "not from_cold"
]
pytest_add_cli_args_test_selection = {tests}
process_isolation = "forkserver"
forkserver_warmup = "import"
preload_modules_file = "preload.txt"
timeout_multiplier = 3.0
timeout_constant = 10.0
"""

# Hypothesis neither shrinks nor remembers an example, and the quick tests come first: a mutant needs one failure.
CONFTEST = """import json
from pathlib import Path

from hypothesis import Phase, settings

PHASES = [Phase.explicit, Phase.generate]
settings.register_profile("mutants", phases=PHASES, database=None, report_multiple_bugs=False)
settings.load_profile("mutants")


def pytest_collection_modifyitems(items):
    stats = Path("mutmut-stats.json")
    took = json.loads(stats.read_text())["duration_by_test"] if stats.exists() else {}
    items.sort(key=lambda item: took.get(item.nodeid, 0.0))
"""


def decorators_as_assignments(source: str) -> str:
    """Each `@decorator` (one line, one a function) as `name = decorator(name)` after the function."""
    lines = source.splitlines(keepends=True)
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    for node in sorted(functions, key=lambda node: -node.lineno):
        for decorator in node.decorator_list:
            assignment = f"{node.name} = {ast.unparse(decorator)}({node.name})"
            lines.insert(node.end_lineno or node.lineno, f"{' ' * node.col_offset}{assignment}\n")
            del lines[decorator.lineno - 1]
    return "".join(lines)


def make_copy(group: str, copy: Path) -> None:
    """The committed files, prepared for mutmut, with its configuration."""
    modules, tests = GROUPS[group]
    copy.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", "HEAD"], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", copy], input=archive, check=True)
    for package in PACKAGES:
        link = copy / "src/iclcheck" / package
        link.unlink()
        (copy / package).rename(link)
    for module in modules:
        path = copy / "src/iclcheck" / module
        path.write_text(decorators_as_assignments(path.read_text()))
    mutated = [f"src/iclcheck/{module}" for module in modules]
    with (copy / "pyproject.toml").open("a") as file:
        file.write(CONFIGURATION.format(modules=mutated, tests=tests))
    (copy / "preload.txt").write_text("numpy\nnumpy.random\nscipy.special\nsympy\nhypothesis\npytest\n")
    (copy / "tests/conftest.py").write_text(CONFTEST)


if __name__ == "__main__":
    make_copy(sys.argv[1], Path(sys.argv[2]))
