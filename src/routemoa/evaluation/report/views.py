"""What the page shows, as plain data: text, tables and charts for the templates to lay out.

Nothing here is markup, so that the templates escape everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from routemoa.evaluation.report.svg import Chart

__all__ = [
    "AblationsView",
    "AnswerView",
    "CalibrationView",
    "Cell",
    "Column",
    "ExampleView",
    "ExamplesView",
    "Figure",
    "LayersView",
    "MethodsView",
    "PageView",
    "QualityView",
    "Row",
    "RowGroup",
    "SavingsView",
    "Section",
    "SummaryView",
    "Table",
    "TaskView",
    "TasksView",
    "Tile",
    "TileGroup",
    "build_table",
]


class Cell(Struct, frozen=True):
    """A figure or a name in a table."""

    text: str
    note: str = ""
    """Below the text, in small print."""
    is_significant: bool = False
    """Set in bold."""


class Row(Struct, frozen=True):
    """A row of a table: its heading and one cell for each further column."""

    heading: Cell
    cells: tuple[Cell, ...]


class RowGroup(Struct, frozen=True):
    """Rows under a heading of their own, which may be empty."""

    heading: str
    rows: tuple[Row, ...]


class Column(Struct, frozen=True):
    """A column of a table; the first one heads the rows."""

    heading: str
    kind: Literal["heading", "number", "text"] = "number"


class Table(Struct, frozen=True):
    """A table with a caption."""

    caption: str
    columns: tuple[Column, ...]
    groups: tuple[RowGroup, ...]


class Figure(Struct, frozen=True):
    """A chart, where there is one, and the table of its figures."""

    chart: Chart | None
    table: Table


class Tile(Struct, frozen=True):
    """One large figure."""

    label: str
    value: str
    detail: str


class TileGroup(Struct, frozen=True):
    """Large figures about one comparison."""

    heading: str
    tiles: tuple[Tile, ...]


class SummaryView(Struct, frozen=True):
    """The answer in one sentence, and its main figures."""

    sentence: str
    verdict: str
    tile_groups: tuple[TileGroup, ...]
    notes: tuple[str, ...]
    """Why the figures may mislead, and that the run is not finished."""


class MethodsView(Struct, frozen=True):
    """The table of all methods."""

    explanation: str
    table: Table
    unknown: tuple[str, ...]
    """Why figures are unknown."""


class QualityView(Struct, frozen=True):
    """Accuracy against spending."""

    measures: tuple[str, ...]
    """Labels of what the charts show."""
    has_oracle: bool
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]


class SavingsView(Struct, frozen=True):
    """The spending that is saved relative to the dense mixture."""

    figure: Figure
    missing: tuple[str, ...]
    """Measures without a figure."""


class AnswerView(Struct, frozen=True):
    """One method's answer to an example question."""

    method: str
    result: Literal["right", "wrong", "failed"]
    failure: str | None
    text: str | None
    """None where the run did not keep it."""
    facts: str


class ExampleView(Struct, frozen=True):
    """A question that only one of two methods answered right."""

    summary: str
    source: str
    """Task and id."""
    query: str
    reference: str | None
    answers: tuple[AnswerView, AnswerView]


class ExamplesView(Struct, frozen=True):
    """Examples of one kind from one task."""

    kind: Literal["helped", "hurt"]
    count: int
    """Questions of this kind, of which `examples` are the first."""
    examples: tuple[ExampleView, ...]


class TaskView(Struct, frozen=True):
    """The examples of one task."""

    summary: str
    kinds: tuple[ExamplesView, ...]


class TasksView(Struct, frozen=True):
    """Differences to the best single model by task."""

    baseline: str
    helped: int
    hurt: int
    graded: int
    figure: Figure
    tasks: tuple[TaskView, ...]
    printed: int
    """Examples of a kind that are printed; the style sheet hides the others on paper."""


class CalibrationView(Struct, frozen=True):
    """Stated confidences against accuracy."""

    answers: int
    ece: float
    brier: float
    figure: Figure


class LayersView(Struct, frozen=True):
    """Layers and reasons to stop."""

    layers: Table | None
    stops: Table | None


class AblationsView(Struct, frozen=True):
    """The mixture without each of its parts."""

    figure: Figure
    not_run: tuple[str, ...]
    """Labels of the parts without an ablation in this run."""


class Section(Struct, frozen=True):
    """A section of the page: the navigation and its heading say the same."""

    id: str
    """The target of the navigation; also the name of its template."""
    heading: str


class PageView(Struct, frozen=True):
    """The whole page. A section without contents is None or empty, and is not among the sections."""

    title: str
    about: str
    version: str
    sections: tuple[Section, ...]
    """Those that have contents, in their order."""
    summary: SummaryView
    advice: tuple[str, ...]
    methods: MethodsView
    quality: QualityView | None
    savings: SavingsView | None
    tasks: TasksView | None
    calibration: CalibrationView | None
    models: tuple[Figure, ...]
    layers: LayersView | None
    ablations: AblationsView | None
    scale: tuple[Figure, ...]
    caveats: tuple[str, ...]


def build_table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Build a table of plain texts, whose first column heads the rows."""
    columns = (Column(headings[0], "heading"), *(Column(heading) for heading in headings[1:]))
    body = tuple(Row(Cell(row[0]), tuple(map(Cell, row[1:]))) for row in rows)
    return Table(caption, columns, (RowGroup("", body),))
