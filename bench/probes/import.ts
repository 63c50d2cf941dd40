/** Started by cases/import.ts in a process of its own: the nanoseconds of one import. */
const specifier = process.argv[2] ?? '';
const start = performance.now();
await import(specifier);
process.stdout.write(String((performance.now() - start) * 1e6));
