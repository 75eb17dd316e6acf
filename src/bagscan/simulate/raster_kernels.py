"""Compiled kernels of the rasteriser: intersection of triangles with lines, sums over rays."""

from __future__ import annotations

import numba


@numba.njit(cache=True)
def intersect_triangle(vertices, faces, f, y):  # type: ignore[no-untyped-def]
    """Intersect triangle ``f`` with the plane at ``y``.

    Returns:
        True if they intersect, and the segment x0, z0, x1, z1.
    """
    n = 0
    x0 = z0 = x1 = z1 = 0.0
    for e in range(3):
        a, b = faces[f, e], faces[f, (e + 1) % 3]
        # The same order for both faces of an edge gives identical results and thus no gap.
        if a > b:
            a, b = b, a
        ya, yb = vertices[a, 1], vertices[b, 1]
        if (ya <= y) != (yb <= y):
            w = (y - ya) / (yb - ya)
            x = vertices[a, 0] + w * (vertices[b, 0] - vertices[a, 0])
            z = vertices[a, 2] + w * (vertices[b, 2] - vertices[a, 2])
            if n == 0:
                x0, z0 = x, z
            else:
                x1, z1 = x, z
            n += 1
    return n == 2, x0, z0, x1, z1


@numba.njit(cache=True, inline="always")
def _channel(tangent, first_channel, value):  # type: ignore[no-untyped-def]
    """Return ``np.searchsorted(tangent, value)`` by look-up in ``first_channel``."""
    step = int((value - tangent[0]) / (tangent[-1] - tangent[0]) * (len(first_channel) - 1))
    u = first_channel[min(max(step, 0), len(first_channel) - 1)]
    while u > 0 and tangent[u - 1] >= value:
        u -= 1
    while u < len(tangent) and tangent[u] < value:
        u += 1
    return u


@numba.njit(cache=True)
def accumulate_paths(  # type: ignore[no-untyped-def]
    vertices,
    faces,
    from_line,
    to_line,
    adds,
    takes,
    scale,
    taken,
    middle,
    y_mm,
    tangent,
    first_channel,
    per_depth,
    first_line,
    out,
):
    """Add the path lengths of faces to ``out`` (lines, rows, U), for lines from ``first_line``."""
    for f in range(len(faces)):
        i0, i1, i2 = faces[f]
        ax, ay, az = (
            vertices[i1, 0] - vertices[i0, 0],
            vertices[i1, 1] - vertices[i0, 1],
            vertices[i1, 2] - vertices[i0, 2],
        )
        bx, by, bz = (
            vertices[i2, 0] - vertices[i0, 0],
            vertices[i2, 1] - vertices[i0, 1],
            vertices[i2, 2] - vertices[i0, 2],
        )
        normal_x, normal_z = ay * bz - az * by, ax * by - ay * bx
        for j in range(from_line[f], to_line[f]):
            is_cut, x0, z0, x1, z1 = intersect_triangle(vertices, faces, f, y_mm[j])
            if not is_cut:
                continue
            s0, s1 = x0 / z0, x1 / z1
            if s0 > s1:
                s0, s1, x0, z0, x1, z1 = s1, s0, x1, z1, x0, z0
            start, end = _channel(tangent, first_channel, s0), _channel(tangent, first_channel, s1)
            for u in range(start, end):
                t = tangent[u]
                across = (x1 - x0) - t * (z1 - z0)
                share = (t * z0 - x0) / across if abs(across) > 1e-15 else 0.5
                depth = (z0 + share * (z1 - z0) - middle[f]) * per_depth[u]
                length = depth if normal_x * t + normal_z > 0 else -depth
                if adds[f] >= 0:
                    out[j - first_line, adds[f], u] += length * scale[f]
                if takes[f] >= 0:
                    out[j - first_line, takes[f], u] -= length * taken[f]


@numba.njit(cache=True)
def cover_silhouettes(  # type: ignore[no-untyped-def]
    vertices, faces, from_line, to_line, part, y_mm, tangent, first_channel, window, first, out
):
    """Set the rays that meet each part in ``out``, the concatenated windows of the parts."""
    for f in range(len(faces)):
        p = part[f]
        if p < 0 or window[p, 2] == 0:
            continue
        top, left, width = window[p, 0], window[p, 1], window[p, 3] - window[p, 1]
        for j in range(from_line[f], to_line[f]):
            is_cut, x0, z0, x1, z1 = intersect_triangle(vertices, faces, f, y_mm[j])
            if is_cut:
                s0, s1 = min(x0 / z0, x1 / z1), max(x0 / z0, x1 / z1)
                row = first[p] + (j - top) * width - left
                for u in range(
                    _channel(tangent, first_channel, s0), _channel(tangent, first_channel, s1)
                ):
                    out[row + u] = True
