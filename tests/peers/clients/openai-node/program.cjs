// The official client for Node, today's.
const fs = require("node:fs");
const OpenAI = require("openai");
const { baseURL, key, file, perform, fingerprint } = require("../acts.cjs");

const client = new OpenAI({ baseURL, apiKey: key, maxRetries: 0 });
const model = "gpt-5.2";
const messages = [{ role: "user", content: "驿站是什么？" }];

async function whole(request) {
  const { data, response } = await request.withResponse();
  return { status: response.status, headers: Object.fromEntries(response.headers), body: data };
}

async function streamed(request) {
  const { data, response } = await request.withResponse();
  const events = [];
  for await (const event of data) events.push(event);
  return { status: response.status, headers: Object.fromEntries(response.headers), events };
}

async function upload() {
  const kept = await client.files.create({ file: fs.createReadStream(file), purpose: "assistants" });
  const content = await client.files.content(kept.id);
  return { file: kept, content: fingerprint(Buffer.from(await content.arrayBuffer())) };
}

perform({
  chat: () => whole(client.chat.completions.create({ model, messages })),
  "chat, streamed": () => streamed(client.chat.completions.create({ model, messages, stream: true })),
  completion: () => whole(client.completions.create({ model, prompt: "hi" })),
  "completion, streamed": () => streamed(client.completions.create({ model, prompt: "hi", stream: true })),
  response: () => whole(client.responses.create({ model, input: "hi" })),
  "response, streamed": () => streamed(client.responses.create({ model, input: "hi", stream: true })),
  models: async () => (await client.models.list()).data,
  refused: () => client.chat.completions.create({ model, messages, max_tokens: 5 }),
  upload,
});
