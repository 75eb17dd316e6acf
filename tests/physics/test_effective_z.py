"""Effective Z and pseudo-colour: known materials, noise, measured wedges, standard colours."""

import colorsys

import numpy as np
import pytest

from bagscan.core.errors import DataError
from bagscan.physics.detector import Sandwich, Tube, response
from bagscan.physics.effective_z import (
    effective_z,
    log_attenuation,
    table_from_curves,
    table_from_response,
)
from bagscan.physics.materials import material
from bagscan.physics.pseudo_colour import TABLE, pseudo_colour
from bagscan.physics.transmission import exact


@pytest.fixture(scope="module")
def scanner():
    found = response(Tube(), Sandwich())
    return found, table_from_response(found), exact(found)


def logs_at(spectral, name, log_high):
    """Log attenuations of the material at the thickness that gives the requested high one."""
    thickness = np.geomspace(1e-3, 5e3, 20000)[:, None]
    log = -np.log(np.maximum(spectral.transmission(thickness, [material(name)]), 1e-300))
    rising = np.append(True, np.diff(log[:, 1]) > 0)
    return np.array([np.interp(log_high, log[rising, 1], log[rising, c]) for c in (0, 1)])


BARS = [
    ("polyethylene", 0.15),
    ("abs", 0.15),
    ("nylon", 0.15),
    ("pet", 0.15),
    ("sugar", 0.15),
    ("ethanol", 0.15),
    ("marzipan", 0.15),
    ("aluminium", 0.2),
    ("iron", 1.0),
]


@pytest.mark.parametrize(("name", "bar"), BARS)
def test_noise_free_z(scanner, name, bar):
    _, table, spectral = scanner
    low, high = logs_at(spectral, name, np.array([0.05, 0.2, 0.5, 1, 2, 4]))
    assert table(low, high) == pytest.approx(material(name).effective_z, abs=bar)


def test_lead_is_impenetrable_and_not_believed(scanner):
    found, table, spectral = scanner
    low, high = spectral.transmission(np.full((9, 9, 1), 2.0), [material("lead")]).transpose(
        2, 0, 1
    )
    image = effective_z(low, high, table, (found.low_photons, found.high_photons))
    assert image.impenetrable.all()
    assert (image.confidence == 0).all()


def test_expected_noise_is_the_noise(scanner):
    found, table, spectral = scanner
    rng = np.random.default_rng(0)
    transmission = spectral.transmission(
        np.full((120, 120, 1), 30.0), [material("pmma")]
    ).transpose(2, 0, 1)
    photons = (found.low_photons, found.high_photons)
    noisy = [
        rng.normal(t, np.sqrt((t + 64 / n) / n)) for t, n in zip(transmission, photons, strict=True)
    ]
    image = effective_z(*noisy, table, photons)
    assert image.z.mean() == pytest.approx(6.47, abs=0.1)
    assert np.median(image.sigma_z) == pytest.approx(image.z.std(), rel=0.4)
    thin = effective_z(
        *(rng.normal(0.995, np.sqrt(0.995 / n), (40, 40)) for n in photons), table, photons
    )
    assert np.median(thin.confidence) < 0.3 < np.median(image.confidence)


def test_nothing_in_the_beam_has_no_z(scanner):
    _, table, _ = scanner
    image = effective_z(np.ones((8, 8)), np.ones((8, 8)), table, (1e4, 1e4))
    assert (image.z == 0).all()
    assert (image.confidence == 0).all()


def test_measured_wedges_calibrate_another_scanner():
    """A scanner with an unknown spectrum: its own wedges, five steps each, give its Z."""
    other = exact(
        response(
            Tube(voltage_kv=140, filters_mm={"aluminium": 5, "copper": 0.3}), Sandwich(high_mm=4.0)
        )
    )
    names = ("polyethylene", "pmma", "ptfe", "aluminium", "titanium", "iron", "copper")
    depths = np.array([0.1, 0.3, 0.8, 2.0, 4.0])
    table = table_from_curves(
        [material(n).effective_z for n in names], [logs_at(other, n, depths) for n in names]
    )
    low, high = logs_at(other, "water", np.array([0.3, 1.0, 2.0]))
    assert table(low, high) == pytest.approx(7.42, abs=0.2)


def test_impossible_wedges_are_refused():
    step = (np.array([0.1, 0.2]), np.array([0.1, 0.2]))
    for z, curves in (
        ([6.0], [step]),
        ([7.0, 6.0], [step, step]),
        ([6.0, 7.0], [step]),
        ([6.0, 7.0], [step, (np.array([0.1]), np.array([0.1]))]),
    ):
        with pytest.raises(DataError, match="wedge"):
            table_from_curves(z, curves)


def hue_of(scanner, name, log_high=1.0):
    found, table, spectral = scanner
    logs = logs_at(spectral, name, np.array([log_high]))[:, 0]
    low, high = (np.full((12, 12), np.exp(-v)) for v in logs)
    colour = pseudo_colour(
        low, high, effective_z(low, high, table, (found.low_photons, found.high_photons))
    )
    return colorsys.rgb_to_hsv(*(colour[:, 6, 6] / 255))


def test_colours_are_the_operators(scanner):
    assert 0.04 < hue_of(scanner, "water")[0] < 0.13  # orange
    assert 0.25 < hue_of(scanner, "aluminium")[0] < 0.48  # green
    assert 0.58 < hue_of(scanner, "iron")[0] < 0.70  # blue


def test_hue_moves_without_steps_and_thickness_darkens():
    steps = np.abs(np.diff(TABLE.astype(int), axis=0)).max()
    assert steps <= 12
    brightness = TABLE.astype(int).sum(-1)
    assert (np.diff(brightness, axis=1) <= 0).all()
    assert (TABLE[:, 0] == 255).all()
    assert TABLE[:, -1].max() <= 2


def test_impenetrable_is_shown_as_metal_or_black(scanner):
    found, table, _ = scanner
    dark = np.full((9, 9), 1e-4)
    colour = pseudo_colour(
        dark, dark, effective_z(dark, dark, table, (found.low_photons, found.high_photons))
    )
    assert colour.max() < 30
    assert log_attenuation(np.array([0.0])) == pytest.approx(-np.log(1e-5))


@pytest.mark.parametrize(
    ("name", "mm", "marked"),
    [
        ("lead", 1.0, True),
        ("lead", 3.0, True),
        ("tungsten", 0.6, True),
        ("water", 150.0, False),
        ("aluminium", 40.0, False),
        ("iron", 8.0, False),
    ],
)
def test_what_is_too_dense_for_what_it_reads_is_marked(name, mm, marked):
    seen = response(Tube(), Sandwich())
    low, high = exact(seen).transmission(np.array([[mm]]), [material(name)])[0]
    found = effective_z(
        np.full((9, 9), low), np.full((9, 9), high), table_from_response(seen), (5e4, 1.7e4)
    )
    assert found.impenetrable.all() == marked
