"""Plausibility check of raw channels: low, high and effective Z must show the same bag."""

from __future__ import annotations

import numpy as np
from scipy import fft

from bagscan.core import View
from bagscan.core.reasons import ReasonCode

ABSORBS = 0.05  # minimum log attenuation of an absorbing pixel
MIN_MATTER = 0.002  # minimum fraction of absorbing pixels; less is a belt without a bag
SIDE = 8  # side of the blocks whose means are compared, to average out noise
MIN_BLOCKS = 30
# Correlation of the log attenuations of both energies; over 0.94 in simulated scans.
MIN_CORRELATION = 0.9
MIN_RATIO = 1.01  # low to high log attenuation; 1 if the same energy is stored twice
# Correlation of effective Z with the ratio of log attenuations from which it is computed; over
# 0.27 in simulated scans.
MIN_Z_ALIKE = 0.2
SEVERAL_MATERIALS = 0.03  # minimum standard deviation of that ratio for several materials
# Mean squared step between neighbours over the variance; under 0.2 in scans, 2 in noise.
NOISE = 1.0
# Correlation of neighbouring rows without shift over that of the best shift: at least 0.62 in 266
# simulated scans, at most 0.28 in headerless files read with a width off by 2 or more.
MIN_UPRIGHT = 0.5
# Increase of the correlation of effective Z if it is mirrored or rotated; at most 0.13 in 399
# simulated scans.
MAX_FLIP_GAIN = 0.2
MAX_FLAT, BLACK = (
    0.7,
    0.02,
)  # fraction of equal neighbours in absorbing pixels: nearly 1 in drawings
# Correlation of the left and right halves: at most 0.34 in 130 simulated scans, 1 if two rows were
# read as one.
SIDE_BY_SIDE = 0.8
TYPICAL_Z = (4.0, 30.0)  # median of absorbing pixels: 5.7 to 20.4 in simulated scans
# Noise makes all rows differ. Equal rows of bars and frames change in few places.
MIN_FROZEN, FROZEN_SHARE, MIN_SHOWN = 8, 0.03, 0.1
DEAD_SHARE, DEAD_BELOW = 0.04, 0.5  # fraction of constant rows or columns that are not air
OTHER_UNITS = (
    "it is stored in thousandths, or was not computed; "
    "bagscan convert computes it from low and high"
)
Found = tuple[ReasonCode, str]


def check_raw_channels(view: View) -> list[Found]:
    """Return the reasons why raw channels cannot be a scan of a bag; empty for a plausible view.

    The range of transmission must be checked before.
    """
    planes = dict(zip(view.channels, view.pixels, strict=True))
    energies = [planes[name] for name in ("low", "high") if name in planes]
    for axis, lines in ((0, "columns"), (1, "rows")):
        dead = (np.ptp(energies[0], axis) == 0) & (energies[0].max(axis) < DEAD_BELOW)
        if dead.mean() > DEAD_SHARE:
            percent = f"{100 * dead.mean():.0f} %"
            text = f"{percent} of the {lines} have a constant value that is not air"
            return [(ReasonCode.SATURATED, f"{text}: the file is truncated, or a detector is dead")]
    if "zeff" in planes and (typical := float(np.median(planes["zeff"][::SIDE]))) > TYPICAL_Z[1]:
        text = (
            f"median effective Z is {typical:.3g}, although air has 0: inverted, or {OTHER_UNITS}"
        )
        return [(ReasonCode.OUT_OF_RANGE, text)]
    if repeated_rows := find_frozen(energies[0]):
        return repeated_rows
    logs = [-np.log(np.clip(plane, 1e-3, 1.5)) for plane in energies]
    matter = logs[0] > ABSORBS
    if matter.mean() < MIN_MATTER:
        return [(ReasonCode.NOT_A_BAG, "nothing absorbs: air, or a belt without a bag")]
    if problems := _check_noise(logs[0], energies[0]):
        return problems
    if _is_sheared(logs[0]):
        text = "every row is shifted against the row above: the file was read with a wrong width"
        return [(ReasonCode.NOT_A_BAG, text)]
    if _is_doubled(logs[0]):
        text = "the image shows the same content twice: its rows were joined or split"
        return [(ReasonCode.NOT_A_BAG, text)]
    if len(logs) < 2:
        return []
    zeff = _block_means(planes["zeff"]) if "zeff" in planes else None
    return _check_agreement(_block_means(logs[0]), _block_means(logs[1]), zeff)


def _check_noise(log: np.ndarray, transmission: np.ndarray) -> list[Found]:
    """Find images that consist of noise, and drawings, which have none."""
    rows = log[::SIDE]  # a sufficient sample
    steps = np.diff(rows, axis=1)
    if np.square(steps).mean() > NOISE * rows.var():
        return [(ReasonCode.NOT_A_BAG, "noise: neighbouring pixels are unrelated")]
    thin = (rows > ABSORBS) & (transmission[::SIDE] > BLACK)
    if thin.any() and (steps[thin[:, 1:]] == 0).mean() > MAX_FLAT:
        text = "flat: most pixels equal their neighbour, as in a drawing; a scan has noise"
        return [(ReasonCode.NOT_A_BAG, text)]
    return []


