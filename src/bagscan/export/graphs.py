"""Export of each network of a model as an ONNX graph; the steps between networks are not exported.

The graphs are made by torch's tracing exporter: the newer exporter is slow for networks with
variable height and width, and does not support detectors. Batch normalisation is not folded into
convolutions, so that weights in 16 bits stay exact; runtimes fold it when they load a graph.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from bagscan.core.errors import ModelError
from bagscan.detector.exported import KIND
from bagscan.detector.model import Detector
from bagscan.detector.two_views import TwoViews
from bagscan.model import Model
from bagscan.model_folder import graphs_in, read_description, verified_id, write_files
from bagscan.runtime.graph_file import WEIGHTS

OPSET = 17  # roi_align with half-pixel corners needs 16
STORED_AS = {"F16": TensorProto.FLOAT16, "F32": TensorProto.FLOAT}
MIN_BYTES = 256  # smaller tensors stay in the graph, since a reference takes space too
BATCH, HEIGHT, WIDTH, REGIONS = "batch", "height", "width", "regions"


class _Maps(nn.Module):
    """Network from raw channels to feature maps, including preprocessing."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        maps: Tensor = self.model.of_maps.maps(self.model.normalise(pixels))
        return maps.permute(0, 2, 3, 1)


class _Score(nn.Module):
    """Network from region means to uncalibrated scores."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, means: Tensor) -> Tensor:
        scores: Tensor = self.model.scorer.score(means).float()
        return scores


class _Items(nn.Module):
    """Network from a view to its items.

    Boxes below the minimum score are dropped after non-maximum suppression instead of before. The
    result is the same, since only a higher score suppresses. OpenVINO skips nodes with empty
    inputs: without any box above the minimum, its outputs would be uninitialised memory.
    """

    def __init__(self, regioner: Any) -> None:
        super().__init__()
        self.detector, self.masks = regioner.detector, regioner.config.masks

    def forward(self, prepared: Tensor) -> tuple[Tensor, ...]:
        heads = self.detector.roi_heads
        min_score, heads.score_thresh = heads.score_thresh, -1.0
        try:
            items = self.detector([prepared])[0]
        finally:
            heads.score_thresh = min_score
        kept = torch.where(items["scores"] > min_score)[0]
        return tuple(items[key][kept] for key in _item_outputs(self.masks))


def _item_outputs(masks: bool) -> list[str]:
    return ["boxes", "labels", "scores", *["masks"] * masks]


def export_onnx(folder: str | Path) -> dict[str, int]:
    """Write the graphs of a model and their hashes into the model folder.

    The id of the folder changes, since it covers the graphs.

    Returns:
        Size of every graph in bytes, by name.

    Raises:
        ModelError: if the model is altered, or a component cannot be exported.
    """
    folder = Path(folder)
    verified_id(folder)
    if read_description(folder)["model"].get("kind") == KIND:
        graphs, has_half_weights = _trace_detector(Detector.load(folder)), True
    else:
        model = Model.load(folder)
        graphs = {name: _trace_network(name, model) for name in graphs_of(model)}
        has_half_weights = model.half_weights
    for graph in graphs.values():
        if has_half_weights:
            _store_in_16_bits(graph)
        onnx.checker.check_model(graph)
        _refer_to_weights(graph, folder / WEIGHTS)
    contents = {f"{name}.onnx": graph.SerializeToString() for name, graph in graphs.items()}
    write_files(folder, contents)
    return {path.name: path.stat().st_size for path in map(folder.joinpath, graphs_in(folder))}


def graphs_of(model: Model) -> list[str]:
    """Return the names of the graphs that a model is exported as.

    Raises:
        ModelError: if a component cannot be exported.
    """
    can_be_exported = {
        "regioner": model.regioner.graphs is not None,
        "encoder": model.encoder.is_exportable,
        "scorer": model.scorer.is_exportable,
    }
    for component, is_exportable in can_be_exported.items():
        if not is_exportable:
            name = getattr(model.config, component)["name"]
            raise ModelError(
                f"{component} {name!r} with these settings cannot be exported; "
                "the model runs only in torch"
            )
    return [*(model.regioner.graphs or ()), "maps", "score"]


class _DetectorMaps(nn.Module):
    """Network from the features of a view to the detector's maps."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.network = detector.network
        self.named = detector.numbers.of_items.stop

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        maps = self.network(features)
        outputs = (
            maps.categories[:, : self.named],
            maps.anomaly,
            maps.contact,
            maps.fine,
            maps.coarse,
        )
        return outputs if self.network.two_views is None else (*outputs, maps.merged)


