"""The scanner: profiles, forward model against exact integration, correct and paired noise."""

import dataclasses

import numpy as np
import pytest

from bagscan.core.errors import ConfigError
from bagscan.imaging.scanner import Faults, Noise, Scatter, load_profile, profile_names, vary
from bagscan.physics.detector import response
from bagscan.physics.materials import material
from bagscan.physics.transmission import exact
from bagscan.simulate.assembly import Builder
from bagscan.simulate.forward import _exp_minus, line_positions
from bagscan.simulate.forward import transmission as transmission_of
from bagscan.simulate.mesh import box, cylinder, rotation_xyz
from bagscan.simulate.noise import coupled_poisson, measure


@pytest.fixture(scope="module")
def profile():
    return load_profile("g640")


@pytest.fixture(scope="module")
def coarse(profile):
    """The same tunnel with few channels: small images, the same physics."""
    views = tuple(dataclasses.replace(v, n_channels=104) for v in profile.views)
    return dataclasses.replace(profile, views=views, line_pitch_mm=8.0)


def transmission(meshes, materials, inside, *scan, **settings):
    b = Builder(np.random.default_rng(0))
    for mesh, of, host in zip(meshes, materials, inside, strict=True):
        b.add(mesh, of.name, inside=host)
    return transmission_of(b.build(), *scan, **settings)


def quiet(profile):
    return dataclasses.replace(
        profile, noise=Noise(0, 0, 0), scatter=Scatter(0), faults=Faults(), blur_px=(0.0, 0.0)
    )


def test_every_profile_loads_and_differs(profile):
    hashes = {load_profile(name).hash for name in profile_names()}
    assert len(hashes) == len(profile_names()) >= 3
    assert load_profile("g640").hash == profile.hash
    assert load_profile("g640_140kv").response.mean_energy_kev < profile.response.mean_energy_kev
    assert load_profile("g640_cu").response.high_photons < profile.response.high_photons


def test_a_users_own_profile_and_wrong_ones(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "tunnel_mm: [500, 300]\nbelt_mm_s: 100\nline_pitch_mm: 1\n"
        "views: [{name: a, source_mm: [0, -100], "
        "corners_mm: [[-50, 100], [50, 100]], n_channels: 10}]\n"
    )
    assert load_profile(mine).name == "mine"
    mine.write_text(mine.read_text() + "tube: {voltage: 3}\n")
    with pytest.raises(ConfigError, match=r"mine.yaml:5.*did you mean 'voltage_kv'"):
        load_profile(mine)
    with pytest.raises(ConfigError, match="did you mean 'g640_cu'"):
        load_profile("g640-cu")


@pytest.mark.parametrize(
    "change",
    [
        {"air_counts": 70000},
        {"air_counts": 0},
        {"line_pitch_mm": -2.0},
        {"belt_mm_s": 0.0},
        {"tunnel_mm": (0.0, 400.0)},
        {"views": ()},
    ],
)
def test_a_profile_that_no_scanner_has_is_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(load_profile("g640"), **change)


def test_views_cover_the_tunnel(profile):
    corners = np.array([[0, 0], [640, 0], [0, 430], [640, 430]], float)
    for view in profile.views:
        fan = view.fan(np.zeros(1))
        across, along = fan.frame @ (corners - fan.source_mm).T
        tangent = (fan.frame @ fan.direction.T)[0] / (fan.frame @ fan.direction.T)[1]
        assert tangent[0] < (across / along).min()
        assert (across / along).max() < tangent[-1]


@pytest.mark.parametrize("name", ["aluminium", "pmma", "iron", "copper", "titanium", "water"])
def test_slabs_transmit_what_integration_gives(coarse, name):
    view = coarse.views[0]
    slab = box((500, 400, 12)).moved(None, (320, 200, 200))
    fan = view.fan(line_positions((160, 240), 8))
    straight = 12 / fan.direction[:, 1]
    seen = np.abs((fan.source_mm[0] + fan.direction[:, 0] / fan.direction[:, 1] * 614) - 320) < 230
    truth = exact(coarse.response).transmission(straight[seen, None], [material(name)])
    for mode, bar in (("exact", 1e-5), ("groups", 3e-3)):  # float32 kernel: 1e-5 of a transmission
        found = transmission(
            [slab], [material(name)], [-1], coarse, view, (160, 240), per_pixel=1, mode=mode
        )
        assert pytest.approx(truth, rel=bar, abs=1e-7) == found[:, 3][:, seen].T


