"""Checkpoints of decoders: the published layout is read exactly, and what is not it is refused unread.

The layout is that of the published code's models: transformers' GPT2Model between two linear layers. That library is
no dependency, so the state dicts are written here: our own decoder's arrays, GPT-2's token table, and the masks that
its older versions keep as buffers. Whether the arrays mean what GPT-2 means by them is judged by a forward pass written
in NumPy from GPT-2's formulas.
"""

import io
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray

from iclcheck.numerics.decoders.decoder import Decoder, DecoderShape
from iclcheck.numerics.users_models.decoder_checkpoints import DecoderCheckpoint, read_decoder
from iclcheck.numerics.users_models.weights_errors import WeightsFileError

Array = NDArray[np.float64]
State = dict[str, torch.Tensor]
SHAPE = DecoderShape(dimension=3, positions=4, width=8, layers=2, heads=2)
VOCABULARY = 11  # 50257 in the published files
TABLE = "_backbone.wte.weight"
BLOCK = "_backbone.h.1."


def published(shape: DecoderShape = SHAPE, buffers: bool = True) -> State:
    """A state dict in the order of the published code's: read_in, tables, blocks with their masks, read_out."""
    own, rows = Decoder(shape, "checkpoint", 0.4).state_dict(), 2 * shape.positions
    draw = torch.Generator().manual_seed(0)
    state: State = {}
    for name, weights in own.items():
        if name == "_backbone.wpe.weight":
            state[TABLE] = torch.randn(VOCABULARY, shape.width, generator=draw)
        # biases and normalisations start at 0 and 1, where a mistake would not show
        state[name] = weights + 0.1 * torch.randn(weights.shape, generator=draw)
        if buffers and name.endswith("ln_1.bias"):
            attention = name.replace("ln_1.bias", "attn.")
            state[attention + "bias"] = torch.ones(1, 1, rows, rows, dtype=torch.uint8).tril()
            state[attention + "masked_bias"] = torch.tensor(-1e4)
    return state


def training_state(state: State) -> dict[str, Any]:
    """What the published training saves in state.pt."""
    layer = torch.nn.Linear(2, 2)
    optimiser = torch.optim.Adam(layer.parameters())
    layer(torch.zeros(1, 2)).sum().backward()
    optimiser.step()
    return {"model_state_dict": OrderedDict(state), "optimizer_state_dict": optimiser.state_dict(), "train_step": 7}


def save_npz(state: State, path: Path) -> None:
    arrays: dict[str, Any] = {name: weights.numpy() for name, weights in state.items()}
    np.savez(path, **arrays)


FILES: dict[str, Callable[[State, Path], None]] = {
    "model_500000.pt": torch.save,
    "state.pt": lambda state, path: torch.save(training_state(state), path),
    "model.safetensors": safetensors.torch.save_file,
    "model.npz": save_npz,
}


def saved(folder: Path, name: str = "model_500000.pt", state: State | None = None) -> Path:
    FILES[name](published() if state is None else state, folder / name)
    return folder / name


def normalised(h: Array, scale: Array, shift: Array) -> Array:
    centred = h - h.mean(-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + shift)


def gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))


