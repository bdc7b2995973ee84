"""Weights from strangers: what is read is exact, and what is refused is refused unread."""

import copy
import io
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from iclcheck.numerics.users_models import npz_files, torch_archives
from iclcheck.numerics.users_models.pickle_opcodes import refuse_foreign_globals
from iclcheck.numerics.users_models.stored_arrays import stored_arrays
from iclcheck.numerics.users_models.weights_files import WeightsFileError, read_weights

W_PV = torch.tensor([[0.0, 0.25, 0.0], [0.0, -3.0, 0.0], [1.5, 0.0, 2.0]], dtype=torch.float64)
W_KQ = W_PV.mT.contiguous() + 0.5

Save = Callable[[dict[str, torch.Tensor], Path], None]


def save_npz(tensors: dict[str, torch.Tensor], path: Path) -> None:
    with path.open("wb") as file:
        arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
        np.savez_compressed(file, **arrays)


FORMATS: dict[str, Save] = {
    ".safetensors": safetensors.torch.save_file,
    ".npz": save_npz,
    ".pt": torch.save,
    ".pth": torch.save,
    ".bin": torch.save,
    "": torch.save,
}


@pytest.fixture(params=sorted(FORMATS))
def extension(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def saved(tmp_path: Path, extension: str, W_PV: torch.Tensor = W_PV, W_KQ: torch.Tensor = W_KQ) -> Path:
    path = tmp_path / f"weights{extension}"
    FORMATS[extension]({"W_PV": W_PV, "W_KQ": W_KQ, "bias": torch.zeros(2)}, path)
    return path


def test_every_format_gives_the_numbers_that_were_saved(tmp_path: Path, extension: str) -> None:
    weights = read_weights(saved(tmp_path, extension))
    assert list(weights) == ["W_PV", "W_KQ"]
    assert weights["W_PV"].dtype == weights["W_KQ"].dtype == np.float64
    np.testing.assert_array_equal(weights["W_PV"], W_PV.numpy())
    np.testing.assert_array_equal(weights["W_KQ"], W_KQ.numpy())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_shorter_floats_are_converted_exactly(tmp_path: Path, extension: str, dtype: torch.dtype) -> None:
    if extension == ".npz" and dtype == torch.bfloat16:
        pytest.skip("NumPy has no bfloat16")
    exact = torch.tensor([[1 / 3, -(2.0**-14)], [65504.0, 0.1]]).to(dtype)
    exact = torch.where(exact.isinf(), 1.0, exact)
    weights = read_weights(saved(tmp_path, extension, W_PV=exact))
    np.testing.assert_array_equal(weights["W_PV"], exact.to(torch.float64).numpy())


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64, torch.bool])
def test_weights_that_are_no_real_numbers_are_refused(tmp_path: Path, extension: str, dtype: torch.dtype) -> None:
    with pytest.raises(WeightsFileError, match=r"W_PV.* must be .*got .*; convert it"):
        read_weights(saved(tmp_path, extension, W_PV=W_PV.to(dtype)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_counted(tmp_path: Path, extension: str, bad: float) -> None:
    broken = W_KQ.clone()
    broken[0, :2] = bad
    with pytest.raises(WeightsFileError, match=r"W_KQ in .* must be finite, got NaN or infinity in 2 of 9"):
        read_weights(saved(tmp_path, extension, W_KQ=broken))


def test_a_missing_name_lists_what_is_there_and_how_to_map_it(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"weights{extension}"
    FORMATS[extension]({"layer.W_PV": W_PV, "layer.W_KQ": W_KQ}, path)
    with pytest.raises(WeightsFileError, match=r"layer\.W_KQ, layer\.W_PV; .* --name W_PV=layer\.W_PV"):
        read_weights(path)
    weights = read_weights(path, names={"W_PV": "layer.W_PV", "W_KQ": "layer.W_KQ"})
    np.testing.assert_array_equal(weights["W_KQ"], W_KQ.numpy())


def test_the_tensors_of_a_training_checkpoint_are_found_by_their_path(tmp_path: Path) -> None:
    module = torch.nn.Module()
    module.W_PV, module.W_KQ = torch.nn.Parameter(W_PV), torch.nn.Parameter(W_KQ.mT)
    optimiser = torch.optim.Adam(module.parameters())
    checkpoint = {
        "model": module.state_dict(),
        "parameters": dict(module.named_parameters()),
        "optimiser": optimiser.state_dict(),
        "step": 7,
    }
    torch.save(checkpoint, tmp_path / "checkpoint.pt")
    for part in ("model", "parameters"):
        weights = read_weights(tmp_path / "checkpoint.pt", {name: f"{part}.{name}" for name in ("W_PV", "W_KQ")})
        np.testing.assert_array_equal(weights["W_KQ"], W_KQ.mT.numpy())


def test_a_long_list_of_names_is_cut(tmp_path: Path) -> None:
    safetensors.torch.save_file({f"t{i:02}": torch.zeros(1) for i in range(30)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsFileError, match=r"t00, .*t19 and 10 more; .* --name W_PV=NAME"):
        read_weights(tmp_path / "w.safetensors")


# Files that are no weights


@pytest.mark.parametrize("wrong", [".npz", ".safetensors", ".pt"])
def test_content_that_belies_the_extension_is_named(tmp_path: Path, extension: str, wrong: str) -> None:
    path = saved(tmp_path, extension)
    renamed = path.rename(tmp_path / f"renamed{wrong}")
    if FORMATS[extension] is FORMATS[wrong]:
        read_weights(renamed)
        return
    with pytest.raises(WeightsFileError, match=r"by its extension, but its content is \w+; rename it to renamed"):
        read_weights(renamed)


def test_missing_files_and_directories_and_pipes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsFileError, match=r"cannot be opened \(No such file"):
        read_weights(tmp_path / "absent.pt")
    with pytest.raises(WeightsFileError, match="is a directory; name the file itself"):
        read_weights(tmp_path)
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(WeightsFileError, match="is no regular file"):
        read_weights(tmp_path / "pipe.pt")


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "is empty"),
        (b"\x93NUMPY\x01\x00", r"a single \.npy array"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"import torch\n", "which is none of them"),
        (b"PK\x05\x06" + bytes(18), "an empty zip archive"),
        (b"PK\x03\x04 and nothing more", "is damaged .*zip"),
    ],
)
def test_files_of_other_kinds_are_refused_by_name(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "weights").write_bytes(content)
    with pytest.raises(WeightsFileError, match=reason):
        read_weights(tmp_path / "weights")


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "weights", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WeightsFileError, match=r"holds \['readme.txt'\]"):
        read_weights(tmp_path / "weights")


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, extension: str) -> None:
    whole = saved(tmp_path, extension).read_bytes()
    path = tmp_path / f"cut{extension}"
    for length in [1, 7, 8, 9, 40, *range(100, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsFileError):
            read_weights(path)


def test_damaged_files_are_refused_or_read_but_never_raise_anything_else(tmp_path: Path, extension: str) -> None:
    whole = saved(tmp_path, extension).read_bytes()
    path = tmp_path / f"damaged{extension}"
    chance = random.Random(extension)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 2, 8])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            read_weights(path)
        except WeightsFileError:
            refused += 1
    assert refused > 10