def test_the_kernels_exponential():
    x = np.linspace(0, 20, 2001).astype(np.float32)
    assert np.array([_exp_minus(v) for v in x]) == pytest.approx(np.exp(-x.astype(float)), rel=2e-5)


def test_a_child_displaces_its_parent(coarse):
    view = coarse.views[0]
    block = box((200, 150, 60)).moved(rotation_xyz(0.1, 0.2, 0.3), (320, 200, 150))
    hole = box((80, 60, 30)).moved(rotation_xyz(0.1, 0.2, 0.3), (320, 200, 150))
    air = transmission(
        [block, hole], [material("pmma"), material("air")], [-1, 0], coarse, view, (100, 300)
    )
    same = transmission(
        [block, hole], [material("pmma"), material("pmma")], [-1, 0], coarse, view, (100, 300)
    )
    alone = transmission([block], [material("pmma")], [-1], coarse, view, (100, 300))
    assert same == pytest.approx(alone, abs=1e-6)
    assert (air - alone).max() > 0.05
    assert (air - alone).min() > -1e-6


def test_more_rays_per_pixel_converge(coarse):
    wire = cylinder(1.0, 300).moved(rotation_xyz(0.1, 1.4, 0.2), (320, 200, 150))
    means = [
        transmission(
            [wire], [material("copper")], [-1], coarse, coarse.views[0], (100, 300), n
        ).mean()
        for n in (2, 4, 12)
    ]
    assert abs(means[1] - means[2]) < abs(means[0] - means[2]) + 1e-5
    assert means[1] == pytest.approx(means[2], abs=2e-4)


@pytest.mark.parametrize("mean", [0.5, 3, 20, 49, 60, 500, 2e4])
def test_coupled_poisson_is_poisson(mean):
    normal = np.random.default_rng(1).standard_normal(200_000)
    counts = coupled_poisson(np.full(200_000, float(mean)), normal)
    assert counts.mean() == pytest.approx(mean, rel=0.01)
    assert counts.var() == pytest.approx(mean, rel=0.03)
    skewness = np.mean((counts - counts.mean()) ** 3) / counts.std() ** 3
    assert skewness == pytest.approx(mean**-0.5, abs=0.03)
    assert (coupled_poisson(np.zeros(10), normal[:10]) == 0).all()


def test_pairs_differ_only_where_the_scene_does(coarse):
    view, sharp = (
        coarse.views[0],
        dataclasses.replace(
            coarse,
            scatter=Scatter(0),
            blur_px=(0.0, 0.0),
            faults=Faults(dead_channels=1, card_gain=0.001),
        ),
    )
    plain = np.full((2, 40, 104), 0.6, np.float32)
    edited = plain.copy()
    edited[:, 10:14, 50:56] = 0.02
    a, b = (measure(t, sharp, view, seed=5) for t in (plain, edited))
    changed = (a != b).any(0)
    assert changed[10:14, 50:56].mean() > 0.9
    changed[10:14, 49:57] = False
    assert not changed.any()
    assert (measure(plain, sharp, view, seed=6) != a).mean() > 0.9


def test_noise_has_the_size_of_its_photons(coarse):
    view = coarse.views[0]
    only_photons = dataclasses.replace(quiet(coarse), noise=Noise(8.0, 0, 0))
    flat = np.full((2, 2000, 104), 0.3, np.float32)
    counts = measure(flat, only_photons, view, seed=1) / coarse.air_counts
    distance = view.fan(np.zeros(1)).distance_mm
    for channel, photons in enumerate((coarse.response.low_photons, coarse.response.high_photons)):
        air = photons * (coarse.detector.distance_mm / distance) ** 2
        expected = np.sqrt(0.3 * air + 64) / air
        assert counts[channel].std(0) == pytest.approx(expected, rel=0.08)
        assert counts[channel].mean() == pytest.approx(0.3, rel=1e-3)


