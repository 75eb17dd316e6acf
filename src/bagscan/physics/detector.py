"""Tube spectrum and response of a dual-energy sandwich detector.

The beam passes a low-energy scintillator, a metal filter and a high-energy scintillator. Each
scintillator emits light in proportion to the energy that photons deposit in it. A signal is
therefore a sum over energies of photons × deposited energy. Its noise equals that of an effective
number of photons.
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
        voltage_kv: tube voltage, 120-180 kV.
        current_ma: tube current.
        exposure_ms: exposure time of one line.
        filters_mm: thickness by material; inherent filtration is entered as aluminium.
    """

    voltage_kv: float = 160.0
    current_ma: float = 0.7
    exposure_ms: float = 5.0
    filters_mm: Mapping[str, float] = field(default_factory=lambda: {"aluminium": 3.0})

    def fluence(self) -> np.ndarray:
        """Return (K,) photons / (cm² keV) of one line at 1 m, on the axis of :func:`elements`.

        Raises:
            ConfigError: the voltage lies outside the tables.
        """
        with np.load(FOLDER / "tungsten.npz", allow_pickle=False) as data:
            voltages, rows = data["tube_kv"], data["fluence"]
        if not voltages[0] <= self.voltage_kv <= voltages[-1]:
            raise ConfigError(
                f"tube voltage must be {voltages[0]:.0f}-{voltages[-1]:.0f} kV, "
                f"got {self.voltage_kv}"
            )
        index = np.searchsorted(voltages, self.voltage_kv, side="right") - 1
        unfiltered = _interpolate(
            voltages, rows, min(int(index), len(voltages) - 2), self.voltage_kv
        )
        path = sum(material(name).attenuation_per_mm * mm for name, mm in self.filters_mm.items())
        return np.asarray(unfiltered * np.exp(-path) * self.current_ma * self.exposure_ms * 1e-3)


def _interpolate(voltages: np.ndarray, rows: np.ndarray, i: int, voltage_kv: float) -> np.ndarray:
    """Interpolate between spectra ``i`` and ``i + 1``.

    Spectra are mixed at equal fractions of their end energies, so the result ends at the tube
    voltage.
    """
    share = (voltage_kv - voltages[i]) / (voltages[i + 1] - voltages[i])
    if share == 0:
        return np.asarray(rows[i])
    energy = elements().energy_kev
    scaled = [np.interp(energy * voltages[j] / voltage_kv, energy, rows[j]) for j in (i, i + 1)]
    return np.asarray((1 - share) * scaled[0] + share * scaled[1])


@dataclass(frozen=True)
class Sandwich:
    """Two scintillators with a filter between them.

    Attributes:
        low: name of the low-energy scintillator, a key of ``SCINTILLATORS``.
        low_mm: its thickness.
        low_packing: its packing density, below 1 for powders.
        filter_mm: thickness of the filter by material.
        high: name of the high-energy scintillator.
        high_mm: its thickness.
        pixel_mm: pixel size (across, along) the line.
        distance_mm: distance from source to detector.
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
    """Energy weights and photon statistics of a tube with a detector.

    Attributes:
        energy_kev: (K,) bin centres.
        low: (K,) shares of the low air signal, which sum to 1.
        high: (K,) shares of the high air signal, which sum to 1.
        low_photons: effective photons of a low pixel in air: signal² over variance.
        high_photons: effective photons of a high pixel in air.
    """

    energy_kev: np.ndarray
    low: np.ndarray
    high: np.ndarray
    low_photons: float
    high_photons: float

    @property
    def mean_energy_kev(self) -> tuple[float, float]:
        """Mean energy of the low and the high signal in keV."""
        return float(self.low @ self.energy_kev), float(self.high @ self.energy_kev)

    @property
    def weights(self) -> np.ndarray:
        """(K, 2) energy weights of the low and the high signal."""
        return np.stack([self.low, self.high], 1)


def response(tube: Tube, detector: Sandwich) -> Response:
    """Return energy weights and effective photon numbers of one pixel and line.

    Raises:
        ConfigError: the tube voltage lies outside the tables, or a scintillator is unknown.
    """
    energy = elements().energy_kev
    area_cm2 = detector.pixel_mm[0] * detector.pixel_mm[1] / 100
    photons = tube.fluence() * area_cm2 * (1000 / detector.distance_mm) ** 2
    low_stopped, low_deposit = _scintillator(detector.low, detector.low_mm * detector.low_packing)
    filter_depth = sum(
        material(name).attenuation_per_mm * mm for name, mm in detector.filter_mm.items()
    )
    high_stopped, high_deposit = _scintillator(detector.high, detector.high_mm)
    shares, counts = [], []
    for incident, stopped, deposit in (
        (photons, low_stopped, low_deposit),
        (photons * (1 - low_stopped) * np.exp(-filter_depth), high_stopped, high_deposit),
    ):
        signal = incident * stopped * deposit
        shares.append(signal / signal.sum())
        counts.append(float(signal.sum() ** 2 / (signal * deposit).sum()))
    return Response(energy, shares[0], shares[1], counts[0], counts[1])


def _scintillator(name: str, mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the (K,) share of photons that interact and their mean deposited energy in keV."""
    if name not in SCINTILLATORS:
        raise ConfigError(f"unknown scintillator {name!r}; available: {', '.join(SCINTILLATORS)}")
    crystal = SCINTILLATORS[name]
    return 1 - np.exp(-crystal.attenuation_per_mm * mm), elements().energy_kev * np.clip(
        crystal.absorption_per_mm / crystal.attenuation_per_mm, 0, 1
    )
