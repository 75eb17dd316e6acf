"""Threat projection against joint simulation."""

import dataclasses

import numpy as np
import pytest

from bagscan.core.errors import ConfigError, DataError
from bagscan.formats import read_scan
from bagscan.imaging.scanner import Faults, Noise, load_profile
from bagscan.physics.basis import compose, decompose, overlaid
from bagscan.physics.materials import material
from bagscan.physics.transmission import exact
from bagscan.simulate.assembly import Builder, join
from bagscan.simulate.forward import transmission
from bagscan.simulate.noise import measure
from bagscan.simulate.tip import project, project_colour, render_threat
from bagscan.simulate.tip_file import project_file

BACKGROUNDS = [
    {"cotton": 60},
    {"aluminium": 2},
    {"aluminium": 2, "fr4": 1.2, "copper": 0.2, "soda_lime_glass": 1, "pmma": 2},
    {"aluminium": 2, "li_ion_stack": 6, "soda_lime_glass": 1},
    {"stainless_steel": 1},
    {"stainless_steel": 5},
    {"copper": 2.2},
]
THREATS = [
    {"marzipan": 10},
    {"marzipan": 40},
    {"stainless_steel": 1},
    {"stainless_steel": 2.5},
    {"aluminium": 3},
    {"brass": 4},
]


@pytest.fixture(scope="module")
def profile():
    return load_profile("g640")


def stack(spectral, parts):
    return spectral.transmission(
        np.array([[float(mm) for mm in parts.values()]]), [material(name) for name in parts]
    )


def test_basis_thicknesses_come_back(profile):
    mm = np.array([[0.0, 0.0], [30, 0], [0, 3], [50, 5], [5, -0.05]])
    seen = compose(mm, profile.spectral())
    assert decompose(seen[:, 0], seen[:, 1], profile.spectral()) == pytest.approx(mm, abs=1e-4)


@pytest.mark.parametrize("background", BACKGROUNDS, ids=lambda b: "+".join(b))
def test_projection_is_what_joint_simulation_gives(profile, background):
    """Bar: 0.5 % in both channels; multiplying is wrong by far more somewhere."""
    spectral = exact(profile.response)
    for threat in THREATS:
        joint = stack(
            spectral, {**background, **{k: v + background.get(k, 0) for k, v in threat.items()}}
        )
        found = overlaid(stack(spectral, background), stack(spectral, threat), profile.spectral())
        assert found == pytest.approx(joint, rel=5e-3)


def test_multiplying_is_wrong_where_the_beam_is_hardened(profile):
    spectral = exact(profile.response)
    errors = [
        np.abs(
            stack(spectral, b)
            * stack(spectral, t)
            / stack(spectral, {**b, **{k: v + b.get(k, 0) for k, v in t.items()}})
            - 1
        ).max()
        for b in BACKGROUNDS
        for t in THREATS
    ]
    assert max(errors) > 0.2


@pytest.fixture(scope="module")
def scene(profile):
    """A slab with a small steel block on it, both ways."""
    quiet = dataclasses.replace(load_profile("g640_coarse"), noise=Noise(0, 0, 0), faults=Faults())
    b = Builder(np.random.default_rng(0))
    b.box("aluminium", (200, 120, 4), (320, 80, 60))
    t = Builder(np.random.default_rng(0))
    t.box("stainless_steel", (30, 24, 2))
    return quiet, b.build(), t.build()


