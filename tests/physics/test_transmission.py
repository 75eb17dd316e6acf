"""Spectrum, detector and transmission against independent integration and known behaviour."""

import numpy as np
import pytest
from scipy.integrate import quad

from bagscan.core.errors import ConfigError
from bagscan.physics.detector import Sandwich, Tube, response
from bagscan.physics.materials import elements, library, material
from bagscan.physics.transmission import K_EDGES_KEV, exact, fit_groups, group_edges, random_stacks


@pytest.fixture(scope="module")
def default():
    return response(Tube(), Sandwich())


@pytest.fixture(scope="module")
def groups(default):
    return fit_groups(default)


def test_default_scanner_has_the_figures_of_its_specification(default):
    assert default.mean_energy_kev == pytest.approx((61.1, 97.6), abs=0.2)
    assert default.low_photons == pytest.approx(5.2e4, rel=0.02)
    assert default.high_photons == pytest.approx(1.7e4, rel=0.02)
    assert default.weights.sum(0) == pytest.approx([1, 1])


def test_a_spectrum_ends_at_the_tube_voltage():
    energy = elements().energy_kev
    for voltage in (120, 137, 140, 160):
        fluence = Tube(voltage_kv=voltage).fluence()
        assert fluence[energy > voltage + 1].sum() == 0
        assert fluence[energy < voltage - 3].sum() > 0.99 * fluence.sum()


def test_filters_follow_beer_lambert_and_harden():
    bare, filtered = Tube(filters_mm={}).fluence(), Tube(filters_mm={"copper": 0.5}).fluence()
    at = int(np.argmin(abs(elements().energy_kev - 60)))
    assert filtered[at] / bare[at] == pytest.approx(
        np.exp(-material("copper").attenuation_per_mm[at] * 0.5)
    )
    mean = [(f @ elements().energy_kev) / f.sum() for f in (bare, filtered)]
    assert mean[1] > mean[0] + 10


def test_voltage_outside_the_tables_is_refused():
    with pytest.raises(ConfigError, match="120-180 kV"):
        Tube(voltage_kv=300).fluence()


def test_more_current_more_photons_same_weights(default):
    double = response(Tube(current_ma=1.4), Sandwich())
    assert double.low_photons == pytest.approx(2 * default.low_photons)
    assert double.low == pytest.approx(default.low)


def test_effective_photons_are_the_variance_of_a_sampled_pixel():
    """Sample photons of every energy; the low signal's mean² / variance must equal the figure."""
    rng = np.random.default_rng(0)
    tube, detector = Tube(current_ma=0.05), Sandwich()
    gos_in_light = response(tube, detector)
    from bagscan.physics.detector import _scintillator

    stopped, left = _scintillator(detector.low, detector.low_mm * detector.low_packing)
    arriving = (
        tube.fluence()
        * detector.pixel_mm[0]
        * detector.pixel_mm[1]
        / 100
        * (1000 / detector.distance_mm) ** 2
    )
    signal = rng.poisson(arriving * stopped, size=(20000, len(arriving))) @ left
    assert signal.mean() ** 2 / signal.var() == pytest.approx(gos_in_light.low_photons, rel=0.05)


@pytest.mark.parametrize(
    ("name", "thickest_mm"),
    [
        ("aluminium", 60),
        ("pmma", 200),
        ("iron", 30),
        ("copper", 15),
        ("titanium", 40),
        ("water", 200),
    ],
)
def test_wedges_against_integration(default, groups, name, thickest_mm):
    """scipy's quadrature over the piecewise-constant spectrum is the independent sum."""
    thickness = np.linspace(thickest_mm / 12, thickest_mm, 12)
    mu = material(name).attenuation_per_mm
    energy = elements().energy_kev
    for channel, weights in enumerate((default.low, default.high)):

        def integrand(at, t, weights=weights):
            i = min(int(at - energy[0] + 0.5), len(energy) - 1)
            return weights[i] * np.exp(-mu[i] * t)

        truth = [
            quad(
                integrand,
                energy[0] - 0.5,
                energy[-1] + 0.5,
                args=(t,),
                points=energy[:-1] + 0.5,
                limit=2000,
            )[0]
            for t in thickness[::4]
        ]
        assert exact(default).transmission(thickness[::4, None], [material(name)])[
            :, channel
        ] == pytest.approx(truth, rel=1e-6)
    exactly = exact(default).transmission(thickness[:, None], [material(name)])
    assert groups.transmission(thickness[:, None], [material(name)]) == pytest.approx(
        exactly, rel=3e-3
    )


def test_groups_on_stacks_they_were_not_fitted_to(default, groups):
    assert len(groups.weights) == 39
    materials = [m for m in library().values() if m.name != "air"]
    paths = random_stacks(
        np.array([m.attenuation_per_mm for m in materials]), 4000, np.random.default_rng(99)
    )
    error = np.abs(
        groups.transmission(paths, materials) - exact(default).transmission(paths, materials)
    )
    assert error.max() <= 3e-3
    assert np.quantile(error, 0.99) <= 5e-4


def test_air_transmits_everything_and_order_is_nothing(groups):
    two = [material("iron"), material("pmma")]
    assert groups.transmission(np.zeros((1, 2)), two) == pytest.approx(1)
    one_way = groups.transmission({"iron": np.array(2.0), "pmma": np.array([5.0, 50.0])}, two)
    assert one_way == pytest.approx(
        groups.transmission(np.array([[5.0, 2.0], [50.0, 2.0]]), two[::-1])
    )


def test_no_group_straddles_an_edge():
    edges = group_edges(15, 160, 4)
    assert np.diff(edges).max() <= 4
    assert all(np.abs(edges - k).min() <= 0.5 for k in K_EDGES_KEV)
