// Entities of federation, requested by representations as a gateway does.
import { check, expectEqual } from "./results.mjs";
import { NOW_ID, PAST, PAST_ID, UID, UNKNOWN_UID, asset, callService, coded, product } from "./mesh.mjs";

const ENTITIES = `query ($representations: [_Any!]!) {
  _entities(representations: $representations) { __typename ... on Asset { id } ... on Product { name } }
}`;

/** Resolves representations. Returns the status, the entities and the errors. */
async function resolve(address, representations, headers) {
  const { status, data, errors } = await callService(address, ENTITIES, { representations }, headers);
  return { status, entities: data?._entities, errors: coded(errors) };
}

/** Checks the demo, which has no authentication. */
export async function checkEntities(address) {
  const current = product({ id: NOW_ID, name: "customers" });
  const then = product({ id: PAST_ID, name: "customer_accounts" });
  const { data } = await callService(address, "{ entities(first: 1) { nodes { id uid } } }");
  const [{ id: entityId, uid: entityUid }] = data.entities.nodes;
  const entity = { __typename: "Entity", id: entityId };

  async function resolveHere(representations) {
    const { entities, errors } = await resolve(address, representations);
    return { entities, errors };
  }

  await check("the keys uid and name resolve to the present", async () => {
    const representations = [{ uid: UID }, { name: "customers" }, { id: NOW_ID }].map(product);
    expectEqual(await resolveHere(representations), { entities: [current, current, current], errors: [] });
    return `${NOW_ID}, now customers`;
  });

  await check("the key id resolves to its instant and is returned unchanged", async () => {
    expectEqual(await resolveHere([product({ id: PAST_ID })]), { entities: [then], errors: [] });
    return `${PAST_ID}, then customer_accounts`;
  });

  await check("an Asset is resolved to its concrete type, at present and as of an instant", async () => {
    const representations = [{ id: PAST_ID }, { id: entityId }, { uid: UID }, { uid: entityUid }].map(asset);
    expectEqual(await resolveHere(representations), { entities: [then, entity, current, entity], errors: [] });
    return `a Product by ${PAST_ID} and by its uid, an Entity likewise`;
  });

  await check("3 representations take one statement, and so does the maximum number", async () => {
    const headers = { "X-Debug-Resource-Tracking": "true" };
    const statements = [];
    for (const size of [3, 1000]) {
      const representations = Array.from({ length: size }, () => product({ id: PAST_ID }));
      representations[0] = product({ id: `Product:${UNKNOWN_UID}@${PAST}` });
      const { extensions, data } = await callService(address, ENTITIES, { representations }, headers);
      expectEqual(data._entities.length, size);
      statements.push(extensions.resources.statements);
    }
    expectEqual(statements, [1, 1]);
    return "3 and 1 000 products at one instant: 1 statement each";
  });

  await check("an asset that does not exist is null, without an error", async () => {
    const before = `Product:${UID}@2001-01-01T00:00:00Z`;
    const keys = [{ name: "customer_accounts" }, { uid: UNKNOWN_UID }, { id: `Product:${UNKNOWN_UID}` }, { id: before }];
    const representations = [...keys.map(product), product({ id: entityId }), asset({ id: `LineageLink:${UID}` })];
    expectEqual(await resolveHere(representations), { entities: representations.map(() => null), errors: [] });
    return "a former name, an unknown uid, an unknown id, an instant before the first, the id of another type";
  });

  await check("an unknown __typename is an error with a code, and the other representations are resolved", async () => {
    const named = ["Nothing", "Query", "PageInfo"].map((name) => ({ __typename: name, id: NOW_ID }));
    const bad = [...named, { id: NOW_ID }, "text"];
    await expectOnlyTheseToFail(bad, current);
    return `BAD_INPUT for ${bad.length} of ${bad.length + 2}`;
  });

  await check("an invalid key is an error with a code, and the other representations are resolved", async () => {
    const offset = `${NOW_ID}@2025-12-01T01:00:00+01:00`;
    const keys = [{ id: "nonsense" }, { id: `${NOW_ID}@yesterday` }, { id: offset }, { id: 7 }, { uid: "nonsense" }, {}];
    const bad = [...keys.map(product), product({ name: "a\0b" }), ...keys.map(asset), asset({ name: "customers" })];
    await expectOnlyTheseToFail(bad, current);
    return `BAD_INPUT for ${bad.length} of ${bad.length + 2}`;
  });

  await check("a representation may have further fields with any name", async () => {
    const representations = [{ label: "a" }, { info: "b" }, { cls: "c" }, { self: "d" }].map((more) => product({ uid: UID, ...more }));
    expectEqual(await resolveHere(representations), { entities: representations.map(() => current), errors: [] });
    return "label, info, cls, self";
  });

  await check("10 000 representations are refused with one error with a code", async () => {
    const short = await resolve(address, Array.from({ length: 10_000 }, () => ({ id: "x" })));
    expectEqual(short, { status: 200, entities: undefined, errors: [{ path: ["_entities"], code: "LIMIT_EXCEEDED" }] });
    const long = await resolve(address, Array.from({ length: 10_000 }, () => product({ id: PAST_ID })));
    expectEqual(long, { status: 413, entities: undefined, errors: [{ path: undefined, code: "LIMIT_EXCEEDED" }] });
    return "LIMIT_EXCEEDED: because of their number, or of the size of the body if they are long";
  });

  /** Expects one error for each of these representations, between two that are resolved. */
  async function expectOnlyTheseToFail(bad, neighbour) {
    const { entities, errors } = await resolveHere([product({ uid: UID }), ...bad, product({ name: "customers" })]);
    expectEqual(entities, [neighbour, ...bad.map(() => null), neighbour]);
    errors.sort((one, other) => one.path[1] - other.path[1]);
    const expected = bad.map((_, index) => ({ path: ["_entities", index + 1], code: "BAD_INPUT" }));
    expectEqual(errors, expected);
  }
}

