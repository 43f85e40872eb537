"""What simulated users ask: some twenty thousand prompts, each of one topic."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice, product
from typing import NamedTuple


class Prompt(NamedTuple):
    text: str
    topic: str


class _Kind(NamedTuple):
    """Every frame with every one of `this` and every one of `that` is a prompt."""

    this: tuple[str, ...]
    that: tuple[str, ...]
    frames: tuple[str, ...]

    def texts(self) -> Iterator[str]:
        for frame, this, that in product(self.frames, self.this, self.that):
            yield frame.format(this=this, that=that)


def _listed(words: str) -> tuple[str, ...]:
    return tuple(" ".join(word.split()) for word in words.split(","))


_KINDS = {
    "debugging": _Kind(
        this=_listed(
            """Python script, Go service, React component, Rust parser, bash script, Java class, Django view, Node
            server, C program, Kotlin app, PHP page, Ruby gem, Swift view, TypeScript module, Flask endpoint, Scala
            job"""
        ),
        that=_listed(
            """a null pointer exception, a memory leak, a race condition, an off-by-one error, a stack overflow, a
            deadlock, a segmentation fault, an import cycle, a timeout, a broken pipe, a type error, an infinite
            loop, a key error, an encoding error, a stale cache, a double free"""
        ),
        frames=(
            "My {this} ends with {that}; how do I find the cause?",
            "How do I debug {that} in a {this}?",
            "Since yesterday our {this} has {that}. What should I look at first?",
            "Fix {that} in this {this}",
            "The test suite of my {this} reports {that}, but only on the build server",
            "What could cause {that} in a {this} that worked last week?",
            "I get {that} as soon as the {this} handles two requests at once",
            "Write a test that reproduces {that} in our {this}",
            "Here is the traceback of a {this} with {that}, explain it line by line",
            "Which tool shows me where {that} in my {this} comes from?",
        ),
    ),
    "sql": _Kind(
        this=_listed(
            """orders, invoices, customers, refunds, shipments, subscriptions, page views, support tickets, payments,
            reservations, employees, deliveries, reviews, coupons, sensor readings, phone calls"""
        ),
        that=_listed(
            """per month, per country, per sales region, per product line, per age group, per warehouse, per weekday,
            per currency, per supplier, per payment method, per campaign, per shop, per team, per quarter, per
            postcode, per device"""
        ),
        frames=(
            "Write a SQL query that counts {this} {that}",
            "How do I select the newest of the {this} {that} in PostgreSQL?",
            "Which database index speeds up a report on {this} {that}?",
            "SELECT statement for the average value of {this} {that}, please",
            "Turn this spreadsheet of {this} {that} into a SQL view",
            "Use a window function to rank {this} {that}",
            "My GROUP BY over {this} {that} returns too many rows, correct the query",
            "Join the table of {this} with last year's and show the change {that}",
            "How can I find duplicate {this} {that} with one query?",
            "Write a SQL statement that deletes old {this} but keeps the last one {that}",
        ),
    ),
    "arithmetic": _Kind(
        this=_listed("24, 36, 45, 48, 54, 63, 72, 84, 96, 108, 120, 135, 144, 160, 175, 180"),
        that=_listed("3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 18, 21, 22"),
        frames=(
            "What is {this} times {that} minus 19?",
            "If {this} workers need {that} days for a roof, how long do nine workers need?",
            "A loan of {this} thousand at {that} percent: what is the interest after six years?",
            "A tank of {this} litres loses {that} litres an hour; when is it half empty?",
            "A train covers {this} kilometres in {that} hours. What is its speed in metres per second?",
            "Calculate {this} divided by {that} to three decimals",
            "The price of a coat was {this} and falls by {that} percent twice; what is it now?",
            "How many tiles of {that} square feet cover a hall of {this} square feet?",
            "Mix {this} grams of a ten percent solution with {that} grams of water: which concentration results?",
            "Solve for x: {this}x + {that} = 400",
        ),
    ),
    "logic": _Kind(
        this=_listed(
            """the square root of seven is irrational, there are infinitely many primes, every group of prime order is
            cyclic, a tree with n nodes has n minus one edges, the sum of two odd numbers is even, the halting
            problem is undecidable, the rationals are countable, the reals are uncountable, every bounded monotone
            sequence converges, the diagonals of a rhombus are perpendicular, a continuous function on a closed
            interval is bounded, every planar graph has a vertex of degree five or less, no set maps onto its power
            set, comparison sorting takes n log n steps, binary search always ends, every integer above one has a
            prime factor"""
        ),
        that=_listed(
            """by induction, by contradiction, step by step, constructively, rigorously, from the axioms alone, in two
            different ways, by a counting argument, in a formal style, without calculus, in full detail, by the
            pigeonhole principle, by a minimal counterexample, in a few lines, by cases, from first principles"""
        ),
        frames=(
            "Prove {that} that {this}",
            "Is it true that {this}? Argue {that}",
            "Show {that}: {this}",
            "Where is the gap in my proof {that} that {this}?",
            "Derive {that} the theorem that {this}",
            "Suppose somebody denies that {this}. Refute them {that}",
            "Formalise the claim that {this} and prove it {that}",
            "Which lemma do I need to show {that} that {this}?",
            "Deduce {that} that {this}, and name each rule of inference",
            "Reason {that}: does it follow that {this}?",
        ),
    ),
    "translation": _Kind(
        this=_listed(
            """this delivery note, this menu, this birthday card, this user manual, this weather report, this love
            letter, this road sign, this press release, this product label, this lullaby, this error message, this
            medical leaflet, this train announcement, this subtitle, this wedding toast, this school report"""
        ),
        that=_listed(
            """French, Spanish, German, Italian, Polish, Portuguese, Dutch, Swedish, Turkish, Greek, Czech, Finnish,
            Japanese, Korean, Hungarian, Romanian"""
        ),
        frames=(
            "Translate {this} into {that}",
            "How would one say {this} in {that}?",
            "Put {this} into natural {that}, not word for word",
            "I need {this} in {that} by noon",
            "Render {this} in formal {that}",
            "Is the {that} translation of {this} correct?",
            "Give me {this} in {that} with the tone of the original",
            "Translate {this} from {that} into English",
            "Which words of {this} have no equivalent in {that}?",
            "Localise {this} for readers of {that}",
        ),
    ),
    "slogans": _Kind(
        this=_listed(
            """a coffee shop, a bicycle workshop, an organic bakery, a yoga studio, a florist, a book club, a craft
            brewery, a language school, a dog salon, a travel agency, a barber, a toy shop, a climbing gym, a wine
            bar, a solar installer, a record label"""
        ),
        that=_listed(
            """for students, for young parents, for commuters, for tourists, for night owls, for early risers, for
            pensioners, for teenagers, for office workers, for newcomers, for gourmets, for beginners, for couples,
            for athletes, for neighbours, for dreamers"""
        ),
        frames=(
            "Come up with a slogan for {this} {that}",
            "Write a catchy advert for {this} {that}",
            "Name ideas for {this} {that}, funny ones please",
            "A tagline of five words that makes {this} sound perfect {that}",
            "Write a playful social media post about {this} {that}",
            "Invent a mascot and a motto for {this} {that}",
            "Make this flyer for {this} more appealing {that}",
            "Write a radio jingle for {this} {that}",
            "Headline for a poster: {this} {that}",
            "Brand story of {this} {that} in three sentences",
        ),
    ),
    "contracts": _Kind(
        this=_listed(
            """rental contract, employment contract, software licence, freelance agreement, non-disclosure agreement,
            purchase contract, franchise agreement, loan agreement, partnership agreement, insurance policy,
            maintenance contract, supply agreement, shareholder agreement, publishing contract, catering contract,
            settlement agreement"""
        ),
        that=_listed(
            """notice period, liability cap, penalty clause, jurisdiction clause, warranty, confidentiality duty,
            termination right, payment deadline, force majeure clause, non-compete clause, deposit, renewal clause,
            arbitration clause, indemnity, audit right, exclusivity clause"""
        ),
        frames=(
            "Is the {that} in our {this} enforceable?",
            "Draft the {that} of the {this} with my neighbour",
            "What happens legally if the other side ignores the {that} of a signed {this}?",
            "Review the {that} in this {this} and list the risks for the weaker party",
            "Can I cancel my {this} because its {that} is ambiguous?",
            "Reword the {that} of this {this} in the tenant's or client's favour",
            "Which law governs the {that} of this {this} across borders?",
            "Compare the {that} of this {this} with what courts usually accept",
            "Explain what the {that} in this {this} obliges us to do",
            "May a court set aside the {that} of our {this}?",
        ),
    ),
    "recipes": _Kind(
        this=_listed(
            """lentils, pumpkin, leftover rice, chickpeas, salmon, aubergines, sweet potatoes, spinach, mushrooms, red
            cabbage, stale bread, courgettes, chicken thighs, cauliflower, green apples, buckwheat"""
        ),
        that=_listed(
            """without an oven, in twenty minutes, for six guests, for a picnic, without dairy, on a small budget, for
            a toddler, in one pot, with few spices, for a cold evening, for a lunch box, without gluten, on a
            camping stove, for brunch, with fresh herbs, for a birthday"""
        ),
        frames=(
            "What should I cook with {this} {that}?",
            "Give me a recipe with {this} {that}",
            "Which side dish goes with {this} {that}?",
            "How long do I cook {this} {that}?",
            "A vegetarian dinner idea with {this} {that}",
            "How do I season {this} {that}?",
            "Can I prepare {this} the day before {that}?",
            "Shopping list for a meal with {this} {that}",
            "Which wine suits {this} {that}?",
            "How do I keep {this} from turning soggy {that}?",
        ),
    ),
}

TOPICS = tuple(_KINDS)


def draw_prompts(count: int, seed: int, *, backwards: bool = False) -> list[Prompt]:
    """
    So many prompts, the same for the same seed; none comes twice as long as there are others.

    Args:
        count: how many.
        seed: of their order.
        backwards: from the end of that order, so others than those from its beginning.
    """
    prompts = [Prompt(text, topic) for text, topic in _topics().items()]
    random.Random(seed).shuffle(prompts)  # noqa: S311 - no secret
    return list(islice(cycle(reversed(prompts) if backwards else prompts), count))


def topic_of(text: str) -> str | None:
    """The topic of one of these prompts; None for any other text."""
    return _topics().get(text.strip())


@cache
def _topics() -> dict[str, str]:
    return {text: topic for topic, kind in _KINDS.items() for text in kind.texts()}
