"""Groups, datasets and attributes of an HDF5 file, checked before they are read."""

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
HEAP, HEAP_HEADER_BYTES = b"GCOL\x01", 16  # of a global heap collection, and of its entries
GZIP, SHUFFLE, FLETCHER32, LZF = 1, 2, 3, 32000
FILTERS = {GZIP: "gzip", SHUFFLE: "shuffle", FLETCHER32: "fletcher32", LZF: "lzf"}


def check_heaps(path: Path) -> None:
    """Require that the lists of texts (global heap collections) end: the library would follow an
    entry of no size for ever.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(HEAP)
        while at >= 0:
            head = content[at + 8 : at + HEAP_HEADER_BYTES]
            end = at + int.from_bytes(head, "little")
            entry = at + HEAP_HEADER_BYTES
            while entry + HEAP_HEADER_BYTES <= end <= len(content):
                index, _, _, size = struct.unpack("<HHIQ", content[entry : entry + 16])
                step = HEAP_HEADER_BYTES + -(-size // 8) * 8 if index else size
                if step < HEAP_HEADER_BYTES:
                    break
                entry += step
            if not entry <= end <= len(content) or end - entry >= HEAP_HEADER_BYTES:
                raise ReadError(f"{path}: damaged: the texts at byte {at:,} do not end")
            at = content.find(HEAP, at + 1)


def names_in(path: Path, group: Any, most: int, what: str) -> list[str]:
    names = list(itertools.islice(group, most + 1))
    if not 1 <= len(names) <= most:
        found = "more" if names else "none"
        raise ReadError(f"{path}: {group.name} must hold 1 to {most} {what}, and holds {found}")
    return names


def _child(h5py: Any, path: Path, group: Any, name: str) -> Any:
    """A member of a group that lies in this file.

    Raises:
        ReadError: there is none, or it is a link to elsewhere.
    """
    link = group.get(name, getlink=True)
    if link is None:
        there = ", ".join(itertools.islice(group, 8)) or "nothing"
        raise ReadError(f"{path}: no {name} in {group.name} (found {there}); expected {LAYOUT}")
    if not isinstance(link, h5py.HardLink):
        kind = type(link).__name__
        raise ReadError(f"{path}: {group.name}/{name} is a {kind}, which is not followed")
    return group[name]


def group_in(h5py: Any, path: Path, parent: Any, name: str) -> Any:
    found = _child(h5py, path, parent, name)
    if not isinstance(found, h5py.Group):
        raise ReadError(f"{path}: {found.name} must be a group; expected {LAYOUT}")
    return found


def dataset_in(h5py: Any, path: Path, group: Any, name: str) -> Any:
    """A channel's dataset, its announced size, type and storage checked; nothing is read yet."""
    found = _child(h5py, path, group, name)
    if not isinstance(found, h5py.Dataset) or found.shape is None or len(found.shape) != 2:
        raise ReadError(f"{path}: {group.name}/{name} must be a dataset of (height, width)")
    kind = found.dtype
    if kind.newbyteorder("=").name not in TYPES:
        raise ReadError(f"{path}: {found.name} is of type {kind}; expected {', '.join(TYPES)}")
    check_pixels(path, *found.shape)
    plist = found.id.get_create_plist()
    if plist.get_external_count() or found.is_virtual:
        raise ReadError(f"{path}: the values of {found.name} lie in another file")
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    if unknown := [number for number in filters if number not in FILTERS]:
        known = ", ".join(FILTERS.values())
        raise ReadError(f"{path}: {found.name} has filter {unknown[0]}; known: {known}")
    if sum(number in (GZIP, LZF) for number in filters) > 1:
        raise ReadError(f"{path}: {found.name} is compressed twice")
    return found


def attribute_of(path: Path, item: Any, name: str) -> Any:
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


def values_of(path: Path, dataset: Any) -> np.ndarray:
    """All values of a dataset, once it is known that they are there and how large they get."""
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
        message = f"{dataset.shape} in {count:,} chunks of {dataset.chunks}"
        raise ReadError(f"{path}: {dataset.name} has {message}, more than allowed")
    stored: list[tuple[tuple[int, ...], int, int]] = []

    def keep(info: Any) -> bool | None:
        stored.append((info.chunk_offset, info.filter_mask, info.size))
        return True if len(stored) > count else None

    dataset.id.chunk_iter(keep)
    if len(stored) != count:
        message = f"{len(stored)} of {count} chunks: a part of its pixels has no values"
        raise ReadError(f"{path}: {dataset.name} has {message}")
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    packed = next((i for i, number in enumerate(filters) if number in (GZIP, LZF)), None)
    for offset, mask, stored_size in stored:
        if stored_size > 2 * size + 1024:
            message = f"is stored in {stored_size:,} bytes, and has {size:,}"
            raise ReadError(f"{path}: a chunk of {dataset.name} {message}")
        if packed is not None and not mask & (1 << packed):
            _, content = dataset.id.read_direct_chunk(offset)
            if not _expands_to(filters[packed], content, size):
                message = f"is torn, or expands to more than its {size:,} bytes"
                raise ReadError(f"{path}: a chunk of {dataset.name} {message}")


def _expands_to(number: int, content: bytes, size: int) -> bool:
    """Whether a compressed chunk is whole and has at most ``size`` bytes and a checksum."""
    if number == GZIP:
        expander = zlib.decompressobj()
        return len(expander.decompress(content, size + 5)) <= size + 4 and expander.eof
    return len(imagecodecs.lzf_decode(content, out=size + 4)) <= size + 4
