"""bagscan beside what a user would pick instead: scans a second, peak memory and within-bag AUROC, on the same scans, in one run.

    pip install 'bagscan[train,export,imagenet,peers]'
    python benchmarks/peers_speed.py --data simulated/visible

anomalib's PatchCore and EfficientAd go through OpenVINO; Mask R-CNN is torchvision's, trained to find anomalies, in torch. Each contender
has a process of its own on one thread, and is timed from a file to a map of scores at the view's size; maps are averaged over the same square
cells and judged by the within-bag protocol. EfficientAd's teacher is fetched from the network by anomalib, so it stands here untrained, as torchvision's
own Mask R-CNN does: for speed and memory alone. Writes benchmarks/results/peers_speed.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from bagscan.core import View
from bagscan.datasets import simulated
from bagscan.datasets.record import Record
from bagscan.evaluation.metrics import bootstrap_mean
from bagscan.evaluation.results import make_record, write_record
from bagscan.evaluation.within_bag import bag_values, region_means, summarise
from bagscan.formats import read_scan
from bagscan.model import Model
from bagscan.model_config import InputConfig
from bagscan.model_folder import SHIPPED
from bagscan.runtime.engines import OpenVino, openvino_core
from bagscan.training.data import DataConfig, SourceConfig
from bagscan.training.detection import DetectionTrainingConfig
from bagscan.training.experiment import DetectionExperiment, load_regioner, train_detection
from bagscan.training.joint import as_bag
from bagscan.training.loop import LoopConfig
from bagscan.training.samples import Sample, load_samples, spread

CELL_PX = 16
SIDE = 256  # what anomalib's models look at
Heat = Callable[[Path], np.ndarray]  # a file -> (H, W) scores at the view's size


def views_of(data: Path, benign: int, test: int) -> tuple[list[Record], list[Record]]:
    """Benign training views, and test views with an anomaly."""
    records = simulated.load(data, views="below").records
    return spread([r for r in records if r.part == "train" and not r.annotations], benign), spread([r for r in records if r.part == "test" and r.annotations], test)


# What is fitted, each once, into a folder.


class _Map(torch.nn.Module):
    """An anomalib model that gives its map alone, since its own kind of answer cannot be traced."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.model(pixels).anomaly_map
        return found


def to_openvino(model: torch.nn.Module, path: Path) -> None:
    """In 32 bits."""
    import openvino

    openvino.save_model(openvino.convert_model(_Map(model.eval()), example_input=torch.rand(1, 3, SIDE, SIDE)), path, compress_to_fp16=False)


def fit_patchcore(benign: list[Sample], folder: Path) -> None:
    from peers import patchcore

    to_openvino(patchcore(benign), folder / "patchcore.xml")


def plain_efficient_ad(folder: Path) -> None:
    """As it is built: its teacher would have to be fetched, and nothing can be learnt without."""
    from anomalib.models.image.efficient_ad.torch_model import EfficientAdModel

    torch.manual_seed(0)
    to_openvino(EfficientAdModel(), folder / "efficient_ad.xml")


