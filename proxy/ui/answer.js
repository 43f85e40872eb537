// What one event of a streamed answer says, or a whole answer: of chats, completions, responses and Anthropic's messages.

// { text, more, error, usage, finish }; `more` is what is no text, such as a tool's call, as JSON.
export function saidBy(told) {
  const choice = told.choices?.[0];
  const part = choice?.delta ?? choice?.message;
  const response = told.object === "response" ? told : told.response;
  const message = told.type === "message" ? told : told.message;
  const others = part?.tool_calls ?? itemsOf(told).filter((item) => !TEXTUAL.includes(item.type));
  return {
    text: part?.content || part?.reasoning_content || part?.refusal || choice?.text || deltaOf(told) || textOf(told),
    more: others.length ? JSON.stringify(others) : "",
    error: told.error ?? response?.error ?? (told.type === "error" ? told : null),
    usage: usageOf(told.usage ?? response?.usage ?? message?.usage),
    finish: choice?.finish_reason ?? told.delta?.stop_reason ?? message?.stop_reason
      ?? (/^response\.(completed|incomplete|failed)$/.test(told.type) || told.object === "response" ? response.status : null),
  };
}

const TEXTUAL = ["message", "reasoning", "text", "thinking"];

// What a whole answer is made of, or the one part that an event tells of.
function itemsOf(told) {
  if (told.object === "response") return told.output ?? [];
  if (told.type === "response.output_item.done") return [told.item];
  if (told.type === "message") return told.content ?? [];
  return told.type === "content_block_start" ? [told.content_block] : [];
}

function deltaOf({ type, delta }) {
  if (type === "response.output_text.delta") return delta;
  return type === "content_block_delta" ? delta.text ?? delta.thinking ?? delta.partial_json : "";
}

function textOf(told) {
  const parts = told.type === "message" ? told.content ?? []
    : told.object === "response" ? (told.output ?? []).flatMap((item) => item.content ?? []) : [];
  return parts.map((part) => part.text ?? part.thinking ?? part.refusal ?? "").join("");
}

// Anthropic's counts what comes from its cache, or goes there, beside the rest of the prompt, and may end with the
// answer's tokens alone.
function usageOf(usage) {
  if (!usage) return null;
  const prompt = usage.prompt_tokens ?? usage.input_tokens ?? null;
  const beside = (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0);
  const details = usage.prompt_tokens_details ?? usage.input_tokens_details;
  const cached = details?.cached_tokens ?? usage.cache_read_input_tokens ?? 0;
  const written = details?.cache_write_tokens ?? usage.cache_creation_input_tokens ?? 0;
  return {
    ...(prompt === null ? {} : { prompt: prompt + beside, cached, written }),
    completion: usage.completion_tokens ?? usage.output_tokens ?? 0,
  };
}
