"""STL meshes of a user's own: read, joined at their corners, checked to be closed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from bagscan.core.errors import ReadError
from bagscan.formats.limits import check_size
from bagscan.simulate.mesh import Mesh

MAX_FACES = 2_000_000
MERGE_MM = 1e-4
MIN_MM, MAX_MM = 2.0, 1000.0  # largest side


def read_stl(path: str | Path) -> Mesh:
    """Read a binary or text STL in mm as one closed mesh, faces turned outwards.

    Raises:
        ReadError: not an STL, too many faces, a surface with holes, or a size that is not of mm.
    """
    path = Path(path)
    check_size(path)
    data = path.read_bytes()
    count = int.from_bytes(data[80:84], "little") if len(data) >= 84 else -1
    corners = _binary(data, count) if len(data) == 84 + 50 * count else _text(path, data)
    if not 4 <= len(corners) <= MAX_FACES:
        raise ReadError(
            f"{path}: {len(corners)} faces; a closed mesh has 4 or more, and {MAX_FACES:,} at most are read"
        )
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
    across = float(np.ptp(mesh.vertices, axis=0).max())
    if not MIN_MM <= across <= MAX_MM:
        raise ReadError(
            f"{path}: the mesh is {across:.3g} mm across; what is hidden in a bag is {MIN_MM:g} to {MAX_MM:g}. Is it in metres or inches? Scale it to mm"
        )
    if not mesh.watertight:
        raise ReadError(
            f"{path}: the surface is not closed (an edge without exactly two faces that run against each other); mend it in a mesh editor first"
        )
    if mesh.volume_mm3 < 0:
        mesh = Mesh(mesh.vertices, mesh.faces[:, ::-1])
    return mesh


def _binary(data: bytes, count: int) -> np.ndarray:
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    return np.asarray(np.frombuffer(data, record, count, 84)["corners"], float)


def _text(path: Path, data: bytes) -> np.ndarray:
    if not data.lstrip()[:5].lower() == b"solid":
        raise ReadError(f"{path}: not an STL file, neither binary of its announced length nor text")
    found = re.findall(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)", data)
    try:
        values = np.array(found, dtype="S32").astype(float)
    except ValueError as error:
        raise ReadError(f"{path}: {error}") from error
    if not len(values) or len(values) % 3:
        raise ReadError(f"{path}: a text STL whose faces have not three corners each")
    return values.reshape(-1, 3, 3)
