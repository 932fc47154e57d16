// Documents of a front end. relay-compiler reads them; relay.mjs runs what it generates.
import { graphql } from "relay-runtime";

// Lists: a fragment with a connection, which later pages use, too.
graphql`
  query documentsProductsQuery($first: Int!, $asOf: DateTime) {
    ...documents_products @arguments(first: $first, asOf: $asOf)
  }
`;

graphql`
  fragment documents_products on Query
  @argumentDefinitions(first: { type: "Int", defaultValue: 10 }, after: { type: "String" }, asOf: { type: "DateTime" })
  @refetchable(queryName: "documentsProductsPageQuery") {
    products(first: $first, after: $after, asOf: $asOf) @connection(key: "documents_products") {
      __id
      edges {
        node {
          id
          name
          asOf
        }
      }
    }
  }
`;

// One product at two instants, and the fields of all assets.
graphql`
  query documentsTwoInstantsQuery($uid: UUID!, $then: DateTime!) {
    now: asset(ref: { uid: $uid }) {
      ...documents_asset
      ...documents_product @alias(as: "product")
    }
    then: asset(ref: { uid: $uid }, asOf: $then) {
      ...documents_asset
      ...documents_product @alias(as: "product")
    }
  }
`;

graphql`
  fragment documents_asset on Asset @refetchable(queryName: "documentsAssetRefetchQuery") {
    __typename
    id
    uid
    label
    asOf
    validFrom
    validTo
  }
`;

graphql`
  fragment documents_product on Product @refetchable(queryName: "documentsProductRefetchQuery") {
    id
    name
    owner
    schema
    domain {
      name
    }
  }
`;

graphql`
  fragment documents_entity on Entity
  @argumentDefinitions(types: { type: "[String!]", defaultValue: ["email"] })
  @refetchable(queryName: "documentsEntityRefetchQuery") {
    id
    displayName
    key
    details(types: $types) {
      value
      validFrom
    }
  }
`;

graphql`
  query documentsEntityQuery($key: EntityKey!, $asOf: DateTime) {
    entity(ref: { key: $key }, asOf: $asOf) {
      ...documents_entity @arguments(types: ["role"])
    }
  }
`;

// Any asset with its history and its upstream lineage.
graphql`
  query documentsAssetQuery($uid: UUID!, $asOf: DateTime, $versions: Int!, $assets: Int!) {
    asset(ref: { uid: $uid }, asOf: $asOf) {
      id
      ...documents_history @arguments(first: $versions)
      ...documents_upstream @arguments(first: $assets)
    }
  }
`;

graphql`
  fragment documents_history on Asset
  @argumentDefinitions(first: { type: "Int", defaultValue: 10 }, after: { type: "String" })
  @refetchable(queryName: "documentsHistoryPageQuery") {
    history(first: $first, after: $after) @connection(key: "documents_history") {
      edges {
        node {
          id
          validFrom
          asset {
            id
            label
          }
        }
      }
    }
  }
`;

graphql`
  fragment documents_upstream on Asset
  @argumentDefinitions(
    first: { type: "Int", defaultValue: 100 }
    after: { type: "String" }
    maxDepth: { type: "Int", defaultValue: 5 }
  )
  @refetchable(queryName: "documentsUpstreamPageQuery") {
    upstream(first: $first, after: $after, maxDepth: $maxDepth) @connection(key: "documents_upstream") {
      edges {
        depth
        confidence
        node {
          id
          label
        }
        links {
          uid
        }
      }
      links {
        uid
      }
      truncated {
        reason
      }
    }
  }
`;

// One node of each type, and a fragment that refetches it.
graphql`
  query documentsNodesQuery($asOf: DateTime) {
    products(first: 1, asOf: $asOf) {
      nodes {
        ...documents_node
        domain {
          ...documents_node
        }
        history(first: 1) {
          nodes {
            ...documents_node
          }
        }
      }
    }
    entities(first: 1, asOf: $asOf) {
      nodes {
        ...documents_node
      }
    }
    lineageLinks(first: 1, asOf: $asOf) {
      nodes {
        ...documents_node
      }
    }
    relationships(first: 1, asOf: $asOf) {
      nodes {
        ...documents_node
      }
    }
  }
`;

graphql`
  fragment documents_node on Node @refetchable(queryName: "documentsNodeRefetchQuery") {
    __typename
    id
    ... on Asset {
      uid
      label
      validFrom
    }
    ... on LineageLink {
      uid
      confidence
      source {
        id
      }
      target {
        id
      }
    }
    ... on Relationship {
      uid
      attributes
      origin {
        id
      }
      related {
        id
      }
    }
    ... on Domain {
      name
      owners
    }
    ... on AssetVersion {
      validFrom
      asset {
        id
      }
    }
  }
`;

// Every path to one product in one operation: Relay warns if two objects with one id differ.
graphql`
  query documentsEverywhereQuery($uid: UUID!, $from: DateTime!, $to: DateTime!) {
    now: asset(ref: { uid: $uid }) {
      ...documents_everywhere
    }
    then: asset(ref: { uid: $uid }, asOf: $from) {
      ...documents_everywhere
    }
    changes(from: $from, to: $to, filter: { assets: [{ uid: $uid }] }) {
      edges {
        node {
          id
          asset {
            ...documents_asset
          }
          before {
            ...documents_asset
          }
        }
      }
    }
    diff(from: $from, to: $to, filter: { assets: [{ uid: $uid }] }) {
      nodes {
        before {
          ...documents_asset
        }
        after {
          ...documents_asset
        }
      }
    }
    lineageDiff(of: { uid: $uid }, direction: DOWNSTREAM, from: $from, to: $to) {
      addedAssets {
        ...documents_asset
      }
      removedAssets {
        ...documents_asset
      }
      addedLinks {
        ...documents_link
      }
      removedLinks {
        ...documents_link
      }
      changedLinks {
        before {
          ...documents_link
        }
        after {
          ...documents_link
        }
      }
    }
  }
`;

graphql`
  fragment documents_everywhere on Asset {
    ...documents_asset
    history {
      nodes {
        id
        asset {
          ...documents_asset
        }
      }
    }
    downstream(maxDepth: 2) {
      nodes {
        ...documents_asset
      }
      links {
        ...documents_link
      }
    }
    earlier: downstream(maxDepth: 2, asOf: $from) {
      nodes {
        ...documents_asset
      }
      links {
        ...documents_link
      }
    }
    relationships {
      nodes {
        id
        validFrom
        origin {
          ...documents_asset
        }
        related {
          ...documents_asset
        }
      }
    }
  }
`;

graphql`
  fragment documents_link on LineageLink {
    id
    confidence
    validFrom
    source {
      ...documents_asset
    }
    target {
      ...documents_asset
    }
  }
`;

// Mutations.
graphql`
  mutation documentsRegisterMutation($input: RegisterProductInput!, $connections: [ID!]!) {
    registerProduct(input: $input) {
      product @appendNode(connections: $connections, edgeTypeName: "ProductEdge") {
        id
        uid
        name
        asOf
      }
    }
  }
`;

graphql`
  mutation documentsUpdateMutation($input: UpdateProductInput!) {
    updateProduct(input: $input) {
      changed
      product {
        ...documents_product
      }
    }
  }
`;

graphql`
  mutation documentsDeleteMutation($input: DeleteProductInput!, $connections: [ID!]!) {
    deleteProduct(input: $input) {
      deletedId @deleteEdge(connections: $connections)
      everywhere: deletedId @deleteRecord
    }
  }
`;
