"""From a trained model to ONNX graphs, one a network; what lies between them is the kernel that all runtimes share.

Graphs leave by torch's tracing exporter: the newer one took minutes for a network whose height and width are free, and cannot
take detectors. Batch normalisation stays as it is, so that weights which are stored in 16 bits stay such; runtimes fold it.
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
MIN_BYTES = 256  # of a tensor that is stored once: its place takes some itself
BATCH, HEIGHT, WIDTH, REGIONS = "batch", "height", "width", "regions"


class _Maps(nn.Module):
    """Raw channels to feature maps, preprocessing inside."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        maps: Tensor = self.model.of_maps.maps(self.model.normalise(pixels))
        return maps.permute(0, 2, 3, 1)


class _Score(nn.Module):
    """Means of regions to scores, not yet calibrated."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, means: Tensor) -> Tensor:
        scores: Tensor = self.model.scorer.score(means).float()
        return scores


class _Items(nn.Module):
    """Items of a view.

    Boxes below the least score are dropped at the end and not before boxes suppress one another,
    which changes nothing, as only a higher score suppresses. OpenVINO passes over nodes whose input
    is empty, and where no box is sure enough its outputs would hold old memory.
    """

    def __init__(self, regioner: Any) -> None:
        super().__init__()
        self.detector, self.masks = regioner.detector, regioner.config.masks

    def forward(self, prepared: Tensor) -> tuple[Tensor, ...]:
        heads = self.detector.roi_heads
        least, heads.score_thresh = heads.score_thresh, -1.0
        try:
            found = self.detector([prepared])[0]
        finally:
            heads.score_thresh = least
        sure = torch.where(found["scores"] > least)[0]
        return tuple(found[key][sure] for key in _item_outputs(self.masks))


def _item_outputs(masks: bool) -> list[str]:
    return ["boxes", "labels", "scores", *["masks"] * masks]


def export_onnx(folder: str | Path) -> dict[str, int]:
    """Write the graphs of a model folder into it, and their hashes into its manifest. Its id changes: it pins all that runs.

    Returns:
        Bytes of every file.

    Raises:
        ModelError: altered, or made of parts that are not exported.
    """
    folder = Path(folder)
    verified_id(folder)
    if read_description(folder)["model"].get("kind") == KIND:
        graphs, in_half = _detector_graphs(Detector.load(folder)), True
    else:
        model = Model.load(folder)
        graphs, in_half = (
            {name: _graph(name, model) for name in graphs_of(model)},
            model.half_weights,
        )
    for graph in graphs.values():
        if in_half:
            _halve(graph)
        onnx.checker.check_model(graph)
        _refer(graph, folder / WEIGHTS)
    write_files(
        folder, {f"{name}.onnx": graph.SerializeToString() for name, graph in graphs.items()}
    )
    return {path.name: path.stat().st_size for path in map(folder.joinpath, graphs_in(folder))}


def graphs_of(model: Model) -> list[str]:
    """Names of the graphs that a model is exported as, as its parts have it.

    Raises:
        ModelError: a part is not exported.
    """
    parts = {
        "regioner": model.regioner.graphs is not None,
        "encoder": model.encoder.is_exported,
        "scorer": model.scorer.is_exported,
    }
    for part, is_exported in parts.items():
        if not is_exported:
            raise ModelError(
                f"{part} {getattr(model.config, part)['name']!r} is not exported as it is set: the model runs on torch"
            )
    return [*(model.regioner.graphs or ()), "maps", "score"]


class _DetectorMaps(nn.Module):
    """Features of a view to what the kernel needs of the maps."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.network, self.named = detector.network, detector.kinds + detector.devices

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        maps = self.network(features)
        found = maps.categories[:, : self.named], maps.anomaly, maps.contact, maps.fine, maps.coarse
        return found if self.network.two_views is None else (*found, maps.merged)


