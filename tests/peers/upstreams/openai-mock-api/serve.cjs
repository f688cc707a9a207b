// The mock server as it comes, on a free port of loopback: by itself it listens on every address, on a port it was told.
const { Server } = require("node:net");
const { startMockServer } = require("openai-mock-api");

const listen = Server.prototype.listen;
Server.prototype.listen = function (_port, ready) {
  return listen.call(this, 0, "127.0.0.1", () => {
    ready();
    process.stdout.write(`listening on ${this.address().port}\n`);
  });
};

const messages = [{ role: "user", content: "驿站是什么？" }, { role: "assistant", content: "换马 的 地方。" }];
startMockServer({ config: { apiKey: "sk-mock", port: 1, responses: [{ id: "post", messages }] } });
