import tseslint from 'typescript-eslint'

// The style rules that a machine can hold. The rest is in test/tidy.test.ts.
export default tseslint.config(
  { ignores: ['dist/**', 'node_modules/**', '.tap/**'] },
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { project: ['./test/tsconfig.json'], tsconfigRootDir: import.meta.dirname } },
    rules: {
      'max-len': ['error', { code: 110, ignoreUrls: true, ignoreTemplateLiterals: false }],
      'max-lines': ['error', { max: 500 }],
      'max-lines-per-function': ['error', { max: 70, skipComments: true, skipBlankLines: true }],
      'no-restricted-syntax': ['error',
        { selector: 'ExportDefaultDeclaration', message: 'Use named exports.' },
        { selector: 'TSEnumDeclaration', message: 'Use a const object or a union.' }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/unbound-method': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true }],
      // A default that says why the rest needs nothing is as good as naming it all.
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unnecessary-condition': 'off',
      '@typescript-eslint/no-non-null-assertion': 'error'
    }
  },
  {
    files: ['src/core/**/*.ts'],
    rules: {
      'no-restricted-imports': ['error', { patterns: [
        { group: ['node:*'], message: 'The core does no I/O: it imports no node: module.' },
        { group: ['../!(base)/**', '!../base/**'], message: 'The core imports nothing of ours but src/base.' }] }],
      'no-restricted-globals': ['error', 'setTimeout', 'setInterval', 'setImmediate', 'process', 'Buffer', 'Date'],
      'no-restricted-properties': ['error',
        { object: 'Math', property: 'random', message: 'The core gets its randomness from outside.' },
        { object: 'performance', property: 'now', message: 'The core reads no clock.' }]
    }
  },
  {
    // Test files hold many cases in one callback, so the length of a function says little there.
    files: ['test/**/*.ts', 'bench/**/*.ts'],
    rules: { 'max-lines-per-function': 'off' }
  }
)
