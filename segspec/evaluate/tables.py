"""A report as Markdown for people who were not there, and as JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

from segspec.evaluate.metrics import Scores
from segspec.evaluate.report import (
    Report,
    format_share,
    list_class_rows,
    list_columns,
    list_confusion_cells,
    list_mean_row,
    list_total_columns,
    list_totals,
)


def as_markdown(report: Report) -> str:
    """The report as a Markdown page; figures are percentages."""
    totals = [[total.title, *map(format_share, total.values)] for total in list_totals(report)]
    means = [f"**{cell}**" for cell in list_mean_row(report)]
    confusion = [[f"{index} {name}", *list_confusion_cells(report, index)] for index, name in enumerate(report.names)]
    parts = [
        "# Test",
        _escape(report.source),
        *(f"> **Warning:** {_escape(warning.message)}. {_escape(warning.hint)}." for warning in report.warnings),
        _markdown_table(["%", *list_total_columns(report)], totals),
        "## Classes",
        _markdown_table(list_columns(report), list_class_rows(report), means),
        "## Confusion",
        "Rows are the truth, columns the prediction, figures per cent of the true class.",
        _markdown_table(["", *map(str, range(len(report.names)))], confusion),
    ]
    return "\n\n".join(parts) + "\n"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], last: Sequence[str] = ()) -> str:
    """A table whose first column is text and whose others are figures; `last` is Markdown already."""
    lines = [_markdown_row(map(_escape, head)), _markdown_row([":--", *["--:"] * (len(head) - 1)])]
    lines += [_markdown_row(map(_escape, row)) for row in rows]
    return "\n".join([*lines, _markdown_row(last)] if last else lines)


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escape(text: str) -> str:
    """Text without any meaning in Markdown."""
    return "".join("\\" + character if character in "\\`*_|<>[]#~" else character for character in text)


def as_json(report: Report) -> str:
    """The report as JSON: shares in 0..1, null where a score is not defined, one class or matrix row a line."""
    totals = list_totals(report)
    baseline = {"class": report.names[report.metrics.majority_class]}
    document = {
        "images": report.images,
        "pixels": report.metrics.total,
        "iteration": report.iteration,
        "weights": report.weights,
        "statistics": report.statistics,
        "views": report.views or "1 view",
        "totals": {total.key: _number(total.value) for total in totals},
        "baseline": baseline | {total.key: _number(total.baseline) for total in totals},
        "parts": [
            {"name": part.name} | {total.key: _number(total.parts[index]) for total in totals}
            for index, part in enumerate(report.parts)
        ],
        "warnings": [warning.message for warning in report.warnings],
        "classes": [_describe_class(report, index) for index in range(len(report.names))],
        "confusion_matrix": report.metrics.matrix.tolist(),
    }
    return "{\n" + ",\n".join(f"  {json.dumps(key)}: {_value(value)}" for key, value in document.items()) + "\n}\n"


def _describe_class(report: Report, index: int) -> dict[str, object]:
    metrics = report.metrics
    scores: dict[str, Scores] = {
        "iou": metrics.iou,
        "accuracy": metrics.accuracy,
        "precision": metrics.precision,
        "f1": metrics.f1,
    }
    if report.boundary is not None:
        scores["boundary_f1"] = report.boundary.per_class
    return {
        "name": report.names[index],
        **{key: _number(float(of_class[index])) for key, of_class in scores.items()},
        "pixels": int(metrics.truth[index]),
        "predicted_pixels": int(metrics.predicted[index]),
    }


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value


def _value(value: object) -> str:
    """A list of lists or objects gets a line for each; everything else one line."""
    if isinstance(value, list) and value and isinstance(value[0], list | dict):
        return "[\n" + ",\n".join(f"    {json.dumps(item)}" for item in value) + "\n  ]"
    return json.dumps(value)
