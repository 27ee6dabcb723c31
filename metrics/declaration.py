"""How a metric says what it is: its name, range, unit, version, and which way is good."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, ParamSpec, Protocol, TypeVar, cast

Direction = Literal["higher", "lower", "retrain"]

Parameters = ParamSpec("Parameters")
Result_co = TypeVar("Result_co", covariant=True)


class Unresolved(Exception):
    """The sample cannot resolve this number; the message is the reason that the cell shows."""


@dataclass(frozen=True)
class MetricInfo:
    """All that a leaderboard has to know about a metric."""

    name: str
    """Key in records and CSV files; never reused for another meaning."""
    title: str
    direction: Direction
    """Which way is good; "retrain" means: the closer to the retrained reference, the better."""
    range: tuple[float, float]
    version: int
    """Raised whenever the same predictions give another value; versions are never mixed in a table."""
    description: str
    unit: str = "fraction"
    target: float | None = None
    """The value that is ideal even where no retrained reference exists, for example 0.5 for an attack's AUC."""


class Metric(Protocol[Parameters, Result_co]):
    """A function with its declaration attached."""

    info: MetricInfo

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result_co:
        """Compute the value."""
        ...


def metric(
    name: str,
    *,
    direction: Direction,
    range: tuple[float, float],
    version: int,
    title: str | None = None,
    unit: str = "fraction",
    target: float | None = None,
) -> Callable[[Callable[Parameters, Result_co]], Metric[Parameters, Result_co]]:
    """Declare a function as a metric: attaches `.info`, whose description is the first line of the docstring.

    Raises:
        ValueError: the function has no docstring.
    """

    def declare(function: Callable[Parameters, Result_co]) -> Metric[Parameters, Result_co]:
        if not function.__doc__:
            raise ValueError(f"metric {name!r} needs a docstring: its first line is the description")
        declared = cast("Metric[Parameters, Result_co]", function)
        declared.info = MetricInfo(
            name=name,
            title=title or name.replace("_", " "),
            direction=direction,
            range=range,
            version=version,
            description=function.__doc__.strip().splitlines()[0],
            unit=unit,
            target=target,
        )
        return declared

    return declare
