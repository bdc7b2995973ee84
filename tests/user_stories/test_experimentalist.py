"""An experimentalist trains a layer, judges its weights and then its answers; as the README has it.

Everything runs in a fresh virtual environment, in a folder outside of the repository.
"""

import re
import shlex
from pathlib import Path
from typing import Protocol

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


class Environment(Protocol):
    def run(self, *command: str, cwd: Path, status: int = 0) -> str: ...


@pytest.mark.slow
def test_an_experimentalist_learns_what_a_layer_has_become(fresh_environment: Environment, tmp_path: Path) -> None:
    section = README.partition("## Your own weights\n")[2].partition("\n## ")[0]
    (script,) = re.findall(r"```python\n# train\.py\n(.*?)```", section, flags=re.S)
    session = section.partition("An experimentalist's session")[2]
    block = re.findall(r"```sh\n(.*?)```", session, flags=re.S)[0]
    (tmp_path / "train.py").write_text(script)
    first, *commands = [shlex.split(line, comments=True) for line in block.splitlines()]
    fresh_environment.run(*first, cwd=tmp_path)
    said = [
        fresh_environment.run(*command, cwd=tmp_path, status=status)
        for command, status in zip(commands, (1, 0, 0, 0), strict=True)
    ]
    assert "your weights match under 'no 1/N'" in said[0]
    assert "read in the convention: no 1/N, query inside" in said[1]
    assert "it does not divide by N" in said[2]
    assert "wrong on purpose: gain 10 % too large" in said[2]
    assert "preconditioner A, for yhat = s^T A x_q" in said[3]
