/** What viewers said, as the dashboard shows it: the newest first. Pure. */
import { number, record, text } from '../shared/json';

export interface SaidLine {
  id: number;
  name: string;
  text: string;
}

export function parseSaid(rows: unknown[]): SaidLine[] {
  const lines = rows.map((row) => {
    const fields = record(row);
    const [id, name, said] = [number(fields.id), text(fields.name), text(fields.text)];
    return id === null || name === null || said === null ? null : { id, name, text: said };
  });
  return lines.filter((line) => line !== null).reverse();
}

export function chatLine(allowed: boolean): string {
  return allowed ? 'Chat: viewers may chat' : 'Chat: off';
}
