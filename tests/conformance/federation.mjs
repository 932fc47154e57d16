// node federation.mjs <address of Headwater>
// Asks Headwater directly, and through a gateway that has a second subgraph beside it.
import { readFileSync } from "node:fs";
import { compose, startGateway } from "./gateway.mjs";
import { check, expectEqual } from "./results.mjs";
import { sdl as reviewsSdl, startReviews, textOf } from "./reviews.mjs";

const [address] = process.argv.slice(2);

// A product of the demo mesh: customer_accounts until 2026-02-10, customers from then on.
const UID = "d93586aa-49fa-5734-bb1c-7c71451dfa5c";
const PAST = "2025-12-01T00:00:00Z";
const NOW_ID = `Product:${UID}`;
const PAST_ID = `Product:${UID}@${PAST}`;
const UNKNOWN_UID = "00000000-0000-4000-8000-000000000000";

const reviewsOf = (id) => [{ text: textOf(id) }];
const product = (keys) => ({ __typename: "Product", ...keys });
const sorted = (values) => [...new Set(values)].sort();
const coded = (errors) => errors.map(({ path, extensions }) => ({ path, code: extensions?.code }));

async function askHeadwater(query, variables) {
  const response = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  return await response.json();
}

async function entities(representations) {
  const query = `query ($representations: [_Any!]!) {
    _entities(representations: $representations) { __typename ... on Product { id name } }
  }`;
  const { data, errors = [] } = await askHeadwater(query, { representations });
  return { found: data?._entities, errors: coded(errors) };
}

/** What the gateway sent to one subgraph as representations, one list a request. */
function representationsTo(name, sent) {
  return sent.filter((it) => it.name === name && it.variables.representations).map((it) => it.variables.representations);
}

async function checkDirectly() {
  const current = product({ id: NOW_ID, name: "customers" });

  await check("the keys uid and name mean now", async () => {
    const asked = [{ uid: UID }, { name: "customers" }, { id: NOW_ID }].map(product);
    expectEqual(await entities(asked), { found: [current, current, current], errors: [] });
    return `${NOW_ID}, now customers`;
  });

  await check("the key id means its instant, and stays as it is", async () => {
    const then = product({ id: PAST_ID, name: "customer_accounts" });
    expectEqual(await entities([product({ id: PAST_ID })]), { found: [then], errors: [] });
    return `${PAST_ID}, then customer_accounts`;
  });

  await check("what is not there is null, without an error", async () => {
    const before = `Product:${UID}@2001-01-01T00:00:00Z`;
    const keys = [{ name: "customer_accounts" }, { uid: UNKNOWN_UID }, { id: `Product:${UNKNOWN_UID}` }, { id: before }];
    expectEqual(await entities(keys.map(product)), { found: [null, null, null, null], errors: [] });
    return "a former name, an unknown uid, an unknown id, an instant before the first";
  });

  await check("an unknown __typename is a coded error, its neighbours survive", async () => {
    const named = ["Nothing", "Query", "PageInfo"].map((name) => ({ __typename: name, id: NOW_ID }));
    const bad = [...named, { id: NOW_ID }, "text"];
    await expectOnlyTheseToFail(bad, current);
    return `BAD_INPUT for ${bad.length} of ${bad.length + 2}`;
  });

  await check("a key that cannot be read is a coded error, its neighbours survive", async () => {
    const offset = `${NOW_ID}@2025-12-01T01:00:00+01:00`;
    const keys = [{ id: "nonsense" }, { id: `${NOW_ID}@yesterday` }, { id: offset }, { id: 7 }, { uid: "nonsense" }, {}];
    await expectOnlyTheseToFail(keys.map(product), current);
    return `BAD_INPUT for ${keys.length} of ${keys.length + 2}`;
  });

  await check("a representation may carry further fields, whatever their names", async () => {
    const asked = [{ label: "a" }, { info: "b" }, { cls: "c" }, { self: "d" }].map((more) => product({ uid: UID, ...more }));
    expectEqual(await entities(asked), { found: asked.map(() => current), errors: [] });
    return "label, info, cls, self";
  });

  /** Each of these fails for itself, between two that are found. */
  async function expectOnlyTheseToFail(bad, neighbour) {
    const { found, errors } = await entities([product({ uid: UID }), ...bad, product({ name: "customers" })]);
    expectEqual(found, [neighbour, ...bad.map(() => null), neighbour]);
    errors.sort((one, other) => one.path[1] - other.path[1]);
    const expected = bad.map((_, index) => ({ path: ["_entities", index + 1], code: "BAD_INPUT" }));
    expectEqual(errors, expected);
  }
}

