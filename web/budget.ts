/** A bound for what a page loads, compressed; part of the build, which fails beyond it. */
import { gzipSync } from 'node:zlib';
import type { Plugin } from 'vite';

interface Chunk {
  type: 'chunk';
  fileName: string;
  name: string;
  code: string;
  imports: string[];
  dynamicImports: string[];
  facadeModuleId: string | null;
  viteMetadata?: { importedCss: Set<string> };
}
interface Asset {
  type: 'asset';
  fileName: string;
  source: string | Uint8Array;
}
type Bundle = Record<string, Chunk | Asset>;

/** `page`: its chunks with all that they import, also later; without those of the names in `apart`. */
export function budget(page: string, maxKb: number, apart: string[]): Plugin {
  return {
    name: 'airwave-budget',
    apply: 'build',
    writeBundle(_options, bundle) {
      const kb = compressedBytes(bundle as unknown as Bundle, page, apart) / 1000;
      const words = `${page} loads ${kb.toFixed(1)} kB compressed without ${apart.join(', ')}, of at most ${maxKb}`;
      if (kb > maxKb) this.error(words);
      console.log(words);
    },
  };
}

export function compressedBytes(bundle: Bundle, page: string, apart: string[]): number {
  const chunks = Object.values(bundle).filter((file): file is Chunk => file.type === 'chunk');
  const entry = chunks.find(({ facadeModuleId }) => facadeModuleId?.endsWith(`/${page}`));
  if (entry === undefined) throw new Error(`the bundle has no ${page}`);
  const wanted = [entry.fileName];
  // Grows while it is read.
  for (const name of wanted) {
    const file = bundle[name];
    if (file?.type !== 'chunk') continue;
    const more = [...file.imports, ...file.dynamicImports, ...(file.viteMetadata?.importedCss ?? [])];
    const counts = (other: string) => {
      const found = bundle[other];
      return found !== undefined && !wanted.includes(other) && !(found.type === 'chunk' && apart.includes(found.name));
    };
    wanted.push(...more.filter(counts));
  }
  return wanted.reduce((sum, name) => sum + gzipSync(contents(bundle[name])).length, 0);
}

function contents(file: Chunk | Asset | undefined): string | Uint8Array {
  if (file === undefined) return '';
  return file.type === 'chunk' ? file.code : file.source;
}
