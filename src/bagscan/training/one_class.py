"""Scorers fitted to what is benign, on the descriptions of a model that is trained already (report B, phases II and III; ours by superpixel).

The encoder stands still, so every scan is described once; the descriptions are kept in the run
folder, and a scorer is fitted to them in seconds or minutes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
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
from bagscan.datasets.config import DataConfig, load_records, obtain_split, part_records
from bagscan.datasets.record import Record
from bagscan.datasets.splits import Split
from bagscan.evaluation.metrics import auroc
from bagscan.evaluation.multi_label import UNKNOWN
from bagscan.model import Model
from bagscan.model_config import ModelConfig
from bagscan.scorers.fitted import keep_phases
from bagscan.training.compute import compute
from bagscan.training.experiment import Experiment, Report, Scores
from bagscan.training.joint import as_bag, described
from bagscan.training.multi_label import label_vector
from bagscan.training.resolved import save_resolved
from bagscan.training.samples import Sample, load_samples, subsample_evenly

SEVERAL = "several"


@dataclass(frozen=True)
class OneClassConfig:
    """What a scorer is fitted to.

    Attributes:
        rows_a_scan: benign regions of a scan, or of an item, drawn at most; anomalous ones are all taken.
        leave_out: kinds of anomaly, or classes of objects, that the scorer is not shown. validation_scans: scans, or items,
            that scores are brought to a common scale on, and judged on, at most.
        seed: of draws and of the fit.
    """

    rows_a_scan: int = 40
    leave_out: tuple[str, ...] = ()
    validation_scans: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.rows_a_scan, self.validation_scans) < 1:
            raise ValueError("rows_a_scan and validation_scans must be at least 1")


@dataclass(frozen=True)
class Descriptions:
    """Regions of many scans as vectors.

    Attributes:
        rows: (n, dim). truth: (n,) 1 anomalous, 0 benign, -1 neither. scan: (n,) number of the sample.
        kinds: of every sample, from :func:`kind_of`.
    """

    rows: Tensor
    truth: np.ndarray
    scan: np.ndarray
    kinds: tuple[str, ...]

    def benign(self, most_a_scan: int, seed: int) -> Tensor:
        """(m, dim) benign rows of samples without an anomaly and of the rest of those with one, at most so many a sample."""
        order = np.random.default_rng(seed).permutation(len(self.truth))
        rank = np.zeros(len(order), int)
        for number in np.unique(
            self.scan
        ):  # rank of a row among its sample's benign ones, in a random order
            own = order[(self.scan[order] == number) & (self.truth[order] == 0)]
            rank[own] = np.arange(len(own))
        return self.rows[torch.from_numpy((self.truth == 0) & (rank < most_a_scan))]

    def anomalous(self, leave_out: Sequence[str] = ()) -> Tensor:
        """(m, dim) anomalous rows, without those of some kinds; where some are left out, samples of several are, too."""
        wanted = np.array(
            [kind not in leave_out and (kind != SEVERAL or not leave_out) for kind in self.kinds],
            bool,
        )
        return self.rows[torch.from_numpy((self.truth == 1) & wanted[self.scan])]


def kind_of(sample: Sample) -> str:
    """Kind of a simulated anomaly, or class of a real scan's objects; "" for benign ones, ``several`` where classes differ."""
    if not sample.annotations:
        return ""
    labels = {a.label for a in sample.annotations}
    return sample.record.about.kind or (labels.pop() if len(labels) == 1 else SEVERAL)


def describe_samples(
    model: Model, samples: Sequence[Sample], report: Report = print
) -> Descriptions:
    """Describe the foreground regions of samples."""
    classes = model.scorer.config.classes if isinstance(model.scorer, ClassScorer) else ()
    rows, truth, scan = [torch.zeros(0, model.encoder.dim)], [np.zeros(0, int)], [np.zeros(0, int)]
    for number, (sample, regions, embeddings) in enumerate(described(model, samples)):
        if classes:  # of a whole scan: what its labels say of the scorer's own classes
            labels = label_vector(sample.record.labels, classes)
            own = np.full(
                regions.n, 1 if (labels == 1).any() else -1 if (labels == UNKNOWN).any() else 0
            )
        else:
            own = as_bag(sample, regions, np.zeros(regions.n, np.float32)).truth
        kept = own >= 0
        rows.append(embeddings[torch.from_numpy(kept)])
        truth.append(own[kept])
        scan.append(np.full(int(kept.sum()), number))
        if (number + 1) % 200 == 0:
            report(f"described {number + 1} of {len(samples)}")
    return Descriptions(
        torch.cat(rows),
        np.concatenate(truth),
        np.concatenate(scan),
        tuple(kind_of(s) for s in samples),
    )


def save_descriptions(found: Descriptions, path: Path) -> None:
    """As safetensors; whole or not at all."""
    with atomic_write(path) as part:
        save_file(
            {
                "rows": found.rows.contiguous(),
                "truth": torch.from_numpy(found.truth),
                "scan": torch.from_numpy(found.scan),
            },
            part,
            {"kinds": json.dumps(found.kinds)},
        )


