"""The same picture in all variants of TIFF: read as the same numbers, or refused by name."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from bagscan.core.errors import ReadError
from bagscan.formats import read_scan

LOW = np.linspace(4000, 60000, 40 * 52).reshape(40, 52).astype(np.uint16)
STACK = np.stack([LOW, (LOW * 0.9 + 5000).astype(np.uint16), np.full_like(LOW, 9000)])
NAMES = ("low", "high", "zeff")
RGB = np.random.default_rng(0).integers(0, 255, (40, 52, 3), np.uint8)
EXPECTED = STACK / np.array([65535, 65535, 1000])[:, None, None]


def pages(path, planes=STACK, names=NAMES, **settings):
    extra = settings.pop("extra", [])
    with tifffile.TiffWriter(path) as file:
        for name, plane in zip(names, planes, strict=True):
            tags = [(285, 2, len(name) + 1, name, True), *extra]
            file.write(
                plane, **{"photometric": "minisblack", "metadata": None, **settings}, extratags=tags
            )


def ome(path, order):
    planes = STACK[[NAMES.index(name) for name in order]]
    tifffile.imwrite(
        path,
        planes,
        photometric="minisblack",
        metadata={"axes": "CYX", "Channel": {"Name": list(order)}},
    )


WAYS = {
    "pages": pages,
    "white is zero": lambda p: pages(p, 65535 - STACK, photometric="miniswhite"),
    "names in capitals": lambda p: pages(p, names=("LOW", "High ", " ZEFF")),
    "planar": lambda p: tifffile.imwrite(
        p, STACK, photometric="minisblack", planarconfig="separate", metadata=None
    ),
    "interleaved": lambda p: tifffile.imwrite(
        p, STACK.transpose(1, 2, 0), photometric="minisblack", planarconfig="contig", metadata=None
    ),
    "imwrite, which calls three planes RGB": lambda p: tifffile.imwrite(p, STACK),
    "imwrite": lambda p: tifffile.imwrite(p, STACK, photometric="minisblack"),
    "truncated": lambda p: tifffile.imwrite(p, STACK, photometric="minisblack", truncate=True),
    "ImageJ": lambda p: tifffile.imwrite(p, STACK, imagej=True, metadata={"axes": "CYX"}),
    "ImageJ truncated": lambda p: tifffile.imwrite(
        p, STACK, imagej=True, metadata={"axes": "CYX"}, truncate=True
    ),
    "OME": lambda p: ome(p, NAMES),
    "OME in another order": lambda p: ome(p, ("zeff", "high", "low")),
    "turned by half": lambda p: pages(p, STACK[:, ::-1, ::-1], extra=[(274, 3, 1, 3, True)]),
    "turned by a quarter": lambda p: pages(
        p, np.rot90(STACK, 1, (1, 2)), extra=[(274, 3, 1, 6, True)]
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_telling_gives_the_same_channels(tmp_path, way):
    path = tmp_path / ("a.ome.tif" if "OME" in way else "a.tif")
    WAYS[way](path)
    view = read_scan(path).views[0]
    assert sorted(view.channels) == sorted(NAMES)
    for name, expected in zip(NAMES, EXPECTED, strict=True):
        np.testing.assert_allclose(view.pixels[view.channels.index(name)], expected, atol=1e-5)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_full_scale_is_that_of_the_bits(tmp_path, bits):
    most = (1 << bits) - 1
    Image.fromarray(np.where(LOW > 30000, most, 0).astype(np.uint8)).point(lambda v: v).save(
        tmp_path / "a.tif"
    )
    counts = np.where(LOW > 30000, most, most // 3).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif",
        counts,
        photometric="minisblack",
        bitspersample=bits if bits < 8 else None,
        metadata=None,
    )
    pixels = read_scan(tmp_path / "a.tif").views[0].pixels
    np.testing.assert_allclose(pixels[0], counts / most, atol=1e-6)


def test_twelve_bits_in_sixteen_are_twelve_where_the_file_says_so(tmp_path):
    pages(tmp_path / "a.tif", (STACK >> 4)[:2], NAMES[:2], extra=[(281, 3, 1, 4095, True)])
    view = read_scan(tmp_path / "a.tif").views[0]
    assert view.bit_depth == 12
    np.testing.assert_allclose(view.pixels, (STACK >> 4)[:2] / 4095, atol=1e-6)


def test_palettes_are_colours_and_alpha_lets_air_through(tmp_path):
    Image.fromarray(RGB).quantize(64).save(tmp_path / "palette.tif")
    palette = np.asarray(Image.fromarray(RGB).quantize(64).convert("RGB"))
    np.testing.assert_allclose(
        read_scan(tmp_path / "palette.tif").views[0].pixels,
        palette.transpose(2, 0, 1) / 255,
        atol=1e-6,
    )
    alpha = np.zeros((40, 52, 1), np.uint8)
    alpha[:20] = 255
    tifffile.imwrite(
        tmp_path / "rgba.tif",
        np.concatenate([RGB, alpha], 2),
        photometric="rgb",
        extrasamples=["unassalpha"],
    )
    pixels = read_scan(tmp_path / "rgba.tif").views[0].pixels
    np.testing.assert_allclose(pixels[:, :20], RGB[:20].transpose(2, 0, 1) / 255, atol=1e-6)
    assert (pixels[:, 20:] == 1).all()
    tifffile.imwrite(
        tmp_path / "grey.tif",
        np.stack([LOW, np.full_like(LOW, 65535)], -1),
        photometric="minisblack",
        planarconfig="contig",
        extrasamples=["unassalpha"],
        metadata=None,
    )
    assert read_scan(tmp_path / "grey.tif").views[0].channels == ("low",)


@pytest.mark.parametrize(
    ("quantity", "channels"),
    [("dual_energy", ("low", "high", "zeff")), ("pseudo_colour", ("red", "green", "blue"))],
)
def test_three_planes_of_floats_are_what_their_quantity_says(quantity, channels, tmp_path):
    """tifffile marks any stack of three planes as RGB."""
    values = np.random.default_rng(0).random((3, 20, 30), np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values, description=json.dumps({"quantity": quantity}))
    view = read_scan(tmp_path / "a.tif").views[0]
    assert (view.quantity, view.channels) == (quantity, channels)
    assert np.array_equal(view.pixels, values)


@pytest.mark.parametrize("shape", [(3, 20, 30), (20, 30, 3)])
@pytest.mark.parametrize("result", [{"air_counts": 60000}, {"quantity": "dual_energy"}])
def test_counts_with_a_value_of_air_are_no_colours(result, shape, tmp_path):
    counts = np.random.default_rng(0).integers(0, 60000, shape, np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", counts, photometric="rgb", description=json.dumps(result))
    view = read_scan(tmp_path / "a.tif").views[0]
    assert (view.quantity, view.channels) == ("dual_energy", NAMES)
    planes = counts if shape[0] == 3 else counts.transpose(2, 0, 1)
    assert view.pixels[0] == pytest.approx(planes[0] / result.get("air_counts", 65535), abs=1e-6)


def test_floats_need_a_quantity(tmp_path):
    values = np.stack([LOW, LOW]).astype(np.float32) / 65535
    pages(
        tmp_path / "a.tif", values, NAMES[:2], description=json.dumps({"quantity": "transmission"})
    )
    view = read_scan(tmp_path / "a.tif").views[0]
    assert (view.quantity, view.channels) == ("transmission", ("low", "high"))
    assert np.array_equal(view.pixels, values)
    pages(tmp_path / "b.tif", values, NAMES[:2])
    with pytest.raises(ReadError):
        read_scan(tmp_path / "b.tif")


def test_a_thumbnail_is_no_channel(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(LOW, photometric="minisblack", metadata=None)
        file.write(LOW[::4, ::4].copy(), photometric="minisblack", metadata=None, subfiletype=1)
    assert read_scan(tmp_path / "a.tif").views[0].shape == LOW.shape


@pytest.mark.parametrize("photometric", ["ycbcr", "cielab", "separated"])
def test_what_is_neither_grey_nor_rgb_is_refused(tmp_path, photometric):
    data = np.zeros((40, 52, 4 if photometric == "separated" else 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric=photometric, metadata=None)
    with pytest.raises(ReadError):
        read_scan(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "counts", ["Infinity", "-60000", '"sixty"', "[60000]", "1e300", "9" * 4000, "0.5", "true", "0"]
)
def test_what_air_counts_is_a_count(tmp_path, counts):
    pages(tmp_path / "a.tif", description=f'{{"air_counts": {counts}}}')
    with pytest.raises(ReadError):
        read_scan(tmp_path / "a.tif")


def test_descriptions_of_other_programs_are_passed_over(tmp_path):
    pages(tmp_path / "a.tif", description="[" * 5000)
    assert read_scan(tmp_path / "a.tif").views[0].channels == NAMES
