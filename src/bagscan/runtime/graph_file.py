"""External weights of ONNX files, found in the protobuf fields without the onnx package.

A tensor of an ONNX file can refer to another file for its weights. Graphs of a model folder refer
to the folder's own weights, so that these are stored once. Any other reference is refused, since it
could name any file of the machine. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator

from bagscan.core.errors import ModelError

# For each message: number of a field, and the message that it holds. Only tensors name files.
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
DEEPEST = 100  # levels of nested messages


def refers_to_weights(graph: bytes) -> bool:
    """Return True if a graph contains the name of the model's weights file."""
    return WEIGHTS.encode() in graph


def with_weights(graph: bytes, weights: bytes, name: str) -> bytes:
    """Return a graph with the tensors that refer to the model's weights embedded.

    Args:
        graph: content of an ONNX file.
        weights: content of the model's weights file.
        name: name of the graph in errors.

    Raises:
        ModelError: if a tensor lies outside the weights, or the graph is not an ONNX file.
    """
    try:
        return b"".join(
            _encode_field(
                field,
                wire,
                _embed_weights(content, weights) if (field, wire) == (GRAPH, BYTES) else content,
            )
            for field, wire, content in _fields(memoryview(graph))
        )
    except (IndexError, ValueError) as error:
        raise ModelError(f"{name}: the runtime cannot load it: {error}") from error


def _embed_weights(graph: memoryview, weights: bytes) -> bytes:
    return b"".join(
        _encode_field(
            field,
            wire,
            _embed_tensor(content, weights) if (field, wire) == (INITIALIZER, BYTES) else content,
        )
        for field, wire, content in _fields(graph)
    )


def _embed_tensor(tensor: memoryview, weights: bytes) -> bytes | memoryview:
    """Embed the data of a tensor if it refers to the weights, else return it unchanged."""
    entries = [
        {field: bytes(text).decode() for field, _, text in _fields(content)}
        for field, _, content in _fields(tensor)
        if field == EXTERNAL_DATA
    ]
    reference = {entry.get(1): entry.get(2, "") for entry in entries}
    if reference.get("location") != WEIGHTS:
        return tensor
    start, size = int(reference.get("offset", "0")), int(reference.get("length", "-1"))
    if min(start, size) < 0 or start + size > len(weights):
        raise ValueError(f"a tensor lies outside {WEIGHTS}")
    kept = [
        _encode_field(*field)
        for field in _fields(tensor)
        if field[0] not in (EXTERNAL_DATA, DATA_LOCATION)
    ]
    data = memoryview(weights)[start : start + size]
    return b"".join([*kept, _encode_field(RAW_DATA, BYTES, data)])


def _encode_field(field: int, wire: int, content: bytes | memoryview) -> bytes:
    head = _encode_varint(field << 3 | wire)
    return b"".join([head, _encode_varint(len(content)) if wire == BYTES else b"", content])


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def refuse_external_data(graph: bytes, name: str) -> None:
    """Check that a graph does not refer to other files.

    Args:
        graph: content of an ONNX file.
        name: name of the graph in errors.

    Raises:
        ModelError: if it refers to another file, or is not an ONNX file.
    """
    try:
        _check_message(memoryview(graph), "model", name, 0)
    except (IndexError, ValueError, RecursionError) as error:
        raise ModelError(f"{name}: the runtime cannot load it: not an ONNX file") from error


def _check_message(message: memoryview, kind: str, name: str, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError("messages are nested too deeply")
    for field, wire, content in _fields(message):
        if kind == "tensor" and (
            field == EXTERNAL_DATA or (field == DATA_LOCATION and any(content))
        ):
            raise ModelError(
                f"{name}: a tensor refers to another file than {WEIGHTS}; "
                "export the model again with bagscan export onnx"
            )
        inner_kind = FIELDS[kind].get(field)
        if inner_kind and wire == 2:
            _check_message(content, inner_kind, name, depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield field number, wire type and content of every field of a message."""
    at = 0
    while at < len(message):
        key, at = _decode_varint(message, at)
        field, wire = key >> 3, key & 7
        if wire == 0:
            _, end = _decode_varint(message, at)
        elif wire == 2:
            size, at = _decode_varint(message, at)
            end = at + size
        elif wire in (1, 5):
            end = at + (8 if wire == 1 else 4)
        else:
            raise ValueError(f"unknown wire type {wire}")
        if end > len(message) or not field:
            raise ValueError("a field is truncated")
        yield field, wire, message[at:end]
        at = end


def _decode_varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the integer at a position, and the position after it."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("an integer is too long")
