"""Whether a view can be a scan of a bag at all: what cannot is ``REVIEW``, never ``CLEAR``. One check for every way in.

Physics tells most faults: low energies are absorbed more than high ones by every material, air absorbs nothing, and a
16-bit detector counts in more than 256 steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bagscan.core import View
from bagscan.core.reasons import Reason, ReasonCode, in_view
from bagscan.formats.quantities import RGB
from bagscan.plausibility_raw import OTHER_UNITS, frozen, raw_unfit

MIN_SIDE_PX = 32  # of a view, and of what is left of it at the size that a model works at
MAX_ELONGATED = 10  # longer side to shorter side: no bag is so long, and a strip loses its width when it is scaled
# What a channel can hold, at its lowest and highest thousandth. Transmission: noise of air, and of air values that drift, lies above 1.
LIMITS = {
    "transmission": (-0.05, 1.2),
    "log attenuation": (-0.2, 16.0),
    "effective Z": (-1.0, 100.0),
    "colour": (-0.05, 1.05),
}
MIN_Z = 1.0  # below hydrogen: thousandths that were taken for units, or nothing at all
BLANK_SPREAD = 0.02  # of the largest value: less contrast than that is no bag
AIR_AT_LEAST = 0.6  # transmission that the brightest hundredth must reach: somewhere there is air
NEAR_FULL, MAX_OF_NEAR = (
    0.97,
    0.8,
)  # air that is clipped at its mean leaves half of its noise just below
MAX_CLIPPED = 0.25  # share of 16-bit pixels at full scale, or of any at none
MAX_SWAPPED = 0.5  # share of absorbing pixels at which low energy passes better
STEPS_OF_8_BITS = 256
MIN_COLOUR = 0.04  # between the largest and the smallest of red, green and blue, in the most coloured hundredth of what absorbs: full bags have .47 and more
MAX_NOISE = 0.5  # variance between neighbouring pixels over that of the picture: scans have less than .04, noise has 1
DARK_RIM, BRIGHT, MIN_AIR = (
    0.12,
    0.85,
    0.1,
)  # a rim darker than that, and less of the picture that is as bright as air
# Air: nearly as bright as the brightest hundredth in every colour, and nearly without one. Of 1,100 real scans 2 have less
# than a tenth of it both in all and at the rim, of 300 photographs 259.
AIR_BRIGHTNESS, AIR_COLOUR, MIN_AIR_SEEN = 0.9, 0.12, 0.1
# Shares of what is no air. Of 818 real scans the greyest has 7 %, of 200 photographs 140 have more than 8.
MAX_GREY, SOME_GREY, MAX_SKY = 0.08, 0.03, 0.5
MIN_RIM, FEW_RIM = 0.2, 0.7  # air along the airiest of the four borders
# Share of neighbours that differ by a grey level at most, where something absorbs: drawings have .97 and more
# (.54 and more as JPEG), 1,456 real scans at most .43, 399 simulated ones .45.
WRONG_AIR = "wrong depth or air value (bagscan convert finds the air), or inverted polarity"
FLAT_STEP, MAX_FLAT, FEW = 1.5 / 255, 0.6, 50
BLACK, MAX_CUT_OFF = 0.05, 0.05  # of 728 real scans 2 have 2 to 3 % of black at one side, none more
MIN_BLOCK, MAX_BLOCKS = 0.05, 6  # of several pictures in one: share of the side, and how many
SAMPLE = 40_000  # pixels looked at where a part tells as much as all
Found = tuple[ReasonCode, str]


def unfit(view: View) -> list[Reason]:
    """Reasons why a view is not a scan of anything; empty for a scan."""
    found = _unfit(view)
    return [Reason(code, in_view(view.view_id, text)) for code, text in found]


def _unfit(view: View) -> list[Found]:
    low, high = float(view.pixels.min()), float(view.pixels.max())
    height, width = view.shape
    if min(height, width) < MIN_SIDE_PX:
        return [(ReasonCode.TOO_SMALL, f"{width}x{height} pixels are too few to judge")]
    if max(height, width) > MAX_ELONGATED * min(height, width):
        return [
            (
                ReasonCode.TOO_SMALL,
                f"{width}x{height} pixels are a strip, longer than {MAX_ELONGATED} times its width: no bag is",
            )
        ]
    if high - low < BLANK_SPREAD * max(abs(high), 1e-6):
        return [(ReasonCode.BLANK, f"blank image (every pixel about {low:.3g})")]
    samples = dict(zip(view.channels, map(_sample, view.pixels), strict=True))
    beyond = [
        reason
        for name, sample in samples.items()
        for reason in _beyond(name, holds(view.quantity, name), sample)
    ]
    if beyond:
        return beyond
    if view.quantity != "log_attenuation" and {"low", "high"} & set(view.channels):
        return _energies(view, samples)
    if view.quantity == "dual_energy" and set(RGB) <= set(view.channels):
        return _colours(view.pixels[[view.channels.index(name) for name in RGB]])
    return _colours(view.pixels) if view.quantity == "pseudo_colour" else []


def holds(quantity: str, channel: str) -> str:
    """What a channel holds, by its name and its view's quantity: a key of ``LIMITS``."""
    if channel == "zeff" or quantity == "effective_z":
        return "effective Z"
    if quantity == "pseudo_colour" or channel in RGB:
        return "colour"
    return "log attenuation" if quantity == "log_attenuation" else "transmission"


