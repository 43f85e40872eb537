// One decision, drawn: the line through the rules, and what was known of the text.

import { h, show } from "./dom.js";
import { NONE, count, ms, score, usd } from "./format.js";

const REASONS = {
  rule: "a rule applied",
  topic: "of what it is about",
  complexity: "of how hard it reads",
  learned: "the policy scores it best, quality against cost",
  split: "it was drawn by weight",
  conversation: "the conversation goes on where it is",
  pinned: "the client named the model",
  default: "no rule applied",
  overload: "the text could not be looked at",
};

export const verdictInWords = (told) =>
  told.block ? `Blocked by route ${told.route}: ${told.block.message}`
    : told.route ? `Route ${told.route}, model ${told.model}, because ${REASONS[told.reason] ?? told.reason}.` : "";

export const journey = (told) => [verdict(told), track(told), signals(told), candidates(told)];

function verdict(told) {
  const isByRule = ["rule", "topic", "complexity"].includes(told.reason);
  const taken = isByRule ? told.rules.find((rule) => rule.matched && rule.route === told.route) : null;
  return h("div", { class: `card verdict ${told.block ? "is-blocked" : ""}` },
    h("p", { class: "verdict-line" },
      h("span", { class: "verdict-label" }, "route"), h("strong", { class: "station" }, told.route),
      h("span", { class: "arrow", "aria-hidden": "true" }, "→"),
      told.block
        ? [h("span", { class: "verdict-label" }, "blocked"), h("strong", { class: "station end" }, String(told.block.status))]
        : [h("span", { class: "verdict-label" }, "model"), h("strong", { class: "station end" }, told.model)]),
    h("p", {}, `Because ${REASONS[told.reason] ?? told.reason}`, taken ? `: ${taken.why}.` : "."),
    told.block && h("p", { dir: "auto" }, told.block.message),
    told.arm && h("p", { class: "note" }, `Arm of the experiment: ${told.arm}`),
    told.note && h("p", { class: "note warn" }, told.note));
}

// The rules in their order as switches on a line: passed, taken, or never reached.
function track(told) {
  const at = told.rules.findIndex((rule) => rule.matched && rule.route === told.route);
  const isDefault = at < 0 && told.route === "default";
  const isEarly = at < 0 && !isDefault; // decided before any rule, such as by the client's own word
  const stops = told.rules.map((rule, place) => ({
    name: rule.route, why: rule.why, models: rule.models,
    state: place === at ? "taken" : (isDefault || (at >= 0 && place < at)) ? "passed" : "after",
  }));
  if (isEarly) stops.unshift({ name: told.route, why: REASONS[told.reason] ?? told.reason, models: [told.model], state: "taken" });
  if (isDefault) stops.push({ name: "default", why: REASONS[told.reason] ?? "no rule applied", models: [told.model], state: "taken" });
  const words = { passed: "passed by", taken: "taken", after: "not reached" };
  return h("section", { class: "card", "aria-label": "The way through the rules" },
    h("h2", { class: "title" }, "The way through the rules"),
    h("ol", { class: `track ${told.block ? "is-blocked" : ""}` },
      stops.map((stop) =>
        h("li", { class: `stop ${stop.state}` },
          h("span", { class: "stop-name" }, stop.name, h("span", { class: "visually-hidden" }, `, ${words[stop.state]}`)),
          h("span", { class: "stop-why" }, stop.why),
          h("span", { class: "stop-model" },
            stop.state === "taken" && told.block ? `blocked ${told.block.status}`
              : stop.state === "taken" ? told.model : stop.models.length ? stop.models.join(" · ") : "blocks")))));
}

