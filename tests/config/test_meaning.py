"""What the types cannot know."""

import pytest

from proxy.config import parse_config
from tests.config.files import BASE, NO_MODELS, add, problems, put


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            put("default: small", "default: smal"),
            [
                "7:10 default: no model is called 'smal'; did you mean 'small'?",
            ],
            id="unknown-default",
        ),
        pytest.param(
            add("server: {drain: {delay: 25s}}"),
            [
                "8:25 server.drain.delay: leaves requests no time: it is a part of 'grace', which is not longer",
            ],
            id="delay-as-long-as-grace",
        ),
        pytest.param(
            add("passthrough: [/v1/audio/*, v1/files, /batches, 'files*']"),
            [
                "8:15 passthrough[0]: is what comes after /v1/; leave '/v1/' off",
                "8:28 passthrough[1]: is what comes after /v1/; leave 'v1/' off",
                "8:38 passthrough[2]: is what comes after /v1/; leave '/' off",
            ],
            id="passthrough-of-whole-paths",
        ),
        pytest.param(
            add("corrections: {mode: apply}\nstore: sqlite:///x.db"),
            ["8:21 corrections.mode: there is nothing to apply them to without 'policy'"],
            id="corrections-of-nothing",
        ),
        pytest.param(
            add("corrections: {mode: apply}\npolicy: p.npz\nstore: none"),
            ["8:21 corrections.mode: there is no feedback to make them of without 'store'"],
            id="corrections-by-nothing",
        ),
        pytest.param(
            add("corrections: {mode: aply, most: 2, every: 0s, half_life: 7}\npolicy: p.npz\nstore: {url: x}"),
            [
                "8:21 corrections.mode: expected 'observe', 'apply' or 'off', found 'aply'; did you mean 'apply'?",
                "8:33 corrections.most: 2 is outside 0 to 1",
                "8:43 corrections.every: 0s is not above zero",
                "8:58 corrections.half_life: expected a duration such as 250ms, 3s, 10m or 1h, found '7'; write 7s for seconds or 7ms for milliseconds",
                "10:14 store.url: expected none, sqlite:///FILE or postgresql+asyncpg://NAME:PASSWORD@HOST/DATABASE",
            ],
            id="corrections-of-other-values",
        ),
        pytest.param(
            put("default: small", "default: gpt-5"),
            [
                "7:10 default: no model is called 'gpt-5'; there are 'small' and 'large'",
            ],
            id="unknown-default-no-guess",
        ),
        pytest.param(
            put("default: small", "default: auto"),
            [
                "7:10 default: no model is called 'auto'; there are 'small' and 'large'",
            ],
            id="auto-is-no-model",
        ),
        pytest.param(
            put("{upstream: openai, name: gpt-4o}", "{upstream: opnai, name: gpt-4o}"),
            [
                "6:30 models.large.target.upstream: no upstream is called 'opnai'; did you mean 'openai'?",
            ],
            id="unknown-upstream",
        ),
        pytest.param(
            put("{target: {upstream: openai, name: gpt-4o}}", "{}"),
            [
                "6:10 models.large: needs 'target', or 'targets' for several",
            ],
            id="no-target",
        ),
        pytest.param(
            put("gpt-4o}}", "gpt-4o}, targets: [{upstream: openai, name: x}]}"),
            [
                "6:53 models.large.targets: cannot stand beside 'target'; put all of them under 'targets'",
            ],
            id="both-targets",
        ),
        pytest.param(
            put(
                "{target: {upstream: openai, name: gpt-4o}}",
                "{targets: [{upstream: openai, name: a}, {upstream: openai, name: b}, {upstream: openai, name: a}]}",
            ),
            [
                "6:79 models.large.targets[2]: the same upstream and name as targets[0] on line 6; give that one more 'weight'",
            ],
            id="duplicate-target",
        ),
        pytest.param(
            put("{target: {upstream: openai, name: gpt-4o}}", "{targets: []}"),
            [
                "6:20 models.large.targets: must not be empty",
            ],
            id="no-targets",
        ),
        pytest.param(
            put("  large:", "  auto:"),
            [
                "6:3 models.auto: the name 'auto' is reserved: clients send it to be routed; choose another",
            ],
            id="auto-as-name",
        ),
        pytest.param(
            put("/v1}", "/v1/chat/completions/}"),
            [
                "3:22 upstreams.openai.base_url: ends with /chat/completions, which is added to each request; leave it off",
            ],
            id="endpoint-in-url",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: lage}
