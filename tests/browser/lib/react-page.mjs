// The page of somebody who uses the React wrapper, built as they would: the package by its own build, then the page by a bundler.
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { modulePath } from './chromium.mjs';

const PACKAGE = fileURLToPath(new URL('../../../web/packages/react/', import.meta.url));
const PAGE = fileURLToPath(new URL('../pages/react.jsx', import.meta.url));

/** What is built hangs, if it takes longer. */
const BUILD_MS = 180_000;

/** The script of `pages/react.jsx`. */
export async function buildReactPage() {
  const folder = await mkdtemp(path.join(tmpdir(), 'airwave-react-'));
  try {
    // `npm run build` of the package, into another folder.
    const compiler = [modulePath('typescript/bin/tsc'), '-p', PACKAGE, '--outDir', folder];
    await promisify(execFile)(process.execPath, compiler, { timeout: BUILD_MS });
    const { build } = await import(pathToFileURL(modulePath('vite/dist/node/index.js')).href);
    const library = (name) => ({ find: new RegExp(`^${name}(?=/|$)`), replacement: modulePath(name) });
    const { output } = await build({
      configFile: false,
      logLevel: 'error',
      root: folder,
      resolve: { alias: [{ find: 'airwave-stream-react', replacement: path.join(folder, 'index.js') }, library('react-dom'), library('react')] },
      build: { write: false, minify: false, target: 'es2022', rolldownOptions: { input: PAGE } },
    });
    return output.find(({ type }) => type === 'chunk').code;
  } catch (error) {
    // What the compiler has to say stands on its standard output.
    throw new Error(`${error.message}\n${error.stdout ?? ''}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
