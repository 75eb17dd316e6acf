"""Mesh path lengths against analytic chords, volumes and invariances."""

import numpy as np
import pytest

from bagscan.core.errors import DataError
from bagscan.imaging.fan import Fan
from bagscan.simulate.mesh import (
    Mesh,
    box,
    cord,
    cylinder,
    ellipsoid,
    lathe,
    prism,
    ribbon,
    rotation_xyz,
    rounded_rectangle,
    tube,
)
from bagscan.simulate.raster import Rasteriser, Silhouette, Solids

SOURCE = (150.0, -420.0)
TURN = rotation_xyz(0.3, 0.4, 0.5)
PLACE = (330.0, 255.0, 90.0)
L_SHAPE = [(0, 0), (40, 0), (40, 10), (10, 10), (10, 30), (0, 30)]


def fan(n_channels=301, n_lines=97):
    across = np.column_stack([np.linspace(-40, 700, n_channels), np.full(n_channels, 480.0)])
    return Fan.towards(SOURCE, across, np.linspace(180.3, 330.1, n_lines))


def lengths(mesh, rays):
    out = np.zeros((len(rays.y_mm), 1, len(rays.direction)))
    Rasteriser(Solids.pack([mesh], [0], [-1], [1.0]), rays).paths(0, len(rays.y_mm), out)
    return out[:, 0]


def local_rays(rays, turn, place):
    """Ray origins (J, 1, 3) and directions (1, U, 3) in the frame of a placed shape."""
    origin = np.stack(
        [
            np.full(len(rays.y_mm), rays.source_mm[0]),
            rays.y_mm,
            np.full(len(rays.y_mm), rays.source_mm[1]),
        ],
        -1,
    )
    direction = np.stack(
        [rays.direction[:, 0], np.zeros(len(rays.direction)), rays.direction[:, 1]], -1
    )
    return ((origin - np.asarray(place)) @ turn)[:, None], (direction @ turn)[None]


def box_chord(origin, direction, half):
    with np.errstate(divide="ignore"):
        a, b = (-half - origin) / direction, (half - origin) / direction
    return np.clip(np.minimum(np.maximum(a, b).min(-1), np.inf) - np.minimum(a, b).max(-1), 0, None)


def ellipsoid_chord(origin, direction, radii):
    o, d = origin / radii, direction / radii
    a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1
    return 2 * np.sqrt(np.clip(b * b - a * c, 0, None)) / a


def test_a_tilted_box_has_its_analytic_chords():
    rays = fan()
    found = lengths(box((80, 60, 40)).moved(TURN, PLACE), rays)
    truth = box_chord(*local_rays(rays, TURN, PLACE), np.array([40, 30, 20.0]))
    assert found.max() > 40
    assert np.abs(found - truth).max() <= 1e-6
    assert found.min() >= -1e-9


def test_an_ellipsoid_comes_close_to_its_analytic_chords():
    rays = fan()
    found = lengths(ellipsoid((40, 30, 20), 128).moved(TURN, PLACE), rays)
    truth = ellipsoid_chord(*local_rays(rays, TURN, PLACE), np.array([40, 30, 20.0]))
    assert np.abs(found - truth)[truth > 10].max() < 0.2
    assert found.sum() == pytest.approx(truth.sum(), rel=1e-3)


