"""The example's consent banner in Chromium, with analytics.js from npm, against the deployed stack.

What a visitor presses is what a person would press; what came of it is read through the API.
"""

import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from cli.api import Api, profile_path
from cli.target import ROOT
from examples.banner import serve
from tests import browser
from tests.browser import Browser, Page
from tests.emulator.conftest import await_true
from tests.emulator.reading import Who, counted, events_of, profile

Json = dict[str, Any]
REJECT, ACCEPT, SAVE = (f"[data-answer={name}]" for name in ("reject_all", "accept_all", "save"))
WALKING = "[data-product='1001']"
ASKED = ["analytics", "marketing", "personalization", "sale_share"]
VIEWED = ["analytics", "marketing", "personalization", "profiling"]
"""What a Product Viewed is kept for."""
CLOSED, OPEN = "!banner.open", "banner.open"
CHOICES = "JSON.parse(localStorage.choices ?? null)"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser.running(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture
def gpc_chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """With Global Privacy Control on."""
    home = tmp_path_factory.mktemp("gpc")
    with browser.running(home, "--enable-features=GlobalPrivacyControlForce") as running:
        yield running


@dataclass
class Visit:
    """A visitor's page, of a shop that nobody else visits."""

    api: Api
    source: str
    shop: str
    page: Page
    secret: str
    user: str = field(default_factory=lambda: f"user-{secrets.token_hex(6)}")

    def come(self) -> None:
        self.page.open(self.shop)

    def press(self, selector: str, until: str = CLOSED) -> None:
        self.page.click(selector)
        self.page.until(until)

    def answer(self, selector: str) -> Who | None:
        """Press a button of the banner, opened where it is not. Answers who the browser is then."""
        if not self.page.run(OPEN):
            self.press("#open", OPEN)
        self.press(selector)
        return self.who

    @property
    def who(self) -> Who | None:
        id_ = self.page.run(f"{CHOICES}?.id")
        return ("anonymous_id", id_) if id_ else None

    def look(self) -> None:
        """At a shoe, until all is sent that the page sends of it."""
        self.page.click(WALKING)
        self.page.run("import('./choices.js').then(({track}) => track('Product Viewed', {}))")

    def log_in(self, *, vouched: bool) -> None:
        self.page.click("[name=user]")
        self.page.type(self.user)
        if not vouched:
            self.page.click("[name=vouched]")
        self.press("#login button", "login.hidden")

    def sent(self, path: str | None = None) -> list[tuple[str, Json]]:
        """What the page sent to Candor: the last part of the path, and the body."""
        self.page.run("0")  # what happened until now is told before this is answered
        place = f"{self.api.stack['api_url']}/v1/"
        found = [
            (one["url"].removeprefix(place).split("/")[0], json.loads(one.get("postData", "{}")))
            for one in self.page.asked
            if one["url"].startswith(place) and one["method"] != "OPTIONS"
        ]
        return [one for one in found if path in {None, one[0]}]

    def events(self, who: Who) -> list[str]:
        return sorted(str(one.get("event") or one["type"]) for one in events_of(self.api, who))

    def states(self, who: Who) -> dict[str, str]:
        """Of the purposes that the banner asks about."""
        said = self.consents(who)["purposes"]
        return {purpose: said[purpose]["state"] for purpose in ASKED}

    def consents(self, who: Who) -> Json:
        path = f"{profile_path(':'.join(who))}/consents"
        return self.api.staff("dpo", "GET", path, purpose="privacy_rights")

    def await_events(self, who: Who, *names: str) -> None:
        await_true(f"{names} are kept", lambda: self.events(who) == sorted(names))

    def await_count(self, outcome: str, least: int = 1) -> None:
        await_true(outcome, lambda: counted(self.api, self.source)[outcome] >= least)

    def traces(self) -> list[str]:
        """What the browser keeps that could tell this visitor from another."""
        kept = "[...Object.keys(localStorage), ...document.cookie.split(/; */)].filter(Boolean)"
        found: list[str] = self.page.run(kept)
        return [name for name in found if name != "choices"]


Opener = Callable[[Browser], Visit]


@pytest.fixture
def open_shop(api: Api) -> Iterator[Opener]:
    visits: list[Visit] = []
    servers = []

    def opened(chromium: Browser) -> Visit:
        source = api.staff("admin", "POST", "/keys", serve.SOURCE)
        secret = api.staff("admin", "POST", f"/keys/{source['id']}/secret", {})["secret"]
        server = serve.shop(api.stack["api_url"], source["key"], secret)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shop = f"http://127.0.0.1:{server.server_port}/"
        visits.append(Visit(api, source["id"], shop, chromium.visitor(), secret))
        return visits[-1]

    yield opened
    for server in servers:
        server.shutdown()
        server.server_close()
    for visit in visits:
        own = {visit.shop, f"{api.stack['endpoint_url']}/"}
        asked = {
            "{0.scheme}://{0.netloc}/".format(urlsplit(one["url"])) for one in visit.page.asked
        }
        assert asked <= own, "the page asks for something elsewhere"
        assert visit.page.errors == []


@pytest.fixture
def visit(open_shop: Opener, chromium: Browser) -> Visit:
    """Somebody who comes for the first time."""
    made = open_shop(chromium)
    made.come()
    made.page.until(OPEN)
    return made


def test_before_an_answer_nothing_is_sent_loaded_or_left(visit: Visit) -> None:
    visit.look()
    visit.page.press("Escape")
    visit.log_in(vouched=True)
    visit.look()
    visit.come()

    assert visit.page.until(OPEN), "no answer is no answer: it is asked again"
    assert visit.sent() == []
    assert visit.traces() == []
    assert visit.who is None
    assert not [one for one in visit.page.asked if "/analytics/" in one["url"]]
    assert counted(visit.api, visit.source) == {}


def test_a_yes_is_on_record_before_the_first_event_and_carried_by_each(visit: Visit) -> None:
    who = visit.answer(ACCEPT)
    assert who
    assert visit.states(who) == dict.fromkeys(ASKED, "granted")
    visit.page.click(WALKING)
    visit.await_events(who, "page", "Product Viewed")

    assert [path for path, _ in visit.sent()] == ["consents", "projects", "p", "t"]
    for _, event in visit.sent("p") + visit.sent("t"):
        granted = {"analytics": True, "personalization": True, "marketing": True}
        assert event["context"]["consent"] == {"categoryPreferences": granted}
        assert event["anonymousId"] == who[1]
    records = [one for one in visit.consents(who)["data"] if "evidence" in one]
    assert sorted(one["purpose"] for one in records) == ASKED
    for record in records:
        assert record["granted"] is True
        assert (record["mechanism"], record["trust"]) == ("banner", "client")
        assert record["source"] == visit.source
        told = {"banner": "1", "language": "en", "page": "/", "action": "accept_all", "gpc": False}
        assert record["evidence"] == told

    visit.come()
    visit.await_events(who, "page", "page", "Product Viewed")
    assert not visit.page.run(OPEN)
    assert len(visit.sent("consents")) == 1, "it is asked and told once"


def test_a_no_sends_nothing_and_leaves_nothing(visit: Visit) -> None:
    assert visit.answer(REJECT) is None
    visit.look()
    visit.come()
    visit.look()

    assert not visit.page.run(OPEN), "a no is remembered as a yes is"
    assert visit.page.run("said.textContent").startswith("You said no.")
    assert visit.sent() == []
    assert visit.traces() == []
    assert counted(visit.api, visit.source) == {}


def test_what_a_faulty_page_sends_all_the_same_is_not_kept(visit: Visit) -> None:
    visit.answer(REJECT)
    who = ("anonymous_id", secrets.token_hex(8))
    visit.page.run(
        """(async (anonymousId) => {
          const { api_url, write_key } = await (await fetch("settings.json")).json();
          const event = {event: "Product Viewed", anonymousId, writeKey: write_key};
          await fetch(`${api_url}/v1/t`, {method: "POST", body: JSON.stringify(event)});
        })"""
        f"({json.dumps(who[1])})"
    )
    visit.await_count("dropped:no_consent")
    assert profile(visit.api, who) is None


def test_a_mind_is_changed_both_ways(visit: Visit) -> None:
    """A no binds what was said of the browser until then, for good; a yes begins anew."""
    first = visit.answer(ACCEPT)
    assert first
    visit.await_events(first, "page")

    assert visit.answer(REJECT) is None
    assert visit.states(first) == dict.fromkeys(ASKED, "denied")
    assert visit.traces() == []
    before = visit.sent()
    visit.look()
    assert visit.sent() == before

    second = visit.answer(ACCEPT)
    assert second
    assert second != first
    assert visit.states(second) == dict.fromkeys(ASKED, "granted")
    visit.page.click(WALKING)
    visit.await_events(second, "page", "Product Viewed")
    assert visit.states(first) == dict.fromkeys(ASKED, "denied")


def test_one_purpose_can_be_withdrawn_and_given_again(visit: Visit) -> None:
    first = visit.answer(ACCEPT)
    assert first
    visit.press("#open", OPEN)
    visit.page.click("[name=marketing]")
    assert visit.answer(SAVE) == first
    assert visit.states(first) == dict.fromkeys(ASKED, "granted") | {"marketing": "denied"}
    visit.page.click(WALKING)
    visit.await_events(first, "page", "page", "Product Viewed")
    said = [event["context"]["consent"]["categoryPreferences"] for _, event in visit.sent("t")]
    assert said == [{"analytics": True, "personalization": True, "marketing": False}]

    visit.press("#open", OPEN)
    visit.page.click("[name=marketing]")
    second = visit.answer(SAVE)
    assert second
    assert second != first
    assert visit.states(second) == dict.fromkeys(ASKED, "granted")


def test_a_yes_that_nobody_heard_is_none_and_a_no_counts_unheard(visit: Visit) -> None:
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    visit.page.call("Network.emulateNetworkConditions", **offline)
    visit.press(ACCEPT, "failed.textContent")
    assert visit.page.run(OPEN)
    assert visit.who is None
    assert visit.traces() == []
    visit.page.call("Network.emulateNetworkConditions", **offline | {"offline": False})
    who = visit.answer(ACCEPT)
    assert who
    visit.await_events(who, "page")

    visit.page.call("Network.emulateNetworkConditions", **offline)
    assert visit.answer(REJECT) is None
    assert visit.traces() == []
    assert set(visit.states(who).values()) == {"granted"}
    visit.page.call("Network.emulateNetworkConditions", **offline | {"offline": False})
    visit.come()
    visit.page.until(f"!{CHOICES}.untold.length")
    assert visit.states(who) == dict.fromkeys(ASKED, "denied")


def test_global_privacy_control_holds_after_log_in_and_merge(
    open_shop: Opener, gpc_chromium: Browser
) -> None:
    visit = open_shop(gpc_chromium)
    _insist_on_gpc(visit.page, visit.shop)
    visit.page.until(OPEN)
    assert visit.page.run("!gpc.hidden && gpc.checkVisibility()")
    assert visit.page.run("document.querySelector('[name=sale_share]').disabled")

    who = visit.answer(ACCEPT)
    assert who
    (told,) = (body for _, body in visit.sent("consents"))
    assert "sale_share" not in told["purposes"]
    assert told["evidence"]["gpc"] is True
    visit.await_events(who, "page")
    expected = dict.fromkeys(ASKED, "granted") | {"sale_share": "denied"}
    await_true("the header counts", lambda: visit.states(who) == expected)

    visit.log_in(vouched=True)
    person = ("user_id", visit.user)
    await_true("they are one", lambda: profile(visit.api, person) == profile(visit.api, who))
    assert visit.states(person) == expected
    assert visit.answer(ACCEPT) == who
    visit.page.click(WALKING)
    visit.await_events(person, "page", "page", "Product Viewed")
    assert visit.states(person) == expected
    mechanisms = {one["mechanism"] for one in visit.consents(person)["data"] if not one["granted"]}
    assert mechanisms == {"gpc"}


def _insist_on_gpc(page: Page, shop: str) -> None:
    """Chromium has it since 2026; in an older one DevTools does as it would."""
    page.open(shop)
    if page.run("navigator.globalPrivacyControl") is None:
        page.call("Network.setExtraHTTPHeaders", headers={"Sec-GPC": "1"})
        on = "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {value: true})"
        page.call("Page.addScriptToEvaluateOnNewDocument", source=on)
        page.open(shop)
    assert page.run("navigator.globalPrivacyControl") is True


@pytest.mark.parametrize("vouched", [True, False])
def test_a_known_users_no_is_taken_back_with_a_proof_and_not_without(
    visit: Visit, vouched: bool
) -> None:
    person = ("user_id", visit.user)
    # A while ago: of what was said in the same second, the denial counts.
    before = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    no = {"userId": visit.user, "purposes": dict.fromkeys([*VIEWED, "sale_share"], False)}
    visit.api.collect("server", "/consents", no | {"timestamp": before})
    visit.log_in(vouched=vouched)

    who = visit.answer(ACCEPT)
    assert who
    visit.page.click(WALKING)

    assert visit.states(person) == dict.fromkeys(ASKED, "granted" if vouched else "denied")
    if vouched:
        visit.await_events(person, "page", "Product Viewed")
        (event,) = (event for _, event in visit.sent("t"))
        assert event["context"]["identityProof"]
        assert event["userId"] == visit.user
    else:
        visit.await_count("dropped:no_consent", 2)
        assert visit.events(person) == []


@pytest.mark.parametrize("vouched", [True, False])
def test_who_logs_in_later_keeps_what_the_browser_agreed_to(visit: Visit, vouched: bool) -> None:
    who, person = visit.answer(ACCEPT), ("user_id", visit.user)
    assert who
    visit.log_in(vouched=vouched)
    visit.page.click(WALKING)
    visit.await_events(person, "page", "Product Viewed")
    assert visit.states(person) == dict.fromkeys(ASKED, "granted")
    because = visit.consents(person)["purposes"]["analytics"]["because"]
    assert "device" in because, "nobody asked the person, so it is for this browser only"

    visit.press("#logout button", "logout.hidden")
    visit.page.until(f"{CHOICES}.id !== {json.dumps(who[1])}")
    assert visit.who
    visit.await_events(visit.who, "page")
    assert visit.who[1] not in str(profile(visit.api, person))


def test_a_known_users_no_binds_everywhere(visit: Visit) -> None:
    person = ("user_id", visit.user)
    yes = {"userId": visit.user, "purposes": dict.fromkeys(ASKED, True)}
    visit.api.collect("server", "/consents", yes | {"mechanism": "preference_center"})
    visit.log_in(vouched=False)
    visit.page.press("Escape")
    assert visit.states(person) == dict.fromkeys(ASKED, "granted"), "a closed banner says nothing"

    assert visit.answer(REJECT) is None

    assert visit.states(person) == dict.fromkeys(ASKED, "denied")
    assert [path for path, _ in visit.sent()] == ["consents"]


@pytest.mark.parametrize("answer", [ACCEPT, REJECT])
def test_after_half_a_year_it_is_asked_again(visit: Visit, answer: str) -> None:
    visit.answer(answer)
    days = 183 * 24 * 3600 * 1000
    older = f"(({{at, ...kept}}) => JSON.stringify({{at: at - {days}, ...kept}}))({CHOICES})"
    visit.page.run(f"localStorage.choices = {older}")
    visit.come()
    assert visit.page.until(OPEN)
    before = visit.sent()
    visit.look()
    assert visit.sent() == before, "an answer ends after half a year"


def test_a_keyboard_is_enough(visit: Visit) -> None:
    page = visit.page

    def focused() -> str:
        name: str = page.run(
            "(({id, name, dataset, tagName}) => id || name || dataset.answer || tagName)"
            "(document.activeElement)"
        )
        return name

    assert focused() == "banner-title", "a screen reader begins with what is asked"
    page.press("Enter")
    page.press(" ")
    assert page.run(OPEN), "the focus is on no button, so no stray key answers"
    order = []
    while "save" not in order:
        page.press("Tab")
        order.append(focused())
        assert page.run("document.activeElement.matches(':focus-visible')")
        if order[-1] == "analytics":
            page.press(" ")
    boxes = ["analytics", "personalization", "marketing", "sale_share"]
    assert order == ["A", *boxes, "reject_all", "accept_all", "save"]
    page.press("Enter")
    page.until(CLOSED)
    assert focused() == "open", "where it can be changed"
    assert visit.who
    assert visit.states(visit.who) == dict.fromkeys(ASKED, "unknown") | {"analytics": "granted"}

    page.press("Enter")
    page.until(OPEN)
    assert focused() == "banner-title"
    assert page.run("document.getElementById('open').ariaExpanded") == "true"
    assert page.run("[...banner.querySelectorAll(':checked')].map(box => box.name)") == order[1:2]
    page.press("Escape")
    assert page.run(CLOSED)
    assert focused() == "open"
    assert len(visit.sent("consents")) == 1, "Escape is neither yes nor no"


def test_a_screen_reader_is_told_what_is_asked_and_of_whom(visit: Visit) -> None:
    nodes = visit.page.tree()

    def named(role: str) -> dict[str, Json]:
        return {
            one["name"]["value"]: {
                each["name"]: each["value"].get("value") for each in one["properties"]
            }
            for one in nodes
            if one["role"]["value"] == role
        }

    (dialog,) = (one for one in nodes if one["role"]["value"] == "dialog")
    assert dialog["name"]["value"] == "Your privacy choices"
    assert "We ask before we collect anything" in dialog["description"]["value"]
    assert {"Reject all", "Accept all", "Save my choices", "Privacy choices"} <= set(
        named("button")
    )
    assert named("button")["Privacy choices"]["expanded"] is True
    asked = [one for one in named("checkbox").items() if one[0].startswith("to ")]
    assert len(asked) == len(ASKED)
    assert all(state["checked"] == "false" for _, state in asked), "nothing is ticked beforehand"
    (group,) = named("group")
    assert group.startswith("May we use")
    assert visit.page.run("document.documentElement.lang") == "en"

    visit.answer(REJECT)
    told = [one for one in visit.page.tree() if one["role"]["value"] == "status"]
    assert len(told) == 1
    assert "dialog" not in {one["role"]["value"] for one in visit.page.tree()}


def test_yes_and_no_weigh_the_same(visit: Visit) -> None:
    looks = visit.page.run(
        """[...banner.querySelectorAll("button")].map((button) => {
          const style = getComputedStyle(button), {width, height} = button.getBoundingClientRect();
          return [width, height, ...[...style].filter((name) => !/^(perspective|transform)-origin/
            .test(name)).map((name) => style[name])].join("; ");
        })"""
    )
    assert len(looks) == 3
    assert len(set(looks)) == 1


SIZES = [(320, 1), (320, 2), (640, 1), (1280, 2)]
"""Widths in CSS pixels, and how much larger the text is. (1280 at 200 % and 400 % are 640, 320.)"""


def test_it_fits_a_small_screen_and_large_letters(visit: Visit) -> None:
    for width, scale in SIZES:
        size = {"width": width, "height": 600, "deviceScaleFactor": 1, "mobile": False}
        visit.page.call("Emulation.setDeviceMetricsOverride", **size)
        visit.page.run(f"document.documentElement.style.fontSize = '{scale}00%'")
        wide = visit.page.run(
            "[...document.querySelectorAll('*')].filter(one => one.checkVisibility() && "
            "one.getBoundingClientRect().right > innerWidth + .5).map(one => one.outerHTML)"
        )
        assert wide == [], (width, scale)
        assert visit.page.run("document.documentElement.scrollWidth <= innerWidth")
    small = visit.page.run(
        "[...document.querySelectorAll('button, input')].filter(one => one.checkVisibility() && "
        "Math.min(one.offsetWidth, one.offsetHeight) < 24).map(one => one.outerHTML)"
    )
    assert small == [], "WCAG 2.2, 2.5.8"
    visit.answer(REJECT)


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = [int(one) / 255 for one in re.findall(r"\d+", colour)]
    assert len(channels) == 3, colour
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


GROUND = """
const ground = (element) => {
  const colour = getComputedStyle(element).backgroundColor;
  return colour === "rgba(0, 0, 0, 0)" ? ground(element.parentElement) : colour;
};
"""
TEXTS = f"""(() => {{{GROUND}
  const own = (element) => [...element.childNodes].some((node) => node.data?.trim());
  return [...document.body.querySelectorAll("*")]
    .filter((element) => own(element) && element.checkVisibility())
    .map((element) => [element.outerHTML, getComputedStyle(element).color, ground(element)]);
}})()"""
FOCUS = f"""(() => {{{GROUND}
  const {{outlineColor, outlineWidth}} = getComputedStyle(document.activeElement);
  return [outlineColor, outlineWidth, ground(document.activeElement.parentElement)];
}})()"""


def test_it_can_be_read_and_the_focus_be_seen(visit: Visit) -> None:
    page = visit.page
    still = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    page.call("Emulation.setEmulatedMedia", features=still)
    page.run(
        "failed.textContent = 'Failed'; gpc.hidden = logout.hidden = false; who.textContent = '4'"
    )

    def check_texts() -> None:
        texts = page.run(TEXTS)
        assert len(texts) > 20
        for element, ink, ground in texts:
            assert contrast(ink, ground) >= 4.5, element

    check_texts()
    for button in page.run("[...document.querySelectorAll('button')].map((one, n) => n)"):
        at = page.run(
            f"(({{x, y}}) => [x + 5, y + 5])"
            f"(document.querySelectorAll('button')[{button}].getBoundingClientRect())"
        )
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=at[0], y=at[1])
        check_texts()
    for _ in range(8):
        page.press("Tab")
        colour, width, ground = page.run(FOCUS)
        assert width == "3px"
        assert contrast(colour, ground) >= 3
    moving = "getComputedStyle(document.querySelector('button')).transitionDuration"
    assert page.run(moving) == "0s"
    page.call("Emulation.setEmulatedMedia", features=[])
    assert page.run(moving) == "0.2s"


