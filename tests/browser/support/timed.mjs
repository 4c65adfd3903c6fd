// Node's test runner with a limit for every test and hook: a call into a browser that never answers fails one test, with its
// name, instead of stopping the whole suite without a word.
import * as runner from "node:test";

/** Several times the slowest test on a busy machine, in milliseconds. */
const TEST_LIMIT = 180_000;

/** Closing a browser and ending `demo` take seconds. */
const HOOK_LIMIT = 60_000;

export const test = (name, run) => runner.test(name, { timeout: TEST_LIMIT }, run);
export const before = run => runner.before(run, { timeout: HOOK_LIMIT });
export const after = run => runner.after(run, { timeout: HOOK_LIMIT });
export const beforeEach = run => runner.beforeEach(run, { timeout: HOOK_LIMIT });
export const afterEach = run => runner.afterEach(run, { timeout: HOOK_LIMIT });
