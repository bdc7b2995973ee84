"""What is built is what git has: no module missing, none left over."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parent.parent
SIDES = ("theory", "numerics", "proofs_check")
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))


def folders_with_modules() -> set[Path]:
    files = [file for side in SIDES for file in (CHECKOUT / side).rglob("*.py")]
    return {file.parent.relative_to(CHECKOUT) for file in files}


def test_every_folder_with_modules_is_a_listed_package() -> None:
    found = {".".join(("iclcheck", *folder.parts)) for folder in folders_with_modules()}
    assert {"iclcheck", *found} == set(PROJECT["tool"]["setuptools"]["packages"])


def test_every_folder_with_modules_has_an_init() -> None:
    assert all((CHECKOUT / folder / "__init__.py").is_file() for folder in folders_with_modules())


def locked_versions() -> dict[str, str]:
    lines = (CHECKOUT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def test_the_lock_holds_plain_versions_only() -> None:
    # No "+cpu": such a version exists on one index only.
    lines = (CHECKOUT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line)] == []


def test_the_lock_satisfies_the_metadata() -> None:
    project, locked = PROJECT["project"], locked_versions()
    needed = [
        *project["dependencies"],
        *project["optional-dependencies"]["dev"],
        *PROJECT["build-system"]["requires"],
    ]
    for requirement in map(Requirement, needed):
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in requirements.lock"
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}"


def git_files() -> list[str]:
    """What a commit of the working tree would hold: tracked, or new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    if answer.returncode != 0:
        pytest.skip("not a git checkout")
    listed = sorted(set(answer.stdout.split("\0")) - {""})
    return [name for name in listed if (CHECKOUT / name).is_symlink() or (CHECKOUT / name).exists()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of a clean export, and the wheel that was built from that sdist."""
    export, output = tmp_path_factory.mktemp("export"), tmp_path_factory.mktemp("built")
    for name in git_files():
        (export / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, export / name, follow_symlinks=False)
    # --no-isolation needs no network: setuptools is in the lock.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(output), str(export)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return output


def packaged_files() -> set[str]:
    """Where git's files of the packages belong in a wheel."""
    in_sides = {f"iclcheck/{name}" for name in git_files() if name.split("/")[0] in SIDES}
    in_front = {
        name.removeprefix("src/")
        for name in git_files()
        if name.startswith("src/iclcheck/") and not (CHECKOUT / name).is_symlink()
    }
    return in_sides | in_front


def test_the_wheel_holds_the_files_of_git_and_no_others(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = [name for name in archive.namelist() if name.endswith("/licenses/LICENSE")]
    assert names == packaged_files()
    assert len(licences) == 1


def test_the_sdist_holds_files_of_git_only(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = [member.name.partition("/")[2] for member in archive.getmembers() if not member.isdir()]
    written_by_setuptools = {"PKG-INFO", "setup.cfg"}
    extra = {name for name in members if ".egg-info/" not in name} - written_by_setuptools - set(git_files())
    assert not extra
    assert {"LICENSE", "README.md", "pyproject.toml"} <= set(members)
