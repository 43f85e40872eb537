// Sending the request, the answer as it streams in, and rating it.

import { saidBy } from "./answer.js";
import { dataOf, post, read, stream } from "./api.js";
import { $, h, show } from "./dom.js";
import { count, ms, usd } from "./format.js";
import { headersOf, requestOf, streamed } from "./request.js";
import { onChange, protocol, state } from "./state.js";

let sending = null;
let decision = null; // to be rated: its id, and the headers with the key that it was made with, which alone may rate it
const prices = new Map(); // by model, of the last decision that was explained: its text may be gone when the answer ends

export function stop() {
  sending?.abort();
}

export async function send() {
  if (sending || !state.text.trim()) {
    $("prompt").focus();
    return;
  }
  const { text, key } = state;
  begin();
  const request = requestOf(text, await protocol());
  if (!request.path) {
    fail("It has neither “messages” nor “input” nor “prompt”, so there is nothing to send.");
    end();
    return;
  }
  const began = performance.now();
  const seen = { text: "", first: null, usage: null, finish: null };
  let asked = null;
  let headers = null;
  let isAnswer = false;
  try {
    asked = headersOf(request, key);
    const answer = await stream(request.path, streamed(request), { signal: sending.signal, headers: asked });
    headers = answer.headers;
    facts(headers, seen, began);
    if (!answer.ok) await read(answer.answered);
    isAnswer = true;
    if ((headers.get("content-type") ?? "").includes("event-stream")) {
      for await (const data of dataOf(answer.answered)) {
        if (data === "[DONE]") break;
        take(JSON.parse(data), seen, began);
        facts(headers, seen, began);
      }
    } else {
      take(await read(answer.answered), seen, began);
    }
    $("answer-status").textContent = "The answer is complete.";
  } catch (error) {
    if (sending.signal.aborted) fail("Stopped. The upstream was told to stop as well.");
    else fail(error.message);
  }
  facts(headers, seen, began, performance.now() - began);
  if (isAnswer && headers.get("x-pointsman-id")) offerRating({ id: headers.get("x-pointsman-id"), headers: asked });
  end();
}

function begin() {
  sending = new AbortController();
  decision = null;
  $("answer").hidden = false;
  $("answer").setAttribute("aria-busy", "true");
  $("answer-error").hidden = true;
  $("rating").hidden = true;
  $("rated").textContent = "";
  $("answer-status").textContent = "Sent.";
  show($("answer-text"));
  show($("answer-facts"));
  $("send").disabled = true;
  $("stop").hidden = false;
}

function end() {
  const hadFocus = document.activeElement === $("stop");
  sending = null;
  $("answer").setAttribute("aria-busy", "false");
  $("send").disabled = false;
  $("stop").hidden = true;
  if (hadFocus) $("send").focus();
}

function fail(message) {
  $("answer-error").hidden = false;
  $("answer-error").textContent = message;
}

function take(event, seen, began) {
  const { text, more, error, usage, finish } = saidBy(event);
  if (error) throw new Error(error.message ?? "The answer broke off.");
  if (text || more) {
    seen.first ??= performance.now() - began;
    follow(() => $("answer-text").append(text, more && `${more}\n`));
  }
  seen.finish = finish ?? seen.finish;
  if (usage) seen.usage = { prompt: 0, cached: 0, written: 0, ...seen.usage, ...usage }; // Anthropic's streams tell it in two parts
}

// Whoever reads at the end stays there; whoever scrolled up is left alone.
function follow(append) {
  const node = $("answer-text");
  const isAtEnd = node.scrollHeight - node.scrollTop - node.clientHeight < 30;
  append();
  if (isAtEnd) node.scrollTop = node.scrollHeight;
}

// What these tokens cost; null where they or the model's prices are not known.
function costOf(model, usage) {
  const price = prices.get(model);
  if (!price || !usage) return null;
  const { prompt, cached, written, completion } = usage;
  const ofCache = cached * (price.cached_input ?? price.input) + written * (price.cache_write ?? price.input);
  return ((prompt - cached - written) * price.input + ofCache + completion * price.output) / 1e6;
}

// A header carries a target's name percent-encoded where it must.
function plain(text) {
  try {
    return text && decodeURIComponent(text);
  } catch {
    return text;
  }
}

function facts(headers, seen, began, total = null) {
  if (!headers) return;
  const model = headers.get("x-pointsman-model");
  const told = [
    ["Route", headers.get("x-pointsman-route")],
    ["Model", model],
    ["Target", plain(headers.get("x-pointsman-target"))],
    ["Attempts", headers.get("x-pointsman-attempts")],
    ["First token", seen.first === null ? null : ms(seen.first)],
    ["Total", total === null ? null : ms(total)],
    ["Tokens", seen.usage ? `${count(seen.usage.prompt)} in, ${count(seen.usage.completion)} out` : null],
    ["Cost", seen.usage ? usd(costOf(model, seen.usage)) : null],
    ["Ended", seen.finish],
  ];
  show($("answer-facts"), told.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function offerRating(made) {
  decision = made;
  $("rating").hidden = false;
  $("comment").value = "";
  for (const button of buttons()) button.setAttribute("aria-pressed", "false");
}

const buttons = () => document.querySelectorAll("#rating [data-rating]");

async function rate(rating) {
  const comment = $("comment").value.trim();
  const rated = decision;
  try {
    const told = await post("v1/feedback", JSON.stringify({ id: rated.id, rating, ...(comment ? { comment } : {}) }), { headers: rated.headers });
    if (rated !== decision) return;
    for (const button of buttons()) button.setAttribute("aria-pressed", String(button.dataset.rating === rating));
    $("rated").textContent = `Kept for ${told.route} → ${told.model}: ${told.rating}${told.replaced ? ", in place of the one before" : ""}.`;
  } catch (error) {
    $("rated").textContent = error.message;
  }
}

onChange(({ explained }) => {
  for (const { model, price } of explained?.candidates ?? []) prices.set(model, price);
});
for (const button of buttons()) button.addEventListener("click", () => rate(button.dataset.rating));
$("rating").addEventListener("submit", (event) => {
  event.preventDefault();
  const chosen = document.querySelector('#rating [aria-pressed="true"]');
  if (chosen) rate(chosen.dataset.rating);
});
