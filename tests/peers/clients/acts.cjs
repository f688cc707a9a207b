// What every client written for Node shares: it is given acts by name, does each, and prints what came of them as one JSON
// document. `node program.cjs BASE_URL KEY FILE` is how a client is called; FILE is there to be uploaded.
const { createHash } = require("node:crypto");

const [baseURL, key, file] = process.argv.slice(2);

async function outcome(act) {
  try {
    return { answer: await act() };
  } catch (error) {
    const { status, code, param, type, error: body } = error;
    const headers = error.response ? error.response.headers : Object.fromEntries(error.headers || []);
    let data = error.response ? error.response.data : undefined;
    if (data && data.pipe) data = data.destroy() && "unread"; // else it keeps the program from its end
    return { raised: error.constructor.name, message: error.message, status, code, param, type, body, data, headers };
  }
}

async function perform(acts) {
  const outcomes = {};
  for (const [name, act] of Object.entries(acts)) outcomes[name] = await outcome(act);
  process.stdout.write(JSON.stringify(outcomes));
}

const fingerprint = (content) => createHash("sha256").update(content).digest("hex");

module.exports = { baseURL, key, file, perform, fingerprint };
