"""Logs and metrics. Nothing personal enters: names are the catalogue's, errors lose their text.

An exception's message may quote what a person sent, so a fault is told by its type and place only.
"""

import os
import traceback
from collections.abc import Iterable

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from candor.ports import Unavailable
from candor.unification import Outcome


class Telemetry:
    """`tail` logs each event's outcome by itself, for `candor tail`."""

    def __init__(self, *, tail: bool = False) -> None:
        self._logger = Logger()
        self._namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "Candor")
        self._tail = tail

    def outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """What became of each event, where that is to be watched. `outcomes.count` counts it."""
        if self._tail:
            for one in outcomes:
                fields = {name: getattr(one, name) for name in Outcome.__slots__}
                fields["event_name"] = fields.pop("name")
                self._logger.info("outcome", extra=fields)

    def done(self, what: str, **counts: int) -> None:
        self._logger.info(what, extra=counts)

    def fault(self, error: Exception, **about: str) -> None:
        """Something failed that no sender can mend. `about` holds nothing personal."""
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames[-6:]]
        fields = {"error": type(error).__name__, "places": places, **about}
        if isinstance(error, Unavailable):  # the one text that is ours: an operation and a code
            fields["because"] = str(error)
        self._logger.error("fault", extra=fields)
        # Handlers answer for their faults, so Lambda's own count of errors stays at none.
        with single_metric("Faults", MetricUnit.Count, 1, namespace=self._namespace) as metric:
            metric.add_dimension("functions", "all")
