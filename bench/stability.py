"""
`python -m bench.stability`: how often a request keeps its route when it is said a little differently.

Pairs of texts that mean the same, by what differs between them (`stability_pairs.txt`, which also says how to write
others), are decided with the code that the server uses. As a control, each variant is held against another request's
text: without it, a file that sends everything one way would look stable. Nothing is sent, and nothing is tuned here.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.client import percentile
from proxy.cli.options import config_option, load_or_exit
from proxy.cli.prompt import PromptRouter
from proxy.errors import ProxyError
from proxy.routing.facts import CONVERSATION_HEADER

__all__ = ["PAIRS", "Change", "Figures", "Pair", "Seen", "changed_rules", "control", "figures", "main", "read_pairs"]

PAIRS = Path(__file__).with_name("stability_pairs.txt")
SEED = 0
_SHOWN = 100
"""Characters of a text in what people read; JSON has all."""

_VARIANT = re.compile(r"([a-z]+): (.*)")
_ESCAPE = re.compile(r"\\(.?)")
_WRITTEN = {"n": "\n", "t": "\t", "s": " ", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Pair:
    """One request, said twice."""

    kind: str
    """What differs between the two."""
    original: str
    variant: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What was decided for one text."""

    route: str
    model: str
    topic: str | None
    """The best one; None when routes.yaml has none."""
    scores: Mapping[str, float]
    """By topic."""
    complexity: float | None
    rules: Sequence[Mapping[str, Any]]
    """Every route in its order: `route`, `matched`, `why`."""

    @classmethod
    def of(cls, explained: Mapping[str, Any]) -> Self:
        """From a decision as it is explained."""
        topic = explained["topic"]
        return cls(
            explained["route"],
            explained["model"],
            None if topic is None else topic["name"],
            {score["name"]: score["score"] for score in explained["topics"]},
            explained["complexity"],
            explained["rules"],
        )


@dataclass(frozen=True, slots=True)
class Change:
    """By how much a score differs between the two texts of a pair, either way."""

    p50: float
    p95: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self | None:
        return cls(percentile(values, 50), percentile(values, 95)) if values else None


@dataclass(frozen=True, slots=True)
class Figures:
    """Some pairs. Shares are 0 to 1, None where there was nothing to measure."""

    pairs: int
    same_route: float | None
    same_model: float | None
    same_topic: float | None
    """The best topic is the same, whether it reaches its threshold or not."""
    topic_score_change: Change | None
    """Of the original's best topic."""
    complexity_change: Change | None


def read_pairs(path: Path) -> list[Pair]:
    """
    The pairs of a file; its form is told at the top of `stability_pairs.txt`.

    Raises:
        ValueError: a line is neither a text, nor a variant of the text above it, nor a comment.
    """
    pairs: list[Pair] = []
    original: str | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        place = f"{path}:{number}"
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("- "):
            original = _unescape(line[2:], place)
        elif (variant := _VARIANT.fullmatch(line)) is None:
            raise ValueError(f"{place}: expected '- TEXT', 'KIND: TEXT' or '# COMMENT', got {line!r}")
        elif original is None:
            raise ValueError(f"{place}: a variant without a text above it")
        else:
            pairs.append(Pair(variant[1], original, _unescape(variant[2], place)))
    return pairs


def _unescape(text: str, place: str) -> str:
    def one(found: re.Match[str]) -> str:
        if found[1] not in _WRITTEN:
            raise ValueError(f"{place}: unknown escape {found[0]!r}; a backslash is written '\\\\'")
        return _WRITTEN[found[1]]

    return _ESCAPE.sub(one, text)


def control(pairs: Sequence[Pair], seed: int = SEED) -> list[Pair]:
    """Each variant with another request's text; none when there is only one request."""
    draw = random.Random(seed)
    originals = list(dict.fromkeys(pair.original for pair in pairs))
    if len(originals) < 2:
        return []
    mixed: list[Pair] = []
    for pair in pairs:
        other = draw.choice(originals)
        while other == pair.original:
            other = draw.choice(originals)
        mixed.append(Pair("control", other, pair.variant))
    return mixed


def look(router: PromptRouter, texts: Iterable[str]) -> dict[str, Seen]:
    """
    What is decided for each text.

    Raises:
        ProxyError: no model can serve one of them.
    """
    # One conversation for all, or a split would give the two texts of a pair different models by lot.
    headers = {CONVERSATION_HEADER: "stability"}
    return {text: Seen.of(router.explain(text, headers=headers)) for text in dict.fromkeys(texts)}


