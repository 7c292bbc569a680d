// Package wire carries the plugin contract over gRPC.
//
// [Connect] gives the host a [plugins.Plugin] whose methods are calls to another
// process; [NewServer] answers such calls with an author's [plugins.Plugin]. Both
// ends speak plain values of packages plugins and decision: the generated
// messages stay in here. Everything that crosses is bounded, because neither end
// may be hurt by the other's mistakes.
package wire

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative wire.proto
