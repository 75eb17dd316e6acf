"""Models of a regioner, an encoder and a scorer. Their files: :mod:`bagscan.model_folder`."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn

from bagscan import __version__
from bagscan.building import build_part
from bagscan.config import fill
from bagscan.contracts import Encoder, MapEncoder, Regioner, Scorer
from bagscan.core import OperatingPoint, Regions, View
from bagscan.core.calibrated import UNCALIBRATED, platt
from bagscan.core.errors import ModelError
from bagscan.encoders.region_means import region_means
from bagscan.examining import Examined, examine_view
from bagscan.model_config import MIN_TRANSMISSION, ModelConfig
from bagscan.model_folder import (
    FORMAT,
    calibration_of,
    check_packages,
    has_same_networks,
    operating_point_of,
    packages_of,
    read_description,
    verified_id,
    write_files,
)
from bagscan.weights import to_half_precision


def _build(
    kind: str, settings: dict[str, Any], where: str, **given: Any
) -> tuple[Any, dict[str, Any]]:
    """Return a regioner, encoder or scorer, and its settings with all defaults."""
    built = build_part(kind, settings, where, **given)
    return built, {"name": settings["name"], **dataclasses.asdict(built.config)}


class Model(nn.Module):
    """Model of a regioner, an encoder and a scorer.

    Attributes:
        operating_point: the operating point, or None if not chosen yet.
        id: hash of the model folder, or ``"unsaved"``.
        calibration: slope and offset of the scores, see :mod:`bagscan.core.calibrated`.
        about: metadata that training stores with the model.
        half_weights: True to store weights in 16 bits; computations always use 32 bits.

    Raises:
        ConfigError: unknown settings.
    """

    runtime = "torch"
    regioner: Regioner
    encoder: Encoder
    scorer: Scorer
    mean: Tensor
    std: Tensor
    is_transmission: Tensor

    def __init__(self, config: ModelConfig, operating_point: OperatingPoint | None = None) -> None:
        super().__init__()
        given = {"channels": len(config.input.channels)}
        self.regioner, regioner = _build("regions", config.regioner, "model.regioner", **given)
        self.encoder, encoder = _build("encoders", config.encoder, "model.encoder", **given)
        given["dim"] = self.encoder.dim
        self.scorer, scorer = _build("scorers", config.scorer, "model.scorer", **given)
        self.config = ModelConfig(config.input, regioner, encoder, scorer)
        self.operating_point = operating_point
        self.calibration = UNCALIBRATED
        self.about: dict[str, Any] = {}
        self.half_weights = False
        self.id = "unsaved"
        self._add_buffer("mean", config.input.mean)
        self._add_buffer("is_transmission", config.input.is_transmission)
        self._add_buffer("std", config.input.std)

    def _add_buffer(self, name: str, values: Sequence[float]) -> None:
        self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    @property
    def kind(self) -> str:
        """Kind of the regions, as in :class:`bagscan.core.Regions`."""
        return str(self.regioner.kind)

    @property
    def segments_differentiably(self) -> bool:
        """True if the regioner has a soft association that gradients pass through."""
        return self.regioner.is_soft

    def with_regioner(self, regioner: dict[str, Any]) -> Model:
        """Return a model with another regioner that shares encoder and scorer.

        It has no operating point, since a threshold only holds for the regions of its choice.

        Args:
            regioner: ``name`` and settings, as in a configuration.

        Raises:
            ConfigError: the regioner or a setting is unknown.
        """
        channels = len(self.config.input.channels)
        return self._with_regioner(*_build("regions", regioner, "regioner", channels=channels))

    def everywhere(self) -> Model:
        """Return the model without its limitation to found items, for the entire view.

        If the regioner changes, the model has no operating point, as in :meth:`with_regioner`.
        """
        if self.regioner.segmenter is self.regioner:
            return self
        return self._with_regioner(self.regioner.segmenter, self.config.regioner["parts"])

    def _with_regioner(self, regioner: Regioner, settings: dict[str, Any]) -> Model:
        model = copy.copy(self)
        model._modules = dict(self._modules)
        model.regioner = regioner
        model.config = dataclasses.replace(self.config, regioner=settings)
        model.operating_point = None
        model.id = "unsaved"
        return model.eval()

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return self.mean.device

    def normalise(self, pixels: Tensor) -> Tensor:
        """Convert (B, C, H, W) pixels to the network's input, on its device."""
        pixels = pixels.to(self.device)
        if self.config.input.log_transmission:
            pixels = torch.where(
                self.is_transmission, -pixels.clamp(min=MIN_TRANSMISSION).log(), pixels
            )
        return (pixels - self.mean) / self.std

    @contextmanager
    def inference_mode(self) -> Iterator[None]:
        """Disable dropout and use a single thread during inference.

        Threads split sums, so the last bit of a score would depend on their number. Use several
        processes for more throughput.
        """
        if self.training:
            self.eval()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)

    @torch.no_grad()
    def score_view(
        self, view: View, n_superpixels: int | None = None
    ) -> tuple[Regions, np.ndarray]:
        """Return the regions of a view at working size and their (n,) calibrated scores."""
        regions = self.regions(view, n_superpixels)
        image = self.normalise(torch.from_numpy(np.array(view.pixels))[None])
        return regions, self.score_image(image, regions)

    def examine(self, views: Sequence[View]) -> list[Examined]:
        """Score the views of one bag, see :meth:`bagscan.examining.UsableModel.examine`."""
        return [examine_view(self, view) for view in views]

    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Return the regions of a view at working size.

        Raises:
            ModelError: the view has other channels than the model.
        """
        self.config.input.check(view)
        count = n_superpixels or self.config.input.superpixels(*view.shape)
        regions: Regions = self.regioner.regions(view, count)
        return regions

    @torch.no_grad()
    def score_image(self, image: Tensor, regions: Regions) -> np.ndarray:
        """Return the (n,) calibrated scores of regions of a (1, C, H, W) normalised image."""
        return self.score(self.describe(image, regions))

    @torch.no_grad()
    def describe(self, image: Tensor, regions: Regions) -> Tensor:
        """Return the (n, dim) descriptions of regions of a (1, C, H, W) normalised image."""
        if not regions.n:
            return image.new_zeros(0, self.encoder.dim)
        if isinstance(self.encoder, MapEncoder):  # all runtimes share the kernel of the means
            means = region_means(_channels_last(self.encoder.maps(image))[0], regions)
            return self.encoder.describe_means(torch.from_numpy(means).to(self.device))
        indices, zeros = torch.arange(regions.n), torch.zeros(regions.n, dtype=torch.long)
        if regions.labels.ndim == 3:  # overlapping instances: each is region 0 of its own image
            labels = torch.tensor(regions.labels).long() - 1
            images = image.expand(regions.n, -1, -1, -1)
            chosen = torch.stack([indices, zeros], 1)
        else:
            labels, images = torch.from_numpy(regions.labels.astype(np.int64))[None], image
            chosen = torch.stack([zeros, indices], 1)
        embeddings: Tensor = self.encoder(images, labels.to(self.device), chosen.to(self.device))
        return embeddings.float()

    @property
    def of_maps(self) -> MapEncoder:
        """The encoder, if it is a :class:`MapEncoder`.

        Raises:
            ModelError: the encoder has no feature maps.
        """
        if not isinstance(self.encoder, MapEncoder):
            name = self.config.encoder["name"]
            raise ModelError(f"encoder {name!r} has no feature maps; expected a MapEncoder")
        return self.encoder

    @torch.no_grad()
    def maps(self, pixels: np.ndarray) -> np.ndarray:
        """Compute (B, h, w, D) feature maps of (B, C, H, W) pixels of views."""
        return _channels_last(self.of_maps.maps(self.normalise(torch.from_numpy(np.array(pixels)))))

    @torch.no_grad()
    def score_means(self, means: np.ndarray) -> np.ndarray:
        """Return the (n,) uncalibrated scores of (n, D) means of feature maps in regions."""
        embeddings = self.of_maps.describe_means(torch.from_numpy(means).to(self.device))
        return np.asarray(self.scorer.score(embeddings).float().cpu().numpy())

    @torch.no_grad()
    def score(self, embeddings: Tensor) -> np.ndarray:
        """Return the (n,) calibrated scores of (n, dim) descriptions."""
        scores = np.asarray(self.scorer.score(embeddings).float().cpu().numpy())
        return platt(scores, self.calibration).astype(np.float32)

    def save(self, folder: str | Path) -> str:
        """Write the model folder and return its id.

        Exported graphs are kept if the weights and settings of the folder do not change.
        """
        folder = Path(folder)
        stored = to_half_precision(self.state_dict()) if self.half_weights else self.state_dict()
        point = self.operating_point
        description = {
            "format": FORMAT,
            "code_version": __version__,
            "model": dataclasses.asdict(self.config),
            "operating_point": dataclasses.asdict(point) if point else None,
            "calibration": self.calibration,
            "about": self.about,
            "packages": packages_of(dataclasses.asdict(self.config)),
        }
        contents = {
            "weights.safetensors": tensor_bytes({k: v.contiguous() for k, v in stored.items()}),
            "model.json": json.dumps(description, indent=1).encode(),
            "MODEL_CARD.md": _model_card(self).encode(),
        }
        self.id = write_files(folder, contents, keep_graphs=has_same_networks(folder, contents))
        return self.id

    @classmethod
    def load(cls, folder: str | Path) -> Model:
        """Read a model folder after checking the hashes of its files.

        Raises:
            ModelError: a file is missing, altered, or written by a newer bagscan.
        """
        folder = Path(folder)
        model_id = verified_id(folder)
        description = read_description(folder)
        settings = description["model"]
        if "regioner" not in settings:
            raise ModelError(
                f"{folder}: model is a {settings.get('kind')}; expected a model of regioner, "
                "encoder and scorer; use load_model for all kinds"
            )
        check_packages(folder, description)
        # The weights are in the folder, so start weights are not downloaded.
        for part_settings in (settings["regioner"], settings["encoder"]):
            _disable_start_weights(part_settings)
        model_config = fill(ModelConfig, settings, str(folder / "model.json"))
        model = cls(model_config, operating_point_of(description))
        try:
            weights = load_file(folder / "weights.safetensors")
            model.half_weights = any(v.dtype == torch.float16 for v in weights.values())
            model.load_state_dict(weights)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{folder}: weights do not fit model.json: {error}") from error
        model.about = description["about"]
        model.calibration = calibration_of(description)
        model.id = model_id
        return model.eval()


def _channels_last(maps: Tensor) -> np.ndarray:
    """Convert (B, D, h, w) to (B, h, w, D) float32."""
    return maps.float().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _disable_start_weights(settings: dict[str, Any]) -> None:
    """Reset ``pretrained`` and ``weights`` in place, also in nested settings."""
    for key, default in (("pretrained", False), ("weights", None)):
        if key in settings:
            settings[key] = default
    for nested in settings.values():
        if isinstance(nested, dict):
            _disable_start_weights(nested)


def _model_card(model: Model) -> str:
    config, point = model.config, model.operating_point
    channels, side = ", ".join(config.input.channels), config.input.working_side_px
    encoder = f"{config.encoder['name']} ({config.encoder.get('backbone', '-')})"
    point_text = "not chosen yet (bagscan calibrate)"
    if point:
        split = point.chosen_on_split
        point_text = f"threshold {point.threshold:.4f}, {point.criterion}, chosen on {split}"
    scores_text = "uncalibrated scores of the scorer"
    if model.calibration != UNCALIBRATED:
        scores_text = "calibrated: probability of an anomaly if this is the highest score"
    lines = [
        "# Model card",
        "",
        f"- Parts: {config.regioner['name']} → {encoder} → {config.scorer['name']}",
        f"- Input: {config.input.quantity}, channels {channels}, working side {side} px",
        f"- Parameters: {sum(p.numel() for p in model.parameters()):,}",
        f"- Operating point: {point_text}",
        f"- Scores: {scores_text}",
        *(f"- {key}: {value}" for key, value in model.about.items() if not isinstance(value, list)),
        "- Limits: a first-stage aid that must not decide alone. "
        "No conformance to any security standard is claimed.",
        "",
    ]
    return "\n".join(lines)
