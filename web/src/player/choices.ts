/** What the settings menu offers: pure, from what the engine has to what stands in the menu. */
import type { AudioTrack, Level } from './engine';

export type SectionId = 'quality' | 'audio' | 'captions' | 'speed';

export interface Option {
  /** Unique within its section. */
  value: string;
  label: string;
  chosen: boolean;
}

export interface Section {
  id: SectionId;
  title: string;
  options: Option[];
}

export interface Offer {
  levels: Level[];
  /** null: chosen by what the network carries. */
  chosenLevel: number | null;
  /** What is on the screen. */
  shown: Level | null;
  audio: AudioTrack[];
  captions: { label: string; language: string; chosen: boolean }[];
  /** null: the speed is not the viewer's to choose (live). */
  speed: number | null;
}

export const AUTO = 'auto';
export const OFF = 'off';
export const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2];

/** Only what there is a choice of. */
export function sections(offer: Offer): Section[] {
  return [quality(offer), audio(offer), captions(offer), speed(offer)].filter(({ options }) => options.length > 1);
}

function quality({ levels, chosenLevel, shown }: Offer): Section {
  if (levels.length < 2) return { id: 'quality', title: 'Quality', options: [] };
  const now = chosenLevel === null && shown !== null ? ` (${levelName(shown, levels)})` : '';
  const best = levels
    .map((level, index) => ({ level, index }))
    .sort((a, b) => b.level.height - a.level.height || b.level.bitrateBps - a.level.bitrateBps);
  const options = [
    { value: AUTO, label: `Auto${now}`, chosen: chosenLevel === null },
    ...best.map(({ level, index }) => ({
      value: String(index),
      label: levelName(level, levels),
      chosen: chosenLevel === index,
    })),
  ];
  return { id: 'quality', title: 'Quality', options };
}

/** By height; the bitrate only where that does not tell levels apart. */
export function levelName(level: Level, all: Level[]): string {
  const rate = `${(level.bitrateBps / 1e6).toFixed(1)} Mbit/s`;
  if (level.height === 0) return rate;
  const alike = all.filter(({ height }) => height === level.height);
  return alike.length > 1 ? `${level.height}p · ${rate}` : `${level.height}p`;
}

function audio({ audio }: Offer): Section {
  const names = distinct(audio.map(({ name, language }) => [languageName(language), name]));
  const options = audio.map(({ chosen }, at) => ({ value: String(at), label: names[at] ?? '', chosen }));
  return { id: 'audio', title: 'Audio', options };
}

/** One track is what the button in the bar is for. */
function captions({ captions }: Offer): Section {
  if (captions.length < 2) return { id: 'captions', title: 'Captions', options: [] };
  const names = distinct(captions.map(({ label, language }) => [languageName(language), label]));
  const options = captions.map(({ chosen }, at) => ({ value: String(at), label: names[at] ?? '', chosen }));
  const off = { value: OFF, label: 'Off', chosen: captions.every(({ chosen }) => !chosen) };
  return { id: 'captions', title: 'Captions', options: [off, ...options] };
}

function speed({ speed }: Offer): Section {
  const options = speed === null ? [] : SPEEDS.map((rate) => ({ value: String(rate), label: speedName(rate), chosen: rate === speed }));
  return { id: 'speed', title: 'Speed', options };
}

export function speedName(rate: number): string {
  return rate === 1 ? 'Normal' : `${rate} ×`;
}

/** The language's name where that is enough, else the track's own beside it. */
function distinct(tracks: [language: string, name: string][]): string[] {
  return tracks.map(([language, name], at) => {
    if (language === '') return name || `Track ${at + 1}`;
    const alone = tracks.filter(([other]) => other === language).length === 1;
    return alone || name === '' || name === language ? language : `${language} · ${name}`;
  });
}

function languageName(tag: string): string {
  if (tag === '' || tag === 'und') return '';
  try {
    return new Intl.DisplayNames(['en'], { type: 'language' }).of(tag) ?? tag;
  } catch {
    // Not BCP 47: what the playlist says is still better than nothing.
    return tag;
  }
}
