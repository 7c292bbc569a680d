package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/sedge-proxy/sedge/cmd/sedge/internal/shop"
	"github.com/sedge-proxy/sedge/cmd/sedge/internal/traffic"
	"github.com/sedge-proxy/sedge/config"
)

//go:embed demo.yaml.tmpl
var demoTemplate string

// demoConfig is the name of the demo's configuration in its data directory.
const demoConfig = "demo.yaml"

// demoFlags are where the parts of the demo listen and keep their data.
type demoFlags struct {
	nodeFlags
	originListen string
	visitors     int
	seed         uint64
}

func (a *app) demoCommand() *cobra.Command {
	var flags demoFlags
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it work: a sample shop with Sedge in front of it",
		Long: `Start a sample shop, Sedge in front of it, its plugins and the admin listener,
all from this one binary. Nothing else is needed, and nothing leaves this machine.

The configuration is written to demo.yaml in the data directory. Change it while
the demo runs and reload the page.`,
		Example: `  sedge demo
  sedge demo --traffic 500           with 500 simulated visitors, for "sedge report"
  sedge demo --listen :9000 --origin-listen :9001 --admin-listen 127.0.0.1:9002`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := logs.open(a.stderr)
			if err != nil {
				return err
			}
			defer logger.close()
			return a.demo(cmd.Context(), flags, logger)
		},
	}
	cmd.Flags().StringVar(&flags.listen, "listen", "127.0.0.1:8080", "address of Sedge")
	cmd.Flags().StringVar(&flags.originListen, "origin-listen", "127.0.0.1:8081", "address of the sample shop")
	cmd.Flags().StringVar(&flags.adminListen, "admin-listen", "127.0.0.1:8090", "address of the admin listener")
	cmd.Flags().StringVar(&flags.dataDir, "data-dir", demoDataDir(), "directory for profiles, events and keys")
	cmd.Flags().IntVar(&flags.visitors, "traffic", 0, "send this many simulated visitors")
	cmd.Flags().Uint64Var(&flags.seed, "seed", 1, "seed of the simulated visitors")
	logs.register(cmd, "warn", "text")
	return cmd
}

func (a *app) demo(ctx context.Context, flags demoFlags, logger *nodeLogs) error {
	if flags.visitors < 0 || flags.visitors > 1_000_000 {
		return fmt.Errorf("--traffic %d: expected 0 to 1000000", flags.visitors)
	}
	if err := os.MkdirAll(flags.dataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w (choose another with --data-dir)", err)
	}
	origin, err := net.Listen("tcp", flags.originListen)
	if err != nil {
		return listenError(err, "--origin-listen", "the sample shop")
	}
	stopShop := serveShop(origin, logger.Logger)
	defer stopShop()

	flags.file, err = writeDemoConfig(flags, origin.Addr().String())
	if err != nil {
		return err
	}
	cfg, err := flags.load()
	if err != nil {
		return err
	}
	n, err := openNode(ctx, cfg, logger)
	if err != nil {
		return err
	}
	a.printDemo(n, "http://"+origin.Addr().String(), flags)
	if flags.visitors > 0 {
		go a.simulate(ctx, n, flags, logger.Logger)
	}
	return n.run(ctx, func() (*config.Config, error) { return flags.load() })
}

// serveShop starts the sample shop; the function that it returns stops it.
func serveShop(listener net.Listener, logger *slog.Logger) (stop func()) {
	server := &http.Server{
		Handler:           shop.New(shop.Config{Logger: logger}),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("the sample shop ended", "error", err)
		}
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
	}
}

// writeDemoConfig writes the demo's configuration. A file that was changed by hand
// is kept beside it.
func writeDemoConfig(flags demoFlags, origin string) (string, error) {
	starter, err := template.New("demo").Parse(demoTemplate)
	if err != nil {
		return "", fmt.Errorf("BUG: demo configuration: %w", err)
	}
	var text bytes.Buffer
	err = starter.Execute(&text, map[string]string{
		"Listen": flags.listen, "AdminListen": flags.adminListen, "DataDir": flags.dataDir, "Origin": origin,
	})
	if err != nil {
		return "", fmt.Errorf("BUG: demo configuration: %w", err)
	}
	file := filepath.Join(flags.dataDir, demoConfig)
	if old, err := os.ReadFile(file); err == nil && !bytes.Equal(old, text.Bytes()) {
		if err := os.Rename(file, file+".previous"); err != nil {
			return "", fmt.Errorf("keep the previous demo configuration: %w", err)
		}
	}
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		return "", fmt.Errorf("write the demo configuration: %w", err)
	}
	return file, nil
}

func (a *app) printDemo(n *node, origin string, flags demoFlags) {
	site := n.siteURL()
	fmt.Fprintf(a.stdout, `Sedge demo

  the shop as its visitors see it   %[1]s/
  the shop itself                   %[2]s/
  admin                             %[3]s/
  configuration                     %[4]s   change it, and reload the page

Try
  as a new visitor                  open %[1]s/
  by the sale's link                open %[1]s/?utm_campaign=sale
  as a regular                      buy twice in the shop, then open %[1]s/
                                    or let curl do it:
    curl -s -o /dev/null -c /tmp/jar %[1]s/
    for i in 1 2; do curl -s -b /tmp/jar %[1]s/_sedge/v1/track -d '{"event":"Order Completed","properties":{"order_id":"'$i'","revenue":50}}'; done
    curl -s -b /tmp/jar %[1]s/
  what each segment was worth       %[5]s

Ctrl-C ends all of it.
`, site, origin, n.adminURL(), flags.file, reportCommandLine(n, flags))
}

// reportCommandLine is how to ask this demo for its report.
func reportCommandLine(n *node, flags demoFlags) string {
	command := []string{"sedge", "report"}
	if strings.Contains(os.Args[0], "go-build") {
		command = []string{"go", "run", "./cmd/sedge", "report"}
	}
	if n.adminURL() != "http://127.0.0.1:8090" {
		command = append(command, "--admin", n.adminURL())
	}
	if flags.dataDir != demoDataDir() {
		command = append(command, "--data-dir", flags.dataDir)
	}
	return strings.Join(command, " ")
}

// simulate sends visitors through the proxy and says how far it is.
func (a *app) simulate(ctx context.Context, n *node, flags demoFlags, logger *slog.Logger) {
	defer n.recovered("simulate visitors")
	file, _ := a.stdout.(*os.File)
	summary, err := traffic.Run(ctx, traffic.Options{
		Target:   n.siteURL(),
		Visitors: flags.visitors,
		Seed:     flags.seed,
		Progress: traffic.NewProgress(a.stdout, file != nil && traffic.IsTerminal(file), time.Now),
		Logger:   logger,
	})
	switch {
	case ctx.Err() != nil:
	case err != nil:
		logger.Error("simulated visitors", "error", err)
	default:
		fmt.Fprintf(a.stdout, "%s\nNow: %s\n", summary, reportCommandLine(n, flags))
	}
}
