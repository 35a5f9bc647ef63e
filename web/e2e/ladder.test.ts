/** What the quality menu offers beside MoQ. */
import { describe, expect, test } from 'vitest';
import { parseLadder, placeOf } from '../src/player/ladder';

const TEXT = `#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="audio",URI="audio.cmaf.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=5000000,AVERAGE-BANDWIDTH=4000000,CODECS="avc1.640028,mp4a.40.2",RESOLUTION=1920x1080,AUDIO="audio"
video.cmaf.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=800000,CODECS="avc1.64001f",RESOLUTION=640x360,AUDIO="audio"
video.360p.cmaf.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,CODECS="avc1.640028",RESOLUTION=1920x1080,URI="x"
#EXT-X-STREAM-INF:BANDWIDTH=96000,CODECS="mp4a.40.2"
audio.cmaf.m3u8
`;

describe('the ladder of a playlist', () => {
  test('has its pictures', () => {
    expect(parseLadder(TEXT)).toEqual([
      { width: 1920, height: 1080, bitrateBps: 5_000_000, codecs: 'avc1.640028,mp4a.40.2' },
      { width: 640, height: 360, bitrateBps: 800_000, codecs: 'avc1.64001f' },
    ]);
    expect(parseLadder('')).toEqual([]);
  });

  test('has each picture once, whatever sounds there are', () => {
    const round = (sound: string, codec: string) =>
      [1080, 360].map((height) => `#EXT-X-STREAM-INF:BANDWIDTH=${height}000,CODECS="avc1.640028,${codec}",RESOLUTION=640x${height},SCORE=1.0${sound}\n${height}.m3u8\n`).join('');
    const read = (text: string) => parseLadder(text).map(({ height, codecs }) => `${height} ${codecs}`);
    const opus = round(',AUDIO="audio"', 'opus');
    const expected = ['1080 avc1.640028,opus', '360 avc1.640028,opus'];
    expect(read(opus + round(',AUDIO="audio2"', 'mp4a.40.2'))).toEqual(expected);
    expect(read(`#EXT-X-STREAM-INF:BANDWIDTH=96000,CODECS="mp4a.40.2",AUDIO="audio2"\na.m3u8\n${opus}`)).toEqual(expected);
    expect(read(round('', 'opus'))).toEqual(expected);
  });

  test('is found again by size, then by bitrate', () => {
    const at = (height: number, bitrateBps: number) => ({ width: (height * 16) / 9, height, bitrateBps, codecs: '' });
    const levels = [at(1080, 5e6), at(360, 2e6), at(360, 8e5)];
    expect(placeOf(at(360, 9e5), levels)).toBe(2);
    expect(placeOf(at(360, 1.9e6), levels)).toBe(1);
    expect(placeOf(at(1080, 1), levels)).toBe(0);
    expect(placeOf(at(720, 1), levels)).toBeNull();
  });
});
