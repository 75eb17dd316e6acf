"""What is known of a scan beside its picture and its truth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """What is known of a scan beside its picture and its truth; empty, or None, where nobody tells.

    Attributes:
        collection: name of the set, where several are taken together and may number their scans alike.
        scan, view: that this is a view of. scene: what two scans share that differ by an anomaly alone.
        device, layout: class of the item and its build. piece: ``known`` of those that a laboratory scans again and again, else ``new``.
        holds: whether anything is hidden in the bag, in whatever view. ambiguous: whether other things lie wholly within the
            device's outline. look_alike: whether the bag has harmless things that look like anomalies.
        kind, way, stratum: of the anomaly that is shown: what, hidden how, and how far above the noise.
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
