"""Look at data sets before using them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bagscan.cli.terminal import (
    EXIT_BAD_ITEMS,
    EXIT_USAGE,
    AsJson,
    Config,
    Preset,
    Settings,
    configuration,
    show,
)


def data_check(
    config: Config = None,
    preset: Preset = None,
    read: Annotated[
        bool, typer.Option(help="Read every scan as well, not its annotations alone.")
    ] = False,
    settings: Settings = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Say what a configuration's datasets hold, what is absent, and what cannot be read."""
    from collections import Counter

    from bagscan.core.errors import DataError, ReadError
    from bagscan.datasets.config import read_data
    from bagscan.formats import read_scan

    config = configuration(config, preset)
    data = read_data(config, settings)
    try:  # where torch is, what trains on them can be checked too
        from bagscan.training.experiment import read_experiment
    except ModuleNotFoundError:
        pass
    else:
        read_experiment(config, settings)
    found: list[dict[str, Any]] = []
    lacking: list[str] = []
    bad_items = 0
    for source in data.sources:
        try:
            collection = source.load()
        except (
            DataError,
            ReadError,
        ) as error:  # of several sets, one that is not there hides none of the others
            lacking.append(str(error))
            continue
        bad = dict(collection.bad)
        if read:
            for record in collection.records:
                try:
                    read_scan(record.path)
                except ReadError as error:
                    bad[record.id] = str(error)
        bad_items += len(bad)
        objects = Counter(a.label for r in collection.records for a in r.annotations)
        # Of a simulated set one scanner made all: its devices tell more.
        groups = "devices" if source.format == "simulated" else "scanners"
        found.append(
            {
                "name": collection.name,
                "scans": len(collection.records),
                "absent": len(collection.absent),
                "objects": dict(objects),
                groups: dict(Counter(r.origin for r in collection.records)),
                "notes": list(collection.notes),
                "bad": bad,
            }
        )

    def text() -> str:
        blocks = []
        for one in found:
            blocks.append(
                f"{one['name']}: {one['scans']} scans, {one['absent']} absent, {len(one['bad'])} bad"
            )
            blocks += [f"  {note}" for note in one["notes"]]
            blocks.append(
                "  objects: " + ", ".join(f"{k} {v}" for k, v in sorted(one["objects"].items()))
            )
            blocks += [
                f"  {groups}: " + ", ".join(f"{k} {v}" for k, v in sorted(one[groups].items()))
                for groups in ("devices", "scanners")
                if groups in one
            ]
            blocks += [f"  bad: {name}: {reason}" for name, reason in one["bad"].items()]
        blocks += [f"lacking: {reason}" for reason in lacking]
        return "\n".join(blocks)

    show({"datasets": found, "lacking": lacking}, as_json, text)
    if lacking:
        raise typer.Exit(EXIT_USAGE)
    if bad_items:
        raise typer.Exit(EXIT_BAD_ITEMS)


def data_convert(
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    config: Config = None,
    preset: Preset = None,
    to: Annotated[str, typer.Option(help="coco, voc or yolo.")] = "coco",
    settings: Settings = [],  # noqa: B006
) -> None:
    """Write a configuration's datasets as one folder of COCO, VOC or YOLO."""
    from bagscan.datasets.config import by_whole_views, load_records, read_data
    from bagscan.datasets.convert import convert

    bad: dict[str, str] = {}
    images = convert(
        load_records(
            by_whole_views(read_data(configuration(config, preset), settings)), typer.echo, bad
        ),
        to,
        out,
        typer.echo,
    )
    for name, reason in bad.items():
        typer.echo(f"left out: {name}: {reason}")
    typer.echo(
        f"{len(images)} images with {sum(len(image.annotations) for image in images)} annotations written to {out}"
    )
    if bad:
        raise typer.Exit(EXIT_BAD_ITEMS)
