"""How much of everything: ``smoke`` proves that it runs, ``small`` fits two CPU cores, ``medium`` minutes of an accelerator, ``full`` hours of one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bagscan.core.errors import ConfigError, nearest


@dataclass(frozen=True)
class ScanSet:
    """A simulated set: ``preset`` and its first ``count`` scans, of the home scanner or another ``profile``."""

    preset: str
    count: int
    profile: str | None = None

    @property
    def name(self) -> str:
        """Folder of the set."""
        return f"{self.preset}_{self.count}" + (f"_{self.profile}" if self.profile else "")


@dataclass(frozen=True)
class Scale:
    """Sizes of one scale.

    Attributes:
        train_on: sets whose training items are pooled; each is tested apart. also_test: tested alone, all scans of them.
        seeds: of every cell. window_px: side of training windows.
        object_px: side that masked items are resized to. object_window_px: window around a whole
            item, which at most one in a hundred is larger than (0.5 % at ``small``).
        segment_px: side that segments are resized to in ``crop`` mode. superpixel_side_px: their side.
        ssn_width, ssn_stride: of the superpixel network. dim: channels of the pooled encoder's pathway.
        steps, object_steps, crop_steps, detector_steps: training, by kind of cell. batch: windows a step.
        learning_rate: at its peak. network_share: steps of a network, as a share, where one costs much more.
        threats: share of benign training items that a threat is projected into, each drawn without it too.
        shrink: pixels of the scans that one pixel of an item is the mean of, along each side.
        test_scans, validation_scans: of every set at most, whole and spread evenly; 0 for all.
        validation_items: judged while training. detected_scans: of the test scans, those whose items
            are also taken from the detector.
        pretrained: whether ResNet-50, VGG-16 and SqueezeNet start from ImageNet weights (they must be had).
        tiny_networks: the smallest there are, to prove that it runs.
    """

    name: str
    train_on: tuple[ScanSet, ...]
    also_test: tuple[ScanSet, ...]
    seeds: tuple[int, ...]
    window_px: int
    object_px: int
    object_window_px: int
    segment_px: int
    superpixel_side_px: float
    ssn_width: int
    ssn_stride: int
    dim: int
    steps: int
    object_steps: int
    crop_steps: int
    detector_steps: int
    batch: int
    learning_rate: float
    detected_scans: int
    validation_items: int = 150
    test_scans: int = 0
    validation_scans: int = 0
    threats: float = 0.0
    shrink: int = 1
    network_share: tuple[tuple[str, float], ...] = ()
    pretrained: bool = False
    tiny_networks: bool = False

    @property
    def sets(self) -> tuple[ScanSet, ...]:
        """All that are simulated, packed and judged."""
        return (*self.train_on, *self.also_test)


SMALL = Scale(
    "small",
    train_on=(ScanSet("deei", 2400), ScanSet("lab", 2000)),
    also_test=(ScanSet("visible", 120), ScanSet("visible", 120, "g640_140kv")),
    seeds=(0, 1, 2),
    window_px=144,
    object_px=96,
    object_window_px=320,
    segment_px=48,
    superpixel_side_px=8,
    ssn_width=12,
    ssn_stride=2,
    dim=64,
    steps=600,
    object_steps=600,
    crop_steps=375,  # two thirds of the minutes of the pooled cells' 600
    detector_steps=800,
    batch=16,  # on one thread torch takes a slower way through 1x1 convolutions below 16
    learning_rate=1e-3,
    detected_scans=40,
    validation_items=120,
    test_scans=150,
    validation_scans=120,
    threats=0.5,
    shrink=2,
    network_share=(("VGG-16", 0.25), ("ResNet-50", 0.8)),  # so that a core without 16 bits is done in some 40 minutes too
)

SCALES = {
    "smoke": Scale(
        "smoke",
        train_on=(ScanSet("smoke", 20),),
        also_test=(),
        seeds=(0,),
        window_px=48,
        object_px=32,
        object_window_px=160,
        segment_px=32,
        superpixel_side_px=12,
        ssn_width=4,
        ssn_stride=2,
        dim=8,
        steps=2,
        object_steps=2,
        crop_steps=2,
        detector_steps=2,
        batch=2,
        learning_rate=1e-3,
        detected_scans=2,
        tiny_networks=True,
    ),
    "small": SMALL,
    # What of the figures of small is for want of training: rows in ten minutes of an accelerator. Whole items come in batches
    # of twice as many, and so both levels are shown as many windows.
    "medium": replace(SMALL, name="medium", steps=2000, object_steps=1000, crop_steps=1250, batch=32, network_share=(), detected_scans=0),
    "full": Scale(
        "full",
        train_on=(ScanSet("deei", 7022), ScanSet("lab", 2000), ScanSet("visible", 1400)),
        also_test=(ScanSet("visible", 120), ScanSet("visible", 120, "g640_140kv"), ScanSet("visible", 120, "g640_cu")),
        seeds=(0, 1, 2),
        window_px=224,
        object_px=224,
        object_window_px=640,
        segment_px=96,
        superpixel_side_px=12,
        ssn_width=64,
        ssn_stride=1,
        dim=128,
        steps=6000,
        object_steps=6000,
        crop_steps=3000,
        detector_steps=6000,
        batch=32,
        learning_rate=1e-3,
        detected_scans=600,
        threats=0.5,
    ),
}


def scale_named(name: str) -> Scale:
    """Raises :class:`ConfigError` naming the nearest scale."""
    if name not in SCALES:
        raise ConfigError(f"no scale {name!r}{nearest(name, SCALES)}; there are {', '.join(SCALES)}")
    return SCALES[name]
