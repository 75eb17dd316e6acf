"""``deploy/`` agrees with the project: files exist, commands parse, and rights are minimal."""

import json
import re
import shlex
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import typer
import yaml

from bagscan.cli import app
from bagscan.service.settings import ServiceConfig

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PORT = next(
    field.default for field in fields(ServiceConfig) if field.name == "port"
)  # if a command names none
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def stages():
    """Instructions of every stage of the Dockerfile: [(name, rest), ...]."""
    text = re.sub(
        r"\\\n",
        " ",
        "\n".join(
            line
            for line in (DEPLOY / "Dockerfile").read_text().splitlines()
            if not line.lstrip().startswith("#")
        ),
    )
    found = []
    for line in filter(str.strip, text.splitlines()):
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest.strip()))
    return found


def of(stage, name):
    return [rest for instruction, rest in stage if instruction == name]


def served(arguments):
    """Parse arguments of ``bagscan`` as the command line would, without running anything."""
    group = typer.main.get_command(app)
    name, *rest = arguments
    return group.commands[name].make_context(name, list(rest))


def test_the_image_is_built_in_stages_from_versions_that_are_named(stages):
    assert len(stages) == 2
    for stage in stages:
        image = of(stage, "FROM")[0].split()[0]
        assert re.search(r":\d", image), f"{image}: no version"
        assert not of(stage, "ADD")
        assert all(
            "sudo" not in run and ("pip" not in run or "--no-cache-dir" in run)
            for run in of(stage, "RUN")
        )


def test_the_image_runs_without_rights_and_says_when_it_is_ready(stages):
    last = stages[-1]
    assert of(last, "USER") == ["bagscan"]
    order = [name for name, _ in last]
    assert order.index("USER") > max(i for i, name in enumerate(order) if name in ("RUN", "COPY"))
    assert "/v1/health/ready" in of(last, "HEALTHCHECK")[0]
    for form in ("ENTRYPOINT", "CMD"):
        assert isinstance(json.loads(of(last, form)[0]), list), (
            "by a list no shell stands between, which would keep signals to itself"
        )


def test_what_is_copied_is_there_and_reaches_the_builder(stages):
    let_in = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copied = [
        source
        for stage in stages
        for rest in of(stage, "COPY")
        if not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
        assert source in let_in
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*", (
        "an archive of scans beside the sources is no part of the image"
    )


def test_extras_of_the_image_are_those_of_the_project(stages):
    extras = re.search(r"\[([a-z,]+)\]", " ".join(of(stages[-1], "RUN")))[1].split(",")
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) <= set(known)
    assert not {"train", "export"} & set(extras), "no torch"


def test_commands_of_image_compose_and_unit_are_understood(stages):
    command = json.loads(of(stages[-1], "CMD")[0])
    port = of(stages[-1], "EXPOSE")[0]
    unit = next(
        line
        for line in (DEPLOY / "bagscan.service").read_text().splitlines()
        if line.startswith("ExecStart=")
    )
    for arguments in (
        command,
        COMPOSE["services"]["bagscan"]["command"],
        shlex.split(unit.partition("=")[2])[1:],
    ):
        result = served(arguments).params
        assert str(result["port"] or PORT) == port
        assert "secure_cookie=true" in result["settings"]


def test_the_proxy_reaches_the_service():
    nginx = (DEPLOY / "nginx.conf").read_text()
    name, port = re.search(r"server (\w+):(\d+)", nginx).groups()
    assert name in COMPOSE["services"]
    assert int(port) == (served(COMPOSE["services"][name]["command"]).params["port"] or PORT)
    mounted = {volume.split(":")[1] for volume in COMPOSE["services"]["proxy"]["volumes"]}
    assert set(re.findall(r"ssl_certificate(?:_key)? (\S+);", nginx)) <= mounted


def test_compose_names_what_it_declares_and_gives_no_rights():
    services = COMPOSE["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", ())) <= set(services)
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
        assert "privileged" not in service
        assert all(
            not source.startswith("/") and (source.startswith(".") or source in COMPOSE["volumes"])
            for source in (v.split(":")[0] for v in service.get("volumes", ()))
        )
        assert name == "bagscan" or re.search(r":[a-z0-9]", service["image"])
    own = services["bagscan"]
    assert own["read_only"]
    assert own["cap_drop"] == ["ALL"]
    assert "ports" not in own, "the proxy alone is reached from outside"
    assert (DEPLOY / own["build"]["context"] / own["build"]["dockerfile"]).is_file()
