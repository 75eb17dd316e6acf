"""GANomaly: encode, decode, encode again; strange is what its second code gives away.

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
    "weights": "fitted by the user; none shipped",
    "limits": "what is small in the crop hardly moves its code",
}
ADVERSARIAL, CONTEXTUAL, CODE = 1.0, 50.0, 1.0


@dataclass(frozen=True)
class Config(PixelConfig):
    """GANomaly settings; see :class:`bagscan.scorers.dcgan.PixelConfig` for
    dim, channels, latent, width, epochs, batch_size, learning_rate, max_rows."""


class GANomaly(PixelScorer):
    """Two encoders, a decoder, a discriminator. See :class:`Config`."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        shape = (config.channels, config.side, config.width)
        self.first, self.decoder, self.second, self.judge = (
            Down(*shape, config.latent),
            Up(*shape, config.latent),
            Down(*shape, config.latent),
            Down(*shape, 1),
        )

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.adam(self.first, self.decoder, self.second), self.adam(self.judge)]

    def step(
        self, x: Tensor, optimisers: Sequence[torch.optim.Optimizer], generator: torch.Generator
    ) -> dict[str, float]:
        make, judge = optimisers
        code = self.first(x)[0]
        back = self.decoder(code)
        again = self.second(back)[0]
        feature_loss = F.mse_loss(self.judge(back)[1], self.judge(x)[1].detach())
        contextual = F.l1_loss(back, x)
        code_loss = F.mse_loss(again, code)
        result = {
            "EG": update(
                make, ADVERSARIAL * feature_loss + CONTEXTUAL * contextual + CODE * code_loss
            )
        }
        real, fake = self.judge(x)[0], self.judge(back.detach())[0]
        result["D"] = update(judge, F.softplus(-real).mean() + F.softplus(fake).mean())
        return result | {
            "contextual": float(contextual.detach()),
            "code": float(code_loss.detach()),
        }

    def reconstruct(self, x: Tensor) -> Tensor:
        found: Tensor = self.decoder(self.first(x)[0])
        return found

    def distance(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,): mean difference of the two codes (equation 6)."""
        code = self.first(self.images(embeddings))[0]
        found: Tensor = (code - self.second(self.decoder(code))[0]).abs().mean(1)
        return found


def build(config: Config) -> GANomaly:
    return GANomaly(config)


def tiny() -> Config:
    return Config(dim=3 * 16 * 16, latent=4, width=4, epochs=1, batch_size=8)
