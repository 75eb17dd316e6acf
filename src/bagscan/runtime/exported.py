"""A model made of exported graphs: networks run in engines, everything else in one kernel. No torch.

Graphs, each a file of the model folder: ``items`` finds items, ``learned`` gives the superpixel network's features,
``maps`` takes raw channels to feature maps, ``score`` takes means of regions to scores.

Where to cut is decided pixel by pixel, and one pixel that is a millionth nearer to its neighbour moves a score by a hundredth. So
what cuts, ``items`` and ``learned``, belongs to the kernel: it runs in ONNX Runtime, which every install has, whatever judges.
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
from bagscan.examining import examine_one
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
    """As :class:`bagscan.model.Model` in use, without torch.

    Args:
        folder: a model folder whose hashes were checked. identity: its id. graphs: names of those that it holds.
        cutter: runs those of ``CUTTING``. judge: runs the others.

    Raises:
        ModelError: a graph is missing, or a part of the model is none that is exported.
    """

    def __init__(
        self, folder: Path, identity: str, graphs: Collection[str], cutter: Engine, judge: Engine
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
            raise ModelError(f"{folder}: {', '.join(missing)} is missing; bagscan export writes it")
        self.operating_point = operating_point_of(description)
        self.calibration = calibration_of(description)
        self.about: dict[str, Any] = description["about"]
        self._cutter, self._judge = cutter, judge
        self.runtime = judge.name
        self.kind = KINDS[self.config.regioner["name"]]

    def judging(self) -> AbstractContextManager[None]:
        """Nothing to prepare: engines compute on one thread."""
        return nullcontext()

    def judge(self, view: View, n_superpixels: int | None = None) -> tuple[Regions, np.ndarray]:
        """Regions of a view already at working size, and their scores (n,)."""
        found = self.regions(view, n_superpixels)
        return found, self.score_regions(view, found)

    def examine(self, views: Sequence[View]) -> list[tuple[np.ndarray, np.ndarray]]:
        """(H, W) int32 regions and (n,) scores of every view of one bag, at its own size."""
        return [examine_one(self, view) for view in views]

    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Regions of a view already at working size."""
        self.config.input.check(view)
        return self._cut(
            self.config.regioner, view, n_superpixels or self.config.input.superpixels(*view.shape)
        )

    def score_regions(self, view: View, regions: Regions) -> np.ndarray:
        """(n,) calibrated scores of given regions of a view at working size."""
        return (
            self.score_maps(self.maps(view.pixels[None])[0], regions)
            if regions.n
            else np.zeros(0, np.float32)
        )

    def score_maps(self, maps: np.ndarray, regions: Regions) -> np.ndarray:
        """(n,) calibrated scores of given regions from the (h, w, D) feature maps of their view."""
        means = region_means(maps, regions)
        scores = _output(self._judge.run("score", {"means": means}), "score", "scores")
        if scores.shape != (regions.n,):
            raise ModelError(f"score.onnx gave {scores.shape} for {regions.n} regions")
        return platt(scores, self.calibration).astype(np.float32)

    def maps(self, pixels: np.ndarray) -> np.ndarray:
        """(B, C, H, W) pixels of views -> (B, h, w, D) feature maps."""
        maps = _output(self._judge.run("maps", {"pixels": pixels}), "maps", "maps")
        if maps.ndim != 4 or len(maps) != len(pixels) or not maps.size:
            raise ModelError(f"maps.onnx gave {maps.shape} for pixels of {pixels.shape}")
        return maps

    def everywhere(self) -> ExportedModel:
        """This model, judging the whole view where its regioner would look on items alone."""
        settings = self.config.regioner
        if settings["name"] != "sub_components":
            return self
        other = copy.copy(self)
        other.config = replace(self.config, regioner=settings["parts"])
        return other

    def cutting_with(self, engine: Engine) -> ExportedModel:
        """This model, cutting by another runtime: what a program that reads the graphs by itself would do."""
        other = copy.copy(self)
        other._cutter = engine
        return other

    def _cut(self, settings: dict[str, Any], view: View, n_superpixels: int | None) -> Regions:
        name = settings["name"]
        if name == "whole_image":
            return Regions(np.zeros(view.shape, np.int32), 1, "whole_image")
        if name == "sub_components":
            return superpixels.on_items(
                self._cut(settings["items"], view, None),
                self._cut(settings["parts"], view, n_superpixels),
            )
        if name == "ssn":
            config = filled(superpixels.Config, settings)
            return superpixels.cut(
                view, config, self._learned if config.width else None, n_superpixels
            )
        config = filled(instances.Config, settings)
        return instances.item_regions(self.detect(view, config), config, *view.shape)

    def detect(self, view: View, config: instances.Config) -> list[dict[str, Any]]:
        """Every detection of a view, as :meth:`bagscan.regions.mask_rcnn.MaskRCNNRegioner.detect`."""
        found = self._cutter.run(
            "items",
            {"prepared": instances.prepare(view.pixels[None], view.channels, config.stride)[0]},
        )
        boxes, labels, scores = (
            _output(found, "items", name) for name in ("boxes", "labels", "scores")
        )
        masks = _output(found, "items", "masks")[:, 0] if config.masks else None
        if len(labels) and not 1 <= labels.min() <= labels.max() <= len(config.classes):
            raise ModelError(
                f"items.onnx tells of classes that the model does not have: {labels.tolist()}"
            )
        return instances.detections(
            instances.Detected(boxes, labels, scores, masks), config, *view.shape
        )

    def _learned(self, colour: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        inputs = {"colour": colour, "values": pixels} if pixels.shape[1] else {"colour": colour}
        return _output(self._cutter.run("learned", inputs), "learned", "features")


def _output(found: dict[str, np.ndarray], graph: str, name: str) -> np.ndarray:
    if name not in found:
        raise ModelError(f"{graph}.onnx gives {', '.join(found)}, not {name}")
    return found[name]


def cutting_graphs(regioner: dict[str, Any]) -> list[str]:
    """Names of the graphs that a regioner of these settings needs.

    Raises:
        ModelError: the kernel does not know it.
    """
    if regioner["name"] not in KINDS:
        raise ModelError(
            f"regioner {regioner['name']} runs on torch alone; those that are exported: {', '.join(KINDS)}"
        )
    items, parts = (
        (regioner["items"], regioner["parts"])
        if regioner["name"] == "sub_components"
        else (regioner, regioner)
    )
    needed = ["items"] if items["name"] in ("mask_rcnn", "faster_rcnn") else []
    return [*needed, *["learned"] * bool(parts["name"] == "ssn" and parts["width"])]


def filled(config: Any, settings: dict[str, Any]) -> Any:
    """A part's settings, of those in a model folder that it knows."""
    known = {f.name for f in fields(config)}
    return fill(config, {k: v for k, v in settings.items() if k in known}, "model.regioner")
