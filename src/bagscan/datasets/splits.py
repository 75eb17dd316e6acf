"""Splits without leakage: near-duplicates, found by perceptual hash, stay in one part."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.fft import dctn
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from bagscan.core.errors import DataError, ReadError
from bagscan.core.files import atomic_write_text
from bagscan.datasets.record import Record
from bagscan.formats import read_scan
from bagscan.formats.scans import only_view

log = logging.getLogger(__name__)

HASH_SIDE = 16  # 256 bits; with 64, two dark bags on white have the same hash
NEAR_DUPLICATE_BITS = 56  # of 256; joins two scans of a bag with its items moved, see docs/log.md


def perceptual_hash(pixels: np.ndarray) -> np.ndarray:
    """Return a perceptual hash of an image: signs of its low DCT frequencies (Zauner 2010).

    Args:
        pixels: (C, H, W); the hash is of the mean channel.

    Returns:
        (32,) uint8, 256 bits. Re-compression and moderate scaling hardly change it.
    """
    grey = pixels.mean(0)
    small = _area_resize(grey, 4 * HASH_SIDE)
    low = dctn(small, norm="ortho")[: HASH_SIDE + 1, : HASH_SIDE + 1][1:, 1:].ravel()
    return np.packbits(low > np.median(low))


def _area_resize(image: np.ndarray, side: int) -> np.ndarray:
    """Return the (side, side) means over a grid of cells, computed from cumulative sums."""
    for axis in (0, 1):
        sums = np.insert(image.cumsum(axis), 0, 0, axis)
        borders = np.linspace(0, image.shape[axis], side + 1)
        low = np.minimum(borders.astype(int), image.shape[axis] - 1)
        shape = (-1, 1) if axis == 0 else (1, -1)
        edges = sums.take(low, axis) + (borders - low).reshape(shape) * (
            sums.take(low + 1, axis) - sums.take(low, axis)
        )
        image = np.diff(edges, axis=axis) / np.diff(borders).reshape(shape)
    return image


def group_near_duplicates(hashes: np.ndarray, bits: int = NEAR_DUPLICATE_BITS) -> np.ndarray:
    """Group scans whose hashes differ in few bits. Chains of such pairs form one group.

    Args:
        hashes: (n, 32) uint8.
        bits: largest number of different bits in a pair.

    Returns:
        (n,) index of each scan's group.
    """
    n = len(hashes)
    rows, cols = [np.arange(n)], [np.arange(n)]
    words = np.ascontiguousarray(hashes).view(np.uint64)
    for start in range(0, n, 256):  # in blocks, to limit memory
        differences = np.bitwise_xor(words[start : start + 256, None], words[None])
        distance = _popcount(differences)
        i, j = np.nonzero(distance <= bits)
        rows.append(i + start)
        cols.append(j)
    row, col = np.concatenate(rows), np.concatenate(cols)
    pairs = coo_matrix((np.ones(len(row), bool), (row, col)), shape=(n, n))
    return np.asarray(connected_components(pairs, directed=False)[1])


def _join_by_name(group: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Join groups that share a name, such as the views of a bag, which do not look similar.

    Args:
        group: (n,) group index of each scan.
        names: (n,) name of each scan's bag or family.

    Returns:
        (n,) group index of each scan.
    """
    name = np.unique(np.array(names), return_inverse=True)[1]
    n = int(group.max()) + 1
    pairs = coo_matrix((np.ones(len(group), bool), (group, n + name)), shape=(n + len(group),) * 2)
    component: np.ndarray = connected_components(pairs, directed=False)[1]
    return np.asarray(component[group])


_BITS = np.array([bin(i).count("1") for i in range(256)], np.uint8)


def _popcount(words: np.ndarray) -> np.ndarray:
    """Count the bits set along the last axis of (..., 4) uint64."""
    return np.asarray(
        _BITS[words.view(np.uint8).reshape(*words.shape[:-1], -1)].sum(-1, dtype=np.int64)
    )


@dataclass(frozen=True)
class Split:
    """Assignment of records to parts, with the data to verify and repeat it.

    Attributes:
        parts: ids by name of the part.
        groups: index of the group of each id; groups are never divided between parts.
        sha256: hash of the file of each id, to detect changed files.
        seed: random seed.
        fractions: share of each part.
        near_duplicate_bits: largest number of different hash bits in a pair of near-duplicates.

    Raises:
        DataError: an id or a group is in more than one part.
    """

    parts: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, int]
    sha256: Mapping[str, str]
    seed: int
    fractions: Mapping[str, float]
    near_duplicate_bits: int = NEAR_DUPLICATE_BITS

    def __post_init__(self) -> None:
        all_ids = [i for ids in self.parts.values() for i in ids]
        if len(set(all_ids)) != len(all_ids):
            raise DataError("an id is in more than one part of the split")
        groups = {name: {self.groups[i] for i in ids} for name, ids in self.parts.items()}
        for name in self.parts:
            elsewhere = set().union(*(groups[other] for other in groups if other != name))
            if elsewhere & groups[name]:
                raise DataError(f"near-duplicates of {name!r} are in another part of the split")

    @property
    def data_hash(self) -> str:
        """Hash of the parts and of the contents of all files."""
        content = json.dumps(
            [sorted(self.sha256.items()), {k: sorted(v) for k, v in self.parts.items()}],
            sort_keys=True,
        )
        return hashlib.sha256(content.encode()).hexdigest()

    def select(self, records: Sequence[Record], part: str) -> list[Record]:
        """Return the records of one part, in the given order.

        Raises:
            DataError: the split has no such part.
        """
        if part not in self.parts:
            raise DataError(
                f"the split has no part {part!r}; expected one of {', '.join(self.parts)}"
            )
        chosen = set(self.parts[part])
        return [record for record in records if record.id in chosen]


