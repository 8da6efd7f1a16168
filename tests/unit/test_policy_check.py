"""`candor policy check` explains every mistake at once, each with its line and what to do."""

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cli import identifier_rules, patterns, places, policy
from cli.main import main
from cli.places import AnyTag
from tests.worlds import YAML

TEXT = YAML.read_text()


def destination(old: str, new: str) -> str:
    """The section with one destination, of which one thing is wrong; as long as a line may be."""
    right = (
        "destinations:\n  mail:\n    {name: Example Mail, url: 'https://mail.example.com/erasures',"
        " knows: [email], tell: [erasure], answer_within_hours: 72}"
    )
    assert right.count(old) == 1
    return right.replace(old, new)


def line_of(text: str, words: str) -> int:
    assert text.count(words) == 1, f"{words!r} stands {text.count(words)} times"
    return text[: text.index(words)].count("\n") + 1


def changed(old: str, new: str) -> tuple[str, int]:
    """The shipped policy with one thing changed, and the line of the change."""
    line = line_of(TEXT, old)
    return TEXT.replace(old, new), line


NAMING = TEXT[TEXT.index("  salesforce_contacts:") : TEXT.index("      Account Name:")]
"""The columns of a mapping that name somebody, and two more."""
NEVER = r"never: ['.{0,8}', '\+\d{1,3}(\d)\1{6,}', '\+\d{1,3}123456(7(8(90?)?)?)?']"

PHONE = """  phone:
    {priority: 4, limit: 5, shared_after: 2, known: true, normaliser: phone, region: DE,
     from: [traits.phone],
"""

