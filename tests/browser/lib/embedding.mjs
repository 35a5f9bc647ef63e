// A page of somebody else, on an origin of its own, that embeds the player.
import http from 'node:http';

/** `head` and `body`: HTML; `script`: a module of its own, at `/page.js`. Resolves to `{ url, close }`. */
export async function startEmbedding({ head = '', body, script = '' }) {
  const html = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page of somebody else</title><link rel="icon" href="data:,">${head}</head><body><main><h1>A page of somebody else</h1>${body}</main></body></html>`;
  const server = http.createServer((request, response) => {
    if (request.url === '/page.js') return response.writeHead(200, { 'content-type': 'text/javascript' }).end(script);
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(html);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() ?? server.closeAllConnections() };
}

/** The page with the player of `server` and its script. */
export function withPlayer(server, id, query) {
  return {
    head: `<script src="${server}/embed/sdk.latest.js"></script>`,
    body: `<iframe id="frame" title="The player" src="${server}/${id}/iframe?${query}" width="640" height="360" style="border: 0" allow="autoplay; fullscreen; picture-in-picture" allowfullscreen></iframe>`,
  };
}
