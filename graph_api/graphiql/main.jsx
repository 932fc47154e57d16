import { useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { GraphiQL } from "graphiql";
import "graphiql/style.css";
import { useEffect } from "react";
import { createRoot } from "react-dom/client";

const WORKERS = { graphql: "graphql.worker.js", json: "json.worker.js" };

// Monaco requests workers by language. A language without a service gets the plain editor worker.
globalThis.MonacoEnvironment = {
  getWorker: (_, label) => new Worker(`/graphiql/${WORKERS[label] ?? "editor.worker.js"}`, { name: label }),
};

// All GraphiQL pages of an origin use the same keys, and many run at 127.0.0.1:8000. A prefix separates our tabs from theirs.
const PREFIX = "headwater:";

// GraphiQL stores the headers of executed requests under these keys, even if headers are not to be persisted.
const HISTORY = ["graphiql:queries", "graphiql:favorites"];

function withoutHeaders(value) {
  if (persistsHeaders()) return value;
  return JSON.stringify(JSON.parse(value), (name, part) => (name === "headers" ? undefined : part));
}

// Headers hold API keys: the browser stores them only if the user has enabled that in the settings.
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

function readStored(key) {
  try {
    return JSON.parse(storage.getItem(key));
  } catch {
    return null;
  }
}

function writeStored(key, value) {
  if (value) storage.setItem(key, value);
  else storage.removeItem(key);
}

function exampleTab({ name, query, variables }) {
  const operationName = /^\s*(?:query|mutation|subscription)\s+(\w+)/m.exec(query)?.[1] ?? null;
  return {
    // Browsers provide crypto.randomUUID only to pages from loopback or over TLS.
    id: `${Date.now()}-${Math.random()}`,
    title: operationName ?? "<untitled>",
    query: `# ${name.replace(/\s+/g, " ")}\n\n${query.trim()}\n`,
    variables: variables || null,
    headers: null,
    operationName,
    response: null,
  };
}

// Opens each example once. The names of opened examples are stored, so that a closed tab stays closed, an edited tab stays
// edited, and a new example of the service still appears.
function openNewExamples() {
  const examples = JSON.parse(document.getElementById("examples").textContent);
  const state = readStored("graphiql:tabState");
  const tabs = Array.isArray(state?.tabs) ? state.tabs : [];
  const opened = tabs.length ? (readStored("examples") ?? []) : [];
  const unopened = examples.filter(({ name }) => !opened.includes(name));
  const activeTabIndex = tabs.length ? Math.min(Math.max(state.activeTabIndex ?? 0, 0), tabs.length - 1) : 0;
  if (tabs.length + unopened.length === 0) return;

  tabs.push(...unopened.map(exampleTab));
  writeStored("graphiql:tabState", JSON.stringify({ tabs, activeTabIndex }));
  writeStored("examples", JSON.stringify([...opened, ...unopened.map(({ name }) => name)]));
  // GraphiQL stores a second copy of the active query, and adds a tab if that copy is not among the tabs. A page left before both
  // were written would get another tab at every visit.
  writeStored("graphiql:query", tabs[activeTabIndex].query);
  writeStored("graphiql:variables", tabs[activeTabIndex].variables);
  writeStored("graphiql:headers", tabs[activeTabIndex].headers);
  if (!state) writeStored("graphiql:visiblePlugin", "Documentation Explorer");
}

const CREDENTIALS = ["X-API-Key", "Authorization"];

// The credentials entered last, in any tab. Tabs without credentials and the introspection use them. They are kept only while the
// page is open.
let entered = {};

function credentialsIn(headers) {
  const present = CREDENTIALS.map((name) => [name, headers.get(name)]);
  return Object.fromEntries(present.filter(([, value]) => value && !/^bearer$/i.test(value)));
}

const hasCredentials = (credentials) => Object.keys(credentials).length > 0;

function remember(headers) {
  const credentials = credentialsIn(headers);
  if (hasCredentials(credentials)) entered = credentials;
}

// Returns null while the text is not JSON, as most of the time during typing.
function credentialsTyped(text) {
  try {
    return credentialsIn(new Headers(text?.trim() ? JSON.parse(text) : {}));
  } catch {
    return null;
  }
}

function withCredentials(tabHeaders) {
  const headers = new Headers({
    "Content-Type": "application/json",
    Accept: "application/graphql-response+json, application/json",
    ...tabHeaders,
  });
  remember(headers);
  // An empty header, prepared for a key, is not sent.
  CREDENTIALS.forEach((name) => headers.delete(name));
  Object.entries(entered).forEach(([name, value]) => headers.set(name, value));
  return headers;
}

// Creates an error without a stack, which GraphiQL would show.
function failure(message) {
  const error = new Error(message);
  delete error.stack;
  return error;
}

async function fetcher(request, { headers: tabHeaders } = {}) {
  let headers, response;
  try {
    headers = withCredentials(tabHeaders);
  } catch (error) {
    throw failure(`The request was not sent, because its headers are invalid: ${error.message}`);
  }
  try {
    response = await fetch("/graphql", { method: "POST", headers, body: JSON.stringify(request) });
  } catch (error) {
    throw failure(`No response from ${location.origin}: ${error.message}`);
  }
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    throw failure(`${response.status} ${response.statusText}: ${text.slice(0, 1000)}`);
  }
}

// Uses credentials from the moment they are typed, and stops when they are removed. If there is no schema yet, because the service
// requires a key, introspection runs again after one is entered.
function HeadersWatcher() {
  const { introspect } = useGraphiQLActions();
  const { editor, schema } = useGraphiQL(({ headerEditor, schema }) => ({ editor: headerEditor, schema }));
  useEffect(() => {
    if (!editor) return;
    let timer;
    let previous = credentialsTyped(editor.getValue()) ?? {};
    const listener = editor.onDidChangeModelContent(({ isFlush }) => {
      const now = credentialsTyped(editor.getValue());
      if (!now) return;
      // A flush replaces the headers by those of another tab: nothing was typed.
      if (!isFlush && (hasCredentials(now) || hasCredentials(previous))) entered = now;
      previous = now;
      clearTimeout(timer);
      if (!schema) timer = setTimeout(() => hasCredentials(entered) && introspect(), 500);
    });
    return () => {
      clearTimeout(timer);
      listener.dispose();
    };
  }, [editor, schema, introspect]);
  return null;
}

const root = document.getElementById("graphiql");
const requireAuth = "requireAuth" in root.dataset;
const persistHeaders = persistsHeaders();

openNewExamples();
if (persistHeaders) {
  const persisted = (readStored("graphiql:tabState")?.tabs ?? []).map(({ headers }) => credentialsTyped(headers) ?? {});
  entered = persisted.findLast(hasCredentials) ?? {};
}
createRoot(root).render(
  <GraphiQL
    fetcher={fetcher}
    storage={storage}
    schemaDescription
    inputValueDeprecation
    isHeadersEditorEnabled
    defaultEditorToolsVisibility={requireAuth ? "headers" : true}
    defaultHeaders={requireAuth ? '{ "X-API-Key": "" }' : undefined}
    showPersistHeadersSettings
    shouldPersistHeaders={persistHeaders}
  >
    <GraphiQL.Logo>Headwater</GraphiQL.Logo>
    <HeadersWatcher />
  </GraphiQL>,
);