# What is changed, where that is, and what has to be said about it
EXPLAINED = {
    "a purpose that is nearly one": (
        ("firstName: *contact", "firstName: {<<: *contact, purposes: [servce]}"),
        "traits.firstName.purposes.0",
        "no purpose 'servce'",
        "Did you mean `service`?",
    ),
    "a class that is nearly one": (
        ("avatar: {<<: *account, retention: brief}", "avatar: {<<: *account, retention: breif}"),
        "traits.avatar.retention",
        "no class 'breif'",
        "Did you mean `brief`?",
    ),
    "a class that is nothing like one": (
        ("avatar: {<<: *account, retention: brief}", "avatar: {<<: *account, retention: xyz}"),
        "traits.avatar.retention",
        "no class 'xyz'",
        "There is: unnamed, brief, behaviour, account, transaction.",
    ),
    "a destination without https": (
        ("destinations: {}", destination("url: 'https", "url: 'http")),
        "destinations.mail.url",
        "it should begin with https://",
        "",
    ),
    "a destination by its number": (
        ("destinations: {}", destination("mail.example.com", "10.0.0.1")),
        "destinations.mail.url",
        "it should name a host by its full name",
        "",
    ),
    "a destination that knows people by nothing": (
        ("destinations: {}", destination("[email]", "[mail]")),
        "destinations.mail.knows.0",
        "no identifier 'mail'",
        "Did you mean `email`?",
    ),
    "a destination that is told of something else": (
        ("destinations: {}", destination("[erasure]", "[erasures]")),
        "destinations.mail.tell.0",
        "'erasures' is not",
        "Did you mean `erasure`?",
    ),
    "a wait that is too long": (
        ("destinations: {}", destination("72", "721")),
        "destinations.mail.answer_within_hours",
        "721 is too large",
        "At most 720.",
    ),
    "no wait": (
        ("destinations: {}", destination(", answer_within_hours: 72", "")),
        "destinations.mail.answer_within_hours",
        "`answer_within_hours` is missing",
        "Add `answer_within_hours:`",
    ),
    "a field that is nearly one": (
        ("normaliser: phone,", "normalizer: phone,"),
        "identifiers.phone.normalizer",
        "nothing is called `normalizer` here",
        "Did you mean `normaliser`?",
    ),
    "a normaliser that is nearly one": (
        ("normaliser: phone,", "normaliser: fone,"),
        "identifiers.phone.normaliser",
        "'fone' is not one of 'trim', 'lower', 'email' or 'phone'",
        "Did you mean `phone`?",
    ),
    "a section that is nearly one": (
        ("\nrecords:", "\nrecord:"),
        "record",
        "nothing is called `record` here",
        "Did you mean `records`?",
    ),
    "no class": (
        ("alias: {<<: *account, properties: []}", "alias: {purposes: [service], properties: []}"),
        "events.alias.retention",
        "`retention` is missing",
        "Add `retention:` and one of unnamed, brief, behaviour, account, transaction.",
    ),
    "no properties": (
        ("group: {<<: *account, properties: [groupId]}", "group: *account"),
        "events.group.properties",
        "`properties` is missing",
        "Add `properties: []`, with the names of what may be kept of it.",
    ),
    "a class that cannot be part of a name": (
        ("  transaction: 1095", "  transaction: 1095\n  eu/long: 30"),
        "retention.eu/long",
        "'eu/long' cannot be part of a key",
        "Use letters, digits",
    ),
    "a purpose that no header can say": (
        (
            "  privacy_rights:\n",
            "  größe:\n    {basis: contract, description: For a size.}\n  privacy_rights:\n",
        ),
        "purposes.größe",
        "'größe' cannot be part of a key",
        "Use letters, digits",
    ),
    "days as text": (
        ("behaviour: 90", "behaviour: '90'"),
        "retention.behaviour",
        "it should be a whole number, and is '90'",
        "",
    ),
    "days that are too many": (
        ("transaction: 1095", "transaction: 99999"),
        "retention.transaction",
        "99999 is too large",
        "At most 36500 days.",
    ),
    "a list that is none": (
        ("functional: [service]", "functional: service"),
        "consent_categories.functional",
        "it should be a list, and is 'service'",
        "Write it in brackets: [one, another].",
    ),
    "a number for a name": (
        ("keep: [locale,", "keep: [42,"),
        "context.keep.0",
        "it should be text, and is 42",
        "Quote it.",
    ),
    "a purpose that says nothing": (
        ("description: To send you offers and news.", "description: News"),
        "purposes.marketing.description",
        "it says nothing",
        "Use at least 10 characters.",
    ),
    "a pattern that is none": (
        (NEVER, "never: ['(']"),
        "identifiers.phone.never.0",
        "not a regular expression",
        "Escape",
    ),
    "two types of one rank": (
        ("{priority: 3,", "{priority: 1,"),
        "identifiers.email.priority",
        "`user_id` has 1 too",
        "3 is free.",
    ),
    "more than a merge can hold": (
        ("limit: 50,", "limit: 91,"),
        "identifiers.anonymous_id.limit",
        "91 is too large",
        "At most 90.",
    ),
    "a type of which nobody may have one": (
        ("limit: 50,", "limit: 0,"),
        "identifiers.anonymous_id.limit",
        "0 is too small",
        "At least 1.",
    ),
    "numbers of no country": (
        (PHONE, PHONE.replace(" region: DE,", "")),
        "identifiers.phone",
        "`region` is missing",
        "Add `region:` and a country, such as DE, or none",
    ),
    "a country that is none": (
        ("region: DE,", "region: XX,"),
        "identifiers.phone.region",
        "no country 'XX' has telephone numbers",
        "Give it like DE, GB or US",
    ),
    "a country in small letters": (
        ("region: DE,", "region: de,"),
        "identifiers.phone.region",
        "no country 'de' has telephone numbers",
        "Did you mean `DE`?",
    ),
    "a country that YAML takes for something else": (
        ("region: DE,", "region: NO,"),
        "identifiers.phone.region",
        "it should be text, and is false",
        "Quote it.",
    ),
    "a country of what is no number": (
        ("normaliser: email,", "normaliser: email, region: DE,"),
        "identifiers.email.region",
        "only `normaliser: phone` reads a region",
        "Remove it",
    ),
    "a pattern for what is spelled otherwise": (
        (NEVER, r"never: ['\+49 170 000000|\+49170000001']"),
        "identifiers.phone.never.0",
        "no `phone` is ever spelled '+49 170 000000'",
        r"Write \+49170000000",
    ),
    "a pattern for what names nobody as it is": (
        (NEVER, "never: ['0000000']"),
        "identifiers.phone.never.0",
        "no `phone` is ever spelled '0000000'",
        "Remove it: it names nobody as it is.",
    ),
    "a pattern for what no type can be": (
        ("never_identifiers: ['null',", "never_identifiers: [' null', 'null',"),
        "never_identifiers.0",
        "no identifier is ever spelled ' null'",
        "Write null",
    ),
    "two types from one place": (
        ("from: [traits.phone]", "from: [traits.email]"),
        "identifiers.phone.from.0",
        "`email` is read from traits.email too",
        "Remove one of the two.",
    ),
    "one place twice": (
        ("from: [traits.phone]", "from: [traits.phone, traits.phone]"),
        "identifiers.phone.from.1",
        "'traits.phone' stands here twice",
        "Remove one of the two.",
    ),
    "a type from nowhere": (
        (PHONE, PHONE.replace("     from: [traits.phone],\n", "")),
        "identifiers.phone",
        "it is read from nowhere",
        "such as [context.externalIds.phone]",
    ),
    "an external id of no type": (
        ("from: [context.externalIds.crm_id]", "from: [context.externalIds]"),
        "identifiers.crm_id.from.0",
        "it is not said which of the external ids",
        "context.externalIds.crm_id",
    ),
    "a browser that has to prove what it cannot": (
        ("{priority: 6, limit: 50,", "{priority: 6, needs_proof: true, limit: 50,"),
        "identifiers.anonymous_id.needs_proof",
        "before somebody signs in",
        "Remove it.",
    ),
    "a pattern that blocks everything": (
        (NEVER, NEVER[:-1] + ", '.*']"),
        "identifiers.phone.never.3",
        "this blocks every `phone` there could be",
        "A pattern is held against the whole value",
    ),
    "patterns that block everything together": (
        (NEVER, "never: ['.*[^5-9]', '.*[5-9]']"),
        "identifiers.phone.never",
        "this blocks every `phone` there could be",
        "A pattern is held against the whole value",
    ),
    "a pattern that blocks every type": (
        ("never_identifiers: ['null',", "never_identifiers: ['.+', 'null',"),
        "never_identifiers.0",
        "this blocks every identifier there could be",
        "A pattern is held against the whole value",
    ),
    "a trait that is not kept": (
        ("from: [traits.phone]", "from: [traits.fone]"),
        "identifiers.phone.from.0",
        "no trait is called 'fone'",
        "Did you mean `phone`?",
    ),
    "a part of the context that is thrown away": (
        ("from: [context.device.id]", "from: [context.library.id]"),
        "identifiers.device_id.from.0",
        "`context.use` and `context.keep` have no 'library'",
        "Add it to `context.use`.",
    ),
    "a place that no event has": (
        ("from: [traits.phone]", "from: [phone]"),
        "identifiers.phone.from.0",
        "no event has a place 'phone'",
        "Give it like traits.email or context.device.id.",
    ),
    "a category for nothing": (
        ("functional: [service]", "functional: []"),
        "consent_categories.functional",
        "it stands for no purpose",
        "Name the purposes that it stands for.",
    ),
    "a category that is there already": (
        ("functional: [service]", "functional: [service]\n  ANALYTICS: [service]"),
        "consent_categories.analytics",
        "it is the same as `ANALYTICS`",
        "Make one of the two.",
    ),
    "data that outlives its key": (
        ("identifier: 1095", "identifier: 365"),
        "records.identifier",
        "it is shorter than the class `transaction`",
        "At least 1095.",
    ),
    "data that outlives the proof of consent": (
        ("consent: 1825", "consent: 365"),
        "records.consent",
        "it is shorter than the class `transaction`",
        "At least 1095.",
    ),
    "a request that is forgotten before the backups of what it erased": (
        ("request: 1095", "request: 34"),
        "records.request",
        "a backup may be older",
        "At least 35.",
    ),
    "a trait that ends before it is stale": (
        (
            "address: {<<: *account, verify_within: 180}",
            "address: {<<: *account, verify_within: 730}",
        ),
        "traits.address.verify_within",
        "after 730 days it is not stale but gone",
        "Less than 730, or leave it out.",
    ),
    "one thing kept and dropped": (
        ("drop: [userAgentData,", "drop: [locale, userAgentData,"),
        "context.drop.0",
        "'locale' stands under `keep` too",
        "Remove one of the two.",
    ),
    "one thing dropped twice": (
        ("drop: [userAgentData,", "drop: [library, userAgentData,"),
        "context.drop.2",
        "'library' stands here twice",
        "Remove one of the two.",
    ),
    "a purpose for nothing": (
        (
            "  privacy_rights:\n",
            "  fun:\n    {basis: consent, description: To have fun.}\n  privacy_rights:\n",
        ),
        "purposes.fun",
        "nothing is kept for this purpose",
        "Name it in the `purposes` of what it needs, or remove it.",
    ),
    "a kind of source without a rank": (
        ("priority: [server, crm,", "priority: [server,"),
        "sources.priority",
        "the kind `crm` is missing",
        "Put it where it ranks",
    ),
    "an event that cannot come": (
        ("  Product Reviewed:", "  'Product Reviewed ':"),
        "events.Product Reviewed ",
        "no event is called that",
        "Write 'Product Reviewed'.",
    ),
    "a pattern that takes for ever": (
        (NEVER, "never: ['(a+)+$']"),
        "identifiers.phone.never.0",
        "may take for ever",
        "Take one repetition away",
    ),
    "a signal that takes nothing away": (
        ("gpc: [sale_share]", "gpc: [service]"),
        "gpc.0",
        "`service` rests on contract",
        "Remove it.",
    ),
    "a type that Consent Mode does not have": (
        ("  analytics_storage: [analytics]", "  analytic_storage: [analytics]"),
        "consent_mode.analytic_storage",
        "consent_mode has no 'analytic_storage'",
        "Did you mean `analytics_storage`?",
    ),
    "a purpose that TCF does not have": (
        ("  11: [personalization]", "  12: [personalization]"),
        "tcf.12",
        "tcf has no 12",
        "They are 1 to 11.",
    ),
    "a purpose of TCF for a purpose that is none": (
        ("  8: [analytics]", "  8: [analitics]"),
        "tcf.8.0",
        "no purpose 'analitics'",
        "Did you mean `analytics`?",
    ),
    "a consent that nothing needs": (
        ("  9: [analytics]", "  9: [service]"),
        "tcf.9.0",
        "`service` rests on contract",
        "Remove it.",
    ),
    "a type for a purpose that is none": (
        ("  ad_user_data: [sale_share]", "  ad_user_data: [sale]"),
        "consent_mode.ad_user_data.0",
        "no purpose 'sale'",
        "There is:",
    ),
    "an opt-out of what there is not": (
        ("  sharing: [sale_share]", "  share: [sale_share]"),
        "us_opt_outs.share",
        "us_opt_outs has no 'share'",
        "Did you mean `sharing`?",
    ),
    "an opt-out that ends nothing": (
        ("  sensitive: [profiling]", "  sensitive: []"),
        "us_opt_outs.sensitive",
        "it stands for no purpose",
        "Name the purposes, or remove it.",
    ),
    "an opt-out of a contract": (
        ("  sensitive: [profiling]", "  sensitive: [service]"),
        "us_opt_outs.sensitive.0",
        "`service` rests on contract",
        "Remove it.",
    ),
    "a part of the context that is read all the same": (
        ("use: [consent,", "use: ["),
        "context.use",
        "`consent` is missing",
        "Add it",
    ),
    "an event without a name": (
        ("  Product Reviewed:", "  '':"),
        "events.",
        "the name is empty",
        "give it a name",
    ),
    "a property without a name": (
        ("properties: [role]", "properties: ['']"),
        "events.Account Added User.properties",
        "the name is empty",
        "give it a name",
    ),
    "properties that nothing keeps": (
        ("identify: {<<: *account, properties: []}", "identify: {<<: *account, properties: [zz]}"),
        "events.identify.properties",
        "nothing is kept of the properties of an identify call",
        "name traits",
    ),
    "a property named twice": (
        (
            "properties: [cart_id, products]}\n  Coupon",
            "properties: [cart_id, products, cart_id]}\n  Coupon",
        ),
        "events.Cart Viewed.properties",
        "'cart_id' stands here twice",
        "Remove one of the two.",
    ),
    "a key that comes twice": (
        ("  lastName: *contact", "  lastName: *contact\n  name: *contact"),
        "traits.name",
        "it stands here twice, first in line",
        "Make one of the two.",
    ),
    "a word that YAML takes for something else": (
        ("  lastName: *contact", "  yes: *contact"),
        "traits.yes",
        "YAML takes this name for true",
        "Quote the name.",
    ),
}


