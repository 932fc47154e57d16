// node federation.mjs <address of the demo> <the guarded service, as JSON>
// The service as a subgraph: asked directly, composed with two others, and through a gateway over all three.
import { readFileSync } from "node:fs";
import { checkAtTheDoor, checkEntities } from "./entities.mjs";
import { checkThroughGateway } from "./crossing.mjs";
import { compose, otherComposers, startGateway, startSubgraph, variantWithout } from "./gateway.mjs";
import { NOW_ID, askService } from "./mesh.mjs";
import { check, expectEqual } from "./results.mjs";
import * as reviews from "./reviews.mjs";
import * as watches from "./watches.mjs";

const [address, guarded] = process.argv.slice(2);

const blocks = (page, pattern) => [...page.matchAll(pattern)].map(([, ...parts]) => parts);
const stops = [];

/** Through a gateway over the service that asks who comes. */
async function checkKeysThroughGateway([{ sdl }, ...others]) {
  const { address: door, key, stranger_key: strangerKey } = JSON.parse(guarded);
  const { supergraphSdl } = compose([{ name: "headwater", url: `${door}/graphql`, sdl }, ...others]);
  const gateway = await startGateway(supergraphSdl);
  await gateway.start();
  stops.push(gateway.stop);
  await check("a gateway passes on whose request it is", async () => {
    const query = `query ($id: ID!) { reviewed(id: $id) { id description reviews { text } } }`;
    const about = async (headers) => {
      const { data, errors } = await gateway.ask(query, { id: NOW_ID }, headers);
      return [typeof data.reviewed?.description, data.reviewed?.reviews.length, errors.map((it) => it.extensions.code)];
    };
    expectEqual(await about({ "x-api-key": key }), ["string", 1, []]);
    expectEqual(await about({}), ["object", 1, ["UNAUTHENTICATED"]]);
    expectEqual(await about({ "x-api-key": strangerKey }), ["object", 1, []]);
    return "with a key its answer; without one UNAUTHENTICATED, and with one of another tenant null, beside what reviews knows";
  });
}

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
  const page = readFileSync(new URL("../../docs/federation.md", import.meta.url), "utf8");
  let supergraphSdl;
  await check("Apollo's composer takes it beside the others, without a hint", () => {
    const { errors, hints, ...composition } = compose(subgraphs);
    supergraphSdl = composition.supergraphSdl;
    expectEqual([...errors, ...hints], []);
    return "they share Product, PageInfo, Asset, Node, Query.node and SchemaField";
  });
  await check("and beside the two that docs/federation.md shows", () => {
    const shown = blocks(page, /```graphql subgraph\n(.*?)```/gs).map(([sdl], at) => ({ name: `shown${at}`, url: "http://none", sdl }));
    const { errors, hints } = compose([subgraphs[0], ...shown]);
    expectEqual([shown.length, ...errors, ...hints], [2]);
  });
  for (const [composer, complaints] of Object.entries(otherComposers)) {
    await check(`so does the composer of ${composer}, without a warning`, () => expectEqual(complaints(subgraphs), []));
  }

  await check("a variant without what writes and administers has neither", () => {
    const fields = variantWithout(["headwater/write", "headwater/admin"], subgraphs);
    const theirs = ["registerProduct", "createKey", "revokeKey", "keys"];
    expectEqual(theirs.map((it) => fields.includes(it)), theirs.map(() => false));
    expectEqual(["products", "viewer", "watched"].map((it) => fields.includes(it)), [true, true, true]);
    return `${fields.length} fields at its root, none of them a mutation`;
  });

  // hints fail their check, but leave a supergraph to ask
  if (supergraphSdl !== undefined) {
    const gateway = await startGateway(supergraphSdl);
    await gateway.start();
    stops.push(gateway.stop);
    await checkThroughGateway(gateway.ask);
    for (const [query, answer] of blocks(page, /```graphql gateway\n(.*?)```\n+```json\n(.*?)```/gs)) {
      await check("an example of docs/federation.md answers as the page says", async () => {
        const { data, errors } = await gateway.ask(query);
        expectEqual([errors, data], [[], JSON.parse(answer)]);
      });
    }
    await gateway.stop();
    stops.pop();
    await checkKeysThroughGateway(subgraphs);
  }
} finally {
  for (const stop of stops.reverse()) await stop();
}
