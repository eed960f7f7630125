import fc from 'fast-check'
import t from 'tap'
import { Blocks, type Block } from '../../src/base/blocks.ts'
import { InvariantError } from '../../src/base/invariant.ts'

void t.test('a piece stays as it is until it is released, whatever comes and goes meanwhile', t => {
  const step = fc.record({ length: fc.nat(300), keep: fc.boolean() })
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), steps => {
    const blocks = new Blocks(256, 2)
    const kept: { readonly view: Uint8Array, readonly block: Block, readonly value: number }[] = []
    for (const [at, { length, keep }] of steps.entries()) {
      const value = at % 251
      const block = blocks.roomFor(length)
      const view = block.put(new Uint8Array(length).fill(value))
      kept.push({ view, block, value })
      if (!keep) {
        // The oldest goes first, as out of a queue.
        const first = kept.shift()
        if (first !== undefined) blocks.release(first.block)
      }
      if (!kept.every(piece => piece.view.every(byte => byte === piece.value))) return false
    }
    return true
  }))
  t.end()
})

void t.test('memory is used again as soon as nobody holds a piece of it', t => {
  const blocks = new Blocks(100, 2)
  const seen = new Set<ArrayBufferLike>()
  for (let i = 0; i < 50; i++) {
    const first = blocks.roomFor(60)
    seen.add(first.put(new Uint8Array(60)).buffer)
    const second = blocks.roomFor(60)
    seen.add(second.put(new Uint8Array(60)).buffer)
    blocks.release(first)
    blocks.release(second)
  }
  t.equal(seen.size, 2)
  t.end()
})

void t.test('a piece longer than a block has one of its own, which is not kept', t => {
  const blocks = new Blocks(100, 2)
  const block = blocks.roomFor(101)
  t.equal(block.put(new Uint8Array(101).fill(7)).length, 101)
  blocks.release(block)
  t.not(blocks.roomFor(100), block)
  t.end()
})

void t.test('a piece that is released twice stops the process', t => {
  const blocks = new Blocks(100, 2)
  const block = blocks.roomFor(1)
  block.put(new Uint8Array(1))
  blocks.release(block)
  t.throws(() => blocks.release(block), InvariantError)
  t.end()
})
