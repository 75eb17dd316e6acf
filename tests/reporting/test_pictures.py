"""Pictures of a report: in operators' colours, cropped to the bag, with readable numbers."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from bagscan.core import View
from bagscan.reporting.pictures import Pictures, _free_spot, bag_window, close_up, displayable


def test_raw_scans_are_shown_in_the_colours_that_operators_know():
    low, high, zeff = (np.full((60, 60), value, np.float32) for value in (1.0, 1.0, 0.0))
    for rows, values in ((np.s_[:20], (0.4, 0.5, 7.0)), (np.s_[40:], (0.1, 0.3, 26.0))):
        for plane, value in zip((low, high, zeff), values, strict=True):
            plane[rows] = value
    picture = displayable(
        View(np.stack([low, high, zeff]), ("low", "high", "zeff"), "dual_energy", bit_depth=16)
    ).astype(int)
    plastic, air, metal = picture[10, 30], picture[30, 30], picture[50, 30]
    assert plastic[0] > plastic[1] > plastic[2], "orange"
    assert air.min() > 250
    assert metal[2] > metal[0] + 50, "blue"


def test_channels_without_effective_z_are_grey():
    view = View(
        np.linspace(0, 1, 200, dtype=np.float32).reshape(2, 10, 10),
        ("low", "high"),
        "dual_energy",
        bit_depth=16,
    )
    assert np.ptp(displayable(view), -1).max() == 0


def test_a_logarithm_is_drawn_as_what_passes():
    passes = np.linspace(0.01, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    plain, of_logarithm = (
        displayable(View(pixels, ("low",), quantity)).astype(int)
        for pixels, quantity in ((passes, "transmission"), (-np.log(passes), "log_attenuation"))
    )
    assert np.abs(plain - of_logarithm).max() <= 1


def test_numbers_of_rings_on_one_spot_stand_apart_and_within_the_picture():
    for centre in ((100.0, 80.0), (2.0, 2.0), (198.0, 158.0)):
        taken: list[tuple[float, float]] = []
        for _ in range(4):
            taken.append(_free_spot(centre, 20.0, (160, 200), 6.0, taken))
        assert all(6 <= x <= 194 and 6 <= y <= 154 for x, y in taken)
        assert (
            min(np.hypot(a[0] - b[0], a[1] - b[1]) for i, a in enumerate(taken) for b in taken[:i])
            >= 6
        )
    assert _free_spot((100.0, 80.0), 20.0, (160, 200), 6.0, [(0.0, 0.0)]) == pytest.approx(
        (100 + 20 / 2**0.5, 80 - 20 / 2**0.5)
    ), "upper right where it is free"


def test_a_view_is_cropped_to_the_bag_and_an_empty_one_is_shown_whole():
    rgb = np.full((200, 300, 3), 255, np.uint8)
    assert bag_window(rgb) == (0, 0, 300, 200)
    rgb[50:120, 100:220] = (240, 200, 120)
    assert bag_window(rgb) == (100 - 9, 50 - 9, 220 + 9, 120 + 9)
    rgb[10, 10] = 0  # a dead pixel is not a bag
    assert bag_window(rgb) == (100 - 9, 50 - 9, 220 + 9, 120 + 9)


@pytest.mark.parametrize(
    "box",
    [
        (10.0, 10.0, 14.0, 13.0),
        (0.0, 0.0, 5.0, 5.0),
        (290.0, 190.0, 300.0, 200.0),
        (0.0, 0.0, 300.0, 200.0),
    ],
)
def test_a_close_up_is_a_square_that_holds_its_part(box):
    rgb = np.zeros((200, 300, 3), np.uint8)
    x1, y1, x2, y2 = (int(v) for v in box)
    rgb[y1:y2, x1:x2] = 255
    address = close_up(rgb, box, Pictures())
    image = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("L")
    )
    assert image.shape[0] == image.shape[1]
    assert image.max() > 200


def test_pictures_of_many_bags_lie_beside_the_page(tmp_path):
    pictures = Pictures(tmp_path / "images", "a")
    addresses = [pictures.put(np.zeros((30, 40, 3), np.uint8), 20) for _ in range(2)]
    assert addresses == ["images/a_0.jpg", "images/a_1.jpg"]
    assert Image.open(tmp_path / addresses[0]).size == (20, 15)
