// Prints facts: the digests of everything that came through streams, and the events at their ends.
'use strict';
const crypto = require('crypto');
const http = require('http');
const net = require('net');
const { once } = require('events');
const { Readable, Transform, pipeline } = require('stream');
const { promisify } = require('util');
const pipe = promisify(pipeline);

const fact = (name, value) => console.log(`${name}\t${value}`);
const sum = () => crypto.createHash('sha256');

// The same bytes in every run.
function bytes(size, seed) {
  const out = Buffer.alloc(size);
  let state = seed >>> 0 || 1;
  for (let i = 0; i + 4 <= size; i += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out.writeUInt32LE(state, i);
  }
  return out;
}

function* pieces(count, size, seed) {
  for (let i = 0; i < count; i++) yield bytes(size, seed + i);
}

const server = http.createServer(async (request, response) => {
  const url = new URL(request.url, 'http://x');
  const count = Number(url.searchParams.get('count'));
  const size = Number(url.searchParams.get('size'));
  if (url.pathname === '/small') {
    response.end(`small ${url.searchParams.get('n')}`);
  } else if (url.pathname === '/stream') {
    // `pipeline` stops reading whenever write() says that the socket's buffer is full.
    await pipe(Readable.from(pieces(count, size, 7)), response).catch(() => {});
  } else if (url.pathname === '/digest') {
    const hash = sum();
    let length = 0;
    for await (const block of request) {
      hash.update(block);
      length += block.length;
      // A slow reader now and then.
      if (Math.floor(length / 4e6) !== Math.floor((length - block.length) / 4e6)) await new Promise((r) => setTimeout(r, 5));
    }
    response.end(`${length} ${hash.digest('hex').slice(0, 16)}`);
  } else if (url.pathname === '/upper') {
    const upper = new Transform({ transform(block, _, done) { done(null, block.toString('latin1').toUpperCase()); } });
    await pipe(request, upper, response).catch(() => {});
  } else {
    response.statusCode = 404;
    response.end();
  }
});

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function ask(port, path, body, method = body ? 'POST' : 'GET') {
  return new Promise((resolve, reject) => {
    const request = http.request({ port, host: '127.0.0.1', path, method, agent }, async (response) => {
      const hash = sum();
      let length = 0;
      try {
        for await (const block of response) { hash.update(block); length += block.length; }
        resolve(`${response.statusCode} ${length} ${hash.digest('hex').slice(0, 16)}`);
      } catch (error) { reject(error); }
    });
    request.on('error', reject);
    if (body instanceof Readable) pipeline(body, request, (error) => error && reject(error));
    else request.end(body);
  });
}

async function overHttp(port) {
  for (const round of [1, 2]) {
    const hash = sum();
    for (let n = 0; n < 3000; n++) hash.update(await ask(port, `/small?n=${n}`));
    fact(`http ${round}: 3000 small requests`, hash.digest('hex').slice(0, 16));
    fact(`http ${round}: download`, await ask(port, '/stream?count=300&size=100000'));
    fact(`http ${round}: download in small pieces`, await ask(port, '/stream?count=5000&size=100'));
    fact(`http ${round}: upload`, await ask(port, '/digest', Readable.from(pieces(300, 100000, 9))));
    fact(`http ${round}: upload in small pieces`, await ask(port, '/digest', Readable.from(pieces(5000, 100, 9))));
    fact(`http ${round}: both ways`, await ask(port, '/upper', Readable.from(pieces(500, 4000, 3))));
    fact(`http ${round}: not there`, await ask(port, '/none'));
  }
}

async function overNet() {
  // An echo that allows half-closed connections.
  const echo = net.createServer({ allowHalfOpen: true }, (link) => link.pipe(link));
  await once(echo.listen(0, '127.0.0.1'), 'listening');
  const { port } = echo.address();
  for (const [count, size] of [[4000, 64], [500, 8000], [40, 200000]]) {
    const link = net.connect({ port, host: '127.0.0.1' });
    await once(link, 'connect');
    let wrong = 0;
    for (let i = 0; i < count; i++) {
      const sent = bytes(size, i);
      link.write(sent);
      let got = Buffer.alloc(0);
      while (got.length < size) {
        const [block] = await once(link, 'data');
        got = Buffer.concat([got, block]);
      }
      wrong += !got.equals(sent);
    }
    link.end();
    const [how] = await once(link, 'close');
    fact(`net echo of ${count} x ${size}`, `${wrong} wrong, closed with error ${how}`);
  }
  // All of it written without reading; the echo stops reading when nobody reads from it.
  const link = net.connect({ port, host: '127.0.0.1' });
  await once(link, 'connect');
  let full = false;
  for (const block of pieces(300, 100000, 5)) full = !link.write(block) || full;
  link.end();
  const hash = sum();
  let length = 0;
  for await (const block of link) { hash.update(block); length += block.length; }
  fact('net back-pressure', `full ${full}, ${length} ${hash.digest('hex').slice(0, 16)}`);
  // A connection that is destroyed after some traffic.
  const events = [];
  const reset = net.createServer((peer) => { peer.on('data', (d) => peer.write(d)); peer.on('close', () => events.push('close')); peer.on('error', (e) => events.push(e.code)); peer.on('end', () => events.push('end')); });
  await once(reset.listen(0, '127.0.0.1'), 'listening');
  const one = net.connect({ port: reset.address().port, host: '127.0.0.1' });
  await once(one, 'connect');
  for (let i = 0; i < 2000; i++) { one.write('x'); await once(one, 'data'); }
  one.resetAndDestroy();
  while (!events.includes('close')) await new Promise((r) => setTimeout(r, 5));
  fact('net reset', events.join(' '));
  reset.close();
  echo.close();
}

(async () => {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  await overHttp(server.address().port);
  agent.destroy();
  server.close();
  await overNet();
})().catch((error) => { fact('failed', error.stack); process.exitCode = 1; });
