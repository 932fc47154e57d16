// Queries that cross from one subgraph to another, through a gateway.
import { check, expectEqual } from "./results.mjs";
import { NOW_ID, PAST, PAST_ID, UID, UNKNOWN_UID, asset, coded, product, sorted } from "./mesh.mjs";
import { textOf as aboutText } from "./orders.mjs";
import { textOf } from "./reviews.mjs";
import { watcherOf } from "./watches.mjs";

const reviewsOf = (id) => [{ text: textOf(id) }];
const watchersOf = (id) => [watcherOf(id)];

/** Returns the representations that the gateway sent to a subgraph, one list for each request. */
function representationsTo(name, hops) {
  return hops.filter((it) => it.name === name && it.variables.representations).map((it) => it.variables.representations);
}

/** Describes the hops of an operation, with the number of statements of each hop to Headwater. */
function route(hops) {
  const described = hops.map(({ name, statements }) => (statements === undefined ? name : `${name} (${statements})`));
  return `statements: ${described.join(" → ")}`;
}

export async function checkThroughGateway(ask) {
  await check("from Headwater to reviews: the instant crosses inside the id", async () => {
    const { data, errors, hops } = await ask(
      `query ($asOf: DateTime) { product(name: "customer_accounts", asOf: $asOf) { id name reviews { text } } }`,
      { asOf: "2025-12-01" },
    );
    expectEqual(errors, []);
    expectEqual(data.product, { id: PAST_ID, name: "customer_accounts", reviews: reviewsOf(PAST_ID) });
    expectEqual(representationsTo("reviews", hops), [[product({ id: PAST_ID })]]);
    return `${route(hops)}: reviews received ${PAST_ID}`;
  });

  await check("from Headwater to reviews: at present the id has no instant", async () => {
    const { data, errors } = await ask(`{ product(name: "customers") { id reviews { text } } }`);
    expectEqual(errors, []);
    expectEqual(data.product, { id: NOW_ID, reviews: reviewsOf(NOW_ID) });
    return `reviews received ${NOW_ID}`;
  });

  await check("from reviews to Headwater: read at the instant of the id", async () => {
    const query = `query ($id: ID!) { reviewed(id: $id) { id name owner asOf reviews { text } } }`;
    const { data, errors, hops } = await ask(query, { id: PAST_ID });
    expectEqual(errors, []);
    const then = { name: "customer_accounts", owner: "ann@shop.example", asOf: PAST };
    expectEqual(data.reviewed, { id: PAST_ID, ...then, reviews: reviewsOf(PAST_ID) });
    expectEqual(representationsTo("headwater", hops), [[product({ id: PAST_ID })]]);
    return `${route(hops)}: customer_accounts, as it was called then`;
  });

  await check("from reviews to Headwater: an id without an instant is read at present", async () => {
    const { data, errors } = await ask(`query ($id: ID!) { reviewed(id: $id) { name owner } }`, { id: NOW_ID });
    expectEqual(errors, []);
    expectEqual(data.reviewed, { name: "customers", owner: "bo@shop.example" });
    return "customers, as it is called now";
  });

  await check("one response holds one product at two instants, and keeps them apart", async () => {
    const { data, errors, hops } = await ask(
      `query ($uid: UUID!, $then: DateTime) {
        now: asset(ref: { uid: $uid }) { ...read }
        then: asset(ref: { uid: $uid }, asOf: $then) { ...read }
        again: product(name: "customer_accounts", asOf: $then) { ...read }
      }
      fragment read on Product { id name reviews { text } watchers }`,
      { uid: UID, then: PAST },
    );
    expectEqual(errors, []);
    const read = (id, name) => ({ id, name, reviews: reviewsOf(id), watchers: watchersOf(id) });
    const then = read(PAST_ID, "customer_accounts");
    expectEqual(data, { now: read(NOW_ID, "customers"), then, again: then });
    return `${route(hops)}: asset now, asset then, product then`;
  });

  await check("one query crosses all three, there and back, as of an instant", async () => {
    const { data, errors, hops } = await ask(
      `query ($ids: [ID!]!) {
        reviewsOf(products: $ids) {
          nodes { product { id owner watchers upstream(maxDepth: 1) { nodes { __typename id label watchers } } } }
        }
      }`,
      { ids: [PAST_ID, NOW_ID] },
    );
    expectEqual(errors, []);
    const [then, now] = data.reviewsOf.nodes.map((it) => it.product);
    expectEqual([then.owner, now.owner], ["ann@shop.example", "bo@shop.example"]);
    expectEqual([then.watchers, now.watchers], [watchersOf(PAST_ID), watchersOf(NOW_ID)]);
    const reached = [...then.upstream.nodes, ...now.upstream.nodes];
    expectEqual(reached.length > 2, true);
    for (const { id, watchers } of reached) expectEqual(watchers, watchersOf(id));
    expectEqual(then.upstream.nodes.every(({ id }) => id.endsWith(`@${PAST}`)), true);
    return `${route(hops)}; ${reached.length} assets reached, each at the instant of its root`;
  });

  await check("from watches to Headwater: an Asset is resolved to its concrete type, at the instant of the id", async () => {
    const found = await ask(`{ entities(first: 1) { nodes { id displayName } } }`);
    const [{ id: entityId, displayName }] = found.data.entities.nodes;
    const ids = [PAST_ID, entityId, NOW_ID, `Product:${UNKNOWN_UID}`];
    const { data, errors, hops } = await ask(
      `query ($ids: [ID!]!) {
        watched(ids: $ids) { __typename id label watchers ... on Product { reviews { text } } ... on Entity { displayName } }
      }`,
      { ids },
    );
    expectEqual(errors, []);
    const read = (id, label) => ({ ...product({ id, label }), watchers: watchersOf(id), reviews: reviewsOf(id) });
    const entity = { __typename: "Entity", id: entityId, label: displayName, watchers: watchersOf(entityId), displayName };
    expectEqual(data.watched, [read(PAST_ID, "customer_accounts"), entity, read(NOW_ID, "customers"), null]);
    const [sent] = representationsTo("headwater", hops);
    expectEqual(sent, ids.map((id) => asset({ id })));
    return `${route(hops)}: 4 assets in one request: 2 products, 1 entity, 1 unknown`;
  });

  await check("a field that watches adds to Asset is available on each type of asset", async () => {
    const { data, errors, hops } = await ask(
      `query ($then: DateTime) {
        product(name: "customer_accounts", asOf: $then) { id watchers }
        entities(first: 2, asOf: $then) { nodes { id watchers } }
      }`,
      { then: PAST },
    );
    expectEqual(errors, []);
    for (const { id, watchers } of [data.product, ...data.entities.nodes]) expectEqual(watchers, watchersOf(id));
    return `${route(hops)}: Product.watchers and Entity.watchers, at ${PAST}`;
  });

  await check("from orders to Headwater: a customer is found by its type and number", async () => {
    const numbers = ["4101-1", "4107-1", "4101-2", "9999-1"];
    const query = `query ($numbers: [ID!]!) {
      orders(numbers: $numbers) { number customer { id key displayName type { code label } } }
    }`;
    const { data, errors, hops } = await ask(query, { numbers });
    expectEqual(errors, []);
    const type = { code: "CUSTOMER", label: "Customer" };
    const [first, second, again, unknown] = data.orders.map((it) => it.customer);
    expectEqual([first, second, again].map((it) => [it.key, it.type]), [["4101", type], ["4107", type], ["4101", type]]);
    expectEqual([unknown, again], [null, first]);
    const reference = (key) => ({ __typename: "Entity", key, type: { code: "CUSTOMER" } });
    expectEqual(representationsTo("headwater", hops), [["4101", "4107", "4101", "9999"].map(reference)]);
    expectEqual(hops.at(-1).statements, 2);
    return `${route(hops)}: ${first.displayName} and ${second.displayName}, and the type of both; an unknown number is null`;
  });

  await check("from Headwater to orders: an entity is sent by its key and type", async () => {
    const query = `{ entities(filter: { types: ["CUSTOMER"] }, first: 3) { nodes { key orders { number customer { displayName } } } } }`;
    const { data, errors, hops } = await ask(query);
    expectEqual(errors, []);
    const { nodes } = data.entities;
    expectEqual(nodes.map((it) => it.orders.map(({ number }) => number)), nodes.map((it) => [`${it.key}-1`]));
    expectEqual(nodes.every((it) => it.orders[0].customer.displayName), true);
    return `${route(hops)}: ${nodes.length} customers, each with its orders, and the customers of these again`;
  });

  await check("links and relationships cross inside their ids, there and back, at present and then", async () => {
    const query = `query ($asOf: DateTime) {
      lineageLinks(first: 1, asOf: $asOf) { nodes { id confidence incidents { text link { id confidence source { id } } } } }
      relationships(first: 1, asOf: $asOf) { nodes { id validFrom approvals { text relationship { id validFrom origin { id } } } } }
    }`;
    const sent = [];
    for (const asOf of [null, "2026-05-01T00:00:00Z"]) {
      const { data, errors } = await ask(query, { asOf });
      expectEqual(errors, []);
      const [{ incidents: [incident], ...link }] = data.lineageLinks.nodes;
      const [{ approvals: [approval], ...relationship }] = data.relationships.nodes;
      const { source, ...sameLink } = incident.link;
      const { origin, ...sameRelationship } = approval.relationship;
      expectEqual([incident.text, approval.text], [link.id, relationship.id].map(aboutText));
      expectEqual([sameLink, sameRelationship], [link, relationship]);
      for (const { id } of [link, relationship, source, origin]) expectEqual(id.split("@")[1], asOf ?? undefined);
      sent.push(link.id, relationship.id);
    }
    return sent.join("\n");
  });

  await check("a domain crosses by its name, and is read at present", async () => {
    const { data, errors } = await ask(`{
      domain(name: "web", asOf: "${PAST}") { id budget { text domain { id owners } } }
      budget(domain: "web") { domain { id } }
      nothing: budget(domain: "nothing") { text domain { id } }
    }`);
    expectEqual(errors, []);
    const { id, budget } = data.domain;
    expectEqual([id, budget.text, budget.domain.id, data.budget.domain.id], [`Domain:web@${PAST}`, aboutText("web"), "Domain:web", "Domain:web"]);
    expectEqual([budget.domain.owners.length > 0, data.nothing.domain], [true, null]);
    return `${id}; by its name: ${budget.domain.id}`;
  });

  await check("the gateway sends the hash of an operation, and its text once", async () => {
    const query = `{ product(name: "customers") { id version tags } }`;
    const sent = [];
    for (const _ of [1, 2]) {
      const answer = await ask(query);
      expectEqual([answer.errors, answer.data.product.id], [[], NOW_ID]);
      sent.push(answer.sent.map(({ hash, text }) => [hash?.length, text !== undefined]));
    }
    expectEqual(sent, [[[64, false], [64, true]], [[64, false]]]);
    return "first the hash, which is unknown, and the text; then the hash alone";
  });

  await check("Query.node and nodes are not in the supergraph", async () => {
    for (const query of [`{ node(id: "${NOW_ID}") { id } }`, `{ nodes(ids: ["${NOW_ID}"]) { id } }`]) {
      const { errors } = await ask(query);
      expectEqual(errors.map((it) => it.extensions.code), ["GRAPHQL_VALIDATION_FAILED"]);
    }
    return "GRAPHQL_VALIDATION_FAILED";
  });

  await check("a cursor of another list is an error with a code, and the other fields are resolved", async () => {
    const { data: other } = await ask(`{ products(first: 1) { pageInfo { endCursor } } }`);
    const { data, errors } = await ask(
      `query ($ids: [ID!]!, $after: String!) {
        product(name: "customers") { id name upstream(after: $after) { nodes { id } } reviews { text } }
        watched(ids: $ids) { watchers }
      }`,
      { ids: [NOW_ID], after: other.products.pageInfo.endCursor },
    );
    const customers = { id: NOW_ID, name: "customers", upstream: null, reviews: reviewsOf(NOW_ID) };
    expectEqual(data, { product: customers, watched: [{ watchers: watchersOf(NOW_ID) }] });
    expectEqual(coded(errors), [{ path: ["product", "upstream"], code: "BAD_INPUT" }]);
    return "BAD_INPUT at product.upstream";
  });

  await check("each version of a history is resolved at its own instant", async () => {
    const { data, errors } = await ask(
      `{ product(name: "customers") { history { nodes { asset { ... on Product { id name validFrom reviews { text } } } } } } }`,
    );
    expectEqual(errors, []);
    const versions = data.product.history.nodes.map((it) => it.asset);
    expectEqual(sorted(versions.map((it) => it.name)), ["customer_accounts", "customers"]);
    for (const { id, validFrom, reviews } of versions) {
      expectEqual(id, `${NOW_ID}@${validFrom}`);
      expectEqual(reviews, reviewsOf(id));
    }
    return `${versions.length} versions, ${sorted(versions.map((it) => it.id)).length} ids`;
  });

  await check("in a list, an unknown id is null and an invalid one an error with a code", async () => {
    const ids = [PAST_ID, `Product:${UNKNOWN_UID}`, "nonsense", NOW_ID];
    const { data, errors, hops } = await ask(
      `query ($ids: [ID!]!) {
        reviewsOf(products: $ids) { nodes { text product { id name } } pageInfo { hasNextPage hasPreviousPage } }
      }`,
      { ids },
    );
    const found = [{ id: PAST_ID, name: "customer_accounts" }, null, null, { id: NOW_ID, name: "customers" }];
    expectEqual(data.reviewsOf.nodes, ids.map((id, index) => ({ text: textOf(id), product: found[index] })));
    expectEqual(coded(errors), [{ path: ["reviewsOf", "nodes", 2, "product"], code: "BAD_INPUT" }]);
    expectEqual(representationsTo("headwater", hops), [ids.map((id) => product({ id }))]);
    return `${route(hops)}: ${ids.length} products in one request to Headwater: 2 found, 1 unknown, 1 BAD_INPUT`;
  });

  await check("data of another subgraph is returned if Headwater fails", async () => {
    const query = `query ($id: ID!) { reviewed(id: $id) { id description reviews { text } } }`;
    const { data, errors } = await ask(query, { id: "nonsense" });
    expectEqual(data.reviewed, { id: "nonsense", description: null, reviews: reviewsOf("nonsense") });
    expectEqual(coded(errors), [{ path: ["reviewed"], code: "BAD_INPUT" }]);
    return "reviews has data, description is null";
  });

  await check("the payload of a mutation is resolved by other subgraphs, too", async () => {
    const { data, errors, hops } = await ask(
      `mutation ($input: RegisterProductInput!) {
        registerProduct(input: $input) { changed product { id owner reviews { text } } }
      }`,
      { input: { name: "gateway_made", domain: "gateways", owner: "gateway@shop.example", schema: {} } },
    );
    expectEqual(errors, []);
    const { id } = data.registerProduct.product;
    const product = { id, owner: "gateway@shop.example", reviews: reviewsOf(id) };
    expectEqual(data.registerProduct, { changed: true, product });
    return `${route(hops)}: registerProduct, then reviews received ${id}`;
  });

  // Composition removes @oneOf, so the gateway accepts such input and only Headwater refuses it.
  await check("Headwater refuses input that the gateway accepts", async () => {
    const query = `mutation ($input: UpdateProductInput!) { updateProduct(input: $input) { changed } }`;
    const { data, errors } = await ask(query, { input: { product: { uid: UID, name: "customers" }, owner: "nobody" } });
    expectEqual(data, null);
    expectEqual(errors.map((it) => it.extensions), [{ code: "BAD_INPUT", field: "product", serviceName: "headwater" }]);
    return "both members of a @oneOf input: BAD_INPUT";
  });
}

