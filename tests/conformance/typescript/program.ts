// node program.js <address of the demo> <address of the guarded service> <a key> <the uid of a stranger's product>
import { check, expectEqual } from "./results.mjs";
import { graphql } from "./generated/gql.js";
import type { DescribedFragment, ProductsPageQuery, RegisterProductInput } from "./generated/graphql.js";
import { execute, HeadwaterError, type Service } from "./headwater.js";

const [demo, guarded, key, strangersUid] = process.argv.slice(2) as [string, string, string, string];

const ProductsPage = graphql(`
  query ProductsPage($after: String, $asOf: DateTime) {
    products(first: 25, after: $after, asOf: $asOf) {
      nodes {
        id
        name
        status
        schema
        updatedAt
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
`);

const NowAndThen = graphql(`
  query NowAndThen($uid: UUID!, $then: DateTime!) {
    now: asset(ref: { uid: $uid }) {
      id
      label
    }
    then: asset(ref: { uid: $uid }, asOf: $then) {
      id
      label
      validTo
    }
  }
`);

const Feeds = graphql(`
  query Feeds($name: String!) {
    product(name: $name) {
      uid
      upstream(maxDepth: 2) {
        edges {
          depth
          node {
            ...Described
          }
        }
        links {
          source {
            uid
          }
          target {
            uid
          }
          confidence
        }
        truncated {
          reason
        }
      }
    }
  }
`);

graphql(`
  fragment Described on Asset {
    __typename
    uid
    label
    ... on Product {
      domain {
        name
      }
    }
    ... on Entity {
      type {
        code
      }
    }
  }
`);

const Register = graphql(`
  mutation Register($input: RegisterProductInput!) {
    registerProduct(input: $input) {
      changed
      product {
        id
        status
      }
    }
  }
`);

const Update = graphql(`
  mutation Update($input: UpdateProductInput!) {
    updateProduct(input: $input) {
      product {
        description
      }
    }
  }
`);

// A product of the demo mesh: customer_accounts until 2026-02-10, customers from then on.
const uid = "d93586aa-49fa-5734-bb1c-7c71451dfa5c";
const services: Record<string, Service> = { demo: { address: demo }, guarded: { address: guarded, key } };

/** Each type of asset has its own fields, which the compiler knows once __typename is selected. */
function described(asset: DescribedFragment): string {
  switch (asset.__typename) {
    case "Product":
      return `${asset.label} of ${asset.domain.name}`;
    case "Entity":
      return `${asset.label}, ${asset.type.code}`;
  }
}

/** Calls with the wrong types. The compiler reports each expected error that does not occur. */
export function mistyped(service: Service): void {
  // @ts-expect-error: a product has an owner
  void execute(service, Register, { input: { name: "a", domain: "b", schema: {} } });
  // @ts-expect-error: a DateTime is text
  void execute(service, NowAndThen, { uid, then: new Date() });
  // @ts-expect-error: the type of JSON is unknown
  void execute(service, ProductsPage, {}).then(({ products }) => products.nodes[0]?.schema.fields);
  // @ts-expect-error: an asset may not exist at an instant
  void execute(service, NowAndThen, { uid, then: "2025-12-01" }).then(({ then }) => then.label);
}

async function codeOf(call: Promise<unknown>): Promise<[string, string | undefined]> {
  try {
    await call;
  } catch (error) {
    if (error instanceof HeadwaterError) return [error.code, error.field];
    throw error;
  }
  throw new Error("the call succeeded");
}

async function namesOf(service: Service, asOf: string | null): Promise<[names: string[], pages: number]> {
  const names: string[] = [];
  let after: string | null = null;
  for (let pages = 1; ; pages += 1) {
    const { products }: ProductsPageQuery = await execute(service, ProductsPage, { after, asOf });
    names.push(...products.nodes.map((it) => it.name));
    if (!products.pageInfo.hasNextPage) return [names, pages];
    after = products.pageInfo.endCursor;
  }
}