def given_split(records: Sequence[Record], fractions: Mapping[str, float], seed: int = 0) -> Split:
    """Return the dataset's own split: the parts and groups of its records.

    Raises:
        DataError: an id occurs twice, or a group is in two parts.
    """
    if len({record.id for record in records}) < len(records):
        raise DataError("two datasets have records of the same id; rename the files of one dataset")
    names = dict.fromkeys(str(record.group or record.id) for record in records)
    number = {name: k for k, name in enumerate(names)}
    parts = {name: tuple(sorted(r.id for r in records if r.part == name)) for name in fractions}
    paths = sorted({r.path for r in records})  # items share their view's file
    with ThreadPoolExecutor(4) as pool:
        hashes = dict(zip(paths, pool.map(_hash_file, paths), strict=True))
    groups = {r.id: number[str(r.group or r.id)] for r in records}
    return Split(parts, groups, {r.id: hashes[r.path] for r in records}, seed, dict(fractions))


def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_split(
    records: Sequence[Record],
    fractions: Mapping[str, float],
    seed: int = 0,
    bits: int = NEAR_DUPLICATE_BITS,
) -> Split:
    """Split records at random, with the same fractions for each scanner.

    Groups stay in one part. A group joins near-duplicates, views of one bag, and records with the
    same ``group``.

    Args:
        records: records to split.
        fractions: share of each part; they sum to 1.
        seed: random seed.
        bits: largest number of different hash bits in a pair of near-duplicates.

    Raises:
        DataError: the fractions do not sum to 1, an id occurs twice, or no scan can be read.
    """
    if abs(sum(fractions.values()) - 1) > 1e-6:
        raise DataError(f"data.fractions are {dict(fractions)}; expected values that sum to 1")
    if len({record.id for record in records}) < len(records):
        raise DataError("two scans of these datasets have the same file name; rename one of them")
    with ThreadPoolExecutor(4) as pool:
        results = list(zip(records, pool.map(fingerprint, records), strict=True))
    readable = [(record, result) for record, result in results if not isinstance(result, str)]
    for _, result in results:
        if isinstance(result, str):
            log.info(f"left out: {result}")
    if not readable:
        raise DataError("none of the scans can be read")
    group = _join_by_name(
        group_near_duplicates(np.stack([result[0] for _, result in readable]), bits),
        [record.group or record.scan for record, _ in readable],
    )
    parts: dict[str, list[str]] = {name: [] for name in fractions}
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    for scanner in sorted({record.scanner for record, _ in readable}):
        members: dict[int, list[str]] = {}
        for (record, _), g in zip(readable, group, strict=True):
            # A group counts for the scanner of its first member.
            if readable[int(np.flatnonzero(group == g)[0])][0].scanner == scanner:
                members.setdefault(int(g), []).append(record.id)
        _assign_groups(members, fractions, rng, parts)
    return Split(
        {name: tuple(sorted(ids)) for name, ids in parts.items()},
        {record.id: int(g) for (record, _), g in zip(readable, group, strict=True)},
        {record.id: result[1] for record, result in readable},
        seed,
        dict(fractions),
        bits,
    )


def _assign_groups(
    members: dict[int, list[str]],
    fractions: Mapping[str, float],
    rng: np.random.Generator,
    parts: dict[str, list[str]],
) -> None:
    """Add each group, in random order, to the part that lacks most scans of its share."""
    total = sum(len(ids) for ids in members.values())
    counts = dict.fromkeys(fractions, 0)
    for g in rng.permutation(sorted(members)):
        name = max(fractions, key=lambda part: fractions[part] * total - counts[part])
        parts[name] += members[int(g)]
        counts[name] += len(members[int(g)])


def fingerprint(record: Record) -> tuple[np.ndarray, str] | str:
    """Return the perceptual hash and the SHA-256 of a scan, or the reason if it cannot be read."""
    try:
        scan = read_scan(record.path)
        return perceptual_hash(only_view(scan).pixels), scan.provenance["sha256"]
    except ReadError as error:
        return str(error)


def write_split(path: str | Path, split: Split) -> None:
    """Write a split as JSON, with its hash."""
    fields = {**asdict(split), "data_hash": split.data_hash}
    atomic_write_text(Path(path), json.dumps(fields, indent=1, sort_keys=True))


def read_split(path: str | Path) -> Split:
    """Read a split that :func:`write_split` wrote.

    Raises:
        DataError: the file is missing, or was altered since it was written.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(
            f"{path}: split file is missing; without data.split, one is made in the run folder"
        )
    fields = json.loads(path.read_text())
    stored_hash = fields.pop("data_hash", None)
    fields["parts"] = {name: tuple(ids) for name, ids in fields["parts"].items()}
    split = Split(**fields)
    if split.data_hash != stored_hash:
        raise DataError(
            f"{path}: the split file was altered: its hash is {split.data_hash[:12]}, "
            f"expected {str(stored_hash)[:12]}"
        )
    return split
