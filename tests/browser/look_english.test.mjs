// The looks of the overlay, in English. The states are those of support/states.mjs; screenshots go to target/screenshots.
import { PARTS_LIMIT, test } from "./support/timed.mjs";
import { everyState } from "./support/states.mjs";

// SPEC 6: The overlay looks right: every state at three sizes, no violation that axe-core finds,
// targets of 44 pixels
test("every state is clear, within reach and accessible", runner => everyState(runner, "en", "en-GB"), PARTS_LIMIT);
