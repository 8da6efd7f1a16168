"""A story that the functions are told: requests in which much can go wrong."""

from tests.worlds import Json, order, says, sent

Request = tuple[str, Json]
"""The trust of a source, and the body of its batch."""
PEOPLE = (
    *("user_id:42", "user_id:43", "user_id:erased", "email:ann@example.com", "device_id:d1"),
    *("anonymous_id:a1", "anonymous_id:a2", "anonymous_id:a3", "anonymous_id:a4"),
    "anonymous_id:a9",
)
"""Everybody in it. Whoever tells it has erased one of them before."""


def story() -> list[list[Request]]:
    """What one entry holds comes together, so that its messages are one batch of the queue."""
    ann: Json = {"userId": "42", "anonymousId": "a1"}
    all_ = says(analytics=True, marketing=False, personalization=True)
    device = says(analytics=True) | {"device": {"id": "d1"}}
    known = {"email": "ann@example.com", "plan": "gold", "shoe size": 38}
    signs_up = [
        sent("page", "p1", anonymousId="a1", context=all_),
        sent("identify", "i1", **ann, traits={"name": "Ann", "shoe size": 38}),
        order("o1", ago=60, anonymousId="a1"),
        order("o2", ago=90_000, **ann, context=all_),
    ]
    cannot_be_taken = [
        sent("track", "n1", anonymousId="a1", event="Nobody Named This"),
        sent("track", "n2", event="Order Completed"),
    ]
    did_not_consent = [sent("page", "p2", anonymousId="a2"), order("o3", anonymousId="a2")]
    crm_knows_her = [
        sent("identify", "i2", userId="42", traits=known),
        sent("alias", "l1", userId="42", previousId="a9"),
    ]
    and_another = [
        sent("identify", "i3", userId="43", anonymousId="a3", traits={"name": "Bob"}),
        order("o4", userId="43"),
    ]
    opens_an_app = [
        sent("screen", "s1", anonymousId="a4", context=device),
        sent("identify", "i4", anonymousId="a4", context=device, traits={"plan": "free"}),
    ]
    two_profiles_become_one = sent("identify", "i5", userId="42", anonymousId="a4", context=device)
    beside_one_erased = [order("o5", userId="erased"), order("o6", userId="43", anonymousId="a3")]
    by_her_browser = order("o7", userId="43", anonymousId="a1")
    return [
        [_batch("client", *signs_up, *cannot_be_taken, *did_not_consent)],
        [_batch("server", *crm_knows_her, *and_another), _batch("client", *opens_an_app)],
        [
            _batch("server", two_profiles_become_one, *beside_one_erased),
            _batch("client", by_her_browser),
        ],
    ]


def _batch(trust: str, *events: Json) -> Request:
    return trust, {"batch": list(events)}
