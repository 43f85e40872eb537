"""The dashboard of who is on call and who pays."""

from __future__ import annotations

from deploy.grafana.board import (
    Panel,
    dashboard,
    each_answer,
    grown,
    mean_rating,
    now,
    per_second,
    quantile,
    series,
    share_of,
)

_SERVER_ERRORS = 'status=~"5.."'
_OK_TO_BAD = (None, "green")
_SHOWN, _NOW = "increase({}[$__range])", "rate({}[$__rate_interval])"


def _quantiles(name: str, by: str = "") -> dict[str, str]:
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", ") if label)
    return {f"p{share * 100:.0f} {legend}".rstrip(): quantile(share, name, by) for share in (0.5, 0.95, 0.99)}


def _cost(name: str, grown: str) -> str:
    return f"sum({grown.format(series(name, narrow=()))})"


def _saved(grown: str) -> str:
    """In USD; nothing where no baseline is configured."""
    baseline = _cost("baseline_cost_usd_total", grown)
    return f"({baseline} > 0) - {_cost('cost_usd_total', grown)}"


_WELL = (
    Panel(
        "Requests", "Answers a second, whatever their status.",
        {"": per_second("requests_total")}, "stat", "reqps", width=4, height=5,
    ),
    Panel(
        "Server errors", "The share of answers with a status of 500 and above, which includes what upstreams say last.",
        {"": share_of(per_second("requests_total", where=_SERVER_ERRORS), per_second("requests_total"))},
        "stat", "percentunit", width=4, height=5, steps=(_OK_TO_BAD, (0.005, "orange"), (0.05, "red")),
        runbook="PointsmanErrorBudgetBurnsFast",
    ),
    Panel(
        "Whole answers, p95", "From a request's head to its answer's last byte; long answers take long.",
        {"": quantile(0.95, "request_seconds")}, "stat", "s", width=4, height=5,
    ),
    Panel(
        "Targets that rest", "How many targets get no requests for now, since the last ones failed.",
        {"": f"count({now('target_state', 'target', how='max')} == 2) or vector(0)"},
        "stat", "none", width=4, height=5, steps=(_OK_TO_BAD, (1, "red")), runbook="PointsmanTargetRests",
    ),
    Panel(
        "Without their text", "The share of texts that were looked up, but not understood in time.",
        {"": share_of(per_second("fail_open_total"), per_second("embed_cache_total"))},
        "stat", "percentunit", width=4, height=5, steps=(_OK_TO_BAD, (0.01, "orange"), (0.05, "red")),
        runbook="PointsmanFailsOpen",
    ),
    Panel(
        "Clients that left", "A second, before their answer was complete.",
        {"": per_second("client_disconnects_total")}, "stat", "reqps", width=4, height=5,
    ),
)  # fmt: skip

_TRAFFIC = (
    Panel(
        "Requests by route", "Answers by the route that took them; - is what was refused before one was known.",
        {"{{route}}": per_second("requests_total", "route")}, unit="reqps", is_stacked=True,
    ),
    Panel(
        "Requests by model", "Answers by the model that was tried last.",
        {"{{model}}": per_second("requests_total", "model")}, unit="reqps", is_stacked=True,
    ),
    Panel(
        "Reasons", "Why the model: a rule, a topic, the policy, a conversation that stays, ...",
        {"{{reason}}": per_second("decisions_total", "reason")}, unit="reqps", is_stacked=True,
    ),
    Panel(
        "Requests under way", "Being answered now, by process.",
        {"{{instance}}": now("in_flight", "instance")}, unit="none", runbook="PointsmanOverloaded",
    ),
    Panel(
        "Turned away", "Requests a second that got a 503, since `server.max_in_flight` were under way.",
        {"turned away": per_second("overloads_total")}, unit="reqps", runbook="PointsmanOverloaded",
    ),
    Panel(
        "Clients that left, by phase", "While the body came, it was decided, an upstream thought, or the answer ran.",
        {"{{phase}}": per_second("client_disconnects_total", "phase")}, unit="reqps", is_stacked=True,
    ),
)  # fmt: skip

_LATENCY = (
    Panel(
        "Decisions", "How long decisions take, the embedding included; a colour is how many took so long.",
        {"{{le}}": per_second("decision_seconds_bucket", "le")}, "heatmap", "s",
    ),
    Panel(
        "Decisions by stage, p95", "Reading the body, embedding its text, and deciding.",
        {"{{stage}}": quantile(0.95, "decision_stage_seconds", "stage"), "all": quantile(0.95, "decision_seconds")},
        unit="s", runbook="PointsmanFailsOpen",
    ),
    Panel(
        "First token by model, p95", "Of streams, from the request to an upstream to its first content.",
        {"{{model}}": quantile(0.95, "first_token_seconds", "model")}, unit="s", runbook="PointsmanFirstTokenSlow",
    ),
    Panel("Whole answers", "Of all routes and models.", _quantiles("request_seconds"), unit="s"),
    Panel(
        "Whole answers by route, p95", "From a request's head to its answer's last byte.",
        {"{{route}}": quantile(0.95, "request_seconds", "route")}, unit="s",
    ),
    Panel(
        "Whole answers by model, p95", "From a request's head to its answer's last byte.",
        {"{{model}}": quantile(0.95, "request_seconds", "model")}, unit="s",
    ),
)  # fmt: skip

