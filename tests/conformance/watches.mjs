// A third subgraph, of a team that watches assets of every kind, by what they have in common: it knows neither products nor
// entities. All it has of an asset is the id it was given.

export const name = "watches";

// Node, node and SchemaField are here because other subgraphs may have them too, and must still compose.
export const sdl = `
  extend schema @link(
    url: "https://specs.apollo.dev/federation/v2.9"
    import: ["@inaccessible", "@interfaceObject", "@key", "@shareable"]
  )

  type Query {
    watched(ids: [ID!]!): [Asset]!
    node(id: ID!): Node @inaccessible @shareable
    wanted: [SchemaField!]!
  }

  type Asset @interfaceObject @key(fields: "id") {
    id: ID!
    watchers: [String!]!
  }

  interface Node {
    id: ID!
  }

  type Watch implements Node {
    id: ID!
  }

  type SchemaField @shareable {
    name: String!
    type: String!
    description: String
  }
`;

export const resolvers = {
  Query: {
    watched: (_, { ids }) => ids.map((id) => ({ id })),
    node: () => null,
    wanted: () => [{ name: "email", type: "text" }],
  },
  Node: { __resolveType: () => "Watch" },
  Asset: {
    __resolveReference: ({ id }) => ({ id }),
    watchers: ({ id }) => [watcherOf(id)],
  },
};

export function watcherOf(id) {
  return `watcher of ${id}`;
}
