// PostGraphile over the schema `bench`, as in production: no watching, no GraphiQL, no explanations, no websockets.
// Arguments: the address of the database and the size of the pool. Prints its address.
import { createServer } from "node:http";
import { grafserv } from "postgraphile/grafserv/node";
import { makePgService } from "postgraphile/adaptors/pg";
import { postgraphile } from "postgraphile";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

const [connectionString, poolSize] = process.argv.slice(2);

const instance = postgraphile({
  extends: [PostGraphileAmberPreset],
  // without the global ids of Relay, which no row selects
  disablePlugins: ["NodePlugin"],
  pgServices: [
    makePgService({ connectionString, schemas: ["bench"], poolConfig: { max: Number(poolSize), options: "-c jit=off" } }),
  ],
  grafserv: { graphqlPath: "/graphql", graphiql: false, watch: false, websockets: false },
  grafast: { explain: false },
});
// fail now rather than at the first request
await instance.getSchema();
const server = createServer();
server.keepAliveTimeout = 0;
await instance.createServ(grafserv).addTo(server);
// end with the harness
process.stdin.resume().on("end", () => process.exit());
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
