// Everything that this page asks, and it asks only the server that it came from.

const url = (path) => new URL(`../${path}`, import.meta.url);

export class Refused extends Error {
  constructor(status, body) {
    super(body?.error?.message ?? `The server answered ${status}.`);
    this.status = status;
    this.code = body?.error?.code ?? null;
  }
}

async function json(answered) {
  const text = await answered.text();
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    body = null; // a proxy between may answer in HTML; the status then says it
  }
  if (!answered.ok) throw new Refused(answered.status, body);
  return body;
}

export const get = async (path, signal) => json(await ask(path, { signal, cache: "no-store" }));

// A browser's own words for these differ, and help nobody.
async function ask(path, options) {
  try {
    return await fetch(url(path), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("This server does not answer. Is it still running?");
  }
}

const send = (path, body, { signal, headers } = {}) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json", ...headers }, body, signal });

export const post = async (path, body, options) => json(await send(path, body, options));

// A streamed answer: its headers at once, then each event's data as it arrives.
export async function stream(path, body, options) {
  const answered = await send(path, body, options);
  return { status: answered.status, headers: answered.headers, ok: answered.ok, answered };
}

// The data of each server-sent event, in whatever pieces the bytes come.
export async function* dataOf(answered) {
  const reader = answered.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new Error("The connection to this server broke off.");
    });
    if (done) break;
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (data.length) yield data.join("\n");
        data = [];
      } else if (line.startsWith("data:")) {
        data.push(line.slice(line[5] === " " ? 6 : 5));
      }
    }
  }
  if (rest.startsWith("data:")) data.push(rest.slice(5).trimStart());
  if (data.length) yield data.join("\n");
}

export const read = json;

// What a stream of events tells, each event's data.
export async function events(path, signal) {
  const answered = await ask(path, { headers: { accept: "text/event-stream" }, signal, cache: "no-store" });
  if (!answered.ok) await json(answered);
  return dataOf(answered);
}
