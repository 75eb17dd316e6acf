"""``bagscan train``, ``bagscan calibrate``, ``bagscan evaluate`` and ``bagscan adapt``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bagscan.cli.terminal import (
    AsJson,
    Config,
    Device,
    ModelFolder,
    Preset,
    Settings,
    check_folders,
    configuration,
    find_model,
    say,
    show,
)

if TYPE_CHECKING:
    from bagscan.training.adapt import Adaptation

# Options of calibrate for detectors.
Mirrored = Annotated[
    bool | None,
    typer.Option(
        help=(
            "Detectors: average over mirrored views, from now on. Raises fewer false alarms, "
            "and takes about three times as long. Default: as the model does."
        )
    ),
]
ItemSmoothing = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=10.0,
        help=(
            "Detectors of prohibited items: smooth their maps by this many cells of 8 px, "
            "from now on. On scanners that a model was not trained on, 2 ranks items better. "
            "Default: as the model does."
        ),
    ),
]
ItemsOnly = Annotated[
    bool,
    typer.Option(
        "--items-only",
        help="Detectors of prohibited items: only these alarm, and not anomalies in devices.",
    ),
]


def train(
    config: Config = None,
    preset: Preset = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run. Default: runs/NAME, NAME of the configuration."),
    ] = None,
    device: Device = "auto",
    settings: Settings = [],  # noqa: B006 (typer reads the default, nothing changes it)
    as_json: AsJson = False,
) -> None:
    """Train a model.

    What to train, and on which data, is set by a configuration file or a preset. If training is
    interrupted, run the same command again to resume.
    """
    from bagscan.evaluation.meaning import warn_no_better
    from bagscan.training.compute import compute
    from bagscan.training.experiment import read_experiment
    from bagscan.training.experiment import train as train_experiment

    config = configuration(config, preset)
    experiment = read_experiment(config, settings)
    out = out or Path("runs") / config.stem
    best, written = train_experiment(experiment, out, device), out / experiment.written
    if not compute().writes:  # only one of several processes reports
        return
    for warning in warn_no_better(
        "validation", best.get("item_auroc", best.get("auroc")), None, ""
    ):
        say(f"warning: {warning}; train longer before using the model")
    show(
        {"out": str(written), "best": best},
        as_json,
        lambda: (
            f"best model in {written}: "
            + ", ".join(f"{k} {v:.4f}" for k, v in best.items())
            + f"\n{experiment.figures}"
        ),
    )


def calibrate(
    model: ModelFolder,
    config: Config = None,
    preset: Preset = None,
    max_fpr: Annotated[
        float,
        typer.Option(
            help="Largest false-positive rate, per benign segment or per benign scan; see --level."
        ),
    ] = 0.05,
    level: Annotated[
        str,
        typer.Option(
            help="Unit that --max-fpr counts: segment, or scan (by split conformal prediction). "
            "Both use the validation scans, which also selected the best training step."
        ),
    ] = "segment",
    mirrored: Mirrored = None,
    item_smoothing: ItemSmoothing = None,
    items_only: ItemsOnly = False,
    settings: Settings = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Choose the operating point of a model.

    The operating point is the score from which a region is flagged. It is chosen on the validation
    split and stored in the model folder.
    """
    from dataclasses import asdict

    from bagscan.core.errors import ConfigError
    from bagscan.evaluation.meaning import describe_operating_point
    from bagscan.training.detector_experiment import calibrate_detector
    from bagscan.training.evaluate import calibrate_model
    from bagscan.training.experiment import SimulatedExperiment, read_experiment

    config = configuration(config, preset)
    experiment = read_experiment(config, settings)
    given = {"mirrored": mirrored, "item_smoothing": item_smoothing}
    options = {name: value for name, value in given.items() if value is not None}
    if isinstance(experiment, SimulatedExperiment):
        calibrated: Any = calibrate_detector(experiment.sets, model, max_fpr, items_only, **options)
        level = "scan"
    elif options or items_only:
        raise ConfigError("--mirrored, --item-smoothing and --items-only are for detectors only")
    else:
        calibrated = calibrate_model(_check_kind(experiment, config), model, max_fpr, level)
    assert calibrated.operating_point
    point = asdict(calibrated.operating_point)
    show(
        {"model": str(model), "model_id": calibrated.id, "operating_point": point},
        as_json,
        lambda: f"{describe_operating_point(point, level)} Stored in {model}.",
    )


