"""From transmission to raw counts: scatter, blur, photon noise and what real machines add.

Every random field has a fixed size and its own stream, drawn before anything is looked at, so that
two scenes measured with one seed carry the same noise: where their transmission agrees, so do
their counts, bit for bit. That is what makes counterfactual pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.special import ndtr, pdtrik

from bagscan.imaging.scanner import Profile, ViewGeometry
from bagscan.physics.scatter import add_scatter

GAUSSIAN_ABOVE = 50.0


def coupled_poisson(mean: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Poisson counts that follow one field of standard normals, draw by draw.

    Above 50 by Cornish and Fisher's expansion (Biometrika 1938), with the third cumulant; below by
    inverting the distribution. A pixel whose mean changes changes alone, unlike with a generator
    that uses up random numbers as it needs them.

    Args:
        mean: expected counts. normal: of the same shape.
    """
    counts = np.rint(mean + np.sqrt(mean) * normal + (np.square(normal) - 1) / 6)
    few = mean < GAUSSIAN_ABOVE
    if few.any():
        quantile = np.clip(ndtr(normal[few]), 1e-12, 1 - 1e-12)
        low = np.maximum(mean[few], 1e-9)
        counts[few] = np.where(quantile <= np.exp(-low), 0, np.ceil(pdtrik(quantile, low)))
    return np.asarray(np.maximum(counts, 0))


def measure(
    transmission: np.ndarray, profile: Profile, view: ViewGeometry, seed: int, noise: bool = True
) -> np.ndarray:
    """(2, lines, channels) noise-free transmission -> uint16 counts, air = ``profile.air_counts``.

    Args:
        seed: of the noise of this scan and view; the same seed, the same noise. What is the machine's own
            (gain, cards, registration, dead channels) follows from the profile's name.
        noise: False for scatter and blur alone.
    """
    streams = [
        np.random.Generator(np.random.Philox(key=s))
        for s in np.random.SeedSequence(seed).generate_state(3, np.uint64)
    ]
    fields = _Fields.draw(streams, transmission.shape, profile, view)
    seen = np.stack(
        [
            _optics(channel, profile, shift)
            for channel, shift in zip(transmission, ((0.0, 0.0), fields.shift), strict=True)
        ]
    )
    if noise:
        seen = _detected(seen, profile, view, fields)
        seen = _electronics(seen, profile, fields)
    return np.asarray(np.clip(np.rint(seen * profile.air_counts), 0, 65535).astype(np.uint16))


