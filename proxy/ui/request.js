// From what stands in the editor to the body of a request.

// A text is one user message; what is a JSON object goes as it stands.
export function requestOf(text) {
  const trimmed = text.trim();
  if (trimmed.startsWith("{")) {
    try {
      const parsed = JSON.parse(trimmed);
      return { body: trimmed, parsed, note: "A whole request, decided on as it stands." };
    } catch (error) {
      return { ...plain(text), note: `It begins like JSON but is none (${error.message}), so it is taken for a prompt.` };
    }
  }
  return { ...plain(text), note: "A prompt, or a whole request as JSON. As you type, nothing is sent to a model." };
}

function plain(text) {
  const parsed = { model: "auto", messages: [{ role: "user", content: text }] };
  return { body: JSON.stringify(parsed), parsed };
}

// The same, streamed and with its usage. Members are put in front, so that all else keeps its bytes: a long number
// would lose digits in JavaScript. Of two members of one name the last counts for most readers, so ours are only put
// in where there is none.
export function streamed({ body, parsed }) {
  const own = [];
  if (!("stream" in parsed)) own.push('"stream":true');
  if (pathOf(parsed) !== "v1/responses" && parsed.stream !== false && !("stream_options" in parsed)) own.push('"stream_options":{"include_usage":true}');
  if (!own.length) return body;
  const rest = body.trim().slice(1);
  return `{${own.join(",")}${rest.trim() === "}" ? "" : ","}${rest}`;
}

// Where it goes, told as /v1/route tells it; null for what is none of them.
export function pathOf(parsed) {
  if ("messages" in parsed) return "v1/chat/completions";
  if ("input" in parsed) return "v1/responses";
  return "prompt" in parsed ? "v1/completions" : null;
}
