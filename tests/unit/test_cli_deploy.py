"""Deploying: when it is skipped, what sam gets to see, and what is said when it fails."""

from pathlib import Path
from typing import Any

import pytest

from cli.aws import environment
from cli.deploy import fingerprint, reason_in_log, reasons, sam_environment, stack_name
from cli.problem import Problem
from cli.target import Target


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("template.yaml", "samconfig.toml", "policy.yaml", "functions/collect/x.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    return tmp_path


def test_what_is_deployed_decides_whether_to_deploy(tree: Path) -> None:
    first = fingerprint(tree)
    assert fingerprint(tree) == first
    (tree / "functions" / "collect" / "__pycache__").mkdir()
    (tree / "functions" / "collect" / "__pycache__" / "x.pyc").write_text("bytecode")
    (tree / "README.md").write_text("words")
    assert fingerprint(tree) == first
    (tree / "functions" / "collect" / "x.py").write_text("two")
    second = fingerprint(tree)
    assert second != first
    (tree / "functions" / "collect" / "x.py").rename(tree / "functions" / "collect" / "y.py")
    assert fingerprint(tree) not in {first, second}


def event(resource: str, status: str, why: str = "", kind: str = "AWS::SQS::Queue") -> Any:
    return {
        "LogicalResourceId": resource,
        "ResourceType": kind,
        "ResourceStatus": status,
        "ResourceStatusReason": why,
    }


def test_the_cause_of_a_failed_deployment_is_told_and_its_consequences_are_not() -> None:
    stack = "AWS::CloudFormation::Stack"
    newest_first = [
        event("candor", "ROLLBACK_COMPLETE", kind=stack),
        event("Alarm", "CREATE_FAILED", "Resource creation cancelled"),
        event("Api", "CREATE_FAILED"),
        event("Queue", "CREATE_FAILED", "VisibilityTimeout must be at least 1"),
        event("Table", "CREATE_COMPLETE"),
        event("candor", "CREATE_IN_PROGRESS", kind=stack),
        event("Old", "CREATE_FAILED", "of a deployment long ago"),
    ]
    assert list(reasons(newest_first)) == ["Queue: VisibilityTimeout must be at least 1"]


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("Building\nBuild Failed\nError: Layer - make failed\n\n", "Layer - make failed"),
        ("something odd\n", "something odd"),
        ("", "sam said nothing"),
    ],
)
def test_the_reason_is_found_in_what_sam_said(log: str, reason: str) -> None:
    assert reason_in_log(log) == reason


def test_an_emulators_deployment_sees_nothing_of_the_callers_account(tmp_path: Path) -> None:
    mine = {
        "PATH": "/usr/bin",
        "HOME": "/home/me",
        "AWS_PROFILE": "work",
        "AWS_SESSION_TOKEN": "secret",
        "PYTHONPATH": "/odd",
        "HTTPS_PROXY": "http://proxy",
    }
    target = Target(tmp_path, "local", "http://127.0.0.1:4570", ours=False)
    seen = sam_environment(target, mine)
    assert seen["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4570"
    assert seen["AWS_CONFIG_FILE"] == seen["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"
    assert seen["SAM_CLI_TELEMETRY"] == "0"
    assert seen["__SAM_CLI_APP_DIR"].startswith(str(tmp_path))
    assert seen["CANDOR_LAYER"] == "local"
    assert "127.0.0.1" in seen["NO_PROXY"]
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "PYTHONPATH"} & set(seen)


def test_a_deployment_to_aws_uses_the_callers_credentials(tmp_path: Path) -> None:
    mine = {"AWS_PROFILE": "work"}
    seen = sam_environment(Target(tmp_path, "dev", None, ours=False), mine)
    assert seen["AWS_PROFILE"] == "work"
    assert seen["CANDOR_LAYER"] == "aws"
    assert "AWS_ENDPOINT_URL" not in seen
    assert environment(None, mine) == mine


def test_samconfig_alone_names_the_stack(tmp_path: Path) -> None:
    local = Target(tmp_path, "local", "http://127.0.0.1:4566", ours=True)
    assert stack_name(local) == "candor"
    assert stack_name(Target(tmp_path, "dev", None, ours=False)) == "candor-dev"
    with pytest.raises(Problem):
        stack_name(local, tmp_path)
