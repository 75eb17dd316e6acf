"""A model: regioner, encoder and scorer with what it takes to feed them; saved as a folder.

What the folder holds, and its hashes: :mod:`bagscan.model_folder`.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from bagscan import __version__
from bagscan.config import fill
from bagscan.core import OperatingPoint, Regions, View
from bagscan.core.calibrated import UNCALIBRATED, platt
from bagscan.core.errors import ConfigError, ModelError
from bagscan.formats.quantities import RGB
from bagscan.model_folder import FORMAT, read_description, verified_id, write_manifest
from bagscan.registry import part

LEAST_TRANSMISSION = 2e-3  # less is noise


@dataclass(frozen=True)
class InputConfig:
    """What a view must be, and how it is brought to the network.

    Attributes:
        quantity, channels: as in :class:`bagscan.core.View`.
        working_side_px: views are scaled so that sqrt(H * W) is this; 0 keeps them as they are.
        square: whether views are brought to a square of that side, whatever their own shape, as classifiers of whole
            images are trained.
        superpixel_side_px: side of a superpixel at working size, so that windows of any size are
            cut alike; 0 for the regioner's own number of superpixels a view.
        log_transmission: whether the network sees -ln of transmissions in place of them; colours and
            effective Z stay as they are.
        mean, std: per channel; pixels become (x - mean) / std.
    """

    quantity: str = "pseudo_colour"
    channels: tuple[str, ...] = ("red", "green", "blue")
    working_side_px: int = 400
    superpixel_side_px: float = 0.0
    log_transmission: bool = False
    mean: tuple[float, ...] = (0.8, 0.8, 0.8)
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    square: bool = False

    def __post_init__(self) -> None:
        if not len(self.mean) == len(self.std) == len(self.channels):
            raise ValueError(f"mean and std need one value for each of {len(self.channels)} channels")
        if min(self.std, default=0) <= 0:
            raise ValueError(f"std must be above 0, got {self.std}")
        if min(self.working_side_px, self.superpixel_side_px) < 0:
            raise ValueError("working_side_px and superpixel_side_px must be 0 or more")
        if self.square and not self.working_side_px:
            raise ValueError("square needs working_side_px")


@dataclass(frozen=True)
class ModelConfig:
    """The three parts, each ``{name: ..., its own settings}``, and the input."""

    input: InputConfig = field(default_factory=InputConfig)
    regioner: dict[str, Any] = field(default_factory=lambda: {"name": "ssn"})
    encoder: dict[str, Any] = field(default_factory=lambda: {"name": "pooled"})
    scorer: dict[str, Any] = field(default_factory=lambda: {"name": "softmax"})


def _build(kind: str, settings: dict[str, Any], where: str, **forced: Any) -> tuple[nn.Module, dict[str, Any]]:
    """One part from its settings; ``forced`` fills those that follow from the other parts."""
    settings = dict(settings)
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"{where}: needs a name")
    module = part(kind, name)
    own = {f.name for f in dataclasses.fields(module.Config)}
    config = fill(module.Config, settings | {k: v for k, v in forced.items() if k in own}, where)
    built: nn.Module = module.build(config)
    return built, {"name": name, **dataclasses.asdict(built.config)}  # type: ignore[call-overload]


class Model(nn.Module):
    """Regioner, encoder and scorer, and the operating point chosen for them.

    Raises:
        ConfigError: settings that no part knows.
    """

    regioner: Any  # parts are known by their contract (tests/test_registry.py), not by a base class
    encoder: Any
    scorer: Any
    mean: Tensor
    std: Tensor
    is_transmission: Tensor

    def __init__(self, config: ModelConfig, operating_point: OperatingPoint | None = None) -> None:
        super().__init__()
        channels = len(config.input.channels)
        self.regioner, regioner = _build("regions", config.regioner, "model.regioner", channels=channels)
        self.encoder, encoder = _build("encoders", config.encoder, "model.encoder", channels=channels)
        self.scorer, scorer = _build("scorers", config.scorer, "model.scorer", dim=self.encoder.dim, channels=channels)
        self.config = ModelConfig(config.input, regioner, encoder, scorer)
        self.operating_point = operating_point
        self.calibration = UNCALIBRATED  # of scores: they leave as probabilities, see bagscan.core.calibrated
        self.about: dict[str, Any] = {}
        self.half_weights = False  # weights are stored in 16 bits, half the size; arithmetic is always in 32
        self.id = "unsaved"
        self.register_buffer("mean", torch.tensor(config.input.mean)[:, None, None], persistent=False)
        transmission = [name not in ("zeff", *RGB) for name in config.input.channels]
        self.register_buffer("is_transmission", torch.tensor(transmission)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(config.input.std)[:, None, None], persistent=False)

    @property
    def segments_differentiably(self) -> bool:
        """Whether the regioner gives a soft association that gradients pass through."""
        return bool(self.regioner.config.trainable)

    def cut_by(self, regioner: dict[str, Any]) -> Model:
        """This model, judging the regions of another regioner: encoder and scorer are shared.

        The operating point is left behind: a threshold chosen on other regions means nothing here.

        Args:
            regioner: ``name`` and settings, as in a configuration.

        Raises:
            ConfigError: no such regioner or setting.
        """
        return self._with(*_build("regions", regioner, "regioner", channels=len(self.config.input.channels)))

    def everywhere(self) -> Model:
        """This model, judging the whole view where its regioner would look on items alone.

        The operating point is left behind, as in :meth:`cut_by`.
        """
        if not hasattr(self.regioner, "parts"):
            return self
        return self._with(self.regioner.parts, self.config.regioner["parts"])

    def _with(self, regioner: nn.Module, settings: dict[str, Any]) -> Model:
        other = copy.copy(self)
        other._modules = dict(self._modules)
        other.regioner = regioner
        other.config = dataclasses.replace(self.config, regioner=settings)
        other.operating_point = None
        other.id = "unsaved"
        return other.eval()

    def normalise(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) pixels -> the network's input."""
        if self.config.input.log_transmission:
            pixels = torch.where(self.is_transmission, -pixels.clamp(min=LEAST_TRANSMISSION).log(), pixels)
        return (pixels - self.mean) / self.std

    def superpixels(self, height: int, width: int) -> int | None:
        """How many superpixels a window at working size is cut into; None for the regioner's own number."""
        side = self.config.input.superpixel_side_px
        return max(4, round(height * width / side**2)) if side else None

    def select(self, view: View) -> View:
        """The channels that the model takes, of a view that may hold more: a model of high energy alone reads any raw scan.

        Raises:
            ModelError: as :meth:`check`.
        """
        expected = self.config.input
        if view.quantity == "dual_energy" and view.channels != expected.channels and set(expected.channels) <= set(view.channels):
            index = [view.channels.index(name) for name in expected.channels]
            quantity = "pseudo_colour" if expected.channels == RGB else "dual_energy"
            view = dataclasses.replace(view, pixels=np.ascontiguousarray(view.pixels[index]), channels=expected.channels, quantity=quantity)
        self.check(view)
        return view

    def check(self, view: View) -> None:
        """Refuse a view of another kind than the model was trained on.

        Raises:
            ModelError: other channels or another quantity.
        """
        expected = self.config.input
        if (view.quantity, view.channels) != (expected.quantity, expected.channels):
            hint = "; bagscan convert makes pseudo_colour of low and high" if expected.quantity == "pseudo_colour" and {"low", "high"} <= set(view.channels) else ""
            raise ModelError(f"the model takes {expected.quantity} of {', '.join(expected.channels)}; the view is {view.quantity} of {', '.join(view.channels)}{hint}")

    def working_view(self, view: View, whole: tuple[int, int] | None = None) -> View:
        """The view scaled to the working size.

        Args:
            whole: (H, W) of the view that this is a window of; scale follows from it.
        """
        side = self.config.input.working_side_px
        height, width = view.shape
        if not side:
            return view
        whole = whole or view.shape
        even = side / (whole[0] * whole[1]) ** 0.5
        down, across = (side / whole[0], side / whole[1]) if self.config.input.square else (even, even)
        size = max(8, round(height * down)), max(8, round(width * across))
        if size == view.shape:
            return view
        return dataclasses.replace(view, pixels=resize(view.pixels, *size), pixel_pitch_mm=None)

    @torch.no_grad()
    def judge(self, view: View, n_superpixels: int | None = None) -> tuple[Regions, np.ndarray]:
        """Regions of a view already at working size, and their scores (n,)."""
        regions = self.regions(view, n_superpixels)
        image = self.normalise(torch.from_numpy(np.array(view.pixels))[None])
        return regions, self.score_regions(image, regions)

    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Regions of a view already at working size."""
        self.check(view)
        found: Regions = self.regioner.regions(view, n_superpixels or self.superpixels(*view.shape))
        return found

    @torch.no_grad()
    def score_regions(self, image: Tensor, regions: Regions) -> np.ndarray:
        """(n,) calibrated scores of given regions of one normalised image (1, C, H, W)."""
        return self.score(self.describe(image, regions))

    @torch.no_grad()
    def describe(self, image: Tensor, regions: Regions) -> Tensor:
        """(n, dim) descriptions of given regions of one normalised image (1, C, H, W)."""
        if not regions.n:
            return image.new_zeros(0, self.encoder.dim)
        if regions.labels.ndim == 3:  # instances overlap: each is the only region of an image of its own
            masks = torch.tensor(regions.labels)
            chosen = torch.stack([torch.arange(regions.n), torch.zeros(regions.n, dtype=torch.long)], 1)
            described: Tensor = self.encoder(image.expand(regions.n, -1, -1, -1), masks.long() - 1, chosen)
            return described.float()
        labels = torch.from_numpy(regions.labels.astype(np.int64))[None]
        chosen = torch.stack([torch.zeros(regions.n, dtype=torch.long), torch.arange(regions.n)], 1)
        described = self.encoder(image, labels, chosen)
        return described.float()

    @torch.no_grad()
    def score(self, embeddings: Tensor) -> np.ndarray:
        """(n,) calibrated scores of descriptions (n, dim)."""
        return platt(np.asarray(self.scorer.score(embeddings).float().numpy()), self.calibration).astype(np.float32)

    def save(self, folder: str | Path) -> str:
        """Write the model folder; returns its id, the hash of weights and description."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        stored = {k: v.half() if self.half_weights and v.is_floating_point() else v for k, v in self.state_dict().items()}
        save_file({k: v.contiguous() for k, v in stored.items()}, folder / "weights.safetensors")
        description = {
            "format": FORMAT,
            "code_version": __version__,
            "model": dataclasses.asdict(self.config),
            "operating_point": dataclasses.asdict(self.operating_point) if self.operating_point else None,
            "calibration": self.calibration,
            "about": self.about,
        }
        (folder / "model.json").write_text(json.dumps(description, indent=1))
        (folder / "MODEL_CARD.md").write_text(_card(self))
        self.id = write_manifest(folder)
        return self.id

    @classmethod
    def load(cls, folder: str | Path) -> Model:
        """Read a model folder, checking every hash first.

        Raises:
            ModelError: a file is missing or altered, or written by a newer bagscan.
        """
        folder = Path(folder)
        identity = verified_id(folder)
        description = read_description(folder)
        point = description["operating_point"]
        if point:
            point["interval"] = tuple(point["interval"])
        settings = description["model"]
        # The weights come from the folder: nothing is fetched to be overwritten.
        for part_of in (settings["regioner"], settings["encoder"]):
            _without_start(part_of)
        model = cls(fill(ModelConfig, settings, str(folder / "model.json")), OperatingPoint(**point) if point else None)
        try:
            weights = load_file(folder / "weights.safetensors")
            model.half_weights = any(v.dtype == torch.float16 for v in weights.values())
            model.load_state_dict(weights)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{folder}: weights do not fit model.json: {error}") from error
        model.about = description["about"]
        slope, offset = description.get("calibration", UNCALIBRATED)
        model.calibration = (slope, offset)
        model.id = identity
        return model.eval()


