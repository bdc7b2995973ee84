r"""Checkpoints of GPT-2 style decoders for real-valued prompts, as the published code of Garg et al. writes them.

The state dict holds `_read_in.*` (torch's linear layer, R^d -> R^w), `_backbone.*` (GPT-2: learned positions `wpe`,
blocks `h.0` .. `h.(L-1)` whose kernels are (inputs, outputs), a last normalisation `ln_f`) and `_read_out.*`
[garg2022can]. Whatever stands in front of `_read_in` is a prefix: `model_state_dict.` in a state.pt, `module.` or
`_orig_mod.` where the model was wrapped.

Main statements
    dimension d, width w, layers L and positions come from the shapes, and every array is judged before one is read
    what GPT-2 keeps and a real-valued prompt never uses is not read: the token table `wte`, the masks `attn.bias`
    and `attn.masked_bias` of older versions
    the number of heads is in no array: it is given, or read from the config.yaml beside the file, or taken by the
    convention of the published sizes; which of the three is part of the answer
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .stored_arrays import StoredArray, stored_arrays
from .weights_errors import WeightsFileError
from .weights_files import finite

if TYPE_CHECKING:
    from ..decoders.decoder import Decoder

LARGEST_MODEL = 2**27  # numbers; GPT-2's smallest published model has 124 million
PUBLISHED_HEADS = {(3, 64): 2, (6, 128): 4, (12, 256): 8}  # by layers and width [garg2022can]
_FIRST = "_read_in.weight"
_UNUSED = re.compile(r"_backbone\.(wte\.weight|h\.\d+\.attn\.(bias|masked_bias))")
_LAYER = re.compile(r"_backbone\.h\.(\d{1,4})\.")
_HEADS_IN_CONFIG = re.compile(r"\bn_head\s*:\s*(\d{1,4})\b")
_FAMILY_IN_CONFIG = re.compile(r"\bfamily\s*:\s*['\"]?(\w+)")
LARGEST_CONFIG = 2**20  # bytes

Array = NDArray[np.float32]


class DecoderCheckpoint(NamedTuple):
    """A decoder read from a file.

    dimension d; positions: the largest number of examples; width; layers; heads, and heads_from: who says so
    weights: every array by its name in the decoder, float32
    """

    dimension: int
    positions: int
    width: int
    layers: int
    heads: int
    heads_from: str
    weights: dict[str, Array]

    def __str__(self) -> str:
        return (
            f"a decoder of {_counted(self.layers, 'layer')}, width {self.width}, {_counted(self.heads, 'head')} "
            f"({self.heads_from}), for {_counted(self.positions, 'point')} in dimension {self.dimension}"
        )

    def decoder(self) -> "Decoder":
        """The model itself, for evaluation."""
        import torch

        from ..decoders.decoder import Decoder, DecoderShape

        model = Decoder(DecoderShape(self.dimension, self.positions, self.width, self.layers, self.heads))
        model.load_state_dict({name: torch.from_numpy(array) for name, array in self.weights.items()})
        return model.eval()


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def read_decoder(path: str | Path, heads: int | None = None) -> DecoderCheckpoint:
    """The decoder in a torch, safetensors or npz file. `heads` goes before what a config.yaml or the convention says.

    Raises WeightsFileError where the file cannot be read, is of another architecture, or holds wrong shapes or
    numbers that are not finite.
    """
    path = Path(path)
    with stored_arrays(path) as stored:
        arrays = _of_decoder(stored, path)
        dimension, width, rows, layers = _sizes(arrays, path)
        needed = dict(_needed(dimension, width, rows, layers))
        _judge_names(arrays, needed, path)
        _judge_shapes(arrays, needed, path)
        count, source = _heads(heads, layers, width, path)
        weights = {name: _read(arrays[name], name, path) for name in needed}
    return DecoderCheckpoint(dimension, rows // 2, width, layers, count, source, weights)


def _of_decoder(stored: Mapping[str, StoredArray], path: Path) -> dict[str, StoredArray]:
    """The arrays of the one decoder in the file, under their names in it."""
    prefixes = sorted(name.removesuffix(_FIRST) for name in stored if name.endswith(_FIRST))
    if not prefixes:
        raise WeightsFileError(
            f"need the state dict of a decoder with _read_in, _backbone and _read_out, {path} holds {_some(stored)}; "
            "one layer with W_PV and W_KQ is judged by: iclcheck check fixed-point --model FILE"
        )
    if len(prefixes) > 1:
        raise WeightsFileError(
            f"need one decoder, {path} holds {len(prefixes)}, under {', '.join(map(repr, prefixes[:5]))}; "
            "save one model.state_dict() alone"
        )
    (prefix,) = prefixes
    own = {name.removeprefix(prefix): array for name, array in stored.items() if name.startswith(prefix)}
    # Without a prefix the moments of an optimiser beside it are no part of the model either.
    return {name: array for name, array in own.items() if name.startswith("_")}


def _sizes(arrays: Mapping[str, StoredArray], path: Path) -> tuple[int, int, int, int]:
    """d, w, the rows of the table of positions, and L."""
    read_in, positions = arrays[_FIRST].shape, _array(arrays, "_backbone.wpe.weight", path).shape
    if len(read_in) != 2 or len(positions) != 2 or 0 in read_in + positions or positions[0] % 2:
        raise WeightsFileError(
            f"need _read_in.weight (width, dimension) and _backbone.wpe.weight (2 x positions, width), {path} has "
            f"{read_in} and {positions}; save the state dict of the published code's model"
        )
    layers = {int(found[1]) for name in arrays if (found := _LAYER.match(name))}
    if layers != set(range(len(layers))) or not layers:
        raise WeightsFileError(
            f"need blocks _backbone.h.0, _backbone.h.1, ... without a gap, {path} has "
            f"{', '.join(map(str, sorted(layers)[:20])) or 'none'}; save the whole state dict"
        )
    return read_in[1], read_in[0], positions[0], len(layers)


def _needed(dimension: int, width: int, rows: int, layers: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every array of the decoder with its shape."""
    yield from _affine("_read_in", (width, dimension), width)
    yield "_backbone.wpe.weight", (rows, width)
    for layer in range(layers):
        block = f"_backbone.h.{layer}"
        yield from _affine(f"{block}.ln_1", (width,), width)
        yield from _affine(f"{block}.attn.c_attn", (width, 3 * width), 3 * width)
        yield from _affine(f"{block}.attn.c_proj", (width, width), width)
        yield from _affine(f"{block}.ln_2", (width,), width)
        yield from _affine(f"{block}.mlp.c_fc", (width, 4 * width), 4 * width)
        yield from _affine(f"{block}.mlp.c_proj", (4 * width, width), width)
    yield from _affine("_backbone.ln_f", (width,), width)
    yield from _affine("_read_out", (1, width), 1)


