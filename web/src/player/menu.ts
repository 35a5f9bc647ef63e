/** The settings menu: a button in the bar and a panel above it. What stands in it is decided in choices.ts. */
import type { Section, SectionId } from './choices';

export class Menu {
  private shown = '';

  constructor(
    private readonly button: HTMLElement,
    private readonly panel: HTMLElement,
    frame: HTMLElement,
    private readonly choose: (section: SectionId, value: string) => void,
  ) {
    button.addEventListener('click', () => this.toggle());
    panel.addEventListener('keydown', (event) => this.onKey(event));
    panel.addEventListener('click', (event) => this.onClick(event));
    frame.addEventListener('pointerdown', (event) => {
      if (this.open && !this.holds(event.composedPath())) this.close(false);
    });
    panel.addEventListener('focusout', ({ relatedTarget }) => {
      if (relatedTarget instanceof Node && !panel.contains(relatedTarget) && relatedTarget !== button) this.close(false);
    });
  }

  get open(): boolean {
    return !this.panel.hidden;
  }

  render(sections: Section[]): void {
    this.button.hidden = sections.length === 0;
    if (sections.length === 0) this.close(false);
    const key = JSON.stringify(sections);
    if (key === this.shown) return;
    this.shown = key;
    const focused = this.focused()?.dataset.value;
    this.panel.replaceChildren(...sections.map(group));
    // The one in focus was replaced by its like.
    if (focused !== undefined) this.items().find(({ dataset }) => dataset.value === focused)?.focus();
  }

  toggle(): void {
    if (this.open) return this.close(true);
    if (this.button.hidden) return;
    this.panel.hidden = false;
    this.button.setAttribute('aria-expanded', 'true');
    const chosen = this.items().find((item) => item.getAttribute('aria-checked') === 'true');
    (chosen ?? this.items()[0])?.focus();
  }

  private close(backToButton: boolean): void {
    if (!this.open) return;
    this.panel.hidden = true;
    this.button.setAttribute('aria-expanded', 'false');
    if (backToButton) this.button.focus();
  }

  private onClick(event: Event): void {
    const item = (event.target as HTMLElement).closest<HTMLElement>('[data-value]');
    const [section, value] = item?.dataset.value?.split('/') ?? [];
    if (section === undefined || value === undefined) return;
    this.choose(section as SectionId, value);
    this.close(true);
  }

  private onKey(event: KeyboardEvent): void {
    const items = this.items();
    const at = items.indexOf(this.focused() ?? (items[0] as HTMLElement));
    const to: Partial<Record<string, number>> = {
      ArrowDown: (at + 1) % items.length,
      ArrowUp: (at + items.length - 1) % items.length,
      Home: 0,
      End: items.length - 1,
    };
    const next = to[event.key];
    if (next !== undefined) items[next]?.focus();
    else if (event.key === 'Escape') this.close(true);
    else if (event.key === 'Tab') return this.close(true);
    else return;
    event.preventDefault();
  }

  private items(): HTMLElement[] {
    return [...this.panel.querySelectorAll<HTMLElement>('[data-value]')];
  }

  private focused(): HTMLElement | null {
    const active = (this.panel.getRootNode() as ShadowRoot).activeElement;
    return active instanceof HTMLElement && this.panel.contains(active) ? active : null;
  }

  private holds(path: EventTarget[]): boolean {
    return path.includes(this.panel) || path.includes(this.button);
  }
}

function group({ id, title, options }: Section): HTMLElement {
  const group = document.createElement('div');
  group.setAttribute('role', 'group');
  group.setAttribute('aria-label', title);
  const heading = document.createElement('p');
  heading.textContent = title;
  heading.setAttribute('aria-hidden', 'true');
  group.append(heading);
  for (const { value, label, chosen } of options) {
    const item = document.createElement('button');
    item.type = 'button';
    item.tabIndex = -1;
    item.setAttribute('role', 'menuitemradio');
    item.setAttribute('aria-checked', String(chosen));
    item.dataset.value = `${id}/${value}`;
    item.textContent = label;
    group.append(item);
  }
  return group;
}
