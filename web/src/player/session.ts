/**
 * What a viewer of one id is doing: waiting, watching live, watching the recording.
 *
 * Pure: no clock, no network, no DOM. `next` takes an input and returns the new state and what the driver
 * (the element) has to do. There is at most one pending `ask`; a newer one replaces it.
 */

/** The answer of `GET /ID/lifecycle`. `status` and `name` are Airwave's additions to the known contract. */
export interface Lifecycle {
  isInput: boolean;
  videoUID: string | null;
  live: boolean;
  /** Why it is not live, in words; empty if the server said nothing. */
  status: string;
  name: string | null;
  /** Where the same is over MoQ, on the same host; the certificate is one that only its SHA-256 vouches for. */
  moq: { port: number; namespace: string[]; certificate: string | null } | null;
  /** Its viewers chat, or did. */
  chat?: boolean;
  /** Its viewers may make clips. */
  clips?: boolean;
  /** The server makes pictures of it; of an input that is off the air, of its recording. */
  thumbnails?: boolean;
  /** The longest one, in seconds. */
  clipSeconds?: number | null;
}

export type Failure =
  | { kind: 'network' }
  /** `words`: why, if the server said so. `list`: of a list that was named by its own address. */
  | { kind: 'http'; status: number; words?: string; list?: boolean }
  /** The manifest is not there (204), or a playlist that was live is gone. */
  | { kind: 'not-live' }
  | { kind: 'codec'; codec: string }
  | { kind: 'media'; detail: string }
  /** The browser has neither Media Source Extensions nor native HLS. */
  | { kind: 'browser' };

export type State =
  | { name: 'asking'; attempt: number }
  | {
      name: 'live';
      videoUID: string | null;
      isInput: boolean;
      /** The picture stands still although the broadcast has not ended. */
      stalled: boolean;
      /** The engine gave up because there was nothing to load. */
      needsLoad: boolean;
      mediaFailures: number;
      status: string;
    }
  | { name: 'ending'; videoUID: string | null; next: string | null }
  | {
      name: 'replay';
      /** null: the id in the address is itself the video. */
      videoUID: string | null;
      ended: boolean;
      next: string | null;
      failures: number;
      isInput: boolean;
      /** A list that was given by its own address, such as a clip's; not a broadcast. */
      list?: boolean;
    }
  | { name: 'waiting'; recording: string | null; status: string; polls: number }
  | { name: 'lost'; before: State; attempt: number; retryMs: number }
  | { name: 'stopped'; failure: Failure; videoUID: string | null };

export type Input =
  | { kind: 'start' }
  | { kind: 'lifecycle'; lifecycle: Lifecycle }
  | { kind: 'lifecycle-failed'; failure: Failure }
  | { kind: 'failure'; failure: Failure }
  | { kind: 'stalled'; stalled: boolean }
  /** The media playlist says that nothing will be added. `whole`: it has said so from the beginning. */
  | { kind: 'playlist-ended'; whole?: boolean }
  /** The last frame was shown. */
  | { kind: 'played-out' }
  /** The viewer is playing (again) after the end of a replay. */
  | { kind: 'replaying' }
  /** Played for a while without trouble: old failures no longer count. */
  | { kind: 'steady' }
  | { kind: 'watch-recording' }
  | { kind: 'go-live' }
  | { kind: 'try-again' };

export type Effect =
  | { do: 'ask'; afterMs: number }
  /** `id` null: the id in the address. */
  | { do: 'load'; id: string | null; from: 'live' | 'start' | 'end'; afterMs: number }
  /** Go on loading what was loaded before, keeping the picture. */
  | { do: 'retry' }
  | { do: 'unload' };

export type Step = [State, Effect[]];

/** While live the lifecycle is only asked for the name and for a broadcast that was replaced. */
const LIVE_POLL_MS = 10_000;
const WAIT_POLL_MS = 2_000;
const WAIT_POLL_MS_MAX = 3_000;
const REPLAY_POLL_MS = 3_000;
/** Seconds between attempts after a lost connection; the last repeats. */
const RETRY_MS = [1_000, 2_000, 3_000, 5_000, 8_000];
/** A broken decoder is restarted this often before we say so. */
const MEDIA_FAILURES_MAX = 3;
/** A recording may appear a moment after the end of its broadcast. */
const REPLAY_FAILURES_MAX = 4;

export const initial: State = { name: 'asking', attempt: 0 };

