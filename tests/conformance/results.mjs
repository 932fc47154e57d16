// Results of a script: each check becomes one line of JSON, { name, ok, detail }, in the file that HEADWATER_RESULTS names.
import { appendFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

/** Runs one check. Its return value is the detail to show. The other checks run even if it fails. */
export async function check(name, body) {
  let result;
  try {
    result = { name, ok: true, detail: (await body()) ?? "" };
  } catch (error) {
    result = { name, ok: false, detail: error.message };
  }
  appendFileSync(process.env.HEADWATER_RESULTS, JSON.stringify(result) + "\n");
}

/** Throws an error with both values, a line each, unless they are equal. */
export function expectEqual(actual, expected) {
  if (!isDeepStrictEqual(actual, expected)) {
    throw new Error(`got ${JSON.stringify(actual)}\nexpected ${JSON.stringify(expected)}`);
  }
}
