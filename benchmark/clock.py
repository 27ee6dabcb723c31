"""Where a run's wall time goes: every second counts once, for the innermost of the spans that it lies in."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

Span = Literal["training", "method", "prediction", "metrics", "waiting"]
"""What a second can go to: training of models that runs share, the plugin under test (with the checks of its process),
predictions on the scored images, scores; and waiting for another process that makes what is needed here."""

REST = "suite"
"""Name of what lies in no span: the suite's own time. It draws splits, hands out data, hashes, writes files."""


class Clock:
    """Sums up wall seconds by span, from its making on. For one thread: spans of two would count over each other."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._open: list[str] = [REST]
        self._since = now()
        self._seconds = dict.fromkeys((*get_args(Span), REST), 0.0)

    @contextmanager
    def span(self, name: Span) -> Iterator[None]:
        """Time in here counts for `name`, but for what spans inside take."""
        self._count()
        self._open.append(name)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def seconds(self) -> dict[str, float]:
        """Seconds by span until now."""
        self._count()
        return dict(self._seconds)

    def since(self, before: dict[str, float]) -> dict[str, float]:
        """What has gone by since `seconds()` was `before`, by span, and the `total`; rounded to milliseconds."""
        passed = {name: value - before[name] for name, value in self.seconds().items()}
        return {name: round(value, 3) for name, value in (passed | {"total": sum(passed.values())}).items()}

    def _count(self) -> None:
        now = self._now()
        self._seconds[self._open[-1]] += now - self._since
        self._since = now
