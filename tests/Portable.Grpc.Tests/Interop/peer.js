// The other implementation: serves Echo with @grpc/grpc-js, and makes the calls that arrive as JSON lines on stdin.
//
//   node peer.js echo.proto      prints {"port": …, "rawPort": …} and then one JSON line per command; ends when stdin closes
//
// A command is {id, op, …}: op "call" makes a gRPC call, "raw" sends bytes over plain HTTP/2, and "cancelled" waits until a
// handler of the server here has seen a cancellation.
'use strict';
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const http2 = require('node:http2');
const readline = require('node:readline');

const protocol = grpc.loadPackageDefinition(
  loader.loadSync(process.argv[2], { longs: Number, defaults: true })).darkmatter.tests;
const unlimited = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 };

// ---- the server ------------------------------------------------------------------------------------------------------------
let seenCancelled;
const cancelled = new Promise(resolve => { seenCancelled = resolve; });

function echoMetadata(call) {
  const initial = new grpc.Metadata();
  const trailing = new grpc.Metadata();
  for (const key of Object.keys(call.metadata.getMap())) {
    const target = key.startsWith('echo-initial') ? initial : key.startsWith('echo-trailing') ? trailing : null;
    if (target) call.metadata.get(key).forEach(value => target.add(key, value));
  }
  if (Object.keys(initial.getMap()).length) call.sendMetadata(initial);
  return trailing;
}

const answer = (request, received, bytes) => ({
  text: request.text, data: request.replyBytes ? Buffer.alloc(request.replyBytes) : request.data, received, receivedBytes: bytes,
});
const failure = (request, metadata) => ({ code: request.status, details: request.statusMessage, metadata });

const service = {
  unary(call, done) {
    const trailing = echoMetadata(call);
    call.on('cancelled', () => seenCancelled());
    setTimeout(() => call.request.status
      ? done(failure(call.request, trailing))
      : done(null, answer(call.request, 1, call.request.data.length), trailing), call.request.sleepMs);
  },
  clientStream(call, done) {
    const trailing = echoMetadata(call);
    let received = 0, bytes = 0, last = { text: '', data: Buffer.alloc(0) };
    call.on('data', request => {
      received++; bytes += request.data.length; last = request;
      if (request.status) done(failure(request, trailing));
      else if (request.closeEarly) done(null, answer(request, received, bytes), trailing);
    });
    call.on('end', () => { if (!last.status && !last.closeEarly) done(null, answer(last, received, bytes), trailing); });
    call.on('error', () => {});
  },
  serverStream(call) {
    const trailing = echoMetadata(call);
    call.on('cancelled', () => seenCancelled());
    for (let i = 0; i < call.request.count; i++) call.write(answer(call.request, i + 1, call.request.data.length));
    setTimeout(() => {
      if (call.request.status) call.emit('error', failure(call.request, trailing));
      else call.end(trailing);
    }, call.request.sleepMs);
  },
  bidi(call) {
    const trailing = echoMetadata(call);
    let received = 0, bytes = 0, open = true;
    call.on('cancelled', () => seenCancelled());
    call.on('data', request => {
      if (!open) return;
      received++; bytes += request.data.length;
      if (request.status) { open = false; call.emit('error', failure(request, trailing)); return; }
      call.write(answer(request, received, bytes));
      if (request.closeEarly) { open = false; call.end(trailing); }
    });
    call.on('end', () => { if (open) call.end(trailing); });
    call.on('error', () => {});
  },
};

// A server that answers with the headers, bytes, trailers or reset that the header x-answer, base64 of JSON, asks for.
const raw = http2.createServer();
raw.on('stream', (stream, headers) => {
  stream.on('error', () => {});
  const wanted = JSON.parse(Buffer.from(headers['x-answer'], 'base64').toString());
  if (wanted.reset !== undefined) { stream.close(wanted.reset); return; }
  stream.respond(
    { ':status': 200, 'content-type': 'application/grpc', ...wanted.headers },
    { waitForTrailers: !!wanted.trailers, endStream: !!wanted.endStream });
  if (wanted.trailers) stream.on('wantTrailers', () => stream.sendTrailers(wanted.trailers));
  if (!wanted.endStream) stream.end(Buffer.from(wanted.body || '', 'base64'));
});