async function checkThroughGateway(ask) {
  await check("from Headwater to reviews: the instant crosses inside the id", async () => {
    const { data, errors, sent } = await ask(
      `query ($asOf: DateTime) { product(name: "customer_accounts", asOf: $asOf) { id name reviews { text } } }`,
      { asOf: "2025-12-01" },
    );
    expectEqual(errors, []);
    expectEqual(data.product, { id: PAST_ID, name: "customer_accounts", reviews: reviewsOf(PAST_ID) });
    expectEqual(representationsTo("reviews", sent), [[product({ id: PAST_ID })]]);
    return `reviews was asked about ${PAST_ID}`;
  });

  await check("from Headwater to reviews: read now, the id is plain", async () => {
    const { data, errors } = await ask(`{ product(name: "customers") { id reviews { text } } }`);
    expectEqual(errors, []);
    expectEqual(data.product, { id: NOW_ID, reviews: reviewsOf(NOW_ID) });
    return `reviews was asked about ${NOW_ID}`;
  });

  await check("from reviews to Headwater: read at the instant of the id", async () => {
    const query = `query ($id: ID!) { reviewed(id: $id) { id name owner asOf reviews { text } } }`;
    const { data, errors, sent } = await ask(query, { id: PAST_ID });
    expectEqual(errors, []);
    const then = { name: "customer_accounts", owner: "ann@shop.example", asOf: PAST };
    expectEqual(data.reviewed, { id: PAST_ID, ...then, reviews: reviewsOf(PAST_ID) });
    expectEqual(representationsTo("headwater", sent), [[product({ id: PAST_ID })]]);
    return "customer_accounts, as it was called then";
  });

  await check("from reviews to Headwater: a plain id is read now", async () => {
    const { data, errors } = await ask(`query ($id: ID!) { reviewed(id: $id) { name owner } }`, { id: NOW_ID });
    expectEqual(errors, []);
    expectEqual(data.reviewed, { name: "customers", owner: "bo@shop.example" });
    return "customers, as it is called now";
  });

  await check("one answer holds one product at two instants, and mixes nothing", async () => {
    const { data, errors } = await ask(
      `query ($uid: UUID!, $then: DateTime, $id: ID!) {
        now: asset(uid: $uid) { ...read }
        then: asset(uid: $uid, asOf: $then) { ...read }
        node(id: $id) { ...read }
      }
      fragment read on Product { id name reviews { text } }`,
      { uid: UID, then: PAST, id: PAST_ID },
    );
    expectEqual(errors, []);
    const then = { id: PAST_ID, name: "customer_accounts", reviews: reviewsOf(PAST_ID) };
    expectEqual(data, { now: { id: NOW_ID, name: "customers", reviews: reviewsOf(NOW_ID) }, then, node: then });
    return "asset now, asset then, node then";
  });

  await check("each stretch of a history crosses at its own instant", async () => {
    const { data, errors } = await ask(
      `{ product(name: "customers") { history { nodes { asset { ... on Product { id name validFrom reviews { text } } } } } } }`,
    );
    expectEqual(errors, []);
    const stretches = data.product.history.nodes.map((it) => it.asset);
    expectEqual(sorted(stretches.map((it) => it.name)), ["customer_accounts", "customers"]);
    for (const { id, validFrom, reviews } of stretches) {
      expectEqual(id, `${NOW_ID}@${validFrom}`);
      expectEqual(reviews, reviewsOf(id));
    }
    return `${stretches.length} stretches, ${sorted(stretches.map((it) => it.id)).length} ids`;
  });

  await check("in a list, the unknown is null and the malformed a coded error", async () => {
    const ids = [PAST_ID, `Product:${UNKNOWN_UID}`, "nonsense", NOW_ID];
    const { data, errors, sent } = await ask(
      `query ($ids: [ID!]!) {
        reviewsOf(products: $ids) { nodes { text product { id name } } pageInfo { hasNextPage hasPreviousPage } }
      }`,
      { ids },
    );
    const found = [{ id: PAST_ID, name: "customer_accounts" }, null, null, { id: NOW_ID, name: "customers" }];
    expectEqual(data.reviewsOf.nodes, ids.map((id, index) => ({ text: textOf(id), product: found[index] })));
    expectEqual(coded(errors), [{ path: ["reviewsOf", "nodes", 2, "product"], code: "BAD_INPUT" }]);
    expectEqual(representationsTo("headwater", sent), [ids.map((id) => product({ id }))]);
    return `${ids.length} products in one request to Headwater: 2 found, 1 unknown, 1 BAD_INPUT`;
  });

  await check("what another subgraph knows stays when Headwater fails", async () => {
    const query = `query ($id: ID!) { reviewed(id: $id) { id description reviews { text } } }`;
    const { data, errors } = await ask(query, { id: "nonsense" });
    expectEqual(data.reviewed, { id: "nonsense", description: null, reviews: reviewsOf("nonsense") });
    expectEqual(coded(errors), [{ path: ["reviewed"], code: "BAD_INPUT" }]);
    return "reviews answers, description is null";
  });

  await check("a mutation's payload crosses too", async () => {
    const { data, errors } = await ask(
      `mutation ($input: UpdateProductInput!) {
        updateProduct(input: $input) { changed product { owner reviews { text } } }
      }`,
      { input: { product: { uid: UID }, owner: "gateway@shop.example" } },
    );
    expectEqual(errors, []);
    const after = { owner: "gateway@shop.example", reviews: reviewsOf(NOW_ID) };
    expectEqual(data.updateProduct, { changed: true, product: after });
    return `updateProduct, then reviews was asked about ${NOW_ID}`;
  });

  // Composition leaves @oneOf out, so the gateway lets through what only Headwater can refuse.
  await check("Headwater itself refuses what the gateway lets through", async () => {
    const query = `mutation ($input: UpdateProductInput!) { updateProduct(input: $input) { changed } }`;
    const { data, errors } = await ask(query, { input: { product: { uid: UID, name: "customers" }, owner: "nobody" } });
    expectEqual(data, null);
    expectEqual(errors.map((it) => it.extensions), [{ code: "BAD_INPUT", field: "product", serviceName: "headwater" }]);
    return "both members of a @oneOf input: BAD_INPUT";
  });
}

