"""Size limits of input files, checked before decoding to stop decompression bombs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bagscan.core.errors import BagscanError, ReadError, absent

MAX_FILE_BYTES = 1 << 30
# Pixels × channels: ten times those of a baggage scanner, 200 MB as float32.
MAX_SAMPLES = 50_000_000
MAX_CHANNELS = 64
MAX_TEXT_BYTES = 256 << 20
MAX_META_BYTES = 1 << 20


def check_size(path: Path, most: int = MAX_FILE_BYTES) -> None:
    """Require an existing, non-empty regular file of at most ``most`` bytes.

    Raises:
        ReadError: the file is missing, empty, too large or not a regular file.
    """
    if not path.is_file():
        raise ReadError(
            absent(path, "file") if not path.exists() else f"{path}: not a regular file"
        )
    size = os.path.getsize(path)
    if size == 0:
        raise ReadError(f"{path}: the file is empty (0 bytes)")
    if size > most:
        raise ReadError(f"{path}: file of {size:,} bytes; at most {most:,} are allowed")


def check_pixels(path: Path, height: int, width: int, channels: int = 1) -> None:
    """Require an image of at least 1 and at most ``MAX_SAMPLES`` values.

    Raises:
        ReadError: the image is empty or too large.
    """
    if height < 1 or width < 1 or channels < 1:
        raise ReadError(
            f"{path}: image of {width}x{height} pixels and {channels} channels is empty"
        )
    if height * width * channels > MAX_SAMPLES or channels > MAX_CHANNELS:
        raise ReadError(
            f"{path}: {width}x{height} pixels x {channels} channels; "
            f"at most {MAX_SAMPLES:,} values and {MAX_CHANNELS} channels are allowed"
        )


@contextmanager
def naming(path: Path, what: str) -> Iterator[None]:
    """Convert any exception of a decoder to a :class:`ReadError` that names the file.

    Args:
        path: the file.
        what: kind of file, for the message.
    """
    try:
        yield
    except ReadError as error:
        if str(path) in str(error):
            raise
        raise ReadError(f"{path}: {error}") from error
    except BagscanError as error:  # the file was decoded but is not a valid view
        raise ReadError(f"{path}: {error}") from error
    except MemoryError as error:
        raise ReadError(f"{path}: not enough memory to read this {what}") from error
    except RecursionError as error:
        raise ReadError(f"{path}: {what} is nested too deeply") from error
    except Exception as error:  # decoders raise anything from struct.error to KeyError
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ReadError(f"{path}: not a readable {what} ({reason})") from error
