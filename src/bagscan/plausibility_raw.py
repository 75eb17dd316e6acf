"""Whether low, high and effective Z can be one scan of a bag: they are three looks at one thing, and have to agree."""

from __future__ import annotations

import numpy as np
from scipy import fft

from bagscan.core import View
from bagscan.core.reasons import ReasonCode

ABSORBS = 0.05  # log attenuation from which something is there
MIN_MATTER = 0.002  # share of the picture: less is a belt without a bag
SIDE = 8  # of the blocks whose means are compared: noise averages out
MIN_BLOCKS = 30
MIN_ALIKE = 0.9  # correlation of both energies' log attenuations: simulated scans of three scanners have more than .94
MIN_RATIO = 1.01  # of low to high log attenuation: one energy stored twice has 1
MIN_Z_ALIKE = 0.2  # correlation of effective Z with the ratio of log attenuations, from which it is worked out: simulated scans have more than .27
SEVERAL_MATERIALS = 0.03  # spread of that ratio from which it tells materials apart
NOISE = 1.0  # squared steps between neighbouring pixels over the variance of what absorbs: scans have less than .2, noise has 2
# Neighbouring rows go together best unshifted: at none they correlate at least .62 times as well as at the best shift in 266
# simulated scans, at most .28 times where a headerless file was read with a width that is off by two or more.
MIN_UPRIGHT = 0.5
MAX_TURNED = 0.2  # by how much Z may go better with the energies once it is mirrored or turned: .11 in 266 simulated scans, .13 in one of 399
MAX_FLAT, BLACK = (
    0.7,
    0.02,
)  # share of neighbours of one value where something absorbs: drawings have nearly all, scans hardly any
SIDE_BY_SIDE = 0.8  # correlation of the left with the right half: .34 at most in 130 simulated scans, 1 where two rows were read as one
TYPICAL_Z = (
    4.0,
    30.0,
)  # median where something absorbs: 5.7 to 20.4 in 130 simulated scans of five scanners
# Neighbouring rows that are the same to the last bit, which noise never is; those of bars and frames change in few places.
MIN_FROZEN, FROZEN_SHARE, MIN_SHOWN = 8, 0.03, 0.1
DEAD_SHARE, DEAD_BELOW = 0.04, 0.5  # of the rows or columns: those of one value that is no air
OTHER_UNITS = "it is not in units (stored as thousandths), or was never worked out; bagscan convert works it out of low and high"
Found = tuple[ReasonCode, str]


def raw_unfit(view: View) -> list[Found]:
    """Why the energies of a view are no scan of a bag; empty for a scan. Transmission is taken to be in range already."""
    planes = dict(zip(view.channels, view.pixels, strict=True))
    energies = [planes[name] for name in ("low", "high") if name in planes]
    for axis, lines in ((0, "columns"), (1, "rows")):
        dead = (np.ptp(energies[0], axis) == 0) & (energies[0].max(axis) < DEAD_BELOW)
        if dead.mean() > DEAD_SHARE:
            return [
                (
                    ReasonCode.SATURATED,
                    f"{100 * dead.mean():.0f} % of the {lines} hold one value and no air: the file is cut off, or a detector is dead",
                )
            ]
    if "zeff" in planes and (typical := float(np.median(planes["zeff"][::SIDE]))) > TYPICAL_Z[1]:
        return [
            (
                ReasonCode.OUT_OF_RANGE,
                f"effective Z is {typical:.3g} in most of the picture, where air has none: inverted, or {OTHER_UNITS}",
            )
        ]
    if stuck := frozen(energies[0]):
        return stuck
    logs = [-np.log(np.clip(plane, 1e-3, 1.5)) for plane in energies]
    matter = logs[0] > ABSORBS
    if matter.mean() < MIN_MATTER:
        return [(ReasonCode.NOT_A_BAG, "nothing absorbs: air, or a belt without a bag")]
    some = logs[0][::SIDE]  # rows tell as much as all
    steps = np.diff(some, axis=1)
    if np.square(steps).mean() > NOISE * some.var():
        return [
            (ReasonCode.NOT_A_BAG, "noise: neighbouring pixels have nothing to do with each other")
        ]
    thin = (some > ABSORBS) & (energies[0][::SIDE] > BLACK)
    if thin.any() and (steps[thin[:, 1:]] == 0).mean() > MAX_FLAT:
        return [
            (
                ReasonCode.NOT_A_BAG,
                "flat: most pixels have exactly the value of the pixel beside them, as in a drawing; a scan has noise",
            )
        ]
    if _leans(logs[0]):
        return [
            (
                ReasonCode.NOT_A_BAG,
                "every row is shifted against the one above: the file was read with a wrong width",
            )
        ]
    blocks = _blocks(logs[0])
    if _shows_twice(logs[0]):
        return [
            (
                ReasonCode.NOT_A_BAG,
                "the picture shows one thing twice: two rows were read as one, or one as two",
            )
        ]
    if len(logs) < 2:
        return []
    return _disagree(
        blocks, _blocks(logs[1]), _blocks(planes["zeff"]) if "zeff" in planes else None
    )


