// How much of the machine was left while something was measured: a browser that gets no processor drops pictures that it has.
import { readFileSync } from 'node:fs';

const EVERY_MS = 500;

/** Call the result to end it: the share of the processors that was idle in the busiest half second; null where nobody says. */
export function watchMachine() {
  let before = read();
  let least = null;
  const look = () => {
    const now = read();
    if (now === null || before === null || now.all === before.all) return;
    const idle = (now.idle - before.idle) / (now.all - before.all);
    least = Math.min(least ?? 1, idle);
    before = now;
  };
  // A script that has failed ends, whether or not anybody has called that.
  const timer = setInterval(look, EVERY_MS).unref();
  return () => {
    clearInterval(timer);
    return least;
  };
}

/** Ticks since the start, of all processors; what a host takes away from a virtual machine (steal) is not idle. */
function read() {
  try {
    const [, ...ticks] = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0].trim().split(/\s+/);
    const [user, nice, system, idle, wait, irq, soft, steal] = ticks.map(Number);
    return { idle: idle + wait, all: user + nice + system + idle + wait + irq + soft + steal };
  } catch {
    return null;
  }
}
