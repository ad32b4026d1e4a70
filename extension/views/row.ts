/** A row of a tree view as plain data, apart from VS Code, so that what a view says can be tested without a window. */
import type { RingsideCommand, RingsideRequests } from '../../debug-adapter/protocol/requests.ts';

export interface Row {
  /** Unique in its view and the same at the next stop, so that what is open stays open. */
  readonly id: string;
  readonly label: string;
  readonly description?: string;
  /** Markdown. */
  readonly tooltip?: string;
  /** Name of a codicon. */
  readonly icon?: string;
  /** A theme colour of the icon. */
  readonly color?: string;
  /** What a screen reader says; by default label and description. */
  readonly spoken?: string;
  /** What "Copy Value" copies. */
  readonly value?: string;
  /** A memory reference that "Show Memory" opens. */
  readonly memory?: string;
  /** A linear address that "Translate Address" explains. */
  readonly translate?: string;
  /** A VMCS field that "Edit Value" sets. */
  readonly field?: string;
  /** A line of a source, from 1. */
  readonly source?: { readonly path: string; readonly line: number };
  /** Number of a VM exit that "Go Back to This VM Exit" goes to. */
  readonly exit?: number;
  /** Address of a VMCS that "Show This VMCS" shows. */
  readonly vmcs?: string;
  /** The VMCS field, by its group and name, that "Show This Field" selects in the VMCS view. */
  readonly reveals?: { readonly group: string; readonly name: string };
  /** The command that a click runs with the row. */
  readonly click?: string;
  /** What "Break on Value Change" and its siblings stop at, as data breakpoints name it. */
  readonly watch?: string;
  readonly expanded?: boolean;
  /** Present on rows that can be opened; read when they are. */
  readonly children?: () => readonly Row[] | Promise<readonly Row[]>;
}

/** What a view shows at a stop. */
export interface ViewContent {
  readonly rows: readonly Row[];
  /** Beside the title. */
  readonly description?: string;
  /** Above the rows, or in their place. */
  readonly message?: string;
}

/** The arguments of a request without the vCPU, which is the focused one unless given. */
export type Question<C extends RingsideCommand> = RingsideRequests[C]['arguments'];

/** Asks the adapter of the active session about the focused vCPU. */
export type Ask = <C extends RingsideCommand>(
  command: C,
  question: Question<C>,
) => Promise<RingsideRequests[C]['response']>;

/** Makes the content of a view from answers of the adapter. */
export type View = (ask: Ask) => Promise<ViewContent>;

/** Theme colours by what they are for. */
export const colors = {
  changed: 'debugTokenExpression.number',
  warning: 'list.warningForeground',
  error: 'list.errorForeground',
  off: 'disabledForeground',
} as const;