/** Checks a service with authentication. */
export async function checkAuthentication({ address, key, stranger_key: strangerKey, stranger_uid: strangerUid }) {
  const graphql = `${address}/graphql`;
  const keys = [product({ uid: UID }), asset({ uid: UID }), product({ id: PAST_ID }), product({ name: "customers" })];
  const theirDomain = { __typename: "Domain", name: "theirs" };
  const theirs = [product({ uid: strangerUid }), asset({ id: `Product:${strangerUid}` }), product({ name: "secret" }), theirDomain];
  const known = product({ id: NOW_ID, name: "customers" });

  await check("without a valid key entities are refused, and the schema is returned", async () => {
    for (const headers of [{}, { "X-API-Key": `${key}x` }]) {
      const response = await resolve(graphql, keys, headers);
      expectEqual(response, { status: 401, entities: undefined, errors: [{ path: undefined, code: "UNAUTHENTICATED" }] });
    }
    const { data } = await callService(graphql, "{ _service { sdl } }");
    expectEqual(data._service.sdl.includes("interface Asset"), true);
    return "401 UNAUTHENTICATED without a key and with an invalid one";
  });

  await check("assets of another tenant are null, and the other representations are resolved", async () => {
    const resolved = await resolve(graphql, [keys[0], ...theirs, keys[3]], { "X-API-Key": key });
    expectEqual(resolved, { status: 200, entities: [known, ...theirs.map(() => null), known], errors: [] });
    const reversed = await resolve(graphql, [...keys, theirs[0]], { "X-API-Key": strangerKey });
    const its = product({ id: `Product:${strangerUid}`, name: "secret" });
    expectEqual(reversed, { status: 200, entities: [null, null, null, null, its], errors: [] });
    return "by uid, by id and by name, as Product, as Asset and as Domain; and vice versa";
  });
}
