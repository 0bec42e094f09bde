import { defineConfig } from "vitest/config";

// `npm run dev` shows the page from here and asks a running dashboard for everything else.
const server = "http://127.0.0.1:8700";

export default defineConfig({
  base: "./",
  server: { proxy: { "/api": server, "/live": { target: server, ws: true } } },
  build: {
    outDir: "../streamweaver_dashboard/static",
    emptyOutDir: true,
    target: ["chrome120", "firefox121", "safari17"],
    // Inlined files would be data: addresses, which the content security policy of the server forbids.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  test: { include: ["test/**/*.test.ts"] },
});
