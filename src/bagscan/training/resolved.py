"""The settings of a run, with every default filled in, beside what it writes."""

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
    """Write ``config.yaml`` with every default filled in, and the split that is trained on, wherever it was read from.

    Raises:
        ConfigError: a run was started there with other settings or on another split, so that going on would make a
            record of neither.
    """
    plain = json.loads(json.dumps({"kind": kind, **dataclasses.asdict(experiment)}))
    path = out / "config.yaml"
    if path.exists() and (out / "checkpoint.safetensors").exists():
        before, now = (_flat(tree) for tree in (yaml.safe_load(path.read_text()), plain))
        changed = [
            key
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key) and key not in MAY_CHANGE
        ]
        if changed:
            result = ", ".join(
                f"{key} was {before.get(key)!r}, now {now.get(key)!r}" for key in changed[:5]
            )
            raise ConfigError(
                f"{out} holds a run with other settings ({result}): use another --out, or delete it"
            )
    out.mkdir(parents=True, exist_ok=True)
    if split is not None:
        _keep_split(split, out)
    atomic_write_text(path, yaml.safe_dump(plain, sort_keys=False))


def _keep_split(split: Split, out: Path) -> None:
    own = out / "split.json"
    if own.exists() and read_split(own).data_hash == split.data_hash:
        return
    if own.exists() and (out / "checkpoint.safetensors").exists():
        raise ConfigError(
            f"{out} holds a run on another split, {own}, whose training scans may be in a test part of this one: use another --out, or delete it"
        )
    write_split(own, split)


def _flat(tree: Any, at: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` -> ``{"a.b": 1}``; lists by index."""
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else None
    )
    if items is None:
        return {at: tree}
    return {
        key: value
        for name, part in items
        for key, value in _flat(part, f"{at}.{name}" if at else str(name)).items()
    }
