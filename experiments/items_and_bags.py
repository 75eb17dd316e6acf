"""Do real items or real bags make real scans hard? Put items of each kind into bags of each kind.

    python -m experiments.items_and_bags MODEL SET [--count 150] [--keep]

Items are cut out of pictures: annotated boxes of real scans, and boxes of items of a simulated
dataset drawn on random displays. Only boxes with little beside the item are used, and colours are
divided by the colour around the item, so that little of its bag is left. Each is multiplied into
another picture, at a place where that shows something, as overlapping things multiply in an X-ray
image. All combinations have the same artefacts of cutting; what a bag holds itself is measured as
well, and, for simulated bags, what a detector that knew every item's outline would reach: boxes
hold more than their item.

The protocol is within-bag (:mod:`experiments.real_scans`); beside an item that was put in, what the
bag itself has annotated is left out. A region scores the sum of the odds of all prohibited items,
as in ``bagscan screen``. The real scans are in ``BAGSCAN_DATA``; composed pictures are not stored.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from bagscan.core import Annotation, View
from bagscan.datasets.packed import LABEL_STRIDE, packed_categories, read_packed
from bagscan.datasets.record import Record
from bagscan.detector.deciding import any_item, item_log_odds
from bagscan.detector.exported import UsableDetector
from bagscan.detector.features import COLOUR_SCALE, recolour
from bagscan.detector.sampling import whole_view
from bagscan.evaluation.within_bag import ScoredView, attenuation_map, only_class, score_bag
from bagscan.formats.quantities import RGB
from bagscan.imaging.display import draw_display
from bagscan.runtime.load import load_detector
from bagscan.simulate.prohibited import NAMES
from bagscan.training.samples import subsample_evenly
from experiments.engine import Run, keep
from experiments.real_scans import measure, read_real, real_scans

OUTLINES = "own, outlines known"  # a region scores the share of it that lies on an item
OWN = "own"  # items that lie in their bag as they were scanned
PUT_IN = "put in"  # label of the item that was put into a bag
MIN_SIDE_PX, MAX_SIDE_PX = 24, 220
RIM_PX, MIN_RIM = 2, 0.75  # width of the rim of a box, and how bright it is if little lies there
MIN_ITEM = 0.25  # share of a box that its item darkens
DARKENED = 0.9  # colour, relative to the rim, below which a pixel belongs to the item
MIN_INK, WHITE = 0.7, 0.92  # share of the place that shows something; brightness of air
TRIES = 60
SHOWN = ("objects", "auroc", "attenuation_auroc", "hit_at_1", "attenuation_hit_at_1")


@dataclass(frozen=True)
class Bag:
    """A picture of a bag.

    Attributes:
        colours: (3, H, W) in [0, 1].
        objects: what is annotated in it.
        outlines: (H, W) bool, pixels of items; None if unknown.
    """

    colours: np.ndarray
    objects: tuple[Annotation, ...]
    outlines: np.ndarray | None = None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="detector for pseudo-colour with item classes")
    parser.add_argument("set", type=Path, help="packed simulated dataset with prohibited items")
    parser.add_argument("--count", type=int, default=150, help="bags of each kind")
    parser.add_argument("--keep", action="store_true", help="store in the table items_and_bags")
    arguments = parser.parse_args()
    detector = load_detector(arguments.model)
    simulated = list(simulated_bags(arguments.set))
    bags = {"simulated": subsample_evenly(simulated, arguments.count)}
    items = {"simulated": [item for bag in simulated for item in cut_items(bag)]}
    for name, records in real_scans(0).items():
        bags[name] = list(real_bags(subsample_evenly(records, arguments.count)))
        items[name] = [item for bag in real_bags(records) for item in cut_items(bag)]
    print({name: f"{len(bags[name])} bags, {len(items[name])} items" for name in bags}, flush=True)
    rows = [(OUTLINES, "simulated"), *itertools.product((OWN, *items), bags)]
    for of_item, of_bag in rows:
        if of_item in items:
            result = compare(detector, items[of_item], bags[of_bag])
        else:
            shown = [bag for bag in bags[of_bag] if bag.objects]
            result = measure([score(bag, detector, of_item == OUTLINES) for bag in shown])
        figures = " ".join(f"{k} {result[k]:.3f}" for k in SHOWN)
        print(f"{of_item} items in {of_bag} bags: {figures}", flush=True)
        if arguments.keep:
            counts = {"bags": len(bags[of_bag]), "items": len(items.get(of_item, ()))}
            data = {"name": arguments.set.name, "hash": detector.id, "counts": counts}
            keep(Run("items_and_bags", {"items": of_item, "bags": of_bag}), result, data=data)


def compare(
    detector: UsableDetector, items: Sequence[np.ndarray], bags: Sequence[Bag]
) -> dict[str, Any]:
    """Put an item into each bag and return the within-bag figures of these items."""
    rng = np.random.default_rng(0)
    views = []
    for bag in bags:
        composed = put_in(bag, items[int(rng.integers(len(items)))], rng)
        if composed and (view := only_class(score(composed, detector), PUT_IN)):
            views.append(view)
    return measure(views)


def score(bag: Bag, detector: UsableDetector, by_outlines: bool = False) -> ScoredView:
    """Score the regions of a bag, by the detector or by the known outlines of items."""
    view = View(bag.colours, RGB, "pseudo_colour")
    seen = detector.run_views([view]).views[0]
    scores = any_item(item_log_odds(seen, detector.thresholds))
    if by_outlines and bag.outlines is not None:
        scores = seen.regions.overlap(bag.outlines)
    return score_bag(
        seen.regions,
        scores,
        attenuation_map(view.pixels, view.channels),
        bag.objects,
        "",
    )


def real_bags(records: Sequence[Record]) -> Iterator[Bag]:
    """Yield the real scans that can be read."""
    for record in records:
        if (view := read_real(record)) is not None:
            yield Bag(view.pixels[:3], tuple(record.annotations))


def simulated_bags(folder: Path) -> Iterator[Bag]:
    """Yield a view of each scene without its anomaly, on a random display, with its items."""
    rng = np.random.default_rng(0)
    names = packed_categories(folder)
    for scene in read_packed(folder, ("train", "val")):
        view = scene.views[int(rng.integers(len(scene.views)))]
        height, width = view.pixels.shape[1:]
        colours = 1 - recolour(whole_view(view, False)[0], draw_display(rng)) / COLOUR_SCALE
        objects = []
        on_items = np.zeros(view.labels.shape[1:], bool)
        for name in sorted(set(NAMES) & set(names)):
            mask = (view.sets == names.index(name)).any(1)[view.labels[0]]
            on_items |= mask
            for rows, columns in ndimage.find_objects(ndimage.label(mask)[0]):
                x1, y1, x2, y2 = (
                    float(LABEL_STRIDE * side)
                    for side in (columns.start, rows.start, columns.stop, rows.stop)
                )
                objects.append(Annotation(name, (x1, y1, min(x2, width), min(y2, height))))
        fine = on_items.repeat(LABEL_STRIDE, 0).repeat(LABEL_STRIDE, 1)[:height, :width]
        outlines = np.pad(fine, [(0, height - fine.shape[0]), (0, width - fine.shape[1])])
        yield Bag(colours[:, :height, :width].clip(0, 1), tuple(objects), outlines)


def cut_items(bag: Bag) -> Iterator[np.ndarray]:
    """Yield (3, h, w) colours, relative to those around it, of each item with little beside it."""
    for annotation in bag.objects:
        x1, y1, x2, y2 = (round(side) for side in annotation.box_xyxy)
        if not MIN_SIDE_PX <= min(y2 - y1, x2 - x1) <= max(y2 - y1, x2 - x1) <= MAX_SIDE_PX:
            continue
        box = bag.colours[:, max(0, y1) : y2, max(0, x1) : x2]
        rim = np.ones(box.shape[1:], bool)
        rim[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX] = False
        around = np.median(box[:, rim], 1)
        relative = np.minimum(box / np.maximum(around, 0.05)[:, None, None], 1)
        if around.mean() >= MIN_RIM and (relative.mean(0) < DARKENED).mean() >= MIN_ITEM:
            yield relative


def put_in(bag: Bag, item: np.ndarray, rng: np.random.Generator) -> Bag | None:
    """Return the bag with an item at a random place that shows something and nothing annotated.

    None if there is no such place.
    """
    (_, height, width), (_, h, w) = bag.colours.shape, item.shape
    if h >= height or w >= width:
        return None
    free = (bag.colours.mean(0) < WHITE).astype(float)
    for annotation in bag.objects:
        free[annotation.region(height, width)] = -1e6
    for _ in range(TRIES):
        top, left = int(rng.integers(height - h)), int(rng.integers(width - w))
        place = np.s_[top : top + h, left : left + w]
        if free[place].mean() >= MIN_INK:
            colours = bag.colours.copy()
            colours[:, *place] *= item
            box = (float(left), float(top), float(left + w), float(top + h))
            return Bag(colours, (*bag.objects, Annotation(PUT_IN, box)))
    return None


if __name__ == "__main__":
    main()
