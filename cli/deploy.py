"""`sam build` and `sam deploy`, skipped when what is deployed is what would be."""

import hashlib
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cli.aws import AwsError, Clients, environment, explained
from cli.problem import Problem
from cli.screen import Screen
from cli.target import LOCAL, ROOT, Target, read_json, write_private

SOURCES = (
    "template.yaml",
    "samconfig.toml",
    "policy.yaml",
    "functions",
    "layers",
    "statemachines",
    "openapi.json",
    "cli/contradictions.py",
    "cli/docs.py",
    "cli/explanations.py",
    "cli/places.py",
    "cli/policy.py",
    "cli/stores.py",
)
HEALTHY = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"})
USELESS = frozenset({"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "REVIEW_IN_PROGRESS"})


class Deployment:
    """One target's stack: what is there, and bringing it to what the working tree says."""

    def __init__(self, target: Target, clients: Clients) -> None:
        self.target = target
        self.clients = clients
        self.stack_name = stack_name(target)
        self._record = target.local / f"deployed-{target.name}.json"
        self._log = target.local / f"deploy-{target.name}.log"

    def ensure(self, screen: Screen) -> dict[str, str]:
        """Builds and deploys if needed. Answers the stack's outputs. Raises Problem."""
        wanted = fingerprint(ROOT)
        stack = self.describe()
        record = read_json(self._record) or {}
        current = {"stack": stack and stack.get("StackId"), "hash": wanted}
        if stack and stack["StackStatus"] in HEALTHY and record == current:
            return outputs_of(stack)
        if stack and stack["StackStatus"] in USELESS and self.target.endpoint:
            self._delete(screen)
        self._record.unlink(missing_ok=True)
        self._sam(screen, "Building the functions and their layer", "build")
        self._sam(screen, "Deploying the stack", "deploy")
        stack = self.describe()
        if stack is None:
            raise Problem("The deployment ended without a stack.", self._see_log())
        record = {"stack": stack["StackId"], "hash": wanted}
        write_private(self._record, json.dumps(record))
        return outputs_of(stack)

    def forget(self) -> None:
        """The next `ensure` deploys, whatever the record says."""
        self._record.unlink(missing_ok=True)

    def describe(self) -> dict[str, Any] | None:
        """The stack as CloudFormation knows it, or None."""
        try:
            found = self.clients.cloudformation.describe_stacks(StackName=self.stack_name)
        except AwsError as error:
            if "does not exist" in str(error):
                return None
            raise explained(error, "Looking for the stack") from None
        # LocalStack lists former stacks of that name too.
        alive = (dict(one) for one in found["Stacks"] if one["StackStatus"] != "DELETE_COMPLETE")
        return next(alive, None)

    def _delete(self, screen: Screen) -> None:
        with screen.progress("Removing what a failed deployment left") as progress:
            self.clients.cloudformation.delete_stack(StackName=self.stack_name)
            deadline = time.monotonic() + 120
            while self.describe() is not None and time.monotonic() < deadline:
                progress.tick()
                time.sleep(0.5)

    def _sam(self, screen: Screen, doing: str, step: str) -> None:
        emulated = self.target.endpoint is not None
        sam = LOCAL / "sam-venv" / "bin" / "sam"
        if not sam.exists():
            raise Problem("The set-up is not complete: sam is missing.", "Run `make setup`.")
        command = [str(sam), step, "--config-env", self.target.config_env]
        command += ["--config-file", str(ROOT / "samconfig.toml")]
        built = self.target.local / f"sam-{self.target.name}" / "build"
        if step == "build":
            command += ["--build-dir", str(built)]
        else:
            command += ["--template-file", str(built / "template.yaml")]
        mode = "wb" if step == "build" else "ab"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with screen.progress(doing) as progress, self._log.open(mode) as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=sam_environment(self.target, dict(os.environ)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            try:
                while process.poll() is None:
                    progress.tick(self._so_far() if emulated and step == "deploy" else "")
                    time.sleep(0.2)
            except KeyboardInterrupt:
                process.terminate()
                process.wait()
                raise
        if process.returncode:
            said = reason_in_log(self._log.read_text(errors="replace"))
            raise Problem(
                f"{doing} failed: {self._refusals() or said}"
                if step == "deploy"
                else f"{doing} failed: {said}",
                self._see_log(),
            )

    def _so_far(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        done = sum("CREATE_COMPLETE" in line or "UPDATE_COMPLETE" in line for line in lines)
        return f"{done} resources" if done else ""

    def _refusals(self) -> str:
        """What CloudFormation says of the resources that failed by themselves."""
        try:
            events = self.clients.cloudformation.describe_stack_events(StackName=self.stack_name)
        except AwsError:
            return ""
        return "; ".join(list(reasons([dict(event) for event in events["StackEvents"]]))[:3])

    def _see_log(self) -> str:
        return f"Everything that sam said is in {os.path.relpath(self._log)}."


def reasons(events: list[dict[str, Any]]) -> Iterator[str]:
    """`resource: reason` of the last deployment's failures, oldest first. Events: newest first."""
    latest = []
    for event in events:
        latest.append(event)
        begins = event.get("ResourceStatus") in {"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"}
        if begins and event.get("ResourceType") == "AWS::CloudFormation::Stack":
            break
    for event in reversed(latest):
        status, why = str(event.get("ResourceStatus")), str(event.get("ResourceStatusReason", ""))
        own = event.get("ResourceType") != "AWS::CloudFormation::Stack"
        # Without a reason, or cancelled: it failed because another did.
        if status.endswith("_FAILED") and own and why and "cancelled" not in why.lower():
            yield f"{event.get('LogicalResourceId')}: {why}"


def reason_in_log(text: str) -> str:
    """The line of sam's output that says why it gave up."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith("Error:") or "Build Failed" in line:
            return line.removeprefix("Error:").strip()
    return lines[-1] if lines else "sam said nothing"


def sam_environment(target: Target, base: dict[str, str]) -> dict[str, str]:
    """What sam sees: no telemetry, its own files under `.local`, our Python for the layer."""
    tools = f"{Path(sys.executable).parent}{os.pathsep}{base.get('PATH', os.defpath)}"
    kept = {name: value for name, value in base.items() if name != "PYTHONPATH"}
    return environment(target.endpoint, kept) | {
        "PATH": tools,
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(target.local / "sam"),
        "CANDOR_LAYER": "local" if target.endpoint else "aws",
        "CANDOR_PYTHON": sys.executable,
    }


def stack_name(target: Target, root: Path = ROOT) -> str:
    """The stack's name in samconfig.toml, which alone decides it."""
    try:
        config = tomllib.loads((root / "samconfig.toml").read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Problem(f"samconfig.toml cannot be read: {error}") from None
    for environment_name in (target.config_env, "default"):
        section = config.get(environment_name, {})
        for command in ("deploy", "global"):
            name = section.get(command, {}).get("parameters", {}).get("stack_name")
            if name:
                return str(name)
    raise Problem(f"samconfig.toml names no stack for {target.config_env!r}.")


def fingerprint(root: Path) -> str:
    """A hash of everything that a deployment is made from, and of the Python that builds it."""
    digest = hashlib.sha256(sys.version.encode())
    for source in SOURCES:
        top = root / source
        files = sorted(top.rglob("*")) if top.is_dir() else [top]
        for file in files:
            built = "__pycache__" in file.parts or file.suffix == ".pyc"
            if file.is_file() and not built:
                digest.update(f"{file.relative_to(root)}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def outputs_of(stack: dict[str, Any]) -> dict[str, str]:
    return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}