def load_descriptions(path: Path) -> Descriptions:
    """What :func:`save_descriptions` wrote."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        kinds = tuple(json.loads(file.metadata()["kinds"]))
    stored = load_file(path)
    return Descriptions(stored["rows"], stored["truth"].numpy(), stored["scan"].numpy(), kinds)


def start(experiment: OneClassExperiment) -> Model:
    """The model that describes, with a new scorer.

    Raises:
        ConfigError: its scorer is one that is trained, not fitted; or ``init`` is not a model.
    """
    torch.manual_seed(experiment.seed)
    trained = Model.load(experiment.init) if experiment.init else None
    config = dataclasses.replace(
        trained.config if trained else experiment.model, scorer=experiment.scorer
    )
    model = Model(config)
    if not isinstance(model.scorer, FittedScorer):
        raise ConfigError(
            f"scorer {experiment.scorer.get('name')!r} is trained with its encoder, not fitted: use kind joint or multi_label"
        )
    if trained is None:
        if any(True for _ in model.encoder.parameters()):
            raise ConfigError(
                "the encoder has weights to be trained first: set init to a model folder"
            )
        return model.eval()
    model.regioner.load_state_dict(trained.regioner.state_dict())
    model.encoder.load_state_dict(trained.encoder.state_dict())
    if model.scorer.trained is not None:
        model.scorer.trained.load_state_dict(trained.scorer.state_dict())
    model.about["described by"] = trained.id
    return model.eval()


def fit(
    model: Model,
    train: Descriptions,
    val: Descriptions,
    config: OneClassConfig,
    report: Report = print,
) -> dict[str, float]:
    """Fit a model's scorer; AUROC of validation regions, and of scans by their worst region.

    Raises:
        TrainingError: too few descriptions.
    """
    assert isinstance(model.scorer, FittedScorer)  # start() has looked
    benign, anomalous = (
        train.benign(config.rows_a_scan, config.seed),
        train.anomalous(config.leave_out),
    )
    report(f"fitting to {len(benign)} benign and {len(anomalous)} anomalous regions")
    try:
        model.scorer.fit(benign, anomalous, config.seed, report)
    except ValueError as error:
        raise TrainingError(str(error)) from error
    model.eval()
    if len(rest := val.benign(config.rows_a_scan, config.seed)) > 1:
        model.scorer.standardise(rest)
    scores = model.score(val.rows)
    there = [k for k in range(len(val.kinds)) if (val.scan == k).any()]
    worst = np.array([scores[val.scan == k].max() for k in there])
    anomalous_scan = np.array([(val.truth[val.scan == k] == 1).any() for k in there]).astype(int)
    return {"auroc": auroc(val.truth, scores), "scan_auroc": auroc(anomalous_scan, worst)}


def experiment_id(model: Model, data: DataConfig, data_hash: str) -> str:
    """Of what the descriptions depend on: the describing model, the data, and how they are read and labelled."""
    classes = model.scorer.config.classes if isinstance(model.scorer, ClassScorer) else ()
    result = [
        model.about.get("described by"),
        dataclasses.asdict(model.config) | {"scorer": classes},
        dataclasses.asdict(data),
        data_hash,
    ]
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class OneClassExperiment(Experiment):
    """A fitted scorer on a trained model.

    Attributes:
        data: see :class:`DataConfig`. scorer: ``{name: bigan, ...}``; a trained scorer inside it (``known``) takes the
            weights of the model's own. init: model folder whose regioner and encoder describe. model: in
            its place, where the encoder needs no training (``pixels``); its scorer is not looked at.
        training: see :class:`OneClassConfig`. threads: of torch; 0 for this process's share of the cores.
    """

    kind = "one_class"
    figures = "auroc ranks regions of the validation part, scan_auroc its scans by their most suspicious region."
    data: DataConfig
    scorer: dict[str, Any]
    init: str | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    training: OneClassConfig = field(default_factory=OneClassConfig)

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.training.seed

    def learn(self, out: Path, report: Report) -> Scores:
        """Describe, fit, keep; descriptions that are there are not made again."""
        if compute().count > 1:
            raise ConfigError("kind one_class fits in one process: start it without torchrun")
        model = start(self)
        records = load_records(self.data, report)
        split = obtain_split(self.data, records, out, report)
        save_resolved(dataclasses.replace(self, model=model.config), self.kind, out, split)
        train, val = (
            self._descriptions(
                part, model, part_records(self.data, records, split, part), split, out, report
            )
            for part in ("train", "val")
        )
        with (out / "log.jsonl").open("w") as log:

            def tell(text: str) -> None:
                report(text)
                log.write(json.dumps({"told": text}) + "\n")

            keep_phases(model.scorer, out / "phases")
            best = fit(model, train, val, self.training, tell)
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
        report: Report,
    ) -> Descriptions:
        most = self.training.validation_scans if part == "val" else 0
        path = (
            out
            / f"descriptions_{part}_{experiment_id(model, self.data, split.data_hash)}{f'_{most}' if most else ''}.safetensors"
        )
        if not path.exists():
            samples = load_samples(records, model, report, split.sha256)
            save_descriptions(
                describe_samples(
                    model, subsample_evenly(samples, most) if most else samples, report
                ),
                path,
            )
        return load_descriptions(path)
