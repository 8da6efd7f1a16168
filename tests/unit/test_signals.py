"""The package as a whole: what it needs, and what its page says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import candor.signals

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "signals.md"
LOADED = """
import json, sys
before = set(sys.modules)
sys.path.insert(0, {path!r})
import candor.signals
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_it_needs_nothing_but_the_standard_library_and_itself() -> None:
    program = LOADED.format(path=str(ROOT / "layers" / "candor" / "python"))
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert loaded <= sys.stdlib_module_names | {"candor"}
    mine = {name for name in json.loads(done.stdout) if name.startswith("candor.")}
    assert all(name.startswith("candor.signals") for name in mine)
    assert not loaded & {"asyncio", "http", "logging", "socket", "ssl", "urllib"}


def test_the_page_says_what_is_so() -> None:
    """Its Python runs, and every line that ends in a comment is what that comment says."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    told = 0
    for line in code.splitlines():
        expression, _, answer = line.partition("  # ")
        if not answer:
            exec(line, names)  # noqa: S102 # the page's own example
            continue
        assert eval(expression, names) == eval(answer, names), line  # noqa: S307 # the same
        told += 1
    assert told >= 6


def test_the_page_names_everything_public() -> None:
    text = PAGE.read_text()
    functions = [name for name in candor.signals.__all__ if name.islower()]
    assert functions
    for name in [*functions, "InvalidSignal"]:
        assert f"`{name}" in text
