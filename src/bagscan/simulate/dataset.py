"""Simulated datasets on disk.

A run resumes after a kill. The files are the same bytes for any number of workers. ::

    recipe.json                      settings of the dataset; a directory holds a single recipe
    raw/00000a_below.tif             low, high, zeff: 16 bits, air as in the profile
    colour/00000a_below.png          pseudo-colour
    detectability/00000a_below.tif   contrast to noise of the anomaly, in hundredths
    truth/00000a_below.json          COCO: objects, components, anomaly
    scans/00000.json                 record of a scene, written last: plan, seeds, hashes
    annotations_train.json ...       COCO of every part, merged
    dataset.json                     counts, strata, the trivial baseline
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from typing import Any

from threadpoolctl import threadpool_limits

from bagscan import __version__
from bagscan.config import fill, read_yaml
from bagscan.core.errors import ConfigError, DataError, nearest
from bagscan.core.files import atomic_write_text, refuse_file
from bagscan.formats.scans import RECIPE
from bagscan.imaging.scanner import load_profile, vary
from bagscan.simulate import PRESETS, preset_names
from bagscan.simulate.anomalies import AnomalyBuilder, build_anomaly, build_from_mesh
from bagscan.simulate.recipe import Recipe
from bagscan.simulate.render import render
from bagscan.simulate.scan_files import is_complete, record_path, write_scan
from bagscan.simulate.scene import build_scene, plan
from bagscan.simulate.stl import read_stl
from bagscan.simulate.summary import read_json, summarise

log = logging.getLogger(__name__)

FOLDERS = ("raw", "colour", "detectability", "truth", "scans")


@dataclass(frozen=True)
class Import:
    """A user's mesh that replaces every anomaly.

    Attributes:
        path: STL file, in mm.
        material: name of a material of the library.
    """

    path: str
    material: str = "stainless_steel"


@dataclass(frozen=True)
class Job:
    """The settings that a worker needs.

    Attributes:
        recipe: settings of the dataset.
        out: directory of the dataset.
        insert: a user's mesh that replaces every anomaly, or None.
    """

    recipe: Recipe
    out: Path
    insert: Import | None = None


# Makes the scenes of these numbers with that many workers; yields each number when it is done.
Spread = Callable[[Job, list[int], int], Iterator[int]]


def load_recipe(
    name: str | Path, count: int | None = None, seed: int | None = None, profile: str | None = None
) -> Recipe:
    """Load a bundled preset by name, or a recipe from a YAML file.

    Args:
        name: name of a preset, or path of a file that ends in ``.yaml`` or ``.yml``.
        count: replaces the recipe's number of scans.
        seed: replaces the recipe's seed.
        profile: replaces the recipe's scanner profile and its hash.

    Raises:
        ConfigError: unknown preset or key, value out of range, or a profile whose hash differs from
            the recipe's.
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else PRESETS / f"{name}.yaml"
    if not path.is_file():
        known = preset_names()
        raise ConfigError(
            f"unknown preset {str(name)!r}; use {', '.join(known)} or the path of a YAML file"
            f"{nearest(str(name), known)}"
        )
    data, lines = read_yaml(path)
    recipe: Recipe = fill(Recipe, data, str(path), lines)
    changes: dict[str, Any] = {k: v for k, v in (("count", count), ("seed", seed)) if v is not None}
    if profile is not None and profile != recipe.profile:
        changes |= {"profile": profile, "profile_sha256": None}
    try:
        recipe = dataclasses.replace(recipe, **changes)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    profile_hash = load_profile(recipe.profile).hash
    if recipe.profile_sha256 not in (None, profile_hash):
        raise ConfigError(
            f"{path}: profile_sha256 is {str(recipe.profile_sha256)[:12]}, but scanner profile "
            f"{recipe.profile} has the hash {profile_hash[:12]}, so the scans would differ; "
            "restore the profile, or remove profile_sha256"
        )
    return dataclasses.replace(recipe, profile_sha256=profile_hash)


def simulate(
    recipe: Recipe,
    out: Path,
    workers: int = 1,
    insert: Import | None = None,
    spread: Spread | None = None,
) -> dict[str, Any]:
    """Make a dataset, or the missing scenes of a dataset that was started before.

    Args:
        recipe: settings of the dataset.
        out: directory of the dataset, new or started with the same recipe.
        workers: number of worker processes.
        insert: a user's mesh that replaces every anomaly.
        spread: distributes the scenes over workers; :func:`make_all` by default.

    Returns:
        The content of ``dataset.json``.

    Raises:
        DataError: the directory holds another recipe or other files.
        ReadError: the mesh cannot be read.
    """
    if insert:
        _make_import(insert)  # fails early if the mesh cannot be read
    keep_recipe(recipe, out, insert)
    for folder in FOLDERS:
        (out / folder).mkdir(exist_ok=True)
    missing = [i for i in range(recipe.scenes) if not is_complete(out, i)]
    n_complete = recipe.scenes - len(missing)
    if n_complete:
        log.info(f"{n_complete} of {recipe.scenes} scenes exist already")
    job = Job(recipe, out.absolute(), insert)
    started, last_report = monotonic(), 0.0
    startup = 0.0  # the first scenes include the start of the workers and the kernels' compilation
    for done, _ in enumerate((spread or make_all)(job, missing, workers), 1):
        spent = monotonic() - started
        if done == workers:
            startup = spent
        if spent - last_report > 5 or done == len(missing):
            last_report = spent
            left = ""
            if workers < done < len(missing):
                seconds = (spent - startup) / (done - workers) * (len(missing) - done)
                left = f", {seconds:.0f} s left"
            log.info(f"{n_complete + done} of {recipe.scenes} scenes, {spent:.0f} s{left}")
    return summarise(recipe, out)


