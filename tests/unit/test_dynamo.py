"""What no emulator shows: throttling, partly processed batches, contention, lost connections."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from candor.ports import Check, Conflict, Delete, Key, Put, Row, Rows, Unavailable, Update
from candor.stores.clients import StoreError
from candor.stores.dynamo import ATTEMPTS, DynamoRows
from tests.fakes import FakeClock

K, L = Key("keys", "k"), Key("keys", "l")
G = Key("graph", "g", "s")
Handler = Callable[..., dict[str, Any]]


class ScriptedClient:
    """Answers every operation by one function, and remembers the calls."""

    def __init__(self, handler: Handler) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._handler = handler

    def __getattr__(self, operation: str) -> Handler:
        def call(**request: Any) -> dict[str, Any]:
            self.calls.append((operation, request))
            return self._handler(operation, request)

        return call


def store(handler: Handler, **options: Any) -> tuple[DynamoRows, ScriptedClient, list[float]]:
    client, pauses = ScriptedClient(handler), list[float]()
    names = {"keys": "stack-keys", "graph": "stack-graph"}
    rows = DynamoRows(client, names, FakeClock(), sleep=pauses.append, **options)  # type: ignore[arg-type]
    return rows, client, pauses


def refusal(code: str, status: int = 400, **more: Any) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": "ann@example.com"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(answer, "TheOperation")


def refusing(error: Exception) -> Handler:
    def handler(operation: str, request: dict[str, Any]) -> dict[str, Any]:
        raise error

    return handler


CALLS: list[Callable[[Rows], object]] = [
    lambda rows: rows.get([K]),
    lambda rows: rows.get([K, L]),
    lambda rows: list(rows.query("graph", "g")),
    lambda rows: list(rows.scan("keys")),
    lambda rows: rows.put([Put(K, {})]),
    lambda rows: rows.put([Put(K, {}), Put(L, {})]),
    lambda rows: rows.delete([K, L]),
    lambda rows: rows.update(Update(K, set={"a": 1})),
    lambda rows: rows.commit(Delete(K)),
    lambda rows: rows.commit(Put(K, {}), Delete(L)),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "error",
    [
        refusal("ProvisionedThroughputExceededException"),
        refusal("ThrottlingException"),
        refusal("RequestLimitExceeded"),
        refusal("TransactionInProgressException"),
        refusal("InternalServerError", 500),
        refusal("Whatever", 503),
        ReadTimeoutError(endpoint_url="http://x"),
        EndpointConnectionError(endpoint_url="http://x"),
    ],
)
def test_what_passes_by_itself_is_unavailable(
    call: Callable[[Rows], object], error: Exception
) -> None:
    with pytest.raises(Unavailable):
        call(store(refusing(error))[0])


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
def test_a_defect_is_named_without_what_aws_says_about_it(
    call: Callable[[Rows], object], code: str
) -> None:
    with pytest.raises(StoreError) as error:
        call(store(refusing(refusal(code)))[0])

    assert str(error.value) == f"TheOperation: {code}"
    assert error.value.__suppress_context__


@pytest.mark.parametrize(
    ("codes", "failed"),
    [
        (["ConditionalCheckFailed", "None"], (0,)),
        (["None", "ConditionalCheckFailed"], (1,)),
        (["ConditionalCheckFailed", "ConditionalCheckFailed"], (0, 1)),
        (["TransactionConflict", "ConditionalCheckFailed"], (1,)),
        (["None", "TransactionConflict"], ()),
        (["ThrottlingError", "ConditionalCheckFailed"], (1,)),
    ],
)
def test_a_cancelled_transaction_is_a_conflict_with_the_failed_positions(
    codes: list[str], failed: tuple[int, ...]
) -> None:
    reasons = [{"Code": code} for code in codes]
    error = refusal("TransactionCanceledException", CancellationReasons=reasons)

    with pytest.raises(Conflict) as conflict:
        store(refusing(error))[0].commit(Put(K, {}), Delete(L))

    assert conflict.value.failed == failed


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ThrottlingError", Unavailable),
        ("ProvisionedThroughputExceeded", Unavailable),
        ("ValidationError", StoreError),
        ("ItemCollectionSizeLimitExceeded", StoreError),
    ],
)
def test_a_transaction_cancelled_for_another_reason_is_no_conflict(
    code: str, expected: type[Exception]
) -> None:
    reasons = [{"Code": "None"}, {"Code": code}]
    error = refusal("TransactionCanceledException", CancellationReasons=reasons)

    with pytest.raises(expected):
        store(refusing(error))[0].commit(Put(K, {}), Delete(L))


@pytest.mark.parametrize(
    ("code", "failed"),
    [("ConditionalCheckFailedException", (0,)), ("TransactionConflictException", ())],
)
def test_a_single_write_meets_a_condition_or_a_transaction(
    code: str, failed: tuple[int, ...]
) -> None:
    for call in (CALLS[7], CALLS[8]):
        with pytest.raises(Conflict) as conflict:
            call(store(refusing(refusal(code)))[0])
        assert conflict.value.failed == failed


def test_keys_left_unprocessed_are_asked_for_again() -> None:
    def two_at_a_time(operation: str, request: dict[str, Any]) -> dict[str, Any]:
        ((name, share),) = request["RequestItems"].items()
        assert share["ConsistentRead"] is True
        taken, left = share["Keys"][:2], share["Keys"][2:]
        answer: dict[str, Any] = {"Responses": {name: taken}, "UnprocessedKeys": {}}
        if left:
            answer["UnprocessedKeys"] = {name: {**share, "Keys": left}}
        return answer

    rows, client, pauses = store(two_at_a_time)
    keys = [Key("keys", str(n)) for n in range(7)]

    assert rows.get(keys).keys() == set(keys)
    assert len(client.calls) == 4
    assert pauses == []


def test_items_left_unprocessed_are_written_again_before_the_next_batch() -> None:
    written: list[str] = []

    def one_less_at_first(operation: str, request: dict[str, Any]) -> dict[str, Any]:
        ((name, entries),) = request["RequestItems"].items()
        pks = [entry["PutRequest"]["Item"]["pk"]["S"] for entry in entries]
        if len(pks) > 1:
            written.extend(pks[1:])
            return {"UnprocessedItems": {name: entries[:1]}}
        written.extend(pks)
        return {"UnprocessedItems": {}}

    rows, client, _ = store(one_less_at_first)
    rows.put([Put(Key("keys", str(n)), {}) for n in range(30)])

    assert [len(request["RequestItems"]["stack-keys"]) for _, request in client.calls] == [
        25,
        1,
        5,
        1,
    ]
    assert written == [*map(str, range(1, 25)), "0", *map(str, range(26, 30)), "25"]


class Limited:
    """BatchGetItem and BatchWriteItem within DynamoDB's limits, over rows of 400 KB."""

    ROW, MOST = 400_000, 16_000_000

    def __init__(self) -> None:
        self.answered: list[int] = []
        self.deleted: list[str] = []

    def __call__(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        items = request["RequestItems"]
        if operation == "batch_write_item":
            return self._write(items)
        assert sum(len(share["Keys"]) for share in items.values()) <= 100
        answer: dict[str, Any] = {"Responses": {}, "UnprocessedKeys": {}}
        left = self.MOST // self.ROW
        for name, share in items.items():
            taken, others = share["Keys"][:left], share["Keys"][left:]
            left -= len(taken)
            answer["Responses"][name] = [{**key, "data": {"B": bytes(self.ROW)}} for key in taken]
            if others:
                answer["UnprocessedKeys"][name] = {**share, "Keys": others}
        self.answered.append(sum(map(len, answer["Responses"].values())))
        return answer

    def _write(self, items: dict[str, Any]) -> dict[str, Any]:
        """Takes every second one."""
        assert sum(map(len, items.values())) <= 25
        answer: dict[str, Any] = {"UnprocessedItems": {}}
        for name, entries in items.items():
            self.deleted += [entry["DeleteRequest"]["Key"]["pk"]["S"] for entry in entries[::2]]
            if entries[1::2]:
                answer["UnprocessedItems"][name] = entries[1::2]
        return answer


def test_more_than_an_answer_holds_is_asked_for_until_all_is_there() -> None:
    limited = Limited()
    rows, _, pauses = store(limited)
    keys = [Key("keys", str(n)) for n in range(130)]
    keys += [Key("graph", str(n), "s") for n in range(20)]

    found = rows.get(keys)

    assert found.keys() == set(keys)
    assert all(len(row["data"]) == Limited.ROW for row in found.values())
    assert limited.answered == [40, 40, 20, 40, 10], "chunks of a hundred, 16 MB an answer"
    assert pauses == [], "what gets on does not wait"


def test_deletes_left_unprocessed_in_any_table_are_made() -> None:
    limited = Limited()
    rows, client, _ = store(limited)
    keys = [Key("keys", str(n)) for n in range(30)] + [Key("graph", f"g{n}", "s") for n in range(4)]

    rows.delete(keys)

    assert sorted(limited.deleted) == sorted(key.pk for key in keys)
    assert len(client.calls) > 2


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (CALLS[1], lambda items: {"Responses": {}, "UnprocessedKeys": items}),
        (CALLS[5], lambda items: {"UnprocessedItems": items}),
    ],
)
def test_a_batch_of_which_nothing_is_taken_is_given_up_after_growing_pauses(
    call: Callable[[Rows], object], answer: Callable[[Any], dict[str, Any]]
) -> None:
    rows, client, pauses = store(lambda operation, request: answer(request["RequestItems"]))

    with pytest.raises(Unavailable):
        call(rows)

    assert len(client.calls) == ATTEMPTS
    assert len(pauses) == ATTEMPTS - 1
    assert pauses == sorted(pauses)
    assert 1 < sum(pauses) < 5


