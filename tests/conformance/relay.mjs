// node relay.mjs <address of Headwater> <what relay-compiler made of relay/documents.js>
// What a front end does with Relay, short of drawing it: its store is asked, not a component.
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

// Relay warns where one answer has one id twice, with contents that differ.
const warnings = [];
console.error = (...parts) => void warnings.push(parts.join(" "));
console.warn = console.error;

/** What docs/clients.md shows: an answer with an error is not written to the store, so that what is there stays. */
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

/** An application with an empty store: what it does is what Relay's hooks do. */
function startApplication() {
  const store = new relay.Store(new relay.RecordSource());
  const environment = new relay.Environment({ network: relay.Network.create(fetchFromHeadwater), store });

  const ask = (query, variables) => relay.fetchQuery(environment, query, variables).toPromise();
  const read = (fragment, reference) => environment.lookup(relay.getSingularSelector(fragment, reference)).data;
  const record = (id) => store.getSource().get(id);

  /** As useRefetchableFragment does it: by the query that the compiler made. */
  async function refetch(fragment, reference, id) {
    const { refetchableRequest, identifierInfo, fragmentRefPathInResponse } = relay.getRefetchMetadata(fragment, "relay.mjs");
    expectEqual(identifierInfo.identifierField, "id");
    const selected = relay.getVariablesFromFragment(fragment, reference);
    const variables = { ...selected, [identifierInfo.identifierQueryVariableName]: id };
    const found = relay.getValueAtPath(await ask(refetchableRequest, variables), fragmentRefPathInResponse);
    return found && read(fragment, found);
  }

  /** As usePaginationFragment does it: the next page is asked from the end of what is in the store. */
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

await check("a list pages: what comes is appended, each item once, in order", async () => {
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

await check("a list at an instant pages at that instant, beside the one of now", async () => {
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

await check("a history pages, from now and from an instant alike", async () => {
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
  expectEqual(first, `Version:${UID}@${found[0][0][1].split("@")[1]}`);
  return `${found[0].length} versions, from ${found[0][0][2]} to ${found[0].at(-1)[2]}`;
});

await check("a walk pages: later pages are of the instant of the first, and their ids say so", async () => {
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
  return `4 + 4 + ${edges.length - 8} assets that feed attribution; those after the first 4 are of ${instants.at(-1)}`;
});

await check("the links of a walk come with its edges, so that what is appended is the whole graph", async () => {
  const fragment = document("_upstream");
  const whole = startApplication();
  const { asset } = await whole.ask(document("AssetQuery"), { uid: WALKED, versions: 1, assets: 100 });
  const expected = whole.read(fragment, asset).upstream.links.map((it) => it.uid);
  const { ask, loadNext } = startApplication();
  const paged = await ask(document("AssetQuery"), { uid: WALKED, versions: 1, assets: 4 });
  const { edges, links } = await loadNext(fragment, paged.asset, 100);
  const appended = edges.flatMap((it) => it.links.map((link) => link.uid));
  expectEqual(appended.sort(), expected.sort());
  // beside the edges of a connection Relay keeps what came with the last page
  expectEqual(links.length < expected.length, true);
  return `${appended.length} links on ${edges.length} edges; the connection's own list is that of the last page, ${links.length}`;
});

await check("a page that is refused throws with its code, and what is there stays", async () => {
  const fragment = document("_upstream");
  const { ask, read, loadNext } = startApplication();
  const { asset } = await ask(document("AssetQuery"), { uid: WALKED, versions: 1, assets: 4 });
  const before = read(fragment, asset);
  const refused = await loadNext(fragment, asset, 1_000_000).catch((error) => error.code);
  expectEqual(refused, "LIMIT_EXCEEDED");
  expectEqual(read(fragment, asset), before);
  return `${refused}; the ${before.upstream.edges.length} assets of the first page are still there`;
});

await check("a product now and then is two records, which never mix", async () => {
  const { ask, read, record, refetch } = startApplication();
  const fragment = document("_product");
  const { now, then } = await ask(document("TwoInstantsQuery"), { uid: UID, then: PAST });
  const both = () => [now.product, then.product].map((it) => [read(fragment, it).id, read(fragment, it).name]);
  const expected = [[NOW_ID, "customers"], [PAST_ID, "customer_accounts"]];
  expectEqual(both(), expected);
  expectEqual([record(NOW_ID).name, record(PAST_ID).name], ["customers", "customer_accounts"]);
  // each fetched again, by the query that is made for its fragment
  for (const [id, name] of expected) expectEqual((await refetch(fragment, now.product, id)).name, name);
  expectEqual(both(), expected);
  return expected.map((it) => it.join(" ")).join("\n");
});

await check("a fragment on Asset is fetched again by any id, at the instant that the id names", async () => {
  const { ask, refetch } = startApplication();
  const fragment = document("_asset");
  const { then } = await ask(document("TwoInstantsQuery"), { uid: UID, then: PAST });
  const past = await refetch(fragment, then, PAST_ID);
  expectEqual([past.__typename, past.label, past.asOf], ["Product", "customer_accounts", PAST]);
  const between = "2025-12-24T12:00:00.500000Z";
  const another = await refetch(fragment, then, `Product:${UID}@${between}`);
  const before = await refetch(fragment, then, `Product:${UID}@2001-01-01T00:00:00Z`);
  expectEqual([another.asOf, before], [between, null]);
  return `customer_accounts at ${PAST}; another instant is another record; before it began, null`;
});

await check("a fragment with arguments keeps them when it is fetched again", async () => {
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

for (const [when, asOf] of [["now", null], ["then", "2026-05-01T00:00:00Z"]]) {
  await check(`every type of node is fetched again as it was read, ${when}`, async () => {
    const { ask, read, refetch } = startApplication();
    const fragment = document("_node");
    const found = await ask(document("NodesQuery"), { asOf });
    const lists = [found.products, found.entities, found.lineageLinks, found.relationships, found.products.nodes[0].history];
    const types = [];
    for (const { nodes } of lists) {
      const reference = nodes[0];
      const before = structuredClone(read(fragment, reference));
      const another = startApplication();
      expectEqual(structuredClone(await another.refetch(fragment, reference, before.id)), before);
      expectEqual(structuredClone(await refetch(fragment, reference, before.id)), before);
      // a version is the same whenever it is read: its id has the instant at which it began
      if (before.__typename !== "Version") expectEqual(before.id.split("@")[1], asOf ?? undefined);
      types.push(`${before.__typename} ${before.id}`);
    }
    expectEqual(types.map((it) => it.split(" ")[0]), ["Product", "Entity", "LineageLink", "Relationship", "Version"]);
    return types.map((it) => it.split(" ")[1]).join("\n");
  });
}

await check("no id comes with two contents, whichever way leads to it", async () => {
  const { ask } = startApplication();
  warnings.length = 0;
  for (const [from, to] of [["2025-12-01", "2026-11-01"], ["2026-02-10", "2026-05-04"]]) {
    await ask(document("EverywhereQuery"), { uid: UID, from, to });
  }
  expectEqual(warnings, []);
  return "now, then, history, walks, joins, changes, diff, lineageDiff: Relay warns of nothing";
});

await check("a mutation's payload is in the record of the plain id, and leaves the past one alone", async () => {
  const { ask, read, write } = startApplication();
  const fragment = document("_product");
  const { now, then } = await ask(document("TwoInstantsQuery"), { uid: UID, then: PAST });
  const past = read(fragment, then.product);
  const owner = "relay@shop.example";
  const { updateProduct } = await write(document("UpdateMutation"), { input: { product: { uid: UID }, owner } });
  expectEqual([updateProduct.changed, read(fragment, now.product).owner, read(fragment, then.product)], [true, owner, past]);
  return `owner of ${NOW_ID} is ${owner}; of ${PAST_ID} it is still ${past.owner}`;
});

await check("a mutation at an earlier instant is a record of that instant", async () => {
  const { ask, read, record, write } = startApplication();
  const fragment = document("_product");
  const { now } = await ask(document("TwoInstantsQuery"), { uid: UID, then: PAST });
  const current = read(fragment, now.product);
  const at = "2026-03-01T00:00:00Z";
  await write(document("UpdateMutation"), { input: { product: { uid: UID }, owner: "march@shop.example", at } });
  expectEqual([read(fragment, now.product), record(`${NOW_ID}@${at}`).owner], [current, "march@shop.example"]);
  return `${NOW_ID}@${at}; what is shown of now has to be fetched again`;
});

await check("what a mutation makes is appended to a list, and what one ends leaves it", async () => {
  const { ask, read, record, write } = startApplication();
  const fragment = document("_products");
  const list = await ask(document("ProductsQuery"), { first: 2 });
  const names = () => nodesOf(read(fragment, list).products).map((it) => it?.name);
  const [before, connections] = [names(), [read(fragment, list).products.__id]];
  const fields = { name: "made_by_relay", domain: "web", owner: "relay@shop.example", schema: {} };
  const { registerProduct } = await write(document("RegisterMutation"), { input: fields, connections });
  expectEqual(names(), [...before, "made_by_relay"]);
  const { id, uid } = registerProduct.product;
  const { deleteProduct } = await write(document("DeleteMutation"), { input: { uid }, connections });
  expectEqual([deleteProduct.deletedId, names(), record(id)], [id, before, null]);
  return `${id} came and went`;
});
