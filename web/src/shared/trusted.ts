/** The one place where text becomes elements: only for markup that stands in this program, never for what came from outside. */

/** As the server's pages name it in their policy (`trusted-types`). */
const NAME = 'airwave';

/** Trusted Types, as far as they are used here; TypeScript's own library lacks them. */
interface Policy {
  createHTML(html: string): string;
}
interface Factory {
  createPolicy(name: string, rules: Policy): Policy;
}

let policy: Policy | null | undefined;

function made(): Policy | null {
  const { trustedTypes } = globalThis as { trustedTypes?: Factory };
  try {
    return trustedTypes?.createPolicy(NAME, { createHTML: (html) => html }) ?? null;
  } catch {
    // A page of somebody else's, which names others; or a second copy of this program in it. Most such pages ask for no policy.
    return null;
  }
}

export function setMarkup(element: Element | ShadowRoot, markup: string): void {
  policy ??= made();
  element.innerHTML = policy?.createHTML(markup) ?? markup;
}
