"""The bench's own arithmetic: AWS's units, and prices times units."""

import json

import pytest

from tests.bench import costs, report, units
from tests.bench.costs import Json, Work
from tests.bench.counting import Archived, Counted, cases, repeated
from tests.bench.meter import Counts
from tests.bench.traffic import KINDS, SHAPES, Case, Shape, Traffic
from tests.bench.way import body_of
from tests.worlds import SHIPPED

KB = 1024


def item(size: int) -> dict[str, dict[str, object]]:
    return {"pk": {"S": "k" * 10}, "data": {"B": b"\1" * (size - 16)}}


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "ä"}, 2),
        ({"B": b"\0" * 7}, 7),
        ({"BOOL": True}, 1),
        ({"NULL": True}, 1),
        ({"N": "0"}, 1),
        ({"N": "7"}, 2),
        ({"N": "1234"}, 3),
        ({"N": "-1234"}, 4),
        ({"N": "1900000"}, 2),
        ({"L": []}, 3),
        ({"L": [{"S": "ab"}, {"BOOL": True}]}, 3 + (1 + 2) + (1 + 1)),
        ({"M": {"ab": {"S": "cd"}}}, 3 + 2 + 2 + 1),
    ],
)
def test_an_items_size_is_that_of_its_names_and_values(value: units.Item, size: int) -> None:
    assert units.item_bytes({"name": value}) == len("name") + size


def test_nothing_has_no_size() -> None:
    assert units.item_bytes(None) == 0


@pytest.mark.parametrize(("size", "cost"), [(100, 1), (KB, 1), (KB + 1, 2), (10 * KB, 10)])
def test_a_write_costs_a_unit_for_each_kilobyte(size: int, cost: int) -> None:
    assert units.write_units(None, item(size)) == cost
    assert units.write_units(None, item(size), transaction=True) == 2 * cost


def test_a_write_costs_by_the_larger_image() -> None:
    assert units.write_units(item(5 * KB), item(100)) == 5
    assert units.write_units(item(5 * KB), None) == 5


def test_a_write_that_finds_and_leaves_nothing_costs_a_unit() -> None:
    assert units.write_units(None, None) == 1


def test_items_asked_for_one_by_one_are_rounded_up_one_by_one() -> None:
    found = [item(100), item(4 * KB), item(4 * KB + 1), None]
    assert units.read_units(found, consistent=True) == 1 + 1 + 2 + 1
    assert units.read_units(found, consistent=False) == 5 / 2


def test_a_page_is_rounded_up_as_a_whole() -> None:
    assert units.page_units([item(KB)] * 5, consistent=True) == 2
    assert units.page_units([], consistent=True) == 1
    assert units.page_units([], consistent=False) == 0.5


@pytest.mark.parametrize(("size", "requests"), [(0, 1), (65_536, 1), (65_537, 2), (1 << 20, 16)])
def test_a_queue_bills_64_kilobytes_as_a_request(size: int, requests: int) -> None:
    assert units.sqs_requests(size) == requests


def test_every_price_names_its_source_and_when_it_was_seen() -> None:
    listed = [one for name, one in costs.PRICES.items() if name != "others"]
    for one in [*listed, *costs.PRICES["others"].values()]:
        assert one["source"].startswith("https://")
        assert one["seen"]
    assert all(one["price"] > 0 and one["per"] > 0 and one["unit"] for one in listed)


def test_a_price_is_for_so_many_units() -> None:
    assert costs.price("gateway_request", 10_000) == pytest.approx(0.035)
    assert costs.price("dynamodb_write", 1_000_000) == pytest.approx(0.625)


