"""A simulated data set laid out like COMPASS-XP (Griffin et al. 2018): one folder per kind of image.

``Low``, ``High`` and ``Density`` are 16-bit, ``Grey`` and ``Colour`` 8-bit PNGs of one name, and
``meta.txt`` has a row for each: name, object, class, dangerous or not. There are no photographs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from bagscan.core.errors import DataError
from bagscan.formats import read_scan
from bagscan.physics.effective_z import log_attenuation
from bagscan.simulate.summary import read_scans

FOLDERS = ("Low", "High", "Density", "Grey", "Colour")
DENSITY_FULL_SCALE = 8.0  # log attenuation


def export(dataset: Path, out: Path, report: Callable[[str], None] = print) -> int:
    """Write every view of a simulated data set; its number is returned.

    Raises:
        DataError: not a simulated data set.
    """
    if not (dataset / "scans").is_dir():
        raise DataError(f"{dataset}: no simulated data set (bagscan simulate makes one)")
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)
    rows = ["name\tinstance\tclass\tdangerous"]
    for record in read_scans(dataset):
        for view in record["views"]:
            name = f"{record['id']}_{view}"
            _one(dataset, out, name)
            rows.append(
                f"{name}\t{record['id']}\t{record['device']}\t{int(record['label'] == 'anomalous')}"
            )
    (out / "meta.txt").write_text("\n".join(rows) + "\n")
    report(f"{len(rows) - 1} views in {out}")
    return len(rows) - 1


def _one(dataset: Path, out: Path, name: str) -> None:
    pixels = read_scan(dataset / "raw" / f"{name}.tif").views[0].pixels
    low, high = (np.clip(p, 0, 1) for p in pixels[:2])
    density = np.clip((log_attenuation(low) + log_attenuation(high)) / 2 / DENSITY_FULL_SCALE, 0, 1)
    for folder, plane in (("Low", low), ("High", high), ("Density", density)):
        Image.fromarray(np.rint(plane * 65535).astype(np.uint16)).save(out / folder / f"{name}.png")
    Image.fromarray(np.rint((low + high) / 2 * 255).astype(np.uint8)).save(
        out / "Grey" / f"{name}.png"
    )
    (out / "Colour" / f"{name}.png").write_bytes((dataset / "colour" / f"{name}.png").read_bytes())