// ---- the client ------------------------------------------------------------------------------------------------------------
const clients = new Map();
function client(address) {
  if (!clients.has(address)) clients.set(address, new protocol.Echo(address, grpc.credentials.createInsecure(), unlimited));
  return clients.get(address);
}

function metadataOf(entries) {
  const metadata = new grpc.Metadata();
  for (const [key, value] of entries || []) metadata.add(key, key.endsWith('-bin') ? Buffer.from(value, 'base64') : value);
  return metadata;
}

function plain(metadata) {
  const entries = [];
  for (const key of Object.keys(metadata.getMap()))
    metadata.get(key).forEach(value => entries.push([key, Buffer.isBuffer(value) ? value.toString('base64') : value]));
  return entries;
}

function makeCall(command) {
  return new Promise(resolve => {
    const result = { replies: [], initial: [], trailing: [] };
    const options = command.timeoutMs ? { deadline: Date.now() + command.timeoutMs } : {};
    const requests = command.requests.map(request => ({
      ...request, data: request.dataBytes ? Buffer.alloc(request.dataBytes) : Buffer.from(request.data || '', 'base64') }));
    const definition = protocol.Echo.service[command.method] || protocol.Echo.service[command.method[0].toUpperCase() + command.method.slice(1)];
    const note = reply => result.replies.push({
      text: reply.text, bytes: reply.data.length, received: reply.received, receivedBytes: reply.receivedBytes });
    const parameters = definition.requestStream ? [] : [requests[0]];
    parameters.push(metadataOf(command.metadata), options);
    if (!definition.responseStream) parameters.push((error, reply) => { if (!error) note(reply); });
    const call = client(command.address)[command.method](...parameters);
    call.on('metadata', metadata => { result.initial = plain(metadata); });
    if (definition.responseStream) {
      call.on('data', note);
      call.on('error', () => {});
    }
    call.on('status', status => {
      Object.assign(result, { code: status.code, details: status.details, trailing: plain(status.metadata) });
      setImmediate(() => resolve(result));
    });
    if (definition.requestStream) {
      requests.forEach(request => call.write(request));
      call.end();
    }
    if (command.cancelAfterMs) setTimeout(() => call.cancel(), command.cancelAfterMs);
  });
}

function sendRaw(command) {
  return new Promise(resolve => {
    const session = http2.connect(command.address);
    const done = result => { session.destroy(); resolve(result); };
    session.on('error', error => done({ error: String(error) }));
    const stream = session.request({
      ':method': 'POST', ':path': '/darkmatter.tests.Echo/' + command.method, 'content-type': 'application/grpc', te: 'trailers', ...command.headers });
    const result = { headers: {}, trailers: {} };
    stream.on('response', headers => { result.headers = { ...headers }; });
    stream.on('trailers', trailers => { result.trailers = { ...trailers }; });
    stream.on('error', error => { result.error = String(error); });
    stream.on('close', () => { result.reset = stream.rstCode; done(result); });
    stream.resume();
    stream.end(Buffer.from(command.body || '', 'base64'));
  });
}

// ---- start -----------------------------------------------------------------------------------------------------------------
const server = new grpc.Server(unlimited);
server.addService(protocol.Echo.service, service);
const operations = { call: makeCall, raw: sendRaw, cancelled: () => cancelled.then(() => ({})) };
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  raw.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ port, rawPort: raw.address().port }));
    const lines = readline.createInterface({ input: process.stdin });
    lines.on('line', async line => {
      const command = JSON.parse(line);
      console.log(JSON.stringify({ id: command.id, ...await operations[command.op](command) }));
    });
    lines.on('close', () => process.exit(0));
  });
});
