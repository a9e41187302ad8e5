// Runs one client's cases against targets: node harness.mjs CLIENT TARGETS.json PACKAGE. The twin of cases/harness.py:
// a client's module has ask, stream, runTools and extract; what counts as right stands here.
import { readFileSync, existsSync, writeFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { format } from "node:util";

const HERE = dirname(fileURLToPath(import.meta.url));
const SETUP = process.env.SETUP_FOLDER;
const PLAIN = "What is 6 times 7? Reply with one sentence.";
const TOOLS = "How warm is it in Paris now, in degrees Fahrenheit? Use the tools.";
const PLACE = "Which city is the capital of France, and what is its population?";
const IMAGE =
  "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP4z8CAFWEXHbQSACj/P8Fu7N9hAAAAAElFTkSuQmCC";
const SHORT = 1000;

const OUTCOMES = { Unsupported: "unsupported", Skipped: "skipped" }; // by the name of what a client throws

const check = (right, what) => {
  if (!right) throw new Error(`got ${JSON.stringify(what)?.slice(0, 300)}`);
};

const state = async (target) => (await (await fetch(`${target.upstream}/models`)).json()).state;

async function released(target) {
  const until = Date.now() + 3000;
  for (let open; (open = (await state(target)).open); ) {
    check(Date.now() < until, `${open} calls still run at the upstream 3 s later`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

async function expect(client, kind, word, act) {
  let got;
  try {
    got = await act();
  } catch (error) {
    check(client.isError(kind, error) && String(error.message).includes(word), `${error.name}: ${error.message}`);
    return;
  }
  throw new Error(`no error, but ${JSON.stringify(got)}`);
}

const made = [];
const functions = {
  temperature: ({ city }) => (made.push(["temperature", city]), 21.5),
  to_fahrenheit: ({ celsius }) => (made.push(["to_fahrenheit", celsius]), Math.round(celsius * 18 + 320) / 10),
};

const cases = {
  async plain(name, client, target) {
    let text = readFileSync(join(SETUP, `${name}.mjs`), "utf8");
    text = text.replace("http://127.0.0.1:8080/v1", target.base_url).replace('"unused"', `"${target.key}"`);
    text = text.replaceAll(/(model: |\()"routemoa"/g, `$1"${target.model}"`);
    const file = join(HERE, `setup-${name}-${target.name}.mjs`);
    writeFileSync(file, text);
    const shown = [];
    const log = console.log;
    console.log = (...words) => shown.push(format(...words));
    try {
      await import(file);
    } finally {
      console.log = log;
      rmSync(file);
    }
    check(shown.join("").includes("42"), shown);
  },
  async streamed(name, client, target) {
    let text = "";
    for await (const piece of client.stream(target, PLAIN)) text += piece;
    check(text.includes("42") && !text.includes("41") && !text.includes("assessment"), text);
  },
  async tools(name, client, target) {
    made.length = 0;
    const answer = await client.runTools(target, TOOLS, functions);
    check(JSON.stringify(made) === '[["temperature","Paris"],["to_fahrenheit",21.5]]', made);
    check(answer.includes("70.7"), answer);
  },
  async schema(name, client, target) {
    const place = await client.extract(target, PLACE);
    check(place.city === "Paris" && place.population === 2100000, place);
  },
  async image(name, client, target) {
    const answer = await client.ask(target, "What color is this image?", { image: IMAGE });
    check(answer.includes("red"), answer);
  },
  async error(name, client, target) {
    const before = (await state(target)).requests;
    await expect(client, 401, "key", () => client.ask({ ...target, key: "sk-wrong" }, PLAIN, {}));
    await expect(client, 400, "temperature", () => client.ask(target, PLAIN, { temperature: 9 }));
    const count = (await state(target)).requests - before;
    check(count <= 2, `${count} requests at the upstream for two errors`);
  },
  async timeout(name, client, target) {
    await expect(client, "timeout", "", () => client.ask(target, "Wait, then say hello.", { timeout: SHORT }));
    await released(target);
  },
  async cancel(name, client, target) {
    const abort = new AbortController();
    setTimeout(() => abort.abort(), SHORT);
    const began = Date.now();
    try {
      for await (const _ of client.stream(target, "Count to sixty slowly.", abort.signal));
    } catch (error) {
      check(abort.signal.aborted, error.message);
    }
    check(abort.signal.aborted && Date.now() - began < 3000, `${Date.now() - began} ms`);
    await released(target);
  },
};

const [, , name, file, pack] = process.argv;
const manifest = join(HERE, "node_modules", pack, "package.json");
if (!existsSync(manifest)) {
  console.log(JSON.stringify({ skipped: `the package ${pack} is not installed` }));
  process.exit();
}
console.log(JSON.stringify({ version: JSON.parse(readFileSync(manifest)).version }));
const client = await import(`./${name}.mjs`);
for (const target of JSON.parse(readFileSync(file))) {
  for (const [which, run] of Object.entries(cases)) {
    let cell = "ok";
    let detail = "";
    const began = Date.now();
    try {
      client.before?.(target);
      await run(name, client, target);
    } catch (error) {
      cell = OUTCOMES[error.name] ?? "FAIL";
      detail = cell === "FAIL" ? `${error.name}: ${error.message}`.slice(0, 600) : error.message;
      const refused = detail.match(/[^'"]*: a mixture does not support this/);
      if (refused) [cell, detail] = ["refused", refused[0].trim()];
    }
    console.log(JSON.stringify({ client: name, case: which, target: target.name, cell, detail, s: (Date.now() - began) / 1000 }));
  }
}
process.exit();
