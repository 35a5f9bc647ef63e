// A relay for TCP that is far away: what comes is passed on `delayMs` later, each way.
import net from 'node:net';

export async function tcpRelay(host, port, delayMs) {
  const sockets = new Set();
  const server = net.createServer((front) => {
    const back = net.connect(port, host);
    for (const [from, to] of [
      [front, back],
      [back, front],
    ]) {
      sockets.add(from);
      from.setNoDelay(true);
      from.on('data', (bytes) => setTimeout(() => to.write(bytes), delayMs));
      from.on('end', () => setTimeout(() => to.end(), delayMs));
      from.on('error', () => to.destroy());
      from.on('close', () => sockets.delete(from));
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { port: server.address().port, close };
}
