/** What the Translation panel's page and the extension say to each other. Types only. */
import type { TranslateArguments, TranslateResponse } from '../../debug-adapter/protocol/requests.ts';

/** What the user asks about. */
export interface Question {
  readonly expression: string;
  readonly access: NonNullable<TranslateArguments['access']>;
}

export type ToPanel =
  | { readonly kind: 'idle'; readonly question: Question; readonly reason: string }
  | { readonly kind: 'error'; readonly question: Question; readonly message: string }
  | { readonly kind: 'answer'; readonly question: Question; readonly vcpu: number; readonly answer: TranslateResponse };

export type FromPanel =
  /** The page is there; it may remember a question from before it was hidden. */
  | { readonly kind: 'ready'; readonly question: Question | undefined }
  | { readonly kind: 'ask'; readonly question: Question }
  | { readonly kind: 'show-memory'; readonly reference: string };
