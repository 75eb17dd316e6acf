"""Contact sheets: bags and devices in pseudo-colour, to compare by eye with real scans."""

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

CELL = (330, 250)  # width and height in pixels


def contact_sheets(
    out: Path,
    bags: int = 24,
    devices: int = 32,
    seed: int = 0,
    profile: str = "g640",
    report: Callable[[str], None] = print,
) -> list[Path]:
    """Write ``bags.png`` and ``devices.png``; every device class in turn, each of another family."""
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
        what = plan(recipe, k)
        cells.append(
            (
                picture(build_scene(recipe, what, scanner.tunnel_mm), k),
                f"{what.family.device}, {what.told_group}",
            )
        )
        report(f"bag {k + 1} of {bags}")
    written = [_sheet(out / "bags.png", cells, 4)]
    cells = []
    for k in range(devices):
        rng = recipe.stream(100_000 + k, "device")
        family = draw_family(NAMES[k % len(NAMES)], None, rng)
        alone = build_device(family, rng)[0].moved(rotation_xyz(0, 0, rng.uniform(-0.3, 0.3)))
        low, high = alone.bounds
        middle = np.array(
            [scanner.tunnel_mm[0] / 2 - (low[0] + high[0]) / 2, 20 - low[1], 5 - low[2]]
        )
        cells.append(
            (
                picture(
                    Scene(alone.moved(None, middle), (), (0.0, float(high[1] - low[1] + 40))), k
                ),
                family.name,
            )
        )
    report(f"{devices} devices")
    return [*written, _sheet(out / "devices.png", cells, 6)]


def _sheet(path: Path, cells: list[tuple[np.ndarray, str]], columns: int) -> Path:
    width, height = CELL
    rows = max(1, -(-len(cells) // columns))
    sheet = Image.new("RGB", (columns * width, rows * (height + 18)), "white")
    draw = ImageDraw.Draw(sheet)
    for k, (pixels, label) in enumerate(cells):
        small = Image.fromarray(_trimmed(pixels))
        small.thumbnail((width - 8, height - 4), Image.Resampling.LANCZOS)
        x, y = k % columns * width, k // columns * (height + 18)
        sheet.paste(small, (x + (width - small.width) // 2, y + 16 + (height - small.height) // 2))
        draw.text((x + 6, y + 2), label, fill=(90, 90, 90))
    sheet.save(path)
    return path


def _trimmed(pixels: np.ndarray, margin: int = 6) -> np.ndarray:
    """Less the white around."""
    ink = np.asarray((pixels < 235).any(axis=2))
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not len(rows):
        return pixels
    return pixels[
        max(0, rows[0] - margin) : rows[-1] + margin,
        max(0, columns[0] - margin) : columns[-1] + margin,
    ]
