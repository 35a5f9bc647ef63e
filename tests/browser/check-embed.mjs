// The embedded player of a running Airwave, on a page of another origin, by itself and in React, and the qualities of its broadcast.
//   node check-embed.mjs --server URL --id INPUT --heights 360,180 --stop PID
//   --stop: the process whose end (SIGINT) ends the broadcast
import process from 'node:process';
import { parseArgs } from 'node:util';
import { buildReactPage } from './lib/react-page.mjs';
import { Scenarios } from './lib/scenario.mjs';
import { quality } from './scenarios/choices.mjs';
import { othersAreNotFramed, steeredFromOutside } from './scenarios/embed.mjs';
import { playedInReact } from './scenarios/react.mjs';

const { values: options } = parseArgs({
  options: { server: { type: 'string' }, id: { type: 'string' }, heights: { type: 'string' }, stop: { type: 'string' }, screenshots: { type: 'string' } },
});
const { server, id } = options;
const heights = options.heights.split(',').map(Number);
const sizes = heights.map((height) => [(height * 16) / 9, height]);
// While the browser is busy with something else.
const built = buildReactPage().then((script) => ({ script }), (error) => ({ error }));
const scenarios = await Scenarios.start({ ...options });

await scenarios.run('quality', server, async (tools) => {
  await tools.open(`/${id}/iframe?autoplay=true`);
  await quality({ check: scenarios.check, ...tools }, heights);
});
await scenarios.run('framed', server, (tools) => othersAreNotFramed({ check: scenarios.check, ...tools }, { server, id }), { expectErrors: true });
await scenarios.run('react', server, async (tools) => {
  const { script, error } = await built;
  if (error) throw error;
  await playedInReact({ check: scenarios.check, ...tools }, { server, id, sizes, script });
});
await scenarios.run('embed', server, (tools) => {
  const end = () => process.kill(Number(options.stop), 'SIGINT');
  return steeredFromOutside({ check: scenarios.check, ...tools }, { server, id, sizes, end });
});
process.exit(await scenarios.finish());
