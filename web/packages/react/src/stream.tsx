import { type CSSProperties, useEffect, useMemo, useRef, useState } from 'react';
import type { StreamPlayerApi } from './api';
import { iframeSrc } from './iframe-src';
import { EVENTS, LIVE_PROPS, type StreamProps } from './props';
import { useStreamSDK } from './use-sdk';

const ALLOW = 'accelerometer; gyroscope; autoplay; encrypted-media; fullscreen; picture-in-picture';
const FILL: CSSProperties = { border: 'none', position: 'absolute', inset: 0, width: '100%', height: '100%' };

/** The player of one broadcast or recording. */
export function Stream(props: StreamProps) {
  const { className, height, host, id, responsive = true, src, title, width } = props;
  const frame = useRef<HTMLIFrameElement>(null);
  // The first options are in the address; what changes later is told to the running player.
  const address = useMemo(() => iframeSrc(props), [host, src]);
  const player = usePlayer(frame, useStreamSDK(host), address);
  useEvents(player, props);
  useLiveProps(player, props);
  useEffect(() => {
    if (props.streamRef === undefined) return;
    props.streamRef.current = player;
  }, [player, props.streamRef]);
  const shape = useShape(player);
  const box: CSSProperties = responsive ? { position: 'relative', aspectRatio: shape } : { height, width };
  const iframe: CSSProperties = responsive ? FILL : { border: 'none', height, width };
  return (
    <div className={className} style={box}>
      <iframe
        allow={ALLOW}
        allowFullScreen
        id={id}
        key={address}
        ref={frame}
        src={address}
        style={iframe}
        title={title ?? 'Video player'}
      />
    </div>
  );
}

/** A new address is a new iframe, and so another player. */
function usePlayer(
  frame: { current: HTMLIFrameElement | null },
  sdk: Window['Stream'],
  address: string,
): StreamPlayerApi | undefined {
  const [player, setPlayer] = useState<StreamPlayerApi | undefined>(undefined);
  useEffect(() => {
    setPlayer(frame.current === null ? undefined : sdk?.(frame.current));
  }, [frame, sdk, address]);
  return player;
}

/** Each listener is added once; what it calls is the newest prop. */
function useEvents(player: StreamPlayerApi | undefined, props: StreamProps): void {
  const newest = useRef(props);
  newest.current = props;
  useEffect(() => {
    if (player === undefined) return;
    const listeners = (Object.keys(EVENTS) as (keyof typeof EVENTS)[]).map((prop) => {
      const listener: EventListener = (event) => newest.current[prop]?.(event);
      player.addEventListener(EVENTS[prop], listener);
      return { event: EVENTS[prop], listener };
    });
    return () => {
      for (const { event, listener } of listeners) player.removeEventListener(event, listener);
    };
  }, [player]);
}

function useLiveProps(player: StreamPlayerApi | undefined, props: StreamProps): void {
  const told = useRef<{ player: StreamPlayerApi | undefined; props: StreamProps }>({ player: undefined, props });
  useEffect(() => {
    const before = told.current;
    told.current = { player, props };
    if (player === undefined) return;
    for (const name of LIVE_PROPS) {
      const value = props[name];
      // What stands in the address is known to a new player; the rest is not.
      const known = before.player === player ? before.props[name] === value : IN_ADDRESS.has(name);
      if (value !== undefined && !known) (player as unknown as Record<string, unknown>)[name] = value;
    }
  });
}

const IN_ADDRESS = new Set<string>(LIVE_PROPS.filter((name) => !['currentTime', 'playbackRate', 'volume'].includes(name)));

function useShape(player: StreamPlayerApi | undefined): string {
  const [shape, setShape] = useState('16 / 9');
  useEffect(() => {
    if (player === undefined) return;
    const look = () => {
      const { videoHeight, videoWidth } = player;
      if (videoHeight > 0 && videoWidth > 0) setShape(`${videoWidth} / ${videoHeight}`);
    };
    player.addEventListener('resize', look);
    player.addEventListener('loadedmetadata', look);
    return () => {
      player.removeEventListener('resize', look);
      player.removeEventListener('loadedmetadata', look);
    };
  }, [player]);
  return shape;
}
