"""``bagscan data``: check and convert datasets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bagscan.cli.terminal import (
    EXIT_BAD_ITEMS,
    EXIT_USAGE,
    AsJson,
    Config,
    Preset,
    Settings,
    check_folders,
    configuration,
    show,
)

if TYPE_CHECKING:
    from bagscan.datasets.record import Collection

GROUPS = ("devices", "scanners")


def data_check(
    config: Config = None,
    preset: Preset = None,
    read: Annotated[
        bool, typer.Option(help="Also read the pixels of every scan, not only its annotations.")
    ] = False,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder for a picture of each dataset: 16 scans with their boxes."),
    ] = None,
    settings: Settings = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Count the scans and annotations of datasets, and list problems.

    The datasets are those of a configuration. The exit code is 2 if a dataset is missing, and 3 if
    a scan or an annotation cannot be read.
    """
    from bagscan.core.errors import DataError, ReadError
    from bagscan.datasets.config import read_data

    config = configuration(config, preset)
    if pictures is not None:
        check_folders({"--pictures": pictures}, {"--pictures"})
    data = read_data(config, settings)
    try:  # torch is optional here: without it, only the data section is checked
        from bagscan.training.experiment import read_experiment
    except ModuleNotFoundError:
        pass
    else:
        read_experiment(config, settings)
    datasets: list[dict[str, Any]] = []
    missing: list[str] = []
    for source in data.sources:
        try:
            collection = source.load()
        except (DataError, ReadError) as error:  # go on with the other datasets
            missing.append(str(error))
            continue
        # All scans of a simulated dataset have one scanner, so their devices are counted instead.
        groups = "devices" if source.format == "simulated" else "scanners"
        datasets.append(_summarise(collection, groups, read))
        if pictures is not None:
            datasets[-1]["picture"] = _draw(collection, pictures / f"{len(datasets)}.png")
    show({"datasets": datasets, "lacking": missing}, as_json, lambda: _text(datasets, missing))
    if missing:
        raise typer.Exit(EXIT_USAGE)
    if any(dataset["bad"] for dataset in datasets):
        raise typer.Exit(EXIT_BAD_ITEMS)


def _draw(collection: Collection, path: Path) -> str:
    from bagscan.reporting.annotation_sheet import write_annotation_sheet

    path.parent.mkdir(parents=True, exist_ok=True)
    count = write_annotation_sheet(collection, path)
    return f"{path} ({count} scans)"


def _summarise(collection: Collection, groups: str, read: bool) -> dict[str, Any]:
    from bagscan.core.errors import ReadError
    from bagscan.datasets.record import check_annotations
    from bagscan.formats import read_scan

    bad = dict(collection.bad)
    if read:
        for record in collection.records:
            try:
                check_annotations(record, *read_scan(record.path).views[0].shape)
            except ReadError as error:
                bad[record.id] = str(error)
    objects = Counter(a.label for record in collection.records for a in record.annotations)
    return {
        "name": collection.name,
        "scans": len(collection.records),
        "absent": len(collection.absent),
        "objects": dict(objects),
        groups: dict(Counter(record.origin for record in collection.records)),
        "notes": list(collection.notes),
        "bad": bad,
    }


def _text(datasets: list[dict[str, Any]], missing: list[str]) -> str:
    lines = []
    for dataset in datasets:
        counts = f"{dataset['scans']} scans, {dataset['absent']} absent, {len(dataset['bad'])} bad"
        lines.append(f"{dataset['name']}: {counts}")
        lines += [f"  {note}" for note in dataset["notes"]]
        if "picture" in dataset:
            lines.append(f"  picture: {dataset['picture']}")
        for key in ("objects", *GROUPS):
            if key in dataset:
                found = ", ".join(f"{name} {n}" for name, n in sorted(dataset[key].items()))
                lines.append(f"  {key}: {found}")
        lines += [f"  bad: {name}: {reason}" for name, reason in dataset["bad"].items()]
    lines += [f"missing: {reason}" for reason in missing]
    return "\n".join(lines)


def data_convert(
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    config: Config = None,
    preset: Preset = None,
    to: Annotated[str, typer.Option(help="Format to write: coco, voc or yolo.")] = "coco",
    settings: Settings = [],  # noqa: B006
) -> None:
    """Convert datasets to COCO, VOC or YOLO.

    The datasets of the configuration are written to one folder. The exit code is 3 if a scan
    cannot be converted.
    """
    from bagscan.datasets.config import load_records, read_data, use_whole_views
    from bagscan.datasets.convert import convert

    bad: dict[str, str] = {}
    data = use_whole_views(read_data(configuration(config, preset), settings))
    records = load_records(data, bad)
    images = convert(records, to, out)
    for name, reason in bad.items():
        typer.echo(f"left out: {name}: {reason}")
    n_annotations = sum(len(image.annotations) for image in images)
    typer.echo(f"{len(images)} images with {n_annotations} annotations written to {out}")
    if bad:
        raise typer.Exit(EXIT_BAD_ITEMS)
