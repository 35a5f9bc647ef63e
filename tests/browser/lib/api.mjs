// A make-believe REST API in memory: sessions, live inputs, their links and recordings, health. For the states of the dashboard that a
// server can't be brought into at will.
import { randomBytes } from 'node:crypto';

const ROUTE =
  /^\/client\/v4\/accounts\/default\/stream(?:\/live_inputs)?(?:\/([0-9a-f]{32}))?(?:\/(videos|rotate_keys|token|chat(?:\/\d+)?|links(?:\/([0-9a-f]{32}))?))?$/;
const COOKIE = 'airwave-session';
export const TOKEN = 'a-token-of-the-make-believe-server';

export class MakeBelieveApi {
  constructor() {
    this.inputs = new Map();
    /** Live input to its videos; without an entry the list does not exist, as in a server without that route. */
    this.videos = new Map();
    /** Answered to everything, when set. */
    this.refusal = null;
    /** Whether recordings are switched on and off. */
    this.refusesModes = false;
    this.asked = 0;
    /** Cookies, each with the word that belongs to it. */
    this.sessions = new Map();
    /** Live input to the links that were made for it. */
    this.links = new Map();
    /** The audit log. */
    this.changes = [];
    /** What viewers said; null: nothing. */
    this.chat = null;
  }

  add(name, more = {}) {
    const uid = randomBytes(16).toString('hex');
    this.inputs.set(uid, { uid, meta: { name }, enabled: true, recording: { requireSignedURLs: false }, created: new Date().toISOString(), key: randomBytes(16).toString('hex'), status: null, ...more });
    return uid;
  }

  /** Status, body, and the cookie to set if there is one. */
  answer(method, pathname, headers, body, query = new URLSearchParams()) {
    this.asked++;
    const cookie = (headers.cookie ?? '').match(new RegExp(`${COOKIE}=(\\w+)`))?.[1];
    const word = this.sessions.get(cookie);
    if (pathname === '/client/v4/session' && method !== 'DELETE') return this.session(method, word, body);
    if (this.refusal !== null) return failed(...this.refusal);
    if (word === undefined) return failed(401, 'this session is over: sign in again');
    if (method !== 'GET' && headers['x-csrf-token'] !== word) return failed(403, 'a page must send its csrfToken');
    if (pathname === '/client/v4/session') {
      this.sessions.delete(cookie);
      return [...done({ signedIn: false }), `${COOKIE}=; Path=/client/v4; Max-Age=0`];
    }
    if (pathname.startsWith('/client/v4/accounts/default/audit_logs')) return done(this.changes);
    const match = pathname.match(ROUTE);
    if (!match) return failed(404, 'no such API route');
    const [, uid, more, link] = match;
    if (more === 'token') return done({ token: `${uid}.own.token` });
    if (more?.startsWith('chat')) return this.said(method, more.split('/')[1]);
    if (more?.startsWith('links')) return this.linksOf(method, uid, link, body);
    if (!pathname.includes('/live_inputs')) return method === 'POST' ? this.changeVideo(uid, body) : this.removeVideo(uid);
    if (uid === undefined && method === 'GET') {
      return done(this.list(query));
    }
    if (uid === undefined) return done(whole(this.inputs.get(this.add(body.meta.name))));
    const input = this.inputs.get(uid);
    if (!input) return failed(404, 'there is no such live input');
    if (more === 'videos') return this.videos.has(uid) ? done(this.videos.get(uid)) : failed(404, 'no such API route');
    if (more === 'rotate_keys') input.key = randomBytes(16).toString('hex');
    if (method === 'PUT' && body.deleteRecordingAfterDays > 0xffff_ffff) return failed(400, 'deleteRecordingAfterDays: must be a whole number of days, at least 1, or null');
    if (method === 'PUT' && body.recording?.mode !== undefined && this.refusesModes) return failed(403, 'recording.mode: not by this token');
    if (method === 'PUT') Object.assign(input, body, { recording: { ...input.recording, ...body.recording } });
    if (method === 'DELETE') this.inputs.delete(uid);
    return done(method === 'DELETE' ? null : whole(input));
  }

  /** The newest first, as the server has it. */
  list(query) {
    const [limit, page] = ['limit', 'page'].map((name) => Number(query.get(name) ?? (name === 'page' ? 1 : 1000)));
    const search = (query.get('search') ?? '').toLowerCase();
    const has = ({ meta, status }) => meta.name.toLowerCase().includes(search) && (query.get('live') !== 'true' || status !== null);
    const all = [...this.inputs.values()].filter(has).sort((a, b) => Date.parse(b.created) - Date.parse(a.created));
    const from = all.slice((page - 1) * limit);
    const rows = from.slice(0, limit).map(({ uid, meta, enabled, created }) => ({ uid, meta, enabled, created }));
    return { liveInputs: rows, range: from.length, total: all.length };
  }

  session(method, word, body) {
    if (method === 'GET') return done(word === undefined ? { signedIn: false } : { signedIn: true, csrfToken: word });
    if (body?.token !== TOKEN) return failed(401, 'this API token is not valid');
    const [cookie, made] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')];
    this.sessions.set(cookie, made);
    const signedIn = done({ signedIn: true, csrfToken: made });
    return [...signedIn, `${COOKIE}=${cookie}; Path=/client/v4; HttpOnly; SameSite=Strict`];
  }

  linksOf(method, uid, link, body) {
    const links = this.links.get(uid) ?? [];
    if (method === 'POST') {
      const id = randomBytes(16).toString('hex');
      const made = { id, name: body.name, token: `${uid}.${id}.link`, expires: new Date(body.exp * 1000).toISOString() };
      this.links.set(uid, [made, ...links]);
      return done(made);
    }
    if (method === 'DELETE') this.links.set(uid, links.filter(({ id }) => id !== link));
    return done(method === 'GET' ? links : { id: link });
  }

  said(method, id) {
    const messages = this.chat?.messages ?? [];
    if (method === 'GET') return done(messages);
    messages.filter((message) => id === undefined || message.id === Number(id)).forEach((message) => this.chat.delete(message.id));
    return done('');
  }

  changeVideo(uid, body) {
    const found = [...this.videos.values()].flat().find((video) => video.uid === uid);
    if (!found) return failed(404, 'there is no such video');
    return done(Object.assign(found, body));
  }

  removeVideo(uid) {
    for (const [input, videos] of this.videos) this.videos.set(input, videos.filter((video) => video.uid !== uid));
    return done(null);
  }
}

function whole({ key, ...input }) {
  const rtmp = { url: 'rtmp://127.0.0.1:1935/live/', streamKey: key };
  return { ...input, rtmp, rtmps: rtmp };
}

function done(result) {
  return [200, { success: true, errors: [], messages: [], result }];
}

function failed(status, message) {
  return [status, { success: false, errors: [{ code: 10000, message }], messages: [], result: null }];
}
