/** Part of the build: what shrinks stands compressed beside itself, and the server hands that out to who can read it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Plugin } from 'vite';

export function compressed(): Plugin {
  return {
    name: 'airwave-compressed',
    apply: 'build',
    writeBundle({ dir = '' }, bundle) {
      for (const { fileName } of Object.values(bundle)) {
        if (!/\.(js|css|svg)$/.test(fileName)) continue;
        const file = join(dir, fileName);
        const whole = readFileSync(file);
        const small = gzipSync(whole, { level: 9 });
        if (small.length < whole.length * 0.9) writeFileSync(`${file}.gz`, small);
      }
    },
  };
}
