"""`candor policy diff` says what a change means, and what it says of stored data does happen."""

import json
import subprocess
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from candor import archive
from candor.identifiers import Identifiers
from candor.policy import DAY
from cli import changes, policy_commands
from cli.api import Api
from cli.changes import GRADES, Change
from cli.main import main
from cli.policy import compile_policy
from cli.target import load_stack
from tests.worlds import CRM, SHIPPED, WEB, YAML, Shop, order, policy, says, sent

Json = dict[str, Any]
Edit = Callable[[Json], object]
OLD: Json = json.loads(json.dumps(SHIPPED.document))


def told(edit: Edit, before: Edit = lambda _: None) -> list[Change]:
    """What is said of a change of the compiled policy, but for the date."""
    old = deepcopy(OLD)
    before(old)
    new = deepcopy(old)
    edit(new)
    new["hash"] = "0" * 16
    return [one for one in changes.compare(old, new) if one.paths != ("changed",)]


def only(edit: Edit, before: Edit = lambda _: None) -> Change:
    (change,) = told(edit, before)
    return change


def changed(shop: Shop, edit: Edit, before: Edit = lambda _: None) -> Shop:
    """The shop goes on under another policy, with everything that is stored."""
    rules = policy(lambda p: (before(p), edit(p)))
    shop.policy = rules
    shop.world = replace(shop.world, policy=rules, identifiers=Identifiers(rules, "h" * 64))
    return shop


# Purposes


def basis(of: str, value: str) -> Edit:
    return lambda p: p["purposes"][of].update(basis=value)


def banner_and_settings() -> Shop:
    """Devices that said nothing, no and yes in a banner, and a person who refused in settings."""
    shop = Shop()
    for device, says_ in (
        ("quiet", {}),
        ("no", {"analytics": False}),
        ("yes", {"analytics": True}),
    ):
        shop.send(WEB, order(device, anonymousId=device, context=says(**says_)))
    shop.send(CRM, order("person", userId="refused"))
    shop.choose("user_id:refused", {"analytics": False})
    return shop


def readable(shop: Shop) -> set[str]:
    """Whose order can be read for analytics."""
    who = ["anonymous_id:quiet", "anonymous_id:no", "anonymous_id:yes", "user_id:refused"]
    return {one.partition(":")[2] for one in who if shop.event_ids(one, "analytics")}


def test_from_consent_to_legitimate_interest_only_choices_in_settings_still_count() -> None:
    edit = basis("analytics", "legitimate_interest")
    change = only(edit)

    assert (change.grade, change.paths) == ("widens", ("purposes.analytics.basis",))
    assert "People who never answered are included" in change.people
    assert "A refusal in the consent settings still counts" in change.people
    assert "a refusal that was only a choice in a banner does not" in change.people
    assert "at once" in change.data
    assert readable(banner_and_settings()) == {"yes"}
    assert readable(changed(banner_and_settings(), edit)) == {"yes", "quiet", "no"}


@pytest.mark.parametrize("no_choice", ["contract", "legal_obligation"])
@pytest.mark.parametrize("asked", ["consent", "legitimate_interest"])
def test_where_nobody_can_refuse_any_more_no_refusal_counts(asked: str, no_choice: str) -> None:
    change = only(basis("analytics", no_choice), basis("analytics", asked))

    assert change.grade == "widens"
    assert "those on record neither" in change.people
    everybody = {"yes", "quiet", "no", "refused"}
    assert readable(changed(banner_and_settings(), basis("analytics", no_choice))) == everybody


@pytest.mark.parametrize("before", ["legitimate_interest", "contract", "legal_obligation"])
def test_back_to_consent_only_who_agreed_is_left(before: str) -> None:
    change = only(basis("analytics", "consent"), basis("analytics", before))

    assert change.grade == "narrows"
    assert "only who agree" in change.people.lower()
    assert "not used from the next read on" in change.data


