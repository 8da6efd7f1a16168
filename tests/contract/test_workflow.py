"""What every implementation of `Workflow` does."""

from collections.abc import Callable

from tests.contract.conftest import Ending, Machine

Make = Callable[[Ending], Machine]


def test_an_execution_that_was_never_started_is_absent(machine: Make) -> None:
    assert machine("succeeded").workflow.state("r-0") == "absent"


def test_an_execution_succeeds(machine: Make) -> None:
    made = machine("succeeded")

    made.workflow.start("r-1", {"request": "r-1"})

    assert made.settled("r-1") == "succeeded"
    assert made.workflow.state("r-2") == "absent"


def test_an_execution_fails(machine: Make) -> None:
    made = machine("failed")

    made.workflow.start("r-1", {"request": "r-1"})

    assert made.settled("r-1") == "failed"


def test_an_execution_runs_until_it_is_stopped(machine: Make) -> None:
    made = machine("never")

    made.workflow.start("r-1", {"request": "r-1"})

    assert made.workflow.state("r-1") == "running"
    made.stop("r-1")
    assert made.settled("r-1") == "failed"


def test_starting_a_name_twice_is_starting_it_once(machine: Make) -> None:
    made = machine("never")

    made.workflow.start("r-1", {"request": "r-1"})
    made.workflow.start("r-1", {"request": "r-1"})
    made.workflow.start("r-1", {"request": "other"})
    made.stop("r-1")
    assert made.settled("r-1") == "failed"
    made.workflow.start("r-1", {"request": "r-1"})

    assert made.workflow.state("r-1") == "failed"


def test_a_task_that_nobody_waits_for_can_be_ended_any_number_of_times(machine: Make) -> None:
    made = machine("never")

    for _ in range(2):
        made.workflow.succeed("a token of nobody's")
        made.workflow.fail("a token of nobody's", "Unreached")
