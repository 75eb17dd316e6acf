"""Materials by name: composition, density and attenuation. The library is data/materials.yaml."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from bagscan.core.errors import ConfigError, nearest

FOLDER = Path(__file__).parent / "data"
MAYNEORD_POWER = 2.94


@dataclass(frozen=True)
class Elements:
    """Tables of the elements 1-92 on a common energy axis.

    Attributes:
        symbol: (92,) chemical symbols.
        atomic_weight: (92,) g/mol.
        energy_kev: (K,) bin centres, 1 keV apart.
        attenuation_cm2_g: (92, K) mass attenuation, including coherent scattering.
        absorption_cm2_g: (92, K) mass energy absorption.
    """

    symbol: tuple[str, ...]
    atomic_weight: np.ndarray
    energy_kev: np.ndarray
    attenuation_cm2_g: np.ndarray
    absorption_cm2_g: np.ndarray


@functools.cache
def elements() -> Elements:
    """Load the element tables (see :mod:`bagscan.physics.build_tables` for their sources)."""
    with np.load(FOLDER / "elements.npz", allow_pickle=False) as data:
        return Elements(
            tuple(map(str, data["symbol"])),
            *(
                data[k]
                for k in ("atomic_weight", "energy_kev", "attenuation_cm2_g", "absorption_cm2_g")
            ),
        )


@dataclass(frozen=True)
class Material:
    """A homogeneous material.

    Attributes:
        name: name in the library.
        mass_fractions: share of the mass by atomic number; the shares sum to 1.
        density_g_cm3: bulk density, above 0.
        family: ``polymer``, ``metal`` and so on.
        source: source of composition and density.
    """

    name: str
    mass_fractions: Mapping[int, float]
    density_g_cm3: float
    family: str = "user"
    source: str = "user"

    def __post_init__(self) -> None:
        if not self.density_g_cm3 > 0:
            raise ValueError(
                f"{self.name}: density must be above 0 g/cm³, got {self.density_g_cm3}"
            )
        if not self.mass_fractions or abs(sum(self.mass_fractions.values()) - 1) > 1e-6:
            raise ValueError(f"{self.name}: mass fractions must sum to 1")

    def _mix(self, table: np.ndarray) -> np.ndarray:
        rows = [fraction * table[z - 1] for z, fraction in self.mass_fractions.items()]
        return np.asarray(np.sum(rows, axis=0))

    @property
    def attenuation_per_mm(self) -> np.ndarray:
        """(K,) linear attenuation on the axis of :func:`elements`, with coherent scattering."""
        return self._mix(elements().attenuation_cm2_g) * self.density_g_cm3 / 10

    @property
    def absorption_per_mm(self) -> np.ndarray:
        """(K,) linear energy absorption on the axis of :func:`elements`."""
        return self._mix(elements().absorption_cm2_g) * self.density_g_cm3 / 10

    @property
    def effective_z(self) -> float:
        """Mayneord's effective atomic number (Σ aᵢ Zᵢ^2.94)^(1/2.94), aᵢ the share of electrons."""
        electrons = {
            z: w * z / elements().atomic_weight[z - 1] for z, w in self.mass_fractions.items()
        }
        total = sum(electrons.values())
        return float(
            sum(e / total * z**MAYNEORD_POWER for z, e in electrons.items()) ** (1 / MAYNEORD_POWER)
        )


def parse_formula(formula: str) -> dict[int, float]:
    """Return the mass fractions of a formula such as ``"C2H3Cl"``, by atomic number.

    Raises:
        ConfigError: the string is not a formula, or an element is unknown.
    """
    parts = re.findall(r"([A-Z][a-z]?)(\d*\.?\d*)", formula)
    if not parts or "".join(a + b for a, b in parts) != formula:
        raise ConfigError(f"{formula!r} is not a chemical formula such as C2H3Cl")
    table = elements()
    masses: dict[int, float] = {}
    for symbol, count in parts:
        if symbol not in table.symbol:
            raise ConfigError(f"{formula}: unknown element {symbol}{nearest(symbol, table.symbol)}")
        z = table.symbol.index(symbol) + 1
        masses[z] = masses.get(z, 0.0) + float(count or 1) * float(table.atomic_weight[z - 1])
    total = sum(masses.values())
    return {z: mass / total for z, mass in masses.items()}


def mixture(parts: Mapping[str, float]) -> dict[int, float]:
    """Return the mass fractions of a mixture of formulas; shares are scaled to sum to 1."""
    total = sum(parts.values())
    out: dict[int, float] = {}
    for formula, share in parts.items():
        for z, fraction in parse_formula(formula).items():
            out[z] = out.get(z, 0.0) + fraction * share / total
    return out


@functools.cache
def library() -> dict[str, Material]:
    """Load all materials of the library, by name."""
    rows = yaml.safe_load((FOLDER / "materials.yaml").read_text())
    out = {}
    for name, row in rows.items():
        content = row.pop("of")
        fractions = parse_formula(content) if isinstance(content, str) else mixture(content)
        out[name] = Material(name, fractions, **row)
    return out


def material(name: str) -> Material:
    """Return a material of the library.

    Raises:
        ConfigError: the name is unknown; the message suggests the nearest name.
    """
    if name not in library():
        raise ConfigError(f"unknown material {name!r}{nearest(name, library())}")
    return library()[name]