"""),
            [
                "9:20 routes[0].use: no model is called 'lage'; did you mean 'large'?",
            ],
            id="unknown-use",
        ),
        pytest.param(
            add("""\
topics: {code: {examples: [x]}}
routes:
  - {name: a, use: small, when: {topic: coed}}
  - {name: b, use: small, when: {topic: [code, chat]}}
"""),
            [
                "10:41 routes[0].when.topic: no topic is called 'coed'; did you mean 'code'?",
                "11:48 routes[1].when.topic[1]: no topic is called 'chat'; there is 'code'",
            ],
            id="unknown-topic",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {topic: code}}
"""),
            [
                "9:41 routes[0].when.topic: no topic is called 'code'; the file has no topics",
            ],
            id="topic-without-topics",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {topic: [], model: [], header: {x-a: []}}}
"""),
            [
                "9:41 routes[0].when.topic: an empty list matches nothing; write a topic, or leave the key out",
                "9:52 routes[0].when.model: an empty list matches nothing; write a glob, or leave the key out",
                "9:70 routes[0].when.header.x-a: an empty list matches nothing; write a glob, or leave the key out",
            ],
            id="empty-lists",
        ),
        pytest.param(
            add("""\
rewrite: [a, '']
routes:
  - {name: a, use: small, when: {model: ['', b], header: {x-a: ' '}}}
"""),
            [
                "8:14 rewrite[1]: an empty glob matches nothing",
                "10:42 routes[0].when.model[0]: an empty glob matches nothing",
                "10:64 routes[0].when.header.x-a: an empty glob matches nothing",
            ],
            id="empty-globs",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {header: {}}}
"""),
            [
                "9:42 routes[0].when.header: names no header; write one, or leave the key out",
            ],
            id="no-header",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {header: {'x a': b}}}
"""),
            [
                "9:43 routes[0].when.header['x a']: 'x a' is not a header name; those have letters, digits and - only",
            ],
            id="header-name",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {header: {X-Class: a, x-class: b}}}
"""),
            [
                "9:55 routes[0].when.header.x-class: the same header as 'X-Class': letter case does not matter",
            ],
            id="header-twice",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {tokens: {}}}
"""),
            [
                "9:42 routes[0].when.tokens: needs 'min', 'max' or both",
            ],
            id="range-empty",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {tokens: {min: 9, max: 8}}}
"""),
            [
                "9:42 routes[0].when.tokens: 'min' is above 'max', so nothing is between them",
            ],
            id="range-reversed",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {tokens: {mni: 9}}}
"""),
            [
                "9:43 routes[0].when.tokens.mni: unknown key; did you mean 'min'?",
            ],
            id="range-misspelt",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {model: x}}
  - {name: a, use: small, when: {model: y}}
"""),
            [
                "10:12 routes[1].name: the same name as routes[0] on line 9",
            ],
            id="same-route-name",
        ),
        pytest.param(
            add("""\
routes:
  - {name: default, use: small}
"""),
            [
                "9:12 routes[0].name: the name 'default' is reserved for what no route takes; choose another",
            ],
            id="route-default",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small}
  - {name: b, use: large, when: {model: x}}
  - {name: c, use: large}
