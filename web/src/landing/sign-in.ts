/** The dialog that asks for the API token. */
import { Failed } from '../dashboard/api';
import { type Session, signIn } from '../dashboard/session';

export class SignIn {
  private readonly dialog = find<HTMLDialogElement>('sign-in-dialog');
  private readonly field = find<HTMLInputElement>('token');
  private readonly words = find('sign-in-problem');
  private readonly button = find<HTMLButtonElement>('sign-in-go');

  constructor(private readonly signedIn: (session: Session) => void) {
    find('sign-in').addEventListener('click', () => this.open(''));
    find('sign-in-cancel').addEventListener('click', () => this.dialog.close());
    find('sign-in-form').addEventListener('submit', (event) => {
      event.preventDefault();
      void this.submit();
    });
  }

  open(problem: string): void {
    this.field.value = '';
    this.say(problem);
    this.dialog.showModal();
    this.field.focus();
  }

  private async submit(): Promise<void> {
    const token = this.field.value.trim();
    if (token === '') return;
    this.button.disabled = true;
    try {
      const session = await signIn(token);
      this.field.value = '';
      this.dialog.close();
      this.signedIn(session);
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      this.say(error.message);
      this.field.select();
    } finally {
      this.button.disabled = false;
    }
  }

  private say(problem: string): void {
    this.words.textContent = problem;
    this.words.hidden = problem === '';
  }
}

function find<T extends HTMLElement = HTMLElement>(name: string): T {
  const found = document.getElementById(name);
  if (found === null) throw new Error(`index.html has no #${name}`);
  return found as T;
}