def test_a_function_is_billed_for_its_share_of_a_cpu_and_for_its_waits() -> None:
    counts = Counts(waits=[(0.0, 0.1, "dynamodb"), (0.2, 0.3, "sqs")])
    work = Work(invocations=1, cpu=0.010, counts=counts)
    waits = costs.WAIT_MS["dynamodb"] + costs.WAIT_MS["sqs"] + costs.OVERHEAD_MS
    assert work.billed_ms(1769) == pytest.approx(10 + waits)
    assert work.billed_ms(1769 * 4) == pytest.approx(10 + waits), "one thread has one CPU"
    assert work.billed_ms(1769 // 2) == pytest.approx(20 + waits, abs=1)


def test_calls_at_the_same_time_are_waited_for_once() -> None:
    waits = [(0.0, 1.0, "dynamodb"), (0.5, 1.5, "dynamodb"), (1.2, 1.4, "sqs"), (2.0, 3.0, "sqs")]
    assert Counts(waits=waits).steps == {"dynamodb": 1, "sqs": 1}


def test_a_functions_dollars_are_units_times_prices() -> None:
    counts = Counts(reads={"GetItem keys": 2.0}, writes={"PutItem events": 3.0}, objects=4)
    counts.sqs["SendMessage"] = 5
    found = costs.compute("collect", Work(1_000, 0.0, counts, printed=1_000_000, lines=10))
    assert found["lambda requests"] == pytest.approx(costs.price("lambda_request", 1_000))
    assert found["dynamodb reads"] == pytest.approx(costs.price("dynamodb_read", 2))
    assert found["dynamodb writes"] == pytest.approx(costs.price("dynamodb_write", 3))
    assert found["s3"] == pytest.approx(costs.price("s3_put", 4))
    assert found["sqs"] == pytest.approx(costs.price("sqs_request", 5))
    own, lines = costs.platform_log("collect")
    logged = 1_000_000 + 10 * costs.LINE_BYTES + 1_000 * (own + lines * costs.LINE_BYTES)
    assert found["logs"] == pytest.approx(costs.price("log_byte", logged))


def test_a_mapping_receives_and_deletes_batches() -> None:
    assert costs.queue([1_000] * 20, 10)["sqs"] == pytest.approx(costs.price("sqs_request", 4))
    large = costs.queue([60_000] * 10, 10)["sqs"]
    assert large == pytest.approx(costs.price("sqs_request", 10 + 1)), "600 KB at once"


def test_batches_are_as_large_as_traffic_makes_them() -> None:
    most = costs.TEMPLATE["Resources"]["EventsToUnify"]["Properties"]["BatchSize"]
    assert costs.messages_a_batch(0.1) == 1
    assert costs.messages_a_batch(500) == 5
    assert costs.messages_a_batch(1_000_000) == most
    assert costs.records_a_batch(0.001, KB) == 1
    archive = costs.TEMPLATE["Resources"]["EventsToArchive"]["Properties"]
    assert costs.records_a_batch(1_000_000, KB) == archive["BatchSize"]
    assert costs.records_a_batch(1_000_000, 100 * KB) == 61, "more would be over 6 MB"


def test_a_sample_of_the_stream_is_repeated_into_other_records() -> None:
    keys = {"pk": {"S": "a"}, "sk": {"S": "1"}}
    sample: list[Json] = [{"dynamodb": {"Keys": dict(keys), "NewImage": dict(keys)}}]

    found = repeated(sample, 3)

    assert len({json.dumps(one) for one in found}) == 3
    assert found[0] == sample[0]


def test_segment_bills_people_and_not_events() -> None:
    assert costs.segment(250, 10_000) == pytest.approx(120 / (10_000 * 250) * 1_000_000)
    over = 120 + 15_000 * 0.012 + 75_000 * 0.011
    assert costs.segment(1, 100_000) == pytest.approx(over / 100_000 * 1_000_000)


def test_what_is_kept_is_paid_for_until_it_ends() -> None:
    months = costs.KEPT_DAYS / 30.4
    kept = costs.storage(stored=1e9, rows=1e6, archived=1e9)
    assert kept["table"] == pytest.approx(0.25 * 1.1 * months)
    assert kept["archive"] == pytest.approx(0.023 * months)
    assert SHIPPED.retention["behaviour"] == costs.KEPT_DAYS


def test_every_shape_is_measured_from_every_source() -> None:
    measured = {(case.shape, case.kind) for case in cases()}
    assert measured == {(shape, kind) for shape in SHAPES for kind in KINDS}


def test_a_request_holds_as_many_events_of_as_many_people_as_its_shape_says() -> None:
    for kind in KINDS:
        traffic = Traffic(kind, "wk", [f"person-{n}" for n in range(200)])
        for shape in SHAPES:
            events = json.loads(body_of(traffic.request(shape, 1.7e9)))["batch"]
            who = {(one.get("userId"), one.get("anonymousId")) for one in events}
            assert (len(events), len(who)) == (shape.events, shape.people)
            assert len({one["messageId"] for one in events}) == shape.events


def test_an_event_is_as_large_as_in_life() -> None:
    for kind in KINDS:
        traffic = Traffic(kind, "wk", ["somebody"])
        sent = len(body_of(traffic.request(Shape(100, 1), 1.7e9))) / 100
        assert 600 <= sent <= 1_000


def test_a_million_events_cost_what_their_requests_cost() -> None:
    counted = Counted(Case(Shape(100, 1), "server"), requests=10, messages=[10_000] * 10)
    archived = Archived(Counts(objects=4), records=10, batches=1)
    counted.archive[costs.EVENTS_A_DAY] = archived
    counted.records = 10
    dollars = counted.dollars(0.0, 0.0)
    assert dollars["gateway"] == pytest.approx(0.035)
    assert dollars["sqs"] == pytest.approx(costs.price("sqs_request", 2 * 10_000))
    assert dollars["s3"] == pytest.approx(costs.price("s3_put", 4 * 10_000 / 10))


def test_an_erasure_that_costs_more_beside_more_people_misses_its_goal() -> None:
    few: Json = {"1000": {"calls": 88, "read_units": 70.0, "write_units": 50.0}}
    for grown in ("calls", "read_units", "write_units"):
        many = {"1000": few["1000"] | {grown: 1 + few["1000"][grown]}}
        found = {"erasure": {"erasing_beside_people": {"1000": few, "10000": many}}}
        missed = [goal.name for goal in report.goals(found) if not goal.met]
        assert missed == [f"erasing beside ten times the people: {grown}, most/least"]
