// Composes subgraphs, and runs Apollo Gateway over them in this process.
import { composeServices } from "@apollo/composition";
import { ApolloGateway, RemoteGraphQLDataSource } from "@apollo/gateway";
import { ApolloServer } from "@apollo/server";
import { parse } from "graphql";

/** The supergraph of [{ name, url, sdl }], with the composer's errors and hints as lines of text. */
export function compose(subgraphs) {
  const services = subgraphs.map(({ name, url, sdl }) => ({ name, url, typeDefs: parse(sdl) }));
  const { supergraphSdl, errors = [], hints = [] } = composeServices(services);
  return {
    supergraphSdl,
    errors: errors.map((error) => `${error.extensions?.code}: ${error.message}`),
    hints: hints.map((hint) => `${hint.definition.code}: ${hint.message}`),
  };
}

/** A gateway that also tells which requests an operation made of the subgraphs. */
export async function startGateway(supergraphSdl) {
  let sent = [];
  const buildService = ({ name, url }) =>
    new RemoteGraphQLDataSource({
      url,
      willSendRequest: ({ request }) => void sent.push({ name, query: request.query, variables: request.variables ?? {} }),
    });
  const gateway = new ApolloGateway({ supergraphSdl, buildService });
  const server = new ApolloServer({ gateway, includeStacktraceInErrorResponses: false, stopOnTerminationSignals: false });
  await server.start();

  async function ask(query, variables) {
    sent = [];
    const { body } = await server.executeOperation({ query, variables });
    const { data, errors = [] } = body.singleResult;
    // the gateway's objects have no prototype, which a strict comparison would call a difference
    return structuredClone({ data, errors, sent });
  }

  return { ask, stop: () => server.stop() };
}
