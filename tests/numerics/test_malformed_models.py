"""Five hundred malformed files of models, read by one process: each is refused in a sentence, soon, in little memory.

Each file goes through the door that a user has (`check_model`, and for twenty of them the command), as one layer's
weights, in a published layout, or as a decoder's checkpoint.
"""

import gzip
import io
import json
import os
import pickle
import random
import resource
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.numpy
import torch

from iclcheck.numerics.decoders.decoder import Decoder, DecoderShape

LAW = {"covariance": [[1.0, 0.3], [0.3, 0.6]], "context_length": 4}
LAYER = {"W_PV": np.diag([0.0, 0.0, 2.0]), "W_KQ": np.diag([0.2, 0.3, 0.0])}
PUBLISHED: dict[str, dict[str, Any]] = {
    "ACDS": {"allparam": np.ones((1, 1, 2, 2, 2))},
    "ZSLS": {"query.weight": np.ones((4, 3)), "key.weight": np.ones((4, 3)), "value.weight": np.ones((3, 3))},
    "VO22": {
        "query/w": np.ones((3, 4)), "key/w": np.ones((3, 4)), "value/w": np.ones((3, 4)), "linear/w": np.ones((4, 3)),
    },
}  # fmt: skip
CHECKPOINT = {name: tensor.numpy() for name, tensor in Decoder(DecoderShape(3, 4, 8, 2, 2)).state_dict().items()}
SECONDS, MEGABYTES = 2.0, 1000


class Case(NamedTuple):
    """A file, what it is given as, and which kind of malformed it is."""

    path: Path
    options: dict[str, Any]
    kind: str


