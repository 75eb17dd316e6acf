"""Archives on a real local Ray cluster: the same bytes as on one node, even if a node is killed."""

import os
import shutil
import time
from pathlib import Path

import pytest

from bagscan.batch.run import BatchConfig, prepare, screen_archive
from bagscan.model_folder import shipped_models
from tests.batch.test_batch import archive, bytes_of, rows, run

pytestmark = pytest.mark.weekly


def screen_by_name(models, views, expected, ids):
    """The stand-in process of tests/batch/stubs.py as a function; every bag takes a while."""
    from tests.batch.stubs import _answer

    path = Path(views[0]["path"])
    if "hang" in path.name:
        time.sleep(60)
    time.sleep(0.03)
    answer = _answer({"kind": "screen", "views": views})
    return {"row": answer["row"], "top_score": answer["top_score"]}


@pytest.fixture
def cluster(monkeypatch):
    """A head without room for work, and two nodes of two cores."""
    pytest.importorskip("ray", reason="pip install 'bagscan[cluster]'")
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [made.add_node(num_cpus=2) for _ in range(2)]
    ray.init(address=made.address, log_to_driver=False)
    yield made, nodes
    ray.shutdown()
    made.shutdown()


def on_cluster(source, out, **settings):
    from bagscan.cluster.pool import RayPool

    config = BatchConfig(**{"part_size": 20, "workers": 2, "timeout_s": 5.0, **settings})
    prepare([source], shipped_models(), out, config)
    return screen_archive(out, config, RayPool(shipped_models(), config, screen_bag=screen_by_name))


def test_a_cluster_writes_the_same_bytes_with_a_node_killed_in_mid_run(cluster, tmp_path):
    import threading

    made, nodes = cluster
    source = archive(tmp_path, 300)
    run(source, tmp_path / "one")

    def kill():
        while not (tmp_path / "many" / "part-00002.parquet").exists():
            time.sleep(0.05)
        made.remove_node(nodes[0], allow_graceful=False)

    thread = threading.Thread(target=kill)
    thread.start()
    result = on_cluster(source, tmp_path / "many")
    thread.join()
    assert result["errors"] == 0
    assert bytes_of(tmp_path / "many") == bytes_of(tmp_path / "one")
    assert len(rows(tmp_path / "many")) == 300


def test_corrupt_and_hanging_bags_are_rows(cluster, tmp_path):
    source = archive(
        tmp_path,
        40,
        lambda n: f"{n:03d}_{'corrupt' if n % 5 == 0 else 'hang' if n == 7 else 'sound'}.tif",
    )
    result = on_cluster(source, tmp_path / "out", timeout_s=2.0)
    assert result["errors"] == 8 + 1
    assert result["ALARM"] + result["CLEAR"] == 31


def screen_or_raise(models, views, expected, ids):
    """Some bags raise an unexpected error in the worker."""
    if "broken" in views[0]["path"]:
        raise KeyError("unexpected_error")
    return screen_by_name(models, views, expected, ids)


def test_a_bag_that_breaks_what_judges_it_is_one_row(cluster, tmp_path):
    source = archive(tmp_path, 12, lambda n: f"{n:03d}_{'broken' if n == 5 else 'sound'}.tif")
    result = screened(tmp_path / "out", source, screen_or_raise, workers=2)
    assert result["errors"] == 1
    assert "unexpected_error" in next(
        row["error"] for row in rows(tmp_path / "out") if row["error"]
    )


def screen_or_exit(models, views, expected, ids):
    """Some bags end the process, others are slow."""
    if "die" in views[0]["path"]:
        os._exit(9)
    if "slow" in views[0]["path"]:
        time.sleep(1.5)
    return screen_by_name(models, views, expected, ids)


def screened(folder, source, screen_bag, **settings):
    from bagscan.cluster.pool import RayPool

    config = BatchConfig(part_size=20, **settings)
    prepare([source], shipped_models(), folder, config)
    return screen_archive(folder, config, RayPool(shipped_models(), config, screen_bag=screen_bag))


def test_a_bag_that_ends_its_process_is_one_row_and_the_bag_behind_it_none(cluster, tmp_path):
    source = archive(tmp_path, 12, lambda n: f"{n:03d}_{'die' if n == 3 else 'sound'}.tif")
    result = screened(tmp_path / "out", source, screen_or_exit, workers=2)
    assert (result["errors"], result["bags"]) == (1, 12)
    found = rows(tmp_path / "out")
    assert sorted(row["number"] for row in found) == list(range(12))
    assert [row["number"] for row in found if row["error"]] == [3]
    assert "3 times" in found[3]["error"]


def test_a_bag_that_waits_behind_a_slow_one_has_its_own_full_time(cluster, tmp_path):
    source = archive(tmp_path, 4, lambda n: f"{n:03d}_slow.tif")
    assert (
        screened(tmp_path / "out", source, screen_or_exit, workers=1, timeout_s=2.5)["errors"] == 0
    )


def test_real_models_judge_on_the_cluster_by_the_runtime_that_is_asked_for_and_write_the_same_bytes(
    cluster, simulated_root, tmp_path, monkeypatch
):
    from bagscan.batch.pool import Pool
    from bagscan.cluster.pool import RayPool

    monkeypatch.setenv("BAGSCAN_RUNTIME", "openvino")
    (tmp_path / "scans").mkdir()
    for path in sorted((simulated_root / "raw").glob("0000[01][ab]_*.tif")):
        shutil.copy(path, tmp_path / "scans")
    (tmp_path / "scans" / "torn.tif").write_bytes(b"II*\x00 no")
    monkeypatch.chdir(tmp_path)  # nodes have another working directory
    config = BatchConfig(workers=2, part_size=3)
    for name, pool in (("one", Pool), ("many", RayPool)):
        prepare(["scans"], shipped_models(), tmp_path / name, config)
        result = screen_archive(tmp_path / name, config, pool(shipped_models(), config))
        assert (result["bags"], result["errors"]) == (5, 1)
        assert result["runtime"].startswith("openvino")
    assert max(row["n_regions"] or 0 for row in rows(tmp_path / "many")) > 20
    assert bytes_of(tmp_path / "many") == bytes_of(tmp_path / "one")


def test_a_cluster_simulates_the_same_bytes_with_a_node_killed_in_mid_run(cluster, tmp_path):
    import threading

    from bagscan.cluster.simulate import RaySimulator
    from bagscan.simulate.dataset import load_recipe, simulate

    made, nodes = cluster
    recipe = load_recipe("smoke", count=8)
    simulate(recipe, tmp_path / "one", workers=1)

    def kill():
        while not list((tmp_path / "many" / "scans").glob("*.json")):
            time.sleep(0.05)
        made.remove_node(nodes[0], allow_graceful=False)

    thread = threading.Thread(target=kill)
    thread.start()
    simulate(recipe, tmp_path / "many", workers=3, spread=RaySimulator())
    thread.join()

    def files(folder):
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    one, many = files(tmp_path / "one"), files(tmp_path / "many")
    assert set(one) == set(many)
    assert [name for name in one if one[name] != many[name]] == []
