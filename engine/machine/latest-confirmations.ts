/** Translations that were held against the tables, as long as that holds: nobody has to walk for them again. */
import type { Access } from '../mmu/access.ts';
import type { AddressSpace } from '../mmu/walk.ts';

/** So many pages are remembered. */
const REMEMBERED = 1024;

/** What an access asks the tables. */
export interface Question {
  /** Linear address of the page. */
  readonly page: number;
  readonly access: Access;
  /** `Mmu.policyOf`. */
  readonly policy: number;
  readonly space: AddressSpace;
}

interface Answer extends Question {
  /** Host-physical address of the page. */
  readonly physical: number;
}

export class LatestConfirmations {
  readonly #answers = new Map<number, Answer>();

  has({ page, access, policy, space }: Question, physical: number): boolean {
    const answer = this.#answers.get(page);
    if (answer?.physical !== physical || answer.access !== access) return false;
    return answer.policy === policy && answer.space === space;
  }

  add(question: Question, physical: number): void {
    if (this.#answers.size >= REMEMBERED) this.#answers.clear();
    this.#answers.set(question.page, { ...question, physical });
  }

  /** What translates the page may be written. */
  drop(page: number): void {
    this.#answers.delete(page);
  }

  clear(): void {
    this.#answers.clear();
  }
}
