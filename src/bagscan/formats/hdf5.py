"""HDF5: ``/views/<view>/<channel>``, one file for all views of a bag.

Only hard links are followed, and only datasets whose values lie in the file itself are read. Shapes,
chunks and what a compressed chunk expands to are checked before anything of that size is allocated.
"""

from __future__ import annotations

import itertools
import math
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from bagscan.core import QUANTITIES, View
from bagscan.core.errors import ReadError
from bagscan.core.extras import required
from bagscan.formats.limits import MAX_CHANNELS, MAX_SAMPLES, check_pixels, check_size, naming
from bagscan.formats.quantities import (
    CHANNEL_NAMES,
    RGB,
    counts_from_view,
    quantity_of,
    referenced_view,
    view_from_counts,
)

VIEWS_GROUP = "views"
MAX_VIEWS = 16
MAX_CHUNKS = 1 << 16
MAX_ATTRIBUTE_BYTES = 4096
CHUNK_ROWS = 64
GZIP, SHUFFLE, FLETCHER32, LZF = 1, 2, 3, 32000
FILTERS = {GZIP: "gzip", SHUFFLE: "shuffle", FLETCHER32: "fletcher32", LZF: "lzf"}
VIEW_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
ORDER = (*CHANNEL_NAMES, *RGB)


def read_hdf5(path: str | Path) -> tuple[View, ...]:
    """Read every view of an HDF5 file.

    ``/views/<view>/<channel>`` are (H, W) datasets: uint8 or uint16 counts, or floats. Attributes of
    a view's group: ``quantity`` (required for floats), ``pixel_pitch_mm``, ``bit_depth`` (for counts
    with fewer bits than their type). A dataset of counts may have ``air_counts`` and
    ``dark_counts``.

    Returns:
        The views by name; channels low, high, zeff first.

    Raises:
        ReadError: as :func:`bagscan.formats.read_scan`; also for links, external or virtual data,
            and filters other than gzip, lzf, shuffle and fletcher32.
    """
    path = Path(path)
    check_size(path)
    with naming(path, "HDF5 file"):
        h5py = required("h5py")
        with h5py.File(path, "r", locking=False) as file:
            views = _group(h5py, path, file, VIEWS_GROUP)
            names = _names(path, views, MAX_VIEWS, "views")
            found = [(name, _Group(h5py, path, _group(h5py, path, views, name))) for name in names]
            total = sum(group.samples for _, group in found)
            if total > MAX_SAMPLES:
                raise ReadError(f"{path}: {total:,} values, more than the {MAX_SAMPLES:,} allowed")
            return tuple(group.read(name) for name, group in found)


