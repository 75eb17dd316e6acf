"""Archives in object storage: a real S3 protocol, against moto's server on loopback."""

import json

import numpy as np
import pyarrow.dataset as ds
import pytest

from bagscan.batch.index import read_index, write_index
from bagscan.batch.pool import Pool
from bagscan.batch.run import BatchConfig, missing_parts, prepare, screen_archive
from bagscan.batch.storage import (
    fetch_bag,
    file_system,
    is_remote,
    join,
    list_folders,
    object_at,
    publish,
    rename_keys,
)
from bagscan.core.errors import ConfigError, DataError, ReadError
from bagscan.formats.images import write_image, write_png_set
from bagscan.formats.tiff import write_tiff
from bagscan.model_folder import shipped_models
from bagscan.workers.screeners import synthetic_scan
from tests.batch.test_batch import bytes_of, rows

moto_server = pytest.importorskip("moto.server", reason="pip install 'moto[server]'")


class Input:
    def __init__(self, quantity, channels):
        self.quantity, self.channels = quantity, channels


RAW, COLOUR = (
    Input("dual_energy", ("low", "high", "zeff")),
    Input("pseudo_colour", ("red", "green", "blue")),
)


@pytest.fixture(scope="module")
def store():
    server = moto_server.ThreadedMotoServer(port=0)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        }.items():
            patch.setenv(name, value)  # workers inherit them, as they would a user's
        system, _ = file_system("s3://scans")
        system.mkdir("scans")
        yield system
    server.stop()


@pytest.fixture(scope="module")
def archive(store, tmp_path_factory):
    """Two folders of raw bags, a colour picture, a PNG set and a broken file, on disk and in S3."""
    here = tmp_path_factory.mktemp("archive")
    (here / "a").mkdir(), (here / "b").mkdir()
    for bag in range(4):
        for view in ("below", "side"):
            write_tiff(
                here / "a" / f"{bag:03d}_{view}.tif",
                synthetic_scan(RAW, 80 + bag, 100, seed=bag).views[0],
            )
    write_image(here / "b" / "picture.png", synthetic_scan(COLOUR, 90, 90).views[0])
    write_png_set(here / "b", "set", synthetic_scan(RAW, 70, 90, seed=9).views[0])
    (here / "b" / "torn.tif").write_bytes(b"II*\0torn")
    store.put(str(here) + "/", "scans/archive", recursive=True)
    return here


def screened(source, out, to="", **settings):
    config = BatchConfig(**{"part_size": 3, "timeout_s": 60.0, **settings})
    prepare([source], shipped_models(), out, config)
    return screen_archive(out, config, Pool(shipped_models(), config), to)


@pytest.mark.slow
def test_the_same_findings_as_from_local_files(archive, tmp_path):
    here, there = (
        screened(archive, tmp_path / "here"),
        screened("s3://scans/archive", tmp_path / "there", to="s3://scans/out"),
    )
    assert there["bags"] == here["bags"] == 7
    assert there["errors"] == here["errors"] == 1
    local, remote = rows(tmp_path / "here"), rows(tmp_path / "there")
    result = json.dumps(local).replace(str(archive), "s3://scans/archive")
    assert json.loads(result) == json.loads(json.dumps(remote))
    assert remote[0]["path"].startswith("s3://scans/archive/a/000")
    assert next(row for row in remote if row["error"])["bag"] == "torn.tif".removesuffix(".tif")


@pytest.mark.slow
def test_finished_parts_lie_in_object_storage_too(store, archive, tmp_path):
    screened("s3://scans/archive", tmp_path / "out", to="s3://scans/parts")
    names = sorted(path.rpartition("/")[2] for path in store.ls("scans/parts") if "part-" in path)
    assert names == sorted(bytes_of(tmp_path / "out"))
    assert store.cat(f"scans/parts/{names[0]}") == (tmp_path / "out" / names[0]).read_bytes()
    table = ds.dataset("scans/parts", filesystem=store).to_table()
    assert table.num_rows == 7


@pytest.mark.slow
def test_another_run_does_not_write_over_the_parts_of_this_one(archive, tmp_path):
    screened("s3://scans/archive/a", tmp_path / "one", to="s3://scans/mine")
    screened("s3://scans/archive/a", tmp_path / "one", to="s3://scans/mine")
    with pytest.raises(ConfigError, match="parts of another run"):
        screened("s3://scans/archive/b", tmp_path / "two", to="s3://scans/mine")


