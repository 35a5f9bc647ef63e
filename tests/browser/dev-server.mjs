// Serves web/dist with a make-believe server behind it: one input that can go live, reconnect, end.
//   node dev-server.mjs [--port 8080] [--live] [--hevc]      POST /dev/live, /dev/reconnect, /dev/end, /dev/drop steer it.
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { MakeBelieveApi, TOKEN } from './lib/api.mjs';
import { MakeBelieveChat } from './lib/chat.mjs';
import { Broadcast } from './lib/origin.mjs';

export const DIST = fileURLToPath(new URL('../../web/dist/', import.meta.url));
export const INPUT = '00c0ffee00c0ffee00c0ffee00c0ffee';
// As crates/deliver/src/pages.rs has them.
const POLICY =
  "default-src 'self'; media-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; " +
  "require-trusted-types-for 'script'; trusted-types airwave svelte-trusted-html";
export const CSP = `${POLICY}; frame-ancestors 'none'`;
export const EMBEDDED_CSP = `${POLICY}; img-src 'self' https: http:`;
export const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.m3u8': 'application/vnd.apple.mpegurl',
  '.m4s': 'video/mp4',
  '.mp4': 'video/mp4',
};

const POSTER = '<svg xmlns="http://www.w3.org/2000/svg" width="640" height="360"><rect width="640" height="360" fill="#24506e"/><circle cx="320" cy="180" r="90" fill="#f0b84a"/></svg>';

export class DevServer {
  constructor() {
    this.broadcasts = [];
    this.api = new MakeBelieveApi();
    this.current = null;
    this.name = 'Harbour camera, north pier';
    this.status = 'the broadcaster has not connected yet';
    this.listed = null;
    this.lifecycleStatus = 200;
    /** What viewers say; null: its owner does not allow it. */
    this.chat = null;
    this.sockets = new Set();
    this.server = http.createServer((request, response) => {
      this.answer(request, response).catch((error) => {
        console.error(error);
        if (!response.headersSent) response.writeHead(500);
        response.end();
      });
    });
    this.server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
  }

