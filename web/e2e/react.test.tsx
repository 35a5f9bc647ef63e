// @vitest-environment happy-dom
import { act, createRef } from 'react';
import { createRoot, type Root } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { iframeSrc, Stream, type StreamPlayerApi, type StreamProps } from '../packages/react/src';

const HOST = 'https://live.example.org';

class FakePlayer extends EventTarget {
  [name: string]: unknown;
  videoWidth = 0;
  videoHeight = 0;
}

let root: Root;
let box: HTMLElement;
let made: { iframe: HTMLIFrameElement; player: FakePlayer }[];

beforeEach(() => {
  vi.stubGlobal('IS_REACT_ACT_ENVIRONMENT', true);
  box = document.createElement('div');
  document.body.append(box);
  root = createRoot(box);
  made = [];
});
afterEach(() => {
  act(() => root.unmount());
  delete window.Stream;
  document.head.replaceChildren();
  vi.unstubAllGlobals();
});

function sdk() {
  window.Stream = (iframe) => {
    const player = new FakePlayer();
    made.push({ iframe, player });
    return player as unknown as StreamPlayerApi;
  };
}

const show = (props: StreamProps) => act(() => root.render(<Stream {...props} />));
const newest = () => made.at(-1)!.player;

it.each<[StreamProps, string]>([
  [{ src: 'ID' }, '/ID/iframe?controls=false'],
  [{ src: 'ID', host: `${HOST}/`, controls: true }, `${HOST}/ID/iframe?controls=true`],
  [{ src: 'ID', host: 'live.example.org', autoplay: true, muted: true, loop: false }, `${HOST}/ID/iframe?controls=false&autoplay=true&muted=true`],
  [{ src: 'a.b.c/d', host: HOST, startTime: '1m', preload: true }, `${HOST}/a.b.c%2Fd/iframe?controls=false&preload=auto&startTime=1m`],
  [{ src: 'ID', host: HOST, primaryColor: '#f00', poster: 'https://x/y?z=1&w', customerCode: 'abc' }, `${HOST}/ID/iframe?controls=false&poster=https%3A%2F%2Fx%2Fy%3Fz%3D1%26w&primaryColor=%23f00`],
])('the address of %j', (props, expected) => {
  expect(iframeSrc(props)).toBe(expected);
});

it('is rendered on a server, too', () => {
  const html = renderToString(<Stream host={HOST} src="ID" title={'"><script>'} />);
  expect(html).toContain(`src="${HOST}/ID/iframe?controls=false"`);
  expect(html).not.toContain('<script>');
});

it('takes the script that the page has, or loads it from the host once', () => {
  show({ host: HOST, src: 'ID' });
  act(() => root.render([<Stream host={HOST} key="a" src="ID" />, <Stream host={HOST} key="b" src="ID2" />]));
  const scripts = [...document.scripts];
  expect(scripts.map(({ src }) => src)).toEqual([`${HOST}/embed/sdk.latest.js`]);
  expect(made).toEqual([]);
  sdk();
  act(() => void scripts[0]?.dispatchEvent(new Event('load')));
  expect(made.map(({ iframe }) => iframe.src)).toEqual([`${HOST}/ID/iframe?controls=false`, `${HOST}/ID2/iframe?controls=false`]);
});

it('tells the player what is not in its address, and what changes', () => {
  sdk();
  show({ host: HOST, src: 'ID', muted: true, volume: 0.3 });
  const { iframe } = made[0]!;
  expect(newest().volume).toBe(0.3);
  expect(newest().muted).toBeUndefined();
  show({ host: HOST, src: 'ID', muted: false, volume: 0.3, currentTime: 5 });
  expect([newest().muted, newest().currentTime]).toEqual([false, 5]);
  newest().volume = 0.9;
  show({ host: HOST, src: 'ID', muted: false, volume: 0.3, currentTime: 5 });
  expect(newest().volume).toBe(0.9);
  expect(made).toHaveLength(1);
  expect(box.querySelector('iframe')).toBe(iframe);
});

it('another src is another iframe with a player of its own', () => {
  sdk();
  const streamRef = createRef<StreamPlayerApi>() as { current: StreamPlayerApi | undefined };
  show({ host: HOST, src: 'ID', streamRef });
  const first = streamRef.current;
  show({ host: HOST, src: 'OTHER', streamRef });
  expect(box.querySelector('iframe')?.src).toBe(`${HOST}/OTHER/iframe?controls=false`);
  expect(made).toHaveLength(2);
  expect(streamRef.current).toBe(newest());
  expect(streamRef.current).not.toBe(first);
});

it('calls the newest listener, and none after it is gone', () => {
  sdk();
  const [first, second] = [vi.fn(), vi.fn()];
  show({ host: HOST, src: 'ID', onPlay: first });
  show({ host: HOST, src: 'ID', onPlay: second });
  newest().dispatchEvent(new Event('play'));
  expect([first.mock.calls.length, second.mock.calls.length]).toEqual([0, 1]);
  act(() => root.render(null));
  newest().dispatchEvent(new Event('play'));
  expect(second).toHaveBeenCalledTimes(1);
});

it('has the shape of the picture, unless it must not', () => {
  sdk();
  show({ host: HOST, src: 'ID' });
  const shape = () => (box.firstElementChild as HTMLElement).style.aspectRatio;
  expect(shape()).toBe('16 / 9');
  Object.assign(newest(), { videoWidth: 640, videoHeight: 480 });
  act(() => void newest().dispatchEvent(new Event('resize')));
  expect(shape()).toBe('640 / 480');
  show({ host: HOST, src: 'ID', responsive: false, width: '300px' });
  expect(shape()).toBe('');
  expect(box.querySelector('iframe')?.style.width).toBe('300px');
});
