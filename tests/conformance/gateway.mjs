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

/** Composes [{ name, url, sdl }]. Returns the supergraph, and the errors and hints as lines of text. */
export function compose(subgraphs) {
  const { supergraphSdl, errors = [], hints = [] } = composeServices(parsed(subgraphs));
  return {
    supergraphSdl,
    errors: errors.map((error) => `${error.extensions?.code}: ${error.message}`),
    hints: hints.map((hint) => `${hint.definition.code}: ${hint.message}`),
  };
}

/** Errors and warnings of other composers: The Guild's, for Hive, and WunderGraph's, for Cosmo. */
export const otherComposers = {
  Hive: (subgraphs) => (composeForHive(parsed(subgraphs)).errors ?? []).map((error) => error.message),
  Cosmo: (subgraphs) => {
    const definitions = parsed(subgraphs).map(({ name, url, typeDefs }) => ({ name, url, definitions: typeDefs }));
    const { errors = [], warnings = [] } = federateSubgraphs({ subgraphs: definitions, version: "1" });
    return [...errors, ...warnings].map((it) => it.message);
  },
};

// Cosmo's composer calls this method, which Node has since version 22.
Set.prototype.isDisjointFrom ??= function (other) {
  return ![...this].some((it) => other.has(it));
};

/** Composes a variant of the graph without these tags. Returns the names of its root fields. */
export function variantWithout(tags, subgraphs) {
  const { errors, federatedGraphClientSchema: schema } = federateSubgraphsContract({
    subgraphs: parsed(subgraphs).map(({ name, url, typeDefs }) => ({ name, url, definitions: typeDefs })),
    contractTagOptions: { tagNamesToExclude: new Set(tags), tagNamesToInclude: new Set() },
    version: "1",
  });
  if (errors) throw new Error(errors.map((it) => it.message).join("\n"));
  return [schema.getQueryType(), schema.getMutationType()].flatMap((root) => Object.keys(root?.getFields() ?? {}));
}

/** Serves a small subgraph on this machine. */
export async function startSubgraph({ name, sdl, resolvers }, port = 0) {
  const schema = buildSubgraphSchema({ typeDefs: parse(sdl), resolvers });
  const server = new ApolloServer({ schema, plugins: [ApolloServerPluginInlineTraceDisabled()] });
  const { url } = await startStandaloneServer(server, { listen: { host: "127.0.0.1", port } });
  return { name, sdl, url, stop: () => server.stop() };
}

// Request headers that are passed on to Headwater, and to no other subgraph.
const PASSED_ON = ["x-api-key", "authorization", "x-debug-resource-tracking"];

class Subgraph extends RemoteGraphQLDataSource {
  willSendRequest({ request, context }) {
    if (this.name !== "headwater") return;
    for (const name of PASSED_ON) {
      const value = context.headers?.[name];
      if (value) request.http.headers.set(name, value);
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

/** Creates a gateway over a supergraph. */
export async function startGateway(supergraphSdl) {
  const buildService = ({ name, url }) => Object.assign(new Subgraph({ url, apq: name === "headwater" }), { name });
  const gateway = new ApolloGateway({ supergraphSdl, buildService });
  const server = new ApolloServer({ gateway, includeStacktraceInErrorResponses: false, stopOnTerminationSignals: false });

  /** Executes an operation. Also returns the requests to the subgraphs (hops), and every message sent for them: of a persisted query
   * first the hash, and the text if that is unknown. */
  async function ask(query, variables, headers = { "x-debug-resource-tracking": "true" }) {
    const [hops, sent] = [[], []];
    const { body } = await server.executeOperation({ query, variables }, { contextValue: { hops, sent, headers } });
    const { data, errors = [] } = body.singleResult;
    // the objects of the gateway have no prototype, which a strict comparison reports as a difference
    return structuredClone({ data, errors, hops, sent });
  }

  return {
    /** Starts it in this process. */
    start: () => server.start(),
    /** Serves it on this machine. Returns its address. */
    listen: async (port) => {
      const context = async ({ req }) => ({ headers: req.headers });
      return (await startStandaloneServer(server, { listen: { host: "127.0.0.1", port }, context })).url;
    },
    ask,
    stop: () => server.stop(),
  };
}
