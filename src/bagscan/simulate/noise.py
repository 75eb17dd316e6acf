"""Conversion of transmission to raw counts: scatter, blur, noise and imperfections.

Every random field has a fixed size and its own stream, and is drawn before the transmission is
used. Two scenes that are measured with the same seed therefore have the same noise. Where their
transmissions agree, their counts agree bit for bit, which makes twins comparable.
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
    """Map standard normals to Poisson counts, pixel by pixel.

    Means from ``GAUSSIAN_ABOVE`` use the expansion of Cornish and Fisher (Biometrika 1938) with the
    third cumulant; lower means invert the distribution. A change of the mean of a pixel affects
    that pixel only. A Poisson generator would consume a varying number of random numbers instead.

    Args:
        mean: expected counts.
        normal: standard normals of the same shape.

    Returns:
        Integer counts as floating-point numbers, 0 or more.
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
    """Convert noise-free transmission to counts.

    Args:
        transmission: (2, lines, channels) low and high transmission.
        profile: scanner profile. Its name seeds the properties of the scanner: gain, cards,
            registration and dead channels.
        view: view of the profile.
        seed: seed of the noise of this scan and view.
        noise: False to apply only scatter and blur.

    Returns:
        (2, lines, channels) uint16 counts; air is ``profile.air_counts``.
    """
    streams = [
        np.random.Generator(np.random.Philox(key=s))
        for s in np.random.SeedSequence(seed).generate_state(3, np.uint64)
    ]
    fields = _Fields.draw(streams, transmission.shape, profile, view)
    signal = np.stack(
        [
            _apply_optics(channel, profile, shift)
            for channel, shift in zip(transmission, ((0.0, 0.0), fields.shift), strict=True)
        ]
    )
    if noise:
        signal = _add_noise(signal, profile, view, fields)
        signal = _apply_faults(signal, profile, fields)
    return np.asarray(np.clip(np.rint(signal * profile.air_counts), 0, 65535).astype(np.uint16))


@dataclass(frozen=True)
class _Fields:
    """Random numbers of a view, drawn at once and of fixed sizes."""

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
        # Gain, cards, registration and dead channels are the same in all scans of a scanner.
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
            dead=_keep_inner(
                machine.choice(
                    np.arange(2, view.n_channels - 2), profile.faults.dead_channels, replace=False
                )
                - first,
                channels,
            ),
        )


def _keep_inner(dead: np.ndarray, channels: int) -> np.ndarray:
    """Return the dead channels that have a neighbour on either side in the cropped view."""
    return dead[(dead > 0) & (dead < channels - 1)]


def blur(image: np.ndarray, sigma_px: tuple[float, float]) -> np.ndarray:
    """Blur a (H, W) image with a Gaussian that can be much narrower than a pixel.

    Args:
        image: (H, W) image.
        sigma_px: σ between lines and between channels.
    """
    for axis, sigma in enumerate(sigma_px):
        if sigma > 0:
            image = ndimage.correlate1d(image, _pixel_weights(sigma), axis, mode="nearest")
    return np.asarray(image)


def spread(field: np.ndarray, sigma_px: float) -> np.ndarray:
    """Correlate standard normals along the line, as light spreading in the scintillator does.

    Neighbouring channels see the same flashes of the scintillator, so their photon noise is
    correlated. The variance stays 1, because the effective counts of a profile already include the
    spread.

    Args:
        field: (..., channels) independent standard normals.
        sigma_px: σ of the spread in channels.
    """
    if not sigma_px:
        return field
    weights = _pixel_weights(sigma_px)
    return np.asarray(
        ndimage.correlate1d(field, weights / np.sqrt(np.square(weights).sum()), -1, mode="wrap")
    )


def unspread(field: np.ndarray, sigma_px: float) -> np.ndarray:
    """Remove the correlation of :func:`spread` from a (..., channels) field (prewhitening)."""
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
    """Integrate a Gaussian over a pixel and its neighbours.

    Sampling a narrow Gaussian at the centres of the pixels would hardly blur.
    """
    reach = int(4 * sigma_px + 1.5)
    weights = np.diff(ndtr((np.arange(-reach, reach + 2) - 0.5) / sigma_px))
    return np.asarray(weights / weights.sum())


def _apply_optics(
    transmission: np.ndarray, profile: Profile, shift: tuple[float, float]
) -> np.ndarray:
    """Apply scatter, blur and misregistration to a (lines, channels) channel; air stays 1."""
    signal = transmission
    if profile.scatter.share:
        signal = add_scatter(signal, profile.scatter.share, profile.scatter.sigma_px)
    signal = blur(signal, profile.blur_px)
    if any(shift):
        signal = ndimage.shift(signal, shift, order=1, mode="nearest")
    return np.asarray(signal)


def _add_noise(
    signal: np.ndarray, profile: Profile, view: ViewGeometry, fields: _Fields
) -> np.ndarray:
    """Add photon and electronic noise; photons decrease with the squared distance of a channel."""
    distance = view.fan(np.zeros(1)).distance_mm
    response = profile.response
    air = (
        np.array([response.low_photons, response.high_photons])[:, None, None]
        * (profile.detector.distance_mm / distance) ** 2
    )
    incident = air * (1 + profile.noise.flicker * fields.flicker)
    counts = (
        coupled_poisson(
            np.maximum(signal, 0) * incident, spread(fields.photon, profile.noise.spread_px)
        )
        + profile.noise.electronic * fields.electronic
    )
    return np.asarray(counts / air)


def _apply_faults(signal: np.ndarray, profile: Profile, fields: _Fields) -> np.ndarray:
    """Apply gain and card errors, afterglow and belt jitter, and interpolate dead channels."""
    faults = profile.faults
    signal = signal * (1 + profile.noise.gain * fields.gain + faults.card_gain * fields.card)
    if faults.afterglow:
        mixed = (1 - faults.afterglow) * signal[:, 1:] + faults.afterglow * signal[:, :-1]
        signal = np.concatenate([signal[:, :1], mixed], 1)
    if faults.belt_jitter:
        n_lines = signal.shape[1]
        position = np.arange(n_lines) + faults.belt_jitter * fields.jitter
        if n_lines > 1:
            lower = np.clip(np.floor(position).astype(int), 0, n_lines - 2)
        else:
            lower = np.zeros(1, int)
        upper = np.minimum(lower + 1, n_lines - 1)
        weight = np.clip(position - lower, 0, 1)[None, :, None]
        signal = (1 - weight) * signal[:, lower] + weight * signal[:, upper]
    for channel in fields.dead:
        signal[..., channel] = (signal[..., channel - 1] + signal[..., channel + 1]) / 2
    return np.asarray(signal)
