// node caches/urql.mjs <address of the demo> <address of a service with authentication> <a key with the scopes read and write>
// Does what a front end does with urql: with its defaults, and with the normalised cache of Graphcache.
import { cacheExchange as documentCache, createClient, fetchExchange, gql } from "@urql/core";
import { cacheExchange } from "@urql/exchange-graphcache";
import { relayPagination } from "@urql/exchange-graphcache/extras";
import { check, expectEqual } from "../results.mjs";
import { DELETE, PAGE, PAST, PRODUCTS, REGISTER, UID, UPDATE, UPSTREAM, recording } from "./requests.mjs";
import { readTypes } from "./types.mjs";

const [demo, guarded, key] = process.argv.slice(2);

// Graphcache tells of objects without a key, and of fragments that it cannot match.
const warnings = [];
console.warn = (...parts) => void warnings.push(parts.join(" "));
console.error = console.warn;

const { possibleTypes, embedded } = await readTypes(demo);

const asset = {
  upstream: relayPagination(),
  downstream: relayPagination(),
  relationships: relayPagination(),
  related: relayPagination(),
  history: relayPagination(),
};

const normalisedCache = () =>
  cacheExchange({
    possibleTypes,
    keys: Object.fromEntries(embedded.map((name) => [name, () => null])),
    resolvers: {
      Query: { products: relayPagination(), entities: relayPagination() },
      Product: asset,
      Entity: asset,
    },
    updates: {
      Mutation: {
        deleteProduct: ({ deleteProduct }, _, cache) => cache.invalidate({ __typename: "Product", id: deleteProduct.deletedId }),
      },
    },
  });

const connect = (url, cache, options = {}) => createClient({ url, exchanges: [cache, fetchExchange], ...options });

/** Creates a client that records its requests. */
function start(cache = normalisedCache(), url = demo, headers = {}, page = PAGE) {
  const lines = [];
  return { client: connect(url, cache, { fetchOptions: { headers }, fetch: recording(lines, page) }), lines };
}

async function ask(client, query, variables, context) {
  const { data, error } = await client.query(query, variables, context).toPromise();
  if (error) throw error;
  return data;
}

async function write(client, mutation, variables) {
  const { data, error } = await client.mutation(mutation, variables).toPromise();
  if (error) throw error;
  return data;
}

const CACHED = { requestPolicy: "cache-only" };

const fieldsOf = (name) => ({ name, domain: "web", owner: "ann@shop.example", schema: {} });

await check("urql reads by GET, as by default, from a page that the service allows and with a key", async () => {
  const query = gql`{ product(name: "customers") { id name } }`;
  const found = [];
  for (const [url, headers, page] of [[demo, {}, PAGE], [guarded, { "X-API-Key": key }, {}]]) {
    const { client, lines } = start(documentCache, url, headers, page);
    found.push(`${(await ask(client, query)).product.name} ${lines}`);
  }
  expectEqual(found, ["customers GET 200", "customers GET 200"]);
  return found.join("\n");
});

await check("the document cache reads again what a mutation may have changed", async () => {
  const { client, lines } = start(documentCache);
  await write(client, gql(REGISTER), { input: fieldsOf("made_by_urql") });
  const query = gql`{ product(name: "made_by_urql") { id uid owner } }`;
  const { product } = await ask(client, query);
  await ask(client, query);
  expectEqual(lines, ["POST 200", "GET 200"]);
  await write(client, gql(UPDATE), { input: { product: { uid: product.uid }, owner: "bo@shop.example" } });
  expectEqual([(await ask(client, query)).product.owner, lines.length], ["bo@shop.example", 4]);
  return lines.join(", ");
});

await check("Graphcache: a product at two instants is two records, by the default key", async () => {
  const cache = normalisedCache();
  const { client } = start(cache);
  const query = gql`query ($then: DateTime!) {
    now: product(name: "customers") { id name }
    then: product(name: "customer_accounts", asOf: $then) { id name }
  }`;
  const data = await ask(client, query, { then: PAST });
  const expected = [[`Product:${UID}`, "customers"], [`Product:${UID}@${PAST}`, "customer_accounts"]];
  expectEqual([data.now, data.then].map((it) => [it.id, it.name]), expected);
  expectEqual(await ask(client, query, { then: PAST }, CACHED), data);
  return expected.map((it) => it.join(" ")).join("\n");
});