class _BothViews(nn.Module):
    """Network from the maps of both views to their joint results."""

    def __init__(self, two_views: TwoViews) -> None:
        super().__init__()
        self.two_views = two_views

    def forward(
        self, merged: Tensor, anomaly: Tensor, there: Tensor, device: Tensor, of_view: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.two_views.together(merged, anomaly, there, device, of_view)


def _trace_detector(detector: Detector) -> dict[str, onnx.ModelProto]:
    """Trace ``maps`` and ``verdict``, and ``both_views`` if the detector has this network."""
    maps = _DetectorMaps(detector)
    features = torch.rand(1, detector.network.config.channels, 128, 192)
    with torch.no_grad():
        _, anomaly, _, fine, coarse, *merged = maps.eval()(features)
    cells = {2: "rows", 3: "columns"}
    inputs = {
        "anomaly": (anomaly, cells),
        "fine": (fine, cells),
        "coarse": (coarse, {2: "coarse_rows", 3: "coarse_columns"}),
    }
    device = torch.zeros(3, 1, *anomaly.shape[-2:])
    device[:, :, 2:9, 3:8] = 1
    names = ["categories", "anomaly", "contact", "fine", "coarse", *(["merged"] if merged else [])]
    graphs = {
        "maps": _trace(maps, {"features": (features, {0: BATCH, 2: HEIGHT, 3: WIDTH})}, names),
        "verdict": _trace(
            detector.network.verdict,
            inputs | {"device": (device, {0: "devices"} | cells)},
            ["logit"],
        ),
    }
    if detector.network.two_views is not None:
        maps_of_views = {"merged": merged[0], "anomaly": anomaly, "there": torch.ones_like(anomaly)}
        inputs = {
            name: (view_maps.repeat(2, 1, 1, 1), cells) for name, view_maps in maps_of_views.items()
        }
        inputs |= {
            "device": (device.repeat(1, 2, 1, 1), {0: "devices"} | cells),
            "of_view": (torch.zeros(len(device), 2), {0: "devices"}),
        }
        graphs["both_views"] = _trace(
            _BothViews(detector.network.two_views).eval(), inputs, ["changed", "logit"]
        )
    return graphs


def _trace_network(name: str, model: Model) -> onnx.ModelProto:
    """Trace a network of a model, given the name of its graph."""
    channels = len(model.config.input.channels)
    finder = model.regioner.finder or model.regioner
    if name == "maps":
        pixels = torch.rand(2, channels, 96, 130)
        return _trace(_Maps(model), {"pixels": (pixels, {0: BATCH, 2: HEIGHT, 3: WIDTH})}, ["maps"])
    if name == "score":
        means = torch.rand(5, model.encoder.dim)
        return _trace(_Score(model), {"means": (means, {0: REGIONS})}, ["scores"])
    if name == "items":
        prepared = torch.rand(channels, 96, 130)
        return _trace(
            _Items(finder),
            {"prepared": (prepared, {1: HEIGHT, 2: WIDTH})},
            _item_outputs(finder.config.masks),
        )
    return superpixel_graph(model.regioner.segmenter, channels)


def superpixel_graph(parts: Any, channels: int) -> onnx.ModelProto:
    """Trace the network of a superpixel regioner.

    Args:
        parts: superpixel regioner.
        channels: channels of its images.
    """
    image = {0: BATCH, 2: HEIGHT, 3: WIDTH}
    inputs = {"colour": (torch.rand(2, channels, 96, 130), image)}
    if parts.config.backbone:
        inputs |= {"values": (torch.rand(2, channels, 96, 130), image)}
        return _trace(parts.net, inputs, ["features"])
    return _trace(_OnColour(parts.net), inputs, ["features"])


class _OnColour(nn.Module):
    """Superpixel network that takes colour features only."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, colour: Tensor) -> Tensor:
        features: Tensor = self.net(colour, colour)
        return features


def _refer_to_weights(graph: onnx.ModelProto, weights: Path) -> None:
    """Replace tensors that the weights file contains byte for byte by references to it."""
    stored = weights.read_bytes()
    start = 8 + int.from_bytes(stored[:8], "little")  # of the data, see the safetensors format
    places = {}
    for name, entry in json.loads(stored[8:start]).items():
        if name != "__metadata__":
            first, last = (start + offset for offset in entry["data_offsets"])
            key = STORED_AS.get(entry["dtype"]), tuple(entry["shape"]), stored[first:last]
            places[key] = first, last - first
    for tensor in graph.graph.initializer:
        place = places.get((tensor.data_type, tuple(tensor.dims), tensor.raw_data))
        if place is None or len(tensor.raw_data) < MIN_BYTES:
            continue
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        reference = {"location": WEIGHTS, "offset": str(place[0]), "length": str(place[1])}
        for field, value in reference.items():
            tensor.external_data.add(key=field, value=value)


@torch.no_grad()
def _trace(
    module: nn.Module, inputs: dict[str, tuple[Tensor, dict[int, str]]], outputs: list[str]
) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory(prefix="bagscan-") as folder, warnings.catch_warnings():
        path = Path(folder) / "traced.onnx"
        # Tracing warns of constant shapes, but only the numbers of channels are constant.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(example for example, _ in inputs.values()),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes={name: axes for name, (_, axes) in inputs.items()},
            training=torch.onnx.TrainingMode.PRESERVE,
        )
        return onnx.load_from_string(path.read_bytes())


def _store_in_16_bits(graph: onnx.ModelProto) -> None:
    """Store weights in 16 bits if that is exact.

    This halves the file. The arithmetic stays in 32 bits, since runtimes cast the weights.
    """
    casts = []
    for initializer in graph.graph.initializer:
        if initializer.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(initializer)
        with np.errstate(over="ignore"):  # values too large for 16 bits fail the comparison below
            half = values.astype("float16")
        if values.size < 64 or not (half.astype("float32") == values).all():
            continue
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.graph.node.insert(0, cast)
