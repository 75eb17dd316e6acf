"""What is told to those who lack a package."""

import json

import pytest

from bagscan.core import extras


class Installed:
    def __init__(self, told):
        self.told = told

    def read_text(self, name):
        assert name == "direct_url.json"
        return self.told


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (None, "pip install 'bagscan[service]'"),
        (json.dumps({"url": "file:///a/wheel.whl", "archive_info": {}}), "pip install 'bagscan[service]'"),
        (json.dumps({"url": "file:///my%20clone", "dir_info": {"editable": True}}), "pip install -e '/my clone[service]'"),
        (json.dumps({"url": "file:///clone", "dir_info": {}}), "pip install '/clone[service]'"),
        (json.dumps({"url": "https://host/bagscan", "vcs_info": {"vcs": "git"}}), "pip install 'bagscan[service] @ git+https://host/bagscan'"),
    ],
)
def test_a_clone_is_told_to_install_from_itself(monkeypatch, told, line):
    monkeypatch.setattr(extras, "distribution", lambda name: Installed(told))
    assert extras.how_to_install("service") == line


def test_what_trains_is_brought_by_train():
    assert extras.extra_of("torch") == extras.extra_of("timm") == "train"
    assert extras.extra_of("s3fs") == "storage"
    assert extras.extra_of("prometheus_client") == "service"
