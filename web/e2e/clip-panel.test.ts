// @vitest-environment happy-dom
/** The panel that clips are made in, while what it is open for begins, ends and is taken away. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Lifecycle } from '../src/player/session';
import { ClipPanel } from '../src/watch/clip';
import page from '../watch.html?raw';

const INPUT = 'a'.repeat(32);
const VIDEO = 'b'.repeat(32);
const LATER = 'c'.repeat(32);
const TOKEN = 'head.claims.signature';

/** What plays in the panel. */
class Picture extends HTMLElement {
  readonly video = Object.assign(new EventTarget(), { duration: NaN });
  currentTime = 0;
  pause(): void {}
}
customElements.define('airwave-player', Picture);

const said: Lifecycle = { isInput: true, videoUID: VIDEO, live: true, status: '', name: null, moq: null, clips: true, clipSeconds: 60 };
const over: Lifecycle = { ...said, live: false };
const element = (name: string) => document.getElementById(name) as HTMLInputElement & HTMLAnchorElement;
const words = () => element('clip-words').textContent;

/** The picture of the page. */
const main = { currentTime: 0, pause() {} };

/** What the server answers, by path. */
let answers: Record<string, { status: number; text: string; headers?: Record<string, string> }>;
let asked: string[];

const preview = { status: 200, text: '#EXTM3U\nvideo.cmaf.m3u8?segments=7-12\n', headers: { 'preview-start-seconds': '100', 'stream-media-id': VIDEO } };
const lifecycle = (of: Partial<Lifecycle>) => ({ status: 200, text: JSON.stringify({ ...over, isInput: false, ...of }) });

