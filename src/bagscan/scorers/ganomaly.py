"""GANomaly scorer: encodes a crop, decodes it, encodes the result, and compares the codes.

Source: Akcay, Atapour-Abarghouei & Breckon, "GANomaly: semi-supervised anomaly detection via
adversarial training" (ACCV 2018), equations 1-6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bagscan.scorers.dcgan import Down, PixelConfig, PixelScorer, Up, update

CARD = {
    "paper": "Akcay, Atapour-Abarghouei & Breckon, ACCV 2018",
    "channels": "1 or more, with the encoder pixels",
    "weights": "fitted by the user; not bundled",
    "limits": "a small item in a crop hardly changes its code",
}
ADVERSARIAL, CONTEXTUAL, CODE = 1.0, 50.0, 1.0  # weights of the losses


@dataclass(frozen=True)
class Config(PixelConfig):
    """Settings of GANomaly, see :class:`bagscan.scorers.dcgan.PixelConfig`."""


class GANomaly(PixelScorer):
    """Scorer with two encoders, a decoder and a discriminator. See :class:`Config`."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        shape = (config.channels, config.side, config.width)
        self.first = Down(*shape, config.latent)
        self.decoder = Up(*shape, config.latent)
        self.second = Down(*shape, config.latent)
        self.discriminator = Down(*shape, 1)  # the discriminator

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.adam(self.first, self.decoder, self.second), self.adam(self.discriminator)]

    def step(
        self, x: Tensor, optimisers: Sequence[torch.optim.Optimizer], generator: torch.Generator
    ) -> dict[str, float]:
        optimiser_eg, optimiser_d = optimisers
        code = self.first(x)[0]
        reconstruction = self.decoder(code)
        second_code = self.second(reconstruction)[0]
        feature_loss = F.mse_loss(
            self.discriminator(reconstruction)[1], self.discriminator(x)[1].detach()
        )
        contextual = F.l1_loss(reconstruction, x)
        code_loss = F.mse_loss(second_code, code)
        loss = ADVERSARIAL * feature_loss + CONTEXTUAL * contextual + CODE * code_loss
        losses = {"EG": update(optimiser_eg, loss)}
        real, fake = self.discriminator(x)[0], self.discriminator(reconstruction.detach())[0]
        losses["D"] = update(optimiser_d, F.softplus(-real).mean() + F.softplus(fake).mean())
        losses["contextual"] = float(contextual.detach())
        losses["code"] = float(code_loss.detach())
        return losses

    def reconstruct(self, x: Tensor) -> Tensor:
        reconstruction: Tensor = self.decoder(self.first(x)[0])
        return reconstruction

    def distance(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) mean absolute differences of the two codes (equation 6)."""
        code = self.first(self.images(embeddings))[0]
        difference: Tensor = (code - self.second(self.decoder(code))[0]).abs().mean(1)
        return difference


def build(config: Config) -> GANomaly:
    return GANomaly(config)


def tiny() -> Config:
    return Config(dim=3 * 16 * 16, latent=4, width=4, epochs=1, batch_size=8)
