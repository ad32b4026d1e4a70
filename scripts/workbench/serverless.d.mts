export interface ServerlessOptions {
  port?: number;
  workspace: string;
  settings?: Record<string, unknown>;
  installed?: readonly string[];
  developed?: readonly string[];
  testsPath?: string | undefined;
  log?: (line: string) => void;
}
export function serveWorkbench(options: ServerlessOptions): Promise<{ url: string; close(): Promise<void> }>;
