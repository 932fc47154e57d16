// node persisted.mjs <address of Headwater> <one with Apollo's manifest only> <one with Relay's manifest only>
// Calls the services with Apollo Client and urql, and shows whether they send a text, a hash or an id, and the outcome.
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache } from "@apollo/client/core";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { createClient, fetchExchange } from "@urql/core";
import { persistedExchange } from "@urql/exchange-persisted";
import { print } from "graphql";
import * as documents from "./documents.mjs";
import { apolloText, md5, sha256, urqlText } from "./documents.mjs";
import { check, expectEqual } from "./results.mjs";

const [open, onlyByHash, onlyById] = process.argv.slice(2);
const key = process.env.HEADWATER_KEY;
const variables = { name: "customers" };
// A page of a front end in development, which a demo lets read by GET.
const PAGE = { Origin: "http://localhost:5173" };
const found = (data) => data?.product?.name;

/** Returns a fetch that records a line for each request and its outcome. */
function recording(lines, headers = {}) {
  return async (url, init) => {
    const sent = init.method === "GET" ? Object.fromEntries(new URL(url).searchParams) : JSON.parse(init.body);
    const extensions = typeof sent.extensions === "string" ? JSON.parse(sent.extensions) : sent.extensions;
    const parts = [sent.query && "text", extensions?.persistedQuery && "hash", sent.documentId && "id"];
    const response = await fetch(url, { ...init, headers: { ...init.headers, ...headers } });
    const { errors } = await response.clone().json();
    lines.push(`${init.method} ${parts.filter(Boolean).join("+")}: ${response.status} ${errors?.[0].extensions.code ?? "data"}`);
    return response;
  };
}

function apolloClient(uri, options = {}, headers = {}) {
  const lines = [];
  const link = ApolloLink.from([
    new PersistedQueryLink({ sha256, ...options }),
    new HttpLink({ uri, fetch: recording(lines, headers) }),
  ]);
  const client = new ApolloClient({ link, cache: new InMemoryCache() });
  const ask = async (query) => {
    try {
      return { data: (await client.query({ query, variables, fetchPolicy: "no-cache" })).data };
    } catch (error) {
      if (!CombinedGraphQLErrors.is(error)) throw error;
      return { code: error.errors[0].extensions.code };
    }
  };
  return { ask, lines };
}

function urqlClient(url, options, headers = {}) {
  const lines = [];
  const exchanges = [...(options ? [persistedExchange(options)] : []), fetchExchange];
  const client = createClient({ url, exchanges, fetch: recording(lines, headers), preferGetMethod: false });
  const ask = async (query) => {
    const { data, error } = await client.query(query, variables, { requestPolicy: "network-only" }).toPromise();
    return error ? { code: error.graphQLErrors[0]?.extensions.code ?? error.message } : { data };
  };
  return { ask, lines };
}

/** Sends a document twice: the hash is unknown, the text registers it, and then the hash is enough. */
async function registers({ ask, lines }, document, first, second) {
  for (const _ of [1, 2]) expectEqual(found((await ask(document)).data), "customers");
  expectEqual(lines, [`${first} hash: 400 PERSISTED_QUERY_NOT_FOUND`, `${second} text+hash: 200 data`, `${first} hash: 200 data`]);
  return lines.join("\n");
}

await check("Apollo Client registers a document by POST", () =>
  registers(apolloClient(open), documents.apolloPost, "POST", "POST"));

await check("Apollo Client sends a registered document by GET", () =>
  registers(apolloClient(open, { useGETForHashedQueries: true }, PAGE), documents.apolloGet, "GET", "POST"));

await check("urql registers a document by POST", () =>
  registers(urqlClient(open, { preferGetForPersistedQueries: false }), documents.urqlPost, "POST", "POST"));

await check("urql registers a document by GET", () =>
  registers(urqlClient(open, { preferGetForPersistedQueries: true }, PAGE), documents.urqlGet, "GET", "GET"));

const KEY = { "X-API-Key": key };

await check("only registered: Apollo Client sends the hash alone from the first request on", async () => {
  const { ask, lines } = apolloClient(onlyByHash, { useGETForHashedQueries: true }, KEY);
  expectEqual(found((await ask(documents.apolloRegistered)).data), "customers");
  expectEqual(lines, ["GET hash: 200 data"]);
  return lines.join("\n");
});

