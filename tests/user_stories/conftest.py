"""A fresh virtual environment outside of the repository, with iclcheck installed as anybody would install it.

No network: the libraries come from the running interpreter's environment, by a .pth file, and the project is installed
from a clean copy of what git has.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class FreshEnvironment:
    """A virtual environment, and an empty folder to work in."""

    folder: Path

    def run(self, *command: str, cwd: Path, status: int = 0) -> str:
        """What a command of the environment prints on stdout; asserts its exit status."""
        program, *arguments = command
        answer = subprocess.run(
            [str(self.folder / "bin" / program), *arguments], cwd=cwd, env=self.surroundings(), capture_output=True,
            text=True,
        )  # fmt: skip
        assert answer.returncode == status, f"{command}: {answer.returncode}\n{answer.stdout}\n{answer.stderr}"
        return answer.stdout

    def surroundings(self) -> dict[str, str]:
        """The environment variables of a shell in which this environment is active."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ICLCHECK"))}
        path = os.pathsep.join([str(self.folder / "bin"), kept.get("PATH", "")])
        return {**kept, "PATH": path, "VIRTUAL_ENV": str(self.folder)}


def clean_copy(target: Path) -> Path:
    """The files of git: a build in the checkout itself would leave its products there."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    if answer.returncode != 0:
        pytest.skip("not a git checkout")
    for name in filter(None, answer.stdout.split("\0")):
        if (CHECKOUT / name).is_symlink() or (CHECKOUT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, target / name, follow_symlinks=False)
    return target


@pytest.fixture(scope="session")
def fresh_environment(tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    """Made once for all stories; a few seconds."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "libraries.pth").write_text("".join(f"{one}\n" for one in sorted(libraries)))
    source = clean_copy(tmp_path_factory.mktemp("source"))
    install = ("install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", str(source))
    environment = FreshEnvironment(folder)
    environment.run("python", "-m", "pip", *install, "--disable-pip-version-check", cwd=source)
    found = environment.run("python", "-c", "import iclcheck; print(iclcheck.__file__)", cwd=folder)
    assert Path(found.strip()).is_relative_to(folder), "the copy that was installed is the one in use"
    return environment


@pytest.fixture
def commands_of() -> Callable[[str], list[list[str]]]:
    """The commands of the first block under a heading of the README, without their comments."""
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")

    def commands(heading: str) -> list[list[str]]:
        section = readme.partition(f"## {heading}\n")[2].partition("\n## ")[0]
        (block,) = re.findall(r"```sh\n(.*?)```", section, flags=re.S)
        return [shlex.split(line, comments=True) for line in block.splitlines()]

    return commands
