"""Skip-GANomaly scorer: a U-Net that reconstructs benign crops.

Scores compare crop and reconstruction by pixels and by features of the discriminator.

Source: Akcay, Atapour-Abarghouei & Breckon, "Skip-GANomaly: skip connected and adversarially
trained encoder-decoder anomaly detection" (IJCNN 2019), equations 1-7.
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
    "weights": "fitted by the user; not bundled",
    "limits": "skip connections can pass the anomaly to the reconstruction",
}
ADVERSARIAL, CONTEXTUAL, LATENT = 1.0, 40.0, 1.0  # weights of the losses
PIXELS = 0.9  # lambda of equation 7


@dataclass(frozen=True)
class Config(PixelConfig):
    """Settings of Skip-GANomaly, see :class:`bagscan.scorers.dcgan.PixelConfig`.

    Attributes:
        latent: not used; the narrowest map is the code.
    """


class SkipGANomaly(PixelScorer):
    """Scorer with a U-Net and a discriminator. See :class:`Config`."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        steps = steps_down(config.side)
        widths = [config.width << k for k in range(steps)]
        self.down = nn.ModuleList(
            _build_down(a, b, is_first=k == 0)
            for k, (a, b) in enumerate(zip([config.channels, *widths], widths, strict=False))
        )
        # All levels but the narrowest also take the skip connection of the same size.
        inputs = [width * (1 if k == steps - 1 else 2) for k, width in enumerate(widths)][::-1]
        outputs = [*widths[::-1][1:], config.channels]
        self.up = nn.ModuleList(_build_up(a, b) for a, b in zip(inputs, outputs, strict=True))
        self.up[-1] = nn.Sequential(
            nn.ConvTranspose2d(inputs[-1], config.channels, 4, 2, 1), nn.Tanh()
        )
        self.discriminator = Down(
            config.channels, config.side, config.width, 1
        )  # the discriminator

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.adam(self.down, self.up), self.adam(self.discriminator)]

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
        optimiser_eg, optimiser_d = optimisers
        reconstruction = self.reconstruct(x)
        output, features = self.discriminator(reconstruction)
        latent = F.mse_loss(features, self.discriminator(x)[1].detach())
        contextual = F.l1_loss(reconstruction, x)
        adversarial = F.softplus(-output).mean()
        loss = ADVERSARIAL * adversarial + CONTEXTUAL * contextual + LATENT * latent
        losses = {"EG": update(optimiser_eg, loss)}
        real, fake = self.discriminator(x)[0], self.discriminator(reconstruction.detach())[0]
        losses["D"] = update(optimiser_d, F.softplus(-real).mean() + F.softplus(fake).mean())
        losses["contextual"] = float(contextual.detach())
        losses["latent"] = float(latent.detach())
        return losses

    def distance(self, embeddings: Tensor) -> Tensor:
        """Return (n,) differences in pixels (weight 0.9) and in features (0.1), by equation 7."""
        x = self.images(embeddings)
        reconstruction = self.reconstruct(x)
        pixels = (x - reconstruction).abs().mean((1, 2, 3))
        features = (
            (self.discriminator(x)[1] - self.discriminator(reconstruction)[1])
            .square()
            .mean((1, 2, 3))
        )
        difference: Tensor = PIXELS * pixels + (1 - PIXELS) * features
        return difference


def _build_down(channels: int, width: int, is_first: bool) -> nn.Sequential:
    convolution = nn.Conv2d(channels, width, 4, 2, 1, bias=False)
    norm = [] if is_first else [nn.BatchNorm2d(width)]
    return nn.Sequential(convolution, *norm, nn.LeakyReLU(SLOPE))


def _build_up(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(channels, width, 4, 2, 1), nn.BatchNorm2d(width), nn.ReLU()
    )


def build(config: Config) -> SkipGANomaly:
    return SkipGANomaly(config)


def tiny() -> Config:
    return Config(dim=3 * 16 * 16, latent=4, width=4, epochs=1, batch_size=8)
