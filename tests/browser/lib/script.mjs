// What all scripts begin with.
import { Missing } from './chromium.mjs';

/** Prints what `main` answers as a line of JSON; in words what is missing, with status 2. */
export async function print(main) {
  try {
    process.stdout.write(`${JSON.stringify(await main())}\n`);
  } catch (error) {
    process.stderr.write(`${error instanceof Missing ? error.message : error.stack}\n`);
    process.exitCode = error instanceof Missing ? 2 : 1;
  }
}
