// node relay.mjs <address of Headwater> <directory of what relay-compiler generated from relay/documents.js>
// Does what a front end does with Relay, without components: the checks read its store.
import { createRequire } from "node:module";
import { join } from "node:path";
import relay from "relay-runtime";
import { check, expectEqual } from "./results.mjs";

const [address, artifacts] = process.argv.slice(2);
const require = createRequire(import.meta.url);
const document = (name) => require(join(artifacts, `documents${name}.graphql.js`));

// A product of the demo mesh: customer_accounts until 2026-02-10, customers from then on.
const UID = "d93586aa-49fa-5734-bb1c-7c71451dfa5c";
const PAST = "2025-12-01T00:00:00Z";
const NOW_ID = `Product:${UID}`;
const PAST_ID = `Product:${UID}@${PAST}`;
const WALKED = "216127a6-fa41-551d-af22-1d65185226e8";
const MEI = { type: "PERSON", key: "1003" };

// Relay warns if a response has one id twice with different fields.
const warnings = [];
console.error = (...parts) => void warnings.push(parts.join(" "));
console.warn = console.error;

/** The function of docs/clients.md: it throws on an error, so that Relay keeps the content of its store. */
async function fetchFromHeadwater({ text }, variables) {
  const response = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/graphql-response+json" },
    body: JSON.stringify({ query: text, variables }),
  });
  const answer = await response.json();
  if (answer.errors) throw Object.assign(new Error(answer.errors[0].message), { code: answer.errors[0].extensions.code });
  return answer;
}

/** Creates an application with an empty store. Its functions do what the hooks of Relay do. */
function startApplication() {
  const store = new relay.Store(new relay.RecordSource());
  const environment = new relay.Environment({ network: relay.Network.create(fetchFromHeadwater), store });

  const ask = (query, variables) => relay.fetchQuery(environment, query, variables).toPromise();
  const read = (fragment, reference) => environment.lookup(relay.getSingularSelector(fragment, reference)).data;
  const record = (id) => store.getSource().get(id);

  /** Refetches as useRefetchableFragment does, with the generated query. */
  async function refetch(fragment, reference, id) {
    const { refetchableRequest, identifierInfo, fragmentRefPathInResponse } = relay.getRefetchMetadata(fragment, "relay.mjs");
    expectEqual(identifierInfo.identifierField, "id");
    const selected = relay.getVariablesFromFragment(fragment, reference);
    const variables = { ...selected, [identifierInfo.identifierQueryVariableName]: id };
    const found = relay.getValueAtPath(await ask(refetchableRequest, variables), fragmentRefPathInResponse);
    return found && read(fragment, found);
  }

  /** Loads the next page as usePaginationFragment does, after the last edge in the store. */
  async function loadNext(fragment, reference, count) {
    const { paginationRequest, paginationMetadata, identifierField, connectionPathInFragmentData } =
      relay.getPaginationMetadata(fragment, "relay.mjs");
    const data = read(fragment, reference);
    const { pageInfo } = relay.getValueAtPath(data, connectionPathInFragmentData);
    const selected = relay.getVariablesFromFragment(fragment, reference);
    const variables = relay.getPaginationVariables("forward", count, pageInfo.endCursor, selected, {}, paginationMetadata);
    await ask(paginationRequest, identifierField ? { ...variables, id: data.id } : variables);
    return relay.getValueAtPath(read(fragment, reference), connectionPathInFragmentData);
  }

  async function write(mutation, variables) {
    return await new Promise((resolve, reject) => {
      relay.commitMutation(environment, { mutation, variables, onCompleted: resolve, onError: reject });
    });
  }

  return { ask, read, record, refetch, loadNext, write };
}

const nodesOf = (connection) => connection.edges.map(({ node }) => node);

await check("pages of a list are appended, each item once, in order", async () => {
  const fragment = document("_products");
  const whole = startApplication();
  const expected = whole.read(fragment, await whole.ask(document("ProductsQuery"), { first: 8 })).products.edges;
  const { ask, loadNext } = startApplication();
  const list = await ask(document("ProductsQuery"), { first: 3 });
  await loadNext(fragment, list, 3);
  const { edges, pageInfo } = await loadNext(fragment, list, 2);
  expectEqual(edges.map((it) => [it.node.id, it.cursor]), expected.map((it) => [it.node.id, it.cursor]));
  expectEqual(pageInfo.hasNextPage, true);
  return `3 + 3 + 2: ${edges.map((it) => it.node.name).join(", ")}`;
});

await check("pages of a list as of an instant are of that instant, beside the present list", async () => {
  const fragment = document("_products");
  const { ask, read, loadNext } = startApplication();
  const now = await ask(document("ProductsQuery"), { first: 40 });
  const then = await ask(document("ProductsQuery"), { first: 20, asOf: PAST });
  const past = nodesOf(await loadNext(fragment, then, 20));
  const current = nodesOf(read(fragment, now).products);
  expectEqual([...new Set(past.map((it) => it.asOf))], [PAST]);
  expectEqual(past.every((it) => it.id.endsWith(`@${PAST}`)) && current.every((it) => !it.id.includes("@")), true);
  return `${current.length} products now, ${past.length} then, none in common`;
});

