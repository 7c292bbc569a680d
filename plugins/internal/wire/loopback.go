package wire

import (
	"context"
	"log/slog"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/sedge-proxy/sedge/plugins"
)

// Loopback serves p in this process and connects to it, so that everything crosses
// the wire format. stop ends both ends.
func Loopback(ctx context.Context, p plugins.Plugin, logger *slog.Logger) (c *Client, stop func(), err error) {
	listener := bufconn.Listen(1 << 20)
	server := GRPCServer(nil)
	RegisterPluginServer(server, NewServer(p, logger))
	go func() { _ = server.Serve(listener) }()
	options := append(DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	conn, err := grpc.NewClient("passthrough:///loopback", options...)
	if err != nil {
		server.Stop()
		return nil, nil, err
	}
	stop = func() {
		_ = conn.Close()
		server.Stop()
	}
	if c, err = Connect(ctx, conn); err != nil {
		stop()
		return nil, nil, err
	}
	return c, stop, nil
}
