// Makes openapi.d.ts from the OpenAPI document of the real binary (`write`), or fails if it is stale (`compare`).
// Only what the partner API needs is in it: a client has no use for the rest.

import { readFile, writeFile } from 'node:fs/promises';
import openapiTS, { astToString } from 'openapi-typescript';
import { startLungo } from '../test/server.js';

const FILE = new URL('../openapi.d.ts', import.meta.url);
const HEADER = '// Made from /openapi.json by `npm run types`; not to be changed by hand.\n\n';

const server = await startLungo();
let document;
try {
  document = await (await fetch(`${server.url}/openapi.json`)).json();
} finally {
  await server.stop();
}
const types = HEADER + astToString(await openapiTS(partnerPart(document), { exportType: false }));

if (process.argv[2] === 'write') {
  await writeFile(FILE, types);
} else if (types !== await readFile(FILE, 'utf8').catch(() => '')) {
  console.error('client/openapi.d.ts is not what /openapi.json says: run `npm run types` in client/');
  process.exitCode = 1;
}

/** The operations that a partner's key opens, what its webhooks bring, and every schema that these lead to. */
function partnerPart({ openapi, info, paths, components }) {
  const kept = {};
  for (const [path, methods] of Object.entries(paths)) {
    const open = Object.entries(methods).filter(([, operation]) => operation.security?.some((one) => 'partnerKey' in one));
    // Every refusal is a `Problem`, so that the refusals of each operation are left out.
    const lean = open.map(([method, operation]) => [method, { ...operation, responses: definite(operation.responses) }]);
    if (lean.length) kept[path] = Object.fromEntries(lean);
  }
  const schemas = {};
  const follow = (node) => {
    if (typeof node !== 'object' || node === null) return;
    const name = /^#\/components\/schemas\/(.+)$/.exec(node.$ref)?.[1];
    if (name && !(name in schemas)) {
      schemas[name] = components.schemas[name];
      follow(schemas[name]);
    }
    Object.values(node).forEach(follow);
  };
  follow(kept);
  follow({ $ref: '#/components/schemas/Problem' });
  follow({ $ref: '#/components/schemas/Notification' });
  const sorted = Object.fromEntries(Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1)));
  return { openapi, info, paths: kept, components: { schemas: sorted } };
}

function definite(responses) {
  return Object.fromEntries(Object.entries(responses).filter(([status]) => status < '400'));
}
