"""Claims in anybody's test suite: the marker `claim`, the fixture `check_claim`, and the option --claims-report.

Every pytest on a machine where iclcheck is installed loads this module, so it imports nothing but pytest; what a check
needs is loaded when a test asks for it.

    @pytest.mark.claim("fixed-point", model="weights.npz", covariance=[[1.0]], context_length=8)
    def test_our_layer_is_one_gradient_step(check_claim):
        check_claim()
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .claims.claim import ClaimVerdict
    from .verdicts.verdict import Outcome

    Terminal = Any  # pytest's terminal reporter, which has no public type

MARKER, FIXTURE, OPTION, PROPERTY = "claim", "check_claim", "--claims-report", "iclcheck"
FORMAT = "iclcheck claims report 1"
STORE = Path(".iclcheck") / "records.sqlite"
IN_WORDS: dict[str, str] = {
    "agrees": "agrees", "contradicts": "is contradicted", "inconclusive": "is undecided", "unusable": "was not checked",
}  # fmt: skip

COUNTED = {"agrees": "agree", "contradicts": "contradicted", "inconclusive": "undecided", "unusable": "not checked"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("iclcheck", "claims on in-context learning")
    group.addoption(OPTION, metavar="PATH", help="write what check_claim found as JSON, and sum it up at the end")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        'claim(name, claims=FILE, model=..., profile="quick", seed=0, inconclusive="fails"): the claim that '
        'check_claim checks, with its options; inconclusive="allowed" lets a test pass that decides nothing',
    )
    path = config.getoption(OPTION)
    if path is None or hasattr(config, "workerinput"):  # a worker of xdist: its controller writes
        return
    if not path or Path(path).is_dir():
        raise pytest.UsageError(f"{OPTION} needs the path of a file to write, got {path!r}")
    config.pluginmanager.register(ClaimsReport(config, Path(path)), "iclcheck-claims-report")


@dataclass
class CheckClaim:
    """What the fixture gives: called with a claim, it raises a failure unless the claim agrees.

    called    how often it was
    """

    request: pytest.FixtureRequest
    called: int = field(default=0, init=False)

    def __call__(self, claim: str | None = None, **options: Any) -> Any:
        """Check a claim, or a model against it; what the marker says holds unless it is said here.

        claim         its name; that of the marker if not given
        claims        a file of claims of your own, beside the test or in the root of the repository; it runs as your
                      code
        model         what `iclcheck.check_model` takes (a file, a function, a torch module, file.py:function), or for
                      fixed-point a dict of W_PV and W_KQ, or an object with them. Further options are those of
                      `check_model`: `within`, `convention`, the law
        profile, device, seed, workers    as in `iclcheck.check`
        inconclusive  "fails" or "allowed"
        Returns the verdict, or the report on the model.
        """
        self.called += 1
        found = self.request.node.get_closest_marker(MARKER)
        wanted = {**(found.kwargs if found else {}), **options}
        name = claim or (found.args[0] if found and found.args else None)
        if not isinstance(name, str):
            pytest.fail('check_claim needs the name of a claim, such as check_claim("fixed-point")', pytrace=False)
        inconclusive = wanted.pop("inconclusive", "fails")
        if inconclusive not in ("fails", "allowed"):
            pytest.fail(f'inconclusive needs "fails" or "allowed", got {inconclusive!r}', pytrace=False)
        return self.judged(name, wanted, allowed=inconclusive == "allowed")

    def judged(self, name: str, options: dict[str, Any], *, allowed: bool) -> Any:
        """The verdict; a failure in one sentence where there is none, or a bad one."""
        refusal = None
        try:
            verdict, outcome, told, plain = self.verdict(name, options)
        except ValueError as error:
            if not type(error).__module__.startswith("iclcheck."):  # not worded by us: a bug shows where it is
                raise
            refusal = str(error)
        if refusal is not None:  # outside of the handler, so that the failure is this sentence alone
            self.note(name, "unusable", refusal, False, {})
            pytest.fail(f"{name} was not checked: {refusal}", pytrace=False)
        passes = outcome == "agrees" or (outcome == "inconclusive" and allowed)
        self.note(name, outcome, told, passes, plain)
        if not passes:
            pytest.fail(f"{name} {IN_WORDS[outcome]}: {told}", pytrace=False)
        return verdict

    def verdict(self, name: str, options: dict[str, Any]) -> tuple[Any, Outcome, str, dict[str, Any]]:
        """The verdict, its outcome, what it says in words, and as plain data."""
        model = options.pop("model", None)
        if model is not None:
            if isinstance(model, str | Path) and self.found(model).exists():
                model = str(self.found(model))
            report = judged_model(name, model, options)
            return report, report.outcome, str(report), report.as_plain()
        with ExitStack() as stack:
            if (file := options.pop("claims", None)) is not None:
                from .own.claim_files import claims_from
                from .own.failures import users_failures

                stack.enter_context(claims_from(self.found(file)))
                stack.enter_context(users_failures())
            verdict = measured(name, self.root / STORE, options)
        return verdict, verdict.outcome, in_sentences(verdict), {"checks": [one.as_plain() for one in verdict.verdicts]}

    @property
    def root(self) -> Path:
        return self.request.config.rootpath

    def found(self, file: str | Path) -> Path:
        """A file beside the test, or else in the root of the repository."""
        beside = self.request.path.parent / file
        return beside if beside.exists() else self.root / file

    def note(self, name: str, outcome: str, told: str, passed: bool, plain: dict[str, Any]) -> None:
        """Keep what was found for the report; it travels with the test's own, also from a worker of xdist."""
        if self.request.config.getoption(OPTION):
            entry = {"claim": name, "outcome": outcome, "passed": passed, "sentence": told, **plain}
            self.request.node.user_properties.append((PROPERTY, json.dumps(entry)))