def test_a_projected_scan_is_the_scan_of_both(scene):
    quiet, slab, threat = scene
    view = quiet.views[0]
    patch = render_threat(threat, quiet, height_mm=150)
    raw = (
        measure(transmission(slab, quiet, view, (0, 160)), quiet, view, 0, noise=False)
        / quiet.air_counts
    )
    joint = join([slab, threat.moved(None, (320, 80, 150))])
    truth = (
        measure(transmission(joint, quiet, view, (0, 160)), quiet, view, 0, noise=False)
        / quiet.air_counts
    )
    changed = np.abs(truth - raw).max(0) > 0.02
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    inner = np.argwhere(patch.mask).min(0)
    at = rows[0] - inner[0], columns[0] - inner[1]
    made, mask = project(raw, patch, (int(at[0]), int(at[1])), quiet, np.random.default_rng(0))
    core = np.zeros_like(mask)
    core[rows[0] + 3 : rows[-1] - 2, columns[0] + 4 : columns[-1] - 3] = True
    assert mask[core].mean() > 0.9
    assert np.median(made[:, core] / truth[:, core], axis=1) == pytest.approx(1, abs=0.02)
    outside = ~changed
    assert np.abs(made - raw)[:, outside & ~mask].max() < 0.06


def test_noise_is_that_of_fewer_photons(scene):
    quiet, _, threat = scene
    patch = render_threat(threat, quiet)
    raw = np.full((2, 60, 200), 0.6, np.float32)
    found = [project(raw, patch, (10, 20), quiet, np.random.default_rng(s))[0] for s in range(30)]
    core = np.zeros(raw.shape[1:], bool)
    core[10:, 20:][: patch.mask.shape[0], : patch.mask.shape[1]] = patch.mask
    after = np.mean(found, 0)[0][core]
    expected = np.sqrt(np.maximum(after * (1 - after / 0.6), 0) / quiet.response.low_photons)
    middle = patch.transmission[0][patch.mask] < 0.7
    assert np.std(found, 0)[0][core][middle].mean() == pytest.approx(
        expected[middle].mean(), rel=0.2
    )


def test_colour_is_multiplied_with_a_warning(scene, said):
    quiet, _, threat = scene
    patch = render_threat(threat, quiet)
    made, mask = project_colour(np.full((3, 60, 80), 0.8, np.float32), patch, (5, 5), quiet)
    assert "colour alone" in said[0]
    assert made[:, mask].mean() < 0.5
    assert made[:, 50:].min() == pytest.approx(0.8)
    with pytest.raises(DataError, match="place it elsewhere"):
        project_colour(np.ones((3, 60, 80), np.float32), patch, (55, 5), quiet)


def test_from_file_to_file(tmp_path, scene):
    from PIL import Image

    from bagscan.formats.tiff import write_counts

    write_counts(
        tmp_path / "raw.tif", np.full((2, 200, 300), 40000, np.uint16), ("low", "high"), 60000
    )
    result = project_file(
        tmp_path / "raw.tif",
        tmp_path / "out.tif",
        "metal_plate",
        "30,20,3",
        None,
        "lead",
        "20,30",
        "g640",
        1,
        air=1.0,
    )
    assert "basis-material" in result["method"]
    made = read_scan(tmp_path / "out.tif").views[0]
    assert made.channels == ("low", "high", "zeff")
    assert made.pixels[0].min() < 0.65  # 0.667 before
    assert np.asarray(Image.open(tmp_path / "out_mask.png")).any()
    Image.fromarray(np.full((200, 300, 3), 220, np.uint8)).save(tmp_path / "c.png")
    assert (
        "multiplied"
        in project_file(
            tmp_path / "c.png",
            tmp_path / "c_out.png",
            "sharp",
            "60,12,2",
            None,
            "lead",
            None,
            "g640",
            1,
        )["method"]
    )
    for wrong, match in (
        ({"kind": "sharq"}, "did you mean 'sharp'"),
        ({"at": "1"}, "needs 2 numbers"),
        ({"out": tmp_path / "x.jpg"}, "written as .tif"),
    ):
        settings = {"out": tmp_path / "o.tif", "kind": "sharp", "at": None} | wrong
        with pytest.raises(ConfigError, match=match):
            project_file(
                tmp_path / "raw.tif",
                settings["out"],
                settings["kind"],
                "60,12,2",
                None,
                "lead",
                settings["at"],
                "g640",
                1,
            )
