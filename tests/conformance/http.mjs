// node http.mjs <address of Headwater>
// Runs every audit of graphql-http twice: as it is, and with the header that the service requires of a GET. Audits of the levels
// MUST and SHOULD have to pass; those of the level MAY are only reported.
import { serverAudits } from "graphql-http";
import { check } from "./results.mjs";

const [url] = process.argv.slice(2);

const withPreflight = (address, init = {}) =>
  fetch(address, { ...init, headers: { ...init.headers, "GraphQL-Require-Preflight": "1" } });

/** Returns the audits by level, which is the first word of their name. */
async function outcomes(fetchFn) {
  const levels = { MUST: [], SHOULD: [], MAY: [] };
  for (const audit of serverAudits({ url, fetchFn })) {
    const { status, reason } = await audit.fn();
    levels[audit.name.split(" ")[0]].push({ id: audit.id, name: audit.name, ok: status === "ok", reason });
  }
  return levels;
}

const ids = (audits) => audits.map((it) => it.id).join(" ");
const described = (audits) => audits.map((it) => `${it.id} ${it.name}: ${it.reason}`).join("\n");

for (const [variant, fetchFn] of Object.entries({ "as published": fetch, "with a preflight header": withPreflight })) {
  const levels = await outcomes(fetchFn);
  for (const [level, audits] of Object.entries(levels)) {
    const passed = audits.filter((it) => it.ok);
    const failed = audits.filter((it) => !it.ok);
    await check(`${level}, ${variant}`, () => {
      if (level !== "MAY" && failed.length) throw new Error(described(failed));
      const notices = failed.length ? `\n${failed.length} failed:\n${described(failed)}` : "";
      return `${passed.length} of ${audits.length}: ${ids(passed)}${notices}`;
    });
  }
}
