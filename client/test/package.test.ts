import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { expect, it } from 'vitest'

const root = new URL('..', import.meta.url).pathname
const run = (command: string, ...args: string[]) => {
  const { status, stdout, stderr } = spawnSync('node', [`node_modules/${command}`, ...args], { cwd: root, encoding: 'utf8' })
  return { status, told: stdout + stderr }
}

/** The built entry as a page's bundler leaves it; peers apart. */
async function bundled(entry: string): Promise<Uint8Array> {
  const { outputFiles } = await build({
    entryPoints: [`${root}dist/${entry}`], bundle: true, minify: true, format: 'esm', target: 'es2022', write: false,
    external: ['react', 'react-dom'], logLevel: 'silent',
  })
  return outputFiles[0]?.contents ?? new Uint8Array()
}

it('the core is at most 6 KiB, compressed', async () => {
  const size = gzipSync(await bundled('index.js'), { level: 9 }).length
  expect(size).toBeGreaterThan(2048)
  expect(size).toBeLessThanOrEqual(6 * 1024)
})

it('the core knows nothing of React', async () => {
  expect(new TextDecoder().decode(await bundled('index.js'))).not.toMatch(/react/i)
})

it('needs nothing at run time', () => {
  expect(JSON.parse(readFileSync(`${root}package.json`, 'utf8'))).not.toHaveProperty('dependencies')
})

it('is a package as bundlers want it (publint)', () => {
  expect(run('publint/src/cli.js', '--strict', '--level', 'warning')).toMatchObject({ status: 0 })
})

it('has types that resolve as its code does (attw)', () => {
  const { status, told } = run('@arethetypeswrong/cli/dist/index.js', '--pack', '.', '--profile', 'esm-only', '--no-emoji')
  expect(status, told).toBe(0)
})

it.each(['client', 'devstack', 'tests/node'])('the lock file of %s names no registry', (folder) => {
  expect(readFileSync(`${root}../${folder}/package-lock.json`, 'utf8')).not.toContain('"resolved"')
})
