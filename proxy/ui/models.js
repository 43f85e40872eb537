// The view Models: what the policy expects of each model in each region of texts, and on how many ratings.

import { get } from "./api.js";
import { $, h, show } from "./dom.js";
import { count, score, usd } from "./format.js";

export async function openModels() {
  try {
    // To ask for one that is not there would be an error in the console; where only /v1 is let through, so be it.
    const ready = await get("readyz").catch(() => null);
    show($("models"), ready?.policy === null ? noPolicy() : policy(await get("v1/policy")));
  } catch (error) {
    show($("models"), error.code === "no_policy" ? noPolicy() : h("div", { class: "card refused" }, h("h2", {}, "No answer"), h("p", {}, error.message)));
  }
}

const noPolicy = () =>
  h("div", { class: "card welcome" },
    h("h2", {}, "Nothing is learned yet"),
    h("p", {}, "There is no policy: routes.yaml names none, or its file is not there yet."),
    h("ol", { class: "steps" },
      h("li", {}, "Keep decisions and rate them: ", h("code", {}, "store:"), " in routes.yaml, then Try, or POST /v1/feedback."),
      h("li", {}, "Train: ", h("code", {}, "pointsman train --store"), " reads the store, ", h("code", {}, "pointsman train FILE"), " a file of rated requests; either tells what the policy is worth before it writes it."),
      h("li", {}, "Name the file under ", h("code", {}, "policy:"), " and let a route decide by it: ", h("code", {}, "use: {learned: [small, large]}"), ".")));

function policy(told) {
  const applied = told.corrections?.applied;
  const best = (region) => Math.max(...region.models.map((each) => each.quality + (each.applied ? each.correction : 0)));
  return [
    h("div", { class: "card" },
      h("h2", { class: "title" }, `Policy ${told.version}`),
      h("p", { class: "note" }, told.rows ? `Trained on ${count(told.rows)} rated requests. ` : "Trained on rated requests. ",
        told.corrections ? `${count(told.corrections.ratings)} ratings of live decisions since, ${applied ? "which decisions follow" : "shown only, decisions do not follow them"}.` : "", told.note ? ` ${told.note}.` : ""),
      h("ul", { class: "bars models" }, told.models.map((each) =>
        h("li", { class: "bar", "--value": each.quality, "--mark": -1 },
          h("span", { class: "bar-name" }, each.model),
          h("span", { class: "bar-rail", "aria-hidden": "true" }, h("span", { class: "bar-fill" })),
          h("span", { class: "bar-value" }, score(each.quality)),
          h("span", { class: "note number" }, each.cost_usd === null ? "cost not known" : `${usd(each.cost_usd)} each`))))),
    h("section", { class: "card", "aria-label": "Quality by region" },
      h("h2", { class: "title" }, "Quality by region of texts"),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Quality by region and model" },
        h("table", { class: "heat" },
          h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Region"), told.models.map((each) => h("th", { scope: "col" }, each.model)))),
          h("tbody", {}, told.regions.map((region) =>
            h("tr", {}, h("th", { scope: "row" }, String(region.region), about(region)), region.models.map((each) => cell(each, best(region)))))))),
      h("p", { class: "note" }, "0 to 1, with the ratings behind it; a correction by live feedback is written beside. The best of a region is framed. Beside its number: the topics that have examples in it.")),
  ];
}

// What a region is about: it has no name of its own.
function about(region) {
  const most = 3;
  const named = region.topics.slice(0, most).map(({ topic, examples }) => `${topic} ${examples}`).join(" · ");
  return named && h("span", { class: "note" }, region.topics.length > most ? `${named} · …` : named);
}

function cell(each, best) {
  const value = each.quality + (each.applied ? each.correction : 0);
  return h("td", { class: `heat-cell ${value === best ? "best" : ""}`, "--value": value },
    h("span", { class: "heat-value" }, score(value)),
    each.correction ? h("span", { class: "correction" }, `${each.correction > 0 ? "+" : "−"}${score(Math.abs(each.correction))}`) : null,
    h("span", { class: "note" }, `${count(each.ratings)}${each.live_ratings ? ` + ${count(each.live_ratings)} live` : ""}`));
}
