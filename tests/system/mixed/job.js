// Code that V8 compiles hot and throws away again: typed arrays, shapes that change, closures, generators, BigInt, regular
// expressions, JSON, Map, sort, exceptions, new Function, WebAssembly. From one seed.
'use strict';
const crypto = require('crypto');
const seed = Number(process.argv[2]);
let state = (seed * 2654435761) >>> 0;
const rnd = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0);
const sha = (s) => crypto.createHash('sha256').update(s).digest('hex');

function matrix(n) {
    const a = new Float64Array(n * n), b = new Float64Array(n * n), c = new Float64Array(n * n);
    for (let i = 0; i < n * n; i++) { a[i] = rnd() % 1000 / 8; b[i] = rnd() % 1000 / 16; }
    for (let i = 0; i < n; i++)
        for (let j = 0; j < n; j++) {
            let s = 0;
            for (let k = 0; k < n; k++) s += a[i * n + k] * b[k * n + j];
            c[i * n + j] = s;
        }
    return sha(Buffer.from(c.buffer));
}
console.log(matrix(140));

function sieve(n) {
    const p = new Uint8Array(n);
    let count = 0, last = 0;
    for (let i = 2; i < n; i++) {
        if (p[i]) continue;
        count++; last = i;
        for (let j = i * 2; j < n; j += i) p[j] = 1;
    }
    return `${count} ${last}`;
}
console.log(sieve(1500000 + seed));

class Node { constructor(k) { this.k = k; this.l = null; this.r = null; } }
function insert(t, k) {
    if (!t) return new Node(k);
    if (k < t.k) t.l = insert(t.l, k); else if (k > t.k) t.r = insert(t.r, k);
    return t;
}
function walk(t, f) { if (t) { walk(t.l, f); f(t.k); walk(t.r, f); } }
let root = null, order = [];
for (let i = 0; i < 30000; i++) root = insert(root, rnd());
walk(root, (k) => order.push(k));
console.log(order.length, sha(order.join()));

// Polymorphic, then megamorphic: forces deoptimisation.
const shapes = [];
for (let i = 0; i < 40; i++) { const o = {}; for (let j = 0; j <= i % 13; j++) o['p' + j] = i + j; o.v = i; shapes.push(o); }
function touch(o) { return o.v * 3 + (o.p0 | 0) + (o.p7 || 0.5); }
let t = 0;
for (let i = 0; i < 400000; i++) t += touch(shapes[i < 200000 ? i & 1 : i % 40]);
console.log(t);

let big = BigInt(seed) + 12345678901234567890n;
for (let i = 0n; i < 400n; i++) big = (big * big + i) % ((1n << 607n) - 1n);
console.log(big.toString(36));

const words = Array.from({ length: 20000 }, () => (rnd() % 1e9).toString(36));
const text = words.join(' ');
console.log(text.replace(/([a-z])(\d+)/g, '$2$1').length, (text.match(/\b\w*(\w)\1\w*\b/g) || []).length);
const m = new Map();
for (const w of words) m.set(w.slice(0, 2), (m.get(w.slice(0, 2)) || 0) + 1);
console.log(sha(JSON.stringify([...m].sort())), JSON.parse(JSON.stringify(shapes)).length);

function* fib() { let a = 0, b = 1; for (;;) { yield a; [a, b] = [b, (a + b) % 1000003]; } }
let g = 0, n = 0;
for (const f of fib()) { g ^= f; if (++n > 60000) break; }
let thrown = 0;
for (let i = 0; i < 20000; i++) { try { if (i % 3 === 0) throw new RangeError('x' + i); null.x; } catch (e) { thrown += e.message.length; } }
console.log(g, thrown);
let acc = seed | 0;
for (let i = 0; i < 300; i++) acc = new Function('a', `let s=a;for(let j=0;j<${50 + i};j++){s=(Math.imul(s,${i | 1})+j)|0}return s`)(acc);
console.log(acc, 0.1 * seed + 0.2, (1234.5678 * (seed + 1)).toFixed(3), (seed + 0.5) / 3);

// (func (param i32) (result i32)): sum of i * i ^ sum, in WebAssembly.
const wasm = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0, 7, 5, 1, 1, 0x66, 0, 0,
    10, 33, 1, 31, 1, 1, 0x7f, 0x03, 0x40, 0x20, 0, 0x20, 0, 0x6c, 0x20, 1, 0x73, 0x20, 0, 0x6a, 0x21, 1,
    0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 1, 0x0b]);
console.log(new WebAssembly.Instance(new WebAssembly.Module(wasm)).exports.f(3000000 + seed));