# Pickles that would do more than hold tensors


class Payload:
    """When unpickled, runs a command that leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.trace}",)


def torch_archive(path: Path, program: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("weights/data.pkl", program)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize("bare", [True, False])
def test_a_pickle_that_runs_a_command_is_refused_by_name_and_never_run(
    tmp_path: Path, protocol: int, bare: bool
) -> None:
    trace = tmp_path / "trace"
    program = pickle.dumps({"W_PV": Payload(trace)}, protocol)
    path = tmp_path / "weights.pt"
    path.write_bytes(program) if bare else torch_archive(path, program)
    expected = r"posix.system" if not bare or protocol >= 2 else "none of them"
    with pytest.raises(WeightsFileError, match=expected):
        read_weights(path)
    assert not trace.exists()
    if bare:  # the payload would have worked
        pickle.loads(program)
        assert trace.exists()


def test_a_whole_module_is_refused_by_the_name_of_its_class(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(WeightsFileError, match=r"torch\.nn\.modules\.linear\.Linear.*save model\.state_dict"):
        read_weights(tmp_path / "model.pt")


def test_no_format_needs_torch_to_be_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch_archive(path, pickle.dumps(Payload(tmp_path / "trace"), 2))
    torch.save({"W_PV": W_PV, "W_KQ": W_KQ}, tmp_path / "good.pt")
    save_npz({"W_PV": W_PV, "W_KQ": W_KQ}, tmp_path / "good.npz")
    safetensors.torch.save_file({"W_PV": W_PV, "W_KQ": W_KQ}, tmp_path / "good.safetensors")
    program = f"""
