// @vitest-environment happy-dom
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LiveChat } from '../src/chat/live';
import { type Message, parseEverything, parseMessage, tidy } from '../src/chat/message';
import { NotSaid, NotSure } from '../src/chat/over-http';
import { MoqChat } from '../src/chat/over-moq';
import { Panel } from '../src/chat/panel';
import { ReplayChat } from '../src/chat/replay';
import { SHOWN_MAX, Transcript } from '../src/chat/transcript';
import { chatLine, parseSaid } from '../src/dashboard/chat';
import * as messages from '../src/moq/messages';
import { writeHeader, writeObjectHead } from '../src/moq/objects';
import { Writer } from '../src/moq/wire';

/** The server's own table: what is sent, and what is made of it. */
const LINES = JSON.parse(readFileSync(`${import.meta.dirname}/../../crates/chat/src/lines.json`, 'utf8')) as [string, string][];
const HOSTILE = `<img src=x onerror="document.title='hacked'">`;
const said = (id: number, text = `line ${id}`, at = id * 1_000): Message => ({ id, at, name: 'Ann', text });
const ids = (all: readonly Message[]) => all.map(({ id }) => id);

describe('what the server says', () => {
  it.each([null, 7, 'text', [], {}, { id: '1', at: 1, name: 'a', text: 'b' }, { id: 1, at: 1, name: 'a' }])('%j is no message', (value) =>
    expect(parseMessage(value)).toBeNull(),
  );

  it.each([null, 7, {}, { open: 'yes', messages: {} }, { messages: [null, 7, {}] }])('%j is a closed chat', (value) =>
    expect(parseEverything(value)).toEqual({ open: false, messages: [] }),
  );

  it('is taken as it is, and nothing beside it', () => {
    expect(parseEverything({ open: true, messages: [{ ...said(1), html: '<b>' }, null] })).toEqual({ open: true, messages: [said(1)] });
  });

  it.each([...LINES, ['a\ud800b', 'ab']])('%j is sent as %j', (text, expected) => expect(tidy(text)).toBe(expected));

  it('is listed for its owner, the newest first', () => {
    expect(parseSaid([said(1), null, { id: 2 }, said(3)]).map(({ id }) => id)).toEqual([3, 1]);
    expect(chatLine(false)).toBe('Chat: off');
  });
});

describe('the messages on the screen', () => {
  it('are in order, each once, and not for ever', () => {
    const transcript = new Transcript();
    for (const id of [3, 1, 2, 3, 1]) transcript.add(said(id));
    expect(ids(transcript.messages)).toEqual([1, 2, 3]);
    transcript.replace([said(2), said(9)]);
    expect(ids(transcript.messages)).toEqual([2, 9]);
    for (let id = 10; id < 10 + 2 * SHOWN_MAX; id++) transcript.add(said(id));
    expect(transcript.messages).toHaveLength(SHOWN_MAX);
    expect(transcript.messages.at(-1)?.id).toBe(9 + 2 * SHOWN_MAX);
  });
});

describe('the panel', () => {
  afterEach(() => document.body.replaceChildren());

  function panel(say: (name: string, text: string) => Promise<void> = () => Promise.resolve()) {
    const made = new Panel(say);
    document.body.append(made.root);
    const [name, text] = made.root.querySelectorAll('input');
    const send = async () => {
      made.root.querySelector('form')?.dispatchEvent(new Event('submit', { cancelable: true }));
      await vi.waitFor(() => expect(made.root.querySelector<HTMLButtonElement>('.send')?.disabled).toBe(false), 20_000);
    };
    return { panel: made, name: name as HTMLInputElement, text: text as HTMLInputElement, send, words: () => made.root.querySelector('[role=status]')?.textContent };
  }

  it('shows names and texts as text', () => {
    const { panel: made } = panel();
    const { root } = made;
    made.show([{ id: 1, at: 0, name: HOSTILE, text: `${HOSTILE}<script>alert(1)</script>` }], 'open');
    expect(root.querySelector('.messages p')?.textContent).toBe(`${HOSTILE} ${HOSTILE}<script>alert(1)</script>`);
    expect(root.querySelectorAll('img, script')).toHaveLength(0);
    expect([...root.querySelectorAll('.messages p > *')].map((part) => part.getAttribute('dir'))).toEqual(['auto', 'auto']);
  });

  it('follows what is added and deleted', () => {
    const { panel: made } = panel();
    const shown = () => [...made.root.querySelectorAll('.messages span')].map((line) => line.textContent);
    made.show([said(2), said(4)], 'open');
    made.show([said(1), said(2), said(3), said(4), said(5)], 'open');
    expect(shown()).toEqual([1, 2, 3, 4, 5].map((id) => `line ${id}`));
    made.show([said(1), said(5)], 'past');
    expect(shown()).toEqual(['line 1', 'line 5']);
    expect(made.root.querySelector('form')?.hidden).toBe(true);
    made.show([], 'closed');
    expect(made.root.hidden).toBe(true);
  });

  it('keeps what was not said, and says why', async () => {
    const say = vi.fn((_: string, text: string) => (text === 'no' ? Promise.reject(new NotSaid('wait 2 s')) : Promise.resolve()));
    const { name, text, send, words } = panel(say);
    name.value = '';
    text.value = ' yes ';
    await send();
    expect(words()).toContain('needs a name');
    name.value = ' Ann  B ';
    await send();
    expect(say).toHaveBeenLastCalledWith('Ann B', 'yes');
    expect([text.value, words()]).toEqual(['', '']);
    text.value = 'no';
    await send();
    expect([text.value, words()]).toEqual(['no', 'Not sent: wait 2 s.']);
    say.mockRejectedValueOnce(new NotSure());
    await send();
    expect(words()).toMatch(/^It is not sure that this was sent/);
    expect(localStorage.getItem('airwave-chat-name')).toBe('Ann B');
  });
});

