"""Metadata of a scan: origin, device and hidden anomaly."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """Metadata of one view of a scan. An unknown value is an empty string or None.

    Attributes:
        collection: name of the dataset; distinguishes equal scan ids of combined datasets.
        scan: id of the scan.
        view: name of the view.
        scene: id shared by twins, scans that differ only by the anomaly.
        device: class of the device.
        layout: variant of the device class.
        piece: ``known`` for an individual device that is scanned repeatedly, else ``new``.
        holds: True if the bag contains an anomaly, visible in this view or not.
        ambiguous: True if other items lie entirely within the device's outline.
        look_alike: True if the bag contains harmless items that look like anomalies.
        kind: kind of the anomaly in this view.
        way: how the anomaly is concealed.
        stratum: how far the anomaly rises above the noise.
    """

    collection: str = ""
    scan: str = ""
    view: str = ""
    scene: str = ""
    device: str = ""
    layout: str = ""
    piece: str = ""
    holds: bool | None = None
    ambiguous: bool | None = None
    look_alike: bool | None = None
    kind: str = ""
    way: str = ""
    stratum: str = ""
