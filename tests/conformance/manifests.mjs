// node manifests.mjs <file for a manifest of Apollo> <file for one of Relay>
import { writeFileSync } from "node:fs";
import { apolloManifest, relayManifest } from "./documents.mjs";
import { check } from "./results.mjs";

const [apollo, relay] = process.argv.slice(2);

await check("the clients write their manifests", () => {
  writeFileSync(apollo, JSON.stringify(apolloManifest, null, 2));
  writeFileSync(relay, JSON.stringify(relayManifest));
  return `${apolloManifest.operations.length} operations for Apollo Client, ${Object.keys(relayManifest).length} for Relay`;
});
