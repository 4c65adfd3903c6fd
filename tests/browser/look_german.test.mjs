// The looks of the overlay in the language with the longest words.
import { PARTS_LIMIT, test } from "./support/timed.mjs";
import { everyState } from "./support/states.mjs";

test("every state is clear, within reach and accessible in German", runner => everyState(runner, "de", "de-DE"), PARTS_LIMIT);