def test_the_banner_asks_what_the_policy_says(visit: Visit) -> None:
    policy = yaml.safe_load((ROOT / "policy.yaml").read_text())
    asked = visit.page.run(
        "Object.fromEntries([...banner.querySelectorAll('label')].map(one => "
        "[one.querySelector('input').name, one.textContent.trim().replace(/\\s+/g, ' ')]))"
    )
    assert sorted(asked) == ASKED
    for purpose, text in asked.items():
        rule = policy["purposes"][purpose]
        assert rule["basis"] == "consent"
        assert text.removesuffix("?").lower() == rule["description"].removesuffix(".").lower()
    script = (ROOT / "examples" / "banner" / "choices.js").read_text()
    known = {
        name: json.loads(found) for name, found in re.findall(r"const (\w+) = (\[.*\]);", script)
    }
    assert sorted(known["PURPOSES"]) == ASKED
    assert known["DENIED_BY_GPC"] == [one for one in policy["gpc"] if one in ASKED]
    assert {one: [one] for one in known["CATEGORIES"]}.items() <= policy[
        "consent_categories"
    ].items()


def test_the_banner_leads_to_the_policy(visit: Visit) -> None:
    visit.page.click("#banner a")
    visit.page.until("document.title && location.pathname.endsWith('/v1/policy')")
    assert "understand how our site" in visit.page.run("document.body.textContent")
