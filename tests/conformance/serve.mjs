// node serve.mjs <address of Headwater> [port]
// Serves a gateway over Headwater and three small subgraphs: docs/federation.md.
import { compose, startGateway, startSubgraph } from "./gateway.mjs";
import { callService } from "./mesh.mjs";
import * as orders from "./orders.mjs";
import * as reviews from "./reviews.mjs";
import * as watches from "./watches.mjs";

const [address, port = "4000"] = process.argv.slice(2);

try {
  const { data, errors: callErrors } = await callService(address, "{ _service { sdl } }");
  if (!data) throw new Error(`${address}: ${callErrors[0]?.message}`);
  const small = await Promise.all([orders, reviews, watches].map((it) => startSubgraph(it)));
  const { supergraphSdl, errors } = compose([{ name: "headwater", url: address, sdl: data._service.sdl }, ...small]);
  if (errors.length) throw new Error(errors.join("\n"));
  const gateway = await startGateway(supergraphSdl);
  console.log(`The gateway is at ${await gateway.listen(Number(port))}. Stop it with Ctrl-C.`);
} catch (error) {
  console.error(`error: ${error.cause ? `${address} does not respond: ${error.cause.message}. Is \`make demo\` running?` : error.message}`);
  process.exit(1);
}