def frozen(plane: np.ndarray) -> list[Found]:
    """Whether more neighbouring rows of (H, W), or of (C, H, W), are the same and show something than chance would make so."""
    planes = plane.reshape(-1, *plane.shape[-2:])
    same = (planes[:, 1:] == planes[:, :-1]).all((0, 2)) & (
        (np.diff(planes[:, 1:], axis=2) != 0).any(0).mean(1) > MIN_SHOWN
    )
    edges = np.flatnonzero(np.diff(np.concatenate([[0], same.astype(int), [0]])))
    longest = int((edges[1::2] - edges[::2]).max(initial=0))
    if longest < max(MIN_FROZEN, FROZEN_SHARE * planes.shape[1]):
        return []
    return [
        (
            ReasonCode.SATURATED,
            f"{longest + 1} neighbouring rows are the same: the belt stood still, or a line was written again and again",
        )
    ]


def _disagree(low: np.ndarray, high: np.ndarray, zeff: np.ndarray | None) -> list[Found]:
    """Whether means of blocks of both energies, and of effective Z, tell of one thing."""
    matter = low > ABSORBS
    if matter.sum() < MIN_BLOCKS:
        return []
    if _alike(low, high) < MIN_ALIKE:
        return [
            (
                ReasonCode.NOT_A_BAG,
                "low and high energy show different things: they are of two scans, or one is turned or shifted",
            )
        ]
    thick = matter & (high > 2 * ABSORBS)
    if thick.sum() < MIN_BLOCKS:
        return []
    ratio = low[thick] / high[thick]
    if np.median(ratio) < MIN_RATIO:
        return [
            (
                ReasonCode.NOT_A_BAG,
                "low energy is absorbed no more than high: one channel was stored twice",
            )
        ]
    if zeff is None:
        return []
    if not TYPICAL_Z[0] <= (typical := float(np.median(zeff[thick]))) <= TYPICAL_Z[1]:
        return [
            (
                ReasonCode.OUT_OF_RANGE,
                f"effective Z is typically {typical:.3g} where something absorbs: {OTHER_UNITS}",
            )
        ]
    for axis, which in ((0, "columns"), (1, "rows")):
        if ((np.ptp(zeff, axis) == 0) & thick.any(axis)).mean() > DEAD_SHARE:
            return [
                (
                    ReasonCode.SATURATED,
                    f"effective Z is one value over many {which} in which something absorbs: the file is cut off, or it was not worked out there",
                )
            ]
    if ratio.std() <= SEVERAL_MATERIALS:
        return []
    alike = _alike(zeff[thick], ratio)
    turned = max(
        _alike(other[thick], ratio) for other in (zeff[::-1], zeff[:, ::-1], zeff[::-1, ::-1])
    )
    if alike < MIN_Z_ALIKE or turned > alike + MAX_TURNED:
        return [
            (
                ReasonCode.OUT_OF_RANGE,
                "effective Z does not go with how low and high energy are absorbed: it is of another scan, turned, or was never worked out",
            )
        ]
    return []


def _shows_twice(log: np.ndarray) -> bool:
    """Whether both halves of (H, W) log attenuation are alike, or rows are more like the next but one than the next."""
    half = log.shape[1] // 2
    first, second, third = (
        log[k : len(log) - 2 + k, ::SIDE] for k in range(3)
    )  # some columns tell as much as all; edges lie between some rows alone
    return _alike(
        _blocks(log[:, :half]), _blocks(log[:, half : 2 * half])
    ) > SIDE_BY_SIDE or _alike(first, third) > _alike(first, second)


def _leans(log: np.ndarray) -> bool:
    """Whether rows of (H, W) log attenuation fit their neighbours far better once they are shifted along."""
    size = fft.next_fast_len(log.shape[1], real=True)
    above, below = (
        fft.rfft(np.diff(log[k : len(log) - 1 + k : SIDE], axis=1), size, axis=1) for k in (0, 1)
    )
    by_shift = fft.irfft((below * np.conj(above)).sum(0), size)
    return bool(by_shift[0] < MIN_UPRIGHT * by_shift.max())


def _alike(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation; 0 where one of the two is all alike."""
    return (
        float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) if a.std() > 1e-6 and b.std() > 1e-6 else 0.0
    )


def _blocks(plane: np.ndarray) -> np.ndarray:
    """(H // SIDE, W // SIDE) means."""
    height, width = (n // SIDE * SIDE for n in plane.shape)
    return np.asarray(
        plane[:height, :width].reshape(height // SIDE, SIDE, width // SIDE, SIDE).mean((1, 3))
    )
