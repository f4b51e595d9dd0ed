import { gzipSync } from 'node:zlib';
import react from '@vitejs/plugin-react';
import { defineConfig, type Plugin } from 'vite';

/** Writes a packed copy beside each text file, so that the binary serves it without packing at run time. */
function packed(): Plugin {
  return {
    name: 'packed',
    apply: 'build',
    generateBundle: {
      order: 'post',
      handler(_, bundle) {
        for (const file of Object.values(bundle)) {
          if (!/\.(js|css|svg)$/.test(file.fileName)) continue;
          const source = Buffer.from(file.type === 'chunk' ? file.code : file.source);
          this.emitFile({ type: 'asset', fileName: `${file.fileName}.gz`, source: gzipSync(source, { level: 9 }) });
        }
      },
    },
  };
}

export default defineConfig({
  plugins: [react(), packed()],
  build: {
    target: 'es2023',
    // Nothing is inlined as data: the policy of the server allows images of this kind, but no fonts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1200,
    rolldownOptions: {
      onwarn(warning, warn) {
        // PatternFly marks its modules "use client"; that means nothing in a bundle for browsers.
        if (warning.code === 'MODULE_LEVEL_DIRECTIVE') return;
        warn(warning);
      },
    },
  },
  server: { proxy: { '/api': process.env.OCCM_SERVER ?? 'http://127.0.0.1:8480' } },
  test: { include: ['src/**/*.test.ts'], reporters: ['./tests/support/vitest-lines.ts'] },
} as Parameters<typeof defineConfig>[0]);
