// The documents that the clients of persisted.mjs send, and the manifests of those that are registered, with the texts that the
// clients themselves make of them.
import { InMemoryCache } from "@apollo/client/cache";
import { print as printByApollo } from "@apollo/client/utilities";
import { createRequest, stringifyDocument } from "@urql/core";
import { createHash } from "node:crypto";
import { parse } from "graphql";

export const sha256 = (text) => createHash("sha256").update(text).digest("hex");
export const md5 = (text) => createHash("md5").update(text).digest("hex");

const product = (name) => `query ${name}($name: String!) { product(name: $name) { name owner } }`;

export const apolloPost = parse(product("ApolloPost"));
export const apolloGet = parse(product("ApolloGet"));
export const apolloRegistered = parse(product("ApolloRegistered"));
export const apolloOther = parse(product("ApolloOther"));
export const urqlPost = parse(product("UrqlPost"));
export const urqlGet = parse(product("UrqlGet"));
export const urqlRegistered = parse(product("UrqlRegistered"));
export const urqlOther = parse(product("UrqlOther"));

/** What Apollo Client sends of a document: it asks for every __typename. */
export const apolloText = (document) => printByApollo(new InMemoryCache().transformDocument(document));
/** What urql sends of one: as it keeps it, on which what it was parsed from has a say. */
export const urqlText = (document) => stringifyDocument(createRequest(document, {}).query);

const operation = (name, body) => ({ id: sha256(body), name, type: "query", body });

/** As Apollo's generate-persisted-query-manifest writes one. */
export const apolloManifest = {
  format: "apollo-persisted-query-manifest",
  version: 1,
  operations: [
    operation("ApolloRegistered", apolloText(apolloRegistered)),
    operation("UrqlRegistered", urqlText(urqlRegistered)),
  ],
};

/** As relay-compiler writes one: by md5. */
export const relayManifest = Object.fromEntries(
  [apolloText(apolloRegistered), urqlText(urqlRegistered)].map((text) => [md5(text), text]),
);