def test_what_was_not_copied_before_a_kill_is_copied_in_the_end(store, tmp_path):
    part = tmp_path / "part-00000.parquet"
    part.write_bytes(b"whole part")
    store.pipe("scans/again/part-00000.parquet", b"who")
    publish([part], "s3://scans/again", missing_only=True)
    assert store.cat("scans/again/part-00000.parquet") == b"whole part"
    store.pipe(
        "scans/again/part-00000.parquet", b"WHOLE PART"
    )  # of the same size, so the change is not noticed
    publish([part], "s3://scans/again", missing_only=True)
    assert store.cat("scans/again/part-00000.parquet") == b"WHOLE PART"
    publish([part], "s3://scans/again")
    assert store.cat("scans/again/part-00000.parquet") == b"whole part"
    with pytest.raises(DataError, match="cannot be written"):
        publish([part], "s3://no-such-bucket-at-all/x")


@pytest.mark.slow
def test_a_resumed_run_judges_only_what_is_missing(archive, tmp_path):
    out, config = tmp_path / "out", BatchConfig(part_size=3)
    screened("s3://scans/archive", out)
    before = bytes_of(out)
    (out / "part-00001.parquet").unlink()
    assert [number for number, _ in missing_parts(out, config)] == [1]
    screened("s3://scans/archive", out)
    assert bytes_of(out) == before


def test_the_index_holds_sets_once_and_what_changes_with_an_object(archive, tmp_path):
    write_index(["s3://scans/archive"], tmp_path / "_index.arrow", ("below", "side"))
    bags = next(read_index(tmp_path / "_index.arrow", 100))
    assert [bag["bag"] for bag in bags] == ["000", "001", "002", "003", "picture", "set", "torn"]
    assert all(view["stamp"] for bag in bags for view in bag["views"])
    assert [view["view_id"] for view in bags[0]["views"]] == ["below", "side"]


@pytest.mark.slow
def test_an_object_that_is_gone_is_an_error_row(store, archive, tmp_path):
    store.put(str(archive / "a" / "000_below.tif"), "scans/going/one.tif")
    store.put(str(archive / "a" / "001_below.tif"), "scans/going/two.tif")
    config = BatchConfig(part_size=3)
    prepare(["s3://scans/going"], shipped_models(), tmp_path / "out", config)
    store.rm("scans/going/one.tif")
    result = screen_archive(tmp_path / "out", config, Pool(shipped_models(), config))
    assert result["errors"] == 1
    found = rows(tmp_path / "out")
    assert found[0]["decision"] == "REVIEW"
    assert "s3://scans/going/one.tif: no such object" in found[0]["error"]
    assert found[0]["path"] == "s3://scans/going/one.tif"


def test_clear_errors(store, tmp_path):
    with pytest.raises(DataError, match="nothing is there"):
        prepare(["s3://scans/nothing"], shipped_models(), tmp_path / "a", BatchConfig())
    with pytest.raises(DataError, match="nothing is there"):
        prepare(
            ["s3://no-such-bucket-at-all"],
            shipped_models(),
            tmp_path / "b",
            BatchConfig(),
        )
    for name in ("recipe.json", "dataset.json", "raw/a.tif"):
        store.pipe(f"scans/whole/{name}", b"{}")
    with pytest.raises(ReadError, match="s3://scans/whole/raw"):
        prepare(["s3://scans/whole"], shipped_models(), tmp_path / "d", BatchConfig())
    with pytest.raises(ConfigError, match="nonsense"):
        prepare(["nonsense://x/y"], shipped_models(), tmp_path / "c", BatchConfig())


def test_urls_and_names():
    assert is_remote("gs://bucket/x")
    assert not is_remote("/data/scans")
    row = {
        "path": "/tmp/x/one.tif",
        "views": {"0": {"path": "/tmp/x/one.tif", "height": 3}},
        "reasons": ["/tmp/x/one.tif: torn"],
        "scores": (1.0,),
    }
    result = rename_keys(row, {"/tmp/x/": "s3://b/c/"})
    assert result["views"]["0"] == {"path": "s3://b/c/one.tif", "height": 3}
    assert result["reasons"] == ["s3://b/c/one.tif: torn"]
    assert np.isclose(result["scores"][0], 1.0)


def test_what_a_store_does_not_list_is_not_missed(monkeypatch):
    system, _ = file_system("memory://arch")
    for name in ("a/1.tif", "b/2.tif", "c/3.tif"):
        system.pipe_file(f"/arch/{name}", b"x")
    assert [folder for folder, _ in list_folders("memory://arch")] == [
        "memory:///arch",
        "memory:///arch/a",
        "memory:///arch/b",
        "memory:///arch/c",
    ]
    assert object_at("memory://arch") is None
    assert object_at("memory://arch/a/1.tif")[0] == "memory:///arch/a"
    assert object_at("memory://arch/nothing") is None
    whole = type(system).ls

    def failing(self, path, *args, **kwargs):
        if path.endswith("/b"):
            raise OSError("503 Slow Down")
        return whole(self, path, *args, **kwargs)

    monkeypatch.setattr(type(system), "ls", failing)
    with pytest.raises(DataError, match="503 Slow Down"):
        list(list_folders("memory://arch"))


