"""Kind ``one_class``: scorers fitted to descriptions of benign regions, with a trained model.

These are phases II and III of Dumagpi, Jung & Jeong (2020), for superpixels as well. The encoder
stays fixed, so each scan is described once. The run folder keeps the descriptions, and a scorer is
fitted to them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bagscan.contracts import ClassScorer, FittedScorer
from bagscan.core.errors import ConfigError, TrainingError
from bagscan.core.files import atomic_write
from bagscan.core.messages import attach_handler
from bagscan.datasets.config import DataConfig, load_or_make_split, load_records, part_records
from bagscan.datasets.record import Record
from bagscan.datasets.splits import Split
from bagscan.evaluation.metrics import auroc
from bagscan.evaluation.multi_label import UNKNOWN
from bagscan.model import Model
from bagscan.model_config import ModelConfig
from bagscan.scorers.fitted import keep_phases
from bagscan.training.compute import compute
from bagscan.training.experiment import Experiment, Scores
from bagscan.training.joint import as_bag, describe_each
from bagscan.training.multi_label import label_vector
from bagscan.training.resolved import save_resolved
from bagscan.training.samples import Sample, load_samples, subsample_evenly

log = logging.getLogger(__name__)

SEVERAL = "several"  # kind of a sample with objects of different classes


@dataclass(frozen=True)
class OneClassConfig:
    """Settings of the fit of a scorer.

    Attributes:
        rows_per_scan: largest number of benign regions drawn from a scan or item; all anomalous
            regions are used.
        leave_out: kinds of anomalies, or classes of objects, that are withheld from the scorer.
        validation_scans: largest number of scans or items for standardising and evaluating scores.
        seed: seed of draws and of the fit.
    """

    rows_per_scan: int = 40
    leave_out: tuple[str, ...] = ()
    validation_scans: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.rows_per_scan, self.validation_scans) < 1:
            raise ValueError("rows_per_scan and validation_scans must be at least 1")


@dataclass(frozen=True)
class Descriptions:
    """Descriptions of regions of many samples.

    Attributes:
        rows: (n, dim) float32, a row per region.
        truth: (n,) 1 anomalous, 0 benign, -1 neither.
        scan: (n,) number of the sample of each row.
        kinds: kind of each sample, from :func:`kind_of`.
    """

    rows: Tensor
    truth: np.ndarray
    scan: np.ndarray
    kinds: tuple[str, ...]

    def benign(self, max_per_scan: int, seed: int) -> Tensor:
        """Return (m, dim) benign rows, a random draw from each sample.

        Args:
            max_per_scan: largest number of rows per sample.
            seed: seed of the draw.
        """
        order = np.random.default_rng(seed).permutation(len(self.truth))
        rank = np.zeros(len(order), int)
        for number in np.unique(self.scan):
            benign = order[(self.scan[order] == number) & (self.truth[order] == 0)]
            rank[benign] = np.arange(len(benign))
        return self.rows[torch.from_numpy((self.truth == 0) & (rank < max_per_scan))]

    def anomalous(self, leave_out: Sequence[str] = ()) -> Tensor:
        """Return (m, dim) anomalous rows, without those of kinds to leave out.

        If any kind is left out, so are samples with several classes.
        """
        is_included = np.array(
            [kind not in leave_out and (kind != SEVERAL or not leave_out) for kind in self.kinds],
            bool,
        )
        return self.rows[torch.from_numpy((self.truth == 1) & is_included[self.scan])]


def kind_of(sample: Sample) -> str:
    """Return the kind of a simulated anomaly, or the class of the objects of a real scan.

    It is "" for benign samples, and ``several`` for objects of different classes.
    """
    if not sample.annotations:
        return ""
    labels = {a.label for a in sample.annotations}
    return sample.record.about.kind or (labels.pop() if len(labels) == 1 else SEVERAL)


def describe_samples(model: Model, samples: Sequence[Sample]) -> Descriptions:
    """Describe the foreground regions of samples."""
    classes = model.scorer.config.classes if isinstance(model.scorer, ClassScorer) else ()
    rows, truth, scan = [torch.zeros(0, model.encoder.dim)], [np.zeros(0, int)], [np.zeros(0, int)]
    for number, (sample, regions, embeddings) in enumerate(describe_each(model, samples)):
        if classes:
            region_truth = np.full(regions.n, _image_truth(sample, classes))
        else:
            region_truth = as_bag(sample, regions, np.zeros(regions.n, np.float32)).truth
        has_truth = region_truth >= 0
        rows.append(embeddings[torch.from_numpy(has_truth)])
        truth.append(region_truth[has_truth])
        scan.append(np.full(int(has_truth.sum()), number))
        if (number + 1) % 200 == 0:
            log.info(f"described {number + 1} of {len(samples)}")
    return Descriptions(
        torch.cat(rows),
        np.concatenate(truth),
        np.concatenate(scan),
        tuple(kind_of(s) for s in samples),
    )


def _image_truth(sample: Sample, classes: Sequence[str]) -> int:
    """Return 1 if a whole image holds any of the classes, 0 if it holds none, -1 if unknown."""
    labels = label_vector(sample.record.labels, classes)
    if (labels == 1).any():
        return 1
    return -1 if (labels == UNKNOWN).any() else 0


def save_descriptions(descriptions: Descriptions, path: Path) -> None:
    """Write descriptions as safetensors, atomically."""
    with atomic_write(path) as temporary:
        save_file(
            {
                "rows": descriptions.rows.contiguous(),
                "truth": torch.from_numpy(descriptions.truth),
                "scan": torch.from_numpy(descriptions.scan),
            },
            temporary,
            {"kinds": json.dumps(descriptions.kinds)},
        )


def load_descriptions(path: Path) -> Descriptions:
    """Load descriptions from a file of :func:`save_descriptions`."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        kinds = tuple(json.loads(file.metadata()["kinds"]))
    stored = load_file(path)
    return Descriptions(stored["rows"], stored["truth"].numpy(), stored["scan"].numpy(), kinds)


