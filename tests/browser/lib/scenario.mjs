// What the page checks share: a browser, a page per scenario, waiting for states, counting, screenshots.
// Nothing here waits for time to pass: `until` and `settled` wait for what the next step needs.
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { launch, Missing, modulePath } from './chromium.mjs';

/** How long anything is waited for: what hangs, not what is slow. */
const PATIENCE_MS = 60_000;

/** A scenario that takes longer hangs: a promise in the page that never comes has no deadline of its own. */
const SCENARIO_MS = 400_000;

const axe = () => readFileSync(modulePath('axe-core/axe.min.js'), 'utf8');

export class Scenarios {
  checks = [];

  /** `skippedBy`: the name in AIRWAVE_TEST_SKIP that switches all of it off; it is then logged as `name`. */
  static async start({ screenshots, only, report, skippedBy = null, name = null }) {
    const scenarios = new Scenarios();
    Object.assign(scenarios, { screenshots, only, report });
    const off = (process.env.AIRWAVE_TEST_SKIP ?? '').split(',').map((entry) => entry.trim());
    if (off.includes(skippedBy) || off.includes(name)) {
      if (process.env.AIRWAVE_SKIP_LOG) appendFileSync(process.env.AIRWAVE_SKIP_LOG, `AIRWAVE-SKIPPED ${name}\n`);
      process.stderr.write(`${name} is switched off by AIRWAVE_TEST_SKIP\n`);
      process.exit(await scenarios.finish());
    }
    if (screenshots) mkdirSync(screenshots, { recursive: true });
    scenarios.browser = await launch().catch((error) => {
      process.stderr.write(`${error.message}\n`);
      process.exit(error instanceof Missing ? 2 : 1);
    });
    return scenarios;
  }

  check = (name, passed, detail = '') => {
    this.checks.push({ name, passed: Boolean(passed), detail });
    process.stderr.write(`${passed ? 'ok  ' : 'FAIL'} ${name} ${passed ? '' : JSON.stringify(detail)}\n`);
  };

  wanted(name) {
    return !this.only || this.only.split(',').includes(name);
  }

  /** `mayFail`: addresses whose absence is no error. `browser`: another one than that of most. */
  async run(name, url, body, { browser = this.browser, viewport = { width: 1280, height: 800 }, expectErrors = false, mayFail = null, ...context } = {}) {
    const page = await browser.newPage({ viewport, colorScheme: 'dark', ...context });
    page.setDefaultTimeout(PATIENCE_MS);
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => {
      if (message.type() !== 'error' || mayFail?.test(message.location().url)) return;
      errors.push(`${message.text()} ${message.location().url}`);
    });
    const tools = this.tools(page, url);
    const overdue = deadline(SCENARIO_MS, `not through after ${SCENARIO_MS / 1000} s`);
    try {
      await Promise.race([body(tools), overdue.rejects]);
      if (!expectErrors) this.check(`${name}: no page or policy errors`, errors.length === 0, errors.slice(0, 3));
    } catch (error) {
      this.check(name, false, error.message.slice(0, 600));
      if (this.screenshots) await page.screenshot({ path: path.join(this.screenshots, `failed-${name}.png`) }).catch(() => {});
    } finally {
      overdue.clear();
    }
    await page.close();
  }

  tools(page, url) {
    return {
      page,
      open: (route) => page.goto(url + route, { waitUntil: 'domcontentloaded' }),
      stats: () => page.evaluate(() => document.querySelector('airwave-player').stats),
      /** Whether a state was reached. */
      until: (state, { arg, timeout = PATIENCE_MS } = {}) =>
        page.waitForFunction(state, arg, { timeout, polling: 50 }).then(() => true, () => false),
      /** Every animation that ends has ended, in the page and in the player. */
      settled: () => page.evaluate(settle),
      shadow: (selector) => page.locator('airwave-player').locator(selector),
      /** Looks at a state: axe must find nothing, and a picture is kept for those who want to see it. */
      shot: async (file, more = {}) => {
        if (this.screenshots) await page.screenshot({ path: path.join(this.screenshots, `${file}.png`), ...more });
        const found = await violations(page);
        this.check(`${file}: axe finds nothing`, found.length === 0, found);
      },
      narrow: () => page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth),
    };
  }

  /** Prints the report; returns the exit code. */
  async finish() {
    await this.browser?.close();
    const failed = this.checks.filter(({ passed }) => !passed).length;
    const report = JSON.stringify({ passed: this.checks.length - failed, failed, checks: this.checks });
    if (this.report) writeFileSync(this.report, report);
    else process.stdout.write(`${report}\n`);
    return failed > 0 ? 1 : 0;
  }
}

function deadline(ms, message) {
  let timer;
  const rejects = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(message)), ms);
  });
  return { rejects, clear: () => clearTimeout(timer) };
}

/** By the debugger, which no content security policy keeps out. */
async function violations(page) {
  if (await page.evaluate(() => !('axe' in window))) await page.evaluate(axe());
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 200)} ${failureSummary}`).join('; ')}`);
}

/** Runs in the page. A style that changed starts its transition with the next frame, hence two of them. */
async function settle() {
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  await frame();
  await frame();
  const roots = [document, ...[...document.querySelectorAll('airwave-player')].map(({ shadowRoot }) => shadowRoot)];
  const running = roots.flatMap((root) => root.getAnimations());
  const ending = running.filter((animation) => Number.isFinite(animation.effect.getComputedTiming().endTime));
  await Promise.all(ending.map(({ finished }) => finished.catch(() => {})));
}
