// What the article's bot asks, by the client that it uses: whole, and streamed.
const { Configuration, OpenAIApi } = require("openai");

const [baseURL, key] = process.argv.slice(2);
const client = new OpenAIApi(new Configuration({ apiKey: key, basePath: baseURL }));
const question = { model: "text-davinci-003", prompt: "驿站是什么？", max_tokens: 1024, temperature: 0.1 };

async function main() {
  const whole = await client.createCompletion(question);
  const streamed = await client.createCompletion({ ...question, stream: true }, { responseType: "stream" });
  let events = "";
  for await (const piece of streamed.data.setEncoding("utf8")) events += piece;
  process.stdout.write(JSON.stringify({ whole: whole.data, events }));
}

main();
