// What all views know: the text, and the decision on it as the server explains it.

import { post } from "./api.js";
import { requestOf } from "./request.js";

const PAUSE_MS = 160;
const listeners = new Set();
let timer = 0;
let asking = null;

export const state = { text: "", key: "", request: null, explained: null, error: null, isAsking: false };

export function onChange(listener) {
  listeners.add(listener);
}

function tell() {
  for (const listener of listeners) listener(state);
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
  state.request = requestOf(text);
  state.isAsking = true;
  tell();
  timer = setTimeout(ask, now ? 0 : PAUSE_MS);
}

async function ask() {
  const mine = new AbortController();
  asking = mine;
  try {
    const explained = await post("v1/route?signals=all&map=1", state.request.body, { signal: mine.signal, key: state.key });
    if (mine.signal.aborted) return;
    Object.assign(state, { explained, error: null });
  } catch (error) {
    if (mine.signal.aborted) return;
    Object.assign(state, { explained: null, error });
  }
  state.isAsking = false;
  tell();
}
