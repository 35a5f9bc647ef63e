import { describe, expect, it } from 'vitest';
import type { Engine } from '../src/player/engine';
import { levelName, type Offer, sections } from '../src/player/choices';
import { Captions, captionsFor, toggleCaptions } from '../src/player/captions';

const level = (height: number, bitrateBps = 1e6) => ({ width: (height * 16) / 9, height, bitrateBps, codecs: 'avc1' });
const nothing: Offer = { levels: [], chosenLevel: null, shown: null, audio: [], captions: [], speed: null };
const track = (name: string, language: string, chosen = false) => ({ name, language, chosen });
const caption = (label: string, language: string, chosen = false) => ({ label, language, chosen });

/** `Quality: *Auto (720p), 720p`; the star is what is chosen. */
function read(offer: Partial<Offer>): string[] {
  return sections({ ...nothing, ...offer }).map(
    ({ title, options }) => `${title}: ${options.map(({ label, chosen }) => (chosen ? '*' : '') + label).join(', ')}`,
  );
}

it.each<[string, Partial<Offer>, string[]]>([
  ['nothing to choose', {}, []],
  ['one of each is no choice', { levels: [level(720)], audio: [track('Audio', 'en', true)], captions: [caption('English', 'en')] }, []],
  ['best first, by height', { levels: [level(180), level(720), level(360)], shown: level(720) }, ['Quality: *Auto (720p), 720p, 360p, 180p']],
  ['a chosen level', { levels: [level(180), level(720)], chosenLevel: 0, shown: level(180) }, ['Quality: Auto, 720p, *180p']],
  ['same height: by bitrate', { levels: [level(720, 2.5e6), level(720, 6e6)], chosenLevel: 1 }, ['Quality: Auto, *720p · 6.0 Mbit/s, 720p · 2.5 Mbit/s']],
  ['languages by their names', { audio: [track('Audio 1', 'en', true), track('Audio 2', 'pt-BR')] }, ['Audio: *English, Brazilian Portuguese']],
  ['one language twice', { audio: [track('Stereo', 'en', true), track('Surround', 'en')] }, ['Audio: *English · Stereo, English · Surround']],
  ['no languages', { audio: [track('Hall', ''), track('', 'und')] }, ['Audio: Hall, Track 2']],
  ['a language that is none', { audio: [track('a', 'not a tag!'), track('b', 'de')] }, ['Audio: not a tag!, German']],
  ['captions can be off', { captions: [caption('English', 'en'), caption('Deutsch', 'de', true)] }, ['Captions: Off, English, *German']],
  ['speed', { speed: 1.5 }, ['Speed: 0.5 ×, 0.75 ×, Normal, 1.25 ×, *1.5 ×, 2 ×']],
])('%s', (_name, offer, expected) => {
  expect(read(offer)).toEqual(expected);
});

it('names levels without a size by their bitrate', () => {
  expect(levelName(level(0, 800_000), [])).toBe('0.8 Mbit/s');
});

function video(...tracks: { language: string; kind?: string }[]): HTMLVideoElement {
  const textTracks = tracks.map(({ language, kind = 'subtitles' }) => ({ language, kind, mode: 'disabled' }));
  return { textTracks } as unknown as HTMLVideoElement;
}

it('the captions button goes round', () => {
  const both = video({ language: 'en' }, { language: 'data', kind: 'metadata' }, { language: 'de' });
  const modes = () => [...both.textTracks].map(({ mode }) => mode === 'showing');
  const seen = [1, 2, 3].map(() => {
    toggleCaptions(both);
    return modes();
  });
  expect(seen).toEqual([
    [true, false, false],
    [false, false, true],
    [false, false, false],
  ]);
});

it.each([
  ['de', 'de'],
  ['DE', 'de'],
  ['pt', 'pt-BR'],
  ['pt-PT', 'pt-BR'],
  ['fr', undefined],
])('captions for %s', (tag, expected) => {
  expect(captionsFor(video({ language: 'en' }, { language: 'de' }, { language: 'pt-BR' }), tag)?.language).toBe(expected);
});

it('captions of a language that nobody says are better than none', () => {
  expect(captionsFor(video({ language: 'und' }, { language: 'de' }), 'de')?.language).toBe('de');
  expect(captionsFor(video({ language: 'und' }, { language: 'de' }), 'en')?.language).toBe('und');
});

describe('captions that MoQ does not draw', () => {
  const moq = (captions: boolean) => ({ mode: 'Real time', captionsElsewhere: () => captions }) as unknown as Engine;
  const hls = { mode: 'Low latency' } as unknown as Engine;
  const showing = (of: HTMLVideoElement) => [...of.textTracks].filter(({ mode }) => mode === 'showing').map(({ language }) => language);
  /** hls.js makes them once it has read some. */
  const add = (to: HTMLVideoElement, language: string) => {
    (to.textTracks as unknown as object[]).push(...(video({ language }).textTracks as unknown as object[]));
  };

  it('are offered where the catalog has them, and taken from HLS', () => {
    const element = video();
    const captions = new Captions(element);
    expect([captions.state(moq(false)), captions.state(moq(true)), captions.keepOffMoq]).toEqual(['none', 'off', false]);
    expect([captions.toggle(moq(true)), captions.state(null), captions.state(hls), captions.keepOffMoq]).toEqual([true, 'on', 'on', true]);
    add(element, 'und');
    captions.came(hls);
    expect([showing(element), captions.state(hls)]).toEqual([['und'], 'on']);
    expect([captions.toggle(hls), captions.state(hls), captions.keepOffMoq]).toEqual([false, 'off', false]);
    // What hls.js has left there stays empty.
    expect([captions.tracks(moq(true)), captions.state(moq(false)), captions.state(moq(true))]).toEqual([[], 'none', 'off']);
    expect([captions.toggle(moq(true)), showing(element)]).toEqual([true, []]);
    captions.came(hls);
    expect(showing(element)).toEqual(['und']);
    captions.forget();
    expect(captions.keepOffMoq).toBe(false);
  });

  it('can be given up before there are any', () => {
    const captions = new Captions(video());
    captions.toggle(moq(true));
    expect([captions.toggle(hls), captions.state(hls), captions.keepOffMoq]).toEqual([false, 'none', false]);
  });

  it('are there at once where they are to begin with, and the viewer chooses then', () => {
    const element = video();
    const captions = new Captions(element);
    captions.beginWith('de');
    expect([captions.keepOffMoq, captions.preferred]).toEqual([true, 'de']);
    add(element, 'und');
    captions.came(hls);
    expect([showing(element), captions.preferred]).toEqual([['und'], 'de']);
    add(element, 'de');
    captions.came(hls);
    expect([showing(element), captions.preferred, captions.keepOffMoq]).toEqual([['de'], null, true]);
    captions.choose(null);
    captions.came(hls);
    expect([showing(element), captions.keepOffMoq]).toEqual([[], false]);
    captions.choose(0);
    expect([showing(element), captions.keepOffMoq]).toEqual([['und'], true]);
  });
});
