export const quietSettings: Record<string, unknown>;
