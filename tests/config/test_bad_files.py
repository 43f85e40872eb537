"""
Bad files of every kind: what is told of each, which is everything, with its place.

Beside this table, each room's own: characters and encodings (test_source), YAML's syntax (test_syntax), trees
(test_tree), types (test_readers), keys (test_structs), names and reach (test_meaning), routes (test_actions),
variables (test_interpolate).
"""

from __future__ import annotations

import time

import pytest

from proxy.config.source import MAX_BYTES
from tests.config.files import BASE, add, problems, put


def route(*lines: str) -> str:
    """The base with one route, whose keys are on line 10 and on."""
    return add("routes:\n  - name: r\n" + "".join(f"    {line}\n" for line in lines))


def regex(pattern: str) -> str:
    """The base with one route on a regular expression."""
    return route("use: small", f"when: {{text: {{matches: '{pattern}'}}}}")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(BASE.encode("utf-16-le"), ["1:1 UTF-16; save the file as UTF-8"], id="utf-16-without-a-mark"),
        pytest.param(BASE.encode("utf-16-be"), ["1:1 UTF-16; save the file as UTF-8"], id="utf-16-of-the-other-order"),
        pytest.param(BASE.encode("utf-32"), ["1:1 UTF-32; save the file as UTF-8"], id="utf-32"),
        pytest.param(BASE.encode("utf-32-be"), ["1:1 UTF-32; save the file as UTF-8"], id="utf-32-without-a-mark"),
        pytest.param(
            b"\x7fELF\x02\x01\x01\x00\x00\x00",
            [
                "1:1 a control character (U+007F) cannot stand here; remove it, or write \\x7f in double quotes",
                "1:5 a control character (U+0002) cannot stand here; remove it, or write \\x02 in double quotes",
                "1:6 a control character (U+0001) cannot stand here; remove it, or write \\x01 in double quotes",
                "1:7 a control character (U+0001) cannot stand here; remove it, or write \\x01 in double quotes",
                "1:8 a control character (U+0000) cannot stand here; remove it, or write \\x00 in double quotes",
                "1:9 a control character (U+0000) cannot stand here; remove it, or write \\x00 in double quotes",
                "1:10 a control character (U+0000) cannot stand here; remove it, or write \\x00 in double quotes",
            ],
            id="an-executable",
        ),
        pytest.param(
            b"\x1f\x8b\x08\x00\x00\x00\x00\x00", ["1:2 not UTF-8 (byte 0x8b); save the file as UTF-8"], id="an-archive"
        ),
        pytest.param(
            add("topics: {menu: {examples: [caf\u00e9 \u20ac 3]}}\n").encode("cp1252"),
            ["8:31 not UTF-8 (byte 0xe9); save the file as UTF-8"],
            id="windows-1252",
        ),
        pytest.param(b"\xef\xbb\xbf", ["1:1 the file is empty; `pointsman init` writes a starter"], id="only-a-mark"),
        pytest.param("---\n", ["1:1 the file is empty; `pointsman init` writes a starter"], id="only-a-document-mark"),
        pytest.param(
            add("\x1a"),
            ["8:1 a control character (U+001A) cannot stand here; remove it, or write \\x1a in double quotes"],
            id="end-of-file-sign-of-dos",
        ),
        pytest.param(
            '{"level": "info", "msg": "started"}\n{"level": "info", "msg": "ready"}\n',
            ["2:1 nothing may stand after the end of the document"],
            id="a-log",
        ),
        pytest.param("model,price\nsmall,0.15\n", ["1:1 expected keys and values, such as `version: 1`"], id="a-table"),
        pytest.param(
            "# Routes\n\nThis file: says where requests go.\n",
            [
                "3:1 the key 'default' is missing",
                "3:1 the key 'models' is missing",
                "3:1 the key 'upstreams' is missing",
                "3:1 the key 'version' is missing",
                "3:1 ['This file']: unknown key; expected 'version', 'upstreams', 'models', 'default', 'baseline', 'rewrite', 'passthrough', 'policy', 'shadow', 'text', 'conversation', 'embedding' and 9 more",
            ],
            id="a-readme",
        ),
        pytest.param(
            "import os\n\nprint(os.environ)\n", ["1:1 expected keys and values, such as `version: 1`"], id="a-program"
        ),
    ],
)
def test_what_is_no_routes_file(text: str | bytes, lines: list[str]) -> None:
    """What was taken for a routes.yaml, and is something else or in another encoding."""
    assert problems(text) == lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            add("routes:\n  - name: a\n\t  use: small\n"),
            ["10:1 a tab cannot indent YAML; use spaces"],
            id="tab-under-a-dash",
        ),
        pytest.param(
            add("text: {turns:\t2,\tturn: 3}\n"),
            ["8:18 text.turn: unknown key; did you mean 'turns'?"],
            id="tab-in-braces-is-white-space-and-a-key-too-many-is-not",
        ),
        pytest.param(
            add('rewrite: ["\\ud83d\\ude00"]\n'),
            ["8:14 an escape that means no whole character; write the character itself"],
            id="half-a-character-by-escape",
        ),
        pytest.param(
            add('rewrite: ["\\UFFFFFFFF"]\n'),
            ["8:14 an escape that means no whole character; write the character itself"],
            id="no-character-by-escape",
        ),
        pytest.param(
            put("{target: {upstream: openai, name: gpt-4o}}", "{<<: *small}"),
            ["6:15 models.large['<<']: alias *small: no anchor has this name; put a pattern in quotes, like \"*\""],
            id="unknown-alias-merged",
        ),
        pytest.param(
            add("x: &x {turns: 2}\ntext: {<<: [*x, *y]}\n"),
            [
                "8:1 x: unknown key; expected 'version', 'upstreams', 'models', 'default', 'baseline', 'rewrite', 'passthrough', 'policy', 'shadow', 'text', 'conversation', 'embedding' and 9 more",
                "9:17 text['<<'][1]: alias *y: no anchor has this name; put a pattern in quotes, like \"*\"",
            ],
            id="unknown-alias-among-those-merged",
        ),
        pytest.param(
            add("text: &t {<<: *t}\n"),
            ["8:15 text['<<']: alias *t stands inside what it repeats"],
            id="merged-into-itself",
        ),
        pytest.param(
            add("text: {<<: [[a]]}\n"),
            ["8:13 text['<<']: '<<' takes a mapping or a list of mappings"],
            id="list-merged",
        ),
        pytest.param(
            add("text: {<<: }\n"), ["8:12 text['<<']: '<<' takes a mapping or a list of mappings"], id="nothing-merged"
        ),
        pytest.param(
            add(
                f"tests: [{{prompt: &long {'x' * 100_000}, route: default}}]\n" + "rewrite: [" + "*long, " * 300 + "]\n"
            ),
            ["9:1796 aliases repeat more than 100,000 values; write fewer of them"],
            id="aliases-of-a-long-text",
        ),
        pytest.param(
            add("rewrite: [!!binary aGk=, !!timestamp 2026-01-01, !!omap a]\n"),
            [
                "8:11 rewrite[0]: unknown YAML tag '!!binary'; remove it, or put the text in quotes",
                "8:26 rewrite[1]: unknown YAML tag '!!timestamp'; remove it, or put the text in quotes",
                "8:50 rewrite[2]: unknown YAML tag '!!omap'; remove it, or put the text in quotes",
            ],
            id="tag-of-yaml-1.1",
        ),
        pytest.param(
            add("!!python/tuple rewrite: []\n"),
            ["8:1 unknown YAML tag '!!python/tuple'; remove it, or put the text in quotes"],
            id="tag-on-a-key",
        ),
        pytest.param(
            add("text: {turns: 1, turns: 2, turns: 3}\nroutes:\n  - name: a\n    use: small\n    name: b\n"),
            [
                "8:18 text.turns: duplicate key; the first is on line 8",
                "8:28 text.turns: duplicate key; the first is on line 8",
                "12:5 routes[0].name: duplicate key; the first is on line 10",
            ],
            id="each-further-key-of-the-same-name",
        ),
        pytest.param(
            add("topics: {null: {examples: [a]}, ~: {examples: [b]}, no: {examples: [c]}}\n"),
            [
                "8:10 topics: this key is null; put it in quotes for the word",
                "8:33 topics: this key is ~; put it in quotes for the word",
            ],
            id="a-name-that-is-null",
        ),
        pytest.param(
            add("topics: {{a: b}: {examples: [c]}}\n"),
            ["8:10 topics: this key must be a name, not a list or mapping"],
            id="a-mapping-as-name",
        ),
        pytest.param(
            add("routes: [{name: a, use: small, when: " + "{not: " * 70 + "{user: a}" + "}" * 72 + "]\n"),
            ["8:404 nested deeper than 64 levels"],
            id="nested-conditions-too-deep",
        ),
    ],
)
def test_yaml(text: str, lines: list[str]) -> None:
    """Of YAML's own means: tabs, escapes, aliases, merges, tags, keys."""
    assert problems(text) == lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            add("topics: {a: {examples: [x], threshold: .nan}}\n"),
            ["8:40 topics.a.threshold: expected a number, found '.nan'"],
            id="not-a-number",
        ),
        pytest.param(
            add("routes: [{name: a, use: {split: {small: .inf, large: nan}}}]\n"),
            [
                "8:41 routes[0].use.split.small: expected a number, found '.inf'",
                "8:54 routes[0].use.split.large: expected a number, found 'nan'",
            ],
            id="infinite-weights",
        ),
        pytest.param(
            put(
                "  large: {target: {upstream: openai, name: gpt-4o}}",
                "  large:\n    target: {upstream: openai, name: gpt-4o}\n    context: 128,000",
            ),
            ["8:14 models.large.context: expected a whole number, found '128,000'; write 128000"],
            id="thousands",
        ),
        pytest.param(
            put("gpt-4o}}", "gpt-4o}, price: {input: '1,50', output: '1,250,000.5'}}"),
            [
                "6:68 models.large.price.input: expected a number, found '1,50'",
                "6:84 models.large.price.output: expected a number, found '1,250,000.5'; write 1250000.5",
            ],
            id="a-decimal-comma",
        ),
        pytest.param(
            put("gpt-4o}}", "gpt-4o}, context: 128k}"),
            ["6:62 models.large.context: expected a whole number, found '128k'; write 128000"],
            id="a-unit",
        ),
        pytest.param(
            put("gpt-4o}}", "gpt-4o}, context: 1e5}"),
            ["6:62 models.large.context: expected a whole number, found 1e5"],
            id="an-exponent",
        ),
        pytest.param(
            put("gpt-4o}}", "gpt-4o}, context: 0}"), ["6:62 models.large.context: 0 is below 1"], id="nothing-fits"
        ),
        pytest.param(
            add("server: {max_body: 2026-01-01}\n"),
            ["8:20 server.max_body: expected a whole number, found '2026-01-01'"],
            id="a-date",
        ),
        pytest.param(
            add("text: {turns: yes, max_tokens: true}\n"),
            [
                "8:15 text.turns: expected a whole number, found 'yes'",
                "8:32 text.max_tokens: expected a whole number, found 'true'",
            ],
            id="a-boolean",
        ),
        pytest.param(
            route("when: {tokens: {min: -5}, turns: {max: -1}}"),
            [
                "9:5 routes[0]: needs 'use' with a model, or 'block' for a refusal",
                "10:26 routes[0].when.tokens.min: -5 is below 0",
                "10:44 routes[0].when.turns.max: -1 is below 0",
            ],
            id="tokens-below-zero",
        ),
        pytest.param(
            route("when: {tokens: {min: few}, complexity: {max: high}}"),
            [
                "9:5 routes[0]: needs 'use' with a model, or 'block' for a refusal",
                "10:26 routes[0].when.tokens.min: expected a number, found 'few'",
                "10:50 routes[0].when.complexity.max: expected a number, found 'high'",
            ],
            id="limits-that-are-no-numbers",
        ),
        pytest.param(
            add(f"embedding: {{deadline: 1{'0' * 99}}}\n"),
            [
                "8:23 embedding.deadline: expected a duration such as 250ms, 3s, 10m or 1h, found '100000000000000000000000000000000000000000000000000000000...'"
            ],
            id="a-number-of-many-digits",
        ),
        pytest.param(
            put("name: gpt-4o}", "name: gpt-4o, weight: 1e308}, price: {input: 1e308, output: 0}")
            + "routes: [{name: a, use: {split: {small: 1e308, large: 2}}}]\n",
            [
                "6:60 models.large.target.weight: 1e308 is above 1000000",
                "6:83 models.large.price.input: 1e308 is outside 0 to 1000000",
                "8:41 routes[0].use.split.small: 1e308 is outside 0 to 1000000",
            ],
            id="sums-without-bounds",
        ),
    ],
)
def test_numbers(text: str, lines: list[str]) -> None:
    """Words, dates, units and what no number can be."""
    assert problems(text) == lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            put("https://api.openai.com/v1", "https://../v1"),
            [
                "3:22 upstreams.openai.base_url: expected a URL with the name or the address of a host, found 'https://../v1'"
            ],
            id="host-of-dots",
        ),
        pytest.param(
            put("https://api.openai.com/v1", "https://api..com/v1"),
            [
                "3:22 upstreams.openai.base_url: expected a URL with the name or the address of a host, found 'https://api..com/v1'"
            ],
            id="host-with-a-gap",
        ),
        pytest.param(
            put("api.openai.com", "a" * 64 + ".com"),
            [
                "3:22 upstreams.openai.base_url: expected a URL with the name or the address of a host, found 'https://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'"
            ],
            id="label-too-long",
        ),
        pytest.param(
            put("api.openai.com", "a." * 150 + "com"),
            [
                "3:22 upstreams.openai.base_url: expected a URL with the name or the address of a host, found 'https://a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a...'"
            ],
            id="host-too-long",
        ),
        pytest.param(
            put("api.openai.com", "\N{GRINNING FACE}.com"),
            [
                "3:22 upstreams.openai.base_url: expected a URL with the name or the address of a host, found 'https://😀.com/v1'"
            ],
            id="emoji-host",
        ),
        pytest.param(
            put("https://api.openai.com/v1", "http://256.0.0.1/v1"),
            [
                "3:22 upstreams.openai.base_url: expected a URL with the name or the address of a host, found 'http://256.0.0.1/v1'"
            ],
            id="no-such-address",
        ),
        pytest.param(
            put("https://api.openai.com/v1", "http://8000/v1"),
            [
                "3:22 upstreams.openai.base_url: expected a URL with the name or the address of a host, found 'http://8000/v1'"
            ],
            id="a-number-as-host",
        ),
        pytest.param(
            put("https://api.openai.com/v1", "'http://gpu-a,gpu-b/v1'"),
            [
                "3:22 upstreams.openai.base_url: expected a URL with the name or the address of a host, found 'http://gpu-a,gpu-b/v1'"
            ],
            id="host-with-a-comma",
        ),
        pytest.param(
            put("{base_url: https://api.openai.com/v1}", "{base_url: 'http://[::g]/v1'}"),
            ["3:22 upstreams.openai.base_url: not a URL; expected one such as https://api.openai.com/v1"],
            id="address-in-brackets",
        ),
    ],
)
def test_hosts(text: str, lines: list[str]) -> None:
    """With such a host every request would fail, or even the start."""
    assert problems(text) == lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            route("use: small", "when: always"),
            [
                "11:11 routes[0].when: expected a mapping with 'topic', 'complexity', 'model', 'header', 'tokens', 'turns', 'text', 'has', 'metadata', 'user', 'all', 'any' and 1 more, found text"
            ],
            id="a-word",
        ),
        pytest.param(
            route("use: small", "when: {key: vip}"),
            [
                "11:12 routes[0].when.key: unknown key; expected 'topic', 'complexity', 'model', 'header', 'tokens', 'turns', 'text', 'has', 'metadata', 'user', 'all', 'any' and 1 more"
            ],
            id="unknown",
        ),
        pytest.param(
            route("use: small", "when: {complexity: 0.7}"),
            ["11:24 routes[0].when.complexity: expected a mapping with 'min' or 'max', found text"],
            id="complexity-as-a-number",
        ),
        pytest.param(
            route("use: small", "when: {complexity: {min: 0.9, max: 0.1}}"),
            ["11:24 routes[0].when.complexity: 'min' is above 'max', so nothing is between them"],
            id="complexity-reversed",
        ),
        pytest.param(
            route("use: small", "when: {complexity: {}}"),
            ["11:24 routes[0].when.complexity: needs 'min', 'max' or both"],
            id="complexity-of-nothing",
        ),
        pytest.param(
            route("use: small", "when: {metadata: {}}"),
            ["11:22 routes[0].when.metadata: names no key; write one, or leave it out"],
            id="metadata-of-nothing",
        ),
        pytest.param(
            route("use: small", "when: {metadata: {'': a}}"),
            ["11:23 routes[0].when.metadata: this key is empty"],
            id="metadata-of-a-nameless-key",
        ),
        pytest.param(
            route("use: small", "when: {metadata: {tier: {is: gold}}}"),
            ["11:29 routes[0].when.metadata.tier: expected text or a list, found a mapping"],
            id="metadata-nested",
        ),
        pytest.param(
            route("use: small", "when: {metadata: [tier]}"),
            ["11:22 routes[0].when.metadata: expected a mapping of names to values, found a list"],
            id="metadata-list",
        ),
        pytest.param(
            route("use: small", "when: {metadata: {tier: [], team: ['']}}"),
            [
                "11:29 routes[0].when.metadata.tier: an empty list matches nothing; write a glob, or leave the key out",
                "11:40 routes[0].when.metadata.team[0]: an empty glob matches nothing",
            ],
            id="metadata-globs",
        ),
        pytest.param(
            route("use: small", "when: {user: ['', ' ']}"),
            [
                "11:19 routes[0].when.user[0]: an empty glob matches nothing",
                "11:23 routes[0].when.user[1]: an empty glob matches nothing",
            ],
            id="user-empty",
        ),
        pytest.param(
            route("use: small", "when: {user: {id: a}}"),
            ["11:18 routes[0].when.user: expected text or a list, found a mapping"],
            id="user-nested",
        ),
        pytest.param(
            route("use: small", "when: {has: []}"), ["11:17 routes[0].when.has: must not be empty"], id="has-empty"
        ),
        pytest.param(
            route("use: small", "when: {has: tools}"),
            [
                "11:17 routes[0].when.has: expected a list, found text; write it as [...] or as lines that begin with '- '"
            ],
            id="has-text",
        ),
        pytest.param(
            route("use: small", "when: {has: [vision]}"),
            [
                "11:18 routes[0].when.has[0]: expected 'tools', 'images', 'audio', 'files', 'json_schema' or 'stream', found 'vision'"
            ],
            id="has-a-capability",
        ),
        pytest.param(
            route("use: small", "when: {text: [refund]}"),
            ["11:18 routes[0].when.text: expected a mapping with 'contains' or 'matches', found a list"],
            id="text-list",
        ),
        pytest.param(
            route("use: small", "when: {text: {contains: [], matches: ''}}"),
            [
                "11:29 routes[0].when.text.contains: an empty list matches nothing; write a text, or leave the key out",
                "11:42 routes[0].when.text.matches: an empty regular expression is found in every text; leave it out",
            ],
            id="text-of-nothing",
        ),
        pytest.param(
            route("use: small", "when: {all: []}"), ["11:17 routes[0].when.all: must not be empty"], id="all-of-none"
        ),
        pytest.param(
            route("use: small", "when: {all: {user: a}}"),
            ["11:17 routes[0].when.all: expected a list, found a mapping"],
            id="all-of-a-mapping",
        ),
        pytest.param(
            route("use: small", "when: {any: [null, ~]}"),
            [
                "11:18 routes[0].when.any[0]: expected a mapping with 'topic', 'complexity', 'model', 'header', 'tokens', 'turns', 'text', 'has', 'metadata', 'user', 'all', 'any' and 1 more, found null",
                "11:24 routes[0].when.any[1]: expected a mapping with 'topic', 'complexity', 'model', 'header', 'tokens', 'turns', 'text', 'has', 'metadata', 'user', 'all', 'any' and 1 more, found null",
            ],
            id="any-of-null",
        ),
        pytest.param(
            route("use: small", "when: {not: [{user: a}]}"),
            [
                "11:17 routes[0].when.not: expected a mapping with 'topic', 'complexity', 'model', 'header', 'tokens', 'turns', 'text', 'has', 'metadata', 'user', 'all', 'any' and 1 more, found a list"
            ],
            id="not-a-list",
        ),
        pytest.param(
            route("use: small", "when: {not: {}}"),
            ["11:17 routes[0].when.not: has no conditions, so it always holds; leave it out"],
            id="not-anything",
        ),
        pytest.param(
            route("use: small", "when: {user: [a, b], not: {user: '*'}}"),
            ["11:31 routes[0].when.not: never holds: a request that meets the conditions beside it meets this one too"],
            id="not-what-it-asks-for",
        ),
        pytest.param(
            route("use: small", "when: {any: [{has: [tools, stream], not: {has: [tools]}}]}"),
            [
                "11:46 routes[0].when.any[0].not: never holds: a request that meets the conditions beside it meets this one too"
            ],
            id="not-what-a-part-asks-for",
        ),
        pytest.param(
            route("use: small", "when: {header: {'': a}}"),
            ["11:21 routes[0].when.header: this key is empty"],
            id="header-without-a-name",
        ),
    ],
)
def test_conditions(text: str, lines: list[str]) -> None:
    """Of every kind of condition: another type, nothing in it, what contradicts itself."""
    assert problems(text) == lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            regex(r"a(?=b)"),
            [
                "11:28 routes[0].when.text.matches: not a regular expression of RE2: invalid perl operator: '(?='; RE2 has no look-around; use two conditions, under 'all' and 'not'"
            ],
            id="look-ahead",
        ),
        pytest.param(
            regex(r"(?<!a)b"),
            [
                "11:28 routes[0].when.text.matches: not a regular expression of RE2: invalid perl operator: '(?<!'; RE2 has no look-around; use two conditions, under 'all' and 'not'"
            ],
            id="look-behind",
        ),
        pytest.param(
            regex(r"(\w)\1"),
            [
                "11:28 routes[0].when.text.matches: not a regular expression of RE2: invalid escape sequence: '\\\\1'; RE2 has no back-references"
            ],
            id="back-reference",
        ),
        pytest.param(
            regex(r"(?P<a>b)(?P=a)"),
            [
                "11:28 routes[0].when.text.matches: not a regular expression of RE2: invalid perl operator: '(?P'; RE2 has no back-references"
            ],
            id="named-back-reference",
        ),
        pytest.param(
            regex(r"a++b"),
            [
                "11:28 routes[0].when.text.matches: not a regular expression of RE2: bad repetition operator: '++'; RE2 never backtracks, so it has no possessive and atomic groups"
            ],
            id="possessive",
        ),
        pytest.param(
            regex(r"(?>a)"),
            [
                "11:28 routes[0].when.text.matches: not a regular expression of RE2: invalid perl operator: '(?>'; RE2 never backtracks, so it has no possessive and atomic groups"
            ],
            id="atomic",
        ),
        pytest.param(
            regex(r"(a{100}){100}"),
            [
                "11:28 routes[0].when.text.matches: not a regular expression of RE2: invalid repetition size: '{100}'; RE2 repeats at most 1,000 times, nested repetitions multiplied"
            ],
            id="too-many-repetitions",
        ),
        pytest.param(
            regex(r"\pL{1000}"),
            [
                "11:28 routes[0].when.text.matches: not a regular expression of RE2: pattern too large - compile failed; write fewer repetitions or alternatives"
            ],
            id="too-large",
        ),
        pytest.param(
            regex(r"(a"),
            ["11:28 routes[0].when.text.matches: not a regular expression of RE2: missing ): '(a'"],
            id="unbalanced",
        ),
        pytest.param(
            regex(r"[a"),
            ["11:28 routes[0].when.text.matches: not a regular expression of RE2: missing ]: '[a'"],
            id="open-class",
        ),
        pytest.param(
            regex(r"*.txt"),
            [
                "11:28 routes[0].when.text.matches: not a regular expression of RE2: no argument for repetition operator: '*'"
            ],
            id="no-regex",
        ),
        pytest.param(
            regex(r"(?#c)a"),
            ["11:28 routes[0].when.text.matches: not a regular expression of RE2: invalid perl operator: '(?#'"],
            id="comment",
        ),
        pytest.param(
            regex("(" + "a" * 300),
            [
                "11:28 routes[0].when.text.matches: not a regular expression of RE2: missing ): '(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'"
            ],
            id="long",
        ),
        pytest.param(
            route("use: small", "when: {text: {matches: [a, b]}}"),
            ["11:28 routes[0].when.text.matches: expected a regular expression, found a list"],
            id="list",
        ),
        pytest.param(
            route("use: small", 'when: {text: {matches: "\\bkey\\b"}}'),
            [
                r"11:28 routes[0].when.text.matches: has a backspace, as double quotes read \b; write \\b, or put it in single quotes"
            ],
            id="backspace",
        ),
        pytest.param(
            route("use: small", 'when: {text: {matches: "\\PN"}}'),
            [
                r"11:28 routes[0].when.text.matches: has a paragraph separator, as double quotes read \P; write \\P, or put it in single quotes"
            ],
            id="paragraph",
        ),
        pytest.param(
            route("use: small", 'when: {text: {matches: "foo\\_${BAR:-bar}"}}'),
            [
                r"11:28 routes[0].when.text.matches: has a no-break space, as double quotes read \_; write \\_, or put it in single quotes; there the space itself is \x{a0}"
            ],
            id="no-break-space",
        ),
    ],
)
def test_regular_expressions(text: str, lines: list[str]) -> None:
    """What RE2 does not take, in its own words, and the way out."""
    assert problems(text) == lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(route("use: {split: {}}"), ["10:18 routes[0].use.split: must not be empty"], id="split-of-none"),
        pytest.param(
            route("use: {split: [small, large]}"),
            ["10:18 routes[0].use.split: expected a mapping of names to values, found a list"],
            id="split-list",
        ),
        pytest.param(
            route("use: {split: {small: most}}"),
            ["10:26 routes[0].use.split.small: expected a number, found 'most'"],
            id="split-by-words",
        ),
        pytest.param(
            route("use: {split: {small: 1}, by: user}"),
            ["10:30 routes[0].use.by: unknown key; expected 'split', 'learned', 'prefer', 'explore' or 'latency'"],
            id="split-and-more",
        ),
        pytest.param(
            route("use: [small, large]"),
            ["10:10 routes[0].use: expected text or a mapping with 'learned' or 'split', found a list"],
            id="use-list",
        ),
        pytest.param(
            route("use: null"), ["9:5 routes[0]: needs 'use' with a model, or 'block' for a refusal"], id="use-null"
        ),
        pytest.param(
            route("use: {splt: {small: 1}}"),
            ["10:11 routes[0].use.splt: unknown key; did you mean 'split'?"],
            id="use-misspelt",
        ),
        pytest.param(
            route("block: null"), ["9:5 routes[0]: needs 'use' with a model, or 'block' for a refusal"], id="block-null"
        ),
        pytest.param(
            route("block: Not here."),
            ["10:12 routes[0].block: expected a mapping with 'status' or 'message', found text"],
            id="block-text",
        ),
        pytest.param(
            route("block: {message: ''}"),
            ["10:22 routes[0].block.message: must not be empty"],
            id="block-without-words",
        ),
        pytest.param(
            route("block: {status: '403'}"),
            ["10:21 routes[0].block.status: expected a whole number, found '403'; leave the quotes out"],
            id="block-status-in-quotes",
        ),
        pytest.param(
            route(
                "block: {status: 451}",
                "fallbacks: [large]",
                "rename: {a: b}",
                "drop: [c]",
                "default: {d: 1}",
                "set: {e: 1}",
            ),
            [
                "11:5 routes[0].fallbacks: has no effect beside 'block', which sends nothing; leave it out",
                "12:5 routes[0].rename: has no effect beside 'block', which sends nothing; leave it out",
                "13:5 routes[0].drop: has no effect beside 'block', which sends nothing; leave it out",
                "14:5 routes[0].default: has no effect beside 'block', which sends nothing; leave it out",
                "15:5 routes[0].set: has no effect beside 'block', which sends nothing; leave it out",
            ],
            id="block-beside-what-only-sent-requests-have",
        ),
        pytest.param(
            route("use: small", "rename: {a: ''}"),
            ["11:17 routes[0].rename.a: must not be empty"],
            id="rename-to-nothing",
        ),
        pytest.param(
            route("use: small", "rename: {a: a}"),
            ["11:14 routes[0].rename.a: renamed to itself; leave it out"],
            id="rename-to-itself",
        ),
        pytest.param(
            route("use: small", "rename: [a]"),
            ["11:13 routes[0].rename: expected a mapping of names to values, found a list"],
            id="rename-list",
        ),
        pytest.param(
            route("use: small", "drop: ['']"), ["11:12 routes[0].drop[0]: must not be empty"], id="drop-nothing"
        ),
        pytest.param(
            route("use: small", "drop: temperature"),
            ["11:11 routes[0].drop: expected a list, found text; write it as [...] or as lines that begin with '- '"],
            id="drop-text",
        ),
        pytest.param(
            route("use: small", "drop: [{a: b}]"),
            ["11:12 routes[0].drop[0]: expected text, found a mapping; put a text with ': ' in it in quotes"],
            id="drop-a-mapping",
        ),
        pytest.param(
            route("use: small", "set: {a: .nan, b: [-.inf], c: 1e999, d: 123456789012345678901234567890}"),
            [
                "11:14 routes[0].set.a: JSON has no .nan; put it in quotes for the text",
                "11:24 routes[0].set.b[0]: JSON has no -.inf; put it in quotes for the text",
                "11:35 routes[0].set.c: 1e999 is too large",
                "11:45 routes[0].set.d: 123456789012345678901234567890 is too large",
            ],
            id="set-what-json-has-not",
        ),
        pytest.param(
            route("use: small", "set: {a: 0x10, b: 010, c: 0o10, d: -00.5, e: '010', f: 0, g: 0.5, h: 0b1, i: 08-15}"),
            [
                f"11:{column} routes[0].set.{key}: {number} is no number here; write it as a decimal number without a leading zero, or in quotes for the text"
                for column, key, number in ((14, "a", "0x10"), (23, "b", "010"), (31, "c", "0o10"), (40, "d", "-00.5"))
            ],
            id="set-numbers-that-are-not-decimal",
        ),
        pytest.param(
            route("use: small", "set: [a]"),
            ["11:10 routes[0].set: expected a mapping of names to values, found a list"],
            id="set-list",
        ),
        pytest.param(
            route("use: small", "set: {a: , b: {c: }}"),
            [
                "11:14 routes[0].set.a: has no value; write a value, or remove it",
                "11:23 routes[0].set.b.c: has no value; write a value, or remove it",
            ],
            id="set-no-value",
        ),
        pytest.param(
            route("use: small", "set: {'': 1}"), ["11:11 routes[0].set: this key is empty"], id="set-a-nameless-key"
        ),
    ],
)
def test_actions(text: str, lines: list[str]) -> None:
    """What a route does: `use`, `block`, and edits of the body."""
    assert problems(text) == lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            put("gpt-4o}}", "gpt-4o}, fallbacks: [large, smal, small, small]}"),
            [
                "6:65 models.large.fallbacks[0]: a model cannot be its own fallback; leave it out",
                "6:72 models.large.fallbacks[1]: no model is called 'smal'; did you mean 'small'?",
                "6:85 models.large.fallbacks[3]: stands in the list already; leave it out",
            ],
            id="model-fallbacks",
        ),
        pytest.param(
            put("gpt-4o}}", "gpt-4o}, supports: [vison, images]}"),
            [
                "6:64 models.large.supports[0]: expected 'tools', 'vision', 'audio', 'files' or 'json_schema', found 'vison'; did you mean 'vision'?",
                "6:71 models.large.supports[1]: expected 'tools', 'vision', 'audio', 'files' or 'json_schema', found 'images'",
            ],
            id="model-supports",
        ),
        pytest.param(
            add('complexity: {simple: [], complex: [""]}\n'),
            ["8:22 complexity.simple: must not be empty", "8:36 complexity.complex[0]: must not be empty"],
            id="references-of-nothing",
        ),
        pytest.param(
            add("complexity: {simple: [a]}\n"),
            ["8:13 complexity: the key 'complex' is missing"],
            id="one-kind-of-references",
        ),
        pytest.param(
            add("complexity: {simple: easy, complex: hard}\n"),
            [
                "8:22 complexity.simple: expected a list, found text; write it as [...] or as lines that begin with '- '",
                "8:37 complexity.complex: expected a list, found text; write it as [...] or as lines that begin with '- '",
            ],
            id="references-as-text",
        ),
        pytest.param(
            add('complexity: {simple: ["\\u200b"], complex: ["\\t"]}\n'),
            [
                "8:23 complexity.simple[0]: nothing but white space and characters that cannot be seen",
                "8:44 complexity.complex[0]: nothing but white space",
            ],
            id="references-that-cannot-be-seen",
        ),
        pytest.param(
            add("topics: [code]\n"),
            ["8:9 topics: expected a mapping of names to values, found a list"],
            id="topics-list",
        ),
        pytest.param(
            add("topics: {code: [a, b]}\n"),
            ["8:16 topics.code: expected a mapping with 'examples' or 'threshold', found a list"],
            id="topic-list",
        ),
        pytest.param(
            add("topics: {code: {threshold: 0.5}, chat: {examples: }}\n"),
            [
                "8:16 topics.code: the key 'examples' is missing",
                "8:51 topics.chat.examples: has no value; write a list, or remove it",
            ],
            id="topic-without-examples",
        ),
        pytest.param(
            add("topics: {code: {examples: [[a], {b: c}, null]}}\n"),
            [
                "8:28 topics.code.examples[0]: expected text, found a list",
                "8:33 topics.code.examples[1]: expected text, found a mapping; put a text with ': ' in it in quotes",
                '8:41 topics.code.examples[2]: expected text, found null; write "null" in quotes for the word',
            ],
            id="examples-that-are-no-texts",
        ),
        pytest.param(
            add('topics: {code: {examples: ["\\u200b", "\\a\\e", "\\u00ad \\u2060", "\\ufeff"]}}\n'),
            [
                "8:28 topics.code.examples[0]: nothing but white space and characters that cannot be seen",
                "8:38 topics.code.examples[1]: nothing but white space and characters that cannot be seen",
                "8:46 topics.code.examples[2]: nothing but white space and characters that cannot be seen",
                "8:63 topics.code.examples[3]: nothing but white space and characters that cannot be seen",
            ],
            id="examples-that-cannot-be-seen",
        ),
        pytest.param(
            add('topics:\n  menu: {examples: [a caf\u00e9]}\n  shop: {examples: [A  Cafe\u0301, "a c\\u00adafe"]}\n'),
            [
                "10:21 topics.shop.examples[0]: the same example as in topic 'menu' on line 9; the two could never be told apart",
                "10:31 topics.shop.examples[1]: the same example as in topic 'menu' on line 9; the two could never be told apart",
            ],
            id="same-example-but-for-accents-and-signs",
        ),
        pytest.param(
            add("topics:\n  a: {examples: [hello]}\n  b: {examples: [Hello]}\n  c: {examples: [HELLO]}\n"),
            [
                "10:18 topics.b.examples[0]: the same example as in topic 'a' on line 9; the two could never be told apart",
                "11:18 topics.c.examples[0]: the same example as in topic 'a' on line 9; the two could never be told apart",
            ],
            id="same-example-in-three-topics",
        ),
        pytest.param(
            add('topics: {"---a": {examples: [a]}, "\N{GRINNING FACE}": {examples: [b]}, "a b": {examples: [c]}}\n'),
            [
                "8:10 topics.---a: '---a' is not a name; those begin with a letter or digit and go on with letters, digits and . _ : / -",
                "8:35 topics['😀']: '😀' is not a name; those begin with a letter or digit and go on with letters, digits and . _ : / -",
                "8:57 topics['a b']: 'a b' is not a name; those begin with a letter or digit and go on with letters, digits and . _ : / -",
            ],
            id="topic-names",
        ),
        pytest.param(
            add(
                'tests: [{prompt: "", route: default}, {prompt: " ", route: default}, {prompt: "\\u200b", route: default}]\n'
            ),
            [
                "8:18 tests[0].prompt: must not be empty",
                "8:48 tests[1].prompt: nothing but white space",
                "8:79 tests[2].prompt: nothing but white space and characters that cannot be seen",
            ],
            id="prompts-of-nothing",
        ),
        pytest.param(
            add("tests: [{prompt: a, route: pinned}, {prompt: a}]\n"),
            [
                "8:28 tests[0].route: no route is called 'pinned'; there is 'default'",
                "8:37 tests[1]: the key 'route' is missing",
            ],
            id="a-test-of-what-no-route-is",
        ),
        pytest.param(
            add('text: {ignore: [<a>, a b, ""]}\n'),
            [
                "8:17 text.ignore[0]: '<a>' is not a tag's name; those begin with a letter and go on with letters, digits and . _ -",
                "8:22 text.ignore[1]: 'a b' is not a tag's name; those begin with a letter and go on with letters, digits and . _ -",
                "8:27 text.ignore[2]: '' is not a tag's name; those begin with a letter and go on with letters, digits and . _ -",
            ],
            id="tags-to-ignore",
        ),
        pytest.param(
            put("/v1}", '/v1, api_key: "sk\\x7f-1"}'),
            ["3:58 upstreams.openai.api_key: has a line break or another control character, which no header can carry"],
            id="key-that-no-header-can-carry",
        ),
    ],
)
def test_the_rest(text: str, lines: list[str]) -> None:
    """Models, references, topics, tests, and what is left out of a text."""
    assert problems(text) == lines


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(add("topics: {a: {examples: [hello]}}\n"), id="one-topic-of-one-example"),
        pytest.param(add("topics: {a: {examples: [hello, hello, Hello, ' hello ']}}\n"), id="examples-all-the-same"),
        pytest.param(add("topics: {a: {examples: ['\N{GRINNING FACE}', '\N{ROCKET}\N{ROCKET}']}}\n"), id="emoji"),
        pytest.param(
            add('topics: {a: {examples: ["\\e[31mred\\0", "tab\\there", "zero\\u200bwidth"]}}\n'), id="escaped-controls"
        ),
        pytest.param(add("topics: {a: {examples: [你好, привет, مرحبا, नमस्ते, 'q̣̃']}}\n"), id="many-scripts"),
        pytest.param(
            add(f"topics: {{a: {{examples: [{'x' * 1_000_000}, {'y ' * 500_000}]}}}}\n"), id="a-megabyte-each"
        ),
        pytest.param(
            add(
                "topics: {1: {examples: [a]}, 2026-01-01: {examples: [b]}, true: {examples: [c]}, 1.5: {examples: [d]}}\n"
            ),
            id="names-that-look-like-other-things",
        ),
        pytest.param(
            add("rewrite: &globs\t# a tab\n  - a\t# another\ntext: {turns:\t2}\n"), id="tabs-that-do-not-indent"
        ),
        pytest.param(BASE.replace("\n", "\r\n") + "rewrite: []\r\n", id="line-ends-of-windows"),
        pytest.param("%YAML 1.2\n---\n" + BASE + "...\n", id="directive-and-marks"),
        pytest.param(regex("^(a+)+$"), id="regex-that-would-backtrack-elsewhere"),
        pytest.param(regex("(a|b|ab)*c" + "|word" * 10_000), id="regex-of-ten-thousand-words"),
        pytest.param(
            route("use: small", "set: {a: '.nan', b: -9223372036854775808, c: 18446744073709551615, d: 1e308}"),
            id="numbers-that-json-has",
        ),
        pytest.param(
            route("use: small", "when: {has: [tools], not: {has: [tools, stream]}}"), id="a-not-that-can-hold"
        ),
        pytest.param(put("api.openai.com", "bücher.example"), id="international-host"),
        pytest.param(put("https://api.openai.com", "http://gpu_1.internal.:8000"), id="host-with-a-final-dot"),
    ],
)
def test_odd_and_right(text: str) -> None:
    """Files that look like mistakes and are none."""
    assert problems(text) == []


