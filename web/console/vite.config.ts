import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const api = process.env.TENURE_CONSOLE_API ?? "http://127.0.0.1:8080";

export default defineConfig({
  base: "/",
  plugins: [react()],
  resolve: { alias: { "@": here("./src") } },
  build: {
    outDir: here("../static/console"),
    emptyOutDir: true,
    assetsDir: "assets",
    // The policy of the pages is `default-src 'self'`: a data: URI would be refused.
    assetsInlineLimit: 0,
    target: "es2022",
    reportCompressedSize: false,
  },
  server: {
    proxy: {
      "/api": api,
      "/readyz": api,
      "/flower": api,
      "/ws": { target: api, ws: true },
    },
  },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
});
