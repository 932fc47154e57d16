// A second subgraph, of a team that reviews products. It knows only the id of a product, and repeats it in each review, so that
// a check sees which id the gateway sent.

export const name = "reviews";

// PageInfo is declared because Headwater declares it, too: two subgraphs with connections have to compose.
// The product of a review is nullable because it may not exist, or not at that instant.
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
