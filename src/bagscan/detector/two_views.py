"""Network module that evaluates both views of a bag together, by attention along the belt.

A row is the same belt position in both views, so an item lies in the same rows of each. In every
row, the cells of one view attend to the cells of the other (Vaswani et al. 2017). An item that
covers a device in one view but lies beside it in the other does not belong to the device. The
verdict on a device combines all views that show it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bagscan.detector.together import VIEWS

NEAR_CELLS = 7  # window around each cell of a device, to include items taped to it
TOP_PLACES = 4  # highest logits that are averaged
INSIDE = 0.3
MIN_LOGIT, NOTHING, ABSENT = -6.0, -12.0, -30.0


@dataclass(frozen=True)
class TwoViewsConfig:
    """Settings of the module that evaluates both views together.

    Attributes:
        width: channels; 0 disables the module, so that views are evaluated separately.
        blocks: number of attention blocks.
        heads: number of attention heads.
        hidden: units of the hidden layer of the verdict.
        dropout: dropout rate before each layer of the verdict, in [0, 1).
    """

    width: int = 0
    blocks: int = 2
    heads: int = 2
    hidden: int = 128
    dropout: float = 0.1


class OtherView(nn.Module):
    """Block in which every cell attends to its row of the other view, or to a learned null cell."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.BatchNorm2d(width)
        self.query = nn.Conv2d(width, width, 1)
        self.other = nn.Conv2d(width, 2 * width, 1)
        # Key and value of the null cell.
        self.nothing = nn.Parameter(torch.zeros(2, heads, width // heads))
        self.seen = nn.Conv2d(width, width, 1)
        self.seen.weight.data *= 0.1
        self.think = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Conv2d(width, 2 * width, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * width, width, 1),
        )
        self.mix = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )

    def forward(self, cells: Tensor, there: Tensor) -> Tensor:
        """Update the cells of both views.

        Args:
            cells: (2 B, c, h, w) cells of B first views, then of B second views.
            there: (2 B, 1, h, w) 1 where the view has a cell, else 0.

        Returns:
            (2 B, c, h, w) cells.
        """
        normalised = self.before(cells)
        key, value = self._split_heads(self.other(normalised)).chunk(2, 3)
        query = self._split_heads(self.query(normalised))
        seen = self._attend(query, _swap_views(key), _swap_views(value), _swap_views(there))
        cells = (cells + self.seen(seen)) * there
        cells = (cells + self.think(cells)) * there
        mixed: Tensor = (cells + self.mix(cells)) * there
        return mixed

    def _split_heads(self, cells: Tensor) -> Tensor:
        """Reshape (n, m c, h, w) to (n, h, heads, m c / heads, w).

        Rows stay contiguous: transposing single values costs more than the matrix products.
        """
        n, channels, h, w = cells.shape
        return cells.reshape(n, self.heads, channels // self.heads, h, w).permute(0, 3, 1, 2, 4)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, there: Tensor) -> Tensor:
        n, h, heads, channels, w = query.shape
        nothing = self.nothing.to(key.dtype)[:, None, None, :, :, None].expand(
            2, n, h, heads, channels, 1
        )
        key, value = torch.cat([key, nothing[0]], 4), torch.cat([value, nothing[1]], 4)
        query, key = query.reshape(-1, channels, w), key.reshape(-1, channels, w + 1)
        similarity = torch.matmul(query.transpose(1, 2), key) * channels**-0.5
        mask = F.pad((1 - there[:, 0]) * ABSENT, (0, 1))[:, :, None, None]
        mask = mask.expand(n, h, heads, 1, w + 1).reshape(-1, 1, w + 1)
        weight = (similarity.float() + mask).softmax(-1).to(value.dtype)
        attended = torch.matmul(value.reshape(-1, channels, w + 1), weight.transpose(1, 2))
        attended = attended.view(n, h, heads, channels, w)
        return attended.permute(0, 2, 3, 1, 4).reshape(n, heads * channels, h, w)


def _swap_views(both: Tensor) -> Tensor:
    return torch.cat(both.chunk(VIEWS)[::-1])


class TwoViews(nn.Module):
    """Module that corrects the anomaly maps of both views, and computes verdicts over both.

    Args:
        config: settings; ``width`` must be above 0.
        inputs: channels of the input features.
    """

    def __init__(self, config: TwoViewsConfig, inputs: int) -> None:
        super().__init__()
        width = config.width
        self.level = nn.BatchNorm2d(inputs + 2)
        self.begin = nn.Sequential(
            nn.Conv2d(inputs + 2, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.blocks = nn.ModuleList(OtherView(width, config.heads) for _ in range(config.blocks))
        self.change = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.change.weight), nn.init.zeros_(self.change.bias)  # type: ignore[arg-type]
        each = 2 * width + 3
        self.verdict_layers = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(2 * each + 4, config.hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, 1),
        )

    def forward(self, merged: Tensor, anomaly: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Correct the anomaly maps of a batch of bags.

        Args:
            merged: (2 B, n, h, w) features of B first views, then of B second views; see
                :class:`bagscan.detector.network.Maps`.
            anomaly: (2 B, 1, h, w) logits of the single views.
            there: (2 B, 1, h, w) 1 where the view has a cell, else 0; all 0 for a missing view.

        Returns:
            (2 B, 1, h, w) logits of the anomaly maps, and the (2 B, c, h, w) cells behind them.
        """
        anomaly = anomaly.clamp(-8, 8)
        features = torch.cat([merged, anomaly / 4, anomaly.sigmoid()], 1)
        cells = self.begin(self.level(features) * there) * there
        for block in self.blocks:
            cells = block(cells, there)
        return anomaly + self.change(cells).float(), cells

    def together(
        self, merged: Tensor, anomaly: Tensor, there: Tensor, device: Tensor, of_view: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return anomaly maps and verdicts of one bag, by :meth:`forward` and :meth:`verdict`."""
        changed, cells = self(merged, anomaly, there)
        return changed, self.verdict(
            changed[None, :, 0], anomaly[None, :, 0], cells[None], device, of_view
        )

    def verdict(
        self, anomaly: Tensor, alone: Tensor, cells: Tensor, device: Tensor, of_view: Tensor
    ) -> Tensor:
        """Return (D,) uncalibrated log-odds of an anomaly in each device.

        Args:
            anomaly: (D or 1, 2, h, w) logits of :meth:`forward`.
            alone: (D or 1, 2, h, w) logits of the single views.
            cells: (D or 1, 2, c, h, w) cells of :meth:`forward`.
            device: (D, 2, h, w) masks, empty in a view that does not show the device.
            of_view: (D, 2) verdicts of the single views.
        """
        near = F.max_pool2d(device.float(), NEAR_CELLS, 1, NEAR_CELLS // 2) > INSIDE
        inside, shown = near.float(), device.flatten(2).amax(2) > 0
        area = inside.sum((2, 3)).clamp(min=1)
        anomaly, alone, cells = anomaly.float(), alone.float(), cells.float()
        mean = (cells * inside[:, :, None]).sum((3, 4)) / area[..., None]
        nothing, absent = cells.new_tensor(NOTHING), cells.new_tensor(ABSENT)
        peak = torch.where(near[:, :, None], cells, nothing).flatten(3).amax(3).clamp(min=-5)
        logits, logits_alone = torch.where(near, anomaly, absent), torch.where(near, alone, absent)
        top = logits.flatten(2).topk(TOP_PLACES, 2).values.clamp(min=NOTHING).mean(2, keepdim=True)
        soft_max = torch.logsumexp(logits.flatten(2), 2, keepdim=True).clamp(min=NOTHING)
        soft_max = soft_max - area.log()[..., None]
        each = torch.cat([mean, peak, top, soft_max, of_view[..., None]], 2)
        n_views = shown.float().sum(1, keepdim=True).clamp(min=1)
        average = (each * shown[..., None]).sum(1) / n_views[..., 0, None]
        highest = each.masked_fill(~shown[..., None], ABSENT).amax(1)
        together, before = _agreement(logits, shown), _agreement(logits_alone, shown)
        total = (of_view * shown).sum(1, keepdim=True)
        inputs = torch.cat([average, highest, together, before, total, n_views], 1)
        log_odds: Tensor = together + 0.5 * total + self.verdict_layers(inputs)
        return log_odds[:, 0]


def _agreement(logits: Tensor, shown: Tensor) -> Tensor:
    """Return the (D, 1) agreement of views, as :func:`bagscan.detector.deciding.agreement`.

    Unlike there, the result is the mean over the views, not twice the mean.

    Args:
        logits: (D, 2, h, w) logits, far below 0 outside the device.
        shown: (D, 2) bool, True if the view shows the device.
    """
    profile = logits.amax(3).clamp(min=MIN_LOGIT) * shown[..., None]
    return (profile.sum(1) / shown.float().sum(1, keepdim=True).clamp(min=1)).amax(1, keepdim=True)
