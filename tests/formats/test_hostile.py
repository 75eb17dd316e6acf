"""Hostile files: small files that expand in memory, and thousands of broken ones per reader."""

import io
import json
import os
import random
import struct
import subprocess
import sys
import time
import zlib

import h5py
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image

from bagscan.core import Decision, View
from bagscan.core.errors import ReadError
from bagscan.formats import write_dicom, write_hdf5, write_headerless, write_npz, write_tiff
from bagscan.formats.coco import read_coco
from bagscan.formats.dicos_report import (
    ThreatObject,
    ThreatReport,
    read_threat_report,
    write_threat_report,
)
from bagscan.formats.headerless import read_headerless
from bagscan.formats.scans import read_scan
from bagscan.formats.voc import read_voc
from bagscan.formats.yolo import read_yolo

# More in `make test-slow` and `make test-weekly`.
CASES = int(os.environ.get("BAGSCAN_FUZZ_CASES", "250"))
SLOWEST_S = 2.0


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(bits=8, colour=2):
    body = zlib.compress(bytes(10_000_000), 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, bits, colour, 0, 0, 0))
        + chunk(b"IDAT", body)
        + chunk(b"IEND", b"")
    )


def tiff_of(entries, next_ifd=0):
    body = (
        struct.pack("<H", len(entries))
        + b"".join(struct.pack("<HHII", *entry) for entry in entries)
        + struct.pack("<I", next_ifd)
    )
    return b"II*\x00" + struct.pack("<I", 8) + body + bytes(64)


def page(width=8, height=8, **more):
    tags = {
        256: (4, width),
        257: (4, height),
        258: (3, 16),
        259: (3, 1),
        262: (3, 1),
        273: (4, 120),
        277: (3, 1),
        278: (4, height),
        279: (4, 2 * 64),
    } | more
    return [(tag, kind, 1, value) for tag, (kind, value) in sorted(tags.items())]


def npz_bomb(name="pixels.npy", kind="<u2", shape=(3, 50_000, 50_000), filled=20_000_000):
    buffer = io.BytesIO()
    import zipfile

    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": kind, "fortran_order": False, "shape": shape}
        )
        archive.writestr(name, head.getvalue() + bytes(filled))
    return buffer.getvalue()


def jpeg_bomb():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    content = bytearray(buffer.getvalue())
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", 50_000, 50_000)
    return bytes(content)


def bmp_bomb():
    return (
        b"BM"
        + struct.pack(
            "<IHHIIiiHHIIiiII", 1078, 0, 0, 54, 40, 50_000, 50_000, 1, 24, 0, 0, 0, 0, 0, 0
        )
        + bytes(1024)
    )


