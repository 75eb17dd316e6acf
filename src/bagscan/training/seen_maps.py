"""Maps of a trained detector on packed scenes, stored on disk with their truth by cell.

Each scene has two views, and two scans of each: without and with its anomaly.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bagscan.core.files import atomic_write, atomic_write_text
from bagscan.datasets.packed import FIRST_DEVICE, IGNORED, MAX_DEVICES, PackedScene, PackedView
from bagscan.detector.features import CELL_PX, convert_features
from bagscan.detector.model import Detector
from bagscan.detector.sampling import whole_view
from bagscan.detector.together import VIEWS
from bagscan.training.compute import autocast_bf16, compute

log = logging.getLogger(__name__)

HALF_CELL = 8  # label pixels, of 16 per cell
TRUTHS = 2 + MAX_DEVICES  # planes of the truth: anomaly, ignored pixels and each device
REPORT_EVERY = 100


@dataclass(frozen=True)
class ScanMaps:
    """One view of a scene, without or with its anomaly, in cells.

    Attributes:
        merged: (n, h, w) float16 features.
        anomaly: (1, h, w) float16 logits.
        truth: (10, h, w) float16 label pixels per cell, see :func:`truth_of`.
        verdicts: log-odds of each device from this view alone.
    """

    merged: np.ndarray
    anomaly: np.ndarray
    truth: np.ndarray
    verdicts: tuple[float, ...]


@dataclass(frozen=True)
class SceneMaps:
    """Stored maps of a scene.

    Attributes:
        path: file with the arrays.
        shapes: (h, w) in cells of each view.
        verdicts: log-odds by view, scan and device.
        host: number of the device under test.
        visible: whether the anomaly is visible, by view.
    """

    path: Path
    shapes: tuple[tuple[int, int], ...]
    verdicts: tuple[tuple[tuple[float, ...], ...], ...]
    host: int
    visible: tuple[bool, ...]

    def scans(self, anomalous: bool) -> list[ScanMaps]:
        """Return both views of the benign or the anomalous scan, mapped from disk."""
        flat, at, views = np.load(self.path, mmap_mode="r"), 0, []
        features = (len(flat) // (2 * sum(h * w for h, w in self.shapes))) - 1 - TRUTHS
        for (h, w), verdicts in zip(self.shapes, self.verdicts, strict=True):
            for scan in (False, True):
                parts = []
                for channels in (features, 1, TRUTHS):
                    parts.append(flat[at : at + channels * h * w].reshape(channels, h, w))
                    at += channels * h * w
                if scan == anomalous:
                    views.append(ScanMaps(parts[0], parts[1], parts[2], verdicts[int(scan)]))
        return views


def load_scene_maps(
    detector: Detector, scenes: Sequence[PackedScene], folder: Path
) -> list[SceneMaps]:
    """Compute and store the maps of scenes; stored maps are reused.

    Args:
        detector: trained detector.
        scenes: packed scenes; those without two views or a device under test are left out.
        folder: directory for the maps of this detector alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    process, network = compute(), detector.network.eval()
    network = network.to(process.device).to(memory_format=torch.channels_last)
    scenes = [scene for scene in scenes if len(scene.views) >= VIEWS and scene.views[0].host >= 0]
    missing = [
        scene for scene in scenes if not _array_path(folder, scene).with_suffix(".json").is_file()
    ]
    for done, scene in enumerate(missing if process.writes else (), 1):
        _store_maps(detector, network, scene, _array_path(folder, scene))
        if done % REPORT_EVERY == 0 or done == len(missing):
            log.info(f"computed the maps of {done} of {len(missing)} scenes")
    process.broadcast_from_rank0(True)  # the other processes wait until the maps are stored
    return [_read_scene(_array_path(folder, scene)) for scene in scenes]


def _array_path(folder: Path, scene: PackedScene) -> Path:
    return folder / f"{scene.id.replace('/', '-')}.npy"


def _read_scene(path: Path) -> SceneMaps:
    entry = json.loads(path.with_suffix(".json").read_text())
    verdicts = tuple(tuple(tuple(scan) for scan in view) for view in entry["verdicts"])
    return SceneMaps(
        path,
        tuple((h, w) for h, w in entry["shapes"]),
        verdicts,
        entry["host"],
        tuple(entry["visible"]),
    )


def truth_of(counts: np.ndarray, kinds: int) -> np.ndarray:
    """Return the truth of cells from counts of labels.

    Args:
        counts: (128, h, w) label pixels per cell of each label.
        kinds: number of kinds of anomalies, the first labels.

    Returns:
        (10, h, w) label pixels, 0 to 16 per cell, of the anomaly, of pixels to ignore, and of each
        device.
    """
    return np.concatenate(
        [
            counts[:kinds].max(0, keepdims=True),
            counts[IGNORED : IGNORED + 1],
            counts[FIRST_DEVICE : FIRST_DEVICE + MAX_DEVICES],
        ]
    )


@torch.inference_mode()
def _store_maps(
    detector: Detector, network: torch.nn.Module, scene: PackedScene, path: Path
) -> None:
    arrays: list[np.ndarray] = []
    verdicts = []
    for view in scene.views[:VIEWS]:
        view_verdicts = []
        for anomalous in (False, True):
            planes, scan_verdicts = _compute_maps(detector, network, view, anomalous)
            arrays += planes
            view_verdicts.append(scan_verdicts)
        verdicts.append(view_verdicts)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.concatenate([array.astype(np.float16).ravel() for array in arrays]))
    shapes = [[-(-n // CELL_PX) for n in view.pixels.shape[1:]] for view in scene.views[:VIEWS]]
    visible = [bool(view.about["visible"]) for view in scene.views[:VIEWS]]
    atomic_write_text(
        path.with_suffix(".json"),
        json.dumps(
            {
                "shapes": shapes,
                "verdicts": verdicts,
                "host": scene.views[0].host,
                "visible": visible,
            }
        ),
    )


def _compute_maps(
    detector: Detector, network: torch.nn.Module, view: PackedView, anomalous: bool
) -> tuple[list[np.ndarray], list[float]]:
    """Return features, map and truth of one view, and the verdict of each of its devices."""
    features, counts = whole_view(view, anomalous)
    devices = counts[FIRST_DEVICE : FIRST_DEVICE + MAX_DEVICES]
    with autocast_bf16(compute().device):
        pixels = convert_features(features[None], detector.images)
        maps = network(torch.from_numpy(np.ascontiguousarray(pixels)).to(compute().device))
        masks = torch.from_numpy((devices > HALF_CELL).astype(np.float32))[:, None]
        masks = masks.to(compute().device)
        verdicts = (
            detector.network.verdict(maps.anomaly, maps.fine, maps.coarse, masks).float().tolist()
        )
    h, w = (-(-n // CELL_PX) for n in view.pixels.shape[1:])
    planes = [
        maps.merged.float().cpu().numpy()[0],
        maps.anomaly.float().cpu().numpy()[0],
        truth_of(counts, detector.kinds),
    ]
    return [plane[:, :h, :w] for plane in planes], verdicts[: len(view.devices)]