def evaluate(
    model: ModelFolder,
    config: Config = None,
    preset: Preset = None,
    part: Annotated[str, typer.Option(help="Split to evaluate on: train, val or test.")] = "test",
    out: Annotated[
        Path | None,
        typer.Option(help="Result file (JSON). Default: results.json beside the model folder."),
    ] = None,
    regioner: Annotated[
        str | None,
        typer.Option(
            help=("Score the regions of another regioner, for example '{name: grid, cell_px: 32}'.")
        ),
    ] = None,
    everywhere: Annotated[
        bool,
        typer.Option(
            "--everywhere",
            help="Score regions of the whole view, not only those on devices that the model finds.",
        ),
    ] = False,
    as_screened: Annotated[
        bool,
        typer.Option(
            "--as-screened",
            help=(
                "Score whole views, as screening does, "
                "even if the data of the configuration are single devices."
            ),
        ),
    ] = False,
    settings: Settings = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Evaluate a model on a split, with confidence intervals.

    Most models are scored per segment, object and scan, beside baselines that know nothing of
    anomalies. Detection models are scored by COCO average precision.
    """
    from bagscan.config import parse_mapping
    from bagscan.core.files import atomic_write_text
    from bagscan.evaluation.meaning import of_detector, summarise_levels
    from bagscan.training.detection import DetectionExperiment
    from bagscan.training.detector_experiment import detector_summary, evaluate_detector
    from bagscan.training.evaluate import evaluate_detection, evaluate_model
    from bagscan.training.experiment import SimulatedExperiment, read_experiment
    from bagscan.training.summaries import detection_summary, summary

    config = configuration(config, preset)
    experiment = read_experiment(config, settings)
    beside = model if isinstance(experiment, DetectionExperiment) else model.parent
    path = out or beside / "results.json"
    if isinstance(experiment, DetectionExperiment):
        result = evaluate_detection(experiment, model, part, path)
        say(f"written to {path}")
        show(result, as_json, lambda: detection_summary(result))
        return
    if isinstance(experiment, SimulatedExperiment):
        figures = evaluate_detector(experiment.sets, model, part)
        atomic_write_text(path, json.dumps(figures, indent=1))
        say(f"written to {path}")
        meaning = of_detector(figures["all"])
        _show_with_meaning(figures, as_json, detector_summary(figures), meaning)
        return
    experiment = _check_kind(experiment, config)
    other = parse_mapping(regioner, "--regioner") if regioner else None
    record = evaluate_model(experiment, model, part, path, other, everywhere, as_screened)
    say(f"written to {path}")
    _show_with_meaning(record, as_json, summary(record), summarise_levels(record["results"]))


def _show_with_meaning(
    record: dict[str, Any], as_json: bool, table: str, meaning: tuple[str, list[str]]
) -> None:
    sentence, warnings = meaning
    for warning in warnings:
        say(f"warning: {warning}")
    show(record, as_json, lambda: f"{table}\n\n{sentence}")


def _check_kind(experiment: Any, config: Path) -> Any:
    from bagscan.core.errors import ConfigError
    from bagscan.training.evaluate import ModelExperiment

    if not isinstance(experiment, ModelExperiment):
        raise ConfigError(
            f"{config}: this kind of configuration is not supported by this command; "
            "expected kind joint, multi_label, one_class or detector"
        )
    return experiment


def adapt(
    model: Annotated[
        Path,
        typer.Argument(
            parser=find_model,
            metavar="MODEL",
            help="Model folder of a detector, or a bundled model: raw, prohibited, colour.",
        ),
    ],
    archive: Annotated[
        list[Path],
        typer.Argument(help="Scans of one scanner, or folders of them; labels are not needed."),
    ],
    out: Annotated[Path, typer.Option(help="Model folder to write.")] = Path("adapted"),
    benign: Annotated[
        list[Path],
        typer.Option(help="Scans without anomalies: the share that alarms must not rise."),
    ] = [],  # noqa: B006 (typer reads the default, nothing changes it)
    max_scans: Annotated[
        int, typer.Option(min=20, help="Largest number of scans to use, spread over the archive.")
    ] = 300,
    max_fpr: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help=(
                "Choose new thresholds, with which at most this share of the --benign scans "
                "alarms. If nothing else gets better, the thresholds alone change."
            ),
        ),
    ] = None,
    colours: Annotated[
        bool,
        typer.Option(
            "--map-colours/--keep-colours",
            help=(
                "Whether colours are mapped to those of training. This ranked better on four of "
                "six real scanners; with labelled scans of your own, compare both."
            ),
        ),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Adapt a detector to the scans of one scanner, without labels.

    Colours are mapped to those of training, and the statistics of the network's layers are
    estimated anew. A fifth of the scans checks the result. If nothing passes, nothing is written,
    and the exit code is 2. With --benign and --max-fpr, the thresholds are chosen for this
    scanner, too.
    """
    from dataclasses import asdict

    from bagscan.training.adapt import adapt as adapt_detector

    check_folders({"--out": out}, {"--out"})
    result = adapt_detector(model, archive, out, benign, max_scans, max_fpr, colours)
    show(
        {"out": str(out)} | asdict(result),
        as_json,
        lambda: f"adapted model in {out}: {_describe(result)}",
    )


def _describe(result: Adaptation) -> str:
    """Say what an adaptation changed."""
    changed = []
    if result.colours:
        changed.append("colours are mapped to those of training")
    if result.share or result.colours:
        changed.append(
            f"on {result.checked} other scans, its maps agree with those of changed copies to "
            f"{result.agreement:.3f} ({result.agreement_before:.3f} before)"
        )
    else:
        changed.append("the network is as before, since it got no better")
    if result.false_alarms is not None and result.false_alarms_before is not None:
        changed.append(
            f"{result.false_alarms:.1%} of the benign scans alarm "
            f"({result.false_alarms_before:.1%} before)"
        )
    return "; ".join(changed)
