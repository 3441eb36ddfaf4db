// Fails when what a browser loads before the first screen outgrows its budget. Reads the built files.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const BUDGET = { js: 170_000, css: 25_000 };
const root = join(dirname(fileURLToPath(import.meta.url)), "../../static/console");
const assets = join(root, "assets");

const packed = (path) => gzipSync(readFileSync(path), { level: 9 }).length;

/** The entry, what it imports at once, and the overview: the first screen of a signed-in browser. */
function firstLoad(html) {
  const named = [...html.matchAll(/\/assets\/([\w.-]+\.(?:js|css))/g)].map((match) => match[1]);
  const overview = readdirSync(assets).filter((name) => /^Overview-.*\.(js|css)$/.test(name));
  const seen = new Set([...named, ...overview]);
  for (const name of seen) {
    if (!name.endsWith(".js")) continue;
    const source = readFileSync(join(assets, name), "utf8");
    for (const match of source.matchAll(/(?:import|from)\s*["']\.\/([\w.-]+\.js)["']/g)) {
      seen.add(match[1]);
    }
  }
  return [...seen];
}

const files = firstLoad(readFileSync(join(root, "index.html"), "utf8"));
let failed = false;
for (const [kind, budget] of Object.entries(BUDGET)) {
  const mine = files.filter((name) => name.endsWith(`.${kind}`));
  const total = mine.reduce((sum, name) => sum + packed(join(assets, name)), 0);
  const over = total > budget;
  failed ||= over;
  console.log(
    `${kind}: ${(total / 1000).toFixed(1)} of ${budget / 1000} kB gzip in ${mine.length} files${over ? " - TOO LARGE" : ""}`,
  );
}
process.exit(failed ? 1 : 0);
