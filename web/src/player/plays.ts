/**
 * The promises of `play()`. They outlive a source that is exchanged meanwhile (the live picture by its replay), as the
 * media element's own do not; like those, a pause or a refusal ends them (HTML, "dom-media-play").
 */
export class Plays {
  private waiting: { done: () => void; failed: (error: unknown) => void }[] = [];

  add(): Promise<void> {
    return new Promise((done, failed) => this.waiting.push({ done, failed }));
  }

  begun(): void {
    for (const { done } of this.waiting.splice(0)) done();
  }

  refused(error: unknown): void {
    for (const { failed } of this.waiting.splice(0)) failed(error);
  }
}

/** Of a source that has failed, at once; one that is not live yet is waited for. */
export function nothingToPlay(): DOMException {
  return new DOMException('there is nothing that could be played', 'NotSupportedError');
}
