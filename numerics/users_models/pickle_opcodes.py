r"""Judging a pickle by its opcodes, without running it.

A pickle is a program; it can do harm only through the objects that it imports by name (its globals)
and then calls.

Main statements
    refuse_foreign_globals   passes only pickles that import nothing outside a fixed list: what
                             torch.save needs for tensors, parameters and dictionaries
Limits
    It is the first of two guards; the second is torch's own weights_only loader.
"""

import pickletools
from collections.abc import Iterator

from .weights_errors import WeightsFileError

_STORAGES = "Float Double Half BFloat16 Long Int Short Char Byte Bool ComplexFloat ComplexDouble"
ALLOWED_GLOBALS = frozenset(
    {
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.Size",
        "torch.device",
        *(f"torch.{kind}Storage" for kind in _STORAGES.split()),
        *(f"torch.{dtype}" for dtype in ("float64", "float32", "float16", "bfloat16")),
    }
)
_OTHER_IMPORTING_OPCODES = frozenset({"STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"})
_TEXT_OPCODES = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"})


def refuse_foreign_globals(program: bytes, source: str) -> None:
    """Raise WeightsFileError unless the first pickle in `program` imports allowed globals only.

    `source` is the name under which the message speaks of the pickle.
    """
    foreign = sorted(set(_globals(program, source)) - ALLOWED_GLOBALS)
    if foreign:
        raise WeightsFileError(
            f"{source} would import {', '.join(foreign)} when it is loaded, and only tensors are read; "
            "save model.state_dict(), in torch.save's own default protocol, or a .safetensors file"
        )


def _globals(program: bytes, source: str) -> Iterator[str]:
    texts = ["unknown", "unknown"]
    try:
        for opcode, argument, _ in pickletools.genops(program):
            if opcode.name in _TEXT_OPCODES:
                texts = [texts[-1], str(argument)]
            elif opcode.name == "GLOBAL":
                yield str(argument).replace(" ", ".")
            elif opcode.name in _OTHER_IMPORTING_OPCODES:
                # Such names can be put together at run time: shown as far as they can be read, never allowed.
                yield f"{'.'.join(texts) if argument is None else argument} (by {opcode.name})"
    except Exception as error:  # damaged bytes raise many kinds of error in pickletools
        raise WeightsFileError(f"{source} is no complete pickle ({error}); copy or save the file again") from error
