// Documents that the clients of persisted.mjs send, and manifests of the registered ones with the texts that the clients print.
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

/** The text that Apollo Client sends: it adds __typename to every selection. */
export const apolloText = (document) => printByApollo(new InMemoryCache().transformDocument(document));
/** The text that urql sends: it keeps the text that a document was parsed from. */
export const urqlText = (document) => stringifyDocument(createRequest(document, {}).query);

const operation = (name, body) => ({ id: sha256(body), name, type: "query", body });

/** A manifest in the format of Apollo's generate-persisted-query-manifest. */
export const apolloManifest = {
  format: "apollo-persisted-query-manifest",
  version: 1,
  operations: [
    operation("ApolloRegistered", apolloText(apolloRegistered)),
    operation("UrqlRegistered", urqlText(urqlRegistered)),
  ],
};

/** A manifest in the format of relay-compiler: texts by md5. */
export const relayManifest = Object.fromEntries(
  [apolloText(apolloRegistered), urqlText(urqlRegistered)].map((text) => [md5(text), text]),
);
