// Bundles the page and writes it as a C file that embeds it:
//
//     node ui/build.mjs OUT.c FOLDER [DEPFILE]
//
// FOLDER receives the files themselves, OUT.c the table of them (src/console/files.h), DEPFILE
// what they were made from, in Make's format.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import * as esbuild from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const pages = JSON.parse(readFileSync(join(here, 'pages.json'), 'utf8'));
/** Octets of the gzipped first load, index, script and style together. */
const FIRST_LOAD_MAX = 350 * 1024;

const types = {
  css: 'text/css; charset=utf-8',
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

/** PatternFly's base style without its fonts and pictures: the system's fonts serve. */
const leanBase = {
  name: 'lean-base',
  setup(build) {
    build.onLoad({ filter: /react-core[\\/]dist[\\/]styles[\\/]base\.css$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8')
        .replace(/@font-face\s*\{[^}]*\}/g, '')
        .replace(/url\("\.\/assets\/[^"]*"\)/g, 'none'),
      loader: 'css',
    }));
  },
};

async function bundle() {
  return esbuild.build({
    absWorkingDir: here,
    entryPoints: { app: 'src/main.tsx' },
    outdir: 'out', // nothing is written there: paths only
    write: false,
    bundle: true,
    splitting: true,
    format: 'esm',
    target: ['es2022', 'chrome111', 'firefox115', 'safari16.4'],
    jsx: 'automatic',
    minify: true,
    legalComments: 'none',
    metafile: true,
    entryNames: 'assets/[name]-[hash]',
    chunkNames: 'assets/[name]-[hash]',
    assetNames: 'assets/[name]-[hash]',
    define: { 'process.env.NODE_ENV': '"production"' },
    loader: { '.svg': 'file' },
    publicPath: '/',
    plugins: [leanBase],
    logLevel: 'warning',
  });
}

function named(result, extension) {
  const out = Object.entries(result.metafile.outputs).find(
    ([path, output]) => output.entryPoint === 'src/main.tsx' && path.endsWith('.js'));
  const path = extension === 'js' ? out[0] : out[1].cssBundle;
  return `/${relative('out', path)}`;
}

/** The scripts that the entry imports without waiting for anything, so that they load at once. */
function imported(result) {
  const outputs = result.metafile.outputs;
  const entry = Object.keys(outputs).find((path) => outputs[path].entryPoint === 'src/main.tsx');
  const found = new Set();
  const follow = (path) => {
    for (const next of outputs[path].imports)
      if (next.kind === 'import-statement' && !found.has(next.path)) {
        found.add(next.path);
        follow(next.path);
      }
  };
  follow(entry);
  return [...found].map((path) => `/${relative('out', path)}`);
}

function index(result, icon) {
  const preload = imported(result).map((path) => `<link rel="modulepreload" href="${path}">\n`);
  return Buffer.from(readFileSync(join(here, 'index.html'), 'utf8')
    .replace('@STYLE@', named(result, 'css'))
    .replace('@SCRIPT@', named(result, 'js'))
    .replace('@ICON@', icon)
    .replace('@PRELOAD@\n', preload.join('')));
}

const hash = (octets) => createHash('sha256').update(octets).digest('hex').slice(0, 16);

/** The pages' own style sheets load with them; the first load is what index.html asks for. */
function checkSize(files, result) {
  const first = ['/', named(result, 'js'), named(result, 'css'), ...imported(result)];
  const octets = first.reduce((sum, path) => sum + files.get(path).gzip.length, 0);
  console.log(`first load: ${octets} octets gzipped in ${first.length} files ` +
              `(at most ${FIRST_LOAD_MAX})`);
  if (octets > FIRST_LOAD_MAX) {
    console.error('ui: the first load is too large');
    process.exit(1);
  }
}

function collect(result) {
  const files = new Map();
  const add = (path, octets, lasting) => files.set(path, {
    path, octets, lasting,
    gzip: gzipSync(octets, { level: 9 }),
    type: types[path === '/' ? 'html' : path.split('.').pop()],
    tag: hash(octets),
  });
  const icon = readFileSync(join(here, 'icon.svg'));
  const iconPath = `/assets/icon-${hash(icon).slice(0, 8)}.svg`;
  add(iconPath, icon, true);
  for (const file of result.outputFiles)
    add(`/${relative(join(here, 'out'), file.path)}`, Buffer.from(file.contents), true);
  add('/', index(result, iconPath), false);
  return files;
}

function table(files, folder) {
  const rows = [...files.values()];
  const paths = rows.flatMap((file, i) => file.path === '/'
    ? ['/', '/login', '/setup', ...pages.map((page) => page.path)].map((path) => [path, i])
    : [[file.path, i]]);
  const embed = rows.map((file, i) => `EMBED(${i}, "${join(folder, `${i}`)}")`);
  const row = ([path, i]) => `    { "${path}", "${rows[i].type}", "\\"${rows[i].tag}\\"", ` +
    `page_${i}, page_${i}_end, page_${i}_gzip, page_${i}_gzip_end, ${rows[i].lasting} },`;
  return `/* Made by ui/build.mjs. */
#include "console/files.h"

#define EMBED_AS(symbol, path)                                                                     \\
    extern const char symbol[], symbol##_end[];                                                    \\
    __asm__(".section .rodata\\n" #symbol ":\\n.incbin \\"" path "\\"\\n" #symbol "_end:\\n.previous\\n");
#define EMBED(i, path) EMBED_AS(page_##i, path) EMBED_AS(page_##i##_gzip, path ".gz")

${embed.join('\n')}

const struct console_file console_files[] = {
${paths.map(row).join('\n')}
};
const size_t console_file_count = sizeof console_files / sizeof console_files[0];
`;
}

const [out, folderName, depfile] = process.argv.slice(2);
const result = await bundle();
const files = collect(result);
checkSize(files, result);
if (out) {
  const folder = resolve(folderName);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  [...files.values()].forEach((file, i) => {
    writeFileSync(join(folder, `${i}`), file.octets);
    writeFileSync(join(folder, `${i}.gz`), file.gzip);
  });
  writeFileSync(out, table(files, folder));
}
if (depfile) {
  const inputs = [...Object.keys(result.metafile.inputs), 'build.mjs', 'index.html', 'icon.svg',
    'pages.json', 'package-lock.json'];
  writeFileSync(depfile, `${out}: ${inputs.map((path) => resolve(here, path)).join(' ')}\n`);
}