def test_what_could_not_be_refused_can_be_objected_to() -> None:
    change = only(basis("analytics", "legitimate_interest"), basis("analytics", "contract"))

    assert change.grade == "narrows"
    assert "that are on record count" in change.people


@pytest.mark.parametrize(
    ("entry", "grade"),
    [({"basis": "consent"}, "changes"), ({"basis": "legitimate_interest"}, "widens")],
)
def test_a_new_purpose_is_told_by_whether_people_are_asked(entry: Json, grade: str) -> None:
    new = entry | {"description": "To have fun with it.", "sees_everything": False}
    assert only(lambda p: p["purposes"].update(fun=new)).grade == grade


def test_a_purpose_that_goes_and_one_that_sees_everything() -> None:
    gone = told(lambda p: p["purposes"].pop("privacy_rights"))
    assert [one.grade for one in gone] == ["narrows"]
    sees = only(lambda p: p["purposes"]["analytics"].update(sees_everything=True))
    assert (sees.grade, sees.paths) == ("widens", ("purposes.analytics.sees_everything",))


def test_other_words_may_need_another_consent() -> None:
    change = only(lambda p: p["purposes"]["marketing"].update(description="To call you at night."))
    assert change.grade == "changes"
    assert "ask again" in change.data


# Traits


def person(ago_days: float = 0) -> Shop:
    shop = Shop()
    traits = {"name": "Ann", "gender": "f"}
    shop.send(CRM, sent("identify", "i", ago_days * DAY, userId="42", traits=traits))
    return shop


def test_a_trait_that_is_removed_is_hidden_at_once() -> None:
    edit: Edit = lambda p: p["traits"].pop("name")  # noqa: E731
    change = only(edit)

    assert (change.grade, change.paths) == ("narrows", ("traits.name",))
    assert "hidden at once" in change.data
    assert "3 years" in change.data
    shop = person()
    assert "name" in shop.view("user_id:42").traits()
    assert "name" not in changed(shop, edit).view("user_id:42").traits()


def test_a_new_trait_says_of_whom_and_for_how_long() -> None:
    entry = OLD["traits"]["name"] | {"purposes": ["service", "marketing"]}
    change = only(lambda p: p["traits"].update(shoe_size=entry))

    assert change.grade == "widens"
    assert "kept 2 years, of everybody for `service`, and of who agreed for" in change.people


def test_a_trait_ends_sooner_with_the_policy_and_no_later_than_was_written() -> None:
    short: Edit = lambda p: p["traits"]["name"].update(retention="behaviour")  # noqa: E731
    shorter, longer = (
        only(short),
        only(lambda p: p["traits"]["name"].update(retention="account"), short),
    )

    assert (shorter.grade, longer.grade) == ("narrows", "widens")
    assert "hidden from the next read on" in shorter.data
    assert "what is stored ends 90 days after it was said" in longer.data
    shop = person(ago_days=200)
    assert "name" in shop.view("user_id:42").traits()
    assert "name" not in changed(shop, short).view("user_id:42").traits()
    shop = changed(Shop(), short)
    shop.send(CRM, sent("identify", "i", userId="42", traits={"name": "Ann"}))
    longer_now = changed(shop, lambda _: None)
    assert "name" in longer_now.view("user_id:42").traits()
    longer_now.clock.advance(91 * DAY)
    assert "name" not in longer_now.view("user_id:42").traits()


def test_a_purpose_more_reaches_what_was_collected_before() -> None:
    edit: Edit = lambda p: p["traits"]["name"]["purposes"].append("analytics")  # noqa: E731
    change = only(edit)

    assert (change.grade, change.paths) == ("widens", ("traits.name.purposes",))
    assert "of people who agreed to that" in change.people
    assert "Also what was collected before, for `service`, `marketing`" in change.data
    shop = person()
    shop.choose("user_id:42", {"analytics": True})
    assert "name" not in shop.view("user_id:42", "analytics").traits()
    assert "name" in changed(shop, edit).view("user_id:42", "analytics").traits()


