// The vendor's official TypeScript client against an Airwave: everything of its API that there is here. Told by the environment:
// the address (CLOUDFLARE_BASE_URL), a token (CLOUDFLARE_API_TOKEN), where the client is (SDK); by its argument: what is on the
// server. The client is as it was published. Exit code 1 if anything is not as it should be.
import assert from 'node:assert/strict';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const { default: Cloudflare } = await import(pathToFileURL(path.join(process.env.SDK, 'cloudflare/index.mjs')));
const account_id = 'default';
const about = JSON.parse(process.argv[2]);
const client = new Cloudflare({ maxRetries: 0 });
const status = async (url) => (await fetch(url)).status;
const all = async (pages) => {
  const rows = [];
  for await (const row of pages) rows.push(row);
  return rows;
};

// Live inputs.
const inputs = client.stream.liveInputs;
const made = await inputs.create({ account_id, meta: { name: 'A hall' }, recording: { mode: 'automatic', requireSignedURLs: true } });
assert.match(made.uid, /^[0-9a-f]{32}$/);
assert.ok(made.rtmps.url.startsWith('rtmp') && made.rtmps.streamKey);
assert.equal(made.recording.requireSignedURLs, true);
assert.equal((await inputs.get(made.uid, { account_id })).rtmps.streamKey, made.rtmps.streamKey);
const changed = await inputs.update(made.uid, { account_id, enabled: false, deleteRecordingAfterDays: 45 });
assert.deepEqual([changed.enabled, changed.deleteRecordingAfterDays, changed.meta], [false, 45, { name: 'A hall' }]);
const listed = await inputs.list({ account_id, include_counts: true });
assert.ok(listed.liveInputs.some(({ uid }) => uid === about.live) && listed.total === listed.liveInputs.length);
await inputs.delete(made.uid, { account_id });
const once = { account_id, meta: { name: 'Once' }, 'Idempotency-Key': 'a key of a TypeScript client' };
const [one, two] = await Promise.all([inputs.create(once), inputs.create(once)]);
assert.deepEqual([one.uid, one.rtmps.streamKey], [two.uid, two.rtmps.streamKey]);
await inputs.delete(one.uid, { account_id });
await assert.rejects(inputs.get(made.uid, { account_id }), (error) => error.status === 404 && /live input/.test(error.errors[0].message));
await assert.rejects(inputs.create({ account_id, recording: { mode: 'maybe' } }), (error) => /recording.mode/.test(error.errors[0].message));

// Videos.
const videos = await all(client.stream.list({ account_id }));
assert.equal((await all(client.stream.list({ account_id, include_counts: true }))).length, videos.length);
const video = videos.find(({ uid }) => uid === about.video);
assert.ok(video.status.state === 'ready' && video.duration > 10 && video.liveInput === about.recorded);
assert.deepEqual([await status(video.playback.hls), await status(video.playback.dash)], [200, 200]);
const edited = await client.stream.edit(about.video, { account_id, creator: 'somebody', meta: { name: 'The concert' }, requireSignedURLs: true });
assert.deepEqual([edited.creator, edited.requireSignedURLs], ['somebody', true]);
assert.deepEqual((await client.stream.get(about.video, { account_id })).meta, { name: 'The concert' });
await client.stream.edit(about.video, { account_id, requireSignedURLs: false, publicDetails: { title: 'A concert', share_link: 'https://example.com/concert' } });
const details = await (await fetch(`${about.playback}${about.video}/metadata/playerEnhancementInfo.json`)).json();
assert.deepEqual(details, { title: 'A concert', share_link: 'https://example.com/concert', channel_link: null, logo: null });
await client.stream.edit(about.video, { account_id, requireSignedURLs: true });
assert.equal(await status(`${about.playback}${about.video}/metadata/playerEnhancementInfo.json`), 401);

// Captions and downloads.
const of = { account_id, identifier: about.video };
const { captions } = client.stream;
const vtt = 'WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nGood evening\n';
const caption = await captions.language.update('en', { ...of, file: vtt });
assert.deepEqual([caption.language, caption.generated, caption.status], ['en', false, 'ready']);
assert.deepEqual((await all(captions.get(about.video, { account_id }))).map(({ language }) => language), ['en']);
assert.deepEqual(await captions.language.get('en', of), caption);
assert.match(await captions.language.vtt.get('en', of), /Good evening/);
await captions.language.delete('en', of);
const download = await client.stream.downloads.create(about.video, { account_id, body: {} });
assert.ok(download.default.url);
assert.equal((await client.stream.downloads.get(about.video, { account_id })).default.url, download.default.url);
await client.stream.downloads.delete(about.video, { account_id });

