"""Tube spectrum and dual-energy sandwich detector: what a pixel counts, per energy.

A low-energy scintillator, a metal filter and a high-energy scintillator lie behind one another. Each
gives light in proportion to the energy that photons leave in it, so a signal is a sum over energies
of photons × energy left, and its noise is that of an effective number of photons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bagscan.core.errors import ConfigError
from bagscan.physics.materials import Material, elements, material, parse_formula

FOLDER = Path(__file__).parent / "data"
SCINTILLATORS = {
    "gos": Material("gos", parse_formula("Gd2O2S"), 7.34),
    "csi": Material("csi", parse_formula("CsI"), 4.51),
}


@dataclass(frozen=True)
class Tube:
    """An X-ray tube with a tungsten anode of 20°.

    Attributes:
        voltage_kv: 120-180. current_ma, exposure_ms: of one line.
        filters_mm: thickness by material; inherent filtration counts as aluminium.
    """

    voltage_kv: float = 160.0
    current_ma: float = 0.7
    exposure_ms: float = 5.0
    filters_mm: Mapping[str, float] = field(default_factory=lambda: {"aluminium": 3.0})

    def fluence(self) -> np.ndarray:
        """(K,) photons / (cm² keV) of one line at 1 m, on the axis of :func:`elements`.

        Raises:
            ConfigError: a voltage outside the tables.
        """
        with np.load(FOLDER / "tungsten.npz", allow_pickle=False) as data:
            voltages, rows = data["tube_kv"], data["fluence"]
        if not voltages[0] <= self.voltage_kv <= voltages[-1]:
            raise ConfigError(
                f"tube voltage must be {voltages[0]:.0f}-{voltages[-1]:.0f} kV, got {self.voltage_kv}"
            )
        at = np.searchsorted(voltages, self.voltage_kv, side="right") - 1
        bare = _between(voltages, rows, min(int(at), len(voltages) - 2), self.voltage_kv)
        path = sum(material(name).attenuation_per_mm * mm for name, mm in self.filters_mm.items())
        return np.asarray(bare * np.exp(-path) * self.current_ma * self.exposure_ms * 1e-3)


def _between(voltages: np.ndarray, rows: np.ndarray, i: int, voltage_kv: float) -> np.ndarray:
    """Spectrum between two tabulated ones: mixed at equal share of the end energy, so that it ends where it must."""
    share = (voltage_kv - voltages[i]) / (voltages[i + 1] - voltages[i])
    if share == 0:
        return np.asarray(rows[i])
    energy = elements().energy_kev
    scaled = [np.interp(energy * voltages[j] / voltage_kv, energy, rows[j]) for j in (i, i + 1)]
    return np.asarray((1 - share) * scaled[0] + share * scaled[1])


@dataclass(frozen=True)
class Sandwich:
    """Two scintillators with a filter between.

    Attributes:
        low, high: scintillator and its thickness in mm; packing below 1 for powders.
        filter_mm: thickness by material.
        pixel_mm: (across, along) the line. distance_mm: source to detector.
    """

    low: str = "gos"
    low_mm: float = 0.30
    low_packing: float = 0.60
    filter_mm: Mapping[str, float] = field(default_factory=lambda: {"copper": 0.6})
    high: str = "csi"
    high_mm: float = 3.0
    pixel_mm: tuple[float, float] = (1.575, 2.5)
    distance_mm: float = 900.0


@dataclass(frozen=True)
class Response:
    """How a tube and a detector weigh energies.

    Attributes:
        energy_kev: (K,). low, high: (K,) shares of the air signal, each summing to 1.
        low_photons, high_photons: effective photons of a pixel in air; signal² over variance.
    """

    energy_kev: np.ndarray
    low: np.ndarray
    high: np.ndarray
    low_photons: float
    high_photons: float

    @property
    def mean_energy_kev(self) -> tuple[float, float]:
        """Mean energy of the low and of the high signal."""
        return float(self.low @ self.energy_kev), float(self.high @ self.energy_kev)

    @property
    def weights(self) -> np.ndarray:
        """(K, 2) low and high."""
        return np.stack([self.low, self.high], 1)


def response(tube: Tube, detector: Sandwich) -> Response:
    """Energy weights and effective photon numbers of one pixel and line."""
    energy = elements().energy_kev
    area_cm2 = detector.pixel_mm[0] * detector.pixel_mm[1] / 100
    photons = tube.fluence() * area_cm2 * (1000 / detector.distance_mm) ** 2
    low_in, low_energy = _scintillator(detector.low, detector.low_mm * detector.low_packing)
    between = sum(material(name).attenuation_per_mm * mm for name, mm in detector.filter_mm.items())
    high_in, high_energy = _scintillator(detector.high, detector.high_mm)
    shares, counts = [], []
    for arriving, stopped, left in (
        (photons, low_in, low_energy),
        (photons * (1 - low_in) * np.exp(-between), high_in, high_energy),
    ):
        signal = arriving * stopped * left
        shares.append(signal / signal.sum())
        counts.append(float(signal.sum() ** 2 / (signal * left).sum()))
    return Response(energy, shares[0], shares[1], counts[0], counts[1])


def _scintillator(name: str, mm: float) -> tuple[np.ndarray, np.ndarray]:
    """(K,) share of photons that interact, and mean energy left in keV by one that does."""
    if name not in SCINTILLATORS:
        raise ConfigError(f"unknown scintillator {name!r}; known are {', '.join(SCINTILLATORS)}")
    of = SCINTILLATORS[name]
    return 1 - np.exp(-of.attenuation_per_mm * mm), elements().energy_kev * np.clip(
        of.absorption_per_mm / of.attenuation_per_mm, 0, 1
    )