def _affine(name: str, shape: tuple[int, ...], outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", (outputs,)


def _judge_names(arrays: Mapping[str, StoredArray], needed: Mapping[str, object], path: Path) -> None:
    for name in needed:
        _array(arrays, name, path)
    foreign = [name for name in arrays if name not in needed and not _UNUSED.fullmatch(name)]
    if foreign:
        raise WeightsFileError(
            f"need a plain GPT-2 decoder, {path} also holds {', '.join(foreign[:5])}, which it has no place for; "
            "wrap a model of another architecture in a function and give --model file.py:function"
        )


def _judge_shapes(arrays: Mapping[str, StoredArray], needed: Mapping[str, tuple[int, ...]], path: Path) -> None:
    for name, shape in needed.items():
        if arrays[name].shape != shape:
            turned = "; kernels of GPT-2 are (inputs, outputs)" if arrays[name].shape == shape[::-1] else ""
            raise WeightsFileError(f"{name} in {path} must have shape {shape}, got {arrays[name].shape}{turned}")
    count = sum(int(np.prod(shape, dtype=object)) for shape in needed.values())
    if count > LARGEST_MODEL:
        raise WeightsFileError(f"need a decoder of at most {LARGEST_MODEL} numbers, {path} has {count}")


def _array(arrays: Mapping[str, StoredArray], name: str, path: Path) -> StoredArray:
    if name not in arrays:
        raise WeightsFileError(f"need {name} in {path}, which holds {_some(arrays)}; save the whole state dict")
    return arrays[name]


def _read(stored: StoredArray, name: str, path: Path) -> Array:
    """One array in float32, in which the published code computes."""
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        return finite(stored.read().astype(np.float32), name, path)


def _some(names: Mapping[str, object]) -> str:
    """The first names in a file."""
    return ", ".join(list(names)[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "no arrays"


def _heads(given: int | None, layers: int, width: int, path: Path) -> tuple[int, str]:
    """The number of heads, and where it is from."""
    if given is not None:
        count, source = given, "as given"
    elif (read := _heads_in_config(path.parent / "config.yaml")) is not None:
        count, source = read, "config.yaml beside the file"
    elif (layers, width) in PUBLISHED_HEADS:
        count, source = PUBLISHED_HEADS[layers, width], "by the convention of the published sizes"
    else:
        raise WeightsFileError(
            f"no array of a state dict tells the number of heads, and {layers} layers of width {width} are no "
            f"published size; put the config.yaml of the training beside {path}, or give --heads"
        )
    if count < 1 or width % count:
        divisors = [str(one) for one in range(1, width + 1) if width % one == 0]
        raise WeightsFileError(
            f"need heads that divide the width {width} of {path}, got {count} ({source}); give --heads with one of "
            + ", ".join(divisors[:12])
        )
    return count, source


def _heads_in_config(path: Path) -> int | None:
    """`n_head` of the section `model` of a config.yaml; None where there is no such file.

    Only that number is read: what is not YAML at all is no concern, and a section without it, or of another family
    than gpt2, is refused.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_CONFIG).decode("utf-8", "replace")
    except OSError:
        return None
    section = _section(text, "model")
    family, heads = _FAMILY_IN_CONFIG.findall(section), _HEADS_IN_CONFIG.findall(section)
    if family not in ([], ["gpt2"]):
        raise WeightsFileError(f"need a model of the family gpt2, {path} says {family[0]}; wrap it in a function")
    if len(heads) != 1:
        raise WeightsFileError(f"need one n_head under model in {path}, found {len(heads)}; give --heads")
    return int(heads[0])


def _section(text: str, name: str) -> str:
    """The lines of a top-level YAML key: its own, and the indented ones after it, without comments."""
    lines = [line.partition("#")[0] for line in text.splitlines()]
    begins = next((i for i, line in enumerate(lines) if re.match(rf"{name}\s*:", line)), None)
    if begins is None:
        return ""
    ends = next((i for i in range(begins + 1, len(lines)) if re.match(r"[^\s}]", lines[i])), len(lines))
    return "\n".join(lines[begins:ends])
