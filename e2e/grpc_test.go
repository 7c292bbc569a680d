package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// startGRPC runs testdata/node/grpc.js, over TLS if files are given, and returns its
// address and process.
func startGRPC(t *testing.T, files ...string) (string, *os.Process) {
	t.Helper()
	address := freePorts(t, 1)[0]
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.Command(program(t, "node"), append([]string{"grpc.js", port}, files...)...)
	cmd.Dir = filepath.Join("testdata", "node")
	return address, startProgram(t, address, cmd)
}

// caller is a gRPC client of the test service.
type caller struct {
	t *testing.T
	testgrpc.TestServiceClient
}

func (c *caller) context() context.Context {
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	c.t.Cleanup(cancel)
	return ctx
}

func payload(size int) *testgrpc.Payload {
	return &testgrpc.Payload{Body: bytes.Repeat([]byte("g"), size)}
}

func sizes(sizes ...int32) (all []*testgrpc.ResponseParameters) {
	for _, size := range sizes {
		all = append(all, &testgrpc.ResponseParameters{Size: size})
	}
	return all
}

// unary calls with small and large messages, and with metadata in both directions.
func (c *caller) unary() {
	for _, size := range []int{0, 1, 16 << 10, 1 << 20, 16 << 20} {
		for _, coding := range []string{"identity", "gzip"} {
			request := &testgrpc.SimpleRequest{ResponseSize: int32(size), Payload: payload(size)}
			got, err := c.UnaryCall(c.context(), request, grpc.UseCompressor(coding), grpc.MaxCallRecvMsgSize(32<<20))
			if err != nil || !bytes.Equal(got.GetPayload().GetBody(), request.Payload.Body) {
				c.t.Errorf("%d bytes, %s: %d, %v", size, coding, len(got.GetPayload().GetBody()), err)
			}
		}
	}
	var header, trailer metadata.MD
	ctx := metadata.AppendToOutgoingContext(c.context(), "x-grpc-test-echo-initial", "first", "x-grpc-test-echo-trailing-bin", "\x00\xff\x80")
	if _, err := c.UnaryCall(ctx, &testgrpc.SimpleRequest{ResponseSize: 1}, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		c.t.Error(err)
	}
	if got := fmt.Sprintf("%q %q", header.Get("x-grpc-test-echo-initial"), trailer.Get("x-grpc-test-echo-trailing-bin")); got != `["first"] ["\x00\xff\x80"]` {
		c.t.Errorf("metadata comes back as %s", got)
	}
}

// serverStream takes many messages of one answer.
func (c *caller) serverStream() {
	want := []int32{31415, 9, 2653, 58979, 0, 1 << 20}
	stream, err := c.StreamingOutputCall(c.context(), &testgrpc.StreamingOutputCallRequest{ResponseParameters: sizes(want...)})
	if err != nil {
		c.t.Fatal(err)
	}
	for i, size := range want {
		if got, err := stream.Recv(); err != nil || len(got.GetPayload().GetBody()) != int(size) {
			c.t.Errorf("message %d: %d bytes, %v", i, len(got.GetPayload().GetBody()), err)
		}
	}
	if _, err := stream.Recv(); err != io.EOF {
		c.t.Errorf("the stream ends with %v", err)
	}
}

// clientStream sends many messages of one request.
func (c *caller) clientStream() {
	stream, err := c.StreamingInputCall(c.context())
	if err != nil {
		c.t.Fatal(err)
	}
	for _, size := range []int{27182, 8, 1828, 45904} {
		if err := stream.Send(&testgrpc.StreamingInputCallRequest{Payload: payload(size)}); err != nil {
			c.t.Fatal(err)
		}
	}
	if got, err := stream.CloseAndRecv(); err != nil || got.AggregatedPayloadSize != 74922 {
		c.t.Errorf("the sum is %d, %v", got.GetAggregatedPayloadSize(), err)
	}
}

// pingPong sends a message only when the answer to the one before is there.
func (c *caller) pingPong() {
	stream, err := c.FullDuplexCall(c.context())
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range 50 {
		size := int32(i * i * 10)
		err := stream.Send(&testgrpc.StreamingOutputCallRequest{ResponseParameters: sizes(size), Payload: payload(i)})
		if err != nil {
			c.t.Fatal(err)
		}
		if got, err := stream.Recv(); err != nil || len(got.GetPayload().GetBody()) != int(size) {
			c.t.Fatalf("message %d: %d bytes, %v", i, len(got.GetPayload().GetBody()), err)
		}
	}
	_ = stream.CloseSend()
	if _, err := stream.Recv(); err != io.EOF {
		c.t.Errorf("the stream ends with %v", err)
	}
}

// failures come as trailers alone, or behind messages.
func (c *caller) failures() {
	asked := &testgrpc.EchoStatus{Code: int32(codes.ResourceExhausted), Message: "none left: \t100 % ☺"}
	expect := func(what string, err error) {
		c.t.Helper()
		if got := status.Convert(err); got.Code() != codes.ResourceExhausted || got.Message() != asked.Message {
			c.t.Errorf("%s: %v", what, err)
		}
	}
	_, err := c.UnaryCall(c.context(), &testgrpc.SimpleRequest{ResponseStatus: asked})
	expect("a call", err)
	stream, err := c.FullDuplexCall(c.context())
	if err != nil {
		c.t.Fatal(err)
	}
	_ = stream.Send(&testgrpc.StreamingOutputCallRequest{ResponseParameters: sizes(3)})
	if _, err := stream.Recv(); err != nil {
		c.t.Error(err)
	}
	_ = stream.Send(&testgrpc.StreamingOutputCallRequest{ResponseStatus: asked})
	_, err = stream.Recv()
	expect("a stream", err)
	if _, err := c.UnimplementedCall(c.context(), &testgrpc.Empty{}); status.Code(err) != codes.Unimplemented {
		c.t.Errorf("an unknown method: %v", err)
	}
}

