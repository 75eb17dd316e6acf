"""A simulated data set on disk: made by any number of workers, resumed after a kill, the same bytes.

::

    recipe.json                     what the set is made of; a folder holds one recipe
    raw/00000a_below.tif             low, high, zeff: 16 bits, air as in the profile
    colour/00000a_below.png          pseudo-colour
    detectability/00000a_below.tif   contrast to noise of the anomaly, hundredths
    truth/00000a_below.json          COCO: objects, components, anomaly
    scans/00000.json                what was drawn, seeds, hashes, statistics; written last
    annotations_train.json ...      COCO of every part, merged
    dataset.json                    counts, strata, the trivial baseline
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bagscan import __version__
from bagscan.config import fill, read_yaml
from bagscan.core.errors import ConfigError, DataError, nearest
from bagscan.core.files import atomic_write, refuse_file
from bagscan.formats.scans import RECIPE
from bagscan.formats.tiff import write_counts
from bagscan.imaging.channels import Calibration, image, write_colour, write_dual_energy
from bagscan.imaging.scanner import Profile, load_profile, varied
from bagscan.simulate.anomalies import Make, build_anomaly, imported
from bagscan.simulate.recipe import Recipe
from bagscan.simulate.render import RenderedView, render, stratum
from bagscan.simulate.scene import Plan, Scene, build_scene, plan
from bagscan.simulate.stl import read_stl
from bagscan.simulate.summary import read_json, summarise
from bagscan.simulate.truth import VIEWS_PER_SCAN, ambiguous, view_annotations

PRESETS = Path(__file__).parent / "presets"
Report = Callable[[str], None]


@dataclass(frozen=True)
class Import:
    """A user's own mesh in place of every anomaly.

    Attributes:
        path: STL file, mm. material: name of the library.
    """

    path: str
    material: str = "stainless_steel"


@dataclass(frozen=True)
class Job:
    """What a worker must know: recipe, folder, and a mesh of the user's."""

    recipe: Recipe
    out: Path
    insert: Import | None = None


