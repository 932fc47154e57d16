import { useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { GraphiQL } from "graphiql";
import "graphiql/style.css";
import { useEffect } from "react";
import { createRoot } from "react-dom/client";

const WORKERS = { graphql: "graphql.worker.js", json: "json.worker.js" };

// Monaco asks for its workers by language; whatever it does not know a language service for gets the plain one.
globalThis.MonacoEnvironment = {
  getWorker: (_, label) => new Worker(`/graphiql/${WORKERS[label] ?? "editor.worker.js"}`, { name: label }),
};

// Every GraphiQL on an origin uses the same keys, and 127.0.0.1:8000 has seen many: a prefix keeps their tabs apart from ours.
const PREFIX = "headwater:";

// GraphiQL writes down the headers of what was run, whether they are to be kept or not.
const HISTORY = ["graphiql:queries", "graphiql:favorites"];

function withoutHeaders(value) {
  if (persistsHeaders()) return value;
  return JSON.stringify(JSON.parse(value), (name, it) => (name === "headers" ? undefined : it));
}

// Headers hold keys: they are kept in the browser only when somebody has asked for it in the settings.
function persistsHeaders() {
  return storage.getItem("graphiql:shouldPersistHeaders") === "true";
}

const storage = {
  getItem: (key) => localStorage.getItem(PREFIX + key),
  setItem: (key, value) => localStorage.setItem(PREFIX + key, HISTORY.includes(key) ? withoutHeaders(value) : value),
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

const CREDENTIALS = ["X-API-Key", "Authorization"];

// What was entered last, in whichever tab: those that give nothing come in with it, and so does who asks for the schema. It is
// kept as long as the page is open, and nowhere else.
let entered = {};

function credentialsIn(headers) {
  const given = CREDENTIALS.map((name) => [name, headers.get(name)]);
  return Object.fromEntries(given.filter(([, value]) => value && !/^bearer$/i.test(value)));
}

const holds = (credentials) => Object.keys(credentials).length > 0;

function remember(headers) {
  const credentials = credentialsIn(headers);
  if (holds(credentials)) entered = credentials;
}

// What is being typed is no JSON most of the time, and then tells nothing.
function credentialsTyped(text) {
  try {
    return credentialsIn(new Headers(text?.trim() ? JSON.parse(text) : {}));
  } catch {
    return null;
  }
}

function withCredentials(given) {
  const headers = new Headers({
    "Content-Type": "application/json",
    Accept: "application/graphql-response+json, application/json",
    ...given,
  });
  remember(headers);
  // one that is only prepared for a key is not sent
  CREDENTIALS.forEach((name) => headers.delete(name));
  Object.entries(entered).forEach(([name, value]) => headers.set(name, value));
  return headers;
}

// GraphiQL shows where in the bundle an error arose, unless there is nothing to show.
function failure(message) {
  const error = new Error(message);
  delete error.stack;
  return error;
}

async function fetcher(request, { headers: given } = {}) {
  let headers, response;
  try {
    headers = withCredentials(given);
  } catch (error) {
    throw failure(`Nothing was sent, for these headers cannot be: ${error.message}`);
  }
  try {
    response = await fetch("/graphql", { method: "POST", headers, body: JSON.stringify(request) });
  } catch (error) {
    throw failure(`No answer came from ${location.origin}: ${error.message}`);
  }
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    throw failure(`${response.status} ${response.statusText}: ${text.slice(0, 1000)}`);
  }
}

// What is typed as a key is used from then on, and what is taken out where it stood is not. Where the schema is shown to nobody
// without a key, it is asked for again when one has been entered.
function HeadersWatched() {
  const { introspect } = useGraphiQLActions();
  const { editor, schema } = useGraphiQL(({ headerEditor, schema }) => ({ editor: headerEditor, schema }));
  useEffect(() => {
    if (!editor) return;
    let waiting;
    let shown = credentialsTyped(editor.getValue()) ?? {};
    const listening = editor.onDidChangeModelContent(({ isFlush }) => {
      const now = credentialsTyped(editor.getValue());
      if (!now) return;
      // another tab's headers, put in their place, are not typed
      if (!isFlush && (holds(now) || holds(shown))) entered = now;
      shown = now;
      clearTimeout(waiting);
      if (!schema) waiting = setTimeout(() => holds(entered) && introspect(), 500);
    });
    return () => {
      clearTimeout(waiting);
      listening.dispose();
    };
  }, [editor, schema, introspect]);
  return null;
}

const root = document.getElementById("graphiql");
const guarded = "guarded" in root.dataset;
const persistHeaders = persistsHeaders();

openNewExamples();
if (persistHeaders) {
  const kept = (stored("graphiql:tabState")?.tabs ?? []).map(({ headers }) => credentialsTyped(headers) ?? {});
  entered = kept.findLast(holds) ?? {};
}
createRoot(root).render(
  <GraphiQL
    fetcher={fetcher}
    storage={storage}
    schemaDescription
    inputValueDeprecation
    isHeadersEditorEnabled
    defaultEditorToolsVisibility={guarded ? "headers" : true}
    defaultHeaders={guarded ? '{ "X-API-Key": "" }' : undefined}
    showPersistHeadersSettings
    shouldPersistHeaders={persistHeaders}
  >
    <GraphiQL.Logo>Headwater</GraphiQL.Logo>
    <HeadersWatched />
  </GraphiQL>,
);
