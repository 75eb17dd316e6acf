"""Valid files with odd values: annotations and metadata of the wrong type, size or depth."""

import copy
import json
import os
import random
import resource
import time
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import tifffile

from bagscan.core.errors import ReadError
from bagscan.formats.coco import read_coco
from bagscan.formats.scans import read_scan
from bagscan.formats.voc import read_voc
from bagscan.formats.yolo import read_classes, read_yolo

# More in `make test-slow` and `make test-weekly`.
CASES = int(os.environ.get("BAGSCAN_FUZZ_CASES", "250"))
SLOWEST_S = 2.0
MAX_MB = 512
HEIGHT, WIDTH = 24, 32
NUMBERS = [
    0,
    -1,
    1,
    2.5,
    -0.0,
    1e-300,
    1e308,
    float("nan"),
    float("inf"),
    -float("inf"),
    2**31,
    2**63,
    -(2**64),
    10**400,
    True,
]
TEXTS = [
    "",
    " ",
    "nan",
    "1e999",
    "0x10",
    "None",
    "\u0000",
    "\ud800",
    "\u202e",
    "ä" * 3,
    "../x",
    "a\nb",
    "9" * 5000,
    "[" * 3000,
    "{}",
]
OTHERS = [
    None,
    [],
    {},
    [[]],
    [[[1]]],
    {"size": [24, 32]},
    {"counts": [1, -2]},
    [1, 2, 3],
    [None] * 4,
    [["a"] * 6],
    [[1e300] * 6],
    [[float("nan")] * 8],
]


def odd(rng):
    return copy.deepcopy(rng.choice(rng.choice([NUMBERS, TEXTS, OTHERS])))


def changed(tree, rng):
    """A copy with one to three values changed, removed, doubled or moved."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.randint(1, 3)):
        places = []

        def walk(node, places=places):
            for key in (
                list(node)
                if isinstance(node, dict)
                else range(len(node))
                if isinstance(node, list)
                else ()
            ):
                places.append((node, key))
                walk(node[key], places)

        walk(tree)
        if not places:
            return odd(rng)
        node, key = rng.choice(places)
        how = rng.randrange(5)
        if how == 0:
            del node[key]
        elif how == 1 and isinstance(node, list):
            node.insert(key, copy.deepcopy(node[key]))
        elif how == 2:
            node[key] = [node[key]]
        else:
            node[key] = odd(rng)
    return tree


def coco_tree(rng):
    mask = rng.choice(
        [
            [[1, 2, 9, 2, 9, 8]],
            {"size": [HEIGHT, WIDTH], "counts": [100, 10, 658]},
            {"size": [HEIGHT, WIDTH], "counts": "T3:ld0"},
        ]
    )
    box = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [1, 2, 8, 6],
        "segmentation": mask,
        "score": 0.5,
        "parent_id": 7,
    }
    image = {"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}
    return {
        "images": [image, {**image, "id": 2, "file_name": "b.png"}],
        "annotations": [box],
        "categories": [{"id": 1, "name": "gun"}],
    }


def as_json(tree):
    return json.dumps(tree).encode("utf-8", "surrogatepass")


def coco(path, rng):
    path.write_bytes(as_json(changed(coco_tree(rng), rng)))
    bad = {}
    read_coco(path, bad)
    if bad:
        raise ReadError("counted")
    read_coco(path)


def voc(path, rng):
    names = rng.choices(
        ["object", "name", "bndbox", "xmin", "ymin", "xmax", "ymax", "part", "size", "width"], k=3
    )
    root = ElementTree.fromstring(
        "<annotation><size><width>32</width><height>24</height></size><object><name>gun</name>"
        "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object></annotation>"
    )
    for name in names:
        elements = list(root.iter())
        element = rng.choice(elements)
        how = rng.randrange(4)
        if how == 0:
            element.tag = name
        elif how == 1:
            element.append(copy.deepcopy(rng.choice(elements)))
        elif how == 2 and len(element):
            element.remove(rng.choice(list(element)))
        else:
            element.text = str(odd(rng)).encode("utf-8", "replace").decode().replace("\u0000", "")
    path.write_bytes(ElementTree.tostring(root))
    read_voc(path, (HEIGHT, WIDTH))


def yolo(path, rng):
    fields = (
        ["0", ".5", ".5", ".2", ".2"]
        if rng.random() < 0.5
        else ["0", ".1", ".1", ".4", ".1", ".4", ".6"]
    )
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(fields))
        fields[at] = str(odd(rng)).encode("utf-8", "replace").decode()
    path.write_text(rng.choice([" ", "\t", "  "]).join(fields) + "\n", encoding="utf-8")
    read_yolo(path, ["gun", "knife"], HEIGHT, WIDTH)


def classes(path, rng):
    lines = [str(odd(rng)).encode("utf-8", "replace").decode() for _ in range(rng.randint(0, 4))]
    path.write_text(
        rng.choice(["\n", "\r\n", "\n\n"]).join([*lines, "gun"]),
        encoding=rng.choice(["utf-8", "utf-8-sig", "utf-16"]),
    )
    read_classes(path)


def npz(path, rng):
    meta = {
        "channels": ["low", "high", "zeff"],
        "quantity": "dual_energy",
        "pixel_pitch_mm": 1.0,
        "view_id": "0",
        "bit_depth": 16,
    }
    arrays = {
        "pixels": np.ones((3, HEIGHT, WIDTH), rng.choice([np.float32, np.uint16])),
        "meta": np.array(as_json(changed(meta, rng))),
    }
    with path.open("wb") as file:
        np.savez(file, **arrays)
    read_scan(path)


def tiff(path, rng):
    about = {
        "channels": ["low", "high", "zeff"],
        "quantity": "dual_energy",
        "air_counts": 60000,
        "pixel_pitch_mm": 1.0,
        "planes": 3,
    }
    pixels = np.full((3, HEIGHT, WIDTH), 100, rng.choice([np.uint16, np.uint8, np.float32]))
    text = json.dumps(changed(about, rng)).encode("ascii", "replace")
    with tifffile.TiffWriter(path) as file:
        for page in pixels:
            file.write(page, photometric="minisblack", description=text, metadata=None)
    read_scan(path)


# Writing takes most of the time of NPZ and TIFF files.
KINDS = [
    (".json", coco, CASES),
    (".xml", voc, CASES),
    (".txt", yolo, CASES),
    (".classes", classes, CASES),
    (".npz", npz, CASES * 2 // 5),
    (".tif", tiff, CASES // 8),
]


@pytest.mark.parametrize(("ending", "case", "cases"), KINDS)
def test_thousands_of_odd_values_are_read_or_refused(tmp_path, ending, case, cases):
    """Only ReadError, never slow; and the memory of this process does not grow."""
    rng = random.Random(ending)
    path = tmp_path / f"odd{ending}"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = slowest = 0
    for number in range(cases):
        started = time.process_time()
        try:
            case(path, rng)
        except ReadError:
            refused += 1
        except Exception as error:  # a user would see this as a crash
            pytest.fail(
                f"case {number}: {type(error).__name__}: {error}: {path.read_bytes()[:400]!r}"
            )
        slowest = max(slowest, time.process_time() - started)
    assert cases // 20 < refused < cases, "odd indeed, and some are read all the same"
    assert slowest <= SLOWEST_S
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 <= MAX_MB
