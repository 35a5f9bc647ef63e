import { expect, it } from 'vitest';
import { compressedBytes } from '../budget.ts';
import { inkOn } from '../src/embed/colours';
import { parseOptions, pictureUrl } from '../src/embed/options';
import { embedCode } from '../src/shared/embed';
import { parseSeconds } from '../src/shared/seconds';

const plain = parseOptions(new URLSearchParams());

it.each<[string, Partial<typeof plain>]>([
  ['', { autoplay: false, muted: false, loop: false, controls: true, dvr: false, preload: 'metadata', startS: 0, poster: null, clientBandwidthHint: null, adUrl: null }],
  ['autoplay=true&muted=true&loop=true', { autoplay: true, muted: true, loop: true }],
  ['autoplay&muted=', { autoplay: true, muted: true }],
  ['autoplay=false&muted=0&controls=FALSE', { autoplay: false, muted: false, controls: false }],
  ['controls=true', { controls: true }],
  ['preload=none', { preload: 'none' }],
  ['preload=auto', { preload: 'auto' }],
  ['preload', { preload: 'auto' }],
  ['preload=true', { preload: 'auto' }],
  ['preload=metadata', { preload: 'metadata' }],
  ['preload=everything', { preload: 'metadata' }],
  ['primaryColor=%23f48120&letterboxColor=transparent', { primaryColor: '#f48120', letterboxColor: 'transparent' }],
  ['defaultTextTrack=pt-BR', { defaultTextTrack: 'pt-BR' }],
  ['startTime=1h12m27s', { startS: 4347 }],
  ['dvrEnabled=true', { dvr: true }],
  ['clientBandwidthHint=1.8', { clientBandwidthHint: '1.8' }],
  ['poster=https%3A%2F%2Fa.example%2Fb.jpg%3Fc%3Dd', { poster: 'https://a.example/b.jpg?c=d' }],
  ['ad-url=https%3A%2F%2Fads.example%2Fvast%3Fa%3Db', { adUrl: 'https://ads.example/vast?a=b' }],
])('the query "%s"', (query, expected) => {
  expect(parseOptions(new URLSearchParams(query))).toEqual({ ...plain, ...expected });
});

it.each([
  ['123', 123],
  ['12.5', 12.5],
  ['90s', 90],
  ['2m', 120],
  ['1h', 3600],
  ['1h12m27s', 4347],
  ['1H2S', 3602],
  ['-5', 0],
  ['1e9', 0],
  ['soon', 0],
  ['', 0],
  [null, 0],
])('start time %s', (value, expected) => {
  expect(parseSeconds(value)).toBe(expected);
});

it.each([
  ['https://a.example/b.jpg', 'https://a.example/b.jpg'],
  ['/poster.jpg?x=1', '/poster.jpg?x=1'],
  ['javascript:alert(1)', null],
  ['data:image/svg+xml,<svg/>', null],
  ['blob:https://a/b', null],
  ['http://', null],
  ['', null],
  [null, null],
])('poster %s', (value, expected) => {
  expect(pictureUrl(value)).toBe(expected);
});

it.each([
  ['rgb(255, 255, 255)', '#10151c'],
  ['rgb(0, 0, 0)', '#ffffff'],
  ['rgb(244, 129, 32)', '#10151c'],
  ['rgb(20, 60, 160)', '#ffffff'],
  ['rgba(20, 60, 160, 0.9)', '#ffffff'],
  ['color(display-p3 1 0 0)', '#10151c'],
])('ink on %s', (computed, expected) => {
  expect(inkOn(computed)).toBe(expected);
});

it('a hostile name stays inside its attribute', () => {
  const code = embedCode('https://live.example.org', '0a/../b"', `"><script>alert('1')</script>&`);
  expect(code).toBe(
    '<iframe src="https://live.example.org/0a%2F..%2Fb%22/iframe" title="&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;" style="border: 0; width: 100%; aspect-ratio: 16 / 9" allow="autoplay; fullscreen; picture-in-picture" allowfullscreen></iframe>',
  );
});

it('the code of a clip is that of the clip', () => {
  const code = embedCode('https://live.example.org', 'a.b.c', '', 'time=1s&duration=2s');
  expect(code).toContain('<iframe src="https://live.example.org/a.b.c/iframe?time=1s&amp;duration=2s" title="Video player"');
});

it('the budget counts what a page loads, also later, but for what is apart', () => {
  const chunk = (name: string, size: number, more: object = {}) => ({
    type: 'chunk' as const,
    fileName: `${name}.js`,
    name,
    // Compresses to about its size.
    code: Array.from({ length: size }, (_, at) => ((at * 7919) % 997).toString(36)).join(''),
    imports: [] as string[],
    dynamicImports: [] as string[],
    facadeModuleId: null as string | null,
    ...more,
  });
  const bundle = {
    'page.js': chunk('page', 100, { facadeModuleId: '/x/embed.html', imports: ['player.js'], viteMetadata: { importedCss: new Set(['a.css']) } }),
    'player.js': chunk('player', 100, { dynamicImports: ['big.js', 'later.js'], imports: ['page.js'] }),
    'later.js': chunk('later', 100),
    'big.js': chunk('big', 5000),
    'other.js': chunk('other', 5000),
    'a.css': { type: 'asset' as const, fileName: 'a.css', source: 'a{}' },
  };
  const without = compressedBytes(bundle, 'embed.html', ['big']);
  const all = compressedBytes(bundle, 'embed.html', []);
  expect(without).toBeGreaterThan(300);
  expect(without).toBeLessThan(1500);
  expect(all).toBeGreaterThan(without + 1000);
  expect(() => compressedBytes(bundle, 'watch.html', [])).toThrow('no watch.html');
});
