"""The dashboard of whoever tries another model, policy or configuration."""

from __future__ import annotations

from deploy.grafana.board import (
    Panel,
    dashboard,
    each_answer,
    grown,
    mean_of,
    mean_rating,
    per_second,
    quantile,
    series,
    share_of,
)

_CHOSEN = 'reason=~"learned|split"'


def _shadow_cost(choice: str) -> str:
    return grown("shadow_cost_usd_total", where=f'choice="{choice}"')


_ARMS = (
    Panel(
        "Decisions by arm", "Of routes that split their requests.",
        {"{{route}} {{arm}}": per_second("experiment_decisions_total", "route, arm")}, unit="reqps", is_stacked=True,
        nothing="no route splits",
    ),
    Panel(
        "Shares of the arms", "Of a route's decisions, in the time that is shown, beside the weights in routes.yaml.",
        {"{{route}} {{arm}}": (
            f"{grown('experiment_decisions_total', 'route, arm')}"
            f" / on (route) group_left () ({grown('experiment_decisions_total', 'route')} > 0)"
        )},
        "bargauge", "percentunit", most=1, nothing="no route splits",
    ),
    Panel(
        "Learned, split and fixed", "Decisions by who made them: the policy, chance, or a rule.",
        {"{{reason}}": per_second("decisions_total", "reason")}, unit="reqps", is_stacked=True,
    ),
)  # fmt: skip

_MODELS = (
    Panel(
        "Learned and split decisions by model",
        "What exploring sends to a model is in here: with `explore` no model of a learned route falls to nothing. "
        "Intervals and the arms' costs: `pointsman report`.",
        {"{{route}} {{model}} {{reason}}": per_second("decisions_total", "route, model, reason", _CHOSEN)},
        unit="reqps", width=12, nothing="no route is learned or splits",
    ),
    Panel(
        "Shares of the models", "Of a route's learned and split decisions, in the time that is shown.",
        {"{{route}} {{model}}": (
            f"{grown('decisions_total', 'route, model', _CHOSEN)}"
            f" / on (route) group_left () ({grown('decisions_total', 'route', _CHOSEN)} > 0)"
        )},
        "bargauge", "percentunit", width=12, most=1, nothing="no route is learned or splits",
    ),
    Panel(
        "Cost of 1,000 requests by model",
        "Of answers that tell their tokens, in the time that is shown, on all routes.",
        {"{{model}}": f"1000 * {each_answer('cost_usd_total', 'model')}"},
        "bargauge", "currencyUSD",
    ),
    Panel(
        "Tokens of an answer by model",
        "Completion tokens of answers that tell them, in the time that is shown, on all routes.",
        {"{{model}}": each_answer("tokens_total", "model", 'kind="completion"')},
        "bargauge", "short",
    ),
    Panel(
        "First token by model, median", "Of streams, from the request to an upstream to its first content.",
        {"{{model}}": quantile(0.5, "first_token_seconds", "model")}, unit="s", runbook="PointsmanFirstTokenSlow",
    ),
    Panel(
        "Whole answers by route and model, p50", "From a request's head to its answer's last byte.",
        {"{{route}} {{model}}": quantile(0.5, "request_seconds", "route, model")}, unit="s",
    ),
    Panel(
        "Whole answers by route and model, p95", "From a request's head to its answer's last byte.",
        {"{{route}} {{model}}": quantile(0.95, "request_seconds", "route, model")}, unit="s",
    ),
    Panel(
        "Server errors by route and model", "The share of answers with a status of 500 and above.",
        {"{{route}} {{model}}": share_of(
            per_second("requests_total", "route, model", 'status=~"5.."'), per_second("requests_total", "route, model")
        )},
        unit="percentunit", runbook="PointsmanErrorBudgetBurnsFast",
    ),
    Panel(
        "Feedback, mean by route and model", "1 is all up, 0 all down; ratings between count one half.",
        {"{{route}} {{model}}": mean_rating("route, model")}, "bargauge", "none", width=12, height=10, most=1,
        nothing="no feedback",
    ),
    Panel(
        "Ratings by route and model", "How many the mean is of; below a hundred or so it says little.",
        {"{{route}} {{model}}": f"{grown('feedback_total', 'route, model')} > 0"}, "bargauge", "none",
        width=12, height=10, decimals=0, nothing="no feedback",
    ),
)  # fmt: skip

_SHADOW = (
    Panel(
        "Agreement", "The share of decisions for which the shadow would have used the same model, where it could tell.",
        {"": share_of(
            grown("shadow_decisions_total", where='result="same"'),
            grown("shadow_decisions_total", where='result=~"same|other"'),
        )},
        "stat", "percentunit", width=6, height=4, nothing="no shadow",
    ),
    Panel(
        "Cost at the shadow's choice", "More (+) or less (-) than what was paid, in the time that is shown.",
        {"": f"{_shadow_cost('shadow')} - {_shadow_cost('live')}"},
        "stat", "currencyUSD", width=6, height=4, nothing="no shadow",
    ),
    Panel(
        "The same, share", "Of what was paid.",
        {"": f"{mean_of(_shadow_cost('shadow'), _shadow_cost('live'))} - 1"},
        "stat", "percentunit", width=6, height=4, nothing="no shadow",
    ),
    Panel(
        "Failures of the shadow", "Unforeseen errors, which harm nobody; the log has the first.",
        {"": grown("shadow_failures_total")},
        "stat", "none", width=6, height=4, nothing="no shadow", steps=((None, "green"), (1, "red")),
    ),
    Panel(
        "What the shadow would have done", "The same model, another one, or it could not tell.",
        {"{{result}}": per_second("shadow_decisions_total", "result")}, unit="reqps", is_stacked=True,
        nothing="no shadow",
    ),
    Panel(
        "Cost an hour, live and shadow", "Of the same requests, where both are known.",
        {"{{choice}}": f"3600 * {per_second('shadow_cost_usd_total', 'choice')}"}, unit="currencyUSD",
        nothing="no shadow",
    ),
    Panel(
        "Quality that the policies predict",
        "Of both choices, by either policy. Each speaks for its own, so the truth is likely between.",
        {"{{choice}}'s choice, by {{judge}}": mean_of(
            per_second("shadow_quality_sum", "judge, choice"), per_second("shadow_quality_count", "judge, choice")
        )},
        nothing="no shadow",
    ),
)  # fmt: skip

_CORRECTIONS = (
    Panel(
        "Corrections", "What feedback adds to the policy's prediction for a model, by region of texts.",
        {"{{model}} in region {{region}}": f"max by (region, model) ({series('policy_correction')})"},
        width=16, nothing="no corrections",
    ),
    Panel(
        "Largest corrections", "Up or down, now, by region and model.",
        {"{{region}} {{model}}": f"topk(8, abs(max by (region, model) ({series('policy_correction')})))"},
        "bargauge", "none", nothing="no corrections",
    ),
)  # fmt: skip

EXPERIMENTS = dashboard(
    "pointsman-experiments",
    "Pointsman: experiments",
    "Arms, the policy, its shadow and its corrections, beside what rules decide.",
    {
        "Arms": _ARMS,
        "Models": _MODELS,
        "The shadow": _SHADOW,
        "Corrections from feedback": _CORRECTIONS,
    },
)
