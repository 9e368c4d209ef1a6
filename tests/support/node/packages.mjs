// Lets files outside tests/flows use the npm packages that are installed there.
import { createRequire } from 'node:module';

export const packages = createRequire(new URL('../../flows/package.json', import.meta.url));
