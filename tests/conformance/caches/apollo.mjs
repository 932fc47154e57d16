// node caches/apollo.mjs <address of the demo> <address of a service with authentication> <a key with the scopes read and write>
// Does what a front end does with Apollo Client and its defaults, without components: the checks read its cache.
import { ApolloClient, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from "@apollo/client/core";
import { relayStylePagination } from "@apollo/client/utilities";
import { filter, firstValueFrom } from "rxjs";
import { check, expectEqual } from "../results.mjs";
import { endOfDay, startOfDay } from "./dates.mjs";
import { DELETE, PAGE, PAST, PRODUCTS, REGISTER, UID, UPDATE, UPSTREAM, recording } from "./requests.mjs";
import { readTypes } from "./types.mjs";

const [demo, guarded, key] = process.argv.slice(2);

// Apollo Client tells of data that a cache loses, and of fragments that it cannot match.
const warnings = [];
console.warn = (...parts) => void warnings.push(parts.join(" "));
console.error = console.warn;

const { possibleTypes } = await readTypes(demo);

const walk = relayStylePagination(["maxDepth", "filter", "asOf"]);

const createCache = () =>
  new InMemoryCache({
    possibleTypes,
    typePolicies: {
      Query: {
        fields: {
          products: relayStylePagination(["search", "filter", "orderBy", "asOf"]),
          entities: relayStylePagination(["search", "filter", "orderBy", "asOf"]),
        },
      },
      Asset: {
        fields: {
          upstream: walk,
          downstream: walk,
          relationships: relayStylePagination(["types", "direction", "asOf"]),
          related: relayStylePagination(["key", "asOf"]),
          history: relayStylePagination(),
        },
      },
      EntityType: { merge: true },
      DetailType: { merge: true },
      RelationshipType: { merge: true },
    },
  });

const connect = (uri, options = {}) =>
  new ApolloClient({
    link: new HttpLink({ uri, useGETForQueries: true, ...options }),
    cache: createCache(),
  });

/** Creates a client that records its requests. */
function start(uri = demo, headers = {}, page = PAGE) {
  const lines = [];
  return { client: connect(uri, { headers, fetch: recording(lines, page) }), lines };
}

const codeOf = (error) => {
  if (!CombinedGraphQLErrors.is(error)) throw error;
  return error.errors[0].extensions.code;
};

/** Reads a query as useQuery does, and keeps it. */
async function watch(client, query, variables) {
  const list = client.watchQuery({ query, variables });
  list.subscribe(() => {});
  return { list, data: (await firstValueFrom(list.pipe(filter((it) => !it.loading)))).data };
}

await check("Apollo Client reads by GET from a page that the service allows", async () => {
  const { client, lines } = start();
  const { data } = await client.query({ query: gql`{ product(name: "customers") { id name } }` });
  expectEqual([data.product.name, lines], ["customers", ["GET 200"]]);
  return lines.join();
});

await check("Apollo Client reads by GET with a key, without a further header", async () => {
  const { client, lines } = start(guarded, { "X-API-Key": key }, {});
  const { data } = await client.query({ query: gql`{ product(name: "customers") { id name } }` });
  expectEqual([data.product.name, lines], ["customers", ["GET 200"]]);
  return lines.join();
});

await check("a product at two instants is two records, by the default key", async () => {
  const { client } = start();
  const query = gql`query ($then: DateTime!) {
    now: product(name: "customers") { id name }
    then: product(name: "customer_accounts", asOf: $then) { id name }
  }`;
  await client.query({ query, variables: { then: PAST } });
  const records = Object.entries(client.cache.extract()).filter(([id]) => id.startsWith("Product:"));
  const expected = [[`Product:Product:${UID}`, "customers"], [`Product:Product:${UID}@${PAST}`, "customer_accounts"]];
  expectEqual(records.map(([id, { name }]) => [id, name]), expected);
  return expected.map((it) => it.join(" ")).join("\n");
});

await check("pages of a list are appended, and those as of an instant are apart", async () => {
  const { client } = start();
  const whole = await start().client.query({ query: gql(PRODUCTS), variables: { first: 8 } });
  for (const asOf of [undefined, PAST]) {
    const { list, data } = await watch(client, gql(PRODUCTS), { first: 5, asOf });
    await list.fetchMore({ variables: { first: 3, after: data.products.pageInfo.endCursor } });
  }
  const read = (asOf) => client.readQuery({ query: gql(PRODUCTS), variables: { first: 5, asOf } }).products.edges.map((it) => it.node);
  expectEqual(read(undefined).map((it) => it.id), whole.data.products.edges.map((it) => it.node.id));
  expectEqual(read(PAST).map((it) => it.asOf), Array(8).fill(PAST));
  return `5 + 3: ${read(undefined).map((it) => it.name).join(", ")}`;
});

await check("pages of a walk are appended, and a refused page leaves them", async () => {
  const { client } = start();
  const variables = { name: "attribution", first: 4 };
  const whole = await start().client.query({ query: gql(UPSTREAM), variables: { ...variables, first: 100 } });
  const { list, data } = await watch(client, gql(UPSTREAM), variables);
  await list.fetchMore({ variables: { after: data.product.upstream.pageInfo.endCursor, first: 100 } });
  const edges = () => client.readQuery({ query: gql(UPSTREAM), variables }).product.upstream.edges.map((it) => it.node.label);
  const expected = whole.data.product.upstream.edges.map((it) => it.node.label);
  expectEqual(edges(), expected);
  const code = await list.fetchMore({ variables: { after: null, first: 1_000_000 } }).catch(codeOf);
  expectEqual([code, edges()], ["LIMIT_EXCEEDED", expected]);
  return `${expected.length} assets; ${code} for a page of 1 000 000`;
});

await check("fragments on Asset match products and entities", async () => {
  warnings.length = 0;
  const { client } = start();
  const { data } = await client.query({ query: gql(UPSTREAM), variables: { name: "attribution", first: 100 } });
  const nodes = data.product.upstream.edges.map((it) => it.node);
  expectEqual([nodes.every((it) => it.validFrom), [...new Set(nodes.map((it) => it.__typename))].sort()], [true, ["Entity", "Product"]]);
  expectEqual(warnings, []);
  return `${nodes.length} assets`;
});

await check("an object without an id is kept in what it was read with, and nothing is lost", async () => {
  warnings.length = 0;
  const { client } = start();
  const code = gql`{ entity(ref: { key: { type: "PERSON", key: "1003" } }) { id type { code } } }`;
  const label = gql`{ entity(ref: { key: { type: "PERSON", key: "1003" } }) { id type { label } } }`;
  await client.query({ query: code });
  await client.query({ query: label });
  expectEqual([client.readQuery({ query: code })?.entity.type.code, warnings], ["PERSON", []]);
  return "PERSON";
});

await check("the payload of a mutation updates the record, and a deletion evicts it", async () => {
  const { client } = start();
  const register = gql(REGISTER);
  const input = { name: "made_by_apollo", domain: "web", owner: "ann@shop.example", schema: {} };
  const { product } = (await client.mutate({ mutation: register, variables: { input } })).data.registerProduct;
  const update = gql(UPDATE);
  await client.mutate({ mutation: update, variables: { input: { product: { uid: product.uid }, owner: "bo@shop.example" } } });
  expectEqual(client.cache.extract()[`Product:${product.id}`].owner, "bo@shop.example");
  const remove = gql(DELETE);
  await client.mutate({
    mutation: remove,
    variables: { input: { product: { uid: product.uid } } },
    update(cache, { data }) {
      cache.evict({ id: cache.identify({ __typename: "Product", id: data.deleteProduct.deletedId }) });
      cache.gc();
    },
  });
  expectEqual(client.cache.extract()[`Product:${product.id}`], undefined);
  return product.id;
});

await check("an error has its code, whatever the status", async () => {
  const codes = [];
  for (const [uri, headers] of [[demo, {}], [guarded, { "X-API-Key": "nonsense" }]]) {
    const { client, lines } = start(uri, headers);
    const query = gql`query ($name: String!) { product(name: $name, asOf: "tomorrow") { id } }`;
    codes.push(`${await client.query({ query, variables: { name: "x" } }).catch(codeOf)} ${lines.at(-1)}`);
  }
  expectEqual(codes, ["BAD_INPUT GET 400", "UNAUTHENTICATED GET 401"]);
  return codes.join("\n");
});

await check("the date of a date picker is the start of its day, and the end of the day has what changed on it", async () => {
  const { client } = start();
  const register = gql`mutation ($input: RegisterProductInput!) { registerProduct(input: $input) { product { uid } } }`;
  const input = { name: "made_at_noon", domain: "web", owner: "ann@shop.example", schema: {}, at: "2026-02-09T12:00:00Z" };
  await client.mutate({ mutation: register, variables: { input } });
  const query = gql`query ($asOf: DateTime!) { product(name: "made_at_noon", asOf: $asOf) { id } }`;
  const found = [];
  for (const asOf of ["2026-02-09", startOfDay("2026-02-09"), endOfDay("2026-02-09")]) {
    found.push((await client.query({ query, variables: { asOf } })).data.product !== null);
  }
  expectEqual(found, [false, false, true]);
  expectEqual(endOfDay("2026-02-09"), "2026-02-09T22:59:59.999999Z");
  return `${endOfDay("2026-02-09")} in ${process.env.TZ}`;
});
