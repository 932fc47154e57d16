import { GraphiQL } from "graphiql";
import "graphiql/style.css";
import { createRoot } from "react-dom/client";

const WORKERS = { graphql: "graphql.worker.js", json: "json.worker.js" };

// Monaco asks for its workers by language; whatever it does not know a language service for gets the plain one.
globalThis.MonacoEnvironment = {
  getWorker: (_, label) => new Worker(`/graphiql/${WORKERS[label] ?? "editor.worker.js"}`, { name: label }),
};

// Every GraphiQL on an origin uses the same keys, and 127.0.0.1:8000 has seen many: a prefix keeps their tabs apart from ours.
const PREFIX = "headwater:";
const storage = {
  getItem: (key) => localStorage.getItem(PREFIX + key),
  setItem: (key, value) => localStorage.setItem(PREFIX + key, value),
  removeItem: (key) => localStorage.removeItem(PREFIX + key),
  get length() {
    return ownKeys().length;
  },
  clear: () => ownKeys().forEach((key) => localStorage.removeItem(key)),
};

function ownKeys() {
  return Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
}

function stored(key) {
  try {
    return JSON.parse(storage.getItem(key));
  } catch {
    return null;
  }
}

function put(key, value) {
  if (value) storage.setItem(key, value);
  else storage.removeItem(key);
}

function exampleTab({ name, query, variables }) {
  const operationName = /^\s*(?:query|mutation|subscription)\s+(\w+)/m.exec(query)?.[1] ?? null;
  return {
    // Browsers give crypto.randomUUID only to pages from loopback or over TLS.
    id: `${Date.now()}-${Math.random()}`,
    title: operationName ?? "<untitled>",
    query: `# ${name.replace(/\s+/g, " ")}\n\n${query.trim()}\n`,
    variables: variables || null,
    headers: null,
    operationName,
    response: null,
  };
}

// An example is opened once, whatever becomes of its tab: the names of those opened are remembered, so that a closed one stays
// closed, an edited one stays edited, and one that the service offers for the first time still appears.
function openNewExamples() {
  const examples = JSON.parse(document.getElementById("examples").textContent);
  const state = stored("graphiql:tabState");
  const tabs = Array.isArray(state?.tabs) ? state.tabs : [];
  const opened = tabs.length ? (stored("examples") ?? []) : [];
  const fresh = examples.filter(({ name }) => !opened.includes(name));
  const activeTabIndex = tabs.length ? Math.min(Math.max(state.activeTabIndex ?? 0, 0), tabs.length - 1) : 0;
  if (tabs.length + fresh.length === 0) return;

  tabs.push(...fresh.map(exampleTab));
  put("graphiql:tabState", JSON.stringify({ tabs, activeTabIndex }));
  put("examples", JSON.stringify([...opened, ...fresh.map(({ name }) => name)]));
  // GraphiQL keeps the open query a second time, and adds a tab when that copy is not among the tabs: when the page was left
  // before both had been written, every visit would leave another copy.
  put("graphiql:query", tabs[activeTabIndex].query);
  put("graphiql:variables", tabs[activeTabIndex].variables);
  put("graphiql:headers", tabs[activeTabIndex].headers);
  if (!state) put("graphiql:visiblePlugin", "Documentation Explorer");
}

async function fetcher(request, { headers } = {}) {
  const response = await fetch("/graphql", {
    method: "POST",
    headers: new Headers({
      "Content-Type": "application/json",
      Accept: "application/graphql-response+json, application/json",
      ...headers,
    }),
    body: JSON.stringify(request),
  });
  if (!/[/+]json\b/.test(response.headers.get("Content-Type"))) {
    throw new Error(`${response.status} ${response.statusText}: ${await response.text()}`);
  }
  return response.json();
}

openNewExamples();
createRoot(document.getElementById("graphiql")).render(
  <GraphiQL
    fetcher={fetcher}
    storage={storage}
    schemaDescription
    inputValueDeprecation
    isHeadersEditorEnabled
    defaultEditorToolsVisibility
    // Headers hold keys: they are kept in the browser only when somebody has asked for it in the settings.
    showPersistHeadersSettings
    shouldPersistHeaders={storage.getItem("graphiql:shouldPersistHeaders") === "true"}
  >
    <GraphiQL.Logo>Headwater</GraphiQL.Logo>
  </GraphiQL>,
);
