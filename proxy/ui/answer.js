// What one event of a streamed answer says, or a whole answer: of chats, completions and responses.

// { text, more, error, usage, finish }; `more` is what is no text, such as a tool's call, as JSON.
export function saidBy(told) {
  const choice = told.choices?.[0];
  const part = choice?.delta ?? choice?.message;
  const response = told.object === "response" ? told : told.response;
  const output = told.object === "response" ? told.output ?? [] : told.type === "response.output_item.done" ? [told.item] : [];
  const others = part?.tool_calls ?? output.filter((item) => !["message", "reasoning"].includes(item.type));
  return {
    text: part?.content || part?.reasoning_content || part?.refusal || choice?.text || (told.type === "response.output_text.delta" ? told.delta : "") || textOf(told),
    more: others.length ? JSON.stringify(others) : "",
    error: told.error ?? response?.error ?? (told.type === "error" ? told : null),
    usage: usageOf(told.usage ?? response?.usage),
    finish: choice?.finish_reason ?? (/^response\.(completed|incomplete|failed)$/.test(told.type) || told.object === "response" ? response.status : null),
  };
}

const textOf = (told) =>
  told.object !== "response" ? ""
    : (told.output ?? []).flatMap((item) => item.content ?? []).map((part) => part.text ?? part.refusal ?? "").join("");

function usageOf(usage) {
  if (!usage) return null;
  return {
    prompt: usage.prompt_tokens ?? usage.input_tokens ?? 0,
    cached: (usage.prompt_tokens_details ?? usage.input_tokens_details)?.cached_tokens ?? 0,
    completion: usage.completion_tokens ?? usage.output_tokens ?? 0,
  };
}
