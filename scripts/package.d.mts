export function packageExtension(out: string, folder?: string): Promise<string>;
