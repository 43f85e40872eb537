"""
A routes.yaml with as many topics as wanted: what people ask a company's assistant, made up from parts.

A topic is a thing and what is wanted of it (`cancel-insurance-policy`); an example puts that into one of several ways
to say it, with the circumstances and the manners of one person. Lengths vary from three words to fifty, so embedding
such a text takes as long as embedding a real one. The same numbers make the same file.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

__all__ = ["ACTS", "THINGS", "examples", "names", "routes_yaml"]

THINGS = (
    "insurance policy", "mobile contract", "parking permit", "library card", "gym membership", "train ticket",
    "hotel room", "savings account", "credit card", "tax return", "electricity bill", "driving licence", "passport",
    "rental car", "doctor's appointment", "school enrolment", "newspaper subscription", "washing machine", "laptop",
    "garden shed", "bicycle", "dinner reservation", "conference talk", "expense report", "holiday request", "payslip",
    "pension plan", "mortgage", "heating system", "water meter", "delivery address", "gift voucher", "loyalty points",
    "software licence", "data backup", "printer", "office badge", "meeting room", "travel visa", "vaccination record",
    "prescription", "dental check-up", "pet registration", "building permit", "waste collection", "concert ticket",
    "ferry crossing", "storage unit", "moving van", "birth certificate",
)  # fmt: skip

# Each with ways to say it; `{}` is the thing.
ACTS = {
    "cancel": (
        "cancel my {}", "I want to get out of my {}", "please end the {} as soon as that is possible",
        "how do I stop the {} without paying a fee", "the {} is no longer needed, call it off",
    ),
    "renew": (
        "renew my {}", "my {} runs out next month and I would like to keep it", "extend the {} for another year",
        "is it too late to prolong the {}", "what do I need to bring to have the {} renewed",
    ),
    "lost": (
        "I lost my {}", "somebody stole the papers of my {}", "I cannot find anything about my {} any more",
        "my {} has disappeared, what now", "report a lost {} and block it",
    ),
    "price": (
        "how much does a {} cost", "what is the price of the {} including tax", "is there a cheaper {}",
        "compare the prices of a {} in two cities", "why did the price of my {} go up again",
    ),
    "broken": (
        "my {} does not work", "something is wrong with the {}, it stopped this morning", "the {} shows error 47",
        "who repairs a {} on a weekend", "since the last update the {} is useless",
    ),
    "upgrade": (
        "I would like a better {}", "move me from the basic to the full {}", "what does the larger {} include",
        "can the {} be upgraded for the second half of the year", "add two more people to my {}",
    ),
    "transfer": (
        "put the {} in my wife's name", "transfer my {} to somebody else", "can my brother take over the {}",
        "I am moving abroad and want to hand on the {}", "change the owner of the {}",
    ),
    "apply": (
        "how do I get a {}", "apply for a new {}", "which documents do you need for a {}",
        "I have just moved here and need a {}", "fill in the form for a {} with me",
    ),
    "refund": (
        "I want my money back for the {}", "refund the {} please", "when will the refund for my {} arrive",
        "you charged the {} twice", "the {} was not what you had promised, I expect to be paid back",
    ),
    "status": (
        "what is the state of my {}", "has anything happened with the {} that I asked for in March",
        "where can I see how far my {} is", "I have been waiting for the {} for three weeks",
        "did my {} go through",
    ),
    "explain": (
        "explain the small print of the {}", "what exactly is covered by my {}", "I do not understand my {}",
        "tell me in plain words how a {} works", "what does the third line of the {} mean",
    ),
    "change": (
        "change the date of my {}", "correct my name on the {}", "I made a mistake in the {}, please put it right",
        "can I still alter the {}", "use another bank account for the {}",
    ),
    "complain": (
        "I want to complain about the {}", "this is the worst {} I ever had", "let me talk to whoever runs the {}",
        "nobody answers when I call about my {}", "I am very unhappy with how you treated my {}",
    ),
    "remind": (
        "remind me of my {} a week ahead", "send me a message when the {} is due", "when exactly is my {}",
        "put the {} into my calendar", "do not let me forget the {}",
    ),
    "proof": (
        "send me a confirmation of my {}", "I need a stamped copy of the {} for an authority",
        "print the {} as a PDF", "where do I download the receipt of the {}", "prove that the {} was paid",
    ),
    "share": (
        "can two people use one {}", "give my colleague access to the {}", "share the {} with my family",
        "let the neighbours use our {} in summer", "how many people may use the {}",
    ),
    "safety": (
        "is my {} safe from strangers", "who can see the data of my {}", "delete what you know about my {}",
        "somebody else seems to use my {}", "protect the {} with a second password",
    ),
    "recommend": (
        "which {} do you recommend", "find the best {} for a family of five", "is this {} any good",
        "I cannot decide on a {}", "what should I look for in a {}",
    ),
    "history": (
        "list every {} of the last two years", "show me the old {}", "when did I first get a {}",
        "how has my {} changed since 2021", "who changed my {} last",
    ),
    "pause": (
        "pause the {} during the summer", "freeze my {} for three months", "I am ill, can the {} wait",
        "put the {} on hold until I am back", "start the {} again next week",
    ),
}  # fmt: skip

BEFORE = ("", "", "", "Hi, ", "Good morning. ", "Quick question: ", "Sorry to bother you again, but ", "Dear team, ")
AFTER = (
    "", "", "", "?", ".", ", thanks!", ", please", ". It is rather urgent", " - my number is {number}",
    ". I called on {day} already, and was told to write to you instead because the line was busy",
    " before {day}", ". We are a household of {small} in {city} and have been customers for {number} days",
    ", I live in {city}",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "the weekend", "the holidays", "the first of the month")
CITIES = ("Lisbon", "Leeds", "Utrecht", "Turin", "Graz", "Malmö", "Kraków", "Nantes", "Cork", "Ghent", "Basel", "Porto")


def names(topics: int) -> Iterator[tuple[str, str, str]]:
    """
    Topics, each as its name, its act and its thing.

    Raises:
        ValueError: more than there are acts and things for.
    """
    if topics > len(ACTS) * len(THINGS):
        raise ValueError(f"{topics} topics; there are parts for {len(ACTS) * len(THINGS)}")
    # Neighbours differ in both, so that a few topics are as varied as many.
    for number in range(topics):
        thing = THINGS[number % len(THINGS)]
        act = tuple(ACTS)[(number + number // len(THINGS)) % len(ACTS)]
        yield f"{act}-{thing}".replace(" ", "-").replace("'", ""), act, thing


def examples(act: str, thing: str, count: int, random_source: random.Random) -> list[str]:
    """So many different texts of one topic."""
    found: dict[str, None] = {}
    while len(found) < count:
        said = random_source.choice(ACTS[act]).format(thing)
        circumstances = random_source.choice(AFTER).format(
            number=random_source.randrange(100, 100_000),
            small=random_source.randrange(2, 9),
            day=random_source.choice(DAYS),
            city=random_source.choice(CITIES),
        )
        found[random_source.choice(BEFORE) + said + circumstances] = None
    return list(found)


def routes_yaml(topics: int, count: int, *, upstream: int = 9, changed: int = 0, threads: int = 2) -> str:
    """
    The file; its upstream is a port on loopback.

    Args:
        topics: how many.
        count: examples of each.
        upstream: the port.
        changed: that many topics have one example that no other number has.
        threads: what the embedding may use.
    """
    random_source = random.Random(7)
    lines = [
        "version: 1",
        f'upstreams: {{model: {{base_url: "http://127.0.0.1:{upstream}/v1"}}}}',
        "models: {small: {target: {upstream: model, name: small}}}",
        "default: small",
        f"embedding: {{threads: {threads}}}",
        "topics:",
    ]
    routes = ["routes:"]
    for number, (name, act, thing) in enumerate(names(topics)):
        shown = examples(act, thing, count, random_source)
        if number < changed:
            shown[0] = f"{shown[0]}, version {changed} of this"
        lines += [f"  {name}:", "    examples:", *(f"      - {json.dumps(text)}" for text in shown)]
        routes.append(f"  - {{name: {name}, when: {{topic: {name}}}, use: small}}")
    return "\n".join([*lines, *routes]) + "\n"