beforeEach(() => {
  // Without its scripts and styles.
  document.body.replaceChildren(...new DOMParser().parseFromString(page.slice(page.indexOf('<body')), 'text/html').body.children);
  [answers, asked] = [{}, []];
  vi.stubGlobal('fetch', (url: string) => {
    const path = url.split('?')[0] ?? '';
    asked.push(path);
    const { status, text, headers = {} } = answers[path] ?? { status: 404, text: 'no such video' };
    const all = new Headers({ 'content-type': 'text/plain', ...headers });
    return Promise.resolve({ status, ok: status === 200, headers: all, text: () => Promise.resolve(text), json: () => Promise.resolve(JSON.parse(text) as unknown) });
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
  main.currentTime = 0;
});

/** A panel of this id that is open, with a range chosen in 20 s. */
async function open(id: string, first: Lifecycle, lengthS = 20): Promise<{ panel: ClipPanel; picture: Picture }> {
  const panel = new ClipPanel(id, main);
  panel.follow(first);
  element('make-clip').click();
  const picture = await vi.waitFor(() => {
    const found = document.querySelector<Picture>('#clip-stage airwave-player');
    if (found === null) throw new Error(words() ?? '');
    return found;
  }, 20_000);
  lengthen(picture, lengthS);
  expect(element('clip-from').disabled).toBe(false);
  return { panel, picture };
}

function lengthen(picture: Picture, lengthS: number): void {
  picture.video.duration = lengthS;
  picture.video.dispatchEvent(new Event('durationchange'));
}

it.each([
  [INPUT, VIDEO],
  [TOKEN, `${TOKEN}.${VIDEO}`],
])('stays open at the end of a broadcast, by %s, and cuts from its recording', async (id, place) => {
  answers = { [`/${id}/manifest/video.m3u8`]: preview, [`/${place}/lifecycle`]: lifecycle({}) };
  const { panel, picture } = await open(id, said);
  // Nothing of it is at an address that means something else, or nothing, a moment later.
  expect(picture.getAttribute('src')).toBe(`/${place}/manifest/video.m3u8?segments=7-12`);
  const file = element('clip-file').getAttribute('href');
  expect(file).toMatch(new RegExp(`^/${place}/clip\\.mp4\\?time=1[\\d.]+s&`));
  // Over; and then another one.
  for (const news of [{ ...over }, { ...said, videoUID: LATER }, { ...over, videoUID: LATER }]) {
    asked = [];
    panel.follow(news);
    await vi.waitFor(() => expect(asked).toEqual([`/${place}/lifecycle`]), 20_000);
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(element('clip').hidden).toBe(false);
    expect(element('clip-file').getAttribute('href')).toBe(file);
    expect(element('clip-from').disabled).toBe(false);
  }
});

it.each([
  ['was not recorded', { status: 404, text: 'no such video' }, 'there is no recording of it'],
  ['is locked', { status: 401, text: 'this opens with a signed link only' }, 'this opens with a signed link only'],
  ['is not for clips', lifecycle({ clips: false }), 'can’t be made any more'],
])('says so when what is over %s', async (_, answer, expected) => {
  answers = { [`/${INPUT}/manifest/video.m3u8`]: preview, [`/${VIDEO}/lifecycle`]: answer };
  const { panel, picture } = await open(INPUT, said);
  panel.follow({ ...over, videoUID: null, clips: false });
  await vi.waitFor(() => expect(words()).toContain(expected), 20_000);
  expect(element('clip').hidden).toBe(false);
  expect(['clip-from', 'clip-to', 'clip-copy'].map((name) => element(name).disabled)).toEqual([true, true, true]);
  expect(element('clip-file').hasAttribute('href')).toBe(false);
  // It stays so, whatever its picture still does.
  lengthen(picture, 21);
  expect(element('clip-from').disabled).toBe(true);
  element('clip-close').click();
  expect([element('clip').hidden, element('make-clip').hidden]).toEqual([true, true]);
});

it('goes on where nobody can say what became of it', async () => {
  answers = { [`/${INPUT}/manifest/video.m3u8`]: preview, [`/${VIDEO}/lifecycle`]: { status: 503, text: 'busy' } };
  const { panel } = await open(INPUT, said);
  panel.follow(over);
  await vi.waitFor(() => expect(asked).toContain(`/${VIDEO}/lifecycle`), 20_000);
  await new Promise((resolve) => setTimeout(resolve, 0));
  expect(element('clip-from').disabled).toBe(false);
});

it('says so when its owner takes clips away in the middle of a broadcast', async () => {
  answers = { [`/${INPUT}/manifest/video.m3u8`]: preview };
  const { panel } = await open(INPUT, said);
  panel.follow({ ...said, clips: false });
  await vi.waitFor(() => expect(words()).toContain('can’t be made any more'), 20_000);
  expect(element('clip').hidden).toBe(false);
});

it.each([
  // Watched at, of how long: what the handles reach, and what is chosen first.
  [3_600, 7_200, [3_450, 3_750], 'time=3570s&duration=30s'],
  [0, 7_200, [0, 300], 'time=0s&duration=30s'],
  [7_200, 7_200, [6_900, 7_200], 'time=7170s&duration=30s'],
  [100, 280, [0, 280], 'time=70s&duration=30s'],
])('of a recording watched at %s s of %s s it reaches the minutes around', async (watchedS, lengthS, reach, query) => {
  answers = { [`/${VIDEO}/manifest/video.m3u8`]: { status: 200, text: '#EXTM3U\n' } };
  main.currentTime = watchedS;
  const { picture } = await open(INPUT, over, lengthS);
  expect(picture.getAttribute('src')).toBe(`/${VIDEO}/manifest/video.m3u8`);
  expect(['clip-from', 'clip-to'].map((name) => [element(name).min, element(name).max].map(Number))).toEqual([reach, reach]);
  expect(element('clip-file').getAttribute('href')).toBe(`/${VIDEO}/clip.mp4?${query}&filename=clip`);
});

it('is opened for the recording where a live input is off the air', async () => {
  answers = { [`/${VIDEO}/manifest/video.m3u8`]: preview };
  await open(INPUT, over);
  expect(asked).toEqual([`/${VIDEO}/manifest/video.m3u8`]);
});

it('begins anew each time that it is opened', async () => {
  answers = { [`/${VIDEO}/manifest/video.m3u8`]: preview };
  const { picture } = await open(VIDEO, { ...over, isInput: false });
  element('clip-close').click();
  element('make-clip').click();
  expect([words(), element('clip-from').disabled]).toEqual(['Loading…', true]);
  const another = await vi.waitFor(() => {
    const found = document.querySelector<Picture>('#clip-stage airwave-player');
    if (found === null || found === picture) throw new Error('not yet');
    return found;
  }, 20_000);
  // The old one is nobody's any more.
  lengthen(picture, 30);
  expect(words()).toBe('Loading…');
  lengthen(another, 20);
  expect([words(), element('clip-from').disabled]).toEqual(['20.0 s', false]);
});

it('has nothing to choose from yet', async () => {
  answers = { [`/${INPUT}/manifest/video.m3u8`]: { status: 204, text: '' } };
  const panel = new ClipPanel(INPUT, main);
  panel.follow(said);
  element('make-clip').click();
  await vi.waitFor(() => expect(words()).toContain('nothing to make a clip of yet'), 20_000);
});
