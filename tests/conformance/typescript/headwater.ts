// All that a typed client needs beside the generated code: one function.
import type { TypedDocumentString } from "./generated/graphql.js";

/** An error of the API. Its message is for people, its code for programs. */
export class HeadwaterError extends Error {
  readonly code: string;
  readonly field: string | undefined;

  constructor(error: { message: string; extensions?: { code?: string; field?: string } }) {
    super(error.message);
    this.code = error.extensions?.code ?? "UNKNOWN";
    this.field = error.extensions?.field;
  }
}

export interface Service {
  readonly address: string;
  readonly key?: string;
}

export async function execute<Result, Variables>(
  service: Service,
  document: TypedDocumentString<Result, Variables>,
  variables: Variables,
): Promise<Result> {
  const headers: Record<string, string> = {
    "Content-Type": "application/json",
    Accept: "application/graphql-response+json",
  };
  if (service.key !== undefined) headers["X-API-Key"] = service.key;
  const body = JSON.stringify({ query: document.toString(), variables });
  const response = await fetch(service.address, { method: "POST", headers, body });
  const answer = await response.json();
  if (answer.errors) throw new HeadwaterError(answer.errors[0]);
  return answer.data;
}