await check("pages of a history are the same at present and as of an instant", async () => {
  const fragment = document("_history");
  const found = [];
  for (const asOf of [null, PAST]) {
    const { ask, loadNext } = startApplication();
    const { asset } = await ask(document("AssetQuery"), { uid: UID, asOf, versions: 2, assets: 1 });
    const { edges, pageInfo } = await loadNext(fragment, asset, 50);
    expectEqual(pageInfo.hasNextPage, false);
    found.push(edges.map(({ node }) => [node.id, node.asset.id, node.asset.label]));
  }
  expectEqual(found[0], found[1]);
  const [first] = found[0][0];
  expectEqual(first, `AssetVersion:${UID}@${found[0][0][1].split("@")[1]}`);
  return `${found[0].length} versions, from ${found[0][0][2]} to ${found[0].at(-1)[2]}`;
});

await check("later pages of a walk are as of the instant of the first, and their ids name it", async () => {
  const fragment = document("_upstream");
  const walk = { uid: WALKED, versions: 1 };
  const whole = startApplication();
  const { asset } = await whole.ask(document("AssetQuery"), { ...walk, assets: 100 });
  const expected = whole.read(fragment, asset).upstream.edges;
  const { ask, loadNext } = startApplication();
  const paged = await ask(document("AssetQuery"), { ...walk, assets: 4 });
  await loadNext(fragment, paged.asset, 4);
  const { edges, pageInfo } = await loadNext(fragment, paged.asset, 100);
  const shown = ({ node, depth, confidence }) => [node.label, depth, confidence];
  expectEqual([edges.map(shown), pageInfo.hasNextPage], [expected.map(shown), false]);
  const instants = edges.map(({ node }) => node.id.split("@")[1]);
  expectEqual(instants.at(-1)?.length > 0, true);
  expectEqual(instants, [...Array(4).fill(undefined), ...Array(edges.length - 4).fill(instants.at(-1))]);
  return `4 + 4 + ${edges.length - 8} assets that feed attribution; those after the first 4 are as of ${instants.at(-1)}`;
});

await check("the edges of a walk have its links, so that appended pages are the whole graph", async () => {
  const fragment = document("_upstream");
  const whole = startApplication();
  const { asset } = await whole.ask(document("AssetQuery"), { uid: WALKED, versions: 1, assets: 100 });
  const expected = whole.read(fragment, asset).upstream.links.map((it) => it.uid);
  const { ask, loadNext } = startApplication();
  const paged = await ask(document("AssetQuery"), { uid: WALKED, versions: 1, assets: 4 });
  const { edges, links } = await loadNext(fragment, paged.asset, 100);
  const appended = edges.flatMap((it) => it.links.map((link) => link.uid));
  expectEqual(appended.sort(), expected.sort());
  // of the fields beside the edges, Relay keeps those of the last page
  expectEqual(links.length < expected.length, true);
  return `${appended.length} links on ${edges.length} edges; the connection's own list is that of the last page, ${links.length}`;
});

await check("a refused page throws an error with its code, and the store keeps its content", async () => {
  const fragment = document("_upstream");
  const { ask, read, loadNext } = startApplication();
  const { asset } = await ask(document("AssetQuery"), { uid: WALKED, versions: 1, assets: 4 });
  const before = read(fragment, asset);
  const code = await loadNext(fragment, asset, 1_000_000).catch((error) => error.code);
  expectEqual(code, "LIMIT_EXCEEDED");
  expectEqual(read(fragment, asset), before);
  return `${code}; the ${before.upstream.edges.length} assets of the first page are kept`;
});

await check("a product at two instants is two records", async () => {
  const { ask, read, record, refetch } = startApplication();
  const fragment = document("_product");
  const { now, then } = await ask(document("TwoInstantsQuery"), { uid: UID, then: PAST });
  const both = () => [now.product, then.product].map((it) => [read(fragment, it).id, read(fragment, it).name]);
  const expected = [[NOW_ID, "customers"], [PAST_ID, "customer_accounts"]];
  expectEqual(both(), expected);
  expectEqual([record(NOW_ID).name, record(PAST_ID).name], ["customers", "customer_accounts"]);
  // refetch each, with the query that is generated for its fragment
  for (const [id, name] of expected) expectEqual((await refetch(fragment, now.product, id)).name, name);
  expectEqual(both(), expected);
  return expected.map((it) => it.join(" ")).join("\n");
});

await check("a fragment on Asset is refetched by any id, as of the instant that the id names", async () => {
  const { ask, refetch } = startApplication();
  const fragment = document("_asset");
  const { then } = await ask(document("TwoInstantsQuery"), { uid: UID, then: PAST });
  const past = await refetch(fragment, then, PAST_ID);
  expectEqual([past.__typename, past.label, past.asOf], ["Product", "customer_accounts", PAST]);
  const between = "2025-12-24T12:00:00.500000Z";
  const another = await refetch(fragment, then, `Product:${UID}@${between}`);
  const before = await refetch(fragment, then, `Product:${UID}@2001-01-01T00:00:00Z`);
  expectEqual([another.asOf, before], [between, null]);
  return `customer_accounts at ${PAST}; another instant is another record; before its start, null`;
});