MAPPED: dict[str, tuple[tuple[str, str], str, str, str]] = {
    "a column for a trait that is none": (
        ("Company Name: traits.company", "Company Name: traits.compani"),
        "imports.hubspot_contacts.map.Company Name",
        "the catalogue has no trait 'compani'",
        "Did you mean `company`?",
    ),
    "a choice of no category": (
        (
            "opt-in: context.consent.categoryPreferences.marketing",
            "opt-in: context.consent.categoryPreferences.marketin",
        ),
        "imports.hubspot_contacts.map.Newsletter opt-in",
        "there is no consent category 'marketin'",
        "Did you mean `marketing`?",
    ),
    "a field for a property that is none": (
        ("value.form_id: properties.form_id", "value.form_id: properties.form"),
        "webhooks.lead_form.map.value.form_id",
        "'Lead Submitted' has no property 'form'",
        "Did you mean `form_id`?",
    ),
    "a mapping that names nobody": (
        (
            NAMING,
            "  salesforce_contacts:\n    map:\n",
        ),
        "imports.salesforce_contacts.map",
        "no value names anybody",
        "userId",
    ),
    "a condition that is a list": (
        ("where: {field: leadgen}", "where: {field: [leadgen]}"),
        "webhooks.lead_form.where.field",
        "it should be text, a whole number, true or false, and is a list",
        "",
    ),
    "a mapping with a name that no path can hold": (
        ("  hubspot_contacts:", "  'a/b':"),
        "imports.a/b",
        "'a/b' is no name for it",
        "Use small letters",
    ),
    "a mapping of no event": (
        ("event: Lead Submitted", "event: Lead Submited"),
        "webhooks.lead_form.event",
        "the catalogue has no event 'Lead Submited'",
        "Did you mean `Lead Submitted`?",
    ),
    "a mapping for files that need none": (
        ("  hubspot_contacts:", "  ndjson:"),
        "imports.ndjson",
        "files of events are called that",
        "Give it another name.",
    ),
    "a target that is none": (
        ("Account Name: traits.company.name", "Account Name: traits.company.name:digits"),
        "imports.salesforce_contacts.map.Account Name",
        "is no target",
        "",
    ),
    "a path that is none": (
        ("each: entry[].changes[]", "each: entry[].changes[x]"),
        "webhooks.lead_form.each",
        "is no path",
        "",
    ),
}
"""Mistakes of mappings, of which one hides another."""