def test_reads_are_consistent_and_names_are_placeholders() -> None:
    def empty(operation: str, request: dict[str, Any]) -> dict[str, Any]:
        return {"Items": [], "Responses": {}, "Attributes": {"pk": {"S": "k"}}}

    rows, client, _ = store(empty)
    rows.get([K])
    list(rows.query("graph", "g", "status"))
    list(rows.scan("keys"))
    rows.update(Update(K, set={"status": 1}, remove=("name",), when={"size": 1}))

    assert all(request["ConsistentRead"] is True for _, request in client.calls[:3])
    for _, request in client.calls:
        text = "".join(value for key, value in request.items() if key.endswith("Expression"))
        assert not any(name in text.replace("status =", "") for name in ("status", "name", "size"))


def test_calls_are_metered_by_operation_table_and_rows() -> None:
    seen: list[tuple[str, str, int]] = []

    def answers(operation: str, request: dict[str, Any]) -> dict[str, Any]:
        return {"Items": [], "Responses": {}, "UnprocessedItems": {}}

    rows, _, _ = store(answers, meter=lambda *call: seen.append(call))
    row: Row = {}
    rows.get([K])
    rows.get([K, L, G])
    rows.put([Put(K, row), Put(L, row)])
    list(rows.query("graph", "g"))
    rows.commit(Put(K, row), Check(G, when={"a": 1}))

    assert seen == [
        ("get_item", "keys", 1),
        ("batch_get_item", "keys", 2),
        ("batch_get_item", "graph", 1),
        ("batch_write_item", "keys", 2),
        ("query", "graph", 1),
        ("transact_write_items", "keys", 1),
        ("transact_write_items", "graph", 1),
    ]
