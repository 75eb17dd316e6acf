"""Models that serve: pinned by hash, shadow, rollback; hostile folders are not loaded."""

import json
import pickle
import shutil

import pytest
from safetensors import SafetensorError
from sqlalchemy import insert, select

from bagscan.core.errors import ModelError
from bagscan.model_folder import DEFAULTS, SHIPPED, shipped_models, write_files
from bagscan.service.inference import models
from bagscan.service.store import tables
from tests.service.conftest import send, until
from tests.service.stubs import tiff

NAMES = (
    "weights.safetensors",
    "model.json",
    "MODEL_CARD.md",
    "maps.onnx",
    "verdict.onnx",
    "both_views.onnx",
    "SHA256SUMS",
)


@pytest.fixture
def another(tmp_path):
    """A model folder with the channels of the bundled raw model, and another hash."""
    folder = tmp_path / "another"
    shutil.copytree(SHIPPED / "raw", folder)
    result = json.loads((folder / "model.json").read_text())
    result["about"]["note"] = "another"
    (folder / "model.json").write_text(json.dumps(result))
    return folder, write_files(folder, {})


def upload(client, folder, names=NAMES):
    return client.post(
        "/v1/models", files=[("files", (name, (folder / name).read_bytes())) for name in names]
    )


def serving(client):
    return {
        one["channels"]: one for one in client.get("/v1/models").json()["models"] if one["active"]
    }


def test_one_bundled_model_of_each_kind_of_image_serves_from_the_start(house):
    assert {one["name"] for one in serving(house.person("admin")).values()} == set(DEFAULTS)


def test_add_activate_and_roll_back_in_one_call(house, another):
    admin = house.person("admin")
    folder, identity = another
    before = serving(admin)["low,high,zeff"]
    assert upload(admin, folder).json()["id"] == identity
    assert serving(admin)["low,high,zeff"]["id"] == before["id"]  # known but not serving
    admin.post(f"/v1/models/{identity}/activate")
    assert serving(admin)["low,high,zeff"]["id"] == identity
    assert admin.post("/v1/models/rollback", json={"channels": "low,high,zeff"}).json() == {
        "model_id": before["id"],
        "threshold": before["threshold"],
    }
    assert serving(admin)["low,high,zeff"]["id"] == before["id"]
    assert admin.post("/v1/models/rollback", json={"channels": "none"}).status_code == 404
    assert admin.post("/v1/models/nothing/activate").status_code == 404


def test_a_model_of_an_earlier_version_does_not_come_back_to_serve(house):
    """Its package folder now holds another model: every scan of its channels would be REVIEW."""
    admin = house.person("admin")
    now = serving(admin)["low,high,zeff"]

    def earlier(connection):
        row = dict(
            connection.execute(select(tables.models).where(tables.models.c.id == now["id"]))
            .mappings()
            .one()
        )
        connection.execute(insert(tables.models).values(**row | {"id": "0" * 32}))
        for one in ("0" * 32, now["id"]):
            connection.execute(
                insert(tables.deployments).values(
                    channels="low,high,zeff",
                    mode="active",
                    model_id=one,
                    by="bagscan",
                    created_at=0.0,
                )
            )

    house.service.store.write(earlier)
    for result in (
        admin.post("/v1/models/rollback", json={"channels": "low,high,zeff"}),
        admin.post(f"/v1/models/{'0' * 32}/activate"),
    ):
        assert result.status_code == 422
    assert serving(admin)["low,high,zeff"]["id"] == now["id"]


def test_a_threshold_changes_what_is_flagged_and_comes_back(house):
    supervisor, machine = house.person("supervisor"), house.machine()
    assert send(machine, tiff("score 0.7")).json()["decision"] == "ALARM"
    for one in serving(supervisor).values():
        assert (
            supervisor.put(f"/v1/models/{one['id']}/threshold", json={"threshold": 0.8}).status_code
            == 200
        )
    result = send(machine, tiff("score 0.7", 2)).json()
    assert (result["decision"], result["threshold"]) == ("CLEAR", 0.8)
    for one in serving(supervisor).values():
        supervisor.put(f"/v1/models/{one['id']}/threshold", json={"threshold": None})
    assert send(machine, tiff("score 0.7", 3)).json()["decision"] == "ALARM"
    for bad in (0, 1, -1, 2):
        assert (
            supervisor.put(f"/v1/models/{one['id']}/threshold", json={"threshold": bad}).status_code
            == 422
        )


