"""Write the tables of settings in docs/reference.md from the settings classes.

Usage: ``python docs/settings.py [--check]``.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from pathlib import Path

from bagscan.datasets.config import DataConfig
from bagscan.detector.network import NetworkConfig
from bagscan.detector.two_views import TwoViewsConfig
from bagscan.model_config import InputConfig, ModelConfig
from bagscan.registry import ALL, builtin_names, part
from bagscan.service.settings import ServiceConfig
from bagscan.simulate.scene import Recipe
from bagscan.training.augment import AugmentConfig
from bagscan.training.detection import DetectionExperiment, DetectionTrainingConfig
from bagscan.training.detector import DetectorTaskConfig
from bagscan.training.detector_experiment import DetectorExperiment
from bagscan.training.joint import JointConfig
from bagscan.training.joint_experiment import JointExperiment
from bagscan.training.loop import LoopConfig
from bagscan.training.multi_label import MultiLabelConfig, MultiLabelExperiment
from bagscan.training.one_class import OneClassConfig, OneClassExperiment
from bagscan.training.ssn import SegmentationExperiment, SSNTrainingConfig
from bagscan.training.two_views import TwoViewsExperiment, TwoViewsTaskConfig
from bagscan.training.whole_bags import WholeBagsConfig, WholeBagsExperiment

PAGE = Path(__file__).parent / "reference.md"
START, END = "<!-- settings: written by docs/settings.py -->", "<!-- end of settings -->"
CLASSES = {
    "top level, kind joint": JointExperiment,
    "`data`": DataConfig,
    "`model`": ModelConfig,
    "`model.input`": InputConfig,
    "`training`, kind joint": JointConfig,
    "`training.augment`": AugmentConfig,
    "`loop`": LoopConfig,
    "top level, kind ssn": SegmentationExperiment,
    "`training`, kind ssn": SSNTrainingConfig,
    "top level, kind detection": DetectionExperiment,
    "`training`, kind detection": DetectionTrainingConfig,
    "top level, kind detector": DetectorExperiment,
    "`network`, kind detector": NetworkConfig,
    "`training`, kind detector": DetectorTaskConfig,
    "top level, kind two_views": TwoViewsExperiment,
    "`two_views`, kinds detector and two_views": TwoViewsConfig,
    "`training`, kind two_views": TwoViewsTaskConfig,
    "top level, kind whole_bags": WholeBagsExperiment,
    "`training`, kind whole_bags": WholeBagsConfig,
    "top level, kind multi_label": MultiLabelExperiment,
    "`training`, kind multi_label": MultiLabelConfig,
    "top level, kind one_class": OneClassExperiment,
    "`training`, kind one_class": OneClassConfig,
}


def tables() -> str:
    """Return a heading and a table for every settings class."""
    parts = [(kind, name) for kind in ALL for name in builtin_names(kind)]
    classes = (
        CLASSES
        | {f"{kind}: `{name}`": part(kind, name).Config for kind, name in parts}
        | {"recipes of `bagscan simulate`": Recipe}
    )
    lines = [
        line
        for title, config in (classes | {"`bagscan serve`": ServiceConfig}).items()
        for line in (f"### {title}", "", *explained(config))
    ]
    return "\n".join(lines)


def _meanings(config: type) -> dict[str, str]:
    """Return the meaning of every setting, from the docstrings of a class and its bases."""
    settings = [field.name for field in dataclasses.fields(config)]
    meanings: dict[str, str] = {}
    for base in reversed(config.__mro__):
        meanings |= _parse_attributes(base.__doc__ or "", settings)
    return meanings


def _parse_attributes(docstring: str, settings: list[str]) -> dict[str, str]:
    text = re.sub(r"\s+", " ", docstring.partition("Attributes:")[2])
    text = (
        re.sub(r":\w+:`[~.]?([^`]*)`", lambda link: f"`{link[1].rpartition('.')[2]}`", text)
        .replace("``", "`")
        .replace("|", "\\|")
    )
    name = "|".join(settings)
    entries = list(re.finditer(rf"(?:^| )((?:(?:{name}), )*(?:{name})): ", text))
    meanings = {}
    for entry, following in zip(entries, [*entries[1:], None], strict=False):
        meaning = text[entry.end() : following.start() if following else len(text)].strip()
        meanings |= dict.fromkeys(entry.group(1).split(", "), meaning)
    return meanings


def explained(config: type) -> list[str]:
    """Return the lines of a table of settings with defaults and meanings."""
    meanings = _meanings(config)
    return [
        "| setting | default | meaning |",
        "|---|---|---|",
        *(
            f"| `{f.name}` | `{_default(f)}` | {meanings.get(f.name, '')} |"
            for f in dataclasses.fields(config)
        ),
        "",
    ]


def _default(field: dataclasses.Field) -> str:
    if field.default is not dataclasses.MISSING:
        return str(field.default)
    if field.default_factory is dataclasses.MISSING:
        return "(required)"
    default = field.default_factory()
    return "(group)" if dataclasses.is_dataclass(default) else str(default)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="exit with an error if the page is out of date"
    )
    check = parser.parse_args().check
    page = PAGE.read_text()
    before, rest = page.split(START)
    updated = f"{before}{START}\n\n{tables()}\n{END}{rest.split(END)[1]}"
    if check and updated != page:
        sys.exit(f"{PAGE} is out of date; run python docs/settings.py")
    PAGE.write_text(updated)


if __name__ == "__main__":
    main()
