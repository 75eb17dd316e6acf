"""Splits that do not leak: near-duplicates grouped by perceptual hash, files written with hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
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

HASH_SIDE = 16  # 256 bits: 64 cannot tell two dark bags on white apart
NEAR_DUPLICATE_BITS = 56  # of 256: joins one bag with its items moved; by eye on pairs, docs/log.md


def perceptual_hash(pixels: np.ndarray) -> np.ndarray:
    """Signs of the low DCT frequencies of the mean channel (Zauner 2010), 256 bits.

    Args:
        pixels: (C, H, W).

    Returns:
        (32,) uint8, unchanged by re-compression and moderate scaling.
    """
    grey = pixels.mean(0)
    small = _area_resize(grey, 4 * HASH_SIDE)
    low = dctn(small, norm="ortho")[: HASH_SIDE + 1, : HASH_SIDE + 1][1:, 1:].ravel()
    return np.packbits(low > np.median(low))


def _area_resize(image: np.ndarray, side: int) -> np.ndarray:
    """Mean over a ``side × side`` grid of cells, through cumulative sums."""
    for axis in (0, 1):
        sums = np.insert(image.cumsum(axis), 0, 0, axis)
        at = np.linspace(0, image.shape[axis], side + 1)
        low = np.minimum(at.astype(int), image.shape[axis] - 1)
        shape = (-1, 1) if axis == 0 else (1, -1)
        edges = sums.take(low, axis) + (at - low).reshape(shape) * (
            sums.take(low + 1, axis) - sums.take(low, axis)
        )
        image = np.diff(edges, axis=axis) / np.diff(at).reshape(shape)
    return image


def group_near_duplicates(hashes: np.ndarray, bits: int = NEAR_DUPLICATE_BITS) -> np.ndarray:
    """(n,) group index: scans joined by chains of pairs at most ``bits`` apart.

    Args:
        hashes: (n, 32) uint8.
    """
    n = len(hashes)
    rows, cols = [np.arange(n)], [np.arange(n)]
    words = np.ascontiguousarray(hashes).view(np.uint64)
    for start in range(0, n, 256):  # blocks bound the memory to 256 × n words
        apart = np.bitwise_xor(words[start : start + 256, None], words[None])
        distance = _popcount(apart)
        i, j = np.nonzero(distance <= bits)
        rows.append(i + start)
        cols.append(j)
    row, col = np.concatenate(rows), np.concatenate(cols)
    joined = coo_matrix((np.ones(len(row), bool), (row, col)), shape=(n, n))
    return np.asarray(connected_components(joined, directed=False)[1])


def _joined(group: np.ndarray, together: Sequence[str]) -> np.ndarray:
    """(n,) groups with those joined that share a name: views of one bag look unlike and belong together."""
    name = np.unique(np.array(together), return_inverse=True)[1]
    n = int(group.max()) + 1
    pairs = coo_matrix((np.ones(len(group), bool), (group, n + name)), shape=(n + len(group),) * 2)
    joined: np.ndarray = connected_components(pairs, directed=False)[1]
    return np.asarray(joined[group])


_BITS = np.array([bin(i).count("1") for i in range(256)], np.uint8)


def _popcount(words: np.ndarray) -> np.ndarray:
    """(..., 4) uint64 -> (...) set bits."""
    return np.asarray(
        _BITS[words.view(np.uint8).reshape(*words.shape[:-1], -1)].sum(-1, dtype=np.int64)
    )


@dataclass(frozen=True)
class Split:
    """Which record is in which part, with what it takes to check and repeat it.

    Attributes:
        parts: ids by part name. groups: near-duplicate group of every id.
        sha256: content hash of every file, so that a changed file is noticed.
    """

    parts: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, int]
    sha256: Mapping[str, str]
    seed: int
    fractions: Mapping[str, float]
    near_duplicate_bits: int = NEAR_DUPLICATE_BITS

    def __post_init__(self) -> None:
        everyone = [i for ids in self.parts.values() for i in ids]
        if len(set(everyone)) != len(everyone):
            raise DataError("an id is in more than one part of the split")
        for name, ids in self.parts.items():
            others = {
                self.groups[i] for other, them in self.parts.items() if other != name for i in them
            }
            if others & {self.groups[i] for i in ids}:
                raise DataError(f"near-duplicates of {name!r} are in another part")

    @property
    def data_hash(self) -> str:
        """One hash over parts and file contents."""
        content = json.dumps(
            [sorted(self.sha256.items()), {k: sorted(v) for k, v in self.parts.items()}],
            sort_keys=True,
        )
        return hashlib.sha256(content.encode()).hexdigest()

    def select(self, records: Sequence[Record], part: str) -> list[Record]:
        """The records of one part, in the order given."""
        if part not in self.parts:
            raise DataError(f"no part {part!r} in the split; it has {', '.join(self.parts)}")
        chosen = set(self.parts[part])
        return [record for record in records if record.id in chosen]


def given_split(records: Sequence[Record], fractions: Mapping[str, float], seed: int = 0) -> Split:
    """The split that a dataset brings with it: parts and groups as its records tell.

    Raises:
        DataError: repeated ids, or a group that lies in two parts.
    """
    if len({record.id for record in records}) < len(records):
        raise DataError("record ids repeat: two datasets have scans of the same name")
    number = {
        name: k for k, name in enumerate(dict.fromkeys(str(r.group or r.id) for r in records))
    }
    parts = {name: tuple(sorted(r.id for r in records if r.part == name)) for name in fractions}
    paths = sorted({r.path for r in records})  # items share their view's file
    with ThreadPoolExecutor(4) as pool:
        hashes = dict(
            zip(
                paths,
                pool.map(lambda path: hashlib.sha256(path.read_bytes()).hexdigest(), paths),
                strict=True,
            )
        )
    groups = {r.id: number[str(r.group or r.id)] for r in records}
    return Split(parts, groups, {r.id: hashes[r.path] for r in records}, seed, dict(fractions))


def make_split(
    records: Sequence[Record],
    fractions: Mapping[str, float],
    seed: int = 0,
    bits: int = NEAR_DUPLICATE_BITS,
    report: Callable[[str], None] = print,
) -> Split:
    """Split whole groups of near-duplicates and of views of one bag at random, each scanner in the same proportions.

    Args:
        fractions: share of each part; they sum to 1. report: receives a line for each scan that cannot be read and is in no part.

    Raises:
        DataError: fractions that do not sum to 1, repeated ids, or no readable scan.
    """
    if abs(sum(fractions.values()) - 1) > 1e-6:
        raise DataError(f"fractions must sum to 1, got {dict(fractions)}")
    if len({record.id for record in records}) < len(records):
        raise DataError(
            "record ids repeat: two scans of these datasets have the same file name; rename one"
        )
    with ThreadPoolExecutor(4) as pool:
        tried = list(zip(records, pool.map(fingerprint, records), strict=True))
    read = [(record, found) for record, found in tried if not isinstance(found, str)]
    for reason in (found for _, found in tried if isinstance(found, str)):
        report(f"left out: {reason}")
    if not read:
        raise DataError("none of the scans could be read")
    group = _joined(
        group_near_duplicates(np.stack([found[0] for _, found in read]), bits),
        [r.group or r.scan for r, _ in read],
    )
    parts: dict[str, list[str]] = {name: [] for name in fractions}
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    for scanner in sorted({record.scanner for record, _ in read}):
        members: dict[int, list[str]] = {}
        for (record, _), g in zip(read, group, strict=True):
            # A group belongs to the scanner of its first member, so that it stays whole.
            if read[int(np.flatnonzero(group == g)[0])][0].scanner == scanner:
                members.setdefault(int(g), []).append(record.id)
        _deal(members, fractions, rng, parts)
    return Split(
        {name: tuple(sorted(ids)) for name, ids in parts.items()},
        {record.id: int(g) for (record, _), g in zip(read, group, strict=True)},
        {record.id: found[1] for record, found in read},
        seed,
        dict(fractions),
        bits,
    )


def _deal(
    members: dict[int, list[str]],
    fractions: Mapping[str, float],
    rng: np.random.Generator,
    parts: dict[str, list[str]],
) -> None:
    """Give shuffled groups, one by one, to the part that lacks most of its share."""
    total = sum(len(ids) for ids in members.values())
    given = dict.fromkeys(fractions, 0)
    for g in rng.permutation(sorted(members)):
        name = max(fractions, key=lambda part: fractions[part] * total - given[part])
        parts[name] += members[int(g)]
        given[name] += len(members[int(g)])


def fingerprint(record: Record) -> tuple[np.ndarray, str] | str:
    """Perceptual hash and SHA-256 of a scan, or why it cannot be read."""
    try:
        scan = read_scan(record.path)
        return perceptual_hash(only_view(scan).pixels), scan.provenance["sha256"]
    except ReadError as error:
        return str(error)


def write_split(path: str | Path, split: Split) -> None:
    """Write a split as JSON, its own hash inside."""
    atomic_write_text(
        Path(path),
        json.dumps({**asdict(split), "data_hash": split.data_hash}, indent=1, sort_keys=True),
    )


def read_split(path: str | Path) -> Split:
    """Read what :func:`write_split` wrote.

    Raises:
        DataError: absent, or altered since it was written.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(
            f"{path}: no such split; leave data.split out to have one made in the run folder"
        )
    fields = json.loads(path.read_text())
    written = fields.pop("data_hash", None)
    fields["parts"] = {name: tuple(ids) for name, ids in fields["parts"].items()}
    split = Split(**fields)
    if split.data_hash != written:
        raise DataError(
            f"{path}: the split was altered: hash {split.data_hash[:12]}, written {str(written)[:12]}"
        )
    return split
