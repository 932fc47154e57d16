// node federation.mjs <address of the demo> <the guarded service, as JSON>
// The service as a subgraph: called directly, composed with two others, and called through a gateway over all three.
import { readFileSync } from "node:fs";
import { checkAuthentication, checkEntities } from "./entities.mjs";
import { checkThroughGateway } from "./crossing.mjs";
import { compose, otherComposers, startGateway, startSubgraph, variantWithout } from "./gateway.mjs";
import { NOW_ID, callService } from "./mesh.mjs";
import { check, expectEqual } from "./results.mjs";
import * as orders from "./orders.mjs";
import * as reviews from "./reviews.mjs";
import * as watches from "./watches.mjs";

const [address, guarded] = process.argv.slice(2);

const blocks = (page, pattern) => [...page.matchAll(pattern)].map(([, ...parts]) => parts);
const stops = [];

/** Checks credentials through a gateway over the service with authentication. */
async function checkKeysThroughGateway([{ sdl }, ...others]) {
  const { address: service, key, stranger_key: strangerKey } = JSON.parse(guarded);
  const { supergraphSdl } = compose([{ name: "headwater", url: `${service}/graphql`, sdl }, ...others]);
  const gateway = await startGateway(supergraphSdl);
  await gateway.start();
  stops.push(gateway.stop);
  await check("a gateway passes on the credentials of a request", async () => {
    const query = `query ($id: ID!) { reviewed(id: $id) { id description reviews { text } } }`;
    const about = async (headers) => {
      const { data, errors } = await gateway.ask(query, { id: NOW_ID }, headers);
      return [typeof data.reviewed?.description, data.reviewed?.reviews.length, errors.map((it) => it.extensions.code)];
    };
    expectEqual(await about({ "x-api-key": key }), ["string", 1, []]);
    expectEqual(await about({}), ["object", 1, ["UNAUTHENTICATED"]]);
    expectEqual(await about({ "x-api-key": strangerKey }), ["object", 1, []]);
    return "with a key data; without one UNAUTHENTICATED, and with one of another tenant null; each with the data of reviews";
  });
}

try {
  let sdl;
  await check("_service returns the committed schema", async () => {
    const { data } = await callService(address, "{ _service { sdl } }");
    sdl = data._service.sdl;
    const committed = readFileSync(new URL("../../schema/schema.graphql", import.meta.url), "utf8");
    // both texts are too long to show
    if (sdl.trimEnd() !== committed.trimEnd()) throw new Error("it differs from schema/schema.graphql: make schema");
    return `${committed.split("\n").length - 1} lines`;
  });

  await checkEntities(address);
  await checkAuthentication(JSON.parse(guarded));

  const subgraphs = [{ name: "headwater", url: address, sdl }];
  for (const small of [reviews, watches, orders]) {
    const started = await startSubgraph(small);
    stops.push(started.stop);
    subgraphs.push(started);
  }
  const page = readFileSync(new URL("../../docs/federation.md", import.meta.url), "utf8");
  let supergraphSdl;
  await check("Apollo's composer composes it with the others without a hint", () => {
    const { errors, hints, ...composition } = compose(subgraphs);
    supergraphSdl = composition.supergraphSdl;
    expectEqual([...errors, ...hints], []);
    return "they share Product, PageInfo, Asset, Node, Query.node and SchemaField";
  });
  await check("Apollo's composer composes it with those of docs/federation.md without a hint", () => {
    const shown = blocks(page, /```graphql subgraph\n(.*?)```/gs).map(([sdl], at) => ({ name: `shown${at}`, url: "http://none", sdl }));
    const { errors, hints } = compose([subgraphs[0], ...shown]);
    expectEqual([shown.length, ...errors, ...hints], [3]);
  });
  for (const [composer, problemsOf] of Object.entries(otherComposers)) {
    await check(`the composer of ${composer} composes it with the others without a warning`, () => expectEqual(problemsOf(subgraphs), []));
  }

  await check("a variant without the tags of writing and administration has none of their fields", () => {
    const fields = variantWithout(["headwater/write", "headwater/admin"], subgraphs);
    const excluded = ["registerProduct", "createKey", "revokeKey", "keys"];
    expectEqual(excluded.map((it) => fields.includes(it)), excluded.map(() => false));
    expectEqual(["products", "viewer", "watched"].map((it) => fields.includes(it)), [true, true, true]);
    return `${fields.length} root fields, none of them a mutation`;
  });

  // a hint fails its check, but the supergraph can still be used
  if (supergraphSdl !== undefined) {
    const gateway = await startGateway(supergraphSdl);
    await gateway.start();
    stops.push(gateway.stop);
    await checkThroughGateway(gateway.ask);
    for (const [query, answer] of blocks(page, /```graphql gateway\n(.*?)```\n+```json\n(.*?)```/gs)) {
      await check("an example of docs/federation.md gives the documented answer", async () => {
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
