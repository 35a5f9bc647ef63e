export type { Preload, StreamPlayerApi } from './api';
export { iframeSrc } from './iframe-src';
export { Stream, Stream as StreamEmbed } from './stream';
export type { StreamProps } from './props';
export { useStreamSDK } from './use-sdk';
