"""What a trained detector's maps show of packed scenes, kept on disk: both scans of a scene, both views, with their truth by cell."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bagscan.core.files import atomic_write, atomic_write_text
from bagscan.datasets.packed import FIRST_DEVICE, IGNORED, MAX_DEVICES, PackedScene, PackedView
from bagscan.detector.features import CELL_PX, as_seen
from bagscan.detector.model import Detector
from bagscan.detector.sampling import whole_view
from bagscan.detector.together import VIEWS
from bagscan.training.compute import autocast_bf16, compute

HALF_A_CELL = 8  # of its 16 label pixels
TRUTHS = (
    2 + MAX_DEVICES
)  # shares of the anomaly, of what is ignored, and of every device, in sixteenths
REPORT_EVERY = 100


@dataclass(frozen=True)
class SeenScan:
    """One view of a scene, without or with its anomaly, in cells.

    Attributes:
        merged: (n, h, w) float16 features. anomaly: (1, h, w) logits. truth: (10, h, w) shares in sixteenths. verdicts: of every device, by this view alone.
    """

    merged: np.ndarray
    anomaly: np.ndarray
    truth: np.ndarray
    verdicts: tuple[float, ...]


@dataclass(frozen=True)
class SeenScene:
    """Attributes:
    path: of the numbers. shapes: (h, w) of both views. verdicts: by view, scan and device. host: number of the device under test.
    visible: whether the anomaly can be seen, by view.
    """

    path: Path
    shapes: tuple[tuple[int, int], ...]
    verdicts: tuple[tuple[tuple[float, ...], ...], ...]
    host: int
    visible: tuple[bool, ...]

    def scans(self, anomalous: bool) -> list[SeenScan]:
        """Both views of one of the two scans, mapped from disk."""
        flat, at, found = np.load(self.path, mmap_mode="r"), 0, []
        features = (len(flat) // (2 * sum(h * w for h, w in self.shapes))) - 1 - TRUTHS
        for (h, w), of_view in zip(self.shapes, self.verdicts, strict=True):
            for scan in (False, True):
                parts = []
                for channels in (features, 1, TRUTHS):
                    parts.append(flat[at : at + channels * h * w].reshape(channels, h, w))
                    at += channels * h * w
                if scan == anomalous:
                    found.append(SeenScan(parts[0], parts[1], parts[2], of_view[int(scan)]))
        return found


def seen_scenes(
    detector: Detector, scenes: Sequence[PackedScene], folder: Path, report: Callable[[str], None]
) -> list[SeenScene]:
    """Scenes as a detector sees them; those that lie in the folder are not looked at again.

    Args:
        folder: of this detector's maps alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    where, network = compute(), detector.network.eval().to(memory_format=torch.channels_last)
    scenes = [scene for scene in scenes if len(scene.views) >= VIEWS and scene.views[0].host >= 0]
    todo = [scene for scene in scenes if not _place(folder, scene).with_suffix(".json").is_file()]
    for done, scene in enumerate(todo if where.writes else (), 1):
        _keep(detector, network, scene, _place(folder, scene))
        if done % REPORT_EVERY == 0 or done == len(todo):
            report(f"looked at {done} of {len(todo)} scenes")
    where.broadcast_from_rank0(
        True
    )  # of several processes that train together the others wait for the first
    return [_read(_place(folder, scene)) for scene in scenes]


def _place(folder: Path, scene: PackedScene) -> Path:
    return folder / f"{scene.id.replace('/', '-')}.npy"


def _read(path: Path) -> SeenScene:
    result = json.loads(path.with_suffix(".json").read_text())
    verdicts = tuple(tuple(tuple(scan) for scan in view) for view in result["verdicts"])
    return SeenScene(
        path,
        tuple((h, w) for h, w in result["shapes"]),
        verdicts,
        result["host"],
        tuple(result["visible"]),
    )


def truth_of(counts: np.ndarray, kinds: int) -> np.ndarray:
    """(10, h, w) sixteenths of each cell that are anomalous, ignored, and of every device, from (128, h, w) counts of labels.

    Args:
        kinds: number of kinds of anomaly, the first labels.
    """
    return np.concatenate(
        [
            counts[:kinds].max(0, keepdims=True),
            counts[IGNORED : IGNORED + 1],
            counts[FIRST_DEVICE : FIRST_DEVICE + MAX_DEVICES],
        ]
    )


@torch.inference_mode()
def _keep(detector: Detector, network: torch.nn.Module, scene: PackedScene, path: Path) -> None:
    arrays: list[np.ndarray] = []
    verdicts = []
    for view in scene.views[:VIEWS]:
        of_view = []
        for anomalous in (False, True):
            seen, result = _look(detector, network, view, anomalous)
            arrays += seen
            of_view.append(result)
        verdicts.append(of_view)
    with atomic_write(path) as part, part.open("wb") as file:
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


def _look(
    detector: Detector, network: torch.nn.Module, view: PackedView, anomalous: bool
) -> tuple[list[np.ndarray], list[float]]:
    """Features, map and truth of one view, and the verdict on each of its devices."""
    features, counts = whole_view(view, anomalous)
    devices = counts[FIRST_DEVICE : FIRST_DEVICE + MAX_DEVICES]
    with autocast_bf16(compute().device, True):
        maps = network(
            torch.from_numpy(np.ascontiguousarray(as_seen(features[None], detector.images)))
        )
        masks = torch.from_numpy((devices > HALF_A_CELL).astype(np.float32))[:, None]
        verdicts = (
            detector.network.verdict(maps.anomaly, maps.fine, maps.coarse, masks).float().tolist()
        )
    h, w = (-(-n // CELL_PX) for n in view.pixels.shape[1:])
    planes = [
        maps.merged.float().numpy()[0],
        maps.anomaly.float().numpy()[0],
        truth_of(counts, detector.kinds),
    ]
    return [plane[:, :h, :w] for plane in planes], verdicts[: len(view.devices)]
