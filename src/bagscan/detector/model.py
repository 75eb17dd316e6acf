"""Detector in torch, saved as a model folder."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from safetensors.torch import save as tensor_bytes

from bagscan import __version__
from bagscan.config import fill
from bagscan.core import OperatingPoint
from bagscan.core.errors import ModelError
from bagscan.detector.exported import KIND
from bagscan.detector.features import IMAGES
from bagscan.detector.inference import Categories, Options
from bagscan.detector.network import DetectorNetwork, NetworkConfig
from bagscan.detector.thresholds import Thresholds, thresholds_of
from bagscan.model_folder import (
    FORMAT,
    operating_point_of,
    read_description,
    verified_id,
    write_files,
)
from bagscan.weights import to_half_precision


@dataclass
class Detector:
    """Detector with its thresholds.

    Attributes:
        network: network, whose categories are kinds of anomaly, then classes of devices, then
            classes of prohibited items, then others.
        kinds: number of kinds of anomaly.
        devices: number of classes of devices.
        images: ``raw`` or ``colour``.
        prohibited: number of classes of prohibited items.
        thresholds: see :class:`bagscan.detector.thresholds.Thresholds`.
        options: how views are evaluated, which the thresholds are for.
        operating_point: None before calibration.
        about: training data and results.
        id: hash of the model folder.
    """

    network: DetectorNetwork
    kinds: int
    devices: int
    images: str = "raw"
    prohibited: int = 0
    thresholds: Thresholds = field(default_factory=Thresholds)
    options: Options = field(default_factory=Options)
    operating_point: OperatingPoint | None = None
    about: dict[str, Any] = field(default_factory=dict)
    id: str = "unsaved"

    @property
    def numbers(self) -> Categories:
        """Numbers of categories of each sort."""
        return Categories(self.kinds, self.devices, self.prohibited)

    @classmethod
    def new(
        cls,
        config: NetworkConfig,
        categories: tuple[str, ...],
        kinds: int,
        devices: int,
        images: str = "raw",
        prohibited: int = 0,
    ) -> Detector:
        """Build an untrained detector.

        Args:
            config: settings of the network; ``categories`` and ``channels`` are replaced.
            categories: names of all categories of the network.
            kinds: number of kinds of anomaly, the first categories.
            devices: number of classes of devices, the next categories.
            images: ``raw`` or ``colour``.
            prohibited: number of classes of prohibited items, the categories after those.
        """
        config = dataclasses.replace(config, categories=categories, channels=IMAGES[images][2])
        return cls(DetectorNetwork(config), kinds, devices, images, prohibited)

    def save(self, folder: Path) -> str:
        """Write the model folder, with weights in 16 bits.

        Exported graphs in the folder are kept if the weights are unchanged.

        Returns:
            Id of the folder.
        """
        weights = to_half_precision(self.network.state_dict())
        network = dataclasses.asdict(self.network.config) | {"pretrained": False}
        description = {
            "format": FORMAT,
            "code_version": __version__,
            "model": {
                "kind": KIND,
                "input": {"quantity": IMAGES[self.images][0], "channels": IMAGES[self.images][1]},
                "network": network,
                "kinds": self.kinds,
                "devices": self.devices,
                "prohibited": self.prohibited,
                "thresholds": dataclasses.asdict(self.thresholds),
            }
            | dataclasses.asdict(self.options),
            "operating_point": (
                dataclasses.asdict(self.operating_point) if self.operating_point else None
            ),
            "about": self.about,
        }
        card = "\n".join(
            ["# Model card", "", *(f"- {key}: {value}" for key, value in self.about.items()), ""]
        )
        contents = {
            "weights.safetensors": tensor_bytes(weights),
            "model.json": json.dumps(description, indent=1).encode(),
            "MODEL_CARD.md": card.encode(),
        }
        path = folder / "weights.safetensors"
        is_unchanged = path.is_file() and path.read_bytes() == contents["weights.safetensors"]
        self.id = write_files(folder, contents, keep_graphs=is_unchanged)
        return self.id

    @classmethod
    def load(cls, folder: str | Path) -> Detector:
        """Load a model folder after checking all hashes.

        Raises:
            ModelError: if a file is missing or altered, or the model is not a detector.
        """
        folder = Path(folder)
        identity = verified_id(folder)
        description = read_description(folder)
        settings = description["model"]
        if settings.get("kind") != KIND:
            raise ModelError(f'{folder}: model is not a detector; expected kind "{KIND}"')
        network = DetectorNetwork(fill(NetworkConfig, settings["network"], f"{folder}/model.json"))
        try:
            weights = {
                name: tensor.float() if tensor.is_floating_point() else tensor
                for name, tensor in load_file(folder / "weights.safetensors").items()
            }
            network.load_state_dict(weights)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{folder}: weights do not match model.json: {error}") from error
        thresholds, point = thresholds_of(description), operating_point_of(description)
        images = next(
            name
            for name, (_, channels, _) in IMAGES.items()
            if list(channels) == list(settings["input"]["channels"])
        )
        return cls(
            network.eval(),
            settings["kinds"],
            settings["devices"],
            images,
            settings.get("prohibited", 0),
            thresholds,
            Options.of(settings),
            point,
            description["about"],
            identity,
        )