export function next(state: State, input: Input): Step {
  switch (input.kind) {
    case 'start':
    case 'try-again':
      return [{ name: 'asking', attempt: 0 }, [ask(0)]];
    case 'lifecycle':
      return onLifecycle(state, input.lifecycle);
    case 'lifecycle-failed':
      return onLifecycleFailed(state, input.failure);
    case 'failure':
      return onFailure(state, input.failure);
    case 'stalled':
      if (state.name !== 'live' || state.stalled === input.stalled) return [state, []];
      return [{ ...state, stalled: input.stalled }, input.stalled ? [ask(0)] : []];
    case 'playlist-ended':
      if (state.name !== 'live') return [state, []];
      if (input.whole === true && isList(state)) {
        return [{ name: 'replay', videoUID: null, ended: false, next: null, failures: 0, isInput: false, list: true }, []];
      }
      return [
        { name: 'ending', videoUID: state.videoUID, next: null },
        state.isInput ? [ask(WAIT_POLL_MS)] : [],
      ];
    case 'played-out':
      return onPlayedOut(state);
    case 'replaying':
      return state.name === 'replay' && state.ended ? [{ ...state, ended: false }, []] : [state, []];
    case 'steady':
      if (state.name === 'live' && state.mediaFailures > 0) return [{ ...state, mediaFailures: 0 }, []];
      return [state, []];
    case 'watch-recording':
      return onWatchRecording(state);
    case 'go-live':
      if ((state.name === 'replay' || state.name === 'ending') && state.next !== null)
        return goLive(state.next);
      return [state, []];
  }
}

function onLifecycle(state: State, l: Lifecycle): Step {
  switch (state.name) {
    case 'asking':
    case 'waiting':
      if (!l.isInput && !l.live) return replay(null, 'start', false);
      if (l.live) return goLive(l.videoUID, l.isInput);
      return wait(l, state.name === 'waiting' ? state.polls + 1 : 0);
    case 'lost':
      return onFoundAgain(state.before, l);
    case 'live': {
      if (l.live && state.videoUID !== null && l.videoUID !== null && l.videoUID !== state.videoUID) {
        return goLive(l.videoUID, l.isInput);
      }
      if (!l.live && (state.stalled || state.needsLoad)) return onBroadcastGone(state, l);
      const videoUID = l.videoUID ?? state.videoUID;
      if (state.needsLoad) {
        return [
          { ...state, videoUID, status: l.status },
          [load(null, 'live', WAIT_POLL_MS), ask(2 * WAIT_POLL_MS)],
        ];
      }
      const poll = state.stalled ? WAIT_POLL_MS : LIVE_POLL_MS;
      return [{ ...state, videoUID, status: l.status }, l.isInput ? [ask(poll)] : []];
    }
    case 'ending':
      return [{ ...state, next: newBroadcast(l, state.videoUID) }, [ask(WAIT_POLL_MS)]];
    case 'replay': {
      if (!l.isInput) return [state, []];
      const found = newBroadcast(l, state.videoUID);
      if (found !== null && state.ended) return goLive(found);
      return [{ ...state, next: found }, [ask(REPLAY_POLL_MS)]];
    }
    case 'stopped':
      if (l.live && l.videoUID !== state.videoUID) return goLive(l.videoUID, l.isInput);
      if (!l.live && l.isInput) return wait(l, 0, [{ do: 'unload' }]);
      return [state, [ask(LIVE_POLL_MS)]];
  }
}

function onFoundAgain(before: State, l: Lifecycle): Step {
  if (before.name === 'live' && l.live && (l.videoUID === null || l.videoUID === before.videoUID)) {
    return [{ ...before, stalled: false }, [{ do: 'retry' }, ask(LIVE_POLL_MS)]];
  }
  if (before.name === 'replay') {
    return [before, [{ do: 'retry' }, ...(before.isInput ? [ask(REPLAY_POLL_MS)] : [])]];
  }
  if (before.name === 'ending' || before.name === 'live') {
    if (!l.live)
      return l.isInput ? replay(before.videoUID ?? l.videoUID, 'end', true) : replay(null, 'end', false);
  }
  return onLifecycle({ name: 'asking', attempt: 0 }, l);
}

function onBroadcastGone(state: State & { name: 'live' }, l: Lifecycle): Step {
  if (!l.isInput) return replay(null, 'end', false);
  const videoUID = state.videoUID ?? l.videoUID;
  return videoUID === null ? wait(l, 0, [{ do: 'unload' }]) : replay(videoUID, 'end', true);
}

function onLifecycleFailed(state: State, failure: Failure): Step {
  const final =
    failure.kind === 'http' && failure.status >= 400 && failure.status < 500 && failure.status !== 429;
  if (final && state.name === 'asking') return [{ name: 'stopped', failure, videoUID: null }, []];
  if (state.name === 'asking' || state.name === 'waiting')
    return lose(state, state.name === 'asking' ? state.attempt : 0);
  if (state.name === 'lost') return lose(state.before, state.attempt);
  // Playing goes on without the lifecycle; a lost connection shows itself in the media.
  return [state, [ask(LIVE_POLL_MS)]];
}