@pytest.mark.slow
def test_parts_are_copied_to_a_folder_too(archive, tmp_path):
    screened(archive / "b", tmp_path / "here", to=f"file://{tmp_path}/copied")
    parts = sorted(path.name for path in (tmp_path / "here").glob("part-*"))
    assert parts
    assert sorted(path.name for path in (tmp_path / "copied").glob("part-*")) == parts


ODD_KEYS = (
    "1.tif",
    "/4.tif",
    "//5.tif",
    "a//2.tif",
    "a/b//c/3.tif",
    "a/b//c//6.tif",
    "c::d/7.tif",
    "c/./8.tif",
    "c/../9.tif",
    "c/10#.tif",
    "c/[11].tif",
    "c/1 2%20.tif",
)


@pytest.fixture
def bucket(store):
    """A separate bucket, and a function that stores bytes under a key exactly as it is given."""
    boto3 = pytest.importorskip("boto3")
    client, names = boto3.client("s3"), []

    def make(name, keys):
        client.create_bucket(Bucket=name)
        names.append(name)
        for key in keys:
            client.put_object(
                Bucket=name, Key=key, Body=key.encode() * (not key.endswith("folder/"))
            )
        store.invalidate_cache()
        return f"s3://{name}"

    return make


def test_every_key_is_listed_and_fetched_however_it_is_written(bucket, tmp_path):
    url = bucket("odd", [*ODD_KEYS, "empty folder/"])
    found = {join(folder, name) for folder, names in list_folders(url) for name in names}
    assert found == {f"{url}/{key}" for key in ODD_KEYS}
    for key in ODD_KEYS:
        with fetch_bag([{"view_id": "0", "path": f"{url}/{key}"}]) as (files, _):
            assert files["0"].read_bytes() == key.encode()
    write_index([url], tmp_path / "_index.arrow", ("below", "side"))
    bags = next(read_index(tmp_path / "_index.arrow", 100))
    assert {bag["views"][0]["path"] for bag in bags} == found
    assert all(view["stamp"] for bag in bags for view in bag["views"])


@pytest.mark.slow
def test_a_key_with_an_empty_part_is_judged_like_any_other(store, bucket, archive, tmp_path):
    url = bucket("screened", [])
    content = (archive / "a" / "000_below.tif").read_bytes()
    for key in ("a//000.tif", "/000.tif", "a/000.tif"):
        store.pipe_file(f"screened/{key}", content)
    result = screened(url, tmp_path / "out")
    assert (result["bags"], result["errors"]) == (3, 0)
    found = rows(tmp_path / "out")
    assert {row["path"] for row in found} == {
        f"{url}//000.tif",
        f"{url}/a/000.tif",
        f"{url}/a//000.tif",
    }
    assert len({row["sha256"] for row in found}) == 1
    assert screened(f"{url}/a//000.tif", tmp_path / "named")["bags"] == 1


@pytest.mark.parametrize("key", ["a/5.tif/", "a//5.tif/", "a/5.tif?versionId=3.tif"])
def test_a_key_that_cannot_be_fetched_by_its_name_stops_the_index(bucket, key):
    url = bucket(f"lost{abs(hash(key)) % 10**8}", ["a/1.tif", key])
    with pytest.raises(DataError, match="rename the object"):
        list(list_folders(url))


def test_an_empty_part_that_a_store_cannot_list_stops_the_index(store, bucket, monkeypatch):
    url = bucket("cannot", ["a/1.tif", "a//2.tif"])
    monkeypatch.setattr(type(store), "find", lambda *_, **__: {})
    with pytest.raises(DataError, match=r"s3://cannot/a//: .*rename"):
        list(list_folders(url))


@pytest.mark.parametrize("place", ["/", "/a//", "/a//b"])
def test_a_source_with_an_empty_part_is_refused_and_not_read_as_another(bucket, place):
    url = bucket(
        f"source{abs(hash(place)) % 10**8}", ["/1.tif", "a//b/2.tif", "a/b/3.tif", "4.tif"]
    )
    with pytest.raises(DataError, match="name the folder above it"):
        list(list_folders(f"{url}/{place.removeprefix('/')}" if place != "/" else f"{url}//"))
