/** `/embed/sdk.latest.js`: defines `window.Stream`. */
import { stream } from './player';

window.Stream = stream;
