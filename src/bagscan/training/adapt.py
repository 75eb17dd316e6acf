"""Adaptation of a detector to the scans of one scanner, without labels.

Colours are mapped to those of training (:mod:`bagscan.detector.colours`). The statistics of batch
normalisation are estimated anew on the scans and mixed with those of training (Li et al. 2016,
Schneider et al. 2020); weights stay. New statistics are kept only if the maps of a scan then change
less when the scan is shown differently. Scans declared benign can set the thresholds too, since the
scores of another scanner lie higher or lower.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bagscan.core import Scan, View
from bagscan.core.errors import ConfigError, DataError, ReadError
from bagscan.detector.calibration import choose_alarms
from bagscan.detector.colours import quantiles_of
from bagscan.detector.exported import input_of
from bagscan.detector.features import features_of
from bagscan.detector.model import Detector
from bagscan.detector.thresholds import MAX_LOG_ODDS
from bagscan.formats import find_scans, read_scan
from bagscan.formats.scans import VIEWS, group_views, read_views
from bagscan.model_folder import THRESHOLDS_WARNING, WARNINGS, read_description
from bagscan.runtime.load import load_detector
from bagscan.screening import Screener
from bagscan.training.agreement import MIN_FEATURE, agreement
from bagscan.training.normalisation import estimating, norms_of

log = logging.getLogger(__name__)

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the new statistics
CROP_PX, CROPS_PER_VIEW = 192, 4
CHECKED = 0.2  # share of the scans that only check the result
MIN_SCANS = 20
MIN_GAIN = 0.002  # of the agreement, for new statistics
# Of the agreement, for mapped colours. On six real scanners it changed by -.005 to +.007, and not
# as the ranking did, so a small loss means nothing.
MAX_LOSS = 0.02
# Entries of the card that an adapted model keeps; figures are those of the model it comes from.
STILL_TRUE = ("finds", "trained on", "limits", *WARNINGS)


@dataclass(frozen=True)
class Adaptation:
    """Result of an adaptation.

    Attributes:
        scans: scans that the statistics come from.
        checked: other scans that the agreement is measured on.
        agreement: correlation of the maps of changed scans with those of unchanged ones, after.
        agreement_before: the same of the model as it was.
        colours: True if the colours of the scanner are mapped to those of training.
        share: share of the new statistics, 0 if they stay.
        false_alarms: share of the scans declared benign that alarm, after; None without such scans.
        false_alarms_before: the same of the model as it was.
    """

    scans: int
    checked: int
    agreement: float
    agreement_before: float
    colours: bool = False
    share: float = 0.0
    false_alarms: float | None = None
    false_alarms_before: float | None = None


def adapt(
    folder: Path,
    archive: Sequence[Path],
    out: Path,
    benign: Sequence[Path] = (),
    max_scans: int = 300,
    max_fpr: float | None = None,
    colours: bool = True,
) -> Adaptation:
    """Adapt a detector to the scans of an archive and save it as a new model folder.

    Args:
        folder: model folder of the detector.
        archive: files and folders of scans of one scanner; no labels are used.
        out: model folder to write.
        benign: scans declared benign, on which the share of alarms must not rise; those that lie
            in the archive are not adapted to.
        max_scans: largest number of scans to use, at even steps through the archive.
        max_fpr: largest share of the benign scans that alarm, in [0, 1]: new thresholds are chosen
            on them. If the statistics get no better, they stay, and the thresholds alone change.
            None keeps the thresholds.
        colours: whether colours are mapped to those of training.

    Raises:
        ConfigError: ``max_fpr`` without scans declared benign.
        DataError: fewer than 20 scans are readable, or a check gets worse; nothing is written then.
        ModelError: the folder is not a detector.
    """
    if max_fpr is not None and not benign:
        raise ConfigError("--max-fpr chooses thresholds on benign scans; name some with --benign")
    detector = Detector.load(folder)
    views = _read_views(folder, archive, benign, max_scans)
    n_checked = round(CHECKED * len(views))
    used, checked = views[n_checked:], views[:n_checked]
    result = as_it_is(detector, used, checked)
    if colours:
        result = map_colours(detector, result, used, checked)
    result = mix_statistics(detector, result, used, checked)
    if not (result.colours or result.share) and max_fpr is None:
        raise DataError(
            f"the model is not adapted: on {result.checked} other scans of the archive, its maps "
            f"agree best with those of changed copies as it is ({result.agreement:.4f}); "
            "use the model as it is"
        )
    if max_fpr is not None:
        result = _choose_thresholds(detector, result, folder, benign, max_fpr)
    elif benign:
        result = _check_alarms(detector, result, folder, benign)
    kept = {key: text for key, text in detector.about.items() if key in STILL_TRUE}
    if max_fpr is not None:
        kept.pop(THRESHOLDS_WARNING, None)
    detector.about = {"adapted": asdict(result) | {"from": detector.id}} | kept
    detector.save(out)
    return result


def as_it_is(detector: Detector, used: Sequence[View], checked: Sequence[View]) -> Adaptation:
    """Return the agreement of a detector before any change; see :func:`map_colours`."""
    agreed = agreement(detector, checked)
    log.info(f"agreement {agreed:.4f} before, on {len(checked)} scans")
    return Adaptation(len(used), len(checked), agreed, agreed)


def map_colours(
    detector: Detector, result: Adaptation, used: Sequence[View], checked: Sequence[View]
) -> Adaptation:
    """Map the colours of the scanner to those of training, unless maps agree much less.

    Args:
        detector: changed in place.
        result: what was changed so far.
        used: views that the colours come from.
        checked: other views, on which the agreement is measured.
    """
    before = detector.options
    if not before.colours.training:
        return result
    scanner = quantiles_of(features_of(view) for view in used)
    detector.options = replace(before, colours=replace(before.colours, scanner=scanner))
    agreed = agreement(detector, checked)
    log.info(f"agreement {agreed:.4f} with the colours mapped to those of training")
    if agreed < result.agreement - MAX_LOSS:
        detector.options = before
        return result
    return replace(result, colours=True, agreement=agreed)


def mix_statistics(
    detector: Detector, result: Adaptation, used: Sequence[View], checked: Sequence[View]
) -> Adaptation:
    """Give the detector the mixture of statistics with the highest agreement, if it is higher.

    Args: see :func:`map_colours`.
    """
    state = {name: value.clone() for name, value in detector.network.state_dict().items()}
    before = _statistics(detector.network)
    target = _estimate(detector, used)
    results = {}
    for share in SHARES:
        _set_statistics(detector.network, before, target, share)
        results[share] = agreement(detector, checked)
        log.info(f"agreement {results[share]:.4f} with {share:.0%} of the new statistics")
    best = max(results, key=results.__getitem__)
    if results[best] < result.agreement + MIN_GAIN:
        detector.network.load_state_dict(state)
        return result
    _set_statistics(detector.network, before, target, best)
    return replace(result, share=best, agreement=results[best])


def _choose_thresholds(
    detector: Detector,
    result: Adaptation,
    folder: Path,
    benign: Sequence[Path],
    max_fpr: float,
) -> Adaptation:
    """Choose thresholds on benign scans, and add the shares of them that alarm."""
    seen, alarms = [], []
    with tempfile.TemporaryDirectory() as adapted:
        detector.save(Path(adapted))
        usable = load_detector(adapted, runtime="torch")
        as_it_was = Screener.load(folder, runtime="torch")
        for scan in _read_bags(benign):
            seen.append(usable.run_views(scan.views))
            alarms.append(bool(as_it_was.screen(scan).findings))
    if len(seen) < MIN_SCANS:
        raise DataError(
            f"thresholds need at least {MIN_SCANS} benign bags that can be read, got {len(seen)}"
        )
    detector.thresholds, detector.operating_point = choose_alarms(
        seen, detector.thresholds, max_fpr, "scans declared benign", _items_only(detector)
    )
    after = detector.operating_point.expected_fpr
    return replace(result, false_alarms=after, false_alarms_before=float(np.mean(alarms)))


def _items_only(detector: Detector) -> bool:
    """Return True if prohibited items alone alarm, so that they do afterwards, too."""
    thresholds = detector.thresholds
    return bool(detector.prohibited) and thresholds.device == thresholds.outside == MAX_LOG_ODDS


def _check_alarms(
    detector: Detector,
    result: Adaptation,
    folder: Path,
    benign: Sequence[Path],
) -> Adaptation:
    """Add the shares of benign scans that alarm; refuse a detector that raises more of them."""
    with tempfile.TemporaryDirectory() as adapted:
        detector.save(Path(adapted))
        before, after = _alarm_shares([folder, Path(adapted)], benign)
    if after > before:
        raise DataError(
            f"the model is not adapted: {after:.1%} of the scans declared benign would alarm, "
            f"{before:.1%} do as it is; use the model as it is"
        )
    return replace(result, false_alarms=after, false_alarms_before=before)


def _read_views(
    folder: Path, archive: Sequence[Path], benign: Sequence[Path], max_scans: int
) -> list[View]:
    """Read the first view of scans at even steps through the archive, in random order.

    Scans declared benign, which check the result, are left out.
    """
    select = input_of(read_description(folder)).select
    checking = {path.resolve() for path in (find_scans(benign) if benign else ())}
    paths = [path for path in find_scans(archive) if path.resolve() not in checking]
    paths = paths[:: max(1, len(paths) // max_scans)][:max_scans]
    views = []
    for path in paths:
        try:
            views.append(select(read_scan(path).views[0]))
        except ReadError as error:
            log.info(f"left out: {error}")
    if len(views) < MIN_SCANS:
        raise DataError(
            f"adaptation needs at least {MIN_SCANS} scans that can be read, besides those declared "
            f"benign, got {len(views)}"
        )
    order = np.random.default_rng(0).permutation(len(views))
    return [views[k] for k in order]


def _alarm_shares(models: Sequence[Path], paths: Sequence[Path]) -> list[float]:
    """Return the share of scans that each model finds something in."""
    screeners = [Screener.load(model, runtime="torch") for model in models]
    alarms = [[bool(s.screen(scan).findings) for s in screeners] for scan in _read_bags(paths)]
    if not alarms:
        raise DataError("none of the scans declared benign can be read")
    return [float(share) for share in np.mean(alarms, axis=0)]


def _read_bags(paths: Sequence[Path]) -> Iterator[Scan]:
    """Read scans, the views of a bag together; what cannot be read is left out, with a message."""
    for files in group_views(find_scans(paths), VIEWS):
        scan, errors = read_views(files)
        for error in errors.values():
            log.info(f"left out: {error}")
        if scan is not None:
            yield scan


def _statistics(network: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return copies of the means and variances of every normalisation."""
    return [
        (norm.running_mean.clone(), norm.running_var.clone())  # type: ignore[union-attr]
        for norm in norms_of(network)
    ]