@pytest.mark.parametrize("name", EXPLAINED | MAPPED)
def test_a_mistake_is_explained_with_its_line_and_what_to_do(name: str) -> None:
    change, path, message, suggestion = (EXPLAINED | MAPPED)[name]
    text, line = changed(*change)

    found = [one for one in policy.check(text) if one.path == path and message in one.message]

    assert len(found) == 1, [str(one) for one in policy.check(text)]
    assert suggestion in found[0].suggestion
    own_lines = range(line, line + change[1].count("\n") + 2)
    assert found[0].line in own_lines


def test_a_device_is_weaker_than_every_person() -> None:
    """Or what a server says of a person would be kept under a device."""
    line = line_of(TEXT, "{priority: 5, limit: 20")
    text = TEXT.replace("{priority: 4,", "{priority: 9,")

    first, *others = policy.check(text)

    assert first.line == line
    assert first.path == "identifiers.device_id.priority"
    assert "it names a device and is stronger than `phone`" in first.message
    assert first.suggestion == "Give it more than 9."
    told = {"identifiers.anonymous_id.priority", "identifiers.advertising_id.priority"}
    assert {one.path for one in others} == told


def test_a_pattern_for_many_values_is_not_judged_by_one_of_them() -> None:
    """Only of what stands for a value alone it is plain that no value is like it."""
    text, _ = changed(NEVER, "never: ['49.*|110', '[1-9]+', '(110|112)', '']")
    assert policy.check(text) == []