def find_frozen(plane: np.ndarray) -> list[Found]:
    """Find many equal neighbouring rows with content in an (H, W) or (C, H, W) image."""
    planes = plane.reshape(-1, *plane.shape[-2:])
    has_content = (np.diff(planes[:, 1:], axis=2) != 0).any(0).mean(1) > MIN_SHOWN
    is_equal = (planes[:, 1:] == planes[:, :-1]).all((0, 2)) & has_content
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_equal.astype(int), [0]])))
    longest = int((edges[1::2] - edges[::2]).max(initial=0))
    if longest < max(MIN_FROZEN, FROZEN_SHARE * planes.shape[1]):
        return []
    text = f"{longest + 1} neighbouring rows are equal: the belt stopped, or a row was repeated"
    return [(ReasonCode.SATURATED, text)]


def _check_agreement(low: np.ndarray, high: np.ndarray, zeff: np.ndarray | None) -> list[Found]:
    """Check that block means of both energies and of effective Z show the same bag."""
    matter = low > ABSORBS
    if matter.sum() < MIN_BLOCKS:
        return []
    if _correlation(low, high) < MIN_CORRELATION:
        text = (
            "low and high energy show different content: "
            "they are from two scans, or one of them is rotated or shifted"
        )
        return [(ReasonCode.NOT_A_BAG, text)]
    thick = matter & (high > 2 * ABSORBS)
    if thick.sum() < MIN_BLOCKS:
        return []
    ratio = low[thick] / high[thick]
    if np.median(ratio) < MIN_RATIO:
        text = "low energy is not absorbed more than high energy: one channel is stored twice"
        return [(ReasonCode.NOT_A_BAG, text)]
    if zeff is None:
        return []
    if not TYPICAL_Z[0] <= (typical := float(np.median(zeff[thick]))) <= TYPICAL_Z[1]:
        text = f"median effective Z is {typical:.3g} in absorbing areas: {OTHER_UNITS}"
        return [(ReasonCode.OUT_OF_RANGE, text)]
    for axis, lines in ((0, "columns"), (1, "rows")):
        if ((np.ptp(zeff, axis) == 0) & thick.any(axis)).mean() > DEAD_SHARE:
            text = (
                f"effective Z is constant in many {lines} with absorbing areas: "
                "the file is truncated, or Z was not computed there"
            )
            return [(ReasonCode.SATURATED, text)]
    if ratio.std() <= SEVERAL_MATERIALS:
        return []
    upright = _correlation(zeff[thick], ratio)
    flipped = (zeff[::-1], zeff[:, ::-1], zeff[::-1, ::-1])
    best_flipped = max(_correlation(plane[thick], ratio) for plane in flipped)
    if upright < MIN_Z_ALIKE or best_flipped > upright + MAX_FLIP_GAIN:
        text = (
            "effective Z does not match the absorption of low and high energy: "
            "it is from another scan, rotated, or was not computed"
        )
        return [(ReasonCode.OUT_OF_RANGE, text)]
    return []


def _is_doubled(log: np.ndarray) -> bool:
    """Return True if both halves of (H, W) are similar, or every second row is more similar."""
    half = log.shape[1] // 2
    # A few columns are a sufficient sample. All rows are needed, since only some have edges.
    first, second, third = (log[k : len(log) - 2 + k, ::SIDE] for k in range(3))
    left, right = _block_means(log[:, :half]), _block_means(log[:, half : 2 * half])
    if _correlation(left, right) > SIDE_BY_SIDE:
        return True
    return _correlation(first, third) > _correlation(first, second)


def _is_sheared(log: np.ndarray) -> bool:
    """Return True if rows of (H, W) match the next row much better after a shift."""
    size = fft.next_fast_len(log.shape[1], real=True)
    above, below = (
        fft.rfft(np.diff(log[k : len(log) - 1 + k : SIDE], axis=1), size, axis=1) for k in (0, 1)
    )
    by_shift = fft.irfft((below * np.conj(above)).sum(0), size)
    return bool(by_shift[0] < MIN_UPRIGHT * by_shift.max())


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation coefficient, or 0 if an array is constant."""
    if a.std() > 1e-6 and b.std() > 1e-6:
        return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    return 0.0


def _block_means(plane: np.ndarray) -> np.ndarray:
    """Return the (H // SIDE, W // SIDE) means of blocks."""
    height, width = (n // SIDE * SIDE for n in plane.shape)
    return np.asarray(
        plane[:height, :width].reshape(height // SIDE, SIDE, width // SIDE, SIDE).mean((1, 3))
    )