"""),
            [
                "10:5 routes[1]: never reached: routes[0] 'a' on line 9 has no conditions and takes every request; move it to the end",
                "11:5 routes[2]: never reached: routes[0] 'a' on line 9 has no conditions and takes every request; move it to the end",
            ],
            id="after-a-route-without-conditions",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {}}
  - {name: b, use: large}
"""),
            [
                "10:5 routes[1]: never reached: routes[0] 'a' on line 9 has no conditions and takes every request; move it to the end",
            ],
            id="after-empty-when",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {model: x}}
  - {name: b, use: large, when: {model: [x]}}
"""),
            [
                "10:5 routes[1]: never reached: routes[0] 'a' on line 9 has the same conditions",
            ],
            id="same-conditions",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {header: {X-A: b}}}
  - {name: b, use: large, when: {header: {x-a: b}}}
"""),
            [
                "10:5 routes[1]: never reached: routes[0] 'a' on line 9 has the same conditions",
            ],
            id="same-header-conditions",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {model: gpt-*, tokens: {max: 99}}}
  - {name: b, use: large, when: {model: gpt-4o, tokens: {min: 2, max: 9}}}
"""),
            [
                "10:5 routes[1]: never reached: routes[0] 'a' on line 9 takes every request that this one would; move this one before it",
            ],
            id="narrower-conditions",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {any: [{user: x}]}}
  - {name: b, use: large, when: {all: [{user: x}, {model: y}]}}
  - {name: c, use: large, when: {all: [{tokens: {min: 0}}]}}
  - {name: d, use: large, when: {turns: {min: 3}}}
"""),
            [
                "10:5 routes[1]: never reached: routes[0] 'a' on line 9 takes every request that this one would; move this one before it",
                "12:5 routes[3]: never reached: routes[2] 'c' on line 11 has no conditions and takes every request; move it to the end",
            ],
            id="conditions-within-conditions",
        ),
        pytest.param(
            add("""\
topics: {code: {examples: [a loop]}, law: {examples: [a clause]}}
routes:
  - {name: a, use: small, when: {all: [{topic: code}, {topic: law}]}}
  - {name: b, use: small, when: {complexity: {min: 0.6}, all: [{complexity: {max: 0.3}}]}}
  - {name: c, use: small, when: {all: [{topic: [code, law]}, {topic: law}]}}
  - {name: d, use: small, when: {complexity: {min: 0}}}
  - {name: e, use: small, when: {user: z}}
"""),
            [
                "10:33 routes[0].when: never holds: no request meets all that it says of 'topic'",
                "11:33 routes[1].when: never holds: no request meets all that it says of 'complexity'",
            ],
            id="conditions-that-contradict-each-other",
        ),
        pytest.param(
            add("""\
rewrite: [gpt-4]
routes:
  - {name: a, use: small, when: {model: "gpt-4*"}}
  - {name: b, use: small, when: {model: [o3, a*]}}
  - {name: c, use: small, when: {model: o1}}
  - {name: d, use: small, when: {any: [{model: o3}, {user: x}]}}
"""),
            ["12:5 routes[2]: never reached: only requests for 'auto' and 'gpt-4' are routed, as 'rewrite' says"],
            id="a-requested-name-that-is-not-routed",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, condition: {model: x}}
  - {name: b, use: large}
"""),
            [
                "9:27 routes[0].condition: unknown key; expected 'name', 'use', 'block', 'when', 'fallbacks', 'rename', 'drop', 'default' or 'set'",
            ],
            id="unreadable-route-hides-nothing",
        ),
        pytest.param(
            add("""\
routes: [{name: code, use: small}]
tests:
  - {prompt: x, route: coed}
  - {prompt: x, route: default}
"""),
            [
                "10:24 tests[0].route: no route is called 'coed'; did you mean 'code'?",
            ],
            id="unknown-test-route",
        ),
        pytest.param(
            add("topics: {code: {examples: [x, '   ']}}\n"),
            [
                "8:31 topics.code.examples[1]: nothing but white space",
            ],
            id="white-space-example",
        ),
        pytest.param(
            add("""\
topics:
  code: {examples: [a, Fix  this]}
  chat:
    examples:
      - b
      - fix this
