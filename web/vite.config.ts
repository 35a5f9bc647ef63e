import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';
import { budget } from './budget.ts';
import { compressed } from './compressed.ts';

/** What the player may cost a visitor before the first byte of media, hls.js apart. */
const PLAYER_KB_MAX = 60;

export default defineConfig({
  plugins: [svelte(), budget('embed.html', PLAYER_KB_MAX, ['hls-engine']), compressed()],
  base: '/',
  appType: 'mpa',
  build: {
    outDir: 'dist',
    assetsDir: 'assets',
    target: 'es2022',
    // The pages run under `default-src 'self'`: no data: URLs, no inline polyfill.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // hls.js is one lazily loaded chunk of about 600 kB; that is known and wanted.
    chunkSizeWarningLimit: 700,
    rolldownOptions: {
      input: { index: 'index.html', watch: 'watch.html', embed: 'embed.html', publish: 'publish.html' },
    },
  },
});
