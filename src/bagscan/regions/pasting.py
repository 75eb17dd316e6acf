"""Pasting of masks into the view, for exported graphs.

torchvision concatenates a mask with the zeros around it. If a box reaches the edge of the view,
these zeros are empty tensors, for which OpenVINO returns uninitialised memory. Here, each pixel of
the view looks up its value in the mask. The arithmetic is the same, and all runtimes agree.

Source: ``paste_masks_in_image`` of torchvision (He et al., "Mask R-CNN", ICCV 2017, section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks


def paste_masks(masks: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """Paste masks into the view at the place of their boxes.

    Args:
        masks: (n, 1, m, m), relative to their boxes.
        boxes: (n, 4) xyxy, in pixels of the view.
        height: height of the view.
        width: width of the view.

    Returns:
        (n, 1, height, width), zero outside the boxes.
    """
    masks, scale = expand_masks(masks, padding=1)
    rounded = expand_boxes(boxes, scale).to(dtype=torch.int64)
    size = [torch.scalar_tensor(side, dtype=torch.int64) for side in (height, width)]
    pasted: Tensor = _paste_each(masks, rounded, *size)
    return pasted[:, None]


def _paste_all(masks: Tensor, boxes: Tensor, height: Tensor, width: Tensor) -> Tensor:
    pasted = torch.zeros(0, int(height), int(width))
    for i in range(masks.size(0)):
        pasted = torch.cat((pasted, _paste(masks[i], boxes[i], height, width).unsqueeze(0)))
    return pasted


# Scripted, since tracing would unroll the loop.
_paste_each: Callable[..., Tensor] = torch.jit.script_if_tracing(_paste_all)


def _paste(mask: Tensor, box: Tensor, height: Tensor, width: Tensor) -> Tensor:
    rows_in = torch.clamp(box[3] - box[1] + 1, min=1)
    columns_in = torch.clamp(box[2] - box[0] + 1, min=1)
    size = (int(rows_in), int(columns_in))
    scaled = F.interpolate(mask.unsqueeze(0), size=size, mode="bilinear", align_corners=False)[0, 0]
    rows = torch.arange(int(height)) - box[1]
    columns = torch.arange(int(width)) - box[0]
    in_rows = (rows >= 0) & (rows < rows_in)
    in_columns = (columns >= 0) & (columns < columns_in)
    moved = scaled.index_select(0, torch.where(in_rows, rows, torch.zeros_like(rows)))
    moved = moved.index_select(1, torch.where(in_columns, columns, torch.zeros_like(columns)))
    inside = in_rows.unsqueeze(1) & in_columns.unsqueeze(0)
    return torch.where(inside, moved, torch.zeros_like(moved))
