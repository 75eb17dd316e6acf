"""What two views of a bag tell together: each looks into the other along the line of the belt that both show.

A row of both views is one line of the belt, so that whatever lies on it is in the same row of each. In every row the cells of one view
attend to those of the other (Vaswani et al. 2017): a thing over a device in one view may lie beside it in the other, and is then none of
it. The verdict on a device is reached over all views that show it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bagscan.detector.together import VIEWS

NEAR_CELLS = 7  # a device's verdict looks this wide around each of its cells, so that what is taped to it counts
TOP_PLACES = 4
INSIDE = 0.3
MIN_LOGIT, NOTHING, ABSENT = -6.0, -12.0, -30.0


@dataclass(frozen=True)
class TwoViewsConfig:
    """Attributes:
    width: channels; 0 for none of this, and views judged one by one. blocks: of looking into the other view.
    heads: of attention. hidden: of the verdict. dropout: before its layers.
    """

    width: int = 0
    blocks: int = 2
    heads: int = 2
    hidden: int = 128
    dropout: float = 0.1


class OtherView(nn.Module):
    """Every cell looks along its row of the other view, or at nothing, and thinks about what it saw."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.query, self.other = (
            nn.BatchNorm2d(width),
            nn.Conv2d(width, width, 1),
            nn.Conv2d(width, 2 * width, 1),
        )
        self.nothing = nn.Parameter(
            torch.zeros(2, heads, width // heads)
        )  # key and value of no cell at all
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
        """(2 B, c, h, w) cells of both views, those of the second behind those of the first, and (2 B, 1, h, w) whether they are there."""
        known = self.before(cells)
        key, value = self._rows(self.other(known)).chunk(2, 3)
        seen = self._attend(
            self._rows(self.query(known)), _swapped(key), _swapped(value), _swapped(there)
        )
        cells = (cells + self.seen(seen)) * there
        cells = (cells + self.think(cells)) * there
        mixed: Tensor = (cells + self.mix(cells)) * there
        return mixed

    def _rows(self, cells: Tensor) -> Tensor:
        """(n, m c, h, w) -> (n, h, heads, m c / heads, w). Rows stay in one piece: moving single values costs more than the products."""
        n, channels, h, w = cells.shape
        return cells.reshape(n, self.heads, channels // self.heads, h, w).permute(0, 3, 1, 2, 4)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, there: Tensor) -> Tensor:
        n, h, heads, channels, w = query.shape
        nothing = self.nothing.to(key.dtype)[:, None, None, :, :, None].expand(
            2, n, h, heads, channels, 1
        )
        key, value = torch.cat([key, nothing[0]], 4), torch.cat([value, nothing[1]], 4)
        alike = (
            torch.matmul(
                query.reshape(-1, channels, w).transpose(1, 2), key.reshape(-1, channels, w + 1)
            )
            * channels**-0.5
        )
        absent = (
            F.pad((1 - there[:, 0]) * ABSENT, (0, 1))[:, :, None, None]
            .expand(n, h, heads, 1, w + 1)
            .reshape(-1, 1, w + 1)
        )
        weight = (alike.float() + absent).softmax(-1).to(value.dtype)
        found = torch.matmul(value.reshape(-1, channels, w + 1), weight.transpose(1, 2)).view(
            n, h, heads, channels, w
        )
        return found.permute(0, 2, 3, 1, 4).reshape(n, heads * channels, h, w)


def _swapped(both: Tensor) -> Tensor:
    """The second view's before the first's."""
    return torch.cat(both.chunk(VIEWS)[::-1])


class TwoViews(nn.Module):
    """Maps of both views seen together, and verdicts on devices over both.

    Args:
        inputs: channels of the maps that it starts from.
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
        """(2, h, w) maps of a batch of bags, those of one view alone -> anomaly maps of both, and what they were made of.

        Args:
            merged: (2 B, n, h, w), see :class:`bagscan.detector.network.Maps`; the second views behind the first. anomaly: (2 B, 1, h, w) logits.
            there: (2 B, 1, h, w) 1 where the view has a cell; a view that is missing has none.
        """
        anomaly = anomaly.clamp(-8, 8)
        cells = (
            self.begin(self.level(torch.cat([merged, anomaly / 4, anomaly.sigmoid()], 1)) * there)
            * there
        )
        for block in self.blocks:
            cells = block(cells, there)
        return anomaly + self.change(cells).float(), cells

    def together(
        self, merged: Tensor, anomaly: Tensor, there: Tensor, device: Tensor, of_view: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Anomaly maps and verdicts of one bag: :meth:`forward` and :meth:`verdict` in one."""
        changed, cells = self(merged, anomaly, there)
        return changed, self.verdict(
            changed[None, :, 0], anomaly[None, :, 0], cells[None], device, of_view
        )

    def verdict(
        self, anomaly: Tensor, alone: Tensor, cells: Tensor, device: Tensor, of_view: Tensor
    ) -> Tensor:
        """(D,) log-odds, not calibrated, that something is hidden in devices of one bag, or of as many bags.

        Args:
            anomaly: (D or 1, 2, h, w) logits of :meth:`forward`. alone: the same of each view by itself. cells: (D or 1, 2, c, h, w).
            device: (D, 2, h, w) masks, empty in a view that does not show it. of_view: (D, 2) verdicts of each view by itself.
        """
        near = F.max_pool2d(device.float(), NEAR_CELLS, 1, NEAR_CELLS // 2) > INSIDE
        inside, shown = near.float(), device.flatten(2).amax(2) > 0
        area = inside.sum((2, 3)).clamp(min=1)
        anomaly, alone, cells = anomaly.float(), alone.float(), cells.float()
        mean = (cells * inside[:, :, None]).sum((3, 4)) / area[..., None]
        nothing, absent = cells.new_tensor(NOTHING), cells.new_tensor(ABSENT)
        most = torch.where(near[:, :, None], cells, nothing).flatten(3).amax(3).clamp(min=-5)
        places, places_alone = torch.where(near, anomaly, absent), torch.where(near, alone, absent)
        top = places.flatten(2).topk(TOP_PLACES, 2).values.clamp(min=NOTHING).mean(2, keepdim=True)
        soft = (
            torch.logsumexp(places.flatten(2), 2, keepdim=True).clamp(min=NOTHING)
            - area.log()[..., None]
        )
        each = torch.cat([mean, most, top, soft, of_view[..., None]], 2)
        views = shown.float().sum(1, keepdim=True).clamp(min=1)
        on_average = (each * shown[..., None]).sum(1) / views[..., 0, None]
        highest = each.masked_fill(~shown[..., None], ABSENT).amax(1)
        together, before = _agreement(places, shown), _agreement(places_alone, shown)
        summed = (of_view * shown).sum(1, keepdim=True)
        found = torch.cat([on_average, highest, together, before, summed, views], 1)
        logits: Tensor = together + 0.5 * summed + self.verdict_layers(found)
        return logits[:, 0]


def _agreement(places: Tensor, shown: Tensor) -> Tensor:
    """(D, 1) highest mean over the views that show a device of its highest place on one line of the belt; of (D, 2, h, w) logits, far below 0 elsewhere."""
    profile = places.amax(3).clamp(min=MIN_LOGIT) * shown[..., None]
    return (profile.sum(1) / shown.float().sum(1, keepdim=True).clamp(min=1)).amax(1, keepdim=True)
