// A page of somebody else with the React wrapper. `window.change(props)` renders it anew, as an application does when its
// state changes; `window.change(null)` takes it away.
import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { Stream } from 'airwave-stream-react';

window.heard = [];
window.streamRef = { current: undefined };

const EVENTS = ['onLoadedMetaData', 'onPlay', 'onPlaying', 'onPause', 'onTimeUpdate', 'onVolumeChange'];
const listeners = Object.fromEntries(EVENTS.map((prop) => [prop, ({ type }) => window.heard.push(type)]));

function App({ first }) {
  const [props, setProps] = useState(first);
  window.change = (changed) => setProps((before) => changed && { ...before, ...changed });
  return props && <Stream {...listeners} {...props} streamRef={window.streamRef} />;
}

window.show = (first) => {
  createRoot(document.getElementById('app')).render(
    <StrictMode>
      <App first={first} />
    </StrictMode>,
  );
};
