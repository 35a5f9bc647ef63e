// A make-believe REST API in memory: live inputs, their recordings, health. For the states of the dashboard that a
// server can't be brought into at will.
import { randomBytes } from 'node:crypto';

const ROUTE = /^\/client\/v4\/accounts\/default\/stream(?:\/live_inputs)?(?:\/([0-9a-f]{32}))?(?:\/(videos|rotate_keys))?$/;
export const TOKEN = 'a-token-of-the-make-believe-server';

export class MakeBelieveApi {
  constructor() {
    this.inputs = new Map();
    /** Live input to its videos; without an entry the list does not exist, as in a server without that route. */
    this.videos = new Map();
    /** Answered to everything, when set. */
    this.refusal = null;
    this.asked = 0;
  }

  add(name, more = {}) {
    const uid = randomBytes(16).toString('hex');
    this.inputs.set(uid, { uid, meta: { name }, enabled: true, created: new Date().toISOString(), key: randomBytes(16).toString('hex'), status: null, ...more });
    return uid;
  }

  /** null: not a route of the API. */
  answer(method, pathname, authorization, body) {
    if (!pathname.startsWith('/client/v4/')) return null;
    this.asked++;
    if (this.refusal !== null) return failed(...this.refusal);
    if (authorization !== `Bearer ${TOKEN}`) return failed(401, 'the bearer token is not valid');
    const match = pathname.match(ROUTE);
    if (!match) return failed(404, 'no such API route');
    const [, uid, more] = match;
    if (!pathname.includes('/live_inputs')) return this.removeVideo(uid);
    if (uid === undefined && method === 'GET') {
      const rows = [...this.inputs.values()].map(({ uid, meta, enabled, created }) => ({ uid, meta, enabled, created }));
      return done({ liveInputs: rows, range: rows.length, total: rows.length });
    }
    if (uid === undefined) return done(whole(this.inputs.get(this.add(body.meta.name))));
    const input = this.inputs.get(uid);
    if (!input) return failed(404, 'there is no such live input');
    if (more === 'videos') return this.videos.has(uid) ? done(this.videos.get(uid)) : failed(404, 'no such API route');
    if (more === 'rotate_keys') input.key = randomBytes(16).toString('hex');
    if (method === 'PUT') Object.assign(input, body);
    if (method === 'DELETE') this.inputs.delete(uid);
    return done(method === 'DELETE' ? null : whole(input));
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
