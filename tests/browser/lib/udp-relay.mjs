// A relay for UDP that can be shut: what a network does that lets only TCP through; one that is far away; and one that is narrow.
// One client address, one socket to the server. `delayMs`: each way. `rates`, of `up` to the server and `down` from it: bytes a second,
// null as many as come, which are counted; what would wait longer than a router holds it is lost.
import dgram from 'node:dgram';

const QUEUE_MS = 200;

export async function udpRelay(host, port, delayMs = 0) {
  const front = dgram.createSocket('udp4');
  const clients = new Map();
  let closed = false;
  const rates = { up: null, down: null };
  const freeAtMs = { up: 0, down: 0 };
  const pass = (way, { length }, send) => {
    relay.bytes[way] += length;
    const nowMs = performance.now();
    let waitMs = delayMs;
    if (rates[way] !== null) {
      const queuedMs = Math.max(0, freeAtMs[way] - nowMs);
      if (queuedMs > QUEUE_MS) return void relay.dropped++;
      freeAtMs[way] = nowMs + queuedMs + (length * 1000) / rates[way];
      waitMs += freeAtMs[way] - nowMs;
    }
    if (waitMs === 0) send();
    else setTimeout(() => closed || send(), waitMs);
  };
  const close = () => {
    closed = true;
    for (const socket of [front, ...clients.values()]) socket.close();
  };
  const relay = { open: true, rates, bytes: { up: 0, down: 0 }, dropped: 0, port: 0, close };
  front.on('message', (packet, { address, port: from }) => {
    if (!relay.open) return void relay.dropped++;
    const name = `${address}:${from}`;
    let back = clients.get(name);
    if (back === undefined) {
      back = dgram.createSocket('udp4');
      back.on('message', (answer) => (relay.open ? pass('down', answer, () => front.send(answer, from, address)) : relay.dropped++));
      clients.set(name, back);
    }
    pass('up', packet, () => back.send(packet, port, host));
  });
  await new Promise((resolve) => front.bind(0, '127.0.0.1', resolve));
  relay.port = front.address().port;
  return relay;
}

/** Pages are told that MoQ is at this port. What has no network fails as it would. */
export function overRelay(page, port) {
  return page.route('**/lifecycle', async (route) => {
    try {
      const response = await route.fetch();
      const body = await response.json();
      if (body.moq) body.moq.port = port;
      await route.fulfill({ response, json: body });
    } catch {
      await route.abort().catch(() => undefined);
    }
  });
}
