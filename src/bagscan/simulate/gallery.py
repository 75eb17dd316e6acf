"""Contact sheets of bags and devices in pseudo-colour, to compare by eye with real scans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from bagscan.imaging.channels import Calibration, image
from bagscan.imaging.scanner import load_profile
from bagscan.simulate.devices import NAMES, build_device, draw_family
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.recipe import Recipe
from bagscan.simulate.render import render
from bagscan.simulate.scene import Scene, build_scene, plan

CELL = (330, 250)  # width and height of a picture, in pixels
LABEL_HEIGHT = 18


def contact_sheets(
    out: Path,
    bags: int = 24,
    devices: int = 32,
    seed: int = 0,
    profile: str = "g640",
    report: Callable[[str], None] = print,
) -> list[Path]:
    """Draw ``bags.png`` and ``devices.png``. Device classes take turns, each time a new family.

    Args:
        out: directory of the images.
        bags: number of bags.
        devices: number of devices that lie alone.
        seed: seed of the scenes.
        profile: scanner profile.
        report: prints progress messages.

    Returns:
        Paths of the two images.
    """
    out.mkdir(parents=True, exist_ok=True)
    scanner = load_profile(profile)
    calibration = Calibration.of_profile(scanner)

    def picture(scene: Scene, number: int) -> np.ndarray:
        view = next(iter(render(scene, scanner, seed * 1000 + number).values()))[0]
        low, high = view.counts.astype(np.float32) / scanner.air_counts
        return image(low, high, calibration).colour.transpose(1, 2, 0)

    recipe = Recipe(devices=NAMES, seed=seed)
    cells = []
    for k in range(bags):
        scene_plan = plan(recipe, k)
        scene = build_scene(recipe, scene_plan, scanner.tunnel_mm)
        label = f"{scene_plan.family.device}, {scene_plan.reported_group}"
        cells.append((picture(scene, k), label))
        report(f"bag {k + 1} of {bags}")
    bag_sheet = _draw_sheet(out / "bags.png", cells, 4)
    cells = []
    for k in range(devices):
        rng = recipe.stream(100_000 + k, "device")
        family = draw_family(NAMES[k % len(NAMES)], None, rng)
        alone = build_device(family, rng)[0].moved(rotation_xyz(0, 0, rng.uniform(-0.3, 0.3)))
        low, high = alone.bounds
        centred_x = scanner.tunnel_mm[0] / 2 - (low[0] + high[0]) / 2
        shift = np.array([centred_x, 20 - low[1], 5 - low[2]])
        y_mm = (0.0, float(high[1] - low[1] + 40))
        cells.append((picture(Scene(alone.moved(None, shift), (), y_mm), k), family.name))
    report(f"{devices} devices")
    return [bag_sheet, _draw_sheet(out / "devices.png", cells, 6)]


def _draw_sheet(path: Path, cells: list[tuple[np.ndarray, str]], columns: int) -> Path:
    width, height = CELL
    rows = max(1, -(-len(cells) // columns))
    sheet = Image.new("RGB", (columns * width, rows * (height + LABEL_HEIGHT)), "white")
    draw = ImageDraw.Draw(sheet)
    for k, (pixels, label) in enumerate(cells):
        thumbnail = Image.fromarray(_crop_to_ink(pixels))
        thumbnail.thumbnail((width - 8, height - 4), Image.Resampling.LANCZOS)
        x, y = k % columns * width, k // columns * (height + LABEL_HEIGHT)
        left, top = (width - thumbnail.width) // 2, 16 + (height - thumbnail.height) // 2
        sheet.paste(thumbnail, (x + left, y + top))
        draw.text((x + 6, y + 2), label, fill=(90, 90, 90))
    sheet.save(path)
    return path


def _crop_to_ink(pixels: np.ndarray, margin: int = 6) -> np.ndarray:
    """Crop away the white border, except for a margin."""
    ink = np.asarray((pixels < 235).any(axis=2))
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not len(rows):
        return pixels
    return pixels[
        max(0, rows[0] - margin) : rows[-1] + margin,
        max(0, columns[0] - margin) : columns[-1] + margin,
    ]