def forward(state: dict[str, Array], heads: int, xs: Array, ys: Array) -> list[float]:
    """GPT-2 on one prompt xs (N, d), ys (N,), token by token: the prediction at each x."""

    def affine(name: str, h: Array) -> Array:
        return np.asarray(h @ state[name + ".weight"] + state[name + ".bias"])

    def norm(name: str, h: Array) -> Array:
        return normalised(h, state[name + ".weight"], state[name + ".bias"])

    tokens = [token for x, y in zip(xs, ys, strict=True) for token in (x, np.eye(len(x))[0] * y)]
    h = np.array(tokens) @ state["_read_in.weight"].T + state["_read_in.bias"]
    h = h + state["_backbone.wpe.weight"][: len(h)]
    width = h.shape[1]
    size = width // heads
    layers = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("_backbone.h."))
    for layer in range(layers):
        block = f"_backbone.h.{layer}"
        qkv = affine(f"{block}.attn.c_attn", norm(f"{block}.ln_1", h))
        mixed = np.zeros_like(h)
        for head in range(heads):
            q, k, v = (qkv[:, part * width + head * size :][:, :size] for part in range(3))
            for t in range(len(h)):
                scores = k[: t + 1] @ q[t] / np.sqrt(size)
                weights = np.exp(scores - scores.max())
                mixed[t, head * size : (head + 1) * size] = weights @ v[: t + 1] / weights.sum()
        h = h + affine(f"{block}.attn.c_proj", mixed)
        h = h + affine(f"{block}.mlp.c_proj", gelu(affine(f"{block}.mlp.c_fc", norm(f"{block}.ln_2", h))))
    h = norm("_backbone.ln_f", h)
    return [float(h[2 * i] @ state["_read_out.weight"][0] + state["_read_out.bias"][0]) for i in range(len(xs))]


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_the_published_layout_is_the_function_that_gpt_2_computes(tmp_path: Path, name: str) -> None:
    """In float64 on both sides, from the same float32 weights: what is left is rounding, 1e-16 times some thousands."""
    state = published()
    found = read_decoder(saved(tmp_path, name, state), heads=2)
    draw = np.random.default_rng(0)
    xs, ys = draw.normal(size=(2, 4, 3)), draw.normal(size=(2, 4))
    model = found.decoder().double()
    with torch.no_grad():
        answers = model(torch.from_numpy(xs), torch.from_numpy(ys)).numpy()
    arrays = {key: weights.double().numpy() for key, weights in state.items()}
    for prompt in range(2):
        np.testing.assert_allclose(answers[prompt], forward(arrays, 2, xs[prompt], ys[prompt]), rtol=0, atol=1e-12)
    assert np.ptp(answers) > 0.1


@pytest.mark.parametrize("name", FILES)
def test_sizes_come_from_the_shapes_and_numbers_are_exact(tmp_path: Path, name: str) -> None:
    state = published()
    found = read_decoder(saved(tmp_path, name, state), heads=2)
    assert found[:5] == (3, 4, 8, 2, 2)
    assert set(found.weights) == set(Decoder(SHAPE).state_dict())
    for key, weights in found.weights.items():
        np.testing.assert_array_equal(weights, state[key].numpy())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model_state_dict.module.", "a.b."])
def test_what_a_wrapper_puts_in_front_is_a_prefix(tmp_path: Path, prefix: str) -> None:
    state = {prefix + key: weights for key, weights in published().items()}
    assert read_decoder(saved(tmp_path, state=state), heads=2).width == 8


