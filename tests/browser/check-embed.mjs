// The embedded player of a running Airwave, on a page of another origin, by itself and in React, and the qualities and sounds of its broadcast.
//   node check-embed.mjs --server URL --id INPUT --heights 360,180 --tones 1000,2000 --stop PID --named INPUT
//   --stop: the process whose end (SIGINT) ends the broadcast; --named: what pages of page.localhost alone may embed
import process from 'node:process';
import { parseArgs } from 'node:util';
import { installMeasure } from './lib/measure.mjs';
import { buildReactPage } from './lib/react-page.mjs';
import { Scenarios } from './lib/scenario.mjs';
import { quality, sounds } from './scenarios/choices.mjs';
import { othersAreNotFramed, othersShowNothing, steeredFromOutside } from './scenarios/embed.mjs';
import { playedInReact } from './scenarios/react.mjs';
import { airPlay, cast } from './scenarios/screens.mjs';

const { values: options } = parseArgs({
  options: { server: { type: 'string' }, id: { type: 'string' }, heights: { type: 'string' }, tones: { type: 'string' }, stop: { type: 'string' }, named: { type: 'string' }, screenshots: { type: 'string' } },
});
const { server, id } = options;
const heights = options.heights.split(',').map(Number);
const sizes = heights.map((height) => [(height * 16) / 9, height]);
// While the browser is busy with something else.
const built = buildReactPage().then((script) => ({ script }), (error) => ({ error }));
const scenarios = await Scenarios.start({ ...options });

await scenarios.run('quality', server, async (tools) => {
  await tools.page.addInitScript(installMeasure);
  await tools.open(`/${id}/iframe?autoplay=true`);
  await quality({ check: scenarios.check, ...tools }, heights);
  await sounds({ check: scenarios.check, ...tools }, options.tones.split(',').map(Number));
});
await scenarios.run('framed', server, (tools) => othersAreNotFramed({ check: scenarios.check, ...tools }, { server, id, named: options.named }), { expectErrors: true });
await scenarios.run('shown', server, (tools) => othersShowNothing({ check: scenarios.check, ...tools }, { server, named: options.named }), { expectErrors: true });
await scenarios.run('react', server, async (tools) => {
  const { script, error } = await built;
  if (error) throw error;
  await playedInReact({ check: scenarios.check, ...tools }, { server, id, sizes, script });
});
await scenarios.run('cast', server, (tools) => cast({ check: scenarios.check, ...tools }, { id }));
await scenarios.run('airplay', server, (tools) => airPlay({ check: scenarios.check, ...tools }, { id }));
await scenarios.run('embed', server, (tools) => {
  const end = () => process.kill(Number(options.stop), 'SIGINT');
  return steeredFromOutside({ check: scenarios.check, ...tools }, { server, id, sizes, end });
});
process.exit(await scenarios.finish());
