// From what stands in the editor to the request of a client.

const MESSAGES = "v1/messages";
const ANTHROPIC_VERSION = "2023-06-01";
const MOST_TOKENS = 4096; // Anthropic's API asks each request for a bound, and all of its models can do this one

// A text is one user message, of the API that `protocol` names; what is a JSON object goes as it stands.
export function requestOf(text, protocol) {
  const trimmed = text.trim();
  if (trimmed.startsWith("{")) {
    try {
      const parsed = JSON.parse(trimmed);
      return { body: trimmed, parsed, path: pathOf(parsed, protocol), note: "A whole request, decided on as it stands." };
    } catch (error) {
      return { ...plain(text, protocol), note: `It begins like JSON but is none (${error.message}), so it is taken for a prompt.` };
    }
  }
  return { ...plain(text, protocol), note: "A prompt, or a whole request as JSON. As you type, nothing is sent to a model." };
}

function plain(text, protocol) {
  const parsed = {
    model: "auto",
    ...(protocol === "anthropic" ? { max_tokens: MOST_TOKENS } : {}),
    messages: [{ role: "user", content: text }],
  };
  return { body: JSON.stringify(parsed), parsed, path: pathOf(parsed, protocol) };
}

// Where it goes, told as /v1/route tells it; null for what is none of them.
function pathOf(parsed, protocol) {
  if ("messages" in parsed) return protocol === "anthropic" ? MESSAGES : "v1/chat/completions";
  if ("input" in parsed) return "v1/responses";
  return "prompt" in parsed ? "v1/completions" : null;
}

// Anthropic's clients name the version of its API, by which /v1/route knows them, and have a header for the key.
export function headersOf({ path }, key) {
  if (!/^[\x21-\x7e]*$/.test(key)) throw new Error("The key has characters that no header can carry.");
  if (path === MESSAGES) return { "anthropic-version": ANTHROPIC_VERSION, ...(key ? { "x-api-key": key } : {}) };
  return key ? { authorization: `Bearer ${key}` } : {};
}

// The same, streamed and with its usage. Members are put in front, so that all else keeps its bytes: a long number
// would lose digits in JavaScript. Of two members of one name the last counts for most readers, so ours are only put
// in where there is none.
export function streamed({ body, parsed, path }) {
  const own = [];
  const isAskedForUsage = path === "v1/chat/completions" || path === "v1/completions";
  if (!("stream" in parsed)) own.push('"stream":true');
  if (isAskedForUsage && parsed.stream !== false && !("stream_options" in parsed)) own.push('"stream_options":{"include_usage":true}');
  if (!own.length) return body;
  const rest = body.trim().slice(1);
  return `{${own.join(",")}${rest.trim() === "}" ? "" : ","}${rest}`;
}
