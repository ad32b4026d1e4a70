import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['**/node_modules/**', 'test/long/**', 'test/vscode/**'],
          setupFiles: process.env['RINGSIDE_EXECUTION'] === undefined ? [] : ['test/support/one-execution.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          pool: 'threads',
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'vscode',
          include: ['test/vscode/**/*.test.ts'],
          exclude: ['**/node_modules/**', 'test/vscode/in-host/**'],
          testTimeout: 180_000,
          hookTimeout: 300_000,
          // One browser at a time, and none beside the unit tests: two cores carry no more.
          pool: 'threads',
          fileParallelism: false,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'long',
          include: process.env['RINGSIDE_LONG'] === '1' ? ['test/long/**/*.test.ts'] : [],
          testTimeout: 1_200_000,
          hookTimeout: 300_000,
          pool: 'threads',
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
