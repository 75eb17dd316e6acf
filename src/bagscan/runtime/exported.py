"""Model of exported graphs. Does not import torch.

Each graph is a file of the model folder:

- ``items`` detects items.
- ``learned`` computes the features of the superpixel network.
- ``maps`` computes feature maps of raw channels.
- ``score`` computes scores of region means.

Segmentation decides pixel by pixel, so rounding differences of a feature can change regions and
scores. Therefore ``items`` and ``learned`` always run in ONNX Runtime, which is always installed:
all runtimes yield identical regions.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.config import fill
from bagscan.core import Regions, View
from bagscan.core.calibrated import platt
from bagscan.core.errors import ModelError
from bagscan.encoders.region_means import region_means
from bagscan.examining import Examined, examine_view
from bagscan.model_config import ModelConfig
from bagscan.model_folder import calibration_of, operating_point_of, read_description
from bagscan.regions import instances, superpixels
from bagscan.runtime.engines import Engine

CUTTING = ("items", "learned")
KINDS = {
    "ssn": "superpixel",
    "sub_components": "superpixel",
    "mask_rcnn": "instance",
    "faster_rcnn": "instance",
    "whole_image": "whole_image",
}


class ExportedModel:
    """Model for inference with the interface of :class:`bagscan.model.Model`, without torch.

    Args:
        folder: model folder whose hashes were checked.
        identity: id of the model folder.
        graphs: names of the graphs in the folder.
        segmentation: engine of the segmentation graphs (``CUTTING``).
        scoring: engine of the other graphs.

    Raises:
        ModelError: if a graph is missing, or the regioner cannot be exported.
    """

    def __init__(
        self,
        folder: Path,
        identity: str,
        graphs: Collection[str],
        segmentation: Engine,
        scoring: Engine,
    ) -> None:
        self.id = identity
        description = read_description(folder)
        self.config: ModelConfig = fill(ModelConfig, description["model"], f"{folder}/model.json")
        missing = [
            f"{name}.onnx"
            for name in (*cutting_graphs(self.config.regioner), "maps", "score")
            if name not in graphs
        ]
        if missing:
            raise ModelError(
                f"{folder}: {', '.join(missing)} is missing; "
                f"run: bagscan export onnx --model {folder}"
            )
        self.operating_point = operating_point_of(description)
        self.calibration = calibration_of(description)
        self.about: dict[str, Any] = description["about"]
        self._segmentation, self._scoring = segmentation, scoring
        self.runtime = scoring.name
        self.kind = KINDS[self.config.regioner["name"]]

    def inference_mode(self) -> AbstractContextManager[None]:
        """Return an empty context: engines compute on one thread and need no preparation."""
        return nullcontext()

    def score_view(
        self, view: View, n_superpixels: int | None = None
    ) -> tuple[Regions, np.ndarray]:
        """Return the regions of a view at working size, and their (n,) scores."""
        regions = self.regions(view, n_superpixels)
        return regions, self.score_regions(view, regions)

    def examine(self, views: Sequence[View]) -> list[Examined]:
        """Return (H, W) int32 regions and (n,) scores of every view of a bag, at its own size."""
        return [examine_view(self, view) for view in views]

    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Split a view at working size into regions.

        Raises:
            ModelError: if the view has other channels than the model, or a network fails.
        """
        self.config.input.check(view)
        n_superpixels = n_superpixels or self.config.input.superpixels(*view.shape)
        return self._segment(self.config.regioner, view, n_superpixels)

    def score_regions(self, view: View, regions: Regions) -> np.ndarray:
        """Return (n,) calibrated scores of given regions of a view at working size."""
        if not regions.n:
            return np.zeros(0, np.float32)
        return self.score_maps(self.maps(view.pixels[None])[0], regions)

    def score_maps(self, maps: np.ndarray, regions: Regions) -> np.ndarray:
        """Return (n,) calibrated scores of given regions from the (h, w, D) maps of their view."""
        means = region_means(maps, regions)
        scores = _get_output(self._scoring.run("score", {"means": means}), "score", "scores")
        if scores.shape != (regions.n,):
            raise ModelError(
                f"score.onnx returns scores of shape {scores.shape} for {regions.n} regions; "
                "export the model again"
            )
        return platt(scores, self.calibration).astype(np.float32)

    def maps(self, pixels: np.ndarray) -> np.ndarray:
        """Return the (B, h, w, D) feature maps of (B, C, H, W) pixels of views."""
        maps = _get_output(self._scoring.run("maps", {"pixels": pixels}), "maps", "maps")
        if maps.ndim != 4 or len(maps) != len(pixels) or not maps.size:
            raise ModelError(
                f"maps.onnx returns maps of shape {maps.shape} for pixels of shape {pixels.shape}; "
                "export the model again"
            )
        return maps

    def everywhere(self) -> ExportedModel:
        """Return a model that scores the whole view, even if this model only segments items."""
        settings = self.config.regioner
        if settings["name"] != "sub_components":
            return self
        model = copy.copy(self)
        model.config = replace(self.config, regioner=settings["parts"])
        return model

    def cutting_with(self, engine: Engine) -> ExportedModel:
        """Return a model that segments with another engine.

        This is what a program does that runs the graphs without bagscan.
        """
        model = copy.copy(self)
        model._segmentation = engine
        return model

    def _segment(self, settings: dict[str, Any], view: View, n_superpixels: int | None) -> Regions:
        name = settings["name"]
        if name == "whole_image":
            return Regions(np.zeros(view.shape, np.int32), 1, "whole_image")
        if name == "sub_components":
            return superpixels.on_items(
                self._segment(settings["items"], view, None),
                self._segment(settings["parts"], view, n_superpixels),
            )
        if name == "ssn":
            config = fill_known(superpixels.Config, settings)
            network = self._compute_features if config.width else None
            return superpixels.cut(view, config, network, n_superpixels)
        config = fill_known(instances.Config, settings)
        return instances.item_regions(self.detect(view, config), config, *view.shape)

    def detect(self, view: View, config: instances.Config) -> list[dict[str, Any]]:
        """Return the items of a view, see :meth:`bagscan.contracts.Finder.detect`.

        Raises:
            ModelError: if the network fails, or returns unknown classes.
        """
        prepared = instances.prepare(view.pixels[None], view.channels, config.stride)[0]
        outputs = self._segmentation.run("items", {"prepared": prepared})
        boxes, labels, scores = (
            _get_output(outputs, "items", name) for name in ("boxes", "labels", "scores")
        )
        masks = _get_output(outputs, "items", "masks")[:, 0] if config.masks else None
        if len(labels) and not 1 <= labels.min() <= labels.max() <= len(config.classes):
            raise ModelError(
                f"items.onnx returns class numbers {labels.tolist()}, "
                f"expected 1 to {len(config.classes)}; export the model again"
            )
        detected = instances.Detected(boxes, labels, scores, masks)
        return instances.detections(detected, config, *view.shape)

    def _compute_features(self, colour: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        inputs = {"colour": colour, "values": pixels} if pixels.shape[1] else {"colour": colour}
        return _get_output(self._segmentation.run("learned", inputs), "learned", "features")


def _get_output(outputs: dict[str, np.ndarray], graph: str, name: str) -> np.ndarray:
    if name not in outputs:
        raise ModelError(
            f'{graph}.onnx has no output "{name}"; its outputs are {", ".join(outputs)}; '
            "export the model again"
        )
    return outputs[name]


def cutting_graphs(regioner: dict[str, Any]) -> list[str]:
    """Return the names of the graphs that a regioner needs.

    Args:
        regioner: settings of the regioner.

    Raises:
        ModelError: if the regioner cannot be exported.
    """
    if regioner["name"] not in KINDS:
        raise ModelError(
            f"regioner {regioner['name']!r} runs only in torch; "
            f"regioners that can be exported: {', '.join(KINDS)}"
        )
    items = parts = regioner
    if regioner["name"] == "sub_components":
        items, parts = regioner["items"], regioner["parts"]
    graphs = ["items"] if items["name"] in ("mask_rcnn", "faster_rcnn") else []
    if parts["name"] == "ssn" and parts["width"]:
        graphs.append("learned")
    return graphs


def fill_known(config: Any, settings: dict[str, Any]) -> Any:
    """Build settings from those entries of a model folder that the class knows."""
    known = {f.name for f in fields(config)}
    return fill(config, {k: v for k, v in settings.items() if k in known}, "model.regioner")
