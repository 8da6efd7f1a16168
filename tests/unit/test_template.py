"""What the template must keep, whoever edits it."""

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from candor.erasure import ErasureFailed
from cli.policy import MOST_DESTINATIONS
from tests import lint_template

Resources = dict[str, dict[str, Any]]

FUNCTIONS = {"collect", "unify", "api", "privacy", "erase", "archive", "audit", "sweep"}
STORES = {"AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::S3::Bucket"}
STEPS = {"shred", "graph", "events", "vacuum", "queues", "certify"}


@pytest.fixture(scope="module")
def sources() -> Resources:
    """The resources as they are written."""
    resources: Resources = lint_template.template()["Resources"]
    return resources


@pytest.fixture(scope="module")
def resources() -> Resources:
    """The resources as CloudFormation gets them."""
    translated: Resources = lint_template.translation()["Resources"]
    return translated


@pytest.fixture(scope="module")
def machines() -> dict[str, dict[str, Any]]:
    """By name."""
    return {
        path.name.partition(".")[0]: json.loads(lint_template.machine(path))
        for path in lint_template.MACHINES
    }


@pytest.fixture(scope="module")
def machine(machines: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return machines["erasure"]


def test_the_linters_find_nothing() -> None:
    assert lint_template.findings() == ""


def test_there_are_eight_functions_and_each_names_its_own_module(resources: Resources) -> None:
    handlers = {
        name.removesuffix("Function").lower(): function["Handler"]
        for name, function in of_type(resources, "AWS::Lambda::Function")
    }
    assert handlers == {name: f"{name}_function.handler" for name in FUNCTIONS}


def test_every_function_runs_on_arm(resources: Resources) -> None:
    for _, function in of_type(resources, "AWS::Lambda::Function"):
        assert function["Architectures"] == ["arm64"]
        assert function["Runtime"] == "python3.13"


def test_every_function_logs_to_its_own_group(resources: Resources) -> None:
    used = [
        function["LoggingConfig"]["LogGroup"]["Ref"]
        for _, function in of_type(resources, "AWS::Lambda::Function")
    ]
    assert len(set(used)) == len(FUNCTIONS)
    assert set(used) <= {name for name, _ in of_type(resources, "AWS::Logs::LogGroup")}


def test_no_log_is_kept_for_ever(resources: Resources) -> None:
    for _, group in of_type(resources, "AWS::Logs::LogGroup"):
        assert group["RetentionInDays"]


def test_access_logs_name_neither_path_nor_caller(resources: Resources) -> None:
    (_, stage), *others = of_type(resources, "AWS::ApiGateway::Stage")
    assert not others
    logged = stage["AccessLogSetting"]["Format"]
    for personal in ("$context.path", "requestOverride.path", "identity", "authorizer"):
        assert personal not in logged
    assert "$context.resourcePath" in logged


def test_executions_are_logged_without_their_data(resources: Resources) -> None:
    machines = of_type(resources, "AWS::StepFunctions::StateMachine")
    assert len(machines) == len(lint_template.MACHINES)
    for name, one in machines:
        assert one["LoggingConfiguration"]["IncludeExecutionData"] is False, name


def test_environments_are_text(resources: Resources) -> None:
    """An emulator takes a number for what it is, and its worker then cannot start."""
    numbers = {
        name
        for name, parameter in lint_template.template()["Parameters"].items()
        if parameter["Type"] == "Number"
    }
    for _, function in of_type(resources, "AWS::Lambda::Function"):
        for value in function["Environment"]["Variables"].values():
            assert isinstance(value, str | dict)
            assert not (isinstance(value, dict) and value.get("Ref") in numbers)


def test_no_policy_allows_more_than_it_names(resources: Resources) -> None:
    statements = list(all_statements(resources))
    assert statements
    for where, statement in statements:
        assert "NotAction" not in statement, where
        assert "NotResource" not in statement, where
        for action in many(statement["Action"]):
            assert "*" not in action, f"{where}: {action}"
        if statement["Resource"] == "*":  # log delivery, which knows no resources
            assert all(action.startswith("logs:") for action in many(statement["Action"])), where


def test_no_role_is_given_a_ready_made_policy_but_for_logs(resources: Resources) -> None:
    logging = ("AWSLambdaBasicExecutionRole", "AmazonAPIGatewayPushToCloudWatchLogs")
    for name, role in of_type(resources, "AWS::IAM::Role"):
        for policy in role.get("ManagedPolicyArns", []):
            assert json.dumps(policy).rstrip('"}').endswith(logging), f"{name}: {policy}"


def test_collect_reaches_transit_keys_only(resources: Resources) -> None:
    (on_keys,) = [
        statement
        for where, statement in all_statements(resources)
        if where == "CollectFunctionRole" and "KeysTable" in json.dumps(statement["Resource"])
    ]
    assert on_keys["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["T#*"]}}


def test_only_sweep_may_delete_a_key(resources: Resources) -> None:
    """The fence is the key: whoever deletes the item lifts the fence."""
    may = {
        where
        for where, statement in all_statements(resources)
        if "KeysTable" in json.dumps(statement["Resource"])
        and {"dynamodb:DeleteItem", "dynamodb:BatchWriteItem", "dynamodb:PutItem"}
        & set(many(statement["Action"]))
    }
    assert may == {"SweepFunctionRole"}


def test_every_queue_hands_on_what_fails_or_is_where_it_goes(resources: Resources) -> None:
    queues = dict(of_type(resources, "AWS::SQS::Queue"))
    targets = {
        queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
        for queue in queues.values()
        if "RedrivePolicy" in queue
    } | {
        mapping["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"][0]
        for _, mapping in of_type(resources, "AWS::Lambda::EventSourceMapping")
        if "DestinationConfig" in mapping
    }
    for name, queue in queues.items():
        assert ("RedrivePolicy" in queue) != (name in targets), name
        assert queue["SqsManagedSseEnabled"] is True


def test_every_dead_letter_queue_raises_an_alarm(resources: Resources) -> None:
    watched = {
        alarm["Dimensions"][0]["Value"]["Fn::GetAtt"][0]
        for _, alarm in of_type(resources, "AWS::CloudWatch::Alarm")
        if alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
    }
    queues = of_type(resources, "AWS::SQS::Queue")
    assert watched == {name for name, queue in queues if "RedrivePolicy" not in queue}


def test_a_partition_does_not_get_hot_without_an_alarm(resources: Resources) -> None:
    alarmed = {
        alarm["Dimensions"][0]["Value"]["Ref"]
        for _, alarm in of_type(resources, "AWS::CloudWatch::Alarm")
        if (alarm["Namespace"], alarm["MetricName"]) == ("AWS/DynamoDB", "WriteThrottleEvents")
    }
    assert alarmed == {"KeysTable", "GraphTable", "EventsTable"}, "where a key is somebody's"


def test_every_function_raises_an_alarm_when_it_fails(resources: Resources) -> None:
    watched = {
        alarm["Dimensions"][0]["Value"]["Ref"]
        for _, alarm in of_type(resources, "AWS::CloudWatch::Alarm")
        if (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Lambda", "Errors")
    }
    assert watched == {name for name, _ in of_type(resources, "AWS::Lambda::Function")}


def test_every_queue_trigger_reports_single_failures(resources: Resources) -> None:
    for name, mapping in of_type(resources, "AWS::Lambda::EventSourceMapping"):
        if "Queue" in mapping["EventSourceArn"]["Fn::GetAtt"][0]:
            assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"], name


def test_times_that_depend_on_each_other_agree() -> None:
    for times in lint_template.template()["Mappings"]["Times"].values():
        assert times["Visibility"] == 6 * times["Unify"]
        assert int(times["Settle"]) > times["Unify"]
        assert isinstance(times["Settle"], str)  # LocalStack substitutes nothing else


def test_every_store_names_its_erasure_step_or_why_it_has_none(
    sources: Resources, machines: dict[str, dict[str, Any]]
) -> None:
    steps = {event_of(task)["step"] for machine in machines.values() for task in tasks(machine)} | {
        "shred"
    }
    assert steps >= STEPS
    for name, resource in sources.items():
        if resource["Type"] in STORES:
            erasure = resource["Metadata"]["CandorErasure"]
            assert erasure.keys() in ({"step"}, {"none"}), name
            assert erasure.get("step", "shred") in STEPS, name
            assert len(erasure.get("none", "a reason in words")) >= len("a reason"), name


def test_every_table_ends_its_items_and_can_be_protected(resources: Resources) -> None:
    tables = of_type(resources, "AWS::DynamoDB::Table")
    assert len(list(tables)) == 7
    for name, table in of_type(resources, "AWS::DynamoDB::Table"):
        assert table["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}, name
        assert table["DeletionProtectionEnabled"] == {"Ref": "DeletionProtection"}, name
        assert table["BillingMode"] == "PAY_PER_REQUEST", name


def test_no_bucket_is_public(resources: Resources) -> None:
    for name, bucket in of_type(resources, "AWS::S3::Bucket"):
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}, name


def test_what_opens_and_proves_the_data_outlives_the_stack(sources: Resources) -> None:
    kept = {name for name, one in sources.items() if one.get("DeletionPolicy") == "Retain"}
    assert kept >= {"MasterSecret", "HmacSecret", "SigningKey", "AuditBucket"}


def test_every_task_has_a_limit_and_a_way_out(machine: dict[str, Any]) -> None:
    found = list(tasks(machine))
    assert {event_of(task)["step"] for task in found} == {
        *("plan", "graph", "events", "queues", "destinations", "tell"),
        *("verify", "certify", "fail"),
    }
    for task in found:
        if event_of(task)["step"] == "tell":  # its time is the policy's
            assert task["TimeoutSecondsPath"] == "$.seconds"
        else:
            assert task["TimeoutSeconds"] > 300  # the function's own limit comes first
        assert task["Retry"]
        # What fails last is not caught: its error is the execution's, which can be redriven.
        assert bool(task.get("Catch")) == (event_of(task)["step"] != "fail")


def test_an_execution_ends_in_a_task_so_that_it_can_be_redriven(machine: dict[str, Any]) -> None:
    """A redriven execution begins with the state that failed; a Fail state would fail again."""
    assert "Fail" not in {state["Type"] for state in states(machine)}
    last = machine["States"]["Report failure"]
    assert last["Retry"][0] == {"ErrorEquals": [ErasureFailed.__name__], "MaxAttempts": 0}
    assert last["Next"] == machine["StartAt"] == "Plan"


def test_tasks_are_told_the_request_and_nothing_else(machine: dict[str, Any]) -> None:
    for task in tasks(machine):
        told = event_of(task).keys() - {"step", "request.$"}
        more = {"tell": {"destination.$", "token.$"}, "fail": {"execution.$", "retries.$"}}
        assert told == more.get(event_of(task)["step"], set())


def test_no_state_hands_on_more_than_the_request_and_what_is_bounded(
    machine: dict[str, Any],
) -> None:
    """However many people, rows and objects a request has, an execution carries at most 256 KB."""
    kept = {state["ResultPath"] for state in states(machine) if "ResultPath" in state}
    assert kept == {None, "$.verified", "$.destinations"}
    for state in states(machine):
        if state["Type"] in ("Task", "Map", "Parallel"):
            assert "ResultPath" in state
        for way in state.get("Catch", []):
            assert way["ResultPath"] is None
    names = ["x" * 64] * MOST_DESTINATIONS
    most = [{"name": name, "seconds": 720 * 3600} for name in names]
    assert len(json.dumps({"request": "0" * 28, "destinations": {"names": most}})) < 8_000


def test_destinations_on_this_machine_are_for_the_local_configuration_alone() -> None:
    template = lint_template.template()
    given = template["Globals"]["Function"]["Environment"]["Variables"]["LOCAL_DESTINATIONS"]
    assert given == {"Fn::If": ["Local", {"Ref": "LocalDestinations"}, ""]}
    assert template["Conditions"]["Local"] == {"Fn::Equals": [{"Ref": "Configuration"}, "local"]}
    used = json.dumps(template["Resources"]) + json.dumps(template["Globals"])
    assert used.count("LocalDestinations") == 1
    config = tomllib.loads((lint_template.ROOT / "samconfig.toml").read_text())
    assert "LocalDestinations" not in json.dumps(config)


def test_only_a_clean_verification_leads_to_the_certificate(machine: dict[str, Any]) -> None:
    states = machine["States"]
    leading = {name for name, state in states.items() if state.get("Next") == "Certify"}
    assert leading == set()
    choices = [
        choice
        for state in states.values()
        for choice in state.get("Choices", [])
        if choice["Next"] == "Certify"
    ]
    assert choices == [{"Variable": "$.verified.clean", "BooleanEquals": True, "Next": "Certify"}]


def test_the_machines_use_only_what_every_emulator_runs(machines: dict[str, Any]) -> None:
    text = json.dumps(machines)
    for beyond in ("JSONata", '"And"', '"Or"', "&&", "||", "[?(", "ItemBatcher"):
        assert beyond not in text


def test_the_vacuum_is_told_a_run_and_a_place_and_fails_so_that_it_can_be_redriven(
    machines: dict[str, Any],
) -> None:
    told = {task["Parameters"]["step"]: task for task in tasks(machines["vacuum"])}
    assert told.keys() == {"begin", "vacuum", "end"}
    for task in told.values():
        assert task["Parameters"].keys() <= {"step", "run.$", "group.$", "after.$"}
        assert task["TimeoutSeconds"] > 300  # the function's own limit comes first
        assert task["Retry"]
    # What is caught has succeeded, and a redrive would not try it again.
    assert '"Catch"' not in json.dumps(machines["vacuum"])
    groups = machines["vacuum"]["States"]["Groups"]
    assert not {name for name in groups if name.startswith("Tolerated")}
    assert groups["Next"] == "End"


def test_a_machine_that_fails_raises_an_alarm(resources: Resources) -> None:
    watched = {
        alarm["Dimensions"][0]["Value"]["Ref"]
        for _, alarm in of_type(resources, "AWS::CloudWatch::Alarm")
        if (alarm["Namespace"], alarm["MetricName"]) == ("AWS/States", "ExecutionsFailed")
    }
    assert watched == {name for name, _ in of_type(resources, "AWS::StepFunctions::StateMachine")}


def test_the_archive_keeps_no_versions_that_the_vacuum_would_leave(resources: Resources) -> None:
    (archive,) = [one for name, one in of_type(resources, "AWS::S3::Bucket") if "Archive" in name]
    for keeping in ("VersioningConfiguration", "ObjectLockEnabled", "ReplicationConfiguration"):
        assert keeping not in archive


def of_type(resources: Resources, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """The names and properties of the resources of a type."""
    return [
        (name, resource.get("Properties", {}))
        for name, resource in resources.items()
        if resource["Type"] == kind
    ]


def all_statements(resources: Resources) -> Iterator[tuple[str, dict[str, Any]]]:
    """What roles are allowed, each with the role's name."""
    for name, role in of_type(resources, "AWS::IAM::Role"):
        for policy in role.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement


def many(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def tasks(machine: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (state for state in states(machine) if state["Type"] == "Task")


def event_of(task: dict[str, Any]) -> dict[str, Any]:
    """What a task's function is called with."""
    event: dict[str, Any] = task["Parameters"].get("Payload", task["Parameters"])
    return event


def states(machine: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every state of a machine, those in parallel branches and maps too."""
    for state in machine["States"].values():
        yield state
        inner = [state["ItemProcessor"]] if "ItemProcessor" in state else []
        for branch in state.get("Branches", inner):
            yield from states(branch)
