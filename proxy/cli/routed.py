"""The reports on a whole routes.yaml as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from proxy.cli.policy_tables import KNOWN_BY, dollars, points, setting_cells, show_left_out, value, warn_of_few
from proxy.cli.showing import table


def show_rated_routes(console: Console, found: dict[str, Any]) -> None:
    """What it does on rated requests."""
    console.print(f"\n{found['rows']:,} requests")
    show_left_out(console, found["untold"])
    if found["not_rated"]:
        console.print(f"left out: {found['not_rated']:,}, on which one of the models compared was not rated")
    console.print()
    warn_of_few(console, found["rows"])
    ways = table("", "quality", "over best single", "over random mix", "USD per 1,000")
    mix = found["above_random_mix"]
    ways.add_row(
        "these routes",
        f"{found['quality']:.4f}",
        points(found["above_single"], found["above_single_interval"]),
        "-" if mix is None else points(mix, found["above_random_mix_interval"]),
        dollars(found["cost"]),
    )
    ways.add_row(f"{found['single']} alone", f"{found['single_quality']:.4f}", "", "", dollars(found["single_cost"]))
    console.print(ways)
    routes = table("route", "requests", "quality", f"{found['single']} alone", "USD per 1,000", "models")
    for each in found["routes"]:
        routes.add_row(
            each["route"],
            f"{each['rows']:,}",
            f"{each['quality']:.4f}",
            f"{each['single_quality']:.4f}",
            dollars(each["cost"]),
            _models(each["models"]),
        )
    console.print()
    console.print(routes)


def show_stored_routes(console: Console, found: dict[str, Any]) -> None:
    """What it would have done on stored decisions."""
    conversations = f"of {found['conversations']:,} conversations"
    console.print(f"\n{found['rows']:,} rated decisions {conversations} that were drawn, and can be decided anew")
    show_left_out(console, found["left_out"])
    show_left_out(console, found["untold"])
    if found["never_drawn"]:
        console.print(f"left out: {found['never_drawn']:,}, they go to a model that was never drawn there")
    decided = found["logged"]
    console.print(f"\nwhat was decided: {value(decided['quality'])}, USD {dollars(decided['cost'])} per 1,000\n")
    told = table(
        "route", "decisions", "doubly robust", "inverse prop.", "over decided", "USD per 1,000", "known by", "models"
    )
    told.add_row("all", f"{found['rows']:,}", *setting_cells(found), "")
    for each in found["routes"]:
        told.add_row(each["route"], f"{each['rows']:,}", *setting_cells(each), _models(each["models"]))
    console.print(told)
    console.print(KNOWN_BY)
    if found["explores"]:
        console.print("what it would explore is left out: told is what its policy takes, and what was decided explored")


def _models(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    return ", ".join(f"{name} {count / total:.0%}" for name, count in counts.items())