for (const [name, service] of Object.entries(services)) {
  await check(`${name}: pages follow each other to the end, now and at an instant`, async () => {
    const [[now, pages], [then]] = [await namesOf(service, null), await namesOf(service, "2025-12-01")];
    expectEqual([now, then].map((it) => it.length), [now, then].map((it) => new Set(it).size));
    const names = ["customers", "customer_accounts"];
    expectEqual(names.map((it) => [now.includes(it), then.includes(it)]), [[true, false], [false, true]]);
    return `${now.length} products now on ${pages} pages, ${then.length} then`;
  });

  await check(`${name}: one product at two instants has two ids`, async () => {
    const { now, then } = await execute(service, NowAndThen, { uid, then: "2025-12-01" });
    const ended: string | null | undefined = then?.validTo;
    expectEqual([now?.id, now?.label], [`Product:${uid}`, "customers"]);
    expectEqual([then?.id, then?.label], [`Product:${uid}@2025-12-01T00:00:00Z`, "customer_accounts"]);
    expectEqual(ended, "2026-02-10T00:00:00Z");
    return `${then?.id} until ${ended}`;
  });

  await check(`${name}: each asset of a walk has its concrete type, and its links lead to assets of the walk`, async () => {
    const { product } = await execute(service, Feeds, { name: "revenue_daily" });
    if (!product?.upstream) throw new Error("revenue_daily has no upstream");
    const { edges, links, truncated } = product.upstream;
    const uids = new Set([product.uid, ...edges.map((it) => it.node.uid)]);
    expectEqual(links.every((it) => uids.has(it.source.uid) && uids.has(it.target.uid)), true);
    const kinds = new Map(edges.map((it) => [it.node.__typename, it.node]));
    expectEqual([truncated, [...kinds.keys()].sort()], [null, ["Entity", "Product"]]);
    return `${edges.length} assets, ${links.length} links: ${[...kinds.values()].map(described).join("; ")}`;
  });

  await check(`${name}: a repeated write with the same idempotencyKey is executed once`, async () => {
    const input: RegisterProductInput = {
      name: `typed_${name}`,
      domain: "web",
      owner: "typescript@shop.example",
      schema: { fields: [{ name: "id", type: "int" }] },
      idempotencyKey: `register typed_${name}`,
    };
    const [first, again] = [await execute(service, Register, { input }), await execute(service, Register, { input })];
    expectEqual([first.registerProduct.changed, again], [true, first]);
    const other = codeOf(execute(service, Register, { input: { ...input, owner: "another" } }));
    expectEqual(await other, ["CONFLICT", "idempotencyKey"]);
    return `${first.registerProduct.product.id}, twice; with other content: CONFLICT`;
  });

  await check(`${name}: an update changes the given fields`, async () => {
    const found: (string | null)[] = [];
    const owner = "typescript@shop.example";
    for (const change of [{ description: "Who buys." }, { description: undefined, owner }, { description: null }]) {
      const { updateProduct } = await execute(service, Update, { input: { product: { uid }, ...change } });
      found.push(updateProduct.product.description);
    }
    expectEqual(found, ["Who buys.", "Who buys.", null]);
    return "a description is kept if it is undefined, and null clears it";
  });

  await check(`${name}: an error has a code and names the field`, async () => {
    const taken = { name: "customers", domain: "web", owner: "nobody", schema: {} };
    const found = [
      await codeOf(execute(service, Register, { input: taken })),
      await codeOf(execute(service, ProductsPage, { after: "nonsense" })),
      await codeOf(execute(service, NowAndThen, { uid, then: "yesterday" })),
    ];
    expectEqual(found, [["CONFLICT", "name"], ["BAD_INPUT", "after"], ["BAD_INPUT", "then"]]);
    return found.map((it) => it.join(" ")).join(", ");
  });
}

await check("guarded: without a valid key, every call is refused", async () => {
  const strangers: Service[] = [{ address: guarded }, { address: guarded, key: `${key}x` }];
  const codes = await Promise.all(strangers.map((it) => codeOf(execute(it, ProductsPage, {}))));
  expectEqual(codes.map(([code]) => code), ["UNAUTHENTICATED", "UNAUTHENTICATED"]);
  return "UNAUTHENTICATED";
});

await check("guarded: assets of another tenant do not exist", async () => {
  expectEqual(await execute(services["guarded"]!, NowAndThen, { uid: strangersUid, then: "2026-11-01" }), { now: null, then: null });
  return `${strangersUid}: null`;
});
