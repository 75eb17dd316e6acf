"""What scoring a view's regions costs beside describing them, and what memory a scorer keeps; ratios of one run.

python benchmarks/scorer_cost.py --model src/bagscan/shipped/colour
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from bagscan.evaluation.results import make_record, write_record
from bagscan.model import Model
from bagscan.registry import part

FITTED_TO = 20_000
ROUNDS = 15
BIGAN = {"epochs": 1, "least_steps": 0}
SVM = {"name": "svm", "errors": {"name": "bigan", **BIGAN}}
# Name in the table: scorer, settings; the defaults, and what costs more or less.
SCORERS = {
    "softmax": ("softmax", {}),
    "gaussian": ("gaussian", {}),
    "memory": ("memory", {}),
    "memory of 0.5 MB": ("memory", {"cap_mb": 0.5}),
    "isolation": ("isolation", {}),
    "isolation of 25 trees": ("isolation", {"trees": 25}),
    "bigan": ("bigan", BIGAN),
    "svm on bigan": ("svm", {"errors": SVM["errors"]}),
    "fused, svm on bigan": ("fused", {"unseen": SVM}),
    "gbad, svm on bigan": ("gbad", {"gate": SVM}),
    "svm on bigan of 512 and 256": ("svm", {"errors": {**SVM["errors"], "widths": [512, 256], "latent": 64, "matched": 256}}),
}


def median_s(work, rounds: int = ROUNDS) -> float:
    """Median wall time of a call, after one to warm up."""
    work()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--regions", type=int, default=400, help="regions of a view")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scorer_cost.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = Model.load(arguments.model).everywhere()
    side = model.config.input.working_side_px or 512
    image = torch.randn(1, len(model.config.input.channels), side, side)
    cell = round(side / arguments.regions**0.5)
    labels = (torch.arange(side)[:, None] // cell * -(-side // cell) + torch.arange(side)[None] // cell)[None]
    chosen = torch.stack([torch.zeros(int(labels.max()) + 1, dtype=torch.long), torch.arange(int(labels.max()) + 1)], 1)
    encoder_s = median_s(lambda: model.encoder(image, labels, chosen))
    rows = model.encoder(image, labels, chosen)
    benign = rows.mean(0) + rows.std(0) * torch.randn(FITTED_TO, rows.shape[1])
    results = {"encoder": {"s_per_view": encoder_s, "regions": len(rows)}}
    for name, (scorer_name, settings) in SCORERS.items():
        module = part("scorers", scorer_name)
        scorer = module.build(module.Config(dim=model.encoder.dim, **settings)).eval()
        if hasattr(scorer, "fit"):
            with torch.enable_grad():
                scorer.fit(benign, benign[:200] + 3 * rows.std(0), 0, lambda _: None)
        spent = median_s(lambda s=scorer: s.score(rows))
        kept = sum(v.numel() * v.element_size() for v in scorer.state_dict().values())
        results[name] = {"s_per_view": spent, "share_of_encoder": spent / encoder_s, "kept_mb": kept / 1e6}
        print(f"{name:28s} {1e3 * spent:7.2f} ms a view, {100 * spent / encoder_s:5.1f} % of the encoder's {1e3 * encoder_s:.0f} ms, {kept / 1e6:.2f} MB")
    record = make_record(
        "scorer_cost",
        results,
        data={"name": "noise", "hash": model.id, "counts": {"regions": len(rows), "fitted_to": FITTED_TO}},
        config={"model": str(arguments.model), "side_px": side},
        seeds=[0],
    )
    write_record(arguments.out, record)


if __name__ == "__main__":
    main()
