/** The audit log as the dashboard shows it. Pure. */
import { date, list, record, text } from '../shared/json';

export interface Change {
  id: string;
  whenMs: number | null;
  /** In words: what was done with what. */
  what: string;
  /** Who, and from where. */
  who: string;
  /** The names of what was set, never the values. */
  fields: string[];
  refused: boolean;
}

const KINDS: Record<string, string> = {
  live_inputs: 'live input',
  videos: 'recording',
  keys: 'signing key',
  tokens: 'API token',
  links: 'link',
  chat: 'chat',
  captions: 'captions',
  downloads: 'downloads',
  configuration: 'configuration',
};

const DEEDS: Record<string, string> = {
  create: 'made',
  update: 'changed',
  delete: 'deleted',
  rotate_keys: 'new key',
  token: 'token made',
  value: 'new value',
  clip: 'clip made',
  reload: 'read again',
};

export function parseChanges(rows: unknown[]): Change[] {
  return rows.map(parseChange).filter((change) => change !== null);
}

function parseChange(value: unknown): Change | null {
  const fields = record(value);
  const id = text(fields.id);
  if (id === null) return null;
  const [action, actor, resource, metadata] = [record(fields.action), record(fields.actor), record(fields.resource), record(fields.metadata)];
  const [name, from, by] = [text(actor.name) ?? text(actor.id) ?? 'somebody', text(actor.ip), text(fields.interface)];
  return {
    id,
    whenMs: date(fields.when),
    what: words(text(action.type) ?? '', text(resource.type) ?? '', text(resource.id) ?? ''),
    who: [name, from, by].filter((part) => part !== null && part !== '').join(' · '),
    fields: list(metadata.fields).flatMap((field) => text(field) ?? []),
    refused: action.result === false,
  };
}

function words(action: string, kind: string, id: string): string {
  if (action === 'sign_in') return 'Signed in';
  if (action === 'sign_out') return 'Signed out';
  const thing = KINDS[kind] ?? kind;
  const said = `${thing}: ${DEEDS[action] ?? action.replaceAll('_', ' ')}`;
  return `${said.charAt(0).toUpperCase()}${said.slice(1)}${id === '' ? '' : ` (${id.slice(0, 8)})`}`;
}
