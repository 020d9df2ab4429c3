import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.{ts,tsx}'],
    restoreMocks: true,
    testTimeout: 60_000, // of a test that hangs; how fast one is depends on what else the machine does
  },
})