def test_a_purpose_less_counts_at_once() -> None:
    edit: Edit = lambda p: p["traits"]["name"]["purposes"].remove("service")  # noqa: E731
    assert only(edit).grade == "narrows"
    shop = person()
    assert "name" in shop.view("user_id:42").traits()
    assert "name" not in changed(shop, edit).view("user_id:42").traits()


def test_when_a_trait_is_stale_and_how_sensitive_it_is_are_told() -> None:
    stale = only(lambda p: p["traits"]["email"].update(verify_within=None))
    assert (stale.grade, stale.paths) == ("changes", ("traits.email.verify_within",))
    assert "stale never" in stale.people
    special = only(lambda p: p["traits"]["gender"].update(sensitivity="special"))
    assert "special" in special.people


# Events


def test_an_event_that_is_removed_is_hidden_at_once() -> None:
    edit: Edit = lambda p: p["events"].pop("Order Completed")  # noqa: E731
    change = only(edit)

    assert (change.grade, change.paths) == ("narrows", ("events.Order Completed",))
    assert "at most 3 years after it happened" in change.data
    shop = Shop()
    shop.send(CRM, order("o", userId="42"))
    assert shop.event_ids("user_id:42") == ["o"]
    assert changed(shop, edit).event_ids("user_id:42") == []


@pytest.mark.parametrize(
    ("to", "grade"), [("brief", "narrows"), ("account", "widens")], ids=["shorter", "longer"]
)
def test_an_event_that_is_stored_ends_when_it_was_written_to(to: str, grade: str) -> None:
    before: Edit = lambda p: p["events"]["Order Completed"].update(retention="behaviour")  # noqa: E731
    edit: Edit = lambda p: p["events"]["Order Completed"].update(retention=to)  # noqa: E731
    change = only(edit, before)

    assert change.grade == grade
    assert "what is stored ends on the day that was written with it, 90 days" in change.data
    shop = changed(Shop(), before)
    shop.send(CRM, order("old", userId="42"))
    changed(shop, edit, before)
    shop.send(CRM, order("new", userId="42"))
    shop.clock.now += 60 * DAY
    assert set(shop.event_ids("user_id:42")) == {"old"} | ({"new"} if to == "account" else set())
    shop.clock.now += 40 * DAY
    assert set(shop.event_ids("user_id:42")) == ({"new"} if to == "account" else set())


def test_properties_that_go_are_hidden_at_once() -> None:
    edit: Edit = lambda p: p["events"]["Order Completed"]["properties"].remove("total")  # noqa: E731
    change = only(edit)

    assert (change.grade, change.paths) == ("narrows", ("events.Order Completed.properties",))
    assert "hidden at once from every read" in change.data
    shop = Shop()
    shop.send(CRM, order("o", userId="42"))
    assert shop.view("user_id:42").events()[0][0]["properties"]["total"] == 9
    (event,) = changed(shop, edit).view("user_id:42").events()[0]
    assert "total" not in event["properties"]
    assert event["properties"]["order_id"]
    more = only(lambda p: p["events"]["Order Completed"]["properties"].append("gift"))
    assert (more.grade, more.people) == ("widens", "With it is kept from now on: `gift`.")


# Classes and records


@pytest.mark.parametrize(("days", "grade"), [(30, "narrows"), (365, "widens")])
def test_a_class_is_told_once_with_all_that_is_of_it(days: int, grade: str) -> None:
    change = only(lambda p: p["retention"].update(behaviour=days))

    assert (change.grade, change.paths) == (grade, ("retention.behaviour",))
    for name in ("gender", "favourite_category", "page", "Product Viewed"):
        assert f"`{name}`" in change.people
    assert "Traits: " in change.data
    assert "Events: " in change.data


