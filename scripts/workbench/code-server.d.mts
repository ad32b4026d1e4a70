export interface CodeServerOptions {
  port?: number;
  workspace: string;
  settings?: Record<string, unknown>;
  vsix?: readonly string[];
  data: string;
  smokeTestDriver?: boolean;
  log?: (line: string) => void;
}
export interface RunningCodeServer {
  url: string;
  /** host:port */
  authority: string;
  /** Fulfilled with the exit code when the server ends. */
  exited: Promise<number | null>;
  close(): Promise<void>;
}
export function startCodeServer(options: CodeServerOptions): Promise<RunningCodeServer>;
