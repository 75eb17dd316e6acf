"""Messages to users who lack a package."""

import json
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bagscan.core import extras


class Installed:
    def __init__(self, result):
        self.result = result

    def read_text(self, name):
        assert name == "direct_url.json"
        return self.result


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (None, "pip install 'bagscan[service]'"),
        (
            json.dumps({"url": "file:///a/wheel.whl", "archive_info": {}}),
            "pip install 'bagscan[service]'",
        ),
        (
            json.dumps({"url": "file:///my%20clone", "dir_info": {"editable": True}}),
            "pip install -e '/my clone[service]'",
        ),
        (json.dumps({"url": "file:///clone", "dir_info": {}}), "pip install '/clone[service]'"),
        (
            json.dumps({"url": "https://host/bagscan", "vcs_info": {"vcs": "git"}}),
            "pip install 'bagscan[service] @ git+https://host/bagscan'",
        ),
    ],
)
def test_a_clone_is_told_to_install_from_itself(monkeypatch, result, line):
    monkeypatch.setattr(extras, "distribution", lambda name: Installed(result))
    assert extras.how_to_install("service") == line


def test_what_trains_is_brought_by_train():
    assert extras.extra_of("torch") == extras.extra_of("timm") == "train"
    assert extras.extra_of("s3fs") == "storage"
    assert extras.extra_of("prometheus_client") == "service"


def test_a_clone_offers_its_own_environment_too(monkeypatch, tmp_path):
    result = json.dumps({"url": f"file://{tmp_path}", "dir_info": {"editable": True}})
    monkeypatch.setattr(extras, "distribution", lambda name: Installed(result))
    assert extras.or_make_setup("train") == ""  # no Makefile there
    (tmp_path / "Makefile").touch()
    assert (
        extras.or_make_setup("train")
        == f"; or run make setup in {tmp_path}, which installs all extras into {tmp_path / '.venv'}"
    )
    assert extras.or_make_setup("cluster") == ""
    monkeypatch.setattr(extras, "distribution", lambda name: Installed(None))
    assert extras.or_make_setup("train") == ""


def versions(path):
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert all("://" not in line and "--" not in line for line in lines), "no registry addresses"
    return dict(line.split("==") for line in lines)


def test_each_extra_has_a_lock_file_with_the_versions_that_are_tested():
    root = Path(__file__).parents[2]
    asked = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    wanted = {"core": [], **asked["optional-dependencies"]}
    assert {path.stem for path in (root / "locks").glob("*.txt")} == set(wanted), "run make lock"
    tested = versions(root / "constraints.txt")
    for extra, requirements in wanted.items():
        locked = versions(root / "locks" / f"{extra}.txt")
        assert locked.items() <= tested.items(), extra
        for requirement in map(Requirement, [*asked["dependencies"], *requirements]):
            name = canonicalize_name(requirement.name)
            if name != "bagscan":
                assert requirement.specifier.contains(locked[name].partition(" ")[0]), name
