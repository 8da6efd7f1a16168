"""What a cold start costs, and what may not be in it.

Each function is imported in fresh processes, from a layer with its policy and its bytecode as the
build makes them, and makes one client. Its cost is told as a ratio to `import boto3` and making one
client, which no function here can do without, so that the ceiling means the same on any machine.

Timing decides nothing where it can be helped. Where it must, as here, it is made robust: what
counts is the CPU time of the process itself (waiting for others is none of it), from when the
interpreter has started; the runs of all programs alternate, so that a slow minute of the machine is
a slow minute for each; and what is compared is the median of the rounds' own ratios.
"""

import compileall
import json
import os
import py_compile
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli import policy

ROOT = Path(__file__).resolve().parent.parent.parent
ROUNDS = 5
CEILINGS = {
    "collect": 1.8,
    "unify": 2.0,
    "api": 2.5,
    "privacy": 2.5,
    "erase": 2.0,
    "archive": 2.0,
    "audit": 2.0,
    "sweep": 2.0,
}
ANYWHERE = {
    "aws_xray_sdk",
    "idna",
    "phonenumbers",
    "requests",
    "yaml",
    "aws_lambda_powertools.utilities.parser",
    "aws_lambda_powertools.utilities.data_classes",
    "aws_lambda_powertools.event_handler",
}
"""Modules that no function may load, with all below them."""
FORBIDDEN = dict.fromkeys(CEILINGS, ANYWHERE) | {
    name: ANYWHERE | {"pydantic", "pydantic_core"}
    for name in ("collect", "unify", "erase", "archive", "audit", "sweep")
}
BASE = """
import boto3
boto3.client("dynamodb")
"""
FUNCTION = """
import {name}_function
from candor.stores.clients import client
client("dynamodb")
if {with_policy}:
    {name}_function.wiring.policy
"""
MEASURED = """
import sys, time
sys.path[:0] = {path!r}
begin = time.process_time()
{program}
spent = time.process_time() - begin
import json
print(json.dumps([spent, sorted(sys.modules)]))
"""


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as the build leaves it: with the policy, and bytecode that is not checked."""
    built = tmp_path_factory.mktemp("layer") / "python"
    source = ROOT / "layers" / "candor" / "python" / "candor"
    shutil.copytree(source, built / "candor", ignore=shutil.ignore_patterns("__pycache__"))
    assert (
        policy.main(["compile", str(ROOT / "policy.yaml"), str(built / "candor/policy.json")]) == 0
    )
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    assert compileall.compile_dir(built, quiet=1, invalidation_mode=unchecked)
    return built


@pytest.fixture(scope="module")
def measured(layer: Path) -> dict[str, list[tuple[float, set[str]]]]:
    """Of every function, and of `base`: each round's CPU seconds and the modules that it loaded."""
    programs = {"base": BASE}
    for name in CEILINGS:
        with_policy = name != "archive"  # it stores sealed records, whatever the policy says
        programs[name] = FUNCTION.format(name=name, with_policy=with_policy)
    rounds: dict[str, list[tuple[float, set[str]]]] = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, program in programs.items():
            rounds[name].append(run(layer, name, program))
    return rounds


def run(layer: Path, name: str, program: str) -> tuple[float, set[str]]:
    """One fresh process: its CPU seconds for the program, and the modules in it afterwards."""
    path = [str(ROOT / "functions" / name), str(layer)]
    done = subprocess.run(
        [sys.executable, "-I", "-c", MEASURED.format(path=path, program=program)],
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "POWERTOOLS_SERVICE_NAME": name,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return answer[0], set(answer[1])


@pytest.mark.parametrize("name", CEILINGS)
def test_a_cold_start_stays_below_its_ceiling(
    measured: dict[str, list[tuple[float, set[str]]]], name: str
) -> None:
    pairs = zip(measured[name], measured["base"], strict=True)
    ratios = [spent / base for (spent, _), (base, _) in pairs]
    assert statistics.median(ratios) <= CEILINGS[name], ratios


@pytest.mark.parametrize("name", CEILINGS)
def test_no_function_loads_what_it_may_not(
    measured: dict[str, list[tuple[float, set[str]]]], name: str
) -> None:
    (_, modules), *_ = measured[name]
    assert f"{name}_function" in modules
    assert "boto3" in modules
    found = {
        module
        for module in modules
        for forbidden in FORBIDDEN[name]
        if module == forbidden or module.startswith(f"{forbidden}.")
    }
    assert found == set()