def test_what_the_archive_holds_of_a_class_that_goes_ends_as_it_would_have() -> None:
    def brief(p: Json) -> None:
        p["events"]["Order Completed"].update(retention="brief")

    gone = [
        one
        for one in told(lambda p: p["retention"].pop("brief"), unused)
        if "brief" in one.paths[0]
    ]
    assert [one.grade for one in gone] == ["changes"]
    assert "ends on the day that was written with it" in gone[0].data
    shop = changed(Shop(), brief)
    shop.send(CRM, order("o", userId="42"), order("p", ago=DAY, userId="42"))
    shop.send(CRM, sent("page", "p", userId="42", context=says(analytics=True)))
    shop.archive()
    changed(shop, lambda p: p["retention"].pop("brief"), unused)
    shop.clock.now += OLD["retention"]["brief"] * DAY
    assert archive.expire(shop.objects, shop.clock()) == 1
    shop.clock.now += DAY
    assert archive.expire(shop.objects, shop.clock()) == 1
    shop.clock.now += DAY
    assert archive.expire(shop.objects, shop.clock()) == 0
    assert list(shop.objects.list("events/")), "what is of another class is left"


def unused(p: Json) -> None:
    """Nothing is of the class `brief`."""
    for part in ("traits", "events"):
        for entry in p[part].values():
            entry["retention"] = entry["retention"].replace("brief", "behaviour")


@pytest.mark.parametrize("record", sorted(OLD["records"]))
def test_records_that_are_kept_longer_or_shorter_are_told(record: str) -> None:
    longer = only(lambda p: p["records"].update({record: 3650}))
    shorter = only(lambda p: p["records"].update({record: 365}))
    assert (longer.grade, longer.paths) == ("widens", (f"records.{record}",))
    assert shorter.grade == "narrows"
    assert "10 years instead of" in longer.people


# Who is who


def test_a_type_that_goes_is_shown_to_nobody_and_stands_in_no_way() -> None:
    edit: Edit = lambda p: p["identifiers"].pop("device_id")  # noqa: E731
    change = only(edit)

    assert (change.grade, change.paths) == ("breaks", ("identifiers.device_id",))
    assert "not found by it any more" in change.data
    shop = Shop()
    context = {"device": {"id": "d1"}}
    shop.send(CRM, order("o", userId="42", context=context))
    view = changed(shop, edit).view("user_id:42")
    assert [one["type"] for one in view.identifiers()] == ["user_id"]
    assert [one["name"] for one in view.withheld()] == ["identifier:device_id"]
    shop.send(CRM, order("p", userId="42", context={"traits": {"email": "ann@example.com"}}))
    assert set(shop.event_ids("email:ann@example.com")) == {"o", "p"}, "it could still join"
    shop.erase("user_id:42")
    assert not shop.rows.held("graph")


def test_another_spelling_finds_nobody_of_before() -> None:
    edit: Edit = lambda p: p["identifiers"]["email"].update(normaliser="trim")  # noqa: E731
    change = only(edit)

    assert (change.grade, change.paths) == ("breaks", ("identifiers.email.normaliser",))
    assert "not for a read, a refusal or an erasure" in change.data
    shop = Shop()
    shop.send(CRM, sent("identify", "i", userId="42", traits={"email": "Ann@Example.com"}))
    assert "email:ann@example.com" in {
        f"{one['type']}:{one['value']}" for one in shop.view("user_id:42").identifiers()
    }
    shop = changed(shop, edit)
    assert shop.world.identifiers.make("email", "Ann@Example.com") != shop.id(
        "email:ann@example.com"
    )


