// The old name of what starts a browser.
export * from "./browser.mjs";
