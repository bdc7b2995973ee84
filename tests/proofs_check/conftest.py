"""A measurement outside iclcheck, as a user's own package would hold it."""

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from iclcheck.proofs_check.appendix import judging
from iclcheck.proofs_check.certificates import making
from iclcheck.proofs_check.certificates.examining import obligations_of
from iclcheck.proofs_check.certificates.forms import forms_of
from iclcheck.proofs_check.claims import one_layer
from iclcheck.proofs_check.claims.claim import AlterationCost, Budget, Claim, Run
from iclcheck.proofs_check.claims.registry import find
from iclcheck.proofs_check.obligations.obligation import Forms
from iclcheck.proofs_check.records.tasks import Task
from iclcheck.proofs_check.verdicts.verdict import Verdict, decide

MEASUREMENT = '''
"""A measurement that does as its parameters say."""
import os
import signal
import time


def square(*, x, device, seconds=0.0, trace=None):
    """The square of x."""
    if trace is not None:
        with open(trace, "a") as file:
            file.write(f"{x} {os.getpid()}\\n")
    time.sleep(seconds)
    return {
        "square": x * x,
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "hears_ctrl_c": signal.getsignal(signal.SIGINT) is not signal.SIG_IGN,
        "worker": os.getpid(),
    }


def refuse_negative(*, x, device):
    if x < 0:
        raise ValueError(f"{x} is negative")
    return {"x": x}


def not_finite(*, device):
    return {"loss": float("nan")}


def die(*, device):
    os.kill(os.getpid(), signal.SIGKILL)
'''


@pytest.fixture(scope="session")
def run_here() -> Run:
    """Measures in this process, without a store; what a test puts in the place of a function is called."""

    def measured(task: Task) -> Any:
        module, _, name = task.measurement.partition(":")
        return getattr(import_module(module), name)(**task.parameters, device="cpu")

    return lambda tasks: [measured(task) for task in tasks]


@pytest.fixture(autouse=True)
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where certificates lie, and judged claims beside: nowhere yet, whatever the checkout holds."""
    folder = tmp_path / "certificates"
    monkeypatch.setattr(making, "DEFAULT_FOLDER", folder)
    monkeypatch.setattr(judging, "DEFAULT_FOLDER", tmp_path / "judged")
    return folder


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The source file of a module `toy_lab.bench`, importable here and in worker processes, loaded by nobody yet."""
    package = tmp_path / "importable" / "toy_lab"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "bench.py").write_text(MEASUREMENT)
    monkeypatch.syspath_prepend(package.parent)
    yield package / "bench.py"
    for name in ("toy_lab", "toy_lab.bench"):
        sys.modules.pop(name, None)


@dataclass(frozen=True)
class SquareCheck:
    """Whether the squares of some numbers, measured in `toy_lab`, sum up to what is predicted.

    The full profile measures other numbers besides. With `then` it measures a number more once it knows the others.
    """

    predicted: float
    numbers: tuple[int, ...] = (1, 2)
    then: int | None = None
    resolution: float = 1.0
    name: str = "squares"
    cost_of_alteration: AlterationCost = "judged again"

    def expected_gap(self, budget: Budget) -> float | None:
        return 0.5

    def tasks(self, budget: Budget) -> list[Task]:
        more = (100,) if budget.profile == "full" else ()
        return [self.task(x, budget) for x in (*self.numbers, *more)]

    def task(self, x: int, budget: Budget) -> Task:
        return Task("toy_lab.bench:square", {"x": x}, budget.device)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        values = run(self.tasks(budget)[: len(self.numbers)])
        if self.then is not None:
            values += run([self.task(self.then, budget)])
        total = float(sum(one["square"] for one in values))
        holds = total == self.predicted
        return Verdict(
            self.name, decide(holds, 0.5, self.resolution), total, self.predicted, 0.0, 0.5, "units", 1e-6, 1e-3, "", {}
        )


ToyClaim = Callable[..., Claim]


@pytest.fixture
def toy_claim(lab: Path) -> ToyClaim:
    """Makes a claim with a real derivation whose checks measure in `toy_lab`: no torch, no sampling."""

    def made(identifier: str, *checks: SquareCheck) -> Claim:
        real = one_layer.random_context_length_claim()
        return replace(real, identifier=identifier, checks=checks, alterables=(), further_mutants=())

    return made


@pytest.fixture
def square_check() -> type[SquareCheck]:
    return SquareCheck


# Forged certificates


def altered(form: dict[str, Any], free: frozenset[str]) -> Iterator[dict[str, Any]]:
    """A form with a coefficient 5 % larger, a term dropped or a symbol left out, one at a time; not the free ones."""
    for place, term in enumerate(form["terms"]):
        found = copy.deepcopy(form)
        found["terms"][place][0] = str(Fraction(term[0]) * Fraction(21, 20))
        yield found
        if len(form["terms"]) > 1:
            found = copy.deepcopy(form)
            del found["terms"][place]
            yield found
        for symbol in (one for one in term[1] if one not in free):
            found = copy.deepcopy(form)
            del found["terms"][place][1][symbol]
            yield found


def forged(form: dict[str, Any], free: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Altered polynomials, and quotients with either part altered."""
    if "terms" in form:
        yield from altered(form, free)
        return
    for part in form:
        yield from ({**form, part: other} for other in altered(form[part], free))


def is_refused(claim: str, forms: dict[str, Any], step: str, own: bool) -> bool:
    """Whether some obligation does not confirm the forms: of the step alone if `own`, else its own are asked first."""
    wanted = obligations_of(claim)
    read = Forms(forms, wanted.steps)
    for one in sorted(wanted.obligations, key=lambda one: one.step != step):
        if own and one.step != step:
            return False
        try:
            one.prepare(read).check("forged")
        except (ValueError, ZeroDivisionError):
            return True
    return False


def every_forged_form_is_refused(
    claim: str, *, own: bool = False, free: frozenset[str] = frozenset(), least: int = 1
) -> None:
    """Asserts it for every form of a claim's derivation, `least` at least, and that those derived are confirmed."""
    forms, tried = forms_of(find(claim).derivation()), 0
    for step, named in forms.items():
        for name, form in named.items():
            for other in forged(form, free):
                changed = {**forms, step: {**named, name: other}}
                assert is_refused(claim, changed, step, own), (step, name, other)
                tried += 1
    assert tried >= least
    assert not is_refused(claim, forms, "", own=False)


@pytest.fixture(name="every_forged_form_is_refused")
def forgeries() -> Callable[..., None]:
    """The assertion that no altered form passes."""
    return every_forged_form_is_refused
