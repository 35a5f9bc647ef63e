/** Every sentence that the player says. The rule: no state in which a viewer looks at black without a word. */
import type { Failure, State } from './session';

export type Action = 'watch-recording' | 'go-live' | 'try-again' | 'replay';

export interface Notice {
  tone: 'busy' | 'quiet' | 'error';
  title: string;
  detail: string;
  actions: { id: Action; label: string }[];
  /** A pill over the running picture instead of a card in its middle. */
  small: boolean;
}

/** `retryInS`: seconds until the next attempt, of a lost connection only. */
export function describe(state: State, retryInS: number, pictured: boolean): Notice | null {
  switch (state.name) {
    case 'asking':
      return card('busy', 'Connecting…', '');
    case 'waiting':
      return card(
        'quiet',
        'The broadcaster is not live at the moment',
        [sentence(state.status), 'The picture appears here by itself as soon as the broadcast begins.']
          .join(' ')
          .trim(),
        state.recording === null ? [] : [{ id: 'watch-recording', label: 'Watch the last broadcast' }],
      );
    case 'live':
      if (state.needsLoad) {
        return card('quiet', 'The broadcaster is not live at the moment', 'Looking again every few seconds.');
      }
      if (state.stalled) {
        return pill(
          'busy',
          'Waiting for the broadcaster…',
          sentence(state.status) || 'Nothing new is arriving. Playback goes on by itself.',
        );
      }
      return pictured ? null : card('busy', 'Tuning in…', '');
    case 'ending':
      return state.next === null ? null : newBroadcast();
    case 'replay':
      if (state.next !== null) return newBroadcast();
      if (state.ended && state.list === true) {
        return card('quiet', 'The end', '', [{ id: 'replay', label: 'Watch again' }]);
      }
      if (state.ended) {
        return card('quiet', 'The broadcast has ended', 'You can watch it again from the start.', [
          { id: 'replay', label: 'Watch from the start' },
        ]);
      }
      return pictured ? null : card('busy', 'Loading the recording…', '');
    case 'lost':
      return card(
        'error',
        `Connection lost, trying again in ${Math.max(1, Math.ceil(retryInS))} s`,
        'Check the network of this device. Playback goes on by itself.',
        [],
        pictured,
      );
    case 'stopped':
      return stopped(state.failure);
  }
}

/** A device was chosen that does not play it. */
export const NOT_THERE: Notice = pill('quiet', "The other screen doesn't play this", 'The picture goes on here.');

function stopped(failure: Failure): Notice {
  switch (failure.kind) {
    case 'codec':
      return card(
        'error',
        "This browser can't play the broadcast's codec",
        `The broadcast is ${codecName(failure.codec)}. Another browser or device may be able to play it.`,
      );
    case 'browser':
      return card(
        'error',
        "This browser can't play live video",
        'It has neither Media Source Extensions nor HLS of its own. A current Chrome, Firefox, Edge or Safari can.',
      );
    case 'http':
      if (failure.status === 401 || failure.status === 403) {
        return card(
          'error',
          'You may not watch this broadcast',
          refusal(failure.words ?? ''),
          [{ id: 'try-again', label: 'Try again' }],
        );
      }
      if (failure.list === true) {
        return card(
          'error',
          'There is nothing to play at this address',
          sentence(failure.words ?? '') || 'Check the link for missing characters.',
          [{ id: 'try-again', label: 'Try again' }],
        );
      }
      return card(
        'error',
        'There is no broadcast at this address',
        'Check the link for missing characters.',
        [{ id: 'try-again', label: 'Try again' }],
      );
    case 'media':
      return card(
        'error',
        "The broadcast can't be decoded",
        `The browser gave up on the broadcast's data (${failure.detail}).`,
        [{ id: 'try-again', label: 'Try again' }],
      );
    case 'network':
    case 'not-live':
      return card('error', 'The broadcast could not be loaded', '', [
        { id: 'try-again', label: 'Try again' },
      ]);
  }
}

/** The server's reason, and what to do about it. */
function refusal(words: string): string {
  const reason = sentence(words) || 'The link is not valid, or no longer.';
  return `${reason} Ask the broadcaster for a new link.`;
}

/** A name a person knows for an RFC 6381 codec string. */
export function codecName(codec: string): string {
  const known: [RegExp, string][] = [
    [/^(hvc1|hev1)/, 'HEVC (H.265)'],
    [/^(avc1|avc3)/, 'H.264'],
    [/^av01/, 'AV1'],
    [/^vp09/, 'VP9'],
    [/^ec-3/, 'Dolby Digital Plus'],
    [/^ac-3/, 'Dolby Digital'],
    [/^mp4a/, 'AAC'],
  ];
  const parts = codec.split(',').map((part) => {
    const trimmed = part.trim();
    return known.find(([pattern]) => pattern.test(trimmed))?.[1] ?? trimmed;
  });
  return parts.filter((part) => part !== '').join(' and ') || 'in a codec that is not known here';
}

function newBroadcast(): Notice {
  const actions: Notice['actions'] = [{ id: 'go-live', label: 'Watch live' }];
  return { tone: 'quiet', title: 'A new broadcast is on the air', detail: '', actions, small: true };
}

function card(
  tone: Notice['tone'],
  title: string,
  detail: string,
  actions: Notice['actions'] = [],
  small = false,
): Notice {
  return { tone, title, detail, actions, small };
}

function pill(tone: Notice['tone'], title: string, detail: string): Notice {
  return card(tone, title, detail, [], true);
}

function sentence(text: string): string {
  const trimmed = text.trim();
  if (trimmed === '') return '';
  const capital = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(capital) ? capital : `${capital}.`;
}