@pytest.mark.parametrize("where", ["never_identifiers", "identifiers.user_id.never"])
def test_a_value_that_is_blocked_cannot_be_found(where: str) -> None:
    def edit(p: Json) -> None:
        for step in where.split("."):
            p = p[step]
        p.append("42")  # type: ignore[attr-defined]

    change = only(edit)

    assert (change.grade, change.paths) == ("breaks", (where,))
    assert "not for an erasure either" in change.data
    shop = person()
    assert changed(shop, edit).world.identifiers.make("user_id", "42") is None
    old = policy(edit).document
    (back,) = changes.compare(old, {**SHIPPED.document, "changed": None})
    assert back.grade == "widens"


def test_profiles_keep_what_a_lower_limit_would_refuse() -> None:
    edit: Edit = lambda p: p["identifiers"]["anonymous_id"].update(limit=1)  # noqa: E731
    lower, higher = only(edit), only(lambda p: p["identifiers"]["email"].update(limit=6))

    assert (lower.grade, higher.grade) == ("narrows", "widens")
    assert "keep them" in lower.data
    shop = Shop()
    for device in "ab":
        shop.send(CRM, order(device, userId="42", anonymousId=device))
    changed(shop, edit)
    shop.send(CRM, order("c", userId="42", anonymousId="c"))
    held = {one["value"] for one in shop.view("user_id:42").identifiers()}
    assert held == {"42", "a", "b"}


def test_what_met_too_many_for_a_new_policy_is_quarantined_when_it_is_seen_again() -> None:
    edit: Edit = lambda p: p["identifiers"]["email"].update(shared_after=1)  # noqa: E731
    lower, higher = only(edit), only(lambda p: p["identifiers"]["email"].update(shared_after=11))

    assert (lower.grade, higher.grade) == ("narrows", "widens")
    assert "quarantined when it is seen again" in lower.data
    shop = Shop()
    desk = {"traits": {"email": "desk@example.com"}}
    for user in "abc":
        shop.send(CRM, order(user, userId=user, context=desk))
    assert len(shop.view("email:desk@example.com").identifiers()) == 2
    shop = changed(shop, edit)
    shop.send(CRM, order("d", context=desk))
    assert len(shop.view("email:desk@example.com").identifiers()) == 1


@pytest.mark.parametrize(
    ("edit", "grade", "path"),
    [
        (lambda r: r.update(known=False), "changes", "known"),
        (lambda r: r.update(priority=9), "changes", "priority"),
        (lambda r: r["from"].append("traits.mail"), "widens", "from"),
        (lambda r: r["from"].clear(), "narrows", "from"),
        (lambda r: r.update(needs_proof=True), "narrows", "needs_proof"),
    ],
)
def test_other_rules_are_told(edit: Edit, grade: str, path: str) -> None:
    change = only(lambda p: edit(p["identifiers"]["email"]))
    assert (change.grade, change.paths) == (grade, (f"identifiers.email.{path}",))


def test_a_type_that_needs_no_proof_any_more_is_told() -> None:
    edit: Edit = lambda p: p["identifiers"]["crm_id"].update(needs_proof=False)  # noqa: E731
    change = only(edit)

    assert (change.grade, change.paths) == ("widens", ("identifiers.crm_id.needs_proof",))
    assert "not joined later" in change.data
    shop = Shop()
    external = [{"type": "crm_id", "id": "c1", "collection": "users", "encoding": "none"}]
    event = order("o", anonymousId="b", context={"externalIds": external})
    shop.send(WEB, event)
    assert not shop.node("crm_id:c1")
    changed(shop, edit)
    assert not shop.node("crm_id:c1")
    shop.send(WEB, event)
    assert shop.people(["anonymous_id:b", "crm_id:c1"]) == shop.profiles()


def test_numbers_of_another_country_are_told() -> None:
    edit: Edit = lambda p: p["identifiers"]["phone"].update(region="GB")  # noqa: E731
    change = only(edit)

    assert (change.grade, change.paths) == ("breaks", ("identifiers.phone.region",))
    assert "those of GB, and were DE" in change.people
    shop = Shop()
    shop.send(CRM, sent("identify", "i", userId="42", traits={"phone": "0170 1234567"}))
    shop = changed(shop, edit)
    assert shop.id("phone:0170 1234567") != shop.id("phone:+491701234567")
    held = [one["value"] for one in shop.view("phone:+491701234567").identifiers()]
    assert "42" in held