def figures(pairs: Sequence[tuple[Seen, Seen]]) -> Figures:
    """Of some pairs, each the original's and the variant's decision."""
    with_topics = [(a, b) for a, b in pairs if a.topic is not None and b.topic is not None]
    score_changes = [abs(a.scores[a.topic] - b.scores[a.topic]) for a, b in with_topics if a.topic is not None]
    complexity_changes = [
        abs(a.complexity - b.complexity) for a, b in pairs if a.complexity is not None and b.complexity is not None
    ]
    return Figures(
        len(pairs),
        _share([a.route == b.route for a, b in pairs]),
        _share([a.model == b.model for a, b in pairs]),
        _share([a.topic == b.topic for a, b in with_topics]),
        Change.of(score_changes),
        Change.of(complexity_changes),
    )


def _share(held: Sequence[bool]) -> float | None:
    return sum(held) / len(held) if held else None


def changed_rules(original: Seen, variant: Seen) -> list[dict[str, str]]:
    """The routes that applied to one of the two texts and not to the other, with why for each text."""
    return [
        {"route": before["route"], "original": before["why"], "variant": after["why"]}
        for before, after in zip(original.rules, variant.rules, strict=True)
        if before["matched"] != after["matched"]
    ]


def measure(router: PromptRouter, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Everything that is printed, JSON-ready."""
    seen = look(router, (text for pair in pairs for text in (pair.original, pair.variant)))

    def of(some: Iterable[Pair]) -> dict[str, Any]:
        return asdict(figures([(seen[pair.original], seen[pair.variant]) for pair in some]))

    kinds = dict.fromkeys(pair.kind for pair in pairs)
    return {
        "kinds": {kind: of(pair for pair in pairs if pair.kind == kind) for kind in kinds},
        "total": of(pairs),
        "control": of(control(pairs)),
        "differ": [
            {
                **asdict(pair),
                "routes": [seen[pair.original].route, seen[pair.variant].route],
                "models": [seen[pair.original].model, seen[pair.variant].model],
                "rules": changed_rules(seen[pair.original], seen[pair.variant]),
            }
            for kind in kinds
            for pair in pairs
            if pair.kind == kind and seen[pair.original].route != seen[pair.variant].route
        ],
    }


def table(result: Mapping[str, Any]) -> Table:
    """A line for each kind, then all of them, then the control."""
    shown = Table("", "pairs", title="The same for both texts of a pair, and by how much the scores differ")
    for column in ("route %", "model %", "topic %", "topic p50", "p95", "complexity p50", "p95"):
        shown.add_column(column, justify="right")
    for name, row in {**result["kinds"], "all": result["total"], "control": result["control"]}.items():
        shares = (row["same_route"], row["same_model"], row["same_topic"])
        changes = [row[key] or {} for key in ("topic_score_change", "complexity_change")]
        shown.add_row(
            name,
            str(row["pairs"]),
            *("" if share is None else f"{100 * share:.1f}" for share in shares),
            *(f"{change[at]:.3f}" if at in change else "" for change in changes for at in ("p50", "p95")),
        )
    return shown


def _short(text: str) -> str:
    """On one line, as the file of pairs writes it; the middle is left out, since ends are what often differs."""
    line = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
    line = re.sub("^ +| +$", lambda spaces: "\\s" * len(spaces[0]), line)
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN * 2 // 3]} … {line[-_SHOWN // 3 :]}"


def show(console: Console, result: Mapping[str, Any]) -> None:
    """The table, then every pair whose route differs."""
    console.print(table(result))
    for pair in result["differ"]:
        before, after = pair["routes"]
        head = Text.assemble((pair["kind"], "bold"), "  ", (before, "cyan"), " → ", (after, "cyan"))
        lines = [head, Text(f"  - {_short(pair['original'])}"), Text(f"  + {_short(pair['variant'])}")]
        lines += [Text(f"    {rule['route']}: {rule['original']} → {rule['variant']}", "dim") for rule in pair["rules"]]
        console.print()
        console.print(Text("\n").join(lines), soft_wrap=True)


@click.command(help=__doc__)
@config_option
@click.option(
    "--pairs",
    "pairs_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=PAIRS,
    help="The file of pairs; the one beside this command when absent.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
def main(config_path: Path, pairs_path: Path, as_json: bool) -> None:
    config = load_or_exit(config_path)
    try:
        result = measure(PromptRouter(config), read_pairs(pairs_path))
    except (ValueError, ProxyError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False))
    else:
        show(Console(width=120), result)


if __name__ == "__main__":
    main()
