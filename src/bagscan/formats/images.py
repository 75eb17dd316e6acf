"""Pseudo-colour JPEG, PNG and BMP, and 16-bit PNG sets ``<id>_{low,high,zeff}.png``."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

from bagscan.core import View
from bagscan.core.errors import ReadError
from bagscan.formats.limits import check_pixels, check_size, naming
from bagscan.formats.quantities import CHANNEL_NAMES, RGB, counts_from_view, view_from_counts

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_BMP = b"BM"


def png_header(path: Path) -> tuple[int, int, int]:
    """Return (width, height, bit depth) from the first 33 bytes of a PNG file.

    Raises:
        ReadError: not a PNG file.
    """
    with path.open("rb") as file:
        head = file.read(33)
    if head[:8] != _PNG or head[12:16] != b"IHDR" or len(head) < 33:
        raise ReadError(f"{path}: not a PNG file")
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"), head[24]


def read_image(path: str | Path) -> View:
    """Read an 8-bit JPEG, PNG or BMP as pseudo-colour, or a 16-bit PNG as transmission.

    Raises:
        ReadError: the file is missing, empty, truncated, too large, or not an image.
    """
    path = Path(path)
    check_size(path)
    with path.open("rb") as file:
        magic = file.read(8)
    if magic == _PNG:
        width, height, bits = png_header(path)
        check_pixels(path, height, width, 3)
        if bits == 16:
            return _read_png16(path)
    elif not magic.startswith((_JPEG, _BMP)):
        raise ReadError(f"{path}: not a PNG, JPEG or BMP file (starts with {magic[:4]!r})")
    return _read_8bit(path)


def _read_8bit(path: Path) -> View:
    with naming(path, "image"), warnings.catch_warnings():
        # check_pixels() below limits the size.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path, formats=("PNG", "JPEG", "BMP")) as file:
            check_pixels(path, file.height, file.width, 3)
            image: Image.Image = file
            if image.mode in ("RGBA", "LA", "P"):
                # Transparent pixels are air, and air is white.
                image = Image.alpha_composite(
                    Image.new("RGBA", image.size, "white"), image.convert("RGBA")
                )
            rgb = np.asarray(image.convert("RGB"))
    return view_from_counts(rgb.transpose(2, 0, 1), RGB)


def _read_png16(path: Path) -> View:
    with naming(path, "16-bit PNG"):
        counts = np.asarray(imagecodecs.png_decode(path.read_bytes()))
    suffix = path.stem.rsplit("_", 1)[-1].lower()
    if counts.ndim == 2:
        return view_from_counts(counts[None], (suffix if suffix in CHANNEL_NAMES else "low",))
    if counts.shape[2] == 3:
        return view_from_counts(counts.transpose(2, 0, 1), RGB)
    raise ReadError(f"{path}: a 16-bit PNG must be grey or RGB, got {counts.shape[2]} channels")


def png_set_of(path: Path) -> dict[str, Path] | None:
    """Return the files of the PNG set of ``path`` by channel, or None for a single image."""
    if (names := png_set_names(path.name)) is None:
        return None
    members = {}
    for channel, spellings in names.items():
        files = [
            path.with_name(name)
            for name in spellings
            if name == path.name or os.path.lexists(path.with_name(name))
        ]
        if files:
            members[channel] = path if path in files else files[0]
    return members


def png_set_names(name: str) -> dict[str, list[str]] | None:
    """Return the possible file names of a PNG set by channel, such as ``7_low.png``, ``7_LOW.PNG``.

    Args:
        name: name of any file of the set.

    Returns:
        The names, or None if ``name`` is not the name of a file of a set.
    """
    stem, dot, ending = name.rpartition(".")
    stem, _, suffix = stem.rpartition("_")
    if ending.lower() != "png" or suffix.lower() not in CHANNEL_NAMES or not stem:
        return None
    endings = dict.fromkeys((ending, "png", "PNG"))
    return {
        channel: [
            f"{stem}_{word}{dot}{end}"
            for word in (channel, channel.upper(), channel.capitalize())
            for end in endings
        ]
        for channel in CHANNEL_NAMES
    }


def read_png_set(files: dict[str, Path]) -> View:
    """Read one view from single-channel 16-bit PNG files.

    Args:
        files: the files by channel.

    Raises:
        ReadError: a file cannot be read, or the sizes differ.
    """
    channels = {name: read_image(file) for name, file in files.items()}
    shapes = {name: view.shape for name, view in channels.items()}
    first = next(iter(files.values()))
    if len(set(shapes.values())) > 1:
        raise ReadError(f"{first}: the files of this set differ in size: {shapes}")
    wrong = [name for name, view in channels.items() if view.channels != (name,)]
    if wrong:
        raise ReadError(f"{files[wrong[0]]}: expected a single 16-bit grey channel")
    counts = np.concatenate([counts_from_view(view) for view in channels.values()])
    return view_from_counts(counts, tuple(channels))


def write_png_set(folder: str | Path, scan_id: str, view: View) -> list[Path]:
    """Write each channel as ``<id>_<channel>.png``. 16-bit counts are preserved exactly.

    Returns:
        The paths of the files.
    """
    paths = []
    for name, counts in zip(view.channels, counts_from_view(view), strict=True):
        path = Path(folder) / f"{scan_id}_{name}.png"
        path.write_bytes(imagecodecs.png_encode(counts))
        paths.append(path)
    return paths


def write_image(path: str | Path, view: View) -> None:
    """Write a view as an 8-bit PNG, JPEG or BMP, by the file's ending.

    Three channels are written as RGB. Otherwise the first channel is written as grey.
    """
    rgb = (view.pixels.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)
    Image.fromarray(rgb if rgb.shape[2] == 3 else rgb[..., 0]).save(path)
