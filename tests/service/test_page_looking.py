"""Tools of readers: console functions, layouts, earlier bags, the archive, a lost service."""

import re
from functools import partial

import pytest

from tests.service.conftest import PASSWORD, send, until
from tests.service.stubs import tiff
from tests.service.test_page import bag, browser, colour, enter, expect, scan_in_window  # noqa: F401 (fixtures)

pytestmark = pytest.mark.slow


def opened(page):
    page.keyboard.press("n")
    page.wait_for_selector("canvas")
    return page


def shown(page):
    """Every canvas as it is drawn."""
    page.wait_for_timeout(80)
    return page.evaluate(
        "[...document.querySelectorAll('.views canvas')].map(canvas => canvas.toDataURL())"
    )


@pytest.mark.parametrize(("key", "text"), [("h", "Penetrate"), ("l", "Local")])
def test_penetration_and_local_contrast_are_one_key_each(make_house, enter, key, text):  # noqa: F811
    house = make_house()
    bag(house)
    page = opened(enter(house, "operator"))
    page.keyboard.down("o")
    standard, dense = shown(page), colour(page, 0.8, 0.8)
    page.keyboard.down(key)
    expect(page.locator(".mode")).to_contain_text(text)
    assert all(a != b for a, b in zip(standard, shown(page), strict=True))
    if key == "h":
        assert sum(colour(page, 0.8, 0.8)) > sum(dense) + 60
    page.keyboard.up(key)
    assert shown(page) == standard


def test_a_latched_function_stays_on_until_it_is_pressed_again_and_is_remembered(make_house, enter):  # noqa: F811
    house = make_house()
    bag(house)
    page = opened(enter(house, "operator"))
    page.keyboard.press("k")
    page.keyboard.press("i")
    expect(page.locator(".mode")).to_contain_text("Invert")
    inverted = shown(page)
    page.reload()
    page.wait_for_selector("canvas")  # the scan that was open is open again
    page.keyboard.press("i")
    assert shown(page) == inverted
    page.get_by_role("button", name="Invert").click()
    expect(page.locator(".mode")).to_be_hidden()
    page.keyboard.press("i")
    page.keyboard.press("k")  # without a latch nothing stays on
    expect(page.locator(".mode")).to_be_hidden()


def test_layouts_give_one_view_the_room_and_are_remembered(make_house, enter):  # noqa: F811
    house = make_house()
    bag(house)
    page = opened(enter(house, "operator"))

    def area(view):
        box = page.locator(".views canvas").nth(view).bounding_box()
        return box["width"] * box["height"]

    beside = area(0)
    page.keyboard.press("v")
    first, second = (page.locator(".views canvas").nth(view).bounding_box() for view in (0, 1))
    assert first["x"] == second["x"]
    assert second["y"] >= first["y"] + first["height"]
    page.keyboard.press("v")
    assert area(0) > 1.4 * beside
    assert area(1) < area(0) / 3
    page.locator(".views canvas").nth(1).click()
    assert area(1) > 3 * area(0)
    page.reload()
    page.wait_for_selector("canvas")
    assert area(0) > 1.4 * beside


def test_an_overview_shows_where_one_is_while_zoomed(make_house, enter):  # noqa: F811
    house = make_house()
    bag(house)
    page = opened(enter(house, "operator"))
    marked = """[...document.querySelectorAll(".views canvas")].map(canvas => {
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      let n = 0;
      for (let i = 0; i < pixels.length; i += 4) {
        const [red, green, blue] = pixels.subarray(i, i + 3);
        n += red > 240 && green > 190 && green < 230 && blue < 60;
      }
      return n;
    })"""
    assert page.evaluate(marked) == [0, 0]
    for _ in range(4):
        page.keyboard.press("+")
    assert min(page.evaluate(marked)) > 20
    page.keyboard.press("=")
    assert page.evaluate(marked) == [0, 0]


def test_the_bag_before_is_shown_and_cannot_be_decided_again(make_house, enter):  # noqa: F811
    house = make_house()
    first, second = bag(house), bag(house, number=1)
    page = opened(enter(house, "operator"))
    before = page.url.rpartition("/")[2]
    for key in ("c", "1", "Control+Enter"):
        page.keyboard.press(key)
    other = second if before == first else first
    expect(page).to_have_url(re.compile(other))
    page.keyboard.press("p")
    expect(page.locator(".head")).to_contain_text("An earlier bag")
    expect(page.locator("button.clear")).to_be_disabled()
    page.keyboard.press("s")
    expect(page.locator("dialog[open]")).to_have_count(0)
    assert (
        house.person("second").post("/v1/queue/claim", json={"scan_id": other}).status_code == 200
    ), "the scan that was open is released"
    page.wait_for_timeout(500)  # until the page has noticed; before that, keys do nothing
    page.keyboard.press("p")
    expect(page.locator(".toast").last).to_contain_text("no earlier bag")


def test_a_service_that_is_gone_is_told_and_a_note_outlives_it(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none")
    scan = bag(house)
    page = opened(enter(house, "operator"))
    page.keyboard.press("s")
    page.keyboard.press("1")
    page.locator("dialog textarea").fill("under the lid")
    page.route("**/v1/**", lambda route: route.abort())
    expect(page.locator(".banner")).to_be_visible(timeout=5500)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".toast.fault")).to_be_visible()
    page.unroute("**/v1/**")
    expect(page.locator(".banner")).to_be_hidden(timeout=5500)
    page.reload()
    page.wait_for_selector("canvas")
    page.keyboard.press("s")
    expect(page.locator("dialog textarea")).to_have_value("under the lid")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".queue .empty")).to_be_visible()
    assert (
        house.person("supervisor").get(f"/v1/scans/{scan}").json()["decisions"][0]["note"]
        == "under the lid"
    )


