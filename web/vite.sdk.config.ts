/** `/embed/sdk.latest.js`: one classic script with a name that stays. */
import { defineConfig } from 'vite';

export default defineConfig({
  build: {
    outDir: 'dist/embed',
    target: 'es2022',
    lib: { entry: 'src/sdk/main.ts', formats: ['iife'], name: 'airwaveSdk', fileName: () => 'sdk.latest.js' },
  },
});
