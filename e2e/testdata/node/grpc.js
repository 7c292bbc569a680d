// A gRPC server that the tests put behind Sedge. Arguments: the port; over TLS, the
// files of the certificate and its key.
import { readFileSync } from 'node:fs';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const { TestService } = grpc.loadPackageDefinition(loader.loadSync('test.proto', { keepCase: true, defaults: true })).grpc.testing;

const reply = (size) => ({ payload: { body: Buffer.alloc(size, 'g') } });

// failure returns the error that a request asks for, undefined for none.
function failure({ response_status: status }) {
  return status ? { code: status.code, details: status.message } : undefined;
}

// trailers says again what came as metadata, as the interoperability service does.
function trailers(call) {
  const initial = call.metadata.get('x-grpc-test-echo-initial');
  if (initial.length > 0) {
    const header = new grpc.Metadata();
    header.set('x-grpc-test-echo-initial', initial[0]);
    call.sendMetadata(header);
  }
  const back = new grpc.Metadata();
  for (const value of call.metadata.get('x-grpc-test-echo-trailing-bin')) back.add('x-grpc-test-echo-trailing-bin', value);
  return back;
}

const [port, cert, key] = process.argv.slice(2);
const credentials = cert
  ? grpc.ServerCredentials.createSsl(null, [{ cert_chain: readFileSync(cert), private_key: readFileSync(key) }])
  : grpc.ServerCredentials.createInsecure();

let cancelled = 0; // streams that the client gave up

const server = new grpc.Server({ 'grpc.max_receive_message_length': 32 << 20 });
server.addService(TestService.service, {
  EmptyCall(call, done) {
    const state = new grpc.Metadata();
    state.set('cancelled', String(cancelled));
    done(null, {}, state);
  },

  UnaryCall(call, done) {
    const back = trailers(call);
    const failed = failure(call.request);
    if (failed) done({ ...failed, metadata: back });
    else done(null, reply(call.request.response_size), back);
  },

  StreamingOutputCall(call) {
    for (const { size } of call.request.response_parameters) call.write(reply(size));
    call.end();
  },

  StreamingInputCall(call, done) {
    let sum = 0;
    call.on('data', ({ payload }) => { sum += payload.body.length; });
    call.on('end', () => done(null, { aggregated_payload_size: sum }));
  },

  FullDuplexCall(call) {
    const back = trailers(call);
    call.on('cancelled', () => { cancelled++; });
    call.on('data', (request) => {
      const failed = failure(request);
      if (failed) call.emit('error', { ...failed, metadata: back });
      else for (const { size } of request.response_parameters) call.write(reply(size));
    });
    call.on('end', () => call.end(back));
  },
});

server.bindAsync(`127.0.0.1:${port}`, credentials, (error) => {
  if (error) throw error;
});
process.on('SIGTERM', () => process.exit(0));
