"""Records of experiments: made once, replaced when made again, reported if truncated."""

import pytest

from bagscan.core.errors import DataError
from experiments.engine import Run, grid, keep, read_table, remaining
from experiments.tables import PAGE, chart, number, page, percent, table


def test_a_grid_holds_every_combination_once():
    runs = grid("speed", model=["raw", "colour"], runtime=["torch", "openvino", "onnxruntime"])
    assert len({run.name for run in runs}) == 6
    assert runs[1].settings == {"model": "raw", "runtime": "openvino"}


def test_a_table_goes_on_where_a_kill_ended_it(tmp_path):
    runs = grid("speed", k=[1, 2, 3])
    for run in runs[:2]:
        keep(run, {"ms": run.settings["k"]}, folder=tmp_path)
    assert remaining(runs, folder=tmp_path) == runs[2:]
    assert remaining(runs, again=True, folder=tmp_path) == runs


def test_a_run_made_again_takes_the_place_of_its_record(tmp_path):
    for ms in (5.0, float("nan"), 7.0):
        keep(Run("speed", {"k": 1}), {"ms": ms}, folder=tmp_path)
    keep(Run("speed", {"k": 2}), {"ms": 9.0}, folder=tmp_path)
    assert [record["results"]["ms"] for record in read_table("speed", tmp_path)] == [7.0, 9.0]


@pytest.mark.parametrize("line", ["{", '{"name": "speed"}'])
def test_a_torn_line_is_named(tmp_path, line):
    keep(Run("speed", {"k": 1}), {"ms": 1.0}, folder=tmp_path)
    with (tmp_path / "speed.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"speed\.jsonl:2"):
        read_table("speed", tmp_path)


def test_a_table_shows_settings_and_figures_and_a_dash_for_what_is_not_there(tmp_path):
    keep(Run("t", {"model": "raw"}), {"share": 0.256, "deep": {"count": 1234.0}}, folder=tmp_path)
    keep(Run("t", {"model": "colour"}), {"share": 1.0}, folder=tmp_path)
    text = table(
        read_table("t", tmp_path),
        ("model",),
        {"found": ("share", percent), "n": ("deep.count", number(1))},
    )
    assert text.splitlines()[2:] == ["| raw | 26% | 1,234.0 |", "| colour | 100% | - |"]


def test_the_same_records_make_the_same_chart(tmp_path):
    for name in ("a", "b"):
        chart(tmp_path / f"{name}.svg", {"raw": ([1, 2], [0.5, 0.7])}, "crops", "AUROC")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_every_kept_table_can_be_read():
    from experiments.engine import RESULTS

    tables = [path.stem for path in RESULTS.glob("*.jsonl")]
    assert tables
    assert all(read_table(name) for name in tables)


def test_the_page_of_results_is_that_of_the_records():
    """Written by ``python -m experiments.tables``."""
    assert PAGE.read_text() == page()