EXAMPLES = add("topics:\n  a:\n    examples:\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "part", "line"),
    [
        pytest.param(EXAMPLES, f"      - {'x' * 91}\n", None, id="80,000-examples"),
        pytest.param(EXAMPLES, "      - x\n", "more than 200,000 keys", id="900,000-examples"),
        pytest.param(add("rewrite: ["), "x,", "more than 200,000 keys", id="one-list"),
        pytest.param(add("routes:\n"), "- {a: b}\n", "more than 200,000 keys", id="800,000-routes"),
        pytest.param(add("rewrite:\n"), "  - !x y\n", "more than 1,000 problems", id="tags"),
        pytest.param(BASE, "a: 1\n", "more than 1,000 problems", id="duplicate-keys"),
        pytest.param(add("rewrite:\n  - &a x\n"), "  - *a\n", "aliases repeat more than", id="aliases"),
        pytest.param(BASE, "\n", None, id="line-breaks"),
        pytest.param(add("rewrite: [''") + "]\n#", "#", "an empty glob", id="one-comment"),
        pytest.param(add("rewrite:\n  - "), "${A}", "the variable A is not set", id="variables"),
        pytest.param(add("rewrite:\n  - "), "${BIG}", "makes this text longer than 8 MB", id="variables-that-grow"),
        pytest.param(add("rewrite: "), "[", "nested deeper", id="brackets"),
        pytest.param("", "\0", "a control character", id="zeros"),
    ],
)
def test_the_largest_files_are_told_or_read_in_seconds(head: str, part: str, line: str | None) -> None:
    """Each in at most 3 s on one slow core; without the bounds in tree.py and problems.py a minute and gigabytes."""
    text = head + part * ((MAX_BYTES - len(head)) // len(part))
    began = time.perf_counter()
    told = problems(text, {"BIG": "x" * 1000})
    assert time.perf_counter() - began < 20
    assert len(told) <= 1001
    assert told == [] if line is None else line in told[0]


@pytest.mark.parametrize(
    "when",
    [
        pytest.param("header: {x-team: t%d}", id="headers"),
        pytest.param("model: ['m%d-*', 'n%d-*', 'm%d']", id="globs"),
        pytest.param("tokens: {min: %d, max: %d.5}", id="ranges"),
        pytest.param("text: {matches: 'order %d.*late'}", id="regexes"),
        pytest.param("any: [{user: u%d}, {all: [{has: [tools]}, {metadata: {tier: t%d}}]}]", id="nested"),
    ],
)
def test_a_thousand_routes_are_compared_in_no_time(when: str) -> None:
    """Each in at most half a second; the bound only catches what compares every pair with every other."""
    lines = [f"  - {{name: r{n}, use: small, when: {{{when.replace('%d', str(n))}}}}}\n" for n in range(1000)]
    lines.append(lines[0].replace("name: r0", "name: again"))
    began = time.perf_counter()
    (line,) = problems(add("routes:\n" + "".join(lines)))
    assert line == "1009:5 routes[1000]: never reached: routes[0] 'r0' on line 9 has the same conditions"
    assert time.perf_counter() - began < 5