def test_a_policy_from_before_a_rule_can_still_be_compared() -> None:
    """The one that a running stack answers with."""
    before = json.loads(json.dumps(OLD))
    for rule in before["identifiers"].values():
        del rule["region"], rule["needs_proof"]

    told = {path for one in changes.compare(before, OLD) for path in one.paths}

    assert told == {"identifiers.phone.region", "identifiers.crm_id.needs_proof"}


def test_a_new_type_is_told() -> None:
    rule = OLD["identifiers"]["device_id"] | {"priority": 9}
    assert only(lambda p: p["identifiers"].update(card=rule)).grade == "widens"


# What people are asked, and what devices say


def test_a_choice_in_a_banner_that_means_more_is_told() -> None:
    change = only(lambda p: p["consent_categories"]["analytics"].append("profiling"))
    assert (change.grade, change.paths) == ("widens", ("consent_categories.analytics",))
    assert "Does the banner say so?" in change.people
    less = only(lambda p: p["consent_categories"].pop("analytics"))
    assert less.grade == "changes"
    assert "for a yes, and for a no" in less.people
    same = told(lambda p: p.update(consent_categories={
        name.upper(): purposes for name, purposes in p["consent_categories"].items()
    }))  # fmt: skip
    assert same == []


@pytest.mark.parametrize(
    ("field", "was", "now", "grade"),
    [
        ("ip", "truncate", "keep", "widens"),
        ("ip", "drop", "truncate", "widens"),
        ("ip", "keep", "drop", "narrows"),
        ("user_agent", "family", "keep", "widens"),
        ("user_agent", "keep", "family", "narrows"),
    ],
)
def test_addresses_and_browsers(field: str, was: str, now: str, grade: str) -> None:
    before: Edit = lambda p: p["minimise"].update({field: was})  # noqa: E731
    change = only(lambda p: p["minimise"].update({field: now}), before)
    assert (change.grade, change.paths) == (grade, (f"minimise.{field}",))
    assert "stored stays" in change.data


def test_the_context_the_sources_and_who_is_responsible() -> None:
    assert only(lambda p: p["context"]["keep"].append("library")).grade == "widens"
    assert only(lambda p: p["context"]["keep"].remove("locale")).grade == "narrows"
    assert only(lambda p: p["context"]["use"].remove("active")).grade == "changes"
    assert only(lambda p: p["sources"]["priority"].reverse()).paths == ("sources.priority",)
    assert only(lambda p: p.update(contact="dpo@example.com")).paths == ("contact",)


# All of it


def test_what_widens_comes_first() -> None:
    def edit(p: Json) -> None:
        p["traits"].pop("name")
        p["contact"] = "x"
        p["identifiers"].pop("device_id")
        p["minimise"]["ip"] = "keep"

    grades = [one.grade for one in told(edit)]
    assert grades == ["widens", "breaks", "changes", "narrows"] == list(GRADES)


def test_the_date_that_people_read_has_to_move_with_the_rest() -> None:
    new = policy(lambda p: p.update(contact="x", hash="0" * 16)).document
    assert ("changed",) in [one.paths for one in changes.compare(OLD, new)]
    dated = dict(new) | {"changed": "2030-01-01"}
    assert ("changed",) not in [one.paths for one in changes.compare(OLD, dated)]