class _Group:
    """One view's group: what its datasets announce, checked, before they are read."""

    def __init__(self, h5py: Any, path: Path, group: Any) -> None:
        self.path, self.group = path, group
        names = _names(path, group, MAX_CHANNELS, "channels")
        self.names = tuple(sorted(names, key=lambda n: ORDER.index(n) if n in ORDER else len(ORDER)))
        self.sets = [_dataset(h5py, path, group, name) for name in self.names]
        shapes = {one.shape for one in self.sets}
        types = {one.dtype.str for one in self.sets}
        if len(shapes) > 1 or len(types) > 1:
            kinds = ", ".join(f"{one.name} {one.shape} {one.dtype}" for one in self.sets)
            raise ReadError(f"{path}: channels of a view must be of one shape and type: {kinds}")
        height, width = self.sets[0].shape
        check_pixels(path, height, width, len(self.sets))
        self.samples = height * width * len(self.sets)

    def read(self, view_id: str) -> View:
        """The view, its pixels read."""
        if not VIEW_NAME.fullmatch(view_id):
            raise ReadError(f"{self.path}: {view_id!r} cannot name a view; use letters, digits, _ . -")
        pitch = self._number(self.group, "pixel_pitch_mm")
        depth = self._number(self.group, "bit_depth")
        quantity = _attribute(self.path, self.group, "quantity")
        values = np.stack([_values(self.path, one) for one in self.sets])
        fields: dict[str, Any] = {"view_id": view_id, "pixel_pitch_mm": pitch}
        if values.dtype.kind == "f":
            if quantity not in QUANTITIES:
                raise ReadError(f"{self.path}: {self.group.name} holds floats; its attribute quantity must be one of {', '.join(QUANTITIES)}, got {quantity!r}")
            bit_depth = None if depth is None else int(depth)
            return View(values.astype(np.float32), self.names, quantity, bit_depth=bit_depth, **fields)
        own = quantity_of(self.names)
        if quantity not in (None, own):
            raise ReadError(f"{self.path}: {self.group.name}: counts of {', '.join(self.names)} are {own}, not {quantity}: store {quantity} as floats")
        bits = int(depth or 8 * values.dtype.itemsize)
        air = [self._number(one, "air_counts") for one in self.sets]
        dark = [self._number(one, "dark_counts") for one in self.sets]
        return referenced_view(values, self.names, bits, air, dark, **fields)

    def _number(self, item: Any, name: str) -> float | None:
        value = _attribute(self.path, item, name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ReadError(f"{self.path}: attribute {name} of {item.name} must be a number, got {value!r}")
        return float(value)


def _names(path: Path, group: Any, most: int, what: str) -> list[str]:
    names = list(itertools.islice(group, most + 1))
    if not 1 <= len(names) <= most:
        raise ReadError(f"{path}: {group.name} must hold 1 to {most} {what}, and holds {'more' if names else 'none'}")
    return names


def _child(h5py: Any, path: Path, group: Any, name: str) -> Any:
    """A member of a group that lies in this file.

    Raises:
        ReadError: there is none, or it is a link to elsewhere.
    """
    link = group.get(name, getlink=True)
    if link is None:
        there = ", ".join(itertools.islice(group, 8)) or "nothing"
        raise ReadError(f"{path}: no {name} in {group.name} (found {there}); expected /{VIEWS_GROUP}/VIEW/CHANNEL")
    if not isinstance(link, h5py.HardLink):
        raise ReadError(f"{path}: {group.name}/{name} is a {type(link).__name__}, which is not followed")
    return group[name]


def _group(h5py: Any, path: Path, parent: Any, name: str) -> Any:
    found = _child(h5py, path, parent, name)
    if not isinstance(found, h5py.Group):
        raise ReadError(f"{path}: {found.name} must be a group; expected /{VIEWS_GROUP}/VIEW/CHANNEL")
    return found


def _dataset(h5py: Any, path: Path, group: Any, name: str) -> Any:
    """A channel's dataset, its announced size, type and storage checked; nothing is read yet."""
    found = _child(h5py, path, group, name)
    if not isinstance(found, h5py.Dataset) or found.shape is None or len(found.shape) != 2:
        raise ReadError(f"{path}: {group.name}/{name} must be a dataset of (height, width)")
    kind = found.dtype
    fits = (kind.kind == "u" and kind.itemsize <= 2) or (kind.kind == "f" and kind.itemsize in (4, 8))
    if not fits or kind.hasobject:
        raise ReadError(f"{path}: {found.name} is of type {kind}; expected uint8, uint16, float32 or float64")
    check_pixels(path, *found.shape)
    plist = found.id.get_create_plist()
    if plist.get_external_count() or found.is_virtual:
        raise ReadError(f"{path}: the values of {found.name} lie in another file, which is not read")
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    if unknown := [number for number in filters if number not in FILTERS]:
        raise ReadError(f"{path}: {found.name} is compressed by filter {unknown[0]}; known: {', '.join(FILTERS.values())}")
    if sum(number in (GZIP, LZF) for number in filters) > 1:
        raise ReadError(f"{path}: {found.name} is compressed twice")
    return found


def _attribute(path: Path, item: Any, name: str) -> Any:
    """A scalar attribute as int, float, bool or text; None where it is absent."""
    if name not in item.attrs:
        return None
    about = item.attrs.get_id(name)
    if math.prod(about.shape) != 1 or about.get_storage_size() > MAX_ATTRIBUTE_BYTES:
        raise ReadError(f"{path}: attribute {name} of {item.name} must be one value")
    value = item.attrs[name]
    if isinstance(value, np.ndarray | np.generic):
        value = value.item()
    return value.decode() if isinstance(value, bytes) else value


def _values(path: Path, dataset: Any) -> np.ndarray:
    """All values of a dataset, once it is known that they are in the file and how large they get."""
    nbytes = math.prod(dataset.shape) * dataset.dtype.itemsize
    if dataset.chunks is None:
        if dataset.id.get_storage_size() != nbytes:
            raise ReadError(f"{path}: {dataset.name} has no values for a part of its pixels")
    else:
        _check_chunks(path, dataset, nbytes)
    values = np.asarray(dataset[()])
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _check_chunks(path: Path, dataset: Any, nbytes: int) -> None:
    """Every chunk is there, and none of them expands to more than a chunk."""
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    count = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
    if size > 4 * nbytes + (1 << 20) or count > MAX_CHUNKS:
        raise ReadError(f"{path}: {dataset.name} of {dataset.shape} is cut into {count:,} chunks of {dataset.chunks}")
    stored: list[tuple[tuple[int, ...], int, int]] = []

    def keep(info: Any) -> bool | None:
        stored.append((info.chunk_offset, info.filter_mask, info.size))
        return True if len(stored) > count else None

    dataset.id.chunk_iter(keep)
    if len(stored) != count:
        raise ReadError(f"{path}: {dataset.name} has {len(stored)} chunks of {count}: a part of its pixels has no values")
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    packed = next((i for i, number in enumerate(filters) if number in (GZIP, LZF)), None)
    for offset, mask, stored_size in stored:
        if stored_size > 2 * size + 1024:
            raise ReadError(f"{path}: a chunk of {dataset.name} is stored in {stored_size:,} bytes, and has {size:,}")
        if packed is not None and not mask & (1 << packed):
            _, content = dataset.id.read_direct_chunk(offset)
            if not _expands_to(filters[packed], content, size):
                raise ReadError(f"{path}: a chunk of {dataset.name} is torn, or expands to more than its {size:,} bytes")


def _expands_to(number: int, content: bytes, size: int) -> bool:
    """Whether a compressed chunk has at most ``size`` bytes and a checksum, found without making more."""
    if number == GZIP:
        expander = zlib.decompressobj()
        return len(expander.decompress(content, size + 5)) <= size + 4 and expander.eof
    return len(imagecodecs.lzf_decode(content, out=size + 4)) <= size + 4


def write_hdf5(path: str | Path, views: View | Sequence[View]) -> None:
    """Write one view, or all views of a bag, gzip-compressed; ``view_id`` names the group.

    Counts of 8 or 16 bits are written as such and come back bit for bit; other views are written as
    float32 with their quantity, exactly.

    Raises:
        ReadError: a ``view_id`` that cannot name a group.
    """
    h5py = required("h5py")
    several = (views,) if isinstance(views, View) else tuple(views)
    with h5py.File(path, "w") as file:
        for view in several:
            if not VIEW_NAME.fullmatch(view.view_id):
                raise ReadError(f"{path}: {view.view_id!r} cannot name a view; use letters, digits, _ . -")
            group = file.create_group(f"{VIEWS_GROUP}/{view.view_id}")
            group.attrs["quantity"] = view.quantity
            if view.pixel_pitch_mm is not None:
                group.attrs["pixel_pitch_mm"] = view.pixel_pitch_mm
            if view.bit_depth is not None:
                group.attrs["bit_depth"] = view.bit_depth
            planes = _exact_counts(view)
            chunks = (min(CHUNK_ROWS, view.shape[0]), view.shape[1])
            settings = {
                "chunks": chunks,
                "compression": "gzip",
                "compression_opts": 1,
                "shuffle": True,
            }
            for name, plane in zip(view.channels, view.pixels if planes is None else planes, strict=True):
                group.create_dataset(name, data=plane, **settings)


def _exact_counts(view: View) -> np.ndarray | None:
    """Counts that give exactly this view again, or None where there are none."""
    if view.bit_depth not in (8, 16) or view.quantity != quantity_of(view.channels):
        return None
    counts = counts_from_view(view)
    same = np.array_equal(view_from_counts(counts, view.channels).pixels, view.pixels)
    return counts if same else None
