"""Skip-GANomaly: a U-Net that gives benign crops back, judged by pixels and by the discriminator's features.

Source: Akcay, Atapour-Abarghouei & Breckon, "Skip-GANomaly: skip connected and adversarially trained
encoder-decoder anomaly detection" (IJCNN 2019), equations 1-7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bagscan.scorers.dcgan import SLOPE, Down, PixelConfig, PixelScorer, steps_down, update

CARD = {
    "paper": "Akcay, Atapour-Abarghouei & Breckon, IJCNN 2019",
    "channels": "1 or more, with the encoder pixels",
    "weights": "fitted by the user; none shipped",
    "limits": "skip connections may carry the anomaly through",
}
ADVERSARIAL, CONTEXTUAL, LATENT = 1.0, 40.0, 1.0
PIXELS = 0.9  # lambda of equation 7


@dataclass(frozen=True)
class Config(PixelConfig):
    """Skip-GANomaly settings; see :class:`bagscan.scorers.dcgan.PixelConfig` for
    dim, channels, latent (not used: the narrowest map is the code), width, epochs, batch_size, learning_rate, max_rows."""


class SkipGANomaly(PixelScorer):
    """A U-Net and a discriminator. See :class:`Config`."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        steps = steps_down(config.side)
        widths = [config.width << k for k in range(steps)]
        self.down = nn.ModuleList(
            _down(a, b, first=k == 0)
            for k, (a, b) in enumerate(zip([config.channels, *widths], widths, strict=False))
        )
        # Every level but the narrowest gets the map of the same size beside it.
        into = [w * (1 if k == steps - 1 else 2) for k, w in enumerate(widths)][::-1]
        self.up = nn.ModuleList(
            _up(a, b) for a, b in zip(into, [*widths[::-1][1:], config.channels], strict=True)
        )
        self.up[-1] = nn.Sequential(
            nn.ConvTranspose2d(into[-1], config.channels, 4, 2, 1), nn.Tanh()
        )
        self.judge = Down(config.channels, config.side, config.width, 1)

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.adam(self.down, self.up), self.adam(self.judge)]

    def reconstruct(self, x: Tensor) -> Tensor:
        maps = []
        for layer in self.down:
            x = layer(x)
            maps.append(x)
        x = maps.pop()
        for k, layer in enumerate(self.up):
            x = layer(x if k == 0 else torch.cat([x, maps.pop()], 1))
        return x

    def step(
        self, x: Tensor, optimisers: Sequence[torch.optim.Optimizer], generator: torch.Generator
    ) -> dict[str, float]:
        make, judge = optimisers
        back = self.reconstruct(x)
        fooled, features = self.judge(back)
        latent = F.mse_loss(features, self.judge(x)[1].detach())
        contextual = F.l1_loss(back, x)
        result = {
            "EG": update(
                make,
                ADVERSARIAL * F.softplus(-fooled).mean()
                + CONTEXTUAL * contextual
                + LATENT * latent,
            )
        }
        real, fake = self.judge(x)[0], self.judge(back.detach())[0]
        result["D"] = update(judge, F.softplus(-real).mean() + F.softplus(fake).mean())
        return result | {"contextual": float(contextual.detach()), "latent": float(latent.detach())}

    def distance(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,): 0.9 of the difference in pixels, 0.1 of that in features (equation 7)."""
        x = self.images(embeddings)
        back = self.reconstruct(x)
        pixels = (x - back).abs().mean((1, 2, 3))
        features = (self.judge(x)[1] - self.judge(back)[1]).square().mean((1, 2, 3))
        found: Tensor = PIXELS * pixels + (1 - PIXELS) * features
        return found


def _down(channels: int, width: int, first: bool) -> nn.Sequential:
    convolution = nn.Conv2d(channels, width, 4, 2, 1, bias=False)
    return nn.Sequential(
        convolution, *([] if first else [nn.BatchNorm2d(width)]), nn.LeakyReLU(SLOPE)
    )


def _up(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(channels, width, 4, 2, 1), nn.BatchNorm2d(width), nn.ReLU()
    )


def build(config: Config) -> SkipGANomaly:
    return SkipGANomaly(config)


def tiny() -> Config:
    return Config(dim=3 * 16 * 16, latent=4, width=4, epochs=1, batch_size=8)
