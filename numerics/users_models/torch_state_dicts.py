r"""The tensors of a torch.save archive, listed and read one by one without torch.

The archive's pickle says which bytes of which member a tensor is. It is read here as data: a small machine knows the
opcodes that torch.save writes for dictionaries of tensors, and stand-ins for the few names that they import; it calls
nothing else and refuses every other opcode. So a checkpoint with a large table and the moments of an optimiser costs
only the arrays that are asked for, and a wrong one is refused before torch, which takes seconds, is imported.

Main statements
    stored_tensors   name -> shape, dtype and where the numbers are; nothing is read of what is not asked for
    no tensor has more entries than bytes stand behind it in the file
    an operand is shown, hashed or copied only once it is known to be a short name, a number, or a short sequence of
    numbers: a tuple that holds the one before twice, thirty times over, is a gigabyte in print
"""

import pickletools
import zipfile
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .damage import damage_reported
from .weights_errors import WeightsFileError

MOST_ENTRIES = 100_000
_MOST_NESTED = 8
_LONGEST_NAME = 256  # characters: what is nested in one repeats it
_MOST_AXES = 64  # of an array in NumPy
_STORAGES = {
    **{"Double": "<f8", "Float": "<f4", "Half": "<f2", "BFloat16": "bfloat16"},
    **{"Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1", "Bool": "?"},
    **{"ComplexFloat": "<c8", "ComplexDouble": "<c16"},
}


class Storage(NamedTuple):
    """A member data/`key` of the archive, with `size` numbers of `dtype`."""

    dtype: str
    key: str
    size: int


class StoredTensor(NamedTuple):
    """A view of a storage: where it begins, its shape, and the steps along each axis (all in numbers, not bytes)."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Imported(NamedTuple):
    """A name that the pickle imports, and that is only looked at."""

    name: str


def stored_tensors(archive: zipfile.ZipFile, path: Path) -> dict[str, StoredTensor]:
    """The tensors of an archive; those of nested dictionaries under "outer.inner".

    Raises WeightsFileError for an archive that is damaged, oversized, or more than tensors.
    """
    try:
        content = _Machine().run(archive.read(_program(archive)))
        entries = dict(islice(_entries(content, "", _MOST_NESTED), MOST_ENTRIES + 1))
        found = {name: value for name, value in entries.items() if isinstance(value, StoredTensor)}
        for tensor in found.values():
            _judge_tensor(tensor)
        _refuse_big_endian(archive)
    except WeightsFileError as error:
        raise WeightsFileError(f"{path} {error}; save model.state_dict() with torch.save") from error
    except Exception as error:  # a pickle that is none of torch's raises what its wrong operands raise
        raise WeightsFileError(
            f"need the pickle of a state_dict, that of {path} cannot be followed ({type(error).__name__}: {error}); "
            "save model.state_dict() again"
        ) from error
    if len(entries) > MOST_ENTRIES:
        raise WeightsFileError(f"{path} holds more than {MOST_ENTRIES} entries; save model.state_dict() alone")
    return found


def read_stored(archive: zipfile.ZipFile, tensor: StoredTensor, name: str, path: Path) -> NDArray[np.float64]:
    """One tensor in float64; WeightsFileError unless it is floating point and its member is whole."""
    storage = tensor.storage
    if storage.dtype not in ("<f8", "<f4", "<f2", "bfloat16"):
        raise WeightsFileError(
            f"{name} in {path} must be floating point, got {np.dtype(storage.dtype)}; convert it before saving"
        )
    with damage_reported(f"{name} in {path}"):
        member = archive.getinfo(_program(archive).removesuffix("data.pkl") + f"data/{storage.key}")
        needed = storage.size * (2 if storage.dtype == "bfloat16" else np.dtype(storage.dtype).itemsize)
        if member.file_size != needed:
            raise ValueError(f"{storage.size} numbers need {needed} bytes, there are {member.file_size}")
        numbers = _float64(archive.read(member), storage.dtype)
        steps = tuple(8 * step for step in tensor.strides)
        view = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, steps)
    return np.array(view)


def _float64(content: bytes, dtype: str) -> NDArray[np.float64]:
    if dtype == "bfloat16":  # the upper half of a float32
        return (np.frombuffer(content, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64)
    return np.frombuffer(content, dtype).astype(np.float64)


def _program(archive: zipfile.ZipFile) -> str:
    return next(name for name in archive.namelist() if name.endswith("/data.pkl"))


def _refuse_big_endian(archive: zipfile.ZipFile) -> None:
    name = _program(archive).removesuffix("data.pkl") + "byteorder"
    if name in archive.namelist() and archive.read(name) != b"little":
        raise WeightsFileError("has numbers in another order of bytes than this reader knows")


def _judge_tensor(tensor: StoredTensor) -> None:
    """Raise ValueError unless the view lies inside its storage and repeats none of it."""
    numbers = (tensor.storage.size, tensor.offset, *tensor.shape, *tensor.strides)
    if any(type(number) is not int or number < 0 for number in numbers) or len(tensor.shape) != len(tensor.strides):
        raise ValueError(f"a tensor of shape {tensor.shape} and strides {tensor.strides}")
    entries = 1
    for side in tensor.shape:
        entries *= side
    last = tensor.offset + sum((side - 1) * step for side, step in zip(tensor.shape, tensor.strides, strict=True))
    if entries > tensor.storage.size or (entries and last >= tensor.storage.size):
        raise ValueError(f"a tensor of shape {tensor.shape} in a storage of {tensor.storage.size} numbers")


def _entries(content: Any, prefix: str, levels: int) -> Iterator[tuple[str, Any]]:
    """All entries of nested dictionaries; those that hold no tensor too, so that their number can be bounded."""
    yield prefix or "tensor", content
    if isinstance(content, dict) and levels > 0:
        for name, value in content.items():
            yield from _entries(value, f"{prefix}.{name}" if prefix else str(name), levels - 1)


class _Machine:
    """What the opcodes of torch.save do to a stack and a memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        """The object that the program leaves on the stack."""
        for opcode, argument, _ in pickletools.genops(program):
            if opcode.name not in _OPCODES:
                raise WeightsFileError(f"has a pickle with the opcode {opcode.name}, which no state_dict needs")
            _OPCODES[opcode.name](self, argument)
        (left,) = self.stack
        return left

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        """The uppermost `count` objects, lowest first."""
        kept = len(self.stack) - count
        if kept < 0:
            raise ValueError("an empty stack")
        taken = self.stack[kept:]
        del self.stack[kept:]
        return taken

    def marked(self) -> list[Any]:
        """What was pushed since the last mark."""
        return self.pop(len(self.stack) - self.marks.pop())

    def call(self) -> None:
        function, arguments = self.pop(2)
        self.push(_STAND_INS[function.name](*arguments))

    def append(self, values: list[Any]) -> None:
        self.stack[-1].extend(values)

    def update(self, flat: list[Any]) -> None:
        self.stack[-1].update(zip(map(_name, flat[::2]), flat[1::2], strict=True))


