/** Launches a workflow that takes a name, waits for it and prints what it made: `node hello.js ENDPOINT WORKFLOW`. */
import { Client } from "../src/index.js";

const [endpoint = "", workflow = ""] = process.argv.slice(2);
const client = new Client(endpoint);
const [outcome] = await client.launch([{ workflow, inputs: { name: "TypeScript" } }]);
if (outcome?.error || !outcome?.execution) {
  throw outcome?.error ?? new Error("no execution");
}
await client.wait(outcome.execution);
console.log(await client.outputs(outcome.execution));