def test_scatter_lifts_shadows_and_leaves_air(coarse):
    shadow = np.ones((2, 100, 104), np.float32)
    shadow[:, 40:60, 40:60] = 0
    found = measure(
        shadow,
        dataclasses.replace(quiet(coarse), scatter=Scatter(0.03, 10)),
        coarse.views[0],
        0,
        noise=False,
    )
    assert found[0, 50, 50] > 100
    assert found[0, 5, 5] == pytest.approx(coarse.air_counts, abs=60)
    assert (
        measure(np.ones((2, 9, 104)), coarse, coarse.views[0], 0, noise=False).min()
        == coarse.air_counts
    )


def test_the_machines_own_pattern_stays_from_scan_to_scan(coarse):
    """Gain and dead channels belong to the machine's real channels, for any crop of a view."""
    machine = dataclasses.replace(
        quiet(coarse),
        noise=Noise(0, 0.01, 0),
        faults=Faults(dead_channels=2, card_gain=0.01, card_channels=16),
    )
    view, flat = machine.views[0], np.full((2, 30, 104), 0.6, np.float32)
    patterns = [measure(flat, machine, view, seed).mean(1) for seed in (1, 2)]
    assert np.corrcoef(patterns[0][0], patterns[1][0])[0, 1] > 0.9
    cropped = measure(
        flat[..., 30:70], machine, dataclasses.replace(view, channels=(30, 70)), 3
    ).mean(1)
    assert np.corrcoef(cropped[0], patterns[0][0, 30:70])[0, 1] > 0.9


VARIED = {  # range of each value of a varied machine
    "tube voltage, kV": (lambda p: p.tube.voltage_kv, 135, 175),
    "filter, mm": (lambda p: p.detector.filter_mm["copper"], 0.36, 1.02),
    "scatter": (lambda p: p.scatter.share, 0.005, 0.03),
    "blur, px": (lambda p: p.blur_px[1], 0.3, 0.6),
    "electronic noise": (lambda p: p.noise.electronic, 4, 20),
    "gain": (lambda p: p.noise.gain, 0.001, 0.004),
    "flicker": (lambda p: p.noise.flicker, 0.001, 0.004),
    "spread of light, px": (lambda p: p.noise.spread_px, 0.4, 0.7),
    "gain of cards": (lambda p: p.faults.card_gain, 0.0005, 0.002),
    "registration, px": (lambda p: p.faults.registration_px, 0, 0.3),
    "afterglow": (lambda p: p.faults.afterglow, 0, 0.01),
    "jitter of the belt": (lambda p: p.faults.belt_jitter, 0, 0.02),
    "dead channels": (lambda p: p.faults.dead_channels, 0, 2),
}


@pytest.mark.parametrize("name", VARIED)
def test_varied_machines_fill_their_ranges(profile, name):
    value, low, high = VARIED[name]
    found = [value(vary(profile, np.random.default_rng(seed))) for seed in range(40)]
    assert low <= min(found) < low + (high - low) / 3
    assert high - (high - low) / 3 < max(found) <= high


def test_a_varied_machine_keeps_its_geometry(profile):
    found = vary(profile, np.random.default_rng(0))
    assert found.views == profile.views
    current = found.tube.current_ma / profile.tube.current_ma
    assert 0.6 <= current <= 1.2


@pytest.mark.parametrize(
    ("name", "thickness_mm", "readings"),
    [
        ("iron", (2.0, 4.0, 6.0, 10.0), (2.39, 2.08, 1.90, 1.69)),
        ("aluminium", (12.0, 20.0, 30.0), (1.73, 1.61, 1.53)),
        ("copper", (2.0, 4.0, 8.0), (2.27, 1.97, 1.69)),
    ],
)
def test_the_ratio_of_a_wedge_falls_as_on_a_real_scanner(profile, name, thickness_mm, readings):
    """Readings of the low/high log ratio at 200 kV; our spectra end at 180 kV."""
    tube = dataclasses.replace(profile.tube, voltage_kv=180.0)
    spectral = exact(response(tube, profile.detector))
    transmitted = spectral.transmission(np.array(thickness_mm)[:, None], [material(name)])
    ratio = np.log(transmitted[:, 0]) / np.log(transmitted[:, 1])
    assert ratio == pytest.approx(np.array(readings), rel=0.1)
    assert ratio[-1] / ratio[0] == pytest.approx(readings[-1] / readings[0], rel=0.1)
