// Node's test runner with a limit for every test and hook: a call into a browser that never answers fails one test, with its
// name, instead of stopping the whole suite without a word.
import * as runner from "node:test";

/** Several times the slowest test on a busy machine, in milliseconds. */
const TEST_LIMIT = 300_000;

/** The same for a test of many parts, each of which has the limit above; less than a file has. */
export const PARTS_LIMIT = 840_000;

/** Starting a fleet and a browser, and ending both, takes seconds, and a minute on a busy machine. */
const HOOK_LIMIT = 180_000;

export const test = (name, run, limit = TEST_LIMIT) => runner.test(name, { timeout: limit }, run);
/** A part of the test that `parent` runs. */
export const part = (parent, name, run) => parent.test(name, { timeout: TEST_LIMIT }, run);
export const before = run => runner.before(run, { timeout: HOOK_LIMIT });
export const after = run => runner.after(run, { timeout: HOOK_LIMIT });
export const beforeEach = run => runner.beforeEach(run, { timeout: HOOK_LIMIT });
export const afterEach = run => runner.afterEach(run, { timeout: HOOK_LIMIT });