SHAPES = {
    "box": (box((20, 30, 40)), 24000),
    "cylinder": (cylinder(20, 30), np.pi * 400 * 30),
    "tube": (tube(20, 15, 30), np.pi * 175 * 30),
    "ellipsoid": (ellipsoid((20, 15, 10)), 4 / 3 * np.pi * 3000),
    "L prism": (prism(L_SHAPE, 12), 600 * 12),
    "clockwise L prism": (prism(L_SHAPE[::-1], 12), 600 * 12),
    "cone": (lathe([(0, 0), (30, 0), (0, 40)], 256), np.pi * 900 * 40 / 3),
    "rounded": (prism(rounded_rectangle(40, 30, 8, 60), 10), 10 * (1200 - (4 - np.pi) * 64)),
    "ribbon": (
        ribbon(
            np.column_stack([np.linspace(0, 60, 80), 20 * np.sin(np.linspace(0, 6, 80))]), 2.0, 15
        ),
        None,
    ),
    "cord": (
        cord(
            np.column_stack(
                [np.linspace(0, 60, 50), 20 * np.sin(np.linspace(0, 6, 50)), np.zeros(50)]
            ),
            2,
        ),
        None,
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_watertight_outward_and_of_their_volume(name):
    mesh, volume = SHAPES[name]
    assert mesh.watertight
    assert mesh.volume_mm3 > 0
    if volume:
        assert mesh.volume_mm3 == pytest.approx(volume, rel=2e-3)


@pytest.mark.parametrize("name", SHAPES)
def test_lengths_over_fine_rays_are_the_volume(name):
    """A far source: rays are nearly parallel, and lengths × ray spacing integrate to the volume."""
    mesh = SHAPES[name][0].moved(TURN, (0, 0, 0))
    x = np.linspace(-80, 80, 641)
    y = np.linspace(-80, 80, 321)
    rays = Fan.towards((0.0, -1e5), np.column_stack([x, np.full(len(x), 0.0)]), y)
    found = lengths(mesh, rays)
    assert found.min() > -1e-6
    assert found.sum() * (x[1] - x[0]) * (y[1] - y[0]) == pytest.approx(mesh.volume_mm3, rel=5e-3)


def test_blocks_of_lines_give_what_all_lines_give():
    rays = fan()
    raster = Rasteriser(Solids.pack([cylinder(30, 80).moved(TURN, PLACE)], [0], [-1], [1.0]), rays)
    whole, blocks = np.zeros((97, 1, 301)), np.zeros((97, 1, 301))
    raster.paths(0, 97, whole)
    for start in range(0, 97, 16):
        raster.paths(start, min(start + 16, 97), blocks[start : start + 16])
    assert np.array_equal(whole, blocks)


def test_a_child_takes_its_length_from_its_parent():
    rays = fan()
    outer, inner = box((80, 80, 60)).moved(TURN, PLACE), box((30, 20, 10)).moved(TURN, PLACE)
    out = np.zeros((97, 2, 301))
    Rasteriser(Solids.pack([outer, inner], [0, 1], [-1, 0], [1.0, 1.0]), rays).paths(0, 97, out)
    assert out.sum(1) == pytest.approx(lengths(outer, rays), abs=1e-9)
    assert out[:, 1] == pytest.approx(lengths(inner, rays))
    assert out.min() > -1e-9


def test_a_view_from_the_side_sees_the_same_box():
    y = np.linspace(180, 330, 61)
    z = np.linspace(-40, 470, 301)
    rays = Fan.towards((-380.0, 200.0), np.column_stack([np.full(301, 760.0), z]), y)
    found = lengths(box((80, 60, 40)).moved(TURN, PLACE), rays)
    assert (
        np.abs(found - box_chord(*local_rays(rays, TURN, PLACE), np.array([40, 30, 20.0]))).max()
        <= 1e-6
    )
    assert found.max() > 40


def test_silhouettes_are_where_lengths_are():
    rays = fan()
    meshes = [box((80, 60, 40)).moved(TURN, PLACE), cylinder(15, 200).moved(None, (300, 255, 200))]
    raster = Rasteriser(Solids.pack(meshes, [0, 0], [-1, -1], [1, 1]), rays)
    for found, mesh in zip(raster.silhouettes(np.array([0, 1]), 2), meshes, strict=True):
        assert np.mean(found.full((97, 301)) != (lengths(mesh, rays) > 1e-9)) < 1e-4
        assert found.mask.size < 97 * 301 / 2  # a window, not the whole view
    nothing, second = raster.silhouettes(np.array([-1, 1]), 2)
    assert nothing.mask.size == 0
    assert second.mask.any()


def test_coarser_silhouettes_keep_every_ray():
    fine = Silhouette(3, 5, np.eye(7, dtype=bool))
    assert np.array_equal(
        fine.coarser(2).full((6, 8)), fine.full((12, 16)).reshape(6, 2, 8, 2).any((1, 3))
    )
    both = Silhouette.union(
        [fine, Silhouette(0, 0, np.ones((2, 2), bool)), Silhouette(0, 0, np.zeros((0, 0), bool))]
    )
    assert both.full((12, 16)).sum() == 11


def test_density_scales_what_is_added_and_what_is_displaced():
    rays = fan()
    outer, inner = box((80, 80, 60)).moved(TURN, PLACE), box((30, 20, 10)).moved(TURN, PLACE)
    out = np.zeros((97, 2, 301))
    Rasteriser(Solids.pack([outer, inner], [0, 1], [-1, 0], [2.0, 0.5], [1.0, 2.0]), rays).paths(
        0, 97, out
    )
    assert out[:, 0] == pytest.approx(2 * (lengths(outer, rays) - lengths(inner, rays)), abs=1e-9)
    assert out[:, 1] == pytest.approx(0.5 * lengths(inner, rays), abs=1e-9)


def test_a_mesh_cut_level_has_the_volume_below():
    ball = ellipsoid((20, 15, 10), 128).moved(TURN, (0, 0, 0))
    parts = [ball.below(z).volume_mm3 for z in (-5.0, 0.0, 5.0)]
    assert parts[1] == pytest.approx(ball.volume_mm3 / 2, rel=1e-3)
    assert parts[0] + parts[2] == pytest.approx(ball.volume_mm3, rel=1e-3)
    assert ball.below(2.0).watertight
    assert ball.below(100).volume_mm3 == pytest.approx(ball.volume_mm3)
    assert len(ball.below(-100).faces) == 0


def test_bad_geometry_is_refused():
    with pytest.raises(DataError, match="behind the source"):
        Rasteriser(
            Solids.pack([box((10, 10, 10)).moved(None, (150, 250, -500))], [0], [-1], [1.0]), fan()
        )
    with pytest.raises(DataError, match="angle"):
        Fan.towards((0, 0), np.array([[-1.0, 1.0], [1.0, 1.0], [0.0, 1.0]]), np.arange(3.0))
    with pytest.raises(DataError, match="crosses itself"):
        prism([(0, 0), (10, 10), (10, 0), (0, 10)], 5)
    with pytest.raises(DataError, match="inner radius"):
        tube(5, 6, 10)


def test_turning_a_mesh_changes_nothing_but_its_place():
    mesh = SHAPES["L prism"][0]
    turned = mesh.moved(TURN, (5, 6, 7))
    assert turned.volume_mm3 == pytest.approx(mesh.volume_mm3)
    assert isinstance(turned, Mesh)
    assert np.linalg.det(TURN) == pytest.approx(1)
