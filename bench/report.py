"""The table, the budgets of the design judged against it, and the same as JSON."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, fields

from rich import box
from rich.console import Console
from rich.table import Table

from bench.histogram import histogram, summary
from bench.load import Cell
from bench.results import Results, Row, Workload

__all__ = ["Verdict", "as_json", "print_report", "verdicts"]

ONE = Workload(stream=False, connections=1)
MANY = Workload(stream=False, connections=32)
STREAM_ONE = Workload(stream=True, connections=1)


def rate(cell: Cell) -> float:
    return cell.requests_per_s


def p50(cell: Cell) -> float:
    return cell.p50_s


def p99(cell: Cell) -> float:
    return cell.p99_s


def cpu(cell: Cell) -> float:
    return cell.cpu


def print_report(results: Results, console: Console, *, markdown: bool = False) -> None:
    style = box.MARKDOWN if markdown else box.SIMPLE_HEAD
    console.print(f"{results.machine}\n{results.settings}\n", highlight=False)
    console.print(measurements(results, style), processes(results, style), budgets(results, style), sep="\n")
    for title, series in decision_times(results).items():
        console.print(histogram(title, series, style))
    for row in results.rows:
        if row.problem:
            console.print(f"{row.name}: {row.problem}", highlight=False, markup=False)
        if row.decisions and row.decisions.reasons.get("overload"):
            console.print(f"{row.name}: some decisions were made without the text, so it looks faster than it is")


def measurements(results: Results, style: box.Box) -> Table:
    table = Table(box=style, title="medians over the rounds; latencies in ms")
    table.add_column("")
    for heading in ("req/s", "spread", "p50", "p99", "first byte p50", "p99", "core"):
        table.add_column(heading, justify="right")
    for workload in results.workloads:
        table.add_row(f"[bold]{workload}[/]")
        for row in results.rows:
            if row.cells.get(workload):
                table.add_row(f"  {row.name}", *figures(row, workload))
            elif row.problem:
                table.add_row(f"  {row.name}", "skipped")
        table.add_section()
    return table


def figures(row: Row, workload: Workload) -> list[str]:
    rates = [cell.requests_per_s for cell in row.cells[workload]]
    spread = f"{(max(rates) - min(rates)) / max(rates):.0%}" if len(rates) > 1 else ""
    used = row.median(workload, cpu)
    return [
        number(row.median(workload, rate), 1, ",.0f"),
        spread,
        number(row.median(workload, p50), 1000),
        number(row.median(workload, p99), 1000),
        number(row.first_byte(workload, 0), 1000),
        number(row.first_byte(workload, 1), 1000),
        f"{used:.0%}" if used is not None and row.key != "direct" else "",
    ]


def processes(results: Results, style: box.Box) -> Table:
    table = Table(box=style, title="after the run")
    for heading in ("", "version", "ready after s", "RSS MB", "PSS MB", "answers", "decision p50 ms"):
        table.add_column(heading, justify="left" if heading in ("", "version", "answers") else "right")
    for row in results.rows:
        if row.key == "direct" or row.memory is None:
            continue
        table.add_row(
            row.name,
            row.version,
            f"{row.ready_s:.1f}",
            f"{row.memory.rss:.0f}",
            f"{row.memory.pss:.0f}",
            "byte for byte" if row.untouched else "written anew",
            number(row.decisions.p50_s if row.decisions else None, 1000),
        )
    return table


def number(value: float | None, scale: float, form: str = ",.2f") -> str:
    return "" if value is None else format(value * scale, form)


@dataclass(frozen=True)
class Verdict:
    """One budget and the figure it is judged by; None where something was not measured."""

    what: str
    budget: str
    figure: str
    met: bool | None

    @property
    def word(self) -> str:
        return {True: "met", False: "NOT MET", None: "not measured"}[self.met]


def verdicts(results: Results) -> list[Verdict]:
    """The budgets of the design that one table can judge; the others are `bench.soak`'s."""
    peers = (("portkey", "Portkey", 2, 3), ("litellm", "LiteLLM", 15, 25), ("envoy", "Envoy", 0.15, 0.25))
    found = []
    for key, name, least, goal in peers:
        ratio = results.ratio("rule", key, MANY, rate)
        figure = "" if ratio is None else f"{ratio:.2f}x{' (goal reached)' if ratio >= goal else ''}"
        met = None if ratio is None else ratio >= least
        found.append(Verdict(f"rule only, {MANY}, against {name}", f"at least {least}x, goal {goal}x", figure, met))
    for key, name in (("portkey", "Portkey"), ("litellm", "LiteLLM"), ("envoy", "Envoy")):
        for row in ("cached", "new"):
            ratio = results.ratio(row, key, MANY, rate)
            what = f"topic, {row} text, {MANY}, against {name}"
            found.append(Verdict(what, "for comparison", "" if ratio is None else f"{ratio:.2f}x", None))
    ours, theirs = (added(results, key) for key in ("rule", "envoy"))
    ratio = ours / theirs if ours is not None and theirs else None
    figure = "" if ratio is None else f"{ratio:.2f}x ({number(ours, 1000)} against {number(theirs, 1000)} ms)"
    found.append(
        Verdict(f"added p50, {ONE}, against Envoy", "at most 2x", figure, None if ratio is None else ratio <= 2)
    )
    new, cached, rule = (results.row(key) for key in ("new", "cached", "rule"))
    taken = new.decisions if new else None
    for what, bare_s, budget in (
        ("paced alike", taken.bare_s if taken else [], "at most 1.3x"),
        ("back to back", taken.bare_at_once_s if taken else [], "for comparison"),
    ):
        ratio = taken.ratio(bare_s) if taken else None
        figure = ""
        if taken is not None and ratio is not None:
            figure = f"{ratio:.2f}x ({number(taken.p50_s, 1000)} against {number(middle(bare_s), 1000)} ms)"
        met = None if ratio is None or budget == "for comparison" else ratio <= 1.3
        found.append(Verdict(f"decision p50 on a new text, against bare ONNX runs {what}", budget, figure, met))
    for name, row_ in (("rule only", rule), ("cached text", cached)):
        p50_s = row_.decisions.p50_s if row_ and row_.decisions else None
        met = None if p50_s is None else p50_s <= 0.0003
        found.append(
            Verdict(f"decision p50 without the embedding, {name}", "at most 0.3 ms", f"{number(p50_s, 1000)} ms", met)
        )
    first = [row_.first_byte(STREAM_ONE, 0) if row_ else None for row_ in (rule, results.row("direct"))]
    later = first[0] - first[1] if first[0] is not None and first[1] is not None else None
    met = None if later is None else later <= 0.001
    found.append(
        Verdict(f"first byte p50 after direct's, {STREAM_ONE}", "at most 1 ms", f"{number(later, 1000)} ms", met)
    )
    for row_ in (rule, new):
        rss = row_.memory.rss if row_ and row_.memory else None
        name = row_.name if row_ else "Pointsman"
        met = None if rss is None else rss <= 250
        found.append(Verdict(f"memory after the run, {name}", "at most 250 MB", f"{number(rss, 1, '.0f')} MB", met))
    ready = rule.ready_s if rule and rule.memory else None
    met = None if ready is None else ready <= 3
    found.append(Verdict("ready after start", "at most 3 s", f"{number(ready, 1)} s", met))
    return found