def _without_start(settings: dict[str, Any]) -> None:
    """Settings of a part, and of parts within it, that start from no other weights."""
    settings |= {key: default for key, default in (("pretrained", False), ("weights", None)) if key in settings}
    for inner in (value for value in settings.values() if isinstance(value, dict)):
        _without_start(inner)


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """(C, H, W) float32 to another size, antialiased bilinear."""
    tensor = torch.from_numpy(np.array(pixels))[None]
    scaled = F.interpolate(tensor, size=(height, width), mode="bilinear", align_corners=False, antialias=True)
    return np.asarray(scaled[0].numpy())


def _card(model: Model) -> str:
    config, point = model.config, model.operating_point
    parameters = sum(p.numel() for p in model.parameters())
    lines = [
        "# Model card",
        "",
        f"- Parts: {config.regioner['name']} → {config.encoder['name']} ({config.encoder.get('backbone', '-')}) → {config.scorer['name']}",
        f"- Input: {config.input.quantity}, channels {', '.join(config.input.channels)}, working side {config.input.working_side_px} px",
        f"- Parameters: {parameters:,}",
        f"- Operating point: {f'threshold {point.threshold:.4f}, {point.criterion}, chosen on {point.chosen_on_split}' if point else 'none chosen yet (bagscan calibrate)'}",
        f"- Scores: {'as the scorer gives them' if model.calibration == UNCALIBRATED else 'calibrated: the chance that what has this as its worst segment is anomalous'}",
        *(f"- {key}: {value}" for key, value in model.about.items() if not isinstance(value, list)),
        "- Limits: a first-stage aid; it decides nothing alone, and no conformance to any security standard is claimed.",
        "",
    ]
    return "\n".join(lines)
