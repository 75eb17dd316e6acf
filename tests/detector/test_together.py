"""Views that are examined together: matched, padded to one size, and separated again."""

import numpy as np
import pytest

from bagscan.core.errors import ModelError
from bagscan.detector.devices import FoundDevice
from bagscan.detector.together import ViewMaps, evaluate_jointly, match_devices


def device(rows, columns, shape, category=0):
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*columns)] = True
    return FoundDevice(category, mask, 0.9)


def maps(shape, devices=(), logits=(), level=0.0):
    return ViewMaps(
        np.full((3, *shape), level, np.float32),
        np.full(shape, level, np.float32),
        tuple(devices),
        np.array(logits, np.float32),
    )


class Adding:
    """Engine that adds 1 to every cell; a verdict sums the cells by view; arguments are kept."""

    name = "stub"

    def __init__(self):
        self.asked = []

    def run(self, graph, inputs):
        assert graph == "both_views"
        self.asked.append(inputs)
        return {"changed": inputs["anomaly"] + inputs["there"], "logit": inputs["of_view"].sum(1)}


def test_devices_that_share_the_belt_are_one_and_later_views_stand_alone():
    first = [device((2, 8), (1, 5), (20, 30)), device((12, 18), (1, 5), (20, 30))]
    second = [device((12, 18), (3, 9), (20, 25))]
    assert sorted(match_devices([first, second, second]), key=str) == [
        (0, None, None),
        (1, 0, None),
        (None, None, 0),
    ]
    assert match_devices([first]) == [(0,), (1,)]
    assert match_devices([]) == []


def test_views_of_two_sizes_come_back_at_their_own():
    engine = Adding()
    one = maps((20, 30), [device((2, 8), (1, 5), (20, 30))], [1.5], level=2.0)
    other = maps((18, 25), [device((2, 8), (3, 9), (18, 25))], [-0.5], level=4.0)
    anomaly, devices = evaluate_jointly([one, other], engine)
    assert [a.shape for a in anomaly] == [(20, 30), (18, 25)]
    assert (anomaly[0] == 3).all()
    assert (anomaly[1] == 5).all()
    assert devices == [((0, 0), 1.0)]
    there = engine.asked[0]["there"]
    assert there.shape == (2, 1, 20, 30)
    assert there[1].sum() == 18 * 25


def test_a_lone_view_and_a_third_one_are_looked_at_by_themselves():
    engine = Adding()
    three = [maps((20, 30), [device((2, 8), (1, 5), (20, 30))], [float(k)]) for k in range(3)]
    _, devices = evaluate_jointly(three, engine)
    assert [asked["there"][1].any() for asked in engine.asked] == [True, False]
    assert dict(devices) == {(0, 0, None): 1.0, (None, None, 2): 2.0} or sorted(
        logit for _, logit in devices
    ) == [1.0, 2.0]


def test_a_bag_without_devices_has_maps_all_the_same():
    anomaly, devices = evaluate_jointly([maps((20, 30)), maps((20, 25))], Adding())
    assert len(anomaly) == 2
    assert devices == []


def test_an_engine_that_answers_something_else_is_an_error():
    class Wrong(Adding):
        def run(self, graph, inputs):
            return {"changed": inputs["anomaly"]}

    with pytest.raises(ModelError):
        evaluate_jointly([maps((20, 30))], Wrong())
