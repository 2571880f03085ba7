"""A report in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from segspec.evaluate.metrics import Metrics
from segspec.evaluate.report import (
    Report,
    format_share,
    list_class_rows,
    list_columns,
    list_confusion_cells,
    list_confusions,
    list_mean_row,
    list_total_columns,
    list_totals,
)

_BAR = 20  # characters of a bar that means 100 %


def print_report(report: Report, console: Console) -> None:
    """Prints the table of classes, the shares of pixels, the confusion, and last the totals beside the baseline.

    Warnings are left to the caller, who knows where messages go.

    Args:
        report: what a test found.
        console: rich's; without a terminal it prints no colour.
    """
    tables = (_class_table(report), _share_table(report, console), _confusion_table(report, console))
    for table in (*tables, _total_table(report)):
        heading, table.title = str(table.title), None  # rich would wrap it to the width of the table
        console.print(Text(heading, style="bold"), soft_wrap=True)
        console.print(table)
    console.print(Text(report.source), soft_wrap=True)


def _table(title: str, head: Sequence[str]) -> Table:
    """An empty table whose first column is text and whose others are figures."""
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(Text(head[0]), overflow="fold", max_width=30)
    for name in head[1:]:
        table.add_column(Text(name), justify="right", overflow="fold")
    return table


def _add_row(table: Table, cells: Sequence[str], style: str = "") -> None:
    """Adds cells as they are: a class may be called `[bold]`."""
    table.add_row(*map(Text, cells), style=style)


def _class_table(report: Report) -> Table:
    table = _table("Classes, %", list_columns(report))
    for row, absent in zip(list_class_rows(report), report.metrics.absent, strict=True):
        _add_row(table, row, "dim" if absent else "")
    table.add_section()
    _add_row(table, list_mean_row(report), "bold")
    return table


def _share_table(report: Report, console: Console) -> Table:
    """What share of the pixels is, and is predicted as, each class."""
    block = "#" if console.options.ascii_only else "\N{FULL BLOCK}"
    metrics = report.metrics
    table = _table("Share of pixels, %", ["class", "true", "", "predicted", ""])
    table.columns[2].justify = table.columns[4].justify = "left"
    for index, name in enumerate(report.names):
        true, predicted = _shares(metrics, index)
        bars = [block * round(_BAR * share) for share in (true, predicted)]
        _add_row(table, [name, format_share(true), bars[0], format_share(predicted), bars[1]])
    return table


def _shares(metrics: Metrics, index: int) -> tuple[float, float]:
    total = max(metrics.total, 1)
    return float(metrics.truth[index] / total), float(metrics.predicted[index] / total)


def _confusion_table(report: Report, console: Console) -> Table:
    """The matrix where the console is wide enough, the worst confusions where it is not."""
    matrix = _matrix_table(report)
    fits = Measurement.get(console, console.options.update(max_width=10_000), matrix).maximum <= console.width
    return matrix if fits else _largest_confusions_table(report)


def _largest_confusions_table(report: Report) -> Table:
    table = _table("Largest confusions, % of the true class", ["true class", "%", "predicted as"])
    table.columns[2].justify = "left"
    for truth, prediction, share in list_confusions(report, 10):
        _add_row(table, [truth, format_share(share), prediction])
    return table


def _matrix_table(report: Report) -> Table:
    title = "Confusion: rows true, columns predicted, % of the true class"
    table = _table(title, ["", *map(str, range(len(report.names)))])
    table.columns[0].max_width = 18
    for index, name in enumerate(report.names):
        _add_row(table, [f"{index} {name}", *list_confusion_cells(report, index)])
    return table


def _total_table(report: Report) -> Table:
    table = _table("Totals, %", ["", *list_total_columns(report)])
    for total in list_totals(report):
        style = "bold" if total.key == "mean_iou" else ""
        _add_row(table, [total.title, *map(format_share, total.values)], style)
    return table
