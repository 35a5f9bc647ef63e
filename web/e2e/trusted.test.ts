/** Markup under Trusted Types, and where others decide what may be trusted. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

describe('markup', () => {
  // It makes its policy once.
  let setMarkup: (element: Element, markup: string) => void;
  beforeEach(async () => {
    vi.resetModules();
    ({ setMarkup } = await import('../src/shared/trusted'));
  });
  afterEach(() => vi.unstubAllGlobals());

  function shown(): unknown[] {
    const element = { innerHTML: '' };
    return ['<b>1</b>', '<b>2</b>'].map((markup) => {
      setMarkup(element as Element, markup);
      return element.innerHTML;
    });
  }

  it('is text where there are no Trusted Types', () => {
    vi.stubGlobal('trustedTypes', undefined);
    expect(shown()).toEqual(['<b>1</b>', '<b>2</b>']);
  });

  it('is trusted by the one policy of this program', () => {
    const made: string[] = [];
    const createPolicy = (name: string, rules: { createHTML(html: string): string }) => {
      made.push(name);
      return { createHTML: (html: string) => ({ trusted: rules.createHTML(html) }) };
    };
    vi.stubGlobal('trustedTypes', { createPolicy });
    expect(shown()).toEqual([{ trusted: '<b>1</b>' }, { trusted: '<b>2</b>' }]);
    expect(made).toEqual(['airwave']);
  });

  it('is text in a page that has other policies', () => {
    const createPolicy = () => {
      throw new TypeError('Policy "airwave" disallowed.');
    };
    vi.stubGlobal('trustedTypes', { createPolicy });
    expect(shown()).toEqual(['<b>1</b>', '<b>2</b>']);
  });
});
