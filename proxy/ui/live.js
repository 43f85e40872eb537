// The view Live: decisions as this worker makes them, and what they add up to.

import { events, get } from "./api.js";
import { latencyChart, routeChart } from "./charts.js";
import { $, h, show } from "./dom.js";
import { NONE, clock, count, ms, percent, quantile, range, usd } from "./format.js";

const MOST = 2000; // what is remembered for the charts
const ROWS = 40;
const LOOK_MS = 2000;
const PAUSE_MS = 1000; // before it connects again; twice as long each time that it is refused
const MOST_PAUSE_MS = 15_000;

let watching = null;
let looking = 0;
let parts = null;
let seen = [];
let pending = false;

export function startLive() {
  if (watching) return;
  parts ??= build();
  watching = new AbortController();
  watch(watching.signal);
  look();
  looking = setInterval(() => { look(); paint(); }, LOOK_MS);
}

export function stopLive() {
  watching?.abort();
  watching = null;
  clearInterval(looking);
}

// No EventSource: to it any answer but 200 is the end, and it does not say which answer came. What stands in front of a
// server that starts again says 502 for a while.
async function watch(signal) {
  let pause = PAUSE_MS;
  while (!signal.aborted) {
    let trouble = "";
    try {
      let isFirst = true;
      for await (const data of await events("v1/live", signal)) {
        if (isFirst) greet(JSON.parse(data));
        else add(JSON.parse(data));
        isFirst = false;
        pause = PAUSE_MS;
      }
    } catch (error) {
      if (signal.aborted) return;
      trouble = `${error.message} `;
    }
    say(`${trouble}Connecting again …`, false);
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(2 * pause, MOST_PAUSE_MS);
  }
}

function greet({ worker, last }) {
  seen = last;
  say(`Watching process ${worker}. With several workers each tells of its own requests only; /metrics adds all up.`, true);
  paint();
}

function add(told) {
  seen.push(told);
  if (seen.length > MOST) seen = seen.slice(-MOST);
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => { pending = false; paint(); });
}

function say(text, isOn) {
  parts.status.textContent = text;
  parts.status.classList.toggle("is-on", isOn);
}

async function look() {
  try {
    const told = await get("v1/targets");
    show(parts.targets, told.models.map(({ model, targets }) =>
      h("li", { class: "target-model" }, h("h3", {}, model), h("ul", {}, targets.map(target)))));
  } catch (error) {
    show(parts.targets, h("li", { class: "note" }, error.message));
  }
}

const STATES = { closed: "takes requests", half_open: "on trial", open: "rests" };

const target = (each) =>
  h("li", { class: `target ${each.state}` },
    h("span", { class: "target-name" }, each.target),
    h("span", { class: "state" }, STATES[each.state] ?? each.state, each.reason ? `: ${each.reason}` : ""),
    h("span", { class: "note" },
      [each.latency_ms === null ? null : ms(each.latency_ms), `${each.in_flight} under way`, each.error_rate ? `${percent(each.error_rate)} failed` : null,
        each.state === "open" ? `next try in ${each.next_probe_s.toFixed(0)} s` : null].filter(Boolean).join(" · ")));

function build() {
  const node = (name) => h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, NONE));
  const tiles = Object.fromEntries(["Requests", "Decision p50 / p95", "Answer p50 / p95", "Failed", "Cost", "Saved"].map((name) => [name, node(name)]));
  const status = h("p", { class: "live-status note", role: "status" }, "Connecting …");
  const routes = h("div", { class: "chart" });
  const latency = h("div", { class: "chart" });
  const targets = h("ul", { class: "targets-list" });
  const rows = h("tbody");
  show($("live"),
    status,
    h("dl", { class: "tiles" }, Object.values(tiles)),
    h("div", { class: "pair" },
      h("section", { class: "card", "aria-label": "Traffic by route" }, h("h2", { class: "title" }, "Traffic by route, requests in ten seconds"), routes),
      h("section", { class: "card", "aria-label": "Latency" }, h("h2", { class: "title" }, "Decision latency, milliseconds"), latency)),
    h("section", { class: "card", "aria-label": "Targets" }, h("h2", { class: "title" }, "Targets"), targets),
    h("section", { class: "card", "aria-label": "Decisions" },
      h("h2", { class: "title" }, "Decisions, the newest first"),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The last decisions" },
        h("table", { class: "decisions" },
          h("thead", {}, h("tr", {}, ["Time", "Route", "Model", "Because", "Status", "Decided in", "Took", "Tokens", "Cost"].map((name) => h("th", { scope: "col" }, name)))),
          rows))));
  return { status, tiles, targets, rows, routes: routeChart(routes), latency: latencyChart(latency) };
}

function paint() {
  const set = (name, text) => { parts.tiles[name].querySelector("dd").textContent = text; };
  const decided = seen.map((each) => each.decision_ms).filter((value) => value !== undefined);
  const took = seen.filter((each) => each.route !== undefined).map((each) => each.seconds * 1000);
  const both = (values) => range(quantile(values, 0.5), quantile(values, 0.95));
  const priced = seen.filter((each) => each.cost_usd !== undefined);
  const compared = priced.filter((each) => each.baseline_cost_usd !== undefined);
  const sum = (list, name) => list.reduce((total, each) => total + each[name], 0);
  set("Requests", count(seen.length));
  set("Decision p50 / p95", both(decided));
  set("Answer p50 / p95", both(took));
  set("Failed", seen.length ? percent(seen.filter((each) => each.status >= 500 || each.status === 0).length / seen.length) : NONE);
  set("Cost", priced.length ? usd(sum(priced, "cost_usd")) : NONE);
  set("Saved", compared.length ? saved(sum(compared, "baseline_cost_usd"), sum(compared, "cost_usd")) : priced.length ? "no baseline was set" : NONE);
  show(parts.rows, seen.slice(-ROWS).reverse().map(row));
  parts.routes.update(seen);
  parts.latency.update(seen);
}

const saved = (baseline, cost) =>
  `${usd(Math.abs(baseline - cost))}${baseline < cost ? " lost" : ""}${baseline ? ` (${percent(1 - cost / baseline)})` : ""}`;

const row = (each) =>
  h("tr", { class: each.status >= 400 || each.status === 0 ? "failed" : "" },
    h("td", { class: "number" }, clock(each.time)),
    h("td", {}, each.route ?? NONE),
    h("td", {}, each.model ?? NONE, each.decided ? ` (instead of ${each.decided})` : ""),
    h("td", {}, [each.reason, each.topic && each.score !== undefined ? `${each.topic} ${each.score.toFixed(2)}` : null, each.fail_open].filter(Boolean).join(", ")),
    h("td", { class: "number" }, each.status || "left"),
    h("td", { class: "number" }, ms(each.decision_ms)),
    h("td", { class: "number" }, ms(each.seconds * 1000)),
    h("td", { class: "number" }, each.tokens ? `${count(each.tokens.prompt)} + ${count(each.tokens.completion)}` : NONE),
    h("td", { class: "number" }, usd(each.cost_usd)));