describe('a replay', () => {
  const all = Array.from({ length: 500 }, (_, index) => said(index + 1));
  const past = {
    after: vi.fn((id: number) => Promise.resolve(all.filter((message) => message.id > id).slice(0, 200))),
    until: vi.fn((ms: number) => Promise.resolve(all.filter(({ at }) => at <= ms).slice(-200))),
  };
  beforeEach(() => vi.clearAllMocks());

  it('shows each message when the picture comes to its time', async () => {
    const chat = new ReplayChat(past, () => {});
    await chat.at(null, 0);
    expect(past.until).not.toHaveBeenCalled();
    await chat.at(2_500, 0);
    expect(ids(chat.transcript.messages)).toEqual([1, 2]);
    for (let ms = 2_500; ms <= 400_000; ms += 250) await chat.at(ms, ms);
    expect(chat.transcript.messages.at(-1)?.id).toBe(400);
    expect(ids(chat.transcript.messages)).toEqual(ids(all.slice(200, 400)));
    expect(past.after.mock.calls.length).toBeLessThan(5);
    // Back, and far ahead.
    await chat.at(3_000, 0);
    expect(ids(chat.transcript.messages)).toEqual([1, 2, 3]);
    await chat.at(499_500, 0);
    expect(chat.transcript.messages.at(-1)?.id).toBe(499);
    await chat.at(500_100, 0);
    expect(chat.transcript.messages.at(-1)?.id).toBe(500);
    expect(chat.empty).toBe(false);
  });

  it('of a broadcast in which nothing was said is empty, and asks no more', async () => {
    const nothing = { after: vi.fn(() => Promise.resolve([])), until: vi.fn(() => Promise.resolve([])) };
    const chat = new ReplayChat(nothing, () => {});
    for (let ms = 0; ms < 4_000; ms += 250) await chat.at(ms, ms);
    expect(chat.empty).toBe(true);
    expect([nothing.until.mock.calls.length, nothing.after.mock.calls.length]).toEqual([1, 1]);
  });

  it('tries again when the server did not answer, and not at once', async () => {
    const trouble = { after: () => Promise.resolve([]), until: vi.fn(() => Promise.reject(new Error('lost'))) };
    const chat = new ReplayChat(trouble, () => {});
    for (let now = 0; now <= 6_000; now += 250) await chat.at(1_000, now);
    expect(trouble.until).toHaveBeenCalledTimes(3);
  });
});

describe('over HTTP', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it('asks for what is new, and says something', async () => {
    const asked: [string, RequestInit][] = [];
    const answers: (() => Response)[] = [];
    vi.stubGlobal('fetch', (url: string, init: RequestInit) => {
      asked.push([url, init]);
      return Promise.resolve(answers.shift()?.() ?? new Response(null, { status: 304 }));
    });
    const everything = (...all: Message[]) => () => Response.json({ open: true, messages: all }, { headers: { etag: '"7"' } });
    answers.push(everything(said(1)));
    const changed = vi.fn();
    const chat = new LiveChat({ http: '/ID', moq: null }, changed);
    await vi.advanceTimersByTimeAsync(0);
    expect([chat.open, chat.via, ids(chat.transcript.messages)]).toEqual([true, 'HTTP', [1]]);
    await vi.advanceTimersByTimeAsync(2_500);
    expect(asked.map(([url]) => url)).toEqual(['/ID/chat', '/ID/chat']);
    expect(asked[1]?.[1].headers).toEqual({ 'If-None-Match': '"7"' });
    expect(changed).toHaveBeenCalledTimes(1);
    answers.push(() => Response.json({ id: 2 }), everything(said(1), said(2)));
    await chat.say('Ann', 'line 2');
    await vi.advanceTimersByTimeAsync(0);
    expect(asked[2]?.[1].body).toBe('{"name":"Ann","text":"line 2"}');
    expect(ids(chat.transcript.messages)).toEqual([1, 2]);
    answers.push(() => new Response('that was a lot at once: wait 2 s\n', { status: 429 }));
    await expect(chat.say('Ann', 'more')).rejects.toThrow('that was a lot at once: wait 2 s');
    // Deleted by its owner, then closed.
    answers.push(everything(said(2)));
    await vi.advanceTimersByTimeAsync(2_500);
    expect(ids(chat.transcript.messages)).toEqual([2]);
    answers.push(() => new Response('', { status: 403 }));
    await vi.advanceTimersByTimeAsync(2_500);
    expect(chat.open).toBe(false);
    chat.stop();
    const before = asked.length;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(asked).toHaveLength(before);
  });
});

