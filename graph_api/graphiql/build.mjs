// Bundles the page into dist/, with nothing left to fetch from anywhere else.
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const dist = `${here}dist`;

// GraphiQL's stylesheet carries its fonts inline, two thirds of it. As files, a browser fetches only those whose letters are on
// the page, and the page's policy need not allow fonts from data: addresses.
const fontsAsFiles = {
  name: "fonts-as-files",
  setup({ onLoad }) {
    onLoad({ filter: /graphiql[/\\]dist[/\\]style\.css$/ }, async ({ path }) => {
      const fonts = new Map();
      const css = (await readFile(path, "utf8")).replace(
        /url\(["']?data:font\/(\w+);(?:charset=[\w-]+;)?base64,([^"')]+)["']?\)/g,
        (_, kind, data) => {
          const name = `fonts/${createHash("sha256").update(data).digest("hex").slice(0, 8)}.${kind}`;
          fonts.set(name, Buffer.from(data, "base64"));
          return `url("/graphiql/${name}")`;
        },
      );
      await mkdir(`${dist}/fonts`, { recursive: true });
      await Promise.all([...fonts].map(([name, bytes]) => writeFile(`${dist}/${name}`, bytes)));
      return { contents: css, loader: "css" };
    });
  },
};

// Monaco's modules import their own stylesheets; GraphiQL's has all of them already.
const withoutMonacoStyles = {
  name: "without-monaco-styles",
  setup({ onLoad }) {
    onLoad({ filter: /monaco-editor[/\\].*\.css$/ }, () => ({ contents: "", loader: "empty" }));
  },
};

const common = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  target: "es2022",
  legalComments: "linked",
  // GraphiQL names prettier's parsers by their old, CommonJS names, whose exports are lost in the bundle.
  alias: { "prettier/parser-babel": "prettier/plugins/babel", "prettier/parser-graphql": "prettier/plugins/graphql" },
  define: { "process.env.NODE_ENV": '"production"' },
  logLevel: "warning",
  outdir: dist,
};

await rm(dist, { recursive: true, force: true });
await build({
  ...common,
  entryPoints: {
    "editor.worker": "monaco-editor/esm/vs/editor/editor.worker.js",
    "graphql.worker": "monaco-graphql/esm/graphql.worker.js",
    "json.worker": "monaco-editor/esm/vs/language/json/json.worker.js",
  },
  format: "iife",
});
// Last, for dist/graphiql.js is what make and the service take as the sign of a whole build.
await build({
  ...common,
  entryPoints: { graphiql: "main.jsx" },
  format: "esm",
  splitting: true,
  chunkNames: "chunks/[name]-[hash]",
  jsx: "automatic",
  external: ["/graphiql/*"],
  plugins: [fontsAsFiles, withoutMonacoStyles],
});
