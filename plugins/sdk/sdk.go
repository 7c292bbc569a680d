// Package sdk serves a content plugin. It is all that an author needs besides
// package plugins:
//
//	func main() { sdk.Serve(greeting{}) }
//
// Sedge starts the program, checks its settings through Configure and asks its
// instances for edits. Write logs with log/slog or to standard error: Sedge takes
// them into its own log. Standard output may be used freely too.
//
// The program ends when Sedge says so or is gone. An interrupt from the terminal
// is left to Sedge, which shuts its plugins down in order.
package sdk

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"

	"github.com/sedge-proxy/sedge/plugins"
	"github.com/sedge-proxy/sedge/plugins/internal/wire"
)

// watchEvery is how often the process looks whether Sedge still lives.
const watchEvery = 250 * time.Millisecond

// Serve serves p to the Sedge that started this program, until Sedge ends it.
// Started by hand, the program says what it is and exits with status 2.
func Serve(p plugins.Plugin) {
	if !Started() {
		explain(os.Stderr, filepath.Base(os.Args[0]), p)
		os.Exit(2)
	}
	parent := os.Getppid()
	signal.Ignore(os.Interrupt)
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	slog.SetDefault(logger)
	go exitWithParent(parent)
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: wire.Handshake(),
		Plugins:         wire.Set(p, logger),
		GRPCServer:      wire.GRPCServer,
		Logger:          hclog.NewNullLogger(),
	})
}

// Started reports whether Sedge started this program as a plugin. A program that
// is also something else asks before it calls [Serve].
func Started() bool { return os.Getenv(wire.CookieKey) == wire.CookieValue }

// exitWithParent ends the process when its parent is gone, however that died:
// an orphan gets another parent.
func exitWithParent(parent int) {
	for range time.Tick(watchEvery) {
		if os.Getppid() != parent {
			os.Exit(1)
		}
	}
}

func explain(w io.Writer, program string, p plugins.Plugin) {
	what := "a Sedge plugin"
	if d, ok := describe(p); ok {
		what = fmt.Sprintf("the Sedge plugin %q, version %s", d.Name, d.Version)
		if d.Summary != "" {
			what += ": " + d.Summary
		}
	}
	fmt.Fprintf(w, `This program is %s.
It does nothing when started by hand; Sedge starts it. Name it in Sedge's configuration:

    plugins:
      - name: %s
        command: ["/path/to/%s"]
`, what, program, program)
}

func describe(p plugins.Plugin) (d plugins.Description, ok bool) {
	defer func() { ok = recover() == nil && d.Name != "" }()
	return p.Describe(), true
}
