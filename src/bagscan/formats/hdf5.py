"""HDF5 files with the layout ``/views/<view>/<channel>``, for all views of a bag.

Only hard links are followed, and only datasets stored in the file itself are read. Shapes, chunks
and the expanded size of compressed chunks are checked before memory is allocated.
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
from bagscan.core.extras import import_optional
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

    Each ``/views/<view>/<channel>`` is a (H, W) dataset of uint8 or uint16 counts, or of floats.
    Attributes of a view's group are ``quantity`` (required for floats), ``pixel_pitch_mm`` and
    ``bit_depth`` (for counts with fewer bits than their type). Optional attributes of a dataset of
    counts are ``air_counts`` and ``dark_counts``.

    Returns:
        The views in the order of their names, each with channels low, high and zeff first.

    Raises:
        ReadError: as :func:`bagscan.formats.read_scan`; also for links, external or virtual data,
            and filters other than gzip, lzf, shuffle and fletcher32.
    """
    path = Path(path)
    check_size(path)
    with naming(path, "HDF5 file"):
        h5py = import_optional("h5py")
        check_heaps(path)
        with h5py.File(path, "r", locking=False) as file:
            views = group_in(h5py, path, file, VIEWS_GROUP)
            names = names_in(path, views, MAX_VIEWS, "views")
            groups = [group_in(h5py, path, views, name) for name in names]
            checked = [(n, _ViewGroup(h5py, path, g)) for n, g in zip(names, groups, strict=True)]
            total = sum(group.samples for _, group in checked)
            if total > MAX_SAMPLES:
                raise ReadError(f"{path}: {total:,} values; at most {MAX_SAMPLES:,} are allowed")
            return tuple(group.read(name) for name, group in checked)


class _ViewGroup:
    """HDF5 group of a view, whose names, shapes and types are checked before reading."""

    def __init__(self, h5py: Any, path: Path, group: Any) -> None:
        self.path, self.group = path, group
        names = names_in(path, group, MAX_CHANNELS, "channels")
        channels = {name: CHANNEL_OF.get(name.lower(), name) for name in names}
        if len(set(channels.values())) < len(names):
            raise ReadError(
                f"{path}: several of {', '.join(names)} in {group.name} name the same channel"
            )
        order = {name: i for i, name in enumerate(ORDER)}
        names = sorted(names, key=lambda name: order.get(channels[name], len(ORDER)))
        self.names = tuple(channels[name] for name in names)
        self.sets = [dataset_in(h5py, path, group, name) for name in names]
        shapes = {dataset.shape for dataset in self.sets}
        types = {dataset.dtype.str for dataset in self.sets}
        if len(shapes) > 1 or len(types) > 1:
            kinds = ", ".join(f"{item.name} {item.shape} {item.dtype}" for item in self.sets)
            raise ReadError(f"{path}: channels of a view differ in shape or type: {kinds}")
        height, width = self.sets[0].shape
        check_pixels(path, height, width, len(self.sets))
        self.samples = height * width * len(self.sets)

    def read(self, view_id: str) -> View:
        """Read the pixels and return the view."""
        if not VIEW_NAME.fullmatch(view_id):
            raise ReadError(f"{self.path}: {view_id!r} is not a valid view name; {VIEW_NAMES}")
        pitch = self._number(self.group, "pixel_pitch_mm")
        depth = self._number(self.group, "bit_depth")
        quantity = attribute_of(self.path, self.group, "quantity")
        values = np.stack([values_of(self.path, dataset) for dataset in self.sets])
        fields: dict[str, Any] = {"view_id": view_id, "pixel_pitch_mm": pitch}
        if values.dtype.kind == "f":
            if quantity not in QUANTITIES:
                known = ", ".join(QUANTITIES)
                problem = f"quantity of {self.group.name} (floats) must be one of {known}"
                raise ReadError(f"{self.path}: {problem}, got {quantity!r}")
            bit_depth = None if depth is None else int(depth)
            fields["bit_depth"] = bit_depth
            return View(values.astype(np.float32), self.names, quantity, **fields)
        implied = quantity_of(self.names)
        if quantity not in (None, implied):
            names = ", ".join(self.names)
            problem = f"counts of {names} are {implied}; store {quantity} as floats"
            raise ReadError(f"{self.path}: {self.group.name}: {problem}")
        bits = int(depth or 8 * values.dtype.itemsize)
        air = [self._number(dataset, "air_counts") for dataset in self.sets]
        dark = [self._number(dataset, "dark_counts") for dataset in self.sets]
        return referenced_view(values, self.names, bits, air, dark, **fields)

    def _number(self, item: Any, name: str) -> float | None:
        value = attribute_of(self.path, item, name)
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value < math.inf:
            problem = f"attribute {name} of {item.name} must be a number >= 0, got {value!r}"
            raise ReadError(f"{self.path}: {problem}")
        return float(value)


def write_hdf5(path: str | Path, views: View | Sequence[View]) -> None:
    """Write one view, or all views of a bag, with gzip compression.

    The name of a view's group is its ``view_id``. Pixels that are exact counts of 8 or 16 bits are
    written as counts. Other pixels are written as float32 with their quantity. Both are lossless.

    Raises:
        ReadError: a ``view_id`` is not a valid group name.
    """
    h5py = import_optional("h5py")
    all_views = (views,) if isinstance(views, View) else tuple(views)
    with h5py.File(path, "w") as file:
        for view in all_views:
            if not VIEW_NAME.fullmatch(view.view_id):
                raise ReadError(f"{path}: {view.view_id!r} is not a valid view name; {VIEW_NAMES}")
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
    """Return (C, H, W) counts that restore the view exactly, or None if there are none."""
    if view.bit_depth not in (8, 16) or view.quantity != quantity_of(view.channels):
        return None
    counts = counts_from_view(view)
    is_exact = np.array_equal(view_from_counts(counts, view.channels).pixels, view.pixels)
    return counts if is_exact else None
