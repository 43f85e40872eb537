// The view Map: the topics' examples in a plane, and where the typed text stands among them.

import { get } from "./api.js";
import { $, direction, h, s, show } from "./dom.js";
import { score } from "./format.js";
import { onChange, state, type } from "./state.js";

const WIDE = { width: 1000, height: 510, margin: 34 };
const NARROW = { width: 440, height: 500, margin: 24 }; // of a phone, where the same marks would be specks
let size = WIDE;
const COLOURS = 8;
// Shapes repeat later than colours, so that a topic is told by either; each is drawn about the origin.
const SHAPES = [
  "M-6,0a6,6 0 1,0 12,0a6,6 0 1,0 -12,0Z", "M-5.3,-5.3H5.3V5.3H-5.3Z", "M0,-7L6.6,5H-6.6Z", "M0,-7.4L7.4,0L0,7.4L-7.4,0Z",
  "M-2.2,-6.6H2.2V-2.2H6.6V2.2H2.2V6.6H-2.2V2.2H-6.6V-2.2H-2.2Z", "M0,7L-6.6,-5H6.6Z",
  "M0,-7L2,-2.2L7,-2.2L3,1.2L4.4,6.4L0,3.4L-4.4,6.4L-3,1.2L-7,-2.2L-2,-2.2Z",
];
const shape = (topic) => SHAPES[topic % SHAPES.length];
const colour = (topic) => `t${topic % COLOURS}`;

let drawn = null;
let opening = null;
const off = new Set();

// Each time anew, for the topics may have changed; what is the same is not drawn again.
export function openMap() {
  opening ??= get("v1/map").then(draw, refuse).finally(() => { opening = null; });
}

function refuse(error) {
  if (drawn) return; // the last map stays, as the last decision does
  show($("map"), h("div", { class: "card refused" }, h("h2", {}, "No map"), h("p", {}, error.message)));
}

function draw(told) {
  if (drawn?.told.revision === told.revision) return;
  const hadFocus = document.activeElement?.id === "map-prompt";
  drawn = null;
  off.clear();
  if (!told.points.length) {
    show($("map"), h("div", { class: "card welcome" }, h("h2", {}, "There are no topics"), h("p", {}, "Topics with examples in routes.yaml make a map; rules that look at the text go by them.")));
    return;
  }
  size = $("map").clientWidth < 600 ? NARROW : WIDE;
  const scale = fitted(told.points);
  const groups = told.topics.map((topic, place) =>
    s("g", { class: `points ${colour(place)}` }, told.points.filter((point) => point.topic === place).map((point) => mark(point, scale))));
  const links = s("g", { class: "links" });
  const here = s("g", { class: "here", hidden: true },
    s("circle", { class: "halo", r: 17 }), s("circle", { class: "pin", r: 7 }), s("text", { y: -24, "text-anchor": "middle" }, "your text"));
  const svg = s("svg", { viewBox: `0 0 ${size.width} ${size.height}`, role: "img", "aria-label": "The examples of all topics in a plane; the list below says the same in words" }, groups, links, here);
  const tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const stage = h("div", { class: "stage" }, svg, tip);
  listen(stage, svg, tip, told);
  const input = h("input", { id: "map-prompt", placeholder: "Type a prompt and see where it lands", autocomplete: "off", spellcheck: "false" });
  input.addEventListener("input", () => type(input.value));
  const nearest = h("div", { id: "nearest", class: "nearest" });
  show($("map"),
    h("div", { class: "card" },
      h("label", { class: "title", for: "map-prompt" }, "What would a client ask?"), input,
      legend(told, groups),
      stage,
      h("p", { class: "note" }, "The plane in which the topics stand furthest apart, out of the vectors' 768 dimensions: what is near here is often, not always, near in all of them. Routing decides in all of them.")),
    nearest,
    listed(told));
  drawn = { scale, here, links, input, nearest, told, groups };
  place();
  if (hadFocus) input.focus();
}

function fitted(points) {
  const span = (values) => [Math.min(...values), Math.max(...values)];
  const [left, right] = span(points.map((point) => point.x));
  const [low, high] = span(points.map((point) => point.y));
  // Each axis by itself: what matters is who stands with whom.
  const x = (size.width - 2 * size.margin) / (right - left || 1);
  const y = (size.height - 2 * size.margin) / (high - low || 1);
  const inside = (value, most) => Math.max(14, Math.min(most - 14, value));
  return (point) => [
    inside(size.margin + (point.x - left) * x, size.width),
    inside(size.height - size.margin - (point.y - low) * y, size.height),
  ];
}

