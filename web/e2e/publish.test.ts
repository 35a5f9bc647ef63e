/** The publisher page's pure parts. Codes are read by another program. */
import jsQR from 'jsqr';
import { describe, expect, it } from 'vitest';
import { makeLink, onlyHere, readLink } from '../src/publish/link';
import { qrCode } from '../src/publish/qr';

/** As a camera has it: eight pixels a module, with a margin. */
function read(code: boolean[][]): string | undefined {
  const scale = 8;
  const size = (code.length + 8) * scale;
  const pixels = new Uint8ClampedArray(size * size * 4).fill(255);
  code.forEach((row, y) => {
    row.forEach((dark, x) => {
      if (!dark) return;
      for (let dy = 0; dy < scale; dy++) {
        const at = (((y + 4) * scale + dy) * size + (x + 4) * scale) * 4;
        for (let dx = 0; dx < scale; dx++) pixels.fill(0, at + dx * 4, at + dx * 4 + 3);
      }
    });
  });
  return jsQR(pixels, size, size)?.data;
}

describe('QR codes', () => {
  it('are read in every size that is made', () => {
    const sizes = new Set<number>();
    for (let length = 1; length <= 412; length += 9) {
      const text = Array.from({ length }, (_, at) => String.fromCharCode(33 + ((at * 7 + length) % 90))).join('');
      const code = qrCode(text);
      expect(code, String(length)).not.toBeNull();
      expect(read(code ?? []), String(length)).toBe(text);
      sizes.add(code?.length ?? 0);
    }
    expect(sizes.size).toBe(15);
  });

  it('hold what is no ASCII, and nothing that is too long', () => {
    expect(read(qrCode('Grüße') ?? [])).toBe('Grüße');
    expect(qrCode('x'.repeat(412))).not.toBeNull();
    expect(qrCode('x'.repeat(413))).toBeNull();
  });
});

describe('links', () => {
  it('say input and key behind the #', () => {
    const key = { input: '00ab', key: 'a+b/c=&d' };
    const link = makeLink('https://live.example:8443/publish?x#y', key);
    expect(link.startsWith('https://live.example:8443/publish#input=00ab&key=')).toBe(true);
    expect(readLink(new URL(link).hash)).toEqual(key);
    expect(readLink('')).toEqual({ input: '', key: '' });
  });

  it.each([
    ['http://localhost:8080/publish', true],
    ['http://127.0.0.1/publish', true],
    ['https://[::1]:8443/publish', true],
    ['https://192.168.1.20:8443/publish', false],
    ['https://localhost.example/publish', false],
  ])('%s is only for this machine: %s', (page, only) => {
    expect(onlyHere(page)).toBe(only);
  });
});
