// Storage in files (Node): what was set is on the disk before `set` resolves, whole or not at all.

import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

const LEFT_OVER_MS = 60_000;

/** One file for each name, in a directory that is made if need be; readable by its owner only. */
export function fileStorage(directory) {
  const fileOf = (name) => join(directory, `${createHash('sha256').update(name).digest('hex')}.json`);
  let ready;

  return {
    async get(name) {
      try {
        return await readFile(fileOf(name), 'utf8');
      } catch (error) {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      }
    },

    async set(name, value) {
      await (ready ??= prepare(directory).catch((error) => { ready = undefined; throw error; }));
      const unfinished = join(directory, `${randomUUID()}.tmp`);
      try {
        await written(unfinished, value);
        await rename(unfinished, fileOf(name));
      } catch (error) {
        await rm(unfinished, { force: true }).catch(() => {});
        throw error;
      }
      // The name is durable only with its directory. Windows cannot open one, and does without.
      if (process.platform !== 'win32') await synced(directory, 'r');
    },

    async delete(name) {
      await rm(fileOf(name), { force: true });
    },
  };
}

async function written(path, value) {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(value);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function synced(path, flags) {
  const file = await open(path, flags);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes the directory, and sweeps what processes left that were killed while they wrote. */
async function prepare(directory) {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  for (const file of await readdir(directory)) {
    if (!file.endsWith('.tmp')) continue;
    const path = join(directory, file);
    const age = await stat(path).then((found) => Date.now() - found.mtimeMs, () => 0);
    if (age > LEFT_OVER_MS) await rm(path, { force: true });
  }
}
