"""SVM on the errors of a one-class scorer: phase III of GBAD.

Source: Dumagpi, Jung & Jeong 2020: errors of reconstruction and of feature matching, of anomalies and
of normal images that phase II did not train on, go to an SVM; Platt 1999 makes it a probability.
It is kept as a sum of kernels, whether it was fitted whole or on a sample of centres (Nyström).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.svm import SVC, LinearSVC
from torch import Tensor

from bagscan.building import build_part
from bagscan.contracts import OddsScorer, Report
from bagscan.core.errors import ConfigError
from bagscan.scorers.fitted import Fitted, drawn, fitted_once, held_out, scale_of

CARD = {
    "paper": "Dumagpi, Jung & Jeong 2020, phase III",
    "channels": "any",
    "weights": "fitted by the user; none shipped",
    "limits": "what errors two kinds of region share, it cannot tell apart",
}
FEW_ROWS = 50
SHARE_OF_ERRORS = 0.5  # benign rows that phase II does not see


@dataclass(frozen=True)
class Config:
    """SVM settings.

    Attributes:
        dim: length of a region's description. errors: the scorer whose errors it judges, ``{name: bigan, ...}``;
            any with ``errors``, or else its distance is taken. cost: C. whole_up_to: rows up to which the
            SVM is fitted whole; above, on some of them. centres: how many. max_rows: of each class at most.
    """

    dim: int = 192
    errors: dict[str, Any] = field(default_factory=lambda: {"name": "bigan"})
    cost: float = 1.0
    whole_up_to: int = 4000
    centres: int = 200
    max_rows: int = 50_000


class SVM(Fitted, OddsScorer):
    """A kernel machine on log errors. See :class:`Config`."""

    centre: Tensor
    weight: Tensor
    offset: Tensor
    gamma: Tensor
    error_mean: Tensor
    error_deviation: Tensor
    platt: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        inner = build_part("scorers", config.errors, "scorer.errors", dim=config.dim)
        if not isinstance(inner, Fitted):
            raise ConfigError(
                f"scorer.errors: {config.errors.get('name')!r} is not fitted to benign regions, and has no errors"
            )
        self.inner, columns = inner, inner.n_errors
        self.config = config
        for name, start in (
            ("centre", torch.zeros(1, columns)),
            ("weight", torch.ones(1)),
            ("offset", torch.zeros(())),
            ("gamma", torch.ones(())),
        ):
            self.register_buffer(name, start)
        self.register_buffer("error_mean", torch.zeros(columns))
        self.register_buffer("error_deviation", torch.ones(columns))
        self.register_buffer("platt", torch.tensor([1.0, 0.0]))

    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0, report: Report = print) -> None:
        """Fit the inner scorer to one half of benign rows (n, dim), the SVM to the other and the anomalous ones (m, dim).

        Raises:
            ValueError: too few rows, or no anomalous ones.
        """
        config = self.config
        if len(anomalous) < 2:
            raise ValueError(
                "phase III needs anomalous descriptions to learn from, and there are none"
            )
        for_inner, for_errors = held_out(benign, seed, SHARE_OF_ERRORS)
        if len(for_inner) < FEW_ROWS:
            report(
                f"svm: what is normal is learnt from {len(for_inner)} rows, too few to say much of it"
            )
        fitted_once(self.inner, config.errors, for_inner, anomalous, seed, report, self.keep_in)
        with torch.no_grad():
            logs = [
                self._log_errors(rows)
                for rows in (
                    drawn(for_errors, config.max_rows, seed),
                    drawn(anomalous, config.max_rows, seed),
                )
            ]
        self.error_mean, self.error_deviation = scale_of(torch.cat(logs))
        x = ((torch.cat(logs) - self.error_mean) / self.error_deviation).double().numpy()
        y = np.repeat([0, 1], [len(rows) for rows in logs])
        gamma = 1 / max(x.shape[1] * float(x.var()), 1e-9)
        self.gamma = torch.tensor(gamma, dtype=torch.float32)
        machine = (
            self._whole(x, y, gamma)
            if len(x) <= config.whole_up_to
            else self._on_centres(x, y, gamma, seed)
        )
        margins = cross_val_predict(
            machine, x, y, cv=min(5, int(np.bincount(y).min())), method="decision_function"
        )
        platt = LogisticRegression(C=1e3, class_weight="balanced").fit(margins[:, None], y)
        self.platt = torch.tensor([float(platt.coef_[0, 0]), float(platt.intercept_[0])])
        report(
            f"svm: {len(logs[0])} benign and {len(logs[1])} anomalous rows, {len(self.centre)} centres"
        )
        self.standardise(for_errors)

    def _whole(self, x: np.ndarray, y: np.ndarray, gamma: float) -> Any:
        machine = SVC(C=self.config.cost, gamma=gamma, class_weight="balanced")
        fitted = machine.fit(x, y)
        self._keep(fitted.support_vectors_, fitted.dual_coef_[0], float(fitted.intercept_[0]))
        return machine

    def _on_centres(self, x: np.ndarray, y: np.ndarray, gamma: float, seed: int) -> Any:
        from sklearn.pipeline import make_pipeline

        machine = make_pipeline(
            Nystroem(gamma=gamma, n_components=min(self.config.centres, len(x)), random_state=seed),
            LinearSVC(C=self.config.cost, class_weight="balanced", dual=False),
        )
        nystroem, linear = (step for _, step in machine.fit(x, y).steps)
        # w . (N k(x, centres)) is again a sum of kernels.
        self._keep(
            nystroem.components_,
            nystroem.normalization_.T @ linear.coef_[0],
            float(linear.intercept_[0]),
        )
        return machine

    def _keep(self, centres: np.ndarray, weights: np.ndarray, offset: float) -> None:
        self.centre, self.weight, self.offset = (
            torch.tensor(v, dtype=torch.float32) for v in (centres, weights, offset)
        )

    def _log_errors(self, embeddings: Tensor) -> Tensor:
        return self.inner.errors(embeddings).clamp(min=0).log1p()

    def margin(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,) distance from the border, above 0 on the anomalous side."""
        x = (self._log_errors(embeddings) - self.error_mean) / self.error_deviation
        return (
            torch.exp(-self.gamma * torch.cdist(x, self.centre).square()) @ self.weight
            + self.offset
        )

    def log_odds(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,) of being anomalous, both classes equally likely beforehand."""
        return self.platt[0] * self.margin(embeddings) + self.platt[1]

    def strangeness(self, embeddings: Tensor) -> Tensor:
        """(n,) the log-odds: of odds near 0 the logarithm of the distance would have no spread."""
        return self.log_odds(embeddings)

    def probability(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,) of being anomalous, both classes equally likely beforehand."""
        return torch.sigmoid(self.log_odds(embeddings))

    def distance(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,) odds of being anomalous."""
        return torch.exp(self.log_odds(embeddings).clamp(-15, 15))

    def score(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,) in [0, 1]: the probability."""
        return self.probability(embeddings)


def build(config: Config) -> SVM:
    return SVM(config)


def tiny() -> Config:
    return Config(
        dim=8,
        errors={
            "name": "bigan",
            "widths": (16, 8),
            "latent": 4,
            "matched": 8,
            "epochs": 2,
            "batch_size": 16,
            "least_steps": 0,
        },
    )
