// Applies one edit to one page with lol-html, for differential_test.go.
//
// Each line of the input is a JSON object: {"page": base64} sets the page, and
// {"select", "op", "content", "html", "name", "value"} edits it. Each edit is
// answered with a line: {"out": base64}, or {"error": message}.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
let { HTMLRewriter } = require("html-rewriter-wasm");
let refused = 0;

// lol-html does not give back its stack when it refuses a page, so that it fails
// after some ten thousand of them: it is loaded anew now and then.
function reload() {
  for (const path of Object.keys(require.cache)) {
    delete require.cache[path];
  }
  ({ HTMLRewriter } = require("html-rewriter-wasm"));
}

const operations = {
  before: (e, job) => e.before(job.content, { html: job.html }),
  after: (e, job) => e.after(job.content, { html: job.html }),
  prepend: (e, job) => e.prepend(job.content, { html: job.html }),
  append: (e, job) => e.append(job.content, { html: job.html }),
  replace: (e, job) => e.replace(job.content, { html: job.html }),
  set_inner: (e, job) => e.setInnerContent(job.content, { html: job.html }),
  remove: (e) => e.remove(),
  unwrap: (e) => e.removeAndKeepContent(),
  set_attribute: (e, job) => e.setAttribute(job.name, job.value),
  remove_attribute: (e, job) => e.removeAttribute(job.name),
};

async function edit(page, job) {
  const chunks = [];
  const rewriter = new HTMLRewriter((chunk) => chunks.push(Buffer.from(chunk)));
  try {
    rewriter.on(job.select, { element: (e) => void operations[job.op](e, job) });
    await rewriter.write(page);
    await rewriter.end();
    return { out: Buffer.concat(chunks).toString("base64") };
  } catch (problem) {
    refused++;
    return { error: String(problem) };
  } finally {
    rewriter.free();
  }
}

let page = Buffer.alloc(0);
for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  if (job.page !== undefined) {
    page = Buffer.from(job.page, "base64");
    continue;
  }
  if (refused >= 1000) {
    refused = 0;
    reload();
  }
  process.stdout.write(JSON.stringify(await edit(page, job)) + "\n");
}