@dataclass(frozen=True)
class _Fields:
    """All random numbers of one view, drawn at once and to fixed length."""

    photon: np.ndarray
    electronic: np.ndarray
    flicker: np.ndarray
    jitter: np.ndarray
    gain: np.ndarray
    card: np.ndarray
    shift: tuple[float, float]
    dead: np.ndarray

    @classmethod
    def draw(
        cls,
        streams: list[np.random.Generator],
        shape: tuple[int, ...],
        profile: Profile,
        view: ViewGeometry,
    ) -> _Fields:
        photon, electronic, line = streams
        _, lines, channels = shape
        # Gain, cards, registration and dead channels are the machine's: the same in each of its scans.
        machine = np.random.default_rng(
            np.random.SeedSequence([*map(ord, profile.name), *map(ord, view.name)])
        )
        per_card, first = profile.faults.card_channels, view.channels[0] if view.channels else 0
        gain = machine.standard_normal((2, 1, view.n_channels))[..., first : first + channels]
        card = machine.standard_normal((2, 1, -(-view.n_channels // per_card))).repeat(
            per_card, -1
        )[..., first : first + channels]
        angle = machine.uniform(0, 2 * np.pi)
        reach = profile.faults.registration_px * machine.uniform()
        return cls(
            photon=photon.standard_normal(shape, np.float32),
            electronic=electronic.standard_normal(shape, np.float32),
            flicker=line.standard_normal((1, lines, 1)),
            jitter=line.standard_normal(lines),
            gain=gain,
            card=card,
            shift=(float(reach * np.sin(angle)), float(reach * np.cos(angle))),
            dead=_kept(
                machine.choice(
                    np.arange(2, view.n_channels - 2), profile.faults.dead_channels, replace=False
                )
                - first,
                channels,
            ),
        )


def _kept(dead: np.ndarray, channels: int) -> np.ndarray:
    """Those dead channels that lie inside of what is kept, with a neighbour on either side."""
    return dead[(dead > 0) & (dead < channels - 1)]


def blurred(image: np.ndarray, sigma_px: tuple[float, float]) -> np.ndarray:
    """(H, W) under a Gaussian far narrower than its pixels."""
    for axis, sigma in enumerate(sigma_px):
        if sigma > 0:
            image = ndimage.correlate1d(image, _pixel_weights(sigma), axis, mode="nearest")
    return np.asarray(image)


def spread(field: np.ndarray, sigma_px: float) -> np.ndarray:
    """(..., channels) standard normals that light spreading along the line makes alike, still of unit variance.

    A flash of the scintillator is seen by neighbouring channels too, so that their photon noise is correlated:
    lag-1 correlations of .44 to .51 along a line were measured in blanks of a panel system. The effective
    counts of a profile are what a pixel shows after it, so the variance stays.
    """
    if not sigma_px:
        return field
    weights = _pixel_weights(sigma_px)
    return np.asarray(
        ndimage.correlate1d(field, weights / np.sqrt(np.square(weights).sum()), -1, mode="wrap")
    )


def unspread(field: np.ndarray, sigma_px: float) -> np.ndarray:
    """(..., channels) with the correlation of :func:`spread` taken off: what an observer does who knows the noise (a prewhitening filter)."""
    if not sigma_px:
        return field
    weights = _pixel_weights(sigma_px)
    kernel = np.zeros(max(field.shape[-1], len(weights)))
    kernel[: len(weights)] = weights / np.sqrt(np.square(weights).sum())
    transfer = np.fft.rfft(np.roll(kernel, -(len(weights) // 2)))
    return np.asarray(
        np.fft.irfft(np.fft.rfft(field, len(kernel)) / transfer, len(kernel))[
            ..., : field.shape[-1]
        ]
    )


def _pixel_weights(sigma_px: float) -> np.ndarray:
    """Shares of a Gaussian that fall into a pixel and its neighbours: integrated, not sampled at their centres, where it would hardly blur."""
    reach = int(4 * sigma_px + 1.5)
    weights = np.diff(ndtr((np.arange(-reach, reach + 2) - 0.5) / sigma_px))
    return np.asarray(weights / weights.sum())


def _optics(transmission: np.ndarray, profile: Profile, shift: tuple[float, float]) -> np.ndarray:
    """Scatter pedestal, blur and misregistration; air stays 1."""
    seen = (
        add_scatter(transmission, profile.scatter.share, profile.scatter.sigma_px)
        if profile.scatter.share
        else transmission
    )
    seen = blurred(seen, profile.blur_px)
    return np.asarray(ndimage.shift(seen, shift, order=1, mode="nearest") if any(shift) else seen)


def _detected(
    seen: np.ndarray, profile: Profile, view: ViewGeometry, fields: _Fields
) -> np.ndarray:
    """Photon and electronic noise. Far channels see fewer photons, by the square of the distance."""
    distance = view.fan(np.zeros(1)).distance_mm
    response = profile.response
    air = (
        np.array([response.low_photons, response.high_photons])[:, None, None]
        * (profile.detector.distance_mm / distance) ** 2
    )
    lit = air * (1 + profile.noise.flicker * fields.flicker)
    counts = (
        coupled_poisson(np.maximum(seen, 0) * lit, spread(fields.photon, profile.noise.spread_px))
        + profile.noise.electronic * fields.electronic
    )
    return np.asarray(counts / air)


def _electronics(seen: np.ndarray, profile: Profile, fields: _Fields) -> np.ndarray:
    """Gain and card residuals, afterglow, belt jitter, dead channels filled from their neighbours."""
    faults = profile.faults
    seen = seen * (1 + profile.noise.gain * fields.gain + faults.card_gain * fields.card)
    if faults.afterglow:
        seen = np.concatenate(
            [seen[:, :1], (1 - faults.afterglow) * seen[:, 1:] + faults.afterglow * seen[:, :-1]], 1
        )
    if faults.belt_jitter:
        lines = np.arange(seen.shape[1]) + faults.belt_jitter * fields.jitter
        whole = (
            np.clip(np.floor(lines).astype(int), 0, seen.shape[1] - 2)
            if seen.shape[1] > 1
            else np.zeros(1, int)
        )
        part = np.clip(lines - whole, 0, 1)[None, :, None]
        seen = (1 - part) * seen[:, whole] + part * seen[
            :, np.minimum(whole + 1, seen.shape[1] - 1)
        ]
    for channel in fields.dead:
        seen[..., channel] = (seen[..., channel - 1] + seen[..., channel + 1]) / 2
    return np.asarray(seen)