def content(arrays: dict[str, Any], form: str) -> bytes:
    """The arrays as a file of one of three formats."""
    if form == "safetensors":
        return safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    file = io.BytesIO()
    if form == "npz":
        np.savez_compressed(file, **arrays)
    else:
        torch.save({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, file)
    return file.getvalue()


class Code:
    """When unpickled, runs a command that leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.trace}",)


MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "layer": (LAYER, LAW),
    **{name: (arrays, {**LAW, "convention": name}) for name, arrays in PUBLISHED.items()},
    "decoder": (CHECKPOINT, {"claim": "model-selection", "sparsity": 1, "heads": 2}),
}
FORMS = ("safetensors", "npz", "pt")


def malformed(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """(model, kind, bytes) of every file."""
    yield from truncated()
    yield from wrong_numbers()
    yield from wrong_shapes_and_names()
    yield from with_code(folder / "was-run")
    yield from oversized()
    yield from other_files()


def truncated() -> Iterator[tuple[str, str, bytes]]:
    for name, (arrays, _) in MODELS.items():
        for form in FORMS:
            whole = content(arrays, form)
            for share in (0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 0.999, 1):
                yield name, "truncated", whole[: min(int(share * len(whole)), len(whole) - 1)]


def wrong_numbers() -> Iterator[tuple[str, str, bytes]]:
    for name, (arrays, _) in MODELS.items():
        first, last = next(iter(arrays)), list(arrays)[-1]
        for form in FORMS:
            for which, bad in ((first, np.nan), (last, np.inf), (last, -np.inf)):
                broken = np.array(arrays[which])
                broken.flat[broken.size // 2] = bad
                yield name, "NaN or infinity", content({**arrays, which: broken}, form)
            for dtype in (np.int64, np.int8, np.bool_, np.complex64):
                yield name, "dtype", content({**arrays, first: arrays[first].astype(dtype)}, form)


def wrong_shapes_and_names() -> Iterator[tuple[str, str, bytes]]:
    for name, (arrays, _) in MODELS.items():
        first = next(iter(arrays))
        shapes: list[Any] = [
            np.zeros(()), np.zeros(0), np.zeros(7), np.zeros((5, 7)), np.zeros((2, 2, 2)), np.zeros((0, 3)),
        ]  # fmt: skip
        for form in FORMS:
            for other in shapes:
                yield name, "shape", content({**arrays, first: other}, form)
            yield name, "names", content({"x" + one.replace(".", "-"): array for one, array in arrays.items()}, form)


def with_code(trace: Path) -> Iterator[tuple[str, str, bytes]]:
    for name, (arrays, _) in MODELS.items():
        for protocol in (2, 3, 4, 5):
            yield name, "code", pickle.dumps({next(iter(arrays)): Code(trace)}, protocol)
            archive = io.BytesIO()
            with zipfile.ZipFile(archive, "w") as file:
                file.writestr("model/data.pkl", pickle.dumps({next(iter(arrays)): Code(trace)}, protocol))
            yield name, "code", archive.getvalue()
        beside = io.BytesIO()
        torch.save({**{one: torch.from_numpy(np.array(a)) for one, a in arrays.items()}, "hook": Code(trace)}, beside)
        yield name, "code", beside.getvalue()
        whole = io.BytesIO()
        torch.save(torch.nn.Linear(2, 2), whole)
        yield name, "code", whole.getvalue()
        objects = io.BytesIO()
        hidden: Any = {one: np.array([Code(trace)], dtype=object) for one in arrays}
        np.savez(objects, **hidden)
        yield name, "code", objects.getvalue()


def member_of_zeros(name: str, header: bytes, size: int) -> bytes:
    """A zip whose one member unpacks to `size` zeros after a header: a thousandth of it in the file."""
    archive = io.BytesIO()
    with (
        zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file,
        file.open(name, "w", force_zip64=True) as member,
    ):
        member.write(header)
        for _ in range(size // 2**20):
            member.write(bytes(2**20))
    return archive.getvalue()


def npy_header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    text = str({"descr": dtype, "fortran_order": False, "shape": shape}).ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def oversized() -> Iterator[tuple[str, str, bytes]]:
    bombs = [
        member_of_zeros("W_PV.npy", npy_header((2**13, 2**13)), 2**29),
        member_of_zeros("W_PV.npy", npy_header((2**14, 2**13), "<f2"), 2**28 - 2**20),
        member_of_zeros("W_PV.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31 - 1), 2**27),
        member_of_zeros("model/data.pkl", b"\x80\x02", 2**28),
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 9_000_000) + b'{"a":' + b"[" * 8_999_995,
        struct.pack("<Q", 9_000_001) + b'{"' + b'a":0,"' * 1_499_999 + b'a":0}',
        struct.pack("<Q", 50_000_000) + b"{" + b" " * 49_999_998 + b"}",
    ]
    for side in (2**20, 2**31, 2**62):
        header = json.dumps({"W_PV": {"dtype": "F64", "shape": [side, side], "data_offsets": [0, 8 * side * side]}})
        bombs.append(struct.pack("<Q", len(header)) + header.encode())
    for program in (
        b"N" * 2**24,
        b"}" * 900_000,
        b")" + b"q\x00h\x00\x86" * 30,
        b"]" + b"q\x00h\x00a" * 100_000,
        b"(" * 10**6,
    ):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("model/data.pkl", b"\x80\x02" + program + b".")
        bombs.append(archive.getvalue())
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as file:
        for i in range(20_000):
            file.writestr(f"{i}.npy", b"")
    bombs.append(many.getvalue())
    for bomb in bombs:
        yield "layer", "size", bomb
        yield "decoder", "size", bomb


def other_files() -> Iterator[tuple[str, str, bytes]]:
    plain = io.BytesIO()
    np.save(plain, LAYER["W_PV"])
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("readme.txt", "hello")
    others = [
        plain.getvalue(), zipped.getvalue(), gzip.compress(content(LAYER, "npz")), b"\x89HDF\r\n\x1a\n" + bytes(100),
        b"GGUF" + bytes(100), b"<!doctype html><title>404</title>", b"import torch\n", bytes(1000), b"\xff" * 1000,
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", b"PK\x05\x06" + bytes(18), b"PK\x03\x04",
        json.dumps({name: array.tolist() for name, array in LAYER.items()}).encode(), random.Random(1).randbytes(5000),
    ]  # fmt: skip
    for name in MODELS:
        for other in others:
            yield name, "other", other


READER = """
import json, resource, sys, time
from pathlib import Path
import iclcheck

found = []
for line in sys.stdin:
    path, options = json.loads(line)
    started = time.process_time()
    try:
        answer = str(iclcheck.check_model(Path(path), **options).exit_status)
    except ValueError as error:
        ours = type(error).__module__.startswith("iclcheck.")
        answer = str(error) if ours else f"NOT OURS {type(error)} {error}"
    except BaseException as error:
        answer = f"NOT OURS {type(error)} {error}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found.append([answer, time.process_time() - started, peak])
print(json.dumps({"found": found, "torch": "torch" in sys.modules}))
"""


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.mktemp("malformed")
    made = []
    for number, (model, kind, data) in enumerate(malformed(folder)):
        path = folder / str(number)
        path.write_bytes(data)
        made.append(Case(path, MODELS[model][1], kind))
    return made


@pytest.mark.slow
def test_five_hundred_malformed_files_are_refused_by_one_process(cases: list[Case]) -> None:
    assert len(cases) >= 500
    lines = "\n".join(json.dumps([str(case.path), case.options]) for case in cases)
    answer = subprocess.run([sys.executable, "-c", READER], input=lines, capture_output=True, text=True, check=True)
    told = json.loads(answer.stdout)
    assert len(told["found"]) == len(cases)
    for case, (sentence, seconds, kilobytes) in zip(cases, told["found"], strict=True):
        where = f"{case.kind}, {case.path.name}: {sentence}"
        assert len(sentence) > 30, where  # a verdict would be one digit
        assert not sentence.startswith("NOT OURS"), where
        assert "\n" not in sentence, where
        assert len(sentence) < 1200, where
        assert seconds < SECONDS, f"{seconds:.2f} s: {where}"
        assert kilobytes < 1000 * MEGABYTES, f"{kilobytes} kB: {where}"
    assert not told["torch"]
    assert not (cases[0].path.parent / "was-run").exists()
    assert {case.kind for case in cases} == {
        "truncated", "NaN or infinity", "dtype", "shape", "names", "code", "size", "other",
    }  # fmt: skip


@pytest.mark.slow
def test_the_models_themselves_are_read(tmp_path: Path) -> None:
    """Undamaged, each of the files is judged: what was refused above is the damage."""
    lines = []
    for name, (arrays, options) in MODELS.items():
        for form in FORMS:
            path = tmp_path / f"{name}-{form}"
            path.write_bytes(content(arrays, form))
            few = {"prompts": 1} if name == "decoder" else {}
            lines.append(json.dumps([str(path), {**options, **few}]))
    answer = subprocess.run([sys.executable, "-c", READER], input="\n".join(lines), capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert all(one in ("0", "1", "3") for one, _, _ in json.loads(answer.stdout)["found"]), answer.stdout


@pytest.mark.slow
def test_twenty_of_them_are_refused_by_the_command_within_a_second_each(cases: list[Case]) -> None:
    """CPU time of the whole process, interpreter and imports included."""
    kinds = sorted({case.kind for case in cases})
    chosen = [case for kind in kinds for case in random.Random(kind).sample([c for c in cases if c.kind == kind], 3)][
        :20
    ]
    assert len(chosen) == 20
    for case in chosen:
        options = dict(case.options)
        claim, convention, heads = (options.pop(name, None) for name in ("claim", "convention", "heads"))
        command = [sys.executable, "-m", "iclcheck", "check", claim or "fixed-point", "--model", str(case.path)]
        command += ["--convention", convention] if convention else []
        command += ["--heads", str(heads)] if heads else []
        command += [part for name, value in options.items() for part in ("--set", f"{name}={json.dumps(value)}")]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer = subprocess.run(command, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert answer.returncode == 2, f"{case.kind}: {answer.stdout}{answer.stderr}"
        assert answer.stdout == ""
        assert answer.stderr.startswith("iclcheck: ")
        assert answer.stderr.count("\n") == 1
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        assert seconds < 1, f"{seconds:.2f} s: {case.kind}, {answer.stderr}"
