// Bundles the page into dist/, without references to other hosts.
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const dist = `${here}dist`;

// Two thirds of GraphiQL's stylesheet are inline fonts. As files, a browser fetches only the fonts whose characters are on the
// page, and the content security policy need not allow data: addresses for fonts.
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

// Monaco's modules import stylesheets that are part of GraphiQL's stylesheet.
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
  // GraphiQL imports prettier's parsers by their old CommonJS names, whose exports are lost in a bundle.
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
// Last: make and the service take dist/graphiql.js as the sign of a complete build.
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
