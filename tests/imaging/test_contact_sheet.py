"""Pictures keep their order and shape in a contact sheet."""

import numpy as np
from PIL import Image

from bagscan.imaging.contact_sheet import GAP_PX, LINE_PX, draw_contact_sheet

COLOURS = ((200, 0, 0), (0, 200, 0), (0, 0, 200))


def box_of(sheet, colour):
    """Return left, top, right and bottom of the pixels of a colour."""
    near = (np.abs(np.asarray(sheet).astype(int) - colour) < 30).all(2)
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def test_pictures_shrink_to_their_cells_row_by_row():
    pictures = [(Image.new("RGB", (400, 100), colour), "a\nb") for colour in COLOURS]
    sheet = draw_contact_sheet(pictures, 2, (108, 84))
    height = 84 + 2 * LINE_PX + GAP_PX
    assert sheet.size == (216, 2 * height)
    for k, colour in enumerate(COLOURS):
        left, top, right, bottom = box_of(sheet, colour)
        assert (right - left, bottom - top) == (100, 25), "shrunk, with the same shape"
        assert left == k % 2 * 108 + GAP_PX
        assert k // 2 * height + 2 * LINE_PX + GAP_PX <= top < bottom <= (k // 2 + 1) * height
    assert pictures[0][0].size == (400, 100), "the picture itself stays"


def test_small_pictures_are_not_enlarged_and_none_give_an_empty_row():
    sheet = draw_contact_sheet([(Image.new("RGB", (10, 10), COLOURS[0]), "")], 3, (50, 50))
    left, top, right, bottom = box_of(sheet, COLOURS[0])
    assert (right - left, bottom - top) == (10, 10)
    empty = draw_contact_sheet([], 3, (50, 50))
    assert empty.size == (150, 50 + LINE_PX + GAP_PX)
    assert np.asarray(empty).min() == 255
