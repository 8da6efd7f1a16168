"""The layer as it goes to Lambda, built for it on whatever machine this is."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import docs

ROOT = Path(__file__).resolve().parent.parent.parent
EM_AARCH64 = 183
LARGEST = 60 * 1024 * 1024
UNCHECKED_HASH = 0b01  # PEP 552: based on a hash, which is not compared with the source


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The built layer's `python` folder."""
    built = tmp_path_factory.mktemp("layer")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        ["make", "-C", str(ROOT / "layers" / "candor"), "build-Layer"],
        env=kept
        | {"ARTIFACTS_DIR": str(built), "CANDOR_LAYER": "aws", "CANDOR_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"The layer does not build:\n{done.stderr[-2000:]}")
    yield built / "python"
    shutil.rmtree(built)


def test_every_binary_is_for_the_runtimes_processor_and_version(layer: Path) -> None:
    binaries = [path for path in layer.rglob("*") if path.is_file() and is_elf(path)]
    assert len(binaries) >= 2  # pydantic's and cryptography's
    for binary in binaries:
        (processor,) = struct.unpack_from("<H", binary.read_bytes(), 18)
        assert processor == EM_AARCH64, binary.name
        tag = re.search(r"\.cpython-(\d+)|\.(abi3)\.", binary.name)
        assert tag is None or tag[1] == "313" or tag[2], binary.name
    assert not [path.name for path in layer.rglob("*.so") if path not in binaries]


def test_boto3_comes_from_the_runtime(layer: Path) -> None:
    names = {path.name for path in layer.iterdir()}
    assert {"candor", "pydantic", "aws_lambda_powertools", "cryptography"} <= names
    assert not names & {"boto3", "botocore", "s3transfer", "aws_xray_sdk", "yaml", "cli"}


def test_it_is_small(layer: Path) -> None:
    assert sum(path.stat().st_size for path in layer.rglob("*") if path.is_file()) <= LARGEST


def test_the_policy_is_in_it(layer: Path) -> None:
    assert (layer / "candor" / "policy.json").stat().st_size


def test_the_apis_description_is_in_it(layer: Path) -> None:
    document = (ROOT / "openapi.json").read_text()
    assert (layer / "candor" / "openapi.json").read_text() == document
    assert (layer / "candor" / "docs.html").read_text() == docs.page(json.loads(document))


def test_its_bytecode_is_the_runtimes_and_is_never_checked(layer: Path) -> None:
    compiled = list(layer.rglob("*.pyc"))
    if not compiled:
        assert not runtime_is_here(), "only the runtime's own Python can compile for it"
        return
    assert {path.suffixes[0] for path in compiled} == {".cpython-313"}
    for path in compiled:
        (flags,) = struct.unpack_from("<I", path.read_bytes(), 4)
        assert flags == UNCHECKED_HASH, path.name
    modules = {path.stem for path in (layer / "candor").glob("*.py")}
    cached = (layer / "candor" / "__pycache__").glob("*.pyc")
    assert modules == {path.name.partition(".")[0] for path in cached}


def runtime_is_here() -> bool:
    pyenv = (Path.home() / ".pyenv" / "versions").glob("3.13.*/bin/python")
    return sys.version_info[:2] == (3, 13) or bool(shutil.which("python3.13") or next(pyenv, None))


def is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"
