"""The build fails for a store of the template that says neither how it is erased nor why not."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli import places, stores
from cli.places import AnyTag
from tests.lint_template import MACHINES, ROOT, TEMPLATE

TEXT = TEMPLATE.read_text()
STEPS = [path.read_text() for path in MACHINES]
ALL = [
    name
    for name, resource in places.read(TEXT, AnyTag).value["Resources"].items()
    if re.search("Table$|Bucket$|Queue$|Dlq$", name) or resource["Type"] in stores.STORES
]
Annotation = dict[str, Any]


def annotated(name: str, change: Callable[[str], str]) -> str:
    """The template with a store's annotation changed, and the rest to the letter."""
    start = TEXT.index(f"\n  {name}:\n")
    head, store = TEXT[:start], TEXT[start:]
    written = re.search(r"\n    Metadata: \{CandorErasure: .*\}\n", store)
    assert written is not None
    return head + store[: written.start()] + change(written[0]) + store[written.end() :]


def test_every_store_of_the_template_is_found() -> None:
    assert len(ALL) == 17
    assert stores.check(TEXT, *STEPS) == []


@pytest.mark.parametrize("name", ALL)
def test_a_store_that_loses_its_annotation_is_found(name: str) -> None:
    (mistake,) = stores.check(annotated(name, lambda _: "\n"), *STEPS)

    assert mistake.path == f"Resources.{name}"
    assert mistake.line == TEXT[: TEXT.index(f"\n  {name}:\n")].count("\n") + 2
    assert "names no step of erasure" in mistake.message
    assert "certify, events, graph, queues, shred, vacuum" in mistake.suggestion


BROKEN = {
    "nothing": "{}",
    "null": "",
    "text": "shred",
    "both": "{step: graph, none: it is both of them}",
    "another key": "{steps: graph}",
    "a step that is none": "{step: grahp}",
    "a step that cleans nothing": "{step: verify}",
    "an empty step": "{step: }",
    "no reason": "{none: }",
    "a reason of one word": "{none: because}",
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("name", ALL)
def test_an_annotation_that_says_nothing_is_found(name: str, broken: str) -> None:
    text = f"\n    Metadata: {{CandorErasure: {BROKEN[broken]}}}\n"

    (mistake,) = stores.check(annotated(name, lambda _: text), *STEPS)

    assert mistake.path.startswith(f"Resources.{name}")


def test_a_step_that_no_machine_runs_cleans_nothing() -> None:
    texts = [text.replace('"step": "vacuum"', '"step": "vacuumed"') for text in STEPS]

    assert {one.path for one in stores.check(TEXT, *texts)} == {
        "Resources.ArchiveBucket.Metadata.CandorErasure.step"
    }


def test_a_new_store_of_each_type_needs_an_annotation() -> None:
    for type_ in stores.STORES:
        new = (
            f"Resources:\n  NewOne:\n    Type: {type_}\n    Properties: {{Name: !Sub '${{A}}-x'}}\n"
        )
        (mistake,) = stores.check(new, *STEPS)
        assert (mistake.path, mistake.line) == ("Resources.NewOne", 2)


@pytest.mark.parametrize("text", ["", "[]", "a: [", "Resources:", "Resources: {A: b}"])
def test_a_template_that_is_none_is_no_crash(text: str) -> None:
    assert isinstance(stores.check(text, *STEPS), list)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as far as its layer's build needs it, to be broken on purpose."""
    made = tmp_path_factory.mktemp("project")
    for name in ("cli", "statemachines", "layers"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, made / name, ignore=ignored)
    for name in ("template.yaml", "policy.yaml", "openapi.json"):
        shutil.copy(ROOT / name, made / name)
    (made / "wheels").mkdir()
    return made


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """What `sam build` runs for the layer, without its packages and bytecode."""
    made = [f"wheels={folder}/wheels", "compilers=", f"ARTIFACTS_DIR={folder}/out"]
    return subprocess.run(
        ["make", "-C", folder / "layers/candor", f"CANDOR_PYTHON={sys.executable}", *made],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )


def test_the_layers_own_build_runs_both_checks(folder: Path) -> None:
    assert build(folder).returncode == 0, build(folder).stderr
    assert (folder / "out/python/candor/policy.json").exists()

    (folder / "template.yaml").write_text(annotated("GraphTable", lambda _: "\n"))
    failed = build(folder)
    assert failed.returncode != 0
    assert "Resources.GraphTable: this store names no step of erasure" in failed.stderr

    (folder / "template.yaml").write_text(TEXT)
    policy = (folder / "policy.yaml").read_text()
    (folder / "policy.yaml").write_text(
        policy.replace(", erasure: shred, retention: account}", "}")
    )
    failed = build(folder)
    assert failed.returncode != 0
    assert "identifiers.user_id.erasure: `erasure` is missing" in failed.stderr
