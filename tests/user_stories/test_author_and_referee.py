"""An author writes an appendix of two claims, a referee judges it again and sees a changed number; from the README.

Each in a folder of their own, in a fresh virtual environment outside of the repository; the referee gets one file.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest


class Environment(Protocol):
    def run(self, *command: str, cwd: Path, status: int = 0) -> str: ...


Commands = Callable[[str], list[list[str]]]


@pytest.mark.slow
def test_an_author_writes_an_appendix_and_a_referee_judges_it(
    fresh_environment: Environment, commands_of: Commands, tmp_path: Path
) -> None:
    *of_author, of_referee = commands_of("A paper, and its referee")
    author, referee = tmp_path / "author", tmp_path / "referee"
    author.mkdir()
    (referee / "appendix").mkdir(parents=True)
    said = [fresh_environment.run(*command, cwd=author) for command in of_author]
    assert "mesa-gradient-step: certified by python-flint" in said[0]
    assert "least-squares-hessian: certified (python-flint), agrees" in said[2]
    file = shutil.copy(author / "appendix" / "records.json", referee / "appendix")
    digest = json.loads(Path(file).read_text())["sha256"]
    verified = fresh_environment.run(*of_referee, cwd=referee)
    assert "nothing drifted" in verified
    assert digest in verified
    # Somebody improves a number on the way: one digit of a measured value.
    text = Path(file).read_text()
    place = text.index('"measured":')
    digit = next(k for k in range(place + len('"measured":'), len(text)) if text[k].isdigit())
    Path(file).write_text(text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :])
    fresh_environment.run(*of_referee, cwd=referee, status=1)
