// Constants of the demo mesh, and helpers that call a service.

// A product of the demo mesh: customer_accounts until 2026-02-10, customers from then on.
export const UID = "d93586aa-49fa-5734-bb1c-7c71451dfa5c";
export const PAST = "2025-12-01T00:00:00Z";
export const NOW_ID = `Product:${UID}`;
export const PAST_ID = `Product:${UID}@${PAST}`;
export const UNKNOWN_UID = "00000000-0000-4000-8000-000000000000";

export const product = (keys) => ({ __typename: "Product", ...keys });
export const asset = (keys) => ({ __typename: "Asset", ...keys });
export const sorted = (values) => [...new Set(values)].sort();
export const coded = (errors) => errors.map(({ path, extensions }) => ({ path, code: extensions?.code }));

/** Calls a service. Returns the response with its status. */
export async function callService(address, query, variables, headers = {}) {
  const response = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/graphql-response+json", ...headers },
    body: JSON.stringify({ query, variables }),
  });
  return { status: response.status, errors: [], ...(await response.json()) };
}
