// OpenAI's JavaScript SDK against a running Pointsman. Prints one JSON line for each scenario: {name, error}.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: "sk-test", maxRetries: 0 });
const ask = (more = {}, options = {}) =>
  client.chat.completions.create(
    { model: "auto", messages: [{ role: "user", content: "Fix the bug in my Python loop" }], ...more },
    options,
  );
const simulate = (knobs) => ({
  headers: Object.fromEntries(Object.entries(knobs).map(([name, value]) => [`x-simulate-${name}`, String(value)])),
});
const tool = {
  type: "function",
  function: {
    name: "lookup",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

const scenarios = {
  async plain() {
    const answer = await ask();
    assert.equal(answer.model, "gpt-4o");
    assert.ok(answer.choices[0].message.content.length > 0);
    assert.ok(answer.usage.total_tokens > 0);
  },
  async stream() {
    let text = "";
    let usage = null;
    for await (const chunk of await ask({ stream: true, stream_options: { include_usage: true } })) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.ok(text.length > 0);
    assert.ok(usage.completion_tokens > 0);
  },
  async tools() {
    const call = (await ask({ tools: [tool] })).choices[0].message.tool_calls[0];
    assert.equal(typeof JSON.parse(call.function.arguments).city, "string");
  },
  async streamed_tools() {
    let pieces = "";
    for await (const chunk of await ask({ tools: [tool], stream: true })) {
      pieces += chunk.choices[0]?.delta?.tool_calls?.[0]?.function?.arguments ?? "";
    }
    assert.equal(typeof JSON.parse(pieces).city, "string");
  },
  async image_parts() {
    const content = [
      { type: "text", text: "What is this?" },
      { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=" } },
    ];
    const answer = await ask({ messages: [{ role: "user", content }] });
    assert.match(answer.choices[0].message.content, /1 image/);
  },
  async response_format() {
    const schema = { type: "object", properties: { n: { type: "integer" } }, required: ["n"] };
    const answer = await ask({ response_format: { type: "json_schema", json_schema: { name: "s", schema } } });
    assert.equal(typeof JSON.parse(answer.choices[0].message.content).n, "number");
  },
  async raw_headers() {
    const { data, response } = await ask().withResponse();
    assert.equal(response.headers.get("x-pointsman-route"), "code");
    assert.ok(response.headers.get("openai-processing-ms"));
    assert.equal(data.object, "chat.completion");
  },
  async error_classes() {
    const classes = {
      400: OpenAI.BadRequestError,
      401: OpenAI.AuthenticationError,
      403: OpenAI.PermissionDeniedError,
      404: OpenAI.NotFoundError,
      409: OpenAI.ConflictError,
      422: OpenAI.UnprocessableEntityError,
      429: OpenAI.RateLimitError,
      500: OpenAI.InternalServerError,
      503: OpenAI.InternalServerError,
    };
    for (const [status, kind] of Object.entries(classes)) {
      await assert.rejects(ask({}, simulate({ status })), (error) => error instanceof kind && error.status == status);
    }
  },
  async cut_stream() {
    let chunks = 0;
    await assert.rejects(
      async () => {
        for await (const _ of await ask({ stream: true }, simulate({ cut: 3 }))) chunks += 1;
      },
      (error) => error instanceof OpenAI.APIError && /broke off/.test(error.message),
    );
    assert.equal(chunks, 3);
  },
  async models() {
    const names = (await client.models.list()).data.map((model) => model.id);
    assert.deepEqual(names, ["auto", "small", "large"]);
  },
};

for (const [name, run] of Object.entries(scenarios)) {
  const error = await run().then(
    () => null,
    (failure) => String(failure?.stack ?? failure),
  );
  console.log(JSON.stringify({ name, error }));
}