def _beyond(name: str, what: str, sample: np.ndarray) -> list[Found]:
    """Values that what a channel holds cannot have."""
    low, high = (float(v) for v in np.percentile(sample, (0.1, 99.9)))
    least, most = LIMITS[what]
    if low < least or high > most:
        return [
            (
                ReasonCode.OUT_OF_RANGE,
                f"channel {name} has values from {low:.3g} to {high:.3g}, expected {what} from {max(least, 0):g} to {most:g}",
            )
        ]
    return []


def _energies(view: View, samples: Mapping[str, np.ndarray]) -> list[Found]:
    channels = {
        name: view.pixels[view.channels.index(name)]
        for name in ("low", "high")
        if name in view.channels
    }
    for name, pixels in channels.items():
        if wrong := _transmission(name, pixels, samples[name], view.bit_depth):
            return wrong  # the other channel mostly has the same fault
    high = samples.get("high", samples.get("low"))
    assert high is not None
    absorbing = (high > 0.02) & (high < 0.9)
    if absorbing.sum() < 50:
        return raw_unfit(view)
    if (
        len(channels) == 2
        and (samples["low"] > samples["high"] + 0.005)[absorbing].mean() > MAX_SWAPPED
    ):
        return [
            (
                ReasonCode.INVERTED,
                "low energy passes better than high: the channels are swapped, or the polarity is inverted",
            )
        ]
    if (
        "zeff" in samples
        and (brightest := float(np.percentile(samples["zeff"][absorbing], 99))) < MIN_Z
    ):
        return [
            (
                ReasonCode.OUT_OF_RANGE,
                f"effective Z is at most {brightest:.3g} where something absorbs: {OTHER_UNITS}",
            )
        ]
    return raw_unfit(view)


def _transmission(
    name: str, pixels: np.ndarray, sample: np.ndarray, bit_depth: int | None
) -> list[Found]:
    brightest = float(np.percentile(sample, 99))
    if sample.max() - sample.min() < BLANK_SPREAD * max(abs(float(sample.max())), 1e-6):
        return [
            (
                ReasonCode.BLANK,
                f"channel {name} is blank (every pixel about {float(sample.max()):.3g})",
            )
        ]
    if (sample <= 0).mean() > MAX_CLIPPED:
        return [
            (
                ReasonCode.SATURATED,
                f"{100 * (sample <= 0).mean():.0f} % of channel {name} are zero: saturated, or the polarity is inverted",
            )
        ]
    if brightest < AIR_AT_LEAST:
        return [
            (
                ReasonCode.NO_AIR,
                f"no air in channel {name}: its brightest hundredth reaches {100 * brightest:.3g} % of full scale; {WRONG_AIR}",
            )
        ]
    if bit_depth == 16:
        if _is_overexposed(sample, float(pixels.max())):
            return [
                (
                    ReasonCode.SATURATED,
                    f"{100 * (sample >= pixels.max()).mean():.0f} % of channel {name} are at full scale: saturated",
                )
            ]
        if _steps(sample) <= STEPS_OF_8_BITS:
            return [
                (
                    ReasonCode.TOO_FEW_LEVELS,
                    f"channel {name} has no more than {STEPS_OF_8_BITS} grey values: 8 bits in a 16-bit file",
                )
            ]
    dark = _dark(_rim(pixels), sample)
    return (
        [
            (
                ReasonCode.INVERTED,
                f"the rim of channel {name} is darker than its middle: the polarity is inverted",
            )
        ]
        if dark
        else []
    )


