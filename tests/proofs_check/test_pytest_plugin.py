"""The pytest plugin in a user's repository, which has folders named theory and numerics."""

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import iclcheck
from iclcheck.proofs_check import front_door
from iclcheck.proofs_check.own import failures, stating  # loaded here: an inner run drops what it loads itself

pytest_plugins = ("pytester",)

NAME = "iclcheck.proofs_check.pytest_plugin"
LOADED = [] if any(one.value == NAME for one in entry_points(group="pytest11")) else ["-p", NAME]
CLAIMS = """
import numpy as np
from iclcheck.own import claim, exact, mean, whole

def halved(p, generator):
    return p["x"] / 2

def noisy(p, generator):
    return p["x"] / 2 + 100 * generator.standard_normal(10)

common = dict(title="Half", statement="Half of x.", domain={"x": whole(1, 20)}, settings=2)
claim("half", prediction={"half": "x/2"}, checks=[exact(halved, rounding=1e-15)], **common)
claim("third", prediction={"half": "x/3"}, checks=[exact(halved, rounding=1e-15)], **common)
claim("undecided", prediction={"half": "x/2"}, checks=[mean(noisy, variance="1e-2", detect=100)], **common)
"""
TESTS = """
import pytest
import numerics.mine, theory.mine

@pytest.mark.claim("half", claims="own.py")
def test_agrees(check_claim):
    assert check_claim().outcome == "agrees"

@pytest.mark.claim("third", claims="own.py")
def test_contradicted(check_claim):
    check_claim()

@pytest.mark.claim("undecided", claims="own.py")
def test_undecided(check_claim):
    check_claim()

@pytest.mark.claim("undecided", claims="own.py", inconclusive="allowed")
def test_undecided_but_allowed(check_claim):
    check_claim()

def test_without_a_marker(check_claim):
    check_claim("half", claims="own.py", seed=1)

def test_unknown(check_claim):
    check_claim("hlaf", claims="own.py")

@pytest.mark.claim("half")
def test_without_the_fixture():
    pass

@pytest.mark.claim("half")
def test_without_a_call(check_claim):
    pass
"""
PASSED, FAILED, ERRORS = 3, 4, 1


@pytest.fixture
def repository(pytester: pytest.Pytester) -> pytest.Pytester:
    """A repository with its own theory and numerics, a conftest that imports them, and warnings as errors."""
    assert front_door
    assert failures
    assert stating
    for folder in ("theory", "numerics"):
        package = pytester.mkpydir(folder)
        (package / "mine.py").write_text("X = 1\n")
        (package / "algebra.py").write_text("raise RuntimeError('not iclcheck s own')\n")
    pytester.makeconftest("import numerics.mine\nimport theory.mine\n")
    pytester.makeini("[pytest]\naddopts = --strict-markers\nfilterwarnings = error\npythonpath = .\n")
    (pytester.path / "own.py").write_text(CLAIMS)
    (pytester.mkdir("checks") / "test_claims.py").write_text(TESTS)
    return pytester


def test_claims_are_checked_in_a_repository_with_folders_of_our_names(repository: pytest.Pytester) -> None:
    report = repository.path / "out" / "claims.json"
    found = repository.runpytest_inprocess(*LOADED, "-p", "no:cacheprovider", "--claims-report", str(report))
    found.assert_outcomes(passed=PASSED, failed=FAILED, errors=ERRORS)
    said = found.stdout.str()
    assert "third is contradicted: halved, exact: measured 0.333 contradicts predicted 0 as a difference" in said
    assert "undecided is undecided: noisy, sampled: measured" in said
    assert "hlaf was not checked: there is no claim 'hlaf'; did you mean 'half'?" in said
    assert "needs the fixture check_claim, and calls it: check_claim()" in said
    assert "checks nothing unless it calls check_claim()" in said
    assert "test_contradicted: third is contradicted" in said
    assert "2 agree, 1 contradicted, 2 undecided, 1 not checked; report in" in said
    assert "Traceback" not in said
    content = json.loads(report.read_text())
    assert content["counts"] == {"agrees": 2, "contradicts": 1, "inconclusive": 2, "unusable": 1}
    assert [one["passed"] for one in content["claims"]].count(True) == PASSED
    by_test = {one["test"].partition("::")[2]: one for one in content["claims"]}
    assert by_test["test_agrees"]["checks"][0]["check"] == "halved, exact"
    assert (repository.path / ".iclcheck" / "records.sqlite").exists()


def test_failures_show_no_code_and_nothing_is_added_without_the_option(repository: pytest.Pytester) -> None:
    found = repository.runpytest_inprocess(*LOADED, "-k", "contradicted")
    found.assert_outcomes(failed=1, deselected=7)
    said = found.stdout.str()
    assert "def test_contradicted" not in said
    assert "report in" not in said


def test_a_report_needs_a_file(repository: pytest.Pytester) -> None:
    found = repository.runpytest_inprocess(*LOADED, "--claims-report", "checks")
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    found.stderr.fnmatch_lines(["*--claims-report needs the path of a file to write*"])


MODELS = """
import pytest
from types import SimpleNamespace

GOOD = {"W_PV": [[0, 0], [0, 0.6]], "W_KQ": [[1, 0], [0, 0]]}
LAW = {"covariance": [[1.0]], "context_length": 3}

def test_weights(check_claim):
    assert check_claim("fixed-point", model=GOOD, **LAW).distance < 1e-9

def test_an_object(check_claim):
    check_claim("fixed-point", model=SimpleNamespace(**GOOD), **LAW)

@pytest.mark.claim("fixed-point", within=0.5, **LAW)
def test_the_marker_holds_the_law(check_claim):
    check_claim(model={**GOOD, "W_PV": [[0, 0], [0, 0.5]]})

def test_other_weights(check_claim):
    check_claim("fixed-point", model={**GOOD, "W_PV": [[0, 0], [0, 1.8]]}, **LAW)

def test_no_weights(check_claim):
    check_claim("fixed-point", model=SimpleNamespace(), **LAW)

def test_another_claim(check_claim):
    check_claim("test-risk", model=GOOD, **LAW)

def test_an_unknown_option(check_claim):
    check_claim("fixed-point", profil="quick")
"""


def test_models_are_judged_and_misuse_is_told(repository: pytest.Pytester) -> None:
    repository.makepyfile(test_models=MODELS)
    found = repository.runpytest_inprocess(*LOADED, "test_models.py")
    found.assert_outcomes(passed=3, failed=4)
    said = found.stdout.str()
    assert "the weights' preconditioner contradicts the prediction" in said
    assert "or the path of a file, got the type SimpleNamespace" in said
    assert "is judged against fixed-point, preconditioned-gradient-step, model-selection, got test-risk" in said
    assert "check_claim has no option 'profil'; did you mean 'profile'?" in said


def test_the_plugin_imports_nothing_but_pytest() -> None:
    program = (
        f"import sys, pytest; before = set(sys.modules); import {NAME}; "
        "print(*sorted(name.partition('.')[0] for name in set(sys.modules) - before))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(answer.stdout.split()) == {"iclcheck"}


@pytest.mark.slow
def test_two_processes_of_xdist_write_one_report(repository: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(iclcheck.__file__).parents[1]))
    arguments = [*LOADED, "-n", "2", "--claims-report", "claims.json"]
    found = repository.runpytest_subprocess(*arguments)
    found.assert_outcomes(passed=PASSED, failed=FAILED, errors=ERRORS)
    assert json.loads((repository.path / "claims.json").read_text())["counts"]["agrees"] == 2