await check("a refetched fragment keeps its arguments", async () => {
  const { ask, read, refetch } = startApplication();
  const fragment = document("_entity");
  const { entity } = await ask(document("EntityQuery"), { key: MEI, asOf: "2026-05-01" });
  const { id, details } = read(fragment, entity);
  const again = await refetch(fragment, entity, id);
  expectEqual([again.id, again.details], [id, details]);
  const now = await refetch(fragment, entity, id.split("@")[0]);
  expectEqual([details, now.details].map((it) => it.map(({ value }) => value)), [["Finance"], ["Head of finance"]]);
  return `Mei Tanaka: ${details[0].value} at 2026-05-01, ${now.details[0].value} now`;
});

for (const [when, asOf] of [["at present", null], ["as of an instant", "2026-05-01T00:00:00Z"]]) {
  await check(`every type of node is refetched unchanged, ${when}`, async () => {
    const { ask, read, refetch } = startApplication();
    const fragment = document("_node");
    const found = await ask(document("NodesQuery"), { asOf });
    const [product] = found.products.nodes;
    const lists = [found.products, found.entities, found.lineageLinks, found.relationships, { nodes: [product.domain] }, product.history];
    const types = [];
    for (const { nodes } of lists) {
      const reference = nodes[0];
      const before = structuredClone(read(fragment, reference));
      const another = startApplication();
      expectEqual(structuredClone(await another.refetch(fragment, reference, before.id)), before);
      expectEqual(structuredClone(await refetch(fragment, reference, before.id)), before);
      // the id of a version has the instant of its start, at any instant of the read
      if (before.__typename !== "AssetVersion") expectEqual(before.id.split("@")[1], asOf ?? undefined);
      types.push(`${before.__typename} ${before.id}`);
    }
    expectEqual(types.map((it) => it.split(" ")[0]), ["Product", "Entity", "LineageLink", "Relationship", "Domain", "AssetVersion"]);
    return types.map((it) => it.split(" ")[1]).join("\n");
  });
}

await check("an id has the same fields on every path to it", async () => {
  const { ask } = startApplication();
  warnings.length = 0;
  for (const [from, to] of [["2025-12-01", "2026-11-01"], ["2026-02-10", "2026-05-04"]]) {
    await ask(document("EverywhereQuery"), { uid: UID, from, to });
  }
  expectEqual(warnings, []);
  return "present, past, history, walks, relationships, changes, diff, lineageDiff: no warning of Relay";
});

await check("the payload of a mutation updates the record of the plain id, and not that of a past one", async () => {
  const { ask, read, write } = startApplication();
  const fragment = document("_product");
  const { now, then } = await ask(document("TwoInstantsQuery"), { uid: UID, then: PAST });
  const past = read(fragment, then.product);
  const owner = "relay@shop.example";
  const { updateProduct } = await write(document("UpdateMutation"), { input: { product: { uid: UID }, owner } });
  expectEqual([updateProduct.changed, read(fragment, now.product).owner, read(fragment, then.product)], [true, owner, past]);
  return `owner of ${NOW_ID} is ${owner}; of ${PAST_ID} it remains ${past.owner}`;
});

await check("the payload of a mutation at an earlier instant is a record of that instant", async () => {
  const { ask, read, record, write } = startApplication();
  const fragment = document("_product");
  const { now } = await ask(document("TwoInstantsQuery"), { uid: UID, then: PAST });
  const current = read(fragment, now.product);
  const at = "2026-03-01T00:00:00Z";
  await write(document("UpdateMutation"), { input: { product: { uid: UID }, owner: "march@shop.example", at } });
  expectEqual([read(fragment, now.product), record(`${NOW_ID}@${at}`).owner], [current, "march@shop.example"]);
  return `${NOW_ID}@${at}; the present has to be refetched`;
});

await check("a created product is appended to a list, and a deleted one is removed from it", async () => {
  const { ask, read, record, write } = startApplication();
  const fragment = document("_products");
  const list = await ask(document("ProductsQuery"), { first: 2 });
  const names = () => nodesOf(read(fragment, list).products).map((it) => it?.name);
  const [before, connections] = [names(), [read(fragment, list).products.__id]];
  const fields = { name: "made_by_relay", domain: "web", owner: "relay@shop.example", schema: {} };
  const { registerProduct } = await write(document("RegisterMutation"), { input: fields, connections });
  expectEqual(names(), [...before, "made_by_relay"]);
  const { id, uid } = registerProduct.product;
  const { deleteProduct } = await write(document("DeleteMutation"), { input: { product: { uid } }, connections });
  expectEqual([deleteProduct.deletedId, names(), record(id)], [id, before, null]);
  return `${id} was appended and removed`;
});