LEAVES = [
    path
    for path in (
        (section, name, field)
        for section in ("traits", "events", "identifiers", "purposes")
        for name, entry in OLD[section].items()
        for field in entry
    )
    # Of these nothing depends: identifiers last as `records` says, and shredding is all there is.
    if path[2] != "erasure" and (path[0], path[2]) != ("identifiers", "retention")
]
OTHER: dict[str, list[Any]] = {
    "basis": ["consent", "contract", "legitimate_interest"],
    "description": ["Other words than before."],
    "sees_everything": [True, False],
    "purposes": [["service"], ["analytics", "profiling"]],
    "retention": ["unnamed", "transaction", "brief"],
    "sensitivity": ["special", "none"],
    "properties": [["only this"], []],
    "verify_within": [None, 7],
    "priority": [77],
    "limit": [7, 77],
    "shared_after": [1, 77],
    "known": [True, False],
    "normaliser": ["trim", "lower", "email", "phone"],
    "region": ["GB", "none", None],
    "needs_proof": [True, False],
    "never": [["x+"], []],
    "from": [["traits.x"], []],
}


@given(st.sampled_from(LEAVES), st.data())
def test_no_change_of_an_annotation_goes_untold(path: tuple[str, str, str], data: Any) -> None:
    section, name, field = path
    value = data.draw(st.sampled_from(OTHER[field]))
    if OLD[section][name][field] == value:
        return

    found = told(lambda p: p[section][name].update({field: value}))

    assert any(f"{section}.{name}.{field}" in one.paths for one in found)
    back = told(
        lambda p: p[section][name].update({field: OLD[section][name][field]}),
        lambda p: p[section][name].update({field: value}),
    )
    assert len(back) >= 1


# What other tools say


def mapping(section: str, name: str, purposes: list[str]) -> Edit:
    return lambda p: p[section].update({name: purposes})


def grades(edit: Edit, before: Edit = lambda _: None) -> list[tuple[str, str]]:
    return [(one.grade, path) for one in told(edit, before) for path in one.paths]


@pytest.mark.parametrize(
    ("edit", "grade", "path"),
    [
        # One yes more that is needed, one less, one that was not heard before, one not any more.
        (mapping("consent_mode", "ad_storage", ["marketing", "sale_share", "analytics"]), 0, ""),
        (mapping("consent_mode", "ad_storage", ["sale_share"]), 1, ""),
        (mapping("tcf", "8", ["analytics", "personalization"]), 0, "tcf.8"),
        (lambda p: p["tcf"].pop("8"), 1, "tcf.8"),
        (mapping("consent_mode", "ad_user_data", []), 1, "consent_mode.ad_user_data"),
        (lambda p: p.update(gpc=[]), 1, "gpc"),
        (lambda p: p.update(gpc=["sale_share", "marketing"]), 0, "gpc"),
        (lambda p: p["us_opt_outs"].pop("sale"), 1, "us_opt_outs.sale"),
        (mapping("us_opt_outs", "sale", ["sale_share", "profiling"]), 0, "us_opt_outs.sale"),
    ],
)
def test_what_signals_stand_for_is_told_by_whether_less_or_more_is_allowed(
    edit: Edit, grade: int, path: str
) -> None:
    expected = ("narrows", "widens")[grade], path or "consent_mode.ad_storage"
    assert grades(edit) == [expected]


def test_a_form_that_is_heard_for_the_first_time_may_grant_and_so_widens() -> None:
    def never(p: Json) -> None:
        for section in ("consent_mode", "tcf", "us_opt_outs"):
            p.pop(section)  # a policy that was deployed before there were any

    def first(p: Json) -> None:
        p |= {"consent_mode": {"analytics_storage": ["analytics"]}, "tcf": {}, "us_opt_outs": {}}

    assert grades(first, never) == [("widens", "consent_mode.analytics_storage")]
    back = grades(lambda p: p.update(consent_mode={}), first)
    assert back == [("narrows", "consent_mode.analytics_storage")]