def _set_statistics(
    network: nn.Module,
    before: Sequence[tuple[torch.Tensor, torch.Tensor]],
    target: Sequence[tuple[torch.Tensor, torch.Tensor]],
    share: float,
) -> None:
    """Set a mixture of statistics; the variance includes the distance of the means."""
    for norm, (mean, variance), (new_mean, new_variance) in zip(
        norms_of(network), before, target, strict=True
    ):
        mixed = torch.lerp(mean, new_mean, share)
        second = torch.lerp(variance + mean**2, new_variance + new_mean**2, share)
        norm.running_mean.copy_(mixed)  # type: ignore[union-attr]
        norm.running_var.copy_((second - mixed**2).clamp(min=1e-6))  # type: ignore[union-attr]


def _estimate(detector: Detector, views: Sequence[View]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the statistics of crops of the views, and restore those of the detector."""
    network = detector.network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rng = np.random.default_rng(1)
    with estimating(network):
        for done, view in enumerate(views, 1):
            features = detector.options.colours.mapped(features_of(view))
            network(torch.from_numpy(_crops(features, rng)))
            if done % 50 == 0 or done == len(views):
                log.info(f"{done} of {len(views)} scans seen")
    target = _statistics(network)
    network.load_state_dict(before)
    return target


def _crops(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (n, C, 192, 192) crops around random points that are not air, as in training."""
    rows, columns = np.nonzero(features.mean(0) > MIN_FEATURE)
    half = CROP_PX // 2
    padded = np.pad(features, ((0, 0), (half, half), (half, half)))
    if not len(rows):
        rows, columns = np.array([features.shape[1] // 2]), np.array([features.shape[2] // 2])
    chosen = rng.integers(len(rows), size=CROPS_PER_VIEW)
    return np.stack(
        [padded[:, rows[k] : rows[k] + CROP_PX, columns[k] : columns[k] + CROP_PX] for k in chosen]
    )
