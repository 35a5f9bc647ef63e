/** Everything behind the sign-in; loaded only then. */
import { mount, unmount } from 'svelte';
import { Api } from './api';
import Page from './Page.svelte';
import { Model } from './model.svelte';
import type { Session } from './session';
import './dashboard.css';

/** Returns what signs out. `signOut` is told why, in words; empty where the user asked for it. */
export function openDashboard(target: HTMLElement, session: Session, signOut: (words: string) => void): () => void {
  const model = new Model(new Api(session), (words) => {
    model.stop();
    void unmount(page);
    signOut(words);
  });
  const page = mount(Page, { target, props: { model } });
  model.start();
  return () => model.signOut();
}
