// `npm run lock` renews the package-lock.json of the folder it is run in from its package.json, and leaves out what nothing
// reads: where a package's authors take donations, and their notices of deprecation. What remains is names, versions and
// checksums, and no address.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const path = "package-lock.json";

execFileSync("npm", ["install", "--package-lock-only"], { stdio: "inherit" });
const lock = JSON.parse(readFileSync(path, "utf8"));
for (const entry of Object.values(lock.packages)) {
  delete entry.funding;
  delete entry.deprecated;
}
writeFileSync(path, JSON.stringify(lock, null, 2) + "\n");
