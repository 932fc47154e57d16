// Renews package-lock.json from package.json and leaves out what nothing reads: where a package's authors take donations,
// and their notices of deprecation. What remains is names, versions and checksums, and no address.
// The overrides in package.json hold back two packages whose later versions want a Node later than 20.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const path = new URL("package-lock.json", import.meta.url);

execFileSync("npm", ["install", "--package-lock-only"], { cwd: new URL(".", import.meta.url), stdio: "inherit" });
const lock = JSON.parse(readFileSync(path, "utf8"));
for (const entry of Object.values(lock.packages)) {
  delete entry.funding;
  delete entry.deprecated;
}
writeFileSync(path, JSON.stringify(lock, null, 2) + "\n");