@pytest.mark.parametrize(
    ("text", "line", "words", "suggestion"),
    [
        ("a: 1\nb:\n\t- 2\n", 3, "cannot start any token", "spaces"),
        ("a: [1\nb: 2\n", 2, "expected ',' or ']'", "Close the bracket"),
        ("a: x: y\n", 1, "mapping values are not allowed here", "Quote"),
        ("a: *b\n", 1, "undefined alias", "&name"),
        ("a: !ruby x\n", 1, "could not determine a constructor", "quote"),
        ("a: 1\nb: \x07\n", 2, "U+0007", "Remove"),
        ("a: &x [*x]\n", 1, "it holds itself", "*"),
        ("a: 1\n---\nb: 2\n", 2, "another document begins here", "---"),
        ("a: 'x\n", 2, "end of stream", "quotation"),
        ("{" * 5000, 1, "nested too deeply", ""),
        ("", 1, "it should be a mapping of names, and is empty", "Write"),
        ("[1]", 1, "it should be a mapping of names, and is a list", "Write"),
    ],
)
def test_what_is_no_policy_at_all_is_explained_too(
    text: str, line: int, words: str, suggestion: str
) -> None:
    (mistake,) = policy.check(text)

    assert mistake.line == line
    assert words in mistake.message
    assert suggestion in mistake.suggestion


