// The two charts of Live, on uPlot; colours come from the style sheet, and change with it.

import uPlot from "./vendor/uplot.js";
import { ms, quantile } from "./format.js";

const BUCKET_S = 10;
const BUCKETS = 30;
const ROUTES = 8;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const times = () => {
  const last = Math.floor(Date.now() / 1000 / BUCKET_S) * BUCKET_S;
  return Array.from({ length: BUCKETS }, (_, place) => last - (BUCKETS - 1 - place) * BUCKET_S);
};
const bucketOf = (each, xs) => Math.floor((each.time - xs[0]) / BUCKET_S);

const axes = (incrs) => {
  const both = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  return [
    { ...both, grid: { show: false }, space: 70, values: (_, ticks) => ticks.map((tick) => new Date(tick * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" })) },
    { ...both, size: 46, ...(incrs ? { incrs } : {}), values: (_, ticks) => ticks.map(String) },
  ];
};

// A chart that is made anew when its series, its width or the theme change, else only gets new numbers. `words` says
// the same to whoever cannot see it.
function chart(node, seriesOf, dataOf, words, range, style, incrs) {
  node.setAttribute("role", "img");
  let plot = null;
  let made = "";
  let last = [];
  const update = (seen) => {
    last = seen;
    const width = node.clientWidth;
    if (!width) return;
    const names = seriesOf(seen);
    const key = JSON.stringify([names, width, css("--paper")]);
    const data = dataOf(seen, names);
    node.setAttribute("aria-label", words(names, data.slice(1)));
    if (key === made) {
      plot.setData(data);
      return;
    }
    plot?.destroy();
    made = key;
    plot = new uPlot({
      width, height: 210, padding: [null, 28, null, null], cursor: { y: false, points: { size: 7 } }, legend: { live: false }, axes: axes(incrs),
      scales: { x: { time: true }, y: { range } },
      series: [{}, ...names.map((name, place) => ({
        label: name, stroke: css(`--t${place % 8}`), width: 2, ...style(place),
        dash: place >= 4 ? [6, 4] : undefined,
      }))],
    }, data, node);
  };
  addEventListener("themechange", () => update(last));
  addEventListener("resize", () => update(last));
  return { update };
}

export const routeChart = (node) =>
  chart(node,
    (seen) => {
      const counts = new Map();
      for (const each of seen) counts.set(each.route ?? "–", (counts.get(each.route ?? "–") ?? 0) + 1);
      return [...counts].sort((a, b) => b[1] - a[1]).slice(0, ROUTES).map(([name]) => name).sort();
    },
    (seen, names) => {
      const xs = times();
      const rows = names.map(() => new Array(BUCKETS).fill(0));
      for (const each of seen) {
        const [row, at] = [names.indexOf(each.route ?? "–"), bucketOf(each, xs)];
        if (row >= 0 && at >= 0 && at < BUCKETS) rows[row][at] += 1;
      }
      return [xs, ...rows];
    },
    (names, rows) => `Requests of the last five minutes: ${names.map((name, place) => `${name} ${rows[place].reduce((a, b) => a + b, 0)}`).join(", ") || "none"}`,
    (_, low, high) => [0, Math.max(4, high ?? 4)],
    (place) => ({ points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }), fill: `${css(`--t${place % 8}`)}1c` }),
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000]); // there is no half a request

export const latencyChart = (node) =>
  chart(node,
    () => ["p50", "p95"],
    (seen) => {
      const xs = times();
      const found = xs.map(() => []);
      for (const each of seen) {
        const at = bucketOf(each, xs);
        if (each.decision_ms !== undefined && at >= 0 && at < BUCKETS) found[at].push(each.decision_ms);
      }
      return [xs, found.map((values) => quantile(values, 0.5)), found.map((values) => quantile(values, 0.95))];
    },
    (names, rows) => `Decisions, when there were last any: ${names.map((name, place) => `${name} ${ms(rows[place].findLast((value) => value !== null))}`).join(", ")}`,
    (_, low, high) => [0, Math.max(1, (high ?? 1) * 1.1)],
    () => ({ points: { show: true, size: 5 }, spanGaps: true }));
