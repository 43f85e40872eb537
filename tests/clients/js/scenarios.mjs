// OpenAI's JavaScript SDK against a running Pointsman. Prints one JSON line for each scenario: {name, error}.
// BASE_URL is Pointsman, INSISTENT_URL one that knows only its models, DIRECT_URL the upstream itself; FAULTY_URL has
// upstreams that fail, as the models in REPAIRED (with somebody else to answer) and BROKEN (amid a stream) say.
import assert from "node:assert/strict";
import OpenAI from "openai";

const connect = (baseURL, more = {}) => new OpenAI({ baseURL, apiKey: "sk-test", maxRetries: 0, ...more });
const client = connect(process.env.BASE_URL);
const insistent = connect(process.env.INSISTENT_URL);
const direct = connect(process.env.DIRECT_URL);
const faulty = connect(process.env.FAULTY_URL);

const user = (content) => [{ role: "user", content }];
const asking = (one, more = {}, options = {}) =>
  one.chat.completions.create({ model: "auto", messages: user("Fix the bug in my Python loop"), ...more }, options);
const ask = (more, options) => asking(client, more, options);
const simulate = (knobs) => ({
  headers: Object.fromEntries(
    Object.entries(knobs).map(([name, value]) => [`x-simulate-${name.replaceAll("_", "-")}`, String(value)]),
  ),
});
const collect = async (stream) => {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
};
const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join("");

// How a call failed: its error, and the chunks before it.
const failure = async (call) => {
  const chunks = [];
  try {
    const answer = await call();
    if (answer[Symbol.asyncIterator]) for await (const chunk of answer) chunks.push(chunk);
  } catch (error) {
    return { error, chunks };
  }
  return assert.fail("it did not fail");
};

