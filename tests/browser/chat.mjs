// Two viewers who chat in Chromium. Each says something, then they stay until somebody says goodbye; prints what each has seen.
//   node chat.mjs --url http://HOST/ID/watch [--screenshot FILE]
import { parseArgs } from 'node:util';
import { launch } from './lib/chromium.mjs';

const { values: options } = parseArgs({ options: { url: { type: 'string' }, screenshot: { type: 'string' } } });
const TIMEOUT = 60_000;

const shows = (wanted) => [...document.querySelectorAll('.chat .messages p')].some((line) => line.textContent === wanted);
const seen = (page, wanted) => page.waitForFunction(shows, wanted, { timeout: TIMEOUT, polling: 50 });

const browser = await launch();
try {
  const pages = await Promise.all(['Ann', 'Otto'].map(() => browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: 'dark' })));
  await Promise.all(pages.map((page) => page.goto(options.url, { waitUntil: 'domcontentloaded' })));
  // Whoever could not open it over MoQ at once tries again.
  await Promise.all(pages.map((page) => page.locator('.chat[data-via=MoQ]').waitFor({ timeout: 3 * TIMEOUT })));
  for (const [at, name] of ['Ann', 'Otto'].entries()) {
    const page = pages[at];
    await page.locator('.chat .name').fill(name, { timeout: TIMEOUT });
    await page.locator('.chat .text').fill(`<i>hello</i> from ${name}`);
    await page.locator('.chat .text').press('Enter');
    for (const other of pages) await seen(other, `${name} <i>hello</i> from ${name}`);
  }
  for (const page of pages) await seen(page, 'Rust goodbye');
  if (options.screenshot) await pages[0].screenshot({ path: options.screenshot });
  const lines = (page) => page.evaluate(() => [...document.querySelectorAll('.chat .messages p')].map((line) => line.textContent));
  process.stdout.write(`${JSON.stringify(await Promise.all(pages.map(lines)))}\n`);
} finally {
  await browser.close();
}
