import { defineConfig, type ViteUserConfig } from 'vitest/config';

const config: ViteUserConfig = defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/scratch.ts',
    testTimeout: 60_000,
    sequence: { shuffle: { tests: true, files: true } },
  },
});
export default config;
