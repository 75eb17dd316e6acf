"""Threat image projection from file to file, for ``bagscan tip``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bagscan.core.errors import ConfigError, DataError, ReadError, nearest
from bagscan.formats import read_view
from bagscan.imaging.channels import Calibration, image, write_dual_energy
from bagscan.imaging.convert import normalise
from bagscan.imaging.scanner import load_profile
from bagscan.physics.materials import material
from bagscan.simulate.anomalies import BUILDERS, build_anomaly, draw_place_size
from bagscan.simulate.assembly import Assembly, Builder
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.stl import read_stl
from bagscan.simulate.tip import COLOUR_ALONE, project, project_colour, render_threat

DARK = 0.97  # transmission below which a pixel is foreground


def project_file(
    scan: Path,
    out: Path,
    kind: str,
    size_mm: str | None,
    mesh: Path | None,
    mesh_material: str,
    at: str | None,
    profile_name: str,
    seed: int,
    air: float | None = None,
) -> dict[str, Any]:
    """Project a threat into a scan, and write the new scan and the mask of the threat.

    Args:
        scan: scan with low and high energy, or colour.
        out: file to write; the mask is written to ``NAME_mask.png`` in the same folder.
        kind: kind of the threat, if ``mesh`` is None.
        size_mm: size as ``X,Y,Z``; None to draw it.
        mesh: STL file of the threat.
        mesh_material: material of the mesh.
        at: position of the first pixel as ``ROW,COLUMN``; None to draw it.
        profile_name: scanner profile.
        seed: seed of the threat, its position and its noise.
        air: value of air, as a share of full scale; None to estimate it.

    Returns:
        Kind, position, number of pixels, method and output file.

    Raises:
        ConfigError: the kind or material is unknown, or an option is invalid.
        ReadError: the scan is unreadable or lacks the channels.
        DataError: the threat does not fit.
    """
    if seed < 0:
        raise ConfigError(f"--seed must be 0 or more, got {seed}")
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    profile = load_profile(profile_name)
    threat = render_threat(_build_threat(kind, size_mm, mesh, mesh_material, rng), profile)
    view = read_view(scan)
    is_raw = {"low", "high"} <= set(view.channels)
    if not is_raw and view.channels != ("red", "green", "blue"):
        raise ReadError(
            f"{scan}: the scan has the channels {', '.join(view.channels)}; "
            "a threat needs low and high energy, or colour"
        )
    if out.suffix.lower() not in ((".tif", ".tiff") if is_raw else (".png",)):
        expected = (
            "raw scans are written as .tif" if is_raw else "colour images are written as .png"
        )
        raise ConfigError(f"--out {out}: {expected}")
    out.parent.mkdir(parents=True, exist_ok=True)
    low, high, assumption = normalise(scan, view, air) if is_raw else (view.pixels, view.pixels, "")
    grey = (low + high) / 2 if is_raw else view.pixels.mean(0)
    place = _choose_position(at, grey, threat.mask.shape, rng)
    if is_raw:
        channels = np.stack([low, high])
        projected, mask = project(channels, threat, place, profile, rng)
        imaged = image(projected[0], projected[1], Calibration.of_profile(profile))
        counts = np.rint(projected * profile.air_counts).clip(0, 65535).astype(np.uint16)
        write_dual_energy(out, counts, imaged, profile.air_counts)
        method = f"in the basis-material domain{assumption}"
    else:
        projected, mask = project_colour(view.pixels, threat, place, profile)
        rgb = np.rint(projected.transpose(1, 2, 0) * 255).clip(0, 255).astype(np.uint8)
        Image.fromarray(rgb).save(out)
        method = f"multiplied ({COLOUR_ALONE})"
    Image.fromarray(mask.astype(np.uint8) * 255).save(out.with_name(f"{out.stem}_mask.png"))
    return {
        "kind": str(mesh) if mesh else kind,
        "at": list(place),
        "pixels": int(mask.sum()),
        "method": method,
        "out": str(out),
    }


def _build_threat(
    kind: str, size_mm: str | None, mesh: Path | None, mesh_material: str, rng: np.random.Generator
) -> Assembly:
    turn = rotation_xyz(rng.normal(0, 0.2), rng.normal(0, 0.2), rng.uniform(0, 2 * np.pi))
    if mesh:
        b = Builder(rng)
        with b.part("anomaly"):
            b.add(read_stl(mesh), material(mesh_material).name)
        return b.build().moved(turn)
    if kind not in BUILDERS:
        raise ConfigError(
            f"unknown kind {kind!r}{nearest(kind, BUILDERS)}; available: {', '.join(BUILDERS)}"
        )
    for _ in range(20):
        size = _parse_numbers(size_mm, 3, "--size-mm") if size_mm else draw_place_size(kind, rng)
        anomaly = build_anomaly(kind, size, rng)
        if anomaly is not None:
            return anomaly.moved(turn)
    raise DataError(f"a {kind} does not fit into {size_mm} mm; choose a larger --size-mm")


def _parse_numbers(text: str, n: int, option: str) -> np.ndarray:
    try:
        values = np.array([float(v) for v in text.split(",")])
    except ValueError as error:
        raise ConfigError(
            f"{option} needs {n} numbers separated by commas, got {text!r}"
        ) from error
    if len(values) != n or not np.isfinite(values).all() or (values < 0).any():
        raise ConfigError(
            f"{option} needs {n} numbers of 0 or more separated by commas, got {text!r}"
        )
    return values


def _choose_position(
    at: str | None, grey: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[int, int]:
    """Return the first pixel of the threat: as given, or centred on a random foreground pixel."""
    if at:
        row, column = _parse_numbers(at, 2, "--at")
        return int(row), int(column)
    foreground = np.argwhere(grey < DARK)
    last = np.array(grey.shape) - shape
    if (last < 0).any():
        raise DataError(
            f"the threat covers {shape[0]} × {shape[1]} pixels and does not fit into the scan of "
            f"{grey.shape[0]} × {grey.shape[1]} pixels; use a smaller threat"
        )
    if len(foreground):
        middle = foreground[int(rng.integers(len(foreground)))]
    else:
        middle = np.array(grey.shape) // 2
    row, column = np.clip(middle - np.array(shape) // 2, 0, last)
    return int(row), int(column)
