"""PyTorch's files without PyTorch, and without running anything that they ask for.

A file is a pickle, which is a program, followed by the numbers. This reads the program's
instructions and knows the few that a dictionary of tensors is written with: names of classes stay
words, the two calls that occur are not made but recognised, all else is refused.
"""

import pickletools
from collections.abc import Callable, Mapping
from io import BytesIO
from math import prod
from typing import Any, NamedTuple

import numpy as np

from plates.errors import BadModel

MAGIC = 0x1950A86A20F9469CFC6C  # torch/serialization.py, files before version 1.6
PROTOCOL = 1001
TYPES = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch IntStorage": np.dtype("<i4"),
    "torch LongStorage": np.dtype("<i8"),
}
DICTIONARY, TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"


class Global(NamedTuple):
    """The name of a class or function, which is never looked up."""

    name: str


class Storage(NamedTuple):
    """A run of numbers further down in the file."""

    dtype: np.dtype
    key: str
    count: int


class Tensor(NamedTuple):
    """Which of a storage's numbers are an array; steps count numbers."""

    storage: Storage
    start: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]


Numbers = Mapping[str, np.ndarray]


def read_tensors(blob: bytes) -> dict[str, np.ndarray]:
    """Read the tensors of a state dictionary that `torch.save` wrote before version 1.6.

    Args:
        blob: The whole file.

    Returns:
        Arrays by name, in the order of the file.

    Raises:
        BadModel: It is no such file, is cut short, or asks for more than tensors.
    """
    try:
        return _tensors(BytesIO(blob))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise BadModel(
            f"Not a PyTorch file of plain tensors as versions before 1.6 wrote them ({error}). "
            "Take the file from where it was published; nothing in it was run."
        ) from None


def _tensors(file: BytesIO) -> dict[str, np.ndarray]:
    magic, protocol = _value(file), _value(file)
    _value(file)  # sizes of C's types where it was written
    if (magic, protocol) != (MAGIC, PROTOCOL):
        raise ValueError("it does not begin as one")
    named, keys = _value(file), _value(file)
    storages = {each.storage.key: each.storage for each in named.values()}
    numbers = {key: _numbers(file, storages[key]) for key in keys}
    if file.read(1):
        raise ValueError("there is more behind its last number")
    return {name: _array(each, numbers) for name, each in named.items()}


def _numbers(file: BytesIO, storage: Storage) -> np.ndarray:
    count = int.from_bytes(file.read(8), "little")
    if count != storage.count:
        raise ValueError(f"storage {storage.key} is announced with {storage.count} numbers")
    return np.frombuffer(file.read(count * storage.dtype.itemsize), storage.dtype, count)


def _array(tensor: Tensor, numbers: Numbers) -> np.ndarray:
    """Copy a tensor; the index of its last number says whether it stays within its storage."""
    storage, start, shape, steps = tensor
    held = numbers[storage.key]  # what is there, not what this tensor says of it
    last = start + sum((side - 1) * step for side, step in zip(shape, steps, strict=True))
    is_inside = last < len(held) and prod(shape) <= len(held)
    if min((start, *shape, *steps)) < 0 or (prod(shape) and not is_inside):
        raise ValueError(f"a tensor reaches beyond its storage {storage.key}")
    in_bytes = tuple(step * held.itemsize for step in steps)
    return np.lib.stride_tricks.as_strided(held[start:], shape, in_bytes, writeable=False).copy()


def _value(file: BytesIO) -> Any:
    """Follow one pickle's instructions to the value that it leaves."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in KEEPS:
            memo[argument] = stack[-1]
        elif name in RECALLS:
            stack.append(memo[argument])
        elif name in CONSTANTS:
            stack.append(argument)
        elif name in MAKES:
            stack.append(MAKES[name]())
        elif name in CHANGES:
            CHANGES[name](stack)
        elif name == "GLOBAL":
            stack.append(Global(str(argument)))
        elif name not in IGNORED:
            raise ValueError(f"the instruction {name} has no place in it")
    return stack[-1]


KEEPS, RECALLS = {"BINPUT", "LONG_BINPUT"}, {"BINGET", "LONG_BINGET"}
CONSTANTS = {"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"}
IGNORED = {"PROTO", "STOP"}
MARK = object()
MAKES: dict[str, Callable[[], Any]] = {
    "MARK": lambda: MARK,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
}


def _since_mark(stack: list) -> list:
    at = max(i for i, value in enumerate(stack) if value is MARK)
    taken = stack[at + 1 :]
    del stack[at:]
    return taken


def _pair(stack: list) -> None:
    value, key = stack.pop(), stack.pop()
    stack[-1][key] = value


def _pairs(stack: list) -> None:
    values = iter(_since_mark(stack))
    stack[-1].update(zip(values, values, strict=True))


def _one(stack: list) -> None:
    value = stack.pop()
    stack[-1].append(value)


def _several(stack: list) -> None:
    values = _since_mark(stack)
    stack[-1].extend(values)


def _tuple(count: int) -> Callable[[list], None]:
    def gather(stack: list) -> None:
        stack[-count:] = [tuple(stack[-count:])]

    return gather


def _call(stack: list) -> None:
    """Recognise a call of one of two functions; neither is made."""
    arguments, function = stack.pop(), stack.pop()
    if function == Global(DICTIONARY) and arguments == ():
        stack.append({})
    elif function == Global(TENSOR):
        storage, start, shape, steps, *_ = arguments
        if not isinstance(storage, Storage):
            raise ValueError("a tensor without a storage")
        stack.append(Tensor(storage, start, shape, steps))
    else:
        raise ValueError(f"it wants to call {getattr(function, 'name', function)!r}")


def _storage(stack: list) -> None:
    word, kind, key, _, count, view = stack.pop()
    if word != "storage" or view is not None:
        raise ValueError("a storage of an unknown kind")
    stack.append(Storage(TYPES[kind.name], key, count))


def _attributes(stack: list) -> None:
    """Leave out what is set on the dictionary itself: versions of layers, for PyTorch alone."""
    stack.pop()


CHANGES: dict[str, Callable[[list], None]] = {
    "TUPLE": lambda stack: stack.append(tuple(_since_mark(stack))),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "SETITEM": _pair,
    "SETITEMS": _pairs,
    "APPEND": _one,
    "APPENDS": _several,
    "REDUCE": _call,
    "BINPERSID": _storage,
    "BUILD": _attributes,
}