  async listen(port = 0) {
    await new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve));
    this.port = this.server.address().port;
    this.url = `http://127.0.0.1:${this.port}`;
    return this;
  }

  /** The network fails: nothing listens and what was open is cut. */
  async vanish() {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  async reappear() {
    await new Promise((resolve) => this.server.listen(this.port, '127.0.0.1', resolve));
  }

  async goLive(options) {
    const broadcast = new Broadcast();
    await broadcast.connect(options);
    this.broadcasts.push(broadcast);
    this.current = broadcast;
  }

  end() {
    this.current?.end();
    this.current = null;
    this.status = 'the broadcaster stopped';
  }

  async close() {
    for (const broadcast of this.broadcasts) broadcast.disconnect();
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
  }

  async answer(request, response) {
    const url = new URL(request.url, 'http://localhost');
    const [segment, ...rest] = url.pathname.split('/').slice(1);
    // A token of the make-believe API begins with what it opens; behind it may stand the video that it is watched by.
    const parts = segment.split('.');
    const first = { 3: parts[0], 4: parts[3] }[parts.length] ?? segment;
    const tail = rest.join('/');
    const send = (status, type, body = '', policy = CSP, cookie = null) => {
      response.writeHead(status, {
        ...(cookie === null ? {} : { 'set-cookie': cookie }),
        'content-type': type,
        'cache-control': 'no-store',
        'access-control-allow-origin': '*',
        ...(type.startsWith('text/html') ? { 'content-security-policy': policy } : {}),
      });
      response.end(body);
    };
    const json = (body, status = 200) => send(status, 'application/json', JSON.stringify(body));
    const file = async (name) => send(200, TYPES[path.extname(name)] ?? 'application/octet-stream', await readFile(path.join(DIST, name)));

    if (request.method === 'POST' && first === 'dev') return this.steer(tail, () => json({ ok: true }));
    if (url.pathname.startsWith('/client/')) {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const body = chunks.length === 0 ? null : JSON.parse(Buffer.concat(chunks).toString());
      const [status, answer, cookie] = this.api.answer(request.method, url.pathname, request.headers, body, url.searchParams);
      return send(status, 'application/json', JSON.stringify(answer), CSP, cookie);
    }
    if (url.pathname === '/') return file('index.html');
    if (first === 'assets' && /^[\w.-]+$/.test(tail)) return file(`assets/${tail}`).catch(() => send(404, 'text/plain', 'not found'));
    if (first === 'time') return send(200, 'text/plain', new Date().toISOString());
    if (first === 'live.json') return json(this.list());
    if (tail === 'watch') return file('watch.html');
    if (tail === 'iframe') return send(200, TYPES['.html'], await readFile(path.join(DIST, 'embed.html')), EMBEDDED_CSP);
    if (url.pathname === '/embed/sdk.latest.js') return file('embed/sdk.latest.js');
    if (url.pathname === '/poster.svg') return send(200, TYPES['.svg'], POSTER);

    const broadcast = first === INPUT ? this.current : this.broadcasts.find(({ uid }) => uid === first);
    if (tail === 'cmcd') return send(204, 'text/plain');
    if (/^chat(\/|$)/.test(tail) && this.chat !== null) return this.say(request, url, broadcast?.ended === false, response);
    if (tail === 'lifecycle') return this.lifecycle(first, json, send);
    if (tail === 'views') return json({ liveViewers: this.current === null ? 0 : 12 });
    if (tail === 'manifest/video.m3u8' && !url.searchParams.has('track')) {
      if (first === INPUT && !broadcast) return send(204, 'text/plain');
      if (!broadcast) return send(404, 'text/plain', 'no such video');
      return send(200, TYPES['.m3u8'], broadcast.multivariant(url.search));
    }
    const captions = tail.match(/^manifest\/captions-(en|de)(?:\.m3u8|-(\d+)\.vtt)$/);
    if (captions) return this.captions(broadcast ?? this.broadcasts.at(-1), captions[1], captions[2], send);
    const list = tail.match(/^manifest\/(video2?|audio2?)\.m3u8$/);
    if (list) return this.playlist(first, broadcast ?? this.broadcasts.at(-1), list[1], url, send);
    const media = tail.match(/^media\/([0-9a-f]+)\/(video2?|audio2?)\/([\w.-]+)$/);
    if (media) {
      const track = this.broadcasts.find(({ uid }) => uid === media[1])?.tracks[media[2]];
      const bytes = await track?.mediaFile(media[3]);
      return bytes ? send(200, 'video/mp4', bytes) : send(404, 'text/plain', 'no such segment');
    }
    return send(404, 'text/plain', 'not found');
  }

  async playlist(id, broadcast, name, url, send) {
    if (!broadcast) return send(404, 'text/plain', 'no such video');
    const track = broadcast.tracks[name];
    const msn = url.searchParams.get('_HLS_msn');
    const part = url.searchParams.get('_HLS_part');
    if (msn !== null) await track.until(() => track.has(Number(msn), part === null ? null : Number(part)));
    const body = track.playlist({
      prefix: `/${id}`,
      dvr: url.searchParams.get('dvrEnabled') === 'true',
      skip: url.searchParams.get('_HLS_skip') === 'YES',
      whole: id !== INPUT && track.ended,
    });
    return send(200, TYPES['.m3u8'], body);
  }

  captions(broadcast, language, number, send) {
    if (!broadcast?.ladder) return send(404, 'text/plain', 'no captions');
    if (number === undefined) return send(200, TYPES['.m3u8'], broadcast.captions(language));
    const file = broadcast.captionsFile(language, Number(number));
    return file === null ? send(404, 'text/plain', 'no such segment') : send(200, 'text/vtt', file);
  }

  said(live) {
    return this.chat !== null && (live ? this.chat.open : this.chat.messages.length > 0);
  }

  lifecycle(id, json, send) {
    if (this.lifecycleStatus !== 200) return send(this.lifecycleStatus, 'text/plain', 'refused');
    if (id === INPUT) {
      const newest = this.current ?? this.broadcasts.at(-1) ?? null;
      const live = this.current !== null;
      return json({ isInput: true, videoUID: newest?.uid ?? null, live, status: live ? '' : this.status, name: this.name, chat: this.said(live) });
    }
    const video = this.broadcasts.find(({ uid }) => uid === id);
    if (!video) return send(404, 'text/plain', 'no such id');
    return json({ isInput: false, videoUID: id, live: !video.ended, status: '', name: this.name, chat: this.said(!video.ended) });
  }

  allowChat() {
    this.chat = new MakeBelieveChat();
    this.api.chat = this.chat;
    return this.chat;
  }

  async say(request, url, live, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    const [status, answer, tag] = this.chat.answer(request.method, url.pathname.split('/').slice(3), body, request.headers['if-none-match'], live);
    const type = typeof answer === 'string' ? 'text/plain' : 'application/json';
    response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store', ...(tag === undefined ? {} : { etag: tag }) });
    response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
  }

  list() {
    if (this.listed !== null) return { broadcasts: this.listed };
    if (this.current === null) return { broadcasts: [] };
    const startedAt = new Date(this.current.startedAt).toISOString();
    return { broadcasts: [{ id: INPUT, name: this.name, live: true, startedAt, viewers: 12 }] };
  }

  async steer(what, done) {
    if (what === 'live') await this.goLive();
    if (what === 'reconnect') await this.current?.reconnect({ size: '640x360', profile: 'baseline', tone: 500 });
    if (what === 'drop') this.current?.disconnect();
    if (what === 'end') this.end();
    done();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const option = (name) => process.argv[process.argv.indexOf(name) + 1];
  const server = await new DevServer().listen(process.argv.includes('--port') ? Number(option('--port')) : 8080);
  if (process.argv.includes('--live')) await server.goLive(process.argv.includes('--hevc') ? { vcodec: 'libx265' } : {});
  console.log(`${server.url}/${INPUT}/watch`);
  console.log(`${server.url}/#token=${TOKEN}`);
}
