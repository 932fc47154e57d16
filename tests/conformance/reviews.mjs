// A second subgraph, of another team: it reviews products and knows nothing of Headwater's database. All it has of a product
// is the id it was given, and its reviews repeat that id, so that a check sees what has crossed.

export const name = "reviews";

// PageInfo is here because Headwater has one too: two subgraphs with connections must still compose.
// A review's product is nullable because Headwater may not know it, or not at that instant.
export const sdl = `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@shareable"])

  type Query {
    reviewed(id: ID!): Product
    reviewsOf(products: [ID!]!): ReviewConnection!
  }

  type Product @key(fields: "id") {
    id: ID!
    reviews: [Review!]!
  }

  type Review {
    id: ID!
    product: Product
    text: String!
  }

  type ReviewConnection {
    nodes: [Review!]!
    pageInfo: PageInfo!
  }

  type PageInfo @shareable {
    hasNextPage: Boolean!
    hasPreviousPage: Boolean!
    startCursor: String
    endCursor: String
  }
`;

const reviewOf = (id) => ({ id: `Review of ${id}`, product: { id }, text: textOf(id) });

export const resolvers = {
  Query: {
    reviewed: (_, { id }) => ({ id }),
    reviewsOf: (_, { products }) => ({
      nodes: products.map(reviewOf),
      pageInfo: { hasNextPage: false, hasPreviousPage: false },
    }),
  },
  Product: {
    __resolveReference: ({ id }) => ({ id }),
    reviews: ({ id }) => [reviewOf(id)],
  },
};

export function textOf(id) {
  return `review of ${id}`;
}
