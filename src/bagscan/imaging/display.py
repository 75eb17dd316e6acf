"""Random displays: how the screen or the file of some scanner shows a raw view.

A colour mapping, sharpening, a contrast curve, resampling and JPEG compression. A model that is
trained on many of them depends less on the display of a single scanner.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from bagscan.physics.palettes import draw_palette
from bagscan.physics.pseudo_colour import colour_stored

SHARPEN = (0.4, 6.0)  # operator consoles enhance edges strongly


@dataclass(frozen=True, eq=False)
class Display:
    """A display.

    Attributes:
        table: colours, see :meth:`bagscan.physics.palettes.Palette.table`.
        sharpen: strength of the edge enhancement; 0 for none.
        gamma: exponent of the contrast curve; above 1 is darker.
        white: colour share from which a pixel is shown white, in (0, 1].
        resample: factor by which the image is reduced and enlarged again, in (0, 1].
        jpeg_quality: quality of a JPEG file, 1 to 95; None for no compression.
    """

    table: np.ndarray
    sharpen: float = 1.0
    gamma: float = 1.0
    white: float = 1.0
    resample: float = 1.0
    jpeg_quality: int | None = None

    def show(self, low: np.ndarray, high: np.ndarray, zeff: np.ndarray) -> np.ndarray:
        """Return the (3, H, W) uint8 colours of a view.

        Args:
            low: (H, W) transmission of the low channel, air = 1.
            high: (H, W) transmission of the high channel, air = 1.
            zeff: (H, W) effective Z, 0 where unknown.
        """
        colours = colour_stored(low, high, zeff, self.sharpen, self.table)
        if self.gamma != 1 or self.white < 1:
            curve = np.clip(np.arange(256) / 255 / self.white, 0, 1) ** self.gamma
            colours = np.rint(curve * 255).astype(np.uint8)[colours]
        if self.resample < 1 or self.jpeg_quality is not None:
            colours = self._store(colours)
        return np.ascontiguousarray(colours)

    def _store(self, colours: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(np.ascontiguousarray(colours.transpose(1, 2, 0)))
        if self.resample < 1:
            size = picture.size
            smaller = tuple(max(1, round(side * self.resample)) for side in size)
            picture = picture.resize((smaller[0], smaller[1]), Image.Resampling.BILINEAR)
            picture = picture.resize(size, Image.Resampling.BICUBIC)
        if self.jpeg_quality is not None:
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=self.jpeg_quality)
            picture = Image.open(file)
        return np.asarray(picture).transpose(2, 0, 1)


def draw_display(rng: np.random.Generator) -> Display:
    """Draw a display: most of them sharpen, half compress by JPEG, a third resample."""
    return Display(
        draw_palette(rng).table(),
        sharpen=float(np.exp(rng.uniform(*np.log(SHARPEN)))) if rng.random() < 0.8 else 0.0,
        gamma=float(np.exp(rng.normal(0, 0.2))),
        white=float(rng.uniform(0.9, 1)) if rng.random() < 0.3 else 1.0,
        resample=float(rng.uniform(0.5, 1)) if rng.random() < 1 / 3 else 1.0,
        jpeg_quality=int(rng.integers(40, 96)) if rng.random() < 0.5 else None,
    )