@pytest.mark.parametrize(
    "name", ["a condition that is a list", "a mapping with a name that no path"]
)
def test_one_mistake_is_told_once(name: str) -> None:
    (change,) = [one[0] for key, one in MAPPED.items() if key.startswith(name)]
    assert len(policy.check(changed(*change)[0])) == 1


@pytest.mark.parametrize("merged", ["[*b{0}, *b{0}]", "{{<<: [*b{0}, *b{0}], k{0}: 1}}"])
def test_a_few_lines_that_stand_for_millions_are_refused(merged: str) -> None:
    lines = ["b0: &b0 {k: 1}"] + [f"b{n + 1}: &b{n + 1} {merged.format(n)}" for n in range(40)]

    (mistake,) = policy.check("\n".join(lines))

    assert "more than 100000 entries" in mistake.message


@pytest.mark.parametrize(
    ("hang", "texts"),
    [
        (True, ["(a+)+$", "(a*)*", "([a-z]+)*", "(?:a|b+){2,}", "((a+))+", "((a+)b)*"]),
        (False, ["(test|x)@.*", r"\(a+\)+", "[(a+)]+", "7(8(90?)?)?", "(ab)+", "(a+)?", "(a+"]),
        (False, ["(a++)+", "(?>a+)+", "(a+)++", "a{2}", "{+", "a+b+"]),
    ],
)
def test_a_pattern_that_repeats_what_repeats_may_hang(hang: bool, texts: list[str]) -> None:
    assert {text: patterns.may_hang(text) for text in texts} == dict.fromkeys(texts, hang)


@given(st.text(alphabet="ab(|)[]*+?{,}\\19>:", max_size=30))
def test_any_text_is_looked_at_for_repetitions(text: str) -> None:
    assert patterns.may_hang(text) in (True, False)