def _is_overexposed(sample: np.ndarray, full: float) -> bool:
    """Whether much is at full scale and hardly anything just below, where the noise of clipped air would be."""
    at_full, near = float((sample >= full).mean()), float((sample >= NEAR_FULL * full).mean())
    return at_full > MAX_CLIPPED and at_full > MAX_OF_NEAR * near


def _steps(sample: np.ndarray) -> int:
    """Grey values in a sample; where there are many, every sixteenth pixel tells as much."""
    few = len(np.unique(sample.ravel()[::16]))
    return few if few > STEPS_OF_8_BITS else len(np.unique(sample))


def _colours(pixels: np.ndarray) -> list[Found]:
    """Why (3, H, W) red, green and blue are no scan's."""
    colours = _thinned(pixels)
    sample = colours.mean(0)
    if (sample <= 0).mean() > 2 * MAX_CLIPPED:
        return [
            (
                ReasonCode.INVERTED,
                f"{100 * (sample <= 0).mean():.0f} % are black: the polarity is inverted, or nothing was scanned",
            )
        ]
    if np.percentile(sample, 99) < AIR_AT_LEAST:
        return [(ReasonCode.NO_AIR, "no air: nothing in it is bright")]
    if (share := _cut_off(pixels)) > MAX_CUT_OFF:
        return [
            (
                ReasonCode.SATURATED,
                f"{100 * share:.0f} % at one side are black and nothing at the other: the file is cut off (padding has both)",
            )
        ]
    if stuck := frozen(pixels):
        return stuck
    rims = np.stack([_rim(channel) for channel in pixels])
    if _dark(rims.mean(0), sample):
        return [
            (ReasonCode.INVERTED, "the rim is darker than the middle: the polarity is inverted")
        ]
    bright = AIR_BRIGHTNESS * np.percentile(colours.min(0), 99)
    air, at_rim = (
        ((part.min(0) > bright) & (np.ptp(part, 0) < AIR_COLOUR)) for part in (colours, rims)
    )
    if max(air.mean(), at_rim.mean()) < MIN_AIR_SEEN:
        return [
            (
                ReasonCode.NOT_A_BAG,
                f"read as red, green and blue, hardly any of it is air ({100 * air.mean():.0f} %): a scan shows some, a photograph none",
            )
        ]
    absorbing = sample < 0.9
    if absorbing.sum() >= 50 and np.percentile(np.ptp(colours, 0)[absorbing], 99) < MIN_COLOUR:
        return [
            (
                ReasonCode.NOT_A_BAG,
                "grey: pseudo-colour tells materials by their colour, and this has none",
            )
        ]
    rows = pixels[:, :: max(1, pixels.shape[1] // 64)]  # some tell as much as all
    if (flat := _flat(rows, bright)) > MAX_FLAT:
        return [
            (
                ReasonCode.NOT_A_BAG,
                f"flat: {100 * flat:.0f} % of what is not air has exactly the colour of the pixel beside it, as in a drawing; a scan has noise",
            )
        ]
    grey = rows.mean(0)
    if np.square(np.diff(grey, axis=1)).mean() > 2 * MAX_NOISE * grey.var():
        return [
            (ReasonCode.NOT_A_BAG, "noise: neighbouring pixels have nothing to do with each other")
        ]
    return _no_scan(colours, air)


def _cut_off(pixels: np.ndarray) -> float:
    """Share of the rows or columns of (3, H, W) that are black along one side, beyond those along the other."""
    found = 0.0
    for axis in (1, 2):
        black = np.asarray(pixels.max((0, axis)) < BLACK)
        first, last = (
            int(np.argmin(one)) if not one.all() else len(one) for one in (black, black[::-1])
        )
        found = max(found, abs(first - last) / len(black))
    return found


def _flat(rows: np.ndarray, bright: float) -> float:
    """Share of neighbours along (3, h, w) rows that have one colour, of those where neither is air nor padded with black."""
    same = np.asarray(np.abs(np.diff(rows, axis=2)).max(0) <= FLAT_STEP)
    there = np.asarray((rows.min(0) < bright) & (rows.max(0) > DARK_RIM))
    shown = there[:, 1:] & there[:, :-1]
    return float(same[shown].mean()) if shown.sum() >= FEW else 0.0


def _no_scan(colours: np.ndarray, air: np.ndarray) -> list[Found]:
    """What a photograph or a drawing shows and no scanner paints.

    Args:
        colours: (3, h, w) evenly spread pixels. air: (h, w) bool.
    """
    mean, spread = colours.mean(0), np.ptp(colours, 0)
    red, green, blue = colours
    n = max(int((~air).sum()), 1)
    greys = float((~air & (spread < 0.06) & (mean > 0.25) & (mean < 0.8)).sum()) / n
    skies = (
        float((~air & (spread > 0.1) & (mean > 0.72) & (blue > green) & (green >= red)).sum()) / n
    )
    rim = max(line.mean() for line in (air[0], air[-1], air[:, 0], air[:, -1]))
    for share, most, what in ((greys, MAX_GREY, "grey"), (skies, MAX_SKY, "pale blue")):
        if share > most:
            return [
                (
                    ReasonCode.NOT_A_BAG,
                    f"{100 * share:.0f} % of what is no air are {what}: no scanner paints materials so",
                )
            ]
    if rim < MIN_RIM or (rim < FEW_RIM and greys > SOME_GREY):
        return [
            (
                ReasonCode.NOT_A_BAG,
                f"the picture's rim shows {100 * rim:.0f} % air at most: around a bag there is some",
            )
        ]
    rows, columns = (_blocks(~air, axis) for axis in (1, 0))
    if min(rows, columns) > 1 and rows * columns >= MAX_BLOCKS:
        return [(ReasonCode.NOT_A_BAG, f"{rows} x {columns} pictures in one: a scan shows one bag")]
    return []


def _blocks(shown: np.ndarray, axis: int) -> int:
    """Stretches of rows or columns in which anything is shown, each of some length, with nothing between."""
    line = np.asarray(shown.any(axis))
    edges = np.diff(np.concatenate([[0], line.astype(int), [0]]))
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    return int((lengths >= MIN_BLOCK * len(line)).sum())


def _rim(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [pixels[:4].ravel(), pixels[-4:].ravel(), pixels[:, :4].ravel(), pixels[:, -4:].ravel()]
    )


def _dark(rim: np.ndarray, sample: np.ndarray) -> bool:
    """Whether the rim is black and hardly anything bright: air surrounds a bag, and air is bright.

    A picture that was padded with black has a dark rim too, but air within.
    """
    return bool(np.median(rim) < DARK_RIM and (sample > BRIGHT).mean() < MIN_AIR)


def _sample(pixels: np.ndarray) -> np.ndarray:
    """Evenly spread pixels of (H, W), some ten thousand of them."""
    return _thinned(pixels).ravel()


def _thinned(pixels: np.ndarray) -> np.ndarray:
    """(..., H, W) at even steps, some ten thousand pixels of it."""
    step = max(1, int((pixels.shape[-2] * pixels.shape[-1] / SAMPLE) ** 0.5))
    return pixels[..., ::step, ::step]