await check("only registered: another document of Apollo Client is refused with a code", async () => {
  const { ask, lines } = apolloClient(onlyByHash, {}, KEY);
  expectEqual(await ask(documents.apolloOther), { code: "FORBIDDEN" });
  expectEqual(lines, ["POST hash: 400 PERSISTED_QUERY_NOT_FOUND", "POST text+hash: 403 FORBIDDEN"]);
  return lines.join("\n");
});

await check("only registered: urql sends the hash alone, and another document is not found", async () => {
  const { ask, lines } = urqlClient(onlyByHash, { enforcePersistedQueries: true, preferGetForPersistedQueries: false }, KEY);
  expectEqual(found((await ask(documents.urqlRegistered)).data), "customers");
  expectEqual(await ask(documents.urqlOther), { code: "PERSISTED_QUERY_NOT_FOUND" });
  expectEqual(lines, ["POST hash: 200 data", "POST hash: 400 PERSISTED_QUERY_NOT_FOUND"]);
  return lines.join("\n");
});

await check("only registered: urql sends documentId, the id in the manifest", async () => {
  const { ask, lines } = urqlClient(onlyById, null, KEY);
  const compiled = (id) => ({ kind: "Document", definitions: [], documentId: id });
  const text = urqlText(documents.urqlRegistered);
  for (const id of [md5(text), `sha256:${sha256(text)}`]) {
    expectEqual(found((await ask(compiled(id))).data), "customers");
  }
  expectEqual(await ask(compiled(md5(urqlText(documents.urqlOther)))), { code: "PERSISTED_QUERY_NOT_FOUND" });
  expectEqual(lines, ["POST id: 200 data", "POST id: 200 data", "POST id: 400 PERSISTED_QUERY_NOT_FOUND"]);
  return lines.join("\n");
});

/** Returns for each operation the code of its error and the field that it names, or the data. */
async function codes(url, content) {
  const headers = { "Content-Type": "application/json", Accept: "application/graphql-response+json", ...(url === open ? {} : KEY) };
  const responses = await (await fetch(url, { method: "POST", headers, body: JSON.stringify(content) })).json();
  const codeOf = ({ data, errors }) => errors?.map(({ extensions: { code, field } }) => [code, field].filter(Boolean).join(" "))[0] ?? found(data);
  return Array.isArray(responses) ? responses.map(codeOf) : codeOf(responses);
}

const persistedQuery = (sha256Hash, version = 1) => ({ extensions: { persistedQuery: { version, sha256Hash } } });
const text = print(documents.urqlOther);

await check("invalid input is an error with a code and a field", async () => {
  const bad = {
    "an unknown hash": [persistedQuery(sha256("nothing")), "PERSISTED_QUERY_NOT_FOUND"],
    "an unknown id": [{ documentId: "nothing" }, "PERSISTED_QUERY_NOT_FOUND"],
    "the hash of another text": [{ query: text, ...persistedQuery(sha256("other")) }, "BAD_INPUT extensions.persistedQuery.sha256Hash"],
    "no hash": [persistedQuery("nonsense"), "BAD_INPUT extensions.persistedQuery.sha256Hash"],
    "another version": [persistedQuery(sha256(text), 2), "BAD_INPUT extensions.persistedQuery.version"],
    "a documentId that is not a hash": [{ documentId: "sha256:nonsense" }, "BAD_INPUT documentId"],
    "a documentId that is not a string": [{ documentId: 7 }, "BAD_INPUT documentId"],
  };
  for (const [name, [content, expected]] of Object.entries(bad)) expectEqual([name, await codes(open, content)], [name, expected]);
  return Object.entries(bad).map(([name, [, code]]) => `${name}: ${code}`).join("\n");
});

await check("in a batch, valid operations run beside invalid ones", async () => {
  const good = { ...persistedQuery(sha256(apolloText(documents.apolloRegistered))), variables };
  const bad = [persistedQuery(sha256("nothing")), { query: text, variables }, persistedQuery("nonsense"), { documentId: 7 }];
  const expected = ["PERSISTED_QUERY_NOT_FOUND", "FORBIDDEN", "BAD_INPUT extensions.persistedQuery.sha256Hash", "BAD_INPUT documentId"];
  expectEqual(await codes(onlyByHash, [good, ...bad, good]), ["customers", ...expected, "customers"]);
  return expected.join(", ");
});
