// The requests that a client sends, as the tests see them.

/** Returns a fetch that records the method and the status of each request. It adds the headers of a page, as a browser does. */
export function recording(lines, headers = {}) {
  return async (url, init) => {
    const response = await fetch(url, { ...init, headers: { ...init.headers, ...headers } });
    lines.push(`${init.method ?? "GET"} ${response.status}`);
    return response;
  };
}

// A page of a front end in development, which a demo allows.
export const PAGE = { Origin: "http://localhost:5173" };

// A product of the demo mesh: customer_accounts until 2026-02-10, customers from then on.
export const UID = "d93586aa-49fa-5734-bb1c-7c71451dfa5c";
export const PAST = "2025-12-01T00:00:00Z";

// Texts of documents.
export const PRODUCTS = `
  query Products($first: Int!, $after: String, $asOf: DateTime) {
    products(first: $first, after: $after, asOf: $asOf) {
      edges { cursor node { id name asOf } }
      pageInfo { hasNextPage endCursor }
    }
  }
`;
export const UPSTREAM = `
  query Upstream($name: String!, $first: Int!, $after: String) {
    product(name: $name) {
      id
      upstream(first: $first, after: $after) {
        edges { cursor depth node { __typename id label ... on Asset { validFrom } } }
        pageInfo { hasNextPage endCursor }
      }
    }
  }
`;
export const REGISTER = `mutation ($input: RegisterProductInput!) { registerProduct(input: $input) { product { id uid owner } } }`;
export const UPDATE = `mutation ($input: UpdateProductInput!) { updateProduct(input: $input) { product { id owner } } }`;
export const DELETE = `mutation ($input: DeleteProductInput!) { deleteProduct(input: $input) { deletedId } }`;