const tool = {
  type: "function",
  function: {
    name: "lookup",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
const schema = { type: "object", properties: { n: { type: "integer" } }, required: ["n"] };
const jsonObject = { messages: user("Answer in json"), response_format: { type: "json_object" } };
const jsonSchema = { response_format: { type: "json_schema", json_schema: { name: "s", schema } } };
const image = {
  messages: user([
    { type: "text", text: "Fix the bug in my Python loop" },
    { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=" } },
  ]),
};

const scenarios = {
  async plain() {
    const answer = await ask();
    assert.equal(answer.model, "gpt-4o");
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.ok(answer.choices[0].message.content.length > 0);
    assert.ok(answer.usage.total_tokens > 0);
  },
  async stream() {
    const whole = await ask();
    const chunks = await collect(await ask({ stream: true, stream_options: { include_usage: true } }));
    assert.equal(textOf(chunks), whole.choices[0].message.content);
    assert.deepEqual(chunks.at(-1).usage, whole.usage);
  },
  async stream_helper() {
    const stream = client.chat.completions.stream({ model: "auto", messages: user("hello there"), ...jsonSchema });
    const final = await stream.finalChatCompletion();
    assert.equal(typeof JSON.parse(final.choices[0].message.content).n, "number");
  },
  async tools() {
    const choice = (await ask({ tools: [tool] })).choices[0];
    assert.equal(choice.finish_reason, "tool_calls");
    assert.equal(choice.message.tool_calls[0].function.name, "lookup");
    assert.equal(typeof JSON.parse(choice.message.tool_calls[0].function.arguments).city, "string");
  },
  async streamed_tools() {
    const chunks = await collect(await ask({ tools: [tool], stream: true }));
    const deltas = chunks.flatMap((chunk) => chunk.choices[0]?.delta?.tool_calls ?? []);
    assert.equal(deltas[0].function.name, "lookup");
    const pieces = deltas.map((call) => call.function.arguments).join("");
    assert.equal(typeof JSON.parse(pieces).city, "string");
  },
  async image_parts() {
    const answer = await ask(image);
    assert.match(answer.choices[0].message.content, /1 image/);
    assert.equal(answer.model, "gpt-4o");
  },
  async json_object() {
    const answer = await ask(jsonObject);
    assert.equal(typeof JSON.parse(answer.choices[0].message.content), "object");
  },
  async json_schema() {
    const answer = await ask(jsonSchema);
    assert.equal(typeof JSON.parse(answer.choices[0].message.content).n, "number");
  },
  async repaired_faults() {
    const repaired = async ({ model, stream }) => {
      const answer = await asking(faulty, { model, stream });
      const text = stream ? textOf(await collect(answer)) : answer.choices[0].message.content;
      assert.equal(text, stream ? "é one two" : "é 🚀", model);
    };
    await Promise.all(JSON.parse(process.env.REPAIRED).map(repaired));
  },
  async broken_streams() {
    const broken = async ({ model, code }) => {
      const { error, chunks } = await failure(() => asking(faulty, { model, stream: true }));
      // Where none can be told any more, there is only what fetch says of a connection that is lost.
      assert.equal(error.constructor, code ? OpenAI.APIError : TypeError, String(error));
      assert.equal(error.code, code || undefined);
      assert.equal(textOf(chunks), "é one");
    };
    await Promise.all(JSON.parse(process.env.BROKEN).map(broken));
  },
  async response() {
    const whole = await client.responses.create({ model: "auto", input: "Fix the bug in my Python loop" });
    assert.equal(whole.model, "gpt-4o");
    assert.match(whole.output_text, /Fix the bug/);
    assert.deepEqual((await client.responses.retrieve(whole.id)).output, whole.output);
    const next = { model: "auto", input: "thanks a lot", previous_response_id: whole.id };
    assert.equal((await client.responses.create(next)).model, "gpt-4o"); // where the first is known
  },
  async streamed_response() {
    const asked = { model: "auto", input: "Fix the bug in my Python loop" };
    const whole = await client.responses.create(asked);
    const events = await collect(await client.responses.create({ ...asked, stream: true }));
    const deltas = events.filter((event) => event.type === "response.output_text.delta");
    assert.equal(deltas.map((event) => event.delta).join(""), whole.output_text);
    assert.deepEqual(events.at(-1).response.usage, whole.usage);
    const final = await client.responses.stream(asked).finalResponse();
    assert.equal(final.output_text, whole.output_text);
  },
  async cut_response() {
    const asked = { model: "auto", input: "Fix the bug in my Python loop", stream: true };
    const { error, chunks } = await failure(() => client.responses.create(asked, simulate({ cut: 6 })));
    assert.equal(error.constructor, OpenAI.APIError, String(error));
    assert.match(error.message, /broke off/);
    assert.equal(chunks.at(-1).type, "response.output_text.delta");
  },
  async embeddings() {
    const answer = await client.embeddings.create({ model: "text-embedding-3-small", input: ["one", "two"] });
    assert.deepEqual(
      answer.data.map((item) => item.embedding.length),
      [16, 16],
    );
  },
  async files() {
    const content = new Uint8Array(3_000_000).map((_, index) => index % 251);
    const made = await client.files.create({ file: new File([content], "data.jsonl"), purpose: "batch" });
    assert.equal(made.bytes, content.length);
    assert.ok((await client.files.list({ purpose: "batch" })).data.some((file) => file.id === made.id));
    const back = new Uint8Array(await (await client.files.content(made.id)).arrayBuffer());
    assert.deepEqual(back, content);
    assert.equal((await client.files.delete(made.id)).deleted, true);
    await assert.rejects(client.files.retrieve(made.id), OpenAI.NotFoundError);
    // A form has its fields in the order of the call, here the model behind the file.
    const heard = { file: new File([content], "talk.wav"), model: "large" };
    assert.match((await client.audio.transcriptions.create(heard)).text, /^This is gpt-4o at .* talk.wav of 3000000 bytes/);
  },
  async raw_headers() {
    const { data, response } = await ask().withResponse();
    assert.equal(response.headers.get("x-pointsman-route"), "code");
    assert.equal(response.headers.get("x-pointsman-model"), "large");
    assert.equal(response.headers.get("x-pointsman-reason"), "topic");
    assert.match(response.headers.get("x-request-id"), /^req_/);
    assert.match(response.headers.get("openai-processing-ms"), /^\d+$/);
    assert.equal(data.object, "chat.completion");
  },
  async models() {
    const names = (await client.models.list()).data.map((model) => model.id);
    assert.deepEqual(names, ["auto", "small", "large"]);
  },
  async same_as_the_upstream() {
    const options = simulate({ seed: 3 });
    for (const more of [{}, { n: 2 }, { tools: [tool] }, image, jsonObject, jsonSchema]) {
      const asked = { ...more, model: "gpt-4o" };
      assert.deepEqual(await ask(asked, options), await asking(direct, asked, options));
      const streamed = { ...asked, stream: true, stream_options: { include_usage: true } };
      const [through, straight] = [await ask(streamed, options), await asking(direct, streamed, options)];
      assert.deepEqual(await collect(through), await collect(straight));
    }
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
      502: OpenAI.InternalServerError,
      503: OpenAI.InternalServerError,
    };
    for (const [status, kind] of Object.entries(classes)) {
      for (const stream of [false, true]) {
        const { error } = await failure(() => ask({ stream }, simulate({ status })));
        assert.equal(error.constructor, kind);
        assert.equal(error.status, Number(status));
      }
    }
  },
  async unknown_model() {
    const { error } = await failure(() => asking(insistent, { model: "unknown" }));
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
  },
  async retry() {
    const statuses = [];
    const recovering = async (url, init) => {
      if (statuses.length > 0) init.headers.delete("x-simulate-status"); // the upstream is well again
      const response = await fetch(url, init);
      statuses.push(response.status);
      return response;
    };
    const twice = connect(process.env.BASE_URL, { maxRetries: 1, fetch: recovering });
    const answer = await asking(twice, {}, simulate({ status: 503, retry_after: 0.01 }));
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.deepEqual(statuses, [503, 200]);
  },
  async timeout() {
    const { error } = await failure(() => ask({}, { ...simulate({ stall_headers: 1 }), timeout: 200 }));
    assert.ok(error instanceof OpenAI.APIConnectionTimeoutError);
  },
  async closed_stream() {
    const stream = await ask({ stream: true }, simulate({ stall: 3 }));
    let chunks = 0;
    for await (const _ of stream) if (++chunks === 3) break;
    assert.equal(chunks, 3);
  },
  async cut_stream() {
    const whole = await collect(await ask({ stream: true }));
    for (const pieces of [{}, { chunk_bytes: 7 }]) {
      const { error, chunks } = await failure(() => ask({ stream: true }, simulate({ cut: 3, ...pieces })));
      assert.equal(error.constructor, OpenAI.APIError, String(error)); // neither a parser's complaint nor a lost connection
      assert.match(error.message, /broke off/);
      assert.equal(error.code, "upstream_cut");
      assert.deepEqual(
        chunks.map((chunk) => chunk.choices),
        whole.slice(0, 3).map((chunk) => chunk.choices),
      );
    }
  },
};

for (const [name, run] of Object.entries(scenarios)) {
  const error = await run().then(
    () => null,
    (failed) => String(failed?.stack ?? failed),
  );
  console.log(JSON.stringify({ name, error }));
}
