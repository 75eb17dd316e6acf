"""Our one-class scorers beside anomalib's PatchCore and PaDiM: the same benign images, the same cells, the same measure.

    pip install 'bagscan[train,imagenet,peers]'
    python benchmarks/peers.py --data simulated/visible --model src/bagscan/shipped/colour

Like is to be compared with like: anomalib's models and our rows "on ImageNet features" stand on the same
backbone, which has seen no scan, and learn from benign views alone. Our rows "on the model's" stand on
an encoder that was trained with anomalies, and `softmax` is that model itself. Every map is averaged over the
same square cells and judged by the within-bag protocol. anomalib's EfficientAd needs weights and images
that it fetches from the network, so it has no row here.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from anomalib.models.image.padim.torch_model import PadimModel
from anomalib.models.image.patchcore.torch_model import PatchcoreModel

from bagscan.backbones import _load_packaged, create_backbone
from bagscan.core import Regions
from bagscan.datasets import simulated
from bagscan.encoders.pooling import pool_regions
from bagscan.evaluation.metrics import bootstrap_mean
from bagscan.evaluation.results import make_record, write_record
from bagscan.evaluation.within_bag import bag_values, region_means, summarise
from bagscan.model import Model
from bagscan.registry import part
from bagscan.training.joint import as_bag, described
from bagscan.training.one_class import describe_samples
from bagscan.training.samples import Sample, load_samples, spread

BACKBONE = "tf_efficientnet_lite0"
CELL_PX = 16
CORESET = 0.01
ROWS_A_SCAN = 200
Judge = Callable[[Sample, Regions], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a simulated set")
    parser.add_argument("--model", type=Path, required=True, help="model folder whose encoder describes cells for our scorers")
    parser.add_argument("--benign", type=int, default=120, help="training views")
    parser.add_argument("--test", type=int, default=100, help="test views with an anomaly")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/peers.json"))
    arguments = parser.parse_args()
    model = Model.load(arguments.model).cut_by({"name": "grid", "cell_px": CELL_PX})
    records = simulated.load(arguments.data, views="below").records
    benign = load_samples(spread([r for r in records if r.part == "train" and not r.annotations], arguments.benign), model)
    test = load_samples(spread([r for r in records if r.part == "test" and r.annotations], arguments.test), model)
    results = {}
    for name, fit in {**peers(), **ours(model), **on_imagenet(model)}.items():
        started = time.perf_counter()
        judge = fit(benign)
        fitted = time.perf_counter() - started
        started = time.perf_counter()
        bags = [as_bag(sample, regions, judge(sample, regions)) for sample in test for regions in [model.regions(sample.full_view())]]
        spent = (time.perf_counter() - started) / len(test)
        told = summarise(bags)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        interval = bootstrap_mean(bag_values(bags)["auroc"])
        results[name] = {k: told[k] for k in ("auroc", "hit_at_1", "hit_at_5")} | {"auroc_interval": interval, "fit_s": fitted, "s_per_view": spent, "peak_mb": peak_mb}
        print(name, results[name], flush=True)
    control = summarise(bags, control=True)
    results["darkness"] = {k: control[k] for k in ("auroc", "hit_at_1", "hit_at_5")}
    print("darkness", results["darkness"])
    record = make_record(
        "peers",
        results,
        data={
            "name": arguments.data.name,
            "hash": hashlib.sha256(",".join(s.record.id for s in [*benign, *test]).encode()).hexdigest(),
            "counts": {"benign": len(benign), "test": len(test)},
        },
        config={"cell_px": CELL_PX, "working_side_px": model.config.input.working_side_px, "backbone": BACKBONE, "coreset": CORESET},
        seeds=[0],
        notes=["Peak memory is the process's so far, rows in this order.", "EfficientAd fetches weights and images from the network and was left out."],
    )
    write_record(arguments.out, record)


def batch_of(sample: Sample) -> torch.Tensor:
    """(1, 3, 256, 256) with the mean and deviation of ImageNet."""
    pixels = torch.from_numpy(sample.pixels())[None]
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return torch.nn.functional.interpolate((pixels - mean) / std, (256, 256), mode="bilinear", antialias=True, align_corners=False)


def of_map(model: torch.nn.Module) -> Judge:
    """Cells by the mean of a model's anomaly map."""

    @torch.no_grad()
    def judge(sample: Sample, regions: Regions) -> np.ndarray:
        heat = model(batch_of(sample)).anomaly_map
        heat = torch.nn.functional.interpolate(heat.reshape(1, 1, *heat.shape[-2:]), regions.shape, mode="bilinear", align_corners=False)[0, 0]
        return region_means(regions, heat.numpy())

    return judge


