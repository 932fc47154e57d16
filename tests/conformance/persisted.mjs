// node persisted.mjs <address of Headwater> <one that runs what Apollo's manifest has> <one that runs what Relay's has>
// Asks with Apollo Client and urql, and shows what they send: whether there was a text, a hash or an id, and what came of it.
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
const PREFLIGHT = { "GraphQL-Require-Preflight": "1" };
const found = (data) => data?.product?.name;

/** A fetch that notes what is sent and what comes back, a line a request. */
function noting(lines, headers = {}) {
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

function askWithApollo(uri, options = {}, headers = {}) {
  const lines = [];
  const link = ApolloLink.from([
    new PersistedQueryLink({ sha256, ...options }),
    new HttpLink({ uri, fetch: noting(lines, headers) }),
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

function askWithUrql(url, options, headers = {}) {
  const lines = [];
  const exchanges = [...(options ? [persistedExchange(options)] : []), fetchExchange];
  const client = createClient({ url, exchanges, fetch: noting(lines, headers), preferGetMethod: false });
  const ask = async (query) => {
    const { data, error } = await client.query(query, variables, { requestPolicy: "network-only" }).toPromise();
    return error ? { code: error.graphQLErrors[0]?.extensions.code ?? error.message } : { data };
  };
  return { ask, lines };
}

/** Asks twice: first it misses, then it registers, and then the hash is enough. */
async function registers({ ask, lines }, document, first, second) {
  for (const _ of [1, 2]) expectEqual(found((await ask(document)).data), "customers");
  expectEqual(lines, [`${first} hash: 400 PERSISTED_QUERY_NOT_FOUND`, `${second} text+hash: 200 data`, `${first} hash: 200 data`]);
  return lines.join("\n");
}

await check("Apollo Client registers what it asks, by POST", () =>
  registers(askWithApollo(open), documents.apolloPost, "POST", "POST"));

await check("Apollo Client asks by GET what it registered", () =>
  registers(askWithApollo(open, { useGETForHashedQueries: true }, PREFLIGHT), documents.apolloGet, "GET", "POST"));

await check("urql registers what it asks, by POST", () =>
  registers(askWithUrql(open, { preferGetForPersistedQueries: false }), documents.urqlPost, "POST", "POST"));

await check("urql registers what it asks, by GET", () =>
  registers(askWithUrql(open, { preferGetForPersistedQueries: true }, PREFLIGHT), documents.urqlGet, "GET", "GET"));

const KEY = { "X-API-Key": key };

await check("only registered: Apollo Client asks by hash alone from the first request on", async () => {
  const { ask, lines } = askWithApollo(onlyByHash, { useGETForHashedQueries: true }, { ...KEY, ...PREFLIGHT });
  expectEqual(found((await ask(documents.apolloRegistered)).data), "customers");
  expectEqual(lines, ["GET hash: 200 data"]);
  return lines.join("\n");
});

await check("only registered: what Apollo Client asks beside it is refused, by its code", async () => {
  const { ask, lines } = askWithApollo(onlyByHash, {}, KEY);
  expectEqual(await ask(documents.apolloOther), { code: "FORBIDDEN" });
  expectEqual(lines, ["POST hash: 400 PERSISTED_QUERY_NOT_FOUND", "POST text+hash: 403 FORBIDDEN"]);
  return lines.join("\n");
});

await check("only registered: urql asks by hash alone, and anything else is not found", async () => {
  const { ask, lines } = askWithUrql(onlyByHash, { enforcePersistedQueries: true, preferGetForPersistedQueries: false }, KEY);
  expectEqual(found((await ask(documents.urqlRegistered)).data), "customers");
  expectEqual(await ask(documents.urqlOther), { code: "PERSISTED_QUERY_NOT_FOUND" });
  expectEqual(lines, ["POST hash: 200 data", "POST hash: 400 PERSISTED_QUERY_NOT_FOUND"]);
  return lines.join("\n");
});

await check("only registered: urql sends documentId, which is the id in the manifest", async () => {
  const { ask, lines } = askWithUrql(onlyById, null, KEY);
  const compiled = (id) => ({ kind: "Document", definitions: [], documentId: id });
  const text = urqlText(documents.urqlRegistered);
  for (const id of [md5(text), `sha256:${sha256(text)}`]) {
    expectEqual(found((await ask(compiled(id))).data), "customers");
  }
  expectEqual(await ask(compiled(md5(urqlText(documents.urqlOther)))), { code: "PERSISTED_QUERY_NOT_FOUND" });
  expectEqual(lines, ["POST id: 200 data", "POST id: 200 data", "POST id: 400 PERSISTED_QUERY_NOT_FOUND"]);
  return lines.join("\n");
});

/** What one operation, or each of several, is answered: a code and the field at fault, or data. */
async function codes(url, content) {
  const headers = { "Content-Type": "application/json", Accept: "application/graphql-response+json", ...(url === open ? {} : KEY) };
  const answers = await (await fetch(url, { method: "POST", headers, body: JSON.stringify(content) })).json();
  const codeOf = ({ data, errors }) => errors?.map(({ extensions: { code, field } }) => [code, field].filter(Boolean).join(" "))[0] ?? found(data);
  return Array.isArray(answers) ? answers.map(codeOf) : codeOf(answers);
}

const persistedQuery = (sha256Hash, version = 1) => ({ extensions: { persistedQuery: { version, sha256Hash } } });
const text = print(documents.urqlOther);

await check("bad input is told by its code, and where it is", async () => {
  const bad = {
    "an unknown hash": [persistedQuery(sha256("nothing")), "PERSISTED_QUERY_NOT_FOUND"],
    "an unknown id": [{ documentId: "nothing" }, "PERSISTED_QUERY_NOT_FOUND"],
    "the hash of another text": [{ query: text, ...persistedQuery(sha256("other")) }, "BAD_INPUT extensions.persistedQuery.sha256Hash"],
    "no hash": [persistedQuery("nonsense"), "BAD_INPUT extensions.persistedQuery.sha256Hash"],
    "another version": [persistedQuery(sha256(text), 2), "BAD_INPUT extensions.persistedQuery.version"],
    "a documentId that is no hash": [{ documentId: "sha256:nonsense" }, "BAD_INPUT documentId"],
    "a documentId that is no text": [{ documentId: 7 }, "BAD_INPUT documentId"],
  };
  for (const [name, [content, expected]] of Object.entries(bad)) expectEqual([name, await codes(open, content)], [name, expected]);
  return Object.entries(bad).map(([name, [, code]]) => `${name}: ${code}`).join("\n");
});

await check("in a batch the neighbours of what is bad survive", async () => {
  const good = { ...persistedQuery(sha256(apolloText(documents.apolloRegistered))), variables };
  const bad = [persistedQuery(sha256("nothing")), { query: text, variables }, persistedQuery("nonsense"), { documentId: 7 }];
  const expected = ["PERSISTED_QUERY_NOT_FOUND", "FORBIDDEN", "BAD_INPUT extensions.persistedQuery.sha256Hash", "BAD_INPUT documentId"];
  expectEqual(await codes(onlyByHash, [good, ...bad, good]), ["customers", ...expected, "customers"]);
  return expected.join(", ");
});
