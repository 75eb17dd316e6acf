"""Export of a simulated dataset in the layout of COMPASS-XP (Griffin et al. 2018).

Each kind of image has a directory: ``Low``, ``High`` and ``Density`` hold 16-bit PNGs, ``Grey`` and
``Colour`` 8-bit PNGs. A view has the same file name in all of them. ``meta.txt`` has a row for each
view: name, scan, device class, dangerous (1) or not (0). There are no photographs.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from PIL import Image

from bagscan.core.errors import DataError
from bagscan.formats import read_scan
from bagscan.physics.effective_z import log_attenuation
from bagscan.simulate.summary import read_scans

log = logging.getLogger(__name__)

FOLDERS = ("Low", "High", "Density", "Grey", "Colour")
DENSITY_FULL_SCALE = 8.0  # mean log attenuation of low and high that becomes white


def export(dataset: Path, out: Path) -> int:
    """Write every view of a simulated dataset.

    Args:
        dataset: directory of the dataset.
        out: directory of the export.

    Returns:
        The number of views.

    Raises:
        DataError: ``dataset`` is not a simulated dataset.
    """
    if not (dataset / "scans").is_dir():
        raise DataError(
            f'{dataset}: is not a simulated dataset; run "bagscan simulate" to make one'
        )
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)
    rows = ["name\tinstance\tclass\tdangerous"]
    for record in read_scans(dataset):
        for view in record["views"]:
            name = f"{record['id']}_{view}"
            _export_view(dataset, out, name)
            rows.append(
                f"{name}\t{record['id']}\t{record['device']}\t{int(record['label'] == 'anomalous')}"
            )
    (out / "meta.txt").write_text("\n".join(rows) + "\n")
    log.info(f"{len(rows) - 1} views in {out}")
    return len(rows) - 1


def _export_view(dataset: Path, out: Path, name: str) -> None:
    pixels = read_scan(dataset / "raw" / f"{name}.tif").views[0].pixels
    low, high = (np.clip(p, 0, 1) for p in pixels[:2])
    density = np.clip((log_attenuation(low) + log_attenuation(high)) / 2 / DENSITY_FULL_SCALE, 0, 1)
    for folder, plane in (("Low", low), ("High", high), ("Density", density)):
        Image.fromarray(np.rint(plane * 65535).astype(np.uint16)).save(out / folder / f"{name}.png")
    grey = np.rint((low + high) / 2 * 255).astype(np.uint8)
    Image.fromarray(grey).save(out / "Grey" / f"{name}.png")
    colour = (dataset / "colour" / f"{name}.png").read_bytes()
    (out / "Colour" / f"{name}.png").write_bytes(colour)