function signals(told) {
  const most = 12;
  const shown = told.topics.slice(0, most);
  const timings = Object.entries(told.timings_ms ?? {});
  return h("section", { class: "card", "aria-label": "What the text says" },
    h("h2", { class: "title" }, "What the text says"),
    shown.length
      ? h("ul", { class: "bars" }, shown.map((topic, place) => topicBar(topic, place === 0)))
      : h("p", { class: "note" }, "No topics: routes.yaml has none, or there is no text to look at."),
    told.topics.length > most && h("p", { class: "note" }, `and ${told.topics.length - most} more topics below these`),
    h("div", { class: "gauges" },
      gauge("Complexity", told.complexity),
      fact("Tokens", `≈ ${count(told.tokens)}`),
      timings.map(([stage, value]) => fact(stage, ms(value)))));
}

function topicBar(topic, isBest) {
  const holds = isBest && topic.score >= topic.threshold;
  return h("li", { class: `bar ${holds ? "holds" : ""}`, "--value": topic.score, "--mark": topic.threshold },
    h("span", { class: "bar-name" }, topic.name),
    h("span", { class: "bar-rail", "aria-hidden": "true" }, h("span", { class: "bar-fill" }), h("span", { class: "bar-mark" })),
    h("span", { class: "bar-value" }, score(topic.score),
      h("span", { class: "visually-hidden" }, ` of 1; holds from ${score(topic.threshold)}${holds ? ", and does" : ""}`)));
}

// How the targets do at this moment, beside their names; what is not known is left out.
export function annotate(node, told) {
  for (const { model, targets } of told.models) {
    for (const each of targets) {
      for (const place of node.querySelectorAll(".target-now")) {
        if (place.dataset.target !== each.target || place.closest("[data-model]").dataset.model !== model) continue;
        const facts = [each.latency_ms === null ? null : ms(each.latency_ms), each.state === "closed" ? null : each.state === "open" ? "rests" : "on trial"];
        show(place, each.target, facts.filter(Boolean).map((text) => h("span", { class: "now" }, text)));
      }
    }
  }
}

const gauge = (name, value) =>
  h("div", { class: "fact" },
    h("span", { class: "fact-name" }, name),
    h("span", { class: "fact-value" }, score(value)),
    h("span", { class: "mini", "aria-hidden": "true", "--value": value ?? 0 }));

const fact = (name, value) =>
  h("div", { class: "fact" }, h("span", { class: "fact-name" }, name), h("span", { class: "fact-value" }, value));

function candidates(told) {
  const isLearned = told.candidates.some((each) => each.quality !== null);
  const columns = isLearned ? ["Quality", "Correction", "Score", "Cost"] : ["Price of a million, in / out", "Prompt's cost"];
  const price = (each) => (each.price ? `${usd(each.price.input)} / ${usd(each.price.output)}` : NONE);
  const prompt = (each) => (each.price ? (each.price.input * told.tokens) / 1e6 : null);
  return h("section", { class: "card", "aria-label": "Who could answer" },
    h("h2", { class: "title" }, "Who could answer"),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Models and what they are expected to do" },
      h("table", {},
        h("thead", {}, h("tr", {}, ["Model", ...columns, "Targets, first token now"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, told.candidates.map((each) =>
          h("tr", { class: each.excluded ? "excluded" : each.model === told.model && !told.block ? "chosen" : "" },
            h("th", { scope: "row" }, each.model, each.model === told.model && !told.block ? h("span", { class: "tag" }, "chosen") : null),
            each.excluded
              ? h("td", { colspan: columns.length + 1, class: "why" }, `cannot: ${each.excluded}`)
              : [
                  isLearned
                    ? [score(each.quality), each.correction ? `${each.correction > 0 ? "+" : ""}${score(each.correction)}` : NONE, score(each.score), usd(each.cost_usd)].map((text) => h("td", { class: "number" }, text))
                    : [price(each), usd(prompt(each))].map((text) => h("td", { class: "number" }, text)),
                  h("td", { class: "targets", "data-model": each.model }, each.targets.map((name) => h("span", { class: "target-now", "data-target": name }, name))),
                ]))))),
    isLearned && h("p", { class: "note" }, "Score: quality, corrected, less what its cost and seconds count for. The model that is best on average has a margin, so large that it takes all where the policy was not proved better."));
}
