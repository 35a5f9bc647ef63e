// Finds Chromium and the node modules of web/, or says in words what is missing.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(new URL('../../../web/package.json', import.meta.url));

/** How long anything is waited for: what hangs, not what is slow. */
const PATIENCE_MS = 60_000;

export class Missing extends Error {}

export function modulePath(name) {
  const path = fileURLToPath(new URL(`../../../web/node_modules/${name}`, import.meta.url));
  if (!existsSync(path)) throw new Missing(`${name} is not installed: run "npm ci" in web/`);
  return path;
}

// `home` is a folder with a certificate store of its own (.pki/nssdb).
export async function launch({ extraArgs = [], home } = {}) {
  modulePath('playwright-core/package.json');
  const { chromium } = require('playwright-core');
  const candidates = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
  const executablePath = candidates.find((candidate) => candidate && existsSync(candidate));
  if (!executablePath) throw new Missing('Chromium is not installed: install the package "chromium" or set CHROMIUM to its path');
  try {
    const browser = await chromium.launch({
      executablePath,
      headless: true,
      timeout: PATIENCE_MS,
      ...(home ? { env: { ...process.env, HOME: home } } : {}),
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--autoplay-policy=no-user-gesture-required',
        ...extraArgs,
      ],
    });
    // `newPage` makes its context by this, too.
    const newContext = browser.newContext.bind(browser);
    browser.newContext = async (options) => {
      const context = await newContext(options);
      context.setDefaultTimeout(PATIENCE_MS);
      return context;
    };
    return browser;
  } catch (error) {
    throw new Missing(`Chromium does not start: ${error.message}`);
  }
}
