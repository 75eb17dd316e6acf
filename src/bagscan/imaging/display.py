"""Random displays: how the screen or the file of some scanner shows a raw view.

A colour mapping, noise, sharpening, a contrast curve, resampling, JPEG compression, and what
screenshots add: a cursor, or the frame of the picture. A model that is trained on many of them
depends less on the display of a single scanner.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from bagscan.physics.palettes import draw_palette
from bagscan.physics.pseudo_colour import colour_stored, mean_attenuation

SHARPEN = (1.0, 8.0)  # operator consoles enhance edges strongly
NOISE = (0.003, 0.02)
# Change of effective Z with the relative change of the ratio of both channels; the display averages
# Z over neighbours, which reduces its noise, so this includes a factor of 3.
Z_PER_RATIO = 50.0
MIN_ATTENUATION = 0.02  # less is air, which consoles show without noise
MAX_CHANGE_Z = 25.0
CURSOR = ((0, 0), (0, 16), (4, 12), (7, 19), (10, 18), (7, 11), (12, 11))  # x, y of an arrow
FRAME_PX, DEEPEST_FRAME = 3, 0.08  # width of a frame's line; its largest share of a side


@dataclass(frozen=True, eq=False)
class Display:
    """A display.

    Attributes:
        table: colours, see :meth:`bagscan.physics.palettes.Palette.table`.
        sharpen: strength of the edge enhancement; 0 for none.
        gamma: exponent of the contrast curve; above 1 is darker.
        white: colour share from which a pixel is shown white, in (0, 1].
        noise: standard deviation of the log attenuation of a pixel, where little is absorbed.
        seed: seed of the noise, of the cursor's place and of the frame's.
        cursor: true to draw the cursor of a mouse.
        frame: true to draw a line along one side, beyond which nothing of the view is seen.
        resample: factor by which the image is reduced and enlarged again, in (0, 1].
        jpeg_quality: quality of a JPEG file, 1 to 95; None for no compression.
    """

    table: np.ndarray
    sharpen: float = 1.0
    gamma: float = 1.0
    white: float = 1.0
    noise: float = 0.0
    seed: int = 0
    cursor: bool = False
    frame: bool = False
    resample: float = 1.0
    jpeg_quality: int | None = None

    def show(self, low: np.ndarray, high: np.ndarray, zeff: np.ndarray) -> np.ndarray:
        """Return the (3, H, W) uint8 colours of a view.

        Args:
            low: (H, W) transmission of the low channel, air = 1.
            high: (H, W) transmission of the high channel, air = 1.
            zeff: (H, W) effective Z, 0 where unknown.
        """
        if self.noise:
            low, high, zeff = self._add_noise(low, high, zeff)
        colours = colour_stored(low, high, zeff, self.sharpen, self.table)
        if self.gamma != 1 or self.white < 1:
            curve = np.clip(np.arange(256) / 255 / self.white, 0, 1) ** self.gamma
            colours = np.rint(curve * 255).astype(np.uint8)[colours]
        is_stored = self.resample < 1 or self.jpeg_quality is not None
        if is_stored or self.cursor or self.frame:
            colours = self._take_screenshot(colours)
        return np.ascontiguousarray(colours)

    def _add_noise(
        self, low: np.ndarray, high: np.ndarray, zeff: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Add noise: more where much is absorbed, and to hues where little is."""
        attenuation = mean_attenuation(low, high)
        rng = np.random.default_rng(self.seed)
        spread = self.noise * np.exp(attenuation / 4) * (attenuation > MIN_ATTENUATION)
        change = rng.standard_normal((2, *low.shape), np.float32) * spread
        ratio = (change[0] - change[1]) / np.maximum(attenuation, MIN_ATTENUATION)
        # Not limited to possible Z, so that the mean of an area does not change.
        noisy_z = zeff + np.clip(Z_PER_RATIO * ratio, -MAX_CHANGE_Z, MAX_CHANGE_Z)
        return low * np.exp(change[0]), high * np.exp(change[1]), np.where(zeff > 0, noisy_z, zeff)

    def _take_screenshot(self, colours: np.ndarray) -> np.ndarray:
        """Draw frame and cursor, then resample and compress."""
        rng, pixels = np.random.default_rng((self.seed, 1)), colours.transpose(1, 2, 0)
        if self.frame:
            pixels = _frame(pixels, rng)
        picture = Image.fromarray(np.ascontiguousarray(pixels))
        if self.cursor:
            x, y = rng.random(2) * picture.size
            arrow = [(x + dx, y + dy) for dx, dy in CURSOR]
            ImageDraw.Draw(picture).polygon(arrow, fill="white", outline="black")
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


def _frame(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a line across (H, W, 3) pixels near a random side, and fill what lies beyond it."""
    turned = np.rot90(pixels, quarter := int(rng.integers(4))).copy()
    depth = int(rng.uniform(0, DEEPEST_FRAME) * len(turned))
    turned[:depth] = rng.choice([0, 128, 255])
    turned[depth : depth + int(rng.integers(1, FRAME_PX + 1))] = rng.choice([0, 90])
    return np.rot90(turned, -quarter)


def draw_display(rng: np.random.Generator) -> Display:
    """Draw a display: most of them sharpen and are noisy, half compress, a third resample."""
    return Display(
        draw_palette(rng).table(),
        sharpen=float(np.exp(rng.uniform(*np.log(SHARPEN)))) if rng.random() < 0.9 else 0.0,
        gamma=float(np.exp(rng.normal(0, 0.2))),
        white=float(rng.uniform(0.9, 1)) if rng.random() < 0.3 else 1.0,
        resample=float(rng.uniform(0.5, 1)) if rng.random() < 1 / 3 else 1.0,
        jpeg_quality=int(rng.integers(40, 96)) if rng.random() < 0.5 else None,
        noise=float(np.exp(rng.uniform(*np.log(NOISE)))) if rng.random() < 0.85 else 0.0,
        seed=int(rng.integers(2**32)),
        cursor=bool(rng.random() < 0.05),
        frame=bool(rng.random() < 0.08),
    )
