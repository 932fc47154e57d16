// node http.mjs <address of Headwater>
// Runs every audit of graphql-http: as they are, and with the header without which a GET runs nothing. What must or should be so
// has to be; what may be so is only told.
import { serverAudits } from "graphql-http";
import { check } from "./results.mjs";

const [url] = process.argv.slice(2);

const withPreflight = (address, init = {}) =>
  fetch(address, { ...init, headers: { ...init.headers, "GraphQL-Require-Preflight": "1" } });

/** The audits of each level, by the word that their names begin with. */
async function outcomes(fetchFn) {
  const levels = { MUST: [], SHOULD: [], MAY: [] };
  for (const audit of serverAudits({ url, fetchFn })) {
    const { status, reason } = await audit.fn();
    levels[audit.name.split(" ")[0]].push({ id: audit.id, name: audit.name, ok: status === "ok", reason });
  }
  return levels;
}

const ids = (audits) => audits.map((it) => it.id).join(" ");
const told = (audits) => audits.map((it) => `${it.id} ${it.name}: ${it.reason}`).join("\n");

for (const [how, fetchFn] of Object.entries({ "as they are": fetch, "with a preflight header": withPreflight })) {
  const levels = await outcomes(fetchFn);
  for (const [level, audits] of Object.entries(levels)) {
    const kept = audits.filter((it) => it.ok);
    const broken = audits.filter((it) => !it.ok);
    await check(`${level}, ${how}`, () => {
      if (level !== "MAY" && broken.length) throw new Error(told(broken));
      const notices = broken.length ? `\n${broken.length} not so:\n${told(broken)}` : "";
      return `${kept.length} of ${audits.length}: ${ids(kept)}${notices}`;
    });
  }
}
