"""The options that the command line has, for the tests that measure: `--profile` and `--device`."""

import signal
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("iclcheck")
    group.addoption("--profile", choices=("quick", "full"), default="quick", help="how much the property tests measure")
    group.addoption("--record", metavar="DIR", help="keep what the property tests measure there, and go on from it")
    group.addoption("--device", choices=("auto", "cpu", "cuda"), default="cpu", help="where the property tests train")


def pytest_configure() -> None:
    """A run started in the background (`make test &` in a script) ignores SIGINT, and so would every command under
    test: the tests of Ctrl-C start from the disposition that a terminal gives."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def profile(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--profile"))


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """The device asked for; a GPU that is not there is an error of usage, not a skip."""
    from iclcheck.proofs_check.claims.parameters import UsageError
    from iclcheck.proofs_check.command_line.checking import usable_device

    wanted: Any = request.config.getoption("--device")
    try:
        return usable_device(wanted)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
