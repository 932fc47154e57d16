// node federation.mjs <address of the demo> <the guarded service, as JSON>
// The service as a subgraph: asked directly, composed with two others, and through a gateway over all three.
import { readFileSync } from "node:fs";
import { checkAtTheDoor, checkEntities } from "./entities.mjs";
import { checkThroughGateway } from "./crossing.mjs";
import { compose, otherComposers, startGateway, startSubgraph } from "./gateway.mjs";
import { askService } from "./mesh.mjs";
import { check, expectEqual } from "./results.mjs";
import * as reviews from "./reviews.mjs";
import * as watches from "./watches.mjs";

const [address, guarded] = process.argv.slice(2);

const stops = [];
try {
  let sdl;
  await check("_service gives the committed schema", async () => {
    const { data } = await askService(address, "{ _service { sdl } }");
    sdl = data._service.sdl;
    const committed = readFileSync(new URL("../../schema/schema.graphql", import.meta.url), "utf8");
    // both texts are more than a table can show
    if (sdl.trimEnd() !== committed.trimEnd()) throw new Error("it differs from schema/schema.graphql: make schema");
    return `${committed.split("\n").length - 1} lines`;
  });

  await checkEntities(address);
  await checkAtTheDoor(JSON.parse(guarded));

  const subgraphs = [{ name: "headwater", url: address, sdl }];
  for (const small of [reviews, watches]) {
    const started = await startSubgraph(small);
    stops.push(started.stop);
    subgraphs.push(started);
  }
  let supergraphSdl;
  await check("Apollo's composer takes it beside the others, without a hint", () => {
    const { errors, hints, ...composition } = compose(subgraphs);
    supergraphSdl = composition.supergraphSdl;
    expectEqual([...errors, ...hints], []);
    return "they share Product, PageInfo, Asset, Node, Query.node and SchemaField";
  });
  for (const [composer, complaints] of Object.entries(otherComposers)) {
    await check(`so does the composer of ${composer}, without a warning`, () => expectEqual(complaints(subgraphs), []));
  }

  // hints fail their check, but leave a supergraph to ask
  if (supergraphSdl !== undefined) {
    const gateway = await startGateway(supergraphSdl);
    await gateway.start();
    stops.push(gateway.stop);
    await checkThroughGateway(gateway.ask);
  }
} finally {
  for (const stop of stops.reverse()) await stop();
}
