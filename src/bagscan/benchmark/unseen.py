"""Kinds of anomaly that no scorer was shown: how many of their objects are found at equal false positives (methods page, 4).

A kind is found where the best region of an object is above the threshold that a share of benign test
regions pass. An object has several regions and so several chances: the row ``chance`` says what they alone give.
Intervals draw whole scans with replacement, with the threshold taken anew from every draw.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bagscan.benchmark.tables import interval, over_seeds, spread, table_lines
from bagscan.evaluation.within_bag import BagResult, only_class, summarise
from bagscan.model import Model
from bagscan.registry import part
from bagscan.training.joint import as_bag, described
from bagscan.training.one_class import Descriptions, kind_of
from bagscan.training.samples import Sample

Report = Callable[[str], None]
FALSE_POSITIVES = (0.01, 0.05)
ALONE = {"gaussian": "gaussian", "memory": "memory", "isolation": "isolation", "BiGAN + SVM": "svm"}
SETTINGS: dict[str, dict[str, Any]] = {"svm": {"errors": {"name": "bigan"}}}
TINY: dict[str, dict[str, Any]] = {"svm": {"errors": {"name": "bigan", "epochs": 2, "least_steps": 0}}}  # to prove that it runs
BENIGN_A_SAMPLE = 40
DRAWS = 200


@dataclass(frozen=True)
class Tested:
    """One test sample: its regions under the within-bag protocol, scores still 0, and their descriptions (n, dim)."""

    sample: Sample
    bag: BagResult
    rows: Tensor


def describe_tests(model: Model, samples: Sequence[Sample]) -> list[Tested]:
    """Regions of test samples, described."""
    return [Tested(sample, as_bag(sample, regions, np.zeros(regions.n, np.float32)), rows) for sample, regions, rows in described(model, samples)]


def scorers_of(model: Model, train: Descriptions, val: Descriptions, left_out: str, seed: int, report: Report, settings: Mapping[str, dict[str, Any]] = SETTINGS) -> dict[str, Any]:
    """Every scorer to compare, fitted to what is benign and, where it takes any, to anomalies of the other kinds; on one scale by validation scans.

    Args:
        settings: of scorers that are not to have their defaults.
    """
    benign, anomalous, rest = train.benign(BENIGN_A_SAMPLE, seed), train.anomalous([left_out]), val.benign(BENIGN_A_SAMPLE, seed)
    fitted: dict[str, Any] = {"softmax": model.scorer.eval()}
    module = part("scorers", "fused")
    for told, name in ALONE.items():
        torch.manual_seed(seed)
        fused = module.build(module.Config(dim=model.encoder.dim, known=dict(model.config.scorer), unseen={"name": name, **settings.get(name, {})}))
        fused.known.load_state_dict(model.scorer.state_dict())
        fused.fit(benign, anomalous, seed, report)
        fused.standardise(rest)
        fitted[told], fitted[f"softmax + {told}"] = fused.unseen.eval(), fused.eval()
    return fitted


def objects_of(tests: Sequence[Tested], kind: str) -> list[tuple[int, int]]:
    """(sample, object) of a kind: of simulated anomalies by the sample, of real ones by the box."""
    return [(i, k) for i, t in enumerate(tests) for k, label in enumerate(t.bag.labels) if kind in (label, t.sample.record.about.get("kind"))]


@dataclass(frozen=True)
class Rates:
    """TP % at one share of false positives. Attributes: tp: of all scans. draws: (DRAWS,) of scans drawn with replacement. n: objects."""

    tp: float
    draws: np.ndarray
    n: int

    @property
    def interval(self) -> list[float]:
        """95 %."""
        known = self.draws[np.isfinite(self.draws)]
        return [float(np.quantile(known, q)) for q in (0.025, 0.975)] if len(known) else [float("nan")] * 2


def rates(bags: Sequence[BagResult], scans: Sequence[str], objects: Sequence[tuple[int, int]], fpr: float, seed: int = 0) -> Rates:
    """How many objects are found where a share ``fpr`` of benign regions alarm.

    Args:
        bags: scored. scans: of each; views and items of one are drawn together. objects: (bag, object).
    """
    number = {name: k for k, name in enumerate(dict.fromkeys(scans))}
    group = np.array([number[s] for s in scans])
    benign = np.concatenate([bag.scores[bag.truth == 0] for bag in bags])
    of_benign = np.concatenate([np.full(int((bag.truth == 0).sum()), g) for bag, g in zip(bags, group, strict=True)])
    order = np.argsort(-benign, kind="stable")
    falling, of_falling = benign[order], of_benign[order]
    best, of_object = [], []
    for i, k in objects:
        own = bags[i].segments_of(k)
        best.append(float(bags[i].scores[own].max()) if own.any() else -np.inf)  # what no region shows is missed
        of_object.append(group[i])
    scores, owners = np.array(best), np.array(of_object, int)

    def at(weight: np.ndarray) -> float:
        above = weight[of_falling].cumsum()
        k = int(np.searchsorted(above, fpr * above[-1], side="right"))
        threshold = falling[min(k, len(falling) - 1)]
        counted = weight[owners]
        return 100 * float((counted * (scores > threshold)).sum() / counted.sum()) if counted.sum() else float("nan")

    drawn = np.random.default_rng(seed).multinomial(len(number), np.full(len(number), 1 / len(number)), size=DRAWS)
    return Rates(at(np.ones(len(number))), np.array([at(w.astype(float)) for w in drawn]), len(objects))


def compare(scorers: dict[str, Any], tests: Sequence[Tested], left_out: str, seed: int = 0) -> dict[str, Any]:
    """Every scorer on one kind left out, and the controls ``darkness`` and ``chance``.

    Returns:
        By scorer: TP at every share of false positives with intervals, ``gain`` on softmax on the same
        draws, by CNR stratum; within-bag AUROC and hits on the kind; seconds a sample.
    """
    objects, scans = objects_of(tests, left_out), [t.sample.record.scan for t in tests]
    sizes = [len(t.rows) for t in tests]
    every = torch.cat([t.rows for t in tests])
    scored: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}
    with torch.no_grad():
        for name, scorer in scorers.items():
            started = time.perf_counter()
            scored[name] = torch.cat([scorer.score(rows) for rows in every.split(8192)]).numpy()
            seconds[name] = (time.perf_counter() - started) / len(tests)
    scored["darkness"] = np.concatenate([t.bag.darkness for t in tests])
    scored["chance"] = np.random.default_rng(seed).random(len(every))
    told: dict[str, Any] = {}
    first: dict[float, Rates] = {}
    strata = sorted({t.sample.record.about.get("stratum", "") for t in tests} - {""})
    for name, scores in scored.items():
        bags = [dataclasses.replace(t.bag, scores=own) for t, own in zip(tests, np.split(scores, np.cumsum(sizes)[:-1]), strict=True)]
        row: dict[str, Any] = {"seconds_per_sample": seconds.get(name)} | _within(bags, tests, left_out)
        for fpr in FALSE_POSITIVES:
            found = rates(bags, scans, objects, fpr, seed)
            softmax = first.setdefault(fpr, found)
            gain = dataclasses.replace(found, draws=found.draws - softmax.draws)
            by = {s: rates(bags, scans, [o for o in objects if tests[o[0]].sample.record.about.get("stratum") == s], fpr, seed) for s in strata}
            row[f"at_{fpr}"] = {
                "tp": found.tp,
                "interval": found.interval,
                "n": found.n,
                "gain": gain.interval,
                "strata": {s: {"tp": r.tp, "interval": r.interval, "n": r.n} for s, r in by.items()},
            }
        told[name] = row
    return told


def _within(bags: Sequence[BagResult], tests: Sequence[Tested], left_out: str) -> dict[str, float]:
    """The within-bag protocol on the kind alone; regions of other objects are left out, not benign."""
    own = []
    for bag, test in zip(bags, tests, strict=True):
        if test.sample.record.about.get("kind") == left_out:
            own.append(bag)
        elif (only := only_class(bag, left_out)) is not None:
            own.append(only)
    found = summarise(own)
    return {k: found[k] for k in ("auroc", "hit_at_1", "hit_at_5")}


def without(samples: Sequence[Sample], left_out: str) -> list[Sample]:
    """Samples that hold none of a kind, not even among others."""
    return [s for s in samples if kind_of(s) != left_out and left_out not in {a.label for a in s.annotations}]


def markdown(records: Sequence[dict[str, Any]], title: str) -> str:
    """TP on the kind left out at equal FP, scorer by scorer, how often each gains on softmax, within-bag AUROC, and strata."""
    kinds = list(dict.fromkeys(r["results"]["left_out"] for r in records))
    names = list(records[0]["results"]["scorers"])
    of = lambda name, kind: [r["results"]["scorers"][name] for r in records if r["results"]["left_out"] == kind]  # noqa: E731
    lines = [f"### Kinds left out, {title}", ""]
    for fpr in FALSE_POSITIVES:
        key, rows = f"at_{fpr}", []
        for name in names:
            cells = [f"{spread([one[key]['tp'] for one in of(name, kind)])} ({interval(over_seeds([one[key]['interval'] for one in of(name, kind)]))})" for kind in kinds]
            ones = [one for kind in kinds for one in of(name, kind)]
            softmax = [one for kind in kinds for one in of("softmax", kind)]
            better, worse = sum((o[key]["gain"][0] or 0) > 0 for o in ones), sum((o[key]["gain"][1] or 0) < 0 for o in ones)
            apart = sum((o[key]["interval"][0] or 0) > (s[key]["interval"][1] or 0) for o, s in zip(ones, softmax, strict=True))
            rows.append([name, spread([float(np.mean([o[key]["tp"] for o in ones if o[key]["tp"] is not None]))]), f"{better} / {worse}", apart, *cells])
        lines += [f"TP % of objects of the kind left out where {100 * fpr:.0f} % of benign regions alarm (95 % interval):", ""]
        lines += table_lines(["scorer", "mean", "gains / loses on softmax", "intervals apart", *kinds], rows)
    lines += ["Within the bag, on the kind left out: AUROC (hit@1):", ""]
    within = [[name, *(f"{spread([o['auroc'] for o in of(name, kind)])} ({spread([o['hit_at_1'] for o in of(name, kind)])})" for kind in kinds)] for name in names]
    lines += table_lines(["scorer", *kinds], within)
    strata = sorted({s for r in records for s in r["results"]["scorers"][names[0]][f"at_{FALSE_POSITIVES[-1]}"]["strata"]})
    if strata:
        lines += [f"Mean TP % over kinds by area CNR, {100 * FALSE_POSITIVES[-1]:.0f} % FP:", ""]
        key = f"at_{FALSE_POSITIVES[-1]}"
        by = [[name, *(spread([o[key]["strata"].get(s, {}).get("tp") for kind in kinds for o in of(name, kind)]).split(" ±")[0] for s in strata)] for name in names]
        lines += table_lines(["scorer", *strata], by)
    return "\n".join(lines)
