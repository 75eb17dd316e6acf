"""Layout of the reader's page: space for pictures, panels, dialogs, parts, boxes, refusals."""

import pytest

from tests.service.stubs import tiff
from tests.service.test_page import bag, browser, enter, expect, scan_in_window  # noqa: F401 (fixtures)

pytestmark = pytest.mark.slow

SIZES = [(1366, 768), (1920, 1080)]


def opened(page):
    page.keyboard.press("n")
    page.wait_for_selector(".views canvas")
    return page


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def apart(one, other):
    """Return True if two boxes of the page share no pixel."""
    return (
        one["x"] + one["width"] <= other["x"]
        or other["x"] + other["width"] <= one["x"]
        or one["y"] + one["height"] <= other["y"]
        or other["y"] + other["height"] <= one["y"]
    )


def test_panels_fold_stay_folded_and_leave_the_keys(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none")
    scan = bag(house)
    page = opened(enter(house, "operator"))
    width = lambda: page.locator(".stage").bounding_box()["width"]  # noqa: E731
    whole = width()
    page.keyboard.press("w")
    expect(page.locator(".side.left")).to_be_hidden()
    assert width() > whole + 200
    page.get_by_role("button", name="Panels").click()
    expect(page.locator(".side.right")).to_be_hidden()
    assert width() == 1366
    page.reload()
    page.wait_for_selector(".views canvas")
    expect(page.locator(".side.right")).to_be_hidden()
    press(page, "s", "1", "Control+Enter")
    expect(page.locator(".head")).to_contain_text("No scan is open")
    assert (
        house.person("operator").get(f"/v1/scans/{scan}").json()["decisions"][0]["value"]
        == "suspect"
    )
    page.keyboard.press("w")
    expect(page.locator(".side.left")).to_be_visible()


@pytest.mark.parametrize(
    ("size", "layout"), [((1000, 600), "one"), ((1000, 900), "stacked"), ((1700, 600), "beside")]
)
def test_views_get_the_room_where_nobody_has_chosen_a_layout(size, layout, make_house, enter):  # noqa: F811
    page = enter(make_house(), "operator", log_in=False)
    fitting = """async ([w, t]) => {
      const { Viewer } = await import("/static/viewer.js");
      const viewer = new Viewer();
      Object.defineProperty(viewer.element, "clientWidth", { value: w });
      Object.defineProperty(viewer.element, "clientHeight", { value: t });
      viewer.views = [700, 500].map((width) => ({ image: { width, height: 536 } }));
      const layout = viewer.fitting();
      viewer.views = [];
      return layout;
    }"""
    assert page.evaluate(fitting, list(size)) == layout


def test_flagged_regions_that_touch_are_one_part_and_ticked_as_one(make_house, enter):  # noqa: F811
    page = enter(make_house(), "operator", log_in=False)
    outcome = page.evaluate("""async () => {
      const { partsOf } = await import("/static/regions.js");
      const { isTicked, tickedParts } = await import("/static/parts.js");
      const width = 40, height = 10, labels = new Uint16Array(width * height).fill(65535);
      for (let y = 0; y < height; y++)
        for (const [label, from, to] of [[0, 0, 4], [1, 6, 10], [2, 20, 24]])
          for (let x = from; x < to; x++) labels[y * width + x] = label;
      const regions = { width, height, labels, scores: new Float32Array([0.75, 0.875, 0.625]) };
      const findings = [[0.875, [6, 0, 10, 10]], [0.75, [0, 0, 4, 10]]].map(
        ([score, box]) => ({ view_id: "below", score, box_xyxy: box }));
      const parts = partsOf([{ name: "below", regions }], 0.6, findings);
      const ticked = (...numbers) => isTicked(parts[0], new Set(numbers));
      return {
        boxes: parts.map((part) => part.box),
        findings: parts.map((part) => part.findings),
        half: ticked(0),
        whole: ticked(0, 1),
        text: tickedParts(parts, [1]),
      };
    }""")
    assert outcome["boxes"] == [[0, 0, 10, 10], [20, 0, 24, 10]]
    assert outcome["findings"] == [[0, 1], []], "the second is below the operating point"
    assert (outcome["half"], outcome["whole"]) == (False, True)
    assert outcome["text"].endswith("part 1")


def test_every_part_has_a_close_up(make_house, enter):  # noqa: F811
    house = make_house()
    bag(house)
    page = opened(enter(house, "operator"))
    expect(page.locator(".parts canvas.close-up")).to_have_count(2)
    colours = """[...document.querySelectorAll('.close-up')].map((canvas) => {
      const { width, height } = canvas;
      const pixels = canvas.getContext('2d').getImageData(0, 0, width, height);
      return new Set(new Uint32Array(pixels.data.buffer)).size;
    })"""
    assert all(n > 2 for n in page.evaluate(colours)), "more than a frame on white"


@pytest.mark.parametrize("size", SIZES)
def test_what_asks_and_what_tells_leaves_the_pictures_free(size, make_house, enter):  # noqa: F811
    house = make_house(second_reader="none")
    bag(house), bag(house, number=1)
    page = scan_in_window(enter(house, "operator"), size)
    page.keyboard.press("s")
    asked = page.locator("dialog").bounding_box()
    assert all(apart(asked, view.bounding_box()) for view in page.locator(".views canvas").all())
    press(page, "1", "Control+Enter")
    expect(page.locator(".toast")).to_be_visible()
    page.wait_for_selector(".views canvas")
    outcome = page.locator(".toast").bounding_box()
    assert all(apart(outcome, view.bounding_box()) for view in page.locator(".views canvas").all())


def test_the_next_scan_waits_where_the_reader_wants_a_pause(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none")
    bag(house), bag(house, number=1)
    page = opened(enter(house, "operator"))
    page.get_by_label("Open the next scan automatically").uncheck()
    press(page, "c", "1", "Control+Enter")
    expect(page.locator(".queue li")).to_have_count(1)
    page.wait_for_timeout(300)
    expect(page.locator(".views canvas")).to_have_count(0)
    page.reload()
    expect(page.get_by_label("Open the next scan automatically")).not_to_be_checked()
    opened(page)


def test_a_new_alarm_sounds_where_the_reader_wants_it(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none", reviewed="all")
    bag(house)
    page = enter(house, "operator")
    expect(page.locator(".queue li")).to_have_count(1)
    page.evaluate(
        "() => { window.rung = 0; window.AudioContext = "
        "class { constructor() { window.rung += 1; throw new Error('silent'); } }; }"
    )
    page.get_by_label("Sound for a new alarm").check()
    bag(house, "clear", 1)
    expect(page.locator(".queue li")).to_have_count(2, timeout=10_000)
    assert page.evaluate("window.rung") == 0
    bag(house, "alarm", 2)
    expect(page.locator(".queue li")).to_have_count(3, timeout=10_000)
    assert page.evaluate("window.rung") == 1


def test_a_box_is_drawn_by_keyboard_alone(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none", reviewed="all")
    scan = bag(house, "clear")
    page = opened(enter(house, "operator"))
    press(
        page,
        "b",
        "ArrowRight",
        "ArrowRight",
        "ArrowDown",
        "Shift+ArrowRight",
        "Shift+ArrowRight",
        "Shift+ArrowRight",
    )
    press(page, "Escape")
    expect(page.locator(".parts .drawn")).to_have_count(0)
    press(page, "b", *["ArrowRight"] * 3, *["Shift+ArrowDown"] * 6, "Enter")
    expect(page.locator(".parts .drawn")).to_have_count(1)
    press(page, "s", "1", "Control+Enter")
    expect(page.locator(".queue .empty")).to_be_visible()
    (drawn,) = house.person("operator").get(f"/v1/scans/{scan}").json()["decisions"][0]["drawn"]
    x1, y1, x2, y2 = drawn["box_xyxy"]
    assert x1 + x2 > 48, "right of the middle of 48 pixels"
    assert y2 - y1 > x2 - x1


def test_contours_go_and_come_by_enter_on_their_button(make_house, enter):  # noqa: F811
    house = make_house()
    bag(house)
    page = opened(enter(house, "operator"))
    page.get_by_role("button", name="Bare").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".mode")).to_contain_text("No contours")
    page.keyboard.press("Enter")
    expect(page.locator(".mode")).to_be_hidden()


def test_what_is_refused_is_told_in_the_form_and_nothing_typed_is_lost(make_house, enter):  # noqa: F811
    page = enter(make_house(), "admin")
    page.get_by_role("link", name="Accounts").click()
    page.get_by_role("button", name="New account").click()
    page.locator("dialog input").first.fill("operator")  # it exists already
    page.locator("dialog input[type=password]").fill("long enough for it")
    page.locator("dialog").get_by_role("button", name="Create").click()
    expect(page.locator("dialog .fault")).not_to_be_empty()
    expect(page.locator("dialog input").first).to_have_value("operator")
    page.locator("dialog input").first.fill("olga")
    page.locator("dialog").get_by_role("button", name="Create").click()
    expect(page.locator("dialog")).to_have_count(0)
    expect(page.locator("tbody")).to_contain_text("olga")


def test_the_page_is_light_where_the_reader_wants_it(make_house, enter):  # noqa: F811
    page = enter(make_house(), "operator")

    def ground():
        rgb = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g)")
        return sum(int(n) for n in rgb)

    dark = ground()
    page.get_by_role("button", name="Light").click()
    assert ground() > 650 > dark
    page.reload()
    expect(page.get_by_role("button", name="Dark")).to_be_visible()
    assert ground() > 650


def test_the_truth_of_a_simulated_bag_stands_with_the_bag_before(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none")
    bag(house)
    page = opened(enter(house, "operator"))

    def with_truth(route):
        answer = route.fetch()
        # Not `response=answer`: its Content-Length would be that of the shorter body.
        body = answer.json() | {"truth": "A blade was hidden in the phone."}
        route.fulfill(status=answer.status, json=body)

    page.route("**/decisions", with_truth)
    press(page, "s", "1", "Control+Enter")
    expect(page.locator(".toast")).to_contain_text("A blade was hidden in the phone.")
    expect(page.locator(".queue .empty")).to_be_visible()
    page.keyboard.press("p")
    expect(page.locator(".head")).to_contain_text("A blade was hidden in the phone.")


def test_a_dispute_tells_what_readers_think_now_and_which_parts_they_ticked(make_house, enter):  # noqa: F811
    house = make_house(second_reader="all")
    scan = (
        house.machine()
        .post(
            "/v1/screen",
            files=[("files", (f"0_{view}.tif", tiff("alarm", view))) for view in ("below", "side")],
        )
        .json()["id"]
    )
    one = opened(enter(house, "operator"))
    press(one, "s", "1", "Control+Enter")
    expect(one.locator(".queue .empty")).to_be_visible()
    one.keyboard.press("Control+z")
    one.wait_for_selector(".views canvas")
    press(one, "Tab", "x", "s", "2", "Control+Enter")
    expect(one.locator(".queue .empty")).to_be_visible()
    two = opened(enter(house, "second"))
    press(two, "c", "1", "Control+Enter")
    expect(two.locator(".queue .empty")).to_be_visible()
    assert house.person("supervisor").get(f"/v1/scans/{scan}").json()["review"] == "dispute"
    supervisor = opened(enter(house, "supervisor"))
    outcome = supervisor.locator(".reasons").inner_text()
    assert outcome.count("operator:") == 1, "a decision that was taken back does not count"
    assert "ticked part 1" in outcome
    assert outcome.count("second: clear") == 1


@pytest.mark.parametrize("size", [(1024, 768), *SIZES])
def test_long_reasons_wrap_and_cover_nothing(size, make_house, enter):  # noqa: F811
    house = make_house()
    bag(house)
    page = enter(house, "operator")

    def with_reasons(route):
        answer = route.fetch()
        outcome = answer.json()
        outcome["result"]["reasons"] = [
            "the second view of this bag could not be read since its file ends early"
        ] * 6
        route.fulfill(status=answer.status, json=outcome)

    page.route("**/v1/scans/*", with_reasons)
    scan_in_window(page, size)
    expect(page.locator(".reasons")).to_contain_text("ends early")
    stage, panel = page.locator(".stage").bounding_box(), page.locator(".side.right").bounding_box()
    assert apart(stage, panel)
    for part in (".head", ".views", ".console"):
        box = page.locator(part).bounding_box()
        assert box["x"] >= stage["x"] - 1
        assert box["x"] + box["width"] <= stage["x"] + stage["width"] + 1


@pytest.mark.parametrize("status", [502, 503])
def test_a_proxy_without_a_service_behind_it_is_a_service_that_is_gone(status, make_house, enter):  # noqa: F811
    page = enter(make_house(), "operator")
    page.route(
        "**/v1/queue", lambda route: route.fulfill(status=status, body="<html>bad gateway</html>")
    )
    expect(page.locator(".banner")).to_be_visible(timeout=6000)
    page.unroute("**/v1/queue")
    expect(page.locator(".banner")).to_be_hidden(timeout=6000)


def test_the_focus_stays_in_the_queue_and_in_the_list_of_parts(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none")
    bag(house), bag(house, number=1)
    page = opened(enter(house, "operator"))
    focused = "document.activeElement.dataset.key"
    page.locator(".queue button").last.focus()
    key = page.evaluate(focused)
    page.wait_for_timeout(6000)
    assert page.evaluate(focused) == key, "the queue was asked for twice meanwhile"
    page.locator(".parts input").first.focus()
    page.keyboard.press("Space")
    expect(page.locator(".parts input").first).to_be_checked()
    page.keyboard.press("Space")
    expect(page.locator(".parts input").first).not_to_be_checked()


def test_what_was_ticked_outlives_a_visit_to_another_page(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none")
    bag(house)
    page = opened(enter(house, "supervisor"))
    page.keyboard.press("Tab")
    page.keyboard.press("x")
    page.get_by_role("link", name="Scans").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Review").click()
    expect(page.locator(".queue li")).to_have_count(1)
    opened(page)
    expect(page.locator(".parts input").first).to_be_checked()


LEAVES_WITH_THE_ANSWER = """() => {
  const read = Response.prototype.json;
  Response.prototype.json = async function () {
    const body = await read.call(this);
    if (this.url.endsWith("/decisions")) location.hash = "scans";
    return body;
  };
}"""


def test_a_page_that_is_left_as_a_decision_is_answered_stays_left(make_house, enter):  # noqa: F811
    """The address has changed, but the page has not heard of it yet."""
    house = make_house(second_reader="none")
    bag(house)
    page = opened(enter(house, "supervisor"))
    page.evaluate(LEAVES_WITH_THE_ANSWER)
    page.keyboard.press("c")
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    expect(page.locator("tbody a").first).to_be_visible()
    assert page.url.endswith("#scans")


def test_a_box_by_keyboard_goes_to_any_view(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none", reviewed="all")
    scan = bag(house, "clear")
    page = opened(enter(house, "operator"))
    press(page, "b", "ArrowRight", "Tab", "ArrowDown", "Enter", "s", "1", "Control+Enter")
    expect(page.locator(".queue .empty")).to_be_visible()
    (drawn,) = house.person("operator").get(f"/v1/scans/{scan}").json()["decisions"][0]["drawn"]
    assert drawn["view_id"] == "side"


def test_the_bag_before_shows_what_its_reader_ticked_and_changes_nothing(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none")
    bag(house), bag(house, number=1)
    page = opened(enter(house, "operator"))
    press(page, "Tab", "x", "s", "1", "Control+Enter")
    expect(page.locator(".queue li")).to_have_count(1)
    page.wait_for_selector(".views canvas")
    page.keyboard.press("p")
    expect(page.locator(".head")).to_contain_text("An earlier bag")
    tick = page.locator(".parts input").first
    expect(tick).to_be_checked()
    expect(tick).to_be_disabled()


def test_a_scan_that_no_model_judged_does_not_look_judged(make_house, enter):  # noqa: F811
    house = make_house()
    bag(house, "broken")  # an error of the model
    page = enter(house, "operator")
    page.keyboard.press("n")
    expect(page.locator(".head")).to_contain_text("REVIEW")
    expect(page.locator(".parts")).to_contain_text("No part of this bag was scored")
    expect(page.locator(".side.right")).to_contain_text("nothing was scored")
