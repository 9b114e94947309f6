// The dashboard example, in a real browser: breaks the issuers by its buttons and looks at what the
// page says.
//
//   node tests/browser/dashboard.mjs                     needs cargo and Chromium
//   node tests/browser/dashboard.mjs --screenshot FILE   also takes a picture, issuers down
//
// The browser is named by CHROMIUM, or is the first one found.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
// Bounds of what may hang; measures of nothing.
const PATIENCE = 90_000;
const BUILD = 1_200_000;

const { values: options } = parseArgs({ options: { screenshot: { type: "string" } } });
const children = [];
process.on("exit", () => children.forEach((child) => child.kill("SIGKILL")));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

const step = (text) => console.log(`- ${text}`);

/** Polls until `probe` finds something. */
async function until(what, probe, patience = PATIENCE) {
  for (const end = Date.now() + patience; Date.now() < end; await sleep(100)) {
    const found = await probe();
    if (found) return found;
  }
  throw new Error(`not within ${patience / 1000} s: ${what}`);
}

function start(command, args, more = {}) {
  const child = spawn(command, args, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"], ...more });
  children.push(child);
  return child;
}

/** The example, on a free port. */
class Example {
  lines = [];

  constructor() {
    // cargo becomes the example once it is built.
    this.child = start("cargo", ["run", "--quiet", "--example", "dashboard", "--", "--port", "0"]);
    createInterface({ input: this.child.stdout }).on("line", (line) => this.lines.push(line));
  }

  url() {
    const find = () => {
      assert.equal(this.child.exitCode, null, "the example has ended");
      return this.lines.map((line) => /^open (http:\S+)$/.exec(line)?.[1]).find(Boolean);
    };
    return until("the example listens", find, BUILD);
  }

  async end() {
    const exited = once(this.child, "exit");
    this.child.kill("SIGINT");
    const late = sleep(PATIENCE, undefined, { ref: false });
    const outcome = await Promise.race([exited, late]);
    assert.deepEqual(outcome, [0, null], "the example ends by itself when it is told to");
    assert.equal(this.lines.at(-1), "closed");
  }
}

/** Chromium with one page, spoken to over pipes (the DevTools protocol). */
class Browser {
  #next = 1;
  #waiting = new Map();
  #rest = "";
  /** What the page complained of. */
  complaints = [];
  /** Where it went. */
  requests = [];
  /** What it was told by the stream. */
  messages = [];

  static async start(profile) {
    const known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    const program = process.env.CHROMIUM ?? known.find(existsSync);
    assert.ok(program, "Chromium is not installed; Debian has it as the package `chromium`");
    const browser = new Browser();
    const child = start(program, [
      "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
      "--hide-scrollbars", "--remote-debugging-pipe", `--user-data-dir=${profile}`, "about:blank",
    ], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    browser.child = child;
    browser.pipe = child.stdio[3];
    child.stdio[4].setEncoding("utf8").on("data", (data) => browser.#read(data));
    const { targetInfos } = await browser.send("Target.getTargets");
    const { targetId } = targetInfos.find(({ type }) => type === "page");
    const attached = await browser.send("Target.attachToTarget", { targetId, flatten: true });
    browser.session = attached.sessionId;
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await browser.send(`${domain}.enable`);
    await browser.send("Emulation.setDeviceMetricsOverride", {
      width: 1200, height: 775, deviceScaleFactor: 1, mobile: false,
    });
    return browser;
  }

  #read(data) {
    const messages = (this.#rest + data).split("\0");
    this.#rest = messages.pop();
    for (const message of messages.map((text) => JSON.parse(text))) {
      const { id, method, params } = message;
      if (id) {
        this.#waiting.get(id)(message);
        this.#waiting.delete(id);
      } else if (method === "Runtime.exceptionThrown") {
        this.complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
      } else if (method === "Runtime.consoleAPICalled") {
        this.complaints.push(params.args.map((arg) => arg.value ?? arg.description).join(" "));
      } else if (method === "Log.entryAdded") {
        this.complaints.push(`${params.entry.text} ${params.entry.url ?? ""}`);
      } else if (method === "Network.requestWillBeSent") {
        this.requests.push(params.request.url);
      } else if (method === "Network.eventSourceMessageReceived") {
        this.messages.push(params.data);
      }
    }
  }

  async send(method, params = {}) {
    const id = this.#next++;
    const answer = new Promise((resolve) => this.#waiting.set(id, resolve));
    this.pipe.write(JSON.stringify({ id, method, params, sessionId: this.session }) + "\0");
    const late = sleep(PATIENCE, { error: { message: "no answer" } }, { ref: false });
    const { result, error } = await Promise.race([answer, late]);
    assert.ok(!error, `${method}: ${error?.message}`);
    return result;
  }

  /** The value of an expression in the page. */
  async value(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression, returnByValue: true,
    });
    assert.ok(!exceptionDetails, `${expression}: ${exceptionDetails?.exception?.description}`);
    return result.value;
  }

  until(what, expression) {
    return until(what, () => this.value(expression));
  }

  text(selector) {
    return this.value(`document.querySelector(${JSON.stringify(selector)}).textContent`);
  }

  /** A click as a hand does it: where the button is, if nothing is over it. */
  async click(selector) {
    const { x, y, hit } = await this.value(`(() => {
      const node = document.querySelector(${JSON.stringify(selector)});
      const { left, top, width, height } = node.getBoundingClientRect();
      const [x, y] = [left + width / 2, top + height / 2];
      return { x, y, hit: node.contains(document.elementFromPoint(x, y)) };
    })()`);
    assert.ok(hit, `${selector} can be clicked`);
    for (const type of ["mousePressed", "mouseReleased"]) {
      await this.send("Input.dispatchMouseEvent", { type, x, y, button: "left", clickCount: 1 });
    }
  }

  async picture(file) {
    const { data } = await this.send("Page.captureScreenshot", { format: "png" });
    await writeFile(file, Buffer.from(data, "base64"));
  }
}

const profile = await mkdtemp(path.join(tmpdir(), "dashboard-"));
try {
  const example = new Example();
  const url = await example.url();
  const browser = await Browser.start(profile);
  const number = async (selector) => Number((await browser.text(selector)).replaceAll(",", ""));
  const nothingFailed = async () => assert.equal(await number("#failed"), 0, "no request fails");
  /** Waits until some more requests have been answered. */
  const goesOn = async () => {
    const before = await number("#answered");
    await until("requests are answered", async () => {
      await nothingFailed();
      return (await number("#answered")) > before + 20;
    });
  };

  step("the page loads and shows two tokens, two key sets and the requests");
  await browser.send("Page.navigate", { url });
  await browser.until("the stream flows", `document.body?.dataset.live === "true"`);
  for (const name of ["inventory", "billing"]) {
    const lane = `[data-credential=${name}]`;
    await browser.until(`the life line of ${name}`, `!!document.querySelector("${lane} svg rect")
      && !!document.querySelector("${lane} .refresh-point")
      && document.querySelector("${lane}").dataset.state === "fresh"`);
  }
  for (const name of ["accounts", "partner"]) {
    const lane = `[data-keys=${name}]`;
    await browser.until(`the keys of ${name}`, `!!document.querySelector("${lane} svg rect")
      && document.querySelector("${lane}").dataset.kids === "key-1"`);
  }
  await browser.until("verdicts", `!!document.querySelector("#verdicts svg rect[fill='var(--good)']")`);
  await goesOn();

  step("forged tokens are refused, each for its reason");
  await browser.click("#forge");
  await browser.until("six refusals", `document.querySelector("#verdicts").dataset.refused === "6"`);
  const reasons = await browser.text("#verdicts p");
  for (const reason of ["signature 2", "expired 2", "unknown_key 2"]) assert.ok(reasons.includes(reason), reasons);
  await nothingFailed();

  step("rotated keys come into service");
  await browser.click("#rotate");
  await browser.until("the new keys", `[...document.querySelectorAll("[data-keys]")]
    .every(({ dataset }) => dataset.kids === "key-1 key-2")`);
  await goesOn();

  step("no request waits for slow issuers");
  await browser.click("#slow");
  await browser.until("the button is pressed", `document.querySelector("#slow").ariaPressed === "true"`);
  await goesOn();

  step("throttled issuers are left alone, and keys are held");
  await browser.click("#throttle");
  await browser.until("held keys", `!!document.querySelector("[data-keys][data-state=held]")`);
  await browser.until("the event", `document.querySelector("#log").textContent.includes("throttled")`);
  await goesOn();
  await browser.click("#recover");
  await browser.until("fresh keys", `[...document.querySelectorAll("[data-keys]")]
    .every(({ dataset }) => dataset.state === "fresh")`);

  if (options.screenshot) {
    await browser.until("a past to look back on", "frame.now > 75");
  }

  step("issuers are down: a token is held, and no request fails");
  await browser.click("#down");
  await browser.until("the button is pressed", `document.querySelector("#down").ariaPressed === "true"`);
  const held = await browser.until("a token is held",
    `document.querySelector("[data-credential][data-state=degraded]")?.dataset.credential`);
  const lane = `[data-credential=${held}]`;
  assert.equal(await browser.text(`${lane} .chip`), "held");
  await browser.until("the failed fetch is drawn", `!!document.querySelector("${lane} .failure")`);
  assert.match(await browser.text(`${lane} p`), /^\d+ failed, .*; good for another /);
  assert.match(await browser.text("#held-what"), /held/);
  const version = await browser.value(`Number(document.querySelector("${lane}").dataset.version)`);
  await goesOn();
  if (options.screenshot) {
    await browser.until("failed twice", `document.querySelector("${lane}").dataset.failures >= 3`);
    await browser.picture(options.screenshot);
  }

  step("issuers recover: a newer token is in service, and still none has failed");
  await browser.click("#recover");
  await browser.until("a newer token", `(({ state, version }) => state === "fresh" && version > ${version})(
    document.querySelector("${lane}").dataset)`);
  await goesOn();

  step("neither a token nor a secret has come to the page, nor anything from elsewhere");
  const source = await readFile(path.join(ROOT, "examples/dashboard/main.rs"), "utf8");
  const [, secret] = /const SECRET: &str = "([^"]+)"/.exec(source);
  const document = await browser.value("document.documentElement.outerHTML");
  assert.ok(browser.messages.length > 20 && browser.messages.every((text) => text.includes("inventory")));
  for (const text of [document, ...browser.messages]) {
    assert.ok(!text.includes(secret), "the secret");
    // Every JWT begins with that: `{"` in base64.
    assert.ok(!text.includes("eyJ"), "a token");
  }
  assert.deepEqual(browser.requests.filter((to) => !to.startsWith(`${url}/`) && !to.startsWith("data:")), []);
  assert.deepEqual(browser.complaints, [], "the console is empty");

  step("the example ends while the page is open");
  await example.end();
  await browser.until("the page says so", `document.querySelector("#mood").textContent === "not connected"`);
  await browser.send("Browser.close");
  console.log("ok");
} finally {
  for (const child of children) child.kill("SIGKILL");
  await Promise.all(children.map((child) => child.exitCode ?? child.signalCode ?? once(child, "exit")));
  await rm(profile, { recursive: true, force: true, maxRetries: 10 });
}