await check("Graphcache: pages of a list are appended, and those as of an instant are apart", async () => {
  const { client } = start();
  const expected = (await ask(start().client, gql(PRODUCTS), { first: 8 })).products.edges.map((it) => it.node.id);
  for (const asOf of [undefined, PAST]) {
    const { products } = await ask(client, gql(PRODUCTS), { first: 4, asOf });
    await ask(client, gql(PRODUCTS), { first: 4, after: products.pageInfo.endCursor, asOf });
  }
  const read = async (asOf) => (await ask(client, gql(PRODUCTS), { first: 4, asOf }, CACHED)).products.edges.map((it) => it.node);
  expectEqual((await read(undefined)).map((it) => it.id), expected);
  expectEqual((await read(PAST)).map((it) => it.asOf), Array(8).fill(PAST));
  return `4 + 4: ${expected.length} products now, and as many then`;
});

await check("Graphcache: pages of a walk are appended, and fragments on Asset match", async () => {
  const { client } = start();
  const whole = await ask(start().client, gql(UPSTREAM), { name: "attribution", first: 100 });
  const expected = whole.product.upstream.edges.map((it) => it.node.label);
  const { product } = await ask(client, gql(UPSTREAM), { name: "attribution", first: 4 });
  await ask(client, gql(UPSTREAM), { name: "attribution", first: 4, after: product.upstream.pageInfo.endCursor });
  const edges = (await ask(client, gql(UPSTREAM), { name: "attribution", first: 4 }, CACHED)).product.upstream.edges;
  expectEqual(edges.map((it) => it.node.label), expected.slice(0, 8));
  expectEqual(whole.product.upstream.edges.every((it) => it.node.validFrom), true);
  return `4 + 4 of ${expected.length} assets`;
});

await check("Graphcache: a mutation updates the record, and a deletion invalidates it", async () => {
  const { client } = start();
  const { product } = (await write(client, gql(REGISTER), { input: fieldsOf("made_by_graphcache") })).registerProduct;
  const query = gql`{ product(name: "made_by_graphcache") { id owner } }`;
  await ask(client, query);
  await write(client, gql(UPDATE), { input: { product: { uid: product.uid }, owner: "bo@shop.example" } });
  expectEqual((await ask(client, query, {}, CACHED)).product.owner, "bo@shop.example");
  await write(client, gql(DELETE), { input: { product: { uid: product.uid } } });
  expectEqual((await ask(client, query)).product, null);
  return product.id;
});

await check("Graphcache has nothing to warn of", async () => {
  const { client } = start();
  const query = gql`{
    entity(ref: { key: { type: "PERSON", key: "1003" } }) { id type { code domain { id name } } details { value type { code } } }
    relationships(first: 3) { nodes { id type { code } origin { id label } attributes } }
    lineageLinks(first: 3) { nodes { id source { id label } metadata } }
    domains { nodes { id name owners } }
  }`;
  await ask(client, query);
  await ask(client, query, {}, CACHED);
  expectEqual(warnings, []);
  return `${embedded.length} types without an id`;
});

await check("an error has its code, whatever the status", async () => {
  const codes = [];
  for (const [url, headers] of [[demo, {}], [guarded, { "X-API-Key": "nonsense" }]]) {
    const { client, lines } = start(normalisedCache(), url, headers);
    const query = gql`query ($name: String!) { product(name: $name, asOf: "tomorrow") { id } }`;
    const { error } = await client.query(query, { name: "x" }).toPromise();
    codes.push(`${error.graphQLErrors[0].extensions.code} ${lines.at(-1)}`);
  }
  expectEqual(codes, ["BAD_INPUT GET 400", "UNAUTHENTICATED GET 401"]);
  return codes.join("\n");
});
