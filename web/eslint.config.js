import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['**/dist'] },
  {
    files: ['src/**/*.ts', 'e2e/**/*.{ts,tsx}', 'packages/**/*.{ts,tsx}'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      eqeqeq: 'error',
      'prefer-const': 'error',
    },
  },
);