def _name(key: Any) -> str | int:
    """The key of a dictionary; optimisers number their parameters."""
    if type(key) is int and key.bit_length() < 64:
        return key
    if type(key) is not str or len(key) > _LONGEST_NAME:
        raise ValueError(f"a name that is no string of at most {_LONGEST_NAME} characters")
    return key


def _numbers(sequence: Any) -> tuple[int, ...]:
    """A shape or strides."""
    if type(sequence) not in (tuple, list) or len(sequence) > _MOST_AXES:
        raise ValueError(f"a shape or strides that are no sequence of at most {_MOST_AXES} numbers")
    return tuple(map(_number, sequence))


def _number(value: Any) -> int:
    if type(value) is not int or value.bit_length() > 64:
        raise ValueError("a size, side, step or offset that is no whole number")
    return value


def _storage(identity: Any) -> Storage:
    word, kind, key, _, size = identity
    if type(word) is not str or word != "storage":
        raise ValueError("a persistent object that is no storage")
    if type(kind) is not Imported:
        raise ValueError("a storage without a type")
    return Storage(_STORAGES[kind.name.removeprefix("torch.").removesuffix("Storage")], str(_name(key)), _number(size))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    return StoredTensor(storage, _number(offset), _numbers(shape), _numbers(strides))


_STAND_INS: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": lambda: {},  # its items follow
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch.Size": _numbers,
    "torch.device": lambda *words: None,
}
_CONSTANTS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE")
_OPCODES: Mapping[str, Callable[[_Machine, Any], Any]] = {
    **dict.fromkeys(_CONSTANTS, lambda machine, argument: machine.push(argument)),
    **dict.fromkeys(("PROTO", "STOP"), lambda machine, argument: None),
    **dict.fromkeys(
        ("BINPUT", "LONG_BINPUT"), lambda machine, argument: machine.memo.update({argument: machine.stack[-1]})
    ),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda machine, argument: machine.push(machine.memo[argument])),
    "NONE": lambda machine, argument: machine.push(None),
    "NEWTRUE": lambda machine, argument: machine.push(True),
    "NEWFALSE": lambda machine, argument: machine.push(False),
    "EMPTY_DICT": lambda machine, argument: machine.push({}),
    "EMPTY_LIST": lambda machine, argument: machine.push([]),
    "EMPTY_TUPLE": lambda machine, argument: machine.push(()),
    "MARK": lambda machine, argument: machine.marks.append(len(machine.stack)),
    "TUPLE": lambda machine, argument: machine.push(tuple(machine.marked())),
    "TUPLE1": lambda machine, argument: machine.push(tuple(machine.pop(1))),
    "TUPLE2": lambda machine, argument: machine.push(tuple(machine.pop(2))),
    "TUPLE3": lambda machine, argument: machine.push(tuple(machine.pop(3))),
    "SETITEM": lambda machine, argument: machine.update(machine.pop(2)),
    "SETITEMS": lambda machine, argument: machine.update(machine.marked()),
    "APPEND": lambda machine, argument: machine.append(machine.pop(1)),
    "APPENDS": lambda machine, argument: machine.append(machine.marked()),
    "GLOBAL": lambda machine, argument: machine.push(Imported(argument.replace(" ", "."))),
    "BINPERSID": lambda machine, argument: machine.push(_storage(machine.pop(1)[0])),
    "REDUCE": lambda machine, argument: machine.call(),
    "BUILD": lambda machine, argument: machine.pop(1),  # attributes of a dictionary, such as its _metadata
}