_TROUBLE = (
    Panel(
        "Errors by status", "Statuses of 400 and above: what clients got.",
        {"{{status}}": per_second("requests_total", "status", 'status=~"[45].."')}, unit="reqps", is_stacked=True,
        nothing="no errors", runbook="PointsmanErrorBudgetBurnsFast",
    ),
    Panel(
        "Server errors by model", "The share of a model's answers with a status of 500 and above.",
        {"{{model}}": share_of(
            per_second("requests_total", "model", _SERVER_ERRORS), per_second("requests_total", "model")
        )},
        unit="percentunit", runbook="PointsmanErrorBudgetBurnsSlowly",
    ),
    Panel(
        "Attempts that failed, by outcome", "Many of them are repaired by a further attempt, and no client sees them.",
        {"{{outcome}}": per_second("attempts_total", "outcome", 'outcome!~"ok|rejected|client_left"')},
        unit="reqps", is_stacked=True, runbook="PointsmanTargetRests",
    ),
    Panel(
        "Attempts by target", "Tries a second, whatever their end.",
        {"{{target}}": per_second("attempts_total", "target")}, unit="reqps", runbook="PointsmanTargetRests",
    ),
    Panel(
        "Failed attempts by target", "The share of a target's attempts that it did not do well at.",
        {"{{target}}": share_of(
            per_second("attempts_total", "target", 'outcome!~"ok|rejected|client_left"'),
            per_second("attempts_total", "target"),
        )},
        unit="percentunit", runbook="PointsmanTargetRests",
    ),
    Panel(
        "Rejected attempts by target", "The share of a target's attempts that it answered as mistakes of the client's.",
        {"{{target}}": share_of(
            per_second("attempts_total", "target", 'outcome="rejected"'), per_second("attempts_total", "target"),
        )},
        unit="percentunit", runbook="PointsmanTargetRejects",
    ),
    Panel(
        "Fallbacks by cause", "Requests that went on to another model, by why the one before did not do.",
        {"{{from}} to {{to}}: {{cause}}": f"{per_second('fallbacks_total', 'from, to, cause')} > 0"},
        unit="reqps", is_stacked=True, nothing="no fallbacks", runbook="PointsmanModelDown",
    ),
    Panel(
        "Targets", "Whether they get requests. One that rests is tried again only when a request comes.",
        {"{{target}} {{instance}}": now("target_state", "target, instance", how="max")},
        "state-timeline", "none", width=16,
        values={0: ("gets requests", "green"), 1: ("on trial", "yellow"), 2: ("rests", "red")},
        runbook="PointsmanTargetRests",
    ),
    Panel(
        "Who serves what", "The targets of each model.",
        {"": f"count by (model, target) ({series('target_info')} == 1)"}, "table", "none",
        width=24,
    ),
)  # fmt: skip

_MONEY = (
    Panel(
        "Cost",
        "At the prices of routes.yaml, in the time that is shown. An answer without tokens or price counts as none.",
        {"": grown("cost_usd_total")}, "stat", "currencyUSD", width=4, height=4,
    ),
    Panel(
        "Saved", "What the same tokens would have cost at `baseline`, less what they cost. All routes and models.",
        {"": _saved(_SHOWN)}, "stat", "currencyUSD", width=4, height=4, nothing="no baseline",
    ),
    Panel(
        "Saved, share", "Of what the same tokens would have cost at `baseline`. All routes and models.",
        {"": f"({_saved(_SHOWN)}) / {_cost('baseline_cost_usd_total', _SHOWN)}"},
        "stat", "percentunit", width=4, height=4, nothing="no baseline",
    ),
    Panel(
        "Tokens", "Of prompts and answers, in the time that is shown.",
        {"": grown("tokens_total", where='kind=~"prompt|completion"')}, "stat", "short", width=4, height=4,
    ),
    Panel(
        "Cost of 1,000 requests",
        "Mean of the answers that tell their tokens, on all routes; models may have no price.",
        {"": f"1000 * {each_answer('cost_usd_total')}"},
        "stat", "currencyUSD", width=4, height=4,
    ),
    Panel(
        "Cached prompt tokens", "The share that providers read from their cache, and charge less for.",
        {"": share_of(grown("tokens_total", where='kind="cached"'), grown("tokens_total", where='kind="prompt"'))},
        "stat", "percentunit", width=4, height=4,
    ),
    Panel(
        "Cost an hour by model", "At the present pace.",
        {"{{model}}": f"3600 * {per_second('cost_usd_total', 'model')}"}, unit="currencyUSD", is_stacked=True,
    ),
    Panel(
        "Savings an hour", "What routing saves against `baseline`, at the present pace. All routes and models.",
        {"saved": f"3600 * ({_saved(_NOW)})"}, unit="currencyUSD", nothing="no baseline",
    ),
    Panel(
        "Tokens a second by kind",
        "As upstreams counted them; `cached` and `cache_write` are parts of `prompt`, `reasoning` of `completion`.",
        {"{{kind}}": per_second("tokens_total", "kind")}, unit="short",
    ),
)  # fmt: skip

