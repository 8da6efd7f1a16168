"""What every implementation of `Queue` does."""

import pytest

from tests.contract.conftest import Line


def test_what_is_sent_waits_and_is_counted(line: Line) -> None:
    assert line.queue.depth() == 0

    line.queue.send("a")
    line.queue.send('{"b": "é<&>"}')

    assert line.queue.depth() == 2
    assert sorted(line.take()) == ["a", '{"b": "é<&>"}']
    assert line.queue.depth() == 0


def test_a_body_of_one_mebibyte_is_taken_and_a_larger_one_refused(line: Line) -> None:
    line.queue.send("x" * 1024 * 1024)

    with pytest.raises(ValueError):
        line.queue.send("x" * (1024 * 1024 + 1))
    with pytest.raises(ValueError):
        line.queue.send("é" * 1024 * 1024)
    with pytest.raises(ValueError):
        line.queue.send("")
    assert line.queue.depth() == 1


def test_a_fifo_queue_keeps_order_and_takes_an_id_once(fifo_line: Line) -> None:
    for body, once in [("1", "a"), ("2", "b"), ("1", "a"), ("3", "c"), ("other", "b")]:
        fifo_line.queue.send(body, group="g", once=once)

    assert fifo_line.take() == ["1", "2", "3"]


def test_group_and_once_go_with_a_fifo_queue(line: Line, fifo_line: Line) -> None:
    with pytest.raises(ValueError):
        line.queue.send("a", group="g", once="1")
    with pytest.raises(ValueError):
        fifo_line.queue.send("a")
    with pytest.raises(ValueError):
        fifo_line.queue.send("a", group="g")