def test_a_shadow_is_compared_and_nobody_acts_on_it(house, another):
    admin = house.person("admin")
    folder, identity = another
    upload(admin, folder)
    admin.post(f"/v1/models/{identity}/shadow")
    assert (
        send(house.machine(), tiff("alarm")).json()["decision"] == "ALARM"
    )  # the stub's shadow says CLEAR
    shadows = lambda: admin.get("/v1/statistics").json()["shadows"]  # noqa: E731
    until(shadows, 10)  # the shadow scores after the verdict is out
    result = shadows()
    assert result[0]["same"] == {**result[0]["same"], "k": 0, "n": 1}
    assert result[0]["active_alarms"] == 1
    admin.post("/v1/models/end-shadow", json={"channels": "low,high,zeff"})
    for number in (2, 3):  # the one worker has done the second when the third is answered
        send(house.machine(), tiff("alarm", number))
    assert shadows()[0]["same"]["n"] == 1


class Evil:
    def __reduce__(self):
        return (print, ("loaded",))


@pytest.mark.parametrize(
    "how",
    [
        "altered weights",
        "altered description",
        "pickle for weights",
        "more files",
        "fewer files",
        "path in the manifest",
        "no operating point",
        "deep json",
    ],
)
def test_hostile_folders_are_refused_and_nothing_of_them_stays(house, another, how, tmp_path):
    admin = house.person("admin")
    folder, _ = another
    names = NAMES
    if how == "altered weights":
        content = bytearray((folder / "weights.safetensors").read_bytes())
        content[-1] ^= 1
        (folder / "weights.safetensors").write_bytes(content)
    elif how == "altered description":
        result = json.loads((folder / "model.json").read_text())
        result["operating_point"]["threshold"] /= 2
        (folder / "model.json").write_text(json.dumps(result))
    elif how == "pickle for weights":
        (folder / "weights.pkl").write_bytes(pickle.dumps(Evil()))
        names = ("weights.pkl", *NAMES[1:])
    elif how == "more files":
        (folder / "external.bin").write_bytes(b"x")
        names = (*NAMES, "external.bin")
    elif how == "fewer files":
        names = NAMES[:-1]
    elif how == "path in the manifest":
        (folder / "SHA256SUMS").write_text("0" * 64 + "  ../../etc/passwd\n")
    elif how == "no operating point":
        result = json.loads((folder / "model.json").read_text())
        result["operating_point"] = None
        (folder / "model.json").write_text(json.dumps(result))
        write_files(folder, {})
    else:
        (folder / "model.json").write_text("[" * 100_000)
        write_files(folder, {})
    answer = upload(admin, folder, names)
    assert answer.status_code == 422, answer.text
    assert len(admin.get("/v1/models").json()["models"]) == len(shipped_models())
    kept = house.service.config.models_folder
    assert not kept.exists() or list(kept.iterdir()) == []


def test_weights_that_are_a_pickle_are_not_loaded_even_with_their_hash(capsys, another):
    from bagscan.detector.model import Detector

    folder, _ = another
    (folder / "weights.safetensors").write_bytes(pickle.dumps(Evil()))
    write_files(folder, {})
    with pytest.raises((SafetensorError, ModelError)):
        Detector.load(folder)
    assert "loaded" not in capsys.readouterr().out  # the pickle would print this


def test_an_altered_model_on_disk_is_told(tmp_path, another):
    folder, _ = another
    models.describe(folder)
    (folder / "MODEL_CARD.md").write_text("better than it is")
    with pytest.raises(ModelError, match="altered"):
        models.describe(folder)
