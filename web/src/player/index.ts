import { AirwavePlayer } from './element';

if (customElements.get('airwave-player') === undefined)
  customElements.define('airwave-player', AirwavePlayer);

declare global {
  interface HTMLElementTagNameMap {
    'airwave-player': AirwavePlayer;
  }
  interface Window {
    /** For tests and for the console. */
    airwave?: { player: AirwavePlayer; stats(): AirwavePlayer['stats'] };
  }
}

export { AirwavePlayer };
