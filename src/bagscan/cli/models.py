"""Train, calibrate and evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bagscan.cli.terminal import (
    AsJson,
    Config,
    Device,
    ModelFolder,
    Preset,
    Settings,
    compute_on,
    configuration,
    say,
    show,
)


def train(
    config: Config = None,
    preset: Preset = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; default runs/<config name>.")
    ] = None,
    device: Device = "auto",
    settings: Settings = [],  # noqa: B006 (typer reads the default, nothing changes it)
    as_json: AsJson = False,
) -> None:
    """Train the system of a configuration; the same line resumes it after a kill."""
    compute_on(device)
    from bagscan.evaluation.meaning import no_better
    from bagscan.training.compute import compute
    from bagscan.training.experiment import read_experiment
    from bagscan.training.experiment import train as train_experiment

    config = configuration(config, preset)
    experiment = read_experiment(config, settings)
    out = out or Path("runs") / config.stem
    best, written = train_experiment(experiment, out, say), out / experiment.written
    if not compute().writes:  # one of several processes tells for all
        return
    for warning in no_better("validation", best.get("item_auroc", best.get("auroc")), None, ""):
        say(f"warning: {warning}: train longer before using it")
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
        float, typer.Option(help="Largest false-positive rate per benign segment or scan.")
    ] = 0.05,
    level: Annotated[
        str,
        typer.Option(
            help="What is counted: segment, or scan (split conformal, on the scans that the best step was chosen on too)."
        ),
    ] = "segment",
    settings: Settings = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Choose the operating point on the validation split and store it beside the weights."""
    from dataclasses import asdict

    from bagscan.evaluation.meaning import of_operating_point
    from bagscan.training.detector_experiment import calibrate_detector
    from bagscan.training.evaluate import calibrate_model
    from bagscan.training.experiment import SimulatedExperiment, read_experiment

    config = configuration(config, preset)
    experiment = read_experiment(config, settings)
    if isinstance(experiment, SimulatedExperiment):
        judged: Any = calibrate_detector(experiment.sets, model, max_fpr, say)
        level = "scan"
    else:
        judged = calibrate_model(_judged(experiment, config), model, max_fpr, say, level)
    assert judged.operating_point
    point = asdict(judged.operating_point)
    show(
        {"model": str(model), "model_id": judged.id, "operating_point": point},
        as_json,
        lambda: f"{of_operating_point(point, level)} Stored in {model}.",
    )


def evaluate(
    model: ModelFolder,
    config: Config = None,
    preset: Preset = None,
    part: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    out: Annotated[
        Path | None, typer.Option(help="Result file; default results.json beside the model folder.")
    ] = None,
    regioner: Annotated[
        str | None,
        typer.Option(
            help="Judge other regions than the model's own, for example '{name: grid, cell_px: 32}'."
        ),
    ] = None,
    everywhere: Annotated[
        bool,
        typer.Option(
            "--everywhere",
            help="Judge the whole view, where the model would look on the items that it finds.",
        ),
    ] = False,
    as_screened: Annotated[
        bool,
        typer.Option(
            "--as-screened",
            help="Whole views, as screening sees them, where the configuration's data is by items.",
        ),
    ] = False,
    settings: Settings = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Score a model per segment, object and scan, with intervals and the controls beside them."""
    from bagscan.config import parse_mapping
    from bagscan.core.files import atomic_write_text
    from bagscan.evaluation.meaning import of_detector, of_levels
    from bagscan.training.detection import DetectionExperiment
    from bagscan.training.detector_experiment import detector_summary, evaluate_detector
    from bagscan.training.evaluate import (
        detection_summary,
        evaluate_detection,
        evaluate_model,
        summary,
    )
    from bagscan.training.experiment import SimulatedExperiment, read_experiment

    config = configuration(config, preset)
    given = read_experiment(config, settings)
    place = (
        out or (model if isinstance(given, DetectionExperiment) else model.parent) / "results.json"
    )
    if isinstance(given, DetectionExperiment):
        result = evaluate_detection(given, model, part, place, say)
        say(f"written to {place}")
        show(result, as_json, lambda: detection_summary(result))
        return
    if isinstance(given, SimulatedExperiment):
        found = evaluate_detector(given.sets, model, part, say)
        atomic_write_text(place, json.dumps(found, indent=1))
        say(f"written to {place}")
        _show_with_meaning(found, as_json, detector_summary(found), of_detector(found["all"]))
        return
    experiment = _judged(given, config)
    other = parse_mapping(regioner, "--regioner") if regioner else None
    record = evaluate_model(experiment, model, part, place, say, other, everywhere, as_screened)
    say(f"written to {place}")
    _show_with_meaning(record, as_json, summary(record), of_levels(record["results"]))


def _show_with_meaning(
    record: dict[str, Any], as_json: bool, table: str, meaning: tuple[str, list[str]]
) -> None:
    sentence, warnings = meaning
    for warning in warnings:
        say(f"warning: {warning}")
    show(record, as_json, lambda: f"{table}\n\n{sentence}")


def _judged(experiment: Any, config: Path) -> Any:
    from bagscan.core.errors import ConfigError
    from bagscan.training.evaluate import Judgeable

    if not isinstance(experiment, Judgeable):
        raise ConfigError(
            f"{config}: this command needs a configuration of kind joint, multi_label, one_class or detector"
        )
    return experiment
