// The quality menu of our player.

const WAIT = { timeout: 60_000, polling: 50 };

/** Chooses this entry, and answers with all that are offered. `shown` is called while the menu is open. */
export async function pick(page, label, shown = () => {}) {
  await page.locator('airwave-player [data-part="settings"]').click();
  const offered = await page.locator('airwave-player [data-part="menu"] button').allTextContents();
  await shown();
  await page.locator('airwave-player [data-part="menu"] button', { hasText: label }).first().click();
  if (await page.locator('airwave-player [data-part="menu"]').isVisible()) await page.keyboard.press('Escape');
  return offered;
}

/** The menu is there. */
export function menuIsThere(page) {
  return page.locator('airwave-player [data-part="settings"]').waitFor({ state: 'visible', timeout: WAIT.timeout });
}
