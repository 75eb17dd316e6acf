"""Reader of a user's own STL meshes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from bagscan.core.errors import ReadError
from bagscan.formats.limits import check_size
from bagscan.simulate.mesh import Mesh

MAX_FACES = 2_000_000
MERGE_MM = 1e-4
MIN_MM, MAX_MM = 2.0, 1000.0  # range of the longest side


def read_stl(path: str | Path) -> Mesh:
    """Read a binary or text STL in mm as a closed mesh with outward faces.

    Coinciding corners are merged and degenerate faces are dropped.

    Raises:
        ReadError: the file is not an STL, has too few or too many faces or a surface that is not
            closed, or its size in mm is implausible.
    """
    path = Path(path)
    check_size(path)
    data = path.read_bytes()
    count = int.from_bytes(data[80:84], "little") if len(data) >= 84 else -1
    corners = _binary(data, count) if len(data) == 84 + 50 * count else _text(path, data)
    if not 4 <= len(corners) <= MAX_FACES:
        raise ReadError(f"{path}: the mesh has {len(corners)} faces; expected 4 to {MAX_FACES:,}")
    if not np.isfinite(corners).all():
        raise ReadError(f"{path}: a vertex coordinate is not a finite number")
    cells, faces = np.unique(
        np.rint(corners.reshape(-1, 3) / MERGE_MM).astype(np.int64), axis=0, return_inverse=True
    )
    faces = faces.reshape(-1, 3)
    flat = (
        (faces[:, 0] == faces[:, 1]) | (faces[:, 1] == faces[:, 2]) | (faces[:, 2] == faces[:, 0])
    )
    mesh = Mesh(cells * MERGE_MM, faces[~flat])
    longest = float(np.ptp(mesh.vertices, axis=0).max())
    if not MIN_MM <= longest <= MAX_MM:
        raise ReadError(
            f"{path}: the longest side of the mesh is {longest:.3g} mm; expected {MIN_MM:g} to "
            f"{MAX_MM:g} mm; if the mesh is in metres or inches, scale it to mm"
        )
    if not mesh.watertight:
        raise ReadError(
            f"{path}: the surface is not closed (each edge must belong to two faces of opposite "
            "direction); repair it in a mesh editor"
        )
    if mesh.volume_mm3 < 0:
        mesh = Mesh(mesh.vertices, mesh.faces[:, ::-1])
    return mesh


def _binary(data: bytes, count: int) -> np.ndarray:
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    return np.asarray(np.frombuffer(data, record, count, 84)["corners"], float)


def _text(path: Path, data: bytes) -> np.ndarray:
    if not data.lstrip()[:5].lower() == b"solid":
        raise ReadError(f"{path}: not an STL file: neither text nor binary of the declared length")
    found = re.findall(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)", data)
    try:
        values = np.array(found, dtype="S32").astype(float)
    except ValueError as error:
        raise ReadError(f"{path}: {error}") from error
    if not len(values) or len(values) % 3:
        raise ReadError(f"{path}: a face of the text STL does not have three corners")
    return values.reshape(-1, 3, 3)