class _BothViews(nn.Module):
    """Maps of both views of a bag to what they show together."""

    def __init__(self, two_views: TwoViews) -> None:
        super().__init__()
        self.two_views = two_views

    def forward(
        self, merged: Tensor, anomaly: Tensor, there: Tensor, device: Tensor, of_view: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.two_views.together(merged, anomaly, there, device, of_view)


def _detector_graphs(detector: Detector) -> dict[str, onnx.ModelProto]:
    """``maps`` and ``verdict`` of a detector, traced, and ``both_views`` where it looks at them together."""
    maps = _DetectorMaps(detector)
    features = torch.rand(1, detector.network.config.channels, 128, 192)
    with torch.no_grad():
        _, anomaly, _, fine, coarse, *merged = maps.eval()(features)
    cells = {2: "rows", 3: "columns"}
    given = {
        "anomaly": (anomaly, cells),
        "fine": (fine, cells),
        "coarse": (coarse, {2: "coarse_rows", 3: "coarse_columns"}),
    }
    device = torch.zeros(3, 1, *anomaly.shape[-2:])
    device[:, :, 2:9, 3:8] = 1
    names = ["categories", "anomaly", "contact", "fine", "coarse", *(["merged"] if merged else [])]
    graphs = {
        "maps": _traced(maps, {"features": (features, {0: BATCH, 2: HEIGHT, 3: WIDTH})}, names),
        "verdict": _traced(
            detector.network.verdict,
            given | {"device": (device, {0: "devices"} | cells)},
            ["logit"],
        ),
    }
    if detector.network.two_views is not None:
        both = {"merged": merged[0], "anomaly": anomaly, "there": torch.ones_like(anomaly)}
        inputs = {name: (each.repeat(2, 1, 1, 1), cells) for name, each in both.items()}
        inputs |= {
            "device": (device.repeat(1, 2, 1, 1), {0: "devices"} | cells),
            "of_view": (torch.zeros(len(device), 2), {0: "devices"}),
        }
        graphs["both_views"] = _traced(
            _BothViews(detector.network.two_views).eval(), inputs, ["changed", "logit"]
        )
    return graphs


def _graph(name: str, model: Model) -> onnx.ModelProto:
    """One network of a model, traced."""
    channels = len(model.config.input.channels)
    items = model.regioner.finder or model.regioner
    parts = model.regioner.cutter
    image = {0: BATCH, 2: HEIGHT, 3: WIDTH}
    if name == "maps":
        return _traced(
            _Maps(model), {"pixels": (torch.rand(2, channels, 96, 130), image)}, ["maps"]
        )
    if name == "score":
        return _traced(
            _Score(model), {"means": (torch.rand(5, model.encoder.dim), {0: REGIONS})}, ["scores"]
        )
    if name == "items":
        return _traced(
            _Items(items),
            {"prepared": (torch.rand(channels, 96, 130), {1: HEIGHT, 2: WIDTH})},
            _item_outputs(items.config.masks),
        )
    return superpixel_graph(parts, channels)


def superpixel_graph(parts: Any, channels: int) -> onnx.ModelProto:
    """The network of a superpixel regioner, traced."""
    image = {0: BATCH, 2: HEIGHT, 3: WIDTH}
    inputs = {"colour": (torch.rand(2, channels, 96, 130), image)}
    if parts.config.backbone:
        return _traced(
            parts.net, inputs | {"values": (torch.rand(2, channels, 96, 130), image)}, ["features"]
        )
    return _traced(_OfColour(parts.net), inputs, ["features"])


class _OfColour(nn.Module):
    """The superpixel network that needs no pixels beside colour features."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, colour: Tensor) -> Tensor:
        features: Tensor = self.net(colour, colour)
        return features


def _refer(graph: onnx.ModelProto, weights: Path) -> None:
    """Leave out tensors that lie in the model's own weights to the byte, and name their places there: a model is stored once."""
    stored = weights.read_bytes()
    start = 8 + int.from_bytes(stored[:8], "little")  # of the numbers, see the safetensors format
    places = {}
    for name, result in json.loads(stored[8:start]).items():
        if name != "__metadata__":
            first, last = (start + offset for offset in result["data_offsets"])
            places[STORED_AS.get(result["dtype"]), tuple(result["shape"]), stored[first:last]] = (
                first,
                last - first,
            )
    for tensor in graph.graph.initializer:
        place = (
            places.get((tensor.data_type, tuple(tensor.dims), tensor.raw_data))
            if len(tensor.raw_data) >= MIN_BYTES
            else None
        )
        if place is None:
            continue
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", WEIGHTS),
            ("offset", str(place[0])),
            ("length", str(place[1])),
        ):
            tensor.external_data.add(key=key, value=value)


@torch.no_grad()
def _traced(
    module: nn.Module, inputs: dict[str, tuple[Tensor, dict[int, str]]], outputs: list[str]
) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory(prefix="bagscan-") as folder, warnings.catch_warnings():
        path = Path(folder) / "traced.onnx"
        warnings.simplefilter(
            "ignore"
        )  # shapes that tracing calls constants are those of the channels
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


def _halve(graph: onnx.ModelProto) -> None:
    """Store weights in 16 bits where these hold them exactly: half the file, the same arithmetic, since they are cast when a runtime loads them."""
    casts = []
    for initializer in graph.graph.initializer:
        if initializer.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(initializer)
        with np.errstate(over="ignore"):  # what is too large for 16 bits stays in 32
            half = values.astype("float16")
        if values.size < 64 or not (half.astype("float32") == values).all():
            continue
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.graph.node.insert(0, cast)
