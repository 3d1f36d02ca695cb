import type { Storage } from './index.js';

/** Keeps in files below a directory, which is made if need be (Node). Readable by their owner only. */
export function fileStorage(directory: string): Storage;
