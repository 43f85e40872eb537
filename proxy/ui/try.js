// The view Try: the editor, the decision beside it, and sending it.

import { get } from "./api.js";
import { $, direction, h, s, show } from "./dom.js";
import { annotate, journey, verdictInWords } from "./journey.js";
import { send, stop } from "./send.js";
import { onChange, protocol, state, type } from "./state.js";

const EXAMPLES = [
  "My for loop skips the last element of the array",
  "Prove that the square root of three is irrational",
  "Write an email to my landlord about the broken heating",
  "thanks, that helped a lot!",
];
const SPEAK_AFTER_MS = 900; // a screen reader hears where it settles, not each step of the typing

let speaking = 0;

export function openTry() {
  const prompt = $("prompt");
  show(
    $("examples"),
    EXAMPLES.map((text) =>
      h("button", { type: "button", class: "chip", onclick: () => { prompt.value = text; type(text, { now: true }); prompt.focus(); } }, text),
    ),
  );
  prompt.addEventListener("input", () => type(prompt.value));
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
  });
  $("key").addEventListener("input", () => { state.key = $("key").value.trim().replace(/^bearer\s+/i, ""); });
  $("key-form").addEventListener("submit", (event) => event.preventDefault());
  $("key").addEventListener("change", () => type(state.text, { now: true }));
  $("protocol").addEventListener("change", () => {
    state.protocol = $("protocol").value;
    type(state.text, { now: true });
  });
  $("send").addEventListener("click", send);
  $("stop").addEventListener("click", stop);
  onChange(paint);
  protocol().then(offerProtocols);
  if (prompt.value) type(prompt.value, { now: true }); // a browser may bring back what was typed before a reload
  else paint();
}

// Where models of both are there, either may be asked for.
function offerProtocols() {
  $("protocols").hidden = state.protocols.length < 2;
  $("protocol").value = state.protocol;
}

function paint() {
  offerProtocols();
  if ($("prompt").value !== state.text) $("prompt").value = state.text;
  $("prompt").dir = direction(state.text);
  $("prompt-note").textContent = state.request?.note ?? "A prompt, or a whole request as JSON. As you type, nothing is sent to a model.";
  $("decision").setAttribute("aria-busy", String(state.isAsking));
  clearTimeout(speaking);
  if (state.isAsking && state.explained) return; // the last decision stays until there is a new one
  if (!state.explained) $("decision-status").textContent = ""; // what is refused is an alert of its own
  if (state.error) {
    show($("journey"), h("div", { class: "card refused", role: "alert" },
      h("h2", { class: "title" }, "No decision"), h("p", {}, state.error.message)));
  } else if (state.explained) {
    show($("journey"), journey(state.explained));
    tellTargets();
    speaking = setTimeout(() => { $("decision-status").textContent = verdictInWords(state.explained); }, SPEAK_AFTER_MS);
  } else {
    show($("journey"), welcome());
  }
}

let targets = null;

// Once now from what is known, and again when the server has told.
async function tellTargets() {
  if (targets) annotate($("journey"), targets);
  try {
    targets = await get("v1/targets");
    annotate($("journey"), targets);
  } catch {
    // the decision stands without it
  }
}

// The picture of the whole idea: a line, two switches passed by, one taken.
const art = () =>
  s("svg", { class: "welcome-art", viewBox: "0 0 420 120", "aria-hidden": "true" },
    s("path", { class: "line rest", d: "M250 40H410" }),
    s("path", { class: "line", d: "M10 40H200C250 40 240 88 290 88H372" }),
    [60, 140].map((x) => s("circle", { class: "switch", cx: x, cy: 40, r: 8 })),
    s("circle", { class: "switch turned", cx: 214, cy: 42, r: 8 }),
    s("circle", { class: "switch rest", cx: 330, cy: 40, r: 8 }),
    s("rect", { class: "end", x: 368, y: 74, width: 44, height: 28, rx: 14 }));

const welcome = () =>
  h("div", { class: "card welcome" },
    art(),
    h("h2", {}, "See which way a request takes, and why"),
    h("p", {}, "Type a prompt. Each rule of routes.yaml is a switch on its way; the first that applies turns it towards a model."));
