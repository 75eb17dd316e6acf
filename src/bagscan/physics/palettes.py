"""Colour mappings of real scanners, in which one bag looks very different.

A mapping sets the colour of a material at a reference depth, by effective Z. Manufacturers differ
in hue, in the number of material classes, in depth and in the tint of air.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

Colour = tuple[float, float, float]
# RGB at a mean log attenuation of DEPTH, by effective Z.
ANCHORS: dict[float, Colour] = {
    7.4: (0.90, 0.52, 0.15),
    9.8: (0.58, 0.60, 0.18),
    12.6: (0.20, 0.60, 0.36),
    16.0: (0.14, 0.50, 0.62),
    20.5: (0.17, 0.36, 0.76),
    30.0: (0.14, 0.27, 0.76),
}
DEPTH = 1.3
BLACK_FROM, BLACK_AT = 2.0, 5.5
N_Z, N_ATTENUATION = 128, 512
MIN_Z, MAX_Z, MAX_ATTENUATION = 5.0, 32.0, 6.0  # of a table
MIN_SHARE, MAX_SHARE = 0.02, 0.97  # limits of a transmitted colour share at the reference depth


@dataclass(frozen=True)
class Palette:
    """Colour mapping.

    Attributes:
        anchors: RGB in [0, 1] at a mean log attenuation of ``depth``, by effective Z.
        classes: limits of Z between which the hue is constant; empty for a continuous hue.
        depth: mean log attenuation at which ``anchors`` are reached; less is darker.
        black: mean log attenuations at which darkening begins and is complete.
        compression: exponent of the attenuation relative to ``depth``. Below 1, thin things are
            darker and thick ones lighter, as consoles show them that compress the dynamic range.
        saturation: 0 is grey, 1 leaves the colours.
        air: RGB in [0, 1] of air.
    """

    anchors: Mapping[float, Colour] = field(default_factory=lambda: dict(ANCHORS))
    classes: tuple[float, ...] = ()
    depth: float = DEPTH
    black: tuple[float, float] = (BLACK_FROM, BLACK_AT)
    compression: float = 1.0
    saturation: float = 1.0
    air: Colour = (1.0, 1.0, 1.0)

    def table(self) -> np.ndarray:
        """Return the (N_Z, N_ATTENUATION, 3) uint8 colours by Z and mean log attenuation."""
        z = np.linspace(MIN_Z, MAX_Z, N_Z)
        if self.classes:
            limits = np.array([MIN_Z, *self.classes, MAX_Z])
            z = ((limits[:-1] + limits[1:]) / 2)[np.digitize(z, self.classes)]
        attenuation = np.linspace(0, MAX_ATTENUATION, N_ATTENUATION)
        attenuation = self.depth * (attenuation / self.depth) ** self.compression
        anchors = np.array(list(self.anchors.values()))
        glass = np.stack([np.interp(z, list(self.anchors), anchors[:, c]) for c in range(3)], -1)
        if self.saturation != 1:
            grey = glass.mean(1, keepdims=True)
            glass = (grey + (glass - grey) * self.saturation).clip(MIN_SHARE, MAX_SHARE)
        colour = glass[:, None] ** (attenuation / self.depth)[None, :, None]
        dark = np.clip((attenuation - self.black[0]) / (self.black[1] - self.black[0]), 0, 1)
        colour *= 1 - (dark * dark * (3 - 2 * dark))[None, :, None]
        return np.asarray(np.rint(colour * np.array(self.air) * 255), np.uint8)


PALETTES: dict[str, Palette] = {
    "continuous": Palette(),
    "three_classes": Palette(classes=(10.0, 18.0)),
    "two_classes": Palette(
        anchors={7.4: (0.93, 0.55, 0.20), 13.0: (0.90, 0.50, 0.18), 22.0: (0.15, 0.30, 0.80)},
        classes=(13.0,),
    ),
    "olive": Palette(
        anchors={
            7.4: (0.74, 0.62, 0.22),
            10.0: (0.50, 0.60, 0.20),
            13.0: (0.30, 0.58, 0.30),
            20.0: (0.22, 0.34, 0.66),
            30.0: (0.16, 0.22, 0.60),
        },
        depth=1.1,
    ),
    "bright_green": Palette(
        anchors={
            7.4: (0.95, 0.62, 0.10),
            10.5: (0.55, 0.80, 0.15),
            14.0: (0.15, 0.80, 0.25),
            19.0: (0.10, 0.45, 0.90),
            30.0: (0.08, 0.20, 0.90),
        },
        classes=(9.5, 12.5, 17.0),
        depth=1.5,
    ),
    "red_organics": Palette(
        anchors={
            7.4: (0.88, 0.38, 0.16),
            10.0: (0.82, 0.55, 0.22),
            13.0: (0.35, 0.66, 0.45),
            20.0: (0.20, 0.45, 0.72),
            30.0: (0.22, 0.30, 0.55),
        },
        saturation=0.9,
    ),
    "pale": Palette(saturation=0.55, depth=1.8, black=(3.0, 6.0), air=(0.97, 0.97, 0.97)),
    "dark_blue_metals": Palette(
        anchors={
            7.4: (0.92, 0.58, 0.22),
            10.0: (0.62, 0.62, 0.30),
            13.0: (0.20, 0.52, 0.42),
            18.0: (0.08, 0.26, 0.62),
            30.0: (0.03, 0.08, 0.42),
        },
        depth=1.0,
        black=(1.6, 4.0),
    ),
    "grey_air": Palette(air=(0.86, 0.88, 0.90), saturation=0.85),
    "cyan_mixtures": Palette(
        anchors={
            7.4: (0.96, 0.70, 0.30),
            11.0: (0.60, 0.78, 0.60),
            15.0: (0.25, 0.72, 0.75),
            22.0: (0.22, 0.42, 0.85),
            30.0: (0.30, 0.30, 0.75),
        },
    ),
}


def draw_palette(rng: np.random.Generator) -> Palette:
    """Draw a mapping near one of ``PALETTES``: its anchors, depth, darkening and tint vary."""
    base = list(PALETTES.values())[int(rng.integers(len(PALETTES)))]
    shift = rng.normal(0, 0.5)
    anchors = {
        z + shift: tuple((np.array(colour) ** np.exp(rng.normal(0, 0.2, 3))).tolist())
        for z, colour in base.anchors.items()
    }
    tint = rng.uniform(0, 0.06, 3) if rng.random() < 0.3 else np.zeros(3)
    # Many consoles show thick steel in deep blue, far from black.
    begin = base.black[0] * float(np.exp(rng.normal(0.3, 0.35)))
    return replace(
        base,
        anchors=anchors,
        classes=tuple(sorted(limit + rng.normal(0, 0.5) for limit in base.classes)),
        depth=base.depth * float(np.exp(rng.normal(0, 0.2))),
        compression=base.compression * float(np.exp(rng.normal(-0.2, 0.2))),
        black=(begin, begin + (base.black[1] - base.black[0]) * float(rng.uniform(0.7, 1.4))),
        saturation=base.saturation * float(rng.uniform(0.7, 1.2)),
        air=tuple((np.array(base.air) * (1 - tint)).tolist()),
    )