const stops = [];
try {
  let headwaterSdl;
  await check("_service gives the committed schema", async () => {
    const { data } = await askHeadwater("{ _service { sdl } }");
    headwaterSdl = data._service.sdl;
    const committed = readFileSync(new URL("../../schema/schema.graphql", import.meta.url), "utf8");
    // both texts are more than a table can show
    if (headwaterSdl.trimEnd() !== committed.trimEnd()) throw new Error("it differs from schema/schema.graphql: make schema");
    return `${committed.split("\n").length - 1} lines`;
  });

  await checkDirectly();

  const reviews = await startReviews();
  stops.push(reviews.stop);
  let supergraphSdl;
  await check("it composes with another subgraph, without a hint", () => {
    const { errors, hints, ...composition } = compose([
      { name: "headwater", url: address, sdl: headwaterSdl },
      { name: "reviews", url: reviews.url, sdl: reviewsSdl },
    ]);
    supergraphSdl = composition.supergraphSdl;
    expectEqual([...errors, ...hints], []);
    return "they share Product and PageInfo";
  });

  // hints fail their check, but leave a supergraph to ask
  if (supergraphSdl !== undefined) {
    const gateway = await startGateway(supergraphSdl);
    stops.push(gateway.stop);
    await checkThroughGateway(gateway.ask);
  }
} finally {
  for (const stop of stops.reverse()) await stop();
}