"""),
            [
                "13:9 topics.chat.examples[1]: the same example as in topic 'code' on line 9; the two could never be told apart",
            ],
            id="same-example-in-two-topics",
        ),
        pytest.param(
            put("{target: {upstream: openai, name: gpt-4o-mini}}", "[]"),
            [
                "5:10 models.small: expected a mapping with 'target', 'targets', 'price', 'context', 'supports', 'fallbacks', 'timeouts', 'rename', 'drop', 'default' or 'set', found a list",
            ],
            id="broken-model-is-still-known",
        ),
        pytest.param(
            NO_MODELS
            + """\
models: x
default: small
routes: [{name: a, use: b}]
""",
            [
                "4:9 models: expected a mapping of names to values, found text",
            ],
            id="broken-models-hide-names",
        ),
        pytest.param(
            put("https://api.openai.com/v1", "nowhere"),
            [
                "3:22 upstreams.openai.base_url: expected an http or https URL such as https://api.openai.com/v1, found 'nowhere'",
            ],
            id="broken-upstream-is-still-known",
        ),
        pytest.param(
            put("upstreams:", "upsteams:"),
            [
                "2:1 upsteams: unknown key; did you mean 'upstreams'?",
            ],
            id="misspelt-section-hides-names",
        ),
        pytest.param(
            add("""\
routes: [{name: [a], use: small}]
tests: [{prompt: x, route: a}]
"""),
            [
                "8:17 routes[0].name: expected text, found a list",
            ],
            id="broken-route-name-hides-test",
        ),
        pytest.param(
            put("{target: {upstream: openai, name: gpt-4o}}", "{tarjet: {upstream: openai, name: gpt-4o}}"),
            [
                "6:11 models.large.tarjet: unknown key; did you mean 'target'?",
            ],
            id="misspelt-target-is-no-missing-target",
        ),
        pytest.param(
            add("""\
text: {turns: 0}
routes: [{name: a, use: nobody, when: {model: []}}]
"""),
            [
                "8:15 text.turns: 0 is outside 1 to 32",
                "9:25 routes[0].use: no model is called 'nobody'; there are 'small' and 'large'",
                "9:47 routes[0].when.model: an empty list matches nothing; write a glob, or leave the key out",
            ],
            id="meaning-beside-types",
        ),
    ],
)
def test_meaning(text: str | bytes, lines: list[str]) -> None:
    """Every contradiction, at the value that has it, and no follow-up of another mistake."""
    assert problems(text) == lines


@pytest.mark.parametrize(
    "more",
    [
        pytest.param("topics: {code: {examples: [a]}}", id="unused-topic"),
        pytest.param("topics: {code: {examples: [a, a, A]}}", id="same-example-within-a-topic"),
        pytest.param("rewrite: []", id="nothing-is-rewritten"),
        pytest.param("tests: [{prompt: a, route: default}]", id="test-of-the-default"),
        pytest.param(
            "routes: [{name: small, use: small}]\ntests: [{prompt: a, route: small}]", id="route-named-like-a-model"
        ),
        pytest.param("routes: [{name: a, use: small, when: {tokens: {min: 5, max: 5}}}]", id="range-of-one"),
        pytest.param(
            "routes:\n  - {name: a, use: small, when: {header: {x-a: b}}}\n  - {name: b, use: large, when: {header: {x-b: b}}}",
            id="different-headers",
        ),
        pytest.param(
            "routes:\n  - {name: a, use: small, when: {model: gpt-4o, tokens: {max: 9}}}\n  - {name: b, use: large, when: {model: gpt-*}}",
            id="wider-route-behind-a-narrower-one",
        ),
    ],
)
def test_good(more: str) -> None:
    assert problems(BASE + more) == []


def test_header_names_come_out_in_lower_case() -> None:
    more = "routes: [{name: a, use: small, when: {header: {X-Data-Class: [Restricted, 'a*']}}}]\n"
    (route,) = parse_config(BASE + more, source="x", environ={}).routes
    assert route.when.header == {"x-data-class": ("Restricted", "a*")}
