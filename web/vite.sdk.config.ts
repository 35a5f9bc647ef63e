/** `/embed/sdk.latest.js`: one classic script with a name that stays. */
import { defineConfig } from 'vite';
import { compressed } from './compressed.ts';

export default defineConfig({
  plugins: [compressed()],
  build: {
    outDir: 'dist/embed',
    target: 'es2022',
    lib: { entry: 'src/sdk/main.ts', formats: ['iife'], name: 'airwaveSdk', fileName: () => 'sdk.latest.js' },
  },
});
