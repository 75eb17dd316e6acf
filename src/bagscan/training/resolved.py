"""Resolved settings of a run, written to its run folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import yaml

from bagscan.core.errors import ConfigError
from bagscan.core.files import atomic_write_text
from bagscan.datasets.splits import Split, read_split, write_split

OF_LOOP = ("steps", "cooldown", "patience", "validate_every", "checkpoint_every")
MAY_CHANGE = ("threads", "pack_workers", "data.split", *(f"loop.{name}" for name in OF_LOOP))


def save_resolved(experiment: Any, kind: str, out: Path, split: Split | None = None) -> None:
    """Write ``config.yaml`` with all defaults, and the split that the run uses.

    Args:
        experiment: settings.
        kind: kind of the experiment.
        out: run folder.
        split: split of the data, if the kind has one; written to ``split.json``.

    Raises:
        ConfigError: ``out`` holds a run with other settings or another split.
    """
    plain = json.loads(json.dumps({"kind": kind, **dataclasses.asdict(experiment)}))
    path = out / "config.yaml"
    if path.exists() and (out / "checkpoint.safetensors").exists():
        before, now = (_flatten(tree) for tree in (yaml.safe_load(path.read_text()), plain))
        changed = [
            key
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key) and key not in MAY_CHANGE
        ]
        if changed:
            differences = ", ".join(
                f"{key} was {before.get(key)!r}, now {now.get(key)!r}" for key in changed[:5]
            )
            raise ConfigError(
                f"{out} holds a run with other settings ({differences}); "
                "use another --out, or delete it"
            )
    out.mkdir(parents=True, exist_ok=True)
    if split is not None:
        _save_split(split, out)
    atomic_write_text(path, yaml.safe_dump(plain, sort_keys=False))


def _save_split(split: Split, out: Path) -> None:
    path = out / "split.json"
    if path.exists() and read_split(path).data_hash == split.data_hash:
        return
    if path.exists() and (out / "checkpoint.safetensors").exists():
        raise ConfigError(
            f"{out} holds a run on another split, {path}, whose training scans may be in another "
            "part of this one; use another --out, or delete it"
        )
    write_split(path, split)


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested dicts and lists: ``{"a": {"b": [1]}}`` becomes ``{"a.b.0": 1}``."""
    items: list[tuple[Any, Any]]
    if isinstance(tree, dict):
        items = list(tree.items())
    elif isinstance(tree, list):
        items = list(enumerate(tree))
    else:
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for name, value in items:
        flat |= _flatten(value, f"{prefix}.{name}" if prefix else str(name))
    return flat
