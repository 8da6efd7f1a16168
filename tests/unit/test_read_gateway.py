"""No module reads a table past the one read gateway, `candor.stores.dynamo`, which obeys `due`.

And AWS's SDK stays where it belongs: the stores, the wiring, the command line.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "layers/candor/python/candor"
GATEWAY = PACKAGE / "stores/dynamo.py"

READS = frozenset(
    {
        "get_item",
        "batch_get_item",
        "transact_get_items",
        "execute_statement",
        "batch_execute_statement",
        "execute_transaction",
        "export_table_to_point_in_time",
    }
)
SHARED_NAMES = frozenset({"query", "scan"})
"""DynamoDB's client has them, and so has `Rows`, which goes by the name of `rows`."""


def modules() -> list[Path]:
    roots = (PACKAGE, ROOT / "functions", ROOT / "cli")
    return sorted(path for root in roots for path in root.rglob("*.py") if path != GATEWAY)


def reads(source: str) -> Iterator[str]:
    """What in a module's source reads, or could read, a table."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr=name) if name in READS:
                yield f"line {node.lineno}: .{name}"
            case ast.Constant(value=str(name)) if name in READS:
                yield f"line {node.lineno}: {name!r}"
            case ast.Call(func=ast.Attribute(value=receiver, attr=name)) if name in SHARED_NAMES:
                if _last_name(receiver).strip("_") != "rows":
                    yield f"line {node.lineno}: .{name}() of something that is not `rows`"
            case ast.Call(
                func=ast.Name(id="getattr") | ast.Attribute(attr="get_paginator"), args=arguments
            ):
                for argument in arguments:
                    if isinstance(argument, ast.Constant) and argument.value in SHARED_NAMES:
                        yield f"line {node.lineno}: {argument.value!r} by name"


def sdk_imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                imported = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), level=0):
                imported = [module]
            case _:
                continue
        for name in imported:
            if name.partition(".")[0] in {"boto3", "botocore", "s3transfer"}:
                yield f"line {node.lineno}: {name}"


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def test_no_module_reads_a_table_past_the_gateway() -> None:
    found = {str(path.relative_to(ROOT)): list(reads(path.read_text())) for path in modules()}

    assert {path: lines for path, lines in found.items() if lines} == {}


def test_the_sdk_is_imported_by_stores_wiring_and_command_line_only() -> None:
    allowed = (PACKAGE / "stores", PACKAGE / "wiring.py", ROOT / "cli")
    found = {
        str(path.relative_to(ROOT)): list(sdk_imports(path.read_text()))
        for path in modules()
        if not any(path.is_relative_to(place) for place in allowed)
    }

    assert {path: lines for path, lines in found.items() if lines} == {}


def test_the_gateway_itself_would_be_found() -> None:
    assert list(reads(GATEWAY.read_text()))
    assert list(sdk_imports(GATEWAY.read_text()))


@pytest.mark.parametrize(
    "source",
    [
        "client.get_item(TableName='t')",
        "read = self._client.batch_get_item",
        "getattr(client, 'get_item')(TableName='t')",
        "getattr(client, 'query')()",
        "client.query(TableName='t')",
        "dynamodb.scan()",
        "make('dynamodb').scan()",
        "client.get_paginator('scan').paginate()",
        "client.execute_statement(Statement=text)",
        "client.transact_get_items()",
    ],
)
def test_a_read_past_the_gateway_is_seen(source: str) -> None:
    assert list(reads(source))


@pytest.mark.parametrize(
    "source",
    [
        "rows.query('graph', 'P#1')",
        "world.rows.scan('keys')",
        "self._rows.query('events', idkey)",
        "urlsplit(url).query",
        "client.put_item(TableName='t')",
        "names = ['query', 'scan']",
    ],
)
def test_what_is_no_read_past_the_gateway_is_let_through(source: str) -> None:
    assert not list(reads(source))


@pytest.mark.parametrize(
    "source",
    ["import boto3", "import boto3.dynamodb.types as t", "from botocore.config import Config"],
)
def test_an_import_of_the_sdk_is_seen(source: str) -> None:
    assert list(sdk_imports(source))


def test_an_import_of_something_else_is_no_import_of_the_sdk() -> None:
    assert not list(sdk_imports("import json\nfrom candor.stores import clients"))
