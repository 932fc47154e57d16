// Entities as a gateway asks for them: by representations, without one between.
import { check, expectEqual } from "./results.mjs";
import { NOW_ID, PAST, PAST_ID, UID, UNKNOWN_UID, asset, askService, coded, product } from "./mesh.mjs";

const ENTITIES = `query ($representations: [_Any!]!) {
  _entities(representations: $representations) { __typename ... on Asset { id } ... on Product { name } }
}`;

/** What a service finds for some representations, and what it says of the others. */
async function found(address, representations, headers) {
  const { status, data, errors } = await askService(address, ENTITIES, { representations }, headers);
  return { status, found: data?._entities, errors: coded(errors) };
}

/** Of the open demo. */
export async function checkEntities(address) {
  const current = product({ id: NOW_ID, name: "customers" });
  const then = product({ id: PAST_ID, name: "customer_accounts" });
  const { data } = await askService(address, "{ entities(first: 1) { nodes { id uid } } }");
  const [{ id: entityId, uid: entityUid }] = data.entities.nodes;
  const entity = { __typename: "Entity", id: entityId };

  async function entities(representations) {
    const { found: them, errors } = await found(address, representations);
    return { found: them, errors };
  }

  await check("the keys uid and name mean now", async () => {
    const asked = [{ uid: UID }, { name: "customers" }, { id: NOW_ID }].map(product);
    expectEqual(await entities(asked), { found: [current, current, current], errors: [] });
    return `${NOW_ID}, now customers`;
  });

  await check("the key id means its instant, and stays as it is", async () => {
    expectEqual(await entities([product({ id: PAST_ID })]), { found: [then], errors: [] });
    return `${PAST_ID}, then customer_accounts`;
  });

  await check("an Asset is found by whoever does not know its kind, then and now", async () => {
    const asked = [{ id: PAST_ID }, { id: entityId }, { uid: UID }, { uid: entityUid }].map(asset);
    expectEqual(await entities(asked), { found: [then, entity, current, entity], errors: [] });
    return `a Product by ${PAST_ID} and by its uid, an Entity likewise`;
  });

  await check("3 representations cost one statement, and so do as many as may be asked for", async () => {
    const headers = { "X-Debug-Resource-Tracking": "true" };
    const statements = [];
    for (const size of [3, 1000]) {
      const representations = Array.from({ length: size }, () => product({ id: PAST_ID }));
      representations[0] = product({ id: `Product:${UNKNOWN_UID}@${PAST}` });
      const { extensions, data } = await askService(address, ENTITIES, { representations }, headers);
      expectEqual(data._entities.length, size);
      statements.push(extensions.resources.statements);
    }
    // one opens the snapshot
    expectEqual(statements, [1 + 1, 1 + 1]);
    return "3 and 1 000 products at one instant: 1 statement each, beside the one that opens the snapshot";
  });

  await check("what is not there is null, without an error", async () => {
    const before = `Product:${UID}@2001-01-01T00:00:00Z`;
    const keys = [{ name: "customer_accounts" }, { uid: UNKNOWN_UID }, { id: `Product:${UNKNOWN_UID}` }, { id: before }];
    const asked = [...keys.map(product), product({ id: entityId }), asset({ id: `LineageLink:${UID}` })];
    expectEqual(await entities(asked), { found: asked.map(() => null), errors: [] });
    return "a former name, an unknown uid, an unknown id, an instant before the first, the id of another type";
  });

  await check("an unknown __typename is a coded error, its neighbours survive", async () => {
    const named = ["Nothing", "Query", "PageInfo"].map((name) => ({ __typename: name, id: NOW_ID }));
    const bad = [...named, { id: NOW_ID }, "text"];
    await expectOnlyTheseToFail(bad, current);
    return `BAD_INPUT for ${bad.length} of ${bad.length + 2}`;
  });

  await check("a key that cannot be read is a coded error, its neighbours survive", async () => {
    const offset = `${NOW_ID}@2025-12-01T01:00:00+01:00`;
    const keys = [{ id: "nonsense" }, { id: `${NOW_ID}@yesterday` }, { id: offset }, { id: 7 }, { uid: "nonsense" }, {}];
    const bad = [...keys.map(product), product({ name: "a\0b" }), ...keys.map(asset), asset({ name: "customers" })];
    await expectOnlyTheseToFail(bad, current);
    return `BAD_INPUT for ${bad.length} of ${bad.length + 2}`;
  });

  await check("a representation may carry further fields, whatever their names", async () => {
    const asked = [{ label: "a" }, { info: "b" }, { cls: "c" }, { self: "d" }].map((more) => product({ uid: UID, ...more }));
    expectEqual(await entities(asked), { found: asked.map(() => current), errors: [] });
    return "label, info, cls, self";
  });

  await check("10 000 representations are refused as one, coded", async () => {
    const short = await found(address, Array.from({ length: 10_000 }, () => ({ id: "x" })));
    expectEqual(short, { status: 200, found: undefined, errors: [{ path: ["_entities"], code: "LIMIT_EXCEEDED" }] });
    const long = await found(address, Array.from({ length: 10_000 }, () => product({ id: PAST_ID })));
    expectEqual(long, { status: 413, found: undefined, errors: [{ path: undefined, code: "LIMIT_EXCEEDED" }] });
    return "LIMIT_EXCEEDED: by their number, or, where they are long, by the size of the body";
  });

  /** Each of these fails for itself, between two that are found. */
  async function expectOnlyTheseToFail(bad, neighbour) {
    const { found, errors } = await entities([product({ uid: UID }), ...bad, product({ name: "customers" })]);
    expectEqual(found, [neighbour, ...bad.map(() => null), neighbour]);
    errors.sort((one, other) => one.path[1] - other.path[1]);
    const expected = bad.map((_, index) => ({ path: ["_entities", index + 1], code: "BAD_INPUT" }));
    expectEqual(errors, expected);
  }
}


/** Of a service that asks who comes. */
export async function checkAtTheDoor({ address, key, stranger_key: strangerKey, stranger_uid: strangerUid }) {
  const graphql = `${address}/graphql`;
  const keys = [product({ uid: UID }), asset({ uid: UID }), product({ id: PAST_ID }), product({ name: "customers" })];
  const theirs = [product({ uid: strangerUid }), asset({ id: `Product:${strangerUid}` }), product({ name: "secret" })];
  const known = product({ id: NOW_ID, name: "customers" });

  await check("without a key nobody gets entities, and the schema all the same", async () => {
    for (const headers of [{}, { "X-API-Key": `${key}x` }]) {
      const refused = await found(graphql, keys, headers);
      expectEqual(refused, { status: 401, found: undefined, errors: [{ path: undefined, code: "UNAUTHENTICATED" }] });
    }
    const { data } = await askService(graphql, "{ _service { sdl } }");
    expectEqual(data._service.sdl.includes("interface Asset"), true);
    return "401 UNAUTHENTICATED without one, and with a wrong one";
  });

  await check("what another tenant has is null, and the neighbours survive", async () => {
    const asked = await found(graphql, [keys[0], ...theirs, keys[3]], { "X-API-Key": key });
    expectEqual(asked, { status: 200, found: [known, null, null, null, known], errors: [] });
    const others = await found(graphql, [...keys, theirs[0]], { "X-API-Key": strangerKey });
    const its = product({ id: `Product:${strangerUid}`, name: "secret" });
    expectEqual(others, { status: 200, found: [null, null, null, null, its], errors: [] });
    return "by uid, by id and by name, as Product and as Asset; and the other way round";
  });
}
