// A third subgraph, of a team that watches assets of any kind. It knows only the interface Asset, and only the id of an asset.

export const name = "watches";

// Node, node and SchemaField are declared because other subgraphs may declare them, too, and have to compose.
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
