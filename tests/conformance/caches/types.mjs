/** Returns what a normalised cache has to know of the types. A build step can store it. */
export async function readTypes(address, headers = {}) {
  const response = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify({ query: "{ __schema { types { kind name fields { name } possibleTypes { name } } } }" }),
  });
  const { types } = (await response.json()).data.__schema;
  const abstract = types.filter((it) => it.possibleTypes);
  const embedded = types.filter((it) => it.kind === "OBJECT" && it.fields.every(({ name }) => name !== "id"));
  return {
    possibleTypes: Object.fromEntries(abstract.map((it) => [it.name, it.possibleTypes.map(({ name }) => name)])),
    // types of objects without an id, which belong to the object that they were read with
    embedded: embedded.map((it) => it.name),
  };
}
