"""The page in a real browser: headless Chromium, driven through chromedriver by plain HTTP (the W3C protocol)."""

import json
import shutil
import socket
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from asterism import DBC, FCAE, KMeans, Training, open_images
from asterism.report import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with chromedriver: apt-get install chromium chromium-driver"
)

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
]
# File names that would run if the page took them for markup; a name cannot hold a slash.
HOSTILE = [
    "<img src=x onerror=window.hacked=1>.png",
    "<script>window.hacked=1<script>.png",
    "\"double\" 'single' &amp; `back`.png",
]


class Browser:
    """One headless window."""

    def __init__(self, profile):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.driver = subprocess.Popen(
            [DRIVER, f"--port={self.address.rpartition(':')[2]}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        self.session = "/session"
        self.wait(lambda: self.call("GET", "/status", session="")["ready"])
        begun = self.call("POST", "", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/session/{begun['sessionId']}"

    def call(self, method, path, body=None, session=None):
        address = self.address + (self.session if session is None else session) + path
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from error

    def open(self, path):
        self.call("GET", "/url")
        self.call("POST", "/url", {"url": "about:blank"})
        self.requests(), self.messages()  # forget those of the page before
        self.call("POST", "/url", {"url": f"file://{quote(str(path))}"})
        self.js("document.documentElement.style.scrollBehavior = 'auto'")

    def js(self, script, *arguments):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def devtools(self, command, **parameters):
        self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def act(self, kind, *actions, **about):
        self.call("POST", "/actions", {"actions": [{"type": kind, "id": kind, "actions": list(actions), **about}]})

    def move_to(self, x, y):
        step = {"type": "pointerMove", "x": int(x), "y": int(y), "duration": 0}
        self.act("pointer", step, parameters={"pointerType": "mouse"})

    def press(self, key):
        self.act("key", {"type": "keyDown", "value": key}, {"type": "keyUp", "value": key})

    def messages(self):
        """What the console said: errors of scripts, of the policy, of missing files."""
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})]

    def requests(self):
        """Addresses that the page asked for."""
        entries = self.call("POST", "/se/log", {"type": "performance"})
        events = [json.loads(entry["message"])["message"] for entry in entries]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]

    @staticmethod
    def wait(condition, seconds=60.0):
        """Until a condition holds; its last answer."""
        end = time.monotonic() + seconds
        while True:
            try:
                if found := condition():
                    return found
            except (OSError, RuntimeError):
                if time.monotonic() > end:
                    raise
            if time.monotonic() > end:
                raise TimeoutError("the browser never got there")
            time.sleep(0.05)

    def close(self):
        try:
            self.call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A run of DBC on a folder of files with hostile names, with labels of hostile names."""
    folder = tmp_path_factory.mktemp("photos <&> 'x'")
    rng = np.random.default_rng(0)
    for i in range(60):
        pixels = rng.integers(0, 80, (16, 16, 3))
        pixels[:, :, i % 3] += 150
        name = HOSTILE[i] if i < len(HOSTILE) else f"picture-{i}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
    (folder / "<b>not an image<b>.png").write_bytes(b"text")
    short = Training(n_epochs=2, batch_size=16, lr=0.001)
    run = tmp_path_factory.mktemp("runs") / "run"
    fcae = FCAE(training=short, augmentation="none")
    DBC(3, autoencoder=fcae, training=short, random_state=0, run_dir=run).fit(folder)
    images = open_images(folder)
    labels = [int(name.removesuffix(".png").rpartition("-")[2] or 0) % 3 if "-" in name else 0 for name in images.names]
    names = ["</script><script>window.hacked=1</script>", "plain", "<img src=x onerror=window.hacked=1>"]
    return write_report(run, images, np.array(labels), names)


@pytest.fixture
def opened(browser, page):
    """The page, fresh in the browser."""
    browser.open(page)
    browser.wait(lambda: browser.js("return Boolean(asterism.map?.points.buffer)"))
    return browser


def point_at(browser, index):
    """Put the pointer on a point of the map, close up, where no other is nearer."""
    browser.js("document.getElementById('map').scrollIntoView()")
    browser.move_to(1, 1)
    browser.js(
        "const { points, draw } = asterism.map;"
        "Object.assign(points.view, { x: points.x[arguments[0]], y: points.y[arguments[0]], zoom: 60 }); draw()",
        index,
    )
    left, top = browser.js(
        "const box = document.querySelector('canvas.map').getBoundingClientRect();"
        "const [x, y] = asterism.map.points.pointToScreen(arguments[0]); return [box.left + x, box.top + y]",
        index,
    )
    browser.move_to(left, top)


COLOURS = """
  const canvas = document.querySelector(arguments[0]);
  const bytes = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(bytes.buffer)).size"""


def test_the_page_opens_without_an_error_or_a_request(opened):
    for section in ("gallery", "training", "reconstructions", "mistakes", "reproduce"):
        opened.js("document.getElementById(arguments[0])?.scrollIntoView()", section)
        time.sleep(0.1)
    assert opened.messages() == []
    asked = [address for address in opened.requests() if not address.startswith(("data:", "about:"))]
    assert len(asked) == 1 and asked[0].startswith("file://") and asked[0].endswith("report.html")


def test_nothing_can_reach_the_network(opened):
    refused = opened.js("""
      const refused = [];
      document.addEventListener('securitypolicyviolation', (event) => refused.push(event.effectiveDirective));
      new Image().src = 'http://127.0.0.1:9/x.png';
      fetch('http://127.0.0.1:9/').catch(() => null);
      const script = document.createElement('script');
      script.textContent = 'window.hacked = 1';
      document.body.append(script);
      return new Promise((resolve) => setTimeout(() => resolve(refused), 300))""")
    assert {"img-src", "connect-src", "script-src-elem"} <= set(refused)
    assert opened.js("return window.hacked ?? null") is None
    opened.messages()


def test_hostile_names_are_text(opened):
    assert opened.js("return window.hacked ?? null") is None
    shown = opened.js("return document.body.textContent")
    assert "<b>not an image<b>.png" in shown
    assert opened.js("return document.querySelectorAll('#map bdi script, #map bdi img, main img').length") == 0
    names = opened.js("return asterism.json(document.querySelector('#map .data')).names")
    for name in HOSTILE:
        point_at(opened, names.index(name))
        opened.wait(lambda name=name: opened.js("return document.querySelector('#tip strong').textContent") == name)
    assert opened.js("return document.querySelectorAll('#tip img, #tip script').length") == 0
    assert opened.js("return window.hacked ?? null") is None


def test_the_map_is_drawn_and_redrawn_when_a_cluster_is_highlighted(opened):
    assert opened.js(COLOURS, "canvas.map") > 10
    picture = "return document.querySelector('canvas.map').toDataURL()"
    before = opened.js(picture)
    opened.js("document.querySelector('.legend-entries button').click()")
    opened.wait(lambda: opened.js(picture) != before)
    assert opened.js("return document.querySelector('.legend-entries button').getAttribute('aria-pressed')") == "true"
    opened.js("document.querySelector('canvas.map').focus()")
    opened.press("\ue00c")  # Escape
    opened.wait(lambda: opened.js(picture) == before)
    for mode in ("classes", "wrong", "confidence"):
        opened.js(
            "const select = document.querySelector('#map select'); select.value = arguments[0];"
            "select.dispatchEvent(new Event('change'))",
            mode,
        )
    assert opened.messages() == []


def test_the_name_of_a_group_stands_at_its_points(opened):
    middles = """
      const data = { clusters: [0, 0, 0, 0, 0, 1, 1, 1, 1] };  // two far clumps, and a square
      const x = [0, 0, 0, 1, 1, 0.4, 0.6, 0.4, 0.6], y = [1, 1, 1, 0, 0, 0.4, 0.4, 0.6, 0.6];
      const { sizes } = asterism.shared;
      asterism.shared.sizes = [5, 4];
      try { return asterism.mapColorings(data, x, y).clusters.middles; } finally { asterism.shared.sizes = sizes; }"""
    clumps, square = opened.js(middles)
    assert clumps["point"] in (0, 1, 2) and clumps["reach"] == 0  # its middle (0.4, 0.6) is nowhere
    assert square["point"] in (5, 6, 7, 8) and square["reach"] == pytest.approx(0.2)
    drawn = """
      const { points, draw } = asterism.map, written = [], fill = points.context.fillText;
      points.context.fillText = (name, ...at) => written.push(at);
      try { draw(); } finally { points.context.fillText = fill; }
      const places = Array.from({ length: points.n }, (_, i) => points.pointToScreen(i));
      const over = (at) => places.filter(([x]) => x === at[0]).map(([, y]) => y - at[1]);
      return written.map((at) => Math.min(...over(at).filter((one) => one >= 0)));"""
    above = opened.js(drawn)
    assert above and all(0 <= one <= 16 for one in above)


def test_pointing_shows_the_picture_and_what_is_known(opened):
    point_at(opened, 7)
    opened.wait(lambda: opened.js("return !document.getElementById('tip').hidden"))
    opened.wait(lambda: opened.js(COLOURS, "#tip canvas") > 20)
    name = opened.js("return asterism.json(document.querySelector('#map .data')).names[7]")
    text = opened.js("return document.getElementById('tip').textContent")
    assert name in text and "group" in text and "confidence 0." in text
    opened.move_to(5, 5)
    opened.wait(lambda: opened.js("return document.getElementById('tip').hidden"))


def test_keys_move_and_zoom(opened):
    opened.wait(lambda: opened.js(COLOURS, "canvas.map") > 500)  # so few points are pictures at once
    opened.js("document.querySelector('canvas.map').focus()")
    for _ in range(4):
        opened.press("+")
    assert opened.js("return asterism.map.points.view.zoom") == pytest.approx(1.4**4)
    assert opened.js("return document.getElementById('tip').hidden") is False, "the point in the middle is told"
    opened.press("\ue012")  # arrow to the left
    assert opened.js("return asterism.map.points.view.x") < 0.5
    opened.press("0")
    assert opened.js("return asterism.map.points.view.zoom") == 1


def test_keys_and_pictures_are_named_and_leave_the_browsers_own_keys_alone(opened):
    pressed = """
      const { 0: where, 1: about } = arguments, element = document.querySelector(where);
      const event = new KeyboardEvent('keydown', { key: 'ArrowLeft', bubbles: true, cancelable: true, ...about });
      return element.dispatchEvent(event)"""
    for where in ("canvas.map", ".plot", "#gallery .pictures"):
        assert opened.js(pressed, where, {}) is False  # taken
        assert opened.js(pressed, where, {"altKey": True}) is True, where  # the page before
    unnamed = "return [...document.querySelectorAll('.pictures')].filter((one) => !one.ariaLabel || !one.role).length"
    assert opened.js(unnamed) == 0


def test_a_finger_finds_a_point_and_the_menus_button_does_not_drag(opened):
    point_at(opened, 7)
    left, top = opened.js("const { x, y } = document.querySelector('canvas.map').getBoundingClientRect();"
                          "return asterism.map.points.pointToScreen(7).map((one, i) => one + [x, y][i])")  # fmt: skip
    opened.move_to(5, 5)
    to = {"type": "pointerMove", "x": int(left), "y": int(top), "duration": 0}
    down, up = ({"type": f"pointer{way}", "button": 0} for way in ("Down", "Up"))
    opened.act("pointer", to, down, up, id="finger", parameters={"pointerType": "touch"})
    time.sleep(0.3)
    name = opened.js("return asterism.json(document.querySelector('#map .data')).names[7]")
    tip = (
        "const tip = document.getElementById('tip'); return tip.hidden ? null : tip.querySelector('strong').textContent"
    )
    assert opened.js(tip) == name, "a finger that is lifted also leaves"
    view = "return asterism.map.points.view.x"
    before = opened.js(view)
    to["x"] += 40
    opened.move_to(left, top)
    opened.act("pointer", {"type": "pointerDown", "button": 2}, to, parameters={"pointerType": "mouse"})
    after = opened.js(view)
    opened.act("pointer", {"type": "pointerUp", "button": 2}, parameters={"pointerType": "mouse"})
    assert after == before


def test_a_finger_reads_a_curve(opened):
    left, top = opened.js("""
      const plot = document.querySelector('.plot');
      plot.scrollIntoView({ block: 'center' });
      const box = plot.getBoundingClientRect();
      return [box.left + 2, box.top + box.height / 2]""")
    to = {"type": "pointerMove", "x": int(left), "y": int(top), "duration": 0}
    down, up = ({"type": f"pointer{way}", "button": 0} for way in ("Down", "Up"))
    opened.act("pointer", to, down, up, id="finger", parameters={"pointerType": "touch"})
    time.sleep(0.3)
    assert opened.js("return document.querySelector('.curve output').textContent").endswith("in round 0")


def test_odd_shapes_long_names_and_many_bars_are_laid_out(opened):
    for width, height in ((10, 96), (96, 10)):
        box = opened.js(
            "const sprites = Object.create(asterism.Sprites.prototype);"
            "sprites.layout = { width: arguments[0], height: arguments[1] };"
            "const canvas = document.querySelector('#gallery canvas[data-sprite]');"
            "sprites.fit(canvas); return [canvas.clientWidth, canvas.clientHeight]",
            *(width, height),
        )
        assert max(box) < 180 and min(box) > 12, box
    broad = opened.js("""
      const [side, top] = ['.figures tbody th bdi', '.matrix thead th bdi'].map((one) => document.querySelector(one));
      side.textContent = 'x'.repeat(160);
      top.textContent = 'american_pit_bull_terrier';
      return [side.closest('th').offsetWidth / innerWidth, top.offsetWidth / top.closest('th').clientWidth]""")
    assert broad[0] < 0.5 and broad[1] <= 1
    lines = opened.js("""
      const bars = document.querySelector('.bars'), one = bars.querySelector('a');
      one.querySelector('small').textContent = '12 345';
      for (let i = 0; i < 37; i++) bars.append(one.cloneNode(true));
      return Math.max(...[...bars.querySelectorAll('small, .number')].map((text) => text.scrollHeight))""")
    assert lines < 30, "a number stands on one line"
    name = opened.js("""
      const data = { clusters: [0], classes: [0], perClass: [1, 0], verdicts: [1, 0, 0] }, { shared } = asterism;
      asterism.shared = { ...shared, sizes: [1], classNames: ['x'.repeat(160)], classColors: ['#000000'] };
      try { return asterism.mapColorings(data, [0], [0]).classes.short(0); } finally { asterism.shared = shared; }""")
    assert len(name) < 30


def test_only_groups_that_are_on_the_map_are_shown_there(opened):
    buttons = opened.js("""
      const section = document.getElementById('gallery'), { map } = asterism;
      section.querySelector('.cards').replaceChildren();
      asterism.map = { ...map, groups: new Set([0, 2]) };
      const data = asterism.json(section.querySelector('.data'));
      try { asterism.draw.gallery(section, data, asterism.sprites.get(section)); } finally { asterism.map = map; }
      return [...section.querySelectorAll('.card')].map((one) => Boolean(one.querySelector('button')))""")
    assert buttons == [True, False, True]


def test_the_tip_is_seen_in_full_screen(opened):
    opened.js("document.querySelector('[data-act=full]').focus()")
    opened.press("\ue007")  # Enter
    opened.wait(
        lambda: opened.js("return Boolean(document.fullscreenElement?.contains(document.getElementById('tip')))"), 5
    )
    opened.js("document.exitFullscreen()")
    opened.wait(lambda: opened.js("return document.getElementById('tip').parentElement === document.body"), 5)


def test_the_wheel_scrolls_the_page_until_the_map_is_clicked(opened):
    wheel = """
      const canvas = document.querySelector('canvas.map');
      const event = new WheelEvent('wheel', {deltaY: -100, cancelable: true, clientX: 500, clientY: 400});
      return [canvas.dispatchEvent(event), asterism.map.points.view.zoom]"""
    assert opened.js(wheel) == [True, 1]
    opened.js("document.querySelector('canvas.map').focus()")
    prevented, zoom = opened.js(wheel)
    assert prevented is False and zoom > 1


def test_cards_are_filled_with_pictures(opened):
    opened.js("document.getElementById('group-0').scrollIntoView()")
    opened.wait(lambda: opened.js("return Boolean(document.querySelector('#group-0 canvas[data-painted]'))"))
    opened.wait(lambda: opened.js(COLOURS, "#group-0 canvas[data-sprite]") > 20)
    labels = opened.js(
        "return [...document.querySelectorAll('#group-0 canvas')].map(one => one.getAttribute('aria-label'))"
    )
    certain = [float(one.rpartition("confidence ")[2].partition(",")[0]) for one in labels]
    assert len(labels) > 5 and certain[0] == max(certain)
    opened.js("document.querySelector('#group-0 button').click()")
    opened.wait(lambda: opened.js("return scrollY > 0 && document.activeElement.matches('canvas.map')"))
    assert opened.js("return document.querySelector('[data-group=\"0\"]').getAttribute('aria-pressed')") == "true"


def test_arrow_keys_go_through_a_group_of_pictures(opened):
    opened.js("document.querySelector('#reconstructions').scrollIntoView()")
    opened.js("document.querySelector('#reconstructions .pictures').focus()")
    for _ in range(2):
        opened.press("\ue014")  # arrow to the right
    assert opened.js("return document.querySelector('#reconstructions canvas.active').ariaLabel") == (
        "Reconstruction of image 1"
    )
    assert opened.js("return document.getElementById('tip').hidden") is False


def test_every_picture_and_control_has_a_name(opened):
    nameless = opened.js("""
      document.getElementById('group-0').scrollIntoView();
      const named = (one) => one.getAttribute('aria-label') || one.textContent.trim() || one.closest('label')
        || one.getAttribute('aria-hidden');
      return [...document.querySelectorAll('canvas, button, select, input, a, svg[role], [role=group]')]
        .filter((one) => !named(one)).map((one) => one.outerHTML.slice(0, 80))""")
    assert nameless == []


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_runs_over_the_edge(opened, width):
    opened.devtools(
        "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=2, mobile=width < 700
    )
    try:
        opened.wait(lambda: opened.js("return innerWidth") == width)
        assert opened.js("return document.documentElement.scrollWidth") <= width
        legend = "const box = document.querySelector('.legend-entries'); return box.scrollWidth - box.clientWidth"
        opened.js("document.querySelector('.legend-entries bdi').append(' of a very long name'.repeat(5))")
        assert opened.js(legend) <= 0, "a long name pushed its count out of the legend"
    finally:
        opened.devtools("Emulation.clearDeviceMetricsOverride")


def test_dark_follows_the_system(opened):
    corner = "return [...document.querySelector('canvas.map').getContext('2d').getImageData(0, 0, 1, 1).data]"
    light = opened.js(corner)
    opened.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    try:
        opened.wait(lambda: sum(opened.js(corner)[:3]) < 100 < sum(light[:3]))
    finally:
        opened.devtools("Emulation.setEmulatedMedia", features=[])


def test_bars_and_colours_are_seen_where_the_system_chooses_the_colours(opened):
    """In Windows' high contrast the bars, the legend's dots and what is chosen in it were as the paper."""
    colour = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    drawn = (".column i", ".swatch", ".spread i", ".legend-entries i")
    usual = [opened.js(colour, one, "backgroundColor") for one in drawn]
    opened.js("document.querySelector('.legend-entries button').click()")
    opened.devtools("Emulation.setEmulatedMedia", features=[{"name": "forced-colors", "value": "active"}])
    try:
        opened.wait(lambda: opened.js("return matchMedia('(forced-colors: active)').matches"))
        assert [opened.js(colour, one, "backgroundColor") for one in drawn] == usual
        assert opened.js(colour, ".legend-entries button[aria-pressed=true]", "outlineStyle") == "solid"
    finally:
        opened.devtools("Emulation.setEmulatedMedia", features=[])


def test_a_link_to_a_group_lands_there_at_once(browser, page):
    for address in (f"{page}#group-2", f"{page}#reproduce"):
        browser.open(str(page))  # that the next is no jump within the page
        browser.call("POST", "/url", {"url": f"file://{quote(str(page))}#{address.rpartition('#')[2]}"})
        browser.wait(lambda: browser.js("return Boolean(asterism.map?.points.buffer)"))
    top = "return document.getElementById(arguments[0]).getBoundingClientRect().top"
    height = "return document.documentElement.scrollHeight"
    browser.open(page)
    before = browser.js(height)
    browser.js("document.querySelector('.bars a[href=\"#group-2\"]').click()")
    first = browser.js(top, "group-2")
    browser.wait(lambda: browser.js("return Boolean(document.querySelector('#group-2 canvas[data-painted]'))"))
    time.sleep(0.3)
    assert browser.js(top, "group-2") == first, "nothing above the card moved when it was painted"
    assert browser.js(height) == before
    lowest = browser.js("return innerHeight")
    assert 0 <= first < lowest - 50


def test_paper_is_light_and_shows_every_picture(opened):
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    left = "return document.querySelectorAll('main canvas[data-sprite]:not([data-painted])').length"
    opened.wait(lambda: opened.js(left) == 0)
    opened.devtools("Emulation.setEmulatedMedia", media="print", features=dark)
    opened.js("window.dispatchEvent(new Event('beforeprint'))")
    try:
        style = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
        assert opened.js(style, "nav", "display") == "none"
        assert opened.js(style, ".card", "breakInside") == "avoid"
        ink = opened.js(style, ".card h3", "color")
        assert sum(int(one) for one in ink[4:-1].split(",")) < 200, "dark letters"
        corner = "return [...document.querySelector('canvas.map').getContext('2d').getImageData(0, 0, 1, 1).data]"
        assert sum(opened.js(corner)[:3]) > 700
    finally:
        opened.js("window.dispatchEvent(new Event('afterprint'))")
        opened.devtools("Emulation.setEmulatedMedia", media="", features=[])


def test_users_read_of_groups(opened):
    """Clusters are the code's word."""
    opened.js("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    words = opened.js("""
      document.querySelectorAll('#reproduce').forEach((one) => one.remove());
      const spoken = [...document.querySelectorAll('[aria-label], [title]')]
        .map((one) => `${one.getAttribute('aria-label')} ${one.getAttribute('title')}`);
      const [head, main] = ['header', 'main'].map((one) => document.querySelector(one).innerText);
      return head + main + spoken.join(' ')""")
    assert "cluster" not in words.lower().replace("clustering", "")


@pytest.mark.slow
def test_ten_thousand_images_stay_fluid(browser, tmp_path):
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 10, 10_000)
    images = rng.integers(0, 60, (10_000, 28, 28), dtype=np.uint8)
    images += (rng.random((10, 28, 28)) < 0.3).astype(np.uint8)[kinds] * 180
    KMeans(10, n_init=1, random_state=0, run_dir=tmp_path / "run").fit(images)
    page = write_report(tmp_path / "run", open_images(images), kinds)
    assert page.stat().st_size < 30e6
    browser.open(page)
    browser.wait(lambda: browser.js("return Boolean(asterism.map?.points.buffer)"), 60)
    frames = browser.js("""
      const times = [];
      for (let i = 0; i < 60; i++) {
        const began = performance.now();
        asterism.map.points.moveBy(5 * Math.sin(i), 3);
        asterism.map.points.zoomBy(i % 2 ? 1.1 : 1 / 1.1);
        asterism.map.draw();
        times.push(performance.now() - began);
      }
      return times""")
    decoded = "return asterism.sprites.get(document.getElementById('map')).decoded.size"
    assert browser.js(decoded) == 0, "no sheet is decoded before it is looked at"
    point_at(browser, 0)
    browser.wait(lambda: 1 <= browser.js(decoded) <= 3)  # close up, points become pictures
    assert statistics.median(frames) < 33, f"a frame takes {statistics.median(frames):.1f} ms"
    assert browser.messages() == []
