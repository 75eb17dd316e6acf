"""Documentation under test: every command and setting is named, every link leads somewhere."""

import dataclasses
import re
import sys
import types
import unicodedata
from pathlib import Path

import pytest
from typer.main import get_command

from bagscan import testing
from bagscan.cli import app
from bagscan.cli.terminal import PRESETS
from bagscan.core import ReasonCode
from bagscan.datasets.config import DataConfig
from bagscan.detector.network import NetworkConfig
from bagscan.detector.two_views import TwoViewsConfig
from bagscan.formats import read_scan, write_image
from bagscan.model_config import InputConfig
from bagscan.registry import ALL, builtin_names, part
from bagscan.service.settings import ServiceConfig
from bagscan.simulate.recipe import Recipe
from bagscan.training.augment import AugmentConfig
from bagscan.training.detection import DetectionExperiment, DetectionTrainingConfig
from bagscan.training.detector_config import DetectorTaskConfig
from bagscan.training.detector_experiment import DetectorExperiment
from bagscan.training.joint_config import JointConfig
from bagscan.training.joint_experiment import JointExperiment
from bagscan.training.loop import LoopConfig
from bagscan.training.multi_label import MultiLabelConfig, MultiLabelExperiment
from bagscan.training.one_class import OneClassConfig, OneClassExperiment
from bagscan.training.ssn import SegmentationExperiment, SSNTrainingConfig
from bagscan.training.two_views import TwoViewsExperiment, TwoViewsTaskConfig
from bagscan.training.whole_bags import WholeBagsConfig, WholeBagsExperiment

ROOT = Path(__file__).parents[1]
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
CONFIGS = [JointExperiment, InputConfig, DataConfig, JointConfig, AugmentConfig, LoopConfig]
CONFIGS += [OneClassExperiment, OneClassConfig, MultiLabelExperiment, MultiLabelConfig]
CONFIGS += [SegmentationExperiment, SSNTrainingConfig, DetectionExperiment, DetectionTrainingConfig]
CONFIGS += [DetectorExperiment, DetectorTaskConfig, NetworkConfig, ServiceConfig]
CONFIGS += [TwoViewsExperiment, TwoViewsConfig, TwoViewsTaskConfig]
CONFIGS += [WholeBagsExperiment, WholeBagsConfig, Recipe]
CONFIGS += [part(kind, name).Config for kind in ALL for name in builtin_names(kind)]


def commands(group, path="bagscan"):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


@pytest.mark.parametrize(
    ("name", "command"),
    list(commands(get_command(app))),
    ids=lambda c: c if isinstance(c, str) else "",
)
def test_every_command_and_option_is_in_the_reference(name, command):
    assert f"`{name}`" in REFERENCE
    row = next(line for line in REFERENCE.splitlines() if line.startswith(f"| `{name}`"))
    for option in command.params:
        if option.opts[0].startswith("--") and option.opts[0] != "--help":
            assert f"`{option.opts[0]}`" in row


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.__module__}.{c.__name__}")
def test_every_setting_is_in_the_reference_with_its_default(config):
    for field in dataclasses.fields(config):
        default = "" if field.default is dataclasses.MISSING else f" | `{field.default}` |"
        assert f"| `{field.name}`{default}" in REFERENCE


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.__module__}.{c.__name__}")
def test_every_setting_is_explained_in_its_docstring(config):
    result = " ".join(parent.__doc__ or "" for parent in config.__mro__)
    unexplained = [
        field.name
        for field in dataclasses.fields(config)
        if not re.search(rf"\b{field.name}\b", result)
    ]
    assert not unexplained


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))],
    ids=lambda p: p.name,
)
def test_links_and_configurations_exist(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
    for target in re.findall(r"(?:configs|experiments)/[\w/]+\.(?:yaml|py|jsonl)", text):
        assert (ROOT / target).exists(), target


def anchors(page):
    """Anchors of a page's headings as GitHub makes them: letters, digits, hyphens, underscores."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE
    )
    return {
        "".join(
            c
            for c in heading.lower().replace(" ", "-")
            if unicodedata.category(c)[0] == "L"
            or unicodedata.category(c) in ("Nd", "Mn", "Pc")
            or c == "-"
        )
        for heading in headings
    }


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))],
    ids=lambda p: p.name,
)
def test_anchors_exist(page):
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
        assert anchor in anchors(page.parent / target if target else page), f"{target}#{anchor}"


def test_every_shipped_configuration_is_valid():
    from bagscan.training.experiment import read_experiment

    for path in sorted(PRESETS.glob("*.yaml")):
        read_experiment(path)


def test_api_page_is_what_the_service_says_of_itself():
    import subprocess
    import sys

    assert (
        subprocess.run(
            [sys.executable, ROOT / "docs" / "api.py", "--check"], check=False
        ).returncode
        == 0
    )


def test_every_setting_has_a_meaning():
    settings = REFERENCE.partition("<!-- settings")[2]
    rows = re.findall(r"^\| `([^`]+)` \| .* \| (.*) \|$", settings, re.M)
    assert len(rows) > 300
    assert [name for name, meaning in rows if not meaning.strip()] == []


def test_every_reason_is_in_the_reference():
    for code in ReasonCode:
        assert f"| `{code}` |" in REFERENCE


def test_the_scorer_and_the_dataset_of_the_guide_keep_to_their_contracts(tmp_path, monkeypatch):
    scorer, dataset = (
        module_of(block)
        for block in re.findall(
            r"```python\n(.*?)```", (ROOT / "docs" / "add_a_part.md").read_text(), re.DOTALL
        )
        if "class " in block
    )
    testing.check_scorer(scorer)
    testing.check_part(scorer)
    (tmp_path / "my_scans" / "train").mkdir(parents=True)
    write_image(tmp_path / "my_scans" / "train" / "a.png", testing.synthetic_view(3))
    monkeypatch.setenv("BAGSCAN_DATA", str(tmp_path))
    assert len(dataset.Config(format="my_scans", root="my_scans").load().records) == 1


def test_the_code_of_the_page_on_scanners_files_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "your_scanners_files.md").read_text(), re.DOTALL
    ):
        exec(block, names)
    assert (tmp_path / "7_preview.png").is_file()


def test_every_setting_of_a_sidecar_is_on_its_page():
    from bagscan.formats.headerless import Sidecar

    page = (ROOT / "docs" / "your_scanners_files.md").read_text()
    for field in dataclasses.fields(Sidecar):
        assert f"`{field.name}`" in page


def module_of(source):
    module = types.ModuleType("guide")
    sys.modules["guide"] = module  # dataclasses look their own module up here
    exec(source, module.__dict__)
    return module


@pytest.mark.parametrize(("page", "number"), [("README.md", 1), ("docs/python.md", 0)])
def test_a_bag_is_screened_from_python_as_shown(page, number, simulated_root, capsys):
    code = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)[number]
    assert "demo-out/simulated/raw" in code
    exec(code.replace("demo-out/simulated", str(simulated_root)), {})
    assert capsys.readouterr().out.split()[0] in {"ALARM", "CLEAR"}, "both views were read"


def test_an_array_is_saved_as_the_readme_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0], {})
    view = read_scan("bag.tif").views[0]
    assert view.channels == ("low", "high", "zeff")
    assert view.pixels[:2] == pytest.approx(1.0, abs=1e-3), "air"
