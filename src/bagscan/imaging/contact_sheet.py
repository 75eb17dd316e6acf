"""Contact sheets: small pictures with captions, in one image."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

LINE_PX, GAP_PX = 14, 4
CAPTION_COLOUR = "#5a5a5a"


def draw_contact_sheet(
    pictures: Sequence[tuple[Image.Image, str]], columns: int, cell: tuple[int, int]
) -> Image.Image:
    """Arrange pictures in a grid, each shrunk to fit its cell below its caption.

    Args:
        pictures: pictures with their captions, row by row.
        columns: number of columns.
        cell: width and height of a cell in pixels, without the caption.
    """
    width, height = cell
    caption_px = LINE_PX * max((text.count("\n") + 1 for _, text in pictures), default=1) + GAP_PX
    rows = max(1, -(-len(pictures) // columns))
    sheet = Image.new("RGB", (columns * width, rows * (height + caption_px)), "white")
    draw = ImageDraw.Draw(sheet)
    for k, (picture, caption) in enumerate(pictures):
        x, y = k % columns * width, k // columns * (height + caption_px)
        small = picture.copy()
        small.thumbnail((width - 2 * GAP_PX, height - GAP_PX), Image.Resampling.LANCZOS)
        left, top = (width - small.width) // 2, (height - small.height) // 2
        sheet.paste(small, (x + left, y + caption_px + top))
        draw.text((x + GAP_PX, y + 2), caption, fill=CAPTION_COLOUR)
    return sheet
