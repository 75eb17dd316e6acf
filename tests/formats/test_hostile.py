"""Files made to do harm: bombs that are small on disk and large in memory, and thousands of broken ones for every reader."""

import io
import json
import random
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from bagscan.core import View
from bagscan.core.errors import ReadError
from bagscan.formats import write_npz, write_tiff
from bagscan.formats.coco import read_coco
from bagscan.formats.scans import read_scan
from bagscan.formats.voc import read_voc
from bagscan.formats.yolo import read_yolo

CASES = 5000
SLOWEST_S = 2.0


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(bits=8, colour=2):
    body = zlib.compress(bytes(10_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, bits, colour, 0, 0, 0)) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def tiff_of(entries, next_ifd=0):
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", next_ifd)
    return b"II*\x00" + struct.pack("<I", 8) + body + bytes(64)


def page(width=8, height=8, **more):
    tags = {256: (4, width), 257: (4, height), 258: (3, 16), 259: (3, 1), 262: (3, 1), 273: (4, 120), 277: (3, 1), 278: (4, height), 279: (4, 2 * 64)} | more
    return [(tag, kind, 1, value) for tag, (kind, value) in sorted(tags.items())]


def npz_bomb(name="pixels.npy", kind="<u2", shape=(3, 50_000, 50_000), filled=20_000_000):
    buffer = io.BytesIO()
    import zipfile

    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": kind, "fortran_order": False, "shape": shape})
        archive.writestr(name, head.getvalue() + bytes(filled))
    return buffer.getvalue()


def jpeg_bomb():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    content = bytearray(buffer.getvalue())
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", 50_000, 50_000)
    return bytes(content)


BOMBS = {
    "png.png": png_bomb(),
    "png16.png": png_bomb(16, 0),
    "jpeg.jpg": jpeg_bomb(),
    "loop.tif": tiff_of(page(), next_ifd=8),
    "wide.tif": tiff_of(page(50_000, 50_000)),
    "npz.npz": npz_bomb(),
    "row.npz": npz_bomb("low.npy", "<u2", (150_000_000,), 300_000_000),
    "wide_values.npz": npz_bomb("low.npy", "|V200000000", (1, 1), 200_000_000),
    "text.npz": npz_bomb("meta.npy", "<U50000000", (), 200_000_000),
}
PROBE = """
import resource, sys, time
from bagscan.core.errors import ReadError
from bagscan.formats.scans import read_scan
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.process_time()
try:
    read_scan(sys.argv[1])
except ReadError:
    pass
else:
    sys.exit("was read")
print(time.process_time() - started, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_bombs_are_refused_in_a_second_and_little_memory(tmp_path, name):
    (tmp_path / name).write_bytes(BOMBS[name])
    told = subprocess.run([sys.executable, "-c", PROBE, str(tmp_path / name)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    seconds, megabytes = map(float, told.stdout.split())
    assert seconds <= 1
    assert megabytes <= 64


def valid_files(folder):
    """One small file of every kind, as bytes by name."""
    rng = np.random.default_rng(0)
    raw = View(rng.random((3, 24, 32)).astype(np.float32), ("low", "high", "zeff"), "dual_energy", bit_depth=16)
    write_tiff(folder / "a.tif", raw)
    write_npz(folder / "a.npz", raw)
    tifffile.imwrite(folder / "b.tif", (rng.random((24, 32, 3)) * 255).astype(np.uint8), photometric="rgb")
    Image.fromarray((rng.random((24, 32, 3)) * 255).astype(np.uint8)).save(folder / "a.png")
    Image.fromarray((rng.random((24, 32)) * 65535).astype(np.uint16)).save(folder / "b.png")
    Image.fromarray((rng.random((24, 32, 3)) * 255).astype(np.uint8)).save(folder / "a.jpg")
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 4, 2, 4, 6]]}
    (folder / "a.json").write_text(json.dumps({"images": [{"id": 1, "file_name": "x", "height": 24, "width": 32}], "categories": [{"id": 1, "name": "a"}], "annotations": [box]}))
    (folder / "a.xml").write_text("<annotation><object><name>a</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object></annotation>")
    (folder / "a.txt").write_text("0 .5 .5 .1 .1\n1 .2 .2 .1 .1\n")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def broken(content, rng):
    """A file with bits flipped, bytes overwritten, cut off, or pieces doubled."""
    made = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        how, at = rng.randrange(5), rng.randrange(max(1, len(made)))
        if how == 0 and made:
            made[at % len(made)] ^= 1 << rng.randrange(8)
        elif how == 1:
            made[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"\x00\x00\x01\x00"])
        elif how == 2:
            del made[at:]
        elif how == 3:
            made[at:at] = made[at : at + rng.randint(1, 40)]
        else:
            made[at : at + 1] = bytes([rng.randrange(256)])
    return bytes(made)


READERS = {".json": read_coco, ".xml": read_voc, ".txt": lambda path: read_yolo(path, ["a", "b"], 24, 32)}


@pytest.mark.parametrize("name", ["a.tif", "b.tif", "a.npz", "a.png", "b.png", "a.jpg", "a.json", "a.xml", "a.txt"])
def test_thousands_of_broken_files_are_read_or_refused(tmp_path, name):
    """Never another error, never slow; and the memory of this process does not grow."""
    import resource

    content = valid_files(tmp_path)[name]
    read = READERS.get((tmp_path / name).suffix, read_scan)
    read(tmp_path / name)  # the control: the whole file is read
    rng = random.Random(name)
    place = tmp_path / f"broken{(tmp_path / name).suffix}"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused, slowest = 0, 0.0
    for case in range(CASES):
        place.write_bytes(broken(content, rng))
        started = time.process_time()
        try:
            read(place)
        except ReadError:
            refused += 1
        except Exception as error:  # what a user would see as a crash
            kept = place.read_bytes()
            pytest.fail(f"case {case}: {type(error).__name__}: {error}; {len(kept)} bytes")
        slowest = max(slowest, time.process_time() - started)
    assert refused > CASES // 20  # the files were broken indeed
    assert slowest <= SLOWEST_S
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 <= 512