import sys
from iclcheck.numerics.users_models.weights_files import WeightsFileError, read_weights
read_weights({str(tmp_path / "good.npz")!r})
read_weights({str(tmp_path / "good.pt")!r})
read_weights({str(tmp_path / "good.safetensors")!r})
try:
    read_weights({str(path)!r})
except WeightsFileError:
    sys.exit("torch was imported" if "torch" in sys.modules else 0)
sys.exit("nothing was refused")
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(
    "program, foreign",
    [
        (b"cbuiltins\neval\n.", r"builtins\.eval"),
        (b"(S'id'\nios\nsystem\n.", r"os system|os\.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", r"os\.system \(by STACK_GLOBAL\)"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"ctorch.serialization\nload\n.", r"torch\.serialization\.load"),
        (b"ctorch\nFloatStorage.__class__\n.", r"FloatStorage\.__class__"),
    ],
)
def test_every_opcode_that_imports_is_seen(program: bytes, foreign: str) -> None:
    with pytest.raises(WeightsFileError, match=foreign):
        refuse_foreign_globals(program, "a pickle")


def test_without_the_first_guard_the_second_still_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tmp_path / "trace"
    monkeypatch.setattr(torch_archives, "refuse_foreign_globals", lambda *_: None)
    with (
        zipfile.ZipFile(saved(tmp_path, ".pth")) as good,
        zipfile.ZipFile(tmp_path / "weights.pt", "w") as bad,
    ):
        for name in good.namelist():
            program = pickle.dumps(Payload(trace), 2)
            bad.writestr(name, program if name.endswith("data.pkl") else good.read(name))
    with pytest.raises(WeightsFileError, match="cannot be followed"):
        read_weights(tmp_path / "weights.pt")
    monkeypatch.setattr(npz_files, "_judge_header", lambda *_: None)
    np.savez(tmp_path / "weights.npz", W_PV=np.array([Payload(trace)]), W_KQ=np.array([Payload(trace)]))
    with pytest.raises(WeightsFileError, match="allow_pickle=False"):
        read_weights(tmp_path / "weights.npz")
    assert not trace.exists()


def test_members_of_one_name_or_in_one_place_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, ".pt")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("weights/data/0", bytes(72))
    with pytest.raises(WeightsFileError, match="members of one name"):
        read_weights(path)
    path = tmp_path / "overlapping.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", pickle.dumps({}, 2))
        archive.writestr("weights/data/0", bytes(10_000))
        for i in range(1, 4):
            again = copy.copy(archive.getinfo("weights/data/0"))
            again.filename = f"weights/data/{i}"
            archive.filelist.append(again)
    with pytest.raises(WeightsFileError, match="overlapping members"):
        read_weights(path)


def test_a_second_data_pkl_or_bytes_in_front_do_not_hide_a_program(tmp_path: Path) -> None:
    good = saved(tmp_path, ".pt").read_bytes()
    path = tmp_path / "hidden.pt"
    path.write_bytes(good)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", pickle.dumps(Payload(tmp_path / "trace"), 2))
    with pytest.raises(WeightsFileError, match=r"not exactly one data\.pkl"):
        read_weights(path)
    path.write_bytes(b"PK\x03\x04" + good)
    with pytest.raises(WeightsFileError, match="bytes in front"):
        read_weights(path)


