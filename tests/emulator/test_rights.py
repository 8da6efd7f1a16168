"""Legal holds, and many erasures at once, on a deployed stack."""

from functools import partial
from typing import Any

from cli.api import Api
from tests.emulator.conftest import await_true
from tests.emulator.installation import Installation
from tests.emulator.test_dlq import buy, orders

Json = dict[str, Any]


def asked(api: Api, user: str) -> Json:
    body = {
        "type": "erasure",
        "subject": {"type": "user_id", "value": user},
        "verified_by": "a test",
    }
    found: Json = api.staff("dpo", "POST", "/privacy/requests", body)
    return found


def shown(api: Api, id_: str) -> Json:
    found: Json = api.staff("dpo", "GET", f"/privacy/requests/{id_}")
    return found


def test_a_held_person_is_kept_and_their_archive_copied_until_the_release(
    api: Api, installation: Installation
) -> None:
    buy(api, "held-ann", "held-ann-order")
    await_true("it is read", partial(orders, api, "held-ann"))
    await_true("it is archived", lambda: _archived(installation))
    body = {
        "subject": {"type": "user_id", "value": "held-ann"},
        "reason": "a lawsuit",
        "until": "2100-01-01T00:00:00Z",
    }
    hold = api.staff("dpo", "POST", "/holds", body)["id"]
    await_true("it is copied", lambda: _copies(installation))
    theirs = await_true(
        "the sweep that was woken keeps it",
        lambda: [row for row in installation.rows("Events") if "ttl" not in row],
    )
    assert len(theirs) == 1

    request = asked(api, "held-ann")
    assert request["status"] == "held"
    api.staff("dpo", "DELETE", f"/holds/{hold}")
    done = await_true(
        "it is erased",
        lambda: one if (one := shown(api, request["id"]))["status"] == "completed" else None,
        180,
    )
    assert done["certificate"]
    assert not [row for row in installation.rows("Events") if row["pk"] == theirs[0]["pk"]]


def test_many_are_erased_by_one_call(api: Api, installation: Installation) -> None:
    users = [f"many-{n}" for n in range(4)]
    for user in users:
        buy(api, user, f"{user}-order")
    for user in users:
        await_true("it is read", partial(orders, api, user))
    subjects = [{"type": "user_id", "value": user} for user in users]

    many = api.staff("dpo", "POST", "/privacy/bulk", {"subjects": subjects, "verified_by": "test"})

    assert (many["total"], many["nobody"]) == (4, [])
    await_true(
        "all are erased",
        lambda: (
            api.staff("dpo", "GET", f"/privacy/bulk/{many['id']}")["statuses"] == {"completed": 4}
        ),
        300,
    )
    machine = installation.outputs["BulkMachineArn"]
    states = installation.client("stepfunctions")
    (execution,) = (
        one["executionArn"]
        for one in states.list_executions(stateMachineArn=machine)["executions"]
        if one["name"] == many["id"]
    )
    assert states.describe_execution(executionArn=execution)["status"] == "SUCCEEDED"


def _archived(installation: Installation) -> bool:
    stored = {(row["pk"], row["sk"]) for row in installation.rows("Events")}
    return stored <= {(row["pk"], row["sk"]) for row in installation.archived()}


def _copies(installation: Installation) -> list[str]:
    return [name for name, _ in installation.objects() if " holds/" in name]
