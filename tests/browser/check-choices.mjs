// What viewers of a running Airwave choose: the language of the sound, and how far back they look.
//   node check-choices.mjs --server URL --id INPUT --tones 1000,2000 --names English,German --past URL --past-id INPUT
//   --past: a server that has had INPUT on the air for half a minute, and offers no MoQ
import process from 'node:process';
import { parseArgs } from 'node:util';
import { installMeasure } from './lib/measure.mjs';
import { Scenarios } from './lib/scenario.mjs';
import { named, sounds } from './scenarios/choices.mjs';
import { leafed } from './scenarios/dvr.mjs';

const { values: options } = parseArgs({
  options: { server: { type: 'string' }, id: { type: 'string' }, tones: { type: 'string' }, names: { type: 'string' }, past: { type: 'string' }, 'past-id': { type: 'string' }, screenshots: { type: 'string' } },
});
const scenarios = await Scenarios.start({ ...options });
const { check } = scenarios;

await scenarios.run('languages', options.server, async (tools) => {
  await tools.page.addInitScript(installMeasure);
  await tools.open(`/${options.id}/iframe?autoplay=true`);
  await named({ check, ...tools }, options.names.split(','));
  await sounds({ check, ...tools }, options.tones.split(',').map(Number));
});
await scenarios.run('dvr', options.past, async (tools) => {
  await tools.open(`/${options['past-id']}/watch?dvrEnabled=true`);
  await leafed({ check, ...tools });
});
process.exit(await scenarios.finish());
