/** An element of watch.html, which has it. */
export function element<T extends HTMLElement = HTMLElement>(name: string): T {
  const found = document.getElementById(name);
  if (found === null) throw new Error(`watch.html has no #${name}`);
  return found as T;
}
