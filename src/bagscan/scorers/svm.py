"""SVM on the errors of a one-class scorer, phase III of GBAD.

Source: Dumagpi, Jung & Jeong 2020. The SVM classifies the reconstruction and feature matching
errors of anomalous images, and of benign images that phase II was not trained on. Platt scaling
(1999) turns its margin into a probability. The SVM is stored as a sum of kernels, also if it was
fitted with the Nyström approximation.
"""

from __future__ import annotations

import logging
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
from bagscan.contracts import OddsScorer
from bagscan.core.errors import ConfigError
from bagscan.scorers.fitted import Fitted, draw_rows, fitted_once, held_out, scale_of

log = logging.getLogger(__name__)

CARD = {
    "paper": "Dumagpi, Jung & Jeong 2020, phase III",
    "channels": "any",
    "weights": "fitted by the user; not bundled",
    "limits": "kinds of region with similar errors cannot be distinguished",
}
FEW_ROWS = 50  # with fewer rows for phase II, a warning is printed
SHARE_OF_ERRORS = 0.5  # share of benign rows kept for the SVM, not used in phase II


@dataclass(frozen=True)
class Config:
    """Settings of the SVM.

    Attributes:
        dim: length of a region's description.
        errors: settings of the fitted scorer whose errors are classified, ``{name: bigan, ...}``.
        cost: regularisation parameter C.
        whole_up_to: maximum number of rows for an exact SVM; more rows use the Nyström
            approximation.
        centres: number of centres of the approximation.
        max_rows: maximum number of rows of each label; a random sample is used of more.
    """

    dim: int = 192
    errors: dict[str, Any] = field(default_factory=lambda: {"name": "bigan"})
    cost: float = 1.0
    whole_up_to: int = 4000
    centres: int = 200
    max_rows: int = 50_000


class SVM(Fitted, OddsScorer):
    """Scorer with a kernel machine on log errors. See :class:`Config`.

    Raises:
        ConfigError: if the scorer of the errors is not a fitted scorer.
    """

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
                f"scorer.errors: {config.errors.get('name')!r} is not a subclass of "
                "bagscan.scorers.fitted.Fitted; expected one, such as bigan"
            )
        self.inner, columns = inner, inner.n_errors
        self.config = config
        self.register_buffer("centre", torch.zeros(1, columns))
        self.register_buffer("weight", torch.ones(1))
        self.register_buffer("offset", torch.zeros(()))
        self.register_buffer("gamma", torch.ones(()))
        self.register_buffer("error_mean", torch.zeros(columns))
        self.register_buffer("error_deviation", torch.ones(columns))
        self.register_buffer("platt", torch.tensor([1.0, 0.0]))

    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0) -> None:
        """Fit the inner scorer and the SVM.

        Args:
            benign: (n, dim) rows; one half fits the inner scorer, the other half the SVM.
            anomalous: (m, dim) rows for the SVM.
            seed: random seed.

        Raises:
            ValueError: if there are too few rows of either label.
        """
        config = self.config
        if len(anomalous) < 2:
            raise ValueError(
                f"phase III needs at least 2 anomalous descriptions, got {len(anomalous)}"
            )
        for_inner, for_errors = held_out(benign, seed, SHARE_OF_ERRORS)
        if len(for_inner) < FEW_ROWS:
            log.info(
                f"svm: the scorer of errors is fitted to {len(for_inner)} rows, too few for "
                "reliable errors"
            )
        fitted_once(self.inner, config.errors, for_inner, anomalous, seed, self.keep_in)
        with torch.no_grad():
            logs = [
                self._log_errors(draw_rows(rows, config.max_rows, seed))
                for rows in (for_errors, anomalous)
            ]
        self.error_mean, self.error_deviation = scale_of(torch.cat(logs))
        x = ((torch.cat(logs) - self.error_mean) / self.error_deviation).double().numpy()
        y = np.repeat([0, 1], [len(rows) for rows in logs])
        gamma = 1 / max(x.shape[1] * float(x.var()), 1e-9)
        self.gamma = torch.tensor(gamma, dtype=torch.float32)
        if len(x) <= config.whole_up_to:
            machine = self._fit_exact(x, y, gamma)
        else:
            machine = self._fit_approximate(x, y, gamma, seed)
        n_folds = min(5, int(np.bincount(y).min()))
        margins = cross_val_predict(machine, x, y, cv=n_folds, method="decision_function")
        platt = LogisticRegression(C=1e3, class_weight="balanced").fit(margins[:, None], y)
        self.platt = torch.tensor([float(platt.coef_[0, 0]), float(platt.intercept_[0])])
        log.info(
            f"svm: {len(logs[0])} benign and {len(logs[1])} anomalous rows, "
            f"{len(self.centre)} centres"
        )
        self.standardise(for_errors)

    def _fit_exact(self, x: np.ndarray, y: np.ndarray, gamma: float) -> Any:
        machine = SVC(C=self.config.cost, gamma=gamma, class_weight="balanced")
        fitted = machine.fit(x, y)
        self._store(fitted.support_vectors_, fitted.dual_coef_[0], float(fitted.intercept_[0]))
        return machine

    def _fit_approximate(self, x: np.ndarray, y: np.ndarray, gamma: float, seed: int) -> Any:
        from sklearn.pipeline import make_pipeline

        machine = make_pipeline(
            Nystroem(gamma=gamma, n_components=min(self.config.centres, len(x)), random_state=seed),
            LinearSVC(C=self.config.cost, class_weight="balanced", dual=False),
        )
        nystroem, linear = (step for _, step in machine.fit(x, y).steps)
        # w . (N k(x, centres)) is a sum of kernels again.
        self._store(
            nystroem.components_,
            nystroem.normalization_.T @ linear.coef_[0],
            float(linear.intercept_[0]),
        )
        return machine

    def _store(self, centres: np.ndarray, weights: np.ndarray, offset: float) -> None:
        self.centre, self.weight, self.offset = (
            torch.tensor(v, dtype=torch.float32) for v in (centres, weights, offset)
        )

    def _log_errors(self, embeddings: Tensor) -> Tensor:
        return self.inner.errors(embeddings).clamp(min=0).log1p()

    def margin(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) margins of (n, dim) descriptions, above 0 on the anomalous side."""
        x = (self._log_errors(embeddings) - self.error_mean) / self.error_deviation
        kernels = torch.exp(-self.gamma * torch.cdist(x, self.centre).square())
        return kernels @ self.weight + self.offset

    def log_odds(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) log-odds of an anomaly for equal prior probabilities."""
        return self.platt[0] * self.margin(embeddings) + self.platt[1]

    def strangeness(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) log-odds; log(1 + odds) of odds near 0 would not vary."""
        return self.log_odds(embeddings)

    def probability(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) probabilities of an anomaly for equal prior probabilities."""
        return torch.sigmoid(self.log_odds(embeddings))

    def distance(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) odds of an anomaly, limited to exp(±15)."""
        return torch.exp(self.log_odds(embeddings).clamp(-15, 15))

    def score(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) probabilities, in [0, 1]."""
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
            "min_steps": 0,
        },
    )
