// What a script found: each check becomes one line of JSON in the file that HEADWATER_RESULTS names: { name, ok, detail }.
import { appendFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

/** Runs one check; what it returns is the detail to show. A check that fails stops no other. */
export async function check(name, body) {
  let result;
  try {
    result = { name, ok: true, detail: (await body()) ?? "" };
  } catch (error) {
    result = { name, ok: false, detail: error.message };
  }
  appendFileSync(process.env.HEADWATER_RESULTS, JSON.stringify(result) + "\n");
}

/** Fails with both sides on a line each. */
export function expectEqual(actual, expected) {
  if (!isDeepStrictEqual(actual, expected)) {
    throw new Error(`got ${JSON.stringify(actual)}\nexpected ${JSON.stringify(expected)}`);
  }
}
