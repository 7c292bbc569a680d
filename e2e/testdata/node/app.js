// An application that the tests put behind Sedge: WebSocket, server-sent events,
// long polling, and large bodies in both directions. Argument: the port.
import http from 'node:http';
import { WebSocketServer } from 'ws';

const block = Buffer.alloc(64 << 10, 'sixty-four kilobytes of it. '); // begins with its number: see pattern in Go

function numbered(n) {
  block.writeBigUInt64BE(BigInt(n));
  return block;
}

// isPattern reports whether a chunk is what stands in the pattern from an offset.
function isPattern(chunk, at) {
  for (let done = 0; done < chunk.length;) {
    const from = (at + done) % block.length;
    const n = Math.min(chunk.length - done, block.length - from);
    if (chunk.compare(numbered(Math.floor((at + done) / block.length)), from, from + n, done, done + n) !== 0) return false;
    done += n;
  }
  return true;
}

const listeners = new Map(); // channel -> waiting answers
const state = { open: 0, gone: 0, closed: [] };

// wait keeps an answer open until it is over, and notes who goes before that.
function wait(channel, res, onMessage) {
  const entry = { onMessage };
  if (!listeners.has(channel)) listeners.set(channel, new Set());
  listeners.get(channel).add(entry);
  state.open++;
  res.on('close', () => {
    listeners.get(channel).delete(entry);
    state.open--;
    if (!res.writableFinished) state.gone++;
  });
}

async function body(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

const routes = {
  '/page': (req, res) => res.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><title>page</title><h1>Plain</h1>'),

  '/state': (req, res) => res.end(JSON.stringify(state)),

  '/events': (req, res, query) => {
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    res.flushHeaders();
    wait(query.get('channel'), res, (text) => (text === 'end' ? res.end() : res.write(`data: ${text}\n\n`)));
  },

  '/poll': (req, res, query) => wait(query.get('channel'), res, (text) => res.end(text)),

  '/publish': async (req, res, query) => {
    const text = await body(req);
    const waiting = [...(listeners.get(query.get('channel')) ?? [])];
    for (const entry of waiting) entry.onMessage(text);
    res.end(String(waiting.length));
  },

  // What was sent, and whether all of it was the pattern.
  '/upload': (req, res) => {
    let bytes = 0;
    let intact = true;
    req.on('data', (chunk) => {
      intact &&= isPattern(chunk, bytes);
      bytes += chunk.length;
    });
    req.on('end', () => res.end(JSON.stringify({ bytes, intact, declared: req.headers['content-length'] ?? '' })));
  },

  '/download': async (req, res, query) => {
    const bytes = Number(query.get('bytes'));
    const headers = { 'Content-Type': 'application/octet-stream' };
    if (!query.has('chunked')) headers['Content-Length'] = bytes;
    res.writeHead(200, headers);
    for (let at = 0; at < bytes && !res.destroyed; at += block.length) {
      const piece = Buffer.from(numbered(at / block.length).subarray(0, bytes - at));
      if (!res.write(piece)) await new Promise((go) => { res.once('drain', go); res.once('close', go); });
    }
    res.end();
  },

  // Refuses an upload when its first megabyte is there.
  '/refuse': (req, res, query) => {
    let bytes = 0;
    req.on('data', (chunk) => {
      bytes += chunk.length;
      if (bytes < 1 << 20 || res.headersSent) return;
      switch (query.get('then')) {
        case 'close':
          res.writeHead(413, { Connection: 'close' }).end('too large');
          req.pause();
          break;
        case 'pause':
          res.writeHead(413).end('too large');
          req.pause();
          break;
        default: // read on
          res.writeHead(413).end('too large');
      }
    });
  },
};

const server = http.createServer(async (req, res) => {
  const url = new URL(req.url, 'http://app');
  const route = routes[url.pathname];
  if (route) await route(req, res, url.searchParams);
  else res.writeHead(404).end('no such page');
});

const plain = new WebSocketServer({ noServer: true, maxPayload: 32 << 20, perMessageDeflate: false, handleProtocols: (offered) => (offered.has('chat.v2') ? 'chat.v2' : false) });
const packed = new WebSocketServer({ noServer: true, maxPayload: 32 << 20, perMessageDeflate: { threshold: 0 } });

server.on('upgrade', (req, socket, head) => {
  switch (new URL(req.url, 'http://app').pathname) {
    case '/socket':
      return plain.handleUpgrade(req, socket, head, (ws) => talk(ws, req));
    case '/packed':
      return packed.handleUpgrade(req, socket, head, (ws) => talk(ws, req));
  }
  socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnot!');
});

// talk does what it is told by texts that begin with "/", and says all others again.
function talk(ws, req) {
  ws.send(`welcome ${req.headers.cookie ?? ''}`); // right behind the 101
  ws.on('error', () => {});
  ws.on('close', (code, reason) => state.closed.push(`${code} ${reason}`));
  ws.on('pong', (payload) => ws.send(`pong ${payload}`));
  ws.on('message', (data, isBinary) => {
    const words = isBinary ? [] : data.toString().split(' ');
    switch (words[0]) {
      case '/close':
        return ws.close(Number(words[1]), words[2]);
      case '/terminate':
        return ws.terminate();
      case '/ping':
        return ws.ping(words[1]);
      case '/fragments':
        for (let i = 0; i < Number(words[1]); i++) ws.send(`part ${i};`, { fin: false });
        return ws.send('end');
    }
    ws.send(data, { binary: isBinary });
  });
}

server.listen(Number(process.argv[2]), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