# The command


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Json:
    """The policy that a running stack answers with."""
    (tmp_path / "stack.json").write_text(
        json.dumps({"api_url": "http://127.0.0.1:1", "tokens": {}, "outputs": {}})
    )
    monkeypatch.setattr(load_stack, "__defaults__", (tmp_path,))
    monkeypatch.delenv("CANDOR_PORT", raising=False)
    answer = deepcopy(OLD)

    def call(_: Api, method: str, path: str, headers: dict[str, str], body: object) -> Json:
        assert (method, path, headers, body) == ("GET", "/policy", {}, None)
        return answer

    monkeypatch.setattr(Api, "_call", call)
    return answer


def test_the_deployed_policy_is_held_against_the_one_here(
    deployed: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "diff"]) == 0
    assert "Nothing that matters" in capsys.readouterr().err
    deployed["traits"].pop("gender")
    deployed["purposes"]["marketing"]["basis"] = "contract"
    assert main(["policy", "diff"]) == 0
    said = capsys.readouterr().out
    assert said.index("▲ More is done") < said.index("traits.gender") < said.index("▽ Less is done")
    assert said.index("▽ Less is done") < said.index("purposes.marketing.basis")
    assert main(["policy", "diff", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["new"] == SHIPPED.hash
    assert [one["grade"] for one in document["changes"]][:1] == ["widens"]
    assert document["changes"][0].keys() == {"grade", "paths", "people", "data"}


def test_a_commit_is_held_against_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = YAML.read_text()
    repository = tmp_path / "repository"
    repository.mkdir()
    # As an earlier version wrote it, with a purpose for nothing that was no mistake then.
    earlier = written.replace("[analytics, sale_share]", "[analytics]")
    (repository / "policy.yaml").write_text(earlier)
    git = ["git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(policy_commands, "ROOT", repository)
    new = tmp_path / "new.yaml"
    new.write_text(written)

    assert main(["policy", "diff", "HEAD", str(new), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["changes"]

    assert ["events.Install Attributed.purposes"] in [one["paths"] for one in found]
    for wrong in (["no-such-commit"], ["--", "--output=x"]):
        assert main(["policy", "diff", *wrong]) == 1
        assert "neither a file nor a commit" in capsys.readouterr().err
    new.write_text(written.replace("behaviour: 90", "behaviour: x"))
    assert main(["policy", "diff", "HEAD", str(new)]) == 1
    assert "candor policy check" in capsys.readouterr().err


MAIL = {
    "name": "Example Mail",
    "url": "https://mail.example.com/",
    "knows": ["email"],
    "tell": ["erasure"],
    "answer_within_hours": 72,
}


def mails(**changed: Any) -> Edit:
    return lambda p: p["destinations"].update(mail=MAIL | changed)


def test_whom_data_goes_to_is_told() -> None:
    new = only(mails())
    assert (new.grade, new.paths) == ("widens", ("destinations.mail",))
    assert "'Example Mail'" in new.people
    earlier = deepcopy(OLD)
    del earlier["destinations"]  # as a version that knew none has it
    later = deepcopy(OLD)
    mails()(later)
    assert [one.grade for one in changes.compare(earlier, later)] == ["widens"]
    gone = only(lambda p: p["destinations"].clear(), mails())
    assert "stay partial" in gone.data


@pytest.mark.parametrize(
    ("edit", "grade", "path"),
    [
        (mails(name="Other Mail"), "changes", "name"),
        (mails(url="https://other.example.com/"), "changes", "url"),
        (mails(knows=["email", "phone"]), "widens", "knows"),
        (mails(answer_within_hours=24), "changes", "answer_within_hours"),
    ],
)
def test_what_changes_about_a_destination_is_told(edit: Edit, grade: str, path: str) -> None:
    change = only(edit, mails())
    assert (change.grade, change.paths) == (grade, (f"destinations.mail.{path}",))


def test_two_spellings_of_one_policy_do_not_differ() -> None:
    other = compile_policy(yaml.safe_dump(yaml.safe_load(YAML.read_text())))
    assert changes.compare(SHIPPED.document, other) == []
