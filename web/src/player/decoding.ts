/** What WebCodecs is told of a track, and whether it can decode it. */
import type { CatalogTrack } from '../moq/catalog';

type Config = Uint8Array<ArrayBuffer> | null;

/** With a configuration record NAL units have lengths; without one they are Annex B (LOC-04 §2.1). */
export function videoConfig({ codec }: CatalogTrack, config: Config): VideoDecoderConfig {
  const description = config !== null && /^(avc1|hvc1|hev1)/.test(codec) ? { description: config } : {};
  return { codec, optimizeForLatency: true, ...description };
}

export function audioConfig({ codec, samplerate, channels }: CatalogTrack, config: Config): AudioDecoderConfig {
  const description = config !== null && codec.startsWith('mp4a') ? { description: config } : {};
  // RFC 6381 has MP4's name of it, WebCodecs a name of its own.
  const name = isOpus(codec) ? 'opus' : codec;
  return { codec: name, sampleRate: samplerate, numberOfChannels: channels, ...description };
}

function isOpus(codec: string): boolean {
  return codec.toLowerCase() === 'opus';
}

/** Codecs whose configuration is written in another way than WebCodecs reads it are left to Media Source. */
export async function canDecode(track: CatalogTrack): Promise<boolean> {
  if (track.packaging !== 'loc') return false;
  try {
    if (track.role === 'video' && /^(avc1|hvc1|hev1|vp09|av01)/.test(track.codec)) {
      return (await VideoDecoder.isConfigSupported(videoConfig(track, track.init))).supported === true;
    }
    // Opus of more channels needs a mapping.
    if (track.role === 'audio' && (/^mp4a\.40\./.test(track.codec) || (isOpus(track.codec) && track.channels <= 2))) {
      return (await AudioDecoder.isConfigSupported(audioConfig(track, track.init))).supported === true;
    }
  } catch {
    // It does not even know the name.
  }
  return false;
}