def test_every_mistake_is_told_at_once_in_the_order_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, wanted = TEXT, []
    # From the end to the beginning, so that no change moves the line of another.
    for name, ((old, new), path, _, _) in reversed(EXPLAINED.items()):
        if text.count(old) == 1 and "\n" not in new and "type" not in name:
            text = text.replace(old, new)
            wanted.append(path)
    source = tmp_path / "policy.yaml"
    source.write_text(text)

    assert main(["policy", "check", str(source), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)["mistakes"]

    assert len(wanted) > 15
    for path in wanted:
        assert any(one["path"].startswith(path) for one in told), path
    assert [one["line"] for one in told] == sorted(one["line"] for one in told)
    assert all(one.keys() == {"line", "path", "message", "suggestion"} for one in told)


def test_what_many_entries_share_is_told_once_where_it_stands() -> None:
    text, line = changed(
        "&account {purposes: [service], sensitivity: personal, retention: account,",
        "&account {purposes: [service], sensitivity: personal, retention: acount,",
    )

    (mistake,) = policy.check(text)

    assert mistake.line == line
    assert re.fullmatch(r"traits\.address\.retention and \d\d more", mistake.path)


def test_the_command_and_the_build_say_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "policy.yaml", tmp_path / "policy.json"
    source.write_text(
        TEXT.replace("behaviour: 90", "behaviour: '90'").replace("\n  avatar:", "\n  name:")
    )

    assert main(["policy", "check", str(source)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert policy.main(["compile", str(source), str(out)]) == 1

    assert capsys.readouterr().err.splitlines() == told
    assert len(told) == 2
    assert all(line.startswith(f"{source}:") for line in told)


def test_a_good_policy_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check"]) == 0
    assert main(["policy", "check", str(YAML), "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out)["mistakes"] == []


def test_a_value_may_lie_deep_in_a_trait() -> None:
    """And is no choice of a category for that."""
    text, _ = changed("Company Name: traits.company.name", "Company Name: traits.company.a.b")
    assert policy.check(text) == []


def test_a_file_that_is_not_there_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", "nowhere.yaml"]) == 1
    assert "cannot be read" in capsys.readouterr().err


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 99)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=5) | st.sampled_from(["purposes", "from", "never"]), inner, max_size=3
        )
    ),
    max_leaves=9,
)
PATHS = [path for path in places.read(TEXT).lines if path[0] != "kinds" and len(path) <= 4]


@given(st.lists(st.tuples(st.sampled_from(PATHS), json_like), min_size=1, max_size=4))
def test_whatever_stands_in_the_file_is_explained_and_never_a_crash(
    changes: list[tuple[places.Path, object]],
) -> None:
    written = json.loads(json.dumps(yaml.safe_load(TEXT), default=str))
    for path, value in changes:
        here = written
        for step in path[:-1]:
            here = here.get(step, {}) if isinstance(here, dict) else {}
        if isinstance(here, dict):
            here[str(path[-1])] = value

    for mistake in policy.check(yaml.safe_dump(written)):
        assert mistake.line >= 1
        assert mistake.message


@given(st.text(max_size=200))
def test_no_text_is_a_crash(text: str) -> None:
    assert policy.check(text)


def test_cloudformations_tags_are_read_as_what_they_are_given() -> None:
    read = places.read("a: !Sub ${X}-y\nb: !If [c, {d: !Ref e}, f]\ng: !GetAtt {h: i}\n", AnyTag)

    assert read.value == {"a": "${X}-y", "b": ["c", {"d": "e"}, "f"], "g": {"h": "i"}}


def test_an_identifier_that_is_only_ever_of_one_shape_is_not_blocked() -> None:
    assert all(re.fullmatch(r"\S.*\S", value) for value in identifier_rules.ANYBODY)
    text, _ = changed(NEVER, r"never: ['\+1.*', '\+44.*']")
    assert policy.check(text) == []
