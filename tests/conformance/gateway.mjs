// Composes subgraphs, serves small ones, and runs Apollo Gateway over them in this process.
import { composeServices } from "@apollo/composition";
import { ApolloGateway, RemoteGraphQLDataSource } from "@apollo/gateway";
import { ApolloServer } from "@apollo/server";
import { ApolloServerPluginInlineTraceDisabled } from "@apollo/server/plugin/disabled";
import { startStandaloneServer } from "@apollo/server/standalone";
import { buildSubgraphSchema } from "@apollo/subgraph";
import { composeServices as composeForHive } from "@theguild/federation-composition";
import { federateSubgraphs, federateSubgraphsContract } from "@wundergraph/composition";
import { parse } from "graphql";

const parsed = (subgraphs) => subgraphs.map(({ name, url, sdl }) => ({ name, url, typeDefs: parse(sdl) }));

/** The supergraph of [{ name, url, sdl }], with the composer's errors and hints as lines of text. */
export function compose(subgraphs) {
  const { supergraphSdl, errors = [], hints = [] } = composeServices(parsed(subgraphs));
  return {
    supergraphSdl,
    errors: errors.map((error) => `${error.extensions?.code}: ${error.message}`),
    hints: hints.map((hint) => `${hint.definition.code}: ${hint.message}`),
  };
}

/** What other composers have against these subgraphs: The Guild's, for Hive, and WunderGraph's, for Cosmo. */
export const otherComposers = {
  Hive: (subgraphs) => (composeForHive(parsed(subgraphs)).errors ?? []).map((error) => error.message),
  Cosmo: (subgraphs) => {
    const definitions = parsed(subgraphs).map(({ name, url, typeDefs }) => ({ name, url, definitions: typeDefs }));
    const { errors = [], warnings = [] } = federateSubgraphs({ subgraphs: definitions, version: "1" });
    return [...errors, ...warnings].map((it) => it.message);
  },
};

// Cosmo's composer asks this of sets, which Node learned in version 22.
Set.prototype.isDisjointFrom ??= function (other) {
  return ![...this].some((it) => other.has(it));
};

/** The fields at the roots of a variant of the graph, without what is tagged so. */
export function variantWithout(tags, subgraphs) {
  const { errors, federatedGraphClientSchema: schema } = federateSubgraphsContract({
    subgraphs: parsed(subgraphs).map(({ name, url, typeDefs }) => ({ name, url, definitions: typeDefs })),
    contractTagOptions: { tagNamesToExclude: new Set(tags), tagNamesToInclude: new Set() },
    version: "1",
  });
  if (errors) throw new Error(errors.map((it) => it.message).join("\n"));
  return [schema.getQueryType(), schema.getMutationType()].flatMap((root) => Object.keys(root?.getFields() ?? {}));
}

/** A subgraph of a few lines, served on this machine. */
export async function startSubgraph({ name, sdl, resolvers }, port = 0) {
  const schema = buildSubgraphSchema({ typeDefs: parse(sdl), resolvers });
  const server = new ApolloServer({ schema, plugins: [ApolloServerPluginInlineTraceDisabled()] });
  const { url } = await startStandaloneServer(server, { listen: { host: "127.0.0.1", port } });
  return { name, sdl, url, stop: () => server.stop() };
}

// What callers of the gateway say of themselves, Headwater is told, and nobody else.
const PASSED_ON = ["x-api-key", "authorization", "x-debug-resource-tracking"];

class Subgraph extends RemoteGraphQLDataSource {
  willSendRequest({ request, context }) {
    if (this.name !== "headwater") return;
    for (const name of PASSED_ON) {
      const said = context.headers?.[name];
      if (said) request.http.headers.set(name, said);
    }
  }

  async process(options) {
    const response = await super.process(options);
    const { query, variables = {} } = options.request;
    const statements = response.extensions?.resources?.statements;
    options.context.hops?.push({ name: this.name, query, variables, statements });
    return response;
  }

  async sendRequest(request, context) {
    context.sent?.push({ name: this.name, hash: request.extensions?.persistedQuery?.sha256Hash, text: request.query });
    return await super.sendRequest(request, context);
  }
}

/** A gateway over a supergraph. */
export async function startGateway(supergraphSdl) {
  const buildService = ({ name, url }) => Object.assign(new Subgraph({ url, apq: name === "headwater" }), { name });
  const gateway = new ApolloGateway({ supergraphSdl, buildService });
  const server = new ApolloServer({ gateway, includeStacktraceInErrorResponses: false, stopOnTerminationSignals: false });

  /** Asks it, and also tells which requests that made of the subgraphs, and which of those took a second for want of the text. */
  async function ask(query, variables, headers = { "x-debug-resource-tracking": "true" }) {
    const [hops, sent] = [[], []];
    const { body } = await server.executeOperation({ query, variables }, { contextValue: { hops, sent, headers } });
    const { data, errors = [] } = body.singleResult;
    // the gateway's objects have no prototype, which a strict comparison would call a difference
    return structuredClone({ data, errors, hops, sent });
  }

  return {
    /** Makes it answer in this process. */
    start: () => server.start(),
    /** Serves it on this machine; gives its address. */
    listen: async (port) => {
      const context = async ({ req }) => ({ headers: req.headers });
      return (await startStandaloneServer(server, { listen: { host: "127.0.0.1", port }, context })).url;
    },
    ask,
    stop: () => server.stop(),
  };
}