def middle(rounds_s: list[list[float]]) -> float:
    return statistics.median(taken for taken_s in rounds_s for taken in taken_s)


def decision_times(results: Results) -> dict[str, dict[str, list[float]]]:
    """The histograms, by title and series: what the embedding takes, and what everything else takes."""
    cheap, dear = dict[str, list[float]](), dict[str, list[float]]()
    for key, name in (("rule", "rule only"), ("cached", "topic, cached text")):
        row = results.row(key)
        if row is not None and row.decisions:
            cheap[name] = row.decisions.times_s
    new = results.row("new")
    if new is not None and new.decisions:
        decisions = new.decisions
        if decisions.stages:
            cheap["topic, new text, less the embedding"] = [stages.others_s for stages in decisions.stages]
        dear["whole decision"] = decisions.times_s
        if decisions.bare_s:
            dear["embedding"] = [stages.embed_s for stages in decisions.stages]
            dear["bare ONNX run, paced alike"] = [taken for taken_s in decisions.bare_s for taken in taken_s]
    titles = {"decisions without the embedding, ms": cheap, "decisions on a new text, ms": dear}
    return {title: series for title, series in titles.items() if series}


def added(results: Results, key: str) -> float | None:
    """What a proxy adds to a single connection's p50, in seconds."""
    row, direct = results.row(key), results.row("direct")
    if row is None or direct is None:
        return None
    through, without = row.median(ONE, p50), direct.median(ONE, p50)
    return through - without if through is not None and without is not None else None


def budgets(results: Results, style: box.Box) -> Table:
    table = Table(box=style, title="budgets")
    for heading in ("", "budget", "figure", "verdict"):
        table.add_column(heading)
    for verdict in verdicts(results):
        if verdict.budget == "for comparison":
            if verdict.figure:
                table.add_row(verdict.what, verdict.budget, verdict.figure, "")
            continue
        figure = verdict.figure if verdict.met is not None else ""
        colour = {True: "green", False: "red", None: "dim"}[verdict.met]
        table.add_row(verdict.what, verdict.budget, figure, f"[{colour}]{verdict.word}[/]")
    return table


def as_json(results: Results) -> dict[str, object]:
    """Everything, every round, in seconds and requests per second."""
    rows = []
    for row in results.rows:
        # asdict() cannot copy a dict whose keys are dataclasses.
        plain = {field.name: getattr(row, field.name) for field in fields(row)}
        plain["memory"] = asdict(row.memory) if row.memory else None
        plain["decisions"] = asdict(row.decisions) if row.decisions else None
        plain["cells"] = {str(workload): [asdict(cell) for cell in cells] for workload, cells in row.cells.items()}
        plain["first_bytes"] = {str(workload): times for workload, times in row.first_bytes.items()}
        rows.append(plain)
    return {
        "machine": results.machine,
        "settings": results.settings,
        "decision_times": {
            title: {name: summary(times_s) for name, times_s in series.items()}
            for title, series in decision_times(results).items()
        },
        "rows": rows,
        "budgets": [asdict(verdict) | {"verdict": verdict.word} for verdict in verdicts(results)],
    }
