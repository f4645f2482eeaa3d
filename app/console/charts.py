"""Charts as SVG: where each bar and line goes, in hundredths of the picture; templates/charts.html draws it."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from itertools import pairwise

from msgspec import Struct

from app.console.pages import month_of

FULL = 100.0  # per cent: a picture is as wide as there is room, and its letters are not stretched
GAP = 0.22  # of the room of a bar, that is left free
TICKS = 6  # labels below, at most
STEPS = (1, 2, 4, 6, 8, 10)  # times a power of ten: where a scale ends; the half of it is a whole number, too


class Series(Struct, frozen=True):
    """What is shown together, in a colour of its own (`.series-1` and on in static/console.css)."""

    name: str
    values: Sequence[int]
    colour: int

    @property
    def total(self) -> int:
        return sum(self.values)


class Mark(Struct, frozen=True):
    """A part of a bar."""

    colour: int
    x: float
    y: float
    width: float
    height: float


class Line(Struct, frozen=True):
    """From a point to the next."""

    colour: int
    x1: float
    y1: float
    x2: float
    y2: float


class Tick(Struct, frozen=True):
    x: float
    text: str
    is_minor: bool  # left out where there is little room


class Column(Struct, frozen=True):
    """A point of time: what its bar says when it is pointed at, and its row of the table."""

    x: float
    width: float
    when: str
    values: Sequence[int]
    marks: Sequence[Mark]


class Chart(Struct, frozen=True):
    top: int  # where the scale ends
    series: Sequence[Series]
    columns: Sequence[Column]
    lines: Sequence[Line]
    ticks: Sequence[Tick]

    @property
    def is_empty(self) -> bool:
        return not any(series.total for series in self.series)


def bars(whens: Sequence[str], labels: Sequence[str], series: Sequence[Series]) -> Chart:
    """The series upon one another."""
    top = scale([sum(values) for values in zip(*(each.values for each in series), strict=True)])
    columns = []
    width = FULL / max(1, len(whens))
    for number, when in enumerate(whens):
        marks, below = [], 0.0
        for each in series:
            height = FULL * each.values[number] / top
            x, y = width * (number + GAP / 2), FULL - below - height
            marks.append(Mark(each.colour, _short(x), _short(y), _short(width * (1 - GAP)), _short(height)))
            below += height
        values = [each.values[number] for each in series]
        shown = [mark for mark in marks if mark.height > 0]
        columns.append(Column(_short(number * width), _short(width), when, values, shown))
    return Chart(top, series, columns, [], _ticks(labels))


def lines(whens: Sequence[str], labels: Sequence[str], series: Sequence[Series]) -> Chart:
    """The series each by itself."""
    top = scale([value for each in series for value in each.values])
    width = FULL / max(1, len(whens))
    drawn = []
    for each in series:
        points = [
            (_short(width * (number + 0.5)), _short(FULL - FULL * value / top))
            for number, value in enumerate(each.values)
        ]
        drawn += [Line(each.colour, *here, *there) for here, there in pairwise(points)]
    columns = [
        Column(_short(number * width), _short(width), when, [each.values[number] for each in series], [])
        for number, when in enumerate(whens)
    ]
    return Chart(top, series, columns, drawn, _ticks(labels))


def scale(values: Sequence[int]) -> int:
    """A round number that none of these is above."""
    most = max([4, *values])
    power = 1
    while True:
        for step in STEPS:
            if step * power >= most:
                return step * power
        power *= 10


def _ticks(labels: Sequence[str]) -> list[Tick]:
    every = max(1, -(-len(labels) // TICKS))
    width = FULL / max(1, len(labels))
    shown = range(every // 2, len(labels), every)
    return [
        Tick(_short(width * (index + 0.5)), labels[index], is_minor=bool(number % 2))
        for number, index in enumerate(shown)
    ]


def _short(percent: float) -> float:
    """As exact as a screen is."""
    return round(percent, 2)


def written(at: datetime, zone: tzinfo, bucket: str) -> tuple[str, str]:
    """When a point begins, by the reader's clocks: in full, and in short for below a chart."""
    local = at.astimezone(zone)
    month = month_of(local)
    if bucket == "month":
        return f"{month} {local.year}", month
    day = f"{local.day} {month}"
    return (f"{day}, {local:%H:%M}", f"{local:%H:%M}") if bucket == "hour" else (f"{day} {local.year}", day)