def patchcore(benign: list[Sample]) -> torch.nn.Module:
    """anomalib's PatchCore, fitted."""
    model = PatchcoreModel(layers=["blocks.2", "blocks.4"], backbone=BACKBONE, pre_trained=False, num_neighbors=9)
    _load_packaged(model.feature_extractor.feature_extractor, BACKBONE)
    model.train()
    model.feature_extractor.eval()
    for sample in benign:
        model(batch_of(sample))
    model.subsample_embedding(CORESET)
    return model.eval()


def peers() -> dict[str, Callable[[list[Sample]], Judge]]:
    """anomalib's models over the same ImageNet backbone as ours."""

    def padim(benign: list[Sample]) -> Judge:
        model = PadimModel(backbone=BACKBONE, layers=["blocks.1", "blocks.2", "blocks.4"], pre_trained=False, n_features=60)
        _load_packaged(model.feature_extractor.feature_extractor, BACKBONE)
        model.train()
        model.feature_extractor.eval()
        for sample in benign:
            model(batch_of(sample))
        model.fit()
        return of_map(model.eval())

    return {"anomalib PatchCore": lambda benign: of_map(patchcore(benign)), "anomalib PaDiM": padim}


def ours(model: Model) -> dict[str, Callable[[list[Sample]], Judge]]:
    """One-class scorers on the model's descriptions of the same cells, and its own softmax."""

    def one(name: str) -> Callable[[list[Sample]], Judge]:
        def fit(benign: list[Sample]) -> Judge:
            torch.manual_seed(0)
            module = part("scorers", name)
            scorer = module.build(module.Config(dim=model.encoder.dim))
            scorer.fit(describe_samples(model, benign, lambda _: None).benign(ROWS_A_SCAN, 0), torch.zeros(0, model.encoder.dim), 0, print)
            return by(scorer.eval())

        return fit

    def by(scorer: torch.nn.Module) -> Judge:
        @torch.no_grad()
        def judge(sample: Sample, regions: Regions) -> np.ndarray:
            ((_, _, rows),) = described(model, [sample])
            return np.asarray(scorer.score(rows).numpy())

        return judge

    return {**{f"bagscan {name} on the model's features": one(name) for name in ("memory", "gaussian")}, "bagscan softmax, the model itself": lambda _: by(model.scorer)}


def on_imagenet(model: Model) -> dict[str, Callable[[list[Sample]], Judge]]:
    """Our scorers on the features that anomalib's models have, averaged in the cells."""
    backbone, widths, strides = create_backbone(BACKBONE, 3, pretrained=True)
    backbone.eval()
    used = [i for i, stride in enumerate(strides) if stride in (8, 16)]

    @torch.no_grad()
    def rows(sample: Sample, regions: Regions) -> torch.Tensor:
        maps = backbone(batch_of(sample))
        labels = torch.from_numpy(regions.labels.astype(np.int64))[None]
        return torch.cat([pool_regions(maps[i], labels)[0] for i in used], 1)

    def one(name: str) -> Callable[[list[Sample]], Judge]:
        def fit(benign: list[Sample]) -> Judge:
            torch.manual_seed(0)
            module = part("scorers", name)
            scorer = module.build(module.Config(dim=sum(widths[i] for i in used)))
            every = []
            for sample in benign:
                regions = model.regions(sample.full_view())
                found = rows(sample, regions)
                chosen = np.random.default_rng(0).permutation(np.flatnonzero(as_bag(sample, regions, np.zeros(regions.n)).truth == 0))[:ROWS_A_SCAN]
                every.append(found[torch.from_numpy(chosen)])
            scorer.fit(torch.cat(every), torch.zeros(0, 1), 0, lambda _: None)
            return lambda sample, regions: np.asarray(scorer.eval().score(rows(sample, regions)).detach().numpy())

        return fit

    return {f"bagscan {name} on ImageNet features": one(name) for name in ("memory", "gaussian")}


if __name__ == "__main__":
    main()
