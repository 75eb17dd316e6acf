"""Whether a view can be a scan of a bag at all: what cannot is ``REVIEW``, never ``CLEAR``.

Physics tells most faults: low energies are absorbed more than high ones by every material, air absorbs nothing, and a
16-bit detector counts in more than 256 steps.
"""

from __future__ import annotations

import numpy as np

from bagscan.core import View

LEAST_SIDE_PX = 32
BLANK_SPREAD = 0.02  # of the largest value: less contrast than that is no bag
AIR_AT_LEAST = 0.6  # transmission that the brightest hundredth must reach: somewhere there is air
MOST_CLIPPED = 0.25  # share of 16-bit pixels at full scale, or of any at none
MOST_SWAPPED = 0.5  # share of absorbing pixels at which low energy passes better
STEPS_OF_8_BITS = 256
LEAST_COLOUR = 0.04  # between the largest and the smallest of red, green and blue, in the most coloured hundredth of what absorbs: full bags have .47 and more
MOST_NOISE = 0.5  # variance between neighbouring pixels over that of the picture: scans have less than .04, noise has 1
DARK_RIM, BRIGHT, LEAST_AIR = 0.12, 0.85, 0.1  # a rim darker than that, and less of the picture that is as bright as air
# Air: nearly as bright as the brightest hundredth in every colour, and nearly without one. Of 1,100 real scans 2 have less
# than a tenth of it both in all and at the rim, of 300 photographs 259.
AIR_BRIGHTNESS, AIR_COLOUR, LEAST_AIR_SEEN = 0.9, 0.12, 0.1
SAMPLE = 40_000  # pixels looked at where a part tells as much as all


def unfit(view: View) -> list[str]:
    """Reasons why a view is not a scan of anything; empty for a scan.

    Blank, too small, out of range, saturated, inverted, its energies swapped, or 8 bits in a 16-bit file.
    """
    low, high = float(view.pixels.min()), float(view.pixels.max())
    where = f"view {view.view_id}"
    if min(view.shape) < LEAST_SIDE_PX:
        return [f"{where}: {view.shape[1]}x{view.shape[0]} pixels are too few to judge"]
    if high - low < BLANK_SPREAD * max(abs(high), 1e-6):
        return [f"{where}: blank image (every pixel about {low:.3g})"]
    if view.quantity in ("transmission", "pseudo_colour") and (low < -0.05 or high > 1.05):
        return [f"{where}: values from {low:.3g} to {high:.3g}, expected 0 to 1"]
    found = _energies(view) if {"low", "high"} & set(view.channels) else _colours(view) if view.quantity == "pseudo_colour" else []
    return [f"{where}: {reason}" for reason in found]


def _energies(view: View) -> list[str]:
    channels = {name: view.pixels[view.channels.index(name)] for name in ("low", "high") if name in view.channels}
    reasons = [reason for name, pixels in channels.items() for reason in _transmission(name, pixels, view.bit_depth)]
    if len(channels) == 2 and not reasons:
        low, high = (_sample(pixels) for pixels in channels.values())
        absorbing = (high > 0.02) & (high < 0.9)
        if absorbing.sum() >= 50 and (low > high + 0.005)[absorbing].mean() > MOST_SWAPPED:
            reasons.append("low energy passes better than high: the channels are swapped, or the polarity is inverted")
    return reasons


def _transmission(name: str, pixels: np.ndarray, bit_depth: int | None) -> list[str]:
    sample = _sample(pixels)
    brightest = float(np.percentile(sample, 99))
    if sample.max() - sample.min() < BLANK_SPREAD * max(abs(float(sample.max())), 1e-6):
        return [f"channel {name} is blank (every pixel about {float(sample.max()):.3g})"]
    if (sample <= 0).mean() > MOST_CLIPPED:
        return [f"{100 * (sample <= 0).mean():.0f} % of channel {name} are zero: saturated, or the polarity is inverted"]
    if brightest < AIR_AT_LEAST:
        return [f"no air in channel {name} (brightest hundredth at {brightest:.3g} of it): wrong depth or air value, or the polarity is inverted"]
    if bit_depth == 16:
        if (sample >= pixels.max()).mean() > MOST_CLIPPED:
            return [f"{100 * (sample >= pixels.max()).mean():.0f} % of channel {name} are at full scale: saturated"]
        if _steps(sample) <= STEPS_OF_8_BITS:
            return [f"channel {name} has no more than {STEPS_OF_8_BITS} grey values: 8 bits in a 16-bit file"]
    return [f"the rim of channel {name} is darker than its middle: the polarity is inverted"] if _dark(_rim(pixels), sample) else []


def _steps(sample: np.ndarray) -> int:
    """Grey values in a sample; where there are many, every sixteenth pixel tells as much."""
    few = len(np.unique(sample.ravel()[::16]))
    return few if few > STEPS_OF_8_BITS else len(np.unique(sample))


def _colours(view: View) -> list[str]:
    colours = np.stack([_sample(channel) for channel in view.pixels])
    sample = colours.mean(0)
    if (sample <= 0).mean() > 2 * MOST_CLIPPED:
        return [f"{100 * (sample <= 0).mean():.0f} % are black: the polarity is inverted, or nothing was scanned"]
    if np.percentile(sample, 99) < AIR_AT_LEAST:
        return ["no air: nothing in it is bright"]
    rims = np.stack([_rim(channel) for channel in view.pixels])
    if _dark(rims.mean(0), sample):
        return ["the rim is darker than the middle: the polarity is inverted"]
    bright = AIR_BRIGHTNESS * np.percentile(colours.min(0), 99)
    air = max(float(((part.min(0) > bright) & (np.ptp(part, 0) < AIR_COLOUR)).mean()) for part in (colours, rims))
    if air < LEAST_AIR_SEEN:
        return [f"hardly any air ({100 * air:.0f} %): a scan of a bag shows some within it or around it, a photograph none"]
    absorbing = sample < 0.9
    if absorbing.sum() >= 50 and np.percentile(np.ptp(colours, 0)[absorbing], 99) < LEAST_COLOUR:
        return ["grey: pseudo-colour tells materials by their colour, and this has none"]
    grey = view.pixels[:, :: max(1, view.shape[0] // 64)].mean(0)  # some rows tell as much as all
    if np.square(np.diff(grey, axis=1)).mean() > 2 * MOST_NOISE * grey.var():
        return ["noise: neighbouring pixels have nothing to do with each other"]
    return []


def _rim(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([pixels[:4].ravel(), pixels[-4:].ravel(), pixels[:, :4].ravel(), pixels[:, -4:].ravel()])


def _dark(rim: np.ndarray, sample: np.ndarray) -> bool:
    """Whether the rim is black and hardly anything bright: air surrounds a bag, and air is bright.

    A picture that was padded with black has a dark rim too, but air within.
    """
    return bool(np.median(rim) < DARK_RIM and (sample > BRIGHT).mean() < LEAST_AIR)


def _sample(pixels: np.ndarray) -> np.ndarray:
    """Evenly spread pixels of (H, W), some ten thousand of them."""
    step = max(1, int((pixels.size / SAMPLE) ** 0.5))
    return pixels[::step, ::step].ravel()
