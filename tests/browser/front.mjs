// Serves web/dist as it is now and passes everything else on to a running Airwave: for working on the pages without
// building the server again.
//   node front.mjs --server http://127.0.0.1:8080 [--port 8081]
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { CSP, DIST, EMBEDDED_CSP, TYPES } from './dev-server.mjs';

/** MoQ is at a port of its own of the same host. */
const MOQ = "connect-src 'self' https://127.0.0.1:*";

export async function startFront(target, port = 0) {
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const file = fileOf(pathname);
    if (file === null) return pass(target, request, response);
    const type = TYPES[path.extname(file)] ?? 'application/octet-stream';
    readFile(path.join(DIST, file)).then(
      (bytes) => response.writeHead(200, { 'content-type': type, 'content-security-policy': `${file === 'embed.html' ? EMBEDDED_CSP : CSP}; ${MOQ}` }).end(bytes),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.closeAllConnections() ?? server.close() };
}

function fileOf(pathname) {
  if (pathname === '/') return 'index.html';
  if (/^\/[^/]+\/watch$/.test(pathname)) return 'watch.html';
  if (/^\/[^/]+\/iframe$/.test(pathname)) return 'embed.html';
  if (pathname === '/embed/sdk.latest.js') return pathname.slice(1);
  return /^\/assets\/[\w.-]+$/.test(pathname) ? pathname.slice(1) : null;
}

function pass(target, request, response) {
  const { hostname, port } = new URL(target);
  const onward = http.request({ hostname, port, method: request.method, path: request.url, headers: request.headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  response.on('close', () => onward.destroy());
  request.pipe(onward);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { server: { type: 'string' }, port: { type: 'string', default: '8081' } } });
  console.log((await startFront(values.server, Number(values.port))).url);
}