def hdf5_bomb(shape=(8, 8), chunks=(8, 8), expands_to=0):
    """A few bytes that expand to hundreds of megabytes, or a shape without stored values."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        made = file.create_dataset("views/0/low", shape, "u2", chunks=chunks, compression="gzip")
        if expands_to:
            packer = zlib.compressobj(9)
            body = (
                b"".join(packer.compress(bytes(1 << 20)) for _ in range(expands_to >> 20))
                + packer.flush()
            )
            made.id.write_direct_chunk((0, 0), body)
    return buffer.getvalue()


def dicom_bomb(rows=50_000, syntax="1.2.840.10008.1.2.1", body=b""):
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1.1", "2.25.1"
    dataset.Rows = dataset.Columns = rows
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (
        15,
        1,
        "MONOCHROME2",
    )
    dataset.PixelData = pydicom.encaps.encapsulate([body]) if body else bytes(1000)
    dataset["PixelData"].VR = "OW"
    dataset["PixelData"].is_undefined_length = bool(body)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def deflated_bomb():
    """A data set that inflates to hundreds of megabytes before any of its attributes is seen."""
    meta = dicom_bomb(8, "1.2.840.10008.1.2.1.99")
    head = (
        pydicom.dcmread(io.BytesIO(dicom_bomb(8))).file_meta.FileMetaInformationGroupLength
        + 132
        + 12
    )
    packer = zlib.compressobj(9, wbits=-15)
    return meta[: head + 3] + packer.compress(bytes(300_000_000)) + packer.flush()


RLE_SEGMENT = b"\x81\x00" * 2_000_000  # 128 zeros from two bytes
RLE = struct.pack("<16I", 2, 64, 64 + len(RLE_SEGMENT), *[0] * 13) + RLE_SEGMENT * 2
BOMBS = {
    "bmp.bmp": bmp_bomb(),
    "chunk.h5": hdf5_bomb(expands_to=300_000_000),
    "shape.h5": hdf5_bomb((50_000, 50_000), (64, 64)),
    "rows.dcm": dicom_bomb(),
    "rle.dcs": dicom_bomb(8, "1.2.840.10008.1.2.5", RLE),
    "deflated.dcm": deflated_bomb(),
    "sidecar.raw": b"x",
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
import h5py, pydicom  # once a process, not once a file
from bagscan.core.errors import ReadError
from bagscan.formats.dicos_report import ThreatObject, ThreatReport
from bagscan.formats.dicos_report import read_threat_report, write_threat_report
from bagscan.formats.headerless import read_headerless
from bagscan.formats.scans import read_scan
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.process_time()
try:
    read_scan(sys.argv[1])
except ReadError:
    pass
else:
    sys.exit("was read")
spent = time.process_time() - started
print(spent, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_bombs_are_refused_in_a_second_and_little_memory(tmp_path, name):
    (tmp_path / name).write_bytes(BOMBS[name])
    (tmp_path / "sidecar.yaml").write_text(
        "width: 50000\nheight: 50000\noffset: 99999999999999999999\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", PROBE, str(tmp_path / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    seconds, megabytes = map(float, result.stdout.split())
    assert seconds <= 1
    assert megabytes <= 64


def valid_files(folder):
    """One small file of every kind, as bytes by name."""
    rng = np.random.default_rng(0)
    raw = View(
        rng.random((3, 24, 32)).astype(np.float32),
        ("low", "high", "zeff"),
        "dual_energy",
        bit_depth=16,
    )
    write_tiff(folder / "a.tif", raw)
    write_npz(folder / "a.npz", raw)
    tifffile.imwrite(
        folder / "b.tif", (rng.random((24, 32, 3)) * 255).astype(np.uint8), photometric="rgb"
    )
    Image.fromarray((rng.random((24, 32, 3)) * 255).astype(np.uint8)).save(folder / "a.png")
    Image.fromarray((rng.random((24, 32)) * 65535).astype(np.uint16)).save(folder / "b.png")
    Image.fromarray((rng.random((24, 32, 3)) * 255).astype(np.uint8)).save(folder / "a.jpg")
    Image.fromarray((rng.random((24, 32, 3)) * 255).astype(np.uint8)).save(folder / "a.bmp")
    write_hdf5(folder / "a.h5", raw)
    write_dicom(folder / "a.dcm", raw)
    compressed = pydicom.dcmread(folder / "a.dcm")
    compressed.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
    compressed.save_as(folder / "b.dcm")
    write_headerless(folder / "a.raw", raw)
    write_threat_report(
        folder / "a.dcs", ThreatReport("a", Decision.ALARM, (ThreatObject((1, 2, 3, 4), "a", 0.5),))
    )
    box = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [1, 2, 3, 4],
        "segmentation": [[1, 2, 4, 2, 4, 6]],
    }
    (folder / "a.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "x", "height": 24, "width": 32}],
                "categories": [{"id": 1, "name": "a"}],
                "annotations": [box],
            }
        )
    )
    (folder / "a.xml").write_text(
        "<annotation><object><name>a</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object></annotation>"
    )
    (folder / "a.txt").write_text("0 .5 .5 .1 .1\n1 .2 .2 .1 .1\n")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def broken(content, rng):
    """A file with bits flipped, bytes overwritten, the end removed, or pieces doubled."""
    made = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        how, at = rng.randrange(5), rng.randrange(max(1, len(made)))
        if how == 0 and made:
            made[at % len(made)] ^= 1 << rng.randrange(8)
        elif how == 1:
            made[at : at + 4] = rng.choice(
                [b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"\x00\x00\x01\x00"]
            )
        elif how == 2:
            del made[at:]
        elif how == 3:
            made[at:at] = made[at : at + rng.randint(1, 40)]
        else:
            made[at : at + 1] = bytes([rng.randrange(256)])
    return bytes(made)


def read_beside(path):
    """Read a sidecar through its scan."""
    return read_headerless(path.with_suffix(".raw"))


READERS = {
    ".json": read_coco,
    ".xml": read_voc,
    ".txt": lambda path: read_yolo(path, ["a", "b"], 24, 32),
}
READERS |= {".dcs": read_threat_report, ".yaml": read_beside}
NAMES = ["a.tif", "b.tif", "a.npz", "a.png", "b.png", "a.jpg", "a.json", "a.xml", "a.txt"]
NAMES += ["a.bmp", "a.h5", "a.dcm", "b.dcm", "a.raw", "a.yaml", "a.dcs"]


@pytest.mark.parametrize("name", NAMES)
def test_thousands_of_broken_files_are_read_or_refused(tmp_path, name):
    """Only ReadError, never slow; and the memory of this process does not grow."""
    import resource

    content = valid_files(tmp_path)[name]
    read = READERS.get((tmp_path / name).suffix, read_scan)
    read(tmp_path / name)  # the control: the intact file is read
    rng = random.Random(name)
    place = tmp_path / f"broken{(tmp_path / name).suffix}"
    for beside in ({".raw": "a.yaml", ".yaml": "a.raw"}.get(place.suffix),):
        if beside:
            (tmp_path / f"broken{(tmp_path / beside).suffix}").write_bytes(
                (tmp_path / beside).read_bytes()
            )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused, slowest = 0, 0.0
    for case in range(CASES):
        place.write_bytes(broken(content, rng))
        started = time.process_time()
        try:
            read(place)
        except ReadError:
            refused += 1
        except Exception as error:  # a user would see this as a crash
            kept = place.read_bytes()
            pytest.fail(f"case {case}: {type(error).__name__}: {error}; {len(kept)} bytes")
        slowest = max(slowest, time.process_time() - started)
    assert refused > CASES // 20  # the files were really broken
    assert slowest <= SLOWEST_S
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 <= 512
