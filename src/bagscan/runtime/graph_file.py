"""Where an ONNX file has its weights: a walk over its protobuf fields, without the onnx package.

A tensor may name another file as the place of its weights. Those of a model folder name the folder's own, so that a model is stored once;
any other could be any file of the machine, and is refused. Field numbers: onnx.proto.
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
WEIGHTS = "weights.safetensors"
GRAPH, INITIALIZER, RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 7, 5, 9, 13, 14
BYTES = 2  # wire type of messages, strings and bytes
DEEPEST = 100


def refers_to_weights(graph: bytes) -> bool:
    """Whether a graph may name the model's own weights."""
    return WEIGHTS.encode() in graph


def with_weights(graph: bytes, weights: bytes, name: str) -> bytes:
    """A graph with the tensors that lie in the model's own weights.

    Raises:
        ModelError: a tensor lies beyond the end of the weights, or it is no ONNX file.
    """
    try:
        return b"".join(
            _field(
                *field[:2], _filled(field[2], weights) if field[:2] == (GRAPH, BYTES) else field[2]
            )
            for field in _fields(memoryview(graph))
        )
    except (IndexError, ValueError) as error:
        raise ModelError(f"{name}: the runtime cannot load it: {error}") from error


def _filled(graph: memoryview, weights: bytes) -> bytes:
    return b"".join(
        _field(
            *field[:2],
            _tensor(field[2], weights) if field[:2] == (INITIALIZER, BYTES) else field[2],
        )
        for field in _fields(graph)
    )


def _tensor(tensor: memoryview, weights: bytes) -> bytes | memoryview:
    """A tensor with its numbers, where they lie in the weights; any other as it is."""
    entries = [
        {field: bytes(text).decode() for field, _, text in _fields(content)}
        for field, _, content in _fields(tensor)
        if field == EXTERNAL_DATA
    ]
    place = {entry.get(1): entry.get(2, "") for entry in entries}
    if place.get("location") != WEIGHTS:
        return tensor
    start, size = int(place.get("offset", "0")), int(place.get("length", "-1"))
    if min(start, size) < 0 or start + size > len(weights):
        raise ValueError(f"a tensor is not within {WEIGHTS}")
    kept = [
        _field(*field)
        for field in _fields(tensor)
        if field[0] not in (EXTERNAL_DATA, DATA_LOCATION)
    ]
    return b"".join([*kept, _field(RAW_DATA, BYTES, memoryview(weights)[start : start + size])])


def _field(field: int, wire: int, content: bytes | memoryview) -> bytes:
    head = _as_varint(field << 3 | wire)
    return b"".join([head, _as_varint(len(content)) if wire == BYTES else b"", content])


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


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
        if kind == "tensor" and (
            field == EXTERNAL_DATA or (field == DATA_LOCATION and any(content))
        ):  # 0 is the file itself
            raise ModelError(
                f"{name}: refers to another file for its weights; bagscan export keeps them inside"
            )
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