// cancelled asks the server how many streams were given up.
func (c *caller) cancelled() (n int) {
	var trailer metadata.MD
	if _, err := c.EmptyCall(c.context(), &testgrpc.Empty{}, grpc.Trailer(&trailer)); err != nil {
		c.t.Error(err)
	}
	_, _ = fmt.Sscan(strings.Join(trailer.Get("cancelled"), ""), &n)
	return n
}

// givingUp ends a call by its deadline, and by a cancellation. The server learns of
// both.
func (c *caller) givingUp() {
	before := c.cancelled()
	ctx, cancel := context.WithTimeout(c.t.Context(), 100*time.Millisecond)
	defer cancel()
	stream, err := c.FullDuplexCall(ctx)
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.DeadlineExceeded {
		c.t.Errorf("behind the deadline: %v", err)
	}
	ctx, cancel = context.WithCancel(c.t.Context())
	defer cancel()
	if stream, err = c.FullDuplexCall(ctx); err == nil {
		_ = stream.Send(&testgrpc.StreamingOutputCallRequest{ResponseParameters: sizes(1)})
		_, err = stream.Recv()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	cancel()
	if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
		c.t.Errorf("after the cancellation: %v", err)
	}
	waitFor(c.t, 10*time.Second, "the server knows", func() error {
		if n := c.cancelled() - before; n != 2 {
			return fmt.Errorf("of %d", n)
		}
		return nil
	})
}

// many runs streams side by side over one connection.
func (c *caller) many() {
	var group sync.WaitGroup
	for range 100 {
		group.Go(c.pingPong)
	}
	group.Wait()
}

// callAll makes all kinds of calls.
func callAll(t *testing.T, connection *grpc.ClientConn) {
	client := testgrpc.NewTestServiceClient(connection)
	for name, call := range map[string]func(*caller){
		"unary": (*caller).unary, "server stream": (*caller).serverStream, "client stream": (*caller).clientStream,
		"ping pong": (*caller).pingPong, "failures": (*caller).failures, "giving up": (*caller).givingUp, "many": (*caller).many,
	} {
		t.Run(name, func(t *testing.T) { call(&caller{t, client}) })
	}
}

// A gRPC server and client find each other through Sedge, with and without TLS behind
// it: the same calls come to the same as without it.
func TestGRPC(t *testing.T) {
	files := newCertificate(t, "127.0.0.1")
	plain, process := startGRPC(t)
	secure, _ := startGRPC(t, files.cert, files.key)
	config := behind("http://"+plain, false)
	clear := config["upstreams"].([]any)[0].(map[string]any)
	clear["protocol"] = "h2c"
	config["upstreams"] = append(config["upstreams"].([]any), map[string]any{
		"name": "secure", "url": "https://" + secure, "protocol": "h2", "ca_file": files.ca,
	})
	config["routes"] = append([]any{map[string]any{"name": "secure", "hosts": []any{"secure.example"}, "upstream": "secure", "personalize": false}},
		config["routes"].([]any)...)
	f := protocol{"HTTP/2", true}.open(t, config)
	site := strings.TrimPrefix(f.url, "https://")
	trust := credentials.NewClientTLSFromCert(f.roots, "")
	connect := func(t *testing.T, address string, options ...grpc.DialOption) *grpc.ClientConn {
		connection, err := grpc.NewClient(address, options...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { connection.Close() })
		return connection
	}
	t.Run("direct", func(t *testing.T) {
		callAll(t, connect(t, plain, grpc.WithTransportCredentials(insecure.NewCredentials())))
	})
	t.Run("to a server without TLS", func(t *testing.T) {
		callAll(t, connect(t, site, grpc.WithTransportCredentials(trust)))
	})
	t.Run("to a server with TLS", func(t *testing.T) {
		callAll(t, connect(t, site, grpc.WithTransportCredentials(named{trust}), grpc.WithAuthority("secure.example")))
	})
	t.Run("to a server that is away", func(t *testing.T) {
		c := &caller{t, testgrpc.NewTestServiceClient(connect(t, site, grpc.WithTransportCredentials(trust)))}
		if _, err := c.EmptyCall(c.context(), &testgrpc.Empty{}); err != nil {
			t.Fatal(err)
		}
		_ = process.Kill()
		waitFor(t, 10*time.Second, "the server is away", func() error {
			if _, err := net.Dial("tcp", plain); err == nil {
				return errors.New("it is there")
			}
			return nil
		})
		_, err := c.EmptyCall(c.context(), &testgrpc.Empty{})
		if s := status.Convert(err); s.Code() != codes.Unavailable || !strings.Contains(s.Message(), "could not be reached") {
			t.Errorf("%v", err)
		}
	})
}

// named are credentials that hold for an address although another name is asked for.
type named struct {
	credentials.TransportCredentials
}

func (n named) ClientHandshake(ctx context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return n.TransportCredentials.ClientHandshake(ctx, "127.0.0.1", raw)
}
