// A gRPC server that the tests put behind Sedge. Argument: the port.
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

const server = new grpc.Server({ 'grpc.max_receive_message_length': 32 << 20 });
server.addService(TestService.service, {
  EmptyCall: (call, done) => done(null, {}),

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
    call.on('data', (request) => {
      const failed = failure(request);
      if (failed) call.emit('error', { ...failed, metadata: back });
      else for (const { size } of request.response_parameters) call.write(reply(size));
    });
    call.on('end', () => call.end(back));
  },
});

server.bindAsync(`127.0.0.1:${process.argv[2]}`, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
process.on('SIGTERM', () => process.exit(0));