def preset_names() -> list[str]:
    """Presets that come with the project."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_recipe(
    name: str | Path, count: int | None = None, seed: int | None = None, profile: str | None = None
) -> Recipe:
    """A preset by name, or a recipe of the user's own by the path of its YAML file.

    Raises:
        ConfigError: no such preset, an unknown key, or a profile that is not the one that the recipe was made for.
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else PRESETS / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(
            f"no preset {str(name)!r}{nearest(str(name), preset_names())}; there are {', '.join(preset_names())}, or give a YAML file"
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
    found = load_profile(recipe.profile).hash
    if recipe.profile_sha256 not in (None, found):
        raise ConfigError(
            f"{path}: made for a scanner profile {recipe.profile} of hash {str(recipe.profile_sha256)[:12]}, but it is {found[:12]} now: the scans would not be the same"
        )
    return dataclasses.replace(recipe, profile_sha256=found)


Spread = Callable[
    [Job, list[int], int], Iterator[int]
]  # (job, numbers of scans, workers) -> numbers, as they are done


def simulate(
    recipe: Recipe,
    out: Path,
    workers: int = 1,
    insert: Import | None = None,
    report: Report = print,
    spread: Spread | None = None,
) -> dict[str, Any]:
    """Make a data set, or the rest of one.

    Args:
        spread: makes scans side by side, in place of :func:`make_all`.

    Returns:
        What ``dataset.json`` holds.

    Raises:
        DataError: the folder holds another recipe. ConfigError: a bad mesh or material.
    """
    if insert:
        _maker(insert)
    keep_recipe(recipe, out, insert, report)
    for folder in ("raw", "colour", "detectability", "truth", "scans"):
        (out / folder).mkdir(exist_ok=True)
    todo = [i for i in range(recipe.scenes) if not _complete(out, i)]
    if len(todo) < recipe.scenes:
        report(f"{recipe.scenes - len(todo)} of {recipe.scenes} scenes are there already")
    job, started, said = Job(recipe, out.absolute(), insert), monotonic(), 0.0
    first = 0.0  # the first scans wait for workers to start and kernels to compile
    for done, _ in enumerate((spread or make_all)(job, todo, workers), 1):
        spent = monotonic() - started
        first = spent if done == workers else first
        if spent - said > 5 or done == len(todo):
            said = spent
            left = (
                f", {(spent - first) / (done - workers) * (len(todo) - done):.0f} s left"
                if workers < done < len(todo)
                else ""
            )
            report(
                f"{recipe.scenes - len(todo) + done} of {recipe.scenes} scenes, {spent:.0f} s{left}"
            )
    return summarise(recipe, out, report)


def keep_recipe(recipe: Recipe, out: Path, insert: Import | None, report: Report) -> None:
    """Write the recipe, or refuse a folder that was started with another; only the count may grow."""
    mesh = insert and {
        "sha256": hashlib.sha256(Path(insert.path).read_bytes()).hexdigest(),
        "material": insert.material,
    }
    outcome = {
        "bagscan": __version__,
        **json.loads(json.dumps(dataclasses.asdict(recipe))),
        "insert": mesh,
    }
    path = out / RECIPE
    refuse_file(out)
    if path.exists():
        before = read_json(path)
        if before.get("bagscan") != __version__:
            report(
                f"warning: {out} was begun with bagscan {before.get('bagscan')}; scans made now, with {__version__}, may differ"
            )
        # What a recipe of an older bagscan could not say stood at its default.
        default = json.loads(json.dumps(dataclasses.asdict(Recipe(recipe.devices))))
        changed = [
            k
            for k in outcome
            if k not in ("count", "bagscan") and before.get(k, default.get(k)) != outcome[k]
        ]
        if changed:
            how = ", ".join(
                k if k.endswith("sha256") else f"{k} was {before.get(k)!r}, now {outcome[k]!r}"
                for k in changed[:3]
            )
            raise DataError(f"{out} holds a data set of another recipe ({how}): use another folder")
        if before.get("count", 0) > recipe.count:
            raise DataError(
                f"{out} holds a data set of {before['count']} scans: the count may grow, not shrink; use another folder"
            )
    elif out.exists() and any(out.iterdir()):
        raise DataError(f"{out} is not empty and holds no data set: use another folder")
    out.mkdir(parents=True, exist_ok=True)
    _write(path, json.dumps(outcome, indent=1).encode())


def make_all(job: Job, todo: list[int], workers: int) -> Iterator[int]:
    """Make scans in worker processes of this machine; their numbers, as they are done."""
    if workers <= 1 or len(todo) <= 1:
        with threadpool_limits(1):  # matrices here are too small for threads to pay
            for index in todo:
                yield make_scan(job, index)
        return
    # Fresh processes: a fork would inherit locks of threads that do not exist in it.
    with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        waiting = iter(todo)
        running = {
            pool.submit(make_scan, job, index)
            for _, index in zip(range(2 * workers), waiting, strict=False)
        }
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
                following = next(waiting, None)
                if following is not None:
                    running.add(pool.submit(make_scan, job, following))


def _one_thread() -> None:
    """Matrix products of several threads round differently. Set here, where the libraries are loaded already: a limit set before does nothing."""
    threadpool_limits(1)


def make_scan(job: Job, index: int) -> int:
    """Make every file of one scan (of one pair: both members that belong to its part)."""
    recipe = job.recipe
    profile = load_profile(recipe.profile)
    if recipe.vary_machine:
        profile = varied(profile, recipe.stream(index, "machine"))
    what = plan(recipe, index)
    scene = build_scene(
        recipe, what, profile.tunnel_mm, _maker(job.insert) if job.insert else build_anomaly
    )
    seed = int(recipe.stream(index, "noise_seed").integers(2**31))
    # Which of the two scans is called a, and which b, is drawn, so that a name tells nothing.
    letters = "ab" if recipe.stream(index, "pair").integers(2) else "ba"
    views = render(scene, profile, seed, both=scene.anomalous is not None)
    records = [
        _write_member(job, profile, what, scene, views[name], name, letter) | {"noise_seed": seed}
        for name, letter in zip(("benign", "anomalous"), letters, strict=True)
        if name in views
    ]
    _write(_scan_file(job.out, index), json.dumps({"index": index, "scans": records}).encode())
    return index


def _write_member(
    job: Job,
    profile: Profile,
    what: Plan,
    scene: Scene,
    views: list[RenderedView],
    member: str,
    suffix: str,
) -> dict[str, Any]:
    """The files of one scan, and its record."""
    scan_id = f"{what.index:05d}{suffix}"
    record: dict[str, Any] = {
        "id": scan_id,
        "scene": f"{what.index:05d}",
        "part": what.part,
        "group": what.told_group,
        "label": member,
        "family": what.family.name,
        "device": what.family.device,
        "piece": what.family.piece,
        "staging": what.staging,
        "solids": len(scene.benign),
        "no_place_found": scene.concealed is None,
        "things": [{"name": t.name, "role": t.role, **_plain(t.about)} for t in scene.things],
        "views": {},
    }
    if member == "anomalous":
        assert scene.concealed is not None
        record["anomaly"] = {
            "kind": "imported" if job.insert else scene.concealed.kind,
            "way": scene.concealed.way,
            "materials": sorted(set(scene.concealed.anomaly.material)),
        }
    calibration = Calibration.of_profile(profile)
    for number, view in enumerate(views, 1):
        record["views"][view.view.name] = _write_view(
            job.out,
            f"{scan_id}_{view.view.name}",
            profile,
            calibration,
            view,
            scene,
            what.index * VIEWS_PER_SCAN + number + 5 * (suffix == "b"),
        )
    if member == "anomalous":
        seen = record["views"].values()
        best = max(v["area_cnr"] for v in seen)
        record["anomaly"] |= {
            "area_cnr": best,
            "stratum": stratum(best),
            "visible": any(v["visible"] for v in seen),
        }
    return record


def _write_view(
    out: Path,
    name: str,
    profile: Profile,
    calibration: Calibration,
    view: RenderedView,
    scene: Scene,
    image_id: int,
) -> dict[str, Any]:
    low, high = view.counts.astype(np.float32) / profile.air_counts
    imaged = image(low, high, calibration)
    files = {
        "raw": out / "raw" / f"{name}.tif",
        "colour": out / "colour" / f"{name}.png",
        "truth": out / "truth" / f"{name}.json",
    }
    write_dual_energy(files["raw"], view.counts, imaged, profile.air_counts)
    write_colour(files["colour"], imaged)
    height, width = view.counts.shape[1:]
    entries = view_annotations(view, scene.things, image_id)
    shown = {
        "id": image_id,
        "file_name": f"{name}.tif",
        "height": height,
        "width": width,
        "view": view.view.name,
    }
    files["truth"].write_text(json.dumps({"image": shown, "annotations": entries}))
    outcome: dict[str, Any] = {
        "image_id": image_id,
        "height": height,
        "width": width,
        "first_channel": view.view.channels[0] if view.view.channels else 0,
        "ambiguous": ambiguous(view, scene.things),
        "sha256": {
            kind: hashlib.sha256(path.read_bytes()).hexdigest() for kind, path in files.items()
        },
        "statistics": whole_image_statistics(imaged.low, imaged.high),
    }
    if view.detectability is not None:
        outcome |= {
            "area_cnr": round(view.detectability.area_cnr, 3),
            "stratum": view.detectability.stratum,
        }
        assert view.shown is not None
        outcome |= {
            "visible": view.shown.visible,
            "area_mm2": round(view.shown.area_mm2, 1),
            "change": round(view.shown.change, 5),
            "standing_out": round(view.shown.standing_out, 4),
        }
        hundredths = np.rint(view.detectability.cnr * 100).clip(0, 65535).astype(np.uint16)
        write_counts(out / "detectability" / f"{name}.tif", hundredths[None], ("cnr_hundredths",))
    return outcome


def whole_image_statistics(low: np.ndarray, high: np.ndarray) -> list[float]:
    """Size, brightness, histogram and sharpness of a view: what a classifier could cheat with."""
    grey = (low + high) / 2
    histogram = np.histogram(grey, 8, (0, 1))[0] / grey.size
    edges = np.abs(np.diff(grey, axis=1)).mean()
    values = [
        *grey.shape,
        grey.mean(),
        grey.std(),
        (low / np.maximum(high, 1e-3)).mean(),
        edges,
        *np.percentile(grey, [1, 5, 25, 50]),
        *histogram,
    ]
    return [round(float(v), 6) for v in values]


@lru_cache(maxsize=1)  # a mesh is read once, not once a scan
def _maker(insert: Import) -> Make:
    mesh = read_stl(insert.path)
    return lambda kind, size, rng: imported(mesh, insert.material, size, rng)


def _plain(about: Any) -> dict[str, Any]:
    return {k: (v.item() if hasattr(v, "item") else v) for k, v in dict(about).items()}


def _complete(out: Path, index: int) -> bool:
    """Whether a scan's record and every file that it names are there."""
    path = _scan_file(out, index)
    if not path.is_file():
        return False
    folders = {"raw": ".tif", "colour": ".png", "truth": ".json"}
    return all(
        (out / folder / f"{scan['id']}_{view}{suffix}").is_file()
        for scan in read_json(path)["scans"]
        for view in scan["views"]
        for folder, suffix in folders.items()
    )


def _scan_file(out: Path, index: int) -> Path:
    return out / "scans" / f"{index:05d}.json"


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path, several=True) as part:  # a worker that was given up may still be at it
        part.write_bytes(content)
