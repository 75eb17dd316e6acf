"""HDF5: ``/views/<view>/<channel>``, one file for all views of a bag.

Only hard links are followed, and only datasets whose values lie in the file itself are read.
Shapes, chunks and what a compressed chunk expands to are checked before anything is allocated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.core import QUANTITIES, View
from bagscan.core.errors import ReadError
from bagscan.core.extras import required
from bagscan.formats.hdf5_access import (
    VIEWS_GROUP,
    attribute_of,
    check_heaps,
    dataset_in,
    group_in,
    names_in,
    values_of,
)
from bagscan.formats.limits import MAX_CHANNELS, MAX_SAMPLES, check_pixels, check_size, naming
from bagscan.formats.quantities import (
    CHANNEL_NAMES,
    CHANNEL_OF,
    RGB,
    counts_from_view,
    quantity_of,
    referenced_view,
    view_from_counts,
)

MAX_VIEWS = 16
CHUNK_ROWS = 64
VIEW_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
VIEW_NAMES = "use letters, digits, _ . -"
ORDER = (*CHANNEL_NAMES, *RGB)


def read_hdf5(path: str | Path) -> tuple[View, ...]:
    """Read every view of an HDF5 file.

    ``/views/<view>/<channel>`` are (H, W) datasets: uint8 or uint16 counts, or floats. Attributes
    of a view's group: ``quantity`` (required for floats), ``pixel_pitch_mm``, ``bit_depth`` (for
    counts with fewer bits than their type). A dataset of counts may have ``air_counts`` and
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
        check_heaps(path)
        with h5py.File(path, "r", locking=False) as file:
            views = group_in(h5py, path, file, VIEWS_GROUP)
            names = names_in(path, views, MAX_VIEWS, "views")
            groups = [group_in(h5py, path, views, name) for name in names]
            found = [(n, _Group(h5py, path, g)) for n, g in zip(names, groups, strict=True)]
            total = sum(group.samples for _, group in found)
            if total > MAX_SAMPLES:
                raise ReadError(f"{path}: {total:,} values, more than the {MAX_SAMPLES:,} allowed")
            return tuple(group.read(name) for name, group in found)


class _Group:
    """One view's group: what its datasets announce, checked, before they are read."""

    def __init__(self, h5py: Any, path: Path, group: Any) -> None:
        self.path, self.group = path, group
        names = names_in(path, group, MAX_CHANNELS, "channels")
        channels = {name: CHANNEL_OF.get(name.lower(), name) for name in names}
        if len(set(channels.values())) < len(names):
            raise ReadError(
                f"{path}: several of {', '.join(names)} in {group.name} are one channel"
            )
        order = {name: i for i, name in enumerate(ORDER)}
        names = sorted(names, key=lambda name: order.get(channels[name], len(ORDER)))
        self.names = tuple(channels[name] for name in names)
        self.sets = [dataset_in(h5py, path, group, name) for name in names]
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
            raise ReadError(f"{self.path}: {view_id!r} cannot name a view; {VIEW_NAMES}")
        pitch = self._number(self.group, "pixel_pitch_mm")
        depth = self._number(self.group, "bit_depth")
        quantity = attribute_of(self.path, self.group, "quantity")
        values = np.stack([values_of(self.path, one) for one in self.sets])
        fields: dict[str, Any] = {"view_id": view_id, "pixel_pitch_mm": pitch}
        if values.dtype.kind == "f":
            if quantity not in QUANTITIES:
                known = ", ".join(QUANTITIES)
                result = (
                    f"quantity of {self.group.name}, which holds floats, must be one of {known}"
                )
                raise ReadError(f"{self.path}: {result}, got {quantity!r}")
            bit_depth = None if depth is None else int(depth)
            fields["bit_depth"] = bit_depth
            return View(values.astype(np.float32), self.names, quantity, **fields)
        own = quantity_of(self.names)
        if quantity not in (None, own):
            result = f"counts of {', '.join(self.names)} are {own}: store {quantity} as floats"
            raise ReadError(f"{self.path}: {self.group.name}: {result}")
        bits = int(depth or 8 * values.dtype.itemsize)
        air = [self._number(one, "air_counts") for one in self.sets]
        dark = [self._number(one, "dark_counts") for one in self.sets]
        return referenced_view(values, self.names, bits, air, dark, **fields)

    def _number(self, item: Any, name: str) -> float | None:
        value = attribute_of(self.path, item, name)
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value < math.inf:
            result = f"attribute {name} of {item.name} must be a number, got {value!r}"
            raise ReadError(f"{self.path}: {result}")
        return float(value)


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
                raise ReadError(f"{path}: {view.view_id!r} cannot name a view; {VIEW_NAMES}")
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
            stored = view.pixels if planes is None else planes
            for name, plane in zip(view.channels, stored, strict=True):
                group.create_dataset(name, data=plane, **settings)


def _exact_counts(view: View) -> np.ndarray | None:
    """Counts that give exactly this view again, or None where there are none."""
    if view.bit_depth not in (8, 16) or view.quantity != quantity_of(view.channels):
        return None
    counts = counts_from_view(view)
    same = np.array_equal(view_from_counts(counts, view.channels).pixels, view.pixels)
    return counts if same else None
