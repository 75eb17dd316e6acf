"""A model: regioner, encoder and scorer with what it takes to feed them; saved as a folder.

What the folder holds, and its hashes: :mod:`bagscan.model_folder`.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
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
from bagscan.examining import examine_one
from bagscan.model_config import MIN_TRANSMISSION, ModelConfig
from bagscan.model_folder import (
    FORMAT,
    calibration_of,
    operating_point_of,
    read_description,
    verified_id,
    write_files,
)
from bagscan.weights import in_half


def _build(
    kind: str, settings: dict[str, Any], where: str, **given: Any
) -> tuple[Any, dict[str, Any]]:
    """One part, and its settings with every default filled in."""
    built = build_part(kind, settings, where, **given)
    return built, {"name": settings["name"], **dataclasses.asdict(built.config)}


class Model(nn.Module):
    """Regioner, encoder and scorer, and the operating point chosen for them.

    Raises:
        ConfigError: settings that no part knows.
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
        channels = len(config.input.channels)
        self.regioner, regioner = _build(
            "regions", config.regioner, "model.regioner", channels=channels
        )
        self.encoder, encoder = _build(
            "encoders", config.encoder, "model.encoder", channels=channels
        )
        self.scorer, scorer = _build(
            "scorers", config.scorer, "model.scorer", dim=self.encoder.dim, channels=channels
        )
        self.config = ModelConfig(config.input, regioner, encoder, scorer)
        self.operating_point = operating_point
        self.calibration = (
            UNCALIBRATED  # of scores: they leave as probabilities, see bagscan.core.calibrated
        )
        self.about: dict[str, Any] = {}
        self.half_weights = (
            False  # weights are stored in 16 bits, half the size; arithmetic is always in 32
        )
        self.id = "unsaved"
        self.register_buffer(
            "mean", torch.tensor(config.input.mean)[:, None, None], persistent=False
        )
        self.register_buffer(
            "is_transmission",
            torch.tensor(config.input.is_transmission)[:, None, None],
            persistent=False,
        )
        self.register_buffer("std", torch.tensor(config.input.std)[:, None, None], persistent=False)

    @property
    def kind(self) -> str:
        """Of its regions, as in :class:`bagscan.core.Regions`."""
        return str(self.regioner.kind)

    @property
    def segments_differentiably(self) -> bool:
        """Whether the regioner gives a soft association that gradients pass through."""
        return self.regioner.is_soft

    def cut_by(self, regioner: dict[str, Any]) -> Model:
        """This model, judging the regions of another regioner: encoder and scorer are shared.

        The operating point is left behind: a threshold chosen on other regions means nothing here.

        Args:
            regioner: ``name`` and settings, as in a configuration.

        Raises:
            ConfigError: no such regioner or setting.
        """
        return self._with(
            *_build("regions", regioner, "regioner", channels=len(self.config.input.channels))
        )

    def everywhere(self) -> Model:
        """This model, judging the whole view where its regioner would look on items alone.

        The operating point is left behind, as in :meth:`cut_by`.
        """
        if self.regioner.cutter is self.regioner:
            return self
        return self._with(self.regioner.cutter, self.config.regioner["parts"])

    def _with(self, regioner: Regioner, settings: dict[str, Any]) -> Model:
        other = copy.copy(self)
        other._modules = dict(self._modules)
        other.regioner = regioner
        other.config = dataclasses.replace(self.config, regioner=settings)
        other.operating_point = None
        other.id = "unsaved"
        return other.eval()

    @property
    def device(self) -> torch.device:
        """Where its networks compute."""
        return self.mean.device

    def normalise(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) pixels -> the network's input, on its device."""
        pixels = pixels.to(self.device)
        if self.config.input.log_transmission:
            pixels = torch.where(
                self.is_transmission, -pixels.clamp(min=MIN_TRANSMISSION).log(), pixels
            )
        return (pixels - self.mean) / self.std

    @contextmanager
    def judging(self) -> Iterator[None]:
        """In use: no dropout, and on one thread, so that the last bit of a score does not depend on how many there are.

        Sums are split among threads, and floating point is not associative. A second thread would save an eighth of the time;
        more scans at a time take more processes.
        """
        if self.training:
            self.eval()
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    @torch.no_grad()
    def judge(self, view: View, n_superpixels: int | None = None) -> tuple[Regions, np.ndarray]:
        """Regions of a view already at working size, and their scores (n,)."""
        regions = self.regions(view, n_superpixels)
        image = self.normalise(torch.from_numpy(np.array(view.pixels))[None])
        return regions, self.score_image(image, regions)

    def examine(self, views: Sequence[View]) -> list[tuple[np.ndarray, np.ndarray]]:
        """(H, W) int32 regions and (n,) scores of every view of one bag, at its own size."""
        return [examine_one(self, view) for view in views]

    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Regions of a view already at working size."""
        self.config.input.check(view)
        found: Regions = self.regioner.regions(
            view, n_superpixels or self.config.input.superpixels(*view.shape)
        )
        return found

    @torch.no_grad()
    def score_image(self, image: Tensor, regions: Regions) -> np.ndarray:
        """(n,) calibrated scores of given regions of one normalised image (1, C, H, W)."""
        return self.score(self.describe(image, regions))

    @torch.no_grad()
    def describe(self, image: Tensor, regions: Regions) -> Tensor:
        """(n, dim) descriptions of given regions of one normalised image (1, C, H, W)."""
        if not regions.n:
            return image.new_zeros(0, self.encoder.dim)
        if isinstance(self.encoder, MapEncoder):  # pooled in the kernel that all runtimes share
            return self.encoder.in_context(
                torch.from_numpy(
                    region_means(_channels_last(self.encoder.maps(image))[0], regions)
                ).to(self.device)
            )
        if (
            regions.labels.ndim == 3
        ):  # instances overlap: each is the only region of an image of its own
            labels, images = (
                torch.tensor(regions.labels).long() - 1,
                image.expand(regions.n, -1, -1, -1),
            )
            chosen = torch.stack(
                [torch.arange(regions.n), torch.zeros(regions.n, dtype=torch.long)], 1
            )
        else:
            labels, images = torch.from_numpy(regions.labels.astype(np.int64))[None], image
            chosen = torch.stack(
                [torch.zeros(regions.n, dtype=torch.long), torch.arange(regions.n)], 1
            )
        described: Tensor = self.encoder(images, labels.to(self.device), chosen.to(self.device))
        return described.float()

    @property
    def of_maps(self) -> MapEncoder:
        """The encoder, where it averages maps.

        Raises:
            ModelError: it is one that does not.
        """
        if not isinstance(self.encoder, MapEncoder):
            raise ModelError(
                f"encoder {self.config.encoder['name']!r} has no maps: it describes region by region"
            )
        return self.encoder

    @torch.no_grad()
    def maps(self, pixels: np.ndarray) -> np.ndarray:
        """(B, C, H, W) pixels of views -> (B, h, w, D) feature maps, of an encoder that pools them."""
        return _channels_last(self.of_maps.maps(self.normalise(torch.from_numpy(np.array(pixels)))))

    @torch.no_grad()
    def score_means(self, means: np.ndarray) -> np.ndarray:
        """(n,) scores, not calibrated, of (n, D) means of maps in regions."""
        return np.asarray(
            self.scorer.score(self.of_maps.in_context(torch.from_numpy(means).to(self.device)))
            .float()
            .cpu()
            .numpy()
        )

    @torch.no_grad()
    def score(self, embeddings: Tensor) -> np.ndarray:
        """(n,) calibrated scores of descriptions (n, dim)."""
        return platt(
            np.asarray(self.scorer.score(embeddings).float().cpu().numpy()), self.calibration
        ).astype(np.float32)

    def save(self, folder: str | Path) -> str:
        """Write the model folder; returns its id. Exported graphs stay where weights and settings are those that they were made of."""
        folder = Path(folder)
        stored = in_half(self.state_dict()) if self.half_weights else self.state_dict()
        description = {
            "format": FORMAT,
            "code_version": __version__,
            "model": dataclasses.asdict(self.config),
            "operating_point": dataclasses.asdict(self.operating_point)
            if self.operating_point
            else None,
            "calibration": self.calibration,
            "about": self.about,
        }
        contents = {
            "weights.safetensors": tensor_bytes({k: v.contiguous() for k, v in stored.items()}),
            "model.json": json.dumps(description, indent=1).encode(),
            "MODEL_CARD.md": _card(self).encode(),
        }
        self.id = write_files(folder, contents, keep_graphs=_same_networks(folder, contents))
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
        settings = description["model"]
        if "regioner" not in settings:
            raise ModelError(
                f"{folder}: not a model of three parts but a {settings.get('kind')}; load_model takes any kind"
            )
        # The weights come from the folder: nothing is fetched to be overwritten.
        for part_of in (settings["regioner"], settings["encoder"]):
            _without_start(part_of)
        model = cls(
            fill(ModelConfig, settings, str(folder / "model.json")), operating_point_of(description)
        )
        try:
            weights = load_file(folder / "weights.safetensors")
            model.half_weights = any(v.dtype == torch.float16 for v in weights.values())
            model.load_state_dict(weights)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{folder}: weights do not fit model.json: {error}") from error
        model.about = description["about"]
        model.calibration = calibration_of(description)
        model.id = identity
        return model.eval()


def _channels_last(maps: Tensor) -> np.ndarray:
    """(B, D, h, w) -> (B, h, w, D) float32."""
    return maps.float().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _same_networks(folder: Path, contents: Mapping[str, bytes]) -> bool:
    """Whether what exported graphs follow from, weights and settings, is what lies in the folder."""
    try:
        there = [(folder / name).read_bytes() for name in ("weights.safetensors", "model.json")]
        settings = [json.loads(text)["model"] for text in (there[1], contents["model.json"])]
    except (OSError, ValueError, KeyError, TypeError):  # none, or a torn one
        return False
    return there[0] == contents["weights.safetensors"] and settings[0] == settings[1]


def _without_start(settings: dict[str, Any]) -> None:
    """Settings of a part, and of parts within it, that start from no other weights."""
    settings |= {
        key: default
        for key, default in (("pretrained", False), ("weights", None))
        if key in settings
    }
    for inner in (value for value in settings.values() if isinstance(value, dict)):
        _without_start(inner)


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