def start(experiment: OneClassExperiment) -> Model:
    """Build the describing model of an experiment with a new scorer.

    Raises:
        ConfigError: the scorer is not a fitted one, the encoder has no trained weights, or ``init``
            is not a model folder.
    """
    torch.manual_seed(experiment.seed)
    trained = Model.load(experiment.init) if experiment.init else None
    config = dataclasses.replace(
        trained.config if trained else experiment.model, scorer=experiment.scorer
    )
    model = Model(config)
    if not isinstance(model.scorer, FittedScorer):
        raise ConfigError(
            f"scorer {experiment.scorer.get('name')!r} is trained with its encoder, not fitted; "
            "use kind joint or multi_label"
        )
    if trained is None:
        if any(True for _ in model.encoder.parameters()):
            raise ConfigError("the encoder needs trained weights; set init to a model folder")
        return model.eval()
    model.regioner.load_state_dict(trained.regioner.state_dict())
    model.encoder.load_state_dict(trained.encoder.state_dict())
    if model.scorer.trained is not None:
        model.scorer.trained.load_state_dict(trained.scorer.state_dict())
    model.about["described by"] = trained.id
    return model.eval()


class _JsonMessage(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"message": record.getMessage()})


def fit(
    model: Model, train: Descriptions, val: Descriptions, config: OneClassConfig
) -> dict[str, float]:
    """Fit a model's scorer.

    Args:
        model: model with a fitted scorer.
        train: descriptions to fit to.
        val: descriptions to standardise and evaluate scores on.
        config: settings.

    Returns:
        ``auroc`` of validation regions; ``scan_auroc`` of scans by their worst region.

    Raises:
        TrainingError: there are too few descriptions.
    """
    assert isinstance(model.scorer, FittedScorer)
    benign = train.benign(config.rows_per_scan, config.seed)
    anomalous = train.anomalous(config.leave_out)
    log.info(f"fitting to {len(benign)} benign and {len(anomalous)} anomalous regions")
    try:
        model.scorer.fit(benign, anomalous, config.seed)
    except ValueError as error:
        raise TrainingError(str(error)) from error
    model.eval()
    if len(val_benign := val.benign(config.rows_per_scan, config.seed)) > 1:
        model.scorer.standardise(val_benign)
    scores = model.score(val.rows)
    scans = [k for k in range(len(val.kinds)) if (val.scan == k).any()]
    worst = np.array([scores[val.scan == k].max() for k in scans])
    is_anomalous = np.array([(val.truth[val.scan == k] == 1).any() for k in scans]).astype(int)
    return {"auroc": auroc(val.truth, scores), "scan_auroc": auroc(is_anomalous, worst)}


