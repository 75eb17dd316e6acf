"""Weights are stored once: a graph that refers to the folder's weights equals one with its own."""

import json
import struct

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bagscan.core.errors import ModelError
from bagscan.runtime.graph_file import WEIGHTS, refers_to_weights, with_weights

OWN = np.arange(12, dtype=np.float16).reshape(3, 4)
KEPT = np.ones(2, np.float32)


def graph(location=WEIGHTS, offset=4, length=None):
    """A graph of two tensors, one of which is stored in another file."""
    elsewhere, inside = numpy_helper.from_array(OWN, "own"), numpy_helper.from_array(KEPT, "kept")
    elsewhere.ClearField("raw_data")
    elsewhere.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", location),
        ("offset", str(offset)),
        ("length", str(OWN.nbytes if length is None else length)),
    ):
        elsewhere.external_data.add(key=key, value=value)
    node = helper.make_node("Identity", ["own"], ["out"])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT16, [3, 4])
    return helper.make_model(helper.make_graph([node], "named", [], [out], [elsewhere, inside]))


def test_tensors_come_from_the_weights_and_all_else_stays():
    made = graph()
    assert refers_to_weights(made.SerializeToString())
    again = onnx.load_from_string(
        with_weights(made.SerializeToString(), b"abcd" + OWN.tobytes() + b"rest", "maps")
    )
    own, kept = again.graph.initializer
    assert np.array_equal(numpy_helper.to_array(own), OWN)
    assert np.array_equal(numpy_helper.to_array(kept), KEPT)
    assert (own.name, own.data_location) == ("own", TensorProto.DEFAULT)
    assert (again.graph.node, again.graph.output, again.opset_import) == (
        made.graph.node,
        made.graph.output,
        made.opset_import,
    )
    onnx.checker.check_model(again)


def test_other_files_are_left_as_they_are_to_be_refused():
    elsewhere = graph(location="/etc/hostname").SerializeToString()
    assert onnx.load_from_string(with_weights(elsewhere, b"", "maps")) == onnx.load_from_string(
        elsewhere
    )


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 10**6), (10**6, 24), (-4, 24), (0, -1), (0, "many")]
)
def test_places_beyond_the_weights_are_refused(offset, length):
    with pytest.raises(ModelError):
        with_weights(graph(offset=offset, length=length).SerializeToString(), bytes(64), "maps")


def test_what_is_no_graph_is_refused():
    with pytest.raises(ModelError):
        with_weights(b"\xff" * 40, b"", "maps")


def test_an_exported_detector_names_the_places_of_its_weights():
    from bagscan.model_folder import SHIPPED

    stored = (SHIPPED / "raw" / WEIGHTS).read_bytes()
    start = 8 + struct.unpack("<Q", stored[:8])[0]
    ends = {
        start + result["data_offsets"][1]
        for name, result in json.loads(stored[8:start]).items()
        if name != "__metadata__"
    }
    shipped = onnx.load(SHIPPED / "raw" / "maps.onnx", load_external_data=False)
    places = [
        {entry.key: entry.value for entry in tensor.external_data}
        for tensor in shipped.graph.initializer
        if tensor.external_data
    ]
    assert len(places) > 50
    assert {place["location"] for place in places} == {WEIGHTS}
    assert all(int(place["offset"]) + int(place["length"]) in ends for place in places)
