import { defineConfig } from "vite";

// The built files are part of the Python package: `routemoa serve` serves them, and CI builds them again and compares.
// Paths are relative, so that the page also works behind a proxy that serves it below a path.
export default defineConfig({
  base: "./",
  publicDir: false,
  esbuild: { jsx: "automatic", jsxImportSource: "preact", legalComments: "none" },
  build: {
    outDir: "../src/routemoa/gateway/ui/static",
    emptyOutDir: true,
    assetsDir: "ui/assets",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    target: "es2022",
    cssTarget: ["chrome123", "safari17.5", "firefox120"],
    reportCompressedSize: true,
  },
  server: { proxy: { "/v1": "http://127.0.0.1:8080", "/ui/api": "http://127.0.0.1:8080", "/admin": "http://127.0.0.1:8080" } },
});
