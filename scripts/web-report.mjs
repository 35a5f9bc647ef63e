// Reads vitest's JSON report: prints "PASSED FAILED SKIPPED" and writes the names of the skipped tests to a file.
// A file that could not even be loaded has no tests in it; it counts as one failed.
import { readFileSync, writeFileSync } from "node:fs";

const [report, skippedFile] = process.argv.slice(2);
const { testResults } = JSON.parse(readFileSync(report, "utf8"));

const tests = testResults.flatMap((file) => file.assertionResults);
const passed = tests.filter((test) => test.status === "passed").length;
const failed = tests.filter((test) => test.status === "failed").length;
const unloadable = testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0).length;
const skipped = tests.filter((test) => !["passed", "failed"].includes(test.status));

writeFileSync(skippedFile, skipped.map((test) => `web: ${test.fullName}\n`).join(""));
console.log(passed, failed + unloadable, skipped.length);
