"""Lints the template, its translation to plain CloudFormation, and the state machines.

cfn-lint misses errors in a SAM template that it finds in the translated one, so it reads both.
Run as `python -m tests.lint_template`; it answers what was found, and fails when that is anything.
"""

import json
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "template.yaml"
MACHINES = sorted((ROOT / "statemachines").glob("*.asl.json"))
TOOLS = Path(sys.executable).parent
SUBSTITUTED = {
    "EraseFunctionArn": "arn:aws:lambda:eu-central-1:123456789012:function:candor-erase",
    "SweepFunctionArn": "arn:aws:lambda:eu-central-1:123456789012:function:candor-sweep",
    "SettleSeconds": "31",
    "ArchiveBucket": "candor-archive",
    "RetellSeconds": "60",
}


def template() -> dict[str, Any]:
    """The SAM template, its short functions spelled out."""
    from samtranslator.yaml_helper import yaml_parse

    parsed: dict[str, Any] = yaml_parse(TEMPLATE.read_text())
    return parsed


@cache
def translation() -> dict[str, Any]:
    """What CloudFormation makes of the template."""
    from boto3 import Session
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    source = template()
    for resource in source["Resources"].values():
        properties = resource.get("Properties", {})
        for local in {"CodeUri", "ContentUri", "DefinitionUri"} & properties.keys():
            properties[local] = "s3://bucket/key"  # where `sam deploy` would have put it
    values = {name: str(parameter["Default"]) for name, parameter in source["Parameters"].items()}
    anywhere = Session(region_name="eu-central-1")
    translator = Translator({}, Parser(), boto_session=anywhere)
    translated: dict[str, Any] = translator.translate(source, values)
    return translated


def machine(path: Path) -> str:
    """A state machine as it is deployed, with its substitutions made."""
    return re.sub(r"\$\{(\w+)}", lambda match: SUBSTITUTED[match[1]], path.read_text())


def findings() -> str:
    """What cfn-lint and statelint say; nothing, when all is well."""
    with tempfile.TemporaryDirectory() as folder:
        translated = Path(folder, "translated.json")
        translated.write_text(json.dumps(translation(), indent=1))
        commands = [("cfn-lint", TEMPLATE), ("cfn-lint", translated)]
        for path in MACHINES:
            states = Path(folder, path.name)
            # statelint does not know InputType, without which AWS takes no reader of an object.
            states.write_text(machine(path).replace('"InputType": "JSON"', ""))
            commands.append(("statelint", states))
        return "".join(_said(*command) for command in commands)


def _said(tool: str, path: Path) -> str:
    done = subprocess.run(
        [TOOLS / tool, path], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode and not done.stdout + done.stderr:
        return f"{tool} failed on {path.name} and said nothing\n"
    return done.stdout + done.stderr


if __name__ == "__main__":
    said = findings()
    sys.stdout.write(said)
    sys.exit(1 if said else 0)
