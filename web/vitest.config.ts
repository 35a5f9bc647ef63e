import { defineConfig } from 'vitest/config';

export default defineConfig({ test: { include: ['e2e/**/*.test.{ts,tsx}'], environment: 'node', testTimeout: 60_000 } });
