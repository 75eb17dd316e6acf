"""Contact sheets of bags and devices in pseudo-colour, to compare by eye with real scans."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from PIL import Image

from bagscan.imaging.channels import Calibration, image
from bagscan.imaging.contact_sheet import draw_contact_sheet
from bagscan.imaging.scanner import Profile, load_profile
from bagscan.simulate.anomalies import KINDS
from bagscan.simulate.assembly import Assembly
from bagscan.simulate.concealment import WAYS, conceal
from bagscan.simulate.devices import NAMES, Family, build_device, device_module, draw_family
from bagscan.simulate.free_space import FreeSpaces
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.recipe import Recipe
from bagscan.simulate.render import render
from bagscan.simulate.scene import Scene, build_scene, plan

log = logging.getLogger(__name__)

CELL = (330, 250)  # width and height of a picture, in pixels


def contact_sheets(
    out: Path,
    bags: int = 24,
    devices: int = 32,
    seed: int = 0,
    profile: str = "g640",
) -> list[Path]:
    """Draw ``bags.png`` and ``devices.png``. Device classes take turns, each time a new family.

    Args:
        out: directory of the images.
        bags: number of bags.
        devices: number of devices that lie alone.
        seed: seed of the scenes.
        profile: scanner profile.

    Returns:
        Paths of the images; no image without bags or devices.
    """
    out.mkdir(parents=True, exist_ok=True)
    scanner = load_profile(profile)
    recipe = Recipe(devices=NAMES, seed=seed)
    cells = []
    for k in range(bags):
        scene_plan = plan(recipe, k)
        scene = build_scene(recipe, scene_plan, scanner.tunnel_mm)
        label = f"{scene_plan.family.device}, {scene_plan.reported_group}"
        cells.append((draw_views(scene, scanner, seed * 1000 + k)[0], label))
        log.info(f"bag {k + 1} of {bags}")
    sheets = [_draw_sheet(out / "bags.png", cells, 4)] if cells else []
    cells = []
    for k in range(devices):
        rng = recipe.stream(100_000 + k, "device")
        family = draw_family(NAMES[k % len(NAMES)], None, rng)
        device = build_device(family, rng)[0].moved(rotation_xyz(0, 0, rng.uniform(-0.3, 0.3)))
        scene = lay_alone(device, scanner)
        cells.append((draw_views(scene, scanner, seed * 1000 + k)[0], family.name))
    log.info(f"{devices} devices")
    return [*sheets, _draw_sheet(out / "devices.png", cells, 6)] if cells else sheets


def device_sheet(
    out: Path,
    name: str,
    seed: int = 0,
    profile: str = "g640",
) -> Path:
    """Draw ``NAME.png``: a family of every layout of a device, in every view of the scanner.

    Messages say what can be hidden in each layout: the number of kinds of anomaly by way.

    Args:
        out: directory of the image.
        name: one of :func:`bagscan.simulate.devices.names`.
        seed: seed of the pieces and of the noise.
        profile: scanner profile.

    Raises:
        ConfigError: the device is unknown.
    """
    out.mkdir(parents=True, exist_ok=True)
    scanner = load_profile(profile)
    cells = []
    for number, layout in enumerate(device_module(name).LAYOUTS):
        family = Family(name, layout, number)
        device = build_device(family, np.random.default_rng(seed))[0]
        pictures = draw_views(lay_alone(device, scanner), scanner, seed)
        for view, pixels in zip(scanner.views, pictures, strict=True):
            cells.append((pixels, f"{family.name}, {view.name}"))
        ways = ", ".join(f"{way} {n}" for way, n in _count_hidden(device, seed).items())
        log.info(f"{family.name}: kinds of anomaly of {len(KINDS)} by way: {ways}")
    return _draw_sheet(out / f"{name}.png", cells, len(scanner.views))


def _count_hidden(device: Assembly, seed: int) -> dict[str, int]:
    """Count the kinds of anomaly that can be hidden in a device, by way."""
    spaces, rng = FreeSpaces(device), np.random.default_rng(seed)
    return {way: sum(conceal(spaces, way, kind, rng) is not None for kind in KINDS) for way in WAYS}


def lay_alone(device: Assembly, scanner: Profile) -> Scene:
    """Lay a device on the belt, in the middle of the tunnel."""
    low, high = device.bounds
    centred_x = scanner.tunnel_mm[0] / 2 - (low[0] + high[0]) / 2
    shift = np.array([centred_x, 20 - low[1], 5 - low[2]])
    return Scene(device.moved(None, shift), (), (0.0, float(high[1] - low[1] + 40)))


def draw_views(scene: Scene, scanner: Profile, seed: int) -> list[np.ndarray]:
    """Render a scene, with its anomaly if it has one; return (H, W, 3) colours of every view."""
    calibration = Calibration.of_profile(scanner)
    pictures = []
    for view in next(iter(render(scene, scanner, seed).values())):
        low, high = view.counts.astype(np.float32) / scanner.air_counts
        pictures.append(image(low, high, calibration).colour.transpose(1, 2, 0))
    return pictures


def _draw_sheet(path: Path, cells: list[tuple[np.ndarray, str]], columns: int) -> Path:
    pictures = [(Image.fromarray(crop_to_ink(pixels)), label) for pixels, label in cells]
    draw_contact_sheet(pictures, columns, CELL).save(path)
    return path


def crop_to_ink(pixels: np.ndarray, margin: int = 6) -> np.ndarray:
    """Crop away the white border, except for a margin."""
    ink = np.asarray((pixels < 235).any(axis=2))
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not len(rows):
        return pixels
    return pixels[
        max(0, rows[0] - margin) : rows[-1] + margin,
        max(0, columns[0] - margin) : columns[-1] + margin,
    ]