def test_versions_without_masks_and_without_a_table_are_read_too(tmp_path: Path) -> None:
    state = published(buffers=False)
    del state[TABLE]
    assert read_decoder(saved(tmp_path, state=state), heads=2).layers == 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_floats_are_converted(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {key: weights.to(dtype) if weights.is_floating_point() else weights for key, weights in published().items()}
    for name in ("model_500000.pt", "model.safetensors"):
        weights = read_decoder(saved(tmp_path, name, state), heads=2).weights["_read_in.weight"]
        np.testing.assert_array_equal(weights, state["_read_in.weight"].float().numpy())


def test_views_of_a_larger_storage_are_read_as_torch_sees_them(tmp_path: Path) -> None:
    """Slices and transposed kernels: torch saves the whole storage, and where in it the tensor lies."""
    state = published()
    wide = torch.cat([torch.full((1, 3), 9.0), state["_read_in.weight"]])
    state["_read_in.weight"] = wide[1:]
    kernel = BLOCK + "mlp.c_fc.weight"
    state[kernel] = state[kernel].mT.contiguous().mT
    assert not state[kernel].is_contiguous()
    found = read_decoder(saved(tmp_path, state=state), heads=2)
    for key in ("_read_in.weight", kernel):
        np.testing.assert_array_equal(found.weights[key], state[key].numpy())


@pytest.mark.parametrize("name", ["model_500000.pt", "model.npz"])
def test_the_token_table_is_not_even_read(tmp_path: Path, name: str) -> None:
    """Its bytes are damaged, which a checksum would notice; those of another array are, and are noticed."""
    state = published()
    state[TABLE] = torch.full((5000, 8), 1.2345)  # beyond the piece that is read with an npz header
    state["_read_out.weight"] = torch.full((1, 8), 5.4321)
    for value, needed in ((1.2345, False), (5.4321, True)):
        path = saved(tmp_path, name, state)
        content = path.read_bytes()
        place = content.index(np.full(8, value, dtype=np.float32).tobytes())
        path.write_bytes(content[:place] + b"\x00" + content[place + 1 :])
        if needed:
            with pytest.raises(WeightsFileError, match=r"_read_out.* is damaged"):
                read_decoder(path, heads=2)
        else:
            assert read_decoder(path, heads=2).width == 8


def test_a_table_of_the_published_size_costs_no_memory(tmp_path: Path) -> None:
    """50257 x 64 numbers: 26 MB in float64; what is traced of Python's and NumPy's memory stays below a megabyte."""
    import tracemalloc

    state = published()
    state[TABLE] = torch.zeros(50257, 64)
    for name in FILES:
        path = saved(tmp_path, name, state)
        tracemalloc.start()
        read_decoder(path, heads=2)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**20, name


# The number of heads


def small(layers: int, width: int, folder: Path) -> Path:
    return saved(folder, state=published(DecoderShape(2, 2, width, layers, 1), buffers=False))


@pytest.mark.parametrize("layers, width, heads", [(3, 64, 2), (6, 128, 4)])
def test_published_sizes_have_their_heads(tmp_path: Path, layers: int, width: int, heads: int) -> None:
    found = read_decoder(small(layers, width, tmp_path))
    assert (found.heads, found.heads_from) == (heads, "by the convention of the published sizes")
    assert f"{heads} heads (by the convention" in str(found)


CONFIG = """inherit:
- models/standard.yaml
model: {tag}
  family: gpt2
  n_dims: 20
  n_embd: 64
  n_head: 4  # of them
  n_layer: 3
out_dir: ../models
training:
  n_head: 16
"""


@pytest.mark.parametrize("tag", ["", "!munch.Munch", "# the model"])
def test_the_training_s_configuration_goes_before_the_convention(tmp_path: Path, tag: str) -> None:
    path = small(3, 64, tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG.replace("{tag}", tag))
    found = read_decoder(path)
    assert (found.heads, found.heads_from) == (4, "config.yaml beside the file")
    found = read_decoder(path, heads=8)
    assert (found.heads, found.heads_from) == (8, "as given")


def test_a_configuration_on_one_line_is_read(tmp_path: Path) -> None:
    path = small(3, 64, tmp_path)
    (tmp_path / "config.yaml").write_text("out_dir: x\nmodel: {family: gpt2, n_embd: 64, n_head: 16, n_layer: 3}\n")
    assert read_decoder(path).heads == 16


@pytest.mark.parametrize(
    "text, reason",
    [
        ("model:\n  family: lstm\n  n_head: 2\n", "family gpt2, .* says lstm"),
        ("model:\n  n_embd: 64\ntraining:\n  n_head: 2\n", "need one n_head under model in .*, found 0"),
        ("", "need one n_head under model"),
        ("model:\n  n_head: 2\n  n_head: 4\n", "found 2"),
        ("model:\n  n_head: 5\n", r"heads that divide the width 64 .*, got 5 \(config.yaml"),
        ("model:\n  n_head: 0\n", "heads that divide"),
        ("\x00\xff", "need one n_head"),
    ],
)
def test_a_configuration_that_does_not_say_it_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = small(3, 64, tmp_path)
    (tmp_path / "config.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(WeightsFileError, match=reason):
        read_decoder(path)


def test_other_sizes_need_to_be_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsFileError, match=r"2 layers of width 8 are no published size; .* or give --heads"):
        read_decoder(saved(tmp_path))
    for heads in (3, 0, -1, 16):
        with pytest.raises(WeightsFileError, match=f"heads that divide the width 8 .* got {heads}"):
            read_decoder(saved(tmp_path), heads=heads)


# Files that are no such checkpoint


class Touches:
    """A pickle of this runs a command when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch was-run",)


class Stored:
    """A storage, in a forged pickle."""


class Forged:
    """A tensor whose pickle says what the test wants it to say."""

    def __init__(self, count: Any = 24, offset: Any = 0, shape: Any = (8, 3), strides: Any = (3, 1)) -> None:
        self.count, self.place = count, (offset, shape, strides)

    def __reduce__(self) -> tuple[Any, ...]:
        stored = Stored()
        stored.__dict__["count"] = self.count
        return torch._utils._rebuild_tensor_v2, (stored, *self.place, False, OrderedDict())


class Forger(pickle.Pickler):
    """Writes `Stored` as torch writes a storage."""

    def persistent_id(self, thing: Any) -> Any:
        if isinstance(thing, Stored):
            return ("storage", torch.FloatStorage, "0", "cpu", thing.__dict__["count"])
        return None


def archive(path: Path, program: bytes, members: dict[str, bytes] | None = None) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("m/data.pkl", program)
        for name, content in (members or {"data/0": bytes(96)}).items():
            file.writestr(f"m/{name}", content)


def forged(**place: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        buffer = io.BytesIO()
        Forger(buffer, 2).dump({"_read_in.weight": Forged(**place)})
        archive(path, buffer.getvalue())

    return write


def program(code: bytes, **members: bytes) -> Callable[[Path], None]:
    return lambda path: archive(path, code, members or None)


def with_state(**changes: Any) -> Callable[[Path], None]:
    """The good state dict with some entries replaced, or left out where the change is None."""

    def write(path: Path) -> None:
        state: dict[str, Any] = {**published(), **{key.replace("__", "."): value for key, value in changes.items()}}
        torch.save({key: value for key, value in state.items() if value is not None}, path)

    return write


def whole(state: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(state, path)


def cut(share: float, name: str = "model_500000.pt") -> Callable[[Path], None]:
    def write(path: Path) -> None:
        content = saved(path.parent, name).read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return write


def in_safetensors(header: Any, data: bytes = b"") -> Callable[[Path], None]:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return lambda path: (path.write_bytes(len(text).to_bytes(8, "little") + text + data), None)[1]


def big_endian(path: Path) -> None:
    with zipfile.ZipFile(saved(path.parent)) as good, zipfile.ZipFile(path, "w") as bad:
        for name in good.namelist():
            bad.writestr(name, b"big" if name.endswith("byteorder") else good.read(name))


def nan_in(name: str, value: float = float("nan")) -> dict[str, Any]:
    weights = published()[name.replace("__", ".")].clone()
    weights.view(-1)[-1] = value
    return {name: weights}


def several(*prefixes: str) -> State:
    return {prefix + key: weights for prefix in prefixes for key, weights in published().items()}


H1 = "_backbone__h__1__"
LARGE = torch.zeros(1).expand(2**15, 2**15)
NOTHING: dict[str, Any] = {}
BOMB: Any = {"x": 1}
for _ in range(12):
    BOMB = {str(i): BOMB for i in range(40)}

MALFORMED: dict[str, tuple[Callable[[Path], None], str]] = {
    # arrays that are missing
    **{
        f"without {name}": (with_state(**{name: None}), rf"need {name.replace('__', '[.]')} in ")
        for name in (
            "_read_in__bias", "_read_out__weight", "_read_out__bias", "_backbone__wpe__weight",
            "_backbone__ln_f__weight", "_backbone__ln_f__bias", f"{H1}ln_1__weight", f"{H1}ln_2__bias",
            f"{H1}attn__c_attn__weight", f"{H1}attn__c_proj__bias", f"{H1}mlp__c_fc__weight",
            f"{H1}mlp__c_proj__weight",
        )
    },
    "without _read_in": (with_state(_read_in__weight=None), "need the state dict of a decoder"),
    "an empty dictionary": (whole({}), "holds no arrays"),
    "a list": (whole([torch.zeros(2)]), "holds no arrays"),
    "a tensor": (whole(torch.zeros(2)), "holds tensor"),
    "one linear layer": (whole(torch.nn.Linear(2, 2).state_dict()), "holds weight, bias"),
    "one layer of attention": (whole({"W_PV": torch.eye(3), "W_KQ": torch.eye(3)}), "W_PV.*check fixed-point"),
    "only the backbone": (
        whole({k: v for k, v in published().items() if k.startswith("_backbone")}), "need the state dict of a decoder"
    ),
    "no blocks": (whole({k: v for k, v in published().items() if ".h." not in k}), r"need blocks .*has none"),
    "a gap between blocks": (
        whole({k.replace(".h.1.", ".h.2."): v for k, v in published().items()}), r"without a gap, .* has 0, 2"
    ),
    "two models": (whole(several("", "ema.")), "need one decoder, .* holds 2"),
    "three models": (whole(several("a.", "b.", "c.")), "holds 3, under 'a.', 'b.', 'c.'"),
    # arrays that do not belong
    "cross-attention": (with_state(**{f"{H1}crossattention__c_attn__weight": torch.eye(2)}), "no place for"),
    "a second read-out": (with_state(_read_out2__weight=torch.eye(2)), "also holds _read_out2.weight"),
    "an adapter": (with_state(**{f"{H1}attn__lora_A": torch.eye(2)}), "also holds .*lora_A"),
    # shapes
    "read_in turned": (with_state(_read_in__weight=torch.ones(3, 8)), "must have shape|need"),
    "read_in flat": (with_state(_read_in__weight=torch.ones(24)), "need _read_in.weight .width, dimension."),
    "read_in empty": (with_state(_read_in__weight=torch.ones(8, 0)), "need _read_in.weight"),
    "read_in of three axes": (with_state(_read_in__weight=torch.ones(8, 3, 1)), "need _read_in.weight"),
    "odd positions": (with_state(_backbone__wpe__weight=torch.ones(7, 8)), r"\(2 x positions, width\).* \(7, 8\)"),
    "positions of another width": (with_state(_backbone__wpe__weight=torch.ones(8, 9)), r"must have shape \(8, 8\)"),
    "positions flat": (with_state(_backbone__wpe__weight=torch.ones(64)), "need _read_in.weight"),
    "a kernel turned": (
        with_state(**{f"{H1}mlp__c_fc__weight": torch.ones(32, 8)}), r"\(8, 32\), got \(32, 8\); kernels of GPT-2"
    ),
    "a kernel too narrow": (
        with_state(**{f"{H1}attn__c_attn__weight": torch.ones(8, 16)}), r"\(8, 24\), got \(8, 16\)"
    ),
    "a bias too long": (with_state(**{f"{H1}attn__c_proj__bias": torch.ones(9)}), r"\(8,\), got \(9,\)"),
    "a norm of two axes": (with_state(_backbone__ln_f__weight=torch.ones(1, 8)), r"\(8,\), got \(1, 8\)"),
    "two outputs": (with_state(_read_out__weight=torch.ones(2, 8)), r"\(1, 8\), got \(2, 8\)"),
    "a scalar": (with_state(_read_out__bias=torch.tensor(1.0)), r"\(1,\), got \(\)"),
    # numbers
    "NaN": (with_state(**nan_in("_read_in__bias")), "_read_in.bias in .* must be finite, got NaN .* in 1 of 8"),
    "infinity": (with_state(**nan_in(f"{H1}ln_1__weight", float("inf"))), "must be finite"),
    "beyond float32": (with_state(_read_in__bias=torch.full((8,), 1e300, dtype=torch.float64)), "must be finite"),
    "whole numbers": (with_state(_read_in__bias=torch.ones(8, dtype=torch.int64)), "floating point, got int64"),
    "complex numbers": (with_state(_read_in__bias=torch.ones(8, dtype=torch.complex64)), "complex64; convert"),
    "booleans": (with_state(_read_in__bias=torch.ones(8, dtype=torch.bool)), "floating point, got bool"),
    "a tensor that repeats one number": (with_state(_read_in__bias=torch.zeros(1).expand(8)), "storage of 1 numbers"),
    "a table of one number": (with_state(_backbone__wpe__weight=LARGE), "storage of 1 numbers"),
    # pickles that are more than tensors, or not what they seem
    "code": (with_state(_read_in__bias=Touches()), "would import .*system"),
    "code beside the model": (whole({"model_state_dict": published(), "hook": Touches()}), "would import .*system"),
    "a whole module": (whole(torch.nn.Linear(2, 2)), r"would import .*torch\.nn"),
    "a bare pickle": (lambda path: (path.write_bytes(pickle.dumps({})), None)[1], "is a bare pickle"),
    "protocol 4": (
        lambda path: torch.save(published(), path, pickle_protocol=4), "would import|opcode"
    ),
    "an offset behind the end": (forged(offset=1), "in a storage of 24 numbers"),
    "a step beyond the end": (forged(strides=(4, 1)), "in a storage of 24 numbers"),
    "a negative step": (forged(strides=(-3, 1)), r"strides \(-3, 1\)"),
    "a negative side": (forged(shape=(-8, -3)), "cannot be followed"),
    "a side that is no number": (forged(shape=("8", 3)), "cannot be followed"),
    "shape and strides of two lengths": (forged(strides=(1,)), "cannot be followed"),
    "a storage shorter than it says": (forged(count=1000, shape=(8, 125), strides=(125, 1)), "need _backbone.wpe"),
    "an endless count": (forged(count=2**62, shape=(2**31, 2**31), strides=(2**31, 1)), "need _backbone.wpe"),
    "an empty program": (program(b"."), "cannot be followed"),
    "a call of nothing": (program(b"\x80\x02ccollections\nOrderedDict\nR."), "cannot be followed"),
    "a dictionary of itself": (program(b"\x80\x02}q\x00U\x01xh\x00s."), "opcode SHORT_BINSTRING|holds"),
    "an unhashable name": (program(b"\x80\x02}]K\x01s."), "cannot be followed"),
    "an opcode of no state dict": (program(b"\x80\x02]K\x01a\x8f."), "cannot be followed|opcode"),
    "a memo that is not there": (program(b"\x80\x02h\x07."), "cannot be followed"),
    "a tensor without a storage": (
        program(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x00K\x00))tR."), "cannot be followed"
    ),
    "a program cut off": (program(b"\x80\x02}q\x00("), "no complete pickle"),
    "dictionaries in dictionaries without end": (whole(BOMB), "more than 100000 entries"),
    "another order of bytes": (big_endian, "order of bytes"),
    # damage, and other files
    **{
        f"cut at {share}": (cut(share), "is damaged|is empty|none of them|need")
        for share in (0.0, 0.001, 0.3, 0.9, 0.999)
    },
    "text": (lambda path: (path.write_text("import torch\n"), None)[1], "which is none of them"),
    "a single array": (lambda path: (path.write_bytes(b"\x93NUMPY\x01\x00"), None)[1], r"a single \.npy array"),
    "a zip of other things": (lambda path: zipfile.ZipFile(path, "w").writestr("a.txt", "hello"), "holds|damaged|need"),
    "a safetensors header of no JSON": (in_safetensors(b"{nothing"), "no valid JSON"),
    "a safetensors file too short": (
        in_safetensors({"_read_in.weight": {"dtype": "F32", "shape": [8, 3], "data_offsets": [0, 96]}}), "end at byte"
    ),
    "a safetensors shape that is none": (
        in_safetensors({"_read_in.weight": {"dtype": "F32", "shape": [-8, 3], "data_offsets": [0, 96]}}), "no natural"
    ),
}  # fmt: skip


def test_there_are_sixty_malformed_files() -> None:
    assert len(MALFORMED) >= 60


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_refused_in_one_sentence(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write, reason = MALFORMED[name]
    write(tmp_path / "file")
    with pytest.raises(WeightsFileError, match=reason) as refusal:
        read_decoder(tmp_path / "file", heads=2)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500
    assert not (tmp_path / "was-run").exists()


def doubled(depth: int) -> bytes:
    """Puts a tuple on the stack that holds the one before twice, `depth` times over: 2^depth leaves, 5 bytes each."""
    return b")" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(depth))


def stored(word: bytes, key: bytes, size: bytes = b"K\x01") -> bytes:
    return b"(" + word + b"ctorch\nFloatStorage\n" + key + text("cpu") + size + b"tQ"


def text(word: str) -> bytes:
    return b"X" + len(word).to_bytes(4, "little") + word.encode()


REBUILT = b"ctorch._utils\n_rebuild_tensor_v2\n("
WHOLE = stored(text("storage"), text("0"))
LONG_LIST = b"](" + b"K\x01" * 10_000 + b"e"
GROWING: dict[str, bytes] = {
    "the word of a storage": stored(doubled(20), text("0")),
    "the key of a storage": stored(text("storage"), doubled(20)),
    "the size of a storage": REBUILT + stored(text("storage"), text("0"), doubled(20)) + b"K\x00))tR",
    "an offset": REBUILT + WHOLE + doubled(20) + b"))tR",
    "a shape": REBUILT + WHOLE + b"K\x00" + doubled(20) + b")tR",
    "strides": REBUILT + WHOLE + b"K\x00)" + doubled(20) + b"tR",
    "a name": b"}" + doubled(20) + b"K\x01s",
    "names in an OrderedDict": b"ccollections\nOrderedDict\n]" + doubled(20) + b"K\x01\x86a\x85R",
    "a size that is copied": b"(" + LONG_LIST + b"\x85q\x00" + b"ctorch\nSize\nh\x00R" * 300 + b"t",
    "a long name around many": b"}" + text("a" * 10_000) + b"}(" + b"".join(
        b"K" + bytes([i]) + b"K\x01" for i in range(250)
    ) + b"us",
}  # fmt: skip


@pytest.mark.parametrize("place", GROWING)
def test_a_small_pickle_takes_little_memory_to_refuse(tmp_path: Path, place: str) -> None:
    """Printed, hashed with its copy, or repeated, each of these takes 2.5 MB or more; thirty doublings, gigabytes."""
    archive(tmp_path / "small.pt", b"\x80\x02" + GROWING[place] + b".")
    tracemalloc.start()
    try:
        with pytest.raises(WeightsFileError, match="cannot be followed") as refusal:
            read_decoder(tmp_path / "small.pt", heads=2)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert len(str(refusal.value)) < 500


def test_a_storage_that_is_shorter_than_it_says_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with zipfile.ZipFile(path) as good, zipfile.ZipFile(tmp_path / "short.pt", "w") as bad:
        for name in good.namelist():
            content = good.read(name)
            bad.writestr(name, content[:-4] if name.endswith("data/0") else content)
    with pytest.raises(WeightsFileError, match=r"_read_in.weight in .* is damaged \(24 numbers need 96 bytes"):
        read_decoder(tmp_path / "short.pt", heads=2)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsFileError, match="cannot be opened"):
        read_decoder(tmp_path / "absent.pt")
    with pytest.raises(WeightsFileError, match="is a directory"):
        read_decoder(tmp_path)


def test_a_model_larger_than_any_of_these_is_refused_by_its_shapes(tmp_path: Path) -> None:
    """Three layers of width 2048, 151 million numbers, announced in 4 kB of headers."""
    width = 2048
    sizes = {"_read_in.weight": (width, 1), "_read_in.bias": (width,), "_backbone.wpe.weight": (2, width)}
    for layer in range(3):
        sizes |= _block(layer, width)
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as file:
        for name, size in {**sizes, **_ends(width)}.items():
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": size})
            file.writestr(f"{name}.npy", header.getvalue())
    with pytest.raises(WeightsFileError, match=r"at most 134217728 numbers, .* has 151"):
        read_decoder(tmp_path / "m.npz", heads=1)


def _block(layer: int, width: int) -> dict[str, tuple[int, ...]]:
    block = f"_backbone.h.{layer}."
    kernels = {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width)}
    kernels |= {"mlp.c_fc": (width, 4 * width), "mlp.c_proj": (4 * width, width)}
    weights: dict[str, tuple[int, ...]] = {f"{block}{name}.weight": size for name, size in kernels.items()}
    biases = {f"{block}{name}.bias": size[1:] for name, size in kernels.items()}
    return {
        **weights,
        **biases,
        **{f"{block}{n}.{part}": (width,) for n in ("ln_1", "ln_2") for part in ("weight", "bias")},
    }


def _ends(width: int) -> dict[str, tuple[int, ...]]:
    return {
        "_backbone.ln_f.weight": (width,),
        "_backbone.ln_f.bias": (width,),
        "_read_out.weight": (1, width),
        "_read_out.bias": (1,),
    }


def test_reading_and_refusing_need_no_torch(tmp_path: Path) -> None:
    for name in FILES:
        saved(tmp_path, name)
    with_state(_read_in__bias=torch.ones(9))(tmp_path / "wrong.pt")
    code = f"""
import sys
from iclcheck.numerics.users_models.decoder_checkpoints import read_decoder
from iclcheck.numerics.users_models.weights_errors import WeightsFileError
for name in {list(FILES)!r}:
    read_decoder({str(tmp_path)!r} + "/" + name, heads=2)
try:
    read_decoder({str(tmp_path / "wrong.pt")!r}, heads=2)
except WeightsFileError as error:
    print(error)
print("torch" in sys.modules)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "must have shape (8,), got (9,)" in answer.stdout
    assert answer.stdout.splitlines()[-1] == "False"


def tensors_of(content: Any, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of nested dictionaries by their names joined with dots."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from tensors_of(value, f"{prefix}{name}.")
        elif isinstance(value, torch.Tensor):
            yield f"{prefix}{name}", value


def test_the_reader_sees_what_torch_sees(tmp_path: Path) -> None:
    """Every tensor of a training state, beside torch's own loader."""
    from iclcheck.numerics.users_models.stored_arrays import stored_arrays

    path = saved(tmp_path, "state.pt")
    expected = dict(tensors_of(torch.load(path, weights_only=True)))
    with stored_arrays(path) as found:
        assert {name: one.shape for name, one in found.items()} == {k: tuple(v.shape) for k, v in expected.items()}
        for name, one in found.items():
            if expected[name].is_floating_point():
                np.testing.assert_array_equal(one.read(), expected[name].double().numpy())


def test_a_checkpoint_is_what_it_says(tmp_path: Path) -> None:
    found = read_decoder(saved(tmp_path), heads=2)
    assert isinstance(found, DecoderCheckpoint)
    assert str(found) == "a decoder of 2 layers, width 8, 2 heads (as given), for 4 points in dimension 3"


def test_one_head_is_one_and_heads_that_do_not_divide_are_told_which_do(tmp_path: Path) -> None:
    path = saved(tmp_path)
    assert ", 1 head (as given)," in str(read_decoder(path, heads=1))
    with pytest.raises(WeightsFileError, match=r"got 3 \(as given\); give --heads with one of 1, 2, 4, 8"):
        read_decoder(path, heads=3)
