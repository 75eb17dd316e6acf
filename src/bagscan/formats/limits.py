"""What a file may cost before it is opened: caps that stop bombs, in one place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bagscan.core.errors import BagscanError, ReadError, absent

MAX_FILE_BYTES = 1 << 30
MAX_SAMPLES = (
    50_000_000  # pixels × channels: ten times what a baggage scanner writes, 200 MB as float32
)
MAX_CHANNELS = 64
MAX_TEXT_BYTES = 256 << 20
MAX_META_BYTES = 1 << 20


def check_size(path: Path, most: int = MAX_FILE_BYTES) -> None:
    """Require an existing, non-empty regular file of at most ``most`` bytes."""
    if not path.is_file():
        raise ReadError(
            absent(path, "file") if not path.exists() else f"{path}: not a regular file"
        )
    size = os.path.getsize(path)
    if size == 0:
        raise ReadError(f"{path}: the file is empty (0 bytes)")
    if size > most:
        raise ReadError(f"{path}: {size:,} bytes, more than the {most:,} allowed")


def check_pixels(path: Path, height: int, width: int, channels: int = 1) -> None:
    """Require an image size that is not a decompression bomb."""
    if height < 1 or width < 1 or channels < 1:
        raise ReadError(
            f"{path}: image of {width}x{height} pixels and {channels} channels is empty"
        )
    if height * width * channels > MAX_SAMPLES or channels > MAX_CHANNELS:
        raise ReadError(
            f"{path}: {width}x{height} pixels x {channels} channels, more than the {MAX_SAMPLES:,} values or {MAX_CHANNELS} channels allowed"
        )


@contextmanager
def naming(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a decoder raises on a bad file into a :class:`ReadError` that names it."""
    try:
        yield
    except ReadError as error:
        if str(path) in str(error):
            raise
        raise ReadError(f"{path}: {error}") from error
    except BagscanError as error:  # of what was decoded well, and is no view
        raise ReadError(f"{path}: {error}") from error
    except MemoryError as error:
        raise ReadError(f"{path}: not enough memory to read this {what}") from error
    except RecursionError as error:
        raise ReadError(f"{path}: nested too deeply for a {what}") from error
    except Exception as error:  # decoders raise anything from struct.error to KeyError
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ReadError(f"{path}: not a readable {what} ({reason})") from error
