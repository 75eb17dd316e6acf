"""Checked access to groups, datasets and attributes of an HDF5 file."""

from __future__ import annotations

import itertools
import math
import mmap
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from bagscan.core.errors import ReadError
from bagscan.formats.limits import check_pixels

VIEWS_GROUP = "views"
MAX_CHUNKS = 1 << 16
MAX_ATTRIBUTE_BYTES = 4096
LAYOUT = f"/{VIEWS_GROUP}/VIEW/CHANNEL"
TYPES = ("uint8", "uint16", "float32", "float64")
HEAP, HEAP_HEADER_BYTES = b"GCOL\x01", 16  # signature and header size of a global heap
GZIP, SHUFFLE, FLETCHER32, LZF = 1, 2, 3, 32000
FILTERS = {GZIP: "gzip", SHUFFLE: "shuffle", FLETCHER32: "fletcher32", LZF: "lzf"}


def check_heaps(path: Path) -> None:
    """Require that all global heap collections (lists of strings) end.

    The HDF5 library loops forever at an entry of size 0.

    Raises:
        ReadError: a collection does not end.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(HEAP)
        while start >= 0:
            head = content[start + 8 : start + HEAP_HEADER_BYTES]
            end = start + int.from_bytes(head, "little")
            entry = start + HEAP_HEADER_BYTES
            while entry + HEAP_HEADER_BYTES <= end <= len(content):
                index, _, _, size = struct.unpack("<HHIQ", content[entry : entry + 16])
                step = HEAP_HEADER_BYTES + -(-size // 8) * 8 if index else size
                if step < HEAP_HEADER_BYTES:
                    break
                entry += step
            if not entry <= end <= len(content) or end - entry >= HEAP_HEADER_BYTES:
                raise ReadError(f"{path}: damaged file: the strings at byte {start:,} do not end")
            start = content.find(HEAP, start + 1)


def names_in(path: Path, group: Any, most: int, what: str) -> list[str]:
    """Return the names in a group.

    Raises:
        ReadError: the group is empty or has more than ``most`` members.
    """
    names = list(itertools.islice(group, most + 1))
    if not 1 <= len(names) <= most:
        found = "more" if names else "0"
        raise ReadError(f"{path}: {group.name} has {found} {what}; expected 1 to {most}")
    return names


def _child(h5py: Any, path: Path, group: Any, name: str) -> Any:
    """Return a member of a group.

    Raises:
        ReadError: the member is missing or a link to another place or file.
    """
    link = group.get(name, getlink=True)
    if link is None:
        found = ", ".join(itertools.islice(group, 8)) or "nothing"
        raise ReadError(
            f"{path}: {name} is missing in {group.name} (found {found}); expected {LAYOUT}"
        )
    if not isinstance(link, h5py.HardLink):
        kind = type(link).__name__
        raise ReadError(f"{path}: {group.name}/{name} is a {kind}, which is not followed")
    return group[name]


def group_in(h5py: Any, path: Path, parent: Any, name: str) -> Any:
    """Return a subgroup.

    Raises:
        ReadError: it is missing, a link or not a group.
    """
    group = _child(h5py, path, parent, name)
    if not isinstance(group, h5py.Group):
        raise ReadError(f"{path}: {group.name} must be a group; expected {LAYOUT}")
    return group


def dataset_in(h5py: Any, path: Path, group: Any, name: str) -> Any:
    """Return the dataset of a channel without reading its values.

    Raises:
        ReadError: its size, type or storage is not supported.
    """
    dataset = _child(h5py, path, group, name)
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None or len(dataset.shape) != 2:
        raise ReadError(f"{path}: {group.name}/{name} must be a dataset of (height, width)")
    dtype = dataset.dtype
    if dtype.newbyteorder("=").name not in TYPES:
        raise ReadError(f"{path}: {dataset.name} has type {dtype}; expected {', '.join(TYPES)}")
    check_pixels(path, *dataset.shape)
    plist = dataset.id.get_create_plist()
    if plist.get_external_count() or dataset.is_virtual:
        raise ReadError(f"{path}: the values of {dataset.name} are in another file")
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    if unknown := [number for number in filters if number not in FILTERS]:
        known = ", ".join(FILTERS.values())
        raise ReadError(f"{path}: {dataset.name} has filter {unknown[0]}; known: {known}")
    if sum(number in (GZIP, LZF) for number in filters) > 1:
        raise ReadError(f"{path}: {dataset.name} is compressed twice")
    return dataset


def attribute_of(path: Path, item: Any, name: str) -> Any:
    """Return a scalar attribute as int, float, bool or str, or None if it is missing.

    Raises:
        ReadError: the attribute is an array or too large.
    """
    if name not in item.attrs:
        return None
    attribute = item.attrs.get_id(name)
    if math.prod(attribute.shape) != 1 or attribute.get_storage_size() > MAX_ATTRIBUTE_BYTES:
        raise ReadError(f"{path}: attribute {name} of {item.name} must be a single value")
    value = item.attrs[name]
    if isinstance(value, np.ndarray | np.generic):
        value = value.item()
    return value.decode() if isinstance(value, bytes) else value


def values_of(path: Path, dataset: Any) -> np.ndarray:
    """Read all values of a dataset in native byte order, after checking its stored size.

    Raises:
        ReadError: values are missing, or a chunk is damaged or too large.
    """
    nbytes = math.prod(dataset.shape) * dataset.dtype.itemsize
    if dataset.chunks is None:
        if dataset.id.get_storage_size() != nbytes:
            raise ReadError(f"{path}: {dataset.name} lacks values for some of its pixels")
    else:
        _check_chunks(path, dataset, nbytes)
    values = np.asarray(dataset[()])
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _check_chunks(path: Path, dataset: Any, nbytes: int) -> None:
    """Require that every chunk is present and expands to at most the size of a chunk."""
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    count = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
    if size > 4 * nbytes + (1 << 20) or count > MAX_CHUNKS:
        message = f"{count:,} chunks of {dataset.chunks} for {dataset.shape} values"
        raise ReadError(f"{path}: {dataset.name} has {message}, more than allowed")
    stored: list[tuple[tuple[int, ...], int, int]] = []

    def collect(info: Any) -> bool | None:
        stored.append((info.chunk_offset, info.filter_mask, info.size))
        return True if len(stored) > count else None

    dataset.id.chunk_iter(collect)
    if len(stored) != count:
        message = f"{len(stored)} of {count} chunks; some pixels have no values"
        raise ReadError(f"{path}: {dataset.name} has {message}")
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    codec = next((i for i, number in enumerate(filters) if number in (GZIP, LZF)), None)
    for offset, mask, stored_size in stored:
        if stored_size > 2 * size + 1024:
            message = f"has {stored_size:,} stored bytes for {size:,} bytes of values"
            raise ReadError(f"{path}: a chunk of {dataset.name} {message}")
        if codec is not None and not mask & (1 << codec):
            _, content = dataset.id.read_direct_chunk(offset)
            if not _fits_when_expanded(filters[codec], content, size):
                message = f"is truncated, or expands to more than {size:,} bytes"
                raise ReadError(f"{path}: a chunk of {dataset.name} {message}")


def _fits_when_expanded(number: int, content: bytes, size: int) -> bool:
    """Return True if a chunk is complete and expands to ``size`` bytes plus checksum at most."""
    if number == GZIP:
        expander = zlib.decompressobj()
        return len(expander.decompress(content, size + 5)) <= size + 4 and expander.eof
    return len(imagecodecs.lzf_decode(content, out=size + 4)) <= size + 4
