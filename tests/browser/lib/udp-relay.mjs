// A relay for UDP that can be shut: what a network does that lets only TCP through. One client address, one socket to the server.
import dgram from 'node:dgram';

export async function udpRelay(host, port) {
  const front = dgram.createSocket('udp4');
  const clients = new Map();
  const relay = { open: true, dropped: 0, port: 0, close: () => [front, ...clients.values()].forEach((socket) => socket.close()) };
  front.on('message', (packet, { address, port: from }) => {
    if (!relay.open) return void relay.dropped++;
    const name = `${address}:${from}`;
    let back = clients.get(name);
    if (back === undefined) {
      back = dgram.createSocket('udp4');
      back.on('message', (answer) => (relay.open ? front.send(answer, from, address) : relay.dropped++));
      clients.set(name, back);
    }
    back.send(packet, port, host);
  });
  await new Promise((resolve) => front.bind(0, '127.0.0.1', resolve));
  relay.port = front.address().port;
  return relay;
}