def test_the_archive_is_searched_sorted_and_opened_with_every_readers_marks(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none")
    scan = bag(house)
    send(house.machine(), tiff("clear", "another"), name="other_7.tif")
    reader = house.person("operator")
    reader.post("/v1/queue/claim", json={"scan_id": scan})
    assert (
        reader.post(
            f"/v1/scans/{scan}/decisions",
            json={"value": "suspect", "reason": "foreign part", "note": "look here", "parts": [0]},
        ).status_code
        == 201
    )
    page = enter(house, "supervisor")
    page.get_by_role("link", name="Scans", exact=True).click()
    rows = page.locator("table.archive tbody tr")
    expect(rows).to_have_count(2)
    page.get_by_label("Scan", exact=True).fill("OTHER")
    page.keyboard.press("Enter")
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="All").click()
    expect(rows).to_have_count(2)
    page.get_by_label("Read by").fill("operator")
    page.get_by_role("button", name="Find").click()
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("suspect · operator")
    page.locator("table.archive tbody a").last.click()
    expect(page).to_have_url(re.compile(f"#scans/{scan}"))
    expect(page.locator(".side.right")).to_contain_text("look here")
    expect(page.locator(".parts li").first).to_contain_text("ticked by operator")
    expect(page.locator(".views canvas")).to_have_count(2)
    before = shown(page)
    page.keyboard.down("i")
    assert shown(page) != before
    page.keyboard.up("i")
    assert page.locator("button.clear").count() == 0
    page.get_by_role("link", name="‹ Scans").click()
    expect(rows).to_have_count(1)  # the search text stays
    page.get_by_role("button", name=re.compile("Top score")).click()
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("Top score")


@pytest.mark.parametrize("size", [(1366, 768), (1024, 768), (800, 600)])
def test_an_opened_scan_fits_the_window(make_house, enter, size):  # noqa: F811
    house = make_house()
    scan = bag(house)
    page = enter(house, "supervisor")
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.evaluate(f"location.hash = 'scans/{scan}'")
    expect(page.locator(".views canvas")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_browser_that_keeps_no_session_is_told_why(make_house, enter):  # noqa: F811
    """For example if cookies are for HTTPS only and the page came over HTTP."""
    page = enter(make_house(), "operator", log_in=False)
    page.route("**/v1/me", lambda route: route.fulfill(json={"name": None}))
    page.get_by_label("Name").fill("operator")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator(".fault")).to_contain_text("secure_cookie")


def test_a_reader_marks_what_no_model_flagged(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none", reviewed="all")
    scan = bag(house, "clear")
    page = opened(enter(house, "operator"))

    def drag(key=""):
        if key:
            page.keyboard.press(key)
        box = page.locator(".views canvas").first.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x - 40, y - 30)
        page.mouse.down()
        page.mouse.move(x + 20, y + 25)
        page.mouse.up()

    drag()  # pans, and draws nothing
    expect(page.locator(".parts .drawn")).to_have_count(0)
    for _ in range(2):
        drag("b")
    expect(page.locator(".parts .drawn")).to_have_count(2)
    page.get_by_role("button", name="take box 2 away").click()
    expect(page.locator(".parts .drawn")).to_have_count(1)
    page.reload()
    page.wait_for_selector("canvas")
    expect(page.locator(".parts .drawn")).to_have_count(1)  # like ticks and notes
    for key in ("c", "1", "Control+Enter"):
        page.keyboard.press(key)
    expect(page.locator(".toast.fault")).to_contain_text("not clear")
    for key in ("s", "1", "Control+Enter"):
        page.keyboard.press(key)
    expect(page.locator(".queue .empty")).to_be_visible()
    (drawn,) = house.person("operator").get(f"/v1/scans/{scan}").json()["decisions"][0]["drawn"]
    x1, y1, x2, y2 = drawn["box_xyxy"]
    assert drawn["view_id"] == "below"
    assert (x2 - x1) / (y2 - y1) == pytest.approx(60 / 55, rel=0.2)


def test_space_presses_the_button_that_has_the_focus(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none")
    bag(house)
    page = enter(house, "operator")
    page.get_by_role("button", name="Next scan").focus()
    page.keyboard.press("Space")
    page.wait_for_selector("canvas")
    latch = page.get_by_role("button", name="Latch")
    latch.focus()
    page.keyboard.press("Space")
    expect(latch).to_have_attribute("aria-pressed", "true")
    tick = page.locator(".parts input").first
    tick.focus()
    page.keyboard.press("Space")
    expect(tick).to_be_checked()


def test_a_scan_that_nobody_looks_at_is_free_again(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none", claim_s=300.0)
    scan = bag(house)
    page = enter(house, "operator")
    page.clock.install()
    page.reload()
    expect(page.locator(".queue li")).to_have_count(1)
    opened(page)
    claim = partial(house.person("second").post, "/v1/queue/claim", json={"scan_id": scan})
    assert claim().status_code == 409
    page.clock.run_for(8 * 60 * 1000)
    expect(page.locator("canvas")).to_have_count(0)
    until(
        lambda: claim().status_code == 200,
        message="it is free well before the claim runs out by itself",
    )
