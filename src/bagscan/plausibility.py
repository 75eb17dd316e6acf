"""Plausibility check of views. A view that cannot be a scan of a bag results in ``REVIEW``.

Most faults follow from physics: every material absorbs low energy more than high energy, air
absorbs nothing, and a 16-bit detector has more than 256 levels. All commands and services use this
check.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bagscan.core import View
from bagscan.core.reasons import Reason, ReasonCode, in_view
from bagscan.formats.quantities import RGB
from bagscan.plausibility_raw import OTHER_UNITS, check_raw_channels, find_frozen

MIN_SIDE_PX = 32  # minimum side of a view, also at the working size of a model
MAX_ELONGATED = 10  # longer to shorter side; no bag is longer, and scaling makes strips too narrow
# Possible values at the 0.1 and 99.9 percentile. Noise and drift of air exceed transmission 1.
LIMITS = {
    "transmission": (-0.05, 1.2),
    "log attenuation": (-0.2, 16.0),
    "effective Z": (-1.0, 100.0),
    "colour": (-0.05, 1.05),
}
MIN_Z = 1.0  # hydrogen; smaller if stored in thousandths, or not computed
BLANK_SPREAD = 0.02  # minimum contrast as a fraction of the largest value
MIN_AIR_TRANSMISSION = 0.6  # minimum transmission at the 99th percentile: some pixels are air
NEAR_FULL, MAX_OF_NEAR = 0.97, 0.8  # if air is clipped at its mean, half of its noise is below
MAX_CLIPPED = 0.25  # fraction of 16-bit pixels at full scale, or of any pixels at zero
MAX_SWAPPED = 0.5  # fraction of absorbing pixels with higher transmission at low energy
STEPS_OF_8_BITS = 256
# Largest minus smallest of red, green and blue at the 99th percentile of absorbing pixels;
# full bags have 0.47 and more.
MIN_COLOUR = 0.04
# Variance of steps between neighbours over twice that of the image; scans < 0.04, noise 1.
MAX_NOISE = 0.5
DARK_RIM, BRIGHT, MIN_AIR = 0.12, 0.85, 0.1  # inverted: dark rim, and few pixels bright as air
# Air: nearly as bright as the 99th percentile in every colour, and nearly grey. Less than 10 % air
# both overall and at the rim: 2 of 1,100 real scans, 259 of 300 photographs.
AIR_BRIGHTNESS, AIR_COLOUR, MIN_AIR_SEEN = 0.9, 0.12, 0.1
# Fractions of pixels without air. Grey: at most 7 % in 818 real scans, over 8 % in 140 of 200
# photographs.
MAX_GREY, SOME_GREY, MAX_SKY = 0.08, 0.03, 0.5
MIN_RIM, FEW_RIM = 0.2, 0.7  # fraction of air along the border with the most air
WRONG_AIR = "wrong depth or air value (bagscan convert finds the air), or inverted polarity"
# Fraction of neighbours in absorbing areas that differ by at most one grey level: drawings 0.97
# (0.54 as JPEG) and more, at most 0.43 in 1,456 real scans, 0.45 in 399 simulated scans.
FLAT_STEP, MAX_FLAT, FEW = 1.5 / 255, 0.6, 50
BLACK, MAX_CUT_OFF = 0.05, 0.05  # 2 of 728 real scans have 2 to 3 % of black on a single side
MIN_BLOCK, MAX_BLOCKS = 0.05, 6  # image of several pictures: minimum size and number of pictures
SAMPLE = 40_000  # maximum number of pixels for statistics that need only a sample
Found = tuple[ReasonCode, str]


def unfit(view: View) -> list[Reason]:
    """Return the reasons why a view cannot be a scan of a bag; empty for a plausible view."""
    return [Reason(code, in_view(view.view_id, text)) for code, text in _check_view(view)]


def _check_view(view: View) -> list[Found]:
    low, high = float(view.pixels.min()), float(view.pixels.max())
    height, width = view.shape
    if min(height, width) < MIN_SIDE_PX:
        text = f"{width}x{height} pixels are too few; expected at least {MIN_SIDE_PX} per side"
        return [(ReasonCode.TOO_SMALL, text)]
    if max(height, width) > MAX_ELONGATED * min(height, width):
        text = f"{width}x{height} pixels are a strip: longer than {MAX_ELONGATED} times its width"
        return [(ReasonCode.TOO_SMALL, text)]
    if high - low < BLANK_SPREAD * max(abs(high), 1e-6):
        return [(ReasonCode.BLANK, f"blank image (every pixel about {low:.3g})")]
    samples = {name: _sample(plane) for name, plane in zip(view.channels, view.pixels, strict=True)}
    out_of_range = [
        reason
        for name, sample in samples.items()
        for reason in _check_range(name, holds(view.quantity, name), sample)
    ]
    if out_of_range:
        return out_of_range
    if view.quantity != "log_attenuation" and {"low", "high"} & set(view.channels):
        return _check_energies(view, samples)
    if view.quantity == "dual_energy" and set(RGB) <= set(view.channels):
        return _check_colours(view.pixels[[view.channels.index(name) for name in RGB]])
    return _check_colours(view.pixels) if view.quantity == "pseudo_colour" else []


def holds(quantity: str, channel: str) -> str:
    """Return the key of ``LIMITS`` for a channel, from its name and the quantity of its view."""
    if channel == "zeff" or quantity == "effective_z":
        return "effective Z"
    if quantity == "pseudo_colour" or channel in RGB:
        return "colour"
    return "log attenuation" if quantity == "log_attenuation" else "transmission"


def _check_range(name: str, what: str, sample: np.ndarray) -> list[Found]:
    low, high = (float(v) for v in np.percentile(sample, (0.1, 99.9)))
    minimum, maximum = LIMITS[what]
    if low < minimum or high > maximum:
        expected = f"expected {what} from {max(minimum, 0):g} to {maximum:g}"
        text = f"channel {name} has values from {low:.3g} to {high:.3g}, {expected}"
        return [(ReasonCode.OUT_OF_RANGE, text)]
    return []


def _check_energies(view: View, samples: Mapping[str, np.ndarray]) -> list[Found]:
    channels = {
        name: view.pixels[view.channels.index(name)]
        for name in ("low", "high")
        if name in view.channels
    }
    for name, pixels in channels.items():
        if problems := _check_transmission(name, pixels, samples[name], view.bit_depth):
            return problems  # the other channel usually has the same problem
    high = samples.get("high", samples.get("low"))
    assert high is not None
    absorbing = (high > 0.02) & (high < 0.9)
    if absorbing.sum() < 50:
        return check_raw_channels(view)
    if (
        len(channels) == 2
        and (samples["low"] > samples["high"] + 0.005)[absorbing].mean() > MAX_SWAPPED
    ):
        text = (
            "transmission is higher at low energy than at high energy: "
            "the channels are swapped, or the polarity is inverted"
        )
        return [(ReasonCode.INVERTED, text)]
    if (
        "zeff" in samples
        and (largest := float(np.percentile(samples["zeff"][absorbing], 99))) < MIN_Z
    ):
        text = f"effective Z is at most {largest:.3g} in absorbing areas: {OTHER_UNITS}"
        return [(ReasonCode.OUT_OF_RANGE, text)]
    return check_raw_channels(view)


def _check_transmission(
    name: str, pixels: np.ndarray, sample: np.ndarray, bit_depth: int | None
) -> list[Found]:
    brightest = float(np.percentile(sample, 99))
    if sample.max() - sample.min() < BLANK_SPREAD * max(abs(float(sample.max())), 1e-6):
        text = f"channel {name} is blank (every pixel about {float(sample.max()):.3g})"
        return [(ReasonCode.BLANK, text)]
    if (sample <= 0).mean() > MAX_CLIPPED:
        percent = f"{100 * (sample <= 0).mean():.0f} %"
        text = f"{percent} of channel {name} is zero: saturated, or the polarity is inverted"
        return [(ReasonCode.SATURATED, text)]
    if brightest < MIN_AIR_TRANSMISSION:
        percent = f"{100 * brightest:.3g} %"
        text = f"no air in channel {name}: its brightest 1 % reaches {percent} of full scale"
        return [(ReasonCode.NO_AIR, f"{text}; {WRONG_AIR}")]
    if bit_depth == 16:
        if _is_overexposed(sample, float(pixels.max())):
            percent = f"{100 * (sample >= pixels.max()).mean():.0f} %"
            text = f"{percent} of channel {name} is at full scale: saturated"
            return [(ReasonCode.SATURATED, text)]
        if _count_levels(sample) <= STEPS_OF_8_BITS:
            text = f"channel {name} has at most {STEPS_OF_8_BITS} levels: 8 bits in a 16-bit file"
            return [(ReasonCode.TOO_FEW_LEVELS, text)]
    if _is_inverted(_rim(pixels), sample):
        text = f"the rim of channel {name} is darker than its middle: the polarity is inverted"
        return [(ReasonCode.INVERTED, text)]
    return []


def _is_overexposed(sample: np.ndarray, full: float) -> bool:
    """Return True if many pixels are at full scale and few just below, unlike clipped air."""
    at_full, near = float((sample >= full).mean()), float((sample >= NEAR_FULL * full).mean())
    return at_full > MAX_CLIPPED and at_full > MAX_OF_NEAR * near


def _count_levels(sample: np.ndarray) -> int:
    """Return the number of grey levels, from every 16th pixel if these are enough."""
    few = len(np.unique(sample.ravel()[::16]))
    return few if few > STEPS_OF_8_BITS else len(np.unique(sample))


def _check_colours(pixels: np.ndarray) -> list[Found]:
    """Check (3, H, W) pixels of red, green and blue."""
    colours = _subsample(pixels)
    sample = colours.mean(0)
    if (sample <= 0).mean() > 2 * MAX_CLIPPED:
        percent = f"{100 * (sample <= 0).mean():.0f} %"
        text = f"{percent} of pixels are black: the polarity is inverted, or nothing was scanned"
        return [(ReasonCode.INVERTED, text)]
    if np.percentile(sample, 99) < MIN_AIR_TRANSMISSION:
        return [(ReasonCode.NO_AIR, "no air: no pixels are bright")]
    if (fraction := _black_on_one_side(pixels)) > MAX_CUT_OFF:
        text = f"{100 * fraction:.0f} % is black on one side only: the file is truncated"
        return [(ReasonCode.SATURATED, text)]
    if repeated_rows := find_frozen(pixels):
        return repeated_rows
    rims = np.stack([_rim(channel) for channel in pixels])
    if _is_inverted(rims.mean(0), sample):
        text = "the rim is darker than the middle: the polarity is inverted"
        return [(ReasonCode.INVERTED, text)]
    bright = AIR_BRIGHTNESS * np.percentile(colours.min(0), 99)
    air, air_at_rim = (
        ((area.min(0) > bright) & (np.ptp(area, 0) < AIR_COLOUR)) for area in (colours, rims)
    )
    if max(air.mean(), air_at_rim.mean()) < MIN_AIR_SEEN:
        text = f"only {100 * air.mean():.0f} % air in the colours: a photograph, not a scan"
        return [(ReasonCode.NOT_A_BAG, text)]
    absorbing = sample < 0.9
    if absorbing.sum() >= 50 and np.percentile(np.ptp(colours, 0)[absorbing], 99) < MIN_COLOUR:
        text = "grey: pseudo-colour distinguishes materials by colour, but the image has no colours"
        return [(ReasonCode.NOT_A_BAG, text)]
    rows = pixels[:, :: max(1, pixels.shape[1] // 64)]  # about 64 rows are a sufficient sample
    if (fraction := _flat_fraction(rows, bright)) > MAX_FLAT:
        percent = f"{100 * fraction:.0f} %"
        text = f"flat: {percent} of absorbing pixels equal their neighbour, as in a drawing"
        return [(ReasonCode.NOT_A_BAG, f"{text}; a scan has noise")]
    grey = rows.mean(0)
    if np.square(np.diff(grey, axis=1)).mean() > 2 * MAX_NOISE * grey.var():
        return [(ReasonCode.NOT_A_BAG, "noise: neighbouring pixels are unrelated")]
    return _check_scanner_colours(colours, air)


def _black_on_one_side(pixels: np.ndarray) -> float:
    """Return the fraction of (3, H, W) that is black on one side and not on the opposite side.

    A truncated file is black on one side; padding is on both.
    """
    fraction = 0.0
    for axis in (1, 2):
        black = np.asarray(pixels.max((0, axis)) < BLACK)
        first, last = (
            len(line) if line.all() else int(np.argmin(line)) for line in (black, black[::-1])
        )
        fraction = max(fraction, abs(first - last) / len(black))
    return fraction


def _flat_fraction(rows: np.ndarray, bright: float) -> float:
    """Return the fraction of equal neighbours in (3, h, w) rows, without air and black padding."""
    equal = np.asarray(np.abs(np.diff(rows, axis=2)).max(0) <= FLAT_STEP)
    is_content = np.asarray((rows.min(0) < bright) & (rows.max(0) > DARK_RIM))
    pairs = is_content[:, 1:] & is_content[:, :-1]
    return float(equal[pairs].mean()) if pairs.sum() >= FEW else 0.0


def _check_scanner_colours(colours: np.ndarray, air: np.ndarray) -> list[Found]:
    """Find colours and layouts of photographs and drawings that scanners do not produce.

    Args:
        colours: (3, h, w) subsampled pixels.
        air: (h, w) bool mask of air.
    """
    mean, spread = colours.mean(0), np.ptp(colours, 0)
    red, green, blue = colours
    n = max(int((~air).sum()), 1)
    is_grey = ~air & (spread < 0.06) & (mean > 0.25) & (mean < 0.8)
    is_sky = ~air & (spread > 0.1) & (mean > 0.72) & (blue > green) & (green >= red)
    grey, sky = float(is_grey.sum()) / n, float(is_sky.sum()) / n
    rim = max(line.mean() for line in (air[0], air[-1], air[:, 0], air[:, -1]))
    for fraction, maximum, colour in ((grey, MAX_GREY, "grey"), (sky, MAX_SKY, "pale blue")):
        if fraction > maximum:
            percent = f"{100 * fraction:.0f} %"
            text = f"{percent} of absorbing pixels are {colour}, which scanners do not produce"
            return [(ReasonCode.NOT_A_BAG, text)]
    if rim < MIN_RIM or (rim < FEW_RIM and grey > SOME_GREY):
        text = f"at most {100 * rim:.0f} % air along a border: a bag is surrounded by more air"
        return [(ReasonCode.NOT_A_BAG, text)]
    rows, columns = (_count_blocks(~air, axis) for axis in (1, 0))
    if min(rows, columns) > 1 and rows * columns >= MAX_BLOCKS:
        text = f"{rows} x {columns} pictures in one image: a scan shows one bag"
        return [(ReasonCode.NOT_A_BAG, text)]
    return []


def _count_blocks(content: np.ndarray, axis: int) -> int:
    """Count the stretches of rows or columns with content that are longer than ``MIN_BLOCK``."""
    line = np.asarray(content.any(axis))
    edges = np.diff(np.concatenate([[0], line.astype(int), [0]]))
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    return int((lengths >= MIN_BLOCK * len(line)).sum())


def _rim(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [pixels[:4].ravel(), pixels[-4:].ravel(), pixels[:, :4].ravel(), pixels[:, -4:].ravel()]
    )


def _is_inverted(rim: np.ndarray, sample: np.ndarray) -> bool:
    """Return True if the rim is dark and few pixels are bright, since air around a bag is bright.

    An image with black padding has a dark rim, too, but air inside.
    """
    return bool(np.median(rim) < DARK_RIM and (sample > BRIGHT).mean() < MIN_AIR)


def _sample(pixels: np.ndarray) -> np.ndarray:
    return _subsample(pixels).ravel()


def _subsample(pixels: np.ndarray) -> np.ndarray:
    """Subsample (..., H, W) at even steps to about ``SAMPLE`` pixels."""
    step = max(1, int((pixels.shape[-2] * pixels.shape[-1] / SAMPLE) ** 0.5))
    return pixels[..., ::step, ::step]