function onFailure(state: State, failure: Failure): Step {
  if (state.name !== 'live' && state.name !== 'ending' && state.name !== 'replay') return [state, []];
  const videoUID = state.videoUID;
  switch (failure.kind) {
    case 'codec':
    case 'browser':
      return [{ name: 'stopped', failure, videoUID }, [{ do: 'unload' }, ask(LIVE_POLL_MS)]];
    case 'network':
      return lose(state, 0);
    case 'media':
      if (state.name === 'live') {
        const mediaFailures = state.mediaFailures + 1;
        if (mediaFailures <= MEDIA_FAILURES_MAX) return [{ ...state, mediaFailures }, [load(null, 'live')]];
      }
      return [{ name: 'stopped', failure, videoUID }, [{ do: 'unload' }, ask(LIVE_POLL_MS)]];
    case 'http':
      if (failure.status === 401 || failure.status === 403) {
        return [{ name: 'stopped', failure, videoUID }, [{ do: 'unload' }]];
      }
      if (failure.status >= 500 || failure.status === 429) return lose(state, 0);
      if (state.name === 'live' && isList(state)) {
        return [{ name: 'stopped', failure: { ...failure, list: true }, videoUID }, [{ do: 'unload' }]];
      }
      return onNothingThere(state);
    case 'not-live':
      return onNothingThere(state);
  }
}

/** Its own address was given, so there is nobody to ask when it will be there: what the server refuses, it refuses. */
function isList(state: State & { name: 'live' }): boolean {
  return !state.isInput && state.videoUID === null;
}

function onNothingThere(state: State & { name: 'live' | 'ending' | 'replay' }): Step {
  switch (state.name) {
    case 'live':
      return [{ ...state, needsLoad: true }, [ask(0)]];
    case 'ending':
      return onPlayedOut(state);
    case 'replay': {
      const failures = state.failures + 1;
      if (failures < REPLAY_FAILURES_MAX) {
        return [
          { ...state, failures },
          [load(state.videoUID, state.ended ? 'end' : 'start', 500 * failures)],
        ];
      }
      if (!state.isInput)
        return [{ name: 'stopped', failure: { kind: 'http', status: 404 }, videoUID: null }, []];
      return [
        { name: 'waiting', recording: null, status: '', polls: 0 },
        [{ do: 'unload' }, ask(WAIT_POLL_MS)],
      ];
    }
  }
}

function onPlayedOut(state: State): Step {
  if (state.name === 'ending') {
    if (state.next !== null) return goLive(state.next);
    if (state.videoUID === null) return replay(null, 'end', false);
    return replay(state.videoUID, 'end', true);
  }
  if (state.name === 'replay' && !state.ended) {
    return state.next !== null ? goLive(state.next) : [{ ...state, ended: true }, []];
  }
  return [state, []];
}

function onWatchRecording(state: State): Step {
  if (state.name === 'waiting' && state.recording !== null) return replay(state.recording, 'start', true);
  if (state.name === 'ending') return replay(state.videoUID, 'start', state.videoUID !== null);
  return [state, []];
}

function newBroadcast(l: Lifecycle, current: string | null): string | null {
  return l.live && l.videoUID !== null && l.videoUID !== current ? l.videoUID : null;
}

function goLive(videoUID: string | null, isInput = true): Step {
  return [
    { name: 'live', videoUID, isInput, stalled: false, needsLoad: false, mediaFailures: 0, status: '' },
    [load(null, 'live'), ...(isInput ? [ask(LIVE_POLL_MS)] : [])],
  ];
}

function replay(videoUID: string | null, from: 'start' | 'end', isInput: boolean): Step {
  return [
    { name: 'replay', videoUID, ended: from === 'end', next: null, failures: 0, isInput },
    [load(videoUID, from), ...(isInput ? [ask(REPLAY_POLL_MS)] : [])],
  ];
}

function wait(l: Lifecycle, polls: number, before: Effect[] = []): Step {
  const afterMs = Math.min(WAIT_POLL_MS + polls * 100, WAIT_POLL_MS_MAX);
  return [{ name: 'waiting', recording: l.videoUID, status: l.status, polls }, [...before, ask(afterMs)]];
}

function lose(before: State, attempt: number): Step {
  const retryMs = RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)] ?? WAIT_POLL_MS;
  return [{ name: 'lost', before, attempt: attempt + 1, retryMs }, [ask(retryMs)]];
}

function ask(afterMs: number): Effect {
  return { do: 'ask', afterMs };
}

function load(id: string | null, from: 'live' | 'start' | 'end', afterMs = 0): Effect {
  return { do: 'load', id, from, afterMs };
}
