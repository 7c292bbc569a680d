package wire

import (
	"context"
	"errors"
	"log/slog"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/sedge-proxy/sedge/plugins"
)

// Name is under what go-plugin knows the one plugin of a process.
const Name = "sedge"

// The handshake: how a process sees that Sedge started it.
const (
	ProtocolVersion = 1
	CookieKey       = "SEDGE_PLUGIN"
	CookieValue     = "a9f3c1d27be0448f9d52c6e1"
)

// Handshake returns go-plugin's form of the handshake.
func Handshake() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{ProtocolVersion: ProtocolVersion, MagicCookieKey: CookieKey, MagicCookieValue: CookieValue}
}

// Set returns what go-plugin serves (impl and logger given) or connects to (both nil).
func Set(impl plugins.Plugin, logger *slog.Logger) goplugin.PluginSet {
	return goplugin.PluginSet{Name: &glue{impl: impl, logger: logger}}
}

// GRPCServer makes the gRPC server of a plugin process, with the bounds of this package.
func GRPCServer(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts,
		grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxSendMsgSize(MaxMessage), grpc.MaxConcurrentStreams(2*maxCalls))...)
}

// DialOptions are the host's options for the connection to a plugin process.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithIdleTimeout(0), // the state of the connection tells whether the process is well
		grpc.WithDisableServiceConfig(),
	}
}

// glue is the part that go-plugin asks for.
type glue struct {
	goplugin.NetRPCUnsupportedPlugin
	impl   plugins.Plugin
	logger *slog.Logger
}

func (g *glue) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	if g.impl == nil {
		return errors.New("no plugin to serve")
	}
	RegisterPluginServer(s, NewServer(g.impl, g.logger))
	return nil
}

// GRPCClient hands out the bare connection: [Connect] needs a deadline.
func (g *glue) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}
