"""Write data/elements.npz and data/tungsten.npz; bagscan then needs neither xraylib nor spekpy.

    python -m bagscan.physics.build_tables        # needs bagscan[tables]

Attenuation comes from xraylib (Schoonjans et al. 2011), which tabulates the photoelectric,
coherent and incoherent cross sections of XCOM. Spectra come from spekpy (Poludniowski et al.
2021), for unfiltered tungsten.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "data"
ENERGY_KEV = np.arange(15.5, 180.0, 1.0)
ELEMENTS = range(1, 93)
TUBE_KV = np.arange(120, 181, 5)
ANODE_DEG = 20.0


def elements() -> dict[str, np.ndarray]:
    """Return symbols, atomic weights and mass coefficients (cm²/g) at ``ENERGY_KEV``."""
    import xraylib

    weights = np.array([xraylib.AtomicWeight(z) for z in ELEMENTS])
    weights[0] = 1.008  # xraylib rounds to two decimals: an error of 0.2 %
    return {
        "symbol": np.array([xraylib.AtomicNumberToSymbol(z) for z in ELEMENTS]),
        "atomic_weight": weights,
        "energy_kev": ENERGY_KEV,
        "attenuation_cm2_g": np.array(
            [[xraylib.CS_Total(z, float(e)) for e in ENERGY_KEV] for z in ELEMENTS]
        ),
        "absorption_cm2_g": np.array(
            [[xraylib.CS_Energy(z, float(e)) for e in ENERGY_KEV] for z in ELEMENTS]
        ),
    }


def tungsten() -> dict[str, np.ndarray]:
    """Return photons / (cm² keV mAs) at 1 m of unfiltered tubes, one row per tube voltage."""
    import spekpy

    rows = []
    for tube_kv in TUBE_KV:
        tube = spekpy.Spek(kvp=float(tube_kv), th=ANODE_DEG, dk=0.5, z=100, mas=1.0)
        energy, fluence = tube.get_spectrum(edges=False)
        rows.append(
            np.histogram(
                energy, np.append(ENERGY_KEV - 0.5, ENERGY_KEV[-1] + 0.5), weights=fluence * 0.5
            )[0]
        )
    return {"tube_kv": TUBE_KV.astype(float), "energy_kev": ENERGY_KEV, "fluence": np.array(rows)}


def main() -> None:
    """Compute both tables and write them to ``FOLDER``."""
    FOLDER.mkdir(exist_ok=True)
    for name, table in (("elements", elements()), ("tungsten", tungsten())):
        np.savez_compressed(FOLDER / f"{name}.npz", **table)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
