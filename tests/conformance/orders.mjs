// A fourth subgraph, of the shop system. It knows customers by their numbers, and neither their uids nor any instant. It adds to
// links, relationships and domains, too.

export const name = "orders";

export const sdl = `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key"])

  type Query {
    order(number: ID!): Order
    orders(numbers: [ID!]!): [Order!]!
    incident(link: ID!): Incident
    budget(domain: String!): Budget
    approval(relationship: ID!): Approval
  }

  type Order {
    number: ID!
    customer: Entity
  }

  type Entity @key(fields: "key type { code }") {
    key: String
    type: EntityType!
    orders: [Order!]!
  }

  type EntityType @key(fields: "code", resolvable: false) {
    code: String!
  }

  type LineageLink @key(fields: "id") {
    id: ID!
    incidents: [Incident!]!
  }

  type Incident {
    text: String!
    link: LineageLink
  }

  type Relationship @key(fields: "id") {
    id: ID!
    approvals: [Approval!]!
  }

  type Approval {
    text: String!
    relationship: Relationship
  }

  type Domain @key(fields: "name") {
    name: String!
    budget: Budget!
  }

  type Budget {
    text: String!
    domain: Domain
  }
`;

const customer = (number) => ({ key: number.split("-")[0], type: { code: "CUSTOMER" } });
const orderOf = (number) => ({ number, customer: customer(number) });
const about = (id) => ({ text: textOf(id) });

export const resolvers = {
  Query: {
    order: (_, { number }) => orderOf(number),
    orders: (_, { numbers }) => numbers.map(orderOf),
    incident: (_, { link }) => ({ ...about(link), link: { id: link } }),
    approval: (_, { relationship }) => ({ ...about(relationship), relationship: { id: relationship } }),
    budget: (_, { domain }) => ({ ...about(domain), domain: { name: domain } }),
  },
  Entity: {
    __resolveReference: ({ key, type }) => ({ key, type }),
    orders: ({ key, type }) => (type.code === "CUSTOMER" ? [orderOf(`${key}-1`)] : []),
  },
  LineageLink: { __resolveReference: ({ id }) => ({ id }), incidents: ({ id }) => [{ ...about(id), link: { id } }] },
  Relationship: { __resolveReference: ({ id }) => ({ id }), approvals: ({ id }) => [{ ...about(id), relationship: { id } }] },
  Domain: { __resolveReference: ({ name }) => ({ name }), budget: ({ name }) => ({ ...about(name), domain: { name } }) },
};

export function textOf(id) {
  return `about ${id}`;
}
