import { useEffect, useState } from 'react';
import { base } from './iframe-src';

type Sdk = NonNullable<Window['Stream']>;

/** `window.Stream`, from the page or from the server; undefined until it is there. */
export function useStreamSDK(host?: string): Sdk | undefined {
  const [sdk, setSdk] = useState<Sdk | undefined>(() => (typeof window === 'undefined' ? undefined : window.Stream));
  const address = `${base(host)}/embed/sdk.latest.js`;
  useEffect(() => {
    if (sdk !== undefined) return;
    const script = scriptOf(address);
    const loaded = () => setSdk(() => window.Stream);
    // Another component may have asked for it first, and it may have come already.
    if (window.Stream !== undefined) loaded();
    script.addEventListener('load', loaded);
    return () => script.removeEventListener('load', loaded);
  }, [sdk, address]);
  return sdk;
}

function scriptOf(address: string): HTMLScriptElement {
  const there = [...document.scripts].find((script) => script.getAttribute('src') === address);
  if (there !== undefined) return there;
  const script = document.createElement('script');
  script.src = address;
  document.head.append(script);
  return script;
}
