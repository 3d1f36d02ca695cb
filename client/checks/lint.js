// Holds the document of the real binary against redocly's recommended rules.

import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startLungo } from '../test/server.js';

const inClient = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'lungo-document-'));
const server = await startLungo();
try {
  const file = join(folder, 'openapi.json');
  await writeFile(file, JSON.stringify(await (await fetch(`${server.url}/openapi.json`)).json(), null, 2));
  const { status } = spawnSync(inClient('node_modules/.bin/redocly'), ['lint', file, '--config', inClient('redocly.yaml')], {
    stdio: 'inherit', env: { ...process.env, REDOCLY_TELEMETRY: 'off' },
  });
  process.exitCode = status ?? 1;
} finally {
  await server.stop();
  await rm(folder, { recursive: true });
}
