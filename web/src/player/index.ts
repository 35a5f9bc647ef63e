import { AirwavePlayer } from './element';

if (customElements.get('airwave-player') === undefined)
  customElements.define('airwave-player', AirwavePlayer);

declare global {
  interface HTMLElementTagNameMap {
    'airwave-player': AirwavePlayer;
  }
}

export { AirwavePlayer };