// Clips, and the line for other pages.
const cut = await client.stream.clip.create({ account_id, clippedFromVideoUID: about.video, startTimeSeconds: 1, endTimeSeconds: 3, meta: { name: 'The chorus' } });
assert.deepEqual([cut.clippedFrom, cut.duration, cut.meta, cut.requireSignedURLs], [about.video, 2, { name: 'The chorus' }, true]);
await assert.rejects(client.stream.clip.create({ account_id, clippedFromVideoUID: about.video, startTimeSeconds: 3, endTimeSeconds: 1 }), (error) => /startTimeSeconds/.test(error.errors[0].message));
const line = await client.stream.embed.get(cut.uid, { account_id });
assert.match(line, new RegExp(`^<iframe src="[^"]*/${cut.uid}/iframe" title="The chorus"`));
await client.stream.delete(cut.uid, { account_id });
await assert.rejects(client.stream.embed.get(cut.uid, { account_id }), { status: 404 });

// Links.
const address = (id) => `${about.playback}${id}/manifest/video.m3u8`;
const link = await client.stream.token.create(about.video, { account_id });
assert.deepEqual([await status(address(link.token)), await status(address(about.video))], [200, 401]);
const key = await client.stream.keys.create({ account_id, body: {} });
assert.equal(JSON.parse(Buffer.from(key.jwk, 'base64')).kty, 'RSA');
const signed = await client.stream.token.create(about.video, { account_id, id: key.id, pem: key.pem });
assert.equal(await status(address(signed.token)), 200);
assert.ok((await all(client.stream.keys.get({ account_id }))).some(({ id }) => id === key.id));
await client.stream.keys.delete(key.id, { account_id });
assert.equal(await status(address(signed.token)), 401);

// API tokens.
const groups = await all(client.user.tokens.permissionGroups.list());
const policies = [{ effect: 'allow', permission_groups: [{ id: groups.find(({ name }) => name === 'Stream Read').id }], resources: { [`com.cloudflare.api.account.${account_id}`]: '*' } }];
for (const [of, more] of [['user', {}], ['accounts', { account_id }]]) {
  const tokens = client[of].tokens;
  assert.deepEqual((await all(tokens.permissionGroups.list(more))).map(({ id }) => id), groups.map(({ id }) => id));
  const token = await tokens.create({ name: 'reader', policies, expires_on: '2999-01-01T00:00:00Z', ...more });
  const reader = new Cloudflare({ apiToken: token.value, maxRetries: 0 });
  assert.equal((await reader[of].tokens.verify(more)).id, token.id);
  assert.equal((await reader.stream.liveInputs.get(about.live, { account_id })).rtmps.streamKey, null);
  await assert.rejects(reader.stream.liveInputs.update(about.live, { account_id, enabled: false }), { status: 403 });
  const legacy = new Cloudflare({ apiToken: null, apiKey: token.value, apiEmail: 'nobody@example.com', maxRetries: 0 });
  assert.ok((await legacy.stream.liveInputs.list({ account_id })).liveInputs.length > 0);
  assert.ok((await all(tokens.list(more))).some(({ id }) => id === token.id));
  assert.equal((await tokens.update(token.id, { name: 'renamed', policies, ...more })).name, 'renamed');
  const rolled = await tokens.value.update(token.id, { ...more, body: {} });
  await assert.rejects(reader.user.tokens.verify(), { status: 401 });
  assert.equal((await new Cloudflare({ apiToken: rolled, maxRetries: 0 }).user.tokens.verify()).status, 'active');
  assert.equal((await tokens.delete(token.id, more)).id, token.id);
  await assert.rejects(tokens.get(token.id, more), { status: 404 });
}

// The audit log, over several pages.
const entries = await all(client.auditLogs.list({ account_id, per_page: 2, action: { type: 'delete' } }));
const kinds = new Set(entries.map(({ resource }) => resource.type));
assert.ok(['live_inputs', 'keys', 'tokens'].every((kind) => kinds.has(kind)), [...kinds].join());
assert.ok(entries.every(({ action }) => action.type === 'delete'));

await client.stream.delete(about.video, { account_id });
await assert.rejects(client.stream.get(about.video, { account_id }), { status: 404 });
await assert.rejects(all(new Cloudflare({ apiToken: 'wrong', maxRetries: 0 }).stream.list({ account_id })), { status: 401 });
