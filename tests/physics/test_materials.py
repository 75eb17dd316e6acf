"""Attenuation against published points, compositions against hand counts."""

import numpy as np
import pytest

from bagscan.core.errors import ConfigError
from bagscan.physics.materials import Material, elements, library, material, mixture, parse_formula

# NIST Standard Reference Database 126 (Hubbell & Seltzer), mass attenuation in cm²/g.
NIST_KEV = (30, 40, 50, 60, 80, 100)
NIST = {
    "H": (0.3570, 0.3458, 0.3355, 0.3260, 0.3091, 0.2944),
    "C": (0.2562, 0.2076, 0.1871, 0.1753, 0.1610, 0.1514),
    "N": (0.3066, 0.2288, 0.1980, 0.1817, 0.1639, 0.1529),
    "O": (0.3779, 0.2585, 0.2132, 0.1907, 0.1678, 0.1551),
    "Al": (1.128, 0.5685, 0.3681, 0.2778, 0.2018, 0.1704),
    "Si": (1.436, 0.7012, 0.4385, 0.3207, 0.2228, 0.1835),
    "Ti": (4.972, 2.214, 1.213, 0.7661, 0.4052, 0.2721),
    "Fe": (8.176, 3.629, 1.958, 1.205, 0.5952, 0.3717),
    "Cu": (10.92, 4.862, 2.613, 1.593, 0.7630, 0.4584),
    "Pb": (30.32, 14.36, 8.041, 5.021, 2.419, 5.549),
    "H2O": (0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707),
}


@pytest.mark.parametrize("formula", NIST)
def test_mass_attenuation_is_nists(formula):
    per_g = Material(
        "x", parse_formula(formula), 10.0
    ).attenuation_per_mm  # 10 g/cm³: per mm is per cm²/g
    found = np.exp(np.interp(np.log(NIST_KEV), np.log(elements().energy_kev), np.log(per_g)))
    assert found == pytest.approx(NIST[formula], rel=1e-3)


def test_formula_by_hand():
    water = parse_formula("H2O")
    assert water[1] == pytest.approx(2 * 1.008 / 18.015, rel=1e-3)
    assert sum(parse_formula("KAl3Si3O12H2").values()) == pytest.approx(1)
    assert parse_formula("CH2O") == pytest.approx(parse_formula("C2H4O2"))
    assert mixture({"H2O": 2, "NaCl": 2})[11] == pytest.approx(0.5 * parse_formula("NaCl")[11])


@pytest.mark.parametrize(
    ("name", "z"),
    [
        ("water", 7.42),
        ("pmma", 6.47),
        ("polyethylene", 5.44),
        ("ptfe", 8.43),
        ("marzipan", 6.70),
        ("aluminium", 13),
    ],
)
def test_effective_z_of_known_materials(name, z):
    assert material(name).effective_z == pytest.approx(z, abs=0.02)


def test_the_library_is_large_sourced_and_plausible():
    assert len(library()) >= 60
    for one in library().values():
        assert one.source in ("STAR", "PNNL", "CRC", "datasheet", "choice")
        assert (one.attenuation_per_mm > one.absorption_per_mm).all()
    families = {one.family for one in library().values()}
    assert {
        "polymer",
        "textile",
        "paper",
        "electronics",
        "battery",
        "glass",
        "metal",
        "bulk",
    } == families


@pytest.mark.parametrize("formula", ["", "water", "C2h4", "H2O!", "Xx2"])
def test_what_is_no_formula_is_refused(formula):
    with pytest.raises(ConfigError):
        parse_formula(formula)


def test_unknown_material_and_impossible_ones():
    with pytest.raises(ConfigError, match="did you mean 'copper'"):
        material("coper")
    with pytest.raises(ValueError, match="density"):
        Material("x", {1: 1.0}, 0.0)
    with pytest.raises(ValueError, match="sum to 1"):
        Material("x", {1: 0.5}, 1.0)
