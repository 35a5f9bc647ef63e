import { expect, it } from 'vitest';
import { addressed, cmcdUrl, manifestUrl, picturesUrl, type Source } from '../src/player/source';

const INPUT = '0'.repeat(32);
const VIDEO = 'a'.repeat(32);
const TOKEN = 'eyJ0.eyJz.c2ln';

it.each([
  [INPUT, null, INPUT],
  [INPUT, VIDEO, VIDEO],
  [TOKEN, null, TOKEN],
  [TOKEN, VIDEO, `${TOKEN}.${VIDEO}`],
  // A page of the recording itself, by the same token.
  [`${TOKEN}.${VIDEO}`, null, `${TOKEN}.${VIDEO}`],
  [`${TOKEN}.${VIDEO}`, VIDEO, `${TOKEN}.${VIDEO}`],
])('%s and the video %s are at %s', (id, video, expected) => {
  expect(addressed(id, video)).toBe(expected);
  const source: Source = { kind: 'id', server: 'https://live.example.org', id };
  expect(manifestUrl(source, video, '?a=b')).toBe(`https://live.example.org/${expected}/manifest/video.m3u8?a=b`);
  expect(cmcdUrl(source, video)).toBe(`https://live.example.org/${expected}/cmcd`);
  expect(picturesUrl(source, video, 'storyboard.vtt')).toBe(`https://live.example.org/${expected}/thumbnails/storyboard.vtt`);
});