function mark(point, scale) {
  const [x, y] = scale(point);
  const node = s("path", { d: shape(point.topic), transform: `translate(${x.toFixed(1)},${y.toFixed(1)})`, class: "point" });
  node.told = point;
  return node;
}

function legend(told, groups) {
  const button = (topic, place) =>
    h("button", { type: "button", class: `legend ${colour(place)}`, "aria-pressed": "true", onclick: (event) => {
      const isOff = off.has(place);
      if (isOff) off.delete(place);
      else off.add(place);
      groups[place].classList.toggle("is-off", !isOff);
      event.currentTarget.setAttribute("aria-pressed", String(isOff));
    } }, s("svg", { viewBox: "-9 -9 18 18", "aria-hidden": "true" }, s("path", { d: shape(place) })), h("span", {}, topic.name), h("span", { class: "note" }, String(topic.examples)));
  return h("div", { class: "legends", role: "group", "aria-label": "Topics shown" }, told.topics.map(button));
}

function listen(stage, svg, tip, told) {
  svg.addEventListener("pointermove", (event) => {
    const point = event.target.told;
    tip.hidden = !point;
    if (!point) return;
    show(tip, h("strong", {}, told.topics[point.topic].name), h("span", { dir: "auto" }, point.text));
    const box = stage.getBoundingClientRect();
    const x = event.clientX - box.left;
    tip.style.setProperty("left", `${Math.min(Math.max(x, 130), box.width - 130)}px`);
    tip.style.setProperty("top", `${event.clientY - box.top}px`);
    tip.classList.toggle("is-below", event.clientY - box.top < 90);
  });
  svg.addEventListener("pointerleave", () => { tip.hidden = true; });
}

function place() {
  if (!drawn) return;
  const { scale, here, links, input, nearest, told } = drawn;
  if (input.value !== state.text) input.value = state.text;
  input.dir = direction(state.text);
  if (state.isAsking && state.explained) return;
  const stand = state.explained?.map;
  here.toggleAttribute("hidden", !stand);
  if (!stand) {
    show(links);
    show(nearest, placeless());
    return;
  }
  if (stand.revision !== told.revision) {
    openMap(); // the topics have changed since this was drawn
    return;
  }
  const [x, y] = scale(stand);
  here.style.setProperty("transform", `translate(${x.toFixed(1)}px,${y.toFixed(1)}px)`);
  here.dataset.x = x.toFixed(1);
  here.dataset.y = y.toFixed(1);
  const points = stand.nearest.map((each) => told.points.find((point) => point.text === each.text && told.topics[point.topic].name === each.topic)).filter(Boolean);
  show(links, points.map((point) => {
    const [px, py] = scale(point);
    const near = Math.min(1, 18 / (Math.hypot(px - x, py - y) || 1)); // from the rim of the mark, not through it
    return s("line", { x1: x + (px - x) * near, y1: y + (py - y) * near, x2: px, y2: py });
  }));
  const { topic } = state.explained;
  show(nearest, h("section", { class: "card", "aria-label": "Nearest examples" },
    h("h2", { class: "title" }, "Nearest examples"),
    topic && h("p", { class: "note" }, `Best topic: ${topic.name}, ${score(topic.score)}; it holds from ${score(topic.threshold)}`),
    h("ul", { class: "nearest-list" }, stand.nearest.map((each) =>
      h("li", {}, h("span", { class: "number" }, score(each.similarity)), h("strong", {}, each.topic), h("span", { dir: "auto" }, each.text))))));
}

// Why a text has no place; nothing where there is no text.
function placeless() {
  const why = state.error?.message ?? (state.explained && (state.explained.note ?? "There is no text to look at."));
  return why && h("p", { class: "card note" }, `Not on the map: ${why}`);
}

onChange(place);

const listed = (told) =>
  h("details", { class: "card listed" },
    h("summary", {}, `All examples as a list (${told.points.length})`),
    told.topics.map((topic, place) => [
      h("h3", {}, topic.name),
      h("ul", {}, told.points.filter((point) => point.topic === place).map((point) => h("li", { dir: "auto" }, point.text))),
      topic.examples > told.points.filter((point) => point.topic === place).length && h("p", { class: "note" }, "and more, which are not shown"),
    ]));
