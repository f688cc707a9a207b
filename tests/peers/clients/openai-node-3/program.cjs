// The official client for Node, version 3, which is axios: the article's own bot used it.
const fs = require("node:fs");
const { Configuration, OpenAIApi } = require("openai");
const { baseURL, key, file, perform, fingerprint } = require("../acts.cjs");

const client = new OpenAIApi(new Configuration({ apiKey: key, basePath: baseURL }));
const model = "gpt-5.2";
const messages = [{ role: "user", content: "驿站是什么？" }];

async function whole(request) {
  const { status, headers, data } = await request;
  return { status, headers, body: data };
}

async function streamed(request) {
  const { status, headers, data } = await request;
  let text = "";
  for await (const piece of data.setEncoding("utf8")) text += piece;
  return { status, headers, text };
}

async function upload() {
  const kept = await whole(client.createFile(fs.createReadStream(file), "assistants"));
  const content = await client.downloadFile(kept.body.id, { responseType: "arraybuffer" });
  return { ...kept, content: fingerprint(content.data) };
}

const asStream = { responseType: "stream" };
perform({
  chat: () => whole(client.createChatCompletion({ model, messages })),
  "chat, streamed": () => streamed(client.createChatCompletion({ model, messages, stream: true }, asStream)),
  completion: () => whole(client.createCompletion({ model, prompt: "hi" })),
  "completion, streamed": () => streamed(client.createCompletion({ model, prompt: "hi", stream: true }, asStream)),
  models: () => whole(client.listModels()),
  refused: () => whole(client.createChatCompletion({ model, messages, max_tokens: 5 })),
  upload,
});
