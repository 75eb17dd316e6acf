"""Whether an ONNX file keeps its weights to itself: a walk over its protobuf fields, without the onnx package.

A tensor may name another file as the place of its weights, which could be any file of the machine. Field numbers: onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator

from bagscan.core.errors import ModelError

# Message → field → message in it; TENSOR is where another file may be named.
FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14
DEEPEST = 100


def refuse_external_data(graph: bytes, name: str) -> None:
    """Raise for a graph that refers to other files.

    Raises:
        ModelError: it does, or is no ONNX file.
    """
    try:
        _walk(memoryview(graph), "model", name, 0)
    except (IndexError, ValueError, RecursionError) as error:
        raise ModelError(f"{name}: the runtime cannot load it: not an ONNX file") from error


def _walk(message: memoryview, kind: str, name: str, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError("too deep")
    for field, wire, content in _fields(message):
        if kind == "tensor" and field in (EXTERNAL_DATA, DATA_LOCATION):
            raise ModelError(f"{name}: refers to another file for its weights; bagscan export keeps them inside")
        inner = FIELDS[kind].get(field)
        if inner and wire == 2:
            _walk(content, inner, name, depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """(field number, wire type, content) of every field of a message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, wire = key >> 3, key & 7
        if wire == 0:
            _, end = _varint(message, at)
        elif wire == 2:
            size, at = _varint(message, at)
            end = at + size
        elif wire in (1, 5):
            end = at + (8 if wire == 1 else 4)
        else:
            raise ValueError(f"wire type {wire}")
        if end > len(message) or not field:
            raise ValueError("torn")
        yield field, wire, message[at:end]
        at = end


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("long number")