def keep_recipe(recipe: Recipe, out: Path, insert: Import | None) -> None:
    """Write ``recipe.json``, or check that the directory holds the same recipe.

    Only ``count`` can differ, and only grow. Another version of bagscan is reported as a warning.

    Raises:
        DataError: the directory holds another recipe or other files.
    """
    mesh = None
    if insert:
        digest = hashlib.sha256(Path(insert.path).read_bytes()).hexdigest()
        mesh = {"sha256": digest, "material": insert.material}
    content = {"bagscan": __version__, **_as_dict(recipe), "insert": mesh}
    path = out / RECIPE
    refuse_file(out)
    if path.exists():
        _check_same_recipe(read_json(path), content, recipe, out)
    elif out.exists() and any(out.iterdir()):
        raise DataError(
            f"{out}: is not empty and does not hold a simulated dataset; use another directory"
        )
    out.mkdir(parents=True, exist_ok=True)
    atomic_write_text(path, json.dumps(content, indent=1))


def _as_dict(recipe: Recipe) -> dict[str, Any]:
    """Return the fields of a recipe as they are read back from JSON."""
    fields: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(recipe)))
    return fields


def _check_same_recipe(
    saved: dict[str, Any], content: dict[str, Any], recipe: Recipe, out: Path
) -> None:
    if saved.get("bagscan") != __version__:
        log.warning(
            f"{out} was started with bagscan {saved.get('bagscan')}; "
            f"scans made with bagscan {__version__} can differ"
        )
    # A setting that an older version of bagscan did not have was at its default.
    default = _as_dict(Recipe(recipe.devices))
    differing = [
        k
        for k in content
        if k not in ("count", "bagscan") and saved.get(k, default.get(k)) != content[k]
    ]
    if differing:
        differences = ", ".join(
            k if k.endswith("sha256") else f"{k} was {saved.get(k)!r}, now {content[k]!r}"
            for k in differing[:3]
        )
        raise DataError(
            f"{out}: holds a dataset of another recipe ({differences}); use another directory"
        )
    if saved.get("count", 0) > recipe.count:
        raise DataError(
            f"{out}: holds a dataset of {saved['count']} scans; count can grow, but not shrink to "
            f"{recipe.count}; use another directory"
        )


def make_all(job: Job, todo: list[int], workers: int) -> Iterator[int]:
    """Make scenes in worker processes on this machine.

    Args:
        job: settings of the dataset.
        todo: numbers of the scenes.
        workers: number of processes; 1 makes the scenes in this process.

    Yields:
        The number of each scene when it is done.
    """
    if workers <= 1 or len(todo) <= 1:
        with threadpool_limits(1):  # the matrices are too small for several threads to pay off
            for index in todo:
                yield make_scene(job, index)
        return
    # A forked process would inherit locks held by threads that do not exist in it.
    with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        waiting = iter(todo)
        running = {
            pool.submit(make_scene, job, index)
            for _, index in zip(range(2 * workers), waiting, strict=False)
        }
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
                following = next(waiting, None)
                if following is not None:
                    running.add(pool.submit(make_scene, job, following))


def _one_thread() -> None:
    """Limit matrix libraries to a single thread, because several threads round differently.

    The limit has no effect before the libraries are loaded, so the worker sets it after import.
    """
    threadpool_limits(1)


def make_scene(job: Job, index: int) -> int:
    """Make a scene and write its files: a benign scan and, if an anomaly was hidden, its twin.

    Returns:
        ``index``, the number of the scene.
    """
    recipe = job.recipe
    profile = load_profile(recipe.profile)
    if recipe.vary_machine:
        profile = vary(profile, recipe.stream(index, "machine"))
    scene_plan = plan(recipe, index)
    make = _make_import(job.insert) if job.insert else build_anomaly
    scene = build_scene(recipe, scene_plan, profile.tunnel_mm, make)
    seed = int(recipe.stream(index, "noise_seed").integers(2**31))
    # The letters are assigned at random, so that a file name does not reveal the label.
    letters = "ab" if recipe.stream(index, "pair").integers(2) else "ba"
    views = render(scene, profile, seed, both=scene.anomalous is not None)
    records = []
    for label, letter in zip(("benign", "anomalous"), letters, strict=True):
        if label in views:
            record = write_scan(
                job.out, profile, scene_plan, scene, views[label], label, letter, bool(job.insert)
            )
            records.append(record | {"noise_seed": seed})
    atomic_write_text(record_path(job.out, index), json.dumps({"index": index, "scans": records}))
    return index


@lru_cache(maxsize=1)  # a worker reads the mesh once
def _make_import(insert: Import) -> AnomalyBuilder:
    mesh = read_stl(insert.path)
    return lambda kind, size, rng: build_from_mesh(mesh, insert.material, size, rng)
