"""The review page in a real browser: clicks by mouse, reading by keyboard alone."""

import math
import os
import re
import shutil

import pytest

from tests.service.conftest import PASSWORD, send
from tests.service.stubs import tiff

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
BROWSER = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
HINT = "no browser: apt-get install chromium"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FORESEEN = re.compile(
    "status of (4|502|503)|ERR_FAILED"
)  # refused requests, and requests that a test interrupts
expect = playwright.expect


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        if os.environ.get("BAGSCAN_CI"):
            pytest.fail(HINT)
        pytest.skip(HINT)
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def enter(browser, listening):
    """Log in through the page; requests to other hosts and script errors fail the test."""
    wrong, pages = [], []
    addresses = {}

    def open_page(house, name, log_in=True):
        address = addresses.setdefault(id(house), None) or listening(house)
        addresses[id(house)] = address
        page = browser.new_context(viewport={"width": 1366, "height": 768}).new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: (
                wrong.append(request.url)
                if not request.url.startswith((address, "blob:", "data:"))
                else None
            ),
        )
        page.on(
            "console",
            lambda message: (
                wrong.append(message.text)
                if message.type == "error" and not FORESEEN.search(message.text)
                else None
            ),
        )
        pages.append(page)
        page.goto(address)
        if log_in:
            page.get_by_label("Name").fill(name)
            page.get_by_label("Password").fill(PASSWORD)
            page.keyboard.press("Enter")
            expect(page.locator(".who")).to_contain_text(name)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert wrong == []


def bag(house, word="alarm", number=0):
    """Both views of a bag; its id."""
    files = [
        ("files", (f"{number}_{view}.tif", tiff(word, f"{number} {view}")))
        for view in ("below", "side")
    ]
    return house.machine().post("/v1/screen", files=files).json()["id"]


