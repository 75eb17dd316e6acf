"""Threat image projection from file to file: what ``bagscan tip`` does."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bagscan.core.errors import ConfigError, DataError, ReadError, nearest
from bagscan.formats import read_view
from bagscan.imaging.channels import Calibration, image, write_dual_energy
from bagscan.imaging.convert import normalised
from bagscan.imaging.scanner import load_profile
from bagscan.physics.materials import material
from bagscan.simulate.anomalies import BUILDERS, build_anomaly, wanted_size
from bagscan.simulate.assembly import Assembly, Builder
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.stl import read_stl
from bagscan.simulate.tip import project, project_colour, render_threat

DARK = 0.97  # transmission below which something lies in the beam


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
    """Put a threat into one scan and write it with its mask.

    Raises:
        ConfigError: an unknown kind or material, or values that are no numbers. ReadError: an unreadable scan.
        DataError: the threat does not fit.
    """
    if seed < 0:
        raise ConfigError(f"--seed must be 0 or more, got {seed}")
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    profile = load_profile(profile_name)
    threat = render_threat(_built(kind, size_mm, mesh, mesh_material, rng), profile)
    view = read_view(scan)
    raw = {"low", "high"} <= set(view.channels)
    if not raw and view.channels != ("red", "green", "blue"):
        raise ReadError(
            f"{scan}: a threat needs low and high energy, or colour, and this scan has {', '.join(view.channels)}"
        )
    if out.suffix.lower() not in ((".tif", ".tiff") if raw else (".png",)):
        raise ConfigError(
            f"--out {out}: {'raw scans are written as .tif' if raw else 'colour pictures are written as .png'}"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    low, high, assumed = normalised(scan, view, air) if raw else (view.pixels, view.pixels, "")
    where = (
        _numbers(at, 2, "--at")
        if at
        else _inside((low + high) / 2 if raw else view.pixels.mean(0), threat.mask.shape, rng)
    )
    place = int(where[0]), int(where[1])
    if raw:
        channels = np.stack([low, high])
        made, mask = project(channels, threat, place, profile, rng)
        imaged = image(made[0], made[1], Calibration.of_profile(profile))
        counts = np.rint(made * profile.air_counts).clip(0, 65535).astype(np.uint16)
        write_dual_energy(out, counts, imaged, profile.air_counts)
        method = f"in the basis-material domain{assumed}"
    else:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            made, mask = project_colour(view.pixels, threat, place, profile)
        Image.fromarray(np.rint(made.transpose(1, 2, 0) * 255).clip(0, 255).astype(np.uint8)).save(
            out
        )
        method = f"multiplied ({caught[0].message})"
    Image.fromarray(mask.astype(np.uint8) * 255).save(out.with_name(f"{out.stem}_mask.png"))
    return {
        "kind": str(mesh) if mesh else kind,
        "at": list(place),
        "pixels": int(mask.sum()),
        "method": method,
        "out": str(out),
    }


def _built(
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
            f"unknown kind {kind!r}{nearest(kind, BUILDERS)}; there are {', '.join(BUILDERS)}"
        )
    for _ in range(20):
        found = build_anomaly(
            kind, _numbers(size_mm, 3, "--size-mm") if size_mm else wanted_size(kind, rng), rng
        )
        if found is not None:
            return found.moved(turn)
    raise DataError(f"a {kind} needs more room than {size_mm} mm")


def _numbers(text: str, n: int, option: str) -> np.ndarray:
    try:
        values = np.array([float(v) for v in text.split(",")])
    except ValueError as error:
        raise ConfigError(
            f"{option} needs {n} numbers with commas between, got {text!r}"
        ) from error
    if len(values) != n or not np.isfinite(values).all() or (values < 0).any():
        raise ConfigError(
            f"{option} needs {n} numbers of 0 or more with commas between, got {text!r}"
        )
    return values


def _inside(grey: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Row and column at which a threat's middle falls on something."""
    dark = np.argwhere(grey < DARK)
    room = np.array(grey.shape) - shape
    if (room < 0).any():
        raise DataError(
            f"the threat covers {shape[0]} × {shape[1]} pixels, more than the scan's {grey.shape[0]} × {grey.shape[1]}"
        )
    middle = dark[int(rng.integers(len(dark)))] if len(dark) else np.array(grey.shape) // 2
    return np.asarray(np.clip(middle - np.array(shape) // 2, 0, room))