# Sizes that a file only claims


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W_KQ.npy", b"")
        with archive.open("W_PV.npy", "w") as member:
            for _ in range(npz_files.LARGEST_MEMBER // 2**24 + 1):
                member.write(bytes(2**24))
    assert path.stat().st_size < 2**20
    with pytest.raises(WeightsFileError, match=r"W_PV\.npy .* unpacks to \d+ bytes where at most"):
        read_weights(path)


def test_a_compressed_torch_archive_is_not_unpacked(tmp_path: Path) -> None:
    torch_archive(tmp_path / "bomb.pt", bytes(2**20), zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsFileError, match="compressed members"):
        read_weights(tmp_path / "bomb.pt")


def test_a_tensor_that_repeats_one_number_is_not_spread_out(tmp_path: Path) -> None:
    torch.save({"W_PV": torch.zeros(1).expand(6000, 6000), "W_KQ": W_KQ}, tmp_path / "wide.pt")
    assert (tmp_path / "wide.pt").stat().st_size < 2**16
    with pytest.raises(WeightsFileError, match=r"shape \(6000, 6000\) in a storage of 1 numbers"):
        read_weights(tmp_path / "wide.pt")


def npz_of(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("W_PV.npy", content)
        archive.writestr("W_KQ.npy", content)


def test_an_array_shorter_than_its_header_says_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros((3, 3)))
    huge = file.getvalue().replace(b"(3, 3)", b"(3, 9)")
    npz_of(tmp_path / "huge.npz", huge)
    with pytest.raises(WeightsFileError, match=r"shape \(3, 9\) and float64 need 216 bytes, there are 72"):
        read_weights(tmp_path / "huge.npz")


def test_a_header_without_end_is_not_unpacked(tmp_path: Path) -> None:
    """Twenty million blanks of a header of version 2 are 20 kB in the file."""
    content = b"\x93NUMPY\x02\x00" + (20_000_000).to_bytes(4, "little") + b" " * 20_000_000
    with zipfile.ZipFile(tmp_path / "blank.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W_PV.npy", content)
    del content
    tracemalloc.start()
    try:
        refused = pytest.raises(WeightsFileError, match="a header of 20000000 bytes, where at most 10000")
        with refused, stored_arrays(tmp_path / "blank.npz"):
            pass
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_object_arrays_are_refused_and_their_pickle_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    objects = np.array([Payload(trace)], dtype=object)
    np.savez(tmp_path / "objects.npz", W_PV=objects, W_KQ=objects)
    with pytest.raises(WeightsFileError, match="must be float64, float32 or float16, got object"):
        read_weights(tmp_path / "objects.npz")
    assert not trace.exists()


def safetensors_of(path: Path, header: Any, data: bytes, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(begin: int, end: int, dtype: Any = "F64", shape: Any = (1,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "header, reason",
    [
        ({"W_PV": entry(0, 8), "W_KQ": entry(0, 8)}, "begins at byte"),
        ({"W_PV": entry(0, 8)}, "end at byte"),
        ({"W_PV": entry(0, 8), "W_KQ": entry(8, 24)}, "spans 16 bytes"),
        ({"W_PV": entry(0, 8), "W_KQ": entry(8, 2**60, shape=[2**57 - 1])}, "end at byte"),
        ({"W_PV": entry(0, 16, shape=[-1, -2]), "W_KQ": entry(8, 16)}, "no natural numbers"),
        ({"W_PV": entry(0, 16, shape=[2.0])}, "no natural numbers"),
        ({"W_PV": entry(0, 16, dtype="F63")}, "unknown dtype"),
        ({"W_PV": entry(0, 16, dtype=["F64"])}, "unknown dtype"),
        ({"W_PV": 3}, "lacks dtype"),
        ({"W_PV": entry(0, 0, shape=[0, 2**63]), "W_KQ": entry(0, 16, shape=[2])}, "has the shape"),
        (b'{"W_PV": 1, "W_PV": 2}', "occurs twice"),
        (b'{"W_PV": ' + b"[" * 10**5, "no valid JSON"),
        (b"{", "no valid JSON"),
    ],
)
def test_a_header_of_safetensors_that_lies_is_refused(tmp_path: Path, header: Any, reason: str) -> None:
    path = safetensors_of(tmp_path / "w.safetensors", header, np.ones(2).tobytes())
    with pytest.raises(WeightsFileError, match=reason):
        read_weights(path)


def test_a_header_longer_than_its_file_is_refused(tmp_path: Path) -> None:
    path = safetensors_of(tmp_path / "w.safetensors", {}, b"", length=2**40)
    with pytest.raises(WeightsFileError, match=f"a header of {2**40} bytes is announced"):
        read_weights(path)
    good = safetensors_of(
        tmp_path / "good.safetensors", {"W_PV": entry(0, 8), "W_KQ": entry(8, 16)}, np.ones(2).tobytes()
    )
    assert read_weights(good)["W_KQ"].tolist() == [1.0]