describe('over MoQ', () => {
  afterEach(() => vi.unstubAllGlobals());

  it('offers a track (draft-18 §10.10)', () => {
    const track = { namespace: ['a', 'bc'], name: 'd' };
    const bytes = [...messages.publish(2, track, 5)];
    expect(bytes).toEqual([0x1d, 0, 11, 2, 2, 1, 97, 2, 98, 99, 1, 100, 5, 0]);
  });

  /** A server that takes every request, and what it was sent. */
  function server() {
    const incoming = new TransformStream<ReadableStream<Uint8Array>, ReadableStream<Uint8Array>>();
    const streams = incoming.writable.getWriter();
    const sent: Uint8Array[][] = [];
    const collect = () => {
      const chunks: Uint8Array[] = [];
      sent.push(chunks);
      return new WritableStream<Uint8Array>({ write: (chunk) => void chunks.push(chunk) });
    };
    const taken = () => new Writer().varint(messages.KIND.REQUEST_OK).byte(0).byte(1).varint(0).done();
    const answers = [new Writer().varint(messages.KIND.SUBSCRIBE_OK).byte(0).byte(2).varint(9).varint(0).done(), taken(), taken()];
    const ends: (() => void)[] = [];
    const transport = class {
      ready = Promise.resolve();
      closed = new Promise<never>(() => {});
      protocol = messages.VERSION;
      incomingUnidirectionalStreams = incoming.readable;
      incomingBidirectionalStreams = new ReadableStream();
      createUnidirectionalStream = () => Promise.resolve(collect());
      createBidirectionalStream = () =>
        Promise.resolve({
          writable: collect(),
          readable: new ReadableStream<Uint8Array>({
            start: (controller) => {
              controller.enqueue(answers.shift() ?? new Uint8Array());
              ends.push(() => controller.close());
            },
          }),
        });
      close() {}
    };
    const group = async (number: number, ...objects: unknown[]) => {
      const payloads = objects.map((object) => new TextEncoder().encode(typeof object === 'string' ? object : JSON.stringify(object)));
      const pieces = payloads.flatMap((payload) => [writeObjectHead(new Uint8Array(), payload.length), payload]);
      await streams.write(
        new ReadableStream({
          start(controller) {
            for (const piece of [writeHeader(9, number), ...pieces]) controller.enqueue(piece);
            controller.close();
          },
        }),
      );
    };
    return { transport, sent, ends, group };
  }

  it('a group says everything anew, and an older one nothing any more', async () => {
    const { transport, sent, ends, group } = server();
    vi.stubGlobal('WebTransport', transport);
    const seen: unknown[] = [];
    const chat = await MoqChat.open({ url: 'https://a.example:4443/', certificate: null }, ['default', 'x'], {
      onEverything: ({ messages: all }) => seen.push(ids(all)),
      onMessage: ({ id }) => seen.push(id),
      onLost: () => seen.push('lost'),
    });
    await group(5, { open: true, messages: [said(1)] }, said(2), 'no JSON', { id: 'x' }, said(3));
    await vi.waitFor(() => expect(seen).toEqual([[1], 2, 3]), 20_000);
    await group(7, { open: true, messages: [said(1), said(3)] }, said(4));
    await vi.waitFor(() => expect(seen).toHaveLength(5), 20_000);
    await group(6, { open: true, messages: [said(2)] }, said(2));
    const again = { open: true, messages: [said(9)] };
    await group(8, again);
    await vi.waitFor(() => expect(seen).toEqual([[1], 2, 3, [1, 3], 4, [9]]), 20_000);
    await chat.say('Ann', 'hello');
    const written = () => sent.map((chunks) => chunks.map((chunk) => new TextDecoder().decode(chunk)).join(''));
    expect(written().at(-2)).toMatch(/default.x.chat.messages/s);
    expect(written().at(-1)).toContain('{"name":"Ann","text":"hello"}');
    // The place is used again, until the server takes it away.
    await chat.say('Ann', 'more');
    expect(written().at(-2)).toContain('hello');
    ends[1]?.();
    await new Promise((resolve) => setTimeout(resolve));
    await chat.say('Ann', 'again');
    expect(written().at(-2)).toMatch(/default.x.chat.messages/s);
    expect(written().at(-1)).toContain('again');
    chat.close();
    expect(seen).not.toContain('lost');
  });

  describe('what is said', () => {
    /** What was said in the chat over HTTP by now; null: nobody answers. `posts`: the server's answers to what is said there. */
    let overHttp: Message[] | null = [];
    let posts: Response[] = [];
    const asked: string[] = [];

    async function begin() {
      vi.useFakeTimers();
      [overHttp, posts, asked.length] = [[], [], 0];
      const made = server();
      vi.stubGlobal('WebTransport', made.transport);
      vi.stubGlobal('isSecureContext', true);
      vi.stubGlobal('fetch', (url: string, { method = 'GET' }: RequestInit) => {
        asked.push(`${method} ${url}`);
        if (overHttp === null) return Promise.reject(new TypeError('Failed to fetch'));
        return Promise.resolve(method === 'POST' ? (posts.shift() ?? Response.json({ id: 9 })) : Response.json({ open: true, messages: overHttp }));
      });
      const chat = new LiveChat({ http: '/ID', moq: { address: { url: 'https://a.example:4443/', certificate: null }, namespace: ['default', 'x'] } }, () => {});
      await vi.advanceTimersByTimeAsync(0);
      await made.group(1, { open: true, messages: [said(1, 'hello')] });
      await vi.advanceTimersByTimeAsync(0);
      expect([chat.via, ids(chat.transcript.messages)]).toEqual(['MoQ', [1]]);
      const say = (text: string) => {
        const outcome: string[] = [];
        chat.say('Ann', text).then(() => outcome.push('said'), (error: Error) => outcome.push(error.message));
        return outcome;
      };
      return { chat, group: made.group, say };
    }
    afterEach(() => vi.useRealTimers());

    it('is known by what the server makes of it', async () => {
      const { chat, group, say } = await begin();
      const outcome = say('a\u3164b  c');
      await vi.advanceTimersByTimeAsync(0);
      await group(2, { open: true, messages: [said(1, 'hello')] }, said(2, 'ab c'));
      await vi.advanceTimersByTimeAsync(0);
      expect([outcome, chat.via]).toEqual([['said'], 'MoQ']);
      chat.stop();
    });

    it('is looked for over HTTP where nothing comes back, and goes on there', async () => {
      const { chat, say } = await begin();
      const outcome = say('more');
      await vi.advanceTimersByTimeAsync(3_000);
      overHttp = [said(1, 'hello'), said(2, 'more')];
      await vi.advanceTimersByTimeAsync(1_000);
      expect([outcome, chat.via, ids(chat.transcript.messages)]).toEqual([['said'], 'HTTP', [1, 2]]);
      expect(asked.filter((request) => request.startsWith('POST'))).toEqual([]);
      chat.stop();
    });

    it('is said there where it had not come, with the words of who does not take it', async () => {
      const { chat, say } = await begin();
      overHttp = [said(1, 'hello')];
      posts = [new Response('that was a lot at once: wait 2 s\n', { status: 429 })];
      // What was said before is not what is said now.
      const [refused] = [say('hello')];
      await vi.advanceTimersByTimeAsync(4_000);
      expect(refused).toEqual(['that was a lot at once: wait 2 s']);
      const outcome = say('hello');
      await vi.advanceTimersByTimeAsync(0);
      expect([outcome, asked.filter((request) => request.startsWith('POST'))]).toEqual([['said'], ['POST /ID/chat', 'POST /ID/chat']]);
      // One poll after the other, however often something was said.
      asked.length = 0;
      await vi.advanceTimersByTimeAsync(2_500);
      expect(asked).toEqual(['GET /ID/chat']);
      chat.stop();
    });

    it('is not called refused where nobody answers', async () => {
      const { chat, say } = await begin();
      overHttp = null;
      const outcome = say('more');
      await vi.advanceTimersByTimeAsync(4_000);
      expect(outcome).toEqual([expect.stringContaining('not sure')]);
      const again = say('more');
      await vi.advanceTimersByTimeAsync(0);
      expect(again).toEqual([expect.stringContaining('not sure')]);
      chat.stop();
    });
  });
});
