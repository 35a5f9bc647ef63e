// Pages with players that are not ours, and their libraries.
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { fileURLToPath } from 'node:url';
import { modulePath } from './chromium.mjs';

/** What the page of each (`pages/`) asks for, and where that lies. */
export const PLAYERS = {
  dashjs: { '/lib/dash.js': 'dashjs/dist/modern/umd/dash.all.min.js' },
  hlsjs: { '/lib/hls.js': 'hls.js/dist/hls.min.js' },
  native: {},
  shaka: { '/lib/shaka.js': 'shaka-player/dist/shaka-player.compiled.js' },
  videojs: { '/lib/video.js': 'video.js/dist/video.min.js', '/lib/video.css': 'video.js/dist/video-js.min.css' },
};

/** `/ID/watch` and `/ID/iframe` stand for the manifest of the same id. */
export function manifestOf(url) {
  return url.replace(/\/(watch|iframe)(\?|#|$)/, '/manifest/video.m3u8$2');
}

export async function servePages(name) {
  const page = fileURLToPath(new URL(`../pages/${name}.html`, import.meta.url));
  const files = { '/': ['text/html; charset=utf-8', page] };
  for (const [route, library] of Object.entries(PLAYERS[name])) {
    files[route] = [route.endsWith('.css') ? 'text/css' : 'text/javascript', modulePath(library)];
  }
  const server = http.createServer(async (request, response) => {
    const found = files[new URL(request.url, 'http://localhost').pathname];
    if (!found) return response.writeHead(204).end();
    response.writeHead(200, { 'content-type': found[0] });
    response.end(await readFile(found[1]));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, url: `http://127.0.0.1:${server.address().port}/` };
}