def scan_in_window(page, size):
    """The page, with the next scan open in a window of (width, height)."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.keyboard.press("n")
    page.wait_for_selector("canvas")
    return page


def colour(page, x, y, view=0):
    """Displayed colour at a fraction of the width and height of a view."""
    page.wait_for_timeout(60)
    return page.evaluate(
        """([x, y, view]) => {
          const canvas = document.querySelectorAll(".view canvas")[view];
          const side = Math.min(canvas.width, canvas.height);
          const at = [(canvas.width - side) / 2 + x * side, (canvas.height - side) / 2 + y * side];
          const [left, top] = at.map(Math.round);
          const pixel = canvas.getContext("2d").getImageData(left, top, 1, 1);
          return Array.from(pixel.data.slice(0, 3));
        }""",
        [x, y, view],
    )


def grey(rgb):
    return max(rgb) - min(rgb) <= 2


def test_a_wrong_password_is_told(make_house, enter):
    page = enter(make_house(), "operator", log_in=False)
    page.get_by_label("Name").fill("operator")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong name")


def test_a_reader_works_by_keyboard_alone(make_house, enter):
    house = make_house(second_reader="none")
    first, other = bag(house, "alarm score 0.95", 1), bag(house, "alarm score 0.9", 2)
    page = enter(house, "operator")
    expect(page.locator(".queue li")).to_have_count(2)
    page.keyboard.press("n")
    expect(page.locator(".stage .head")).to_contain_text("ALARM")
    expect(page.locator(".parts li")).to_have_count(2)  # one in each view
    page.keyboard.press("Tab")
    expect(page.locator(".parts li").first).to_have_attribute("aria-current", "true")
    page.keyboard.press("x")
    expect(page.locator(".parts input").first).to_be_checked()
    page.keyboard.press("s")
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("1 part ticked")
    page.keyboard.press("Control+Enter")  # no reason was chosen yet
    expect(dialog).to_have_count(1)
    page.keyboard.press("2")
    page.keyboard.press("t")
    page.keyboard.type("looks wrong, 2 of them")
    page.keyboard.press("Control+Enter")
    expect(dialog).to_have_count(0)
    expect(page.locator(".queue li")).to_have_count(1)
    answer = house.person("supervisor").get(f"/v1/scans/{first}").json()["decisions"][0]
    assert (answer["value"], answer["reason"], answer["note"], answer["parts"]) == (
        "suspect",
        "dense block",
        "looks wrong, 2 of them",
        [0],
    )
    page.evaluate(
        "() => { const real = Date.now; Date.now = () => real() + 3600e3; }"
    )  # for any clock of the reader's computer
    page.keyboard.press("Control+z")  # taken back: the scan is open again
    expect(page.locator(".queue li")).to_have_count(2)
    assert house.person("operator").get(f"/v1/scans/{first}").json()["decisions"][0]["undone_at"]
    page.wait_for_selector(".views canvas")
    page.keyboard.press("c")
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".queue li")).to_have_count(1)
    page.keyboard.press("c")
    page.keyboard.press("Escape")  # not decided
    expect(page.locator("dialog")).to_have_count(0)
    assert house.person("supervisor").get(f"/v1/scans/{other}").json()["decisions"] == []


def test_undo_is_not_lost_while_the_next_scan_opens(make_house, enter):
    house = make_house(second_reader="none")
    first, _ = bag(house, "alarm score 0.95", 1), bag(house, "alarm score 0.9", 2)
    page = enter(house, "operator")
    page.keyboard.press("n")
    expect(page.locator(".stage .head")).to_contain_text("ALARM")
    waiting, held = [], True
    page.route("**/pixels", lambda route: waiting.append(route) if held else route.continue_())
    for key in ("s", "1", "Control+Enter"):
        page.keyboard.press(key)
    expect(page.locator(".toast")).to_contain_text("Decided")
    while not waiting:
        page.wait_for_timeout(20)
    page.keyboard.press("Control+z")
    held = False
    for route in waiting:
        route.continue_()
    expect(page.locator(".toast")).to_contain_text("undone")
    assert house.person("operator").get(f"/v1/scans/{first}").json()["decisions"][0]["undone_at"]


@pytest.mark.parametrize("typed", ["LH-C20441", "S1R2C3U", "csr123"])
def test_what_a_tag_reader_types_decides_nothing(make_house, enter, typed):
    house = make_house(second_reader="none")
    scan = bag(house)
    page = enter(house, "operator")
    page.keyboard.press("n")
    page.wait_for_selector("canvas")
    for _ in range(2):
        page.keyboard.type(typed)
        page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert house.person("supervisor").get(f"/v1/scans/{scan}").json()["decisions"] == []


def test_an_input_methods_enter_decides_nothing_and_other_scripts_have_the_same_keys(
    make_house, enter
):
    house = make_house(second_reader="none")
    scan = bag(house)
    page = enter(house, "operator")
    page.keyboard.press("n")
    page.wait_for_selector("canvas")
    press = (
        "(key) => document.activeElement.dispatchEvent("
        "new KeyboardEvent('keydown', { bubbles: true, cancelable: true, ...key }))"
    )
    page.evaluate(press, {"key": "с", "code": "KeyC"})  # a Cyrillic letter
    expect(page.locator("dialog[open]")).to_contain_text("Clear")
    page.keyboard.press("1")
    page.keyboard.press("t")
    page.evaluate(press, {"key": "Enter", "code": "Enter", "ctrlKey": True, "isComposing": True})
    page.wait_for_timeout(200)
    expect(page.locator("dialog[open]")).to_have_count(1)
    assert house.person("supervisor").get(f"/v1/scans/{scan}").json()["decisions"] == []


def test_enhancements_are_held_and_computed_from_the_counts(make_house, enter):
    house = make_house()
    bag(house)
    page = enter(house, "operator")
    page.keyboard.press("n")
    page.wait_for_selector("canvas")
    page.keyboard.down("o")  # contours would cover the colours
    organic, metal = (0.2, 0.2), (0.8, 0.8)  # Z 7 and Z 22 of the stand-in's squares
    standard = colour(page, *organic), colour(page, *metal)
    assert standard[0][0] > standard[0][2] + 20  # orange
    assert standard[1][2] > standard[1][0] + 20  # blue
    for key, text, check in [
        ("2", "Metal", lambda: grey(colour(page, *organic)) and not grey(colour(page, *metal))),
        ("1", "Organic", lambda: not grey(colour(page, *organic)) and grey(colour(page, *metal))),
        ("g", "Grey", lambda: grey(colour(page, *organic)) and grey(colour(page, *metal))),
        (
            "i",
            "Invert",
            lambda: all(
                abs(255 - a - b) <= 3
                for a, b in zip(colour(page, *metal), standard[1], strict=True)
            ),
        ),
    ]:
        page.keyboard.down(key)
        expect(page.locator(".mode")).to_contain_text(text)
        assert check(), text
        page.keyboard.up(key)
        assert (colour(page, *organic), colour(page, *metal)) == standard, (
            f"after {text}"
        )  # released: the standard image
    page.keyboard.press("]")
    assert sum(colour(page, *metal)) > sum(standard[1])
    page.keyboard.press("[")
    page.keyboard.press("[")
    assert sum(colour(page, *metal)) < sum(standard[1])
    page.keyboard.up("o")
    page.keyboard.press("Space")
    page.keyboard.down("o")
    assert colour(page, *metal) == standard[1]


def test_both_views_zoom_together_and_pan_in_step_along_the_belt_alone(make_house, enter):
    house = make_house()
    bag(house)
    page = enter(house, "operator")
    page.keyboard.press("n")
    page.wait_for_selector("canvas")
    page.keyboard.down("o")
    before = [colour(page, 0.35, 0.35, view) for view in (0, 1)]
    assert before[0] == before[1]
    box = page.locator(".view canvas").first.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.wheel(0, -600)

    def drag(dx, dy):
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + dx, middle[1] + dy)
        page.mouse.up()
        return [
            page.evaluate(
                "n => [...document.querySelectorAll('.view canvas')][n].toDataURL()", view
            )
            for view in (0, 1)
        ]

    start = drag(0, 0)
    along = drag(0, -200)
    assert all(a != b for a, b in zip(start, along, strict=True)), "one slice of the belt in both"
    across = drag(-200, 0)
    assert across[0] != along[0]
    assert across[1] == along[1], "a shift across the belt affects one view"
    page.keyboard.press("ArrowUp")
    assert all(a != b for a, b in zip(across, drag(0, 0), strict=True))


def test_a_scan_that_nobody_could_see_is_not_cleared(make_house, enter):
    house = make_house()
    bag(house, "die")  # its worker dies in the middle, twice
    page = enter(house, "operator")
    page.keyboard.press("n")
    page.wait_for_selector(".stage .head strong")
    assert page.locator("button.clear").is_disabled()
    page.keyboard.press("c")
    assert page.locator("dialog[open]").count() == 0
    page.keyboard.press("s")
    page.wait_for_selector("dialog[open]")


@pytest.mark.parametrize("size", [(1024, 768), (683, 384), (480, 800)])
def test_every_decision_can_be_reached_in_a_narrow_window(make_house, enter, size):
    """The same holds in a window that is enlarged to 200 %."""
    house = make_house()
    bag(house)
    page = scan_in_window(enter(house, "operator"), size)
    for value in ("clear", "suspect", "recheck"):
        button = page.locator(f".decide button.{value}")
        button.scroll_into_view_if_needed()
        box = button.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size[0]
        assert box["y"] + box["height"] <= size[1]


def test_the_slider_shows_and_changes_nothing(make_house, enter):
    house = make_house()
    scan = bag(house)
    page = enter(house, "operator")
    page.keyboard.press("n")
    expect(page.locator(".parts li")).to_have_count(2)
    slider = page.get_by_label("threshold")
    slider.fill("-2")  # log-odds, 0.12 as a score: the stand-in has no score between
    expect(page.locator("text=changes only this view")).to_be_visible()
    slider.fill("3")
    expect(page.locator(".parts")).to_contain_text("No part is flagged")
    assert house.person("operator").get(f"/v1/scans/{scan}").json()["result"]["threshold"] == 0.5


@pytest.mark.slow
def test_a_ring_shows_where_a_small_flagged_part_lies(make_house, enter):
    house = make_house()
    bag(house)
    page = enter(house, "operator")
    page.keyboard.press("n")
    expect(page.locator(".parts li")).to_have_count(2)  # the lower right quarter of each view

    def ringed(view):
        box = page.locator(".view canvas").first.bounding_box()
        side = min(box["width"], box["height"])
        seen = [
            colour(page, 0.75 - 0.5**0.5 / 2 - (7 + off) / side, 0.75, view)
            for off in (-1, -0.5, 0, 0.5, 1)
        ]
        return any(red > 180 and green < 130 and blue < 130 for red, green, blue in seen)

    assert not ringed(0), "large enough to be seen without"
    page.set_viewport_size({"width": 830, "height": 270})
    assert ringed(0)
    assert ringed(1)
    page.keyboard.down("o")
    assert not ringed(0), "bare: nothing is drawn over the view"
    page.keyboard.up("o")
    assert ringed(0)
    page.get_by_label("threshold").fill("3")
    assert not ringed(0), "no part is flagged there"


def test_enter_on_a_button_of_the_dialog_does_what_the_button_says(make_house, enter):
    house = make_house()
    scan = bag(house)
    page = enter(house, "operator")
    page.keyboard.press("n")
    page.wait_for_selector("canvas")
    page.keyboard.press("s")
    page.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.keyboard.press("s")
    page.get_by_role("button", name="dense block").focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open]")).to_have_count(1)
    page.get_by_role("button", name="Decide").focus()
    page.keyboard.press("Enter")
    expect(page.locator("text=Decided: suspect")).to_be_visible()
    (made,) = house.person("operator").get(f"/v1/scans/{scan}").json()["decisions"]
    assert (made["value"], made["reason"]) == ("suspect", "dense block")


def test_nothing_is_decided_while_the_next_scan_is_on_its_way(make_house, enter):
    house = make_house()
    first, second = bag(house), bag(house, number=1)
    page = enter(house, "operator")
    page.keyboard.press("n")
    page.wait_for_selector("canvas")
    shown = page.url.rpartition("/")[2]
    coming = second if shown == first else first
    waiting = []
    page.route(re.compile(coming + ".*pixels"), lambda route: waiting.append(route))
    page.keyboard.press("n")
    page.wait_for_timeout(300)
    assert waiting
    page.keyboard.press("c")
    page.wait_for_timeout(200)
    expect(page.locator("dialog[open]")).to_have_count(0)
    for route in waiting:
        route.continue_()
    expect(page.locator(".queue li.here")).to_have_count(1)
    expect(page).to_have_url(re.compile(coming))
    assert all(
        not house.person("operator").get(f"/v1/scans/{one}").json()["decisions"]
        for one in (first, second)
    )


def test_a_page_that_answers_late_leaves_the_one_that_is_looked_at_alone(make_house, enter):
    house = make_house()
    scan = bag(house)
    page = enter(house, "supervisor")
    waiting = []
    page.route(re.compile("v1/scans.order"), lambda route: waiting.append(route))
    page.locator("nav a", has_text="Scans").click()
    page.locator("nav a", has_text="Review").click()
    expect(page.locator(".queue li")).to_have_count(1)
    page.keyboard.press("n")
    page.wait_for_selector("canvas")
    for route in waiting:
        route.continue_()
    page.wait_for_timeout(300)
    expect(page.locator(".views canvas")).to_have_count(2)
    page.locator("nav a", has_text="Statistics").click()
    expect(page.locator("h1", has_text="Statistics")).to_be_visible()
    page.keyboard.press("c")
    expect(page.locator("dialog[open]")).to_have_count(0)
    assert (
        house.person("operator").post("/v1/queue/claim", json={"scan_id": scan}).status_code == 200
    ), "it was released"


def test_what_nothing_penetrates_is_metal_to_the_console(make_house, enter):
    """Effective Z is 0 there by convention, which must not make it organic."""
    page = enter(make_house(), "operator")
    shown = page.evaluate(
        """async () => {
          const { prepare, render, STANDARD } = await import("/static/console.js");
          const [height, width] = [9, 27]; // thirds: organic, air, opaque
          const planes = [[20000, 65535, 300], [30000, 65535, 400], [7000, 0, 0]];
          const counts = new Uint16Array(3 * height * width);
          const size = height * width;
          planes.forEach((values, c) => {
            for (let i = 0; i < size; i++)
              counts[c * size + i] = values[Math.floor((i % width) / 9)];
          });
          const channels = ["low", "high", "zeff"];
          const head = { channels, height, width, bits: 16, quantity: "dual_energy" };
          const view = prepare({ head, buffer: counts.buffer, start: 0 });
          const at = (how) => [4, 13, 22].map((x) => {
            const first = 4 * (4 * width + x);
            const { data } = render(view, { ...STANDARD, ...how });
            return Array.from(data.slice(first, first + 3));
          });
          return { metal: at({ metal: true }), organic: at({ organic: true }), plain: at({}) };
        }"""
    )
    dark, shadow = (lambda rgb: max(rgb) < 60), (lambda rgb: min(rgb) > 190)
    assert dark(shown["metal"][2])
    assert shadow(shown["organic"][2])
    assert shadow(shown["metal"][0])
    assert not shadow(shown["organic"][0])
    assert min(shown["metal"][1] + shown["organic"][1]) > 240, "air is air"
    assert shown["plain"][2][2] >= shown["plain"][2][0], "dark blue, no orange"


def test_numbers_of_parts_that_lie_on_one_another_are_told_apart(make_house, enter):
    page = enter(make_house(), "operator")
    written = page.evaluate(
        """async () => {
          const { Viewer } = await import("/static/viewer.js");
          const viewer = new Viewer(), written = {};
          viewer.parts = [0, 1, 2, 3, 4].map((k) => (
            { view: "below", box: [100 + k, 100, 110 + k, 112] }
          ));
          const context = {
            stroke() {},
            strokeText() {},
            fillText(number, x, y) { written[number] = [x, y]; },
          };
          viewer.rings(context, { name: "below" }, 1);
          viewer.rings(context, { name: "side" }, 1); // without parts
          return written;
        }"""
    )
    assert sorted(written) == ["1", "2", "3", "4", "5"]
    places = list(written.values())
    assert min(math.dist(a, b) for n, a in enumerate(places) for b in places[:n]) >= 15, (
        "a number of two digits is 14 pixels wide"
    )
    assert all(20 < math.dist(place, (107, 106)) < 30 for place in places), "each at its own ring"
    assert math.degrees(math.atan2(106 - written["1"][1], written["1"][0] - 105)) == pytest.approx(
        45
    ), "the first where one looks for it: upper right"


def test_a_bag_of_which_nothing_was_judged_does_not_look_judged_and_clear(make_house, enter):
    house = make_house(reviewed="all")
    bag(house, "nothing")
    bag(house, "clear", 1)
    page = enter(house, "operator")
    expect(page.locator(".queue li")).to_have_count(2)
    expect(page.locator(".queue li", has_text="no device found")).to_have_count(1)
    page.locator(".queue li", has_text="no device found").click()
    expect(page.locator(".view .name.unjudged")).to_have_count(2)
    expect(page.locator(".parts")).to_contain_text("No part of this bag was scored")
    page.locator(".queue li", has_not_text="no device found").click()
    expect(page.locator(".parts")).to_contain_text("No part is flagged")
    expect(page.locator(".view .name.unjudged")).to_have_count(0)


def test_two_readers_one_blind(make_house, enter):
    house = make_house(second_reader="all")
    scan = bag(house)
    one, two = enter(house, "operator"), enter(house, "second")
    one.keyboard.press("n")
    one.wait_for_selector("canvas")
    two.wait_for_timeout(300)
    two.reload()
    expect(two.locator(".queue li.taken")).to_have_count(1)  # locked while the first reader has it
    one.keyboard.press("s")
    one.keyboard.press("1")
    one.locator("dialog textarea").fill("a secret note")
    one.keyboard.press("Control+Enter")
    expect(one.locator(".queue .empty")).to_be_visible()  # the same account is not asked twice
    two.reload()
    expect(two.locator(".queue li:not(.taken)")).to_have_count(1)
    two.keyboard.press("n")
    two.wait_for_selector("canvas")
    assert "secret" not in two.content()
    two.keyboard.press("s")
    two.keyboard.press("1")
    two.keyboard.press("Control+Enter")
    expect(two.locator(".queue .empty")).to_be_visible()
    assert house.person("supervisor").get(f"/v1/scans/{scan}").json()["outcome"] == "suspect"


def test_a_supervisor_changes_a_threshold_and_an_admin_rolls_it_back(make_house, enter):
    house = make_house()
    supervisor = enter(house, "supervisor")
    supervisor.get_by_role("link", name="Models").click()
    card = supervisor.locator(".card").filter(has_text="low,high,zeff").first
    card.get_by_label("threshold of").fill("0.77")
    card.get_by_role("button", name="Set threshold").click()
    supervisor.locator("dialog").get_by_role("button", name="Change").click()
    expect(supervisor.locator(".card.wide")).to_contain_text("0.770")
    assert send(house.machine(), tiff("score 0.7")).json()["decision"] == "CLEAR"
    expect(supervisor.get_by_role("button", name="Roll back")).to_have_count(
        0
    )  # a supervisor does not have it
    admin = enter(house, "admin")
    admin.get_by_role("link", name="Models").click()
    admin.get_by_role("button", name="Roll back").first.focus()
    admin.keyboard.press("Enter")
    expect(admin.locator("dialog")).to_contain_text("Go back")
    admin.keyboard.press("Enter")
    expect(admin.locator("dialog")).to_have_count(0)
    expect(admin.locator("tbody tr")).to_have_count(4)
    assert send(house.machine(), tiff("score 0.7", 2)).json()["decision"] == "ALARM"
    admin.get_by_role("link", name="Audit").click()
    expect(admin.locator("table")).to_contain_text("model.rollback")
    admin.get_by_role("button", name="Check the chain").click()
    expect(admin.locator("text=the chain is whole")).to_be_visible()


def test_the_first_admin_comes_by_the_one_time_link(make_house, browser, listening):
    from bagscan.service import accounts
    from bagscan.service.store import tables

    house = make_house()
    service = house.service
    service.store.write(
        lambda c: (
            c.execute(
                tables.accounts.update()
                .where(tables.accounts.c.name == "admin")
                .values(role="operator")
            )
            and None
        )
    )
    token = service.store.write(lambda c: accounts.offer_setup(c, service.clock.now()))
    page = browser.new_page()
    page.goto(f"{listening(house)}/#setup={token}")
    page.get_by_label("Name").fill("first")
    page.get_by_label("Password").fill("long enough")
    page.get_by_role("button", name="Create admin").click()
    expect(page.locator(".who")).to_contain_text("first · admin")
    page.get_by_role("link", name="Accounts").click()
    page.get_by_role("button", name="New account").click()
    page.locator("dialog input").first.fill("gate-1")
    page.locator("dialog select").select_option("scanner")
    page.locator("dialog").get_by_role("button", name="Create").click()
    row = page.locator("tr").filter(has_text="gate-1")
    row.get_by_role("button", name="New key").click()
    page.locator("dialog").get_by_role("button", name="Create").click()
    expect(page.locator("dialog")).to_contain_text("shown only once")
    assert "bagscan_" in page.locator("dialog .mono").inner_text()
    page.context.close()


@pytest.mark.parametrize("size", [(1366, 768), pytest.param((2560, 1440), marks=pytest.mark.slow)])
def test_nothing_is_cut_off(make_house, enter, size):
    house = make_house()
    bag(house)
    page = scan_in_window(enter(house, "admin"), size)
    for name in ("Review", "Scans", "Statistics", "Models", "Accounts", "Audit"):
        page.get_by_role("link", name=name, exact=True).click()
        page.wait_for_timeout(150)
        assert page.evaluate(
            "document.documentElement.scrollWidth <= innerWidth && "
            "document.documentElement.scrollHeight <= innerHeight"
        ), name
    page.get_by_role("link", name="Review", exact=True).click()
    for name in ("Clear C", "Suspect S", "Recheck R"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box["x"] + box["width"] <= size[0]
        assert box["y"] + box["height"] <= size[1]
