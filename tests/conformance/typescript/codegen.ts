import type { CodegenConfig } from "@graphql-codegen/cli";

const config: CodegenConfig = {
  schema: "schema.graphql",
  documents: "program.ts",
  emitLegacyCommonJSImports: false,
  generates: {
    "generated/": {
      preset: "client",
      presetConfig: { fragmentMasking: false },
      config: {
        scalars: { DateTime: "string", UUID: "string", JSON: "unknown", _Any: "unknown" },
        strictScalars: true,
        useTypeImports: true,
        documentMode: "string",
      },
    },
  },
};

export default config;
