// A relay for UDP that can be shut: what a network does that lets only TCP through; and one that is far away.
// One client address, one socket to the server. `delayMs`: each way.
import dgram from 'node:dgram';

export async function udpRelay(host, port, delayMs = 0) {
  const front = dgram.createSocket('udp4');
  const clients = new Map();
  let closed = false;
  const later = (send) => (delayMs === 0 ? send() : setTimeout(() => closed || send(), delayMs));
  const close = () => {
    closed = true;
    for (const socket of [front, ...clients.values()]) socket.close();
  };
  const relay = { open: true, dropped: 0, port: 0, close };
  front.on('message', (packet, { address, port: from }) => {
    if (!relay.open) return void relay.dropped++;
    const name = `${address}:${from}`;
    let back = clients.get(name);
    if (back === undefined) {
      back = dgram.createSocket('udp4');
      back.on('message', (answer) => (relay.open ? later(() => front.send(answer, from, address)) : relay.dropped++));
      clients.set(name, back);
    }
    later(() => back.send(packet, port, host));
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