def experiment_id(model: Model, data: DataConfig, data_hash: str) -> str:
    """Return a hash of what descriptions depend on.

    It covers the describing model, the data, and how they are read and labelled.
    """
    classes = model.scorer.config.classes if isinstance(model.scorer, ClassScorer) else ()
    inputs = [
        model.about.get("described by"),
        dataclasses.asdict(model.config) | {"scorer": classes},
        dataclasses.asdict(data),
        data_hash,
    ]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class OneClassExperiment(Experiment):
    """Fit of a scorer on top of a trained model.

    Attributes:
        data: see :class:`DataConfig`.
        scorer: name and settings, ``{name: bigan, ...}``; a trained scorer inside it (``known``)
            gets the weights of the model's scorer.
        init: model folder, whose regioner and encoder describe the scans.
        model: replaces ``init`` for encoders without weights (``pixels``); its scorer is ignored.
        training: see :class:`OneClassConfig`.
    """

    kind = "one_class"
    figures = (
        "auroc ranks regions of the validation split, "
        "scan_auroc its scans by their most suspicious region."
    )
    data: DataConfig
    scorer: dict[str, Any]
    init: str | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    training: OneClassConfig = field(default_factory=OneClassConfig)

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.training.seed

    def learn(self, out: Path) -> Scores:
        """Describe, fit and save; existing descriptions are reused."""
        if compute().count > 1:
            raise ConfigError("kind one_class runs in a single process; start it without torchrun")
        model = start(self)
        records = load_records(self.data)
        split = load_or_make_split(self.data, records, out)
        save_resolved(dataclasses.replace(self, model=model.config), self.kind, out, split)
        train, val = (
            self._descriptions(
                part, model, part_records(self.data, records, split, part), split, out
            )
            for part in ("train", "val")
        )
        keep_phases(model.scorer, out / "phases")
        messages = logging.FileHandler(out / "log.jsonl", "w")
        messages.setFormatter(_JsonMessage())
        with attach_handler(messages):
            best = fit(model, train, val, self.training)
        model.about |= {
            "training data": split.data_hash,
            "validation": {k: round(v, 4) for k, v in best.items()},
        }
        if self.training.leave_out:
            model.about["not shown to the fitted scorer"] = ", ".join(self.training.leave_out)
        model.save(out / self.written)
        return best

    def _descriptions(
        self,
        part: str,
        model: Model,
        records: Sequence[Record],
        split: Split,
        out: Path,
    ) -> Descriptions:
        limit = self.training.validation_scans if part == "val" else 0
        name = f"descriptions_{part}_{experiment_id(model, self.data, split.data_hash)}"
        path = out / f"{name}{f'_{limit}' if limit else ''}.safetensors"
        if not path.exists():
            samples = load_samples(records, model.config.input, split.sha256)
            if limit:
                samples = subsample_evenly(samples, limit)
            save_descriptions(describe_samples(model, samples), path)
        return load_descriptions(path)
