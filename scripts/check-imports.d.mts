export const engineOrder: readonly string[];
export function importsOf(text: string): { specifier: string; typesOnly: boolean; line: number }[];
export function complaintsAbout(file: string, text: string): string[];