def judged_model(name: str, model: Any, options: dict[str, Any]) -> Any:
    """The report on weights, a decoder, a function or a module. Raises ValueErrors of one sentence."""
    from .front_door import check_model, check_weights

    weights = model if isinstance(model, dict) else weights_of(model)
    if name == "fixed-point" and weights is not None:
        return check_weights(**weights, **options)
    return check_model(model, claim=name, **options)


def weights_of(model: Any) -> dict[str, Any] | None:
    """W_PV and W_KQ of an object that has them, and cannot be asked for predictions."""
    if callable(model) or not (hasattr(model, "W_PV") and hasattr(model, "W_KQ")):
        return None
    return {one: getattr(model, one) for one in ("W_PV", "W_KQ")}


def measured(name: str, store: Path, options: dict[str, Any]) -> ClaimVerdict:
    """The verdict on a claim of any origin, with the records of the repository. Raises UsageError."""
    from .claims.parameters import UsageError, nearest
    from .front_door import check

    known = ("profile", "device", "seed", "workers", "store")
    for option in options:
        if option not in known:
            raise UsageError(f"check_claim has no option {option!r}; {nearest(option, (*known, 'claims', 'model'))}")
    (verdict,) = check(name, **{"store": store, **options}).verdicts
    return verdict


def in_sentences(verdict: ClaimVerdict) -> str:
    """What the checks say that decide the outcome, one sentence each."""
    deciding = [str(one) for one in verdict.verdicts if one.outcome == verdict.outcome]
    return deciding[0] if len(deciding) == 1 else "".join(f"\n  {one}" for one in deciding)


@pytest.fixture
def check_claim(request: pytest.FixtureRequest) -> CheckClaim:
    """Checks a claim and fails, in one sentence, unless it agrees: check_claim("fixed-point", profile="quick")."""
    return CheckClaim(request)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A marked test that checks nothing would be green for no reason."""
    if item.get_closest_marker(MARKER) and FIXTURE not in getattr(item, "fixturenames", ()):
        pytest.fail(f"a test marked {MARKER} needs the fixture {FIXTURE}, and calls it: check_claim()", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    result = yield
    checker = pyfuncitem.funcargs.get(FIXTURE)
    if pyfuncitem.get_closest_marker(MARKER) and isinstance(checker, CheckClaim) and not checker.called:
        pytest.fail(f"a test marked {MARKER} checks nothing unless it calls {FIXTURE}()", pytrace=False)
    return result


class ClaimsReport:
    """Gathers what the tests found, writes it, and sums it up."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self.config, self.path = config, config.invocation_params.dir / path
        self.entries: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            found = [json.loads(str(value)) for name, value in report.user_properties if name == PROPERTY]
            self.entries += [{"test": report.nodeid, **entry} for entry in found]

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(entry["outcome"] for entry in self.entries)
        return {outcome: found[outcome] for outcome in IN_WORDS}

    def pytest_sessionfinish(self) -> None:
        from iclcheck import __version__

        content = {
            "format": FORMAT, "iclcheck": __version__, "counts": self.counts,
            "claims": sorted(self.entries, key=lambda entry: (entry["test"], entry["claim"])),
        }  # fmt: skip
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise pytest.UsageError(f"{OPTION} {self.path} cannot be written ({error.strerror})") from None

    def pytest_terminal_summary(self, terminalreporter: Terminal) -> None:
        words = {
            "agrees": "agree",
            "contradicts": "contradicted",
            "inconclusive": "undecided",
            "unusable": "not checked",
        }
        counted = [f"{number} {words[outcome]}" for outcome, number in self.counts.items() if number]
        terminalreporter.section("claims")
        for entry in self.entries:
            if entry["outcome"] != "agrees":
                terminalreporter.write_line(f"{entry['test']}: {entry['claim']} {IN_WORDS[entry['outcome']]}")
        terminalreporter.write_line(f"{', '.join(counted) or 'no claim was checked'}; report in {self.path}")
