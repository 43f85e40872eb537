// What all views know: the text, and the decision on it as the server explains it.

import { get, post } from "./api.js";
import { headersOf, requestOf } from "./request.js";

const PAUSE_MS = 160;
const listeners = new Set();
let timer = 0;
let asking = null;
let spoken = null; // asked for again after a refusal: the models may be others since

export const state = { text: "", key: "", protocol: "openai", protocols: [], request: null, explained: null, error: null, isAsking: false };

export function onChange(listener) {
  listeners.add(listener);
}

function tell() {
  for (const listener of listeners) listener(state);
}

// Whose API requests are of: the chosen one's, where a model here speaks it.
export async function protocol() {
  spoken ??= get("v1/targets").then(
    ({ models }) => [...new Set(models.map((each) => each.protocol))],
    () => { spoken = null; return [state.protocol]; },
  );
  state.protocols = await spoken;
  if (!state.protocols.includes(state.protocol)) [state.protocol] = state.protocols;
  return state.protocol;
}

// A new text: asked about once typing pauses, and an older question is dropped.
export function type(text, { now = false } = {}) {
  if (text === state.text && !now) return;
  state.text = text;
  clearTimeout(timer);
  asking?.abort();
  if (!text.trim()) {
    Object.assign(state, { request: null, explained: null, error: null, isAsking: false });
    tell();
    return;
  }
  state.request = requestOf(text, state.protocol);
  state.isAsking = true;
  tell();
  timer = setTimeout(ask, now ? 0 : PAUSE_MS);
}

async function ask() {
  const mine = new AbortController();
  asking = mine;
  const { text, key } = state;
  try {
    const request = requestOf(text, await protocol());
    const explained = await post("v1/route?signals=all&map=1", request.body, { signal: mine.signal, headers: headersOf(request, key) });
    if (mine.signal.aborted) return;
    Object.assign(state, { explained, error: null });
  } catch (error) {
    if (mine.signal.aborted) return;
    spoken = null;
    Object.assign(state, { explained: null, error });
  }
  state.isAsking = false;
  tell();
}
