type Log = (line: string) => void;
export const codeServerVersion: string;
export const cacheFolder: string;
export function fetchWorkbench(log?: Log): Promise<string>;
export function fetchCodeServer(log?: Log): Promise<string>;
export function fetchNode24(log?: Log): Promise<string>;
export function writeFirstSettings(userData: string, settings: Record<string, unknown>): Promise<void>;
