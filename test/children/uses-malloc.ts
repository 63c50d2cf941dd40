// Takes MiB of memory by one allocation of the C library, touches it, keeps it for a while, ends with exit code 3.
const [mib = '64', ms = '1500'] = process.argv.slice(2);
// Above the limit of V8's own pages a Buffer is one calloc.
const buffer = Buffer.alloc(Number(mib) * 2 ** 20, 1);
setTimeout(() => process.exit(buffer[1] === 1 ? 3 : 4), Number(ms));