_QUALITY = (
    Panel(
        "Topic scores, median", "Of texts by their best topic, over an hour. A fall: requests drift from the examples.",
        {"{{topic}}": quantile(0.5, "topic_score", "topic", over="1h")}, unit="none", most=1,
    ),
    Panel(
        "Topic scores, lowest tenth", "The same; what is below a topic's threshold is not taken for it.",
        {"{{topic}}": quantile(0.1, "topic_score", "topic", over="1h")}, unit="none", most=1,
    ),
    Panel(
        "Texts by topic", "Their best topic, whether its threshold is reached or not.",
        {"{{topic}}": per_second("topic_score_count", "topic")}, unit="reqps", is_stacked=True,
    ),
    Panel(
        "Feedback, mean by route", "1 is all up, 0 all down; what is between counts one half.",
        {"{{route}}": mean_rating("route")},
        "bargauge", "none", most=1, nothing="no feedback",
    ),
    Panel(
        "Feedback, mean by model", "1 is all up, 0 all down; what is between counts one half.",
        {"{{model}}": mean_rating("model")},
        "bargauge", "none", most=1, nothing="no feedback",
    ),
    Panel(
        "Ratings a second", "Of feedback.",
        {"{{rating}}": per_second("feedback_total", "rating")}, unit="short", is_stacked=True,
    ),
)  # fmt: skip

_INSIDE = (
    Panel(
        "Configurations in use", "By process. Several for long: a reload did not reach all of them.",
        {"": f"count by (sha256, instance) ({series('config_info')} == 1)"}, "table", "none",
        runbook="PointsmanConfigsDiffer",
    ),
    Panel(
        "Policies in use", "By process; `none` without one.",
        {"": f"count by (version, instance) ({series('policy_info')} == 1)"}, "table", "none",
    ),
    Panel("Versions", "Of the program.", {"": now("build_info", "version, instance", how="max")}, "table", "none"),
    Panel(
        "Reloads", "By how they ended, in the time that is shown.",
        {"{{result}}": grown("config_reloads_total", "result")}, "bargauge", "none", decimals=0,
        runbook="PointsmanConfigReloadFailed",
    ),
    Panel(
        "Decided without their text, by cause",
        "`late`: after `embedding.deadline`. `full`: more texts than `embedding.queue`. `broken`: the model failed.",
        {"{{cause}}": per_second("fail_open_total", "cause")}, unit="reqps", is_stacked=True,
        runbook="PointsmanFailsOpen",
    ),
    Panel(
        "Texts being embedded", "That wait for a thread or are in one, by process.",
        {"{{instance}}": now("embed_queue", "instance")}, unit="none", runbook="PointsmanEmbedQueueHigh",
    ),
    Panel(
        "Vectors from the cache", "The share of texts that need not be embedded.",
        {"hits": share_of(per_second("embed_cache_total", where='result="hit"'), per_second("embed_cache_total"))},
        unit="percentunit", most=1,
    ),
    Panel(
        "Decisions that wait for the store", "Further ones are dropped when 10,000 wait, by process.",
        {"{{instance}}": now("store_queue", "instance")}, unit="none", nothing="no store",
        runbook="PointsmanStoreDrops",
    ),
    Panel(
        "Writes of the store", "Batches a second, by their end.",
        {"{{result}}": per_second("store_writes_total", "result")}, unit="ops", nothing="no store",
        runbook="PointsmanStoreFails",
    ),
    Panel(
        "Decisions that were not kept", "A second, by why.",
        {"{{cause}}": per_second("store_dropped_total", "cause")}, unit="short", nothing="no store",
        runbook="PointsmanStoreDrops",
    ),
    Panel(
        "Spans that were dropped", "A second: the collector of traces is slow or refuses them. See docs/tracing.md.",
        {"{{cause}}": per_second("spans_dropped_total", "cause")}, unit="short", nothing="no tracing",
    ),
)  # fmt: skip

OPERATIONS = dashboard(
    "pointsman",
    "Pointsman",
    "Is it well, where do requests go and why, and what does it cost?",
    {
        "Is it well?": _WELL,
        "Traffic": _TRAFFIC,
        "Latency": _LATENCY,
        "Trouble": _TROUBLE,
        "Tokens and money": _MONEY,
        "Topics and feedback": _QUALITY,
        "Inside": _INSIDE,
    },
)