def detector(data: Path, steps: int) -> DetectionExperiment:
    """Mask R-CNN that finds anomalies themselves."""
    source = SourceConfig("simulated", str(data), images="colour", views="below", annotate="anomaly", with_objects_only=True)
    training = DetectionTrainingConfig(4, loop=LoopConfig(steps, 1e-3, weight_decay=0.01, ema=0.99, validate_every=max(1, steps // 2)))
    parts = {"name": "mask_rcnn", "backbone": "tf_efficientnet_lite0", "pretrained": True, "stride": 2, "deepest_stride": 16, "anchors_px": [16, 32, 64, 128, 256]}
    return DetectionExperiment(DataConfig((source,), fractions=(0.6, 0.1, 0.3)), InputConfig(working_side_px=512), parts, training, 1)


# What judges, each in a process of its own.


def through_openvino(name: str, folder: Path) -> Heat:
    request = openvino_core().compile_model(folder / f"{name}.xml", "CPU", OpenVino.SETTINGS).create_infer_request()

    def heat(path: Path) -> np.ndarray:
        pixels = torch.from_numpy(read_scan(path).views[0].pixels)[None]
        small = F.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        if name == "patchcore":  # EfficientAd normalises inside
            mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
            small = (small - mean) / std
        found = next(v for v in request.infer([small.numpy()]).values() if v.size == SIDE * SIDE)
        return F.interpolate(torch.from_numpy(np.array(found)).reshape(1, 1, SIDE, SIDE), pixels.shape[-2:], mode="bilinear", align_corners=False)[0, 0].numpy()

    return heat


def bagscan(everywhere: bool) -> Heat:
    """The colour model that comes along, by ONNX Runtime; as it comes it looks on the items that it finds, and what lies outside is 0."""
    from bagscan.runtime.load import load_model
    from bagscan.screening import upsample_labels

    model = load_model(SHIPPED / "colour", "onnxruntime")
    model = model.everywhere() if everywhere else model

    def heat(path: Path) -> np.ndarray:
        view = read_scan(path).views[0]
        regions, scores = model.judge(model.config.input.working_view(model.config.input.select(view)))
        return np.concatenate([scores, [0]])[upsample_labels(regions.labels, *view.shape)]

    return heat


def mask_rcnn(folder: Path, data: Path) -> Heat:
    """The trained detector: of every pixel the surest anomaly that covers it."""
    model = detector(data, 1).model().eval()
    load_regioner(model, folder / "detector" / "regioner.safetensors")

    def heat(path: Path) -> np.ndarray:
        view = read_scan(path).views[0]
        working = model.config.input.working_view(model.config.input.select(view))
        found = np.zeros(working.shape, np.float32)
        for one in model.regioner.detect(working):
            found = np.maximum(found, one["score"] * one["mask"])
        return F.interpolate(torch.from_numpy(found)[None, None], view.shape, mode="nearest")[0, 0].numpy()

    return heat


def plain_mask_rcnn() -> Heat:
    """torchvision's own, over ResNet-50 at its own 800 pixels, untrained: for its time and memory alone."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2).eval()

    @torch.no_grad()
    def heat(path: Path) -> np.ndarray:
        view: View = read_scan(path).views[0]
        model([torch.from_numpy(view.pixels)])
        return np.zeros(view.shape, np.float32)

    return heat


CONTENDERS = {
    "bagscan colour, ONNX Runtime": lambda folder, data: bagscan(False),
    "bagscan colour, everywhere": lambda folder, data: bagscan(True),
    "anomalib PatchCore, OpenVINO": lambda folder, data: through_openvino("patchcore", folder),
    "anomalib EfficientAd, OpenVINO": lambda folder, data: through_openvino("efficient_ad", folder),
    "Mask R-CNN of anomalies, torch": mask_rcnn,
    "torchvision Mask R-CNN ResNet-50, torch": lambda folder, data: plain_mask_rcnn(),
}
UNTRAINED = {"anomalib EfficientAd, OpenVINO": 20, "torchvision Mask R-CNN ResNet-50, torch": 6}  # views that they are timed on


def memory_mb(name: str) -> float:
    """Of this process, as Linux tells it: VmRSS now, VmHWM at its highest since it was started."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def judge(name: str, folder: Path, data: Path, test: list[Record]) -> None:
    """What one process does: maps of all test views, kept, and what they cost."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    imports = memory_mb("VmRSS")
    heat, seconds = CONTENDERS[name](folder, data), []
    test = test[: UNTRAINED[name]] if name in UNTRAINED else test
    for record in test[:3]:
        heat(record.path)
    for number, record in enumerate(test):
        started = time.perf_counter()
        found = heat(record.path)
        seconds.append(time.perf_counter() - started)
        np.save(folder / f"{list(CONTENDERS).index(name)}_{number}.npy", found.astype(np.float32))
    told = {"scans_per_s": 1 / float(np.median(seconds)), "peak_mb": memory_mb("VmHWM") - imports}
    (folder / f"{list(CONTENDERS).index(name)}.json").write_text(json.dumps(told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a simulated set")
    parser.add_argument("--benign", type=int, default=60, help="training views of the one-class models")
    parser.add_argument("--test", type=int, default=60, help="test views with an anomaly")
    parser.add_argument("--steps", type=int, default=400, help="of the detector")
    parser.add_argument("--folder", type=Path, default=Path("runs/peers_speed"), help="of what is fitted, which is not fitted again")
    parser.add_argument("--fit-only", action="store_true", help="fit, and judge another time, when the machine is idle")
    parser.add_argument("--one", help="used by the benchmark itself: judge with this contender")
    arguments = parser.parse_args()
    benign, test = views_of(arguments.data, arguments.benign, arguments.test)
    if arguments.one:
        judge(arguments.one, arguments.folder, arguments.data, test)
        return
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    model = Model.load(SHIPPED / "colour").everywhere().cut_by({"name": "grid", "cell_px": CELL_PX})
    samples = load_samples(test, model)
    settings = {"data": str(arguments.data), "benign": arguments.benign, "steps": arguments.steps}
    if (folder / "settings.json").exists() and json.loads((folder / "settings.json").read_text()) != settings:
        raise SystemExit(f"{folder} holds models that were fitted otherwise: take another --folder")
    (folder / "settings.json").write_text(json.dumps(settings))
    if not (folder / "efficient_ad.xml").exists():
        fit_patchcore(load_samples(benign, model), folder)
        plain_efficient_ad(folder)
    train_detection(detector(arguments.data, arguments.steps), folder / "detector")
    if arguments.fit_only:
        return
    results, control = {}, {}
    for number, name in enumerate(CONTENDERS):
        subprocess.run([sys.executable, __file__, "--one", name, *sys.argv[1:]], check=True)
        results[name] = json.loads((folder / f"{number}.json").read_text())
        if name in UNTRAINED:  # its maps say nothing
            print(name, results[name], flush=True)
            continue
        bags = []
        for k, sample in enumerate(samples):
            regions = model.regions(sample.full_view())
            found = torch.from_numpy(np.load(folder / f"{number}_{k}.npy"))[None, None]
            small = F.interpolate(found, regions.shape, mode="bilinear", antialias=True, align_corners=False)[0, 0].numpy()
            bags.append(as_bag(sample, regions, region_means(regions, small)))
        told, control = summarise(bags), summarise(bags, control=True)
        results[name] |= {k: told[k] for k in ("auroc", "hit_at_1", "hit_at_5")} | {"auroc_interval": bootstrap_mean(bag_values(bags)["auroc"])}
        print(name, results[name], flush=True)
    results["darkness"] = {k: control[k] for k in ("auroc", "hit_at_1", "hit_at_5")}
    data = {
        "name": arguments.data.name,
        "hash": hashlib.sha256(",".join(r.id for r in [*benign, *test]).encode()).hexdigest(),
        "counts": {"benign": len(benign), "test": len(test)},
    }
    notes = [
        "One thread and one process each, in turn, from a file to a map of scores at the view's size; peak memory is over what the imports (torch among them) take.",
        "Not trained, so not judged: EfficientAd, whose teacher anomalib fetches, and torchvision's own Mask R-CNN over ResNet-50 at 800 px.",
    ]
    write_record(
        Path("benchmarks/results/peers_speed.json"), make_record("peers_speed", results, data=data, config={"cell_px": CELL_PX, "steps": arguments.steps}, seeds=[0], notes=notes)
    )


if __name__ == "__main__":
    main()
